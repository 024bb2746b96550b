/*-------------------------------------------------------------------------
 * split.c
 *	  Cutting pieces where something matches.
 *
 * A pre-tokenizer says with te_mark() which characters of a piece match; what
 * becomes of matches, and of what is between them, is the same for all: the
 * five behaviours of the reference.  Splitting happens in place, since it only
 * sets flags and leaves characters out.
 *
 * A match of no characters is a border between segments, which is what it
 * amounts to in every behaviour.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

/* [from, to) of a piece of n characters matches. */
void
te_mark(TeChar *in, size_t n, size_t from, size_t to)
{
	if (from < n)
		in[from].c |= TE_CHAR_SEGMENT | (from == to ? TE_CHAR_EMPTY : 0);
	for (size_t i = from; i < to; i++)
		in[i].c |= TE_CHAR_MATCH;
	if (to < n)
		in[to].c |= TE_CHAR_SEGMENT;
}

/* Does a piece begin with a segment that is (not) a match, after one that was (not)? */
static bool
begins_piece(TeBehavior behavior, bool match, bool previous)
{
	switch (behavior)
	{
		case TE_SPLIT_CONTIGUOUS:
			return match != previous;
		case TE_SPLIT_MERGED_WITH_PREVIOUS:
			return !match || previous;
		case TE_SPLIT_MERGED_WITH_NEXT:
			return match || !previous;
		default:
			return true;
	}
}

/* One marked piece; gives how many characters are left, moved to `out`. */
static size_t
apply(const TeChar *in, size_t n, TeChar *out, TeBehavior behavior, bool invert)
{
	size_t		n_out = 0;
	bool		previous = false;
	bool		begin = true;

	for (size_t i = 0; i < n; i++)
	{
		TeChar		c = in[i];
		bool		match = ((c.c & TE_CHAR_MATCH) != 0) != invert;

		if (i > 0 && (c.c & TE_CHAR_SEGMENT) &&
			(begins_piece(behavior, match, previous) || ((c.c & TE_CHAR_EMPTY) && previous == invert)))
			begin = true;
		previous = match;
		if (behavior == TE_SPLIT_REMOVED && match)
			continue;
		c.c = (c.c & TE_CHAR_CODE) | (begin ? TE_CHAR_PIECE : 0);
		begin = false;
		out[n_out++] = c;
	}
	return n_out;
}

/* In place: what is left is never more than what was there. */
void
te_split(TeEncoder *encoder, TeMarkFunction mark, const void *param, TeBehavior behavior, bool invert)
{
	TeChar	   *chars = encoder->chars;
	size_t		n = encoder->n_chars;
	size_t		n_out = 0;

	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK;)
	{
		size_t		to = i + 1;

		if (chars[i].c & TE_CHAR_TOKEN)
			chars[n_out++] = chars[i];
		else
		{
			while (to < n && !(chars[to].c & TE_CHAR_PIECE))
				to++;
			chars[i].c &= TE_CHAR_CODE;
			mark(encoder, chars + i, to - i, param);
			n_out += apply(chars + i, to - i, chars + n_out, behavior, invert);
		}
		i = to;
	}
	encoder->n_chars = n_out;
	encoder->low = (size_t) ((char *) (chars + n_out) - encoder->memory);
}

/* Isolated where the file is silent. */
TeBehavior
te_behavior(TeCompiler *compiler, const TeJson *node, const char *key)
{
	static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
	TeStr		name = te_json_str(node, key, "Isolated");

	for (size_t i = 0; i < TE_LENGTH(names); i++)
		if (te_str_is(name, names[i]))
			return (TeBehavior) i;
	te_throw(TE_ERR_CORRUPT, "tokenizer: split behavior \"%.*s\" is not known", TE_STR_ARGS(name));
}
