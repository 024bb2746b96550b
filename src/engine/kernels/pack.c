/*-------------------------------------------------------------------------
 * pack.c
 *	  How weights lie in an image, and the way back.
 *
 * A panel is 64 output rows (columns of the product) side by side, so that
 * the GEMM reads it from front to back: n_in rows of 64 values of the type
 * for f32 and f16; for bf16 64 pairs of two consecutive rows, the last padded with zeros; for types with blocks the blocks
 * of 64 columns side by side; for int8 a TePanelInt8 (panels.h).  Panels follow one another; the last is padded with zeros.
 * A panel takes as many bytes as the 64 rows it was made of, of int8 the sums of its columns too, and of q4_K and
 * q5_K four more a super-block; it starts at a multiple of 64 bytes where the weight does.
 *
 * Types without a row in `formats` stay rows of their own blocks.  They are
 * expanded by their to_float and transposed, which costs more per use; that
 * is the price of every storage type working everywhere from its first day.
 *
 * Rows of a rotated type (quant.h) lie in panels rotated as they are; expanded, they are turned back.
 *
 * To add a packed type: a row of `formats`, its functions, a member
 * unpack_<type> of kernel_types.def with its reference in ref_panels.c; where it is multiplied
 * as bytes, a member gemm_<type> too.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

/* 64 rows (fewer in the last panel; the rest of the panel is zero already) into a panel, and row `c` of it back */
typedef struct PackFormat
{
	void		(*pack) (int64_t n_in, int64_t n_rows, const void *rows, void *panel);
	void		(*row) (int64_t n_in, const void *panel, size_t c, float *into);
	size_t		unpack;			/* offset of the kernel in TeKernels; 0: it is f32 already */
	size_t		gemm;			/* of the kernel that multiplies bytes by it; 0: there is none */
	int			together;		/* consecutive k of a column that lie together, the last of them padded; 0: one, or a block */
	bool		low;			/* that kernel looks at more of x than bytes: see TeByteRows */
	bool		halves;			/* it has scales for 16 */
	size_t		gemm_few;		/* of the kernel that multiplies few rows of floats by it as it lies; 0: there is none */
	/* types with blocks: */
	size_t		block_bytes;	/* of a panel's block */
	void		(*pack_block) (const void *from, void *panel, size_t c);	/* in place of `pack`: column c of a panel's block, which is zero */
} PackFormat;

typedef TeFn_unpack_f16 UnpackKernel;

static void
pack_f32(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	te_kernel.pack_panel((size_t) n_rows, (size_t) n_in, rows, (size_t) n_in, panel);
}

static void
row_f32(int64_t n_in, const void *panel, size_t c, float *into)
{
	const float *value = panel;

	for (int64_t i = 0; i < n_in; i++)
		into[i] = value[i * TE_PANEL + (int64_t) c];
}

static void
pack_f16(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;
	TeHalf	   *to = panel;

	for (int64_t r = 0; r < n_rows; r++)
	{
		for (int64_t i = 0; i < n_in; i++, from += sizeof(uint16_t))
			memcpy(&to[i * TE_PANEL + r], from, sizeof(uint16_t));
	}
}

/* Where element i of column c of a panel of bf16 is, among halves. */
static inline int64_t
pair_place(int64_t i, int64_t c)
{
	return (i / 2 * TE_PANEL + c) * 2 + i % 2;
}

static void
pack_bf16(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;
	uint16_t   *to = panel;

	for (int64_t r = 0; r < n_rows; r++)
	{
		for (int64_t i = 0; i < n_in; i++, from += sizeof(uint16_t))
			memcpy(&to[pair_place(i, r)], from, sizeof(uint16_t));
		if (n_in % 2 != 0)
			to[pair_place(n_in, r)] = 0;
	}
}

static void
row_f16(int64_t n_in, const void *panel, size_t c, float *into)
{
	const TeHalf *half = panel;

	for (int64_t i = 0; i < n_in; i++)
		into[i] = te_half_to_float(half[i * TE_PANEL + (int64_t) c]);
}

static void
row_bf16(int64_t n_in, const void *panel, size_t c, float *into)
{
	const uint16_t *half = panel;

	for (int64_t i = 0; i < n_in; i++)
		into[i] = te_bf16_value(half[pair_place(i, (int64_t) c)]);
}

