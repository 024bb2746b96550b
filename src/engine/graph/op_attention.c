/*-------------------------------------------------------------------------
 * op_attention.c
 *	  Attention over packed sequences, with joint projections, grouped heads and an additive bias.
 *
 * Forward is kernels/attention.c.  q, k and v are columns of nodes, which may
 * be one and the same (a joint projection): gradients go back into those columns.
 *
 * Backward keeps nothing of forward but q, k and v.  For a head and a block of
 * up to 64 queries, against all keys that they see:
 *	  P = softmax(scale * Q · Kᵀ + bias), again       dP = dO · Vᵀ
 *	  dS = P * (dP - sum over keys of P * dP)          dbias += dS
 *	  dQ += scale * dS · K     dK += scale * dSᵀ · Q    dV += Pᵀ · dO
 * A worker's scratch holds P and dP, 64 rows of the longest sequence (Dao et al. 2022
 * do it in tiles; rows of a text fit).  The products are the panel kernel's.
 *
 * Keys are shared by the heads of a group and by all blocks of queries, the
 * bias by all sequences.  So a task is a key-value head of a sequence, or of all of them where the
 * bias is trained, and does its heads and blocks in order.  Long sequences are done in rounds of blocks with a
 * check for interrupts between them.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

#define BLOCK_TOKENS TE_PANEL			/* queries, and keys, done together */
#define TILE ((size_t) BLOCK_TOKENS * TE_PANEL)
#define ROUND_WORK ((size_t) 1 << 26)	/* multiply-adds of a task between two checks for interrupts: some milliseconds */

typedef struct AttentionParams
{
	TeColumns	q;
	TeColumns	k;
	TeColumns	v;
	TeAttention shape;			/* all but pointers */
	bool		has_bias;
} AttentionParams;

/* ---- building ---- */

static void
check_columns(const char *what, TeColumns columns, size_t rows, size_t n)
{
	te_check_shape("attention", columns.n == n && columns.first <= columns.node->cols &&
				   n <= columns.node->cols - columns.first && columns.node->rows == rows,
				   "%s is columns %zu + %zu of [%zu, %zu], not %zu columns of %zu rows", what, columns.first, columns.n,
				   columns.node->rows, columns.node->cols, n, rows);
}

/* Two tasks of backward must not write to the same columns. */
static void
check_apart(const TeAttentionSpec *spec, TeColumns a, TeColumns b)
{
	bool		overlap = a.node == b.node && a.first < b.first + b.n && b.first < a.first + a.n;

	te_check_shape("attention", !overlap || (a.first == b.first && spec->n_head == spec->n_kv_head),
				   "columns overlap in part");
}

static void
check_spec(const TeGraph *graph, const TeAttentionSpec *spec)
{
	te_check_shape("attention", graph->batch != NULL, "the graph has no batch");
	te_check_shape("attention", spec->n_head > 0 && spec->n_kv_head > 0 && spec->n_head % spec->n_kv_head == 0,
				   "%d heads in %d groups", spec->n_head, spec->n_kv_head);
	te_check_shape("attention", spec->d_head > 0 && spec->d_head <= TE_MAX_D_HEAD, "heads of %d columns", spec->d_head);
	te_check_shape("attention", spec->window >= 0, "a window of %d", spec->window);
	if (spec->bias != NULL)
		te_check_shape("attention", spec->bias->rows == (size_t) spec->n_head && spec->bias->cols % 2 == 1 &&
					   (spec->bias->cols + 1) / 2 >= (size_t) graph->batch->max_len,
					   "the bias is [%zu, %zu] for %d heads and %d tokens", spec->bias->rows, spec->bias->cols,
					   spec->n_head, graph->batch->max_len);
}

/* Most keys that a block of queries sees, in whole panels. */
static size_t
block_keys(const TeNode *node)
{
	const AttentionParams *params = node->params;
	size_t		keys = (size_t) node->graph->batch->max_len;

	if (params->shape.window > 0)
		keys = TE_MIN(keys, 2 * (size_t) params->shape.window + BLOCK_TOKENS);
	return TE_ALIGN(TE_MAX(keys, (size_t) 1), TE_PANEL);
}

