/*-------------------------------------------------------------------------
 * op_rope.c
 *	  Rotary positions: a table of a batch's angles, and turning heads by it.
 *
 * A pair (a, b) of columns becomes (a cos - b sin, b cos + a sin), so that the
 * product of a query and a key depends on the distance of their positions.  A
 * turn is undone by its transpose: backward is forward with the sines negated.
 *
 * A row of the table has for each of the n_rot columns what the column itself
 * is multiplied by, then for each what its partner is: a cosine and a sine
 * with its sign.  Angles are products in f32 and functions of them, as the reference
 * computes them.  Which frequencies a row turns by may depend on how long its sequence is.  The table is a node of its own, since all layers (that turn by
 * the same frequencies) read it; it depends on positions only and has no gradient.
 *
 * In inference heads are turned where they lie.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

#define WORK_ANGLE 64			/* of a sine and a cosine */

/* ---- the table ---- */

TeNode *
te_rope_table(TeGraph *graph, const TeRope *rope)
{
	TeNode	   *node;

	te_check_shape("rope_table", graph->batch != NULL && graph->batch->positions != NULL, "the batch has no positions");
	te_check_shape("rope_table", rope->n_rot > 0 && rope->n_rot % 2 == 0, "%d columns", rope->n_rot);
	node = te_node_create(graph, TE_OP_rope_table, (size_t) graph->batch->n_tok, 2 * (size_t) rope->n_rot, NULL, 0,
						  sizeof(TeRope), false);
	*(TeRope *) node->params = *rope;
	return node;
}

/* Tokens of the sequence in which a row lies, now or when it has grown. */
static int32_t
sequence_length(const TeBatch *batch, int32_t row)
{
	int			sequence = te_part_of(batch->seq_start, batch->n_seq, row);

	return batch->lengths != NULL ? batch->lengths[sequence] : batch->positions[batch->seq_start[sequence + 1] - 1] + 1;
}

static const float *
row_frequencies(const TeRope *rope, const TeBatch *batch, size_t row)
{
	if (rope->long_frequencies == NULL || sequence_length(batch, (int32_t) row) < rope->long_from)
		return rope->frequencies;
	return rope->long_frequencies;
}

static void
rope_table_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const TeRope *rope = node->params;
	size_t		n = (size_t) rope->n_rot;
	size_t		apart = rope->pairs ? 1 : n / 2;

	for (size_t r = first; r < end; r++)
	{
		float	   *cosines = node->value.data + r * node->cols;
		float	   *sines = cosines + n;
		const float *frequencies = row_frequencies(rope, node->graph->batch, r);

		for (size_t p = 0; p < n / 2; p++)
		{
			float		angle = (float) node->graph->batch->positions[r] * frequencies[p];
			float		cosine = (float) cos(angle) * rope->factor;
			float		sine = (float) sin(angle) * rope->factor;
			size_t		i = rope->pairs ? 2 * p : p;

			cosines[i] = cosines[i + apart] = cosine;
			sines[i] = -sine;
			sines[i + apart] = sine;
		}
	}
}

void
te_rope_table_forward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, node->cols / 4 * WORK_ANGLE, rope_table_range, node);
}

/* Positions are whole numbers, and frequencies are given. */
void
te_rope_table_backward(TeGraph *graph, TeNode *node)
{
}

/* ---- turning ---- */

typedef struct RopeParams
{
	TeColumns	heads;
	size_t		d_head;
	size_t		n_rot;
	bool		pairs;
} RopeParams;

TeNode *
te_rope(TeGraph *graph, TeColumns heads, size_t d_head, TeNode *table)
{
	TeNode	   *inputs[2] = {heads.node, table};
	TeNode	   *node;
	RopeParams *params;
	const TeRope *rope;

	te_check_shape("rope", table->op == &te_ops[TE_OP_rope_table] && table->rows == heads.node->rows,
				   "there is no table for %zu rows", heads.node->rows);
	rope = table->params;
	te_check_shape("rope", heads.first <= heads.node->cols && heads.n <= heads.node->cols - heads.first,
				   "columns %zu + %zu of %zu", heads.first, heads.n, heads.node->cols);
	te_check_shape("rope", d_head >= (size_t) rope->n_rot && heads.n % d_head == 0,
				   "%zu columns, %zu a head, %d to turn", heads.n, d_head, rope->n_rot);
	node = te_node_create(graph, TE_OP_rope, heads.node->rows, heads.node->cols, inputs, 2, sizeof(RopeParams), false);
	params = node->params;
	params->heads = heads;
	params->d_head = d_head;
	params->n_rot = (size_t) rope->n_rot;
	params->pairs = rope->pairs;
	if (node->needs_grad)
		node->scratch = node->cols;
	return node;
}

/* Turn the heads of a row, forth or back. */
static void
turn_row(const TeNode *node, size_t row, float sign, float *x)
{
	const RopeParams *params = node->params;
	const TeNode *table = node->inputs[1];

	te_kernel.rope(params->heads.n / params->d_head, params->d_head, params->n_rot, params->pairs, sign,
				   table->value.data + row * table->cols, x + params->heads.first);
}

static void
rope_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const float *x = node->inputs[0]->value.data;
	float	   *y = node->value.data;

	if (x != y)
		memcpy(y + first * node->cols, x + first * node->cols, (end - first) * node->cols * sizeof(float));
	for (size_t r = first; r < end; r++)
		turn_row(node, r, 1, y + r * node->cols);
}

void
te_rope_forward(TeGraph *graph, TeNode *node)
{
	const RopeParams *params = node->params;

	te_graph_range(graph, node->rows, params->heads.n * TE_WORK_FLOAT, rope_range, node);
}

static void
rope_grad_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	size_t		n = node->cols;

	for (size_t r = first; r < end; r++)
	{
		float	   *d_x = node->inputs[0]->grad.data + r * n;

		memcpy(scratch, node->grad.data + r * n, n * sizeof(float));
		turn_row(node, r, -1, scratch);
		te_kernel.add(n, d_x, scratch, d_x);
	}
}

void
te_rope_backward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, node->rows, 3 * node->cols * TE_WORK_FLOAT, rope_grad_range, node);
}
