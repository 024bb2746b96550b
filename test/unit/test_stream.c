/*-------------------------------------------------------------------------
 * test_stream.c
 *	  Text from ids one at a time, against all of them at once (which test_text.c compares with the reference).
 *
 * Every tokenizer of models/fixtures, the real ones where the folder of test data is there, and decoders that no model
 * has but a file may.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "base/random.h"
#include "file/file.h"
#include "text/stream.h"

#define MOST 96					/* ids of a text */

static const TeTokenizer *
compile(TeArena *arena, const TeJson *json)
{
	TeBuffer	image;
	size_t		offset;

	te_buffer_init(&image, arena);
	offset = te_tokenizer_compile(arena, json, &image);
	return te_tokenizer_attach(image.data + offset, image.len - offset);
}

/* The ids as a stream gives them; from id `branch` on, by a copy of it, while the first one goes another way. */
static TeStr
streamed(TeArena *arena, const TeTokenizer *tokenizer, const int32_t *ids, size_t n, size_t branch)
{
	TeTextStream *stream = te_text_stream_create(arena, tokenizer);
	TeBuffer	all;
	TeStr		piece;

	te_buffer_init(&all, arena);
	for (size_t i = 0; i < n; i++)
	{
		if (i == branch)
		{
			TeTextStream *copy = te_text_stream_copy(arena, stream);

			for (size_t k = 0; k < i; k++)
				te_text_stream_add(stream, ids[k]);
			te_text_stream_end(stream);
			stream = copy;
		}
		piece = te_text_stream_add(stream, ids[i]);
		CHECK(te_utf8_valid(piece));
		te_buffer_add(&all, piece.data, piece.len);
	}
	piece = te_text_stream_end(stream);
	CHECK(te_utf8_valid(piece));
	te_buffer_add(&all, piece.data, piece.len);
	return (TeStr) {all.data, all.len};
}

static void
check_ids(TeArena *arena, const TeTokenizer *tokenizer, const int32_t *ids, size_t n, const char *name)
{
	TeArena    *work = te_arena_create(arena, "case");
	TeStr		expected = te_decode(tokenizer, work, ids, n, true);
	TeStr		actual = streamed(work, tokenizer, ids, n, n / 2);

	if (!CHECK(te_str_eq(actual, expected)))
		fprintf(stderr, "  %s: \"%.*s\" instead of \"%.*s\"\n", name, TE_STR_ARGS(actual), TE_STR_ARGS(expected));
	te_arena_destroy(work);
}

static void
check_text(TeArena *arena, const TeTokenizer *tokenizer, TeStr text, const char *name)
{
	TeArena    *work = te_arena_create(arena, "text");
	size_t		n;
	TeToken    *tokens = te_encode_alloc(tokenizer, work, text, (TeStr) {NULL, 0}, true, 0, &n, NULL);
	int32_t    *ids = te_new_array(work, int32_t, n);

	for (size_t i = 0; i < n; i++)
		ids[i] = tokens[i].id;
	check_ids(work, tokenizer, ids, n, name);
	te_arena_destroy(work);
}

/* Random ids, then more of the first ones, where bytes are in most vocabularies; then a few in repetition. */
static void
check_random(TeArena *arena, const TeTokenizer *tokenizer, int rounds, const char *name)
{
	uint64_t	size = (uint64_t) te_vocab_size(tokenizer);
	int32_t		ids[MOST];

	for (int round = 0; round < rounds; round++)
	{
		uint64_t	stream = te_random_stream(7, (uint64_t) round);
		uint64_t	most = round % 3 == 0 ? size : round % 3 == 1 ? TE_MIN(size, 270) : TE_MIN(size, 12);
		size_t		n = te_random_below(stream, MOST, MOST + 1);

		for (size_t i = 0; i < n; i++)
			ids[i] = (int32_t) te_random_below(stream, i, i % 7 == 6 ? size : most);
		check_ids(arena, tokenizer, ids, n, name);
	}
}

