/*-------------------------------------------------------------------------
 * template_lists.c
 *	  Chat templates: filters of lists, and of all that has items.
 *
 * "map", "select" and their like make generators in Python: true whatever they have, and empty once they were gone over.
 * So are the lists that they make here (`lazy`).
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

/* Strings compare without case, unless it is asked for. */
static TeValue
sort_key(TeTemplateRun *run, TeValue item, TeValue attribute, bool cased)
{
	if (te_given(attribute) && attribute.kind != TE_V_NONE)
		item = te_template_path(run, item, attribute, TE_VALUE_MISSING);
	return item.kind == TE_V_STRING && !cased ? TE_VALUE_STR(te_text_lower(run, item.text)) : item;
}

/* An item with what it is sorted by. */
typedef struct Keyed
{
	TeValue		key;
	TeValue		item;
} Keyed;

/* Merges the halves of items[0..n): what is equal keeps its order. */
static void
merge_sort(TeTemplateRun *run, Keyed *items, Keyed *work, size_t n, bool reverse)
{
	size_t		half = n / 2;
	size_t		i = 0;
	size_t		k = half;

	if (n < 2)
		return;
	merge_sort(run, items, work, half, reverse);
	merge_sort(run, items + half, work, n - half, reverse);
	memcpy(work, items, n * sizeof(Keyed));
	te_template_charge(run, n);
	for (size_t at = 0; at < n; at++)
	{
		int			order = i == half ? 1 : k == n ? -1 : te_value_compare(run, work[i].key, work[k].key);

		items[at] = i < half && (k == n || (reverse ? order >= 0 : order <= 0)) ? work[i++] : work[k++];
	}
}

/* A list as keyed items, sorted. */
static Keyed *
sorted_items(TeTemplateRun *run, const TeValueList *list, TeValue attribute, bool cased, bool reverse)
{
	Keyed	   *items = te_new_array(run->arena, Keyed, list->n);

	for (size_t i = 0; i < list->n; i++)
		items[i] = (Keyed) {sort_key(run, list->items[i], attribute, cased), list->items[i]};
	merge_sort(run, items, te_new_array(run->arena, Keyed, list->n), list->n, reverse);
	return items;
}

static TeValue
filter_sort(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	Keyed	   *items = sorted_items(run, list, arguments[2], te_value_true(arguments[1]), te_value_true(arguments[0]));
	TeValue		result = te_value_list(run, TE_V_LIST);

	for (size_t i = 0; i < list->n; i++)
		te_value_append(run, result.list, items[i].item);
	return result;
}

static TeValue
pair(TeTemplateRun *run, TeValue a, TeValue b)
{
	TeValue		result = te_value_list(run, TE_V_TUPLE);

	te_value_append(run, result.list, a);
	te_value_append(run, result.list, b);
	return result;
}

/* By key, or by value. */
static TeValue
filter_dictsort(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	bool		by_value = arguments[1].kind == TE_V_STRING && te_str_is(arguments[1].text, "value");
	TeValue		pairs = te_value_list(run, TE_V_LIST);
	TeValue		by = TE_VALUE_INT(by_value);
	TeValue		sorting[] = {arguments[2], arguments[0], by};

	if (self.kind != TE_V_DICT)
		te_template_fail(run, TE_ERR_INVALID, "dictsort() of %s", te_value_type(self));
	for (size_t i = 0; i < self.dict->n; i++)
		te_value_append(run, pairs.list, pair(run, self.dict->keys[i], self.dict->values[i]));
	return filter_sort(run, pairs, sorting);
}

static TeValue
filter_length(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	if (self.kind == TE_V_STRING)
		return TE_VALUE_INT((int64_t) te_text_length(self.text));
	if (self.kind == TE_V_DICT)
		return TE_VALUE_INT((int64_t) self.dict->n);
	if (self.kind == TE_V_UNDEFINED)
		return TE_VALUE_INT(0);
	if (!te_is_list(self) || self.list->lazy)
		te_template_fail(run, TE_ERR_INVALID, "a %s has no length", te_is_list(self) ? "generator" : te_value_type(self));
	return TE_VALUE_INT((int64_t) self.list->n);
}

static TeValue
filter_first(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);

	return list->n > 0 ? list->items[0] : te_value_undefined("there is no first item");
}

static TeValue
filter_last(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);

	return list->n > 0 ? list->items[list->n - 1] : te_value_undefined("there is no last item");
}

static TeValue
filter_list(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_list(run, TE_V_LIST);

	*result.list = *te_value_iterate(run, self);
	result.list->capacity = result.list->n;
	return result;
}

static TeValue
filter_reverse(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeBuffer	text;

	te_buffer_init(&text, run->arena);
	for (size_t i = list->n; i > 0; i--)
	{
		if (self.kind == TE_V_STRING)
			te_template_write(run, &text, list->items[i - 1].text);
		else
			te_value_append(run, result.list, list->items[i - 1]);
	}
	result.list->lazy = true;
	return self.kind == TE_V_STRING ? TE_VALUE_STR(te_buffer_text(&text)) : result;
}

