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
		fed += question.len + contexts[i - from].len;
	}
	return i;
}

/* Characters of UTF-8. */
static int
count_characters(const char *from, const char *to)
{
	int			n = 0;

	for (; from < to; from++)
		n += (*from & 0xC0) != 0x80;
	return n;
}

static void
take_answer(const TeAnswer *answer, TeStr context, int i, TrAnswerSink take, void *arg)
{
	text	   *words = tr_text((TeStr) {context.data + answer->start, answer->stop - answer->start});
	int			before = count_characters(context.data, context.data + answer->start);
	int			n = count_characters(context.data + answer->start, context.data + answer->stop);

	take(arg, i, words, (float) answer->score, before + 1, before + n);
	pfree(words);
}

void
tr_answer_each(TrModel *model, const TrTexts *pairs, TrAnswerSink take, void *arg)
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

typedef struct RowSink
{
	ReturnSetInfo *result;
	bool		numbered;		/* rows begin with the context's number */
} RowSink;

static void
answer_to_row(void *arg, int i, text *answer, float score, int start, int stop)
{
	RowSink    *sink = arg;
	Datum		values[] = {
		Int32GetDatum(i + 1), PointerGetDatum(answer), Float4GetDatum(score), Int32GetDatum(start), Int32GetDatum(stop)
	};
	bool		nulls[lengthof(values)] = {false};
	int			skipped = sink->numbered ? 0 : 1;

	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values + skipped, nulls);
}

static Datum
answer_pairs(FunctionCallInfo fcinfo, const TrTexts *pairs, bool numbered)
{
	RowSink		sink = {.result = (ReturnSetInfo *) fcinfo->resultinfo,.numbered = numbered};

	tr_answer_each(tr_model_open(PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), tr_answer_model, "transformer.answer_model"),
				   pairs, answer_to_row, &sink);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_answer);
Datum
transformer_answer(PG_FUNCTION_ARGS)
{
	Datum		question;
	Datum		context;
	bool		isnull = false;

	tr_srf_begin(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	question = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	context = PointerGetDatum(PG_GETARG_TEXT_PP(1));
	return answer_pairs(fcinfo, &(TrTexts) {.values = &question,.pairs = &context,.nulls = &isnull,.n = 1}, false);
}

PG_FUNCTION_INFO_V1(transformer_answer_array);
Datum
transformer_answer_array(PG_FUNCTION_ARGS)
{
	TrTexts		pairs;
	Datum		question;

	tr_srf_begin(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	question = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	pairs = tr_texts(PG_GETARG_ARRAYTYPE_P(1));
	pairs.pairs = pairs.values;
	pairs.values = palloc(sizeof(Datum) * Max(pairs.n, 1));
	for (int i = 0; i < pairs.n; i++)
		pairs.values[i] = question;
	return answer_pairs(fcinfo, &pairs, true);
}
