/*-------------------------------------------------------------------------
 * quant.c
 *	  Conversions of the plain storage types (f32, f16, bf16, f64) and of the
 *	  simple quantized ones: rows, or blocks of 32 elements, with one scale.
 *
 * Of ggml's types to_float gives what its dequantization gives, bit for bit; from_float
 * what its reference quantization gives.  That fixes the order of operations
 * and the rounding here: products are rounded before they are added (build
 * with -ffp-contract=off), scales are used in full precision to find the
 * levels and rounded to half precision only for storing.
 *
 * What is not finite stays inside: such an element is clamped to the ends of
 * the range (NaN to its lower one) and cannot lead to undefined conversions.
 *
 * The K types, super-blocks of 256, are in quant_k.c.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"

#include <math.h>

/* ---- plain numbers ---- */

/* Copies, so that the table needs no special case. */
void
te_f32_to_float(const void *from, float *to, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

void
te_f32_from_float(const float *from, void *to, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

/* Through memcpy, since a row may begin at any byte. */
void
te_f16_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		TeHalf		half;

		memcpy(&half, bytes + i * sizeof(half), sizeof(half));
		to[i] = te_half_to_float(half);
	}
}

void
te_f16_from_float(const float *from, void *to, size_t n)
{
	char	   *bytes = to;

	for (size_t i = 0; i < n; i++)
	{
		TeHalf		half = te_half_from_float(from[i]);

		memcpy(bytes + i * sizeof(half), &half, sizeof(half));
	}
}

void
te_bf16_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t	half;

		memcpy(&half, bytes + i * sizeof(half), sizeof(half));
		to[i] = te_bf16_value(half);
	}
}

void
te_bf16_from_float(const float *from, void *to, size_t n)
{
	char	   *bytes = to;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t	half = te_bf16_make(from[i]);

		memcpy(bytes + i * sizeof(half), &half, sizeof(half));
	}
}

/* What a float cannot hold becomes infinite. */
void
te_f64_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		double		value;

		memcpy(&value, bytes + i * sizeof(value), sizeof(value));
		to[i] = (float) value;
	}
}

/* ---- blocks of 32 ---- */

/* Round down to a level in [0, top]; what is not finite goes to an end. */
static inline int
level(float value, int top)
{
	if (value >= (float) top)
		return top;
	return value > 0 ? (int) value : 0;
}

/* The element of largest magnitude, the first where several are; with its sign. */
static float
largest(const float *x)
{
	float		result = 0;
	float		magnitude = 0;

	for (int i = 0; i < TE_QK; i++)
	{
		if (fabsf(x[i]) > magnitude)
		{
			magnitude = fabsf(x[i]);
			result = x[i];
		}
	}
	return result;
}

/* The least and the greatest element; NaN is neither. */
static void
extremes(const float *x, float *min, float *max)
{
	*min = *max = x[0];
	for (int i = 1; i < TE_QK; i++)
	{
		if (x[i] < *min)
			*min = x[i];
		if (x[i] > *max)
			*max = x[i];
	}
}

/* x = q * d */
void
te_q8_0_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ8_0 *block = from;

	for (size_t b = 0; b < n / TE_QK; b++, to += TE_QK)
	{
		float		d = te_half_to_float(block[b].d);

		for (int i = 0; i < TE_QK; i++)
			to[i] = (float) block[b].q[i] * d;
	}
}

/* Levels are rounded half away from zero. */
void
te_q8_0_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ8_0 *block = to;

	for (size_t b = 0; b < n / TE_QK; b++, from += TE_QK)
	{
		float		d = fabsf(largest(from)) / 127;
		float		inverse = d != 0 ? 1 / d : 0;

		block[b].d = te_half_from_float(d);
		for (int i = 0; i < TE_QK; i++)
		{
			float		scaled = from[i] * inverse;
			int			q = level(fabsf(scaled) + 0.5f, 127);

			block[b].q[i] = (int8_t) (scaled < 0 ? -q : q);
		}
	}
}

/*
 * The four types of 4 and 5 bits differ in two things: an offset that is fixed
 * (`_0`: the largest magnitude sits at level 0) or stored (`_1`), and the fifth
 * bit.  levels[] hold one byte per element.
 */
