/*-------------------------------------------------------------------------
 * op_embed.c
 *	  Look-ups: rows of an embedding table, and T5's relative position bias.
 *
 * gather converts the rows it needs; a table of any type and layout is never
 * expanded.  Its backward adds rows of dy to rows of the table's gradient.  The
 * same row may occur many times, so a task takes a block of columns and goes
 * through all ids in order: no two tasks write to one place and the sums have one order.
 *
 * relative_bias makes the [n_head, 2 * span - 1] table that attention adds to
 * its scores, by key - query; span is the longest sequence of the batch.  The
 * buckets are those of T5 (Raffel et al. 2020, as in Mesh TensorFlow): near distances one
 * each, then logarithmically wider ones up to max_distance.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

/* ---- gather ---- */

typedef struct GatherParams
{
	const TeWeight *table;
	const int32_t *ids;			/* NULL: all 0 */
	int32_t		offset;
} GatherParams;

TeNode *
te_gather(TeGraph *graph, const TeWeight *table, const int32_t *ids, size_t n, int32_t offset)
{
	TeNode	   *node;
	GatherParams *params;

	te_check_shape("gather", table->n_out > 0 && table->n_in > 0, "the table is [%lld, %lld]",
				   (long long) table->n_out, (long long) table->n_in);
	node = te_node_create(graph, TE_OP_gather, n, (size_t) table->n_in, NULL, 0, sizeof(GatherParams),
						  te_is_trained(table));
	params = node->params;
	params->table = table;
	params->ids = ids;
	params->offset = offset;
	return node;
}

static int64_t
gather_row(const GatherParams *params, size_t i)
{
	return (params->ids != NULL ? (int64_t) params->ids[i] : 0) + params->offset;
}

static void
gather_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const GatherParams *params = node->params;

	for (size_t i = first; i < end; i++)
		te_weight_row(params->table, gather_row(params, i), node->value.data + i * node->cols);
}

/* Ids come from users, so they are checked each time, before any worker reads. */
void
te_gather_forward(TeGraph *graph, TeNode *node)
{
	const GatherParams *params = node->params;

	for (size_t i = 0; i < node->rows; i++)
	{
		int64_t		row = gather_row(params, i);

		if (row < 0 || row >= params->table->n_out)
			te_throw_hint(TE_ERR_INVALID, te_format(graph->arena, "It was found at position %zu.", i), NULL,
						  "id %lld is outside of an embedding of %lld rows", (long long) row,
						  (long long) params->table->n_out);
	}
	te_graph_range(graph, node->rows, node->cols * 2 * TE_WORK_FLOAT, gather_range, node);
}

static void
gather_columns(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const GatherParams *params = node->params;
	size_t		column = first * TE_COLUMN_BLOCK;
	size_t		n = TE_MIN(end * TE_COLUMN_BLOCK, node->cols) - column;

	for (size_t i = 0; i < node->rows; i++)
	{
		float	   *into = params->table->grad + (size_t) gather_row(params, i) * node->cols + column;

		te_kernel.add(n, into, node->grad.data + i * node->cols + column, into);
	}
}

void
te_gather_backward(TeGraph *graph, TeNode *node)
{
	te_graph_range(graph, (node->cols + TE_COLUMN_BLOCK - 1) / TE_COLUMN_BLOCK,
				   node->rows * TE_COLUMN_BLOCK * TE_WORK_FLOAT, gather_columns, node);
}

/* ---- relative bias ---- */

typedef struct BiasParams
{
	const TeWeight *table;		/* [n_buckets, n_head] */
	int			n_buckets;
	int			max_distance;
	bool		bidirectional;
	int64_t		span;
} BiasParams;

TeNode *
te_relative_bias(TeGraph *graph, const TeWeight *table, int n_buckets, int max_distance, bool bidirectional)
{
	size_t		span;
	int			exact;
	TeNode	   *node;
	BiasParams *params;

	te_check_shape("relative_bias", graph->batch != NULL, "the graph has no batch");
	te_check_shape("relative_bias", table->n_out == n_buckets && table->n_in > 0,
				   "the table is [%lld, %lld] for %d buckets", (long long) table->n_out,
				   (long long) table->n_in, n_buckets);
	/* of a direction's buckets one half is exact, the other grows from there to max_distance */
	exact = n_buckets / (bidirectional ? 4 : 2);
	te_check_shape("relative_bias", exact >= 1 && max_distance > exact, "%d buckets for distances up to %d",
				   n_buckets, max_distance);
	span = (size_t) TE_MAX(graph->batch->max_len, 1);
	node = te_node_create(graph, TE_OP_relative_bias, (size_t) table->n_in, 2 * span - 1, NULL, 0,
						  sizeof(BiasParams), te_is_trained(table));
	params = node->params;
	params->table = table;
	params->n_buckets = n_buckets;
	params->max_distance = max_distance;
	params->bidirectional = bidirectional;
	params->span = (int64_t) span;
	node->temp.floats = (size_t) table->n_in;
	return node;
}

/*
 * The bucket of key - query.  In f32 as the reference does it, since the
 * logarithm lands on bucket borders exactly.
 */
static int
relative_bucket(const BiasParams *params, int64_t key_minus_query)
{
	int			n = params->n_buckets;
	int			bucket = 0;
	int64_t		distance = key_minus_query;
	int			exact;
	int			far;

	if (params->bidirectional)
	{
		n /= 2;
		bucket = distance > 0 ? n : 0;
		distance = distance < 0 ? -distance : distance;
	}
	else
		distance = distance < 0 ? -distance : 0;
	exact = n / 2;
	if (distance < exact)
		return bucket + (int) distance;
	far = exact + (int) (logf((float) distance / (float) exact) /
						 (float) log((double) params->max_distance / exact) * (float) (n - exact));
	return bucket + TE_MIN(far, n - 1);
}

void
te_relative_bias_forward(TeGraph *graph, TeNode *node)
{
	const BiasParams *params = node->params;
	int			converted = -1;	/* the bucket whose row is in temp */

	for (size_t c = 0; c < node->cols; c++)
	{
		int			bucket = relative_bucket(params, (int64_t) c - (params->span - 1));

		if (bucket != converted)
			te_weight_row(params->table, bucket, node->temp.data);
		converted = bucket;
		for (size_t h = 0; h < node->rows; h++)
			node->value.data[h * node->cols + c] = node->temp.data[h];
	}
}

void
te_relative_bias_backward(TeGraph *graph, TeNode *node)
{
	const BiasParams *params = node->params;

	for (size_t c = 0; c < node->cols; c++)
	{
		int			bucket = relative_bucket(params, (int64_t) c - (params->span - 1));
		float	   *into = params->table->grad + (size_t) bucket * node->rows;

		for (size_t h = 0; h < node->rows; h++)
			into[h] += node->grad.data[h * node->cols + c];
	}
}
