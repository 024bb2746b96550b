/*-------------------------------------------------------------------------
 * template_eval.c
 *	  Chat templates: running expressions.
 *
 * To add a kind of expression: a function, and its row in `evaluators`.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include <math.h>

/* ---- calls ---- */

const TeTemplateRow *
te_template_find(const TeTemplateRow *table, TeStr name)
{
	for (; table->name != NULL; table++)
	{
		if (te_str_is(name, table->name))
			return table;
	}
	return NULL;
}

const TeTemplateRow *
te_template_filter(TeStr name)
{
	const TeTemplateRow *row = te_template_find(te_template_filters, name);

	return row != NULL ? row : te_template_find(te_template_list_filters, name);
}

/* The place of a named argument. */
static size_t
parameter_of(TeTemplateRun *run, const TeTemplateRow *row, TeStr name)
{
	for (size_t i = 0; i < TE_TEMPLATE_PARAMETERS && row->parameters[i] != NULL; i++)
	{
		if (te_str_is(name, row->parameters[i]))
			return i;
	}
	te_template_fail(run, TE_ERR_UNSUPPORTED, "%s() with the argument \"%.*s\" is not supported", row->name, TE_STR_ARGS(name));
}

TeValue
te_template_call_row(TeTemplateRun *run, const TeTemplateRow *row, TeValue self, const TeTemplateArguments *arguments)
{
	TeValue		bound[TE_TEMPLATE_PARAMETERS];
	size_t		n = arguments->n - arguments->n_names;
	int			n_required = 0;

	if (row->any != NULL)
		return row->any(run, self, arguments);
	for (size_t i = 0; i < TE_TEMPLATE_PARAMETERS; i++)
		bound[i].kind = TE_V_MISSING;
	for (size_t i = 0; i < n; i++)
	{
		if (i == TE_TEMPLATE_PARAMETERS || row->parameters[i] == NULL)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "%s() with %zu arguments is not supported", row->name, n);
		bound[i] = arguments->list[i];
	}
	for (size_t i = 0; i < arguments->n_names; i++)
		bound[parameter_of(run, row, arguments->names[i])] = arguments->list[n + i];
	while (n_required < row->required && te_given(bound[n_required]))
		n_required++;
	if (n_required < row->required)
		te_template_fail(run, TE_ERR_INVALID, "%s() wants the argument \"%s\"", row->name, row->parameters[n_required]);
	return row->call(run, self, bound);
}

TeValue
te_template_call(TeTemplateRun *run, TeValue function, const TeTemplateArguments *arguments)
{
	if (function.kind == TE_V_FUNCTION)
		return te_template_call_row(run, function.function, TE_VALUE_NONE, arguments);
	if (function.kind == TE_V_METHOD)
		return te_template_call_row(run, function.bound->method, function.bound->self, arguments);
	if (function.kind == TE_V_MACRO)
		return te_template_call_macro(run, function.macro, arguments);
	if (function.kind == TE_V_JOINER)
		return TE_VALUE_STR(function.list->at++ == 0 ? TE_STR("") : function.list->items[0].text);
	if (function.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(function.text));
	te_template_fail(run, TE_ERR_INVALID, "a %s cannot be called", te_value_type(function));
}

/* f(*list) and f(**names): one argument for each of their items. */
static void
spread(TeTemplateRun *run, TeValue value, bool named, TeValueList *list, TeValueDict *names)
{
	const TeValueList *items;

	if (!named)
	{
		items = te_value_iterate(run, value);
		for (size_t i = 0; i < items->n; i++)
			te_value_append(run, list, items->items[i]);
		return;
	}
	if (value.kind != TE_V_DICT)
		te_template_fail(run, TE_ERR_INVALID, "\"**\" of %s", te_value_type(value));
	for (size_t i = 0; i < value.dict->n; i++)
	{
		te_value_need_text(run, value.dict->keys[i], "an argument's name");
		te_value_put(run, names, value.dict->keys[i], value.dict->values[i]);
	}
}

