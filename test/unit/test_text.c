/*-------------------------------------------------------------------------
 * test_text.c
 *	  Tokenizers against the reference library: ids, offsets, words, decoding.
 *
 * models/fixtures/tokenizers has small tokenizers of every kind with what the
 * reference makes of difficult texts (see make.py there).  Where the folder of
 * test data is there, real vocabularies are converted and compared too.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "file/file.h"
#include "text/text.h"

#define FIXTURES TE_TEST_MODELS "/fixtures/tokenizers/"

static const char *const names[] = {
	"bert", "bert_cased", "bert_accents", "gpt2", "roberta", "llama3", "o200k", "llama", "clip", "prefix",
	"unigram", "unigram_first", "wordlevel", "precompiled"
};

static TeStr
read_file(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);

	return te_source_whole(arena, &source, (size_t) 64 << 20);
}

static const TeJson *
read_json(TeArena *arena, const char *path)
{
	return te_json_parse(arena, read_file(arena, path), path);
}

static const TeTokenizer *
compile(TeArena *arena, const TeJson *json)
{
	TeBuffer	image;
	size_t		offset;

	te_buffer_init(&image, arena);
	offset = te_tokenizer_compile(arena, json, &image);
	CHECK(offset % 64 == 0);
	return te_tokenizer_attach(image.data + offset, image.len - offset);
}

static const TeTokenizer *
compile_text(TeArena *arena, const char *json)
{
	return compile(arena, te_json_parse(arena, te_str(json), "test"));
}

static const TeTokenizer *
fixture(TeArena *arena, const char *name)
{
	return compile(arena, read_json(arena, te_format(arena, FIXTURES "%s.json", name)));
}

/* A string member, also where it is empty; null gives {NULL, 0}. */
static TeStr
text_of(const TeJson *node, const char *key)
{
	const TeJson *text = te_json_get(node, key);

	return text != NULL ? (TeStr) {text->string.len > 0 ? text->string.data : "", text->string.len} : (TeStr) {NULL, 0};
}

static int64_t
number(const TeJson *list, size_t i)
{
	return list->items[i].integer;
}

/* One token against the i-th of a case; says what differs. */
static bool
same_token(const TeTokenizer *tokenizer, const TeToken *token, const TeJson *expected, size_t i)
{
	int64_t		word = number(te_json_get(expected, "words"), i);
	const TeJson *offsets = te_json_get(expected, "offsets");

	return token->id == number(te_json_get(expected, "ids"), i) &&
		token->type_id == number(te_json_get(expected, "types"), i) &&
		token->start == number(offsets, 2 * i) && token->stop == number(offsets, 2 * i + 1) &&
		(word < 0 ? token->word == UINT32_MAX && token->special : token->word == (uint32_t) word) &&
		te_str_eq(te_token_text(tokenizer, token->id), te_json_get(expected, "tokens")->items[i].string);
}

static bool
same_tokens(const TeTokenizer *tokenizer, const TeToken *tokens, size_t n, const TeJson *expected, const char *name)
{
	TeStr		text = te_json_get(expected, "text")->string;

	if (n != te_json_get(expected, "ids")->n)
	{
		fprintf(stderr, "  %s: \"%.*s\" has %zu tokens instead of %u\n", name, TE_STR_ARGS(text), n,
				te_json_get(expected, "ids")->n);
		return false;
	}
	for (size_t i = 0; i < n; i++)
	{
		if (same_token(tokenizer, &tokens[i], expected, i))
			continue;
		fprintf(stderr, "  %s: \"%.*s\": token %zu is %d type %d [%u, %u) word %u\n", name, TE_STR_ARGS(text), i,
				tokens[i].id, tokens[i].type_id, tokens[i].start, tokens[i].stop, tokens[i].word);
		return false;
	}
	return true;
}

static void
check_case(const TeTokenizer *tokenizer, TeArena *arena, const TeJson *expected, const char *name)
{
	TeStr		text = text_of(expected, "text");
	TeStr		pair = text_of(expected, "pair");
	size_t		n,
				n_untruncated,
				n_all;
	size_t		limit = (size_t) te_json_int(expected, "limit", 0);
	bool		special = te_json_bool(expected, "special", true);
	TeToken    *tokens = te_encode_alloc(tokenizer, arena, text, pair, special, limit, &n, &n_untruncated);
	int32_t    *ids = te_alloc(arena, n * sizeof(int32_t));

	CHECK(same_tokens(tokenizer, tokens, n, expected, name));
	te_encode_alloc(tokenizer, arena, text, pair, special, 0, &n_all, NULL);
	CHECK(n_untruncated == n_all);
	for (size_t i = 0; i < n; i++)
		ids[i] = tokens[i].id;
	CHECK(te_str_eq(te_decode(tokenizer, arena, ids, n, true), text_of(expected, "decoded")));
	CHECK(te_str_eq(te_decode(tokenizer, arena, ids, n, false), text_of(expected, "decoded_all")));
}

