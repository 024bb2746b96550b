/*-------------------------------------------------------------------------
 * grammar.c
 *	  Expressions to nodes: the compiler of grammars, and what it refuses.
 *
 * An expression is compiled from its end: each part is told the step that comes after it and gives its own first
 * one.  Steps are nodes, forks and the end of the rule; forks are then dissolved into the
 * lists of nodes that can be reached through them.  Repetitions with a bound are written
 * out, as calls of a rule of their own where they are long.
 *
 * Refused are rules that call themselves before they consumed anything (the recogniser would not
 * end), rules that have no end, and what becomes too large.  Rules that the root does
 * not reach are not looked at.
 *
 * Shortest texts are Knuth's generalization of Dijkstra's algorithm (1977): nodes are
 * settled in the order of their lengths, a call when both its rule and what comes after it are.
 *-------------------------------------------------------------------------
 */
#include "model/grammar_impl.h"

#define MOST_STEPS (1u << 17)
#define MOST_NEXTS (1u << 21)	/* nodes in all lists together */
#define MOST_DEPTH 4096			/* expressions within each other */
#define NONE UINT32_MAX

typedef enum StepKind
{
	STEP_CHAR,
	STEP_CALL,
	STEP_FORK,
	STEP_END
} StepKind;

typedef struct Step
{
	StepKind	kind;
	uint32_t	what;			/* class, rule; of a fork: how many ways */
	uint32_t	next;			/* step; of a fork: NONE */
	uint32_t   *ways;
	uint32_t	node;			/* its number as a node */
	uint32_t	list;			/* number of the list of what is reached from here, or NONE */
} Step;

typedef struct Compiler
{
	TeArena    *arena;			/* of the grammar */
	TeArena    *work;
	TeBuilder  *builder;
	TeGrammar  *grammar;
	uint32_t	n_steps;
	uint32_t	max_steps;
	Step	   *steps;
	uint32_t	max_classes;
	uint32_t	n_entries;		/* in all lists */
	uint32_t   *rule_of;		/* of the builder's rule: number in the grammar, or NONE */
	uint32_t	n_rule_of;
	uint32_t   *built;			/* of the grammar's rule: number in the builder */
	uint32_t	max_rules;
	uint32_t	max_nexts;
	uint32_t   *seen;			/* of a step: the walk that saw it last */
	uint32_t	walk;
	int			depth;
} Compiler;

static TE_NORETURN void
too_large(void)
{
	te_throw_hint(TE_ERR_TOO_LONG, NULL, "Repetitions with a bound, such as {0,1000}, are written out; leave out the bound, or make it smaller.",
				  "the grammar is too large");
}

/* Twice the room of an array. */
static void *
grow(TeArena *arena, const void *old, uint32_t n, uint32_t *capacity, size_t size)
{
	void	   *array;

	*capacity = *capacity == 0 ? 64 : *capacity * 2;
	array = te_alloc0(arena, te_mul_size(*capacity, size));
	if (n > 0)
		memcpy(array, old, n * size);
	return array;
}

/* ---- steps ---- */

static uint32_t
new_step(Compiler *c, StepKind kind, uint32_t what, uint32_t next)
{
	if (c->n_steps >= MOST_STEPS)
		too_large();
	if (c->n_steps == c->max_steps)
		c->steps = grow(c->work, c->steps, c->n_steps, &c->max_steps, sizeof(Step));
	if (c->n_steps % 4096 == 0)
		te_check_interrupts();
	c->steps[c->n_steps] = (Step) {kind, what, next,.node = NONE,.list = NONE};
	return c->n_steps++;
}

static uint32_t
new_fork(Compiler *c, uint32_t n)
{
	uint32_t	fork = new_step(c, STEP_FORK, n, NONE);

	c->steps[fork].ways = te_new_array(c->work, uint32_t, n);
	return fork;
}

