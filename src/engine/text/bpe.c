/*-------------------------------------------------------------------------
 * bpe.c
 *	  The BPE model: characters, merged pair by pair in the order of the merges.
 *
 * R. Sennrich et al., "Neural Machine Translation of Rare Words with Subword
 * Units", 2016.  The pairs of a word are in a heap by rank, then by place; a merge
 * makes at most two new pairs, so a word of n characters takes
 * O(n log n).  An entry of the heap whose pair has changed meanwhile is
 * recognized by its rank, and skipped.
 *
 * A character that is no token becomes the tokens of its bytes (byte_fallback), else the
 * unknown token (several in a row one, with fuse_unk), else nothing, as in the
 * reference; offsets count the bytes that tokens stand for.
 *
 * In the image the merges are a hash table from a pair of ids to rank and
 * id of the result.  dropout is for training and is not read.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

#define NONE UINT32_MAX

typedef struct Merge
{
	uint32_t	left;			/* NONE: a free slot */
	uint32_t	right;
	uint32_t	rank;
	uint32_t	id;
} Merge;

typedef struct BpeParam
{
	uint32_t	merges;			/* Merge[mask + 1] */
	uint32_t	mask;
	int32_t		unk;			/* -1: is not in the vocabulary */
	bool		has_unk;
	bool		fuse_unk;
	bool		byte_fallback;
	bool		ignore_merges;	/* a word that is a token is that token */
	bool		affixes;		/* prefix or suffix is not empty */
	TeImageStr	prefix;			/* of characters that do not begin a word */
	TeImageStr	suffix;			/* of the character that ends it */
	int32_t		bytes[256];		/* the token of each byte, or -1 */
} BpeParam;

/* Where a pair of ids begins to be looked for. */
static inline uint32_t
slot_of(uint32_t left, uint32_t right, uint32_t mask)
{
	uint64_t	x = ((uint64_t) left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);

	return (uint32_t) (x >> 32) & mask;
}

/* The merge of two neighbours, NULL where they do not merge. */
static const Merge *
find_merge(const TeTokenizer *tokenizer, const BpeParam *param, uint32_t left, uint32_t right)
{
	const Merge *merges = te_at(tokenizer, param->merges);

	for (uint32_t at = slot_of(left, right, param->mask); merges[at].left != NONE; at = (at + 1) & param->mask)
		if (merges[at].left == left && merges[at].right == right)
			return &merges[at];
	return NULL;
}

/* ---- compiling ---- */

/* The id of the token that two strings make, -1 where they make none. */
static inline int32_t
id_of(const TeTokenizer *image, TeStr first, TeStr second)
{
	uint64_t	hash = te_hash_add(te_hash_add(TE_HASH_START, first.data, first.len), second.data, second.len);

	return te_vocab_find(image, hash, first, second);
}

/* Both sides of a merge are tokens, and so is what they make (less the prefix of the right one). */
static bool
read_merge(const TeTokenizer *image, TeStr left, TeStr right, size_t prefix_len, Merge *merge)
{
	const TeStr none = TE_STR("");
	int32_t		left_id = id_of(image, left, none);
	int32_t		right_id = id_of(image, right, none);
	int32_t		id;

	if (left_id < 0 || right_id < 0 || right.len < prefix_len)
		return false;
	id = id_of(image, left, (TeStr) {right.data + prefix_len, right.len - prefix_len});
	*merge = (Merge) {(uint32_t) left_id, (uint32_t) right_id, 0, (uint32_t) id};
	return id >= 0;
}

/* ["a", "b"] or "a b"; in the latter, tokens with spaces make it necessary to try each space. */
static Merge
merge_of(const TeTokenizer *image, const TeJson *node, size_t prefix_len, uint32_t number)
{
	Merge		merge;
	TeStr		s = node->kind == TE_JSON_STRING ? node->string : (TeStr) {"", 0};

	if (node->kind == TE_JSON_ARRAY && node->n == 2 && node->items[0].kind == TE_JSON_STRING &&
		node->items[1].kind == TE_JSON_STRING &&
		read_merge(image, node->items[0].string, node->items[1].string, prefix_len, &merge))
		return merge;
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] == ' ' &&
			read_merge(image, (TeStr) {s.data, i}, (TeStr) {s.data + i + 1, s.len - i - 1}, prefix_len, &merge))
			return merge;
	te_throw(TE_ERR_CORRUPT, "tokenizer: merge %u is no pair of tokens that make a token", number);
}

/* Of equal pairs the last one counts. */
static void
put_merge(Merge *merges, uint32_t mask, Merge merge)
{
	uint32_t	at = slot_of(merge.left, merge.right, mask);

	while (merges[at].left != NONE && (merges[at].left != merge.left || merges[at].right != merge.right))
		at = (at + 1) & mask;
	merges[at] = merge;
}

/*
 * The hash table of merges, two thirds full at most.  prefix_len: bytes of the continuing prefix, which a
 * merge drops.
 */
