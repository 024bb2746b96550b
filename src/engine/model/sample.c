/*-------------------------------------------------------------------------
 * sample.c
 *	  Samplers: penalties, what may not come again, and the draw.
 *
 * The order is that of transformers' LogitsProcessors: repetition penalty (of prompt and text), presence and frequency penalties (of the text,
 * as OpenAI defines them), n-grams that may not come again, the mask, temperature, top-k, top-p, min-p.  As
 * there, top-k keeps all that equal the k-th, and top-p keeps the fewest tokens
 * that reach it; of equal ones at its edge those of lower ids.
 *
 * The mask is stronger than n-grams: where these leave nothing, they are let come again.
 *
 * Nothing is sorted.  What top-k and top-p keep is said by one value, the least that
 * stays.  It is found by digits, as a radix sort would: a logit's bits in an order that
 * compares as the numbers do are a key of 32 bits; three passes find its upper
 * 11, its middle 11 and its lower 10 bits by adding up weights in as many buckets.  A
 * token weighs 1 for top-k and its probability for top-p.  The draw goes through tokens by
 * their ids, so that it does not depend on the order in which anything was found.
 *
 * The row's different tokens are in a hash table with how often the text has each; its entries
 * keep a logit before it was changed, since the log probability that is told is the
 * model's own.
 *
 * Literature: Keskar et al., 2019 (repetition penalty); Holtzman et al., 2020 (top-p); Nguyen et al., 2024 (min-p).
 *-------------------------------------------------------------------------
 */
#include "model/sample.h"

#include "base/random.h"
#include "graph/graph.h"

#include <math.h>

#define DIGITS 2048
#define FEW_ENTRIES 64			/* of the table at first; a power of two */

typedef struct Entry
{
	int32_t		id;				/* -1: free */
	uint32_t	n_text;			/* how often it is in the text */
	float		raw;			/* its logit as the model gave it */
} Entry;

struct TeSampler
{
	TeArena    *arena;
	TeGenerateOptions options;	/* numbers only; what it points to is not kept */
	uint64_t	stream;
	int			n_vocab;
	size_t		n_prompt;
	size_t		n;				/* tokens of prompt and text */
	size_t		capacity;
	int32_t    *ids;
	size_t		n_entries;
	size_t		mask;			/* entries - 1 */
	Entry	   *entries;
};

/* ---- options ---- */

static void
check_real(const char *name, double value, double min, double max)
{
	if (!(value >= min && value <= max))
		te_throw(TE_ERR_INVALID, "%s must be from %g to %g, not %g", name, min, max, value);
}

static void
check_int(const char *name, int value, int min, int max)
{
	if (value < min || value > max)
		te_throw(TE_ERR_INVALID, "%s must be from %d to %d, not %d", name, min, max, value);
}

/* What does not go together. */
static void
check_together(const TeGenerateOptions *options)
{
	int			forms = (options->grammar.data != NULL) + (options->schema != NULL) + (options->n_choices > 0);

	if (forms > 1)
		te_throw_hint(TE_ERR_INVALID, NULL, "Choices can be written as an enum of a JSON schema, or as alternatives of a grammar.",
					  "grammar, JSON schema and choices exclude each other");
	if (options->beams > 1 && options->temperature > 0)
		te_throw_hint(TE_ERR_INVALID, "Beam search looks for the most probable text, a temperature above 0 draws one.",
					  "Set either beams to 1 or temperature to 0.",
					  "beam search does not go with a temperature of %g", options->temperature);
	for (size_t i = 0; i < options->n_stop; i++)
	{
		if (options->stop[i].len == 0)
			te_throw_hint(TE_ERR_INVALID, NULL, "An empty text would end every row before it begins.",
						  "a text to stop at must not be empty");
	}
}

