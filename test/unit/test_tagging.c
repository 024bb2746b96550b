/*-------------------------------------------------------------------------
 * test_tagging.c
 *	  Objectives with a target for tokens: labels of words, answers in a context.
 *-------------------------------------------------------------------------
 */
#include "train_fixture.h"

static const char *const words[] = {"good", "day", "river", "paper", "cold", "night", "city", "music", "the", "warm"};

static const char *
label_of(const char *word)
{
	if (strcmp(word, "day") == 0 || strcmp(word, "night") == 0)
		return "B-TIME";
	return strcmp(word, "river") == 0 || strcmp(word, "city") == 0 ? "B-PLACE" : "O";
}

static void
words_row(TeArena *arena, int i, TeValue *values)
{
	const char *tokens[6];
	const char *labels[6];
	int			n = 3 + i % 4;

	for (int w = 0; w < n; w++)
	{
		tokens[w] = words[(i * 3 + w * (1 + i % 3)) % TE_LENGTH(words)];
		labels[w] = label_of(tokens[w]);
	}
	values[0] = texts_value(arena, n, tokens);
	values[1] = texts_value(arena, n, labels);
}

TEST(labels_of_words_are_learned)
{
	static const char *const fixtures[] = {"bert", "token-roberta", "modernbert", "classify-distilbert"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixtures[i], NULL)->def, "token_classification");
		TeTrainer  *trainer;
		TeModelDef *def;

		option(run, "new_labels", "true", arena);
		option(run, "dropout", "0", arena);
		run_spool(arena, run, words_row, 24);
		trainer = run_trainer(arena, run);
		run_steps(trainer, 200);
		if (!CHECK(run_metric(trainer, "accuracy") == 1))
			fprintf(stderr, "  %s: accuracy %g\n", fixtures[i], run_metric(trainer, "accuracy"));
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(te_str_is(def->task, "token-classification") && def->n_labels == 3 && te_str_is(def->labels[0], "B-PLACE"));
	}
}

TEST(a_word_has_its_label_on_its_first_token)
{
	/* words, bytes and pieces that begin with a space */
	static const char *const fixtures[] = {"bert", "roberta", "xlm-roberta", "mpnet", "modernbert"};
	static const char *const tokens[] = {"unwarm", "day", "", "\xE5\xB0\x8F\xE7\x8C\xAB", "(a)", "1,0"};
	static const char *const labels[] = {"A", "B", "never", "C", "D", "E"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixtures[i], NULL)->def, "token_classification");
		TeExamples *examples = run_examples(arena, run);
		TeValue		values[] = {texts_value(arena, 6, tokens), texts_value(arena, 6, labels)};
		TeExample	example;
		const TeStr *names;
		const char *found = "";
		int32_t		first = -1;

		te_examples_add(examples, values);
		te_examples_finish(examples);
		run->source = te_source_memory("spool", run->spool.data, run->spool.len);
		run->examples = te_examples_open(arena, run->objective, &run->source);
		CHECK(te_examples_labels(run->examples, &names) == 5);
		te_examples_read(run->examples, 0, arena, &example);
		for (int32_t t = 0; t < example.n_targets; t++)
		{
			if (example.targets[t] < 0)
				continue;
			found = te_format(arena, "%s%.*s", found, TE_STR_ARGS(names[example.targets[t]]));
			first = first < 0 ? t : first;
		}
		if (te_examples_truncated(run->examples) > 0)
			fprintf(stderr, "  %s is cut\n", fixtures[i]);
		if (!CHECK(strcmp(found, "ABCDE") == 0 && first == 1 && example.targets[example.n_targets - 1] == -1))
			fprintf(stderr, "  %s: %s\n", fixtures[i], found);
	}
}

