/*-------------------------------------------------------------------------
 * stream.h
 *	  Text from ids as they come: whole characters, each as soon as no later id can change it.
 *-------------------------------------------------------------------------
 */
#ifndef TE_STREAM_H
#define TE_STREAM_H

#include "text/text.h"

typedef struct TeTextStream TeTextStream;

extern TeTextStream *te_text_stream_create(TeArena *arena, const TeTokenizer *tokenizer);
/* With what was added to the one that is copied. */
extern TeTextStream *te_text_stream_copy(TeArena *arena, const TeTextStream *stream);

/*
 * What the id adds to the text: never half of a character, often nothing.  Special tokens add nothing.  Valid until the next
 * call.  Throws TE_ERR_INVALID on an id beyond the vocabulary.
 */
extern TeStr te_text_stream_add(TeTextStream *stream, int32_t id);
/*
 * The text goes on after these, which are not given again: its first token has no text before it only where they have none, which is what is returned as
 * false.  Before anything was added.
 */
extern bool te_text_stream_pass(TeTextStream *stream, const int32_t *ids, size_t n);
/* The rest, once.  All that was given is then what te_decode() makes of all ids. */
extern TeStr te_text_stream_end(TeTextStream *stream);

#endif							/* TE_STREAM_H */
