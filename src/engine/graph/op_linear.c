/*-------------------------------------------------------------------------
 * op_linear.c
 *	  y = activation(x · Wᵀ + b + scale * (x · Aᵀ) · Bᵀ), several operands side by side.
 *
 * One op reads every kind of weight: the matrix may be of any storage type and
 * layout (kernels/linear.c), with or without a bias, with or without a
 * low-rank overlay A, B (LoRA, Hu et al. 2021).
 *
 * Forward without gradients is one pass of the kernel, bias and activation
 * fused; types that the kernel multiplies as integers see x rounded to bytes, bf16 sees bf16.  With an overlay, z = (scale * x · Aᵀ) · Bᵀ is made first and added by
 * the kernel as its residual; the activation then runs by itself.  Where
 * backward will run, x is not rounded, and the sum before the activation is saved.  All of it goes
 * through te_linear_task(), so a row of y does not depend on the other rows.
 *
 * Backward, with dp = dy * activation'(p):
 *	  db += sum of rows of dp      dW += dpᵀ · x      dx += dp · W
 *	  dt = scale * dp · B          dB += dpᵀ · t      dA += dtᵀ · x      dx += dt · A
 * where t = scale * x · Aᵀ is saved.  dx of a weight that is not rows of f32 expands TE_EXPAND_ROWS
 * rows at a time, so a quantized or packed weight is never f32 as a whole.
 * dW is computed only where weight->grad is set, and only then is x kept.
 *
 * Where the graph trains in bf16, the products of x, W and dp, in both directions, round their operands to
 * bf16 as they are packed; weights, gradients and sums are f32, and so are overlays, which are narrow.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

/* Rows of a gradient that are summed in f32. */
#define SUM_ROWS 32

typedef struct LinearParams
{
	int			n_parts;
	TeOperand	operands[TE_MAX_PARTS];
	const float *bias[TE_MAX_PARTS];
	TeActivation activation;
	size_t		rank;			/* of all overlays together; 0: there is none */
	size_t		expanded;		/* floats of TE_EXPAND_ROWS rows of the widest weight that backward must expand */
	size_t		bytes;			/* floats for x rounded, the last of temp */
	bool		exact;			/* x stays in floats */
	bool		coarse;			/* x is rounded to bytes alone */
	bool		bf16;			/* products are those of te_graph_matmul() in bf16 */
} LinearParams;

static size_t
overlay_rank(const TeOperand *operand)
{
	return operand->matrix->lora_a != NULL ? (size_t) operand->matrix->lora_a->n_out : 0;
}

/* ---- building ---- */

static void
check_operand(const TeNode *x, const TeOperand *operand)
{
	const TeWeight *w = operand->matrix;
	const TeWeight *a = operand->matrix->lora_a;
	const TeWeight *b = operand->matrix->lora_b;

	te_check_shape("linear", w->n_out > 0 && w->n_in > 0 && (size_t) w->n_in == x->cols,
				   "x is [%zu, %zu], the weight [%lld, %lld]", x->rows, x->cols,
				   (long long) w->n_out, (long long) w->n_in);
	te_check_shape("linear", (a == NULL) == (b == NULL), "half of an overlay is missing");
	if (a == NULL)
		return;
	te_check_shape("linear", a->n_out > 0 && a->n_in == w->n_in && b->n_out == w->n_out && b->n_in == a->n_out,
				   "the overlay is [%lld, %lld], [%lld, %lld] on a weight [%lld, %lld]",
				   (long long) a->n_out, (long long) a->n_in, (long long) b->n_out, (long long) b->n_in,
				   (long long) w->n_out, (long long) w->n_in);
	te_check_shape("linear", te_is_f32_rows(a) && te_is_f32_rows(b), "an overlay is not rows of f32");
}