/* The arguments of a node: first those without a name. */
static TeTemplateArguments
arguments_of(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValueList list = {.capacity = node->n,.items = te_new_array(run->arena, TeValue, node->n)};
	TeValueDict named = {0};
	TeStr	   *names;

	for (size_t i = 0; i < node->n; i++)
	{
		const TeTemplateNode *item = node->items[i];
		bool		whole = item->kind != TE_T_KEYWORD && item->kind != TE_T_SPREAD;
		TeValue		value = te_template_eval(run, scope, whole ? item : item->a);

		if (whole)
			te_value_append(run, &list, value);
		else if (item->kind == TE_T_KEYWORD)
			te_value_put(run, &named, TE_VALUE_STR(item->text), value);
		else
			spread(run, value, item->text.len == 2, &list, &named);
	}
	names = te_new_array(run->arena, TeStr, named.n);
	for (size_t i = 0; i < named.n; i++)
	{
		names[i] = named.keys[i].text;
		te_value_append(run, &list, named.values[i]);
	}
	return (TeTemplateArguments) {list.items, list.n, names, named.n};
}

static TeValue
eval_called(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		function = te_template_eval(run, scope, node->a);
	TeTemplateArguments arguments = arguments_of(run, scope, node);

	run->line = node->line;
	return te_template_call(run, function, &arguments);
}

TeValue
te_template_apply_filters(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node, TeValue of)
{
	TeTemplateArguments arguments;

	te_template_enter(run);
	if (node->a != NULL && node->a->kind == TE_T_FILTER)
		of = te_template_apply_filters(run, scope, node->a, of);
	else if (node->a != NULL)
		of = te_template_eval(run, scope, node->a);
	te_template_leave(run);
	run->line = node->line;
	if (node->row == NULL)
		te_template_fail(run, TE_ERR_UNSUPPORTED, "the filter \"%.*s\" is not supported", TE_STR_ARGS(node->text));
	arguments = arguments_of(run, scope, node);
	return te_template_call_row(run, node->row, of, &arguments);
}

static TeValue
eval_filter(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return te_template_apply_filters(run, scope, node, TE_VALUE_NONE);
}

static TeValue
eval_test(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		of = te_template_eval(run, scope, node->a);
	TeTemplateArguments arguments = arguments_of(run, scope, node);

	run->line = node->line;
	if (node->row == NULL)
		te_template_fail(run, TE_ERR_UNSUPPORTED, "the test \"%.*s\" is not supported", TE_STR_ARGS(node->text));
	return te_template_call_row(run, node->row, of, &arguments);
}

/* ---- members ---- */

/* The methods that values of a kind have; NULL: none. */
static const TeTemplateRow *
methods_of(TeValueKind kind)
{
	static const TeTemplateRow *const tables[TE_V_JOINER + 1] = {
		[TE_V_STRING] = te_template_string_methods,
		[TE_V_DICT] = te_template_dict_methods,
		[TE_V_LIST] = te_template_list_methods,
		[TE_V_TUPLE] = te_template_list_methods,
		[TE_V_LOOP] = te_template_loop_methods,
	};

	return tables[kind];
}

static TeValue
no_member(TeTemplateRun *run, TeValue value, TeStr name)
{
	return te_value_undefined(te_format(run->arena, "a %s has no attribute \"%.*s\"", te_value_type(value), TE_STR_ARGS(name)));
}

/* An item of the loop, or what else is known of its turn. */
static TeValue
loop_member(TeTemplateRun *run, const TeTemplateLoop *loop, TeStr name)
{
	int64_t		i = (int64_t) loop->index;
	int64_t		n = (int64_t) loop->list->n;
	const struct
	{
		const char *name;
		TeValue		value;
	}			members[] = {
		{"index", TE_VALUE_INT(i + 1)}, {"index0", TE_VALUE_INT(i)}, {"revindex", TE_VALUE_INT(n - i)}, {"revindex0", TE_VALUE_INT(n - i - 1)},
		{"first", TE_VALUE_BOOL(i == 0)}, {"last", TE_VALUE_BOOL(i + 1 == n)}, {"length", TE_VALUE_INT(n)},
		{"depth", TE_VALUE_INT(1)}, {"depth0", TE_VALUE_INT(0)},
		{"previtem", i > 0 ? loop->list->items[i - 1] : te_value_undefined("there is no previous item")},
		{"nextitem", i + 1 < n ? loop->list->items[i + 1] : te_value_undefined("there is no next item")},
	};

	for (size_t k = 0; k < TE_LENGTH(members); k++)
	{
		if (te_str_is(name, members[k].name))
			return members[k].value;
	}
	return TE_VALUE_MISSING;
}

