/*-------------------------------------------------------------------------
 * machine.h
 *	  The recogniser of grammars: states that bytes lead from one to the next.
 *
 * A state is all that may follow a text.  States are made when they are first
 * reached and kept until the machine is reset, so that whatever leads
 * to the same state, in any row, finds the same pointer.
 *-------------------------------------------------------------------------
 */
#ifndef TE_MACHINE_H
#define TE_MACHINE_H

#include "model/grammar_impl.h"

#define TE_FEW_NEXT 8

typedef struct TeFrame TeFrame;

/* A node, and what comes after its rule */
typedef struct TeReturn
{
	uint32_t	node;
	const TeFrame *frame;
} TeReturn;

struct TeFrame
{
	TeFrame    *chain;			/* of its slot in the table */
	uint32_t	number;
	uint32_t	hash;
	uint32_t	length;			/* of the shortest text to the end */
	uint32_t	n;
	bool		ends;			/* the text may end with the rule */
	TeReturn	returns[];
};

/* Characters that were begun: what is known of one, and how many bytes are to come */
typedef struct TePending
{
	uint8_t		left;			/* 0: none is begun */
	bool		any;			/* whatever follows is right */
	uint32_t	from;			/* else: it is one of these */
	uint32_t	to;
} TePending;

typedef struct TeState TeState;
struct TeState
{
	TeState    *chain;
	uint32_t	hash;
	uint32_t	n_items;
	TePending	pending;
	bool		complete;		/* the text may end here */
	uint8_t		n_few;
	uint8_t		few[TE_FEW_NEXT];	/* bytes whose next states are known ... */
	TeState    *few_next[TE_FEW_NEXT];	/* ... NULL where there is none */
	TeState   **table;			/* of all bytes, where there are more; &te_unknown_state: not known */
	uint32_t	length;			/* bytes of the shortest text to the end */
	uint32_t	tokens;			/* of that text, or TE_UNKNOWN: for who uses the machine */
	void	   *memo;			/* the same */
	TeReturn	items[];		/* nodes of characters, in order */
};

#define TE_UNKNOWN (UINT32_MAX - 1)

typedef struct TeMachine TeMachine;

/* usable: characters that shortest texts are made of; NULL: all.  Both must outlive the machine. */
extern TeMachine *te_machine_create(TeArena *arena, const TeGrammar *grammar, const TeCharClass *usable);
extern TeState *te_machine_start(TeMachine *machine);
/* Forgets all states. */
extern void te_machine_reset(TeMachine *machine);
extern size_t te_machine_bytes(const TeMachine *machine);	/* of states, and what was allocated beside them */
extern TeArena *te_machine_arena(TeMachine *machine);	/* which a reset empties */
/* Shortest text from a state on: its first byte; -1 where it is empty. */
extern int	te_machine_shortest(TeMachine *machine, const TeState *state);

extern TeState te_unknown_state;
extern TeState *te_machine_find_next(TeMachine *machine, TeState *state, uint8_t byte);

/* The state after one more byte, NULL where the text cannot go on so. */
static inline TeState *
te_machine_next(TeMachine *machine, TeState *state, uint8_t byte)
{
	if (state->table != NULL)
	{
		TeState    *next = state->table[byte];

		if (next != &te_unknown_state)
			return next;
	}
	else
	{
		for (int i = 0; i < state->n_few; i++)
		{
			if (state->few[i] == byte)
				return state->few_next[i];
		}
	}
	return te_machine_find_next(machine, state, byte);
}

#endif							/* TE_MACHINE_H */
