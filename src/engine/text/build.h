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
/* {token: id}, ids in order; of equal tokens the last counts */
extern TeJson *te_build_vocab(TeArena *arena, const TeStr *tokens, size_t n);

typedef struct TeBuildAdded
{
	TeStr		content;
	int64_t		id;
	bool		special;
	bool		lstrip;
	bool		normalized;
} TeBuildAdded;

extern void te_build_added(TeTokenizerBuild *build, const TeBuildAdded *added, size_t n);

/* A template: ids and text of special tokens before and after each sequence; id -1 for none. */
typedef struct TeBuildSpecial
{
	TeStr		token;
	int64_t		id;
} TeBuildSpecial;

/* first text [middle | end], second [end]; pair_type: type id of the second text */
extern void te_build_template(TeTokenizerBuild *build, TeBuildSpecial first, TeBuildSpecial middle, TeBuildSpecial before_pair,
							  TeBuildSpecial end, int pair_type);

#endif							/* TE_BUILD_H */
