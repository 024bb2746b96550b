/*-------------------------------------------------------------------------
 * catalog.h
 *	  Inside of the catalog: what catalog.c, catalog_write.c, access.c,
 *	  files.c, tar.c and fn_model.c share.
 *
 * The tables are in sql/transformer--*.sql; their columns are listed here once,
 * for readers that take a tuple apart.
 *-------------------------------------------------------------------------
 */
#ifndef TR_CATALOG_H
#define TR_CATALOG_H

#include "pg/transformer.h"

#include "access/skey.h"
#include "datatype/timestamp.h"

#define TR_CATALOG_SCHEMA "_transformer"
#define TR_CHUNK_BYTES (1024 * 1024)
#define TR_NAME_BYTES 63		/* longest name of a model */

/* ---- columns, in the order of the tables ---- */

enum
{
	MODEL_NAME = 1,
	MODEL_DEPLOYED,
	MODEL_LAST_VERSION,
	MODEL_CREATED_AT,
	N_MODEL = MODEL_CREATED_AT
};

enum
{
	VERSION_NAME = 1,
	VERSION_VERSION,
	VERSION_DIGEST,
	VERSION_ARCHITECTURE,
	VERSION_TASK,
	VERSION_CONFIG,
	VERSION_PIPELINE,
	VERSION_TOKENIZER,
	VERSION_TOKENIZER_BYTES,
	VERSION_QUANTIZATION,
	VERSION_PARAMETERS,
	VERSION_BYTES,
	VERSION_DIMENSIONS,
	VERSION_CONTEXT_LENGTH,
	VERSION_LABELS,
	VERSION_PARENT,
	VERSION_STORAGE,
	VERSION_PATH,
	VERSION_CONVERSION,
	VERSION_FILE_SIZE,
	VERSION_FILE_MTIME,
	VERSION_CREATED_AT,
	N_VERSION = VERSION_CREATED_AT
};

enum
{
	TENSOR_NAME = 1,
	TENSOR_VERSION,
	TENSOR_SEQ,
	TENSOR_TENSOR,
	TENSOR_DTYPE,
	TENSOR_DIMS,
	TENSOR_BYTES,
	TENSOR_CHUNK_BYTES,
	TENSOR_CHUNKS,
	N_TENSOR = TENSOR_CHUNKS
};

enum
{
	REFERENCE_NAME = 1,
	REFERENCE_VERSION,
	REFERENCE_SEQ,
	REFERENCE_VECTOR,
	N_REFERENCE = REFERENCE_VECTOR
};

enum
{
	CHUNK_DIGEST = 1,
	CHUNK_WRITER,
	CHUNK_DATA,
	N_CHUNK = CHUNK_DATA
};

enum
{
	PRIVILEGE_NAME = 1,
	PRIVILEGE_ROLE,
	PRIVILEGE_OWNER,
	N_PRIVILEGE = PRIVILEGE_OWNER
};

enum
{
	SHIPPED_NAME = 1,
	SHIPPED_TASK,
	SHIPPED_COMMENT,
	N_SHIPPED = SHIPPED_COMMENT
};

#define MAX_CATALOG_COLUMNS N_VERSION

/* ---- reading (catalog.c) ---- */

/*
 * The rows of a catalog table with these values in the first columns of its
 * primary key, in the order of that key.
 */
typedef struct TrScan TrScan;

extern Oid	tr_catalog_relation(const char *table);
extern TrScan *tr_scan_begin(const char *table, int n_columns, int n_keys, ...);	/* a Datum for each key */
/* Columns are values[1 ..]; nulls[]; valid until the next call.  Values are toasted as they are. */
extern bool tr_scan_next(TrScan *scan, Datum values[], bool nulls[]);
extern void tr_scan_end(TrScan *scan);

/* ---- definitions (definition.c) ---- */

/* Bytes in the catalog, of a tensor or a tokenizer: what TeSource.host of its source points to. */
typedef struct TrChunks
{
	TeSource	source;
	TeStr		part;			/* name of the tensor, or "tokenizer.json", for messages */
	const TeTensorInfo *file;	/* storage 'file': where the bytes are; NULL: in table chunk */
	uint32		chunk_bytes;	/* of each but the last */
	int			n;
	const uint8 (*digests)[TR_DIGEST_LENGTH];
	struct TrChunkCache *cache; /* shared by all tensors of a definition */
} TrChunks;

extern uint32 tr_chunk_length(const TrChunks *chunks, int i);
/* The bytes as they are, tr_chunk_length() of them, digest not looked at; false where the chunk is missing or of another length. */
extern bool tr_chunk_read(const TrChunks *chunks, int i, void *into);

/* tokenizer.json of a version, in the arena; empty where it has none. */
extern TeStr tr_catalog_tokenizer(TeArena *arena, const TrVersion *version);

/* ---- digests (catalog.c) ---- */

extern void tr_sha256(const void *data, size_t len, uint8 digest[TR_DIGEST_LENGTH]);

/* Digests of the chunks of one tensor or tokenizer. */
typedef struct TrDigests
{
	uint32		chunk_bytes;
	int			n;
	uint8		(*digests)[TR_DIGEST_LENGTH];
} TrDigests;

/* The digest of a version; tensors[i] belongs to def->tensors.tensors[i]. */
extern void tr_version_digest(const TeModelDef *def, const TrDigests *tokenizer, const TrDigests *tensors,
							  uint8 digest[TR_DIGEST_LENGTH]);
