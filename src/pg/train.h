/*-------------------------------------------------------------------------
 * train.h
 *	  Inside of training: what train_*.c, control.c, catalog_write.c and fn_train.c share.
 *
 *	  fn_train.c			SQL functions: arguments to a request, results to a row
 *	  train_run.c			a run: rights, rows to a spool, steps, the new version
 *	  train_rows.c			rows of a query to a spool
 *	  train_files.c			its directory: spool, log, checkpoint, lock, and what becomes of them
 *	  train_background.c	a run in a background worker
 *	  train_show.c			what others see of it: views and charts
 *
 * A run is a directory of the cache directory, run.<database>.<number>, with
 *
 *	  run.json			request, owner, and once the rows are read, objective and options
 *	  rows, eval_rows	spools of the engine
 *	  log				TrLogRecords
 *	  checkpoint		a CheckpointHead (train_run.c) and the engine's state
 *	  status			how it ended, where that was badly: a word, a line feed, the message
 *	  lock				whoever works on the run holds its lock (flock), which dies with the process
 *
 * It is made before the first row is read and goes when the transaction with the new version has
 * ended.  Nothing of it is in the catalog before that.
 *-------------------------------------------------------------------------
 */
#ifndef TR_TRAIN_H
#define TR_TRAIN_H

#include "pg/catalog.h"

#include "datatype/timestamp.h"

/* ---- train_files.c: files ---- */

/* A file of a run, closed with the memory context that was current when it was opened. */
typedef struct TrFile TrFile;

typedef enum TrFileMode
{
	TR_FILE_READ,
	TR_FILE_CREATE,				/* anew */
	TR_FILE_APPEND				/* what is there stays */
} TrFileMode;

extern TrFile *tr_file_open(const char *path, TrFileMode mode);
extern TeSink *tr_file_sink(TrFile *file);
extern const TeSource *tr_file_source(TrFile *file);
/* Error 57014 where writing takes longer from now on; 0: as long as it takes. */
extern void tr_file_set_limit(TrFile *file, double seconds);
extern uint64 tr_file_size(const TrFile *file); /* with what is not written yet */
extern void tr_file_truncate(TrFile *file, uint64 size);
extern void tr_file_sync(TrFile *file); /* all of it is on disk */
extern void tr_file_close(TrFile *file);

/* ---- train_files.c: directories ---- */

extern void tr_run_path(char path[MAXPGPATH], int64 run, const char *file);

/* A worker has the lock of a run that is queued by then, or never. */
#define TR_QUEUED_SECONDS 60

/* What a transaction does with a run that it holds the lock of. */
typedef enum TrHoldKind
{
	TR_HOLD_WORK,				/* nothing: the lock goes at its end */
	TR_HOLD_DONE,				/* its end removes the directory, too */
	TR_HOLD_QUEUED				/* commit starts it in the background; abort removes it */
} TrHoldKind;

/* Make the directory of a new run, with its lock; the number.  Removes first what dead runs have left. */
extern int64 tr_run_create(void);
/* Take the lock of a run that is there; false where somebody else has it.  Throws where there is no such run. */
extern bool tr_run_lock(int64 run);
/* Should the transaction commit, all runs of this database go. */
extern void tr_runs_drop(void);
/* In a background worker: holds outlive transactions. */
extern void tr_runs_outlive_transactions(void);
extern void tr_run_hold(int64 run, TrHoldKind kind);
/* Let go of the lock; remove: and of the directory. */
extern void tr_run_release(int64 run, bool remove);
extern bool tr_run_exists(int64 run);
extern bool tr_run_is_locked(int64 run);
/* Replace a small file, durably. */
extern void tr_run_write(int64 run, const char *file, TeStr text);
/* The whole of one; data NULL where there is none. */
extern TeStr tr_run_read(TeArena *arena, int64 run, const char *file);
/* How a run ended; never throws.  word NULL: forget it. */
extern void tr_run_set_status(int64 run, const char *word, const char *message);
/* Numbers of the runs of this database that have a directory, a list of palloc'd int64. */
extern List *tr_run_list(void);

/* A line of the log: a step, the mean loss since the last line, and an evaluation if there was one. */
#define TR_LOG_METRICS 8
#define TR_METRIC_NAME 24

typedef struct TrLogRecord
{
	int64		step;
	double		epoch;
	double		loss;
	double		learning_rate;
	uint64		tokens;
	TimestampTz at;
	int64		n_metrics;		/* 0: no evaluation; the first is the loss */
	struct
	{
		char		name[TR_METRIC_NAME];
		double		value;
	}			metrics[TR_LOG_METRICS];
} TrLogRecord;

/* ---- control.c: progress ---- */

typedef enum TrPhase
{
	TR_PHASE_QUEUED,
	TR_PHASE_READING,
	TR_PHASE_TRAINING,
	TR_PHASE_EVALUATING,
	TR_PHASE_CHECKPOINT,
	TR_PHASE_STORING
} TrPhase;

