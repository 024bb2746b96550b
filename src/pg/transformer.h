/*-------------------------------------------------------------------------
 * transformer.h
 *	  What the files of src/pg share.
 *
 * src/pg is thin: it turns SQL into calls of the engine (engine/engine.h) and
 * holds no mathematics.  Its parts, lowest first:
 *
 *	  module.c		_PG_init, settings (one table)
 *	  port_pg.c		the host side of engine/port.h: errors, arenas' blocks, threads, interrupts
 *	  catalog.c		the tables in schema _transformer: versions, tensors, chunks, grants
 *	  access.c		who may use which model
 *	  definition.c	from a version's rows to the engine's definition
 *	  catalog_write.c	new versions, names, grants; chunks
 *	  files.c		server files, folders, large objects as sources; tar.c archives; output.c sinks
 *	  pinned.c		columns and indexes that depend on a version
 *	  shipped.c		models that come with the extension
 *	  progress.c	how far an import is
 *	  control.c		the shared control file: hits, pins, statistics, cluster-wide thread cap
 *	  store.c		images in shared memory: build once, map, evict; the two weights stores
 *	  resolve.c		name -> version by the active snapshot -> image -> attached model
 *	  use.c			what models are used for: settings, tasks
 *	  values.c		arrays and sets between SQL and the engine
 *	  arguments.c	what functions demand of their arguments
 *	  query_rows.c	rows of a query that is an argument
 *	  train_*.c		training runs (train.h)
 *	  generate_*.c	what functions that write text share (generate.h)
 *	  fn_*.c		SQL functions by topic; table_calls.c: whole tables
 *	  cost.c		what the planner is told of calls: costs, rows, parallel scans
 *	  batch*.c		a plan node that runs scalar functions for many rows at once (batch.h)
 *
 * Names: tr_ for functions shared between these files, transformer_ for the C symbols of SQL functions.
 *
 * Lock order: see src/README.
 *-------------------------------------------------------------------------
 */
#ifndef TRANSFORMER_H
#define TRANSFORMER_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/snapshot.h"

#include "engine/engine.h"

#include "pg/compat.h"

#define TR_DIGEST_LENGTH 32		/* sha256 */

/* ---- settings (module.c) ---- */

typedef enum TrTruncate
{
	TR_TRUNCATE_ERROR,
	TR_TRUNCATE_WARN,
	TR_TRUNCATE_SILENT
} TrTruncate;

typedef enum TrStoreKind
{
	TR_STORE_FILE,
	TR_STORE_DSM
} TrStoreKind;

extern char *tr_answer_model;	/* transformer.answer_model */
extern char *tr_embedding_model;	/* transformer.embedding_model */
extern char *tr_classification_model;	/* transformer.classification_model */
extern char *tr_sentiment_model;	/* transformer.sentiment_model */
extern char *tr_intent_model;	/* transformer.intent_model */
extern char *tr_generation_model;	/* transformer.generation_model */
extern char *tr_mask_model;		/* transformer.mask_model */
extern char *tr_rerank_model;	/* transformer.rerank_model */
extern char *tr_zero_shot_model;	/* transformer.zero_shot_model */
extern char *tr_entity_model;	/* transformer.entity_model */
extern int	tr_truncate;		/* transformer.truncate, TrTruncate */
extern int	tr_threads;			/* transformer.threads; 0: by the machine */
extern int	tr_max_threads;		/* transformer.max_threads: of all sessions together; 0: by the machine */
extern int	tr_session_memory;	/* transformer.session_memory, kB */
extern int	tr_max_session_memory;	/* transformer.max_session_memory, kB: the bound of the former */
extern int	tr_kv_cache;		/* transformer.kv_cache, kB */
extern int	tr_max_kv_cache;	/* transformer.max_kv_cache, kB: the bound of the former */
extern int	tr_kv_cache_type;	/* transformer.kv_cache_type */
extern int	tr_training_memory; /* transformer.training_memory, kB */
extern int	tr_max_training_memory; /* transformer.max_training_memory, kB: the bound of the former */
extern int	tr_checkpoint_interval; /* transformer.checkpoint_interval, seconds */
extern int	tr_shared_memory;	/* transformer.shared_memory, MB: all images together; 0: no bound */
extern int	tr_weights_store;	/* transformer.weights_store, TrStoreKind */
extern char *tr_isa;			/* transformer.isa */
extern bool tr_batch;			/* transformer.batch */
extern int	tr_batch_size;		/* transformer.batch_size, rows */

