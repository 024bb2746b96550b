/*-------------------------------------------------------------------------
 * train_fixture.h
 *	  What the tests of objectives share: a run on rows made up by a function, in memory.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TRAIN_FIXTURE_H
#define TE_TRAIN_FIXTURE_H

#include "model_fixture.h"

#include "train/train.h"

/* Row i as values for the objective's columns; strings in the arena. */
typedef void (*MakeRow) (TeArena *arena, int i, TeValue *values);

#define MAX_COLUMNS 5

typedef struct Run
{
	TeModelDef *base;
	const TeModel *model;		/* the base, attached */
	const TeModel *teacher;		/* NULL: none */
	const TeObjective *objective;
	TeTrainOptions *options;
	TeBuffer	spool;
	TeSource	source;
	TeExamples *examples;
} Run;

__attribute__((unused)) static void
option(Run *run, const char *name, const char *json, TeArena *arena)
{
	te_train_set(run->options, te_str(name), te_json_parse(arena, te_str(json), "option"));
}

__attribute__((unused)) static TeValue
text_value(const char *text)
{
	return (TeValue) {.given = true, .text = te_str(text)};
}

__attribute__((unused)) static TeValue
real_value(double real)
{
	return (TeValue) {.given = true, .real = real};
}

__attribute__((unused)) static TeValue
texts_value(TeArena *arena, int n, const char *const *texts)
{
	TeStr	   *list = te_new_array(arena, TeStr, n);

	for (int i = 0; i < n; i++)
		list[i] = te_str(texts[i]);
	return (TeValue) {.given = true, .n_texts = (size_t) n, .texts = list};
}

/* A run with options under which fixtures learn fast. */
__attribute__((unused)) static Run *
run_begin(TeArena *arena, TeModelDef *base, const char *objective)
{
	Run		   *run = te_new(arena, Run);

	run->base = base;
	run->model = load_model(arena, base);
	run->objective = te_objective_by_name(te_str(objective));
	run->options = te_train_options(arena, run->objective);
	option(run, "learning_rate", "0.002", arena);
	option(run, "batch_size", "8", arena);
	option(run, "epochs", "400", arena);
	option(run, "warmup", "0", arena);
	option(run, "schedule", "\"constant\"", arena);
	return run;
}

__attribute__((unused)) static TeExamples *
run_examples(TeArena *arena, Run *run)
{
	TeSink	   *sink = te_new(arena, TeSink);
	TeExamples *examples;

	te_buffer_init(&run->spool, arena);
	*sink = te_sink_buffer(&run->spool);
	examples = te_examples_create(arena, run->model, run->objective, run->options, NULL, sink);
	return examples;
}

__attribute__((unused)) static void
run_spool(TeArena *arena, Run *run, MakeRow make, int n)
{
	TeExamples *examples = run_examples(arena, run);

	for (int i = 0; i < n; i++)
	{
		TeValue		values[MAX_COLUMNS] = {{0}};

		make(arena, i, values);
		te_examples_add(examples, values);
	}
	te_examples_finish(examples);
	run->source = te_source_memory("spool", run->spool.data, run->spool.len);
	run->examples = te_examples_open(arena, run->objective, &run->source);
}

__attribute__((unused)) static TeTrainer *
run_trainer(TeArena *arena, const Run *run)
{
	return te_trainer_create(arena, run->base, run->objective, run->options, run->examples, run->examples, 0);
}

/* At most so many steps; the last loss. */
__attribute__((unused)) static double
run_steps(TeTrainer *trainer, int most)
{
	TeTrainStep step = {0};

	for (int i = 0; i < most && te_trainer_step(trainer, &step); i++)
		;
	return step.loss;
}

__attribute__((unused)) static double
run_metric(TeTrainer *trainer, const char *metric)
{
	size_t		n;
	const TeTrainMetric *metrics = te_trainer_evaluate(trainer, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (strcmp(metrics[i].name, metric) == 0)
			return metrics[i].value;
	}
	return NAN;
}

/* Does adding this row throw such an error? */
#define CHECK_ROW_THROWS(run, part, ...) \
	do { \
		TeValue		te_row[MAX_COLUMNS] = {__VA_ARGS__}; \
		TeExamples *te_examples = run_examples(arena, (run)); \
		\
		CHECK_THROWS_LIKE(TE_ERR_INVALID, (part), te_examples_add(te_examples, te_row)); \
	} while (0)

