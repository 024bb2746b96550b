/*-------------------------------------------------------------------------
 * grammar_scalar.c
 *	  Strings and numbers of JSON schemas.
 *
 * Bounds of integers are kept exactly: the numbers from a to b are written as ranges of digits.  Bounds of other numbers are decimal
 * fractions, too; both are taken in units of the last place that either has.  A number in the interval is an integer in
 * it, or is written with all those places and any more behind them, where that leads nowhere over the
 * upper bound, or off the lower one.
 *
 * To add a format: a row of `formats`.
 *-------------------------------------------------------------------------
 */
#include "model/schema.h"

#include <math.h>
#include <stdlib.h>

#define DIGITS 16				/* before the point, and behind it, where there is no bound */
#define MOST_PLACES 9			/* behind the point, of bounds */
#define LARGEST INT64_C(100000000000000000)	/* of a bound, in its units; what is generated without a bound is less */
#define UNBOUNDED UINT64_C(10000000)	/* fractions go as far where there is no bound */
#define EXACT_DIGITS 15			/* of a number, that are read back as they are */

/* ---- strings ---- */

#define DATE "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
#define HOST "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,3}"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"

/* Names of formats, and what is generated for them; NULL: any string */
static const struct
{
	const char *name;
	const char *pattern;
}			formats[] = {
	{"date", "^" DATE "$"},
	{"time", "^" TIME "$"},
	{"date-time", "^" DATE "T" TIME "$"},
	{"duration", "^P([0-9]{1,4}Y)?([0-9]{1,2}M)?[0-9]{1,3}D(T[0-9]{1,2}H)?$|^PT[0-9]{1,4}[HMS]$|^P[0-9]{1,3}W$"},
	{"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"},
	{"email", "^[A-Za-z0-9]([A-Za-z0-9_+-]{0,30}[A-Za-z0-9])?(\\.[A-Za-z0-9]{1,30})?@[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z]{2,10}){1,2}$"},
	{"hostname", "^" HOST "$"},
	{"ipv4", "^" OCTET "(\\." OCTET "){3}$"},
	{"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"},
	{"uri", "^https?://" HOST "(/[A-Za-z0-9._~-]*)*(\\?[A-Za-z0-9._~=&-]*)?$"},
	{"password", NULL},
};

/* Formats of numbers, which say how they are stored */
static const char *const number_formats[] = {"int32", "int64", "float", "double"};

TeExpr *
te_schema_character(TeSchemaCompiler *c)
{
	TeBuilder  *b = &c->builder;
	TeExpr	   *either;
	TeExpr	   *plain;
	uint32_t	least;
	uint32_t	most;

	if (c->character > 0)
		return te_expr_rule(b, c->character - 1);
	c->character = te_builder_rule(b, TE_STR("a character"), 0) + 1;
	either = te_expr_either(b);
	plain = te_expr_class(b);
	te_class_add(b->arena, &plain->class, 0x20, '"' - 1);
	te_class_add(b->arena, &plain->class, '"' + 1, '\\' - 1);
	te_class_add(b->arena, &plain->class, '\\' + 1, TE_MOST_CHAR);
	te_class_settle(&plain->class);
	te_expr_add(b, either, plain);
	/* not \u0000, which no text of PostgreSQL has, nor halves of characters */
	te_expr_add(b, either, te_pattern_expr(b, TE_STR("^[\\u0022\\u005c\\u0008\\u000c\\n\\r\\t]$"), &least, &most));
	te_expr_add(b, either, te_expr_text(b, TE_STR("\\/")));
	te_expr_add(b, either, te_expr_sequence(b));
	te_expr_add(b, either->members[either->n - 1], te_expr_text(b, TE_STR("\\u")));
	te_expr_add(b, either->members[either->n - 1],
				te_pattern_expr(b, TE_STR("^([1-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|0[1-9a-fA-F][0-9a-fA-F]{2}|"
										  "00[1-9a-fA-F][0-9a-fA-F]|000[1-9a-fA-F])$"), &least, &most));
	b->rules[c->character - 1].body = either;
	return te_expr_rule(b, c->character - 1);
}

