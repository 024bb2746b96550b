/*-------------------------------------------------------------------------
 * engine.h
 *	  The engine's public face: the only header that src/pg includes.
 *
 * A model has three forms, and this header is the way between them:
 *
 *	  files        GGUF, Hugging Face folder       te_import_*()  te_export_*()
 *	  definition   TeModelDef: JSON + tensors      what the catalog stores and gives back
 *	  image        relocatable, immutable bytes    te_image_plan(), te_image_build()
 *
 * A process maps an image, attaches (TeModel: a few kilobytes of pointers in a private arena, nothing is
 * parsed), opens a session for a query and runs jobs in it.
 *
 * Lifetimes: image > TeModel > TeSession > one te_job_run().  A TeModel must
 * be dropped before its image is unmapped.
 *-------------------------------------------------------------------------
 */
#ifndef TE_ENGINE_H
#define TE_ENGINE_H

#include "base/base.h"
#include "base/json.h"
#include "base/tensor.h"
#include "text/text.h"
#include "train/report.h"

/* ---- instruction sets, forwarded from kernels/ ---- */
extern bool te_isa_select(const char *name);
extern const char *te_isa_name(void);
extern size_t te_isa_list(const char **names, size_t max);

/* ---- vectors, for SQL's distances: pure, SIMD; n floats ---- */
extern double te_vector_dot(const float *a, const float *b, size_t n);
extern double te_vector_distance2(const float *a, const float *b, size_t n);

/* =====================================================================
 * Definitions
 * ===================================================================== */

/*
 * What the catalog stores.  Tensor names, shapes and config keys are those of
 * Hugging Face's transformers for the architecture, without the model's prefix
 * ("bert."), whatever file the model came from.  JSON is kept as text so that it is stored
 * and digested as it is.
 */
typedef struct TeModelDef
{
	TeStr		architecture;	/* row of the architecture table: "bert", "distilbert", ...; "tokenizer" for one without tensors */
	TeStr		task;			/* "embedding", "classification", ..., "tokenizer" */
	TeStr		config;			/* config.json, compact; "{}" for a tokenizer */
	TeStr		pipeline;		/* JSON: what surrounds the encoder: pooling, normalize, max_tokens, prompts, dense layers */
	TeStr		tokenizer;		/* tokenizer.json, compact; empty where the model has none */
	TeStr		quantization;	/* type of most weights: "f32", "q8_0", ... */
	int			n_labels;
	TeStr	   *labels;
	TeTensorSet tensors;		/* dtype as stored; source reads that form */
	uint64_t	parameters;		/* elements of all tensors */
	uint64_t	bytes;			/* of all tensors */
	int			dimensions;		/* of an embedding; 0 where there is none */
	int			context_length; /* tokens, special ones included */
} TeModelDef;

#define TE_MAX_LABELS (1 << 16)	/* of a model */
#define TE_MAX_LABEL_CHARACTERS 1000	/* where users name them */

typedef struct TeImportOptions
{
	TeStr		quantization;	/* {NULL, 0}: as in the file */
	TeStr		task;			/* {NULL, 0}: by the file */
	int			n_labels;		/* 0: by the file */
	const TeStr *labels;
	const TeJson *tokenizer;	/* another tokenizer than the file's, or NULL */
} TeImportOptions;

/*
 * Read and check a file or folder.  Header and JSON are read now; tensors keep
 * sources that read (and convert) on demand, so `file` and `folder` must outlive the definition.
 * Errors name the file, the tensor or key and the offset.  A folder with only a
 * tokenizer, or a vocabulary-only GGUF, gives architecture "tokenizer".
 */
extern TeModelDef *te_import_gguf(TeArena *arena, const TeSource *file, const TeImportOptions *options);
extern TeModelDef *te_import_folder(TeArena *arena, const TeFolder *folder, const TeImportOptions *options);