/* Panels of 64 columns of a head. */
static size_t
head_panels(const TeAttention *shape)
{
	return ((size_t) shape->d_head + TE_PANEL - 1) / TE_PANEL;
}

/* P, dP, Q, dO, a panel of K or V, a transposed tile, a tile of a product */
static size_t
backward_scratch(const TeNode *node)
{
	const AttentionParams *params = node->params;

	return 2 * BLOCK_TOKENS * block_keys(node) + (3 * head_panels(&params->shape) + 2) * TILE;
}

TeNode *
te_attention(TeGraph *graph, TeColumns q, TeColumns k, TeColumns v, const TeAttentionSpec *spec)
{
	TeNode	   *inputs[4] = {q.node, k.node, v.node, spec->bias};
	TeNode	   *node;
	AttentionParams *params;
	size_t		q_cols = (size_t) spec->n_head * (size_t) spec->d_head;
	size_t		kv_cols = (size_t) spec->n_kv_head * (size_t) spec->d_head;
	size_t		rows;

	check_spec(graph, spec);
	rows = (size_t) graph->batch->n_tok;
	check_columns("q", q, rows, q_cols);
	check_columns("k", k, rows, kv_cols);
	check_columns("v", v, rows, kv_cols);
	check_apart(spec, q, k);
	check_apart(spec, q, v);
	check_apart(spec, k, v);
	node = te_node_create(graph, TE_OP_attention, rows, q_cols, inputs, spec->bias != NULL ? 4 : 3,
						  sizeof(AttentionParams), false);
	params = node->params;
	params->q = q;
	params->k = k;
	params->v = v;
	params->has_bias = spec->bias != NULL;
	params->shape = (TeAttention) {
		.ld_q = q.node->cols, .ld_k = k.node->cols, .ld_v = v.node->cols, .ld_out = q_cols,
		.n_head = spec->n_head, .n_kv_head = spec->n_kv_head, .d_head = spec->d_head,
		.n_seq = graph->batch->n_seq, .seq_start = graph->batch->seq_start,
		.scale = spec->scale != 0.0f ? spec->scale : (float) (1.0 / sqrt((double) spec->d_head)),
		.causal = spec->causal, .window = spec->window,
		.bias_span = spec->bias != NULL ? (int) ((spec->bias->cols + 1) / 2) : 0
	};
	node->scratch = te_attention_scratch(&params->shape);
	if (node->needs_grad)
		node->scratch = TE_MAX(node->scratch, backward_scratch(node));
	return node;
}

/* ---- forward ---- */

/* The kernel's arguments, now that values have addresses. */
static TeAttention
bound_attention(TeGraph *graph, const TeNode *node)
{
	const AttentionParams *params = node->params;
	TeAttention at = params->shape;

	at.q = params->q.node->value.data + params->q.first;
	at.k = params->k.node->value.data + params->k.first;
	at.v = params->v.node->value.data + params->v.first;
	at.out = node->value.data;
	at.bias = params->has_bias ? node->inputs[3]->value.data : NULL;
	at.scratch = graph->scratch;
	at.scratch_stride = graph->scratch_stride;
	return at;
}

void
te_attention_forward(TeGraph *graph, TeNode *node)
{
	TeAttention at = bound_attention(graph, node);

	te_graph_tasks(graph, te_attention_tasks(&at), node->rows * block_keys(node) * node->cols * 2,
				   te_attention_task, &at);
}

/* ---- backward ---- */

typedef struct Backward
{
	TeAttention at;
	const float *d_out;			/* like out */
	float	   *d_q;			/* like q, k, v; NULL where not wanted */
	float	   *d_k;
	float	   *d_v;
	float	   *d_bias;
	size_t		max_keys;
	int32_t		first_block;	/* of this round, in each sequence */
	int32_t		n_blocks;
} Backward;

