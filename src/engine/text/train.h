/*-------------------------------------------------------------------------
 * train.h
 *	  What the files that learn vocabularies (train_*.c) share.
 *
 *		train_options.c		options, and the table of them
 *		train_count.c		texts to words and how often they occur; the trainer itself
 *		train_words.c		the table of words; sorting
 *		train_parts.c		the components of the tokenizer.json that is made
 *		train_merges.c		WordPiece and byte-level BPE
 *		train_unigram.c		Unigram; its first pieces by train_seeds.c
 *
 * To learn another kind of vocabulary: write its row TeLearnKind, add it to the table in train_options.c.
 *-------------------------------------------------------------------------
 */
#ifndef TE_LEARN_H
#define TE_LEARN_H

#include "text/build.h"

/* ---- options (train_options.c) ---- */

typedef struct TeLearnOptions
{
	int64_t		vocab_size;		/* tokens, special ones included */
	const TeStr *specials;		/* ids 0, 1, ... */
	int64_t		n_specials;

	/* components */
	bool		lowercase;
	int64_t		strip_accents;	/* -1: as lowercase */
	bool		add_prefix_space;
	TeStr		prefix;			/* of what continues a word; empty: none */
	int64_t		longest_word;	/* WordPiece: characters; longer ones are unknown */

	/* learning */
	int64_t		min_frequency;
	int64_t		limit_alphabet; /* characters; 0: no bound, -1: by the size of the vocabulary */
	int64_t		seed_size;
	int64_t		longest_piece;	/* characters */
	int64_t		iterations;
	double		shrinking_factor;
} TeLearnOptions;

#define TE_LONGEST_PIECE 16		/* longest_piece is no more; see train_unigram.c */

typedef struct TeLearnKind TeLearnKind;
typedef struct TeLearnWords TeLearnWords;

/* A kind of vocabulary. */
struct TeLearnKind
{
	const char *name;
	TeLearnOptions defaults;
	const char *specials;		/* by default, separated by spaces */
	bool		needs_unknown;	/* a special token for what is unknown */
	/* Normalizer, pre-tokenizer, post-processor, decoder. */
	void		(*components) (TeTokenizerBuild *build, const TeLearnOptions *options);
	/* The model, from words in order.  Memory that is not part of it is from scratch. */
	void		(*learn) (TeTokenizerBuild *build, TeArena *scratch, const TeLearnWords *words, const TeLearnOptions *options);
};

extern const TeLearnKind te_learn_wordpiece;
extern const TeLearnKind te_learn_bpe;
extern const TeLearnKind te_learn_unigram;

extern const TeLearnKind *te_learn_kind(TeStr name);	/* or an error */
/* given: what the user says, an object, or NULL. */
extern TeLearnOptions te_learn_options(TeArena *arena, const TeLearnKind *kind, int64_t vocab_size, const TeJson *given);
/* The place of a special token, by the names that it goes under ("[UNK] <unk>"); -1 where there is none. */
extern int64_t te_learn_special(const TeLearnOptions *options, const char *names);
/* Error: the vocabulary has no room for what has to be in it. */
extern TE_NORETURN void te_learn_too_small(const TeLearnOptions *options, size_t needed, const char *alphabet);

/* ---- components (train_parts.c) ---- */

extern void te_learn_bert_parts(TeTokenizerBuild *build, const TeLearnOptions *options);
extern void te_learn_byte_level_parts(TeTokenizerBuild *build, const TeLearnOptions *options);
extern void te_learn_metaspace_parts(TeTokenizerBuild *build, const TeLearnOptions *options);
/* Special tokens and the kind's components; the model is still an empty object. */
extern void te_learn_parts(TeTokenizerBuild *build, TeArena *arena, const TeLearnKind *kind, const TeLearnOptions *options);

/* ---- words (train_words.c) ---- */

typedef struct TeLearnWord
{
	const char *data;
	uint32_t	len;
	uint32_t	hash;
	uint64_t	count;
} TeLearnWord;

/* Different strings, numbered as they come, each with a count. */
struct TeLearnWords
{
	TeArena    *arena;			/* of their bytes */
	TeArena    *table;			/* of what follows; made anew as it grows */
	TeLearnWord *words;
	size_t		n;
	size_t		room;
	uint32_t   *slots;			/* number + 1; 0: free */
	uint32_t	mask;
};

extern void te_learn_words_init(TeLearnWords *words, TeArena *parent);
/* The number of a word, which is added (and copied) where it is new. */
extern size_t te_learn_words_add(TeLearnWords *words, TeStr word, uint64_t count);
/* Numbers anew, in the order of the bytes: what is learned then depends on which texts there were, not on their order. */
extern void te_learn_words_sort(TeLearnWords *words);

static inline TeStr
te_learn_word(const TeLearnWords *words, size_t i)
{
	return (TeStr) {words->words[i].data, words->words[i].len};
}

/* Does item a come before item b?  Never both ways. */
typedef bool (*TeLearnBefore) (const void *arg, uint32_t a, uint32_t b);
/* The numbers 0 to n - 1 in that order; equal ones keep theirs. */
extern uint32_t *te_learn_order(TeArena *arena, size_t n, TeLearnBefore before, const void *arg);

/* ---- alphabets (train_merges.c) ---- */

/* The characters of words, by code point, and how often they occur. */
typedef struct TeLearnChar
{
	uint32_t	c;
	uint64_t	count;
	bool		inside;			/* does it occur behind the first place of a word? */
} TeLearnChar;

typedef struct TeLearnAlphabet
{
	TeLearnChar *chars;
	size_t		n;
} TeLearnAlphabet;

/* The most frequent ones, `limit` at most (0: all); of equal ones those of lower code point. */
extern TeLearnAlphabet te_learn_alphabet(TeArena *arena, TeArena *scratch, const TeLearnWords *words, int64_t limit);
/* The place of a character; -1: it is none of them. */
extern int64_t te_learn_char(const TeLearnAlphabet *alphabet, uint32_t c);

/* ---- seeds (train_seeds.c) ---- */

/* A string that occurs in words: where, and how much there is of it. */
typedef struct TeLearnSeed
{
	TeStr		text;
	double		score;
} TeLearnSeed;

/*
 * Strings of 2 to longest_piece characters that occur twice or more in the list of words and are followed by different
 * characters, by falling number of occurrences times length; most at most.
 */
extern TeLearnSeed *te_learn_seeds(TeArena *arena, TeArena *scratch, const TeStr *words, size_t n_words, size_t longest_piece,
								   size_t most, size_t *n);

#endif							/* TE_LEARN_H */