/* A tokenizer by itself, of its tokenizer.json. */
extern TeModelDef *te_def_tokenizer(TeArena *arena, const TeJson *tokenizer);

/*
 * The stored bytes of a tensor in its target type, [offset, offset + len) of
 * tensor->bytes: te_source_read(tensor->source, tensor->offset + offset, ...).  Converting sources want whole
 * rows: use te_tensor_chunk_rows() rows at a time for chunks of about `bytes`.
 */
extern int64_t te_tensor_chunk_rows(const TeTensorInfo *tensor, size_t bytes);

/* Check a definition that comes from the catalog (config, required tensors and their shapes) and fill what is derived from it. */
extern void te_def_check(TeArena *arena, TeModelDef *def);

/* Write a definition out.  Folder: config.json, model.safetensors, tokenizer.json, sentence-transformers' files. */
extern void te_export_gguf(TeArena *scratch, const TeModelDef *def, const char *name, TeSink *sink);
extern void te_export_folder(TeArena *scratch, const TeModelDef *def, TeFolderSink *folder);

/* =====================================================================
 * Images
 * ===================================================================== */

/* Changes with the layout of images; part of a cache file's name. */
extern uint32_t te_image_version(void);

typedef struct TeImagePlan TeImagePlan;

/* Lay out an image; *bytes is its size.  Compiles the tokenizer. */
extern TeImagePlan *te_image_plan(TeArena *arena, const TeModelDef *def, const uint8_t digest[32], uint64_t *bytes);
/* Fill zeroed memory of that size, 64-byte aligned.  Reads the tensors, repacks on workers, checks for interrupts. */
extern void te_image_build(TeArena *arena, TeImagePlan *plan, void *memory);
/* Is this a whole image of that digest?  Checks header, size, bounds; constant time. */
extern bool te_image_valid(const void *memory, uint64_t bytes, const uint8_t digest[32]);

/* =====================================================================
 * Models, sessions, jobs
 * ===================================================================== */

typedef struct TeModel TeModel;

extern TeModel *te_model_attach(TeArena *arena, const void *image, uint64_t bytes);
extern const TeTokenizer *te_model_tokenizer(const TeModel *model); /* throws TE_ERR_MISSING where there is none */
extern TeStr te_model_architecture(const TeModel *model);
extern TeStr te_model_task(const TeModel *model);
extern int	te_model_dimensions(const TeModel *model);	/* 0: gives no embedding */
extern int	te_model_context_length(const TeModel *model);
extern int	te_model_labels(const TeModel *model);	/* 0: gives no labels */
extern TeStr te_model_label(const TeModel *model, int i);
/* Scores from the logits of a text, a number a label: softmax, sigmoid or the logits, as the model has it. */
extern void te_model_scores(const TeModel *model, const float *logits, float *scores);
/*
 * How positive each label is, from -1 to 1, by its name: "negative", "neutral", "5 stars", LABEL_0 ... LABEL_n.
 * False where the names do not say, or not both ways.
 */
extern bool te_label_polarities(const TeStr *labels, int n, float *polarities);
extern bool te_model_multi_label(const TeModel *model);	/* a text may have several labels, or none */
extern double te_model_flops_per_token(const TeModel *model);	/* for the planner's costs */

/*
 * Pairs of texts (model/pairs.c).  What a model with labels says of one is their logits; an encoder says the cosine of
 * two embeddings.
 */

/* How well a document answers a query.  Throws where the labels do not say which of them means that. */
extern float te_pair_relevance(const TeModel *model, const float *logits);
/* Does one of the labels mean that the second text follows from the first? */
extern bool te_model_infers(const TeModel *model);
/* Scores of n labels for a text: from the logits, [n][labels of the model], of the text with what each of them claims. */
extern void te_claim_scores(const TeModel *model, const float *logits, int n, bool multi_label, float *scores);
/* The same from the cosines of the text and the claims. */
extern void te_claim_scores_of_cosines(const float *cosines, int n, bool multi_label, float *scores);

