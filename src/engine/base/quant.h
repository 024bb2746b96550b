/*-------------------------------------------------------------------------
 * quant.h
 *	  Blocks of the storage types, and their conversions to and from float.
 *
 * The layouts are those of ggml, byte for byte, so that a GGUF tensor is used
 * as it is in the file; the static asserts hold the sizes.  Multi-byte fields
 * are little-endian, as every machine that this runs on.  Blocks are aligned
 * to two bytes; plain numbers (f32, f16, bf16, f64) need no alignment.
 *
 * int8 is our own: a row is a float, its scale, and a signed byte an element.
 * One scale for a whole row loses much where few elements are large, so the
 * row is rotated before (te_rotate): its elements become sums of many, of like size.  Rows of x that are
 * multiplied by such rows are rotated too; the product stays the same.  Hadamard transforms for this
 * purpose: QuaRot, Ashkboos et al., 2024.
 *
 * All functions are pure: no allocation, no throw.  n is a multiple of the
 * block.  Any bytes are a valid block, whatever comes out of it.
 *
 * To add a type: the struct and its assert here, the pair of functions in
 * quant.c or quant_k.c, a row in dtype.def.
 *-------------------------------------------------------------------------
 */
#ifndef TE_QUANT_H
#define TE_QUANT_H

#include "base/tensor.h"

#define TE_QK 32				/* elements of a simple block */
#define TE_QK_K 256				/* elements of a super-block */

typedef uint16_t TeHalf;		/* bits of an IEEE half */

/* x = d * q */
typedef struct TeBlockQ8_0
{
	TeHalf		d;
	int8_t		q[TE_QK];
} TeBlockQ8_0;

/* x = d * (q - 8); element i is the low nibble of q[i], element i + 16 the high one.  So below. */
typedef struct TeBlockQ4_0
{
	TeHalf		d;
	uint8_t		q[TE_QK / 2];
} TeBlockQ4_0;

/* x = d * q + m */
typedef struct TeBlockQ4_1
{
	TeHalf		d;
	TeHalf		m;
	uint8_t		q[TE_QK / 2];
} TeBlockQ4_1;

/* x = d * (q - 16); bit i of high, little-endian, is the fifth bit of element i */
typedef struct TeBlockQ5_0
{
	TeHalf		d;
	uint8_t		high[TE_QK / 8];
	uint8_t		q[TE_QK / 2];
} TeBlockQ5_0;

/* x = d * q + m */
typedef struct TeBlockQ5_1
{
	TeHalf		d;
	TeHalf		m;
	uint8_t		high[TE_QK / 8];
	uint8_t		q[TE_QK / 2];
} TeBlockQ5_1;

/* 16 groups of 16: x = d * (scales & 15) * q - dmin * (scales >> 4) */
typedef struct TeBlockQ2_K
{
	uint8_t		scales[TE_QK_K / 16];
	uint8_t		q[TE_QK_K / 4];
	TeHalf		d;
	TeHalf		dmin;
} TeBlockQ2_K;

/* 16 groups of 16: x = d * (scale - 32) * (q - 4), where the third bit of q is in high */
typedef struct TeBlockQ3_K
{
	uint8_t		high[TE_QK_K / 8];
	uint8_t		q[TE_QK_K / 4];
	uint8_t		scales[12];
	TeHalf		d;
} TeBlockQ3_K;

/* 8 groups of 32: x = d * scale * q - dmin * min; scale and min have six bits each in scales */
typedef struct TeBlockQ4_K
{
	TeHalf		d;
	TeHalf		dmin;
	uint8_t		scales[12];
	uint8_t		q[TE_QK_K / 2];
} TeBlockQ4_K;

/* the same with a fifth bit in high */
typedef struct TeBlockQ5_K
{
	TeHalf		d;
	TeHalf		dmin;
	uint8_t		scales[12];
	uint8_t		high[TE_QK_K / 8];
	uint8_t		q[TE_QK_K / 2];
} TeBlockQ5_K;

/* 16 groups of 16: x = d * scale * (q - 32) */
typedef struct TeBlockQ6_K
{
	uint8_t		low[TE_QK_K / 2];
	uint8_t		high[TE_QK_K / 4];
	int8_t		scales[TE_QK_K / 16];
	TeHalf		d;
} TeBlockQ6_K;

_Static_assert(sizeof(TeBlockQ8_0) == 34, "layout of q8_0");
_Static_assert(sizeof(TeBlockQ4_0) == 18, "layout of q4_0");
_Static_assert(sizeof(TeBlockQ4_1) == 20, "layout of q4_1");
_Static_assert(sizeof(TeBlockQ5_0) == 22, "layout of q5_0");
_Static_assert(sizeof(TeBlockQ5_1) == 24, "layout of q5_1");
_Static_assert(sizeof(TeBlockQ2_K) == 84, "layout of q2_K");
_Static_assert(sizeof(TeBlockQ3_K) == 110, "layout of q3_K");
_Static_assert(sizeof(TeBlockQ4_K) == 144, "layout of q4_K");
_Static_assert(sizeof(TeBlockQ5_K) == 176, "layout of q5_K");
_Static_assert(sizeof(TeBlockQ6_K) == 210, "layout of q6_K");

