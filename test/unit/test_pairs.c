/*-------------------------------------------------------------------------
 * test_pairs.c
 *	  Pairs of texts: what numbers for them mean, and what is cut of those that are too long.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

/* A fixture under other labels; those from the first NULL on are not there. */
static TeModel *
model_with_labels(TeArena *arena, const char *name, const char *const *labels)
{
	TeFolder	folder = fixture_folder(arena, name);
	TeStr		given[3];
	TeImportOptions options = {.labels = given};

	while (options.n_labels < 3 && labels[options.n_labels] != NULL)
	{
		given[options.n_labels] = te_str(labels[options.n_labels]);
		options.n_labels++;
	}
	return load_model(arena, te_import_folder(arena, &folder, &options));
}

static double
sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

TEST(labels_say_what_relevance_is)
{
	static const struct
	{
		const char *fixture;
		const char *labels[3];
		int			yes;		/* -1: they do not say */
	}			cases[] = {
		{"classify-distilbert", {"irrelevant", "relevant"}, 1},
		{"classify-distilbert", {"Relevant", "Not relevant"}, 0},
		{"classify-distilbert", {"not_duplicate", "duplicate"}, 1},
		{"classify-distilbert", {"entailment", "not_entailment"}, 0},
		{"classify-distilbert", {"NOT-EQUIVALENT", "other"}, 1},
		{"classify-distilbert", {"other", "YES"}, 1},
		{"classify-distilbert", {"LABEL_0", "LABEL_1"}, 1},
		{"classify-distilbert", {"red", "blue"}, -1},
		{"classify-distilbert", {"same", "related"}, -1},
		{"classify-distilbert", {"LABEL_1", "LABEL_0"}, -1},
		{"classify-bert", {"contradiction", "neutral", "entailment"}, 2},
		{"classify-bert", {"ENTAILED", "no", "perhaps"}, 0},
		{"classify-bert", {"LABEL_0", "LABEL_1", "LABEL_2"}, -1},
		{"classify-bert", {"no", "perhaps", "yes"}, -1},
		{"next-bert", {NULL}, 0},
		{"next-bert", {"LABEL_0", "LABEL_1"}, 0},
		{"next-bert", {"random", "is_next"}, 1},
	};
	static const float logits[3] = {0.5f, -1.25f, 2};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		TeModel    *model = model_with_labels(arena, cases[i].fixture, cases[i].labels);
		int			n = te_model_labels(model);
		double		sum = 0;

		if (cases[i].yes < 0)
		{
			CHECK_THROWS_LIKE(TE_ERR_MISSING, "labels do not say", te_pair_relevance(model, logits));
			continue;
		}
		for (int j = 0; j < n; j++)
			sum += exp(logits[j]);
		CHECK_NEAR(te_pair_relevance(model, logits), exp(logits[cases[i].yes]) / sum, 1e-6);
	}
}

/* One output, with the activation that the configuration names. */
TEST(a_single_output_is_the_relevance)
{
	static const char *const none[] = {NULL};
	float		logit = -0.75f;

	CHECK_NEAR(te_pair_relevance(model_with_labels(arena, "rerank-bert", none), &logit), sigmoid(-0.75), 1e-6);
	CHECK_NEAR(te_pair_relevance(model_with_labels(arena, "rerank-distilbert", none), &logit), -0.75, 1e-6);
}

TEST(an_encoder_has_no_relevance)
{
	float		number = 0;

	CHECK_THROWS_LIKE(TE_ERR_MISSING, "labels do not say",
					  te_pair_relevance(load_model(arena, fixture_load(arena, "bert", NULL)->def), &number));
}

TEST(claims_are_held_against_a_text)
{
	static const char *const inference[] = {"contradiction", "neutral", "entailment"};
	static const char *const reversed[] = {"entailment", "neutral", "other"};
	static const char *const labels[] = {"negative", "neutral", "positive"};
	static const float logits[] = {1, 0, 2, 0.5f, 3, -1};	/* of two claims */
	TeModel    *model = model_with_labels(arena, "classify-bert", inference);
	float		scores[2];

	CHECK(te_model_infers(model));
	CHECK(!te_model_infers(model_with_labels(arena, "classify-bert", labels)));
	CHECK(!te_model_infers(load_model(arena, fixture_load(arena, "bert", NULL)->def)));

	/* one of several: by entailment alone */
	te_claim_scores(model, logits, 2, false, scores);
	CHECK_NEAR(scores[0], sigmoid(2 - -1), 1e-6);
	CHECK_NEAR(scores[0] + scores[1], 1, 1e-6);
	/* each by itself: entailment against contradiction; so is a single one */
	te_claim_scores(model, logits, 2, true, scores);
	CHECK_NEAR(scores[0], sigmoid(2 - 1), 1e-6);
	CHECK_NEAR(scores[1], sigmoid(-1 - 0.5), 1e-6);
	te_claim_scores(model, logits, 1, false, scores);
	CHECK_NEAR(scores[0], sigmoid(2 - 1), 1e-6);
	/* no label is called so: the last one contradicts where the first is entailment */
	te_claim_scores(model_with_labels(arena, "classify-bert", reversed), logits, 1, true, scores);
	CHECK_NEAR(scores[0], sigmoid(1 - 2), 1e-6);
}

