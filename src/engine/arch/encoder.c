/*-------------------------------------------------------------------------
 * encoder.c
 *	  The post-norm encoder of BERT (Devlin et al., 2018) and its relatives:
 *	  tensors, weights, configuration and forward pass.
 *
 * Each layer is
 *
 *		x = norm(x + out(attention(query(x), key(x), value(x))))
 *		x = norm(x + down(activation(up(x))))
 *
 * and what comes before it is norm(words + positions + types), brought to the
 * width of the layers where it has another.  Query, key and
 * value are one linear op with three operands, so that x is read once.  MPNet
 * adds one bias to the attention scores of all layers.
 *
 * In training, elements of the embeddings, of out(...) and of down(...) are dropped, as in the original.
 *
 * Layers may share weights (ALBERT): n_layers says how many are computed, and
 * only those that differ are stored, listed and bound.
 *
 * The families are tables (encoder.h); no family is named here.  The weights
 * that te_encoder_bind() finds belong to the model's arena.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

/* llama.cpp's keys behind "bert." or whatever the architecture is, and the config.json keys that they fill. */
typedef struct EncoderKey
{
	const char *gguf;
	const char *hf;
	size_t		member;			/* int32_t of TeConfig */
} EncoderKey;

static const EncoderKey encoder_keys[] = {
	{"embedding_length", "hidden_size", offsetof(TeConfig, hidden_size)},
	{"block_count", "num_hidden_layers", offsetof(TeConfig, n_layers)},
	{"attention.head_count", "num_attention_heads", offsetof(TeConfig, n_heads)},
	{"feed_forward_length", "intermediate_size", offsetof(TeConfig, intermediate_size)},
};

static int64_t
encoder_size(const TeConfig *config, TeEncoderSize size)
{
	const int64_t sizes[] = {
		[TE_SIZE_ONE] = 1,
		[TE_SIZE_HIDDEN] = config->hidden_size,
		[TE_SIZE_EMBEDDING] = config->embedding_size,
		[TE_SIZE_PROJECTION] = config->embedding_size != config->hidden_size ? config->hidden_size : 0,
		[TE_SIZE_INTERMEDIATE] = config->intermediate_size,
		[TE_SIZE_VOCABULARY] = config->vocab_size,
		[TE_SIZE_POSITIONS] = config->max_positions,
		[TE_SIZE_ADDED_POSITIONS] = config->added_positions,
		[TE_SIZE_TYPES] = config->type_vocab_size,
		[TE_SIZE_BUCKETS] = config->relative_buckets,
		[TE_SIZE_RELATIVE_NORM] = config->relative_norm,
		[TE_SIZE_RELATIVE_QUERY] = config->relative_queries && !config->relative_shared ? config->hidden_size : 0,
		[TE_SIZE_RELATIVE_KEY] = config->relative_keys && !config->relative_shared ? config->hidden_size : 0,
		[TE_SIZE_HEADS] = config->n_heads,
		[TE_SIZE_HEAD] = config->head_size,
		[TE_SIZE_QUERY] = (int64_t) config->n_heads * config->head_size,
		[TE_SIZE_KEY] = (int64_t) config->n_kv_heads * config->head_size,
		[TE_SIZE_JOINT] = ((int64_t) config->n_heads + 2 * (int64_t) config->n_kv_heads) * config->head_size,
		[TE_SIZE_GATED] = 2 * (int64_t) config->intermediate_size,
		[TE_SIZE_HEAD_NORMS] = config->head_norms,
		[TE_SIZE_TWO_NORMS] = !config->four_norms,
		[TE_SIZE_FOUR_NORMS] = config->four_norms,
		[TE_SIZE_NORM_BIAS] = config->norm_bias,
		[TE_SIZE_ATTENTION_BIAS] = config->attention_bias,
		[TE_SIZE_OUT_BIAS] = config->out_bias,
		[TE_SIZE_UP_BIAS] = config->up_bias,
		[TE_SIZE_DOWN_BIAS] = config->down_bias,
		[TE_SIZE_OUT_NORM] = !config->shared_norm,
		[TE_SIZE_OUT_NORM_BIAS] = config->norm_bias && !config->shared_norm,
	};

	return sizes[size];
}

/* ---- tensors ---- */

/* How many layers have weights of their own. */
static int
stored_layers(const TeConfig *config)
{
	return config->n_layer_groups > 0 ? config->n_layer_groups * config->group_layers : config->n_layers;
}

/*
 * Which of them a computed layer uses.  transformers divides the passes, each
 * through all layers of a group, evenly over the groups, and does so in floating point.
 */
