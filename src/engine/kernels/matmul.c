/*-------------------------------------------------------------------------
 * matmul.c
 *	  C (+)= op(A) · op(B) of dense f32 matrices, for backward passes.
 *
 * A task is a block of TILE_M x TILE_N of C, cut by shape only.  OpenBLAS
 * computes it on one thread where the host has it; where not, the panel kernel
 * does: 64 columns and TILE_K rows of op(B) at a time are copied into a panel
 * on the stack, and so are rows of op(A) where A is transposed.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#define TILE_M 128
#define TILE_N 256
#define TILE_K 64				/* of our own loop: a panel of 16 kB on the stack */

/* What a task covers. */
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

/* op(B)[k0 .. k0 + k) x 64 columns from `column` on, zero beyond n. */
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

/* One panel's columns of a block, for up to 64 rows: the product into a tile, then into C. */
static void
own_tile(const TeMatmul *mm, size_t row, size_t m, size_t column, size_t n)
{
	float		panel[TILE_K * TE_PANEL];
	float		rows[TE_PANEL * TILE_K];
	float		tile[TE_PANEL * TE_PANEL];

	memset(tile, 0, sizeof(tile));
	for (size_t k0 = 0; k0 < mm->k; k0 += TILE_K)
	{
		size_t		k = TE_MIN((size_t) TILE_K, mm->k - k0);
		const float *a = mm->a + row * mm->ld_a + k0;
		size_t		ld_a = mm->ld_a;

		copy_panel(mm, k0, k, column, n, panel);
		if (mm->trans_a)
		{
			for (size_t i = 0; i < k; i++)
			{
				for (size_t r = 0; r < m; r++)
					rows[r * TILE_K + i] = mm->a[(k0 + i) * mm->ld_a + row + r];
			}
			a = rows;
			ld_a = TILE_K;
		}
		te_kernel.gemm_panel_f32(m, k, a, ld_a, panel, tile, TE_PANEL, true);
	}
	for (size_t r = 0; r < m; r++)
	{
		float	   *c = mm->c + (row + r) * mm->ld_c + column;

		if (mm->add)
			te_kernel.add(n, c, tile + r * TE_PANEL, c);
		else
			memcpy(c, tile + r * TE_PANEL, n * sizeof(float));
	}
}

static void
own_block(const TeMatmul *mm, const Block *block)
{
	for (size_t c = 0; c < block->n; c += TE_PANEL)
	{
		for (size_t r = 0; r < block->m; r += TE_PANEL)
			own_tile(mm, block->row + r, TE_MIN((size_t) TE_PANEL, block->m - r),
					 block->column + c, TE_MIN((size_t) TE_PANEL, block->n - c));
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
