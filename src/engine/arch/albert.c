/*-------------------------------------------------------------------------
 * albert.c
 *	  ALBERT (Lan et al., 2019): BERT with narrow embeddings and one set of weights for many layers.
 *
 * Words, positions and types are embedding_size wide, and a linear layer brings their sum to
 * hidden_size.  "num_hidden_layers" counts passes: each goes through the "inner_group_num" layers
 * of one of "num_hidden_groups" groups.  The layers of a group are stored once, however often they
 * are run.  Where the configuration names no activation it is the approximated gelu.
 *
 * llama.cpp has no such architecture: a GGUF file of it is for this engine, with llama.cpp's
 * tensor names where it has one for the purpose.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#define EMBEDDINGS "embeddings."
#define LAYER "encoder.albert_layer_groups.%d.albert_layers.%d."

static const TeEncoderTensor albert_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_POSITIONS, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "position_embeddings.weight", "position_embd.weight"),
	TE_ENCODER_ONE(types, TE_ROLE_TABLE, TE_SIZE_TYPES, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "token_type_embeddings.weight", "token_types.weight"),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "LayerNorm.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "LayerNorm.bias", "token_embd_norm.bias"),
	TE_ENCODER_ONE(projection.weight, TE_ROLE_LINEAR, TE_SIZE_HIDDEN, TE_SIZE_EMBEDDING, false,
				   "encoder.embedding_hidden_mapping_in.weight", NULL),
	TE_ENCODER_ONE(projection.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   "encoder.embedding_hidden_mapping_in.bias", NULL),
	TE_ENCODER_MATRICES(LAYER "attention.query", LAYER "attention.key", LAYER "attention.value",
						LAYER "attention.dense", LAYER "ffn", LAYER "ffn_output"),
	TE_ENCODER_NORM(attention_norm, LAYER "attention.LayerNorm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "full_layer_layer_norm", "blk.%d.layer_output_norm"),
	TE_ENCODER_ONE(pooler.weight, TE_ROLE_LINEAR, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, "pooler.weight", "cls.weight"),
	TE_ENCODER_ONE(pooler.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, true, "pooler.bias", "cls.bias"),
	{.name = NULL}
};

static void
albert_read_config(const TeJson *config, TeConfig *into)
{
	te_encoder_read_config(config, into);
	into->embedding_size = te_config_size(config, "embedding_size", TE_MAX_WIDTH);
	into->n_layer_groups = (int32_t) te_json_int_range(config, "num_hidden_groups", 1, 1, TE_MAX_LAYERS);
	into->group_layers = (int32_t) te_json_int_range(config, "inner_group_num", 1, 1, TE_MAX_LAYERS);
	if (into->n_layers > TE_MAX_LAYERS / into->group_layers || into->n_layer_groups > TE_MAX_LAYERS / into->group_layers)
		te_throw(TE_ERR_CORRUPT, "\"inner_group_num\" %d makes more than %d layers", (int) into->group_layers,
				 TE_MAX_LAYERS);
	into->n_layers *= into->group_layers;
	if (te_json_get(config, "hidden_act") == NULL)
		into->activation = TE_ACT_GELU_TANH;
}

static void
albert_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(albert_tensors, config, specs);
}

static const void *
albert_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(albert_tensors, arena, model);
}

/* Of ForSequenceClassification: the pooler, then the labels. */
static const TeArchHead albert_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"pooler", "cls", .activation = TE_ACT_TANH},
		{"classifier", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .also_class = "ForPreTraining", .layers = {
		{"predictions.dense", .width = TE_WIDTH_EMBEDDING, .activation = TE_ACT_GELU, .activation_key = "hidden_act",
		.norm = "predictions.LayerNorm"},
		{"predictions.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight",
		.tied_bias = "predictions.bias"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_albert = {
	.name = "albert",
	.model_types = (const TeModelType[]) {{"albert", "AlbertModel"}, {NULL}},
	.prefixes = (const char *const[]) {"albert.", "model.", NULL},
	.gguf_name = NULL,
	.read_config = albert_read_config,
	.list_tensors = albert_list_tensors,
	.bind = albert_bind,
	.forward = te_encoder_forward,
	.heads = albert_heads,
};
