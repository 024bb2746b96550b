/*-------------------------------------------------------------------------
 * json_write.c
 *	  Building JSON nodes and writing them as text.
 *
 * An object that is built here or copied by te_json_set_copy() has room for
 * the next power of two of members, at least OBJECT_ROOM, so that te_json_add()
 * need not keep a capacity: it grows exactly when the number of members is
 * such a power.  Objects of the parser have no spare room; they are constant.
 *
 * Numbers are written so that reading gives the same kind and value: integers
 * plain, reals with a point or an exponent and the fewest of 15 to 17 digits
 * that come back equal.  JSON has no infinities and no NaN: they throw.
 * Text is written as UTF-8; only what must be escaped is.
 *-------------------------------------------------------------------------
 */
#include "base/json.h"

#include <math.h>

#define OBJECT_ROOM 8

/* ---- building ---- */

TeJson *
te_json_new_object(TeArena *arena)
{
	TeJson	   *object = te_new(arena, TeJson);

	object->kind = TE_JSON_OBJECT;
	return object;
}

/* n nulls; an array does not grow. */
TeJson *
te_json_new_array(TeArena *arena, size_t n)
{
	TeJson	   *array = te_new(arena, TeJson);

	if (n > UINT32_MAX)
		te_throw(TE_ERR_INVALID, "an array of %zu items is too long", n);
	array->kind = TE_JSON_ARRAY;
	array->n = (uint32_t) n;
	array->items = te_new_array(arena, TeJson, n);
	return array;
}

/* The room that an object of n members has. */
static size_t
object_room(size_t n)
{
	size_t		room = OBJECT_ROOM;

	while (room < n)
		room *= 2;
	return n == 0 ? 0 : room;
}

/* Linear in the members there are: for objects that code builds, not for vocabularies. */
TeJson *
te_json_add(TeArena *arena, TeJson *object, const char *key)
{
	TeStr		name = te_str(key);
	TeJson	   *item;

	te_assert(object->kind == TE_JSON_OBJECT);
	for (uint32_t i = 0; i < object->n; i++)
	{
		item = &object->items[i];
		if (te_str_eq(item->key, name))
		{
			*item = (TeJson) {.kind = TE_JSON_NULL,.key = item->key};
			return item;
		}
	}
	name = te_str_copy(arena, name);
	if (object->n == object_room(object->n))
	{
		TeJson	   *items = te_new_array(arena, TeJson, object_room((size_t) object->n + 1));

		if (object->n > 0)
			memcpy(items, object->items, object->n * sizeof(TeJson));
		object->items = items;
	}
	item = &object->items[object->n++];
	*item = (TeJson) {.kind = TE_JSON_NULL,.key = name};
	return item;
}

/* Replace the value; the key stays. */
static void
set_value(TeJson *node, TeJson value)
{
	value.key = node->key;
	*node = value;
}

/* The bytes stay the caller's, and must live as long as the node. */
void
te_json_set_str(TeJson *node, TeStr value)
{
	set_value(node, (TeJson) {.kind = TE_JSON_STRING,.string = value});
}

void
te_json_set_int(TeJson *node, int64_t value)
{
	set_value(node, (TeJson) {.kind = TE_JSON_INTEGER,.integer = value});
}

void
te_json_set_real(TeJson *node, double value)
{
	set_value(node, (TeJson) {.kind = TE_JSON_REAL,.real = value});
}

void
te_json_set_bool(TeJson *node, bool value)
{
	set_value(node, (TeJson) {.kind = TE_JSON_BOOL,.boolean = value});
}

/* Deep, into the arena: nothing of the copy points into what it was made of. */
void
te_json_set_copy(TeArena *arena, TeJson *node, const TeJson *value)
{
	TeJson		copy = *value;

	if (copy.kind == TE_JSON_STRING)
		copy.string = te_str_copy(arena, value->string);
	else if (copy.kind == TE_JSON_ARRAY || copy.kind == TE_JSON_OBJECT)
	{
		size_t		room = copy.kind == TE_JSON_OBJECT ? object_room(copy.n) : copy.n;

		copy.items = te_new_array(arena, TeJson, room);
		for (uint32_t i = 0; i < copy.n; i++)
		{
			if (copy.kind == TE_JSON_OBJECT)
				copy.items[i].key = te_str_copy(arena, value->items[i].key);
			te_json_set_copy(arena, &copy.items[i], &value->items[i]);
		}
	}
	set_value(node, copy);
}

/* ---- writing ---- */

