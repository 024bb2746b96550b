/*-------------------------------------------------------------------------
 * decode_text.c
 *	  Decoders other than those that belong to a pre-tokenizer or model:
 *	  BPEDecoder, ByteFallback, Fuse, Strip, Replace and CTC.
 *-------------------------------------------------------------------------
 */
#include "text/decode.h"
#include "text/pattern.h"

#define REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

/* ---- BPEDecoder: the suffix of a word's last token becomes a space ---- */

/* The suffix marks the end of a word. */
static void
compile_bpe(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeImageStr	suffix = te_image_add_str(compiler, te_json_str(node, "suffix", "</w>"));

	te_emit(compiler, kind, &suffix, sizeof(suffix));
}

/* The last token's suffix leaves nothing; so a token is held until it is known whether another one comes. */
static void
decode_bpe(TeDecoder *decoder, const void *param)
{
	TeStr		suffix = te_image_str(decoder->tokenizer, *(const TeImageStr *) param);
	const TeStr *tokens = decoder->tokens;
	size_t		n = decoder->n;
	bool		any = decoder->step->seen > 0;
	TeStr		before = {NULL, 0};

	te_decoder_start(decoder, n + 1);
	if (any)
		before = te_decoder_hold(decoder, TE_STR(""));
	for (size_t i = 0; i < n; i++)
	{
		te_decoder_pause(i);
		if (any || i > 0)
			decoder->tokens[decoder->n++] = te_replace_all(decoder->arena, before, suffix, TE_STR(" "));
		before = tokens[i];
	}
	if (!decoder->last)
		te_decoder_hold(decoder, before);
	else if (any || n > 0)
		decoder->tokens[decoder->n++] = te_replace_all(decoder->arena, before, suffix, TE_STR(""));
}

const TeRow te_decode_bpe = {"BPEDecoder", compile_bpe,.decode = decode_bpe};

/* ---- ByteFallback: runs of <0x41> become the bytes, if these are UTF-8 ---- */

/* Of a digit of either case, or -1. */
static inline int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a token such as <0x0A>, or -1. */
static int
byte_of(TeStr token)
{
	if (token.len != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>' ||
		hex_value(token.data[3]) < 0 || hex_value(token.data[4]) < 0)
		return -1;
	return hex_value(token.data[3]) * 16 + hex_value(token.data[4]);
}

/* Adds the text of a run of bytes to the new list. */
static void
flush_bytes(TeDecoder *decoder, TeBuffer *bytes)
{
	TeStr		text = {bytes->data, bytes->len};

	if (bytes->len == 0)
		return;
	if (te_utf8_valid(text))
		decoder->tokens[decoder->n++] = te_str_copy(decoder->arena, text);
	else
		for (size_t i = 0; i < bytes->len; i++)
			decoder->tokens[decoder->n++] = TE_STR(REPLACEMENT);
	bytes->len = 0;
}

/* Other tokens end a run of bytes, and only its end tells what it is. */
static void
decode_byte_fallback(TeDecoder *decoder, const void *param)
{
	const TeStr *tokens = decoder->tokens;
	size_t		n = decoder->n;
	TeBuffer   *bytes = &decoder->step->held;

	te_decoder_start(decoder, n + bytes->len + 1);
	for (size_t i = 0; i < n; i++)
	{
		int			byte = byte_of(tokens[i]);
		char		one[1] = {(char) byte};

		te_decoder_pause(i);
		if (byte >= 0)
			te_buffer_add(bytes, one, 1);
		else
		{
			flush_bytes(decoder, bytes);
			decoder->tokens[decoder->n++] = tokens[i];
		}
	}
	if (decoder->last)
		flush_bytes(decoder, bytes);
}

/* A byte is one also where no character is whole yet. */
static void
each_byte_fallback(TeDecoder *decoder, const void *param, bool first)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		int			byte = byte_of(decoder->tokens[i]);
		char		one[1] = {(char) byte};

		if (byte >= 0)
			decoder->tokens[i] = te_str_copy(decoder->arena, (TeStr) {one, 1});
	}
}

