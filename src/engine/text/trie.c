/*-------------------------------------------------------------------------
 * trie.c
 *	  Building double-array tries over byte strings.
 *
 * J. Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array
 * Structure", 1989.  The child of node s by code k is t = base[s] + k if
 * check[t] = s + 1; code 0 ends a key and its unit holds the value, code b + 1
 * is byte b.  So a step is one comparison, keys may contain any byte, and
 * the array holds offsets only: it is used where it lies in the image.
 *
 * The keys are sorted; a node is then a range of keys with a common prefix, and
 * a worklist of ranges takes the place of recursion, since a key from a file may
 * be as long as the file.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

typedef struct Range
{
	size_t		from;			/* keys */
	size_t		to;
	size_t		depth;			/* bytes of the common prefix */
	uint32_t	node;
} Range;

typedef struct Builder
{
	TeBuffer	units;			/* TeTrieUnit[] */
	TeBuffer	work;			/* Range[], a stack */
	const TeTrieKey *keys;
	size_t		next_free;		/* no free unit worth a look before it */
} Builder;

/* Merge sort by bytes, stable, so that of equal keys the last one can count. */
static void
sort_keys(TeTrieKey *keys, TeTrieKey *spare, size_t n)
{
	size_t		half = n / 2;
	size_t		i = 0;
	size_t		j = half;

	if (n < 2)
		return;
	sort_keys(keys, spare, half);
	sort_keys(keys + half, spare, n - half);
	memcpy(spare, keys, n * sizeof(TeTrieKey));
	for (size_t k = 0; k < n; k++)
	{
		bool		first;

		if (i == half || j == n)
			first = j == n;
		else
		{
			TeStr		a = spare[i].key;
			TeStr		b = spare[j].key;
			int			order = memcmp(a.data, b.data, TE_MIN(a.len, b.len));

			first = order < 0 || (order == 0 && a.len <= b.len);
		}
		keys[k] = first ? spare[i++] : spare[j++];
	}
}

/* Grows the array; new units are free. */
static inline TeTrieUnit *
unit(Builder *builder, size_t at)
{
	while (builder->units.len <= at * sizeof(TeTrieUnit))
	{
		size_t		more = TE_MAX(builder->units.len, (size_t) 1024 * sizeof(TeTrieUnit));

		memset(te_buffer_extend(&builder->units, more), 0, more);
	}
	return (TeTrieUnit *) builder->units.data + at;
}

/* Code of the key at a depth: 0 where it ends. */
static inline uint32_t
code_of(const Builder *builder, size_t key, size_t depth)
{
	TeStr		s = builder->keys[key].key;

	return depth < s.len ? (uint32_t) (uint8_t) s.data[depth] + 1 : 0;
}

/* The distinct codes of a range. */
static int
codes_of(const Builder *builder, const Range *range, uint32_t codes[257])
{
	int			n = 0;

	for (size_t i = range->from; i < range->to; i++)
	{
		uint32_t	code = code_of(builder, i, range->depth);

		if (n == 0 || codes[n - 1] != code)
			codes[n++] = code;
	}
	return n;
}

/* A base at which the units of all codes are free. */
static uint32_t
find_base(Builder *builder, const uint32_t *codes, int n)
{
	size_t		at = TE_MAX(builder->next_free, (size_t) codes[0] + 1);
	size_t		taken = 0;
	bool		first = true;

	for (;; at++)
	{
		size_t		base = at - codes[0];
		int			i;

		if (unit(builder, at)->check != 0)
		{
			taken++;
			continue;
		}
		if (first)
			builder->next_free = at;
		first = false;
		for (i = 1; i < n && unit(builder, base + codes[i])->check == 0; i++)
			;
		if (i < n)
			continue;
		/* Nearly all taken up to here: do not look there again */
		if (taken * 20 >= (at - builder->next_free + 1) * 19)
			builder->next_free = at;
		if (base > INT32_MAX)
			te_throw(TE_ERR_UNSUPPORTED, "vocabulary is too large");
		return (uint32_t) base;
	}
}

/* Place the children of a node and put them on the worklist. */
static void
place(Builder *builder, Range range)
{
	uint32_t	codes[257];
	int			n = codes_of(builder, &range, codes);
	uint32_t	base = find_base(builder, codes, n);
	size_t		from = range.from;

	unit(builder, range.node)->base = base;
	for (int i = 0; i < n; i++)
		unit(builder, base + codes[i])->check = range.node + 1;
	for (int i = 0; i < n; i++)
	{
		size_t		to = from + 1;
		Range		child;

		while (to < range.to && code_of(builder, to, range.depth) == codes[i])
			to++;
		child = (Range) {from, to, range.depth + 1, base + codes[i]};
		if (codes[i] == 0)
			unit(builder, child.node)->base = (uint32_t) builder->keys[to - 1].value;
		else
			te_buffer_add(&builder->work, &child, sizeof(child));
		from = to;
	}
}

/* Sorts keys; values must not be negative.  Gives the offset of a TeTrie, 0 where there are no keys. */
uint32_t
te_trie_compile(TeCompiler *compiler, TeTrieKey *keys, size_t n)
{
	TeArena    *arena = te_arena_create(compiler->arena, "trie");
	Builder		builder = {.keys = keys,.next_free = 1};
	TeTrie		head = {0};
	size_t		used;
	uint32_t	offset;

	if (n == 0)
		return 0;
	te_buffer_init(&builder.units, arena);
	te_buffer_init(&builder.work, arena);
	sort_keys(keys, te_alloc(arena, te_mul_size(n, sizeof(TeTrieKey))), n);
	unit(&builder, 0)->check = UINT32_MAX;	/* the root is taken, and nobody's child */
	place(&builder, (Range) {0, n, 0, 0});
	for (size_t i = 0; builder.work.len > 0; i++)
	{
		Range		range;

		if (i % 4096 == 0)
			te_check_interrupts();
		builder.work.len -= sizeof(range);
		memcpy(&range, builder.work.data + builder.work.len, sizeof(range));
		place(&builder, range);
	}
	for (used = builder.units.len / sizeof(TeTrieUnit); unit(&builder, used - 1)->check == 0;)
		used--;
	head.n = (uint32_t) used;
	offset = te_image_add(compiler, &head, sizeof(head));
	te_image_add(compiler, builder.units.data, used * sizeof(TeTrieUnit));
	te_arena_destroy(arena);
	return offset;
}
