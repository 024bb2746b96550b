/*-------------------------------------------------------------------------
 * neon.c
 *	  aarch64 NEON: the vocabulary of vec.inc in registers of 4 floats.
 *
 * NEON is part of the base of aarch64, so no target is set.
 *
 * The register tile is 5 rows x 16 columns: 20 sums, 4 columns of the panel and
 * 5 elements of A, of 32 registers.  With 6 rows gcc spills: it multiplies by a
 * lane of a register and so holds every row's element at once.
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
#define VF float32x4_t
#define VI int32x4_t
#define VW 4
#define TILE_NV 4
#define TILE_ROWS(nv) ((nv) == 4 ? 5 : (nv) == 3 ? 6 : (nv) == 2 ? 8 : 12)
#define VEC static inline __attribute__((always_inline))

#define vf_zero() vdupq_n_f32(0.0f)
#define vf_set1(x) vdupq_n_f32(x)
#define vf_load(p) vld1q_f32(p)
#define vf_store(p, v) vst1q_f32(p, v)
#define vf_add(a, b) vaddq_f32(a, b)
#define vf_sub(a, b) vsubq_f32(a, b)
#define vf_mul(a, b) vmulq_f32(a, b)
#define vf_div(a, b) vdivq_f32(a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_abs(a) vabsq_f32(a)
#define vf_round(a) vrndnq_f32(a)
#define vf_if_greater(a, b, x, y) vbslq_f32(vcgtq_f32(a, b), x, y)
#define vf_or_nan(y, x) vbslq_f32(vceqq_f32(x, x), y, x)
#define vf_sum(v) vaddvq_f32(v)
#define vf_from_f16(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define vf_from_bf16(p) vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))
#define vi_load(p) vreinterpretq_s32_u8(vld1q_u8((const uint8_t *) (const void *) (p)))
#define vi_set1(x) vdupq_n_s32(x)
#define vi_left(v, n) vshlq_s32(v, vdupq_n_s32(n))
#define vi_right(v, n) vshlq_s32(v, vdupq_n_s32(-(n)))
#define vi_and(a, b) vandq_s32(a, b)
#define vf_from_int(v) vcvtq_f32_s32(v)

/* b where either is NaN, as on x86 */
VEC VF
vf_max(VF a, VF b)
{
	return vbslq_f32(vcgtq_f32(a, b), a, b);
}

VEC VF
vf_min(VF a, VF b)
{
	return vbslq_f32(vcltq_f32(a, b), a, b);
}

VEC VF
vf_load_n(const float *p, size_t n)
{
	float		lanes[VW] = {0};

	memcpy(lanes, p, n * sizeof(float));
	return vld1q_f32(lanes);
}

VEC void
vf_store_n(float *p, VF v, size_t n)
{
	float		lanes[VW];

	vst1q_f32(lanes, v);
	memcpy(p, lanes, n * sizeof(float));
}

VEC VF
vf_iota(void)
{
	static const float numbers[VW] = {0, 1, 2, 3};

	return vld1q_f32(numbers);
}

/* 2^n in two halves, each a normal number, so that the product may be a denormal or overflow. */
VEC VF
vf_scale2(VF x, VF n)
{
	VI			whole = vcvtq_s32_f32(n);
	VI			half = vshrq_n_s32(whole, 1);
	VI			rest = vsubq_s32(whole, half);
	VI			bias = vdupq_n_s32(127);

	x = vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
	return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
}

/* The largest lane; NaN where one is. */
VEC float
vf_most(VF v)
{
	return vmaxvq_f32(v);
}

VEC VF
vf_reverse(VF v)
{
	v = vrev64q_f32(v);
	return vextq_f32(v, v, 2);
}

VEC void
vf_transpose(VF v[VW])
{
	float32x4x2_t low = vtrnq_f32(v[0], v[1]);
	float32x4x2_t high = vtrnq_f32(v[2], v[3]);

	v[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
	v[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
	v[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
	v[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

#include "kernels/vec.inc"

#endif							/* __aarch64__ */
