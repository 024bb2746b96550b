/*-------------------------------------------------------------------------
 * evaluate_labels.c
 *	  Forms of rows with labels: one of a text, several of a text, a score, a
 *	  tag of each word (evaluate.h).
 *
 * Labels are the model's, by name and case; a label that it does not have can never be predicted, so it is an error, not
 * a miss.  Where a model has a name twice, as tags may be, the first one stands for both.
 *
 * A word has the label of its first token, and where it has none (the tokenizer takes some characters away)
 * it is outside of entities.  Texts of any length go through the model in windows, as in entities(); nothing is cut.
 *-------------------------------------------------------------------------
 */
#include "pg/evaluate.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"

#define HINT_LABELS 10			/* that a message lists */
#define LEAST_SCORE 0.5f		/* that a label of several is given at */

static const TeJobOptions no_options;

/* ---- labels by name ---- */

typedef struct Labels
{
	int			n;
	TeStr	   *names;
	int		   *order;			/* by name; equal ones by number */
	int		   *first;			/* the first of the same name */
	float	   *scores;			/* work space of as many */
	TeLabelCounts *counts;
} Labels;

static int
compare_names(TeStr a, TeStr b)
{
	int			order = memcmp(a.data, b.data, Min(a.len, b.len));

	return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int
compare_numbers(const void *a, const void *b, void *arg)
{
	const TeStr *names = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			order = compare_names(names[x], names[y]);

	return order != 0 ? order : x - y;
}

static void
labels_begin(TrEvaluation *e, Labels *labels)
{
	int			n = te_model_labels(e->engine);

	labels->n = n;
	labels->names = palloc(sizeof(TeStr) * n);
	labels->order = palloc(sizeof(int) * n);
	labels->first = palloc(sizeof(int) * n);
	labels->scores = palloc(sizeof(float) * n);
	labels->counts = palloc0(sizeof(TeLabelCounts) * n);
	for (int i = 0; i < n; i++)
	{
		labels->names[i] = te_model_label(e->engine, i);
		labels->order[i] = i;
	}
	qsort_arg(labels->order, n, sizeof(int), compare_numbers, labels->names);
	for (int i = 0; i < n; i++)
	{
		bool		again = i > 0 && te_str_eq(labels->names[labels->order[i]], labels->names[labels->order[i - 1]]);

		labels->first[labels->order[i]] = again ? labels->first[labels->order[i - 1]] : labels->order[i];
	}
}

static TE_NORETURN void
throw_unknown(const TrEvaluation *e, const Labels *labels, text *label)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < labels->n && i < HINT_LABELS; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", tr_cstring(labels->names[i]));
	if (labels->n > HINT_LABELS)
		appendStringInfoString(&list, ", ...");
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("label \"%s\" in row " INT64_FORMAT " of the %s is none of the model's", text_to_cstring(label), e->query->row,
					e->query->what),
			 errdetail("The model has %d labels: %s.", labels->n, list.data)));
	pg_unreachable();
}

static int
find_label(const TrEvaluation *e, const Labels *labels, text *label)
{
	TeStr		name = tr_utf8(label);
	int			low = 0;
	int			high = labels->n - 1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;
		int			order = compare_names(name, labels->names[labels->order[middle]]);

		if (order == 0)
			return labels->first[labels->order[middle]];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	throw_unknown(e, labels, label);
}

/* One row, or word, with the label that it has and the one that it was given. */
static void
count(TrEvaluation *e, Labels *labels, int actual, int predicted)
{
	int			key[2] = {actual, predicted};
	TrCell	   *cell;
	bool		found;

	te_count_label(labels->counts, actual, predicted);
	if (e->cells == NULL)
		return;
	cell = hash_search(e->cells, key, HASH_ENTER, &found);
	cell->n = found ? cell->n + 1 : 1;
}

