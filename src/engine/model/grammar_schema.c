/*-------------------------------------------------------------------------
 * grammar_schema.c
 *	  JSON schemas as grammars: what a schema refers to, and how schemas that hold together are one.
 *
 * A value must keep to a set of schemas: a schema with its $ref and allOf is such a set, so is what two of them
 * say of the same property.  Each set becomes a rule, found again by its members, so that recursion in the
 * schema is recursion in the grammar.  anyOf is one way for each of its schemas; so is oneOf where these
 * exclude each other, and an error where that cannot be seen.  What is left after that are keywords of one value, which go
 * by its type.
 *
 * What is generated is narrower than what a schema admits, never wider:
 *
 *	  JSON is compact, with at most one space after ":" and ","
 *	  properties come in the order of the schema; there are no others unless additionalProperties says so
 *	  or the schema names no properties at all
 *	  arrays with prefixItems end with them unless items says what follows
 *	  without "type" the type is the one that the other keywords are about
 *	  numbers have 16 digits before and behind the point, and an exponent of two, at most
 *
 * A keyword that restricts values and is not known here is an error.  Annotations, and names that JSON schema has not, are passed over.
 *-------------------------------------------------------------------------
 */
#include "model/schema.h"

#include "base/random.h"

#include <math.h>
#include <stdlib.h>

#define MOST_LEAVES 20000
#define MOST_DEPTH 200			/* of references and allOf within each other */

enum
{
	TYPE_NULL = 1,
	TYPE_BOOLEAN = 2,
	TYPE_INTEGER = 4,
	TYPE_FRACTION = 8,			/* numbers that are no integers; "number" is both */
	TYPE_STRING = 16,
	TYPE_ARRAY = 32,
	TYPE_OBJECT = 64,
	ALL_TYPES = 127
};

static const struct
{
	const char *name;
	unsigned	types;
}			type_names[] = {
	{"null", TYPE_NULL}, {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER}, {"number", TYPE_INTEGER | TYPE_FRACTION},
	{"string", TYPE_STRING}, {"array", TYPE_ARRAY}, {"object", TYPE_OBJECT},
};

/* Keywords that are about one type, from which it is told where "type" is missing */
static const struct
{
	const char *keyword;
	unsigned	types;
}			type_keywords[] = {
	{"properties", TYPE_OBJECT}, {"required", TYPE_OBJECT}, {"additionalProperties", TYPE_OBJECT}, {"minProperties", TYPE_OBJECT},
	{"maxProperties", TYPE_OBJECT}, {"items", TYPE_ARRAY}, {"prefixItems", TYPE_ARRAY}, {"minItems", TYPE_ARRAY}, {"maxItems", TYPE_ARRAY},
	{"pattern", TYPE_STRING}, {"format", TYPE_STRING}, {"minLength", TYPE_STRING}, {"maxLength", TYPE_STRING},
	{"minimum", TYPE_INTEGER | TYPE_FRACTION}, {"maximum", TYPE_INTEGER | TYPE_FRACTION},
	{"exclusiveMinimum", TYPE_INTEGER | TYPE_FRACTION}, {"exclusiveMaximum", TYPE_INTEGER | TYPE_FRACTION},
};

/* That restrict values in a way that no grammar here says; those with `but_false` mean nothing where they are false */
static const struct
{
	const char *keyword;
	bool		but_false;
}			unsupported[] = {
	{"not", false}, {"if", false}, {"then", false}, {"else", false}, {"dependentRequired", false}, {"dependentSchemas", false},
	{"dependencies", false}, {"patternProperties", false}, {"propertyNames", false}, {"contains", false}, {"minContains", false},
	{"maxContains", false}, {"uniqueItems", true}, {"multipleOf", false}, {"unevaluatedItems", true}, {"unevaluatedProperties", true},
	{"$dynamicRef", false}, {"$recursiveRef", false},
};

