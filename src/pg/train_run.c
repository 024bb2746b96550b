/*-------------------------------------------------------------------------
 * train_run.c
 *	  A training run: from a request to a new version.
 *
 *	  resolve	which model, may the caller, which objective, are the options right
 *	  read		rows of the query, then of eval_query, to spools in the run's directory
 *	  train		steps, evaluations, log, checkpoints; no transaction is needed
 *	  store		the new version, the row of the run and its log, in one transaction
 *
 * In the foreground all of it is part of the caller's transaction.  In a
 * background worker `read` and `store` have one each, and nothing holds VACUUM back
 * in between.  Both queries are read under one snapshot, that of `read`.
 *
 * Once the rows are read the directory has all that the run needs but its base: resume_training() begins with
 * `train`, from the last checkpoint, and comes to the same weights.  A checkpoint has a
 * head of ours before the engine's state: how long the log was then, and sums for its next line.
 * What a crash may cost is bounded by the interval of checkpoints, so the end needs none.  A cancel costs nothing
 * where one more checkpoint can be written within a second: interrupts are served between steps and within them before a
 * weight has changed, so what is in memory then is whole.
 *
 * An error before the first step leaves nothing; a later one leaves the directory, with
 * a status that says what happened.  In a background worker it always does, since nobody else is told.
 *
 * Memory: one arena, bounded by transformer.training_memory, and what the
 * server needs for queries and rows.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include <math.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define HEAD_MAGIC UINT64CONST(0x31444145484b5054)
#define LOG_LINES 1000			/* of a run, evaluations apart */
#define NOTICE_SECONDS 5.0
#define SHOW_SECONDS 0.1		/* between updates of what others see */
#define CANCEL_SECONDS 1.0		/* that a cancelled run may take for its last checkpoint */

/* What stands before the engine's state in a checkpoint. */
typedef struct CheckpointHead
{
	uint64		magic;
	uint64		log_bytes;
	TeTrainStep step;
	double		loss_sum;		/* since the last line of the log */
	int64		loss_n;
	double		seconds;		/* of training */
} CheckpointHead;

typedef struct Training
{
	TeArena    *arena;
	MemoryContext memory;		/* of files and small things; that of the arena's owner */
	MemoryContext step_memory;	/* reset for each step */
	int64		run;
	const TrRequest *request;
	Oid			owner;
	TimestampTz started_at;
	const TeJson *description;	/* of a run that was queued: who it is for */
	bool		worker;			/* transactions are ours */
	bool		trained;		/* there is something that is worth resuming */
	bool		whole;			/* the trainer is set up: what it has may be written */

	TrVersion	base;			/* where the definition comes from: the model, or the teacher of a student that is made of it */
	char	   *base_name;		/* 'name@3' */
	bool		made;			/* such a student */
	char	   *output;			/* name of the version to be */
	char	   *teacher_name;	/* 'name@3', or NULL */
	const TeObjective *objective;
	TeTrainOptions *options;
	TeModelDef *definition;		/* of base */
	TeExamples *examples;
	TeExamples *evaluation;		/* NULL: none */
	TeTrainer  *trainer;
	TrFile	   *log;
	CheckpointHead head;
	int64		log_every;		/* steps */

	double		began;			/* this process's part: clock, steps, tokens at its beginning */
	int64		began_step;
	int64		checkpoint_step;	/* of the last checkpoint */
	uint64		began_tokens;
	double		seconds_before;
	double		interval;		/* of checkpoints */
	double		last_checkpoint;
	double		last_notice;
	double		last_shown;
	int			slot;			/* in the control file */
	TrProgress	progress;
} Training;

TeArena *
tr_training_arena(MemoryContext context)
{
	return te_arena_create_root(context, "training", tr_training_limit(), "Raise transformer.training_memory.");
}

/* ---- what others see ---- */

static void
show_phase(Training *t, TrPhase phase)
{
	t->progress.phase = phase;
	t->last_shown = te_host_seconds();
	tr_control_training_set(t->slot, &t->progress);
}

