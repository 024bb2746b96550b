/*-------------------------------------------------------------------------
 * train_unigram.c
 *	  Vocabularies of the Unigram model: many pieces at first, of which the least useful go.
 *
 * T. Kudo, "Subword Regularization", 2018, as the reference does it.  The first pieces are
 * all characters and the strings of train_seeds.c.  Then, in turn: EM, which expects how
 * often each piece is used over all segmentations of all words and makes
 * its score of that (with a digamma, which lets rare pieces fade: P. Liang and D. Klein, "Structured Bayesian
 * Nonparametric Models", 2007); and pruning, which keeps the pieces without which the words would become the least
 * probable.  It ends where a tenth more than the vocabulary are left; those that lose least go last.
 * Characters are kept always.
 *
 * Sums over segmentations are forward-backward, not in logarithms but scaled at each place, so that all
 * forward values are 1 and a path costs a multiplication.  A scale is at most the reciprocal of an unknown character's
 * probability; TE_LONGEST_PIECE of them multiplied fit a double.
 *
 * One trie serves from first to last: pieces only go, and one that is gone has probability 0.
 *
 * Threads.  Words are summed up in blocks, and block i into sum i modulo SUMS, whatever the number of threads, so
 * that the result does not depend on it.  A block is milliseconds, so that a cancel is served.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"
#include "text/train.h"

#include <math.h>

#define SUMS 4
#define BLOCK_WORDS 2048
#define BLOCK_PIECES 2048
#define UNKNOWN 0				/* the piece that stands for characters without one */
#define UNKNOWN_PENALTY 10.0
#define FEWEST_EXPECTED 0.5		/* uses; pieces with less go */
#define MISSING_STEP 0.0001		/* between the scores of characters that EM has dropped */
#define LONGEST_WORD 1000		/* characters; see train_count.c */

/* Segmentations of a word.  Work memory of a thread. */
typedef struct Lattice
{
	size_t		n;				/* characters */
	int32_t		ids[LONGEST_WORD * TE_LONGEST_PIECE];	/* piece from a place, by its length - 1; -1: none */
	double		scale[LONGEST_WORD + 1];
	double		backward[LONGEST_WORD + 1];
	double		best[LONGEST_WORD + 1];
	uint32_t	len[LONGEST_WORD + 1];	/* of the last piece on the best way to a place */
} Lattice;

typedef struct Trainer
{
	TeArena    *arena;
	const TeLearnOptions *options;
	TeStr	   *words;
	uint64_t   *counts;
	size_t		n_words;

	/* pieces, by id; UNKNOWN is one of them */
	size_t		n_ids;
	TeStr	   *texts;
	double	   *scores;
	double	   *probabilities;	/* 0: gone */
	const TeTrie *trie;
	uint32_t   *pieces;			/* those that are left, UNKNOWN not among them */
	size_t		n_pieces;

	double	   *sums[SUMS];		/* by id */
	double	   *losses;			/* of pieces[i] */
	double		total;			/* of sums[0] */
	double		n_occurrences;	/* of words */
	size_t		first_block;	/* of the round */
	TeArena    *lattice_arena;
	Lattice    *lattices;		/* one a worker */
	int			n_lattices;
} Trainer;

/* ---- segmentations ---- */

/* All pieces from all places of a text; a character that is no piece is unknown. */
static void
fill_lattice(const Trainer *t, TeStr text, Lattice *lattice)
{
	size_t		width = (size_t) t->options->longest_piece;
	const char *end = text.data + text.len;
	const char *from = text.data;

	lattice->n = 0;
	while (from < end && lattice->n < LONGEST_WORD)
	{
		int32_t    *ids = lattice->ids + lattice->n++ * width;
		uint32_t	node = 0;
		size_t		len = 0;
		const char *next = NULL;

		memset(ids, 0xFF, width * sizeof(int32_t));
		for (const char *p = from; p < end && len < width && te_trie_step(t->trie, &node, (uint8_t) *p);)
		{
			int32_t		id;

			if (++p < end && (*p & 0xC0) == 0x80)
				continue;
			if (next == NULL)
				next = p;
			id = te_trie_value(t->trie, node);
			ids[len++] = id >= 0 && t->probabilities[id] > 0 ? id : -1;
		}
		if (ids[0] < 0)
			ids[0] = UNKNOWN;
		if (next == NULL)
			for (next = from + 1; next < end && (*next & 0xC0) == 0x80; next++)
				;
		from = next;
	}
}

