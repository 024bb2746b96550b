/*-------------------------------------------------------------------------
 * op_experts.c
 *	  A mixture of experts: feed-forward layers, of which each token goes through the few that its router's numbers choose.
 *
 * Of a token's numbers l, one an expert, the k largest are chosen (Shazeer et al. 2017).  An expert's result counts for
 *	  p_i = exp(l_i) / sum over all of exp(l), or over the chosen ones
 * and y = sum over the chosen of p_i * down_i(activation(gate_i(x)) * up_i(x)).
 *
 * Which experts run is known only when the graph does.  A token and one of its experts are a slot; slots are ordered by
 * expert, and within one by token, so that each expert multiplies its rows together, by the linear kernel as any weight of any
 * storage type.  An expert that nobody chose is not read.  A row's products do not depend on the others (kernels.h), nor does
 * the order of a token's own sum, so a row of y does not depend on the rows beside it.
 *
 * Backward, for a slot of token t with expert i:
 *	  dp = dy_t · o          do = p * dy_t         da = do · down_i          (dg, du) of da by the gate
 *	  dx_t += dg · gate_i + du · up_i              weights as in op_linear.c
 *	  dl_i += p_i * (dp_i - sum over the chosen of p * dp), and where all experts count, that of the others with dp = 0
 * Forward keeps the choice, what was gated, and results; x and the gated rows are made again.
 *
 * A router's numbers may be anything, NaN too: then some experts are chosen all the same.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

typedef struct ExpertsParams
{
	TeExpertsSpec spec;
	size_t		inner;			/* columns between */
	size_t		n_slots;
	size_t		bytes;			/* floats for rounded rows of a product */
	size_t		expanded;		/* floats for rows of a weight that backward expands */
	bool		exact;			/* rows are not rounded */
} ExpertsParams;

/* What forward leaves for backward, or for itself. */
typedef struct Slots
{
	int32_t    *chosen;			/* [rows, k], the expert */
	int32_t    *place;			/* [rows, k], the slot */
	int32_t    *token;			/* [slots] */
	int32_t    *first;			/* [experts + 1], slot */
	float	   *counts_for;		/* [rows, k] */
	float	   *gated;			/* [slots, 2 * inner], gate and up */
	float	   *out;			/* [slots, cols] */
} Slots;

/* ---- building ---- */

static void
check_weight(const TeWeight *weight, size_t n_out, size_t n_in)
{
	te_check_shape("experts", weight != NULL && (size_t) weight->n_out == n_out && (size_t) weight->n_in == n_in,
				   "a weight is not [%zu, %zu]", n_out, n_in);
	te_check_shape("experts", weight->lora_a == NULL, "a weight has an overlay");
}

/* Check the weights, and find out what their products need. */
static void
measure(const TeNode *x, ExpertsParams *params, size_t *scratch)
{
	for (int i = 0; i < params->spec.n_experts; i++)
	{
		const TeExpert *expert = &params->spec.experts[i];
		TeLinear	wide = {.n_parts = 2, .weight = {expert->gate, expert->up}, .n_tok = x->rows, .exact = params->exact};
		TeLinear	narrow = {.n_parts = 1, .weight = {expert->down}, .n_tok = x->rows, .exact = params->exact};

		check_weight(expert->gate, params->inner, x->cols);
		check_weight(expert->up, params->inner, x->cols);
		check_weight(expert->down, x->cols, params->inner);
		params->bytes = TE_MAX(params->bytes, TE_MAX(te_linear_bytes(&wide), te_linear_bytes(&narrow)));
		*scratch = TE_MAX(*scratch, TE_MAX(te_linear_scratch(&wide), te_linear_scratch(&narrow)));
		if (!te_is_f32_rows(expert->gate) || !te_is_f32_rows(expert->up) || !te_is_f32_rows(expert->down))
			params->expanded = te_mul_size(TE_EXPAND_ROWS, TE_MAX(x->cols, params->inner));
	}
}

static bool
any_trained(const TeExpertsSpec *spec)
{
	for (int i = 0; i < spec->n_experts; i++)
	{
		if (te_is_trained(spec->experts[i].gate) || te_is_trained(spec->experts[i].up) || te_is_trained(spec->experts[i].down))
			return true;
	}
	return false;
}

