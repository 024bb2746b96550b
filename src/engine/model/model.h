/*-------------------------------------------------------------------------
 * model.h
 *	  Inside of the model layer: configuration, the architecture table, the
 *	  pipeline around an encoder, and the model, session and task structures.
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

/* Bounds on what a config.json may ask for, far above any model: what is sized by them stays small. */
#define TE_MAX_WIDTH		(1 << 16)
#define TE_MAX_LAYERS		1024
#define TE_MAX_VOCABULARY	(1 << 24)
#define TE_MAX_POSITIONS	(1 << 20)

/* How frequencies of rotary positions are scaled for texts that are longer than those at first (arch/rope.c). */
typedef enum TeRopeScaling
{
	TE_ROPE_PLAIN,
	TE_ROPE_LINEAR,
	TE_ROPE_DYNAMIC,
	TE_ROPE_YARN,
	TE_ROPE_LLAMA3,
	TE_ROPE_LONGROPE,
	TE_N_ROPE_SCALINGS
} TeRopeScaling;

typedef struct TeRopeConfig
{
	float		base;
	int32_t		scaling;		/* TeRopeScaling */
	int32_t		original_positions; /* of the texts at first */
	float		factor;
	float		stretch;		/* of what was turned, 1 for most */
	float		fast;			/* turns in such a text: more are fast, fewer than `slow` slow */
	float		slow;
	int32_t		whole;			/* YaRN: the bounds are pairs */
	float		short_factors[TE_MAX_D_HEAD / 2];	/* longrope */
	float		long_factors[TE_MAX_D_HEAD / 2];
} TeRopeConfig;

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
	/* rotary positions and local layers */
	int32_t		rope_columns;	/* of each head, 0: none */
	TeRopeConfig rope;
	TeRopeConfig rope_local;	/* of local layers */
	int32_t		window;			/* of local layers: see TeAttentionSpec */
	uint32_t	local_layers[TE_MAX_LAYERS / 32];	/* a bit a layer */
	uint32_t	unturned_layers[TE_MAX_LAYERS / 32];	/* without rotary positions */
	/* which matrices have biases, 0 or 1 */
	int32_t		norm_bias;
	int32_t		attention_bias;
	int32_t		out_bias;
	int32_t		up_bias;
	int32_t		down_bias;
	int32_t		n_layer_groups; /* so many sets of weights serve all layers; 0: each layer has its own */
	int32_t		group_layers;	/* layers with weights of their own in such a set */
	/* disentangled attention: 0 or 1, but for score_terms */
	int32_t		relative_log;	/* far distances share buckets */
	int32_t		relative_keys;	/* q · key of the position is a term of a score */
	int32_t		relative_queries;	/* so is k · query of it */
	int32_t		relative_shared;	/* the layers' own query and key project them */
	int32_t		relative_norm;
	int32_t		score_terms;	/* that the scale counts */
	float		lora_scale;		/* of the overlays that matrices have (lora.c) */
	int32_t		added_positions;	/* rows of the position table where max_positions is a bound only, 0: none */
	/* decoders with layer norms (arch/gpt.c), 0 or 1 */
	int32_t		parallel_layers;	/* attention and feed-forward read the same, and both are added to it */
	int32_t		shared_norm;	/* the feed-forward has no norm of its own: it reads that of attention */
	float		alibi_max;		/* ALiBi: slopes reach down to 2^-alibi_max; 0: none */
	float		alibi_scale;	/* of the slopes */
	/* decoders like Llama's: 0 or 1, but for numbers with a point */
	int32_t		head_norms;		/* of query and key */
	int32_t		four_norms;
	int32_t		norms_less_one; /* in folders */
	int32_t		joint;			/* query, key and value are one matrix, and so are gate and up */
	int32_t		gguf_pairs;		/* GGUF has rows of query and key by pairs that are turned */
	float		words_scale;
	float		score_scale;	/* 0: the usual one */
	float		score_cap;		/* 0: none */
	float		logit_cap;
	/* experts, of which a router chooses some for each token; n_experts 0: none */
	int32_t		n_experts;
	int32_t		n_chosen;
	int32_t		expert_size;	/* as intermediate_size */
	int32_t		shared_size;	/* of the expert that all tokens go to, 0: none */
	int32_t		block_experts;	/* their tensors are called as Mixtral's */
	int32_t		chosen_sum;		/* 1: what the chosen ones count for is made to be 1 together */
	uint32_t	expert_layers[TE_MAX_LAYERS / 32];	/* layers that have them */
} TeConfig;

