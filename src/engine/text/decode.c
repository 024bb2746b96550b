/*-------------------------------------------------------------------------
 * decode.c
 *	  Ids to text: the program of decoders.
 *
 * Decoders work on a list of token texts (decode.h); each makes another list of it, and the
 * texts of the last are joined.  Without a decoder they are joined with
 * spaces.  This runs on the caller's thread, in an arena.
 *-------------------------------------------------------------------------
 */
#include "text/decode.h"

/* The old list stays where it is, for the caller to read. */
void
te_decoder_start(TeDecoder *decoder, size_t n)
{
	decoder->tokens = te_new_array(decoder->arena, TeStr, n);
	decoder->n = 0;
}

/* The text of an id; {NULL, 0} where it is to be left out. */
static TeStr
text_of(const TeTokenizer *tokenizer, int32_t id, bool skip_special)
{
	const TeAdded *added;

	if (id < 0 || (uint32_t) id >= tokenizer->vocab_size)
		te_throw(TE_ERR_INVALID, "token id %d is not in the vocabulary of %u tokens", id, tokenizer->vocab_size);
	added = te_added_by_id(tokenizer, id);
	if (added == NULL)
		return te_vocab_token(tokenizer, id);
	if (skip_special && added->skipped)
		return (TeStr) {NULL, 0};
	return te_image_str(tokenizer, added->decoded);
}

/* Never NULL. */
TeStr
te_decoder_join(TeDecoder *decoder, const char *separator)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, decoder->arena);
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		if (i > 0)
			te_buffer_add_str(&buffer, separator);
		te_buffer_add(&buffer, decoder->tokens[i].data, decoder->tokens[i].len);
	}
	return (TeStr) {buffer.len > 0 ? buffer.data : "", buffer.len};
}

void
te_decoder_open(TeDecoder *decoder, TeArena *kept)
{
	TeProgram	program = decoder->tokenizer->decoder;
	const TeStep *steps = te_at(decoder->tokenizer, program.steps);
	bool		whole = false;

	decoder->steps = te_new_array(kept, TeDecodeStep, program.n);
	for (uint32_t i = 0; i < program.n; i++)
	{
		decoder->steps[i].whole = whole;
		te_buffer_init(&decoder->steps[i].held, kept);
		whole = whole || te_decoders[steps[i].kind]->fuses;
	}
}

/* Copied, so that a step may hold a part of it again. */
TeStr
te_decoder_hold(TeDecoder *decoder, TeStr text)
{
	TeBuffer   *held = &decoder->step->held;
	TeStr		before = te_str_copy(decoder->arena, (TeStr) {held->data, held->len});

	held->len = 0;
	te_buffer_add(held, text.data, text.len);
	return before;
}

bool
te_decoder_gather(TeDecoder *decoder)
{
	TeBuffer   *held = &decoder->step->held;

	if (decoder->last && held->len == 0)
		return true;
	for (size_t i = 0; i < decoder->n; i++)
		te_buffer_add(held, decoder->tokens[i].data, decoder->tokens[i].len);
	te_decoder_start(decoder, 1);
	if (decoder->last)
		decoder->tokens[decoder->n++] = te_decoder_hold(decoder, TE_STR(""));
	return decoder->last;
}

/* One after the other, each with what it remembers. */
static void
run_steps(TeDecoder *decoder)
{
	const TeTokenizer *tokenizer = decoder->tokenizer;
	const TeStep *steps = te_at(tokenizer, tokenizer->decoder.steps);

	for (uint32_t i = 0; i < tokenizer->decoder.n; i++)
	{
		const TeRow *row = te_decoders[steps[i].kind];
		size_t		n = decoder->n;

		decoder->step = &decoder->steps[i];
		if (decoder->step->whole && !row->pieces && !te_decoder_gather(decoder))
			continue;
		row->decode(decoder, te_at(tokenizer, steps[i].param));
		decoder->step->seen += n;
	}
}

