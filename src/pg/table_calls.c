/*-------------------------------------------------------------------------
 * table_calls.c
 *	  CALL embed_table(), classify_table(): compute a column of a table, with a commit per batch.
 *
 * Rows that need it are those whose target is NULL and whose source is not.  The table is walked
 * once, in the order of its blocks, by ranges of ctid: each batch reads the next rows from where
 * the last one ended.  So the whole costs one pass, no cursor is kept over commits, and the walk
 * ends, whatever happens to the rows (it goes to where the table ended at the start).  Rows that
 * it misses, because somebody changed them meanwhile, are left NULL; to run it again continues
 * there.
 *
 * No row is locked while the model computes.  The update of a row asks again for its place, that
 * the target is still NULL and that the text is still the one that was computed on; if not, the
 * row is passed over and counted.  A snapshot is held for the batch, so that long texts stay
 * readable.
 *
 * All SQL runs with the caller's rights, row security and triggers included, with qualified and
 * quoted names.  on_error 'skip' runs a batch in a subtransaction; if it fails for a reason that
 * lies in the data, its halves are tried, down to the single row that is to blame.  Other errors
 * (privileges, resources, cancels) end the call always.
 *
 * In a transaction block or a function, where a procedure must not commit, all is one
 * transaction.
 *
 * To add a procedure: a TableWork, and its entry point.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "parser/parser.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#define NOTICE_INTERVAL 5.0		/* seconds */
#define MAX_BATCH 1000000
#define FIRST_BLOCKS 64			/* of the first range */

typedef struct Batch Batch;

/* What a procedure computes. */
typedef struct TableWork
{
	const char *name;			/* of the procedure, for messages */
	const char *done;			/* what it has done to a row */
	Oid			type;			/* of what it computes */
	TrUse		use;
	/* Gives each row's value to store_value(). */
	void		(*run) (TrModel *model, Batch *batch);
	/* The value as the target column takes it, made of $1; or an error. */
	const char *(*assign) (Oid relid, const char *target);
} TableWork;

/* One call. */
typedef struct Task
{
	const TableWork *work;
	char	   *table;			/* qualified and quoted */
	text	   *model;			/* or NULL */
	int			batch_size;
	bool		skip;			/* on_error */
	bool		atomic;			/* may not commit */
	SPIPlanPtr	read;			/* $1 from, $2 to (ctid), $3 tableoid behind which at $1, $4 rows */
	SPIPlanPtr	write;			/* $1 value, $2 tableoid, $3 ctid, $4 text */
	MemoryContext memory;		/* of the call */
	MemoryContext batch_memory;

	BlockNumber end;			/* of the walk */
	ItemPointerData at;			/* next rows are from here on ... */
	Oid			at_table;		/* ... and at this ctid, of tables behind this one */
	BlockNumber range;			/* blocks to read at once */

	uint64		computed;
	uint64		failed;
	uint64		changed;		/* by others, meanwhile */
	char	   *first_error;
	double		started;
	double		reported;
} Task;

/* Rows of a batch. */
struct Batch
{
	Task	   *task;
	TrTexts		texts;
	Datum	   *tables;
	Datum	   *places;
	uint64		computed;		/* counted into the task once the batch has succeeded */
	uint64		changed;
};

/* ---- set up ---- */

/* How far the walk goes: blocks of the largest of the tables that the name stands for. */
static BlockNumber
count_blocks(Oid relid)
{
	BlockNumber most = 0;
	ListCell   *cell;

	/* that locks the children, not the table itself */
	foreach(cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	relation = table_open(lfirst_oid(cell), AccessShareLock);

		if (relation->rd_rel->relkind == RELKIND_RELATION)
			most = Max(most, RelationGetNumberOfBlocks(relation));
		table_close(relation, NoLock);
	}
	return most;
}

/* Where one may ask for a place; views and foreign tables have none. */
static void
check_table(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(relid))));
}

