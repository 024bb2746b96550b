/*-------------------------------------------------------------------------
 * machine.c
 *	  A pushdown recogniser whose states are found again.
 *
 * An item is a node that waits for its character, and a frame: where to go on when the node's rule has ended.  A frame is
 * a set of returns, each a node that called the rule and the frame that this one has.  A state is the set of all items.
 * So stacks share what they have in common below, as in a graph-structured stack (Tomita, 1985): all calls of a rule at one
 * place of the text are one call with one frame, and the number of items is at most that of nodes times places, however ambiguous a
 * grammar is.
 *
 * Frames and states are interned: equal ones are one.  For that a frame has to be whole when it is made.
 * Rules are ranked so that whoever calls at its beginning comes first (there
 * is no left recursion): returns of old frames are followed first, then rules that were
 * called are entered by rank, when all their callers are known.  A rule that may be empty is passed by at its
 * call.  A call at the end of a rule returns to where that rule returns, so that repetitions
 * written as recursion need no stack.
 *
 * By this the states reached by ordinary grammars are few, and the machine is an automaton that is made while it runs.
 *
 * Classes are of characters, input is bytes: a state within a character is the items that it
 * may still be for, and the range of what it may be; where all of that range is
 * right for each of them only the number of bytes that are missing.
 *
 * Bytes that no item tells apart are found together, so that a state costs as many steps as it
 * has different ways to go on, not one a byte.
 *
 * States lie in an arena of their own which te_machine_reset() empties; what is worked with lies beside it.
 *-------------------------------------------------------------------------
 */
#include "model/machine.h"

#include "base/random.h"

#include <stdlib.h>

#define SLOTS 4096				/* of the tables of frames and states; a power of two */

TeState		te_unknown_state;

/* What is still to be done: nodes of a list, with a frame */
typedef struct Todo
{
	uint32_t	list;
	const TeFrame *frame;
} Todo;

/* A caller of a rule, in the list of that rule's callers */
typedef struct Caller
{
	TeReturn	to;
	uint32_t	next;			/* index + 1, 0: the last */
} Caller;

/* Pairs of a number and a frame that were met in this step */
typedef struct Seen
{
	uint64_t	key;
	uint64_t	step;
} Seen;

struct TeMachine
{
	TeArena    *arena;
	TeArena    *states_arena;
	const TeGrammar *grammar;
	const TeCharClass *usable;
	uint32_t   *lengths;		/* of nodes, see te_grammar_lengths() */
	uint32_t   *rule_lengths;
	uint32_t   *list_lengths;
	uint32_t  (*least)[4];		/* of a class: its least usable characters of 1 to 4 bytes */
	uint64_t  (*ascii)[2];		/* of a class: a bit a character */
	uint32_t   *rule_of_rank;
	TeFrame   **frames;			/* SLOTS */
	TeState   **states;			/* SLOTS */
	uint32_t	n_frames;
	TeState    *start;
	/* the step that is made */
	uint64_t	step;
	uint32_t	n_seen;
	uint32_t	seen_mask;
	Seen	   *seen;
	uint32_t	n_todo;
	uint32_t	max_todo;
	Todo	   *todo;
	uint32_t	n_items;
	uint32_t	max_items;
	TeReturn   *items;
	bool		complete;
	uint32_t	n_callers;
	uint32_t	max_callers;
	Caller	   *callers;
	uint32_t   *callers_of;		/* of a rule: index + 1 of the last caller */
	bool	   *called_last;	/* of a rule: the text may end with it */
	bool	   *is_called;		/* it waits in the heap */
	uint32_t	n_heap;
	uint32_t   *heap;			/* ranks of rules that were called */
	uint32_t	max_returns;
	TeReturn   *returns;		/* of the frame that is made */
};

/* ---- growing ---- */

static void *
more(TeMachine *m, const void *old, uint32_t n, uint32_t *capacity, size_t size)
{
	void	   *array;

	*capacity = *capacity == 0 ? 64 : *capacity * 2;
	array = te_alloc0(m->arena, te_mul_size(*capacity, size));
	if (n > 0)
		memcpy(array, old, n * size);
	return array;
}

