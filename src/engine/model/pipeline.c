/*-------------------------------------------------------------------------
 * pipeline.c
 *	  What surrounds an encoder that makes embeddings: prompts before the
 *	  text, pooling, dense layers and normalization after the last layer.
 *
 * It is one JSON object, kept by the catalog beside config.json:
 *
 *	  {"pooling": ["mean"],			one or several, concatenated in this order, of
 *									mean, cls, max, last, mean_sqrt
 *	   "dense": [{"tensor": "2_Dense.linear", "in": 384, "out": 256,
 *				  "bias": true, "activation": "tanh"}],
 *	   "normalize": true,			to length 1, last of all
 *	   "max_tokens": 256,			texts are truncated to it; absent: what the positions allow
 *	   "prompts": {"query": "query: ", "passage": "passage: "},
 *	   "default_prompt": "query",
 *	   "generation": {...}}			of a model that writes text: generation.c
 *
 * Absent members mean: mean pooling, no dense layer, no normalization, no
 * prompts.  Dense layers are tensors of the model like any other, with the
 * names <tensor>.weight and <tensor>.bias.
 *
 * The reader trusts nothing: the JSON may come from the catalog.  To add a
 * pooling: an op in graph/, a row of `poolings` here.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

/* Ours, and sentence-transformers' name of the same. */
static const struct
{
	TePooling	pooling;
	const char *name;
	const char *hf;
}			poolings[] = {
	{TE_POOL_MEAN, "mean", "mean"},
	{TE_POOL_CLS, "cls", "cls"},
	{TE_POOL_MAX, "max", "max"},
	{TE_POOL_LAST, "last", "lasttoken"},
	{TE_POOL_MEAN_SQRT, "mean_sqrt", "mean_sqrt_len_tokens"},
};

_Static_assert(TE_LENGTH(poolings) == TE_N_POOLINGS, "every pooling has its names");

static const struct
{
	TeActivation activation;
	const char *class_name;		/* as it is written out: module, dot, class */
}			dense_activations[] = {
	{TE_ACT_NONE, "torch.nn.modules.linear.Identity"},
	{TE_ACT_TANH, "torch.nn.modules.activation.Tanh"},
	{TE_ACT_RELU, "torch.nn.modules.activation.ReLU"},
	{TE_ACT_GELU, "torch.nn.modules.activation.GELU"},
	{TE_ACT_SILU, "torch.nn.modules.activation.SiLU"},
	{TE_ACT_SIGMOID, "torch.nn.modules.activation.Sigmoid"},
};

const char *
te_pooling_name(TePooling pooling)
{
	for (size_t i = 0; i < TE_LENGTH(poolings); i++)
	{
		if (poolings[i].pooling == pooling)
			return poolings[i].name;
	}
	te_throw(TE_ERR_INTERNAL, "pooling %d has no name", (int) pooling);
}

const char *
te_pooling_hf(TePooling pooling)
{
	for (size_t i = 0; i < TE_LENGTH(poolings); i++)
	{
		if (poolings[i].pooling == pooling)
			return poolings[i].hf;
	}
	te_throw(TE_ERR_INTERNAL, "pooling %d has no name", (int) pooling);
}

TePooling
te_pooling_by_name(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(poolings); i++)
	{
		if (te_str_is(name, poolings[i].name))
			return poolings[i].pooling;
	}
	return TE_N_POOLINGS;
}

TePooling
te_pooling_by_hf(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(poolings); i++)
	{
		if (te_str_is(name, poolings[i].hf))
			return poolings[i].pooling;
	}
	return TE_N_POOLINGS;
}

/* Only the class counts: its module has moved between versions of torch. */
TeActivation
te_dense_activation(TeStr class_name)
{
	for (size_t i = 0; i < TE_LENGTH(dense_activations); i++)
	{
		const char *class_only = strrchr(dense_activations[i].class_name, '.');

		if (te_str_ends(class_name, class_only))
			return dense_activations[i].activation;
	}
	return TE_N_ACTIVATIONS;
}

const char *
te_dense_class(TeActivation activation)
{
	for (size_t i = 0; i < TE_LENGTH(dense_activations); i++)
	{
		if (dense_activations[i].activation == activation)
			return dense_activations[i].class_name;
	}
	return NULL;
}

static void
read_poolings(const TeJson *json, TePipeline *into)
{
	const TeJson *list = te_json_get(json, "pooling");

	if (list == NULL)
	{
		into->pooling[into->n_poolings++] = TE_POOL_MEAN;
		return;
	}
	if (list->kind != TE_JSON_ARRAY || list->n == 0 || list->n > TE_N_POOLINGS)
		te_throw(TE_ERR_CORRUPT, "\"pooling\" must be a list of 1 to %d names", TE_N_POOLINGS);
	for (uint32_t i = 0; i < list->n; i++)
	{
		const TeJson *item = &list->items[i];
		TePooling	pooling = item->kind == TE_JSON_STRING ? te_pooling_by_name(item->string) : TE_N_POOLINGS;

		if (pooling == TE_N_POOLINGS)
			te_throw(TE_ERR_UNSUPPORTED, "\"pooling\": \"%.*s\" is not supported",
					 item->kind == TE_JSON_STRING ? (int) TE_MIN(item->string.len, (size_t) 200) : 1,
					 item->kind == TE_JSON_STRING ? item->string.data : "?");
		into->pooling[into->n_poolings++] = pooling;
	}
}

