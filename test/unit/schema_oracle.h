/*-------------------------------------------------------------------------
 * schema_oracle.h
 *	  A validator of JSON schemas for tests, and schemas made at random.
 *
 * It shares nothing with the code that makes grammars of schemas: it looks at values, as the specification says, where
 * other properties and items are allowed unless the schema forbids them.
 *-------------------------------------------------------------------------
 */
#ifndef TE_SCHEMA_ORACLE_H
#define TE_SCHEMA_ORACLE_H

#include "harness.h"

#include "base/json.h"
#include "base/random.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static bool is_valid(const TeJson *root, const TeJson *schema, const TeJson *value);

static double
as_number(const TeJson *node)
{
	return node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
}

static bool
is_number(const TeJson *node)
{
	return node->kind == TE_JSON_INTEGER || node->kind == TE_JSON_REAL;
}

static const TeJson *
member(const TeJson *object, TeStr key)
{
	for (uint32_t i = 0; object->kind == TE_JSON_OBJECT && i < object->n; i++)
	{
		if (te_str_eq(object->items[i].key, key))
			return &object->items[i];
	}
	return NULL;
}

static const TeJson *
keyword(const TeJson *schema, const char *name)
{
	return member(schema, te_str(name));
}

static bool
equal_values(const TeJson *a, const TeJson *b)
{
	if (is_number(a) && is_number(b))
		return as_number(a) == as_number(b);
	if (a->kind != b->kind)
		return false;
	switch (a->kind)
	{
		case TE_JSON_NULL:
			return true;
		case TE_JSON_BOOL:
			return a->boolean == b->boolean;
		case TE_JSON_STRING:
			return te_str_eq(a->string, b->string);
		default:
			break;
	}
	for (uint32_t i = 0; a->n == b->n && i < a->n; i++)
	{
		const TeJson *other = a->kind == TE_JSON_ARRAY ? &b->items[i] : member(b, a->items[i].key);

		if (other == NULL || !equal_values(&a->items[i], other))
			return false;
	}
	return a->n == b->n;
}

static bool
matches(const char *pattern, TeStr text)
{
	int			code;
	size_t		at;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR) pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(re, NULL);
	bool		result = pcre2_match(re, (PCRE2_SPTR) text.data, text.len, 0, 0, data, NULL) >= 0;

	pcre2_match_data_free(data);
	pcre2_code_free(re);
	return result;
}

static bool
is_of_format(TeStr format, TeStr text)
{
	static const char *const formats[][2] = {
		{"date", "^\\d{4}-(?!(02-(29|3)|(0[469]|11)-31))(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$"},
		{"time", "^([01]\\d|2[0-3])(:[0-5]\\d){2}(\\.\\d+)?(Z|[-+]\\d\\d:\\d\\d)$"},
		{"date-time", "^\\d{4}-\\d\\d-\\d\\dT([01]\\d|2[0-3])(:[0-5]\\d){2}(\\.\\d+)?(Z|[-+]\\d\\d:\\d\\d)$"},
		{"uuid", "^[[:xdigit:]]{8}(-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}$"},
		{"email", "^[^@\\s\"]+@[^@\\s]+\\.[a-z]+$"},
		{"ipv4", "^((\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])(\\.|$)){4}$"},
		{"hostname", "^(?!-)[a-z0-9.-]{1,253}(?<!-)$"},
	};

	for (size_t i = 0; i < TE_LENGTH(formats); i++)
	{
		if (te_str_is(format, formats[i][0]))
			return matches(formats[i][1], text);
	}
	return true;
}

static bool
has_type(TeStr type, const TeJson *value)
{
	static const char *const names[] = {"null", "boolean", "number", "number", "string", "array", "object"};

	if (te_str_is(type, "integer"))
		return is_number(value) && as_number(value) == floor(as_number(value));
	return te_str_is(type, names[value->kind]);
}

static bool
is_valid_type(const TeJson *schema, const TeJson *value)
{
	const TeJson *type = keyword(schema, "type");
	bool		result = type == NULL;

	if (type != NULL && type->kind == TE_JSON_STRING)
		result = has_type(type->string, value);
	for (uint32_t i = 0; type != NULL && type->kind == TE_JSON_ARRAY && i < type->n; i++)
		result = result || has_type(type->items[i].string, value);
	return result || (value->kind == TE_JSON_NULL && te_json_bool(schema, "nullable", false));
}