/* anyOf or oneOf: one of these schemas too */
typedef struct Group
{
	const TeJson *options;
	struct Group *next;
} Group;

/* Schemas, and what is still to be chosen for them */
typedef struct Choice
{
	TeSchemas	schemas;
	Group	   *groups;
} Choice;

/* where: what stands beside it, or NULL. */
void
te_schema_unsupported(const char *keyword, const char *where)
{
	te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Leave it out and look at the values that come, or write a grammar.",
				  "JSON schema: the keyword \"%s\"%s%s is not supported", keyword, where != NULL ? " " : "", where != NULL ? where : "");
}

static TE_NORETURN void
wrong(const char *keyword, const char *what)
{
	te_throw(TE_ERR_INVALID, "JSON schema: \"%s\" %s", keyword, what);
}

/* ---- references ---- */

/* A member by a part of a pointer, in which ~1 is / and ~0 is ~, and %XX a byte. */
static const TeJson *
pointed_member(const TeJson *node, TeStr part)
{
	char		key[256];
	size_t		n = 0;

	for (size_t i = 0; i < part.len && n < sizeof(key); i++)
	{
		char		c = part.data[i];

		if (c == '~' && i + 1 < part.len)
			c = part.data[++i] == '1' ? '/' : '~';
		else if (c == '%' && i + 2 < part.len)
		{
			char		hex[3] = {part.data[i + 1], part.data[i + 2], 0};

			c = (char) strtol(hex, NULL, 16);
			i += 2;
		}
		key[n++] = c;
	}
	for (uint32_t i = 0; i < node->n; i++)
	{
		if (node->kind == TE_JSON_OBJECT && te_str_eq(node->items[i].key, (TeStr) {key, n}))
			return &node->items[i];
	}
	if (node->kind == TE_JSON_ARRAY && n > 0 && n < 9)
	{
		key[n] = 0;
		if (strspn(key, "0123456789") == n && (uint32_t) atoi(key) < node->n)
			return &node->items[atoi(key)];
	}
	return NULL;
}

/* "#/$defs/name" within the document. */
static const TeJson *
referred(const TeSchemaCompiler *c, const TeJson *ref)
{
	TeStr		path = ref->kind == TE_JSON_STRING ? ref->string : TE_STR("?");
	const TeJson *node = c->root;
	size_t		from = 1;

	if (path.len > 0 && path.data[0] != '#')
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "References are to parts of the same schema, such as \"#/$defs/name\".",
					  "JSON schema: \"$ref\": \"%.*s\" is not supported", TE_STR_ARGS(path));
	while (from < path.len && node != NULL)
	{
		size_t		to = from + 1;

		while (to < path.len && path.data[to] != '/')
			to++;
		node = path.data[from] == '/' ? pointed_member(node, (TeStr) {path.data + from + 1, to - from - 1}) : NULL;
		from = to;
	}
	if (node == NULL)
		te_throw(TE_ERR_INVALID, "JSON schema: \"$ref\": \"%.*s\" refers to nothing", TE_STR_ARGS(path));
	return node;
}

/* ---- sets of schemas ---- */

void
te_schemas_add(TeSchemaCompiler *c, TeSchemas *schemas, const TeJson *node)
{
	if (node->kind == TE_JSON_BOOL)
	{
		schemas->never = schemas->never || !node->boolean;
		return;
	}
	if (node->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_INVALID, "JSON schema: a schema must be an object, true or false");
	for (uint32_t i = 0; i < schemas->n; i++)
	{
		if (schemas->nodes[i] == node)
			return;
	}
	if (schemas->n == schemas->capacity)
	{
		const TeJson **nodes;

		schemas->capacity = schemas->capacity == 0 ? 4 : schemas->capacity * 2;
		nodes = te_alloc(c->builder.arena, schemas->capacity * sizeof(TeJson *));
		if (schemas->n > 0)
			memcpy(nodes, schemas->nodes, schemas->n * sizeof(TeJson *));
		schemas->nodes = nodes;
	}
	schemas->nodes[schemas->n++] = node;
}

