/*-------------------------------------------------------------------------
 * electra.c
 *	  ELECTRA (Clark et al., 2020): BERT whose embeddings may be narrower than
 *	  its layers, without a pooler.
 *
 * Of the two models of a pair the discriminator is what is fine-tuned, and the
 * generator is a masked language model; both have these tensors.  Where the
 * widths differ a linear layer lies between them; where they are the same the
 * checkpoint has none.
 *
 * llama.cpp has no such architecture: a GGUF file of it is for this engine,
 * with llama.cpp's tensor names where it has one for the purpose.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#define EMBEDDINGS "embeddings."
#define LAYER "encoder.layer.%d."

static const TeEncoderTensor electra_tensors[] = {
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
	TE_ENCODER_ONE(projection.weight, TE_ROLE_LINEAR, TE_SIZE_PROJECTION, TE_SIZE_EMBEDDING, false,
				   "embeddings_project.weight", NULL),
	TE_ENCODER_ONE(projection.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_PROJECTION, false,
				   "embeddings_project.bias", NULL),
	TE_ENCODER_MATRICES(LAYER "attention.self.query", LAYER "attention.self.key", LAYER "attention.self.value",
						LAYER "attention.output.dense", LAYER "intermediate.dense", LAYER "output.dense"),
	TE_ENCODER_NORM(attention_norm, LAYER "attention.output.LayerNorm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "output.LayerNorm", "blk.%d.layer_output_norm"),
	{.name = NULL}
};

static void
electra_read_config(const TeJson *config, TeConfig *into)
{
	te_encoder_read_config(config, into);
	into->embedding_size = te_config_size(config, "embedding_size", TE_MAX_WIDTH);
}

static void
electra_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(electra_tensors, config, specs);
}

static const void *
electra_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(electra_tensors, arena, model);
}

/* Of ForSequenceClassification: layers of its own, with gelu in between. */
static const TeArchHead electra_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"classifier.dense", "cls", .activation = TE_ACT_GELU},
		{"classifier.out_proj", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .layers = {
		{"generator_predictions.dense", .width = TE_WIDTH_EMBEDDING, .activation = TE_ACT_GELU,
		.norm = "generator_predictions.LayerNorm"},
		{"generator_lm_head", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_electra = {
	.name = "electra",
	.model_types = (const TeModelType[]) {{"electra", "ElectraModel"}, {NULL}},
	.prefixes = (const char *const[]) {"electra.", "model.", NULL},
	.gguf_name = NULL,
	.read_config = electra_read_config,
	.list_tensors = electra_list_tensors,
	.bind = electra_bind,
	.forward = te_encoder_forward,
	.heads = electra_heads,
};
