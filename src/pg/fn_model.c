/*-------------------------------------------------------------------------
 * fn_model.c
 *	  SQL functions on models as objects: import, export, copy, rename, drop,
 *	  deploy, grant.
 *
 * Each checks its arguments and privileges here, then calls the catalog.
 * Checks go from the cheap to the dear, and privileges before anything that
 * would tell a caller without them what there is.
 *
 * Importing makes a new version of the name; the first one is deployed, later
 * ones are not.  A definition is read, its bytes go into chunks (storage
 * 'file': only their digests are taken), and then, with the version's row
 * there, its image is built for the reference vectors, so that a
 * model that cannot be run is not imported.  All of that is one transaction's, or nobody's.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---- arguments ---- */

/* An optional text as the engine's, {NULL, 0} where it is NULL. */
static TeStr
utf8_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? (TeStr) {NULL, 0} : tr_utf8(PG_GETARG_TEXT_PP(i));
}

/* A name without a version. */
static char *
bare_name(const char *model)
{
	char	   *name;
	int32		version;

	tr_parse_model_name(model, &name, &version);
	if (version != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("\"%s\" names one version of a model", model),
						errhint("Write \"%s\", which is all of its versions.", name)));
	return name;
}

/* The model that is named, if the current user owns it. */
static void
owned_model(const char *model, TrVersion *into)
{
	tr_catalog_get(model, into);
	tr_check_owner(into);
}

void
tr_must_be_writable(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/* ---- import ---- */

/* Arguments of both import functions, after the one that says where from. */
enum
{
	IMPORT_NAME,
	IMPORT_FROM,
	IMPORT_STORAGE,
	IMPORT_QUANTIZATION,
	IMPORT_TASK,
	IMPORT_LABELS,
	IMPORT_TOKENIZER
};

/* n 0: none are given. */
static TrTexts
read_labels(FunctionCallInfo fcinfo, TeImportOptions *options)
{
	TrTexts		given = {0};
	TeStr	   *labels;

	if (PG_ARGISNULL(IMPORT_LABELS))
		return given;
	given = tr_labels(PG_GETARG_ARRAYTYPE_P(IMPORT_LABELS));
	labels = palloc(sizeof(TeStr) * given.n);
	for (int i = 0; i < given.n; i++)
		labels[i] = tr_utf8(DatumGetTextPP(given.values[i]));
	options->n_labels = given.n;
	options->labels = labels;
	return given;
}

/* The tokenizer of another model, in place of the file's. */
static void
read_tokenizer(FunctionCallInfo fcinfo, TeArena *arena, TeImportOptions *options)
{
	TrVersion	version;
	TeStr		json;

	if (PG_ARGISNULL(IMPORT_TOKENIZER))
		return;
	tr_catalog_get(text_to_cstring(PG_GETARG_TEXT_PP(IMPORT_TOKENIZER)), &version);
	tr_check_usage(&version);
	json = tr_catalog_tokenizer(arena, &version);
	if (json.len == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" has no tokenizer", version.name)));
	options->tokenizer = te_json_parse(arena, json, "tokenizer.json");
}

/* Is storage 'file'? */
static bool
read_storage(FunctionCallInfo fcinfo)
{
	char	   *storage = tr_required_text(fcinfo, IMPORT_STORAGE, "storage");

	if (strcmp(storage, "file") == 0)
		return true;
	if (strcmp(storage, "table") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid storage: \"%s\"", storage),
						errhint("Use \"table\" or \"file\".")));
	return false;
}

void
tr_check_name_is_free(const char *name)
{
	TrVersion	existing;

	if (tr_catalog_find(name, 0, &existing))
		tr_check_owner(&existing);
}

text *
tr_report_version(const TrVersion *version)
{
	if (version->version != version->deployed)
		ereport(NOTICE, (errmsg("model \"%s@%d\" is not deployed", version->name, version->version),
						 errdetail("\"%s\" still means version %d.", version->name, version->deployed),
						 errhint("Deploy it with transformer.deploy_model().")));
	return cstring_to_text(tr_version_name(version->name, version->version));
}