/* What a value has by itself, as Python's getattr() finds it; MISSING: nothing. */
static TeValue
own_member(TeTemplateRun *run, TeValue value, TeStr name)
{
	const TeTemplateRow *table = methods_of(value.kind);
	const TeTemplateRow *method = table != NULL ? te_template_find(table, name) : NULL;
	TeTemplateBound *bound;

	if (value.kind == TE_V_NAMESPACE)
	{
		const TeValue *found = te_value_get(run, value.dict, TE_VALUE_STR(name));

		return found != NULL ? *found : TE_VALUE_MISSING;
	}
	if (value.kind == TE_V_CYCLER && te_str_is(name, "current"))
		return value.list->items[value.list->at];
	if (value.kind == TE_V_CYCLER)
		method = te_template_find(te_template_loop_methods, name);
	if (method == NULL)
		return value.kind == TE_V_LOOP ? loop_member(run, value.loop, name) : TE_VALUE_MISSING;
	bound = te_new(run->arena, TeTemplateBound);
	*bound = (TeTemplateBound) {method, value};
	return (TeValue) {.kind = TE_V_METHOD,.bound = bound};
}

TeValue
te_template_attribute(TeTemplateRun *run, TeValue value, TeStr name)
{
	TeValue		own;
	const TeValue *item;

	if (value.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(value.text));
	own = own_member(run, value, name);
	if (te_given(own))
		return own;
	item = value.kind == TE_V_DICT ? te_value_get(run, value.dict, TE_VALUE_STR(name)) : NULL;
	return item != NULL ? *item : no_member(run, value, name);
}

/* A list's or string's, counted from the end where negative. */
static TeValue
item_at(TeTemplateRun *run, TeValue value, int64_t i)
{
	int64_t		n = (int64_t) (value.kind == TE_V_STRING ? te_text_length(value.text) : value.list->n);
	size_t		from;

	i += i < 0 ? n : 0;
	if (i < 0 || i >= n)
		return te_value_undefined("there is no item of that number");
	if (value.kind != TE_V_STRING)
		return value.list->items[i];
	te_template_charge(run, value.text.len / 64);
	from = te_text_offset(value.text, (size_t) i);
	return TE_VALUE_STR(((TeStr) {value.text.data + from, te_text_offset((TeStr) {value.text.data + from, value.text.len - from}, 1)}));
}

TeValue
te_template_item(TeTemplateRun *run, TeValue value, TeValue index)
{
	const TeValue *item = value.kind == TE_V_DICT ? te_value_get(run, value.dict, index) : NULL;
	TeValue		own = TE_VALUE_MISSING;

	if (value.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(value.text));
	if (item != NULL)
		return *item;
	if ((te_is_list(value) || value.kind == TE_V_STRING) && (index.kind == TE_V_INT || index.kind == TE_V_BOOL))
		return item_at(run, value, te_value_need_int(run, index, "an index"));
	if (index.kind == TE_V_STRING)
		own = own_member(run, value, index.text);
	return te_given(own) ? own : no_member(run, value, index.kind == TE_V_STRING ? index.text : te_value_repr(run, index));
}

/* A part of a path that is a number is an index. */
static TeValue
path_part(TeTemplateRun *run, TeValue value, TeStr part)
{
	int64_t		i = 0;

	if (part.len == 0 || part.len > 9)
		return te_template_item(run, value, TE_VALUE_STR(part));
	for (size_t k = 0; k < part.len; k++)
	{
		if (part.data[k] < '0' || part.data[k] > '9')
			return te_template_item(run, value, TE_VALUE_STR(part));
		i = i * 10 + (part.data[k] - '0');
	}
	return te_template_item(run, value, TE_VALUE_INT(i));
}