static const char *const texts[] = {
	"", " ", "  two  spaces ", "Hello, world! Don't you think it's all well?",
	"\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c", "na\xc3\xafve \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 caf\xc3\xa9\n\n\ttab",
	"<0x41> \xe2\x96\x81marks\xe2\x96\x81 ##ing </w> | [MASK] <s>", "\xef\xbf\xbd\xef\xbf\xbd", "a.b , c ? d ! it 's"
};

static void
check_tokenizer(TeArena *arena, const TeTokenizer *tokenizer, int rounds, const char *name)
{
	for (size_t i = 0; i < TE_LENGTH(texts); i++)
		check_text(arena, tokenizer, te_str(texts[i]), name);
	check_random(arena, tokenizer, rounds, name);
}

TEST(tokenizers_of_fixtures)
{
	TeFolder	folder = te_std_folder(arena, TE_TEST_MODELS "/fixtures");
	int			found = 0;

	for (int i = 0; i < folder.n_files; i++)
	{
		const TeSource *file = &folder.files[i];
		TeArena    *work = te_arena_create(arena, file->name);
		bool		json = te_str_ends(te_str(file->name), "/tokenizer.json") ||
			(te_str_starts(te_str(file->name), "tokenizers/") && te_str_ends(te_str(file->name), ".json"));
		const TeJson *tokenizer = json ? te_json_parse(work, te_source_whole(work, file, 64 << 20), file->name) : NULL;

		/* beside tokenizers that folder has what the reference makes of texts */
		if (te_json_get(tokenizer, "model") != NULL)
		{
			found++;
			check_tokenizer(work, compile(work, tokenizer), 60, file->name);
		}
		te_arena_destroy(work);
	}
	CHECK(found >= 40);
}

TEST(real_tokenizers)
{
	static const char *const files[] = {"all-MiniLM-L6-v2", "bert-uncased", "t5-small", "llama2", "roberta-base"};
	static const char *const ggufs[] = {"phi-3", "starcoder", "gpt-2", "mpt", "falcon", "llama-spm", "bert-bge"};

	if (te_test_data("tokenizers") == NULL)
		SKIP("no test data");
	for (size_t i = 0; i < TE_LENGTH(files) + TE_LENGTH(ggufs); i++)
	{
		TeArena    *work = te_arena_create(arena, "tokenizer");
		bool		gguf = i >= TE_LENGTH(files);
		const char *name = gguf ? ggufs[i - TE_LENGTH(files)] : files[i];
		TeSource	file = te_std_file(work, te_test_data(te_format(work, gguf ? "vocab-gguf/ggml-vocab-%s.gguf" :
																	"tokenizers/%s/tokenizer.json", name)));
		TeModelFile model;

		if (gguf)
			te_gguf_read(work, &file, &model);
		check_tokenizer(work, compile(work, gguf ? te_tokenizer_from_gguf(work, model.meta) :
									  te_json_parse(work, te_source_whole(work, &file, 64 << 20), name)), 300, name);
		te_arena_destroy(work);
	}
}

/* ---- decoders as a file may have them, one behind another ---- */

#define SPACE "{\"type\": \"Replace\", \"pattern\": {\"String\": \"_\"}, \"content\": \" \"}"
#define BYTES "{\"type\": \"ByteFallback\"}"
#define FUSE "{\"type\": \"Fuse\"}"
#define STRIP(start, stop) "{\"type\": \"Strip\", \"content\": \" \", \"start\": " #start ", \"stop\": " #stop "}"
#define STRING(from, to) "{\"type\": \"Replace\", \"pattern\": {\"String\": \"" from "\"}, \"content\": \"" to "\"}"
#define REGEX(from, to) "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"" from "\"}, \"content\": \"" to "\"}"
#define WORDS "{\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}"
#define CTC "{\"type\": \"CTC\", \"pad_token\": \"a\", \"word_delimiter_token\": \"_\", \"cleanup\": true}"
#define BPE "{\"type\": \"BPEDecoder\", \"suffix\": \"b\"}"
#define LEVEL "{\"type\": \"ByteLevel\"}"
#define META(scheme) "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"" scheme "\"}"