/* From an input whose privileges have been checked. */
static text *
import_input(FunctionCallInfo fcinfo, TeArena *arena, TrInput *input, bool in_file)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(IMPORT_NAME));
	TeImportOptions options = {
		.quantization = utf8_argument(fcinfo, IMPORT_QUANTIZATION),
		.task = utf8_argument(fcinfo, IMPORT_TASK)
	};
	TrNewVersion new = {.name = name,.input = in_file ? input : NULL};
	TrVersion	version;
	TrContext	context;
	TrTexts		labels;

	if (in_file)
		new.conversion = PG_ARGISNULL(IMPORT_QUANTIZATION) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(IMPORT_QUANTIZATION));
	labels = read_labels(fcinfo, &options);
	read_tokenizer(fcinfo, arena, &options);

	tr_context_push(&context, psprintf("while importing model \"%s\" from \"%s\"", name, input->name));
	tr_import_begin();
	new.def = tr_input_import(arena, input, &options);
	if (labels.n > 0 && !te_str_is(new.def->task, "token-classification"))
		tr_labels_differ(&labels);
	tr_catalog_create(arena, &new, &context, &version);
	tr_import_phase(TR_IMPORT_BUILDING);
	tr_make_references(&version);
	tr_import_end();
	tr_context_pop(&context);
	return tr_report_version(&version);
}

PG_FUNCTION_INFO_V1(transformer_import_model);
Datum
transformer_import_model(PG_FUNCTION_ARGS)
{
	char	   *name = tr_required_text(fcinfo, IMPORT_NAME, "name");
	char	   *path = tr_required_text(fcinfo, IMPORT_FROM, "path");
	bool		in_file = read_storage(fcinfo);
	TeArena    *arena;
	text	   *result;

	tr_must_be_writable("import_model()");
	tr_check_model_name(name);
	tr_check_privilege_of(ROLE_PG_READ_SERVER_FILES, "import a model from a file of the server");
	tr_check_name_is_free(name);
	arena = tr_arena(CurrentMemoryContext, "model import", tr_session_limit());
	result = import_input(fcinfo, arena, tr_input_path(arena, path), in_file);
	te_arena_destroy(arena);
	PG_RETURN_TEXT_P(result);
}

PG_FUNCTION_INFO_V1(transformer_import_model_lo);
Datum
transformer_import_model_lo(PG_FUNCTION_ARGS)
{
	char	   *name = tr_required_text(fcinfo, IMPORT_NAME, "name");
	TeArena    *arena;
	TrInput    *input;
	text	   *result;

	tr_require(fcinfo, IMPORT_FROM, "large_object");
	if (read_storage(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("storage \"file\" needs a file of the server, not a large object")));
	tr_must_be_writable("import_model()");
	tr_check_model_name(name);
	tr_check_name_is_free(name);
	arena = tr_arena(CurrentMemoryContext, "model import", tr_session_limit());
	input = tr_input_large_object(arena, PG_GETARG_OID(IMPORT_FROM));
	result = import_input(fcinfo, arena, input, false);
	tr_input_close(input);
	te_arena_destroy(arena);
	PG_RETURN_TEXT_P(result);
}

/* ---- export, copy ---- */

PG_FUNCTION_INFO_V1(transformer_export_model);
Datum
transformer_export_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	char	   *path = tr_required_text(fcinfo, 1, "path");
	TrVersion	version;
	TrContext	context;
	TeArena    *arena;
	TeModelDef *def;
	uint64		bytes;

	tr_check_privilege_of(ROLE_PG_WRITE_SERVER_FILES, "export a model to a file of the server");
	tr_catalog_get(model, &version);
	tr_check_usage(&version);
	path = tr_absolute_path(path);

	arena = tr_arena(CurrentMemoryContext, "model export", tr_session_limit());
	tr_context_push(&context, psprintf("while exporting model \"%s\" to \"%s\"", model, path));
	def = tr_catalog_definition(arena, &version);
	bytes = tr_output_path(arena, def, te_cstring(arena, tr_utf8(cstring_to_text(version.name))), path);
	tr_context_pop(&context);
	te_arena_destroy(arena);
	PG_RETURN_INT64((int64) bytes);
}

