/*-------------------------------------------------------------------------
 * common.c
 *	  What the file formats share: the order of the data, and copying it.
 *
 * A tensor may be far larger than memory should hold at once, so its data goes
 * through in chunks.
 *-------------------------------------------------------------------------
 */
#include "file/common.h"

#include <stdlib.h>

#define COPY_CHUNK ((uint64_t) 256 * 1024)

/* Empty tensors before the others at the same offset. */
static int
compare_offsets(const void *a, const void *b)
{
	const TeTensorInfo *x = *(const TeTensorInfo *const *) a;
	const TeTensorInfo *y = *(const TeTensorInfo *const *) b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

const TeTensorInfo **
te_file_by_offset(TeArena *arena, const TeTensorSet *set)
{
	const TeTensorInfo **order = te_new_array(arena, const TeTensorInfo *, set->n);

	for (size_t i = 0; i < set->n; i++)
		order[i] = &set->tensors[i];
	qsort(order, set->n, sizeof(order[0]), compare_offsets);
	return order;
}

void
te_file_copy_tensor(TeArena *scratch, const TeTensorInfo *tensor, TeSink *sink)
{
	TeArena    *arena = te_arena_create(scratch, "tensor copy");
	char	   *chunk = te_alloc(arena, (size_t) TE_MIN(tensor->bytes, COPY_CHUNK));

	for (uint64_t at = 0; at < tensor->bytes;)
	{
		size_t		len = (size_t) TE_MIN(tensor->bytes - at, COPY_CHUNK);

		te_check_interrupts();
		te_source_read(tensor->source, tensor->offset + at, chunk, len);
		te_sink_write(sink, chunk, len);
		at += len;
	}
	te_arena_destroy(arena);
}

void
te_file_pad(TeArena *scratch, TeSink *sink, uint64_t alignment)
{
	size_t		len = (size_t) (TE_ALIGN(sink->written, alignment) - sink->written);

	if (len > 0)
		te_sink_write(sink, te_alloc0(scratch, len), len);
}
