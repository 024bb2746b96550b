/*-------------------------------------------------------------------------
 * arena.c
 *	  Bump allocation over chained blocks.
 *
 * An arena is the unit of lifetime: there is no free of a single allocation.
 * Blocks come from the host (te_host_alloc) under the owner of the root, so
 * that when the host drops the owner, a memory context, everything is simply
 * gone and no destructor needs to run.  For that reason an arena keeps nothing
 * outside its blocks: the TeArena itself is in its first block, "home".
 *
 * Blocks double from 16 kB to 4 MB.  A request that would waste much of a
 * block gets one of its own, and bump allocation goes on in the block before.
 * The root counts what it and its children hold; te_arena_reset() keeps home
 * and one other block; where there were more, it gives them back and the next
 * block is as large as they were together, so that a step which is repeated
 * soon allocates nothing from the host.
 *
 * A block is linked in only after the host has given it, so a throw from the
 * host (out of memory) leaves the arena as it was.
 *
 * Under AddressSanitizer the free room of a block is poisoned, and each
 * allocation is followed by a poisoned gap; an overrun inside an arena is then
 * found like one of malloc.
 *-------------------------------------------------------------------------
 */
#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define ARENA_GAP 16			/* bytes that nobody may touch, after each allocation */
#define ARENA_POISON(at, bytes) ASAN_POISON_MEMORY_REGION((at), (bytes))
#define ARENA_UNPOISON(at, bytes) ASAN_UNPOISON_MEMORY_REGION((at), (bytes))
#else
#define ARENA_GAP 0
#define ARENA_POISON(at, bytes) ((void) 0)
#define ARENA_UNPOISON(at, bytes) ((void) 0)
#endif

#define ARENA_FIRST_BLOCK ((size_t) 16 * 1024)
#define ARENA_LARGEST_BLOCK ((size_t) 4 * 1024 * 1024)
#define ARENA_ALIGN 16
#define ARENA_WIDE_ALIGN 64		/* a cache line, from ARENA_WIDE bytes on */
#define ARENA_WIDE 256
#define ARENA_LARGEST_REQUEST (SIZE_MAX / 4)

typedef struct ArenaBlock ArenaBlock;
struct ArenaBlock
{
	ArenaBlock *next;
	size_t		bytes;			/* with this header */
	char	   *free;			/* next free byte ... */
	char	   *end;			/* ... up to here */
};

struct TeArena
{
	const char *name;
	TeArena    *root;			/* itself, in a root */
	TeArena    *parent;			/* NULL in a root */
	TeArena    *children;
	TeArena    *next_sibling;
	TeArena    *previous_sibling;
	ArenaBlock *home;			/* holds this struct; freed last */
	ArenaBlock *blocks;			/* all, home too; allocation is from the first */
	char	   *home_free;		/* where home's free room begins after a reset */
	size_t		held;			/* bytes of the blocks */
	size_t		next_block;		/* size of the next ordinary block */
	size_t		reserve;		/* after a reset: what was in use beside home */

	/* of a root only */
	void	   *owner;
	size_t		limit;			/* 0: none */
	size_t		total;			/* held by it and all its descendants */
	const char *limit_hint;
};

/* Whether the limit leaves room for a block of this size. */
static bool
fits_limit(const TeArena *root, size_t bytes)
{
	return root->limit == 0 || (bytes <= root->limit && root->total <= root->limit - bytes);
}

/* Take `bytes` from the host against the root's limit.  Throws; changes nothing then. */
static ArenaBlock *
block_create(TeArena *root, size_t bytes)
{
	ArenaBlock *block;

	if (!fits_limit(root, bytes))
		te_throw_hint(TE_ERR_LIMIT, NULL, root->limit_hint,
					  "%s needs more memory than its limit of %zu kB", root->name, root->limit / 1024);
	block = te_host_alloc(root->owner, bytes);
	block->next = NULL;
	block->bytes = bytes;
	block->free = (char *) (block + 1);
	block->end = (char *) block + bytes;
	ARENA_POISON(block->free, (size_t) (block->end - block->free));
	return block;
}

