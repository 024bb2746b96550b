/*-------------------------------------------------------------------------
 * metrics_spans.c
 *	  Entities in rows of tags, counted: how many were there, found, and right.
 *
 * As seqeval in its default mode (and conlleval before it): an entity is right where all its words and its type
 * are.  Tags are read leniently, since a model may give any row of them: I after O, or after
 * another type, begins an entity as B would; E and S end one.
 *
 * Both rows are read side by side.  An entity is known where it ends, so there is nothing to be
 * kept but the two that are open, and the one that each row ended last.
 *-------------------------------------------------------------------------
 */
#include "train/report.h"

/* The entity that a row of tags is in. */
typedef struct OpenSpan
{
	bool		open;
	TePlace		last;			/* of the word before */
	int			type;
	size_t		start;
} OpenSpan;

static bool
ends_before(const OpenSpan *span, const TeWordTag *tag)
{
	if (!span->open)
		return false;
	return tag == NULL || tag->place == TE_PLACE_OUTSIDE || tag->place == TE_PLACE_BEGIN || tag->place == TE_PLACE_SINGLE
		|| span->last == TE_PLACE_END || span->last == TE_PLACE_SINGLE || tag->type != span->type;
}

/* Go on to word i, whose tag is NULL behind the last one; true where an entity ended before it, which is in *ended. */
static bool
advance(OpenSpan *span, const TeWordTag *tag, size_t i, OpenSpan *ended)
{
	bool		ends = ends_before(span, tag);

	if (ends)
	{
		*ended = *span;
		span->open = false;
	}
	if (tag == NULL)
		return ends;
	if (!span->open && tag->place != TE_PLACE_OUTSIDE)
		*span = (OpenSpan) {.open = true, .type = tag->type, .start = i};
	span->last = tag->place;
	return ends;
}

void
te_count_entities(const TeWordTag *actual, const TeWordTag *predicted, size_t n, TeLabelCounts *types)
{
	OpenSpan	a = {0};
	OpenSpan	p = {0};

	for (size_t i = 0; i <= n; i++)
	{
		OpenSpan	a_ended = {0};
		OpenSpan	p_ended = {0};
		bool		a_ends = advance(&a, i < n ? &actual[i] : NULL, i, &a_ended);
		bool		p_ends = advance(&p, i < n ? &predicted[i] : NULL, i, &p_ended);

		if (a_ends)
			types[a_ended.type].actual++;
		if (p_ends)
			types[p_ended.type].predicted++;
		if (a_ends && p_ends && a_ended.start == p_ended.start && a_ended.type == p_ended.type)
			types[a_ended.type].both++;
	}
}
