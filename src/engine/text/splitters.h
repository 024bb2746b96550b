/*-------------------------------------------------------------------------
 * splitters.h
 *	  Split patterns that many models share, by hand.
 *-------------------------------------------------------------------------
 */
#ifndef TE_SPLITTERS_H
#define TE_SPLITTERS_H

#include "text/tokenizer.h"

/* Marks for te_split(), isolated: GPT-2's pattern */
extern void te_split_gpt2(TeEncoder *encoder, TeChar *in, size_t n, const void *param);

typedef struct TeSplitter
{
	const char *pattern;		/* exactly as files have it */
	TeMarkFunction mark;
	uint32_t	param;
} TeSplitter;

/* Ends with NULL.  The number of a row is part of the image format. */
extern const TeSplitter te_splitters[];

#endif							/* TE_SPLITTERS_H */
