/*-------------------------------------------------------------------------
 * vocab.c
 *	  The vocabulary in the image: id to bytes, and bytes to id by a hash table.
 *
 * Two kinds of token are kept apart: those of the model, which its algorithm may
 * produce, and added tokens, which are cut out of the text beforehand
 * (added.c).  Where both have an id, the added one tells its text.
 *
 * Ids come from a file.  A table over ids must not be larger than the file
 * justifies, so ids that are far apart are refused.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

#define MOST_SPARSE 8			/* id slots a token, at most, ... */
#define MOST_IDS 0x04000000		/* ids share a word with flags */
#define SPARE_IDS 4096			/* ... beside so many */

/* Linear probing. */
void
te_slot_insert(TeVocabSlot *slots, uint32_t mask, uint64_t hash, uint32_t id)
{
	uint32_t	at = (uint32_t) hash & mask;

	while (slots[at].id1 != 0)
		at = (at + 1) & mask;
	slots[at] = (TeVocabSlot) {(uint32_t) (hash >> 32), id + 1};
}

/* The i-th token of the vocabulary, an object {token: id} or an array [[token, score], ...]. */
static TeStr
token_of(const TeJson *vocab, uint32_t i, int64_t *id)
{
	const TeJson *item = &vocab->items[i];

	if (vocab->kind == TE_JSON_OBJECT)
	{
		if (item->kind != TE_JSON_INTEGER || item->integer < 0)
			te_throw(TE_ERR_CORRUPT, "tokenizer: id of token \"%.*s\" is no number", TE_STR_ARGS(item->key));
		*id = item->integer;
		return item->key;
	}
	if (item->kind != TE_JSON_ARRAY || item->n < 1 || item->items[0].kind != TE_JSON_STRING)
		te_throw(TE_ERR_CORRUPT, "tokenizer: entry %u of the vocabulary is no pair of token and score", i);
	*id = i;
	return item->items[0].string;
}

/* Also the check that ids are in proportion. */
static uint32_t
count_ids(const TeJson *vocab)
{
	int64_t		n_ids = 0;

	for (uint32_t i = 0; i < vocab->n; i++)
	{
		int64_t		id;

		(void) token_of(vocab, i, &id);
		n_ids = TE_MAX(n_ids, id + 1);
		if (id >= (int64_t) vocab->n * MOST_SPARSE + SPARE_IDS || id >= MOST_IDS)
			te_throw(TE_ERR_CORRUPT, "tokenizer: token id %lld is out of proportion to %u tokens",
					 (long long) id, vocab->n);
	}
	return (uint32_t) n_ids;
}

/*
 * Fills header.vocab.  A token that occurs twice has the later id; an id
 * that occurs twice tells the later token.
 */
void
te_vocab_compile(TeCompiler *compiler, const TeJson *vocab)
{
	TeArena    *arena = te_arena_create(compiler->arena, "vocabulary");
	TeVocab    *into = &compiler->header.vocab;
	uint32_t	n_ids;
	uint32_t	mask = 15;
	TeImageStr *tokens;
	TeVocabSlot *slots;

	if (vocab == NULL || (vocab->kind != TE_JSON_OBJECT && vocab->kind != TE_JSON_ARRAY))
		te_throw(TE_ERR_CORRUPT, "tokenizer: model has no vocabulary");
	n_ids = count_ids(vocab);
	while (mask < 2 * (uint64_t) vocab->n)
		mask = mask * 2 + 1;
	tokens = te_new_array(arena, TeImageStr, n_ids);
	memset(tokens, 0xFF, n_ids * sizeof(TeImageStr));
	slots = te_new_array(arena, TeVocabSlot, (size_t) mask + 1);
	into->n_tokens = vocab->n;
	/* Backwards, so that of equal tokens the look-up finds the last one first */
	for (uint32_t i = vocab->n; i-- > 0;)
	{
		int64_t		id;
		TeStr		token = token_of(vocab, i, &id);

		if (i % 4096 == 0)
			te_check_interrupts();
		if (tokens[id].at == UINT32_MAX)
			tokens[id] = te_image_add_str(compiler, token);
		te_slot_insert(slots, mask, te_hash_add(TE_HASH_START, token.data, token.len), (uint32_t) id);
		into->longest = TE_MAX(into->longest, (uint32_t) token.len);
	}
	into->n_ids = n_ids;
	into->slot_mask = mask;
	into->tokens = te_image_add(compiler, tokens, n_ids * sizeof(TeImageStr));
	into->slots = te_image_add(compiler, slots, ((size_t) mask + 1) * sizeof(TeVocabSlot));
	te_arena_destroy(arena);
}

