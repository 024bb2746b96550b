/*-------------------------------------------------------------------------
 * decode.h
 *	  What decoders work on.
 *-------------------------------------------------------------------------
 */
#ifndef TE_DECODE_H
#define TE_DECODE_H

#include "text/tokenizer.h"

struct TeDecoder
{
	const TeTokenizer *tokenizer;
	TeArena    *arena;			/* for the time of decoding */
	TeStr	   *tokens;			/* a decoder may change these in place, or start a new list */
	size_t		n;
};

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

/* Ill-formed UTF-8, replaced by U+FFFD for each longest part that could have begun a character. */
extern TeStr te_utf8_repair(TeArena *arena, TeStr text);
/* WordPiece's tidying of English, within one token. */
extern TeStr te_clean_up(TeArena *arena, TeStr text);

#endif							/* TE_DECODE_H */
