/*-------------------------------------------------------------------------
 * gguf_read.c
 *	  Read the header of a GGUF file, version 2 or 3, little-endian.
 *
 * The metadata becomes one JSON object whose keys are the dotted keys of the
 * file as they are.  Unsigned 64-bit values beyond int64 become reals.  The
 * tensors' data is not read: each TeTensorInfo says where it is.
 *
 * What is checked: counts against the bytes that are left, before anything is
 * allocated for them (a node of 40 bytes for one of at least one byte is the
 * worst ratio); the depth of nested arrays; strings for UTF-8; the types of
 * tensors; that data is aligned, inside the file and does not overlap.
 * Every error names the source, and the key or tensor or the offset.
 *
 * To support another version: GGUF_VERSION in gguf.h and read_header().
 *-------------------------------------------------------------------------
 */
#include "file/common.h"
#include "file/gguf.h"

#define OLDEST_VERSION 2
#define MAX_ARRAY_DEPTH 8
#define MAX_ALIGNMENT (1 << 20)
#define INTERRUPT_EVERY 4096	/* items */

#define MIN_PAIR_BYTES (8 + 4 + 1)	/* key length, type, value */
#define MIN_TENSOR_BYTES (8 + 4 + 4 + 8)	/* name length, dimensions, type, offset */

typedef struct Reader
{
	TeArena    *arena;
	const TeSource *source;
	TeCursor	cursor;
	uint32_t	version;
	uint64_t	n_tensors;
	uint64_t	n_pairs;
	TeStr		key;			/* whose value is being read */
} Reader;

static const uint8_t value_bytes[GGUF_N_VALUES] = {
#define GGUF_BYTES(symbol, bytes) [symbol] = bytes,
	GGUF_VALUES(GGUF_BYTES)
#undef GGUF_BYTES
};

bool
te_gguf_probe(const TeSource *source)
{
	char		magic[GGUF_MAGIC_LEN];

	if (source->size < GGUF_MAGIC_LEN)
		return false;
	te_source_read(source, 0, magic, sizeof(magic));
	return memcmp(magic, GGUF_MAGIC, GGUF_MAGIC_LEN) == 0;
}

/* `n` things of at least `bytes` each must fit into what is left. */
static void
check_count(Reader *reader, uint64_t n, uint64_t bytes, const char *things)
{
	if (n > te_cursor_left(&reader->cursor) / bytes)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is truncated or damaged: it claims %llu %s at offset %llu, where %llu bytes are left",
				 reader->source->name, (unsigned long long) n, things,
				 (unsigned long long) reader->cursor.offset, (unsigned long long) te_cursor_left(&reader->cursor));
}

/* A string; what: for the message. */
static TeStr
read_string(Reader *reader, const char *what)
{
	uint64_t	offset = reader->cursor.offset;
	TeStr		string = te_cursor_str(&reader->cursor, reader->arena, te_cursor_u64(&reader->cursor));

	if (!te_utf8_valid(string))
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: a %s at offset %llu (near key \"%.*s\") is not valid UTF-8",
				 reader->source->name, what, (unsigned long long) offset, TE_STR_ARGS(reader->key));
	return string;
}

/* ---- metadata ---- */

static void read_value(Reader *reader, uint32_t type, int depth, TeJson *node);

/* Type of a value, or of the items of an array. */
static uint32_t
read_type(Reader *reader)
{
	uint64_t	offset = reader->cursor.offset;
	uint32_t	type = te_cursor_u32(&reader->cursor);

	if (type >= GGUF_N_VALUES)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: key \"%.*s\" has the unknown value type %u at offset %llu",
				 reader->source->name, TE_STR_ARGS(reader->key), type, (unsigned long long) offset);
	return type;
}

/* Type of the items, their number, the items.  The node keeps its key. */
static void
read_array(Reader *reader, int depth, TeJson *node)
{
	uint32_t	type = read_type(reader);
	uint64_t	n = te_cursor_u64(&reader->cursor);
	TeJson	   *array;

	if (depth == MAX_ARRAY_DEPTH)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: key \"%.*s\" has arrays nested too deeply at offset %llu",
				 reader->source->name, TE_STR_ARGS(reader->key), (unsigned long long) reader->cursor.offset);
	check_count(reader, n, value_bytes[type], "array items");
	array = te_json_new_array(reader->arena, (size_t) n);
	for (uint64_t i = 0; i < n; i++)
	{
		if (i % INTERRUPT_EVERY == 0)
			te_check_interrupts();
		read_value(reader, type, depth + 1, &array->items[i]);
	}
	array->key = node->key;
	*node = *array;
}