/* How a tensor is used: decides its layout in the image and whether quantization applies. */
typedef enum TeRole
{
	TE_ROLE_LINEAR,				/* [n_out, n_in], read by te_linear: packed, quantized */
	TE_ROLE_EMBEDDING,			/* [rows, n], read by te_gather: row-major, quantized */
	TE_ROLE_TABLE,				/* [rows, n], small (positions, types, buckets): row-major, f32 always */
	TE_ROLE_VECTOR				/* bias, norm: f32 always */
} TeRole;

/* A tensor [n, rows, n_in] in which a file may have many matrices. */
typedef struct TeStack
{
	const char *name;			/* NULL: there is none */
	int64_t		n;
	int64_t		rows;
	int64_t		row;			/* where this matrix begins, counted through all */
} TeStack;

typedef struct TeTensorSpec
{
	const char *name;			/* Hugging Face's, without prefix; in the arena */
	const char *gguf_name;		/* llama.cpp's, or NULL where it has none */
	TeRole		role;
	int64_t		n_out;			/* rows; 1 for a vector */
	int64_t		n_in;
	bool		optional;
	bool		rare;			/* optional, and models that begin at random do without */
	const char *alias;			/* a name under which a checkpoint may have it too, or instead; or NULL */
	int64_t		gguf_skip;		/* first rows that GGUF leaves out: positions that a family never uses */
	bool		sensitive;		/* a matrix that loses much with less than five bits, and then gets q8_0 */
	bool		multiplied;		/* an embedding that te_linear reads too: a tied head */
	bool		exact;			/* small and decisive: keeps the file's type, whatever is wished */
	bool		transposed;		/* in a folder of Hugging Face it is [n_in, n_out] */
	const int32_t *rows;		/* its row i (element, of a vector) is row rows[i] in such a folder; NULL: the same */
	const int32_t *gguf_rows;	/* the same of a GGUF file */
	bool		less_one;		/* in a folder its elements are less by one */
	TeStack		folder_stack;	/* where a folder may have it, instead of by its name */
	TeStack		gguf_stack;		/* where GGUF has it */
	bool		routed;			/* of an expert: read for some tokens only, and not by te_linear() */
	/* A vector of which files make rows of so many elements: GGUF a matrix, a folder a tensor each, called `parts` and a number; 0: they do not. */
	int64_t		part_size;
	const char *parts;
} TeTensorSpec;

typedef struct TeTensorSpecs
{
	TeArena    *arena;
	size_t		n;
	size_t		capacity;
	TeTensorSpec *specs;
} TeTensorSpecs;

/* Append a spec whose name_format and gguf_format (or NULL) take one int, a layer's number. */
/* By its name; NULL where there is none. */
extern const TeTensorSpec *te_specs_find(const TeTensorSpecs *specs, const char *name);
extern TeTensorSpec *te_specs_add(TeTensorSpecs *specs, TeRole role, int64_t n_out, int64_t n_in, bool optional,
								  const char *name_format, const char *gguf_format, int layer);

/* A value of config.json's "model_type", and what transformers calls the bare model of that type. */
typedef struct TeModelType
{
	const char *name;
	const char *class_name;
	const char *gguf_name;		/* llama.cpp's, where it differs from that of the architecture */
	const char *causal_name;	/* the class that generates text, where it is not called as usual */
	bool		tied;			/* layers that may be tied are, where config.json does not say otherwise */
} TeModelType;

/* ---- heads (head.c) ---- */

#define TE_MAX_HEAD_LAYERS 4

typedef enum TeHeadKind
{
	TE_HEAD_NONE,
	TE_HEAD_SEQUENCE,			/* a number a label, of each text */
	TE_HEAD_NEXT,				/* two numbers of each pair of texts: the second follows the first, or not */
	TE_HEAD_TOKEN,				/* a number a label, of each token */
	TE_HEAD_ANSWER,				/* two numbers of each token: an answer begins, or ends, with it */
	TE_HEAD_MASK,				/* a number a word of the vocabulary, of each mask token */
	TE_HEAD_CAUSAL,				/* the same of each token, for the one that follows */
	TE_N_HEADS
} TeHeadKind;

