/*-------------------------------------------------------------------------
 * batch_plan_expr.c
 *	  Expressions of a plan node, rewritten over the tuple of a Batch node.
 *
 * Calls of batchable functions become columns of that tuple (add_call), and
 * what only the plan node itself can compute (its columns, aggregates, window
 * functions) become columns that the child delivers.  Calls that return sets stay,
 * and are noted: they are computed ahead.
 *
 * A call in a branch of CASE, COALESCE, AND or OR happens only for some rows.
 * Such a call gets guards, the conditions under which it would be evaluated, so
 * that its arguments and the function see no other rows.  A guard is evaluated
 * apart from the expression that it comes from, so it must have the same value
 * both times: no volatile functions, no subplans, no calls that stay row by
 * row.  Where no guard can be given, the call stays what it was.
 *
 * Never batched: volatile arguments; arguments that make sense only inside of
 * the expression around them (CaseTestExpr); parts that the executor evaluates
 * in ways of its own (row comparison, elements of an array coercion, JSON
 * expressions, tests of subplans that are not hashed).
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

/* ---- what is in an expression ---- */

bool
tr_batch_has_call(Node *node, void *context)
{
	Oid			funcid;
	List	   *args;

	if (node == NULL)
		return false;
	if (tr_batch_call(node, &funcid, &args) != NULL || tr_batch_set_call(node, &funcid, &args) != NULL)
		return true;
	return expression_tree_walker(node, tr_batch_has_call, context);
}

/* What only the node itself can compute, and its output can carry. */
static bool
is_leaf(Node *node)
{
	return IsA(node, Var) || IsA(node, Aggref) || IsA(node, WindowFunc) || IsA(node, GroupingFunc);
}

bool
tr_batch_has_outer_call(Node *node, void *context)
{
	Oid			funcid;
	List	   *args;

	if (node == NULL || is_leaf(node))
		return false;
	if (tr_batch_call(node, &funcid, &args) != NULL)
		return true;
	return expression_tree_walker(node, tr_batch_has_outer_call, context);
}

bool
tr_batch_has_subplan(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan))
		return true;
	return expression_tree_walker(node, tr_batch_has_subplan, context);
}

/* UPDATE ... SET (a, b) = (SELECT ...): columns depend on one another. */
bool
tr_batch_has_multiexpr(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) && ((SubPlan *) node)->subLinkType == MULTIEXPR_SUBLINK)
		return true;
	return expression_tree_walker(node, tr_batch_has_multiexpr, context);
}

static bool
is_foreign_volatile(Oid funcid, void *context)
{
	return func_volatile(funcid) == PROVOLATILE_VOLATILE && tr_batch_function(funcid, NULL) == NULL;
}

bool
tr_batch_has_volatile(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_foreign_volatile, NULL) || IsA(node, NextValueExpr))
		return true;
	return expression_tree_walker(node, tr_batch_has_volatile, context);
}

/*
 * Does an expression refer to a value that an expression around it provides?
 * What stands after WHEN refers to its own CASE, if that has an argument.
 */
static bool
has_placeholder(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue))
		return true;
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg != NULL)
	{
		CaseExpr   *expr = (CaseExpr *) node;
		ListCell   *lc;

		foreach(lc, expr->args)
			if (has_placeholder((Node *) lfirst_node(CaseWhen, lc)->result, context))
				return true;
		return has_placeholder((Node *) expr->arg, context) ||
			has_placeholder((Node *) expr->defresult, context);
	}
	return expression_tree_walker(node, has_placeholder, context);
}

static bool
has_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return true;
	return expression_tree_walker(node, has_column, context);
}

/* ---- columns ---- */

Var *
tr_batch_column(int varno, AttrNumber column, Node *type_of)
{
	return makeVar(varno, column, exprType(type_of), exprTypmod(type_of), exprCollation(type_of), 0);
}

/* Which column of the child has it; below a node, columns keep their places. */
static AttrNumber
input_column(TrSplit *split, Node *leaf)
{
	ListCell   *lc;

	if (!split->above)
		return castNode(Var, leaf)->varattno;
	foreach(lc, split->inputs)
	{
		TargetEntry *tle = lfirst(lc);

		if (equal(tle->expr, leaf))
			return tle->resno;
	}
	return InvalidAttrNumber;
}