/* The tag saves nearly all comparisons with other tokens. */
int32_t
te_vocab_find(const TeTokenizer *tokenizer, uint64_t hash, TeStr prefix, TeStr rest)
{
	const TeVocab *vocab = &tokenizer->vocab;
	const TeVocabSlot *slots = te_at(tokenizer, vocab->slots);
	const TeImageStr *tokens = te_at(tokenizer, vocab->tokens);
	uint32_t	tag = (uint32_t) (hash >> 32);

	for (uint32_t at = (uint32_t) hash & vocab->slot_mask; slots[at].id1 != 0; at = (at + 1) & vocab->slot_mask)
	{
		TeImageStr	token;
		const char *text;

		if (slots[at].tag != tag)
			continue;
		token = tokens[slots[at].id1 - 1];
		text = te_at(tokenizer, token.at);
		if (token.len == prefix.len + rest.len &&
			(prefix.len == 0 || memcmp(text, prefix.data, prefix.len) == 0) &&
			(rest.len == 0 || memcmp(text + prefix.len, rest.data, rest.len) == 0))
			return (int32_t) slots[at].id1 - 1;
	}
	return -1;
}

/* The same for a token in one part. */
int32_t
te_vocab_id(const TeTokenizer *tokenizer, TeStr token)
{
	return te_vocab_find(tokenizer, te_hash_add(TE_HASH_START, token.data, token.len), (TeStr) {NULL, 0}, token);
}

/* As byte fallback names them. */
void
te_byte_tokens(const TeTokenizer *tokenizer, TeArena *arena, int32_t ids[256])
{
	for (int i = 0; i < 256; i++)
		ids[i] = te_vocab_id(tokenizer, te_str(te_format(arena, "<0x%02X>", i)));
}

/* Of the model alone; see te_token_text(). */
TeStr
te_vocab_token(const TeTokenizer *tokenizer, int32_t id)
{
	const TeImageStr *tokens = te_at(tokenizer, tokenizer->vocab.tokens);

	if (id < 0 || (uint32_t) id >= tokenizer->vocab.n_ids)
		return (TeStr) {NULL, 0};
	return te_image_str(tokenizer, tokens[id]);
}

/* NULL where there is none. */
const TeAdded *
te_added_by_content(const TeTokenizer *tokenizer, TeStr content)
{
	const TeAdded *added = te_at(tokenizer, tokenizer->added);
	const TeVocabSlot *slots = te_at(tokenizer, tokenizer->added_slots);
	uint64_t	hash = te_hash_add(TE_HASH_START, content.data, content.len);
	uint32_t	mask = tokenizer->added_mask;

	if (tokenizer->n_added == 0)
		return NULL;
	for (uint32_t at = (uint32_t) hash & mask; slots[at].id1 != 0; at = (at + 1) & mask)
		if (slots[at].tag == (uint32_t) (hash >> 32) &&
			te_str_eq(te_image_str(tokenizer, added[slots[at].id1 - 1].content), content))
			return &added[slots[at].id1 - 1];
	return NULL;
}

/* By binary search, as there are few or their ids are dense. */
const TeAdded *
te_added_by_id(const TeTokenizer *tokenizer, int32_t id)
{
	const TeAdded *added = te_at(tokenizer, tokenizer->added);
	uint32_t	low = 0;
	uint32_t	high = tokenizer->n_added;

	while (low < high)
	{
		uint32_t	middle = (low + high) / 2;

		if (added[middle].id == (uint32_t) id)
			return &added[middle];
		if (added[middle].id < (uint32_t) id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Added tokens first: they may name an id of the model anew. */
TeStr
te_token_text(const TeTokenizer *tokenizer, int32_t id)
{
	const TeAdded *added = id < 0 ? NULL : te_added_by_id(tokenizer, id);

	return added != NULL ? te_image_str(tokenizer, added->content) : te_vocab_token(tokenizer, id);
}

bool
te_token_special(const TeTokenizer *tokenizer, int32_t id)
{
	const TeAdded *added = id < 0 ? NULL : te_added_by_id(tokenizer, id);

	return added != NULL && added->special;
}

/* Likewise. */
int32_t
te_token_id(const TeTokenizer *tokenizer, TeStr token)
{
	const TeAdded *added = te_added_by_content(tokenizer, token);

	return added != NULL ? (int32_t) added->id : te_vocab_id(tokenizer, token);
}

/* Counts ids that no token has. */
int32_t
te_vocab_size(const TeTokenizer *tokenizer)
{
	return (int32_t) tokenizer->vocab_size;
}
