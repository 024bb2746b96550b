/*-------------------------------------------------------------------------
 * op_pool.c
 *	  From tokens to sequences and beyond: pooling, row selection, concatenation, L2 normalisation.
 *
 * Pooling is a table, one row a kind: what a sequence of tokens becomes, and
 * how its gradient goes back.  A sequence is done by one task, in the order of its
 * tokens, so the result does not depend on the rest of the batch.
 *
 * To add a pooling: its symbol in graph.h, its two functions and its row here.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

/* ---- pooling ---- */

/* Rows x[length, n] of one sequence give y[n]; d_x gets what d_y says. */
typedef struct PoolingKind
{
	void		(*forward) (size_t length, size_t n, const float *x, float *y);
	void		(*backward) (size_t length, size_t n, const float *x, const float *d_y, float *d_x);
	bool		reads_x;		/* in backward */
} PoolingKind;

static void
sum_scaled(size_t length, size_t n, const float *x, float factor, float *y)
{
	memcpy(y, x, n * sizeof(float));
	for (size_t r = 1; r < length; r++)
		te_kernel.add(n, y, x + r * n, y);
	te_kernel.scale(n, factor, y, y);
}

static void
spread_scaled(size_t length, size_t n, float factor, const float *d_y, float *d_x)
{
	for (size_t r = 0; r < length; r++)
		te_kernel.axpy(n, factor, d_y, d_x + r * n);
}

static void
pool_mean(size_t length, size_t n, const float *x, float *y)
{
	sum_scaled(length, n, x, 1.0f / (float) length, y);
}

static void
pool_mean_grad(size_t length, size_t n, const float *x, const float *d_y, float *d_x)
{
	spread_scaled(length, n, 1.0f / (float) length, d_y, d_x);
}

static void
pool_mean_sqrt(size_t length, size_t n, const float *x, float *y)
{
	sum_scaled(length, n, x, 1.0f / sqrtf((float) length), y);
}

static void
pool_mean_sqrt_grad(size_t length, size_t n, const float *x, const float *d_y, float *d_x)
{
	spread_scaled(length, n, 1.0f / sqrtf((float) length), d_y, d_x);
}

static void
pool_cls(size_t length, size_t n, const float *x, float *y)
{
	memcpy(y, x, n * sizeof(float));
}

static void
pool_cls_grad(size_t length, size_t n, const float *x, const float *d_y, float *d_x)
{
	te_kernel.add(n, d_x, d_y, d_x);
}

static void
pool_last(size_t length, size_t n, const float *x, float *y)
{
	memcpy(y, x + (length - 1) * n, n * sizeof(float));
}

static void
pool_last_grad(size_t length, size_t n, const float *x, const float *d_y, float *d_x)
{
	d_x += (length - 1) * n;
	te_kernel.add(n, d_x, d_y, d_x);
}

/* Whether b is to be taken instead of a: larger, or the first NaN. */
static bool
beats(float b, float a)
{
	return !(b <= a) && !isnan(a);
}

static void
pool_max(size_t length, size_t n, const float *x, float *y)
{
	memcpy(y, x, n * sizeof(float));
	for (size_t r = 1; r < length; r++)
	{
		for (size_t c = 0; c < n; c++)
			y[c] = beats(x[r * n + c], y[c]) ? x[r * n + c] : y[c];
	}
}

/* To the first of equals. */
static void
pool_max_grad(size_t length, size_t n, const float *x, const float *d_y, float *d_x)
{
	for (size_t c = 0; c < n; c++)
	{
		size_t		best = 0;

		for (size_t r = 1; r < length; r++)
		{
			if (beats(x[r * n + c], x[best * n + c]))
				best = r;
		}
		d_x[best * n + c] += d_y[c];
	}
}

static const PoolingKind poolings[TE_N_POOLINGS] = {
	[TE_POOL_MEAN] = {pool_mean, pool_mean_grad, false},
	[TE_POOL_CLS] = {pool_cls, pool_cls_grad, false},
	[TE_POOL_MAX] = {pool_max, pool_max_grad, true},
	[TE_POOL_LAST] = {pool_last, pool_last_grad, false},
	[TE_POOL_MEAN_SQRT] = {pool_mean_sqrt, pool_mean_sqrt_grad, false},
};

TeNode *
te_pool(TeGraph *graph, TeNode *x, TePooling pooling)
{
	TeNode	   *node;

	te_check_shape("pool", graph->batch != NULL && (size_t) graph->batch->n_tok == x->rows,
				   "%zu rows, which are not the tokens of the batch", x->rows);
	te_check_shape("pool", pooling < TE_N_POOLINGS, "there is no pooling %d", (int) pooling);
	node = te_node_create(graph, TE_OP_pool, (size_t) graph->batch->n_seq, x->cols, &x, 1,
						  sizeof(const PoolingKind *), false);
	*(const PoolingKind **) node->params = &poolings[pooling];
	if (!poolings[pooling].reads_x)
		te_node_reads(node, 0);
	return node;
}

static void
pool_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const PoolingKind *kind = *(const PoolingKind **) node->params;
	const int32_t *start = node->graph->batch->seq_start;

	for (size_t s = first; s < end; s++)
		kind->forward((size_t) (start[s + 1] - start[s]), node->cols,
					  node->inputs[0]->value.data + (size_t) start[s] * node->cols,
					  node->value.data + s * node->cols);
}

static void
pool_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const PoolingKind *kind = *(const PoolingKind **) node->params;
	const int32_t *start = node->graph->batch->seq_start;

	for (size_t s = first; s < end; s++)
	{
		size_t		at = (size_t) start[s] * node->cols;

		/* without reads_x the value may be gone, and backward does not look */
		kind->backward((size_t) (start[s + 1] - start[s]), node->cols, node->inputs[0]->value.data + at,
					   node->grad.data + s * node->cols, node->inputs[0]->grad.data + at);
	}
}

