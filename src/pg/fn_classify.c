/*-------------------------------------------------------------------------
 * fn_classify.c
 *	  classify(), classify_scores(), classify_pinned(), sentiment(),
 *	  sentiment_score() and intent(), with their array twins.
 *
 * All are the engine's task "classify": a text becomes one score a label.
 * What is made of the scores is a ScoresFunction; where the model's name comes
 * from is a setting.  A function of SQL is a pair of the two, over one text or an array.
 *
 * sentiment() says positive, negative or neutral whatever the model calls its
 * labels, so that a query outlives its model; how positive a label is comes from the engine (te_label_polarities).
 *
 * Batches of calls (batch_funcs.c) share what arrays of texts do, tr_label_each().
 *
 * To add one: a ScoresFunction if need be, its TrLabeller, its two entry
 * points, and rows in batch_funcs.c.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* A model that classifies, and what is known of its labels. */
typedef struct Classifier
{
	TrModel    *model;
	const TeModel *engine;
	int			n;				/* labels */
	float	   *polarities;		/* of each, where the labeller wants them */
} Classifier;

/* A Datum out of the scores of a text. */
typedef Datum (*ScoresFunction) (const Classifier *classifier, const float *scores);

struct TrLabeller
{
	TrUse		use;
	bool		polar;			/* the labels must be those of a sentiment model */
	Oid			type;			/* of the result */
	ScoresFunction function;
};

/* ---- what is made of scores ---- */

static int
best_label(const Classifier *classifier, const float *scores)
{
	int			best = 0;

	for (int i = 1; i < classifier->n; i++)
		if (scores[i] > scores[best])
			best = i;
	return best;
}

static Datum
label_of(const Classifier *classifier, const float *scores)
{
	return PointerGetDatum(tr_text(te_model_label(classifier->engine, best_label(classifier, scores))));
}

static Datum
sentiment_of(const Classifier *classifier, const float *scores)
{
	float		polarity = classifier->polarities[best_label(classifier, scores)];

	return CStringGetTextDatum(polarity > 0 ? "positive" : polarity < 0 ? "negative" : "neutral");
}

/* The expected polarity: with two labels, P(positive) - P(negative). */
static Datum
sentiment_score_of(const Classifier *classifier, const float *scores)
{
	double		sum = 0;

	for (int i = 0; i < classifier->n; i++)
		sum += (double) scores[i] * classifier->polarities[i];
	return Float4GetDatum((float4) Max(-1, Min(1, sum)));
}

const TrLabeller tr_classify_labeller = {
	TR_USE_CLASSIFY, false, TEXTOID, label_of
};
const TrLabeller tr_sentiment_labeller = {
	TR_USE_SENTIMENT, true, TEXTOID, sentiment_of
};
const TrLabeller tr_sentiment_score_labeller = {
	TR_USE_SENTIMENT, true, FLOAT4OID, sentiment_score_of
};
const TrLabeller tr_intent_labeller = {
	TR_USE_INTENT, false, TEXTOID, label_of
};

/* ---- models ---- */

/* Labels as a list for a message, shortened. */
static char *
list_labels(const Classifier *classifier)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < classifier->n && i < 5; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", tr_cstring(te_model_label(classifier->engine, i)));
	if (classifier->n > 5)
		appendStringInfoString(&list, ", ...");
	return list.data;
}

static void
find_polarities(Classifier *classifier)
{
	TeStr	   *labels = palloc(sizeof(TeStr) * Max(classifier->n, 1));

	classifier->polarities = palloc(sizeof(float) * Max(classifier->n, 1));
	for (int i = 0; i < classifier->n; i++)
		labels[i] = te_model_label(classifier->engine, i);
	if (!te_label_polarities(labels, classifier->n, classifier->polarities))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the model's labels do not say what is positive and what is negative"),
				 errdetail("Its labels are %s.", list_labels(classifier)),
				 errhint("Use transformer.classify(), or import the model again with labels such as \"negative\" and \"positive\".")));
	pfree(labels);
}

