/*-------------------------------------------------------------------------
 * task_classify.c
 *	  The task "classify": a text, or a pair of texts, to one number a label.
 *
 * The hidden state of a text's first token goes through the layers of the
 * model's head for sequences (head.c).  The result is the logits;
 * te_model_scores() makes scores of them.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static void
classify_needs(const TeModel *model, const TeJobOptions *options)
{
	if (te_model_arch(model) == NULL || te_model_head(model)->kind != TE_HEAD_SEQUENCE)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL,
					  "Use a model whose config.json names a class like BertForSequenceClassification.",
					  "a model for the task \"%.*s\" gives no labels", TE_STR_ARGS(te_model_task(model)));
	te_model_tokenizer(model);
}

static int
classify_width(const TeModel *model)
{
	return te_model_head(model)->n_labels;
}

static TeStr
classify_prompt(const TeModel *model, const TeJobOptions *options)
{
	return (TeStr) {NULL, 0};
}

/* [n_seq, n_labels] */
static TeNode *
classify_compute(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	const TeHeadLayer *layers = te_arch_head(te_model_arch(model), TE_HEAD_SEQUENCE);
	TeNode	   *x = te_pool(graph, te_model_arch(model)->forward(graph, model, batch), TE_POOL_CLS);

	for (int i = 0; layers[i].name != NULL; i++)
		x = te_linear(graph, x, te_model_head_layer(model, i), 1, layers[i].activation);
	return x;
}

const TeTaskKind te_task_classify = {
	.name = "classify",
	.needs = classify_needs,
	.width = classify_width,
	.prompt = classify_prompt,
	.compute = classify_compute,
};
