/*-------------------------------------------------------------------------
 * fn_evaluate.c
 *	  evaluate() and confusion_matrix(): a model held against rows of a query
 *	  that say what is right.
 *
 * Which metrics there are follows from the model's task and the columns of the query:
 * together they name a form, a row of the table below.  Rows are streamed through a cursor (query_rows.c)
 * into slices that bound what is kept of their texts, and a slice goes through the engine's jobs as
 * any batch of texts does.  What is kept beyond a slice is counts; for correlations two numbers a
 * row, within transformer.session_memory.
 *
 * The numbers are those of what SQL's functions answer, on every row.  A text that was cut, a word
 * without tokens, a question without an answer counts like any other, and `truncated` says how many texts were cut.  A NULL,
 * an unknown label and an empty result are errors that name the row.
 *
 * The query runs as the caller, but between slices only: no job is open meanwhile, so it
 * may use models, this one included.
 *
 * To add a form: its operations (evaluate.h), a row of `forms`; a column: its name in TrColumn, a row of `columns`.
 *-------------------------------------------------------------------------
 */
#include "pg/evaluate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define SLICE_ROWS 1024
#define WHAT "evaluation query"

static const TrQueryColumn columns[TR_N_COLUMNS] = {
	[TR_COLUMN_TEXT] = {"text", TEXTOID,.optional = true},
	[TR_COLUMN_PAIR] = {"text_pair", TEXTOID,.optional = true},
	[TR_COLUMN_LABEL] = {"label", TEXTOID,.optional = true},
	[TR_COLUMN_LABELS] = {"labels", TEXTARRAYOID,.optional = true},
	[TR_COLUMN_SCORE] = {"score", FLOAT8OID,.optional = true},
	[TR_COLUMN_TOKENS] = {"tokens", TEXTARRAYOID,.optional = true},
	[TR_COLUMN_QUESTION] = {"question", TEXTOID,.optional = true},
	[TR_COLUMN_CONTEXT] = {"context", TEXTOID,.optional = true},
	[TR_COLUMN_ANSWER] = {"answer", TEXTOID,.optional = true},
	[TR_COLUMN_ANSWERS] = {"answers", TEXTARRAYOID,.optional = true},
	[TR_COLUMN_ANCHOR] = {"anchor", TEXTOID,.optional = true},
	[TR_COLUMN_POSITIVE] = {"positive", TEXTOID,.optional = true},
	[TR_COLUMN_NEGATIVE] = {"negative", TEXTOID,.optional = true},
	[TR_COLUMN_PROMPT] = {"prompt", TEXTOID,.optional = true},
	[TR_COLUMN_COMPLETION] = {"completion", TEXTOID,.optional = true},
};

#define BIT(column) (1u << TR_COLUMN_##column)

/* The first one that a model and a query fit is taken. */
static const struct Form
{
	const char *task;
	uint32		needs;			/* columns */
	uint32		takes;			/* columns that may be there, too */
	const TrFormOps *ops;
}			forms[] = {
	{"classification", BIT(TEXT) | BIT(LABEL), BIT(PAIR), &tr_form_label},
	{"classification", BIT(TEXT) | BIT(LABELS), BIT(PAIR), &tr_form_labels},
	{"classification", BIT(TEXT) | BIT(SCORE), BIT(PAIR), &tr_form_score},
	{"regression", BIT(TEXT) | BIT(SCORE), BIT(PAIR), &tr_form_score},
	{"next-sentence", BIT(TEXT) | BIT(PAIR) | BIT(LABEL), 0, &tr_form_label},
	{"token-classification", BIT(TOKENS) | BIT(LABELS), 0, &tr_form_tags},
	{"question-answering", BIT(QUESTION) | BIT(CONTEXT) | BIT(ANSWER), 0, &tr_form_answer},
	{"question-answering", BIT(QUESTION) | BIT(CONTEXT) | BIT(ANSWERS), 0, &tr_form_answer},
	{"fill-mask", BIT(TEXT), 0, &tr_form_masked},
	{"text-generation", BIT(PROMPT) | BIT(COMPLETION), 0, &tr_form_completed},
	{"text-generation", BIT(TEXT), 0, &tr_form_written},
	{"embedding", BIT(TEXT) | BIT(PAIR) | BIT(SCORE), 0, &tr_form_pairs},
	{"embedding", BIT(ANCHOR) | BIT(POSITIVE), BIT(NEGATIVE), &tr_form_ranking},
};

