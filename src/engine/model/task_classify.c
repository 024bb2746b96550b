/*-------------------------------------------------------------------------
 * task_classify.c
 *	  The task "classify": a text, or a pair of texts, to one number a label.
 *
 * A text's hidden states are pooled to one row (its first token's, mostly),
 * which goes through the layers of the model's head (head.c).  The result is the
 * logits; te_model_scores() makes scores of them.  Whether one text follows another is
 * a classification of the pair with two labels.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static void
classify_needs(const TeModel *model, const TeJobOptions *options)
{
	TeHeadKind	kind = te_model_head(model)->kind;

	if (kind != TE_HEAD_SEQUENCE && kind != TE_HEAD_NEXT)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL,
					  "Use a model whose config.json names a class like BertForSequenceClassification.",
					  "a model for the task \"%.*s\" gives no labels", TE_STR_ARGS(te_model_task(model)));
	te_model_tokenizer(model);
}

static int
classify_width(const TeModel *model, const TeJobOptions *options)
{
	return te_model_labels(model);
}

static TeStr
classify_prompt(const TeModel *model, const TeJobOptions *options)
{
	return (TeStr) {NULL, 0};
}

/* [n_seq, n_labels] */
static TeNode *
classify_compute(TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	TeNode	   *x = te_model_arch(model)->forward(graph, model, batch);

	return te_head_forward(graph, model, te_pool(graph, x, te_model_head(model)->pooling));
}

const TeTaskKind te_task_classify = {
	.name = "classify",
	.needs = classify_needs,
	.width = classify_width,
	.prompt = classify_prompt,
	.compute = classify_compute,
};
