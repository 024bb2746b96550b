/*-------------------------------------------------------------------------
 * batch_plan_values.c
 *	  Calls in lists of VALUES, as in an INSERT of many rows.
 *
 * Where all rows call the same function in a column, the scan is made to
 * deliver the arguments as further columns, and the call goes to where the
 * column is used, for batch_plan.c to find.  A row with NULL in place of the
 * call gets NULL arguments, since such a call gives NULL (TrBatchFunction).
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"

typedef struct ValuesColumn
{
	Index		varno;
	AttrNumber	column;
	Expr	   *call;			/* over the new columns */
} ValuesColumn;

static Node *
replace_column(Node *node, ValuesColumn *target)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == target->varno && ((Var *) node)->varattno == target->column)
		return copyObject((Node *) target->call);
	return expression_tree_mutator(node, replace_column, target);
}

/* A row as a whole would show the new columns, too. */
static bool
has_whole_row(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varattno == InvalidAttrNumber)
		return true;
	return expression_tree_walker(node, has_whole_row, context);
}

/* The call in a column of VALUES, if all rows have the same function there (or NULL). */
static FuncExpr *
call_of_column(ValuesScan *scan, int column)
{
	FuncExpr   *first = NULL;
	ListCell   *lc;

	foreach(lc, scan->values_lists)
	{
		Node	   *expr = list_nth(lfirst(lc), column);
		Oid			funcid;
		List	   *args;

		if (IsA(expr, Const) && ((Const *) expr)->constisnull)
			continue;
		if (!IsA(expr, FuncExpr) || tr_batch_call(expr, &funcid, &args) == NULL ||
			contain_volatile_functions((Node *) args) || tr_batch_has_subplan((Node *) args, NULL))
			return NULL;
		if (first == NULL)
			first = (FuncExpr *) expr;
		else if (first->funcid != funcid || first->inputcollid != ((FuncExpr *) expr)->inputcollid)
			return NULL;
	}
	return first;
}

/* Make new columns of the call's arguments; gives what they are where there is no call. */
static List *
add_columns(FuncExpr *call, ValuesColumn *target, RangeTblEntry *rte, AttrNumber next)
{
	List	   *nulls = NIL;
	ListCell   *lc;

	rte->eref = copyObject(rte->eref);
	foreach(lc, call->args)
	{
		Node	   *arg = lfirst(lc);

		lfirst(lc) = makeVar(target->varno, next++, exprType(arg), exprTypmod(arg), exprCollation(arg), 0);
		nulls = lappend(nulls, makeNullConst(exprType(arg), exprTypmod(arg), exprCollation(arg)));
		/* EXPLAIN VERBOSE wants a name */
		rte->eref->colnames = lappend(rte->eref->colnames, makeString("argument"));
	}
	target->call = (Expr *) call;
	return nulls;
}

void
tr_batch_values(ValuesScan *scan, List *range_table)
{
	RangeTblEntry *rte = rt_fetch(scan->scan.scanrelid, range_table);
	int			n_columns = list_length(linitial(scan->values_lists));

	if (list_length(scan->values_lists) < 2 || !tr_batch_has_call((Node *) scan->values_lists, NULL) ||
		has_whole_row((Node *) scan->scan.plan.targetlist, NULL) || has_whole_row((Node *) scan->scan.plan.qual, NULL))
		return;
	for (int column = 0; column < n_columns; column++)
	{
		ValuesColumn target = {.varno = scan->scan.scanrelid,.column = column + 1};
		FuncExpr   *call = copyObject(call_of_column(scan, column));
		List	   *nulls;
		ListCell   *lc;

		if (call == NULL)
			continue;
		nulls = add_columns(call, &target, rte, list_length(linitial(scan->values_lists)) + 1);
		foreach(lc, scan->values_lists)
		{
			List	   *row = list_copy(lfirst(lc));
			Node	   *old = list_nth(row, column);

			row = list_concat(row, IsA(old, FuncExpr) ? ((FuncExpr *) old)->args : nulls);
			list_nth_cell(row, column)->ptr_value = makeNullConst(call->funcresulttype, -1, call->funccollid);
			lfirst(lc) = row;
		}
		scan->scan.plan.targetlist = (List *) replace_column((Node *) scan->scan.plan.targetlist, &target);
		scan->scan.plan.qual = (List *) replace_column((Node *) scan->scan.plan.qual, &target);
	}
}
