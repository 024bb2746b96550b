/*-------------------------------------------------------------------------
 * buffer.c
 *	  Bytes that grow at the end.
 *
 * The bytes are in an arena, contiguous; growing doubles, and the old copy
 * stays in the arena until that ends, so a buffer costs at most three times
 * its length.  A pointer into a buffer is valid until the next addition.
 *-------------------------------------------------------------------------
 */
#include "base/base.h"

#define BUFFER_FIRST_CAPACITY 64

void
te_buffer_init(TeBuffer *buffer, TeArena *arena)
{
	*buffer = (TeBuffer) {.arena = arena};
}

/* Room for at least `needed` bytes in all. */
static void
buffer_grow(TeBuffer *buffer, size_t needed)
{
	size_t		capacity = TE_MAX(buffer->capacity, BUFFER_FIRST_CAPACITY);
	char	   *data;

	while (capacity < needed)
		capacity = te_mul_size(capacity, 2);
	data = te_alloc(buffer->arena, capacity);
	if (buffer->len > 0)
		memcpy(data, buffer->data, buffer->len);
	buffer->data = data;
	buffer->capacity = capacity;
}

void *
te_buffer_extend(TeBuffer *buffer, size_t len)
{
	size_t		needed = te_add_size(buffer->len, len);
	void	   *room;

	if (buffer->data == NULL || needed > buffer->capacity)
		buffer_grow(buffer, needed);
	room = buffer->data + buffer->len;
	buffer->len = needed;
	return room;
}

void
te_buffer_add(TeBuffer *buffer, const void *data, size_t len)
{
	if (len > 0)
		memcpy(te_buffer_extend(buffer, len), data, len);
}

void
te_buffer_add_str(TeBuffer *buffer, const char *cstring)
{
	te_buffer_add(buffer, cstring, strlen(cstring));
}
