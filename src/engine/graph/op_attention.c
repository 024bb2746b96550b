/*-------------------------------------------------------------------------
 * op_attention.c
 *	  Attention over packed sequences, with joint projections, grouped heads, an additive bias, slopes by distance and relative positions.
 *
 * Forward is kernels/attention.c.  q, k and v are columns of nodes, which may
 * be one and the same (a joint projection): gradients go back into those columns.
 *
 * Backward keeps nothing of forward but q, k and v.  For a head and a block of
 * up to 64 queries, against all keys that they see:
 *	  P = softmax(scale * Q · Kᵀ + bias), again       dP = dO · Vᵀ
 *	  dS = P * (dP - sum over keys of P * dP)          dbias += dS
 *	  dQ += scale * dS · K     dK += scale * dSᵀ · Q    dV += Pᵀ · dO
 * where a score s that is capped has become c = softcap * tanh(s / softcap), and dS is multiplied by 1 - (c / softcap)^2.
 * A worker's scratch holds P and dP, 64 rows of the longest sequence (Dao et al. 2022
 * do it in tiles; rows of a text fit).  The products are the panel kernel's.
 *
 * Relative positions (disentangled attention) add q · keys[distance] and k · queries[distance] to a score before it
 * is scaled.  Rows come by bucket, [n_rows, n_head * d_head], and a table says which of them a distance has; forward packs
 * them by distance as the kernel wants them, once for all sequences.  Backward packs them again, for P.  A
 * block of queries and a block of keys, both of 64 tokens from the start of their sequence, are
 * apart by 128 distances: in a tile of dS the element of query i and key j belongs to distance 64 + i - j of these,
 * and dS with its rows shifted so ("skewed"), [64, 128], is multiplied as dS is.
 *
 * Keys are shared by the heads of a group and by all blocks of queries, the
 * bias and relative rows by all sequences.  So a task is a key-value head of a sequence, or of all of them where
 * the bias or relative rows are trained, and does its heads and blocks in order.  Long sequences are done in rounds of blocks with a
 * check for interrupts between them.
 *
 * Where the batch has pages, op_attention_pages.c does it.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

#define BLOCK_TOKENS TE_PANEL			/* queries, and keys, done together */
#define TILE ((size_t) BLOCK_TOKENS * TE_PANEL)
#define REACH (2 * TE_PANEL)			/* distances between tokens of two blocks */
#define MAX_INPUTS 6
#define ROUND_WORK ((size_t) 1 << 26)	/* multiply-adds of a task between two checks for interrupts: some milliseconds */

