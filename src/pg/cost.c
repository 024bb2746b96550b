/*-------------------------------------------------------------------------
 * cost.c
 *	  What the planner is told of calls: costs, rows, parallel scans.
 *
 * A call costs what its model computes: two floating-point operations a
 * parameter and token.  The model is that of the argument or of the setting, as
 * the active snapshot has it; its parameters are a column of the catalog, so that
 * nothing is loaded for the sake of a plan.  Embeddings of tokens are counted
 * though they are only looked up, weights that layers share are counted once: a
 * cost is right within a factor of some.  Tokens are estimated by the bytes of
 * the constants and columns in the argument, a column's by its statistics (which
 * count a value that is stored out of line as small).  Where the model is not
 * known, is missing or is not the user's to use, the cost is the function's COST;
 * nothing here raises an error, that is the call's business.
 *
 * The unit.  The planner's costs are ratios: one page read in sequence is 1, an
 * operator cpu_operator_cost, 0.0025.  A page takes some ten microseconds, so an
 * operator stands for 25 nanoseconds, in which one thread of the kernels does
 * 10,000 floating-point operations (0.4 Tflop/s: 8-bit weights on a processor of
 * today; f32 is three times slower).  A call with 12 tokens of a model of 22
 * million parameters thus costs some 130, of which nine tenths are the products.
 *
 * A text that is generated costs its prompt and as many tokens as it may have.  A row
 * alone takes longer than that, since each of its tokens reads all weights; rows that are decoded together share that.
 *
 * A call whose arguments do not depend on the row is computed once (fn_embed.c's
 * cache, or the Batch node), so that its cost is one of starting.
 *
 * Parallel scans.  The planner scans a table in parallel from 8 MB on, since
 * below that reading it is not worth a worker.  Computing is: where a query has
 * calls over a small table, a parallel scan of it is offered beside the planner's
 * own, and the costs decide.
 *
 * What was found out about a model is kept for the statement.
 *
 * Which functions there are, and what each computes on, is batch_funcs.c's table.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"
#include "pg/generate.h"

#include <math.h>

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"

#define FLOPS_PER_OPERATOR 10000.0
#define OPERATORS_PER_BYTE 1.0	/* of tokenizing */
#define OPERATORS_PER_CALL 100.0
#define MOST_OPERATORS 1e8		/* of a call: far below what the planner takes for forbidden, however many rows */
#define BYTES_PER_TOKEN 4.0
#define SPECIAL_TOKENS 2.0
#define MEMO_ENTRIES 4
#define MEMO_NAME 136			/* longer names are looked up each time */

static set_rel_pathlist_hook_type previous_pathlist_hook = NULL;

/* How many of the first arguments are texts, or arrays of them, that are computed on. */
static int
n_computed(const TrBatchFunction *function)
{
	return function->n_computed > 0 ? function->n_computed : function->n_texts;
}

static List *
arguments_of(Node *node)
{
	if (node == NULL)
		return NIL;
	return IsA(node, FuncExpr) ? ((FuncExpr *) node)->args : IsA(node, OpExpr) ? ((OpExpr *) node)->args : NIL;
}

/* ---- models ---- */

typedef struct ModelSize
{
	double		parameters;
	double		most_tokens;	/* of a text */
} ModelSize;

typedef struct Memo
{
	char		name[MEMO_NAME];	/* empty: free */
	Oid			role;
	TimestampTz statement;
	ModelSize	size;
} Memo;

static Memo memos[MEMO_ENTRIES];
static int	next_memo = 0;

static bool
look_up(const char *name, ModelSize *size)
{
	char	   *bare;
	int32		number;
	TrVersion	version;

	if (!ActiveSnapshotSet() || !tr_split_model_name(name, &bare, &number) ||
		!tr_catalog_find(bare, number, &version) || !tr_has_usage(&version, GetUserId()))
		return false;
	size->parameters = (double) version.parameters;
	size->most_tokens = version.context_length > 0 ? version.context_length : HUGE_VAL;
	return true;
}

