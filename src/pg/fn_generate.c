/*-------------------------------------------------------------------------
 * fn_generate.c
 *	  generate() and its array twin, generate_json(), generate_as() and chat().
 *
 * Each is a form (generate.h): what its first arguments mean for the engine, and
 * what its text becomes.  The functions are VOLATILE, since a temperature draws; the
 * Batch node runs them for many rows all the same (batch_funcs.c).
 *
 * What generate_json() and generate_as() give is valid because the engine lets no other text come about; the
 * value is read from it as from any input.
 *-------------------------------------------------------------------------
 */
#include "pg/generate.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

/* ---- forms ---- */

static void
prepare_text(TrRequest *request, const TrGenerateCalls *calls, Datum first, const NullableDatum *args)
{
	request->prompt = tr_utf8(DatumGetTextPP(first));
}

static Datum
result_text(const TrGenerateCalls *calls, TeStr text)
{
	return PointerGetDatum(tr_generated_text(text));
}

const TrGenerateForm tr_generate_text = {.model = 1,.prepare = prepare_text,.result = result_text};

/* The model's template writes the special tokens that a conversation begins with. */
static void
prepare_chat(TrRequest *request, const TrGenerateCalls *calls, Datum first, const NullableDatum *args)
{
	request->prompt = te_model_chat_prompt(tr_model_engine(request->model), request->arena,
										   tr_json(first, request->arena, "messages"), true);
	request->options.bare = true;
}

const TrGenerateForm tr_generate_chat = {.model = 1,.prepare = prepare_chat,.result = result_text};

static void
prepare_json(TrRequest *request, const TrGenerateCalls *calls, Datum first, const NullableDatum *args)
{
	if (args[1].isnull)
		tr_throw_null("schema", NULL);
	prepare_text(request, calls, first, args);
	request->options.schema = tr_json(args[1].value, request->arena, "schema");
}

static Datum
result_json(const TrGenerateCalls *calls, TeStr text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(tr_generated_text(text))));
}

const TrGenerateForm tr_generate_json = {.model = 2,.shaped = true,.prepare = prepare_json,.result = result_json};

static void
prepare_as(TrRequest *request, const TrGenerateCalls *calls, Datum first, const NullableDatum *args)
{
	prepare_text(request, calls, first, args);
	request->options.schema = tr_shape_schema(calls->shape, request->arena);
}

static Datum
result_as(const TrGenerateCalls *calls, TeStr text)
{
	return tr_shape_value(calls->shape, tr_generated_text(text));
}

const TrGenerateForm tr_generate_as = {.model = 2,.shaped = true,.prepare = prepare_as,.result = result_as};

/* ---- one call ---- */

static void
keep_value(void *arg, int i, Datum value, bool isnull)
{
	*(Datum *) arg = value;
}

/* The typmod of generate_as()'s base, whose expression is known where SQL calls the function. */
static int32
base_typmod(FmgrInfo *flinfo)
{
	Node	   *call = flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) ? exprTypmod(list_nth(((FuncExpr *) call)->args, 1)) : -1;
}

static Datum
generate_one(FunctionCallInfo fcinfo, const TrGenerateForm *form)
{
	const NullableDatum *args = fcinfo->args;
	TrGenerateCalls calls = {.form = form,.n = 1,.args = &args};
	TrModel    *model;
	Datum		result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, form->model), TR_USE_GENERATE);
	if (tr_ahead_found(fcinfo, model, &result))
		return result;
	if (form == &tr_generate_as)
		calls.shape = tr_shape(get_fn_expr_argtype(fcinfo->flinfo, 1), base_typmod(fcinfo->flinfo));
	tr_generate_each(model, &calls, keep_value, &result);
	return result;
}

PG_FUNCTION_INFO_V1(transformer_generate);
Datum
transformer_generate(PG_FUNCTION_ARGS)
{
	return generate_one(fcinfo, &tr_generate_text);
}

PG_FUNCTION_INFO_V1(transformer_chat);
Datum
transformer_chat(PG_FUNCTION_ARGS)
{
	return generate_one(fcinfo, &tr_generate_chat);
}

PG_FUNCTION_INFO_V1(transformer_generate_json);
Datum
transformer_generate_json(PG_FUNCTION_ARGS)
{
	return generate_one(fcinfo, &tr_generate_json);
}

PG_FUNCTION_INFO_V1(transformer_generate_as);
Datum
transformer_generate_as(PG_FUNCTION_ARGS)
{
	return generate_one(fcinfo, &tr_generate_as);
}

/* ---- many prompts ---- */

static void
value_to_set(void *arg, int i, Datum value, bool isnull)
{
	tr_set_add(arg, value, isnull);
	if (!isnull)
		pfree(DatumGetPointer(value));
}

PG_FUNCTION_INFO_V1(transformer_generate_array);
Datum
transformer_generate_array(PG_FUNCTION_ARGS)
{
	TrTexts		prompts;
	TrGenerateCalls calls = {.form = &tr_generate_text};

	tr_set_begin(fcinfo, TEXTOID);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	prompts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));
	calls.n = prompts.n;
	calls.firsts = prompts.values;
	calls.nulls = prompts.nulls;
	calls.args = palloc(sizeof(NullableDatum *) * Max(prompts.n, 1));
	for (int i = 0; i < prompts.n; i++)
		calls.args[i] = fcinfo->args;
	tr_generate_each(tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_GENERATE), &calls, value_to_set, fcinfo);
	PG_RETURN_NULL();
}