static void
show_begin(Training *t)
{
	t->progress = (TrProgress) {
		.pid = MyProcPid,.database = MyDatabaseId,.run = t->run,
		.loss = get_float8_nan(),.eval_loss = get_float8_nan(),.learning_rate = get_float8_nan(),
		.tokens_per_second = get_float8_nan(),.seconds_left = get_float8_nan(),
	};
	t->slot = tr_control_training_begin();
	show_phase(t, TR_PHASE_READING);
}

/* "1:02:03", "0:42" */
static char *
clock_text(double seconds)
{
	int64		s = (int64) fmin(fmax(seconds, 0), 1e9);

	if (s >= 3600)
		return psprintf(INT64_FORMAT ":%02d:%02d", s / 3600, (int) (s / 60 % 60), (int) (s % 60));
	return psprintf("%d:%02d", (int) (s / 60), (int) (s % 60));
}

/* After a step. */
static void
show_step(Training *t)
{
	const TeTrainStep *step = &t->head.step;
	TrProgress *progress = &t->progress;
	double		now = te_host_seconds();
	double		elapsed = fmax(now - t->began, 1e-9);

	progress->step = step->step;
	progress->n_steps = step->n_steps;
	progress->epoch = step->epoch;
	progress->loss = step->loss;
	progress->learning_rate = step->learning_rate;
	progress->tokens_per_second = (double) (step->tokens - t->began_tokens) / elapsed;
	progress->seconds_left = elapsed / (double) (step->step - t->began_step) * (double) (step->n_steps - step->step);
	if (now - t->last_shown >= SHOW_SECONDS)
		show_phase(t, TR_PHASE_TRAINING);
	if (t->worker || now - t->last_notice < NOTICE_SECONDS)
		return;
	t->last_notice = now;
	ereport(NOTICE,
			(errmsg("step " INT64_FORMAT " of " INT64_FORMAT ", epoch %.1f, loss %.3f, %.0f tokens/s, %s left",
					step->step, step->n_steps, step->epoch, step->loss, progress->tokens_per_second,
					clock_text(progress->seconds_left))));
}

/* ---- the description ---- */

static void
put_text(TeArena *arena, TeJson *json, const char *key, const char *value)
{
	if (value != NULL)
		te_json_set_str(te_json_add(arena, json, key), te_str_copy(arena, tr_utf8(cstring_to_text(value))));
}

static char *
get_text(const TeJson *json, const char *key)
{
	TeStr		value = te_json_str(json, key, NULL);

	return value.data == NULL ? NULL : tr_cstring(value);
}

/* The members that make up a request. */
static void
put_request(TeArena *arena, TeJson *json, const TrRequest *request)
{
	put_text(arena, json, "statement", request->statement);
	put_text(arena, json, "model", request->model);
	put_text(arena, json, "teacher", request->teacher);
	put_text(arena, json, "query", request->query);
	put_text(arena, json, "task", request->task);
	put_text(arena, json, "output", request->output);
	put_text(arena, json, "eval_query", request->eval_query);
	if (request->layers != NULL)
		te_json_set_copy(arena, te_json_add(arena, json, "layers"), request->layers);
	te_json_set_copy(arena, te_json_add(arena, json, "options"), request->options);
	te_json_set_real(te_json_add(arena, json, "checkpoint_interval"), request->checkpoint_interval);
	te_json_set_bool(te_json_add(arena, json, "background"), request->background);
}

static TrRequest *
get_request(TeArena *arena, const TeJson *json)
{
	TrRequest  *request = te_new(arena, TrRequest);

	request->statement = get_text(json, "statement");
	request->model = get_text(json, "model");
	request->teacher = get_text(json, "teacher");
	request->query = get_text(json, "query");
	request->task = get_text(json, "task");
	request->output = get_text(json, "output");
	request->eval_query = get_text(json, "eval_query");
	request->layers = te_json_get(json, "layers");
	request->options = te_json_new_object(arena);
	if (te_json_get(json, "options") != NULL)
		te_json_set_copy(arena, request->options, te_json_get(json, "options"));
	request->checkpoint_interval = te_json_real(json, "checkpoint_interval", -1);
	request->background = te_json_bool(json, "background", false);
	return request;
}

static void
put_digest(TeArena *arena, TeJson *json, const uint8 *digest)
{
	char		hex[2 * TR_DIGEST_LENGTH + 1];

	hex[hex_encode((const char *) digest, TR_DIGEST_LENGTH, hex)] = '\0';
	put_text(arena, json, "digest", hex);
}