static int
stored_layer(const TeConfig *config, int layer)
{
	int			pass;
	int			group;

	if (config->n_layer_groups == 0)
		return layer;
	pass = layer / config->group_layers;
	group = (int) (pass / ((double) (config->n_layers / config->group_layers) / config->n_layer_groups));
	return group * config->group_layers + layer % config->group_layers;
}

static const char *
tensor_name(TeArena *arena, const TeEncoderTensor *row, int layer, const TeConfig *config)
{
	if (config->n_layer_groups == 0)
		return te_format(arena, row->name, layer);
	return te_format(arena, row->name, layer / config->group_layers, layer % config->group_layers);
}

/* Does this layer not have what the others have? */
static bool
is_left_out(const TeEncoderTensor *row, int layer, const TeConfig *config)
{
	return layer < row->first_layer || (row->dense && (config->expert_layers[layer / 32] >> (layer % 32) & 1) != 0);
}

/* The orders in which files have rows, each NULL where it is ours. */
typedef struct Orders
{
	const int32_t *groups;		/* of a joint projection, in folders */
	const int32_t *turned;		/* of heads, in GGUF */
} Orders;

/* Add one row of a family's table to the list; a size of 0 leaves it out. */
static void
encoder_list_row(const TeEncoderTensor *row, int layer, const TeConfig *config, const Orders *orders, TeTensorSpecs *specs)
{
	int64_t		n_out = encoder_size(config, row->n_out);
	int64_t		n_in = encoder_size(config, row->n_in);
	TeTensorSpec *spec;

	if (n_out == 0 || n_in == 0 || is_left_out(row, layer, config))
		return;
	spec = te_specs_add(specs, row->role, n_out, n_in, row->optional, "", row->gguf_name, layer);
	spec->name = tensor_name(specs->arena, row, layer, config);
	spec->sensitive = row->sensitive;
	spec->transposed = row->order == TE_ORDER_TRANSPOSED;
	spec->rows = row->order == TE_ORDER_GROUPS ? orders->groups : NULL;
	spec->gguf_rows = row->order == TE_ORDER_TURNED ? orders->turned : NULL;
	spec->less_one = row->order == TE_ORDER_LESS_ONE && config->norms_less_one;
	if (row->n_out == TE_SIZE_POSITIONS)
		spec->gguf_skip = config->position_offset;
}

/* Those that a table's rows ask for. */
static Orders
encoder_orders(const TeEncoderTensor *table, const TeConfig *config, TeArena *arena)
{
	Orders		orders = {NULL, NULL};

	for (const TeEncoderTensor *row = table; row->name != NULL; row++)
	{
		if (row->order == TE_ORDER_GROUPS && orders.groups == NULL && config->n_kv_heads > 1)
			orders.groups = te_order_groups(arena, config->n_heads, config->n_kv_heads, config->head_size);
		if (row->order == TE_ORDER_TURNED && orders.turned == NULL && config->gguf_pairs)
			orders.turned = te_order_turned(arena, config->n_heads, config->head_size);
	}
	return orders;
}

void
te_encoder_list(const TeEncoderTensor *table, const TeConfig *config, TeTensorSpecs *specs)
{
	const TeEncoderTensor *row;
	Orders		orders = encoder_orders(table, config, specs->arena);

	for (row = table; row->name != NULL; row++)
	{
		if (!row->in_layer)
			encoder_list_row(row, 0, config, &orders, specs);
	}
	for (int layer = 0; layer < stored_layers(config); layer++)
	{
		for (row = table; row->name != NULL; row++)
		{
			if (row->in_layer)
				encoder_list_row(row, layer, config, &orders, specs);
		}
	}
}

/* Put the weight of one row into its slot; its absence is an error where the table says so. */
static void
encoder_bind_row(const TeEncoderTensor *row, int layer, void *base, TeArena *scratch, const TeModel *model)
{
	const TeConfig *config = te_model_config(model);
	const TeWeight **slot = (const TeWeight **) ((char *) base + row->slot);
	int64_t		n_out = encoder_size(config, row->n_out);
	int64_t		n_in = encoder_size(config, row->n_in);
	const char *name;

	if (n_out == 0 || n_in == 0 || is_left_out(row, layer, config))
		return;
	name = tensor_name(scratch, row, layer, config);
	*slot = te_model_weight(model, te_str(name));
	if (*slot == NULL)
	{
		if (!row->optional)
			te_throw(TE_ERR_CORRUPT, "model image has no tensor \"%s\"", name);
		return;
	}
	if ((*slot)->n_out != n_out || (*slot)->n_in != n_in)
		te_throw(TE_ERR_CORRUPT, "tensor \"%s\" of the model image has another shape than its configuration says",
				 name);
}

