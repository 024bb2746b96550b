/*-------------------------------------------------------------------------
 * fn_create.c
 *	  create_model: a new model with random weights, to be trained; derive_model: one made of another's parts.
 *
 * The configuration has the keys of config.json; the tokenizer is that of another model, or one that
 * was made by itself.  The vocabulary is as large as the tokenizer says, where the configuration does not
 * want a larger one (for a multiple of 64, or words to come).  As with an import, the version is
 * made and run once, in the caller's transaction.
 *
 * A derived model has some layers of another one, or reads by another tokenizer, or both.  It is what
 * training begins with: a smaller student, or a model for the words of one trade or language.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* The configuration with the size of the vocabulary. */
static const TeJson *
read_config(FunctionCallInfo fcinfo, int arg, TeArena *arena, const TeTokenizer *tokenizer)
{
	const TeJson *given = tr_json_argument(fcinfo, arg, arena, "config", "Write what config.json would have, such as "
										   "'{\"model_type\": \"bert\", \"hidden_size\": 128, ...}'.");
	int32_t		words = te_vocab_size(tokenizer);
	TeJson	   *config = te_json_new_object(arena);
	int64_t		size;

	te_json_set_copy(arena, config, given);
	size = te_json_int(config, "vocab_size", -1);
	if (size == -1)
		te_json_set_int(te_json_add(arena, config, "vocab_size"), words);
	else if (size < words)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("vocab_size " INT64_FORMAT " is smaller than the tokenizer's vocabulary of %d words", (int64) size, words),
						errhint("Leave vocab_size out, or raise it.")));
	return config;
}

static void
make_version(TeArena *arena, const char *name, const TeModelDef *def, TrVersion *into)
{
	TrNewVersion new = {.name = name,.def = def};
	TrContext	context;

	tr_context_push(&context, psprintf("while creating model \"%s\"", name));
	tr_catalog_create(arena, &new, &context, into);
	tr_make_references(into);
	tr_context_pop(&context);
}

PG_FUNCTION_INFO_V1(transformer_create_model);
Datum
transformer_create_model(PG_FUNCTION_ARGS)
{
	char	   *name = tr_required_text(fcinfo, 0, "name");
	char	   *from;
	TrVersion	tokenizer;
	TrVersion	version;
	TrModel    *model;
	TeArena    *arena;
	const TeJson *config;
	const TeJson *words;

	tr_require(fcinfo, 1, "config");
	from = tr_required_text(fcinfo, 2, "tokenizer");
	tr_require(fcinfo, 3, "seed");
	tr_must_be_writable("create_model()");
	tr_check_model_name(name);
	tr_catalog_get(from, &tokenizer);
	tr_check_usage(&tokenizer);
	tr_check_name_is_free(name);
	model = tr_model_open(cstring_to_text(tr_version_name(tokenizer.name, tokenizer.version)), TR_USE_TOKENS);
	arena = tr_training_arena(CurrentMemoryContext);
	config = read_config(fcinfo, 1, arena, te_model_tokenizer(tr_model_engine(model)));
	words = te_json_parse(arena, tr_catalog_tokenizer(arena, &tokenizer), "tokenizer.json");
	make_version(arena, name, te_model_create(arena, config, words, (TeStr) {NULL, 0}, (uint64_t) PG_GETARG_INT64(3)), &version);
	te_arena_destroy(arena);
	PG_RETURN_TEXT_P(cstring_to_text(tr_version_name(version.name, version.version)));
}

/* The array as te_model_student() takes it. */
static const TeJson *
read_layers(TeArena *arena, ArrayType *array)
{
	int			n;
	const int32 *layers = tr_ints(array, &n);
	TeJson	   *list = te_json_new_array(arena, (size_t) n);

	for (int i = 0; i < n; i++)
		te_json_set_int(&list->items[i], layers[i]);
	return list;
}

PG_FUNCTION_INFO_V1(transformer_derive_model);
Datum
transformer_derive_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	char	   *name = tr_required_text(fcinfo, 1, "name");
	TrVersion	base;
	TrVersion	tokenizer;
	TrVersion	version;
	TeArena    *arena;
	const TeModelDef *def;

	tr_must_be_writable("derive_model()");
	tr_check_model_name(name);
	tr_catalog_get(model, &base);
	tr_check_usage(&base);
	if (!PG_ARGISNULL(3))
	{
		tr_catalog_get(text_to_cstring(PG_GETARG_TEXT_PP(3)), &tokenizer);
		tr_check_usage(&tokenizer);
	}
	tr_check_name_is_free(name);
	arena = tr_training_arena(CurrentMemoryContext);
	def = tr_catalog_definition(arena, &base);
	if (!PG_ARGISNULL(2))
		def = te_model_student(arena, def, read_layers(arena, PG_GETARG_ARRAYTYPE_P(2)));
	if (!PG_ARGISNULL(3))
		def = te_model_with_vocabulary(arena, def, te_json_parse(arena, tr_catalog_tokenizer(arena, &tokenizer), "tokenizer.json"));
	make_version(arena, name, def, &version);
	te_arena_destroy(arena);
	PG_RETURN_TEXT_P(cstring_to_text(tr_version_name(version.name, version.version)));
}