/* What a computation of this session may allocate, in bytes: the lesser of the two settings. */
extern Size tr_session_limit(void);

/* What keys and values of a session's generator may take, in the same way; and their type, as the engine calls it. */
extern Size tr_cache_limit(void);
extern const char *tr_cache_type(void);

/* What a training may allocate, in the same way. */
extern Size tr_training_limit(void);

/* ---- port_pg.c ---- */

/* A root arena whose memory lives in context and dies with it; limit in bytes (0: none). */
extern TeArena *tr_arena(MemoryContext context, const char *name, Size limit);
/* SQL text as the engine wants it: UTF-8 (converted where the database is in another encoding); not copied where it need not be. */
extern TeStr tr_utf8(text *value);
extern text *tr_text(TeStr utf8);	/* and back */
/* The same; an error says what the text is, and what to do where the database's encoding has not all of its characters. */
extern text *tr_text_as(TeStr utf8, const char *what, const char *hint);
extern char *tr_cstring(TeStr utf8);	/* the same as a C string */

/*
 * A line of context for errors: "while importing model "x"", and what it is
 * about at the moment.  Push before, pop after; an error pops by itself.
 */
typedef struct TrContext
{
	ErrorContextCallback link;
	const char *doing;			/* "while importing model \"x\" from \"/path\"" */
	TeStr		part;			/* name of the tensor, in UTF-8; {NULL, 0}: none */
} TrContext;

extern void tr_context_push(TrContext *context, const char *doing);
extern void tr_context_pop(TrContext *context);

/* ---- catalog.c ---- */

/* One version of a model, as a snapshot sees it. */
typedef struct TrVersion
{
	char	   *name;
	char	   *key;			/* name of its rows: the name, or tr_shipped_key() of it */
	int32		version;
	int32		deployed;		/* the version that the bare name means */
	Oid			owner;			/* InvalidOid: dropped; superusers only */
	uint8		digest[TR_DIGEST_LENGTH];
	int64		parameters;
	int32		context_length; /* 0: no limit */
} TrVersion;

/* 'name' or 'name@3'; throws ERRCODE_INVALID_NAME.  *version 0: the deployed one. */
extern void tr_parse_model_name(const char *model, char **name, int32 *version);
/* The same without errors: false where the version is none, and a name is not checked. */
extern bool tr_split_model_name(const char *model, char **name, int32 *version);
/* Index look-ups by the active snapshot; false where there is none. Memory of the current context. */
extern bool tr_catalog_find(const char *name, int32 version, TrVersion *into);
/* The definition, with sources that read the chunks (or the file, storage 'file'); valid in this transaction. */
extern TeModelDef *tr_catalog_definition(TeArena *arena, const TrVersion *version);

/* ---- access.c ---- */

extern bool tr_has_usage(const TrVersion *version, Oid role);
/* Error 42501 where the current user lacks USAGE; says no more than "permission denied for model". */
extern void tr_check_usage(const TrVersion *version);
extern void tr_check_owner(const TrVersion *version);

/* ---- control.c ---- */

/*
 * How many threads, the caller's own included, a computation may use: 1 to
 * wanted, bounded over all sessions by transformer.max_threads.  What was got
 * is given back; what an error leaves is given back at the end of the
 * (sub)transaction, what a dead process leaves when others need it.  Costs about a microsecond.
 */
extern int	tr_threads_acquire(int wanted);
extern void tr_threads_release(int granted);

/* ---- use.c ---- */

/* What a model is opened for. */
typedef enum TrUse
{
	TR_USE_TOKENS,
	TR_USE_EMBED,
	TR_USE_CLASSIFY,
	TR_USE_SENTIMENT,
	TR_USE_INTENT,
	TR_USE_RERANK,
	TR_USE_ZERO_SHOT,
	TR_USE_ENTITIES,
	TR_USE_FILL,
	TR_USE_ANSWER,
	TR_USE_GENERATE
} TrUse;