TEST(equals_the_reference)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const TeTokenizer *tokenizer = fixture(arena, names[i]);
		const TeJson *cases = read_json(arena, te_format(arena, FIXTURES "%s.expected.json", names[i]));

		for (uint32_t k = 0; k < cases->n; k++)
			check_case(tokenizer, arena, &cases->items[k], names[i]);
	}
}

TEST(ids_and_tokens_are_inverse)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const TeTokenizer *tokenizer = fixture(arena, names[i]);

		for (int32_t id = 0; id < te_vocab_size(tokenizer); id++)
		{
			TeStr		token = te_token_text(tokenizer, id);

			CHECK(token.data == NULL || te_token_id(tokenizer, token) == id);
		}
		CHECK(te_token_text(tokenizer, -1).data == NULL);
		CHECK(te_token_text(tokenizer, te_vocab_size(tokenizer)).data == NULL);
		CHECK(te_token_id(tokenizer, TE_STR("no such token")) == -1);
	}
}

/* ---- the scratch ---- */

/* From nothing, growing as te_encode() asks. */
static TeTextStatus
encode_growing(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, TeTextScratch *scratch)
{
	for (int i = 0; i < 40; i++)
	{
		TeTextStatus status = te_encode(tokenizer, text, (TeStr) {NULL, 0}, true, 0, scratch);

		if (status != TE_TEXT_MORE)
			return status;
		CHECK(scratch->wanted > scratch->bytes);
		*scratch = (TeTextScratch) {.memory = te_alloc(arena, scratch->wanted),.bytes = scratch->wanted};
	}
	return TE_TEXT_MORE;
}

TEST(asks_for_memory_that_it_needs)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const TeTokenizer *tokenizer = fixture(arena, names[i]);
		TeStr		text = TE_STR("Don't you think they'll say we've seen it all? 1,024 \xe4\xb8\xad\xe6\x96\x87");
		size_t		n;
		TeToken    *expected = te_encode_alloc(tokenizer, arena, text, (TeStr) {NULL, 0}, true, 0, &n, NULL);

		/* Every size: a step that overlooks the end of its memory writes beyond it */
		for (size_t bytes = 0; bytes < 40000; bytes += 61)
		{
			TeTextScratch scratch = {.memory = te_alloc(arena, bytes),.bytes = bytes};
			TeTextStatus status = te_encode(tokenizer, text, (TeStr) {NULL, 0}, true, 0, &scratch);

			CHECK(status == TE_TEXT_MORE || (status == TE_TEXT_OK && scratch.n_tokens == n &&
											 memcmp(scratch.tokens, expected, n * sizeof(TeToken)) == 0));
		}
	}
}

TEST(refuses_what_is_not_utf8)
{
	static const char *const bad[] = {"\x80", "a\xff", "\xc0\x80", "\xe4\xb8", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"};
	const TeTokenizer *tokenizer = fixture(arena, "bert");

	for (size_t i = 0; i < TE_LENGTH(bad); i++)
	{
		TeTextScratch scratch = {0};
		size_t		n;

		CHECK(encode_growing(tokenizer, arena, te_str(bad[i]), &scratch) == TE_TEXT_INVALID);
		CHECK_THROWS(TE_ERR_INVALID, te_encode_alloc(tokenizer, arena, te_str(bad[i]), (TeStr) {NULL, 0}, true, 0, &n, NULL));
	}
	CHECK_THROWS(TE_ERR_INVALID, te_decode(tokenizer, arena, (int32_t[]) {1000000}, 1, true));
	CHECK_THROWS(TE_ERR_INVALID, te_decode(tokenizer, arena, (int32_t[]) {-1}, 1, true));
}

/* In the gathering, the decoder and the joining alike. */
TEST(a_long_list_can_be_cancelled)
{
	const TeTokenizer *tokenizer = fixture(arena, "bert");
	size_t		n = 100000;
	int32_t    *ids = te_new_array(arena, int32_t, n);
	uint64_t	before;

	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t) (100 + i % 200);
	before = te_std_checks();
	te_decode(tokenizer, arena, ids, n, true);
	CHECK(te_std_checks() - before >= 3 * (n / 4096));
}

