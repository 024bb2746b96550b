/*-------------------------------------------------------------------------
 * avx512_bf16.c
 *	  AVX-512 BF16: products of pairs of bf16 with sums in f32.
 *
 * The set lies over avx512_vnni (isa.c) and has only what is multiplied as bf16.
 * vdpbf16ps takes two consecutive k in a lane of 32 bits, so everything here is in pairs
 * (kernel_types.def).  Like the conversions it takes denormals as zeros and makes none, whatever
 * the processor's modes are; both products of a pair are added with a rounding each.
 *
 * Its instructions are inline assembly: gcc 12 spills the sums of the intrinsic, and the
 * types of the intrinsics' halves differ between compilers.  The target is set by pragma, as in avx512.c
 * and for the same reasons.
 *
 * The register tile is 6 rows x 64 columns, as in f32.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#pragma GCC optimize("fp-contract=off")
#endif

#define ISA avx512_bf16

#include "kernels/vec_avx512.inc"
#include "kernels/vec_names.inc"

#define NV (TE_PANEL / VW)
#define ROWS 6

/* sum + w * x for both halves of each lane */
VEC VF
vf_dot_pairs(VF sum, VI w, VI x)
{
	__asm__ ("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
	return sum;
}

/* Rounded: the lanes of `first`, then those of `second`. */
VEC VI
vi_halves(VF first, VF second)
{
	VI			halves;

	__asm__ ("vcvtne2ps2bf16 %2, %1, %0" : "=v"(halves) : "v"(second), "v"(first));
	return halves;
}

/* The first n lanes, n <= 16, zero beyond; nothing is read where n is 0. */
VEC VF
load_first(const float *p, size_t n)
{
	return n == VW ? vf_load(p) : vf_load_n(p, n);
}

/* Of n elements from i on, those that fall into the vector that begins at i + skip. */
VEC size_t
lanes_at(size_t i, size_t skip, size_t n)
{
	return i + skip < n ? LANES(i + skip, n) : 0;
}

/* 32 elements of a row from i on, rounded, zero beyond n. */
VEC VI
round_at(const float *x, size_t i, size_t n)
{
	if (i + 2 * VW <= n)
		return vi_halves(vf_load(x + i), vf_load(x + i + VW));
	return vi_halves(load_first(x + i, lanes_at(i, 0, n)), load_first(x + i + VW, lanes_at(i, VW, n)));
}

void
te_avx512_bf16_round_bf16(size_t n, const float *x, uint16_t *y)
{
	size_t		i;

	for (i = 0; i + 2 * VW <= n; i += 2 * VW)
		_mm512_storeu_si512(y + i, round_at(x, i, n));
	if (i < n)
		_mm512_mask_storeu_epi32(y + i, (__mmask16) ((1u << (n - i + 1) / 2) - 1), round_at(x, i, n));
}

/* Pairs of k are 32-bit lanes, which are transposed like floats. */
void
te_avx512_bf16_pack_panel_bf16(size_t rows, size_t k, const float *a, size_t ld_a, uint16_t *panel)
{
	for (size_t first = 0; first < TE_PANEL; first += VW)
	{
		for (size_t i = 0; i < k; i += 2 * VW)
		{
			size_t		pairs = TE_MIN((size_t) VW, (k - i + 1) / 2);
			VF			square[VW];

			UNROLL for (size_t r = 0; r < VW; r++)
				square[r] = first + r < rows ? _mm512_castsi512_ps(round_at(a + (first + r) * ld_a, i, k)) : vf_zero();
			vf_transpose(square);
			UNROLL for (size_t j = 0; j < VW; j++)
			{
				if (j < pairs)
					_mm512_storeu_ps(panel + (i + 2 * j) * TE_PANEL + 2 * first, square[j]);
			}
		}
	}
}

void
te_avx512_bf16_pack_columns_bf16(size_t k, size_t n, const float *a, size_t ld_a, uint16_t *panel)
{
	VI			low = _mm512_cvtepu16_epi32(_mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
	VI			zip = _mm512_or_si512(low, _mm512_slli_epi32(_mm512_add_epi32(low, vi_set1(VW)), 16));

	for (size_t i = 0; i < k; i += 2, a += 2 * ld_a, panel += 2 * TE_PANEL)
	{
		bool		second = i + 1 < k;

		UNROLL for (size_t c = 0; c < TE_PANEL; c += VW)
		{
			size_t		lanes = lanes_at(c, 0, n);
			VI			halves = vi_halves(load_first(a + c, lanes), second ? load_first(a + ld_a + c, lanes) : vf_zero());

			_mm512_storeu_si512(panel + 2 * c, _mm512_permutexvar_epi16(zip, halves));
		}
	}
}

VEC VI
pair_at(const uint16_t *p)
{
	int			pair;

	memcpy(&pair, p, sizeof(pair));
	return vi_set1(pair);
}

/* sums[r][c] over the pairs; strides in halves.  rows, one of the strides and add are constants where it is inlined; first: it reads the panel before others. */
INLINE void
tile(int rows, size_t pairs, const uint16_t *a, size_t row_stride, size_t pair_stride, const uint16_t *panel,
	 float *acc, size_t ld_acc, bool add, bool first)
{
	VF			sums[ROWS][NV];

	UNROLL for (int r = 0; r < rows; r++)
	{
		UNROLL for (int v = 0; v < NV; v++)
			sums[r][v] = add ? vf_load(acc + (size_t) r * ld_acc + v * VW) : vf_zero();
	}
	for (size_t i = 0; i < pairs; i++)
	{
		VI			columns[NV];

		if (first && rows > 1)
			ask_ahead(panel, NV * sizeof(VI));

		UNROLL for (int v = 0; v < NV; v++)
			columns[v] = vi_load(panel + 2 * v * VW);
		UNROLL for (int r = 0; r < rows; r++)
		{
			VI			pair = pair_at(a + (size_t) r * row_stride);

			UNROLL for (int v = 0; v < NV; v++)
				sums[r][v] = vf_dot_pairs(sums[r][v], columns[v], pair);
		}
		a += pair_stride;
		panel += 2 * TE_PANEL;
	}
	UNROLL for (int r = 0; r < rows; r++)
	{
		UNROLL for (int v = 0; v < NV; v++)
			vf_store(acc + (size_t) r * ld_acc + v * VW, sums[r][v]);
	}
}

INLINE void
tiles(size_t m, size_t pairs, const uint16_t *a, size_t row_stride, size_t pair_stride, const uint16_t *panel,
	  float *acc, size_t ld_acc, bool add)
{
	size_t		r = 0;

#define TILES(height) \
	for (; m - r >= (height); r += (height)) \
		tile((height), pairs, a + r * row_stride, row_stride, pair_stride, panel, acc + r * ld_acc, ld_acc, add, r == 0)

	TILES(ROWS);
	TILES(4);
	TILES(2);
	TILES(1);
#undef TILES
}

void
te_avx512_bf16_gemm_panel_bf16(size_t m, size_t pairs, const uint16_t *a, size_t ld_a, const uint16_t *panel,
							   float *acc, size_t ld_acc, bool add)
{
	if (add)
		tiles(m, pairs, a, ld_a, 2, panel, acc, ld_acc, true);
	else
		tiles(m, pairs, a, ld_a, 2, panel, acc, ld_acc, false);
}

void
te_avx512_bf16_gemm_columns_bf16(size_t m, size_t pairs, const uint16_t *a, const uint16_t *panel,
								 float *acc, size_t ld_acc, bool add)
{
	if (add)
		tiles(m, pairs, a, 2, 2 * TE_PANEL, panel, acc, ld_acc, true);
	else
		tiles(m, pairs, a, 2, 2 * TE_PANEL, panel, acc, ld_acc, false);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* __x86_64__ */