uint32_t
te_schema_count(const TeSchemas *schemas, const char *keyword, bool largest, uint32_t fallback)
{
	uint32_t	result = fallback;
	bool		found = false;

	for (uint32_t i = 0; i < schemas->n; i++)
	{
		const TeJson *node = te_json_get(schemas->nodes[i], keyword);
		double		value;

		if (node == NULL)
			continue;
		if (node->kind != TE_JSON_INTEGER && node->kind != TE_JSON_REAL)
			wrong(keyword, "must be a number");
		value = node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
		if (!(value >= 0 && value <= 1e9 && value == floor(value)))
			wrong(keyword, "must be a number that counts");
		if (!found || (largest ? value > result : value < result))
			result = (uint32_t) value;
		found = true;
	}
	return result;
}

static void
check_keywords(const TeJson *node)
{
	for (size_t i = 0; i < TE_LENGTH(unsupported); i++)
	{
		const TeJson *member = te_json_get(node, unsupported[i].keyword);

		if (member != NULL && !(unsupported[i].but_false && member->kind == TE_JSON_BOOL && !member->boolean))
			te_schema_unsupported(unsupported[i].keyword, NULL);
	}
}

static const TeJson *
list_member(const TeJson *node, const char *keyword)
{
	const TeJson *list = te_json_get(node, keyword);

	if (list != NULL && (list->kind != TE_JSON_ARRAY || list->n == 0))
		wrong(keyword, "must be an array that is not empty");
	return list;
}

static void check_disjoint(TeSchemaCompiler *c, const TeJson *options);

/* Adds a schema with all that it refers to. */
static void
gather(TeSchemaCompiler *c, Choice *into, const TeJson *node, int depth)
{
	const TeJson *ref;
	const TeJson *all;
	static const char *const kinds[] = {"anyOf", "oneOf"};

	te_schemas_add(c, &into->schemas, node);
	if (node->kind != TE_JSON_OBJECT)
		return;
	if (depth > MOST_DEPTH)
		te_throw(TE_ERR_INVALID, "JSON schema: a schema refers to itself");
	check_keywords(node);
	ref = te_json_get(node, "$ref");
	if (ref != NULL)
		gather(c, into, referred(c, ref), depth + 1);
	all = list_member(node, "allOf");
	for (uint32_t i = 0; all != NULL && i < all->n; i++)
		gather(c, into, &all->items[i], depth + 1);
	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
	{
		const TeJson *options = list_member(node, kinds[i]);
		Group	   *group;

		if (options == NULL)
			continue;
		if (i == 1)
			check_disjoint(c, options);
		group = te_new(c->builder.arena, Group);
		*group = (Group) {options, into->groups};
		into->groups = group;
	}
}

/* ---- types ---- */

static unsigned
type_named(const TeJson *name)
{
	for (size_t i = 0; i < TE_LENGTH(type_names); i++)
	{
		if (name->kind == TE_JSON_STRING && te_str_is(name->string, type_names[i].name))
			return type_names[i].types;
	}
	te_throw_hint(TE_ERR_INVALID, NULL, "Types are null, boolean, integer, number, string, array and object.", "JSON schema: a \"type\" is not known");
}

/* What "type" admits; ALL_TYPES where it is missing. */
static unsigned
types_of(const TeJson *node)
{
	const TeJson *type = te_json_get(node, "type");
	unsigned	types = 0;

	if (type == NULL)
		return ALL_TYPES;
	if (type->kind != TE_JSON_ARRAY)
		types = type_named(type);
	for (uint32_t i = 0; type->kind == TE_JSON_ARRAY && i < type->n; i++)
		types |= type_named(&type->items[i]);
	return te_json_bool(node, "nullable", false) ? types | TYPE_NULL : types;
}

