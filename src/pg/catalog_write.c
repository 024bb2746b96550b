/*-------------------------------------------------------------------------
 * catalog_write.c
 *	  Changing the catalog: new versions, names, grants; and the chunks that
 *	  versions share.
 *
 * Statements are SQL, run as the owner of the tables with a search_path of
 * pg_catalog only; user, path and SPI are restored by execute() or, after an
 * error, by the (sub)transaction.  The callers have checked who may do it, for
 * an early and clear error; what counts is the check that is made again here
 * once the row of the name is locked.
 *
 * A version is written in two steps.  First its bytes, tensor by tensor, in
 * chunks of about a megabyte that hold whole rows; a chunk that is already
 * there is not written again.  Memory is one chunk.  Then, when the digest is known, the rows,
 * so that the row of a name is locked only briefly and two imports under one
 * name do not wait for each other's bytes.
 *
 * There are no foreign keys (see the script).  Whoever adds, removes or
 * renames rows of a name updates its row of table model first, so that these
 * follow one another; who only reads the rows of a name, to copy them, locks that row in share
 * mode.  An update even where nothing changes makes concurrent ones fail, not go wrong, in
 * transactions that keep their snapshot.
 *
 * Chunks and concurrency.  A chunk lives as long as a row of version or tensor
 * names its digest; no foreign key says so (they are array elements).  Who
 * adds such rows takes the content lock in share mode before it looks for
 * chunks and holds it to the end of the transaction; who removes chunks takes
 * it in exclusive mode and then looks with a snapshot taken after that, so it
 * sees every reference there is.  Removal does not wait for the lock: if a
 * model is just being made, the bytes stay for the next drop_model().  Two
 * imports at a time do not see each other's chunks; what both have (zeros,
 * ones, the same base) is then stored twice.  A unique key on the digest would
 * make one wait for the other's transaction, or both deadlock.  So nobody waits for an import.
 *
 * Models that come with the extension (shipped.c) have rows under another key than their name, and chunks whose writer is 0; neither
 * is dumped.  The first change to such a name copies the rows to the name itself, which goes before the key from then on.  A name
 * without versions, deployed 0, says that the model was dropped, and hides the key.
 *
 * The content lock is a lock on a database object (the table, with sub-object
 * 1), which neither VACUUM nor pg_dump meets.  Lock order: content lock in
 * share mode, rows of model, the rest; the content lock in exclusive mode is
 * only tried.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* ---- statements ---- */

/* A value for a parameter of a statement. */
typedef struct Argument
{
	Oid			type;
	Datum		value;
	bool		null;
} Argument;

#define P_TEXT(string) ((Argument) {TEXTOID, CStringGetTextDatum(string), false})
#define P_TEXT_OR_NULL(string) \
	((Argument) {TEXTOID, (string) != NULL ? CStringGetTextDatum(string) : (Datum) 0, (string) == NULL})
#define P_STR(utf8) ((Argument) {TEXTOID, PointerGetDatum(tr_text(utf8)), false})
#define P_INT(number) ((Argument) {INT4OID, Int32GetDatum(number), false})
#define P_BIGINT(number) ((Argument) {INT8OID, Int64GetDatum(number), false})
#define P_ROLE(oid) ((Argument) {REGROLEOID, ObjectIdGetDatum(oid), false})
#define P_DATUM(oid, datum) ((Argument) {(oid), (datum), false})
#define P_NULL(oid) ((Argument) {(oid), (Datum) 0, true})

#define MAX_ARGUMENTS 24

/* execute() with a list of parameters. */
#define RUN(result, sql, ...) \
	execute((sql), (Argument[]) {__VA_ARGS__}, (int) lengthof(((Argument[]) {__VA_ARGS__})), (result))

static Oid
catalog_owner(void)
{
	Oid			relation = tr_catalog_relation("model");
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Run a prepared statement: with the snapshot given, else as any statement of the transaction. */
static int
execute_plan(SPIPlanPtr plan, Datum *values, const char *nulls, Snapshot snapshot)
{
	if (snapshot != InvalidSnapshot)
		return SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot, false, true, 0);
	return SPI_execute_plan(plan, values, nulls, false, 0);
}

