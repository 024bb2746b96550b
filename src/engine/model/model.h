/*-------------------------------------------------------------------------
 * model.h
 *	  Inside of the model layer: configuration, the architecture table, the
 *	  image's layout, and the model and session structures.
 *
 * model/ knows formats, images, batches and tasks, but no architecture; arch/
 * knows one family each, and nothing of files, images or SQL.  TE_ARCHS is the
 * only place where the two meet.
 *
 * To add an architecture: write arch/<family>.c with a TeArch row, add its
 * name to TE_ARCHS, make models/fixtures/<name> with its script.
 *-------------------------------------------------------------------------
 */
#ifndef TE_MODEL_H
#define TE_MODEL_H

#include "engine.h"
#include "file/file.h"
#include "graph/graph.h"

/*
 * What an architecture reads out of config.json.  Plain data: it lies in the
 * image as it is.  Fields that a family does not use stay zero.
 */
typedef struct TeConfig
{
	int32_t		hidden_size;
	int32_t		n_layers;
	int32_t		n_heads;
	int32_t		n_kv_heads;
	int32_t		head_size;
	int32_t		intermediate_size;
	int32_t		vocab_size;
	int32_t		embedding_size; /* of the word embeddings, where it differs */
	int32_t		max_positions;	/* rows of the position table, 0: none */
	int32_t		position_offset;	/* added to positions from 0: RoBERTa's pad_token_id + 1 */
	int32_t		type_vocab_size;
	int32_t		pad_id;
	int32_t		activation;		/* TeActivation */
	float		norm_eps;
	int32_t		relative_buckets;
	int32_t		relative_max_distance;
	int32_t		n_labels;
} TeConfig;

/* How a tensor is used: decides its layout in the image and whether quantization applies. */
typedef enum TeRole
{
	TE_ROLE_LINEAR,				/* [n_out, n_in], read by te_linear: packed, quantized */
	TE_ROLE_EMBEDDING,			/* [rows, n], read by te_gather: row-major, quantized */
	TE_ROLE_VECTOR				/* bias, norm: f32 always */
} TeRole;

typedef struct TeTensorSpec
{
	const char *name;			/* Hugging Face's, without prefix; in the arena */
	const char *gguf_name;		/* llama.cpp's, or NULL where it has none */
	TeRole		role;
	int64_t		n_out;			/* rows; 1 for a vector */
	int64_t		n_in;
	bool		optional;
} TeTensorSpec;

typedef struct TeTensorSpecs
{
	TeArena    *arena;
	size_t		n;
	size_t		capacity;
	TeTensorSpec *specs;
} TeTensorSpecs;

extern void te_specs_add(TeTensorSpecs *specs, TeRole role, int64_t n_out, int64_t n_in, bool optional,
						 const char *gguf_name, const char *name_format,...) TE_PRINTF(7, 8);

typedef struct TeArch
{
	const char *name;
	const char *const *model_types; /* values of config.json's "model_type", NULL-terminated */
	const char *const *prefixes;	/* tensor name prefixes that a checkpoint may carry ("bert."), NULL-terminated */
	const char *gguf_name;		/* general.architecture, or NULL */

	/* Read and check config.json. */
	void		(*read_config) (const TeJson *config, TeConfig *into);
	/* config.json from GGUF metadata, and back into metadata. */
	void		(*config_from_gguf) (TeArena *arena, const TeJson *meta, const TeModelFile *file, TeJson *config);
	void		(*config_to_gguf) (TeArena *arena, const TeJson *config, TeJson *meta);
	/* All tensors of the encoder, in the order of export. */
	void		(*list_tensors) (const TeConfig *config, TeTensorSpecs *specs);
	/* Hidden states [n_tok, hidden_size]. */
	TeNode	   *(*forward) (TeGraph *graph, const TeModel *model, const TeBatch *batch);
} TeArch;

/* The one list of architectures. */
#define TE_ARCHS(A) \
	A(bert) \
	A(distilbert) \
	A(roberta) \
	A(mpnet)

#define TE_ARCH_DECLARE(name) extern const TeArch te_arch_##name;
TE_ARCHS(TE_ARCH_DECLARE)
#undef TE_ARCH_DECLARE

extern const TeArch *te_arch_by_model_type(TeStr model_type);	/* throws TE_ERR_UNSUPPORTED listing what there is */
extern const TeArch *te_arch_by_name(TeStr name);
extern const TeArch *te_arch_by_gguf(TeStr name);

/* A weight of an attached model by its full name; te_model_weight throws where it is absent. The printf form serves "encoder.layer.%d...". */
extern const TeWeight *te_model_weight(const TeModel *model, const char *format,...) TE_PRINTF(2, 3);
extern const TeWeight *te_model_weight_optional(const TeModel *model, const char *format,...) TE_PRINTF(2, 3);
extern const TeConfig *te_model_config(const TeModel *model);

#endif							/* TE_MODEL_H */
