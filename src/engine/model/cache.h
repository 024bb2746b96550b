/*-------------------------------------------------------------------------
 * cache.h
 *	  Keys and values of sequences, in pages that those share which begin alike.
 *
 * Lifetimes: the cache and all its pages live in the arena that it was created in.  A TeSequence is its owner's; what it holds
 * of the cache it gives back by te_sequence_end().
 *-------------------------------------------------------------------------
 */
#ifndef TE_CACHE_H
#define TE_CACHE_H

#include "model/model.h"

typedef struct TeCache TeCache;
typedef struct TeCachePage TeCachePage;
typedef struct TePrefix TePrefix;

/* A sequence of tokens, of which the first n_cached have their keys and values in pages. */
typedef struct TeSequence
{
	TeArena    *arena;			/* the owner's, for the lists */
	TeCachePage **pages;
	char	  **data;			/* of the pages, for TeBatchPages */
	size_t		n_pages;
	size_t		capacity;
	size_t		n_cached;
	TePrefix   *prefix;			/* up to where the cache knows it; NULL: not at all */
} TeSequence;

/* bytes: of all pages together, 0: no bound.  no_sharing: nothing is kept of a sequence that has ended, or given to another one. */
extern TeCache *te_cache_create(TeArena *arena, const TeModel *model, TeDtype dtype, size_t bytes, bool no_sharing);
extern const TePageLayout *te_cache_layout(const TeCache *cache);
extern int	te_cache_layers(const TeCache *cache);
/* Tokens that all sequences together can have at most. */
extern size_t te_cache_tokens(const TeCache *cache);
extern size_t te_cache_page_bytes(const TeCache *cache);

/* Give back what is kept beyond so many bytes, longest unused first, as far as no sequence has it. */
extern void te_cache_trim(TeCache *cache, size_t bytes);

/* Begin a sequence with these tokens: what the cache has of all but the last is there. */
extern void te_sequence_begin(TeCache *cache, TeSequence *sequence, const int32_t *ids, size_t n);
/* How many tokens te_sequence_begin() would find. */
extern size_t te_sequence_known(const TeCache *cache, const int32_t *ids, size_t n);
/* `from` begins with the same n tokens: take what it has of the page that token n_cached belongs to. */
extern void te_sequence_copy_tail(TeCache *cache, TeSequence *sequence, const TeSequence *from, size_t n);
/* Pages for n tokens; false where there are none left. */
extern bool te_sequence_reserve(TeCache *cache, TeSequence *sequence, size_t n);
/* The first n tokens have been computed: ids are all of them.  Whole pages become known. */
extern void te_sequence_computed(TeCache *cache, TeSequence *sequence, const int32_t *ids, size_t n);
/* Another sequence that has the same so far; false where there are no pages left. */
extern bool te_sequence_fork(TeCache *cache, const TeSequence *from, TeSequence *to);
/* Give all back; what it had of ids, its tokens, stays known while there is room.  ids NULL: only whole pages do. */
extern void te_sequence_end(TeCache *cache, TeSequence *sequence, const int32_t *ids);

#endif							/* TE_CACHE_H */
