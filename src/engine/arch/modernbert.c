/*-------------------------------------------------------------------------
 * modernbert.c
 *	  ModernBERT (Warner et al., 2024): norms before the layers, rotary
 *	  positions, GeGLU, and layers that see a window of tokens only.
 *
 * The first layer has no norm before attention: the embeddings' norm has just
 * been.  A layer is global or local, each kind with a base of its own;
 * "local_attention" is the whole window, so that a token sees half of it to either side.
 * config.json says which layers are global by "global_attn_every_n_layers", or
 * since transformers 5 by "layer_types"; likewise the bases by
 * "global_rope_theta" and "local_rope_theta", or by "rope_parameters".
 *
 * llama.cpp's "modern-bert" has no biases, and layers by a period.
 *-------------------------------------------------------------------------
 */
#include "arch/rotary.h"

#define LAYER "layers.%d."
#define GGUF "modern-bert"

#define BASE_GLOBAL 160000
#define BASE_LOCAL 10000
#define EVERY 3					/* layers, of which the first is global */
#define WINDOW 128

/* A weight and its bias, which is there where its size is not 0. */
#define IN_LAYER(slot, n_out, n_in, sensitive, bias_size, name, gguf) \
	TE_ENCODER_LAYER(slot.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, LAYER name ".weight", "blk.%d." gguf ".weight"), \
	TE_ENCODER_LAYER(slot.bias, TE_ROLE_VECTOR, bias_size, n_out, false, LAYER name ".bias", "blk.%d." gguf ".bias")
#define NORM_OF(kind, slot, name, gguf, first) \
	{kind, slot + offsetof(TeEncoderPair, weight), TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, false, \
		name ".weight", gguf ".weight", first}, \
	{kind, slot + offsetof(TeEncoderPair, bias), TE_ROLE_VECTOR, TE_SIZE_NORM_BIAS, TE_SIZE_HIDDEN, false, false, \
		name ".bias", gguf ".bias", first}

static const TeEncoderTensor modernbert_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false,
				   "embeddings.tok_embeddings.weight", "token_embd.weight"),
	NORM_OF(false, offsetof(TeEncoder, norm), "embeddings.norm", "token_embd_norm", 0),
	NORM_OF(true, offsetof(TeEncoderLayer, attention_norm), LAYER "attn_norm", "blk.%d.attn_norm", 1),
	IN_LAYER(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "attn.Wqkv", "attn_qkv"),
	IN_LAYER(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "attn.Wo", "attn_output"),
	NORM_OF(true, offsetof(TeEncoderLayer, out_norm), LAYER "mlp_norm", "blk.%d.ffn_norm", 0),
	IN_LAYER(up, TE_SIZE_GATED, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.Wi", "ffn_up"),
	IN_LAYER(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, false, TE_SIZE_DOWN_BIAS, "mlp.Wo", "ffn_down"),
	NORM_OF(false, offsetof(TeEncoder, final_norm), "final_norm", "output_norm", 0),
	{.name = NULL}
};

/* ---- configuration ---- */

static void
set_local(TeConfig *config, int layer)
{
	config->local_layers[layer / 32] |= UINT32_C(1) << (layer % 32);
}

static void
read_layer_types(const TeJson *config, TeConfig *into)
{
	const TeJson *types = te_json_get(config, "layer_types");
	int64_t		every = te_json_int_range(config, "global_attn_every_n_layers", EVERY, 1, TE_MAX_LAYERS);

	if (types != NULL && (types->kind != TE_JSON_ARRAY || types->n != (uint32_t) into->n_layers))
		te_throw(TE_ERR_CORRUPT, "\"layer_types\" must be %d words", (int) into->n_layers);
	for (int i = 0; i < into->n_layers; i++)
	{
		const TeJson *type = types != NULL ? &types->items[i] : NULL;
		bool		local = i % every != 0;

		if (type != NULL)
		{
			local = type->kind == TE_JSON_STRING && te_str_is(type->string, "sliding_attention");
			if (!local && (type->kind != TE_JSON_STRING || !te_str_is(type->string, "full_attention")))
				te_throw(TE_ERR_UNSUPPORTED, "\"layer_types\" has a word that is not supported");
		}
		if (local)
			set_local(into, i);
	}
}

static void
read_rope(const TeJson *config, TeConfig *into)
{
	const TeJson *global = te_json_path(config, "rope_parameters.full_attention");
	const TeJson *local = te_json_path(config, "rope_parameters.sliding_attention");
	float		base = te_rope_base(config, "global_rope_theta", BASE_GLOBAL);
	float		base_local = te_rope_base(config, "local_rope_theta", BASE_LOCAL);

	into->rope_columns = te_rope_columns(config, NULL, 1, into);
	te_rope_read(config, global != NULL ? global : te_json_get(config, "rope_scaling"), base, into, &into->rope);
	te_rope_read(config, local != NULL ? local : te_json_get(config, "rope_scaling"), base_local, into, &into->rope_local);
}

static void
modernbert_read_config(const TeJson *config, TeConfig *into)
{
	into->hidden_size = te_config_size(config, "hidden_size", TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, "num_hidden_layers", TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, "num_attention_heads", TE_MAX_WIDTH);
	into->intermediate_size = te_config_size(config, "intermediate_size", TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->max_positions = te_config_size(config, "max_position_embeddings", TE_MAX_POSITIONS);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, 0, TE_MAX_VOCABULARY);
	into->activation = te_config_activation(config, "hidden_activation");
	into->norm_eps = te_config_epsilon(config, "norm_eps", 1e-5);
	into->norm_bias = te_json_bool(config, "norm_bias", false);
	into->attention_bias = te_json_bool(config, "attention_bias", false);
	into->up_bias = into->down_bias = te_json_bool(config, "mlp_bias", false);
	into->window = (int32_t) te_json_int_range(config, "local_attention", WINDOW, 2, TE_MAX_POSITIONS) / 2;
	te_config_heads(into);
	read_layer_types(config, into);
	read_rope(config, into);
}

