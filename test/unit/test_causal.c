/*-------------------------------------------------------------------------
 * test_causal.c
 *	  Decoders: logits and the loss of the token that follows, against the reference; objectives of text.
 *-------------------------------------------------------------------------
 */
#include "causal_fixture.h"
#include "train_fixture.h"

static const char *const names[] = {"causal-llama", "causal-mistral", "causal-qwen2", "causal-gpt2", "causal-neox"};

TEST(logits_are_those_of_the_reference)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		double		difference = logits_difference(arena, load_model(arena, fixture->def), te_json_get(fixture->expected, "texts"));

		CHECK(te_str_is(fixture->def->task, "text-generation"));
		if (!CHECK(difference <= 1e-4))
			fprintf(stderr, "  %s: off by %g\n", names[i], difference);
	}
}

/* Examples of the texts of a fixture. */
static TeExamples *
examples_of(TeArena *arena, const Fixture *fixture, const TeObjective *objective, const TeTrainOptions *options)
{
	const TeJson *texts = te_json_get(fixture->expected, "texts");
	TeBuffer   *buffer = te_new(arena, TeBuffer);
	TeSource   *source = te_new(arena, TeSource);
	TeSink		sink;
	TeExamples *examples;

	te_buffer_init(buffer, arena);
	sink = te_sink_buffer(buffer);
	examples = te_examples_create(arena, load_model(arena, fixture->def), objective, options, NULL, &sink);
	for (uint32_t i = 0; i < texts->n; i++)
	{
		TeValue		values[2] = {{.given = true, .text = te_json_str(&texts->items[i], "text", "")}, {.given = true, .text = TE_STR(" street")}};

		te_examples_add(examples, values);
	}
	te_examples_finish(examples);
	*source = te_source_memory("spool", buffer->data, buffer->len);
	return te_examples_open(arena, objective, source);
}

TEST(the_loss_is_that_of_the_reference_and_falls)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		TeStr		columns[] = {TE_STR("text")};
		const TeObjective *objective = te_objective_find(arena, "pretrain", TE_STR("clm"), fixture->def->task, fixture->def->architecture, columns, 1);
		TeTrainOptions *options = te_train_options(arena, objective);
		TeExamples *examples = examples_of(arena, fixture, objective, options);
		TeTrainer  *trainer;
		TeTrainStep step;
		double		first;
		size_t		n;

		te_train_set(options, TE_STR("epochs"), te_json_parse(arena, TE_STR("30"), "option"));
		te_train_set(options, TE_STR("warmup"), te_json_parse(arena, TE_STR("0"), "option"));
		te_train_set(options, TE_STR("learning_rate"), te_json_parse(arena, TE_STR("0.01"), "option"));
		trainer = te_trainer_create(arena, fixture->def, objective, options, examples, examples, 0);
		first = te_trainer_evaluate(trainer, &n)[0].value;
		CHECK_NEAR(first, te_json_real(fixture->expected, "loss", 0), 1e-4 * first);
		while (te_trainer_step(trainer, &step))
			;
		CHECK(te_trainer_evaluate(trainer, &n)[0].value < first / 4);
	}
}

TEST(long_texts_are_cut_and_prompts_are_not_learned)
{
	Fixture    *fixture = fixture_load(arena, "causal-llama", NULL);
	TeStr		columns[] = {TE_STR("prompt"), TE_STR("completion")};
	const TeObjective *causal = te_objective_by_name(TE_STR("causal"));
	const TeObjective *completion = te_objective_find(arena, "finetune", TE_STR("text-generation"), fixture->def->task, fixture->def->architecture, columns, 2);
	TeTrainOptions *options = te_train_options(arena, causal);
	TeExamples *examples;
	TeExample	example;
	uint64_t	guessed = 0;

	te_train_set(options, TE_STR("max_length"), te_json_parse(arena, TE_STR("5"), "option"));
	examples = examples_of(arena, fixture, causal, options);
	CHECK(te_examples_rows(examples) == 4 && te_examples_count(examples) > 4);
	for (size_t i = 0; i < te_examples_count(examples); i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.sequences[0].n <= 5 && example.sequences[0].ids[0] == 0 && example.targets[0] == 1);
		guessed += (uint64_t) example.sequences[0].n - 1;
	}
	/* all tokens of the texts, and the end of each */
	CHECK(guessed == te_examples_tokens(examples) - te_examples_count(examples));

	options = te_train_options(arena, completion);
	examples = examples_of(arena, fixture, completion, options);
	CHECK(te_examples_count(examples) == 4);
	for (size_t i = 0; i < 4; i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.targets[0] >= 2 && example.targets[0] < example.sequences[0].n - 1);
		CHECK(example.sequences[0].ids[example.sequences[0].n - 1] == 1);
	}
	te_train_set(options, TE_STR("max_length"), te_json_parse(arena, TE_STR("4"), "option"));
	examples = examples_of(arena, fixture, completion, options);
	for (size_t i = 0; i < 4; i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.sequences[0].n <= 4 && example.targets[0] < example.sequences[0].n);
	}
}

TEST(texts_without_tokens_are_left_out)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "causal-llama", NULL)->def, "causal");

	CHECK_ROW_IS_EMPTY(run, text_value(""));
}

TEST(what_is_cut_is_counted_or_refused)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "causal-llama", NULL)->def, "completion");
	TeValue		row[MAX_COLUMNS] = {text_value("a day in the city"), text_value(" and another one")};
	TeExamples *examples;

	option(run, "max_length", "6", arena);
	examples = run_examples(arena, run);
	te_examples_add(examples, row);
	CHECK(te_examples_truncated(examples) == 1 && te_examples_count(examples) == 1);
	te_examples_set_truncate(examples, TE_TRUNCATE_ERROR);
	CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "6 at most", te_examples_add(examples, row));
	run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "regression");
	option(run, "max_length", "4", arena);
	row[1] = (TeValue) {0};
	row[2] = (TeValue) {.given = true, .real = 1};
	examples = run_examples(arena, run);
	te_examples_add(examples, row);
	te_examples_set_truncate(examples, TE_TRUNCATE_ERROR);
	CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "4 at most", te_examples_add(examples, row));
}

TEST_MAIN()
