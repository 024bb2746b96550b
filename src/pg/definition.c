/*-------------------------------------------------------------------------
 * definition.c
 *	  From the catalog to the engine: a TeModelDef whose tensors read chunks.
 *
 * tr_catalog_definition() reads the row of a version and those of its tensors.
 * The bytes of a tensor are read when the engine asks for them, a chunk at a
 * time; the last chunk is kept for all tensors together, since readers go
 * forward in small steps.  Memory is thus the rows and one chunk, whatever the size of the model.
 *
 * With storage 'file' the bytes come from the file, through the same import as
 * when the version was made, and each chunk is held against its digest: a
 * file that was changed is an error, never other weights.
 *
 * Everything in a row is checked, as a dump may have been edited.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* ---- chunks ---- */

/* The last chunk that was read for a definition. */
typedef struct TrChunkCache
{
	const TrChunks *chunks;		/* NULL: none */
	int			number;
	uint8	   *data;			/* as long as the longest chunk */
} TrChunkCache;

uint32
tr_chunk_length(const TrChunks *chunks, int i)
{
	uint64		start = (uint64) i * chunks->chunk_bytes;

	return (uint32) Min(chunks->source.size - start, (uint64) chunks->chunk_bytes);
}

/* The row of table chunk with this digest. */
static bool
read_table_chunk(const uint8 *digest, void *into, uint32 length)
{
	TrDigestKey key;
	Datum		values[N_CHUNK + 1];
	bool		nulls[N_CHUNK + 1];
	TrScan	   *scan = tr_scan_begin("chunk", N_CHUNK, 1, tr_digest_key(&key, digest));
	bool		found = tr_scan_next(scan, values, nulls);

	if (found)
	{
		bytea	   *data = DatumGetByteaPP(values[CHUNK_DATA]);

		found = VARSIZE_ANY_EXHDR(data) == length;
		if (found)
			memcpy(into, VARDATA_ANY(data), length);
		if ((Pointer) data != DatumGetPointer(values[CHUNK_DATA]))
			pfree(data);
	}
	tr_scan_end(scan);
	return found;
}

bool
tr_chunk_read(const TrChunks *chunks, int i, void *into)
{
	uint32		length = tr_chunk_length(chunks, i);

	CHECK_FOR_INTERRUPTS();
	if (chunks->file == NULL)
		return read_table_chunk(chunks->digests[i], into, length);
	te_source_read(chunks->file->source, chunks->file->offset + (uint64) i * chunks->chunk_bytes, into, length);
	return true;
}

static TE_NORETURN void
file_changed(const char *file, const char *model, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("\"%s\" has changed since it was imported", file),
					errdetail("It holds the weights of model \"%s\". %s", model, detail),
					errhint("%s", tr_in_share(file) ?
							"Install the release of the extension that the model came with, or update the extension in this database." :
							"Put the old file back, or import the new one as a new version.")));
	pg_unreachable();
}

/* Bring a chunk into the cache. */
static void
load_chunk(const TrChunks *chunks, int i)
{
	TrChunkCache *cache = chunks->cache;
	uint8		digest[TR_DIGEST_LENGTH];

	if (cache->chunks == chunks && cache->number == i)
		return;
	cache->chunks = NULL;
	if (!tr_chunk_read(chunks, i, cache->data))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("\"%s\" of model \"%s\" is damaged in the catalog", tr_cstring(chunks->part), chunks->source.name),
						errdetail("Chunk %d is missing, or its length is wrong.", i)));
	if (chunks->file != NULL)
	{
		tr_sha256(cache->data, tr_chunk_length(chunks, i), digest);
		if (memcmp(digest, chunks->digests[i], TR_DIGEST_LENGTH) != 0)
			file_changed(chunks->file->source->name, chunks->source.name,
						 psprintf("Tensor \"%s\" has other values.", tr_cstring(chunks->part)));
	}
	cache->chunks = chunks;
	cache->number = i;
}

/* TeSource.read of what is in the catalog. */
static void
chunks_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const TrChunks *chunks = source->host;

	while (len > 0)
	{
		int			i = (int) (offset / chunks->chunk_bytes);
		uint32		within = (uint32) (offset % chunks->chunk_bytes);
		size_t		part;

		load_chunk(chunks, i);
		part = Min(len, (size_t) (tr_chunk_length(chunks, i) - within));
		memcpy(into, chunks->cache->data + within, part);
		into = (char *) into + part;
		offset += part;
		len -= part;
	}
}

/* ---- columns ---- */

static TeStr
arena_text(TeArena *arena, Datum value)
{
	return te_str_copy(arena, tr_utf8(DatumGetTextPP(value)));
}

/* The items of an array column, which has no NULLs. */
static Datum *
array_items(Datum array, Oid type, int *n)
{
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *items;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(array), type, length, by_value, align, &items, NULL, n);
	return items;
}

/* ---- definitions ---- */