TeStr
te_decoder_part(TeDecoder *decoder, const int32_t *ids, size_t n, bool skip_special)
{
	TeStr		joined;

	te_decoder_start(decoder, n);
	for (size_t i = 0; i < n; i++)
	{
		TeStr		text = text_of(decoder->tokenizer, ids[i], skip_special);

		te_decoder_pause(i);
		if (text.data != NULL)
			decoder->tokens[decoder->n++] = text;
	}
	run_steps(decoder);
	joined = te_decoder_join(decoder, decoder->tokenizer->has_decoder ? "" : " ");
	if (!decoder->tokenizer->has_decoder && decoder->given > 0 && decoder->n > 0)
		joined = te_str(te_format(decoder->arena, " %.*s", (int) joined.len, joined.data));
	decoder->given += decoder->n;
	return joined;
}

/* All in one part.  Work is in an arena of its own; only the result stays. */
TeStr
te_decode(const TeTokenizer *tokenizer, TeArena *arena, const int32_t *ids, size_t n, bool skip_special)
{
	TeArena    *work = te_arena_create(arena, "decoding");
	TeDecoder	decoder = {.tokenizer = tokenizer,.arena = work,.last = true};
	TeStr		result;

	te_decoder_open(&decoder, work);
	result = te_str_copy(arena, te_decoder_part(&decoder, ids, n, skip_special));
	te_arena_destroy(work);
	return result;
}

/* Without a decoder there is a space before each but the first. */
static void
each_joined(TeDecoder *decoder, bool first)
{
	for (size_t i = 0; i < decoder->n && !first; i++)
		decoder->tokens[i] = te_str(te_format(decoder->arena, " %.*s", (int) decoder->tokens[i].len, decoder->tokens[i].data));
}

TeStr *
te_token_bytes(const TeTokenizer *tokenizer, TeArena *arena, bool first)
{
	TeArena    *work = te_arena_create(arena, "bytes of tokens");
	TeDecoder	decoder = {.tokenizer = tokenizer,.arena = work,.last = true};
	const TeStep *steps = te_at(tokenizer, tokenizer->decoder.steps);
	size_t		n = tokenizer->vocab_size;
	TeStr	   *texts = te_new_array(arena, TeStr, n);
	int32_t    *ids = te_new_array(work, int32_t, n);
	size_t		bytes = 0;
	char	   *block;

	te_decoder_open(&decoder, work);
	te_decoder_start(&decoder, n);
	for (size_t id = 0; id < n; id++)
	{
		TeStr		text = te_token_special(tokenizer, (int32_t) id) ? (TeStr) {NULL, 0} : text_of(tokenizer, (int32_t) id, true);

		te_decoder_pause(id);
		if (text.data == NULL)
			continue;
		ids[decoder.n] = (int32_t) id;
		decoder.tokens[decoder.n++] = text;
	}
	for (uint32_t i = 0; i < tokenizer->decoder.n; i++)
	{
		const TeRow *row = te_decoders[steps[i].kind];

		decoder.step = &decoder.steps[i];
		if (row->each == NULL)
			te_throw(TE_ERR_UNSUPPORTED, "what a token says depends on those around it in a tokenizer with the decoder \"%s\"", row->type);
		row->each(&decoder, te_at(tokenizer, steps[i].param), first);
	}
	if (!tokenizer->has_decoder)
		each_joined(&decoder, first);
	/* one block for all */
	for (size_t i = 0; i < decoder.n; i++)
		bytes += decoder.tokens[i].len;
	block = te_alloc(arena, bytes);
	for (size_t i = 0; i < decoder.n; i++)
	{
		if (decoder.tokens[i].len > 0)
			memcpy(block, decoder.tokens[i].data, decoder.tokens[i].len);
		texts[ids[i]] = (TeStr) {block, decoder.tokens[i].len};
		block += decoder.tokens[i].len;
	}
	te_arena_destroy(work);
	return texts;
}

/* How many bytes at p begin a character that is then broken off: at least 1. */
static size_t
broken_length(const uint8_t *p, size_t left)
{
	uint8_t		low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
	uint8_t		high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;

	if (p[0] < 0xE0 || p[0] > 0xF4 || left < 2 || p[1] < low || p[1] > high)
		return 1;
	return p[0] >= 0xF0 && left > 2 && (p[2] & 0xC0) == 0x80 ? 3 : 2;
}

