/*-------------------------------------------------------------------------
 * test_objectives.c
 *	  Objectives of embeddings: that they are learned, of rows made up here.
 *
 * Losses against the reference are test_losses.c's.
 *-------------------------------------------------------------------------
 */
#include "train_fixture.h"

static const char *const topics[4][4] = {
	{"warm day", "cold night", "the day was warm", "the night was cold"},
	{"good music", "bad music", "a good song", "a poor song"},
	{"the river", "the city", "water runs there", "people live there"},
	{"white paper", "black paper", "paper that is white", "paper that is black"},
};

static void
pair_row(TeArena *arena, int i, TeValue *values)
{
	const char *const *topic = topics[i / 2 % 4];

	values[0] = text_value(te_format(arena, "%s %d", topic[i % 2], i % 7));
	values[1] = text_value(te_format(arena, "%s %d", topic[2 + i % 2], i % 5));
}

static void
triplet_row(TeArena *arena, int i, TeValue *values)
{
	pair_row(arena, i, values);
	values[2] = text_value(topics[i / 2 % 4][3 - i % 2]);
}

static void
score_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value(topics[i % 4][0]);
	values[1] = text_value(topics[(i + i / 4) % 4][2]);
	values[2] = real_value(i / 4 % 4 == 0 ? 0.9 : 0.1);
}

static double
cosine_of(TeArena *arena, const TeModelDef *def, const char *a, const char *a_kind, const char *b, const char *b_kind)
{
	TeModel    *model = load_model(arena, def);
	int			n;
	const float *u = embed_one(arena, model, te_str(a), a_kind, &n);
	const float *v = embed_one(arena, model, te_str(b), b_kind, &n);

	return cosine(u, v, n);
}

TEST(pairs_are_learned_from_the_other_rows)
{
	/* with prompts, without a pipeline, with a head that is left out */
	static const char *const fixtures[] = {"bert", "mpnet", "classify-bert", "modernbert", "token-electra"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, fixtures[i], NULL)->def, "embedding");
		TeTrainer  *trainer;
		TeModelDef *def;
		double		before;
		double		after;

		run_spool(arena, run, pair_row, 8);
		trainer = run_trainer(arena, run);
		before = run_metric(trainer, "loss");
		run_steps(trainer, 200);
		after = run_metric(trainer, "loss");
		if (!CHECK(after < before / 3 && run_metric(trainer, "accuracy") == 1))
			fprintf(stderr, "  %s: loss %g, then %g\n", fixtures[i], before, after);
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(te_str_is(def->task, "embedding") && def->dimensions > 0 && def->n_labels == 0);
		CHECK(te_str_eq(def->pipeline, run->base->pipeline));
		CHECK(cosine_of(arena, def, "warm day 0", "query", "the day was warm 0", "passage") >
			  cosine_of(arena, def, "warm day 0", "query", "a poor song 0", "passage") + 0.1);
	}
}

TEST(an_anchor_has_the_prompt_of_a_query)
{
	TeModelDef *base = fixture_load(arena, "bert", NULL)->def;
	Run		   *run;
	TeExample	example;
	static const struct
	{
		const char *prompts;
		const char *texts[2];
	}			cases[] = {
		{"\"prompts\":{\"query\":\"ask : \",\"document\":\"tell : \"}", {"ask : warm day 0", "tell : the day was warm 0"}},
		{"\"prompts\":{\"any\":\"say : \"},\"default_prompt\":\"any\"", {"say : warm day 0", "say : the day was warm 0"}},
	};
	size_t		n;
	size_t		n_untruncated;

	for (size_t c = 0; c < TE_LENGTH(cases); c++)
	{
		base->pipeline = te_str(te_format(arena, "{\"pooling\":[\"mean\"],%s}", cases[c].prompts));
		run = run_begin(arena, base, "embedding");
		run_spool(arena, run, pair_row, 1);
		te_examples_read(run->examples, 0, arena, &example);
		CHECK(example.n_sequences == 2);
		for (int s = 0; s < 2; s++)
		{
			TeToken    *tokens = te_encode_alloc(te_model_tokenizer(run->model), arena, te_str(cases[c].texts[s]), (TeStr) {NULL, 0},
												 true, 0, &n, &n_untruncated);

			CHECK(example.sequences[s].n == (int32_t) n);
			for (size_t t = 0; t < n; t++)
				CHECK(example.sequences[s].ids[t] == tokens[t].id);
		}
	}
}

TEST(negatives_of_ones_own)
{
	static const char *const names[] = {"\"\"", "\"triplet\""};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "embedding");
		TeTrainer  *trainer;
		double		before;

		option(run, "loss", names[i], arena);
		run_spool(arena, run, triplet_row, 8);
		trainer = run_trainer(arena, run);
		before = run_metric(trainer, "loss");
		run_steps(trainer, 200);
		CHECK(run_metric(trainer, "loss") < before / 2 && run_metric(trainer, "accuracy") == 1);
	}
}

TEST(scores_are_learned_as_cosines)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "embedding_score");
	TeTrainer  *trainer;
	TeModelDef *def;

	option(run, "learning_rate", "0.005", arena);
	option(run, "dropout", "0", arena);
	option(run, "epochs", "100", arena);
	run_spool(arena, run, score_row, 16);
	trainer = run_trainer(arena, run);
	run_steps(trainer, 200);
	CHECK(run_metric(trainer, "loss") < 0.01);
	def = te_trainer_definition(trainer, arena);
	CHECK_NEAR(cosine_of(arena, def, topics[0][0], NULL, topics[0][2], NULL), 0.9, 0.2);
	CHECK_NEAR(cosine_of(arena, def, topics[0][0], NULL, topics[2][2], NULL), 0.1, 0.2);
}

static void
want_triplets(Run *run, TeArena *arena)
{
	option(run, "loss", "\"triplet\"", arena);
}

TEST(embeddings_do_not_depend_on_pieces_or_workers)
{
	check_pieces_and_workers(arena, "bert", "embedding", pair_row, 8, "20", NULL);
	check_pieces_and_workers(arena, "modernbert", "embedding", triplet_row, 8, "40", NULL);
	check_pieces_and_workers(arena, "bert", "embedding", triplet_row, 8, "40", want_triplets);
	check_pieces_and_workers(arena, "bert", "embedding_score", score_row, 16, "20", NULL);
}

TEST(embeddings_by_an_overlay)
{
	check_overlay(arena, "bert", "embedding", pair_row, 8);
	check_overlay(arena, "classify-bert", "embedding_score", score_row, 16);
}

TEST(rows_that_are_no_pairs)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "embedding");

	option(run, "loss", "\"triplet\"", arena);
	CHECK_ROW_THROWS(run, "wants a negative", text_value("a"), text_value("b"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be", option(run, "loss", "\"contrastive\"", arena));
	run = run_begin(arena, run->base, "embedding_score");
	CHECK_ROW_THROWS(run, "no cosine", text_value("a"), text_value("b"), real_value(4.5));
	CHECK_ROW_THROWS(run, "no cosine", text_value("a"), text_value("b"), real_value(NAN));
}

TEST(a_spool_of_another_objective_is_damaged)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "embedding");
	TeExample	example;

	run_spool(arena, run, pair_row, 1);
	run->examples = te_examples_open(arena, te_objective_by_name(TE_STR("embedding_score")), &run->source);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "damaged", te_examples_read(run->examples, 0, arena, &example));
}

TEST_MAIN()