/* The number of an expression's class, which it keeps: it may be compiled many times. */
static uint32_t
use_class(Compiler *c, TeExpr *expr)
{
	TeGrammar  *grammar = c->grammar;
	const TeCharClass *class = &expr->class;
	TeCharClass *to;

	if (expr->n > 0)
		return expr->n - 1;

	if (grammar->n_classes == c->max_classes)
		grammar->classes = grow(c->arena, grammar->classes, grammar->n_classes, &c->max_classes, sizeof(TeCharClass));
	to = &grammar->classes[grammar->n_classes];
	to->n = class->n;
	to->ranges = te_new_array(c->arena, TeCharRange, class->n);
	if (class->n > 0)
		memcpy(to->ranges, class->ranges, class->n * sizeof(TeCharRange));
	expr->n = ++grammar->n_classes;
	return expr->n - 1;
}

/* The number of a builder's rule in the grammar; a new one is compiled later. */
static uint32_t
use_rule(Compiler *c, uint32_t rule)
{
	TeGrammar  *grammar = c->grammar;

	if (rule >= c->n_rule_of)
	{
		uint32_t	n = c->n_rule_of;

		while (rule >= c->n_rule_of)
			c->rule_of = grow(c->work, c->rule_of, c->n_rule_of, &c->n_rule_of, sizeof(uint32_t));
		memset(c->rule_of + n, 0xFF, (c->n_rule_of - n) * sizeof(uint32_t));
	}
	if (c->rule_of[rule] == NONE)
	{
		if (grammar->n_rules == c->max_rules)
		{
			uint32_t	capacity = c->max_rules;

			grammar->rules = grow(c->arena, grammar->rules, grammar->n_rules, &capacity, sizeof(TeRule));
			c->built = grow(c->work, c->built, grammar->n_rules, &c->max_rules, sizeof(uint32_t));
		}
		c->built[grammar->n_rules] = rule;
		c->rule_of[rule] = grammar->n_rules++;
	}
	return c->rule_of[rule];
}

static uint32_t compile(Compiler *c, TeExpr *expr, uint32_t next);

/* Many times: a long part becomes a rule, so that each time is a call. */
static TeExpr *
part_to_repeat(Compiler *c, TeExpr *expr, uint32_t times)
{
	uint32_t	rule;

	if (times < 2 || expr->kind == TE_EXPR_CLASS || expr->kind == TE_EXPR_RULE)
		return expr;
	rule = te_builder_rule(c->builder, TE_STR(""), 0);
	c->builder->rules[rule].body = expr;
	return te_expr_rule(c->builder, rule);
}

static uint32_t
compile_repeat(Compiler *c, TeExpr *expr, uint32_t next)
{
	bool		bounded = expr->most != TE_NEVER;
	uint32_t	times = bounded ? expr->most : TE_MAX(expr->least, 1);
	TeExpr	   *part = part_to_repeat(c, expr->repeated, times);
	uint32_t	end = next;
	uint32_t	least = expr->least;

	if (bounded)
	{
		for (uint32_t i = expr->least; i < expr->most; i++)
		{
			uint32_t	fork = new_fork(c, 2);
			uint32_t	first = compile(c, part, next);

			c->steps[fork].ways[0] = first;
			c->steps[fork].ways[1] = end;
			next = fork;
		}
	}
	else
	{
		uint32_t	fork = new_fork(c, 2);
		uint32_t	first = compile(c, part, fork);

		c->steps[fork].ways[0] = first;
		c->steps[fork].ways[1] = end;
		next = least > 0 ? first : fork;
		least = least > 0 ? least - 1 : 0;
	}
	for (uint32_t i = 0; i < least; i++)
		next = compile(c, part, next);
	return next;
}

static uint32_t
compile_either(Compiler *c, TeExpr *expr, uint32_t next)
{
	uint32_t	fork;

	if (expr->n == 1)
		return compile(c, expr->members[0], next);
	fork = new_fork(c, expr->n);
	for (uint32_t i = 0; i < expr->n; i++)
	{
		uint32_t	first = compile(c, expr->members[i], next);

		c->steps[fork].ways[i] = first;
	}
	return fork;
}