const TeEncoder *
te_encoder_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model)
{
	const TeConfig *config = te_model_config(model);
	TeEncoder  *encoder = te_new(arena, TeEncoder);
	TeArena    *scratch = te_arena_create(arena, "tensor names");
	int			n_layers = stored_layers(config);

	encoder->layers = te_new_array(arena, TeEncoderLayer, n_layers);
	for (const TeEncoderTensor *row = table; row->name != NULL; row++)
	{
		if (!row->in_layer)
			encoder_bind_row(row, 0, encoder, scratch, model);
		for (int layer = 0; row->in_layer && layer < n_layers; layer++)
			encoder_bind_row(row, layer, &encoder->layers[layer], scratch, model);
	}
	te_arena_destroy(scratch);
	return encoder;
}

/* ---- configuration ---- */

void
te_encoder_read_config(const TeJson *config, TeConfig *into)
{
	TeStr		positions = te_json_str(config, "position_embedding_type", "absolute");

	if (!te_str_is(positions, "absolute"))
		te_throw(TE_ERR_UNSUPPORTED, "position_embedding_type \"%.*s\" is not supported", TE_STR_ARGS(positions));
	if (te_json_bool(config, "is_decoder", false))
		te_throw(TE_ERR_UNSUPPORTED, "\"is_decoder\": an encoder used as a decoder is not supported");

	into->hidden_size = te_config_size(config, "hidden_size", TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, "num_hidden_layers", TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, "num_attention_heads", TE_MAX_WIDTH);
	into->intermediate_size = te_config_size(config, "intermediate_size", TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->max_positions = te_config_size(config, "max_position_embeddings", TE_MAX_POSITIONS);
	into->type_vocab_size = (int32_t) te_json_int_range(config, "type_vocab_size", 2, 0, TE_MAX_WIDTH);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, 0, TE_MAX_VOCABULARY);
	into->activation = te_config_activation(config, "hidden_act");
	into->norm_eps = te_config_epsilon(config, "layer_norm_eps", 1e-12);
	te_config_heads(into);
}

/* Keys that a foreign GGUF file must have; the vocabulary's size is that of its tensor. */
void
te_encoder_keys_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	const TeTensorInfo *words = te_tensor_find(&file->tensors, TE_STR("token_embd.weight"));
	const TeTensorInfo *types = te_tensor_find(&file->tensors, TE_STR("token_types.weight"));

	if (words == NULL || words->n_dims != 2)
		te_throw(TE_ERR_MISSING, "tensor \"token_embd.weight\" is missing or has no two dimensions");
	for (size_t i = 0; i < TE_LENGTH(encoder_keys); i++)
	{
		const char *key = te_format(arena, "%s.%s", arch, encoder_keys[i].gguf);
		const TeJson *value = te_json_get(file->meta, key);

		if (value == NULL)
			te_throw(TE_ERR_MISSING, "metadata key \"%s\" is missing", key);
		te_json_set_copy(arena, te_json_add(arena, config, encoder_keys[i].hf), value);
	}
	te_json_set_int(te_json_add(arena, config, "vocab_size"), words->dims[0]);
	te_json_set_int(te_json_add(arena, config, "type_vocab_size"),
					types == NULL ? 0 : types->n_dims == 2 ? types->dims[0] : 1);
	te_json_set_int(te_json_add(arena, config, "pad_token_id"),
					te_json_int(file->meta, "tokenizer.ggml.padding_token_id", 0));
}

void
te_encoder_keys_to_gguf(TeArena *arena, const TeConfig *config, const char *arch, TeJson *meta)
{
	for (size_t i = 0; i < TE_LENGTH(encoder_keys); i++)
	{
		int32_t		value;

		memcpy(&value, (const char *) config + encoder_keys[i].member, sizeof(value));
		te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.%s", arch, encoder_keys[i].gguf)), value);
	}
	te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.context_length", arch)),
					config->max_positions - config->position_offset);
	te_json_set_real(te_json_add(arena, meta, te_format(arena, "%s.attention.layer_norm_epsilon", arch)), config->norm_eps);
	te_json_set_bool(te_json_add(arena, meta, te_format(arena, "%s.attention.causal", arch)), false);
	te_json_set_int(te_json_add(arena, meta, "tokenizer.ggml.token_type_count"), TE_MAX(config->type_vocab_size, 1));
}

