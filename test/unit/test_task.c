/*-------------------------------------------------------------------------
 * test_task.c
 *	  What tasks make of the numbers of a head: words for masks
 *	  and answers to questions, against the reference's pipelines.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

static TeModel *
load_folder(TeArena *arena, const char *name)
{
	TeFolder	folder = fixture_folder(arena, name);

	return load_model(arena, te_import_folder(arena, &folder, NULL));
}

static const TeJson *
expected_texts(TeArena *arena, const char *name)
{
	TeFolder	folder = fixture_folder(arena, name);

	return te_json_get(fixture_json(arena, &folder, "expected.json"), "texts");
}

/* A job that fills, in a session of its own. */
static TeJob *
fill_job(TeArena *arena, const TeModel *model, int top_k)
{
	TeSession  *session = te_session_create(arena, model, 0);

	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	return te_job_create(session, "fill", &(TeJobOptions) {.top_k = top_k});
}

/* ---- words for masks ---- */

static void
check_fills(TeArena *arena, const TeJob *job, size_t row, const TeJson *expected)
{
	if (!CHECK(te_job_fills(job) == (int) expected->n))
		return;
	for (uint32_t i = 0; i < expected->n; i++)
	{
		const TeJson *word = &expected->items[i];
		TeFill		fill = te_job_fill(job, row, (int) i, arena);

		CHECK_STR(fill.token, te_cstring(arena, te_json_str(word, "token", "")));
		CHECK_STR(fill.sequence, te_cstring(arena, te_json_str(word, "sequence", "")));
		CHECK_NEAR(fill.score, te_json_real(word, "score", -1), 1e-4);
	}
}

TEST(words_are_the_pipelines)
{
	int			n = 0;

	for (size_t f = 0; f < TE_LENGTH(head_families); f++)
	{
		const char *name = te_format(arena, "mask-%s", head_families[f]);
		const TeJson *texts;
		TeJob	   *job;
		size_t		row = 0;

		if (!has_fixture(arena, name))
			continue;
		texts = expected_texts(arena, name);
		job = fill_job(arena, load_folder(arena, name), 12);
		for (uint32_t i = 0; i < texts->n; i++)
		{
			if (te_json_get(&texts->items[i], "fills")->n > 0)
				te_job_feed(job, te_json_str(&texts->items[i], "text", ""), (TeStr) {NULL, 0});
		}
		te_job_run(job);
		for (uint32_t i = 0; i < texts->n; i++)
		{
			const TeJson *fills = te_json_get(&texts->items[i], "fills");

			if (fills->n > 0)
				check_fills(arena, job, row++, fills);
		}
		n += (int) row;
	}
	CHECK(n >= 28);
}

/* The best ones are those of a whole ordering, and all scores together are 1. */
TEST(words_are_the_largest)
{
	TeModel    *model = load_folder(arena, "mask-bert");
	TeStr		text = TE_STR("The baker opens the [MASK] at six.");
	TeJob	   *all = fill_job(arena, model, INT32_MAX);
	int			n = te_job_fills(all);
	double		sum = 0;

	te_job_feed(all, text, (TeStr) {NULL, 0});
	te_job_run(all);
	for (int i = 0; i < n; i++)
	{
		TeFill		fill = te_job_fill(all, 0, i, arena);

		sum += fill.score;
		CHECK(i == 0 || fill.score <= te_job_fill(all, 0, i - 1, arena).score);
	}
	CHECK_NEAR(sum, 1, 1e-5);
	for (int k = 1; k <= n; k = k * 2 + 1)
	{
		TeJob	   *some = fill_job(arena, model, k);

		te_job_feed(some, text, (TeStr) {NULL, 0});
		te_job_run(some);
		if (CHECK(te_job_fills(some) == k))
			CHECK_STR(te_job_fill(some, 0, k - 1, arena).sequence, te_cstring(arena, te_job_fill(all, 0, k - 1, arena).sequence));
	}
}

static void
run_fill(TeArena *arena, const TeModel *model, TeStr text)
{
	TeJob	   *job = fill_job(arena, model, 5);

	te_job_feed(job, text, (TeStr) {NULL, 0});
	te_job_run(job);
}

