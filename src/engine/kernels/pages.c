/*-------------------------------------------------------------------------
 * pages.c
 *	  Keys and values of tokens that were there before, in pages, and attention over them.
 *
 * A page has the keys and values of TE_PAGE consecutive tokens of one sequence, for all layers.  In a
 * layer, head after head: keys as a panel, [d_head][64 tokens], so that a product of queries by them is the one that
 * weights have; then values, for each 64 columns of the head [64 tokens][64], a panel too when weights of
 * tokens are multiplied by them.  Columns beyond d_head are zeros.
 *
 * Types.  f32 lies so; f16 the same in halves; of q8_0 a key is rounded in blocks of 32 of its columns and lies in a
 * TePanelQ8_0, a value in blocks of 32 of its columns as te_q8_0_from_float() makes them, rows of 64 columns.  A
 * token is written once and alone, so its bytes do not depend on when its neighbours come.
 *
 * A task is one key-value head of one sequence and some of its new tokens: the queries of all heads that share the
 * keys are the rows of one product, so that keys and values are expanded once for them.  A page is done at a time with a running maximum and
 * sum (Dao et al., 2022); which pages there are follows from positions alone, so that a token's result does not
 * depend on how many are computed together.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

/* ---- layout ---- */

static size_t
value_panels(int d_head)
{
	return ((size_t) d_head + TE_PANEL - 1) / TE_PANEL;
}

bool
te_page_layout(TeDtype dtype, int n_kv_head, int d_head, TePageLayout *layout)
{
	size_t		rows = dtype == TE_Q8_0 ? TE_ALIGN(d_head, TE_QK) : (size_t) d_head;

	if (dtype != TE_F32 && dtype != TE_F16 && dtype != TE_Q8_0)
		return false;
	layout->dtype = dtype;
	layout->n_kv_head = n_kv_head;
	layout->d_head = d_head;
	layout->key_bytes = TE_PAGE * te_checked_row_bytes(dtype, (int64_t) rows);
	layout->value_bytes = value_panels(d_head) * TE_PAGE * te_checked_row_bytes(dtype, TE_PANEL);
	layout->layer_bytes = (layout->key_bytes + layout->value_bytes) * (size_t) n_kv_head;
	return true;
}

static inline size_t
head_bytes(const TePageLayout *layout)
{
	return layout->key_bytes + layout->value_bytes;
}

/* ---- writing ---- */

/* n <= 32 floats as a block. */
static void
make_block(const float *x, size_t n, TeBlockQ8_0 *block)
{
	float		padded[TE_QK] = {0};

	memcpy(padded, x, n * sizeof(float));
	te_q8_0_from_float(padded, block, TE_QK);
}

/* Beyond the largest half there is no infinity: it would make NaN of a weight of 0. */
static inline float
half_range(float x)
{
	return x > 65504 ? 65504 : x < -65504 ? -65504 : x;
}

static void
write_key(const TePageLayout *layout, void *keys, size_t slot, const float *k)
{
	size_t		n = (size_t) layout->d_head;

	if (layout->dtype == TE_F32)
	{
		for (size_t i = 0; i < n; i++)
			((float *) keys)[i * TE_PANEL + slot] = k[i];
		return;
	}
	if (layout->dtype == TE_F16)
	{
		for (size_t i = 0; i < n; i++)
			((TeHalf *) keys)[i * TE_PANEL + slot] = te_half_from_float(half_range(k[i]));
		return;
	}
	for (size_t i = 0; i < n; i += TE_QK)
	{
		TePanelQ8_0 *panel = (TePanelQ8_0 *) keys + i / TE_QK;
		TeBlockQ8_0 block;

		make_block(k + i, TE_MIN(n - i, (size_t) TE_QK), &block);
		panel->d[slot] = block.d;
		for (size_t j = 0; j < TE_QK; j++)
			panel->q[j / 4][slot][j % 4] = (uint8_t) (block.q[j] + TE_BYTE_BIAS);
	}
}

static void
write_value(const TePageLayout *layout, char *values, size_t slot, const float *v)
{
	size_t		row_bytes = te_checked_row_bytes(layout->dtype, TE_PANEL);
	float		padded[TE_PANEL];

	for (size_t panel = 0; panel < value_panels(layout->d_head); panel++)
	{
		size_t		n = TE_MIN((size_t) TE_PANEL, (size_t) layout->d_head - panel * TE_PANEL);

		memcpy(padded, v + panel * TE_PANEL, n * sizeof(float));
		memset(padded + n, 0, (TE_PANEL - n) * sizeof(float));
		for (size_t i = 0; layout->dtype == TE_F16 && i < n; i++)
			padded[i] = half_range(padded[i]);
		te_dtypes[layout->dtype].from_float(padded, values + (panel * TE_PAGE + slot) * row_bytes, TE_PANEL);
	}
}

