/*-------------------------------------------------------------------------
 * batch_funcs.c
 *	  The functions that compute with a model: one table, which says what cost.c
 *	  wants to know of each and how its calls run in batches.
 *
 * A function is recognised by library and C symbol, so that it may live in any
 * schema and under any name; what is known about a function is kept by OID
 * until pg_proc changes.  One that switches user or settings (SECURITY DEFINER,
 * SET) is left alone: only the plain call does that.
 *
 * The calls of a batch may name different models, and kinds of text.  They are
 * cut into groups that agree in both, and each group is one run.
 *
 * A function that returns a set is only ever computed ahead (batch_ahead.c).
 *
 * To add a function: its row in functions[], and SUPPORT
 * _transformer.batch_support in its CREATE FUNCTION; where it is scalar, or gives a set
 * for one text, also a run function if none of these fits, and a look with
 * tr_ahead_found() in its C function.
 *-------------------------------------------------------------------------
 */
#include "pg/batch.h"
#include "pg/generate.h"
#include "pg/store.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define SIMILARITY_ROWS 1024	/* whose vectors are kept at a time */
#define GENERATE_ROWS 64		/* of a batch: more than pay to be decoded together, and not so many that results are late */

static NullableDatum *
argument(const TrCallGroup *group, int i, int arg)
{
	return &group->calls->args[group->which[i] * group->calls->n_args + arg];
}

static void
set_result(const TrCallGroup *group, int i, Datum value)
{
	group->calls->results[group->which[i]] = (NullableDatum) {.value = value};
}

/* ---- embeddings ---- */

typedef struct ResultSink
{
	TrCallGroup *group;
	MemoryContext context;		/* of results */
	bool		by_value;
} ResultSink;

static void
take_embedding(void *arg, int i, const float *vector, int n)
{
	ResultSink *sink = arg;
	MemoryContext old = MemoryContextSwitchTo(sink->context);

	set_result(sink->group, i, PointerGetDatum(tr_real_array(vector, n)));
	MemoryContextSwitchTo(old);
}

/* The first arguments of the calls. */
static TrTexts
texts_of(const TrCallGroup *group)
{
	TrTexts		texts = {
		.n = group->n,
		.values = palloc(sizeof(Datum) * group->n),
		.nulls = palloc0(sizeof(bool) * group->n),
	};

	for (int i = 0; i < group->n; i++)
		texts.values[i] = argument(group, i, 0)->value;
	return texts;
}

static void
run_embed(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {.group = group,.context = CurrentMemoryContext};
	TeJobOptions options = {.kind = group->kind};
	TrTexts		texts = texts_of(group);

	tr_vectors_each(group->model, "embed", &options, &texts, take_embedding, &sink);
}

/*
 * The texts of calls [from, to), each but once where it is that of the call before (a
 * question that is compared with each row).  place[2 * i], place[2 * i + 1]: where those of call i are.
 */
static TrTexts
texts_of_pairs(const TrCallGroup *group, int from, int to, int *place)
{
	text	   *last[2] = {NULL, NULL};
	int			last_place[2] = {0, 0};
	TrTexts		texts = {
		.values = palloc(sizeof(Datum) * 2 * (to - from)),
		.nulls = palloc0(sizeof(bool) * 2 * (to - from)),
	};

	for (int i = from; i < to; i++)
		for (int side = 0; side < 2; side++)
		{
			text	   *value = DatumGetTextPP(argument(group, i, side)->value);

			if (last[side] == NULL || !tr_same_text(last[side], value))
			{
				last_place[side] = texts.n;
				texts.values[texts.n++] = PointerGetDatum(value);
			}
			last[side] = value;
			place[2 * (i - from) + side] = last_place[side];
		}
	return texts;
}