/* What forward saves for backward, what both borrow, and whether backward reads x. */
static void
size_areas(TeNode *node, bool needs_x)
{
	const LinearParams *params = node->params;
	size_t		overlay = te_mul_size(node->rows, params->rank);
	bool		activated = params->activation != TE_ACT_NONE;

	if (params->rank > 0)
		node->temp.floats = node->value.floats;
	if (!node->needs_grad)
	{
		node->temp.floats = te_add_size(te_add_size(node->temp.floats, overlay), params->bytes);
		return;
	}
	node->saved.floats = te_add_size(activated ? node->value.floats : 0, overlay);
	node->grad_temp.floats = te_add_size(te_add_size(activated ? node->value.floats : 0, overlay),
										 node->inputs[0]->needs_grad ? params->expanded : 0);
	if (!needs_x)
		te_node_reads(node, 0);
}

TeNode *
te_linear(TeGraph *graph, TeNode *x, const TeOperand *operands, int n_operands, TeActivation activation)
{
	TeNode	   *node;
	LinearParams *params;
	TeLinear	shape = {.n_parts = n_operands, .n_tok = x->rows};
	size_t		cols = 0;
	bool		trained = false;
	bool		needs_x = false;

	te_check_shape("linear", n_operands >= 1 && n_operands <= TE_MAX_PARTS, "%d operands", n_operands);
	te_check_shape("linear", activation < TE_N_ACTIVATIONS, "there is no activation %d", (int) activation);
	for (int i = 0; i < n_operands; i++)
	{
		const TeOperand *operand = &operands[i];

		check_operand(x, operand);
		cols = te_add_size(cols, (size_t) operand->matrix->n_out);
		needs_x |= te_is_trained(operand->matrix) || te_is_trained(operand->matrix->lora_a);
		trained |= needs_x || te_is_trained(operand->matrix->lora_b) || te_is_trained(operand->bias);
	}
	node = te_node_create(graph, TE_OP_linear, x->rows, cols, &x, 1, sizeof(LinearParams), trained);
	params = node->params;
	params->n_parts = n_operands;
	params->activation = activation;
	for (int i = 0; i < n_operands; i++)
	{
		const TeOperand *operand = &operands[i];

		params->operands[i] = *operand;
		shape.weight[i] = operand->matrix;
		params->bias[i] = te_vector(node->op, operand->bias, (size_t) operand->matrix->n_out);
		params->rank += overlay_rank(operand);
		if (!te_is_f32_rows(operand->matrix))
			params->expanded = te_mul_size(TE_EXPAND_ROWS, x->cols);
	}
	params->bf16 = graph->bf16 && node->needs_grad;
	for (int i = 0; i < n_operands; i++)
		params->bf16 &= te_is_f32_rows(operands[i].matrix);
	params->exact = node->needs_grad;
	params->coarse = graph->coarse;
	shape.exact = params->exact;
	shape.coarse = params->coarse;
	params->bytes = te_linear_bytes(&shape);
	size_areas(node, needs_x);
	node->scratch = te_linear_scratch(&shape);
	return node;
}

/* ---- forward ---- */

void
te_graph_linear(TeGraph *graph, TeLinear *linear)
{
	size_t		n_out = 0;
	size_t		n_tasks;

	for (int i = 0; i < linear->n_parts; i++)
		n_out += (size_t) linear->weight[i]->n_out;
	linear->scratch = graph->scratch;
	linear->scratch_stride = graph->scratch_stride;
	n_tasks = te_linear_prepare(linear);
	if (linear->n_quantize > 0)
		te_graph_tasks(graph, linear->n_quantize, linear->n_tok * (size_t) linear->weight[0]->n_in * TE_WORK_FLOAT,
					   te_linear_quantize_task, linear);
	te_graph_tasks(graph, n_tasks, linear->n_tok * n_out * (size_t) linear->weight[0]->n_in, te_linear_task, linear);
}

/* y[rows, ld_y] = x[rows, n_in] · Wᵀ for one weight */
static void
run_matrix(TeGraph *graph, size_t rows, const float *x, const TeWeight *weight, float *y, size_t ld_y)
{
	TeLinear	linear = {.n_parts = 1, .weight = {weight}, .n_tok = rows, .x = x, .ld_x = (size_t) weight->n_in,
		.y = y, .ld_y = ld_y};

	te_graph_linear(graph, &linear);
}

/* Where t of the overlays lies: one [rows, rank] after the other.  Not asked where there are none. */
static float *
overlay_rows(const TeNode *node)
{
	const LinearParams *params = node->params;

	if (!node->needs_grad)
		return node->temp.data + node->value.floats;
	return node->saved.data + (params->activation != TE_ACT_NONE ? node->value.floats : 0);
}

