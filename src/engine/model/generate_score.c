/*-------------------------------------------------------------------------
 * generate_score.c
 *	  How probable the tokens of a text are to a generator's model.
 *
 * The text goes through the model in pieces, over the cache like a prompt, so that logits of a piece only are there at a time, however
 * long the text and large the vocabulary.  What is known of its beginning is used for tokens that are only read, not for those that are to be scored:
 * their logits are not kept anywhere.
 *-------------------------------------------------------------------------
 */
#include "model/generate.h"

#include <math.h>

#define PIECE_BYTES ((size_t) 32 << 20) /* of logits */

/* ln of the probability of one of n outputs. */
static double
log_probability(const float *logits, size_t n, int32_t id)
{
	float		most = te_kernel.max(n, logits);
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += exp((double) logits[i] - most);
	if (!(sum > 0 && isfinite(most) && isfinite(sum)))
		te_throw(TE_ERR_CORRUPT, "the model's logits are not numbers");
	return logits[id] - most - log(sum);
}

/* Tokens of text and target, one after the other; how many are the text's. */
static int32_t *
text_and_target(TeGenerator *generator, TeStr text, TeStr target, size_t *n_text, size_t *n)
{
	TeArena    *arena = generator->scratch;
	size_t		n_untruncated;
	int32_t    *ids = te_prompt_tokens(generator, arena, text, false, n_text);
	TeToken    *more;
	int32_t    *all;
	size_t		n_more = 0;

	*n = *n_text;
	if (target.data == NULL)
		return ids;
	more = te_encode_alloc(generator->tokenizer, arena, target, (TeStr) {NULL, 0}, false, 0, &n_more, &n_untruncated);
	all = te_new_array(arena, int32_t, *n_text + n_more);
	memcpy(all, ids, *n_text * sizeof(int32_t));
	for (size_t i = 0; i < n_more; i++)
	{
		te_check_token(generator, more[i].id);
		all[(*n)++] = more[i].id;
	}
	return all;
}

/* The pass over tokens [n_cached, n_cached + n), of whose logits those from `first` on are looked at. */
static void
score_piece(TeGenerator *generator, TeSequence *sequence, const int32_t *ids, size_t n_ids, size_t n, size_t first, TeTokenScore *scores)
{
	size_t		outputs = (size_t) te_generator_outputs(generator);
	size_t		stop = sequence->n_cached + n;
	size_t		begin = TE_MAX(sequence->n_cached, first);
	TeWork		work = {.sequence = sequence,.ids = ids,.n_ids = n_ids,.n = n,.n_wanted = begin < stop ? stop - begin : 0};

	te_generator_pass(generator, &work, 1);
	for (size_t t = begin; t < stop; t++)
		scores[t - first] = (TeTokenScore) {.id = ids[t + 1],.logprob = log_probability(work.logits + (t - begin) * outputs, outputs, ids[t + 1])};
	te_sequence_computed(generator->cache, sequence, ids, stop);
}

TeTokenScore *
te_generator_score(TeGenerator *generator, TeStr text, TeStr target, TeArena *arena, size_t *n)
{
	size_t		outputs = (size_t) te_generator_outputs(generator);
	size_t		piece = TE_MIN((size_t) TE_PROMPT_TOKENS, TE_MAX((size_t) 1, PIECE_BYTES / (outputs * sizeof(float))));
	TeSequence	sequence = {.arena = generator->scratch};
	size_t		n_text;
	size_t		n_all;
	int32_t    *ids;
	TeTokenScore *scores;
	size_t		first;

	te_arena_reset(generator->scratch);
	ids = text_and_target(generator, text, target, &n_text, &n_all);
	if (n_all > generator->context)
		te_throw(TE_ERR_TOO_LONG, "the text has %zu tokens, but the model takes %zu at most", n_all, generator->context);
	/* of a text by itself, the first token has nothing before it: it is there without a probability, but where it is the model's own */
	first = target.data != NULL ? n_text - 1 : 0;
	scores = te_new_array(arena, TeTokenScore, n_all);
	*n = 0;
	if (target.data == NULL && ids[0] != te_model_pipeline(generator->model)->generation.begin_id)
		scores[(*n)++] = (TeTokenScore) {.id = ids[0],.logprob = NAN};
	if (first > 0)
		te_sequence_begin(generator->cache, &sequence, ids, first);
	for (size_t done = sequence.n_cached; done + 1 < n_all; done = sequence.n_cached)
	{
		size_t		m = TE_MIN(piece, n_all - 1 - done);

		if (!te_sequence_reserve(generator->cache, &sequence, done + m))
			te_throw_hint(TE_ERR_LIMIT, NULL, "Raise transformer.kv_cache.", "keys and values of %zu tokens do not fit into their memory", n_all);
		score_piece(generator, &sequence, ids, n_all, m, first, scores + *n);
	}
	*n += n_all - 1 - TE_MIN(first, n_all - 1);
	te_sequence_end(generator->cache, &sequence, ids);
	return scores;
}
