/*-------------------------------------------------------------------------
 * test_sample.c
 *	  Samplers against transformers' processors (models/fixtures/sampling), and what those leave open.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "model/sample.h"

#define DRAWS 4000
#define MOST 64

static const TeGenerateOptions plain = {.max_tokens = 8,.top_p = 1,.repetition_penalty = 1,.beams = 1,.length_penalty = 1};

typedef struct Expected
{
	const TeJson *json;
	size_t		n;
	float		logits[MOST];
	double		logprobs[MOST];
	size_t		n_prompt;
	int32_t		prompt[MOST];
	size_t		n_text;
	int32_t		text[MOST];
} Expected;

static double
number(const TeJson *node)
{
	if (node->kind == TE_JSON_NULL)
		return -INFINITY;
	return node->kind == TE_JSON_INTEGER ? (double) node->integer : node->real;
}

static Expected *
load(TeArena *arena)
{
	Expected   *e = te_new(arena, Expected);
	TeFolder	folder = fixture_folder(arena, "sampling");
	const TeJson *prompt;
	const TeJson *text;

	e->json = fixture_json(arena, &folder, "expected.json");
	e->n = te_json_get(e->json, "logits")->n;
	for (size_t i = 0; i < e->n; i++)
	{
		e->logits[i] = (float) number(&te_json_get(e->json, "logits")->items[i]);
		e->logprobs[i] = number(&te_json_get(e->json, "logprobs")->items[i]);
	}
	prompt = te_json_get(e->json, "prompt");
	text = te_json_get(e->json, "text");
	for (e->n_prompt = 0; e->n_prompt < prompt->n; e->n_prompt++)
		e->prompt[e->n_prompt] = (int32_t) prompt->items[e->n_prompt].integer;
	for (e->n_text = 0; e->n_text < text->n; e->n_text++)
		e->text[e->n_text] = (int32_t) text->items[e->n_text].integer;
	return e;
}

static TeGenerateOptions
options_of(const TeJson *node)
{
	TeGenerateOptions options = plain;

	options.temperature = (float) te_json_real(node, "temperature", 1);
	options.top_k = (int) te_json_int(node, "top_k", 0);
	options.top_p = (float) te_json_real(node, "top_p", 1);
	options.min_p = (float) te_json_real(node, "min_p", 0);
	options.repetition_penalty = (float) te_json_real(node, "repetition_penalty", 1);
	options.no_repeat_ngram = (int) te_json_int(node, "no_repeat_ngram", 0);
	return options;
}

static TeSampler *
sampler_of(TeArena *arena, const Expected *e, const TeGenerateOptions *options)
{
	TeSampler  *sampler = te_sampler_create(arena, options, (int) e->n, e->prompt, e->n_prompt);

	for (size_t i = 0; i < e->n_text; i++)
		te_sampler_accept(sampler, e->text[i]);
	return sampler;
}

static int32_t
next(TeSampler *sampler, const Expected *e, const uint64_t *allowed, double *logprob)
{
	float		logits[MOST];

	memcpy(logits, e->logits, sizeof(logits));
	return te_sampler_next(sampler, logits, allowed, logprob);
}

/* Each seed draws once: what is never drawn has no probability, the rest comes as often as it should. */
TEST(draws_are_those_of_the_reference)
{
	const Expected *e = load(arena);
	const TeJson *cases = te_json_get(e->json, "cases");
	TeArena    *work = te_arena_create(arena, "work");

	for (uint32_t c = 0; c < cases->n; c++)
	{
		TeGenerateOptions options = options_of(te_json_get(&cases->items[c], "options"));
		const TeJson *probabilities = te_json_get(&cases->items[c], "probabilities");
		int			drawn[MOST] = {0};

		te_generate_check(&options);
		for (int i = 0; i < DRAWS; i++)
		{
			double		logprob;
			int32_t		id;

			options.seed = (uint64_t) i;
			te_arena_reset(work);
			id = next(sampler_of(work, e, &options), e, NULL, &logprob);
			drawn[id]++;
			CHECK_NEAR(logprob, e->logprobs[id], 1e-5);
		}
		for (size_t i = 0; i < e->n; i++)
		{
			double		p = number(&probabilities->items[i]);

			CHECK_NEAR(drawn[i] / (double) DRAWS, p, 4.5 * sqrt(p * (1 - p) / DRAWS));
			CHECK(p > 0 || drawn[i] == 0);
		}
	}
}

