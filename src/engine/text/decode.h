/*-------------------------------------------------------------------------
 * decode.h
 *	  What decoders work on.
 *
 * A decoder is given a list of token texts and makes another of it.  The list may be all of them, or come in parts
 * (stream.c): then each step remembers in its TeDecodeStep what the next part needs, and gives out only what no later
 * token can change; the last part says so.  What all parts give is what the whole list gives.
 *
 * Behind a component that fuses the tokens, the list has one text, or in parts its next piece, of whole characters.  A
 * component that knows nothing of pieces gets the text at the end, as a whole (te_decoder_gather()).
 *-------------------------------------------------------------------------
 */
#ifndef TE_DECODE_H
#define TE_DECODE_H

#include "text/tokenizer.h"

typedef struct TeDecodeStep
{
	bool		whole;			/* behind one that fuses */
	size_t		seen;			/* tokens of earlier parts */
	size_t		count;			/* the component's own ... */
	TeBuffer	held;			/* ... as is what it has not given out yet */
} TeDecodeStep;

struct TeDecoder
{
	const TeTokenizer *tokenizer;
	TeArena    *arena;			/* for the time of a part */
	TeStr	   *tokens;			/* a decoder may change these in place, or start a new list */
	size_t		n;
	bool		last;			/* no part follows */
	TeDecodeStep *steps;		/* one a step of the program */
	TeDecodeStep *step;			/* the one that runs */
	size_t		given;			/* texts of earlier parts */
};

/* What lasts from one part to the next is in `kept`. */
extern void te_decoder_open(TeDecoder *decoder, TeArena *kept);
/* The next part: what can be said of the text with it, in the decoder's arena. */
extern TeStr te_decoder_part(TeDecoder *decoder, const int32_t *ids, size_t n, bool skip_special);
/* Before a text is worked on that must be whole: true where the one token is that, else there is none, for now. */
extern bool te_decoder_gather(TeDecoder *decoder);
/* What the step held, copied; from now on it holds another text. */
extern TeStr te_decoder_hold(TeDecoder *decoder, TeStr text);

/* For every loop over tokens: a long list can be cancelled. */
static inline void
te_decoder_pause(size_t i)
{
	if (i % 4096 == 0)
		te_check_interrupts();
}

/* A new list with room for n texts. */
extern void te_decoder_start(TeDecoder *decoder, size_t n);
/* All texts as one, in the decoder's arena. */
extern TeStr te_decoder_join(TeDecoder *decoder, const char *separator);
/* Every occurrence replaced; text itself where there is none. */
extern TeStr te_replace_all(TeArena *arena, TeStr text, TeStr from, TeStr to);

/*
 * How many bytes of text are whole characters, or none of any: what is behind them begins a character that may go on.
 */
extern size_t te_utf8_whole(TeStr text);
/* Ill-formed UTF-8, replaced by U+FFFD for each longest part that could have begun a character. */
extern TeStr te_utf8_repair(TeArena *arena, TeStr text);
/* WordPiece's tidying of English, within one token. */
extern TeStr te_clean_up(TeArena *arena, TeStr text);

#endif							/* TE_DECODE_H */