static Classifier
make_classifier(TrModel *model, const TrLabeller *labeller)
{
	Classifier	classifier = {
		.model = model,
		.engine = tr_model_engine(model),
		.n = te_model_labels(tr_model_engine(model)),
	};

	if (labeller->polar)
		find_polarities(&classifier);
	return classifier;
}

/* ---- one text ---- */

static const TeJobOptions no_options;

/* Scores of a text, palloc'd. */
static float *
score_text(const Classifier *classifier, text *input)
{
	TeJob	   *job = tr_job_begin(classifier->model, "classify", &no_options);
	float	   *scores = palloc(sizeof(float) * classifier->n);
	int			n;

	te_job_feed(job, tr_utf8(input), (TeStr) {NULL, 0});
	te_job_run(job);
	te_model_scores(classifier->engine, te_job_vector(job, 0, &n), scores);
	(void) tr_job_end(classifier->model, job);
	return scores;
}

static Datum
label_text(FunctionCallInfo fcinfo, const TrLabeller *labeller)
{
	TrModel    *model;
	Classifier	classifier;
	Datum		found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 1), labeller->use);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	classifier = make_classifier(model, labeller);
	return labeller->function(&classifier, score_text(&classifier, PG_GETARG_TEXT_PP(0)));
}

/* ---- many texts ---- */

typedef struct ScoresSink
{
	const TrLabeller *labeller;
	Classifier	classifier;
	float	   *scores;
	TrValueSink take;
	void	   *arg;
} ScoresSink;

static void
label_scores(void *arg, int i, const float *logits, int n)
{
	ScoresSink *sink = arg;

	if (logits == NULL)
	{
		sink->take(sink->arg, i, (Datum) 0, true);
		return;
	}
	te_model_scores(sink->classifier.engine, logits, sink->scores);
	sink->take(sink->arg, i, sink->labeller->function(&sink->classifier, sink->scores), false);
}

void
tr_label_each(TrModel *model, const TrLabeller *labeller, const TrTexts *texts, TrValueSink take, void *arg)
{
	ScoresSink	sink = {.labeller = labeller,.classifier = make_classifier(model, labeller),.take = take,.arg = arg};

	sink.scores = palloc(sizeof(float) * Max(sink.classifier.n, 1));
	tr_vectors_each(model, "classify", &no_options, texts, label_scores, &sink);
}

static void
label_to_set(void *arg, int i, Datum label, bool isnull)
{
	tr_set_add(arg, label, isnull);
}

static Datum
label_array(FunctionCallInfo fcinfo, const TrLabeller *labeller)
{
	TrTexts		texts;

	tr_set_begin(fcinfo, labeller->type);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));
	tr_label_each(tr_model_open(tr_text_argument(fcinfo, 1), labeller->use), labeller, &texts,
				  label_to_set, fcinfo);
	PG_RETURN_NULL();
}

/* ---- the functions ---- */

PG_FUNCTION_INFO_V1(transformer_classify);
Datum
transformer_classify(PG_FUNCTION_ARGS)
{
	return label_text(fcinfo, &tr_classify_labeller);
}

PG_FUNCTION_INFO_V1(transformer_classify_array);
Datum
transformer_classify_array(PG_FUNCTION_ARGS)
{
	return label_array(fcinfo, &tr_classify_labeller);
}