/* The width of a layer's result. */
typedef enum TeHeadWidth
{
	TE_WIDTH_HIDDEN,			/* hidden_size */
	TE_WIDTH_EMBEDDING,			/* embedding_size */
	TE_WIDTH_OUTPUTS			/* of the head: labels, 2, or the vocabulary; the last layer's */
} TeHeadWidth;

/* A linear layer, and what follows it. */
typedef struct TeHeadLayer
{
	const char *name;			/* transformers': "classifier"; NULL ends the layers */
	const char *gguf_name;		/* NULL: llama.cpp has none */
	TeHeadWidth width;
	TeActivation activation;
	const char *activation_key; /* of config.json, where that may name another one; or NULL */
	const char *norm;			/* a layer norm after the activation, or NULL */
	const char *norm_gguf_name;
	bool		bias_optional;	/* and the norm's */
	bool		bias_rare;		/* then a head that begins at random has none, but for the norm's where the configuration says so */
	const char *tied_to;		/* the tensor whose rows are the weight unless config.json says otherwise, or NULL */
	const char *tied_bias;		/* what the bias is called then, or NULL: the same as else */
} TeHeadLayer;

/* A head that a family has. */
typedef struct TeArchHead
{
	TeHeadKind	kind;			/* TE_HEAD_NONE ends the list */
	const char *also_class;		/* ending of another class that has it too ("ForPreTraining"), or NULL */
	const char *class_suffix;	/* of the class that transformers has for it, where that is not its kind's; or NULL */
	bool		last;			/* texts are pooled by their last token, not their first */
	bool		untied;			/* layers that may be tied are not where config.json does not say so */
	const char *pooling_key;	/* of config.json, where texts may be pooled otherwise than by their first token; or NULL */
	const char *flag;			/* of config.json, true by default, that this row of its kind wants; NULL: any */
	TeHeadLayer layers[TE_MAX_HEAD_LAYERS];
} TeArchHead;

/* How logits become scores. */
typedef enum TeScoring
{
	TE_SCORE_SOFTMAX,
	TE_SCORE_SIGMOID,
	TE_SCORE_IDENTITY
} TeScoring;

/* The head of a model, all of it from config.json; zero where it has none. */
typedef struct TeHead
{
	TeHeadKind	kind;
	int32_t		row;			/* of the architecture's list */
	TeScoring	scoring;
	TeScoring	pair_scoring;	/* of a single output for a pair of texts: identity or sigmoid */
	TePooling	pooling;		/* of heads that read whole texts */
	bool		tied;			/* a layer that may be tied is */
	TeActivation activations[TE_MAX_HEAD_LAYERS];
	int32_t		n_labels;		/* 0: outputs have no names */
	const TeStr *labels;
} TeHead;

/* The weights of a layer. */
typedef struct TeHeadWeights
{
	TeOperand	operand;
	const TeWeight *gamma;		/* of the norm; NULL: none */
	const TeWeight *beta;
} TeHeadWeights;

/* A growing list of tensors under the names of a definition. */
typedef struct TeTensorList
{
	TeArena    *arena;
	size_t		n;
	size_t		capacity;
	TeTensorInfo *tensors;
} TeTensorList;

extern void te_tensor_list_add(TeTensorList *list, const TeTensorInfo *tensor);

typedef struct TeArch
{
	const char *name;
	const TeModelType *model_types; /* ends with a NULL name */
	const char *const *prefixes;	/* tensor name prefixes that a checkpoint may carry ("bert."), NULL-terminated */
	const char *gguf_name;		/* general.architecture; NULL: llama.cpp has none */

	/* Read and check config.json. */
	void		(*read_config) (const TeJson *config, TeConfig *into);
	/* config.json from GGUF metadata, and back into metadata (not where gguf_name is NULL). */
	void		(*config_from_gguf) (TeArena *arena, const TeModelFile *file, TeJson *config);
	void		(*config_to_gguf) (TeArena *arena, const TeConfig *config, TeJson *meta);
	/* Tensors that llama.cpp wants and the definition has not; NULL: none. */
	void		(*gguf_tensors) (const TeConfig *config, TeTensorList *list);
	/* All tensors of the encoder, in the order of export. */
	void		(*list_tensors) (const TeConfig *config, TeTensorSpecs *specs);
	/* Look the weights up once, when a model is attached; forward finds the result in te_model_bound(). */
	const void *(*bind) (TeArena *arena, const TeModel *model);
	/* Hidden states [n_tok, hidden_size]. */
	TeNode	   *(*forward) (TeGraph *graph, const TeModel *model, const TeBatch *batch);
	const TeArchHead *heads;	/* NULL: none */
} TeArch;

