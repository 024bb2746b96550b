/*-------------------------------------------------------------------------
 * batch_node.c
 *	  The Batch node: reads rows from its child ahead of need, calls each
 *	  batchable function once for all of them, then hands the rows on.
 *
 * A batch goes through stages.  Stage i runs the calls that condition i of the
 * filter needs and drops the rows that do not satisfy it; the last stage runs
 * the calls that only the output needs.  So no function sees a row that an
 * earlier condition rejects, just as in a plan without this node.
 *
 * Batches start small and double, because the node above may want but a few
 * rows (LIMIT, EXISTS, a cursor).  Where the Limit is right above, its bound is
 * known and is never read past.
 *
 * Errors.  A row that is read ahead may be bad (an argument that cannot be
 * computed, a text that is too long, a model that does not exist) and never be
 * wanted.  So a batch runs in a subtransaction; after an error that is
 * taken back, and its rows are run one after the other, each when it is wanted: the
 * error of a bad row is raised, as SQL would raise it, when its turn comes.  A row alone is
 * computed by the plain call.  Not so within a parallel query, where workers
 * read ahead anyhow (and versions before 18 allow no subtransaction), nor for errors
 * within a subplan, whose state cannot be relied on then.
 *
 * Memory.  Rows and results live in batch_context until the next batch is
 * read.  Argument values are copied into it, since the next evaluation of an
 * expression may free its last value (that of a subplan, for one).
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "port/pg_bitutils.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define FIRST_ROWS 8
#define MAX_BYTES ((Size) 16 * 1024 * 1024) /* of rows in a batch */

static void batch_begin(CustomScanState *css, EState *estate, int eflags);
static TupleTableSlot *batch_exec(CustomScanState *css);
static void batch_end(CustomScanState *css);
static void batch_rescan(CustomScanState *css);

static const CustomExecMethods exec_methods = {
	.CustomName = "Batch",
	.BeginCustomScan = batch_begin,
	.ExecCustomScan = batch_exec,
	.EndCustomScan = batch_end,
	.ReScanCustomScan = batch_rescan,
	.EstimateDSMCustomScan = tr_batch_shared_size,
	.InitializeDSMCustomScan = tr_batch_shared_init,
	.ReInitializeDSMCustomScan = tr_batch_shared_reinit,
	.InitializeWorkerCustomScan = tr_batch_shared_attach,
	.ShutdownCustomScan = tr_batch_shared_detach,
	.ExplainCustomScan = tr_batch_explain,
};

static Node *
create_state(CustomScan *plan)
{
	TrBatchState *state = (TrBatchState *) newNode(sizeof(TrBatchState), T_CustomScanState);

	state->css.methods = &exec_methods;
	return (Node *) state;
}

const CustomScanMethods tr_batch_scan_methods = {
	.CustomName = "Batch",
	.CreateCustomScanState = create_state,
};

/* ---- begin ---- */

/* The arguments of a call. */
static List *
arguments_of(Expr *call)
{
	return IsA(call, OpExpr) ? ((OpExpr *) call)->args : castNode(FuncExpr, call)->args;
}

/*
 * A function may have changed since a plan was made that computes it ahead, of
 * which the plan's keeper knows nothing; then there is no `function`, and nothing is done.
 */
static void
begin_call(TrBatchCall *call, Expr *expr, List *guards)
{
	List	   *args = arguments_of(expr);
	ListCell   *lc;
	int			i = 0;

	call->funcid = IsA(expr, OpExpr) ? ((OpExpr *) expr)->opfuncid : ((FuncExpr *) expr)->funcid;
	call->function = tr_batch_function(call->funcid, &call->strict);
	if (call->function == NULL && !call->ahead)
		elog(ERROR, "cache lookup failed for batch function %u", call->funcid);
	call->is_volatile = contain_volatile_functions((Node *) expr);
	if (call->function != NULL && call->function->set && get_expr_result_type((Node *) expr, NULL, &call->desc) != TYPEFUNC_COMPOSITE)
		call->function = NULL;
	call->expr = expr;
	call->guard_exprs = guards;
	call->has_subplan = tr_batch_has_subplan((Node *) args, NULL);
	get_typlenbyval(exprType((Node *) expr), &call->length, &call->by_value);
	call->n_args = list_length(args);
	call->args = palloc(sizeof(ExprState *) * call->n_args);
	call->copy_arg = palloc(sizeof(bool) * call->n_args);
	call->arg_length = palloc(sizeof(int16) * call->n_args);
	call->arg_by_value = palloc(sizeof(bool) * call->n_args);
	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);

		get_typlenbyval(exprType(arg), &call->arg_length[i], &call->arg_by_value[i]);
		call->copy_arg[i] = !call->arg_by_value[i] && !IsA(arg, Var);
		i++;
	}
}

