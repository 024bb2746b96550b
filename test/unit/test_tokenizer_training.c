/*-------------------------------------------------------------------------
 * test_tokenizer_training.c
 *	  Vocabularies that are learned from texts, against the reference's trainers.
 *
 * models/fixtures/trained has texts and what the reference learns from them
 * (models/fixtures/make_trained_tokenizers.py).
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "text/text.h"

#define FIXTURE TE_TEST_MODELS "/fixtures/trained/"

static TeStr
read_file(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);

	return te_source_whole(arena, &source, (size_t) 64 << 20);
}

/* Feeds a text a line; from the last one on where `backwards`. */
static void
feed(TeTokenizerTrainer *trainer, TeStr texts, bool backwards)
{
	if (!backwards)
	{
		for (size_t from = 0, to; from < texts.len; from = to + 1)
		{
			for (to = from; texts.data[to] != '\n'; to++)
				;
			te_tokenizer_trainer_add(trainer, (TeStr) {texts.data + from, to - from});
		}
		return;
	}
	for (size_t to = texts.len - 1, from; to != (size_t) -1; to = from - 1)
	{
		for (from = to; from > 0 && texts.data[from - 1] != '\n'; from--)
			;
		te_tokenizer_trainer_add(trainer, (TeStr) {texts.data + from, to - from});
	}
}

static const TeJson *
learn(TeArena *arena, const char *kind, int64_t size, const TeJson *options, TeStr texts, bool backwards)
{
	TeTokenizerTrainer *trainer = te_tokenizer_trainer_create(arena, te_str(kind), size, options);

	feed(trainer, texts, backwards);
	return te_tokenizer_trainer_finish(trainer);
}

static const TeJson *
learn_text(TeArena *arena, const char *kind, int64_t size, const char *options, const char *text)
{
	TeTokenizerTrainer *trainer = te_tokenizer_trainer_create(arena, te_str(kind), size,
															  te_json_parse(arena, te_str(options), "options"));

	te_tokenizer_trainer_add(trainer, te_str(text));
	return te_tokenizer_trainer_finish(trainer);
}

static TeStr
written(TeArena *arena, const TeJson *json)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	te_json_write(&buffer, json, 0);
	return (TeStr) {buffer.data, buffer.len};
}

static const TeTokenizer *
compile(TeArena *arena, const TeJson *json)
{
	TeBuffer	image;
	size_t		offset;

	te_buffer_init(&image, arena);
	offset = te_tokenizer_compile(arena, te_json_parse(arena, written(arena, json), "tokenizer.json"), &image);
	return te_tokenizer_attach(image.data + offset, image.len - offset);
}

/* Tokens in the order of ids. */
static bool
same_vocab(const TeJson *vocab, const TeJson *expected)
{
	bool		same = vocab->n == expected->n;

	for (uint32_t i = 0; same && i < vocab->n; i++)
		same = te_str_eq(vocab->items[i].key, expected->items[i].string) && vocab->items[i].integer == i;
	return same;
}

/* Tokens and log likelihood of the texts. */
static double
likelihood(TeArena *arena, const TeJson *json, TeStr texts, size_t *n_tokens)
{
	const TeTokenizer *tokenizer = compile(arena, json);
	const TeJson *vocab = te_json_path(json, "model.vocab");
	double		sum = 0;

	*n_tokens = 0;
	for (size_t from = 0, to; from < texts.len; from = to + 1)
	{
		TeToken    *tokens;
		size_t		n;

		for (to = from; texts.data[to] != '\n'; to++)
			;
		tokens = te_encode_alloc(tokenizer, arena, (TeStr) {texts.data + from, to - from}, (TeStr) {NULL, 0}, false, 0, &n, NULL);
		for (size_t i = 0; i < n; i++)
			sum += vocab->items[tokens[i].id].items[1].real;
		*n_tokens += n;
	}
	return sum;
}

