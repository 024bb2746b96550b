/*-------------------------------------------------------------------------
 * constraint.c
 *	  Which tokens keep to a grammar, and how many it still takes.
 *
 * The mask of a state is found by walking the tree of tokens (tokens.c) and the machine of the grammar (machine.c) together; what
 * cannot go on is skipped with all that begins so.  It is kept with the state.  Since rows, and places in one row, come to the
 * same states again and again (within a string all characters lead back), a mask is mostly found and not made.
 *
 * Room is kept for an end.  The shortest text from a state on, and of equally short ones the first in the order of bytes, is
 * unique, and what is left of it after its first bytes is the shortest text of the
 * state there.  The fewest tokens that spell this one text, found from its end, are the bound B(state).  Its first token leads to a state whose
 * bound is one less; so where B(state) <= left, and only tokens to states with B <= left - 1 are allowed, there is always one, down to the end.
 * There may be texts of fewer tokens, which are longer: the bound is one that is kept, not the least.  A text has no more tokens than
 * bytes; while there is room for the longest of these, no bound is computed.  After that the mask of the state is divided by the
 * bounds of where its tokens lead, which are few.
 *
 * Memory.  States and masks are bounded: past the bound the machine forgets them all, and a row finds its state again by
 * its text.
 *
 * After Dong et al., "XGrammar", 2024, in that masks are kept by state; the rest is our own.
 *-------------------------------------------------------------------------
 */
#include "model/machine.h"
#include "model/tokens.h"

#define MOST_BYTES ((size_t) 16 * 1024 * 1024)	/* of states and masks */
#define FEW_IDS 256				/* of a mask that is kept as a list */

/* What may come after a state if there is room enough */
typedef struct Mask
{
	uint32_t	longest;		/* bytes of the shortest text after any of the tokens */
	uint32_t	n_ids;			/* of the list, where there is no map */
	int32_t    *ids;
	uint64_t   *words;			/* the map */
	struct Mask *groups;		/* the same tokens by how many are to follow, the fewest first; NULL: not asked for yet */
	struct Mask *next;			/* of groups */
	uint32_t	bound;			/* of a group: B of the states that its tokens lead to */
} Mask;

struct TeConstraint
{
	TeArena    *arena;
	TeMachine  *machine;
	const TeTokens *tokens;
	size_t		n_words;
	size_t		n_end;
	int32_t    *end_ids;
	uint64_t	age;			/* how often the machine forgot */
	size_t		most_bytes;
	Mask	   *first_mask;		/* of first tokens, NULL: not known */
	uint32_t	first_tokens;	/* the bound at the beginning */
	TeState   **walked;			/* states on the way through the tree, by depth */
	uint64_t   *words;			/* for a mask that is made */
	uint32_t   *bounds;			/* of tokens in the order of their tree, NULL: no mask was divided yet */
	/* a shortest text that is looked at */
	size_t		max_path;
	TeState   **path;
	uint8_t    *path_bytes;
};

/* What changes with a row, also where its state is only asked */
typedef struct Row
{
	TeState    *state;
	uint64_t	age;			/* of the machine that the state is of */
	TeBuffer	text;
	size_t		n_tokens;		/* and one more where the text goes on after another */
} Row;

struct TeConstraintState
{
	TeConstraint *constraint;
	Row		   *row;
};

/* ---- the bound ---- */

/* Room for a path of n states more. */
static void
grow_path(TeConstraint *c, size_t n)
{
	TeState   **path;
	uint8_t    *bytes;

	if (n < c->max_path)
		return;
	c->max_path = TE_MAX(c->max_path * 2, (size_t) 256);
	path = te_new_array(c->arena, TeState *, c->max_path);
	bytes = te_new_array(c->arena, uint8_t, c->max_path);
	if (n > 0)
	{
		memcpy(path, c->path, n * sizeof(TeState *));
		memcpy(bytes, c->path_bytes, n);
	}
	c->path = path;
	c->path_bytes = bytes;
}

/*
 * States along the shortest text: up to its end, or to as many whose bound is known as a token can pass over.  path[n] is the last.
 */
static size_t
follow_shortest(TeConstraint *c, TeState *state)
{
	size_t		n = 0;
	size_t		known = 0;

	for (;;)
	{
		int			byte;

		grow_path(c, n);
		c->path[n] = state;
		if (state->complete)
			state->tokens = 0;
		known = state->tokens != TE_UNKNOWN ? known + 1 : 0;
		byte = te_machine_shortest(c->machine, state);
		if (byte < 0 || known > c->tokens->tree->longest)
			return n;
		c->path_bytes[n++] = (uint8_t) byte;
		state = te_machine_next(c->machine, state, (uint8_t) byte);
		te_assert(state != NULL);
	}
}

