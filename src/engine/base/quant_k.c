/*-------------------------------------------------------------------------
 * quant_k.c
 *	  Conversions of the K types: super-blocks of 256 elements, in groups of 16
 *	  or 32 whose scales are themselves quantized.
 *
 * to_float gives what ggml's dequantization gives, bit for bit.  from_float is
 * a search of our own for the least squared error, in three steps:
 *
 * 1. For each group, try several scales around the one that maps the range of
 *	  the group onto the levels; round to levels; fit the scale (and the
 *	  minimum) to those levels by least squares; keep what errs least.
 * 2. Quantize the groups' scales (and minima) against one half-precision
 *	  factor for the super-block.
 * 3. Round the elements again, with the scales as they will be decoded.
 *
 * Two families: symmetric (q3_K, q6_K: x = scale * q, levels on both sides of
 * zero) and affine (q2_K, q4_K, q5_K: x = scale * q - min, with min >= 0).
 * Elements that are not finite are taken as 0 or the largest float.
 *
 * References: the layout of ggml's block_q*_K structs.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"

#include <float.h>
#include <math.h>

#define MAX_GROUP 32
#define MAX_GROUPS 16

/* ---- rounding ---- */

/*
 * The nearest integer in [low, high], NaN taken as low.  Adding 1.5 * 2^23
 * leaves no room for a fraction in a float, so the processor rounds (ties to
 * even); that needs no call and no instruction beyond the baseline.
 */
static inline int
nearest(float value, int low, int high)
{
	const float shift = 0x1.8p23f;

	value = value > (float) low ? value : (float) low;
	value = value < (float) high ? value : (float) high;
	return (int) ((value + shift) - shift);
}

/* A super-block with what is not finite taken out, so that sums stay numbers. */
static void
copy_finite(const float *from, float *x)
{
	for (int i = 0; i < TE_QK_K; i++)
	{
		if (isfinite(from[i]))
			x[i] = from[i];
		else
			x[i] = isnan(from[i]) ? 0 : copysignf(FLT_MAX, from[i]);
	}
}

/* ---- step 1: scales of groups ---- */

/* The scale of x = scale * q, q in [-top, top - 1], that errs least; of either sign. */
static float
fit_symmetric(const float *x, int n, int top)
{
	float		peak = 0;
	double		best_gain = 0;
	double		best_scale = 0;

	for (int i = 0; i < n; i++)
	{
		if (fabsf(x[i]) > fabsf(peak))
			peak = x[i];
	}
	if (peak == 0)
		return 0;

	/* The squared error is sum x^2 - (sum x q)^2 / sum q^2: make the second term large. */
	for (int trial = -12; trial <= 12; trial++)
	{
		float		inverse = (float) (-(top + 0.1 * trial) / (double) peak);
		double		xq = 0;
		double		qq = 0;

		for (int i = 0; i < n; i++)
		{
			double		q = nearest(x[i] * inverse, -top, top - 1);

			xq += q * (double) x[i];
			qq += q * q;
		}
		if (qq > 0 && xq * xq > best_gain * qq)
		{
			best_gain = xq * xq / qq;
			best_scale = xq / qq;
		}
	}
	return (float) best_scale;
}

typedef struct AffineFit
{
	double		scale;
	double		min;			/* >= 0; subtracted */
	double		error;
} AffineFit;

/* Least squares of x = scale * q - min for the levels that `guess` gives, with min held at 0 where it would be negative. */
static AffineFit
fit_levels(const float *x, int n, int top, AffineFit guess)
{
	double		q_sum = 0;
	double		qq = 0;
	double		x_sum = 0;
	double		xq = 0;
	double		xx = 0;
	double		determinant;
	float		inverse = (float) (1 / guess.scale);
	float		offset = (float) (guess.min / guess.scale);
	AffineFit	fit = {0, 0, 0};

	for (int i = 0; i < n; i++)
	{
		double		q = nearest(x[i] * inverse + offset, 0, top);

		q_sum += q;
		qq += q * q;
		x_sum += (double) x[i];
		xq += (double) x[i] * q;
		xx += (double) x[i] * (double) x[i];
	}
	determinant = n * qq - q_sum * q_sum;
	if (determinant > 0)
	{
		fit.scale = (n * xq - q_sum * x_sum) / determinant;
		fit.min = (q_sum * xq - qq * x_sum) / determinant;
	}
	if (determinant <= 0 || fit.min < 0)
	{
		fit.scale = qq > 0 ? xq / qq : 0;
		fit.min = 0;
	}
	fit.error = xx + fit.scale * fit.scale * qq + n * fit.min * fit.min
		- 2 * fit.scale * xq + 2 * fit.min * x_sum - 2 * fit.scale * fit.min * q_sum;
	return fit;
}