const TeRow te_decode_byte_fallback = {"ByteFallback", te_compile_plain,.decode = decode_byte_fallback,.each = each_byte_fallback};

/* ---- Fuse: one text of all ---- */

/* Later decoders then see the text as a whole. */
static void
decode_fuse(TeDecoder *decoder, const void *param)
{
	TeStr		text = te_decoder_join(decoder, "");

	te_decoder_start(decoder, 1);
	decoder->tokens[decoder->n++] = text;
}

/* Each is by itself already. */
static void
each_fuse(TeDecoder *decoder, const void *param, bool first)
{
}

const TeRow te_decode_fuse = {"Fuse", te_compile_plain,.decode = decode_fuse,.each = each_fuse,.fuses = true,.pieces = true};

/* ---- Strip: up to so many of one character at the ends ---- */

typedef struct StripParam
{
	uint32_t	content;
	uint32_t	start;
	uint32_t	stop;
} StripParam;

/* Counts are of characters. */
static void
compile_strip(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	StripParam	param;

	param.content = te_char_member(compiler, node, "content");
	param.start = (uint32_t) te_json_int_range(node, "start", 0, 0, INT32_MAX);
	param.stop = (uint32_t) te_json_int_range(node, "stop", 0, 0, INT32_MAX);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* Up to so many from the front; how many there were. */
static size_t
strip_front(TeStr *text, TeStr c, size_t most)
{
	size_t		n = 0;

	while (n < most && text->len >= c.len && memcmp(text->data, c.data, c.len) == 0)
	{
		*text = (TeStr) {text->data + c.len, text->len - c.len};
		n++;
	}
	return n;
}

/* Up to so many from the end. */
static void
strip_back(TeStr *text, TeStr c, size_t most)
{
	for (size_t n = 0; n < most && text->len >= c.len && memcmp(text->data + text->len - c.len, c.data, c.len) == 0; n++)
		text->len -= c.len;
}

/* The next piece of a text: what may turn out to be its end is held.  The count is of those that are gone from the front. */
static TeStr
strip_piece(TeDecoder *decoder, const StripParam *param, TeStr c, TeStr piece)
{
	TeDecodeStep *step = decoder->step;
	TeStr		all;
	TeStr		text;

	step->count += strip_front(&piece, c, param->start - step->count);
	if (piece.len > 0)
		step->count = param->start;
	if (param->stop == 0)
		return piece;
	te_buffer_add(&step->held, piece.data, piece.len);
	all = text = te_decoder_hold(decoder, TE_STR(""));
	strip_back(&text, c, param->stop);
	te_decoder_hold(decoder, (TeStr) {all.data + text.len, all.len - text.len});
	return text;
}

/* Each token by itself; after Fuse that is the whole text. */
static void
decode_strip(TeDecoder *decoder, const void *data)
{
	const StripParam *param = data;
	char		utf8[4];
	TeStr		c = {utf8, te_utf8_put(utf8, (int32_t) param->content)};

	for (size_t i = 0; i < decoder->n; i++)
	{
		TeStr	   *token = &decoder->tokens[i];

		if (decoder->step->whole)
			*token = strip_piece(decoder, param, c, *token);
		else
		{
			strip_front(token, c, param->start);
			strip_back(token, c, param->stop);
		}
	}
}

/* Of a text as a whole only the beginning is known to be one. */
static void
each_strip(TeDecoder *decoder, const void *data, bool first)
{
	const StripParam *param = data;
	bool		whole = decoder->step->whole;
	char		utf8[4];
	TeStr		c = {utf8, te_utf8_put(utf8, (int32_t) param->content)};

	for (size_t i = 0; i < decoder->n; i++)
	{
		if (!whole || first)
			strip_front(&decoder->tokens[i], c, param->start);
		if (!whole)
			strip_back(&decoder->tokens[i], c, param->stop);
	}
}

const TeRow te_decode_strip = {"Strip", compile_strip,.decode = decode_strip,.each = each_strip,.pieces = true};

/* ---- Replace ---- */

typedef struct ReplaceParam
{
	TePattern	pattern;
	TeImageStr	content;
} ReplaceParam;

/* The same pattern kinds as the normalizer's. */
static void
compile_replace(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	ReplaceParam param = {0};

	param.pattern = te_pattern_compile(compiler, te_json_get(node, "pattern"));
	param.content = te_image_add_str(compiler, te_json_str(node, "content", ""));
	te_emit(compiler, kind, &param, sizeof(param));
}

typedef struct Replacing
{
	TeBuffer   *out;
	const TeChar *in;			/* start and stop are bytes of the token */
	size_t		n;
	TeStr		token;
	TeStr		content;
	size_t		done;			/* bytes of the token */
} Replacing;

/* Copies what is between this match and the one before, then the content. */
static void
replace_match(void *arg, size_t from, size_t to)
{
	Replacing  *replacing = arg;
	size_t		start = from < replacing->n ? replacing->in[from].start : replacing->token.len;

	te_buffer_add(replacing->out, replacing->token.data + replacing->done, start - replacing->done);
	te_buffer_add(replacing->out, replacing->content.data, replacing->content.len);
	replacing->done = to > from ? replacing->in[to - 1].stop : start;
}

/* A token as characters, as an encoder has them. */
static size_t
load(TeStr token, TeChar *chars)
{
	const char *p = token.data;
	const char *end = p + token.len;
	size_t		n = 0;

	while (p < end)
	{
		uint32_t	start = (uint32_t) (p - token.data);
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			break;
		chars[n++] = (TeChar) {(uint32_t) c, start, (uint32_t) (p - token.data)};
	}
	return n;
}

/* One token; the scratch grows, in `work`, as the pattern asks. */
static TeStr
replace_in(TeDecoder *decoder, TeArena *work, const ReplaceParam *param, TeTextScratch *scratch, TeStr token)
{
	TeBuffer	out;
	Replacing	replacing = {&out,.token = token,.content = te_image_str(decoder->tokenizer, param->content)};
	TeChar	   *chars = te_new_array(decoder->arena, TeChar, token.len);
	TeEncoder	encoder;

	do
	{
		te_buffer_init(&out, decoder->arena);
		replacing.in = chars;
		replacing.n = load(token, chars);
		replacing.done = 0;
		encoder = (TeEncoder) {.tokenizer = decoder->tokenizer,.memory = scratch->memory,.high = scratch->bytes & ~(size_t) 63};
		te_patterns_open(&encoder, scratch);
		if (encoder.status == TE_TEXT_OK)
			te_pattern_each(&encoder, chars, replacing.n, &param->pattern, replace_match, &replacing);
		if (encoder.status != TE_TEXT_MORE)
			break;
		te_arena_reset(work);
		*scratch = (TeTextScratch) {.bytes = scratch->bytes * 2};
		scratch->memory = te_alloc(work, scratch->bytes);
	} while (true);
	if (encoder.status != TE_TEXT_OK)
		te_throw(TE_ERR_TOO_LONG, "a pattern of the tokenizer's decoder passed its match limit");
	te_buffer_add(&out, token.data + replacing.done, token.len - replacing.done);
	return (TeStr) {out.len > 0 ? out.data : "", out.len};
}

/* The next piece of a text: an end that may begin a match is held. */
static TeStr
replace_piece(TeDecoder *decoder, TeStr piece, TeStr from, TeStr to)
{
	TeStr		all;
	size_t		i = 0;

	te_buffer_add(&decoder->step->held, piece.data, piece.len);
	all = te_decoder_hold(decoder, TE_STR(""));
	while (!decoder->last && i < all.len)
	{
		size_t		n = TE_MIN(from.len, all.len - i);
		bool		same = memcmp(all.data + i, from.data, n) == 0;

		if (same && n < from.len)
			break;
		i += same ? n : 1;
	}
	if (decoder->last)
		i = all.len;
	te_decoder_hold(decoder, (TeStr) {all.data + i, all.len - i});
	return te_replace_all(decoder->arena, (TeStr) {all.data, i}, from, to);
}

/* Where the pattern is a text. */
static void
replace_text(TeDecoder *decoder, TeStr from, TeStr to)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		TeStr	   *token = &decoder->tokens[i];

		te_decoder_pause(i);
		if (decoder->step->whole && from.len > 0)
			*token = replace_piece(decoder, *token, from, to);
		else
			*token = te_replace_all(decoder->arena, *token, from, to);
	}
}

