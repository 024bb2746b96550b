/*-------------------------------------------------------------------------
 * test_mask.c
 *	  Pretraining with hidden words: what is hidden, how texts are cut, that it is learned.
 *-------------------------------------------------------------------------
 */
#include "train_fixture.h"

static const char *const sentences[] = {"the warm day", "the cold night", "a good song", "a bad song", "white paper and black paper",
	"the river runs by the city"};

static void
sentence_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value(sentences[i % TE_LENGTH(sentences)]);
}

static void
long_row(TeArena *arena, int i, TeValue *values)
{
	const char *text = "";

	for (int j = 0; j < 9; j++)
		text = te_format(arena, "%s%s ", text, sentences[(i + j) % TE_LENGTH(sentences)]);
	values[0] = text_value(text);
}

TEST(hidden_words_are_found)
{
	/* with a head, without one, with one that is not tied, with positions that turn */
	static const char *const fixtures[] = {"mask-bert", "bert", "mask-roberta", "mask-modernbert", "mask-deberta-v3", "classify-bert"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixtures[i], NULL)->def, "mlm");
		TeTrainer  *trainer;
		TeModelDef *def;
		double		before;
		double		after;

		option(run, "dropout", "0", arena);
		run_spool(arena, run, sentence_row, 24);
		trainer = run_trainer(arena, run);
		before = run_metric(trainer, "loss");
		run_steps(trainer, 150);
		after = run_metric(trainer, "loss");
		if (!CHECK(after < before * 0.6))
			fprintf(stderr, "  %s: loss %g, then %g\n", fixtures[i], before, after);
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(te_str_is(def->task, "fill-mask"));
		te_job_create(te_session_create(arena, load_model(arena, def), 0), "fill", NULL);
	}
}

TEST(what_is_hidden_follows_the_stream)
{
	static const char *const whole[] = {"false", "true"};
	double		counts[4] = {0};	/* tokens that could be, that are, of these masks and others */

	for (int w = 0; w < 2; w++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "mlm");
		TePiece		piece = {.arena = arena, .model = run->model, .options = run->options};
		TeExample	plain;
		int32_t		mask = te_model_mask(run->model);

		option(run, "whole_word", whole[w], arena);
		option(run, "max_length", "24", arena);
		run_spool(arena, run, long_row, 1);
		te_examples_read(run->examples, 0, arena, &plain);
		for (uint64_t stream = 0; stream < 2000; stream++)
		{
			TeExample	once;
			TeExample	again;
			double		n = 0;
			double		weight;
			const TeSequence *sequence = &once.sequences[0];

			te_examples_read(run->examples, 0, arena, &once);
			te_examples_read(run->examples, 0, arena, &again);
			weight = run->objective->prepare(&piece, &once, stream);
			CHECK(run->objective->prepare(&piece, &again, stream) == weight && weight >= 1);
			for (int32_t t = 0; t < sequence->n; t++)
			{
				bool		hidden = once.targets[t] >= 0;

				CHECK(again.targets[t] == once.targets[t] && again.sequences[0].ids[t] == sequence->ids[t]);
				CHECK(!hidden || (plain.targets[t] >= 0 && once.targets[t] == plain.sequences[0].ids[t]));
				CHECK(hidden || sequence->ids[t] == plain.sequences[0].ids[t]);
				CHECK(sequence->ids[t] == mask || sequence->ids[t] == plain.sequences[0].ids[t]
					  || !te_token_special(te_model_tokenizer(run->model), sequence->ids[t]));
				if (w == 1 && t > 0 && plain.targets[t] >= 0 && plain.targets[t] == plain.targets[t - 1])
					CHECK(hidden == (once.targets[t - 1] >= 0));
				n += hidden;
				if (w == 1)
					continue;
				counts[0] += plain.targets[t] >= 0;
				counts[1] += hidden;
				counts[2] += hidden && sequence->ids[t] == mask;
				counts[3] += hidden && sequence->ids[t] != mask && sequence->ids[t] != plain.sequences[0].ids[t];
			}
			CHECK(n == weight);
		}
	}
	/* and one where there would be none */
	counts[0] /= 2000;
	CHECK_NEAR(counts[1] / 2000 / counts[0], 0.15 + pow(0.85, counts[0]) / counts[0], 0.005);
	CHECK_NEAR(counts[2] / counts[1], 0.8, 0.02);
	CHECK_NEAR(counts[3] / counts[1], 0.1, 0.02);
}

