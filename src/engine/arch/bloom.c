/*-------------------------------------------------------------------------
 * bloom.c
 *	  Bloom (Le Scao et al., 2022): attention that falls with the distance, a norm of the words, biases everywhere.
 *
 * Texts may have any length.  Configurations spell their numbers in two ways.  Rows of the joint projection are stored head by
 * head (model/order.c).
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "h.%d."
#define GGUF "bloom"
#define ALIBI_MAX 8
#define CONTEXT 2048			/* of the texts that it was made of: what is said to those who want a number */

static const TeEncoderTensor bloom_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "word_embeddings.weight", "token_embd.weight"),
	TE_GPT_NORM_ONE(norm, "word_embeddings_layernorm", "token_embd_norm"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "input_layernorm", "blk.%d.attn_norm"),
	TE_GPT_MATRIX(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ONE, LAYER "self_attention.query_key_value", "blk.%d.attn_qkv", TE_ORDER_GROUPS),
	TE_GPT_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_ONE, LAYER "self_attention.dense", "blk.%d.attn_output", TE_ORDER_SAME),
	TE_GPT_NORM(out_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "post_attention_layernorm", "blk.%d.ffn_norm"),
	TE_GPT_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "mlp.dense_h_to_4h", "blk.%d.ffn_up", TE_ORDER_SAME),
	TE_GPT_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_ONE, LAYER "mlp.dense_4h_to_h", "blk.%d.ffn_down", TE_ORDER_SAME),
	TE_GPT_NORM_ONE(final_norm, "ln_f", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys bloom_keys = {
	.gguf = GGUF,
	.hidden_size = "hidden_size",
	.n_layers = "n_layer",
	.n_heads = "n_head",
	.norm_eps = "layer_norm_epsilon",
	.usual_activation = TE_ACT_GELU_TANH,
};

static void
bloom_read_config(const TeJson *config, TeConfig *into)
{
	TeGptKeys	keys = bloom_keys;

	if (te_json_get(config, "n_embed") != NULL)
		keys.hidden_size = "n_embed";
	if (te_json_get(config, "num_attention_heads") != NULL)
		keys.n_heads = "num_attention_heads";
	if (te_json_get(config, "num_hidden_layers") != NULL)
		keys.n_layers = "num_hidden_layers";
	if (te_json_bool(config, "apply_residual_connection_post_layernorm", false))
		te_throw(TE_ERR_UNSUPPORTED, "\"apply_residual_connection_post_layernorm\" is not supported");
	te_gpt_read_config(config, &keys, into);
	into->alibi_max = ALIBI_MAX;
	into->alibi_scale = 1;
}

static void
bloom_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_gpt_config_from_gguf(arena, file, &bloom_keys, config);
}

static void
bloom_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	te_gpt_config_to_gguf(arena, config, &bloom_keys, meta);
	te_json_set_int(te_json_add(arena, meta, GGUF ".context_length"), CONTEXT);
}

static void
bloom_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(bloom_tensors, config, specs);
}

static const void *
bloom_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(bloom_tensors, arena, model);
}

static const TeArchHead bloom_heads[] = {
	{TE_HEAD_CAUSAL, .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "word_embeddings.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_bloom = {
	.name = "bloom",
	.model_types = (const TeModelType[]) {{"bloom", "BloomModel"}, {NULL}},
	.prefixes = (const char *const[]) {"transformer.", NULL},
	.gguf_name = GGUF,
	.read_config = bloom_read_config,
	.config_from_gguf = bloom_config_from_gguf,
	.config_to_gguf = bloom_config_to_gguf,
	.list_tensors = bloom_list_tensors,
	.bind = bloom_bind,
	.forward = te_gpt_forward,
	.heads = bloom_heads,
};