TEST(class_weights_count_for_words)
{
	double		losses[3];
	static const char *const weights[] = {"{\"O\": 2, \"B-TIME\": 2, \"B-PLACE\": 2}", "{\"O\": 0.001}", "\"balanced\""};

	for (int i = 0; i < 3; i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "token_classification");
		TeTrainer  *trainer;

		run_spool(arena, run, words_row, 24);
		trainer = run_trainer(arena, run);
		losses[i] = run_metric(trainer, "loss");
		option(run, "class_weights", weights[i], arena);
		trainer = run_trainer(arena, run);
		/* the same weight for all is none; others change the mean */
		if (i == 0)
			CHECK_NEAR(run_metric(trainer, "loss"), losses[0], 1e-6);
		else
			CHECK(fabs(run_metric(trainer, "loss") - losses[0]) > 1e-4);
	}
}

static void
with_new_labels(Run *run, TeArena *arena)
{
	option(run, "new_labels", "true", arena);
}

TEST(words_do_not_depend_on_pieces_or_workers)
{
	check_pieces_and_workers(arena, "token-bert", "token_classification", words_row, 24, "15", with_new_labels);
}

TEST(words_by_an_overlay)
{
	check_overlay(arena, "bert", "token_classification", words_row, 24);
}

TEST(words_that_cannot_be_learned)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "token_classification");
	static const char *const two[] = {"a", "b"};
	static const char *const empty[] = {"O", ""};
	static const char *const blank[] = {" ", ""};

	CHECK_ROW_THROWS(run, "2 tokens, but 1 labels", texts_value(arena, 2, two), texts_value(arena, 1, two));
	CHECK_ROW_THROWS(run, "no tokens", texts_value(arena, 0, two), texts_value(arena, 0, two));
	CHECK_ROW_THROWS(run, "label is empty", texts_value(arena, 2, two), texts_value(arena, 2, empty));
	CHECK_ROW_THROWS(run, "none of the row's tokens", texts_value(arena, 2, blank), texts_value(arena, 2, two));
}

/* ---- answers ---- */

static void
answer_row(TeArena *arena, int i, TeValue *values)
{
	static const char *const questions[] = {"when", "where"};
	static const char *const answers[2][3] = {{"day", "night", "the cold night"}, {"city", "the river", "river"}};
	const char *before = words[(i / 6 * 4) % 4 == 0 ? 3 : 7];

	values[0] = text_value(questions[i % 2]);
	values[1] = text_value(te_format(arena, "%s %s good %s %s", before, answers[0][i / 2 % 3], answers[1][i / 2 % 3], words[i % 2 * 4]));
	values[2] = text_value(answers[i % 2][i / 2 % 3]);
}

TEST(answers_are_learned)
{
	static const char *const fixtures[] = {"bert", "answer-roberta", "modernbert"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixtures[i], NULL)->def, "question_answering");
		TeTrainer  *trainer;
		TeModelDef *def;
		TeJob	   *job;
		TeAnswers  *answers;

		run_spool(arena, run, answer_row, 12);
		trainer = run_trainer(arena, run);
		run_steps(trainer, 300);
		if (!CHECK(run_metric(trainer, "accuracy") == 1))
			fprintf(stderr, "  %s: accuracy %g\n", fixtures[i], run_metric(trainer, "accuracy"));
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(te_str_is(def->task, "question-answering"));
		job = te_job_create(te_session_create(arena, load_model(arena, def), 0), "tag", NULL);
		answers = te_answers_create(arena, job);
		for (int row = 0; row < 12; row++)
		{
			TeValue		values[MAX_COLUMNS] = {{0}};

			answer_row(arena, row, values);
			te_answers_feed(answers, values[0].text, values[1].text);
		}
		te_job_run(job);
		for (int row = 0; row < 12; row++)
		{
			TeValue		values[MAX_COLUMNS] = {{0}};
			TeAnswer	best = te_answers_best(answers, (size_t) row);

			answer_row(arena, row, values);
			/* to some tokenizers the space before a word is of it */
			best.start += values[1].text.data[best.start] == ' ';
			if (!CHECK(best.found && te_str_eq((TeStr) {values[1].text.data + best.start, best.stop - best.start}, values[2].text)))
				fprintf(stderr, "  %s: \"%.*s\", not \"%.*s\"\n", fixtures[i], (int) (best.stop - best.start), values[1].text.data + best.start,
						TE_STR_ARGS(values[2].text));
		}
	}
}