void
te_generate_check(const TeGenerateOptions *options)
{
	check_int("max_tokens", options->max_tokens, 1, INT32_MAX);
	check_real("temperature", options->temperature, 0, 100);
	check_int("top_k", options->top_k, 0, INT32_MAX);
	if (!(options->top_p > 0 && options->top_p <= 1))
		te_throw_hint(TE_ERR_INVALID, NULL, "1 keeps all tokens; for the most probable one alone set temperature to 0.",
					  "top_p must be above 0 and at most 1, not %g", options->top_p);
	check_real("min_p", options->min_p, 0, 1);
	if (!(options->repetition_penalty > 0 && options->repetition_penalty <= 100))
		te_throw_hint(TE_ERR_INVALID, NULL, "1 is none; above 1 what occurred becomes less probable, below 1 more.",
					  "repetition_penalty must be above 0 and at most 100, not %g", options->repetition_penalty);
	check_real("presence_penalty", options->presence_penalty, -100, 100);
	check_real("frequency_penalty", options->frequency_penalty, -100, 100);
	check_int("no_repeat_ngram", options->no_repeat_ngram, 0, INT32_MAX);
	check_int("beams", options->beams, 1, 64);
	check_real("length_penalty", options->length_penalty, -100, 100);
	check_together(options);
}

/* ---- the row's tokens ---- */

static inline size_t
slot_of(const TeSampler *sampler, int32_t id)
{
	size_t		at = (size_t) te_random_mix((uint64_t) id) & sampler->mask;

	while (sampler->entries[at].id >= 0 && sampler->entries[at].id != id)
		at = (at + 1) & sampler->mask;
	return at;
}

static void
new_entries(TeSampler *sampler, size_t n)
{
	sampler->mask = n - 1;
	sampler->entries = te_new_array(sampler->arena, Entry, n);
	for (size_t i = 0; i < n; i++)
		sampler->entries[i].id = -1;
}

/* At most half full. */
static void
grow_entries(TeSampler *sampler)
{
	const Entry *old = sampler->entries;
	size_t		n = sampler->mask + 1;

	new_entries(sampler, n * 2);
	for (size_t i = 0; i < n; i++)
	{
		if (old[i].id >= 0)
			sampler->entries[slot_of(sampler, old[i].id)] = old[i];
	}
}

/* Ids that have no logit count for n-grams only. */
static void
count(TeSampler *sampler, int32_t id, uint32_t n_text)
{
	Entry	   *entry;

	if (id < 0 || id >= sampler->n_vocab)
		return;
	entry = &sampler->entries[slot_of(sampler, id)];
	if (entry->id < 0)
	{
		*entry = (Entry) {.id = id};
		sampler->n_entries++;
	}
	entry->n_text += n_text;
	if (sampler->n_entries * 2 > sampler->mask)
		grow_entries(sampler);
}

static void
append(TeSampler *sampler, int32_t id)
{
	if (sampler->n == sampler->capacity)
	{
		const int32_t *old = sampler->ids;

		sampler->capacity = te_mul_size(TE_MAX(sampler->capacity, (size_t) 64), 2);
		sampler->ids = te_new_array(sampler->arena, int32_t, sampler->capacity);
		if (sampler->n > 0)
			memcpy(sampler->ids, old, sampler->n * sizeof(int32_t));
	}
	sampler->ids[sampler->n++] = id;
}

TeSampler *
te_sampler_create(TeArena *arena, const TeGenerateOptions *options, int n_vocab, const int32_t *prompt, size_t n_prompt)
{
	TeSampler  *sampler = te_new(arena, TeSampler);

	te_assert(n_vocab > 0);
	sampler->arena = arena;
	sampler->options = *options;
	sampler->stream = te_random_stream(options->seed, 0);
	sampler->n_vocab = n_vocab;
	sampler->n_prompt = n_prompt;
	new_entries(sampler, FEW_ENTRIES);
	for (size_t i = 0; i < n_prompt; i++)
	{
		append(sampler, prompt[i]);
		count(sampler, prompt[i], 0);
	}
	return sampler;
}