TeValue
te_template_path(TeTemplateRun *run, TeValue value, TeValue path, TeValue fallback)
{
	TeStr		rest = path.text;

	if (path.kind != TE_V_STRING)
		return te_template_item(run, value, path);
	while (true)
	{
		size_t		dot = te_text_find(rest, TE_STR("."), 0);
		size_t		len = TE_MIN(dot, rest.len);

		value = path_part(run, value, (TeStr) {rest.data, len});
		if (value.kind == TE_V_UNDEFINED && te_given(fallback))
			value = fallback;
		if (dot == SIZE_MAX)
			return value;
		rest = (TeStr) {rest.data + len + 1, rest.len - len - 1};
	}
}

static TeValue
eval_attribute(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = te_template_eval(run, scope, node->a);

	run->line = node->line;
	return te_template_attribute(run, value, node->text);
}

static TeValue
eval_optional(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return node != NULL ? te_template_eval(run, scope, node) : TE_VALUE_MISSING;
}

static TeValue
eval_item(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = te_template_eval(run, scope, node->a);
	const TeTemplateNode *index = node->b;
	TeValue		bounds[3];

	run->line = node->line;
	if (index->kind != TE_T_SLICE)
		return te_template_item(run, value, te_template_eval(run, scope, index));
	if (value.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(value.text));
	if (!te_is_list(value) && value.kind != TE_V_STRING)
		te_template_fail(run, TE_ERR_INVALID, "a %s cannot be sliced", te_value_type(value));
	bounds[0] = eval_optional(run, scope, index->a);
	bounds[1] = eval_optional(run, scope, index->b);
	bounds[2] = eval_optional(run, scope, index->c);
	return te_value_slice(run, value, bounds[0], bounds[1], bounds[2]);
}

/* ---- arithmetic ---- */

static TE_NORETURN void
no_operation(TeTemplateRun *run, TeStr operator, TeValue a, TeValue b)
{
	if (a.kind == TE_V_UNDEFINED || b.kind == TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "%.*s", TE_STR_ARGS(a.kind == TE_V_UNDEFINED ? a.text : b.text));
	te_template_fail(run, TE_ERR_INVALID, "\"%.*s\" of %s and %s", TE_STR_ARGS(operator), te_value_type(a), te_value_type(b));
}