bool
tr_batch_collect_inputs(Node *node, TrSplit *split)
{
	if (node == NULL)
		return false;
	if (is_leaf(node))
	{
		if (input_column(split, node) == InvalidAttrNumber)
			split->inputs = lappend(split->inputs,
									makeTargetEntry((Expr *) copyObject(node),
													list_length(split->inputs) + 1, NULL, false));
		return false;
	}
	return expression_tree_walker(node, tr_batch_collect_inputs, split);
}

static Node *
set_varno_mutator(Node *node, int *varno)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		var->varno = *varno;
		return (Node *) var;
	}
	return expression_tree_mutator(node, set_varno_mutator, varno);
}

Node *
tr_batch_set_varno(Node *node, int varno)
{
	return set_varno_mutator(node, &varno);
}

/* The column that has the result of a call, which is added unless it is there. */
static Node *
add_call(Expr *call, Oid funcid, TrSplit *split)
{
	bool		is_volatile = func_volatile(funcid) == PROVOLATILE_VOLATILE;
	int			n_inputs = list_length(split->inputs);

	if (!is_volatile)
		for (int i = 0; i < list_length(split->calls); i++)
			if (equal(list_nth(split->calls, i), call) &&
				(list_nth(split->call_guards, i) == NIL ||
				 equal(list_nth(split->call_guards, i), split->guards)))
				return (Node *) tr_batch_column(INDEX_VAR, n_inputs + i + 1, (Node *) call);

	split->calls = lappend(split->calls, call);
	split->call_guards = lappend(split->call_guards, copyObject(split->guards));
	split->stages = lappend_int(split->stages, split->stage);
	split->invariants = lappend_int(split->invariants, !is_volatile && !has_column((Node *) call, NULL));
	return (Node *) tr_batch_column(INDEX_VAR, n_inputs + list_length(split->calls), (Node *) call);
}

/*
 * Have a call that returns a set computed ahead; it stays what it is.  Without
 * a column in it, it is none that comes for each row.
 */
static void
add_set(Expr *call, TrSplit *split)
{
	if (!has_column((Node *) call, NULL))
		return;
	for (int i = 0; i < list_length(split->sets); i++)
		if (equal(list_nth(split->sets, i), call) && equal(list_nth(split->set_guards, i), split->guards))
			return;
	split->sets = lappend(split->sets, copyObject(call));
	split->set_guards = lappend(split->set_guards, copyObject(split->guards));
}

/* ---- conditional evaluation ---- */

/* Rewrite an expression, leaving its calls what they are. */
static Node *
rewrite_unbatched(Node *node, TrSplit *split)
{
	Node	   *result;

	split->unbatched++;
	result = tr_batch_rewrite(node, split);
	split->unbatched--;
	return result;
}

/* Rewrite an expression that is evaluated only if the guard, rewritten already, is true. */
Node *
tr_batch_rewrite_guarded(Node *node, Expr *guard, TrSplit *split)
{
	List	   *saved = split->guards;
	Node	   *result;

	if (contain_volatile_functions((Node *) guard) || tr_batch_has_subplan((Node *) guard, NULL) ||
		has_placeholder((Node *) guard, NULL) || tr_batch_has_outer_call((Node *) guard, NULL))
		return rewrite_unbatched(node, split);
	split->guards = lappend(list_copy(saved), guard);
	result = tr_batch_rewrite(node, split);
	split->guards = saved;
	return result;
}

static CaseWhen *
guard_when(CaseWhen *of, bool value)
{
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = copyObject(of->expr);
	when->result = (Expr *) makeBoolConst(value, false);
	when->location = -1;
	return when;
}

/*
 * The guard of a branch of CASE: the same CASE with boolean results.  taken is
 * the WHEN whose result the branch is, NULL for a branch that is reached if all
 * of `before` are false.
 */