/* The one list of architectures.  Where two share a GGUF name, the first one reads foreign files. */
#define TE_ARCHS(A) \
	A(bert) \
	A(distilbert) \
	A(roberta) \
	A(mpnet) \
	A(modernbert) \
	A(nomic) \
	A(albert) \
	A(electra) \
	A(deberta) \
	A(llama) \
	A(gpt2) \
	A(neox) \
	A(phi) \
	A(stablelm) \
	A(falcon) \
	A(bloom) \
	A(mpt)

#define TE_ARCH_DECLARE(name) extern const TeArch te_arch_##name;
TE_ARCHS(TE_ARCH_DECLARE)
#undef TE_ARCH_DECLARE

extern const TeArch *te_arch_by_model_type(TeStr model_type);	/* throws TE_ERR_UNSUPPORTED listing what there is */
extern const TeArch *te_arch_by_name(TeStr name);	/* the same */
extern const TeArch *te_arch_by_gguf(TeStr name);	/* the same */
/* The row of a config.json's model_type; the first where it has none. */
extern const TeModelType *te_arch_model_type(const TeArch *arch, const TeJson *config);
/* The first row of a name in GGUF; NULL where all are called as the architecture is. */
extern const TeModelType *te_arch_type_by_gguf(const TeArch *arch, TeStr name);
/* general.architecture; NULL: llama.cpp has none. */
extern const char *te_arch_gguf_name(const TeArch *arch, const TeJson *config);

/* ---- config.json (config.c): checked reads, for read_config() ---- */

/* A required integer of [1, max]; throws TE_ERR_CORRUPT naming the key. */
extern int32_t te_config_size(const TeJson *config, const char *key, int64_t max);
/* An activation by its name in config.json; throws TE_ERR_UNSUPPORTED naming it. */
extern TeActivation te_config_activation(const TeJson *config, const char *key);
/* A layer norm's epsilon in (0, 1). */
extern float te_config_epsilon(const TeJson *config, const char *key, double fallback);
/* hidden_size over n_heads gives head_size; throws where it does not divide. */
extern void te_config_heads(TeConfig *config);

/* ---- the pipeline around an encoder (pipeline.c says what its JSON looks like) ---- */

#define TE_MAX_DENSE 8
#define TE_MAX_PROMPTS 64

typedef struct TeDense
{
	TeStr		tensor;			/* "2_Dense.linear": with ".weight" and ".bias" */
	int32_t		n_in;
	int32_t		n_out;
	bool		bias;
	TeActivation activation;
} TeDense;

typedef struct TePrompt
{
	TeStr		name;			/* "query" */
	TeStr		text;			/* put before the input */
} TePrompt;

#define TE_MAX_ENDS 16

/* What a model with a causal head knows of texts (generation.c); of others begin_id is -1, by_tokenizer, and all else zero. */
typedef struct TeGeneration
{
	TeStr		chat_template;	/* Jinja; {NULL, 0}: none */
	TeStr		bos_token;		/* as templates see them; {NULL, 0}: none */
	TeStr		eos_token;
	int32_t		begin_id;		/* what a text may begin with; -1: none */
	bool		adds_begin;		/* it is put before a text that does not say what it begins with */
	bool		by_tokenizer;	/* the files do not say that: the tokenizer's post-processor does */
	size_t		n_end;
	int32_t		end_ids[TE_MAX_ENDS];	/* any of them ends a text; the first is the model's own */
} TeGeneration;

typedef struct TePipeline
{
	int			n_poolings;		/* concatenated in this order */
	TePooling	pooling[TE_N_POOLINGS];
	bool		normalize;
	int32_t		max_tokens;		/* special tokens included; 0: what the positions allow */
	int			n_dense;
	TeDense		dense[TE_MAX_DENSE];
	int			n_prompts;
	TePrompt	prompts[TE_MAX_PROMPTS];
	int			default_prompt; /* number of the prompt used without a kind, -1: none */
	TeGeneration generation;
} TePipeline;