/* Scale and minimum, both >= 0, of x = scale * q - min, q in [0, top]. */
static void
fit_affine(const float *x, int n, int top, float *scale, float *min)
{
	double		low = 0;
	double		high = (double) x[0];
	AffineFit	best = {0, 0, DBL_MAX};

	for (int i = 0; i < n; i++)
	{
		low = TE_MIN(low, (double) x[i]);
		high = TE_MAX(high, (double) x[i]);
	}
	for (int trial = -4; trial <= 8 && high > low; trial += 2)
	{
		AffineFit	guess = {(high - low) / (top + 0.1 * trial), -low, 0};
		AffineFit	fit = fit_levels(x, n, top, guess);

		if (fit.scale > 0)
			fit = fit_levels(x, n, top, fit);
		if (fit.scale > 0 && fit.error < best.error)
			best = fit;
	}
	*scale = (float) best.scale;
	*min = (float) (best.error < DBL_MAX ? best.min : -low);
}

/* ---- step 2: one factor for the scales of a super-block ---- */

/*
 * Quantize n non-negative values to [0, top]; returns the factor, as it will be
 * stored.
 */
static TeHalf
quantize_scales(const float *values, int n, int top, uint8_t *quantized)
{
	float		max = 0;
	TeHalf		half;
	float		factor;

	for (int i = 0; i < n; i++)
		max = TE_MAX(max, values[i]);
	half = te_half_from_float(TE_MIN(max / (float) top, 65504.0f));
	factor = te_half_to_float(half);
	for (int i = 0; i < n; i++)
		quantized[i] = (uint8_t) (factor > 0 ? nearest(values[i] / factor, 0, top) : 0);
	return half;
}

/* The same for scales of either sign, to [-top, top - 1]; the largest goes to -top. */
static TeHalf
quantize_signed_scales(const float *values, int n, int top, int8_t *quantized)
{
	float		peak = 0;
	TeHalf		half;
	float		factor;

	for (int i = 0; i < n; i++)
	{
		if (fabsf(values[i]) > fabsf(peak))
			peak = values[i];
	}
	half = te_half_from_float(TE_MAX(TE_MIN(peak / (float) -top, 65504.0f), -65504.0f));
	factor = te_half_to_float(half);
	for (int i = 0; i < n; i++)
		quantized[i] = (int8_t) (factor != 0 ? nearest(values[i] / factor, -top, top - 1) : 0);
	return half;
}

/* ---- the affine family, as scales, minima and levels ---- */

typedef struct Affine
{
	TeHalf		d;
	TeHalf		dmin;
	uint8_t		scales[MAX_GROUPS];
	uint8_t		mins[MAX_GROUPS];
	uint8_t		levels[TE_QK_K];
} Affine;

/* All three steps for groups of `n` elements, levels 0..top, scales 0..scale_top. */
static void
quantize_affine(const float *from, int n, int top, int scale_top, Affine *out)
{
	int			groups = TE_QK_K / n;
	float		x[TE_QK_K];
	float		scales[MAX_GROUPS];
	float		mins[MAX_GROUPS];

	copy_finite(from, x);
	for (int g = 0; g < groups; g++)
		fit_affine(x + g * n, n, top, &scales[g], &mins[g]);
	out->d = quantize_scales(scales, groups, scale_top, out->scales);
	out->dmin = quantize_scales(mins, groups, scale_top, out->mins);
	for (int g = 0; g < groups; g++)
	{
		float		d = te_half_to_float(out->d) * (float) out->scales[g];
		float		m = te_half_to_float(out->dmin) * (float) out->mins[g];

		for (int i = g * n; i < (g + 1) * n; i++)
			out->levels[i] = (uint8_t) (d > 0 ? nearest((x[i] + m) / d, 0, top) : 0);
	}
}

/* ---- the symmetric family: levels are q + top ---- */

typedef struct Symmetric
{
	TeHalf		d;
	int8_t		scales[MAX_GROUPS];
	uint8_t		levels[TE_QK_K];
} Symmetric;

/* Groups of 16; q in [-top, top - 1], scales in [-scale_top, scale_top - 1]. */
static void
quantize_symmetric(const float *from, int top, int scale_top, Symmetric *out)
{
	float		x[TE_QK_K];
	float		scales[MAX_GROUPS];

	copy_finite(from, x);
	for (int g = 0; g < MAX_GROUPS; g++)
		scales[g] = fit_symmetric(x + g * 16, 16, top);
	out->d = quantize_signed_scales(scales, MAX_GROUPS, scale_top, out->scales);
	for (int g = 0; g < MAX_GROUPS; g++)
	{
		float		d = te_half_to_float(out->d) * (float) out->scales[g];

		for (int i = g * 16; i < (g + 1) * 16; i++)
			out->levels[i] = (uint8_t) (top + (d != 0 ? nearest(x[i] / d, -top, top - 1) : 0));
	}
}

