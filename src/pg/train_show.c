/*-------------------------------------------------------------------------
 * train_show.c
 *	  What is to be seen of training runs: progress, runs that are not finished, logs, charts.
 *
 * Finished runs are rows of _transformer.training_run and training_log.  Those that are not have
 * their directory only, and those at work a slot in the control file, too.  The views join
 * them; functions here give the rows that are not in tables, to the owner of a run and to superusers only.
 *
 * Everything is read while it may be written: a line that is only half there is not shown, and a run that ends
 * in the middle has nothing more to show.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include <math.h>
#include <signal.h>

#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

static const char *const phases[] = {
	[TR_PHASE_QUEUED] = "queued",
	[TR_PHASE_READING] = "reading rows",
	[TR_PHASE_TRAINING] = "training",
	[TR_PHASE_EVALUATING] = "evaluating",
	[TR_PHASE_CHECKPOINT] = "writing checkpoint",
	[TR_PHASE_STORING] = "storing model",
};

/* ---- values of rows ---- */

typedef struct Row
{
	Datum		values[20];
	bool		nulls[20];
	int			n;
} Row;

static void
put(Row *row, Datum value, bool isnull)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = isnull;
}

static void
put_int(Row *row, int64 value)
{
	put(row, Int64GetDatum(value), false);
}

/* A number that is none is NULL. */
static void
put_real(Row *row, double value)
{
	put(row, Float8GetDatum(value), isnan(value));
}

static void
put_str(Row *row, TeStr value)
{
	put(row, value.data != NULL ? PointerGetDatum(tr_text(value)) : (Datum) 0, value.data == NULL);
}