static bool
find_size(const char *name, ModelSize *size)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	Oid			role = GetUserId();

	for (int i = 0; i < MEMO_ENTRIES; i++)
		if (memos[i].statement == statement && memos[i].role == role && strcmp(memos[i].name, name) == 0)
		{
			*size = memos[i].size;
			return true;
		}
	if (!look_up(name, size))
		return false;
	if (strlen(name) < MEMO_NAME)
	{
		Memo	   *memo = &memos[next_memo];

		next_memo = (next_memo + 1) % MEMO_ENTRIES;
		strlcpy(memo->name, name, MEMO_NAME);
		memo->role = role;
		memo->statement = statement;
		memo->size = *size;
	}
	return true;
}

/* The model of a call, if the planner can know it. */
static bool
size_of_model(const TrBatchFunction *function, List *args, ModelSize *size)
{
	Node	   *argument = function->model < list_length(args) ? list_nth(args, function->model) : NULL;
	const char *setting;

	if (argument != NULL && !IsA(argument, Const))
		return false;
	if (argument != NULL && !((Const *) argument)->constisnull)
		return find_size(TextDatumGetCString(((Const *) argument)->constvalue), size);
	setting = tr_use_setting(function->use);
	return !function->pinned && setting != NULL && setting[0] != '\0' && find_size(setting, size);
}

/* ---- texts ---- */

typedef struct Width
{
	PlannerInfo *root;			/* or NULL */
	double		bytes;
	bool		found;			/* something that tells */
} Width;

static int32
width_of_column(PlannerInfo *root, Var *var)
{
	RangeTblEntry *entry = NULL;
	int32		width = 0;

	if (root != NULL && var->varlevelsup == 0 && var->varno > 0 && var->varno < root->simple_rel_array_size)
		entry = root->simple_rte_array[var->varno];
	if (entry != NULL && entry->rtekind == RTE_RELATION && var->varattno > 0)
		width = get_attavgwidth(entry->relid, var->varattno);
	return width > 0 ? width : get_typavgwidth(var->vartype, var->vartypmod);
}

/* Sum of what is concatenated, chosen from, or otherwise goes into an expression. */
static bool
add_widths(Node *node, void *context)
{
	Width	   *width = context;

	if (node == NULL)
		return false;
	if (IsA(node, Const))
	{
		Const	   *value = (Const *) node;

		if (value->constlen == -1)
		{
			width->found = true;
			width->bytes += value->constisnull ? 0 : toast_raw_datum_size(value->constvalue) - VARHDRSZ;
		}
		return false;
	}
	if (IsA(node, Var))
	{
		if (get_typlen(((Var *) node)->vartype) == -1)
		{
			width->found = true;
			width->bytes += width_of_column(width->root, (Var *) node);
		}
		return false;
	}
	return expression_tree_walker(node, add_widths, context);
}

/* One argument: how many texts, and their bytes. */
typedef struct Texts
{
	double		n;
	double		bytes;			/* of each */
} Texts;

static Texts
measure(PlannerInfo *root, Node *argument)
{
	bool		is_array = type_is_array(exprType(argument));
	Width		width = {.root = root};
	Texts		texts = {.n = is_array ? tr_estimate_array_length(root, argument) : 1};

	texts.n = Max(texts.n, 1);
	add_widths(argument, &width);
	texts.bytes = width.found ? width.bytes / texts.n : get_typavgwidth(TEXTOID, -1);
	return texts;
}

/* What all texts of a call come to. */
typedef struct Work
{
	double		calls;			/* of the model: each text of one argument with each of the other */
	double		bytes;			/* of each */
} Work;

static Work
work_of_call(const TrBatchFunction *function, PlannerInfo *root, List *args)
{
	Work		work = {.calls = 1};

	for (int i = 0; i < n_computed(function) && i < list_length(args); i++)
	{
		Texts		texts = measure(root, list_nth(args, i));

		work.calls *= texts.n;
		work.bytes += texts.bytes;
	}
	return work;
}