typedef struct AttentionParams
{
	TeColumns	q;
	TeColumns	k;
	TeColumns	v;
	TeAttention shape;			/* all but pointers */
	TeNode	   *bias;			/* NULL: none */
	TeColumns	keys;			/* relative rows; node is NULL: none */
	TeColumns	queries;
	const int32_t *rows;
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

/* Rows by distance go into as many floats; 0 where there are none. */
static size_t
panels_size(const TeAttention *shape)
{
	return (size_t) shape->n_head * (size_t) shape->relative_panels * (size_t) shape->d_head * TE_PANEL;
}

static void
check_relative(const TeGraph *graph, const TeAttentionSpec *spec, TeColumns columns)
{
	size_t		n_distances = 2 * (size_t) TE_MAX(graph->batch->max_len, 1) - 1;

	if (columns.node == NULL)
		return;
	te_check_shape("attention", spec->window == 0 && spec->n_head == spec->n_kv_head && spec->rows != NULL,
				   "relative positions with a window, groups of heads or no table");
	check_columns("relative rows", columns, columns.node->rows, (size_t) spec->n_head * (size_t) spec->d_head);
	for (size_t i = 0; i < n_distances; i++)
		te_check_shape("attention", spec->rows[i] >= 0 && (size_t) spec->rows[i] < columns.node->rows,
					   "a distance has row %d of %zu", spec->rows[i], columns.node->rows);
}

static void
check_spec(const TeGraph *graph, const TeAttentionSpec *spec)
{
	te_check_shape("attention", graph->batch != NULL, "the graph has no batch");
	te_check_shape("attention", spec->n_head > 0 && spec->n_kv_head > 0 && spec->n_head % spec->n_kv_head == 0,
				   "%d heads in %d groups", spec->n_head, spec->n_kv_head);
	te_check_shape("attention", spec->d_head > 0 && spec->d_head <= TE_MAX_D_HEAD, "heads of %d columns", spec->d_head);
	te_check_shape("attention", spec->window >= 0, "a window of %d", spec->window);
	te_check_shape("attention", spec->softcap >= 0, "a cap of %g", spec->softcap);
	if (spec->bias != NULL)
		te_check_shape("attention", spec->bias->rows == (size_t) spec->n_head && spec->bias->cols % 2 == 1 &&
					   (spec->bias->cols + 1) / 2 >= (size_t) graph->batch->max_len,
					   "the bias is [%zu, %zu] for %d heads and %d tokens", spec->bias->rows, spec->bias->cols,
					   spec->n_head, graph->batch->max_len);
	check_relative(graph, spec, spec->keys);
	check_relative(graph, spec, spec->queries);
	if (spec->keys.node != NULL && spec->queries.node != NULL)
		check_apart(spec, spec->keys, spec->queries);
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

/*
 * P, dP, what a cap leaves of a row's, Q, dO, a panel of K or V, a transposed tile, a tile of a product; with relative positions K in panels, rows of
 * distances, products with them.
 */
static size_t
backward_scratch(const TeNode *node)
{
	const AttentionParams *params = node->params;
	size_t		panels = head_panels(&params->shape);
	size_t		relative = params->shape.relative_panels > 0 ? panels + 3 : 0;

	return (2 * BLOCK_TOKENS + 1) * block_keys(node) + (3 * panels + 2 + relative) * TILE;
}

/* Where the node has relative positions: panels, and room for what is packed into them. */
static void
add_relative(TeNode *node, const TeAttentionSpec *spec)
{
	AttentionParams *params = node->params;
	size_t		both = spec->keys.node != NULL && spec->queries.node != NULL ? 2 : 1;

	if (spec->keys.node == NULL && spec->queries.node == NULL)
		return;
	params->keys = spec->keys;
	params->queries = spec->queries;
	params->rows = spec->rows;
	params->shape.relative_panels = 2 * ((node->graph->batch->max_len + TE_PANEL - 1) / TE_PANEL);
	node->temp.floats = te_mul_size(both, panels_size(&params->shape));
	if (node->needs_grad)
		node->grad_temp.floats = node->temp.floats;
}

TeNode *
te_attention(TeGraph *graph, TeColumns q, TeColumns k, TeColumns v, const TeAttentionSpec *spec)
{
	TeNode	   *inputs[MAX_INPUTS] = {q.node, k.node, v.node};
	TeNode	   *optional[] = {spec->bias, spec->keys.node, spec->queries.node};
	int			n_inputs = 3;
	TeNode	   *node;
	AttentionParams *params;
	size_t		q_cols = (size_t) spec->n_head * (size_t) spec->d_head;
	size_t		kv_cols = (size_t) spec->n_kv_head * (size_t) spec->d_head;
	size_t		rows;

	check_spec(graph, spec);
	if (graph->batch->pages != NULL)
		return te_attention_over_pages(graph, q, k, v, spec);
	rows = (size_t) graph->batch->n_tok;
	check_columns("q", q, rows, q_cols);
	check_columns("k", k, rows, kv_cols);
	check_columns("v", v, rows, kv_cols);
	check_apart(spec, q, k);
	check_apart(spec, q, v);
	check_apart(spec, k, v);
	for (size_t i = 0; i < TE_LENGTH(optional); i++)
	{
		if (optional[i] != NULL)
			inputs[n_inputs++] = optional[i];
	}
	node = te_node_create(graph, TE_OP_attention, rows, q_cols, inputs, n_inputs, sizeof(AttentionParams), false);
	params = node->params;
	params->q = q;
	params->k = k;
	params->v = v;
	params->bias = spec->bias;
	params->shape = (TeAttention) {
		.ld_q = q.node->cols, .ld_k = k.node->cols, .ld_v = v.node->cols, .ld_out = q_cols,
		.n_head = spec->n_head, .n_kv_head = spec->n_kv_head, .d_head = spec->d_head,
		.n_seq = graph->batch->n_seq, .seq_start = graph->batch->seq_start,
		.scale = spec->scale != 0.0f ? spec->scale : (float) (1.0 / sqrt((double) spec->d_head)),
		.softcap = spec->softcap, .causal = spec->causal, .window = spec->window, .slopes = spec->slopes,
		.bias_span = spec->bias != NULL ? (int) ((spec->bias->cols + 1) / 2) : 0
	};
	add_relative(node, spec);
	node->scratch = te_attention_scratch(&params->shape);
	if (node->needs_grad)
		node->scratch = TE_MAX(node->scratch, backward_scratch(node));
	return node;
}

/* ---- relative rows by distance ---- */

/* One of the two kinds of rows on its way into panels. */
typedef struct Packing
{
	const AttentionParams *params;
	const float *rows;
	size_t		ld;
	int32_t		reach;			/* longest distance that the table has */
	float	   *panels;
	float	   *scratch;
	size_t		scratch_stride;
} Packing;

/* The row of a distance; those beyond the longest sequence have its own, and are never looked at. */
static int32_t
distance_row(const AttentionParams *params, int32_t reach, int32_t distance)
{
	return params->rows[TE_MIN(TE_MAX(distance, -reach), reach) + reach];
}

static void
pack_task(void *arg, size_t task, int worker)
{
	const Packing *packing = arg;
	const TeAttention *shape = &packing->params->shape;
	size_t		d = (size_t) shape->d_head;
	size_t		head = task / (size_t) shape->relative_panels;
	int32_t		panel = (int32_t) (task % (size_t) shape->relative_panels);
	int32_t		first = (panel - shape->relative_panels / 2) * TE_PANEL;
	float	   *rows = packing->scratch + (size_t) worker * packing->scratch_stride;

	for (int32_t t = 0; t < TE_PANEL; t++)
	{
		size_t		row = (size_t) distance_row(packing->params, packing->reach, first + t);

		memcpy(rows + (size_t) t * d, packing->rows + row * packing->ld + head * d, d * sizeof(float));
	}
	te_kernel.pack_panel(TE_PANEL, d, rows, d, packing->panels + task * d * TE_PANEL);
}

static const float *
pack_rows(TeGraph *graph, const TeNode *node, TeColumns columns, float *panels)
{
	const AttentionParams *params = node->params;
	size_t		n_tasks = (size_t) (params->shape.n_head * params->shape.relative_panels);
	Packing		packing = {.params = params, .reach = TE_MAX(graph->batch->max_len, 1) - 1, .panels = panels,
		.scratch = graph->scratch, .scratch_stride = graph->scratch_stride};

	if (columns.node == NULL)
		return NULL;
	packing.rows = columns.node->value.data + columns.first;
	packing.ld = columns.node->cols;
	te_graph_tasks(graph, n_tasks, panels_size(&params->shape) * TE_WORK_FLOAT, pack_task, &packing);
	return panels;
}

/* Both kinds, one behind the other. */
static void
pack_relative(TeGraph *graph, const TeNode *node, float *panels, TeAttention *at)
{
	const AttentionParams *params = node->params;

	at->relative_keys = pack_rows(graph, node, params->keys, panels);
	at->relative_queries = pack_rows(graph, node, params->queries,
									 at->relative_keys != NULL ? panels + panels_size(&params->shape) : panels);
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
	at.bias = params->bias != NULL ? params->bias->value.data : NULL;
	at.scratch = graph->scratch;
	at.scratch_stride = graph->scratch_stride;
	return at;
}

void
te_attention_forward(TeGraph *graph, TeNode *node)
{
	TeAttention at;

	if (graph->batch->pages != NULL)
	{
		te_attention_pages_forward(graph, node);
		return;
	}
	at = bound_attention(graph, node);
	pack_relative(graph, node, node->temp.data, &at);
	te_graph_tasks(graph, te_attention_tasks(&at), node->rows * block_keys(node) * node->cols * 2,
				   te_attention_task, &at);
}

/* ---- backward ---- */

/* Relative rows that content of one side is multiplied with, and where gradients go. */
typedef struct Relative
{
	const float *rows;			/* NULL: none of this kind */
	size_t		ld;
	float	   *d_rows;			/* like rows; NULL where not wanted */
} Relative;

typedef struct Backward
{
	const AttentionParams *params;
	TeAttention at;
	Relative	keys;
	Relative	queries;
	int32_t		reach;			/* longest distance */
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
	float	   *left;			/* of a row's dS by the cap: a factor each key */
	float	   *q;				/* the head's columns in panels of 64: [panel][query][64] */
	float	   *d_out;
	float	   *panel;
	float	   *transposed;
	float	   *tile;
	/* with relative positions */
	float	   *key_panels;		/* a block of keys' columns like q */
	float	   *distances;		/* [64 distances][64 columns] */
	float	   *reach;			/* [64 queries or keys][REACH] */
} Block;

static void
cut_scratch(Block *block, float *scratch)
{
	size_t		panels = head_panels(&block->b->at);

	block->p = scratch;
	block->d_p = block->p + BLOCK_TOKENS * block->b->max_keys;
	block->left = block->d_p + BLOCK_TOKENS * block->b->max_keys;
	block->q = block->left + block->b->max_keys;
	block->d_out = block->q + panels * TILE;
	block->panel = block->d_out + panels * TILE;
	block->transposed = block->panel + panels * TILE;
	block->tile = block->transposed + TILE;
	block->key_panels = block->tile + TILE;
	block->distances = block->key_panels + panels * TILE;
	block->reach = block->distances + TILE;
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

/* Products of n rows of content with the distances between this block and that of keys from k on: reach[n, 128] */
static void
reach_products(const Block *block, const float *panels, const float *content, size_t ld, size_t n, int32_t k)
{
	const TeAttention *at = &block->b->at;
	size_t		d = (size_t) at->d_head;
	size_t		panel = (size_t) (block->head * at->relative_panels + at->relative_panels / 2 + (block->q0 - k) / TE_PANEL - 1);

	for (size_t half = 0; half < 2; half++)
		te_kernel.gemm_panel_f32(n, d, content, ld, panels + (panel + half) * d * TE_PANEL, block->reach + half * TE_PANEL,
								 REACH, false);
}

/* Add what relative positions contribute to the scores. */
static void
add_relative_scores(const Block *block)
{
	const TeAttention *at = &block->b->at;
	size_t		m = (size_t) (block->q1 - block->q0);

	for (int32_t k = block->k0; k < block->k1; k += BLOCK_TOKENS)
	{
		size_t		n = (size_t) TE_MIN(BLOCK_TOKENS, block->k1 - k);
		float	   *p = block->p + (k - block->k0);

		if (at->relative_keys != NULL)
		{
			reach_products(block, at->relative_keys, at->q + query_at(block, block->q0, at->ld_q), at->ld_q, m, k);
			for (size_t i = 0; i < m; i++)
			{
				for (size_t j = 0; j < n; j++)
					p[i * block->ld + j] += block->reach[i * REACH + TE_PANEL + i - j];
			}
		}
		if (at->relative_queries != NULL)
		{
			reach_products(block, at->relative_queries, at->k + key_at(block, k, at->ld_k), at->ld_k, n, k);
			for (size_t i = 0; i < m; i++)
			{
				for (size_t j = 0; j < n; j++)
					p[i * block->ld + j] += block->reach[j * REACH + TE_PANEL + i - j];
			}
		}
	}
}

/* Cap n scores, and say what is left of their gradients. */
static void
cap_scores(float cap, size_t n, float *scores, float *left)
{
	te_kernel.scale(n, 1 / cap, scores, scores);
	te_kernel.activate(TE_ACT_TANH, n, scores, scores);
	for (size_t i = 0; i < n; i++)
		left[i] = 1 - scores[i] * scores[i];
	te_kernel.scale(n, cap, scores, scores);
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
	if (at->softcap > 0)
		cap_scores(at->softcap, n, p, block->left);
	if (at->bias != NULL)
		te_kernel.add(n, p, at->bias + bias_at, p);
	for (size_t i = 0; at->slopes != NULL && i < n; i++)
		p[i] += at->slopes[block->head] * (float) (from + (int32_t) i - query);
	te_kernel.softmax(1, n, p);
	mean = te_kernel.dot(n, p, d_s);
	for (size_t i = 0; i < n; i++)
		d_s[i] = p[i] * (d_s[i] - mean);
	if (b->d_bias != NULL)
		te_kernel.add(n, b->d_bias + bias_at, d_s, b->d_bias + bias_at);
	if (at->softcap > 0)
		te_kernel.multiply(n, d_s, block->left, d_s);
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

/* reach = the tile of dS before keys k, skewed: rows are queries, or keys */
static void
skew(const Block *block, int32_t k, size_t n, bool by_key)
{
	size_t		m = (size_t) (block->q1 - block->q0);
	const float *d_s = block->d_p + (k - block->k0);

	memset(block->reach, 0, 2 * TILE * sizeof(float));
	for (size_t i = 0; i < m; i++)
	{
		for (size_t j = 0; j < n; j++)
			block->reach[(by_key ? j : i) * REACH + TE_PANEL + i - j] = d_s[i * block->ld + j];
	}
}

/* Columns of one panel of the rows of 64 distances. */
static void
copy_distances(const Block *block, const Relative *relative, int32_t first, size_t panel)
{
	const Backward *b = block->b;

	for (int32_t t = 0; t < TE_PANEL; t++)
	{
		size_t		row = (size_t) distance_row(b->params, b->reach, first + t);

		copy_columns(&b->at, panel, 1, relative->rows + query_at(block, (int32_t) row, relative->ld), relative->ld,
					 block->distances + t * TE_PANEL);
	}
}

/* Add a product tile's columns of one panel to the gradients of the rows of 64 distances. */
static void
add_distances(const Block *block, const Relative *relative, int32_t first, size_t panel)
{
	const Backward *b = block->b;

	for (int32_t t = 0; t < TE_PANEL; t++)
	{
		size_t		row = (size_t) distance_row(b->params, b->reach, first + t);

		add_tile(&b->at, panel, 1, block->tile + t * TE_PANEL,
				 relative->d_rows + query_at(block, (int32_t) row, relative->ld), relative->ld);
	}
}

/*
 * With the skewed dS in reach: d_content[n] += reach · rows, d_rows += reachᵀ · content; the content (queries or keys)
 * lies in panels.
 */
static void
relative_gradients(const Block *block, const Relative *relative, int32_t k, size_t n, const float *content,
				   float *d_content, size_t ld_content)
{
	const TeAttention *at = &block->b->at;

	for (int32_t half = 0; half < 2; half++)
	{
		const float *reach = block->reach + half * TE_PANEL;
		int32_t		first = block->q0 - k + (half - 1) * TE_PANEL;

		te_kernel.pack_panel(n, TE_PANEL, reach, REACH, block->transposed);
		for (size_t panel = 0; panel < head_panels(at); panel++)
		{
			if (d_content != NULL)
			{
				copy_distances(block, relative, first, panel);
				te_kernel.gemm_panel_f32(n, TE_PANEL, reach, REACH, block->distances, block->tile, TE_PANEL, false);
				add_tile(at, panel, n, block->tile, d_content, ld_content);
			}
			if (relative->d_rows != NULL)
			{
				te_kernel.gemm_panel_f32(TE_PANEL, n, block->transposed, TE_PANEL, content + panel * TILE, block->tile,
										 TE_PANEL, false);
				add_distances(block, relative, first, panel);
			}
		}
	}
}

static void
relative_backward(const Block *block)
{
	const Backward *b = block->b;
	const TeAttention *at = &b->at;
	size_t		m = (size_t) (block->q1 - block->q0);

	for (int32_t k = block->k0; k < block->k1; k += BLOCK_TOKENS)
	{
		size_t		n = (size_t) TE_MIN(BLOCK_TOKENS, block->k1 - k);

		if (b->keys.rows != NULL)
		{
			skew(block, k, n, false);
			relative_gradients(block, &b->keys, k, m, block->q,
							   b->d_q != NULL ? b->d_q + query_at(block, block->q0, at->ld_q) : NULL, at->ld_q);
		}
		if (b->queries.rows != NULL)
		{
			skew(block, k, n, true);
			for (size_t panel = 0; panel < head_panels(at); panel++)
				copy_columns(at, panel, n, at->k + key_at(block, k, at->ld_k), at->ld_k, block->key_panels + panel * TILE);
			relative_gradients(block, &b->queries, k, n, block->key_panels,
							   b->d_k != NULL ? b->d_k + key_at(block, k, at->ld_k) : NULL, at->ld_k);
		}
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
	add_relative_scores(block);
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
	relative_backward(block);
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

/* Whether sequences add to the same numbers. */
static bool
shares_gradients(const Backward *b)
{
	return b->d_bias != NULL || b->keys.d_rows != NULL || b->queries.d_rows != NULL;
}

static void
backward_task(void *arg, size_t task, int worker)
{
	const Backward *b = arg;
	float	   *scratch = b->at.scratch + (size_t) worker * b->at.scratch_stride;
	int			kv_head = (int) (task % (size_t) b->at.n_kv_head);

	if (!shares_gradients(b))
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

static Relative
bound_relative(TeColumns columns)
{
	if (columns.node == NULL)
		return (Relative) {NULL};
	return (Relative) {columns.node->value.data + columns.first, columns.node->cols, grad_columns(columns)};
}

void
te_attention_backward(TeGraph *graph, TeNode *node)
{
	const AttentionParams *params = node->params;
	int32_t		max_len = graph->batch->max_len;
	Backward	b = {.params = params, .at = bound_attention(graph, node), .d_out = node->grad.data,
		.d_q = grad_columns(params->q), .d_k = grad_columns(params->k), .d_v = grad_columns(params->v),
		.d_bias = params->bias != NULL ? params->bias->grad.data : NULL, .max_keys = block_keys(node),
		.keys = bound_relative(params->keys), .queries = bound_relative(params->queries),
		.reach = TE_MAX(max_len, 1) - 1};
	size_t		n_tasks = (size_t) b.at.n_kv_head;
	size_t		block_work = 5 * BLOCK_TOKENS * b.max_keys * (node->cols / n_tasks);

	pack_relative(graph, node, node->grad_temp.data, &b.at);
	if (!shares_gradients(&b))
		n_tasks *= (size_t) b.at.n_seq;
	b.n_blocks = (int32_t) TE_MIN(TE_MAX(ROUND_WORK / block_work, (size_t) 1), (size_t) max_len);
	for (; b.first_block * BLOCK_TOKENS < max_len; b.first_block += b.n_blocks)
		te_graph_tasks(graph, n_tasks, node->rows * b.max_keys * node->cols * 5, backward_task, &b);
}