/* The states of a call's expressions.  (The plain call has its right to execute checked here.) */
static void
init_call(TrBatchState *state, TrBatchCall *call)
{
	PlanState  *ps = &state->css.ss.ps;
	MemoryContext old = MemoryContextSwitchTo(ps->state->es_query_cxt);
	List	   *args = arguments_of(call->expr);

	if (!call->ahead)
		call->plain = ExecInitExpr(call->expr, ps);
	call->guards = ExecInitExprList(call->guard_exprs, ps);
	for (int a = 0; a < call->n_args; a++)
		call->args[a] = ExecInitExpr(list_nth(args, a), ps);
	call->ready = true;
	MemoryContextSwitchTo(old);
}

/*
 * Make the states of all expressions; done again after an error, which may have
 * left them in the middle of something.  Those of calls that are computed ahead
 * wait until they are needed: not even an error in them may show.
 */
static void
init_expressions(TrBatchState *state)
{
	PlanState  *ps = &state->css.ss.ps;
	ListCell   *lc;
	int			i = 0;

	for (int c = 0; c < state->n_calls; c++)
	{
		state->calls[c].ready = false;
		if (!state->calls[c].ahead)
			init_call(state, &state->calls[c]);
	}
	foreach(lc, ps->plan->qual)
		state->quals[i++] = ExecInitQual(list_make1(lfirst(lc)), ps);
}

static void
batch_begin(CustomScanState *css, EState *estate, int eflags)
{
	TrBatchState *state = (TrBatchState *) css;
	CustomScan *plan = (CustomScan *) css->ss.ps.plan;
	List	   *calls = linitial(plan->custom_exprs);
	List	   *guards = lsecond(plan->custom_exprs);
	List	   *limit = lthird(plan->custom_exprs);

	outerPlanState(css) = ExecInitNode(outerPlan(plan), estate, eflags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
	state->n_columns = css->ss.ss_ScanTupleSlot->tts_tupleDescriptor->natts;
	state->n_calls = list_length(calls);
	state->n_inputs = state->n_columns - state->n_calls;
	state->calls = palloc0(sizeof(TrBatchCall) * state->n_calls);
	for (int i = 0; i < state->n_calls; i++)
	{
		TrBatchCall *call = &state->calls[i];

		call->ahead = list_nth_int(lthird(plan->custom_private), i) != 0;
		state->has_ahead |= call->ahead;
		begin_call(call, list_nth(calls, i), list_nth(guards, i));
		call->stage = list_nth_int(linitial(plan->custom_private), i);
		call->invariant = list_nth_int(lsecond(plan->custom_private), i) != 0;
		call->column = state->n_inputs + i;
		if (call->function != NULL && call->function->most_rows > 0)
			state->most_rows = state->most_rows > 0 ? Min(state->most_rows, call->function->most_rows) : call->function->most_rows;
	}
	state->n_quals = list_length(plan->scan.plan.qual);
	state->quals = palloc(sizeof(ExprState *) * Max(state->n_quals, 1));
	state->qual_has_subplan = palloc(sizeof(bool) * Max(state->n_quals, 1));
	for (int i = 0; i < state->n_quals; i++)
		state->qual_has_subplan[i] = tr_batch_has_subplan(list_nth(plan->scan.plan.qual, i), NULL);
	init_expressions(state);
	if (limit != NIL)
	{
		state->limit_offset = ExecInitExpr(linitial(limit), &css->ss.ps);
		state->limit_count = ExecInitExpr(lsecond(limit), &css->ss.ps);
	}
	state->batch_context = AllocSetContextCreate(estate->es_query_cxt, "transformer batch of rows", ALLOCSET_DEFAULT_SIZES);
	state->scan_context = AllocSetContextCreate(estate->es_query_cxt, "transformer batch scan", ALLOCSET_SMALL_SIZES);
}

/* ---- reading ---- */

/* How many rows the Limit above can ask for, or -1. */
static int64
limit_bound(TrBatchState *state)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	int64		count;
	int64		offset = 0;
	bool		isnull;
	Datum		value;

	if (state->limit_count == NULL)
		return -1;
	value = ExecEvalExprSwitchContext(state->limit_count, econtext, &isnull);
	if (isnull)
		return -1;				/* LIMIT NULL is no limit */
	count = DatumGetInt64(value);
	if (state->limit_offset != NULL)
	{
		value = ExecEvalExprSwitchContext(state->limit_offset, econtext, &isnull);
		if (!isnull)
			offset = DatumGetInt64(value);
	}
	if (count < 0 || offset < 0 || count > PG_INT64_MAX - offset)
		return -1;				/* the Limit complains, or it is no limit */
	return count + offset;
}

