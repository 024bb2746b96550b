/*-------------------------------------------------------------------------
 * task_embed.c
 *	  The task "embed": a text to one vector.
 *
 * The encoder's hidden states are pooled to one row a text (several poolings
 * stand side by side), go through the dense layers and are normalized, as the
 * model's pipeline says.
 *
 * Kinds.  A retrieval model may want another prompt before a question than
 * before a document.  "query" and "passage" are our names; models call the
 * second one also "document" or "corpus".  A model without such a prompt
 * ignores the kind; without a kind, its default prompt is used.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define NORMALIZE_EPSILON 1e-12f

/* The names under which a kind's prompt is looked for, in this order. */
static const struct
{
	const char *kind;
	const char *names[4];
}			kinds[] = {
	{"query", {"query", NULL}},
	{"passage", {"passage", "document", "corpus", NULL}},
};

static void
embed_needs(const TeModel *model, const TeJobOptions *options)
{
	if (te_model_head(model)->kind != TE_HEAD_NONE)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Import it for the task \"embedding\", which leaves its head out.",
					  "a model for the task \"%.*s\" gives no embeddings", TE_STR_ARGS(te_model_task(model)));
	if (te_model_arch(model) == NULL || te_model_dimensions(model) == 0)
		te_throw(TE_ERR_UNSUPPORTED, "a model of architecture \"%.*s\" gives no embeddings",
				 TE_STR_ARGS(te_model_architecture(model)));
	te_model_tokenizer(model);
	if (options->kind.data == NULL)
		return;
	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
	{
		if (te_str_is(options->kind, kinds[i].kind))
			return;
	}
	te_throw_hint(TE_ERR_INVALID, NULL, "Use \"query\" or \"passage\".", "kind \"%.*s\" is not known",
				  TE_STR_ARGS(options->kind));
}

static int
embed_width(const TeModel *model, const TeJobOptions *options)
{
	return te_model_dimensions(model);
}

/* The prompt of that name; {NULL, 0} where the model has none. */
static TeStr
find_prompt(const TePipeline *pipeline, const char *name)
{
	for (int i = 0; i < pipeline->n_prompts; i++)
	{
		if (te_str_is(pipeline->prompts[i].name, name))
			return pipeline->prompts[i].text;
	}
	return (TeStr) {NULL, 0};
}

static TeStr
embed_prompt(const TeModel *model, const TeJobOptions *options)
{
	const TePipeline *pipeline = te_model_pipeline(model);
	TeStr		prompt = {NULL, 0};

	if (options->kind.data == NULL)
	{
		if (pipeline->default_prompt >= 0)
			prompt = pipeline->prompts[pipeline->default_prompt].text;
		return prompt;
	}
	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
	{
		if (!te_str_is(options->kind, kinds[i].kind))
			continue;
		for (const char *const *name = kinds[i].names; *name != NULL && prompt.data == NULL; name++)
			prompt = find_prompt(pipeline, *name);
	}
	return prompt;
}

/* [n_seq, dimensions] */
static TeNode *
embed_compute(TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	const TePipeline *pipeline = te_model_pipeline(model);
	TeNode	   *hidden = te_model_arch(model)->forward(graph, model, batch);
	TeNode	   *pooled[TE_N_POOLINGS];
	TeNode	   *x;

	for (int i = 0; i < pipeline->n_poolings; i++)
		pooled[i] = te_pool(graph, hidden, pipeline->pooling[i]);
	x = pipeline->n_poolings == 1 ? pooled[0] : te_concat(graph, pooled, pipeline->n_poolings);
	for (int i = 0; i < pipeline->n_dense; i++)
		x = te_linear(graph, x, te_model_dense(model, i), 1, pipeline->dense[i].activation);
	if (pipeline->normalize)
		x = te_l2_normalize(graph, x, NORMALIZE_EPSILON);
	return x;
}

const TeTaskKind te_task_embed = {
	.name = "embed",
	.needs = embed_needs,
	.width = embed_width,
	.prompt = embed_prompt,
	.compute = embed_compute,
};
