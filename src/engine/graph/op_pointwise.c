/*-------------------------------------------------------------------------
 * op_pointwise.c
 *	  Element by element: add, multiply, scale, scale_rows, softcap, dropout, activate, gate.
 *
 * Each op is three functions: te_<op> checks shapes and builds the node, then
 * forward, then backward.  A matrix is one run of rows * cols floats here; work
 * is cut into ranges of rows.
 *
 * In inference the result lies over an input wherever that is free (ops.def).
 *-------------------------------------------------------------------------
 */
#include "base/random.h"
#include "graph/impl.h"

/* The floats of rows [first, end): where they begin and how many. */
typedef struct Span
{
	size_t		at;
	size_t		n;
} Span;

static Span
span_of(const TeNode *node, size_t first, size_t end)
{
	return (Span) {first * node->cols, (end - first) * node->cols};
}

static void
run_rows(TeGraph *graph, TeNode *node, size_t work_per_float, TeRange range)
{
	te_graph_range(graph, node->rows, node->cols * work_per_float, range, node);
}

static TeNode *
binary(TeGraph *graph, TeOpNumber op, TeNode *a, TeNode *b)
{
	TeNode	   *inputs[2] = {a, b};

	if (a->rows != b->rows || a->cols != b->cols)
		te_throw(TE_ERR_INTERNAL, "%s: shapes differ: [%zu, %zu] and [%zu, %zu]", te_ops[op].name,
				 a->rows, a->cols, b->rows, b->cols);
	return te_node_create(graph, op, a->rows, a->cols, inputs, 2, 0, false);
}

/* ---- add: y = a + b ---- */

TeNode *
te_add(TeGraph *graph, TeNode *a, TeNode *b)
{
	return binary(graph, TE_OP_add, a, b);
}

static void
add_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.add(s.n, node->inputs[0]->value.data + s.at, node->inputs[1]->value.data + s.at, node->value.data + s.at);
}

void
te_add_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, TE_WORK_FLOAT, add_range);
}

static void
add_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	for (int i = 0; i < 2; i++)
	{
		float	   *d_input = node->inputs[i]->grad.data;

		if (d_input != NULL)
			te_kernel.add(s.n, d_input + s.at, node->grad.data + s.at, d_input + s.at);
	}
}

void
te_add_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 2 * TE_WORK_FLOAT, add_grad_range);
}

/* ---- multiply: y = a * b ---- */

TeNode *
te_multiply(TeGraph *graph, TeNode *a, TeNode *b)
{
	return binary(graph, TE_OP_multiply, a, b);
}

static void
multiply_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.multiply(s.n, node->inputs[0]->value.data + s.at, node->inputs[1]->value.data + s.at,
					   node->value.data + s.at);
}

void
te_multiply_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, TE_WORK_FLOAT, multiply_range);
}

static void
multiply_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);
	const float *d_y = node->grad.data + s.at;

	for (int i = 0; i < 2; i++)
	{
		const float *other = node->inputs[1 - i]->value.data + s.at;
		float	   *d_input = node->inputs[i]->grad.data;

		if (d_input == NULL)
			continue;
		d_input += s.at;
		for (size_t j = 0; j < s.n; j++)
			d_input[j] += d_y[j] * other[j];
	}
}

void
te_multiply_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 4 * TE_WORK_FLOAT, multiply_grad_range);
}

/* ---- scale: y = factor * x ---- */

TeNode *
te_scale(TeGraph *graph, TeNode *x, float factor)
{
	TeNode	   *node = te_node_create(graph, TE_OP_scale, x->rows, x->cols, &x, 1, sizeof(float), false);

	*(float *) node->params = factor;
	return node;
}

static void
scale_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.scale(s.n, *(const float *) node->params, node->inputs[0]->value.data + s.at, node->value.data + s.at);
}

void
te_scale_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, TE_WORK_FLOAT, scale_range);
}

static void
scale_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.axpy(s.n, *(const float *) node->params, node->grad.data + s.at, node->inputs[0]->grad.data + s.at);
}

void
te_scale_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, TE_WORK_FLOAT, scale_grad_range);
}

/* ---- scale_rows: y = x * factors of its rows ---- */

