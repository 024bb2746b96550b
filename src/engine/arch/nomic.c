/*-------------------------------------------------------------------------
 * nomic.c
 *	  nomic-bert (Nussbaum et al., 2024): BERT with rotary positions and SwiGLU.
 *
 * config.json has the keys of GPT-2 ("n_embd", "n_inner"), or since
 * transformers knows the model those of BERT; the names of tensors are the
 * same.  Of the gated layer fc12 is activated and fc11 is not.
 *
 * "n_positions" may be more than "max_trained_positions", with frequencies
 * that are scaled for longer texts only: then texts are cut where that would begin.
 * llama.cpp's "nomic-bert" has no biases but those of norms.
 *-------------------------------------------------------------------------
 */
#include "arch/rotary.h"

#define LAYER "encoder.layers.%d."
#define GGUF "nomic-bert"

#define BASE 1000

#define IN_LAYER(slot, n_out, n_in, sensitive, bias_size, name, gguf) \
	TE_ENCODER_LAYER(slot.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, LAYER name ".weight", "blk.%d." gguf ".weight"), \
	TE_ENCODER_LAYER(slot.bias, TE_ROLE_VECTOR, bias_size, n_out, false, LAYER name ".bias", "blk.%d." gguf ".bias")

static const TeEncoderTensor nomic_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false,
				   "embeddings.word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(types, TE_ROLE_TABLE, TE_SIZE_TYPES, TE_SIZE_HIDDEN, false,
				   "embeddings.token_type_embeddings.weight", "token_types.weight"),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   "emb_ln.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   "emb_ln.bias", "token_embd_norm.bias"),
	IN_LAYER(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "attn.Wqkv", "attn_qkv"),
	IN_LAYER(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "attn.out_proj", "attn_output"),
	TE_ENCODER_NORM(attention_norm, LAYER "norm1", "blk.%d.attn_output_norm"),
	IN_LAYER(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.fc11", "ffn_up"),
	IN_LAYER(gate, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.fc12", "ffn_gate"),
	IN_LAYER(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, false, TE_SIZE_DOWN_BIAS, "mlp.fc2", "ffn_down"),
	TE_ENCODER_NORM(out_norm, LAYER "norm2", "blk.%d.layer_output_norm"),
	{.name = NULL}
};

/* ---- configuration ---- */

/* A size under transformers' key, or under GPT-2's. */
static int32_t
nomic_size(const TeJson *config, const char *key, const char *gpt2, int64_t max)
{
	return te_config_size(config, te_json_get(config, key) != NULL ? key : gpt2, max);
}

static void
refuse_others(const TeJson *config)
{
	static const char *const refused[] = {"prenorm", "causal", "rotary_emb_interleaved", "use_rms_norm", "parallel_block"};

	for (size_t i = 0; i < TE_LENGTH(refused); i++)
	{
		if (te_json_bool(config, refused[i], false))
			te_throw(TE_ERR_UNSUPPORTED, "\"%s\" is not supported", refused[i]);
	}
	if (te_json_get(config, "rotary_emb_scale_base") != NULL)
		te_throw(TE_ERR_UNSUPPORTED, "\"rotary_emb_scale_base\" is not supported");
	if (te_json_int(config, "moe_every_n_layers", 0) != 0)
		te_throw(TE_ERR_UNSUPPORTED, "\"moe_every_n_layers\": layers of experts are not supported");
}

static TeActivation
nomic_activation(const TeJson *config)
{
	TeStr		name = te_json_str(config, "activation_function", NULL);

	if (name.data == NULL)
		return te_config_activation(config, "hidden_act");
	if (te_str_is(name, "swiglu"))
		return TE_ACT_SILU;
	if (te_str_is(name, "geglu"))
		return TE_ACT_GELU;
	te_throw(TE_ERR_UNSUPPORTED, "\"activation_function\": \"%.*s\" is not supported", TE_STR_ARGS(name));
}

static void
read_rope(const TeJson *config, TeConfig *into)
{
	const TeJson *parameters = te_json_get(config, "rope_parameters");

	into->rope_columns = te_rope_columns(config, parameters, te_json_real(config, "rotary_emb_fraction", 1), into);
	te_rope_read(config, parameters, te_rope_base(config, "rotary_emb_base", BASE), into, &into->rope);
	into->rope_local = into->rope;
}

static void
nomic_read_config(const TeJson *config, TeConfig *into)
{
	int32_t		trained;

	refuse_others(config);
	into->hidden_size = nomic_size(config, "hidden_size", "n_embd", TE_MAX_WIDTH);
	into->n_layers = nomic_size(config, "num_hidden_layers", "n_layer", TE_MAX_LAYERS);
	into->n_heads = nomic_size(config, "num_attention_heads", "n_head", TE_MAX_WIDTH);
	into->intermediate_size = nomic_size(config, "intermediate_size", "n_inner", TE_MAX_WIDTH);
	into->max_positions = nomic_size(config, "max_position_embeddings", "n_positions", TE_MAX_POSITIONS);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->type_vocab_size = (int32_t) te_json_int_range(config, "type_vocab_size", 2, 0, TE_MAX_WIDTH);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, 0, TE_MAX_VOCABULARY);
	into->activation = nomic_activation(config);
	into->norm_eps = te_config_epsilon(config, te_json_get(config, "layer_norm_eps") != NULL ? "layer_norm_eps" :
									   "layer_norm_epsilon", 1e-12);
	into->attention_bias = te_json_bool(config, "qkv_proj_bias", false);
	into->up_bias = te_json_bool(config, "mlp_fc1_bias", false);
	into->down_bias = te_json_bool(config, "mlp_fc2_bias", false);
	trained = (int32_t) te_json_int_range(config, "max_trained_positions", into->max_positions, 1, TE_MAX_POSITIONS);
	if (te_json_get(config, "rotary_scaling_factor") != NULL)
		into->max_positions = TE_MIN(into->max_positions, trained);
	te_config_heads(into);
	read_rope(config, into);
}