/* What is needed while a definition is read. */
typedef struct DefinitionReader
{
	TeArena    *arena;
	const TrVersion *version;
	const char *label;			/* 'name@3', the name of the sources */
	TeModelDef *def;
	size_t		room;			/* of def->tensors.tensors */
	const TeModelDef *file;		/* storage 'file': as imported from it */
	TrChunkCache *cache;
} DefinitionReader;

static void
reader_init(DefinitionReader *reader, TeArena *arena, const TrVersion *version)
{
	memset(reader, 0, sizeof(*reader));
	reader->arena = arena;
	reader->version = version;
	reader->label = te_format(arena, "%s@%d", version->name, version->version);
	reader->cache = te_new(arena, TrChunkCache);
}

static TE_NORETURN void
damaged(const DefinitionReader *reader, TeStr part)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("\"%s\" of model \"%s\" is damaged in the catalog", tr_cstring(part), reader->label)));
	pg_unreachable();
}

/* The source of `bytes` bytes in chunks with the digests of a bytea[]. */
static TrChunks *
read_chunks(DefinitionReader *reader, TeStr part, Datum digests, int64 bytes, int32 chunk_bytes)
{
	TrChunks   *chunks = te_new(reader->arena, TrChunks);
	Datum	   *items = array_items(digests, BYTEAOID, &chunks->n);
	uint8		(*copy)[TR_DIGEST_LENGTH];

	if (bytes < 0 || chunk_bytes <= 0 || (Size) chunk_bytes > MaxAllocSize - VARHDRSZ ||
		(bytes + chunk_bytes - 1) / chunk_bytes != chunks->n)
		damaged(reader, part);
	copy = te_alloc(reader->arena, te_mul_size((size_t) chunks->n, TR_DIGEST_LENGTH));
	for (int i = 0; i < chunks->n; i++)
	{
		bytea	   *digest = DatumGetByteaPP(items[i]);

		if (VARSIZE_ANY_EXHDR(digest) != TR_DIGEST_LENGTH)
			damaged(reader, part);
		memcpy(copy[i], VARDATA_ANY(digest), TR_DIGEST_LENGTH);
	}
	chunks->part = part;
	chunks->digests = (const uint8 (*)[TR_DIGEST_LENGTH]) copy;
	chunks->chunk_bytes = (uint32) chunk_bytes;
	chunks->cache = reader->cache;
	chunks->source = (TeSource) {.name = reader->label,.size = (uint64) bytes,.read = chunks_read,.host = chunks};
	return chunks;
}

/* Describe the tensor of a row. */
static void
read_tensor(DefinitionReader *reader, const Datum values[], TeTensorInfo *tensor)
{
	TrChunks   *chunks;
	Datum	   *dims;

	tensor->name = arena_text(reader->arena, values[TENSOR_TENSOR]);
	tensor->dtype = te_dtype_by_name(tr_utf8(DatumGetTextPP(values[TENSOR_DTYPE])));
	dims = array_items(values[TENSOR_DIMS], INT8OID, &tensor->n_dims);
	if (tensor->dtype == TE_N_DTYPES || tensor->n_dims > TE_MAX_DIMS)
		damaged(reader, tensor->name);
	for (int i = 0; i < tensor->n_dims; i++)
		tensor->dims[i] = DatumGetInt64(dims[i]);
	tensor->bytes = te_tensor_bytes(tensor);
	if (tensor->bytes != (uint64) DatumGetInt64(values[TENSOR_BYTES]))
		damaged(reader, tensor->name);

	chunks = read_chunks(reader, tensor->name, values[TENSOR_CHUNKS], DatumGetInt64(values[TENSOR_BYTES]),
						 DatumGetInt32(values[TENSOR_CHUNK_BYTES]));
	if (reader->file != NULL)
	{
		chunks->file = te_tensor_find(&reader->file->tensors, tensor->name);
		if (chunks->file == NULL || chunks->file->dtype != tensor->dtype || chunks->file->bytes != tensor->bytes)
			damaged(reader, tensor->name);
	}
	tensor->source = &chunks->source;
	tensor->offset = 0;
}

static TeTensorInfo *
add_tensor(DefinitionReader *reader)
{
	TeTensorSet *set = &reader->def->tensors;

	if (set->n == reader->room)
	{
		size_t		room = Max(64, reader->room * 2);
		TeTensorInfo *grown = te_new_array(reader->arena, TeTensorInfo, room);

		if (set->n > 0)
			memcpy(grown, set->tensors, set->n * sizeof(TeTensorInfo));
		set->tensors = grown;
		reader->room = room;
	}
	return &set->tensors[set->n++];
}

static void
read_tensors(DefinitionReader *reader)
{
	TeTensorSet *set = &reader->def->tensors;
	TrScan	   *scan = tr_scan_begin("tensor", N_TENSOR, 2, CStringGetTextDatum(reader->version->key),
									 Int32GetDatum(reader->version->version));
	Datum		values[N_TENSOR + 1];
	bool		nulls[N_TENSOR + 1];
	uint32		longest = 0;

	while (tr_scan_next(scan, values, nulls))
		read_tensor(reader, values, add_tensor(reader));
	tr_scan_end(scan);

	for (size_t i = 0; i < set->n; i++)
	{
		const TrChunks *chunks = set->tensors[i].source->host;

		if (chunks->n > 0)
			longest = Max(longest, tr_chunk_length(chunks, 0));
	}
	reader->cache->data = te_alloc(reader->arena, longest);
	te_tensor_set_index(reader->arena, set);
}