/* Of all of them; told by other keywords where none has a type. */
static unsigned
types_of_all(const TeSchemas *schemas)
{
	unsigned	types = ALL_TYPES;
	unsigned	told = 0;

	for (uint32_t i = 0; i < schemas->n; i++)
	{
		types &= types_of(schemas->nodes[i]);
		for (size_t k = 0; k < TE_LENGTH(type_keywords); k++)
		{
			if (te_json_get(schemas->nodes[i], type_keywords[k].keyword) != NULL)
				told |= type_keywords[k].types;
		}
	}
	return types == ALL_TYPES && told != 0 ? told : types;
}

static double
json_number(const TeJson *node)
{
	return node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
}

static unsigned
type_of_value(const TeJson *value)
{
	switch (value->kind)
	{
		case TE_JSON_NULL:
			return TYPE_NULL;
		case TE_JSON_BOOL:
			return TYPE_BOOLEAN;
		case TE_JSON_INTEGER:
			return TYPE_INTEGER;
		case TE_JSON_REAL:
			return value->real == floor(value->real) ? TYPE_INTEGER : TYPE_FRACTION;
		case TE_JSON_STRING:
			return TYPE_STRING;
		case TE_JSON_ARRAY:
			return TYPE_ARRAY;
		default:
			return TYPE_OBJECT;
	}
}

/* ---- values that are given ---- */

static bool
same_json(const TeJson *a, const TeJson *b)
{
	bool		numbers = (a->kind == TE_JSON_INTEGER || a->kind == TE_JSON_REAL) && (b->kind == TE_JSON_INTEGER || b->kind == TE_JSON_REAL);

	if (numbers)
		return json_number(a) == json_number(b);
	if (a->kind != b->kind)
		return false;
	if (a->kind == TE_JSON_BOOL)
		return a->boolean == b->boolean;
	if (a->kind == TE_JSON_STRING)
		return te_str_eq(a->string, b->string);
	if (a->kind == TE_JSON_NULL)
		return true;
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
	{
		uint32_t	j = i;

		for (j = a->kind == TE_JSON_OBJECT ? 0 : i; a->kind == TE_JSON_OBJECT && j < b->n && !te_str_eq(a->items[i].key, b->items[j].key); j++)
			;
		if (j == b->n || !same_json(&a->items[i], &b->items[j]))
			return false;
	}
	return true;
}

/* Members as te_json_get() does not give them: null is a value here. */
static const TeJson *
any_member(const TeJson *node, const char *key)
{
	for (uint32_t i = 0; node->kind == TE_JSON_OBJECT && i < node->n; i++)
	{
		if (te_str_is(node->items[i].key, key))
			return &node->items[i];
	}
	return NULL;
}

/* The values of enum or const; NULL where there is neither. *n of them. */
static const TeJson *
given_values(const TeJson *node, uint32_t *n)
{
	const TeJson *constant = any_member(node, "const");
	const TeJson *values = any_member(node, "enum");

	*n = 1;
	if (constant != NULL)
		return constant;
	if (values == NULL)
		return NULL;
	if (values->kind != TE_JSON_ARRAY || values->n == 0)
		wrong("enum", "must be an array that is not empty");
	*n = values->n;
	return values->items;
}

static bool
is_given(const TeJson *node, const TeJson *value)
{
	uint32_t	n;
	const TeJson *values = given_values(node, &n);

	for (uint32_t i = 0; values != NULL && i < n; i++)
	{
		if (same_json(&values[i], value))
			return true;
	}
	return values == NULL;
}

/* Does a value that is given keep to the other keywords, too? */
static bool
is_admitted(TeSchemaCompiler *c, const TeSchemas *schemas, unsigned types, const TeJson *value)
{
	if ((types & type_of_value(value)) == 0)
		return false;
	for (uint32_t i = 0; i < schemas->n; i++)
	{
		if (!is_given(schemas->nodes[i], value))
			return false;
		for (size_t k = 0; k < TE_LENGTH(type_keywords); k++)
		{
			if (type_keywords[k].types & type_of_value(value) & (TYPE_OBJECT | TYPE_ARRAY) &&
				te_json_get(schemas->nodes[i], type_keywords[k].keyword) != NULL)
				te_schema_unsupported(type_keywords[k].keyword, "beside \"enum\" or \"const\"");
		}
	}
	return te_schema_admits(c, schemas, value);
}