static void
block_free(TeArena *arena, ArenaBlock *block)
{
	void	   *owner = arena->root->owner;

	arena->held -= block->bytes;
	arena->root->total -= block->bytes;
	ARENA_UNPOISON(block, block->bytes);
	te_host_free(owner, block);
}

static void
block_count(TeArena *arena, const ArenaBlock *block)
{
	arena->held += block->bytes;
	arena->root->total += block->bytes;
}

/* `bytes` at the alignment their size asks for, or NULL where the block has no room. */
static void *
block_take(ArenaBlock *block, size_t bytes)
{
	uintptr_t	align = bytes >= ARENA_WIDE ? ARENA_WIDE_ALIGN : ARENA_ALIGN;
	size_t		pad = (size_t) (-(uintptr_t) block->free & (align - 1));
	size_t		room = (size_t) (block->end - block->free);
	char	   *result;

	if (room < pad || room - pad < bytes + ARENA_GAP)
		return NULL;
	result = block->free + pad;
	block->free = result + bytes + ARENA_GAP;
	ARENA_UNPOISON(result, bytes);
	return result;
}

/* Put an arena into its first block; the caller links it to its parent. */
static TeArena *
arena_make_home(ArenaBlock *home, const char *name)
{
	TeArena    *arena = block_take(home, sizeof(TeArena));

	te_assert(arena != NULL);
	memset(arena, 0, sizeof(*arena));
	arena->name = name;
	arena->home = home;
	arena->blocks = home;
	arena->home_free = home->free;
	arena->next_block = ARENA_FIRST_BLOCK * 2;
	return arena;
}

TeArena *
te_arena_create_root(void *owner, const char *name, size_t limit, const char *limit_hint)
{
	TeArena		seed = {.name = name,.owner = owner,.limit = limit,.limit_hint = limit_hint};
	TeArena    *arena = arena_make_home(block_create(&seed, ARENA_FIRST_BLOCK), name);

	arena->root = arena;
	arena->owner = owner;
	arena->limit = limit;
	arena->limit_hint = limit_hint;
	block_count(arena, arena->home);
	return arena;
}

TeArena *
te_arena_create(TeArena *parent, const char *name)
{
	TeArena    *arena = arena_make_home(block_create(parent->root, ARENA_FIRST_BLOCK), name);

	arena->root = parent->root;
	arena->parent = parent;
	arena->next_sibling = parent->children;
	if (parent->children != NULL)
		parent->children->previous_sibling = arena;
	parent->children = arena;
	block_count(arena, arena->home);
	return arena;
}

/* Give back all blocks but home and `keep`. */
static void
free_others(TeArena *arena, const ArenaBlock *keep)
{
	ArenaBlock *block = arena->blocks;

	while (block != NULL)
	{
		ArenaBlock *next = block->next;

		if (block != arena->home && block != keep)
			block_free(arena, block);
		block = next;
	}
}

/*
 * Leave the tree and give all blocks back, home last.  Children first; the
 * depth of the recursion is the depth of the tree, a handful.
 */
void
te_arena_destroy(TeArena *arena)
{
	while (arena->children != NULL)
		te_arena_destroy(arena->children);

	if (arena->next_sibling != NULL)
		arena->next_sibling->previous_sibling = arena->previous_sibling;
	if (arena->previous_sibling != NULL)
		arena->previous_sibling->next_sibling = arena->next_sibling;
	else if (arena->parent != NULL)
		arena->parent->children = arena->next_sibling;

	free_others(arena, NULL);
	block_free(arena, arena->home);
}

/* Make a kept block empty again. */
static void
block_clear(ArenaBlock *block, char *first_free)
{
	block->free = first_free;
	ARENA_POISON(first_free, (size_t) (block->end - first_free));
}

void
te_arena_reset(TeArena *arena)
{
	ArenaBlock *home = arena->home;
	ArenaBlock *keep = NULL;

	while (arena->children != NULL)
		te_arena_destroy(arena->children);

	/* Two blocks in all: home and another.  More: merge them next time. */
	if (arena->blocks->next != NULL && arena->blocks->next->next == NULL)
		keep = arena->blocks != home ? arena->blocks : home->next;
	else if (arena->blocks->next != NULL)
		arena->reserve = arena->held - home->bytes;
	free_others(arena, keep);

	block_clear(home, arena->home_free);
	home->next = NULL;
	arena->blocks = home;
	if (keep != NULL)
	{
		block_clear(keep, (char *) (keep + 1));
		keep->next = home;
		arena->blocks = keep;
	}
}

