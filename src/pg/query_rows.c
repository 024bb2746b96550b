/*-------------------------------------------------------------------------
 * query_rows.c
 *	  The rows of a query that is an argument: texts to learn from, rows to evaluate on.
 *
 * The query is one SELECT (or VALUES, TABLE, WITH ... SELECT) that changes
 * and locks nothing.  It is planned and run with the rights, row
 * security and search path of the caller, as if the caller had sent it, and read through
 * a cursor under the snapshot that was active when it was opened: it sees
 * neither what others commit meanwhile nor what the call itself writes.
 *
 * Columns are asked for by name, with the type that they are wanted in, and
 * are cast as an INSERT into a column of that type would; what else the query returns is not
 * looked at.  NULL is an error that names the row, unless the column allows it, and so is a query without rows.
 *
 *		TrQueryColumn columns[] = {{"text", TEXTOID}, {"label", TEXTOID}, {"weight", FLOAT8OID,.optional = true}};
 *		TrQuery *query = tr_query_open(sql, "training query", columns, lengthof(columns));
 *
 *		tr_query_each(query, take_row, &state);		-- or: while (tr_query_next(query)) ... query->values[0]
 *		tr_query_close(query);
 *
 * Rows come in batches of about a megabyte, and values are detoasted one row at a
 * time, so memory is bounded by the longest row.  Nothing has to be undone after an error:
 * the cursor goes with the (sub)transaction, the rest with the memory context that was current.
 * Queries may be open at the same time, and may be closed in any order; between calls nothing of
 * SPI is connected.
 *
 * Errors, the query's own and those of whoever looks at a row in tr_query_each(),
 * have a line of context with the row's number.  Those of parsing point into the query.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_relation.h"
#include "tcop/cmdtag.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/portal.h"

#define BATCH_BYTES (1024 * 1024)
#define FIRST_BATCH 8			/* rows, before it is known how long they are */
#define MAX_BATCH 1000

/* Takes what the cursor gives. */
typedef struct Receiver
{
	DestReceiver dest;
	struct Cursor *cursor;
} Receiver;

/* The inside of a TrQuery. */
typedef struct Cursor
{
	TrQuery		query;			/* what the caller sees */
	int			n_columns;
	const TrQueryColumn *columns;
	MemoryContext memory;		/* all of it */
	MemoryContext batch_memory; /* tuples of a batch */
	ExprContext *econtext;		/* values of a row */
	ExprState **casts;			/* of each column; NULL: it is not there */
	bool	   *detoast;
	TupleTableSlot *slot;
	Portal		portal;
	Receiver	receiver;
	int			batch;			/* rows to fetch next */
	HeapTuple  *tuples;
	int			n_tuples;
	int			next;
	Size		bytes;			/* of the batch */
	bool		done;
} Cursor;

/* ---- is it one SELECT? ---- */

static TE_NORETURN void
refuse(const Cursor *cursor, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be one SELECT that changes and locks nothing", cursor->query.what),
			 errdetail_internal("%s", detail)));
	pg_unreachable();
}

/* FOR UPDATE and its kind, at any depth. */
static bool
locks_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL || query_tree_walker((Query *) node, locks_rows, context, 0);
	return expression_tree_walker(node, locks_rows, context);
}

/* The rows that the query gives; an error where it is not one SELECT. */
static TupleDesc
check_query(const Cursor *cursor, SPIPlanPtr plan)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);
	CachedPlanSource *source;
	Query	   *query;

	if (list_length(sources) != 1)
		refuse(cursor, psprintf(_("It has %d statements."), list_length(sources)));
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || source->resultDesc == NULL)
		refuse(cursor, psprintf(_("It is %s."), query != NULL && query->utilityStmt != NULL ?
								CreateCommandName(query->utilityStmt) : GetCommandTagName(source->commandTag)));
	if (query->hasModifyingCTE)
		refuse(cursor, _("A WITH clause of it changes data."));
	if (locks_rows((Node *) query, NULL))
		refuse(cursor, _("It locks rows."));
	return source->resultDesc;
}

/* ---- columns ---- */

/* "a", "b": what the query has. */
static char *
list_columns(TupleDesc desc)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", NameStr(TupleDescAttr(desc, i)->attname));
	return list.data;
}

/* The only column of strings; 0 where there is none, or more than one. */
static AttrNumber
only_text(TupleDesc desc)
{
	AttrNumber	found = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		if (TypeCategory(getBaseType(TupleDescAttr(desc, i)->atttypid)) != TYPCATEGORY_STRING)
			continue;
		if (found != 0)
			return 0;
		found = (AttrNumber) (i + 1);
	}
	return found;
}