/* As the catalog's owner; the number of rows.  *result: the first column of the first row, a bigint. */
static uint64
execute_with(const char *sql, const Argument *arguments, int n, Snapshot snapshot, int64 *result)
{
	Oid			types[MAX_ARGUMENTS];
	Datum		values[MAX_ARGUMENTS];
	char		nulls[MAX_ARGUMENTS];
	Oid			user;
	int			context;
	int			guc_level = NewGUCNestLevel();
	SPIPlanPtr	plan;
	uint64		rows;
	bool		isnull;

	Assert(n <= MAX_ARGUMENTS);
	for (int i = 0; i < n; i++)
	{
		types[i] = arguments[i].type;
		values[i] = arguments[i].value;
		nulls[i] = arguments[i].null ? 'n' : ' ';
	}
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(catalog_owner(), context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	SPI_connect();
	plan = SPI_prepare(sql, n, types);
	if (plan == NULL || execute_plan(plan, values, nulls, snapshot) < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	rows = SPI_processed;
	if (result != NULL && rows > 0)
		*result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();

	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, context);
	return rows;
}

static uint64
execute(const char *sql, const Argument *arguments, int n, int64 *result)
{
	return execute_with(sql, arguments, n, InvalidSnapshot, result);
}

/* ---- the content lock ---- */

/* false: not available, only if !wait. */
static bool
lock_content(LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, tr_catalog_relation("chunk"), 1);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* ---- the row of a name ---- */

/* A change that hits no row: somebody else was faster. */
static void
must_be_there(uint64 rows, const char *name)
{
	if (rows == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" was dropped concurrently", name)));
}

/*
 * Look up again what the caller looked up, and check again what it checked, now that the row of the
 * name is locked.  The caller did so with the snapshot of a statement that may have begun long ago;
 * meanwhile the name can have become that of somebody else's model.
 */
static void
look_again(const char *name, int32 version, void (*check) (const TrVersion *), TrVersion *into)
{
	PushActiveSnapshot(GetLatestSnapshot());
	must_be_there(tr_catalog_find(name, version, into), version != 0 ? tr_version_name(name, version) : name);
	check(into);
	PopActiveSnapshot();
}

/* Tokenizers of a name as chunks that are dumped, too. */
static void
keep_tokenizers(const char *name)
{
	Snapshot	snapshot;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	execute_with("INSERT INTO _transformer.chunk (digest, data) SELECT c.digest, c.data FROM _transformer.chunk c "
				 "WHERE c.writer = '0' AND c.digest IN (SELECT unnest(tokenizer) FROM _transformer.version WHERE name = $1) "
				 "AND NOT EXISTS (SELECT 1 FROM _transformer.chunk o WHERE o.digest = c.digest AND o.writer <> '0')",
				 (Argument[]) {P_TEXT(name)}, 1, snapshot, NULL);
	UnregisterSnapshot(snapshot);
}

/* Before a name is changed: where it is that of a model of the extension, make it this database's. */
static void
adopt_shipped(const char *name)
{
	static const char *const copies[] = {
		"INSERT INTO _transformer.version SELECT $1, version, digest, architecture, task, config, pipeline, tokenizer, "
		"tokenizer_bytes, quantization, parameters, bytes, dimensions, context_length, labels, parent, storage, "
		"path, conversion, file_size, file_mtime, created_at FROM _transformer.version WHERE name = $2",
		"INSERT INTO _transformer.tensor SELECT $1, version, seq, tensor, dtype, dims, bytes, chunk_bytes, chunks "
		"FROM _transformer.tensor WHERE name = $2",
		"INSERT INTO _transformer.privilege SELECT $1, role, owner FROM _transformer.privilege WHERE name = $2",
	};
	char	   *key = tr_shipped_key(name);

	if (RUN(NULL, "SELECT 1 FROM _transformer.model s WHERE s.name = $2 "
			"AND NOT EXISTS (SELECT 1 FROM _transformer.model o WHERE o.name = $1)", P_TEXT(name), P_TEXT(key)) == 0)
		return;
	lock_content(ShareLock, true);
	if (RUN(NULL, "INSERT INTO _transformer.model SELECT $1, deployed, last_version, created_at FROM _transformer.model "
			"WHERE name = $2 ON CONFLICT DO NOTHING", P_TEXT(name), P_TEXT(key)) == 0)
		return;
	for (int i = 0; i < (int) lengthof(copies); i++)
		RUN(NULL, copies[i], P_TEXT(name), P_TEXT(key));
	keep_tokenizers(name);
}