/* ---- the form ---- */

/* Is the form for such models? */
static bool
form_fits(const struct Form *form, const TeModel *engine)
{
	return te_str_is(te_model_task(engine), form->task) && (form->ops->fits == NULL || form->ops->fits(engine));
}

/* The columns that forms for the model look at. */
static uint32
columns_for(const TeModel *engine)
{
	uint32		wanted = 0;

	for (int i = 0; i < lengthof(forms); i++)
		if (form_fits(&forms[i], engine))
			wanted |= forms[i].needs | forms[i].takes;
	if (wanted == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a model for the task \"%s\" cannot be evaluated", tr_cstring(te_model_task(engine))),
				 te_model_labels(engine) > 0 ? errdetail("It has %d outputs.", te_model_labels(engine)) : 0));
	return wanted;
}

/* "(text, label)" */
static void
append_columns(StringInfo list, uint32 wanted)
{
	const char *before = "(";

	for (int i = 0; i < TR_N_COLUMNS; i++)
	{
		if (!(wanted & (1u << i)))
			continue;
		appendStringInfo(list, "%s%s", before, columns[i].name);
		before = ", ";
	}
	appendStringInfoChar(list, ')');
}

static TE_NORETURN void
throw_no_form(const TeModel *engine)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(forms); i++)
	{
		if (!form_fits(&forms[i], engine))
			continue;
		if (list.len > 0)
			appendStringInfoString(&list, " or ");
		append_columns(&list, forms[i].needs);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("%s lacks columns for a model of the task \"%s\"", WHAT, tr_cstring(te_model_task(engine))),
			 errhint("Columns are found by their names: give it %s.", list.data)));
	pg_unreachable();
}

static void
choose_form(TrEvaluation *e)
{
	uint32		found = 0;

	for (int i = 0; i < TR_N_COLUMNS; i++)
		found |= tr_eval_has(e, i) ? 1u << i : 0;
	for (int i = 0; i < lengthof(forms) && e->ops == NULL; i++)
		if (form_fits(&forms[i], e->engine) && (forms[i].needs & ~found) == 0)
			e->ops = forms[i].ops;
	if (e->ops == NULL)
		throw_no_form(e->engine);
}

/* Open the query with the columns that forms for the model have. */
static void
open_query(TrEvaluation *e, const char *sql)
{
	uint32		wanted = columns_for(e->engine);
	TrQueryColumn *asked = palloc(sizeof(columns));
	int			n = 0;

	for (int i = 0; i < TR_N_COLUMNS; i++)
	{
		e->place[i] = -1;
		if (!(wanted & (1u << i)))
			continue;
		e->place[i] = n;
		asked[n++] = columns[i];
	}
	e->query = tr_query_open(sql, WHAT, asked, n);
	for (int i = 0; i < TR_N_COLUMNS; i++)
		if (e->place[i] >= 0 && !e->query->found[e->place[i]])
			e->place[i] = -1;
}

/* ---- values of a row ---- */

bool
tr_eval_has(const TrEvaluation *e, TrColumn column)
{
	return e->place[column] >= 0;
}

Datum
tr_eval_value(const TrEvaluation *e, TrColumn column)
{
	return e->query->values[e->place[column]];
}

Datum
tr_eval_text(TrEvaluation *e, TrColumn column)
{
	text	   *value = DatumGetTextPP(tr_eval_value(e, column));
	Size		bytes = VARSIZE_ANY(value);

	e->bytes += bytes;
	return PointerGetDatum(memcpy(palloc(bytes), value, bytes));
}

