/*-------------------------------------------------------------------------
 * mpnet.c
 *	  MPNet (Song et al., 2020): BERT without types, with one relative
 *	  attention bias for all layers, and positions that start at 2.
 *
 * The bias is T5's: a table [buckets, heads] by the bucket of key - query.
 * transformers' forward pass takes 32 buckets and a largest distance of 128
 * whatever the configuration says, so another number of buckets is refused
 * here.  Its padding index is 1, likewise fixed.
 *
 * llama.cpp has no such architecture: a GGUF file of it is for this engine.
 * Its tensor names are llama.cpp's all the same, the bias has T5's.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#define EMBEDDINGS "embeddings."
#define LAYER "encoder.layer.%d."

#define MPNET_BUCKETS 32
#define MPNET_MAX_DISTANCE 128
#define MPNET_PAD 1

static const TeEncoderTensor mpnet_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_POSITIONS, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "position_embeddings.weight", "position_embd.weight"),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.bias", "token_embd_norm.bias"),
	TE_ENCODER_ONE(relative, TE_ROLE_TABLE, TE_SIZE_BUCKETS, TE_SIZE_HEADS, false,
				   "encoder.relative_attention_bias.weight", "enc.blk.0.attn_rel_b.weight"),
	TE_ENCODER_MATRICES(LAYER "attention.attn.q", LAYER "attention.attn.k", LAYER "attention.attn.v",
						LAYER "attention.attn.o", LAYER "intermediate.dense", LAYER "output.dense"),
	TE_ENCODER_NORM(attention_norm, LAYER "attention.LayerNorm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "output.LayerNorm", "blk.%d.layer_output_norm"),
	TE_ENCODER_ONE(pooler.weight, TE_ROLE_LINEAR, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true,
				   "pooler.dense.weight", "cls.weight"),
	TE_ENCODER_ONE(pooler.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, true, "pooler.dense.bias", "cls.bias"),
	{.name = NULL}
};

static void
mpnet_read_config(const TeJson *config, TeConfig *into)
{
	te_encoder_read_config(config, into);
	into->type_vocab_size = 0;
	into->pad_id = MPNET_PAD;
	into->position_offset = MPNET_PAD + 1;
	into->relative_buckets = (int32_t) te_json_int(config, "relative_attention_num_buckets", MPNET_BUCKETS);
	into->relative_max_distance = MPNET_MAX_DISTANCE;
	if (into->relative_buckets != MPNET_BUCKETS)
		te_throw(TE_ERR_UNSUPPORTED, "\"relative_attention_num_buckets\" other than %d is not supported", MPNET_BUCKETS);
	if (into->position_offset >= into->max_positions)
		te_throw(TE_ERR_CORRUPT, "\"max_position_embeddings\" %d leaves no positions", (int) into->max_positions);
}

static void
mpnet_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(mpnet_tensors, config, specs);
}

static const void *
mpnet_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(mpnet_tensors, arena, model);
}

/* RoBERTa's heads; its classifier has no pooler, but a layer of its own. */
static const TeArchHead mpnet_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"classifier.dense", "cls", .activation = TE_ACT_TANH},
		{"classifier.out_proj", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .layers = {
		{"lm_head.dense", .activation = TE_ACT_GELU, .norm = "lm_head.layer_norm"},
		{"lm_head.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight",
		.tied_bias = "lm_head.bias"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_mpnet = {
	.name = "mpnet",
	.model_types = (const TeModelType[]) {{"mpnet", "MPNetModel"}, {NULL}},
	.prefixes = (const char *const[]) {"mpnet.", "model.", NULL},
	.gguf_name = NULL,
	.read_config = mpnet_read_config,
	.list_tensors = mpnet_list_tensors,
	.bind = mpnet_bind,
	.forward = te_encoder_forward,
	.heads = mpnet_heads,
};
