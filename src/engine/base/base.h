/*-------------------------------------------------------------------------
 * base.h
 *	  What every layer of the engine stands on: arenas, checked sizes, byte
 *	  strings, growable buffers, random access sources, bounds-checked cursors.
 *
 * Lifetimes.  There are four, each an arena: image (shared memory, immutable;
 * not an arena but a mapping), model (a process's view of an image), session
 * (one query's workspace), step (reset for each forward pass).
 *
 * Sizes.  Whatever comes from a file or a user is multiplied and added with
 * te_mul_size() and te_add_size(), which throw where the result overflows.
 *-------------------------------------------------------------------------
 */
#ifndef TE_BASE_H
#define TE_BASE_H

#include "port.h"

#include <string.h>

/* Files are read, and images written, as they lie in memory. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "this engine runs on little-endian machines only"
#endif

#define te_assert(cond) \
	do { \
		if (TE_UNLIKELY(!(cond))) \
			te_throw(TE_ERR_INTERNAL, "assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__); \
	} while (0)

#define TE_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define TE_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TE_MAX(a, b) ((a) > (b) ? (a) : (b))
#define TE_ALIGN(size, to) (((size_t) (size) + (size_t) (to) - 1) & ~((size_t) (to) - 1))
#define TE_CACHE_LINE 64

static inline size_t
te_mul_size(size_t a, size_t b)
{
	size_t		result;

	if (TE_UNLIKELY(__builtin_mul_overflow(a, b, &result)))
		te_throw(TE_ERR_CORRUPT, "size overflow: %zu * %zu", a, b);
	return result;
}

static inline size_t
te_add_size(size_t a, size_t b)
{
	size_t		result;

	if (TE_UNLIKELY(__builtin_add_overflow(a, b, &result)))
		te_throw(TE_ERR_CORRUPT, "size overflow: %zu + %zu", a, b);
	return result;
}

/* ---- arenas (arena.c) ---- */

/*
 * A root arena takes its blocks from the host with this owner.  limit: most
 * bytes that it and its children may hold together, 0 for no bound; passing it
 * throws TE_ERR_LIMIT and the message says `name` and `limit_hint` (how to raise it; may be NULL).
 */
extern TeArena *te_arena_create_root(void *owner, const char *name, size_t limit, const char *limit_hint);
/* Another hint for the root of this arena, which must live as long as that. */
extern void te_arena_set_limit_hint(TeArena *arena, const char *hint);
extern TeArena *te_arena_create(TeArena *parent, const char *name);
extern void te_arena_destroy(TeArena *arena);	/* with its children */
extern void te_arena_reset(TeArena *arena); /* frees children too; keeps one block */
extern void te_arena_clear(TeArena *arena); /* the same, and keeps nothing */
/* Has the arena room for one allocation of so many bytes within the root's limit? */
extern bool te_arena_fits(TeArena *arena, size_t bytes);
extern size_t te_arena_bytes(const TeArena *arena); /* held from the host, children included */

/* 16-byte aligned; 64-byte aligned from 256 bytes on.  Not zeroed. Size 0 gives a valid pointer. */
extern void *te_alloc(TeArena *arena, size_t bytes);
extern void *te_alloc0(TeArena *arena, size_t bytes);
#define te_new(arena, type) ((type *) te_alloc0((arena), sizeof(type)))
#define te_new_array(arena, type, n) ((type *) te_alloc0((arena), te_mul_size((n), sizeof(type))))

/* ---- byte strings (str.c) ---- */

/* Bytes that somebody else owns.  Text is UTF-8; not NUL-terminated. */
typedef struct TeStr
{
	const char *data;
	size_t		len;
} TeStr;

#define TE_STR(literal) ((TeStr) {(literal), sizeof(literal) - 1})

static inline TeStr
te_str(const char *cstring)
{
	return (TeStr) {cstring, strlen(cstring)};
}

