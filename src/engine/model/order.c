/*-------------------------------------------------------------------------
 * order.c
 *	  Tensors that files store in another form than the engine computes with.
 *
 * A definition has the checkpoint's names, but each matrix as te_linear() wants it: [n_out, n_in], so that it can be quantized by
 * blocks of n_in, and with query, key and value of a joint projection one below the other, and norms as they are multiplied with.  A
 * tensor's spec says where a file differs.  Folders do in
 *
 *	  transposed	[n_in, n_out]: the "Conv1D" of GPT-2
 *	  rows			rows of query, key and value in turn for each key-value head: GPT-NeoX, Bloom, Falcon
 *	  less_one		norms less one: Gemma
 *	  parts			a vector in parts, each a tensor: the norms of StableLM's heads, which are the rows of a matrix in GGUF
 *
 * and GGUF files in
 *
 *	  gguf_rows		rows of a head by pairs that are turned, where Hugging Face turns halves: Llama and its kind
 *
 * Matrices of experts are one tensor each here; GGUF has them in stacks, and a folder may (TeStack).
 *
 * Importing a file and exporting one are the places where tensors pass from one form into the other, made while
 * they are read; nothing else knows of it, and computing costs nothing.
 *
 * Sources and buffers live in the arena that they were made in.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

/* Of a transposed matrix, made at a time: a column is collected from all rows of the file. */
#define STRIP_BYTES ((size_t) 256 << 10)

/* ---- rows in another order ---- */

typedef struct Permuted
{
	TeSource	source;
	TeTensorInfo from;
	const int32_t *rows;
	size_t		n_rows;
	size_t		row_bytes;
} Permuted;

/* Rows that follow one another in the file too are read together. */
static void
permuted_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const Permuted *permuted = source->host;
	char	   *to = into;

	while (len > 0)
	{
		size_t		row = (size_t) (offset / permuted->row_bytes);
		size_t		skip = (size_t) (offset % permuted->row_bytes);
		size_t		run = 1;
		size_t		n;

		while (row + run < permuted->n_rows && permuted->rows[row + run] == permuted->rows[row] + (int32_t) run)
			run++;
		n = TE_MIN(len, run * permuted->row_bytes - skip);
		te_source_read(permuted->from.source,
					   permuted->from.offset + (uint64_t) permuted->rows[row] * permuted->row_bytes + skip, to, n);
		offset += n;
		to += n;
		len -= n;
	}
}

/* Row i of the result is row rows[i] of the tensor; of a vector, element. */
static TeTensorInfo
with_rows(TeArena *arena, const TeTensorInfo *tensor, const int32_t *rows)
{
	Permuted   *permuted = te_new(arena, Permuted);
	TeTensorInfo result = *tensor;

	permuted->from = *tensor;
	permuted->rows = rows;
	permuted->n_rows = (size_t) tensor->dims[0];
	permuted->row_bytes = (size_t) (tensor->bytes / (uint64_t) tensor->dims[0]);
	permuted->source = (TeSource) {tensor->source->name, tensor->bytes, permuted_read, permuted};
	result.source = &permuted->source;
	result.offset = 0;
	return result;
}

/* ---- a matrix the other way round ---- */

typedef struct Transposed
{
	TeSource	source;
	TeArena    *arena;
	TeTensorInfo from;
	size_t		element_bytes;
	size_t		n_rows;			/* of the result: columns of the file */
	size_t		n_cols;
	size_t		strip_rows;		/* at most */
	size_t		first;			/* the rows [first, first + n) are in the strip */
	size_t		n;
	char	   *strip;			/* made at the first read */
	char	   *piece;			/* of a row of the file */
} Transposed;