/* Long pieces: a step that is quadratic would take minutes. */
TEST(long_texts_are_linear)
{
	static const char *const parts[] = {"a", " ", "word", "\xcc\x81", "\xe4\xb8\xad", "'s", "1", "\n ", "a\xcc\x81\xcc\xa3", "[MASK]", "\xf0\x9f\x91\x8d"};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const TeTokenizer *tokenizer = fixture(arena, names[i]);

		for (size_t k = 0; k < TE_LENGTH(parts); k++)
		{
			TeArena    *work = te_arena_create(arena, "long");
			TeBuffer	text;
			TeTextScratch scratch = {0};

			te_buffer_init(&text, work);
			while (text.len < 100000)
				te_buffer_add_str(&text, parts[k]);
			CHECK(encode_growing(tokenizer, work, (TeStr) {text.data, text.len}, &scratch) == TE_TEXT_OK);
			te_arena_destroy(work);
		}
	}
}

/* ---- threads ---- */

typedef struct Shared
{
	const TeTokenizer *tokenizer;
	const TeJson *cases;
	TeTextScratch scratch[4];
	bool	   *same;
} Shared;

static void
encode_case(void *arg, size_t task, int worker)
{
	Shared	   *shared = arg;
	const TeJson *expected = &shared->cases->items[task];
	TeTextScratch *scratch = &shared->scratch[worker];
	TeTextStatus status = te_encode(shared->tokenizer, text_of(expected, "text"), text_of(expected, "pair"),
									te_json_bool(expected, "special", true), (size_t) te_json_int(expected, "limit", 0), scratch);

	shared->same[task] = status == TE_TEXT_OK &&
		same_tokens(shared->tokenizer, scratch->tokens, scratch->n_tokens, expected, "threads");
}

TEST(threads_share_a_tokenizer)
{
	te_std_set_workers(4);
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Shared		shared = {.tokenizer = fixture(arena, names[i])};

		shared.cases = read_json(arena, te_format(arena, FIXTURES "%s.expected.json", names[i]));
		shared.same = te_new_array(arena, bool, shared.cases->n);
		for (int k = 0; k < 4; k++)
			shared.scratch[k] = (TeTextScratch) {.memory = te_alloc(arena, 1 << 20),.bytes = 1 << 20};
		te_parallel_for(shared.cases->n, encode_case, &shared);
		for (uint32_t k = 0; k < shared.cases->n; k++)
			CHECK(shared.same[k]);
	}
	te_std_set_workers(1);
}

/* ---- what is wrong with a file ---- */

#define MODEL "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"vocab\": {\"[UNK]\": 0, \"a\": 1, \"##b\": 2}}"

TEST(names_what_is_wrong)
{
	static const char *const bad[][2] = {
		{"{}", "model"},
		{"{\"model\": 5}", "model"},
		{"{\"model\": {\"type\": \"Markov\", \"vocab\": {}}}", "Markov"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "\"a\""},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}", "out of proportion"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]}}", "merge 0"},
		{"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "merge 0"},
		{"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", \"b\"]]}}", "no score"},
		{"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 1]], \"unk_id\": 7}}", "unk_id"},
		{"{\"normalizer\": {\"type\": \"Rot13\"}, " MODEL "}", "Rot13"},
		{"{\"normalizer\": {\"type\": \"Sequence\"}, " MODEL "}", "Sequence"},
		{"{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"!\"}, " MODEL "}", "base64"},
		{"{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"/////w==\"}, " MODEL "}", "precompiled_charsmap"},
		{"{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {}, \"content\": \"\"}, " MODEL "}", "pattern"},
		{"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}, " MODEL "}", "pattern"},
		{"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Often\"}, " MODEL "}", "Often"},
		{"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"prepend_scheme\": \"last\"}, " MODEL "}", "last"},
		{"{\"pre_tokenizer\": {\"type\": \"CharDelimiterSplit\", \"delimiter\": \"ab\"}, " MODEL "}", "delimiter"},
		{"{\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": 5}, " MODEL "}", "cls"},
		{"{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"B\"}}], \"pair\": []}, " MODEL "}", "part 0"},
		{"{\"decoder\": {\"type\": \"Encoder\"}, " MODEL "}", "Encoder"},
	};

	for (size_t i = 0; i < TE_LENGTH(bad); i++)
	{
		volatile bool thrown = false;

		TE_TRY
		{
			compile_text(arena, bad[i][0]);
		}
		TE_CATCH
		{
			thrown = strstr(te_std_error()->message, bad[i][1]) != NULL &&
				(te_std_error()->code == TE_ERR_CORRUPT || te_std_error()->code == TE_ERR_UNSUPPORTED);
		}
		TE_END_TRY;
		if (!CHECK(thrown))
			fprintf(stderr, "  %s\n", bad[i][0]);
	}
}

