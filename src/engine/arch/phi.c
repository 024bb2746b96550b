/*-------------------------------------------------------------------------
 * phi.c
 *	  Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al., 2023): attention and feed-forward side by side behind one norm, a part of each head
 *	  turned, biases everywhere, also where words come out.
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "layers.%d."
#define GGUF "phi2"
#define TURNED 0.5				/* of a head, where config.json does not say */

static const TeEncoderTensor phi_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "embed_tokens.weight", "token_embd.weight"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "input_layernorm", "blk.%d.attn_norm"),
	TE_GPT_MATRIX(query, TE_SIZE_QUERY, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "self_attn.q_proj", "blk.%d.attn_q", TE_ORDER_SAME),
	TE_GPT_MATRIX(key, TE_SIZE_KEY, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "self_attn.k_proj", "blk.%d.attn_k", TE_ORDER_SAME),
	TE_GPT_MATRIX(value, TE_SIZE_KEY, TE_SIZE_HIDDEN, true, TE_SIZE_ONE, LAYER "self_attn.v_proj", "blk.%d.attn_v", TE_ORDER_SAME),
	TE_GPT_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_QUERY, true, TE_SIZE_ONE, LAYER "self_attn.dense", "blk.%d.attn_output", TE_ORDER_SAME),
	TE_GPT_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "mlp.fc1", "blk.%d.ffn_up", TE_ORDER_SAME),
	TE_GPT_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_ONE, LAYER "mlp.fc2", "blk.%d.ffn_down", TE_ORDER_SAME),
	TE_GPT_NORM_ONE(final_norm, "final_layernorm", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys phi_keys = {
	.gguf = GGUF,
	.hidden_size = "hidden_size",
	.n_layers = "num_hidden_layers",
	.n_heads = "num_attention_heads",
	.n_kv_heads = "num_key_value_heads",
	.intermediate_size = "intermediate_size",
	.max_positions = "max_position_embeddings",
	.norm_eps = "layer_norm_eps",
	.activation = "hidden_act",
	.usual_activation = TE_ACT_GELU_TANH,
};

static void
phi_read_config(const TeJson *config, TeConfig *into)
{
	if (te_json_bool(config, "qk_layernorm", false))
		te_throw(TE_ERR_UNSUPPORTED, "\"qk_layernorm\" is not supported in models of this kind");
	te_gpt_read_config(config, &phi_keys, into);
	te_gpt_read_rope(config, TURNED, into);
	into->parallel_layers = into->shared_norm = 1;
}

static void
phi_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_gpt_config_from_gguf(arena, file, &phi_keys, config);
	te_gpt_rope_from_gguf(arena, file, &phi_keys, config);
}

static void
phi_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	te_gpt_config_to_gguf(arena, config, &phi_keys, meta);
}

static void
phi_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(phi_tensors, config, specs);
}

static const void *
phi_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(phi_tensors, arena, model);
}

static const TeArchHead phi_heads[] = {
	{TE_HEAD_CAUSAL, .untied = true, .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .tied_to = "embed_tokens.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"score", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_phi = {
	.name = "phi",
	.model_types = (const TeModelType[]) {{"phi", "PhiModel"}, {NULL}},
	.prefixes = (const char *const[]) {"model.", NULL},
	.gguf_name = GGUF,
	.read_config = phi_read_config,
	.config_from_gguf = phi_config_from_gguf,
	.config_to_gguf = phi_config_to_gguf,
	.list_tensors = phi_list_tensors,
	.bind = phi_bind,
	.forward = te_gpt_forward,
	.heads = phi_heads,
};
