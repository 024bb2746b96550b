/*-------------------------------------------------------------------------
 * test_json.c
 *	  JSON: what is accepted, what is refused and where, numbers, look-ups,
 *	  building and writing.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "base/json.h"

#include <locale.h>

static const TeJson *
parse(TeArena *arena, const char *text)
{
	return te_json_parse(arena, te_str(text), "test");
}

static const char *
written(TeArena *arena, const TeJson *node, int indent)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	te_json_write(&buffer, node, indent);
	return te_cstring(arena, (TeStr) {buffer.data, buffer.len});
}

TEST(values_of_every_kind)
{
	const TeJson *json = parse(arena, " {\"a\": [1, -2.5, true, false, null, \"s\"], \"b\": {}, \"c\": []} ");
	const TeJson *a = te_json_get(json, "a");

	CHECK(json->kind == TE_JSON_OBJECT && json->n == 3);
	CHECK(a->n == 6 && a->items[0].kind == TE_JSON_INTEGER && a->items[0].integer == 1);
	CHECK(a->items[1].kind == TE_JSON_REAL && a->items[1].real == -2.5);
	CHECK(a->items[2].boolean && !a->items[3].boolean);
	CHECK(a->items[4].kind == TE_JSON_NULL);
	CHECK_STR(a->items[5].string, "s");
	CHECK_STR(a->key, "a");
	CHECK(te_json_get(json, "b")->n == 0 && te_json_get(json, "c")->kind == TE_JSON_ARRAY);
	CHECK(parse(arena, "7")->integer == 7);
}

TEST(strings_are_decoded)
{
	CHECK_STR(parse(arena, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")->string, "\"\\/\b\f\n\r\t");
	CHECK_STR(parse(arena, "\"\\u00e9\\u4E2d\\ud83d\\ude00\"")->string, "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80");
	CHECK_STR(parse(arena, "\"\xc3\xa9\"")->string, "\xc3\xa9");
	CHECK(parse(arena, "\"a\\u0000b\"")->string.len == 3);
}

TEST(what_is_not_json_is_refused)
{
	static const char *const bad[] = {
		"", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
		"tru", "True", "nul", "nan", "NaN", "Infinity", "-Infinity", "+1", "-", "01", "-01", "1.", ".5", "1e", "1e+", "0x1", "1_0",
		"\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "\"\x01\"",
		"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe4\xb8\"", "1 2", "{} x", "[1]]", "'a'", "// c\n1",
		"1e400", "-1e999999999999999999", "\357\273\2771",
	};

	for (size_t i = 0; i < TE_LENGTH(bad); i++)
	{
		TeArena    *own = te_arena_create(arena, "test");

		CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"test\" is not valid JSON", parse(own, bad[i]));
		CHECK(strstr(te_std_error()->message, "at offset") != NULL);
		te_arena_destroy(own);
	}
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "at offset 9", parse(arena, "{\"a\": [1 2]}"));
}

TEST(depth_is_bounded)
{
	char		text[200];

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	CHECK(te_json_parse(arena, (TeStr) {text, 128}, "test")->n == 1);
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "too deeply", te_json_parse(arena, (TeStr) {text, 130}, "test"));
}

TEST(numbers_are_exact)
{
	static const char *const reals[] = {
		"0.1", "1e-5", "1e22", "1e23", "123456789012345678901234567890", "2.2250738585072014e-308", "2.2250738585072011e-308",
		"4.9e-324", "2.4703282292062328e-324", "1.7976931348623157e308", "9007199254740993.0", "9007199254740992.99999",
		"0.30000000000000004", "8.5070591730234616e37", "-1.5", "1E+2", "100e-2", "0.000000000000000000000000000001e30",
		"1.00000000000000011102230246251565404236316680908203125",
		"1.00000000000000011102230246251565404236316680908203124",
		"1.00000000000000011102230246251565404236316680908203126", "-0.0", "0e5", "1e-400",
	};
	char		long_number[1100];

	for (size_t i = 0; i < TE_LENGTH(reals); i++)
	{
		const TeJson *json = parse(arena, reals[i]);
		double		expected = strtod(reals[i], NULL);

		CHECK(json->kind == TE_JSON_REAL);
		CHECK(memcmp(&json->real, &expected, sizeof(expected)) == 0);
		CHECK(te_json_parse_real(te_str(reals[i])) == expected);
	}

	/* a tie that only the thousandth digit breaks */
	memset(long_number, '0', sizeof(long_number));
	memcpy(long_number, reals[18], strlen(reals[18]));
	long_number[1000] = '1';
	long_number[1001] = '\0';
	CHECK(parse(arena, long_number)->real == 1.0000000000000002);
	long_number[1000] = '0';
	CHECK(parse(arena, long_number)->real == 1.0);

	CHECK(parse(arena, "9223372036854775807")->integer == INT64_MAX);
	CHECK(parse(arena, "-9223372036854775808")->integer == INT64_MIN);
	CHECK(parse(arena, "9223372036854775808")->kind == TE_JSON_REAL);
	CHECK(parse(arena, "-0")->kind == TE_JSON_INTEGER);
	CHECK_THROWS(TE_ERR_CORRUPT, te_json_parse_real(TE_STR("1x")));
}