static SPIPlanPtr
prepare(const char *sql, int n, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, n, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/* Positions of the parser's errors are in the condition, not in the statement that calls us. */
static void
point_into_condition(void *arg)
{
	int			position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(arg);
}

/*
 * One expression and nothing else.  What parses by itself closes each bracket,
 * quote and comment that it opens, and so cannot reach out of the brackets that
 * prepare_plans() puts around it.
 */
static void
check_condition(char *condition)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = point_into_condition,
		.arg = condition,
	};

	if (condition[strspn(condition, " \t\r\n\f\v")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("condition must not be blank"),
				 errhint("Leave it out, or give NULL, for all rows.")));
	error_context_stack = &callback;
	(void) raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
	error_context_stack = callback.previous;
}

/*
 * A line break ends a comment in the condition.  It is the text of the source that
 * must not be null, since a cast may make it so.  The collation makes texts
 * comparable byte by byte where the column's own would not.
 */
static void
prepare_plans(Task *task, const char *source, const char *target, const char *value, const char *condition)
{
	Oid			read_types[] = {TIDOID, TIDOID, OIDOID, INT8OID};
	Oid			write_types[] = {task->work->type, OIDOID, TIDOID, TEXTOID};

	task->read = prepare(psprintf("SELECT tableoid, ctid, %s::pg_catalog.text FROM %s"
								  " WHERE ctid OPERATOR(pg_catalog.>=) $1 AND ctid OPERATOR(pg_catalog.<) $2"
								  " AND (ctid OPERATOR(pg_catalog.>) $1 OR tableoid OPERATOR(pg_catalog.>) $3)"
								  " AND %s IS NULL AND %s::pg_catalog.text IS NOT NULL AND (%s\n)"
								  " ORDER BY ctid, tableoid LIMIT $4",
								  source, task->table, target, source, condition ? condition : "true"),
						 lengthof(read_types), read_types);
	task->write = prepare(psprintf("UPDATE %s SET %s = %s WHERE tableoid OPERATOR(pg_catalog.=) $2"
								   " AND ctid OPERATOR(pg_catalog.=) $3 AND %s IS NULL"
								   " AND %s::pg_catalog.text OPERATOR(pg_catalog.=) $4 COLLATE pg_catalog.\"C\"",
								   task->table, target, value, target, source),
						  lengthof(write_types), write_types);
}

/* Before a statement of ours would fail on it. */
static void
check_target(Oid relid, const char *target, bool fits, const char *what, const char *hint)
{
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" is of type %s, which cannot hold %s",
						target, get_rel_name(relid), format_type_be(get_atttype(relid, get_attnum(relid, target))), what),
				 errhint("%s", hint)));
}

static bool
takes_type(Oid type, Oid from)
{
	return can_coerce_type(1, &from, &type, COERCION_ASSIGNMENT);
}

/* As text a column takes anything. */
static const char *
assign_vector(Oid relid, const char *target)
{
	Oid			type = get_atttype(relid, get_attnum(relid, target));

	check_target(relid, target, takes_type(type, FLOAT4ARRAYOID) && TypeCategory(getBaseType(type)) != TYPCATEGORY_STRING,
				 "vectors", "Use real[], or pgvector's vector.");
	return "$1";
}

/* Text is assigned to no enum. */
static const char *
assign_label(Oid relid, const char *target)
{
	Oid			type = get_atttype(relid, get_attnum(relid, target));
	bool		is_enum = get_typtype(getBaseType(type)) == TYPTYPE_ENUM;

	check_target(relid, target, is_enum || takes_type(type, TEXTOID), "labels", "Use text, varchar or an enum.");
	return is_enum ? psprintf("$1::%s", format_type_be_qualified(type)) : "$1";
}

/* ---- one batch ---- */

