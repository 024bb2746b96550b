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

#include "kernels/vec_avx512.inc"
#include "kernels/vec.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