static void
modernbert_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	const TeJson *pattern = te_json_get(file->meta, GGUF ".attention.sliding_window_pattern");
	int64_t		window = te_json_int(file->meta, GGUF ".attention.sliding_window", 0);

	te_encoder_keys_from_gguf(arena, file, GGUF, config);
	te_json_set_int(te_json_add(arena, config, "max_position_embeddings"),
					te_json_int(file->meta, GGUF ".context_length", 8192));
	te_json_set_str(te_json_add(arena, config, "hidden_activation"),
					te_json_str(file->meta, GGUF ".hidden_activation", "gelu"));
	te_json_set_real(te_json_add(arena, config, "norm_eps"),
					 te_json_real(file->meta, GGUF ".attention.layer_norm_epsilon", 1e-5));
	te_json_set_real(te_json_add(arena, config, "global_rope_theta"),
					 te_json_real(file->meta, GGUF ".rope.freq_base", BASE_GLOBAL));
	te_json_set_real(te_json_add(arena, config, "local_rope_theta"),
					 te_json_real(file->meta, GGUF ".rope.freq_base_swa", BASE_LOCAL));
	if (pattern != NULL && pattern->kind == TE_JSON_ARRAY)
		te_throw(TE_ERR_UNSUPPORTED, "\"" GGUF ".attention.sliding_window_pattern\" with a word for each layer is not supported");
	/* no window: every layer is global */
	te_json_set_int(te_json_add(arena, config, "global_attn_every_n_layers"),
					window <= 0 ? 1 : te_json_int(file->meta, GGUF ".attention.sliding_window_pattern", EVERY));
	if (window > 0)
		te_json_set_int(te_json_add(arena, config, "local_attention"), window);
}

/* The period of the global layers, 0 where they have none: the first is one, and then every so many-th. */
static int
global_period(const TeConfig *config)
{
	int			every = 1;

	while (every < config->n_layers && te_rotary_is_local(config, every))
		every++;
	for (int i = 0; i < config->n_layers; i++)
	{
		if (te_rotary_is_local(config, i) != (i % every != 0))
			return 0;
	}
	return every;
}

static void
modernbert_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	int			every = global_period(config);

	if (config->norm_bias || config->attention_bias || config->up_bias)
		te_report(TE_NOTICE, "llama.cpp cannot open the file: it knows no biases in models of this kind");
	if (every == 0)
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with every third layer global only");
	te_encoder_keys_to_gguf(arena, config, GGUF, meta);
	te_json_set_int(te_json_add(arena, meta, GGUF ".vocab_size"), config->vocab_size);
	te_json_set_str(te_json_add(arena, meta, GGUF ".hidden_activation"),
					te_str(te_activation_name((TeActivation) config->activation)));
	te_json_set_int(te_json_add(arena, meta, GGUF ".attention.sliding_window"), 2 * config->window);
	te_json_set_int(te_json_add(arena, meta, GGUF ".attention.sliding_window_pattern"), every > 0 ? every : EVERY);
	te_json_set_real(te_json_add(arena, meta, GGUF ".rope.freq_base"), config->rope.base);
	te_json_set_real(te_json_add(arena, meta, GGUF ".rope.freq_base_swa"), config->rope_local.base);
	te_json_set_str(te_json_add(arena, meta, GGUF ".rope.scaling.type"), TE_STR("none"));
}

/* ---- the row ---- */

static void
modernbert_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(modernbert_tensors, config, specs);
}

static const void *
modernbert_bind(TeArena *arena, const TeModel *model)
{
	return te_rotary_bind(modernbert_tensors, arena, model);
}

/* A layer with a norm stands before all outputs. */
static const TeArchHead modernbert_heads[] = {
	{TE_HEAD_SEQUENCE, .pooling_key = "classifier_pooling", .layers = {
		{"head.dense", .activation = TE_ACT_GELU, .activation_key = "classifier_activation", .norm = "head.norm",
		.bias_optional = true, .bias_rare = true},
		{"classifier", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {
		{"head.dense", .activation = TE_ACT_GELU, .activation_key = "classifier_activation", .norm = "head.norm",
		.bias_optional = true, .bias_rare = true},
		{"classifier", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_ANSWER, .layers = {
		{"head.dense", .activation = TE_ACT_GELU, .activation_key = "classifier_activation", .norm = "head.norm",
		.bias_optional = true, .bias_rare = true},
		{"classifier", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_MASK, .layers = {
		{"head.dense", .activation = TE_ACT_GELU, .activation_key = "classifier_activation", .norm = "head.norm",
		.bias_optional = true, .bias_rare = true},
		{"decoder", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .tied_to = "embeddings.tok_embeddings.weight"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_modernbert = {
	.name = "modernbert",
	.model_types = (const TeModelType[]) {{"modernbert", "ModernBertModel"}, {NULL}},
	.prefixes = (const char *const[]) {"model.", NULL},
	.gguf_name = GGUF,
	.read_config = modernbert_read_config,
	.config_from_gguf = modernbert_config_from_gguf,
	.config_to_gguf = modernbert_config_to_gguf,
	.list_tensors = modernbert_list_tensors,
	.bind = modernbert_bind,
	.forward = te_rotary_forward_pre_norm,
	.heads = modernbert_heads,
};