/* A name that is also that of a folder when the model is exported: no way out of it, nothing odd. */
static bool
is_plain_name(TeStr name)
{
	for (size_t i = 0; i < name.len; i++)
	{
		char		c = name.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'
			  || (c == '.' && i > 0)))
			return false;
	}
	return name.len > 0;
}

/* Each layer's input must be what the one before it gives. */
static void
read_dense(const TeJson *json, int32_t width, TePipeline *into)
{
	const TeJson *list = te_json_get(json, "dense");

	if (list == NULL)
		return;
	if (list->kind != TE_JSON_ARRAY || list->n > TE_MAX_DENSE)
		te_throw(TE_ERR_CORRUPT, "\"dense\" must be a list of at most %d layers", TE_MAX_DENSE);
	for (uint32_t i = 0; i < list->n; i++)
	{
		const TeJson *item = &list->items[i];
		TeDense    *dense = &into->dense[into->n_dense++];
		TeStr		activation = te_json_str(item, "activation", "linear");

		dense->tensor = te_json_str(item, "tensor", "");
		dense->n_in = (int32_t) te_json_int_range(item, "in", 0, 1, TE_MAX_WIDTH * TE_N_POOLINGS);
		dense->n_out = (int32_t) te_json_int_range(item, "out", 0, 1, TE_MAX_WIDTH);
		dense->bias = te_json_bool(item, "bias", true);
		dense->activation = te_activation_by_name(activation);
		if (!is_plain_name(dense->tensor) || dense->n_in == 0 || dense->n_out == 0)
			te_throw(TE_ERR_CORRUPT, "a dense layer must have \"tensor\", a plain name, \"in\" and \"out\"");
		if (dense->activation == TE_N_ACTIVATIONS)
			te_throw(TE_ERR_UNSUPPORTED, "activation \"%.*s\" of dense layer \"%.*s\" is not supported",
					 TE_STR_ARGS(activation), TE_STR_ARGS(dense->tensor));
		if (dense->n_in != width)
			te_throw(TE_ERR_CORRUPT, "dense layer \"%.*s\" takes %d numbers, but is given %d",
					 TE_STR_ARGS(dense->tensor), (int) dense->n_in, (int) width);
		width = dense->n_out;
	}
}

static void
read_prompts(const TeJson *json, TePipeline *into)
{
	const TeJson *prompts = te_json_get(json, "prompts");
	TeStr		name = te_json_str(json, "default_prompt", NULL);

	into->default_prompt = -1;
	if (prompts != NULL && (prompts->kind != TE_JSON_OBJECT || prompts->n > TE_MAX_PROMPTS))
		te_throw(TE_ERR_CORRUPT, "\"prompts\" must be an object of at most %d texts", TE_MAX_PROMPTS);
	for (uint32_t i = 0; prompts != NULL && i < prompts->n; i++)
	{
		const TeJson *item = &prompts->items[i];

		if (item->kind != TE_JSON_STRING)
			te_throw(TE_ERR_CORRUPT, "prompt \"%.*s\" must be a text", TE_STR_ARGS(item->key));
		if (name.data != NULL && te_str_eq(name, item->key))
			into->default_prompt = into->n_prompts;
		into->prompts[into->n_prompts++] = (TePrompt) {item->key, item->string};
	}
	if (name.data != NULL && into->default_prompt < 0)
		te_throw(TE_ERR_CORRUPT, "\"default_prompt\" names \"%.*s\", which is none of the prompts", TE_STR_ARGS(name));
}

/* Strings of the result point into json. */
void
te_pipeline_read(const TeJson *json, const TeConfig *config, TePipeline *into)
{
	memset(into, 0, sizeof(*into));
	te_generation_none(&into->generation);
	read_poolings(json, into);
	read_dense(json, into->n_poolings * config->hidden_size, into);
	read_prompts(json, into);
	into->normalize = te_json_bool(json, "normalize", false);
	into->max_tokens = (int32_t) te_json_int_range(json, "max_tokens", 0, 0, INT32_MAX);
}

void
te_pipeline_list_tensors(const TePipeline *pipeline, TeTensorSpecs *specs)
{
	for (int i = 0; i < pipeline->n_dense; i++)
	{
		const TeDense *dense = &pipeline->dense[i];
		TeTensorSpec *spec;

		spec = te_specs_add(specs, TE_ROLE_LINEAR, dense->n_out, dense->n_in, false, "", NULL, 0);
		spec->name = te_format(specs->arena, "%.*s.weight", (int) dense->tensor.len, dense->tensor.data);
		if (!dense->bias)
			continue;
		spec = te_specs_add(specs, TE_ROLE_VECTOR, 1, dense->n_out, false, "", NULL, 0);
		spec->name = te_format(specs->arena, "%.*s.bias", (int) dense->tensor.len, dense->tensor.data);
	}
}

int
te_pipeline_dimensions(const TePipeline *pipeline, const TeConfig *config)
{
	if (pipeline->n_dense > 0)
		return pipeline->dense[pipeline->n_dense - 1].n_out;
	return pipeline->n_poolings * config->hidden_size;
}

int
te_pipeline_context(const TePipeline *pipeline, const TeConfig *config)
{
	int			positions = config->max_positions > 0 ? config->max_positions - config->position_offset : 0;

	if (pipeline->max_tokens == 0 || (positions > 0 && positions < pipeline->max_tokens))
		return positions;
	return pipeline->max_tokens;
}