/* An IEEE half as a float; exact, for subnormals, infinities and NaN too. */
static inline float
te_half_to_float(TeHalf half)
{
	uint32_t	sign = (uint32_t) (half & 0x8000) << 16;
	uint32_t	rest = (uint32_t) (half & 0x7fff) << 13;
	uint32_t	bits;
	float		value;

	if (rest >= 0x0f800000)		/* infinity, NaN */
		bits = rest | 0x7f800000;
	else if (rest >= 0x00800000)	/* normal: another bias of the exponent */
		bits = rest + ((127 - 15) << 23);
	else
	{
		value = (float) (half & 0x7fff) * 0x1p-24f; /* subnormal */
		memcpy(&bits, &value, sizeof(bits));
	}
	bits |= sign;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* The nearest half, ties to even; overflow gives infinity, a NaN stays one. */
static inline TeHalf
te_half_from_float(float value)
{
	uint32_t	bits;
	uint32_t	sign;
	float		tiny;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (TeHalf) (sign | 0x7e00 | (bits >> 13 & 0x1ff));
	if (bits >= 0x477ff000)		/* 65520 and above rounds to infinity */
		return (TeHalf) (sign | 0x7c00);
	if (bits >= 0x38800000)		/* 2^-14, the least normal half */
		return (TeHalf) (sign | ((bits - ((127 - 15) << 23) + 0xfff + (bits >> 13 & 1)) >> 13));

	/* Subnormal: adding 0.5 leaves units of 2^-24 in the mantissa, rounded by the processor. */
	memcpy(&tiny, &bits, sizeof(tiny));
	tiny += 0.5f;
	memcpy(&bits, &tiny, sizeof(bits));
	return (TeHalf) (sign | (bits - 0x3f000000));
}

static inline float
te_bf16_value(uint16_t half)
{
	uint32_t	bits = (uint32_t) half << 16;
	float		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Ties to even; a NaN is made quiet, so that it cannot round to infinity. */
static inline uint16_t
te_bf16_make(float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t) (bits >> 16 | 64);
	return (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/*
 * Scale and minimum of group `group` (0..7) of a q4_K or q5_K block, out of
 * its 12 packed bytes.
 */
static inline void
te_k_scale_min(const uint8_t *scales, int group, uint8_t *scale, uint8_t *min)
{
	if (group < 4)
	{
		*scale = scales[group] & 63;
		*min = scales[group + 4] & 63;
	}
	else
	{
		*scale = (uint8_t) ((scales[group + 4] & 15) | (scales[group - 4] >> 6) << 4);
		*min = (uint8_t) ((scales[group + 4] >> 4) | (scales[group] >> 6) << 4);
	}
}

/* Four bits of element i of a q4_K or q5_K block. */
static inline int
te_k_nibble_at(const uint8_t *q, int i)
{
	return q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

/* Six bits of element i: four from low, two from high. */
static inline int
te_q6_level_at(const TeBlockQ6_K *block, int i)
{
	int			half = i / 128;
	int			run = i % 128 / 32;
	int			low = block->low[half * 64 + run % 2 * 32 + i % 32] >> (run / 2 * 4) & 15;
	int			high = block->high[half * 32 + i % 32] >> (run * 2) & 3;

	return low | high << 4;
}

#define TE_DTYPE_PAIR(type) \
	extern void te_##type##_to_float(const void *from, float *to, size_t n); \
	extern void te_##type##_from_float(const float *from, void *to, size_t n)

TE_DTYPE_PAIR(f32);
TE_DTYPE_PAIR(f16);
TE_DTYPE_PAIR(bf16);
TE_DTYPE_PAIR(q8_0);
TE_DTYPE_PAIR(q4_0);
TE_DTYPE_PAIR(q4_1);
TE_DTYPE_PAIR(q5_0);
TE_DTYPE_PAIR(q5_1);
TE_DTYPE_PAIR(q2_K);
TE_DTYPE_PAIR(q3_K);
TE_DTYPE_PAIR(q4_K);
TE_DTYPE_PAIR(q5_K);
TE_DTYPE_PAIR(q6_K);
TE_DTYPE_PAIR(int8);
extern void te_f64_to_float(const void *from, float *to, size_t n);
extern void te_int8_part_to_float(const void *row, size_t first, size_t n, float *to);	/* elements [first, first + n) of a row, rotated as they are */

/*
 * A rotation of rows of n elements, its own inverse: in each block of
 * te_rotation(n) elements, those four apart go through a Walsh-Hadamard transform. Not those side by
 * side, so that registers of four floats and more need few shuffles.
 */
#define TE_ROTATION_MOST 256
#define TE_ROTATION_STEP 4

/* The largest power of two that divides n, at most TE_ROTATION_MOST; 1, for none, below two steps. */
static inline size_t
te_rotation(size_t n)
{
	size_t		block = n & (~n + 1);

	block = block < TE_ROTATION_MOST ? block : TE_ROTATION_MOST;
	return block < 2 * TE_ROTATION_STEP ? 1 : block;
}

/* What keeps lengths the same: each element is a sum of this many, over the root of their number. */
static inline float
te_rotation_factor(size_t block)
{
	static const float factors[] = {0.70710678f, 0.5f, 0.35355339f, 0.25f, 0.17677670f, 0.125f};
	size_t		i = 0;

	while (block > (size_t) 2 * TE_ROTATION_STEP << i)
		i++;
	return factors[i];
}

/* Rotate whole blocks; y may be x. */
extern void te_rotate(size_t n, size_t block, const float *x, float *y);

#undef TE_DTYPE_PAIR

#endif							/* TE_QUANT_H */