PG_FUNCTION_INFO_V1(transformer_copy_model);
Datum
transformer_copy_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	char	   *name = tr_required_text(fcinfo, 1, "name");
	TrVersion	from;
	TrVersion	version;

	tr_must_be_writable("copy_model()");
	tr_check_model_name(name);
	tr_catalog_get(model, &from);
	tr_check_usage(&from);
	tr_check_name_is_free(name);
	tr_catalog_copy(&from, name, &version);
	PG_RETURN_TEXT_P(tr_report_version(&version));
}

/* ---- names ---- */

PG_FUNCTION_INFO_V1(transformer_rename_model);
Datum
transformer_rename_model(PG_FUNCTION_ARGS)
{
	char	   *name = bare_name(tr_required_text(fcinfo, 0, "name"));
	char	   *new_name = tr_required_text(fcinfo, 1, "new_name");
	TrVersion	version;
	TrVersion	other;

	tr_must_be_writable("rename_model()");
	tr_check_model_name(new_name);
	owned_model(name, &version);
	if (tr_catalog_find(new_name, 0, &other))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("model \"%s\" already exists", new_name)));
	tr_check_not_pinned(name, 0, "rename");
	tr_catalog_rename(name, new_name);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(transformer_drop_model);
Datum
transformer_drop_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	char	   *name;
	int32		number;
	TrVersion	version;

	tr_require(fcinfo, 1, "if_exists");
	tr_must_be_writable("drop_model()");
	tr_parse_model_name(model, &name, &number);
	if (PG_GETARG_BOOL(1) && !tr_catalog_find(name, number, &version))
	{
		ereport(NOTICE, (errmsg("model \"%s\" does not exist, skipping", model)));
		PG_RETURN_VOID();
	}
	owned_model(model, &version);
	tr_check_not_pinned(name, number, "drop");
	tr_catalog_drop(name, number);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(transformer_deploy_model);
Datum
transformer_deploy_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	char	   *name;
	int32		number;
	TrVersion	version;

	tr_must_be_writable("deploy_model()");
	tr_parse_model_name(model, &name, &number);
	if (number == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("\"%s\" does not say which version to deploy", model),
						errhint("Write \"name@3\".")));
	owned_model(model, &version);
	tr_catalog_deploy(name, number);
	PG_RETURN_TEXT_P(cstring_to_text(tr_version_name(name, number)));
}

/* ---- privileges ---- */

static char *
required_role(FunctionCallInfo fcinfo, int arg)
{
	tr_require(fcinfo, arg, "role");
	return NameStr(*PG_GETARG_NAME(arg));
}

PG_FUNCTION_INFO_V1(transformer_grant_model);
Datum
transformer_grant_model(PG_FUNCTION_ARGS)
{
	char	   *name = bare_name(tr_required_text(fcinfo, 0, "model"));
	char	   *role = required_role(fcinfo, 1);
	TrVersion	version;

	tr_must_be_writable("grant_model()");
	owned_model(name, &version);
	tr_catalog_grant(name, tr_role(role));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(transformer_revoke_model);
Datum
transformer_revoke_model(PG_FUNCTION_ARGS)
{
	char	   *name = bare_name(tr_required_text(fcinfo, 0, "model"));
	char	   *role = required_role(fcinfo, 1);
	TrVersion	version;

	tr_must_be_writable("revoke_model()");
	owned_model(name, &version);
	if (!tr_catalog_revoke(name, tr_role(role)))
		ereport(WARNING, (errcode(ERRCODE_WARNING_PRIVILEGE_NOT_REVOKED),
						  errmsg("model \"%s\" was not granted to \"%s\"", name, role)));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(transformer_has_model_privilege);
Datum
transformer_has_model_privilege(PG_FUNCTION_ARGS)
{
	TrVersion	version;

	tr_catalog_get(text_to_cstring(PG_GETARG_TEXT_PP(0)), &version);
	PG_RETURN_BOOL(tr_has_usage(&version, GetUserId()));
}

PG_FUNCTION_INFO_V1(transformer_has_model_privilege_role);
Datum
transformer_has_model_privilege_role(PG_FUNCTION_ARGS)
{
	Oid			role = tr_role(NameStr(*PG_GETARG_NAME(0)));
	TrVersion	version;

	tr_catalog_get(text_to_cstring(PG_GETARG_TEXT_PP(1)), &version);
	PG_RETURN_BOOL(tr_has_usage(&version, role));
}