static TeValue
filter_join(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeStr		between = te_value_text(run, arguments[0]);
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < list->n; i++)
	{
		TeValue		item = list->items[i];

		if (te_given(arguments[1]) && arguments[1].kind != TE_V_NONE)
			item = te_template_path(run, item, arguments[1], TE_VALUE_MISSING);
		if (i > 0)
			te_template_write(run, &buffer, between);
		te_template_write(run, &buffer, te_value_text(run, item));
	}
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

static TeValue
filter_items(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	TeValue		result = te_value_list(run, TE_V_LIST);

	if (self.kind != TE_V_DICT && self.kind != TE_V_UNDEFINED)
		te_template_fail(run, TE_ERR_INVALID, "items() of %s", te_value_type(self));
	for (size_t i = 0; self.kind == TE_V_DICT && i < self.dict->n; i++)
		te_value_append(run, result.list, pair(run, self.dict->keys[i], self.dict->values[i]));
	result.list->lazy = true;
	return result;
}

/* The first of those that are equal. */
static TeValue
filter_unique(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeValue		seen = te_value_list(run, TE_V_LIST);

	for (size_t i = 0; i < list->n; i++)
	{
		TeValue		key = sort_key(run, list->items[i], arguments[1], te_value_true(arguments[0]));

		if (te_value_contains(run, seen, key))
			continue;
		te_value_append(run, seen.list, key);
		te_value_append(run, result.list, list->items[i]);
	}
	result.list->lazy = true;
	return result;
}

static TeValue
extreme(TeTemplateRun *run, TeValue self, const TeValue *arguments, int sign)
{
	const TeValueList *list = te_value_iterate(run, self);
	bool		cased = te_value_true(arguments[0]);
	size_t		best = 0;

	if (list->n == 0)
		return te_value_undefined("there are no items");
	for (size_t i = 1; i < list->n; i++)
	{
		if (sign * te_value_compare(run, sort_key(run, list->items[i], arguments[1], cased),
									sort_key(run, list->items[best], arguments[1], cased)) > 0)
			best = i;
	}
	return list->items[best];
}

static TeValue
filter_min(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return extreme(run, self, arguments, -1);
}

static TeValue
filter_max(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	return extreme(run, self, arguments, 1);
}

static TeValue
filter_sum(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeValue		sum = te_given(arguments[1]) ? arguments[1] : TE_VALUE_INT(0);

	for (size_t i = 0; i < list->n; i++)
	{
		TeValue		item = list->items[i];
		int64_t		whole;

		if (te_given(arguments[0]) && arguments[0].kind != TE_V_NONE)
			item = te_template_path(run, item, arguments[0], TE_VALUE_MISSING);
		if (!te_value_is_number(item) || !te_value_is_number(sum))
			te_template_fail(run, TE_ERR_INVALID, "sum() of %s", te_value_type(item));
		if (item.kind == TE_V_FLOAT || sum.kind == TE_V_FLOAT)
			sum = TE_VALUE_REAL(te_value_real(sum) + te_value_real(item));
		else if (!__builtin_add_overflow(te_value_need_int(run, sum, ""), te_value_need_int(run, item, ""), &whole))
			sum = TE_VALUE_INT(whole);
		else
			te_template_fail(run, TE_ERR_UNSUPPORTED, "numbers beyond 64 bits are not supported");
	}
	return sum;
}

/* Lists of so many items; the last one is filled up where there is something to fill it with. */
static TeValue
filter_batch(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	int64_t		n = te_value_need_int(run, arguments[0], "batch()'s size");
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeValue		batch = te_value_list(run, TE_V_LIST);

	if (n < 1)
		te_template_fail(run, TE_ERR_INVALID, "batch()'s size must be positive");
	for (size_t i = 0; i < list->n; i++)
	{
		if (batch.list->n == (size_t) n)
		{
			te_value_append(run, result.list, batch);
			batch = te_value_list(run, TE_V_LIST);
		}
		te_value_append(run, batch.list, list->items[i]);
	}
	while (batch.list->n > 0 && batch.list->n < (size_t) n && te_given(arguments[1]) && arguments[1].kind != TE_V_NONE)
		te_value_append(run, batch.list, arguments[1]);
	if (batch.list->n > 0)
		te_value_append(run, result.list, batch);
	result.list->lazy = true;
	return result;
}

/* (key, items) for each key, in order. */
static TeValue
filter_groupby(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	bool		cased = te_value_true(arguments[2]);
	Keyed	   *items = sorted_items(run, list, arguments[0], cased, false);
	TeValue		result = te_value_list(run, TE_V_LIST);
	TeValue		group = te_value_list(run, TE_V_LIST);

	for (size_t i = 0; i < list->n; i++)
	{
		if (i == 0 || !te_value_equal(run, items[i].key, items[i - 1].key))
		{
			group = te_value_list(run, TE_V_LIST);
			te_value_append(run, result.list, pair(run, te_template_path(run, items[i].item, arguments[0], TE_VALUE_MISSING), group));
		}
		te_value_append(run, group.list, items[i].item);
	}
	return result;
}

