/*-------------------------------------------------------------------------
 * fn_embed.c
 *	  embed(), its array twin, embed_pinned() and similarity().
 *
 * A single text is a job of one row; an array is cut into windows that bound
 * the memory, each a job of its own.  Results of single texts are remembered
 * in a small cache of this backend: the planner and EXPLAIN evaluate calls
 * with constants several times, and an index condition once more.  The cache
 * is keyed by content (digest of the model, kernels, kind, text), so it needs
 * no invalidation.  Texts that were cut are not kept: each call must report
 * them.
 *-------------------------------------------------------------------------
 */
#include "pg/store.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define WINDOW_ROWS 4096

/* ---- results of this backend ---- */

#define CACHE_ENTRIES 64
#define CACHE_BYTES ((Size) 256 * 1024)
#define CACHE_ENTRY_BYTES ((Size) 32 * 1024)	/* larger ones are not kept */

typedef struct CacheKey
{
	const uint8 *digest;
	const char *isa;			/* the engine's string: compared by address */
	TeStr		kind;
	TeStr		text;
	uint64		hash;
} CacheKey;

typedef struct CacheEntry
{
	uint64		hash;
	uint64		used;			/* by a clock that counts look-ups; 0: free */
	Size		bytes;
	uint8		digest[TR_DIGEST_LENGTH];
	const char *isa;
	TeStr		kind;			/* these point behind each other ... */
	TeStr		text;
	ArrayType  *value;			/* ... into one allocation that begins here */
} CacheEntry;

static CacheEntry cache[CACHE_ENTRIES];
static Size cache_bytes = 0;
static uint64 cache_clock = 0;

static CacheKey
cache_key(TrModel *model, TeStr kind, TeStr text)
{
	CacheKey	key = {
		.digest = tr_model_digest(model),
		.isa = te_isa_name(),
		.kind = kind,
		.text = text,
	};

	key.hash = te_hash(text.data, text.len) ^ te_hash(key.digest, TR_DIGEST_LENGTH);
	return key;
}

static ArrayType *
cache_find(const CacheKey *key)
{
	cache_clock++;
	for (int i = 0; i < CACHE_ENTRIES; i++)
	{
		CacheEntry *entry = &cache[i];

		if (entry->used == 0 || entry->hash != key->hash || entry->isa != key->isa ||
			memcmp(entry->digest, key->digest, TR_DIGEST_LENGTH) != 0 ||
			!te_str_eq(entry->text, key->text) ||
			(entry->kind.data == NULL) != (key->kind.data == NULL) || !te_str_eq(entry->kind, key->kind))
			continue;
		entry->used = cache_clock;
		return entry->value;
	}
	return NULL;
}

static void
cache_evict(CacheEntry *entry)
{
	cache_bytes -= entry->bytes;
	pfree(entry->value);
	entry->used = 0;
}

/* A free entry, made free if need be, with room for so many bytes more. */
static CacheEntry *
cache_room(Size bytes)
{
	for (;;)
	{
		CacheEntry *free = NULL;
		CacheEntry *oldest = NULL;

		for (int i = 0; i < CACHE_ENTRIES; i++)
		{
			if (cache[i].used == 0)
				free = &cache[i];
			else if (oldest == NULL || cache[i].used < oldest->used)
				oldest = &cache[i];
		}
		if (free != NULL && cache_bytes + bytes <= CACHE_BYTES)
			return free;
		cache_evict(oldest);
	}
}

static void
cache_add(const CacheKey *key, const ArrayType *value)
{
	Size		bytes = VARSIZE(value) + key->kind.len + key->text.len;
	CacheEntry *entry;
	char	   *behind;

	if (bytes > CACHE_ENTRY_BYTES)
		return;
	entry = cache_room(bytes);
	entry->value = MemoryContextAlloc(TopMemoryContext, bytes);
	behind = (char *) entry->value + VARSIZE(value);
	memcpy(entry->value, value, VARSIZE(value));
	entry->kind = (TeStr) {key->kind.data ? behind : NULL, key->kind.len};
	if (key->kind.len > 0)
		memcpy(behind, key->kind.data, key->kind.len);
	entry->text = (TeStr) {behind + key->kind.len, key->text.len};
	if (key->text.len > 0)
		memcpy(behind + key->kind.len, key->text.data, key->text.len);
	memcpy(entry->digest, key->digest, TR_DIGEST_LENGTH);
	entry->isa = key->isa;
	entry->hash = key->hash;
	entry->bytes = bytes;
	entry->used = cache_clock;
	cache_bytes += bytes;
}

