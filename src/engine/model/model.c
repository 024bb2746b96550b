/*-------------------------------------------------------------------------
 * model.c
 *	  Attached models: one process's view of an image.
 *
 * Attaching checks the image (image.c), finds the weights that the
 * architecture's forward pass reads, and parses nothing.  What it allocates is
 * some kilobytes in the caller's arena: descriptions of tensors that stay in
 * the image.  A model must go before its image is unmapped.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

struct TeModel
{
	TeArena    *arena;
	const TeArch *arch;			/* NULL: a tokenizer */
	const TeTokenizer *tokenizer;	/* NULL: none */
	const void *bound;			/* the architecture's own */
	TeOperand	dense[TE_MAX_DENSE];	/* of the pipeline */
	TeHeadWeights head[TE_MAX_HEAD_LAYERS];
	TeImageView view;
};

/* A tensor of a layer; its absence or another shape is damage. */
static const TeWeight *
layer_weight(TeModel *model, TeStr layer, const char *member, int64_t n_out, int64_t n_in)
{
	const char *name = te_format(model->arena, "%.*s.%s", TE_STR_ARGS(layer), member);
	const TeWeight *weight = te_model_weight(model, te_str(name));

	if (weight == NULL || weight->n_out != n_out || weight->n_in != n_in)
		te_throw(TE_ERR_CORRUPT, "model image has no tensor \"%s\" of the right shape", name);
	return weight;
}

static void
bind_dense(TeModel *model)
{
	const TePipeline *pipeline = &model->view.pipeline;

	for (int i = 0; i < pipeline->n_dense; i++)
	{
		const TeDense *dense = &pipeline->dense[i];

		model->dense[i].matrix = layer_weight(model, dense->tensor, "weight", dense->n_out, dense->n_in);
		if (dense->bias)
			model->dense[i].bias = layer_weight(model, dense->tensor, "bias", 1, dense->n_out);
	}
}

TeModel *
te_model_attach(TeArena *arena, const void *image, uint64_t bytes)
{
	TeModel    *model = te_new(arena, TeModel);
	TeImageView *view = &model->view;

	model->arena = arena;
	te_image_view(arena, image, bytes, view);
	if (view->tokenizer.len > 0)
		model->tokenizer = te_tokenizer_attach(view->tokenizer.data, view->tokenizer.len);
	if (te_str_is(view->architecture, "tokenizer"))
		return model;
	model->arch = te_arch_by_name(view->architecture);
	model->bound = model->arch->bind(arena, model);
	bind_dense(model);
	te_lora_bind(arena, model);
	te_head_bind(arena, model, model->head);
	return model;
}

const TeWeight *
te_model_weight(const TeModel *model, TeStr name)
{
	const TeImageView *view = &model->view;
	size_t		slot = te_hash(name.data, name.len) & (view->index_size - 1);

	/* At most half of the slots are taken, so that the walk ends. */
	while (view->index[slot] < view->n_tensors)
	{
		if (te_str_eq(view->names[view->index[slot]], name))
			return &view->weights[view->index[slot]];
		slot = (slot + 1) & (view->index_size - 1);
	}
	return NULL;
}

TeWeight *
te_model_weights(TeModel *model, size_t *n, const TeStr **names)
{
	*n = model->view.n_tensors;
	*names = model->view.names;
	return model->view.weights;
}

const TeTokenizer *
te_model_tokenizer(const TeModel *model)
{
	if (model->tokenizer == NULL)
		te_throw_hint(TE_ERR_MISSING, NULL, "Import the model again and name a tokenizer.",
					  "the model has no tokenizer");
	return model->tokenizer;
}

TeStr
te_model_architecture(const TeModel *model)
{
	return model->view.architecture;
}

TeStr
te_model_task(const TeModel *model)
{
	return model->view.task;
}

int
te_model_dimensions(const TeModel *model)
{
	return model->view.dimensions;
}

int
te_model_context_length(const TeModel *model)
{
	return model->view.context_length;
}

/* Elements of the experts that a token does not go through. */
static double
passed_over(const TeConfig *config)
{
	double		layers = 0;

	for (int i = 0; i < config->n_layers; i++)
		layers += config->expert_layers[i / 32] >> (i % 32) & 1;
	return layers * 3.0 * config->expert_size * config->hidden_size * (config->n_experts - config->n_chosen);
}

/* A multiplication and an addition for each element of a linear layer; attention over short texts is little beside. */
double
te_model_flops_per_token(const TeModel *model)
{
	const TeConfig *config = model->view.config;
	double		passes = 1;

	/* Shared layers are stored once; the little that is no layer is counted too often with them. */
	if (config->n_layer_groups > 0)
		passes = (double) config->n_layers / (config->n_layer_groups * config->group_layers);
	return 2.0 * (passes * model->view.n_linear_elements - passed_over(config));
}

const TeConfig *
te_model_config(const TeModel *model)
{
	return model->view.config;
}

const TePipeline *
te_model_pipeline(const TeModel *model)
{
	return &model->view.pipeline;
}

const TeArch *
te_model_arch(const TeModel *model)
{
	return model->arch;
}

const void *
te_model_bound(const TeModel *model)
{
	return model->bound;
}

const TeOperand *
te_model_dense(const TeModel *model, int i)
{
	return &model->dense[i];
}

const TeHead *
te_model_head(const TeModel *model)
{
	return &model->view.head;
}

const TeHeadWeights *
te_model_head_layer(const TeModel *model, int i)
{
	return &model->head[i];
}
