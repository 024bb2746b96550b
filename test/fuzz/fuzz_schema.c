/*-------------------------------------------------------------------------
 * fuzz_schema.c
 *	  JSON schemas: an input is a schema, a zero, and a text that is matched.
 *
 * What a schema may take is bounded by what its grammar is written out to (grammar.c) and not by its size, so it has
 * an arena of its own.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "unit/grammar_match.h"

static void
parse(TeArena *arena, TeStr input)
{
	const char *zero = input.len > 0 ? memchr(input.data, 0, input.len) : NULL;
	size_t		len = zero != NULL ? (size_t) (zero - input.data) : input.len;
	TeStr		text = {input.data + len, input.len - len};
	TeArena    *own = te_arena_create_root(NULL, "fuzz grammar", (size_t) 256 * 1024 * 1024, NULL);
	volatile TeErrorCode code = TE_STD_NO_ERROR;
	char		message[1024] = "";

	TE_TRY
	{
		const TeGrammar *grammar = te_grammar_from_schema(own, te_json_parse(own, te_str_copy(own, (TeStr) {input.data, len}), "schema"));

		if (text.len > 0)
			text = (TeStr) {text.data + 1, text.len - 1};
		grammar_matches(own, grammar, te_str_copy(own, text));
	}
	TE_CATCH
	{
		code = te_std_error()->code;
		snprintf(message, sizeof(message), "%s", te_std_error()->message);
	}
	TE_END_TRY;
	te_arena_destroy(own);
	if (code != TE_STD_NO_ERROR)
		te_throw(code, "%s", message);
}

FUZZ_TARGET(parse)
