/*-------------------------------------------------------------------------
 * catalog.c
 *	  Reading the catalog: names, look-ups by the active snapshot, digests.
 *
 * The tables (sql/transformer--*.sql) are read by index with the active
 * snapshot, by the functions that read the system's own catalogs, not by SQL:
 * a look-up takes about two microseconds, depends on no setting
 * (search_path, row security, plan cache), works on a standby and in parallel
 * workers, and for a role that has no privilege on the tables.  Who may use a
 * model is access.c's business.
 *
 * Tables are found by name in the system caches for each look-up, so that
 * DROP and CREATE EXTENSION need no thought here.
 *
 * Digests.  The digest of a version is the sha256 of everything that decides
 * what the model computes, serialized thus, each string and each count as
 * a 64-bit little-endian number followed by the bytes or items:
 *
 *		"transformer model 1"
 *		architecture, task, config, pipeline, quantization
 *		count of labels, labels
 *		size of tokenizer chunks, count, digests		(32 bytes each)
 *		count of tensors; for each: name, type, count of dimensions, dimensions,
 *			bytes, size of chunks, count of chunks, digests
 *
 * Names, owners, references and the kind of storage are not in it: a copy,
 * or the same file imported with the other storage, has the same digest and
 * shares the image in memory.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define MAX_SCAN_KEYS 3

StaticAssertDecl(TR_DIGEST_LENGTH == PG_SHA256_DIGEST_LENGTH, "digests are sha256");

/* ---- names ---- */

void
tr_check_model_name(const char *name)
{
	size_t		len = strlen(name);
	const char *why = NULL;

	if (len == 0)
		why = "It is empty.";
	else if (len > TR_NAME_BYTES)
		why = "It is longer than 63 bytes.";
	else if (strchr(name, '@') != NULL)
		why = "\"@\" parts a name from a version.";
	else if (name[0] == ' ' || name[len - 1] == ' ')
		why = "It begins or ends with a space.";
	for (const char *p = name; why == NULL && *p != '\0'; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			why = "It contains a control character.";
	}
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("invalid name of a model: \"%s\"", name),
						errdetail_internal("%s", why)));
}

bool
tr_split_model_name(const char *model, char **name, int32 *version)
{
	const char *at = strchr(model, '@');

	*version = 0;
	*name = at == NULL ? pstrdup(model) : pnstrdup(model, at - model);
	if (at == NULL)
		return true;

	for (const char *p = at + 1; *p >= '0' && *p <= '9' && *version < PG_INT32_MAX / 10; p++)
		*version = *version * 10 + (*p - '0');
	return *version != 0 && strcmp(at + 1, psprintf("%d", *version)) == 0;
}

void
tr_parse_model_name(const char *model, char **name, int32 *version)
{
	bool		good = tr_split_model_name(model, name, version);

	tr_check_model_name(*name);
	if (!good)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("invalid version of a model: \"%s\"", model),
						errhint("Write \"name\" for the deployed version, or \"name@3\".")));
}

char *
tr_version_name(const char *name, int32 version)
{
	return psprintf("%s@%d", name, version);
}

char *
tr_shipped_key(const char *name)
{
	return psprintf(TR_SHIPPED_MARK "%s", name);
}

/* ---- scans ---- */

struct TrScan
{
	Relation	relation;
	Relation	index;
	SysScanDesc scan;
	int			n_columns;
};

Oid
tr_catalog_relation(const char *table)
{
	Oid			schema = get_namespace_oid(TR_CATALOG_SCHEMA, true);
	Oid			relation = OidIsValid(schema) ? get_relname_relid(table, schema) : InvalidOid;

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"transformer\" is not installed in this database"),
						errhint("Run CREATE EXTENSION transformer.")));
	return relation;
}

/* Equality of a key column, by the type of the column. */
static void
init_scan_key(ScanKey key, TupleDesc columns, int column, Datum value)
{
	Form_pg_attribute attribute = TupleDescAttr(columns, column - 1);
	RegProcedure equal = attribute->atttypid == INT4OID ? F_INT4EQ : attribute->atttypid == INT8OID ? F_INT8EQ :
		attribute->atttypid == BYTEAOID ? F_BYTEAEQ : F_TEXTEQ;

	ScanKeyInit(key, column, BTEqualStrategyNumber, equal, value);
	key->sk_collation = attribute->attcollation;
}

