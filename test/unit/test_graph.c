/*-------------------------------------------------------------------------
 * test_graph.c
 *	  Gradients of every op against finite differences, and two whole blocks
 *	  against numbers of PyTorch.
 *
 * The table `cases` has a row per row of ops.def, made from it: an op without a
 * build_<op>() and a VARIANTS_<op> here does not compile.  A build function makes the
 * op's node from inputs and weights of a Lab, which it asks for in the same
 * order each time; the lab makes them on first use and perturbs them later.
 *
 * The loss is sum(output * random coefficients) in double precision.  Central
 * differences at h and h/2, extrapolated (Richardson), leave an error of h^4 and
 * rounding; the bound is relative to the largest gradient of the variable.
 *
 * models/fixtures/graph/make.py wrote block.safetensors and says what it holds.
 * How graphs run (plans, workers, faults) is test_graph_run.c's.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "file/file.h"
#include "graph/graph.h"

#define MAX_VARIABLES 16
#define SAMPLES 24				/* elements of a variable that are perturbed */
#define STEP 2e-2
#define TOLERANCE 3e-4			/* measured: 7e-5 */

/* ---- the lab ---- */

typedef struct Variable
{
	size_t		n;
	float	   *data;
	float	   *grad;
	TeWeight	weight;
} Variable;

typedef struct Lab
{
	TeArena    *arena;
	TeGraph    *graph;
	TeBatch		batch;
	int			n_variables;
	int			next;			/* variable that the build function asks for next */
	Variable	variables[MAX_VARIABLES];
	int			n_frozen;
	int			next_frozen;
	TeWeight	frozen[12];
	double		rounds;			/* inference rounds x where training does not: how much that may change; else 0 */
	bool		drops;			/* training drops elements */
} Lab;

static uint64_t random_state = 1;

/* [-1, 1] */
static float
uniform(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (float) ((double) (random_state >> 11) / 9007199254740992.0 * 2.0 - 1.0);
}

static float *
random_floats(TeArena *arena, size_t n)
{
	float	   *x = te_new_array(arena, float, n);

	for (size_t i = 0; i < n; i++)
		x[i] = uniform();
	return x;
}

static Variable *
variable(Lab *lab, size_t rows, size_t cols)
{
	Variable   *v = &lab->variables[lab->next++];

	te_assert(lab->next <= MAX_VARIABLES);
	if (lab->next > lab->n_variables)
	{
		lab->n_variables = lab->next;
		v->n = rows * cols;
		v->data = random_floats(lab->arena, v->n);
		v->grad = te_new_array(lab->arena, float, v->n);
		v->weight = (TeWeight) {TE_F32, TE_ROWS, (int64_t) rows, (int64_t) cols, v->data, v->grad};
	}
	te_assert(v->n == rows * cols);
	return v;
}

/* A variable as a value of the workspace, where a plan may do with it what it does with any other. */
static TeNode *
as_input(Lab *lab, const Variable *v, size_t rows, size_t cols)
{
	return te_scale(lab->graph, te_input(lab->graph, v->data, rows, cols, v->grad), 1);
}

static TeNode *
input(Lab *lab, size_t rows, size_t cols)
{
	return as_input(lab, variable(lab, rows, cols), rows, cols);
}

static const TeWeight *
weight(Lab *lab, size_t n_out, size_t n_in)
{
	return &variable(lab, n_out, n_in)->weight;
}

/* Random, without a gradient, stored as an image would store it (or in plain rows). */
static const TeWeight *
frozen(Lab *lab, TeDtype dtype, bool packed, size_t n_out, size_t n_in)
{
	TeWeight   *w = &lab->frozen[lab->next_frozen++];
	float	   *scratch = te_new_array(lab->arena, float, n_in);
	void	   *rows;
	void	   *data;

	if (lab->next_frozen <= lab->n_frozen)
		return w;
	lab->n_frozen = lab->next_frozen;
	rows = te_alloc(lab->arena, te_row_bytes(dtype, (int64_t) n_in) * n_out);
	te_convert_rows(TE_F32, random_floats(lab->arena, n_out * n_in), dtype, rows, (int64_t) n_out, (int64_t) n_in, scratch);
	*w = (TeWeight) {dtype, TE_ROWS, (int64_t) n_out, (int64_t) n_in, rows, NULL};
	if (packed)
	{
		data = te_alloc0(lab->arena, te_pack_bytes(dtype, (int64_t) n_out, (int64_t) n_in));
		te_pack_rows(dtype, (int64_t) n_out, (int64_t) n_in, 0, (int64_t) n_out, rows, data);
		w->layout = te_pack_layout(dtype, (int64_t) n_in);
		w->data = data;
	}
	return w;
}

static void
set_batch(Lab *lab, const int32_t *seq_start, int n_seq)
{
	lab->batch = (TeBatch) {.n_seq = n_seq, .n_tok = seq_start[n_seq], .seq_start = seq_start};
	for (int s = 0; s < n_seq; s++)
		lab->batch.max_len = TE_MAX(lab->batch.max_len, seq_start[s + 1] - seq_start[s]);
}