/* The pattern of a format; false where any string is of it. */
static bool
format_pattern(TeStr format, TeStr *pattern)
{
	for (size_t i = 0; i < TE_LENGTH(formats); i++)
	{
		if (!te_str_is(format, formats[i].name))
			continue;
		if (formats[i].pattern != NULL)
			*pattern = te_str(formats[i].pattern);
		return formats[i].pattern != NULL;
	}
	for (size_t i = 0; i < TE_LENGTH(number_formats); i++)
	{
		if (te_str_is(format, number_formats[i]))
			return false;
	}
	te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use \"pattern\", or leave the format out.",
				  "JSON schema: the format \"%.*s\" is not supported", TE_STR_ARGS(format));
}

static TeStr
string_member(const TeJson *node, const char *keyword)
{
	const TeJson *member = te_json_get(node, keyword);

	if (member == NULL)
		return (TeStr) {NULL, 0};
	if (member->kind != TE_JSON_STRING)
		te_throw(TE_ERR_INVALID, "JSON schema: \"%s\" must be a string", keyword);
	return member->string;
}

/* The one pattern of all schemas, be it of a format; {NULL, 0} where there is none. */
static TeStr
pattern_of(const TeSchemas *schemas)
{
	TeStr		pattern = {NULL, 0};

	for (uint32_t i = 0; i < schemas->n; i++)
	{
		TeStr		format = string_member(schemas->nodes[i], "format");
		TeStr		found[2] = {string_member(schemas->nodes[i], "pattern"), {NULL, 0}};

		if (format.data != NULL)
			format_pattern(format, &found[1]);
		for (int k = 0; k < 2; k++)
		{
			if (found[k].data == NULL || (pattern.data != NULL && te_str_eq(pattern, found[k])))
				continue;
			if (pattern.data != NULL)
				te_schema_unsupported(k == 0 ? "pattern" : "format", "beside another pattern or format");
			pattern = found[k];
		}
	}
	return pattern;
}

TeExpr *
te_schema_string(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	TeBuilder  *b = &c->builder;
	uint32_t	least = te_schema_count(schemas, "minLength", true, 0);
	uint32_t	most = te_schema_count(schemas, "maxLength", false, TE_NEVER);
	TeStr		pattern = pattern_of(schemas);
	TeExpr	   *expr = te_expr_sequence(b);
	uint32_t	fewest;
	uint32_t	longest;

	if (most < least)
		return te_expr_either(b);
	te_expr_add(b, expr, te_expr_literal(b, "\""));
	if (pattern.data == NULL)
		te_expr_add(b, expr, te_expr_repeat(b, te_schema_character(c), least, most));
	else
	{
		te_expr_add(b, expr, te_pattern_expr(b, pattern, &fewest, &longest));
		if (fewest < least)
			te_schema_unsupported("minLength", "beside a pattern or format that may be shorter");
		if (longest > most)
			te_schema_unsupported("maxLength", "beside a pattern or format that may be longer");
	}
	te_expr_add(b, expr, te_expr_literal(b, "\""));
	return expr;
}

/* ---- digits ---- */

static TeExpr *
digit(TeBuilder *b, uint64_t from, uint64_t to)
{
	return te_expr_range(b, (uint32_t) ('0' + from), (uint32_t) ('0' + to));
}

static TeExpr *
digits(TeBuilder *b, uint32_t least, uint32_t most)
{
	return te_expr_repeat(b, digit(b, 0, 9), least, most);
}

static uint64_t
power_of_ten(uint32_t n)
{
	uint64_t	power = 1;

	while (n-- > 0)
		power *= 10;
	return power;
}

static void
add_two(TeBuilder *b, TeExpr *either, TeExpr *first, TeExpr *second)
{
	TeExpr	   *sequence = te_expr_sequence(b);

	te_expr_add(b, sequence, first);
	te_expr_add(b, sequence, second);
	te_expr_add(b, either, sequence);
}

/* Numbers of exactly so many digits, zeros at the front included, from low to high. */
static TeExpr *
digits_between(TeBuilder *b, uint64_t low, uint64_t high, uint32_t width)
{
	uint64_t	unit = width > 0 ? power_of_ten(width - 1) : 1;
	TeExpr	   *either = te_expr_either(b);
	uint64_t	first = low / unit;
	uint64_t	last = high / unit;

	if (low > high)
		return either;
	if (width == 0)
		return te_expr_sequence(b);
	if (first == last)
	{
		add_two(b, either, digit(b, first, first), digits_between(b, low % unit, high % unit, width - 1));
		return either;
	}
	if (low % unit > 0)
	{
		add_two(b, either, digit(b, first, first), digits_between(b, low % unit, unit - 1, width - 1));
		first++;
	}
	if (high % unit < unit - 1)
	{
		add_two(b, either, digit(b, last, last), digits_between(b, 0, high % unit, width - 1));
		last--;
	}
	if (first <= last)
		add_two(b, either, digit(b, first, last), digits(b, width - 1, width - 1));
	return either;
}