static void
run_similarity(const TrBatchFunction *function, TrCallGroup *group)
{
	TeJobOptions options = {.kind = group->kind};
	int		   *place = palloc(sizeof(int) * 2 * SIMILARITY_ROWS);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer pairs", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int from = 0; from < group->n; from += SIMILARITY_ROWS)
	{
		int			to = Min(from + SIMILARITY_ROWS, group->n);
		TrTexts		texts = texts_of_pairs(group, from, to, place);
		TrVectors	store = tr_embed_all(group->model, &options, &texts);

		for (int i = from; i < to; i++)
		{
			const float *a = store.vectors + (Size) place[2 * (i - from)] * store.dimensions;
			const float *b = store.vectors + (Size) place[2 * (i - from) + 1] * store.dimensions;

			set_result(group, i, Float4GetDatum((float4) tr_cosine(a, b, store.dimensions)));
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---- labels ---- */

static void
take_label(void *arg, int i, Datum label, bool isnull)
{
	ResultSink *sink = arg;
	MemoryContext old = MemoryContextSwitchTo(sink->context);

	set_result(sink->group, i, datumCopy(label, sink->by_value, -1));
	MemoryContextSwitchTo(old);
}

static void
run_label(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {
		.group = group,.context = CurrentMemoryContext,.by_value = function->labeller == &tr_sentiment_score_labeller
	};
	TrTexts		texts = texts_of(group);

	tr_label_each(group->model, function->labeller, &texts, take_label, &sink);
}

/* ---- pairs ---- */

static void
take_score(void *arg, int i, float score, bool isnull)
{
	ResultSink *sink = arg;

	set_result(sink->group, i, Float4GetDatum(score));
}

static TrTexts
pairs_of(const TrCallGroup *group)
{
	TrTexts		pairs = texts_of(group);

	pairs.pairs = palloc(sizeof(Datum) * group->n);
	for (int i = 0; i < group->n; i++)
		pairs.pairs[i] = argument(group, i, 1)->value;
	return pairs;
}

static void
run_rerank(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {.group = group};
	TrTexts		pairs = pairs_of(group);

	tr_rerank_each(group->model, &pairs, take_score, &sink);
}

/* ---- sets ---- */

/* Row of a set: TrRowSink. */
static void
take_row(void *arg, int i, Datum *row)
{
	ResultSink *sink = arg;
	TupleDesc	desc = sink->group->calls->desc;
	TrBatchSet *set = (TrBatchSet *) DatumGetPointer(sink->group->calls->results[sink->group->which[i]].value);
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	bool	   *nulls = palloc0(sizeof(bool) * desc->natts);

	if (set->n == set->room)
	{
		set->room = Max(set->room * 2, 8);
		set->rows = set->rows ? repalloc(set->rows, sizeof(MinimalTuple) * set->room) : palloc(sizeof(MinimalTuple) * set->room);
	}
	set->rows[set->n++] = heap_form_minimal_tuple(desc, row, nulls);
	pfree(nulls);
	MemoryContextSwitchTo(old);
}

static void
run_label_scores(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {.group = group,.context = CurrentMemoryContext};
	TrTexts		texts = texts_of(group);

	tr_label_scores_each(group->model, &texts, take_row, &sink);
}

static void
run_entities(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {.group = group,.context = CurrentMemoryContext};
	TrTexts		texts = texts_of(group);

	tr_entities_each(group->model, &texts, take_row, &sink);
}

static void
run_answer(const TrBatchFunction *function, TrCallGroup *group)
{
	ResultSink	sink = {.group = group,.context = CurrentMemoryContext};
	TrTexts		pairs = pairs_of(group);

	tr_answer_each(group->model, &pairs, take_row, &sink);
}

/* Calls [from, the result) of a group that `same` says ask the same of their texts; `part` becomes them. */
static int
cut_group(const TrCallGroup *group, int from, bool (*same) (const NullableDatum *a, const NullableDatum *b), TrCallGroup *part)
{
	int			to;

	for (to = from + 1; to < group->n; to++)
		if (!same(argument(group, from, 0), argument(group, to, 0)))
			break;
	*part = *group;
	part->which = group->which + from;
	part->n = to - from;
	return to;
}

/* The arguments of two calls of zero_shot() but for the text and the model. */
static bool
same_question(const NullableDatum *a, const NullableDatum *b)
{
	if (a[1].isnull != b[1].isnull || a[3].isnull != b[3].isnull || a[4].isnull != b[4].isnull)
		return false;
	return (a[1].isnull || datum_image_eq(a[1].value, b[1].value, false, -1)) &&
		(a[3].isnull || a[3].value == b[3].value) &&
		(a[4].isnull || datum_image_eq(a[4].value, b[4].value, false, -1));
}

static void
run_zero_shot(const TrBatchFunction *function, TrCallGroup *group)
{
	for (int from = 0; from < group->n;)
	{
		TrCallGroup part;
		ResultSink	sink = {.group = &part,.context = CurrentMemoryContext};
		TrTexts		texts;

		from = cut_group(group, from, same_question, &part);
		texts = texts_of(&part);
		tr_zero_shot_each(group->model, &texts, argument(&part, 0, 0), take_row, &sink);
	}
}

static bool
same_top_k(const NullableDatum *a, const NullableDatum *b)
{
	return a[1].isnull == b[1].isnull && (a[1].isnull || a[1].value == b[1].value);
}

static void
run_fill_mask(const TrBatchFunction *function, TrCallGroup *group)
{
	for (int from = 0; from < group->n;)
	{
		TrCallGroup part;
		ResultSink	sink = {.group = &part,.context = CurrentMemoryContext};
		TrTexts		texts;

		from = cut_group(group, from, same_top_k, &part);
		texts = texts_of(&part);
		tr_fill_each(group->model, &texts, argument(&part, 0, 1), take_row, &sink);
	}
}

/* ---- tokens ---- */

/* The third argument, where there is one: with special tokens? */
static bool
wants_special(const TrCallGroup *group, int i)
{
	return group->calls->n_args < 3 || argument(group, i, 2)->isnull || DatumGetBool(argument(group, i, 2)->value);
}

static void
run_tokens(const TrBatchFunction *function, TrCallGroup *group)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(tr_model_engine(group->model));
	bool		by_value = function->of_text == tr_token_count;
	MemoryContext results = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(results, "transformer row", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < group->n; i++)
	{
		Datum		value;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		value = function->of_text(tokenizer, DatumGetTextPP(argument(group, i, 0)->value), wants_special(group, i));
		MemoryContextSwitchTo(results);
		set_result(group, i, datumCopy(value, by_value, -1));
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* ---- texts that are generated ---- */

static void
take_generated(void *arg, int i, Datum value, bool isnull)
{
	set_result(arg, i, value);
}

static void
run_generate(const TrBatchFunction *function, TrCallGroup *group)
{
	TrGenerateCalls calls = {.form = function->form,.n = group->n};

	calls.args = palloc(sizeof(NullableDatum *) * group->n);
	for (int i = 0; i < group->n; i++)
		calls.args[i] = argument(group, i, 0);
	if (function->form == &tr_generate_as)
		calls.shape = tr_shape(group->calls->type, group->calls->typmod);
	tr_generate_each(group->model, &calls, take_generated, group);
}

bool
tr_batch_repeats(const TrBatchFunction *function, const NullableDatum *args)
{
	return function->form == NULL || tr_generate_repeats(function->form, args);
}

/* ---- the table ---- */

#define ONE(symbol_, model_, use_) .symbol = "transformer_" symbol_,.n_texts = 1,.model = model_,.use = use_
#define TEXT(symbol_, model_, form_) ONE(symbol_, model_, TR_USE_GENERATE),.form = &tr_generate_##form_
#define TWO(symbol_, use_) .symbol = "transformer_" symbol_,.n_texts = 2,.model = 2,.use = use_

static const TrBatchFunction functions[] = {
	{ONE("tokenize", 1, TR_USE_TOKENS),.run = run_tokens,.of_text = tr_token_ids},
	{ONE("tokenize_array", 1, TR_USE_TOKENS)},
	{ONE("tokens", 1, TR_USE_TOKENS),.run = run_tokens,.of_text = tr_token_words},
	{ONE("tokens_array", 1, TR_USE_TOKENS)},
	{ONE("token_count", 1, TR_USE_TOKENS),.run = run_tokens,.of_text = tr_token_count},
	{ONE("token_count_array", 1, TR_USE_TOKENS)},
	{ONE("embed", 1, TR_USE_EMBED),.run = run_embed,.kind = 2},
	{ONE("embed_array", 1, TR_USE_EMBED)},
	{ONE("embed_pinned", 1, TR_USE_EMBED),.pinned = true,.run = run_embed},
	{ONE("embed_pinned_array", 1, TR_USE_EMBED),.pinned = true},
	{TWO("similarity", TR_USE_EMBED),.run = run_similarity},
	{ONE("classify", 1, TR_USE_CLASSIFY),.run = run_label,.labeller = &tr_classify_labeller},
	{ONE("classify_array", 1, TR_USE_CLASSIFY)},
	{ONE("classify_pinned", 1, TR_USE_CLASSIFY),.pinned = true,.run = run_label,.labeller = &tr_classify_labeller},
	{ONE("classify_pinned_array", 1, TR_USE_CLASSIFY),.pinned = true},
	{ONE("classify_scores", 1, TR_USE_CLASSIFY),.run = run_label_scores,.set = true},
	{ONE("classify_scores_array", 1, TR_USE_CLASSIFY)},
	{ONE("sentiment", 1, TR_USE_SENTIMENT),.run = run_label,.labeller = &tr_sentiment_labeller},
	{ONE("sentiment_array", 1, TR_USE_SENTIMENT)},
	{ONE("sentiment_score", 1, TR_USE_SENTIMENT),.run = run_label,.labeller = &tr_sentiment_score_labeller},
	{ONE("sentiment_score_array", 1, TR_USE_SENTIMENT)},
	{ONE("intent", 1, TR_USE_INTENT),.run = run_label,.labeller = &tr_intent_labeller},
	{ONE("intent_array", 1, TR_USE_INTENT)},
	{TWO("rerank", TR_USE_RERANK),.run = run_rerank},
	{TWO("rerank_array", TR_USE_RERANK)},
	{ONE("zero_shot", 2, TR_USE_ZERO_SHOT),.n_computed = 2,.run = run_zero_shot,.set = true},
	{ONE("zero_shot_array", 2, TR_USE_ZERO_SHOT),.n_computed = 2},
	{ONE("entities", 1, TR_USE_ENTITIES),.run = run_entities,.set = true},
	{ONE("entities_array", 1, TR_USE_ENTITIES)},
	{ONE("fill_mask", 2, TR_USE_FILL),.run = run_fill_mask,.set = true},
	{ONE("fill_mask_array", 2, TR_USE_FILL)},
	{TWO("answer", TR_USE_ANSWER),.run = run_answer,.set = true},
	{TWO("answer_array", TR_USE_ANSWER)},
	{TEXT("generate", 1, text),.run = run_generate,.most_rows = GENERATE_ROWS},
	{TEXT("generate_array", 1, text)},
	{TEXT("generate_stream", 1, text),.streams = true},
	{TEXT("generate_json", 2, json),.run = run_generate,.most_rows = GENERATE_ROWS},
	{TEXT("generate_as", 2, as),.run = run_generate,.most_rows = GENERATE_ROWS},
	{TEXT("chat", 1, chat),.run = run_generate,.most_rows = GENERATE_ROWS},
	{TEXT("chat_stream", 1, chat),.streams = true},
	{ONE("token_logprobs", 1, TR_USE_GENERATE)},
	{ONE("token_logprobs_array", 1, TR_USE_GENERATE)},
	{ONE("perplexity", 1, TR_USE_GENERATE)},
	{ONE("perplexity_array", 1, TR_USE_GENERATE)},
};

#ifdef TR_BATCH_STRESS
/*
 * For test/stress.sh, which runs PostgreSQL's own regression tests with this
 * node in most of their plans: very common built-in functions, all of them strict.
 */
static const Oid stress_oids[] = {
	F_INT4PL, F_INT4MI, F_INT4MUL, F_INT4MOD, F_INT4EQ, F_INT4LT, F_INT4GT, F_INT4GE, F_INT8PL, F_INT84PL, F_INT48EQ,
	F_NUMERIC_ADD, F_NUMERIC_MUL, F_FLOAT8MUL, F_TEXTCAT, F_TEXTEQ, F_TEXTNE, F_UPPER_TEXT, F_LENGTH_TEXT, F_BPCHAREQ, F_NAMEEQ,
};
static TrBatchFunction stress_functions[lengthof(stress_oids)];

static const TrBatchFunction *
stress_function(Oid funcid, bool *strict)
{
	for (int i = 0; i < lengthof(stress_oids); i++)
		if (stress_oids[i] == funcid)
		{
			stress_functions[i].built_in = funcid;
			if (strict != NULL)
				*strict = true;
			return &stress_functions[i];
		}
	return NULL;
}

static void
run_built_in(const TrBatchFunction *function, TrCalls *calls)
{
	FmgrInfo	flinfo;
	LOCAL_FCINFO(fcinfo, FUNC_MAX_ARGS);

	fmgr_info(function->built_in, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, calls->n_args, calls->collation, NULL, NULL);
	for (int i = 0; i < calls->n; i++)
	{
		fcinfo->isnull = false;
		memcpy(fcinfo->args, &calls->args[i * calls->n_args], sizeof(NullableDatum) * calls->n_args);
		calls->results[i].value = FunctionCallInvoke(fcinfo);
		calls->results[i].isnull = fcinfo->isnull;
	}
}
#endif

/* ---- groups ---- */

static text *
text_or_null(const TrCalls *calls, int call, int arg)
{
	NullableDatum *value = &calls->args[call * calls->n_args + arg];

	return value->isnull ? NULL : DatumGetTextPP(value->value);
}

/* Does the call give NULL whatever its other arguments are? */
static bool
gives_null(const TrBatchFunction *function, const TrCalls *calls, int call)
{
	const NullableDatum *args = &calls->args[call * calls->n_args];

	for (int i = 0; i < function->n_texts; i++)
		if (args[i].isnull)
			return true;
	return false;
}

static bool
same_word(text *a, text *b)
{
	return a == b || (a != NULL && b != NULL && tr_same_text(a, b));
}

static void
run_group(const TrBatchFunction *function, TrCallGroup *group, text *model, text *kind)
{
	if (function->pinned)
		tr_check_pinned(model);
	group->model = tr_model_open(model, function->use);
	group->kind = kind != NULL ? tr_utf8(kind) : (TeStr) {NULL, 0};
	if (group->calls->digests != NULL)
	{
		uint8	   *digest = palloc(TR_DIGEST_LENGTH);

		memcpy(digest, tr_model_digest(group->model), TR_DIGEST_LENGTH);
		for (int i = 0; i < group->n; i++)
			group->calls->digests[group->which[i]] = digest;
	}
	function->run(function, group);
}

void
tr_batch_run(const TrBatchFunction *function, TrCalls *calls)
{
	bool	   *taken = palloc(sizeof(bool) * calls->n);
	TrCallGroup group = {.calls = calls,.which = palloc(sizeof(int) * calls->n)};

#ifdef TR_BATCH_STRESS
	if (function->built_in)
	{
		run_built_in(function, calls);
		return;
	}
#endif
	for (int i = 0; i < calls->n; i++)
		taken[i] = gives_null(function, calls, i);
	for (int first = 0; first < calls->n; first++)
	{
		text	   *model;
		text	   *kind;

		if (taken[first])
			continue;
		model = text_or_null(calls, first, function->model);
		kind = function->kind ? text_or_null(calls, first, function->kind) : NULL;
		group.n = 0;
		for (int i = first; i < calls->n; i++)
		{
			if (taken[i] || !same_word(model, text_or_null(calls, i, function->model)) ||
				(function->kind && !same_word(kind, text_or_null(calls, i, function->kind))))
				continue;
			group.which[group.n++] = i;
			taken[i] = true;
		}
		run_group(function, &group, model, kind);
	}
}

/* ---- which function is which ---- */

typedef struct KnownFunction
{
	Oid			funcid;			/* hash key */
	const TrBatchFunction *function;	/* NULL: not one of ours */
	bool		strict;
} KnownFunction;

static HTAB *known_functions = NULL;

static void
forget_functions(Datum arg, int cacheid, uint32 hashvalue)
{
	if (known_functions != NULL)
	{
		hash_destroy(known_functions);
		known_functions = NULL;
	}
}

/* Is a function's library this one?  The name may have a folder and a suffix. */
static bool
is_this_library(const char *probin)
{
	const char *slash = strrchr(probin, '/');
	const char *name = slash ? slash + 1 : probin;

	return strcmp(name, "transformer") == 0 || strcmp(name, "transformer" DLSUFFIX) == 0;
}

/* The row of a C function of this library. */
static const TrBatchFunction *
find_row(HeapTuple tuple)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &isnull);
	char	   *symbol;

	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang != ClanguageId || isnull || !is_this_library(TextDatumGetCString(value)))
		return NULL;
	symbol = TextDatumGetCString(SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull));
	for (int i = 0; i < lengthof(functions); i++)
		if (strcmp(symbol, functions[i].symbol) == 0)
			return &functions[i];
	return NULL;
}