/* ---- the cases: build_<op>(lab, variant), variant < VARIANTS_<op> ---- */

static const int32_t short_starts[] = {0, 3, 4, 9};
static const int32_t long_starts[] = {0, 70, 73, 206};

#define VARIANTS_gather 3
static TeNode *
build_gather(Lab *lab, int variant)
{
	static const int32_t ids[] = {3, 0, 3, 6, 1, 3, -1};

	if (variant == 2)
		return te_gather(lab->graph, weight(lab, 3, 5), NULL, 4, 2);
	return te_gather(lab->graph, weight(lab, 8, variant == 0 ? 3 : 150), ids, TE_LENGTH(ids), 1);
}

#define VARIANTS_add 2
static TeNode *
build_add(Lab *lab, int variant)
{
	TeNode	   *a = input(lab, 3, 5);

	return te_add(lab->graph, a, variant == 0 ? input(lab, 3, 5) : a);
}

#define VARIANTS_multiply 2
static TeNode *
build_multiply(Lab *lab, int variant)
{
	TeNode	   *a = input(lab, 3, 5);

	return te_multiply(lab->graph, a, variant == 0 ? input(lab, 3, 5) : a);
}

#define VARIANTS_scale_rows 1
static TeNode *
build_scale_rows(Lab *lab, int variant)
{
	return te_scale_rows(lab->graph, input(lab, 3, 5), input(lab, 3, 1));
}

#define VARIANTS_softcap 1
static TeNode *
build_softcap(Lab *lab, int variant)
{
	return te_softcap(lab->graph, input(lab, 3, 5), 0.75f);
}

#define VARIANTS_scale 1
static TeNode *
build_scale(Lab *lab, int variant)
{
	return te_scale(lab->graph, input(lab, 3, 5), -1.75f);
}

#define VARIANTS_dropout 1
static TeNode *
build_dropout(Lab *lab, int variant)
{
	lab->drops = true;
	te_graph_set_dropout(lab->graph, 0.5f, 42);
	return te_dropout(lab->graph, input(lab, 3, 50));
}

/* Inputs from -4 to 4, not near the kink of relu. */
#define VARIANTS_activate TE_N_ACTIVATIONS
static TeNode *
build_activate(Lab *lab, int variant)
{
	bool		fresh = lab->n_variables == 0;
	Variable   *x = variable(lab, 8, 9);

	for (size_t i = 0; fresh && i < x->n; i++)
		x->data[i] = x->data[i] * 3.9f + (x->data[i] < 0 ? -0.1f : 0.1f);
	return te_activate(lab->graph, as_input(lab, x, 8, 9), (TeActivation) variant);
}

/* As for activate. */
#define VARIANTS_gate TE_N_ACTIVATIONS
static TeNode *
build_gate(Lab *lab, int variant)
{
	bool		fresh = lab->n_variables == 0;
	Variable   *x = variable(lab, 6, 14);

	for (size_t i = 0; fresh && i < x->n; i++)
		x->data[i] = x->data[i] * 3.9f + (x->data[i] < 0 ? -0.1f : 0.1f);
	return te_gate(lab->graph, as_input(lab, x, 6, 14), (TeActivation) variant);
}

#define VARIANTS_layer_norm 4
static TeNode *
build_layer_norm(Lab *lab, int variant)
{
	TeNode	   *x = input(lab, 5, 70);
	TeNode	   *residual = variant == 0 ? input(lab, 5, 70) : variant == 1 ? x : NULL;

	return te_layer_norm(lab->graph, x, residual, weight(lab, 1, 70), variant < 3 ? weight(lab, 1, 70) : NULL, 1e-3f);
}

#define VARIANTS_layer_norm_heads 2
static TeNode *
build_layer_norm_heads(Lab *lab, int variant)
{
	if (variant == 1)
		return te_layer_norm_heads(lab->graph, (TeColumns) {input(lab, 5, 70), 3, 60}, 12, weight(lab, 1, 60), 1e-3f);
	return te_layer_norm_heads(lab->graph, (TeColumns) {input(lab, 3, 210), 0, 140}, 70, weight(lab, 1, 140), 1e-3f);
}

#define VARIANTS_rms_norm 3
static TeNode *
build_rms_norm(Lab *lab, int variant)
{
	if (variant == 1)
		return te_rms_norm_heads(lab->graph, (TeColumns) {input(lab, 5, 70), 3, 60}, 12, weight(lab, 1, 12), 1e-3f);
	if (variant == 2)
		return te_rms_norm_heads(lab->graph, (TeColumns) {input(lab, 3, 210), 0, 140}, 70, weight(lab, 1, 70), 1e-3f);
	return te_rms_norm(lab->graph, input(lab, 5, 70), weight(lab, 1, 70), 1e-3f);
}

