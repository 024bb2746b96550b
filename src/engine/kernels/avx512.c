/*-------------------------------------------------------------------------
 * avx512.c
 *	  AVX-512 (F, BW, DQ, VL): the vocabulary of vec.inc in registers of 16 floats.
 *
 * The target is set by pragma and not by compiler flags: the functions are the
 * only code of the library that may use these instructions, and the same file
 * is compiled to LLVM bitcode, where flags do not reach.
 *
 * The register tile is 6 rows x 64 columns: 24 sums, 4 columns of the panel and one
 * broadcast, of 32 registers.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#pragma GCC optimize("fp-contract=off")
#endif

#define ISA avx512
#define VF __m512
#define VI __m512i
#define VW 16
#define TILE_NV 4
#define TILE_ROWS(nv) ((nv) == 4 ? 6 : (nv) == 3 ? 8 : 12)
#define VEC static inline __attribute__((always_inline))

#define vf_zero() _mm512_setzero_ps()
#define vf_set1(x) _mm512_set1_ps(x)
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_load_n(p, n) _mm512_maskz_loadu_ps((__mmask16) ((1u << (n)) - 1), p)
#define vf_store_n(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16) ((1u << (n)) - 1), v)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_div(a, b) _mm512_div_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_min(a, b) _mm512_min_ps(a, b)
#define vf_abs(a) _mm512_abs_ps(a)
#define vf_round(a) _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define vf_scale2(x, n) _mm512_scalef_ps(x, n)
#define vf_if_greater(a, b, x, y) _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x)
#define vf_or_nan(y, x) _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), y, x)
#define vf_sum(v) _mm512_reduce_add_ps(v)
#define vf_iota() _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define vf_from_f16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (const void *) (p)))
#define vf_from_bf16(p) \
	_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) (const void *) (p))), 16))
#define vi_load(p) _mm512_loadu_si512(p)
#define vi_set1(x) _mm512_set1_epi32(x)
#define vi_left(v, n) _mm512_sllv_epi32(v, _mm512_set1_epi32(n))
#define vi_right(v, n) _mm512_srav_epi32(v, _mm512_set1_epi32(n))
#define vi_and(a, b) _mm512_and_si512(a, b)
#define vf_from_int(v) _mm512_cvtepi32_ps(v)

VEC VF
vf_reverse(VF v)
{
	return _mm512_permutexvar_ps(_mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), v);
}

/* The largest lane; NaN where one is. */
VEC float
vf_most(VF v)
{
	if (_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0)
		return __builtin_nanf("");
	return _mm512_reduce_max_ps(v);
}

/* 16 x 16: pairs, then fours, within lanes of 128 bits, then the lanes themselves. */
VEC void
vf_transpose(VF v[VW])
{
	VF			t[VW];

	_Pragma("GCC unroll 8")
	for (int i = 0; i < VW; i += 2)
	{
		t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < VW; i += 4)
	{
		v[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
		v[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
		v[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		v[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++)
	{
		t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++)
	{
		v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
		v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
		v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
		v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

#include "kernels/vec.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
