/*-------------------------------------------------------------------------
 * graph.c
 *	  Nodes, their execution forward and in reverse.
 *
 * A graph lives in the step arena with everything that belongs to it: nodes,
 * and one workspace that holds values, gradients and scratch at the offsets
 * that plan.c chose.  So an error or a cancelled statement leaves nothing to
 * clean up but the arena.
 *
 * Nodes run in the order in which they were built.  That needs no sort and
 * makes the index of a node its time: plan.c works on it.
 *
 * Whether a node needs a gradient is decided when it is built: in training,
 * where a weight of its own has a gradient or where an input needs one.  A node
 * that needs none runs as in inference, whatever the mode: a frozen encoder
 * under a trained head keeps nothing.
 *
 * Threads.  All arithmetic is done by te_graph_tasks(), te_graph_range() and
 * te_graph_matmul().  What a task does depends on shapes only, and small work
 * runs on the caller: waking the workers takes some ten microseconds.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <limits.h>

/* Work (multiply-adds, see impl.h) below which the caller does it alone, and of a piece of a range. */
#define INLINE_WORK ((size_t) 1 << 20)
#define PIECE_WORK ((size_t) 1 << 18)

const TeOp	te_ops[TE_N_OPS] = {
#define IN(i) TE_READS_INPUT(i)
#define READS_OUTPUT TE_READS_OUTPUT
#define TE_OP(name, in_place, reads) {#name, te_##name##_forward, te_##name##_backward, in_place, reads},
#include "graph/ops.def"
#undef TE_OP
#undef READS_OUTPUT
#undef IN
};

/* ---- building ---- */

/* Every op trusts the offsets of a batch, so they are checked once here. */
static void
check_batch(const TeBatch *batch)
{
	te_check_shape("batch", batch->n_seq >= 0 && batch->n_tok >= 0 && batch->seq_start != NULL,
				   "%d sequences, %d tokens", batch->n_seq, batch->n_tok);
	te_check_shape("batch", batch->seq_start[0] == 0 && batch->seq_start[batch->n_seq] == batch->n_tok,
				   "sequences cover tokens %d to %d of %d", batch->seq_start[0],
				   batch->seq_start[batch->n_seq], batch->n_tok);
	for (int s = 0; s < batch->n_seq; s++)
	{
		int32_t		length = batch->seq_start[s + 1] - batch->seq_start[s];

		te_check_shape("batch", length > 0 && length <= batch->max_len,
					   "sequence %d has %d tokens, the longest is said to have %d", s, length, batch->max_len);
	}
}

TeGraph *
te_graph_create(TeArena *step, TeGraphMode mode, const TeBatch *batch)
{
	TeGraph    *graph = te_new(step, TeGraph);

	if (batch != NULL)
		check_batch(batch);
	graph->arena = step;
	graph->mode = mode;
	graph->batch = batch;
	graph->coarse = batch != NULL && batch->pages != NULL;
	return graph;
}

void
te_graph_set_bf16(TeGraph *graph, bool bf16)
{
	graph->bf16 = bf16 && graph->mode == TE_TRAIN;
}

void
te_graph_set_dropout(TeGraph *graph, float rate, uint64_t seed)
{
	te_check_shape("dropout", rate >= 0 && rate < 1, "the rate is %g", (double) rate);
	graph->dropout = rate;
	graph->seed = seed;
}

void *
te_graph_alloc(TeGraph *graph, size_t bytes)
{
	return te_alloc(graph->arena, bytes);
}

/* Allocate a node with what hangs on it in one piece, and append it. */
static TeNode *
append_node(TeGraph *graph, size_t rows, size_t cols, int n_inputs, size_t params_size)
{
	size_t		inputs_at = TE_ALIGN(sizeof(TeNode), 16);
	size_t		params_at = inputs_at + TE_ALIGN((size_t) n_inputs * sizeof(TeNode *), 16);
	char	   *block = te_alloc0(graph->arena, params_at + params_size);
	TeNode	   *node = (TeNode *) block;

	te_check_shape("graph", !graph->planned, "a node is added to a graph that was planned");
	node->graph = graph;
	node->index = graph->n_nodes++;
	node->rows = rows;
	node->cols = cols;
	node->n_inputs = n_inputs;
	node->inputs = (TeNode **) (block + inputs_at);
	node->params = block + params_at;
	node->last_reader = node->index;
	te_mul_size(te_mul_size(rows, cols), sizeof(float));
	if (graph->last != NULL)
		graph->last->next = node;
	else
		graph->first = node;
	graph->last = node;
	return node;
}

