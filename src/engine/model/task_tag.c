/*-------------------------------------------------------------------------
 * task_tag.c
 *	  The task "tag": a text, or a pair of texts, to a row of numbers for each
 *	  of its tokens.
 *
 * The layers of the model's head go over all hidden states.  A row has one
 * logit a label (token classification), or two: how well an answer begins, and
 * ends, with the token.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static void
tag_needs(const TeModel *model, const TeJobOptions *options)
{
	TeHeadKind	kind = te_model_head(model)->kind;

	if (kind != TE_HEAD_TOKEN && kind != TE_HEAD_ANSWER)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL,
					  "Use a model whose config.json names a class like BertForTokenClassification or BertForQuestionAnswering.",
					  "a model for the task \"%.*s\" gives tokens no labels", TE_STR_ARGS(te_model_task(model)));
	te_model_tokenizer(model);
}

static int
tag_width(const TeModel *model, const TeJobOptions *options)
{
	return te_head_outputs(te_model_head(model), te_model_config(model));
}

static TeStr
tag_prompt(const TeModel *model, const TeJobOptions *options)
{
	return (TeStr) {NULL, 0};
}

static size_t
tag_values(const TeModel *model, const TeJobOptions *options, const TeJobRow *row)
{
	return row->n_tokens;
}

/* [n_tok, outputs] */
static TeNode *
tag_compute(TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	return te_head_forward(graph, model, te_model_arch(model)->forward(graph, model, batch));
}

const TeTaskKind te_task_tag = {
	.name = "tag",
	.needs = tag_needs,
	.width = tag_width,
	.prompt = tag_prompt,
	.n_values = tag_values,
	.compute = tag_compute,
};
