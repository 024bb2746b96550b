/*-------------------------------------------------------------------------
 * batch_explain.c
 *	  What EXPLAIN says about a Batch node.
 *
 * Always the calls that it runs and how large a batch may be; with ANALYZE
 * how many batches ran, how many calls were answered in them, how many of those that were
 * computed ahead were found, and what the engine did for that: texts, tokens and the time of its forward
 * passes.  Equal calls are answered once for all, so there may be fewer texts than calls.
 *
 * The number of batches of parallel workers comes in the node's
 * instrumentation, whose second filter count nothing else uses; the rest is
 * what this process did.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "utils/ruleutils.h"

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
	ExplainPropertyInteger("Batch Size", "rows", tr_batch_size, es);
	if (es->analyze && css->ss.ps.instrument != NULL)
		explain_work(state, es);
}