PG_FUNCTION_INFO_V1(transformer_classify_pinned);
Datum
transformer_classify_pinned(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tr_check_pinned(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	return label_text(fcinfo, &tr_classify_labeller);
}

PG_FUNCTION_INFO_V1(transformer_classify_pinned_array);
Datum
transformer_classify_pinned_array(PG_FUNCTION_ARGS)
{
	tr_check_pinned(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	return label_array(fcinfo, &tr_classify_labeller);
}

PG_FUNCTION_INFO_V1(transformer_sentiment);
Datum
transformer_sentiment(PG_FUNCTION_ARGS)
{
	return label_text(fcinfo, &tr_sentiment_labeller);
}

PG_FUNCTION_INFO_V1(transformer_sentiment_array);
Datum
transformer_sentiment_array(PG_FUNCTION_ARGS)
{
	return label_array(fcinfo, &tr_sentiment_labeller);
}

PG_FUNCTION_INFO_V1(transformer_sentiment_score);
Datum
transformer_sentiment_score(PG_FUNCTION_ARGS)
{
	return label_text(fcinfo, &tr_sentiment_score_labeller);
}

PG_FUNCTION_INFO_V1(transformer_sentiment_score_array);
Datum
transformer_sentiment_score_array(PG_FUNCTION_ARGS)
{
	return label_array(fcinfo, &tr_sentiment_score_labeller);
}

PG_FUNCTION_INFO_V1(transformer_intent);
Datum
transformer_intent(PG_FUNCTION_ARGS)
{
	return label_text(fcinfo, &tr_intent_labeller);
}

PG_FUNCTION_INFO_V1(transformer_intent_array);
Datum
transformer_intent_array(PG_FUNCTION_ARGS)
{
	return label_array(fcinfo, &tr_intent_labeller);
}

/* ---- all scores ---- */

typedef struct LabelScore
{
	int			label;
	float		score;
} LabelScore;

static int
compare_scores(const void *a, const void *b)
{
	const LabelScore *x = a;
	const LabelScore *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->label - y->label;
}

int *
tr_order_scores(const float *scores, int n)
{
	LabelScore *sorted = palloc(sizeof(LabelScore) * Max(n, 1));
	int		   *order = palloc(sizeof(int) * Max(n, 1));

	for (int i = 0; i < n; i++)
		sorted[i] = (LabelScore) {i, scores[i]};
	qsort(sorted, n, sizeof(LabelScore), compare_scores);
	for (int i = 0; i < n; i++)
		order[i] = sorted[i].label;
	pfree(sorted);
	return order;
}

typedef struct RowsSink
{
	Classifier	classifier;
	float	   *scores;
	TrRowSink	take;
	void	   *arg;
} RowsSink;

static void
scores_to_rows(void *arg, int i, const float *logits, int n)
{
	RowsSink   *sink = arg;
	int		   *order;

	if (logits == NULL)
		return;
	te_model_scores(sink->classifier.engine, logits, sink->scores);
	order = tr_order_scores(sink->scores, n);
	for (int j = 0; j < n; j++)
	{
		Datum		row[] = {
			PointerGetDatum(tr_text(te_model_label(sink->classifier.engine, order[j]))), Float4GetDatum(sink->scores[order[j]])
		};

		sink->take(sink->arg, i, row);
		pfree(DatumGetPointer(row[0]));
	}
	pfree(order);
}

void
tr_label_scores_each(TrModel *model, const TrTexts *texts, TrRowSink take, void *arg)
{
	RowsSink	sink = {.classifier = make_classifier(model, &tr_classify_labeller),.take = take,.arg = arg};

	sink.scores = palloc(sizeof(float) * Max(sink.classifier.n, 1));
	tr_vectors_each(model, "classify", &no_options, texts, scores_to_rows, &sink);
}

PG_FUNCTION_INFO_V1(transformer_classify_scores);
Datum
transformer_classify_scores(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_CLASSIFY, 1, &model))
	{
		Datum		input = PG_GETARG_DATUM(0);

		tr_label_scores_each(model, &TR_ONE_TEXT(&input), tr_row_to_set, fcinfo);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_classify_scores_array);
Datum
transformer_classify_scores_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_CLASSIFY, 1, &model))
	{
		TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

		tr_label_scores_each(model, &texts, tr_numbered_row_to_set, fcinfo);
	}
	return (Datum) 0;
}
