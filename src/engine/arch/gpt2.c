/*-------------------------------------------------------------------------
 * gpt2.c
 *	  GPT-2 (Radford et al., 2019): a table of positions, joint query, key and value, biases everywhere.
 *
 * Its checkpoints have matrices as [n_in, n_out], being of a time before torch.nn.Linear was used; in a definition they are
 * like all others (model/order.c).  DistilGPT2, DialoGPT and many others are this family too.
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "h.%d."
#define GGUF "gpt2"

static const TeEncoderTensor gpt2_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "wte.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_POSITIONS, TE_SIZE_HIDDEN, false, "wpe.weight", "position_embd.weight"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "ln_1", "blk.%d.attn_norm"),
	TE_GPT_MATRIX(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ONE, LAYER "attn.c_attn", "blk.%d.attn_qkv", TE_ORDER_TRANSPOSED),
	TE_GPT_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_ONE, LAYER "attn.c_proj", "blk.%d.attn_output", TE_ORDER_TRANSPOSED),
	TE_GPT_NORM(out_norm, TE_SIZE_ONE, TE_SIZE_ONE, LAYER "ln_2", "blk.%d.ffn_norm"),
	TE_GPT_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_ONE, LAYER "mlp.c_fc", "blk.%d.ffn_up", TE_ORDER_TRANSPOSED),
	TE_GPT_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_ONE, LAYER "mlp.c_proj", "blk.%d.ffn_down", TE_ORDER_TRANSPOSED),
	TE_GPT_NORM_ONE(final_norm, "ln_f", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys gpt2_keys = {
	.gguf = GGUF,
	.hidden_size = "n_embd",
	.n_layers = "n_layer",
	.n_heads = "n_head",
	.intermediate_size = "n_inner",
	.max_positions = "n_positions",
	.norm_eps = "layer_norm_epsilon",
	.activation = "activation_function",
	.usual_activation = TE_ACT_GELU_TANH,
};

static void
gpt2_read_config(const TeJson *config, TeConfig *into)
{
	if (te_json_bool(config, "scale_attn_by_inverse_layer_idx", false) || !te_json_bool(config, "scale_attn_weights", true))
		te_throw(TE_ERR_UNSUPPORTED, "attention whose scale depends on the layer is not supported");
	if (te_json_bool(config, "add_cross_attention", false))
		te_throw(TE_ERR_UNSUPPORTED, "\"add_cross_attention\" is not supported");
	te_gpt_read_config(config, &gpt2_keys, into);
}

static void
gpt2_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_gpt_config_from_gguf(arena, file, &gpt2_keys, config);
}

static void
gpt2_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	te_gpt_config_to_gguf(arena, config, &gpt2_keys, meta);
}

static void
gpt2_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(gpt2_tensors, config, specs);
}

static const void *
gpt2_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(gpt2_tensors, arena, model);
}

static const TeArchHead gpt2_heads[] = {
	{TE_HEAD_CAUSAL, .class_suffix = "LMHeadModel", .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "wte.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_gpt2 = {
	.name = "gpt2",
	.model_types = (const TeModelType[]) {{"gpt2", "GPT2Model"}, {NULL}},
	.prefixes = (const char *const[]) {"transformer.", NULL},
	.gguf_name = GGUF,
	.read_config = gpt2_read_config,
	.config_from_gguf = gpt2_config_from_gguf,
	.config_to_gguf = gpt2_config_to_gguf,
	.list_tensors = gpt2_list_tensors,
	.bind = gpt2_bind,
	.forward = te_gpt_forward,
	.heads = gpt2_heads,
};