typedef enum TeTruncate
{
	TE_TRUNCATE_ERROR,			/* throw TE_ERR_TOO_LONG naming both lengths */
	TE_TRUNCATE_CUT				/* cut and count */
} TeTruncate;

/* What a session did, for statistics. */
typedef struct TeUsage
{
	uint64_t	rows;
	uint64_t	tokens;
	uint64_t	batches;
	uint64_t	truncated;		/* rows that were cut */
	double		seconds;		/* in forward passes */
} TeUsage;

typedef struct TeSession TeSession;

/* limit: bytes of workspace; packed batches are cut to fit it.  0: no bound. */
extern TeSession *te_session_create(TeArena *parent, const TeModel *model, size_t limit);
extern void te_session_destroy(TeSession *session);
extern void te_session_set_truncate(TeSession *session, TeTruncate truncate);
extern const TeUsage *te_session_usage(const TeSession *session);

/* Where time goes: forward passes add the seconds of each op to an array of te_op_count() numbers (graph/graph.h); NULL stops that. */
extern void te_session_profile(TeSession *session, double *seconds);

/*
 * A job: rows are fed, run in packed batches ordered by length, and taken in
 * any order.  What a job computes is a row of the task table (model/task_*.c).
 */
typedef struct TeJob TeJob;

typedef struct TeJobOptions
{
	TeStr		kind;			/* embed: "query", "passage" or {NULL, 0} */
	bool		keep_pair;		/* cut only the first of a pair of texts, else the longer one */
	int			top_k;			/* fill: words for the one mask of a text; 0: the logits of all its masks */
} TeJobOptions;

extern TeJob *te_job_create(TeSession *session, const char *task, const TeJobOptions *options);	/* a row of TE_TASKS */
/* Text is not copied: it must live until te_job_run() returns.  Gives the row's number, from 0.  pair.data NULL: none. */
extern size_t te_job_feed(TeJob *job, TeStr text, TeStr pair);
/* Compute all rows fed since the last reset. */
extern void te_job_run(TeJob *job);
/* Results, valid until reset: of a task that gives a text one row ("embed"; "classify": logits), and of any. */
extern const float *te_job_vector(const TeJob *job, size_t row, int *n);
extern const float *te_job_values(const TeJob *job, size_t row, size_t *n_rows, int *width);	/* [n_rows, width] */
extern int	te_job_width(const TeJob *job);
extern void te_job_reset(TeJob *job);

/*
 * Entities (model/entities.c): texts of any length through a job "tag", in windows where they are longer than the
 * model's context.  Valid until the job's reset.
 */
typedef struct TeEntity
{
	TeStr		label;			/* without the prefix of its scheme */
	float		score;
	uint32_t	start;			/* bytes of the text */
	uint32_t	stop;
} TeEntity;

typedef struct TeTagger TeTagger;

/* For a job "tag" that nothing has been fed to.  Throws where the model gives tokens no labels. */
extern TeTagger *te_tagger_create(TeJob *job);
/* Text is not copied: it must live until its entities are taken.  Gives the text's number, from 0. */
extern size_t te_tagger_feed(TeTagger *tagger, TeStr text);
/* After te_job_run(): those of a text, in its order. */
extern const TeEntity *te_tagger_entities(TeTagger *tagger, size_t text, size_t *n);

/* Where a word is, in bytes of its text. */
typedef struct TeWord
{
	uint32_t	start;
	uint32_t	stop;
} TeWord;

/* After te_job_run(): the label of each word is that of its first token; -1 where a word has none.  Words are in the text's order. */
extern void te_tagger_words(TeTagger *tagger, size_t text, const TeWord *words, size_t n, int *labels);
/* What the model's labels say, a tag each, and the types that occur in them (room for as many as labels); how many types. */
extern int	te_tagger_types(const TeTagger *tagger, TeWordTag *tags, TeStr *types);

