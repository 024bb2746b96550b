/*-------------------------------------------------------------------------
 * batch_ahead.c
 *	  Where a plain call finds what a Batch node has computed for it.
 *
 * Some calls are not in the hands of the plan node that could gather rows for
 * them: a generated column is computed deep within INSERT and UPDATE, a
 * function in FROM by its own scan, a set in a select list while it is
 * unfolded.  There a Batch node over the rows that lead to the calls computes
 * them ahead, keeps arguments and results of each row, and the calls stay what
 * they are: each looks here first, whether a node has computed just this for
 * the row that it handed on last.
 *
 * So the plan only guesses which calls will come, and a wrong guess costs time,
 * never an answer: function, arguments (to the bit), model, kernels and
 * what is done with long texts all have to agree, or the call computes by itself.  A
 * trigger that changes a row ends in that.  A node whose results nobody wants
 * for a whole batch computes no more of them.
 *
 * Lifetime: a node is listed from its first batch until the memory of its
 * query goes, however that ends; its results are those of its current batch.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"
#include "pg/store.h"

#include "executor/tuptable.h"
#include "funcapi.h"
#include "utils/datum.h"
#include "utils/memutils.h"

/* Nodes that may have results. */
static TrBatchState *listed = NULL;

/* ---- keeping ---- */

static void
remove_from_list(void *arg)
{
	TrBatchState **link = &listed;

	while (*link != arg)
		link = &(*link)->next_listed;
	*link = (*link)->next_listed;
}

static void
add_to_list(TrBatchState *state)
{
	MemoryContext context = state->css.ss.ps.state->es_query_cxt;
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));

	callback->func = remove_from_list;
	callback->arg = state;
	MemoryContextRegisterResetCallback(context, callback);
	state->next_listed = listed;
	listed = state;
	state->ahead_listed = true;
}

void
tr_ahead_begin(TrBatchState *state)
{
	if (!state->has_ahead)
		return;
	if (!state->ahead_listed)
		add_to_list(state);
	state->ahead_isa = te_isa_name();
	state->ahead_truncate = tr_truncate;
	state->batch_ahead = state->batch_found = 0;
}

void
tr_ahead_end_batch(TrBatchState *state)
{
	if (state->batch_ahead > 0 && state->batch_found == 0)
		state->ahead_off = true;
	state->batch_ahead = state->batch_found = 0;
}

void
tr_ahead_keep(TrBatchState *state, TrBatchCall *call, TrBatchRow *row, TrAheadResult result)
{
	/* Without a model it is NULL, which the plain call knows before it looks. */
	if (result.digest == NULL)
		return;
	row->ahead[call - state->calls] = result;
	state->batch_ahead++;
}

/* ---- finding ---- */

/* What a node has for a call in its current row. */
static TrAheadResult *
find_in_node(TrBatchState *state, FunctionCallInfo fcinfo, const uint8 *digest, TrBatchCall **call)
{
	TrBatchRow *row;

	if (state->next == 0 || state->ahead_isa != te_isa_name() || state->ahead_truncate != tr_truncate)
		return NULL;
	row = &state->rows[state->next - 1];
	for (int i = 0; i < state->n_calls; i++)
	{
		TrAheadResult *kept = &row->ahead[i];

		*call = &state->calls[i];
		if (kept->args != NULL && (*call)->funcid == fcinfo->flinfo->fn_oid && (*call)->n_args == fcinfo->nargs &&
			memcmp(kept->digest, digest, TR_DIGEST_LENGTH) == 0 && tr_same_calls(*call, kept->args, fcinfo->args))
			return kept;
	}
	return NULL;
}

static void
return_set(FunctionCallInfo fcinfo, const TrBatchSet *set)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(result->setDesc, &TTSOpsMinimalTuple);

	for (int i = 0; i < set->n; i++)
	{
		ExecStoreMinimalTuple(set->rows[i], slot, false);
		tuplestore_puttupleslot(result->setResult, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

bool
tr_ahead_found(FunctionCallInfo fcinfo, TrModel *model, Datum *result)
{
	for (TrBatchState *state = listed; state != NULL; state = state->next_listed)
	{
		TrBatchCall *call;
		TrAheadResult *found = find_in_node(state, fcinfo, tr_model_digest(model), &call);

		if (found == NULL)
			continue;
		state->batch_found++;
		state->n_found++;
		if (call->function->set)
			return_set(fcinfo, (TrBatchSet *) DatumGetPointer(found->result.value));
		else
			*result = datumCopy(found->result.value, call->by_value, call->length);
		/* what was drawn at random is no answer for another call */
		if (call->is_volatile && !tr_batch_repeats(call->function, fcinfo->args))
			found->args = NULL;
		return true;
	}
	return false;
}

bool
tr_rows_begin(FunctionCallInfo fcinfo, int n_texts, TrUse use, int model_arg, TrModel **model)
{
	Datum		unused;

	tr_srf_begin(fcinfo);
	for (int i = 0; i < n_texts; i++)
		if (PG_ARGISNULL(i))
			return false;
	*model = tr_model_open(tr_text_argument(fcinfo, model_arg), use);
	return !tr_ahead_found(fcinfo, *model, &unused);
}