TeNode *
te_scale_rows(TeGraph *graph, TeNode *x, TeNode *factors)
{
	TeNode	   *inputs[2] = {x, factors};

	te_check_shape("scale_rows", factors->rows == x->rows && factors->cols == 1, "x is [%zu, %zu], the factors are [%zu, %zu]",
				   x->rows, x->cols, factors->rows, factors->cols);
	return te_node_create(graph, TE_OP_scale_rows, x->rows, x->cols, inputs, 2, 0, false);
}

static void
scale_rows_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	for (size_t r = first; r < end; r++)
		te_kernel.scale(node->cols, node->inputs[1]->value.data[r], node->inputs[0]->value.data + r * node->cols,
						node->value.data + r * node->cols);
}

void
te_scale_rows_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, TE_WORK_FLOAT, scale_rows_range);
}

static void
scale_rows_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	float	   *d_x = node->inputs[0]->grad.data;
	float	   *d_factors = node->inputs[1]->grad.data;

	for (size_t r = first; r < end; r++)
	{
		const float *d_y = node->grad.data + r * node->cols;

		if (d_x != NULL)
			te_kernel.axpy(node->cols, node->inputs[1]->value.data[r], d_y, d_x + r * node->cols);
		if (d_factors != NULL)
			d_factors[r] += te_kernel.dot(node->cols, d_y, node->inputs[0]->value.data + r * node->cols);
	}
}

void
te_scale_rows_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 3 * TE_WORK_FLOAT, scale_rows_grad_range);
}

/* ---- softcap: y = cap * tanh(x / cap), dx = dy * (1 - (y / cap)^2) ---- */

TeNode *
te_softcap(TeGraph *graph, TeNode *x, float cap)
{
	TeNode	   *node = te_node_create(graph, TE_OP_softcap, x->rows, x->cols, &x, 1, sizeof(float), false);

	te_check_shape("softcap", cap > 0, "a cap of %g", cap);
	*(float *) node->params = cap;
	return node;
}

static void
softcap_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);
	float		cap = *(const float *) node->params;
	float	   *y = node->value.data + s.at;

	te_kernel.scale(s.n, 1 / cap, node->inputs[0]->value.data + s.at, y);
	te_kernel.activate(TE_ACT_TANH, s.n, y, y);
	te_kernel.scale(s.n, cap, y, y);
}

void
te_softcap_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 6 * TE_WORK_FLOAT, softcap_range);
}

static void
softcap_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);
	float		inverse = 1 / *(const float *) node->params;
	const float *y = node->value.data + s.at;
	const float *d_y = node->grad.data + s.at;
	float	   *d_x = node->inputs[0]->grad.data + s.at;

	for (size_t i = 0; i < s.n; i++)
	{
		float		t = y[i] * inverse;

		d_x[i] += d_y[i] * (1 - t * t);
	}
}

void
te_softcap_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 4 * TE_WORK_FLOAT, softcap_grad_range);
}

/* ---- activate: y = activation(x) ---- */

TeNode *
te_activate(TeGraph *graph, TeNode *x, TeActivation activation)
{
	TeNode	   *node = te_node_create(graph, TE_OP_activate, x->rows, x->cols, &x, 1, sizeof(TeActivation), false);

	te_check_shape("activate", activation < TE_N_ACTIVATIONS, "there is no activation %d", (int) activation);
	*(TeActivation *) node->params = activation;
	return node;
}

static void
activate_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.activate(*(const TeActivation *) node->params, s.n, node->inputs[0]->value.data + s.at,
					   node->value.data + s.at);
}

void
te_activate_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 4 * TE_WORK_FLOAT, activate_range);
}

static void
activate_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	Span		s = span_of(node, first, end);

	te_kernel.activate_backward(*(const TeActivation *) node->params, s.n, node->inputs[0]->value.data + s.at,
								node->grad.data + s.at, node->inputs[0]->grad.data + s.at);
}

void
te_activate_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 8 * TE_WORK_FLOAT, activate_grad_range);
}

/* ---- dropout: y = x / (1 - rate), or 0 ---- */

