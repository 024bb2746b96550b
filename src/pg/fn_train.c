/*-------------------------------------------------------------------------
 * fn_train.c
 *	  SQL functions that train: finetune, pretrain, distill, resume_training.
 *
 * Arguments become a request.  What is an option of the engine goes there by its name, from an
 * argument as from a member of `options`; the engine knows types and bounds.  An argument counts
 * more than a member of the same name.  NULL means the default.
 *
 * The statements have the same arguments but for the first and the last of them: a
 * Statement says which.  To add an option as an argument: its name in a Statement or in common[], and in the script.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#define MOST_ARGUMENTS 24

/* Arguments that all have, in this order; those of the engine are options. */
static const char *const common[] = {
	"output", "epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "schedule", "max_length", "max_steps",
	"eval_query", "seed", "background", "options"
};

/* The arguments of a statement, by name. */
typedef struct Statement
{
	const char *name;
	const char *first[5];		/* before the common ones */
	const char *last[3];		/* after them */
} Statement;

static const Statement finetune = {"finetune", {"model", "query", "task"}, {"lora_rank", "freeze"}};
static const Statement distill = {"distill", {"teacher", "student", "query", "task"}, {"temperature", "alpha"}};
static const Statement pretrain = {"pretrain", {"model", "query", "task"}, {"lora_rank", "freeze"}};

/* Names of all arguments. */
static int
list_arguments(const Statement *statement, const char **names)
{
	int			n = 0;

	for (int i = 0; statement->first[i] != NULL; i++)
		names[n++] = statement->first[i];
	for (int i = 0; i < (int) lengthof(common); i++)
		names[n++] = common[i];
	for (int i = 0; statement->last[i] != NULL; i++)
		names[n++] = statement->last[i];
	return n;
}

/* ---- arguments to a request ---- */

/* A number as it would be written, so that 0.1::real is 0.1. */
static void
set_real(TeArena *arena, TeJson *node, float value)
{
	if (isfinite(value))
		te_json_set_real(node, te_json_parse_real(te_str(DatumGetCString(DirectFunctionCall1(float4out, Float4GetDatum(value))))));
	else
		te_json_set_real(node, value);
}

static void
add_option(FunctionCallInfo fcinfo, int arg, TeArena *arena, TeJson *options, const char *name)
{
	TeJson	   *node = te_json_add(arena, options, name);

	switch (get_fn_expr_argtype(fcinfo->flinfo, arg))
	{
		case FLOAT4OID:
			set_real(arena, node, PG_GETARG_FLOAT4(arg));
			break;
		case INT4OID:
			te_json_set_int(node, PG_GETARG_INT32(arg));
			break;
		case INT8OID:
			te_json_set_int(node, PG_GETARG_INT64(arg));
			break;
		default:
			te_json_set_str(node, te_str_copy(arena, tr_utf8(PG_GETARG_TEXT_PP(arg))));
			break;
	}
}

/* Members of the argument `options`; those of ours are not the engine's. */
static void
add_members(FunctionCallInfo fcinfo, int arg, TeArena *arena, TrRequest *request)
{
	const TeJson *members = tr_json_argument(fcinfo, arg, arena, "options", "Write options => '{\"dropout\": 0.2}'.");

	for (uint32 i = 0; i < members->n; i++)
	{
		const TeJson *member = &members->items[i];

		if (te_str_is(member->key, "checkpoint_interval"))
		{
			request->checkpoint_interval = te_json_real(members, "checkpoint_interval", -1);
			if (!(request->checkpoint_interval >= 0 && request->checkpoint_interval <= 86400))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("option \"checkpoint_interval\" must be between 0 and 86400 seconds")));
		}
		else if (te_str_is(member->key, "layers"))
			request->layers = member;
		else
			te_json_set_copy(arena, te_json_add(arena, request->options, te_cstring(arena, member->key)), member);
	}
}