/* One value into `node`, which keeps its key. */
static void
read_value(Reader *reader, uint32_t type, int depth, TeJson *node)
{
	TeCursor   *cursor = &reader->cursor;
	uint64_t	u64;

	switch ((GgufValue) type)
	{
		case GGUF_U8:
			te_json_set_int(node, te_cursor_u8(cursor));
			break;
		case GGUF_I8:
			te_json_set_int(node, (int8_t) te_cursor_u8(cursor));
			break;
		case GGUF_U16:
			te_json_set_int(node, te_cursor_u16(cursor));
			break;
		case GGUF_I16:
			te_json_set_int(node, (int16_t) te_cursor_u16(cursor));
			break;
		case GGUF_U32:
			te_json_set_int(node, te_cursor_u32(cursor));
			break;
		case GGUF_I32:
			te_json_set_int(node, (int32_t) te_cursor_u32(cursor));
			break;
		case GGUF_F32:
			te_json_set_real(node, (double) te_cursor_f32(cursor));
			break;
		case GGUF_BOOL:
			te_json_set_bool(node, te_cursor_u8(cursor) != 0);
			break;
		case GGUF_STRING:
			te_json_set_str(node, read_string(reader, "string"));
			break;
		case GGUF_ARRAY:
			read_array(reader, depth, node);
			break;
		case GGUF_U64:
			u64 = te_cursor_u64(cursor);
			if (u64 <= INT64_MAX)
				te_json_set_int(node, (int64_t) u64);
			else
				te_json_set_real(node, (double) u64);
			break;
		case GGUF_I64:
			te_json_set_int(node, (int64_t) te_cursor_u64(cursor));
			break;
		case GGUF_F64:
			te_json_set_real(node, te_cursor_f64(cursor));
			break;
		case GGUF_N_VALUES:
			te_assert(false);
	}
}

/* All key-values, in the order of the file, as one object. */
static const TeJson *
read_metadata(Reader *reader)
{
	TeJson	   *meta = te_json_new_array(reader->arena, (size_t) reader->n_pairs);

	meta->kind = TE_JSON_OBJECT;
	for (uint32_t i = 0; i < meta->n; i++)
	{
		if (i % INTERRUPT_EVERY == 0)
			te_check_interrupts();
		reader->key = read_string(reader, "key");
		meta->items[i].key = reader->key;
		read_value(reader, read_type(reader), 0, &meta->items[i]);
	}
	return meta;
}

/* ---- tensors ---- */

/* Name, dimensions, type; offset still counts from the start of the data. */
static void
read_tensor(Reader *reader, TeTensorInfo *tensor)
{
	uint32_t	n_dims;
	uint32_t	type;
	uint64_t	at = reader->cursor.offset;

	tensor->source = reader->source;
	tensor->name = read_string(reader, "tensor name");
	n_dims = te_cursor_u32(&reader->cursor);
	if (n_dims > TE_MAX_DIMS)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" at offset %llu has %u dimensions, more than %d",
				 reader->source->name, TE_STR_ARGS(tensor->name), (unsigned long long) at, n_dims, TE_MAX_DIMS);
	tensor->n_dims = (int) n_dims;
	for (uint32_t i = n_dims; i-- > 0;)
	{
		uint64_t	dim = te_cursor_u64(&reader->cursor);

		if (dim > INT64_MAX)
			te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" at offset %llu has a dimension of %llu",
					 reader->source->name, TE_STR_ARGS(tensor->name), (unsigned long long) at, (unsigned long long) dim);
		tensor->dims[i] = (int64_t) dim;
	}
	type = te_cursor_u32(&reader->cursor);
	tensor->dtype = te_dtype_by_ggml(type);
	if (tensor->dtype == TE_N_DTYPES)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%.*s\" of \"%s\" has the storage type %s (%u), which is not supported",
				 TE_STR_ARGS(tensor->name), reader->source->name, te_ggml_type_name(type), type);
	tensor->offset = te_cursor_u64(&reader->cursor);
	tensor->bytes = te_tensor_bytes(tensor);
}

/* general.alignment: a power of two. */
static uint64_t
data_alignment(const Reader *reader, const TeJson *meta)
{
	const TeJson *node = te_json_get(meta, GGUF_ALIGNMENT_KEY);

	if (node == NULL)
		return GGUF_DEFAULT_ALIGNMENT;
	if (node->kind != TE_JSON_INTEGER || node->integer < 1 || node->integer > MAX_ALIGNMENT ||
		(node->integer & (node->integer - 1)) != 0)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: \"%s\" must be a power of two up to %d",
				 reader->source->name, GGUF_ALIGNMENT_KEY, MAX_ALIGNMENT);
	return (uint64_t) node->integer;
}

