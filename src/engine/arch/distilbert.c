/*-------------------------------------------------------------------------
 * distilbert.c
 *	  DistilBERT (Sanh et al., 2019): BERT without types and without a pooler,
 *	  under its own names.
 *
 * Its config.json says "dim", "n_layers", "n_heads", "hidden_dim" and
 * "activation", and leaves out the norm's epsilon, which is 1e-12.  Sinusoidal
 * positions, where a model has them, are stored as a table like learned ones.
 * llama.cpp reads it as "bert".
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#define EMBEDDINGS "embeddings."
#define LAYER "transformer.layer.%d."

static const TeEncoderTensor distilbert_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_POSITIONS, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "position_embeddings.weight", "position_embd.weight"),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.bias", "token_embd_norm.bias"),
	TE_ENCODER_MATRICES(LAYER "attention.q_lin", LAYER "attention.k_lin", LAYER "attention.v_lin",
						LAYER "attention.out_lin", LAYER "ffn.lin1", LAYER "ffn.lin2"),
	TE_ENCODER_NORM(attention_norm, LAYER "sa_layer_norm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "output_layer_norm", "blk.%d.layer_output_norm"),
	{.name = NULL}
};

static void
distilbert_read_config(const TeJson *config, TeConfig *into)
{
	into->hidden_size = te_config_size(config, "dim", TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, "n_layers", TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, "n_heads", TE_MAX_WIDTH);
	into->intermediate_size = te_config_size(config, "hidden_dim", TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->max_positions = te_config_size(config, "max_position_embeddings", TE_MAX_POSITIONS);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, 0, into->vocab_size - 1);
	into->activation = te_config_activation(config, "activation");
	into->norm_eps = 1e-12f;
	te_config_heads(into);
}

static void
distilbert_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(distilbert_tensors, config, specs);
}

static const void *
distilbert_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(distilbert_tensors, arena, model);
}

/* A layer of the head's own stands in the pooler's place. */
static const TeArchHead distilbert_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"pre_classifier", "cls", .activation = TE_ACT_RELU},
		{"classifier", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .layers = {
		{"vocab_transform", .activation = TE_ACT_GELU, .activation_key = "activation", .norm = "vocab_layer_norm"},
		{"vocab_projector", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_distilbert = {
	.name = "distilbert",
	.model_types = (const TeModelType[]) {{"distilbert", "DistilBertModel"}, {NULL}},
	.prefixes = (const char *const[]) {"distilbert.", "model.", NULL},
	.gguf_name = "bert",
	.read_config = distilbert_read_config,
	.config_from_gguf = te_encoder_config_from_gguf,
	.config_to_gguf = te_encoder_config_to_gguf,
	.list_tensors = distilbert_list_tensors,
	.bind = distilbert_bind,
	.forward = te_encoder_forward,
	.heads = distilbert_heads,
};
