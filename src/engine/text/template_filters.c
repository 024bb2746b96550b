/*-------------------------------------------------------------------------
 * template_filters.c
 *	  Chat templates: filters of a value by itself. Those that take a list are in template_lists.c.
 *
 * Output is not escaped in chat templates, so "safe" does nothing, and what "escape" gives is a string like any other.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/text.h"

#include <math.h>

static TeValue
filter_string(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_value_text(run, self));
}

static TeValue
filter_trim(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		chars = {NULL, 0};

	if (te_given(arguments[0]) && arguments[0].kind != TE_V_NONE)
		chars = te_value_need_text(run, arguments[0], "trim()'s argument");
	return TE_VALUE_STR(te_text_strip(te_value_text(run, self), chars, true, true));
}

static TeValue
filter_lower(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_lower(run, te_value_text(run, self)));
}

static TeValue
filter_upper(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_upper(run, te_value_text(run, self)));
}

static TeValue
filter_capitalize(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_capitalize(run, te_value_text(run, self)));
}

/* Words are what is between white space, dashes and opening brackets. */
static TeValue
filter_title(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		text = te_value_text(run, self);
	const char *p = text.data;
	const char *end = p + text.len;
	const char *word = p;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	while (p < end)
	{
		const char *from = p;
		uint32_t	c = (uint32_t) te_utf8_next(&p, end);

		if (!te_is_white(c) && (c == 0 || c > 127 || strchr("-({[<", (int) c) == NULL))
			continue;
		te_template_write(run, &buffer, te_text_capitalize(run, (TeStr) {word, (size_t) (from - word)}));
		te_template_write(run, &buffer, (TeStr) {from, (size_t) (p - from)});
		word = p;
	}
	te_template_write(run, &buffer, te_text_capitalize(run, (TeStr) {word, (size_t) (end - word)}));
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

static TeValue
filter_replace(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	bool		some = te_given(arguments[2]) && arguments[2].kind != TE_V_NONE;

	return TE_VALUE_STR(te_text_replace(run, te_value_text(run, self), te_value_text(run, arguments[0]), te_value_text(run, arguments[1]),
										some ? te_value_need_int(run, arguments[2], "a count") : -1));
}

static TeValue
filter_default(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	bool		absent = self.kind == TE_V_UNDEFINED || (te_value_true(arguments[1]) && !te_value_true(self));

	if (!absent)
		return self;
	return te_given(arguments[0]) ? arguments[0] : TE_VALUE_STR(TE_STR(""));
}

static TeValue
filter_escape(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	static const char special[] = "&<>'\"";
	static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
	TeStr		text = te_value_text(run, self);
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < text.len; i++)
	{
		const char *found = text.data[i] != '\0' ? strchr(special, text.data[i]) : NULL;

		te_template_write(run, &buffer, found != NULL ? te_str(names[found - special]) : (TeStr) {text.data + i, 1});
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

static TeValue
filter_safe(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_value_text(run, self));
}

static TeValue
filter_abs(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		i;

	if (self.kind == TE_V_FLOAT)
		return TE_VALUE_REAL(fabs(self.real));
	i = te_value_need_int(run, self, "abs()'s value");
	return TE_VALUE_INT(i < 0 && i != INT64_MIN ? -i : i);
}

/* A number as a text has it, white space around it; false where it has none. */
static bool
number_of(TeStr text, int64_t base, TeValue *number)
{
	TeStr		plain = te_text_strip(text, (TeStr) {NULL, 0}, true, true);
	bool		negative = plain.len > 0 && plain.data[0] == '-';
	size_t		i = plain.len > 0 && (negative || plain.data[0] == '+');
	int64_t		value = 0;

	*number = TE_VALUE_INT(0);
	for (size_t start = i; i < plain.len; i++)
	{
		char		c = plain.data[i] | 0x20;
		int64_t		digit = plain.data[i] >= '0' && plain.data[i] <= '9' ? plain.data[i] - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;

		if (base == 16 && i == start + 1 && c == 'x' && plain.data[start] == '0')
			continue;
		if (digit >= base || value > (INT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
		*number = TE_VALUE_INT(negative ? -value : value);
	}
	return plain.len > (size_t) (plain.len > 0 && (negative || plain.data[0] == '+'));
}

/* Where the digits at p end. */
static const char *
digits_at(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Digits, a point, an exponent: what Python reads as a float, but for its names of what is no number. */
static bool
real_of(TeTemplateRun *run, TeStr text, double *real)
{
	TeStr		plain = te_text_strip(text, (TeStr) {NULL, 0}, true, true);
	const char *p = plain.data;
	const char *end = p + plain.len;
	bool		negative = p < end && *p == '-';
	const char *whole = p + (p < end && (*p == '-' || *p == '+'));
	const char *point = digits_at(whole, end);
	const char *fraction = point + (point < end && *point == '.');
	const char *mark = digits_at(fraction, end);
	const char *exponent = mark;

	if (point == whole && mark == fraction)
		return false;
	if (mark < end && (*mark == 'e' || *mark == 'E'))
	{
		exponent = mark + 1 + (mark + 1 < end && (mark[1] == '-' || mark[1] == '+'));
		if (digits_at(exponent, end) == exponent)
			return false;
		exponent = digits_at(exponent, end);
	}
	while (whole + 1 < point && *whole == '0')
		whole++;
	*real = te_json_parse_real(te_str(te_format(run->arena, "%s%.*s.%.*s%.*s", negative ? "-" : "", point > whole ? (int) (point - whole) : 1,
												point > whole ? whole : "0", mark > fraction ? (int) (mark - fraction) : 1,
												mark > fraction ? fraction : "0", (int) (exponent - mark), mark)));
	return exponent == end;
}

static TeValue
filter_int(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		fallback = te_given(arguments[0]) ? arguments[0] : TE_VALUE_INT(0);
	int64_t		base = te_given(arguments[1]) ? te_value_need_int(run, arguments[1], "a base") : 10;
	TeValue		number;
	double		real = self.kind == TE_V_FLOAT ? self.real : 0;

	if (self.kind == TE_V_INT || self.kind == TE_V_BOOL)
		return TE_VALUE_INT(te_value_need_int(run, self, ""));
	if (base < 2 || base > 36)
		te_template_fail(run, TE_ERR_INVALID, "a base is from 2 to 36");
	if (self.kind == TE_V_STRING && number_of(self.text, base, &number))
		return number;
	if (self.kind != TE_V_FLOAT && (self.kind != TE_V_STRING || !real_of(run, self.text, &real)))
		return fallback;
	return fabs(real) < 9e18 ? TE_VALUE_INT((int64_t) real) : fallback;
}

static TeValue
filter_float(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	double		real;

	if (te_value_is_number(self))
		return TE_VALUE_REAL(te_value_real(self));
	if (self.kind == TE_V_STRING && real_of(run, self.text, &real))
		return TE_VALUE_REAL(real);
	return te_given(arguments[0]) ? arguments[0] : TE_VALUE_REAL(0);
}

/* To the even one of two that are as near, as Python has it. */
static TeValue
filter_round(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		precision = te_given(arguments[0]) ? te_value_need_int(run, arguments[0], "round()'s precision") : 0;
	TeStr		method = te_given(arguments[1]) ? te_value_need_text(run, arguments[1], "round()'s method") : TE_STR("common");
	double		scale = pow(10, (double) TE_MIN(TE_MAX(precision, -300), 300));

	if (!te_value_is_number(self))
		te_template_fail(run, TE_ERR_INVALID, "round() of %s", te_value_type(self));
	if (te_str_is(method, "ceil"))
		return TE_VALUE_REAL(ceil(te_value_real(self) * scale) / scale);
	if (te_str_is(method, "floor"))
		return TE_VALUE_REAL(floor(te_value_real(self) * scale) / scale);
	if (!te_str_is(method, "common"))
		te_template_fail(run, TE_ERR_INVALID, "round() knows no method \"%.*s\"", TE_STR_ARGS(method));
	if (self.kind != TE_V_FLOAT && precision >= 0)
		return TE_VALUE_INT(te_value_need_int(run, self, ""));
	if (self.kind != TE_V_FLOAT)
		return TE_VALUE_INT((int64_t) (nearbyint(te_value_real(self) * scale) / scale));
	if (precision > 0 && precision < 18)
		return TE_VALUE_REAL(te_json_parse_real(te_str(te_format(run->arena, "%.*f", (int) precision, self.real))));
	return TE_VALUE_REAL(precision == 0 ? nearbyint(self.real) : precision > 0 ? self.real : nearbyint(self.real * scale) / scale);
}

/* Lines behind the first, or all, with blanks or a text before them. */
static TeValue
filter_indent(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		text = te_value_text(run, self);
	bool		first = te_value_true(arguments[1]);
	bool		blank = te_value_true(arguments[2]);
	int64_t		width = !te_given(arguments[0]) ? 4 : arguments[0].kind == TE_V_STRING ? 0 : te_value_need_int(run, arguments[0], "a width");
	TeValue		lines;
	TeBuffer	indent;
	TeBuffer	buffer;

	te_buffer_init(&indent, run->arena);
	te_buffer_init(&buffer, run->arena);
	if (arguments[0].kind == TE_V_STRING)
		te_template_write(run, &indent, arguments[0].text);
	for (int64_t i = 0; i < width; i++)
		te_template_write(run, &indent, TE_STR(" "));
	te_template_write(run, &buffer, text);
	te_template_write(run, &buffer, TE_STR("\n"));
	lines = te_text_lines(run, te_buffer_text(&buffer));
	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < lines.list->n; i++)
	{
		TeStr		line = lines.list->items[i].text;

		if (i > 0)
			te_template_write(run, &buffer, TE_STR("\n"));
		if (i > 0 ? blank || line.len > 0 : first)
			te_template_write(run, &buffer, te_buffer_text(&indent));
		te_template_write(run, &buffer, line);
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

/* So many blanks, or a text, or none at all. */
static TeStr
json_indent(TeTemplateRun *run, TeValue indent)
{
	TeBuffer	buffer;

	if (!te_given(indent) || indent.kind == TE_V_NONE)
		return (TeStr) {NULL, 0};
	if (indent.kind == TE_V_STRING)
		return indent.text;
	te_buffer_init(&buffer, run->arena);
	for (int64_t i = TE_MIN(te_value_need_int(run, indent, "tojson()'s indent"), 1000); i > 0; i--)
		te_template_write(run, &buffer, TE_STR(" "));
	return te_buffer_text(&buffer);
}

static TeValue
filter_tojson(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeJsonStyle style = {.ascii = te_value_true(arguments[0]),.indent = json_indent(run, arguments[1]),.sorted = te_value_true(arguments[3])};

	style.item_separator = style.indent.data != NULL ? TE_STR(",") : TE_STR(", ");
	style.key_separator = TE_STR(": ");
	if (te_is_list(arguments[2]) && arguments[2].list->n == 2)
	{
		style.item_separator = te_value_need_text(run, arguments[2].list->items[0], "tojson()'s separator");
		style.key_separator = te_value_need_text(run, arguments[2].list->items[1], "tojson()'s separator");
	}
	return TE_VALUE_STR(te_value_to_json(run, self, &style));
}

static TeValue
filter_format(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	return TE_VALUE_STR(te_text_printf(run, te_value_text(run, self), arguments));
}

static TeValue
filter_attr(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		name = te_value_need_text(run, arguments[0], "attr()'s name");

	/* By name alone: a dictionary's items are none. */
	if (self.kind == TE_V_DICT && te_template_find(te_template_dict_methods, name) == NULL)
		return te_value_undefined("a dict has no such attribute");
	return te_template_attribute(run, self, name);
}

/* Words and what is among them: letters, digits and "_". */
static TeValue
filter_wordcount(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		text = te_value_text(run, self);
	bool		inside = false;
	int64_t		n = 0;

	te_template_charge(run, text.len / 64);
	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];
		bool		word = (c & 0x80) != 0 || c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

		n += word && !inside;
		inside = word;
	}
	return TE_VALUE_INT(n);
}

const TeTemplateRow te_template_filters[] = {
	{"string", filter_string},
	{"trim", filter_trim, 0, {"chars"}},
	{"lower", filter_lower},
	{"upper", filter_upper},
	{"capitalize", filter_capitalize},
	{"title", filter_title},
	{"replace", filter_replace, 2, {"old", "new", "count"}},
	{"default", filter_default, 0, {"default_value", "boolean"}},
	{"d", filter_default, 0, {"default_value", "boolean"}},
	{"escape", filter_escape},
	{"e", filter_escape},
	{"forceescape", filter_escape},
	{"safe", filter_safe},
	{"abs", filter_abs},
	{"int", filter_int, 0, {"default", "base"}},
	{"float", filter_float, 0, {"default"}},
	{"round", filter_round, 0, {"precision", "method"}},
	{"indent", filter_indent, 0, {"width", "first", "blank"}},
	{"tojson", filter_tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys"}},
	{"format",.any = filter_format},
	{"attr", filter_attr, 1, {"name"}},
	{"wordcount", filter_wordcount},
	{NULL}
};
