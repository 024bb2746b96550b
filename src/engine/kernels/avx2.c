/*-------------------------------------------------------------------------
 * avx2.c
 *	  AVX2 with FMA and F16C: the vocabulary of vec.inc in registers of 8 floats.
 *
 * The target is set by pragma, as in avx512.c and for the same reasons.
 *
 * The register tile is 6 rows x 16 columns: 12 sums, 2 columns of the panel and one
 * broadcast, of 16 registers.
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
#define VF __m256
#define VI __m256i
#define VW 8
#define TILE_NV 2
#define TILE_ROWS(nv) ((nv) == 2 ? 6 : 12)
#define VEC static inline __attribute__((always_inline))

#define vf_zero() _mm256_setzero_ps()
#define vf_set1(x) _mm256_set1_ps(x)
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_load_n(p, n) _mm256_maskload_ps(p, first_lanes(n))
#define vf_store_n(p, v, n) _mm256_maskstore_ps(p, first_lanes(n), v)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_div(a, b) _mm256_div_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_min(a, b) _mm256_min_ps(a, b)
#define vf_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vf_round(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define vf_if_greater(a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ))
#define vf_or_nan(y, x) _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q))
#define vf_iota() _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)
#define vf_from_f16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (const void *) (p)))
#define vf_from_bf16(p) \
	_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) (const void *) (p))), 16))
#define vi_load(p) _mm256_loadu_si256((const __m256i *) (const void *) (p))
#define vi_set1(x) _mm256_set1_epi32(x)
#define vi_left(v, n) _mm256_sllv_epi32(v, _mm256_set1_epi32(n))
#define vi_right(v, n) _mm256_srav_epi32(v, _mm256_set1_epi32(n))
#define vi_and(a, b) _mm256_and_si256(a, b)
#define vf_from_int(v) _mm256_cvtepi32_ps(v)

/* All ones in the first n lanes. */
VEC __m256i
first_lanes(size_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int) n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* 2^n in two halves, each a normal number, so that the product may be a denormal or overflow. */
VEC VF
vf_scale2(VF x, VF n)
{
	VI			whole = _mm256_cvtps_epi32(n);
	VI			half = _mm256_srai_epi32(whole, 1);
	VI			rest = _mm256_sub_epi32(whole, half);
	VI			bias = _mm256_set1_epi32(127);

	x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
	return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

VEC float
vf_sum(VF v)
{
	__m128		four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	__m128		two = _mm_add_ps(four, _mm_movehl_ps(four, four));

	return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The largest lane; NaN where one is. */
VEC float
vf_most(VF v)
{
	__m128		four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	__m128		two = _mm_max_ps(four, _mm_movehl_ps(four, four));

	if (_mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)) != 0)
		return __builtin_nanf("");
	return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

VEC VF
vf_reverse(VF v)
{
	return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

/* 8 x 8: pairs, then fours, within lanes of 128 bits, then the lanes themselves. */
VEC void
vf_transpose(VF v[VW])
{
	VF			t[VW];

	_Pragma("GCC unroll 4")
	for (int i = 0; i < VW; i += 2)
	{
		t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
	}
	_Pragma("GCC unroll 2")
	for (int i = 0; i < VW; i += 4)
	{
		v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++)
	{
		t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
		t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
	}
	_Pragma("GCC unroll 8")
	for (int i = 0; i < VW; i++)
		v[i] = t[i];
}

#include "kernels/vec.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
