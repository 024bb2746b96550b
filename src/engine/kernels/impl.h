/*-------------------------------------------------------------------------
 * impl.h
 *	  What the files of kernels/ share among themselves.
 *
 * Prototypes of every implementation, from kernels.def: a row whose function
 * is missing does not link, a function without a row draws a warning.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNELS_IMPL_H
#define TE_KERNELS_IMPL_H

#include <float.h>
#include <math.h>

#include "base/quant.h"
#include "kernels/kernels.h"
#include "kernels/panels.h"

/* One typedef per member: TeFn_layer_norm and so on. */
#define TE_KERNEL_TYPE(name, ret, args) typedef ret TeFn_##name args;
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE

#define TE_KERNEL_TYPE(name, ret, args) extern TeFn_##name te_ref_##name;
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE

#define KERNEL(name, isa, error) extern TeFn_##name te_##isa##_##name;
#include "kernels/kernels.def"
#undef KERNEL

/*
 * Scale of a row of bytes between least <= 0 and most >= 0, NaN where they are not finite; what to multiply x by,
 * and the zero to add: 252 levels apart, so that rounding both leaves them within 127.
 */
static inline float
te_byte_scale(float least, float most, float *inverse, float *zero)
{
	float		width = most - least;

	*inverse = 0;
	*zero = 0;
	if (!(width <= FLT_MAX))
		return NAN;
	if (width < 1e-35f)			/* its inverse would overflow */
		return 0;
	*inverse = 252 / width;
	*zero = -nearbyintf((most / 2 + least / 2) * *inverse);
	return width / 252;
}

/* The scale of a block of bytes whose largest magnitude is `most`, which is NaN where it is not finite; what to multiply x by. */
static inline float
te_byte_block_scale(float most, float *inverse)
{
	bool		normal = most >= 1e-35f;	/* its inverse does not overflow */

	*inverse = normal ? 127 / most : 0;
	return normal || isnan(most) ? most / 127 : 0;
}

/* Added to a small float it leaves no fraction: 1.5 * 2^23, and its bits. */
#define TE_BYTE_ROUND 12582912.0f
#define TE_BYTE_ROUND_BITS 0x4b400000

/* What is left of a level counts in parts of this. */
#define TE_BYTE_LOW 128

/* Row r of bytes as zeros; their sum. */
static inline int32_t
te_byte_row_clear(const TeByteRows *rows, size_t r)
{
	memset(rows->q + r * rows->ld, 0, rows->ld);
	if (rows->low != NULL)
		memset(rows->low + r * rows->ld, 0, rows->ld);
	return 0;
}

/* The kernel that multiplies bytes by this weight as it lies, or NULL. */
typedef TeFn_gemm_int8 TeByteGemm;
extern TeByteGemm *te_byte_gemm(const TeWeight *weight);
extern bool te_byte_low(const TeWeight *weight);	/* which looks at what is left of x */
extern bool te_byte_halves(const TeWeight *weight); /* which has scales for 16 */
#define TE_BYTE_MOST 65536		/* the longest row: sums of products fit 32 bits */

/* The kernel that multiplies at most TE_FEW_ROWS rows of floats by this weight as it lies, or NULL. */
typedef TeFn_gemm_panel_f16 TeFewGemm;
extern TeFewGemm *te_few_gemm(const TeWeight *weight);
#define TE_FEW_ROWS 24

extern const void *te_weight_panel(const TeWeight *weight, size_t panel);

/* Queries of one call of the attention kernel, and keys that it looks at together. */
#define TE_QUERY_BLOCK TE_PANEL
#define TE_KEY_BLOCK 64
/* Distances from a block of queries to a block of keys, in two panels. */
#define TE_REACH (2 * TE_PANEL)

/*
 * Rows of k that a weight is expanded by at once: a panel of them fits the L1 cache beside x.  Super-blocks
 * are as long as TE_EXPAND_MOST, so those types take that many.
 */
#define TE_EXPAND 128
#define TE_EXPAND_MOST TE_QK_K

/*
 * Rows [k0, k1) of panel number `panel` of a weight in any layout, as f32,
 * [k1 - k0][64].  k1 - k0 <= TE_EXPAND_MOST; k0 is a multiple of te_expand_step().  The result
 * is `into`, or the weight itself where it lies like that already.
 * row_buffer: TE_EXPAND_BUFFER floats.
 */
extern size_t te_expand_step(const TeWeight *weight);
extern const float *te_expand_panel(const TeWeight *weight, size_t panel, size_t k0, size_t k1,
									float *into, float *row_buffer);
#define TE_EXPAND_BUFFER (TE_PANEL * TE_EXPAND_MOST)

#endif							/* TE_KERNELS_IMPL_H */