/* The strip that begins with this row. */
static void
make_strip(Transposed *transposed, size_t first)
{
	size_t		size = transposed->element_bytes;

	transposed->first = first;
	transposed->n = TE_MIN(transposed->strip_rows, transposed->n_rows - first);
	for (size_t c = 0; c < transposed->n_cols; c++)
	{
		te_source_read(transposed->from.source, transposed->from.offset + (c * transposed->n_rows + first) * size,
					   transposed->piece, transposed->n * size);
		for (size_t r = 0; r < transposed->n; r++)
			memcpy(transposed->strip + (r * transposed->n_cols + c) * size, transposed->piece + r * size, size);
	}
	te_check_interrupts();
}

static void
transposed_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	Transposed *transposed = source->host;
	size_t		row_bytes = transposed->n_cols * transposed->element_bytes;
	char	   *to = into;

	if (transposed->strip == NULL)
	{
		transposed->strip = te_alloc(transposed->arena, te_mul_size(transposed->strip_rows, row_bytes));
		transposed->piece = te_alloc(transposed->arena, te_mul_size(transposed->strip_rows, transposed->element_bytes));
	}
	while (len > 0)
	{
		size_t		row = (size_t) (offset / row_bytes);
		size_t		at;
		size_t		n;

		if (row < transposed->first || row >= transposed->first + transposed->n)
			make_strip(transposed, row);
		at = (size_t) offset - transposed->first * row_bytes;
		n = TE_MIN(len, transposed->n * row_bytes - at);
		memcpy(to, transposed->strip + at, n);
		offset += n;
		to += n;
		len -= n;
	}
}

static TeTensorInfo
transpose(TeArena *arena, const TeTensorInfo *tensor)
{
	Transposed *transposed = te_new(arena, Transposed);
	TeTensorInfo result = *tensor;
	size_t		row_bytes;

	if (te_dtypes[tensor->dtype].block_elements != 1 || te_dtypes[tensor->dtype].row_header_bytes != 0)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%.*s\" has type %s, of which no matrix can be transposed", TE_STR_ARGS(tensor->name),
				 te_dtypes[tensor->dtype].name);
	result.dims[0] = tensor->dims[1];
	result.dims[1] = tensor->dims[0];
	transposed->arena = arena;
	transposed->from = *tensor;
	transposed->element_bytes = (size_t) te_dtypes[tensor->dtype].block_bytes;
	transposed->n_rows = (size_t) result.dims[0];
	transposed->n_cols = (size_t) result.dims[1];
	row_bytes = te_mul_size(transposed->n_cols, transposed->element_bytes);
	transposed->strip_rows = TE_MIN(TE_MAX(STRIP_BYTES / row_bytes, (size_t) 1), transposed->n_rows);
	transposed->source = (TeSource) {tensor->source->name, tensor->bytes, transposed_read, transposed};
	result.source = &transposed->source;
	result.offset = 0;
	return result;
}

/* ---- a number added ---- */

typedef struct Shifted
{
	TeSource	source;
	TeTensorInfo from;			/* of f32 */
	float		added;
} Shifted;

static void
shifted_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const Shifted *shifted = source->host;
	float		values[1024];
	char	   *to = into;

	while (len > 0)
	{
		uint64_t	first = offset / sizeof(float);
		size_t		skip = offset % sizeof(float);
		size_t		n = TE_MIN((skip + len + sizeof(float) - 1) / sizeof(float), TE_LENGTH(values));
		size_t		bytes = TE_MIN(len, n * sizeof(float) - skip);

		te_source_read(shifted->from.source, shifted->from.offset + first * sizeof(float), values, n * sizeof(float));
		for (size_t i = 0; i < n; i++)
			values[i] += shifted->added;
		memcpy(to, (const char *) values + skip, bytes);
		offset += bytes;
		to += bytes;
		len -= bytes;
	}
}

/* As f32. */
static TeTensorInfo
shift(TeArena *arena, const TeTensorInfo *tensor, float added)
{
	Shifted    *shifted = te_new(arena, Shifted);
	TeTensorInfo result = tensor->dtype == TE_F32 ? *tensor : te_tensor_converted(arena, tensor, TE_F32);

	shifted->from = result;
	shifted->added = added;
	shifted->source = (TeSource) {tensor->source->name, result.bytes, shifted_read, shifted};
	result.source = &shifted->source;
	result.offset = 0;
	return result;
}

