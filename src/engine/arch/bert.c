/*-------------------------------------------------------------------------
 * bert.c
 *	  BERT: words, positions and types, a pooler that only heads read.
 *
 * The names are those of transformers' BertModel; llama.cpp calls the family
 * "bert" as well.  Checkpoints for masked language modelling and
 * classification carry the prefix "bert.".
 *
 * The pooler goes into GGUF as "cls", which is where llama.cpp looks for the
 * dense layer before a classifier and which it leaves alone otherwise.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#define EMBEDDINGS "embeddings."
#define LAYER "encoder.layer.%d."

const TeEncoderTensor te_encoder_bert_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_POSITIONS, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "position_embeddings.weight", "position_embd.weight"),
	TE_ENCODER_ONE(types, TE_ROLE_TABLE, TE_SIZE_TYPES, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "token_type_embeddings.weight", "token_types.weight"),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.bias", "token_embd_norm.bias"),
	TE_ENCODER_MATRICES(LAYER "attention.self.query", LAYER "attention.self.key", LAYER "attention.self.value",
						LAYER "attention.output.dense", LAYER "intermediate.dense", LAYER "output.dense"),
	TE_ENCODER_NORM(attention_norm, LAYER "attention.output.LayerNorm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "output.LayerNorm", "blk.%d.layer_output_norm"),
	TE_ENCODER_ONE(pooler.weight, TE_ROLE_LINEAR, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true,
				   "pooler.dense.weight", "cls.weight"),
	TE_ENCODER_ONE(pooler.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, true, "pooler.dense.bias", "cls.bias"),
	{.name = NULL}
};

static void
bert_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(te_encoder_bert_tensors, config, specs);
}

static const void *
bert_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(te_encoder_bert_tensors, arena, model);
}

/* The pooler stands before labels of texts; words are guessed by the word embeddings. */
static const TeArchHead bert_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"pooler.dense", "cls", .activation = TE_ACT_TANH},
		{"classifier", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .also_class = "ForPreTraining", .layers = {
		{"cls.predictions.transform.dense", .activation = TE_ACT_GELU, .activation_key = "hidden_act",
		.norm = "cls.predictions.transform.LayerNorm"},
		{"cls.predictions.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight",
		.tied_bias = "cls.predictions.bias"}
	}},
	{TE_HEAD_NEXT, .also_class = "ForPreTraining", .layers = {
		{"pooler.dense", "cls", .activation = TE_ACT_TANH},
		{"cls.seq_relationship", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_bert = {
	.name = "bert",
	.model_types = (const TeModelType[]) {{"bert", "BertModel"}, {NULL}},
	.prefixes = (const char *const[]) {"bert.", "model.", NULL},
	.gguf_name = "bert",
	.read_config = te_encoder_read_config,
	.config_from_gguf = te_encoder_config_from_gguf,
	.config_to_gguf = te_encoder_config_to_gguf,
	.list_tensors = bert_list_tensors,
	.bind = bert_bind,
	.forward = te_encoder_forward,
	.heads = bert_heads,
};