/* Floats of temp before what a product rounds: x and gated rows of the slots. */
static size_t
rows_size(const TeNode *node)
{
	const ExpertsParams *params = node->params;

	return TE_ALIGN(te_mul_size(params->n_slots, te_add_size(node->cols, params->inner)), TE_CACHE_LINE / sizeof(float));
}

/* Floats that Slots take; integers are as wide. */
static size_t
slots_size(const TeNode *node)
{
	const ExpertsParams *params = node->params;
	size_t		each = te_add_size(4, te_add_size(2 * params->inner, node->cols));

	return te_add_size(te_mul_size(params->n_slots, each), (size_t) params->spec.n_experts + 1);
}

TeNode *
te_experts(TeGraph *graph, TeNode *x, TeNode *numbers, const TeExpertsSpec *spec)
{
	TeNode	   *inputs[2] = {x, numbers};
	TeNode	   *node;
	ExpertsParams *params;

	te_check_shape("experts", spec->n_experts > 0 && spec->n_chosen > 0 && spec->n_chosen <= spec->n_experts,
				   "%d of %d", spec->n_chosen, spec->n_experts);
	te_check_shape("experts", numbers->rows == x->rows && numbers->cols == (size_t) spec->n_experts,
				   "x is [%zu, %zu], the router's numbers are [%zu, %zu]", x->rows, x->cols, numbers->rows, numbers->cols);
	te_check_shape("experts", spec->activation < TE_N_ACTIVATIONS, "there is no activation %d", (int) spec->activation);
	te_check_shape("experts", spec->experts[0].gate != NULL, "there is no gate");
	node = te_node_create(graph, TE_OP_experts, x->rows, x->cols, inputs, 2, sizeof(ExpertsParams), any_trained(spec));
	params = node->params;
	params->spec = *spec;
	params->inner = (size_t) spec->experts[0].gate->n_out;
	params->n_slots = te_mul_size(x->rows, (size_t) spec->n_chosen);
	te_check_shape("experts", params->n_slots < INT32_MAX, "%zu rows", x->rows);
	params->exact = node->needs_grad;
	measure(x, params, &node->scratch);
	node->temp.floats = te_add_size(rows_size(node), params->bytes);
	if (node->needs_grad)
	{
		node->saved.floats = slots_size(node);
		/* x, gated rows, gradients of both halves and of results, of x, of what an expert counts for */
		node->grad_temp.floats = te_add_size(te_mul_size(params->n_slots, te_add_size(3 * x->cols, 4 * params->inner + 1)), params->expanded);
	}
	else
		node->temp.floats = te_add_size(node->temp.floats, slots_size(node));
	return node;
}

/* Where they lie, in what is saved or at the end of temp. */
static Slots
slots_of(const TeNode *node)
{
	const ExpertsParams *params = node->params;
	size_t		n = params->n_slots;
	float	   *at = node->needs_grad ? node->saved.data : node->temp.data + (node->temp.floats - slots_size(node));
	Slots		slots;

	slots.gated = at;
	slots.out = slots.gated + n * 2 * params->inner;
	slots.counts_for = slots.out + n * node->cols;
	slots.chosen = (int32_t *) (slots.counts_for + n);
	slots.place = slots.chosen + n;
	slots.token = slots.place + n;
	slots.first = slots.token + n;
	return slots;
}

/* ---- the choice ---- */

/* One task's arguments: those of a pass over rows or slots. */
typedef struct Pass
{
	TeNode	   *node;
	const ExpertsParams *params;
	Slots		slots;
	float	   *x;				/* [slots, cols] */
	float	   *activated;		/* [slots, inner] */
	/* of backward */
	float	   *d_out;			/* [slots, cols] */
	float	   *d_x;			/* [slots, cols] */
	float	   *d_gated;		/* [slots, 2 * inner] */
	float	   *d_activated;	/* [slots, inner] */
	float	   *d_counts;		/* [rows, k] */
	float	   *expanded;
} Pass;

static void
choose_row(const TeExpertsSpec *spec, const float *numbers, int32_t *chosen)
{
	for (int j = 0; j < spec->n_chosen; j++)
	{
		int32_t		best = -1;

		for (int32_t i = 0; i < spec->n_experts; i++)
		{
			bool		taken = false;

			for (int k = 0; k < j; k++)
				taken |= chosen[k] == i;
			if (!taken && (best < 0 || numbers[i] > numbers[best]))
				best = i;
		}
		chosen[j] = best;
	}
}