/* Elements [k0, k0 + n) of a row as floats. */
static void
part_to_float(TeDtype dtype, const char *row, size_t k0, size_t n, float *into)
{
	if (te_dtypes[dtype].row_header_bytes > 0)
		te_int8_part_to_float(row, k0, n, into);
	else
		te_dtypes[dtype].to_float(row + te_checked_row_bytes(dtype, (int64_t) k0), into, n);
}

/* What the columns of a panel of int8 sum up to. */
static void
sum_columns(int64_t n_in, int64_t n_rows, const char *rows, float *sum)
{
	float		part[TE_QK];

	for (int64_t r = 0; r < n_rows; r++, rows += te_checked_row_bytes(TE_INT8, n_in))
	{
		double		total = 0;

		for (int64_t i = 0; i < n_in; i += TE_QK)
		{
			int64_t		n = TE_MIN(TE_QK, n_in - i);

			part_to_float(TE_INT8, rows, (size_t) i, (size_t) n, part);
			for (int64_t j = 0; j < n; j++)
				total += part[j];
		}
		sum[r] = (float) total;
	}
}

/* What is not written below is zero already. */
static void
put_nibble(TeNibbles to, size_t k, size_t c, int level)
{
	to[k % 16 / 4][c][k % 4] |= (uint8_t) (k < 16 ? level : level << 4);
}

static void
put_five_bits(TeNibbles to, TeFifths high, size_t k, size_t c, int level)
{
	put_nibble(to, k, c, level & 15);
	high[c][k % 4] |= (uint8_t) (level >> 4 << (k / 4));
}

/* Level i of a block of 32, without and with its fifth bit. */
static int
nibble_of(const uint8_t *q, size_t i)
{
	return i < TE_QK / 2 ? q[i] & 15 : q[i - TE_QK / 2] >> 4;
}

static int
five_bits_of(const uint8_t *q, const uint8_t *high, size_t i)
{
	return nibble_of(q, i) | (high[i / 8] >> (i % 8) & 1) << 4;
}

/* Column c of a panel's block out of a row's block. */
static void
pack_q8_0(const void *from, void *panel, size_t c)
{
	const TeBlockQ8_0 *block = from;
	TePanelQ8_0 *to = panel;

	to->d[c] = block->d;
	for (size_t i = 0; i < TE_QK; i++)
		to->q[i / 4][c][i % 4] = (uint8_t) (block->q[i] + TE_BYTE_BIAS);
}

static void
pack_q4_0(const void *from, void *panel, size_t c)
{
	const TeBlockQ4_0 *block = from;
	TePanelQ4_0 *to = panel;

	to->d[c] = block->d;
	for (size_t i = 0; i < TE_QK; i++)
		put_nibble(to->q, i, c, nibble_of(block->q, i));
}

static void
pack_q4_1(const void *from, void *panel, size_t c)
{
	const TeBlockQ4_1 *block = from;
	TePanelQ4_1 *to = panel;

	to->d[c] = block->d;
	to->m[c] = block->m;
	for (size_t i = 0; i < TE_QK; i++)
		put_nibble(to->q, i, c, nibble_of(block->q, i));
}

static void
pack_q5_0(const void *from, void *panel, size_t c)
{
	const TeBlockQ5_0 *block = from;
	TePanelQ5_0 *to = panel;

	to->d[c] = block->d;
	for (size_t i = 0; i < TE_QK; i++)
		put_five_bits(to->q, to->high, i, c, five_bits_of(block->q, block->high, i));
}

static void
pack_q5_1(const void *from, void *panel, size_t c)
{
	const TeBlockQ5_1 *block = from;
	TePanelQ5_1 *to = panel;

	to->d[c] = block->d;
	to->m[c] = block->m;
	for (size_t i = 0; i < TE_QK; i++)
		put_five_bits(to->q, to->high, i, c, five_bits_of(block->q, block->high, i));
}

static void
pack_q4_K(const void *from, void *panel, size_t c)
{
	const TeBlockQ4_K *block = from;
	TePanelQ4_K *to = panel;

	to->d[c] = block->d;
	to->dmin[c] = block->dmin;
	for (int g = 0; g < TE_QK_K / TE_QK; g++)
	{
		te_k_scale_min(block->scales, g, &to->group[g].scale[c], &to->group[g].min[c]);
		for (int i = 0; i < TE_QK; i++)
			put_nibble(to->group[g].q, (size_t) i, c, te_k_nibble_at(block->q, g * TE_QK + i));
	}
}