static double
real_result(TeTemplateRun *run, char operator, bool twice, double a, double b)
{
	double		rest;

	if ((operator == '/' || operator == '%') && b == 0)
		te_template_fail(run, TE_ERR_INVALID, "division by zero");
	if (operator == '*')
		return twice ? pow(a, b) : a * b;
	if (operator == '/')
		return twice ? floor(a / b) : a / b;
	if (operator == '+' || operator == '-')
		return operator == '+' ? a + b : a - b;
	rest = fmod(a, b);
	return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* a to the power b, b >= 0; false where it does not fit. */
static bool
whole_power(int64_t a, int64_t b, int64_t *result)
{
	*result = 1;
	if (a == 0 || a == 1 || a == -1)
	{
		*result = a == 0 ? b == 0 : a == 1 || b % 2 == 0 ? 1 : -1;
		return true;
	}
	for (int64_t i = 0; i < b; i++)
	{
		if (__builtin_mul_overflow(*result, a, result))
			return false;
	}
	return true;
}

/* Python's integers have no bound; what does not fit into 64 bits is an error here. */
static TeValue
whole_result(TeTemplateRun *run, TeStr operator, int64_t a, int64_t b)
{
	bool		twice = operator.len == 2;
	char		c = operator.data[0];
	int64_t		result = 0;
	bool		fits;

	if ((c == '/' && !twice) || (twice && c == '*' && b < 0) || ((c == '/' || c == '%') && b == 0))
		return TE_VALUE_REAL(real_result(run, c, twice, (double) a, (double) b));
	if (c == '*')
		fits = twice ? whole_power(a, b, &result) : !__builtin_mul_overflow(a, b, &result);
	else if (c == '+' || c == '-')
		fits = c == '+' ? !__builtin_add_overflow(a, b, &result) : !__builtin_sub_overflow(a, b, &result);
	else
	{
		bool		down;

		fits = b != -1 || a != INT64_MIN;
		result = fits ? a / b : 0;
		down = fits && a % b != 0 && (a < 0) != (b < 0);
		result = c == '/' ? result - down : fits && b != -1 ? a % b + (down ? b : 0) : 0;
	}
	if (!fits)
		te_template_fail(run, TE_ERR_UNSUPPORTED, "numbers beyond 64 bits are not supported");
	return TE_VALUE_INT(result);
}

static TeValue
repeated(TeTemplateRun *run, TeValue value, int64_t times)
{
	TeValue		result = te_value_list(run, value.kind == TE_V_STRING ? TE_V_LIST : value.kind);
	TeBuffer	text;

	te_buffer_init(&text, run->arena);
	for (int64_t i = 0; i < times; i++)
	{
		te_template_charge(run, 1);
		if (value.kind == TE_V_STRING)
			te_template_write(run, &text, value.text);
		for (size_t k = 0; value.kind != TE_V_STRING && k < value.list->n; k++)
			te_value_append(run, result.list, value.list->items[k]);
	}
	return value.kind == TE_V_STRING ? TE_VALUE_STR(te_buffer_text(&text)) : result;
}

static TeValue
joined(TeTemplateRun *run, TeValue a, TeValue b)
{
	TeValue		result = te_value_list(run, a.kind);
	TeBuffer	text;

	if (a.kind == TE_V_STRING)
	{
		te_buffer_init(&text, run->arena);
		te_template_write(run, &text, a.text);
		te_template_write(run, &text, b.text);
		return TE_VALUE_STR(te_buffer_text(&text));
	}
	for (size_t i = 0; i < a.list->n; i++)
		te_value_append(run, result.list, a.list->items[i]);
	for (size_t i = 0; i < b.list->n; i++)
		te_value_append(run, result.list, b.list->items[i]);
	return result;
}

static bool
is_sequence(TeValue value)
{
	return value.kind == TE_V_STRING || te_is_list(value);
}

static bool
is_whole(TeValue value)
{
	return value.kind == TE_V_INT || value.kind == TE_V_BOOL;
}

/* "..." % value, or % (values) */
static TeValue
formatted(TeTemplateRun *run, TeStr format, TeValue value)
{
	TeTemplateArguments arguments = {&value, 1, NULL, 0};

	if (value.kind == TE_V_TUPLE)
		arguments = (TeTemplateArguments) {value.list->items, value.list->n, NULL, 0};
	return TE_VALUE_STR(te_text_printf(run, format, &arguments));
}

static TeValue
eval_binary(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		a = te_template_eval(run, scope, node->a);
	TeValue		b = te_template_eval(run, scope, node->b);
	char		c = node->text.data[0];
	bool		once = node->text.len == 1;

	run->line = node->line;
	if (is_whole(a) && is_whole(b))
		return whole_result(run, node->text, te_value_need_int(run, a, ""), te_value_need_int(run, b, ""));
	if (te_value_is_number(a) && te_value_is_number(b))
		return TE_VALUE_REAL(real_result(run, c, !once, te_value_real(a), te_value_real(b)));
	if (c == '+' && is_sequence(a) && a.kind == b.kind)
		return joined(run, a, b);
	if (c == '*' && once && is_sequence(a) && is_whole(b))
		return repeated(run, a, te_value_need_int(run, b, ""));
	if (c == '*' && once && is_sequence(b) && is_whole(a))
		return repeated(run, b, te_value_need_int(run, a, ""));
	if (c == '%' && a.kind == TE_V_STRING)
		return formatted(run, a.text, b);
	no_operation(run, node->text, a, b);
}

static TeValue
eval_negate(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = te_template_eval(run, scope, node->a);

	run->line = node->line;
	if (value.kind == TE_V_FLOAT)
		return TE_VALUE_REAL(-value.real);
	return whole_result(run, TE_STR("-"), 0, te_value_need_int(run, value, "what is negated"));
}

static TeValue
eval_plus(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = te_template_eval(run, scope, node->a);

	return value.kind == TE_V_FLOAT ? value : TE_VALUE_INT(te_value_need_int(run, value, "a number"));
}

static TeValue
eval_concat(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeBuffer	text;

	te_buffer_init(&text, run->arena);
	for (size_t i = 0; i < node->n; i++)
		te_template_write(run, &text, te_value_text(run, te_template_eval(run, scope, node->items[i])));
	return TE_VALUE_STR(te_buffer_text(&text));
}

/* ---- comparison and logic ---- */

static bool
holds(TeTemplateRun *run, TeStr operator, TeValue a, TeValue b)
{
	bool		nan = (a.kind == TE_V_FLOAT && a.real != a.real) || (b.kind == TE_V_FLOAT && b.real != b.real);
	int			order;

	if (te_str_is(operator, "=="))
		return te_value_equal(run, a, b);
	if (te_str_is(operator, "!="))
		return !te_value_equal(run, a, b);
	if (te_str_is(operator, "in"))
		return te_value_contains(run, b, a);
	if (te_str_is(operator, "not in"))
		return !te_value_contains(run, b, a);
	order = te_value_compare(run, a, b);
	if (operator.data[0] == '<')
		return !nan && (order < 0 || (operator.len == 2 && order == 0));
	return !nan && (order > 0 || (operator.len == 2 && order == 0));
}

static TeValue
eval_compare(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		left = te_template_eval(run, scope, node->a);

	for (size_t i = 0; i < node->n; i++)
	{
		TeValue		right = te_template_eval(run, scope, node->items[i]->a);

		run->line = node->line;
		if (!holds(run, node->items[i]->text, left, right))
			return TE_VALUE_BOOL(false);
		left = right;
	}
	return TE_VALUE_BOOL(true);
}

static TeValue
eval_not(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return TE_VALUE_BOOL(!te_value_true(te_template_eval(run, scope, node->a)));
}

/* The operand itself, not its truth. */
static TeValue
eval_and(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		left = te_template_eval(run, scope, node->a);

	return te_value_true(left) ? te_template_eval(run, scope, node->b) : left;
}

static TeValue
eval_or(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		left = te_template_eval(run, scope, node->a);

	return te_value_true(left) ? left : te_template_eval(run, scope, node->b);
}

static TeValue
eval_condition(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	if (te_value_true(te_template_eval(run, scope, node->a)))
		return te_template_eval(run, scope, node->b);
	if (node->c == NULL)
		return te_value_undefined("a condition without \"else\" was false");
	return te_template_eval(run, scope, node->c);
}

/* ---- the rest ---- */

static TeValue
eval_const(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return node->value;
}

static TeValue
eval_name(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return te_template_lookup(run, scope, node->text);
}

static TeValue
eval_list(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		result = te_value_list(run, node->kind == TE_T_LIST ? TE_V_LIST : TE_V_TUPLE);

	for (size_t i = 0; i < node->n; i++)
		te_value_append(run, result.list, te_template_eval(run, scope, node->items[i]));
	return result;
}

static TeValue
eval_dict(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		result = te_value_dict(run);

	for (size_t i = 0; i + 1 < node->n; i += 2)
	{
		TeValue		key = te_template_eval(run, scope, node->items[i]);

		te_value_put(run, result.dict, key, te_template_eval(run, scope, node->items[i + 1]));
	}
	return result;
}

static TeValue (*const evaluators[TE_T_N_KINDS]) (TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node) =
{
	[TE_T_CONST] = eval_const,
	[TE_T_NAME] = eval_name,
	[TE_T_LIST] = eval_list,
	[TE_T_TUPLE] = eval_list,
	[TE_T_DICT] = eval_dict,
	[TE_T_CALLED] = eval_called,
	[TE_T_FILTER] = eval_filter,
	[TE_T_TEST] = eval_test,
	[TE_T_ATTRIBUTE] = eval_attribute,
	[TE_T_ITEM] = eval_item,
	[TE_T_NOT] = eval_not,
	[TE_T_NEGATE] = eval_negate,
	[TE_T_PLUS] = eval_plus,
	[TE_T_AND] = eval_and,
	[TE_T_OR] = eval_or,
	[TE_T_BINARY] = eval_binary,
	[TE_T_CONCAT] = eval_concat,
	[TE_T_COMPARE] = eval_compare,
	[TE_T_CONDITION] = eval_condition,
};

TeValue
te_template_eval(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		result;

	te_template_enter(run);
	te_template_charge(run, 1);
	result = evaluators[node->kind] (run, scope, node);
	te_template_leave(run);
	return result;
}
