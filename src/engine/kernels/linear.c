/*-------------------------------------------------------------------------
 * linear.c
 *	  y = activation(x · Wᵀ + bias) + residual, for weights of any type and layout.
 *
 * A task is a tile: some rows of x times one panel of 64 columns.  Tiles are
 * cut by shape only.  Consecutive tasks share the rows: they and a panel fit the
 * L2 cache, the panels follow one another through it, and large batches leave
 * the cache that they share with other processes alone.
 *
 * A panel that is f32 already is used in place.  Others are expanded
 * TE_EXPAND rows of k at a time into the worker's scratch and the product goes
 * on over them, so that an f32 copy of a weight never exists; their tiles are
 * taller, to expand less often.  A weight in rows of f32, as training has
 * it since it changes at every step, is transposed in the same way: at 64 columns this
 * costs a few per cent of the product from 100 rows on, and keeps one kernel,
 * one order of summation and no second copy, where OpenBLAS would pack both operands.
 *
 * A few rows alone, as texts in the making have them, are multiplied by halves as they lie: expanding those would take as long as
 * the product.
 *
 * A panel that has a kernel for products of bytes (pack.c) is multiplied as it lies by
 * x as bytes.  They are made once for all panels, a few rows a task, in a pass of
 * its own before: a row needs its extremes first, and no row of x is
 * complete before the last task of what made it.  Where the weight's rows are rotated (quant.h), x is too; where they
 * have blocks, x is rounded in blocks.
 *
 * Panels of bf16 are multiplied as they lie by x rounded to bf16 in the same pass, where the
 * instruction set has such products and all parts are bf16.  Without them they are expanded and x stays in f32: rounding it
 * would cost time and bring nothing.
 *
 * The product is written straight into y, or into scratch where the panel
 * hangs over the edge of y, and the epilogue runs over it while it is in cache.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

/*
 * Most rows of a tile, multiples of the six rows of the largest register tile: of weights that are
 * f32 panels, that a vector kernel expands, and that go through the scalar to_float of their type.
 */
#define TILE_ROWS_DENSE 96
#define TILE_ROWS_EXPANDED 240
#define TILE_ROWS_CONVERTED 480
#define TILE_ROWS_MOST TILE_ROWS_CONVERTED

/* Rows of x that are quantized together, few enough that those of some texts decoded together are several tasks. */
#define QUANTIZE_ROWS TE_QUANTIZED_ROWS

static bool
is_expanded(const TeWeight *weight)
{
	return weight->layout != TE_PANELS || weight->dtype != TE_F32;
}

/* Rows of x are rounded in blocks for types that have blocks, else as a whole. */
static bool
has_blocks(const TeWeight *weight)
{
	return te_dtypes[weight->dtype].block_elements > 1;
}

/* The first part that is multiplied as bytes, n_parts: none.  How its type wants x rounded is how it is. */
static int
first_byte_part(const TeLinear *linear)
{
	int			part = 0;

	while (part < linear->n_parts && (linear->exact || te_byte_gemm(linear->weight[part]) == NULL))
		part++;
	return part;
}

/* The kernel for this part, or NULL: floats. */
static TeByteGemm *
byte_gemm(const TeLinear *linear, int part)
{
	int			first = first_byte_part(linear);

	if (part < first || has_blocks(linear->weight[part]) != has_blocks(linear->weight[first]))
		return NULL;
	return te_byte_gemm(linear->weight[part]);
}

/* The taller, the more its expansion costs. */
static size_t
most_rows(const TeLinear *linear, int part)
{
	const TeWeight *weight = linear->weight[part];

	if (!is_expanded(weight) || linear->x_bf16 != NULL || byte_gemm(linear, part) != NULL)
		return TILE_ROWS_DENSE;
	return weight->layout == TE_PANELS || weight->dtype == TE_F32 ? TILE_ROWS_EXPANDED : TILE_ROWS_CONVERTED;
}

static size_t
panels_of(const TeWeight *weight)
{
	return ((size_t) weight->n_out + TE_PANEL - 1) / TE_PANEL;
}

size_t
te_linear_scratch(const TeLinear *linear)
{
	size_t		tile = (size_t) TILE_ROWS_MOST * TE_PANEL + TE_EXPAND_MOST * TE_PANEL + TE_EXPAND_BUFFER;

	return TE_MAX(tile, (size_t) linear->weight[0]->n_in * TE_QUANTIZED_ROWS);
}

/* All parts are panels of bf16, and there are products of them. */
static bool
is_bf16(const TeLinear *linear)
{
	for (int i = 0; i < linear->n_parts; i++)
	{
		if (linear->weight[i]->dtype != TE_BF16 || linear->weight[i]->layout != TE_PANELS)
			return false;
	}
	return !linear->exact && te_has_bf16();
}

