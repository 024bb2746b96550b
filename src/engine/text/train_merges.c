/*-------------------------------------------------------------------------
 * train_merges.c
 *	  Vocabularies by merging pairs: byte-level BPE and WordPiece.
 *
 * R. Sennrich et al., "Neural Machine Translation of Rare Words with Subword
 * Units", 2016.  Words are sequences of tokens, at first of one character each; again and again the pair
 * that occurs most often becomes a token.  WordPiece is learned the same way here as in the reference; its tokens
 * differ at the start of a word and behind it.
 *
 * The result is the reference's, to the last token.  So its rules are kept: a pair is taken by its count, and of equal counts
 * the one whose left token has the lower id, then the right one; a queue holds (pair, count, words), and a count that has changed meanwhile is
 * corrected when the entry comes up; words come to a pair's entry when they first have the pair
 * after the entry was made, as another entry of the same pair; and what a merge
 * takes away from a pair is taken away, except from the pair that is merged, whose count nobody asks for again.
 *
 * The reference numbers WordPiece's continuing characters ("##a") in the order of a hash table,
 * another one in each process.  Ids decide between equal counts, so its vocabularies vary.  Here they follow the
 * alphabet, by code point.  Of equally frequent characters that a bound on the alphabet cuts between, lower code points are kept.
 *
 * Memory: 4 bytes for a character of the different words, about 12 for where pairs are, 48 for a pair that ever was.
 *-------------------------------------------------------------------------
 */
#include "text/train.h"
#include "text/convert.h"
#include "text/tokenizer.h"

#define N_BYTES 256

/* ---- alphabets ---- */

typedef struct CharCount
{
	uint64_t	count;
	bool		inside;
} CharCount;

#define N_CHARS 0x110000
#define PAGE_CHARS 256

static bool
by_count(const void *arg, uint32_t a, uint32_t b)
{
	const TeLearnChar *chars = arg;

	return chars[a].count > chars[b].count;
}

/* The most frequent ones, back in their order. */
static void
limit_alphabet(TeArena *scratch, TeLearnAlphabet *alphabet, size_t limit)
{
	uint32_t   *order = te_learn_order(scratch, alphabet->n, by_count, alphabet->chars);
	bool	   *kept = te_new_array(scratch, bool, alphabet->n);
	size_t		n = 0;

	for (size_t i = 0; i < limit; i++)
		kept[order[i]] = true;
	for (size_t i = 0; i < alphabet->n; i++)
	{
		if (kept[i])
			alphabet->chars[n++] = alphabet->chars[i];
	}
	alphabet->n = n;
}

/* Counts in pages of characters, of which few are used. */
TeLearnAlphabet
te_learn_alphabet(TeArena *arena, TeArena *scratch, const TeLearnWords *words, int64_t limit)
{
	CharCount **pages = te_new_array(scratch, CharCount *, N_CHARS / PAGE_CHARS);
	TeLearnAlphabet alphabet = {0};
	size_t		n = 0;

	for (size_t i = 0; i < words->n; i++)
	{
		TeStr		word = te_learn_word(words, i);
		const char *p = word.data;

		while (p < word.data + word.len)
		{
			bool		inside = p > word.data;
			uint32_t	c = (uint32_t) te_utf8_next(&p, word.data + word.len);
			CharCount **page = &pages[c / PAGE_CHARS];

			if (*page == NULL)
				*page = te_new_array(scratch, CharCount, PAGE_CHARS);
			n += (*page)[c % PAGE_CHARS].count == 0;
			(*page)[c % PAGE_CHARS].count += words->words[i].count;
			(*page)[c % PAGE_CHARS].inside |= inside;
		}
	}
	alphabet.chars = te_new_array(arena, TeLearnChar, n);
	for (uint32_t c = 0; c < N_CHARS; c++)
	{
		const CharCount *page = pages[c / PAGE_CHARS];

		if (page != NULL && page[c % PAGE_CHARS].count > 0)
			alphabet.chars[alphabet.n++] = (TeLearnChar) {c, page[c % PAGE_CHARS].count, page[c % PAGE_CHARS].inside};
	}
	if (limit > 0 && alphabet.n > (size_t) limit)
		limit_alphabet(scratch, &alphabet, (size_t) limit);
	return alphabet;
}

