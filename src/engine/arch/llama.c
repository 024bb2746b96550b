/*-------------------------------------------------------------------------
 * llama.c
 *	  The decoder of Llama (Touvron et al., 2023) and those built like it: RMS norms before the layers,
 *	  rotary positions, keys and values shared by groups of heads, a gated feed-forward.
 *
 * Each layer is
 *
 *		x = x + out(attention(query(norm(x)), key(norm(x)), value(norm(x))))
 *		x = x + down(activation(gate(norm(x))) * up(norm(x)))
 *
 * and a token sees itself and what came before it.  Query, key and value are one linear op with three operands, gate and up one with two.
 * Mistral sees a window only; Qwen2 has biases at query, key and value.  All of that is configuration.
 *
 * GGUF files of these families are not read yet: llama.cpp stores the rows of query and key in another order.
 *-------------------------------------------------------------------------
 */
#include "arch/rotary.h"

#define LAYER "layers.%d."

/* A weight and its bias, which is there where its size is not 0. */
#define IN_LAYER(slot, n_out, n_in, sensitive, bias_size, name) \
	TE_ENCODER_LAYER(slot.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, LAYER name ".weight", NULL), \
	TE_ENCODER_LAYER(slot.bias, TE_ROLE_VECTOR, bias_size, n_out, false, LAYER name ".bias", NULL)
#define NORM_IN_LAYER(slot, name) \
	TE_ENCODER_LAYER(slot.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, LAYER name ".weight", NULL)

