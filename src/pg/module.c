/*-------------------------------------------------------------------------
 * module.c
 *	  What happens when the library is loaded: settings, and hooks for batches.
 *
 * Nothing here needs shared_preload_libraries: no shared memory is reserved,
 * no thread is made, no file is opened.  The library is loaded by the first
 * call of one of its functions, or by shared_, session_ or
 * local_preload_libraries, with the same result.
 *
 * Settings are one table.  To add one: its variable (declared in
 * transformer.h) and a row in settings[]; with a check hook if its values
 * depend on something.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"

#include <limits.h>

#include "port/pool.h"
#include "utils/guc_tables.h"

TR_MODULE_MAGIC("transformer", "0.4");

void		_PG_init(void);

char	   *tr_embedding_model;
char	   *tr_classification_model;
char	   *tr_sentiment_model;
char	   *tr_intent_model;
char	   *tr_answer_model;
char	   *tr_generation_model;
char	   *tr_mask_model;
char	   *tr_rerank_model;
char	   *tr_zero_shot_model;
char	   *tr_entity_model;
int			tr_truncate;
int			tr_threads;
int			tr_max_threads;
int			tr_session_memory;
int			tr_max_session_memory;
int			tr_kv_cache;
int			tr_max_kv_cache;
int			tr_kv_cache_type;
int			tr_training_memory;
int			tr_max_training_memory;
int			tr_checkpoint_interval;
int			tr_shared_memory;
int			tr_weights_store;
char	   *tr_isa;
bool		tr_batch;
int			tr_batch_size;

static const struct config_enum_entry truncate_words[] = {
	{"error", TR_TRUNCATE_ERROR, false},
	{"warn", TR_TRUNCATE_WARN, false},
	{"silent", TR_TRUNCATE_SILENT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry store_words[] = {
	{"file", TR_STORE_FILE, false},
	{"dsm", TR_STORE_DSM, false},
	{NULL, 0, false}
};

/* As the engine calls them, too; the first is the default. */
static const struct config_enum_entry cache_words[] = {
	{"f16", 0, false},
	{"f32", 1, false},
	{"q8_0", 2, false},
	{NULL, 0, false}
};

/*
 * A session may ask for no more than an administrator allows.  Values from
 * files come in any order, so there the bound is applied when the value is
 * used (tr_session_limit()).
 */
static bool
check_session_memory(int *value, void **extra, GucSource source)
{
	if (source < PGC_S_INTERACTIVE || *value <= tr_max_session_memory)
		return true;
	GUC_check_errdetail("The bound is set by \"transformer.max_session_memory\", which is %d kB.", tr_max_session_memory);
	return false;
}

/* The same for keys and values. */
static bool
check_kv_cache(int *value, void **extra, GucSource source)
{
	if (source < PGC_S_INTERACTIVE || *value <= tr_max_kv_cache)
		return true;
	GUC_check_errdetail("The bound is set by \"transformer.max_kv_cache\", which is %d kB.", tr_max_kv_cache);
	return false;
}

/* The same for training. */
static bool
check_training_memory(int *value, void **extra, GucSource source)
{
	if (source < PGC_S_INTERACTIVE || *value <= tr_max_training_memory)
		return true;
	GUC_check_errdetail("The bound is set by \"transformer.max_training_memory\", which is %d kB.", tr_max_training_memory);
	return false;
}

/* "auto", or a set of instructions that this CPU has. */
static bool
check_isa(char **value, void **extra, GucSource source)
{
	const char *names[16];
	size_t		n = te_isa_list(names, lengthof(names));
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfoString(&list, "auto");
	for (size_t i = 0; i < n; i++)
	{
		if (strcmp(*value, names[i]) == 0)
			return true;
		appendStringInfo(&list, ", %s", names[i]);
	}
	if (strcmp(*value, "auto") == 0)
		return true;
	GUC_check_errdetail("This machine can run: %s.", list.data);
	return false;
}

static void
assign_isa(const char *value, void *extra)
{
	te_isa_select(value);
}

typedef struct Setting
{
	const char *name;
	enum config_type type;
	void	   *address;
	int			initial;		/* of PGC_BOOL, PGC_INT and PGC_ENUM */
	const char *text;			/* of PGC_STRING */
	int			min;
	int			max;
	const struct config_enum_entry *words;
	GucContext	context;
	int			flags;
	const char *description;
	const char *more;
	GucIntCheckHook check_int;
	GucStringCheckHook check_string;
	GucStringAssignHook assign_string;
} Setting;