static TeOperand
overlaid(Lab *lab, TeOperand operand, size_t rank)
{
	TeWeight   *matrix = te_new(lab->arena, TeWeight);

	*matrix = *operand.matrix;
	matrix->lora_a = weight(lab, rank, (size_t) matrix->n_in);
	matrix->lora_b = weight(lab, (size_t) matrix->n_out, rank);
	matrix->lora_scale = 0.5f;
	operand.matrix = matrix;
	return operand;
}

#define VARIANTS_linear 12
static TeNode *
build_linear(Lab *lab, int variant)
{
	static const struct
	{
		TeDtype		dtype;
		bool		packed;
		double		rounds;
	}			stored[] = {{TE_F32, true, 0}, {TE_F16, true, 0}, {TE_Q8_0, true, 1e-3}, {TE_Q4_0, true, 0.1}, {TE_BF16, false, 0}, {TE_Q8_0, false, 0}};
	TeNode	   *x;
	TeOperand	operands[3] = {0};
	int			n = 1;
	TeActivation activation = TE_ACT_NONE;

	if (variant >= 6)
	{
		/* whatever the weight is stored as, x and an overlay can be trained */
		x = input(lab, 7, 64);
		lab->rounds = stored[variant - 6].rounds;
		operands[0].matrix = frozen(lab, stored[variant - 6].dtype, stored[variant - 6].packed, 300, 64);
		if (variant % 2 == 0)
			operands[0] = overlaid(lab, operands[0], 3);
		return te_linear(lab->graph, x, operands, 1, TE_ACT_NONE);
	}
	x = input(lab, 7, 20);
	operands[0] = (TeOperand) {.matrix = weight(lab, 70, 20)};
	if (variant >= 1)
		operands[0].bias = weight(lab, 1, 70);
	if (variant >= 2)
		activation = TE_ACT_GELU;
	if (variant >= 3)
	{
		operands[1].matrix = frozen(lab, TE_F32, false, 5, 20);
		operands[2] = (TeOperand) {.matrix = weight(lab, 64, 20), .bias = weight(lab, 1, 64)};
		n = 3;
	}
	if (variant >= 4)
		operands[1] = overlaid(lab, operands[1], 2);
	if (variant >= 5)
	{
		operands[2] = overlaid(lab, operands[2], 3);
		activation = TE_ACT_NONE;
	}
	return te_linear(lab->graph, x, operands, n, activation);
}

/* The two ways to count, with trained experts, and with frozen ones of which some are not f32. */
#define VARIANTS_experts 5
static TeNode *
build_experts(Lab *lab, int variant)
{
	static const TeDtype frozen_types[] = {TE_F16, TE_F32, TE_F16, TE_F32};
	size_t		inner = variant == 4 ? 64 : 34;
	size_t		cols = variant == 4 ? 32 : 20;
	TeExpert   *experts = te_new_array(lab->arena, TeExpert, 4);
	TeExpertsSpec spec = {.n_experts = 4, .n_chosen = variant % 2 + 2, .sum_is_one = variant < 2, .activation = TE_ACT_SILU,
		.experts = experts};
	bool		fresh = lab->n_variables == 0;
	TeNode	   *x = input(lab, 9, cols);
	Variable   *numbers = variable(lab, 9, 4);

	lab->rounds = variant == 4 ? 2e-3 : 0;
	/* a small step must not change the choice */
	for (size_t i = 0; fresh && i < numbers->n; i++)
		numbers->data[i] = numbers->data[i] * 0.05f + (float) ((i / 4 + i % 4 * 3) % 4) * 0.4f;
	for (int i = 0; i < 4; i++)
	{
		if (variant == 4)
			experts[i] = (TeExpert) {frozen(lab, TE_Q8_0, true, inner, cols), frozen(lab, TE_Q8_0, true, inner, cols),
				frozen(lab, TE_Q8_0, true, cols, inner)};
		else if (variant == 3)
			experts[i] = (TeExpert) {frozen(lab, frozen_types[i], true, inner, cols),
				frozen(lab, TE_F32, false, inner, cols), frozen(lab, frozen_types[i], true, cols, inner)};
		else
			experts[i] = (TeExpert) {weight(lab, inner, cols), weight(lab, inner, cols), weight(lab, cols, inner)};
	}
	return te_experts(lab->graph, x, as_input(lab, numbers, 9, 4), &spec);
}

/* Relative rows of a few buckets: keys, queries, both in one node; the last also causal and with a bias. */
#define RELATIVE_ROWS 9
#define VARIANTS_RELATIVE 5
static void
add_relative(Lab *lab, int variant, TeAttentionSpec *spec)
{
	size_t		width = (size_t) (spec->n_head * spec->d_head);
	size_t		reach = (size_t) lab->batch.max_len - 1;
	int32_t    *rows = te_new_array(lab->arena, int32_t, 2 * reach + 1);

	for (int32_t i = 0; i <= 2 * (int32_t) reach; i++)
		rows[i] = TE_MIN(TE_MAX((i - (int32_t) reach) / 3, -RELATIVE_ROWS / 2), RELATIVE_ROWS / 2) + RELATIVE_ROWS / 2;
	spec->rows = rows;
	if (variant == 0)
		spec->keys = (TeColumns) {input(lab, RELATIVE_ROWS, width), 0, width};
	else if (variant == 1)
		spec->queries = (TeColumns) {input(lab, RELATIVE_ROWS, width + 2), 2, width};
	else
	{
		TeNode	   *joint = input(lab, RELATIVE_ROWS, 2 * width);

		spec->queries = (TeColumns) {joint, 0, width};
		spec->keys = (TeColumns) {joint, width, width};
	}
	spec->causal = variant == VARIANTS_RELATIVE - 1;
	if (spec->causal)
		spec->bias = input(lab, (size_t) spec->n_head, 2 * (size_t) lab->batch.max_len - 1);
}