TEST(the_best_are_those_of_the_reference)
{
	const Expected *e = load(arena);
	const TeJson *cases = te_json_get(e->json, "cases");

	for (uint32_t c = 0; c < cases->n; c++)
	{
		TeGenerateOptions options = options_of(te_json_get(&cases->items[c], "options"));
		const TeJson *best = te_json_get(&cases->items[c], "best");
		const TeJson *best_logprobs = te_json_get(&cases->items[c], "best_logprobs");
		float		logits[MOST];
		int32_t		ids[6];
		double		logprobs[6];

		memcpy(logits, e->logits, sizeof(logits));
		CHECK(te_sampler_best(sampler_of(arena, e, &options), logits, NULL, 6, ids, logprobs) == 6);
		for (int i = 0; i < 6; i++)
		{
			CHECK_NEAR(logprobs[i], number(&best_logprobs->items[i]), 1e-5);
			/* of equal ones the reference takes any */
			if (ids[i] < 20 || ids[i] > 23)
				CHECK(ids[i] == best->items[i].integer);
			CHECK(i == 0 || logprobs[i] < logprobs[i - 1] || (logprobs[i] == logprobs[i - 1] && ids[i] > ids[i - 1]));
		}
	}
}

TEST(the_best_of_few)
{
	const Expected *e = load(arena);
	uint64_t	allowed[1] = {1 << 5 | 1 << 9};
	float		logits[MOST];
	int32_t		ids[6];
	double		logprobs[6];

	memcpy(logits, e->logits, sizeof(logits));
	CHECK(te_sampler_best(sampler_of(arena, e, &plain), logits, allowed, 6, ids, logprobs) == 2);
	CHECK((ids[0] == 5 && ids[1] == 9) || (ids[0] == 9 && ids[1] == 5));
	CHECK(logprobs[0] >= logprobs[1]);
}

static int32_t
best_of(const Expected *e)
{
	size_t		best = 0;

	for (size_t i = 0; i < e->n; i++)
		best = e->logits[i] > e->logits[best] ? i : best;
	return (int32_t) best;
}

TEST(greedy_takes_the_first_of_the_best)
{
	Expected   *e = load(arena);
	int32_t		best = best_of(e);
	double		logprob;

	CHECK(next(sampler_of(arena, e, &plain), e, NULL, &logprob) == best);
	CHECK_NEAR(logprob, e->logprobs[best], 1e-6);
	e->logits[11] = e->logits[5] = e->logits[best];
	CHECK(next(sampler_of(arena, e, &plain), e, NULL, NULL) == 5);
}

TEST(a_mask_leaves_what_it_allows)
{
	const Expected *e = load(arena);
	TeGenerateOptions options = plain;
	uint64_t	allowed[1] = {UINT64_C(1) << 30 | UINT64_C(1) << 33};

	for (int i = 0; i < 50; i++)
	{
		double		logprob;

		options.temperature = i % 2 == 0 ? 0 : 5;
		options.seed = (uint64_t) i;
		CHECK(next(sampler_of(arena, e, &options), e, allowed, &logprob) == 33);
		CHECK_NEAR(logprob, e->logprobs[33], 1e-5);
	}
	/* what the model never makes, where the mask has nothing else */
	allowed[0] = UINT64_C(1) << 30;
	CHECK(next(sampler_of(arena, e, &options), e, allowed, NULL) == 30);
	/* n-grams that may not come again give way to the mask */
	allowed[0] = 1 << 12;
	options.no_repeat_ngram = 1;
	CHECK(next(sampler_of(arena, e, &options), e, allowed, NULL) == 12);
}

TEST(penalties_of_the_text_alone)
{
	const Expected *e = load(arena);
	TeGenerateOptions options = plain;
	TeSampler  *sampler;
	float		logits[MOST];

	options.presence_penalty = 0.5f;
	options.frequency_penalty = 0.25f;
	sampler = sampler_of(arena, e, &options);
	memcpy(logits, e->logits, sizeof(logits));
	te_sampler_next(sampler, logits, NULL, NULL);
	CHECK_NEAR(logits[40], e->logits[40] - 0.5 - 2 * 0.25, 1e-6);
	CHECK_NEAR(logits[7], e->logits[7] - 0.5 - 0.25, 1e-6);
	CHECK_NEAR(logits[11], e->logits[11], 0);	/* of the prompt */
}

TEST(a_copy_goes_its_own_way)
{
	const Expected *e = load(arena);
	TeGenerateOptions options = plain;
	TeSampler  *one;
	TeSampler  *two;

	options.temperature = 1;
	options.no_repeat_ngram = 1;
	options.seed = 3;
	one = sampler_of(arena, e, &options);
	for (int i = 0; i < 20; i++)
	{
		int32_t		id;

		two = te_sampler_copy(arena, one);
		id = next(one, e, NULL, NULL);
		CHECK(next(two, e, NULL, NULL) == id);
		te_sampler_accept(one, id);
		CHECK(next(one, e, NULL, NULL) != id);
		CHECK(next(two, e, NULL, NULL) == id);
	}
}

