/*-------------------------------------------------------------------------
 * fn_pairs.c
 *	  rerank() and zero_shot(), with their array twins.
 *
 * Both hold two texts against each other, and both take either kind of model:
 * one that reads the pair together and gives it labels (a cross-encoder, a
 * model of inference), or an encoder, whose embeddings are compared.  What the
 * numbers mean is the engine's (te_pair_relevance(), te_claim_scores()).
 *
 * The two cores, tr_rerank_each() and tr_zero_shot_each(), take many calls.  With an
 * encoder a query is embedded once for all documents that follow it, and the
 * claims of zero_shot() once for all texts.  Texts are worked on in slices
 * that bound what is kept of them; tr_vectors_each() bounds the rest.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define SLICE_PAIRS 1024
#define DEFAULT_TEMPLATE "This example is {}."
#define PLACE "{}"

static TrVectors
embed_all(TrModel *model, const char *kind, const TrTexts *texts)
{
	TeJobOptions options = {.kind = kind ? te_str(kind) : (TeStr) {NULL, 0}};

	return tr_embed_all(model, &options, texts);
}

/* ---- rerank ---- */

typedef struct RerankSink
{
	const TeModel *engine;
	int			from;			/* number of the first pair of the slice */
	TrVectors queries;
	const int  *place;			/* of each pair's query among them */
	TrScoreSink take;
	void	   *arg;
} RerankSink;

static void
take_logits(void *arg, int i, const float *logits, int n)
{
	RerankSink *sink = arg;

	sink->take(sink->arg, i, logits ? te_pair_relevance(sink->engine, logits) : 0, logits == NULL);
}

static void
take_document(void *arg, int i, const float *vector, int n)
{
	RerankSink *sink = arg;
	float		score = 0;

	if (vector != NULL)
		score = (float) tr_cosine(sink->queries.vectors + (Size) sink->place[i] * n, vector, n);
	sink->take(sink->arg, sink->from + i, score, vector == NULL);
}

/* The queries of a slice, each but once where it is that of the pair before. */
static TrTexts
queries_of(const TrTexts *pairs, int from, int to, int *place)
{
	TrTexts		queries = {
		.values = palloc(sizeof(Datum) * (to - from)),
		.nulls = palloc0(sizeof(bool) * (to - from)),
	};

	for (int i = from; i < to; i++)
	{
		if (pairs->nulls[i])
			continue;
		if (queries.n == 0 || !tr_same_text(DatumGetTextPP(queries.values[queries.n - 1]), DatumGetTextPP(pairs->values[i])))
			queries.values[queries.n++] = pairs->values[i];
		place[i - from] = queries.n - 1;
	}
	return queries;
}

static void
rerank_by_cosine(TrModel *model, const TrTexts *pairs, RerankSink *sink)
{
	TeJobOptions options = {.kind = te_str("passage")};
	int			place[SLICE_PAIRS];
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer pairs", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	sink->place = place;
	for (int from = 0; from < pairs->n; from += SLICE_PAIRS)
	{
		int			to = Min(from + SLICE_PAIRS, pairs->n);
		TrTexts		queries = queries_of(pairs, from, to, place);
		TrTexts		documents = {.values = pairs->pairs + from,.nulls = pairs->nulls + from,.n = to - from};

		sink->from = from;
		sink->queries = embed_all(model, "query", &queries);
		tr_vectors_each(model, "embed", &options, &documents, take_document, sink);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
tr_rerank_each(TrModel *model, const TrTexts *pairs, TrScoreSink take, void *arg)
{
	RerankSink	sink = {.engine = tr_model_engine(model),.take = take,.arg = arg};
	TeJobOptions options = {0};

	if (te_model_labels(sink.engine) > 0)
		tr_vectors_each(model, "classify", &options, pairs, take_logits, &sink);
	else
		rerank_by_cosine(model, pairs, &sink);
}

static void
keep_score(void *arg, int i, float score, bool isnull)
{
	*(float *) arg = score;
}

PG_FUNCTION_INFO_V1(transformer_rerank);
Datum
transformer_rerank(PG_FUNCTION_ARGS)
{
	TrModel    *model;
	Datum		query;
	Datum		document;
	Datum		found;
	float		score = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 2), TR_USE_RERANK);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	query = PG_GETARG_DATUM(0);
	document = PG_GETARG_DATUM(1);
	tr_rerank_each(model, &TR_ONE_PAIR(&query, &document), keep_score, &score);
	PG_RETURN_FLOAT4(score);
}