/* Write run.json: before rows are read, and when they are. */
static void
describe(Training *t, bool spooled)
{
	TeArena    *arena = te_arena_create(t->arena, "description");
	TeJson	   *json = te_json_new_object(arena);

	put_request(arena, json, t->request);
	te_json_set_int(te_json_add(arena, json, "extension"), tr_extension());
	te_json_set_int(te_json_add(arena, json, "owner"), t->owner);
	put_text(arena, json, "owner_name", GetUserNameFromId(t->owner, false));
	te_json_set_int(te_json_add(arena, json, "started_at"), t->started_at);
	put_text(arena, json, "base", t->base_name);
	put_text(arena, json, "makes", t->output);
	put_text(arena, json, "teacher_version", t->teacher_name);
	te_json_set_bool(te_json_add(arena, json, "made"), t->made);
	put_digest(arena, json, t->base.digest);
	te_json_set_bool(te_json_add(arena, json, "spooled"), spooled);
	put_text(arena, json, "objective", te_objective_name(t->objective));
	put_text(arena, json, "learns", te_objective_task(t->objective));
	te_json_set_copy(arena, te_json_add(arena, json, "settled"), te_train_options_json(arena, t->options));
	if (t->request->background && !t->worker)
		tr_background_describe(arena, json);
	tr_run_write(t->run, "run.json", te_json_text(arena, json, 0));
	te_arena_destroy(arena);
}

/* NULL where it is none; to parse touches nothing but memory, so the error needs no subtransaction. */
static const TeJson *
parse_description(TeArena *arena, TeStr text)
{
	MemoryContext before = CurrentMemoryContext;
	const TeJson *volatile json = NULL;

	PG_TRY();
	{
		json = te_json_parse(arena, text, "run.json");
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_BAD_COPY_FILE_FORMAT)
			PG_RE_THROW();
		MemoryContextSwitchTo(before);
		FlushErrorState();
	}
	PG_END_TRY();
	return json != NULL && json->kind == TE_JSON_OBJECT ? json : NULL;
}

const TeJson *
tr_run_description(TeArena *arena, int64 run)
{
	TeStr		text = tr_run_read(arena, run, "run.json");
	const TeJson *json = text.data == NULL ? NULL : parse_description(arena, text);

	/* nobody else can do anything about it */
	if (text.data != NULL && json == NULL && superuser())
		ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED),
						  errmsg("the description of training run " INT64_FORMAT " is damaged", run),
						  errhint("transformer.cancel_training(" INT64_FORMAT ") removes what is left of the run.", run)));
	return json;
}

Oid
tr_run_owner(const TeJson *description)
{
	Oid			owner = (Oid) te_json_int_range(description, "owner", 0, 0, PG_UINT32_MAX);
	char	   *recorded = get_text(description, "owner_name");
	char	   *now = OidIsValid(owner) ? GetUserNameFromId(owner, true) : NULL;

	return recorded != NULL && now != NULL && strcmp(recorded, now) == 0 ? owner : InvalidOid;
}

void
tr_check_run_owner(int64 run, Oid owner)
{
	if (superuser() || (OidIsValid(owner) && has_privs_of_role(GetUserId(), owner)))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of training run " INT64_FORMAT, run)));
}

/* ---- resolve ---- */

static void
set_options(TeTrainOptions *options, const TeJson *given)
{
	for (uint32 i = 0; i < given->n; i++)
	{
		if (given->items[i].kind != TE_JSON_NULL)
			te_train_set(options, given->items[i].key, &given->items[i]);
	}
}

static TeStr
utf8_or_none(const char *text)
{
	return text == NULL ? (TeStr) {NULL, 0} : tr_utf8(cstring_to_text(text));
}

/* A version that the caller may use. */
static char *
usable(const char *model, TrVersion *into)
{
	tr_catalog_get(model, into);
	tr_check_usage(into);
	return tr_version_name(into->name, into->version);
}