/* ---- q2_K: in each half of 128, byte i % 32 has elements i, i + 32, i + 64, i + 96 ---- */

/* Two bits of each element; see above for the order. */
static void
pack_pairs(const uint8_t *levels, uint8_t *q)
{
	memset(q, 0, TE_QK_K / 4);
	for (int i = 0; i < TE_QK_K; i++)
		q[i / 128 * 32 + i % 32] |= (uint8_t) ((levels[i] & 3) << (i % 128 / 32 * 2));
}

static inline int
pair_at(const uint8_t *q, int i)
{
	return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

/* x = d * scale * level - dmin * min */
void
te_q2_K_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ2_K *block = from;

	for (size_t b = 0; b < n / TE_QK_K; b++, to += TE_QK_K)
	{
		float		d = te_half_to_float(block[b].d);
		float		dmin = te_half_to_float(block[b].dmin);

		for (int g = 0; g < 16; g++)
		{
			float		scale = d * (float) (block[b].scales[g] & 15);
			float		min = dmin * (float) (block[b].scales[g] >> 4);

			for (int i = g * 16; i < (g + 1) * 16; i++)
				to[i] = scale * (float) pair_at(block[b].q, i) - min;
		}
	}
}

/* Scale and minimum of a group share a byte, four bits each. */
void
te_q2_K_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ2_K *block = to;

	for (size_t b = 0; b < n / TE_QK_K; b++, from += TE_QK_K)
	{
		Affine		fit;

		quantize_affine(from, 16, 3, 15, &fit);
		block[b].d = fit.d;
		block[b].dmin = fit.dmin;
		for (int g = 0; g < 16; g++)
			block[b].scales[g] = (uint8_t) (fit.scales[g] | fit.mins[g] << 4);
		pack_pairs(fit.levels, block[b].q);
	}
}

/* ---- q3_K: two bits as in q2_K; bit i / 32 of high[i % 32] is the third ---- */

/* Six bits per scale: the low four in bytes 0..7, the high two in bytes 8..11. */
static int
q3_scale(const uint8_t *scales, int group)
{
	int			low = scales[group % 8] >> (group / 8 * 4) & 15;
	int			high = scales[8 + group % 4] >> (group / 4 * 2) & 3;

	return (low | high << 4) - 32;
}

/* The inverse of q3_scale(): scales in [-32, 31]. */
static void
q3_pack_scales(const int8_t *from, uint8_t *scales)
{
	memset(scales, 0, 12);
	for (int g = 0; g < 16; g++)
	{
		int			scale = from[g] + 32;

		scales[g % 8] |= (uint8_t) ((scale & 15) << (g / 8 * 4));
		scales[8 + g % 4] |= (uint8_t) ((scale >> 4) << (g / 4 * 2));
	}
}

/* x = d * scale * (level - 4); a third bit of 0 stands for -4. */
void
te_q3_K_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ3_K *block = from;

	for (size_t b = 0; b < n / TE_QK_K; b++, to += TE_QK_K)
	{
		float		d = te_half_to_float(block[b].d);

		for (int g = 0; g < 16; g++)
		{
			float		scale = d * (float) q3_scale(block[b].scales, g);

			for (int i = g * 16; i < (g + 1) * 16; i++)
			{
				int			third = block[b].high[i % 32] >> (i / 32) & 1;

				to[i] = scale * (float) (pair_at(block[b].q, i) + third * 4 - 4);
			}
		}
	}
}

/* Levels are q + 4: the low two bits as in q2_K, the third apart. */
void
te_q3_K_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ3_K *block = to;

	for (size_t b = 0; b < n / TE_QK_K; b++, from += TE_QK_K)
	{
		Symmetric	fit;

		quantize_symmetric(from, 4, 32, &fit);
		block[b].d = fit.d;
		q3_pack_scales(fit.scales, block[b].scales);
		pack_pairs(fit.levels, block[b].q);
		memset(block[b].high, 0, sizeof(block[b].high));
		for (int i = 0; i < TE_QK_K; i++)
			block[b].high[i % 32] |= (uint8_t) ((fit.levels[i] >> 2) << (i / 32));
	}
}

/* ---- q4_K and q5_K: in each 64, byte i % 32 has elements i and i + 32 ---- */

/* The inverse of te_k_scale_min(): groups 4 to 7 keep their high bits in the bytes of 0 to 3. */
static void
k_pack_scales(const Affine *fit, uint8_t *scales)
{
	for (int g = 0; g < 4; g++)
	{
		scales[g] = (uint8_t) (fit->scales[g] | (fit->scales[g + 4] >> 4) << 6);
		scales[g + 4] = (uint8_t) (fit->mins[g] | (fit->mins[g + 4] >> 4) << 6);
		scales[g + 8] = (uint8_t) ((fit->scales[g + 4] & 15) | (fit->mins[g + 4] & 15) << 4);
	}
}

