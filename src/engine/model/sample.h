/*-------------------------------------------------------------------------
 * sample.h
 *	  Which token comes next: from a row of logits, by the options of generation.
 *
 * A sampler belongs to one row of one generator and lies in an arena that lives
 * at least as long.  What it does depends on its options, on the row's tokens
 * and on the logits, never on other rows: the i-th token that it draws takes number i
 * of the stream of its seed.
 *-------------------------------------------------------------------------
 */
#ifndef TE_SAMPLE_H
#define TE_SAMPLE_H

#include "engine.h"

/* Throws TE_ERR_INVALID, with a hint, where an option is out of its range or two exclude each other. */
extern void te_generate_check(const TeGenerateOptions *options);

typedef struct TeSampler TeSampler;

/*
 * The seed is taken as it is, whether options say `seeded` or not: who calls draws one.  The prompt is copied; ids
 * beyond n_vocab are allowed there, and ignored.
 */
extern TeSampler *te_sampler_create(TeArena *arena, const TeGenerateOptions *options, int n_vocab,
									const int32_t *prompt, size_t n_prompt);
extern TeSampler *te_sampler_copy(TeArena *arena, const TeSampler *sampler);

/*
 * The next token of logits[n_vocab], which are overwritten.  allowed: a bit an id, (n_vocab + 63) / 64 words, at least one
 * of them set; NULL: all.  *logprob, where not NULL: of the model's own distribution, before all options.  Throws
 * TE_ERR_CORRUPT where a logit is not a number.  The token is not the row's before te_sampler_accept().
 */
extern int32_t te_sampler_next(TeSampler *sampler, float *logits, const uint64_t *allowed, double *logprob);
extern void te_sampler_accept(TeSampler *sampler, int32_t id);

/*
 * For beams: the k best after penalties and mask, the best first, equal ones by their ids; how many there are.
 * As transformers has it, penalties are of log probabilities here, and nothing is normalized after them.
 */
extern size_t te_sampler_best(TeSampler *sampler, float *logits, const uint64_t *allowed, size_t k,
							  int32_t *ids, double *logprobs);

#endif							/* TE_SAMPLE_H */