TrScan *
tr_scan_begin(const char *table, int n_columns, int n_keys,...)
{
	TrScan	   *scan = palloc(sizeof(TrScan));
	ScanKeyData keys[MAX_SCAN_KEYS];
	va_list		values;

	Assert(n_keys <= MAX_SCAN_KEYS);
	scan->relation = table_open(tr_catalog_relation(table), AccessShareLock);
	if (RelationGetDescr(scan->relation)->natts != n_columns)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the catalog of extension \"transformer\" is of another version than its library"),
						errhint("Run ALTER EXTENSION transformer UPDATE.")));
	scan->index = index_open(tr_primary_key(scan->relation), AccessShareLock);
	scan->n_columns = n_columns;

	va_start(values, n_keys);
	for (int i = 0; i < n_keys; i++)
		init_scan_key(&keys[i], RelationGetDescr(scan->relation), i + 1, va_arg(values, Datum));
	va_end(values);
	scan->scan = systable_beginscan_ordered(scan->relation, scan->index, GetActiveSnapshot(), n_keys, keys);
	return scan;
}

bool
tr_scan_next(TrScan *scan, Datum values[], bool nulls[])
{
	HeapTuple	tuple = systable_getnext_ordered(scan->scan, ForwardScanDirection);

	if (!HeapTupleIsValid(tuple))
		return false;
	heap_deform_tuple(tuple, RelationGetDescr(scan->relation), values + 1, nulls + 1);
	return true;
}

void
tr_scan_end(TrScan *scan)
{
	systable_endscan_ordered(scan->scan);
	index_close(scan->index, AccessShareLock);
	table_close(scan->relation, AccessShareLock);
	pfree(scan);
}

/* ---- versions ---- */

/* The owner of a model that is still there; InvalidOid where there is none. */
static Oid
find_owner(const char *name)
{
	TrScan	   *scan = tr_scan_begin("privilege", N_PRIVILEGE, 1, CStringGetTextDatum(name));
	Datum		values[N_PRIVILEGE + 1];
	bool		nulls[N_PRIVILEGE + 1];
	Oid			owner = InvalidOid;

	while (tr_scan_next(scan, values, nulls))
	{
		if (DatumGetBool(values[PRIVILEGE_OWNER]))
			owner = DatumGetObjectId(values[PRIVILEGE_ROLE]);
	}
	tr_scan_end(scan);
	return OidIsValid(owner) && GetUserNameFromId(owner, true) != NULL ? owner : InvalidOid;
}

static bool
find_model(const char *name, int32 *deployed)
{
	TrScan	   *scan = tr_scan_begin("model", N_MODEL, 1, CStringGetTextDatum(name));
	Datum		values[N_MODEL + 1];
	bool		nulls[N_MODEL + 1];
	bool		found = tr_scan_next(scan, values, nulls);

	if (found)
		*deployed = DatumGetInt32(values[MODEL_DEPLOYED]);
	tr_scan_end(scan);
	return found;
}

static bool
find_version(const char *name, int32 version, TrVersion *into)
{
	TrScan	   *scan = tr_scan_begin("version", N_VERSION, 2, CStringGetTextDatum(name), Int32GetDatum(version));
	Datum		values[N_VERSION + 1];
	bool		nulls[N_VERSION + 1];
	bool		found = tr_scan_next(scan, values, nulls);

	if (found)
	{
		bytea	   *stored = DatumGetByteaPP(values[VERSION_DIGEST]);

		if (VARSIZE_ANY_EXHDR(stored) != TR_DIGEST_LENGTH)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("digest of model \"%s@%d\" is damaged", name, version)));
		memcpy(into->digest, VARDATA_ANY(stored), TR_DIGEST_LENGTH);
		into->parameters = DatumGetInt64(values[VERSION_PARAMETERS]);
		into->context_length = DatumGetInt32(values[VERSION_CONTEXT_LENGTH]);
	}
	tr_scan_end(scan);
	return found;
}

bool
tr_catalog_has_name(const char *name)
{
	int32		deployed;

	return find_model(name, &deployed);
}

