/*-------------------------------------------------------------------------
 * kernels.h
 *	  The arithmetic: pure functions, one table, several instruction sets.
 *
 * Pure: no allocation, no throw, no lock, no interrupt check, no state but the
 * dispatch table.  They are what runs on threads.  Arguments are trusted:
 * shapes were checked by graph/.
 *
 * ref.c is the truth: plain loops, no contraction, double accumulation where
 * it helps; every other row of kernels.def is tested against it, over odd
 * sizes, unaligned pointers, infinities and NaN, within the tolerance of its row.
 * te_isa_select() copies ref's set first and lays the chosen one over it, so that a
 * hole is impossible.
 *
 * Weights.  A linear weight [n_out, n_in] lies in an image as panels: 64
 * output rows side by side, [n_out/64][n_in][64] for f32 and the same idea
 * for other types (pack.c says how each type lies).  The last panel is padded
 * with zeros.  The width is 64 on every instruction set, so that an image does
 * not depend on it.
 *
 * Results of a row do not depend on the other rows, on the number of workers
 * or on the tile that a row falls into: each output element is one chain of
 * multiply-adds over k in order.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNELS_H
#define TE_KERNELS_H

#include "base/tensor.h"

#define TE_PANEL 64

/* ---- instruction sets (isa.c) ---- */

/* Names as the user sees them: "auto", "ref", "avx2", "avx512_vnni", "avx512_bf16", "neon", as in isa.c. */
extern bool te_isa_select(const char *name);	/* false: unknown, or this CPU lacks it; nothing changed */
extern const char *te_isa_name(void);	/* the one in use */
extern size_t te_isa_list(const char **names, size_t max);	/* those this CPU can run, slowest first */
extern bool te_has_bf16(void);	/* the one in use multiplies bf16 */

/* ---- activations (one row each in activations.def: name of Hugging Face, function, derivative) ---- */

typedef enum TeActivation
{
#define TE_ACTIVATION(symbol, ...) symbol,
#include "kernels/activations.def"
#undef TE_ACTIVATION
	TE_N_ACTIVATIONS
} TeActivation;

extern TeActivation te_activation_by_name(TeStr name);	/* "gelu", "gelu_new", "relu", "silu", "tanh", ...; TE_N_ACTIVATIONS: none */
extern const char *te_activation_name(TeActivation activation);
extern float te_activation_value(TeActivation activation, float x);
extern float te_activation_derivative(TeActivation activation, float x);

/* ---- the table ---- */

#define TE_MAX_D_HEAD 256

/*
 * Attention over packed sequences.  Row t of q, k, v is token t; head h lies at columns
 * [h * d_head, (h + 1) * d_head) (key-value head h / (n_head / n_kv_head)).  One
 * task is (sequence, head, block of queries); te_attention_tasks() counts them.
 */
typedef struct TeAttention
{
	const float *q;
	const float *k;
	const float *v;
	float	   *out;			/* [n_tok, n_head * d_head] */
	size_t		ld_q;			/* strides, in floats */
	size_t		ld_k;
	size_t		ld_v;
	size_t		ld_out;
	int			n_head;
	int			n_kv_head;
	int			d_head;			/* <= TE_MAX_D_HEAD */
	int			n_seq;
	const int32_t *seq_start;	/* n_seq + 1 */
	float		scale;
	float		softcap;		/* 0: none; else scores become softcap * tanh(score / softcap), before bias and masks */
	bool		causal;
	int			window;			/* 0: none; else tokens further than window apart do not see each other */
	const float *bias;			/* NULL, or [n_head, 2 * bias_span - 1] by (key - query + bias_span - 1) */
	int			bias_span;		/* >= longest sequence where bias is given */
	const float *slopes;		/* NULL, or n_head: ALiBi (Press et al. 2021), score += slope * (key - query) */
	/*
	 * Disentangled attention (He et al. 2020): to q · k are added q · keys[query - key] and k · queries[query - key], either
	 * NULL.  Rows by distance, 64 of them in a panel: [n_head][panels][d_head][64], the first distance being -64 * panels / 2.
	 * Not together with a window, whose blocks of keys do not begin where panels do.
	 */
	const float *relative_keys;
	const float *relative_queries;
	int			relative_panels;	/* even, at least two for each 64 tokens of the longest sequence; 0: neither is given */
	float	   *scratch;		/* workers * te_attention_scratch() floats */
	size_t		scratch_stride;
} TeAttention;

