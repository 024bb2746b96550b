/*-------------------------------------------------------------------------
 * test_template.c
 *	  Chat templates against jinja2 as transformers sets it up (models/fixtures/templates/make.py), and their bounds.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "text/template.h"

#define FIXTURES TE_TEST_MODELS "/fixtures/templates/"

static TeStr
read_file(TeArena *arena, const char *name)
{
	TeSource	source = te_std_file(arena, te_format(arena, FIXTURES "%s", name));

	return te_source_whole(arena, &source, (size_t) 16 << 20);
}

static TeStr
source_of(TeArena *arena, const TeJson *item)
{
	TeStr		name = te_json_str(item, "template", NULL);

	return name.data != NULL ? read_file(arena, te_cstring(arena, name)) : te_json_str(item, "source", NULL);
}

/* Where the first difference is. */
static void
tell(const TeJson *item, TeStr source, TeStr actual, TeStr expected)
{
	size_t		i = 0;

	while (i < actual.len && i < expected.len && actual.data[i] == expected.data[i])
		i++;
	i -= TE_MIN(i, 10);
	fprintf(stderr, "  %.*s: \"%.*s\" instead of \"%.*s\"\n", TE_STR_ARGS(te_json_get(item, "template") ? te_json_get(item, "template")->string : source),
			TE_STR_ARGS(((TeStr) {actual.data + i, actual.len - i})), TE_STR_ARGS(((TeStr) {expected.data + i, expected.len - i})));
}

static void
check_rendered(TeArena *arena, const TeJson *item, TeStr source, const TeJson *variables)
{
	TeStr		expected = te_json_get(item, "expected")->string;
	TeStr		actual;

	TE_TRY
	{
		actual = te_template_render(arena, source, variables);
		if (!CHECK(te_str_eq(actual, expected)))
			tell(item, source, actual, expected);
	}
	TE_CATCH
	{
		if (!CHECK(false))
			fprintf(stderr, "  \"%.*s\": %s\n", TE_STR_ARGS(source), te_std_error()->message);
	}
	TE_END_TRY;
}

/* Says where, or is what the template says itself. */
static void
check_failed(TeArena *arena, const TeJson *item, TeStr source, const TeJson *variables)
{
	const char *part = te_cstring(arena, te_json_get(item, "error")->string);
	volatile bool failed = false;

	TE_TRY
	{
		te_template_render(arena, source, variables);
	}
	TE_CATCH
	{
		failed = true;
		if (!CHECK(strstr(te_std_error()->message, part) != NULL && strstr(te_std_error()->message, "chat template") != NULL))
			fprintf(stderr, "  \"%.*s\": \"%s\" has no \"%s\"\n", TE_STR_ARGS(source), te_std_error()->message, part);
	}
	TE_END_TRY;
	if (!CHECK(failed))
		fprintf(stderr, "  \"%.*s\" is no error\n", TE_STR_ARGS(source));
}

TEST(equals_jinja)
{
	TeStr		text = read_file(arena, "expected.json");
	const TeJson *all = te_json_parse(arena, text, "expected.json");
	const TeJson *cases = te_json_get(all, "cases");

	CHECK(cases->n > 250);
	for (uint32_t i = 0; i < cases->n; i++)
	{
		TeArena    *work = te_arena_create(arena, "case");
		const TeJson *item = &cases->items[i];
		const TeJson *variables = te_json_get(item, "variables");
		TeStr		source = source_of(work, item);

		if (variables == NULL)
			variables = te_json_get(all, "values");
		if (te_json_get(item, "expected") != NULL)
			check_rendered(work, item, source, variables);
		else
			check_failed(work, item, source, variables);
		te_arena_destroy(work);
	}
}

static TeStr
render(TeArena *arena, const char *source)
{
	return te_template_render(arena, te_str(source), te_json_parse(arena, TE_STR("{\"a\": 1}"), "variables"));
}

TEST(errors_have_their_codes)
{
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "line 2", render(arena, "\n{% if"));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "UTF-8", render(arena, "\xff"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "line 3: the filter \"urlize\"", render(arena, "\n\n{{ a | urlize }}"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "says: no", render(arena, "{{ raise_exception('no') }}"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "line 2: \"b\" is undefined", render(arena, "\n{{ b.c }}"));
	CHECK_THROWS_LIKE(TE_ERR_LIMIT, "steps", render(arena, "{% set r = range(100000) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}"));
	CHECK_THROWS_LIKE(TE_ERR_LIMIT, "bytes of memory",
					  render(arena, "{% set x = 'y' * 1000000 %}{% for i in range(1000) %}{% set z = x + i | string %}{% endfor %}"));
}

/* What is not reached does no harm. */
TEST(branches_not_taken_may_be_anything)
{
	CHECK_STR(render(arena, "{% if a %}x{% else %}{{ a | urlize }}{{ b.c.d }}{% endif %}"), "x");
}

/* A loop of nothing can be cancelled. */
TEST(looks_for_interrupts)
{
	uint64_t	before = te_std_checks();

	render(arena, "{% for i in range(100000) %}{% endfor %}");
	CHECK(te_std_checks() - before > 20);
}

/* Nothing of the work is kept. */
TEST(keeps_the_text_only)
{
	size_t		bytes;

	render(arena, "{% for i in range(1000) %}{{ 'x' * 1000 }}{% endfor %}");
	bytes = te_arena_bytes(arena);
	for (int i = 0; i < 100; i++)
		render(arena, "{% for i in range(1000) %}{% set x = 'x' * 1000 %}{% endfor %}");
	CHECK(te_arena_bytes(arena) <= bytes + 65536);
}

TEST_MAIN()