/* The first step of an expression that `next` comes after. */
static uint32_t
compile(Compiler *c, TeExpr *expr, uint32_t next)
{
	if (++c->depth > MOST_DEPTH)
		te_throw(TE_ERR_TOO_LONG, "the grammar is nested too deeply");
	switch (expr->kind)
	{
		case TE_EXPR_CLASS:
			next = new_step(c, STEP_CHAR, use_class(c, expr), next);
			break;
		case TE_EXPR_SEQUENCE:
			for (uint32_t i = expr->n; i > 0; i--)
				next = compile(c, expr->members[i - 1], next);
			break;
		case TE_EXPR_EITHER:
			next = compile_either(c, expr, next);
			break;
		case TE_EXPR_REPEAT:
			next = compile_repeat(c, expr, next);
			break;
		case TE_EXPR_RULE:
			next = new_step(c, STEP_CALL, use_rule(c, expr->n), next);
			break;
	}
	c->depth--;
	return next;
}

/* ---- lists ---- */

/* Nodes reached from a step through forks; the walk's list is its stack, too. */
static void
reach(Compiler *c, uint32_t step, TeNext *into, uint32_t *stack)
{
	uint32_t	n = 1;
	uint32_t   *nodes = te_new_array(c->work, uint32_t, 16);
	uint32_t	capacity = 16;

	c->walk++;
	stack[0] = step;
	c->seen[step] = c->walk;
	while (n > 0)
	{
		const Step *at = &c->steps[stack[--n]];

		if (at->kind == STEP_END)
			into->ends = true;
		for (uint32_t i = at->kind == STEP_FORK ? at->what : 0; i > 0; i--)
		{
			uint32_t	way = at->ways[i - 1];

			if (c->seen[way] != c->walk)
				stack[n++] = way;
			c->seen[way] = c->walk;
		}
		if (at->node == NONE)
			continue;
		if (into->n == capacity)
			nodes = grow(c->work, nodes, into->n, &capacity, sizeof(uint32_t));
		nodes[into->n++] = at->node;
		if (++c->n_entries > MOST_NEXTS)
			too_large();
	}
	into->nodes = memcpy(te_new_array(c->arena, uint32_t, into->n), nodes, into->n * sizeof(uint32_t));
}

static uint32_t
list_of(Compiler *c, uint32_t step, uint32_t *stack)
{
	TeGrammar  *grammar = c->grammar;

	if (c->steps[step].list != NONE)
		return c->steps[step].list;
	if (grammar->n_nexts == c->max_nexts)
		grammar->nexts = grow(c->arena, grammar->nexts, grammar->n_nexts, &c->max_nexts, sizeof(TeNext));
	if (grammar->n_nexts % 1024 == 0)
		te_check_interrupts();
	reach(c, step, &grammar->nexts[grammar->n_nexts], stack);
	return c->steps[step].list = grammar->n_nexts++;
}

/* Steps to nodes; starts[r] is the first step of rule r. */
static void
make_nodes(Compiler *c, const uint32_t *starts)
{
	TeGrammar  *grammar = c->grammar;
	uint32_t   *stack = te_new_array(c->work, uint32_t, c->n_steps + 1);

	c->seen = te_new_array(c->work, uint32_t, c->n_steps);
	for (uint32_t i = 0; i < c->n_steps; i++)
	{
		if (c->steps[i].kind == STEP_CHAR || c->steps[i].kind == STEP_CALL)
			c->steps[i].node = grammar->n_nodes++;
	}
	grammar->nodes = te_new_array(c->arena, TeNode, grammar->n_nodes);
	for (uint32_t i = 0; i < c->n_steps; i++)
	{
		if (c->steps[i].node != NONE)
			grammar->nodes[c->steps[i].node] = (TeNode) {c->steps[i].kind == STEP_CALL, c->steps[i].what,
			list_of(c, c->steps[i].next, stack)};
	}
	for (uint32_t r = 0; r < grammar->n_rules; r++)
		grammar->rules[r].start = list_of(c, starts[r], stack);
}

/* ---- what is refused ---- */

/* A rule, for a message. */
static const char *
rule_name(Compiler *c, uint32_t rule)
{
	const TeBuiltRule *built = &c->builder->rules[c->built[rule]];

	if (built->name.len == 0)
		return "a repetition";
	if (built->line == 0)
		return te_format(c->work, "%.*s", TE_STR_ARGS(built->name));
	return te_format(c->work, "rule \"%.*s\" (line %u)", TE_STR_ARGS(built->name), built->line);
}

/* What walks over lists need: of each, the walk that saw it last; and a stack. */
typedef struct ListWalks
{
	uint32_t	walk;
	uint32_t   *seen;
	uint32_t   *lists;
} ListWalks;