static void
score_to_set(void *arg, int i, float score, bool isnull)
{
	tr_set_add(arg, isnull ? (Datum) 0 : Float4GetDatum(score), isnull);
}

/* Unlike answer(), a row for each document, NULL where the query is. */
PG_FUNCTION_INFO_V1(transformer_rerank_array);
Datum
transformer_rerank_array(PG_FUNCTION_ARGS)
{
	TrTexts		pairs;
	TrModel    *model;

	tr_set_begin(fcinfo, FLOAT4OID);
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	pairs = tr_pairs(PG_ARGISNULL(0) ? PointerGetDatum(cstring_to_text("")) : PG_GETARG_DATUM(0), PG_GETARG_ARRAYTYPE_P(1));
	for (int i = 0; i < pairs.n; i++)
		pairs.nulls[i] |= PG_ARGISNULL(0);
	model = tr_model_open(tr_text_argument(fcinfo, 2), TR_USE_RERANK);
	tr_rerank_each(model, &pairs, score_to_set, fcinfo);
	PG_RETURN_NULL();
}

/* ---- zero-shot ---- */

static Datum
fill_template(const char *template, const char *label)
{
	StringInfoData sentence;
	const char *place;

	initStringInfo(&sentence);
	while ((place = strstr(template, PLACE)) != NULL)
	{
		appendBinaryStringInfo(&sentence, template, place - template);
		appendStringInfoString(&sentence, label);
		template = place + strlen(PLACE);
	}
	appendStringInfoString(&sentence, template);
	return CStringGetTextDatum(sentence.data);
}

/* What is held against a text. */
typedef struct Claims
{
	TrTexts		labels;
	TrTexts		sentences;		/* the template with each of them */
	bool		multi_label;
} Claims;

static Claims
make_claims(ArrayType *labels, text *template, bool multi_label)
{
	const char *pattern = template ? text_to_cstring(template) : DEFAULT_TEMPLATE;
	Claims		claims = {.labels = tr_labels(labels),.multi_label = multi_label};
	TrTexts    *sentences = &claims.sentences;

	tr_labels_differ(&claims.labels);
	if (strstr(pattern, PLACE) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("template has no place for a label"),
				 errhint("Write \"{}\" where the label belongs, as in \"%s\".", DEFAULT_TEMPLATE)));
	sentences->n = claims.labels.n;
	sentences->values = palloc(sizeof(Datum) * sentences->n);
	sentences->nulls = palloc0(sizeof(bool) * sentences->n);
	for (int i = 0; i < sentences->n; i++)
		sentences->values[i] = fill_template(pattern, TextDatumGetCString(claims.labels.values[i]));
	return claims;
}

typedef struct ClaimSink
{
	const TeModel *engine;
	const Claims *claims;
	TrVectors sentences;		/* of an encoder */
	const int  *place;			/* numbers of the slice's texts */
	float	   *numbers;		/* logits of one text's pairs, or its cosines */
	float	   *scores;
	TrRowSink	take;
	void	   *arg;
} ClaimSink;

static void
scores_to_rows(ClaimSink *sink, int text)
{
	int			n = sink->claims->labels.n;
	int		   *order = tr_order_scores(sink->scores, n);

	for (int i = 0; i < n; i++)
	{
		Datum		row[] = {sink->claims->labels.values[order[i]], Float4GetDatum(sink->scores[order[i]])};

		sink->take(sink->arg, text, row);
	}
	pfree(order);
}

