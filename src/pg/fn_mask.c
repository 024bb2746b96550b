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
#define WORD "a word for the mask", "Ask for fewer words by top_k, or use a database with encoding UTF8."

typedef struct FillSink
{
	TrRowSink	take;
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
		Datum		row_of_set[] = {
			PointerGetDatum(tr_text_as(fill.token, WORD)), Float4GetDatum(fill.score),
			PointerGetDatum(tr_text_as(fill.sequence, WORD))
		};

		CHECK_FOR_INTERRUPTS();
		sink->take(sink->arg, i, row_of_set);
		pfree(DatumGetPointer(row_of_set[0]));
		pfree(DatumGetPointer(row_of_set[2]));
	}
}

void
tr_fill_each(TrModel *model, const TrTexts *texts, const NullableDatum *top_k, TrRowSink take, void *arg)
{
	TeJobOptions options = {.top_k = top_k->isnull ? DEFAULT_TOP_K : DatumGetInt32(top_k->value)};

	if (options.top_k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("top_k must be at least 1")));
	tr_jobs_each(model, "fill", &options, texts, take_words, &(FillSink) {take, arg});
}

PG_FUNCTION_INFO_V1(transformer_fill_mask);
Datum
transformer_fill_mask(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_FILL, 2, &model))
	{
		Datum		input = PG_GETARG_DATUM(0);

		tr_fill_each(model, &TR_ONE_TEXT(&input), &fcinfo->args[1], tr_row_to_set, fcinfo);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_fill_mask_array);
Datum
transformer_fill_mask_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_FILL, 2, &model))
	{
		TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

		tr_fill_each(model, &texts, &fcinfo->args[1], tr_numbered_row_to_set, fcinfo);
	}
	return (Datum) 0;
}
