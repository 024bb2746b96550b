/*-------------------------------------------------------------------------
 * cache.c
 *	  Pages of keys and values, and which sequences begin alike.
 *
 * A page (kernels/pages.c) has TE_PAGE tokens of a sequence.  Keys and values of a token depend on it and those before it,
 * so a page may serve every sequence that begins with the same tokens up to its end.  Whole pages are
 * found in a tree: a node is a page with the tokens in it, its parent the page before.  A last page that is not whole is a node
 * without children; of such a one, or of a whole one that differs at its end, a sequence takes a copy as far as tokens agree.
 *
 * A page is counted by those who hold it: sequences, and its node.  Pages that only their nodes hold are what has been kept of
 * sequences that ended; where no page is free, the node without children that was used longest ago is given up.
 *
 * Pages are made as they are needed, up to the bound, and given back by te_cache_trim().
 *-------------------------------------------------------------------------
 */
#include "model/cache.h"

#define MIN_COPIED 8			/* tokens that a copy of a page has to save */

struct TeCachePage
{
	TeArena    *arena;			/* its own */
	char	   *data;
	int			holders;
	TeCachePage *next_free;
};

struct TePrefix
{
	TePrefix   *parent;			/* NULL: the first page */
	TePrefix   *first_child;
	TePrefix   *next;			/* of the same parent */
	TeCachePage *page;
	uint64_t	used;			/* when */
	int32_t		n;				/* tokens; TE_PAGE but of a leaf */
	int32_t		ids[TE_PAGE];
	size_t		number;			/* in the list of all */
};

struct TeCache
{
	TeArena    *arena;
	TePageLayout layout;
	int			n_layers;
	size_t		page_bytes;
	size_t		most;			/* pages */
	size_t		n_pages;		/* that were made */
	bool		no_sharing;
	TeCachePage *free_pages;
	TePrefix   *roots;
	TePrefix   *free_nodes;		/* by next */
	TePrefix  **nodes;
	size_t		n_nodes;
	size_t		capacity;
	uint64_t	clock;
};

TeCache *
te_cache_create(TeArena *arena, const TeModel *model, TeDtype dtype, size_t bytes, bool no_sharing)
{
	const TeConfig *config = te_model_config(model);
	TeCache    *cache = te_new(arena, TeCache);

	cache->arena = arena;
	cache->no_sharing = no_sharing;
	cache->n_layers = config->n_layers;
	if (!te_page_layout(dtype, config->n_kv_heads > 0 ? config->n_kv_heads : config->n_heads, config->head_size, &cache->layout))
		te_throw(TE_ERR_INVALID, "keys and values are not kept as %s", te_dtypes[dtype].name);
	cache->page_bytes = te_mul_size(cache->layout.layer_bytes, (size_t) cache->n_layers);
	cache->most = bytes == 0 ? SIZE_MAX / TE_PAGE : bytes / cache->page_bytes;
	return cache;
}

const TePageLayout *
te_cache_layout(const TeCache *cache)
{
	return &cache->layout;
}

int
te_cache_layers(const TeCache *cache)
{
	return cache->n_layers;
}

size_t
te_cache_tokens(const TeCache *cache)
{
	return cache->most * TE_PAGE;
}

size_t
te_cache_page_bytes(const TeCache *cache)
{
	return cache->page_bytes;
}

/* ---- pages ---- */

static void
let_go(TeCache *cache, TeCachePage *page)
{
	if (--page->holders > 0)
		return;
	page->next_free = cache->free_pages;
	cache->free_pages = page;
}

static TePrefix **
children_of(TeCache *cache, TePrefix *parent)
{
	return parent != NULL ? &parent->first_child : &cache->roots;
}

static void
remove_node(TeCache *cache, TePrefix *node)
{
	TePrefix  **link = children_of(cache, node->parent);

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	cache->nodes[node->number] = cache->nodes[--cache->n_nodes];
	cache->nodes[node->number]->number = node->number;
	let_go(cache, node->page);
	node->next = cache->free_nodes;
	cache->free_nodes = node;
}

/* Of what nobody uses, the node that was used longest ago; NULL: none. */
static TePrefix *
oldest_unused(const TeCache *cache)
{
	TePrefix   *oldest = NULL;

	for (size_t i = 0; i < cache->n_nodes; i++)
	{
		TePrefix   *node = cache->nodes[i];

		if (node->first_child == NULL && node->page->holders == 1 && (oldest == NULL || node->used < oldest->used))
			oldest = node;
	}
	return oldest;
}

