/*-------------------------------------------------------------------------
 * fuzz_json.c
 *	  JSON: what is accepted must be written and read back to the same text.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "base/json.h"

static TeBuffer
written(TeArena *arena, const TeJson *json, int indent)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	te_json_write(&buffer, json, indent);
	return buffer;
}

static void
parse(TeArena *arena, TeStr input)
{
	const TeJson *json = te_json_parse(arena, input, "input");
	TeBuffer	once = written(arena, json, 0);
	TeBuffer	wide = written(arena, json, 1);
	TeBuffer	twice = written(arena, te_json_parse(arena, (TeStr) {wide.data, wide.len}, "output"), 0);
	TeJson		copy = {.kind = TE_JSON_NULL};

	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	te_json_set_copy(arena, &copy, json);
	if (copy.kind == TE_JSON_OBJECT)
	{
		te_json_set_int(te_json_add(arena, &copy, "\x01 no such key \x01"), 5);
		FUZZ_CHECK(te_json_int(&copy, "\x01 no such key \x01", 0) == 5);
		te_json_path(json, "a.b.c");
	}
}

FUZZ_TARGET(parse)
