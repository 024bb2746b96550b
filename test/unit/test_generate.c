/*-------------------------------------------------------------------------
 * test_generate.c
 *	  The generator: the same text whatever is computed together, kept, shared or guessed; beams; scores of texts.
 *
 * What is compared with is the plain way: all tokens through the model again for each one that is made.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "model/generate.h"

static const char *const names[] = {"causal-llama", "causal-mistral", "causal-qwen2", "causal-gpt2", "causal-neox", "causal-qwen3", "causal-gemma2",
	"causal-gemma3", "causal-bloom"};

/* Those whose expected.json has what the reference generates. */
static const char *const greedy_names[] = {
	"causal-bloom", "causal-falcon-alibi", "causal-falcon-groups-one-norm", "causal-falcon-groups", "causal-falcon",
	"causal-gemma", "causal-gemma2", "causal-gemma3", "causal-gpt2", "causal-llama", "causal-llama3", "causal-mistral",
	"causal-mixtral", "causal-qwen2moe", "causal-qwen3moe", "causal-mpt", "causal-neox-serial", "causal-neox", "causal-phi", "causal-phi3", "causal-qwen2", "causal-qwen3",
	"causal-smollm3", "causal-stablelm-heads", "causal-stablelm-parallel", "causal-stablelm"
};
static const char *const prompts[] = {
	"The smell of bread", "a", "Nobody counted the clouds while the boat crossed", "so six", "Nobody counted the letters", "",
	"The smell of bread fills the street, and the smell of bread fills the street, and the",
};

#define N_PROMPTS TE_LENGTH(prompts)

static TeModel *
fixture_model(TeArena *arena, const char *name)
{
	return load_model(arena, fixture_load(arena, name, NULL)->def);
}

static TeGenerator *
generator_of(TeArena *arena, const TeModel *model, TeGeneratorLimits limits)
{
	if (limits.cache_type.len == 0)
		limits.cache_type = TE_STR("f32");
	return te_generator_create(te_session_create(arena, model, 0), &limits);
}

/* Logits that follow ids, all of them computed anew. */
static const float *
plain_logits(TeArena *arena, const TeModel *model, const int32_t *ids, size_t n)
{
	TeJobRow	row = {.n_tokens = (uint32_t) n,.ids = (int32_t *) ids};
	TeJobRow   *rows[] = {&row};
	TeBatch    *batch = te_rows_batch(arena, model, rows, 1);
	TeGraph    *graph = te_graph_create(arena, TE_INFER, batch);
	TeNode	   *node = te_head_forward(graph, model, te_model_arch(model)->forward(graph, model, batch));

	te_graph_keep(graph, node);
	te_graph_run(graph);
	return te_node_value(node);
}

static void
run(TeGenerator *generator)
{
	while (te_generator_step(generator))
		;
}

/* All prompts through one generator. */
static TeGenerated *
generate_all(TeArena *arena, TeGenerator *generator, const TeGenerateOptions *options)
{
	TeGenerated *results = te_new_array(arena, TeGenerated, N_PROMPTS);

	for (size_t i = 0; i < N_PROMPTS; i++)
		CHECK(te_generator_feed(generator, te_str(prompts[i]), options) == i);
	run(generator);
	for (size_t i = 0; i < N_PROMPTS; i++)
	{
		results[i] = te_generator_row(generator, i);
		results[i].text = te_str_copy(arena, results[i].text);
	}
	return results;
}

TEST(tokens_are_those_of_the_plain_way)
{
	for (size_t m = 0; m < TE_LENGTH(names); m++)
	{
		TeModel    *model = fixture_model(arena, names[m]);
		TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
		TeGenerateOptions options = te_generate_defaults;
		size_t		n_out = (size_t) te_generator_outputs(generator);

		options.max_tokens = 20;
		generate_all(arena, generator, &options);
		for (size_t i = 0; i < N_PROMPTS; i++)
		{
			const TeGenerateRow *row = generator->rows[i];
			const float *logits = plain_logits(arena, model, row->branch.ids, row->branch.n_ids);

			CHECK(row->branch.n_ids <= row->n_prompt + 20 && row->n_prompt > 0);
			for (size_t t = row->n_prompt; t < row->branch.n_ids; t++)
			{
				const float *before = logits + (t - 1) * n_out;

				CHECK(before[row->branch.ids[t]] >= te_kernel.max(n_out, before) - 1e-5f);
			}
		}
	}
}