/* z, in temp: what the overlays add to y; zero in the columns of operands without one. */
static const float *
run_overlays(TeGraph *graph, const TeNode *node)
{
	const LinearParams *params = node->params;
	const float *x = node->inputs[0]->value.data;
	float	   *z = node->temp.data;
	float	   *t = overlay_rows(node);

	for (int i = 0; i < params->n_parts; i++)
	{
		const TeOperand *operand = &params->operands[i];
		size_t		n = node->rows * overlay_rank(operand);

		if (n > 0)
		{
			run_matrix(graph, node->rows, x, operand->matrix->lora_a, t, overlay_rank(operand));
			te_kernel.scale(n, operand->matrix->lora_scale, t, t);
			run_matrix(graph, node->rows, t, operand->matrix->lora_b, z, node->cols);
		}
		else
		{
			for (size_t r = 0; r < node->rows; r++)
				memset(z + r * node->cols, 0, (size_t) operand->matrix->n_out * sizeof(float));
		}
		t += n;
		z += operand->matrix->n_out;
	}
	return node->temp.data;
}

static void
activate_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const LinearParams *params = node->params;
	const float *from = node->needs_grad ? node->saved.data : node->value.data;
	size_t		at = first * node->cols;

	te_kernel.activate(params->activation, (end - first) * node->cols, from + at, node->value.data + at);
}

/* What is in `y` of a node that was made by products: + bias + what overlays add, for all operands. */
typedef struct Finish
{
	const TeNode *node;
	float	   *y;
	const float *residual;		/* NULL: none */
} Finish;

static void
finish_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Finish *finish = arg;
	const LinearParams *params = finish->node->params;
	size_t		ld = finish->node->cols;
	size_t		at = first * ld;

	for (int i = 0; i < params->n_parts; i++)
	{
		size_t		n = (size_t) params->operands[i].matrix->n_out;

		te_kernel.epilogue(end - first, n, finish->y + at, ld, params->bias[i], TE_ACT_NONE,
						   finish->residual != NULL ? finish->residual + at : NULL, ld, finish->y + at, ld);
		at += n;
	}
}

/* x · Wᵀ + bias + residual in bf16, a product for each operand. */
static void
run_products(TeGraph *graph, TeNode *node, float *y, const float *residual)
{
	const LinearParams *params = node->params;
	const TeNode *x = node->inputs[0];
	Finish		finish = {node, y, residual};
	size_t		column = 0;

	for (int i = 0; i < params->n_parts; i++)
	{
		const TeWeight *w = params->operands[i].matrix;
		TeMatmul	mm = {.m = node->rows, .n = (size_t) w->n_out, .k = x->cols, .a = x->value.data, .ld_a = x->cols,
			.b = w->data, .ld_b = x->cols, .trans_b = true, .c = y + column, .ld_c = node->cols, .bf16 = true};

		te_graph_matmul(graph, &mm);
		column += (size_t) w->n_out;
	}
	te_graph_range(graph, node->rows, node->cols * TE_WORK_FLOAT, finish_range, &finish);
}

void
te_linear_forward(TeGraph *graph, TeNode *node)
{
	const LinearParams *params = node->params;
	bool		apart = params->activation != TE_ACT_NONE && (node->needs_grad || params->rank > 0);
	TeLinear	linear = {.n_parts = params->n_parts, .n_tok = node->rows,
		.x = node->inputs[0]->value.data, .ld_x = node->inputs[0]->cols,
		.y = apart && node->needs_grad ? node->saved.data : node->value.data, .ld_y = node->cols,
		.activation = apart ? TE_ACT_NONE : params->activation, .exact = params->exact, .coarse = params->coarse};

	if (params->bytes > 0)
		linear.bytes = node->temp.data + (node->temp.floats - params->bytes);
	for (int i = 0; i < params->n_parts; i++)
	{
		linear.weight[i] = params->operands[i].matrix;
		linear.bias[i] = params->bias[i];
	}
	if (params->rank > 0)
		linear.residual = run_overlays(graph, node);
	if (params->bf16)
		run_products(graph, node, linear.y, linear.residual);
	else
		te_graph_linear(graph, &linear);
	if (apart)
		te_graph_range(graph, node->rows, node->cols * 4 * TE_WORK_FLOAT, activate_range, node);
}