/* The examples of one row. */
static TeExamples *
examples_of(TeArena *arena, Run *run, TeValue question, TeValue context, TeValue answer, TeValue start)
{
	TeValue		values[] = {question, context, answer, start};
	TeExamples *examples = run_examples(arena, run);

	te_examples_add(examples, values);
	te_examples_finish(examples);
	run->source = te_source_memory("spool", run->spool.data, run->spool.len);
	return te_examples_open(arena, run->objective, &run->source);
}

TEST(a_long_context_is_read_in_windows)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "question_answering");
	TeValue		none = {0};
	const char *context = "";
	TeExamples *examples;
	TeExample	example;
	int			n_with = 0;
	TeStr		text;
	TeStr		said;

	for (int i = 0; i < 20; i++)
		context = te_format(arena, "%s%s ", context, i == 11 ? "river" : words[i % 2]);
	option(run, "max_length", "24", arena);
	examples = examples_of(arena, run, text_value("where"), text_value(context), text_value("river"), none);
	CHECK(te_examples_count(examples) > 2);
	for (size_t e = 0; e < te_examples_count(examples); e++)
	{
		te_examples_read(examples, e, arena, &example);
		CHECK(example.sequences[0].n <= 24 && example.n_targets == 2 && example.targets[0] <= example.targets[1]);
		/* all of a window, and what it says */
		text = te_decode(te_model_tokenizer(run->model), arena, example.sequences[0].ids, (size_t) example.sequences[0].n, true);
		said = te_decode(te_model_tokenizer(run->model), arena, example.sequences[0].ids + example.targets[0],
						 (size_t) (example.targets[1] - example.targets[0] + 1), true);
		n_with += example.targets[0] > 0;
		CHECK_STR(said, strstr(te_cstring(arena, text), "river") != NULL ? "river" : "");
	}
	CHECK(n_with >= 1);

	/* the second of two, and none */
	option(run, "max_length", "0", arena);
	examples = examples_of(arena, run, text_value("when"), text_value("d\xC3\xA4y night day night"), text_value("night"), real_value(15));
	te_examples_read(examples, 0, arena, &example);
	n_with = example.targets[0];
	examples = examples_of(arena, run, text_value("when"), text_value("d\xC3\xA4y night day night"), text_value("night"), none);
	te_examples_read(examples, 0, arena, &example);
	CHECK(example.targets[0] > 0 && n_with > example.targets[0]);
	examples = examples_of(arena, run, text_value("when"), text_value("good day"), text_value(""), none);
	te_examples_read(examples, 0, arena, &example);
	CHECK(example.targets[0] == 0 && example.targets[1] == 0);
}

TEST(answers_do_not_depend_on_pieces_or_workers)
{
	check_pieces_and_workers(arena, "answer-bert", "question_answering", answer_row, 12, "20", NULL);
}

TEST(answers_by_an_overlay)
{
	check_overlay(arena, "bert", "question_answering", answer_row, 12);
}

TEST(answers_that_cannot_be_learned)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "question_answering");
	TeValue		q = text_value("when");
	TeValue		c = text_value("good day");

	CHECK_ROW_THROWS(run, "does not occur", q, c, text_value("night"));
	CHECK_ROW_THROWS(run, "not at character 2", q, c, text_value("day"), real_value(2));
	CHECK_ROW_THROWS(run, "not at character 90", q, c, text_value("day"), real_value(90));
	CHECK_ROW_THROWS(run, "start 0 is", q, c, text_value("day"), real_value(0));
	CHECK_ROW_THROWS(run, "start 1.5 is", q, c, text_value("day"), real_value(1.5));
	CHECK_ROW_THROWS(run, "has no tokens", q, text_value(""), text_value(""));
	CHECK_ROW_THROWS(run, "has no tokens", q, c, text_value(" "));
	option(run, "max_length", "7", arena);
	CHECK_ROW_THROWS(run, "longer than", q, text_value("good day and night and day"), text_value("day and night and day"));
}

TEST_MAIN()
