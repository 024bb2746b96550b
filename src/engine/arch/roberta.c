/*-------------------------------------------------------------------------
 * roberta.c
 *	  RoBERTa, XLM-RoBERTa and CamemBERT: BERT's tensors and computation.
 *
 * What differs is how positions count: the first one is pad_token_id + 1, and
 * a padding token inside a text takes position pad_token_id and moves the
 * others on by nothing (the session numbers tokens so where position_offset is
 * not 0).  The rows of the position table before the first position are never
 * read; llama.cpp's files leave them out.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

static void
roberta_read_config(const TeJson *config, TeConfig *into)
{
	te_encoder_read_config(config, into);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 1, 0, into->vocab_size - 1);
	into->position_offset = into->pad_id + 1;
	if (into->position_offset >= into->max_positions)
		te_throw(TE_ERR_CORRUPT, "\"pad_token_id\" %d leaves no positions of %d", (int) into->pad_id,
				 (int) into->max_positions);
}

static void
roberta_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(te_encoder_bert_tensors, config, specs);
}

static const void *
roberta_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(te_encoder_bert_tensors, arena, model);
}

/* The encoder is BERT's, the heads are not; its classifier has no pooler, but a layer of its own. */
static const TeArchHead roberta_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"classifier.dense", "cls", .activation = TE_ACT_TANH},
		{"classifier.out_proj", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .layers = {
		{"lm_head.dense", .activation = TE_ACT_GELU, .norm = "lm_head.layer_norm"},
		{"lm_head.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = "embeddings.word_embeddings.weight",
		.tied_bias = "lm_head.bias"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_roberta = {
	.name = "roberta",
	.model_types = (const TeModelType[]) {
		{"roberta", "RobertaModel"},
		{"xlm-roberta", "XLMRobertaModel"},
		{"camembert", "CamembertModel"},
		{NULL}
	},
	.prefixes = (const char *const[]) {"roberta.", "model.", NULL},
	.gguf_name = "bert",
	.read_config = roberta_read_config,
	.config_from_gguf = te_encoder_config_from_gguf,
	.config_to_gguf = te_encoder_config_to_gguf,
	.list_tensors = roberta_list_tensors,
	.bind = roberta_bind,
	.forward = te_encoder_forward,
	.heads = roberta_heads,
};
