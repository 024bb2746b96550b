/*-------------------------------------------------------------------------
 * falcon.c
 *	  Falcon (Almazrouei et al., 2023), in its three forms: that of 7B (one key and value for all heads, attention and feed-forward side by
 *	  side behind one norm), the new one (keys and values by groups, a norm for each of the two or one for both), and that of RW
 *	  (attention that falls with the distance, biases, one after the other).
 *
 * Rows of the joint projection are stored by key-value heads (model/order.c).  The distance counts before scores are scaled, unlike in
 * the paper.  llama.cpp knows the first two forms, and calls the feed-forward's norm the first where there are two.
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#include <math.h>

#define LAYER "h.%d."
#define GGUF "falcon"
#define ALIBI_MAX 8

#define WORDS \
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "word_embeddings.weight", "token_embd.weight")
#define MATRICES \
	TE_GPT_MATRIX(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, LAYER "self_attention.query_key_value", "blk.%d.attn_qkv", \
				  TE_ORDER_GROUPS), \
	TE_GPT_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_OUT_BIAS, LAYER "self_attention.dense", "blk.%d.attn_output", TE_ORDER_SAME), \
	TE_GPT_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, LAYER "mlp.dense_h_to_4h", "blk.%d.ffn_up", TE_ORDER_SAME), \
	TE_GPT_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_DOWN_BIAS, LAYER "mlp.dense_4h_to_h", "blk.%d.ffn_down", TE_ORDER_SAME), \
	TE_GPT_NORM_ONE(final_norm, "ln_f", "output_norm")

/* One norm, or two of layers one after the other. */
static const TeEncoderTensor falcon_tensors[] = {
	WORDS,
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "input_layernorm", "blk.%d.attn_norm"),
	TE_GPT_NORM(out_norm, TE_SIZE_OUT_NORM, TE_SIZE_OUT_NORM, LAYER "post_attention_layernorm", "blk.%d.ffn_norm"),
	MATRICES,
	{.name = NULL}
};

/* Two of parallel ones. */
static const TeEncoderTensor two_norms_tensors[] = {
	WORDS,
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "ln_attn", "blk.%d.attn_norm_2"),
	TE_GPT_NORM(out_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "ln_mlp", "blk.%d.attn_norm"),
	MATRICES,
	{.name = NULL}
};

static const TeGptKeys falcon_keys = {
	.gguf = GGUF,
	.hidden_size = "hidden_size",
	.n_layers = "num_hidden_layers",
	.n_heads = "num_attention_heads",
	.n_kv_heads = "num_kv_heads",
	.intermediate_size = "ffn_hidden_size",
	.max_positions = "max_position_embeddings",
	.norm_eps = "layer_norm_epsilon",
	.activation = "activation",
	.usual_activation = TE_ACT_GELU,
};

static const TeEncoderTensor *
table_of(const TeConfig *config)
{
	return config->parallel_layers && !config->shared_norm ? two_norms_tensors : falcon_tensors;
}

static void
falcon_read_config(const TeJson *config, TeConfig *into)
{
	bool		groups = te_json_bool(config, "new_decoder_architecture", false);
	bool		parallel = te_json_bool(config, "parallel_attn", true);

	te_gpt_read_config(config, &falcon_keys, into);
	if (!groups)
		into->n_kv_heads = te_json_bool(config, "multi_query", true) ? 1 : into->n_heads;
	into->parallel_layers = groups || parallel;
	into->shared_norm = into->parallel_layers && !(groups && te_json_int_range(config, "num_ln_in_parallel_attn", 2, 1, 2) == 2);
	into->attention_bias = into->out_bias = into->up_bias = into->down_bias = te_json_bool(config, "bias", false);
	if (!te_json_bool(config, "alibi", false))
	{
		te_gpt_read_rope(config, 1, into);
		return;
	}
	into->alibi_max = ALIBI_MAX;
	into->alibi_scale = (float) (1 / sqrt(into->head_size));
}

static void
falcon_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	bool		two_norms = te_tensor_find(&file->tensors, TE_STR("blk.0.attn_norm_2.weight")) != NULL;
	int64_t		n_kv_heads = te_json_int(file->meta, GGUF ".attention.head_count_kv", 1);

	te_gpt_config_from_gguf(arena, file, &falcon_keys, config);
	te_gpt_rope_from_gguf(arena, file, &falcon_keys, config);
	te_json_set_bool(te_json_add(arena, config, "new_decoder_architecture"), two_norms || n_kv_heads > 1);
	te_json_set_int(te_json_add(arena, config, "num_ln_in_parallel_attn"), two_norms ? 2 : 1);
}

static void
falcon_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	if (config->attention_bias || config->alibi_max > 0 || !config->parallel_layers)
		te_report(TE_NOTICE, "llama.cpp cannot compute the model: it knows those of this kind without biases only, with rotary positions and parallel layers");
	te_gpt_config_to_gguf(arena, config, &falcon_keys, meta);
	te_json_set_str(te_json_add(arena, meta, GGUF ".tensor_data_layout"), TE_STR("jploski"));
}

static void
falcon_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(table_of(config), config, specs);
}

static const void *
falcon_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(table_of(te_model_config(model)), arena, model);
}

static const TeArchHead falcon_heads[] = {
	{TE_HEAD_CAUSAL, .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "word_embeddings.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_falcon = {
	.name = "falcon",
	.model_types = (const TeModelType[]) {{"falcon", "FalconModel"}, {NULL}},
	.prefixes = (const char *const[]) {"transformer.", NULL},
	.gguf_name = GGUF,
	.read_config = falcon_read_config,
	.config_from_gguf = falcon_config_from_gguf,
	.config_to_gguf = falcon_config_to_gguf,
	.list_tensors = falcon_list_tensors,
	.bind = falcon_bind,
	.forward = te_gpt_forward,
	.heads = falcon_heads,
};
