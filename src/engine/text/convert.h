/*-------------------------------------------------------------------------
 * convert.h
 *	  What the converters into tokenizer.json share.
 *-------------------------------------------------------------------------
 */
#ifndef TE_CONVERT_H
#define TE_CONVERT_H

#include "text/build.h"

/* Special tokens that tokenizer_config.json may rename; ids by the vocabulary, -1 where it has none. */
extern TeBuildSpecial te_special(const TeJson *config, const char *key, const char *fallback, const TeStr *tokens, size_t n);

typedef struct TeBertOptions
{
	bool		lower;
	bool		chinese;
	int			strip;			/* -1: as lower */
	TeBuildSpecial cls;
	TeBuildSpecial sep;
	TeBuildSpecial unk;
	TeBuildSpecial pad;
	TeBuildSpecial mask;
} TeBertOptions;

/* A BERT tokenizer over a WordPiece vocabulary. */
extern const TeJson *te_build_bert(TeArena *arena, const TeStr *tokens, size_t n, const TeBertOptions *options);

#endif							/* TE_CONVERT_H */