static inline void
add_todo(TeMachine *m, uint32_t list, const TeFrame *frame)
{
	if (m->n_todo == m->max_todo)
		m->todo = more(m, m->todo, m->n_todo, &m->max_todo, sizeof(Todo));
	m->todo[m->n_todo++] = (Todo) {list, frame};
}

static Seen *
seen_slot(const TeMachine *m, uint64_t key)
{
	uint32_t	at = (uint32_t) te_random_mix(key) & m->seen_mask;

	while (m->seen[at].step == m->step && m->seen[at].key != key)
		at = (at + 1) & m->seen_mask;
	return &m->seen[at];
}

/* Was the pair met before in this step?  If not, it is now. */
static bool
is_seen(TeMachine *m, uint32_t number, const TeFrame *frame)
{
	uint64_t	key = (uint64_t) number << 32 | frame->number;
	Seen	   *slot = seen_slot(m, key);

	if (slot->step == m->step)
		return true;
	*slot = (Seen) {key, m->step};
	if (++m->n_seen * 2 > m->seen_mask)
	{
		const Seen *old = m->seen;
		uint32_t	n = m->seen_mask + 1;

		m->seen_mask = n * 2 - 1;
		m->seen = te_new_array(m->arena, Seen, n * 2);
		for (uint32_t i = 0; i < n; i++)
		{
			if (old[i].step == m->step)
				*seen_slot(m, old[i].key) = old[i];
		}
	}
	return false;
}

static int
compare_returns(const void *a, const void *b)
{
	const TeReturn *x = a;
	const TeReturn *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	return (x->frame->number > y->frame->number) - (x->frame->number < y->frame->number);
}

/* In order, each once. */
static uint32_t
settle_returns(TeReturn *returns, uint32_t n)
{
	uint32_t	kept = 0;

	if (n > 1)
		qsort(returns, n, sizeof(TeReturn), compare_returns);
	for (uint32_t i = 0; i < n; i++)
	{
		if (kept == 0 || compare_returns(&returns[kept - 1], &returns[i]) != 0)
			returns[kept++] = returns[i];
	}
	return kept;
}

static uint32_t
hash_returns(const TeReturn *returns, uint32_t n, uint64_t with)
{
	uint64_t	hash = te_random_mix(with + n);

	for (uint32_t i = 0; i < n; i++)
		hash = te_random_mix(hash ^ ((uint64_t) returns[i].node << 32 | returns[i].frame->number));
	return (uint32_t) hash;
}

static inline bool
same_returns(const TeReturn *a, const TeReturn *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
	{
		if (a[i].node != b[i].node || a[i].frame != b[i].frame)
			return false;
	}
	return true;
}

/* ---- frames ---- */

/* The frame of these returns, which are in any order. */
static const TeFrame *
intern_frame(TeMachine *m, TeReturn *returns, uint32_t n, bool ends)
{
	uint32_t	hash;
	TeFrame    *frame;

	n = settle_returns(returns, n);
	hash = hash_returns(returns, n, ends);
	for (frame = m->frames[hash % SLOTS]; frame != NULL; frame = frame->chain)
	{
		if (frame->hash == hash && frame->n == n && frame->ends == ends && same_returns(frame->returns, returns, n))
			return frame;
	}
	frame = te_alloc0(m->states_arena, sizeof(TeFrame) + n * sizeof(TeReturn));
	frame->chain = m->frames[hash % SLOTS];
	m->frames[hash % SLOTS] = frame;
	frame->number = m->n_frames++;
	frame->hash = hash;
	frame->n = n;
	frame->ends = ends;
	frame->length = ends ? 0 : TE_NEVER;
	if (n > 0)
		memcpy(frame->returns, returns, n * sizeof(TeReturn));
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t	list = m->grammar->nodes[returns[i].node].next;

		frame->length = TE_MIN(frame->length, te_add_length(m->list_lengths[list], returns[i].frame->length));
	}
	return frame;
}