static void
compile_merges(TeCompiler *compiler, const TeJson *list, size_t prefix_len, BpeParam *param)
{
	TeArena    *arena = te_arena_create(compiler->arena, "merges");
	const TeTokenizer *image = te_image_so_far(compiler);
	uint32_t	mask = 15;
	uint32_t	rank = 0;
	Merge	   *merges;

	if (list == NULL || list->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: BPE model has no merges");
	while (mask < (uint64_t) list->n + list->n / 2)
		mask = mask * 2 + 1;
	merges = te_new_array(arena, Merge, (size_t) mask + 1);
	memset(merges, 0xFF, ((size_t) mask + 1) * sizeof(Merge));
	for (uint32_t i = 0; i < list->n; i++)
	{
		Merge		merge;

		if (i % 4096 == 0)
			te_check_interrupts();
		if (list->items[i].kind == TE_JSON_STRING && te_str_starts(list->items[i].string, "#version"))
			continue;
		merge = merge_of(image, &list->items[i], prefix_len, i);
		merge.rank = rank++;
		put_merge(merges, mask, merge);
	}
	param->mask = mask;
	param->merges = te_image_add(compiler, merges, ((size_t) mask + 1) * sizeof(Merge));
	te_arena_destroy(arena);
}

/* An unknown token that is named but not in the vocabulary is an error only once a text needs it. */
static void
compile_bpe(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeStr		unk = te_json_str(node, "unk_token", NULL);
	TeStr		prefix = te_json_str(node, "continuing_subword_prefix", "");
	TeStr		suffix = te_json_str(node, "end_of_word_suffix", "");
	BpeParam   *param = te_new(compiler->arena, BpeParam);

	compile_merges(compiler, te_json_get(node, "merges"), prefix.len, param);
	param->has_unk = unk.data != NULL;
	param->unk = unk.data != NULL ? te_vocab_id(te_image_so_far(compiler), unk) : -1;
	param->fuse_unk = te_json_bool(node, "fuse_unk", false);
	param->byte_fallback = te_json_bool(node, "byte_fallback", false);
	param->ignore_merges = te_json_bool(node, "ignore_merges", false);
	param->affixes = prefix.len > 0 || suffix.len > 0;
	param->prefix = te_image_add_str(compiler, prefix);
	param->suffix = te_image_add_str(compiler, suffix);
	te_byte_tokens(te_image_so_far(compiler), compiler->arena, param->bytes);
	te_emit(compiler, kind, param, sizeof(BpeParam));
}

/* ---- the symbols of a word ---- */

typedef struct Symbol
{
	uint32_t	id;
	uint32_t	bytes;			/* of the word; 0: merged into the one before */
	uint32_t	previous;		/* NONE at the ends */
	uint32_t	next;
} Symbol;

typedef struct Word
{
	const TeTokenizer *tokenizer;
	const BpeParam *param;
	Symbol	   *symbols;
	uint32_t	n;
	uint64_t   *heap;			/* rank << 32 | place */
	size_t		n_heap;
} Word;

/* Append a symbol; the caller has made room. */
static void
add_symbol(Word *word, int32_t id, size_t bytes)
{
	uint32_t	n = word->n++;

	word->symbols[n] = (Symbol) {(uint32_t) id, (uint32_t) bytes, n > 0 ? n - 1 : NONE, NONE};
	if (n > 0)
		word->symbols[n - 1].next = n;
}

/* The id of a character, with the affixes that its place asks for. */
static int32_t
id_of_char(TeEncoder *encoder, const BpeParam *param, size_t i)
{
	const TeTokenizer *tokenizer = encoder->tokenizer;
	TeStr		text = {encoder->word_bytes + encoder->word_at[i], encoder->word_at[i + 1] - encoder->word_at[i]};
	size_t		high = encoder->high;
	TeStr		prefix = i > 0 ? te_image_str(tokenizer, param->prefix) : (TeStr) {NULL, 0};
	TeStr		suffix = i + 1 == encoder->n_word ? te_image_str(tokenizer, param->suffix) : (TeStr) {NULL, 0};
	char	   *room;
	int32_t		id;

	if (prefix.len + suffix.len == 0)
		return te_vocab_id(tokenizer, text);
	room = te_high(encoder, text.len + suffix.len);
	if (room == NULL)
		return -1;
	memcpy(room, text.data, text.len);
	if (suffix.len > 0)
		memcpy(room + text.len, suffix.data, suffix.len);
	text = (TeStr) {room, text.len + suffix.len};
	id = te_vocab_find(tokenizer, te_hash_add(te_hash_add(TE_HASH_START, prefix.data, prefix.len), text.data, text.len),
					   prefix, text);
	te_release(encoder, high);
	return id;
}

/* All bytes of a character as tokens; false where one has none. */
static bool
add_bytes(TeEncoder *encoder, Word *word, size_t i)
{
	const uint8_t *bytes = (const uint8_t *) encoder->word_bytes;
	const uint32_t *at = encoder->word_at;

	if (!word->param->byte_fallback || word->param->affixes)
		return false;
	for (uint32_t k = at[i]; k < at[i + 1]; k++)
		if (word->param->bytes[bytes[k]] < 0)
			return false;
	for (uint32_t k = at[i]; k < at[i + 1]; k++)
		add_symbol(word, word->param->bytes[bytes[k]], 1);
	return true;
}

/*
 * The word as symbols, before any merge.  An unknown token waits until the
 * next known one, so that it can grow.
 */
static void
split_word(TeEncoder *encoder, Word *word)
{
	const BpeParam *param = word->param;
	size_t		unknown = 0;	/* bytes of the one that waits */

	for (size_t i = 0; i < encoder->n_word && encoder->status == TE_TEXT_OK; i++)
	{
		size_t		bytes = encoder->word_at[i + 1] - encoder->word_at[i];
		int32_t		id = id_of_char(encoder, param, i);

		if (id >= 0)
		{
			if (unknown > 0)
				add_symbol(word, param->unk, unknown);
			unknown = 0;
			add_symbol(word, id, bytes);
		}
		else if (!add_bytes(encoder, word, i) && param->has_unk)
		{
			if (param->unk < 0)
				encoder->status = TE_TEXT_NO_TOKEN;
			if (unknown > 0 && !param->fuse_unk)
			{
				add_symbol(word, param->unk, unknown);
				unknown = 0;
			}
			unknown += bytes;
		}
	}
	if (unknown > 0)
		add_symbol(word, param->unk, unknown);
}

/* ---- merging ---- */

/* Into the binary heap; it has room for three entries a symbol. */
static void
push(Word *word, uint64_t entry)
{
	size_t		i = word->n_heap++;

	for (; i > 0 && word->heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
		word->heap[i] = word->heap[(i - 1) / 2];
	word->heap[i] = entry;
}

/* The entry of least rank, of equal ranks the leftmost one. */
static uint64_t
pop(Word *word)
{
	uint64_t	top = word->heap[0];
	uint64_t	last = word->heap[--word->n_heap];
	size_t		i = 0;

	for (size_t child = 1; child < word->n_heap; child = 2 * i + 1)
	{
		if (child + 1 < word->n_heap && word->heap[child + 1] < word->heap[child])
			child++;
		if (word->heap[child] >= last)
			break;
		word->heap[i] = word->heap[child];
		i = child;
	}
	word->heap[i] = last;
	return top;
}

/* Put the pair of a symbol and the next one into the heap, if it can merge. */
static void
push_pair(Word *word, uint32_t place)
{
	const Symbol *left = &word->symbols[place];
	const Merge *merge;

	if (place == NONE || left->next == NONE)
		return;
	merge = find_merge(word->tokenizer, word->param, left->id, word->symbols[left->next].id);
	if (merge != NULL)
		push(word, (uint64_t) merge->rank << 32 | place);
}

/* Until no pair merges.  What became of a popped pair meanwhile shows in its ranks. */
static void
merge_pairs(Word *word)
{
	for (uint32_t i = 0; i + 1 < word->n; i++)
		push_pair(word, i);
	while (word->n_heap > 0)
	{
		uint64_t	entry = pop(word);
		uint32_t	place = (uint32_t) entry;
		Symbol	   *left = &word->symbols[place];
		Symbol	   *right;
		const Merge *merge;

		if (left->bytes == 0 || left->next == NONE)
			continue;
		right = &word->symbols[left->next];
		merge = find_merge(word->tokenizer, word->param, left->id, right->id);
		if (merge == NULL || merge->rank != (uint32_t) (entry >> 32))
			continue;
		left->id = merge->id;
		left->bytes += right->bytes;
		left->next = right->next;
		right->bytes = 0;
		if (left->next != NONE)
			word->symbols[left->next].previous = place;
		if (left->previous != NONE)
			push_pair(word, left->previous);
		push_pair(word, place);
	}
}

/* One word: whole if that is a token and merges are to be ignored then, else symbol by symbol. */
static void
run_bpe(TeEncoder *encoder, const void *data)
{
	const BpeParam *param = data;
	Word		word = {encoder->tokenizer, param};
	size_t		most = encoder->n_word;
	size_t		at = 0;

	if (param->ignore_merges)
	{
		TeStr		text = {encoder->word_bytes, encoder->word_at[encoder->n_word]};
		int32_t		id = te_vocab_id(encoder->tokenizer, text);

		if (id >= 0)
		{
			te_emit_token(encoder, id, 0, encoder->n_word);
			return;
		}
	}
	if (param->byte_fallback)
		most = encoder->word_at[encoder->n_word];
	word.symbols = te_high(encoder, most * sizeof(Symbol));
	/* One entry a pair at first, then two for each merge */
	word.heap = te_high(encoder, most * 3 * sizeof(uint64_t));
	if (word.symbols == NULL || word.heap == NULL)
		return;
	split_word(encoder, &word);
	if (encoder->status != TE_TEXT_OK)
		return;
	merge_pairs(&word);
	for (uint32_t i = 0; i < word.n; i++)
	{
		const Symbol *symbol = &word.symbols[i];

		if (symbol->bytes == 0)
			continue;
		te_emit_bytes(encoder, (int32_t) symbol->id, at, at + symbol->bytes);
		at += symbol->bytes;
	}
}

const TeRow te_model_bpe = {"BPE", compile_bpe, run_bpe};
