/*-------------------------------------------------------------------------
 * template_value.c
 *	  Chat templates: Python's values: truth, equality, order, iteration, str() and repr().
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/unicode.h"

#include <math.h>


const char *
te_value_type(TeValue value)
{
	static const char *const names[] = {"Undefined", "Undefined", "NoneType", "bool", "int", "float", "str", "list", "tuple",
	"dict", "Namespace", "LoopContext", "Macro", "function", "method", "Cycler", "Joiner"};

	return names[value.kind];
}

/* ---- making them ---- */

TeValue
te_value_list(TeTemplateRun *run, TeValueKind kind)
{
	return (TeValue) {.kind = kind,.list = te_new(run->arena, TeValueList)};
}

void
te_value_append(TeTemplateRun *run, TeValueList *list, TeValue item)
{
	if (list->n == list->capacity)
	{
		size_t		capacity = TE_MAX(4, list->capacity * 2);
		TeValue    *items = te_new_array(run->arena, TeValue, capacity);

		te_template_charge(run, capacity);
		if (list->n > 0)
			memcpy(items, list->items, list->n * sizeof(TeValue));
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->n++] = item;
}

TeValue
te_value_dict(TeTemplateRun *run)
{
	return (TeValue) {.kind = TE_V_DICT,.dict = te_new(run->arena, TeValueDict)};
}

static TeValue *
find_key(TeTemplateRun *run, const TeValueDict *dict, TeValue key)
{
	te_template_charge(run, dict->n / 8);
	for (size_t i = 0; i < dict->n; i++)
	{
		if (te_value_equal(run, dict->keys[i], key))
			return &dict->values[i];
	}
	return NULL;
}

const TeValue *
te_value_get(TeTemplateRun *run, const TeValueDict *dict, TeValue key)
{
	return find_key(run, dict, key);
}

/* A key that is there keeps its place. */
void
te_value_put(TeTemplateRun *run, TeValueDict *dict, TeValue key, TeValue value)
{
	TeValue    *found = find_key(run, dict, key);

	if (key.kind == TE_V_LIST || key.kind == TE_V_DICT || key.kind == TE_V_NAMESPACE)
		te_template_fail(run, TE_ERR_INVALID, "a %s cannot be a key", te_value_type(key));
	if (found != NULL)
	{
		*found = value;
		return;
	}
	if (dict->n == dict->capacity)
	{
		size_t		capacity = TE_MAX(4, dict->capacity * 2);
		TeValue    *both = te_new_array(run->arena, TeValue, te_mul_size(2, capacity));

		if (dict->n > 0)
		{
			memcpy(both, dict->keys, dict->n * sizeof(TeValue));
			memcpy(both + capacity, dict->values, dict->n * sizeof(TeValue));
		}
		dict->keys = both;
		dict->values = both + capacity;
		dict->capacity = capacity;
	}
	dict->keys[dict->n] = key;
	dict->values[dict->n++] = value;
}

TeValue
te_value_undefined(const char *text)
{
	return (TeValue) {.kind = TE_V_UNDEFINED,.text = te_str(text)};
}

/* ---- asking them ---- */

bool
te_value_true(TeValue value)
{
	switch (value.kind)
	{
		case TE_V_MISSING:
		case TE_V_UNDEFINED:
		case TE_V_NONE:
			return false;
		case TE_V_BOOL:
			return value.boolean;
		case TE_V_INT:
			return value.integer != 0;
		case TE_V_FLOAT:
			return value.real != 0;
		case TE_V_STRING:
			return value.text.len > 0;
		case TE_V_LIST:
		case TE_V_TUPLE:
			return value.list->lazy || value.list->n > 0;
		case TE_V_DICT:
			return value.dict->n > 0;
		default:
			return true;
	}
}

bool
te_value_is_number(TeValue value)
{
	return value.kind == TE_V_BOOL || value.kind == TE_V_INT || value.kind == TE_V_FLOAT;
}

double
te_value_real(TeValue value)
{
	return value.kind == TE_V_FLOAT ? value.real : value.kind == TE_V_INT ? (double) value.integer : value.boolean;
}

/* True is 1, as an integer. */
static int64_t
whole(TeValue value)
{
	return value.kind == TE_V_BOOL ? value.boolean : value.integer;
}