TEST(cosines_of_claims_are_scores)
{
	static const float cosines[] = {0.5f, 0.25f};
	float		scores[2];

	te_claim_scores_of_cosines(cosines, 2, false, scores);
	CHECK_NEAR(scores[0], sigmoid(20 * 0.25), 1e-6);
	CHECK_NEAR(scores[0] + scores[1], 1, 1e-6);
	te_claim_scores_of_cosines(cosines, 2, true, scores);
	CHECK_NEAR(scores[0], 0.75, 1e-6);
	CHECK_NEAR(scores[1], 0.625, 1e-6);
	te_claim_scores_of_cosines(cosines, 1, false, scores);
	CHECK_NEAR(scores[0], 1, 1e-6);
}

/* ---- pairs that are too long ---- */

static TeStr
repeated(TeArena *arena, const char *word, size_t n)
{
	size_t		len = strlen(word);
	char	   *text = te_alloc(arena, n * len + 1);

	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, word, len + 1);
	return te_str(text);
}

/* Tokens of a text or a pair, without a limit. */
static TeToken *
all_tokens(TeArena *arena, const TeModel *model, TeStr text, TeStr pair, bool special, size_t *n)
{
	size_t		untruncated;

	return te_encode_alloc(te_model_tokenizer(model), arena, text, pair, special, 0, n, &untruncated);
}

/* Is the row [CLS], the first kept[0] tokens of the text, [SEP], the first kept[1] of the pair, [SEP]? */
static void
check_cut(TeArena *arena, const TeModel *model, const TeJobRow *row, size_t kept_text, size_t kept_pair)
{
	size_t		n;
	size_t		n_all;
	TeToken    *all = all_tokens(arena, model, row->text, row->pair, true, &n_all);
	size_t		kept[2] = {kept_text, kept_pair};
	size_t		seen[2] = {0, 0};

	CHECK(row->n_untruncated == n_all);
	if (!CHECK(row->n_tokens == kept_text + kept_pair + 3))
		return;
	n = 0;
	for (size_t i = 0; i < n_all; i++)
	{
		if (!all[i].special && seen[all[i].sequence]++ >= kept[all[i].sequence])
			continue;
		if (!CHECK(n < row->n_tokens && row->ids[n] == all[i].id && row->type_ids[n] == all[i].type_id))
			return;
		n++;
	}
	CHECK(n == row->n_tokens);
}

TEST(of_a_pair_the_text_is_cut)
{
	TeModel    *model = load_model(arena, fixture_load(arena, "classify-bert", NULL)->def);
	TeSession  *session = te_session_create(arena, model, 0);
	size_t		room = te_model_context_length(model) - 3;
	size_t		n_pair;
	TeStr		pair = TE_STR("a boat on the water");
	TeStr		texts[] = {repeated(arena, "the sea ", 60), repeated(arena, "the sea ", 20000)};

	all_tokens(arena, model, pair, (TeStr) {NULL, 0}, false, &n_pair);
	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	/* also of a text that a worker leaves to the calling thread */
	for (size_t i = 0; i < TE_LENGTH(texts); i++)
	{
		TeJobRow	rows[] = {
			{.text = texts[i],.pair = pair,.keep_pair = true},	/* the text gives way */
			{.text = texts[i],.pair = texts[i],.keep_pair = true},	/* until nothing is left of it */
			{.text = pair,.pair = texts[i],.keep_pair = true},
			{.text = TE_STR(""),.pair = texts[i],.keep_pair = true},
			{.text = TE_STR("a boat"),.pair = pair,.keep_pair = true},	/* short enough */
			{.text = texts[i],.pair = texts[i]},	/* without: the longer one */
		};
		size_t		n_short;

		te_rows_tokenize(session, arena, rows, TE_LENGTH(rows));
		check_cut(arena, model, &rows[0], room - n_pair, n_pair);
		check_cut(arena, model, &rows[1], 0, room);
		check_cut(arena, model, &rows[2], 0, room);
		check_cut(arena, model, &rows[3], 0, room);
		all_tokens(arena, model, TE_STR("a boat"), (TeStr) {NULL, 0}, false, &n_short);
		check_cut(arena, model, &rows[4], n_short, n_pair);
		check_cut(arena, model, &rows[5], room / 2, room - room / 2);
	}
	/* a text alone is cut as ever */
	{
		TeJobRow	row = {.text = texts[0],.keep_pair = true};

		te_rows_tokenize(session, arena, &row, 1);
		CHECK(row.n_tokens == room + 3);
	}
	te_session_set_truncate(session, TE_TRUNCATE_ERROR);
	{
		TeJobRow	row = {.text = texts[0],.pair = pair,.keep_pair = true};

		CHECK_THROWS(TE_ERR_TOO_LONG, te_rows_tokenize(session, arena, &row, 1));
	}
}

TEST_MAIN()