/* Of n parts that begin at starts, in order, the one that `at` lies in: the last that begins at or before it. */
static inline int
te_part_of(const int32_t *starts, int n, int32_t at)
{
	int			low = 0;

	while (n - low > 1)
	{
		int			middle = low + (n - low) / 2;

		if (starts[middle] <= at)
			low = middle;
		else
			n = middle;
	}
	return low;
}

extern size_t te_attention_tasks(const TeAttention *attention);
extern size_t te_attention_scratch(const TeAttention *attention);	/* floats a worker */
extern void te_attention_task(void *attention, size_t task, int worker);	/* a TeTask */

/*
 * Keys and values of tokens that were there before (pages.c).  A page has those of TE_PAGE tokens of one sequence, for all
 * layers.
 */
#define TE_PAGE TE_PANEL

/* How one layer lies in a page. */
typedef struct TePageLayout
{
	TeDtype		dtype;
	int			n_kv_head;
	int			d_head;
	size_t		key_bytes;		/* of a head */
	size_t		value_bytes;
	size_t		layer_bytes;	/* of all heads, keys and values */
} TePageLayout;

extern bool te_page_layout(TeDtype dtype, int n_kv_head, int d_head, TePageLayout *layout);	/* false: no such type */
/* Key and value of a token, [n_kv_head * d_head] each, into place `slot` of a layer of a page.  Pure. */
extern void te_page_write(const TePageLayout *layout, char *page, size_t slot, const float *k, const float *v);

/*
 * Attention of new tokens over pages, which have them already.  Of `at`, k, v and what is about relative positions are
 * not used; it is causal.
 */
typedef struct TePagedAttention
{
	TeAttention at;
	TePageLayout layout;
	size_t		layer_offset;	/* of the layer in a page */
	const int32_t *first;		/* n_seq: tokens of each sequence that were there before the batch */
	char	   *const *const *pages;	/* n_seq: those of each sequence, in order */
	const int32_t *blocks;		/* te_paged_attention_prepare() fills */
} TePagedAttention;

extern size_t te_paged_attention_prepare(TePagedAttention *paged, int32_t *blocks);	/* room for n_seq + 1; gives the number of tasks */
extern size_t te_paged_attention_scratch(const TePagedAttention *paged);	/* floats a worker */
extern void te_paged_attention_task(void *paged, size_t task, int worker);	/* a TeTask */

/*
 * Rows of floats as bytes, |q| <= 127.
 *
 * For a weight with one scale for a row: x = scale * (q - zero), with a scale and a zero for each row too, so
 * that a row uses all levels though it lies to one side of 0.
 *
 * For a weight with blocks of 32: x = block_scale * (q + low / 128), |low| <= 64, a scale for each 32 of x.  low is what
 * a type looks at whose weights are near enough to floats for it to matter; else it is NULL, and where TeLinear says `coarse`.
 *
 * Only the members of one kind are used.  What is not finite has the scale NaN.
 */
typedef struct TeByteRows
{
	int8_t	   *q;				/* zeros beyond the row's length */
	size_t		ld;				/* a multiple of 64 */
	float	   *scale;
	float	   *zero;			/* integral */
	int32_t    *sum;			/* of the row's q */
	float	   *block_scale;	/* [ld / 32] a row */
	int32_t    *block_sum;		/* of the q of each */
	int32_t    *half_sum;		/* of the q of each 16, or NULL: no weight has scales for so few */
	int8_t	   *low;			/* as q */
	int32_t    *low_sum;		/* as block_sum */
} TeByteRows;

/* Rows that the kernel `quantize` rotates before it rounds them. */
#define TE_QUANTIZED_ROWS 4

typedef struct TeKernels
{
#define TE_KERNEL_TYPE(name, ret, args) ret (*name) args;
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE
} TeKernels;

extern TeKernels te_kernel;		/* te_kernel.layer_norm(...); ref until the host calls te_isa_select("auto") */

/* A row of kernels.def, for those who iterate over it (tests, benchmarks). */
typedef struct TeKernelRow
{
	const char *name;			/* member of TeKernels */
	const char *isa;
	double		max_error;		/* against ref, relative to the largest magnitude of the result */
	void		(*function) (void);
	size_t		offset;			/* in TeKernels */
} TeKernelRow;

extern const TeKernelRow te_kernel_rows[];
extern const size_t te_n_kernel_rows;
extern const TeKernels te_kernel_ref;	/* the truth, whatever is selected */

/* ---- weights and the linear operation ---- */

typedef enum TeLayout
{
	TE_ROWS,					/* row-major in its storage type */
	TE_PANELS					/* as pack.c lays it */
} TeLayout;