/* Between rows of x as bf16, in halves. */
static size_t
bf16_stride(const TeLinear *linear)
{
	return TE_ALIGN(linear->weight[0]->n_in, TE_CACHE_LINE / sizeof(uint16_t));
}

static bool
needs_bytes(const TeLinear *linear)
{
	return first_byte_part(linear) < linear->n_parts;
}

/* Whether any part looks at what is left of x beyond bytes. */
static bool
needs_low(const TeLinear *linear)
{
	for (int i = 0; i < linear->n_parts; i++)
	{
		if (byte_gemm(linear, i) != NULL && te_byte_low(linear->weight[i]))
			return !linear->coarse;
	}
	return false;
}

/* Whether any part has scales for 16 of k. */
static bool
needs_halves(const TeLinear *linear)
{
	for (int i = 0; i < linear->n_parts; i++)
	{
		if (byte_gemm(linear, i) != NULL && te_byte_halves(linear->weight[i]))
			return true;
	}
	return false;
}

/* A row: its bytes, and its scale, zero and sum, or the scales and sums of its blocks; of their halves; those of what is left. */
size_t
te_linear_bytes(const TeLinear *linear)
{
	size_t		ld;
	size_t		floats;

	if (is_bf16(linear))
		return te_mul_size(linear->n_tok, bf16_stride(linear) / 2);
	if (!needs_bytes(linear))
		return 0;
	ld = TE_ALIGN(linear->weight[0]->n_in, TE_CACHE_LINE);
	floats = ld / sizeof(float) + TE_MAX((size_t) 3, 2 * ld / TE_QK);
	if (needs_halves(linear))
		floats += 2 * ld / TE_QK;
	return te_mul_size(linear->n_tok, needs_low(linear) ? floats + ld / sizeof(float) + ld / TE_QK : floats);
}

/* Divide `bytes`. */
static void
place_bytes(TeLinear *linear)
{
	TeByteRows *to = &linear->x_bytes;
	size_t		blocks;
	int32_t    *next;

	linear->n_quantize = 0;
	linear->x_bf16 = NULL;
	/* the instruction set may have changed since room was asked for */
	if (is_bf16(linear) && linear->bytes != NULL)
	{
		linear->x_bf16 = (uint16_t *) linear->bytes;
		linear->n_quantize = (linear->n_tok + QUANTIZE_ROWS - 1) / QUANTIZE_ROWS;
		return;
	}
	if (!needs_bytes(linear))
		return;
	linear->n_quantize = (linear->n_tok + QUANTIZE_ROWS - 1) / QUANTIZE_ROWS;
	to->ld = TE_ALIGN(linear->weight[0]->n_in, TE_CACHE_LINE);
	blocks = linear->n_tok * to->ld / TE_QK;
	to->q = (int8_t *) linear->bytes;
	to->scale = linear->bytes + linear->n_tok * to->ld / sizeof(float);
	to->zero = to->scale + linear->n_tok;
	to->sum = (int32_t *) (to->zero + linear->n_tok);
	to->block_scale = to->scale;
	to->block_sum = (int32_t *) (to->block_scale + blocks);
	next = to->block_sum + blocks;
	to->half_sum = needs_halves(linear) ? next : NULL;
	if (to->half_sum != NULL)
		next += 2 * blocks;
	to->low_sum = needs_low(linear) ? next : NULL;
	to->low = needs_low(linear) ? (int8_t *) (to->low_sum + blocks) : NULL;
}

void
te_linear_quantize_task(void *arg, size_t task, int worker)
{
	const TeLinear *linear = arg;
	size_t		row = task * QUANTIZE_ROWS;
	size_t		end = TE_MIN(row + QUANTIZE_ROWS, linear->n_tok);
	size_t		n = (size_t) linear->weight[0]->n_in;
	const TeWeight *first;

	for (; linear->x_bf16 != NULL && row < end; row++)
		te_kernel.round_bf16(n, linear->x + row * linear->ld_x, linear->x_bf16 + row * bf16_stride(linear));
	if (row == end)
		return;
	first = linear->weight[first_byte_part(linear)];
	if (has_blocks(first))
		te_kernel.quantize_blocks(row, end - row, n, linear->x + row * linear->ld_x, linear->ld_x, &linear->x_bytes);
	else
		te_kernel.quantize(row, end - row, n, te_dtypes[first->dtype].rotated ? te_rotation(n) : 1, linear->x + row * linear->ld_x,
						   linear->ld_x, linear->scratch + (size_t) worker * linear->scratch_stride, &linear->x_bytes);
}