/*
 * Before the first row.  Passes the bound of the Limit on to a Sort below,
 * which ExecSetTupleBound() cannot do through a custom node.
 */
static void
start_scan(TrBatchState *state)
{
	state->started = true;
	state->bound = limit_bound(state);
	if (state->bound >= 0 && state->n_quals == 0)
		ExecSetTupleBound(state->bound, outerPlanState(state));
}

int
tr_batch_most_rows(const TrBatchState *state)
{
	return state->most_rows > 0 ? Min(state->most_rows, tr_batch_size) : tr_batch_size;
}

static int
next_size(TrBatchState *state)
{
	state->size = Min(state->size == 0 ? FIRST_ROWS : state->size * 2, tr_batch ? tr_batch_most_rows(state) : 1);
	if (state->bound >= 0 && state->n_quals == 0)
		return (int) Max(1, Min(state->size, state->bound - state->handed_on));
	return state->size;
}

static void
make_room(TrBatchState *state, int n_rows)
{
	MemoryContext old;

	if (n_rows <= state->capacity)
		return;
	old = MemoryContextSwitchTo(state->css.ss.ps.state->es_query_cxt);
	if (state->rows == NULL)
		state->rows = palloc(sizeof(TrBatchRow) * n_rows);
	else
		state->rows = repalloc(state->rows, sizeof(TrBatchRow) * n_rows);
	for (int i = state->capacity; i < n_rows; i++)
	{
		state->rows[i].values = palloc(sizeof(Datum) * state->n_columns);
		state->rows[i].isnull = palloc(sizeof(bool) * state->n_columns);
		state->rows[i].ahead = state->has_ahead ? palloc(sizeof(TrAheadResult) * state->n_calls) : NULL;
	}
	state->capacity = n_rows;
	MemoryContextSwitchTo(old);
}

static void
clear_results(TrBatchState *state, TrBatchRow *row)
{
	for (int i = state->n_inputs; i < state->n_columns; i++)
	{
		row->values[i] = (Datum) 0;
		row->isnull[i] = true;
	}
	if (state->has_ahead)
		memset(row->ahead, 0, sizeof(TrAheadResult) * state->n_calls);
	row->dropped = false;
}

/* Copy a row of the child, which is valid only until the next is read. */
static void
keep_row(TrBatchState *state, TrBatchRow *row, TupleTableSlot *slot)
{
	TupleDesc	desc = state->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor;

	slot_getallattrs(slot);
	for (int i = 0; i < state->n_inputs; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		row->isnull[i] = slot->tts_isnull[i];
		row->values[i] = slot->tts_values[i];
		if (!row->isnull[i] && !column->attbyval)
			row->values[i] = datumCopy(slot->tts_values[i], false, column->attlen);
	}
	clear_results(state, row);
}

