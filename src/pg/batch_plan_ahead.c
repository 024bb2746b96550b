/*-------------------------------------------------------------------------
 * batch_plan_ahead.c
 *	  Calls that a Batch node computes ahead, and leaves in the plan.
 *
 * The node goes between a reader and its child, passes on what the child
 * delivers, and computes for each row what the reader is about to call for it
 * (batch_ahead.c):
 *
 *		Nested Loop								a function in FROM: its arguments come
 *		  ->  Batch								from the outer row as parameters
 *		        Computed Ahead: classify_scores(t.body)
 *		        ->  Seq Scan on t
 *		  ->  Function Scan on classify_scores
 *
 *		Insert on target						generated columns of the table
 *		  ->  Batch
 *		        Computed Ahead: embed_pinned(s.body, 'm@1')
 *		        ->  Seq Scan on s
 *
 * (Sets in a select list are batch_plan.c's: it has a node there anyway.)
 *
 * Only what is sure to be called for each row that is passed on, or has a
 * condition that can be evaluated beforehand, is looked at: neither what stands
 * behind a join within the inner side of a join, nor in a subplan.  An expression
 * that refers to anything but the reader's row is left alone.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/syscache.h"

/* ---- functions in FROM ---- */

typedef struct JoinSide
{
	NestLoop   *join;
	TrSplit	   *split;
	List	   *guards;			/* over the scan tuple */
	bool		foreign;		/* the expression has something that the outer row has not */
} JoinSide;

/* Put the columns of the outer row for the parameters that carry them. */
static Node *
replace_parameters(Node *node, JoinSide *side)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		int			id = ((Param *) node)->paramid;
		ListCell   *lc;

		foreach(lc, side->join->nestParams)
			if (lfirst_node(NestLoopParam, lc)->paramno == id)
				return copyObject((Node *) lfirst_node(NestLoopParam, lc)->paramval);
		if (!bms_is_member(id, side->join->join.plan.extParam))
			side->foreign = true;
		return node;
	}
	if (IsA(node, Var) || IsA(node, SubPlan) || IsA(node, AlternativeSubPlan))
	{
		side->foreign = true;
		return node;
	}
	return expression_tree_mutator(node, replace_parameters, side);
}

/* The expression over the outer row, NULL if it cannot be had. */
static Node *
over_outer_row(Node *expr, JoinSide *side)
{
	Node	   *result;

	side->foreign = false;
	result = replace_parameters(expr, side);
	return side->foreign ? NULL : result;
}

static void
note_function(Node *expr, JoinSide *side)
{
	List	   *saved = side->split->guards;
	Node	   *over = over_outer_row(expr, side);

	if (over == NULL)
		return;
	side->split->guards = list_copy(side->guards);
	(void) tr_batch_rewrite(over, side->split);
	side->split->guards = saved;
}

/* A condition that is looked at before anything below it runs; false if it cannot be evaluated ahead. */
static bool
add_guard(Node *condition, JoinSide *side)
{
	Node	   *over = over_outer_row((Node *) make_ands_explicit((List *) condition), side);

	if (over == NULL || contain_volatile_functions(over) || tr_batch_has_call(over, NULL))
		return false;
	side->guards = lappend(list_copy(side->guards), tr_batch_rewrite(over, side->split));
	return true;
}

static void
note_inner_functions(Plan *plan, JoinSide *side)
{
	ListCell   *lc;

	if (plan == NULL)
		return;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_FunctionScan:
			foreach(lc, ((FunctionScan *) plan)->functions)
				note_function(lfirst_node(RangeTblFunction, lc)->funcexpr, side);
			break;
		case T_SubqueryScan:
			note_inner_functions(((SubqueryScan *) plan)->subplan, side);
			break;
		case T_Result:
			if (((Result *) plan)->resconstantqual == NULL || add_guard(((Result *) plan)->resconstantqual, side))
				note_inner_functions(plan->lefttree, side);
			break;
		case T_ProjectSet:
			foreach(lc, plan->targetlist)
				note_function((Node *) lfirst_node(TargetEntry, lc)->expr, side);
			note_inner_functions(plan->lefttree, side);
			break;
		case T_CustomScan:
			if (tr_is_batch(plan))
				note_inner_functions(plan->lefttree, side);
			break;
		case T_Limit:
		case T_Sort:
		case T_IncrementalSort:
		case T_Material:
		case T_Memoize:
		case T_Agg:
		case T_Group:
		case T_Unique:
		case T_WindowAgg:
		case T_NestLoop:
			note_inner_functions(plan->lefttree, side);
			break;
		default:
			break;
	}
}