static bool
is_valid_number(const TeJson *schema, double x)
{
	const TeJson *low = keyword(schema, "minimum");
	const TeJson *high = keyword(schema, "maximum");
	const TeJson *above = keyword(schema, "exclusiveMinimum");
	const TeJson *below = keyword(schema, "exclusiveMaximum");

	return (low == NULL || x >= as_number(low)) && (high == NULL || x <= as_number(high)) &&
		(above == NULL || x > as_number(above)) && (below == NULL || x < as_number(below));
}

static bool
is_valid_string(const TeJson *schema, TeStr text)
{
	const TeJson *pattern = keyword(schema, "pattern");
	const TeJson *format = keyword(schema, "format");
	int64_t		length = 0;
	char		zero[256] = "";

	for (size_t i = 0; i < text.len; i++)
		length += (text.data[i] & 0xC0) != 0x80;
	if (pattern != NULL)
		snprintf(zero, sizeof(zero), "%.*s", TE_STR_ARGS(pattern->string));
	return (pattern == NULL || matches(zero, text)) && (format == NULL || is_of_format(format->string, text)) &&
		length >= te_json_int(schema, "minLength", 0) && length <= te_json_int(schema, "maxLength", INT64_MAX);
}

static bool
is_valid_array(const TeJson *root, const TeJson *schema, const TeJson *value)
{
	const TeJson *prefix = keyword(schema, "prefixItems");
	const TeJson *items = keyword(schema, "items");

	if (value->n < te_json_int(schema, "minItems", 0) || value->n > te_json_int(schema, "maxItems", INT64_MAX))
		return false;
	for (uint32_t i = 0; i < value->n; i++)
	{
		const TeJson *one = prefix != NULL && i < prefix->n ? &prefix->items[i] : items;

		if (one != NULL && !is_valid(root, one, &value->items[i]))
			return false;
	}
	return true;
}

static bool
is_valid_object(const TeJson *root, const TeJson *schema, const TeJson *value)
{
	const TeJson *properties = keyword(schema, "properties");
	const TeJson *others = keyword(schema, "additionalProperties");
	const TeJson *required = keyword(schema, "required");

	for (uint32_t i = 0; required != NULL && i < required->n; i++)
	{
		if (member(value, required->items[i].string) == NULL)
			return false;
	}
	for (uint32_t i = 0; i < value->n; i++)
	{
		const TeJson *one = properties != NULL ? member(properties, value->items[i].key) : NULL;

		one = one != NULL ? one : others;
		if (one != NULL && !is_valid(root, one, &value->items[i]))
			return false;
	}
	return true;
}

static bool
is_valid_combination(const TeJson *root, const TeJson *schema, const TeJson *value)
{
	const TeJson *all = keyword(schema, "allOf");
	const TeJson *any = keyword(schema, "anyOf");
	const TeJson *one = keyword(schema, "oneOf");
	int			n_any = 0;
	int			n_one = 0;

	for (uint32_t i = 0; all != NULL && i < all->n; i++)
	{
		if (!is_valid(root, &all->items[i], value))
			return false;
	}
	for (uint32_t i = 0; any != NULL && i < any->n; i++)
		n_any += is_valid(root, &any->items[i], value);
	for (uint32_t i = 0; one != NULL && i < one->n; i++)
		n_one += is_valid(root, &one->items[i], value);
	return (any == NULL || n_any > 0) && (one == NULL || n_one == 1);
}

static bool
is_valid(const TeJson *root, const TeJson *schema, const TeJson *value)
{
	const TeJson *values = keyword(schema, "enum");
	const TeJson *constant = keyword(schema, "const");
	const TeJson *ref = keyword(schema, "$ref");
	bool		given = values == NULL;

	if (schema->kind == TE_JSON_BOOL)
		return schema->boolean;
	for (uint32_t i = 0; values != NULL && i < values->n; i++)
		given = given || equal_values(&values->items[i], value);
	if (!given || (constant != NULL && !equal_values(constant, value)) || !is_valid_type(schema, value))
		return false;
	if (ref != NULL)
	{
		const TeJson *target = root;

		if (ref->string.len > 1)
			target = member(keyword(root, "$defs"), (TeStr) {ref->string.data + 8, ref->string.len - 8});
		if (!is_valid(root, target, value))
			return false;
	}
	return is_valid_combination(root, schema, value) &&
		(!is_number(value) || is_valid_number(schema, as_number(value))) &&
		(value->kind != TE_JSON_STRING || is_valid_string(schema, value->string)) &&
		(value->kind != TE_JSON_ARRAY || is_valid_array(root, schema, value)) &&
		(value->kind != TE_JSON_OBJECT || is_valid_object(root, schema, value));
}

