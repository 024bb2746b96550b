/*-------------------------------------------------------------------------
 * json.h
 *	  JSON (RFC 8259) over (bytes, length), into an arena; and a writer.
 *
 * It is also the one key-value view of file metadata: a GGUF header is read
 * into the same nodes, so that a tokenizer or an architecture sees no
 * difference between a GGUF file and a folder with config.json.
 *
 * The parser is strict, bounds its depth (64) and refuses invalid UTF-8; \u
 * escapes are decoded (an unpaired surrogate is an error).  A repeated key: the last one counts,
 * as in Python.  Errors are TE_ERR_CORRUPT and name what is parsed and the offset.
 *-------------------------------------------------------------------------
 */
#ifndef TE_JSON_H
#define TE_JSON_H

#include "base/base.h"

typedef enum TeJsonKind
{
	TE_JSON_NULL,
	TE_JSON_BOOL,
	TE_JSON_INTEGER,			/* written without . or e, and fits int64 */
	TE_JSON_REAL,
	TE_JSON_STRING,
	TE_JSON_ARRAY,
	TE_JSON_OBJECT
} TeJsonKind;

typedef struct TeJson TeJson;
struct TeJson
{
	TeJsonKind	kind;
	uint32_t	n;				/* items of an array or object */
	union
	{
		bool		boolean;
		int64_t		integer;
		double		real;
		TeStr		string;
		TeJson	   *items;		/* contiguous, in the order of the file */
	};
	TeStr		key;			/* where it is a member of an object */
};

/* what: for messages, such as "tokenizer.json". */
extern const TeJson *te_json_parse(TeArena *arena, TeStr text, const char *what);

/* A JSON number by itself, correctly rounded whatever the locale. */
extern double te_json_parse_real(TeStr text);

/* Member of an object; NULL where absent, or where object is NULL or no object.  JSON null counts as absent. */
extern const TeJson *te_json_get(const TeJson *object, const char *key);
/* The same by a path such as "model.vocab". */
extern const TeJson *te_json_path(const TeJson *object, const char *path);

/*
 * Typed members: the fallback where absent; TE_ERR_CORRUPT naming the key where the type is
 * another or the number does not fit.  te_json_int() takes 5.0 for 5.
 */
extern int64_t te_json_int(const TeJson *object, const char *key, int64_t fallback);
extern int64_t te_json_int_range(const TeJson *object, const char *key, int64_t fallback, int64_t min, int64_t max);
extern double te_json_real(const TeJson *object, const char *key, double fallback);
extern bool te_json_bool(const TeJson *object, const char *key, bool fallback);
extern TeStr te_json_str(const TeJson *object, const char *key, const char *fallback);	/* fallback NULL: {NULL, 0} */

/* Building nodes, for what is converted into JSON (GGUF metadata, vocab.txt). */
extern TeJson *te_json_new_object(TeArena *arena);
extern TeJson *te_json_new_array(TeArena *arena, size_t n);	/* n null items, to fill */
/* A null member, to fill; replaces one of that key.  Valid until the next addition to the same object. */
extern TeJson *te_json_add(TeArena *arena, TeJson *object, const char *key);
extern void te_json_set_str(TeJson *node, TeStr value);
extern void te_json_set_int(TeJson *node, int64_t value);
extern void te_json_set_real(TeJson *node, double value);
extern void te_json_set_bool(TeJson *node, bool value);
extern void te_json_set_copy(TeArena *arena, TeJson *node, const TeJson *value);	/* deep; keeps node's key */

/* Compact text; indent > 0 for people.  Reals are written to round-trip. */
extern void te_json_write(TeBuffer *buffer, const TeJson *node, int indent);
extern TeStr te_json_text(TeArena *arena, const TeJson *node, int indent);	/* the same in the arena */
extern void te_json_write_str(TeBuffer *buffer, TeStr string);	/* quoted, escaped */

#endif							/* TE_JSON_H */
