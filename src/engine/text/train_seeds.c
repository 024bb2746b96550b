/*-------------------------------------------------------------------------
 * train_seeds.c
 *	  Strings that occur often in a list of words: what a Unigram vocabulary begins with.
 *
 * All words as one string of characters, each ended by a zero; its suffixes in
 * order; then the strings are the intervals of suffixes with a common prefix, as in
 * M. Abouelhoda et al., "Replacing Suffix Trees with Enhanced Suffix Arrays", 2004.  Only short strings
 * are wanted, so suffixes are compared over a few characters, with the multikey quicksort of J. Bentley and
 * R. Sedgewick, 1997, and what suffixes have in common beyond those, or beyond the end of a word, is of no interest.
 *
 * As in the reference, a string is one that is followed by different characters (else the longer
 * one says more), occurrences are counted in the list of words, whatever the words' own counts, and of equal scores
 * the last by code points comes first.
 *
 * Memory: 8 bytes for a character of the words, 16 for each of twice the strings that are wanted.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"
#include "text/train.h"

#define FEW 12					/* suffixes that are sorted by insertion */
#define LARGE 65536				/* suffixes that take a while to split */
#define DEEP UINT32_MAX			/* more in common than is of interest */

typedef struct Suffixes
{
	uint32_t   *chars;			/* 0: end of a word */
	uint32_t   *order;			/* places of characters */
	size_t		n;
	uint32_t	depth;			/* longest string that is of interest */
} Suffixes;

/* Suffixes [from, from + n) of the order, which have `depth` characters in common. */
typedef struct Range
{
	size_t		from;
	size_t		n;
	uint32_t	depth;
} Range;

/* A string: `count` suffixes from `start` in the order begin with it. */
typedef struct String
{
	uint64_t	score;
	uint32_t	start;
	uint32_t	len;			/* characters */
} String;

/* ---- suffixes in order ---- */

static void
load_words(Suffixes *s, TeArena *scratch, const TeStr *words, size_t n_words)
{
	size_t		bytes = n_words;
	size_t		at = 0;

	for (size_t i = 0; i < n_words; i++)
		bytes += words[i].len;
	if (bytes > UINT32_MAX - 1)
		te_throw(TE_ERR_TOO_LONG, "texts have too many different words");
	s->chars = te_alloc(scratch, te_mul_size(bytes, sizeof(uint32_t)));
	s->order = te_alloc(scratch, te_mul_size(bytes, sizeof(uint32_t)));
	for (size_t i = 0; i < n_words; i++)
	{
		const char *p = words[i].data;

		while (p < words[i].data + words[i].len)
		{
			s->order[s->n++] = (uint32_t) at;
			s->chars[at++] = (uint32_t) te_utf8_next(&p, words[i].data + words[i].len);
		}
		s->chars[at++] = 0;
	}
}

/* Does suffix a come before b, if they have `depth` characters in common? */
static bool
comes_before(const Suffixes *s, uint32_t a, uint32_t b, uint32_t depth)
{
	for (; depth <= s->depth; depth++)
	{
		uint32_t	x = s->chars[a + depth];
		uint32_t	y = s->chars[b + depth];

		if (x != y)
			return x < y;
		if (x == 0)
			return false;
	}
	return false;
}

static void
sort_few(const Suffixes *s, uint32_t *order, size_t n, uint32_t depth)
{
	for (size_t i = 1; i < n; i++)
	{
		uint32_t	suffix = order[i];
		size_t		at = i;

		for (; at > 0 && comes_before(s, suffix, order[at - 1], depth); at--)
			order[at] = order[at - 1];
		order[at] = suffix;
	}
}

/* The middle one of three characters, so that words in order are no bad case. */
static uint32_t
pivot(const Suffixes *s, const uint32_t *order, size_t n, uint32_t depth)
{
	uint32_t	a = s->chars[order[0] + depth];
	uint32_t	b = s->chars[order[n / 2] + depth];
	uint32_t	c = s->chars[order[n - 1] + depth];

	return TE_MAX(TE_MIN(a, b), TE_MIN(TE_MAX(a, b), c));
}

/* By the next character into three ranges; the middle one has another character in common. */
static void
split_range(const Suffixes *s, Range range, TeBuffer *work)
{
	uint32_t   *order = s->order + range.from;
	uint32_t	middle = pivot(s, order, range.n, range.depth);
	size_t		low = 0;
	size_t		high = range.n;
	Range		parts[3];

	for (size_t i = 0; i < high;)
	{
		uint32_t	suffix = order[i];
		uint32_t	c = s->chars[suffix + range.depth];

		if (c == middle)
		{
			i++;
			continue;
		}
		order[i] = c < middle ? order[low] : order[--high];
		if (c < middle)
		{
			order[low++] = suffix;
			i++;
		}
		else
			order[high] = suffix;
	}
	parts[0] = (Range) {range.from, low, range.depth};
	parts[1] = (Range) {range.from + low, middle == 0 ? 0 : high - low, range.depth + 1};
	parts[2] = (Range) {range.from + high, range.n - high, range.depth};
	te_buffer_add(work, parts, sizeof(parts));
}

