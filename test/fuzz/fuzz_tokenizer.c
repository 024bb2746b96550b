/*-------------------------------------------------------------------------
 * fuzz_tokenizer.c
 *	  Tokenizer files and texts: compile, encode, decode, at once and as a stream, convert to GGUF and back.
 *
 * An input is a kind (one byte: a file format of the table), the length of the text
 * (two bytes, little-endian), the text, and the file.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "text/stream.h"

#define LARGEST_SCRATCH ((size_t) 512 * 1024)

static const TeJson *
from_json(TeArena *arena, TeStr file)
{
	return te_json_parse(arena, file, "input");
}

static const TeJson *
from_spm(TeArena *arena, TeStr file)
{
	return te_tokenizer_from_spm(arena, file, NULL, TE_STR(""));
}

static const TeJson *
from_spm_shifted(TeArena *arena, TeStr file)
{
	return te_tokenizer_from_spm(arena, file, NULL, TE_STR("xlm-roberta"));
}

static const TeJson *
from_vocab_txt(TeArena *arena, TeStr file)
{
	return te_tokenizer_from_vocab_txt(arena, file, NULL);
}

/* {"vocab": {...}, "merges": "..."} */
static const TeJson *
from_bpe(TeArena *arena, TeStr file)
{
	const TeJson *both = te_json_parse(arena, file, "input");

	return te_tokenizer_from_bpe(arena, te_json_get(both, "vocab"), te_json_str(both, "merges", ""), NULL, TE_STR("roberta"));
}

/* The keys of a GGUF file, as JSON */
static const TeJson *
from_gguf(TeArena *arena, TeStr file)
{
	return te_tokenizer_from_gguf(arena, te_json_parse(arena, file, "input"));
}

static const TeJson *(*const formats[]) (TeArena *arena, TeStr file) = {
	from_json, from_spm, from_spm_shifted, from_vocab_txt, from_bpe, from_gguf
};

static inline bool
on_border(TeStr text, uint32_t at)
{
	return at == text.len || (at < text.len && (text.data[at] & 0xC0) != 0x80);
}

/* With a scratch that grows a little; some patterns want more than an input of this size justifies. */
static TeTextStatus
encode(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, TeTextScratch *scratch)
{
	for (size_t bytes = 4096;; bytes *= 4)
	{
		TeTextStatus status;

		*scratch = (TeTextScratch) {.memory = te_alloc(arena, bytes),.bytes = bytes};
		status = te_encode(tokenizer, text, (TeStr) {NULL, 0}, true, 0, scratch);
		if (status != TE_TEXT_MORE || bytes * 4 > LARGEST_SCRATCH)
			return status;
	}
}

/* One id at a time the same text comes, whole characters each time. */
static void
check_stream(TeArena *arena, const TeTokenizer *tokenizer, const int32_t *ids, size_t n, TeStr text)
{
	TeTextStream *stream = te_text_stream_create(arena, tokenizer);
	size_t		at = 0;

	for (size_t i = 0; i <= n; i++)
	{
		TeStr		piece = i < n ? te_text_stream_add(stream, ids[i]) : te_text_stream_end(stream);

		FUZZ_CHECK(te_utf8_valid(piece) && piece.len <= text.len - at);
		FUZZ_CHECK(piece.len == 0 || memcmp(text.data + at, piece.data, piece.len) == 0);
		at += piece.len;
	}
	FUZZ_CHECK(at == text.len);
}

static void
use(TeArena *arena, const TeTokenizer *tokenizer, TeStr text)
{
	TeTextScratch scratch;
	int32_t    *ids;

	if (encode(tokenizer, arena, text, &scratch) != TE_TEXT_OK)
		return;
	ids = te_new_array(arena, int32_t, scratch.n_tokens);
	for (size_t i = 0; i < scratch.n_tokens; i++)
	{
		const TeToken *token = &scratch.tokens[i];

		FUZZ_CHECK(token->start <= token->stop && on_border(text, token->start) && on_border(text, token->stop));
		FUZZ_CHECK(token->id >= 0 && token->id < te_vocab_size(tokenizer));
		ids[i] = token->id;
	}
	check_stream(arena, tokenizer, ids, scratch.n_tokens, te_decode(tokenizer, arena, ids, scratch.n_tokens, true));
}

static void
parse(TeArena *arena, TeStr input)
{
	size_t		len;
	TeStr		text,
				file;
	const TeJson *json;
	TeBuffer	image;
	size_t		offset;

	if (input.len < 3)
		return;
	len = (uint8_t) input.data[1] | (size_t) (uint8_t) input.data[2] << 8;
	len = TE_MIN(len, input.len - 3);
	text = te_str_copy(arena, (TeStr) {input.data + 3, len});
	file = te_str_copy(arena, (TeStr) {input.data + 3 + len, input.len - 3 - len});
	json = formats[(uint8_t) input.data[0] % TE_LENGTH(formats)] (arena, file);
	te_buffer_init(&image, arena);
	offset = te_tokenizer_compile(arena, json, &image);
	use(arena, te_tokenizer_attach(image.data + offset, image.len - offset), text);
	te_tokenizer_to_gguf(arena, json, te_json_new_object(arena));
}

FUZZ_TARGET(parse)