static void
pack_nibbles(const uint8_t *levels, uint8_t *q)
{
	for (int i = 0; i < TE_QK / 2; i++)
		q[i] = (uint8_t) ((levels[i] & 15) | (levels[i + TE_QK / 2] & 15) << 4);
}

/* Low nibbles are the first half of the block, high ones the second. */
static void
unpack_nibbles(const uint8_t *q, uint8_t *levels)
{
	for (int i = 0; i < TE_QK / 2; i++)
	{
		levels[i] = q[i] & 15;
		levels[i + TE_QK / 2] = q[i] >> 4;
	}
}

/* Bit i of the four bytes, little-endian, belongs to element i. */
static void
pack_fifth_bits(const uint8_t *levels, uint8_t *high)
{
	memset(high, 0, TE_QK / 8);
	for (int i = 0; i < TE_QK; i++)
		high[i / 8] |= (uint8_t) ((levels[i] >> 4) << (i % 8));
}

/* Adds 16 to the levels that have the bit. */
static void
unpack_fifth_bits(const uint8_t *high, uint8_t *levels)
{
	for (int i = 0; i < TE_QK; i++)
		levels[i] |= (uint8_t) ((high[i / 8] >> (i % 8) & 1) << 4);
}

/* Levels around a fixed offset `zero` (8 or 16); the scale that belongs to them. */
static float
find_symmetric(const float *x, int zero, uint8_t *levels)
{
	float		d = largest(x) / (float) -zero;
	float		inverse = d != 0 ? 1 / d : 0;

	for (int i = 0; i < TE_QK; i++)
	{
		float		scaled = x[i] * inverse;

		levels[i] = (uint8_t) level(scaled + ((float) zero + 0.5f), zero * 2 - 1);
	}
	return d;
}

/* Levels 0..top between the least and the greatest element. */
static float
find_affine(const float *x, int top, uint8_t *levels, float *min)
{
	float		max;
	float		d;
	float		inverse;

	extremes(x, min, &max);
	d = (max - *min) / (float) top;
	inverse = d != 0 ? 1 / d : 0;
	for (int i = 0; i < TE_QK; i++)
	{
		float		scaled = (x[i] - *min) * inverse;

		levels[i] = (uint8_t) level(scaled + 0.5f, top);
	}
	return d;
}

/* x = d * (level - 8) */
void
te_q4_0_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ4_0 *block = from;

	for (size_t b = 0; b < n / TE_QK; b++, to += TE_QK)
	{
		float		d = te_half_to_float(block[b].d);
		uint8_t		levels[TE_QK];

		unpack_nibbles(block[b].q, levels);
		for (int i = 0; i < TE_QK; i++)
			to[i] = d * (float) (levels[i] - 8);
	}
}

/* The element of largest magnitude gets level 0, exactly -8 * d. */
void
te_q4_0_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ4_0 *block = to;

	for (size_t b = 0; b < n / TE_QK; b++, from += TE_QK)
	{
		uint8_t		levels[TE_QK];

		block[b].d = te_half_from_float(find_symmetric(from, 8, levels));
		pack_nibbles(levels, block[b].q);
	}
}

/* x = d * level + m */
void
te_q4_1_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ4_1 *block = from;

	for (size_t b = 0; b < n / TE_QK; b++, to += TE_QK)
	{
		float		d = te_half_to_float(block[b].d);
		float		m = te_half_to_float(block[b].m);
		uint8_t		levels[TE_QK];

		unpack_nibbles(block[b].q, levels);
		for (int i = 0; i < TE_QK; i++)
			to[i] = d * (float) levels[i] + m;
	}
}

/* The least element gets level 0, the greatest 15. */
void
te_q4_1_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ4_1 *block = to;

	for (size_t b = 0; b < n / TE_QK; b++, from += TE_QK)
	{
		uint8_t		levels[TE_QK];
		float		min;

		block[b].d = te_half_from_float(find_affine(from, 15, levels, &min));
		block[b].m = te_half_from_float(min);
		pack_nibbles(levels, block[b].q);
	}
}

/* x = d * (level - 16) */
void
te_q5_0_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ5_0 *block = from;

	for (size_t b = 0; b < n / TE_QK; b++, to += TE_QK)
	{
		float		d = te_half_to_float(block[b].d);
		uint8_t		levels[TE_QK];

		unpack_nibbles(block[b].q, levels);
		unpack_fifth_bits(block[b].high, levels);
		for (int i = 0; i < TE_QK; i++)
			to[i] = d * (float) (levels[i] - 16);
	}
}

