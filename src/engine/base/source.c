/*-------------------------------------------------------------------------
 * source.c
 *	  How bytes come in and go out: sources, sinks, folders, and the cursor
 *	  that every parser of a binary format reads through.
 *
 * A host's read() and write() are called from here only, so the bounds are
 * checked in one place.  A cursor keeps a window of 64 kB of its source;
 * larger pieces are read directly.  Integers and floats are little-endian,
 * assembled from bytes, so the host's own byte order does not matter.
 *
 * Errors are TE_ERR_CORRUPT and name the source and the offset.
 *-------------------------------------------------------------------------
 */
#include "base/base.h"

#define CURSOR_WINDOW ((size_t) 64 * 1024)

/* ---- sources ---- */

/* The one place where a source is read: bounds first, then the host. */
void
te_source_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	if (offset > source->size || len > source->size - offset)
		te_throw(TE_ERR_CORRUPT, "\"%s\" is truncated: %zu bytes are needed at offset %llu, but it ends at %llu",
				 source->name, len, (unsigned long long) offset, (unsigned long long) source->size);
	if (len > 0)
		source->read(source, offset, into, len);
}

static void
memory_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	memcpy(into, (const char *) source->host + offset, len);
}

/* The bytes stay the caller's and must live as long as the source. */
TeSource
te_source_memory(const char *name, const void *data, size_t len)
{
	return (TeSource) {.name = name,.size = len,.read = memory_read,.host = (void *) data};
}

/* For text that is parsed as a whole; limit is what such a file may reasonably have. */
TeStr
te_source_whole(TeArena *arena, const TeSource *source, size_t limit)
{
	char	   *data;

	if (source->size > limit)
		te_throw(TE_ERR_CORRUPT, "\"%s\" has %llu bytes, more than the %zu that such a file may have",
				 source->name, (unsigned long long) source->size, limit);
	data = te_alloc(arena, (size_t) source->size);
	te_source_read(source, 0, data, (size_t) source->size);
	return (TeStr) {data, (size_t) source->size};
}

/* ---- sinks ---- */

/* The one place where a sink is written; counts what went through. */
void
te_sink_write(TeSink *sink, const void *data, size_t len)
{
	if (len == 0)
		return;
	sink->write(sink, data, len);
	sink->written += len;
}

static void
buffer_write(TeSink *sink, const void *data, size_t len)
{
	te_buffer_add(sink->host, data, len);
}

TeSink
te_sink_buffer(TeBuffer *buffer)
{
	return (TeSink) {.write = buffer_write,.host = buffer};
}

/* ---- folders ---- */

/* A path must match exactly: what a model names decides nothing about other files. */
const TeSource *
te_folder_find(const TeFolder *folder, const char *path)
{
	for (int i = 0; i < folder->n_files; i++)
	{
		if (strcmp(folder->files[i].name, path) == 0)
			return &folder->files[i];
	}
	return NULL;
}

/* ---- cursors ---- */

/* Reads nothing yet.  The window is no larger than the source. */
void
te_cursor_init(TeCursor *cursor, TeArena *arena, const TeSource *source)
{
	*cursor = (TeCursor) {.source = source,.end = source->size};
	cursor->window = te_alloc(arena, (size_t) TE_MIN(source->size, (uint64_t) CURSOR_WINDOW));
}

uint64_t
te_cursor_left(const TeCursor *cursor)
{
	return cursor->end - cursor->offset;
}

/* Throw unless `len` more bytes are there. */
static void
cursor_need(const TeCursor *cursor, uint64_t len)
{
	if (TE_UNLIKELY(len > te_cursor_left(cursor)))
		te_throw(TE_ERR_CORRUPT, "\"%s\" is truncated or damaged: %llu bytes are needed at offset %llu, but only %llu are left",
				 cursor->source->name, (unsigned long long) len, (unsigned long long) cursor->offset,
				 (unsigned long long) te_cursor_left(cursor));
}

/* Make the window begin at the cursor. */
static void
cursor_fill(TeCursor *cursor)
{
	size_t		len = (size_t) TE_MIN(te_cursor_left(cursor), (uint64_t) CURSOR_WINDOW);

	cursor->window_len = 0;
	te_source_read(cursor->source, cursor->offset, cursor->window, len);
	cursor->window_start = cursor->offset;
	cursor->window_len = len;
}

/* From the window where it has all of it; what is as large as a window goes around it. */
void
te_cursor_bytes(TeCursor *cursor, void *into, size_t len)
{
	uint64_t	at = cursor->offset - cursor->window_start;

	cursor_need(cursor, len);
	if (len >= CURSOR_WINDOW)
		te_source_read(cursor->source, cursor->offset, into, len);
	else if (len > 0)
	{
		if (cursor->offset < cursor->window_start || at > cursor->window_len || len > cursor->window_len - at)
		{
			cursor_fill(cursor);
			at = 0;
		}
		memcpy(into, cursor->window + at, len);
	}
	cursor->offset += len;
}

/* Costs nothing: the window is filled at the next read. */
void
te_cursor_skip(TeCursor *cursor, uint64_t len)
{
	cursor_need(cursor, len);
	cursor->offset += len;
}

/* `bytes` (at most 8) as a little-endian integer. */
static uint64_t
cursor_integer(TeCursor *cursor, size_t bytes)
{
	uint8_t		raw[8];
	uint64_t	value = 0;

	te_cursor_bytes(cursor, raw, bytes);
	for (size_t i = bytes; i-- > 0;)
		value = value << 8 | raw[i];
	return value;
}

uint8_t
te_cursor_u8(TeCursor *cursor)
{
	return (uint8_t) cursor_integer(cursor, 1);
}

uint16_t
te_cursor_u16(TeCursor *cursor)
{
	return (uint16_t) cursor_integer(cursor, 2);
}

uint32_t
te_cursor_u32(TeCursor *cursor)
{
	return (uint32_t) cursor_integer(cursor, 4);
}

uint64_t
te_cursor_u64(TeCursor *cursor)
{
	return cursor_integer(cursor, 8);
}

float
te_cursor_f32(TeCursor *cursor)
{
	uint32_t	bits = te_cursor_u32(cursor);
	float		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

double
te_cursor_f64(TeCursor *cursor)
{
	uint64_t	bits = te_cursor_u64(cursor);
	double		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Length is checked before anything is allocated for it; a NUL is added. */
TeStr
te_cursor_str(TeCursor *cursor, TeArena *arena, uint64_t len)
{
	char	   *copy;

	cursor_need(cursor, len);
	copy = te_alloc(arena, te_add_size((size_t) len, 1));
	te_cursor_bytes(cursor, copy, (size_t) len);
	copy[len] = '\0';
	return (TeStr) {copy, (size_t) len};
}
