/*-------------------------------------------------------------------------
 * components.c
 *	  The tables of tokenizer components, by their "type" in tokenizer.json.
 *
 * The place in a table is the number that compiled images hold: a new row
 * goes to the end, before the NULL.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

const TeRow *const te_normalizers[] =
{
	&te_norm_sequence,
	&te_norm_bert,
	&te_norm_nfc,
	&te_norm_nfd,
	&te_norm_nfkc,
	&te_norm_nfkd,
	&te_norm_lowercase,
	&te_norm_strip_accents,
	&te_norm_nmt,
	NULL
};

const TeRow *const te_pre_tokenizers[] =
{
	&te_pre_sequence,
	&te_pre_bert,
	NULL
};

const TeRow *const te_models[] =
{
	&te_model_wordpiece,
	NULL
};

const TeRow *const te_decoders[] =
{
	&te_decode_sequence,
	&te_decode_wordpiece,
	NULL
};

static void
compile_normalizers(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	te_compile_list(compiler, te_normalizers, te_json_get(node, "normalizers"));
}

const TeRow te_norm_sequence = {"Sequence", compile_normalizers};

static void
compile_pre_tokenizers(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	te_compile_list(compiler, te_pre_tokenizers, te_json_get(node, "pretokenizers"));
}

const TeRow te_pre_sequence = {"Sequence", compile_pre_tokenizers};

static void
compile_decoders(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	te_compile_list(compiler, te_decoders, te_json_get(node, "decoders"));
}

const TeRow te_decode_sequence = {"Sequence", compile_decoders};
