/*-------------------------------------------------------------------------
 * generate_shape.c
 *	  Types of SQL as JSON schemas, and values of them from JSON.
 *
 * A shape is what is known of a type: of a row type its attributes', of an
 * array its elements', of a domain what is under it.  It gives the schema that a
 * generated text obeys, and reads the value from that text: each part by the input function of
 * its type, so that a value is what a cast from text would give.  No attribute is null or left out:
 * a schema that lets a model say nothing invites it to.  (Who wants that writes a schema, and
 * uses generate_json() with jsonb_populate_record().)
 *
 * What a schema cannot say is checked when the value is read: constraints of domains, the range of a
 * numeric(p,s).
 *
 * To add a type: its row in scalars[].
 *-------------------------------------------------------------------------
 */
#include "pg/generate.h"

#include <float.h>

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

typedef struct Scalar
{
	Oid			type;
	const char *word;			/* of "type" in a schema; NULL: any */
	const char *format;
	bool		bounded;
	int64		min;
	int64		max;
	bool		counted;		/* typmod is the most characters */
	Datum		(*of_number) (Numeric number);	/* NULL: the type's input function */
} Scalar;

/* The nearest number that there is: a schema has no word for the range of a floating-point number. */
static double
nearest(Numeric number, double most)
{
	double		value = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));

	return Max(Min(value, most), -most);
}

static Datum
float4_of(Numeric number)
{
	return Float4GetDatum((float4) nearest(number, FLT_MAX));
}

static Datum
float8_of(Numeric number)
{
	return Float8GetDatum(nearest(number, DBL_MAX));
}

static const Scalar scalars[] = {
	{BOOLOID, "boolean"},
	{INT2OID, "integer",.bounded = true,.min = PG_INT16_MIN,.max = PG_INT16_MAX},
	{INT4OID, "integer",.bounded = true,.min = PG_INT32_MIN,.max = PG_INT32_MAX},
	{INT8OID, "integer",.bounded = true,.min = PG_INT64_MIN,.max = PG_INT64_MAX},
	{NUMERICOID, "number"},
	{FLOAT4OID, "number",.of_number = float4_of},
	{FLOAT8OID, "number",.of_number = float8_of},
	{TEXTOID, "string"},
	{VARCHAROID, "string",.counted = true},
	{BPCHAROID, "string",.counted = true},
	{DATEOID, "string", "date"},
	{TIMEOID, "string", "time"},
	{TIMESTAMPOID, "string", "date-time"},
	{TIMESTAMPTZOID, "string", "date-time"},
	{UUIDOID, "string", "uuid"},
	{JSONBOID, NULL},
	{JSONOID, NULL},
};

struct TrShape
{
	Oid			type;
	int32		typmod;
	bool		is_domain;
	const char *name;			/* of an attribute */
	const Scalar *scalar;		/* NULL: an enum, a row or an array */
	bool		is_array;
	TupleDesc	desc;			/* of a row */
	int			n;				/* attributes that were not dropped; 1 of an array */
	TrShape    *parts;
	int		   *columns;		/* of the row, for each attribute */
	FmgrInfo	input;			/* of the type, or of what is under a domain */
	Oid			parameter;		/* the same */
};

/* ---- shapes ---- */

static void fill_shape(TrShape *shape, Oid type, int32 typmod);

static const Scalar *
find_scalar(Oid type)
{
	for (int i = 0; i < lengthof(scalars); i++)
		if (scalars[i].type == type)
			return &scalars[i];
	return NULL;
}

static void
fill_row(TrShape *shape, Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

	shape->desc = desc;
	shape->parts = palloc0(sizeof(TrShape) * Max(desc->natts, 1));
	shape->columns = palloc(sizeof(int) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped)
			continue;
		fill_shape(&shape->parts[shape->n], column->atttypid, column->atttypmod);
		shape->parts[shape->n].name = NameStr(column->attname);
		shape->columns[shape->n++] = i;
	}
}

static void
fill_array(TrShape *shape, Oid element, int32 typmod)
{
	shape->is_array = true;
	shape->n = 1;
	shape->parts = palloc0(sizeof(TrShape));
	fill_shape(shape->parts, element, typmod);
}