typedef struct TrProgress
{
	int64		pid;
	int64		database;
	int64		run;
	int64		phase;			/* TrPhase */
	int64		rows;			/* that were read */
	int64		step;
	int64		n_steps;
	double		epoch;
	double		loss;			/* NaN, here and below: not known yet */
	double		eval_loss;
	double		learning_rate;
	double		tokens_per_second;
	double		seconds_left;
} TrProgress;

/* A slot for a run of this process, or -1; what is in it; and no more. */
extern int	tr_control_training_begin(void);
extern void tr_control_training_set(int slot, const TrProgress *progress);
extern void tr_control_training_end(int slot);
/* Runs at work in this database, at most `most` of them. */
#define TR_MAX_TRAININGS 64
extern int	tr_control_trainings(TrProgress *into, int most);

/* ---- train_rows.c ---- */

/* What is needed to make examples of rows. */
typedef struct TrSpooling
{
	TeArena    *arena;
	int64		run;
	const char *base;			/* 'name@3', whose tokenizer it is */
	const char *teacher;		/* or NULL */
	const TeObjective *objective;
	const TeTrainOptions *options;
	void		(*show) (void *arg, int64 rows);	/* is told how many were read */
	void	   *arg;
} TrSpooling;

/* Run the query into a file of the run; like: the set whose labels it must have, or NULL. */
extern TeExamples *tr_spool_query(const TrSpooling *spool, const char *sql, const char *what, const char *file,
								  const TeExamples *like);
/* One that is whole. */
extern TeExamples *tr_spool_open(TeArena *arena, int64 run, const TeObjective *objective, const char *file);

/* ---- train_run.c ---- */

/* What is asked for. */
typedef struct TrRequest
{
	const char *statement;		/* "finetune", "pretrain", "distill" */
	char	   *model;			/* that is trained */
	char	   *teacher;		/* or NULL; then the model need not be there, but is made of the teacher's layers */
	const TeJson *layers;		/* which of them: of te_model_student(); NULL: its default */
	char	   *query;
	char	   *task;			/* NULL: the model's */
	char	   *output;			/* NULL: the model's own name */
	char	   *eval_query;		/* or NULL */
	TeJson	   *options;		/* for te_train_set(), member by member */
	double		checkpoint_interval;	/* seconds; negative: the setting's */
	bool		background;
} TrRequest;

/* What came out. */
typedef struct TrResult
{
	int64		run;
	char	   *model;			/* 'name@version'; NULL: it runs in the background, and nothing else is known */
	int64		rows;
	int64		tokens;
	int64		steps;
	double		loss;
	double		eval_loss;		/* NaN: there was no evaluation */
	TeStr		metrics;		/* JSON; data NULL: the same */
	double		seconds;
} TrResult;

/* JSON as it is stored. */
/* An arena for training, bounded by transformer.training_memory. */
extern TeArena *tr_training_arena(MemoryContext context);
extern void tr_train(TeArena *arena, const TrRequest *request, TrResult *result);
extern void tr_train_resume(TeArena *arena, int64 run, TrResult *result);
/* In a background worker, within a transaction: the run that was queued under this number. */
extern void tr_train_queued(TeArena *arena, int64 run);
/* run.json; NULL where there is none, or where it is damaged, with a WARNING for who can remove the run. */
extern const TeJson *tr_run_description(TeArena *arena, int64 run);
/* Whose it is; InvalidOid where that role is no more. */
extern Oid	tr_run_owner(const TeJson *description);
/* Error 42501 where the current user is neither owner nor superuser. */
extern void tr_check_run_owner(int64 run, Oid owner);
/* The log of a run that has a directory. */
extern const TrLogRecord *tr_run_log(TeArena *arena, int64 run, size_t *n);

/* ---- train_background.c ---- */

/* The extension of this database; InvalidOid: it was dropped. */
extern Oid	tr_extension(void);

/* Before commit: have a worker started, or an error. */
extern void tr_background_start(int64 run);
/* Which transaction is to commit first, who called, and with which settings: for the worker. */
extern void tr_background_describe(TeArena *arena, TeJson *json);
/* Become that user with those settings, until the transaction ends. */
extern void tr_background_become(const TeJson *description);

/* ---- catalog_write.c ---- */

/* A row of a run that made a version. */
typedef struct TrRunRow
{
	int64		run;
	Oid			owner;
	const char *statement;
	const char *base;
	const char *model;
	const char *objective;
	TeStr		options;		/* JSON */
	const char *query;
	const char *eval_query;		/* or NULL */
	const TrResult *result;
	TimestampTz started_at;
} TrRunRow;

extern int64 tr_catalog_next_run(void);
extern void tr_catalog_add_run(const TrRunRow *row);
extern void tr_catalog_add_log(int64 run, const TrLogRecord *records, size_t n);

/* Columns of table training_run that are read. */
enum
{
	TRAINING_RUN = 1,
	TRAINING_OWNER,
	N_TRAINING_RUN = 18
};

extern bool tr_catalog_find_run(int64 run, Oid *owner);

#endif							/* TR_TRAIN_H */