#define VARIANTS_PLAIN 12
#define VARIANTS_attention (VARIANTS_PLAIN + VARIANTS_RELATIVE)
static TeNode *
build_attention(Lab *lab, int variant)
{
	/* heads, key-value heads, columns of a head */
	static const int shapes[VARIANTS_attention][3] = {
		{2, 2, 5}, {4, 2, 5}, {2, 2, 5}, {2, 1, 5}, {2, 2, 5}, {2, 2, 5}, {2, 1, 70}, {2, 2, 64}, {4, 2, 5}, {2, 2, 5}, {2, 1, 5}, {2, 2, 5},
		{2, 2, 5}, {2, 2, 5}, {2, 2, 5}, {2, 2, 70}, {2, 2, 5}
	};
	static const float slopes[] = {0.5f, -0.25f, 0.125f, 0.0625f};
	TeAttentionSpec spec = {.n_head = shapes[variant][0], .n_kv_head = shapes[variant][1], .d_head = shapes[variant][2],
		.causal = variant == 2 || variant == 3 || variant == 8, .slopes = variant == 8 || variant == 9 ? slopes : NULL, .window = variant == 3 || variant == 4 ? 40 : 0,
		.scale = variant == 5 ? 1.25f : 0};

	/* a cap that scores come near to, also with relative positions */
	spec.softcap = variant == 10 || variant == 11 || variant == VARIANTS_PLAIN + 2 ? 0.8f : 0;
	size_t		n_q = (size_t) (spec.n_head * spec.d_head);
	size_t		n_kv = (size_t) (spec.n_kv_head * spec.d_head);
	TeNode	   *joint;
	TeColumns	q;

	if (variant == 6 || variant == 7 || variant == VARIANTS_PLAIN + 3)
		set_batch(lab, short_starts, 3);
	else
		set_batch(lab, long_starts, 3);
	if (variant == 1 || variant == 3 || variant == 11)
		spec.bias = input(lab, (size_t) spec.n_head, 2 * (size_t) lab->batch.max_len + 3);
	if (variant >= VARIANTS_PLAIN)
		add_relative(lab, variant - VARIANTS_PLAIN, &spec);
	if (variant == 5)
	{
		/* separate nodes, queries being keys */
		q = (TeColumns) {input(lab, (size_t) lab->batch.n_tok, n_q), 0, n_q};
		return te_attention(lab->graph, q, q, (TeColumns) {input(lab, (size_t) lab->batch.n_tok, n_q), 0, n_q}, &spec);
	}
	joint = input(lab, (size_t) lab->batch.n_tok, n_q + 2 * n_kv + 1);
	return te_attention(lab->graph, (TeColumns) {joint, 0, n_q}, (TeColumns) {joint, n_q + 1, n_kv},
						(TeColumns) {joint, n_q + 1 + n_kv, n_kv}, &spec);
}

/* Heads of 6 columns, all or the first 4 of them turned. */
static const float frequencies[] = {1.0f, 0.3f, 0.05f};
static const int32_t short_positions[] = {0, 1, 2, 100, 0, 1, 2, 3, 4};

static TeRope
some_rope(Lab *lab, int variant)
{
	set_batch(lab, short_starts, 3);
	lab->batch.positions = short_positions;
	return (TeRope) {.n_rot = variant < 2 ? 6 : 4, .pairs = variant % 2 == 1, .factor = variant == 3 ? 1.5f : 1,
		.frequencies = frequencies};
}

/* It has no gradient: a factor of it does, and none is asked of it. */
#define VARIANTS_rope_table 2
static TeNode *
build_rope_table(Lab *lab, int variant)
{
	TeRope		rope = some_rope(lab, variant);

	return te_multiply(lab->graph, te_rope_table(lab->graph, &rope), input(lab, 9, 12));
}

#define VARIANTS_rope 4
static TeNode *
build_rope(Lab *lab, int variant)
{
	TeRope		rope = some_rope(lab, variant);
	TeNode	   *x = input(lab, 9, 15);

	return te_rope(lab->graph, (TeColumns) {x, variant == 0 ? 0 : 2, 12}, 6, te_rope_table(lab->graph, &rope));
}

#define VARIANTS_relative_bias 2
static TeNode *
build_relative_bias(Lab *lab, int variant)
{
	set_batch(lab, long_starts, 3);
	return te_relative_bias(lab->graph, weight(lab, 8, 3), 8, 16, variant == 0);
}