static void
read_rows(TrBatchState *state, int wanted)
{
	PlanState  *child = outerPlanState(state);
	Size		most = Min(MAX_BYTES, tr_session_limit() / 4);

	tr_ahead_end_batch(state);
	state->n_rows = state->n_done = state->next = 0;
	MemoryContextReset(state->batch_context);
	make_room(state, wanted);
	while (state->n_rows < wanted && MemoryContextMemAllocated(state->batch_context, false) <= most)
	{
		TupleTableSlot *slot = ExecProcNode(child);
		MemoryContext old;

		if (TupIsNull(slot))
		{
			state->child_done = true;
			break;
		}
		old = MemoryContextSwitchTo(state->batch_context);
		keep_row(state, &state->rows[state->n_rows++], slot);
		MemoryContextSwitchTo(old);
	}
}

/* ---- computing ---- */

/* Make a row of the batch the one that expressions see. */
static ExprContext *
show_row(TrBatchState *state, TrBatchRow *row)
{
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->values, sizeof(Datum) * state->n_columns);
	memcpy(slot->tts_isnull, row->isnull, sizeof(bool) * state->n_columns);
	ExecStoreVirtualTuple(slot);
	econtext->ecxt_scantuple = slot;
	ResetExprContext(econtext);
	return econtext;
}

/* Does the call happen for the current row? */
static bool
guards_hold(TrBatchCall *call, ExprContext *econtext)
{
	ListCell   *lc;

	foreach(lc, call->guards)
	{
		bool		isnull;
		Datum		value = ExecEvalExprSwitchContext(lfirst(lc), econtext, &isnull);

		if (isnull || !DatumGetBool(value))
			return false;
	}
	return true;
}

/* Into the current memory context; false if a strict function needs no call. */
static bool
eval_arguments(TrBatchCall *call, ExprContext *econtext, NullableDatum *args)
{
	for (int a = 0; a < call->n_args; a++)
	{
		args[a].value = ExecEvalExprSwitchContext(call->args[a], econtext, &args[a].isnull);
		if (args[a].isnull && call->strict)
			return false;
		if (!args[a].isnull && call->copy_arg[a])
			args[a].value = datumCopy(args[a].value, false, call->arg_length[a]);
	}
	return true;
}

/* The plain call for the current row; the result goes into the given context. */
static NullableDatum
call_plain(TrBatchState *state, TrBatchCall *call, ExprContext *econtext, MemoryContext context)
{
	NullableDatum result;

	result.value = ExecEvalExprSwitchContext(call->plain, econtext, &result.isnull);
	state->n_computed++;
	if (!result.isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		result.value = datumCopy(result.value, call->by_value, call->length);
		MemoryContextSwitchTo(old);
	}
	return result;
}

static void
set_result(TrBatchRow *row, TrBatchCall *call, NullableDatum result)
{
	row->values[call->column] = result.value;
	row->isnull[call->column] = result.isnull;
}

static NullableDatum
invariant_result(TrBatchState *state, TrBatchCall *call, ExprContext *econtext)
{
	if (!call->computed)
		call->value = call_plain(state, call, econtext, state->scan_context);
	call->computed = true;
	return call->value;
}

bool
tr_same_calls(const TrBatchCall *call, const NullableDatum *a, const NullableDatum *b)
{
	for (int i = 0; i < call->n_args; i++)
		if (a[i].isnull != b[i].isnull ||
			(!a[i].isnull && !datum_image_eq(a[i].value, b[i].value, call->arg_by_value[i], call->arg_length[i])))
			return false;
	return true;
}

static uint32
hash_call(const TrBatchCall *call, const NullableDatum *args)
{
	uint32		hash = 0;

	for (int i = 0; i < call->n_args; i++)
		hash = hash_combine(hash, args[i].isnull ? 0 : datum_image_hash(args[i].value, call->arg_by_value[i], call->arg_length[i]));
	return hash;
}

/*
 * Leave each of equal calls but once, moved to the front; which[i] is where the result of
 * call i will be.  Calls that draw at random are never equal.
 */
static void
unite_equal(const TrBatchCall *call, TrCalls *calls, int *which)
{
	int			n = calls->n;
	uint32		mask = pg_nextpower2_32(2 * n) - 1;
	int		   *table = palloc0(sizeof(int) * (mask + 1));	/* 1 + number of a call that is left */

	calls->n = 0;
	for (int i = 0; i < n; i++)
	{
		NullableDatum *args = &calls->args[i * call->n_args];
		bool		repeats = !call->is_volatile || tr_batch_repeats(call->function, args);
		uint32		place = hash_call(call, args) & mask;

		while (table[place] != 0 && !(repeats && tr_same_calls(call, &calls->args[(table[place] - 1) * call->n_args], args)))
			place = (place + 1) & mask;
		if (table[place] == 0)
		{
			if (calls->n < i)
				memcpy(&calls->args[calls->n * call->n_args], args, sizeof(NullableDatum) * call->n_args);
			table[place] = ++calls->n;
		}
		which[i] = table[place] - 1;
	}
	pfree(table);
}