/* The model that a setting names where none is given, and what the setting is called. */
extern const char *tr_use_setting(TrUse use);
extern const char *tr_use_setting_name(TrUse use);
/* An error where the model is for a task that this use has nothing of. */
extern void tr_use_check(TrUse use, const TeModel *model);

/* ---- resolve.c ---- */

/*
 * A model that this backend has attached.  Valid until the end of the
 * statement that opened it, or longer while it stays the one that is used.
 */
typedef struct TrModel TrModel;

/*
 * Resolve by the active snapshot (remembered while the snapshot is the same),
 * check USAGE, build or map the image, attach.  model NULL: the name in the setting of that use, an
 * error with a hint that names the setting where that is empty too.
 */
extern TrModel *tr_model_open(text *model, TrUse use);
extern TeModel *tr_model_engine(TrModel *model);
/*
 * A job of an idle session of the model, kept for the next call like its session.  tr_job_end() accounts
 * for it (statistics, the WARNING about cut texts) and resets it; an error in between drops its session at the end
 * of the (sub)transaction.  Jobs may nest.
 */
extern TeJob *tr_job_begin(TrModel *model, const char *task, const TeJobOptions *options);
extern uint64 tr_job_end(TrModel *model, TeJob *job);	/* how many of its texts were cut */
/*
 * The generator of an idle session of the model, without rows; it may have what prompts of earlier calls had in common.  tr_generator_end()
 * accounts for it and empties it, or drops its session where an error ended a step (`broken`) or the transaction has ended.  An error in
 * between drops the session at the end of the (sub)transaction; called then, tr_generator_end() does nothing.
 */
extern TeGenerator *tr_generator_begin(TrModel *model, bool is_stream);	/* a stream's is its own until tr_generator_end(), or the end of the transaction */
extern void tr_generator_end(TeGenerator *generator, bool broken);	/* broken: an error ended its last step */
/* What jobs of this backend have done since it began. */
extern const TeUsage *tr_usage(void);
/* Memory of the engine for one SQL call that runs no other code of SQL; empty, bounded by transformer.session_memory. */
extern TeArena *tr_scratch(void);

/* ---- values.c ---- */

typedef struct ArrayType ArrayType;

typedef struct TrTexts
{
	Datum	   *values;			/* text, perhaps toasted */
	Datum	   *pairs;			/* the second text of each; NULL: single texts */
	bool	   *nulls;
	int			n;
} TrTexts;

/* What a text takes beside its tokens while it is computed, in bytes of text. */
#define TR_TEXT_OVERHEAD 8

/* One text, or pair of texts, that is not NULL. */
#define TR_ONE_PAIR(text, pair) ((TrTexts) {.values = (text),.pairs = (pair),.nulls = &(bool) {false},.n = 1})
#define TR_ONE_TEXT(text) TR_ONE_PAIR(text, NULL)

extern ArrayType *tr_real_array(const float *values, int n);
extern ArrayType *tr_int_array(const int32 *values, int n);
extern ArrayType *tr_text_array(Datum *values, int n);
/* Elements of an array; errors where it has more than one dimension, or NULLs where they are numbers. */
extern const float *tr_reals(ArrayType *array, int *n);
/* A value of type jsonb, in the arena. */
extern const TeJson *tr_json(Datum jsonb, TeArena *arena, const char *name);
/* The same; an error with that hint where it is no object. */
extern const TeJson *tr_json_object(Datum jsonb, TeArena *arena, const char *name, const char *hint);
extern const TeJson *tr_json_argument(FunctionCallInfo fcinfo, int arg, TeArena *arena, const char *name, const char *hint);
extern const int32 *tr_ints(ArrayType *array, int *n);
extern TrTexts tr_texts(ArrayType *array);
extern TrTexts tr_pairs(Datum first, ArrayType *seconds);	/* one text with each of an array */
extern bool tr_same_text(text *a, text *b);	/* byte by byte; neither is compressed */
extern int32 tr_characters(TeStr utf8); /* how many there are */
/* A set of one plain column; for rows, tr_rows_begin(). */
extern void tr_set_begin(FunctionCallInfo fcinfo, Oid type);
extern void tr_set_add(FunctionCallInfo fcinfo, Datum value, bool isnull);
/* TrRowSinks: rows of the set that tr_rows_begin() began for the FunctionCallInfo `arg`; no column is NULL. */
extern void tr_row_to_set(void *arg, int i, Datum *row);
extern void tr_numbered_row_to_set(void *arg, int i, Datum *row);