void
te_page_write(const TePageLayout *layout, char *page, size_t slot, const float *k, const float *v)
{
	for (int head = 0; head < layout->n_kv_head; head++)
	{
		char	   *keys = page + (size_t) head * head_bytes(layout);
		size_t		column = (size_t) head * (size_t) layout->d_head;

		write_key(layout, keys, slot, k + column);
		write_value(layout, keys + layout->key_bytes, slot, v + column);
	}
}

/* ---- reading ---- */

/* Keys of a head as a panel of floats. */
static const float *
read_keys(const TePageLayout *layout, const char *keys, float *into)
{
	if (layout->dtype == TE_F32)
		return (const float *) keys;
	if (layout->dtype == TE_F16)
		te_kernel.unpack_f16(keys, 0, (size_t) layout->d_head, into);
	else
		te_kernel.unpack_q8_0(keys, 0, TE_ALIGN(layout->d_head, TE_QK), into);
	return into;
}

/* The same of 64 columns of the values of n tokens. */
static const float *
read_values(const TePageLayout *layout, const char *values, size_t panel, size_t n, float *into)
{
	const char *from = values + panel * TE_PAGE * te_checked_row_bytes(layout->dtype, TE_PANEL);

	if (layout->dtype == TE_F32)
		return (const float *) from;
	if (layout->dtype == TE_F16)
		te_kernel.unpack_f16(from, 0, n, into);
	else
		te_dtypes[layout->dtype].to_float(from, into, n * TE_PANEL);
	return into;
}

/* ---- attention ---- */

/* New tokens of a sequence that a task takes, so that their queries make a block of rows. */
static size_t
task_tokens(const TePagedAttention *paged)
{
	size_t		group = (size_t) (paged->at.n_head / paged->at.n_kv_head);

	return group >= TE_QUERY_BLOCK ? 1 : TE_QUERY_BLOCK / group;
}

static size_t
task_rows(const TePagedAttention *paged)
{
	return task_tokens(paged) * (size_t) (paged->at.n_head / paged->at.n_kv_head);
}

size_t
te_paged_attention_prepare(TePagedAttention *paged, int32_t *blocks)
{
	int32_t		tokens = (int32_t) task_tokens(paged);

	blocks[0] = 0;
	for (int s = 0; s < paged->at.n_seq; s++)
		blocks[s + 1] = blocks[s] + (paged->at.seq_start[s + 1] - paged->at.seq_start[s] + tokens - 1) / tokens;
	paged->blocks = blocks;
	return (size_t) blocks[paged->at.n_seq] * (size_t) paged->at.n_kv_head;
}

/* Queries, results, scores, an expanded panel of keys and one of values, maxima and sums. */
size_t
te_paged_attention_scratch(const TePagedAttention *paged)
{
	size_t		d_head = (size_t) paged->at.d_head;
	size_t		columns = d_head + value_panels(paged->at.d_head) * TE_PANEL + TE_PAGE + 2;

	return task_rows(paged) * columns + (TE_ALIGN(d_head, TE_QK) + TE_PAGE) * TE_PANEL;
}

/* What a task works on, and its scratch cut up. */
typedef struct PageTask
{
	const TePagedAttention *paged;
	int			kv_head;
	size_t		group;			/* heads that share the keys */
	size_t		rows;			/* tokens * group: a token's heads follow one another */
	int32_t		token;			/* the first, of the batch ... */
	int32_t		position;		/* ... and of its sequence */
	size_t		ld;				/* of result */
	float	   *expanded_keys;	/* these two first: aligned as scratch is */
	float	   *expanded_values;
	float	   *scores;			/* [rows][TE_PAGE] */
	float	   *result;			/* [rows][ld] */
	float	   *queries;		/* [rows][d_head], scaled */
	float	   *most;
	float	   *total;
} PageTask;

static void
cut_scratch(PageTask *task, float *scratch)
{
	size_t		d_head = (size_t) task->paged->at.d_head;

	task->ld = value_panels(task->paged->at.d_head) * TE_PANEL;
	task->expanded_keys = scratch;
	task->expanded_values = task->expanded_keys + TE_ALIGN(d_head, TE_QK) * TE_PANEL;
	task->scores = task->expanded_values + (size_t) TE_PAGE * TE_PANEL;
	task->result = task->scores + task->rows * TE_PAGE;
	task->queries = task->result + task->rows * task->ld;
	task->most = task->queries + task->rows * d_head;
	task->total = task->most + task->rows;
}

static void
begin_rows(PageTask *task)
{
	const TeAttention *at = &task->paged->at;
	size_t		d_head = (size_t) at->d_head;

	for (size_t r = 0; r < task->rows; r++)
	{
		size_t		token = (size_t) task->token + r / task->group;
		size_t		head = (size_t) task->kv_head * task->group + r % task->group;

		te_kernel.scale(d_head, at->scale, at->q + token * at->ld_q + head * d_head, task->queries + r * d_head);
		task->most[r] = -INFINITY;
		task->total[r] = 0;
	}
	memset(task->result, 0, task->rows * task->ld * sizeof(float));
}

