/*-------------------------------------------------------------------------
 * gpt.h
 *	  The body that GPT-2 and its relatives share: a decoder with layer norms before its layers.
 *
 * A family is a table of TeEncoderTensor rows (encoder.h), the names of its numbers in config.json, and what its members switch:
 * attention and feed-forward one after the other or side by side, joint or separate query, key and value, gated or plain feed-forward, and
 * how positions are told: by a table, by rotation (rope.h), or by distance (ALiBi).
 *-------------------------------------------------------------------------
 */
#ifndef TE_GPT_H
#define TE_GPT_H

#include "arch/rotary.h"

/* What a family's config.json calls its numbers; NULL: it has no such key. */
typedef struct TeGptKeys
{
	const char *gguf;			/* llama.cpp's name of the architecture */
	const char *hidden_size;
	const char *n_layers;
	const char *n_heads;
	const char *n_kv_heads;		/* as many as heads where it does not say */
	const char *intermediate_size;	/* four times the hidden size where it does not say */
	const char *max_positions;
	const char *norm_eps;
	const char *activation;
	TeActivation usual_activation;	/* where it does not say */
} TeGptKeys;

extern void te_gpt_read_config(const TeJson *config, const TeGptKeys *keys, TeConfig *into);
/* Rotary positions; fraction: the part of each head that is turned where config.json does not say. */
extern void te_gpt_read_rope(const TeJson *config, double fraction, TeConfig *into);
/* llama.cpp's keys, and back; those of rotary positions after the others. */
extern void te_gpt_config_from_gguf(TeArena *arena, const TeModelFile *file, const TeGptKeys *keys, TeJson *config);
extern void te_gpt_rope_from_gguf(TeArena *arena, const TeModelFile *file, const TeGptKeys *keys, TeJson *config);
extern void te_gpt_config_to_gguf(TeArena *arena, const TeConfig *config, const TeGptKeys *keys, TeJson *meta);

extern const TeEncoder *te_gpt_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model);
extern TeNode *te_gpt_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch);

/*
 * Rows of a family's table: a linear layer, in the order that a folder has it, whose bias is there where its size is not 0; one that has
 * none; norms.
 */
#define TE_GPT_MATRIX(member, n_out, n_in, sensitive, bias_size, name, gguf, order) \
	{true, offsetof(TeEncoderLayer, member.weight), TE_ROLE_LINEAR, n_out, n_in, false, sensitive, name ".weight", gguf ".weight", 0, order}, \
	{true, offsetof(TeEncoderLayer, member.bias), TE_ROLE_VECTOR, bias_size, n_out, false, false, name ".bias", gguf ".bias", 0, \
		(order) == TE_ORDER_GROUPS ? TE_ORDER_GROUPS : TE_ORDER_SAME}
#define TE_GPT_WEIGHT(member, n_out, n_in, sensitive, name, gguf) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, name ".weight", gguf ".weight")
#define TE_GPT_NORM(member, size, bias_size, name, gguf) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_VECTOR, size, TE_SIZE_HIDDEN, false, name ".weight", gguf ".weight"), \
	TE_ENCODER_LAYER(member.bias, TE_ROLE_VECTOR, bias_size, TE_SIZE_HIDDEN, false, name ".bias", gguf ".bias")
#define TE_GPT_NORM_ONE(member, name, gguf) \
	TE_ENCODER_ONE(member.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, name ".weight", gguf ".weight"), \
	TE_ENCODER_ONE(member.bias, TE_ROLE_VECTOR, TE_SIZE_NORM_BIAS, TE_SIZE_HIDDEN, false, name ".bias", gguf ".bias")

#endif							/* TE_GPT_H */