/* How many tokens a call may make, if it makes some. */
static double
generated_tokens(const TrBatchFunction *function, List *args)
{
	NullableDatum most = {.isnull = true};
	Node	   *argument;

	if (function->form == NULL || list_length(args) <= function->model + 1)
		return 0;
	argument = list_nth(args, function->model + 1);
	if (IsA(argument, Const) && !((Const *) argument)->constisnull)
		most = (NullableDatum) {.value = ((Const *) argument)->constvalue};
	return Max(tr_generate_max_tokens(&most), 0);
}

/* ---- what the planner asks ---- */

static bool
answer_cost(SupportRequestCost *request)
{
	const TrBatchFunction *function = tr_model_function(request->funcid);
	List	   *args = arguments_of(request->node);
	ModelSize	size = {0};
	Work		work;
	double		operators;

	if (function == NULL || list_length(args) < n_computed(function) ||
		(function->use != TR_USE_TOKENS && !size_of_model(function, args, &size)))
		return false;
	work = work_of_call(function, request->root, args);
	operators = OPERATORS_PER_BYTE * work.bytes;
	if (function->use != TR_USE_TOKENS)
	{
		double		tokens = work.bytes / BYTES_PER_TOKEN + SPECIAL_TOKENS + generated_tokens(function, args);

		operators += 2 * size.parameters * Min(tokens, size.most_tokens) / FLOPS_PER_OPERATOR;
	}
	operators = Min(operators * work.calls, MOST_OPERATORS);
	request->startup = 0;
	request->per_tuple = OPERATORS_PER_CALL * cpu_operator_cost;
	if (is_pseudo_constant_clause((Node *) args))
		request->startup = operators * cpu_operator_cost;
	else
		request->per_tuple += operators * cpu_operator_cost;
	return true;
}

/* Rows of functions that give one for each element of an array. */
static bool
answer_rows(SupportRequestRows *request)
{
	const TrBatchFunction *function = tr_model_function(request->funcid);
	List	   *args = arguments_of(request->node);
	bool		any = false;

	if (function == NULL || list_length(args) < n_computed(function))
		return false;
	for (int i = 0; i < n_computed(function); i++)
		any |= type_is_array(exprType(list_nth(args, i)));
	if (any)
		request->rows = work_of_call(function, request->root, args).calls;
	return any;
}

/* Being called also loads the library while a call is planned, which batch_plan.c needs. */
PG_FUNCTION_INFO_V1(transformer_batch_support);
Datum
transformer_batch_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	bool		answered = false;

	if (IsA(request, SupportRequestCost))
		answered = answer_cost((SupportRequestCost *) request);
	else if (IsA(request, SupportRequestRows))
		answered = answer_rows((SupportRequestRows *) request);
	PG_RETURN_POINTER(answered ? request : NULL);
}

/* ---- parallel scans ---- */

/* Are there calls in the target list, or in conditions on the table? */
static bool
has_calls(PlannerInfo *root, RelOptInfo *rel)
{
	ListCell   *lc;

	if (tr_batch_has_call((Node *) root->processed_tlist, NULL))
		return true;
	foreach(lc, rel->baserestrictinfo)
		if (tr_batch_has_call((Node *) lfirst_node(RestrictInfo, lc)->clause, NULL))
			return true;
	return false;
}

/* A worker for each block but one, which is the leader's, as far as the settings go. */
static void
offer_parallel_scan(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	int			workers = (int) Min((double) max_parallel_workers_per_gather, (double) rel->pages - 1);

	if (previous_pathlist_hook)
		previous_pathlist_hook(root, rel, rti, rte);
	if (workers < 1 || !rel->consider_parallel || rel->rel_parallel_workers != -1 || IS_DUMMY_REL(rel) ||
		rte->rtekind != RTE_RELATION || rte->inh || rte->tablesample != NULL ||
		(rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_MATVIEW) || !bms_is_empty(rel->lateral_relids))
		return;
	if (compute_parallel_worker(rel, rel->pages, -1, max_parallel_workers_per_gather) >= workers || !has_calls(root, rel))
		return;
	add_partial_path(rel, create_seqscan_path(root, rel, NULL, workers));
}

void
tr_cost_init(void)
{
	previous_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = offer_parallel_scan;
}