/* For changing the rows of a name, which is the owner's to do; the version that is deployed. */
static int32
lock_name(const char *name)
{
	TrVersion	current;

	adopt_shipped(name);
	must_be_there(RUN(NULL, "UPDATE _transformer.model SET deployed = deployed WHERE name = $1", P_TEXT(name)), name);
	look_again(name, 0, tr_check_owner, &current);
	return current.deployed;
}

/* ---- chunks ---- */

/*
 * Store bytes unless they are there: now, under the content lock, not when the
 * transaction took its snapshot.  What comes with the extension is apart, since it is not dumped.
 */
static void
add_chunk(bytea *chunk, const uint8 *digest, bool shipped)
{
	TrDigestKey key;
	Argument	arguments[] = {
		P_DATUM(BYTEAOID, tr_digest_key(&key, digest)),
		P_DATUM(BYTEAOID, PointerGetDatum(chunk))
	};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	execute_with(shipped ?
				 "INSERT INTO _transformer.chunk (digest, data, writer) SELECT $1, $2, '0' "
				 "WHERE NOT EXISTS (SELECT 1 FROM _transformer.chunk WHERE digest = $1 AND writer = '0')" :
				 "INSERT INTO _transformer.chunk (digest, data) SELECT $1, $2 "
				 "WHERE NOT EXISTS (SELECT 1 FROM _transformer.chunk WHERE digest = $1 AND writer <> '0')",
				 arguments, lengthof(arguments), snapshot, NULL);
	UnregisterSnapshot(snapshot);
}

/* What is needed while the bytes of a version are written. */
typedef struct ChunkWriter
{
	TeArena    *arena;
	MemoryContext memory;		/* of one statement */
	bytea	   *buffer;			/* one chunk */
	size_t		room;			/* of buffer */
	uint64		tensors;		/* written, for progress */
	uint64		bytes;
	bool		keep;			/* false: take the digests only */
	bool		shipped;
} ChunkWriter;

/* The buffer, for a chunk of len bytes. */
static bytea *
chunk_buffer(ChunkWriter *writer, size_t len)
{
	if (writer->buffer == NULL || writer->room < len)
	{
		if (writer->buffer != NULL)
			pfree(writer->buffer);
		writer->buffer = palloc(VARHDRSZ + len);
		writer->room = len;
	}
	SET_VARSIZE(writer->buffer, VARHDRSZ + len);
	return writer->buffer;
}

/* Bytes [offset, offset + bytes) of a source, in chunks. */
static void
write_chunks(ChunkWriter *writer, const TeSource *source, uint64 offset, uint64 bytes, uint32 chunk_bytes, TrDigests *into)
{
	into->chunk_bytes = chunk_bytes;
	into->n = (int) ((bytes + chunk_bytes - 1) / chunk_bytes);
	into->digests = te_alloc(writer->arena, te_mul_size((size_t) into->n, TR_DIGEST_LENGTH));
	for (int i = 0; i < into->n; i++)
	{
		uint64		start = (uint64) i * chunk_bytes;
		size_t		len = (size_t) Min((uint64) chunk_bytes, bytes - start);
		bytea	   *chunk = chunk_buffer(writer, len);
		MemoryContext before = MemoryContextSwitchTo(writer->memory);

		CHECK_FOR_INTERRUPTS();
		te_source_read(source, offset + start, VARDATA(chunk), len);
		tr_sha256(VARDATA(chunk), len, into->digests[i]);
		if (writer->keep)
			add_chunk(chunk, into->digests[i], writer->shipped);
		writer->bytes += len;
		tr_import_done(writer->tensors, writer->bytes);
		MemoryContextSwitchTo(before);
		MemoryContextReset(writer->memory);
	}
}