/* Values a distance apart that no perturbation closes, so that the largest stays the largest. */
#define VARIANTS_pool TE_N_POOLINGS
static TeNode *
build_pool(Lab *lab, int variant)
{
	bool		fresh = lab->n_variables == 0;
	Variable   *x = variable(lab, 9, 7);

	for (size_t i = 0; fresh && i < x->n; i++)
		x->data[i] = (float) (i * 29 % x->n) * 0.1f - 3.0f;
	set_batch(lab, short_starts, 3);
	return te_pool(lab->graph, as_input(lab, x, 9, 7), (TePooling) variant);
}

#define VARIANTS_select_rows 1
static TeNode *
build_select_rows(Lab *lab, int variant)
{
	static const int32_t rows[] = {4, 0, 4, 2};

	return te_select_rows(lab->graph, input(lab, 5, 6), rows, TE_LENGTH(rows));
}

#define VARIANTS_concat 1
static TeNode *
build_concat(Lab *lab, int variant)
{
	TeNode	   *a = input(lab, 4, 3);
	TeNode	   *nodes[] = {a, input(lab, 4, 2), a, input(lab, 4, 1)};

	return te_concat(lab->graph, nodes, TE_LENGTH(nodes));
}

#define VARIANTS_l2_normalize 2
static TeNode *
build_l2_normalize(Lab *lab, int variant)
{
	return te_l2_normalize(lab->graph, input(lab, 4, 9), variant == 0 ? 1e-6f : 100.0f);
}

typedef struct Case
{
	const char *name;
	TeNode	   *(*build) (Lab *lab, int variant);
	int			n_variants;
} Case;

static const Case cases[] = {
#define TE_OP(name, in_place, reads) {#name, build_##name, VARIANTS_##name},
#include "graph/ops.def"
#undef TE_OP
};

/* ---- gradients against finite differences ---- */

/*
 * Nodes that fill what room the plan has left between forward and backward: had
 * an op read in backward what ops.def does not say, it would read these numbers.
 */
static void
fill_holes(Lab *lab)
{
	static float numbers[256];

	for (size_t i = 0; i < TE_LENGTH(numbers); i++)
		numbers[i] = 1e4f + (float) i;
	for (int i = 0; i < 128; i++)
		te_graph_keep(lab->graph, te_scale(lab->graph, te_input(lab->graph, numbers, 1, i < 64 ? 16 : 256, NULL), 1));
}

/* Build and run, in training backward too where output is wanted.  The first call makes the coefficients; output may be NULL. */
static double
loss_of(Lab *lab, const Case *c, int variant, TeGraphMode mode, float **coefficients, TeBuffer *output)
{
	TeArena    *step = te_arena_create(lab->arena, "step");
	TeNode	   *node;
	size_t		n;
	double		loss = 0;

	lab->next = 0;
	lab->next_frozen = 0;
	/* the batch is filled by the build function, before an op reads it */
	lab->batch = (TeBatch) {.seq_start = short_starts};
	lab->graph = te_graph_create(step, mode, &lab->batch);
	node = te_scale(lab->graph, c->build(lab, variant), 2);
	te_graph_keep(lab->graph, node);
	if (mode == TE_TRAIN)
		fill_holes(lab);
	te_graph_run(lab->graph);
	n = te_node_rows(node) * te_node_cols(node);
	if (*coefficients == NULL)
		*coefficients = random_floats(lab->arena, n);
	for (size_t i = 0; i < n; i++)
		loss += (double) te_node_value(node)[i] * (*coefficients)[i];
	if (mode == TE_TRAIN && output != NULL)
		te_graph_backward(lab->graph, node, *coefficients);
	if (output != NULL)
		te_buffer_add(output, te_node_value(node), n * sizeof(float));
	te_arena_destroy(step);
	return loss;
}

static double
difference(Lab *lab, const Case *c, int variant, float **coefficients, float *x, float h)
{
	float		was = *x;
	double		up;
	double		down;
	double		width;
	TeGraphMode mode = lab->rounds > 0 || lab->drops ? TE_TRAIN : TE_INFER;

	*x = was + h;
	width = *x;
	up = loss_of(lab, c, variant, mode, coefficients, NULL);
	*x = was - h;
	width -= *x;
	down = loss_of(lab, c, variant, mode, coefficients, NULL);
	*x = was;
	return (up - down) / width;
}

static void
check_variable(Lab *lab, const Case *c, int variant, float **coefficients, int index)
{
	const Variable *v = &lab->variables[index];
	double		largest = 0;
	double		worst = 0;
	char		text[200];

	for (size_t i = 0; i < v->n; i++)
		largest = fmax(largest, fabs(v->grad[i]));
	for (size_t i = 0; i < TE_MIN(v->n, (size_t) SAMPLES); i++)
	{
		size_t		at = v->n <= SAMPLES ? i : (size_t) ((uniform() + 1.0) / 2.0 * (double) (v->n - 1));
		double		wide = difference(lab, c, variant, coefficients, &v->data[at], (float) STEP);
		double		narrow = difference(lab, c, variant, coefficients, &v->data[at], (float) (STEP / 2));

		worst = fmax(worst, fabs((4 * narrow - wide) / 3 - v->grad[at]));
	}
	snprintf(text, sizeof(text), "%s, variant %d, variable %d of %zu: off by %g of %g (%s)", c->name, variant, index,
			 v->n, worst, largest, te_isa_name());
	te_check(largest > 0 && worst <= TOLERANCE * largest, __FILE__, __LINE__, text);
}