TEST(the_locale_does_not_matter)
{
	const char *before = setlocale(LC_ALL, NULL);
	char	   *saved = te_cstring(arena, te_str(before));

	if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
		SKIP("no locale with a decimal comma");
	CHECK(parse(arena, "0.30000000000000004")->real == 0.1 + 0.2);
	CHECK_STR(te_str(written(arena, parse(arena, "[1.5]"), 0)), "[1.5]");
	setlocale(LC_ALL, saved);
}

TEST(members)
{
	const TeJson *json = parse(arena, "{\"i\": 5.0, \"r\": 2, \"t\": true, \"s\": \"x\", \"n\": null, \"d\": 1, \"d\": 2,"
							   " \"o\": {\"p\": {\"q\": 3}}, \"half\": 0.5, \"big\": 1e300}");

	CHECK(te_json_int(json, "i", 0) == 5 && te_json_int(json, "missing", 9) == 9 && te_json_int(json, "n", 9) == 9);
	CHECK(te_json_real(json, "r", 0) == 2.0 && te_json_real(json, "half", 0) == 0.5 && te_json_real(NULL, "x", 1.5) == 1.5);
	CHECK(te_json_bool(json, "t", false) && te_json_bool(json, "missing", true));
	CHECK_STR(te_json_str(json, "s", NULL), "x");
	CHECK_STR(te_json_str(json, "missing", "y"), "y");
	CHECK(te_json_str(json, "missing", NULL).data == NULL);
	CHECK(te_json_int(json, "d", 0) == 2);
	CHECK(te_json_path(json, "o.p.q")->integer == 3);
	CHECK(te_json_path(json, "o.x.q") == NULL && te_json_path(json, "s.x") == NULL);
	CHECK(te_json_get(json, "n") == NULL && te_json_get(parse(arena, "[1]"), "x") == NULL);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"half\"", te_json_int(json, "half", 0));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"big\"", te_json_int(json, "big", 0));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"s\"", te_json_real(json, "s", 0));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"s\"", te_json_bool(json, "s", true));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"t\"", te_json_str(json, "t", NULL));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "between 6 and 7", te_json_int_range(json, "i", 0, 6, 7));
}

TEST(large_objects_take_linear_time)
{
	TeBuffer	text;
	const TeJson *json;
	double		begin = te_host_seconds();

	te_buffer_init(&text, arena);
	te_buffer_add_str(&text, "{");
	for (int i = 0; i < 250000; i++)
		te_buffer_add_str(&text, te_format(arena, "%s\"token%d\":%d", i > 0 ? "," : "", i % 200000, i));
	te_buffer_add_str(&text, "}");
	json = te_json_parse(arena, (TeStr) {text.data, text.len}, "test");
	CHECK(json->n == 250000);
	CHECK(te_json_int(json, "token7", 0) == 200007);
	CHECK(te_host_seconds() - begin < 20);
}