static void
check_case(TeArena *arena, const TeJson *expected, TeStr texts)
{
	char	   *kind = te_cstring(arena, te_json_str(expected, "kind", ""));
	const TeJson *json = learn(arena, kind, te_json_int(expected, "vocab_size", 0), te_json_get(expected, "options"), texts, false);
	const TeJson *again = learn(arena, kind, te_json_int(expected, "vocab_size", 0), te_json_get(expected, "options"), texts, true);
	const TeJson *vocab = te_json_path(json, "model.vocab");
	const TeJson *merges = te_json_get(expected, "merges");

	CHECK(te_str_eq(written(arena, json), written(arena, again)));
	if (te_json_get(expected, "vocab") != NULL)
		CHECK(same_vocab(vocab, te_json_get(expected, "vocab")));
	else
	{
		double		likely = te_json_real(expected, "log_likelihood", 0);
		double		n_likely = (double) te_json_int(expected, "tokens", 0);
		size_t		n;
		double		found = likelihood(arena, json, texts, &n);

		CHECK(vocab->n == te_json_int(expected, "size", 0));
		CHECK_NEAR(found / likely, 1, 0.01);
		CHECK_NEAR(found / (double) n / (likely / n_likely), 1, 0.01);
	}
	if (merges != NULL)
		CHECK(te_str_eq(written(arena, te_json_path(json, "model.merges")), written(arena, merges)));
	CHECK(te_vocab_size(compile(arena, json)) == (int32_t) vocab->n);
}

TEST(learns_what_the_reference_learns)
{
	const TeJson *cases = te_json_parse(arena, read_file(arena, FIXTURE "expected.json"), "expected.json");
	TeStr		texts = read_file(arena, FIXTURE "texts.txt");

	CHECK(cases->n >= 8);
	for (uint32_t i = 0; i < cases->n; i++)
		check_case(arena, &cases->items[i], texts);
}

/* A text of a megabyte without a space, one with few, and one that normalization lets grow. */
TEST(learns_from_long_texts)
{
	size_t		n = (size_t) 1 << 20;
	char	   *text = te_alloc(arena, n + 1);
	const TeJson *json;

	memset(text, 'a', n);
	text[n] = '\0';
	json = learn_text(arena, "bpe", 260, "{}", text);
	CHECK(te_json_path(json, "model.vocab")->n == 260);
	CHECK_STR(te_json_path(json, "model.vocab")->items[259].key, "aaaaaaaa");
	for (size_t i = 100; i < n; i += 7)
		text[i] = ' ';
	json = learn_text(arena, "unigram", 12, "{}", text);
	CHECK(te_token_id(compile(arena, json), TE_STR("aaa")) >= 0);
	for (size_t i = 0; i + 3 <= n; i += 3)
		memcpy(text + i, "\xef\xb7\xba", 3);	/* U+FDFA: 18 characters */
	json = learn_text(arena, "unigram", 100, "{}", te_format(arena, "%.*s", (int) (n / 3 * 3), text));
	CHECK(te_json_path(json, "model.vocab")->n > 15);
}

/* Where a long text is cut, no word is. */
TEST(cuts_texts_between_words)
{
	TeTokenizerTrainer *whole = te_tokenizer_trainer_create(arena, TE_STR("bpe"), 700, NULL);
	TeTokenizerTrainer *parts = te_tokenizer_trainer_create(arena, TE_STR("bpe"), 700, NULL);
	TeBuffer	text;

	te_buffer_init(&text, arena);
	for (int i = 0; i < 20000; i++)
	{
		TeStr		word = te_str(te_format(arena, " word%d", i % 997));

		te_buffer_add(&text, word.data, word.len);
		te_tokenizer_trainer_add(parts, word);
	}
	te_tokenizer_trainer_add(whole, (TeStr) {text.data, text.len});
	CHECK(te_str_eq(written(arena, te_tokenizer_trainer_finish(whole)), written(arena, te_tokenizer_trainer_finish(parts))));
}

