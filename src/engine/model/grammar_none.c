/*-------------------------------------------------------------------------
 * grammar_none.c
 *	  Stands for the grammar*.c that are being written; to be deleted with the commit that brings them.
 *-------------------------------------------------------------------------
 */
#include "model/grammar.h"

#define NONE te_throw(TE_ERR_UNSUPPORTED, "texts by a grammar are not there yet")

TeGrammar *
te_grammar_from_gbnf(TeArena *arena, TeStr source)
{
	NONE;
}

TeGrammar *
te_grammar_from_schema(TeArena *arena, const TeJson *schema)
{
	NONE;
}

TeGrammar *
te_grammar_from_choices(TeArena *arena, const TeStr *choices, size_t n)
{
	NONE;
}

TeConstraint *
te_constraint_create(TeArena *arena, const TeGrammar *grammar, const TeTokenizer *tokenizer, int n_vocab,
					 const int32_t *end_ids, size_t n_end)
{
	NONE;
}

TeConstraintState *
te_constraint_begin(TeArena *arena, TeConstraint *constraint)
{
	NONE;
}

TeConstraintState *
te_constraint_copy(TeArena *arena, const TeConstraintState *state)
{
	NONE;
}

void
te_constraint_mask(TeConstraintState *state, size_t left, uint64_t *allowed)
{
	NONE;
}

void
te_constraint_accept(TeConstraintState *state, int32_t id)
{
	NONE;
}

bool
te_constraint_finished(const TeConstraintState *state)
{
	NONE;
}

size_t
te_constraint_shortest(const TeConstraintState *state)
{
	NONE;
}
