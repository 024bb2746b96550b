/*-------------------------------------------------------------------------
 * json.c
 *	  Parsing JSON (RFC 8259), and reading members of objects.
 *
 * The parser has no recursion: containers that are open are on a stack of at
 * most MAX_DEPTH, and the values they have so far are on one stack of nodes,
 * from where a container that closes takes its own, into an array of just
 * their number.  So time and memory are linear in the text: a node takes 40
 * bytes, and the shortest value two bytes of text.
 *
 * Strings are decoded into one pool of the length of the text, which no
 * decoded string can exceed.  Nothing points into the text afterwards.
 *
 * Numbers are converted exactly: up to 19 digits and a small power of ten by
 * one correctly rounded operation, others by strtod() on digits and exponent
 * only, without a decimal point, which a locale could change.
 *
 * Members of an object stay as they are in the text; look-up goes from the
 * last to the first, so that the last of equal keys counts.
 *
 * Writing and building is in json_write.c.
 *-------------------------------------------------------------------------
 */
#include "base/json.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#define MAX_DEPTH 64
#define MAX_DIGITS 800			/* significant digits that can matter to a double: 767 */
#define INTERRUPT_EVERY 65536	/* values */

/* An array or object that is not yet closed. */
typedef struct Open
{
	TeJsonKind	kind;
	TeStr		key;			/* its own, where it is a member */
	size_t		first;			/* its first value on the stack of nodes */
} Open;

typedef struct Parser
{
	const char *what;
	const char *start;
	const char *at;
	const char *end;
	char	   *pool;			/* room for decoded strings */
	TeArena    *arena;
	TeBuffer	nodes;			/* TeJson[] */
	int			depth;
	Open		open[MAX_DEPTH];
} Parser;

/* Every syntax error: what is parsed, what is wrong, where. */
static TE_NORETURN void
fail(const Parser *parser, const char *at, const char *problem)
{
	te_throw(TE_ERR_CORRUPT, "\"%s\" is not valid JSON: %s at offset %zu", parser->what, problem,
			 (size_t) (at - parser->start));
}

