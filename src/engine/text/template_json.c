/*-------------------------------------------------------------------------
 * template_json.c
 *	  Chat templates: JSON to values, and values to JSON as Python's json module writes it.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/text.h"

TeValue
te_value_from_json(TeTemplateRun *run, const TeJson *json)
{
	TeValue		result;

	te_template_charge(run, 1);
	switch (json->kind)
	{
		case TE_JSON_NULL:
			return TE_VALUE_NONE;
		case TE_JSON_BOOL:
			return TE_VALUE_BOOL(json->boolean);
		case TE_JSON_INTEGER:
			return TE_VALUE_INT(json->integer);
		case TE_JSON_REAL:
			return TE_VALUE_REAL(json->real);
		case TE_JSON_STRING:
			return TE_VALUE_STR(((TeStr) {json->string.len > 0 ? json->string.data : "", json->string.len}));
		case TE_JSON_ARRAY:
			result = te_value_list(run, TE_V_LIST);
			for (uint32_t i = 0; i < json->n; i++)
				te_value_append(run, result.list, te_value_from_json(run, &json->items[i]));
			return result;
		case TE_JSON_OBJECT:
			break;
	}
	result = te_value_dict(run);
	for (uint32_t i = 0; i < json->n; i++)
	{
		TeStr		key = json->items[i].key;

		te_value_put(run, result.dict, TE_VALUE_STR(((TeStr) {key.len > 0 ? key.data : "", key.len})), te_value_from_json(run, &json->items[i]));
	}
	return result;
}

/* ---- writing ---- */

typedef struct JsonWriter
{
	TeTemplateRun *run;
	const TeJsonStyle *style;
	TeBuffer	buffer;
	size_t		level;
} JsonWriter;

static void write_value(JsonWriter *writer, TeValue value);

static void
put(JsonWriter *writer, TeStr text)
{
	te_template_write(writer->run, &writer->buffer, text);
}

/* As \uXXXX, two of them beyond the first 65536. */
static void
put_escape(JsonWriter *writer, uint32_t c)
{
	if (c >= 0x10000)
		put(writer, te_str(te_format(writer->run->arena, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF))));
	else
		put(writer, te_str(te_format(writer->run->arena, "\\u%04x", c)));
}

static void
write_string(JsonWriter *writer, TeStr text)
{
	static const char from[] = "\"\\\n\r\t\f\b";
	static const char *const to[] = {"\\\"", "\\\\", "\\n", "\\r", "\\t", "\\f", "\\b"};
	const char *p = text.data;
	const char *end = p + text.len;

	put(writer, TE_STR("\""));
	while (p < end)
	{
		const char *start = p;
		uint32_t	c = (uint32_t) te_utf8_next(&p, end);
		const char *special = c > 0 && c < 128 ? strchr(from, (int) c) : NULL;

		if (special != NULL)
			put(writer, te_str(to[special - from]));
		else if (c < 0x20 || (writer->style->ascii && c > 126))
			put_escape(writer, c);
		else
			put(writer, (TeStr) {start, (size_t) (p - start)});
	}
	put(writer, TE_STR("\""));
}

/* A new line at the level, where lines are wanted. */
static void
new_line(JsonWriter *writer)
{
	if (writer->style->indent.data == NULL)
		return;
	put(writer, TE_STR("\n"));
	for (size_t i = 0; i < writer->level; i++)
		put(writer, writer->style->indent);
}

/* Before item i, and (last) behind the last one of any. */
static void
between(JsonWriter *writer, size_t i, bool last)
{
	if (last)
		writer->level--;
	else if (i > 0)
		put(writer, writer->style->item_separator);
	else
		writer->level++;
	new_line(writer);
}

static void
write_list(JsonWriter *writer, const TeValueList *list)
{
	put(writer, TE_STR("["));
	for (size_t i = 0; i < list->n; i++)
	{
		between(writer, i, false);
		write_value(writer, list->items[i]);
	}
	if (list->n > 0)
		between(writer, 0, true);
	put(writer, TE_STR("]"));
}

/* The order of the keys, as numbers. */
static size_t *
order_of(JsonWriter *writer, const TeValueDict *dict)
{
	size_t	   *order = te_new_array(writer->run->arena, size_t, dict->n);

	for (size_t i = 0; i < dict->n; i++)
	{
		size_t		k = i;

		te_template_charge(writer->run, writer->style->sorted ? i : 0);
		while (writer->style->sorted && k > 0 && te_value_compare(writer->run, dict->keys[order[k - 1]], dict->keys[i]) > 0)
		{
			order[k] = order[k - 1];
			k--;
		}
		order[k] = i;
	}
	return order;
}

static void
write_dict(JsonWriter *writer, const TeValueDict *dict)
{
	const size_t *order = order_of(writer, dict);

	put(writer, TE_STR("{"));
	for (size_t i = 0; i < dict->n; i++)
	{
		TeValue		key = dict->keys[order[i]];

		between(writer, i, false);
		if (key.kind == TE_V_STRING)
			write_string(writer, key.text);
		else if (key.kind == TE_V_NONE || te_value_is_number(key))
		{
			put(writer, TE_STR("\""));
			write_value(writer, key);
			put(writer, TE_STR("\""));
		}
		else
			te_template_fail(writer->run, TE_ERR_INVALID, "a %s cannot be a key in JSON", te_value_type(key));
		put(writer, writer->style->key_separator);
		write_value(writer, dict->values[order[i]]);
	}
	if (dict->n > 0)
		between(writer, 0, true);
	put(writer, TE_STR("}"));
}

/* What is neither list nor dictionary. */
static void
write_scalar(JsonWriter *writer, TeValue value)
{
	if (value.kind == TE_V_NONE)
		put(writer, TE_STR("null"));
	else if (value.kind == TE_V_BOOL)
		put(writer, value.boolean ? TE_STR("true") : TE_STR("false"));
	else if (value.kind == TE_V_STRING)
		write_string(writer, value.text);
	else if (value.kind == TE_V_FLOAT && value.real != value.real)
		put(writer, TE_STR("NaN"));
	else if (value.kind == TE_V_FLOAT && value.real - value.real != 0)
		put(writer, value.real > 0 ? TE_STR("Infinity") : TE_STR("-Infinity"));
	else if (te_value_is_number(value))
		put(writer, te_value_text(writer->run, value));
	else
		te_template_fail(writer->run, TE_ERR_INVALID, "tojson: a value of type %s has no form in JSON", te_value_type(value));
}

static void
write_value(JsonWriter *writer, TeValue value)
{
	te_template_enter(writer->run);
	te_template_charge(writer->run, 1);
	if (te_is_list(value) && !value.list->lazy)
		write_list(writer, value.list);
	else if (value.kind == TE_V_DICT)
		write_dict(writer, value.dict);
	else
		write_scalar(writer, value);
	te_template_leave(writer->run);
}

TeStr
te_value_to_json(TeTemplateRun *run, TeValue value, const TeJsonStyle *style)
{
	JsonWriter	writer = {.run = run,.style = style};

	te_buffer_init(&writer.buffer, run->arena);
	write_value(&writer, value);
	return te_buffer_text(&writer.buffer);
}
