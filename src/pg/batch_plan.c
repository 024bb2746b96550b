/*-------------------------------------------------------------------------
 * batch_plan.c
 *	  Puts Batch nodes into finished plans.
 *
 * The planner knows nothing of batches; its result is rewritten.  For each plan
 * node with batchable calls there are two ways:
 *
 * Above: the calls stand in what the node computes for its output, the target
 * list, or in its filter.  The node is left to deliver bare columns (and
 * aggregates), and a Batch node above computes the target list:
 *
 *		Seq Scan on t						Batch
 *		  Output: id, upper(f(body))   =>	  Output: id, upper(f(body))
 *		  Filter: a > 1 AND f(b) = 'x'		  Filter: f(b) = 'x'
 *											  ->  Seq Scan on t
 *													Output: id, body, b
 *													Filter: a > 1
 *
 * The filter is cut at the first condition with a batchable call.  The planner
 * has sorted the conditions by security level, then by cost; that order stays,
 * so a function cannot see rows that a row security policy hides.
 *
 * Below: the calls stand in what the node computes from its input while it
 * reads it, such as an argument of an aggregate.  The Batch node goes between
 * the node and its child, and adds a column for each call.  The keys of a hash
 * join are treated likewise.
 *
 * Ahead: calls that the node cannot be relieved of are computed ahead by a node
 * below, and find their results (batch_plan_ahead.c).
 *
 * Everywhere else (the condition of a nested loop, RETURNING, ON CONFLICT,
 * actions of MERGE, ...) a call stays what it was: one for each row.
 *
 * Volatile.  Functions that draw at random run in batches, too, since nothing but the numbers that they draw depends on
 * when, and how often, they are called; equal calls of theirs stay apart (batch_node.c).  Of all other volatile functions
 * the order and number of calls is kept: none is called for rows that are read ahead.
 *
 * Functions in FROM that stream have their scans replaced on the way (batch_plan_stream.c), whether
 * transformer.batch is on or off.
 *
 * When.  Plans pass the planner hook.  The library may be loaded in the middle
 * of planning, when the hook of that very statement was passed already: the
 * support function of the SQL functions (batch_funcs.c) loads it.  That one
 * plan is rewritten when it is about to run, in a copy, and plans kept in
 * caches are made anew.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "access/parallel.h"
#include "executor/executor.h"
#include "jit/jit.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

static planner_hook_type previous_planner = NULL;
static ExecutorStart_hook_type previous_executor_start = NULL;

/* Is a plan still to come that was begun before there was a planner hook? */
static bool catching_up = true;

/* Of the statement that is being rewritten; rewriting runs no other code of SQL. */
static int	last_plan_node_id;
static List *range_table;
static bool batches_were_added;
static bool streams_were_added;
static int	below_gather;		/* > 0: in what workers run */
static int	rescanned;			/* > 0: in what may run more than once */
static int	forgotten;			/* > 0: there, the executor does not ask for rows to be kept for that */

static Plan *rewrite_plan(Plan *plan);

/* ---- new nodes ---- */

static void
copy_estimates(Plan *to, const Plan *from)
{
	to->startup_cost = from->startup_cost;
	to->total_cost = from->total_cost;
	to->plan_rows = from->plan_rows;
	to->plan_width = from->plan_width;
	to->parallel_safe = from->parallel_safe;
}

/* Parameters whose change makes the plan run anew. */
static void
copy_parameters(Plan *to, const Plan *from)
{
	to->extParam = bms_copy(from->extParam);
	to->allParam = bms_copy(from->allParam);
}

void
tr_batch_new_node(Plan *node, Plan *child, const Plan *like)
{
	copy_estimates(node, like);
	copy_parameters(node, like);
	node->plan_node_id = ++last_plan_node_id;
	node->lefttree = child;
}

/* Sets come after all other calls, which have columns that are referred to. */
static List *
add_sets(TrSplit *split)
{
	List	   *ahead = NIL;

	for (int i = 0; i < list_length(split->calls); i++)
		ahead = lappend_int(ahead, split->only_ahead);
	for (int i = 0; i < list_length(split->sets); i++)
	{
		split->stages = lappend_int(split->stages, 0);
		split->invariants = lappend_int(split->invariants, false);
		ahead = lappend_int(ahead, true);
	}
	split->calls = list_concat(split->calls, split->sets);
	split->call_guards = list_concat(split->call_guards, split->set_guards);
	return ahead;
}

