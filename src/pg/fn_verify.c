/*-------------------------------------------------------------------------
 * fn_verify.c
 *	  Reference vectors, and verify_model().
 *
 * When a version is made, fixed texts are embedded with the scalar kernels and
 * the vectors are stored with it.  verify_model() reads all bytes again and holds them
 * against their digests, and embeds the texts again the way a query would, with the image
 * in shared memory and the kernels in use.  So it finds a damaged table or file, a damaged
 * image, and a kernel that computes something else on this machine.  A model that gives
 * no numbers for them has damaged weights, and is not made.
 *
 * The scalar kernels are slow.  For a large model only as many texts are
 * embedded as fit REFERENCE_FLOPS, but at least one.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"
#include "pg/store.h"

#include <math.h>

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define REFERENCE_FLOPS 2e10
#define REFERENCE_TOKENS 32		/* of a reference text, roughly */
#define LEAST_COSINE 0.999		/* between kernels; quantized ones round activations too */

/* ---- making references ---- */

/* How many texts are worth their time with the scalar kernels. */
static int
affordable_texts(const TeModel *engine)
{
	double		flops = te_model_flops_per_token(engine) * REFERENCE_TOKENS;
	double		texts = flops > 0 ? REFERENCE_FLOPS / flops : te_reference_count();

	return Max(1, (int) Min(texts, te_reference_count()));
}

/*
 * Embed the first n reference texts; the job holds the vectors.  The session
 * is our own: these texts are no query of the user's, so they are not in the statistics and a
 * model with a small limit cuts them without a word.
 */
static TeJob *
embed_references(TeArena *arena, const TeModel *engine, int n)
{
	TeSession  *session = te_session_create(arena, engine, tr_session_limit() / 2);
	TeJobOptions options = {0};
	TeJob	   *job;

	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	job = te_job_create(session, "embed", &options);
	for (int i = 0; i < n; i++)
		te_job_feed(job, te_reference_text(i), (TeStr) {NULL, 0});
	te_job_run(job);
	return job;
}

static void
check_finite(const float *vector, int n)
{
	for (int i = 0; i < n; i++)
		if (!isfinite(vector[i]))
			ereport(ERROR,
					(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
					 errmsg("the model gives a vector that is not made of numbers"),
					 errdetail("Some of its weights are infinite or NaN, or too large to compute with.")));
}

static void
store_references(const TrVersion *version)
{
	TrModel    *model = tr_model_of(version);
	TeModel    *engine = tr_model_engine(model);
	TeArena    *arena;
	TeJob	   *job;
	int			n;

	if (te_model_dimensions(engine) == 0)
		return;
	arena = tr_arena(CurrentMemoryContext, "reference vectors", tr_session_limit());
	n = affordable_texts(engine);
	job = embed_references(arena, engine, n);
	for (int i = 0; i < n; i++)
	{
		int			dimensions;
		const float *vector = te_job_vector(job, (size_t) i, &dimensions);

		check_finite(vector, dimensions);
		tr_catalog_add_reference(version, i, vector, dimensions);
	}
	te_arena_destroy(arena);
}

/* The version is our own and new: a snapshot that sees it is needed. */
void
tr_make_references(const TrVersion *version)
{
	PushActiveSnapshot(GetLatestSnapshot());
	PG_TRY();
	{
		te_isa_select("ref");
		store_references(version);
	}
	PG_FINALLY();
	{
		te_isa_select(tr_isa);
	}
	PG_END_TRY();
	PopActiveSnapshot();
}

/* ---- verify_model ---- */