/* A word in the place of a text's mask. */
typedef struct TeFill
{
	TeStr		token;			/* decoded by itself */
	TeStr		sequence;		/* the text with it, decoded, without special tokens */
	float		score;
} TeFill;

/* Of a job "fill" with top_k: how many words a text has, and word i, best first; texts are in the arena. */
extern int	te_job_fills(const TeJob *job);
extern TeFill te_job_fill(const TeJob *job, size_t row, int i, TeArena *arena);

/* Where a context answers a question (answer.c). */
typedef struct TeAnswer
{
	bool		found;			/* not where the context is empty */
	double		score;
	size_t		start;			/* bytes of the context */
	size_t		stop;
} TeAnswer;

/*
 * Questions with their contexts, in a job "tag" that has nothing else.  All are fed, then te_job_run() computes them; the
 * arena holds them until the last result has been taken.
 */
typedef struct TeAnswers TeAnswers;
extern TeAnswers *te_answers_create(TeArena *arena, TeJob *job);
extern size_t te_answers_feed(TeAnswers *answers, TeStr question, TeStr context);	/* gives the number, from 0 */
extern TeAnswer te_answers_best(TeAnswers *answers, size_t i);

/*
 * How well a masked language model knows texts (train/metrics_masked.c), through a job "fill" without top_k that nothing
 * has been fed to: 15 % of their tokens are masked, which ones depends on the text's number alone, and predicted from the rest.
 */
typedef struct TeMaskedScore
{
	uint64_t	tokens;			/* of the texts */
	uint64_t	masked;
	uint64_t	right;			/* whose most probable word is the one that was there */
	double		loss;			/* sum over those masked of their negative log probability */
} TeMaskedScore;

typedef struct TeMasked TeMasked;
/* limit: about how many bytes of logits to keep at a time. */
extern TeMasked *te_masked_create(TeArena *arena, TeJob *job, size_t limit);
extern void te_masked_feed(TeMasked *masked, TeStr text, uint64_t number);
extern TeMaskedScore te_masked_score(TeMasked *masked);	/* of all that was fed */

/* =====================================================================
 * Generation (model/generate.c)
 *
 * A generator decodes many prompts together.  Prompts are fed; a step is one pass of the model over what is to be done
 * next: the rest of some prompts, and a token of each row that has its prompt.  A row that is finished gives its place to
 * the next; keys and values of tokens lie in pages, and rows that begin alike share them, also with rows that came
 * before.  What a row becomes does not depend on the others.
 * ===================================================================== */

typedef struct TeGenerateOptions
{
	int			max_tokens;		/* that are made, at least 1 */
	float		temperature;	/* 0: the most probable token, always */
	int			top_k;			/* 0: any */
	float		top_p;			/* 1: any */
	float		min_p;			/* 0: any */
	float		repetition_penalty; /* 1: none; of tokens that occur in prompt or text, as transformers has it */
	float		presence_penalty;	/* 0: none; of tokens that occur in the text, as OpenAI has it */
	float		frequency_penalty;	/* 0: none */
	int			no_repeat_ngram;	/* 0: all may come again */
	int			beams;			/* 1: no search */
	float		length_penalty; /* of beams: score / length ^ this */
	bool		seeded;			/* else tokens are drawn by a seed that is drawn */
	uint64_t	seed;
	bool		no_guesses;		/* a pass makes one token of the row, never more */
	bool		bare;			/* the prompt says which special tokens it begins with (a chat template made it) */
	size_t		n_stop;
	const TeStr *stop;			/* texts that end the row, and are not part of it */
	/* what the text must be; at most one of these */
	TeStr		grammar;		/* GBNF; {NULL, 0}: none */
	const TeJson *schema;		/* JSON schema; NULL: none */
	size_t		n_choices;
	const TeStr *choices;
} TeGenerateOptions;

