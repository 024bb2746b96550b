/*-------------------------------------------------------------------------
 * fn_answer.c
 *	  answer() and its array twin: the words of a context that answer a question.
 *
 * Windows, and what their numbers mean, are the engine's (te_answers_feed()).
 * Here inputs are taken some at a time, so that their texts and tokens stay
 * within a part of the session's memory; places of bytes become places of
 * characters.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define SLICE_INPUTS 1024

/* Feed inputs from `from` on, at most `bytes` of text but for the last one; gives the index behind it. */
static int
feed_slice(TeAnswers *answers, const TrTexts *pairs, int from, Size bytes, TeStr *contexts)
{
	int			i;
	Size		fed = 0;

	for (i = from; i < pairs->n && i - from < SLICE_INPUTS && fed < bytes; i++)
	{
		TeStr		question;

		if (pairs->nulls[i])
			continue;
		question = tr_utf8(DatumGetTextPP(pairs->values[i]));
		contexts[i - from] = tr_utf8(DatumGetTextPP(pairs->pairs[i]));
		(void) te_answers_feed(answers, question, contexts[i - from]);
		fed += question.len + contexts[i - from].len + TR_TEXT_OVERHEAD;
	}
	return i;
}

static void
take_answer(const TeAnswer *answer, TeStr context, int i, TrRowSink take, void *arg)
{
	TeStr		words = {context.data + answer->start, answer->stop - answer->start};
	int32		before = tr_characters((TeStr) {context.data, answer->start});
	Datum		row[] = {
		PointerGetDatum(tr_text(words)), Float4GetDatum((float4) answer->score),
		Int32GetDatum(before + 1), Int32GetDatum(before + tr_characters(words))
	};

	take(arg, i, row);
	pfree(DatumGetPointer(row[0]));
}

void
tr_answer_each(TrModel *model, const TrTexts *pairs, TrRowSink take, void *arg)
{
	static const TeJobOptions options;
	TeStr	   *contexts = palloc(sizeof(TeStr) * SLICE_INPUTS);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer answers", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			end;

	for (int from = 0; from < pairs->n; from = end)
	{
		TeJob	   *job = tr_job_begin(model, "tag", &options);
		TeAnswers  *answers = te_answers_create(tr_scratch(), job);
		size_t		n = 0;

		end = feed_slice(answers, pairs, from, tr_session_limit() / 512, contexts);
		te_job_run(job);
		for (int i = from; i < end; i++)
		{
			TeAnswer	answer = {0};

			CHECK_FOR_INTERRUPTS();
			if (!pairs->nulls[i])
				answer = te_answers_best(answers, n++);
			if (answer.found)
				take_answer(&answer, contexts[i - from], i, take, arg);
		}
		(void) tr_job_end(model, job);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	pfree(contexts);
}

PG_FUNCTION_INFO_V1(transformer_answer);
Datum
transformer_answer(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 2, TR_USE_ANSWER, 2, &model))
	{
		Datum		question = PG_GETARG_DATUM(0);
		Datum		context = PG_GETARG_DATUM(1);

		tr_answer_each(model, &TR_ONE_PAIR(&question, &context), tr_row_to_set, fcinfo);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_answer_array);
Datum
transformer_answer_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 2, TR_USE_ANSWER, 2, &model))
	{
		TrTexts		pairs = tr_pairs(PG_GETARG_DATUM(0), PG_GETARG_ARRAYTYPE_P(1));

		tr_answer_each(model, &pairs, tr_numbered_row_to_set, fcinfo);
	}
	return (Datum) 0;
}