/* Where it is an expression. */
static void
replace_regex(TeDecoder *decoder, const ReplaceParam *param)
{
	TeTextScratch scratch = {.bytes = te_encode_scratch(decoder->tokenizer, 256)};
	TeArena    *work = te_arena_create(decoder->arena, "pattern");

	scratch.memory = te_alloc(work, scratch.bytes);
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		if (decoder->tokens[i].len > 0)
			decoder->tokens[i] = replace_in(decoder, work, param, &scratch, decoder->tokens[i]);
	}
	te_arena_destroy(work);
}

/* Within tokens, never across them. */
static void
decode_replace(TeDecoder *decoder, const void *data)
{
	const ReplaceParam *param = data;
	TeStr		text = te_pattern_text(decoder->tokenizer, &param->pattern, decoder->arena);

	if (text.data != NULL)
		replace_text(decoder, text, te_image_str(decoder->tokenizer, param->content));
	else if (!decoder->step->whole || te_decoder_gather(decoder))
		replace_regex(decoder, param);
}

static void
each_replace(TeDecoder *decoder, const void *data, bool first)
{
	const ReplaceParam *param = data;
	TeStr		from = te_pattern_text(decoder->tokenizer, &param->pattern, decoder->arena);
	TeStr		to = te_image_str(decoder->tokenizer, param->content);

	if (from.data == NULL)
		replace_regex(decoder, param);
	for (size_t i = 0; i < decoder->n && from.data != NULL; i++)
	{
		te_decoder_pause(i);
		decoder->tokens[i] = te_replace_all(decoder->arena, decoder->tokens[i], from, to);
	}
}