static void
add_caller(TeMachine *m, uint32_t rule, TeReturn to)
{
	if (m->n_callers == m->max_callers)
		m->callers = more(m, m->callers, m->n_callers, &m->max_callers, sizeof(Caller));
	m->callers[m->n_callers] = (Caller) {to, m->callers_of[rule]};
	m->callers_of[rule] = ++m->n_callers;
}

static void
push_rule(TeMachine *m, uint32_t rule)
{
	uint32_t	rank = m->grammar->rules[rule].rank;
	uint32_t	at;

	if (m->is_called[rule])
		return;
	m->is_called[rule] = true;
	for (at = m->n_heap++; at > 0 && m->heap[(at - 1) / 2] > rank; at = (at - 1) / 2)
		m->heap[at] = m->heap[(at - 1) / 2];
	m->heap[at] = rank;
}

static uint32_t
pop_rule(TeMachine *m)
{
	uint32_t	rule = m->rule_of_rank[m->heap[0]];
	uint32_t	last = m->heap[--m->n_heap];
	uint32_t	at = 0;

	for (;;)
	{
		uint32_t	child = 2 * at + 1;

		if (child >= m->n_heap)
			break;
		if (child + 1 < m->n_heap && m->heap[child + 1] < m->heap[child])
			child++;
		if (m->heap[child] >= last)
			break;
		m->heap[at] = m->heap[child];
		at = child;
	}
	m->heap[at] = last;
	m->is_called[rule] = false;
	return rule;
}

/* A call: its rule has one more caller; at the end of a rule, that rule's callers. */
static void
add_call(TeMachine *m, uint32_t node, const TeFrame *frame)
{
	const TeNode *call = &m->grammar->nodes[node];
	const TeNext *next = &m->grammar->nexts[call->next];
	uint32_t	rule = call->what;

	if (next->n == 0)
	{
		for (uint32_t i = 0; i < frame->n; i++)
			add_caller(m, rule, frame->returns[i]);
		m->called_last[rule] = m->called_last[rule] || frame->ends;
	}
	else
		add_caller(m, rule, (TeReturn) {node, frame});
	if (m->grammar->rules[rule].empty)
		add_todo(m, call->next, frame);
	push_rule(m, rule);
}

/* The rule of a frame has ended. */
static void
follow_returns(TeMachine *m, const TeFrame *frame)
{
	if (is_seen(m, m->grammar->n_nodes, frame))
		return;
	m->complete = m->complete || frame->ends;
	for (uint32_t i = 0; i < frame->n; i++)
		add_todo(m, m->grammar->nodes[frame->returns[i].node].next, frame->returns[i].frame);
}

/* Nodes that no text can be made of with what is usable are left out. */
static void
add_nodes(TeMachine *m, const TeNext *next, const TeFrame *frame)
{
	for (uint32_t i = 0; i < next->n; i++)
	{
		uint32_t	node = next->nodes[i];

		if (m->lengths[node] == TE_NEVER || is_seen(m, node, frame))
			continue;
		if (m->grammar->nodes[node].calls)
			add_call(m, node, frame);
		else
		{
			if (m->n_items == m->max_items)
				m->items = more(m, m->items, m->n_items, &m->max_items, sizeof(TeReturn));
			m->items[m->n_items++] = (TeReturn) {node, frame};
		}
	}
}

static const TeFrame *
frame_of_callers(TeMachine *m, uint32_t rule)
{
	uint32_t	n = 0;
	const TeFrame *frame;

	for (uint32_t i = m->callers_of[rule]; i > 0; i = m->callers[i - 1].next)
	{
		if (n == m->max_returns)
			m->returns = more(m, m->returns, n, &m->max_returns, sizeof(TeReturn));
		m->returns[n++] = m->callers[i - 1].to;
	}
	frame = intern_frame(m, m->returns, n, m->called_last[rule]);
	m->callers_of[rule] = 0;
	m->called_last[rule] = false;
	return frame;
}