static TE_NORETURN void
throw_type(Oid type)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a value of type %s cannot be generated", format_type_be(type)),
			 errhint("Use bool, integers, numbers, text, dates, uuid, jsonb, enums, or arrays, domains and row types of these.")));
	pg_unreachable();
}

static void
fill_shape(TrShape *shape, Oid type, int32 typmod)
{
	Oid			base = getBaseTypeAndTypmod(type, &typmod);
	Oid			input;

	check_stack_depth();
	shape->type = type;
	shape->typmod = typmod;
	shape->is_domain = base != type;
	getTypeInputInfo(base, &input, &shape->parameter);
	fmgr_info(input, &shape->input);
	shape->scalar = find_scalar(base);
	if (OidIsValid(get_element_type(base)))
		fill_array(shape, get_element_type(base), typmod);
	else if (get_typtype(base) == TYPTYPE_COMPOSITE)
		fill_row(shape, base);
	else if (shape->scalar == NULL && !type_is_enum(base))
		throw_type(type);
}

TrShape *
tr_shape(Oid type, int32 typmod)
{
	TrShape    *shape = palloc0(sizeof(TrShape));

	if (!OidIsValid(type))
		ereport(ERROR, (errcode(ERRCODE_INDETERMINATE_DATATYPE), errmsg("could not determine the type of base")));
	fill_shape(shape, type, typmod);
	return shape;
}

/* ---- schemas ---- */

static void write_schema(const TrShape *shape, TeJson *node, TeArena *arena);

static TeStr
server_text(const char *cstring, TeArena *arena)
{
	return te_str_copy(arena, tr_utf8(cstring_to_text(cstring)));
}

static void
add_word(TeJson *node, TeArena *arena, const char *key, const char *word)
{
	te_json_set_str(te_json_add(arena, node, key), te_str(word));
}

static void
write_scalar(const TrShape *shape, TeJson *node, TeArena *arena)
{
	const Scalar *scalar = shape->scalar;

	if (scalar->word != NULL)
		add_word(node, arena, "type", scalar->word);
	if (scalar->format != NULL)
		add_word(node, arena, "format", scalar->format);
	if (scalar->bounded)
	{
		te_json_set_int(te_json_add(arena, node, "minimum"), scalar->min);
		te_json_set_int(te_json_add(arena, node, "maximum"), scalar->max);
	}
	if (scalar->counted && shape->typmod > VARHDRSZ)
		te_json_set_int(te_json_add(arena, node, "maxLength"), shape->typmod - VARHDRSZ);
}

static void
write_enum(const TrShape *shape, TeJson *node, TeArena *arena)
{
	CatCList   *labels = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(getBaseType(shape->type)));
	TeJson	   *array = te_json_new_array(arena, labels->n_members);

	for (int i = 0; i < labels->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&labels->members[i]->tuple);

		te_json_set_str(&array->items[i], server_text(NameStr(label->enumlabel), arena));
	}
	ReleaseSysCacheList(labels);
	te_json_set_copy(arena, te_json_add(arena, node, "enum"), array);
}

static void
write_row(const TrShape *shape, TeJson *node, TeArena *arena)
{
	TeJson	   *properties = te_json_new_object(arena);
	TeJson	   *required = te_json_new_array(arena, shape->n);

	for (int i = 0; i < shape->n; i++)
	{
		TeStr		name = server_text(shape->parts[i].name, arena);
		TeJson	   *part = te_json_new_object(arena);

		write_schema(&shape->parts[i], part, arena);
		te_json_set_copy(arena, te_json_add(arena, properties, te_cstring(arena, name)), part);
		te_json_set_str(&required->items[i], name);
	}
	add_word(node, arena, "type", "object");
	te_json_set_copy(arena, te_json_add(arena, node, "properties"), properties);
	te_json_set_copy(arena, te_json_add(arena, node, "required"), required);
	te_json_set_bool(te_json_add(arena, node, "additionalProperties"), false);
}

static void
write_array(const TrShape *shape, TeJson *node, TeArena *arena)
{
	TeJson	   *items = te_json_new_object(arena);

	write_schema(shape->parts, items, arena);
	add_word(node, arena, "type", "array");
	te_json_set_copy(arena, te_json_add(arena, node, "items"), items);
}