TEST(special_tokens_say_what_is_put_around_a_text)
{
	static const struct
	{
		const char *kind;
		const char *specials;
		const char *first;
		const char *last;
		size_t		added;
	}			rows[] = {
		{"wordpiece", "[\"[UNK]\", \"[CLS]\", \"[SEP]\"]", "[CLS]", "[SEP]", 2},
		{"bpe", "[\"<s>\", \"</s>\"]", "<s>", "</s>", 2},
		{"unigram", "[\"<s>\", \"</s>\", \"<unk>\"]", "<s>", "</s>", 2},
		{"unigram", "[\"</s>\", \"<unk>\"]", "\xe2\x96\x81", "</s>", 1},
		{"bpe", "[]", "w", "d", 0},
	};

	for (size_t i = 0; i < TE_LENGTH(rows); i++)
	{
		char	   *options = te_format(arena, "{\"special_tokens\": %s}", rows[i].specials);
		const TeTokenizer *tokenizer = compile(arena, learn_text(arena, rows[i].kind, 300, options, "word"));
		size_t		n;
		TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("wd"), (TeStr) {NULL, 0}, true, 0, &n, NULL);

		CHECK(te_tokens_added(tokenizer, false) == rows[i].added);
		CHECK_STR(te_token_text(tokenizer, tokens[0].id), rows[i].first);
		CHECK_STR(te_token_text(tokenizer, tokens[n - 1].id), rows[i].last);
	}
}

TEST(refuses_what_makes_no_sense)
{
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "words", 300, "{}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "bpe", 256, "{}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "bpe", 0, "{}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "bpe", 300, "{\"limit_alphabet\": 10}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "unigram", 8, "{}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "unigram", 80, "{\"shrinking_factor\": 1}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "unigram", 80, "{\"special_tokens\": [\"\"]}", "a word"));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "wordpiece", 80, "{}", " \n "));
	CHECK_THROWS(TE_ERR_INVALID, learn_text(arena, "wordpiece", 80, "{}", "not \xff UTF-8"));
}

/* Characters beyond the bound are left out by WordPiece, and end words for Unigram. */
TEST(bounds_the_alphabet)
{
	const char *text = "aab aab aab axb";
	const TeJson *json = learn_text(arena, "unigram", 12, "{\"limit_alphabet\": 3}", text);

	for (uint32_t i = 5; i < te_json_path(json, "model.vocab")->n; i++)
	{
		TeStr		token = te_json_path(json, "model.vocab")->items[i].items[0].string;

		CHECK(token.len > 0 && memchr(token.data, 'x', token.len) == NULL);
	}
	json = learn_text(arena, "wordpiece", 30, "{\"limit_alphabet\": 2}", text);
	CHECK(te_json_path(json, "model.vocab")->items[5].key.data[0] == 'a');
	CHECK(te_json_path(json, "model.vocab")->n >= 9);
}

/* Too little memory is an error, and the next call works. */
TEST(keeps_to_its_memory)
{
	static const char *const kinds[] = {"wordpiece", "bpe", "unigram"};
	TeStr		texts = read_file(arena, FIXTURE "texts.txt");

	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
	{
		TeArena    *small = te_arena_create_root(NULL, "small", (size_t) 1 << 20, NULL);

		CHECK_THROWS(TE_ERR_LIMIT, learn(small, kinds[i], 600, NULL, texts, false));
		te_arena_destroy(small);
		CHECK(learn(arena, kinds[i], 600, NULL, texts, false) != NULL);
	}
}

/* The Nth allocation fails, or the Nth check is interrupted. */
static void
learn_little(void *arg)
{
	TeArena    *arena = te_arena_create_root(te_std_fault_owner(), "little", 0, NULL);

	learn_text(arena, arg, 300, "{\"special_tokens\": [\"<unk>\"]}", "a few words, and a few more words");
	te_arena_destroy(arena);
}

TEST(survives_faults)
{
	CHECK(te_std_fault_loop(learn_little, "wordpiece") > 0);
	CHECK(te_std_fault_loop(learn_little, "bpe") > 0);
	CHECK(te_std_fault_loop(learn_little, "unigram") > 0);
}

TEST_MAIN()
