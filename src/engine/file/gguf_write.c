/*-------------------------------------------------------------------------
 * gguf_write.c
 *	  Write a GGUF file, version 3.
 *
 * Metadata has no types of its own here, so they follow from the values, as
 * readers of GGUF files expect them: an integer is u32, or i64 where it does
 * not fit, or u64; a real is f32, or f64 where it is too large; the items of an array
 * are i32, i64, f32, f64, bool, string or arrays, all of one type; of an empty
 * array, strings.  Where readers insist on something else for a key, it is a
 * row of item_types[].  A null is left out, as if it were absent.
 *
 * The header is put together in memory; the tensors' data is copied in chunks,
 * each tensor aligned as general.alignment says.
 *-------------------------------------------------------------------------
 */
#include "file/common.h"
#include "file/gguf.h"

#include <float.h>
#include <math.h>

/* Keys of arrays whose items have another type than they look like. */
static const struct
{
	const char *key;
	GgufValue	type;
}			item_types[] = {
	{"tokenizer.ggml.precompiled_charsmap", GGUF_U8},
};

/* ---- little-endian numbers and strings ---- */

/* The low `bytes` bytes of a number. */
static void
add_integer(TeBuffer *out, uint64_t value, size_t bytes)
{
	uint8_t    *room = te_buffer_extend(out, bytes);

	for (size_t i = 0; i < bytes; i++)
		room[i] = (uint8_t) (value >> (8 * i));
}

/* As float or double; a float that overflows cannot come here (see scalar_type). */
static void
add_real(TeBuffer *out, double value, GgufValue type)
{
	float		single = (float) value;
	uint32_t	bits32;
	uint64_t	bits64;

	memcpy(&bits32, &single, sizeof(bits32));
	memcpy(&bits64, &value, sizeof(bits64));
	if (type == GGUF_F32)
		add_integer(out, bits32, sizeof(bits32));
	else
		add_integer(out, bits64, sizeof(bits64));
}

static void
add_string(TeBuffer *out, TeStr string)
{
	add_integer(out, string.len, 8);
	te_buffer_add(out, string.data, string.len);
}

/* ---- types of values ---- */

/* An integer beyond int64, which JSON nodes hold as a real. */
static bool
is_u64(double value)
{
	return value >= 0x1p63 && value < 0x1p64;
}

/* items: the value is an item of an array. */
static GgufValue
scalar_type(const TeJson *node, bool items)
{
	switch (node->kind)
	{
		case TE_JSON_BOOL:
			return GGUF_BOOL;
		case TE_JSON_INTEGER:
			if (items)
				return node->integer >= INT32_MIN && node->integer <= INT32_MAX ? GGUF_I32 : GGUF_I64;
			return node->integer >= 0 && node->integer <= UINT32_MAX ? GGUF_U32 : GGUF_I64;
		case TE_JSON_REAL:
			if (!items && is_u64(node->real))
				return GGUF_U64;
			return isfinite(node->real) && fabs(node->real) > (double) FLT_MAX ? GGUF_F64 : GGUF_F32;
		case TE_JSON_STRING:
			return GGUF_STRING;
		case TE_JSON_ARRAY:
			return GGUF_ARRAY;
		case TE_JSON_NULL:
		case TE_JSON_OBJECT:
			break;
	}
	return GGUF_N_VALUES;
}

/* The type that can hold both; GGUF_N_VALUES where there is none. */
static GgufValue
common_type(GgufValue a, GgufValue b)
{
	static const GgufValue ranks[] = {GGUF_I32, GGUF_I64, GGUF_F32, GGUF_F64};	/* each holds those before */
	int			rank_a = -1;
	int			rank_b = -1;

	if (a == b)
		return a;
	for (int i = 0; i < (int) TE_LENGTH(ranks); i++)
	{
		if (ranks[i] == a)
			rank_a = i;
		if (ranks[i] == b)
			rank_b = i;
	}
	return rank_a >= 0 && rank_b >= 0 ? ranks[TE_MAX(rank_a, rank_b)] : GGUF_N_VALUES;
}

/* One type that holds all items; throws where there is none. */
static GgufValue
items_type(const TeJson *array, TeStr key)
{
	GgufValue	type = array->n > 0 ? scalar_type(&array->items[0], true) : GGUF_STRING;

	for (size_t i = 0; i < TE_LENGTH(item_types); i++)
	{
		if (te_str_is(key, item_types[i].key))
			return item_types[i].type;
	}
	for (uint32_t i = 1; i < array->n; i++)
		type = common_type(type, scalar_type(&array->items[i], true));
	if (type == GGUF_N_VALUES)
		te_throw(TE_ERR_INVALID, "GGUF cannot hold the array \"%.*s\": its items are of several types, null or objects",
				 TE_STR_ARGS(key));
	return type;
}