static int
compare_numbers(TeValue a, TeValue b)
{
	if (a.kind != TE_V_FLOAT && b.kind != TE_V_FLOAT)
		return whole(a) < whole(b) ? -1 : whole(a) > whole(b);
	return te_value_real(a) < te_value_real(b) ? -1 : te_value_real(a) > te_value_real(b);
}

static bool
equal_dicts(TeTemplateRun *run, const TeValueDict *a, const TeValueDict *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
	{
		const TeValue *other = find_key(run, b, a->keys[i]);

		if (other == NULL || !te_value_equal(run, a->values[i], *other))
			return false;
	}
	return true;
}

static bool
equal_lists(TeTemplateRun *run, const TeValueList *a, const TeValueList *b)
{
	if (a->n != b->n)
		return false;
	te_template_charge(run, a->n);
	for (size_t i = 0; i < a->n; i++)
	{
		if (!te_value_equal(run, a->items[i], b->items[i]))
			return false;
	}
	return true;
}

bool
te_value_equal(TeTemplateRun *run, TeValue a, TeValue b)
{
	bool		equal = false;

	if (te_value_is_number(a) && te_value_is_number(b))
		return compare_numbers(a, b) == 0 && te_value_real(a) == te_value_real(b);
	if (a.kind != b.kind)
		return false;
	if (a.kind == TE_V_STRING)
		return te_str_eq(a.text, b.text);
	te_template_enter(run);
	if (te_is_list(a))
		equal = equal_lists(run, a.list, b.list);
	else if (a.kind == TE_V_DICT)
		equal = equal_dicts(run, a.dict, b.dict);
	else
		equal = a.kind <= TE_V_NONE || a.list == b.list;
	te_template_leave(run);
	return equal;
}

int
te_value_compare(TeTemplateRun *run, TeValue a, TeValue b)
{
	if (te_value_is_number(a) && te_value_is_number(b))
		return compare_numbers(a, b);
	if (a.kind == TE_V_STRING && b.kind == TE_V_STRING)
	{
		size_t		n = TE_MIN(a.text.len, b.text.len);
		int			order = n > 0 ? memcmp(a.text.data, b.text.data, n) : 0;

		te_template_charge(run, n / 16);
		return order != 0 ? order : a.text.len < b.text.len ? -1 : a.text.len > b.text.len;
	}
	if (a.kind == TE_V_UNDEFINED || b.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(a.kind == TE_V_UNDEFINED ? a.text : b.text));
	if (!te_is_list(a) || a.kind != b.kind)
		te_template_fail(run, TE_ERR_INVALID, "%s and %s have no order", te_value_type(a), te_value_type(b));
	for (size_t i = 0; i < TE_MIN(a.list->n, b.list->n); i++)
	{
		if (!te_value_equal(run, a.list->items[i], b.list->items[i]))
		{
			int			order;

			te_template_enter(run);
			order = te_value_compare(run, a.list->items[i], b.list->items[i]);
			te_template_leave(run);
			return order;
		}
	}
	return a.list->n < b.list->n ? -1 : a.list->n > b.list->n;
}

bool
te_value_contains(TeTemplateRun *run, TeValue all, TeValue item)
{
	const TeValueList *list;

	if (all.kind == TE_V_DICT)
		return find_key(run, all.dict, item) != NULL;
	if (all.kind == TE_V_STRING)
	{
		TeStr		part = te_value_need_text(run, item, "what is looked for in a string");

		te_template_charge(run, all.text.len / 16);
		return te_text_find(all.text, part, 0) != SIZE_MAX;
	}
	list = te_value_iterate(run, all);
	te_template_charge(run, list->n);
	for (size_t i = 0; i < list->n; i++)
	{
		if (te_value_equal(run, list->items[i], item))
			return true;
	}
	return false;
}

/* Each character by itself. */
static const TeValueList *
characters(TeTemplateRun *run, TeStr text)
{
	TeValueList *list = te_new(run->arena, TeValueList);
	const char *p = text.data;
	const char *end = p + text.len;

	while (p < end)
	{
		const char *from = p;

		te_utf8_next(&p, end);
		te_value_append(run, list, TE_VALUE_STR(((TeStr) {from, (size_t) (p - from)})));
	}
	return list;
}

