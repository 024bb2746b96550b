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

#include "base/quant.h"
#include "kernels/kernels.h"

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
 * A block of 32 rows of k of a quantized panel: the scales of the 64 columns,
 * then their levels in groups of four consecutive k, which is how the dot
 * product instructions of bytes read them and costs an expansion nothing.
 * As large as the 64 blocks of the rows that it was made of.
 */
typedef struct TePanelQ8_0
{
	TeHalf		d[TE_PANEL];
	int8_t		q[TE_QK / 4][TE_PANEL][4];
} TePanelQ8_0;

/* Low nibbles are k 0..15 of the block, high ones 16..31, as in TeBlockQ4_0. */
typedef struct TePanelQ4_0
{
	TeHalf		d[TE_PANEL];
	uint8_t		q[TE_QK / 8][TE_PANEL][4];
} TePanelQ4_0;

_Static_assert(sizeof(TePanelQ8_0) == TE_PANEL * sizeof(TeBlockQ8_0), "layout of a q8_0 panel");
_Static_assert(sizeof(TePanelQ4_0) == TE_PANEL * sizeof(TeBlockQ4_0), "layout of a q4_0 panel");

/* Queries of one call of the attention kernel, and keys that it looks at together. */
#define TE_QUERY_BLOCK TE_PANEL
#define TE_KEY_BLOCK 64

/*
 * Rows of k that a weight is expanded by at once: a panel of them fits the L1 cache beside x.  Super-blocks
 * are as long as TE_EXPAND_MOST, so those types take that many.
 */
#define TE_EXPAND 128
#define TE_EXPAND_MOST TE_QK_K

/*
 * Rows [k0, k1) of panel number `panel` of a weight in any layout, as f32,
 * [k1 - k0][64].  k1 - k0 <= TE_EXPAND_MOST; k0 is a multiple of the type's block.  The result
 * is `into`, or the weight itself where it lies like that already.
 * row_buffer: TE_EXPAND_BUFFER floats.
 */
extern const float *te_expand_panel(const TeWeight *weight, size_t panel, size_t k0, size_t k1,
									float *into, float *row_buffer);
#define TE_EXPAND_BUFFER (TE_PANEL * TE_EXPAND_MOST)

#endif							/* TE_KERNELS_IMPL_H */