/* A block of queries of one head, and the worker's scratch cut up. */
typedef struct Block
{
	const Backward *b;
	int			head;
	int			kv_head;
	int32_t		s0;				/* the sequence */
	int32_t		s1;
	int32_t		q0;				/* queries */
	int32_t		q1;
	int32_t		k0;				/* keys that any of them sees */
	int32_t		k1;
	size_t		ld;				/* of p and d_p */
	float	   *p;				/* [queries, ld] */
	float	   *d_p;			/* becomes scale * dS */
	float	   *q;				/* the head's columns in panels of 64: [panel][query][64] */
	float	   *d_out;
	float	   *panel;
	float	   *transposed;
	float	   *tile;
} Block;

static void
cut_scratch(Block *block, float *scratch)
{
	size_t		panels = head_panels(&block->b->at);

	block->p = scratch;
	block->d_p = block->p + BLOCK_TOKENS * block->b->max_keys;
	block->q = block->d_p + BLOCK_TOKENS * block->b->max_keys;
	block->d_out = block->q + panels * TILE;
	block->panel = block->d_out + panels * TILE;
	block->transposed = block->panel + panels * TILE;
	block->tile = block->transposed + TILE;
}

/* Keys [*from, *to) that queries [q0, q1) see between them. */
static void
visible_keys(const Block *block, int32_t q0, int32_t q1, int32_t *from, int32_t *to)
{
	const TeAttention *at = &block->b->at;

	*from = at->window > 0 ? TE_MAX(block->s0, q0 - at->window) : block->s0;
	*to = block->s1;
	if (at->window > 0 && at->window < block->s1 - q1)
		*to = q1 + at->window;
	if (at->causal)
		*to = TE_MIN(*to, q1);
}

/* Columns [64 * panel, ...) of `rows` rows into [rows][64], zeros beyond d_head. */
static void
copy_columns(const TeAttention *at, size_t panel, size_t rows, const float *from, size_t ld, float *to)
{
	size_t		n = TE_MIN((size_t) TE_PANEL, (size_t) at->d_head - panel * TE_PANEL);

	for (size_t r = 0; r < rows; r++)
	{
		memcpy(to + r * TE_PANEL, from + r * ld + panel * TE_PANEL, n * sizeof(float));
		memset(to + r * TE_PANEL + n, 0, (TE_PANEL - n) * sizeof(float));
	}
}

/* Add a product tile's columns of one panel to rows of a gradient. */
static void
add_tile(const TeAttention *at, size_t panel, size_t rows, const float *tile, float *to, size_t ld)
{
	size_t		n = TE_MIN((size_t) TE_PANEL, (size_t) at->d_head - panel * TE_PANEL);

	for (size_t r = 0; r < rows; r++)
		te_kernel.add(n, to + r * ld + panel * TE_PANEL, tile + r * TE_PANEL, to + r * ld + panel * TE_PANEL);
}

static size_t
query_at(const Block *block, int32_t token, size_t ld)
{
	return (size_t) token * ld + (size_t) block->head * (size_t) block->b->at.d_head;
}

static size_t
key_at(const Block *block, int32_t token, size_t ld)
{
	return (size_t) token * ld + (size_t) block->kv_head * (size_t) block->b->at.d_head;
}

/* into[queries, keys] = rows · keysᵀ, rows and keys being head columns of two matrices */
static void
score_products(const Block *block, const float *rows, size_t ld_rows, const float *keys, size_t ld_keys, float *into)
{
	size_t		m = (size_t) (block->q1 - block->q0);
	size_t		d = (size_t) block->b->at.d_head;

	for (int32_t k = block->k0; k < block->k1; k += BLOCK_TOKENS)
	{
		te_kernel.pack_panel((size_t) TE_MIN(BLOCK_TOKENS, block->k1 - k), d, keys + key_at(block, k, ld_keys), ld_keys,
							 block->panel);
		te_kernel.gemm_panel_f32(m, d, rows + query_at(block, block->q0, ld_rows), ld_rows, block->panel,
								 into + (k - block->k0), block->ld, false);
	}
}

