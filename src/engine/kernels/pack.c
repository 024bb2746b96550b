/*-------------------------------------------------------------------------
 * pack.c
 *	  How weights lie in an image, and the way back.
 *
 * A panel is 64 output rows (columns of the product) side by side, so that
 * the GEMM reads it from front to back: n_in rows of 64 values of the type
 * for f32, f16 and bf16; for q8_0 and q4_0 a TePanelQ8_0 or TePanelQ4_0 per 32
 * rows (impl.h).  Panels follow one another; the last is padded with zeros.
 * A panel takes as many bytes as the 64 rows it was made of, and starts at a
 * multiple of 64 bytes where the weight does.
 *
 * Types without a row in `formats` stay rows of their own blocks.  They are
 * expanded by their to_float and transposed, which costs more per use; that
 * is the price of every storage type working everywhere from its first day.
 *
 * To add a packed type: a row of `formats`, its three functions, a member
 * unpack_<type> of kernel_types.def with its reference in ref.c.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

/* 64 rows (fewer in the last panel; the rest of the panel is zero already) into a panel, and row `c` of it back */
typedef struct PackFormat
{
	void		(*pack) (int64_t n_in, int64_t n_rows, const void *rows, void *panel);
	void		(*row) (int64_t n_in, const void *panel, size_t c, float *into);
	size_t		unpack;			/* offset of the kernel in TeKernels; 0: it is f32 already */
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

/* f16 and bf16 alike */
static void
pack_halves(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;
	uint16_t   *to = panel;

	for (int64_t r = 0; r < n_rows; r++)
	{
		for (int64_t i = 0; i < n_in; i++, from += sizeof(uint16_t))
			memcpy(&to[i * TE_PANEL + r], from, sizeof(uint16_t));
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
		into[i] = te_bf16_value(half[i * TE_PANEL + (int64_t) c]);
}

static void
pack_q8_0(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;

	for (int64_t r = 0; r < n_rows; r++)
	{
		TePanelQ8_0 *to = panel;

		for (int64_t b = 0; b < n_in / TE_QK; b++, to++, from += sizeof(TeBlockQ8_0))
		{
			TeBlockQ8_0 block;

			memcpy(&block, from, sizeof(block));
			to->d[r] = block.d;
			for (size_t g = 0; g < TE_LENGTH(to->q); g++)
				memcpy(to->q[g][r], block.q + 4 * g, 4);
		}
	}
}

static void
row_q8_0(int64_t n_in, const void *panel, size_t c, float *into)
{
	const TePanelQ8_0 *from = panel;

	for (int64_t i = 0; i < n_in; i++)
	{
		const TePanelQ8_0 *at = from + i / TE_QK;
		int64_t		k = i % TE_QK;

		into[i] = te_half_to_float(at->d[c]) * at->q[k / 4][c][k % 4];
	}
}

static void
pack_q4_0(int64_t n_in, int64_t n_rows, const void *rows, void *panel)
{
	const char *from = rows;

	for (int64_t r = 0; r < n_rows; r++)
	{
		TePanelQ4_0 *to = panel;

		for (int64_t b = 0; b < n_in / TE_QK; b++, to++, from += sizeof(TeBlockQ4_0))
		{
			TeBlockQ4_0 block;

			memcpy(&block, from, sizeof(block));
			to->d[r] = block.d;
			for (size_t g = 0; g < TE_LENGTH(to->q); g++)
				memcpy(to->q[g][r], block.q + 4 * g, 4);
		}
	}
}

static void
row_q4_0(int64_t n_in, const void *panel, size_t c, float *into)
{
	const TePanelQ4_0 *from = panel;

	for (int64_t i = 0; i < n_in; i++)
	{
		const TePanelQ4_0 *at = from + i / TE_QK;
		int64_t		k = i % TE_QK;
		int			both = at->q[k % 16 / 4][c][k % 4];

		into[i] = te_half_to_float(at->d[c]) * ((k < 16 ? both & 15 : both >> 4) - 8);
	}
}

static const PackFormat formats[TE_N_DTYPES] = {
	[TE_F32] = {pack_f32, row_f32, 0},
	[TE_F16] = {pack_halves, row_f16, offsetof(TeKernels, unpack_f16)},
	[TE_BF16] = {pack_halves, row_bf16, offsetof(TeKernels, unpack_bf16)},
	[TE_Q8_0] = {pack_q8_0, row_q8_0, offsetof(TeKernels, unpack_q8_0)},
	[TE_Q4_0] = {pack_q4_0, row_q4_0, offsetof(TeKernels, unpack_q4_0)},
};

/* Bytes of k elements of a row; k is a multiple of the block. */
static size_t
row_bytes(TeDtype dtype, int64_t k)
{
	return (size_t) (k / te_dtypes[dtype].block_elements) * (size_t) te_dtypes[dtype].block_bytes;
}

TeLayout
te_pack_layout(TeDtype dtype, int64_t n_in)
{
	return formats[dtype].pack != NULL ? TE_PANELS : TE_ROWS;
}

size_t
te_pack_bytes(TeDtype dtype, int64_t n_out, int64_t n_in)
{
	size_t		rows = (size_t) n_out;

	if (te_pack_layout(dtype, n_in) == TE_PANELS)
		rows = te_mul_size(rows / TE_PANEL + (rows % TE_PANEL != 0), TE_PANEL);
	return te_mul_size(rows, te_row_bytes(dtype, n_in));
}

void
te_pack_rows(TeDtype dtype, int64_t n_out, int64_t n_in, int64_t row, int64_t n_rows,
			 const void *rows, void *packed)
{
	size_t		bytes = row_bytes(dtype, n_in);
	const char *from = rows;
	char	   *to = (char *) packed + (size_t) row * bytes;

	if (te_pack_layout(dtype, n_in) == TE_ROWS)
	{
		memcpy(to, from, (size_t) n_rows * bytes);
		return;
	}
	for (int64_t r = 0; r < n_rows; r += TE_PANEL)
	{
		int64_t		n = TE_MIN(n_rows - r, TE_PANEL);

		if (n < TE_PANEL)
			memset(to, 0, TE_PANEL * bytes);
		formats[dtype].pack(n_in, n, from, to);
		from += (size_t) n * bytes;
		to += TE_PANEL * bytes;
	}
}

void
te_weight_row(const TeWeight *weight, int64_t row, float *into)
{
	size_t		bytes = row_bytes(weight->dtype, weight->n_in);

	if (weight->layout == TE_ROWS)
		te_dtypes[weight->dtype].to_float((const char *) weight->data + (size_t) row * bytes, into,
										  (size_t) weight->n_in);
	else
		formats[weight->dtype].row(weight->n_in,
								   (const char *) weight->data + (size_t) (row / TE_PANEL) * TE_PANEL * bytes,
								   (size_t) (row % TE_PANEL), into);
}

/* A weight in rows: to floats row by row, then transposed; f32 needs the second only. */
static void
expand_rows(const TeWeight *weight, size_t panel, size_t k0, size_t k1, float *into, float *row_buffer)
{
	size_t		bytes = row_bytes(weight->dtype, weight->n_in);
	size_t		first = panel * TE_PANEL;
	size_t		n_rows = TE_MIN((size_t) weight->n_out - first, (size_t) TE_PANEL);
	size_t		n = k1 - k0;
	const char *from = (const char *) weight->data + first * bytes + row_bytes(weight->dtype, (int64_t) k0);

	if (weight->dtype == TE_F32)
	{
		te_kernel.pack_panel(n_rows, n, (const float *) from, (size_t) weight->n_in, into);
		return;
	}
	for (size_t r = 0; r < n_rows; r++)
		te_dtypes[weight->dtype].to_float(from + r * bytes, row_buffer + r * n, n);
	te_kernel.pack_panel(n_rows, n, row_buffer, n, into);
}

const float *
te_expand_panel(const TeWeight *weight, size_t panel, size_t k0, size_t k1, float *into, float *row_buffer)
{
	size_t		offset = formats[weight->dtype].unpack;
	const char *from;
	UnpackKernel *unpack;

	if (weight->layout == TE_ROWS)
	{
		expand_rows(weight, panel, k0, k1, into, row_buffer);
		return into;
	}
	from = (const char *) weight->data + panel * TE_PANEL * row_bytes(weight->dtype, weight->n_in);
	if (offset == 0)
		return (const float *) from + k0 * TE_PANEL;
	memcpy(&unpack, (const char *) &te_kernel + offset, sizeof(unpack));
	unpack(from, k0, k1, into);
	return into;
}
