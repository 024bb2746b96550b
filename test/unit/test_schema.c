/*-------------------------------------------------------------------------
 * test_schema.c
 *	  JSON schemas: which texts they let through, what is refused, and texts drawn by masks under
 *	  tight limits, each of which has to parse and to be valid.
 *-------------------------------------------------------------------------
 */
#include "constraint_check.h"
#include "grammar_match.h"
#include "schema_oracle.h"

static const TeGrammar *
from_schema(TeArena *arena, const char *source)
{
	return te_grammar_from_schema(arena, te_json_parse(arena, te_str(source), "schema"));
}

TEST(texts_of_schemas)
{
	static const struct
	{
		const char *schema;
		const char *yes[9];
		const char *no[9];
	}			cases[] = {
		{"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "True", ""}},
		{"{\"type\":\"null\"}", {"null"}, {"true"}},
		{"{\"type\":[\"integer\",\"null\"]}", {"1", "null", "-30", "0"}, {"1.5", "01", "-0", "+1"}},
		{"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", {"-5", "-1", "0", "9", "10", "99", "100", "120"}, {"-6", "-0", "121", "130", "200", "1000", "5.0"}},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":7,\"exclusiveMaximum\":1203}", {"8", "10", "999", "1000", "1202"}, {"7", "1203", "1300", "2000", "0"}},
		{"{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":3.5}", {"1", "2", "3"}, {"0", "4"}},
		{"{\"type\":\"integer\",\"minimum\":-3.5,\"maximum\":-1.5}", {"-3", "-2"}, {"-4", "-1", "2"}},
		{"{\"type\":\"integer\",\"minimum\":9,\"exclusiveMinimum\":true}", {"10", "9999"}, {"9", "8"}},
		{"{\"type\":\"integer\",\"maximum\":9007199254740991}", {"9007199254740991", "-5"}, {"9007199254740992"}},
		{"{\"type\":\"number\"}", {"1", "-0.5", "1e10", "1.25E-3", "0"}, {".5", "1.", "1e", "01", "NaN"}},
		{"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", {"0", "1", "0.5", "0.999", "0.0"}, {"1.1", "-0.5", "1.0001", "2", "-0"}},
		{"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}", {"0.5", "0.001", "0.99"}, {"0", "1", "0.0", "0.00", "1.0"}},
		{"{\"type\":\"number\",\"minimum\":-1.25,\"maximum\":2.5}", {"-1", "0", "2", "-1.25", "-0.30", "2.50", "2.49", "1.00"}, {"-1.26", "2.51", "3", "-2", "2.501"}},
		{"{\"type\":\"number\",\"maximum\":-0.5}", {"-0.5", "-0.51", "-1", "-100", "-7.3"}, {"-0.4", "0", "1", "-0.49"}},
		{"{\"type\":\"string\"}", {"\"\"", "\"a b\"", "\"\\n\\\"\\u00e9\"", "\"é中\""}, {"\"", "\"\\x\"", "\"\n\"", "\"\\u0000\"", "\"\\ud800\"", "a"}},
		{"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", {"\"ab\"", "\"é中x\"", "\"\\n\\u00e9\""}, {"\"a\"", "\"abcd\"", "\"\\n\""}},
		{"{\"type\":\"string\",\"pattern\":\"^[a-z]+\\\\d$\"}", {"\"a1\"", "\"abc9\""}, {"\"1\"", "\"a\"", "\"a11\""}},
		{"{\"type\":\"string\",\"pattern\":\"b\"}", {"\"b\"", "\"abc\"", "\"\\nb\""}, {"\"\"", "\"ac\""}},
		{"{\"type\":\"string\",\"pattern\":\"^(\\\"|\\\\\\\\|\\\\n)$\"}", {"\"\\\"\"", "\"\\\\\"", "\"\\n\""}, {"\"n\"", "\"\"\""}},
		{"{\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-28\"", "\"1999-12-31\""}, {"\"2024-13-01\"", "\"2023-02-30\"", "\"24-01-01\"", "\"2024-04-31\""}},
		{"{\"enum\":[\"a\",1,null,{\"b\":[true]}]}", {"\"a\"", "1", "null", "{\"b\":[true]}"}, {"a", "2", "{}"}},
		{"{\"enum\":[\"a\",1,\"abc\",null],\"type\":\"string\",\"maxLength\":2}", {"\"a\""}, {"1", "null", "\"abc\""}},
		{"{\"const\":null}", {"null"}, {"1"}},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}", {"[1]", "[1,2]", "[1, 2,3]"}, {"[]", "[1,2,3,4]", "[1 ,2]", "[1,]"}},
		{"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"null\"},{\"type\":\"boolean\"}]}", {"[]", "[null]", "[null,true]"}, {"[true]", "[null,true,1]"}},
		{"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"null\"}],\"items\":{\"type\":\"boolean\"},\"minItems\":2,\"maxItems\":3}", {"[null,true]", "[null,true,false]"}, {"[null]", "[null,true,true,true]"}},
		{"{\"items\":[{\"type\":\"null\"}],\"additionalItems\":false,\"minItems\":1}", {"[null]"}, {"[]", "[null,null]"}},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"boolean\"}},\"required\":[\"b\"]}",
		{"{\"b\":true}", "{\"a\":null,\"b\":false}", "{\"a\": null, \"b\": false}"}, {"{}", "{\"a\":null}", "{\"b\":true,\"a\":null}", "{\"b\":true,}", "{\"b\":true,\"c\":1}"}},
		{"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":\"null\"}}}",
		{"{}", "{\"a\":null}", "{\"b\":null}", "{\"c\":null}", "{\"a\":null,\"c\":null}", "{\"a\":null,\"b\":null,\"c\":null}"}, {"{\"c\":null,\"a\":null}", "{,}", "null"}},
		{"{\"properties\":{\"ab\":{\"type\":\"null\"}},\"required\":[\"ab\"],\"additionalProperties\":{\"type\":\"integer\"}}",
		{"{\"ab\":null}", "{\"ab\":null,\"a\":1}", "{\"ab\":null,\"abc\":1,\"\":2}", "{\"ab\":null,\"x\":3}"}, {"{\"ab\":null,\"ab\":1}", "{\"a\":1}", "{\"ab\":null,\"x\":null}", "{\"ab\":null,\"\\u0061b\":1}"}},
		{"{\"type\":\"object\"}", {"{}", "{\"x\":[1,{\"y\":null}]}"}, {"[]", "{x:1}"}},
		{"{\"type\":\"object\",\"required\":[\"k\"],\"additionalProperties\":true}", {"{\"k\":1}", "{\"k\":[],\"z\":\"\"}"}, {"{}", "{\"z\":1}"}},
		{"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}", {"{}"}, {"{\"a\":1}"}},
		{"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\"}],\"minimum\":5}", {"null", "5"}, {"4", "true"}},
		{"{\"oneOf\":[{\"type\":\"null\"},{\"type\":\"string\",\"maxLength\":1}]}", {"null", "\"a\""}, {"1", "\"ab\""}},
		{"{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5}]}", {"3", "4", "5"}, {"2", "6"}},
		{"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{\"properties\":{\"a\":{\"minimum\":8,\"maximum\":9},\"b\":true}}]}",
		{"{\"a\":8}", "{\"a\":9,\"b\":\"x\"}"}, {"{\"a\":7}", "{}"}},
		{"{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}}}", {"[]", "[[],[[]]]"}, {"[1]", "[[]"}},
		{"{\"properties\":{\"next\":{\"$ref\":\"#\"}}}", {"{}", "{\"next\":{\"next\":{}}}"}, {"{\"next\":1}"}},
		{"{\"definitions\":{\"a/b\":{\"const\":1}},\"$ref\":\"#/definitions/a~1b\"}", {"1"}, {"2"}},
		{"{\"type\":\"string\",\"nullable\":true}", {"null", "\"\""}, {"1"}},
		{"true", {"1", "[{}]", "\"\"", "{\"a\": 1}"}, {"", "nul"}},
		{"{}", {"1", "null"}, {"1 2"}},
		{"{\"properties\":{\"a\":false,\"b\":{\"const\":2}}}", {"{}", "{\"b\":2}"}, {"{\"a\":1}"}},
		{"{\"type\":\"object\",\"title\":\"T\",\"x-unknown\":1,\"properties\":{\"a\":{\"const\":1,\"description\":\"d\"}},\"unevaluatedProperties\":false}", {"{\"a\":1}"}, {"{\"a\":2}"}},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		const TeGrammar *grammar = from_schema(arena, cases[i].schema);

		for (size_t j = 0; j < 9 && cases[i].yes[j] != NULL; j++)
			te_check(grammar_matches(arena, grammar, te_str(cases[i].yes[j])), __FILE__, __LINE__,
					 te_format(arena, "%s lets %s through", cases[i].schema, cases[i].yes[j]));
		for (size_t j = 0; j < 9 && cases[i].no[j] != NULL; j++)
			te_check(!grammar_matches(arena, grammar, te_str(cases[i].no[j])), __FILE__, __LINE__,
					 te_format(arena, "%s does not let %s through", cases[i].schema, cases[i].no[j]));
	}
}