/* 0: an optional column that is not there. */
static AttrNumber
find_column(const Cursor *cursor, TupleDesc desc, const TrQueryColumn *column)
{
	AttrNumber	found = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), column->name) != 0)
			continue;
		if (found != 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("%s has more than one column \"%s\"", cursor->query.what, column->name)));
		found = (AttrNumber) (i + 1);
	}
	if (found == 0 && column->or_only_text)
		found = only_text(desc);
	if (found == 0 && !column->optional)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s has no column \"%s\"", cursor->query.what, column->name),
				 desc->natts > 0 ? errdetail("It has %s.", list_columns(desc)) : 0,
				 errhint("Columns are found by their names: SELECT ... AS %s.", quote_identifier(column->name))));
	return found;
}

/* As INSERT would cast it. */
static ExprState *
make_cast(const Cursor *cursor, EState *estate, Form_pg_attribute from, AttrNumber at, const TrQueryColumn *column)
{
	Var		   *var = makeVar(1, at, from->atttypid, from->atttypmod, from->attcollation, 0);
	Node	   *cast = coerce_to_target_type(NULL, (Node *) var, from->atttypid, column->type, -1,
											 COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);

	if (cast == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the %s is of type %s, which is no %s", NameStr(from->attname),
						cursor->query.what, format_type_be(from->atttypid), format_type_be(column->type))));
	return ExecPrepareExpr((Expr *) cast, estate);
}

static void
find_columns(Cursor *cursor, TupleDesc desc)
{
	EState	   *estate = CreateExecutorState();

	cursor->econtext = CreateExprContext(estate);
	cursor->casts = palloc0(sizeof(ExprState *) * cursor->n_columns);
	cursor->detoast = palloc0(sizeof(bool) * cursor->n_columns);
	cursor->query.values = palloc0(sizeof(Datum) * cursor->n_columns);
	cursor->query.nulls = palloc0(sizeof(bool) * cursor->n_columns);
	cursor->query.found = palloc0(sizeof(bool) * cursor->n_columns);
	for (int i = 0; i < cursor->n_columns; i++)
	{
		const TrQueryColumn *column = &cursor->columns[i];
		AttrNumber	at = find_column(cursor, desc, column);

		cursor->query.nulls[i] = true;
		if (at == 0)
			continue;
		cursor->query.found[i] = true;
		cursor->casts[i] = make_cast(cursor, estate, TupleDescAttr(desc, at - 1), at, column);
		cursor->detoast[i] = get_typlen(column->type) == -1;
	}
	cursor->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	cursor->econtext->ecxt_scantuple = cursor->slot;
}

/* ---- the cursor ---- */

static bool
receive_row(TupleTableSlot *slot, DestReceiver *dest)
{
	Cursor	   *cursor = ((Receiver *) dest)->cursor;
	MemoryContext context = MemoryContextSwitchTo(cursor->batch_memory);
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);

	MemoryContextSwitchTo(context);
	cursor->bytes += HEAPTUPLESIZE + tuple->t_len;
	cursor->tuples[cursor->n_tuples++] = tuple;
	return true;
}

static void
receive_nothing(DestReceiver *dest, int operation, TupleDesc desc)
{
}

static void
receive_end(DestReceiver *dest)
{
}

/* Of whoever looks at a row. */
static void
say_row(void *arg)
{
	const Cursor *cursor = arg;

	errcontext("row " INT64_FORMAT " of the %s", cursor->query.row, cursor->query.what);
}

/* Of the query itself, on its way to a row; a sort, say, has computed others meanwhile. */
static void
say_fetch(void *arg)
{
	const Cursor *cursor = arg;

	errcontext("fetching row " INT64_FORMAT " of the %s", cursor->query.row + cursor->n_tuples + 1, cursor->query.what);
}

/*
 * Connects SPI, for which the caller has to call SPI_finish().  Positions of errors in the query are in its text, which is not the
 * statement that the caller sent.
 */
static SPIPlanPtr
prepare(const Cursor *cursor, const char *sql, TupleDesc *desc)
{
	SPIPlanPtr	plan;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_NO_SCROLL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	*desc = check_query(cursor, plan);
	return plan;
}

static void
open_cursor(Cursor *cursor, const char *sql)
{
	TupleDesc	desc;
	SPIPlanPtr	plan = prepare(cursor, sql, &desc);

	cursor->portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	PinPortal(cursor->portal);
	SPI_finish();
}

TeStr *
tr_query_columns(TeArena *arena, const char *sql, const char *what, int *n)
{
	Cursor		cursor = {.query.what = what};
	TupleDesc	desc;
	TeStr	   *names;

	(void) prepare(&cursor, sql, &desc);
	*n = desc->natts;
	names = te_new_array(arena, TeStr, (size_t) desc->natts);
	for (int i = 0; i < desc->natts; i++)
		names[i] = te_str_copy(arena, tr_utf8(cstring_to_text(NameStr(TupleDescAttr(desc, i)->attname))));
	SPI_finish();
	return names;
}

