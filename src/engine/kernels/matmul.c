/*-------------------------------------------------------------------------
 * matmul.c
 *	  C (+)= op(A) · op(B) of dense f32 matrices, for training.
 *
 * A task is a block of C, cut by shape only and so that a few threads have the same work each.  It goes
 * through k in pieces: that of op(B) is copied into panels, and strips of 64 rows of op(A) go over them, copied too
 * where they do not lie as the kernel reads them.  The copies are on the stack
 * (450 kB at most) and stay in the L2 cache.  The larger the block, the less is copied for each product; with the pieces of k
 * longer the panels would not stay, with shorter ones C would be read and written more often.
 *
 * A form says how numbers are copied and multiplied: as f32; as bf16 by pairs; or, where the
 * instruction set has no products of bf16, rounded to bf16 and kept in f32.  The last two give the same but for the order
 * of sums.  To add one: its functions, a const Form of them, and when it is chosen in form_of().
 *
 * A narrow C, of the overlays of low rank, would leave most of a panel of B empty: it is computed as
 * its transpose, op(B)' · op(A)', and written where it belongs.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

/* The largest block of C, and the piece of k: of f32, and twice that of bf16. */
#define TILE_M 384
#define TILE_N 384
#define TILE_K 256
/* Tasks come in multiples of this, as far as C has room for them. */
#define TASKS 4
/* Columns below which C counts as narrow. */
#define NARROW (TE_PANEL / 2)

/* What a task covers of C. */
typedef struct Block
{
	TeMatmul	mm;				/* with A and B in each other's place where C is narrow */
	bool		transposed;		/* they are: so is C */
	size_t		row;
	size_t		column;
	size_t		m;
	size_t		n;
} Block;

typedef struct Form
{
	size_t		tile_k;			/* even */
	size_t		number_bytes;	/* of a number in a copy */
	/* op(B)[k0 .. k0 + k) x n <= 64 columns from `column` on into a panel */
	void		(*copy_panel) (const TeMatmul *mm, size_t k0, size_t k, size_t column, size_t n, void *panel);
	/* rows [row, row + m), m <= 64, of op(A) from k0 on: where they lie for the product */
	const void *(*copy_strip) (const TeMatmul *mm, size_t k0, size_t k, size_t row, size_t m, void *strip);
	/* c[m, 64] (+)= strip · panel */
	void		(*product) (const TeMatmul *mm, size_t m, size_t k, const void *strip, const void *panel, float *c, size_t ld_c, bool add);
} Form;

/* ---- f32 ---- */

static void
copy_panel_f32(const TeMatmul *mm, size_t k0, size_t k, size_t column, size_t n, void *panel)
{
	if (mm->trans_b)
		te_kernel.pack_panel(n, k, mm->b + column * mm->ld_b + k0, mm->ld_b, panel);
	else
		te_kernel.pack_columns(k, n, mm->b + k0 * mm->ld_b + column, mm->ld_b, panel);
}

static const void *
copy_strip_f32(const TeMatmul *mm, size_t k0, size_t k, size_t row, size_t m, void *strip)
{
	if (!mm->trans_a)
		return mm->a + row * mm->ld_a + k0;
	te_kernel.pack_columns(k, m, mm->a + k0 * mm->ld_a + row, mm->ld_a, strip);
	return strip;
}

static void
product_f32(const TeMatmul *mm, size_t m, size_t k, const void *strip, const void *panel, float *c, size_t ld_c, bool add)
{
	if (mm->trans_a)
		te_kernel.gemm_columns_f32(m, k, strip, TE_PANEL, panel, c, ld_c, add);
	else
		te_kernel.gemm_panel_f32(m, k, strip, mm->ld_a, panel, c, ld_c, add);
}

/* ---- f32, rounded to bf16 ---- */

static void
copy_panel_rounded(const TeMatmul *mm, size_t k0, size_t k, size_t column, size_t n, void *panel)
{
	copy_panel_f32(mm, k0, k, column, n, panel);
	te_kernel.round_floats_bf16(k * TE_PANEL, panel, panel);
}