/* Names and rights: of the base, the teacher and the version to be. */
static void
resolve_models(Training *t)
{
	const TrRequest *request = t->request;
	char	   *name;
	int32		number;
	TrVersion	teacher;

	if (request->teacher != NULL)
		t->teacher_name = usable(request->teacher, &teacher);
	tr_parse_model_name(request->model, &name, &number);
	t->made = t->teacher_name != NULL && number == 0 && !tr_catalog_find(name, 0, &t->base);
	t->base_name = usable(t->made ? t->teacher_name : request->model, &t->base);
	t->output = request->output != NULL ? request->output : t->made ? name : t->base.name;
	if (request->layers != NULL && !t->made)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"layers\" is for a student that is made of its teacher"),
						t->teacher_name != NULL ? errdetail("Model \"%s\" exists.", name) : 0));
	tr_check_model_name(t->output);
	tr_check_name_is_free(t->output);
}

/* What is trained, before it is. */
static TeModelDef *
read_definition(Training *t)
{
	TeModelDef *base = tr_catalog_definition(t->arena, &t->base);

	return t->made ? te_model_student(t->arena, base, t->request->layers) : base;
}

/* A student learns its teacher's task, which it has already where it is made of it. */
static TeStr
task_by_default(Training *t)
{
	TrVersion	teacher;

	if (t->teacher_name == NULL || t->made)
		return t->definition->task;
	tr_catalog_get(t->teacher_name, &teacher);
	return tr_catalog_definition(te_arena_create(t->arena, "teacher"), &teacher)->task;
}

/* Another process does not see temporary tables. */
static void
check_tables_stay(const TrRequest *request)
{
	if (tr_query_is_temporary(request->query, "training query")
		|| (request->eval_query != NULL && tr_query_is_temporary(request->eval_query, "evaluation query")))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a training in the background cannot read temporary tables"),
						errhint("Copy the rows to a table that is not temporary, or train in the foreground.")));
}

static void
resolve(Training *t)
{
	const TrRequest *request = t->request;
	TeStr	   *columns;
	int			n_columns;

	resolve_models(t);
	t->definition = read_definition(t);
	columns = tr_query_columns(t->arena, request->query, "training query", &n_columns);
	if (request->background && !t->worker)
		check_tables_stay(request);
	t->objective = te_objective_find(t->arena, request->statement, utf8_or_none(request->task), task_by_default(t), t->definition->architecture,
									 columns, (size_t) n_columns);
	t->options = te_train_options(t->arena, t->objective);
	set_options(t->options, request->options);
	if (request->eval_query == NULL)
		te_train_check_alone(t->options);
}

/* ---- read ---- */

/* The rows of a query so far. */
static void
show_rows(void *arg, int64 rows)
{
	Training   *t = arg;

	t->progress.rows = rows;
	if (te_host_seconds() - t->last_shown >= SHOW_SECONDS)
		show_phase(t, TR_PHASE_READING);
}

static TrSpooling
spooling(Training *t)
{
	return (TrSpooling) {
		.arena = t->arena,.run = t->run,.base = t->base_name,.teacher = t->teacher_name,.objective = t->objective,
		.options = t->options,.show = show_rows,.arg = t,
	};
}

static void
read_rows(Training *t)
{
	const TrRequest *request = t->request;
	TrSpooling	spool = spooling(t);

	describe(t, false);
	t->examples = tr_spool_query(&spool, request->query, "training query", "rows", NULL);
	if (request->eval_query != NULL)
		t->evaluation = tr_spool_query(&spool, request->eval_query, "evaluation query", "eval_rows", t->examples);
	describe(t, true);
}

/* The same, where they were read before. */
static void
open_spools(Training *t)
{
	t->examples = tr_spool_open(t->arena, t->run, t->objective, "rows");
	if (t->request->eval_query != NULL)
		t->evaluation = tr_spool_open(t->arena, t->run, t->objective, "eval_rows");
}

/* ---- checkpoints ---- */