void
te_arena_clear(TeArena *arena)
{
	te_arena_reset(arena);
	free_others(arena, NULL);
	arena->blocks = arena->home;
	arena->home->next = NULL;
	arena->reserve = 0;
}

void
te_arena_set_limit_hint(TeArena *arena, const char *hint)
{
	arena->root->limit_hint = hint;
}

size_t
te_arena_bytes(const TeArena *arena)
{
	size_t		bytes = arena->held;

	if (arena->parent == NULL)
		return arena->total;
	for (const TeArena *child = arena->children; child != NULL; child = child->next_sibling)
		bytes += te_arena_bytes(child);
	return bytes;
}

/* A block of its own, behind the current one so that bumping goes on there. */
static void *
alloc_own_block(TeArena *arena, size_t bytes, size_t block_bytes)
{
	ArenaBlock *block = block_create(arena->root, block_bytes);

	block_count(arena, block);
	block->next = arena->blocks->next;
	arena->blocks->next = block;
	return block_take(block, bytes);
}

/* What a block of its own for so many bytes takes. */
static size_t
block_bytes(size_t bytes)
{
	return bytes + sizeof(ArenaBlock) + ARENA_WIDE_ALIGN + ARENA_GAP;
}

/* Give back the blocks that resets have kept and nobody has used since; of this arena and all below it. */
static void
shed_blocks(TeArena *arena)
{
	ArenaBlock **link = &arena->blocks;

	while (*link != NULL)
	{
		ArenaBlock *block = *link;

		if (block == arena->home || block->free != (char *) (block + 1))
		{
			link = &block->next;
			continue;
		}
		*link = block->next;
		block_free(arena, block);
	}
	for (TeArena *child = arena->children; child != NULL; child = child->next_sibling)
		shed_blocks(child);
}

/*
 * The current block is full: a new one, unless home has room left.  Near the
 * limit an ordinary block may not fit where the request alone still does; then
 * it gets just that, in place of what resets have kept if need be.
 */
static void *
alloc_slow(TeArena *arena, size_t bytes)
{
	size_t		needed;
	size_t		size = arena->next_block;
	ArenaBlock *block;
	void	   *result;

	if (bytes > ARENA_LARGEST_REQUEST)
		te_throw(TE_ERR_LIMIT, "%s cannot allocate %zu bytes at once", arena->name, bytes);
	result = block_take(arena->home, bytes);
	if (result != NULL)
		return result;

	needed = block_bytes(bytes);
	if (!fits_limit(arena->root, needed))
		shed_blocks(arena->root);
	if (arena->reserve >= needed && fits_limit(arena->root, arena->reserve))
		size = arena->reserve;
	else if (needed > size / 4 || !fits_limit(arena->root, size))
		return alloc_own_block(arena, bytes, needed);

	block = block_create(arena->root, size);
	block_count(arena, block);
	block->next = arena->blocks;
	arena->blocks = block;
	if (size == arena->reserve)
		arena->reserve = 0;
	else
		arena->next_block = TE_MIN(size * 2, ARENA_LARGEST_BLOCK);
	return block_take(block, bytes);
}

bool
te_arena_fits(TeArena *arena, size_t bytes)
{
	size_t		room = (size_t) (arena->blocks->end - arena->blocks->free);

	if (bytes > ARENA_LARGEST_REQUEST)
		return false;
	if (room >= bytes + ARENA_WIDE_ALIGN + ARENA_GAP)
		return true;
	if (!fits_limit(arena->root, block_bytes(bytes)))
		shed_blocks(arena->root);
	return fits_limit(arena->root, block_bytes(bytes));
}

void *
te_alloc(TeArena *arena, size_t bytes)
{
	void	   *result = NULL;

	if (bytes <= ARENA_LARGEST_REQUEST)
		result = block_take(arena->blocks, bytes);
	return result != NULL ? result : alloc_slow(arena, bytes);
}

void *
te_alloc0(TeArena *arena, size_t bytes)
{
	return memset(te_alloc(arena, bytes), 0, bytes);
}