/* ---- backward ---- */

/* One operand's share of a backward pass. */
typedef struct Part
{
	TeNode	   *node;
	const TeOperand *operand;
	const float *d_p;			/* gradient before the activation: [rows, n_out], stride node->cols */
	size_t		n_out;
	const float *t;				/* saved rows of the overlay */
	float	   *d_t;			/* [rows, rank], borrowed */
	float	   *expanded;		/* [TE_EXPAND_ROWS, n_in], borrowed */
} Part;

static void
activate_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const LinearParams *params = node->params;
	size_t		at = first * node->cols;
	size_t		n = (end - first) * node->cols;

	memset(node->grad_temp.data + at, 0, n * sizeof(float));
	te_kernel.activate_backward(params->activation, n, node->saved.data + at, node->grad.data + at,
								node->grad_temp.data + at);
}

/*
 * Sums of the columns of d_p, a block a task, rows in order: in f32 over
 * SUM_ROWS rows, those in double.
 */
static void
bias_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const Part *part = arg;
	size_t		rows = part->node->rows;
	size_t		ld = part->node->cols;

	for (size_t block = first; block < end; block++)
	{
		size_t		column = block * TE_COLUMN_BLOCK;
		size_t		n = TE_MIN((size_t) TE_COLUMN_BLOCK, part->n_out - column);
		const float *d_p = part->d_p + column;
		double		sums[TE_COLUMN_BLOCK] = {0};

		for (size_t r = 0; r < rows; r += SUM_ROWS)
		{
			float		partial[TE_COLUMN_BLOCK] = {0};

			for (size_t i = r; i < TE_MIN(r + SUM_ROWS, rows); i++)
				te_kernel.add(n, partial, d_p + i * ld, partial);
			for (size_t c = 0; c < n; c++)
				sums[c] += (double) partial[c];
		}
		for (size_t c = 0; c < n; c++)
			part->operand->bias->grad[column + c] += (float) sums[c];
	}
}

/* grad[m, n] += aᵀ · b over the rows of the batch */
static void
add_weight_grad(TeGraph *graph, const TeNode *node, const TeWeight *weight,
				const float *a, size_t ld_a, const float *b, size_t ld_b, bool bf16)
{
	TeMatmul	mm = {.m = (size_t) weight->n_out, .n = (size_t) weight->n_in, .k = node->rows,
		.a = a, .ld_a = ld_a, .trans_a = true, .b = b, .ld_b = ld_b,
		.c = weight->grad, .ld_c = (size_t) weight->n_in, .add = true, .bf16 = bf16};

	if (weight->grad != NULL)
		te_graph_matmul(graph, &mm);
}

/* dx += a[rows, k] · b[k, n_in] */
static void
add_input_grad(TeGraph *graph, const TeNode *node, const float *a, size_t ld_a, size_t k, const float *b, bool bf16)
{
	TeNode	   *x = node->inputs[0];
	TeMatmul	mm = {.m = node->rows, .n = x->cols, .k = k, .a = a, .ld_a = ld_a, .b = b, .ld_b = x->cols,
		.c = x->grad.data, .ld_c = x->cols, .add = true, .bf16 = bf16};

	if (x->grad.data != NULL)
		te_graph_matmul(graph, &mm);
}

/* Rows of a weight on their way to floats. */
typedef struct Expanding
{
	const TeWeight *weight;
	size_t		first_row;
	float	   *into;
} Expanding;

static void
expand_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Expanding *expanding = arg;
	size_t		n_in = (size_t) expanding->weight->n_in;

	for (size_t r = first; r < end; r++)
		te_weight_row(expanding->weight, (int64_t) (expanding->first_row + r), expanding->into + r * n_in);
}

