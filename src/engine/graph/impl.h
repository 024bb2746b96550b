/*-------------------------------------------------------------------------
 * impl.h
 *	  What the files of graph/ share among themselves: nodes, areas of the
 *	  workspace, rows of ops.def, and how an op spreads its work.
 *
 * Contract of an op's two functions, forward(graph, node) and backward(graph, node):
 *	- the values of the inputs, and node->value, saved and temp, are in place;
 *	- backward ADDS into inputs[i]->grad.data, NULL where nobody wants that gradient (otherwise it was
 *	  zeroed before the first op added to it), and into the gradients of trained weights;
 *	- saved is written by forward for backward and is there only where node->needs_grad;
 *	- temp is forward's own, grad_temp backward's own: contents are undefined on entry;
 *	- there is at least one row (a node without rows does not run);
 *	- how work is cut depends on shapes only.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GRAPH_IMPL_H
#define TE_GRAPH_IMPL_H

#include "graph/graph.h"

/* A row of ops.def; to the right of the name as there. */
typedef struct TeOp
{
	const char *name;
	void		(*forward) (TeGraph *graph, TeNode *node);
	void		(*backward) (TeGraph *graph, TeNode *node);
	uint32_t	in_place;
	uint32_t	reads;
} TeOp;

#define TE_READS_INPUT(i) (UINT32_C(1) << (i))
#define TE_READS_OUTPUT (UINT32_C(1) << 31)

#define TE_OP(name, in_place, reads) \
	extern void te_##name##_forward(TeGraph *graph, TeNode *node); \
	extern void te_##name##_backward(TeGraph *graph, TeNode *node);
#include "graph/ops.def"
#undef TE_OP

typedef enum TeOpNumber
{
#define TE_OP(name, in_place, reads) TE_OP_##name,
#include "graph/ops.def"
#undef TE_OP
	TE_N_OPS
} TeOpNumber;

extern const TeOp te_ops[TE_N_OPS];

/* A part of the workspace: what plan.c decides where to put. */
typedef struct TeArea
{
	size_t		floats;
	size_t		offset;			/* in floats from the start of the workspace */
	float	   *data;			/* set when the workspace is there; NULL where floats is 0 */
} TeArea;

struct TeNode
{
	const TeOp *op;				/* NULL: given from outside */
	TeGraph    *graph;
	size_t		index;			/* in order of building, which is the order of running */
	size_t		rows;
	size_t		cols;
	int			n_inputs;
	TeNode	  **inputs;
	void	   *params;			/* the op's own */

	/* what building finds out */
	uint32_t	reads;			/* of op->reads, what this node's backward does read */
	size_t		last_reader;	/* index of the last node that has this as input; its own where there is none */
	bool		keep;			/* by te_graph_keep() */
	bool		held;			/* a backward function reads the value */
	bool		needs_grad;		/* something trained lies at or below it */

	/* what running uses */
	bool		grad_begun;		/* zeroed in this backward pass */
	bool		grad_placed;	/* plan.c: has its place */
	TeArea		value;			/* [rows, cols] */
	TeArea		saved;
	TeArea		temp;
	TeArea		grad;			/* like value; data is NULL where none is wanted */
	TeArea		grad_temp;
	size_t		scratch;		/* floats a worker that forward or backward needs */
	TeNode	   *next;
};

struct TeGraph
{
	TeArena    *arena;
	TeGraphMode mode;
	const TeBatch *batch;		/* NULL where no op needs one */
	bool		bf16;			/* products of training round to it */
	bool		coarse;			/* linear ops round x to bytes alone: see TeBatch */
	float		dropout;		/* rate; 0: none */
	uint64_t	seed;			/* of what is dropped */
	TeNode	   *first;
	TeNode	   *last;
	size_t		n_nodes;
	int			n_paged;		/* ops that read pages */

	bool		planned;
	bool		ran;
	size_t		workspace;		/* floats, without scratch */
	size_t		scratch_stride; /* floats a worker */
	int			n_workers;
	float	   *scratch;
	double	   *profile;		/* seconds of each op, added up; NULL: no clock is read */
};

#define te_check_shape(op, cond, ...) \
	do { \
		if (TE_UNLIKELY(!(cond))) \
			te_throw(TE_ERR_INTERNAL, op ": " __VA_ARGS__); \
	} while (0)

/*
 * A new node with room for its inputs and params_size zeroed bytes of
 * parameters.  trained: whether a weight of the op itself has a gradient.
 */
extern TeNode *te_node_create(TeGraph *graph, TeOpNumber op, size_t rows, size_t cols,
							  TeNode *const *inputs, int n_inputs, size_t params_size, bool trained);
/* Narrow what backward reads to this set; before the graph is planned. */
extern void te_node_reads(TeNode *node, uint32_t reads);

static inline bool
te_is_trained(const TeWeight *weight)
{
	return weight != NULL && weight->grad != NULL;
}

/* The floats of an f32 vector of n elements; NULL for NULL.  Throws naming the op. */
extern const float *te_vector(const TeOp *op, const TeWeight *weight, size_t n);

/* op_attention_pages.c: te_attention() where the batch has pages, and its forward function. */
extern TeNode *te_attention_over_pages(TeGraph *graph, TeColumns q, TeColumns k, TeColumns v, const TeAttentionSpec *spec);
extern void te_attention_pages_forward(TeGraph *graph, TeNode *node);

/* plan.c: give every area its offset. */
extern void te_plan_areas(TeGraph *graph);

/* ---- work, for the op files ---- */

/*
 * Work is counted in f32 multiply-adds of a matrix product; moving a float
 * through a simple loop costs about as much as TE_WORK_FLOAT of them.
 */
#define TE_WORK_FLOAT 16

/* Tasks of a kernel; all of them on the caller where work is not worth waking anybody. */
extern void te_graph_tasks(TeGraph *graph, size_t n_tasks, size_t work, TeTask task, void *arg);

/*
 * range(arg, first, end, scratch) over [0, n) in pieces that depend on n and on
 * the work of one element only.  Runs on workers: kernels and pure code only.
 */
typedef void (*TeRange) (void *arg, size_t first, size_t end, float *scratch);
extern void te_graph_range(TeGraph *graph, size_t n, size_t work_each, TeRange range, void *arg);

/* C (+)= op(A) · op(B); the fields of the cut are filled here. */
extern void te_graph_matmul(TeGraph *graph, TeMatmul *matmul);

/* op_linear.c: run the linear kernel; scratch and the fields of the cut are filled here. */
extern void te_graph_linear(TeGraph *graph, TeLinear *linear);
/*
 * d_x[rows, n_in] += d_y[rows, n_out] · W of any type; TE_EXPAND_ROWS rows of what is no rows of f32 become floats in `expanded`
 * together.
 */
#define TE_EXPAND_ROWS 256
extern void te_graph_input_grad(TeGraph *graph, const TeWeight *weight, size_t rows, const float *d_y, size_t ld_y,
								float *d_x, size_t ld_x, float *expanded);

static inline bool
te_is_f32_rows(const TeWeight *weight)
{
	return weight->dtype == TE_F32 && weight->layout == TE_ROWS;
}

/* Columns that a task of a reduction over rows takes. */
#define TE_COLUMN_BLOCK 64

#endif							/* TE_GRAPH_IMPL_H */