TEST(unknown_words_without_a_token)
{
	const TeTokenizer *tokenizer = compile_text(arena, "{\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": {\"a\": 0}}}");
	TeTextScratch scratch = {0};
	size_t		n;

	CHECK(encode_growing(tokenizer, arena, TE_STR("a"), &scratch) == TE_TEXT_OK && scratch.n_tokens == 1);
	CHECK(encode_growing(tokenizer, arena, TE_STR("b"), &scratch) == TE_TEXT_NO_TOKEN);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "vocabulary", te_encode_alloc(tokenizer, arena, TE_STR("b"), (TeStr) {NULL, 0}, true, 0, &n, NULL));
}

TEST(a_pattern_cannot_run_away)
{
	const TeTokenizer *tokenizer = compile_text(arena, "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": "
												"\"(?:a|aa|aaa)+$(?<=b)\"}, \"behavior\": \"Isolated\"}, " MODEL "}");
	TeTextScratch scratch = {0};
	char		text[200];

	memset(text, 'a', sizeof(text));
	CHECK(encode_growing(tokenizer, arena, (TeStr) {text, sizeof(text)}, &scratch) == TE_TEXT_LIMIT);
}

TEST(damaged_images_are_refused)
{
	const TeTokenizer *tokenizer = fixture(arena, "bert");
	char	   *copy = te_alloc(arena, 4096);

	memcpy(copy, tokenizer, 4096);
	CHECK_THROWS(TE_ERR_CORRUPT, te_tokenizer_attach(copy, 4096));
	CHECK_THROWS(TE_ERR_CORRUPT, te_tokenizer_attach(copy, 8));
	copy[0] ^= 1;
	CHECK_THROWS(TE_ERR_CORRUPT, te_tokenizer_attach(copy, 4096));
}

/* ---- conversions ---- */

/* Ids of a text, without special tokens, against a list. */
static bool
same_ids_around(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, bool special, const int64_t *ids, size_t n_ids)
{
	size_t		n;
	TeToken    *tokens = te_encode_alloc(tokenizer, arena, text, (TeStr) {NULL, 0}, special, 0, &n, NULL);
	bool		same = n == n_ids;

	for (size_t i = 0; same && i < n; i++)
		same = tokens[i].id == ids[i];
	if (!same)
		fprintf(stderr, "  \"%.*s\" has other ids\n", TE_STR_ARGS(text));
	return same;
}

static bool
same_ids(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, const int64_t *ids, size_t n_ids)
{
	return same_ids_around(tokenizer, arena, text, false, ids, n_ids);
}

/* DeBERTa's file as transformers reads it, with and without the options of tokenizer_config.json. */
TEST(deberta_reads_sentencepiece_in_its_own_way)
{
	static const char *const keys[] = {"ids", "other"};
	TeStr		bytes = read_file(arena, FIXTURES "spm_deberta.model");
	const TeJson *cases = read_json(arena, FIXTURES "spm_deberta.spm.json");
	const TeJson *config = te_json_parse(arena, TE_STR("{\"do_lower_case\":true,\"split_by_punct\":true}"), "config");

	for (size_t i = 0; i < TE_LENGTH(keys); i++)
	{
		const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_spm(arena, bytes, i == 0 ? NULL : config, TE_STR("deberta-v2")));

		for (uint32_t k = 0; k < cases->n; k++)
		{
			const TeJson *ids = te_json_get(&cases->items[k], keys[i]);
			int64_t    *list = te_new_array(arena, int64_t, ids->n);

			for (uint32_t j = 0; j < ids->n; j++)
				list[j] = number(ids, j);
			CHECK(same_ids_around(tokenizer, arena, text_of(&cases->items[k], "text"), true, list, ids->n));
		}
	}
}