/* ---- stacks ---- */

TeTensorInfo
te_order_part(const TeTensorSpec *spec, const TeStack *stack, const TeTensorInfo *tensor)
{
	TeTensorInfo part = *tensor;
	uint64_t	row_bytes;

	/* if it is no such stack, te_def_assemble() says what is wrong */
	if (tensor->n_dims != 3 || tensor->dims[0] != stack->n || tensor->dims[1] != stack->rows || tensor->dims[2] != spec->n_in)
		return part;
	row_bytes = te_row_bytes(tensor->dtype, spec->n_in);
	part.n_dims = 2;
	part.dims[0] = spec->n_out;
	part.dims[1] = spec->n_in;
	part.bytes = te_tensor_bytes(&part);
	part.offset += (uint64_t) stack->row * row_bytes;
	return part;
}

typedef struct Stacked
{
	TeSource	source;
	const TeTensorInfo *tensors;
	uint64_t	each;			/* bytes */
} Stacked;

static void
stacked_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const Stacked *stacked = source->host;
	char	   *to = into;

	while (len > 0)
	{
		const TeTensorInfo *tensor = &stacked->tensors[offset / stacked->each];
		uint64_t	skip = offset % stacked->each;
		size_t		n = (size_t) TE_MIN((uint64_t) len, stacked->each - skip);

		te_source_read(tensor->source, tensor->offset + skip, to, n);
		offset += n;
		to += n;
		len -= n;
	}
}

TeTensorInfo
te_order_stacked(TeArena *arena, const TeTensorInfo *tensors, size_t n)
{
	Stacked    *stacked = te_new(arena, Stacked);
	TeTensorInfo *all = te_new_array(arena, TeTensorInfo, n);
	TeTensorInfo result = tensors[0];

	for (size_t i = 0; i < n; i++)
		all[i] = tensors[i].dtype == tensors[0].dtype ? tensors[i] : te_tensor_converted(arena, &tensors[i], tensors[0].dtype);
	result.n_dims = 3;
	result.dims[0] = (int64_t) n;
	result.dims[1] = tensors[0].dims[0];
	result.dims[2] = tensors[0].dims[1];
	result.bytes = te_tensor_bytes(&result);
	stacked->tensors = all;
	stacked->each = all[0].bytes;
	stacked->source = (TeSource) {tensors[0].source->name, result.bytes, stacked_read, stacked};
	result.source = &stacked->source;
	result.offset = 0;
	return result;
}

/* ---- orders of rows ---- */

const int32_t *
te_order_turned(TeArena *arena, int n_heads, int head_size)
{
	int32_t    *rows = te_new_array(arena, int32_t, te_mul_size((size_t) n_heads, (size_t) head_size));

	/* row d of a head, in one of its halves, is the first or second of a pair */
	for (int i = 0; i < n_heads * head_size; i++)
	{
		int			d = i % head_size;
		int			half = head_size / 2;

		rows[i] = i - d + (d < 2 * half ? d % half * 2 + d / half : d);
	}
	return rows;
}

const int32_t *
te_order_groups(TeArena *arena, int n_heads, int n_kv_heads, int head_size)
{
	int			group = n_heads / n_kv_heads;
	int32_t    *rows = te_new_array(arena, int32_t, te_mul_size((size_t) (n_heads + 2 * n_kv_heads), (size_t) head_size));
	int32_t    *row = rows;

	/* all queries, then all keys, then all values; a group has its queries, a key and a value */
	for (int i = 0; i < n_heads + 2 * n_kv_heads; i++)
	{
		int			kv_head = i < n_heads ? i / group : (i - n_heads) % n_kv_heads;
		int			member = i < n_heads ? i % group : group + (i - n_heads) / n_kv_heads;

		for (int d = 0; d < head_size; d++)
			*row++ = (kv_head * (group + 2) + member) * head_size + d;
	}
	return rows;
}