/* A bound comes before what it bounds, which a session may have set before the library was loaded. */
static const Setting settings[] = {
	{.name = "transformer.answer_model",.type = PGC_STRING,.address = &tr_answer_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that answer uses where none is given."},
	{.name = "transformer.batch",.type = PGC_BOOL,.address = &tr_batch,
		.initial = true,.context = PGC_USERSET,
		.description = "Compute scalar functions for many rows at once.",
	.more = "Plans with such calls get a node \"Batch\"."},
	{.name = "transformer.batch_size",.type = PGC_INT,.address = &tr_batch_size,
		.initial = 1024,.min = 1,.max = 16384,.context = PGC_USERSET,
		.description = "Most rows that a \"Batch\" node gathers.",
	.more = "Batches begin with a few rows and grow to this."},
	{.name = "transformer.checkpoint_interval",.type = PGC_INT,.address = &tr_checkpoint_interval,
		.initial = 60,.min = 0,.max = 24 * 60 * 60,.context = PGC_USERSET,.flags = GUC_UNIT_S,
		.description = "How much of a training a crash may cost.",
	.more = "After so long what was learned is written to disk. 0 means after each step."},
	{.name = "transformer.classification_model",.type = PGC_STRING,.address = &tr_classification_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that classify functions use where none is given."},
	{.name = "transformer.embedding_model",.type = PGC_STRING,.address = &tr_embedding_model,.text = "encoder",
		.context = PGC_USERSET,
	.description = "Model that embedding functions use where none is given."},
	{.name = "transformer.generation_model",.type = PGC_STRING,.address = &tr_generation_model,.text = "generator",
		.context = PGC_USERSET,
	.description = "Model that generate and chat functions use where none is given."},
	{.name = "transformer.intent_model",.type = PGC_STRING,.address = &tr_intent_model,.text = "intent",
		.context = PGC_USERSET,
	.description = "Model that intent functions use where none is given."},
	{.name = "transformer.isa",.type = PGC_STRING,.address = &tr_isa,.text = "auto",
		.context = PGC_SUSET,
		.description = "Instruction set of the kernels: auto, ref (portable, slow), or one that the CPU has.",
	.check_string = check_isa,.assign_string = assign_isa},
	{.name = "transformer.max_kv_cache",.type = PGC_INT,.address = &tr_max_kv_cache,
		.initial = 4 * 1024 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_SUSET,.flags = GUC_UNIT_KB,
	.description = "Largest value that \"transformer.kv_cache\" may have."},
	{.name = "transformer.kv_cache",.type = PGC_INT,.address = &tr_kv_cache,
		.initial = 512 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_USERSET,.flags = GUC_UNIT_KB,
		.description = "Private memory for keys and values of texts that a session generates.",
		.more = "What prompts have in common is kept in it for the next call.",
	.check_int = check_kv_cache},
	{.name = "transformer.kv_cache_type",.type = PGC_ENUM,.address = &tr_kv_cache_type,
		.initial = 0,.words = cache_words,.context = PGC_USERSET,
		.description = "How keys and values are stored: f16, f32 (exact, twice as large) or q8_0 (half as large).",
	},
	{.name = "transformer.mask_model",.type = PGC_STRING,.address = &tr_mask_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that fill_mask uses where none is given."},
	{.name = "transformer.max_session_memory",.type = PGC_INT,.address = &tr_max_session_memory,
		.initial = 1024 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_SUSET,.flags = GUC_UNIT_KB,
	.description = "Largest value that \"transformer.session_memory\" may have."},
	{.name = "transformer.max_threads",.type = PGC_INT,.address = &tr_max_threads,
		.initial = 0,.min = 0,.max = 4096,.context = PGC_SIGHUP,
		.description = "Threads that all sessions together may compute with.",
	.more = "0 means as many as the machine has processors."},
	{.name = "transformer.max_training_memory",.type = PGC_INT,.address = &tr_max_training_memory,
		.initial = 4 * 1024 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_SUSET,.flags = GUC_UNIT_KB,
	.description = "Largest value that \"transformer.training_memory\" may have."},
	{.name = "transformer.rerank_model",.type = PGC_STRING,.address = &tr_rerank_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that rerank uses where none is given."},
	{.name = "transformer.sentiment_model",.type = PGC_STRING,.address = &tr_sentiment_model,.text = "sentiment",
		.context = PGC_USERSET,
	.description = "Model that sentiment functions use where none is given."},
	{.name = "transformer.session_memory",.type = PGC_INT,.address = &tr_session_memory,
		.initial = 256 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_USERSET,.flags = GUC_UNIT_KB,
		.description = "Private memory for the computations of one session.",
	.check_int = check_session_memory},
	{.name = "transformer.shared_memory",.type = PGC_INT,.address = &tr_shared_memory,
		.initial = 4096,.min = 0,.max = INT_MAX,.context = PGC_SIGHUP,.flags = GUC_UNIT_MB,
		.description = "Shared memory for the weights of all models together.",
	.more = "The least recently used model goes first. 0 means no bound."},
	{.name = "transformer.threads",.type = PGC_INT,.address = &tr_threads,
		.initial = 0,.min = 0,.max = TE_POOL_MAX_THREADS,.context = PGC_USERSET,
		.description = "Threads that one session may compute with.",
	.more = "0 means as many as the machine has processors, at most 8. A parallel worker uses one."},
	{.name = "transformer.training_memory",.type = PGC_INT,.address = &tr_training_memory,
		.initial = 2 * 1024 * 1024,.min = 1024,.max = MAX_KILOBYTES,.context = PGC_USERSET,.flags = GUC_UNIT_KB,
		.description = "Private memory for a training.",
	.check_int = check_training_memory},
	{.name = "transformer.truncate",.type = PGC_ENUM,.address = &tr_truncate,
		.initial = TR_TRUNCATE_WARN,.words = truncate_words,.context = PGC_USERSET,
	.description = "What to do with a text that is longer than the model's limit: error, warn or silent."},
	{.name = "transformer.weights_store",.type = PGC_ENUM,.address = &tr_weights_store,
		.initial = TR_STORE_FILE,.words = store_words,.context = PGC_SUSET,
		.description = "Where the shared weights lie: file (a mapped file in the data directory) or dsm (dynamic shared memory).",
	},
	{.name = "transformer.zero_shot_model",.type = PGC_STRING,.address = &tr_zero_shot_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that zero_shot uses where none is given."},
	{.name = "transformer.entity_model",.type = PGC_STRING,.address = &tr_entity_model,.text = "",
		.context = PGC_USERSET,
	.description = "Model that entities uses where none is given."},
};

static void
define_setting(const Setting *s)
{
	switch (s->type)
	{
		case PGC_BOOL:
			DefineCustomBoolVariable(s->name, s->description, s->more, s->address, s->initial != 0,
									 s->context, s->flags, NULL, NULL, NULL);
			break;
		case PGC_INT:
			DefineCustomIntVariable(s->name, s->description, s->more, s->address, s->initial, s->min, s->max,
									s->context, s->flags, s->check_int, NULL, NULL);
			break;
		case PGC_ENUM:
			DefineCustomEnumVariable(s->name, s->description, s->more, s->address, s->initial, s->words,
									 s->context, s->flags, NULL, NULL, NULL);
			break;
		case PGC_STRING:
			DefineCustomStringVariable(s->name, s->description, s->more, s->address, s->text,
									   s->context, s->flags, s->check_string, s->assign_string, NULL);
			break;
		default:
			elog(ERROR, "setting \"%s\" has a type without a row here", s->name);
	}
}

/* What a computation of this session may allocate, in bytes. */
Size
tr_session_limit(void)
{
	return (Size) Min(tr_session_memory, tr_max_session_memory) * 1024;
}

Size
tr_cache_limit(void)
{
	return (Size) Min(tr_kv_cache, tr_max_kv_cache) * 1024;
}

const char *
tr_cache_type(void)
{
	return cache_words[tr_kv_cache_type].name;
}

Size
tr_training_limit(void)
{
	return (Size) Min(tr_training_memory, tr_max_training_memory) * 1024;
}

void
_PG_init(void)
{
	for (int i = 0; i < (int) lengthof(settings); i++)
		define_setting(&settings[i]);
	tr_reserve_prefix("transformer");
	tr_batch_functions_init();
	tr_batch_plan_init();
	tr_cost_init();
	tr_training_init();
}