static Plan *
make_batch(TrSplit *split, Plan *child, List *targetlist, List *quals)
{
	CustomScan *batch = makeNode(CustomScan);
	List	   *ahead = add_sets(split);
	ListCell   *lc;

	tr_batch_new_node(&batch->scan.plan, child, child);
	/* for the totals of workers: only then a custom node gets shared memory */
	batch->scan.plan.parallel_aware = below_gather > 0;
	batch->scan.plan.targetlist = targetlist;
	batch->scan.plan.qual = quals;
	/* A node that is not its Append's own child cannot answer that one asynchronously. */
	child->async_capable = false;
	foreach(lc, split->inputs)
	{
		TargetEntry *tle = lfirst(lc);
		Var		   *var = tr_batch_column(OUTER_VAR, tle->resno, (Node *) tle->expr);

		batch->custom_scan_tlist = lappend(batch->custom_scan_tlist,
										   makeTargetEntry((Expr *) var, tle->resno, tle->resname, false));
	}
	foreach(lc, split->calls)
		batch->custom_scan_tlist =
			lappend(batch->custom_scan_tlist,
					makeTargetEntry(copyObject(lfirst(lc)), list_length(batch->custom_scan_tlist) + 1, NULL, false));
	batch->custom_exprs = list_make3(split->calls, split->call_guards, NIL);
	batch->custom_private = list_make3(split->stages, split->invariants, ahead);
	batch->methods = &tr_batch_scan_methods;
	batches_were_added = true;
	return &batch->scan.plan;
}

bool
tr_is_batch(Plan *plan)
{
	return plan != NULL && IsA(plan, CustomScan) && ((CustomScan *) plan)->methods == &tr_batch_scan_methods;
}

/* The target list of a node that passes on what its child delivers. */
static List *
pass_on(Plan *child)
{
	List	   *tlist = NIL;
	ListCell   *lc;

	foreach(lc, child->targetlist)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));

		tle->expr = (Expr *) tr_batch_column(OUTER_VAR, tle->resno, (Node *) tle->expr);
		tlist = lappend(tlist, tle);
	}
	return tlist;
}

/* EXPLAIN looks for the initplans of an expression at its node and above. */
void
tr_batch_move_initplans(Plan *to, Plan *from)
{
	to->initPlan = from->initPlan;
	from->initPlan = NIL;
}

/* A Material above a finished plan, for one who has to go back in it. */
Plan *
tr_batch_add_material(Plan *child)
{
	Material   *material = makeNode(Material);

	tr_batch_new_node(&material->plan, child, child);
	material->plan.targetlist = pass_on(child);
	tr_batch_move_initplans(&material->plan, child);
	return &material->plan;
}

/* ---- above ---- */

/* Does the node compute its target list, rather than pass its input on? */
static bool
computes_output(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_TableFuncScan:
		case T_ValuesScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
		case T_Agg:
		case T_Group:
		case T_WindowAgg:
		case T_Gather:
		case T_GatherMerge:
			return true;
		case T_ForeignScan:
			return ((ForeignScan *) plan)->operation == CMD_SELECT;
		case T_Result:
			return plan->lefttree != NULL;
		default:
			return false;
	}
}

/*
 * Cut a filter before the first condition with a batchable call.  Not where a
 * volatile function follows, which would see rows that are read ahead and
 * perhaps never wanted; nor where the filter is a WindowAgg's, whose run condition
 * stops it.
 */
static void
cut_filter(Plan *plan, List **head, List **tail)
{
	ListCell   *lc;

	*head = *tail = NIL;
	foreach(lc, plan->qual)
		if (*tail != NIL || tr_batch_has_outer_call(lfirst(lc), NULL))
			*tail = lappend(*tail, lfirst(lc));
		else
			*head = lappend(*head, lfirst(lc));
	if (IsA(plan, WindowAgg) || tr_batch_has_volatile((Node *) *tail, NULL))
	{
		*head = plan->qual;
		*tail = NIL;
	}
}