extern void te_pipeline_read(const TeJson *json, const TeConfig *config, TePipeline *into);
extern void te_pipeline_list_tensors(const TePipeline *pipeline, TeTensorSpecs *specs);
extern int	te_pipeline_dimensions(const TePipeline *pipeline, const TeConfig *config);
extern int	te_pipeline_context(const TePipeline *pipeline, const TeConfig *config);	/* tokens; 0: no bound */
extern const char *te_pooling_name(TePooling pooling);
extern TePooling te_pooling_by_name(TeStr name);	/* TE_N_POOLINGS: none */
extern TePooling te_pooling_by_hf(TeStr name);	/* sentence-transformers' "mean_sqrt_len_tokens"; TE_N_POOLINGS: none */
extern const char *te_pooling_hf(TePooling pooling);
extern int	te_pooling_gguf(TePooling pooling); /* llama.cpp's number; 0: none */
/* Activations of dense layers by the class of torch.nn ("Tanh"). */
extern TeActivation te_dense_activation(TeStr class_name);	/* TE_N_ACTIVATIONS: none */
extern const char *te_dense_class(TeActivation activation); /* with its module; NULL: none */

/* ---- what texts begin and end with (generation.c) ---- */

extern void te_generation_none(TeGeneration *into);
/* Of a pipeline's JSON; where that has nothing of it, of config.json.  Ids beyond n_vocab are dropped. */
extern void te_generation_read(const TeJson *pipeline, const TeJson *config, int32_t n_vocab, TeGeneration *into);
/* With what the tokenizer knows, within n_vocab and its vocabulary. */
extern void te_generation_complete(const TeTokenizer *tokenizer, int32_t n_vocab, TeGeneration *generation);
/* The pipeline's member, of files; NULL where these say nothing. */
extern const TeJson *te_folder_generation(TeArena *arena, const TeFolder *folder, const char *base, const TeJson *config,
										  const TeJson *tokenizer);
extern const TeJson *te_gguf_generation(TeArena *arena, const TeJson *meta);
/* The pipeline's member for tokenizer_config.json and generation_config.json. */
extern void te_generation_to_folder(TeArena *arena, const TeJson *generation, TeJson *tokenizer, TeJson *defaults);
extern void te_generation_to_gguf(TeArena *arena, const TeGeneration *generation, TeJson *meta);

/* ---- a Hugging Face folder (import_folder.c, import_pipeline.c) ---- */

/* Does modules.json say more than that there is an encoder?  Then the folder is for embeddings, whatever its class. */
extern bool te_folder_pools(TeArena *arena, const TeFolder *folder);
/* A file of the folder, or of the folder `base` in it ("" for none); NULL where there is none. */
extern const TeSource *te_folder_file(TeArena *arena, const TeFolder *folder, const char *base, const char *name);
extern const TeJson *te_folder_json(TeArena *arena, const TeFolder *folder, const char *base, const char *name);
/* The folder of the encoder itself, from modules.json: "" nearly always. */
extern const char *te_folder_base(TeArena *arena, const TeFolder *folder);
/* modules.json and its folders as a pipeline's JSON; tensors of dense layers are appended to the list. */
extern const TeJson *te_folder_pipeline(TeArena *arena, const TeFolder *folder, const char *base, TeTensorList *tensors);
/* config.json with the activation that sentence-transformers keeps beside it for a cross-encoder. */
extern const TeJson *te_folder_cross_encoder(TeArena *arena, const TeFolder *folder, const TeJson *config);
/* sentence-transformers may lower-case on top of what the tokenizer does. */
extern bool te_folder_lower_case(TeArena *arena, const TeFolder *folder, const char *base);

/* ---- overlays (lora.c) ---- */

#define TE_LORA_A ".lora_A"
#define TE_LORA_B ".lora_B"

/* What a config.json says of overlays; n 0: there are none. */
typedef struct TeLora
{
	int32_t		rank;
	float		scale;			/* alpha / rank */
	size_t		n;
	const TeStr *tensors;		/* the matrices that have one, without ".weight" */
} TeLora;

extern void te_lora_read(TeArena *arena, const TeJson *config, TeLora *into);
/* A config.json that says so. */
extern const TeJson *te_lora_config(TeArena *arena, const TeJson *config, int32_t rank, double alpha, const TeStr *tensors, size_t n);
/* The overlays' tensors, after those of the matrices. */
extern void te_lora_list_tensors(const TeLora *lora, TeTensorSpecs *specs);
/* Hang them on the matrices of an attached model. */
extern void te_lora_bind(TeArena *arena, TeModel *model);
/* A definition whose matrices have their overlays added, made as they are read; the definition itself where there are none. */
extern const TeModelDef *te_lora_merged(TeArena *arena, const TeModelDef *def);

