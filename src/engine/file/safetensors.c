/*-------------------------------------------------------------------------
 * safetensors.c
 *	  Read and write safetensors files.
 *
 * A file is: the length of the header, 64 bits; the header, JSON, an object
 * with a member per tensor {"dtype", "shape", "data_offsets": [begin, end]}
 * and optionally "__metadata__", a map of strings; the data.  Offsets count
 * from the start of the data, and the tensors must cover it without a gap.
 *
 * Written files have the tensors in the order given, but those of larger
 * elements first, so that each begins at a multiple of its element; readers
 * that map the file rely on that.  The header is padded with spaces to eight
 * bytes.
 *
 * Reference: the format description of the safetensors project.
 *-------------------------------------------------------------------------
 */
#include "file/common.h"

#define LENGTH_BYTES 8
#define HEADER_ALIGNMENT 8
#define LARGEST_ELEMENT 8
#define MAX_HEADER ((uint64_t) 100 * 1000 * 1000)	/* as the reference implementation has it */
#define METADATA_KEY "__metadata__"

/* ---- reading ---- */

typedef struct Reader
{
	TeArena    *arena;
	const TeSource *source;
	uint64_t	data_start;
} Reader;

/* problem: a clause about the tensor. */
static TE_NORETURN void
fail(const Reader *reader, TeStr tensor, const char *problem)
{
	te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" %s", reader->source->name,
			 TE_STR_ARGS(tensor), problem);
}

/* Dimensions, outermost first, as they are needed. */
static void
read_shape(const Reader *reader, const TeJson *node, TeTensorInfo *tensor)
{
	const TeJson *shape = te_json_get(node, "shape");

	if (shape == NULL || shape->kind != TE_JSON_ARRAY)
		fail(reader, tensor->name, "has no shape");
	if (shape->n > TE_MAX_DIMS)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%.*s\" of \"%s\" has %u dimensions, but at most %d are supported",
				 TE_STR_ARGS(tensor->name), reader->source->name, shape->n, TE_MAX_DIMS);
	tensor->n_dims = (int) shape->n;
	for (uint32_t i = 0; i < shape->n; i++)
	{
		if (shape->items[i].kind != TE_JSON_INTEGER || shape->items[i].integer < 0)
			fail(reader, tensor->name, "has a shape that is not made of sizes");
		tensor->dims[i] = shape->items[i].integer;
	}
}

/* Where the data is: inside the file, and as long as type and shape say. */
static void
read_offsets(const Reader *reader, const TeJson *node, TeTensorInfo *tensor)
{
	const TeJson *offsets = te_json_get(node, "data_offsets");
	uint64_t	room = reader->source->size - reader->data_start;
	uint64_t	begin;
	uint64_t	end;

	if (offsets == NULL || offsets->kind != TE_JSON_ARRAY || offsets->n != 2 ||
		offsets->items[0].kind != TE_JSON_INTEGER || offsets->items[1].kind != TE_JSON_INTEGER ||
		offsets->items[0].integer < 0 || offsets->items[1].integer < offsets->items[0].integer)
		fail(reader, tensor->name, "has no valid data_offsets");
	begin = (uint64_t) offsets->items[0].integer;
	end = (uint64_t) offsets->items[1].integer;
	if (end > room)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is truncated or damaged: tensor \"%.*s\" ends at offset %llu, but the file ends at %llu",
				 reader->source->name, TE_STR_ARGS(tensor->name),
				 (unsigned long long) end + reader->data_start, (unsigned long long) reader->source->size);
	if (end - begin != tensor->bytes)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" has %llu bytes at offset %llu, but its type and shape need %llu",
				 reader->source->name, TE_STR_ARGS(tensor->name), (unsigned long long) (end - begin),
				 (unsigned long long) begin + reader->data_start, (unsigned long long) tensor->bytes);
	tensor->offset = reader->data_start + begin;
}

