/*-------------------------------------------------------------------------
 * op_norm.c
 *	  Layer norm with a residual, RMS norm, and layer norms of heads.
 *
 * Rows are independent.  Where backward will run, forward saves two floats a
 * row (mean and 1 / standard deviation) or one (1 / root mean square).
 *
 * Layer norm, s = x + residual, h = (s - mean) / deviation, y = h * gamma + beta, a = dy * gamma:
 *	  ds = (a - average(a) - h * average(a * h)) / deviation
 *	  dgamma = sum over rows of dy * h, dbeta = sum over rows of dy
 * (Ba, Kiros and Hinton 2016).  RMS norm is the same without the means (Zhang and Sennrich 2019).
 *
 * Gradients of gamma and beta are sums over rows.  A task takes a block of
 * columns and goes through all rows in order, so the sums do not depend on how
 * many workers there are.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

typedef struct NormParams
{
	const TeWeight *gamma;
	const TeWeight *beta;		/* NULL: none */
	const float *gamma_data;	/* [cols] */
	const float *beta_data;
	float		eps;
	/* of RMS norm and of heads */
	size_t		first;			/* columns that it takes */
	size_t		columns;
	size_t		group;			/* that are normalized together */
} NormParams;

static size_t
column_blocks(size_t cols)
{
	return (cols + TE_COLUMN_BLOCK - 1) / TE_COLUMN_BLOCK;
}

/* Add a block's sums to a gradient. */
static void
add_sums(float *into, const double *sums, size_t n)
{
	for (size_t c = 0; c < n; c++)
		into[c] += (float) sums[c];
}

/* ---- layer norm ---- */

static TeNode *
layer_norm_node(TeGraph *graph, TeNode *const *inputs, int n_inputs, const TeWeight *gamma, const TeWeight *beta, float eps)
{
	const TeNode *x = inputs[0];
	TeNode	   *node = te_node_create(graph, TE_OP_layer_norm, x->rows, x->cols, inputs, n_inputs, sizeof(NormParams),
									  te_is_trained(gamma) || te_is_trained(beta));
	NormParams *params = node->params;

	params->gamma = gamma;
	params->beta = beta;
	params->gamma_data = te_vector(node->op, gamma, x->cols);
	params->beta_data = te_vector(node->op, beta, x->cols);
	params->eps = eps;
	if (params->gamma_data == NULL)
		te_throw(TE_ERR_INTERNAL, "%s: there is no gamma", node->op->name);
	if (node->needs_grad)
		node->saved.floats = te_mul_size(x->rows, 2);
	node->scratch = te_mul_size(x->cols, 2);
	return node;
}

TeNode *
te_layer_norm(TeGraph *graph, TeNode *x, TeNode *residual, const TeWeight *gamma, const TeWeight *beta, float eps)
{
	TeNode	   *inputs[2] = {x, residual};

	te_check_shape("layer_norm", residual == NULL || (residual->rows == x->rows && residual->cols == x->cols),
				   "the residual is [%zu, %zu], x is [%zu, %zu]", residual->rows, residual->cols, x->rows, x->cols);
	return layer_norm_node(graph, inputs, residual != NULL ? 2 : 1, gamma, beta, eps);
}

static const float *
residual_value(const TeNode *node)
{
	return node->n_inputs > 1 ? node->inputs[1]->value.data : NULL;
}

static void
layer_norm_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	const float *residual = residual_value(node);
	size_t		at = first * node->cols;

	te_kernel.layer_norm(end - first, node->cols, node->inputs[0]->value.data + at,
						 residual != NULL ? residual + at : NULL, params->gamma_data, params->beta_data, params->eps,
						 node->value.data + at, node->saved.data != NULL ? node->saved.data + 2 * first : NULL);
}

void
te_layer_norm_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 4 * TE_WORK_FLOAT, layer_norm_range, node);
}