/* An expression of the values that are given; NULL where none of the schemas gives any. */
static TeExpr *
given_expr(TeSchemaCompiler *c, const TeSchemas *schemas, unsigned types)
{
	const TeJson *values = NULL;
	uint32_t	n = 0;
	TeStr	   *texts;
	size_t		n_texts = 0;

	for (uint32_t i = 0; i < schemas->n && values == NULL; i++)
		values = given_values(schemas->nodes[i], &n);
	if (values == NULL)
		return NULL;
	texts = te_new_array(c->builder.arena, TeStr, n);
	for (uint32_t i = 0; i < n; i++)
	{
		/* beyond it, a number is not what was written any more */
		if (values[i].kind == TE_JSON_REAL && fabs(values[i].real) >= 0x1p53)
			te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Write a grammar for it.", "JSON schema: a number of \"enum\" or \"const\" is too large to be exact");
		if (is_admitted(c, schemas, types, &values[i]))
			texts[n_texts++] = te_json_text(c->builder.arena, &values[i], 0);
	}
	return te_expr_choices(&c->builder, texts, n_texts);
}

/* ---- oneOf ---- */

static bool disjoint(TeSchemaCompiler *c, const TeSchemas *a, const TeSchemas *b, int depth);

/* The values that schemas give, if they do. */
static const TeJson *
values_of_all(const TeSchemas *schemas, uint32_t *n)
{
	for (uint32_t i = 0; i < schemas->n; i++)
	{
		const TeJson *values = given_values(schemas->nodes[i], n);

		if (values != NULL)
			return values;
	}
	return NULL;
}

static bool
is_required(const TeSchemas *schemas, TeStr name)
{
	for (uint32_t i = 0; i < schemas->n; i++)
	{
		const TeJson *required = te_json_get(schemas->nodes[i], "required");

		for (uint32_t j = 0; required != NULL && required->kind == TE_JSON_ARRAY && j < required->n; j++)
		{
			if (required->items[j].kind == TE_JSON_STRING && te_str_eq(required->items[j].string, name))
				return true;
		}
	}
	return false;
}

/* What is said of a property. */
static bool
property_of(TeSchemaCompiler *c, const TeSchemas *schemas, TeStr name, TeSchemas *into)
{
	Choice		choice = {0};

	for (uint32_t i = 0; i < schemas->n; i++)
	{
		const TeJson *properties = te_json_get(schemas->nodes[i], "properties");

		for (uint32_t j = 0; properties != NULL && j < properties->n; j++)
		{
			if (te_str_eq(properties->items[j].key, name))
				gather(c, &choice, &properties->items[j], 0);
		}
	}
	*into = choice.schemas;
	return choice.schemas.n > 0;
}

/* A property that both require, and that cannot be the same in both, tells objects apart. */
static bool
told_by_property(TeSchemaCompiler *c, const TeSchemas *a, const TeSchemas *b, int depth)
{
	for (uint32_t i = 0; i < a->n; i++)
	{
		const TeJson *properties = te_json_get(a->nodes[i], "properties");

		for (uint32_t j = 0; properties != NULL && j < properties->n; j++)
		{
			TeStr		name = properties->items[j].key;
			TeSchemas	in_a;
			TeSchemas	in_b;

			if (is_required(a, name) && is_required(b, name) && property_of(c, a, name, &in_a) && property_of(c, b, name, &in_b) &&
				disjoint(c, &in_a, &in_b, depth + 1))
				return true;
		}
	}
	return false;
}