static void
add_check(ReturnSetInfo *result, const char *name, double expected, double actual, bool ok)
{
	Datum		values[] = {CStringGetTextDatum(name), Float8GetDatum(expected), Float8GetDatum(actual), BoolGetDatum(ok)};
	bool		nulls[lengthof(values)] = {false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Digests of the bytes as they are now; counts those that are as they were. */
static void
digest_tensor(TeArena *arena, const TeTensorInfo *tensor, void *buffer, TrDigests *into, uint64 *right)
{
	const TrChunks *chunks = tensor->source->host;

	into->chunk_bytes = chunks->chunk_bytes;
	into->n = chunks->n;
	into->digests = te_alloc0(arena, te_mul_size((size_t) chunks->n, TR_DIGEST_LENGTH));
	for (int i = 0; i < chunks->n; i++)
	{
		if (!tr_chunk_read(chunks, i, buffer))
			continue;
		tr_sha256(buffer, tr_chunk_length(chunks, i), into->digests[i]);
		if (memcmp(into->digests[i], chunks->digests[i], TR_DIGEST_LENGTH) == 0)
			(*right)++;
	}
}

static void
digest_tokenizer(TeArena *arena, TeStr tokenizer, TrDigests *into)
{
	into->chunk_bytes = TR_CHUNK_BYTES;
	into->n = (int) ((tokenizer.len + TR_CHUNK_BYTES - 1) / TR_CHUNK_BYTES);
	into->digests = te_alloc(arena, te_mul_size((size_t) into->n, TR_DIGEST_LENGTH));
	for (int i = 0; i < into->n; i++)
	{
		size_t		start = (size_t) i * TR_CHUNK_BYTES;

		tr_sha256(tokenizer.data + start, Min(tokenizer.len - start, TR_CHUNK_BYTES), into->digests[i]);
	}
}

/* Every byte against its digest, and the digest of the whole. */
static void
verify_bytes(ReturnSetInfo *result, const TrVersion *version)
{
	TeArena    *arena = tr_arena(CurrentMemoryContext, "model verification", tr_session_limit());
	TeModelDef *def = tr_catalog_definition(arena, version);
	TrDigests  *tensors = te_new_array(arena, TrDigests, def->tensors.n);
	TrDigests	tokenizer;
	uint8		digest[TR_DIGEST_LENGTH];
	uint32		longest = 1;
	uint64		chunks = 0;
	uint64		right = 0;
	bool		ok;
	void	   *buffer;

	for (size_t i = 0; i < def->tensors.n; i++)
	{
		const TrChunks *of = def->tensors.tensors[i].source->host;

		longest = Max(longest, of->chunk_bytes);
		chunks += (uint64) of->n;
	}
	buffer = te_alloc(arena, longest);
	for (size_t i = 0; i < def->tensors.n; i++)
		digest_tensor(arena, &def->tensors.tensors[i], buffer, &tensors[i], &right);
	digest_tokenizer(arena, def->tokenizer, &tokenizer);
	tr_version_digest(def, &tokenizer, tensors, digest);
	ok = memcmp(digest, version->digest, TR_DIGEST_LENGTH) == 0;

	add_check(result, "chunks", (double) chunks, (double) right, chunks == right);
	add_check(result, "digest", 1, ok, ok);
	te_arena_destroy(arena);
}

/* Stored reference vectors, by number of the text; NULL-terminated. */
static List *
stored_references(const TrVersion *version)
{
	List	   *vectors = NIL;
	TrScan	   *scan = tr_scan_begin("reference", N_REFERENCE, 2, CStringGetTextDatum(version->key),
									 Int32GetDatum(version->version));
	Datum		values[N_REFERENCE + 1];
	bool		nulls[N_REFERENCE + 1];

	while (tr_scan_next(scan, values, nulls))
		vectors = lappend(vectors, DatumGetArrayTypePCopy(values[REFERENCE_VECTOR]));
	tr_scan_end(scan);
	return vectors;
}

static double
cosine(const float *a, const float *b, int n)
{
	double		lengths = sqrt(te_vector_dot(a, a, (size_t) n) * te_vector_dot(b, b, (size_t) n));

	return lengths > 0 ? te_vector_dot(a, b, (size_t) n) / lengths : 0;
}

/* The reference texts through the kernels in use. */
static void
verify_vectors(ReturnSetInfo *result, const TrVersion *version, List *references)
{
	TrModel    *model = tr_model_of(version);
	TeArena    *arena = tr_arena(CurrentMemoryContext, "reference vectors", tr_session_limit());
	int			n = Min(list_length(references), te_reference_count());
	TeJob	   *job = embed_references(arena, tr_model_engine(model), n);

	for (int i = 0; i < n; i++)
	{
		ArrayType  *reference = list_nth(references, i);
		int			dimensions;
		const float *vector = te_job_vector(job, (size_t) i, &dimensions);
		int			n_stored;
		const float *stored = tr_reals(reference, &n_stored);
		double		actual = n_stored == dimensions ? cosine(vector, stored, dimensions) : 0;

		add_check(result, psprintf("reference %d", i + 1), 1, actual, actual >= LEAST_COSINE);
	}
	te_arena_destroy(arena);
}

PG_FUNCTION_INFO_V1(transformer_verify_model);
Datum
transformer_verify_model(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TrVersion	version;
	List	   *references;

	tr_catalog_get(tr_required_text(fcinfo, 0, "model"), &version);
	tr_check_usage(&version);
	tr_srf_begin(fcinfo);
	verify_bytes(result, &version);
	references = stored_references(&version);
	if (references != NIL)
		verify_vectors(result, &version, references);
	return (Datum) 0;
}
