/*-------------------------------------------------------------------------
 * grammar_impl.h
 *	  Inside of grammars: what they are written as, and what that is compiled to.
 *
 * Whoever makes a grammar (grammar_gbnf.c, grammar_schema.c and its kin) writes
 * expressions with a builder: classes of characters, sequences, alternatives, repetitions, calls of rules.  te_builder_finish()
 * (grammar.c) compiles what is reachable from the root into nodes and checks it.
 *
 * A node consumes: a character of a class, or whatever a rule does.  After it comes a list of nodes, any of
 * which may be next; the list says too whether the rule may end there.  So there are no empty steps, and lists are
 * shared by all nodes that go on alike.
 *
 * Characters are code points, without surrogates.
 *
 * To add a source of grammars: a file that writes expressions, its function in grammar.h.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GRAMMAR_IMPL_H
#define TE_GRAMMAR_IMPL_H

#include "model/grammar.h"

#define TE_MOST_CHAR 0x10FFFF
#define TE_NEVER UINT32_MAX		/* a length that there is not */

/* ---- classes of characters ---- */

typedef struct TeCharRange
{
	uint32_t	from;
	uint32_t	to;				/* inclusive */
} TeCharRange;

/* Ranges in order, with gaps between them */
typedef struct TeCharClass
{
	uint32_t	n;
	uint32_t	capacity;		/* while it is made */
	TeCharRange *ranges;
} TeCharClass;

extern void te_class_add(TeArena *arena, TeCharClass *class, uint32_t from, uint32_t to);	/* in any order; not surrogates */
extern void te_class_settle(TeCharClass *class);	/* after the last: sorts, merges */
extern TeCharClass te_class_negated(TeArena *arena, const TeCharClass *class);
extern bool te_class_has(const TeCharClass *class, uint32_t c);
/* The least of both classes in [from, to]; TE_NEVER where there is none.  b NULL: of a alone. */
extern uint32_t te_class_least(const TeCharClass *a, const TeCharClass *b, uint32_t from, uint32_t to);

/* ---- expressions ---- */

typedef enum TeExprKind
{
	TE_EXPR_CLASS,				/* one character; of no class: nothing at all */
	TE_EXPR_SEQUENCE,			/* one after the other; none: the empty text */
	TE_EXPR_EITHER,				/* one of them; none: nothing at all */
	TE_EXPR_REPEAT,
	TE_EXPR_RULE
} TeExprKind;

typedef struct TeExpr TeExpr;
struct TeExpr
{
	TeExprKind	kind;
	uint32_t	n;				/* members; of a rule: its number; of a class: its number + 1 once it is compiled */
	uint32_t	capacity;
	uint32_t	least;			/* times */
	uint32_t	most;			/* TE_NEVER: no bound */
	union
	{
		TeExpr	  **members;
		TeExpr	   *repeated;
		TeCharClass class;
	};
};

typedef struct TeBuiltRule
{
	TeStr		name;			/* for messages */
	uint32_t	line;			/* where it is defined, 0: nowhere in particular */
	TeExpr	   *body;			/* NULL: not defined */
} TeBuiltRule;

typedef struct TeBuilder
{
	TeArena    *arena;			/* of all expressions */
	uint32_t	n_rules;
	uint32_t	max_rules;
	TeBuiltRule *rules;
	uint32_t	n_exprs;
} TeBuilder;

extern void te_builder_init(TeBuilder *builder, TeArena *arena);
extern TeExpr *te_expr_class(TeBuilder *builder);	/* to be filled and settled */
extern TeExpr *te_expr_range(TeBuilder *builder, uint32_t from, uint32_t to);
extern TeExpr *te_expr_text(TeBuilder *builder, TeStr text);	/* valid UTF-8 */
extern TeExpr *te_expr_sequence(TeBuilder *builder);
extern TeExpr *te_expr_either(TeBuilder *builder);
extern void te_expr_add(TeBuilder *builder, TeExpr *to, TeExpr *member);
extern TeExpr *te_expr_repeat(TeBuilder *builder, TeExpr *repeated, uint32_t least, uint32_t most);
extern TeExpr *te_expr_rule(TeBuilder *builder, uint32_t rule);
/* One of these texts; what they begin with in common is there once. */
extern TeExpr *te_expr_choices(TeBuilder *builder, const TeStr *texts, size_t n);
extern uint32_t te_builder_rule(TeBuilder *builder, TeStr name, uint32_t line);	/* body to be set */

/* ---- compiled ---- */

/* Nodes one of which may be next */
typedef struct TeNext
{
	uint32_t	n;
	bool		ends;			/* or the rule ends */
	const uint32_t *nodes;
} TeNext;

typedef struct TeNode
{
	bool		calls;			/* a rule; else a character */
	uint32_t	what;			/* number of the rule, or of the class */
	uint32_t	next;			/* number of its list */
} TeNode;

typedef struct TeRule
{
	uint32_t	start;			/* number of a list */
	uint32_t	rank;			/* callers at their beginning have lower ones */
	bool		empty;			/* matches the empty text */
} TeRule;

struct TeGrammar
{
	uint32_t	n_classes;
	TeCharClass *classes;
	uint32_t	n_nodes;
	TeNode	   *nodes;
	uint32_t	n_nexts;
	TeNext	   *nexts;
	uint32_t	n_rules;
	TeRule	   *rules;			/* 0 is the root */
};

extern TeGrammar *te_builder_finish(TeBuilder *builder, TeArena *arena, uint32_t root);

/*
 * The shortest texts, when a character of class i costs costs[i] (TE_NEVER: it cannot be had): lengths[n] from before node n to the end of
 * its rule, rules[r] of a whole one.
 */
extern void te_grammar_lengths(TeArena *arena, const TeGrammar *grammar, const uint32_t *costs, uint32_t *lengths, uint32_t *rules);

/* a + b, where either may be TE_NEVER; what becomes absurdly long is never, too. */
static inline uint32_t
te_add_length(uint32_t a, uint32_t b)
{
	return a >= TE_NEVER / 4 || b >= TE_NEVER / 4 ? TE_NEVER : a + b;
}

/* From a list of nodes to the end of the rule. */
static inline uint32_t
te_next_length(const TeNext *next, const uint32_t *lengths)
{
	uint32_t	least = TE_NEVER;

	if (next->ends)
		return 0;
	for (uint32_t i = 0; i < next->n; i++)
		least = TE_MIN(least, lengths[next->nodes[i]]);
	return least;
}

#endif							/* TE_GRAMMAR_IMPL_H */