static ListWalks
new_walks(Compiler *c)
{
	return (ListWalks) {0, te_new_array(c->work, uint32_t, c->grammar->n_nexts), te_new_array(c->work, uint32_t, c->grammar->n_nexts + 1)};
}

/* Lists that are reached from the start of a rule through calls that may be empty; their calls go to `called`, or are counted. */
static uint32_t
calls_at_start(const TeGrammar *grammar, uint32_t rule, uint32_t *called, ListWalks *walks, bool *empty)
{
	uint32_t   *seen = walks->seen;
	uint32_t   *lists = walks->lists;
	uint32_t	walk = ++walks->walk;
	uint32_t	n_lists = 1;
	uint32_t	n = 0;

	lists[0] = grammar->rules[rule].start;
	seen[lists[0]] = walk;
	*empty = false;
	while (n_lists > 0)
	{
		const TeNext *next = &grammar->nexts[lists[--n_lists]];

		*empty = *empty || next->ends;
		for (uint32_t i = 0; i < next->n; i++)
		{
			const TeNode *node = &grammar->nodes[next->nodes[i]];

			if (!node->calls)
				continue;
			if (called != NULL)
				called[n] = node->what;
			n++;
			if (grammar->rules[node->what].empty && seen[node->next] != walk)
			{
				seen[node->next] = walk;
				lists[n_lists++] = node->next;
			}
		}
	}
	return n;
}

/* Which rules match the empty text: until nothing changes. */
static void
find_empty(Compiler *c)
{
	TeGrammar  *grammar = c->grammar;
	ListWalks	walks = new_walks(c);
	bool		changed = true;

	while (changed)
	{
		te_check_interrupts();
		changed = false;
		for (uint32_t r = grammar->n_rules; r > 0; r--)
		{
			bool		empty;

			if (grammar->rules[r - 1].empty)
				continue;
			calls_at_start(grammar, r - 1, NULL, &walks, &empty);
			grammar->rules[r - 1].empty = empty;
			changed = changed || empty;
		}
	}
}

typedef struct Visit
{
	uint32_t	rule;
	uint32_t	n;				/* calls that are left */
	uint32_t   *called;
} Visit;

static void
enter(Compiler *c, Visit *visit, uint32_t rule, ListWalks *walks)
{
	bool		empty;

	visit->rule = rule;
	visit->n = calls_at_start(c->grammar, rule, NULL, walks, &empty);
	visit->called = te_new_array(c->work, uint32_t, visit->n);
	calls_at_start(c->grammar, rule, visit->called, walks, &empty);
}

/* Ranks by depth-first search over calls at the start; a call of a rule that is not done yet is left recursion. */
static void
rank_rules(Compiler *c)
{
	TeGrammar  *grammar = c->grammar;
	ListWalks	walks = new_walks(c);
	uint8_t    *state = te_new_array(c->work, uint8_t, grammar->n_rules);	/* 1: entered, 2: done */
	Visit	   *stack = te_new_array(c->work, Visit, grammar->n_rules);
	uint32_t	rank = grammar->n_rules;

	for (uint32_t root = 0; root < grammar->n_rules; root++)
	{
		uint32_t	depth = 0;

		if (state[root] != 0)
			continue;
		state[root] = 1;
		enter(c, &stack[depth++], root, &walks);
		while (depth > 0)
		{
			Visit	   *top = &stack[depth - 1];
			uint32_t	called;

			if (top->n == 0)
			{
				state[top->rule] = 2;
				grammar->rules[top->rule].rank = --rank;
				depth--;
				continue;
			}
			called = top->called[--top->n];
			if (state[called] == 1)
				te_throw_hint(TE_ERR_INVALID, NULL, "Let something come before the call: list ::= item (\",\" item)* instead of list ::= list \",\" item.",
							  "grammar: %s is left recursive: it calls itself before anything else", rule_name(c, called));
			if (state[called] == 0)
			{
				state[called] = 1;
				enter(c, &stack[depth++], called, &walks);
			}
		}
	}
}