const TeRow te_decode_replace = {"Replace", compile_replace,.decode = decode_replace,.each = each_replace,.pieces = true};

/* ---- CTC: repetitions and padding go, the delimiter becomes a space ---- */

typedef struct CtcParam
{
	TeImageStr	pad;
	TeImageStr	delimiter;
	bool		cleanup;
} CtcParam;

/* Connectionist temporal classification: tokens are per frame. */
static void
compile_ctc(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	CtcParam	param = {0};

	param.pad = te_image_add_str(compiler, te_json_str(node, "pad_token", "<pad>"));
	param.delimiter = te_image_add_str(compiler, te_json_str(node, "word_delimiter_token", "|"));
	param.cleanup = te_json_bool(node, "cleanup", true);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* Tokens that become empty are dropped. */
static void
decode_ctc(TeDecoder *decoder, const void *data)
{
	const CtcParam *param = data;
	const TeStr *tokens = decoder->tokens;
	size_t		n = decoder->n;
	TeStr		before;

	if (n == 0)
		return;
	before = te_decoder_hold(decoder, tokens[n - 1]);
	te_decoder_start(decoder, n);
	for (size_t i = 0; i < n; i++)
	{
		TeStr		token = tokens[i];
		bool		again = decoder->step->seen + i > 0 && te_str_eq(token, before);

		te_decoder_pause(i);
		before = token;
		if (again)
			continue;
		token = te_replace_all(decoder->arena, token, te_image_str(decoder->tokenizer, param->pad), TE_STR(""));
		if (param->cleanup)
			token = te_replace_all(decoder->arena, te_clean_up(decoder->arena, token),
								   te_image_str(decoder->tokenizer, param->delimiter), TE_STR(" "));
		if (token.len > 0)
			decoder->tokens[decoder->n++] = token;
	}
}

const TeRow te_decode_ctc = {"CTC", compile_ctc,.decode = decode_ctc};