/* What is not an option. */
static bool
take_own_argument(FunctionCallInfo fcinfo, int arg, const char *name, TeArena *arena, TrRequest *request)
{
	const struct
	{
		const char *name;
		char	  **into;
		bool		required;
	}			texts[] = {
		{"model", &request->model, true},
		{"student", &request->model, true},
		{"teacher", &request->teacher, true},
		{"query", &request->query, true},
		{"task", &request->task, false},
		{"output", &request->output, false},
		{"eval_query", &request->eval_query, false},
	};

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		if (strcmp(name, texts[i].name) != 0)
			continue;
		if (texts[i].required)
			tr_require(fcinfo, arg, name);
		*texts[i].into = PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
		return true;
	}
	if (strcmp(name, "background") == 0)
	{
		request->background = !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg);
		return true;
	}
	return strcmp(name, "options") == 0;
}

static void
read_request(FunctionCallInfo fcinfo, const Statement *statement, TeArena *arena, TrRequest *request)
{
	const char *names[MOST_ARGUMENTS];
	int			n = list_arguments(statement, names);

	Assert(n == PG_NARGS());
	*request = (TrRequest) {.statement = statement->name,.options = te_json_new_object(arena),.checkpoint_interval = -1};
	for (int i = 0; i < n; i++)
	{
		if (strcmp(names[i], "options") == 0 && !PG_ARGISNULL(i))
			add_members(fcinfo, i, arena, request);
	}
	for (int i = 0; i < n; i++)
	{
		if (!take_own_argument(fcinfo, i, names[i], arena, request) && !PG_ARGISNULL(i))
			add_option(fcinfo, i, arena, request->options, names[i]);
	}
}

/* ---- the result ---- */

static Datum
result_row(FunctionCallInfo fcinfo, const TrResult *result)
{
	TupleDesc	desc;
	bool		unknown = result->model == NULL;
	Datum		values[9];
	bool		nulls[9];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, unknown, sizeof(nulls));
	memset(values, 0, sizeof(values));
	values[1] = Int64GetDatum(result->run);
	nulls[1] = false;
	if (!unknown)
	{
		values[0] = CStringGetTextDatum(result->model);
		values[2] = Int64GetDatum(result->rows);
		values[3] = Int64GetDatum(result->tokens);
		values[4] = Int32GetDatum((int32) Min(result->steps, PG_INT32_MAX));
		values[5] = Float4GetDatum((float4) result->loss);
		values[6] = Float4GetDatum((float4) result->eval_loss);
		nulls[6] = isnan(result->eval_loss);
		nulls[7] = result->metrics.data == NULL;
		if (!nulls[7])
			values[7] = DirectFunctionCall1(jsonb_in, CStringGetDatum(tr_cstring(result->metrics)));
		values[8] = Float8GetDatum(result->seconds);
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---- functions ---- */

static Datum
train(FunctionCallInfo fcinfo, const Statement *statement)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "training", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(memory);
	TeArena    *arena;
	TrRequest	request;
	TrResult	result;
	Datum		row;

	tr_must_be_writable(psprintf("%s()", statement->name));
	arena = tr_training_arena(memory);
	read_request(fcinfo, statement, arena, &request);
	tr_train(arena, &request, &result);
	MemoryContextSwitchTo(before);
	row = result_row(fcinfo, &result);
	MemoryContextDelete(memory);
	return row;
}

PG_FUNCTION_INFO_V1(transformer_finetune);
Datum
transformer_finetune(PG_FUNCTION_ARGS)
{
	return train(fcinfo, &finetune);
}

PG_FUNCTION_INFO_V1(transformer_pretrain);
Datum
transformer_pretrain(PG_FUNCTION_ARGS)
{
	return train(fcinfo, &pretrain);
}

PG_FUNCTION_INFO_V1(transformer_distill);
Datum
transformer_distill(PG_FUNCTION_ARGS)
{
	return train(fcinfo, &distill);
}

PG_FUNCTION_INFO_V1(transformer_resume_training);
Datum
transformer_resume_training(PG_FUNCTION_ARGS)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "training", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(memory);
	TrResult	result;
	Datum		row;

	tr_must_be_writable("resume_training()");
	tr_require(fcinfo, 0, "run");
	tr_train_resume(tr_training_arena(memory), PG_GETARG_INT64(0), &result);
	MemoryContextSwitchTo(before);
	row = result_row(fcinfo, &result);
	MemoryContextDelete(memory);
	return row;
}