/* ---- arguments.c ---- */

/* Error 22004 for an argument by its name in SQL; hint NULL: the one that the table has for that name. */
extern void tr_throw_null(const char *name, const char *hint) pg_attribute_noreturn();
extern void tr_require(FunctionCallInfo fcinfo, int arg, const char *name);
extern char *tr_required_text(FunctionCallInfo fcinfo, int arg, const char *name);
extern text *tr_text_argument(FunctionCallInfo fcinfo, int arg);	/* NULL where it is */
/* The labels that a user gives: at least one, none of them NULL, blank or endless. */
extern TrTexts tr_labels(ArrayType *array);
extern void tr_labels_differ(TrTexts *labels);	/* or an error */

/* ---- query_rows.c ---- */

/* A column that a query is to have. */
typedef struct TrQueryColumn
{
	const char *name;
	Oid			type;			/* what it is cast to: TEXTOID, FLOAT8OID, TEXTARRAYOID, ... */
	bool		optional;		/* need not be there; then it is NULL in all rows */
	bool		nullable;		/* else a NULL is an error that names the row */
	bool		or_only_text;	/* where none has the name: the only column of strings */
} TrQueryColumn;

/* A query that is open, and its current row; values belong to the columns as they were asked for. */
typedef struct TrQuery
{
	const char *what;			/* "training query": for messages */
	int64		row;			/* number of the current row, from 1 */
	Datum	   *values;			/* detoasted; valid until the next row */
	bool	   *nulls;
	bool	   *found;			/* is there such a column? */
} TrQuery;

/* Names of the columns that the SQL gives, without running it; errors as of tr_query_open(). */
extern TeStr *tr_query_columns(TeArena *arena, const char *sql, const char *what, int *n);
/* Does it read temporary tables, as far as it can be seen? */
extern bool tr_query_is_temporary(const char *sql, const char *what);
/*
 * Check that the SQL is one SELECT that changes and locks nothing, and has the columns; run it as the caller, under the active
 * snapshot.  Memory of the current context; columns are not copied.  Errors: 22023 (no SELECT, no rows), 42703, 42702, 42804, 22004.
 */
extern TrQuery *tr_query_open(const char *sql, const char *what, const TrQueryColumn *columns, int n_columns);
extern bool tr_query_next(TrQuery *query);	/* false at the end; an error where there was no row at all */
/* Gets each row, in memory that is freed after it; an error in it says which row. */
typedef void (*TrQueryRow) (void *arg, const TrQuery *query);
extern void tr_query_each(TrQuery *query, TrQueryRow take, void *arg);
extern void tr_query_close(TrQuery *query);

/* ---- batch_ahead.c ---- */

/*
 * Has a Batch node computed this very call, for its current row?  To be asked when the arguments have been
 * checked and the model is open.  The rows of a set go to fcinfo's tuplestore.
 */
extern bool tr_ahead_found(FunctionCallInfo fcinfo, TrModel *model, Datum *result);
/*
 * The head of a function that gives rows: begins the set and opens the model, which an argument may name.  False where
 * nothing is left to do: one of the first n_texts arguments is NULL, or a Batch node had the rows.
 */
extern bool tr_rows_begin(FunctionCallInfo fcinfo, int n_texts, TrUse use, int model_arg, TrModel **model);

/* ---- fn_text.c ---- */

/* Tokens of one text as ids, words or their number; special: with those that the model wants around a text. */
typedef Datum (*TrTextFunction) (const TeTokenizer *tokenizer, text *input, bool special);
extern Datum tr_token_ids(const TeTokenizer *tokenizer, text *input, bool special);
extern Datum tr_token_words(const TeTokenizer *tokenizer, text *input, bool special);
extern Datum tr_token_count(const TeTokenizer *tokenizer, text *input, bool special);

/* ---- fn_embed.c, fn_vector.c ---- */