/* Is there surely no value that keeps to both? */
static bool
disjoint(TeSchemaCompiler *c, const TeSchemas *a, const TeSchemas *b, int depth)
{
	unsigned	types_a = types_of_all(a);
	unsigned	types_b = types_of_all(b);
	uint32_t	n_a = 0;
	uint32_t	n_b = 0;
	const TeJson *values_a = values_of_all(a, &n_a);
	const TeJson *values_b = values_of_all(b, &n_b);

	if (a->never || b->never || depth > 5)
		return depth <= 5;
	/* told from other keywords, types are no more than a habit */
	for (uint32_t i = 0; i < a->n && values_a == NULL; i++)
		types_a = i == 0 ? types_of(a->nodes[0]) : types_a & types_of(a->nodes[i]);
	for (uint32_t i = 0; i < b->n && values_b == NULL; i++)
		types_b = i == 0 ? types_of(b->nodes[0]) : types_b & types_of(b->nodes[i]);
	if ((types_a & types_b) == 0)
		return true;
	if (values_a != NULL || values_b != NULL)
	{
		const TeJson *values = values_a != NULL ? values_a : values_b;
		uint32_t	n = values_a != NULL ? n_a : n_b;
		const TeSchemas *other = values_a != NULL ? b : a;
		bool		any = false;

		for (uint32_t i = 0; i < n; i++)
		{
			unsigned	types = ALL_TYPES;
			bool		given = true;

			for (uint32_t j = 0; j < other->n; j++)
			{
				types &= types_of(other->nodes[j]);
				given = given && is_given(other->nodes[j], &values[i]);
			}
			any = any || (given && (types & type_of_value(&values[i])) != 0);
		}
		return !any;
	}
	return (types_a & types_b) == TYPE_OBJECT && told_by_property(c, a, b, depth);
}

/* What is looked at on the way is checked when it has its turn. */
static void
check_disjoint(TeSchemaCompiler *c, const TeJson *options)
{
	if (c->checking)
		return;
	c->checking = true;
	for (uint32_t i = 0; i < options->n; i++)
	{
		for (uint32_t j = i + 1; j < options->n; j++)
		{
			Choice		a = {0};
			Choice		b = {0};

			gather(c, &a, &options->items[i], MOST_DEPTH / 2);
			gather(c, &b, &options->items[j], MOST_DEPTH / 2);
			if (!disjoint(c, &a.schemas, &b.schemas, 0))
				te_throw_hint(TE_ERR_UNSUPPORTED, NULL,
							  "Use anyOf, or let a property that both require have another \"const\" in each.",
							  "JSON schema: \"oneOf\" is supported only where its schemas exclude each other");
		}
	}
	c->checking = false;
}

/* ---- rules ---- */

/* What is left after all choices, by types. */
static TeExpr *
leaf_expr(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	TeBuilder  *b = &c->builder;
	unsigned	types = types_of_all(schemas);
	TeExpr	   *either = given_expr(c, schemas, types);

	if (either != NULL)
		return either;
	if (types == ALL_TYPES)
		return te_schema_any(c);
	either = te_expr_either(b);
	if (types & TYPE_OBJECT)
		te_expr_add(b, either, te_schema_object(c, schemas));
	if (types & TYPE_ARRAY)
		te_expr_add(b, either, te_schema_array(c, schemas));
	if (types & TYPE_STRING)
		te_expr_add(b, either, te_schema_string(c, schemas));
	if (types & (TYPE_INTEGER | TYPE_FRACTION))
		te_expr_add(b, either, te_schema_number(c, schemas, (types & TYPE_FRACTION) == 0));
	if (types & TYPE_BOOLEAN)
	{
		te_expr_add(b, either, te_expr_literal(b, "true"));
		te_expr_add(b, either, te_expr_literal(b, "false"));
	}
	if (types & TYPE_NULL)
		te_expr_add(b, either, te_expr_literal(b, "null"));
	return either;
}

