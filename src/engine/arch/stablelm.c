/*-------------------------------------------------------------------------
 * stablelm.c
 *	  StableLM (Bellagente et al., 2024): a gated feed-forward as in Llama, norms as in GPT-2, a part of each head turned.
 *
 * The largest one has attention and feed-forward side by side behind one norm, and a norm of each head of query and key: tensors
 * that are kept as one here (model/order.c).
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "layers.%d."
#define GGUF "stablelm"
#define TURNED 0.25				/* of a head, where config.json does not say */

#define HEAD_NORMS(member, n, name, gguf) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_VECTOR, TE_SIZE_HEAD_NORMS, n, false, LAYER "self_attn." name ".weight", "blk.%d." gguf ".weight")

static const TeEncoderTensor stablelm_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "embed_tokens.weight", "token_embd.weight"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "input_layernorm", "blk.%d.attn_norm"),
	TE_GPT_MATRIX(query, TE_SIZE_QUERY, TE_SIZE_HIDDEN, false, TE_SIZE_ATTENTION_BIAS, LAYER "self_attn.q_proj", "blk.%d.attn_q", TE_ORDER_SAME),
	TE_GPT_MATRIX(key, TE_SIZE_KEY, TE_SIZE_HIDDEN, false, TE_SIZE_ATTENTION_BIAS, LAYER "self_attn.k_proj", "blk.%d.attn_k", TE_ORDER_SAME),
	TE_GPT_MATRIX(value, TE_SIZE_KEY, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, LAYER "self_attn.v_proj", "blk.%d.attn_v", TE_ORDER_SAME),
	HEAD_NORMS(query_norm, TE_SIZE_QUERY, "q_layernorm", "attn_q_norm"),
	HEAD_NORMS(key_norm, TE_SIZE_KEY, "k_layernorm", "attn_k_norm"),
	TE_GPT_WEIGHT(out, TE_SIZE_HIDDEN, TE_SIZE_QUERY, true, LAYER "self_attn.o_proj", "blk.%d.attn_output"),
	TE_GPT_NORM(out_norm, TE_SIZE_OUT_NORM, TE_SIZE_OUT_NORM, LAYER "post_attention_layernorm", "blk.%d.ffn_norm"),
	TE_GPT_WEIGHT(gate, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, LAYER "mlp.gate_proj", "blk.%d.ffn_gate"),
	TE_GPT_WEIGHT(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, LAYER "mlp.up_proj", "blk.%d.ffn_up"),
	TE_GPT_WEIGHT(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, LAYER "mlp.down_proj", "blk.%d.ffn_down"),
	TE_GPT_NORM_ONE(final_norm, "norm", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys stablelm_keys = {
	.gguf = GGUF,
	.hidden_size = "hidden_size",
	.n_layers = "num_hidden_layers",
	.n_heads = "num_attention_heads",
	.n_kv_heads = "num_key_value_heads",
	.intermediate_size = "intermediate_size",
	.max_positions = "max_position_embeddings",
	.norm_eps = "layer_norm_eps",
	.activation = "hidden_act",
	.usual_activation = TE_ACT_SILU,
};

static void
stablelm_read_config(const TeJson *config, TeConfig *into)
{
	te_gpt_read_config(config, &stablelm_keys, into);
	te_gpt_read_rope(config, TURNED, into);
	into->attention_bias = te_json_bool(config, "use_qkv_bias", false);
	into->head_norms = te_json_bool(config, "qk_layernorm", false);
	into->parallel_layers = into->shared_norm = te_json_bool(config, "use_parallel_residual", false);
}

/* llama.cpp's key for parallel layers says nothing there: it looks whether there is a second norm. */
static void
stablelm_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_gpt_config_from_gguf(arena, file, &stablelm_keys, config);
	te_gpt_rope_from_gguf(arena, file, &stablelm_keys, config);
	te_json_set_bool(te_json_add(arena, config, "use_parallel_residual"),
					 te_tensor_find(&file->tensors, TE_STR("blk.0.ffn_norm.weight")) == NULL);
	te_json_set_bool(te_json_add(arena, config, "use_qkv_bias"),
					 te_tensor_find(&file->tensors, TE_STR("blk.0.attn_q.bias")) != NULL);
	te_json_set_bool(te_json_add(arena, config, "qk_layernorm"),
					 te_tensor_find(&file->tensors, TE_STR("blk.0.attn_q_norm.weight")) != NULL);
}

static void
stablelm_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	te_gpt_config_to_gguf(arena, config, &stablelm_keys, meta);
	te_json_set_bool(te_json_add(arena, meta, GGUF ".use_parallel_residual"), config->parallel_layers);
}

static void
stablelm_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(stablelm_tensors, config, specs);
	for (size_t i = 0; i < specs->n; i++)
	{
		TeTensorSpec *spec = &specs->specs[i];
		TeStr		name = te_str(spec->name);

		if (!te_str_ends(name, "q_layernorm.weight") && !te_str_ends(name, "k_layernorm.weight"))
			continue;
		spec->part_size = config->head_size;
		spec->parts = te_format(specs->arena, "%.*snorms.", (int) (name.len - strlen("weight")), name.data);
	}
}

static const void *
stablelm_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(stablelm_tensors, arena, model);
}

static const TeArchHead stablelm_heads[] = {
	{TE_HEAD_CAUSAL, .untied = true, .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "embed_tokens.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"score", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_stablelm = {
	.name = "stablelm",
	.model_types = (const TeModelType[]) {{"stablelm", "StableLmModel"}, {NULL}},
	.prefixes = (const char *const[]) {"model.", NULL},
	.gguf_name = GGUF,
	.read_config = stablelm_read_config,
	.config_from_gguf = stablelm_config_from_gguf,
	.config_to_gguf = stablelm_config_to_gguf,
	.list_tensors = stablelm_list_tensors,
	.bind = stablelm_bind,
	.forward = te_gpt_forward,
	.heads = stablelm_heads,
};
