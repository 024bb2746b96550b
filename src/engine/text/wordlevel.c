/*-------------------------------------------------------------------------
 * wordlevel.c
 *	  The WordLevel model: a piece is a token, or unknown.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

/* The unknown token need not be in the vocabulary. */
static void
compile_wordlevel(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	int32_t		unk = te_vocab_id(te_image_so_far(compiler), te_json_str(node, "unk_token", "<unk>"));

	te_emit(compiler, kind, &unk, sizeof(unk));
}

/* One look-up. */
static void
run_wordlevel(TeEncoder *encoder, const void *param)
{
	TeStr		word = {encoder->word_bytes, encoder->word_at[encoder->n_word]};
	int32_t		id = te_vocab_id(encoder->tokenizer, word);

	if (id < 0)
		id = *(const int32_t *) param;
	if (id < 0)
		encoder->status = TE_TEXT_NO_TOKEN;
	else
		te_emit_token(encoder, id, 0, encoder->n_word);
}

const TeRow te_model_wordlevel = {"WordLevel", compile_wordlevel, run_wordlevel};