static Plan *
batch_above(Plan *plan)
{
	TrSplit		split = {.above = true};
	List	   *head;
	List	   *tail;
	List	   *new_tail = NIL;
	List	   *new_tlist = NIL;
	ListCell   *lc;
	Plan	   *batch;

	cut_filter(plan, &head, &tail);
	if (tail == NIL && !tr_batch_has_outer_call((Node *) plan->targetlist, NULL))
		return plan;
	if (tr_batch_has_multiexpr((Node *) plan->targetlist, NULL))
		return plan;

	tr_batch_collect_inputs((Node *) plan->targetlist, &split);
	tr_batch_collect_inputs((Node *) tail, &split);
	foreach(lc, tail)
	{
		new_tail = lappend(new_tail, tr_batch_rewrite(lfirst(lc), &split));
		split.stage++;
	}
	foreach(lc, plan->targetlist)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));

		tle->expr = (Expr *) tr_batch_rewrite((Node *) tle->expr, &split);
		new_tlist = lappend(new_tlist, tle);
	}
	if (split.calls == NIL)
		return plan;

	plan->targetlist = split.inputs;
	plan->qual = head;
	batch = make_batch(&split, plan, new_tlist, new_tail);
	tr_batch_move_initplans(batch, plan);
	return batch;
}

/* ---- below ---- */

/* The argument and filter of an aggregate; the argument is computed for rows that pass the filter. */
static Aggref *
rewrite_aggregate(Aggref *old, TrSplit *split)
{
	Aggref	   *agg = copyObject(old);
	List	   *args = NIL;
	BooleanTest *filter = NULL;
	ListCell   *lc;

	if (agg->aggfilter != NULL)
	{
		filter = makeNode(BooleanTest);
		filter->arg = (Expr *) tr_batch_rewrite((Node *) agg->aggfilter, split);
		filter->booltesttype = IS_TRUE;
		filter->location = -1;
		agg->aggfilter = (Expr *) tr_batch_set_varno((Node *) filter->arg, OUTER_VAR);
	}
	foreach(lc, agg->args)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));
		Node	   *arg = (Node *) tle->expr;

		arg = filter ? tr_batch_rewrite_guarded(arg, (Expr *) filter, split) : tr_batch_rewrite(arg, split);
		tle->expr = (Expr *) tr_batch_set_varno(arg, OUTER_VAR);
		args = lappend(args, tle);
	}
	agg->args = args;
	return agg;
}

/* What a node evaluates for each row of its input: arguments of aggregates and window functions. */
static Node *
rewrite_input_expr(Node *node, TrSplit *split)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref))
		return (Node *) rewrite_aggregate((Aggref *) node, split);
	if (IsA(node, WindowFunc))
	{
		WindowFunc *function = copyObject((WindowFunc *) node);

		if (function->aggfilter == NULL)
			function->args = (List *) tr_batch_set_varno(tr_batch_rewrite((Node *) function->args, split), OUTER_VAR);
		return (Node *) function;
	}
	return expression_tree_mutator(node, rewrite_input_expr, split);
}

static bool
has_input_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
		return tr_batch_has_call((Node *) ((Aggref *) node)->args, NULL) ||
			tr_batch_has_call((Node *) ((Aggref *) node)->aggfilter, NULL);
	if (IsA(node, WindowFunc))
		return tr_batch_has_call((Node *) ((WindowFunc *) node)->args, NULL);
	return expression_tree_walker(node, has_input_call, context);
}

/* Prepare to put a Batch node above `child`, below the node that reads it. */
void
tr_batch_start_below(TrSplit *split, Plan *child)
{
	memset(split, 0, sizeof(*split));
	split->inputs = pass_on(child);
}

/* The executor insists on a plain NULL for what an INSERT leaves out. */
static void
keep_constants(List *tlist, List *of_child)
{
	ListCell   *to;
	ListCell   *from;

	forboth(to, tlist, from, of_child)
		if (IsA(lfirst_node(TargetEntry, from)->expr, Const))
			lfirst_node(TargetEntry, to)->expr = lfirst_node(TargetEntry, from)->expr;
}