/* Four bits of each element. */
static void
k_pack_nibbles(const uint8_t *levels, uint8_t *q)
{
	memset(q, 0, TE_QK_K / 2);
	for (int i = 0; i < TE_QK_K; i++)
		q[i / 64 * 32 + i % 32] |= (uint8_t) ((levels[i] & 15) << (i % 64 / 32 * 4));
}

/* high NULL: q4_K. */
static void
k_to_float(TeHalf d, TeHalf dmin, const uint8_t *scales, const uint8_t *q, const uint8_t *high, float *to)
{
	for (int g = 0; g < 8; g++)
	{
		uint8_t		scale;
		uint8_t		min;
		float		factor;
		float		offset;

		te_k_scale_min(scales, g, &scale, &min);
		factor = te_half_to_float(d) * (float) scale;
		offset = te_half_to_float(dmin) * (float) min;
		for (int i = g * 32; i < (g + 1) * 32; i++)
		{
			int			fifth = high != NULL ? high[i % 32] >> g & 1 : 0;

			to[i] = factor * (float) (te_k_nibble_at(q, i) + fifth * 16) - offset;
		}
	}
}

void
te_q4_K_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ4_K *block = from;

	for (size_t b = 0; b < n / TE_QK_K; b++, to += TE_QK_K)
		k_to_float(block[b].d, block[b].dmin, block[b].scales, block[b].q, NULL, to);
}

/* Eight groups of 32, levels 0..15, scales and minima of six bits. */
void
te_q4_K_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ4_K *block = to;

	for (size_t b = 0; b < n / TE_QK_K; b++, from += TE_QK_K)
	{
		Affine		fit;

		quantize_affine(from, 32, 15, 63, &fit);
		block[b].d = fit.d;
		block[b].dmin = fit.dmin;
		k_pack_scales(&fit, block[b].scales);
		k_pack_nibbles(fit.levels, block[b].q);
	}
}

void
te_q5_K_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ5_K *block = from;

	for (size_t b = 0; b < n / TE_QK_K; b++, to += TE_QK_K)
		k_to_float(block[b].d, block[b].dmin, block[b].scales, block[b].q, block[b].high, to);
}

/* As q4_K with levels 0..31; bit g of high[i % 32] is the fifth of an element of group g. */
void
te_q5_K_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ5_K *block = to;

	for (size_t b = 0; b < n / TE_QK_K; b++, from += TE_QK_K)
	{
		Affine		fit;

		quantize_affine(from, 32, 31, 63, &fit);
		block[b].d = fit.d;
		block[b].dmin = fit.dmin;
		k_pack_scales(&fit, block[b].scales);
		k_pack_nibbles(fit.levels, block[b].q);
		memset(block[b].high, 0, sizeof(block[b].high));
		for (int i = 0; i < TE_QK_K; i++)
			block[b].high[i % 32] |= (uint8_t) ((fit.levels[i] >> 4) << (i / 32));
	}
}

/* ---- q6_K: in each half of 128, four runs of 32: nibbles of 64 bytes, then bit pairs of 32 ---- */

/* x = d * scale * (level - 32) */
void
te_q6_K_to_float(const void *from, float *to, size_t n)
{
	const TeBlockQ6_K *block = from;

	for (size_t b = 0; b < n / TE_QK_K; b++, to += TE_QK_K)
	{
		float		d = te_half_to_float(block[b].d);

		for (int g = 0; g < 16; g++)
		{
			float		scale = d * (float) block[b].scales[g];

			for (int i = g * 16; i < (g + 1) * 16; i++)
				to[i] = scale * (float) (te_q6_level_at(&block[b], i) - 32);
		}
	}
}

/* Groups of 16 with signed scales of eight bits. */
void
te_q6_K_from_float(const float *from, void *to, size_t n)
{
	TeBlockQ6_K *block = to;

	for (size_t b = 0; b < n / TE_QK_K; b++, from += TE_QK_K)
	{
		Symmetric	fit;

		quantize_symmetric(from, 32, 128, &fit);
		block[b].d = fit.d;
		memcpy(block[b].scales, fit.scales, sizeof(block[b].scales));
		memset(block[b].low, 0, sizeof(block[b].low));
		memset(block[b].high, 0, sizeof(block[b].high));
		for (int i = 0; i < TE_QK_K; i++)
		{
			int			half = i / 128;
			int			run = i % 128 / 32;

			block[b].low[half * 64 + run % 2 * 32 + i % 32] |= (uint8_t) ((fit.levels[i] & 15) << (run / 2 * 4));
			block[b].high[half * 32 + i % 32] |= (uint8_t) ((fit.levels[i] >> 4) << (run * 2));
		}
	}
}
