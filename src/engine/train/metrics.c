/*-------------------------------------------------------------------------
 * metrics.c
 *	  How well predictions agree with what is so: labels, numbers, ranks.
 *
 * Pure functions over counts and arrays; report.h says what is undefined.
 * Sums are of doubles, in the order of the rows, so that a result depends on
 * nothing but its input.  Beside each is where its definition comes from; the unit test
 * compares with scipy and scikit-learn (models/fixtures/make_metrics.py).
 *
 * What is left out of an average.  A model may have labels that neither
 * occur nor are predicted.  They say nothing of it and are not averaged over, which is
 * scikit-learn's default for labels of texts, and here the rule for all.
 *-------------------------------------------------------------------------
 */
#include "train/report.h"

#include <math.h>
#include <stdlib.h>

/* ---- labels ---- */

static inline double
share(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double) part / (double) whole : 0;
}

/* van Rijsbergen, Information Retrieval (1979), chapter 7: F1 is the harmonic mean, here without dividing by it. */
TePrecisionRecall
te_precision_recall(const TeLabelCounts *label)
{
	return (TePrecisionRecall)
	{
		.precision = share(label->both, label->predicted),
			.recall = share(label->both, label->actual),
			.f1 = share(2 * label->both, label->predicted + label->actual),
	};
}

static TeLabelCounts
sum_counts(const TeLabelCounts *labels, size_t n)
{
	TeLabelCounts sum = {0};

	for (size_t i = 0; i < n; i++)
	{
		sum.actual += labels[i].actual;
		sum.predicted += labels[i].predicted;
		sum.both += labels[i].both;
	}
	return sum;
}

/* scikit-learn's precision_recall_fscore_support(): F1 is averaged itself, not made of averages. */
TePrecisionRecall
te_precision_recall_average(const TeLabelCounts *labels, size_t n, TeAverage average)
{
	TeLabelCounts all = sum_counts(labels, n);
	TePrecisionRecall sum = {0};
	double		weights = 0;

	if (average == TE_AVERAGE_MICRO)
		return te_precision_recall(&all);
	for (size_t i = 0; i < n; i++)
	{
		TePrecisionRecall one = te_precision_recall(&labels[i]);
		double		weight = average == TE_AVERAGE_WEIGHTED ? (double) labels[i].actual : te_label_occurs(&labels[i]);

		sum.precision += weight * one.precision;
		sum.recall += weight * one.recall;
		sum.f1 += weight * one.f1;
		weights += weight;
	}
	if (weights == 0)
		return (TePrecisionRecall) {0};
	return (TePrecisionRecall) {sum.precision / weights, sum.recall / weights, sum.f1 / weights};
}

double
te_accuracy(const TeLabelCounts *labels, size_t n)
{
	TeLabelCounts all = sum_counts(labels, n);

	return all.actual > 0 ? share(all.both, all.actual) : NAN;
}

/*
 * Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient (2004).  0 where all rows
 * are one label, or are said to be: a constant is no better than chance.
 */
double
te_matthews(const TeLabelCounts *labels, size_t n)
{
	TeLabelCounts all = sum_counts(labels, n);
	double		rows = (double) all.actual;
	double		agreed = (double) all.both * rows;
	double		actual = rows * rows;
	double		predicted = rows * rows;

	for (size_t i = 0; i < n; i++)
	{
		agreed -= (double) labels[i].actual * (double) labels[i].predicted;
		actual -= (double) labels[i].actual * (double) labels[i].actual;
		predicted -= (double) labels[i].predicted * (double) labels[i].predicted;
	}
	if (all.actual == 0)
		return NAN;
	return actual > 0 && predicted > 0 ? agreed / (sqrt(actual) * sqrt(predicted)) : 0;
}

/* ---- numbers ---- */

static double
mean(const double *x, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum / (double) n;
}

/* Are there two numbers that differ?  A mean of equal ones may differ from them by rounding. */
static bool
varies(const double *x, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		if (x[i] != x[0])
			return true;
	}
	return false;
}

double
te_mean_squared_error(const double *actual, const double *predicted, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (predicted[i] - actual[i]) * (predicted[i] - actual[i]);
	return n > 0 ? sum / (double) n : NAN;
}

double
te_mean_absolute_error(const double *actual, const double *predicted, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += fabs(predicted[i] - actual[i]);
	return n > 0 ? sum / (double) n : NAN;
}

/* The share of the variance that is explained: 1 - residual over total sum of squares. */
double
te_r2(const double *actual, const double *predicted, size_t n)
{
	double		middle = mean(actual, n);
	double		residual = 0;
	double		total = 0;

	if (!varies(actual, n))
		return NAN;
	for (size_t i = 0; i < n; i++)
	{
		residual += (actual[i] - predicted[i]) * (actual[i] - predicted[i]);
		total += (actual[i] - middle) * (actual[i] - middle);
	}
	return 1 - residual / total;
}

/* Pearson (1895), with means taken first, since sums of squares alone cancel. */
double
te_pearson(const double *x, const double *y, size_t n)
{
	double		mean_x = mean(x, n);
	double		mean_y = mean(y, n);
	double		xx = 0;
	double		yy = 0;
	double		xy = 0;

	if (!varies(x, n) || !varies(y, n))
		return NAN;
	for (size_t i = 0; i < n; i++)
	{
		xx += (x[i] - mean_x) * (x[i] - mean_x);
		yy += (y[i] - mean_y) * (y[i] - mean_y);
		xy += (x[i] - mean_x) * (y[i] - mean_y);
	}
	return fmax(-1, fmin(1, xy / (sqrt(xx) * sqrt(yy))));
}

typedef struct Ranked
{
	double		value;
	size_t		place;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

/* Ranks from 1; equal numbers share the mean of theirs (Kendall, Rank Correlation Methods, 1948). */
static double *
ranks(TeArena *scratch, const double *x, size_t n)
{
	Ranked	   *sorted = te_new_array(scratch, Ranked, n);
	double	   *result = te_new_array(scratch, double, n);
	size_t		end;

	for (size_t i = 0; i < n; i++)
		sorted[i] = (Ranked) {x[i], i};
	qsort(sorted, n, sizeof(Ranked), compare_ranked);
	for (size_t i = 0; i < n; i = end)
	{
		for (end = i + 1; end < n && sorted[end].value == sorted[i].value;)
			end++;
		for (size_t j = i; j < end; j++)
			result[sorted[j].place] = (double) (i + 1 + end) / 2;
	}
	return result;
}

/* Spearman (1904): Pearson's of the ranks, which is right with ties too. */
double
te_spearman(TeArena *scratch, const double *x, const double *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (isnan(x[i]) || isnan(y[i]))
			return NAN;
	}
	return te_pearson(ranks(scratch, x, n), ranks(scratch, y, n), n);
}

/* Jelinek et al. (1977): e to the mean negative log likelihood. */
double
te_perplexity(double sum_of_losses, uint64_t n)
{
	return n > 0 ? exp(sum_of_losses / (double) n) : NAN;
}

/* ---- rankings ---- */

/* A model that gives everything the same score has found nothing, so equal ones count as better; so does a NaN. */
size_t
te_rank(float right, const float *wrong, size_t n)
{
	size_t		rank = 1;

	for (size_t i = 0; i < n; i++)
		rank += !(wrong[i] < right);
	return rank;
}
