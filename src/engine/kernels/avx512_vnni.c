/*-------------------------------------------------------------------------
 * avx512_vnni.c
 *	  AVX-512 VNNI: dot products of bytes in registers of 64.
 *
 * The set lies over avx512 (isa.c), so it has products of bytes only.  vpdpbusd
 * multiplies unsigned bytes by signed ones: weights are biased (impl.h), activations not.
 * It is inline assembly because gcc 12 spills the sums of its intrinsic, at half
 * the speed.  The target is set by pragma, as in avx512.c and for the same reasons.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#pragma GCC optimize("fp-contract=off")
#endif

#define ISA avx512_vnni

#include "kernels/vec_avx512.inc"

#define ROTATED 16
#define DOT_NV 4
#define DOT_ROWS 6
#define BLOCK_NV 2
#define FEW_NV 4
#define FEW_ROWS 2
#define BLOCK_ROWS 6
#define BYTE_BIAS 128
#define VB VI
#define vb_bytes(v) (v)
#define vx_load(p) _mm512_set1_epi32(four_bytes(p))
#define vi_dot_levels(sum, w, x) vi_dot(sum, w, x)

VEC VI
vi_dot(VI sum, VI w, VI x)
{
	__asm__ ("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
	return sum;
}

#include "kernels/dot.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
