/*-------------------------------------------------------------------------
 * fn_stream.c
 *	  generate_stream() and chat_stream(): a row for each piece of a text, as it
 *	  is made.
 *
 * Value-per-call: a call makes tokens until there are new characters, and no more, so that
 * whoever stops asking stops the work.  In a select list the executor asks row by
 * row; in FROM it would run a function to its end first, so batch_plan_stream.c
 * rewrites such scans.  What has been given so far is sent off to the client while the next piece is
 * made.
 *
 * Lifetimes.  A stream has the generator of a session of its own from the first row
 * to the last, or until the memory of its scan goes, however that ends: by an error, too, when the session
 * goes with it (tr_generator_end()).
 *-------------------------------------------------------------------------
 */
#include "pg/generate.h"

#include "funcapi.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

/* Headers of libraries that the server may be built with need not be there. */
#undef ENABLE_GSS
#undef USE_OPENSSL
#include "libpq/libpq.h"

typedef struct Stream
{
	TeGenerator *generator;		/* NULL: it has been given back */
	size_t		row;
	size_t		given;			/* bytes of its text */
	bool		working;		/* still so when it ends: by an error */
	bool		searches;		/* beams: nothing is certain before the end */
} Stream;

static void
end_stream(void *arg)
{
	Stream	   *stream = arg;
	TeGenerator *generator = stream->generator;

	stream->generator = NULL;
	if (generator != NULL)
		tr_generator_end(generator, stream->working);
}

static Stream *
begin_stream(FunctionCallInfo fcinfo, const TrGenerateForm *form, MemoryContext memory)
{
	const NullableDatum *args = fcinfo->args;
	TrGenerateCalls calls = {.form = form,.n = 1,.args = &args};
	TrModel    *model = tr_model_open(tr_text_argument(fcinfo, form->model), TR_USE_GENERATE);
	Stream	   *stream = MemoryContextAllocZero(memory, sizeof(Stream));
	MemoryContextCallback *callback = MemoryContextAllocZero(memory, sizeof(MemoryContextCallback));
	TrRequest	request;

	callback->func = end_stream;
	callback->arg = stream;
	MemoryContextRegisterResetCallback(memory, callback);
	stream->generator = tr_generator_begin(model, true);
	stream->working = true;
	request = tr_generate_request(model, &calls, args[0].value, args);
	stream->row = te_generator_feed(stream->generator, request.prompt, &request.options);
	stream->searches = request.options.beams > 1;
	stream->working = false;
	return stream;
}

/* The next piece, or {NULL, 0} at the end; valid until the next step. */
static TeStr
next_piece(Stream *stream)
{
	TeGenerated row;
	TeStr		piece;

	if (stream->generator == NULL)
		return (TeStr) {NULL, 0};
	if (whereToSendOutput == DestRemote)
		(void) pq_flush_if_writable();
	do
	{
		bool		more;

		stream->working = true;
		more = te_generator_step(stream->generator);
		stream->working = false;

		row = te_generator_row(stream->generator, stream->row);
		if (!more)
			break;
	} while (row.finish == TE_FINISH_NONE && (row.text.len == stream->given || stream->searches));
	piece = (TeStr) {row.text.data + stream->given, row.text.len - stream->given};
	stream->given = row.text.len;
	return piece.len > 0 ? piece : (TeStr) {NULL, 0};
}

static Datum
stream_pieces(FunctionCallInfo fcinfo, const TrGenerateForm *form)
{
	FuncCallContext *context;
	TeStr		piece;
	Datum		value;

	if (SRF_IS_FIRSTCALL())
	{
		context = SRF_FIRSTCALL_INIT();
		if (!PG_ARGISNULL(0))
			context->user_fctx = begin_stream(fcinfo, form, context->multi_call_memory_ctx);
	}
	context = SRF_PERCALL_SETUP();
	piece = context->user_fctx != NULL ? next_piece(context->user_fctx) : (TeStr) {NULL, 0};
	if (piece.data == NULL)
		SRF_RETURN_DONE(context);
	value = PointerGetDatum(tr_generated_text(piece));
	SRF_RETURN_NEXT(context, value);
}

PG_FUNCTION_INFO_V1(transformer_generate_stream);
Datum
transformer_generate_stream(PG_FUNCTION_ARGS)
{
	return stream_pieces(fcinfo, &tr_generate_text);
}

PG_FUNCTION_INFO_V1(transformer_chat_stream);
Datum
transformer_chat_stream(PG_FUNCTION_ARGS)
{
	return stream_pieces(fcinfo, &tr_generate_chat);
}