TeSampler *
te_sampler_copy(TeArena *arena, const TeSampler *sampler)
{
	TeSampler  *copy = te_new(arena, TeSampler);

	*copy = *sampler;
	copy->arena = arena;
	copy->ids = te_new_array(arena, int32_t, copy->capacity);
	if (copy->n > 0)
		memcpy(copy->ids, sampler->ids, copy->n * sizeof(int32_t));
	copy->entries = te_new_array(arena, Entry, copy->mask + 1);
	memcpy(copy->entries, sampler->entries, (copy->mask + 1) * sizeof(Entry));
	return copy;
}

void
te_sampler_accept(TeSampler *sampler, int32_t id)
{
	append(sampler, id);
	count(sampler, id, 1);
}

/* ---- the model's own distribution ---- */

/*
 * exp(x) for x <= 0, within 2e-7 of it; 0 below -87.  Written so that a compiler makes vectors of it: a polynomial for the
 * fraction of the power of two, the rest put into the exponent.
 */
static inline float
exp_below(float x)
{
	float		clamped = x < -87.0f ? -87.0f : x;
	float		power = clamped * 1.44269504f;
	float		shifted = power + 12582912.0f;	/* rounds to an integer, which its lower bits are */
	float		whole = shifted - 12582912.0f;
	float		f = (clamped - whole * 0.693359375f) - whole * -2.12194440e-4f;
	float		y = 1.9875691500e-4f;
	uint32_t	bits;
	float		scale;

	y = y * f + 1.3981999507e-3f;
	y = y * f + 8.3334519073e-3f;
	y = y * f + 4.1665795894e-2f;
	y = y * f + 1.6666665459e-1f;
	y = y * f + 5.0000001201e-1f;
	y = y * f * f + f + 1;
	memcpy(&bits, &shifted, sizeof(bits));
	bits = (bits - 0x4B400000u + 127) << 23;
	memcpy(&scale, &bits, sizeof(scale));
	return x < -87.0f ? 0 : y * scale;
}

/* Sum of exp(x[i] - max), of copies, as the kernel leaves the exponentials where it found x. */
static double
sum_exp(const float *x, size_t n, float max)
{
	double		sum = 0;
	float		part[1024];

	for (size_t from = 0; from < n; from += TE_LENGTH(part))
	{
		size_t		m = TE_MIN(TE_LENGTH(part), n - from);

		memcpy(part, x + from, m * sizeof(float));
		sum += (double) te_kernel.exp_sum(m, max, part);
	}
	return sum;
}

/* The largest; also the look at whether all are numbers: a sum of zeros is NaN where one is not, or is infinite. */
static float
largest(const float *x, size_t n)
{
	float		max[16];
	float		zero[16] = {0};
	float		best;
	float		bad;
	size_t		i = 0;

	for (int j = 0; j < 16; j++)
		max[j] = -INFINITY;
	for (; i + 16 <= n; i += 16)
	{
		for (int j = 0; j < 16; j++)
		{
			max[j] = x[i + j] > max[j] ? x[i + j] : max[j];
			zero[j] += x[i + j] * 0;
		}
	}
	for (; i < n; i++)
	{
		max[0] = x[i] > max[0] ? x[i] : max[0];
		zero[0] += x[i] * 0;
	}
	best = max[0];
	bad = zero[0];
	for (int j = 1; j < 16; j++)
	{
		best = max[j] > best ? max[j] : best;
		bad += zero[j];
	}
	if (bad == 0)
		return best;
	/* minus infinity is what a model says of tokens that it never makes */
	for (i = 0; i < n; i++)
	{
		if (isnan(x[i]) || x[i] == INFINITY)
			te_throw(TE_ERR_CORRUPT, "the model's logit of token %zu is not a number", i);
	}
	if (best == -INFINITY)
		te_throw(TE_ERR_CORRUPT, "the model gives no token a probability");
	return best;
}

/* The logarithm of the sum of exponentials. */
static double
log_total(const float *logits, size_t n, float max)
{
	return max + log(sum_exp(logits, n, max));
}

static inline float
raw_logit(const TeSampler *sampler, const float *logits, int32_t id)
{
	const Entry *entry = &sampler->entries[slot_of(sampler, id)];

	return entry->id == id ? entry->raw : logits[id];
}

/* ---- penalties and the mask ---- */