static const char *const decoders[] = {
	"null", SPACE ", " BYTES ", " FUSE ", " STRIP(1, 0), SPACE ", " FUSE ", " STRIP(0, 2), SPACE ", " FUSE ", " STRIP(2, 3) ", " STRIP(1, 1),
	STRIP(1, 1), FUSE ", " STRING("ab", "b"), FUSE ", " STRING("aab", "x") ", " STRING("xx", ""), FUSE ", " REGEX("a+b", "(\xe4\xbd\xa0)"),
	REGEX("a", "bb"), FUSE ", " STRING("", "x"), WORDS, CTC, CTC ", " WORDS, BPE, FUSE ", " WORDS, FUSE ", " CTC, FUSE ", " BPE,
	FUSE ", " BYTES ", " STRIP(1, 1), FUSE ", " FUSE, LEVEL, LEVEL ", " STRIP(1, 1), LEVEL ", " LEVEL, LEVEL ", " META("always"), META("always"),
	META("never"), BYTES ", " META("first") ", " BPE, "", BYTES ", " BYTES, BPE ", " BPE ", " CTC, FUSE ", " REGEX("b$", "") ", " STRIP(0, 1)
};

/* Few tokens, so that they meet often. */
static const char *
tokenizer_with(TeArena *arena, const char *decoder)
{
	bool		none = strcmp(decoder, "null") == 0;

	return te_format(arena, "{\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"a\", \"vocab\": {"
					 "\"a\": 0, \"b\": 1, \"_\": 2, \"_a\": 3, \"aab\": 4, \"<0xE4>\": 5, \"<0xBD>\": 6, \"<0xA0>\": 7, \"##b\": 8, "
					 "\"\xc3\xa4\": 9, \"\xc4\xa0\": 10, \"\xc3\xaf\": 11, \"__\": 12, \"\xc2\xbb\": 13, \"\xc2\xbf\": 14, \"'s\": 15, \" \": 16}}, "
					 "\"added_tokens\": [{\"id\": 17, \"content\": \"<s>\", \"special\": true}, {\"id\": 18, \"content\": \" b \", \"special\": false}], "
					 "\"decoder\": %s%s%s}",
					 none ? "null" : "{\"type\": \"Sequence\", \"decoders\": [", none ? "" : decoder, none ? "" : "]}");
}

TEST(any_row_of_decoders)
{
	for (size_t i = 0; i < TE_LENGTH(decoders); i++)
	{
		TeArena    *work = te_arena_create(arena, "decoder");
		const TeTokenizer *tokenizer = compile(work, te_json_parse(work, te_str(tokenizer_with(work, decoders[i])), decoders[i]));

		check_random(work, tokenizer, 600, decoders[i]);
		te_arena_destroy(work);
	}
}

/* ---- what a stream gives when ---- */

TEST(gives_a_character_when_it_is_whole)
{
	const TeTokenizer *tokenizer = compile(arena, te_json_parse(arena, te_str(tokenizer_with(arena, LEVEL)), "bytes"));
	TeTextStream *stream = te_text_stream_create(arena, tokenizer);

	CHECK_STR(te_text_stream_add(stream, 0), "a");
	CHECK_STR(te_text_stream_add(stream, 17), "");
	CHECK_STR(te_text_stream_add(stream, 11), "");	/* EF BB BF, a byte a token */
	CHECK_STR(te_text_stream_add(stream, 13), "");
	CHECK_STR(te_text_stream_add(stream, 14), "\xef\xbb\xbf");
	CHECK_STR(te_text_stream_add(stream, 11), "");
	CHECK_STR(te_text_stream_add(stream, 1), "\xef\xbf\xbd" "b");
	CHECK_STR(te_text_stream_add(stream, 11), "");
	CHECK_STR(te_text_stream_end(stream), "\xef\xbf\xbd");
	CHECK_THROWS(TE_ERR_INVALID, te_text_stream_add(stream, 19));
	CHECK_THROWS(TE_ERR_INVALID, te_text_stream_add(stream, -1));
}