/* Gets texts in their order, each as a row of a job that was run; job NULL where the text is. */
typedef void (*TrJobSink) (void *arg, int i, const TeJob *job, size_t row);
extern void tr_jobs_each(TrModel *model, const char *task, const TeJobOptions *options, const TrTexts *texts,
						 TrJobSink sink, void *arg);
/* Gets the vectors of texts in their order; vector NULL where the text is.  Valid during the call. */
typedef void (*TrVectorSink) (void *arg, int i, const float *vector, int n);
/* task: the engine's, "embed" or "classify"; options are the task's. */
extern void tr_vectors_each(TrModel *model, const char *task, const TeJobOptions *options, const TrTexts *texts,
							TrVectorSink sink, void *arg);
/* An error unless the name has a version: what is stored must not change with what a name means today. */
extern void tr_check_pinned(text *model);
/* The embeddings of texts without NULLs, palloc'd. */
typedef struct TrVectors
{
	float	   *vectors;		/* [n][dimensions] */
	int			dimensions;
} TrVectors;

extern TrVectors tr_embed_all(TrModel *model, const TeJobOptions *options, const TrTexts *texts);
extern double tr_cosine(const float *a, const float *b, int n);

/* ---- fn_classify.c ---- */

/* What is made of a text's scores: its label, its sentiment, ... */
typedef struct TrLabeller TrLabeller;
extern const TrLabeller tr_classify_labeller;
extern const TrLabeller tr_sentiment_labeller;
extern const TrLabeller tr_sentiment_score_labeller;
extern const TrLabeller tr_intent_labeller;

/* Gets results of texts in their order; a value lies in the memory context that is current. */
typedef void (*TrValueSink) (void *arg, int i, Datum value, bool isnull);
extern void tr_label_each(TrModel *model, const TrLabeller *labeller, const TrTexts *texts, TrValueSink take, void *arg);
/* Gets the rows that texts give, in their order; no column is NULL.  Valid during the call. */
typedef void (*TrRowSink) (void *arg, int i, Datum *row);
/* Rows of label and score. */
extern void tr_label_scores_each(TrModel *model, const TrTexts *texts, TrRowSink take, void *arg);

/* Numbers of labels, the largest score first and equal ones in the model's order; palloc'd. */
extern int *tr_order_scores(const float *scores, int n);

/* ---- fn_pairs.c ---- */

/* Gets the score of each pair of query and document in their order; isnull where one of the texts is. */
typedef void (*TrScoreSink) (void *arg, int i, float score, bool isnull);
extern void tr_rerank_each(TrModel *model, const TrTexts *pairs, TrScoreSink take, void *arg);

/* Rows of label and score; args are those of zero_shot(), of which the first (the text) is not looked at. */
extern void tr_zero_shot_each(TrModel *model, const TrTexts *texts, const NullableDatum *args, TrRowSink take, void *arg);

/* ---- cost.c ---- */

extern void tr_cost_init(void);
extern void tr_training_init(void);

/* ---- fn_entities.c ---- */

/* Rows of label, entity, score, start and stop. */
extern void tr_entities_each(TrModel *model, const TrTexts *texts, TrRowSink take, void *arg);

/* ---- fn_mask.c ---- */

/* Rows of token, score and sequence for the mask of each text, the best first; top_k NULL: the default. */
extern void tr_fill_each(TrModel *model, const TrTexts *texts, const NullableDatum *top_k, TrRowSink take, void *arg);

/* ---- fn_answer.c ---- */

/*
 * A row of answer, score, start and stop for each pair of question and context; none where one of the texts is NULL,
 * or the context has no words.
 */
extern void tr_answer_each(TrModel *model, const TrTexts *pairs, TrRowSink take, void *arg);

/* ---- fn_logprobs.c ---- */

/* How improbable a text is, or with a target (an argument of SQL) what follows it. */
typedef struct TrLoss
{
	uint64		tokens;
	uint64		counted;		/* that something comes before */
	double		sum;			/* of their negative log probabilities */
} TrLoss;

extern TrLoss tr_text_loss(TrModel *model, Datum input, const NullableDatum *target);

#endif							/* TRANSFORMER_H */