size_t
te_linear_prepare(TeLinear *linear)
{
	size_t		most = TILE_ROWS_DENSE;

	place_bytes(linear);
	linear->n_panels = 0;
	for (int i = 0; i < linear->n_parts; i++)
	{
		linear->n_panels += panels_of(linear->weight[i]);
		most = TE_MAX(most, most_rows(linear, i));
	}
	linear->n_row_tiles = (linear->n_tok + most - 1) / most;
	linear->tile_rows = 0;
	if (linear->n_row_tiles > 0)
	{
		/* tiles of nearly the same height, in whole register tiles */
		linear->tile_rows = (linear->n_tok + linear->n_row_tiles - 1) / linear->n_row_tiles;
		linear->tile_rows = (linear->tile_rows + 5) / 6 * 6;
	}
	return linear->n_row_tiles * linear->n_panels;
}

/* acc[m, 64] = x · panel, expanding what is not f32 on the way. */
static void
panel_product(const TeWeight *weight, size_t panel, size_t m, const float *x, size_t ld_x,
			  float *acc, size_t ld_acc, float *scratch)
{
	size_t		n_in = (size_t) weight->n_in;
	size_t		step = te_expand_step(weight);
	TeFewGemm  *few = m <= TE_FEW_ROWS ? te_few_gemm(weight) : NULL;

	if (few != NULL)
	{
		few(m, n_in, x, ld_x, te_weight_panel(weight, panel), acc, ld_acc, false);
		return;
	}
	if (!is_expanded(weight))
	{
		te_kernel.gemm_panel_f32(m, n_in, x, ld_x, te_expand_panel(weight, panel, 0, n_in, NULL, NULL),
								 acc, ld_acc, false);
		return;
	}
	for (size_t k0 = 0; k0 < n_in; k0 += step)
	{
		size_t		k1 = TE_MIN(k0 + step, n_in);
		const float *expanded = te_expand_panel(weight, panel, k0, k1, scratch, scratch + TE_EXPAND_MOST * TE_PANEL);

		te_kernel.gemm_panel_f32(m, k1 - k0, x + k0, ld_x, expanded, acc, ld_acc, k0 > 0);
	}
}

void
te_linear_task(void *arg, size_t task, int worker)
{
	const TeLinear *linear = arg;
	size_t		row = task / linear->n_panels * linear->tile_rows;
	size_t		panel = task % linear->n_panels;
	size_t		part_column = 0;
	int			part = 0;
	float	   *scratch = linear->scratch + (size_t) worker * linear->scratch_stride;
	const TeWeight *weight;
	const float *bias;
	TeByteGemm *gemm;
	size_t		m;
	size_t		n;
	size_t		column;
	float	   *y;
	float	   *acc;
	size_t		ld_acc;

	while (panel >= panels_of(linear->weight[part]))
	{
		panel -= panels_of(linear->weight[part]);
		part_column += (size_t) linear->weight[part]->n_out;
		part++;
	}
	if (row >= linear->n_tok)
		return;
	weight = linear->weight[part];
	bias = linear->bias[part];
	m = TE_MIN(linear->tile_rows, linear->n_tok - row);
	n = TE_MIN((size_t) TE_PANEL, (size_t) weight->n_out - panel * TE_PANEL);
	column = part_column + panel * TE_PANEL;
	y = linear->y + row * linear->ld_y + column;

	acc = n == TE_PANEL ? y : scratch;
	ld_acc = n == TE_PANEL ? linear->ld_y : TE_PANEL;
	gemm = byte_gemm(linear, part);
	if (linear->x_bf16 != NULL)
		te_kernel.gemm_panel_bf16(m, ((size_t) weight->n_in + 1) / 2, linear->x_bf16 + row * bf16_stride(linear),
								  bf16_stride(linear), te_weight_panel(weight, panel), acc, ld_acc, false);
	else if (gemm != NULL)
		gemm(row, m, (size_t) weight->n_in, &linear->x_bytes, te_weight_panel(weight, panel), acc, ld_acc);
	else
		panel_product(weight, panel, m, linear->x + row * linear->ld_x, linear->ld_x, acc, ld_acc,
					  scratch + (size_t) TILE_ROWS_MOST * TE_PANEL);
	te_kernel.epilogue(m, n, acc, ld_acc, bias != NULL ? bias + panel * TE_PANEL : NULL, linear->activation,
					   linear->residual != NULL ? linear->residual + row * linear->ld_y + column : NULL,
					   linear->ld_y, y, linear->ld_y);
}
