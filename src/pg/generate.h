/*-------------------------------------------------------------------------
 * generate.h
 *	  What the functions that write text share.
 *
 *	  generate_calls.c	from arguments of SQL to what the engine is asked, and many calls at once
 *	  generate_shape.c	types of SQL as JSON schemas, and values of them from JSON
 *	  fn_generate.c		generate(), generate_json(), generate_as(), chat()
 *	  fn_stream.c		generate_stream(), chat_stream()
 *
 * These functions differ in what they make of their first arguments and of the text; that is a form.  The
 * arguments that say how tokens are chosen are the same in all, and in one order: behind the one that names the model.
 *
 * To add such a function: its form (fn_generate.c), a row in batch_funcs.c.
 */
#ifndef TR_GENERATE_H
#define TR_GENERATE_H

#include "pg/transformer.h"

typedef struct TrShape TrShape;
typedef struct TrGenerateForm TrGenerateForm;

/* Calls of one function with one model. */
typedef struct TrGenerateCalls
{
	const TrGenerateForm *form;
	const TrShape *shape;		/* of generate_as(): what its texts become */
	int			n;
	const NullableDatum **args; /* of each call, as SQL has them */
	const Datum *firsts;		/* what stands in the place of its first argument; NULL: that itself */
	const bool *nulls;			/* of these */
} TrGenerateCalls;

/* What a call asks of the engine. */
typedef struct TrRequest
{
	TrModel    *model;
	TeArena    *arena;			/* tr_scratch(): it ends with the next request */
	TeStr		prompt;
	TeGenerateOptions options;
} TrRequest;

struct TrGenerateForm
{
	int			model;			/* the argument that names the model */
	bool		shaped;			/* the function says what the text must be, no argument: stop, grammar, json_schema, choices */
	/* The prompt, and what goes with it. */
	void		(*prepare) (TrRequest *request, const TrGenerateCalls *calls, Datum first, const NullableDatum *args);
	/* Of the text, in the memory context that is current. */
	Datum		(*result) (const TrGenerateCalls *calls, TeStr text);
};

extern const TrGenerateForm tr_generate_text;
extern const TrGenerateForm tr_generate_chat;
extern const TrGenerateForm tr_generate_json;
extern const TrGenerateForm tr_generate_as;

/* ---- generate_calls.c ---- */

/* The arguments of a call, the first one apart; errors of what SQL can see here, the rest are te_generator_feed()'s. */
extern TrRequest tr_generate_request(TrModel *model, const TrGenerateCalls *calls, Datum first, const NullableDatum *args);
/* Gets the results of calls in their order, NULL for a first argument that is. */
extern void tr_generate_each(TrModel *model, const TrGenerateCalls *calls, TrValueSink take, void *arg);
/* Is what the call gives the same each time?  args: all of SQL's. */
extern bool tr_generate_repeats(const TrGenerateForm *form, const NullableDatum *args);
/* How many tokens a call may make; NULL argument: the default. */
extern int	tr_generate_max_tokens(const NullableDatum *max_tokens);
/* As text of SQL, without NUL characters. */
extern text *tr_generated_text(TeStr utf8);

/* ---- generate_shape.c ---- */

/* Of a type, with all that is in it, in the current memory context; throws where one of these cannot be had from JSON. */
extern TrShape *tr_shape(Oid type, int32 typmod);
extern const TeJson *tr_shape_schema(const TrShape *shape, TeArena *arena);
/* A value of the type from JSON that its schema allows. */
extern Datum tr_shape_value(const TrShape *shape, text *json);

#endif							/* TR_GENERATE_H */