extern const TeGenerateOptions te_generate_defaults;

typedef struct TeGeneratorLimits
{
	size_t		cache_bytes;	/* of keys and values; 0: no bound */
	TeStr		cache_type;		/* "f32", "f16", "q8_0" */
	int			max_rows;		/* that are decoded together; 0: as many as pay */
	bool		no_sharing;		/* rows do not share what they have in common */
} TeGeneratorLimits;

typedef enum TeFinish
{
	TE_FINISH_NONE,				/* not finished */
	TE_FINISH_END,				/* the model ended it */
	TE_FINISH_STOP,				/* a text to stop at */
	TE_FINISH_LENGTH,			/* max_tokens, or the model's context */
	TE_FINISH_COMPLETE			/* nothing can follow by the grammar */
} TeFinish;

/* A row as far as it is. */
typedef struct TeGenerated
{
	TeStr		text;			/* whole characters, nothing of a text to stop at; valid until the next step */
	size_t		n_prompt;		/* tokens */
	size_t		n_shared;		/* of these, which had been computed for another row */
	size_t		n_tokens;		/* made */
	double		logprob;		/* sum over them */
	TeFinish	finish;
} TeGenerated;

typedef struct TeGenerator TeGenerator;

/* Throws where the model generates no text.  In the session's arena, until that is destroyed. */
extern TeGenerator *te_generator_create(TeSession *session, const TeGeneratorLimits *limits);
/*
 * A prompt, copied, with options that are looked at (grammars compiled) now and not kept; the row's number, from 0.  Throws TE_ERR_INVALID
 * for options, TE_ERR_TOO_LONG where prompt and one token pass the context or the cache.
 */
extern size_t te_generator_feed(TeGenerator *generator, TeStr prompt, const TeGenerateOptions *options);
/* One pass of the model; false, and nothing done, where all rows are finished. */
extern bool te_generator_step(TeGenerator *generator);
extern TeGenerated te_generator_row(TeGenerator *generator, size_t row);
extern void te_generator_drop(TeGenerator *generator, size_t row);	/* finish it as it is */
/* Forget all rows; what they had in common with each other is kept while there is room. */
extern void te_generator_reset(TeGenerator *generator);

/*
 * A conversation as a prompt, by the model's chat template; to be fed with the option `bare`.  messages: an array of objects with texts
 * "role" and "content".  Throws TE_ERR_INVALID for messages, also where the template refuses them, and TE_ERR_UNSUPPORTED where the
 * model has no template.
 */
extern TeStr te_model_chat_prompt(const TeModel *model, TeArena *arena, const TeJson *messages, bool add_generation_prompt);

/* A token and how probable it was after those before it. */
typedef struct TeTokenScore
{
	int32_t		id;
	double		logprob;		/* natural; NaN of a first token, which nothing comes before */
} TeTokenScore;

/*
 * Of the tokens of a text; where target.data is not NULL, of the target's, which follow the text.  In the arena.
 */
extern TeTokenScore *te_generator_score(TeGenerator *generator, TeStr text, TeStr target, TeArena *arena, size_t *n);

/* =====================================================================
 * Training (train/)
 *
 * A run: an objective is chosen by what is to be learned and by the columns of the query; its rows are made into
 * examples, tokens and targets, that go to a spool of the host's and are read from there, in another order each epoch; a
 * trainer makes steps with them until there are none left, and gives the definition of the new version.  Everything
 * random follows from the seed and the step, so that a trainer restored from a checkpoint goes on bit for bit.
 * ===================================================================== */

/* ---- columns and objectives ---- */

typedef enum TeColumnType
{
	TE_COLUMN_TEXT,
	TE_COLUMN_TEXTS,			/* text[] */
	TE_COLUMN_REAL				/* double precision */
} TeColumnType;

typedef struct TeColumn
{
	const char *name;			/* NULL ends a list */
	TeColumnType type;
	bool		optional;		/* the query may leave the column out; a NULL is an error in any */
} TeColumn;