/* One query's row of scores and of dP becomes P and scale * dS. */
static void
finish_row(const Block *block, int32_t query)
{
	const Backward *b = block->b;
	const TeAttention *at = &b->at;
	float	   *p = block->p + (size_t) (query - block->q0) * block->ld;
	float	   *d_s = block->d_p + (size_t) (query - block->q0) * block->ld;
	size_t		bias_at = (size_t) block->head * (size_t) (2 * at->bias_span - 1);
	int32_t		from;
	int32_t		to;
	size_t		before;
	size_t		n;
	float		mean;

	visible_keys(block, query, query + 1, &from, &to);
	before = (size_t) (from - block->k0);
	n = (size_t) (to - from);
	memset(p, 0, before * sizeof(float));
	memset(d_s, 0, before * sizeof(float));
	memset(p + before + n, 0, (block->ld - before - n) * sizeof(float));
	memset(d_s + before + n, 0, (block->ld - before - n) * sizeof(float));
	p += before;
	d_s += before;
	bias_at += (size_t) (from - query + at->bias_span - 1);

	te_kernel.scale(n, at->scale, p, p);
	if (at->bias != NULL)
		te_kernel.add(n, p, at->bias + bias_at, p);
	te_kernel.softmax(1, n, p);
	mean = te_kernel.dot(n, p, d_s);
	for (size_t i = 0; i < n; i++)
		d_s[i] = p[i] * (d_s[i] - mean);
	if (b->d_bias != NULL)
		te_kernel.add(n, b->d_bias + bias_at, d_s, b->d_bias + bias_at);
	te_kernel.scale(n, at->scale, d_s, d_s);
}

/* into (keys' rows) += weightsᵀ · rows, rows lying in panels: dK of dS and Q, dV of P and dO */
static void
add_to_keys(const Block *block, const float *weights, const float *rows, float *into, size_t ld_into)
{
	const TeAttention *at = &block->b->at;
	size_t		m = (size_t) (block->q1 - block->q0);

	if (into == NULL)
		return;
	for (int32_t k = block->k0; k < block->k1; k += BLOCK_TOKENS)
	{
		size_t		n = (size_t) TE_MIN(BLOCK_TOKENS, block->k1 - k);

		/* [keys][64 queries] */
		te_kernel.pack_panel(m, n, weights + (k - block->k0), block->ld, block->transposed);
		for (size_t panel = 0; panel < head_panels(at); panel++)
		{
			te_kernel.gemm_panel_f32(n, m, block->transposed, TE_PANEL, rows + panel * TILE, block->tile, TE_PANEL, false);
			add_tile(at, panel, n, block->tile, into + key_at(block, k, ld_into), ld_into);
		}
	}
}

/* dQ += scale * dS · K */
static void
add_to_queries(const Block *block)
{
	const Backward *b = block->b;
	size_t		m = (size_t) (block->q1 - block->q0);

	if (b->d_q == NULL)
		return;
	for (size_t panel = 0; panel < head_panels(&b->at); panel++)
	{
		for (int32_t k = block->k0; k < block->k1; k += BLOCK_TOKENS)
		{
			size_t		n = (size_t) TE_MIN(BLOCK_TOKENS, block->k1 - k);

			copy_columns(&b->at, panel, n, b->at.k + key_at(block, k, b->at.ld_k), b->at.ld_k, block->panel);
			te_kernel.gemm_panel_f32(m, n, block->d_p + (k - block->k0), block->ld, block->panel, block->tile,
									 TE_PANEL, k > block->k0);
		}
		add_tile(&b->at, panel, m, block->tile, b->d_q + query_at(block, block->q0, b->at.ld_q), b->at.ld_q);
	}
}