/* One member of the header. */
static void
read_tensor(const Reader *reader, const TeJson *node, TeTensorInfo *tensor)
{
	TeStr		dtype;

	tensor->name = node->key;
	tensor->source = reader->source;
	if (node->kind != TE_JSON_OBJECT)
		fail(reader, tensor->name, "is not described by an object");
	dtype = te_json_str(node, "dtype", NULL);
	if (dtype.data == NULL)
		fail(reader, tensor->name, "has no dtype");
	tensor->dtype = te_dtype_by_safetensors(dtype);
	if (tensor->dtype == TE_N_DTYPES)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%.*s\" of \"%s\" has the storage type %.*s, which is not supported",
				 TE_STR_ARGS(tensor->name), reader->source->name, TE_STR_ARGS(dtype));
	read_shape(reader, node, tensor);
	tensor->bytes = te_tensor_bytes(tensor);
	read_offsets(reader, node, tensor);
}

/* Every byte of the data belongs to one tensor. */
static void
check_coverage(const Reader *reader, const TeTensorSet *set)
{
	const TeTensorInfo **order = te_file_by_offset(reader->arena, set);
	uint64_t	at = reader->data_start;

	for (size_t i = 0; i < set->n; i++)
	{
		if (order[i]->offset != at)
			te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: tensor \"%.*s\" begins at offset %llu, but the one before it ends at %llu",
					 reader->source->name, TE_STR_ARGS(order[i]->name), (unsigned long long) order[i]->offset,
					 (unsigned long long) at);
		at += order[i]->bytes;
	}
	if (at != reader->source->size)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: the last tensor ends at offset %llu, but the file ends at %llu",
				 reader->source->name, (unsigned long long) at, (unsigned long long) reader->source->size);
}

/* The header as JSON; sets where the data begins. */
static const TeJson *
read_header(Reader *reader)
{
	const char *name = reader->source->name;
	const TeJson *header;
	TeCursor	cursor;
	uint64_t	len;

	te_cursor_init(&cursor, reader->arena, reader->source);
	len = te_cursor_u64(&cursor);
	if (len > MAX_HEADER)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is not a safetensors file: its header would have %llu bytes", name,
				 (unsigned long long) len);
	reader->data_start = LENGTH_BYTES + len;
	header = te_json_parse(reader->arena, te_cursor_str(&cursor, reader->arena, len),
						   te_format(reader->arena, "%s, header", name));
	if (header->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is not a safetensors file: its header is not an object", name);
	return header;
}

/* The header's nodes and strings stay in the arena: names point into it. */
void
te_safetensors_read(TeArena *arena, const TeSource *source, TeModelFile *file)
{
	Reader		reader = {.arena = arena,.source = source};
	const TeJson *header = read_header(&reader);
	const TeJson *meta = NULL;
	TeTensorSet *set = &file->tensors;

	memset(file, 0, sizeof(*file));
	set->tensors = te_new_array(arena, TeTensorInfo, header->n);
	for (uint32_t i = 0; i < header->n; i++)
	{
		if (i % 1024 == 0)
			te_check_interrupts();
		if (te_str_is(header->items[i].key, METADATA_KEY))
			meta = &header->items[i];
		else
			read_tensor(&reader, &header->items[i], &set->tensors[set->n++]);
	}
	if (meta != NULL && meta->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: \"%s\" is not an object", source->name, METADATA_KEY);
	file->meta = meta != NULL ? meta : te_json_new_object(arena);
	check_coverage(&reader, set);
	te_tensor_set_index(arena, set);
}

/* ---- writing ---- */