const TeValueList *
te_value_iterate(TeTemplateRun *run, TeValue value)
{
	TeValueList *list;

	if (te_is_list(value) && !value.list->lazy)
		return value.list;
	list = te_new(run->arena, TeValueList);
	if (te_is_list(value))
	{
		*list = *value.list;
		list->lazy = false;
		value.list->n = 0;
	}
	else if (value.kind == TE_V_DICT)
		*list = (TeValueList) {.n = value.dict->n,.capacity = value.dict->n,.items = value.dict->keys};
	else if (value.kind == TE_V_STRING)
		return characters(run, value.text);
	else if (value.kind != TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "a %s has no items", te_value_type(value));
	return list;
}

TeStr
te_value_need_text(TeTemplateRun *run, TeValue value, const char *what)
{
	if (value.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(value.text));
	if (value.kind != TE_V_STRING)
		te_template_fail(run, TE_ERR_INVALID, "%s must be a string, not %s", what, te_value_type(value));
	return value.text;
}

int64_t
te_value_need_int(TeTemplateRun *run, TeValue value, const char *what)
{
	if (value.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(value.text));
	if (value.kind != TE_V_INT && value.kind != TE_V_BOOL)
		te_template_fail(run, TE_ERR_INVALID, "%s must be an integer, not %s", what, te_value_type(value));
	return whole(value);
}

/* ---- slices ---- */

/* A bound of a slice of n items, as Python has it for steps of that sign. */
static int64_t
bound_of(TeTemplateRun *run, TeValue given, int64_t absent, int64_t n, bool backwards)
{
	int64_t		i;

	if (given.kind == TE_V_MISSING || given.kind == TE_V_NONE)
		return absent;
	i = te_value_need_int(run, given, "a slice's bound");
	if (i < 0)
		i = i < -n ? -1 : i + n;
	return backwards ? TE_MIN(i, n - 1) : TE_MIN(TE_MAX(i, 0), n);
}

TeValue
te_value_slice(TeTemplateRun *run, TeValue value, TeValue start, TeValue stop, TeValue step)
{
	const TeValueList *from = te_value_iterate(run, value);
	int64_t		n = (int64_t) from->n;
	int64_t		by = step.kind == TE_V_MISSING || step.kind == TE_V_NONE ? 1 : te_value_need_int(run, step, "a slice's step");
	int64_t		first = bound_of(run, start, by < 0 ? n - 1 : 0, n, by < 0);
	int64_t		last = bound_of(run, stop, by < 0 ? -1 : n, n, by < 0);
	TeValue		result = te_value_list(run, value.kind == TE_V_TUPLE ? TE_V_TUPLE : TE_V_LIST);
	TeBuffer	text;

	if (by == 0)
		te_template_fail(run, TE_ERR_INVALID, "a slice's step is zero");
	by = TE_MAX(TE_MIN(by, n + 1), -n - 1);
	te_buffer_init(&text, run->arena);
	for (int64_t i = first; by > 0 ? i < last : i > last; i += by)
	{
		if (value.kind == TE_V_STRING)
			te_template_write(run, &text, from->items[i].text);
		else
			te_value_append(run, result.list, from->items[i]);
	}
	return value.kind == TE_V_STRING ? TE_VALUE_STR(te_buffer_text(&text)) : result;
}

/* ---- writing them ---- */

/* "+07" as a number. */
static int
exponent_of(const char *text)
{
	int			value = 0;

	for (const char *p = text + 1; *p != '\0'; p++)
		value = value * 10 + (*p - '0');
	return *text == '-' ? -value : value;
}

/* The shortest digits that read back as the same number, as Python lays them out. */
TeStr
te_real_text(TeArena *arena, double real)
{
	const char *text = NULL;
	int			digits = 0;
	int			exponent;

	if (isnan(real))
		return TE_STR("nan");
	if (isinf(real))
		return real > 0 ? TE_STR("inf") : TE_STR("-inf");
	do
		text = te_format(arena, "%.*e", digits, real);
	while (te_json_parse_real(te_str(text)) != real && digits++ < 17);
	exponent = exponent_of(strchr(text, 'e') + 1);
	if (exponent < -4 || exponent >= 16)
		return te_str(text);
	text = te_format(arena, "%.*f", TE_MAX(digits - exponent, 0), real);
	return te_str(strchr(text, '.') != NULL ? text : te_format(arena, "%s.0", text));
}