/* ds of rows, into x and residual.  scratch: h, then a. */
static void
layer_norm_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	const float *residual = residual_value(node);
	size_t		n = node->cols;
	float	   *h = scratch;
	float	   *a = scratch + n;

	for (size_t r = first; r < end; r++)
	{
		const float *x = node->inputs[0]->value.data + r * n;
		const float *d_y = node->grad.data + r * n;
		float		mean = node->saved.data[2 * r];
		float		inverse = node->saved.data[2 * r + 1];
		float		mean_a;
		float		mean_ah;

		for (size_t i = 0; i < n; i++)
			h[i] = ((residual != NULL ? x[i] + residual[r * n + i] : x[i]) - mean) * inverse;
		te_kernel.multiply(n, d_y, params->gamma_data, a);
		mean_a = te_kernel.dot(n, d_y, params->gamma_data) / (float) n;
		mean_ah = te_kernel.dot(n, a, h) / (float) n;
		for (size_t i = 0; i < n; i++)
			a[i] = (a[i] - mean_a - h[i] * mean_ah) * inverse;
		for (int i = 0; i < node->n_inputs; i++)
		{
			float	   *d_x = node->inputs[i]->grad.data;

			if (d_x != NULL)
				te_kernel.add(n, d_x + r * n, a, d_x + r * n);
		}
	}
}

/* dgamma and dbeta of columns, a block at a time. */
static void
layer_norm_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	const float *residual = residual_value(node);

	for (size_t block = first; block < end; block++)
	{
		size_t		column = block * TE_COLUMN_BLOCK;
		size_t		n = TE_MIN((size_t) TE_COLUMN_BLOCK, node->cols - column);
		double		sum_gamma[TE_COLUMN_BLOCK] = {0};
		double		sum_beta[TE_COLUMN_BLOCK] = {0};

		for (size_t r = 0; r < node->rows; r++)
		{
			size_t		at = r * node->cols + column;
			const float *x = node->inputs[0]->value.data + at;
			const float *d_y = node->grad.data + at;
			float		mean = node->saved.data[2 * r];
			float		inverse = node->saved.data[2 * r + 1];

			for (size_t c = 0; c < n; c++)
			{
				float		s = residual != NULL ? x[c] + residual[at + c] : x[c];

				sum_gamma[c] += (double) (d_y[c] * ((s - mean) * inverse));
				sum_beta[c] += (double) d_y[c];
			}
		}
		if (params->gamma->grad != NULL)
			add_sums(params->gamma->grad + column, sum_gamma, n);
		if (te_is_trained(params->beta))
			add_sums(params->beta->grad + column, sum_beta, n);
	}
}

void
te_layer_norm_backward(TeGraph *graph, TeNode *node)
{
	const NormParams *params = node->params;

	te_graph_range(graph, node->rows, node->cols * 16 * TE_WORK_FLOAT, layer_norm_grad_range, node);
	if (params->gamma->grad != NULL || te_is_trained(params->beta))
		te_graph_range(graph, column_blocks(node->cols), node->rows * TE_COLUMN_BLOCK * 8 * TE_WORK_FLOAT,
					   layer_norm_columns, node);
}

/*
 * ---- RMS norm ----
 *
 * Of groups of columns, each of gamma's length: all columns are one group, or each of some heads is one.  Columns that belong to
 * none stay as they are.
 */

static size_t
groups_of(const TeNode *node)
{
	const NormParams *params = node->params;

	return params->columns / params->group;
}

static bool
takes_all(const TeNode *node)
{
	return ((const NormParams *) node->params)->columns == node->cols;
}

static TeNode *
rms_norm_node(TeGraph *graph, TeColumns x, size_t group, const TeWeight *gamma, float eps)
{
	TeNode	   *node = te_node_create(graph, TE_OP_rms_norm, x.node->rows, x.node->cols, &x.node, 1, sizeof(NormParams),
									  te_is_trained(gamma));
	NormParams *params = node->params;

	params->gamma = gamma;
	params->gamma_data = te_vector(node->op, gamma, group);
	params->eps = eps;
	params->first = x.first;
	params->columns = x.n;
	params->group = group;
	if (params->gamma_data == NULL)
		te_throw(TE_ERR_INTERNAL, "%s: there is no gamma", node->op->name);
	if (node->needs_grad)
		node->saved.floats = te_mul_size(x.node->rows, groups_of(node));
	node->scratch = group;
	return node;
}

TeNode *
te_rms_norm(TeGraph *graph, TeNode *x, const TeWeight *gamma, float eps)
{
	return rms_norm_node(graph, (TeColumns) {x, 0, x->cols}, x->cols, gamma, eps);
}