/* The way back: of each of n rows, where it is. */
static const int32_t *
inverted(TeArena *arena, const int32_t *rows, int64_t n)
{
	int32_t    *result = te_new_array(arena, int32_t, n);

	for (int32_t i = 0; i < n; i++)
		result[rows[i]] = i;
	return result;
}

/* ---- vectors in parts ---- */

const char *
te_order_part_name(TeArena *arena, const TeTensorSpec *spec, int64_t i)
{
	return te_format(arena, "%s%lld.weight", spec->parts, (long long) i);
}

TeTensorInfo
te_order_join(TeArena *arena, const TeTensorSpec *spec, TeTensorInfo *parts)
{
	int64_t		n = spec->n_in / spec->part_size;
	TeTensorInfo result;

	for (int64_t i = 0; i < n; i++)
	{
		if (parts[i].n_dims != 1 || parts[i].dims[0] != spec->part_size)
			te_throw(TE_ERR_CORRUPT, "tensor \"%.*s\" must have %lld elements", TE_STR_ARGS(parts[i].name), (long long) spec->part_size);
		parts[i].n_dims = 2;
		parts[i].dims[0] = 1;
		parts[i].dims[1] = spec->part_size;
	}
	result = te_order_stacked(arena, parts, (size_t) n);
	result.n_dims = 1;
	result.dims[0] = spec->n_in;
	return result;
}

TeTensorInfo
te_order_split(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor, int64_t i)
{
	TeTensorInfo result = *tensor;

	result.name = te_str(te_order_part_name(arena, spec, i));
	result.dims[0] = spec->part_size;
	result.bytes = te_tensor_bytes(&result);
	result.offset += (uint64_t) i * result.bytes;
	return result;
}

/* ---- from files, and into them ---- */

/* Is it the tensor of the spec, but for the order?  If not, te_def_assemble() says what is wrong. */
static bool
fits(const TeTensorSpec *spec, const TeTensorInfo *tensor, int64_t n_out, int64_t n_in)
{
	if (spec->role == TE_ROLE_VECTOR)
		return tensor->n_dims == 1 && tensor->dims[0] == spec->n_in;
	return tensor->n_dims == 2 && tensor->dims[0] == n_out && tensor->dims[1] == n_in;
}

TeTensorInfo
te_order_from_folder(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor)
{
	if (spec->transposed && fits(spec, tensor, spec->n_in, spec->n_out))
		return transpose(arena, tensor);
	if (spec->rows != NULL && fits(spec, tensor, spec->n_out, spec->n_in))
		return with_rows(arena, tensor, spec->rows);
	if (spec->less_one)
		return shift(arena, tensor, 1);
	return *tensor;
}

TeTensorInfo
te_order_to_folder(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor)
{
	if (spec->transposed)
		return transpose(arena, tensor);
	if (spec->rows != NULL)
		return with_rows(arena, tensor, inverted(arena, spec->rows, tensor->dims[0]));
	if (spec->less_one)
		return shift(arena, tensor, -1);
	return *tensor;
}

TeTensorInfo
te_order_from_gguf(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor)
{
	TeTensorInfo result = *tensor;

	if (spec->gguf_rows != NULL && fits(spec, tensor, spec->n_out, spec->n_in))
		return with_rows(arena, tensor, spec->gguf_rows);
	if (spec->part_size > 0 && tensor->n_dims == 2 && tensor->dims[0] == spec->n_in / spec->part_size && tensor->dims[1] == spec->part_size)
	{
		result.n_dims = 1;
		result.dims[0] = spec->n_in;
	}
	return result;
}

TeTensorInfo
te_order_to_gguf(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor)
{
	TeTensorInfo result = *tensor;

	if (spec->gguf_rows != NULL)
		return with_rows(arena, tensor, inverted(arena, spec->gguf_rows, tensor->dims[0]));
	if (spec->part_size > 0)
	{
		result.n_dims = 2;
		result.dims[0] = spec->n_in / spec->part_size;
		result.dims[1] = spec->part_size;
	}
	return result;
}