static void
block_backward(Block *block)
{
	const Backward *b = block->b;
	const TeAttention *at = &b->at;
	size_t		m = (size_t) (block->q1 - block->q0);

	visible_keys(block, block->q0, block->q1, &block->k0, &block->k1);
	block->ld = TE_ALIGN(block->k1 - block->k0, TE_PANEL);
	score_products(block, at->q, at->ld_q, at->k, at->ld_k, block->p);
	score_products(block, b->d_out, at->ld_out, at->v, at->ld_v, block->d_p);
	for (int32_t query = block->q0; query < block->q1; query++)
		finish_row(block, query);
	for (size_t panel = 0; panel < head_panels(at); panel++)
	{
		copy_columns(at, panel, m, at->q + query_at(block, block->q0, at->ld_q), at->ld_q, block->q + panel * TILE);
		copy_columns(at, panel, m, b->d_out + query_at(block, block->q0, at->ld_out), at->ld_out,
					 block->d_out + panel * TILE);
	}
	add_to_keys(block, block->d_p, block->q, b->d_k, at->ld_k);
	add_to_keys(block, block->p, block->d_out, b->d_v, at->ld_v);
	add_to_queries(block);
}

/* The heads of a group and this round's blocks of one sequence, in order. */
static void
sequence_backward(const Backward *b, int sequence, int kv_head, float *scratch)
{
	int			group = b->at.n_head / b->at.n_kv_head;
	Block		block = {.b = b, .kv_head = kv_head, .s0 = b->at.seq_start[sequence],
		.s1 = b->at.seq_start[sequence + 1]};

	cut_scratch(&block, scratch);
	for (int i = 0; i < group; i++)
	{
		block.head = kv_head * group + i;
		for (int32_t n = b->first_block; n < b->first_block + b->n_blocks; n++)
		{
			if (n * BLOCK_TOKENS >= block.s1 - block.s0)
				break;
			block.q0 = block.s0 + n * BLOCK_TOKENS;
			block.q1 = TE_MIN(block.q0 + BLOCK_TOKENS, block.s1);
			block_backward(&block);
		}
	}
}

static void
backward_task(void *arg, size_t task, int worker)
{
	const Backward *b = arg;
	float	   *scratch = b->at.scratch + (size_t) worker * b->at.scratch_stride;
	int			kv_head = (int) (task % (size_t) b->at.n_kv_head);

	if (b->d_bias == NULL)
	{
		sequence_backward(b, (int) (task / (size_t) b->at.n_kv_head), kv_head, scratch);
		return;
	}
	for (int s = 0; s < b->at.n_seq; s++)
		sequence_backward(b, s, kv_head, scratch);
}

static float *
grad_columns(TeColumns columns)
{
	return columns.node->grad.data != NULL ? columns.node->grad.data + columns.first : NULL;
}

void
te_attention_backward(TeGraph *graph, TeNode *node)
{
	const AttentionParams *params = node->params;
	int32_t		max_len = graph->batch->max_len;
	Backward	b = {.at = bound_attention(graph, node), .d_out = node->grad.data,
		.d_q = grad_columns(params->q), .d_k = grad_columns(params->k), .d_v = grad_columns(params->v),
		.d_bias = params->has_bias ? node->inputs[3]->grad.data : NULL, .max_keys = block_keys(node)};
	size_t		n_tasks = (size_t) b.at.n_kv_head;
	size_t		block_work = 5 * BLOCK_TOKENS * b.max_keys * (node->cols / n_tasks);

	if (b.d_bias == NULL)
		n_tasks *= (size_t) b.at.n_seq;
	b.n_blocks = (int32_t) TE_MIN(TE_MAX(ROUND_WORK / block_work, (size_t) 1), (size_t) max_len);
	for (; b.first_block * BLOCK_TOKENS < max_len; b.first_block += b.n_blocks)
		te_graph_tasks(graph, n_tasks, node->rows * b.max_keys * node->cols * 5, backward_task, &b);
}