TEST(one_mask_is_needed)
{
	TeModel    *model = load_folder(arena, "mask-roberta");
	char	   *text = te_alloc(arena, 10000);

	CHECK_THROWS_LIKE(TE_ERR_INVALID, "has no mask token", run_fill(arena, model, TE_STR("The [MASK] boat")));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "has no mask token", run_fill(arena, model, TE_STR("")));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "has 2 mask tokens", run_fill(arena, model, TE_STR("The <mask> <mask>")));
	memset(text, ' ', 10000);
	for (int i = 0; i < 10000; i += 2)
		text[i] = 'b';
	memcpy(text + 9990, "<mask>", 6);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "has no mask token", run_fill(arena, model, (TeStr) {text, 10000}));
	memcpy(text, "<mask>", 6);
	run_fill(arena, model, (TeStr) {text, 9990});
	CHECK_THROWS(TE_ERR_INVALID, fill_job(arena, model, -1));
}

/* ---- answers ---- */

static TeAnswers *
answer_job(TeArena *arena, const TeModel *model, TeJob **job)
{
	*job = te_job_create(te_session_create(arena, model, 0), "tag", NULL);
	return te_answers_create(arena, *job);
}

static int
characters(const char *text, size_t bytes)
{
	int			n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (text[i] & 0xC0) != 0x80;
	return n;
}

static void
check_answer(TeArena *arena, TeAnswers *answers, size_t i, const TeJson *expected)
{
	TeStr		context = te_json_str(expected, "context", "");
	TeAnswer	best = te_answers_best(answers, i);

	if (!CHECK(best.found))
		return;
	CHECK_STR(((TeStr) {context.data + best.start, best.stop - best.start}), te_cstring(arena, te_json_str(expected, "answer", "")));
	CHECK_NEAR(best.score, te_json_real(expected, "score", -1), 1e-4);
	CHECK(characters(context.data, best.start) + 1 == (int) te_json_int_range(expected, "start", 0, 0, 100000));
	CHECK(characters(context.data, best.stop) == (int) te_json_int_range(expected, "stop", 0, 0, 100000));
}

/* All in one job, those apart that are too long. */
static size_t
check_answers(TeArena *arena, const char *name)
{
	TeFolder	folder = fixture_folder(arena, name);
	const TeJson *list = te_json_get(fixture_json(arena, &folder, "expected.json"), "answers");
	TeModel    *model = load_folder(arena, name);
	TeJob	   *job;
	TeAnswers  *answers = answer_job(arena, model, &job);
	size_t		n = 0;

	for (uint32_t i = 0; i < list->n; i++)
	{
		TeStr		question = te_json_str(&list->items[i], "question", "");
		TeStr		context = te_json_str(&list->items[i], "context", "");
		TeJob	   *other;

		if (te_json_get(&list->items[i], "answer") != NULL)
			te_answers_feed(answers, question, context);
		else
			CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "the question takes",
							  te_answers_feed(answer_job(arena, model, &other), question, context));
	}
	te_job_run(job);
	for (uint32_t i = 0; i < list->n; i++)
	{
		if (te_json_get(&list->items[i], "answer") != NULL)
			check_answer(arena, answers, n++, &list->items[i]);
	}
	return n;
}

TEST(answers_are_the_pipelines)
{
	size_t		n = 0;

	for (size_t f = 0; f < TE_LENGTH(head_families); f++)
	{
		const char *name = te_format(arena, "answer-%s", head_families[f]);

		n += has_fixture(arena, name) ? check_answers(arena, name) : 0;
	}
	CHECK(n >= 42);
}

TEST(nothing_answers_nothing)
{
	TeModel    *model = load_folder(arena, "answer-bert");
	TeJob	   *job;
	TeAnswers  *answers = answer_job(arena, model, &job);

	te_answers_feed(answers, TE_STR("Who?"), TE_STR(""));
	te_answers_feed(answers, TE_STR("Who?"), TE_STR(" \n "));
	te_answers_feed(answers, TE_STR("Who?"), TE_STR("The baker"));
	te_job_run(job);
	CHECK(!te_answers_best(answers, 0).found);
	CHECK(!te_answers_best(answers, 1).found);
	CHECK(te_answers_best(answers, 2).found);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "answers no questions", answer_job(arena, load_folder(arena, "token-bert"), &job));
}

TEST_MAIN()