static void
nomic_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	te_encoder_keys_from_gguf(arena, file, GGUF, config);
	te_json_set_int(te_json_add(arena, config, "max_position_embeddings"),
					te_json_int(file->meta, GGUF ".context_length", 2048));
	te_json_set_str(te_json_add(arena, config, "hidden_act"), TE_STR("silu"));
	te_json_set_real(te_json_add(arena, config, "layer_norm_eps"),
					 te_json_real(file->meta, GGUF ".attention.layer_norm_epsilon", 1e-12));
	te_json_set_real(te_json_add(arena, config, "rotary_emb_base"),
					 te_json_real(file->meta, GGUF ".rope.freq_base", BASE));
}

static void
nomic_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	if (config->attention_bias || config->up_bias || config->down_bias)
		te_report(TE_NOTICE, "llama.cpp cannot open the file: it knows no biases in models of this kind");
	if (config->activation != TE_ACT_SILU)
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with silu only, not with \"%s\"",
				  te_activation_name((TeActivation) config->activation));
	te_encoder_keys_to_gguf(arena, config, GGUF, meta);
	te_json_set_real(te_json_add(arena, meta, GGUF ".rope.freq_base"), config->rope.base);
	te_json_set_int(te_json_add(arena, meta, GGUF ".rope.dimension_count"), config->rope_columns);
}

/* ---- the row ---- */

static void
nomic_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(nomic_tensors, config, specs);
}

static const void *
nomic_bind(TeArena *arena, const TeModel *model)
{
	return te_rotary_bind(nomic_tensors, arena, model);
}

/*
 * As in BERT, but that no bias is needed where words are guessed: before
 * transformers knew the model, these layers had none either.
 */
static const TeArchHead nomic_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"pooler.dense", "cls", .activation = TE_ACT_TANH},
		{"classifier", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .also_class = "ForPreTraining", .layers = {
		{"cls.predictions.transform.dense", .activation = TE_ACT_SILU, .activation_key = "hidden_act",
		.norm = "cls.predictions.transform.layer_norm", .bias_optional = true},
		{"cls.predictions.decoder", .width = TE_WIDTH_OUTPUTS, .bias_optional = true,
		.tied_to = "embeddings.word_embeddings.weight", .tied_bias = "cls.predictions.bias"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_nomic = {
	.name = "nomic",
	.model_types = (const TeModelType[]) {{"nomic_bert", "NomicBertModel"}, {NULL}},
	.prefixes = (const char *const[]) {"nomic_bert.", "bert.", "model.", NULL},
	.gguf_name = GGUF,
	.read_config = nomic_read_config,
	.config_from_gguf = nomic_config_from_gguf,
	.config_to_gguf = nomic_config_to_gguf,
	.list_tensors = nomic_list_tensors,
	.bind = nomic_bind,
	.forward = te_rotary_forward_post_norm,
	.heads = nomic_heads,
};