/* An error may have ended the step before in its middle. */
static void
begin_step(TeMachine *m)
{
	if (m->n_heap > 0 || m->n_callers > 0)
	{
		memset(m->callers_of, 0, m->grammar->n_rules * sizeof(uint32_t));
		memset(m->called_last, 0, m->grammar->n_rules * sizeof(bool));
		memset(m->is_called, 0, m->grammar->n_rules * sizeof(bool));
		m->n_heap = 0;
	}
	m->step++;
	m->n_seen = 0;
	m->n_todo = 0;
	m->n_items = 0;
	m->n_callers = 0;
	m->complete = false;
}

/* From what is to be done to items. */
static void
finish_step(TeMachine *m)
{
	for (;;)
	{
		while (m->n_todo > 0)
		{
			Todo		todo = m->todo[--m->n_todo];
			const TeNext *next = &m->grammar->nexts[todo.list];

			add_nodes(m, next, todo.frame);
			if (next->ends)
				follow_returns(m, todo.frame);
		}
		if (m->n_heap == 0)
			break;
		else
		{
			uint32_t	rule = pop_rule(m);

			add_nodes(m, &m->grammar->nexts[m->grammar->rules[rule].start], frame_of_callers(m, rule));
		}
	}
	m->n_callers = 0;
	m->n_items = settle_returns(m->items, m->n_items);
}

/* ---- states ---- */

static uint32_t
length_of(const TeMachine *m, const TeState *state)
{
	uint32_t	least = TE_NEVER;

	if (state->complete)
		return 0;
	for (uint32_t i = 0; i < state->n_items; i++)
	{
		const TeReturn *item = &state->items[i];
		const TeNode *node = &m->grammar->nodes[item->node];
		uint32_t	length;

		if (state->pending.left == 0)
			length = te_add_length(m->lengths[item->node], item->frame->length);
		else if (state->pending.any ||
				 te_class_least(&m->grammar->classes[node->what], m->usable, state->pending.from, state->pending.to) != TE_NEVER)
			length = te_add_length(state->pending.left, te_add_length(m->list_lengths[node->next], item->frame->length));
		else
			continue;
		least = TE_MIN(least, length);
	}
	return least;
}

static inline bool
same_pending(const TePending *a, const TePending *b)
{
	return a->left == b->left && a->any == b->any && a->from == b->from && a->to == b->to;
}

/* The state of the items that were found; NULL where there are none and the text may not end. */
static TeState *
intern_state(TeMachine *m, TePending pending)
{
	uint32_t	n = m->n_items;
	uint32_t	hash;
	TeState    *state;

	if (n == 0 && !m->complete)
		return NULL;
	hash = hash_returns(m->items, n, (uint64_t) pending.from << 32 ^ pending.to << 4 ^ pending.left << 2 ^ (uint64_t) pending.any << 1 ^ m->complete);
	for (state = m->states[hash % SLOTS]; state != NULL; state = state->chain)
	{
		if (state->hash == hash && state->n_items == n && state->complete == m->complete &&
			same_pending(&state->pending, &pending) && same_returns(state->items, m->items, n))
			return state;
	}
	state = te_alloc0(m->states_arena, sizeof(TeState) + n * sizeof(TeReturn));
	state->chain = m->states[hash % SLOTS];
	m->states[hash % SLOTS] = state;
	state->hash = hash;
	state->n_items = n;
	state->pending = pending;
	state->complete = m->complete;
	state->tokens = TE_UNKNOWN;
	if (n > 0)
		memcpy(state->items, m->items, n * sizeof(TeReturn));
	state->length = length_of(m, state);
	return state;
}

/* ---- bytes ---- */

static inline const TeCharClass *
class_of(const TeMachine *m, const TeReturn *item)
{
	return &m->grammar->classes[m->grammar->nodes[item->node].what];
}

static TeState *
next_of_ascii(TeMachine *m, const TeState *state, uint8_t byte)
{
	begin_step(m);
	for (uint32_t i = 0; i < state->n_items; i++)
	{
		const TeNode *node = &m->grammar->nodes[state->items[i].node];

		if ((m->ascii[node->what][byte / 64] >> (byte % 64) & 1) != 0)
			add_todo(m, node->next, state->items[i].frame);
	}
	finish_step(m);
	return intern_state(m, (TePending) {0});
}

