/*-------------------------------------------------------------------------
 * fn_entities.c
 *	  entities(): the names in a text, with its array twin.
 *
 * The engine finds them (model/entities.c), in texts of any length; here bytes
 * become characters.  The core, tr_entities_each(), takes many texts and
 * works on as many at a time as the session's memory has room for.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define SLICE_TEXTS 1024

/*
 * How many bytes of text to work on at a time: tokens, logits and entities then
 * stay in an eighth of the session's memory, even were each byte a token.
 */
static Size
slice_bytes(const TeModel *engine)
{
	Size		token_bytes = sizeof(TeToken) + sizeof(TeEntity) + 2 * sizeof(int32) + 2 * sizeof(float) * te_model_labels(engine);

	return Max(1, tr_session_limit() / 8 / token_bytes);
}

/* Feed texts from `from` on, and keep them in UTF-8; gives the index behind the last one. */
static int
feed_slice(TeTagger *tagger, const TrTexts *texts, int from, Size most, TeStr *utf8)
{
	Size		bytes = 0;
	int			i;

	for (i = from; i < texts->n && i - from < SLICE_TEXTS && bytes < most; i++)
	{
		TeStr	   *place = &utf8[i - from];

		CHECK_FOR_INTERRUPTS();
		if (texts->nulls[i])
			continue;
		*place = tr_utf8(DatumGetTextPP(texts->values[i]));
		te_tagger_feed(tagger, *place);
		bytes += place->len + TR_TEXT_OVERHEAD;
	}
	return i;
}

/* Entities come in the order of their starts, so characters are counted once. */
static void
make_rows(TeStr text, const TeEntity *entities, size_t n, int i, TrRowSink take, void *arg)
{
	uint32		counted = 0;
	int32		characters = 0;

	for (size_t j = 0; j < n; j++)
	{
		const TeEntity *entity = &entities[j];
		TeStr		span = {text.data + entity->start, entity->stop - entity->start};
		Datum		row[5];

		characters += tr_characters((TeStr) {text.data + counted, entity->start - counted});
		counted = entity->start;
		row[0] = PointerGetDatum(tr_text(entity->label));
		row[1] = PointerGetDatum(tr_text(span));
		row[2] = Float4GetDatum(entity->score);
		row[3] = Int32GetDatum(characters + 1);
		row[4] = Int32GetDatum(characters + tr_characters(span));
		take(arg, i, row);
		pfree(DatumGetPointer(row[0]));
		pfree(DatumGetPointer(row[1]));
	}
}

void
tr_entities_each(TrModel *model, const TrTexts *texts, TrRowSink take, void *arg)
{
	static const TeJobOptions options;
	Size		most = slice_bytes(tr_model_engine(model));
	TeStr	   *utf8 = palloc(sizeof(TeStr) * Min(SLICE_TEXTS, Max(texts->n, 1)));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer slice", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			end;

	for (int from = 0; from < texts->n; from = end)
	{
		TeJob	   *job = tr_job_begin(model, "tag", &options);
		TeTagger   *tagger = te_tagger_create(job);
		size_t		fed = 0;

		end = feed_slice(tagger, texts, from, most, utf8);
		te_job_run(job);
		for (int i = from; i < end; i++)
		{
			size_t		n;
			const TeEntity *entities;

			if (texts->nulls[i])
				continue;
			entities = te_tagger_entities(tagger, fed++, &n);
			make_rows(utf8[i - from], entities, n, i, take, arg);
		}
		(void) tr_job_end(model, job);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

PG_FUNCTION_INFO_V1(transformer_entities);
Datum
transformer_entities(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_ENTITIES, 1, &model))
	{
		Datum		input = PG_GETARG_DATUM(0);

		tr_entities_each(model, &TR_ONE_TEXT(&input), tr_row_to_set, fcinfo);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(transformer_entities_array);
Datum
transformer_entities_array(PG_FUNCTION_ARGS)
{
	TrModel    *model;

	if (tr_rows_begin(fcinfo, 1, TR_USE_ENTITIES, 1, &model))
	{
		TrTexts		texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));

		tr_entities_each(model, &texts, tr_numbered_row_to_set, fcinfo);
	}
	return (Datum) 0;
}