/* Runs without anything to escape are added in one piece. */
void
te_json_write_str(TeBuffer *buffer, TeStr string)
{
	static const char hex[] = "0123456789abcdef";
	size_t		done = 0;

	te_buffer_add(buffer, "\"", 1);
	for (size_t i = 0; i < string.len; i++)
	{
		unsigned char c = (unsigned char) string.data[i];
		char		escape[6] = {'\\', (char) c, '0', '0', hex[c >> 4], hex[c & 15]};
		size_t		len = 2;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		if (c == '\n')
			escape[1] = 'n';
		else if (c == '\t')
			escape[1] = 't';
		else if (c == '\r')
			escape[1] = 'r';
		else if (c < 0x20)
		{
			escape[1] = 'u';
			len = 6;
		}
		te_buffer_add(buffer, string.data + done, i - done);
		te_buffer_add(buffer, escape, len);
		done = i + 1;
	}
	te_buffer_add(buffer, string.data + done, string.len - done);
	te_buffer_add(buffer, "\"", 1);
}

/* Without printf: vocabularies have a quarter of a million of them. */
static void
write_integer(TeBuffer *buffer, int64_t value)
{
	char		text[24];
	size_t		at = sizeof(text);
	uint64_t	magnitude = value < 0 ? 0 - (uint64_t) value : (uint64_t) value;

	do
		text[--at] = (char) ('0' + magnitude % 10);
	while ((magnitude /= 10) > 0);
	if (value < 0)
		text[--at] = '-';
	te_buffer_add(buffer, text + at, sizeof(text) - at);
}

typedef struct Writer
{
	TeBuffer   *buffer;
	TeArena    *scratch;		/* empty but while a real is formatted */
	int			indent;
} Writer;

/* The shortest of 15, 16 and 17 digits that is read back as the same number. */
static void
write_real(Writer *writer, double value)
{
	const char *text = NULL;

	if (!isfinite(value))
		te_throw(TE_ERR_INVALID, "JSON cannot hold a number that is not finite");
	for (int digits = 15; digits <= 17; digits++)
	{
		text = te_format(writer->scratch, "%.*g", digits, value);
		if (te_json_parse_real(te_str(text)) == value)
			break;
	}
	te_buffer_add_str(writer->buffer, text);
	if (strpbrk(text, ".e") == NULL)
		te_buffer_add_str(writer->buffer, ".0");
	te_arena_reset(writer->scratch);
}

/* A new line with the indent of a depth, where the text is for people. */
static void
write_break(Writer *writer, int depth)
{
	size_t		width = (size_t) (writer->indent * depth);

	if (writer->indent <= 0)
		return;
	te_buffer_add(writer->buffer, "\n", 1);
	memset(te_buffer_extend(writer->buffer, width), ' ', width);
}

static void write_node(Writer *writer, const TeJson *node, int depth);

/* [...] or {...}; empty ones on one line. */
static void
write_container(Writer *writer, const TeJson *node, int depth)
{
	TeBuffer   *buffer = writer->buffer;
	bool		object = node->kind == TE_JSON_OBJECT;

	te_buffer_add(buffer, object ? "{" : "[", 1);
	for (uint32_t i = 0; i < node->n; i++)
	{
		if (i > 0)
			te_buffer_add(buffer, ",", 1);
		write_break(writer, depth + 1);
		if (object)
		{
			te_json_write_str(buffer, node->items[i].key);
			te_buffer_add_str(buffer, writer->indent > 0 ? ": " : ":");
		}
		write_node(writer, &node->items[i], depth + 1);
	}
	if (node->n > 0)
		write_break(writer, depth);
	te_buffer_add(buffer, object ? "}" : "]", 1);
}

/* Recursive: what the parser made is at most 64 deep, and builders build no deeper. */
static void
write_node(Writer *writer, const TeJson *node, int depth)
{
	TeBuffer   *buffer = writer->buffer;

	switch (node->kind)
	{
		case TE_JSON_NULL:
			te_buffer_add_str(buffer, "null");
			break;
		case TE_JSON_BOOL:
			te_buffer_add_str(buffer, node->boolean ? "true" : "false");
			break;
		case TE_JSON_INTEGER:
			write_integer(buffer, node->integer);
			break;
		case TE_JSON_REAL:
			write_real(writer, node->real);
			break;
		case TE_JSON_STRING:
			te_json_write_str(buffer, node->string);
			break;
		case TE_JSON_ARRAY:
		case TE_JSON_OBJECT:
			write_container(writer, node, depth);
			break;
	}
}

void
te_json_write(TeBuffer *buffer, const TeJson *node, int indent)
{
	Writer		writer = {buffer, te_arena_create(buffer->arena, "JSON writer"), indent};

	write_node(&writer, node, 0);
	te_arena_destroy(writer.scratch);
}

TeStr
te_json_text(TeArena *arena, const TeJson *node, int indent)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	te_json_write(&buffer, node, indent);
	return (TeStr) {buffer.data, buffer.len};
}
