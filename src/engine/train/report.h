/*-------------------------------------------------------------------------
 * report.h
 *	  What is said of a model that was trained: metrics and charts.
 *
 * Both are pure: arrays in, numbers or a text out.  Nothing here knows a
 * model, a graph or a query, so that the trainer, evaluate() and the unit tests
 * mean the same by the same name.
 *
 * A metric that its input does not define (the correlation of a constant, the
 * mean of nothing) is NaN; SQL shows it as NULL.  Precision, recall and F1 are the
 * exception: of a label that nothing was, or was said to be, they are 0, as everybody has them.
 *
 * To add a metric: a function in metrics.c with its source, a case in
 * models/fixtures/make_metrics.py, a row in what pg/fn_evaluate.c shows.
 *-------------------------------------------------------------------------
 */
#ifndef TE_REPORT_H
#define TE_REPORT_H

#include "base/base.h"

/* ---- labels: of texts, of several per text, of entities (metrics.c) ---- */

/* What is counted of one label. */
typedef struct TeLabelCounts
{
	uint64_t	actual;			/* rows that are it */
	uint64_t	predicted;		/* rows that are said to be it */
	uint64_t	both;
} TeLabelCounts;

typedef enum TeAverage
{
	TE_AVERAGE_MICRO,			/* over all decisions */
	TE_AVERAGE_MACRO,			/* over labels that occur, all alike */
	TE_AVERAGE_WEIGHTED			/* over labels, by how often each is */
} TeAverage;

typedef struct TePrecisionRecall
{
	double		precision;
	double		recall;
	double		f1;
} TePrecisionRecall;

/* A row of one label each. */
static inline void
te_count_label(TeLabelCounts *labels, int actual, int predicted)
{
	labels[actual].actual++;
	labels[predicted].predicted++;
	labels[actual].both += actual == predicted;
}

/* A row of several labels, each of n there or not; whether all are right. */
static inline bool
te_count_labels(TeLabelCounts *labels, const bool *actual, const bool *predicted, size_t n)
{
	bool		right = true;

	for (size_t i = 0; i < n; i++)
	{
		labels[i].actual += actual[i];
		labels[i].predicted += predicted[i];
		labels[i].both += actual[i] && predicted[i];
		right = right && actual[i] == predicted[i];
	}
	return right;
}

/* Does the label occur at all?  Averages are over those that do. */
static inline bool
te_label_occurs(const TeLabelCounts *label)
{
	return label->actual > 0 || label->predicted > 0;
}

extern TePrecisionRecall te_precision_recall(const TeLabelCounts *label);
extern TePrecisionRecall te_precision_recall_average(const TeLabelCounts *labels, size_t n, TeAverage average);
/* Of rows with one label each. */
extern double te_accuracy(const TeLabelCounts *labels, size_t n);
extern double te_matthews(const TeLabelCounts *labels, size_t n);

/* ---- numbers (metrics.c) ---- */

extern double te_mean_squared_error(const double *actual, const double *predicted, size_t n);
extern double te_mean_absolute_error(const double *actual, const double *predicted, size_t n);
extern double te_r2(const double *actual, const double *predicted, size_t n);
extern double te_pearson(const double *x, const double *y, size_t n);
extern double te_spearman(TeArena *scratch, const double *x, const double *y, size_t n);
extern double te_perplexity(double sum_of_losses, uint64_t n);

/* ---- entities (metrics_spans.c) ---- */

/* What the tag of a word says of its place in an entity. */
typedef enum TePlace
{
	TE_PLACE_OUTSIDE,
	TE_PLACE_BEGIN,
	TE_PLACE_INSIDE,
	TE_PLACE_END,
	TE_PLACE_SINGLE
} TePlace;

typedef struct TeWordTag
{
	TePlace		place;
	int			type;			/* of the entity, from 0; of no meaning outside of one */
} TeWordTag;

/* Entities of a text of n words, counted by type: correct are those with the same words and type. */
extern void te_count_entities(const TeWordTag *actual, const TeWordTag *predicted, size_t n, TeLabelCounts *types);

/* ---- answers (metrics_answers.c) ---- */

typedef struct TeAnswerScore
{
	double		exact;			/* 1 or 0 */
	double		f1;				/* of their words */
} TeAnswerScore;

extern TeAnswerScore te_answer_score(TeArena *scratch, TeStr actual, TeStr predicted);

/* ---- rankings of what was found (metrics.c) ---- */

/* Where something right stands: the place of its score among those of what is wrong, from 1; last of equal ones. */
extern size_t te_rank(float right, const float *wrong, size_t n);

/* ---- charts of a training (chart_text.c, chart_svg.c; chart.c: what both share) ---- */

/* What is known of a run, by step.  Arrays of n; a NaN is nothing to be drawn, and so is an array that is NULL. */
typedef struct TeChart
{
	TeStr		title;
	size_t		n;
	const double *steps;		/* increasing */
	const double *losses;
	const double *eval_losses;
	const double *learning_rates;
} TeChart;

/* width columns and height lines in all, of characters that are one column wide; no line feed at the end. */
extern TeStr te_chart_text(TeArena *arena, const TeChart *chart, int width, int height);
/* A picture by itself, width and height in pixels. */
extern TeStr te_chart_svg(TeArena *arena, const TeChart *chart, int width, int height);

#endif							/* TE_REPORT_H */