TEST(schemas_that_are_refused)
{
	static const struct
	{
		TeErrorCode code;
		const char *part;
		const char *schema;
	}			cases[] = {
		{TE_ERR_UNSUPPORTED, "too large to be exact", "{\"const\":12345678901234567890}"},
		{TE_ERR_UNSUPPORTED, "\"not\"", "{\"not\":{\"type\":\"null\"}}"},
		{TE_ERR_UNSUPPORTED, "\"if\"", "{\"properties\":{\"a\":{\"if\":true}}}"},
		{TE_ERR_UNSUPPORTED, "\"uniqueItems\"", "{\"type\":\"array\",\"uniqueItems\":true}"},
		{TE_ERR_UNSUPPORTED, "\"multipleOf\"", "{\"type\":\"integer\",\"multipleOf\":3}"},
		{TE_ERR_UNSUPPORTED, "\"patternProperties\"", "{\"patternProperties\":{\"a\":true}}"},
		{TE_ERR_UNSUPPORTED, "\"minProperties\"", "{\"type\":\"object\",\"minProperties\":2}"},
		{TE_ERR_UNSUPPORTED, "\"maxLength\"", "{\"type\":\"string\",\"pattern\":\"a+\",\"maxLength\":4}"},
		{TE_ERR_UNSUPPORTED, "format \"iri\"", "{\"type\":\"string\",\"format\":\"iri\"}"},
		{TE_ERR_UNSUPPORTED, "\"oneOf\"", "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}"},
		{TE_ERR_UNSUPPORTED, "\"$ref\"", "{\"$ref\":\"http://example.org/x\"}"},
		{TE_ERR_UNSUPPORTED, "\"minimum\"", "{\"type\":\"number\",\"minimum\":1e-30}"},
		{TE_ERR_UNSUPPORTED, "looking ahead", "{\"type\":\"string\",\"pattern\":\"(?=a)b\"}"},
		{TE_ERR_UNSUPPORTED, "escape", "{\"type\":\"string\",\"pattern\":\"\\\\bx\"}"},
		{TE_ERR_INVALID, "\")\" is missing", "{\"type\":\"string\",\"pattern\":\"(a\"}"},
		{TE_ERR_INVALID, "refers to nothing", "{\"$ref\":\"#/$defs/x\"}"},
		{TE_ERR_INVALID, "refers to itself", "{\"$ref\":\"#\"}"},
		{TE_ERR_INVALID, "\"type\" is not known", "{\"type\":\"text\"}"},
		{TE_ERR_INVALID, "must be an object", "[1]"},
		{TE_ERR_INVALID, "\"enum\"", "{\"enum\":[]}"},
		{TE_ERR_INVALID, "\"minItems\"", "{\"type\":\"array\",\"minItems\":-1}"},
		{TE_ERR_INVALID, "no text of this form", "false"},
		{TE_ERR_INVALID, "no text of this form", "{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}"},
		{TE_ERR_INVALID, "no text of this form", "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}"},
		{TE_ERR_TOO_LONG, "too large", "{\"type\":\"string\",\"maxLength\":1000000}"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
		CHECK_THROWS_LIKE(cases[i].code, cases[i].part, from_schema(arena, cases[i].schema));
}

/* Draws of a schema; whether there were any. */
static bool
check_draws(TeArena *arena, const Vocabulary *v, uint64_t seed)
{
	TeStr		source = make_random_schema(arena, seed);
	const TeJson *schema = te_json_parse(arena, source, "schema");
	const TeGrammar *volatile grammar = NULL;
	int			n = 0;

	TE_TRY
	{
		grammar = te_grammar_from_schema(arena, schema);
	}
	TE_CATCH
	{
		/* what has no value, and two patterns for one property */
		if (strstr(te_std_error()->message, "no text of this form") == NULL && te_std_error()->code != TE_ERR_UNSUPPORTED)
			te_check(false, __FILE__, __LINE__, te_format(arena, "%.*s: %s", (int) source.len, source.data, te_std_error()->message));
	}
	TE_END_TRY;
	for (uint64_t slack = 0; grammar != NULL && slack < 3; slack++)
	{
		TeStr		text;
		const TeJson *volatile value = NULL;

		if (!draw_text(arena, grammar, v, slack * slack * 5, seed * 11 + slack, &text))
			continue;
		n++;
		TE_TRY
		{
			value = te_json_parse(arena, text, "text");
		}
		TE_CATCH
		{
		}
		TE_END_TRY;
		if (value == NULL || !is_valid(schema, schema, value))
			te_check(false, __FILE__, __LINE__, te_format(arena, "%.*s: %.*s is valid", (int) source.len, source.data, (int) text.len, text.data));
	}
	return n > 0;
}

/* A thousand schemas, tight limits. */
TEST(drawn_values_are_valid)
{
	static const char *const names[] = {"gpt2", "llama3", "llama"};
	TeArena    *work = te_arena_create(arena, "work");
	int			n = 0;

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Vocabulary	v = load_vocabulary(arena, names[i]);

		for (uint64_t seed = 0; seed < 400; seed++)
		{
			te_arena_reset(work);
			n += check_draws(work, &v, i * 400 + seed);
		}
	}
	CHECK(n > 1000);
}

TEST_MAIN()