/* The node below `node` for a byte; 0 where there is none. */
static uint32_t
child_of(const TeTokenTree *tree, uint32_t node, uint8_t byte)
{
	if (node == 0)
		return tree->roots[byte];
	for (uint32_t i = node + 1; i < tree->nodes[node].skip; i = tree->nodes[i].skip)
	{
		if (tree->nodes[i].byte >= byte)
			return tree->nodes[i].byte == byte ? i : 0;
	}
	return 0;
}

static inline bool
has_token(const TeTokenTree *tree, uint32_t node)
{
	return tree->nodes[node].first < tree->nodes[node + 1].first;
}

/* One token from path[from], and what follows it. */
static uint32_t
bound_at(const TeConstraint *c, const TeTokenTree *tree, size_t from, size_t n)
{
	uint32_t	least = TE_NEVER;
	uint32_t	node = 0;

	for (size_t i = from; i < n; i++)
	{
		node = child_of(tree, node, c->path_bytes[i]);
		if (node == 0)
			break;
		if (has_token(tree, node) && c->path[i + 1]->tokens < TE_UNKNOWN)
			least = TE_MIN(least, c->path[i + 1]->tokens + 1);
	}
	return least;
}

/* B(state); TE_NEVER where the shortest text cannot be spelled. */
static uint32_t
bound_of(TeConstraint *c, TeState *state)
{
	size_t		n;

	if (state->tokens != TE_UNKNOWN)
		return state->tokens;
	n = follow_shortest(c, state);
	for (size_t i = n + 1; i > 0; i--)
	{
		if (c->path[i - 1]->tokens == TE_UNKNOWN)
			c->path[i - 1]->tokens = bound_at(c, c->tokens->tree, i - 1, n);
		if (i % 4096 == 0)
			te_check_interrupts();
	}
	return state->tokens;
}

/* The bound at the beginning of a text that goes on after another one. */
static uint32_t
later_bound(TeConstraint *c)
{
	TeState    *start = te_machine_start(c->machine);

	return start == NULL || start->length == TE_NEVER ? TE_NEVER : bound_of(c, start);
}

/* The bound at the beginning, where the tree of first tokens counts. */
static uint32_t
first_bound(TeConstraint *c)
{
	TeState    *start = te_machine_start(c->machine);
	size_t		n;

	if (start == NULL || start->length == TE_NEVER)
		return TE_NEVER;
	bound_of(c, start);			/* now all on its path have theirs */
	if (start->complete || c->tokens->first_tree == c->tokens->tree)
		return start->tokens;
	n = 0;
	for (TeState *state = start;; n++)
	{
		int			byte = te_machine_shortest(c->machine, state);

		grow_path(c, n);
		c->path[n] = state;
		if (byte < 0 || n > c->tokens->first_tree->longest)
			break;
		c->path_bytes[n] = (uint8_t) byte;
		state = te_machine_next(c->machine, state, (uint8_t) byte);
	}
	return bound_at(c, c->tokens->first_tree, 0, n);
}

/* ---- masks ---- */

/*
 * For each token that may come after a state: sets its bit in words, or, where bounds is not NULL, the bound of where it leads there.
 * Gives the longest of the shortest texts after any of them, or the largest of the bounds.
 */
static uint32_t
walk_tree(TeConstraint *c, const TeTokenTree *tree, TeState *state, uint64_t *words, uint32_t *bounds)
{
	uint32_t	largest = 0;

	c->walked[0] = state;
	for (uint32_t i = 1; i < tree->n_nodes;)
	{
		const TeTokenNode *node = &tree->nodes[i];
		TeState    *next = te_machine_next(c->machine, c->walked[node->depth - 1], node->byte);

		if (next == NULL)
		{
			i = node->skip;
			continue;
		}
		c->walked[node->depth] = next;
		i++;
		if (node->first == tree->nodes[i].first || next->length == TE_NEVER)
			continue;
		if (bounds != NULL)
		{
			uint32_t	bound = bound_of(c, next);

			largest = bound == TE_NEVER ? largest : TE_MAX(largest, bound);
			for (uint32_t t = node->first; t < tree->nodes[i].first; t++)
				bounds[t] = bound;
			continue;
		}
		largest = TE_MAX(largest, next->length);
		for (uint32_t t = node->first; t < tree->nodes[i].first; t++)
			words[tree->ids[t] / 64] |= UINT64_C(1) << (tree->ids[t] % 64);
	}
	return largest;
}