typedef struct TeWeight
{
	TeDtype		dtype;
	TeLayout	layout;
	int64_t		n_out;			/* rows; 1 for a vector */
	int64_t		n_in;			/* columns */
	const void *data;
	float	   *grad;			/* [n_out, n_in], or NULL: not trained */
	/* A low-rank overlay (LoRA, Hu et al. 2021): lora_scale * B · A is added to the matrix wherever te_linear() reads it. */
	const struct TeWeight *lora_a;	/* [rank, n_in], rows of f32; NULL: none */
	const struct TeWeight *lora_b;	/* [n_out, rank], the same */
	float		lora_scale;
} TeWeight;

/* How an image stores a linear weight of this type and shape: layout and bytes. */
extern TeLayout te_pack_layout(TeDtype dtype, int64_t n_in);
extern size_t te_pack_bytes(TeDtype dtype, int64_t n_out, int64_t n_in);
/* Rows [row, row + n_rows) into their place; row is a multiple of TE_PANEL and so is n_rows, but at the end.  Pure. */
extern void te_pack_rows(TeDtype dtype, int64_t n_out, int64_t n_in, int64_t row, int64_t n_rows,
						 const void *rows, void *packed);
/* Back again: one row as floats (gather of a tied embedding, export checks).  Pure. */
extern void te_weight_row(const TeWeight *weight, int64_t row, float *into);

#define TE_MAX_PARTS 4

/*
 * y[n_tok, sum of n_out] = activation(x · Wᵀ + bias) + residual, for one weight or several
 * that stand beside one another in y (query, key and value in one pass over x).
 * Weights of any type and layout.  Panels of int8, q8_0 and q4_0 are multiplied as
 * integers by x as bytes, and those of bf16 by x as bf16 where te_has_bf16(); x is rounded once by te_linear_quantize_task(), before the
 * other tasks; unless `exact`.  What else is not f32 is expanded a panel at a
 * time into scratch, never whole.  A task is a tile cut by shape only.
 */
typedef struct TeLinear
{
	int			n_parts;
	const TeWeight *weight[TE_MAX_PARTS];
	const float *bias[TE_MAX_PARTS];	/* NULL: none */
	size_t		n_tok;
	const float *x;
	size_t		ld_x;
	float	   *y;
	size_t		ld_y;
	TeActivation activation;
	const float *residual;		/* NULL, or [n_tok, ld_y] like y */
	bool		exact;			/* x is not rounded */
	bool		coarse;			/* x may be rounded to bytes and a scale for each 32 of them, whatever the type: half the products for q8_0 */
	float	   *bytes;			/* te_linear_bytes() floats, 64-byte aligned */
	float	   *scratch;		/* workers * te_linear_scratch() floats, 64-byte aligned */
	size_t		scratch_stride;
	/* te_linear_prepare() fills: */
	size_t		tile_rows;
	size_t		n_row_tiles;
	size_t		n_panels;
	size_t		n_quantize;		/* tasks of te_linear_quantize_task(), 0: none */
	TeByteRows	x_bytes;
	uint16_t   *x_bf16;			/* x rounded, or NULL */
} TeLinear;

extern size_t te_linear_scratch(const TeLinear *linear);	/* floats a worker */
extern size_t te_linear_bytes(const TeLinear *linear);	/* floats for x rounded, from n_tok, parts and `exact` */
extern size_t te_linear_prepare(TeLinear *linear);	/* gives the number of tasks */
extern void te_linear_quantize_task(void *linear, size_t task, int worker); /* a TeTask; all before the first te_linear_task() */
extern void te_linear_task(void *linear, size_t task, int worker);	/* a TeTask */

/*
 * C[m, n] (+)= op(A) · op(B), dense f32, for training; cut into tasks by shape only.
 */
typedef struct TeMatmul
{
	size_t		m,
				n,
				k;
	const float *a;
	size_t		ld_a;
	bool		trans_a;
	const float *b;
	size_t		ld_b;
	bool		trans_b;
	float	   *c;
	size_t		ld_c;
	bool		add;			/* to what is there */
	bool		bf16;			/* A and B are rounded to bf16; sums and C are f32 */
	/* te_matmul_prepare() fills: */
	size_t		tile_m;
	size_t		tile_n;
} TeMatmul;

extern size_t te_matmul_prepare(TeMatmul *matmul);
extern void te_matmul_task(void *matmul, size_t task, int worker);

#endif							/* TE_KERNELS_H */
