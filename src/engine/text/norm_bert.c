/*-------------------------------------------------------------------------
 * norm_bert.c
 *	  BertNormalizer and BertPreTokenizer.
 *
 * J. Devlin et al., "BERT", 2018; the order of the reference: clean text
 * (control characters go, white space becomes a space), spaces around
 * Chinese characters, accents off (decompose, drop non-spacing marks), lower case.
 * strip_accents null means: as lowercase.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

typedef struct BertParam
{
	bool		clean;
	bool		chinese;
	bool		strip;
	bool		lower;
} BertParam;

/* All defaults are on. */
static void
compile_bert(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	BertParam	param;

	param.clean = te_json_bool(node, "clean_text", true);
	param.chinese = te_json_bool(node, "handle_chinese_chars", true);
	param.lower = te_json_bool(node, "lowercase", true);
	param.strip = te_json_bool(node, "strip_accents", param.lower);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* The blocks of CJK ideographs that BERT sets apart. */
static inline bool
is_chinese(uint32_t c)
{
	return c >= 0x3400 &&
		((c >= 0x4E00 && c <= 0x9FFF) || (c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
		 (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
		 (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F));
}

/* Clean, set ideographs apart, and lower ASCII, which no later step changes. */
static void
clean_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const BertParam *param = data;

	for (size_t i = 0; i < n; i++)
	{
		uint32_t	c = in[i].c;
		uint32_t	flags = te_uc_class(c)->flags;
		bool		apart = param->chinese && is_chinese(c);

		if (param->clean && (flags & TE_UC_BERT_CONTROL))
			continue;
		if (param->clean && (flags & TE_UC_BERT_SPACE))
			c = ' ';
		if (param->lower && c - 'A' < 26)
			c += 'a' - 'A';
		if (apart)
			te_put(encoder, ' ', in[i].start, in[i].stop);
		te_put(encoder, c, in[i].start, in[i].stop);
		if (apart)
			te_put(encoder, ' ', in[i].start, in[i].stop);
	}
}

/* Decompose, then leave non-spacing marks out, in place. */
static void
strip_marks(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	size_t		from = encoder->n_out;
	size_t		to = from;

	te_decompose_piece(encoder, in, n, NULL);
	for (size_t i = from; i < encoder->n_out; i++)
		if (!te_uc_is(encoder->out[i].c, TE_UC_BERT_MARK))
			encoder->out[to++] = encoder->out[i];
	encoder->n_out = to;
}

/* Then nothing is left to do: ASCII has no marks, and was lowered with the cleaning. */
static bool
all_ascii(const TeEncoder *encoder)
{
	for (size_t i = 0; i < encoder->n_chars; i++)
		if (!(encoder->chars[i].c & TE_CHAR_TOKEN) && (encoder->chars[i].c & TE_CHAR_CODE) >= 0x80)
			return false;
	return true;
}

/* Passes over whole texts; pieces are what added tokens left. */
static void
run_bert(TeEncoder *encoder, const void *data)
{
	const BertParam *param = data;

	te_each_piece(encoder, clean_piece, param);
	if (all_ascii(encoder))
		return;
	if (param->strip)
		te_each_piece(encoder, strip_marks, NULL);
	if (param->lower)
		te_each_piece(encoder, te_lower_piece, NULL);
}

const TeRow te_norm_bert = {"BertNormalizer", compile_bert, run_bert};

/* ---- the pre-tokenizer: white space goes, each punctuation character is a piece ---- */

/* White space between words. */
static void
mark_space(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
		if (te_uc_is(in[i].c & TE_CHAR_CODE, TE_UC_WHITE))
			te_mark(in, n, i, i + 1);
}

/* Each character by itself. */
static void
mark_punctuation(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
		if (te_uc_is(in[i].c & TE_CHAR_CODE, TE_UC_PUNCT))
			te_mark(in, n, i, i + 1);
}

/* Two splits, as the second one isolates what the first one left. */
static void
run_pre_bert(TeEncoder *encoder, const void *param)
{
	te_split(encoder, mark_space, NULL, TE_SPLIT_REMOVED, false);
	te_split(encoder, mark_punctuation, NULL, TE_SPLIT_ISOLATED, false);
}

const TeRow te_pre_bert = {"BertPreTokenizer", te_compile_plain, run_pre_bert};