/* The draws of a row are independent, and the same whenever they are made. */
TEST(a_seed_is_a_text)
{
	Expected   *e = load(arena);
	TeGenerateOptions options = plain;
	int			different = 0;

	options.temperature = 1.5f;
	for (int i = 0; i < 20; i++)
	{
		TeSampler  *one;
		TeSampler  *two;

		options.seed = (uint64_t) i;
		one = te_sampler_create(arena, &options, (int) e->n, e->prompt, e->n_prompt);
		two = te_sampler_create(arena, &options, (int) e->n, e->prompt + 1, e->n_prompt - 1);
		for (int j = 0; j < 10; j++)
		{
			int32_t		id = next(one, e, NULL, NULL);

			CHECK(next(two, e, NULL, NULL) == id);
			different += id != 7;
			te_sampler_accept(one, id);
			te_sampler_accept(two, id);
		}
	}
	CHECK(different > 20);
}

/* Also where a digit of the key has them all. */
TEST(equal_logits_are_cut_by_their_ids)
{
	Expected   *e = load(arena);
	TeGenerateOptions options = plain;
	uint64_t	seen = 0;

	for (size_t i = 0; i < e->n; i++)
		e->logits[i] = -3;
	options.temperature = 1;
	options.top_p = 0.25f;
	for (int i = 0; i < 2000; i++)
	{
		options.seed = (uint64_t) i;
		seen |= UINT64_C(1) << next(sampler_of(arena, e, &options), e, NULL, NULL);
	}
	CHECK(seen == (UINT64_C(1) << e->n / 4) - 1);
	/* a temperature near 0 is greedy */
	e->logits[9] = -2.999f;
	options.temperature = 1e-30f;
	CHECK(next(sampler_of(arena, e, &options), e, NULL, NULL) == 9);
}

TEST(logits_that_are_no_numbers)
{
	Expected   *e = load(arena);
	float		saved = e->logits[17];

	e->logits[17] = NAN;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "token 17", next(sampler_of(arena, e, &plain), e, NULL, NULL));
	e->logits[17] = INFINITY;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "token 17", next(sampler_of(arena, e, &plain), e, NULL, NULL));
	e->logits[17] = saved;
	CHECK(next(sampler_of(arena, e, &plain), e, NULL, NULL) == best_of(e));
	for (size_t i = 0; i < e->n; i++)
		e->logits[i] = -INFINITY;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "no token", next(sampler_of(arena, e, &plain), e, NULL, NULL));
}

/* A large vocabulary against a plain computation. */
TEST(a_large_vocabulary)
{
	enum { N = 100003 };
	float	   *logits = te_new_array(arena, float, N);
	float	   *copy = te_new_array(arena, float, N);
	double		sum = 0;
	double		logprob;
	TeGenerateOptions options = plain;
	int			above = 0;
	int32_t		id;

	for (int i = 0; i < N; i++)
	{
		logits[i] = (float) sin(i * 0.37) * 12;
		sum += exp(logits[i]);
	}
	options.temperature = 1;
	options.top_k = 7;
	memcpy(copy, logits, N * sizeof(float));
	id = te_sampler_next(te_sampler_create(arena, &options, N, NULL, 0), copy, NULL, &logprob);
	for (int i = 0; i < N; i++)
		above += logits[i] > logits[id];
	CHECK(above < 7);
	CHECK_NEAR(logprob, logits[id] - log(sum), 1e-5);
}

TEST(options_out_of_range)
{
	static const TeStr empty[] = {{"", 0}};
	TeGenerateOptions wrong[16];
	size_t		n = 0;

#define WRONG(member, value) wrong[n] = plain; wrong[n++].member = value
	te_generate_check(&plain);
	WRONG(max_tokens, 0);
	WRONG(temperature, -1);
	WRONG(temperature, NAN);
	WRONG(top_k, -1);
	WRONG(top_p, 0);
	WRONG(top_p, 1.5f);
	WRONG(min_p, 2);
	WRONG(repetition_penalty, 0);
	WRONG(presence_penalty, INFINITY);
	WRONG(frequency_penalty, -200);
	WRONG(no_repeat_ngram, -2);
	WRONG(beams, 0);
	WRONG(length_penalty, NAN);
	WRONG(stop, empty);
	wrong[n - 1].n_stop = 1;
	WRONG(beams, 4);
	wrong[n - 1].temperature = 1;
	WRONG(grammar, TE_STR("root ::= \"a\""));
	wrong[n - 1].n_choices = 1;
	for (size_t i = 0; i < n; i++)
		CHECK_THROWS(TE_ERR_INVALID, te_generate_check(&wrong[i]));
}

TEST_MAIN()
