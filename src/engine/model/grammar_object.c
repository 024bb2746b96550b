/*-------------------------------------------------------------------------
 * grammar_object.c
 *	  Objects and arrays of JSON schemas, and JSON values of any kind.
 *
 * An object is its properties in order.  What may follow a property is a rule, one for each, in which the
 * property comes after a comma or is left out; calls at the end of a rule cost no
 * stack.  So an object with n properties has some n rules, whichever of them are required.
 *
 * Other properties may not have the name of one that the schema has: their names are written as a trie of what
 * the names are not.
 *-------------------------------------------------------------------------
 */
#include "model/schema.h"

#include <stdlib.h>

/* One space, or none */
static TeExpr *
space(TeBuilder *b)
{
	return te_expr_repeat(b, te_expr_range(b, ' ', ' '), 0, 1);
}

static TeExpr *
sequence_of(TeBuilder *b, TeExpr *first, TeExpr *second)
{
	TeExpr	   *expr = te_expr_sequence(b);

	te_expr_add(b, expr, first);
	te_expr_add(b, expr, second);
	return expr;
}

/* After a comma. */
static TeExpr *
next_of(TeBuilder *b, TeExpr *expr)
{
	return sequence_of(b, sequence_of(b, te_expr_literal(b, ","), space(b)), expr);
}

static TeExpr *
enclosed(TeBuilder *b, const char *open, TeExpr *expr, const char *close)
{
	return sequence_of(b, sequence_of(b, te_expr_literal(b, open), expr), te_expr_literal(b, close));
}

/* Any number of them from `least` to `most`, with commas between. */
static TeExpr *
list_of(TeBuilder *b, TeExpr *expr, uint32_t least, uint32_t most)
{
	TeExpr	   *list;

	if (most == 0)
		return te_expr_sequence(b);
	list = sequence_of(b, expr, te_expr_repeat(b, next_of(b, expr), least > 0 ? least - 1 : 0, most == TE_NEVER ? TE_NEVER : most - 1));
	return least > 0 ? list : te_expr_repeat(b, list, 0, 1);
}

static TeExpr *
any_string(TeSchemaCompiler *c)
{
	TeBuilder  *b = &c->builder;

	return enclosed(b, "\"", te_expr_repeat(b, te_schema_character(c), 0, TE_NEVER), "\"");
}

static TeExpr *
member_of(TeBuilder *b, TeExpr *name, TeExpr *value)
{
	return sequence_of(b, name, sequence_of(b, sequence_of(b, te_expr_literal(b, ":"), space(b)), value));
}

TeExpr *
te_schema_any(TeSchemaCompiler *c)
{
	TeBuilder  *b = &c->builder;
	static const TeSchemas none;
	TeExpr	   *either;
	TeExpr	   *value;

	if (c->value > 0)
		return te_expr_rule(b, c->value - 1);
	c->value = te_builder_rule(b, TE_STR("any value"), 0) + 1;
	value = te_expr_rule(b, c->value - 1);
	either = te_expr_either(b);
	te_expr_add(b, either, enclosed(b, "{", list_of(b, member_of(b, any_string(c), value), 0, TE_NEVER), "}"));
	te_expr_add(b, either, enclosed(b, "[", list_of(b, value, 0, TE_NEVER), "]"));
	te_expr_add(b, either, any_string(c));
	te_expr_add(b, either, te_schema_number(c, &none, false));
	te_expr_add(b, either, te_expr_literal(b, "true"));
	te_expr_add(b, either, te_expr_literal(b, "false"));
	te_expr_add(b, either, te_expr_literal(b, "null"));
	b->rules[c->value - 1].body = either;
	return value;
}

/* ---- objects ---- */

typedef struct Property
{
	TeStr		name;
	TeSchemas	schemas;
	bool		required;
} Property;

typedef struct Properties
{
	uint32_t	n;
	uint32_t	capacity;
	Property   *items;
	bool		any;			/* no schema names any: all are free */
	bool		more;			/* others may come */
	TeSchemas	others;
} Properties;