static void
pack_q5_K(const void *from, void *panel, size_t c)
{
	const TeBlockQ5_K *block = from;
	TePanelQ5_K *to = panel;

	to->d[c] = block->d;
	to->dmin[c] = block->dmin;
	for (int g = 0; g < TE_QK_K / TE_QK; g++)
	{
		te_k_scale_min(block->scales, g, &to->group[g].scale[c], &to->group[g].min[c]);
		for (int i = 0; i < TE_QK; i++)
			put_five_bits(to->group[g].q, to->group[g].high, (size_t) i, c,
						  te_k_nibble_at(block->q, g * TE_QK + i) | (block->high[i] >> g & 1) << 4);
	}
}

static void
pack_q6_K(const void *from, void *panel, size_t c)
{
	const TeBlockQ6_K *block = from;
	TePanelQ6_K *to = panel;

	to->d[c] = block->d;
	for (int i = 0; i < TE_QK_K; i++)
	{
		int			g = i / 16;
		int			quad = i % 16 / 4;
		int			level = te_q6_level_at(block, i);

		to->group[g].scale[c] = block->scales[g];
		to->group[g].q[quad % 2][c][i % 4] |= (uint8_t) ((level & 15) << (quad / 2 * 4));
		to->group[g].high[c][i % 4] |= (uint8_t) (level >> 4 << (2 * quad));
	}
}

