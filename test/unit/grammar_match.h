/*-------------------------------------------------------------------------
 * grammar_match.h
 *	  Whole texts against grammars, for unit tests and fuzz targets.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GRAMMAR_MATCH_H
#define TE_GRAMMAR_MATCH_H

#include "model/machine.h"

static bool
grammar_matches(TeArena *arena, const TeGrammar *grammar, TeStr text)
{
	TeArena    *work = te_arena_create(arena, "matching");
	TeMachine  *m = te_machine_create(work, grammar, NULL);
	TeState    *state = te_machine_start(m);
	bool		result;

	for (size_t i = 0; i < text.len && state != NULL; i++)
		state = te_machine_next(m, state, (uint8_t) text.data[i]);
	result = state != NULL && state->complete;
	te_arena_destroy(work);
	return result;
}

#endif							/* TE_GRAMMAR_MATCH_H */
