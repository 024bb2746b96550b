/*-------------------------------------------------------------------------
 * test_train_reference.c
 *	  Training against PyTorch: losses, the gradient of every tensor, ten steps.
 *
 * models/fixtures/make_train.py wrote train/NAME.json for each fixture of a model, and says there what a row of outputs learns and how a
 * gradient is stored: its norm, and its products with vectors of signs, whose differences tell how large the
 * difference of the gradients is.
 *
 * PyTorch gives no gradient to the row of a table that stands for padding.  Here it is a row like others; batches
 * have no padding, so the two differ only for a text in which somebody writes the padding token.
 *
 * A gradient that is zero in exact arithmetic (of a key's bias: softmax does not see it) is zero here but
 * for rounding, and a very small one is rounded as what it is the difference of: a difference is none where it is below the
 * last bit of the norm of all gradients.  PyTorch in f32 differs from itself in f64 by as much.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "base/random.h"
#include "train/train.h"

#include <dirent.h>

#define BAR 1e-4				/* relative, of losses and gradients */
#define ROUNDING 0x1p-23			/* of a gradient, to the norm of all: what one f32 more or less means */
#define NOTHING 1e-9			/* the same: what is zero in f64 */
#define N_SIGNS 16
#define SIGN_STREAM 1
#define TARGET_STREAM 2
#define PLACES 64
#define STEPS 10

static const char *const isas[] = {"ref", "auto"};

/* ---- objectives of tests: a number for each row of outputs ---- */

/* Tokens with a target each, of which those are asked that have a row. */
static void
encode_rows(TeExamples *examples, const TeValue *values)
{
	TeStr		none = {NULL, 0};
	TeExample	example = {.n_sequences = 1};
	uint64_t	first = (uint64_t) te_examples_count(examples) * PLACES;

	example.sequences[0] = te_examples_sequence(examples, values[0].text, values[1].given ? values[1].text : none);
	example.n_targets = example.sequences[0].n;
	example.targets = te_new_array(te_examples_arena(examples), int32_t, example.n_targets);
	for (int32_t i = 0, n = 0; i < example.n_targets; i++)
	{
		const TeTokenizer *tokenizer = te_model_tokenizer(te_examples_model(examples));
		int32_t		id = example.sequences[0].ids[i];
		bool		asked = te_model_head(te_examples_model(examples))->kind != TE_HEAD_MASK
			|| id == te_token_id(tokenizer, TE_STR("[MASK]")) || id == te_token_id(tokenizer, TE_STR("<mask>"));
		int			outputs = te_head_outputs(te_model_head(te_examples_model(examples)), te_model_config(te_examples_model(examples)));

		example.targets[i] = asked ? (int32_t) (te_random_bits(TARGET_STREAM, first + (uint64_t) n++) % (uint64_t) outputs) : -1;
	}
	te_examples_put(examples, &example);
}

static double
count_rows(const TePiece *piece, TeExample *example, uint64_t stream)
{
	double		n = 0;

	for (int32_t i = 0; i < example->n_targets; i++)
		n += example->targets[i] >= 0;
	return n;
}

static TeNode *
compute_tokens(TeGraph *graph, const TePiece *piece)
{
	return te_task_tag.compute(piece->arena, graph, piece->model, piece->batch);
}

static TeNode *
compute_masks(TeGraph *graph, const TePiece *piece)
{
	return te_task_fill.compute(piece->arena, graph, piece->model, piece->batch);
}

static void
loss_rows(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *targets = te_new_array(piece->arena, int32_t, rows);
	size_t		n = 0;

	for (size_t i = 0; i < piece->n_examples; i++)
	{
		for (int32_t t = 0; t < piece->examples[i].n_targets; t++)
		{
			if (piece->examples[i].targets[t] >= 0)
				targets[n++] = piece->examples[i].targets[t];
		}
	}
	te_assert(n == rows);
	te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, NULL, 0, scale, d_outputs, sum);
}

static const TeColumn row_columns[] = {{"text", TE_COLUMN_TEXT, false}, {"text_pair", TE_COLUMN_TEXT, true}, {NULL}};

#define ROWS_OBJECTIVE(kind, its_task, its_compute) \
	{.statement = "test", .task = its_task, .name = its_task, .columns = row_columns, .head = kind, .model_task = its_task, \
		.encode = encode_rows, .prepare = count_rows, .compute = its_compute, .loss = loss_rows}