/* A place for each result. */
static void
preset_results(const TrBatchCall *call, TrCalls *calls)
{
	calls->results = palloc(sizeof(NullableDatum) * calls->n);
	for (int i = 0; i < calls->n; i++)
		calls->results[i] = call->desc ?
			(NullableDatum) {.value = PointerGetDatum(palloc0(sizeof(TrBatchSet)))} : (NullableDatum) {.isnull = true};
	calls->desc = call->desc;
	calls->type = exprType((Node *) call->expr);
	calls->typmod = call->n_args > 1 ? exprTypmod(list_nth(arguments_of(call->expr), 1)) : -1;
	if (call->ahead)
		calls->digests = palloc0(sizeof(uint8 *) * calls->n);
#ifdef TR_BATCH_STRESS
	calls->collation = exprInputCollation((Node *) call->expr);
#endif
}

/* Run the function for the calls that were gathered, and give each row its result. */
static void
run_gathered(TrBatchState *state, TrBatchCall *call, TrCalls *calls, const int *rows)
{
	int			n = calls->n;
	int		   *which = palloc(sizeof(int) * n);

	unite_equal(call, calls, which);
	preset_results(call, calls);
	tr_batch_run(call->function, calls);
	state->n_computed += n;
	for (int i = 0; i < n; i++)
	{
		TrBatchRow *row = &state->rows[rows[i]];
		int			c = which[i];

		if (call->desc == NULL)
			set_result(row, call, calls->results[c]);
		if (call->ahead)
			tr_ahead_keep(state, call, row, (TrAheadResult) {
				.args = &calls->args[c * call->n_args],.digest = calls->digests[c],.result = calls->results[c]
			});
	}
}

/* Run one call for the rows in [from, to) that are left. */
static void
run_call(TrBatchState *state, TrBatchCall *call, int from, int to)
{
	MemoryContext old = MemoryContextSwitchTo(state->batch_context);
	bool		alone = to - from == 1;
	TrCalls		calls = {.n_args = call->n_args};
	int		   *rows = palloc(sizeof(int) * (to - from));

	if (call->ahead && !call->ready)
		init_call(state, call);
	state->fragile = call->has_subplan;
	if (!alone && !call->invariant)
		calls.args = palloc(sizeof(NullableDatum) * call->n_args * (to - from));
	for (int r = from; r < to; r++)
	{
		TrBatchRow *row = &state->rows[r];
		ExprContext *econtext;

		if (row->dropped)
			continue;
		econtext = show_row(state, row);
		if (!guards_hold(call, econtext))
			continue;
		if (call->invariant)
			set_result(row, call, invariant_result(state, call, econtext));
		else if (alone)
			set_result(row, call, call_plain(state, call, econtext, state->batch_context));
		else if (eval_arguments(call, econtext, &calls.args[calls.n * call->n_args]))
			rows[calls.n++] = r;
	}
	state->fragile = false;
	if (calls.n > 0)
		run_gathered(state, call, &calls, rows);
	MemoryContextSwitchTo(old);
}

static void
apply_qual(TrBatchState *state, int qual, int from, int to)
{
	state->fragile = state->qual_has_subplan[qual];
	for (int r = from; r < to; r++)
	{
		TrBatchRow *row = &state->rows[r];

		if (row->dropped || ExecQual(state->quals[qual], show_row(state, row)))
			continue;
		row->dropped = true;
		InstrCountFiltered1(&state->css.ss.ps, 1);
	}
	state->fragile = false;
}

/* A row alone has its calls made where they are; and not all that could be computed ahead is looked for. */
static bool
is_wanted(TrBatchState *state, TrBatchCall *call, int n_rows)
{
	return !call->ahead || (n_rows > 1 && !state->ahead_off && call->function != NULL);
}