static void
put_row(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

/* ---- runs with a directory ---- */

typedef struct Run
{
	int64		run;
	const TeJson *description;
	Oid			owner;
} Run;

/* Those that the current user may see; false: not this one. */
static bool
look_at(TeArena *arena, int64 run, Run *into)
{
	Oid			owner;

	into->run = run;
	into->description = tr_run_description(arena, run);
	if (into->description == NULL || tr_catalog_find_run(run, &owner))
		return false;
	into->owner = tr_run_owner(into->description);
	return superuser() || (OidIsValid(into->owner) && has_privs_of_role(GetUserId(), into->owner));
}

static bool
is_at_work(int64 run, TrProgress *into)
{
	TrProgress	all[TR_MAX_TRAININGS];
	int			n = tr_control_trainings(all, TR_MAX_TRAININGS);

	for (int i = 0; i < n; i++)
	{
		if (all[i].run == run)
		{
			*into = all[i];
			return true;
		}
	}
	return false;
}

/* How a run is, and what is said of that. */
static TeStr
status_of(TeArena *arena, const Run *run, TeStr *message)
{
	bool		waits = te_json_bool(run->description, "background", false) && !te_json_bool(run->description, "spooled", false);
	TimestampTz began = te_json_int(run->description, "started_at", 0);
	TrProgress	progress;
	TeStr		text;
	const char *line;

	*message = (TeStr) {NULL, 0};
	if (tr_run_is_locked(run->run))
		return waits && !is_at_work(run->run, &progress) ? TE_STR("queued") : TE_STR("running");
	text = tr_run_read(arena, run->run, "status");
	line = text.data != NULL ? memchr(text.data, '\n', text.len) : NULL;
	if (line == NULL)
		return waits && GetCurrentTimestamp() - began < TR_QUEUED_SECONDS * USECS_PER_SEC ? TE_STR("queued") : TE_STR("interrupted");
	*message = te_str(text_to_cstring(cstring_to_text_with_len(line + 1, (int) (text.len - (size_t) (line + 1 - text.data)))));
	return (TeStr) {text.data, (size_t) (line - text.data)};
}

static void
put_options(Row *row, TeArena *arena, const TeJson *description)
{
	const TeJson *options = te_json_get(description, "settled");
	TeStr		text = options != NULL ? te_json_text(arena, options, 0) : TE_STR("{}");

	put(row, DirectFunctionCall1(jsonb_in, CStringGetDatum(tr_cstring(text))), false);
}

static void
put_run(FunctionCallInfo fcinfo, TeArena *arena, const Run *run)
{
	const TeJson *json = run->description;
	TeStr		message;
	TeStr		status = status_of(arena, run, &message);
	size_t		n;
	const TrLogRecord *log = tr_run_log(arena, run->run, &n);
	Row			row = {.n = 0};

	put_int(&row, run->run);
	put(&row, ObjectIdGetDatum(run->owner), false);
	put_str(&row, te_json_str(json, "statement", ""));
	put_str(&row, status);
	put(&row, message.data != NULL ? CStringGetTextDatum(message.data) : (Datum) 0, message.data == NULL);
	put_str(&row, te_json_str(json, "base", NULL));
	put_str(&row, te_json_str(json, "makes", NULL));
	put_str(&row, te_json_str(json, te_json_get(json, "learns") != NULL ? "learns" : "objective", NULL));
	put_options(&row, arena, json);
	put_str(&row, te_json_str(json, "query", NULL));
	put_str(&row, te_json_str(json, "eval_query", NULL));
	put(&row, Int64GetDatum(n > 0 ? log[n - 1].step : 0), false);
	put_real(&row, n > 0 ? log[n - 1].loss : get_float8_nan());
	put(&row, TimestampTzGetDatum(te_json_int(json, "started_at", 0)), false);
	put_row(fcinfo, &row);
}

static void
put_log(FunctionCallInfo fcinfo, TeArena *arena, const Run *run)
{
	size_t		n;
	const TrLogRecord *log = tr_run_log(arena, run->run, &n);

	for (size_t i = 0; i < n; i++)
	{
		Row			row = {.n = 0};

		put_int(&row, run->run);
		put_int(&row, log[i].step);
		put_real(&row, log[i].loss);
		put_real(&row, log[i].n_metrics > 0 ? log[i].metrics[0].value : get_float8_nan());
		put_real(&row, log[i].learning_rate);
		put_int(&row, (int64) log[i].tokens);
		put(&row, TimestampTzGetDatum(log[i].at), false);
		put_row(fcinfo, &row);
	}
}

/* Rows of each run that the current user may see. */
static void
put_unfinished(FunctionCallInfo fcinfo, void (*put) (FunctionCallInfo fcinfo, TeArena *arena, const Run *run))
{
	ListCell   *cell;

	tr_srf_begin(fcinfo);
	foreach(cell, tr_run_list())
	{
		TeArena    *arena = tr_arena(CurrentMemoryContext, "training run", 0);
		Run			run;

		CHECK_FOR_INTERRUPTS();
		if (look_at(arena, *(int64 *) lfirst(cell), &run))
			put(fcinfo, arena, &run);
		te_arena_destroy(arena);
	}
}

PG_FUNCTION_INFO_V1(transformer_unfinished_runs);
Datum
transformer_unfinished_runs(PG_FUNCTION_ARGS)
{
	put_unfinished(fcinfo, put_run);
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(transformer_unfinished_log);
Datum
transformer_unfinished_log(PG_FUNCTION_ARGS)
{
	put_unfinished(fcinfo, put_log);
	PG_RETURN_NULL();
}

/* ---- progress ---- */

static void
put_progress(FunctionCallInfo fcinfo, const Run *run, const TrProgress *progress)
{
	int			phase = progress->phase >= 0 && progress->phase < (int64) lengthof(phases) ? (int) progress->phase : 0;
	bool		began = progress->step > 0;
	Row			row = {.n = 0};

	put_int(&row, run->run);
	put(&row, Int32GetDatum((int32) progress->pid), false);
	put(&row, ObjectIdGetDatum(run->owner), false);
	put_str(&row, te_json_str(run->description, "makes", NULL));
	put(&row, CStringGetTextDatum(phases[phase]), false);
	put_int(&row, progress->rows);
	put(&row, Float8GetDatum(progress->epoch), !began);
	put(&row, Int64GetDatum(progress->step), !began);
	put(&row, Int64GetDatum(progress->n_steps), !began);
	put_real(&row, progress->loss);
	put_real(&row, progress->eval_loss);
	put_real(&row, progress->learning_rate);
	put_real(&row, progress->tokens_per_second);
	put_real(&row, progress->seconds_left);
	put_row(fcinfo, &row);
}

PG_FUNCTION_INFO_V1(transformer_training_progress);
Datum
transformer_training_progress(PG_FUNCTION_ARGS)
{
	TrProgress	all[TR_MAX_TRAININGS];
	int			n;

	tr_srf_begin(fcinfo);
	n = tr_control_trainings(all, TR_MAX_TRAININGS);
	for (int i = 0; i < n; i++)
	{
		TeArena    *arena = tr_arena(CurrentMemoryContext, "training run", 0);
		Run			run;

		if (look_at(arena, all[i].run, &run))
			put_progress(fcinfo, &run, &all[i]);
		te_arena_destroy(arena);
	}
	PG_RETURN_NULL();
}

/* ---- cancelling ---- */

/* Whoever has the lock is at work on it; it may end by itself before the signal comes. */
static void
stop(int64 run)
{
	TrProgress	progress;

	if (!is_at_work(run, &progress))
	{
		if (!tr_run_is_locked(run))
			return;
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("training run " INT64_FORMAT " cannot be cancelled now", run),
						errdetail("It has not begun yet, or waits for its transaction to end.")));
	}
	if (BackendPidGetProc((int) progress.pid) != NULL && kill((pid_t) progress.pid, SIGINT) != 0)
		ereport(WARNING, (errmsg("could not send signal to process %d: %m", (int) progress.pid)));
}

PG_FUNCTION_INFO_V1(transformer_cancel_training);
Datum
transformer_cancel_training(PG_FUNCTION_ARGS)
{
	int64		number;
	TeArena    *arena;
	const TeJson *description;
	Oid			owner;

	tr_require(fcinfo, 0, "run");
	number = PG_GETARG_INT64(0);
	if (tr_catalog_find_run(number, &owner))
	{
		tr_check_run_owner(number, owner);
		PG_RETURN_BOOL(false);
	}
	if (!tr_run_exists(number))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no unfinished training run " INT64_FORMAT, number)));
	arena = tr_arena(CurrentMemoryContext, "training run", 0);
	description = tr_run_description(arena, number);
	tr_check_run_owner(number, description != NULL ? tr_run_owner(description) : InvalidOid);
	te_arena_destroy(arena);
	if (tr_run_is_locked(number) || !tr_run_lock(number))
		stop(number);
	else
		tr_run_release(number, true);
	PG_RETURN_BOOL(true);
}