static const TeObjective tokens_objective = ROWS_OBJECTIVE(TE_HEAD_TOKEN, "token-classification", compute_tokens);
static const TeObjective answer_objective = ROWS_OBJECTIVE(TE_HEAD_ANSWER, "question-answering", compute_tokens);
static const TeObjective mask_objective = ROWS_OBJECTIVE(TE_HEAD_MASK, "fill-mask", compute_masks);

static const struct
{
	const char *task;			/* in the reference */
	const TeObjective *objective;
}			objectives[] = {
	{"classification", &te_objective_classification},
	{"multi-label", &te_objective_multi_label},
	{"regression", &te_objective_regression},
	{"token", &tokens_objective},
	{"answer", &answer_objective},
	{"mask", &mask_objective},
	{"causal", &te_objective_causal},
};

/* ---- a fixture, what it learns, and what that gives ---- */

typedef struct Problem
{
	const char *name;
	const TeJson *reference;
	const TeObjective *objective;
	TeTrainOptions *options;
	TeModelDef *def;			/* with the head */
	bool		overlay;			/* is trained: its tensors are the fresh ones */
	TeBuffer	spool;
	TeSource	source;
	TeExamples *examples;
} Problem;

static TeStr *
strings_of(TeArena *arena, const TeJson *list)
{
	TeStr	   *strings = te_new_array(arena, TeStr, list->n);

	for (uint32_t i = 0; i < list->n; i++)
		strings[i] = list->items[i].string;
	return strings;
}

static const TeJson *
read_reference(TeArena *arena, const char *name)
{
	TeSource	file = te_std_file(arena, te_format(arena, "%s/fixtures/train/%s.json", TE_TEST_MODELS, name));

	return te_json_parse(arena, te_source_whole(arena, &file, SIZE_MAX), name);
}

static void
set_option(TeArena *arena, Problem *problem, const char *name, const char *json)
{
	te_train_set(problem->options, te_str(name), te_json_parse(arena, te_str(json), "option"));
}

/* Element i of the tensor that a fresh one of the reference is; false where it is none. */
static bool
is_fresh(TeArena *arena, const Problem *problem, TeStr name, uint64_t *stream)
{
	const TeJson *fresh = te_json_get(problem->reference, "fresh");

	*stream = (uint64_t) te_json_int_range(fresh, te_cstring(arena, name), 0, 0, INT32_MAX);
	return *stream > 0;
}

static float
fresh_element(uint64_t stream, size_t i)
{
	return (float) ((2 * te_random_uniform(stream, i) - 1) / 4);
}

/* Give the fresh tensors the reference's values. */
static void
fill_fresh(TeArena *arena, const Problem *problem, const TeTrainee *trainee)
{
	uint32_t	n_filled = 0;
	uint64_t	stream;

	for (size_t i = 0; i < trainee->n_trained; i++)
	{
		const TeTrained *trained = &trainee->trained[i];

		if (!is_fresh(arena, problem, trained->name, &stream))
			continue;
		for (size_t j = 0; j < trained->n; j++)
			trained->data[j] = fresh_element(stream, j);
		n_filled++;
	}
	CHECK(n_filled == te_json_get(problem->reference, "fresh")->n);
}

/* The fixture with a head of the labels. */
static TeModelDef *
definition_with_head(TeArena *arena, const Problem *problem, const TeModelDef *base)
{
	const TeJson *labels = te_json_get(problem->reference, "labels");
	TeTrainee	trainee;

	te_trainee_define(arena, base, problem->objective, problem->options, strings_of(arena, labels), (int32_t) labels->n, 0, &trainee);
	te_trainee_load(arena, &trainee);
	fill_fresh(arena, problem, &trainee);
	return te_trainee_definition(arena, &trainee, problem->options);
}

static void
add_examples(TeArena *arena, const Problem *problem, TeExamples *examples)
{
	const TeJson *items = te_json_get(problem->reference, "examples");

	for (uint32_t i = 0; i < items->n; i++)
	{
		const TeJson *item = &items->items[i];
		const TeJson *labels = te_json_get(item, "labels");
		TeStr		pair = te_json_str(item, "pair", NULL);
		TeValue		values[3] = {{0}};

		values[0] = (TeValue) {.given = true, .text = te_json_str(item, "text", "")};
		values[1] = (TeValue) {.given = pair.data != NULL, .text = pair};
		values[2] = (TeValue) {.given = true, .text = te_json_str(item, "label", ""), .real = te_json_real(item, "score", 0)};
		if (labels != NULL)
		{
			values[2].n_texts = labels->n;
			values[2].texts = strings_of(arena, labels);
		}
		te_examples_add(examples, values);
	}
}

