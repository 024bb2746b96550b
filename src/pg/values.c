/*-------------------------------------------------------------------------
 * values.c
 *	  SQL's arrays, sets and JSON for the engine, and the engine's for SQL.
 *
 * Conversions only: nothing here knows of models.  Arrays of floats cross
 * without a Datum per element.  Errors about a user's arrays are data
 * exceptions, as in pgvector.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

/* An array of n fixed-size, 4-byte elements without NULLs. */
static ArrayType *
plain_array(const void *values, int n, Oid type)
{
	Size		bytes = ARR_OVERHEAD_NONULLS(1) + (Size) n * 4;
	ArrayType  *array;

	if (n == 0)
		return construct_empty_array(type);
	array = palloc0(bytes);
	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = type;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), values, (Size) n * 4);
	return array;
}

ArrayType *
tr_real_array(const float *values, int n)
{
	return plain_array(values, n, FLOAT4OID);
}

ArrayType *
tr_int_array(const int32 *values, int n)
{
	return plain_array(values, n, INT4OID);
}

/* Results are in the order of the elements, which of more dimensions would be anybody's guess. */
static void
check_dimensions(ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array must have one dimension, not %d", ARR_NDIM(array)),
				 errhint("Give each row of it by itself, or all elements as ARRAY(SELECT unnest(...)).")));
}

/* The elements of an array of one dimension without NULLs, of a 4-byte type; n may be 0. */
static const void *
plain_elements(ArrayType *array, int *n)
{
	check_dimensions(array);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array must not contain nulls")));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return ARR_DATA_PTR(array);
}

const float *
tr_reals(ArrayType *array, int *n)
{
	return plain_elements(array, n);
}

const int32 *
tr_ints(ArrayType *array, int *n)
{
	return plain_elements(array, n);
}

TrTexts
tr_texts(ArrayType *array)
{
	TrTexts		texts = {0};

	check_dimensions(array);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &texts.values, &texts.nulls, &texts.n);
	return texts;
}

TrTexts
tr_pairs(Datum first, ArrayType *seconds)
{
	TrTexts		pairs = tr_texts(seconds);

	first = PointerGetDatum(DatumGetTextPP(first));
	pairs.pairs = pairs.values;
	pairs.values = palloc(sizeof(Datum) * Max(pairs.n, 1));
	for (int i = 0; i < pairs.n; i++)
		pairs.values[i] = first;
	return pairs;
}

int32
tr_characters(TeStr utf8)
{
	int32		n = 0;

	for (size_t i = 0; i < utf8.len; i++)
		n += ((unsigned char) utf8.data[i] & 0xC0) != 0x80;
	return n;
}

ArrayType *
tr_text_array(Datum *values, int n)
{
	return construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Begin a set of one column that is not a row type; tr_set_add() fills it. */
void
tr_set_begin(FunctionCallInfo fcinfo, Oid type)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	bool		random_access;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	random_access = (result->allowedModes & SFRM_Materialize_Random) != 0;
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	result->setDesc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(result->setDesc, 1, "value", type, -1, 0);
	result->setResult = tuplestore_begin_heap(random_access, false, work_mem);
	result->returnMode = SFRM_Materialize;
	MemoryContextSwitchTo(old);
}

bool
tr_same_text(text *a, text *b)
{
	return a == b || (VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
					  memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0);
}

void
tr_set_add(FunctionCallInfo fcinfo, Datum value, bool isnull)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
}

void
tr_row_to_set(void *arg, int i, Datum *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) ((FunctionCallInfo) arg)->resultinfo;
	bool	   *nulls = palloc0(sizeof(bool) * result->setDesc->natts);

	tuplestore_putvalues(result->setResult, result->setDesc, row, nulls);
	pfree(nulls);
}

/* Of many texts, a row begins with the text's number. */
void
tr_numbered_row_to_set(void *arg, int i, Datum *row)
{
	int			n = ((ReturnSetInfo *) ((FunctionCallInfo) arg)->resultinfo)->setDesc->natts;
	Datum	   *numbered = palloc(sizeof(Datum) * n);

	numbered[0] = Int32GetDatum(i + 1);
	memcpy(numbered + 1, row, sizeof(Datum) * (n - 1));
	tr_row_to_set(arg, i, numbered);
	pfree(numbered);
}

/* ---- JSON ---- */

const TeJson *
tr_json(Datum value, TeArena *arena, const char *name)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	text	   *written = cstring_to_text(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)));

	return te_json_parse(arena, te_str_copy(arena, tr_utf8(written)), name);
}

const TeJson *
tr_json_object(Datum value, TeArena *arena, const char *name, const char *hint)
{
	const TeJson *json = tr_json(value, arena, name);

	if (json->kind != TE_JSON_OBJECT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be an object", name), errhint("%s", hint)));
	return json;
}

const TeJson *
tr_json_argument(FunctionCallInfo fcinfo, int arg, TeArena *arena, const char *name, const char *hint)
{
	return tr_json_object(PG_GETARG_DATUM(arg), arena, name, hint);
}
