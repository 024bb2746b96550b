/*-------------------------------------------------------------------------
 * grammar_pattern.c
 *	  Regular expressions of JSON schemas ("pattern", and what "format" means).
 *
 * The notation is ECMAScript's, without what is not regular (references back, looking around) and
 * without \b, \p and flags.  A pattern may match anywhere in a string, as JSON schema has it; ^ and $ are
 * understood at the ends of the pattern and of its alternatives.
 *
 * What is built is the text between the quotes: a quote, a backslash or a control character that
 * matches is written with its escape.  Lengths in characters are computed along, for
 * minLength and maxLength beside a pattern.
 *-------------------------------------------------------------------------
 */
#include "model/schema.h"

#define MOST_PARENTHESES 200
#define MOST_TIMES 100000

typedef struct Regex
{
	TeBuilder  *b;
	TeStr		source;
	const char *p;
	const char *end;
	int			depth;
} Regex;

/* An expression, and how many characters it may have */
typedef struct Piece
{
	TeExpr	   *expr;
	uint32_t	least;
	uint32_t	most;			/* TE_NEVER: no bound */
} Piece;

static TE_NORETURN void
fail(const Regex *r, TeErrorCode code, const char *what)
{
	te_throw(code, "JSON schema: pattern \"%.*s\": %s", TE_STR_ARGS(r->source), what);
}

static inline int
peek(const Regex *r)
{
	return r->p < r->end ? (uint8_t) *r->p : -1;
}

static uint32_t
add_counts(uint32_t a, uint32_t b)
{
	return a == TE_NEVER || b == TE_NEVER || a + b > TE_NEVER / 4 ? TE_NEVER : a + b;
}

/* ---- characters ---- */

static void
add_digits(TeArena *arena, TeCharClass *class)
{
	te_class_add(arena, class, '0', '9');
}

static void
add_word(TeArena *arena, TeCharClass *class)
{
	te_class_add(arena, class, '0', '9');
	te_class_add(arena, class, 'A', 'Z');
	te_class_add(arena, class, 'a', 'z');
	te_class_add(arena, class, '_', '_');
}