/*
 * The Batch node: passes the columns of the child on, and adds the results.  Its
 * expressions came from `reader`, and so did the parameters in them.
 */
Plan *
tr_batch_finish_below(TrSplit *split, Plan *child, Plan *reader)
{
	List	   *tlist = NIL;
	ListCell   *lc;
	Plan	   *batch;

	if (split->calls == NIL && split->sets == NIL)
		return child;
	foreach(lc, split->inputs)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));

		tle->expr = (Expr *) tr_batch_column(INDEX_VAR, tle->resno, (Node *) tle->expr);
		tlist = lappend(tlist, tle);
	}
	if (split->only_ahead)
		keep_constants(tlist, child->targetlist);
	foreach(lc, split->only_ahead ? NIL : split->calls)
	{
		AttrNumber	column = list_length(tlist) + 1;

		tlist = lappend(tlist, makeTargetEntry((Expr *) tr_batch_column(INDEX_VAR, column, lfirst(lc)),
											   column, NULL, false));
	}
	batch = make_batch(split, child, tlist, NIL);
	copy_parameters(batch, reader);
	return batch;
}

static void
batch_below(Plan *plan)
{
	TrSplit		split;
	bool		whole = IsA(plan, ProjectSet);
	List	   *tlist;
	List	   *qual = plan->qual;

	if (whole ? !tr_batch_has_call((Node *) plan->targetlist, NULL) :
		!has_input_call((Node *) plan->targetlist, NULL) && !has_input_call((Node *) plan->qual, NULL))
		return;
	if (plan->lefttree == NULL || tr_batch_has_multiexpr((Node *) plan->targetlist, NULL))
		return;

	tr_batch_start_below(&split, plan->lefttree);
	if (whole)
		tlist = (List *) tr_batch_set_varno(tr_batch_rewrite((Node *) plan->targetlist, &split), OUTER_VAR);
	else
	{
		tlist = (List *) rewrite_input_expr((Node *) plan->targetlist, &split);
		qual = (List *) rewrite_input_expr((Node *) plan->qual, &split);
	}
	if (split.calls == NIL && split.sets == NIL)
		return;
	plan->targetlist = tlist;
	plan->qual = qual;
	plan->lefttree = tr_batch_finish_below(&split, plan->lefttree, plan);
}

static void
batch_outer_keys(HashJoin *join)
{
	Plan	   *outer = join->join.plan.lefttree;
	TrSplit		split;

	if (!tr_batch_has_call((Node *) join->hashkeys, NULL))
		return;
	tr_batch_start_below(&split, outer);
	join->hashkeys = (List *) tr_batch_set_varno(tr_batch_rewrite((Node *) join->hashkeys, &split), OUTER_VAR);
	join->join.plan.lefttree = tr_batch_finish_below(&split, outer, &join->join.plan);
	join->hashclauses = copyObject(join->hashclauses);
	for (int i = 0; i < list_length(join->hashkeys); i++)
		linitial(((OpExpr *) list_nth(join->hashclauses, i))->args) = copyObject(list_nth(join->hashkeys, i));
}

static void
batch_inner_keys(HashJoin *join)
{
	Hash	   *hash = castNode(Hash, join->join.plan.righttree);
	Plan	   *inner = hash->plan.lefttree;
	TrSplit		split;

	if (!tr_batch_has_call((Node *) hash->hashkeys, NULL) ||
		list_length(hash->plan.targetlist) != list_length(inner->targetlist))
		return;
	tr_batch_start_below(&split, inner);
	hash->hashkeys = (List *) tr_batch_set_varno(tr_batch_rewrite((Node *) hash->hashkeys, &split), OUTER_VAR);
	hash->plan.lefttree = tr_batch_finish_below(&split, inner, &hash->plan);
	hash->plan.targetlist = pass_on(hash->plan.lefttree);
	join->hashclauses = copyObject(join->hashclauses);
	for (int i = 0; i < list_length(hash->hashkeys); i++)
		lsecond(((OpExpr *) list_nth(join->hashclauses, i))->args) =
			tr_batch_set_varno(list_nth(hash->hashkeys, i), INNER_VAR);
}

/* ---- plans ---- */

