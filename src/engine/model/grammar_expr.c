/*-------------------------------------------------------------------------
 * grammar_expr.c
 *	  Classes of characters, and the expressions that grammars are written as.
 *
 * Expressions are trees in the builder's arena; whoever adds a member of another
 * tree shares it, which is allowed, since they are only read afterwards.  A set of texts is
 * written as a trie: what they have in common at the beginning is there once, so that
 * thousands of them are few nodes side by side.
 *-------------------------------------------------------------------------
 */
#include "model/grammar_impl.h"

#include <stdlib.h>

#define MOST_EXPRS (1u << 20)
#define FIRST_SURROGATE 0xD800
#define LAST_SURROGATE 0xDFFF

/* ---- classes ---- */

/* Surrogates are no characters. */
void
te_class_add(TeArena *arena, TeCharClass *class, uint32_t from, uint32_t to)
{
	if (from < FIRST_SURROGATE && to >= FIRST_SURROGATE)
	{
		te_class_add(arena, class, from, FIRST_SURROGATE - 1);
		from = FIRST_SURROGATE;
	}
	if (from >= FIRST_SURROGATE && from <= LAST_SURROGATE)
		from = LAST_SURROGATE + 1;
	if (from > to || from > TE_MOST_CHAR)
		return;
	if (class->n == class->capacity)
	{
		TeCharRange *ranges;

		class->capacity = class->capacity == 0 ? 2 : class->capacity * 2;
		ranges = te_new_array(arena, TeCharRange, class->capacity);
		if (class->n > 0)
			memcpy(ranges, class->ranges, class->n * sizeof(TeCharRange));
		class->ranges = ranges;
	}
	class->ranges[class->n++] = (TeCharRange) {from, TE_MIN(to, (uint32_t) TE_MOST_CHAR)};
}

static int
compare_ranges(const void *a, const void *b)
{
	uint32_t	x = ((const TeCharRange *) a)->from;
	uint32_t	y = ((const TeCharRange *) b)->from;

	return (x > y) - (x < y);
}

/* In place. */
void
te_class_settle(TeCharClass *class)
{
	uint32_t	n = 0;

	if (class->n == 0)
		return;
	qsort(class->ranges, class->n, sizeof(TeCharRange), compare_ranges);
	for (uint32_t i = 1; i < class->n; i++)
	{
		TeCharRange *last = &class->ranges[n];

		if (class->ranges[i].from <= last->to + 1)
			last->to = TE_MAX(last->to, class->ranges[i].to);
		else
			class->ranges[++n] = class->ranges[i];
	}
	class->n = n + 1;
}

TeCharClass
te_class_negated(TeArena *arena, const TeCharClass *class)
{
	TeCharClass result = {0};
	uint32_t	next = 0;

	for (uint32_t i = 0; i < class->n; i++)
	{
		if (class->ranges[i].from > next)
			te_class_add(arena, &result, next, class->ranges[i].from - 1);
		next = class->ranges[i].to + 1;
	}
	if (next <= TE_MOST_CHAR)
		te_class_add(arena, &result, next, TE_MOST_CHAR);
	te_class_settle(&result);
	return result;
}