static Expr *
case_guard(CaseExpr *of, List *before, CaseWhen *taken)
{
	CaseExpr   *guard = makeNode(CaseExpr);
	ListCell   *lc;

	guard->casetype = BOOLOID;
	guard->arg = copyObject(of->arg);
	guard->location = -1;
	foreach(lc, before)
		guard->args = lappend(guard->args, guard_when(lfirst(lc), false));
	if (taken != NULL)
		guard->args = lappend(guard->args, guard_when(taken, true));
	guard->defresult = (Expr *) makeBoolConst(taken == NULL, false);
	return (Expr *) guard;
}

static Node *
rewrite_case(CaseExpr *old, TrSplit *split)
{
	CaseExpr   *new = makeNode(CaseExpr);
	ListCell   *lc;

	*new = *old;
	new->arg = (Expr *) tr_batch_rewrite((Node *) old->arg, split);
	new->args = NIL;
	foreach(lc, old->args)
	{
		CaseWhen   *when = makeNode(CaseWhen);

		*when = *lfirst_node(CaseWhen, lc);
		if (new->args == NIL)
			when->expr = (Expr *) tr_batch_rewrite((Node *) when->expr, split);
		else
			when->expr = (Expr *) tr_batch_rewrite_guarded((Node *) when->expr,
														   case_guard(new, new->args, NULL), split);
		when->result = (Expr *) tr_batch_rewrite_guarded((Node *) when->result,
														 case_guard(new, new->args, when), split);
		new->args = lappend(new->args, when);
	}
	new->defresult = (Expr *) tr_batch_rewrite_guarded((Node *) old->defresult,
													   case_guard(new, new->args, NULL), split);
	return (Node *) new;
}

static Expr *
null_test(Expr *arg, NullTestType type)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = arg;
	test->nulltesttype = type;
	test->argisrow = false;
	test->location = -1;
	return (Expr *) test;
}

/* Argument i of COALESCE is evaluated if all before it are null. */
static Node *
rewrite_coalesce(CoalesceExpr *old, TrSplit *split)
{
	CoalesceExpr *new = makeNode(CoalesceExpr);
	ListCell   *lc;

	*new = *old;
	new->args = NIL;
	foreach(lc, old->args)
	{
		Node	   *arg;

		if (new->args == NIL)
			arg = tr_batch_rewrite(lfirst(lc), split);
		else
		{
			CoalesceExpr *before = makeNode(CoalesceExpr);

			*before = *new;
			before->args = copyObject(new->args);
			arg = tr_batch_rewrite_guarded(lfirst(lc), null_test((Expr *) before, IS_NULL), split);
		}
		new->args = lappend(new->args, arg);
	}
	return (Node *) new;
}

/* Argument i of AND (OR) is evaluated unless one before it is false (true). */
static Node *
rewrite_and_or(BoolExpr *old, TrSplit *split)
{
	List	   *args = NIL;
	ListCell   *lc;

	foreach(lc, old->args)
	{
		Node	   *arg;

		if (args == NIL)
			arg = tr_batch_rewrite(lfirst(lc), split);
		else
		{
			BooleanTest *guard = makeNode(BooleanTest);

			guard->arg = list_length(args) == 1 ? copyObject(linitial(args)) :
				makeBoolExpr(old->boolop, copyObject(args), -1);
			guard->booltesttype = old->boolop == AND_EXPR ? IS_NOT_FALSE : IS_NOT_TRUE;
			guard->location = -1;
			arg = tr_batch_rewrite_guarded(lfirst(lc), (Expr *) guard, split);
		}
		args = lappend(args, arg);
	}
	return (Node *) makeBoolExpr(old->boolop, args, old->location);
}

/* Subscripts are evaluated if what they are applied to is not null; those of an assignment stay as they are. */
static Node *
rewrite_subscripts(SubscriptingRef *old, TrSplit *split)
{
	SubscriptingRef *new = makeNode(SubscriptingRef);
	Expr	   *guard;

	if (old->refassgnexpr != NULL)
	{
		Node	   *result;

		split->unbatched++;
		result = expression_tree_mutator((Node *) old, tr_batch_rewrite, split);
		split->unbatched--;
		return result;
	}
	*new = *old;
	new->refexpr = (Expr *) tr_batch_rewrite((Node *) old->refexpr, split);
	guard = null_test(copyObject(new->refexpr), IS_NOT_NULL);
	new->refupperindexpr = (List *) tr_batch_rewrite_guarded((Node *) old->refupperindexpr, guard, split);
	new->reflowerindexpr = (List *) tr_batch_rewrite_guarded((Node *) old->reflowerindexpr, guard, split);
	return (Node *) new;
}

