/*-------------------------------------------------------------------------
 * encoder.h
 *	  The body that BERT and its relatives share: a post-norm encoder.
 *
 * The families differ in tensor names, in which embeddings they add and how wide
 * these are, in how positions count and in which layers have the same weights;
 * the computation is one.  A family is a table of
 * TeEncoderTensor rows, from which the list of tensors and the look-up of the
 * weights both follow, and a function that reads its config.json.
 *-------------------------------------------------------------------------
 */
#ifndef TE_ENCODER_H
#define TE_ENCODER_H

#include "model/model.h"

/* A matrix or table with its bias, or a norm's scale and shift. */
typedef struct TeEncoderPair
{
	const TeWeight *weight;
	const TeWeight *bias;
} TeEncoderPair;

typedef struct TeEncoderLayer
{
	TeEncoderPair query;
	TeEncoderPair key;
	TeEncoderPair value;
	TeEncoderPair out;
	TeEncoderPair attention_norm;
	TeEncoderPair up;
	TeEncoderPair down;
	TeEncoderPair out_norm;
	TeEncoderPair joint;		/* query, key and value in one */
	TeEncoderPair gate;			/* beside up; none where up has both halves */
	TeEncoderPair relative_query;	/* projections of relative positions, where they have their own */
	TeEncoderPair relative_key;
	TeEncoderPair query_norm;	/* of each head */
	TeEncoderPair key_norm;
	TeEncoderPair router;		/* of experts, which stand in the place of gate, up and down */
	TeEncoderPair shared_gate;	/* of the expert that all tokens go through */
	TeEncoderPair shared_up;
	TeEncoderPair shared_down;
	TeEncoderPair shared_router;
	const TeExpert *experts;	/* NULL: none */
	TeEncoderPair attended_norm;	/* of what attention gives, and the feed-forward */
	TeEncoderPair fed_norm;
} TeEncoderLayer;

typedef struct TeEncoder
{
	const TeWeight *words;
	const TeWeight *positions;
	const TeWeight *types;		/* NULL: none */
	TeEncoderPair norm;
	TeEncoderPair projection;	/* from the embeddings' width to the layers'; none where they are the same */
	const TeWeight *relative;	/* [buckets, heads], or [buckets, hidden_size] to be projected; NULL: none */
	TeEncoderPair relative_norm;
	TeEncoderPair pooler;		/* kept for export and heads; forward does not read it */
	TeEncoderPair final_norm;
	TeRope		rope;			/* rotary positions, and those of local layers: rotary.c */
	TeRope		local_rope;
	const float *slopes;		/* of the heads, of ALiBi; NULL: none */
	TeEncoderLayer *layers;		/* those that are stored: fewer than are computed where they share weights */
} TeEncoder;

/* Sizes that a tensor's shape is made of; each names a member of TeConfig. */
typedef enum TeEncoderSize
{
	TE_SIZE_ONE,
	TE_SIZE_HIDDEN,
	TE_SIZE_EMBEDDING,
	TE_SIZE_PROJECTION,			/* hidden_size where embeddings have another width; else 0 leaves the tensor out */
	TE_SIZE_INTERMEDIATE,
	TE_SIZE_VOCABULARY,
	TE_SIZE_POSITIONS,
	TE_SIZE_ADDED_POSITIONS,	/* 0 where positions are not added to the words */
	TE_SIZE_TYPES,				/* 0 leaves the tensor out */
	TE_SIZE_BUCKETS,
	TE_SIZE_RELATIVE_NORM,		/* 1, or 0 where these have none */
	TE_SIZE_RELATIVE_QUERY,		/* hidden_size, or 0 where relative positions are not projected so */
	TE_SIZE_RELATIVE_KEY,
	TE_SIZE_HEADS,
	TE_SIZE_HEAD,				/* columns of one */
	TE_SIZE_QUERY,				/* of all heads together */
	TE_SIZE_KEY,				/* of all key-value heads */
	TE_SIZE_JOINT,				/* of query, key and value together */
	TE_SIZE_GATED,				/* of both halves of a gated up */
	TE_SIZE_HEAD_NORMS,			/* 1, or 0 where there are none */
	TE_SIZE_TWO_NORMS,
	TE_SIZE_FOUR_NORMS,
	TE_SIZE_NORM_BIAS,			/* 1, or 0 where these have none */
	TE_SIZE_ATTENTION_BIAS,
	TE_SIZE_OUT_BIAS,
	TE_SIZE_UP_BIAS,
	TE_SIZE_DOWN_BIAS,
	TE_SIZE_OUT_NORM,			/* 1, or 0 where the feed-forward has no norm of its own */
	TE_SIZE_OUT_NORM_BIAS
} TeEncoderSize;