/* A character that stands for itself in repr(). */
static bool
is_printable(uint32_t c)
{
	return c == ' ' || te_uc_is(c, TE_UC_L | TE_UC_M | TE_UC_N | TE_UC_P | TE_UC_S);
}

static void
repr_string(TeTemplateRun *run, TeBuffer *buffer, TeStr text)
{
	bool		single = memchr(text.data, '\'', text.len) == NULL || memchr(text.data, '"', text.len) != NULL;
	const char *quote = single ? "'" : "\"";
	const char *p = text.data;
	const char *end = p + text.len;

	te_template_write(run, buffer, te_str(quote));
	while (p < end)
	{
		const char *from = p;
		uint32_t	c = (uint32_t) te_utf8_next(&p, end);
		const char *plain = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;

		if (c == (uint32_t) *quote)
			te_template_write(run, buffer, te_str(single ? "\\'" : "\\\""));
		else if (plain != NULL)
			te_template_write(run, buffer, te_str(plain));
		else if (is_printable(c))
			te_template_write(run, buffer, (TeStr) {from, (size_t) (p - from)});
		else
			te_template_write(run, buffer, te_str(te_format(run->arena, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c)));
	}
	te_template_write(run, buffer, te_str(quote));
}

static void write_repr(TeTemplateRun *run, TeBuffer *buffer, TeValue value);

static void
repr_list(TeTemplateRun *run, TeBuffer *buffer, TeValue value)
{
	bool		tuple = value.kind == TE_V_TUPLE;

	te_template_write(run, buffer, te_str(tuple ? "(" : "["));
	for (size_t i = 0; i < value.list->n; i++)
	{
		if (i > 0)
			te_template_write(run, buffer, TE_STR(", "));
		write_repr(run, buffer, value.list->items[i]);
	}
	te_template_write(run, buffer, te_str(!tuple ? "]" : value.list->n == 1 ? ",)" : ")"));
}

static void
repr_dict(TeTemplateRun *run, TeBuffer *buffer, const TeValueDict *dict)
{
	te_template_write(run, buffer, TE_STR("{"));
	for (size_t i = 0; i < dict->n; i++)
	{
		if (i > 0)
			te_template_write(run, buffer, TE_STR(", "));
		write_repr(run, buffer, dict->keys[i]);
		te_template_write(run, buffer, TE_STR(": "));
		write_repr(run, buffer, dict->values[i]);
	}
	te_template_write(run, buffer, TE_STR("}"));
}

static void
write_repr(TeTemplateRun *run, TeBuffer *buffer, TeValue value)
{
	te_template_enter(run);
	te_template_charge(run, 1);
	if (value.kind == TE_V_STRING)
		repr_string(run, buffer, value.text);
	else if (te_is_list(value))
		repr_list(run, buffer, value);
	else if (value.kind == TE_V_DICT)
		repr_dict(run, buffer, value.dict);
	else if (value.kind == TE_V_UNDEFINED)
		te_template_write(run, buffer, TE_STR("Undefined"));
	else
		te_template_write(run, buffer, te_value_text(run, value));
	te_template_leave(run);
}

TeStr
te_value_repr(TeTemplateRun *run, TeValue value)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	write_repr(run, &buffer, value);
	return te_buffer_text(&buffer);
}

TeStr
te_value_text(TeTemplateRun *run, TeValue value)
{
	switch (value.kind)
	{
		case TE_V_MISSING:
		case TE_V_UNDEFINED:
			return TE_STR("");
		case TE_V_NONE:
			return TE_STR("None");
		case TE_V_BOOL:
			return value.boolean ? TE_STR("True") : TE_STR("False");
		case TE_V_INT:
			return te_str(te_format(run->arena, "%lld", (long long) value.integer));
		case TE_V_FLOAT:
			return te_real_text(run->arena, value.real);
		case TE_V_STRING:
			return value.text;
		case TE_V_LIST:
		case TE_V_TUPLE:
		case TE_V_DICT:
			return te_value_repr(run, value);
		default:
			te_template_fail(run, TE_ERR_UNSUPPORTED, "a %s cannot be written", te_value_type(value));
	}
}
