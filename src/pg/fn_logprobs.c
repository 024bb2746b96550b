/*-------------------------------------------------------------------------
 * fn_logprobs.c
 *	  token_logprobs() and perplexity(), with their array twins: how probable a
 *	  text is to a model that could have written it.
 *
 * Of a text alone all tokens count but the first, which nothing comes before (unless the
 * tokenizer begins a text with a special token).  With a target only its tokens count, and the text is what
 * stands before them.
 *-------------------------------------------------------------------------
 */
#include "pg/generate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* In tr_scratch(). */
static TeTokenScore *
score_tokens(TrModel *model, Datum input, const NullableDatum *target, size_t *n)
{
	TeGenerator *generator = tr_generator_begin(model, false);
	TeStr		follows = target->isnull ? (TeStr) {NULL, 0} : tr_utf8(DatumGetTextPP(target->value));
	TeTokenScore *scores = te_generator_score(generator, tr_utf8(DatumGetTextPP(input)), follows, tr_scratch(), n);

	tr_generator_end(generator, false);
	return scores;
}

/* ---- token_logprobs ---- */

/* A row for each token, with `input` before it where there are many texts. */
static void
tokens_to_set(FunctionCallInfo fcinfo, TrModel *model, Datum text_of, int input)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const TeTokenizer *tokenizer = te_model_tokenizer(tr_model_engine(model));
	size_t		n;
	TeTokenScore *scores = score_tokens(model, text_of, &fcinfo->args[2], &n);

	for (size_t i = 0; i < n; i++)
	{
		text	   *token = tr_generated_text(te_token_text(tokenizer, scores[i].id));
		Datum		row[] = {
			Int32GetDatum(input), Int32GetDatum((int32) i + 1), PointerGetDatum(token), Int32GetDatum(scores[i].id),
			Float4GetDatum((float4) scores[i].logprob)
		};
		bool		nulls[] = {false, false, false, false, isnan(scores[i].logprob)};
		int			first = input > 0 ? 0 : 1;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, row + first, nulls + first);
		pfree(token);
	}
}

PG_FUNCTION_INFO_V1(transformer_token_logprobs);
Datum
transformer_token_logprobs(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_GENERATE, 1, &model))
		tokens_to_set(fcinfo, model, PG_GETARG_DATUM(0), 0);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_token_logprobs_array);
Datum
transformer_token_logprobs_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_GENERATE, 1, &model))
	{
		TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

		for (int i = 0; i < texts.n; i++)
			if (!texts.nulls[i])
				tokens_to_set(fcinfo, model, texts.values[i], i + 1);
	}
	return (Datum) 0;
}

/* ---- perplexity ---- */

TrLoss
tr_text_loss(TrModel *model, Datum input, const NullableDatum *target)
{
	TrLoss		loss = {0};
	size_t		n;
	TeTokenScore *scores = score_tokens(model, input, target, &n);

	for (size_t i = 0; i < n; i++)
	{
		loss.tokens++;
		if (isnan(scores[i].logprob))
			continue;
		loss.sum -= scores[i].logprob;
		loss.counted++;
	}
	return loss;
}

/* NULL of a text without tokens that could be foreseen. */
static Datum
perplexity_of(TrModel *model, Datum input, const NullableDatum *target, bool *isnull)
{
	TrLoss		loss = tr_text_loss(model, input, target);

	*isnull = loss.counted == 0;
	return *isnull ? (Datum) 0 : Float8GetDatum(te_perplexity(loss.sum, loss.counted));
}

PG_FUNCTION_INFO_V1(transformer_perplexity);
Datum
transformer_perplexity(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return perplexity_of(tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_GENERATE), PG_GETARG_DATUM(0), &fcinfo->args[2],
						 &fcinfo->isnull);
}

PG_FUNCTION_INFO_V1(transformer_perplexity_array);
Datum
transformer_perplexity_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;
	TrTexts		texts;

	tr_set_begin(fcinfo, FLOAT8OID);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_GENERATE);
	texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));
	for (int i = 0; i < texts.n; i++)
	{
		bool		isnull = texts.nulls[i];
		Datum		value = isnull ? (Datum) 0 : perplexity_of(model, texts.values[i], &fcinfo->args[2], &isnull);

		tr_set_add(fcinfo, value, isnull);
	}
	PG_RETURN_NULL();
}