int64_t
te_learn_char(const TeLearnAlphabet *alphabet, uint32_t c)
{
	size_t		low = 0;
	size_t		high = alphabet->n;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (alphabet->chars[middle].c == c)
			return (int64_t) middle;
		if (alphabet->chars[middle].c < c)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* ---- state ---- */

/* Two tokens next to each other.  As a number, in the order in which equal counts are merged. */
typedef uint64_t PairKey;

#define PAIR(left, right) ((PairKey) (left) << 32 | (right))
#define LEFT(key) ((uint32_t) ((key) >> 32))
#define RIGHT(key) ((uint32_t) (key))
#define NO_PAIR UINT64_MAX

typedef struct Pair
{
	PairKey		key;			/* NO_PAIR: a free place */
	int64_t		count;
	uint32_t   *places;			/* new words with the pair, for the next entry in the queue ... */
	uint32_t	n_places;		/* ... as far as they are filled in ... */
	uint32_t	n_new;			/* ... and how many there will be */
	uint32_t	last_word;		/* the last one that was counted in n_new */
	uint32_t	rank;			/* the last merge of the pair */
} Pair;

/* In the queue. */
typedef struct Entry
{
	int64_t		count;
	PairKey		key;
	uint32_t   *places;			/* numbers of words */
	uint32_t	n_places;
} Entry;

/* A word that has come to have a pair. */
typedef struct Place
{
	PairKey		key;
	uint32_t	word;
} Place;

typedef struct Merger
{
	TeArena    *arena;
	const TeLearnWords *words;
	TeLearnWords tokens;
	TeStr		prefix;			/* of continuing tokens */

	uint32_t   *symbols;		/* of all words, one after the other */
	size_t	   *starts;
	uint32_t   *lengths;

	TeArena    *table;			/* of the pairs; made anew as they grow */
	Pair	   *pairs;
	size_t		n_pairs;
	size_t		mask;

	Entry	   *queue;			/* a heap, the next one first */
	size_t		n_queue;
	TeBuffer	queue_memory;
	TeBuffer	new_places;		/* Place[], of one merge */
	TeBuffer	merges;			/* PairKey[] */
} Merger;

/* ---- pairs ---- */

static inline size_t
pair_slot(const Merger *m, PairKey key)
{
	size_t		at = (size_t) (key * UINT64_C(0x9E3779B97F4A7C15) >> 20) & m->mask;

	while (m->pairs[at].key != key && m->pairs[at].key != NO_PAIR)
		at = (at + 1) & m->mask;
	return at;
}

static void
grow_pairs(Merger *m)
{
	TeArena    *table = te_arena_create(m->arena, "pairs of tokens");
	const Pair *old = m->pairs;
	size_t		n_old = old != NULL ? m->mask + 1 : 0;

	m->mask = old != NULL ? m->mask * 2 + 1 : 8191;
	m->pairs = te_alloc(table, te_mul_size(m->mask + 1, sizeof(Pair)));
	for (size_t i = 0; i <= m->mask; i++)
		m->pairs[i].key = NO_PAIR;
	for (size_t i = 0; i < n_old; i++)
	{
		if (old[i].key != NO_PAIR)
			m->pairs[pair_slot(m, old[i].key)] = old[i];
	}
	if (m->table != NULL)
		te_arena_destroy(m->table);
	m->table = table;
}

/* Made where it is not there; valid until the next call. */
static Pair *
find_pair(Merger *m, PairKey key)
{
	Pair	   *pair = &m->pairs[pair_slot(m, key)];

	if (pair->key == key)
		return pair;
	if (m->n_pairs * 2 > m->mask)
	{
		grow_pairs(m);
		pair = &m->pairs[pair_slot(m, key)];
	}
	*pair = (Pair) {.key = key};
	m->n_pairs++;
	return pair;
}

/* The word has this pair more or less often; a word that has it more often is one of its places. */
static void
change_pair(Merger *m, uint32_t word, uint32_t left, uint32_t right, int sign)
{
	Pair	   *pair = find_pair(m, PAIR(left, right));

	pair->count += sign * (int64_t) m->words->words[word].count;
	if (sign < 0 || (pair->n_new > 0 && pair->last_word == word))
		return;
	pair->n_new++;
	pair->last_word = word;
	te_buffer_add(&m->new_places, &(Place) {.key = pair->key,.word = word}, sizeof(Place));
}

/* ---- the queue ---- */

static inline bool
before(const Entry *a, const Entry *b)
{
	return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static void
push(Merger *m, Entry entry)
{
	size_t		at = m->n_queue++;

	if (m->queue_memory.len < m->n_queue * sizeof(Entry))
		te_buffer_extend(&m->queue_memory, sizeof(Entry));
	m->queue = (Entry *) m->queue_memory.data;
	while (at > 0 && before(&entry, &m->queue[(at - 1) / 2]))
	{
		m->queue[at] = m->queue[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	m->queue[at] = entry;
}

static Entry
pop(Merger *m)
{
	Entry		first = m->queue[0];
	Entry		last = m->queue[--m->n_queue];
	size_t		at = 0;

	for (size_t child = 1; child < m->n_queue; child = 2 * at + 1)
	{
		if (child + 1 < m->n_queue && before(&m->queue[child + 1], &m->queue[child]))
			child++;
		if (!before(&m->queue[child], &last))
			break;
		m->queue[at] = m->queue[child];
		at = child;
	}
	m->queue[at] = last;
	return first;
}

/* Entries of the pairs that have new places. */
static void
push_new(Merger *m)
{
	const Place *places = (const Place *) m->new_places.data;
	size_t		n = m->new_places.len / sizeof(Place);

	for (size_t i = 0; i < n; i++)
	{
		Pair	   *pair = &m->pairs[pair_slot(m, places[i].key)];

		if (pair->n_places == 0)
			pair->places = te_alloc(m->arena, pair->n_new * sizeof(uint32_t));
		pair->places[pair->n_places++] = places[i].word;
		if (pair->n_places < pair->n_new)
			continue;
		if (pair->count > 0)
			push(m, (Entry) {pair->count, pair->key, pair->places, pair->n_places});
		pair->n_new = pair->n_places = 0;
	}
	m->new_places.len = 0;
}

/* ---- merging ---- */

static void
merge_in_word(Merger *m, uint32_t word, uint32_t left, uint32_t right, uint32_t merged)
{
	uint32_t   *symbols = m->symbols + m->starts[word];
	uint32_t	n = m->lengths[word];
	uint32_t	to = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		if (symbols[i] != left || i + 1 == n || symbols[i + 1] != right)
		{
			symbols[to++] = symbols[i];
			continue;
		}
		if (to > 0)
		{
			change_pair(m, word, symbols[to - 1], left, -1);
			change_pair(m, word, symbols[to - 1], merged, 1);
		}
		symbols[to++] = merged;
		i++;
		if (i + 1 < n)
		{
			change_pair(m, word, right, symbols[i + 1], -1);
			change_pair(m, word, merged, symbols[i + 1], 1);
		}
	}
	m->lengths[word] = to;
}

/* The text of two tokens put together. */
static TeStr
joined(Merger *m, uint32_t left, uint32_t right, TeArena *arena)
{
	TeStr		a = te_learn_word(&m->tokens, left);
	TeStr		b = te_learn_word(&m->tokens, right);
	char	   *text;

	if (m->prefix.len > 0 && b.len >= m->prefix.len && memcmp(b.data, m->prefix.data, m->prefix.len) == 0)
		b = (TeStr) {b.data + m->prefix.len, b.len - m->prefix.len};
	text = te_alloc(arena, a.len + b.len);
	memcpy(text, a.data, a.len);
	memcpy(text + a.len, b.data, b.len);
	return (TeStr) {text, a.len + b.len};
}

/* Until the vocabulary is full, or no pair is frequent enough. */
static void
merge_all(Merger *m, const TeLearnOptions *options)
{
	TeArena    *work = te_arena_create(m->arena, "a token");

	while (m->tokens.n < (size_t) options->vocab_size && m->n_queue > 0)
	{
		Entry		top = pop(m);
		Pair	   *pair = &m->pairs[pair_slot(m, top.key)];
		uint32_t	merged;

		te_check_interrupts();
		if (top.count != pair->count)
		{
			top.count = pair->count;
			push(m, top);
			continue;
		}
		if (top.count < TE_MAX(options->min_frequency, 1))
			break;
		pair->rank = (uint32_t) (m->merges.len / sizeof(PairKey));
		te_buffer_add(&m->merges, &top.key, sizeof(PairKey));
		te_arena_reset(work);
		merged = (uint32_t) te_learn_words_add(&m->tokens, joined(m, LEFT(top.key), RIGHT(top.key), work), 0);
		for (uint32_t i = 0; i < top.n_places; i++)
		{
			if (i % 4096 == 4095)
				te_check_interrupts();
			merge_in_word(m, top.places[i], LEFT(top.key), RIGHT(top.key), merged);
		}
		push_new(m);
	}
}

/* ---- words as tokens ---- */

/* The token of a character, at the start of a word or behind it. */
static uint32_t
char_token(Merger *m, uint32_t c, bool inside, TeArena *work)
{
	size_t		prefix = inside ? m->prefix.len : 0;
	char	   *text = te_alloc(work, prefix + 4);

	if (prefix > 0)
		memcpy(text, m->prefix.data, prefix);
	return (uint32_t) te_learn_words_add(&m->tokens, (TeStr) {text, prefix + te_utf8_put(text + prefix, (int32_t) c)}, 0);
}

/* Special tokens, the alphabet, and it again as it continues words. */
static void
start_tokens(Merger *m, const TeLearnOptions *options, const TeLearnAlphabet *alphabet, uint32_t *first, uint32_t *inside)
{
	TeArena    *work = te_arena_create(m->arena, "characters");

	for (int64_t i = 0; i < options->n_specials; i++)
		te_learn_words_add(&m->tokens, options->specials[i], 0);
	for (size_t i = 0; i < alphabet->n; i++)
		first[i] = char_token(m, alphabet->chars[i].c, false, work);
	for (size_t i = 0; i < alphabet->n; i++)
		inside[i] = alphabet->chars[i].inside ? char_token(m, alphabet->chars[i].c, true, work) : 0;
	te_arena_destroy(work);
}

/* Characters that are not in the alphabet are left out, and what is around them comes together. */
static void
spell_words(Merger *m, const TeLearnAlphabet *alphabet, const uint32_t *first, const uint32_t *inside)
{
	size_t		n = 0;
	size_t		at = 0;

	for (size_t i = 0; i < m->words->n; i++)
		n += m->words->words[i].len;
	m->symbols = te_alloc(m->arena, te_mul_size(n, sizeof(uint32_t)));
	m->starts = te_alloc(m->arena, te_mul_size(m->words->n, sizeof(size_t)));
	m->lengths = te_alloc(m->arena, te_mul_size(m->words->n, sizeof(uint32_t)));
	for (size_t i = 0; i < m->words->n; i++)
	{
		TeStr		word = te_learn_word(m->words, i);
		const char *p = word.data;

		m->starts[i] = at;
		while (p < word.data + word.len)
		{
			const uint32_t *ids = p == word.data ? first : inside;
			int64_t		c = te_learn_char(alphabet, (uint32_t) te_utf8_next(&p, word.data + word.len));

			if (c >= 0)
				m->symbols[at++] = ids[c];
		}
		m->lengths[i] = (uint32_t) (at - m->starts[i]);
	}
}

static void
count_pairs(Merger *m)
{
	for (size_t i = 0; i < m->words->n; i++)
	{
		const uint32_t *symbols = m->symbols + m->starts[i];

		if (i % 4096 == 0)
			te_check_interrupts();
		for (uint32_t j = 0; j + 1 < m->lengths[i]; j++)
			change_pair(m, (uint32_t) i, symbols[j], symbols[j + 1], 1);
	}
	push_new(m);
}

static void
learn_merges(Merger *m, TeArena *scratch, const TeLearnWords *words, const TeLearnOptions *options,
			 const TeLearnAlphabet *alphabet, const char *hint)
{
	uint32_t   *first = te_new_array(scratch, uint32_t, alphabet->n);
	uint32_t   *inside = te_new_array(scratch, uint32_t, alphabet->n);

	*m = (Merger) {.arena = scratch,.words = words,.prefix = options->prefix};
	te_learn_words_init(&m->tokens, scratch);
	te_buffer_init(&m->queue_memory, scratch);
	te_buffer_init(&m->new_places, scratch);
	te_buffer_init(&m->merges, scratch);
	grow_pairs(m);
	start_tokens(m, options, alphabet, first, inside);
	if (m->tokens.n > (size_t) options->vocab_size)
		te_learn_too_small(options, m->tokens.n, hint);
	spell_words(m, alphabet, first, inside);
	count_pairs(m);
	merge_all(m, options);
}

/* The tokens by id, copied to where they stay. */
static TeStr *
list_tokens(TeArena *arena, const Merger *m)
{
	TeStr	   *tokens = te_new_array(arena, TeStr, m->tokens.n);

	for (size_t i = 0; i < m->tokens.n; i++)
		tokens[i] = te_str_copy(arena, te_learn_word(&m->tokens, i));
	return tokens;
}

/* ---- WordPiece ---- */

static void
learn_wordpiece(TeTokenizerBuild *build, TeArena *scratch, const TeLearnWords *words, const TeLearnOptions *options)
{
	TeLearnAlphabet alphabet = te_learn_alphabet(scratch, scratch, words, options->limit_alphabet);
	Merger		m;

	learn_merges(&m, scratch, words, options, &alphabet,
				 "Make it larger, or keep fewer characters by the option \"limit_alphabet\".");
	te_build_set(build, build->model, "{'type': 'WordPiece'}");
	te_build_str(build, build->model, "unk_token", options->specials[te_learn_special(options, "[UNK] <unk>")]);
	te_build_str(build, build->model, "continuing_subword_prefix", options->prefix);
	te_build_int(build, build->model, "max_input_chars_per_word", options->longest_word);
	te_build_take(build, build->model, "vocab", te_build_vocab(build->arena, list_tokens(build->arena, &m), m.tokens.n));
}

const TeLearnKind te_learn_wordpiece = {
	.name = "wordpiece",
	.defaults = {.lowercase = true,.strip_accents = -1,.prefix = {"##", 2},.longest_word = 100,.min_frequency = 2,.limit_alphabet = -1},
	.specials = "[PAD] [UNK] [CLS] [SEP] [MASK]",
	.needs_unknown = true,
	.components = te_learn_bert_parts,
	.learn = learn_wordpiece,
};

/* ---- byte-level BPE ---- */

/* The characters of all 256 bytes, seen or not, so that there is no text without tokens. */
static TeLearnAlphabet
byte_alphabet(TeArena *arena)
{
	TeLearnAlphabet alphabet = {.chars = te_new_array(arena, TeLearnChar, N_BYTES)};
	bool		taken[2 * N_BYTES] = {false};

	for (int i = 0; i < N_BYTES; i++)
		taken[te_byte_level_char((uint8_t) i)] = true;
	for (uint32_t c = 0; c < TE_LENGTH(taken); c++)
	{
		if (taken[c])
			alphabet.chars[alphabet.n++] = (TeLearnChar) {.c = c,.inside = true};
	}
	return alphabet;
}

/* A pair that was merged twice has the rank of the last time, as in the reference. */
static TeJson *
list_merges(TeArena *arena, const Merger *m, const TeStr *tokens)
{
	const PairKey *keys = (const PairKey *) m->merges.data;
	size_t		n = m->merges.len / sizeof(PairKey);
	TeJson	   *list = te_json_new_array(arena, n);

	list->n = 0;
	for (size_t i = 0; i < n; i++)
	{
		TeJson	   *pair;

		if (m->pairs[pair_slot(m, keys[i])].rank != i)
			continue;
		pair = te_json_new_array(arena, 2);
		te_json_set_str(&pair->items[0], tokens[LEFT(keys[i])]);
		te_json_set_str(&pair->items[1], tokens[RIGHT(keys[i])]);
		list->items[list->n++] = *pair;
	}
	return list;
}

static void
learn_bpe(TeTokenizerBuild *build, TeArena *scratch, const TeLearnWords *words, const TeLearnOptions *options)
{
	TeLearnAlphabet alphabet = byte_alphabet(scratch);
	TeStr	   *tokens;
	Merger		m;

	learn_merges(&m, scratch, words, options, &alphabet, "There is a token for each of the 256 bytes.");
	tokens = list_tokens(build->arena, &m);
	te_build_bpe(build, tokens, m.tokens.n, list_merges(build->arena, &m, tokens), NULL, false, false);
}

const TeLearnKind te_learn_bpe = {
	.name = "bpe",
	.defaults = {.strip_accents = 0,.min_frequency = 2},
	.specials = "<|endoftext|>",
	.components = te_learn_byte_level_parts,
	.learn = learn_bpe,
};