static void
check_heads(TeColumns heads, size_t d_head)
{
	te_check_shape("norm of heads", heads.first <= heads.node->cols && heads.n <= heads.node->cols - heads.first,
				   "columns %zu + %zu of %zu", heads.first, heads.n, heads.node->cols);
	te_check_shape("norm of heads", d_head > 0 && heads.n > 0 && heads.n % d_head == 0, "%zu columns, %zu a head", heads.n, d_head);
}

TeNode *
te_rms_norm_heads(TeGraph *graph, TeColumns heads, size_t d_head, const TeWeight *gamma, float eps)
{
	check_heads(heads, d_head);
	return rms_norm_node(graph, heads, d_head, gamma, eps);
}

static void
rms_norm_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	const float *x = node->inputs[0]->value.data;
	float	   *y = node->value.data;
	size_t		n = groups_of(node);

	if (!takes_all(node) && x != y)
		memcpy(y + first * node->cols, x + first * node->cols, (end - first) * node->cols * sizeof(float));
	for (size_t r = first; r < end; r++)
	{
		size_t		at = r * node->cols + params->first;

		te_kernel.rms_norm(n, params->group, x + at, params->gamma_data, params->eps, y + at,
						   node->saved.data != NULL ? node->saved.data + r * n : NULL);
	}
}

void
te_rms_norm_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 3 * TE_WORK_FLOAT, rms_norm_range, node);
}

/* What lies beside the groups of a row. */
static void
pass_grad(const TeNode *node, size_t row)
{
	const NormParams *params = node->params;
	size_t		end = params->first + params->columns;
	const float *d_y = node->grad.data + row * node->cols;
	float	   *d_x = node->inputs[0]->grad.data + row * node->cols;

	te_kernel.add(params->first, d_x, d_y, d_x);
	te_kernel.add(node->cols - end, d_x + end, d_y + end, d_x + end);
}

static void
rms_norm_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		n = params->group;

	for (size_t r = first; r < end; r++)
	{
		pass_grad(node, r);
		for (size_t g = 0; g < groups_of(node); g++)
		{
			size_t		at = r * node->cols + params->first + g * n;
			const float *x = node->inputs[0]->value.data + at;
			float	   *d_x = node->inputs[0]->grad.data + at;
			float		inverse = node->saved.data[r * groups_of(node) + g];
			float		mean_ah;

			te_kernel.multiply(n, node->grad.data + at, params->gamma_data, scratch);
			mean_ah = te_kernel.dot(n, scratch, x) * inverse / (float) n;
			te_kernel.axpy(n, inverse, scratch, d_x);
			te_kernel.axpy(n, -mean_ah * inverse * inverse, x, d_x);
		}
	}
}

static void
rms_norm_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		n_groups = groups_of(node);

	for (size_t block = first; block < end; block++)
	{
		size_t		column = block * TE_COLUMN_BLOCK;
		size_t		n = TE_MIN((size_t) TE_COLUMN_BLOCK, params->group - column);
		double		sums[TE_COLUMN_BLOCK] = {0};

		for (size_t g = 0; g < node->rows * n_groups; g++)
		{
			size_t		at = g / n_groups * node->cols + params->first + g % n_groups * params->group + column;

			for (size_t c = 0; c < n; c++)
				sums[c] += (double) (node->grad.data[at + c] * (node->inputs[0]->value.data[at + c] * node->saved.data[g]));
		}
		add_sums(params->gamma->grad + column, sums, n);
	}
}

void
te_rms_norm_backward(TeGraph *graph, TeNode *node)
{
	const NormParams *params = node->params;

	if (node->inputs[0]->grad.data != NULL)
		te_graph_range(graph, node->rows, node->cols * 5 * TE_WORK_FLOAT, rms_norm_grad_range, node);
	if (params->gamma->grad != NULL)
		te_graph_range(graph, column_blocks(params->group), node->rows * groups_of(node) * TE_COLUMN_BLOCK * 4 * TE_WORK_FLOAT,
					   rms_norm_columns, node);
}

/* ---- layer norms of heads: each with its own part of gamma, and none with a beta ---- */