TEST(sentencepiece_models)
{
	static const char *const models[] = {"spm_unigram", "spm_bpe"};

	for (size_t i = 0; i < TE_LENGTH(models); i++)
	{
		TeStr		bytes = read_file(arena, te_format(arena, FIXTURES "%s.model", models[i]));
		const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_spm(arena, bytes, NULL, TE_STR("")));
		const TeJson *cases = read_json(arena, te_format(arena, FIXTURES "%s.spm.json", models[i]));

		for (uint32_t k = 0; k < cases->n; k++)
		{
			const TeJson *ids = te_json_get(&cases->items[k], "ids");
			int64_t    *list = te_new_array(arena, int64_t, ids->n);

			for (uint32_t j = 0; j < ids->n; j++)
				list[j] = number(ids, j);
			CHECK(same_ids(tokenizer, arena, text_of(&cases->items[k], "text"), list, ids->n));
		}
		/* Each shorter file is malformed or has fewer pieces: an error or a tokenizer, nothing else */
		for (size_t len = 0; len < bytes.len; len += 97)
		{
			TE_TRY
			{
				te_tokenizer_from_spm(arena, (TeStr) {bytes.data, len}, NULL, TE_STR(""));
			}
			TE_CATCH
			{
				CHECK(te_std_error()->code == TE_ERR_CORRUPT);
			}
			TE_END_TRY;
		}
	}
}

/* Do two tokenizers give the same ids for the texts of the fixtures? */
static bool
same_on_fixtures(TeArena *arena, const TeTokenizer *a, const TeTokenizer *b, bool special)
{
	const TeJson *cases = read_json(arena, FIXTURES "bert.expected.json");
	bool		same = true;

	for (uint32_t i = 0; i < cases->n; i++)
	{
		TeStr		text = text_of(&cases->items[i], "text");
		size_t		n,
					m;
		TeToken    *x,
				   *y;
		bool		same_here;

		/* Special tokens in the text are another matter */
		if (memchr(text.data, '<', text.len) != NULL || memchr(text.data, '[', text.len) != NULL)
			continue;
		x = te_encode_alloc(a, arena, text, (TeStr) {NULL, 0}, special, 0, &n, NULL);
		y = te_encode_alloc(b, arena, text, (TeStr) {NULL, 0}, special, 0, &m, NULL);
		same_here = n == m;
		for (size_t k = 0; same_here && k < n; k++)
			same_here = x[k].id == y[k].id;
		if (!same_here)
			fprintf(stderr, "  \"%.*s\" differs\n", TE_STR_ARGS(text));
		same = same && same_here;
	}
	return same;
}

static bool
survives_gguf(TeArena *arena, const TeJson *json)
{
	TeJson	   *meta = te_json_new_object(arena);

	te_tokenizer_to_gguf(arena, json, meta);
	return same_on_fixtures(arena, compile(arena, json), compile(arena, te_tokenizer_from_gguf(arena, meta)), true);
}

TEST(gguf_keys_keep_a_tokenizer)
{
	static const char *const kept[] = {"bert", "bert_cased", "gpt2", "llama3"};
	TeStr		spm_bpe = read_file(arena, FIXTURES "spm_bpe.model");
	TeStr		spm = read_file(arena, FIXTURES "spm_unigram.model");
	TeJson	   *meta = te_json_new_object(arena);

	for (size_t i = 0; i < TE_LENGTH(kept); i++)
		if (!CHECK(survives_gguf(arena, read_json(arena, te_format(arena, FIXTURES "%s.json", kept[i])))))
			fprintf(stderr, "  %s\n", kept[i]);
	CHECK(survives_gguf(arena, te_tokenizer_from_spm(arena, spm, NULL, TE_STR("t5"))));
	CHECK(survives_gguf(arena, te_tokenizer_from_spm(arena, spm_bpe, NULL, TE_STR("llama"))));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "merges", te_tokenizer_to_gguf(arena, read_json(arena, FIXTURES "llama.json"), meta));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "WordLevel", te_tokenizer_to_gguf(arena, read_json(arena, FIXTURES "wordlevel.json"), meta));
	te_tokenizer_to_gguf(arena, read_json(arena, FIXTURES "unigram.json"), meta);
	CHECK(strstr(te_std_last_report(), "NFKC") != NULL);
	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.model"), TE_STR("morse"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "morse", te_tokenizer_from_gguf(arena, meta));
}

/* The vocabulary of a tokenizer.json as the lines of a vocab.txt. */
static TeStr
vocab_txt(TeArena *arena, const TeTokenizer *tokenizer)
{
	TeBuffer	text;

	te_buffer_init(&text, arena);
	for (int32_t id = 0; id < te_vocab_size(tokenizer); id++)
	{
		TeStr		token = te_token_text(tokenizer, id);

		te_buffer_add(&text, token.data, token.len);
		te_buffer_add_str(&text, "\n");
	}
	return (TeStr) {text.data, text.len};
}