/* within: seconds, after which it is given up with an error; 0: however long it takes. */
static void
write_checkpoint(Training *t, double within)
{
	MemoryContext memory = AllocSetContextCreate(t->memory, "checkpoint", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(memory);
	char		path[MAXPGPATH];
	char		temporary[MAXPGPATH];
	TrFile	   *file;

	show_phase(t, TR_PHASE_CHECKPOINT);
	tr_file_sync(t->log);
	t->head.magic = HEAD_MAGIC;
	t->head.log_bytes = tr_file_size(t->log);
	t->head.seconds = t->seconds_before + te_host_seconds() - t->began;
	tr_run_path(path, t->run, "checkpoint");
	tr_run_path(temporary, t->run, "checkpoint.tmp");
	file = tr_file_open(temporary, TR_FILE_CREATE);
	tr_file_set_limit(file, within);
	te_sink_write(tr_file_sink(file), &t->head, sizeof(t->head));
	te_trainer_save(t->trainer, tr_file_sink(file));
	tr_file_sync(file);
	tr_file_close(file);
	(void) durable_rename(temporary, path, ERROR);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(memory);
	t->last_checkpoint = te_host_seconds();
	t->checkpoint_step = t->head.step.step;
	show_phase(t, TR_PHASE_TRAINING);
}

/* After a cancel: what was learned since the last one.  Throws nothing; a further cancel waits. */
static void
write_last_checkpoint(Training *t)
{
	if (!t->trained || !t->whole || t->head.step.step == t->checkpoint_step)
		return;
	HOLD_INTERRUPTS();
	PG_TRY();
	{
		write_checkpoint(t, CANCEL_SECONDS);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();		/* the error has let go of them */
		MemoryContextSwitchTo(t->memory);
		FlushErrorState();
	}
	PG_END_TRY();
	RESUME_INTERRUPTS();
}

/* TeSource.read of what follows the head. */
static void
read_behind_head(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	te_source_read(source->host, offset + sizeof(CheckpointHead), into, len);
}

/* False where there is none: the run begins anew. */
static bool
read_checkpoint(Training *t)
{
	char		path[MAXPGPATH];
	TrFile	   *file;
	const TeSource *source;
	TeSource	state;

	tr_run_path(path, t->run, "checkpoint");
	if (access(path, F_OK) != 0)
		return false;
	file = tr_file_open(path, TR_FILE_READ);
	source = tr_file_source(file);
	te_source_read(source, 0, &t->head, sizeof(t->head));
	if (t->head.magic != HEAD_MAGIC)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("checkpoint of training run " INT64_FORMAT " is damaged", t->run)));
	state = (TeSource) {.name = path,.size = source->size - sizeof(t->head),.read = read_behind_head,.host = (void *) source};
	te_trainer_restore(t->trainer, &state);
	tr_file_close(file);
	return true;
}

/* ---- transactions ---- */

/* A transaction of a worker's; in the foreground it is the caller's. */
static void
begin_transaction(Training *t)
{
	if (!t->worker)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	tr_background_become(t->description);
	MemoryContextSwitchTo(t->memory);
}

static void
end_transaction(Training *t)
{
	if (!t->worker)
		return;
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* not before: what the query's functions have deferred runs with the rights that they ran with */
	SetUserIdAndSecContext(GetSessionUserId(), 0);
	MemoryContextSwitchTo(t->memory);
}

/* A background worker, or whoever resumes, may come to a base that was dropped meanwhile. */
static void
check_base_is_there(const Training *t)
{
	TrVersion	now;

	if (!tr_catalog_find(t->base.name, t->base.version, &now) || memcmp(now.digest, t->base.digest, TR_DIGEST_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" was dropped while it was trained", t->base_name)));
}

/* ---- train ---- */

static void
make_trainer(Training *t)
{
	char		path[MAXPGPATH];
	bool		restored;

	t->trainer = te_trainer_create(t->arena, t->definition, t->objective, t->options, t->examples, t->evaluation,
								   tr_training_limit());
	tr_run_path(path, t->run, "log");
	t->log = tr_file_open(path, TR_FILE_APPEND);
	restored = read_checkpoint(t);
	if (!restored)
		memset(&t->head, 0, sizeof(t->head));
	tr_file_truncate(t->log, Min(t->head.log_bytes, tr_file_size(t->log)));
	t->trained |= restored;
	t->seconds_before = t->head.seconds;
	t->began_step = t->checkpoint_step = t->head.step.step;
	t->began_tokens = t->head.step.tokens;
	t->interval = t->request->checkpoint_interval >= 0 ? t->request->checkpoint_interval : tr_checkpoint_interval;
	t->began = t->last_checkpoint = t->last_notice = te_host_seconds();
}