typedef struct TeValue
{
	bool		given;			/* the query has the column */
	TeStr		text;
	double		real;
	size_t		n_texts;
	const TeStr *texts;
} TeValue;

typedef struct TeObjective TeObjective; /* a row of the table of objectives */

/*
 * The objective for a statement ("finetune", "pretrain", "distill") and a task of its, such as "classification", whose
 * columns the query has; columns that it does not know are left alone.  Throws TE_ERR_INVALID naming the tasks, or the columns that are
 * missing.  task.len 0: what the model's own task is, or else what the statement usually means for its architecture.
 */
extern const TeObjective *te_objective_find(TeArena *arena, const char *statement, TeStr task, TeStr model_task,
											TeStr architecture, const TeStr *columns, size_t n_columns);
extern const TeColumn *te_objective_columns(const TeObjective *objective);
extern const char *te_objective_name(const TeObjective *objective); /* unique; for te_objective_by_name() */
extern const TeObjective *te_objective_by_name(TeStr name);
extern const char *te_objective_task(const TeObjective *objective); /* as users say it */
/*
 * Distillation: the job that computes what a teacher says of a row when it is fed with the columns "text" and
 * "text_pair".  NULL: the objective has no teacher.
 */
extern const char *te_objective_teacher(const TeObjective *objective);

/* ---- options ---- */

typedef struct TeTrainOptions TeTrainOptions;

/* All options at their defaults for this objective. */
extern TeTrainOptions *te_train_options(TeArena *arena, const TeObjective *objective);
/* An option by its name; throws TE_ERR_INVALID where there is none of that name, or the value is of another type or out of range. */
extern void te_train_set(TeTrainOptions *options, TeStr name, const TeJson *value);
/* A run that has no rows to evaluate on: throws TE_ERR_INVALID where an option wants some. */
extern void te_train_check_alone(const TeTrainOptions *options);
/* All of them as an object that te_train_set() takes member by member: for a checkpoint, and for the catalog. */
extern const TeJson *te_train_options_json(TeArena *arena, const TeTrainOptions *options);
extern bool te_train_keeps_best(const TeTrainOptions *options); /* what comes out had the best evaluation, not the last */

/* ---- examples ---- */

typedef struct TeExamples TeExamples;

/*
 * Rows to examples.  The model gives the tokenizer and the longest text; records go to the spool one after the other.  labels:
 * those of another set, which alone may occur, or n_labels 0: the model's own, where it has a head for the objective
 * and no others are asked for, else whatever occurs, in the order of their bytes.
 */
extern TeExamples *te_examples_create(TeArena *arena, const TeModel *model, const TeObjective *objective,
									  const TeTrainOptions *options, const TeExamples *like, TeSink *spool);
/* A value for each of the objective's columns.  Throws where the row cannot be learned from; the caller's context names the row. */
extern void te_examples_add(TeExamples *examples, const TeValue *values);
/*
 * Distillation, before the first row: who teaches.  Its labels alone may occur, and are the student's.  Throws where it gives nothing that
 * the objective could learn.
 */
extern void te_examples_set_teacher(TeExamples *examples, const TeModel *teacher);
/* What to do with texts that an example has no room for; they are cut where this is not called. */
extern void te_examples_set_truncate(TeExamples *examples, TeTruncate truncate);
/* What the teacher says of the row that was added last, all of te_job_values(); every row must have it. */
extern void te_examples_add_soft(TeExamples *examples, const float *soft, size_t n);
/* No more rows: writes what the spool needs to be opened again.  Throws TE_ERR_INVALID where there are none. */
extern void te_examples_finish(TeExamples *examples);
/* A spool that was finished, read from `spool`, which must outlive the examples. */
extern TeExamples *te_examples_open(TeArena *arena, const TeObjective *objective, const TeSource *spool);
extern size_t te_examples_rows(const TeExamples *examples);	/* that examples were made of */
extern size_t te_examples_count(const TeExamples *examples);	/* a long row may have become several */
extern uint64_t te_examples_tokens(const TeExamples *examples);
extern uint64_t te_examples_truncated(const TeExamples *examples);	/* rows that were cut */
extern uint64_t te_examples_empty(const TeExamples *examples);	/* rows that had nothing to learn from, while they are added */