#define ROW(type) \
static void \
row_##type(int64_t n_in, const void *panel, size_t c, float *into) \
{ \
	for (int64_t i = 0; i < n_in; i++) \
		into[i] = te_panel_float(te_##type##_at(panel, (size_t) i, c)); \
}

ROW(q8_0)
ROW(q4_0)
ROW(q4_1)
ROW(q5_0)
ROW(q5_1)
ROW(q4_K)
ROW(q5_K)
ROW(q6_K)

static void
pack_int8(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;
	TePanelInt8 *to = panel;

	sum_columns(n_in, n_rows, rows, to->sum);
	for (int64_t r = 0; r < n_rows; r++, from += n_in)
	{
		memcpy(&to->scale[r], from, sizeof(float));
		from += sizeof(float);
		for (int64_t i = 0; i < n_in; i++)
			to->q[i / 4][r][i % 4] = (uint8_t) (from[i] ^ TE_BYTE_BIAS);
	}
}

static void
row_int8(int64_t n_in, const void *panel, size_t c, float *into)
{
	const TePanelInt8 *from = panel;

	for (int64_t i = 0; i < n_in; i++)
		into[i] = from->scale[c] * (from->q[i / 4][c][i % 4] - TE_BYTE_BIAS);
}

#define KERNEL(name) offsetof(TeKernels, name)
#define BLOCKS(type, Panel, ...) \
	{NULL, row_##type, KERNEL(unpack_##type), KERNEL(gemm_##type), .block_bytes = sizeof(Panel), .pack_block = pack_##type, __VA_ARGS__}

static const PackFormat formats[TE_N_DTYPES] = {
	[TE_F32] = {pack_f32, row_f32, 0, 0},
	[TE_F16] = {pack_f16, row_f16, KERNEL(unpack_f16), 0, .gemm_few = KERNEL(gemm_panel_f16)},
	[TE_BF16] = {pack_bf16, row_bf16, KERNEL(unpack_bf16), 0, 2},
	[TE_INT8] = {pack_int8, row_int8, KERNEL(unpack_int8), KERNEL(gemm_int8), 4},
	[TE_Q8_0] = BLOCKS(q8_0, TePanelQ8_0, .low = true),
	[TE_Q4_0] = BLOCKS(q4_0, TePanelQ4_0),
	[TE_Q4_1] = BLOCKS(q4_1, TePanelQ4_1),
	[TE_Q5_0] = BLOCKS(q5_0, TePanelQ5_0),
	[TE_Q5_1] = BLOCKS(q5_1, TePanelQ5_1),
	[TE_Q4_K] = BLOCKS(q4_K, TePanelQ4_K),
	[TE_Q5_K] = BLOCKS(q5_K, TePanelQ5_K),
	[TE_Q6_K] = BLOCKS(q6_K, TePanelQ6_K, .halves = true),
};

/* 64 rows (fewer in the last panel) of blocks. */
static void
pack_blocks(TeDtype dtype, int64_t n_in, int64_t n_rows, const char *rows, char *panel)
{
	const PackFormat *format = &formats[dtype];
	const TeDtypeInfo *type = &te_dtypes[dtype];
	/* aligned to what a block wants, which a file's are not */
	uint64_t	block[32];

	memset(panel, 0, (size_t) (n_in / type->block_elements) * format->block_bytes);
	for (int64_t r = 0; r < n_rows; r++)
	{
		for (int64_t b = 0; b < n_in / type->block_elements; b++, rows += type->block_bytes)
		{
			memcpy(block, rows, type->block_bytes);
			format->pack_block(block, panel + (size_t) b * format->block_bytes, (size_t) r);
		}
	}
}

/* Bytes of a panel, or of 64 rows of a weight that is not in panels. */
static size_t
panel_bytes(TeDtype dtype, int64_t n_in)
{
	if (formats[dtype].block_bytes > 0)
		return te_mul_size((size_t) n_in / te_dtypes[dtype].block_elements, formats[dtype].block_bytes);
	if (formats[dtype].together > 1)
		n_in = (n_in + formats[dtype].together - 1) / formats[dtype].together * formats[dtype].together;
	if (te_dtypes[dtype].row_header_bytes == 0)
		return TE_PANEL * te_checked_row_bytes(dtype, n_in);
	return TE_PANEL * (sizeof(float) + te_checked_row_bytes(dtype, n_in));	/* the sums of columns */
}

TeLayout
te_pack_layout(TeDtype dtype, int64_t n_in)
{
	return formats[dtype].row != NULL ? TE_PANELS : TE_ROWS;
}

size_t
te_pack_bytes(TeDtype dtype, int64_t n_out, int64_t n_in)
{
	size_t		rows = (size_t) n_out;
	size_t		bytes = te_row_bytes(dtype, n_in);	/* checks n_in */

	if (te_pack_layout(dtype, n_in) == TE_PANELS)
		return te_mul_size(rows / TE_PANEL + (rows % TE_PANEL != 0), panel_bytes(dtype, n_in));
	return te_mul_size(rows, bytes);
}

void
te_pack_rows(TeDtype dtype, int64_t n_out, int64_t n_in, int64_t row, int64_t n_rows,
			 const void *rows, void *packed)
{
	size_t		bytes = te_checked_row_bytes(dtype, n_in);
	size_t		panel = panel_bytes(dtype, n_in);
	const char *from = rows;
	char	   *to;

	if (te_pack_layout(dtype, n_in) == TE_ROWS)
	{
		memcpy((char *) packed + (size_t) row * bytes, from, (size_t) n_rows * bytes);
		return;
	}
	to = (char *) packed + (size_t) (row / TE_PANEL) * panel;
	for (int64_t r = 0; r < n_rows; r += TE_PANEL)
	{
		int64_t		n = TE_MIN(n_rows - r, TE_PANEL);

		if (n < TE_PANEL)
			memset(to, 0, panel);
		if (formats[dtype].pack_block != NULL)
			pack_blocks(dtype, n_in, n, from, to);
		else
			formats[dtype].pack(n_in, n, from, to);
		from += (size_t) n * bytes;
		to += panel;
	}
}

const void *
te_weight_panel(const TeWeight *weight, size_t panel)
{
	return (const char *) weight->data + panel * panel_bytes(weight->dtype, weight->n_in);
}

void
te_weight_row(const TeWeight *weight, int64_t row, float *into)
{
	size_t		bytes = te_checked_row_bytes(weight->dtype, weight->n_in);

	if (weight->layout == TE_ROWS)
		te_dtypes[weight->dtype].to_float((const char *) weight->data + (size_t) row * bytes, into,
										  (size_t) weight->n_in);
	else
	{
		formats[weight->dtype].row(weight->n_in, te_weight_panel(weight, (size_t) (row / TE_PANEL)),
								   (size_t) (row % TE_PANEL), into);
		if (te_dtypes[weight->dtype].rotated)
			te_rotate((size_t) weight->n_in, te_rotation((size_t) weight->n_in), into, into);
	}
}

/* The kernel at an offset of the dispatch table. */
static void
get_kernel(size_t offset, void *function)
{
	memcpy(function, (const char *) &te_kernel + offset, sizeof(UnpackKernel *));
}

TeByteGemm *
te_byte_gemm(const TeWeight *weight)
{
	size_t		offset = formats[weight->dtype].gemm;
	TeByteGemm *gemm;

	if (weight->layout != TE_PANELS || offset == 0 || weight->n_in > TE_BYTE_MOST)
		return NULL;
	get_kernel(offset, &gemm);
	return gemm;
}

TeFewGemm *
te_few_gemm(const TeWeight *weight)
{
	size_t		offset = formats[weight->dtype].gemm_few;
	TeFewGemm  *gemm;

	if (weight->layout != TE_PANELS || offset == 0)
		return NULL;
	get_kernel(offset, &gemm);
	return gemm;
}

bool
te_byte_low(const TeWeight *weight)
{
	return formats[weight->dtype].low && te_byte_gemm(weight) != NULL;
}

bool
te_byte_halves(const TeWeight *weight)
{
	return formats[weight->dtype].halves && te_byte_gemm(weight) != NULL;
}

/* A weight in rows: to floats row by row, then transposed; f32 needs the second only. */
static void
expand_rows(const TeWeight *weight, size_t panel, size_t k0, size_t k1, float *into, float *row_buffer)
{
	size_t		bytes = te_checked_row_bytes(weight->dtype, weight->n_in);
	size_t		first = panel * TE_PANEL;
	size_t		n_rows = TE_MIN((size_t) weight->n_out - first, (size_t) TE_PANEL);
	size_t		n = k1 - k0;
	const char *from = (const char *) weight->data + first * bytes;

	if (weight->dtype == TE_F32)
	{
		te_kernel.pack_panel(n_rows, n, (const float *) from + k0, (size_t) weight->n_in, into);
		return;
	}
	for (size_t r = 0; r < n_rows; r++)
		part_to_float(weight->dtype, from + r * bytes, k0, n, row_buffer + r * n);
	te_kernel.pack_panel(n_rows, n, row_buffer, n, into);
}

size_t
te_expand_step(const TeWeight *weight)
{
	const TeDtypeInfo *type = &te_dtypes[weight->dtype];

	return type->rotated ? TE_EXPAND_MOST : TE_MAX((size_t) TE_EXPAND, (size_t) type->block_elements);
}

/* te_rotate() down the columns of k expanded rows, whole blocks. */
static void
rotate_columns(size_t k, size_t block, float *panel)
{
	float		factor = block > 1 ? te_rotation_factor(block) : 1;

	te_kernel.scale(k * TE_PANEL, factor, panel, panel);
	for (size_t h = TE_ROTATION_STEP; h < block; h *= 2)
	{
		for (size_t i = 0; i < k; i += 2 * h)
		{
			for (size_t j = i * TE_PANEL; j < (i + h) * TE_PANEL; j++)
			{
				float		a = panel[j];
				float		b = panel[j + h * TE_PANEL];

				panel[j] = a + b;
				panel[j + h * TE_PANEL] = a - b;
			}
		}
	}
}

/* The same as te_expand_panel(), but rotated rows stay so. */
static const float *
expand_stored(const TeWeight *weight, size_t panel, size_t k0, size_t k1, float *into, float *row_buffer)
{
	size_t		offset = formats[weight->dtype].unpack;
	const void *from;
	UnpackKernel *unpack;

	if (weight->layout == TE_ROWS)
	{
		expand_rows(weight, panel, k0, k1, into, row_buffer);
		return into;
	}
	from = te_weight_panel(weight, panel);
	if (offset == 0)
		return (const float *) from + k0 * TE_PANEL;
	get_kernel(offset, &unpack);
	unpack(from, k0, k1, into);
	return into;
}

const float *
te_expand_panel(const TeWeight *weight, size_t panel, size_t k0, size_t k1, float *into, float *row_buffer)
{
	const float *expanded = expand_stored(weight, panel, k0, k1, into, row_buffer);

	if (te_dtypes[weight->dtype].rotated)
		rotate_columns(k1 - k0, te_rotation((size_t) weight->n_in), into);
	return expanded;
}