/* A page that the caller holds; NULL where there is none. */
static TeCachePage *
take_page(TeCache *cache)
{
	TeCachePage *page;

	if (cache->free_pages == NULL && cache->n_pages >= cache->most)
	{
		TePrefix   *node = oldest_unused(cache);

		if (node == NULL)
			return NULL;
		remove_node(cache, node);
	}
	if (cache->free_pages == NULL)
	{
		TeArena    *arena = te_arena_create(cache->arena, "page");

		page = te_new(arena, TeCachePage);
		page->arena = arena;
		page->data = te_alloc(arena, TE_MAX(cache->page_bytes, (size_t) 256));
		cache->n_pages++;
	}
	else
	{
		page = cache->free_pages;
		cache->free_pages = page->next_free;
	}
	page->holders = 1;
	return page;
}

void
te_cache_trim(TeCache *cache, size_t bytes)
{
	while (cache->n_pages > bytes / cache->page_bytes)
	{
		TeCachePage *page = cache->free_pages;
		TePrefix   *node = page == NULL ? oldest_unused(cache) : NULL;

		if (node != NULL)
			remove_node(cache, node);
		else if (page == NULL)
			return;
		else
		{
			cache->free_pages = page->next_free;
			cache->n_pages--;
			te_arena_destroy(page->arena);
		}
	}
}

/* ---- what is known ---- */