/* One way for each combination of what is to be chosen. */
static void
add_leaves(TeSchemaCompiler *c, const Choice *choice, TeExpr *either, int depth)
{
	if (++c->n_leaves > MOST_LEAVES || depth > MOST_DEPTH)
		te_throw(TE_ERR_TOO_LONG, "JSON schema: there are too many combinations of anyOf");
	if (choice->schemas.never)
		return;
	if (choice->groups == NULL)
	{
		te_expr_add(&c->builder, either, leaf_expr(c, &choice->schemas));
		return;
	}
	for (uint32_t i = 0; i < choice->groups->options->n; i++)
	{
		Choice		one = {.groups = choice->groups->next};

		for (uint32_t j = 0; j < choice->schemas.n; j++)
			te_schemas_add(c, &one.schemas, choice->schemas.nodes[j]);
		gather(c, &one, &choice->groups->options->items[i], 0);
		add_leaves(c, &one, either, depth + 1);
	}
}

static int
compare_nodes(const void *a, const void *b)
{
	uintptr_t	x = (uintptr_t) *(const TeJson *const *) a;
	uintptr_t	y = (uintptr_t) *(const TeJson *const *) b;

	return (x > y) - (x < y);
}

/* The rule of a set, made where there is none; its body comes later. */
static TeSchemaRule *
rule_of(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	size_t		bytes = schemas->n * sizeof(TeJson *);
	const TeJson **nodes = te_alloc(c->builder.arena, bytes);
	TeSchemaRule *rule;
	uint32_t	slot;

	memcpy(nodes, schemas->nodes, bytes);
	qsort(nodes, schemas->n, sizeof(TeJson *), compare_nodes);
	slot = (uint32_t) te_random_mix(te_hash(nodes, bytes)) % TE_SCHEMA_SLOTS;
	for (rule = c->slots[slot]; rule != NULL; rule = rule->chain)
	{
		if (rule->n_nodes == schemas->n && memcmp(rule->nodes, nodes, bytes) == 0)
			return rule;
	}
	rule = te_new(c->builder.arena, TeSchemaRule);
	rule->rule = te_builder_rule(&c->builder, TE_STR("the schema"), 0);
	rule->n_nodes = schemas->n;
	rule->nodes = nodes;
	rule->schemas = *schemas;
	rule->chain = c->slots[slot];
	c->slots[slot] = rule;
	*c->last = rule;
	c->last = &rule->next;
	return rule;
}

TeExpr *
te_schema_value(TeSchemaCompiler *c, const TeSchemas *schemas)
{
	if (schemas->never)
		return te_expr_either(&c->builder);
	if (schemas->n == 0)
		return te_schema_any(c);
	return te_expr_rule(&c->builder, rule_of(c, schemas)->rule);
}

TeGrammar *
te_grammar_from_schema(TeArena *arena, const TeJson *schema)
{
	TeArena    *work = te_arena_create(arena, "grammar");
	TeSchemaCompiler c = {.root = schema};
	TeSchemas	schemas = {0};
	TeGrammar  *grammar;
	uint32_t	root;

	te_builder_init(&c.builder, work);
	c.last = &c.first;
	root = te_builder_rule(&c.builder, TE_STR("the JSON schema"), 0);
	te_schemas_add(&c, &schemas, schema);
	c.builder.rules[root].body = te_schema_value(&c, &schemas);
	for (TeSchemaRule *rule = c.first; rule != NULL; rule = rule->next)
	{
		Choice		choice = {0};
		TeExpr	   *either = te_expr_either(&c.builder);

		te_check_interrupts();
		for (uint32_t i = 0; i < rule->schemas.n; i++)
			gather(&c, &choice, rule->schemas.nodes[i], 0);
		add_leaves(&c, &choice, either, 0);
		c.builder.rules[rule->rule].body = either;
	}
	grammar = te_builder_finish(&c.builder, arena, root);
	te_arena_destroy(work);
	return grammar;
}