static const void *
copy_strip_rounded(const TeMatmul *mm, size_t k0, size_t k, size_t row, size_t m, void *strip)
{
	const float *from = copy_strip_f32(mm, k0, k, row, m, strip);

	if (mm->trans_a)
		te_kernel.round_floats_bf16(k * TE_PANEL, strip, strip);
	for (size_t r = 0; !mm->trans_a && r < m; r++)
		te_kernel.round_floats_bf16(k, from + r * mm->ld_a, (float *) strip + r * TILE_K);
	return strip;
}

static void
product_rounded(const TeMatmul *mm, size_t m, size_t k, const void *strip, const void *panel, float *c, size_t ld_c, bool add)
{
	if (mm->trans_a)
		te_kernel.gemm_columns_f32(m, k, strip, TE_PANEL, panel, c, ld_c, add);
	else
		te_kernel.gemm_panel_f32(m, k, strip, TILE_K, panel, c, ld_c, add);
}

/* ---- bf16 by pairs ---- */

static void
copy_panel_bf16(const TeMatmul *mm, size_t k0, size_t k, size_t column, size_t n, void *panel)
{
	if (mm->trans_b)
		te_kernel.pack_panel_bf16(n, k, mm->b + column * mm->ld_b + k0, mm->ld_b, panel);
	else
		te_kernel.pack_columns_bf16(k, n, mm->b + k0 * mm->ld_b + column, mm->ld_b, panel);
}

static const void *
copy_strip_bf16(const TeMatmul *mm, size_t k0, size_t k, size_t row, size_t m, void *strip)
{
	if (mm->trans_a)
		te_kernel.pack_columns_bf16(k, m, mm->a + k0 * mm->ld_a + row, mm->ld_a, strip);
	for (size_t r = 0; !mm->trans_a && r < m; r++)
		te_kernel.round_bf16(k, mm->a + (row + r) * mm->ld_a + k0, (uint16_t *) strip + r * 2 * TILE_K);
	return strip;
}

static void
product_bf16(const TeMatmul *mm, size_t m, size_t k, const void *strip, const void *panel, float *c, size_t ld_c, bool add)
{
	size_t		pairs = (k + 1) / 2;

	if (mm->trans_a)
		te_kernel.gemm_columns_bf16(m, pairs, strip, panel, c, ld_c, add);
	else
		te_kernel.gemm_panel_bf16(m, pairs, strip, 2 * TILE_K, panel, c, ld_c, add);
}

static const Form form_f32 = {TILE_K, sizeof(float), copy_panel_f32, copy_strip_f32, product_f32};
static const Form form_rounded = {TILE_K, sizeof(float), copy_panel_rounded, copy_strip_rounded, product_rounded};
static const Form form_bf16 = {2 * TILE_K, sizeof(uint16_t), copy_panel_bf16, copy_strip_bf16, product_bf16};

static const Form *
form_of(const TeMatmul *mm)
{
	if (!mm->bf16)
		return &form_f32;
	return te_has_bf16() ? &form_bf16 : &form_rounded;
}

/* ---- blocks ---- */

/* The product as it is computed: C, or its transpose. */
static bool
orient(const TeMatmul *matmul, TeMatmul *into)
{
	*into = *matmul;
	if (matmul->n >= NARROW || matmul->m < NARROW)
		return false;
	into->m = matmul->n;
	into->n = matmul->m;
	into->a = matmul->b;
	into->ld_a = matmul->ld_b;
	into->trans_a = !matmul->trans_b;
	into->b = matmul->a;
	into->ld_b = matmul->ld_a;
	into->trans_b = !matmul->trans_a;
	return true;
}

static size_t
pieces(size_t n, size_t piece)
{
	return (n + piece - 1) / piece;
}

size_t
te_matmul_prepare(TeMatmul *matmul)
{
	TeMatmul	mm;
	size_t		rows;
	size_t		columns;

	if (matmul->m == 0 || matmul->n == 0)
		return 0;
	orient(matmul, &mm);
	rows = pieces(mm.m, TILE_M);
	columns = pieces(mm.n, TILE_N);
	while (rows * columns < TASKS)
	{
		if (mm.n / columns > TE_MAX((size_t) TE_PANEL, mm.m / rows))
			columns *= 2;
		else if (mm.m / rows > TE_PANEL)
			rows *= 2;
		else
			break;
	}
	while (rows * columns % TASKS != 0 && mm.m / rows > 2 * TE_PANEL)
		rows++;
	matmul->tile_m = pieces(mm.m, rows);
	matmul->tile_n = pieces(pieces(mm.n, TE_PANEL), columns) * TE_PANEL;
	return pieces(mm.m, matmul->tile_m) * pieces(mm.n, matmul->tile_n);
}

