/*-------------------------------------------------------------------------
 * kernel_check_attention.h
 *	  The checker of test_kernels.c for attention, and the cases and batches that its other tests of attention share with it.
 *
 * Part of test_kernels.c, which includes it below its own sizes and special values.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNEL_CHECK_ATTENTION_H
#define TE_KERNEL_CHECK_ATTENTION_H

typedef struct AttentionCase
{
	int			n_head;
	int			n_kv_head;
	int			d_head;
	bool		causal;
	int			window;
	bool		bias;
	int			relative;		/* 1: keys, 2: queries, 3: both */
	bool		slopes;
	float		softcap;
} AttentionCase;

static const AttentionCase attention_cases[] = {
	{2, 2, 32, false, 0, false},
	{2, 2, 64, false, 0, false},
	{2, 2, 32, true, 0, false},
	{4, 2, 16, false, 0, true},
	{6, 2, 24, true, 5, true},
	{2, 1, 40, false, 70, false},
	{1, 1, 1, false, 0, true},
	{1, 1, 3, true, 1, false},
	{1, 1, 128, true, 100, false},
	{1, 1, 256, false, 0, false},
	{1, 1, 33, false, 3, true},
	{2, 2, 32, false, 64, false},
	{2, 2, 16, true, 64, false},
	{2, 2, 32, false, 0, false, 3},
	{3, 3, 5, false, 0, true, 1},
	{1, 1, 17, false, 0, false, 2},
	{2, 2, 64, true, 0, false, 3},
	{2, 2, 128, false, 0, false, 3},
	{4, 2, 16, true, 0, false, 0, true},
	{3, 3, 20, false, 40, true, 0, true},
	{2, 1, 32, true, 0, false, 0, false, 1.5f},
	{2, 2, 40, true, 30, true, 0, false, 50},
	{2, 2, 16, false, 0, false, 3, false, 4},
};

static const float attention_slopes[] = {0.5f, 0.25f, -0.125f, 0.0625f};

static const int32_t sequence_lengths[] = {1, 2, 5, 12, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 128, 129, 200};

/* All sequences of the list as one batch. */
static TeAttention
attention_make(const AttentionCase *c, const int32_t *lengths, int n_seq, int32_t **starts)
{
	TeAttention at = {.n_head = c->n_head,.n_kv_head = c->n_kv_head,.d_head = c->d_head,.causal = c->causal,.window = c->window,
		.softcap = c->softcap};
	size_t		n_tok = 0;

	*starts = malloc((size_t) (n_seq + 1) * sizeof(int32_t));
	for (int i = 0; i < n_seq; i++)
	{
		(*starts)[i] = (int32_t) n_tok;
		n_tok += (size_t) lengths[i];
	}
	(*starts)[n_seq] = (int32_t) n_tok;
	at.n_seq = n_seq;
	at.seq_start = *starts;
	at.scale = 1.0f / sqrtf((float) c->d_head);
	at.ld_q = (size_t) (c->n_head * c->d_head) + 5;
	at.ld_k = (size_t) (c->n_kv_head * c->d_head);
	at.ld_v = (size_t) (c->n_kv_head * c->d_head) + 1;
	at.ld_out = (size_t) (c->n_head * c->d_head) + 2;
	at.q = floats(n_tok * at.ld_q, 3);
	at.k = floats(n_tok * at.ld_k, 3);
	at.v = floats(n_tok * at.ld_v, 1);
	at.out = floats(n_tok * at.ld_out, 0);
	at.bias_span = 200;
	at.bias = c->bias ? floats((size_t) c->n_head * (2 * 200 - 1), 4) : NULL;
	at.slopes = c->slopes ? attention_slopes : NULL;
	if (c->relative != 0)
	{
		size_t		n = (size_t) (c->n_head * c->d_head * 8 * TE_PANEL);

		at.relative_panels = 8;
		at.relative_keys = (c->relative & 1) != 0 ? floats(n, 2) : NULL;
		at.relative_queries = (c->relative & 2) != 0 ? floats(n, 2) : NULL;
	}
	at.scratch_stride = te_attention_scratch(&at);
	at.scratch = floats(at.scratch_stride * (size_t) te_workers(), 1);
	return at;
}

static void
attention_free(TeAttention *at, int32_t *starts)
{
	floats_free((float *) at->q);
	floats_free((float *) at->k);
	floats_free((float *) at->v);
	floats_free(at->out);
	if (at->bias != NULL)
		floats_free((float *) at->bias);
	if (at->relative_keys != NULL)
		floats_free((float *) at->relative_keys);
	if (at->relative_queries != NULL)
		floats_free((float *) at->relative_queries);
	floats_free(at->scratch);
	free(starts);
}

/* Bits of the rows [t0, t1) of the result, for comparing runs. */
static uint64_t
rows_hash(const TeAttention *at, int32_t t0, int32_t t1)
{
	uint64_t	hash = 0;

	for (int32_t t = t0; t < t1; t++)
		hash = hash * 31 + te_hash(at->out + (size_t) t * at->ld_out, (size_t) (at->n_head * at->d_head) * sizeof(float));
	return hash;
}

static void
check_attention(double error)
{
	for (size_t i = 0; i < LENGTH(attention_cases); i++)
	{
		int32_t    *starts;
		TeAttention at = attention_make(&attention_cases[i], sequence_lengths, LENGTH(sequence_lengths), &starts);
		size_t		n = (size_t) starts[at.n_seq] * at.ld_out;
		float	   *expected = floats(n, 0);
		float	   *actual = at.out;

		te_parallel_for(te_attention_tasks(&at), te_attention_task, &at);
		at.out = expected;
		for (int s = 0; s < at.n_seq; s++)
		{
			for (int head = 0; head < at.n_head; head++)
				te_kernel_ref.attention(&at, head, starts[s], starts[s + 1], starts[s], starts[s + 1], NULL);
		}
		check_all("attention", i, actual, expected, n, error);
		at.out = actual;
		floats_free(expected);
		attention_free(&at, starts);
	}
}

#endif							/* TE_KERNEL_CHECK_ATTENTION_H */
