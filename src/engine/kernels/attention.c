/*-------------------------------------------------------------------------
 * attention.c
 *	  Attention over packed sequences: how it is cut into tasks.
 *
 * Each sequence is cut into blocks of 64 queries from its own start, so that
 * a block does not depend on what else is in the batch.  A task is one head of
 * all blocks that begin in one window of 64 tokens of the batch: several short
 * sequences, or one block of a long one.  So the number of tasks needs no
 * table and short sequences do not drown in dispatch.  Heads vary fastest:
 * neighbouring tasks read neighbouring columns of the same rows.
 *
 * The kernel does a block against all keys of the sequence in one go, a block
 * of keys at a time with a running maximum ("flash"), so the scratch of a
 * worker does not grow with the length of a text.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

size_t
te_attention_tasks(const TeAttention *attention)
{
	size_t		n_tok = (size_t) (attention->seq_start[attention->n_seq] - attention->seq_start[0]);

	return (n_tok + TE_QUERY_BLOCK - 1) / TE_QUERY_BLOCK * (size_t) attention->n_head;
}

/* Transposed queries and results, scores, running maximum and sum, products with distances; see the kernel in vec.inc. */
size_t
te_attention_scratch(const TeAttention *attention)
{
	size_t		relative = attention->relative_panels > 0 ? (size_t) 2 * TE_REACH * TE_QUERY_BLOCK : 0;

	return (size_t) TE_QUERY_BLOCK * (2 * (size_t) attention->d_head + TE_KEY_BLOCK + 2) + relative;
}

void
te_attention_task(void *arg, size_t task, int worker)
{
	const TeAttention *at = arg;
	int			head = (int) (task % (size_t) at->n_head);
	int32_t		from = at->seq_start[0] + (int32_t) (task / (size_t) at->n_head) * TE_QUERY_BLOCK;
	int32_t		to = TE_MIN(from + TE_QUERY_BLOCK, at->seq_start[at->n_seq]);
	float	   *scratch = at->scratch + (size_t) worker * at->scratch_stride;

	for (int s = te_part_of(at->seq_start, at->n_seq, from); s < at->n_seq && at->seq_start[s] < to; s++)
	{
		int32_t		s0 = at->seq_start[s];
		int32_t		s1 = at->seq_start[s + 1];
		int32_t		skipped = TE_MAX(from - s0 + TE_QUERY_BLOCK - 1, 0) / TE_QUERY_BLOCK;

		for (int32_t q0 = s0 + skipped * TE_QUERY_BLOCK; q0 < TE_MIN(s1, to); q0 += TE_QUERY_BLOCK)
			te_kernel.attention(at, head, s0, s1, q0, TE_MIN(q0 + TE_QUERY_BLOCK, s1), scratch);
	}
}
