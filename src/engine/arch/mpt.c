/*-------------------------------------------------------------------------
 * mpt.c
 *	  MPT (MosaicML, 2023): attention that falls with the distance, no biases at all.
 *
 * What its configuration could switch besides, the models on offer leave as it is here, and so does the reference.
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#define LAYER "blocks.%d."
#define GGUF "mpt"
#define ALIBI_MAX 8				/* where config.json does not say */

static const TeEncoderTensor mpt_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "wte.weight", "token_embd.weight"),
	TE_GPT_NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_NORM_BIAS, LAYER "norm_1", "blk.%d.attn_norm"),
	TE_GPT_WEIGHT(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, LAYER "attn.Wqkv", "blk.%d.attn_qkv"),
	TE_GPT_WEIGHT(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, LAYER "attn.out_proj", "blk.%d.attn_output"),
	TE_GPT_NORM(out_norm, TE_SIZE_ONE, TE_SIZE_NORM_BIAS, LAYER "norm_2", "blk.%d.ffn_norm"),
	TE_GPT_WEIGHT(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, LAYER "ffn.up_proj", "blk.%d.ffn_up"),
	TE_GPT_WEIGHT(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, LAYER "ffn.down_proj", "blk.%d.ffn_down"),
	TE_GPT_NORM_ONE(final_norm, "norm_f", "output_norm"),
	{.name = NULL}
};

static const TeGptKeys mpt_keys = {
	.gguf = GGUF,
	.hidden_size = "d_model",
	.n_layers = "n_layers",
	.n_heads = "n_heads",
	.max_positions = "max_seq_len",
	.norm_eps = "layer_norm_epsilon",
	.usual_activation = TE_ACT_GELU,
};

static void
mpt_read_config(const TeJson *config, TeConfig *into)
{
	const TeJson *attention = te_json_get(config, "attn_config");

	if (!te_json_bool(attention, "alibi", true) || te_json_bool(attention, "qk_ln", false) || te_json_bool(attention, "prefix_lm", false)
		|| te_json_get(attention, "clip_qkv") != NULL || te_json_get(attention, "softmax_scale") != NULL
		|| !te_str_is(te_json_str(attention, "attn_type", "multihead_attention"), "multihead_attention"))
		te_throw(TE_ERR_UNSUPPORTED, "\"attn_config\" of this kind is not supported");
	te_gpt_read_config(config, &mpt_keys, into);
	into->norm_bias = 0;
	into->alibi_max = (float) te_json_int_range(attention, "alibi_bias_max", ALIBI_MAX, 1, 1024);
	into->alibi_scale = 1;
}

static void
mpt_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	double		max = te_json_real(file->meta, GGUF ".attention.max_alibi_bias", 0);
	double		clip = te_json_real(file->meta, GGUF ".attention.clamp_kqv", 0);
	TeJson	   *attention = te_json_new_object(arena);

	te_gpt_config_from_gguf(arena, file, &mpt_keys, config);
	te_json_set_bool(te_json_add(arena, attention, "alibi"), max > 0);
	te_json_set_real(te_json_add(arena, attention, "alibi_bias_max"), max > 0 ? max : ALIBI_MAX);
	if (clip > 0)
		te_json_set_real(te_json_add(arena, attention, "clip_qkv"), clip);
	te_json_set_copy(arena, te_json_add(arena, config, "attn_config"), attention);
}

static void
mpt_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	te_gpt_config_to_gguf(arena, config, &mpt_keys, meta);
	te_json_set_real(te_json_add(arena, meta, GGUF ".attention.max_alibi_bias"), config->alibi_max);
}

static void
mpt_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(mpt_tensors, config, specs);
}

static const void *
mpt_bind(TeArena *arena, const TeModel *model)
{
	return te_gpt_bind(mpt_tensors, arena, model);
}

static const TeArchHead mpt_heads[] = {
	{TE_HEAD_CAUSAL, .layers = {
		{"lm_head", "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true, .tied_to = "wte.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_mpt = {
	.name = "mpt",
	.model_types = (const TeModelType[]) {{"mpt", "MptModel"}, {NULL}},
	.prefixes = (const char *const[]) {"transformer.", NULL},
	.gguf_name = GGUF,
	.read_config = mpt_read_config,
	.config_from_gguf = mpt_config_from_gguf,
	.config_to_gguf = mpt_config_to_gguf,
	.list_tensors = mpt_list_tensors,
	.bind = mpt_bind,
	.forward = te_gpt_forward,
	.heads = mpt_heads,
};
