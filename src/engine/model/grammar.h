/*-------------------------------------------------------------------------
 * grammar.h
 *	  Text that must be of a form: grammars, and which tokens keep to them.
 *
 * A TeGrammar is compiled from GBNF, from a JSON schema or from a set of choices; it
 * knows characters and no vocabulary, and is immutable.  A TeConstraint is a
 * grammar over the tokens of one vocabulary, with what is remembered of states
 * that rows were in: rows that share one share that.  A TeConstraintState is where one
 * row is.  All lie in arenas of the caller; a grammar must outlive its
 * constraints, these their states.  Nothing here is for several threads at once.
 *
 * The promise: a row that only takes tokens of te_constraint_mask(state, left), where left
 * falls by one with each token and was at least te_constraint_shortest() at the
 * beginning, always has a token to take until its text is complete, and is complete when left is 0.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GRAMMAR_H
#define TE_GRAMMAR_H

#include "base/json.h"
#include "text/text.h"

typedef struct TeGrammar TeGrammar;

/*
 * All throw TE_ERR_INVALID where the source is wrong, TE_ERR_UNSUPPORTED where it asks for what there is not (naming
 * the keyword), TE_ERR_TOO_LONG where it becomes too large.  Nothing of the source is kept.
 */
extern TeGrammar *te_grammar_from_gbnf(TeArena *arena, TeStr source);
extern TeGrammar *te_grammar_from_schema(TeArena *arena, const TeJson *schema);
extern TeGrammar *te_grammar_from_choices(TeArena *arena, const TeStr *choices, size_t n);

/*
 * The tokens of a vocabulary as bytes, which takes tens of milliseconds for a large one: who makes many constraints makes it once.  n_vocab: the
 * logits of the model, which may be more or less than the tokenizer has tokens.
 */
typedef struct TeTokens TeTokens;
extern TeTokens *te_tokens_create(TeArena *arena, const TeTokenizer *tokenizer, int n_vocab);

typedef struct TeConstraint TeConstraint;

/*
 * end_ids: what ends a text, allowed where it is complete.  The grammar and the tokens must outlive the constraint.  Throws TE_ERR_INVALID where no text of the grammar can be
 * written with the tokens.
 */
extern TeConstraint *te_constraint_create(TeArena *arena, const TeGrammar *grammar, const TeTokens *tokens,
										  const int32_t *end_ids, size_t n_end);

typedef struct TeConstraintState TeConstraintState;

/* goes_on: the text follows another one, so that its first token is not the first of all.  Throws where it cannot be written so. */
extern TeConstraintState *te_constraint_begin(TeArena *arena, TeConstraint *constraint, bool goes_on);
extern TeConstraintState *te_constraint_copy(TeArena *arena, const TeConstraintState *state);

/*
 * Which tokens may come next if at most `left` tokens (this one too) are to be made, the end token not
 * counted: those after which the shortest completion still fits.  (n_vocab + 63) / 64 words.  End ids are set where the text is complete.
 */
extern void te_constraint_mask(TeConstraintState *state, size_t left, uint64_t *allowed);
/* A token that the mask allowed; throws TE_ERR_INVALID for one that the grammar does not.  An end id changes nothing. */
extern void te_constraint_accept(TeConstraintState *state, int32_t id);
extern bool te_constraint_complete(const TeConstraintState *state); /* the text may end here */
extern bool te_constraint_finished(const TeConstraintState *state); /* nothing may follow */
/* Tokens until the text is complete: as few as the mask leads to for certain; there may be fewer. */
extern size_t te_constraint_shortest(const TeConstraintState *state);

#endif							/* TE_GRAMMAR_H */
