/*-------------------------------------------------------------------------
 * grammar_gbnf.c
 *	  Grammars in GBNF, the notation of llama.cpp (grammars/README.md there).
 *
 *	  root  ::= "a" item{1,3} ("," item)*   # a comment
 *	  item  ::= [0-9a-fA-F_] | [^\n"] | . | "\x41\u00e9\U0001F600\n"
 *
 * A rule ends with its line, but for parentheses that are open and for what follows a "|".  Names are letters, digits,
 * "-" and "_".  What the text must be is the rule root.  Characters are code points,
 * also those of \x.  Tokens (<think>, <[1000]>) are llama.cpp's, too, and there are none here: a grammar
 * is of texts.
 *
 * Errors name the line.
 *-------------------------------------------------------------------------
 */
#include "model/grammar_impl.h"

#define MOST_PARENTHESES 500
#define MOST_TIMES 1000000

typedef struct Parser
{
	TeBuilder	builder;
	const char *p;
	const char *end;
	uint32_t	line;
	uint32_t   *used_at;		/* of a rule: the line of its first use, 0: none; as long as the builder's */
	uint32_t	max_used;
	uint32_t	n_slots;		/* of names: index + 1 of the rule, open addressing */
	uint32_t   *slots;
	int			depth;
} Parser;

static TE_NORETURN void
fail(const Parser *parser, const char *what)
{
	te_throw(TE_ERR_INVALID, "grammar, line %u: %s", parser->line, what);
}

static inline char
peek(const Parser *parser)
{
	return parser->p < parser->end ? *parser->p : '\0';
}

static inline bool
is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* White space and comments; past ends of lines where these mean nothing. */
static void
skip_space(Parser *parser, bool lines)
{
	while (parser->p < parser->end)
	{
		char		c = *parser->p;

		if (c == '#')
		{
			while (parser->p < parser->end && *parser->p != '\n' && *parser->p != '\r')
				parser->p++;
			continue;
		}
		if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
			return;
		parser->line += c == '\n';
		parser->p++;
	}
}

/* ---- rules by name ---- */

static uint32_t *
slot_of(const Parser *parser, TeStr name)
{
	uint32_t	at = (uint32_t) te_hash(name.data, name.len) & (parser->n_slots - 1);

	while (parser->slots[at] != 0 && !te_str_eq(parser->builder.rules[parser->slots[at] - 1].name, name))
		at = (at + 1) & (parser->n_slots - 1);
	return &parser->slots[at];
}

static void
grow_slots(Parser *parser)
{
	parser->n_slots = parser->n_slots == 0 ? 64 : parser->n_slots * 2;
	parser->slots = te_new_array(parser->builder.arena, uint32_t, parser->n_slots);
	for (uint32_t i = 0; i < parser->builder.n_rules; i++)
		*slot_of(parser, parser->builder.rules[i].name) = i + 1;
}

/* The rule of that name, made where there was none yet. */
static uint32_t
rule_named(Parser *parser, TeStr name)
{
	uint32_t   *slot;

	if (parser->builder.n_rules * 2 >= parser->n_slots)
		grow_slots(parser);
	slot = slot_of(parser, name);
	if (*slot == 0)
	{
		uint32_t	rule = te_builder_rule(&parser->builder, name, 0);

		if (rule >= parser->max_used)
		{
			const uint32_t *old = parser->used_at;

			parser->used_at = te_new_array(parser->builder.arena, uint32_t, parser->builder.max_rules);
			if (rule > 0)
				memcpy(parser->used_at, old, rule * sizeof(uint32_t));
			parser->max_used = parser->builder.max_rules;
		}
		*slot = rule + 1;
	}
	return *slot - 1;
}

static TeStr
parse_name(Parser *parser)
{
	const char *start = parser->p;

	while (parser->p < parser->end && is_name(*parser->p))
		parser->p++;
	if (parser->p == start)
		fail(parser, "a name of a rule is expected");
	return (TeStr) {start, (size_t) (parser->p - start)};
}