/* The four characters that RFC 8259 calls white space, no others. */
static void
skip_space(Parser *parser)
{
	while (parser->at < parser->end &&
		   (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\r' || *parser->at == '\t'))
		parser->at++;
}

/* The next byte, or -1 at the end. */
static inline int
peek(const Parser *parser)
{
	return parser->at < parser->end ? (unsigned char) *parser->at : -1;
}

/* ---- strings ---- */

/* Four hexadecimal digits. */
static unsigned
parse_hex(Parser *parser)
{
	unsigned	value = 0;

	for (int i = 0; i < 4; i++, parser->at++)
	{
		int			c = peek(parser);

		value <<= 4;
		if (c >= '0' && c <= '9')
			value |= (unsigned) (c - '0');
		else if (c >= 'a' && c <= 'f')
			value |= (unsigned) (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value |= (unsigned) (c - 'A' + 10);
		else
			fail(parser, parser->at, "four hexadecimal digits are expected");
	}
	return value;
}

/* Encode a code point; it takes fewer bytes than its escape did, so the pool suffices. */
static char *
put_utf8(char *to, unsigned code)
{
	if (code < 0x80)
		*to++ = (char) code;
	else if (code < 0x800)
	{
		*to++ = (char) (0xc0 | code >> 6);
		*to++ = (char) (0x80 | (code & 63));
	}
	else if (code < 0x10000)
	{
		*to++ = (char) (0xe0 | code >> 12);
		*to++ = (char) (0x80 | (code >> 6 & 63));
		*to++ = (char) (0x80 | (code & 63));
	}
	else
	{
		*to++ = (char) (0xf0 | code >> 18);
		*to++ = (char) (0x80 | (code >> 12 & 63));
		*to++ = (char) (0x80 | (code >> 6 & 63));
		*to++ = (char) (0x80 | (code & 63));
	}
	return to;
}

/* After "\u": one code point, of one escape or of two that are a surrogate pair. */
static char *
parse_unicode_escape(Parser *parser, char *to)
{
	const char *begin = parser->at - 2;
	unsigned	code = parse_hex(parser);

	if (code >= 0xd800 && code <= 0xdfff)
	{
		unsigned	low = 0;

		if (code < 0xdc00 && parser->end - parser->at >= 2 && parser->at[0] == '\\' && parser->at[1] == 'u')
		{
			parser->at += 2;
			low = parse_hex(parser);
		}
		if (low < 0xdc00 || low > 0xdfff)
			fail(parser, begin, "an unpaired surrogate is escaped");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(to, code);
}

/* After a backslash. */
static char *
parse_escape(Parser *parser, char *to)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	int			c = peek(parser);
	const char *found = c > 0 ? strchr(names, c) : NULL;

	if (c == 'u')
	{
		parser->at++;
		return parse_unicode_escape(parser, to);
	}
	if (found == NULL)
		fail(parser, parser->at, "an unknown escape");
	parser->at++;
	*to++ = values[found - names];
	return to;
}

/* At the opening quote. */
static TeStr
parse_string(Parser *parser)
{
	const char *begin = parser->at++;
	char	   *to = parser->pool;
	TeStr		result = {parser->pool, 0};

	for (;;)
	{
		int			c = peek(parser);

		if (c < 0)
			fail(parser, begin, "a string that does not end");
		if (c == '"')
			break;
		if (c == '\\')
		{
			parser->at++;
			to = parse_escape(parser, to);
		}
		else if (c < 0x20)
			fail(parser, parser->at, "a control character in a string");
		else if (c < 0x80)
		{
			*to++ = (char) c;
			parser->at++;
		}
		else
		{
			size_t		len = te_utf8_sequence(parser->at, parser->end);

			if (len == 0)
				fail(parser, parser->at, "invalid UTF-8");
			for (size_t i = 0; i < len; i++)
				*to++ = *parser->at++;
		}
	}
	parser->at++;
	result.len = (size_t) (to - result.data);
	parser->pool = to;
	return result;
}

/* ---- numbers ---- */

/* A decimal number as it is written: digits without leading zeros, times 10^exponent. */
typedef struct Decimal
{
	bool		negative;
	bool		integral;		/* written without . and e */
	int			n_digits;
	int64_t		exponent;
	char		digits[MAX_DIGITS + 1];
} Decimal;

/* One more digit.  Beyond MAX_DIGITS only whether there is one that is not zero can matter. */
static void
decimal_add(Decimal *decimal, char digit, bool fraction)
{
	if (fraction)
		decimal->exponent--;
	if (decimal->n_digits == 0 && digit == '0')
		return;
	if (decimal->n_digits < MAX_DIGITS)
		decimal->digits[decimal->n_digits++] = digit;
	else
	{
		decimal->exponent++;
		if (digit != '0')
			decimal->digits[MAX_DIGITS - 1] = '1';
	}
}

static bool
is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Digits, at least one. */
static void
scan_digits(Parser *parser, Decimal *decimal, bool fraction)
{
	if (!is_digit(peek(parser)))
		fail(parser, parser->at, "a digit is expected");
	for (; is_digit(peek(parser)); parser->at++)
		decimal_add(decimal, *parser->at, fraction);
}

/* Behind an "e".  A value far beyond what a double can hold is held at that. */
static void
scan_exponent(Parser *parser, Decimal *decimal)
{
	bool		negative = peek(parser) == '-';
	int64_t		exponent = 0;

	if (peek(parser) == '-' || peek(parser) == '+')
		parser->at++;
	if (!is_digit(peek(parser)))
		fail(parser, parser->at, "a digit is expected");
	for (; is_digit(peek(parser)); parser->at++)
		exponent = TE_MIN(exponent * 10 + (*parser->at - '0'), INT64_C(1) << 40);
	decimal->exponent += negative ? -exponent : exponent;
}

/* The grammar of a number: -? (0 | [1-9][0-9]*) fraction? exponent? */
static void
scan_number(Parser *parser, Decimal *decimal)
{
	decimal->negative = peek(parser) == '-';
	decimal->integral = true;
	decimal->n_digits = 0;
	decimal->exponent = 0;
	if (decimal->negative)
		parser->at++;
	if (peek(parser) == '0')
		parser->at++;			/* nothing but . or e may follow */
	else
		scan_digits(parser, decimal, false);
	if (peek(parser) == '.')
	{
		decimal->integral = false;
		parser->at++;
		scan_digits(parser, decimal, true);
	}
	if (peek(parser) == 'e' || peek(parser) == 'E')
	{
		decimal->integral = false;
		parser->at++;
		scan_exponent(parser, decimal);
	}
	if (is_digit(peek(parser)))
		fail(parser, parser->at, "a number with a leading zero");
}

/* The digits as an integer; false where there are too many for 64 bits. */
static bool
decimal_integer(const Decimal *decimal, uint64_t *value)
{
	*value = 0;
	if (decimal->n_digits > 19)
		return false;
	for (int i = 0; i < decimal->n_digits; i++)
		*value = *value * 10 + (uint64_t) (decimal->digits[i] - '0');
	return true;
}

/* The magnitude, correctly rounded; infinite where it is too large. */
static double
decimal_real(const Decimal *decimal)
{
	static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	char		text[MAX_DIGITS + 32];
	int			len = decimal->n_digits;
	int64_t		exponent = decimal->exponent;
	char		reversed[24];
	int			n = 0;
	uint64_t	integer;

	if (len == 0)
		return 0;
	if (decimal_integer(decimal, &integer) && integer <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22)
		return exponent < 0 ? (double) integer / powers[-exponent] : (double) integer * powers[exponent];
	if (len + exponent > 400)
		return INFINITY;
	if (len + exponent < -400)
		return 0;

	memcpy(text, decimal->digits, (size_t) len);
	text[len++] = 'e';
	if (exponent < 0)
		text[len++] = '-';
	exponent = exponent < 0 ? -exponent : exponent;
	do
		reversed[n++] = (char) ('0' + exponent % 10);
	while ((exponent /= 10) > 0);
	while (n > 0)
		text[len++] = reversed[--n];
	text[len] = '\0';
	return strtod(text, NULL);
}

/* An integer where it is written as one and fits int64; a real otherwise, if it is finite. */
static TeJson
parse_number(Parser *parser)
{
	const char *begin = parser->at;
	TeJson		node = {.kind = TE_JSON_INTEGER};
	Decimal		decimal;
	uint64_t	magnitude;

	scan_number(parser, &decimal);
	if (decimal.integral && decimal_integer(&decimal, &magnitude) &&
		magnitude <= (uint64_t) INT64_MAX + (decimal.negative ? 1 : 0))
	{
		node.integer = (int64_t) (decimal.negative ? 0 - magnitude : magnitude);
		return node;
	}
	node.kind = TE_JSON_REAL;
	node.real = decimal_real(&decimal);
	if (isinf(node.real))
		fail(parser, begin, "a number out of range");
	if (decimal.negative)
		node.real = -node.real;
	return node;
}

double
te_json_parse_real(TeStr text)
{
	Parser		parser = {.what = "number",.start = text.data,.at = text.data,.end = text.data + text.len};
	TeJson		node = parse_number(&parser);

	if (parser.at < parser.end)
		fail(&parser, parser.at, "something follows the number");
	return node.kind == TE_JSON_REAL ? node.real : (double) node.integer;
}

/* ---- values ---- */

/* Values of all open containers so far. */
static size_t
node_count(const Parser *parser)
{
	return parser->nodes.len / sizeof(TeJson);
}

/* A complete value: it belongs to the innermost open container, or is the result. */
static void
push_node(Parser *parser, TeJson node)
{
	if (node_count(parser) % INTERRUPT_EVERY == 0)
		te_check_interrupts();
	te_buffer_add(&parser->nodes, &node, sizeof(node));
}

/* At [ or {.  Its values begin where the stack of nodes ends now. */
static void
open_container(Parser *parser, TeJsonKind kind, TeStr key)
{
	if (parser->depth == MAX_DEPTH)
		fail(parser, parser->at, "arrays and objects are nested too deeply");
	parser->open[parser->depth++] = (Open) {kind, key, node_count(parser)};
	parser->at++;
}

/* Take the values of the innermost container off the stack; it becomes one itself. */
static void
close_container(Parser *parser)
{
	Open	   *open = &parser->open[--parser->depth];
	size_t		n = node_count(parser) - open->first;
	size_t		bytes = n * sizeof(TeJson);
	TeJson		node = {.kind = open->kind,.n = (uint32_t) n,.key = open->key};

	if (n > UINT32_MAX)
		fail(parser, parser->at, "too many values");
	parser->nodes.len -= bytes;
	node.items = te_alloc(parser->arena, bytes);
	if (n > 0)
		memcpy(node.items, parser->nodes.data + parser->nodes.len, bytes);
	parser->at++;
	push_node(parser, node);
}

/* Skip a literal name if it is here. */
static bool
take_word(Parser *parser, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (parser->end - parser->at) < len || memcmp(parser->at, word, len) != 0)
		return false;
	parser->at += len;
	return true;
}

/* true, false, null, a string or a number. */
static TeJson
parse_scalar(Parser *parser)
{
	TeJson		node = {.kind = TE_JSON_NULL};
	int			c = peek(parser);

	if (c == '"')
	{
		node.kind = TE_JSON_STRING;
		node.string = parse_string(parser);
	}
	else if (c == '-' || is_digit(c))
		node = parse_number(parser);
	else if (take_word(parser, "true") || take_word(parser, "false"))
	{
		node.kind = TE_JSON_BOOL;
		node.boolean = c == 't';
	}
	else if (!take_word(parser, "null"))
		fail(parser, parser->at, c < 0 ? "it ends where a value is expected" : "a value is expected");
	return node;
}

/* A key and its colon. */
static TeStr
parse_key(Parser *parser)
{
	TeStr		key;

	skip_space(parser);
	if (peek(parser) != '"')
		fail(parser, parser->at, "a key is expected");
	key = parse_string(parser);
	skip_space(parser);
	if (peek(parser) != ':')
		fail(parser, parser->at, "a colon is expected");
	parser->at++;
	return key;
}

/*
 * One value, or the opening of a container.  Returns true where a value is
 * complete, false where the container just opened wants its first.
 */
static bool
parse_value(Parser *parser)
{
	bool		member = parser->depth > 0 && parser->open[parser->depth - 1].kind == TE_JSON_OBJECT;
	TeStr		key = {NULL, 0};
	TeJson		node;

	if (member)
		key = parse_key(parser);
	skip_space(parser);
	if (peek(parser) == '[' || peek(parser) == '{')
	{
		int			closing = peek(parser) == '[' ? ']' : '}';

		open_container(parser, closing == ']' ? TE_JSON_ARRAY : TE_JSON_OBJECT, key);
		skip_space(parser);
		if (peek(parser) != closing)
			return false;
		close_container(parser);
		return true;
	}
	node = parse_scalar(parser);
	node.key = key;
	push_node(parser, node);
	return true;
}

/* Behind a value: close what closes here.  Returns whether another value follows. */
static bool
parse_after_value(Parser *parser)
{
	while (parser->depth > 0)
	{
		int			closing = parser->open[parser->depth - 1].kind == TE_JSON_ARRAY ? ']' : '}';

		skip_space(parser);
		if (peek(parser) == ',')
		{
			parser->at++;
			return true;
		}
		if (peek(parser) != closing)
			fail(parser, parser->at, closing == ']' ? "a comma or ] is expected" : "a comma or } is expected");
		close_container(parser);
	}
	return false;
}

/* The parser's own state goes with the scratch arena; after an error, with the caller's. */
const TeJson *
te_json_parse(TeArena *arena, TeStr text, const char *what)
{
	TeArena    *scratch = te_arena_create(arena, "JSON parser");
	Parser	   *parser = te_new(scratch, Parser);
	TeJson	   *result;

	parser->what = what;
	parser->start = text.data;
	parser->at = text.data;
	parser->end = text.len > 0 ? text.data + text.len : text.data;
	parser->pool = te_alloc(arena, text.len);
	parser->arena = arena;
	te_buffer_init(&parser->nodes, scratch);

	while (!parse_value(parser) || parse_after_value(parser))
		;
	skip_space(parser);
	if (parser->at < parser->end)
		fail(parser, parser->at, "something follows the value");

	result = te_new(arena, TeJson);
	memcpy(result, parser->nodes.data, sizeof(TeJson));
	te_arena_destroy(scratch);
	return result;
}

/* ---- reading ---- */

/* From the last member on; a null counts as absent and hides earlier ones of its key. */
static const TeJson *
get_member(const TeJson *object, TeStr key)
{
	if (object == NULL || object->kind != TE_JSON_OBJECT)
		return NULL;
	for (uint32_t i = object->n; i-- > 0;)
	{
		const TeJson *item = &object->items[i];

		if (te_str_eq(item->key, key))
			return item->kind != TE_JSON_NULL ? item : NULL;
	}
	return NULL;
}

const TeJson *
te_json_get(const TeJson *object, const char *key)
{
	return get_member(object, te_str(key));
}

/* Keys are cut at dots, so a key with a dot in it is found by te_json_get() only. */
const TeJson *
te_json_path(const TeJson *object, const char *path)
{
	while (object != NULL)
	{
		const char *dot = strchr(path, '.');

		if (dot == NULL)
			return get_member(object, te_str(path));
		object = get_member(object, (TeStr) {path, (size_t) (dot - path)});
		path = dot + 1;
	}
	return NULL;
}

/* A real is taken if it is a whole number, since some writers know no others. */
int64_t
te_json_int_range(const TeJson *object, const char *key, int64_t fallback, int64_t min, int64_t max)
{
	const TeJson *node = te_json_get(object, key);
	int64_t		value;

	if (node == NULL)
		return fallback;
	if (node->kind == TE_JSON_INTEGER)
		value = node->integer;
	else if (node->kind == TE_JSON_REAL && node->real == floor(node->real) && fabs(node->real) < 0x1p63)
		value = (int64_t) node->real;
	else
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be an integer", key);
	if (value < min || value > max)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is %lld, but must be between %lld and %lld", key,
				 (long long) value, (long long) min, (long long) max);
	return value;
}

int64_t
te_json_int(const TeJson *object, const char *key, int64_t fallback)
{
	return te_json_int_range(object, key, fallback, INT64_MIN, INT64_MAX);
}

double
te_json_real(const TeJson *object, const char *key, double fallback)
{
	const TeJson *node = te_json_get(object, key);

	if (node == NULL)
		return fallback;
	if (node->kind == TE_JSON_INTEGER)
		return (double) node->integer;
	if (node->kind != TE_JSON_REAL)
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be a number", key);
	return node->real;
}

bool
te_json_bool(const TeJson *object, const char *key, bool fallback)
{
	const TeJson *node = te_json_get(object, key);

	if (node == NULL)
		return fallback;
	if (node->kind != TE_JSON_BOOL)
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be true or false", key);
	return node->boolean;
}

TeStr
te_json_str(const TeJson *object, const char *key, const char *fallback)
{
	const TeJson *node = te_json_get(object, key);

	if (node == NULL)
		return fallback != NULL ? te_str(fallback) : (TeStr) {NULL, 0};
	if (node->kind != TE_JSON_STRING)
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be a string", key);
	return node->string;
}
