/*-------------------------------------------------------------------------
 * train_words.c
 *	  A table of different strings with their counts, and sorting: what learning vocabularies needs of data structures.
 *
 * A word is looked up by its hash in a table of slots, which holds numbers, so that words lie in one array in the order
 * in which they came.  Both grow by doubling; what they grow out of is given back, by an arena of
 * their own that is dropped when its successor is filled.
 *
 * Sorting is a merge sort of numbers, stable, by any order.
 *-------------------------------------------------------------------------
 */
#include "text/train.h"

#define FIRST_ROOM 4096
#define MOST_WORDS ((size_t) 1 << 30)

/* Room for twice as many words, in a new arena. */
static void
grow(TeLearnWords *words, TeArena *parent)
{
	TeArena    *table = te_arena_create(parent, "words");
	size_t		room = words->room > 0 ? words->room * 2 : FIRST_ROOM;
	size_t		n_slots = room * 2;
	TeLearnWord *moved;

	if (room > MOST_WORDS)
		te_throw(TE_ERR_TOO_LONG, "texts have too many different words");
	moved = te_alloc(table, te_mul_size(room, sizeof(TeLearnWord)));
	if (words->n > 0)
		memcpy(moved, words->words, words->n * sizeof(TeLearnWord));
	if (words->table != NULL)
		te_arena_destroy(words->table);
	words->table = table;
	words->words = moved;
	words->room = room;
	words->mask = (uint32_t) (n_slots - 1);
	words->slots = te_new_array(table, uint32_t, n_slots);
	for (size_t i = 0; i < words->n; i++)
	{
		uint32_t	at = moved[i].hash & words->mask;

		while (words->slots[at] != 0)
			at = (at + 1) & words->mask;
		words->slots[at] = (uint32_t) i + 1;
	}
}

void
te_learn_words_init(TeLearnWords *words, TeArena *parent)
{
	*words = (TeLearnWords) {.arena = te_arena_create(parent, "bytes of words")};
	grow(words, words->arena);
}

/* Of a word of this hash, or of the free slot where it would be. */
static uint32_t
slot_of(const TeLearnWords *words, TeStr word, uint32_t hash)
{
	uint32_t	at = hash & words->mask;

	for (; words->slots[at] != 0; at = (at + 1) & words->mask)
	{
		const TeLearnWord *found = &words->words[words->slots[at] - 1];

		if (found->hash == hash && te_str_eq((TeStr) {found->data, found->len}, word))
			break;
	}
	return at;
}

static inline uint32_t
hash_of(TeStr word)
{
	uint64_t	hash = te_hash(word.data, word.len);

	return (uint32_t) (hash ^ hash >> 32);
}

size_t
te_learn_words_add(TeLearnWords *words, TeStr word, uint64_t count)
{
	uint32_t	hash = hash_of(word);
	uint32_t	at = slot_of(words, word, hash);

	if (words->slots[at] == 0)
	{
		if (words->n == words->room)
		{
			grow(words, words->arena);
			at = slot_of(words, word, hash);
		}
		words->words[words->n] = (TeLearnWord) {te_str_copy(words->arena, word).data, (uint32_t) word.len, hash, 0};
		words->slots[at] = (uint32_t) ++words->n;
	}
	words->words[words->slots[at] - 1].count += count;
	return words->slots[at] - 1;
}

/* ---- sorting ---- */

static bool
by_bytes(const void *arg, uint32_t a, uint32_t b)
{
	const TeLearnWord *words = arg;
	const TeLearnWord *x = &words[a];
	const TeLearnWord *y = &words[b];
	int			order = memcmp(x->data, y->data, TE_MIN(x->len, y->len));

	return order < 0 || (order == 0 && x->len < y->len);
}

void
te_learn_words_sort(TeLearnWords *words)
{
	TeArena    *scratch = te_arena_create(words->arena, "order of words");
	uint32_t   *order = te_learn_order(scratch, words->n, by_bytes, words->words);
	TeLearnWord *sorted = te_alloc(scratch, te_mul_size(words->n, sizeof(TeLearnWord)));

	for (size_t i = 0; i < words->n; i++)
		sorted[i] = words->words[order[i]];
	memcpy(words->words, sorted, words->n * sizeof(TeLearnWord));
	memset(words->slots, 0, ((size_t) words->mask + 1) * sizeof(uint32_t));
	for (size_t i = 0; i < words->n; i++)
		words->slots[slot_of(words, te_learn_word(words, i), sorted[i].hash)] = (uint32_t) i + 1;
	te_arena_destroy(scratch);
}

/* Runs of `width` are in order; two by two they are merged into the other array. */
static void
merge_runs(const uint32_t *from, uint32_t *to, size_t n, size_t width, TeLearnBefore before, const void *arg)
{
	for (size_t start = 0; start < n; start += 2 * width)
	{
		size_t		middle = TE_MIN(start + width, n);
		size_t		end = TE_MIN(start + 2 * width, n);
		size_t		i = start;
		size_t		j = middle;

		te_check_interrupts();
		for (size_t k = start; k < end; k++)
			to[k] = i < middle && (j == end || !before(arg, from[j], from[i])) ? from[i++] : from[j++];
	}
}

uint32_t *
te_learn_order(TeArena *arena, size_t n, TeLearnBefore before, const void *arg)
{
	uint32_t   *order = te_alloc(arena, te_mul_size(n, sizeof(uint32_t)));
	uint32_t   *other = te_alloc(arena, te_mul_size(n, sizeof(uint32_t)));

	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t) i;
	for (size_t width = 1; width < n; width *= 2)
	{
		uint32_t   *swap = order;

		merge_runs(order, other, n, width, before, arg);
		order = other;
		other = swap;
	}
	return order;
}