/* ---- values ---- */

/* A value without its type, which is before it or, of an item, in the array's head. */
static void
add_value(TeBuffer *out, const TeJson *node, GgufValue type, TeStr key)
{
	double		real = node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
	GgufValue	items;

	switch (type)
	{
		case GGUF_BOOL:
			add_integer(out, node->boolean, 1);
			break;
		case GGUF_STRING:
			add_string(out, node->string);
			break;
		case GGUF_U8:
			add_integer(out, (uint64_t) node->integer, 1);
			break;
		case GGUF_U32:
		case GGUF_I32:
			add_integer(out, (uint64_t) node->integer, 4);
			break;
		case GGUF_I64:
			add_integer(out, (uint64_t) node->integer, 8);
			break;
		case GGUF_U64:
			add_integer(out, (uint64_t) node->real, 8);
			break;
		case GGUF_F32:
		case GGUF_F64:
			add_real(out, real, type);
			break;
		case GGUF_ARRAY:
			items = items_type(node, key);
			add_integer(out, items, 4);
			add_integer(out, node->n, 8);
			for (uint32_t i = 0; i < node->n; i++)
				add_value(out, &node->items[i], items, key);
			break;
		default:
			te_throw(TE_ERR_INVALID, "GGUF cannot hold the value of \"%.*s\", an object", TE_STR_ARGS(key));
	}
}

/* Key-values, without nulls; returns how many. */
static uint64_t
add_metadata(TeBuffer *out, const TeJson *meta)
{
	uint64_t	n = 0;

	for (uint32_t i = 0; meta != NULL && i < meta->n; i++)
	{
		const TeJson *node = &meta->items[i];
		GgufValue	type = scalar_type(node, false);

		if (node->kind == TE_JSON_NULL)
			continue;
		te_check_interrupts();
		add_string(out, node->key);
		add_integer(out, type, 4);
		add_value(out, node, type, node->key);
		n++;
	}
	return n;
}

/* ---- tensors ---- */

/* A description.  A scalar is written as a vector of one, which GGUF knows. */
static void
add_tensor(TeBuffer *out, const TeTensorInfo *tensor, uint64_t offset)
{
	int			number = te_dtypes[tensor->dtype].ggml_type;

	if (number < 0)
		te_throw(TE_ERR_UNSUPPORTED, "GGUF has no storage type %s, which tensor \"%.*s\" has",
				 te_dtypes[tensor->dtype].name, TE_STR_ARGS(tensor->name));
	add_string(out, tensor->name);
	add_integer(out, (uint64_t) TE_MAX(tensor->n_dims, 1), 4);
	if (tensor->n_dims == 0)
		add_integer(out, 1, 8);
	for (int i = tensor->n_dims; i-- > 0;)
		add_integer(out, (uint64_t) tensor->dims[i], 8);
	add_integer(out, (uint64_t) number, 4);
	add_integer(out, offset, 8);
}

/* Offsets follow from sizes and alignment, so the header is complete before any data is read. */
void
te_gguf_write(TeArena *scratch, const TeModelFile *file, TeSink *sink)
{
	uint64_t	alignment = (uint64_t) te_json_int_range(file->meta, GGUF_ALIGNMENT_KEY, GGUF_DEFAULT_ALIGNMENT, 1, 1 << 20);
	uint64_t	offset = 0;
	uint64_t	n_pairs;
	TeBuffer	pairs;
	TeBuffer	out;

	te_buffer_init(&pairs, scratch);
	n_pairs = add_metadata(&pairs, file->meta);

	te_buffer_init(&out, scratch);
	te_buffer_add(&out, GGUF_MAGIC, GGUF_MAGIC_LEN);
	add_integer(&out, GGUF_VERSION, 4);
	add_integer(&out, file->tensors.n, 8);
	add_integer(&out, n_pairs, 8);
	te_sink_write(sink, out.data, out.len);
	te_sink_write(sink, pairs.data, pairs.len);

	out.len = 0;
	for (size_t i = 0; i < file->tensors.n; i++)
	{
		const TeTensorInfo *tensor = &file->tensors.tensors[i];

		add_tensor(&out, tensor, offset);
		offset = TE_ALIGN(te_add_size(offset, tensor->bytes), alignment);
	}
	te_sink_write(sink, out.data, out.len);
	te_file_pad(scratch, sink, alignment);
	for (size_t i = 0; i < file->tensors.n; i++)
	{
		te_file_copy_tensor(scratch, &file->tensors.tensors[i], sink);
		te_file_pad(scratch, sink, alignment);
	}
}