static void
store_value(Batch *batch, int i, Datum value)
{
	Datum		values[] = {
		value,
		batch->tables[i],
		batch->places[i],
		batch->texts.values[i],
	};
	MemoryContext context = CurrentMemoryContext;
	int			rc = SPI_execute_plan(batch->task->write, values, NULL, false, 0);

	MemoryContextSwitchTo(context); /* SPI leaves us in its own */
	if (rc != SPI_OK_UPDATE)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	if (SPI_processed == 0)
		batch->changed++;
	else
		batch->computed++;
}

static void
store_vector(void *arg, int i, const float *vector, int n)
{
	store_value(arg, i, PointerGetDatum(tr_real_array(vector, n)));
}

static void
store_label(void *arg, int i, Datum label, bool isnull)
{
	store_value(arg, i, label);
}

static void
embed_rows(TrModel *model, Batch *batch)
{
	TeJobOptions options = {0};

	tr_vectors_each(model, "embed", &options, &batch->texts, store_vector, batch);
}

static void
classify_rows(TrModel *model, Batch *batch)
{
	tr_label_each(model, &tr_classify_labeller, &batch->texts, store_label, batch);
}

static const TableWork embedding = {"embed_table", "embedded", FLOAT4ARRAYOID, TR_USE_EMBED, embed_rows, assign_vector};
static const TableWork classification = {"classify_table", "classified", TEXTOID, TR_USE_CLASSIFY, classify_rows, assign_label};

/* Compute and store rows [from, to) of the batch. */
static void
run_rows(Batch *batch, int from, int to)
{
	Task	   *task = batch->task;
	Batch		part = {
		.task = task,
		.texts = {.values = batch->texts.values + from,.nulls = batch->texts.nulls + from,.n = to - from},
		.tables = batch->tables + from,
		.places = batch->places + from,
	};

	task->work->run(tr_model_open(task->model, task->work->use), &part);
	batch->computed += part.computed;
	batch->changed += part.changed;
}

/* Errors that one row can cause by what is in it: SQLSTATE classes. */
static bool
is_about_data(int sqlstate)
{
	static const char *const classes[] = {
		"22",					/* data exception */
		"23",					/* integrity constraint */
		"44",					/* WITH CHECK OPTION */
		"54",					/* program limit: too long */
		"P0",					/* raised by a trigger */
	};
	const char *state = unpack_sql_state(sqlstate);

	for (int i = 0; i < lengthof(classes); i++)
		if (strncmp(state, classes[i], 2) == 0)
			return true;
	return false;
}

/* Try rows in a subtransaction; false where the data are to blame. */
static bool
try_rows(Batch *batch, int from, int to)
{
	Task	   *task = batch->task;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_rows(batch, from, to);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_about_data(error->sqlerrcode))
			ReThrowError(error);
		if (to - from == 1 && task->first_error == NULL)
			task->first_error = MemoryContextStrdup(task->memory, error->message);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/* Halve until what remains is good or a single bad row. */
static void
skip_bad_rows(Batch *batch, int from, int to)
{
	if (from == to || try_rows(batch, from, to))
		return;
	if (to - from == 1)
	{
		batch->task->failed++;
		return;
	}
	skip_bad_rows(batch, from, from + (to - from) / 2);
	skip_bad_rows(batch, from + (to - from) / 2, to);
}

/* What the last SPI_execute_plan() read, copied out of it. */
static Batch
take_batch(Task *task)
{
	int			n = (int) SPI_processed;
	TupleDesc	desc = SPI_tuptable->tupdesc;
	Batch		batch = {
		.task = task,
		.texts = {.values = palloc(sizeof(Datum) * n),.nulls = palloc0(n),.n = n},
		.tables = palloc(sizeof(Datum) * n),
		.places = palloc(sizeof(Datum) * n),
	};

	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		HeapTuple	tuple = SPI_tuptable->vals[i];

		batch.tables[i] = SPI_getbinval(tuple, desc, 1, &isnull);
		batch.places[i] = datumCopy(SPI_getbinval(tuple, desc, 2, &isnull), false, sizeof(ItemPointerData));
		batch.texts.values[i] = datumCopy(SPI_getbinval(tuple, desc, 3, &isnull), false, -1);
	}
	SPI_freetuptable(SPI_tuptable);
	return batch;
}