static void
check_ends(Compiler *c)
{
	TeGrammar  *grammar = c->grammar;
	uint32_t   *costs = te_new_array(c->work, uint32_t, grammar->n_classes);
	uint32_t   *lengths = te_new_array(c->work, uint32_t, grammar->n_nodes);
	uint32_t   *rules = te_new_array(c->work, uint32_t, grammar->n_rules);

	for (uint32_t i = 0; i < grammar->n_classes; i++)
		costs[i] = grammar->classes[i].n > 0 ? 1 : TE_NEVER;
	te_grammar_lengths(c->work, grammar, costs, lengths, rules);
	if (rules[0] == TE_NEVER)
		te_throw_hint(TE_ERR_INVALID, "A rule that always calls itself again has no end, and an empty class no character.", NULL,
					  "grammar: %s: there is no text of this form", rule_name(c, 0));
	for (uint32_t r = 0; r < grammar->n_rules; r++)
	{
		if (rules[r] == TE_NEVER && c->builder->rules[c->built[r]].line > 0)
			te_throw_hint(TE_ERR_INVALID, NULL, "Give it an alternative that does not call the rule again.",
						  "grammar: %s never ends", rule_name(c, r));
	}
}

TeGrammar *
te_builder_finish(TeBuilder *builder, TeArena *arena, uint32_t root)
{
	TeArena    *work = te_arena_create(builder->arena, "grammar compiler");
	Compiler	c = {.arena = arena,.work = work,.builder = builder,.grammar = te_new(arena, TeGrammar)};
	uint32_t	max_starts = 0;
	uint32_t   *starts = NULL;

	use_rule(&c, root);
	for (uint32_t r = 0; r < c.grammar->n_rules; r++)
	{
		TeExpr	   *body = builder->rules[c.built[r]].body;
		uint32_t	end;

		if (r == max_starts)
			starts = grow(work, starts, r, &max_starts, sizeof(uint32_t));
		te_assert(body != NULL);
		end = new_step(&c, STEP_END, 0, NONE);
		starts[r] = compile(&c, body, end);
	}
	make_nodes(&c, starts);
	find_empty(&c);
	rank_rules(&c);
	check_ends(&c);
	te_arena_destroy(work);
	return c.grammar;
}

/* ---- shortest texts ---- */

/* Numbers by key: those of key k are values[at[k] .. at[k + 1]) */
typedef struct Index
{
	uint32_t   *at;
	uint32_t   *values;
} Index;

typedef struct Lengths
{
	const TeGrammar *grammar;
	const uint32_t *costs;
	uint32_t   *lengths;
	uint32_t   *rules;
	uint32_t   *lists;			/* from the list on */
	Index		lists_of;		/* node: lists that it is in */
	Index		users_of;		/* list: nodes that it comes after */
	Index		starts_of;		/* list: rules that begin with it */
	Index		calls_of;		/* rule: nodes that call it */
	uint32_t	n_heap;
	uint64_t   *heap;			/* length << 32 | node */
} Lengths;

static Index
new_index(TeArena *arena, size_t keys, size_t values)
{
	return (Index) {te_new_array(arena, uint32_t, keys + 2), te_new_array(arena, uint32_t, values)};
}

/* Filled in two rounds: the first counts, the second puts. */
static inline void
index_add(Index *index, int round, uint32_t key, uint32_t value)
{
	if (round == 0)
		index->at[key + 2]++;
	else
		index->values[index->at[key + 1]++] = value;
}

static void
index_sum(Index *index, size_t keys)
{
	for (size_t i = 1; i < keys + 2; i++)
		index->at[i] += index->at[i - 1];
}

static void
index_all(TeArena *arena, Lengths *l)
{
	const TeGrammar *g = l->grammar;
	size_t		n_entries = 0;

	for (uint32_t i = 0; i < g->n_nexts; i++)
		n_entries += g->nexts[i].n;
	l->lists_of = new_index(arena, g->n_nodes, n_entries);
	l->users_of = new_index(arena, g->n_nexts, g->n_nodes);
	l->starts_of = new_index(arena, g->n_nexts, g->n_rules);
	l->calls_of = new_index(arena, g->n_rules, g->n_nodes);
	for (int round = 0; round < 2; round++)
	{
		for (uint32_t i = 0; i < g->n_nexts; i++)
			for (uint32_t j = 0; j < g->nexts[i].n; j++)
				index_add(&l->lists_of, round, g->nexts[i].nodes[j], i);
		for (uint32_t i = 0; i < g->n_nodes; i++)
		{
			index_add(&l->users_of, round, g->nodes[i].next, i);
			if (g->nodes[i].calls)
				index_add(&l->calls_of, round, g->nodes[i].what, i);
		}
		for (uint32_t i = 0; i < g->n_rules; i++)
			index_add(&l->starts_of, round, g->rules[i].start, i);
		if (round == 0)
		{
			index_sum(&l->lists_of, g->n_nodes);
			index_sum(&l->users_of, g->n_nexts);
			index_sum(&l->starts_of, g->n_nexts);
			index_sum(&l->calls_of, g->n_rules);
		}
	}
}