TEST(greedy_tokens_are_those_of_the_reference)
{
	for (size_t m = 0; m < TE_LENGTH(greedy_names); m++)
	{
		Fixture    *fixture = fixture_load(arena, greedy_names[m], NULL);
		TeGenerator *generator = generator_of(arena, load_model(arena, fixture->def), (TeGeneratorLimits) {0});
		const TeJson *texts = te_json_get(fixture->expected, "texts");
		TeGenerateOptions options = te_generate_defaults;

		for (uint32_t t = 0; t < texts->n; t++)
		{
			options.max_tokens = (int) te_json_get(&texts->items[t], "greedy")->n;
			te_generator_feed(generator, te_json_str(&texts->items[t], "text", ""), &options);
		}
		run(generator);
		for (uint32_t t = 0; t < texts->n; t++)
		{
			const TeJson *expected = te_json_get(&texts->items[t], "greedy");
			const TeGenerateRow *row = generator->rows[t];
			size_t		n = row->branch.n_ids - row->n_prompt;

			CHECK(n == expected->n || (n < expected->n && row->finish == TE_FINISH_END));
			for (size_t i = 0; i < TE_MIN(n, (size_t) expected->n); i++)
				CHECK(row->branch.ids[row->n_prompt + i] == expected->items[i].integer);
		}
	}
}

TEST(logits_over_the_cache_are_those_of_the_plain_way)
{
	static const char *const types[] = {"f32", "f16", "q8_0"};
	static const double bounds[] = {1e-5, 2e-3, 3e-2};

	for (size_t m = 0; m < TE_LENGTH(names) * TE_LENGTH(types); m++)
	{
		TeModel    *model = fixture_model(arena, names[m / TE_LENGTH(types)]);
		size_t		type = m % TE_LENGTH(types);
		TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {.cache_type = te_str(types[type])});
		size_t		n_out = (size_t) te_generator_outputs(generator);
		size_t		n;
		int32_t    *ids = te_prompt_tokens(generator, arena, te_str(prompts[6]), false, &n);
		const float *plain = plain_logits(arena, model, ids, n);
		TeSequence	sequence = {.arena = arena};

		/* in pieces of one, two, three, ... tokens */
		for (size_t piece = 1; sequence.n_cached < n; piece++)
		{
			size_t		todo = TE_MIN(piece, n - sequence.n_cached);
			TeWork		work = {.sequence = &sequence,.ids = ids,.n_ids = n,.n = todo,.n_wanted = todo};
			const float *expected = plain + sequence.n_cached * n_out;

			CHECK(te_sequence_reserve(generator->cache, &sequence, sequence.n_cached + todo));
			te_generator_pass(generator, &work, 1);
			for (size_t i = 0; i < todo * n_out; i++)
			{
				if (!CHECK_NEAR(work.logits[i], expected[i], bounds[type] * te_kernel.max(n_out, expected)))
				{
					fprintf(stderr, "  %s, %s\n", names[m / TE_LENGTH(types)], types[type]);
					break;
				}
			}
			te_sequence_computed(generator->cache, &sequence, ids, sequence.n_cached + todo);
		}
	}
}

/* Do two generators give the same rows to the bit? */
static void
check_same(const TeGenerator *a, const TeGenerator *b)
{
	for (size_t i = 0; i < N_PROMPTS; i++)
	{
		const TeBranch *x = &a->rows[i]->branch;
		const TeBranch *y = &b->rows[i]->branch;

		CHECK(x->n_ids == y->n_ids && memcmp(x->ids, y->ids, x->n_ids * sizeof(int32_t)) == 0);
		CHECK(x->logprob == y->logprob);
	}
}