const TrBatchFunction *
tr_model_function(Oid funcid)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	const TrBatchFunction *found;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	found = find_row(tuple);
	ReleaseSysCache(tuple);
	return found;
}

static bool
has_settings(HeapTuple tuple)
{
	bool		isnull;

	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &isnull);
	return !isnull;
}

static const TrBatchFunction *
find_function(Oid funcid, bool *strict)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc form;
	const TrBatchFunction *found;

	*strict = false;
	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	found = find_row(tuple);
	if (found != NULL && (found->run == NULL || found->set != form->proretset || form->prosecdef || has_settings(tuple)))
		found = NULL;
	*strict = form->proisstrict;
	ReleaseSysCache(tuple);
	return found;
}

const TrBatchFunction *
tr_batch_function(Oid funcid, bool *strict)
{
	KnownFunction *entry;

#ifdef TR_BATCH_STRESS
	if (stress_function(funcid, strict))
		return stress_function(funcid, strict);
#endif
	/* built-in functions are not ours: spares most look-ups */
	if (funcid < FirstNormalObjectId)
		return NULL;
	if (known_functions == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(Oid),.entrysize = sizeof(KnownFunction)};

		known_functions = hash_create("transformer batch functions", 64, &control, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(known_functions, &funcid, HASH_FIND, NULL);
	if (entry == NULL)
	{
		bool		is_strict;
		const TrBatchFunction *function = find_function(funcid, &is_strict);

		/* the look-up may have emptied the cache: start again */
		if (known_functions == NULL)
			return tr_batch_function(funcid, strict);
		entry = hash_search(known_functions, &funcid, HASH_ENTER, NULL);
		entry->function = function;
		entry->strict = is_strict;
	}
	if (strict != NULL)
		*strict = entry->strict;
	return entry->function;
}

const TrBatchFunction *
tr_batch_set_call(Node *node, Oid *funcid, List **args)
{
	if (node == NULL || !IsA(node, FuncExpr) || !((FuncExpr *) node)->funcretset || ((FuncExpr *) node)->funcvariadic)
		return NULL;
	*funcid = ((FuncExpr *) node)->funcid;
	*args = ((FuncExpr *) node)->args;
	return tr_batch_function(*funcid, NULL);
}

const TrBatchFunction *
tr_batch_call(Node *node, Oid *funcid, List **args)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, FuncExpr) && !((FuncExpr *) node)->funcretset && !((FuncExpr *) node)->funcvariadic)
	{
		*funcid = ((FuncExpr *) node)->funcid;
		*args = ((FuncExpr *) node)->args;
	}
	else if (IsA(node, OpExpr) && !((OpExpr *) node)->opretset)
	{
		*funcid = ((OpExpr *) node)->opfuncid;
		*args = ((OpExpr *) node)->args;
	}
	else
		return NULL;
	return tr_batch_function(*funcid, NULL);
}

void
tr_batch_functions_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, forget_functions, (Datum) 0);
}
