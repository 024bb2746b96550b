/*-------------------------------------------------------------------------
 * fn_tokenizer.c
 *	  train_tokenizer(): a tokenizer from the texts of a query.
 *
 * The rows are streamed (query_rows.c) into the engine's trainer, which keeps
 * of them only the different words, within transformer.session_memory.  The
 * tokenizer.json that comes out becomes a version of the name, without tensors,
 * just as an import of a tokenizer does; all of it in the caller's transaction.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

enum
{
	TRAIN_NAME,
	TRAIN_QUERY,
	TRAIN_KIND,
	TRAIN_VOCAB_SIZE,
	TRAIN_OPTIONS
};

typedef struct Task
{
	TeTokenizerTrainer *trainer;
	uint64		bytes;			/* of texts so far */
} Task;

static void
take_text(void *arg, const TrQuery *query)
{
	Task	   *task = arg;
	TeStr		body = tr_utf8(DatumGetTextPP(query->values[0]));

	te_tokenizer_trainer_add(task->trainer, body);
	task->bytes += body.len;
	tr_import_done(0, task->bytes);
}

static const TeJson *
learn(Task *task, const char *sql)
{
	static const TrQueryColumn columns[] = {{.name = "text",.type = TEXTOID,.or_only_text = true}};
	TrQuery    *query = tr_query_open(sql, "training query", columns, lengthof(columns));

	tr_import_phase(TR_IMPORT_COUNTING);
	tr_query_each(query, take_text, task);
	tr_query_close(query);
	tr_import_phase(TR_IMPORT_LEARNING);
	return te_tokenizer_trainer_finish(task->trainer);
}

/* A small vocabulary is no error, but hardly what the user thinks. */
static void
report_size(const TeJson *tokenizer, int wanted)
{
	const TeJson *vocab = te_json_path(tokenizer, "model.vocab");

	if ((int64) vocab->n < wanted)
		ereport(NOTICE, (errmsg("vocabulary has %u tokens instead of %d", vocab->n, wanted),
						 errdetail("The texts have no more that are frequent enough.")));
}

PG_FUNCTION_INFO_V1(transformer_train_tokenizer);
Datum
transformer_train_tokenizer(PG_FUNCTION_ARGS)
{
	char	   *name = tr_required_text(fcinfo, TRAIN_NAME, "name");
	char	   *sql = tr_required_text(fcinfo, TRAIN_QUERY, "query");
	char	   *kind = tr_required_text(fcinfo, TRAIN_KIND, "kind");
	TrNewVersion new = {.name = name};
	TrVersion	version;
	TrContext	context;
	TeArena    *arena;
	const TeJson *options = NULL;
	const TeJson *tokenizer;
	text	   *result;
	Task		task = {0};

	tr_require(fcinfo, TRAIN_VOCAB_SIZE, "vocab_size");
	tr_must_be_writable("train_tokenizer()");
	tr_check_model_name(name);
	tr_check_name_is_free(name);
	arena = tr_arena(CurrentMemoryContext, "training of a tokenizer", tr_session_limit());
	tr_context_push(&context, psprintf("while training tokenizer \"%s\"", name));
	if (!PG_ARGISNULL(TRAIN_OPTIONS))
		options = tr_json_argument(fcinfo, TRAIN_OPTIONS, arena, "options", "Write options => '{\"lowercase\": false}'.");
	tr_import_begin();
	task.trainer = te_tokenizer_trainer_create(arena, tr_utf8(cstring_to_text(kind)), PG_GETARG_INT32(TRAIN_VOCAB_SIZE),
											   options);
	tokenizer = learn(&task, sql);
	report_size(tokenizer, PG_GETARG_INT32(TRAIN_VOCAB_SIZE));
	new.def = te_def_tokenizer(arena, tokenizer);
	tr_catalog_create(arena, &new, &context, &version);
	tr_import_end();
	tr_context_pop(&context);
	result = tr_report_version(&version);
	te_arena_destroy(arena);
	PG_RETURN_TEXT_P(result);
}