static const TeEncoderTensor llama_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "embed_tokens.weight", NULL),
	NORM_IN_LAYER(attention_norm, "input_layernorm"),
	IN_LAYER(query, TE_SIZE_QUERY, TE_SIZE_HIDDEN, false, TE_SIZE_ATTENTION_BIAS, "self_attn.q_proj"),
	IN_LAYER(key, TE_SIZE_KEY, TE_SIZE_HIDDEN, false, TE_SIZE_ATTENTION_BIAS, "self_attn.k_proj"),
	IN_LAYER(value, TE_SIZE_KEY, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "self_attn.v_proj"),
	IN_LAYER(out, TE_SIZE_HIDDEN, TE_SIZE_QUERY, true, TE_SIZE_OUT_BIAS, "self_attn.o_proj"),
	NORM_IN_LAYER(out_norm, "post_attention_layernorm"),
	IN_LAYER(gate, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.gate_proj"),
	IN_LAYER(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.up_proj"),
	IN_LAYER(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_DOWN_BIAS, "mlp.down_proj"),
	TE_ENCODER_ONE(final_norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, "norm.weight", NULL),
	{.name = NULL}
};

/* ---- configuration ---- */

static void
read_heads(const TeJson *config, TeConfig *into)
{
	into->n_kv_heads = (int32_t) te_json_int_range(config, "num_key_value_heads", into->n_heads, 1, into->n_heads);
	if (into->n_heads % into->n_kv_heads != 0)
		te_throw(TE_ERR_CORRUPT, "%d attention heads cannot share %d keys", (int) into->n_heads, (int) into->n_kv_heads);
	if (te_json_get(config, "head_dim") == NULL && into->hidden_size % into->n_heads != 0)
		te_throw(TE_ERR_CORRUPT, "hidden size %d is no multiple of %d attention heads", (int) into->hidden_size,
				 (int) into->n_heads);
	into->head_size = (int32_t) te_json_int_range(config, "head_dim", into->hidden_size / into->n_heads, 1, TE_MAX_D_HEAD);
	into->embedding_size = into->hidden_size;
}

static void
read_window(const TeJson *config, TeConfig *into)
{
	bool		used = te_json_bool(config, "use_sliding_window", te_str_is(te_json_str(config, "model_type", ""), "mistral"));

	if (!used || te_json_get(config, "sliding_window") == NULL)
		return;
	/* a window of n tokens ends n - 1 before a token */
	into->window = (int32_t) te_json_int_range(config, "sliding_window", 0, 1, TE_MAX_POSITIONS) - 1;
}

static void
llama_read_config(const TeJson *config, TeConfig *into)
{
	const TeJson *rope = te_rope_parameters(config, NULL);
	bool		qwen2 = te_str_is(te_json_str(config, "model_type", ""), "qwen2");
	bool		bias = te_json_bool(config, "attention_bias", false);

	into->hidden_size = te_config_size(config, "hidden_size", TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, "num_hidden_layers", TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, "num_attention_heads", TE_MAX_WIDTH);
	into->intermediate_size = te_config_size(config, "intermediate_size", TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->max_positions = (int32_t) te_json_int_range(config, "max_position_embeddings", 2048, 1, TE_MAX_POSITIONS);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, -1, TE_MAX_VOCABULARY);
	into->activation = te_json_get(config, "hidden_act") == NULL ? TE_ACT_SILU : te_config_activation(config, "hidden_act");
	into->norm_eps = te_config_epsilon(config, "rms_norm_eps", 1e-6);
	into->attention_bias = qwen2 || bias;
	into->out_bias = bias && !qwen2;
	into->up_bias = into->down_bias = te_json_bool(config, "mlp_bias", false);
	read_heads(config, into);
	read_window(config, into);
	into->rope_columns = te_rope_columns(config, rope, 1, into);
	te_rope_read(config, rope, te_rope_base(config, "rope_theta", 10000), into, &into->rope);
	into->rope_local = into->rope;
}

/* ---- forward ---- */

static TeOperand
operand(TeEncoderPair pair)
{
	return (TeOperand) {.matrix = pair.weight, .bias = pair.bias};
}

static TeNode *
linear(TeGraph *graph, TeNode *x, TeEncoderPair pair)
{
	TeOperand	one = operand(pair);

	return te_linear(graph, x, &one, 1, TE_ACT_NONE);
}

static TeNode *
attend(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config, TeNode *table)
{
	TeOperand	operands[3] = {operand(layer->query), operand(layer->key), operand(layer->value)};
	size_t		head = (size_t) config->head_size;
	size_t		queries = (size_t) config->n_heads * head;
	size_t		keys = (size_t) config->n_kv_heads * head;
	TeNode	   *joint = te_linear(graph, x, operands, 3, TE_ACT_NONE);
	TeAttentionSpec spec = {.n_head = config->n_heads, .n_kv_head = config->n_kv_heads, .d_head = config->head_size,
		.causal = true, .window = config->window};

	joint = te_rope(graph, (TeColumns) {joint, 0, queries + keys}, head, table);
	x = te_attention(graph, (TeColumns) {joint, 0, queries}, (TeColumns) {joint, queries, keys},
					 (TeColumns) {joint, queries + keys, keys}, &spec);
	return linear(graph, x, layer->out);
}

static TeNode *
feed_forward(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config)
{
	TeOperand	both[2] = {operand(layer->gate), operand(layer->up)};

	x = te_linear(graph, x, both, 2, TE_ACT_NONE);
	return linear(graph, te_gate(graph, x, (TeActivation) config->activation), layer->down);
}

static TeNode *
norm(TeGraph *graph, TeNode *x, TeEncoderPair pair, const TeConfig *config)
{
	return te_rms_norm(graph, x, pair.weight, config->norm_eps);
}

static TeNode *
llama_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	const TeEncoder *decoder = te_model_bound(model);
	const TeConfig *config = te_model_config(model);
	TeNode	   *table = te_rope_table(graph, &decoder->rope);
	TeNode	   *x = te_dropout(graph, te_gather(graph, decoder->words, batch->ids, (size_t) batch->n_tok, 0));

	for (int i = 0; i < config->n_layers; i++)
	{
		const TeEncoderLayer *layer = &decoder->layers[i];

		x = te_add(graph, te_dropout(graph, attend(graph, norm(graph, x, layer->attention_norm, config), layer, config, table)), x);
		x = te_add(graph, te_dropout(graph, feed_forward(graph, norm(graph, x, layer->out_norm, config), layer, config)), x);
	}
	return norm(graph, x, decoder->final_norm, config);
}

/* ---- the row ---- */

static void
llama_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(llama_tensors, config, specs);
}

static const void *
llama_bind(TeArena *arena, const TeModel *model)
{
	return te_rotary_bind(llama_tensors, arena, model);
}

static const TeArchHead llama_heads[] = {
	{TE_HEAD_CAUSAL, .untied = true, .layers = {
		{"lm_head", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "embed_tokens.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"score", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_llama = {
	.name = "llama",
	.model_types = (const TeModelType[]) {{"llama", "LlamaModel"}, {"mistral", "MistralModel"}, {"qwen2", "Qwen2Model"}, {NULL}},
	.prefixes = (const char *const[]) {"model.", NULL},
	.gguf_name = NULL,
	.read_config = llama_read_config,
	.list_tensors = llama_list_tensors,
	.bind = llama_bind,
	.forward = llama_forward,
	.heads = llama_heads,
};