/* ---- characters ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static uint32_t
parse_hex(Parser *parser, int digits)
{
	uint32_t	value = 0;

	for (int i = 0; i < digits; i++)
	{
		int			digit = hex_digit(peek(parser));

		if (digit < 0)
			fail(parser, "an escape has too few hexadecimal digits");
		value = value * 16 + (uint32_t) digit;
		parser->p++;
	}
	if (value > TE_MOST_CHAR || (value >= 0xD800 && value <= 0xDFFF))
		fail(parser, "an escape is no character of Unicode");
	return value;
}

static uint32_t
parse_escape(Parser *parser)
{
	char		c = peek(parser);

	parser->p++;
	switch (c)
	{
		case 'x':
			return parse_hex(parser, 2);
		case 'u':
			return parse_hex(parser, 4);
		case 'U':
			return parse_hex(parser, 8);
		case 't':
			return '\t';
		case 'r':
			return '\r';
		case 'n':
			return '\n';
		case '\\':
		case '"':
		case '[':
		case ']':
		case '-':
		case '^':
			return (uint32_t) c;
		default:
			te_throw_hint(TE_ERR_INVALID, NULL, "There are \\xNN, \\uNNNN, \\UNNNNNNNN, \\t, \\r, \\n, and the characters \\ \" [ ] - ^ after a \\.",
						  "grammar, line %u: an escape is not known", parser->line);
	}
}

static uint32_t
parse_char(Parser *parser)
{
	int32_t		c;

	if (parser->p >= parser->end)
		fail(parser, "it ends within quotes or brackets");
	if (*parser->p == '\\')
	{
		parser->p++;
		return parse_escape(parser);
	}
	parser->line += *parser->p == '\n';
	c = te_utf8_next(&parser->p, parser->end);
	if (c < 0)
		fail(parser, "it is not valid UTF-8");
	return (uint32_t) c;
}

static TeExpr *
parse_quoted(Parser *parser)
{
	TeExpr	   *expr = te_expr_sequence(&parser->builder);

	parser->p++;
	while (peek(parser) != '"')
	{
		uint32_t	c = parse_char(parser);

		te_expr_add(&parser->builder, expr, te_expr_range(&parser->builder, c, c));
	}
	parser->p++;
	return expr;
}

static TeExpr *
parse_class(Parser *parser)
{
	TeArena    *arena = parser->builder.arena;
	TeExpr	   *expr = te_expr_class(&parser->builder);
	bool		negated;

	parser->p++;
	negated = peek(parser) == '^';
	parser->p += negated;
	while (peek(parser) != ']')
	{
		uint32_t	from = parse_char(parser);
		uint32_t	to = from;

		if (peek(parser) == '-' && parser->p + 1 < parser->end && parser->p[1] != ']')
		{
			parser->p++;
			to = parse_char(parser);
			if (to < from)
				fail(parser, "a range of characters ends before it begins");
		}
		te_class_add(arena, &expr->class, from, to);
	}
	parser->p++;
	te_class_settle(&expr->class);
	if (negated)
		expr->class = te_class_negated(arena, &expr->class);
	return expr;
}

/* ---- repetitions ---- */

static uint32_t
parse_times(Parser *parser)
{
	uint32_t	value = 0;
	const char *start = parser->p;

	while (peek(parser) >= '0' && peek(parser) <= '9')
	{
		value = value * 10 + (uint32_t) (*parser->p++ - '0');
		if (value > MOST_TIMES)
			te_throw_hint(TE_ERR_TOO_LONG, NULL, "Leave out the bound, or make it smaller.",
						  "grammar, line %u: a repetition has a bound above %d", parser->line, MOST_TIMES);
	}
	if (parser->p == start)
		fail(parser, "a number is expected in { }");
	skip_space(parser, true);
	return value;
}

static TeExpr *
parse_braces(Parser *parser, TeExpr *repeated)
{
	uint32_t	least;
	uint32_t	most;

	parser->p++;
	skip_space(parser, true);
	least = most = parse_times(parser);
	if (peek(parser) == ',')
	{
		parser->p++;
		skip_space(parser, true);
		most = peek(parser) == '}' ? TE_NEVER : parse_times(parser);
	}
	if (peek(parser) != '}')
		fail(parser, "\"}\" is expected");
	parser->p++;
	if (most < least)
		fail(parser, "a repetition has an upper bound below its lower one");
	return te_expr_repeat(&parser->builder, repeated, least, most);
}

/* What comes after a part: any number of marks, each of what is before it. */
static TeExpr *
parse_repetitions(Parser *parser, TeExpr *expr, bool lines)
{
	int			n = 0;

	for (;;)
	{
		skip_space(parser, lines);
		switch (peek(parser))
		{
			case '*':
				expr = te_expr_repeat(&parser->builder, expr, 0, TE_NEVER);
				parser->p++;
				break;
			case '+':
				expr = te_expr_repeat(&parser->builder, expr, 1, TE_NEVER);
				parser->p++;
				break;
			case '?':
				expr = te_expr_repeat(&parser->builder, expr, 0, 1);
				parser->p++;
				break;
			case '{':
				expr = parse_braces(parser, expr);
				break;
			default:
				return expr;
		}
		if (++n > 100)
			fail(parser, "there are too many repetitions of each other");
	}
}

/* ---- rules ---- */