/* ---- charts ---- */

/* Columns of table training_log. */
enum
{
	LOG_RUN = 1,
	LOG_STEP,
	LOG_LOSS,
	LOG_EVAL_LOSS,
	LOG_LEARNING_RATE,
	LOG_TOKENS,
	LOG_AT,
	N_LOG = LOG_AT
};

/* The points of a chart, as they are found. */
typedef struct Points
{
	TeArena    *arena;
	size_t		n;
	size_t		room;
	double	   *columns[4];		/* step, loss, eval_loss, learning_rate */
} Points;

static void
add_point(Points *points, double step, double loss, double eval_loss, double learning_rate)
{
	const double values[] = {step, loss, eval_loss, learning_rate};

	if (points->n == points->room)
	{
		points->room = Max(256, 2 * points->room);
		for (int i = 0; i < (int) lengthof(values); i++)
		{
			double	   *grown = te_new_array(points->arena, double, points->room);

			if (points->n > 0)
				memcpy(grown, points->columns[i], points->n * sizeof(double));
			points->columns[i] = grown;
		}
	}
	for (int i = 0; i < (int) lengthof(values); i++)
		points->columns[i][points->n] = values[i];
	points->n++;
}

static double
real_or_nan(Datum value, bool isnull)
{
	return isnull ? get_float8_nan() : DatumGetFloat8(value);
}

static void
read_table_log(Points *points, int64 run)
{
	TrScan	   *scan = tr_scan_begin("training_log", N_LOG, 1, Int64GetDatum(run));
	Datum		values[N_LOG + 1];
	bool		nulls[N_LOG + 1];

	while (tr_scan_next(scan, values, nulls))
		add_point(points, (double) DatumGetInt64(values[LOG_STEP]), real_or_nan(values[LOG_LOSS], nulls[LOG_LOSS]),
				  real_or_nan(values[LOG_EVAL_LOSS], nulls[LOG_EVAL_LOSS]),
				  real_or_nan(values[LOG_LEARNING_RATE], nulls[LOG_LEARNING_RATE]));
	tr_scan_end(scan);
}

static void
read_file_log(Points *points, int64 run)
{
	size_t		n;
	const TrLogRecord *log = tr_run_log(points->arena, run, &n);

	for (size_t i = 0; i < n; i++)
		add_point(points, (double) log[i].step, log[i].loss,
				  log[i].n_metrics > 0 ? log[i].metrics[0].value : get_float8_nan(), log[i].learning_rate);
}

/* The log of a run that the current user may see. */
static void
read_points(Points *points, int64 number)
{
	Oid			owner;
	Run			run;

	if (tr_catalog_find_run(number, &owner))
	{
		tr_check_run_owner(number, owner);
		read_table_log(points, number);
		return;
	}
	if (!tr_run_exists(number))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no training run " INT64_FORMAT, number)));
	if (!look_at(points->arena, number, &run))
		tr_check_run_owner(number, InvalidOid);
	read_file_log(points, number);
}

typedef TeStr (*Drawing) (TeArena *arena, const TeChart *chart, int width, int height);

/* Arguments: run, width, height. */
static Datum
draw(FunctionCallInfo fcinfo, Drawing drawing, int least_width, int least_height, int most)
{
	Points		points = {.arena = tr_arena(CurrentMemoryContext, "chart", tr_session_limit())};
	int			width;
	int			height;
	int64		run;
	TeChart		chart = {{NULL, 0}};

	tr_require(fcinfo, 0, "run");
	tr_require(fcinfo, 1, "width");
	tr_require(fcinfo, 2, "height");
	run = PG_GETARG_INT64(0);
	width = PG_GETARG_INT32(1);
	height = PG_GETARG_INT32(2);
	if (width < least_width || width > most || height < least_height || height > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("width must be between %d and %d, and height between %d and %d", least_width, most, least_height, most)));
	read_points(&points, run);
	chart.title = te_str(psprintf("training run " INT64_FORMAT, run));
	chart.n = points.n;
	chart.steps = points.columns[0];
	chart.losses = points.columns[1];
	chart.eval_losses = points.columns[2];
	chart.learning_rates = points.columns[3];
	PG_RETURN_TEXT_P(tr_text(drawing(points.arena, &chart, width, height)));
}

PG_FUNCTION_INFO_V1(transformer_training_chart);
Datum
transformer_training_chart(PG_FUNCTION_ARGS)
{
	return draw(fcinfo, te_chart_text, 20, 5, 1000);
}

PG_FUNCTION_INFO_V1(transformer_training_svg);
Datum
transformer_training_svg(PG_FUNCTION_ARGS)
{
	return draw(fcinfo, te_chart_svg, 200, 100, 10000);
}