static TeStr
read_tokenizer(DefinitionReader *reader, const Datum values[])
{
	TeStr		part = TE_STR("tokenizer.json");
	TrChunks   *chunks = read_chunks(reader, part, values[VERSION_TOKENIZER],
									 DatumGetInt32(values[VERSION_TOKENIZER_BYTES]), TR_CHUNK_BYTES);
	char	   *data = te_alloc(reader->arena, (size_t) chunks->source.size);

	for (int i = 0; i < chunks->n; i++)
	{
		if (!tr_chunk_read(chunks, i, data + (size_t) i * TR_CHUNK_BYTES))
			damaged(reader, part);
	}
	return (TeStr) {data, (size_t) chunks->source.size};
}

/* The columns that are texts and numbers. */
static void
read_texts(DefinitionReader *reader, const Datum values[])
{
	TeArena    *arena = reader->arena;
	TeModelDef *def = reader->def;
	Datum	   *labels;

	def->architecture = arena_text(arena, values[VERSION_ARCHITECTURE]);
	def->task = arena_text(arena, values[VERSION_TASK]);
	def->config = arena_text(arena, values[VERSION_CONFIG]);
	def->pipeline = arena_text(arena, values[VERSION_PIPELINE]);
	def->quantization = arena_text(arena, values[VERSION_QUANTIZATION]);
	labels = array_items(values[VERSION_LABELS], TEXTOID, &def->n_labels);
	def->labels = te_new_array(arena, TeStr, (size_t) def->n_labels);
	for (int i = 0; i < def->n_labels; i++)
		def->labels[i] = arena_text(arena, labels[i]);
	def->parameters = (uint64) DatumGetInt64(values[VERSION_PARAMETERS]);
	def->bytes = (uint64) DatumGetInt64(values[VERSION_BYTES]);
	def->dimensions = DatumGetInt32(values[VERSION_DIMENSIONS]);
	def->context_length = DatumGetInt32(values[VERSION_CONTEXT_LENGTH]);
}

/* Import the file of storage 'file' again, as it was imported first. */
static const TeModelDef *
read_file(DefinitionReader *reader, const Datum values[], const bool nulls[])
{
	TeModelDef *def = reader->def;
	TeImportOptions options = {.task = def->task,.n_labels = def->n_labels,.labels = def->labels};
	TrInput    *input;
	const TeModelDef *file;

	if (nulls[VERSION_PATH] || nulls[VERSION_FILE_SIZE])
		damaged(reader, TE_STR("path"));
	input = tr_input_path(reader->arena, TextDatumGetCString(values[VERSION_PATH]));
	if (!nulls[VERSION_CONVERSION])
		options.quantization = arena_text(reader->arena, values[VERSION_CONVERSION]);
	if (def->tokenizer.len > 0)
		options.tokenizer = te_json_parse(reader->arena, def->tokenizer, "tokenizer.json");
	file = tr_input_import(reader->arena, input, &options);
	if (input->size != (uint64) DatumGetInt64(values[VERSION_FILE_SIZE]))
		file_changed(input->name, reader->label, "Its size is another.");
	return file;
}

/* The row of a version, which the snapshot saw when the version was found. */
static TrScan *
begin_version(const DefinitionReader *reader, Datum values[], bool nulls[])
{
	const TrVersion *version = reader->version;
	TrScan	   *scan = tr_scan_begin("version", N_VERSION, 2, CStringGetTextDatum(version->key),
									 Int32GetDatum(version->version));

	if (!tr_scan_next(scan, values, nulls))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", reader->label)));
	return scan;
}

TeModelDef *
tr_catalog_definition(TeArena *arena, const TrVersion *version)
{
	DefinitionReader reader;
	Datum		values[N_VERSION + 1];
	bool		nulls[N_VERSION + 1];
	TrScan	   *scan;

	reader_init(&reader, arena, version);
	reader.def = te_new(arena, TeModelDef);
	scan = begin_version(&reader, values, nulls);
	read_texts(&reader, values);
	reader.def->tokenizer = read_tokenizer(&reader, values);
	if (strcmp(TextDatumGetCString(values[VERSION_STORAGE]), "file") == 0)
		reader.file = read_file(&reader, values, nulls);
	tr_scan_end(scan);
	read_tensors(&reader);
	te_def_check(arena, reader.def);
	return reader.def;
}

TeStr
tr_catalog_tokenizer(TeArena *arena, const TrVersion *version)
{
	DefinitionReader reader;
	Datum		values[N_VERSION + 1];
	bool		nulls[N_VERSION + 1];
	TrScan	   *scan;
	TeStr		tokenizer;

	reader_init(&reader, arena, version);
	scan = begin_version(&reader, values, nulls);
	tokenizer = read_tokenizer(&reader, values);
	tr_scan_end(scan);
	return tokenizer;
}