/* About half of the elements are 0, the others twice as large. */
static void
check_dropped(const float *trained, const float *inferred, size_t n)
{
	size_t		dropped = 0;

	for (size_t i = 0; i < n; i++)
	{
		dropped += trained[i] == 0;
		CHECK(trained[i] == 0 || trained[i] == 2 * inferred[i]);
	}
	CHECK(dropped > n * 4 / 10 && dropped < n * 6 / 10);
}

static void
check_case(TeArena *arena, const Case *c, int variant)
{
	Lab			lab = {.arena = te_arena_create(arena, "lab")};
	float	   *coefficients = NULL;
	TeBuffer	trained;
	TeBuffer	inferred;

	te_buffer_init(&trained, lab.arena);
	te_buffer_init(&inferred, lab.arena);
	random_state = (uint64_t) variant + 1;
	loss_of(&lab, c, variant, TE_TRAIN, &coefficients, &trained);
	loss_of(&lab, c, variant, TE_INFER, &coefficients, &inferred);
	CHECK(trained.len == inferred.len);
	for (size_t i = 0; !lab.drops && i < trained.len / sizeof(float); i++)
		CHECK_NEAR(((float *) trained.data)[i], ((float *) inferred.data)[i], (lab.rounds > 0 ? lab.rounds : 1e-6) * (1 + fabs(((float *) inferred.data)[i])));
	if (lab.drops)
		check_dropped((float *) trained.data, (float *) inferred.data, trained.len / sizeof(float));
	for (int i = 0; i < lab.n_variables; i++)
		check_variable(&lab, c, variant, &coefficients, i);
	te_arena_destroy(lab.arena);
}

TEST(gradients_of_every_op)
{
	const char *sets[8];
	size_t		n = te_isa_list(sets, TE_LENGTH(sets));

	for (size_t s = 0; s < n; s++)
	{
		CHECK(te_isa_select(sets[s]));
		for (size_t i = 0; i < TE_LENGTH(cases); i++)
		{
			for (int variant = 0; variant < cases[i].n_variants; variant++)
				check_case(arena, &cases[i], variant);
		}
	}
	te_isa_select("auto");
}

/*
 * Two tokens' heads, query and key alike, at positions t and t + 3: the scores
 * between them are the same wherever t is, and length is kept.
 */
TEST(turned_heads_know_their_distance)
{
	static const int32_t starts[] = {0, 2, 4};
	static const int32_t positions[] = {0, 3, 1005, 1008};
	float		x[4][8];
	TeBatch		batch = {.n_seq = 2, .n_tok = 4, .max_len = 2, .seq_start = starts, .positions = positions};

	for (int i = 0; i < 8; i++)
	{
		x[0][i] = x[2][i] = uniform();
		x[1][i] = x[3][i] = uniform();
	}
	for (int pairs = 0; pairs < 2; pairs++)
	{
		TeGraph    *graph = te_graph_create(arena, TE_INFER, &batch);
		TeRope		rope = {.n_rot = 6, .pairs = pairs, .factor = 1, .frequencies = frequencies};
		TeNode	   *y = te_rope(graph, (TeColumns) {te_input(graph, x[0], 4, 8, NULL), 0, 8}, 8, te_rope_table(graph, &rope));
		const float *v;

		te_graph_keep(graph, y);
		te_graph_run(graph);
		v = te_node_value(y);
		CHECK_NEAR(te_kernel.dot(8, v, v + 8), te_kernel.dot(8, v + 16, v + 24), 1e-3);
		CHECK(fabs((double) te_kernel.dot(8, v, v + 8) - te_kernel.dot(8, x[0], x[1])) > 1e-2);
		CHECK_NEAR(te_kernel.dot(8, v + 16, v + 16), te_kernel.dot(8, x[0], x[0]), 1e-5);
		CHECK(memcmp(v, x[0], sizeof(x[0])) == 0 && v[16 + 7] == x[2][7]);
	}
}

/* ---- whole blocks, against PyTorch ---- */

/* Of make.py. */
#define HIDDEN 32
#define HEADS 4
#define KV_HEADS 2
#define WINDOW 3
#define BUCKETS 8
#define MAX_DISTANCE 16

