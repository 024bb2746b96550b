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
	&te_norm_strip,
	&te_norm_replace,
	&te_norm_prepend,
	&te_norm_precompiled,
	&te_norm_byte_level,
	NULL
};

const TeRow *const te_pre_tokenizers[] =
{
	&te_pre_sequence,
	&te_pre_bert,
	&te_pre_whitespace,
	&te_pre_whitespace_split,
	&te_pre_punctuation,
	&te_pre_digits,
	&te_pre_delimiter,
	&te_pre_scripts,
	&te_pre_fixed_length,
	&te_pre_split,
	&te_pre_metaspace,
	&te_pre_byte_level,
	NULL
};

const TeRow *const te_models[] =
{
	&te_model_wordpiece,
	&te_model_wordlevel,
	&te_model_bpe,
	&te_model_unigram,
	NULL
};

const TeRow *const te_decoders[] =
{
	&te_decode_sequence,
	&te_decode_wordpiece,
	&te_decode_byte_level,
	&te_decode_metaspace,
	&te_decode_bpe,
	&te_decode_byte_fallback,
	&te_decode_fuse,
	&te_decode_strip,
	&te_decode_replace,
	&te_decode_ctc,
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