/* ---- trainers ---- */

typedef struct TeTrainer TeTrainer;

/* What a step did. */
typedef struct TeTrainStep
{
	int64_t		step;			/* from 1 */
	int64_t		n_steps;		/* of the whole run */
	double		epoch;			/* that are over, of options' epochs */
	double		loss;			/* of the step's batch */
	double		learning_rate;
	double		gradient_norm;	/* before clipping */
	uint64_t	rows;			/* examples since the run began */
	uint64_t	tokens;			/* the same */
} TeTrainStep;

typedef struct TeTrainMetric
{
	const char *name;			/* "loss", "accuracy", ... */
	double		value;
} TeTrainMetric;

/*
 * base must outlive the trainer, as must examples and evaluation (NULL: none), which are finished or opened.  limit: bytes of
 * memory, 0: no bound; batches are cut into pieces to fit it, and te_trainer_create() throws TE_ERR_LIMIT where
 * weights, gradients and optimizer do not.
 */
extern TeTrainer *te_trainer_create(TeArena *arena, const TeModelDef *base, const TeObjective *objective,
									const TeTrainOptions *options, TeExamples *examples, TeExamples *evaluation, size_t limit);
/* One step of the optimizer; false where the run is over, and nothing was done. */
extern bool te_trainer_step(TeTrainer *trainer, TeTrainStep *into);
/* Is an evaluation due after the last step?  Always after the last one of the run, where there are examples for it. */
extern bool te_trainer_evaluation_due(const TeTrainer *trainer);
/* The first metric is the loss.  Remembers the best weights and stops the run early where the options say so.  Valid until the next call. */
extern const TeTrainMetric *te_trainer_evaluate(TeTrainer *trainer, size_t *n);
/* All that changes in a run; and back, in a trainer made of the same things. */
extern void te_trainer_save(const TeTrainer *trainer, TeSink *sink);
extern void te_trainer_restore(TeTrainer *trainer, const TeSource *source);
/* The new version.  Tensors that were trained lie in the trainer's memory, the others are base's. */
extern TeModelDef *te_trainer_definition(TeTrainer *trainer, TeArena *arena);
/* Statistics: elements that are trained, bytes that the trainer holds. */
extern uint64_t te_trainer_parameters(const TeTrainer *trainer);

/*
 * A student made of some of a teacher's layers, which stay as they are.  layers: how many, at even distances, or a list of
 * their numbers from 0; NULL or null: half of them.
 */
extern TeModelDef *te_model_student(TeArena *arena, const TeModelDef *teacher, const TeJson *layers);

/* A new model with random weights: config.json, a tokenizer.json, and a task ({NULL, 0}: by the configuration). */
extern TeModelDef *te_model_create(TeArena *arena, const TeJson *config, const TeJson *tokenizer, TeStr task, uint64_t seed);

/*
 * The model with another tokenizer: words begin as what it made of them before (vocabulary.c).  Tensors without a row a word keep
 * their sources.
 */
extern TeModelDef *te_model_with_vocabulary(TeArena *arena, const TeModelDef *def, const TeJson *tokenizer);

/* =====================================================================
 * Verification
 * ===================================================================== */

/*
 * Reference vectors: fixed texts (in several scripts) through the model.  The
 * catalog stores what the scalar kernels gave at import; verify_model()
 * compares what the kernels in use give now.
 */
extern int	te_reference_count(void);
extern TeStr te_reference_text(int i);

#endif							/* TE_ENGINE_H */
