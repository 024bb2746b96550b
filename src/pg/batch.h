/*-------------------------------------------------------------------------
 * batch.h
 *	  Batches without asking: scalar functions that run for many rows at once.
 *
 * Some SQL functions have, beside the C function that SQL calls, an
 * implementation that answers many calls together.  Where a plan calls one,
 * a node "Batch" is put into it:
 *
 *	  batch_funcs.c		which functions, and how each is fed: one table
 *	  batch_plan.c		hooks; walks a finished plan and puts nodes into it
 *	  batch_plan_expr.c	rewrites expressions: calls become columns, with guards
 *	  batch_plan_values.c	calls in lists of VALUES
 *	  batch_plan_ahead.c	calls that are not in the plan's own hands: computed ahead
 *	  batch_plan_stream.c	functions in FROM that give their rows as they make them
 *	  batch_node.c		the node
 *	  batch_ahead.c		where a plain call finds what the node has computed for it
 *	  batch_explain.c	what EXPLAIN says about it
 *
 * To make a function run in batches: its row in batch_funcs.c, a look with
 * tr_ahead_found() in its C function, and SUPPORT _transformer.batch_support in its
 * CREATE FUNCTION.
 *-------------------------------------------------------------------------
 */
#ifndef TR_BATCH_H
#define TR_BATCH_H

#include "pg/transformer.h"

#include "access/parallel.h"
#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/plannodes.h"
#include "port/atomics.h"

/* ---- functions (batch_funcs.c) ---- */

/*
 * n calls of n_args arguments each; those of call i begin at args[i * n_args].
 * Results are preset to NULL, and go, as everything the implementation
 * allocates, into the memory context that is current.
 */
typedef struct TrCalls
{
	int			n;
	int			n_args;
	NullableDatum *args;
	NullableDatum *results;		/* of a set: TrBatchSet, never null */
	TupleDesc	desc;			/* rows of a set */
	const uint8 **digests;		/* of each call's model; stays NULL where none was asked */
	Oid			type;			/* of results */
	int32		typmod;			/* of the second argument, which only names it */
#ifdef TR_BATCH_STRESS
	Oid			collation;
#endif
} TrCalls;

/* The rows of one call of a function that returns a set. */
typedef struct TrBatchSet
{
	int			n;
	int			room;
	MinimalTuple *rows;
} TrBatchSet;

/* Those of the calls that are for one model, in one way. */
typedef struct TrCallGroup
{
	TrCalls    *calls;
	TrModel    *model;
	TeStr		kind;
	int			n;
	int		   *which;			/* of calls */
} TrCallGroup;

/*
 * A function that computes with a model: what a call costs, and how calls run in
 * batches.  A call of which one of the first n_texts arguments is NULL gives NULL
 * and looks at nothing else.
 */
typedef struct TrBatchFunction
{
	const char *symbol;			/* C symbol of the SQL function */
	int			n_texts;
	int			n_computed;		/* of the first arguments, texts or arrays of them, go into a cost; 0: n_texts */
	int			model;			/* argument that names the model */
	TrUse		use;
	bool		pinned;			/* a version has to be named */

	/* NULL: never in a batch, since an array is one */
	void		(*run) (const struct TrBatchFunction *function, TrCallGroup *group);
	int			kind;			/* argument with the kind of text; 0: none */
	bool		set;			/* returns a set of rows */
	const TrLabeller *labeller; /* of run_label */
	TrTextFunction of_text;		/* of run_tokens */
	const struct TrGenerateForm *form;	/* of run_generate; the function is volatile where it does not repeat */
	int			most_rows;		/* of a batch; 0: transformer.batch_size alone says it */
	bool		streams;		/* gives a set value by value */
#ifdef TR_BATCH_STRESS
	Oid			built_in;		/* of run_built_in */
#endif
} TrBatchFunction;

/* What is known of a function; NULL: it is not one of ours. */
extern const TrBatchFunction *tr_model_function(Oid funcid);
/* NULL: does not run in batches.  *strict (where not NULL): is it declared STRICT? */
extern const TrBatchFunction *tr_batch_function(Oid funcid, bool *strict);
/* The same for a call in an expression, with its arguments. */
extern const TrBatchFunction *tr_batch_call(Node *node, Oid *funcid, List **args);
/* And for a call of one that returns a set. */
extern const TrBatchFunction *tr_batch_set_call(Node *node, Oid *funcid, List **args);
/* Does a call give the same each time?  Those of functions that are not volatile all do. */
extern bool tr_batch_repeats(const TrBatchFunction *function, const NullableDatum *args);
/* Compute calls of a function. */
extern void tr_batch_run(const TrBatchFunction *function, TrCalls *calls);
extern void tr_batch_functions_init(void);

