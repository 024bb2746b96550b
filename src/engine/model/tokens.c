/*-------------------------------------------------------------------------
 * tokens.c
 *	  The tokens of a vocabulary as bytes of text, in an order that a grammar is walked along.
 *
 * Tokens are sorted by their bytes, and their common beginnings make a tree.  Its nodes lie in
 * preorder: a node is followed by those below it, and says where the first that is not begins, so that what cannot be
 * is skipped in one step; the tokens that end at a node, and all that end below it, are ranges of
 * the sorted list.
 *
 * The first token of a text may give other bytes than the same token within one (SentencePiece's leading space); where that
 * is so there is a second tree of first tokens.
 *
 * Special tokens, tokens without bytes and ids that the model has no logit for are left out.  So
 * are tokens that end within a character where the vocabulary does not have all bytes to go on with.
 *-------------------------------------------------------------------------
 */
#include "model/tokens.h"

#include <stdlib.h>

#define LONGEST_TOKEN 1024

typedef struct Sorted
{
	uint64_t	key;			/* the first eight bytes, the first one highest */
	TeStr		text;
	int32_t		id;
} Sorted;

static int
compare_sorted(const void *a, const void *b)
{
	const Sorted *x = a;
	const Sorted *y = b;
	size_t		n = TE_MIN(x->text.len, y->text.len);
	int			order;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	order = n > 8 ? memcmp(x->text.data + 8, y->text.data + 8, n - 8) : 0;
	if (order == 0)
		order = (x->text.len > y->text.len) - (x->text.len < y->text.len);
	return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

static uint64_t
key_of(TeStr text)
{
	uint64_t	key = 0;

	for (size_t i = 0; i < 8; i++)
		key = key << 8 | (i < text.len ? (uint8_t) text.data[i] : 0);
	return key;
}

static bool
is_wanted(const TeTokens *tokens, TeStr text)
{
	return text.len > 0 && text.len <= LONGEST_TOKEN && (tokens->all_bytes || te_utf8_valid(text));
}

static size_t
common_bytes(TeStr a, TeStr b)
{
	size_t		n = TE_MIN(a.len, b.len);
	size_t		i = 0;

	while (i < n && a.data[i] == b.data[i])
		i++;
	return i;
}

/* The nodes of sorted tokens: each begins where it leaves the one before. */
static void
add_nodes(TeArena *arena, TeTokenTree *tree, const Sorted *sorted, size_t n)
{
	size_t		n_nodes = 1;
	uint32_t	open[LONGEST_TOKEN + 1];	/* the node of each depth on the way to the last */
	size_t		depth = 0;

	for (size_t i = 0; i < n; i++)
		n_nodes += sorted[i].text.len - (i > 0 ? common_bytes(sorted[i - 1].text, sorted[i].text) : 0);
	tree->nodes = te_new_array(arena, TeTokenNode, n_nodes + 1);
	tree->n_nodes = 1;
	open[0] = 0;
	for (size_t i = 0; i < n; i++)
	{
		size_t		common = i > 0 ? common_bytes(sorted[i - 1].text, sorted[i].text) : 0;

		for (; depth > common; depth--)
			tree->nodes[open[depth]].skip = tree->n_nodes;
		while (depth < sorted[i].text.len)
		{
			tree->nodes[tree->n_nodes] = (TeTokenNode) {.first = (uint32_t) i,.depth = (uint16_t) (depth + 1),
			.byte = (uint8_t) sorted[i].text.data[depth]};
			open[++depth] = tree->n_nodes++;
		}
		tree->longest = TE_MAX(tree->longest, sorted[i].text.len);
	}
	for (; depth > 0; depth--)
		tree->nodes[open[depth]].skip = tree->n_nodes;
	tree->nodes[0].skip = tree->n_nodes;
	tree->nodes[tree->n_nodes].first = (uint32_t) n;	/* where the last one ends */
}

static TeTokenTree *
make_tree(TeArena *arena, const TeTokens *tokens, const TeStr *texts, size_t n)
{
	TeArena    *work = te_arena_create(arena, "sorting tokens");
	TeTokenTree *tree = te_new(arena, TeTokenTree);
	Sorted	   *sorted = te_new_array(work, Sorted, n);
	size_t		n_sorted = 0;

	for (size_t i = 0; i < n; i++)
	{
		if (is_wanted(tokens, texts[i]))
			sorted[n_sorted++] = (Sorted) {key_of(texts[i]), texts[i], (int32_t) i};
	}
	te_check_interrupts();
	qsort(sorted, n_sorted, sizeof(Sorted), compare_sorted);
	te_check_interrupts();
	add_nodes(arena, tree, sorted, n_sorted);
	tree->n_ids = (uint32_t) n_sorted;
	tree->ids = te_new_array(arena, int32_t, n_sorted);
	for (size_t i = 0; i < n_sorted; i++)
		tree->ids[i] = sorted[i].id;
	for (uint32_t i = 1; i < tree->n_nodes; i = tree->nodes[i].skip)
		tree->roots[tree->nodes[i].byte] = i;
	te_arena_destroy(work);
	return tree;
}

/* Which characters can be written by tokens of them alone, or of their bytes. */
static void
find_usable(TeArena *arena, TeTokens *tokens, const TeStr *texts, size_t n)
{
	bool		single[256] = {false};
	bool		all = true;

	for (size_t i = 0; i < n; i++)
	{
		if (texts[i].len == 1)
			single[(uint8_t) texts[i].data[0]] = true;
	}
	tokens->all_bytes = true;
	for (int i = 0; i < 256; i++)
	{
		all = all && single[i];
		tokens->all_bytes = tokens->all_bytes && (i < 0x80 || single[i]);
		if (i < 0x80 && single[i])
			te_class_add(arena, &tokens->characters, (uint32_t) i, (uint32_t) i);
	}
	if (tokens->all_bytes)
		te_class_add(arena, &tokens->characters, 0x80, TE_MOST_CHAR);
	for (size_t i = 0; i < n && !tokens->all_bytes; i++)
	{
		const char *p = texts[i].data;
		int32_t		c;

		if (texts[i].len < 2 || texts[i].len > 4)
			continue;
		c = te_utf8_next(&p, p + texts[i].len);
		if (c >= 0 && p == texts[i].data + texts[i].len)
			te_class_add(arena, &tokens->characters, (uint32_t) c, (uint32_t) c);
	}
	te_class_settle(&tokens->characters);
	tokens->usable = all ? NULL : &tokens->characters;
}

/* Do both lists have the same texts? */
static bool
same_texts(const TeStr *a, const TeStr *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (!te_str_eq(a[i], b[i]))
			return false;
	}
	return true;
}

TeTokens *
te_tokens_create(TeArena *arena, const TeTokenizer *tokenizer, int n_vocab)
{
	TeTokens   *tokens = te_new(arena, TeTokens);
	TeArena    *first = te_arena_create(arena, "first tokens");
	size_t		n = (size_t) TE_MAX(TE_MIN(te_vocab_size(tokenizer), n_vocab), 0);

	tokens->n_vocab = n_vocab;
	tokens->n = n;
	tokens->texts = te_token_bytes(tokenizer, arena, false);
	tokens->first_texts = te_token_bytes(tokenizer, first, true);
	find_usable(arena, tokens, tokens->texts, n);
	tokens->tree = tokens->first_tree = make_tree(arena, tokens, tokens->texts, n);
	if (!same_texts(tokens->texts, tokens->first_texts, n))
		tokens->first_tree = make_tree(arena, tokens, tokens->first_texts, n);
	else
	{
		te_arena_destroy(first);
		tokens->first_texts = tokens->texts;
	}
	return tokens;
}