TrTexts
tr_eval_texts(TrEvaluation *e, TrColumn column)
{
	ArrayType  *array = DatumGetArrayTypePCopy(tr_eval_value(e, column));
	TrTexts		texts = tr_texts(array);

	for (int i = 0; i < texts.n; i++)
		if (texts.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("element %d of column \"%s\" is null in row " INT64_FORMAT " of the %s", i + 1,
							columns[column].name, e->query->row, WHAT)));
	e->bytes += VARSIZE(array);
	return texts;
}

double
tr_eval_score(const TrEvaluation *e)
{
	double		score = DatumGetFloat8(tr_eval_value(e, TR_COLUMN_SCORE));

	if (!isfinite(score))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"score\" is %g in row " INT64_FORMAT " of the %s", score, e->query->row, WHAT),
				 errhint("Scores are finite numbers.")));
	return score;
}

/* ---- metrics ---- */

void
tr_eval_show(TrEvaluation *e, const char *metric, double value)
{
	ReturnSetInfo *result = (ReturnSetInfo *) e->fcinfo->resultinfo;
	Datum		row[] = {CStringGetTextDatum(metric), Float8GetDatum(value)};
	bool		nulls[] = {false, isnan(value)};

	tuplestore_putvalues(result->setResult, result->setDesc, row, nulls);
}

void
tr_eval_show_scores(TrEvaluation *e, const char *suffix, TePrecisionRecall scores)
{
	tr_eval_show(e, psprintf("precision%s", suffix), scores.precision);
	tr_eval_show(e, psprintf("recall%s", suffix), scores.recall);
	tr_eval_show(e, psprintf("f1%s", suffix), scores.f1);
}

void
tr_numbers_begin(TrEvaluation *e, TrNumbers *numbers)
{
	te_buffer_init(&numbers->actual, e->arena);
	te_buffer_init(&numbers->predicted, e->arena);
}

void
tr_numbers_add(TrNumbers *numbers, double actual, double predicted)
{
	te_buffer_add(&numbers->actual, &actual, sizeof(double));
	te_buffer_add(&numbers->predicted, &predicted, sizeof(double));
	numbers->n++;
}

void
tr_numbers_show(TrEvaluation *e, const TrNumbers *numbers, bool errors)
{
	const double *actual = (const double *) numbers->actual.data;
	const double *predicted = (const double *) numbers->predicted.data;

	tr_eval_show(e, "pearson", te_pearson(actual, predicted, numbers->n));
	tr_eval_show(e, "spearman", te_spearman(e->arena, actual, predicted, numbers->n));
	if (!errors)
		return;
	tr_eval_show(e, "mse", te_mean_squared_error(actual, predicted, numbers->n));
	tr_eval_show(e, "mae", te_mean_absolute_error(actual, predicted, numbers->n));
	tr_eval_show(e, "r2", te_r2(actual, predicted, numbers->n));
}

/* ---- slices ---- */

static void
begin_slice(TrEvaluation *e)
{
	MemoryContextReset(e->slice);
	MemoryContextSwitchTo(e->slice);
	e->texts = (TrTexts) {
		.values = palloc0(sizeof(Datum) * SLICE_ROWS),
		.pairs = palloc0(sizeof(Datum) * SLICE_ROWS),
		.nulls = palloc0(sizeof(bool) * SLICE_ROWS),
	};
	e->thirds = palloc0(sizeof(Datum) * SLICE_ROWS);
	e->items = palloc0(sizeof(void *) * SLICE_ROWS);
	e->bytes = 0;
	e->first_row = e->rows + 1;
}

/* Cut texts are those that jobs of this slice have cut: no SQL runs meanwhile. */
static void
run_slice(TrEvaluation *e)
{
	uint64		truncated = tr_usage()->truncated;
	TrContext	context;

	tr_context_push(&context, psprintf("while evaluating rows " INT64_FORMAT " to " INT64_FORMAT " of the query", e->first_row,
									   e->first_row + e->texts.n - 1));
	e->ops->run(e);
	tr_context_pop(&context);
	e->truncated += tr_usage()->truncated - truncated;
}

