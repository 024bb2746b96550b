/*-------------------------------------------------------------------------
 * fn_mask.c
 *	  fill_mask() and its array twin: words for the mask of a text.
 *
 * The engine's task "fill" keeps the best top_k words of a text and no more,
 * so that what is kept of many texts is bounded however large the vocabulary is
 * (tr_jobs_each() cuts them into windows).  A word becomes text only when its
 * row is written.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define DEFAULT_TOP_K 5

typedef struct FillSink
{
	TrFillSink	take;
	void	   *arg;
} FillSink;

static void
take_words(void *arg, int i, const TeJob *job, size_t row)
{
	FillSink   *sink = arg;

	if (job == NULL)
		return;
	for (int k = 0; k < te_job_fills(job); k++)
	{
		TeFill		fill = te_job_fill(job, row, k, tr_scratch());
		text	   *token = tr_text(fill.token);
		text	   *sequence = tr_text(fill.sequence);

		CHECK_FOR_INTERRUPTS();
		sink->take(sink->arg, i, token, fill.score, sequence);
		pfree(token);
		pfree(sequence);
	}
}

void
tr_fill_each(TrModel *model, const TrTexts *texts, int top_k, TrFillSink take, void *arg)
{
	TeJobOptions options = {.top_k = top_k};

	if (top_k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("top_k must be at least 1")));
	tr_jobs_each(model, "fill", &options, texts, take_words, &(FillSink) {take, arg});
}

typedef struct RowSink
{
	ReturnSetInfo *result;
	bool		numbered;		/* rows begin with the text's number */
} RowSink;

static void
word_to_row(void *arg, int i, text *token, float score, text *sequence)
{
	RowSink    *sink = arg;
	Datum		values[] = {Int32GetDatum(i + 1), PointerGetDatum(token), Float4GetDatum(score), PointerGetDatum(sequence)};
	bool		nulls[lengthof(values)] = {false};
	int			skipped = sink->numbered ? 0 : 1;

	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values + skipped, nulls);
}

static Datum
fill_mask(FunctionCallInfo fcinfo, const TrTexts *texts, bool numbered)
{
	RowSink		sink = {.result = (ReturnSetInfo *) fcinfo->resultinfo,.numbered = numbered};

	tr_fill_each(tr_model_open(PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), tr_mask_model, "transformer.mask_model"),
				 texts, PG_ARGISNULL(1) ? DEFAULT_TOP_K : PG_GETARG_INT32(1), word_to_row, &sink);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_fill_mask);
Datum
transformer_fill_mask(PG_FUNCTION_ARGS)
{
	Datum		input;
	bool		isnull = false;

	tr_srf_begin(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	input = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	return fill_mask(fcinfo, &(TrTexts) {.values = &input,.nulls = &isnull,.n = 1}, false);
}

PG_FUNCTION_INFO_V1(transformer_fill_mask_array);
Datum
transformer_fill_mask_array(PG_FUNCTION_ARGS)
{
	TrTexts		texts;

	tr_srf_begin(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));
	return fill_mask(fcinfo, &texts, true);
}