/* ---- plans ---- */

/*
 * Layout of a Batch node.
 *
 * Scan tuple (custom_scan_tlist): the columns of the child, then a column for
 * the result of each call.  All expressions of the node refer to it by
 * INDEX_VAR.
 *
 * custom_exprs:	list of calls,
 *					list of lists: the guards of each call, conditions without which it does not happen,
 *					list of OFFSET and LIMIT of the Limit right above, or empty
 * custom_private:	list of int: stage of each call,
 *					list of int: 1 for each call whose value is the same for all rows,
 *					list of int: 1 for each call that is computed ahead
 *
 * What is computed ahead nobody above refers to: a plain call will look for it
 * while the row is the current one.  The column of a set is always NULL.
 *
 * Stage i is what condition i of plan.qual needs; the last stage is what only
 * the target list needs.
 */
extern const CustomScanMethods tr_batch_scan_methods;

/* The work on one plan node (batch_plan.c, batch_plan_expr.c). */
typedef struct TrSplit
{
	bool		above;			/* the new node is above, else between the node and its child */
	List	   *inputs;			/* TargetEntry: the columns that the child delivers */
	List	   *calls;			/* expressions over the scan tuple */
	List	   *call_guards;	/* of each call: a list of expressions */
	List	   *stages;			/* int */
	List	   *invariants;		/* int */
	bool		only_ahead;		/* all calls are computed ahead; the node adds no columns */
	List	   *sets;			/* calls that return sets, always computed ahead */
	List	   *set_guards;
	List	   *guards;			/* of the expression that is being rewritten */
	int			stage;
	int			unbatched;		/* > 0: calls here stay as they are */
} TrSplit;

/* A call anywhere; a call that is not inside of an aggregate or window function. */
extern bool tr_batch_has_call(Node *node, void *context);
extern bool tr_batch_has_outer_call(Node *node, void *context);
extern bool tr_batch_has_multiexpr(Node *node, void *context);
extern bool tr_batch_has_subplan(Node *node, void *context);
/* A volatile function that is none of those that run in batches. */
extern bool tr_batch_has_volatile(Node *node, void *context);
/* Gather what an expression wants of the child; then rewrite it over the scan tuple. */
extern bool tr_batch_collect_inputs(Node *node, TrSplit *split);
extern Node *tr_batch_rewrite(Node *node, TrSplit *split);
extern Node *tr_batch_rewrite_guarded(Node *node, Expr *guard, TrSplit *split);
extern Var *tr_batch_column(int varno, AttrNumber column, Node *type_of);
/* An expression over one tuple, for another of the same columns. */
extern Node *tr_batch_set_varno(Node *node, int varno);

/* A Batch node between `reader` and its child (batch_plan.c); gives the child where there is nothing to do. */
extern void tr_batch_start_below(TrSplit *split, Plan *child);
extern Plan *tr_batch_finish_below(TrSplit *split, Plan *child, Plan *reader);
extern bool tr_is_batch(Plan *plan);
/* Give a new node its number, its child, and estimates and parameters like those of another. */
extern void tr_batch_new_node(Plan *node, Plan *child, const Plan *like);
extern void tr_batch_move_initplans(Plan *to, Plan *from);
/* A Material above a finished plan, for one who has to go back in it. */
extern Plan *tr_batch_add_material(Plan *child);

extern bool tr_is_stream(FunctionScan *scan);
/* In place of the scan; keeps: its rows may be asked for again. */
extern Plan *tr_stream_scan(FunctionScan *scan, bool keeps);

extern void tr_batch_ahead_of_join(NestLoop *join);
extern void tr_batch_ahead_of_modify(ModifyTable *modify, List *range_table);
/* Has a table that is written generated columns? */
extern bool tr_batch_writes_generated(PlannedStmt *stmt);
extern void tr_batch_values(ValuesScan *scan, List *range_table);
extern void tr_batch_plan_init(void);

/* ---- the node (batch_node.c) ---- */

/* A call that was computed ahead for one row. */
typedef struct TrAheadResult
{
	NullableDatum *args;		/* NULL: was not */
	const uint8 *digest;		/* of the model */
	NullableDatum result;
} TrAheadResult;