TEST(rows_do_not_depend_on_one_another)
{
	for (size_t m = 0; m < TE_LENGTH(names); m++)
	{
		TeModel    *model = fixture_model(arena, names[m]);
		TeGenerateOptions options = te_generate_defaults;
		TeGenerator *alone = generator_of(arena, model, (TeGeneratorLimits) {.max_rows = 1,.no_sharing = true});
		TeGenerator *together = generator_of(arena, model, (TeGeneratorLimits) {0});
		TeGenerator *some = generator_of(arena, model, (TeGeneratorLimits) {.max_rows = 3});
		TeGenerator *tight;
		size_t		page;

		options.max_tokens = 25;
		options.temperature = 0.8f;
		options.seeded = true;
		generate_all(arena, alone, &options);
		generate_all(arena, together, &options);
		generate_all(arena, some, &options);
		check_same(alone, together);
		check_same(alone, some);
		/* and again, where their beginnings are known */
		te_generator_reset(together);
		generate_all(arena, together, &options);
		check_same(alone, together);
		/* with pages for a row or two, which have to make way for one another */
		page = te_cache_page_bytes(alone->cache);
		tight = generator_of(arena, model, (TeGeneratorLimits) {.cache_bytes = 2 * page});
		generate_all(arena, tight, &options);
		check_same(alone, tight);
	}
}

TEST(beginnings_are_computed_once)
{
	TeModel    *model = fixture_model(arena, "causal-llama");
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
	TeGenerateOptions options = te_generate_defaults;
	TeStr		instruction = te_str("The baker zzzzz opens yyyyyy the shop xxxxx at six and the smell of");
	size_t		n_instruction;
	uint64_t	tokens;

	options.max_tokens = 2;
	te_prompt_tokens(generator, arena, instruction, false, &n_instruction);
	CHECK(n_instruction > 32);
	for (int i = 0; i < 8; i++)
		te_generator_feed(generator, te_str(te_format(arena, "%.*s %d", TE_STR_ARGS(instruction), i)), &options);
	run(generator);
	CHECK(te_generator_row(generator, 0).n_shared == 0);
	for (size_t i = 1; i < 8; i++)
		CHECK(te_generator_row(generator, i).n_shared >= n_instruction - 1);
	tokens = te_session_usage(generator->session)->tokens;
	CHECK(tokens < 2 * n_instruction + 8 * 8);
	te_generator_reset(generator);
	te_generator_feed(generator, te_str(te_format(arena, "%.*s 7", TE_STR_ARGS(instruction))), &options);
	run(generator);
	CHECK(te_generator_row(generator, 0).n_shared >= n_instruction - 1);
	CHECK(te_session_usage(generator->session)->tokens - tokens < 8);
}

TEST(texts_to_stop_at_end_a_row_and_are_never_shown)
{
	TeModel    *model = fixture_model(arena, "causal-llama");
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
	TeGenerateOptions options = te_generate_defaults;
	TeGenerated whole;
	TeStr		stop;

	options.max_tokens = 30;
	te_generator_feed(generator, te_str(prompts[0]), &options);
	run(generator);
	whole = te_generator_row(generator, 0);
	CHECK(whole.finish == TE_FINISH_LENGTH && whole.n_tokens == 30 && whole.text.len > 12);
	stop = te_str_copy(arena, (TeStr) {whole.text.data + 8, 4});
	whole.text = te_str_copy(arena, whole.text);
	te_generator_reset(generator);
	options.stop = &stop;
	options.n_stop = 1;
	te_generator_feed(generator, te_str(prompts[0]), &options);
	while (te_generator_step(generator))
	{
		TeStr		text = te_generator_row(generator, 0).text;

		CHECK(text.len <= 8 && memcmp(text.data, whole.text.data, text.len) == 0);
	}
	CHECK(te_generator_row(generator, 0).finish == TE_FINISH_STOP);
	CHECK(te_generator_row(generator, 0).text.len <= 8);
}