static void
write_schema(const TrShape *shape, TeJson *node, TeArena *arena)
{
	if (shape->scalar != NULL)
		write_scalar(shape, node, arena);
	else if (shape->desc != NULL)
		write_row(shape, node, arena);
	else if (shape->is_array)
		write_array(shape, node, arena);
	else
		write_enum(shape, node, arena);
}

const TeJson *
tr_shape_schema(const TrShape *shape, TeArena *arena)
{
	TeJson	   *node = te_json_new_object(arena);

	write_schema(shape, node, arena);
	return node;
}

/* ---- values ---- */

static Datum value_of(const TrShape *shape, JsonbValue *json, bool *isnull);

/* As the type's input function wants it. */
static char *
input_of(const TrShape *shape, JsonbValue *json)
{
	bool		whole = shape->scalar != NULL && shape->scalar->word == NULL;

	if (whole || json->type == jbvBinary)
	{
		Jsonb	   *jsonb = JsonbValueToJsonb(json);

		return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	}
	if (json->type == jbvString)
		return pnstrdup(json->val.string.val, json->val.string.len);
	if (json->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(json->val.numeric)));
	return pstrdup(json->val.boolean ? "true" : "false");
}

static Datum
row_of(const TrShape *shape, JsonbContainer *json)
{
	Datum	   *values = palloc0(sizeof(Datum) * Max(shape->desc->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(shape->desc->natts, 1));

	memset(nulls, true, shape->desc->natts);
	for (int i = 0; i < shape->n; i++)
	{
		const TrShape *part = &shape->parts[i];
		JsonbValue *value = getKeyJsonValueFromContainer(json, part->name, strlen(part->name), NULL);

		values[shape->columns[i]] = value_of(part, value, &nulls[shape->columns[i]]);
	}
	return HeapTupleGetDatum(heap_form_tuple(shape->desc, values, nulls));
}

static Datum
array_of(const TrShape *shape, JsonbContainer *json)
{
	int			n = JsonContainerSize(json);
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	Oid			type = shape->parts->type;
	int			one = 1;
	int16		length;
	bool		by_value;
	char		align;

	if (n == 0)
		return PointerGetDatum(construct_empty_array(type));
	for (int i = 0; i < n; i++)
		values[i] = value_of(shape->parts, getIthJsonbValueFromContainer(json, i), &nulls[i]);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &one, type, length, by_value, align));
}

/* Rows and arrays are what the schema lets them be; anything else ends in an error of the input function. */
static Datum
value_of(const TrShape *shape, JsonbValue *json, bool *isnull)
{
	bool		any = shape->scalar != NULL && shape->scalar->word == NULL;
	JsonbContainer *container = json != NULL && json->type == jbvBinary ? json->val.binary.data : NULL;
	Datum		value = (Datum) 0;

	check_stack_depth();
	*isnull = json == NULL || (json->type == jbvNull && !any);
	if (*isnull)
		;
	else if (shape->desc != NULL && container != NULL && JsonContainerIsObject(container))
		value = row_of(shape, container);
	else if (shape->is_array && container != NULL && JsonContainerIsArray(container))
		value = array_of(shape, container);
	else if (shape->scalar != NULL && shape->scalar->of_number != NULL && json->type == jbvNumeric)
		value = shape->scalar->of_number(json->val.numeric);
	else
		value = InputFunctionCall(unconstify(FmgrInfo *, &shape->input), input_of(shape, json), shape->parameter, shape->typmod);
	if (shape->is_domain)
		domain_check(value, *isnull, shape->type, NULL, CurrentMemoryContext);
	return value;
}

Datum
tr_shape_value(const TrShape *shape, text *json)
{
	Jsonb	   *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(json))));
	JsonbValue	root = {.type = jbvBinary,.val.binary = {.len = VARSIZE(jsonb) - VARHDRSZ,.data = &jsonb->root}};
	bool		isnull;

	return value_of(shape, JB_ROOT_IS_SCALAR(jsonb) ? getIthJsonbValueFromContainer(&jsonb->root, 0) : &root, &isnull);
}