/* ---- schemas at random ---- */

typedef struct Random
{
	TeArena    *arena;
	TeBuffer	out;
	uint64_t	seed;
	uint64_t	i;
} Random;

static uint64_t
pick(Random *r, uint64_t n)
{
	return te_random_below(r->seed, r->i++, n);
}

static void
put(Random *r, const char *text)
{
	te_buffer_add_str(&r->out, text);
}

static void
put_number(Random *r, const char *key, int64_t value)
{
	put(r, te_format(r->arena, ",\"%s\":%lld", key, (long long) value));
}

static void random_schema(Random *r, int depth);

static void
random_number(Random *r)
{
	static const int64_t sizes[] = {3, 30, 2000, 1000000, 1000000000000};
	int64_t		size = sizes[pick(r, TE_LENGTH(sizes))];
	int64_t		low = (int64_t) pick(r, (uint64_t) size) - size / 2;
	int64_t		high = low + 2 + (int64_t) pick(r, (uint64_t) size);
	bool		integer = pick(r, 2) == 0;
	static const char *const tails[] = {"", ".5", ".25", ".125", "e0", ".75"};

	put(r, integer ? "{\"type\":\"integer\"" : "{\"type\":\"number\"");
	if (pick(r, 3) > 0)
		put(r, te_format(r->arena, ",\"%s\":%lld%s", pick(r, 2) == 0 ? "minimum" : "exclusiveMinimum", (long long) low, tails[pick(r, 6)]));
	if (pick(r, 3) > 0)
		put(r, te_format(r->arena, ",\"%s\":%lld%s", pick(r, 2) == 0 ? "maximum" : "exclusiveMaximum", (long long) high, tails[pick(r, 6)]));
	put(r, "}");
}

static void
random_string(Random *r)
{
	static const char *const kinds[] = {
		",\"pattern\":\"^[a-c]{2,4}$\"", ",\"pattern\":\"^(foo|ba[rz]+)?$\"", ",\"pattern\":\"x\\\\d{3}\"", ",\"pattern\":\"^\\\\w+-\\\\w+$\"",
		",\"pattern\":\"^[^\\\"]+$\"", ",\"pattern\":\"^\\\\\\\\[\\\"é]\"", ",\"pattern\":\"^a|b$\"", ",\"pattern\":\"^.{3}$\",\"minLength\":2,\"maxLength\":3",
		",\"format\":\"date\"", ",\"format\":\"time\"", ",\"format\":\"date-time\"", ",\"format\":\"uuid\"", ",\"format\":\"email\"", ",\"format\":\"ipv4\"",
		",\"format\":\"hostname\"", ",\"format\":\"uri\"", ""
	};
	uint64_t	low = pick(r, 4);

	put(r, "{\"type\":\"string\"");
	if (pick(r, 2) == 0)
		put(r, kinds[pick(r, TE_LENGTH(kinds))]);
	else
	{
		if (pick(r, 2) == 0)
			put_number(r, "minLength", (int64_t) low);
		if (pick(r, 2) == 0)
			put_number(r, "maxLength", (int64_t) (low + pick(r, 20)));
	}
	put(r, "}");
}

static void
random_enum(Random *r)
{
	static const char *const values[] = {"null", "true", "1", "-2.5", "\"red\"", "\"gr\\u00fcn\"", "\"a\\\"b\"", "\"\"", "[1,\"x\"]", "{\"k\":[]}", "\"reddish\"", "12"};
	uint64_t	n = 1 + pick(r, 4);

	if (pick(r, 4) == 0)
	{
		put(r, te_format(r->arena, "{\"const\":%s}", values[pick(r, TE_LENGTH(values))]));
		return;
	}
	put(r, "{\"enum\":[");
	for (uint64_t i = 0; i < n; i++)
		put(r, te_format(r->arena, "%s%s", i > 0 ? "," : "", values[pick(r, TE_LENGTH(values))]));
	put(r, "]}");
}

