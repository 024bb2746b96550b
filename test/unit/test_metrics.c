/*-------------------------------------------------------------------------
 * test_metrics.c
 *	  Metrics: the numbers of scipy, scikit-learn, seqeval and SQuAD's script
 *	  (models/fixtures/metrics), and what those leave undefined.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "train/report.h"

#define TOLERANCE 1e-12

static const TeAverage averages[] = {TE_AVERAGE_MICRO, TE_AVERAGE_MACRO, TE_AVERAGE_WEIGHTED};
static const char *const average_names[] = {"micro", "macro", "weighted"};

static const TeJson *
cases(TeArena *arena, const char *name)
{
	TeFolder	folder = fixture_folder(arena, "metrics");

	return te_json_get(fixture_json(arena, &folder, "expected.json"), name);
}

static double
real(const TeJson *item)
{
	return item->kind == TE_JSON_INTEGER ? (double) item->integer : item->real;
}

static double *
reals(TeArena *arena, const TeJson *array)
{
	double	   *values = te_new_array(arena, double, array->n);

	for (uint32_t i = 0; i < array->n; i++)
		values[i] = real(&array->items[i]);
	return values;
}

static void
check_scores(TePrecisionRecall scores, const TeJson *expected)
{
	CHECK_NEAR(scores.precision, te_json_real(expected, "precision", NAN), TOLERANCE);
	CHECK_NEAR(scores.recall, te_json_real(expected, "recall", NAN), TOLERANCE);
	CHECK_NEAR(scores.f1, te_json_real(expected, "f1", NAN), TOLERANCE);
}

static void
check_averages(const TeLabelCounts *labels, size_t n, const TeJson *expected)
{
	for (size_t i = 0; i < TE_LENGTH(averages); i++)
		check_scores(te_precision_recall_average(labels, n, averages[i]), te_json_get(expected, average_names[i]));
}

TEST(labels_of_texts)
{
	const TeJson *list = cases(arena, "single");

	CHECK(list->n >= 6);
	for (uint32_t c = 0; c < list->n; c++)
	{
		const TeJson *expected = &list->items[c];
		const TeJson *actual = te_json_get(expected, "actual");
		const TeJson *predicted = te_json_get(expected, "predicted");
		size_t		n = (size_t) te_json_int(expected, "labels", 0);
		TeLabelCounts *labels = te_new_array(arena, TeLabelCounts, n);

		for (uint32_t i = 0; i < actual->n; i++)
			te_count_label(labels, (int) actual->items[i].integer, (int) predicted->items[i].integer);
		CHECK_NEAR(te_accuracy(labels, n), te_json_real(expected, "accuracy", NAN), TOLERANCE);
		CHECK_NEAR(te_matthews(labels, n), te_json_real(expected, "matthews", NAN), TOLERANCE);
		check_averages(labels, n, te_json_get(expected, "averages"));
		for (size_t i = 0; i < n; i++)
			check_scores(te_precision_recall(&labels[i]), &te_json_get(expected, "each")->items[i]);
	}
}

TEST(several_labels_a_text)
{
	const TeJson *list = cases(arena, "several");

	for (uint32_t c = 0; c < list->n; c++)
	{
		const TeJson *expected = &list->items[c];
		const TeJson *actual = te_json_get(expected, "actual");
		const TeJson *predicted = te_json_get(expected, "predicted");
		size_t		n = (size_t) te_json_int(expected, "labels", 0);
		TeLabelCounts *labels = te_new_array(arena, TeLabelCounts, n);
		size_t		same = 0;

		for (uint32_t i = 0; i < actual->n; i++)
		{
			bool	   *a = te_new_array(arena, bool, n);
			bool	   *p = te_new_array(arena, bool, n);

			for (size_t j = 0; j < n; j++)
			{
				a[j] = actual->items[i].items[j].integer != 0;
				p[j] = predicted->items[i].items[j].integer != 0;
			}
			same += te_count_labels(labels, a, p, n);
		}
		CHECK_NEAR((double) same / actual->n, te_json_real(expected, "subset", NAN), TOLERANCE);
		check_averages(labels, n, te_json_get(expected, "averages"));
	}
}

TEST(numbers)
{
	const TeJson *list = cases(arena, "numbers");

	for (uint32_t c = 0; c < list->n; c++)
	{
		const TeJson *expected = &list->items[c];
		size_t		n = te_json_get(expected, "actual")->n;
		double	   *actual = reals(arena, te_json_get(expected, "actual"));
		double	   *predicted = reals(arena, te_json_get(expected, "predicted"));

		CHECK_NEAR(te_pearson(actual, predicted, n), te_json_real(expected, "pearson", NAN), 1e-9);
		CHECK_NEAR(te_spearman(arena, actual, predicted, n), te_json_real(expected, "spearman", NAN), 1e-12);
		CHECK_NEAR(te_mean_squared_error(actual, predicted, n) / te_json_real(expected, "mse", NAN), 1, 1e-12);
		CHECK_NEAR(te_mean_absolute_error(actual, predicted, n) / te_json_real(expected, "mae", NAN), 1, 1e-12);
		CHECK_NEAR(te_r2(actual, predicted, n) / te_json_real(expected, "r2", NAN), 1, 1e-12);
	}
}

/* "B-FOOD", by the types' names. */
static TeWordTag
read_tag(TeStr tag, const TeJson *types)
{
	static const char places[] = "OBIES";
	TeWordTag	result = {.place = (TePlace) (strchr(places, tag.data[0]) - places)};

	for (uint32_t i = 0; i < types->n; i++)
	{
		if (tag.len > 2 && te_str_eq((TeStr) {tag.data + 2, tag.len - 2}, types->items[i].string))
			result.type = (int) i;
	}
	return result;
}