TEST(gives_bytes_when_their_run_ends)
{
	const TeTokenizer *tokenizer = compile(arena, te_json_parse(arena, te_str(tokenizer_with(arena, SPACE ", " BYTES ", " FUSE ", " STRIP(1, 0))), "bytes"));
	TeTextStream *stream = te_text_stream_create(arena, tokenizer);

	CHECK_STR(te_text_stream_add(stream, 3), "a");
	CHECK_STR(te_text_stream_add(stream, 3), " a");
	CHECK_STR(te_text_stream_add(stream, 5), "");
	CHECK_STR(te_text_stream_add(stream, 6), "");
	CHECK_STR(te_text_stream_add(stream, 7), "");
	CHECK_STR(te_text_stream_add(stream, 1), "\xe4\xbd\xa0" "b");
	CHECK_STR(te_text_stream_add(stream, 5), "");
	CHECK_STR(te_text_stream_end(stream), "\xef\xbf\xbd");
}

/* Nothing is kept of a token that has been given out. */
/* What a text goes on with is what the whole is, without what was there. */
TEST(goes_on_after_a_text)
{
	static const char *const files[] = {"llama.json", "bert.json", "gpt2.json", "unigram.json"};
	TeFolder	folder = te_std_folder(arena, TE_TEST_MODELS "/fixtures/tokenizers");

	for (size_t f = 0; f < TE_LENGTH(files); f++)
	{
		const TeSource *file = te_folder_find(&folder, files[f]);
		const TeTokenizer *tokenizer = compile(arena, te_json_parse(arena, te_source_whole(arena, file, SIZE_MAX), files[f]));
		size_t		n;
		size_t		n_untruncated;
		TeToken    *tokens = te_encode_alloc(tokenizer, arena, TE_STR("the smell of bread"), (TeStr) {NULL, 0}, false, 0, &n, &n_untruncated);
		int32_t    *ids = te_new_array(arena, int32_t, n);

		for (size_t i = 0; i < n; i++)
			ids[i] = tokens[i].id;
		for (size_t cut = 0; cut <= n; cut++)
		{
			TeTextStream *stream = te_text_stream_create(arena, tokenizer);
			TeStr		before = te_decode(tokenizer, arena, ids, cut, true);
			TeStr		all = te_decode(tokenizer, arena, ids, n, true);
			TeStr		piece;
			TeBuffer	rest;

			CHECK(te_text_stream_pass(stream, ids, cut) == (before.len > 0));
			te_buffer_init(&rest, arena);
			for (size_t i = cut; i < n; i++)
			{
				piece = te_text_stream_add(stream, ids[i]);
				te_buffer_add(&rest, piece.data, piece.len);
			}
			piece = te_text_stream_end(stream);
			te_buffer_add(&rest, piece.data, piece.len);
			CHECK(te_str_eq((TeStr) {rest.data, rest.len}, (TeStr) {all.data + before.len, all.len - before.len}));
		}
	}
}

TEST(a_long_stream_keeps_its_memory)
{
	const TeTokenizer *tokenizer = compile(arena, te_json_parse(arena, te_str(tokenizer_with(arena, SPACE ", " BYTES ", " FUSE ", " STRIP(1, 0))), "bytes"));
	TeTextStream *stream = te_text_stream_create(arena, tokenizer);
	size_t		bytes = 0;

	for (int i = 0; i < 100000; i++)
	{
		te_text_stream_add(stream, i % 17);
		if (i == 100)
			bytes = te_arena_bytes(arena);
	}
	CHECK(te_arena_bytes(arena) == bytes);
}

TEST_MAIN()