/* A character is whole: *pending has it alone, or is any that all items take. */
static TeState *
next_of_character(TeMachine *m, const TeState *state, const TePending *pending)
{
	begin_step(m);
	for (uint32_t i = 0; i < state->n_items; i++)
	{
		if (pending->any || te_class_has(class_of(m, &state->items[i]), pending->from))
			add_todo(m, m->grammar->nodes[state->items[i].node].next, state->items[i].frame);
	}
	finish_step(m);
	return intern_state(m, (TePending) {0});
}

/* Is every character of the range in the class? */
static bool
class_has_all(const TeCharClass *class, uint32_t from, uint32_t to)
{
	uint32_t	low = 0;

	while (low < class->n && class->ranges[low].to < from)
		low++;
	return low < class->n && class->ranges[low].from <= from && class->ranges[low].to >= to;
}

/*
 * Within a character: items that take one of the range are kept.  Where each takes all of it, and any bytes that continue a
 * character give one of it (`full`), it is the same what they are; unless shortest texts must choose among them.
 */
static TeState *
next_within(TeMachine *m, const TeState *state, TePending pending, bool full)
{
	bool		all = full && m->usable == NULL;

	begin_step(m);
	for (uint32_t i = 0; i < state->n_items; i++)
	{
		const TeCharClass *class = class_of(m, &state->items[i]);

		if (!pending.any && te_class_least(class, NULL, pending.from, pending.to) == TE_NEVER)
			continue;
		all = all && class_has_all(class, pending.from, pending.to);
		if (m->n_items == m->max_items)
			m->items = more(m, m->items, m->n_items, &m->max_items, sizeof(TeReturn));
		m->items[m->n_items++] = state->items[i];
	}
	if (pending.any || all)
		pending = (TePending) {pending.left, true, 0, 0};
	return intern_state(m, pending);
}

static TeState *
next_of_first(TeMachine *m, const TeState *state, uint8_t byte)
{
	TePending	pending = {0};
	uint32_t	base;

	if (byte < 0xC2 || byte > 0xF4)
		return NULL;
	pending.left = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
	base = (uint32_t) (byte & (0x3F >> pending.left)) << 6 * pending.left;
	pending.from = TE_MAX(base, pending.left == 1 ? 0x80u : pending.left == 2 ? 0x800u : 0x10000u);
	pending.to = TE_MIN(base + (1u << 6 * pending.left) - 1, (uint32_t) TE_MOST_CHAR);
	return next_within(m, state, pending, pending.from == base && pending.to == base + (1u << 6 * pending.left) - 1);
}

static TeState *
next_of_continuation(TeMachine *m, const TeState *state, uint8_t byte)
{
	TePending	pending = state->pending;
	uint32_t	base;

	if ((byte & 0xC0) != 0x80)
		return NULL;
	pending.left--;
	if (!pending.any)
	{
		/* the range lies within what the bytes so far can give */
		base = (pending.to >> 6 * (pending.left + 1)) << 6 * (pending.left + 1) | (uint32_t) (byte & 0x3F) << 6 * pending.left;
		pending.from = TE_MAX(pending.from, base);
		pending.to = TE_MIN(pending.to, base + (1u << 6 * pending.left) - 1);
		if (pending.from > pending.to)
			return NULL;
	}
	if (pending.left == 0)
		return next_of_character(m, state, &pending);
	return next_within(m, state, pending, pending.to - pending.from + 1 == 1u << 6 * pending.left);
}

/* Bytes that begin characters of which all are alike where a class has all of [from, to] */
static const struct
{
	uint8_t		first;
	uint8_t		last;
	uint32_t	from;
	uint32_t	to;
}			leads[] = {{0xC2, 0xDF, 0x80, 0x7FF}, {0xE1, 0xEC, 0x1000, 0xCFFF}, {0xEE, 0xEF, 0xE000, 0xFFFF}, {0xF1, 0xF3, 0x40000, 0xFFFFF}};

