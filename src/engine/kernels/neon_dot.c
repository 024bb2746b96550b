/*-------------------------------------------------------------------------
 * neon_dot.c
 *	  The dot product instructions of ARMv8.2: dot products of bytes in registers of 16.
 *
 * The set lies over neon (isa.c), so it has products of bytes only.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__aarch64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#pragma GCC optimize("fp-contract=off")
#endif

#include <arm_neon.h>

#define ISA neon_dot

#include "kernels/vec_neon.inc"

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

VEC VI
vi_dot(VI sum, VI w, VI x)
{
	__asm__ ("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x));
	return sum;
}

#include "kernels/dot.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __aarch64__ */