/* Adds to `expected` how often each piece is used, over all segmentations by their probabilities. */
static void
expect(const Trainer *t, Lattice *lattice, double count, double *expected)
{
	size_t		width = (size_t) t->options->longest_piece;
	double	   *scale = lattice->scale;
	double	   *backward = lattice->backward;

	for (size_t to = 1; to <= lattice->n; to++)
	{
		double		sum = 0;
		double		scaled = 1;

		for (size_t len = 1; len <= TE_MIN(width, to); len++)
		{
			int32_t		id = lattice->ids[(to - len) * width + len - 1];

			if (id >= 0)
				sum += scaled * t->probabilities[id];
			scaled *= scale[to - len];
		}
		scale[to] = 1 / sum;
	}
	backward[lattice->n] = 1;
	for (size_t from = lattice->n; from-- > 0;)
	{
		double		scaled = 1;

		backward[from] = 0;
		for (size_t len = 1; len <= TE_MIN(width, lattice->n - from); len++)
		{
			int32_t		id = lattice->ids[from * width + len - 1];
			double		share;

			scaled *= scale[from + len];
			if (id < 0)
				continue;
			share = t->probabilities[id] * scaled * backward[from + len];
			backward[from] += share;
			expected[id] += count * share;
		}
	}
}

/* The best segmentation into pieces of `most` characters at most; gives its score.  Of equal ones, that with the longer last piece. */
static double
find_best(const Trainer *t, Lattice *lattice, size_t most)
{
	size_t		width = (size_t) t->options->longest_piece;

	lattice->best[0] = 0;
	for (size_t to = 1; to <= lattice->n; to++)
	{
		lattice->best[to] = -INFINITY;
		for (size_t len = TE_MIN(most, to); len > 0; len--)
		{
			int32_t		id = lattice->ids[(to - len) * width + len - 1];
			double		score = id < 0 ? -INFINITY : lattice->best[to - len] + t->scores[id];

			if (score > lattice->best[to])
			{
				lattice->best[to] = score;
				lattice->len[to] = (uint32_t) len;
			}
		}
	}
	return lattice->best[lattice->n];
}

/* The last piece of the best way to a place. */
static inline int32_t
best_id(const Trainer *t, const Lattice *lattice, size_t to)
{
	return lattice->ids[(to - lattice->len[to]) * (size_t) t->options->longest_piece + lattice->len[to] - 1];
}

/* ---- over all words ---- */

typedef void (*WordFunction) (const Trainer *t, Lattice *lattice, double count, double *sums);

static void
count_best(const Trainer *t, Lattice *lattice, double count, double *sums)
{
	find_best(t, lattice, (size_t) t->options->longest_piece);
	for (size_t to = lattice->n; to > 0; to -= lattice->len[to])
		sums[best_id(t, lattice, to)] += count;
}

static void
run_block(const Trainer *t, size_t task, int worker, WordFunction function)
{
	size_t		from = (t->first_block + task) * BLOCK_WORDS;
	size_t		to = TE_MIN(from + BLOCK_WORDS, t->n_words);
	Lattice    *lattice = &t->lattices[worker];

	for (size_t i = from; i < to; i++)
	{
		fill_lattice(t, t->words[i], lattice);
		function(t, lattice, (double) t->counts[i], t->sums[task]);
	}
}

static void
expect_block(void *arg, size_t task, int worker)
{
	run_block(arg, task, worker, expect);
}

static void
count_block(void *arg, size_t task, int worker)
{
	run_block(arg, task, worker, count_best);
}