/* ---- definitions (def.c) ---- */

/* What the text of a definition means. */
typedef struct TeDefParts
{
	const TeArch *arch;			/* NULL: a tokenizer */
	const char *gguf_name;		/* of its architecture, NULL: none */
	const TeJson *config_json;
	TeConfig	config;
	TeHead		head;
	TePipeline	pipeline;
	TeLora		lora;
	TeTensorSpecs specs;		/* encoder's, then the head's, then the pipeline's, then overlays */
} TeDefParts;

extern void te_def_parts(TeArena *arena, const TeModelDef *def, TeDefParts *parts);

/* ---- heads (head.c, polarity.c) ---- */

/* The first head of that kind in an architecture's list; NULL where it has none. */
extern const TeArchHead *te_arch_head(const TeArch *arch, TeHeadKind kind);
/* What a user calls a task as the definition calls it: "ner" is "token-classification". */
extern TeStr te_task_name(TeStr task);
/* The kind of head that a task needs; TE_N_HEADS where there is no such task. */
extern TeHeadKind te_head_kind(TeStr task);
/* A config.json whose class has such a head. */
extern const TeJson *te_head_with_class(TeArena *arena, const TeArch *arch, const TeJson *config, TeHeadKind kind);
/* The task that a config.json is for: "embedding" where it names no head that the architecture has. */
extern TeStr te_head_task(const TeArch *arch, const TeJson *config);
/* Does the class that a config.json names have such a head? */
extern bool te_head_in_class(const TeArch *arch, const TeJson *config, TeHeadKind kind);
/* The head that a model has for a task; throws where there is no such task.  Labels point into config or the arena. */
extern void te_head_read(TeArena *arena, const TeArch *arch, TeStr task, const TeJson *config, TeHead *into);
/* Has a head of that kind labels? */
extern bool te_head_names_outputs(TeHeadKind kind);
/* The width of its result. */
extern int32_t te_head_outputs(const TeHead *head, const TeConfig *config);
extern void te_head_list_tensors(const TeArch *arch, const TeHead *head, const TeConfig *config, TeTensorSpecs *specs);
/* The weights of the model's head, a row a layer; throws where the image has not all of them. */
extern void te_head_bind(TeArena *arena, const TeModel *model, TeHeadWeights *into);
/* The head's outputs [rows of x, n_outputs]. */
extern TeNode *te_head_forward(TeGraph *graph, const TeModel *model, TeNode *x);
/* A config.json with other labels. */
extern const TeJson *te_head_relabel(TeArena *arena, const TeJson *config, const TeStr *labels, int n);
/* "BertForSequenceClassification". */
extern const char *te_head_class(TeArena *arena, const TeArch *arch, const TeJson *config, TeHeadKind kind);
/* te_model_scores() for a pair of texts, where a single output has an activation of its own. */
extern void te_model_pair_scores(const TeModel *model, const float *logits, float *scores);
extern void te_softmax(const float *logits, float *scores, int n);
/* Does a label begin with this word, which is in lower case?  "_" and "-" count as spaces. */
extern bool te_label_begins(TeStr label, const char *word);
/* llama.cpp's keys for a model with a head, and back into config.json where a file has one. */
extern void te_head_to_gguf(TeArena *arena, const TeDefParts *parts, TeJson *meta);
extern void te_head_from_gguf(TeArena *arena, const TeModelFile *file, const TeArch *arch, TeJson *config);

/* Finds the file's tensor for a spec: name, dims and source as wanted but for the type; NULL where the file has none. */
typedef const TeTensorInfo *(*TeFindTensor) (void *from, TeArena *arena, const TeTensorSpec *spec);

/* The task that a definition will have: the user's, or else the one that the importer found, or else by config.json. */
extern TeStr te_def_task(const TeModelDef *def, const TeImportOptions *options, const TeArch *arch, const TeJson *config);
/* Complete a definition whose texts are set: find its tensors, check shapes, decide types, derive the rest. */
extern void te_def_assemble(TeArena *arena, TeModelDef *def, const TeImportOptions *options,
							TeFindTensor find, void *from);
