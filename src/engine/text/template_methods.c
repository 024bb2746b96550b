/*-------------------------------------------------------------------------
 * template_methods.c
 *	  Chat templates: methods of strings, dictionaries, lists and loops, and global functions.
 *
 * What would change a list or a dictionary is not here: transformers' sandbox refuses it too.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/unicode.h"

/* ---- strings ---- */

static TeStr
chars_of(TeTemplateRun *run, TeValue value)
{
	if (!te_given(value) || value.kind == TE_V_NONE)
		return (TeStr) {NULL, 0};
	return te_value_need_text(run, value, "the characters to strip");
}

static TeValue
str_strip(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_strip(self.text, chars_of(run, arguments[0]), true, true));
}

static TeValue
str_lstrip(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_strip(self.text, chars_of(run, arguments[0]), true, false));
}

static TeValue
str_rstrip(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_strip(self.text, chars_of(run, arguments[0]), false, true));
}

static TeValue
str_lower(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_lower(run, self.text));
}

static TeValue
str_upper(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_upper(run, self.text));
}

static TeValue
str_capitalize(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_STR(te_text_capitalize(run, self.text));
}

/* Each letter behind one that is none is raised, the others lowered. */
static TeValue
str_title(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const char *p = self.text.data;
	const char *end = p + self.text.len;
	bool		inside = false;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	while (p < end)
	{
		const char *from = p;
		bool		letter = te_uc_is((uint32_t) te_utf8_next(&p, end), TE_UC_LU | TE_UC_LL | TE_UC_LT);
		TeStr		c = {from, (size_t) (p - from)};

		te_template_write(run, &buffer, inside ? te_text_lower(run, c) : te_text_upper(run, c));
		inside = letter;
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

/* One text, or one of several. */
static bool
has_affix(TeTemplateRun *run, TeValue self, TeValue affix, bool at_end)
{
	TeStr		text = self.text;
	TeStr		part;

	if (affix.kind == TE_V_TUPLE)
	{
		for (size_t i = 0; i < affix.list->n; i++)
		{
			if (affix.list->items[i].kind == TE_V_STRING && has_affix(run, self, affix.list->items[i], at_end))
				return true;
		}
		return false;
	}
	part = te_value_need_text(run, affix, "what a string begins or ends with");
	return part.len <= text.len && memcmp(text.data + (at_end ? text.len - part.len : 0), part.data, part.len) == 0;
}

static TeValue
str_startswith(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(has_affix(run, self, arguments[0], false));
}

static TeValue
str_endswith(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(has_affix(run, self, arguments[0], true));
}

static TeValue
str_removeprefix(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	size_t		n = has_affix(run, self, arguments[0], false) ? arguments[0].text.len : 0;

	return TE_VALUE_STR(((TeStr) {self.text.data + n, self.text.len - n}));
}

static TeValue
str_removesuffix(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	size_t		n = has_affix(run, self, arguments[0], true) ? arguments[0].text.len : 0;

	return TE_VALUE_STR(((TeStr) {self.text.data, self.text.len - n}));
}

static TeValue
str_replace(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		most = te_given(arguments[2]) ? te_value_need_int(run, arguments[2], "a count") : -1;

	return TE_VALUE_STR(te_text_replace(run, self.text, te_value_need_text(run, arguments[0], "what is replaced"),
										te_value_need_text(run, arguments[1], "a replacement"), most));
}

/* The last place before `end`; SIZE_MAX: none. */
static size_t
find_last(TeStr text, TeStr part, size_t end)
{
	for (size_t i = end >= part.len ? end - part.len + 1 : 0; i > 0; i--)
	{
		if (memcmp(text.data + i - 1, part.data, part.len) == 0)
			return i - 1;
	}
	return SIZE_MAX;
}

/* The character at which a byte of the text lies; -1 where there is none. */
static TeValue
place(TeStr text, size_t at)
{
	return TE_VALUE_INT(at == SIZE_MAX ? -1 : (int64_t) te_text_length((TeStr) {text.data, at}));
}

static TeValue
str_find(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		part = te_value_need_text(run, arguments[0], "what is looked for");
	int64_t		start = te_given(arguments[1]) ? te_value_need_int(run, arguments[1], "where to begin") : 0;

	if (start < 0)
		start = TE_MAX(0, start + (int64_t) te_text_length(self.text));
	te_template_charge(run, self.text.len / 16);
	return place(self.text, te_text_find(self.text, part, te_text_offset(self.text, (size_t) start)));
}

static TeValue
str_rfind(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		part = te_value_need_text(run, arguments[0], "what is looked for");

	te_template_charge(run, self.text.len / 4);
	return place(self.text, find_last(self.text, part, self.text.len));
}

static TeValue
str_count(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		part = te_value_need_text(run, arguments[0], "what is counted");
	int64_t		n = 0;

	te_template_charge(run, self.text.len / 16);
	if (part.len == 0)
		return TE_VALUE_INT((int64_t) te_text_length(self.text) + 1);
	for (size_t at = 0; (at = te_text_find(self.text, part, at)) != SIZE_MAX; at += part.len)
		n++;
	return TE_VALUE_INT(n);
}

static void
add_part(TeTemplateRun *run, TeValue list, const char *from, const char *to)
{
	te_value_append(run, list.list, TE_VALUE_STR(((TeStr) {from, (size_t) (to - from)})));
}

/* By runs of white space, of which those at the ends count for nothing. */
static TeValue
split_words(TeTemplateRun *run, TeStr text, int64_t most)
{
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeStr		rest = te_text_strip(text, (TeStr) {NULL, 0}, true, false);

	while (rest.len > 0)
	{
		const char *end = rest.data + rest.len;
		const char *p = rest.data;
		const char *stop = p;

		if (most-- == 0)
		{
			te_value_append(run, result.list, TE_VALUE_STR(rest));
			break;
		}
		while (p < end && !te_is_white((uint32_t) te_utf8_next(&p, end)))
			stop = p;
		add_part(run, result, rest.data, stop);
		rest = te_text_strip((TeStr) {stop, (size_t) (end - stop)}, (TeStr) {NULL, 0}, true, false);
	}
	return result;
}

static TeStr
separator_of(TeTemplateRun *run, TeValue value)
{
	TeStr		separator = te_value_need_text(run, value, "a separator");

	if (separator.len == 0)
		te_template_fail(run, TE_ERR_INVALID, "the separator is empty");
	return separator;
}

static TeValue
str_split(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		most = te_given(arguments[1]) ? te_value_need_int(run, arguments[1], "split()'s count") : -1;
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeStr		separator;
	size_t		from = 0;
	size_t		at;

	te_template_charge(run, self.text.len / 16);
	if (!te_given(arguments[0]) || arguments[0].kind == TE_V_NONE)
		return split_words(run, self.text, most);
	separator = separator_of(run, arguments[0]);
	while (most-- != 0 && (at = te_text_find(self.text, separator, from)) != SIZE_MAX)
	{
		add_part(run, result, self.text.data + from, self.text.data + at);
		from = at + separator.len;
	}
	add_part(run, result, self.text.data + from, self.text.data + self.text.len);
	return result;
}

/* From the end. */
static TeValue
str_rsplit(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		most = te_given(arguments[1]) ? te_value_need_int(run, arguments[1], "rsplit()'s count") : -1;
	TeStr		separator;
	TeValue		parts = te_value_list(run, TE_V_LIST);
	size_t		end = self.text.len;
	size_t		at;

	if (!te_given(arguments[0]) || arguments[0].kind == TE_V_NONE)
		te_template_fail(run, TE_ERR_UNSUPPORTED, "rsplit() without a separator is not supported");
	te_template_charge(run, self.text.len / 4);
	separator = separator_of(run, arguments[0]);
	while (most-- != 0 && (at = find_last(self.text, separator, end)) != SIZE_MAX)
	{
		add_part(run, parts, self.text.data + at + separator.len, self.text.data + end);
		end = at;
	}
	add_part(run, parts, self.text.data, self.text.data + end);
	return te_value_slice(run, parts, TE_VALUE_NONE, TE_VALUE_NONE, TE_VALUE_INT(-1));
}

static TeValue
str_partition(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		separator = separator_of(run, arguments[0]);
	size_t		at = te_text_find(self.text, separator, 0);
	const char *end = self.text.data + self.text.len;
	const char *middle = at == SIZE_MAX ? end : self.text.data + at;
	const char *behind = at == SIZE_MAX ? end : middle + separator.len;
	TeValue		result = te_value_list(run, TE_V_TUPLE);

	add_part(run, result, self.text.data, middle);
	add_part(run, result, middle, behind);
	add_part(run, result, behind, end);
	return result;
}

static TeValue
str_splitlines(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return te_text_lines(run, self.text);
}

static TeValue
str_join(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, arguments[0]);
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < list->n; i++)
	{
		if (i > 0)
			te_template_write(run, &buffer, self.text);
		te_template_write(run, &buffer, te_value_need_text(run, list->items[i], "what is joined"));
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

/* Is every character one of these, and is there one? */
static bool
is_all(TeStr text, uint32_t flags)
{
	const char *p = text.data;
	const char *end = p + text.len;

	while (p < end)
	{
		uint32_t	c = (uint32_t) te_utf8_next(&p, end);

		if (flags != 0 ? !te_uc_is(c, flags) : !te_is_white(c))
			return false;
	}
	return text.len > 0;
}

static TeValue
str_isdigit(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(is_all(self.text, TE_UC_ND));
}

static TeValue
str_isalpha(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(is_all(self.text, TE_UC_L));
}

static TeValue
str_isalnum(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(is_all(self.text, TE_UC_L | TE_UC_N));
}

static TeValue
str_isspace(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return TE_VALUE_BOOL(is_all(self.text, 0));
}

/* Of the case and no other, and with a letter that has one. */
static TeValue
is_cased(TeTemplateRun *run, TeValue self, bool upper)
{
	TeStr		lowered = te_text_lower(run, self.text);
	TeStr		raised = te_text_upper(run, self.text);

	return TE_VALUE_BOOL(te_str_eq(self.text, upper ? raised : lowered) && !te_str_eq(lowered, raised));
}

static TeValue
str_isupper(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return is_cased(run, self, true);
}

static TeValue
str_islower(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return is_cased(run, self, false);
}

/* "{}", "{0}" and "{name}"; nothing behind the name. */
static TeValue
field(TeTemplateRun *run, TeStr name, const TeTemplateArguments *arguments, size_t *next)
{
	size_t		n = arguments->n - arguments->n_names;
	size_t		i = 0;

	for (size_t k = 0; k < arguments->n_names; k++)
	{
		if (te_str_eq(name, arguments->names[k]))
			return arguments->list[n + k];
	}
	for (size_t k = 0; k < name.len; k++)
	{
		if (name.data[k] < '0' || name.data[k] > '9' || k > 3)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "a format like \"{%.*s}\" is not supported", TE_STR_ARGS(name));
		i = i * 10 + (size_t) (name.data[k] - '0');
	}
	if (name.len == 0)
		i = (*next)++;
	if (i >= n)
		te_template_fail(run, TE_ERR_INVALID, "there are fewer values than the format wants");
	return arguments->list[i];
}

static TeValue
str_format(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	TeStr		text = self.text;
	size_t		next = 0;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < text.len; i++)
	{
		bool		brace = text.data[i] == '{' || text.data[i] == '}';
		size_t		close;

		if (!brace || (i + 1 < text.len && text.data[i + 1] == text.data[i]))
		{
			te_template_write(run, &buffer, (TeStr) {text.data + i, 1});
			i += brace;
			continue;
		}
		close = te_text_find(text, TE_STR("}"), i);
		if (text.data[i] == '}' || close == SIZE_MAX)
			te_template_fail(run, TE_ERR_INVALID, "a brace of the format has no other");
		te_template_write(run, &buffer, te_value_text(run, field(run, (TeStr) {text.data + i + 1, close - i - 1}, arguments, &next)));
		i = close;
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

const TeTemplateRow te_template_string_methods[] = {
	{"strip", str_strip, 0, {"chars"}},
	{"lstrip", str_lstrip, 0, {"chars"}},
	{"rstrip", str_rstrip, 0, {"chars"}},
	{"lower", str_lower},
	{"casefold", str_lower},
	{"upper", str_upper},
	{"capitalize", str_capitalize},
	{"title", str_title},
	{"startswith", str_startswith, 1, {"prefix"}},
	{"endswith", str_endswith, 1, {"suffix"}},
	{"removeprefix", str_removeprefix, 1, {"prefix"}},
	{"removesuffix", str_removesuffix, 1, {"suffix"}},
	{"replace", str_replace, 2, {"old", "new", "count"}},
	{"find", str_find, 1, {"sub", "start"}},
	{"rfind", str_rfind, 1, {"sub"}},
	{"count", str_count, 1, {"sub"}},
	{"split", str_split, 0, {"sep", "maxsplit"}},
	{"rsplit", str_rsplit, 0, {"sep", "maxsplit"}},
	{"partition", str_partition, 1, {"sep"}},
	{"splitlines", str_splitlines},
	{"join", str_join, 1, {"iterable"}},
	{"isdigit", str_isdigit},
	{"isdecimal", str_isdigit},
	{"isnumeric", str_isdigit},
	{"isalpha", str_isalpha},
	{"isalnum", str_isalnum},
	{"isspace", str_isspace},
	{"isupper", str_isupper},
	{"islower", str_islower},
	{"format",.any = str_format},
	{NULL}
};

/* ---- dictionaries and lists ---- */

static TeValue
dict_items(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeTemplateArguments none = {NULL, 0, NULL, 0};
	TeValue		result = te_template_call_row(run, te_template_filter(TE_STR("items")), self, &none);

	result.list->lazy = false;
	return result;
}

static TeValue
dict_keys(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_list(run, TE_V_LIST);

	for (size_t i = 0; i < self.dict->n; i++)
		te_value_append(run, result.list, self.dict->keys[i]);
	return result;
}

static TeValue
dict_values(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_list(run, TE_V_LIST);

	for (size_t i = 0; i < self.dict->n; i++)
		te_value_append(run, result.list, self.dict->values[i]);
	return result;
}

static TeValue
dict_get(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValue *found = te_value_get(run, self.dict, arguments[0]);

	if (found != NULL)
		return *found;
	return te_given(arguments[1]) ? arguments[1] : TE_VALUE_NONE;
}

/* A dictionary that begins as another one. */
static TeValue
dict_copy(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_dict(run);

	for (size_t i = 0; i < self.dict->n; i++)
		te_value_put(run, result.dict, self.dict->keys[i], self.dict->values[i]);
	return result;
}

const TeTemplateRow te_template_dict_methods[] = {
	{"items", dict_items},
	{"keys", dict_keys},
	{"values", dict_values},
	{"get", dict_get, 1, {"key", "default"}},
	{"copy", dict_copy},
	{NULL}
};

static TeValue
list_index(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	for (size_t i = 0; i < self.list->n; i++)
	{
		if (te_value_equal(run, self.list->items[i], arguments[0]))
			return TE_VALUE_INT((int64_t) i);
	}
	te_template_fail(run, TE_ERR_INVALID, "index() of what is not in the list");
}

static TeValue
list_count(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		n = 0;

	for (size_t i = 0; i < self.list->n; i++)
		n += te_value_equal(run, self.list->items[i], arguments[0]);
	return TE_VALUE_INT(n);
}

const TeTemplateRow te_template_list_methods[] = {
	{"index", list_index, 1, {"value"}},
	{"count", list_count, 1, {"value"}},
	{NULL}
};

/* ---- loops and cyclers ---- */

/* loop.cycle("odd", "even") */
static TeValue
loop_cycle(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	if (self.kind != TE_V_LOOP || arguments->n == 0)
		te_template_fail(run, TE_ERR_INVALID, "cycle() wants something to go through");
	return arguments->list[self.loop->index % arguments->n];
}

/* Is the argument another one than at the last call? */
static TeValue
loop_changed(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	TeValue		now = te_value_list(run, TE_V_TUPLE);
	bool		same;

	if (self.kind != TE_V_LOOP)
		te_template_fail(run, TE_ERR_INVALID, "changed() is a loop's");
	for (size_t i = 0; i < arguments->n; i++)
		te_value_append(run, now.list, arguments->list[i]);
	same = te_value_equal(run, self.loop->changed, now);
	self.loop->changed = now;
	return TE_VALUE_BOOL(!same);
}

static TeValue
cycler_next(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		item;

	if (self.kind != TE_V_CYCLER)
		te_template_fail(run, TE_ERR_INVALID, "next() is a cycler's");
	item = self.list->items[self.list->at];
	self.list->at = (self.list->at + 1) % self.list->n;
	return item;
}

const TeTemplateRow te_template_loop_methods[] = {
	{"cycle",.any = loop_cycle},
	{"changed",.any = loop_changed},
	{"next", cycler_next},
	{NULL}
};

/* ---- global functions ---- */

static TeValue
global_range(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		start = te_value_need_int(run, arguments[0], "range()'s argument");
	int64_t		stop = te_given(arguments[1]) ? te_value_need_int(run, arguments[1], "range()'s argument") : start;
	int64_t		step = te_given(arguments[2]) ? te_value_need_int(run, arguments[2], "range()'s step") : 1;
	TeValue		result = te_value_list(run, TE_V_LIST);

	if (!te_given(arguments[1]))
		start = 0;
	if (step == 0)
		te_template_fail(run, TE_ERR_INVALID, "range()'s step is zero");
	for (int64_t i = start; step > 0 ? i < stop : i > stop;)
	{
		if (result.list->n == TE_TEMPLATE_RANGE)
			te_template_fail(run, TE_ERR_LIMIT, "range() of more than %d numbers", TE_TEMPLATE_RANGE);
		te_value_append(run, result.list, TE_VALUE_INT(i));
		if (__builtin_add_overflow(i, step, &i))
			break;
	}
	return result;
}

/* Of a dictionary or pairs, and of named arguments. */
static TeValue
global_dict(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	size_t		n = arguments->n - arguments->n_names;
	TeValue		result = te_value_dict(run);

	if (n > 1)
		te_template_fail(run, TE_ERR_INVALID, "dict() of more than one value");
	if (n == 1 && arguments->list[0].kind == TE_V_DICT)
		result = dict_copy(run, arguments->list[0], NULL);
	else if (n == 1)
	{
		const TeValueList *pairs = te_value_iterate(run, arguments->list[0]);

		for (size_t i = 0; i < pairs->n; i++)
		{
			const TeValueList *pair = te_value_iterate(run, pairs->items[i]);

			if (pair->n != 2)
				te_template_fail(run, TE_ERR_INVALID, "dict() wants pairs");
			te_value_put(run, result.dict, pair->items[0], pair->items[1]);
		}
	}
	for (size_t i = 0; i < arguments->n_names; i++)
		te_value_put(run, result.dict, TE_VALUE_STR(arguments->names[i]), arguments->list[n + i]);
	return result;
}

static TeValue
global_namespace(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	TeValue		result = global_dict(run, self, arguments);

	result.kind = TE_V_NAMESPACE;
	return result;
}

static TeValue
global_raise(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		text = te_value_text(run, arguments[0]);

	te_throw(TE_ERR_INVALID, "the chat template says: %.*s", (int) TE_MIN(text.len, (size_t) 1000), text.data);
}

static TeValue
global_joiner(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_list(run, TE_V_JOINER);

	te_value_append(run, result.list, te_given(arguments[0]) ? TE_VALUE_STR(te_value_text(run, arguments[0])) : TE_VALUE_STR(TE_STR(", ")));
	return result;
}

static TeValue
global_cycler(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	TeValue		result = te_value_list(run, TE_V_CYCLER);

	if (arguments->n == 0)
		te_template_fail(run, TE_ERR_INVALID, "cycler() wants something to go through");
	for (size_t i = 0; i < arguments->n; i++)
		te_value_append(run, result.list, arguments->list[i]);
	return result;
}

/* What a letter of strftime() stands for; NULL: nothing here. */
static const char *
time_part(TeArena *arena, const TeTime *now, char letter, bool padded)
{
	static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September",
	"October", "November", "December"};
	static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
	int			hour = now->hour % 12 == 0 ? 12 : now->hour % 12;
	const struct
	{
		char		letter;
		int			number;
	}			numbers[] = {
		{'d', now->day}, {'m', now->month}, {'y', now->year % 100}, {'H', now->hour}, {'I', hour}, {'M', now->minute}, {'S', now->second},
	};

	for (size_t i = 0; i < TE_LENGTH(numbers); i++)
	{
		if (letter == numbers[i].letter)
			return te_format(arena, padded ? "%02d" : "%d", numbers[i].number);
	}
	switch (letter)
	{
		case 'Y':
			return te_format(arena, "%d", now->year);
		case 'B':
			return months[now->month - 1];
		case 'b':
		case 'h':
			return te_format(arena, "%.3s", months[now->month - 1]);
		case 'A':
			return days[now->weekday];
		case 'a':
			return te_format(arena, "%.3s", days[now->weekday]);
		case 'e':
			return te_format(arena, "%2d", now->day);
		case 'p':
			return now->hour < 12 ? "AM" : "PM";
		case 'F':
			return te_format(arena, "%d-%02d-%02d", now->year, now->month, now->day);
		case 'T':
			return te_format(arena, "%02d:%02d:%02d", now->hour, now->minute, now->second);
		case '%':
			return "%";
		default:
			return NULL;
	}
}

static TeValue
global_strftime_now(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeStr		format = te_value_need_text(run, arguments[0], "strftime_now()'s format");
	TeBuffer	buffer;
	TeTime		now;

	te_host_now(&now);
	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < format.len; i++)
	{
		bool		bare = i + 2 < format.len && format.data[i] == '%' && format.data[i + 1] == '-';
		const char *part;

		if (format.data[i] != '%' || i + 1 == format.len)
		{
			te_template_write(run, &buffer, (TeStr) {format.data + i, 1});
			continue;
		}
		i += 1 + bare;
		part = time_part(run->arena, &now, format.data[i], !bare);
		if (part == NULL)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "strftime_now() with \"%.*s\" is not supported", TE_STR_ARGS(format));
		te_template_write(run, &buffer, te_str(part));
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

const TeTemplateRow te_template_functions[] = {
	{"range", global_range, 1, {"start", "stop", "step"}},
	{"dict",.any = global_dict},
	{"namespace",.any = global_namespace},
	{"raise_exception", global_raise, 1, {"message"}},
	{"strftime_now", global_strftime_now, 1, {"format"}},
	{"joiner", global_joiner, 0, {"sep"}},
	{"cycler",.any = global_cycler},
	{NULL}
};