static void
random_array(Random *r, int depth)
{
	uint64_t	low = pick(r, 3);

	put(r, "{\"type\":\"array\"");
	if (pick(r, 3) == 0)
	{
		uint64_t	n = 1 + pick(r, 3);

		put(r, ",\"prefixItems\":[");
		for (uint64_t i = 0; i < n; i++)
		{
			if (i > 0)
				put(r, ",");
			random_schema(r, depth + 1);
		}
		put(r, "]");
		low = TE_MIN(low, n);
	}
	if (pick(r, 4) > 0)
	{
		put(r, ",\"items\":");
		random_schema(r, depth + 1);
	}
	if (pick(r, 2) == 0)
		put_number(r, "minItems", (int64_t) low);
	if (pick(r, 2) == 0)
		put_number(r, "maxItems", (int64_t) (low + pick(r, 4)));
	put(r, "}");
}

static void
random_object(Random *r, int depth)
{
	static const char *const names[] = {"a", "name", "na\\\"me", "größe", "names", "id", "x y"};
	static const char *const others[] = {"", ",\"additionalProperties\":false", ",\"additionalProperties\":true", ",\"additionalProperties\":{\"type\":\"boolean\"}"};
	bool		some = false;
	uint64_t	wanted = pick(r, 128);
	uint64_t	required = pick(r, 128);

	put(r, "{\"type\":\"object\",\"properties\":{");
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		if ((wanted >> i & 1) == 0)
			continue;
		put(r, te_format(r->arena, "%s\"%s\":", some ? "," : "", names[i]));
		random_schema(r, depth + 1);
		some = true;
	}
	put(r, "}");
	put(r, ",\"required\":[");
	some = false;
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		if ((wanted & required) >> i & 1)
			put(r, te_format(r->arena, "%s\"%s\"", some ? "," : "", names[i]));
		some = some || ((wanted & required) >> i & 1);
	}
	put(r, "]");
	put(r, others[pick(r, TE_LENGTH(others))]);
	put(r, "}");
}

static void
random_combination(Random *r, int depth)
{
	switch (pick(r, 4))
	{
		case 0:
			put(r, "{\"anyOf\":[");
			random_schema(r, depth + 1);
			put(r, ",");
			random_schema(r, depth + 1);
			put(r, "]}");
			break;
		case 1:
			put(r, "{\"allOf\":[");
			random_object(r, depth + 1);
			put(r, ",");
			random_object(r, depth + 1);
			put(r, "]}");
			break;
		case 2:
			put(r, "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"p\"},\"v\":");
			random_schema(r, depth + 1);
			put(r, "},\"required\":[\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"q\"}},\"required\":[\"k\"]},{\"type\":\"null\"}]}");
			break;
		default:
			put(r, "{\"type\":[\"integer\",\"null\",\"boolean\"],\"minimum\":3,\"title\":\"t\",\"description\":\"d\"}");
			break;
	}
}

static void
random_schema(Random *r, int depth)
{
	uint64_t	kind = pick(r, depth >= 3 ? 6 : 12);

	if (kind == 0)
		put(r, pick(r, 2) == 0 ? "{\"type\":\"null\"}" : "{\"type\":\"boolean\",\"nullable\":true}");
	else if (kind <= 2)
		random_number(r);
	else if (kind == 3)
		random_string(r);
	else if (kind == 4)
		random_enum(r);
	else if (kind == 5)
		put(r, pick(r, 3) == 0 ? "true" : "{\"$ref\":\"#/$defs/node\"}");
	else if (kind <= 7)
		random_array(r, depth);
	else if (kind <= 10)
		random_object(r, depth);
	else
		random_combination(r, depth);
}

/* An object around a schema, with a definition that refers to itself. */
__attribute__((unused)) static TeStr
make_random_schema(TeArena *arena, uint64_t seed)
{
	Random		r = {arena,.seed = seed};

	te_buffer_init(&r.out, arena);
	put(&r, "{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"v\":");
	random_schema(&r, 3);
	put(&r, ",\"next\":{\"$ref\":\"#/$defs/node\"}},\"required\":[]}},\"anyOf\":[");
	random_schema(&r, 0);
	put(&r, "]}");
	return (TeStr) {r.out.data, r.out.len};
}

#endif							/* TE_SCHEMA_ORACLE_H */
