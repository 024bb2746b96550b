/*-------------------------------------------------------------------------
 * task_fill.c
 *	  The task "fill": a text with mask tokens to a row of numbers for each of
 *	  them, one a word of the vocabulary.
 *
 * Only the hidden states of mask tokens go through the model's head: its last
 * layer is as wide as the vocabulary, and over all tokens it would cost as
 * much as some layers of the encoder.
 *
 * Which token is the mask, tokenizer.json does not say.  It is called [MASK]
 * or <mask> in all families.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static const char *const mask_texts[] = {"[MASK]", "<mask>"};

/* -1: none. */
static int32_t
mask_id(const TeModel *model)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(model);
	int32_t		id = -1;

	for (size_t i = 0; id < 0 && i < TE_LENGTH(mask_texts); i++)
		id = te_token_id(tokenizer, te_str(mask_texts[i]));
	return id;
}

static void
fill_needs(const TeModel *model, const TeJobOptions *options)
{
	if (te_model_head(model)->kind != TE_HEAD_MASK)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use a model whose config.json names a class like BertForMaskedLM.",
					  "a model for the task \"%.*s\" fills no masks", TE_STR_ARGS(te_model_task(model)));
	if (mask_id(model) < 0)
		te_throw(TE_ERR_UNSUPPORTED, "the model's tokenizer has no mask token");
}

static int
fill_width(const TeModel *model)
{
	return te_head_outputs(te_model_head(model), te_model_config(model));
}

static TeStr
fill_prompt(const TeModel *model, const TeJobOptions *options)
{
	return (TeStr) {NULL, 0};
}

static size_t
fill_values(const TeModel *model, const TeJobRow *row)
{
	int32_t		mask = mask_id(model);
	size_t		n = 0;

	for (uint32_t i = 0; i < row->n_tokens; i++)
		n += row->ids[i] == mask;
	return n;
}

/* [masks, vocabulary] */
static TeNode *
fill_compute(TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	TeNode	   *x = te_model_arch(model)->forward(graph, model, batch);
	int32_t    *rows = te_new_array(step, int32_t, batch->n_tok);
	int32_t		mask = mask_id(model);
	size_t		n = 0;

	for (int i = 0; i < batch->n_tok; i++)
	{
		if (batch->ids[i] == mask)
			rows[n++] = i;
	}
	return te_head_forward(graph, model, te_select_rows(graph, x, rows, n));
}

const TeTaskKind te_task_fill = {
	.name = "fill",
	.needs = fill_needs,
	.width = fill_width,
	.prompt = fill_prompt,
	.n_values = fill_values,
	.compute = fill_compute,
};