/* ---- one text ---- */

static TeStr
text_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? (TeStr) {NULL, 0} : tr_utf8(PG_GETARG_TEXT_PP(arg));
}

static ArrayType *
embed_text(TrModel *model, TeStr input, TeStr kind)
{
	CacheKey	key = cache_key(model, kind, input);
	ArrayType  *value = cache_find(&key);
	TeJobOptions options = {.kind = kind};
	TeJob	   *job;
	const float *vector;
	int			n;

	if (value != NULL)
		return DatumGetArrayTypePCopy(PointerGetDatum(value));
	job = tr_job_begin(model, "embed", &options);
	te_job_feed(job, input, (TeStr) {NULL, 0});
	te_job_run(job);
	vector = te_job_vector(job, 0, &n);
	value = tr_real_array(vector, n);
	if (tr_job_end(model, job) == 0)
		cache_add(&key, value);
	return value;
}

PG_FUNCTION_INFO_V1(transformer_embed);
Datum
transformer_embed(PG_FUNCTION_ARGS)
{
	TrModel    *model;
	Datum		found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_EMBED);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	PG_RETURN_ARRAYTYPE_P(embed_text(model, text_argument(fcinfo, 0), text_argument(fcinfo, 2)));
}

static void
keep_vector(void *arg, int i, const float *vector, int n)
{
	TrVectors  *kept = arg;

	memcpy(kept->vectors + (Size) i * kept->dimensions, vector, sizeof(float) * n);
}

TrVectors
tr_embed_all(TrModel *model, const TeJobOptions *options, const TrTexts *texts)
{
	TrVectors	kept = {.dimensions = te_model_dimensions(tr_model_engine(model))};

	kept.vectors = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * Max(kept.dimensions, 1) * Max(texts->n, 1));
	tr_vectors_each(model, "embed", options, texts, keep_vector, &kept);
	return kept;
}

void
tr_check_pinned(text *model)
{
	char	   *given;
	char	   *name;
	int32		version;

	if (model == NULL)
		tr_throw_null("model", "Write its name with its version, such as \"name@1\".");
	given = text_to_cstring(model);
	tr_parse_model_name(given, &name, &version);
	if (version == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("model \"%s\" is not pinned to a version", given),
				 errhint("Write the name with its version, such as \"%s@1\".", name)));
}

PG_FUNCTION_INFO_V1(transformer_embed_pinned);
Datum
transformer_embed_pinned(PG_FUNCTION_ARGS)
{
	TrModel    *model;
	Datum		found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tr_check_pinned(tr_text_argument(fcinfo, 1));
	model = tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_EMBED);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	PG_RETURN_ARRAYTYPE_P(embed_text(model, text_argument(fcinfo, 0), (TeStr) {NULL, 0}));
}

PG_FUNCTION_INFO_V1(transformer_similarity);
Datum
transformer_similarity(PG_FUNCTION_ARGS)
{
	static const TeJobOptions options;
	TrModel    *model;
	TeJob	   *job;
	const float *a;
	const float *b;
	int			n;
	double		cosine;
	Datum		found;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 2), TR_USE_EMBED);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	job = tr_job_begin(model, "embed", &options);
	te_job_feed(job, text_argument(fcinfo, 0), (TeStr) {NULL, 0});
	te_job_feed(job, text_argument(fcinfo, 1), (TeStr) {NULL, 0});
	te_job_run(job);
	a = te_job_vector(job, 0, &n);
	b = te_job_vector(job, 1, &n);
	cosine = tr_cosine(a, b, n);
	(void) tr_job_end(model, job);
	PG_RETURN_FLOAT4((float4) cosine);
}