static Property *
property_named(TeSchemaCompiler *c, Properties *properties, TeStr name)
{
	for (uint32_t i = 0; i < properties->n; i++)
	{
		if (te_str_eq(properties->items[i].name, name))
			return &properties->items[i];
	}
	if (properties->n == properties->capacity)
	{
		Property   *items;

		properties->capacity = properties->capacity == 0 ? 8 : properties->capacity * 2;
		items = te_new_array(c->builder.arena, Property, properties->capacity);
		if (properties->n > 0)
			memcpy(items, properties->items, properties->n * sizeof(Property));
		properties->items = items;
	}
	properties->items[properties->n] = (Property) {.name = name};
	return &properties->items[properties->n++];
}

static const TeJson *
typed_member(const TeJson *node, const char *keyword, TeJsonKind kind, const char *what)
{
	const TeJson *member = te_json_get(node, keyword);

	if (member != NULL && member->kind != kind)
		te_throw(TE_ERR_INVALID, "JSON schema: \"%s\" must be %s", keyword, what);
	return member;
}

/* All names, then for each what every schema says of it. */
static Properties
find_properties(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	Properties	all = {.any = true};
	bool		closed = false;

	for (uint32_t i = 0; i < schemas->n; i++)
	{
		const TeJson *named = typed_member(schemas->nodes[i], "properties", TE_JSON_OBJECT, "an object");
		const TeJson *required = typed_member(schemas->nodes[i], "required", TE_JSON_ARRAY, "an array of names");
		const TeJson *others = te_json_get(schemas->nodes[i], "additionalProperties");

		for (uint32_t j = 0; named != NULL && j < named->n; j++)
			property_named(c, &all, named->items[j].key);
		for (uint32_t j = 0; required != NULL && j < required->n; j++)
		{
			if (required->items[j].kind != TE_JSON_STRING)
				te_throw(TE_ERR_INVALID, "JSON schema: \"required\" must be an array of names");
			property_named(c, &all, required->items[j].string)->required = true;
		}
		if (named != NULL || others != NULL)
			all.any = false;
		if (others != NULL)
		{
			te_schemas_add(c, &all.others, others);
			all.more = true;
			closed = closed || all.others.never;
		}
	}
	all.more = (all.more || all.any) && !closed;
	for (uint32_t p = 0; p < all.n; p++)
	{
		for (uint32_t i = 0; i < schemas->n; i++)
		{
			const TeJson *named = te_json_get(schemas->nodes[i], "properties");
			const TeJson *others = te_json_get(schemas->nodes[i], "additionalProperties");
			const TeJson *schema = NULL;

			for (uint32_t j = 0; named != NULL && j < named->n; j++)
				schema = te_str_eq(named->items[j].key, all.items[p].name) ? &named->items[j] : schema;
			schema = schema != NULL ? schema : others;
			if (schema != NULL)
				te_schemas_add(c, &all.items[p].schemas, schema);
		}
	}
	return all;
}

