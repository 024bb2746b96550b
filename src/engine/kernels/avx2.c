/*-------------------------------------------------------------------------
 * avx2.c
 *	  AVX2 with FMA and F16C: the vocabulary of vec.inc in registers of 8 floats.
 *
 * The target is set by pragma, as in avx512.c and for the same reasons.
 *
 * The register tile is 6 rows x 16 columns: 12 sums, 2 columns of the panel and one
 * broadcast, of 16 registers.  Products of bytes take two instructions more than where
 * the processor has VNNI (avx_vnni.c), and are exact all the same.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#pragma GCC optimize("fp-contract=off")
#endif

#define ISA avx2

#include "kernels/vec_avx2.inc"
#include "kernels/vec.inc"

#define ROTATED 8
#define DOT_NV 2
#define DOT_ROWS 4
#define BLOCK_NV 2
#define FEW_NV 2
#define FEW_ROWS 1
#define BLOCK_ROWS 2
#define BYTE_BIAS 0

typedef struct VB
{
	VI			value;
	VI			size;			/* |value| */
} VB;

#define vx_load(p) _mm256_set1_epi32(four_bytes(p))

/* The bias taken off again: products of signs and sizes cannot saturate, those of unsigned bytes could. */
VEC VB
vb_bytes(VI biased)
{
	VI			value = _mm256_xor_si256(biased, _mm256_set1_epi8(-128));

	return (VB) {value, _mm256_abs_epi8(value)};
}

VEC VI
vi_dot(VI sum, VB w, VI x)
{
	VI			pairs = _mm256_maddubs_epi16(w.size, _mm256_sign_epi8(x, w.value));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

VEC VI
vi_dot_levels(VI sum, VI w, VI x)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}

#include "kernels/dot.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
