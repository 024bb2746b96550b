/*-------------------------------------------------------------------------
 * matmul.c
 *	  C (+)= op(A) · op(B) of dense f32 matrices, for backward passes.
 *
 * A task is a block of TILE_M x TILE_N of C, cut by shape only.  OpenBLAS
 * computes it on one thread where it is asked for; else the panel kernels
 * do, TILE_K of k at a time: that piece of op(B) is copied into panels, and
 * strips of 64 rows of op(A) go over them, copied too where A is transposed.
 * The copies are on the stack (180 kB) and stay in the L2 cache.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#define TILE_M 256
#define TILE_N 256
#define TILE_K 128				/* of our own loop */

/* What a task covers of C. */
typedef struct Block
{
	size_t		row;
	size_t		column;
	size_t		m;
	size_t		n;
} Block;

size_t
te_matmul_prepare(TeMatmul *matmul)
{
	matmul->tile_m = TILE_M;
	return (matmul->m + TILE_M - 1) / TILE_M * ((matmul->n + TILE_N - 1) / TILE_N);
}

static void
blas_block(const TeMatmul *mm, const Block *block)
{
	const float *a = mm->a + block->row * (mm->trans_a ? 1 : mm->ld_a);
	const float *b = mm->b + block->column * (mm->trans_b ? mm->ld_b : 1);

	mm->blas->sgemm(TE_BLAS_ROW_MAJOR, mm->trans_a ? TE_BLAS_TRANS : TE_BLAS_NO_TRANS,
					mm->trans_b ? TE_BLAS_TRANS : TE_BLAS_NO_TRANS,
					(int) block->m, (int) block->n, (int) mm->k, 1.0f, a, (int) mm->ld_a, b, (int) mm->ld_b,
					mm->add ? 1.0f : 0.0f, mm->c + block->row * mm->ld_c + block->column, (int) mm->ld_c);
}

/* op(B)[k0 .. k0 + k) x n <= 64 columns from `column` on, zero beyond n. */
static void
copy_panel(const TeMatmul *mm, size_t k0, size_t k, size_t column, size_t n, float *panel)
{
	if (mm->trans_b)
	{
		te_kernel.pack_panel(n, k, mm->b + column * mm->ld_b + k0, mm->ld_b, panel);
		return;
	}
	for (size_t i = 0; i < k; i++)
	{
		memcpy(panel + i * TE_PANEL, mm->b + (k0 + i) * mm->ld_b + column, n * sizeof(float));
		memset(panel + i * TE_PANEL + n, 0, (TE_PANEL - n) * sizeof(float));
	}
}

/* Rows [row, row + m), m <= 64, of op(A) from k0 on; as they are, or copied with k outside. */
static const float *
copy_strip(const TeMatmul *mm, size_t k0, size_t k, size_t row, size_t m, float *strip)
{
	if (!mm->trans_a)
		return mm->a + row * mm->ld_a + k0;
	for (size_t i = 0; i < k; i++)
		memcpy(strip + i * TE_PANEL, mm->a + (k0 + i) * mm->ld_a + row, m * sizeof(float));
	return strip;
}

/* c[m, n <= 64] (+)= strip · panel; where C is narrower than the panel by way of a tile. */
static void
strip_product(const TeMatmul *mm, size_t m, size_t n, size_t k, const float *strip, const float *panel, float *c, bool add)
{
	TeFn_gemm_panel_f32 *gemm = mm->trans_a ? te_kernel.gemm_columns_f32 : te_kernel.gemm_panel_f32;
	size_t		ld = mm->trans_a ? TE_PANEL : mm->ld_a;
	float		tile[TE_PANEL * TE_PANEL];

	if (n == TE_PANEL)
	{
		gemm(m, k, strip, ld, panel, c, mm->ld_c, add);
		return;
	}
	memset(tile, 0, m * TE_PANEL * sizeof(float));
	for (size_t i = 0; add && i < m; i++)
		memcpy(tile + i * TE_PANEL, c + i * mm->ld_c, n * sizeof(float));
	gemm(m, k, strip, ld, panel, tile, TE_PANEL, add);
	for (size_t i = 0; i < m; i++)
		memcpy(c + i * mm->ld_c, tile + i * TE_PANEL, n * sizeof(float));
}

static void
own_block(const TeMatmul *mm, const Block *block)
{
	float		panels[TILE_N * TILE_K];
	float		strip_copy[TE_PANEL * TILE_K];

	for (size_t r = 0; mm->k == 0 && !mm->add && r < block->m; r++)
		memset(mm->c + (block->row + r) * mm->ld_c + block->column, 0, block->n * sizeof(float));
	for (size_t k0 = 0; k0 < mm->k; k0 += TILE_K)
	{
		size_t		k = TE_MIN((size_t) TILE_K, mm->k - k0);

		for (size_t c = 0; c < block->n; c += TE_PANEL)
			copy_panel(mm, k0, k, block->column + c, TE_MIN((size_t) TE_PANEL, block->n - c), panels + c * TILE_K);
		for (size_t r = 0; r < block->m; r += TE_PANEL)
		{
			size_t		m = TE_MIN((size_t) TE_PANEL, block->m - r);
			const float *strip = copy_strip(mm, k0, k, block->row + r, m, strip_copy);

			for (size_t c = 0; c < block->n; c += TE_PANEL)
				strip_product(mm, m, TE_MIN((size_t) TE_PANEL, block->n - c), k, strip, panels + c * TILE_K,
							  mm->c + (block->row + r) * mm->ld_c + block->column + c, mm->add || k0 > 0);
		}
	}
}

void
te_matmul_task(void *arg, size_t task, int worker)
{
	const TeMatmul *mm = arg;
	size_t		n_row_tiles = (mm->m + TILE_M - 1) / TILE_M;
	Block		block;

	block.row = task % n_row_tiles * TILE_M;
	block.column = task / n_row_tiles * TILE_N;
	block.m = TE_MIN((size_t) TILE_M, mm->m - block.row);
	block.n = TE_MIN((size_t) TILE_N, mm->n - block.column);
	if (mm->blas != NULL)
		blas_block(mm, &block);
	else
		own_block(mm, &block);
}
