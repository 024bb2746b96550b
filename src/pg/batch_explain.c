/*-------------------------------------------------------------------------
 * batch_explain.c
 *	  What EXPLAIN says about a Batch node.
 *
 * Always the calls that it runs and how large a batch may be; with ANALYZE
 * how many batches ran, how many calls were answered in them, how many of those that were
 * computed ahead were found, and what the engine did for that: texts, tokens and the time of its forward
 * passes.  Equal calls are answered once for all, so there may be fewer texts than calls.
 *
 * In a parallel query the number of batches comes in the node's
 * instrumentation, whose second filter count nothing else uses; of the rest each
 * worker adds what it did to a piece of shared memory when it ends, from where
 * the leader takes it before that goes.  A LIMIT that stops workers in the middle leaves their last
 * batch out.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "utils/ruleutils.h"

/* ---- parallel queries ---- */

Size
tr_batch_shared_size(CustomScanState *css, ParallelContext *context)
{
	return sizeof(TrBatchShared);
}

void
tr_batch_shared_init(CustomScanState *css, ParallelContext *context, void *shared)
{
	TrBatchShared *totals = shared;

	pg_atomic_init_u64(&totals->calls, 0);
	pg_atomic_init_u64(&totals->found, 0);
	pg_atomic_init_u64(&totals->texts, 0);
	pg_atomic_init_u64(&totals->tokens, 0);
	pg_atomic_init_u64(&totals->microseconds, 0);
	((TrBatchState *) css)->shared = totals;
}

/* More workers come, whose work is added to what the first did. */
void
tr_batch_shared_reinit(CustomScanState *css, ParallelContext *context, void *shared)
{
	((TrBatchState *) css)->shared = shared;
}

void
tr_batch_shared_attach(CustomScanState *css, shm_toc *toc, void *shared)
{
	((TrBatchState *) css)->shared = shared;
}

static void
give_totals(TrBatchState *state)
{
	TrBatchShared *shared = state->shared;

	pg_atomic_fetch_add_u64(&shared->calls, state->n_computed);
	pg_atomic_fetch_add_u64(&shared->found, state->n_found);
	pg_atomic_fetch_add_u64(&shared->texts, state->usage.rows);
	pg_atomic_fetch_add_u64(&shared->tokens, state->usage.tokens);
	pg_atomic_fetch_add_u64(&shared->microseconds, (int64) (state->usage.seconds * 1e6));
	state->n_computed = state->n_found = 0;
	memset(&state->usage, 0, sizeof(state->usage));
}

static void
take_totals(TrBatchState *state)
{
	TrBatchShared *shared = state->shared;

	state->n_computed += pg_atomic_exchange_u64(&shared->calls, 0);
	state->n_found += pg_atomic_exchange_u64(&shared->found, 0);
	state->usage.rows += pg_atomic_exchange_u64(&shared->texts, 0);
	state->usage.tokens += pg_atomic_exchange_u64(&shared->tokens, 0);
	state->usage.seconds += pg_atomic_exchange_u64(&shared->microseconds, 0) / 1e6;
	state->shared = NULL;
}

/* The memory goes soon; in a worker it may yet be asked for more rows. */
void
tr_batch_shared_detach(CustomScanState *css)
{
	TrBatchState *state = (TrBatchState *) css;

	if (state->shared == NULL)
		return;
	if (IsParallelWorker())
		give_totals(state);
	else
		take_totals(state);
}

/* ---- EXPLAIN ---- */

static void
explain_calls(TrBatchState *state, List *ancestors, ExplainState *es)
{
	List	   *context = set_deparse_context_plan(es->deparse_cxt, state->css.ss.ps.plan, ancestors);
	bool		prefix = list_length(es->rtable) > 1 || es->verbose;
	List	   *calls = NIL;
	List	   *ahead = NIL;

	for (int i = 0; i < state->n_calls; i++)
	{
		char	   *call = deparse_expression((Node *) state->calls[i].expr, context, prefix, false);

		if (state->calls[i].ahead)
			ahead = lappend(ahead, call);
		else
			calls = lappend(calls, call);
	}
	if (calls != NIL)
		ExplainPropertyList("Batched Calls", calls, es);
	if (ahead != NIL)
		ExplainPropertyList("Computed Ahead", ahead, es);
}

static void
explain_work(TrBatchState *state, ExplainState *es)
{
	double		batches = state->css.ss.ps.instrument->nfiltered2;
	double		milliseconds = state->usage.seconds * 1000;

	if (es->format != EXPLAIN_FORMAT_TEXT)
	{
		ExplainPropertyFloat("Batches", NULL, batches, 0, es);
		ExplainPropertyInteger("Calls", NULL, state->n_computed, es);
		if (state->has_ahead)
			ExplainPropertyInteger("Found", NULL, state->n_found, es);
		ExplainPropertyInteger("Texts", NULL, (int64) state->usage.rows, es);
		ExplainPropertyInteger("Tokens", NULL, (int64) state->usage.tokens, es);
		if (es->timing)
			ExplainPropertyFloat("Forward Time", "ms", milliseconds, 3, es);
		return;
	}
	appendStringInfoSpaces(es->str, es->indent * 2);
	appendStringInfo(es->str, "Batches: %.0f  Calls: " INT64_FORMAT, batches, state->n_computed);
	if (state->has_ahead)
		appendStringInfo(es->str, "  Found: " INT64_FORMAT, state->n_found);
	appendStringInfo(es->str, "  Texts: " UINT64_FORMAT "  Tokens: " UINT64_FORMAT, state->usage.rows, state->usage.tokens);
	if (es->timing)
		appendStringInfo(es->str, "  Forward Time: %.3f ms", milliseconds);
	appendStringInfoChar(es->str, '\n');
}

void
tr_batch_explain(CustomScanState *css, List *ancestors, ExplainState *es)
{
	TrBatchState *state = (TrBatchState *) css;

	explain_calls(state, ancestors, es);
	ExplainPropertyInteger("Batch Size", "rows", tr_batch_most_rows(state), es);
	if (es->analyze && css->ss.ps.instrument != NULL)
		explain_work(state, es);
}