TeNode *
te_layer_norm_heads(TeGraph *graph, TeColumns heads, size_t d_head, const TeWeight *gamma, float eps)
{
	TeNode	   *node = te_node_create(graph, TE_OP_layer_norm_heads, heads.node->rows, heads.node->cols, &heads.node, 1, sizeof(NormParams),
									  te_is_trained(gamma));
	NormParams *params = node->params;

	check_heads(heads, d_head);
	params->gamma = gamma;
	params->gamma_data = te_vector(node->op, gamma, heads.n);
	params->eps = eps;
	params->first = heads.first;
	params->columns = heads.n;
	params->group = d_head;
	if (params->gamma_data == NULL)
		te_throw(TE_ERR_INTERNAL, "%s: there is no gamma", node->op->name);
	if (node->needs_grad)
		node->saved.floats = te_mul_size(heads.node->rows, 2 * groups_of(node));
	node->scratch = 2 * d_head;
	return node;
}

static void
layer_norm_heads_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	const float *x = node->inputs[0]->value.data;
	size_t		n = groups_of(node);

	memcpy(node->value.data + first * node->cols, x + first * node->cols, (end - first) * node->cols * sizeof(float));
	for (size_t g = first * n; g < end * n; g++)
	{
		size_t		at = g / n * node->cols + params->first + g % n * params->group;

		te_kernel.layer_norm(1, params->group, x + at, NULL, params->gamma_data + g % n * params->group, NULL, params->eps,
							 node->value.data + at, node->saved.data != NULL ? node->saved.data + 2 * g : NULL);
	}
}

void
te_layer_norm_heads_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 5 * TE_WORK_FLOAT, layer_norm_heads_range, node);
}

/* As layer_norm_grad_range() does rows. */
static void
layer_norm_heads_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		n = params->group;
	float	   *h = scratch;
	float	   *a = scratch + n;

	for (size_t r = first; r < end; r++)
	{
		pass_grad(node, r);
		for (size_t g = 0; g < groups_of(node); g++)
		{
			size_t		at = r * node->cols + params->first + g * n;
			const float *saved = node->saved.data + 2 * (r * groups_of(node) + g);
			const float *x = node->inputs[0]->value.data + at;
			float	   *d_x = node->inputs[0]->grad.data + at;
			float		mean_a = te_kernel.dot(n, node->grad.data + at, params->gamma_data + g * n) / (float) n;
			float		mean_ah;

			for (size_t i = 0; i < n; i++)
				h[i] = (x[i] - saved[0]) * saved[1];
			te_kernel.multiply(n, node->grad.data + at, params->gamma_data + g * n, a);
			mean_ah = te_kernel.dot(n, a, h) / (float) n;
			for (size_t i = 0; i < n; i++)
				d_x[i] += (a[i] - mean_a - h[i] * mean_ah) * saved[1];
		}
	}
}

/* dgamma of columns, a block at a time. */
static void
layer_norm_heads_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		n_groups = groups_of(node);

	for (size_t block = first; block < end; block++)
	{
		size_t		column = block * TE_COLUMN_BLOCK;
		size_t		n = TE_MIN((size_t) TE_COLUMN_BLOCK, params->columns - column);
		double		sums[TE_COLUMN_BLOCK] = {0};

		for (size_t r = 0; r < node->rows; r++)
		{
			size_t		at = r * node->cols + params->first + column;

			for (size_t c = 0; c < n; c++)
			{
				const float *saved = node->saved.data + 2 * (r * n_groups + (column + c) / params->group);

				sums[c] += (double) (node->grad.data[at + c] * ((node->inputs[0]->value.data[at + c] - saved[0]) * saved[1]));
			}
		}
		add_sums(params->gamma->grad + column, sums, n);
	}
}

void
te_layer_norm_heads_backward(TeGraph *graph, TeNode *node)
{
	const NormParams *params = node->params;

	if (node->inputs[0]->grad.data != NULL)
		te_graph_range(graph, node->rows, node->cols * 16 * TE_WORK_FLOAT, layer_norm_heads_grad_range, node);
	if (params->gamma->grad != NULL)
		te_graph_range(graph, column_blocks(params->columns), node->rows * TE_COLUMN_BLOCK * 8 * TE_WORK_FLOAT,
					   layer_norm_heads_columns, node);
}