/* ---- with a filter or a test for each item ---- */

/* The arguments behind the first so many. */
static TeTemplateArguments
rest_of(const TeTemplateArguments *arguments, size_t n)
{
	return (TeTemplateArguments) {arguments->list + n, arguments->n - n, arguments->names, arguments->n_names};
}

static TeValue
named_argument(const TeTemplateArguments *arguments, const char *name)
{
	for (size_t i = 0; i < arguments->n_names; i++)
	{
		if (te_str_is(arguments->names[i], name))
			return arguments->list[arguments->n - arguments->n_names + i];
	}
	return TE_VALUE_MISSING;
}

/* map("upper"), map(attribute="name") */
static TeValue
filter_map(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeValue		attribute = named_argument(arguments, "attribute");
	TeValue		fallback = named_argument(arguments, "default");
	TeValue		result = te_value_list(run, TE_V_LIST);
	const TeTemplateRow *row = NULL;
	TeTemplateArguments rest = {NULL, 0, NULL, 0};

	if (!te_given(attribute))
	{
		TeStr		name = arguments->n > 0 ? te_value_need_text(run, arguments->list[0], "map()'s filter") : TE_STR("");

		row = te_template_filter(name);
		if (row == NULL)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "the filter \"%.*s\" is not supported", TE_STR_ARGS(name));
		rest = rest_of(arguments, 1);
	}
	for (size_t i = 0; i < list->n; i++)
	{
		TeValue		item = row != NULL ? te_template_call_row(run, row, list->items[i], &rest) : te_template_path(run, list->items[i], attribute, fallback);

		te_value_append(run, result.list, item);
	}
	result.list->lazy = true;
	return result;
}

/* Those of which a test, or without one the truth, is as wanted: of the item or of an attribute of it. */
static TeValue
selected(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments, bool by_attribute, bool wanted)
{
	const TeValueList *list = te_value_iterate(run, self);
	TeValue		result = te_value_list(run, TE_V_LIST);
	size_t		at = by_attribute;
	const TeTemplateRow *row = NULL;
	TeTemplateArguments rest = {NULL, 0, NULL, 0};

	if (arguments->n < at)
		te_template_fail(run, TE_ERR_INVALID, "an attribute is wanted");
	if (arguments->n > at)
	{
		TeStr		name = te_value_need_text(run, arguments->list[at], "a test's name");

		row = te_template_find(te_template_tests, name);
		if (row == NULL)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "the test \"%.*s\" is not supported", TE_STR_ARGS(name));
		rest = rest_of(arguments, at + 1);
	}
	for (size_t i = 0; i < list->n; i++)
	{
		TeValue		of = by_attribute ? te_template_path(run, list->items[i], arguments->list[0], TE_VALUE_MISSING) : list->items[i];

		if (row != NULL)
			of = te_template_call_row(run, row, of, &rest);
		if (te_value_true(of) == wanted)
			te_value_append(run, result.list, list->items[i]);
	}
	result.list->lazy = true;
	return result;
}

static TeValue
filter_select(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	return selected(run, self, arguments, false, true);
}

static TeValue
filter_reject(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	return selected(run, self, arguments, false, false);
}

static TeValue
filter_selectattr(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	return selected(run, self, arguments, true, true);
}

static TeValue
filter_rejectattr(TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments)
{
	return selected(run, self, arguments, true, false);
}

const TeTemplateRow te_template_list_filters[] = {
	{"sort", filter_sort, 0, {"reverse", "case_sensitive", "attribute"}},
	{"dictsort", filter_dictsort, 0, {"case_sensitive", "by", "reverse"}},
	{"length", filter_length},
	{"count", filter_length},
	{"first", filter_first},
	{"last", filter_last},
	{"list", filter_list},
	{"reverse", filter_reverse},
	{"join", filter_join, 0, {"d", "attribute"}},
	{"items", filter_items},
	{"unique", filter_unique, 0, {"case_sensitive", "attribute"}},
	{"min", filter_min, 0, {"case_sensitive", "attribute"}},
	{"max", filter_max, 0, {"case_sensitive", "attribute"}},
	{"sum", filter_sum, 0, {"attribute", "start"}},
	{"batch", filter_batch, 1, {"linecount", "fill_with"}},
	{"groupby", filter_groupby, 1, {"attribute", "default", "case_sensitive"}},
	{"map",.any = filter_map},
	{"select",.any = filter_select},
	{"reject",.any = filter_reject},
	{"selectattr",.any = filter_selectattr},
	{"rejectattr",.any = filter_rejectattr},
	{NULL}
};