/* What a database says of a name goes before what comes with the extension: shipped.c. */
bool
tr_catalog_find(const char *name, int32 version, TrVersion *into)
{
	char	   *key = pstrdup(name);

	memset(into, 0, sizeof(*into));
	if (!find_model(key, &into->deployed))
	{
		key = tr_shipped_key(name);
		if (!find_model(key, &into->deployed))
			return false;
	}
	into->version = version != 0 ? version : into->deployed;
	if (!find_version(key, into->version, into))
		return false;
	into->name = pstrdup(name);
	into->key = key;
	into->owner = find_owner(key);
	return true;
}

void
tr_catalog_get(const char *model, TrVersion *into)
{
	char	   *name;
	int32		version;

	tr_parse_model_name(model, &name, &version);
	if (!tr_catalog_find(name, version, into))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", model),
						errhint("SELECT name, version FROM transformer.models lists the models that you may use.")));
}

/* ---- digests ---- */

static pg_cryptohash_ctx *
hash_begin(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not begin a sha256");
	return hash;
}

static void
hash_add(pg_cryptohash_ctx *hash, const void *data, size_t len)
{
	if (pg_cryptohash_update(hash, data, len) < 0)
		elog(ERROR, "could not compute a sha256");
}

static void
hash_end(pg_cryptohash_ctx *hash, uint8 digest[TR_DIGEST_LENGTH])
{
	if (pg_cryptohash_final(hash, digest, TR_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not end a sha256");
	pg_cryptohash_free(hash);
}

void
tr_sha256(const void *data, size_t len, uint8 digest[TR_DIGEST_LENGTH])
{
	pg_cryptohash_ctx *hash = hash_begin();

	hash_add(hash, data, len);
	hash_end(hash, digest);
}

static void
hash_number(pg_cryptohash_ctx *hash, uint64 number)
{
	uint8		bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8) (number >> 8 * i);
	hash_add(hash, bytes, sizeof(bytes));
}

static void
hash_string(pg_cryptohash_ctx *hash, TeStr string)
{
	hash_number(hash, string.len);
	hash_add(hash, string.data, string.len);
}

static void
hash_digests(pg_cryptohash_ctx *hash, const TrDigests *chunks)
{
	hash_number(hash, chunks->chunk_bytes);
	hash_number(hash, (uint64) chunks->n);
	hash_add(hash, chunks->digests, (size_t) chunks->n * TR_DIGEST_LENGTH);
}

static void
hash_tensor(pg_cryptohash_ctx *hash, const TeTensorInfo *tensor, const TrDigests *chunks)
{
	hash_string(hash, tensor->name);
	hash_string(hash, te_str(te_dtypes[tensor->dtype].name));
	hash_number(hash, (uint64) tensor->n_dims);
	for (int i = 0; i < tensor->n_dims; i++)
		hash_number(hash, (uint64) tensor->dims[i]);
	hash_number(hash, tensor->bytes);
	hash_digests(hash, chunks);
}

void
tr_version_digest(const TeModelDef *def, const TrDigests *tokenizer, const TrDigests *tensors,
				  uint8 digest[TR_DIGEST_LENGTH])
{
	pg_cryptohash_ctx *hash = hash_begin();

	hash_string(hash, TE_STR("transformer model 1"));
	hash_string(hash, def->architecture);
	hash_string(hash, def->task);
	hash_string(hash, def->config);
	hash_string(hash, def->pipeline);
	hash_string(hash, def->quantization);
	hash_number(hash, (uint64) def->n_labels);
	for (int i = 0; i < def->n_labels; i++)
		hash_string(hash, def->labels[i]);
	hash_digests(hash, tokenizer);
	hash_number(hash, def->tensors.n);
	for (size_t i = 0; i < def->tensors.n; i++)
		hash_tensor(hash, &def->tensors.tensors[i], &tensors[i]);
	hash_end(hash, digest);
}

Datum
tr_digest_key(TrDigestKey *key, const uint8 *digest)
{
	SET_VARSIZE(key->bytes, sizeof(key->bytes));
	memcpy(VARDATA(key->bytes), digest, TR_DIGEST_LENGTH);
	return PointerGetDatum(key->bytes);
}