TeNode *
te_node_create(TeGraph *graph, TeOpNumber op, size_t rows, size_t cols,
			   TeNode *const *inputs, int n_inputs, size_t params_size, bool trained)
{
	TeNode	   *node = append_node(graph, rows, cols, n_inputs, params_size);

	node->op = &te_ops[op];
	node->value.floats = rows * cols;
	node->needs_grad = graph->mode == TE_TRAIN && trained;
	for (int i = 0; i < n_inputs; i++)
	{
		TeNode	   *input = inputs[i];

		if (input->graph != graph)
			te_throw(TE_ERR_INTERNAL, "%s: input %d is of another graph", node->op->name, i);
		node->inputs[i] = input;
		input->last_reader = node->index;
		node->needs_grad |= input->needs_grad;
	}
	if (node->needs_grad)
		node->grad.floats = node->value.floats;
	te_node_reads(node, node->op->reads);
	return node;
}

/* What is not read here is not held by plan.c. */
void
te_node_reads(TeNode *node, uint32_t reads)
{
	node->reads = node->needs_grad ? reads : 0;
}

const float *
te_vector(const TeOp *op, const TeWeight *weight, size_t n)
{
	if (weight == NULL)
		return NULL;
	if (weight->dtype != TE_F32 || weight->layout != TE_ROWS)
		te_throw(TE_ERR_INTERNAL, "%s: a vector is not f32", op->name);
	if (weight->n_out != 1 || (size_t) weight->n_in != n)
		te_throw(TE_ERR_INTERNAL, "%s: a vector is [%lld, %lld], not [1, %zu]", op->name,
				 (long long) weight->n_out, (long long) weight->n_in, n);
	return weight->data;
}

TeNode *
te_input(TeGraph *graph, const float *data, size_t rows, size_t cols, float *grad)
{
	TeNode	   *node = append_node(graph, rows, cols, 0, 0);

	/* never written: it is no area of the workspace, and plan.c does nothing in its place */
	node->value.data = (float *) data;
	node->keep = true;
	node->needs_grad = graph->mode == TE_TRAIN && grad != NULL;
	if (node->needs_grad)
	{
		node->grad.data = grad;
		node->grad_begun = true;
	}
	return node;
}

/* ---- work ---- */

void
te_graph_tasks(TeGraph *graph, size_t n_tasks, size_t work, TeTask task, void *arg)
{
	/* there is scratch for as many workers as the graph was planned with */
	if (n_tasks > 1 && work > INLINE_WORK && graph->n_workers > 1)
	{
		te_parallel_for_few(graph->n_workers, n_tasks, task, arg);
		return;
	}
	for (size_t i = 0; i < n_tasks; i++)
	{
		if (work > INLINE_WORK)
			te_check_interrupts();
		task(arg, i, 0);
	}
}

typedef struct RangeTask
{
	TeRange		range;
	void	   *arg;
	size_t		n;
	size_t		piece;
	float	   *scratch;
	size_t		scratch_stride;
} RangeTask;

static void
range_task(void *arg, size_t task, int worker)
{
	const RangeTask *rt = arg;
	size_t		first = task * rt->piece;

	rt->range(rt->arg, first, TE_MIN(first + rt->piece, rt->n), rt->scratch + (size_t) worker * rt->scratch_stride);
}

void
te_graph_range(TeGraph *graph, size_t n, size_t work_each, TeRange range, void *arg)
{
	RangeTask	rt = {range, arg, n, TE_MAX(PIECE_WORK / TE_MAX(work_each, 1), 1), graph->scratch, graph->scratch_stride};

	if (n > 0)
		te_graph_tasks(graph, (n - 1) / rt.piece + 1, n * work_each, range_task, &rt);
}

void
te_graph_matmul(TeGraph *graph, TeMatmul *matmul)
{
	size_t		n_tasks;

	if (matmul->m == 0 || matmul->n == 0 || matmul->k == 0)
		return;
	n_tasks = te_matmul_prepare(matmul);
	te_graph_tasks(graph, n_tasks, matmul->m * matmul->n * matmul->k, te_matmul_task, matmul);
}

/* ---- running ---- */

void
te_graph_keep(TeGraph *graph, TeNode *node)
{
	te_check_shape("graph", node->graph == graph && !graph->planned, "a node is kept that cannot be");
	node->keep = true;
}