/* A worklist in the place of recursion, which words that somebody made up could take deep. */
static void
sort_suffixes(Suffixes *s, TeArena *scratch)
{
	Range		range = {0, s->n, 0};
	TeBuffer	work;

	te_buffer_init(&work, scratch);
	te_buffer_add(&work, &range, sizeof(range));
	for (size_t i = 0; work.len > 0; i++)
	{
		if (i % 1024 == 0 || range.n > LARGE)
			te_check_interrupts();
		work.len -= sizeof(range);
		memcpy(&range, work.data + work.len, sizeof(range));
		if (range.n < 2 || range.depth > s->depth)
			continue;
		if (range.n <= FEW)
			sort_few(s, s->order + range.from, range.n, range.depth);
		else
			split_range(s, range, &work);
	}
}

/* ---- strings ---- */

/* Characters that two suffixes begin with alike. */
static uint32_t
common(const Suffixes *s, uint32_t a, uint32_t b)
{
	for (uint32_t depth = 0; depth <= s->depth; depth++)
	{
		if (s->chars[a + depth] != s->chars[b + depth])
			return depth;
		if (s->chars[a + depth] == 0)
			return DEEP;
	}
	return DEEP;
}

/* Strings of equal score and start are prefixes of each other. */
static bool
by_score(const void *arg, uint32_t a, uint32_t b)
{
	const String *x = (const String *) arg + a;
	const String *y = (const String *) arg + b;

	if (x->score != y->score)
		return x->score > y->score;
	if (x->start != y->start)
		return x->start > y->start;
	return x->len > y->len;
}

/* Keep the best ones, in their order. */
static void
keep_best(TeBuffer *strings, TeArena *scratch, size_t most)
{
	TeArena    *work = te_arena_create(scratch, "strings in order");
	const String *from = (const String *) strings->data;
	size_t		n = TE_MIN(strings->len / sizeof(String), most);
	uint32_t   *order = te_learn_order(work, strings->len / sizeof(String), by_score, from);
	String	   *best = te_alloc(work, te_mul_size(n, sizeof(String)));

	for (size_t i = 0; i < n; i++)
		best[i] = from[order[i]];
	if (n > 0)
		memcpy(strings->data, best, n * sizeof(String));
	strings->len = n * sizeof(String);
	te_arena_destroy(work);
}

/* An interval of suffixes that is still open. */
typedef struct Open
{
	uint32_t	start;
	uint32_t	len;			/* characters in common */
} Open;

/* Intervals are nested, and those that are open are each within the one before: at most one for each length, and one that is deep. */
static void
find_strings(const Suffixes *s, TeArena *scratch, size_t most, TeBuffer *strings)
{
	Open	   *open = te_new_array(scratch, Open, (size_t) s->depth + 2);
	size_t		n_open = 0;

	for (size_t i = 1; i <= s->n; i++)
	{
		uint32_t	len = i < s->n ? common(s, s->order[i - 1], s->order[i]) : 0;
		uint32_t	start = (uint32_t) (i - 1);

		if (i % 65536 == 0)
			te_check_interrupts();
		while (n_open > 0 && open[n_open - 1].len > len)
		{
			Open		closed = open[--n_open];
			String		string = {(i - closed.start) * (uint64_t) closed.len, closed.start, closed.len};

			start = closed.start;
			if (closed.len >= 2 && closed.len <= s->depth)
				te_buffer_add(strings, &string, sizeof(string));
		}
		if (len > 0 && (n_open == 0 || open[n_open - 1].len < len))
			open[n_open++] = (Open) {start, len};
		if (strings->len >= 2 * TE_MAX(most, (size_t) 1024) * sizeof(String))
			keep_best(strings, scratch, most);
	}
	keep_best(strings, scratch, most);
}

/* A string of the words again. */
static TeStr
spell(const Suffixes *s, const String *string, TeArena *arena)
{
	char		text[4 * TE_LONGEST_PIECE];
	size_t		len = 0;

	for (uint32_t i = 0; i < string->len; i++)
		len += te_utf8_put(text + len, (int32_t) s->chars[s->order[string->start] + i]);
	return te_str_copy(arena, (TeStr) {text, len});
}

TeLearnSeed *
te_learn_seeds(TeArena *arena, TeArena *scratch, const TeStr *words, size_t n_words, size_t longest_piece, size_t most, size_t *n)
{
	TeArena    *work = te_arena_create(scratch, "strings");
	Suffixes	s = {.depth = (uint32_t) longest_piece};
	TeLearnSeed *seeds;
	const String *found;
	TeBuffer	strings;

	te_buffer_init(&strings, work);
	load_words(&s, work, words, n_words);
	sort_suffixes(&s, work);
	find_strings(&s, work, most, &strings);
	*n = strings.len / sizeof(String);
	found = (const String *) strings.data;
	seeds = te_new_array(arena, TeLearnSeed, *n);
	for (size_t i = 0; i < *n; i++)
		seeds[i] = (TeLearnSeed) {spell(&s, &found[i], arena), (double) found[i].score};
	te_arena_destroy(work);
	return seeds;
}