extern void te_def_set_tokenizer(TeArena *arena, TeModelDef *def, const TeJson *tokenizer);
/* A tensor as another type, converted as it is read. */
extern TeTensorInfo te_tensor_converted(TeArena *arena, const TeTensorInfo *tensor, TeDtype dtype);
/* A tensor with rows of zeros, or of `head`, before its own; head: `rows` rows as stored, or NULL. */
extern TeTensorInfo te_tensor_with_head(TeArena *arena, const TeTensorInfo *tensor, int64_t rows, const void *head);

/* ---- the form that files have tensors in (order.c) ---- */

/* The rows of a joint projection of queries, keys and values that has them by key-value heads, in the order of TeTensorSpec. */
extern const int32_t *te_order_groups(TeArena *arena, int n_heads, int n_kv_heads, int head_size);
/* A matrix that lies in a tensor with others; and the other way round, where all are of one shape: [n, n_out, n_in]. */
extern TeTensorInfo te_order_part(const TeTensorSpec *spec, const TeStack *stack, const TeTensorInfo *tensor);
extern TeTensorInfo te_order_stacked(TeArena *arena, const TeTensorInfo *tensors, size_t n);
/* The rows of heads that GGUF has by pairs, in that order; of fewer heads they are the first of these. */
extern const int32_t *te_order_turned(TeArena *arena, int n_heads, int head_size);
/* The name of a part in a folder. */
extern const char *te_order_part_name(TeArena *arena, const TeTensorSpec *spec, int64_t i);
/* A tensor put together of its parts, and a part of one. */
extern TeTensorInfo te_order_join(TeArena *arena, const TeTensorSpec *spec, TeTensorInfo *parts);
extern TeTensorInfo te_order_split(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor, int64_t i);
/* A folder's tensor in the order of a definition, and a definition's in that of a folder: made as they are read. */
extern TeTensorInfo te_order_from_folder(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor);
extern TeTensorInfo te_order_to_folder(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor);
extern TeTensorInfo te_order_from_gguf(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor);
extern TeTensorInfo te_order_to_gguf(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor);

/* ---- attached models (model.c) ---- */

/* A weight by its full name; NULL where the model has none. */
extern const TeWeight *te_model_weight(const TeModel *model, TeStr name);
/* All weights, with their names: for those who hang something on them (gradients, overlays). */
extern TeWeight *te_model_weights(TeModel *model, size_t *n, const TeStr **names);
extern const TeConfig *te_model_config(const TeModel *model);
extern const TePipeline *te_model_pipeline(const TeModel *model);
extern const TeArch *te_model_arch(const TeModel *model);	/* NULL: a tokenizer */
extern const void *te_model_bound(const TeModel *model);
extern const TeOperand *te_model_dense(const TeModel *model, int i);	/* layer i of the pipeline */
extern const TeHead *te_model_head(const TeModel *model);
extern const TeHeadWeights *te_model_head_layer(const TeModel *model, int i);

/*
 * An image for training, to be built in private memory: matrices of f32 lie in rows, since they change at every
 * step; what is of another type is not trained and lies as in any image.
 */
extern TeImagePlan *te_image_plan_training(TeArena *arena, const TeModelDef *def, uint64_t *bytes);

/* What an image says of itself, checked: pointers into the image. */
typedef struct TeImageView
{
	TeStr		architecture;
	TeStr		task;
	const TeConfig *config;
	TePipeline	pipeline;
	TeHead		head;
	int			dimensions;
	int			context_length;
	TeStr		tokenizer;		/* the compiled form; {NULL, 0}: none */
	size_t		n_tensors;
	TeWeight   *weights;		/* in the arena */
	const uint32_t *index;		/* open addressing by te_hash(name), power of two; UINT32_MAX: free */
	size_t		index_size;
	TeStr	   *names;			/* of the tensors */
	size_t		n_linear_elements;	/* of the tensors that te_linear reads */
} TeImageView;

/* Check everything but the weights' own bytes; throws TE_ERR_CORRUPT. */
extern void te_image_view(TeArena *arena, const void *image, uint64_t bytes, TeImageView *view);

/* ---- sessions and tasks ---- */