static void
rewrite_plan_list(List *plans)
{
	ListCell   *lc;

	foreach(lc, plans)
		lfirst(lc) = rewrite_plan(lfirst(lc));
}

/* Let a Batch right below a Limit know what that will ask for. */
static void
tell_limit(Limit *limit)
{
	if (tr_is_batch(limit->plan.lefttree) && limit->limitOption == LIMIT_OPTION_COUNT)
		lthird(((CustomScan *) limit->plan.lefttree)->custom_exprs) =
			list_make2(copyObject(limit->limitOffset), copyObject(limit->limitCount));
}

/* Children that are not on the left or right. */
static void
rewrite_children(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			rewrite_plan_list(((Append *) plan)->appendplans);
			break;
		case T_MergeAppend:
			rewrite_plan_list(((MergeAppend *) plan)->mergeplans);
			break;
		case T_SubqueryScan:
			((SubqueryScan *) plan)->subplan = rewrite_plan(((SubqueryScan *) plan)->subplan);
			break;
		case T_CustomScan:
			rewrite_plan_list(((CustomScan *) plan)->custom_plans);
			break;
		default:
			break;
	}
}

/* What a node of this kind needs besides having its children rewritten. */
static void
batch_inputs(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_MergeJoin:
			/* the join returns to a mark in its inner input */
			if (tr_is_batch(plan->righttree) && !((MergeJoin *) plan)->skip_mark_restore)
				plan->righttree = tr_batch_add_material(plan->righttree);
			break;
		case T_Limit:
			tell_limit((Limit *) plan);
			break;
		case T_Agg:
		case T_WindowAgg:
		case T_ProjectSet:
			batch_below(plan);
			break;
		case T_NestLoop:
			tr_batch_ahead_of_join((NestLoop *) plan);
			break;
		case T_ModifyTable:
			tr_batch_ahead_of_modify((ModifyTable *) plan, range_table);
			break;
		case T_HashJoin:
			batch_outer_keys((HashJoin *) plan);
			batch_inner_keys((HashJoin *) plan);
			break;
		case T_ValuesScan:
			tr_batch_values((ValuesScan *) plan, range_table);
			break;
		default:
			break;
	}
}

static Plan *
rewrite_plan(Plan *plan)
{
	bool		parameters;

	if (plan == NULL)
		return NULL;
	check_stack_depth();
	/* where a scan may be asked again for the same rows, it has to keep them, as the one that was planned does */
	if (IsA(plan, FunctionScan) && tr_is_stream((FunctionScan *) plan) &&
		(forgotten == 0 || !bms_is_empty(linitial_node(RangeTblFunction, ((FunctionScan *) plan)->functions)->funcparams)))
	{
		plan = tr_stream_scan((FunctionScan *) plan, rescanned > 0);
		streams_were_added = true;
	}
	below_gather += IsA(plan, Gather) || IsA(plan, GatherMerge);
	plan->lefttree = rewrite_plan(plan->lefttree);
	below_gather -= IsA(plan, Gather) || IsA(plan, GatherMerge);
	parameters = IsA(plan, NestLoop) && ((NestLoop *) plan)->nestParams != NIL;
	rescanned++;
	forgotten += parameters;
	plan->righttree = rewrite_plan(plan->righttree);
	forgotten -= parameters;
	rescanned--;
	rewrite_children(plan);
	if (tr_batch)
		batch_inputs(plan);
	if (tr_batch && computes_output(plan))
		plan = batch_above(plan);
	return plan;
}

static List *
further_children(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			return ((Append *) plan)->appendplans;
		case T_MergeAppend:
			return ((MergeAppend *) plan)->mergeplans;
		case T_BitmapAnd:
			return ((BitmapAnd *) plan)->bitmapplans;
		case T_BitmapOr:
			return ((BitmapOr *) plan)->bitmapplans;
		case T_SubqueryScan:
			return list_make1(((SubqueryScan *) plan)->subplan);
		case T_CustomScan:
			return ((CustomScan *) plan)->custom_plans;
		default:
			return NIL;
	}
}