/* One row of the current batch. */
typedef struct TrBatchRow
{
	TrAheadResult *ahead;		/* of each call; NULL if no call of the node is computed ahead */
	Datum	   *values;			/* columns of the child, then results of calls */
	bool	   *isnull;
	bool		dropped;		/* rejected by a condition */
} TrBatchRow;

/* One call of the node's expressions. */
typedef struct TrBatchCall
{
	Expr	   *expr;
	List	   *guard_exprs;
	const TrBatchFunction *function;
	Oid			funcid;
	bool		strict;
	bool		is_volatile;
	int			n_args;
	ExprState **args;
	bool	   *copy_arg;		/* by reference, and not a column */
	int16	   *arg_length;
	bool	   *arg_by_value;
	ExprState  *plain;			/* the call as SQL makes it, for a row alone */
	bool		has_subplan;	/* in arguments */
	List	   *guards;			/* ExprState */
	int			stage;
	int			column;			/* of the scan tuple: the result */
	bool		by_value;
	int16		length;			/* of the result's type */

	bool		ahead;			/* for plain calls to find */
	bool		ready;			/* its expressions have their states */
	TupleDesc	desc;			/* rows of a set */

	bool		invariant;		/* runs once for all rows */
	bool		computed;
	NullableDatum value;
} TrBatchCall;

/* What the workers of a parallel query did, in shared memory. */
typedef struct TrBatchShared
{
	pg_atomic_uint64 calls;
	pg_atomic_uint64 found;
	pg_atomic_uint64 texts;
	pg_atomic_uint64 tokens;
	pg_atomic_uint64 microseconds;
} TrBatchShared;

typedef struct TrBatchState
{
	CustomScanState css;
	int			n_columns;		/* of the scan tuple */
	int			n_inputs;		/* those that come from the child */
	int			n_calls;
	TrBatchCall *calls;
	int			n_quals;
	ExprState **quals;
	bool	   *qual_has_subplan;
	bool		fragile;		/* an expression with a subplan is being evaluated */

	ExprState  *limit_offset;	/* of the Limit above, if any */
	ExprState  *limit_count;
	int64		bound;			/* rows that the Limit can ask for; -1: unknown */
	int			most_rows;		/* that the functions take; 0: any number */

	MemoryContext batch_context;	/* rows of the batch and results */
	MemoryContext scan_context; /* values that last until the next rescan */
	TrBatchRow *rows;
	int			capacity;
	int			n_rows;
	int			n_done;			/* those with all their results */
	int			next;			/* next row to hand on */
	int			size;			/* of the current batch, as planned */
	int64		handed_on;
	bool		started;
	bool		child_done;

	/* Of calls that are computed ahead (batch_ahead.c). */
	bool		has_ahead;
	bool		ahead_off;		/* nobody looked for the results of a whole batch */
	bool		ahead_listed;
	struct TrBatchState *next_listed;
	const char *ahead_isa;		/* settings that the results are of */
	int			ahead_truncate;
	int64		batch_ahead;	/* calls of the current batch */
	int64		batch_found;	/* and how many were found */

	int64		n_found;		/* calls, for EXPLAIN ANALYZE */
	int64		n_computed;
	TrBatchShared *shared;		/* NULL: no parallel query is under way */
	TeUsage		usage;
} TrBatchState;

/* Most rows of a batch. */
extern int	tr_batch_most_rows(const TrBatchState *state);

/* ---- calls computed ahead (batch_ahead.c) ---- */

/* Before a batch is computed, and when the next is read. */
extern void tr_ahead_begin(TrBatchState *state);
extern void tr_ahead_end_batch(TrBatchState *state);
/* The call of a row has its result. */
extern void tr_ahead_keep(TrBatchState *state, TrBatchCall *call, TrBatchRow *row, TrAheadResult result);

/* Are the arguments of two calls equal to the bit? */
extern bool tr_same_calls(const TrBatchCall *call, const NullableDatum *a, const NullableDatum *b);

/* ---- totals of a parallel query (batch_explain.c) ---- */

extern Size tr_batch_shared_size(CustomScanState *css, ParallelContext *context);
extern void tr_batch_shared_init(CustomScanState *css, ParallelContext *context, void *shared);
extern void tr_batch_shared_reinit(CustomScanState *css, ParallelContext *context, void *shared);
extern void tr_batch_shared_attach(CustomScanState *css, shm_toc *toc, void *shared);
extern void tr_batch_shared_detach(CustomScanState *css);

extern void tr_batch_explain(CustomScanState *css, List *ancestors, struct ExplainState *es);

#endif							/* TR_BATCH_H */