/* All entries, so that raw is right for each. */
static void
penalize(TeSampler *sampler, float *logits)
{
	const TeGenerateOptions *o = &sampler->options;

	for (size_t i = 0; i <= sampler->mask; i++)
	{
		Entry	   *entry = &sampler->entries[i];
		float		x;

		if (entry->id < 0)
			continue;
		x = entry->raw = logits[entry->id];
		x = x < 0 ? x * o->repetition_penalty : x / o->repetition_penalty;
		if (entry->n_text > 0)
			x -= (float) entry->n_text * o->frequency_penalty + o->presence_penalty;
		logits[entry->id] = x;
	}
}

static inline bool
is_allowed(const uint64_t *allowed, size_t id)
{
	return allowed == NULL || (allowed[id / 64] >> (id % 64) & 1) != 0;
}

/* Words of 64 that are all allowed or all not are most. */
static void
apply_mask(float *logits, size_t n, const uint64_t *allowed)
{
	for (size_t from = 0; from < n; from += 64)
	{
		uint64_t	word = allowed[from / 64];
		size_t		to = TE_MIN(from + 64, n);

		if (word == UINT64_MAX)
			continue;
		for (size_t i = from; i < to; i++)
		{
			if ((word >> (i - from) & 1) == 0)
				logits[i] = -INFINITY;
		}
	}
}

/*
 * What would complete an n-gram that was there: call f for the token after each place where the last n - 1 tokens occurred
 * before.
 */
static void
each_ngram(const TeSampler *sampler, void (*f) (const TeSampler *sampler, float *logits, int32_t id), float *logits)
{
	size_t		n = (size_t) sampler->options.no_repeat_ngram;
	const int32_t *suffix;

	if (n == 0 || sampler->n < n)
		return;
	suffix = sampler->ids + sampler->n + 1 - n;
	for (size_t i = 0; i + n <= sampler->n; i++)
	{
		int32_t		id = sampler->ids[i + n - 1];

		if (id >= 0 && id < sampler->n_vocab && memcmp(sampler->ids + i, suffix, (n - 1) * sizeof(int32_t)) == 0)
			f(sampler, logits, id);
	}
}

static void
ban(const TeSampler *sampler, float *logits, int32_t id)
{
	logits[id] = -INFINITY;
}

/* Unpenalized: there is nothing else. */
static void
let_come_again(const TeSampler *sampler, float *logits, int32_t id)
{
	logits[id] = raw_logit(sampler, logits, id);
}

/* Has one of them a probability? */
static bool
any_finite(const float *logits, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (logits[i] > -INFINITY)
			return true;
	}
	return false;
}

static void
process(TeSampler *sampler, float *logits, const uint64_t *allowed)
{
	size_t		n = (size_t) sampler->n_vocab;

	penalize(sampler, logits);
	each_ngram(sampler, ban, logits);
	if (allowed != NULL)
		apply_mask(logits, n, allowed);
	if (sampler->options.no_repeat_ngram > 0 && !any_finite(logits, n))
	{
		each_ngram(sampler, let_come_again, logits);
		if (allowed != NULL)
			apply_mask(logits, n, allowed);
	}
}

/* ---- the choice ---- */

/* Of equal ones the first.  Where none has a probability, the first that is allowed. */
static int32_t
most_probable(const float *logits, size_t n, const uint64_t *allowed)
{
	size_t		best = 0;

	for (size_t i = 1; i < n; i++)
	{
		if (logits[i] > logits[best])
			best = i;
	}
	while (best < n && !is_allowed(allowed, best))
		best++;
	if (best == n)
		te_throw(TE_ERR_INTERNAL, "no token is allowed");
	return (int32_t) best;
}