static void
heap_push(Lengths *l, uint32_t length, uint32_t node)
{
	uint64_t	value = (uint64_t) length << 32 | node;
	uint32_t	at = l->n_heap++;

	for (; at > 0 && l->heap[(at - 1) / 2] > value; at = (at - 1) / 2)
		l->heap[at] = l->heap[(at - 1) / 2];
	l->heap[at] = value;
}

static uint64_t
heap_pop(Lengths *l)
{
	uint64_t	top = l->heap[0];
	uint64_t	last = l->heap[--l->n_heap];
	uint32_t	at = 0;

	for (;;)
	{
		uint32_t	child = 2 * at + 1;

		if (child >= l->n_heap)
			break;
		if (child + 1 < l->n_heap && l->heap[child + 1] < l->heap[child])
			child++;
		if (l->heap[child] >= last)
			break;
		l->heap[at] = l->heap[child];
		at = child;
	}
	l->heap[at] = last;
	return top;
}

/* A node of which all is known that its length is made of, which is once. */
static void
offer(Lengths *l, uint32_t node)
{
	const TeNode *n = &l->grammar->nodes[node];
	uint32_t	length = te_add_length(n->calls ? l->rules[n->what] : l->costs[n->what], l->lists[n->next]);

	if (length != TE_NEVER)
		heap_push(l, length, node);
}

static void
settle_list(Lengths *l, uint32_t list, uint32_t length)
{
	if (l->lists[list] != TE_NEVER)
		return;
	l->lists[list] = length;
	for (uint32_t i = l->users_of.at[list]; i < l->users_of.at[list + 1]; i++)
		offer(l, l->users_of.values[i]);
	for (uint32_t i = l->starts_of.at[list]; i < l->starts_of.at[list + 1]; i++)
	{
		uint32_t	rule = l->starts_of.values[i];

		l->rules[rule] = length;
		for (uint32_t j = l->calls_of.at[rule]; j < l->calls_of.at[rule + 1]; j++)
			offer(l, l->calls_of.values[j]);
	}
}

void
te_grammar_lengths(TeArena *arena, const TeGrammar *grammar, const uint32_t *costs, uint32_t *lengths, uint32_t *rules)
{
	TeArena    *work = te_arena_create(arena, "lengths");
	Lengths		l = {.grammar = grammar,.costs = costs,.lengths = lengths,.rules = rules};

	memset(lengths, 0xFF, grammar->n_nodes * sizeof(uint32_t));
	memset(rules, 0xFF, grammar->n_rules * sizeof(uint32_t));
	l.lists = te_new_array(work, uint32_t, grammar->n_nexts);
	memset(l.lists, 0xFF, grammar->n_nexts * sizeof(uint32_t));
	l.heap = te_new_array(work, uint64_t, 2 * (size_t) grammar->n_nodes + 1);
	index_all(work, &l);
	for (uint32_t i = 0; i < grammar->n_nexts; i++)
	{
		if (grammar->nexts[i].ends)
			settle_list(&l, i, 0);
	}
	while (l.n_heap > 0)
	{
		uint64_t	top = heap_pop(&l);
		uint32_t	node = (uint32_t) top;

		if (lengths[node] != TE_NEVER)
			continue;
		lengths[node] = (uint32_t) (top >> 32);
		for (uint32_t i = l.lists_of.at[node]; i < l.lists_of.at[node + 1]; i++)
			settle_list(&l, l.lists_of.values[i], lengths[node]);
	}
	te_arena_destroy(work);
}
