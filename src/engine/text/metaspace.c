/*-------------------------------------------------------------------------
 * metaspace.c
 *	  Metaspace, as pre-tokenizer and as decoder: spaces written as U+2581.
 *
 * SentencePiece's convention.  prepend_scheme says whether the mark is put
 * before each piece, before the first only (the one at the very start of the text),
 * or never; files before it have add_prefix_space instead.
 *-------------------------------------------------------------------------
 */
#include "text/decode.h"

enum
{
	PREPEND_ALWAYS,
	PREPEND_FIRST,
	PREPEND_NEVER
};

typedef struct MetaspaceParam
{
	uint32_t	mark;
	uint32_t	prepend;
	bool		split;
} MetaspaceParam;

/* add_prefix_space false is the older way to say never. */
static void
compile_metaspace(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	static const char *const schemes[] = {"always", "first", "never"};
	MetaspaceParam param = {.mark = 0x2581,.prepend = UINT32_MAX};
	TeStr		scheme = te_json_str(node, "prepend_scheme", "always");

	if (te_json_get(node, "replacement") != NULL)
		param.mark = te_char_member(compiler, node, "replacement");
	for (uint32_t i = 0; i < TE_LENGTH(schemes); i++)
		if (te_str_is(scheme, schemes[i]))
			param.prepend = i;
	if (param.prepend == UINT32_MAX)
		te_throw(TE_ERR_CORRUPT, "tokenizer: prepend_scheme \"%.*s\" is not known", TE_STR_ARGS(scheme));
	if (!te_json_bool(node, "add_prefix_space", true))
		param.prepend = PREPEND_NEVER;
	param.split = te_json_bool(node, "split", true);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* A piece that begins with a space has its mark already. */
static void
mark_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const MetaspaceParam *param = data;
	bool		prepend = param->prepend == PREPEND_ALWAYS || (param->prepend == PREPEND_FIRST && encoder->at_start);

	if (prepend && in[0].c != ' ' && in[0].c != param->mark)
		te_put(encoder, param->mark, in[0].start, in[0].stop);
	for (size_t i = 0; i < n; i++)
		te_put(encoder, in[i].c == ' ' ? param->mark : in[i].c, in[i].start, in[i].stop);
}

/* Every mark begins a piece. */
static void
find_marks(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const MetaspaceParam *param = data;

	for (size_t i = 0; i < n; i++)
		if ((in[i].c & TE_CHAR_CODE) == param->mark)
			te_mark(in, n, i, i + 1);
}

/* Without split a piece stays as it is. */
static void
run_metaspace(TeEncoder *encoder, const void *data)
{
	const MetaspaceParam *param = data;

	te_each_piece(encoder, mark_piece, param);
	if (param->split)
		te_split(encoder, find_marks, param, TE_SPLIT_MERGED_WITH_NEXT, false);
}

const TeRow te_pre_metaspace = {"Metaspace", compile_metaspace, run_metaspace};

/* Marks become spaces again; those of the first token go, where one was put there. */
static TeStr
plain_text(TeDecoder *decoder, const MetaspaceParam *param, TeStr token, bool first)
{
	char		mark[4];
	TeStr		from = {mark, te_utf8_put(mark, (int32_t) param->mark)};

	return te_replace_all(decoder->arena, token, from, first && param->prepend != PREPEND_NEVER ? TE_STR("") : TE_STR(" "));
}

static void
decode_metaspace(TeDecoder *decoder, const void *data)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		decoder->tokens[i] = plain_text(decoder, data, decoder->tokens[i], decoder->step->seen + i == 0);
	}
}

static void
each_metaspace(TeDecoder *decoder, const void *data, bool first)
{
	for (size_t i = 0; i < decoder->n; i++)
	{
		te_decoder_pause(i);
		decoder->tokens[i] = plain_text(decoder, data, decoder->tokens[i], first);
	}
}

const TeRow te_decode_metaspace = {"Metaspace", compile_metaspace,.decode = decode_metaspace,.each = each_metaspace};