/* An order of bits that is that of the numbers. */
static inline uint32_t
key_of(float x)
{
	uint32_t	bits;

	x += 0.0f;					/* -0 is 0 */
	memcpy(&bits, &x, sizeof(bits));
	return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/* What stays of the logits: those of keys above `least`, and of that very key n_ties, by id. */
typedef struct Kept
{
	uint32_t	least;
	size_t		n_ties;
	float		max;			/* of all logits */
	float		temperature;
} Kept;

/* A probability, times a constant.  The difference first, so that a temperature near 0 gives 0 and not infinities. */
static inline float
probability(const Kept *kept, float logit)
{
	return exp_below((logit - kept->max) / kept->temperature);
}

static inline double
weight_of(const Kept *kept, float logit, bool by_probability)
{
	return by_probability ? probability(kept, logit) : 1;
}

/*
 * The greatest key whose tokens, with those above, weigh at least `wanted`; *above is what those above it weigh.  Digit
 * by digit: what is known of the key is its bits above `shift`.
 */
static uint32_t
select_key(const Kept *kept, const float *logits, size_t n, bool by_probability, double wanted, double *above)
{
	static const int shifts[] = {21, 10, 0};
	uint32_t	known = 0;
	uint32_t	known_mask = 0;

	*above = 0;
	for (size_t pass = 0; pass < TE_LENGTH(shifts); pass++)
	{
		double		weights[DIGITS] = {0};
		uint32_t	digits = pass == 2 ? DIGITS / 2 : DIGITS;
		uint32_t	digit;

		for (size_t i = 0; i < n; i++)
		{
			uint32_t	key = key_of(logits[i]);

			if (logits[i] > -INFINITY && key >= kept->least && (key & known_mask) == known)
				weights[key >> shifts[pass] & (digits - 1)] += weight_of(kept, logits[i], by_probability);
		}
		for (digit = digits - 1; digit > 0 && *above + weights[digit] < wanted; digit--)
			*above += weights[digit];
		known |= digit << shifts[pass];
		known_mask |= (digits - 1) << shifts[pass];
	}
	return known;
}

static void
keep_top_k(Kept *kept, const float *logits, size_t n, int k)
{
	double		above;

	if (k > 0 && (size_t) k < n)
		kept->least = TE_MAX(kept->least, select_key(kept, logits, n, false, k, &above));
}

/* A token stays where those above it weigh less than top_p of all. */
static void
keep_top_p(Kept *kept, const float *logits, size_t n, double top_p)
{
	double		total = 0;
	double		above;
	double		one = 0;

	if (top_p >= 1)
		return;
	for (size_t i = 0; i < n; i++)
	{
		if (key_of(logits[i]) >= kept->least && logits[i] > -INFINITY)
			total += weight_of(kept, logits[i], true);
	}
	kept->least = TE_MAX(kept->least, select_key(kept, logits, n, true, top_p * total, &above));
	for (size_t i = 0; i < n && one == 0; i++)
	{
		if (key_of(logits[i]) == kept->least)
			one = weight_of(kept, logits[i], true);
	}
	kept->n_ties = 1;
	if (one > 0 && top_p * total > above)
		kept->n_ties = (size_t) TE_MAX(ceil((top_p * total - above) / one), 1.0);
}

/* Walks over what is kept, in the order of ids. */
typedef struct Walk
{
	const Kept *kept;
	const float *logits;
	size_t		n;
	size_t		next;
	size_t		ties;
	float		min_p;
} Walk;

/* The probability, times a constant; *id is -1 at the end. */
static double
walk(Walk *w, int32_t *id)
{
	for (; w->next < w->n; w->next++)
	{
		float		x = w->logits[w->next];
		uint32_t	key = key_of(x);
		float		p;

		if (x == -INFINITY || key < w->kept->least)
			continue;
		if (key == w->kept->least && w->ties++ >= w->kept->n_ties)
			continue;
		p = probability(w->kept, x);
		if (p < w->min_p)
			continue;
		*id = (int32_t) w->next++;
		return p;
	}
	*id = -1;
	return 0;
}

static int32_t
draw(const TeSampler *sampler, const float *logits, const uint64_t *allowed)
{
	const TeGenerateOptions *o = &sampler->options;
	size_t		n = (size_t) sampler->n_vocab;
	int32_t		best = most_probable(logits, n, allowed);
	int32_t		chosen = best;
	Kept		kept = {.n_ties = SIZE_MAX,.temperature = o->temperature};
	Walk		all = {&kept, logits, n, 0, 0, o->min_p};
	Walk		again = all;
	double		total = 0;
	double		left;
	int32_t		id;

	if (logits[best] == -INFINITY)
		return best;
	kept.max = logits[best];
	keep_top_k(&kept, logits, n, o->top_k);
	keep_top_p(&kept, logits, n, o->top_p);
	for (double p = walk(&all, &id); id >= 0; p = walk(&all, &id))
		total += p;
	left = te_random_uniform(sampler->stream, sampler->n - sampler->n_prompt) * total;
	for (double p = walk(&again, &id); id >= 0; p = walk(&again, &id))
	{
		if (p > 0)
			chosen = id;		/* the last one where rounding leaves something */
		left -= p;
		if (left < 0)
			break;
	}
	return chosen;
}

int32_t
te_sampler_next(TeSampler *sampler, float *logits, const uint64_t *allowed, double *logprob)
{
	size_t		n = (size_t) sampler->n_vocab;
	float		max = largest(logits, n);
	double		total = logprob != NULL ? log_total(logits, n, max) : 0;
	int32_t		id;

	process(sampler, logits, allowed);
	if (sampler->options.temperature > 0)
		id = draw(sampler, logits, allowed);
	else
		id = most_probable(logits, n, allowed);
	if (logprob != NULL)
		*logprob = raw_logit(sampler, logits, id) - total;
	return id;
}

/* ---- the k best ---- */

typedef struct Best
{
	size_t		n;
	int32_t    *ids;
	double	   *logprobs;
} Best;

/* Is the i-th behind the j-th? */
static inline bool
behind(const Best *best, size_t i, size_t j)
{
	if (best->logprobs[i] != best->logprobs[j])
		return best->logprobs[i] < best->logprobs[j];
	return best->ids[i] > best->ids[j];
}

static void
swap(Best *best, size_t i, size_t j)
{
	int32_t		id = best->ids[i];
	double		logprob = best->logprobs[i];

	best->ids[i] = best->ids[j];
	best->logprobs[i] = best->logprobs[j];
	best->ids[j] = id;
	best->logprobs[j] = logprob;
}

/* A heap with the last one on top, of n. */
static void
sift_down(Best *best, size_t at, size_t n)
{
	for (;;)
	{
		size_t		child = 2 * at + 1;

		if (child >= n)
			return;
		if (child + 1 < n && behind(best, child + 1, child))
			child++;
		if (!behind(best, child, at))
			return;
		swap(best, child, at);
		at = child;
	}
}

static void
add_best(Best *best, size_t k, int32_t id, double logprob)
{
	size_t		at = best->n;

	if (best->n == k)
	{
		/* ids come in order, so that an equal one stays out */
		if (logprob <= best->logprobs[0])
			return;
		best->ids[0] = id;
		best->logprobs[0] = logprob;
		sift_down(best, 0, k);
		return;
	}
	best->ids[at] = id;
	best->logprobs[at] = logprob;
	best->n++;
	for (; at > 0 && behind(best, at, (at - 1) / 2); at = (at - 1) / 2)
		swap(best, at, (at - 1) / 2);
}

size_t
te_sampler_best(TeSampler *sampler, float *logits, const uint64_t *allowed, size_t k, int32_t *ids, double *logprobs)
{
	size_t		n = (size_t) sampler->n_vocab;
	double		total = log_total(logits, n, largest(logits, n));
	Best		best = {0, ids, logprobs};

	for (size_t i = 0; i < n; i++)
		logits[i] = (float) (logits[i] - total);
	process(sampler, logits, allowed);
	for (size_t i = 0; k > 0 && i < n; i++)
	{
		if (logits[i] > -INFINITY)
			add_best(&best, k, (int32_t) i, logits[i]);
	}
	for (size_t last = best.n; last > 1; last--)
	{
		swap(&best, 0, last - 1);
		sift_down(&best, 0, last - 1);
	}
	return best.n;
}