TEST(vocab_txt_is_a_bert_tokenizer)
{
	const TeTokenizer *uncased = fixture(arena, "bert");
	const TeTokenizer *cased = fixture(arena, "bert_cased");
	const TeJson *config = te_json_parse(arena, TE_STR("{\"do_lower_case\": false}"), "config");

	CHECK(same_on_fixtures(arena, uncased, compile(arena, te_tokenizer_from_vocab_txt(arena, vocab_txt(arena, uncased), NULL)), true));
	CHECK(same_on_fixtures(arena, cased, compile(arena, te_tokenizer_from_vocab_txt(arena, vocab_txt(arena, cased), config)), true));
	CHECK_THROWS(TE_ERR_CORRUPT, te_tokenizer_from_vocab_txt(arena, TE_STR("\xff"), NULL));
}

TEST(vocab_json_and_merges_are_gpt2_or_roberta)
{
	const TeJson *gpt2 = read_json(arena, FIXTURES "gpt2.json");
	const TeJson *merges = te_json_path(gpt2, "model.merges");
	TeBuffer	text;

	te_buffer_init(&text, arena);
	te_buffer_add_str(&text, "#version: 0.2\n");
	for (uint32_t i = 0; i < merges->n; i++)
		te_buffer_add_str(&text, te_format(arena, "%.*s %.*s\n", (int) merges->items[i].items[0].string.len, merges->items[i].items[0].string.data,
										   (int) merges->items[i].items[1].string.len, merges->items[i].items[1].string.data));
	CHECK(same_on_fixtures(arena, compile(arena, gpt2),
						   compile(arena, te_tokenizer_from_bpe(arena, te_json_path(gpt2, "model.vocab"), (TeStr) {text.data, text.len},
																NULL, TE_STR("gpt2"))), true));
}

/* One token against id, type and offsets. */
static bool
is_token(const TeToken *token, int32_t id, int32_t type, uint32_t start, uint32_t stop)
{
	if (token->id == id && token->type_id == type && token->start == start && token->stop == stop)
		return true;
	fprintf(stderr, "  token is %d type %d [%u, %u)\n", token->id, token->type_id, token->start, token->stop);
	return false;
}

/* All types are 0, two separators are between the texts, and offsets are trimmed, but not by letters that look like byte-level spaces. */
TEST(mpnet_puts_texts_together_as_roberta)
{
	const TeJson *config = te_json_parse(arena, TE_STR("{\"tokenizer_class\": \"MPNetTokenizer\", \"mask_token\": \"[MASK]\"}"), "config");
	const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_vocab_txt(arena, TE_STR("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"), config));
	size_t		n;
	TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("a [MASK]"), TE_STR("\xc4\xa0 a"), true, 0, &n, NULL);

	if (!CHECK(n == 8))
		return;
	CHECK(is_token(&tokens[1], 5, 0, 0, 1) && is_token(&tokens[2], 4, 0, 2, 8));
	CHECK(tokens[3].id == 3 && tokens[4].id == 3 && tokens[3].special && tokens[4].special);
	CHECK(is_token(&tokens[5], 1, 0, 0, 2) && is_token(&tokens[6], 5, 0, 3, 4) && tokens[7].type_id == 0);
}

/* To Unigram an unknown token is its text, of which white space is trimmed. */
TEST(unknown_text_is_trimmed)
{
	const TeTokenizer *tokenizer = compile_text(arena, "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0.0], [\"a\", -1.0]]}, "
												"\"post_processor\": {\"type\": \"ByteLevel\"}, "
												"\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true}]}");
	size_t		n;
	TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("a\n\n\nb "), (TeStr) {NULL, 0}, true, 0, &n, NULL);

	CHECK(n == 2 && is_token(&tokens[1], 0, 0, 4, 5));
}

/* Whether a mark is put before what follows a special token. */
TEST(llama_without_legacy_begins_once)
{
	static const char *const configs[] = {"{}", "{\"legacy\": false}"};

	for (size_t i = 0; i < TE_LENGTH(configs); i++)
	{
		const TeJson *config = te_json_parse(arena, te_str(configs[i]), "config");
		const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_spm(arena, read_file(arena, FIXTURES "spm_bpe.model"), config, TE_STR("llama")));
		size_t		n;
		TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("a</s>a b"), (TeStr) {NULL, 0}, false, 0, &n, NULL);
		bool		marked = false;

		CHECK(n > 3 && te_str_starts(te_token_text(tokenizer, tokens[0].id), "\xe2\x96\x81"));
		for (size_t k = 1; k < n; k++)
			if (tokens[k].start == 5 && tokens[k - 1].start < 5)
				marked = te_str_starts(te_token_text(tokenizer, tokens[k].id), "\xe2\x96\x81");
		CHECK(marked == (i == 0));
	}
}