TEST(guesses_change_nothing_and_save_passes)
{
	TeModel    *model = fixture_model(arena, "causal-llama");
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {.max_rows = 1});
	TeGenerateOptions options = te_generate_defaults;
	uint64_t	passes;

	options.max_tokens = 30;
	for (size_t i = 0; i < N_PROMPTS; i++)
	{
		TeGenerated result;

		te_generator_reset(generator);
		te_generator_feed(generator, te_str(prompts[i]), &options);
		passes = te_session_usage(generator->session)->batches;
		run(generator);
		result = te_generator_row(generator, 0);
		passes = te_session_usage(generator->session)->batches - passes;
		/* one for the prompt, which draws the first token; others draw one, and what was guessed right */
		CHECK(passes + generator->rows[0]->n_hit == result.n_tokens + (result.finish == TE_FINISH_END));
	}
}

/* What transformers' generate(num_beams=4, max_new_tokens=8) gives. */
static const struct
{
	const char *name;
	const char *prompt;
	int32_t		ids[8];
}			beams_of_reference[] = {
	{"causal-llama", "The smell of bread", {41, 298, 298, 298, 41, 41, 41, 298}},
	{"causal-llama", "a", {298, 298, 41, 298, 298, 298, 298, 298}},
	{"causal-llama", "so six", {50, 298, 298, 298, 41, 298, 298, 298}},
	{"causal-mistral", "The smell of bread", {228, 287, 33, 286, 251, 119, 25, 228}},
	{"causal-mistral", "a", {106, 295, 106, 106, 106, 106, 106, 106}},
	{"causal-mistral", "so six", {101, 54, 257, 54, 112, 23, 112, 23}},
	{"causal-qwen2", "The smell of bread", {138, 167, 218, 218, 55, 292, 167, 212}},
	{"causal-qwen2", "a", {65, 257, 124, 55, 55, 251, 124, 55}},
	{"causal-qwen2", "so six", {284, 284, 284, 284, 95, 55, 292, 284}},
};

TEST(beams_are_those_of_the_reference)
{
	for (size_t i = 0; i < TE_LENGTH(beams_of_reference); i++)
	{
		TeModel    *model = fixture_model(arena, beams_of_reference[i].name);
		TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
		TeGenerateOptions options = te_generate_defaults;
		const TeGenerateRow *row;

		options.max_tokens = 8;
		options.beams = 4;
		/* another row beside it changes nothing */
		te_generator_feed(generator, te_str(beams_of_reference[i].prompt), &options);
		options.beams = 1;
		te_generator_feed(generator, te_str(prompts[2]), &options);
		run(generator);
		row = generator->rows[0];
		CHECK(row->branch.n_ids == row->n_prompt + 8);
		CHECK(memcmp(row->branch.ids + row->n_prompt, beams_of_reference[i].ids, sizeof(beams_of_reference[i].ids)) == 0);
	}
}

TEST(scores_of_a_text_are_those_of_its_logits)
{
	TeModel    *model = fixture_model(arena, "causal-qwen2");
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
	size_t		n_out = (size_t) te_generator_outputs(generator);
	size_t		n;
	size_t		n_target;
	int32_t    *ids = te_prompt_tokens(generator, arena, te_str(prompts[6]), false, &n);
	const float *logits = plain_logits(arena, model, ids, n);
	TeTokenScore *scores;

	for (int again = 0; again < 2; again++)
	{
		size_t		n_scores;

		scores = te_generator_score(generator, te_str(prompts[6]), (TeStr) {NULL, 0}, arena, &n_scores);
		/* all but the beginning, which is the model's own */
		CHECK(n_scores == n - 1);
		for (size_t i = 0; i < n_scores; i++)
		{
			float	   *row = te_new_array(arena, float, n_out);

			te_softmax(logits + i * n_out, row, (int) n_out);
			CHECK(scores[i].id == ids[i + 1]);
			CHECK_NEAR(scores[i].logprob, log(row[ids[i + 1]]), 1e-4);
		}
	}
	te_generator_score(generator, te_str(prompts[6]), te_str(" street"), arena, &n_target);
	CHECK(n_target > 0 && n_target < 8);
}

