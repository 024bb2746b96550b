/*-------------------------------------------------------------------------
 * test_causal.c
 *	  Decoders: logits and the loss of the token that follows, against the reference; objectives of text.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "train/train.h"

static const char *const names[] = {"causal-llama", "causal-mistral", "causal-qwen2"};

/* Logits [n_tok, vocabulary] of ids. */
static const float *
logits_of(TeArena *arena, const TeModel *model, const TeJson *ids, size_t *cols)
{
	TeJobRow	row = {.n_tokens = ids->n, .ids = te_new_array(arena, int32_t, ids->n)};
	TeJobRow   *rows[] = {&row};
	TeBatch    *batch;
	TeGraph    *graph;
	TeNode	   *node;

	for (uint32_t i = 0; i < ids->n; i++)
		row.ids[i] = (int32_t) ids->items[i].integer;
	batch = te_rows_batch(arena, model, rows, 1);
	graph = te_graph_create(arena, TE_INFER, batch);
	node = te_head_forward(graph, model, te_model_arch(model)->forward(graph, model, batch));
	te_graph_keep(graph, node);
	te_graph_run(graph);
	*cols = te_node_cols(node);
	return te_node_value(node);
}

TEST(logits_are_those_of_the_reference)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		TeModel    *model = load_model(arena, fixture->def);
		const TeJson *texts = te_json_get(fixture->expected, "texts");

		CHECK(te_str_is(fixture->def->task, "text-generation"));
		for (uint32_t t = 0; t < texts->n; t++)
		{
			const TeJson *ids = te_json_get(&texts->items[t], "ids");
			const TeJson *expected = te_json_get(&texts->items[t], "logits");
			size_t		cols;
			const float *logits = logits_of(arena, model, ids, &cols);
			double		largest = 0;
			double		worst = 0;

			for (uint32_t r = 0; r < expected->n; r++)
			{
				const float *row = json_floats(arena, &expected->items[r]);

				for (uint32_t c = 0; c < expected->items[r].n; c++)
				{
					largest = fmax(largest, fabs(row[c]));
					worst = fmax(worst, fabs(row[c] - logits[r * cols + c]));
				}
			}
			if (!CHECK(cols == 300 && worst <= 1e-4 * largest))
				fprintf(stderr, "  %s, text %u: off by %g of %g\n", names[i], t, worst, largest);
		}
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

TEST_MAIN()