/* Turn an offset into the data into one into the file, which must hold the whole tensor. */
static void
place_tensor(const Reader *reader, TeTensorInfo *tensor, uint64_t data_start, uint64_t alignment)
{
	uint64_t	size = reader->source->size;
	uint64_t	room = size > data_start ? size - data_start : 0;

	if (tensor->offset % alignment != 0)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" begins at %llu in the data, not a multiple of %llu",
				 reader->source->name, TE_STR_ARGS(tensor->name), (unsigned long long) tensor->offset,
				 (unsigned long long) alignment);
	if (tensor->offset > room || tensor->bytes > room - tensor->offset)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is truncated or damaged: tensor \"%.*s\" has %llu bytes from %llu in the data at offset %llu, but the file ends at %llu",
				 reader->source->name, TE_STR_ARGS(tensor->name), (unsigned long long) tensor->bytes,
				 (unsigned long long) tensor->offset, (unsigned long long) data_start, (unsigned long long) size);
	tensor->offset += data_start;
}

/* No byte of the file may belong to two tensors. */
static void
check_overlaps(const Reader *reader, const TeTensorSet *set)
{
	const TeTensorInfo **order = te_file_by_offset(reader->arena, set);

	for (size_t i = 1; i < set->n; i++)
	{
		if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
			te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensors \"%.*s\" and \"%.*s\" overlap at offset %llu",
					 reader->source->name, TE_STR_ARGS(order[i - 1]->name), TE_STR_ARGS(order[i]->name),
					 (unsigned long long) order[i]->offset);
	}
}

/* Descriptions first, since only their end says where the data begins. */
static void
read_tensors(Reader *reader, const TeJson *meta, TeTensorSet *set)
{
	uint64_t	alignment = data_alignment(reader, meta);
	uint64_t	data_start;

	check_count(reader, reader->n_tensors, MIN_TENSOR_BYTES, "tensors");
	set->n = (size_t) reader->n_tensors;
	set->tensors = te_new_array(reader->arena, TeTensorInfo, set->n);
	for (size_t i = 0; i < set->n; i++)
	{
		if (i % INTERRUPT_EVERY == 0)
			te_check_interrupts();
		read_tensor(reader, &set->tensors[i]);
	}
	data_start = (uint64_t) TE_ALIGN(reader->cursor.offset, alignment);
	for (size_t i = 0; i < set->n; i++)
		place_tensor(reader, &set->tensors[i], data_start, alignment);
	check_overlaps(reader, set);
	te_tensor_set_index(reader->arena, set);
}

/* ---- the file ---- */

/* Up to the first key.  A byte-swapped version number gives a big-endian file away. */
static void
read_header(Reader *reader)
{
	TeCursor   *cursor = &reader->cursor;
	char		magic[GGUF_MAGIC_LEN];

	te_cursor_bytes(cursor, magic, sizeof(magic));
	if (memcmp(magic, GGUF_MAGIC, GGUF_MAGIC_LEN) != 0)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is not a GGUF file", reader->source->name);
	reader->version = te_cursor_u32(cursor);
	if (reader->version != 0 && (reader->version & 0xffff) == 0)
		te_throw(TE_ERR_UNSUPPORTED, "\"%s\" is a big-endian GGUF file, which is not supported", reader->source->name);
	if (reader->version < OLDEST_VERSION || reader->version > GGUF_VERSION)
		te_throw(TE_ERR_UNSUPPORTED, "\"%s\" is a GGUF file of version %u, but only %d to %d are supported",
				 reader->source->name, reader->version, OLDEST_VERSION, GGUF_VERSION);
	reader->n_tensors = te_cursor_u64(cursor);
	reader->n_pairs = te_cursor_u64(cursor);
	check_count(reader, reader->n_pairs, MIN_PAIR_BYTES, "keys");
	check_count(reader, reader->n_tensors, MIN_TENSOR_BYTES, "tensors");
}

void
te_gguf_read(TeArena *arena, const TeSource *source, TeModelFile *file)
{
	Reader		reader = {.arena = arena,.source = source,.key = TE_STR("")};

	memset(file, 0, sizeof(*file));
	te_cursor_init(&reader.cursor, arena, source);
	read_header(&reader);
	file->meta = read_metadata(&reader);
	read_tensors(&reader, file->meta, &file->tensors);
}
