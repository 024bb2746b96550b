/*-------------------------------------------------------------------------
 * build.h
 *	  Putting together a tokenizer.json, for what converts other forms into it.
 *
 * Members are written in the reference's order, so that exported files
 * look as users expect.
 *-------------------------------------------------------------------------
 */
#ifndef TE_BUILD_H
#define TE_BUILD_H

#include "text/text.h"

typedef struct TeTokenizerBuild
{
	TeArena    *arena;
	TeJson	   *root;			/* its members, in place: */
	TeJson	   *added;
	TeJson	   *normalizer;
	TeJson	   *pre_tokenizer;
	TeJson	   *post_processor;
	TeJson	   *decoder;
	TeJson	   *model;
} TeTokenizerBuild;

/* All components null, model an empty object. */
extern void te_build_start(TeTokenizerBuild *build, TeArena *arena);
/* Parses a component that is written out; ' stands for the quotation mark. */
extern void te_build_set(TeTokenizerBuild *build, TeJson *member, const char *json);
extern void te_build_str(TeTokenizerBuild *build, TeJson *object, const char *key, TeStr value);
extern void te_build_int(TeTokenizerBuild *build, TeJson *object, const char *key, int64_t value);
extern void te_build_bool(TeTokenizerBuild *build, TeJson *object, const char *key, bool value);
/* A member that shares the value's items, which may be many. */
extern void te_build_take(TeTokenizerBuild *build, TeJson *object, const char *key, const TeJson *value);
/* {token: id}, ids in order; of equal tokens the last counts */
extern TeJson *te_build_vocab(TeArena *arena, const TeStr *tokens, size_t n);

typedef struct TeBuildAdded
{
	TeStr		content;
	int64_t		id;
	bool		special;
	bool		lstrip;
	bool		rstrip;
	bool		normalized;
} TeBuildAdded;

extern void te_build_added(TeTokenizerBuild *build, const TeBuildAdded *added, size_t n);

/* A special token and its id; id -1: there is none. */
typedef struct TeBuildSpecial
{
	TeStr		token;
	int64_t		id;
} TeBuildSpecial;

/*
 * Templates for one text and for a pair, such as "0:0 $A:0 1:0": parts with their type ids, $A and $B the
 * texts, a number one of the specials.  Specials without an id are left out.
 */
extern void te_build_template(TeTokenizerBuild *build, const char *single, const char *pair,
							  const TeBuildSpecial *specials, size_t n);

/* Tokens to their place in a list */
typedef struct TeTokenIndex
{
	const TeStr *tokens;
	uint32_t   *slots;			/* place + 1; 0: free */
	uint32_t	mask;
} TeTokenIndex;

extern TeTokenIndex te_token_index(TeArena *arena, const TeStr *tokens, size_t n);
extern int64_t te_token_find(const TeTokenIndex *index, TeStr token);	/* the last place, -1 */

/*
 * The merges of a BPE vocabulary that has scores in their place (SentencePiece): every way to put a token
 * together from two others, by falling score.  As a list of pairs.
 */
extern TeJson *te_build_merges(TeArena *arena, const TeStr *tokens, const double *scores, size_t n);
/* "BPE", "WordPiece", ... of a tokenizer's "model" (compile.c) */
extern TeStr te_model_type(const TeJson *model);
extern TeStr te_base64(TeArena *arena, TeStr bytes);
extern TeStr te_base64_decode(TeArena *arena, TeStr text); /* throws */

#endif							/* TE_BUILD_H */
