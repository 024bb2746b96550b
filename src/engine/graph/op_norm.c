/*-------------------------------------------------------------------------
 * op_norm.c
 *	  Layer norm with a residual, and RMS norm.
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
} NormParams;

static TeNode *
norm_node(TeGraph *graph, TeOpNumber op, TeNode *const *inputs, int n_inputs,
		  const TeWeight *gamma, const TeWeight *beta, float eps, size_t saved_per_row)
{
	const TeNode *x = inputs[0];
	TeNode	   *node = te_node_create(graph, op, x->rows, x->cols, inputs, n_inputs, sizeof(NormParams),
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
		node->saved.floats = te_mul_size(x->rows, saved_per_row);
	node->scratch = te_mul_size(x->cols, 2);
	return node;
}

static size_t
column_blocks(const TeNode *node)
{
	return (node->cols + TE_COLUMN_BLOCK - 1) / TE_COLUMN_BLOCK;
}

/* Add a block's sums to a gradient. */
static void
add_sums(float *into, const double *sums, size_t n)
{
	for (size_t c = 0; c < n; c++)
		into[c] += (float) sums[c];
}

/* ---- layer norm ---- */

TeNode *
te_layer_norm(TeGraph *graph, TeNode *x, TeNode *residual, const TeWeight *gamma, const TeWeight *beta, float eps)
{
	TeNode	   *inputs[2] = {x, residual};

	te_check_shape("layer_norm", residual == NULL || (residual->rows == x->rows && residual->cols == x->cols),
				   "the residual is [%zu, %zu], x is [%zu, %zu]", residual->rows, residual->cols, x->rows, x->cols);
	return norm_node(graph, TE_OP_layer_norm, inputs, residual != NULL ? 2 : 1, gamma, beta, eps, 2);
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
		te_graph_range(graph, column_blocks(node), node->rows * TE_COLUMN_BLOCK * 8 * TE_WORK_FLOAT,
					   layer_norm_columns, node);
}

/* ---- RMS norm ---- */

TeNode *
te_rms_norm(TeGraph *graph, TeNode *x, const TeWeight *gamma, float eps)
{
	return norm_node(graph, TE_OP_rms_norm, &x, 1, gamma, NULL, eps, 1);
}

static void
rms_norm_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		at = first * node->cols;

	te_kernel.rms_norm(end - first, node->cols, node->inputs[0]->value.data + at, params->gamma_data, params->eps,
					   node->value.data + at, node->saved.data != NULL ? node->saved.data + first : NULL);
}

void
te_rms_norm_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols * 3 * TE_WORK_FLOAT, rms_norm_range, node);
}

static void
rms_norm_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;
	size_t		n = node->cols;

	for (size_t r = first; r < end; r++)
	{
		const float *x = node->inputs[0]->value.data + r * n;
		float	   *d_x = node->inputs[0]->grad.data + r * n;
		float		inverse = node->saved.data[r];
		float		mean_ah;

		te_kernel.multiply(n, node->grad.data + r * n, params->gamma_data, scratch);
		mean_ah = te_kernel.dot(n, scratch, x) * inverse / (float) n;
		te_kernel.axpy(n, inverse, scratch, d_x);
		te_kernel.axpy(n, -mean_ah * inverse * inverse, x, d_x);
	}
}

static void
rms_norm_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const NormParams *params = node->params;

	for (size_t block = first; block < end; block++)
	{
		size_t		column = block * TE_COLUMN_BLOCK;
		size_t		n = TE_MIN((size_t) TE_COLUMN_BLOCK, node->cols - column);
		double		sums[TE_COLUMN_BLOCK] = {0};

		for (size_t r = 0; r < node->rows; r++)
		{
			size_t		at = r * node->cols + column;

			for (size_t c = 0; c < n; c++)
				sums[c] += (double) (node->grad.data[at + c] * (node->inputs[0]->value.data[at + c] * node->saved.data[r]));
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
		te_graph_range(graph, column_blocks(node), node->rows * TE_COLUMN_BLOCK * 4 * TE_WORK_FLOAT,
					   rms_norm_columns, node);
}