/*
 * config.json of a foreign GGUF file.  The number of positions is that of the
 * tensor.
 */
void
te_encoder_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	const TeTensorInfo *positions = te_tensor_find(&file->tensors, TE_STR("position_embd.weight"));

	if (positions == NULL || positions->n_dims != 2)
		te_throw(TE_ERR_MISSING, "tensor \"position_embd.weight\" is missing or has no two dimensions");
	te_encoder_keys_from_gguf(arena, file, "bert", config);
	te_json_set_str(te_json_add(arena, config, "hidden_act"), TE_STR("gelu"));
	te_json_set_real(te_json_add(arena, config, "layer_norm_eps"),
					 te_json_real(file->meta, "bert.attention.layer_norm_epsilon", 1e-12));
	te_json_set_int(te_json_add(arena, config, "max_position_embeddings"), positions->dims[0]);
}

void
te_encoder_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	if (config->activation != TE_ACT_GELU)
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with gelu only, not with \"%s\"",
				  te_activation_name((TeActivation) config->activation));
	te_encoder_keys_to_gguf(arena, config, "bert", meta);
}

/* ---- forward ---- */

static TeOperand
encoder_operand(TeEncoderPair pair)
{
	return (TeOperand) {.matrix = pair.weight, .bias = pair.bias};
}

static TeNode *
encoder_linear(TeGraph *graph, TeNode *x, TeEncoderPair pair, TeActivation activation)
{
	TeOperand	operand = encoder_operand(pair);

	return te_linear(graph, x, &operand, 1, activation);
}

TeNode *
te_encoder_norm(TeGraph *graph, TeNode *x, TeNode *residual, TeEncoderPair norm, const TeConfig *config)
{
	return te_layer_norm(graph, x, residual, norm.weight, norm.bias, config->norm_eps);
}

/* norm(words + positions + types), [n_tok, embedding_size], then [n_tok, hidden_size] */
static TeNode *
encoder_embed(TeGraph *graph, const TeEncoder *encoder, const TeConfig *config, const TeBatch *batch)
{
	TeNode	   *x = te_gather(graph, encoder->words, batch->ids, batch->n_tok, 0);
	TeNode	   *positions = te_gather(graph, encoder->positions, batch->positions, batch->n_tok, config->position_offset);

	if (encoder->types != NULL)
	{
		te_assert(batch->type_ids != NULL);
		x = te_add(graph, x, te_gather(graph, encoder->types, batch->type_ids, batch->n_tok, 0));
	}
	x = te_encoder_norm(graph, x, positions, encoder->norm, config);
	x = te_dropout(graph, x);
	return encoder->projection.weight != NULL ? encoder_linear(graph, x, encoder->projection, TE_ACT_NONE) : x;
}

TeNode *
te_encoder_layer(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config, const TeAttentionSpec *spec)
{
	size_t		width = config->hidden_size;
	TeOperand	operands[3] = {encoder_operand(layer->query), encoder_operand(layer->key), encoder_operand(layer->value)};
	TeNode	   *joint = te_linear(graph, x, operands, 3, TE_ACT_NONE);
	TeNode	   *inner;

	inner = te_attention(graph, (TeColumns) {joint, 0, width}, (TeColumns) {joint, width, width},
						 (TeColumns) {joint, 2 * width, width}, spec);
	inner = te_dropout(graph, encoder_linear(graph, inner, layer->out, TE_ACT_NONE));
	x = te_encoder_norm(graph, inner, x, layer->attention_norm, config);
	inner = encoder_linear(graph, x, layer->up, (TeActivation) config->activation);
	inner = te_dropout(graph, encoder_linear(graph, inner, layer->down, TE_ACT_NONE));
	return te_encoder_norm(graph, inner, x, layer->out_norm, config);
}

TeNode *
te_encoder_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	const TeConfig *config = te_model_config(model);
	const TeEncoder *encoder = te_model_bound(model);
	TeNode	   *x = encoder_embed(graph, encoder, config, batch);
	TeAttentionSpec spec = {.n_head = config->n_heads, .n_kv_head = config->n_heads, .d_head = config->head_size};

	if (encoder->relative != NULL)
		spec.bias = te_relative_bias(graph, encoder->relative, config->relative_buckets,
									 config->relative_max_distance, true);
	for (int layer = 0; layer < config->n_layers; layer++)
		x = te_encoder_layer(graph, x, &encoder->layers[stored_layer(config, layer)], config, &spec);
	return x;
}