/* All stages for the rows in [from, to). */
static void
run_stages(TrBatchState *state, int from, int to)
{
	TeUsage		before = *tr_usage();
	const TeUsage *after = tr_usage();

	tr_ahead_begin(state);
	for (int stage = 0; stage <= state->n_quals; stage++)
	{
		for (int c = 0; c < state->n_calls; c++)
			if (state->calls[c].stage == stage && is_wanted(state, &state->calls[c], to - from))
				run_call(state, &state->calls[c], from, to);
		if (stage < state->n_quals)
			apply_qual(state, stage, from, to);
	}
	state->n_done = to;
	InstrCountFiltered2(&state->css.ss.ps, 1);
	state->usage.rows += after->rows - before.rows;
	state->usage.tokens += after->tokens - before.tokens;
	state->usage.seconds += after->seconds - before.seconds;
}

/* ---- errors of rows that may not be wanted ---- */

/* What no row is to blame for. */
static bool
is_final(int sqlstate)
{
	return sqlstate == ERRCODE_QUERY_CANCELED || sqlstate == ERRCODE_ASSERT_FAILURE ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_OPERATOR_INTERVENTION ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_SYSTEM_ERROR ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_INTERNAL_ERROR;
}

/* Undo the failed batch: its rows are as they were read. */
static void
forget_results(TrBatchState *state)
{
	MemoryContext old = MemoryContextSwitchTo(state->css.ss.ps.state->es_query_cxt);

	for (int r = 0; r < state->n_rows; r++)
		clear_results(state, &state->rows[r]);
	init_expressions(state);
	state->n_done = 0;
	state->size = 0;
	MemoryContextSwitchTo(old);
}

/* Run the whole batch in a subtransaction, so that an error can be taken back. */
static void
try_stages(TrBatchState *state)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	/* What subordinate expressions keep open belongs to the statement. */
	CurrentResourceOwner = owner;
	PG_TRY();
	{
		run_stages(state, 0, state->n_rows);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
		if (state->fragile || is_final(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
		forget_results(state);
	}
	PG_END_TRY();
}

static void
run_batch(TrBatchState *state)
{
	if (state->n_rows > 1 && (TR_PARALLEL_SUBTRANSACTIONS || !IsInParallelMode()))
		try_stages(state);
	else if (state->n_rows > 0)
		run_stages(state, 0, state->n_rows);
}

/* ---- the node ---- */

static TupleTableSlot *
batch_exec(CustomScanState *css)
{
	TrBatchState *state = (TrBatchState *) css;

	if (!state->started)
		start_scan(state);
	for (;;)
	{
		while (state->next < state->n_rows)
		{
			TrBatchRow *row = &state->rows[state->next];

			if (state->next == state->n_done)
				run_stages(state, state->next, state->next + 1);
			state->next++;
			if (row->dropped)
				continue;
			(void) show_row(state, row);
			state->handed_on++;
			if (css->ss.ps.ps_ProjInfo == NULL)
				return css->ss.ss_ScanTupleSlot;
			return ExecProject(css->ss.ps.ps_ProjInfo);
		}
		if (state->child_done)
			return ExecClearTuple(css->ss.ps.ps_ResultTupleSlot);
		read_rows(state, next_size(state));
		run_batch(state);
	}
}

static void
batch_rescan(CustomScanState *css)
{
	TrBatchState *state = (TrBatchState *) css;

	ExecClearTuple(css->ss.ss_ScanTupleSlot);
	ExecClearTuple(css->ss.ps.ps_ResultTupleSlot);
	tr_ahead_end_batch(state);
	MemoryContextReset(state->batch_context);
	MemoryContextReset(state->scan_context);
	for (int i = 0; i < state->n_calls; i++)
		state->calls[i].computed = false;
	state->n_rows = state->n_done = state->next = 0;
	state->size = 0;
	state->handed_on = 0;
	state->started = false;
	state->child_done = false;
	/* otherwise the child is rescanned when it is first read */
	if (outerPlanState(css)->chgParam == NULL)
		ExecReScan(outerPlanState(css));
}

static void
batch_end(CustomScanState *css)
{
	ExecEndNode(outerPlanState(css));
}
