/*-------------------------------------------------------------------------
 * generate.h
 *	  What the files of the generator share: generate.c (rows and steps), generate_beams.c, generate_score.c.
 *
 * Lifetimes: a generator lives in its session's arena; with it the cache, and grammars in arenas of their own.  A row has an arena
 * until te_generator_reset().
 *-------------------------------------------------------------------------
 */
#ifndef TE_GENERATE_H
#define TE_GENERATE_H

#include "model/cache.h"
#include "model/grammar.h"
#include "model/sample.h"
#include "text/stream.h"

#define TE_PROMPT_TOKENS 512	/* of texts that are read, in a pass */

/* A text as far as it is: the prompt's tokens, those made, and all that the next depends on. */
typedef struct TeBranch
{
	TeSequence	sequence;
	int32_t    *ids;
	size_t		n_ids;
	size_t		capacity;
	TeSampler  *sampler;
	TeConstraintState *constraint;	/* NULL: the text is free */
	TeTextStream *stream;
	TeBuffer	text;
	double		logprob;
} TeBranch;

typedef enum TeRowStatus
{
	TE_ROW_WAITING,				/* for its place */
	TE_ROW_ACTIVE,
	TE_ROW_FINISHED
} TeRowStatus;

typedef struct TeBeams TeBeams;
typedef struct TeKeptGrammar TeKeptGrammar;

typedef struct TeGenerateRow
{
	TeArena    *arena;
	TeGenerateOptions options;
	TeKeptGrammar *grammar;
	TeBranch	branch;
	TeBeams    *beams;			/* NULL: no search */
	TeRowStatus status;
	TeFinish	finish;
	size_t		n_prompt;
	size_t		n_shared;
	bool		begun;			/* it has been active */
	bool		stopped;		/* by a text to stop at: `text` ends there */
	/* guesses at what follows (generate.c) */
	size_t		n_guessed;
	size_t		n_hit;
} TeGenerateRow;

struct TeGenerator
{
	TeSession  *session;
	const TeModel *model;
	const TeTokenizer *tokenizer;
	TeArena    *arena;
	TeArena    *rows_arena;		/* reset by te_generator_reset() */
	TeArena    *scratch;		/* reset by each step */
	TeCache    *cache;
	TeGeneratorLimits limits;
	size_t		context;		/* tokens of a sequence at most */
	int			n_vocab;		/* that the tokenizer knows, of the model's */
	TeGenerateRow **rows;
	size_t		n_rows;
	size_t		capacity;
	size_t		n_finished;		/* rows before this one are all finished */
	TeKeptGrammar *grammars;
	TeTokens   *tokens;			/* as grammars see them; NULL: none was asked for yet */
	uint64_t	n_drawn;		/* seeds */
};

/* What one pass does for a sequence: tokens that follow those that are cached, and logits of the last n_wanted of them. */
typedef struct TeWork
{
	TeSequence *sequence;
	const int32_t *ids;			/* all of the sequence ... */
	size_t		n_ids;			/* ... as far as it is: what scales rotary positions by the length asks for it */
	size_t		n;				/* to compute, from n_cached on */
	size_t		n_wanted;
	float	   *logits;			/* [n_wanted, outputs]; valid until the next pass; the caller may write into them */
} TeWork;

/* Pages are reserved.  n_cached stays as it is: the caller says by te_sequence_computed() what counts. */
extern void te_generator_pass(TeGenerator *generator, TeWork *works, size_t n_works);
extern int	te_generator_outputs(const TeGenerator *generator); /* the width of logits */
/* Throws where the model has no such token, whatever the tokenizer says. */
extern void te_check_token(const TeGenerator *generator, int32_t id);
/* Tokens of a text as a prompt; throws where there are none. */
extern int32_t *te_prompt_tokens(const TeGenerator *generator, TeArena *arena, TeStr prompt, bool bare, size_t *n);
extern bool te_ends_text(const TeGenerator *generator, int32_t id);

/* Room for one token more, and the token; its text goes to the stream.  No logits are looked at. */
extern void te_branch_append(TeArena *arena, TeBranch *branch, int32_t id);
/* Which tokens may come next, a bit an id, in the step's scratch; NULL: any. */
extern const uint64_t *te_branch_allowed(const TeGenerator *generator, const TeGenerateRow *row, TeBranch *branch);
/* Nothing may follow, and the model has no token to say so. */
extern bool te_nothing_follows(const TeGenerator *generator, const uint64_t *allowed);
/*
 * Is a text finished with what was appended to it behind its first text_before bytes?  Where that is by a text to stop at, *stopped is set, and
 * the text ends before it.
 */
extern TeFinish te_branch_finished(const TeGenerateRow *row, TeBranch *branch, size_t text_before, bool *stopped);
/* A row has its text. */
extern void te_generator_finish(TeGenerator *generator, TeGenerateRow *row, TeFinish finish);

/* ---- beams (generate_beams.c) ---- */

extern TeBeams *te_beams_create(TeGenerateRow *row);
/* What the beams want computed next; room for options.beams works. */
extern size_t te_beams_work(TeGenerator *generator, TeGenerateRow *row, TeWork *works);
/* The works have been computed. */
extern void te_beams_advance(TeGenerator *generator, TeGenerateRow *row, TeWork *works, size_t n_works);
extern void te_beams_end(TeGenerator *generator, TeGenerateRow *row);

#endif							/* TE_GENERATE_H */