static void
add_space(TeArena *arena, TeCharClass *class)
{
	static const uint32_t spaces[][2] = {{9, 13}, {32, 32}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
	{0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

	for (size_t i = 0; i < TE_LENGTH(spaces); i++)
		te_class_add(arena, class, spaces[i][0], spaces[i][1]);
}

/* \d and its like; false where c names no class. */
static bool
add_named(TeArena *arena, TeCharClass *class, int c)
{
	TeCharClass named = {0};

	if (c == 'd' || c == 'D')
		add_digits(arena, &named);
	else if (c == 'w' || c == 'W')
		add_word(arena, &named);
	else if (c == 's' || c == 'S')
		add_space(arena, &named);
	else
		return false;
	te_class_settle(&named);
	if (c < 'a')
		named = te_class_negated(arena, &named);
	for (uint32_t i = 0; i < named.n; i++)
		te_class_add(arena, class, named.ranges[i].from, named.ranges[i].to);
	return true;
}

static uint32_t
parse_hex(Regex *r, int digits)
{
	uint32_t	value = 0;

	for (int i = 0; i < digits; i++, r->p++)
	{
		int			c = peek(r);
		int			digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			fail(r, TE_ERR_INVALID, "an escape has too few hexadecimal digits");
		value = value * 16 + (uint32_t) digit;
	}
	return value;
}

static uint32_t
parse_escape(Regex *r, bool in_class)
{
	static const char letters[] = "tnrfv0";
	static const char values[] = "\t\n\r\f\v";
	int			c = peek(r);
	const char *letter = c > 0 ? strchr(letters, c) : NULL;

	if (c < 0)
		fail(r, TE_ERR_INVALID, "it ends with a backslash");
	r->p++;
	if (letter != NULL)
		return (uint32_t) (uint8_t) values[letter - letters];
	if (c == 'x')
		return parse_hex(r, 2);
	if (c == 'u')
		return parse_hex(r, 4);
	if (c == 'b' && in_class)
		return '\b';
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80)
		fail(r, TE_ERR_UNSUPPORTED, "an escape is not supported");
	return (uint32_t) c;
}

static uint32_t
parse_char(Regex *r)
{
	int32_t		c = te_utf8_next(&r->p, r->end);

	if (c < 0)
		fail(r, TE_ERR_INVALID, "it is not valid UTF-8");
	return (uint32_t) c;
}

/* A member of brackets; false where it was a class such as \d, which is added. */
static bool
parse_member(Regex *r, TeCharClass *class, uint32_t *c)
{
	if (peek(r) != '\\')
	{
		*c = parse_char(r);
		return true;
	}
	r->p++;
	if (add_named(r->b->arena, class, peek(r)))
	{
		r->p++;
		return false;
	}
	*c = parse_escape(r, true);
	return true;
}

static void
parse_brackets(Regex *r, TeCharClass *class)
{
	bool		negated;

	r->p++;
	negated = peek(r) == '^';
	r->p += negated;
	while (peek(r) != ']')
	{
		uint32_t	from;
		uint32_t	to;

		if (peek(r) < 0)
			fail(r, TE_ERR_INVALID, "\"]\" is missing");
		if (!parse_member(r, class, &from))
			continue;
		to = from;
		if (peek(r) == '-' && r->p + 1 < r->end && r->p[1] != ']')
		{
			r->p++;
			if (!parse_member(r, class, &to))
				fail(r, TE_ERR_UNSUPPORTED, "a range of characters ends with a class");
			if (to < from)
				fail(r, TE_ERR_INVALID, "a range of characters ends before it begins");
		}
		te_class_add(r->b->arena, class, from, to);
	}
	r->p++;
	te_class_settle(class);
	if (negated)
		*class = te_class_negated(r->b->arena, class);
}

/* One character of a class, as it is written within quotes.  There is no character 0 in a text of PostgreSQL. */
static Piece
character_of(Regex *r, const TeCharClass *class)
{
	static const struct
	{
		uint32_t	c;
		const char *text;
	}			escapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\b', "\\b"}, {'\f', "\\f"}, {'\n', "\\n"}, {'\r', "\\r"}, {'\t', "\\t"}};
	TeBuilder  *b = r->b;
	TeExpr	   *either = te_expr_either(b);
	TeExpr	   *plain = te_expr_class(b);

	for (uint32_t i = 0; i < class->n; i++)
	{
		uint32_t	from = TE_MAX(class->ranges[i].from, 0x20u);

		for (; from <= class->ranges[i].to && from <= '\\'; from++)
		{
			if (from != '"' && from != '\\')
				te_class_add(b->arena, &plain->class, from, from);
		}
		te_class_add(b->arena, &plain->class, from, class->ranges[i].to);
	}
	te_class_settle(&plain->class);
	te_expr_add(b, either, plain);
	for (size_t i = 0; i < TE_LENGTH(escapes); i++)
	{
		if (te_class_has(class, escapes[i].c))
			te_expr_add(b, either, te_expr_literal(b, escapes[i].text));
	}
	return (Piece) {either->n == 1 ? plain : either, 1, 1};
}

/* ---- structure ---- */

static Piece parse_either(Regex *r, bool inner);

static Piece
parse_group(Regex *r)
{
	Piece		piece;

	if (++r->depth > MOST_PARENTHESES)
		fail(r, TE_ERR_TOO_LONG, "parentheses are nested too deeply");
	r->p++;
	if (peek(r) == '?')
	{
		r->p++;
		if (peek(r) == '<' && r->p + 1 < r->end && r->p[1] != '=' && r->p[1] != '!')
		{
			while (peek(r) >= 0 && peek(r) != '>')
				r->p++;
		}
		else if (peek(r) != ':')
			fail(r, TE_ERR_UNSUPPORTED, "looking ahead or behind is not supported");
		if (peek(r) < 0)
			fail(r, TE_ERR_INVALID, "\")\" is missing");
		r->p++;
	}
	piece = parse_either(r, true);
	if (peek(r) != ')')
		fail(r, TE_ERR_INVALID, "\")\" is missing");
	r->p++;
	r->depth--;
	return piece;
}

static Piece
parse_atom(Regex *r)
{
	TeCharClass class = {0};
	int			c = peek(r);
	uint32_t	one;

	if (c == '(')
		return parse_group(r);
	if (c == '[')
	{
		parse_brackets(r, &class);
		return character_of(r, &class);
	}
	if (c == '^' || c == '$')
		fail(r, TE_ERR_UNSUPPORTED, "^ and $ are supported at its ends only");
	if (c == '*' || c == '+' || c == '?' || c == '{')
		fail(r, TE_ERR_INVALID, "there is nothing to repeat");
	if (c == '.')
	{
		static const uint32_t ends[] = {'\n', '\r', 0x2028, 0x2029};

		for (size_t i = 0; i < TE_LENGTH(ends); i++)
			te_class_add(r->b->arena, &class, ends[i], ends[i]);
		te_class_settle(&class);
		class = te_class_negated(r->b->arena, &class);
		r->p++;
		return character_of(r, &class);
	}
	if (c == '\\')
	{
		r->p++;
		if (add_named(r->b->arena, &class, peek(r)))
		{
			r->p++;
			te_class_settle(&class);
			return character_of(r, &class);
		}
		one = parse_escape(r, false);
	}
	else
		one = parse_char(r);
	te_class_add(r->b->arena, &class, one, one);
	te_class_settle(&class);
	return character_of(r, &class);
}

static uint32_t
parse_times(Regex *r)
{
	uint32_t	value = 0;
	const char *start = r->p;

	for (; peek(r) >= '0' && peek(r) <= '9'; r->p++)
	{
		value = value * 10 + (uint32_t) (*r->p - '0');
		if (value > MOST_TIMES)
			fail(r, TE_ERR_TOO_LONG, "a repetition has a bound that is too large");
	}
	if (r->p == start)
		fail(r, TE_ERR_INVALID, "a number is expected in { }");
	return value;
}

/* Whether the next is a repetition, and how often. */
static bool
parse_repetition(Regex *r, uint32_t *least, uint32_t *most)
{
	int			c = peek(r);

	if (c != '*' && c != '+' && c != '?' && c != '{')
		return false;
	r->p++;
	*least = c == '+';
	*most = c == '?' ? 1 : TE_NEVER;
	if (c == '{')
	{
		*least = *most = parse_times(r);
		if (peek(r) == ',')
		{
			r->p++;
			*most = peek(r) == '}' ? TE_NEVER : parse_times(r);
		}
		if (peek(r) != '}')
			fail(r, TE_ERR_INVALID, "\"}\" is missing");
		if (*most < *least)
			fail(r, TE_ERR_INVALID, "a repetition has an upper bound below its lower one");
		r->p++;
	}
	if (peek(r) == '?')
		r->p++;					/* lazy: matches the same */
	return true;
}

static Piece
repeated(Regex *r, Piece piece, uint32_t least, uint32_t most)
{
	uint64_t	fewest = (uint64_t) piece.least * least;
	uint64_t	longest = piece.most == 0 ? 0 : piece.most == TE_NEVER || most == TE_NEVER ? TE_NEVER : (uint64_t) piece.most * most;

	piece.expr = te_expr_repeat(r->b, piece.expr, least, most);
	piece.least = (uint32_t) TE_MIN(fewest, (uint64_t) TE_NEVER / 8);
	piece.most = longest > TE_NEVER / 8 ? TE_NEVER : (uint32_t) longest;
	return most == 0 ? (Piece) {te_expr_sequence(r->b), 0, 0} : piece;
}

/* Any characters: where the pattern does not say that the string begins, or ends, here. */
static Piece
anything(Regex *r)
{
	TeCharClass class = {0};

	te_class_add(r->b->arena, &class, 0, TE_MOST_CHAR);
	te_class_settle(&class);
	return repeated(r, character_of(r, &class), 0, TE_NEVER);
}

static void
append(Regex *r, Piece *to, Piece piece)
{
	te_expr_add(r->b, to->expr, piece.expr);
	to->least = add_counts(to->least, piece.least);
	to->most = add_counts(to->most, piece.most);
}

static Piece
parse_sequence(Regex *r, bool inner)
{
	Piece		all = {te_expr_sequence(r->b), 0, 0};
	bool		begins = peek(r) == '^';
	bool		ends = false;

	if (inner && begins)
		fail(r, TE_ERR_UNSUPPORTED, "^ and $ are supported at its ends only");
	r->p += begins;
	if (!inner && !begins)
		append(r, &all, anything(r));
	while (peek(r) >= 0 && peek(r) != '|' && peek(r) != ')')
	{
		Piece		piece;
		uint32_t	least;
		uint32_t	most;

		if (peek(r) == '$' && !inner && (r->p + 1 == r->end || r->p[1] == '|'))
		{
			ends = true;
			r->p++;
			break;
		}
		piece = parse_atom(r);
		if (parse_repetition(r, &least, &most))
			piece = repeated(r, piece, least, most);
		append(r, &all, piece);
	}
	if (!inner && !ends)
		append(r, &all, anything(r));
	return all;
}

static Piece
parse_either(Regex *r, bool inner)
{
	Piece		all = parse_sequence(r, inner);
	TeExpr	   *either;

	if (peek(r) != '|')
		return all;
	either = te_expr_either(r->b);
	te_expr_add(r->b, either, all.expr);
	while (peek(r) == '|')
	{
		Piece		piece;

		r->p++;
		piece = parse_sequence(r, inner);
		te_expr_add(r->b, either, piece.expr);
		all.least = TE_MIN(all.least, piece.least);
		all.most = TE_MAX(all.most, piece.most);
	}
	all.expr = either;
	return all;
}

TeExpr *
te_pattern_expr(TeBuilder *b, TeStr pattern, uint32_t *least, uint32_t *most)
{
	Regex		r = {.b = b,.source = pattern,.p = pattern.data,.end = pattern.data + pattern.len};
	Piece		piece = parse_either(&r, false);

	if (r.p < r.end)
		fail(&r, TE_ERR_INVALID, "a \")\" has no \"(\"");
	*least = piece.least;
	*most = piece.most;
	return piece.expr;
}