/* A few as a list, many as a map. */
static void
keep_words(TeConstraint *c, Mask *mask, const uint64_t *words)
{
	TeArena    *arena = te_machine_arena(c->machine);
	int32_t		ids[FEW_IDS];
	uint32_t	n = 0;

	for (size_t w = 0; w < c->n_words; w++)
	{
		for (uint64_t word = words[w]; word != 0; word &= word - 1)
		{
			if (n == FEW_IDS)
			{
				mask->words = te_alloc(arena, c->n_words * sizeof(uint64_t));
				memcpy(mask->words, words, c->n_words * sizeof(uint64_t));
				return;
			}
			ids[n++] = (int32_t) (w * 64) + __builtin_ctzll(word);
		}
	}
	mask->n_ids = n;
	mask->ids = te_alloc(arena, n * sizeof(int32_t));
	memcpy(mask->ids, ids, n * sizeof(int32_t));
}

static Mask *
make_mask(TeConstraint *c, const TeTokenTree *tree, TeState *state)
{
	Mask	   *mask = te_new(te_machine_arena(c->machine), Mask);

	memset(c->words, 0, c->n_words * sizeof(uint64_t));
	mask->longest = walk_tree(c, tree, state, c->words, NULL);
	keep_words(c, mask, c->words);
	return mask;
}

/* Tokens of which `bound` are to follow, as a group. */
static Mask *
make_group(TeConstraint *c, const TeTokenTree *tree, uint32_t bound)
{
	Mask	   *group = te_new(te_machine_arena(c->machine), Mask);

	memset(c->words, 0, c->n_words * sizeof(uint64_t));
	for (uint32_t t = 0; t < tree->n_ids; t++)
	{
		if (c->bounds[t] == bound)
			c->words[tree->ids[t] / 64] |= UINT64_C(1) << (tree->ids[t] % 64);
	}
	keep_words(c, group, c->words);
	group->bound = bound;
	return group;
}

/* Divides the tokens of a mask by their bounds. */
static void
divide_mask(TeConstraint *c, const TeTokenTree *tree, TeState *state, Mask *mask)
{
	Mask	   *groups = NULL;
	Mask	  **last = &groups;
	uint32_t	largest;

	if (c->bounds == NULL)
		c->bounds = te_new_array(c->arena, uint32_t, TE_MAX(c->tokens->tree->n_ids, c->tokens->first_tree->n_ids));
	memset(c->bounds, 0xFF, tree->n_ids * sizeof(uint32_t));
	largest = walk_tree(c, tree, state, NULL, c->bounds);
	for (uint32_t bound = 0; bound <= largest; bound++)
	{
		uint32_t	next = TE_NEVER;

		for (uint32_t t = 0; t < tree->n_ids; t++)
		{
			if (c->bounds[t] >= bound)
				next = TE_MIN(next, c->bounds[t]);
		}
		if (next == TE_NEVER)
			break;
		bound = next;
		*last = make_group(c, tree, bound);
		last = &(*last)->next;
	}
	mask->groups = groups != NULL ? groups : te_new(te_machine_arena(c->machine), Mask);
}

/* Adds the tokens of a mask to words. */
static void
put_mask(const TeConstraint *c, const Mask *mask, uint64_t *words)
{
	for (size_t i = 0; mask->words != NULL && i < c->n_words; i++)
		words[i] |= mask->words[i];
	for (uint32_t i = 0; i < mask->n_ids; i++)
		words[mask->ids[i] / 64] |= UINT64_C(1) << (mask->ids[i] % 64);
}

/* ---- rows ---- */

/* Where a row is, also when the machine has forgotten it. */
static TeState *
state_of(const TeConstraintState *s)
{
	TeConstraint *c = s->constraint;
	Row		   *row = s->row;

	if (row->age != c->age)
	{
		row->state = te_machine_start(c->machine);
		for (size_t i = 0; i < row->text.len; i++)
			row->state = te_machine_next(c->machine, row->state, (uint8_t) row->text.data[i]);
		row->age = c->age;
	}
	return row->state;
}

/* Before states are made: forgets all if they are too many. What the row itself wants is let grow. */
static void
bound_memory(const TeConstraintState *s)
{
	TeConstraint *c = s->constraint;

	if (te_machine_bytes(c->machine) <= c->most_bytes)
		return;
	te_machine_reset(c->machine);
	c->first_mask = NULL;
	c->age++;
	state_of(s);
	c->most_bytes = MOST_BYTES + te_machine_bytes(c->machine);
}

static TE_NORETURN void
throw_unwritable(void)
{
	te_throw_hint(TE_ERR_INVALID, "Characters that it needs are no tokens of the model.", NULL,
				  "the model has no tokens to write a text of this form with");
}

