/*-------------------------------------------------------------------------
 * neox.c
 *	  GPT-NeoX (Black et al., 2022) and Pythia: attention and feed-forward side by side, each with its norm, and a part of each head turned.
 *
 * "use_parallel_residual" may put them one after the other.  Rows of the joint projection are stored head by head (model/order.c).
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "layers.%d."
#define GGUF "gptneox"
#define TURNED 0.25				/* of a head, where config.json does not say */

static const TeEncoderTensor neox_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "embed_in.weight", "token_embd.weight"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "input_layernorm", "blk.%d.attn_norm"),
	TE_GPT_MATRIX(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, LAYER "attention.query_key_value", "blk.%d.attn_qkv",
				  TE_ORDER_GROUPS),
	TE_GPT_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_OUT_BIAS, LAYER "attention.dense", "blk.%d.attn_output", TE_ORDER_SAME),
	TE_GPT_NORM(out_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "post_attention_layernorm", "blk.%d.ffn_norm"),
	TE_GPT_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "mlp.dense_h_to_4h", "blk.%d.ffn_up", TE_ORDER_SAME),
	TE_GPT_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_ONE, LAYER "mlp.dense_4h_to_h", "blk.%d.ffn_down", TE_ORDER_SAME),
	TE_GPT_NORM_ONE(final_norm, "final_layer_norm", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys neox_keys = {
	.gguf = GGUF,
	.hidden_size = "hidden_size",
	.n_layers = "num_hidden_layers",
	.n_heads = "num_attention_heads",
	.intermediate_size = "intermediate_size",
	.max_positions = "max_position_embeddings",
	.norm_eps = "layer_norm_eps",
	.activation = "hidden_act",
	.usual_activation = TE_ACT_GELU,
};

static void
neox_read_config(const TeJson *config, TeConfig *into)
{
	te_gpt_read_config(config, &neox_keys, into);
	te_gpt_read_rope(config, TURNED, into);
	into->parallel_layers = te_json_bool(config, "use_parallel_residual", true);
	into->attention_bias = into->out_bias = te_json_bool(config, "attention_bias", true);
}

static void
neox_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_gpt_config_from_gguf(arena, file, &neox_keys, config);
	te_gpt_rope_from_gguf(arena, file, &neox_keys, config);
	te_json_set_bool(te_json_add(arena, config, "use_parallel_residual"),
					 te_json_bool(file->meta, GGUF ".use_parallel_residual", true));
}

static void
neox_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	if (!config->attention_bias)
		te_report(TE_NOTICE, "llama.cpp cannot open the file: it wants biases in models of this kind");
	te_gpt_config_to_gguf(arena, config, &neox_keys, meta);
	te_json_set_bool(te_json_add(arena, meta, GGUF ".use_parallel_residual"), config->parallel_layers);
}

static void
neox_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(neox_tensors, config, specs);
}

static const void *
neox_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(neox_tensors, arena, model);
}

static const TeArchHead neox_heads[] = {
	{TE_HEAD_CAUSAL, .untied = true, .layers = {
		{"embed_out", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "embed_in.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_neox = {
	.name = "neox",
	.model_types = (const TeModelType[]) {{"gpt_neox", "GPTNeoXModel"}, {NULL}},
	.prefixes = (const char *const[]) {"gpt_neox.", NULL},
	.gguf_name = GGUF,
	.read_config = neox_read_config,
	.config_from_gguf = neox_config_from_gguf,
	.config_to_gguf = neox_config_to_gguf,
	.list_tensors = neox_list_tensors,
	.bind = neox_bind,
	.forward = te_gpt_forward,
	.heads = neox_heads,
};