/* Between a tile [m, 64] and its part of C. */
static void
copy_tile(const Block *block, size_t m, size_t n, float *tile, float *c, bool into_c)
{
	size_t		row_stride = block->transposed ? 1 : block->mm.ld_c;
	size_t		column_stride = block->transposed ? block->mm.ld_c : 1;

	for (size_t i = 0; i < m; i++)
	{
		for (size_t j = 0; j < n; j++)
		{
			if (into_c)
				c[i * row_stride + j * column_stride] = tile[i * TE_PANEL + j];
			else
				tile[i * TE_PANEL + j] = c[i * row_stride + j * column_stride];
		}
	}
}

/* c[m <= 64, n <= 64] (+)= strip · panel, by way of a tile where the product does not lie in C as in the tile */
static void
panel_product(const Block *block, const Form *form, size_t m, size_t n, size_t k, const void *strip, const void *panel, float *c, bool add)
{
	float		tile[TE_PANEL * TE_PANEL];

	if (n == TE_PANEL && !block->transposed)
	{
		form->product(&block->mm, m, k, strip, panel, c, block->mm.ld_c, add);
		return;
	}
	if (add)
	{
		memset(tile, 0, m * TE_PANEL * sizeof(float));
		copy_tile(block, m, n, tile, c, false);
	}
	form->product(&block->mm, m, k, strip, panel, tile, TE_PANEL, add);
	copy_tile(block, m, n, tile, c, true);
}

/* Where an element of the block lies. */
static float *
element(const Block *block, size_t r, size_t c)
{
	size_t		row = block->row + r;
	size_t		column = block->column + c;

	return block->mm.c + (block->transposed ? column * block->mm.ld_c + row : row * block->mm.ld_c + column);
}

/* k of it from k0 on. */
static void
block_piece(const Block *block, const Form *form, size_t k0, size_t k, char *panels, char *strip_copy)
{
	const TeMatmul *mm = &block->mm;
	size_t		panel_bytes = form->tile_k * TE_PANEL * form->number_bytes;

	for (size_t c = 0; c < block->n; c += TE_PANEL)
		form->copy_panel(mm, k0, k, block->column + c, TE_MIN((size_t) TE_PANEL, block->n - c),
						 panels + c / TE_PANEL * panel_bytes);
	for (size_t r = 0; r < block->m; r += TE_PANEL)
	{
		size_t		m = TE_MIN((size_t) TE_PANEL, block->m - r);
		const void *strip = form->copy_strip(mm, k0, k, block->row + r, m, strip_copy);

		for (size_t c = 0; c < block->n; c += TE_PANEL)
			panel_product(block, form, m, TE_MIN((size_t) TE_PANEL, block->n - c), k, strip,
						  panels + c / TE_PANEL * panel_bytes, element(block, r, c), mm->add || k0 > 0);
	}
}

void
te_matmul_task(void *arg, size_t task, int worker)
{
	const TeMatmul *matmul = arg;
	const Form *form = form_of(matmul);
	size_t		n_rows;
	Block		block;
	_Alignas(TE_CACHE_LINE) char panels[TILE_N * TILE_K * sizeof(float)];
	_Alignas(TE_CACHE_LINE) char strip[TE_PANEL * TILE_K * sizeof(float)];

	block.transposed = orient(matmul, &block.mm);
	n_rows = pieces(block.mm.m, matmul->tile_m);
	block.row = task % n_rows * matmul->tile_m;
	block.column = task / n_rows * matmul->tile_n;
	block.m = TE_MIN(matmul->tile_m, block.mm.m - block.row);
	block.n = TE_MIN(matmul->tile_n, block.mm.n - block.column);
	for (size_t r = 0; matmul->k == 0 && !matmul->add && r < block.m; r++)
	{
		for (size_t c = 0; c < block.n; c++)
			*element(&block, r, c) = 0;
	}
	for (size_t k0 = 0; k0 < matmul->k; k0 += form->tile_k)
		block_piece(&block, form, k0, TE_MIN(form->tile_k, matmul->k - k0), panels, strip);
}