/* How many workers have scratch within so many bytes; 0: no bound. */
static int
fit_workers(const TeGraph *graph, size_t bytes)
{
	size_t		most = graph->scratch_stride == 0 || bytes == 0 ? SIZE_MAX : bytes / (graph->scratch_stride * sizeof(float));

	return (int) TE_MAX((size_t) 1, TE_MIN((size_t) te_workers(), most));
}

size_t
te_graph_plan_within(TeGraph *graph, size_t limit)
{
	size_t		scratch;

	if (!graph->planned)
	{
		te_plan_areas(graph);
		graph->n_workers = fit_workers(graph, limit / 2);
		graph->planned = true;
	}
	scratch = te_mul_size((size_t) graph->n_workers, graph->scratch_stride);
	return te_mul_size(te_add_size(graph->workspace, scratch), sizeof(float));
}

size_t
te_graph_plan(TeGraph *graph)
{
	return te_graph_plan_within(graph, 0);
}

static void
bind_area(TeArea *area, float *workspace)
{
	if (area->floats > 0)
		area->data = workspace + area->offset;
}

/* Allocate the workspace and point all areas into it. */
static void
bind_areas(TeGraph *graph)
{
	size_t		bytes = te_graph_plan(graph);
	float	   *workspace;

	if (graph->scratch != NULL)
		return;
	/* at least what te_alloc() aligns to a cache line */
	workspace = te_alloc(graph->arena, TE_MAX(bytes, (size_t) 256));
	graph->scratch = workspace + graph->workspace;
	for (TeNode *node = graph->first; node != NULL; node = node->next)
	{
		bind_area(&node->value, workspace);
		bind_area(&node->saved, workspace);
		bind_area(&node->temp, workspace);
		bind_area(&node->grad, workspace);
		bind_area(&node->grad_temp, workspace);
	}
}

void
te_graph_profile(TeGraph *graph, double *seconds)
{
	graph->profile = seconds;
}

int
te_op_count(void)
{
	return TE_N_OPS;
}

const char *
te_op_name(int op)
{
	te_assert(op >= 0 && op < TE_N_OPS);
	return te_ops[op].name;
}

static void
run_node(TeGraph *graph, TeNode *node)
{
	double		start;

	if (graph->profile == NULL)
	{
		node->op->forward(graph, node);
		return;
	}
	start = te_host_seconds();
	node->op->forward(graph, node);
	graph->profile[node->op - te_ops] += te_host_seconds() - start;
}

void
te_graph_run(TeGraph *graph)
{
	bind_areas(graph);
	for (TeNode *node = graph->first; node != NULL; node = node->next)
	{
		if (node->op == NULL || node->rows == 0)
			continue;
		te_check_interrupts();
		run_node(graph, node);
	}
	graph->ran = true;
}

/* A gradient is zeroed when the first op is about to add to it. */
static void
begin_grad(TeNode *node)
{
	if (!node->needs_grad || node->grad_begun)
		return;
	if (node->grad.floats > 0)
		memset(node->grad.data, 0, node->grad.floats * sizeof(float));
	node->grad_begun = true;
}

/*
 * Nodes above output are left out, and so is whatever it does not depend on:
 * their gradients do not begin.  May be called for several outputs, one after
 * the other: forward's values are still there.
 */
void
te_graph_backward(TeGraph *graph, TeNode *output, const float *d_output)
{
	TeNode	  **nodes = te_new_array(graph->arena, TeNode *, graph->n_nodes);

	te_check_shape("graph", graph->mode == TE_TRAIN && graph->ran && output->graph == graph,
				   "backward needs a training graph that has run");
	for (TeNode *node = graph->first; node != NULL; node = node->next)
	{
		nodes[node->index] = node;
		node->grad_begun = node->op == NULL;
	}
	if (!output->needs_grad || output->rows == 0)
		return;
	begin_grad(output);
	te_kernel.axpy(output->rows * output->cols, 1.0f, d_output, output->grad.data);
	for (size_t i = output->index + 1; i-- > 0;)
	{
		TeNode	   *node = nodes[i];

		if (node->op == NULL || !node->grad_begun || node->rows == 0)
			continue;
		te_check_interrupts();
		for (int j = 0; j < node->n_inputs; j++)
			begin_grad(node->inputs[j]);
		node->op->backward(graph, node);
	}
}

const float *
te_node_value(const TeNode *node)
{
	te_check_shape("graph", node->keep && (node->op == NULL || node->graph->ran), "a value is read that was not kept");
	return node->value.data;
}

size_t
te_node_rows(const TeNode *node)
{
	return node->rows;
}

size_t
te_node_cols(const TeNode *node)
{
	return node->cols;
}