TEST(long_texts_are_cut_between_words)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "mlm");
	TeValue		values[1];
	TeToken    *tokens;
	size_t		n;
	size_t		n_untruncated;
	size_t		at = 1;

	option(run, "max_length", "30", arena);
	run_spool(arena, run, long_row, 1);
	long_row(arena, 0, values);
	tokens = te_encode_alloc(te_model_tokenizer(run->model), arena, values[0].text, (TeStr) {NULL, 0}, true, 0, &n, &n_untruncated);
	CHECK(te_examples_rows(run->examples) == 1 && te_examples_count(run->examples) > 2);
	for (size_t e = 0; e < te_examples_count(run->examples); e++)
	{
		TeExample	example;
		const TeSequence *sequence = &example.sequences[0];

		te_examples_read(run->examples, e, arena, &example);
		CHECK(sequence->n <= 30 && sequence->n > 15);
		CHECK(sequence->ids[0] == tokens[0].id && sequence->ids[sequence->n - 1] == tokens[n - 1].id);
		CHECK(at == 1 || tokens[at].word != tokens[at - 1].word);
		for (int32_t t = 1; t < sequence->n - 1; t++)
			CHECK(sequence->ids[t] == tokens[at++].id);
	}
	CHECK(at == n - 1);
}

TEST(a_restored_run_hides_the_same)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "mask-bert", NULL)->def, "mlm");
	TeTrainer  *trainers[2];
	double		losses[2];
	TeBuffer	buffer;
	TeSink		sink;
	TeSource	source;

	run_spool(arena, run, sentence_row, 24);
	trainers[0] = run_trainer(arena, run);
	trainers[1] = run_trainer(arena, run);
	run_steps(trainers[0], 4);
	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_trainer_save(trainers[0], &sink);
	source = te_source_memory("checkpoint", buffer.data, buffer.len);
	te_trainer_restore(trainers[1], &source);
	for (int i = 0; i < 2; i++)
		losses[i] = run_steps(trainers[i], 5);
	CHECK(losses[0] == losses[1]);
}

TEST(masks_do_not_depend_on_pieces_or_workers)
{
	check_pieces_and_workers(arena, "mask-bert", "mlm", sentence_row, 24, "20", NULL);
	check_pieces_and_workers(arena, "mask-modernbert", "mlm", long_row, 6, "60", NULL);
}

TEST(hidden_words_by_an_overlay)
{
	check_overlay(arena, "mask-bert", "mlm", sentence_row, 24);
	check_overlay(arena, "bert", "mlm", sentence_row, 24);
}

/* A tokenizer.json that calls the mask token something else. */
static TeStr
without_mask(TeArena *arena, TeStr tokenizer)
{
	char	   *text = te_cstring(arena, tokenizer);

	for (char *at = strstr(text, "[MASK]"); at != NULL; at = strstr(at, "[MASK]"))
		at[1] = 'T';
	return te_str(text);
}

TEST(texts_that_have_nothing_to_hide)
{
	TeModelDef *base = fixture_load(arena, "bert", NULL)->def;
	Run		   *run = run_begin(arena, base, "mlm");
	TeStr		column = TE_STR("text");

	CHECK_ROW_IS_EMPTY(run, text_value(""));
	CHECK_ROW_IS_EMPTY(run, text_value("[SEP] [MASK]"));
	option(run, "max_length", "2", arena);
	CHECK_ROW_THROWS(run, "leaves no room", text_value("the day"));
	base->tokenizer = without_mask(arena, base->tokenizer);
	run = run_begin(arena, base, "mlm");
	CHECK_ROW_THROWS(run, "no mask token", text_value("the day"));

	/* what pretraining means where nothing is said */
	CHECK(te_objective_find(arena, "pretrain", TE_STR(""), TE_STR("embedding"), TE_STR("bert"), &column, 1) == run->objective);
	CHECK(te_objective_find(arena, "pretrain", TE_STR(""), TE_STR("fill-mask"), TE_STR("bert"), &column, 1) == run->objective);
	CHECK(te_objective_find(arena, "pretrain", TE_STR("mlm"), TE_STR("classification"), TE_STR("bert"), &column, 1) == run->objective);
	CHECK(te_objective_find(arena, "pretrain", TE_STR(""), TE_STR("text-generation"), TE_STR("llama"), &column, 1) != run->objective);
	CHECK(te_objective_find(arena, "pretrain", TE_STR(""), TE_STR("embedding"), TE_STR("llama"), &column, 1) == &te_objective_causal);
}

TEST_MAIN()