static void
write_log(Training *t, const TeTrainMetric *metrics, size_t n_metrics)
{
	TrLogRecord record = {0};

	record.step = t->head.step.step;
	record.epoch = t->head.step.epoch;
	record.loss = t->head.loss_n > 0 ? t->head.loss_sum / (double) t->head.loss_n : t->head.step.loss;
	record.learning_rate = t->head.step.learning_rate;
	record.tokens = t->head.step.tokens;
	record.at = GetCurrentTimestamp();
	record.n_metrics = (int64) Min(n_metrics, TR_LOG_METRICS);
	for (int64 i = 0; i < record.n_metrics; i++)
	{
		strlcpy(record.metrics[i].name, metrics[i].name, TR_METRIC_NAME);
		record.metrics[i].value = metrics[i].value;
	}
	HOLD_INTERRUPTS();			/* a step without its line would not be made again */
	te_sink_write(tr_file_sink(t->log), &record, sizeof(record));
	RESUME_INTERRUPTS();
	t->head.loss_sum = 0;
	t->head.loss_n = 0;
}

static void
evaluate(Training *t)
{
	const TeTrainMetric *metrics;
	size_t		n;

	show_phase(t, TR_PHASE_EVALUATING);
	metrics = te_trainer_evaluate(t->trainer, &n);
	t->progress.eval_loss = metrics[0].value;
	write_log(t, metrics, n);
	show_phase(t, TR_PHASE_TRAINING);
}

/*
 * A background worker holds nothing that keeps what it trains from being dropped, nor the extension; it looks from time to
 * time, rather than find out at the end.
 */
static void
check_is_wanted(Training *t)
{
	MemoryContext before = CurrentMemoryContext;

	if (!t->worker)
		return;
	begin_transaction(t);
	if (tr_extension() == InvalidOid)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"transformer\" was dropped")));
	check_base_is_there(t);
	end_transaction(t);
	MemoryContextSwitchTo(before);
}

static void
train(Training *t)
{
	MemoryContext before = MemoryContextSwitchTo(t->step_memory);

	show_phase(t, TR_PHASE_TRAINING);
	t->whole = true;
	for (;;)
	{
		if (te_trainer_evaluation_due(t->trainer))
			evaluate(t);
		if (t->trained && te_host_seconds() - t->last_checkpoint >= t->interval)
		{
			write_checkpoint(t, 0);
			check_is_wanted(t);
		}
		MemoryContextReset(t->step_memory);
		CHECK_FOR_INTERRUPTS();
		if (!te_trainer_step(t->trainer, &t->head.step))
			break;
		t->trained = true;
		t->head.loss_sum += t->head.step.loss;
		t->head.loss_n++;
		if (t->head.step.step % Max(1, t->head.step.n_steps / LOG_LINES) == 0 && !te_trainer_evaluation_due(t->trainer))
			write_log(t, NULL, 0);
		show_step(t);
	}
	if (t->head.loss_n > 0)
		write_log(t, NULL, 0);
	tr_file_sync(t->log);
	MemoryContextSwitchTo(before);
}

/* ---- store ---- */

/* Behind what was flushed last a file may have anything after a crash. */
static bool
is_whole(const TrLogRecord *record)
{
	if (record->step <= 0 || record->n_metrics < 0 || record->n_metrics > TR_LOG_METRICS)
		return false;
	for (int64 i = 0; i < record->n_metrics; i++)
	{
		if (memchr(record->metrics[i].name, '\0', TR_METRIC_NAME) == NULL)
			return false;
	}
	return true;
}

/* Up to the first line that is damaged. */
const TrLogRecord *
tr_run_log(TeArena *arena, int64 run, size_t *n)
{
	TeStr		bytes = tr_run_read(arena, run, "log");
	const TrLogRecord *records = (const TrLogRecord *) bytes.data;

	*n = 0;
	while (*n < bytes.len / sizeof(TrLogRecord) && is_whole(&records[*n]))
		++*n;
	return records;
}