/* ---- the walk ---- */

/* The end of the range that begins at task->at. */
static BlockNumber
range_end(const Task *task)
{
	BlockNumber from = ItemPointerGetBlockNumberNoCheck(&task->at);

	return task->end - from > task->range ? from + task->range : task->end;
}

/*
 * Go on behind the last row of a full batch, else behind the range that was
 * read; and fit the next range to how many rows there were.
 */
static void
advance(Task *task, const Batch *batch, BlockNumber end)
{
	int			n = batch->texts.n;

	if (n == task->batch_size)
	{
		task->at = *(ItemPointer) DatumGetPointer(batch->places[n - 1]);
		task->at_table = DatumGetObjectId(batch->tables[n - 1]);
		task->range = Max(task->range / 2, 1);
		return;
	}
	ItemPointerSet(&task->at, end, 0);
	task->at_table = InvalidOid;
	if (n < task->batch_size / 2 && task->range < MaxBlockNumber / 2)
		task->range *= 2;
}

static void
report_progress(Task *task)
{
	double		now = te_host_seconds();

	if (now - task->reported < NOTICE_INTERVAL)
		return;
	task->reported = now;
	ereport(NOTICE,
			(errmsg("%s: %llu rows %s, %.0f%% of the table, %.0f rows a second", task->work->name,
					(unsigned long long) task->computed, task->work->done,
					100.0 * ItemPointerGetBlockNumberNoCheck(&task->at) / Max(task->end, 1),
					task->computed / Max(now - task->started, 0.001))));
}

static void
run_batch(Task *task)
{
	BlockNumber end = range_end(task);
	ItemPointerData to;
	Datum		values[4];
	Batch		batch;
	int			rc;

	ItemPointerSet(&to, end, 0);
	values[0] = PointerGetDatum(&task->at);
	values[1] = PointerGetDatum(&to);
	values[2] = ObjectIdGetDatum(task->at_table);
	values[3] = Int64GetDatum(task->batch_size);
	PushActiveSnapshot(GetTransactionSnapshot());
	rc = SPI_execute_plan(task->read, values, NULL, false, 0);
	MemoryContextSwitchTo(task->batch_memory);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	batch = take_batch(task);
	if (task->skip)
		skip_bad_rows(&batch, 0, batch.texts.n);
	else if (batch.texts.n > 0)
		run_rows(&batch, 0, batch.texts.n);
	task->computed += batch.computed;
	task->changed += batch.changed;
	PopActiveSnapshot();
	advance(task, &batch, end);
}

static void
walk(Task *task)
{
	while (ItemPointerGetBlockNumberNoCheck(&task->at) < task->end)
	{
		uint64		before = task->computed;
		MemoryContext old = MemoryContextSwitchTo(task->batch_memory);

		CHECK_FOR_INTERRUPTS();
		run_batch(task);
		MemoryContextSwitchTo(old);
		MemoryContextReset(task->batch_memory);
		if (!task->atomic && task->computed > before)
		{
			SPI_commit();
			SPI_start_transaction();	/* SPI_commit() did so from version 15 on */
		}
		report_progress(task);
	}
}

static unsigned long
plural_of(uint64 n)
{
	return (unsigned long) Min(n, 1000);
}

static void
report_result(const Task *task)
{
	ereport(NOTICE,
			(errmsg_plural("%s: %llu row %s", "%s: %llu rows %s",
						   plural_of(task->computed), task->work->name, (unsigned long long) task->computed, task->work->done),
			 task->changed == 0 ? 0 :
			 errdetail_plural("%llu row was passed over, since somebody changed it meanwhile or a trigger kept it as it was.",
							  "%llu rows were passed over, since somebody changed them meanwhile or a trigger kept them as they were.",
							  plural_of(task->changed), (unsigned long long) task->changed)));
	if (task->failed > 0)
		ereport(WARNING,
				(errmsg_plural("%s: %llu row could not be %s and was skipped",
							   "%s: %llu rows could not be %s and were skipped",
							   plural_of(task->failed), task->work->name, (unsigned long long) task->failed, task->work->done),
				 errdetail("The first error was: %s", task->first_error)));
}

