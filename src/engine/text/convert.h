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
	bool		double_sep;		/* as RoBERTa puts texts together: MPNet */
	TeBuildSpecial cls;
	TeBuildSpecial sep;
	TeBuildSpecial unk;
	TeBuildSpecial pad;
	TeBuildSpecial mask;
} TeBertOptions;

/* A BERT tokenizer over a WordPiece vocabulary. */
extern const TeJson *te_build_bert(TeArena *arena, const TeStr *tokens, size_t n, const TeBertOptions *options);

/* The special tokens of a list that have ids, as added tokens; the last one with lstrip, if so. */
extern void te_build_specials(TeTokenizerBuild *build, const TeBuildSpecial *specials, size_t n, bool lstrip_last);
/* <s> A </s>, <s> A </s></s> B </s>; offsets of byte-level tokens without their spaces.  Nothing where one of the two has no id. */
extern void te_build_roberta_processing(TeTokenizerBuild *build, TeBuildSpecial cls, TeBuildSpecial sep, bool prefix_space);
/* A BPE model member by member: vocabulary, merges, byte fallback and unknown token (NULL: none). */
extern void te_build_bpe(TeTokenizerBuild *build, const TeStr *tokens, size_t n, const TeJson *merges, const char *unk,
						 bool byte_fallback, bool ignore_merges);
/* Added tokens, components and model of SentencePiece's kinds (spm.c), for a vocabulary with scores and types. */
typedef struct TeSpmVocab
{
	TeStr	   *tokens;
	double	   *scores;
	int64_t    *types;			/* TE_SPM_* */
	size_t		n;
	bool		is_bpe;
	bool		byte_fallback;
	bool		prefix_space;
	bool		extra_space;	/* runs of spaces are kept */
	bool		rstrip;			/* special tokens take the spaces behind them */
	TeStr		charsmap;		/* bytes; empty: none */
	int64_t		unk,			/* ids; -1: there is none */
				bos,
				eos,
				pad;
	bool		add_bos;
	bool		add_eos;
} TeSpmVocab;

enum
{
	TE_SPM_NORMAL = 1,
	TE_SPM_UNKNOWN,
	TE_SPM_CONTROL,
	TE_SPM_USER_DEFINED,
	TE_SPM_UNUSED,
	TE_SPM_BYTE
};

extern const TeJson *te_build_spm(TeArena *arena, TeSpmVocab *vocab, const TeJson *config, TeStr model_type);

#endif							/* TE_CONVERT_H */
