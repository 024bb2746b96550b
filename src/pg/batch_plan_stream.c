/*-------------------------------------------------------------------------
 * batch_plan_stream.c
 *	  Functions in FROM that give their rows as they make them.
 *
 * The executor runs a function in FROM to its end before it hands the first row
 * on, so that a LIMIT above stops nothing.  A set in a select list it asks row by
 * row.  So the scan of a function that streams becomes a select list:
 *
 *		Limit									Limit
 *		  ->  Function Scan on s		  =>	  ->  Subquery Scan on s
 *				Filter: s <> ''						Filter: s <> ''
 *													->  ProjectSet
 *														->  Result
 *
 * The Subquery Scan has the number of the function in the range table, so that whatever refers to its column stays as it
 * is.  Where the scan may run again (below a join, in a sub-select) it would give the same rows again; there a
 * Material above the ProjectSet keeps them.  Where the executor does not tell a Material so (batch_plan.c: `forgotten`), only
 * scans whose arguments change are rewritten.
 *
 * WITH ORDINALITY and ROWS FROM of several functions are left alone.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "access/transam.h"
#include "nodes/makefuncs.h"

static FuncExpr *
only_function(FunctionScan *scan)
{
	Node	   *expr = linitial_node(RangeTblFunction, scan->functions)->funcexpr;

	if (list_length(scan->functions) != 1 || scan->funcordinality || !IsA(expr, FuncExpr))
		return NULL;
	return (FuncExpr *) expr;
}

bool
tr_is_stream(FunctionScan *scan)
{
	FuncExpr   *call = only_function(scan);
	const TrBatchFunction *function;

	if (call == NULL || !call->funcretset || call->funcid < FirstNormalObjectId)
		return false;
	function = tr_model_function(call->funcid);
	return function != NULL && function->streams;
}

Plan *
tr_stream_scan(FunctionScan *scan, bool keeps)
{
	const Plan *like = &scan->scan.plan;
	Result	   *nothing = makeNode(Result);
	ProjectSet *set = makeNode(ProjectSet);
	SubqueryScan *outer = makeNode(SubqueryScan);

	tr_batch_new_node(&nothing->plan, NULL, like);
	tr_batch_new_node(&set->plan, &nothing->plan, like);
	set->plan.targetlist = list_make1(makeTargetEntry((Expr *) only_function(scan), 1, NULL, false));
	tr_batch_new_node(&outer->scan.plan, NULL, like);
	outer->scan.plan.targetlist = like->targetlist;
	outer->scan.plan.qual = like->qual;
	outer->scan.scanrelid = scan->scan.scanrelid;
	outer->subplan = keeps ? tr_batch_add_material(&set->plan) : &set->plan;
	tr_batch_move_initplans(&outer->scan.plan, &scan->scan.plan);
	return &outer->scan.plan;
}