static void
evaluate_rows(TrEvaluation *e)
{
	begin_slice(e);
	while (tr_query_next(e->query))
	{
		e->ops->take(e);
		e->texts.n++;
		e->rows++;
		if (e->texts.n < SLICE_ROWS && e->bytes < e->most_bytes)
			continue;
		run_slice(e);
		begin_slice(e);
	}
	if (e->texts.n > 0)
		run_slice(e);
	MemoryContextSwitchTo(e->memory);
}

/* Check all that can be checked, run the query, and count; the memory of the evaluation stays current. */
static TrEvaluation *
evaluate(FunctionCallInfo fcinfo, bool cells)
{
	char	   *sql = tr_required_text(fcinfo, 1, "query");
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "transformer evaluation", ALLOCSET_DEFAULT_SIZES);
	TrEvaluation *e;

	tr_require(fcinfo, 0, "model");
	MemoryContextSwitchTo(memory);
	e = palloc0(sizeof(TrEvaluation));
	e->fcinfo = fcinfo;
	e->memory = memory;
	e->slice = AllocSetContextCreate(memory, "transformer slice", ALLOCSET_DEFAULT_SIZES);
	e->model = tr_model_open(PG_GETARG_TEXT_PP(0), TR_USE_TOKENS);	/* of any task */
	e->engine = tr_model_engine(e->model);
	e->arena = tr_arena(memory, "evaluation", tr_session_limit());
	e->most_bytes = Max(tr_session_limit() / 64, 1);
	open_query(e, sql);
	choose_form(e);
	if (cells && !e->ops->has_cells)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no confusion matrix of such rows"),
				 errdetail("It counts rows, or words, that have one label each."),
				 errhint("Use transformer.evaluate().")));
	if (cells)
	{
		HASHCTL		control = {.keysize = 2 * sizeof(int),.entrysize = sizeof(TrCell),.hcxt = memory};

		e->cells = hash_create("transformer cells", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	e->ops->begin(e);
	evaluate_rows(e);
	tr_query_close(e->query);
	return e;
}

/* ---- the functions ---- */

PG_FUNCTION_INFO_V1(transformer_evaluate);
Datum
transformer_evaluate(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	TrEvaluation *e;

	tr_srf_begin(fcinfo);
	e = evaluate(fcinfo, false);
	tr_eval_show(e, "rows", (double) e->rows);
	tr_eval_show(e, "truncated", (double) e->truncated);
	e->ops->show(e);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(e->memory);
	return (Datum) 0;
}

static int
compare_cells(const void *a, const void *b)
{
	const TrCell *x = *(TrCell *const *) a;
	const TrCell *y = *(TrCell *const *) b;

	return x->actual != y->actual ? x->actual - y->actual : x->predicted - y->predicted;
}

PG_FUNCTION_INFO_V1(transformer_confusion_matrix);
Datum
transformer_confusion_matrix(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	TrEvaluation *e;
	HASH_SEQ_STATUS status;
	TrCell	  **cells;
	TrCell	   *cell;
	int			n = 0;

	tr_srf_begin(fcinfo);
	e = evaluate(fcinfo, true);
	cells = palloc(sizeof(TrCell *) * Max(hash_get_num_entries(e->cells), 1));
	hash_seq_init(&status, e->cells);
	while ((cell = hash_seq_search(&status)) != NULL)
		cells[n++] = cell;
	qsort(cells, n, sizeof(TrCell *), compare_cells);
	for (int i = 0; i < n; i++)
	{
		Datum		row[] = {
			PointerGetDatum(tr_text(te_model_label(e->engine, cells[i]->actual))),
			PointerGetDatum(tr_text(te_model_label(e->engine, cells[i]->predicted))), Int64GetDatum(cells[i]->n)
		};

		tr_row_to_set(fcinfo, i, row);
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(e->memory);
	return (Datum) 0;
}