/* A tokenizer may have more tokens than the model it was imported with. */
TEST(tokens_beyond_the_model_are_errors)
{
	TeFolder	folder = fixture_folder(arena, "causal-llama");
	TeFolder	tokenizers = te_std_folder(arena, TE_TEST_MODELS "/fixtures/tokenizers");
	TeImportOptions options = {.tokenizer = fixture_json(arena, &tokenizers, "gpt2.json")};
	TeModel    *model = load_model(arena, te_import_folder(arena, &folder, &options));
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
	size_t		n;
	int			refused = 0;

	for (size_t i = 0; i < N_PROMPTS; i++)
	{
		TE_TRY
		{
			te_generator_score(generator, TE_STR("a"), te_str(prompts[i]), arena, &n);
		}
		TE_CATCH
		{
			CHECK(te_std_error()->code == TE_ERR_CORRUPT);
			refused++;
		}
		TE_END_TRY;
	}
	CHECK(refused > 0);
}

/* Beams that fit by themselves do so whatever else there is. */
TEST(beams_have_the_pages_that_they_were_promised)
{
	TeModel    *model = fixture_model(arena, "causal-llama");
	size_t		page = te_cache_page_bytes(generator_of(arena, model, (TeGeneratorLimits) {0})->cache);
	TeGenerateOptions options = te_generate_defaults;

	options.max_tokens = 70;
	for (options.beams = 2; options.beams < 6; options.beams++)
	{
		TeGenerateOptions one = options;
		TeGenerator *tight = NULL;
		size_t		pages = 1;

		one.beams = 1;
		for (bool fits = false; !fits; pages++)
		{
			tight = generator_of(arena, model, (TeGeneratorLimits) {.cache_bytes = pages * page});
			TE_TRY
			{
				te_generator_feed(tight, te_str(prompts[0]), &options);
				fits = true;
			}
			TE_CATCH
			{
				CHECK(te_std_error()->code == TE_ERR_LIMIT);
			}
			TE_END_TRY;
		}
		for (size_t i = 0; i < N_PROMPTS; i++)
			te_generator_feed(tight, te_str(prompts[i]), &one);
		run(tight);
		CHECK(te_generator_row(tight, 0).finish != TE_FINISH_NONE && te_generator_row(tight, N_PROMPTS).finish != TE_FINISH_NONE);
	}
}

TEST(what_does_not_fit_is_an_error)
{
	TeModel    *model = fixture_model(arena, "causal-llama");
	TeGenerator *generator = generator_of(arena, model, (TeGeneratorLimits) {0});
	TeGenerator *small = generator_of(arena, model, (TeGeneratorLimits) {.cache_bytes = 1});
	TeGenerateOptions options = te_generate_defaults;
	char	   *longer = te_format(arena, "%s %s %s %s", prompts[6], prompts[6], prompts[6], prompts[6]);

	CHECK_THROWS(TE_ERR_TOO_LONG, te_generator_feed(generator, te_str(longer), &options));
	CHECK_THROWS(TE_ERR_LIMIT, te_generator_feed(small, te_str("a"), &options));
	/* as many as the context has room for */
	te_generator_feed(generator, te_str(prompts[2]), &options);
	run(generator);
	CHECK(te_generator_row(generator, 0).finish == TE_FINISH_LENGTH);
	CHECK(te_generator_row(generator, 0).n_prompt + te_generator_row(generator, 0).n_tokens ==
		  (size_t) te_model_context_length(model));
	CHECK_THROWS(TE_ERR_UNSUPPORTED, generator_of(arena, fixture_model(arena, "bert"), (TeGeneratorLimits) {0}));
}

TEST_MAIN()