static void
show_averages(TrEvaluation *e, const TeLabelCounts *counts, int n, bool micro)
{
	if (micro)
		tr_eval_show_scores(e, "_micro", te_precision_recall_average(counts, n, TE_AVERAGE_MICRO));
	tr_eval_show_scores(e, "_macro", te_precision_recall_average(counts, n, TE_AVERAGE_MACRO));
	tr_eval_show_scores(e, "_weighted", te_precision_recall_average(counts, n, TE_AVERAGE_WEIGHTED));
}

/* "f1:positive"; of what occurs. */
static void
show_each(TrEvaluation *e, const TeLabelCounts *counts, const TeStr *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (te_label_occurs(&counts[i]))
			tr_eval_show_scores(e, psprintf(":%s", tr_cstring(names[i])), te_precision_recall(&counts[i]));
	}
}

/* ---- texts ---- */

static void
take_text(TrEvaluation *e)
{
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_TEXT);
	if (tr_eval_has(e, TR_COLUMN_PAIR))
		e->texts.pairs[e->texts.n] = tr_eval_text(e, TR_COLUMN_PAIR);
}

/* The slice through the model; the sink gets logits. */
static void
classify(TrEvaluation *e, TrVectorSink sink)
{
	TrTexts		texts = e->texts;

	if (!tr_eval_has(e, TR_COLUMN_PAIR))
		texts.pairs = NULL;
	tr_vectors_each(e->model, "classify", &no_options, &texts, sink, e);
}

/* ---- (text, label): the label that classify() gives ---- */

static bool
has_labels(const TeModel *engine)
{
	return te_model_labels(engine) > 1;
}

static void
label_begin(TrEvaluation *e)
{
	e->state = palloc0(sizeof(Labels));
	labels_begin(e, e->state);
}

static void
label_take(TrEvaluation *e)
{
	int		   *actual = palloc(sizeof(int));

	*actual = find_label(e, e->state, DatumGetTextPP(tr_eval_value(e, TR_COLUMN_LABEL)));
	e->items[e->texts.n] = actual;
	take_text(e);
}

static void
label_sink(void *arg, int i, const float *logits, int n)
{
	TrEvaluation *e = arg;
	Labels	   *labels = e->state;
	int			best = 0;

	te_model_scores(e->engine, logits, labels->scores);
	for (int j = 1; j < n; j++)
		if (labels->scores[j] > labels->scores[best])
			best = j;
	count(e, labels, *(int *) e->items[i], labels->first[best]);
}

static void
label_run(TrEvaluation *e)
{
	classify(e, label_sink);
}

static void
label_show(TrEvaluation *e)
{
	const Labels *labels = e->state;

	tr_eval_show(e, "accuracy", te_accuracy(labels->counts, labels->n));
	tr_eval_show(e, "matthews", te_matthews(labels->counts, labels->n));
	show_averages(e, labels->counts, labels->n, false); /* micro averages are the accuracy */
	show_each(e, labels->counts, labels->names, labels->n);
}

const TrFormOps tr_form_label = {has_labels, label_begin, label_take, label_run, label_show, true};

/* ---- (text, labels): those that score at least LEAST_SCORE ---- */

typedef struct Several
{
	Labels		labels;
	uint64		right;			/* rows of which all labels are right */
	bool	   *actual;			/* work space */
	bool	   *predicted;
} Several;

static void
labels_form_begin(TrEvaluation *e)
{
	Several    *state = palloc0(sizeof(Several));

	labels_begin(e, &state->labels);
	state->actual = palloc0(sizeof(bool) * state->labels.n);
	state->predicted = palloc0(sizeof(bool) * state->labels.n);
	e->state = state;
}

/* Numbers of the labels of a row, behind their count. */
static int *
read_labels(TrEvaluation *e, const Labels *labels, TrColumn column)
{
	TrTexts		given = tr_eval_texts(e, column);
	int		   *numbers = palloc(sizeof(int) * (given.n + 1));

	numbers[0] = given.n;
	for (int i = 0; i < given.n; i++)
		numbers[i + 1] = find_label(e, labels, DatumGetTextPP(given.values[i]));
	return numbers;
}