static Problem *
begin(TeArena *arena, const char *fixture, const char *name, const TeJson *reference)
{
	const TeJson *options = te_json_get(reference, "options");
	Problem    *problem = te_new(arena, Problem);
	TeFolder	folder = fixture_folder(arena, fixture);
	TeExamples *examples;
	TeSink		sink;

	problem->name = name;
	problem->reference = reference;
	for (size_t i = 0; i < TE_LENGTH(objectives); i++)
	{
		if (te_str_is(te_json_str(problem->reference, "task", ""), objectives[i].task))
			problem->objective = objectives[i].objective;
	}
	te_assert(problem->objective != NULL);
	problem->options = te_train_options(arena, problem->objective);
	set_option(arena, problem, "dropout", "0");
	set_option(arena, problem, "learning_rate", "0.001");
	set_option(arena, problem, "warmup", "0");
	set_option(arena, problem, "schedule", "\"constant\"");
	set_option(arena, problem, "epochs", "10");
	for (uint32_t i = 0; options != NULL && i < options->n; i++)
		te_train_set(problem->options, options->items[i].key, &options->items[i]);
	problem->overlay = options != NULL && te_json_get(options, "lora_rank") != NULL;
	problem->def = te_import_folder(arena, &folder, NULL);
	if (!problem->overlay)
		problem->def = definition_with_head(arena, problem, problem->def);
	te_buffer_init(&problem->spool, arena);
	sink = te_sink_buffer(&problem->spool);
	examples = te_examples_create(arena, load_model(arena, problem->def), problem->objective, problem->options, NULL, &sink);
	add_examples(arena, problem, examples);
	te_examples_finish(examples);
	problem->source = te_source_memory("spool", problem->spool.data, problem->spool.len);
	problem->examples = te_examples_open(arena, problem->objective, &problem->source);
	return problem;
}

/* All examples in one piece, forward and backward; the loss. */
static double
run_gradients(TeArena *arena, const Problem *problem, const TeTrainee *trainee)
{
	size_t		n = te_examples_count(problem->examples);
	TeExample  *examples = te_new_array(arena, TeExample, n);
	TeJobRow   *rows = te_new_array(arena, TeJobRow, n);
	TeJobRow  **pointers = te_new_array(arena, TeJobRow *, n);
	const TeStr *labels;
	TePiece		piece = {.arena = arena, .model = trainee->model, .options = problem->options, .n_examples = n, .examples = examples,
		.n_labels = (size_t) te_examples_labels(problem->examples, &labels)};
	float	   *class_weights = te_new_array(arena, float, piece.n_labels);
	TeLossSum	sum = {0};
	double		weight = 0;
	TeGraph    *graph;
	TeNode	   *outputs;
	float	   *d;

	for (size_t i = 0; i < piece.n_labels; i++)
		class_weights[i] = (float) te_json_real(problem->options->class_weights, te_cstring(arena, labels[i]), 1);
	if (problem->options->class_weights != NULL)
		piece.class_weights = class_weights;
	for (size_t i = 0; i < n; i++)
	{
		const TeSequence *sequence = &examples[i].sequences[0];

		te_examples_read(problem->examples, i, arena, &examples[i]);
		weight += problem->objective->prepare != NULL ? problem->objective->prepare(&piece, &examples[i], 0) : 1;
		rows[i] = (TeJobRow) {.n_tokens = (uint32_t) sequence->n, .ids = sequence->ids, .type_ids = sequence->type_ids};
		pointers[i] = &rows[i];
	}
	piece.batch = te_rows_batch(arena, trainee->model, pointers, n);
	graph = te_graph_create(arena, TE_TRAIN, piece.batch);
	outputs = problem->objective->compute(graph, &piece);
	te_graph_keep(graph, outputs);
	te_graph_run(graph);
	d = te_new_array(arena, float, te_node_rows(outputs) * te_node_cols(outputs));
	problem->objective->loss(&piece, te_node_value(outputs), te_node_rows(outputs), te_node_cols(outputs), (float) (1 / weight), d, &sum);
	te_graph_backward(graph, outputs, d);
	return sum.loss / weight;
}

/* ---- comparison ---- */