static TeWordTag *
read_tags(TeArena *arena, const TeJson *row, const TeJson *types)
{
	TeWordTag  *tags = te_new_array(arena, TeWordTag, row->n);

	for (uint32_t i = 0; i < row->n; i++)
		tags[i] = read_tag(row->items[i].string, types);
	return tags;
}

TEST(entities)
{
	const TeJson *list = cases(arena, "spans");

	for (uint32_t c = 0; c < list->n; c++)
	{
		const TeJson *expected = &list->items[c];
		const TeJson *types = te_json_get(expected, "types");
		const TeJson *actual = te_json_get(expected, "actual");
		const TeJson *predicted = te_json_get(expected, "predicted");
		TeLabelCounts *counts = te_new_array(arena, TeLabelCounts, types->n);

		for (uint32_t i = 0; i < actual->n; i++)
			te_count_entities(read_tags(arena, &actual->items[i], types), read_tags(arena, &predicted->items[i], types),
							  actual->items[i].n, counts);
		check_averages(counts, types->n, te_json_get(expected, "averages"));
		for (uint32_t i = 0; i < types->n; i++)
			check_scores(te_precision_recall(&counts[i]), &te_json_get(expected, "each")->items[i]);
	}
}

TEST(answers)
{
	const TeJson *list = cases(arena, "answers");

	CHECK(list->n >= 20);
	for (uint32_t i = 0; i < list->n; i++)
	{
		const TeJson *expected = &list->items[i];
		TeAnswerScore score = te_answer_score(arena, te_json_str(expected, "actual", ""), te_json_str(expected, "predicted", ""));

		if (!CHECK(score.exact == te_json_real(expected, "exact", NAN))
			|| !CHECK(fabs(score.f1 - te_json_real(expected, "f1", NAN)) <= 1e-7))	/* it computes in f32 */
			fprintf(stderr, "  answer %u: %g, %g\n", i, score.exact, score.f1);
	}
	CHECK_THROWS(TE_ERR_INVALID, te_answer_score(arena, TE_STR("a\xff"), TE_STR("a")));
}

TEST(what_is_undefined)
{
	static const double same[] = {0.1, 0.1, 0.1};
	static const double rising[] = {1, 2, 3};
	static const double broken[] = {1, NAN, 3};
	TeLabelCounts none[2] = {{0}};

	CHECK(isnan(te_accuracy(none, 2)) && isnan(te_matthews(none, 2)));
	CHECK(te_precision_recall_average(none, 2, TE_AVERAGE_MACRO).f1 == 0);
	CHECK(te_precision_recall_average(none, 2, TE_AVERAGE_WEIGHTED).f1 == 0);
	CHECK(isnan(te_pearson(same, rising, 3)) && isnan(te_pearson(rising, same, 3)) && isnan(te_pearson(rising, rising, 1)));
	CHECK(isnan(te_spearman(arena, same, rising, 3)) && isnan(te_spearman(arena, broken, rising, 3)));
	CHECK(isnan(te_r2(same, rising, 3)) && isnan(te_r2(rising, rising, 0)));
	CHECK(isnan(te_mean_squared_error(rising, rising, 0)) && isnan(te_mean_absolute_error(rising, rising, 0)));
	CHECK(isnan(te_perplexity(0, 0)));
	CHECK_NEAR(te_perplexity(3 * log(7), 3), 7, 1e-12);
}

TEST(ranks_are_honest)
{
	static const float wrong[] = {0.1f, 0.5f, 0.5f, NAN, 0.9f};

	CHECK(te_rank(1, wrong, 3) == 1);
	CHECK(te_rank(0.7f, wrong, 5) == 3);
	CHECK(te_rank(0.5f, wrong, 3) == 3);		/* equal ones are before it */
	CHECK(te_rank(0.2f, wrong, 0) == 1);
	CHECK(te_rank(NAN, wrong, 3) == 4);
}

TEST_MAIN()