static void
labels_form_take(TrEvaluation *e)
{
	Several    *state = e->state;

	e->items[e->texts.n] = read_labels(e, &state->labels, TR_COLUMN_LABELS);
	take_text(e);
}

static void
labels_form_sink(void *arg, int i, const float *logits, int n)
{
	TrEvaluation *e = arg;
	Several    *state = e->state;
	const int  *numbers = e->items[i];

	te_model_scores(e->engine, logits, state->labels.scores);
	memset(state->actual, 0, sizeof(bool) * n);
	memset(state->predicted, 0, sizeof(bool) * n);
	for (int j = 0; j < numbers[0]; j++)
		state->actual[numbers[j + 1]] = true;
	for (int j = 0; j < n; j++)
		if (state->labels.scores[j] >= LEAST_SCORE)
			state->predicted[state->labels.first[j]] = true;
	state->right += te_count_labels(state->labels.counts, state->actual, state->predicted, n);
}

static void
labels_form_run(TrEvaluation *e)
{
	classify(e, labels_form_sink);
}

static void
labels_form_show(TrEvaluation *e)
{
	const Several *state = e->state;

	tr_eval_show(e, "subset_accuracy", (double) state->right / e->rows);
	show_averages(e, state->labels.counts, state->labels.n, true);
	show_each(e, state->labels.counts, state->labels.names, state->labels.n);
}

const TrFormOps tr_form_labels = {te_model_multi_label, labels_form_begin, labels_form_take, labels_form_run, labels_form_show};

/* ---- (text, score), (text, text_pair, score): what a model of one output says ---- */

static bool
has_one_output(const TeModel *engine)
{
	return te_model_labels(engine) == 1;
}

static void
score_begin(TrEvaluation *e)
{
	e->state = palloc0(sizeof(TrNumbers));
	tr_numbers_begin(e, e->state);
}

static void
score_take(TrEvaluation *e)
{
	double	   *score = palloc(sizeof(double));

	*score = tr_eval_score(e);
	e->items[e->texts.n] = score;
	take_text(e);
}

static void
score_sink(void *arg, int i, const float *logits, int n)
{
	TrEvaluation *e = arg;
	float		score;

	if (tr_eval_has(e, TR_COLUMN_PAIR))
		score = te_pair_relevance(e->engine, logits);
	else
		te_model_scores(e->engine, logits, &score);
	tr_numbers_add(e->state, *(double *) e->items[i], score);
}

static void
score_run(TrEvaluation *e)
{
	classify(e, score_sink);
}

static void
score_show(TrEvaluation *e)
{
	tr_numbers_show(e, e->state, true);
}

const TrFormOps tr_form_score = {has_one_output, score_begin, score_take, score_run, score_show};

/* ---- (tokens, labels): entities of words ---- */

typedef struct TagCounts
{
	Labels		labels;
	TeWordTag  *tags;			/* of each label */
	TeStr	   *types;
	int			n_types;
	TeLabelCounts *entities;	/* of each type */
	int			outside;		/* the first label that is outside; -1: none is */
	uint64		words;
	uint64		right;
} TagCounts;

/* A row of the slice. */
typedef struct TaggedRow
{
	TeStr		text;			/* its words with a space between them */
	TeWord	   *words;
	int		   *actual;			/* label of each, behind their number */
} TaggedRow;

static void
tags_begin(TrEvaluation *e)
{
	TagCounts  *state = palloc0(sizeof(TagCounts));
	TeJob	   *job = tr_job_begin(e->model, "tag", &no_options);
	TeTagger   *tagger = te_tagger_create(job);
	int			n = te_model_labels(e->engine);

	labels_begin(e, &state->labels);
	state->tags = palloc(sizeof(TeWordTag) * n);
	state->types = palloc(sizeof(TeStr) * n);
	state->n_types = te_tagger_types(tagger, state->tags, state->types);
	state->entities = palloc0(sizeof(TeLabelCounts) * n);
	state->outside = -1;
	for (int i = n - 1; i >= 0; i--)
		if (state->tags[i].place == TE_PLACE_OUTSIDE)
			state->outside = i;
	(void) tr_job_end(e->model, job);
	/* as entities() has it: a quarter of the memory, were each byte a token */
	e->most_bytes = Max(1, tr_session_limit() / 4 / (sizeof(TeToken) + 2 * sizeof(int32) + 2 * sizeof(float) * n));
	e->state = state;
}