/* For as many workers as there may be now. */
static void
need_lattices(Trainer *t)
{
	int			n = te_workers();

	if (n <= t->n_lattices)
		return;
	te_arena_reset(t->lattice_arena);
	t->lattices = te_new_array(t->lattice_arena, Lattice, n);
	for (int i = 0; i < n; i++)
		t->lattices[i].scale[0] = 1;
	t->n_lattices = n;
}

/* A task for each block, and sums[0] all of their sums. */
static void
sum_words(Trainer *t, TeTask task)
{
	size_t		n_blocks = (t->n_words + BLOCK_WORDS - 1) / BLOCK_WORDS;

	for (size_t i = 0; i < SUMS; i++)
		memset(t->sums[i], 0, t->n_ids * sizeof(double));
	for (t->first_block = 0; t->first_block < n_blocks; t->first_block += SUMS)
	{
		te_check_interrupts();
		need_lattices(t);
		te_parallel_for_few(t->n_lattices, TE_MIN(SUMS, n_blocks - t->first_block), task, t);
	}
	t->total = 0;
	for (size_t id = 0; id < t->n_ids; id++)
	{
		for (size_t i = 1; i < SUMS; i++)
			t->sums[0][id] += t->sums[i][id];
		t->total += t->sums[0][id];
	}
}

/* ---- EM ---- */

/* By its asymptotic series, for which x is moved to where that is exact. */
static double
digamma(double x)
{
	double		result = 0;
	double		square;

	for (; x < 7; x++)
		result -= 1 / x;
	x -= 0.5;
	square = 1 / (x * x);
	return result + log(x) + square * (1.0 / 24 - square * (7.0 / 960 - square * (31.0 / 8064 - square * 127.0 / 30720)));
}

/* Scores have changed, or pieces are gone: `kept` of them are left at the head of the list. */
static void
set_pieces(Trainer *t, size_t kept)
{
	double		least = INFINITY;

	for (size_t i = kept; i < t->n_pieces; i++)
		t->probabilities[t->pieces[i]] = 0;
	t->n_pieces = kept;
	for (size_t i = 0; i < kept; i++)
	{
		uint32_t	id = t->pieces[i];

		t->probabilities[id] = exp(t->scores[id]);
		least = TE_MIN(least, t->scores[id]);
	}
	t->scores[UNKNOWN] = (kept > 0 ? least : 0) - UNKNOWN_PENALTY;
	t->probabilities[UNKNOWN] = exp(t->scores[UNKNOWN]);
}

static void
run_em(Trainer *t)
{
	const double *expected = t->sums[0];
	size_t		kept = 0;
	double		sum = 0;

	sum_words(t, expect_block);
	for (size_t i = 0; i < t->n_pieces; i++)
	{
		if (expected[t->pieces[i]] >= FEWEST_EXPECTED)
			sum += expected[t->pieces[i]];
	}
	sum = digamma(sum);
	for (size_t i = 0; i < t->n_pieces; i++)
	{
		uint32_t	id = t->pieces[i];

		if (expected[id] < FEWEST_EXPECTED)
		{
			t->probabilities[id] = 0;
			continue;
		}
		t->scores[id] = digamma(expected[id]) - sum;
		t->pieces[kept++] = id;
	}
	t->n_pieces = kept;
	set_pieces(t, kept);
}

/* ---- pruning ---- */

#define KEEP INFINITY			/* in the place of a loss */
#define DROP (-INFINITY)

/*
 * How much less probable, in logarithms a word, all words would be without a piece, if the next best segmentation
 * of it takes its place everywhere.  sums[0]: how often each piece is used in the best segmentations.
 */
