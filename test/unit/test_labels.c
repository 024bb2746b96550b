/*-------------------------------------------------------------------------
 * test_labels.c
 *	  Objectives of texts with labels and numbers: where smoothing and weights leave the optimum, several labels, regression.
 *-------------------------------------------------------------------------
 */
#include "train_fixture.h"

static const char *const words[] = {"good", "bad", "warm", "cold", "day", "night"};

static const char *
text_of(TeArena *arena, int i)
{
	return te_format(arena, "%s %s", words[i % 2], words[2 + i / 2 % 4]);
}

static void
label_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value(text_of(arena, i));
	values[2] = text_value(i % 2 == 0 ? "up" : "down");
}

/* Nothing but the weight of a label decides. */
static void
torn_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value("warm day");
	values[2] = text_value(i % 2 == 0 ? "up" : "down");
}

/* Some rows have no label at all. */
static void
labels_row(TeArena *arena, int i, TeValue *values)
{
	const char *labels[2];
	int			n = 0;

	values[0] = text_value(text_of(arena, i));
	if (i % 2 == 0)
		labels[n++] = "kind";
	if (i / 2 % 4 >= 2)
		labels[n++] = "time";
	values[2] = texts_value(arena, n, labels);
}

static void
score_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value(text_of(arena, i));
	values[2] = real_value(i % 2 == 0 ? 1.5 : -0.5);
}

/* Trained to the end without dropout; then a text's logits. */
static const float *
logits_of(TeArena *arena, Run *run, MakeRow make, TeTrainer **trainer, const char *text)
{
	TeJob	   *job;
	int			n;

	option(run, "dropout", "0", arena);
	option(run, "weight_decay", "0", arena);
	run_spool(arena, run, make, 16);
	*trainer = run_trainer(arena, run);
	run_steps(*trainer, 300);
	job = te_job_create(te_session_create(arena, load_model(arena, te_trainer_definition(*trainer, arena)), 0), "classify", NULL);
	te_job_feed(job, te_str(text), (TeStr) {NULL, 0});
	te_job_run(job);
	return te_job_vector(job, 0, &n);
}

TEST(smoothed_labels_bound_the_logits)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "classification");
	TeTrainer  *trainer;
	const float *logits;

	option(run, "label_smoothing", "0.2", arena);
	logits = logits_of(arena, run, label_row, &trainer, "good warm");
	CHECK_NEAR(logits[1] - logits[0], log(0.9 / 0.1), 0.1);
	CHECK_NEAR(run_metric(trainer, "loss"), -0.9 * log(0.9) - 0.1 * log(0.1), 1e-3);
}

TEST(weights_of_classes_move_the_optimum)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "classification");
	TeTrainer  *trainer;
	const float *logits;

	option(run, "class_weights", "{\"up\": 3}", arena);
	logits = logits_of(arena, run, torn_row, &trainer, "warm day");
	CHECK_NEAR(logits[1] - logits[0], log(3), 0.05);
	option(run, "class_weights", "{\"sideways\": 1}", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no label \"sideways\"", run_trainer(arena, run));
	option(run, "class_weights", "{\"up\": -1}", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "between 0", run_trainer(arena, run));
	option(run, "class_weights", "7", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "an object", run_trainer(arena, run));
}

TEST(several_labels_are_learned)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "multi_label");
	TeTrainer  *trainer;
	const float *logits = logits_of(arena, run, labels_row, &trainer, "good day");

	CHECK(run_metric(trainer, "accuracy") == 1 && logits[0] > 1 && logits[1] > 1);
	/* what weighs nothing is not learned */
	run = run_begin(arena, run->base, "multi_label");
	option(run, "class_weights", "{\"time\": 0}", arena);
	logits = logits_of(arena, run, labels_row, &trainer, "good day");
	CHECK(logits[0] > 1 && fabsf(logits[1]) < 1);
}

TEST(numbers_are_learned)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "regression");
	TeTrainer  *trainer;
	const float *values = logits_of(arena, run, score_row, &trainer, "bad cold");

	CHECK_NEAR(values[0], -0.5, 0.05);
}

TEST(labels_do_not_depend_on_pieces_or_workers)
{
	check_pieces_and_workers(arena, "bert", "multi_label", labels_row, 16, "10", NULL);
	check_pieces_and_workers(arena, "bert", "regression", score_row, 16, "10", NULL);
}

TEST(rows_without_a_label_or_number)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "classification");
	static const char *const empty[] = {"a", ""};

	CHECK_ROW_THROWS(run, "label is empty", text_value("a"), {0}, text_value(""));
	run = run_begin(arena, run->base, "multi_label");
	CHECK_ROW_THROWS(run, "label is empty", text_value("a"), {0}, texts_value(arena, 2, empty));
	run = run_begin(arena, run->base, "regression");
	CHECK_ROW_THROWS(run, "is no number", text_value("a"), {0}, real_value(NAN));
	CHECK_ROW_THROWS(run, "is no number", text_value("a"), {0}, real_value(1e300));
}

TEST_MAIN()