/* ---- many texts ---- */

typedef struct Window
{
	int			rows;			/* at most */
	Size		bytes;			/* of text; the row that passes it still belongs to the window */
} Window;

/*
 * So much that a window's texts, tokens (24 bytes each, at most one a byte of
 * text) and vectors stay in about a quarter of the session's memory.
 */
static Window
choose_window(const TeJob *job)
{
	Size		limit = tr_session_limit();
	Size		row_bytes = sizeof(float) * Max(te_job_width(job), 1);

	return (Window)
	{
		.rows = (int) Max(1, Min(WINDOW_ROWS, limit / 8 / row_bytes)),
			.bytes = limit / 256,
	};
}

/* Feed texts from `from` on; gives the index behind the last one. */
static int
feed_window(TeJob *job, const TrTexts *texts, int from, Window window)
{
	int			i;
	int			rows = 0;
	Size		bytes = 0;

	for (i = from; i < texts->n && rows < window.rows && bytes < window.bytes; i++)
	{
		TeStr		input;
		TeStr		pair;

		if (texts->nulls[i])
			continue;
		input = tr_utf8(DatumGetTextPP(texts->values[i]));
		pair = texts->pairs ? tr_utf8(DatumGetTextPP(texts->pairs[i])) : (TeStr) {NULL, 0};
		te_job_feed(job, input, pair);
		bytes += input.len + pair.len + TR_TEXT_OVERHEAD;
		rows++;
	}
	return i;
}

void
tr_jobs_each(TrModel *model, const char *task, const TeJobOptions *options, const TrTexts *texts, TrJobSink sink, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer window", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			end;

	for (int from = 0; from < texts->n; from = end)
	{
		TeJob	   *job = tr_job_begin(model, task, options);
		size_t		row = 0;

		end = feed_window(job, texts, from, choose_window(job));
		te_job_run(job);
		for (int i = from; i < end; i++)
		{
			if (texts->nulls[i])
				sink(arg, i, NULL, 0);
			else
				sink(arg, i, job, row++);
		}
		(void) tr_job_end(model, job);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

typedef struct VectorSink
{
	TrVectorSink take;
	void	   *arg;
} VectorSink;

static void
take_row(void *arg, int i, const TeJob *job, size_t row)
{
	VectorSink *sink = arg;
	int			n = 0;
	const float *vector = job ? te_job_vector(job, row, &n) : NULL;

	sink->take(sink->arg, i, vector, n);
}

void
tr_vectors_each(TrModel *model, const char *task, const TeJobOptions *options, const TrTexts *texts,
				TrVectorSink sink, void *arg)
{
	tr_jobs_each(model, task, options, texts, take_row, &(VectorSink) {sink, arg});
}

static void
vector_to_set(void *arg, int i, const float *vector, int n)
{
	FunctionCallInfo fcinfo = arg;

	if (vector == NULL)
		tr_set_add(fcinfo, (Datum) 0, true);
	else
	{
		ArrayType  *value = tr_real_array(vector, n);

		tr_set_add(fcinfo, PointerGetDatum(value), false);
		pfree(value);
	}
}

static void
embed_array(FunctionCallInfo fcinfo, TeStr kind)
{
	TeJobOptions options = {.kind = kind};
	TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

	tr_vectors_each(tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_EMBED), "embed", &options, &texts, vector_to_set, fcinfo);
}

PG_FUNCTION_INFO_V1(transformer_embed_array);
Datum
transformer_embed_array(PG_FUNCTION_ARGS)
{
	tr_set_begin(fcinfo, FLOAT4ARRAYOID);
	if (!PG_ARGISNULL(0))
		embed_array(fcinfo, text_argument(fcinfo, 2));
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(transformer_embed_pinned_array);
Datum
transformer_embed_pinned_array(PG_FUNCTION_ARGS)
{
	tr_set_begin(fcinfo, FLOAT4ARRAYOID);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tr_check_pinned(tr_text_argument(fcinfo, 1));
	embed_array(fcinfo, (TeStr) {NULL, 0});
	PG_RETURN_NULL();
}