/* Special tokens take the spaces behind them, but for those that a text begins behind. */
TEST(gguf_phi3_strips_behind_special_tokens)
{
	static const char *const names[] = {"Phi-3", "other"};
	static const int32_t ids[2][5] = {{1, 4, 3, 2, 3}, {1, 4, 3, 2, 4}};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const char *text = te_format(arena, "{\"general.name\": \"My %s\", \"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": "
									 "[\"<unk>\", \"<s>\", \"<|end|>\", \"\u2581a\", \"\u2581\", \"a\"], "
									 "\"tokenizer.ggml.scores\": [0, 0, 0, -1, -2, -3], \"tokenizer.ggml.token_type\": [2, 3, 3, 1, 1, 1]}", names[i]);
		const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_gguf(arena, te_json_parse(arena, te_str(text), "meta")));
		size_t		n;
		TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("<s> a<|end|> a"), (TeStr) {NULL, 0}, false, 0, &n, NULL);

		CHECK(n == 5 + i);
		for (size_t k = 0; k < TE_MIN(n, 5); k++)
			CHECK(tokens[k].id == ids[i][k]);
	}
}

/* Two paths of the same three tokens: how numbers are read decides. */
TEST(equal_paths_end_as_in_the_reference)
{
	static const int64_t ids[] = {2, 2, 1};
	const TeTokenizer *tokenizer = compile_text(arena, "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": "
												"[[\"<unk>\", 0.0], [\"-\", -5.721275066232536], [\"---\", -12.929265894618123]]}}");

	CHECK(same_ids(tokenizer, arena, TE_STR("-------"), ids, TE_LENGTH(ids)));
}

/* ---- errors in the middle ---- */

static void
compile_and_encode(void *arg)
{
	TeArena    *arena = te_arena_create_root(te_std_fault_owner(), "fault", 0, NULL);
	const TeTokenizer *tokenizer = fixture(arena, arg);
	size_t		n;

	te_encode_alloc(tokenizer, arena, TE_STR("Rain fell on the tin roof"), (TeStr) {NULL, 0}, true, 0, &n, NULL);
}

TEST(survives_failing_allocations)
{
	CHECK(te_std_fault_loop(compile_and_encode, "wordlevel") >= 0);
	CHECK(te_std_fault_loop(compile_and_encode, "o200k") >= 0);
}

/* ---- real vocabularies, where they are ---- */

static const TeJson *
data_json(TeArena *arena, const char *path)
{
	const char *full = te_test_data(path);

	return full != NULL ? read_json(arena, full) : NULL;
}

static TeStr
data_file(TeArena *arena, const char *path)
{
	const char *full = te_test_data(path);

	return full != NULL ? read_file(arena, full) : (TeStr) {NULL, 0};
}

/* <name>.gguf.inp has texts, .out a line of ids for each. */
static void
check_gguf(TeArena *arena, const char *name)
{
	const char *mark = "\n__ggml_vocab_test__\n";
	TeSource	source = te_std_file(arena, te_test_data(te_format(arena, "vocab-gguf/ggml-vocab-%s.gguf", name)));
	const char *text = te_cstring(arena, data_file(arena, te_format(arena, "vocab-gguf/ggml-vocab-%s.gguf.inp", name)));
	const char *out = te_cstring(arena, data_file(arena, te_format(arena, "vocab-gguf/ggml-vocab-%s.gguf.out", name)));
	TeModelFile file;
	const TeTokenizer *tokenizer;

	te_gguf_read(arena, &source, &file);
	tokenizer = compile(arena, te_tokenizer_from_gguf(arena, file.meta));
	while (text != NULL)
	{
		const char *end = strstr(text, mark);
		int64_t		ids[256];
		size_t		n = 0;

		while (*out == ' ')
		{
			char	   *next;

			ids[n++] = strtol(out, &next, 10);
			out = next;
			/* A blank at the end of the line is no number */
			while (*out == ' ' && (out[1] < '0' || out[1] > '9'))
				out++;
		}
		out += *out == '\n';
		CHECK(same_ids(tokenizer, arena, (TeStr) {text, end != NULL ? (size_t) (end - text) : strlen(text)}, ids, n));
		text = end != NULL ? end + strlen(mark) : NULL;
	}
}