/* Sum of exponentials, of the chosen or of all; those of the numbers less the largest one, which is chosen first. */
static double
exponentials(const TeExpertsSpec *spec, const float *numbers, const int32_t *chosen)
{
	double		sum = 0;

	for (int j = 0; spec->sum_is_one && j < spec->n_chosen; j++)
		sum += exp((double) numbers[chosen[j]] - numbers[chosen[0]]);
	for (int i = 0; !spec->sum_is_one && i < spec->n_experts; i++)
		sum += exp((double) numbers[i] - numbers[chosen[0]]);
	return sum;
}

static void
choose_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	const TeExpertsSpec *spec = &pass->params->spec;
	const TeNode *router = pass->node->inputs[1];

	for (size_t r = first; r < end; r++)
	{
		const float *numbers = router->value.data + r * router->cols;
		int32_t    *chosen = pass->slots.chosen + r * (size_t) spec->n_chosen;
		float	   *counts_for = pass->slots.counts_for + r * (size_t) spec->n_chosen;
		double		sum;

		choose_row(spec, numbers, chosen);
		sum = exponentials(spec, numbers, chosen);
		for (int j = 0; j < spec->n_chosen; j++)
			counts_for[j] = (float) (exp((double) numbers[chosen[j]] - numbers[chosen[0]]) / sum);
	}
}

/* A place for each slot, ordered by expert and then by token. */
static void
order_slots(const Pass *pass)
{
	const Slots *slots = &pass->slots;
	int			n_experts = pass->params->spec.n_experts;
	size_t		k = (size_t) pass->params->spec.n_chosen;

	memset(slots->first, 0, ((size_t) n_experts + 1) * sizeof(int32_t));
	for (size_t i = 0; i < pass->params->n_slots; i++)
		slots->first[slots->chosen[i] + 1]++;
	for (int i = 0; i < n_experts; i++)
		slots->first[i + 1] += slots->first[i];
	for (size_t i = 0; i < pass->params->n_slots; i++)
	{
		slots->place[i] = slots->first[slots->chosen[i]]++;
		slots->token[slots->place[i]] = (int32_t) (i / k);
	}
	/* each has become that of the next */
	memmove(slots->first + 1, slots->first, (size_t) n_experts * sizeof(int32_t));
	slots->first[0] = 0;
}

static void
gather_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	size_t		n = pass->node->cols;

	for (size_t s = first; s < end; s++)
		memcpy(pass->x + s * n, pass->node->inputs[0]->value.data + (size_t) pass->slots.token[s] * n, n * sizeof(float));
}

static void
gate_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	size_t		n = pass->params->inner;

	te_kernel.gate(pass->params->spec.activation, end - first, n, pass->slots.gated + first * 2 * n, pass->activated + first * n);
}

static void
run_slots(TeGraph *graph, Pass *pass, size_t work_each, TeRange range)
{
	te_graph_range(graph, pass->params->n_slots, work_each * TE_WORK_FLOAT, range, pass);
}

/* ---- forward ---- */

/* y += counts_for * out of a token's slots, in the order of choice */
static void
combine_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	size_t		n = pass->node->cols;
	size_t		k = (size_t) pass->params->spec.n_chosen;

	for (size_t r = first; r < end; r++)
	{
		float	   *y = pass->node->value.data + r * n;

		memset(y, 0, n * sizeof(float));
		for (size_t j = r * k; j < (r + 1) * k; j++)
			te_kernel.axpy(n, pass->slots.counts_for[j], pass->slots.out + (size_t) pass->slots.place[j] * n, y);
	}
}

static void
run_expert(TeGraph *graph, const Pass *pass, const TeExpert *expert, size_t slot, size_t n, bool narrow)
{
	const ExpertsParams *params = pass->params;
	size_t		cols = pass->node->cols;
	TeLinear	linear = {.n_tok = n, .exact = params->exact,
		.bytes = params->bytes > 0 ? pass->node->temp.data + rows_size(pass->node) : NULL};

	if (narrow)
	{
		linear.n_parts = 1;
		linear.weight[0] = expert->down;
		linear.x = pass->activated + slot * params->inner;
		linear.ld_x = params->inner;
		linear.y = pass->slots.out + slot * cols;
		linear.ld_y = cols;
	}
	else
	{
		linear.n_parts = 2;
		linear.weight[0] = expert->gate;
		linear.weight[1] = expert->up;
		linear.x = pass->x + slot * cols;
		linear.ld_x = cols;
		linear.y = pass->slots.gated + slot * 2 * params->inner;
		linear.ld_y = 2 * params->inner;
	}
	te_graph_linear(graph, &linear);
}