static const int32_t block_starts[] = {0, 5, 6, 15};
static const int32_t block_positions[] = {0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
static const int32_t block_last[] = {4, 5, 14};

typedef struct Reference
{
	TeArena    *arena;
	TeSource	source;
	TeModelFile file;
	const char *block;
	TeGraph    *graph;
	int			n_weights;
	TeWeight	weights[32];
	TeStr		names[32];
} Reference;

static void
open_reference(TeArena *arena, Reference *ref, const char *block)
{
	ref->arena = arena;
	ref->block = block;
	ref->source = te_std_file(arena, TE_TEST_MODELS "/fixtures/graph/block.safetensors");
	te_safetensors_read(arena, &ref->source, &ref->file);
}

static const void *
reference(Reference *ref, TeStr name, const TeTensorInfo **info)
{
	const TeTensorInfo *tensor = te_tensor_find(&ref->file.tensors, name);
	void	   *data;

	te_assert(tensor != NULL);
	data = te_alloc(ref->arena, tensor->bytes);
	te_source_read(tensor->source, tensor->offset, data, tensor->bytes);
	if (info != NULL)
		*info = tensor;
	return data;
}

static const float *
reference_floats(Reference *ref, const char *name)
{
	return reference(ref, te_str(te_format(ref->arena, "%s.%s", ref->block, name)), NULL);
}

/* The weight "<block>.<name>", with a gradient to be checked by check_reference(). */
static const TeWeight *
known(Reference *ref, const char *name)
{
	TeWeight   *w = &ref->weights[ref->n_weights];
	const TeTensorInfo *info;

	te_assert(ref->n_weights < (int) TE_LENGTH(ref->weights));
	ref->names[ref->n_weights++] = te_str(name);
	w->data = reference(ref, te_str(te_format(ref->arena, "%s.%s", ref->block, name)), &info);
	w->dtype = TE_F32;
	w->n_out = info->n_dims == 2 ? info->dims[0] : 1;
	w->n_in = info->dims[info->n_dims - 1];
	w->grad = te_new_array(ref->arena, float, (size_t) (w->n_out * w->n_in));
	return w;
}

static TeOperand
known_operand(Reference *ref, const char *name, bool bias)
{
	return (TeOperand) {.matrix = known(ref, name),
		.bias = bias ? known(ref, te_format(ref->arena, "%s.bias", name)) : NULL};
}

static TeNode *
known_linear(Reference *ref, TeNode *x, const char *name, bool bias, TeActivation activation)
{
	TeOperand	operand = known_operand(ref, name, bias);

	return te_linear(ref->graph, x, &operand, 1, activation);
}

static TeNode *
known_norm(Reference *ref, TeNode *x, TeNode *residual, const char *name)
{
	return te_layer_norm(ref->graph, x, residual, known(ref, te_format(ref->arena, "%s.gamma", name)),
						 known(ref, te_format(ref->arena, "%s.beta", name)), 1e-12f);
}

/* Largest difference of n floats, relative to the largest of the reference; the bias of keys has no gradient but rounding. */
static void
check_floats(const char *what, const float *actual, const float *expected, size_t n, double tolerance)
{
	double		largest = 1e-2;
	double		worst = 0;
	char		text[200];

	for (size_t i = 0; i < n; i++)
	{
		largest = fmax(largest, fabs(expected[i]));
		worst = fmax(worst, fabs((double) actual[i] - expected[i]));
	}
	snprintf(text, sizeof(text), "%s: off by %g of %g", what, worst, largest);
	te_check(worst <= tolerance * largest, __FILE__, __LINE__, text);
}

static void
check_reference(Reference *ref, TeNode *output)
{
	size_t		n = te_node_rows(output) * te_node_cols(output);

	te_graph_keep(ref->graph, output);
	te_graph_run(ref->graph);
	check_floats("output", te_node_value(output), reference_floats(ref, "output"), n, 1e-5);
	te_graph_backward(ref->graph, output, reference_floats(ref, "coefficients"));
	for (int i = 0; i < ref->n_weights; i++)
	{
		const TeWeight *w = &ref->weights[i];
		const char *name = te_format(ref->arena, "%.*s.grad", TE_STR_ARGS(ref->names[i]));

		check_floats(name, w->grad, reference_floats(ref, name), (size_t) (w->n_out * w->n_in), 1e-4);
	}
}

static TeNode *
encoder_block(Reference *ref, const int32_t *ids)
{
	TeGraph    *graph = ref->graph;
	TeNode	   *x = te_add(graph, te_gather(graph, known(ref, "tokens"), ids, TE_LENGTH(block_positions), 0),
						   te_gather(graph, known(ref, "positions"), block_positions, TE_LENGTH(block_positions), 2));
	TeAttentionSpec spec = {.n_head = HEADS, .n_kv_head = HEADS, .d_head = HIDDEN / HEADS};
	TeOperand	qkv[3];
	TeNode	   *joint;
	TeNode	   *y;

	x = known_norm(ref, x, NULL, "embedding_norm");
	qkv[0] = known_operand(ref, "q", true);
	qkv[1] = known_operand(ref, "k", true);
	qkv[2] = known_operand(ref, "v", true);
	joint = te_linear(graph, x, qkv, 3, TE_ACT_NONE);
	spec.bias = te_relative_bias(graph, known(ref, "relative"), BUCKETS, MAX_DISTANCE, true);
	y = te_attention(graph, (TeColumns) {joint, 0, HIDDEN}, (TeColumns) {joint, HIDDEN, HIDDEN},
					 (TeColumns) {joint, 2 * HIDDEN, HIDDEN}, &spec);
	x = known_norm(ref, known_linear(ref, y, "out", true, TE_ACT_NONE), x, "attention_norm");
	y = known_linear(ref, x, "up", true, TE_ACT_GELU);
	x = known_norm(ref, known_linear(ref, y, "down", true, TE_ACT_NONE), x, "output_norm");
	return te_l2_normalize(graph, te_pool(graph, x, TE_POOL_MEAN), 1e-12f);
}

static TeNode *
decoder_block(Reference *ref, const int32_t *ids)
{
	TeGraph    *graph = ref->graph;
	TeNode	   *x = te_gather(graph, known(ref, "tokens"), ids, TE_LENGTH(block_positions), 0);
	size_t		kv = HIDDEN / HEADS * KV_HEADS;
	TeAttentionSpec spec = {.n_head = HEADS, .n_kv_head = KV_HEADS, .d_head = HIDDEN / HEADS,
		.causal = true, .window = WINDOW};
	TeOperand	qkv[3];
	TeNode	   *joint;
	TeNode	   *y = te_rms_norm(graph, x, known(ref, "attention_norm"), 1e-6f);

	qkv[0] = known_operand(ref, "q", false);
	qkv[1] = known_operand(ref, "k", false);
	qkv[2] = known_operand(ref, "v", false);
	joint = te_linear(graph, y, qkv, 3, TE_ACT_NONE);
	y = te_attention(graph, (TeColumns) {joint, 0, HIDDEN}, (TeColumns) {joint, HIDDEN, kv},
					 (TeColumns) {joint, HIDDEN + kv, kv}, &spec);
	x = te_add(graph, x, known_linear(ref, y, "out", false, TE_ACT_NONE));
	y = te_rms_norm(graph, x, known(ref, "output_norm"), 1e-6f);
	y = te_multiply(graph, known_linear(ref, y, "gate", false, TE_ACT_SILU), known_linear(ref, y, "up", false, TE_ACT_NONE));
	x = te_add(graph, x, known_linear(ref, y, "down", false, TE_ACT_NONE));
	return te_select_rows(graph, x, block_last, TE_LENGTH(block_last));
}

static void
check_block(TeArena *arena, const char *name, TeNode *(*block) (Reference *ref, const int32_t *ids))
{
	Reference	ref = {0};
	TeBatch		batch = {.n_seq = 3, .n_tok = TE_LENGTH(block_positions), .max_len = 9, .seq_start = block_starts,
		.positions = block_positions};

	open_reference(arena, &ref, name);
	ref.graph = te_graph_create(arena, TE_TRAIN, &batch);
	check_reference(&ref, block(&ref, (const int32_t *) reference_floats(&ref, "ids")));
}

TEST(encoder_block_is_pytorchs)
{
	check_block(arena, "encoder", encoder_block);
}

TEST(decoder_block_is_pytorchs)
{
	check_block(arena, "decoder", decoder_block);
}

/* Row b of a table of the numbers 0, 1, 2, ... is b: the bias shows the bucket. */
static void
check_buckets(TeArena *arena, Reference *ref, int n_buckets, int max_distance, bool bidirectional)
{
	static const int32_t starts[] = {0, 601};
	TeBatch		batch = {.n_seq = 1, .n_tok = 601, .max_len = 601, .seq_start = starts};
	TeGraph    *graph = te_graph_create(arena, TE_INFER, &batch);
	float	   *numbers = te_new_array(arena, float, (size_t) n_buckets);
	TeWeight	table = {TE_F32, TE_ROWS, n_buckets, 1, numbers, NULL};
	const uint8_t *expected;
	TeNode	   *bias;
	int			wrong = 0;

	for (int i = 0; i < n_buckets; i++)
		numbers[i] = (float) i;
	expected = reference(ref, te_str(te_format(arena, "buckets.%d.%d.%d", n_buckets, max_distance, bidirectional)), NULL);
	bias = te_relative_bias(graph, &table, n_buckets, max_distance, bidirectional);
	te_graph_keep(graph, bias);
	te_graph_run(graph);
	for (size_t i = 0; i < te_node_cols(bias); i++)
		wrong += te_node_value(bias)[i] != expected[i];
	CHECK(wrong == 0);
}

TEST(buckets_are_t5s)
{
	static const int configurations[][2] = {{32, 128}, {32, 256}, {64, 800}, {8, 16}, {12, 100}};
	Reference	ref = {0};

	open_reference(arena, &ref, "buckets");
	for (size_t i = 0; i < TE_LENGTH(configurations); i++)
	{
		check_buckets(arena, &ref, configurations[i][0], configurations[i][1], true);
		check_buckets(arena, &ref, configurations[i][0], configurations[i][1], false);
	}
}

TEST_MAIN()