static inline bool
te_str_eq(TeStr a, TeStr b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool
te_str_is(TeStr a, const char *cstring)
{
	return te_str_eq(a, te_str(cstring));
}

static inline bool
te_str_starts(TeStr a, const char *prefix)
{
	size_t		n = strlen(prefix);

	return a.len >= n && memcmp(a.data, prefix, n) == 0;
}

extern bool te_str_ends(TeStr a, const char *suffix);
extern bool te_str_is_ignoring_case(TeStr a, const char *cstring);	/* of ASCII only, whatever the locale */
extern TeStr te_str_copy(TeArena *arena, TeStr s);
extern char *te_cstring(TeArena *arena, TeStr s);	/* NUL-terminated copy */

/* For printf: te_throw(..., "\"%.*s\"", TE_STR_ARGS(s)); cut to 200 bytes, since names come from files. */
#define TE_STR_ARGS(s) (int) TE_MIN((s).len, (size_t) 200), (s).data

/* FNV-1a, for hash tables of the image and for names: the same on every machine. */
extern uint64_t te_hash(const void *data, size_t len);

/* Length of the valid UTF-8 sequence that begins at `at`; 0 where there is none. */
extern size_t te_utf8_sequence(const char *at, const char *end);
extern bool te_utf8_valid(TeStr s);

/* ---- growable bytes (buffer.c) ---- */

typedef struct TeBuffer
{
	TeArena    *arena;
	char	   *data;
	size_t		len;
	size_t		capacity;
} TeBuffer;

extern void te_buffer_init(TeBuffer *buffer, TeArena *arena);
extern void te_buffer_add(TeBuffer *buffer, const void *data, size_t len);
extern void te_buffer_add_str(TeBuffer *buffer, const char *cstring);
extern void *te_buffer_extend(TeBuffer *buffer, size_t len);	/* uninitialised room at the end */

/* ---- sources and sinks: how bytes come from and go to a host ---- */

/*
 * Random access bytes: a file, a large object, a chunked table column, a tar
 * member, memory.  read() fills exactly len bytes or throws; callers have
 * checked offset + len <= size.  name is for messages.
 */
typedef struct TeSource TeSource;
struct TeSource
{
	const char *name;
	uint64_t	size;
	void		(*read) (const TeSource *source, uint64_t offset, void *into, size_t len);
	void	   *host;			/* the host's own */
};

/* Bounds-checked: throws TE_ERR_CORRUPT naming the source and the offset. */
extern void te_source_read(const TeSource *source, uint64_t offset, void *into, size_t len);
extern TeSource te_source_memory(const char *name, const void *data, size_t len);
extern TeStr te_source_whole(TeArena *arena, const TeSource *source, size_t limit);	/* throws if larger */

/* Sequential bytes out.  write() takes all or throws. */
typedef struct TeSink TeSink;
struct TeSink
{
	void		(*write) (TeSink *sink, const void *data, size_t len);
	uint64_t	written;		/* kept by te_sink_write() */
	void	   *host;
};

extern void te_sink_write(TeSink *sink, const void *data, size_t len);
extern TeSink te_sink_buffer(TeBuffer *buffer);

/*
 * A folder: sources by relative path ("config.json", "1_Pooling/config.json").
 * A host makes one of a directory or a tar archive.
 */
typedef struct TeFolder
{
	const char *name;			/* for messages */
	int			n_files;
	const TeSource *files;		/* files[i].name is the relative path */
} TeFolder;

extern const TeSource *te_folder_find(const TeFolder *folder, const char *path);	/* or NULL */

/*
 * A folder that is written: open() gives the sink for a relative path, close()
 * ends it.  One at a time.
 */
typedef struct TeFolderSink TeFolderSink;
struct TeFolderSink
{
	TeSink	   *(*open) (TeFolderSink *folder, const char *path);
	void		(*close) (TeFolderSink *folder, TeSink *sink);
	void	   *host;
};

/* ---- the bounds-checked cursor that every parser reads through (source.c) ---- */

/*
 * Reads forward over a source through a window; every read is checked against
 * the end and throws TE_ERR_CORRUPT with the source's name and the offset.
 * Integers are little-endian.
 */
typedef struct TeCursor
{
	const TeSource *source;
	uint64_t	offset;			/* of the next byte */
	uint64_t	end;			/* reads beyond it throw */
	uint8_t    *window;
	uint64_t	window_start;
	size_t		window_len;
} TeCursor;

extern void te_cursor_init(TeCursor *cursor, TeArena *arena, const TeSource *source);
extern uint64_t te_cursor_left(const TeCursor *cursor);
extern void te_cursor_bytes(TeCursor *cursor, void *into, size_t len);
extern void te_cursor_skip(TeCursor *cursor, uint64_t len);
extern uint8_t te_cursor_u8(TeCursor *cursor);
extern uint16_t te_cursor_u16(TeCursor *cursor);
extern uint32_t te_cursor_u32(TeCursor *cursor);
extern uint64_t te_cursor_u64(TeCursor *cursor);
extern float te_cursor_f32(TeCursor *cursor);
extern double te_cursor_f64(TeCursor *cursor);
extern TeStr te_cursor_str(TeCursor *cursor, TeArena *arena, uint64_t len);	/* copies; checks len first */

#endif							/* TE_BASE_H */