static void
run_experts(TeGraph *graph, const Pass *pass, bool narrow)
{
	const TeExpertsSpec *spec = &pass->params->spec;

	for (int i = 0; i < spec->n_experts; i++)
	{
		int32_t		slot = pass->slots.first[i];
		int32_t		n = pass->slots.first[i + 1] - slot;

		if (n > 0)
			run_expert(graph, pass, &spec->experts[i], (size_t) slot, (size_t) n, narrow);
	}
}

void
te_experts_forward(TeGraph *graph, TeNode *node)
{
	const ExpertsParams *params = node->params;
	Pass		pass = {.node = node, .params = params, .slots = slots_of(node), .x = node->temp.data};

	pass.activated = pass.x + params->n_slots * node->cols;
	te_graph_range(graph, node->rows, (size_t) params->spec.n_experts * (size_t) params->spec.n_chosen * TE_WORK_FLOAT,
				   choose_range, &pass);
	order_slots(&pass);
	run_slots(graph, &pass, node->cols, gather_range);
	run_experts(graph, &pass, false);
	run_slots(graph, &pass, 4 * params->inner, gate_range);
	run_experts(graph, &pass, true);
	te_graph_range(graph, node->rows, (size_t) params->spec.n_chosen * node->cols * TE_WORK_FLOAT, combine_range, &pass);
}

/* ---- backward ---- */

/* do and dp of each token's slots */
static void
out_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	size_t		n = pass->node->cols;
	size_t		k = (size_t) pass->params->spec.n_chosen;

	for (size_t r = first; r < end; r++)
	{
		const float *d_y = pass->node->grad.data + r * n;

		for (size_t j = r * k; j < (r + 1) * k; j++)
		{
			size_t		slot = (size_t) pass->slots.place[j];

			pass->d_counts[j] = te_kernel.dot(n, d_y, pass->slots.out + slot * n);
			te_kernel.scale(n, pass->slots.counts_for[j], d_y, pass->d_out + slot * n);
		}
	}
}

/* (dg, du) of a slot, of da: y = activation(g) * u */
static void
gate_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	size_t		n = pass->params->inner;

	for (size_t s = first; s < end; s++)
	{
		const float *g = pass->slots.gated + s * 2 * n;
		const float *d_a = pass->d_activated + s * n;
		float	   *d_g = pass->d_gated + s * 2 * n;

		/* du = da * activation(g); then dg of da * u, which d_activated gives its place to */
		te_kernel.activate(pass->params->spec.activation, n, g, d_g + n);
		te_kernel.multiply(n, d_g + n, d_a, d_g + n);
		te_kernel.multiply(n, d_a, g + n, pass->d_activated + s * n);
		memset(d_g, 0, n * sizeof(float));
		te_kernel.activate_backward(pass->params->spec.activation, n, g, pass->d_activated + s * n, d_g);
	}
}

/* grad[m, n] += aᵀ · b over an expert's slots */
static void
add_weight_grad(TeGraph *graph, const TeWeight *weight, size_t rows, const float *a, size_t ld_a, const float *b, size_t ld_b)
{
	TeMatmul	mm = {.m = (size_t) weight->n_out, .n = (size_t) weight->n_in, .k = rows,
		.a = a, .ld_a = ld_a, .trans_a = true, .b = b, .ld_b = ld_b,
		.c = weight->grad, .ld_c = (size_t) weight->n_in, .add = true, .bf16 = graph->bf16};

	if (weight->grad != NULL)
		te_graph_matmul(graph, &mm);
}

static void
narrow_backward(TeGraph *graph, const Pass *pass, const TeExpert *expert, size_t slot, size_t n)
{
	size_t		cols = pass->node->cols;
	size_t		inner = pass->params->inner;
	const float *d_out = pass->d_out + slot * cols;
	float	   *d_activated = pass->d_activated + slot * inner;

	add_weight_grad(graph, expert->down, n, d_out, cols, pass->activated + slot * inner, inner);
	memset(d_activated, 0, n * inner * sizeof(float));
	te_graph_input_grad(graph, expert->down, n, d_out, cols, d_activated, inner, pass->expanded);
}

