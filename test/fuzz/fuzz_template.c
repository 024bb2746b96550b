/*-------------------------------------------------------------------------
 * fuzz_template.c
 *	  Chat templates: any text as one, with a conversation to render.
 *
 * A template may ask for more time and memory than there is: that is an error of its own, and an interrupt ends what would
 * only take long.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "text/template.h"

#define LONGEST 100				/* looks for an interrupt */

static const char variables[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"Be terse.\"}, {\"role\": \"user\", \"content\": \" na\xc3\xafve <1> \"},"
"{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"abcdefghi\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, true]}}}]}],"
"\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}],"
"\"n\": 7, \"x\": 2.5, \"s\": \"Hello\", \"list\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": [1]}, \"words\": [\"pear\", \"Apple\"], \"yes\": true, \"no\": false}";

static void
parse(TeArena *arena, TeStr input)
{
	const TeJson *json = te_json_parse(arena, TE_STR(variables), "variables");

	te_std_interrupt(LONGEST);
	TE_TRY
	{
		TeStr		text = te_template_render(arena, input, json);

		FUZZ_CHECK(te_utf8_valid(text));
	}
	TE_CATCH
	{
		TeStdError	error = *te_std_error();

		te_std_interrupt(0);
		if (error.code != TE_ERR_LIMIT)
			te_throw(error.code, "%s", error.message);
	}
	TE_END_TRY;
	te_std_interrupt(0);
}

FUZZ_TARGET(parse)