static TeExpr *parse_either(Parser *parser, bool lines);

static TeExpr *
parse_group(Parser *parser)
{
	TeExpr	   *expr;

	if (++parser->depth > MOST_PARENTHESES)
		fail(parser, "parentheses are nested too deeply");
	parser->p++;
	skip_space(parser, true);
	expr = parse_either(parser, true);
	if (peek(parser) != ')')
		fail(parser, "\")\" is expected");
	parser->p++;
	parser->depth--;
	return expr;
}

/* NULL where no part begins here. */
static TeExpr *
parse_part(Parser *parser)
{
	char		c = peek(parser);

	if (c == '"')
		return parse_quoted(parser);
	if (c == '[')
		return parse_class(parser);
	if (c == '(')
		return parse_group(parser);
	if (c == '.')
	{
		parser->p++;
		return te_expr_range(&parser->builder, 0, TE_MOST_CHAR);
	}
	if (c == '<' || c == '!')
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Write the characters of the text instead.",
					  "grammar, line %u: tokens in a grammar are not supported", parser->line);
	if (is_name(c))
	{
		uint32_t	rule = rule_named(parser, parse_name(parser));

		if (parser->used_at[rule] == 0)
			parser->used_at[rule] = parser->line;
		return te_expr_rule(&parser->builder, rule);
	}
	return NULL;
}

static TeExpr *
parse_sequence(Parser *parser, bool lines)
{
	TeExpr	   *sequence = te_expr_sequence(&parser->builder);
	TeExpr	   *part;

	while ((part = parse_part(parser)) != NULL)
		te_expr_add(&parser->builder, sequence, parse_repetitions(parser, part, lines));
	return sequence;
}

static TeExpr *
parse_either(Parser *parser, bool lines)
{
	TeExpr	   *first = parse_sequence(parser, lines);
	TeExpr	   *either;

	if (peek(parser) != '|')
		return first;
	either = te_expr_either(&parser->builder);
	te_expr_add(&parser->builder, either, first);
	while (peek(parser) == '|')
	{
		parser->p++;
		skip_space(parser, true);
		te_expr_add(&parser->builder, either, parse_sequence(parser, lines));
	}
	return either;
}

static void
parse_rule(Parser *parser)
{
	uint32_t	line = parser->line;
	TeStr		name = parse_name(parser);
	uint32_t	rule = rule_named(parser, name);
	TeExpr	   *body;

	skip_space(parser, false);
	if (parser->end - parser->p < 3 || memcmp(parser->p, "::=", 3) != 0)
		fail(parser, "\"::=\" is expected");
	parser->p += 3;
	skip_space(parser, true);
	if (parser->builder.rules[rule].body != NULL)
		te_throw(TE_ERR_INVALID, "grammar, line %u: rule \"%.*s\" is defined already in line %u", line, TE_STR_ARGS(name),
				 parser->builder.rules[rule].line);
	body = parse_either(parser, false);
	parser->builder.rules[rule].line = line;
	parser->builder.rules[rule].body = body;
	if (parser->p < parser->end && *parser->p != '\n' && *parser->p != '\r')
		te_throw_hint(TE_ERR_INVALID, NULL, "A rule ends with its line, but for parentheses that are open and for what follows a \"|\".",
					  "grammar, line %u: \"%c\" is not expected here", parser->line,
					  *parser->p > 0x20 && *parser->p < 0x7F ? *parser->p : '?');
	skip_space(parser, true);
}

TeGrammar *
te_grammar_from_gbnf(TeArena *arena, TeStr source)
{
	TeArena    *work = te_arena_create(arena, "grammar");
	Parser		parser = {.p = source.data,.end = source.data + source.len,.line = 1};
	TeGrammar  *grammar;
	uint32_t	root;

	te_builder_init(&parser.builder, work);
	skip_space(&parser, true);
	while (parser.p < parser.end)
		parse_rule(&parser);
	root = rule_named(&parser, TE_STR("root"));
	if (parser.builder.rules[root].body == NULL)
		te_throw_hint(TE_ERR_INVALID, NULL, "A grammar is rules such as root ::= \"yes\" | \"no\"; what the text must be is the rule root.",
					  "grammar: there is no rule \"root\"");
	for (uint32_t i = 0; i < parser.builder.n_rules; i++)
	{
		if (parser.builder.rules[i].body == NULL)
			te_throw(TE_ERR_INVALID, "grammar, line %u: rule \"%.*s\" is not defined", parser.used_at[i],
					 TE_STR_ARGS(parser.builder.rules[i].name));
	}
	grammar = te_builder_finish(&parser.builder, arena, root);
	te_arena_destroy(work);
	return grammar;
}