/* The form in which files have a tensor: see model/order.c. */
typedef enum TeEncoderOrder
{
	TE_ORDER_SAME,
	TE_ORDER_TRANSPOSED,
	TE_ORDER_GROUPS,			/* a joint projection by key-value heads */
	TE_ORDER_TURNED,			/* GGUF has rows of heads by pairs, where the configuration says so */
	TE_ORDER_LESS_ONE			/* a norm that is less by one, where the configuration says so */
} TeEncoderOrder;

typedef struct TeEncoderTensor
{
	bool		in_layer;		/* one for each layer; slot counts from TeEncoderLayer */
	size_t		slot;			/* where bind puts the weight */
	TeRole		role;
	TeEncoderSize n_out;
	TeEncoderSize n_in;
	bool		optional;
	bool		sensitive;		/* see TeTensorSpec */
	const char *name;			/* with %d for the layer; two of them where layers form groups */
	const char *gguf_name;		/* NULL: GGUF has none */
	int			first_layer;	/* layers before have none */
	TeEncoderOrder order;
	bool		dense;			/* layers with experts have none */
} TeEncoderTensor;

/* A table ends with a row without a name. */
extern void te_encoder_list(const TeEncoderTensor *table, const TeConfig *config, TeTensorSpecs *specs);
extern const TeEncoder *te_encoder_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model);
/* Hidden states [n_tok, hidden_size]; batch->type_ids must be given where the model has types. */
extern TeNode *te_encoder_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch);

/* norm(x + residual), which may be NULL. */
extern TeNode *te_encoder_norm(TeGraph *graph, TeNode *x, TeNode *residual, TeEncoderPair norm, const TeConfig *config);
/* A layer whose attention is as the spec says, which has the heads. */
extern TeNode *te_encoder_layer(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config,
								const TeAttentionSpec *spec);

/* The keys that BERT, RoBERTa and MPNet have in common. */
extern void te_encoder_read_config(const TeJson *config, TeConfig *into);
/* llama.cpp's keys for general.architecture "bert". */
extern void te_encoder_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config);
extern void te_encoder_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta);

/* Copy what a table of keys names between GGUF metadata and config.json; a "%s" is the architecture. */
extern void te_encoder_keys_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config);
extern void te_encoder_keys_to_gguf(TeArena *arena, const TeConfig *config, const char *arch, TeJson *meta);

/* BERT's table (bert.c), which RoBERTa shares. */
extern const TeEncoderTensor te_encoder_bert_tensors[];

/* Rows of a family's table. */
#define TE_ENCODER_ONE(member, role, n_out, n_in, optional, name, gguf) \
	{false, offsetof(TeEncoder, member), role, n_out, n_in, optional, false, name, gguf, 0}
#define TE_ENCODER_LAYER(member, role, n_out, n_in, sensitive, name, gguf) \
	{true, offsetof(TeEncoderLayer, member), role, n_out, n_in, false, sensitive, name, gguf, 0}
/* The two rows of a linear layer [n_out, n_in], and of a norm. */
#define TE_ENCODER_MATRIX(member, n_out, n_in, sensitive, name, gguf) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, name ".weight", gguf ".weight"), \
	TE_ENCODER_LAYER(member.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, n_out, false, name ".bias", gguf ".bias")
#define TE_ENCODER_NORM(member, name, gguf) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, name ".weight", gguf ".weight"), \
	TE_ENCODER_LAYER(member.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false, name ".bias", gguf ".bias")

/*
 * The six matrices of a layer under a family's names.  Value, output and up
 * are sensitive: measured on all-MiniLM-L6-v2, they make two thirds of the loss
 * by four bits with two fifths of the elements.
 */
#define TE_ENCODER_MATRICES(query_name, key_name, value_name, out_name, up_name, down_name) \
	TE_ENCODER_MATRIX(query, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, false, query_name, "blk.%d.attn_q"), \
	TE_ENCODER_MATRIX(key, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, false, key_name, "blk.%d.attn_k"), \
	TE_ENCODER_MATRIX(value, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, value_name, "blk.%d.attn_v"), \
	TE_ENCODER_MATRIX(out, TE_SIZE_HIDDEN, TE_SIZE_HIDDEN, true, out_name, "blk.%d.attn_output"), \
	TE_ENCODER_MATRIX(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, true, up_name, "blk.%d.ffn_up"), \
	TE_ENCODER_MATRIX(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, false, down_name, "blk.%d.ffn_down")

#endif							/* TE_ENCODER_H */