/* The first range that does not end before c. */
static uint32_t
range_at(const TeCharClass *class, uint32_t c)
{
	uint32_t	low = 0;
	uint32_t	high = class->n;

	while (low < high)
	{
		uint32_t	middle = (low + high) / 2;

		if (class->ranges[middle].to < c)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
te_class_has(const TeCharClass *class, uint32_t c)
{
	uint32_t	at = range_at(class, c);

	return at < class->n && class->ranges[at].from <= c;
}

uint32_t
te_class_least(const TeCharClass *a, const TeCharClass *b, uint32_t from, uint32_t to)
{
	while (from <= to)
	{
		uint32_t	at = range_at(a, from);
		uint32_t	c;

		if (at == a->n)
			return TE_NEVER;
		c = TE_MAX(from, a->ranges[at].from);
		if (b != NULL)
		{
			uint32_t	other = range_at(b, c);

			if (other == b->n)
				return TE_NEVER;
			if (b->ranges[other].from > c)
			{
				from = b->ranges[other].from;	/* and so on from there */
				continue;
			}
		}
		return c <= to ? c : TE_NEVER;
	}
	return TE_NEVER;
}

/* ---- the builder ---- */

void
te_builder_init(TeBuilder *builder, TeArena *arena)
{
	*builder = (TeBuilder) {.arena = arena};
}

static TeExpr *
new_expr(TeBuilder *builder, TeExprKind kind)
{
	TeExpr	   *expr = te_new(builder->arena, TeExpr);

	if (++builder->n_exprs > MOST_EXPRS)
		te_throw(TE_ERR_TOO_LONG, "the grammar is too large");
	if (builder->n_exprs % 4096 == 0)
		te_check_interrupts();
	expr->kind = kind;
	return expr;
}

TeExpr *
te_expr_class(TeBuilder *builder)
{
	return new_expr(builder, TE_EXPR_CLASS);
}

TeExpr *
te_expr_range(TeBuilder *builder, uint32_t from, uint32_t to)
{
	TeExpr	   *expr = new_expr(builder, TE_EXPR_CLASS);

	te_class_add(builder->arena, &expr->class, from, to);
	te_class_settle(&expr->class);
	return expr;
}

TeExpr *
te_expr_sequence(TeBuilder *builder)
{
	return new_expr(builder, TE_EXPR_SEQUENCE);
}

TeExpr *
te_expr_either(TeBuilder *builder)
{
	return new_expr(builder, TE_EXPR_EITHER);
}

void
te_expr_add(TeBuilder *builder, TeExpr *to, TeExpr *member)
{
	if (to->n == to->capacity)
	{
		TeExpr	  **members;

		to->capacity = to->capacity == 0 ? 4 : to->capacity * 2;
		members = te_new_array(builder->arena, TeExpr *, to->capacity);
		if (to->n > 0)
			memcpy(members, to->members, to->n * sizeof(TeExpr *));
		to->members = members;
	}
	to->members[to->n++] = member;
}

TeExpr *
te_expr_text(TeBuilder *builder, TeStr text)
{
	TeExpr	   *expr = te_expr_sequence(builder);
	const char *p = text.data;
	const char *end = p + text.len;

	while (p < end)
	{
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			te_throw(TE_ERR_INVALID, "grammar: a text is not valid UTF-8");
		te_expr_add(builder, expr, te_expr_range(builder, (uint32_t) c, (uint32_t) c));
	}
	return expr;
}

TeExpr *
te_expr_repeat(TeBuilder *builder, TeExpr *repeated, uint32_t least, uint32_t most)
{
	TeExpr	   *expr = new_expr(builder, TE_EXPR_REPEAT);

	expr->repeated = repeated;
	expr->least = least;
	expr->most = most;
	return expr;
}

TeExpr *
te_expr_rule(TeBuilder *builder, uint32_t rule)
{
	TeExpr	   *expr = new_expr(builder, TE_EXPR_RULE);

	expr->n = rule;
	return expr;
}

uint32_t
te_builder_rule(TeBuilder *builder, TeStr name, uint32_t line)
{
	if (builder->n_rules == builder->max_rules)
	{
		TeBuiltRule *rules;

		builder->max_rules = builder->max_rules == 0 ? 16 : builder->max_rules * 2;
		rules = te_new_array(builder->arena, TeBuiltRule, builder->max_rules);
		if (builder->n_rules > 0)
			memcpy(rules, builder->rules, builder->n_rules * sizeof(TeBuiltRule));
		builder->rules = rules;
	}
	builder->rules[builder->n_rules] = (TeBuiltRule) {name, line, NULL};
	return builder->n_rules++;
}

/* ---- sets of texts ---- */

static int
compare_texts(const void *a, const void *b)
{
	const TeStr *x = a;
	const TeStr *y = b;
	size_t		n = TE_MIN(x->len, y->len);
	int			order = n > 0 ? memcmp(x->data, y->data, n) : 0;

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* How far the first and the last, and so all between them, go together from `from`; whole characters. */
static size_t
common_end(const TeStr *texts, size_t n, size_t from)
{
	const TeStr *first = &texts[0];
	const TeStr *last = &texts[n - 1];
	size_t		end = from;

	while (end < first->len && end < last->len && first->data[end] == last->data[end])
		end++;
	while (end > from && end < first->len && (first->data[end] & 0xC0) == 0x80)
		end--;
	return end;
}

/* Sorted texts of which the first `from` bytes are done. */
static TeExpr *
trie_of(TeBuilder *builder, const TeStr *texts, size_t n, size_t from, int depth)
{
	size_t		end = common_end(texts, n, from);
	TeExpr	   *all = te_expr_text(builder, (TeStr) {texts[0].data + from, end - from});
	TeExpr	   *either = te_expr_either(builder);
	size_t		i = 0;

	if (depth > 1000)
		te_throw(TE_ERR_TOO_LONG, "too many choices begin with each other");
	while (i < n && texts[i].len == end)
		i++;
	if (i > 0)
		te_expr_add(builder, either, te_expr_sequence(builder));
	while (i < n)
	{
		size_t		len = te_utf8_sequence(texts[i].data + end, texts[i].data + texts[i].len);
		size_t		first = i;

		if (len == 0)
			te_throw(TE_ERR_INVALID, "a choice is not valid UTF-8");
		while (i < n && texts[i].len >= end + len && memcmp(texts[i].data + end, texts[first].data + end, len) == 0)
			i++;
		te_expr_add(builder, either, trie_of(builder, texts + first, i - first, end, depth + 1));
	}
	te_expr_add(builder, all, either);
	return all;
}

TeExpr *
te_expr_choices(TeBuilder *builder, const TeStr *texts, size_t n)
{
	TeStr	   *sorted = te_new_array(builder->arena, TeStr, n);

	if (n == 0)
		return te_expr_either(builder);
	for (size_t i = 0; i < n; i++)
	{
		if (!te_utf8_valid(texts[i]))
			te_throw(TE_ERR_INVALID, "a choice is not valid UTF-8");
		sorted[i] = texts[i];
	}
	qsort(sorted, n, sizeof(TeStr), compare_texts);
	return trie_of(builder, sorted, n, 0, 0);
}

TeGrammar *
te_grammar_from_choices(TeArena *arena, const TeStr *choices, size_t n)
{
	TeArena    *work = te_arena_create(arena, "grammar");
	TeBuilder	builder;
	TeGrammar  *grammar;
	uint32_t	root;

	if (n == 0)
		te_throw(TE_ERR_INVALID, "there are no choices");
	te_builder_init(&builder, work);
	root = te_builder_rule(&builder, TE_STR("choices"), 0);
	builder.rules[root].body = te_expr_choices(&builder, choices, n);
	grammar = te_builder_finish(&builder, arena, root);
	te_arena_destroy(work);
	return grammar;
}