/* Numbers from low to high, without zeros at the front. */
static TeExpr *
integers_between(TeBuilder *b, uint64_t low, uint64_t high)
{
	TeExpr	   *either = te_expr_either(b);

	for (uint32_t width = 1; width <= 18 && low <= high; width++)
	{
		uint64_t	end = power_of_ten(width) - 1;

		if (low > end)
			continue;
		te_expr_add(b, either, digits_between(b, low, TE_MIN(high, end), width));
		low = end + 1;
	}
	return either;
}

/* ---- bounds ---- */

/* In units of 10 ^ -places */
typedef struct Bound
{
	bool		given;
	bool		exclusive;
	int64_t		value;
} Bound;

typedef struct Bounds
{
	uint32_t	places;
	Bound		low;
	Bound		high;
} Bounds;

/* Places behind the point that a number has as it is written; more than MOST_PLACES where it is written with an exponent. */
static uint32_t
places_of(TeArena *arena, const TeJson *number)
{
	TeStr		text = te_json_text(arena, number, 0);
	uint32_t	places = 0;
	bool		point = false;

	for (size_t i = 0; i < text.len; i++)
	{
		if (text.data[i] == 'e' || text.data[i] == 'E')
			return number->kind == TE_JSON_REAL && number->real == floor(number->real) ? 0 : MOST_PLACES + 1;
		places += point;
		point = point || text.data[i] == '.';
	}
	if (number->kind == TE_JSON_REAL && number->real == floor(number->real))
		return 0;
	return places;
}

static double
number_of(const TeJson *node, const char *keyword)
{
	if (node->kind != TE_JSON_INTEGER && node->kind != TE_JSON_REAL)
		te_throw(TE_ERR_INVALID, "JSON schema: \"%s\" must be a number", keyword);
	return node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
}

static const char *const low_keywords[] = {"minimum", "exclusiveMinimum"};
static const char *const high_keywords[] = {"maximum", "exclusiveMaximum"};

/* Before 2019 exclusiveMinimum was true or false, and about minimum. */
static bool
is_flag(const TeJson *node)
{
	return node != NULL && node->kind == TE_JSON_BOOL;
}

static void
take_bound(Bound *bound, const TeJson *number, const char *keyword, bool exclusive, bool is_low, uint32_t places)
{
	double		value = number_of(number, keyword);
	double		unit = (double) power_of_ten(places);
	Bound		other = {.given = true,.exclusive = exclusive};
	bool		tighter;

	/* so far away that no number that is generated gets there */
	if (is_low ? value * unit < (double) -LARGEST : value * unit > (double) LARGEST)
		return;
	if (!(fabs(value * unit) <= (double) LARGEST))
		te_schema_unsupported(keyword, "with a number this large");
	other.value = number->kind == TE_JSON_INTEGER ? number->integer * (int64_t) unit : (int64_t) llround(value * unit);
	tighter = is_low ? other.value > bound->value : other.value < bound->value;
	if (!bound->given || tighter || (other.value == bound->value && exclusive))
		*bound = other;
}

/* The places are those of all bounds together. */
static Bounds
bounds_of(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	Bounds		bounds = {0};

	for (int pass = 0; pass < 2; pass++)
	{
		for (uint32_t i = 0; i < schemas->n; i++)
		{
			for (int k = 0; k < 4; k++)
			{
				bool		is_low = k < 2;
				const char *const *keywords = is_low ? low_keywords : high_keywords;
				const TeJson *node = te_json_get(schemas->nodes[i], keywords[k % 2]);
				const TeJson *flag = te_json_get(schemas->nodes[i], keywords[1]);
				bool		exclusive = k % 2 == 1 || (is_flag(flag) && flag->boolean);

				if (node == NULL || (k % 2 == 1 && is_flag(node)))
					continue;
				number_of(node, keywords[k % 2]);
				if (pass == 1)
					take_bound(is_low ? &bounds.low : &bounds.high, node, keywords[k % 2], exclusive, is_low, bounds.places);
				else
					bounds.places = TE_MAX(bounds.places, places_of(c->builder.arena, node));
				if (bounds.places > MOST_PLACES)
					te_schema_unsupported(keywords[k % 2], "with a number this small or long");
			}
		}
	}
	return bounds;
}