/* A norm, and products with vectors of signs. */
static void
project(const float *g, size_t n, double *norm, double *products)
{
	double		square = 0;

	memset(products, 0, N_SIGNS * sizeof(double));
	for (size_t i = 0; i < n; i++)
	{
		uint64_t	bits = te_random_bits(SIGN_STREAM, i);

		square += (double) g[i] * g[i];
		for (int k = 0; k < N_SIGNS; k++)
			products[k] += (bits >> k & 1) != 0 ? g[i] : -(double) g[i];
	}
	*norm = sqrt(square);
}

/* The stored gradient of a tensor, which may have several names; NULL: PyTorch's has none. */
static const TeJson *
find_gradient(const TeJson *gradients, TeStr name)
{
	for (uint32_t i = 0; i < gradients->n; i++)
	{
		const TeJson *names = te_json_get(&gradients->items[i], "names");

		for (uint32_t j = 0; j < names->n; j++)
		{
			if (te_str_eq(names->items[j].string, name))
				return &gradients->items[i];
		}
	}
	return NULL;
}

/* How far a gradient is from the stored one, in units of what it may be. */
static double
gradient_error(const TeTrained *trained, const TeJson *stored, double whole)
{
	const TeJson *signs = te_json_get(stored, "signs");
	double		expected = te_json_real(stored, "norm", -1);
	double		products[N_SIGNS];
	double		norm;
	double		square = 0;

	project(trained->weight->grad, trained->n, &norm, products);
	if (expected <= NOTHING * whole)
		return norm / (ROUNDING * whole);
	te_assert(signs->n == N_SIGNS);
	for (int k = 0; k < N_SIGNS; k++)
	{
		double		difference = products[k] / expected - (double) signs->items[k].integer * 1e-5;

		square += difference * difference;
	}
	return fmax(fabs(norm - expected), expected * sqrt(square / N_SIGNS)) / fmax(BAR * expected, ROUNDING * whole);
}

static double
norm_of_all(const TeJson *gradients)
{
	double		square = 0;

	for (uint32_t i = 0; i < gradients->n; i++)
		square += pow(te_json_real(&gradients->items[i], "norm", 0), 2);
	return sqrt(square);
}

static bool
is_zero(const TeTrained *trained)
{
	for (size_t i = 0; i < trained->n; i++)
	{
		if (trained->weight->grad[i] != 0)
			return false;
	}
	return true;
}

/* All that the model trains is in the reference, and the other way round. */
static void
check_gradients(TeArena *arena, const Problem *problem, const char *isa)
{
	const TeJson *gradients = te_json_get(problem->reference, "gradients");
	double		whole = norm_of_all(gradients);
	double		expected = te_json_real(problem->reference, "loss", 0);
	const TeStr *labels;
	int32_t		n_labels = te_examples_labels(problem->examples, &labels);
	uint32_t	n_compared = 0;
	TeTrainee	trainee;
	double		loss;

	te_trainee_define(arena, problem->def, problem->objective, problem->options, labels, n_labels, 0, &trainee);
	te_trainee_load(arena, &trainee);
	if (problem->overlay)
		fill_fresh(arena, problem, &trainee);
	loss = run_gradients(arena, problem, &trainee);
	if (!CHECK(fabs(loss - expected) <= BAR * expected))
		fprintf(stderr, "  %s, %s: loss %.7g, not %.7g\n", problem->name, isa, loss, expected);
	for (size_t i = 0; i < trainee.n_trained; i++)
	{
		const TeTrained *trained = &trainee.trained[i];
		const TeJson *stored = find_gradient(gradients, trained->name);
		double		error = stored != NULL ? gradient_error(trained, stored, whole) : 0;

		n_compared += stored != NULL;
		if (!CHECK(error <= 1 && (stored != NULL || is_zero(trained))))
			fprintf(stderr, "  %s, %s: gradient of %.*s: error %.3g of what it may be%s\n", problem->name, isa, TE_STR_ARGS(trained->name), error,
					stored == NULL ? ", and the reference has none" : "");
	}
	if (!CHECK(n_compared == gradients->n))
		fprintf(stderr, "  %s: %u of %u gradients\n", problem->name, n_compared, gradients->n);
}

/*
 * Give a trainer the fresh tensors of an overlay: in a checkpoint of it, whose end is the data of each tensor and
 * what the optimizer has of it.
 */