/* The tensors with elements of `bytes` bytes, in their order, behind `order`; returns its end. */
static const TeTensorInfo **
pick_by_element(const TeTensorSet *set, int bytes, const TeTensorInfo **order)
{
	for (size_t i = 0; i < set->n; i++)
	{
		const TeTensorInfo *tensor = &set->tensors[i];

		if (te_dtypes[tensor->dtype].safetensors == NULL)
			te_throw(TE_ERR_UNSUPPORTED, "safetensors has no storage type %s, which tensor \"%.*s\" has",
					 te_dtypes[tensor->dtype].name, TE_STR_ARGS(tensor->name));
		if (te_dtypes[tensor->dtype].block_bytes == bytes)
			*order++ = tensor;
	}
	return order;
}

/* "__metadata__" holds strings only: what is something else is written as JSON into one. */
static void
write_metadata(TeArena *arena, TeBuffer *out, const TeJson *meta)
{
	te_json_write_str(out, TE_STR(METADATA_KEY));
	te_buffer_add_str(out, ":{");
	for (uint32_t i = 0; i < meta->n; i++)
	{
		const TeJson *value = &meta->items[i];
		TeStr		string = value->string;
		TeBuffer	text;

		if (value->kind != TE_JSON_STRING)
		{
			te_buffer_init(&text, arena);
			te_json_write(&text, value, 0);
			string = (TeStr) {text.data, text.len};
		}
		if (i > 0)
			te_buffer_add_str(out, ",");
		te_json_write_str(out, value->key);
		te_buffer_add_str(out, ":");
		te_json_write_str(out, string);
	}
	te_buffer_add_str(out, "}");
}

/* "name":{"dtype":...,"shape":[...],"data_offsets":[begin,end]} */
static void
write_tensor(TeArena *arena, TeBuffer *out, const TeTensorInfo *tensor, uint64_t begin)
{
	te_json_write_str(out, tensor->name);
	te_buffer_add_str(out, te_format(arena, ":{\"dtype\":\"%s\",\"shape\":[", te_dtypes[tensor->dtype].safetensors));
	for (int i = 0; i < tensor->n_dims; i++)
		te_buffer_add_str(out, te_format(arena, "%s%lld", i > 0 ? "," : "", (long long) tensor->dims[i]));
	te_buffer_add_str(out, te_format(arena, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long) begin,
									 (unsigned long long) (begin + tensor->bytes)));
}

/* The header, padded, for tensors whose data follows in this order. */
static void
write_header(TeArena *arena, TeBuffer *out, const TeJson *meta, const TeTensorInfo **order, size_t n)
{
	bool		has_meta = meta != NULL && meta->n > 0;
	uint64_t	begin = 0;

	te_buffer_add_str(out, "{");
	if (has_meta)
		write_metadata(arena, out, meta);
	for (size_t i = 0; i < n; i++)
	{
		if (has_meta || i > 0)
			te_buffer_add_str(out, ",");
		write_tensor(arena, out, order[i], begin);
		begin = te_add_size(begin, order[i]->bytes);
	}
	te_buffer_add_str(out, "}");
	while (out->len % HEADER_ALIGNMENT != 0)
		te_buffer_add_str(out, " ");
}

/* Length, header, data. */
void
te_safetensors_write(TeArena *scratch, const TeModelFile *file, TeSink *sink)
{
	const TeTensorSet *set = &file->tensors;
	const TeTensorInfo **order = te_new_array(scratch, const TeTensorInfo *, set->n);
	const TeTensorInfo **end = order;
	uint8_t		length[LENGTH_BYTES];
	TeBuffer	header;

	for (int bytes = LARGEST_ELEMENT; bytes > 0; bytes--)
		end = pick_by_element(set, bytes, end);
	te_assert((size_t) (end - order) == set->n);

	te_buffer_init(&header, scratch);
	write_header(scratch, &header, file->meta, order, set->n);
	for (int i = 0; i < LENGTH_BYTES; i++)
		length[i] = (uint8_t) ((uint64_t) header.len >> (8 * i));
	te_sink_write(sink, length, sizeof(length));
	te_sink_write(sink, header.data, header.len);
	for (size_t i = 0; i < set->n; i++)
		te_file_copy_tensor(scratch, order[i], sink);
}