/* ---- integers ---- */

static int64_t
divided_down(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The integers within bounds; what has none is far away. */
static void
integer_bounds(const Bounds *bounds, int64_t *low, int64_t *high)
{
	int64_t		unit = (int64_t) power_of_ten(bounds->places);
	int64_t		far = (int64_t) power_of_ten(DIGITS) - 1;

	*low = -far;
	*high = far;
	if (bounds->low.given)
		*low = divided_down(bounds->low.value + (bounds->low.exclusive ? 1 : 0) + unit - 1, unit);
	if (bounds->high.given)
		*high = divided_down(bounds->high.value - (bounds->high.exclusive ? 1 : 0), unit);
}

static TeExpr *
negated(TeBuilder *b, TeExpr *expr)
{
	TeExpr	   *sequence = te_expr_sequence(b);

	te_expr_add(b, sequence, te_expr_literal(b, "-"));
	te_expr_add(b, sequence, expr);
	return sequence;
}

static void
add_integers(TeBuilder *b, TeExpr *either, int64_t low, int64_t high)
{
	if (low <= high && high >= 0)
		te_expr_add(b, either, integers_between(b, (uint64_t) TE_MAX(low, 0), (uint64_t) high));
	if (low <= high && low < 0)
		te_expr_add(b, either, negated(b, integers_between(b, (uint64_t) TE_MAX(-high, 1), (uint64_t) -low)));
}

/* ---- other numbers ---- */

/* Those from low to high in units of 10 ^ -places, with all places; the point too where there are none. */
static TeExpr *
fractions_between(TeBuilder *b, uint64_t low, uint64_t high, uint32_t places)
{
	uint64_t	unit = power_of_ten(places);
	TeExpr	   *either = te_expr_either(b);
	TeExpr	   *with_point = te_expr_sequence(b);

	if (low > high)
		return either;
	if (low / unit == high / unit)
	{
		te_expr_add(b, with_point, integers_between(b, low / unit, low / unit));
		te_expr_add(b, with_point, te_expr_literal(b, "."));
		te_expr_add(b, with_point, digits_between(b, low % unit, high % unit, places));
		return with_point;
	}
	if (low % unit > 0)
	{
		te_expr_add(b, either, fractions_between(b, low, (low / unit + 1) * unit - 1, places));
		low = (low / unit + 1) * unit;
	}
	if (high % unit < unit - 1)
	{
		te_expr_add(b, either, fractions_between(b, high / unit * unit, high, places));
		high = high / unit * unit - 1;
	}
	if (low <= high && high != UINT64_MAX)
	{
		te_expr_add(b, with_point, integers_between(b, low / unit, high / unit));
		te_expr_add(b, with_point, te_expr_literal(b, "."));
		te_expr_add(b, with_point, digits(b, places, places));
		te_expr_add(b, either, with_point);
	}
	return either;
}

/* Digits that may follow the places: so few that whoever reads the number as a double is not led to a bound by rounding. */
static uint32_t
digits_behind(uint64_t high, uint32_t places)
{
	uint32_t	used = places + 1;

	while (high / power_of_ten(places) >= power_of_ten(used - places) && used < EXACT_DIGITS)
		used++;
	return EXACT_DIGITS - TE_MIN(used, (uint32_t) EXACT_DIGITS);
}

/* Numbers without a sign that are no integers, or are written as if they were none.  low_open: not the lower bound itself. */
static void
add_fractions(TeBuilder *b, TeExpr *either, uint64_t low, bool low_open, uint64_t high, bool high_open, uint32_t places)
{
	uint32_t	least = places == 0 ? 1 : 0;	/* digits behind the places */
	uint32_t	most = digits_behind(high, places);
	uint64_t	first = low_open ? low + 1 : low;
	TeExpr	   *nonzero;

	/* below the upper bound anything may follow */
	if (high > 0 && first <= high - 1 && least <= most)
		add_two(b, either, fractions_between(b, first, high - 1, places), digits(b, least, most));
	if (low_open && low < high && most > 0)
	{
		nonzero = te_expr_sequence(b);
		te_expr_add(b, nonzero, te_expr_repeat(b, digit(b, 0, 0), 0, (most - 1) / 2));
		te_expr_add(b, nonzero, digit(b, 1, 9));
		te_expr_add(b, nonzero, digits(b, 0, (most - 1) / 2));
		add_two(b, either, fractions_between(b, low, low, places), nonzero);
	}
	if (!high_open && places > 0 && (low < high || !low_open))
		te_expr_add(b, either, fractions_between(b, high, high, places));
}

/* How far fractions go where there is no bound: not so far that no digits are left for them. */
static int64_t
far_from(int64_t bound, uint64_t unit)
{
	int64_t		magnitude = bound < 0 ? -bound : bound;

	return TE_MIN(LARGEST, TE_MAX(magnitude * 10, (int64_t) (UNBOUNDED * unit)));
}

static TeExpr *
bounded_number(TeBuilder *b, const Bounds *bounds)
{
	TeExpr	   *either = te_expr_either(b);
	uint64_t	unit = power_of_ten(bounds->places);
	int64_t		low = bounds->low.given ? bounds->low.value : -far_from(bounds->high.value, unit);
	int64_t		high = bounds->high.given ? bounds->high.value : far_from(bounds->low.value, unit);
	bool		low_open = bounds->low.exclusive;
	bool		high_open = bounds->high.exclusive;
	int64_t		first;
	int64_t		last;

	if (low > high)
		return either;
	integer_bounds(bounds, &first, &last);
	add_integers(b, either, first, last);
	if (high >= 0)
		add_fractions(b, either, (uint64_t) TE_MAX(low, 0), low >= 0 && low_open, (uint64_t) high, high_open, bounds->places);
	if (low < 0)
	{
		bool		from_zero = high >= 0;
		TeExpr	   *magnitude = te_expr_either(b);

		/* not -0 */
		add_fractions(b, magnitude, from_zero ? 0 : (uint64_t) -high, from_zero || high_open, (uint64_t) -low, low_open, bounds->places);
		te_expr_add(b, either, negated(b, magnitude));
	}
	return either;
}

static TeExpr *
any_number(TeSchemaCompiler *c)
{
	TeBuilder  *b = &c->builder;
	uint32_t	least;
	uint32_t	most;

	if (c->number == 0)
	{
		c->number = te_builder_rule(b, TE_STR("a number"), 0) + 1;
		b->rules[c->number - 1].body = te_pattern_expr(b, TE_STR("^-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?$"), &least, &most);
	}
	return te_expr_rule(b, c->number - 1);
}

TeExpr *
te_schema_number(TeSchemaCompiler *c, const TeSchemas *schemas, bool integer)
{
	Bounds		bounds = bounds_of(c, schemas);
	TeExpr	   *either = te_expr_either(&c->builder);
	int64_t		low;
	int64_t		high;

	if (!integer)
		return bounds.low.given || bounds.high.given ? bounded_number(&c->builder, &bounds) : any_number(c);
	integer_bounds(&bounds, &low, &high);
	add_integers(&c->builder, either, low, high);
	return either;
}

/* ---- values that are given ---- */

static bool
is_within(const TeSchemas *schemas, double value)
{
	for (uint32_t i = 0; i < schemas->n; i++)
	{
		for (int k = 0; k < 4; k++)
		{
			const char *const *keywords = k < 2 ? low_keywords : high_keywords;
			const TeJson *node = te_json_get(schemas->nodes[i], keywords[k % 2]);
			const TeJson *flag = te_json_get(schemas->nodes[i], keywords[1]);
			bool		exclusive = k % 2 == 1 || (is_flag(flag) && flag->boolean);
			double		bound;

			if (node == NULL || (k % 2 == 1 && is_flag(node)))
				continue;
			bound = number_of(node, keywords[k % 2]);
			if (k < 2 ? value < bound : value > bound)
				return false;
			if (exclusive && value == bound)
				return false;
		}
	}
	return true;
}

bool
te_schema_admits(TeSchemaCompiler *c, const TeSchemas *schemas, const TeJson *value)
{
	if (value->kind == TE_JSON_INTEGER || value->kind == TE_JSON_REAL)
		return is_within(schemas, number_of(value, "enum"));
	if (value->kind == TE_JSON_STRING)
	{
		uint32_t	length = 0;

		for (size_t i = 0; i < value->string.len; i++)
			length += (value->string.data[i] & 0xC0) != 0x80;
		if (pattern_of(schemas).data != NULL)
			te_schema_unsupported("pattern", "or \"format\" beside \"enum\" or \"const\"");
		return length >= te_schema_count(schemas, "minLength", true, 0) && length <= te_schema_count(schemas, "maxLength", false, TE_NEVER);
	}
	return true;
}
