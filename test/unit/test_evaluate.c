/*-------------------------------------------------------------------------
 * test_evaluate.c
 *	  What a model is asked for when it is evaluated: the labels of words, the
 *	  loss on masked words.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "train/report.h"

static TeModel *
load_folder(TeArena *arena, const char *name)
{
	TeFolder	folder = fixture_folder(arena, name);

	return load_model(arena, te_import_folder(arena, &folder, NULL));
}

/* ---- words ---- */

static const char *const words_of_texts[] = {
	"The baker opens.", "one", "  a   b\tc ", "Der Zug hält in Mu\u0308nchen", "小猫 在 窗台 睡觉", "🥖 à bread"
};

/* Words between spaces. */
static size_t
split(TeStr text, TeWord *words)
{
	size_t		n = 0;

	for (uint32_t i = 0; i < text.len; i++)
	{
		bool		space = text.data[i] == ' ' || text.data[i] == '\t';
		bool		before = i == 0 || text.data[i - 1] == ' ' || text.data[i - 1] == '\t';

		if (!space && before)
			words[n++].start = i;
		if (!space)
			words[n - 1].stop = i + 1;
	}
	return n;
}

static int
largest(const float *logits, int n)
{
	int			best = 0;

	for (int i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

/* A text that fits the model: labels by a search over all tokens. */
static void
check_words(TeArena *arena, const TeModel *model, TeJob *job, TeTagger *tagger, size_t i, TeStr text)
{
	TeWord		words[64];
	int			labels[64];
	size_t		n = split(text, words);
	size_t		n_tokens;
	TeToken    *tokens = te_encode_alloc(te_model_tokenizer(model), arena, text, (TeStr) {NULL, 0}, true, 0, &n_tokens, NULL);
	size_t		n_values;
	int			width;
	const float *values = te_job_values(job, i, &n_values, &width);

	te_tagger_words(tagger, i, words, n, labels);
	CHECK(n > 0 && n_values == n_tokens);
	for (size_t w = 0; w < n; w++)
	{
		int			expected = -1;

		for (size_t t = 0; t < n_tokens && expected < 0; t++)
		{
			if (!tokens[t].special && tokens[t].stop > words[w].start && tokens[t].start < words[w].stop)
				expected = largest(values + t * width, width);
		}
		CHECK(labels[w] == expected);
	}
}

TEST(words_have_the_labels_of_their_first_tokens)
{
	static const char *const names[] = {"token-bert", "token-roberta", "token-deberta", "token-nomic"};

	for (size_t f = 0; f < TE_LENGTH(names); f++)
	{
		TeModel    *model = load_folder(arena, names[f]);
		TeJob	   *job = te_job_create(te_session_create(arena, model, 0), "tag", NULL);
		TeTagger   *tagger = te_tagger_create(job);

		for (size_t i = 0; i < TE_LENGTH(words_of_texts); i++)
			te_tagger_feed(tagger, te_str(words_of_texts[i]));
		te_job_run(job);
		for (size_t i = 0; i < TE_LENGTH(words_of_texts); i++)
			check_words(arena, model, job, tagger, i, te_str(words_of_texts[i]));
	}
}

TEST(words_of_long_texts_are_in_windows)
{
	TeModel    *model = load_folder(arena, "token-bert");
	TeJob	   *job = te_job_create(te_session_create(arena, model, 0), "tag", NULL);
	TeTagger   *tagger = te_tagger_create(job);
	TeBuffer	text;
	TeWord		words[301];
	int			labels[301];
	int			before[301];
	size_t		n;

	te_buffer_init(&text, arena);
	for (int i = 0; i < 300; i++)
		te_buffer_add_str(&text, i % 3 == 0 ? "baker " : i % 5 == 0 ? "\u200b " : "street ");
	te_tagger_feed(tagger, (TeStr) {text.data, text.len});
	te_job_run(job);
	n = split((TeStr) {text.data, text.len}, words);
	words[n] = (TeWord) {(uint32_t) text.len, (uint32_t) text.len};
	te_tagger_words(tagger, 0, words, n + 1, labels);
	CHECK(n == 300 && labels[300] == -1 && labels[299] >= 0);
	for (size_t i = 0; i < n; i++)
	{
		bool		nothing = i % 3 != 0 && i % 5 == 0;	/* a word that the tokenizer takes away */

		CHECK(nothing == (labels[i] == -1));
	}
	te_tagger_words(tagger, 0, words, n, before);
	CHECK(memcmp(labels, before, n * sizeof(int)) == 0);
}

TEST(types_of_entities)
{
	static const TeStr names[] = {TE_STR("I-PLACE"), TE_STR("O"), TE_STR("B-FOOD"), TE_STR("PLACE"), TE_STR("E-FOOD")};
	TeFolder	folder = fixture_folder(arena, "token-bert");
	TeModel    *model = load_model(arena, te_import_folder(arena, &folder, &(TeImportOptions) {.n_labels = 5,.labels = names}));
	TeTagger   *tagger = te_tagger_create(te_job_create(te_session_create(arena, model, 0), "tag", NULL));
	TeWordTag	tags[5];
	TeStr		types[5];

	CHECK(te_tagger_types(tagger, tags, types) == 2);
	CHECK_STR(types[0], "PLACE");
	CHECK_STR(types[1], "FOOD");
	CHECK(tags[0].place == TE_PLACE_INSIDE && tags[0].type == 0 && tags[3].type == 0 && tags[1].place == TE_PLACE_OUTSIDE);
	CHECK(tags[2].place == TE_PLACE_BEGIN && tags[2].type == 1 && tags[4].place == TE_PLACE_END && tags[4].type == 1);
}

/* ---- masked words ---- */

static TeMaskedScore
score_texts(TeArena *arena, const char *name, const TeJson *texts, size_t limit)
{
	TeJob	   *job = te_job_create(te_session_create(arena, load_folder(arena, name), 0), "fill", NULL);
	TeMasked   *masked = te_masked_create(arena, job, limit);

	for (uint32_t i = 0; i < texts->n; i++)
		te_masked_feed(masked, texts->items[i].string, i + 1);
	return te_masked_score(masked);
}

TEST(losses_on_masked_words_are_the_references)
{
	TeFolder	folder = fixture_folder(arena, "metrics");
	const TeJson *list = te_json_get(fixture_json(arena, &folder, "expected.json"), "masked");

	CHECK(list->n >= 3);
	for (uint32_t i = 0; i < list->n; i++)
	{
		const char *name = te_cstring(arena, te_json_str(&list->items[i], "model", ""));
		const TeJson *texts = te_json_get(&list->items[i], "texts");
		TeMaskedScore score = score_texts(arena, name, texts, SIZE_MAX);
		TeMaskedScore again = score_texts(arena, name, texts, 1);

		CHECK(score.tokens == (uint64_t) te_json_int(&list->items[i], "tokens", -1));
		CHECK(score.masked == (uint64_t) te_json_int(&list->items[i], "masked", -1));
		CHECK(score.right == (uint64_t) te_json_int(&list->items[i], "right", -1));
		CHECK_NEAR(score.loss / te_json_real(&list->items[i], "loss", NAN), 1, 1e-5);
		CHECK(again.tokens == score.tokens && again.masked == score.masked && again.right == score.right && again.loss == score.loss);
	}
}

TEST(models_of_several_labels)
{
	CHECK(te_model_multi_label(load_folder(arena, "topics-bert")));
	CHECK(!te_model_multi_label(load_folder(arena, "classify-bert")) && !te_model_multi_label(load_folder(arena, "rerank-bert")));
}

TEST_MAIN()
