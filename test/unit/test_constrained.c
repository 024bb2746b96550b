/*-------------------------------------------------------------------------
 * test_constrained.c
 *	  Models of random weights under JSON schemas and choices: whatever they would like to say, and however few
 *	  tokens they have, the text is what it must be.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "model/generate.h"
#include "schema_oracle.h"

#define ROWS 4

typedef struct Asked
{
	const TeJson *schema;
	bool		fed;
	size_t		row;
} Asked;

/* Whether there is room for any text; schemas made at random may also have no value, or say what is not supported. */
static bool
feed(TeGenerator *generator, const TeGenerateOptions *options, size_t *row)
{
	volatile bool fed = false;

	TE_TRY
	{
		*row = te_generator_feed(generator, TE_STR("The smell of bread"), options);
		fed = true;
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code == TE_ERR_UNSUPPORTED || strstr(te_std_error()->message, "no text of this form") != NULL ||
			  strstr(te_std_error()->message, "leaves no room") != NULL || strstr(te_std_error()->message, "no tokens to write") != NULL);
	}
	TE_END_TRY;
	return fed;
}

static void
check_row(TeArena *arena, const Asked *asked, TeGenerated result)
{
	const TeJson *volatile value = NULL;

	TE_TRY
	{
		value = te_json_parse(arena, result.text, "text");
	}
	TE_CATCH
	{
	}
	TE_END_TRY;
	if (value == NULL || !is_valid(asked->schema, asked->schema, value))
		te_check(false, __FILE__, __LINE__, te_format(arena, "%.*s is valid", (int) result.text.len, result.text.data));
}

TEST(texts_obey_schemas)
{
	static const char *const names[] = {"causal-llama", "causal-gpt2", "causal-qwen2"};
	static const int limits[] = {3, 9, 20, 40};
	TeArena    *work = te_arena_create(arena, "work");
	int			n = 0;

	for (size_t m = 0; m < TE_LENGTH(names); m++)
	{
		TeModel    *model = load_model(arena, fixture_load(arena, names[m], NULL)->def);
		TeGenerator *generator = te_generator_create(te_session_create(arena, model, 0), &(TeGeneratorLimits) {.cache_type = TE_STR("f32")});

		for (uint64_t seed = 0; seed < 120; seed += ROWS)
		{
			TeGenerateOptions options = te_generate_defaults;
			Asked		asked[ROWS];

			te_arena_reset(work);
			te_generator_reset(generator);
			options.beams = seed % 3 == 0 ? 3 : 1;
			options.temperature = seed % 3 == 1 ? 2 : 0;
			options.repetition_penalty = 1.3f;
			options.no_repeat_ngram = seed % 5 == 0 ? 2 : 0;
			options.seeded = true;
			options.seed = seed;
			for (size_t i = 0; i < ROWS; i++)
			{
				asked[i].schema = options.schema = te_json_parse(work, make_random_schema(work, m * 1000 + seed + i), "schema");
				options.max_tokens = limits[(seed / ROWS + i) % TE_LENGTH(limits)];
				asked[i].fed = feed(generator, &options, &asked[i].row);
			}
			while (te_generator_step(generator))
				;
			for (size_t i = 0; i < ROWS; i++)
			{
				if (asked[i].fed)
					check_row(work, &asked[i], te_generator_row(generator, asked[i].row));
				n += asked[i].fed;
			}
		}
	}
	CHECK(n > 100);
}

TEST(a_choice_of_one_token)
{
	static const TeStr choices[] = {TE_STR("a"), TE_STR("b"), TE_STR("the")};
	TeModel    *model = load_model(arena, fixture_load(arena, "causal-gpt2", NULL)->def);
	TeGenerator *generator = te_generator_create(te_session_create(arena, model, 0), &(TeGeneratorLimits) {.cache_type = TE_STR("f32")});
	TeGenerateOptions options = te_generate_defaults;

	options.choices = choices;
	options.n_choices = TE_LENGTH(choices);
	options.temperature = 3;
	options.seeded = true;
	for (options.max_tokens = 1; options.max_tokens < 5; options.max_tokens++)
	{
		for (options.seed = 0; options.seed < 20; options.seed++)
		{
			size_t		row = te_generator_feed(generator, TE_STR("so"), &options);
			TeStr		text;

			while (te_generator_step(generator))
				;
			text = te_generator_row(generator, row).text;
			CHECK(te_str_eq(text, choices[0]) || te_str_eq(text, choices[1]) || te_str_eq(text, choices[2]));
		}
	}
}

TEST_MAIN()
