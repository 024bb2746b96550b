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

#define MAX_VARIABLES 12
#define SAMPLES 24				/* elements of a variable that are perturbed */
#define STEP 2e-2
#define TOLERANCE 1e-3

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
	TeWeight	frozen[4];
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

static TeNode *
input(Lab *lab, size_t rows, size_t cols)
{
	Variable   *v = variable(lab, rows, cols);

	return te_input(lab->graph, v->data, rows, cols, v->grad);
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

#define VARIANTS_scale 1
static TeNode *
build_scale(Lab *lab, int variant)
{
	return te_scale(lab->graph, input(lab, 3, 5), -1.75f);
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
	return te_activate(lab->graph, te_input(lab->graph, x->data, 8, 9, x->grad), (TeActivation) variant);
}

#define VARIANTS_layer_norm 4
static TeNode *
build_layer_norm(Lab *lab, int variant)
{
	TeNode	   *x = input(lab, 5, 70);
	TeNode	   *residual = variant == 0 ? input(lab, 5, 70) : variant == 1 ? x : NULL;

	return te_layer_norm(lab->graph, x, residual, weight(lab, 1, 70), variant < 3 ? weight(lab, 1, 70) : NULL, 1e-3f);
}

#define VARIANTS_rms_norm 1
static TeNode *
build_rms_norm(Lab *lab, int variant)
{
	return te_rms_norm(lab->graph, input(lab, 5, 70), weight(lab, 1, 70), 1e-3f);
}

static TeOperand
overlaid(Lab *lab, TeOperand operand, size_t rank)
{
	operand.lora_a = weight(lab, rank, (size_t) operand.matrix->n_in);
	operand.lora_b = weight(lab, (size_t) operand.matrix->n_out, rank);
	operand.lora_scale = 0.5f;
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
	}			stored[] = {{TE_F32, true}, {TE_F16, true}, {TE_Q8_0, true}, {TE_Q4_0, true}, {TE_BF16, false}, {TE_Q8_0, false}};
	TeNode	   *x;
	TeOperand	operands[3] = {0};
	int			n = 1;
	TeActivation activation = TE_ACT_NONE;

	if (variant >= 6)
	{
		/* whatever the weight is stored as, x and an overlay can be trained */
		x = input(lab, 7, 64);
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

#define VARIANTS_attention 8
static TeNode *
build_attention(Lab *lab, int variant)
{
	/* heads, key-value heads, columns of a head */
	static const int shapes[VARIANTS_attention][3] = {
		{2, 2, 5}, {4, 2, 5}, {2, 2, 5}, {2, 1, 5}, {2, 2, 5}, {2, 2, 5}, {2, 1, 70}, {2, 2, 64}
	};
	TeAttentionSpec spec = {.n_head = shapes[variant][0], .n_kv_head = shapes[variant][1], .d_head = shapes[variant][2],
		.causal = variant == 2 || variant == 3, .window = variant == 3 || variant == 4 ? 40 : 0,
		.scale = variant == 5 ? 1.25f : 0};
	size_t		n_q = (size_t) (spec.n_head * spec.d_head);
	size_t		n_kv = (size_t) (spec.n_kv_head * spec.d_head);
	TeNode	   *joint;
	TeColumns	q;

	if (variant == 6 || variant == 7)
		set_batch(lab, short_starts, 3);
	else
		set_batch(lab, long_starts, 3);
	if (variant == 1 || variant == 3)
		spec.bias = input(lab, (size_t) spec.n_head, 2 * (size_t) lab->batch.max_len + 3);
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
	return te_pool(lab->graph, te_input(lab->graph, x->data, 9, 7, x->grad), (TePooling) variant);
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

/* Build and run, in training backward too.  The first call makes the coefficients; output may be NULL. */
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
	node = c->build(lab, variant);
	te_graph_keep(lab->graph, node);
	te_graph_run(lab->graph);
	n = te_node_rows(node) * te_node_cols(node);
	if (*coefficients == NULL)
		*coefficients = random_floats(lab->arena, n);
	for (size_t i = 0; i < n; i++)
		loss += (double) te_node_value(node)[i] * (*coefficients)[i];
	if (mode == TE_TRAIN)
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

	*x = was + h;
	width = *x;
	up = loss_of(lab, c, variant, TE_INFER, coefficients, NULL);
	*x = was - h;
	width -= *x;
	down = loss_of(lab, c, variant, TE_INFER, coefficients, NULL);
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
	for (size_t i = 0; i < trained.len / sizeof(float); i++)
		CHECK_NEAR(((float *) trained.data)[i], ((float *) inferred.data)[i], 1e-6 * (1 + fabs(((float *) inferred.data)[i])));
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

TEST_MAIN()