static double
loss_of(const Trainer *t, uint32_t id, Lattice *lattice)
{
	const double *used = t->sums[0];
	double		alternative;
	double		total;
	double		gain = 0;
	int			n = 0;

	fill_lattice(t, t->texts[id], lattice);
	if (lattice->n == 1)
		return KEEP;
	if (used[id] == 0)
		return DROP;
	alternative = find_best(t, lattice, lattice->n - 1);
	if (alternative > t->scores[id])
		return KEEP;
	for (size_t to = lattice->n; to > 0; to -= lattice->len[to])
		n++;
	total = log(t->total + used[id] * (n - 1));
	for (size_t to = lattice->n; to > 0; to -= lattice->len[to])
		gain += log(used[best_id(t, lattice, to)] + used[id]) - total;
	return used[id] / t->n_occurrences * (log(used[id]) - log(t->total) - gain);
}

static void
losses_of_block(void *arg, size_t task, int worker)
{
	const Trainer *t = arg;
	size_t		from = (t->first_block + task) * BLOCK_PIECES;
	size_t		to = TE_MIN(from + BLOCK_PIECES, t->n_pieces);

	for (size_t i = from; i < to; i++)
		t->losses[i] = loss_of(t, t->pieces[i], &t->lattices[worker]);
}

static bool
by_loss(const void *arg, uint32_t a, uint32_t b)
{
	const double *losses = arg;

	return losses[a] > losses[b];
}

/* Those that must be kept stay in their order, then come the others by their loss.  `most` pieces are left, or a few more. */
static void
prune(Trainer *t, size_t most)
{
	TeArena    *scratch = te_arena_create(t->arena, "order of pieces");
	size_t		n_blocks = (t->n_pieces + BLOCK_PIECES - 1) / BLOCK_PIECES;
	uint32_t   *pieces = te_alloc(scratch, te_mul_size(t->n_pieces, sizeof(uint32_t)));
	uint32_t   *order;
	size_t		kept = 0;

	sum_words(t, count_block);
	for (t->first_block = 0; t->first_block < n_blocks; t->first_block += SUMS)
	{
		te_check_interrupts();
		need_lattices(t);
		te_parallel_for_few(t->n_lattices, TE_MIN(SUMS, n_blocks - t->first_block), losses_of_block, t);
	}
	order = te_learn_order(scratch, t->n_pieces, by_loss, t->losses);
	memcpy(pieces, t->pieces, t->n_pieces * sizeof(uint32_t));
	for (size_t i = 0; i < t->n_pieces; i++)
	{
		uint32_t	number = order[i];

		if (t->losses[number] == KEEP || (t->losses[number] != DROP && kept < most))
			t->pieces[kept++] = pieces[number];
		else
			t->probabilities[pieces[number]] = 0;
	}
	t->n_pieces = kept;
	set_pieces(t, kept);
	te_arena_destroy(scratch);
}

/* ---- the first pieces ---- */

static bool
by_char_count(const void *arg, uint32_t a, uint32_t b)
{
	const TeLearnChar *chars = arg;

	return chars[a].count != chars[b].count ? chars[a].count > chars[b].count : chars[a].c > chars[b].c;
}

static void
add_piece(Trainer *t, TeStr text, double score)
{
	t->pieces[t->n_pieces++] = (uint32_t) t->n_ids;
	t->texts[t->n_ids] = text;
	t->scores[t->n_ids++] = score;
	t->total += score;
}

static const TeTrie *
build_trie(Trainer *t)
{
	TeArena    *scratch = te_arena_create(t->arena, "keys");
	TeTrieKey  *keys = te_new_array(scratch, TeTrieKey, t->n_pieces);
	TeBuffer	into;
	TeCompiler	compiler = {.arena = scratch,.into = &into};
	uint32_t	at;

	te_buffer_init(&into, t->arena);
	for (size_t i = 0; i < t->n_pieces; i++)
		keys[i] = (TeTrieKey) {t->texts[t->pieces[i]], (int32_t) t->pieces[i]};
	at = te_trie_compile(&compiler, keys, t->n_pieces);
	te_arena_destroy(scratch);
	return (const TeTrie *) (into.data + at);
}

