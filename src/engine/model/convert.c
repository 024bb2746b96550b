/*-------------------------------------------------------------------------
 * convert.c
 *	  Sources that make a tensor while it is read: another storage type, or
 *	  rows put before those of the file.
 *
 * A definition's tensors do not lie in memory, so that importing a model
 * larger than memory is possible.  A converting source reads some rows of the
 * file at a time into a buffer of its own and converts them into the caller's.
 * A row is the unit of conversion: a read that begins or ends inside one
 * converts it for the part alone, so that whole rows are cheaper.
 *
 * Sources and buffers live in the arena that they were made in.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

/* Of the file, read at a time: small against the callers' chunks of a megabyte. */
#define CONVERT_BYTES ((size_t) 256 << 10)

typedef struct Converter
{
	TeSource	source;
	TeArena    *arena;
	TeTensorInfo from;
	TeDtype		to;
	int64_t		n_in;
	uint64_t	from_row;		/* bytes */
	uint64_t	to_row;
	size_t		buffer_rows;
	void	   *buffer;			/* made at the first read */
	float	   *scratch;		/* n_in */
	char	   *one_row;		/* for a part of it */
} Converter;

/* Whole rows from the file, as many as fit the buffer at a time. */
static void
convert_rows(Converter *converter, uint64_t row, uint64_t n_rows, char *to)
{
	while (n_rows > 0)
	{
		uint64_t	n = TE_MIN(n_rows, (uint64_t) converter->buffer_rows);

		te_source_read(converter->from.source, converter->from.offset + row * converter->from_row,
					   converter->buffer, n * converter->from_row);
		te_convert_rows(converter->from.dtype, converter->buffer, converter->to, to, n, converter->n_in,
						converter->scratch);
		te_check_interrupts();
		row += n;
		n_rows -= n;
		to += n * converter->to_row;
	}
}

static void
convert_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	Converter  *converter = source->host;
	char	   *to = into;

	if (converter->buffer == NULL)
	{
		converter->buffer = te_alloc(converter->arena, te_mul_size(converter->buffer_rows, converter->from_row));
		converter->scratch = te_new_array(converter->arena, float, converter->n_in);
		converter->one_row = te_alloc(converter->arena, converter->to_row);
	}
	while (len > 0)
	{
		uint64_t	row = offset / converter->to_row;
		size_t		skip = offset % converter->to_row;
		size_t		n;

		if (skip == 0 && len >= converter->to_row)
		{
			n = len - len % converter->to_row;
			convert_rows(converter, row, n / converter->to_row, to);
		}
		else
		{
			n = TE_MIN(len, converter->to_row - skip);
			convert_rows(converter, row, 1, converter->one_row);
			memcpy(to, converter->one_row + skip, n);
		}
		offset += n;
		to += n;
		len -= n;
	}
}

TeTensorInfo
te_tensor_converted(TeArena *arena, const TeTensorInfo *tensor, TeDtype dtype)
{
	Converter  *converter = te_new(arena, Converter);
	TeTensorInfo result = *tensor;

	result.dtype = dtype;
	result.bytes = te_tensor_bytes(&result);
	result.source = &converter->source;
	result.offset = 0;

	converter->arena = arena;
	converter->from = *tensor;
	converter->to = dtype;
	converter->n_in = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 1;
	converter->from_row = te_row_bytes(tensor->dtype, converter->n_in);
	converter->to_row = te_row_bytes(dtype, converter->n_in);
	converter->buffer_rows = te_tensor_chunk_rows(tensor, CONVERT_BYTES);
	converter->source.name = tensor->source->name;
	converter->source.size = result.bytes;
	converter->source.read = convert_read;
	converter->source.host = converter;
	return result;
}

/* ---- rows before those of the file ---- */

typedef struct Headed
{
	TeSource	source;
	TeTensorInfo from;
	const char *head;			/* NULL: zeros */
	uint64_t	head_bytes;
} Headed;

static void
headed_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const Headed *headed = source->host;
	char	   *to = into;

	if (offset < headed->head_bytes)
	{
		size_t		n = TE_MIN(len, headed->head_bytes - offset);

		if (headed->head != NULL)
			memcpy(to, headed->head + offset, n);
		else
			memset(to, 0, n);
		to += n;
		offset += n;
		len -= n;
	}
	if (len > 0)
		te_source_read(headed->from.source, headed->from.offset + offset - headed->head_bytes, to, len);
}

TeTensorInfo
te_tensor_with_head(TeArena *arena, const TeTensorInfo *tensor, int64_t rows, const void *head)
{
	Headed	   *headed = te_new(arena, Headed);
	TeTensorInfo result = *tensor;

	te_assert(tensor->n_dims == 2);
	result.dims[0] += rows;
	result.bytes = te_tensor_bytes(&result);
	result.source = &headed->source;
	result.offset = 0;

	headed->from = *tensor;
	headed->head = head;
	headed->head_bytes = te_mul_size(rows, te_row_bytes(tensor->dtype, tensor->dims[1]));
	headed->source.name = tensor->source->name;
	headed->source.size = result.bytes;
	headed->source.read = headed_read;
	headed->source.host = headed;
	return result;
}
