/*-------------------------------------------------------------------------
 * op_attention_pages.c
 *	  Attention where sequences go on that have begun before: keys and values are in pages.
 *
 * Forward writes the keys and values of the batch's tokens into the pages that the batch names, then attends
 * over these (kernels/pages.c).  So a page is as good as computed again, and who owns pages decides what is
 * kept, for how long and for whom.  Pages are written by ops in the order of layers; where an error or an interrupt
 * ends a run in the middle, tokens of the batch are in some layers only, and the owner does not count them.
 *
 * Inference only: backward wants keys and values as they are in the batch.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#include <math.h>

typedef struct PagesParams
{
	TeColumns	q;
	TeColumns	k;
	TeColumns	v;
	TePagedAttention paged;		/* all but pointers to values */
} PagesParams;

static void
check_pages(const TeGraph *graph, const TeAttentionSpec *spec)
{
	const TeBatchPages *pages = graph->batch->pages;

	te_check_shape("attention", graph->mode == TE_INFER && spec->causal, "pages in training, or of what comes later");
	te_check_shape("attention", spec->bias == NULL && spec->keys.node == NULL && spec->queries.node == NULL,
				   "pages with relative positions");
	te_check_shape("attention", spec->n_kv_head == pages->layout.n_kv_head && spec->d_head == pages->layout.d_head,
				   "%d heads of %d columns, but pages have %d of %d", spec->n_kv_head, spec->d_head,
				   pages->layout.n_kv_head, pages->layout.d_head);
	te_check_shape("attention", graph->n_paged < pages->n_layers, "pages have %d layers only", pages->n_layers);
}

static void
check_part(const char *what, TeColumns columns, size_t rows, size_t n)
{
	te_check_shape("attention", columns.n == n && columns.first <= columns.node->cols &&
				   n <= columns.node->cols - columns.first && columns.node->rows == rows,
				   "%s is columns %zu + %zu of [%zu, %zu]", what, columns.first, columns.n, columns.node->rows, columns.node->cols);
}

TeNode *
te_attention_over_pages(TeGraph *graph, TeColumns q, TeColumns k, TeColumns v, const TeAttentionSpec *spec)
{
	const TeBatch *batch = graph->batch;
	TeNode	   *inputs[3] = {q.node, k.node, v.node};
	size_t		q_cols = (size_t) spec->n_head * (size_t) spec->d_head;
	size_t		kv_cols = (size_t) spec->n_kv_head * (size_t) spec->d_head;
	TeNode	   *node;
	PagesParams *params;

	check_pages(graph, spec);
	check_part("q", q, (size_t) batch->n_tok, q_cols);
	check_part("k", k, (size_t) batch->n_tok, kv_cols);
	check_part("v", v, (size_t) batch->n_tok, kv_cols);
	node = te_node_create(graph, TE_OP_attention, (size_t) batch->n_tok, q_cols, inputs, 3, sizeof(PagesParams), false);
	params = node->params;
	params->q = q;
	params->k = k;
	params->v = v;
	params->paged = (TePagedAttention) {
		.at = {
			.ld_q = q.node->cols, .ld_out = q_cols, .n_head = spec->n_head, .n_kv_head = spec->n_kv_head, .d_head = spec->d_head,
			.n_seq = batch->n_seq, .seq_start = batch->seq_start,
			.scale = spec->scale != 0.0f ? spec->scale : (float) (1.0 / sqrt((double) spec->d_head)),
			.softcap = spec->softcap, .causal = true, .window = spec->window, .slopes = spec->slopes
		},
		.layout = batch->pages->layout,
		.layer_offset = (size_t) graph->n_paged++ * batch->pages->layout.layer_bytes,
		.first = batch->pages->first,
		.pages = batch->pages->pages
	};
	node->scratch = te_paged_attention_scratch(&params->paged);
	return node;
}

/* ---- forward ---- */

/* Keys and values of tokens [first, end) into their pages. */
static void
write_range(void *arg, size_t first, size_t end, float *scratch)
{
	const TeNode *node = arg;
	const PagesParams *params = node->params;
	const TeBatch *batch = node->graph->batch;
	int			s = te_part_of(batch->seq_start, batch->n_seq, (int32_t) first);

	for (int32_t t = (int32_t) first; t < (int32_t) end; t++)
	{
		int32_t		position;

		if (t == batch->seq_start[s + 1])
			s++;
		position = params->paged.first[s] + t - batch->seq_start[s];
		te_page_write(&params->paged.layout, params->paged.pages[s][position / TE_PAGE] + params->paged.layer_offset,
					  (size_t) (position % TE_PAGE),
					  params->k.node->value.data + (size_t) t * params->k.node->cols + params->k.first,
					  params->v.node->value.data + (size_t) t * params->v.node->cols + params->v.first);
	}
}

/* Most keys that a token of the batch sees. */
static size_t
most_keys(const PagesParams *params, const TeBatch *batch)
{
	int32_t		most = 1;

	for (int s = 0; s < batch->n_seq; s++)
		most = TE_MAX(most, params->paged.first[s] + batch->seq_start[s + 1] - batch->seq_start[s]);
	return (size_t) (params->paged.at.window > 0 ? TE_MIN(most, params->paged.at.window + 1) : most);
}

void
te_attention_pages_forward(TeGraph *graph, TeNode *node)
{
	const PagesParams *params = node->params;
	const TeBatch *batch = graph->batch;
	TePagedAttention paged = params->paged;
	int32_t    *blocks = te_new_array(graph->arena, int32_t, batch->n_seq + 1);
	size_t		n_tasks = te_paged_attention_prepare(&paged, blocks);

	paged.at.q = params->q.node->value.data + params->q.first;
	paged.at.out = node->value.data;
	paged.at.scratch = graph->scratch;
	paged.at.scratch_stride = graph->scratch_stride;
	te_graph_range(graph, node->rows, (params->k.n + params->v.n) * TE_WORK_FLOAT, write_range, node);
	te_graph_tasks(graph, n_tasks, node->rows * most_keys(params, batch) * node->cols * 2, te_paged_attention_task, &paged);
}