void
te_graph_input_grad(TeGraph *graph, const TeWeight *weight, size_t rows, const float *d_y, size_t ld_y, float *d_x, size_t ld_x,
					float *expanded)
{
	size_t		n_out = (size_t) weight->n_out;
	size_t		step = te_is_f32_rows(weight) ? n_out : TE_EXPAND_ROWS;
	Expanding	expanding = {.weight = weight, .into = expanded};

	for (; expanding.first_row < n_out; expanding.first_row += step)
	{
		size_t		n = TE_MIN(step, n_out - expanding.first_row);
		TeMatmul	mm = {.m = rows, .n = (size_t) weight->n_in, .k = n, .a = d_y + expanding.first_row, .ld_a = ld_y,
			.b = te_is_f32_rows(weight) ? weight->data : expanded, .ld_b = (size_t) weight->n_in, .c = d_x, .ld_c = ld_x,
			.add = true, .bf16 = graph->bf16};

		if (!te_is_f32_rows(weight))
			te_graph_range(graph, n, (size_t) weight->n_in * 2 * TE_WORK_FLOAT, expand_range, &expanding);
		te_graph_matmul(graph, &mm);
	}
}

static void
overlay_grads(TeGraph *graph, Part *part)
{
	const TeOperand *operand = part->operand;
	TeNode	   *node = part->node;
	size_t		rank = overlay_rank(operand);
	TeMatmul	mm = {.m = node->rows, .n = rank, .k = part->n_out, .a = part->d_p, .ld_a = node->cols,
		.b = operand->matrix->lora_b->data, .ld_b = rank, .c = part->d_t, .ld_c = rank};

	add_weight_grad(graph, node, operand->matrix->lora_b, part->d_p, node->cols, part->t, rank, false);
	te_graph_matmul(graph, &mm);
	te_kernel.scale(node->rows * rank, operand->matrix->lora_scale, part->d_t, part->d_t);
	add_weight_grad(graph, node, operand->matrix->lora_a, part->d_t, rank, node->inputs[0]->value.data, node->inputs[0]->cols,
					false);
	add_input_grad(graph, node, part->d_t, rank, rank, operand->matrix->lora_a->data, false);
}

static void
part_backward(TeGraph *graph, Part *part)
{
	const TeOperand *operand = part->operand;
	TeNode	   *node = part->node;

	if (te_is_trained(operand->bias))
		te_graph_range(graph, (part->n_out + TE_COLUMN_BLOCK - 1) / TE_COLUMN_BLOCK,
					   node->rows * TE_COLUMN_BLOCK * TE_WORK_FLOAT, bias_columns, part);
	add_weight_grad(graph, node, operand->matrix, part->d_p, node->cols,
					node->inputs[0]->value.data, node->inputs[0]->cols, graph->bf16);
	if (node->inputs[0]->grad.data != NULL)
		te_graph_input_grad(graph, operand->matrix, node->rows, part->d_p, node->cols, node->inputs[0]->grad.data,
							node->inputs[0]->cols, part->expanded);
	if (operand->matrix->lora_a != NULL)
		overlay_grads(graph, part);
}

void
te_linear_backward(TeGraph *graph, TeNode *node)
{
	const LinearParams *params = node->params;
	size_t		activated = params->activation != TE_ACT_NONE ? node->value.floats : 0;
	size_t		overlays = node->rows * params->rank;
	Part		part = {.node = node, .d_p = node->grad.data};

	/* grad_temp: dp, then dt, then the expanded rows */
	if (overlays > 0)
	{
		part.t = overlay_rows(node);
		part.d_t = node->grad_temp.data + activated;
	}
	if (params->expanded > 0 && node->inputs[0]->grad.data != NULL)
		part.expanded = node->grad_temp.data + activated + overlays;
	if (activated > 0)
	{
		te_graph_range(graph, node->rows, node->cols * 8 * TE_WORK_FLOAT, activate_grad_range, node);
		part.d_p = node->grad_temp.data;
	}
	for (int i = 0; i < params->n_parts; i++)
	{
		size_t		overlay = node->rows * overlay_rank(&params->operands[i]);

		part.operand = &params->operands[i];
		part.n_out = (size_t) part.operand->matrix->n_out;
		part_backward(graph, &part);
		part.d_p += part.n_out;
		if (overlay > 0)
		{
			part.t += overlay;
			part.d_t += overlay;
		}
	}
}
