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

/* A new list with room for n texts. */
extern void te_decoder_start(TeDecoder *decoder, size_t n);
/* Every occurrence replaced; text itself where there is none. */
extern TeStr te_replace_all(TeArena *arena, TeStr text, TeStr from, TeStr to);

#endif							/* TE_DECODE_H */