/* Work of an average sequence. */
static size_t
pool_work(const TeNode *node)
{
	return node->inputs[0]->rows / TE_MAX(node->rows, (size_t) 1) * node->cols * TE_WORK_FLOAT;
}

void
te_pool_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, pool_work(node), pool_range, node);
}

void
te_pool_backward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, pool_work(node), pool_grad_range, node);
}

/* ---- select_rows: y[i] = x[rows[i]] ---- */

TeNode *
te_select_rows(TeGraph *graph, TeNode *x, const int32_t *rows, size_t n)
{
	TeNode	   *node;

	for (size_t i = 0; i < n; i++)
		te_check_shape("select_rows", rows[i] >= 0 && (size_t) rows[i] < x->rows,
					   "row %d of a matrix of %zu rows", rows[i], x->rows);
	node = te_node_create(graph, TE_OP_select_rows, n, x->cols, &x, 1, sizeof(const int32_t *), false);
	*(const int32_t **) node->params = rows;
	return node;
}

void
te_select_rows_forward(TeGraph *graph, TeNode *node)
{
	const int32_t *rows = *(const int32_t **) node->params;

	for (size_t i = 0; i < node->rows; i++)
		memcpy(node->value.data + i * node->cols, node->inputs[0]->value.data + (size_t) rows[i] * node->cols,
			   node->cols * sizeof(float));
}

/* In order, since a row may occur twice. */
void
te_select_rows_backward(TeGraph *graph, TeNode *node)
{
	const int32_t *rows = *(const int32_t **) node->params;

	for (size_t i = 0; i < node->rows; i++)
	{
		float	   *into = node->inputs[0]->grad.data + (size_t) rows[i] * node->cols;

		te_kernel.add(node->cols, into, node->grad.data + i * node->cols, into);
	}
}

/* ---- concat: columns of several nodes side by side ---- */

TeNode *
te_concat(TeGraph *graph, TeNode *const *nodes, int n)
{
	size_t		cols = 0;

	te_check_shape("concat", n > 0, "there is nothing to join");
	for (int i = 0; i < n; i++)
	{
		te_check_shape("concat", nodes[i]->rows == nodes[0]->rows, "%zu rows beside %zu",
					   nodes[i]->rows, nodes[0]->rows);
		cols = te_add_size(cols, nodes[i]->cols);
	}
	return te_node_create(graph, TE_OP_concat, nodes[0]->rows, cols, nodes, n, 0, false);
}

static void
concat_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	for (size_t r = first; r < end; r++)
	{
		float	   *y = node->value.data + r * node->cols;

		for (int i = 0; i < node->n_inputs; i++)
		{
			size_t		n = node->inputs[i]->cols;

			memcpy(y, node->inputs[i]->value.data + r * n, n * sizeof(float));
			y += n;
		}
	}
}

void
te_concat_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * TE_WORK_FLOAT, concat_range, node);
}

static void
concat_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	for (size_t r = first; r < end; r++)
	{
		const float *d_y = node->grad.data + r * node->cols;

		for (int i = 0; i < node->n_inputs; i++)
		{
			size_t		n = node->inputs[i]->cols;
			float	   *d_x = node->inputs[i]->grad.data;

			if (d_x != NULL)
				te_kernel.add(n, d_x + r * n, d_y, d_x + r * n);
			d_y += n;
		}
	}
}

void
te_concat_backward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * TE_WORK_FLOAT, concat_grad_range, node);
}

/* ---- l2_normalize: y = x / max(|x|, eps) ---- */

TeNode *
te_l2_normalize(TeGraph *graph, TeNode *x, float eps)
{
	TeNode	   *node = te_node_create(graph, TE_OP_l2_normalize, x->rows, x->cols, &x, 1, sizeof(float), false);

	te_check_shape("l2_normalize", eps > 0.0f, "eps is not positive");
	*(float *) node->params = eps;
	if (node->needs_grad)
		node->saved.floats = x->rows;
	return node;
}

static void
l2_normalize_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	float		eps = *(const float *) node->params;

	for (size_t r = first; r < end; r++)
	{
		const float *x = node->inputs[0]->value.data + r * node->cols;
		float		norm = sqrtf(te_kernel.dot(node->cols, x, x));

		if (node->saved.data != NULL)
			node->saved.data[r] = norm;
		te_kernel.scale(node->cols, 1.0f / (norm < eps ? eps : norm), x, node->value.data + r * node->cols);
	}
}

void
te_l2_normalize_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 2 * TE_WORK_FLOAT, l2_normalize_range, node);
}

/* dx = (dy - y * (y · dy)) / |x|; below eps the norm is a constant, and dx = dy / eps. */
static void
l2_normalize_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	float		eps = *(const float *) node->params;

	for (size_t r = first; r < end; r++)
	{
		const float *y = node->value.data + r * node->cols;
		const float *d_y = node->grad.data + r * node->cols;
		float	   *d_x = node->inputs[0]->grad.data + r * node->cols;
		float		norm = node->saved.data[r];

		te_kernel.axpy(node->cols, 1.0f / (norm < eps ? eps : norm), d_y, d_x);
		if (norm >= eps)
			te_kernel.axpy(node->cols, -te_kernel.dot(node->cols, y, d_y) / norm, y, d_x);
	}
}

void
te_l2_normalize_backward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 3 * TE_WORK_FLOAT, l2_normalize_grad_range, node);
}