static void
join_words(const TrTexts *words, TaggedRow *row)
{
	StringInfoData joined;

	initStringInfo(&joined);
	row->words = palloc(sizeof(TeWord) * Max(words->n, 1));
	for (int i = 0; i < words->n; i++)
	{
		TeStr		word = tr_utf8(DatumGetTextPP(words->values[i]));

		if (i > 0)
			appendStringInfoChar(&joined, ' ');
		row->words[i].start = joined.len;
		appendBinaryStringInfo(&joined, word.data, word.len);
		row->words[i].stop = joined.len;
	}
	row->text = (TeStr) {joined.data, joined.len};
}

static void
tags_take(TrEvaluation *e)
{
	TagCounts  *state = e->state;
	TrTexts		words = tr_eval_texts(e, TR_COLUMN_TOKENS);
	TaggedRow  *row = palloc(sizeof(TaggedRow));

	row->actual = read_labels(e, &state->labels, TR_COLUMN_LABELS);
	if (row->actual[0] != words.n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row " INT64_FORMAT " of the %s has %d tokens, but %d labels", e->query->row, e->query->what,
						words.n, row->actual[0]),
				 errhint("Each element of \"tokens\" has its label in the same place of \"labels\".")));
	join_words(&words, row);
	e->items[e->texts.n] = row;
}

/* predicted: -1 where a word has no token. */
static void
count_words(TrEvaluation *e, const int *actual, const int *predicted, int n)
{
	TagCounts  *state = e->state;
	TeWordTag  *is = palloc(sizeof(TeWordTag) * Max(n, 1));
	TeWordTag  *said = palloc0(sizeof(TeWordTag) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		int			label = predicted[i] >= 0 ? state->labels.first[predicted[i]] : state->outside;

		is[i] = state->tags[actual[i]];
		if (label >= 0)
		{
			said[i] = state->tags[label];
			count(e, &state->labels, actual[i], label);
		}
		state->right += label == actual[i];
	}
	state->words += n;
	te_count_entities(is, said, n, state->entities);
	pfree(is);
	pfree(said);
}

static void
tags_run(TrEvaluation *e)
{
	TeJob	   *job = tr_job_begin(e->model, "tag", &no_options);
	TeTagger   *tagger = te_tagger_create(job);

	for (int i = 0; i < e->texts.n; i++)
		(void) te_tagger_feed(tagger, ((TaggedRow *) e->items[i])->text);
	te_job_run(job);
	for (int i = 0; i < e->texts.n; i++)
	{
		TaggedRow  *row = e->items[i];
		int			n = row->actual[0];
		int		   *predicted = palloc(sizeof(int) * Max(n, 1));

		CHECK_FOR_INTERRUPTS();
		te_tagger_words(tagger, i, row->words, n, predicted);
		count_words(e, row->actual + 1, predicted, n);
		pfree(predicted);
	}
	(void) tr_job_end(e->model, job);
}

/* Entities as seqeval has them: plain names are micro averages. */
static void
tags_show(TrEvaluation *e)
{
	const TagCounts *state = e->state;

	tr_eval_show(e, "words", (double) state->words);
	tr_eval_show(e, "accuracy", state->words > 0 ? (double) state->right / state->words : get_float8_nan());
	tr_eval_show_scores(e, "", te_precision_recall_average(state->entities, state->n_types, TE_AVERAGE_MICRO));
	show_averages(e, state->entities, state->n_types, false);
	show_each(e, state->entities, state->types, state->n_types);
}

const TrFormOps tr_form_tags = {NULL, tags_begin, tags_take, tags_run, tags_show, true};