static void
cap_scores(float cap, size_t n, float *scores)
{
	te_kernel.scale(n, 1 / cap, scores, scores);
	te_kernel.activate(TE_ACT_TANH, n, scores, scores);
	te_kernel.scale(n, cap, scores, scores);
}

/* Scores of row r with keys [key, key + n) become their weights, and what was summed up is scaled to the new maximum. */
static void
weigh_row(PageTask *task, size_t r, int32_t key, int32_t n)
{
	const TeAttention *at = &task->paged->at;
	int32_t		position = task->position + (int32_t) (r / task->group);
	int32_t		from = at->window > 0 ? TE_MAX(position - at->window - key, 0) : 0;
	int32_t		to = TE_MIN(n, position + 1 - key);
	float	   *scores = task->scores + r * TE_PAGE;
	float		most;

	if (to <= from)
	{
		memset(scores, 0, (size_t) n * sizeof(float));
		return;
	}
	memset(scores, 0, (size_t) from * sizeof(float));
	memset(scores + to, 0, (size_t) (n - to) * sizeof(float));
	if (at->softcap > 0)
		cap_scores(at->softcap, (size_t) (to - from), scores + from);
	for (int32_t i = from; at->slopes != NULL && i < to; i++)
		scores[i] += at->slopes[(size_t) task->kv_head * task->group + r % task->group] * (float) (key + i - position);
	most = te_kernel.max((size_t) (to - from), scores + from);
	if (!(most <= task->most[r]))
	{
		float		factor = expf(task->most[r] - most);

		te_kernel.scale(task->ld, factor, task->result + r * task->ld, task->result + r * task->ld);
		task->total[r] *= factor;
		task->most[r] = most;
	}
	task->total[r] += te_kernel.exp_sum((size_t) (to - from), task->most[r], scores + from);
}

static void
add_page(PageTask *task, const char *head, int32_t key, int32_t n)
{
	const TePageLayout *layout = &task->paged->layout;
	size_t		d_head = (size_t) layout->d_head;
	const float *keys = read_keys(layout, head, task->expanded_keys);

	te_kernel.gemm_panel_f32(task->rows, d_head, task->queries, d_head, keys, task->scores, TE_PAGE, false);
	for (size_t r = 0; r < task->rows; r++)
		weigh_row(task, r, key, n);
	for (size_t panel = 0; panel < value_panels(layout->d_head); panel++)
	{
		const float *values = read_values(layout, head + layout->key_bytes, panel, (size_t) n, task->expanded_values);

		te_kernel.gemm_panel_f32(task->rows, (size_t) n, task->scores, TE_PAGE, values,
								 task->result + panel * TE_PANEL, task->ld, true);
	}
}

static void
write_rows(const PageTask *task)
{
	const TeAttention *at = &task->paged->at;
	size_t		d_head = (size_t) at->d_head;

	for (size_t r = 0; r < task->rows; r++)
	{
		size_t		token = (size_t) task->token + r / task->group;
		size_t		head = (size_t) task->kv_head * task->group + r % task->group;

		te_kernel.scale(d_head, 1 / task->total[r], task->result + r * task->ld, at->out + token * at->ld_out + head * d_head);
	}
}

void
te_paged_attention_task(void *arg, size_t number, int worker)
{
	const TePagedAttention *paged = arg;
	const TeAttention *at = &paged->at;
	int32_t		block = (int32_t) (number / (size_t) at->n_kv_head);
	int			s = te_part_of(paged->blocks, at->n_seq, block);
	int32_t		first = (block - paged->blocks[s]) * (int32_t) task_tokens(paged);	/* of the sequence's new tokens */
	int32_t		n_tokens = TE_MIN((int32_t) task_tokens(paged), at->seq_start[s + 1] - at->seq_start[s] - first);
	PageTask	task = {
		.paged = paged,.kv_head = (int) (number % (size_t) at->n_kv_head),.group = (size_t) (at->n_head / at->n_kv_head),
		.token = at->seq_start[s] + first,.position = paged->first[s] + first
	};
	int32_t		end = task.position + n_tokens; /* of the keys that are seen */
	int32_t		begin = at->window > 0 ? TE_MAX(task.position - at->window, 0) : 0;

	task.rows = (size_t) n_tokens * task.group;
	cut_scratch(&task, at->scratch + (size_t) worker * at->scratch_stride);
	begin_rows(&task);
	for (int32_t page = begin / TE_PAGE; page * TE_PAGE < end; page++)
		add_page(&task, paged->pages[s][page] + paged->layer_offset + (size_t) task.kv_head * head_bytes(&paged->layout),
				 page * TE_PAGE, TE_MIN(TE_PAGE, end - page * TE_PAGE));
	write_rows(&task);
}
