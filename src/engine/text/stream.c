/*-------------------------------------------------------------------------
 * stream.c
 *	  Ids to text, one at a time.
 *
 * The decoders themselves work on parts of a list (decode.h); a part is one token here.  So what a stream gives is what
 * te_decode() gives, by the same functions, and a token costs the same wherever it comes in the text.
 *
 * What holds text back is the tokenizer's own rule, and for as long as that wants: bytes that are part of a character
 * until it is whole, a run of byte tokens (<0xE4>) until another token ends it, since one bad byte makes all of it U+FFFD,
 * a word's end until it is known whether a word follows.
 *
 * What a stream remembers is in an arena of its own, and so is, until the next call, what it has given.
 *-------------------------------------------------------------------------
 */
#include "text/stream.h"

#include "text/decode.h"

struct TeTextStream
{
	TeDecoder	decoder;
	TeArena    *kept;
};

TeTextStream *
te_text_stream_create(TeArena *arena, const TeTokenizer *tokenizer)
{
	TeTextStream *stream = te_new(arena, TeTextStream);

	stream->kept = te_arena_create(arena, "text stream");
	stream->decoder.tokenizer = tokenizer;
	stream->decoder.arena = te_arena_create(stream->kept, "part of a text stream");
	te_decoder_open(&stream->decoder, stream->kept);
	return stream;
}

TeTextStream *
te_text_stream_copy(TeArena *arena, const TeTextStream *stream)
{
	TeTextStream *copy = te_text_stream_create(arena, stream->decoder.tokenizer);

	copy->decoder.given = stream->decoder.given;
	for (uint32_t i = 0; i < stream->decoder.tokenizer->decoder.n; i++)
	{
		const TeDecodeStep *from = &stream->decoder.steps[i];
		TeDecodeStep *to = &copy->decoder.steps[i];

		to->seen = from->seen;
		to->count = from->count;
		te_buffer_add(&to->held, from->held.data, from->held.len);
	}
	return copy;
}

TeStr
te_text_stream_add(TeTextStream *stream, int32_t id)
{
	te_arena_reset(stream->decoder.arena);
	return te_decoder_part(&stream->decoder, &id, 1, true);
}

bool
te_text_stream_pass(TeTextStream *stream, const int32_t *ids, size_t n)
{
	size_t		len;

	te_arena_reset(stream->decoder.arena);
	len = te_decoder_part(&stream->decoder, ids, n, true).len;
	len += te_text_stream_end(stream).len;
	stream->decoder.last = false;
	return len > 0;
}

TeStr
te_text_stream_end(TeTextStream *stream)
{
	te_arena_reset(stream->decoder.arena);
	stream->decoder.last = true;
	return te_decoder_part(&stream->decoder, NULL, 0, true);
}