TeConstraint *
te_constraint_create(TeArena *arena, const TeGrammar *grammar, const TeTokens *tokens, const int32_t *end_ids, size_t n_end)
{
	TeConstraint *c = te_new(arena, TeConstraint);

	c->arena = arena;
	c->tokens = tokens;
	c->machine = te_machine_create(arena, grammar, tokens->usable);
	c->n_words = ((size_t) tokens->n_vocab + 63) / 64;
	c->n_end = n_end;
	c->end_ids = te_new_array(arena, int32_t, n_end);
	if (n_end > 0)
		memcpy(c->end_ids, end_ids, n_end * sizeof(int32_t));
	c->most_bytes = MOST_BYTES;
	c->walked = te_new_array(arena, TeState *, TE_MAX(tokens->tree->longest, tokens->first_tree->longest) + 1);
	c->words = te_new_array(arena, uint64_t, c->n_words);
	c->first_tokens = first_bound(c);
	if (c->first_tokens == TE_NEVER && later_bound(c) == TE_NEVER)
		throw_unwritable();
	return c;
}

TeConstraintState *
te_constraint_begin(TeArena *arena, TeConstraint *constraint, bool goes_on)
{
	TeConstraintState *s = te_new(arena, TeConstraintState);

	if ((goes_on ? later_bound(constraint) : constraint->first_tokens) == TE_NEVER)
		throw_unwritable();
	s->constraint = constraint;
	s->row = te_new(arena, Row);
	s->row->state = te_machine_start(constraint->machine);
	s->row->age = constraint->age;
	s->row->n_tokens = goes_on;
	te_buffer_init(&s->row->text, arena);
	return s;
}

TeConstraintState *
te_constraint_copy(TeArena *arena, const TeConstraintState *state)
{
	TeConstraintState *copy = te_constraint_begin(arena, state->constraint, state->row->n_tokens > 0);

	copy->row->state = state->row->state;
	copy->row->age = state->row->age;
	copy->row->n_tokens = state->row->n_tokens;
	te_buffer_add(&copy->row->text, state->row->text.data, state->row->text.len);
	return copy;
}

void
te_constraint_mask(TeConstraintState *s, size_t left, uint64_t *allowed)
{
	TeConstraint *c = s->constraint;
	bool		first = s->row->n_tokens == 0 && c->tokens->first_tree != c->tokens->tree;
	const TeTokenTree *tree = first ? c->tokens->first_tree : c->tokens->tree;
	TeState    *state;
	Mask	   *mask;

	bound_memory(s);
	state = state_of(s);
	mask = first ? c->first_mask : state->memo;
	if (mask == NULL)
		mask = make_mask(c, tree, state);
	if (first)
		c->first_mask = mask;
	else
		state->memo = mask;
	memset(allowed, 0, c->n_words * sizeof(uint64_t));
	if (mask->longest < left)
		put_mask(c, mask, allowed);
	else if (left > 0)
	{
		if (mask->groups == NULL)
			divide_mask(c, tree, state, mask);
		for (const Mask *group = mask->groups; group != NULL && group->bound < left; group = group->next)
			put_mask(c, group, allowed);
	}
	for (size_t i = 0; i < c->n_end; i++)
	{
		int32_t		id = c->end_ids[i];

		if (id < 0 || id >= c->tokens->n_vocab)
			continue;
		allowed[id / 64] &= ~(UINT64_C(1) << (id % 64));
		if (state->complete)
			allowed[id / 64] |= UINT64_C(1) << (id % 64);
	}
}

void
te_constraint_accept(TeConstraintState *s, int32_t id)
{
	TeConstraint *c = s->constraint;
	TeState    *state;
	TeStr		text;

	for (size_t i = 0; i < c->n_end; i++)
	{
		if (id == c->end_ids[i])
			return;
	}
	bound_memory(s);
	state = state_of(s);
	text = id < 0 || (size_t) id >= c->tokens->n ? (TeStr) {NULL, 0} :
		s->row->n_tokens == 0 ? c->tokens->first_texts[id] : c->tokens->texts[id];
	if (text.len == 0)
		te_throw(TE_ERR_INVALID, "token %d has no text that a grammar could allow", (int) id);
	for (size_t i = 0; i < text.len && state != NULL; i++)
		state = te_machine_next(c->machine, state, (uint8_t) text.data[i]);
	if (state == NULL)
		te_throw(TE_ERR_INVALID, "token %d is not allowed by the grammar here", (int) id);
	te_buffer_add(&s->row->text, text.data, text.len);
	s->row->n_tokens++;
	s->row->state = state;
}

bool
te_constraint_complete(const TeConstraintState *s)
{
	return state_of(s)->complete;
}

bool
te_constraint_finished(const TeConstraintState *s)
{
	const TeState *state = state_of(s);

	return state->complete && state->n_items == 0;
}

size_t
te_constraint_shortest(const TeConstraintState *s)
{
	if (s->row->n_tokens == 0)
		return s->constraint->first_tokens;
	return bound_of(s->constraint, state_of(s));
}