void
tr_batch_ahead_of_join(NestLoop *join)
{
	TrSplit		split;
	JoinSide	side = {.join = join,.split = &split};

	if (join->nestParams == NIL)
		return;
	tr_batch_start_below(&split, join->join.plan.lefttree);
	split.only_ahead = true;
	note_inner_functions(join->join.plan.righttree, &side);
	join->join.plan.lefttree = tr_batch_finish_below(&split, join->join.plan.lefttree, &join->join.plan);
}

/* ---- generated columns ---- */

typedef struct NewRow
{
	List	   *tlist;			/* what the child delivers */
	List	   *columns;		/* of the table, for each of the first of these; NIL: just in order */
	bool		foreign;		/* the expression has a column that is not among them: an UPDATE may leave it as it is */
} NewRow;

/* Where the child delivers a column of the table, or NULL. */
static TargetEntry *
entry_of_column(const NewRow *row, AttrNumber column)
{
	int			place = column;
	TargetEntry *entry;

	if (row->columns != NIL)
	{
		place = 0;
		for (int i = 0; i < list_length(row->columns); i++)
			if (list_nth_int(row->columns, i) == column)
				place = i + 1;
	}
	if (place < 1 || place > list_length(row->tlist))
		return NULL;
	entry = list_nth(row->tlist, place - 1);
	return entry->resjunk ? NULL : entry;
}

static Node *
replace_columns(Node *node, NewRow *row)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		TargetEntry *entry = entry_of_column(row, ((Var *) node)->varattno);

		if (entry != NULL && exprType((Node *) entry->expr) == ((Var *) node)->vartype)
			return (Node *) tr_batch_column(OUTER_VAR, entry->resno, (Node *) entry->expr);
		row->foreign = true;
		return node;
	}
	return expression_tree_mutator(node, replace_columns, row);
}

static bool
is_call(Oid function, void *context)
{
	return true;
}

/* Is there something in it that planning would compute: a call without a column? */
static bool
has_constant_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_call, NULL) && !contain_var_clause(node))
		return true;
	return expression_tree_walker(node, has_constant_call, context);
}

/*
 * What expression_planner() does, except that nothing is computed: that is for the executor, which knows whether it
 * needs the column at all, and may raise the errors of calls that no row ever makes.
 */
static Node *
plan_uncomputed(Node *node, void *context)
{
	if (node == NULL || !has_constant_call(node, NULL))
		return node == NULL ? NULL : eval_const_expressions(NULL, node);
	if (IsA(node, FuncExpr))
	{
		FuncExpr   *call = copyObject((FuncExpr *) node);
		HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(call->funcid));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for function %u", call->funcid);
		call->args = expand_function_arguments(call->args, false, call->funcresulttype, tuple);
		ReleaseSysCache(tuple);
		node = (Node *) call;
	}
	return expression_tree_mutator(node, plan_uncomputed, context);
}

static bool
has_generated(Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	return constraints != NULL && constraints->has_generated_stored;
}

static void
note_generated_columns(Oid relid, NewRow *row, TrSplit *split)
{
	Relation	relation = table_open(relid, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; has_generated(relation) && i < desc->natts; i++)
	{
		Node	   *expr;

		if (TupleDescAttr(desc, i)->attgenerated != ATTRIBUTE_GENERATED_STORED || TupleDescAttr(desc, i)->attisdropped)
			continue;
		row->foreign = false;
		expr = replace_columns(build_column_default(relation, i + 1), row);
		if (row->foreign || !contain_var_clause(expr))
			continue;
		expr = plan_uncomputed(expr, NULL);
		fix_opfuncids(expr);
		(void) tr_batch_rewrite(expr, split);
	}
	table_close(relation, NoLock);
}

/* Not for a row alone, as a Result without a child gives it. */
void
tr_batch_ahead_of_modify(ModifyTable *modify, List *range_table)
{
	Plan	   *child = modify->plan.lefttree;
	TrSplit		split;
	int			i = 0;
	ListCell   *lc;

	if ((modify->operation != CMD_INSERT && modify->operation != CMD_UPDATE) ||
		(IsA(child, Result) && child->lefttree == NULL))
		return;
	tr_batch_start_below(&split, child);
	split.only_ahead = true;
	foreach(lc, modify->resultRelations)
	{
		NewRow		row = {.tlist = child->targetlist};

		if (modify->operation == CMD_UPDATE)
			row.columns = list_nth(modify->updateColnosLists, i++);
		note_generated_columns(rt_fetch(lfirst_int(lc), range_table)->relid, &row, &split);
	}
	modify->plan.lefttree = tr_batch_finish_below(&split, child, &modify->plan);
}

bool
tr_batch_writes_generated(PlannedStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->resultRelations)
	{
		Relation	relation = table_open(rt_fetch(lfirst_int(lc), stmt->rtable)->relid, NoLock);
		bool		found = has_generated(relation);

		table_close(relation, NoLock);
		if (found)
			return true;
	}
	return false;
}