static void
write_tensor(ChunkWriter *writer, const TeTensorInfo *tensor, TrDigests *into)
{
	int64		rows = te_tensor_chunk_rows(tensor, TR_CHUNK_BYTES);
	int64		n_in = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 1;
	uint64		chunk_bytes = (uint64) rows * te_row_bytes(tensor->dtype, n_in);

	if (chunk_bytes > MaxAllocSize - VARHDRSZ)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%.*s\" has rows of %llu bytes, which is too long",
				 TE_STR_ARGS(tensor->name), (unsigned long long) chunk_bytes);
	write_chunks(writer, tensor->source, tensor->offset, tensor->bytes, (uint32) Max(chunk_bytes, 1), into);
}

/* ---- arrays ---- */

static Datum
digest_array(const TrDigests *digests)
{
	Datum	   *items = palloc(sizeof(Datum) * (digests->n + 1));
	TrDigestKey *keys = palloc(sizeof(TrDigestKey) * (digests->n + 1));

	for (int i = 0; i < digests->n; i++)
		items[i] = tr_digest_key(&keys[i], digests->digests[i]);
	return PointerGetDatum(construct_array(items, digests->n, BYTEAOID, -1, false, TYPALIGN_INT));
}

static Datum
dims_array(const TeTensorInfo *tensor)
{
	Datum		items[TE_MAX_DIMS];

	for (int i = 0; i < tensor->n_dims; i++)
		items[i] = Int64GetDatum(tensor->dims[i]);
	return PointerGetDatum(construct_array(items, tensor->n_dims, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
label_array(const TeModelDef *def)
{
	Datum	   *items = palloc(sizeof(Datum) * (def->n_labels + 1));

	for (int i = 0; i < def->n_labels; i++)
		items[i] = PointerGetDatum(tr_text(def->labels[i]));
	return PointerGetDatum(tr_text_array(items, def->n_labels));
}

/* ---- new versions ---- */

/* Rows of one version, or of all of them. */
static uint64
delete_versions(const char *name, int32 version)
{
	static const char *const deletes[] = {
		"DELETE FROM _transformer.reference WHERE name = $1 AND (version = $2 OR $2 = 0)",
		"DELETE FROM _transformer.tensor WHERE name = $1 AND (version = $2 OR $2 = 0)",
		"DELETE FROM _transformer.version WHERE name = $1 AND (version = $2 OR $2 = 0)",
	};
	uint64		rows = 0;

	for (int i = 0; i < (int) lengthof(deletes); i++)
		rows = RUN(NULL, deletes[i], P_TEXT(name), P_INT(version));
	return rows;
}

/*
 * Take the next number of a name, or make the name.  The row of the name
 * stays locked, and the owner is looked up after that, in case the name was
 * made by somebody else meanwhile.
 */
static void
take_version(const char *name, TrVersion *into)
{
	TrVersion	current;
	int64		number = 0;

	adopt_shipped(name);
	RUN(&number, "INSERT INTO _transformer.model AS m (name, deployed, last_version) VALUES ($1, 1, 1) "
		"ON CONFLICT (name) DO UPDATE SET last_version = m.last_version + 1, deployed = greatest(m.deployed, 1) "
		"RETURNING last_version::bigint", P_TEXT(name));
	memset(into, 0, sizeof(*into));
	into->name = into->key = pstrdup(name);
	into->version = (int32) number;
	into->deployed = 1;
	into->owner = GetUserId();
	if (number == 1)
	{
		RUN(NULL, "INSERT INTO _transformer.privilege (name, role, owner) VALUES ($1, $2, true)",
			P_TEXT(name), P_ROLE(GetUserId()));
		return;
	}
	look_again(name, 0, tr_check_owner, &current);
	into->deployed = current.deployed;
	into->owner = current.owner;
}

/*
 * The same for a version that comes with the extension, whose number is known, in place of such a one that is there already.
 * The newest is deployed, and everybody may use it.
 */
static void
take_shipped(const char *name, int32 number, TrVersion *into)
{
	char	   *key = tr_shipped_key(name);

	RUN(NULL, "INSERT INTO _transformer.model AS m (name, deployed, last_version) VALUES ($1, $2, $2) ON CONFLICT (name) DO UPDATE "
		"SET deployed = greatest(m.deployed, $2), last_version = greatest(m.last_version, $2)", P_TEXT(key), P_INT(number));
	RUN(NULL, "INSERT INTO _transformer.privilege (name, role, owner) VALUES ($1, $2, true), ($1, 0::regrole, false) "
		"ON CONFLICT DO NOTHING", P_TEXT(key), P_ROLE(GetUserId()));
	delete_versions(key, number);
	*into = (TrVersion) {.name = pstrdup(name),.key = key,.version = number,.deployed = number,.owner = GetUserId()};
}

static void
add_version_row(const TrNewVersion *new, const TrVersion *version, const TrDigests *tokenizer)
{
	const TeModelDef *def = new->def;
	const TrInput *file = new->input;
	TrDigestKey digest;

	RUN(NULL, "INSERT INTO _transformer.version (name, version, digest, architecture, task, config, pipeline, "
		"tokenizer, tokenizer_bytes, quantization, parameters, bytes, dimensions, context_length, labels, parent, "
		"storage, path, conversion, file_size, file_mtime) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
		"$13, $14, $15, $16, $17, $18, $19, $20, $21)",
		P_TEXT(version->key), P_INT(version->version), P_DATUM(BYTEAOID, tr_digest_key(&digest, version->digest)),
		P_STR(def->architecture), P_STR(def->task), P_STR(def->config), P_STR(def->pipeline),
		P_DATUM(BYTEAARRAYOID, digest_array(tokenizer)), P_INT((int32) def->tokenizer.len), P_STR(def->quantization),
		P_BIGINT((int64) def->parameters), P_BIGINT((int64) def->bytes), P_INT(def->dimensions), P_INT(def->context_length),
		P_DATUM(TEXTARRAYOID, label_array(def)), P_TEXT_OR_NULL(new->parent),
		P_TEXT(file != NULL ? "file" : "table"),
		P_TEXT_OR_NULL(file != NULL ? file->stored_path : NULL),
		P_TEXT_OR_NULL(new->conversion),
		file != NULL ? P_BIGINT((int64) file->size) : P_NULL(INT8OID),
		file != NULL ? P_DATUM(TIMESTAMPTZOID, TimestampTzGetDatum(file->mtime)) : P_NULL(TIMESTAMPTZOID));
}

static void
add_tensor_row(const TrVersion *version, int seq, const TeTensorInfo *tensor, const TrDigests *chunks)
{
	RUN(NULL, "INSERT INTO _transformer.tensor (name, version, seq, tensor, dtype, dims, bytes, chunk_bytes, chunks) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		P_TEXT(version->key), P_INT(version->version), P_INT(seq), P_STR(tensor->name),
		P_TEXT(te_dtypes[tensor->dtype].name), P_DATUM(INT8ARRAYOID, dims_array(tensor)),
		P_BIGINT((int64) tensor->bytes), P_INT((int32) chunks->chunk_bytes), P_DATUM(BYTEAARRAYOID, digest_array(chunks)));
}

/* Rows one after the other, each in memory that is given back. */
static void
add_rows(ChunkWriter *writer, const TrNewVersion *new, const TrVersion *version, const TrDigests *tokenizer,
		 const TrDigests *tensors)
{
	MemoryContext before = MemoryContextSwitchTo(writer->memory);

	add_version_row(new, version, tokenizer);
	for (size_t i = 0; i < new->def->tensors.n; i++)
	{
		MemoryContextReset(writer->memory);
		add_tensor_row(version, (int) i, &new->def->tensors.tensors[i], &tensors[i]);
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(writer->memory);
}

void
tr_catalog_create(TeArena *arena, const TrNewVersion *new, TrContext *context, TrVersion *into)
{
	const TeModelDef *def = new->def;
	TeSource	json = te_source_memory("tokenizer.json", def->tokenizer.data, def->tokenizer.len);
	TrDigests	tokenizer;
	TrDigests  *tensors = te_new_array(arena, TrDigests, def->tensors.n);
	ChunkWriter writer = {.arena = arena,.keep = true,.shipped = new->shipped > 0};
	uint8		digest[TR_DIGEST_LENGTH];

	if (def->tokenizer.len > INT_MAX / 2)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer of %zu bytes is too large", def->tokenizer.len);
	writer.memory = AllocSetContextCreate(CurrentMemoryContext, "transformer import", ALLOCSET_DEFAULT_SIZES);
	tr_import_size(def->tensors.n, def->bytes + def->tokenizer.len);
	tr_import_phase(TR_IMPORT_STORING);
	lock_content(ShareLock, true);

	write_chunks(&writer, &json, 0, def->tokenizer.len, TR_CHUNK_BYTES, &tokenizer);
	writer.keep = new->input == NULL;
	for (size_t i = 0; i < def->tensors.n; i++)
	{
		context->part = def->tensors.tensors[i].name;
		te_report(TE_DEBUG, "tensor %zu of %zu: \"%.*s\"", i + 1, def->tensors.n, TE_STR_ARGS(context->part));
		write_tensor(&writer, &def->tensors.tensors[i], &tensors[i]);
		tr_import_done(++writer.tensors, writer.bytes);
	}
	context->part = (TeStr) {NULL, 0};
	tr_version_digest(def, &tokenizer, tensors, digest);

	if (new->shipped > 0)
		take_shipped(new->name, new->shipped, into);
	else
		take_version(new->name, into);
	memcpy(into->digest, digest, TR_DIGEST_LENGTH);
	add_rows(&writer, new, into, &tokenizer, tensors);
	MemoryContextDelete(writer.memory);
	if (writer.buffer != NULL)
		pfree(writer.buffer);
}

void
tr_catalog_add_reference(const TrVersion *version, int seq, const float *vector, int n)
{
	RUN(NULL, "INSERT INTO _transformer.reference (name, version, seq, vector) VALUES ($1, $2, $3, $4)",
		P_TEXT(version->name), P_INT(version->version), P_INT(seq),
		P_DATUM(FLOAT4ARRAYOID, PointerGetDatum(tr_real_array(vector, n))));
}

void
tr_catalog_copy(const TrVersion *from, const char *name, TrVersion *into)
{
	static const char *const copies[] = {
		"INSERT INTO _transformer.version SELECT $1, $2, digest, architecture, task, config, pipeline, tokenizer, "
		"tokenizer_bytes, quantization, parameters, bytes, dimensions, context_length, labels, ltrim($3, '@') || '@' || $4, storage, "
		"path, conversion, file_size, file_mtime, now() FROM _transformer.version WHERE name = $3 AND version = $4",
		"INSERT INTO _transformer.tensor SELECT $1, $2, seq, tensor, dtype, dims, bytes, chunk_bytes, chunks "
		"FROM _transformer.tensor WHERE name = $3 AND version = $4",
		"INSERT INTO _transformer.reference SELECT $1, $2, seq, vector "
		"FROM _transformer.reference WHERE name = $3 AND version = $4",
	};
	TrVersion	source;

	lock_content(ShareLock, true);
	/* Where both names are one, take_version() locks its row; a share of it before could not become more without a deadlock. */
	if (strcmp(from->name, name) != 0)
		must_be_there(RUN(NULL, "SELECT 1 FROM _transformer.model WHERE name = $1 FOR SHARE", P_TEXT(from->key)), from->name);
	take_version(name, into);
	look_again(from->name, from->version, tr_check_usage, &source);
	memcpy(into->digest, source.digest, TR_DIGEST_LENGTH);
	for (int i = 0; i < (int) lengthof(copies); i++)
	{
		uint64		rows = RUN(NULL, copies[i], P_TEXT(name), P_INT(into->version), P_TEXT(source.key), P_INT(from->version));

		if (i == 0)
			must_be_there(rows, tr_version_name(from->name, from->version));
	}
	keep_tokenizers(name);
}

/* ---- names, grants ---- */

void
tr_catalog_rename(const char *name, const char *new_name)
{
	static const char *const updates[] = {
		"UPDATE _transformer.model SET name = $2 WHERE name = $1",
		"UPDATE _transformer.version SET name = $2 WHERE name = $1",
		"UPDATE _transformer.tensor SET name = $2 WHERE name = $1",
		"UPDATE _transformer.reference SET name = $2 WHERE name = $1",
		"UPDATE _transformer.privilege SET name = $2 WHERE name = $1",
	};

	lock_name(name);
	RUN(NULL, "DELETE FROM _transformer.model WHERE name = $1 AND deployed = 0", P_TEXT(new_name));
	for (int i = 0; i < (int) lengthof(updates); i++)
		RUN(NULL, updates[i], P_TEXT(name), P_TEXT(new_name));
	RUN(NULL, "INSERT INTO _transformer.model (name, deployed, last_version) SELECT $1, 0, 0 FROM _transformer.model WHERE name = $2",
		P_TEXT(name), P_TEXT(tr_shipped_key(name)));
}

void
tr_catalog_deploy(const char *name, int32 version)
{
	lock_name(name);
	must_be_there(RUN(NULL, "UPDATE _transformer.model SET deployed = $2 WHERE name = $1 AND EXISTS "
					  "(SELECT 1 FROM _transformer.version WHERE name = $1 AND version = $2)",
					  P_TEXT(name), P_INT(version)), tr_version_name(name, version));
}

bool
tr_catalog_grant(const char *name, Oid role)
{
	lock_name(name);
	return RUN(NULL, "INSERT INTO _transformer.privilege (name, role, owner) VALUES ($1, $2, false) ON CONFLICT DO NOTHING",
			   P_TEXT(name), P_ROLE(role)) > 0;
}

bool
tr_catalog_revoke(const char *name, Oid role)
{
	lock_name(name);
	return RUN(NULL, "DELETE FROM _transformer.privilege WHERE name = $1 AND role = $2 AND NOT owner",
			   P_TEXT(name), P_ROLE(role)) > 0;
}

/* ---- training runs ---- */

int64
tr_catalog_next_run(void)
{
	int64		run = 0;

	execute_with("SELECT nextval('_transformer.training_run_seq')", NULL, 0, InvalidSnapshot, &run);
	return run;
}

bool
tr_catalog_find_run(int64 run, Oid *owner)
{
	TrScan	   *scan = tr_scan_begin("training_run", N_TRAINING_RUN, 1, Int64GetDatum(run));
	Datum		values[N_TRAINING_RUN + 1];
	bool		nulls[N_TRAINING_RUN + 1];
	bool		there = tr_scan_next(scan, values, nulls);

	if (there)
		*owner = DatumGetObjectId(values[TRAINING_OWNER]);
	tr_scan_end(scan);
	return there;
}

#define P_REAL(number) ((Argument) {FLOAT8OID, Float8GetDatum(isnan(number) ? 0 : (number)), isnan(number)})

void
tr_catalog_add_run(const TrRunRow *row)
{
	const TrResult *result = row->result;

	RUN(NULL, "INSERT INTO _transformer.training_run (run, owner, statement, base, model, objective, options, query, eval_query, "
		"rows, tokens, steps, loss, eval_loss, metrics, seconds, started_at) VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, "
		"$8, $9, $10, $11, $12, $13, $14, $15::jsonb, $16, $17)",
		P_BIGINT(row->run), P_ROLE(row->owner), P_TEXT(row->statement), P_TEXT(row->base), P_TEXT(row->model),
		P_TEXT(row->objective), P_STR(row->options), P_TEXT(row->query), P_TEXT_OR_NULL(row->eval_query),
		P_BIGINT(result->rows), P_BIGINT(result->tokens), P_BIGINT(result->steps), P_REAL(result->loss),
		P_REAL(result->eval_loss), result->metrics.data != NULL ? P_STR(result->metrics) : P_NULL(TEXTOID),
		P_REAL(result->seconds), P_DATUM(TIMESTAMPTZOID, TimestampTzGetDatum(row->started_at)));
}

void
tr_catalog_add_log(int64 run, const TrLogRecord *records, size_t n)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "training log", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(memory);

	for (size_t i = 0; i < n; i++)
	{
		const TrLogRecord *record = &records[i];
		double		eval_loss = record->n_metrics > 0 ? record->metrics[0].value : get_float8_nan();

		MemoryContextReset(memory);
		RUN(NULL, "INSERT INTO _transformer.training_log (run, step, loss, eval_loss, learning_rate, tokens, at) "
			"VALUES ($1, $2, $3, $4, $5, $6, $7)",
			P_BIGINT(run), P_BIGINT(record->step), P_REAL(record->loss), P_REAL(eval_loss), P_REAL(record->learning_rate),
			P_BIGINT((int64) record->tokens), P_DATUM(TIMESTAMPTZOID, TimestampTzGetDatum(record->at)));
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(memory);
}

/* ---- dropping ---- */

/* Who made a model and has committed may be about to let go of it: we may be here because its row was unlocked before. */
static bool
lock_content_soon(void)
{
	for (int attempt = 0; attempt < 20; attempt++)
	{
		if (lock_content(ExclusiveLock, false))
			return true;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	return false;
}

/* Remove chunks that no row refers to. */
static void
remove_orphans(void)
{
	Snapshot	snapshot;

	if (!lock_content_soon())
	{
		ereport(NOTICE, (errmsg("space of the dropped model is given back by the next drop_model"),
						 errdetail("Another model is being made at the moment.")));
		return;
	}
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	execute_with("DELETE FROM _transformer.chunk c WHERE NOT EXISTS (SELECT 1 FROM "
				 "(SELECT unnest(chunks) AS digest FROM _transformer.tensor UNION ALL "
				 "SELECT unnest(tokenizer) FROM _transformer.version) used WHERE used.digest = c.digest)",
				 NULL, 0, snapshot, NULL);
	UnregisterSnapshot(snapshot);
}

/* The last version takes the name with it, but for what says that a model of the extension is not wanted. */
void
tr_catalog_drop(const char *name, int32 version)
{
	int32		deployed = lock_name(name);
	int64		left = 0;

	must_be_there(delete_versions(name, version), version != 0 ? tr_version_name(name, version) : name);
	RUN(&left, "SELECT count(*) FROM _transformer.version WHERE name = $1", P_TEXT(name));
	if (left > 0 && version == deployed)
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("cannot drop the deployed version of model \"%s\"", name),
						errdetail("The model has other versions."),
						errhint("Deploy another version first, or drop the model with all its versions.")));
	if (left == 0)
	{
		RUN(NULL, "DELETE FROM _transformer.privilege WHERE name = $1", P_TEXT(name));
		if (RUN(NULL, "UPDATE _transformer.model SET deployed = 0, last_version = 0 WHERE name = $1 "
				"AND EXISTS (SELECT 1 FROM _transformer.model WHERE name = $2)", P_TEXT(name), P_TEXT(tr_shipped_key(name))) == 0)
			RUN(NULL, "DELETE FROM _transformer.model WHERE name = $1", P_TEXT(name));
	}
	remove_orphans();
}