/* A character has at most four bytes, so no more than three are looked at. */
size_t
te_utf8_whole(TeStr text)
{
	const uint8_t *end = (const uint8_t *) text.data + text.len;

	for (size_t left = 1; left <= TE_MIN(text.len, (size_t) 3); left++)
	{
		const uint8_t *p = end - left;

		if (*p >= 0xC2 && *p <= 0xF4)
			return left < (*p < 0xE0 ? 2u : *p < 0xF0 ? 3u : 4u) && broken_length(p, left) == left ? text.len - left : text.len;
	}
	return text.len;
}

/* As the reference's library does it; valid text comes back as it is. */
TeStr
te_utf8_repair(TeArena *arena, TeStr text)
{
	const char *p = text.data;
	const char *end;
	TeBuffer	buffer;

	if (text.len == 0)
		return TE_STR("");
	if (te_utf8_valid(text))
		return text;
	end = p + text.len;
	te_buffer_init(&buffer, arena);
	while (p < end)
	{
		const char *from = p;

		if (te_utf8_next(&p, end) >= 0)
			te_buffer_add(&buffer, from, (size_t) (p - from));
		else
		{
			te_buffer_add_str(&buffer, "\xef\xbf\xbd");
			p += broken_length((const uint8_t *) p, (size_t) (end - p));
		}
	}
	return (TeStr) {buffer.data, buffer.len};
}

/* ---- WordPiece ---- */

typedef struct WordPieceParam
{
	TeImageStr	prefix;
	bool		cleanup;
} WordPieceParam;

/* The prefix is the decoder's own, not the model's. */
static void
compile_wordpiece(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	WordPieceParam param = {0};

	param.prefix = te_image_add_str(compiler, te_json_str(node, "prefix", "##"));
	param.cleanup = te_json_bool(node, "cleanup", true);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* From left to right; what was put in is not looked at again. */
TeStr
te_replace_all(TeArena *arena, TeStr text, TeStr from, TeStr to)
{
	TeBuffer	buffer;
	size_t		done = 0;

	if (from.len == 0 || text.len < from.len)
		return text;
	te_buffer_init(&buffer, arena);
	for (size_t i = 0; i + from.len <= text.len;)
	{
		if (memcmp(text.data + i, from.data, from.len) != 0)
		{
			i++;
			continue;
		}
		te_buffer_add(&buffer, text.data + done, i - done);
		te_buffer_add(&buffer, to.data, to.len);
		i += from.len;
		done = i;
	}
	if (done == 0)
		return text;
	te_buffer_add(&buffer, text.data + done, text.len - done);
	return (TeStr) {buffer.len > 0 ? buffer.data : "", buffer.len};
}

/* The rules in order, each on the result of the one before. */
TeStr
te_clean_up(TeArena *arena, TeStr text)
{
	static const char *const rules[][2] = {
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}
	};

	for (size_t i = 0; i < TE_LENGTH(rules); i++)
		text = te_replace_all(arena, text, te_str(rules[i][0]), te_str(rules[i][1]));
	return text;
}

/* A space before each token but the first and continuations. */
static TeStr
word_text(TeDecoder *decoder, const WordPieceParam *param, TeStr token, bool first)
{
	TeStr		prefix = te_image_str(decoder->tokenizer, param->prefix);

	if (!first)
	{
		if (token.len >= prefix.len && memcmp(token.data, prefix.data, prefix.len) == 0)
			token = (TeStr) {token.data + prefix.len, token.len - prefix.len};
		else
			token = te_str(te_format(decoder->arena, " %.*s", (int) token.len, token.data));
	}
	return param->cleanup ? te_clean_up(decoder->arena, token) : token;
}

static void
decode_wordpiece(TeDecoder *decoder, const void *param)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		decoder->tokens[i] = word_text(decoder, param, decoder->tokens[i], decoder->step->seen + i == 0);
	}
}

static void
each_wordpiece(TeDecoder *decoder, const void *param, bool first)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		decoder->tokens[i] = word_text(decoder, param, decoder->tokens[i], first);
	}
}

const TeRow te_decode_wordpiece = {"WordPiece", compile_wordpiece,.decode = decode_wordpiece,.each = each_wordpiece};