/* ---- the call ---- */

static bool
skips_errors(FunctionCallInfo fcinfo, int arg)
{
	char	   *word = PG_ARGISNULL(arg) ? "stop" : text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (strcmp(word, "stop") != 0 && strcmp(word, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for on_error: \"%s\"", word),
				 errhint("Use \"stop\" or \"skip\".")));
	return strcmp(word, "skip") == 0;
}

static int
batch_size_argument(FunctionCallInfo fcinfo, int arg)
{
	int			size = PG_ARGISNULL(arg) ? 0 : PG_GETARG_INT32(arg);

	if (size < 1 || size > MAX_BATCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch_size must be between 1 and %d", MAX_BATCH)));
	return size;
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"tbl", "source", "target"};

	for (int i = 0; i < lengthof(names); i++)
		tr_require(fcinfo, i, names[i]);
	check_table(PG_GETARG_OID(0));
	for (int i = 1; i <= 2; i++)
		if (get_attnum(PG_GETARG_OID(0), NameStr(*PG_GETARG_NAME(i))) == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							NameStr(*PG_GETARG_NAME(i)), get_rel_name(PG_GETARG_OID(0)))));
	if (!PG_ARGISNULL(5))
		check_condition(text_to_cstring(PG_GETARG_TEXT_PP(5)));
}

/* May we not commit? */
static bool
called_atomically(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;
}

static void
begin(FunctionCallInfo fcinfo, Task *task)
{
	Oid			relid = PG_GETARG_OID(0);

	task->memory = CurrentMemoryContext;
	task->batch_memory = AllocSetContextCreate(CurrentMemoryContext, "transformer batch", ALLOCSET_DEFAULT_SIZES);
	task->table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
	task->model = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_P_COPY(3);
	task->batch_size = batch_size_argument(fcinfo, 4);
	task->skip = skips_errors(fcinfo, 6);
	task->end = count_blocks(relid);
	task->range = FIRST_BLOCKS;
	ItemPointerSet(&task->at, 0, 0);
	task->started = task->reported = te_host_seconds();
	prepare_plans(task, quote_identifier(NameStr(*PG_GETARG_NAME(1))), quote_identifier(NameStr(*PG_GETARG_NAME(2))),
				  task->work->assign(relid, NameStr(*PG_GETARG_NAME(2))),
				  PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5)));
	/* A model that does not exist is an error with an empty table, too. */
	(void) tr_model_open(task->model, task->work->use);
}

/* They are kept over commits, so an error does not take them. */
static void
free_plans(Task *task)
{
	if (task->read != NULL)
		SPI_freeplan(task->read);
	if (task->write != NULL)
		SPI_freeplan(task->write);
}

static Datum
call(FunctionCallInfo fcinfo, const TableWork *work)
{
	Task		task = {.work = work,.atomic = called_atomically(fcinfo)};

	check_arguments(fcinfo);
	if (SPI_connect_ext(task.atomic ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PG_TRY();
	{
		begin(fcinfo, &task);
		walk(&task);
	}
	PG_FINALLY();
	{
		free_plans(&task);
	}
	PG_END_TRY();
	report_result(&task);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(transformer_embed_table);
Datum
transformer_embed_table(PG_FUNCTION_ARGS)
{
	return call(fcinfo, &embedding);
}

PG_FUNCTION_INFO_V1(transformer_classify_table);
Datum
transformer_classify_table(PG_FUNCTION_ARGS)
{
	return call(fcinfo, &classification);
}