static size_t
common(const int32_t *a, const int32_t *b, size_t n)
{
	size_t		i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

static TePrefix *
find_child(const TeCache *cache, const TePrefix *parent, const int32_t *ids, int32_t n)
{
	TePrefix   *node = parent != NULL ? parent->first_child : cache->roots;

	while (node != NULL && (node->n != n || memcmp(node->ids, ids, (size_t) n * sizeof(int32_t)) != 0))
		node = node->next;
	return node;
}

/* The child that agrees longest with n tokens, by how many. */
static TePrefix *
find_alike(const TeCache *cache, const TePrefix *parent, const int32_t *ids, size_t n, size_t *agreed)
{
	TePrefix   *best = NULL;

	*agreed = 0;
	for (TePrefix *node = parent != NULL ? parent->first_child : cache->roots; node != NULL; node = node->next)
	{
		size_t		same = common(node->ids, ids, TE_MIN(n, (size_t) node->n));

		if (same > *agreed)
		{
			best = node;
			*agreed = same;
		}
	}
	return best;
}

/* Remember a page of n tokens behind the parent; the node, which may have been there. */
static TePrefix *
add_node(TeCache *cache, TePrefix *parent, const int32_t *ids, int32_t n, TeCachePage *page)
{
	TePrefix  **children = children_of(cache, parent);
	TePrefix   *node = cache->free_nodes;

	if (node != NULL)
		cache->free_nodes = node->next;
	else
		node = te_new(cache->arena, TePrefix);
	if (cache->n_nodes == cache->capacity)
	{
		size_t		capacity = TE_MAX(64, 2 * cache->capacity);
		TePrefix  **nodes = te_new_array(cache->arena, TePrefix *, capacity);

		if (cache->n_nodes > 0)
			memcpy(nodes, cache->nodes, cache->n_nodes * sizeof(TePrefix *));
		cache->nodes = nodes;
		cache->capacity = capacity;
	}
	*node = (TePrefix) {.parent = parent,.next = *children,.page = page,.used = ++cache->clock,.n = n,.number = cache->n_nodes};
	memcpy(node->ids, ids, (size_t) n * sizeof(int32_t));
	*children = node;
	cache->nodes[cache->n_nodes++] = node;
	page->holders++;
	return node;
}

/* ---- sequences ---- */

static void
append_page(TeSequence *sequence, TeCachePage *page)
{
	if (sequence->n_pages == sequence->capacity)
	{
		size_t		capacity = TE_MAX(16, 2 * sequence->capacity);
		TeCachePage **pages = te_new_array(sequence->arena, TeCachePage *, capacity);
		char	  **data = te_new_array(sequence->arena, char *, capacity);

		for (size_t i = 0; i < sequence->n_pages; i++)
		{
			pages[i] = sequence->pages[i];
			data[i] = sequence->data[i];
		}
		sequence->pages = pages;
		sequence->data = data;
		sequence->capacity = capacity;
	}
	sequence->pages[sequence->n_pages] = page;
	sequence->data[sequence->n_pages++] = page->data;
}

/* A copy of a page of somebody who holds it; false where there is no room. */
static bool
append_copy(TeCache *cache, TeSequence *sequence, TeCachePage *from)
{
	TeCachePage *page;

	from->holders++;			/* or it may be given up for its own copy */
	page = take_page(cache);
	from->holders--;
	if (page == NULL)
		return false;
	memcpy(page->data, from->data, cache->page_bytes);
	append_page(sequence, page);
	return true;
}

size_t
te_sequence_known(const TeCache *cache, const int32_t *ids, size_t n)
{
	TePrefix   *prefix = NULL;
	TePrefix   *child;
	size_t		known = 0;
	size_t		agreed;

	while (n - known > TE_PAGE && (child = find_child(cache, prefix, ids + known, TE_PAGE)) != NULL)
	{
		prefix = child;
		known += TE_PAGE;
	}
	find_alike(cache, prefix, ids + known, n - 1 - known, &agreed);
	return agreed >= MIN_COPIED ? known + agreed : known;
}

void
te_sequence_begin(TeCache *cache, TeSequence *sequence, const int32_t *ids, size_t n)
{
	TePrefix   *child;
	size_t		agreed;

	te_assert(sequence->n_pages == 0 && n > 0);
	sequence->n_cached = 0;
	sequence->prefix = NULL;
	while (n - sequence->n_cached > TE_PAGE &&
		   (child = find_child(cache, sequence->prefix, ids + sequence->n_cached, TE_PAGE)) != NULL)
	{
		child->used = ++cache->clock;
		child->page->holders++;
		append_page(sequence, child->page);
		sequence->prefix = child;
		sequence->n_cached += TE_PAGE;
	}
	child = find_alike(cache, sequence->prefix, ids + sequence->n_cached, n - 1 - sequence->n_cached, &agreed);
	if (agreed < MIN_COPIED)
		return;
	child->used = ++cache->clock;
	if (append_copy(cache, sequence, child->page))
		sequence->n_cached += agreed;
}

void
te_sequence_copy_tail(TeCache *cache, TeSequence *sequence, const TeSequence *from, size_t n)
{
	size_t		page = sequence->n_cached / TE_PAGE;

	n = TE_MIN(TE_MIN(n, from->n_cached), (page + 1) * TE_PAGE);
	if (cache->no_sharing || page != sequence->n_pages || n < sequence->n_cached + MIN_COPIED)
		return;
	if (append_copy(cache, sequence, from->pages[page]))
		sequence->n_cached = n;
}

bool
te_sequence_reserve(TeCache *cache, TeSequence *sequence, size_t n)
{
	while (sequence->n_pages * TE_PAGE < n)
	{
		TeCachePage *page = take_page(cache);

		if (page == NULL)
			return false;
		append_page(sequence, page);
	}
	return true;
}

/* Page number `page` is whole: it becomes known, or the one that is known takes its place. */
static void
name_page(TeCache *cache, TeSequence *sequence, const int32_t *ids, size_t page)
{
	TePrefix   *node = find_child(cache, sequence->prefix, ids + page * TE_PAGE, TE_PAGE);

	if (node == NULL)
		node = add_node(cache, sequence->prefix, ids + page * TE_PAGE, TE_PAGE, sequence->pages[page]);
	else
	{
		node->used = ++cache->clock;
		node->page->holders++;
		let_go(cache, sequence->pages[page]);
		sequence->pages[page] = node->page;
		sequence->data[page] = node->page->data;
	}
	sequence->prefix = node;
}

void
te_sequence_computed(TeCache *cache, TeSequence *sequence, const int32_t *ids, size_t n)
{
	size_t		named = sequence->n_cached / TE_PAGE;

	for (; !cache->no_sharing && (named + 1) * TE_PAGE <= n; named++)
		name_page(cache, sequence, ids, named);
	sequence->n_cached = n;
}

bool
te_sequence_fork(TeCache *cache, const TeSequence *from, TeSequence *to)
{
	size_t		whole = from->n_cached / TE_PAGE;

	te_assert(to->n_pages == 0);
	for (size_t i = 0; i < whole; i++)
	{
		from->pages[i]->holders++;
		append_page(to, from->pages[i]);
	}
	to->n_cached = from->n_cached;
	to->prefix = from->prefix;
	return from->n_cached % TE_PAGE == 0 || append_copy(cache, to, from->pages[whole]);
}

void
te_sequence_end(TeCache *cache, TeSequence *sequence, const int32_t *ids)
{
	size_t		whole = sequence->n_cached / TE_PAGE;
	size_t		rest = sequence->n_cached % TE_PAGE;

	if (!cache->no_sharing && ids != NULL && rest >= MIN_COPIED &&
		find_child(cache, sequence->prefix, ids + whole * TE_PAGE, (int32_t) rest) == NULL)
		add_node(cache, sequence->prefix, ids + whole * TE_PAGE, (int32_t) rest, sequence->pages[whole]);
	for (size_t i = 0; i < sequence->n_pages; i++)
		let_go(cache, sequence->pages[i]);
	sequence->n_pages = 0;
	sequence->n_cached = 0;
	sequence->prefix = NULL;
}