/* Is this row left out, and one behind it taken?  Alone it is nothing to learn from. */
#define CHECK_ROW_IS_EMPTY(run, ...) \
	do { \
		TeValue		te_row[MAX_COLUMNS] = {__VA_ARGS__}; \
		TeValue		te_text[MAX_COLUMNS] = {{.given = true, .text = TE_STR("a day in the city")}}; \
		TeExamples *te_examples = run_examples(arena, (run)); \
		\
		te_examples_add(te_examples, te_row); \
		CHECK_THROWS_LIKE(TE_ERR_INVALID, "nothing to learn", te_examples_finish(te_examples)); \
		te_examples_add(te_examples, te_text); \
		CHECK(te_examples_empty(te_examples) == 1 && te_examples_rows(te_examples) == 1 && te_examples_count(te_examples) == 1); \
		te_examples_finish(te_examples); \
	} while (0)

/*
 * That neither pieces nor workers change what is learned: the weights after some steps, first of whole batches, then
 * in pieces of `piece` tokens, then with other numbers of workers, which must be the same bit for bit.
 */
__attribute__((unused)) static void
check_pieces_and_workers(TeArena *arena, const char *fixture, const char *objective, MakeRow make, int n, const char *piece,
						 void (*prepare) (Run *run, TeArena *arena))
{
	TeStr		weights[4];

	for (int i = 0; i < 4; i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixture, NULL)->def, objective);
		TeTrainer  *trainer;
		TeBuffer   *buffer = te_new(arena, TeBuffer);
		TeSink		sink;

		option(run, "dropout", "0", arena);
		option(run, "optimizer", "\"sgd\"", arena);
		option(run, "piece_tokens", i % 2 == 0 ? "65536" : piece, arena);
		if (prepare != NULL)
			prepare(run, arena);
		te_std_set_workers(i < 2 ? 1 : 3);
		run_spool(arena, run, make, n);
		trainer = run_trainer(arena, run);
		run_steps(trainer, 3);
		te_buffer_init(buffer, arena);
		sink = te_sink_buffer(buffer);
		te_trainer_save(trainer, &sink);
		weights[i] = (TeStr) {buffer->data, buffer->len};
	}
	te_std_set_workers(1);
	CHECK(te_str_eq(weights[0], weights[2]));
	CHECK(te_str_eq(weights[1], weights[3]));
	if (CHECK(weights[0].len == weights[1].len))
	{
		const float *a = (const float *) weights[0].data;
		const float *b = (const float *) weights[1].data;
		size_t		header = 24;	/* more than is before the weights */
		double		worst = 0;

		for (size_t i = header; i < weights[0].len / sizeof(float); i++)
			worst = fmax(worst, fabs((double) a[i] - b[i]));
		CHECK_NEAR(worst, 0, 2e-5);
	}
}

/* That an overlay on a quantized base learns, and that the base's tensors stay what they were. */
__attribute__((unused)) static void
check_overlay(TeArena *arena, const char *fixture, const char *objective, MakeRow make, int n)
{
	Run		   *run = run_begin(arena, fixture_load(arena, fixture, "q8_0")->def, objective);
	TeTrainer  *trainer;
	TeModelDef *def;
	double		before;

	option(run, "dropout", "0", arena);
	option(run, "lora_rank", "2", arena);
	option(run, "learning_rate", "0.01", arena);
	option(run, "new_labels", "true", arena);
	run_spool(arena, run, make, n);
	trainer = run_trainer(arena, run);
	CHECK(te_trainer_parameters(trainer) < run->base->parameters);
	before = run_metric(trainer, "loss");
	run_steps(trainer, 40);
	if (!CHECK(run_metric(trainer, "loss") < before))
		fprintf(stderr, "  %s of %s: loss %g, then %g\n", objective, fixture, before, run_metric(trainer, "loss"));
	def = te_trainer_definition(trainer, arena);
	te_def_check(arena, def);
	load_model(arena, def);
	for (size_t i = 0; i < def->tensors.n; i++)
	{
		const TeTensorInfo *tensor = &def->tensors.tensors[i];
		const TeTensorInfo *base = te_tensor_find(&run->base->tensors, tensor->name);

		if (base != NULL && strstr(te_cstring(arena, tensor->name), "layer") != NULL)
			CHECK(tensor->source == base->source && tensor->offset == base->offset && tensor->dtype == base->dtype);
	}
}

#endif							/* TE_TRAIN_FIXTURE_H */