static void
restore_fresh(TeArena *arena, const Problem *problem, TeTrainer *trainer)
{
	const TeStr *labels;
	int32_t		n_labels = te_examples_labels(problem->examples, &labels);
	size_t		copies = 1 + (size_t) te_optimizer_by_name(problem->options->optimizer)->n_states;
	TeTrainee	trainee;
	TeBuffer	buffer;
	TeSink		sink;
	TeSource	source;
	float	   *at;

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_trainer_save(trainer, &sink);
	te_trainee_define(arena, problem->def, problem->objective, problem->options, labels, n_labels, 0, &trainee);
	te_trainee_load(arena, &trainee);
	at = (float *) (buffer.data + buffer.len - copies * trainee.n_parameters * sizeof(float));
	for (size_t i = 0; i < trainee.n_trained; i++)
	{
		uint64_t	stream;
		bool		fresh = is_fresh(arena, problem, trainee.trained[i].name, &stream);

		for (size_t j = 0; fresh && j < trainee.trained[i].n; j++)
			at[j] = fresh_element(stream, j);
		at += copies * trainee.trained[i].n;
	}
	source = te_source_memory("checkpoint", buffer.data, buffer.len);
	te_trainer_restore(trainer, &source);
}

static void
check_steps(TeArena *arena, const Problem *problem, const char *isa)
{
	const TeJson *losses = te_json_get(problem->reference, "losses");
	TeTrainer  *trainer = te_trainer_create(arena, problem->def, problem->objective, problem->options, problem->examples, NULL, 0);
	TeTrainStep step;

	CHECK(losses->n == STEPS);
	if (problem->overlay)
		restore_fresh(arena, problem, trainer);
	for (uint32_t i = 0; i < losses->n; i++)
	{
		CHECK(te_trainer_step(trainer, &step));
		if (!CHECK(fabs(step.loss - losses->items[i].real) <= BAR * losses->items[i].real))
			fprintf(stderr, "  %s, %s: loss of step %u is %.7g, not %.7g\n", problem->name, isa, i + 1, step.loss, losses->items[i].real);
	}
	CHECK(!te_trainer_step(trainer, &step));
}

static void
check(TeArena *arena, const Problem *problem)
{
	for (size_t i = 0; i < TE_LENGTH(isas); i++)
	{
		CHECK(te_isa_select(isas[i]));
		check_gradients(arena, problem, isas[i]);
		check_steps(arena, problem, isas[i]);
	}
}

/* Is there a fixture of a model in that folder? */
static bool
is_model(TeArena *arena, const char *name)
{
	return name[0] != '.' && access(te_format(arena, "%s/fixtures/%s/config.json", TE_TEST_MODELS, name), R_OK) == 0;
}

TEST(every_model_learns_as_the_reference)
{
	DIR		   *directory = opendir(TE_TEST_MODELS "/fixtures");
	int			n = 0;

	for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
	{
		TeArena    *scratch = te_arena_create(arena, "fixture");

		if (is_model(scratch, entry->d_name))
		{
			Problem    *problem = begin(scratch, entry->d_name, te_format(scratch, "%s", entry->d_name),
										   read_reference(scratch, entry->d_name));

			check(scratch, problem);
			n++;
		}
		te_arena_destroy(scratch);
	}
	closedir(directory);
	CHECK(n >= 60);
}

TEST(options_mean_what_the_reference_does)
{
	const TeJson *reference = read_reference(arena, "variants");
	const TeJson *variants = te_json_get(reference, "variants");
	const char *fixture = te_cstring(arena, te_json_str(reference, "fixture", ""));

	CHECK(variants->n >= 6);
	for (uint32_t i = 0; i < variants->n; i++)
	{
		const TeJson *options = te_json_get(&variants->items[i], "options");

		check(arena, begin(arena, fixture, te_cstring(arena, te_json_text(arena, options, 0)), &variants->items[i]));
	}
}

TEST(rates_are_those_of_the_reference)
{
	const TeJson *schedules = te_json_get(read_reference(arena, "variants"), "schedules");
	TeTrainOptions *options = te_train_options(arena, &te_objective_classification);

	CHECK(schedules->n >= 9);
	options->learning_rate = 0.5;
	for (uint32_t i = 0; i < schedules->n; i++)
	{
		const TeJson *rates = te_json_get(&schedules->items[i], "rates");

		te_train_set(options, TE_STR("schedule"), te_json_get(&schedules->items[i], "schedule"));
		te_train_set(options, TE_STR("warmup"), te_json_get(&schedules->items[i], "warmup"));
		for (uint32_t step = 0; step < rates->n; step++)
		{
			const TeJson *rate = &rates->items[step];

			CHECK_NEAR(te_schedule_rate(options, step + 1, rates->n),
					   rate->kind == TE_JSON_INTEGER ? (double) rate->integer : rate->real, 1e-7);
		}
	}
}

TEST_MAIN()