/* GGUF's keys of the vocabulary of fixtures/splits, whose merges run over every cut. */
static const TeJson *
splits_meta(TeArena *arena, const TeJson *splits, const char *pre)
{
	TeJson	   *meta = te_json_new_object(arena);

	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.model"), TE_STR("gpt2"));
	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.pre"), te_str(pre));
	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.add_bos_token"), false);
	te_json_set_copy(arena, te_json_add(arena, meta, "tokenizer.ggml.tokens"), te_json_get(splits, "tokens"));
	te_json_set_copy(arena, te_json_add(arena, meta, "tokenizer.ggml.merges"), te_json_get(splits, "merges"));
	return meta;
}

TEST(texts_are_cut_as_gguf_files_say)
{
	const TeJson *splits = read_json(arena, TE_TEST_MODELS "/fixtures/splits/expected.json");
	const TeJson *texts = te_json_get(splits, "texts");
	const TeJson *names = te_json_get(splits, "ids");

	CHECK(names->n >= 20);
	for (uint32_t i = 0; i < names->n; i++)
	{
		const char *name = te_cstring(arena, names->items[i].key);
		const TeTokenizer *tokenizer = compile(arena, te_tokenizer_from_gguf(arena, splits_meta(arena, splits, name)));

		for (uint32_t t = 0; t < texts->n; t++)
		{
			const TeJson *expected = &names->items[i].items[t];
			int64_t    *ids = te_new_array(arena, int64_t, expected->n);

			for (uint32_t k = 0; k < expected->n; k++)
				ids[k] = expected->items[k].integer;
			if (!CHECK(same_ids(tokenizer, arena, texts->items[t].string, ids, expected->n)))
				fprintf(stderr, "  %s, text %u\n", name, t);
		}
	}
}

TEST(vocabularies_of_gguf_files)
{
	static const char *const files[] = {"bert-bge", "gpt-2", "llama-spm", "phi-3", "falcon", "mpt", "starcoder"};

	if (te_test_data("vocab-gguf/ggml-vocab-bert-bge.gguf") == NULL)
		SKIP("no test data");
	for (size_t i = 0; i < TE_LENGTH(files); i++)
		check_gguf(arena, files[i]);
}

TEST(real_tokenizers)
{
	const TeJson *minilm = data_json(arena, "tokenizers/all-MiniLM-L6-v2/tokenizer.json");
	const TeJson *roberta = data_json(arena, "tokenizers/roberta-base/tokenizer.json");
	TeStr		empty = TE_STR("{}");
	const TeJson *config = te_json_parse(arena, empty, "config");
	TeSource	source;
	TeModelFile file;

	if (minilm == NULL)
		SKIP("no test data");
	CHECK(same_on_fixtures(arena, compile(arena, minilm),
						   compile(arena, te_tokenizer_from_vocab_txt(arena, data_file(arena, "tokenizers/bert-uncased/vocab.txt"), NULL)), true));
	CHECK(same_on_fixtures(arena, compile(arena, roberta),
						   compile(arena, te_tokenizer_from_bpe(arena, data_json(arena, "tokenizers/roberta-base/vocab.json"),
																data_file(arena, "tokenizers/roberta-base/merges.txt"), config, TE_STR("roberta"))), true));
	source = te_std_file(arena, te_test_data("vocab-gguf/ggml-vocab-llama-spm.gguf"));
	te_gguf_read(arena, &source, &file);
	CHECK(same_on_fixtures(arena, compile(arena, te_tokenizer_from_gguf(arena, file.meta)),
						   compile(arena, te_tokenizer_from_spm(arena, data_file(arena, "tokenizers/llama2/tokenizer.model"), config, TE_STR("llama"))), true));
	CHECK(te_vocab_size(compile(arena, data_json(arena, "tokenizers/llama2/tokenizer.json"))) == 32000);
	CHECK(te_vocab_size(compile(arena, data_json(arena, "tokenizers/t5-small/tokenizer.json"))) == 32100);
	CHECK(te_vocab_size(compile(arena, te_tokenizer_from_spm(arena, data_file(arena, "tokenizers/albert/30k-clean.model"), config, TE_STR("albert")))) == 30000);
	CHECK(te_vocab_size(compile(arena, te_tokenizer_from_vocab_txt(arena, data_file(arena, "tokenizers/bert-base-chinese/vocab.txt"), NULL))) == 21128);
}

TEST_MAIN()