/* The largest plan_node_id in use: each node needs one of its own. */
static int
max_plan_node_id(Plan *plan)
{
	int			max;
	ListCell   *lc;

	if (plan == NULL)
		return 0;
	check_stack_depth();
	max = Max(plan->plan_node_id, Max(max_plan_node_id(plan->lefttree), max_plan_node_id(plan->righttree)));
	foreach(lc, further_children(plan))
		max = Max(max, max_plan_node_id(lfirst(lc)));
	return max;
}

/* ---- statements ---- */

/*
 * A cheap test that spares most statements the search through their plan: the
 * planner notes each function of a plan that is not built in as something that
 * would invalidate it.  Those of generated columns are not part of a plan.
 */
static bool
may_have_calls(PlannedStmt *stmt)
{
	ListCell   *lc;

	if (stmt->commandType == CMD_UTILITY)
		return false;
#ifdef TR_BATCH_STRESS
	return true;
#endif
	foreach(lc, stmt->invalItems)
		if (((PlanInvalItem *) lfirst(lc))->cacheId == PROCOID)
			return true;
	return tr_batch && tr_batch_writes_generated(stmt);
}

/* True if the statement has other nodes now. */
static bool
rewrite_statement(PlannedStmt *stmt)
{
	ListCell   *lc;

	batches_were_added = streams_were_added = false;
	below_gather = rescanned = forgotten = 0;
	range_table = stmt->rtable;
	last_plan_node_id = max_plan_node_id(stmt->planTree);
	foreach(lc, stmt->subplans)
		last_plan_node_id = Max(last_plan_node_id, max_plan_node_id(lfirst(lc)));
	stmt->planTree = rewrite_plan(stmt->planTree);
	rescanned = 1;
	foreach(lc, stmt->subplans)
	{
		forgotten = lfirst(lc) != NULL && !bms_is_empty(((Plan *) lfirst(lc))->extParam);
		lfirst(lc) = rewrite_plan(lfirst(lc));
	}
	/* the plan is dear because of its models, which compiled expressions do not make faster */
	if (batches_were_added)
		stmt->jitFlags = PGJIT_NONE;
	return batches_were_added || streams_were_added;
}

/*
 * A cursor that may go backward gets a Material, as standard_planner() would
 * give it; and so does one that says nothing about it, but could go backward
 * if there were no Batch.
 */
static bool
wants_material(PlannedStmt *stmt, int cursor_options, bool could_go_backward)
{
	bool		is_cursor = (cursor_options & CURSOR_OPT_FAST_PLAN) != 0;

	if (ExecSupportsBackwardScan(stmt->planTree))
		return false;
	return (cursor_options & CURSOR_OPT_SCROLL) != 0 ||
		(is_cursor && (cursor_options & CURSOR_OPT_NO_SCROLL) == 0 && could_go_backward && stmt->rowMarks == NIL);
}

static PlannedStmt *
plan_with_batches(Query *parse, const char *query_string, int cursor_options, ParamListInfo bound_params)
{
	PlannedStmt *stmt;
	bool		could_go_backward;

	if (previous_planner)
		stmt = previous_planner(parse, query_string, cursor_options, bound_params);
	else
		stmt = standard_planner(parse, query_string, cursor_options, bound_params);
	if (!may_have_calls(stmt))
		return stmt;
	could_go_backward = ExecSupportsBackwardScan(stmt->planTree);
	if (rewrite_statement(stmt))
	{
		catching_up = false;
		if (wants_material(stmt, cursor_options, could_go_backward))
			stmt->planTree = tr_batch_add_material(stmt->planTree);
	}
	return stmt;
}

/* The statement whose planning loaded this library. */
static void
start_with_batches(QueryDesc *query, int eflags)
{
	if (catching_up && !IsParallelWorker() && may_have_calls(query->plannedstmt))
	{
		PlannedStmt *stmt = copyObject(query->plannedstmt);

		if (rewrite_statement(stmt))
		{
			catching_up = false;
			ResetPlanCache();
			if (!(eflags & (EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK)) || ExecSupportsBackwardScan(stmt->planTree))
				query->plannedstmt = stmt;
		}
	}
	if (previous_executor_start)
		previous_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

void
tr_batch_plan_init(void)
{
	RegisterCustomScanMethods(&tr_batch_scan_methods);
	previous_planner = planner_hook;
	planner_hook = plan_with_batches;
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_with_batches;
}