static void
start_pieces(Trainer *t, const TeLearnAlphabet *alphabet)
{
	TeArena    *scratch = te_arena_create(t->arena, "first pieces");
	size_t		most = (size_t) TE_MAX(t->options->seed_size - (int64_t) alphabet->n, 1);
	size_t		n_seeds;
	TeLearnSeed *seeds = te_learn_seeds(t->arena, scratch, t->words, t->n_words, (size_t) t->options->longest_piece, most, &n_seeds);
	size_t		n = 1 + alphabet->n + n_seeds;
	uint32_t   *order = te_learn_order(scratch, alphabet->n, by_char_count, alphabet->chars);

	t->texts = te_new_array(t->arena, TeStr, n);
	t->scores = te_new_array(t->arena, double, n);
	t->probabilities = te_new_array(t->arena, double, n);
	t->losses = te_new_array(t->arena, double, n);
	t->pieces = te_new_array(t->arena, uint32_t, n);
	for (size_t i = 0; i < SUMS; i++)
		t->sums[i] = te_new_array(t->arena, double, n);
	t->n_ids = 1;
	for (size_t i = 0; i < alphabet->n; i++)
	{
		const TeLearnChar *c = &alphabet->chars[order[i]];
		char		text[4];

		add_piece(t, te_str_copy(t->arena, (TeStr) {text, te_utf8_put(text, (int32_t) c->c)}), (double) c->count);
	}
	for (size_t i = 0; i < n_seeds; i++)
		add_piece(t, seeds[i].text, seeds[i].score);
	for (size_t i = 0; i < t->n_pieces; i++)
		t->scores[t->pieces[i]] = log(t->scores[t->pieces[i]]) - log(t->total);
	t->trie = build_trie(t);
	set_pieces(t, t->n_pieces);
	te_arena_destroy(scratch);
}

/* ---- words ---- */

static void
add_word(Trainer *t, TeStr word, uint64_t count)
{
	if (word.len == 0)
		return;
	t->words[t->n_words] = word;
	t->counts[t->n_words++] = count;
	t->n_occurrences += (double) count;
}

/* A character that is not in the alphabet ends a word, which can only be unknown there. */
static void
load_words(Trainer *t, const TeLearnWords *words, const TeLearnAlphabet *alphabet)
{
	size_t		most = 0;

	for (size_t i = 0; i < words->n; i++)
		most += words->words[i].len / 2 + 1;
	t->words = te_alloc(t->arena, te_mul_size(most, sizeof(TeStr)));
	t->counts = te_alloc(t->arena, te_mul_size(most, sizeof(uint64_t)));
	for (size_t i = 0; i < words->n; i++)
	{
		TeStr		word = te_learn_word(words, i);
		const char *end = word.data + word.len;
		const char *from = word.data;
		const char *next = word.data;

		while (next < end)
		{
			const char *at = next;
			uint32_t	c = (uint32_t) te_utf8_next(&next, end);

			if (te_learn_char(alphabet, c) >= 0)
				continue;
			add_word(t, (TeStr) {from, (size_t) (at - from)}, words->words[i].count);
			from = next;
		}
		add_word(t, (TeStr) {from, (size_t) (end - from)}, words->words[i].count);
	}
}

/* ---- the vocabulary ---- */

typedef struct Token
{
	TeStr		text;
	double		score;
} Token;

static bool
by_token_score(const void *arg, uint32_t a, uint32_t b)
{
	const Token *tokens = arg;

	return tokens[a].score > tokens[b].score;
}