/* Bytes that lead to the same state as this one does, a bit each, this one among them: those that no item tells apart. */
static void
find_alike(const TeMachine *m, const TeState *state, uint8_t byte, uint64_t alike[4])
{
	bool		is_ascii = state->pending.left == 0 && byte < 0x80;

	alike[0] = alike[1] = is_ascii ? UINT64_MAX : 0;
	alike[2] = alike[3] = 0;
	for (uint32_t i = 0; i < state->n_items && is_ascii; i++)
	{
		const uint64_t *ascii = m->ascii[m->grammar->nodes[state->items[i].node].what];
		bool		has = (ascii[byte / 64] >> (byte % 64) & 1) != 0;

		alike[0] &= has ? ascii[0] : ~ascii[0];
		alike[1] &= has ? ascii[1] : ~ascii[1];
	}
	if (state->pending.any && (byte & 0xC0) == 0x80)
		alike[2] = UINT64_MAX;
	for (size_t k = 0; k < TE_LENGTH(leads) && state->pending.left == 0 && m->usable == NULL; k++)
	{
		bool		all = byte >= leads[k].first && byte <= leads[k].last;

		for (uint32_t i = 0; i < state->n_items && all; i++)
			all = class_has_all(class_of(m, &state->items[i]), leads[k].from, leads[k].to);
		for (uint32_t b = leads[k].first; b <= leads[k].last && all; b++)
			alike[b / 64] |= UINT64_C(1) << (b % 64);
	}
	alike[byte / 64] |= UINT64_C(1) << (byte % 64);
}

static void
make_table(TeMachine *m, TeState *state)
{
	state->table = te_new_array(m->states_arena, TeState *, 256);
	for (int i = 0; i < 256; i++)
		state->table[i] = &te_unknown_state;
	for (int i = 0; i < state->n_few; i++)
		state->table[state->few[i]] = state->few_next[i];
}

TeState *
te_machine_find_next(TeMachine *m, TeState *state, uint8_t byte)
{
	TeState    *next;
	uint64_t	alike[4];
	int			n_alike = 0;

	if (state->pending.left > 0)
		next = next_of_continuation(m, state, byte);
	else if (byte < 0x80)
		next = next_of_ascii(m, state, byte);
	else
		next = next_of_first(m, state, byte);
	if (m->step % 1024 == 0)
		te_check_interrupts();
	find_alike(m, state, byte, alike);
	for (int i = 0; i < 4; i++)
		n_alike += __builtin_popcountll(alike[i]);
	/* where most bytes lead to nothing, few of them are asked for */
	if (state->table == NULL && state->n_few < TE_FEW_NEXT && (next == NULL || n_alike <= TE_FEW_NEXT))
	{
		state->few[state->n_few] = byte;
		state->few_next[state->n_few++] = next;
		return next;
	}
	if (state->table == NULL)
		make_table(m, state);
	for (int i = 0; i < 256; i++)
	{
		if ((alike[i / 64] >> (i % 64) & 1) != 0)
			state->table[i] = next;
	}
	return next;
}

/* ---- shortest texts ---- */

static uint8_t
first_byte(uint32_t c)
{
	char		utf8[4];

	te_utf8_put(utf8, (int32_t) c);
	return (uint8_t) utf8[0];
}

/* Of equally short texts the first in the order of bytes, so that what follows its first byte is that state's own shortest text. */
int
te_machine_shortest(TeMachine *m, const TeState *state)
{
	uint32_t	least = TE_NEVER;

	if (state->complete || state->length == TE_NEVER)
		return -1;
	if (state->pending.any)
		return 0x80;
	for (uint32_t i = 0; i < state->n_items; i++)
	{
		const TeReturn *item = &state->items[i];
		const TeNode *node = &m->grammar->nodes[item->node];
		uint32_t	rest = te_add_length(m->list_lengths[node->next], item->frame->length);

		if (state->pending.left > 0)
		{
			if (te_add_length(state->pending.left, rest) == state->length)
				least = TE_MIN(least, te_class_least(class_of(m, item), m->usable, state->pending.from, state->pending.to));
			continue;
		}
		for (uint32_t len = 1; len <= 4; len++)
		{
			if (m->least[node->what][len - 1] != TE_NEVER && te_add_length(len, rest) == state->length)
				least = TE_MIN(least, m->least[node->what][len - 1]);
		}
	}
	te_assert(least != TE_NEVER);
	if (state->pending.left == 0)
		return first_byte(least);
	return (int) (0x80 | (least >> 6 * (state->pending.left - 1) & 0x3F));
}