/* The evaluation of the weights that are kept: the last, or the first of the best where runs stop early. */
static const TrLogRecord *
evaluation_that_counts(const Training *t, const TrLogRecord *records, size_t n)
{
	bool		best = te_train_keeps_best(t->options);
	const TrLogRecord *found = NULL;

	for (size_t i = 0; i < n; i++)
	{
		if (records[i].n_metrics > 0 && (found == NULL || !best || records[i].metrics[0].value < found->metrics[0].value))
			found = &records[i];
	}
	return found;
}

static void
make_result(Training *t, const TrLogRecord *records, size_t n, TrResult *result)
{
	const TrLogRecord *evaluation = evaluation_that_counts(t, records, n);
	TeJson	   *metrics = te_json_new_object(t->arena);

	memset(result, 0, sizeof(*result));
	result->run = t->run;
	result->rows = (int64) te_examples_rows(t->examples);
	result->tokens = (int64) t->head.step.tokens;
	result->steps = t->head.step.step;
	result->loss = n > 0 ? records[n - 1].loss : t->head.step.loss;
	result->eval_loss = evaluation != NULL ? evaluation->metrics[0].value : get_float8_nan();
	result->seconds = t->seconds_before + te_host_seconds() - t->began;
	if (evaluation == NULL)
		return;
	for (int64 i = 0; i < evaluation->n_metrics; i++)
	{
		if (isfinite(evaluation->metrics[i].value))
			te_json_set_real(te_json_add(t->arena, metrics, evaluation->metrics[i].name), evaluation->metrics[i].value);
	}
	result->metrics = te_json_text(t->arena, metrics, 0);
}

static void
store(Training *t, TrResult *result)
{
	const TrRequest *request = t->request;
	TrNewVersion new = {.name = t->output,.parent = t->base_name};
	size_t		n;
	const TrLogRecord *records;
	TrVersion	version;
	TrContext	context;
	TrRunRow	row;

	check_base_is_there(t);
	show_phase(t, TR_PHASE_STORING);
	tr_context_push(&context, psprintf("while storing model \"%s\"", new.name));
	new.def = te_trainer_definition(t->trainer, t->arena);
	tr_catalog_create(t->arena, &new, &context, &version);
	tr_make_references(&version);
	tr_context_pop(&context);
	records = tr_run_log(t->arena, t->run, &n);
	make_result(t, records, n, result);
	result->model = tr_version_name(version.name, version.version);
	row = (TrRunRow) {
		.run = t->run,.owner = t->owner,.statement = request->statement,.base = t->base_name,.model = result->model,
		.objective = te_objective_task(t->objective),
		.options = te_json_text(t->arena, te_train_options_json(t->arena, t->options), 0),
		.query = request->query,.eval_query = request->eval_query,.result = result,.started_at = t->started_at,
	};
	tr_catalog_add_run(&row);
	tr_catalog_add_log(t->run, records, n);
	tr_run_hold(t->run, TR_HOLD_DONE);
}

/* ---- the whole ---- */

static void
init(Training *t, TeArena *arena, const TrRequest *request)
{
	memset(t, 0, sizeof(*t));
	t->arena = arena;
	t->memory = CurrentMemoryContext;
	t->step_memory = AllocSetContextCreate(CurrentMemoryContext, "training step", ALLOCSET_DEFAULT_SIZES);
	t->request = request;
	t->slot = -1;
	t->owner = GetUserId();
	t->started_at = GetCurrentTimestamp();
}

/* What the row of the run says of it: who ran it in the background sees nothing else. */
static const char *
error_text(const ErrorData *error)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, error->message);
	if (error->detail != NULL)
		appendStringInfo(&text, "\nDETAIL:  %s", error->detail);
	if (error->hint != NULL)
		appendStringInfo(&text, "\nHINT:  %s", error->hint);
	if (error->context != NULL)
		appendStringInfo(&text, "\nCONTEXT:  %s", error->context);
	return text.data;
}

/* After an error, which goes on. */
static TE_NORETURN void
abandon(Training *t)
{
	bool		keep = t->trained || t->worker;
	ErrorData  *error;
	bool		cancelled;

	MemoryContextSwitchTo(t->memory);
	error = CopyErrorData();
	cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
	FlushErrorState();
	if (cancelled)
		write_last_checkpoint(t);
	tr_control_training_end(t->slot);
	if (keep)
		tr_run_set_status(t->run, cancelled ? "cancelled" : "failed", error_text(error));
	tr_run_release(t->run, !keep);
	ReThrowError(error);
}