static void
wide_backward(TeGraph *graph, const Pass *pass, const TeExpert *expert, size_t slot, size_t n)
{
	size_t		cols = pass->node->cols;
	size_t		inner = pass->params->inner;
	const TeWeight *halves[] = {expert->gate, expert->up};
	float	   *d_x = pass->d_x + slot * cols;

	memset(d_x, 0, n * cols * sizeof(float));
	for (int i = 0; i < 2; i++)
	{
		const float *d_half = pass->d_gated + slot * 2 * inner + (size_t) i * inner;

		add_weight_grad(graph, halves[i], n, d_half, 2 * inner, pass->x + slot * cols, cols);
		if (pass->node->inputs[0]->grad.data != NULL)
			te_graph_input_grad(graph, halves[i], n, d_half, 2 * inner, d_x, cols, pass->expanded);
	}
}

static void
experts_backward(TeGraph *graph, const Pass *pass,
				 void (*backward) (TeGraph *graph, const Pass *pass, const TeExpert *expert, size_t slot, size_t n))
{
	for (int i = 0; i < pass->params->spec.n_experts; i++)
	{
		int32_t		slot = pass->slots.first[i];
		int32_t		n = pass->slots.first[i + 1] - slot;

		if (n > 0)
			backward(graph, pass, &pass->params->spec.experts[i], (size_t) slot, (size_t) n);
	}
}

/* dx and dl of tokens */
static void
token_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const Pass *pass = arg;
	const TeExpertsSpec *spec = &pass->params->spec;
	const TeNode *router = pass->node->inputs[1];
	size_t		n = pass->node->cols;
	size_t		k = (size_t) spec->n_chosen;

	for (size_t r = first; r < end; r++)
	{
		const int32_t *chosen = pass->slots.chosen + r * k;
		const float *counts_for = pass->slots.counts_for + r * k;
		const float *numbers = router->value.data + r * router->cols;
		float	   *d_x = pass->node->inputs[0]->grad.data;
		float	   *d_numbers = router->grad.data;
		double		mean = 0;

		for (size_t j = 0; j < k; j++)
			mean += (double) counts_for[j] * pass->d_counts[r * k + j];
		for (size_t j = 0; d_x != NULL && j < k; j++)
			te_kernel.add(n, d_x + r * n, pass->d_x + (size_t) pass->slots.place[r * k + j] * n, d_x + r * n);
		if (d_numbers == NULL)
			continue;
		d_numbers += r * router->cols;
		for (size_t j = 0; j < k; j++)
			d_numbers[chosen[j]] += counts_for[j] * (pass->d_counts[r * k + j] - (spec->sum_is_one ? (float) mean : 0));
		/* the sum over all falls for each of them */
		for (size_t i = 0; !spec->sum_is_one && i < router->cols; i++)
			d_numbers[i] -= (float) (exp((double) numbers[i] - numbers[chosen[0]]) / exponentials(spec, numbers, chosen) * mean);
	}
}

void
te_experts_backward(TeGraph *graph, TeNode *node)
{
	const ExpertsParams *params = node->params;
	size_t		wide = params->n_slots * node->cols;
	size_t		narrow = params->n_slots * params->inner;
	Pass		pass = {.node = node, .params = params, .slots = slots_of(node), .x = node->grad_temp.data};

	pass.d_out = pass.x + wide;
	pass.d_x = pass.d_out + wide;
	pass.activated = pass.d_x + wide;
	pass.d_activated = pass.activated + narrow;
	pass.d_gated = pass.d_activated + narrow;
	pass.d_counts = pass.d_gated + 2 * narrow;
	pass.expanded = pass.d_counts + params->n_slots;
	run_slots(graph, &pass, node->cols, gather_range);
	run_slots(graph, &pass, 4 * params->inner, gate_range);
	te_graph_range(graph, node->rows, (size_t) params->spec.n_chosen * node->cols * 2 * TE_WORK_FLOAT, out_grad_range, &pass);
	experts_backward(graph, &pass, narrow_backward);
	run_slots(graph, &pass, 12 * params->inner, gate_grad_range);
	experts_backward(graph, &pass, wide_backward);
	te_graph_range(graph, node->rows, ((size_t) params->spec.n_chosen * node->cols + 8 * (size_t) params->spec.n_experts) * TE_WORK_FLOAT,
				   token_grad_range, &pass);
}
