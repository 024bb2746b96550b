/*-------------------------------------------------------------------------
 * neon.c
 *	  aarch64 NEON: the vocabulary of vec.inc in registers of 4 floats.
 *
 * NEON is part of the base of aarch64, so no target is set.
 *
 * The register tile is 5 rows x 16 columns: 20 sums, 4 columns of the panel and
 * 5 elements of A, of 32 registers.  With 6 rows gcc spills: it multiplies by a
 * lane of a register and so holds every row's element at once.
 *
 * Products of bytes take four instructions; neon_dot.c has them in one.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

#define ISA neon

#include "kernels/vec_neon.inc"
#include "kernels/vec.inc"

#define ROTATED 16
#define DOT_NV 4
#define DOT_ROWS 4
#define BLOCK_NV 2
#define FEW_NV 4
#define FEW_ROWS 2
#define BLOCK_ROWS 4
#define BYTE_BIAS 0
#define VB VI
#define vb_bytes(biased) veorq_s32(biased, vdupq_n_s32((int) 0x80808080u))
#define vx_load(p) vdupq_n_s32(four_bytes(p))
#define vi_dot_levels(sum, w, x) vi_dot(sum, w, x)

/* Sums of two products fit 16 bits: activations are never -128. */
VEC VI
vi_dot(VI sum, VI w, VI x)
{
	int8x16_t	a = vreinterpretq_s8_s32(w);
	int8x16_t	b = vreinterpretq_s8_s32(x);
	int16x8_t	low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
	int16x8_t	high = vmull_high_s8(a, b);

	return vpadalq_s16(sum, vpaddq_s16(low, high));
}

#include "kernels/dot.inc"

#endif							/* __aarch64__ */