/* From rows that are read (or are to be) to the version. */
static void
work(Training *t, bool spooled, TrResult *result)
{
	show_begin(t);
	PG_TRY();
	{
		if (!spooled)
			read_rows(t);
		make_trainer(t);
		end_transaction(t);
		train(t);
		begin_transaction(t);
		store(t, result);
		end_transaction(t);
	}
	PG_CATCH();
	{
		abandon(t);
	}
	PG_END_TRY();
	tr_control_training_end(t->slot);
}

void
tr_train(TeArena *arena, const TrRequest *request, TrResult *result)
{
	Training	t;

	init(&t, arena, request);
	resolve(&t);
	t.run = tr_run_create();
	if (!request->background)
	{
		work(&t, false, result);
		return;
	}
	describe(&t, false);
	tr_run_hold(t.run, TR_HOLD_QUEUED);
	memset(result, 0, sizeof(*result));
	result->run = t.run;
}

void
tr_train_queued(TeArena *arena, int64 run)
{
	const TeJson *description = tr_run_description(arena, run);
	Training	t;
	TrResult	result;

	if (description == NULL)
		return;
	tr_background_become(description);
	init(&t, arena, get_request(arena, description));
	t.run = run;
	t.description = description;
	t.worker = true;
	PG_TRY();
	{
		resolve(&t);
	}
	PG_CATCH();
	{
		abandon(&t);
	}
	PG_END_TRY();
	work(&t, false, &result);
}

/* What was settled when the rows were read; rights are those of now. */
static void
resolve_again(Training *t, const TeJson *description)
{
	char	   *digest = get_text(description, "digest");
	char	   *base = get_text(description, "base");
	char		now[2 * TR_DIGEST_LENGTH + 1];
	TrRequest  *request = get_request(t->arena, description);

	request->background = false;
	request->output = get_text(description, "makes");
	request->teacher = get_text(description, "teacher_version");
	if (!te_json_bool(description, "made", false))
		request->model = base;
	if (digest == NULL || base == NULL || request->model == NULL || request->statement == NULL || request->query == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the description of training run " INT64_FORMAT " is damaged", t->run)));
	t->request = request;
	t->started_at = te_json_int(description, "started_at", t->started_at);
	t->owner = tr_run_owner(description);
	if (!OidIsValid(t->owner))
		t->owner = GetUserId();
	resolve_models(t);
	if (strcmp(t->base_name, base) != 0)
		digest = NULL;
	now[hex_encode((const char *) t->base.digest, TR_DIGEST_LENGTH, now)] = '\0';
	if (digest == NULL || strcmp(digest, now) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" is another one than when training run " INT64_FORMAT " began", base, t->run)));
	t->definition = read_definition(t);
	t->objective = te_objective_by_name(te_json_str(description, "objective", ""));
	t->options = te_train_options(t->arena, t->objective);
	set_options(t->options, te_json_get(description, "settled"));
}

void
tr_train_resume(TeArena *arena, int64 run, TrResult *result)
{
	const TeJson *description;
	Training	t;
	Oid			owner;

	if (tr_catalog_find_run(run, &owner))
	{
		tr_check_run_owner(run, owner);
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("training run " INT64_FORMAT " is finished", run)));
	}
	if (!tr_run_lock(run))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("training run " INT64_FORMAT " is not interrupted: it is at work", run)));
	init(&t, arena, NULL);
	t.run = run;
	description = tr_run_description(arena, run);
	tr_check_run_owner(run, description != NULL ? tr_run_owner(description) : InvalidOid);
	if (description == NULL || !te_json_bool(description, "spooled", false))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("training run " INT64_FORMAT " cannot be resumed", run),
						errdetail("It ended before all rows of its query were read."),
						errhint("Begin a new one.")));
	resolve_again(&t, description);
	t.trained = true;
	tr_run_set_status(run, NULL, NULL);
	open_spools(&t);
	work(&t, true, result);
}