/* The element of largest magnitude gets level 0, exactly -16 * d. */
void
te_q5_0_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ5_0 *block = to;

	for (size_t b = 0; b < n / TE_QK; b++, from += TE_QK)
	{
		uint8_t		levels[TE_QK];

		block[b].d = te_half_from_float(find_symmetric(from, 16, levels));
		pack_nibbles(levels, block[b].q);
		pack_fifth_bits(levels, block[b].high);
	}
}

/* x = d * level + m */
void
te_q5_1_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ5_1 *block = from;

	for (size_t b = 0; b < n / TE_QK; b++, to += TE_QK)
	{
		float		d = te_half_to_float(block[b].d);
		float		m = te_half_to_float(block[b].m);
		uint8_t		levels[TE_QK];

		unpack_nibbles(block[b].q, levels);
		unpack_fifth_bits(block[b].high, levels);
		for (int i = 0; i < TE_QK; i++)
			to[i] = d * (float) levels[i] + m;
	}
}

/* The least element gets level 0, the greatest 31. */
void
te_q5_1_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ5_1 *block = to;

	for (size_t b = 0; b < n / TE_QK; b++, from += TE_QK)
	{
		uint8_t		levels[TE_QK];
		float		min;

		block[b].d = te_half_from_float(find_affine(from, 31, levels, &min));
		block[b].m = te_half_from_float(min);
		pack_nibbles(levels, block[b].q);
		pack_fifth_bits(levels, block[b].high);
	}
}

/* ---- rows of bytes with one scale ---- */

/* x = q * scale, of a part of a row */
void
te_int8_part_to_float(const void *row, size_t first, size_t n, float *to)
{
	const int8_t *q = (const int8_t *) row + sizeof(float) + first;
	float		scale;

	memcpy(&scale, row, sizeof(scale));
	for (size_t i = 0; i < n; i++)
		to[i] = (float) q[i] * scale;
}

void
te_rotate(size_t n, size_t block, const float *x, float *y)
{
	float		factor = block > 1 ? te_rotation_factor(block) : 1;

	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * factor;
	for (size_t h = TE_ROTATION_STEP; h < block; h *= 2)
	{
		for (size_t i = 0; i < n; i += 2 * h)
		{
			for (size_t j = i; j < i + h; j++)
			{
				float		a = y[j];
				float		b = y[j + h];

				y[j] = a + b;
				y[j + h] = a - b;
			}
		}
	}
}

void
te_int8_to_float(const void *from, float *to, size_t n)
{
	te_int8_part_to_float(from, 0, n, to);
	te_rotate(n, te_rotation(n), to, to);
}

/* Rows without blocks are rounded as they are, a piece at a time. */
static size_t
rotated_piece(const float *from, size_t i, size_t n, float *piece)
{
	size_t		block = te_rotation(n);
	size_t		length = block > 1 ? block : n - i < TE_ROTATION_MOST ? n - i : TE_ROTATION_MOST;

	te_rotate(length, block, from + i, piece);
	return length;
}

/* The largest magnitude gets level 127; levels are rounded half away from zero. */
void
te_int8_from_float(const float *from, void *to, size_t n)
{
	int8_t	   *q = (int8_t *) to + sizeof(float);
	float		piece[TE_ROTATION_MOST];
	float		most = 0;
	float		scale;
	float		inverse;
	size_t		length;

	for (size_t i = 0; i < n; i += length)
	{
		length = rotated_piece(from, i, n, piece);
		for (size_t j = 0; j < length; j++)
			most = fabsf(piece[j]) > most ? fabsf(piece[j]) : most;
	}
	scale = most / 127;
	inverse = scale != 0 ? 1 / scale : 0;
	memcpy(to, &scale, sizeof(scale));
	for (size_t i = 0; i < n; i += length)
	{
		length = rotated_piece(from, i, n, piece);
		for (size_t j = 0; j < length; j++)
		{
			float		scaled = piece[j] * inverse;
			int			magnitude = level(fabsf(scaled) + 0.5f, 127);

			q[i + j] = (int8_t) (scaled < 0 ? -magnitude : magnitude);
		}
	}
}