/* A digest as the key of a look-up. */
typedef struct TrDigestKey
{
	char		bytes[VARHDRSZ + TR_DIGEST_LENGTH];
} TrDigestKey;

extern Datum tr_digest_key(TrDigestKey *key, const uint8 *digest);

/* ---- names (catalog.c) ---- */

/* What rows of a model that comes with the extension have in place of its name; no user's model is called so. */
#define TR_SHIPPED_MARK "@"
extern char *tr_shipped_key(const char *name);

extern void tr_check_model_name(const char *name);
extern char *tr_version_name(const char *name, int32 version);	/* 'name@3' */
/* Is there a row of the name itself, be it that of a model that was dropped? */
extern bool tr_catalog_has_name(const char *name);
/* tr_catalog_find(), or the error 42704. */
extern void tr_catalog_get(const char *model, TrVersion *into);

/* ---- access.c ---- */

/* OID of a role; 0 for 'public'. */
extern Oid	tr_role(const char *name);
extern void tr_check_privilege_of(Oid predefined_role, const char *action);

/* ---- files.c, tar.c, output.c ---- */

/* What a model is imported from: one file or a folder. */
typedef struct TrInput
{
	const char *name;			/* for messages: "/path" or "large object 123" */
	const char *path;			/* NULL: a large object */
	const char *stored_path;	/* the same as the catalog has it, where it may begin with TR_SHARE_PREFIX */
	bool		is_folder;
	TeSource	file;
	TeFolder	folder;
	int			descriptor;		/* of the large object; -1: none */

	/* set by tr_input_import(): the files with weights */
	uint64		size;			/* together */
	TimestampTz mtime;			/* of the youngest */
} TrInput;

/*
 * In place of the server's share directory, which another major version, package or standby has elsewhere.
 */
#define TR_SHARE_PREFIX "$share/"
extern char *tr_share_path(const char *path);	/* with the directory */
extern bool tr_in_share(const char *path);

/* A file or a folder of the server, to which the caller must have been allowed.  Valid in this transaction. */
extern TrInput *tr_input_path(TeArena *arena, const char *path);
extern TrInput *tr_input_large_object(TeArena *arena, Oid large_object);
extern TeModelDef *tr_input_import(TeArena *arena, TrInput *input, const TeImportOptions *options);
extern void tr_input_close(TrInput *input);
/* The path as it is meant, or an error where it is not absolute. */
extern char *tr_absolute_path(const char *path);

/* output.c: write a definition to a new file or folder; bytes. */
extern uint64 tr_output_path(TeArena *scratch, const TeModelDef *def, const char *name, const char *path);

/* tar.c */
extern bool tr_tar_probe(const TeSource *source);
extern void tr_tar_folder(TeArena *arena, const TeSource *archive, TeFolder *folder);

/* ---- progress.c ---- */

typedef enum TrImportPhase
{
	TR_IMPORT_READING,			/* header and JSON */
	TR_IMPORT_STORING,			/* bytes into chunks */
	TR_IMPORT_BUILDING,			/* image and reference vectors */
	TR_IMPORT_COUNTING,			/* words of texts, for a tokenizer */
	TR_IMPORT_LEARNING			/* its vocabulary */
} TrImportPhase;

extern void tr_import_begin(void);
extern void tr_import_size(uint64 tensors, uint64 bytes);
extern void tr_import_phase(TrImportPhase phase);
extern void tr_import_done(uint64 tensors, uint64 bytes);	/* so far */
extern void tr_import_end(void);

/* ---- catalog_write.c ---- */

/* A version that is to be made. */
typedef struct TrNewVersion
{
	const char *name;
	const TeModelDef *def;
	const char *parent;			/* or NULL */
	const TrInput *input;		/* storage 'file': where it is; NULL: in chunks */
	const char *conversion;		/* storage 'file': quantization that was asked for, or NULL */
	int32		shipped;		/* comes with the extension as this version, and takes the place of such a one; 0: a user's */
} TrNewVersion;

/* Make a version: chunks, rows, digest; the number is into->version.  The caller owns the name, or it is new. */
extern void tr_catalog_create(TeArena *arena, const TrNewVersion *version, TrContext *context, TrVersion *into);
extern void tr_catalog_add_reference(const TrVersion *version, int seq, const float *vector, int n);
extern void tr_catalog_copy(const TrVersion *from, const char *name, TrVersion *into);
extern void tr_catalog_rename(const char *name, const char *new_name);
extern void tr_catalog_deploy(const char *name, int32 version);
/* version 0: all of them.  Then whatever chunks nobody refers to any more. */
extern void tr_catalog_drop(const char *name, int32 version);
extern bool tr_catalog_grant(const char *name, Oid role);	/* false: was granted */
extern bool tr_catalog_revoke(const char *name, Oid role);

/* ---- fn_model.c ---- */

/* An error on a standby, in a read-only transaction and in a parallel query. */
extern void tr_must_be_writable(const char *function);
/* Fail before the work where the name is somebody else's. */
extern void tr_check_name_is_free(const char *name);
/* 'name@n', and a NOTICE where the version is not deployed. */
extern text *tr_report_version(const TrVersion *version);

/* fn_verify.c: compute and store what the scalar kernels give for the reference texts; nothing where the model embeds nothing. */
extern void tr_make_references(const TrVersion *version);

/* pinned.c: error 2BP01 where a column or index of this database names the version as a constant; version 0: any. */
extern void tr_check_not_pinned(const char *name, int32 version, const char *action);

#endif							/* TR_CATALOG_H */