typedef struct DropoutParams
{
	uint32_t	threshold;		/* of 32 random bits: below it, an element is dropped */
	float		factor;
	uint64_t	stream;
} DropoutParams;

TeNode *
te_dropout(TeGraph *graph, TeNode *x)
{
	TeNode	   *node;
	DropoutParams *params;

	if (graph->mode == TE_INFER || graph->dropout == 0)
		return x;
	node = te_node_create(graph, TE_OP_dropout, x->rows, x->cols, &x, 1, sizeof(DropoutParams), false);
	params = node->params;
	params->threshold = (uint32_t) ((double) graph->dropout * 0x1p32);
	params->factor = 1 / (1 - graph->dropout);
	params->stream = te_random_stream(graph->seed, node->index);
	return node;
}

/*
 * y = mask(x), or y += mask(x).  A row has 64 bits of its own, an element mixes 32 of them with its column: cheaper than
 * 64 bits an element, and of a loop that compilers vectorize.
 */
static void
drop_rows(const DropoutParams *params, size_t first, size_t end, size_t cols, const float *x, float *y, bool add)
{
	for (size_t r = first; r < end; r++)
	{
		uint64_t	bits = te_random_bits(params->stream, r);
		uint32_t	key = (uint32_t) bits;
		uint32_t	step = (uint32_t) (bits >> 32) | 1;
		const float *from = x + r * cols;
		float	   *to = y + r * cols;

		for (size_t c = 0; c < cols; c++)
		{
			uint32_t	h = key + (uint32_t) c * step;

			h = (h ^ (h >> 16)) * UINT32_C(0x7FEB352D);
			h = (h ^ (h >> 15)) * UINT32_C(0x846CA68B);
			h ^= h >> 16;
			to[c] = (add ? to[c] : 0) + from[c] * (h < params->threshold ? 0 : params->factor);
		}
	}
}

static void
dropout_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	drop_rows(node->params, first, end, node->cols, node->inputs[0]->value.data, node->value.data, false);
}

void
te_dropout_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 2 * TE_WORK_FLOAT, dropout_range);
}

static void
dropout_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	drop_rows(node->params, first, end, node->cols, node->grad.data, node->inputs[0]->grad.data, true);
}

void
te_dropout_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 2 * TE_WORK_FLOAT, dropout_grad_range);
}

/* ---- gate: y = activation(a) * b, x = [a, b] ---- */

TeNode *
te_gate(TeGraph *graph, TeNode *x, TeActivation activation)
{
	TeNode	   *node;

	te_check_shape("gate", x->cols % 2 == 0, "%zu columns have no halves", x->cols);
	te_check_shape("gate", activation < TE_N_ACTIVATIONS, "there is no activation %d", (int) activation);
	node = te_node_create(graph, TE_OP_gate, x->rows, x->cols / 2, &x, 1, sizeof(TeActivation), false);
	*(TeActivation *) node->params = activation;
	if (node->needs_grad)
		node->scratch = node->cols;
	return node;
}

static void
gate_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;

	te_kernel.gate(*(const TeActivation *) node->params, end - first, node->cols,
				   node->inputs[0]->value.data + first * 2 * node->cols, node->value.data + first * node->cols);
}

void
te_gate_forward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 5 * TE_WORK_FLOAT, gate_range);
}

/* da += dy * b * activation'(a), db += dy * activation(a) */
static void
gate_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	TeActivation activation = *(const TeActivation *) node->params;
	size_t		n = node->cols;

	for (size_t r = first; r < end; r++)
	{
		const float *a = node->inputs[0]->value.data + r * 2 * n;
		const float *d_y = node->grad.data + r * n;
		float	   *d_a = node->inputs[0]->grad.data + r * 2 * n;

		te_kernel.multiply(n, d_y, a + n, scratch);
		te_kernel.activate_backward(activation, n, a, scratch, d_a);
		te_kernel.activate(activation, n, a, scratch);
		te_kernel.multiply(n, d_y, scratch, scratch);
		te_kernel.add(n, d_a + n, scratch, d_a + n);
	}
}

void
te_gate_backward(TeGraph *graph, TeNode *node)
{
	run_rows(graph, node, 14 * TE_WORK_FLOAT, gate_grad_range);
}