/* ---- machines ---- */

/* Of each class its least characters, its ASCII, and what one costs. */
static void
look_at_classes(TeMachine *m, uint32_t *costs)
{
	static const uint32_t from[] = {0, 0x80, 0x800, 0x10000, TE_MOST_CHAR + 1};
	const TeGrammar *g = m->grammar;

	for (uint32_t i = 0; i < g->n_classes; i++)
	{
		costs[i] = TE_NEVER;
		for (uint32_t len = 4; len >= 1; len--)
		{
			m->least[i][len - 1] = te_class_least(&g->classes[i], m->usable, from[len - 1], from[len] - 1);
			if (m->least[i][len - 1] != TE_NEVER)
				costs[i] = len;
		}
		for (uint32_t c = 0; c < 128; c++)
			m->ascii[i][c / 64] |= (uint64_t) te_class_has(&g->classes[i], c) << (c % 64);
	}
}

TeMachine *
te_machine_create(TeArena *arena, const TeGrammar *grammar, const TeCharClass *usable)
{
	TeMachine  *m = te_new(arena, TeMachine);
	uint32_t   *costs = te_new_array(arena, uint32_t, grammar->n_classes);

	m->arena = arena;
	m->states_arena = te_arena_create(arena, "states of a grammar");
	m->grammar = grammar;
	m->usable = usable;
	m->least = te_alloc0(arena, te_mul_size(grammar->n_classes, sizeof(*m->least)));
	m->ascii = te_alloc0(arena, te_mul_size(grammar->n_classes, sizeof(*m->ascii)));
	look_at_classes(m, costs);
	m->lengths = te_new_array(arena, uint32_t, grammar->n_nodes);
	m->rule_lengths = te_new_array(arena, uint32_t, grammar->n_rules);
	te_grammar_lengths(arena, grammar, costs, m->lengths, m->rule_lengths);
	m->list_lengths = te_new_array(arena, uint32_t, grammar->n_nexts);
	for (uint32_t i = 0; i < grammar->n_nexts; i++)
		m->list_lengths[i] = te_next_length(&grammar->nexts[i], m->lengths);
	m->rule_of_rank = te_new_array(arena, uint32_t, grammar->n_rules);
	for (uint32_t r = 0; r < grammar->n_rules; r++)
		m->rule_of_rank[grammar->rules[r].rank] = r;
	m->callers_of = te_new_array(arena, uint32_t, grammar->n_rules);
	m->called_last = te_new_array(arena, bool, grammar->n_rules);
	m->is_called = te_new_array(arena, bool, grammar->n_rules);
	m->heap = te_new_array(arena, uint32_t, grammar->n_rules);
	m->seen_mask = 255;
	m->seen = te_new_array(arena, Seen, m->seen_mask + 1);
	te_machine_reset(m);
	return m;
}

void
te_machine_reset(TeMachine *m)
{
	const TeFrame *bottom;

	te_arena_reset(m->states_arena);
	m->frames = te_new_array(m->states_arena, TeFrame *, SLOTS);
	m->states = te_new_array(m->states_arena, TeState *, SLOTS);
	m->n_frames = 0;
	begin_step(m);
	bottom = intern_frame(m, NULL, 0, true);
	m->called_last[0] = true;
	push_rule(m, 0);
	if (m->grammar->rules[0].empty)
		follow_returns(m, bottom);
	finish_step(m);
	m->start = intern_state(m, (TePending) {0});
}

TeState *
te_machine_start(TeMachine *m)
{
	return m->start;
}

size_t
te_machine_bytes(const TeMachine *m)
{
	return te_arena_bytes(m->states_arena);
}

TeArena *
te_machine_arena(TeMachine *m)
{
	return m->states_arena;
}