/* The pairs of a text come one after the other. */
static void
take_pair(void *arg, int i, const float *logits, int n)
{
	ClaimSink  *sink = arg;
	int			n_claims = sink->claims->sentences.n;
	int			claim = i % n_claims;

	memcpy(sink->numbers + (Size) claim * n, logits, sizeof(float) * n);
	if (claim < n_claims - 1)
		return;
	te_claim_scores(sink->engine, sink->numbers, n_claims, sink->claims->multi_label, sink->scores);
	scores_to_rows(sink, sink->place[i / n_claims]);
}

/* Each text with each claim, some texts at a time. */
static void
infer_claims(TrModel *model, const TrTexts *texts, ClaimSink *sink)
{
	TeJobOptions options = {.keep_pair = true};
	int			n_claims = sink->claims->sentences.n;
	int			slice = Max(SLICE_PAIRS / n_claims, 1);
	TrTexts		pairs = {
		.values = palloc(sizeof(Datum) * slice * n_claims),
		.pairs = palloc(sizeof(Datum) * slice * n_claims),
		.nulls = palloc0(sizeof(bool) * slice * n_claims),
	};
	int		   *place = palloc(sizeof(int) * slice);

	sink->place = place;
	sink->numbers = palloc(sizeof(float) * n_claims * te_model_labels(sink->engine));
	for (int i = 0; i <= texts->n; i++)
	{
		if (pairs.n == slice * n_claims || i == texts->n)
		{
			tr_vectors_each(model, "classify", &options, &pairs, take_pair, sink);
			pairs.n = 0;
		}
		if (i == texts->n || texts->nulls[i])
			continue;
		place[pairs.n / n_claims] = i;
		for (int j = 0; j < n_claims; j++, pairs.n++)
		{
			pairs.values[pairs.n] = texts->values[i];
			pairs.pairs[pairs.n] = sink->claims->sentences.values[j];
		}
	}
}

static void
take_text(void *arg, int i, const float *vector, int n)
{
	ClaimSink  *sink = arg;
	int			n_claims = sink->claims->sentences.n;

	if (vector == NULL)
		return;
	for (int j = 0; j < n_claims; j++)
		sink->numbers[j] = (float) tr_cosine(sink->sentences.vectors + (Size) j * n, vector, n);
	te_claim_scores_of_cosines(sink->numbers, n_claims, sink->claims->multi_label, sink->scores);
	scores_to_rows(sink, i);
}

/* Of the arguments of zero_shot(). */
static Claims
claims_of(const NullableDatum *args)
{
	if (args[1].isnull)
		tr_throw_null("labels", NULL);
	return make_claims(DatumGetArrayTypeP(args[1].value), args[4].isnull ? NULL : DatumGetTextPP(args[4].value),
					   !args[3].isnull && DatumGetBool(args[3].value));
}

void
tr_zero_shot_each(TrModel *model, const TrTexts *texts, const NullableDatum *args, TrRowSink take, void *arg)
{
	Claims		claims = claims_of(args);
	ClaimSink	sink = {.engine = tr_model_engine(model),.claims = &claims,.take = take,.arg = arg};
	TeJobOptions options = {0};

	sink.scores = palloc(sizeof(float) * claims.sentences.n);
	if (te_model_infers(sink.engine))
	{
		infer_claims(model, texts, &sink);
		return;
	}
	if (te_model_labels(sink.engine) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the model has no label \"entailment\""),
				 errhint("Use a model of natural language inference, or one of embeddings; labels of another name can be given at import.")));
	sink.numbers = palloc(sizeof(float) * claims.sentences.n);
	sink.sentences = embed_all(model, NULL, &claims.sentences);
	tr_vectors_each(model, "embed", &options, texts, take_text, &sink);
}

PG_FUNCTION_INFO_V1(transformer_zero_shot);
Datum
transformer_zero_shot(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_ZERO_SHOT, 2, &model))
	{
		Datum		input = PG_GETARG_DATUM(0);

		tr_zero_shot_each(model, &TR_ONE_TEXT(&input), fcinfo->args, tr_row_to_set, fcinfo);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_zero_shot_array);
Datum
transformer_zero_shot_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_ZERO_SHOT, 2, &model))
	{
		TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

		tr_zero_shot_each(model, &texts, fcinfo->args, tr_numbered_row_to_set, fcinfo);
	}
	return (Datum) 0;
}