/* All characters, those that EM has dropped below all others; then pieces in the order of their use, as many as there is room for. */
static Token *
choose_tokens(const Trainer *t, const TeLearnAlphabet *alphabet, size_t room, size_t *n)
{
	Token	   *tokens = te_new_array(t->arena, Token, room);
	double		missing = t->scores[UNKNOWN] + UNKNOWN_PENALTY;
	bool	   *taken = te_new_array(t->arena, bool, t->n_ids);

	*n = 0;
	for (uint32_t i = 0; i < alphabet->n; i++)
	{
		char		text[4];
		size_t		len = te_utf8_put(text, (int32_t) alphabet->chars[i].c);
		uint32_t	node = 0;
		int32_t		id;

		for (size_t j = 0; j < len; j++)
			te_trie_step(t->trie, &node, (uint8_t) text[j]);
		id = te_trie_value(t->trie, node);
		taken[id] = true;
		tokens[*n].text = t->texts[id];
		tokens[(*n)++].score = t->probabilities[id] > 0 ? t->scores[id] : missing;
		if (t->probabilities[id] <= 0)
			missing += MISSING_STEP;
	}
	for (size_t i = 0; i < t->n_pieces && *n < room; i++)
	{
		uint32_t	id = t->pieces[i];

		if (!taken[id])
			tokens[(*n)++] = (Token) {t->texts[id], t->scores[id]};
	}
	return tokens;
}

static void
add_token(TeTokenizerBuild *build, TeJson *list, TeStr text, double score)
{
	TeJson	   *pair = te_json_new_array(build->arena, 2);

	te_json_set_str(&pair->items[0], te_str_copy(build->arena, text));
	te_json_set_real(&pair->items[1], score);
	list->items[list->n++] = *pair;
}

static void
build_model(TeTokenizerBuild *build, const Trainer *t, const TeLearnAlphabet *alphabet)
{
	size_t		n_specials = (size_t) t->options->n_specials;
	size_t		n;
	Token	   *tokens = choose_tokens(t, alphabet, (size_t) t->options->vocab_size - n_specials, &n);
	uint32_t   *order = te_learn_order(t->arena, n, by_token_score, tokens);
	TeJson	   *list = te_json_new_array(build->arena, n_specials + n);

	list->n = 0;
	for (size_t i = 0; i < n_specials; i++)
		add_token(build, list, t->options->specials[i], 0);
	for (size_t i = 0; i < n; i++)
		add_token(build, list, tokens[order[i]].text, tokens[order[i]].score);
	te_build_set(build, build->model, "{'type': 'Unigram'}");
	te_build_int(build, build->model, "unk_id", te_learn_special(t->options, "[UNK] <unk>"));
	te_build_take(build, build->model, "vocab", list);
	te_build_bool(build, build->model, "byte_fallback", false);
}

static void
learn_unigram(TeTokenizerBuild *build, TeArena *scratch, const TeLearnWords *words, const TeLearnOptions *options)
{
	TeLearnAlphabet alphabet = te_learn_alphabet(scratch, scratch, words, options->limit_alphabet);
	size_t		desired = (size_t) options->vocab_size * 11 / 10;
	Trainer		t = {.arena = scratch,.options = options};

	if (alphabet.n + (size_t) options->n_specials > (size_t) options->vocab_size)
		te_learn_too_small(options, alphabet.n + (size_t) options->n_specials,
						   "Make it larger, or keep fewer characters by the option \"limit_alphabet\".");
	t.lattice_arena = te_arena_create(scratch, "segmentations");
	load_words(&t, words, &alphabet);
	start_pieces(&t, &alphabet);
	for (size_t before = 0; before != t.n_pieces;)
	{
		for (int64_t i = 0; i < options->iterations; i++)
			run_em(&t);
		before = t.n_pieces;
		/* the reference counts the unknown piece, too */
		if (t.n_pieces + 1 > desired)
			prune(&t, TE_MAX(desired, (size_t) ((double) (t.n_pieces + 1) * options->shrinking_factor)) - 1);
	}
	build_model(build, &t, &alphabet);
}

const TeLearnKind te_learn_unigram = {
	.name = "unigram",
	.defaults = {
		.strip_accents = 0,.seed_size = 1000000,.longest_piece = TE_LONGEST_PIECE,.iterations = 2,.shrinking_factor = 0.75
	},
	.specials = "<s> <pad> </s> <unk> <mask>",
	.needs_unknown = true,
	.components = te_learn_metaspace_parts,
	.learn = learn_unigram,
};
