/*-------------------------------------------------------------------------
 * byte_level.c
 *	  ByteLevel, as pre-tokenizer, normalizer and decoder.
 *
 * GPT-2's way to have a token for any bytes: each byte of UTF-8 is written as
 * a printable character.  Those that are printable in Latin-1 stand for
 * themselves, the others, in order, are U+0100 and on: a space is U+0120.
 *-------------------------------------------------------------------------
 */
#include "text/decode.h"
#include "text/splitters.h"

/* Bytes that stand for themselves */
static inline bool
is_plain(uint32_t byte)
{
	return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/* The character of a byte. */
uint32_t
te_byte_level_char(uint8_t byte)
{
	if (is_plain(byte))
		return byte;
	if (byte <= 0x20)
		return 0x100 + byte;
	if (byte == 0xAD)
		return 0x100 + 0x20 + 0x23;
	return 0x100 + 0x20 + 1 + (byte - 0x7F);
}

/* The byte of a character, or -1. */
static inline int
byte_of(uint32_t c)
{
	if (c < 0x100)
		return is_plain(c) ? (int) c : -1;
	if (c <= 0x120)
		return (int) (c - 0x100);
	if (c < 0x143)
		return (int) (c - 0x121 + 0x7F);
	return c == 0x143 ? 0xAD : -1;
}

/* Characters as those of their bytes. */
static void
spell_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
	{
		char		utf8[4];
		size_t		len = te_utf8_put(utf8, (int32_t) in[i].c);

		for (size_t j = 0; j < len; j++)
			te_put(encoder, te_byte_level_char((uint8_t) utf8[j]), in[i].start, in[i].stop);
	}
}

/* The normalizer is the spelling alone. */
static void
run_spell(TeEncoder *encoder, const void *param)
{
	te_each_piece(encoder, spell_piece, NULL);
}

const TeRow te_norm_byte_level = {"ByteLevel", te_compile_plain, run_spell};

/* ---- the pre-tokenizer ---- */

typedef struct ByteLevelParam
{
	bool		prefix_space;
	bool		split;
} ByteLevelParam;

/* trim_offsets is for the post-processor. */
static void
compile_byte_level(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	ByteLevelParam param;

	param.prefix_space = te_json_bool(node, "add_prefix_space", true);
	param.split = te_json_bool(node, "use_regex", true);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* A space before a piece that does not begin with one. */
static void
prefix_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	if (in[0].c != ' ')
		te_put(encoder, ' ', in[0].start, in[0].stop);
	for (size_t i = 0; i < n; i++)
		te_put(encoder, in[i].c, in[i].start, in[i].stop);
}

/* Space, split, spelling, in this order: the pattern is for plain text. */
static void
run_byte_level(TeEncoder *encoder, const void *data)
{
	const ByteLevelParam *param = data;

	if (param->prefix_space)
		te_each_piece(encoder, prefix_piece, NULL);
	if (param->split)
		te_split(encoder, te_split_gpt2, NULL, TE_SPLIT_ISOLATED, false);
	te_each_piece(encoder, spell_piece, NULL);
}

const TeRow te_pre_byte_level = {"ByteLevel", compile_byte_level, run_byte_level};

/* ---- the decoder ---- */

/* A token whose characters all stand for bytes gives those, any other itself. */
static void
add_bytes(TeBuffer *buffer, TeStr token)
{
	const char *p = token.data;
	const char *end = p + token.len;
	size_t		len = buffer->len;

	while (p < end)
	{
		int32_t		c = te_utf8_next(&p, end);
		int			byte = c < 0 ? -1 : byte_of((uint32_t) c);
		char		bytes[1] = {(char) byte};

		if (byte < 0)
		{
			buffer->len = len;
			te_buffer_add(buffer, token.data, token.len);
			return;
		}
		te_buffer_add(buffer, bytes, 1);
	}
}

/* Bytes of all tokens first, characters then: a character may be spread over tokens. */
static void
decode_byte_level(TeDecoder *decoder, const void *param)
{
	TeBuffer   *held = &decoder->step->held;
	TeStr		bytes;
	size_t		whole;

	for (size_t i = 0; i < decoder->n; i++)
		add_bytes(held, decoder->tokens[i]);
	bytes = te_decoder_hold(decoder, TE_STR(""));
	whole = decoder->last ? bytes.len : te_utf8_whole(bytes);
	te_buffer_add(held, bytes.data + whole, bytes.len - whole);
	te_decoder_start(decoder, 1);
	decoder->tokens[decoder->n++] = te_utf8_repair(decoder->arena, (TeStr) {bytes.data, whole});
}

/* Bytes as they are: what is not whole may become so. */
static void
each_byte_level(TeDecoder *decoder, const void *param, bool first)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		size_t		room = decoder->tokens[i].len;	/* no byte is written shorter than it is */
		TeBuffer	buffer = {decoder->arena, te_alloc(decoder->arena, room), 0, room};

		te_decoder_pause(i);
		add_bytes(&buffer, decoder->tokens[i]);
		decoder->tokens[i] = (TeStr) {buffer.data, buffer.len};
	}
}

const TeRow te_decode_byte_level = {"ByteLevel", te_compile_plain,.decode = decode_byte_level,.each = each_byte_level,.fuses = true};