bool
tr_query_is_temporary(const char *sql, const char *what)
{
	Cursor		cursor = {.query.what = what};
	TupleDesc	desc;
	SPIPlanPtr	plan = prepare(&cursor, sql, &desc);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	bool		temporary;

	temporary = isQueryUsingTempRelation(linitial_node(Query, source->query_list));
	SPI_finish();
	return temporary;
}

TrQuery *
tr_query_open(const char *sql, const char *what, const TrQueryColumn *columns, int n_columns)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "query rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext context = MemoryContextSwitchTo(memory);
	Cursor	   *cursor = palloc0(sizeof(Cursor));

	cursor->query.what = pstrdup(what);
	cursor->memory = memory;
	cursor->batch_memory = AllocSetContextCreate(memory, "rows of a query", ALLOCSET_DEFAULT_SIZES);
	cursor->columns = columns;
	cursor->n_columns = n_columns;
	cursor->batch = FIRST_BATCH;
	cursor->tuples = palloc(sizeof(HeapTuple) * MAX_BATCH);
	cursor->receiver = (Receiver) {
		.dest = {
			.receiveSlot = receive_row,
			.rStartup = receive_nothing,
			.rShutdown = receive_end,
			.rDestroy = receive_end,
			.mydest = DestNone,
		},
		.cursor = cursor,
	};
	open_cursor(cursor, sql);
	find_columns(cursor, CreateTupleDescCopy(cursor->portal->tupDesc));
	MemoryContextSwitchTo(context);
	return &cursor->query;
}

/* Rows that are as long as those of the last batch were make up about a megabyte. */
static void
fetch(Cursor *cursor)
{
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = say_fetch,.arg = cursor};

	ExecClearTuple(cursor->slot);
	if (cursor->n_tuples > 0)
		cursor->batch = (int) Max(1, Min(MAX_BATCH, Min(cursor->batch * 2, BATCH_BYTES / (cursor->bytes / cursor->n_tuples))));
	MemoryContextReset(cursor->batch_memory);
	cursor->n_tuples = cursor->next = 0;
	cursor->bytes = 0;
	error_context_stack = &callback;
	PortalRunFetch(cursor->portal, FETCH_FORWARD, cursor->batch, &cursor->receiver.dest);
	error_context_stack = callback.previous;
	cursor->done = cursor->n_tuples < cursor->batch;
}

/* Cast and detoast the columns of the tuple in the slot; in the memory of the row. */
static void
read_row(Cursor *cursor)
{
	TrQuery    *query = &cursor->query;
	MemoryContext context = MemoryContextSwitchTo(cursor->econtext->ecxt_per_tuple_memory);

	for (int i = 0; i < cursor->n_columns; i++)
	{
		if (cursor->casts[i] == NULL)
			continue;
		query->values[i] = ExecEvalExpr(cursor->casts[i], cursor->econtext, &query->nulls[i]);
		if (query->nulls[i] && !cursor->columns[i].nullable)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"%s\" is null in row " INT64_FORMAT " of the %s", cursor->columns[i].name, query->row,
							query->what)));
		if (!query->nulls[i] && cursor->detoast[i])
			query->values[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(query->values[i]));
	}
	MemoryContextSwitchTo(context);
}

static bool
next_row(Cursor *cursor)
{
	CHECK_FOR_INTERRUPTS();
	ResetExprContext(cursor->econtext);
	if (cursor->next == cursor->n_tuples && !cursor->done)
		fetch(cursor);
	if (cursor->next == cursor->n_tuples)
		return false;
	cursor->query.row++;
	ExecStoreHeapTuple(cursor->tuples[cursor->next++], cursor->slot, false);
	return true;
}

bool
tr_query_next(TrQuery *query)
{
	Cursor	   *cursor = (Cursor *) query;
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = say_row,.arg = cursor};

	if (!next_row(cursor))
	{
		if (query->row == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s returned no rows", query->what)));
		return false;
	}
	error_context_stack = &callback;
	read_row(cursor);
	error_context_stack = callback.previous;
	return true;
}

void
tr_query_each(TrQuery *query, TrQueryRow take, void *arg)
{
	Cursor	   *cursor = (Cursor *) query;

	while (tr_query_next(query))
	{
		ErrorContextCallback callback = {.previous = error_context_stack,.callback = say_row,.arg = cursor};
		MemoryContext context = MemoryContextSwitchTo(cursor->econtext->ecxt_per_tuple_memory);

		error_context_stack = &callback;
		take(arg, query);
		error_context_stack = callback.previous;
		MemoryContextSwitchTo(context);
	}
}

void
tr_query_close(TrQuery *query)
{
	Cursor	   *cursor = (Cursor *) query;

	UnpinPortal(cursor->portal);
	SPI_cursor_close(cursor->portal);
	FreeExecutorState(cursor->econtext->ecxt_estate);
	MemoryContextDelete(cursor->memory);
}