static int
compare_names(const void *a, const void *b)
{
	const TeStr *x = a;
	const TeStr *y = b;
	size_t		n = TE_MIN(x->len, y->len);
	int			order = n > 0 ? memcmp(x->data, y->data, n) : 0;

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Characters that stand for themselves within quotes. */
static void
add_plain(TeArena *arena, TeCharClass *class)
{
	te_class_add(arena, class, 0x20, '"' - 1);
	te_class_add(arena, class, '"' + 1, '\\' - 1);
	te_class_add(arena, class, '\\' + 1, TE_MOST_CHAR);
	te_class_settle(class);
}

/* What may come after the first `from` bytes of sorted names, so that it becomes none of them. */
static TeExpr *
other_name(TeBuilder *b, const TeStr *names, size_t n, size_t from)
{
	TeExpr	   *either = te_expr_either(b);
	TeExpr	   *other = te_expr_class(b);
	TeExpr	   *plain = te_expr_class(b);
	TeCharClass taken = {0};
	size_t		i = 0;

	add_plain(b->arena, &plain->class);
	while (i < n && names[i].len == from)
		i++;
	if (i == 0)
		te_expr_add(b, either, te_expr_sequence(b));
	while (i < n)
	{
		const char *p = names[i].data + from;
		int32_t		c = te_utf8_next(&p, names[i].data + names[i].len);
		size_t		len = (size_t) (p - names[i].data) - from;
		size_t		first = i;

		while (i < n && names[i].len >= from + len && memcmp(names[i].data + from, names[first].data + from, len) == 0)
			i++;
		te_class_add(b->arena, &taken, (uint32_t) c, (uint32_t) c);
		if (te_class_has(&plain->class, (uint32_t) c))
			te_expr_add(b, either, sequence_of(b, te_expr_range(b, (uint32_t) c, (uint32_t) c),
											   other_name(b, names + first, i - first, from + len)));
	}
	te_class_add(b->arena, &taken, 0, 0x1F);
	te_class_add(b->arena, &taken, '"', '"');
	te_class_add(b->arena, &taken, '\\', '\\');
	te_class_settle(&taken);
	other->class = te_class_negated(b->arena, &taken);
	te_expr_add(b, either, sequence_of(b, other, te_expr_repeat(b, plain, 0, TE_NEVER)));
	return either;
}

static TeExpr *
other_property(TeSchemaCompiler *c, const Properties *properties)
{
	TeBuilder  *b = &c->builder;
	TeStr	   *names = te_new_array(b->arena, TeStr, properties->n);
	TeExpr	   *name;

	for (uint32_t i = 0; i < properties->n; i++)
	{
		names[i] = properties->items[i].name;
		if (names[i].len > 1000)
			te_throw(TE_ERR_TOO_LONG, "JSON schema: the name of a property is too long");
	}
	qsort(names, properties->n, sizeof(TeStr), compare_names);
	name = properties->n == 0 ? any_string(c) : enclosed(b, "\"", other_name(b, names, properties->n, 0), "\"");
	return member_of(b, name, te_schema_value(c, &properties->others));
}

static void
check_counts(const TeSchemas *schemas, const Properties *properties)
{
	uint32_t	n_required = 0;

	for (uint32_t i = 0; i < properties->n; i++)
		n_required += properties->items[i].required;
	if (te_schema_count(schemas, "minProperties", true, 0) > n_required)
		te_schema_unsupported("minProperties", "above the number of required properties");
	if (te_schema_count(schemas, "maxProperties", false, TE_NEVER) < (properties->more ? TE_NEVER : properties->n))
		te_schema_unsupported("maxProperties", "below the number of properties that there may be");
}

static TeExpr *
named_property(TeSchemaCompiler *c, const Property *property)
{
	TeBuilder  *b = &c->builder;
	TeBuffer	name;

	te_buffer_init(&name, b->arena);
	te_json_write_str(&name, property->name);
	return member_of(b, te_expr_text(b, (TeStr) {name.data, name.len}), te_schema_value(c, &property->schemas));
}

/* Properties that cannot be had are left out; NULL where one of them is required. */
static bool
drop_impossible(Properties *properties)
{
	uint32_t	n = 0;

	for (uint32_t i = 0; i < properties->n; i++)
	{
		if (!properties->items[i].schemas.never)
			properties->items[n++] = properties->items[i];
		else if (properties->items[i].required)
			return false;
	}
	properties->n = n;
	return true;
}

TeExpr *
te_schema_object(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	TeBuilder  *b = &c->builder;
	Properties	properties = find_properties(c, schemas);
	TeExpr	   *other = properties.more ? other_property(c, &properties) : NULL;
	TeExpr	   *rest = other != NULL ? te_expr_repeat(b, next_of(b, other), 0, TE_NEVER) : te_expr_sequence(b);
	TeExpr	   *either = te_expr_either(b);
	TeExpr	  **members;
	TeExpr	  **after;			/* what may follow the i-th member */
	uint32_t	i;

	check_counts(schemas, &properties);
	if (!drop_impossible(&properties))
		return either;
	members = te_new_array(b->arena, TeExpr *, properties.n);
	after = te_new_array(b->arena, TeExpr *, properties.n);
	for (i = properties.n; i > 0; i--)
	{
		uint32_t	rule = te_builder_rule(b, TE_STR("properties"), 0);
		TeExpr	   *one;

		members[i - 1] = named_property(c, &properties.items[i - 1]);
		after[i - 1] = rest;
		one = next_of(b, members[i - 1]);
		if (!properties.items[i - 1].required)
			one = te_expr_repeat(b, one, 0, 1);
		b->rules[rule].body = sequence_of(b, one, rest);
		rest = te_expr_rule(b, rule);
	}
	/* any of them may be the first, up to one that is required */
	for (i = 0; i < properties.n; i++)
	{
		te_expr_add(b, either, sequence_of(b, members[i], after[i]));
		if (properties.items[i].required)
			break;
	}
	if (i == properties.n)
		te_expr_add(b, either, other != NULL ? list_of(b, other, 0, TE_NEVER) : te_expr_sequence(b));
	return enclosed(b, "{", either, "}");
}

/* ---- arrays ---- */

/* The schemas that stand for the first items of one schema; NULL where there are none. */
static const TeJson *
prefix_of(const TeJson *node)
{
	const TeJson *items = te_json_get(node, "items");

	/* as it was written before 2020 */
	if (items != NULL && items->kind == TE_JSON_ARRAY)
		return items;
	return typed_member(node, "prefixItems", TE_JSON_ARRAY, "an array of schemas");
}

/* And what is said of those behind them. */
static const TeJson *
tail_of(const TeJson *node)
{
	const TeJson *items = te_json_get(node, "items");

	return items != NULL && items->kind == TE_JSON_ARRAY ? te_json_get(node, "additionalItems") : items;
}

/* What all schemas say of item i. */
static TeSchemas
item_schemas(TeSchemaCompiler *c, const TeSchemas *schemas, uint32_t i)
{
	TeSchemas	all = {0};

	for (uint32_t k = 0; k < schemas->n; k++)
	{
		const TeJson *prefix = prefix_of(schemas->nodes[k]);
		const TeJson *tail = tail_of(schemas->nodes[k]);

		if (prefix != NULL && i < prefix->n)
			te_schemas_add(c, &all, &prefix->items[i]);
		else if (tail != NULL)
			te_schemas_add(c, &all, tail);
		else if (prefix != NULL)
			all.never = true;
	}
	return all;
}

TeExpr *
te_schema_array(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	TeBuilder  *b = &c->builder;
	uint32_t	least = te_schema_count(schemas, "minItems", true, 0);
	uint32_t	most = te_schema_count(schemas, "maxItems", false, TE_NEVER);
	uint32_t	n_prefix = 0;
	TeSchemas	item;
	TeExpr	   *expr;

	for (uint32_t k = 0; k < schemas->n; k++)
	{
		const TeJson *prefix = prefix_of(schemas->nodes[k]);

		n_prefix = prefix != NULL ? TE_MAX(n_prefix, prefix->n) : n_prefix;
	}
	/* the first place that nothing can be put at ends the array */
	for (uint32_t i = 0; i <= n_prefix; i++)
	{
		if (item_schemas(c, schemas, i).never)
			most = TE_MIN(most, i);
	}
	if (most < least)
		return te_expr_either(b);
	n_prefix = TE_MIN(n_prefix, most);
	item = item_schemas(c, schemas, n_prefix);
	if (n_prefix == 0)
		return enclosed(b, "[", list_of(b, te_schema_value(c, &item), least, most), "]");
	expr = te_expr_repeat(b, next_of(b, te_schema_value(c, &item)), least > n_prefix ? least - n_prefix : 0,
						  most == TE_NEVER ? TE_NEVER : most - n_prefix);
	for (uint32_t i = n_prefix; i > 0; i--)
	{
		TeSchemas	one = item_schemas(c, schemas, i - 1);
		TeExpr	   *value = te_schema_value(c, &one);

		expr = sequence_of(b, i == 1 ? value : next_of(b, value), expr);
		if (i > least)
			expr = te_expr_repeat(b, expr, 0, 1);
	}
	return enclosed(b, "[", expr, "]");
}