/*
 * The test of a hashed subplan is an operator, or an AND of operators, between
 * an expression of this node and a column of the subplan.  The executor takes
 * it apart, so only the expressions of this node may change.  Any other test is
 * evaluated for each row of the subplan: it stays unbatched.
 */
static Node *
rewrite_subplan(SubPlan *old, TrSplit *split)
{
	SubPlan    *new;
	List	   *tests;
	ListCell   *lc;

	if (!old->useHashTable)
	{
		split->unbatched++;
		new = (SubPlan *) expression_tree_mutator((Node *) old, tr_batch_rewrite, split);
		split->unbatched--;
		return (Node *) new;
	}
	new = copyObject(old);
	new->args = (List *) tr_batch_rewrite((Node *) old->args, split);
	tests = IsA(new->testexpr, OpExpr) ? list_make1(new->testexpr) :
		castNode(BoolExpr, new->testexpr)->args;
	foreach(lc, tests)
	{
		OpExpr	   *test = lfirst_node(OpExpr, lc);

		linitial(test->args) = tr_batch_rewrite(linitial(test->args), split);
	}
	return (Node *) new;
}

/* ---- any expression ---- */

static Node *
rewrite_leaf(Node *node, TrSplit *split)
{
	AttrNumber	column = input_column(split, node);

	if (column == InvalidAttrNumber)
		elog(ERROR, "could not find an expression in the input of a Batch node");
	return (Node *) tr_batch_column(INDEX_VAR, column, node);
}

static Node *
rewrite_call(Node *node, TrSplit *split)
{
	Expr	   *call = (Expr *) expression_tree_mutator(node, tr_batch_rewrite, split);
	Oid			funcid;
	List	   *args;

	if (tr_batch_call((Node *) call, &funcid, &args) == NULL)
		(void) tr_batch_set_call((Node *) call, &funcid, &args);
	if (split->unbatched > 0 || contain_volatile_functions((Node *) args) || has_placeholder((Node *) args, NULL))
		return (Node *) call;
	if (IsA(call, FuncExpr) && ((FuncExpr *) call)->funcretset)
	{
		add_set(call, split);
		return (Node *) call;
	}
	/* a constant is not worth being computed ahead of anyone */
	if (split->only_ahead && !has_column((Node *) call, NULL))
		return (Node *) call;
	return add_call(call, funcid, split);
}

Node *
tr_batch_rewrite(Node *node, TrSplit *split)
{
	Oid			funcid;
	List	   *args;

	if (node == NULL)
		return NULL;
	if (is_leaf(node))
		return rewrite_leaf(node, split);
	if (tr_batch_call(node, &funcid, &args) != NULL || tr_batch_set_call(node, &funcid, &args) != NULL)
		return rewrite_call(node, split);
	switch (nodeTag(node))
	{
		case T_CaseExpr:
			return rewrite_case((CaseExpr *) node, split);
		case T_CoalesceExpr:
			return rewrite_coalesce((CoalesceExpr *) node, split);
		case T_BoolExpr:
			if (((BoolExpr *) node)->boolop != NOT_EXPR)
				return rewrite_and_or((BoolExpr *) node, split);
			break;
		case T_SubscriptingRef:
			return rewrite_subscripts((SubscriptingRef *) node, split);
		case T_SubPlan:
			return rewrite_subplan((SubPlan *) node, split);
		case T_AlternativeSubPlan:
		case T_RowCompareExpr:
		case T_ArrayCoerceExpr:
			if (split->unbatched == 0)
				return rewrite_unbatched(node, split);
			break;
		default:
			if (tr_is_json_expr(node) && split->unbatched == 0)
				return rewrite_unbatched(node, split);
			break;
	}
	return expression_tree_mutator(node, tr_batch_rewrite, split);
}