TEST(building_and_writing)
{
	TeJson	   *object = te_json_new_object(arena);
	TeJson	   *array = te_json_new_array(arena, 3);
	const TeJson *back;

	te_json_set_str(te_json_add(arena, object, "text"), TE_STR("a\"b\\c\n\t\r\x01\x7f\xc3\xa9"));
	te_json_set_int(te_json_add(arena, object, "min"), INT64_MIN);
	te_json_set_real(te_json_add(arena, object, "five"), 5);
	te_json_set_real(te_json_add(arena, object, "tenth"), 0.1);
	te_json_set_bool(te_json_add(arena, object, "yes"), true);
	te_json_set_int(&array->items[0], 1);
	te_json_set_str(&array->items[2], TE_STR(""));
	te_json_set_copy(arena, te_json_add(arena, object, "array"), array);
	te_json_set_copy(arena, te_json_add(arena, object, "empty"), te_json_new_object(arena));
	te_json_set_int(te_json_add(arena, object, "min"), -7);
	CHECK_STR(te_str(written(arena, object, 0)),
			  "{\"text\":\"a\\\"b\\\\c\\n\\t\\r\\u0001\x7f\xc3\xa9\",\"min\":-7,\"five\":5.0,\"tenth\":0.1,\"yes\":true,"
			  "\"array\":[1,null,\"\"],\"empty\":{}}");
	CHECK_STR(te_str(written(arena, parse(arena, "{\"a\":[1,{}],\"b\":[]}"), 2)),
			  "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
	back = parse(arena, written(arena, object, 4));
	CHECK_STR(te_str(written(arena, back, 0)), written(arena, object, 0));
	te_json_set_real(te_json_add(arena, object, "five"), INFINITY);
	CHECK_THROWS(TE_ERR_INVALID, written(arena, object, 0));
}

TEST(objects_grow)
{
	TeJson	   *object = te_json_new_object(arena);
	TeJson	   *outer = te_json_new_object(arena);

	for (int i = 0; i < 100; i++)
	{
		TeJson	   *copy = te_json_add(arena, outer, "copy");

		te_json_set_int(te_json_add(arena, object, te_format(arena, "key%d", i)), i);
		te_json_set_copy(arena, copy, object);
		te_json_set_int(te_json_add(arena, copy, "extra"), -i);
		CHECK(copy->n == (uint32_t) i + 2 && te_json_int(copy, "extra", 1) == -i);
	}
	for (int i = 0; i < 100; i++)
		CHECK(te_json_int(object, te_format(arena, "key%d", i), -1) == i);
}

TEST(reals_are_written_to_round_trip)
{
	uint64_t	state = 1;

	for (int i = 0; i < 20000; i++)
	{
		TeJson		node = {.kind = TE_JSON_REAL};
		const TeJson *back;

		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		memcpy(&node.real, &state, sizeof(node.real));
		if (!isfinite(node.real))
			continue;
		back = parse(arena, written(arena, &node, 0));
		CHECK(back->kind == TE_JSON_REAL && memcmp(&back->real, &node.real, sizeof(double)) == 0);
		te_arena_reset(arena);
	}
}

static void
parse_and_write(void *arg)
{
	TeArena    *root = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);
	const TeJson *json = te_json_parse(root, te_str(arg), "test");
	TeBuffer	buffer;

	te_buffer_init(&buffer, root);
	te_json_write(&buffer, json, 2);
}

TEST(faults)
{
	TeBuffer	text;

	te_buffer_init(&text, arena);
	te_buffer_add_str(&text, "[");
	for (int i = 0; i < 5000; i++)
		te_buffer_add_str(&text, "{\"a\":[1,2.5,\"x\"]},");
	te_buffer_add(&text, "0]", 3);
	CHECK(te_std_fault_loop(parse_and_write, text.data) > 5);
}

TEST_MAIN()