/* A row of a job: text in, tokens, rows of numbers out (a vector is one row, and so are logits). */
typedef struct TeJobRow
{
	TeStr		text;			/* with the prompt */
	TeStr		pair;
	bool		keep_pair;		/* where both are too long, only the text is cut */
	uint32_t	n_tokens;		/* 0 before the job runs, unless it is fed as tokens */
	uint32_t	n_untruncated;
	uint32_t	capacity;		/* of ids */
	int32_t    *ids;
	int32_t    *type_ids;		/* NULL where the model has no types */
	size_t		n_values;		/* rows of values */
	float	   *values;			/* [n_values, width] */
} TeJobRow;

struct TeSession
{
	TeArena    *arena;
	TeArena    *step;			/* reset for each batch */
	const TeModel *model;
	size_t		limit;
	TeTruncate	truncate;
	TeUsage		usage;
	double	   *profile;		/* of te_session_profile() */
	/* per-worker memory of tokenization, grown as needed */
	TeArena    *text_arena;
	TeTextScratch *scratch;
	int			n_scratch;
	size_t		scratch_bytes;
};

/*
 * What a task needs and does.  needs() throws where the model cannot; a text's result is n_values rows (NULL:
 * one) of width floats; compute() adds nodes to a graph, giving these rows, one text's after the other's, or
 * rows that reduce() (NULL: none) makes them of.  What it allocates beside nodes is in the step arena.
 * To add a task: model/task_<name>.c with its row, and its name here.
 */
typedef struct TeTaskKind
{
	const char *name;
	void		(*needs) (const TeModel *model, const TeJobOptions *options);
	int			(*width) (const TeModel *model, const TeJobOptions *options);
	TeStr		(*prompt) (const TeModel *model, const TeJobOptions *options);	/* text before each input */
	size_t		(*n_values) (const TeModel *model, const TeJobOptions *options, const TeJobRow *row);
	TeNode	   *(*compute) (TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch);
	void		(*reduce) (const TeJobOptions *options, const float *values, size_t n_rows, size_t cols, float *into);
} TeTaskKind;

#define TE_TASKS(T) \
	T(embed) \
	T(classify) \
	T(tag) \
	T(fill)

#define TE_TASK_DECLARE(name) extern const TeTaskKind te_task_##name;
TE_TASKS(TE_TASK_DECLARE)
#undef TE_TASK_DECLARE

extern int32_t te_model_mask(const TeModel *model);	/* the id of its mask token (task_fill.c); -1: none */

/* ---- windows of a context (answer.c) ---- */

/* A question with its context as tokens of a pair, and how the context is cut into windows, each with the question before it. */
typedef struct TeContext
{
	const TeToken *tokens;
	size_t		n_tokens;
	size_t		n_before;		/* tokens before those of the context */
	size_t		n_context;
	size_t		room;			/* of a window, for the context */
	size_t		step;			/* from a window to the next */
} TeContext;

/* most: tokens of a window, 0: no bound.  Throws where the question alone has more. */
extern void te_context_cut(TeContext *context, const TeToken *tokens, size_t n_tokens, size_t most);
/* Tokens of a window beside those of the context. */
extern size_t te_context_around(const TeContext *context);
/* A window with the context's tokens [from, stop), with room for all; gives how many it has. */
extern size_t te_context_window(const TeContext *context, size_t from, size_t stop, TeToken *into);

/* A row that was run. */
extern const TeJobRow *te_job_row(const TeJob *job, size_t row);

/*
 * Tokenize rows on workers, at most max_tokens each (0: no bound); their tokens are kept in `keep` (rows.c).
 * Throws where a text is too long and the session says so.
 */
extern void te_rows_tokenize(TeSession *session, TeArena *keep, TeJobRow *rows, size_t n_rows);
/*
 * Feed a row that is tokenized already, special tokens included; no more than the model takes.  Tokens are copied, and
 * te_job_run() leaves them as they are.
 */
extern size_t te_job_feed_tokens(TeJob *job, const TeToken *tokens, size_t n_tokens);
extern TeArena *te_job_arena(const TeJob *job); /* of its rows: reset by te_job_reset() */
extern const TeModel *te_job_model(const TeJob *job);
extern size_t te_job_rows(const TeJob *job);	/* fed since the last reset */
/* Sequences of rows as a batch in the arena; rows[i] is a pointer to the row. */
extern TeBatch *te_rows_batch(TeArena *arena, const TeModel *model, TeJobRow *const *rows, size_t n_rows);

#endif							/* TE_MODEL_H */
