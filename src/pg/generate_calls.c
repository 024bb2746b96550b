/*-------------------------------------------------------------------------
 * generate_calls.c
 *	  From arguments of SQL to what the engine is asked for, and many calls at
 *	  once.
 *
 * NULL in an optional argument is its default, which is the engine's
 * (te_generate_defaults).  What an argument may be is the engine's to say, too; here
 * is only what does not reach it: arrays with NULLs, options by names.
 *
 * Calls are fed in windows that bound what is kept of their texts; within one the
 * engine decodes as many rows together as pay, and a row that is finished gives its place to the next.
 *
 * To add an option: its row in options[].
 *-------------------------------------------------------------------------
 */
#include "pg/generate.h"

#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define WINDOW_ROWS 1024

/* Places of arguments behind the one that names the model. */
enum
{
	MAX_TOKENS = 1,
	TEMPERATURE,
	TOP_K,
	TOP_P,
	MIN_P,
	REPETITION_PENALTY,
	SEED,
	STOP,						/* of shaped forms: options */
	GRAMMAR,
	JSON_SCHEMA,
	CHOICES,
	OPTIONS
};

#define SHAPED_OPTIONS STOP

typedef enum OptionType
{
	OPTION_INT,
	OPTION_FLOAT,
	OPTION_NOT					/* true or false; the engine's says the contrary */
} OptionType;

typedef struct Option
{
	const char *name;
	OptionType	type;
	size_t		offset;			/* in TeGenerateOptions */
	int			place;			/* of an argument */
} Option;

#define MEMBER(member) offsetof(TeGenerateOptions, member)

static const Option arguments[] = {
	{"max_tokens", OPTION_INT, MEMBER(max_tokens), MAX_TOKENS},
	{"temperature", OPTION_FLOAT, MEMBER(temperature), TEMPERATURE},
	{"top_k", OPTION_INT, MEMBER(top_k), TOP_K},
	{"top_p", OPTION_FLOAT, MEMBER(top_p), TOP_P},
	{"min_p", OPTION_FLOAT, MEMBER(min_p), MIN_P},
	{"repetition_penalty", OPTION_FLOAT, MEMBER(repetition_penalty), REPETITION_PENALTY},
};

/* Members of the argument "options". */
static const Option options[] = {
	{"beams", OPTION_INT, MEMBER(beams)},
	{"length_penalty", OPTION_FLOAT, MEMBER(length_penalty)},
	{"no_repeat_ngram", OPTION_INT, MEMBER(no_repeat_ngram)},
	{"presence_penalty", OPTION_FLOAT, MEMBER(presence_penalty)},
	{"frequency_penalty", OPTION_FLOAT, MEMBER(frequency_penalty)},
	{"speculative", OPTION_NOT, MEMBER(no_guesses)},
};

static void
set_option(TeGenerateOptions *into, const Option *option, double value)
{
	char	   *member = (char *) into + option->offset;

	if (option->type == OPTION_INT)
		*(int *) member = (int) value;
	else if (option->type == OPTION_FLOAT)
		*(float *) member = (float) value;
	else
		*(bool *) member = value == 0;
}

static void
read_arguments(TeGenerateOptions *into, const NullableDatum *args)
{
	for (int i = 0; i < lengthof(arguments); i++)
	{
		const Option *option = &arguments[i];
		const NullableDatum *arg = &args[option->place];

		if (!arg->isnull)
			set_option(into, option, option->type == OPTION_INT ? (double) DatumGetInt32(arg->value) : DatumGetFloat4(arg->value));
	}
	into->seeded = !args[SEED].isnull;
	if (into->seeded)
		into->seed = (uint64) DatumGetInt64(args[SEED].value);
}

/* ---- options by names ---- */

static TE_NORETURN void
throw_unknown(TeStr name)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(options); i++)
		appendStringInfo(&list, "%s\"%s\"", i == 0 ? "" : i + 1 < lengthof(options) ? ", " : " and ", options[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no option \"%s\"", tr_cstring(name)),
			 errhint("Options are %s.", list.data)));
	pg_unreachable();
}

static double
option_value(const Option *option, const TeJson *value)
{
	static const char *const wanted[] = {
		[OPTION_INT] = "a whole number",[OPTION_FLOAT] = "a number",[OPTION_NOT] = "true or false"
	};
	bool		is_number = value->kind == TE_JSON_INTEGER || value->kind == TE_JSON_REAL;
	double		real = value->kind == TE_JSON_INTEGER ? (double) value->integer : is_number ? value->real : 0;

	if (option->type == OPTION_NOT ? value->kind != TE_JSON_BOOL :
		!is_number || (option->type == OPTION_INT && real != (int) Max(Min(real, PG_INT32_MAX), PG_INT32_MIN)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be %s", option->name, wanted[option->type])));
	return option->type == OPTION_NOT ? value->boolean : real;
}

static void
read_options(TeGenerateOptions *into, const NullableDatum *arg, TeArena *arena)
{
	const TeJson *given;

	if (arg->isnull)
		return;
	given = tr_json_object(arg->value, arena, "options", "Write options => '{\"beams\": 4}'.");
	for (uint32_t i = 0; i < given->n; i++)
	{
		const TeJson *member = &given->items[i];
		int			o = 0;

		while (o < lengthof(options) && !te_str_is(member->key, options[o].name))
			o++;
		if (o == lengthof(options))
			throw_unknown(member->key);
		if (member->kind != TE_JSON_NULL)
			set_option(into, &options[o], option_value(&options[o], member));
	}
}

/* ---- what the text must be ---- */

static TeStr
copy_text(Datum value, TeArena *arena)
{
	return te_str_copy(arena, tr_utf8(DatumGetTextPP(value)));
}

static const TeStr *
text_list(Datum array, const char *name, TeArena *arena, size_t *n)
{
	TrTexts		texts = tr_texts(DatumGetArrayTypeP(array));
	TeStr	   *list = te_new_array(arena, TeStr, texts.n);

	for (int i = 0; i < texts.n; i++)
	{
		if (texts.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name),
					 errdetail("Element %d is null.", i + 1)));
		list[i] = copy_text(texts.values[i], arena);
	}
	*n = texts.n;
	return list;
}

static void
read_constraints(TeGenerateOptions *into, const NullableDatum *args, TeArena *arena)
{
	if (!args[STOP].isnull)
		into->stop = text_list(args[STOP].value, "stop", arena, &into->n_stop);
	if (!args[GRAMMAR].isnull)
		into->grammar = copy_text(args[GRAMMAR].value, arena);
	if (!args[JSON_SCHEMA].isnull)
		into->schema = tr_json(args[JSON_SCHEMA].value, arena, "json_schema");
	if (!args[CHOICES].isnull)
		into->choices = text_list(args[CHOICES].value, "choices", arena, &into->n_choices);
	if (!args[CHOICES].isnull && into->n_choices == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("choices must not be empty"),
				 errhint("Write at least one, as in '{yes,no}'.")));
	if (!args[GRAMMAR].isnull + !args[JSON_SCHEMA].isnull + !args[CHOICES].isnull > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only one of grammar, json_schema and choices can be given")));
}

TrRequest
tr_generate_request(TrModel *model, const TrGenerateCalls *calls, Datum first, const NullableDatum *args)
{
	const TrGenerateForm *form = calls->form;
	const NullableDatum *sampling = args + form->model;
	TrRequest	request = {.model = model,.arena = tr_scratch(),.options = te_generate_defaults};

	read_arguments(&request.options, sampling);
	read_options(&request.options, &sampling[form->shaped ? SHAPED_OPTIONS : OPTIONS], request.arena);
	if (!form->shaped)
		read_constraints(&request.options, sampling, request.arena);
	form->prepare(&request, calls, first, args);
	return request;
}

bool
tr_generate_repeats(const TrGenerateForm *form, const NullableDatum *args)
{
	const NullableDatum *temperature = &args[form->model + TEMPERATURE];

	return temperature->isnull || DatumGetFloat4(temperature->value) == 0 || !args[form->model + SEED].isnull;
}

int
tr_generate_max_tokens(const NullableDatum *max_tokens)
{
	return max_tokens->isnull ? te_generate_defaults.max_tokens : DatumGetInt32(max_tokens->value);
}

/* A model may write a NUL character, which SQL's texts have not. */
static TeStr
without_nul(TeStr utf8)
{
	char	   *copy = palloc(utf8.len);
	size_t		n = 0;

	for (size_t i = 0; i < utf8.len; i++)
		if (utf8.data[i] != '\0')
			copy[n++] = utf8.data[i];
	return (TeStr) {copy, n};
}

text *
tr_generated_text(TeStr utf8)
{
	if (utf8.len > 0 && memchr(utf8.data, '\0', utf8.len) != NULL)
		utf8 = without_nul(utf8);
	return tr_text_as(utf8, "a text that was generated", "Use a database with encoding UTF8.");
}

/* ---- many calls ---- */

static bool
is_null(const TrGenerateCalls *calls, int i)
{
	return calls->firsts != NULL ? calls->nulls[i] : calls->args[i][0].isnull;
}

/* Feed calls from `from` on; gives the index behind the last one. */
static int
feed_window(TrModel *model, TeGenerator *generator, const TrGenerateCalls *calls, int from)
{
	Size		most = tr_session_limit() / 64;
	Size		bytes = 0;
	int			rows = 0;
	int			i;

	for (i = from; i < calls->n && rows < WINDOW_ROWS && bytes < most; i++)
	{
		TrRequest	request;

		if (is_null(calls, i))
			continue;
		request = tr_generate_request(model, calls, calls->firsts != NULL ? calls->firsts[i] : calls->args[i][0].value,
									  calls->args[i]);
		(void) te_generator_feed(generator, request.prompt, &request.options);
		bytes += request.prompt.len;
		rows++;
	}
	return i;
}

void
tr_generate_each(TrModel *model, const TrGenerateCalls *calls, TrValueSink take, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer window", ALLOCSET_DEFAULT_SIZES);
	int			to;

	for (int from = 0; from < calls->n; from = to)
	{
		TeGenerator *generator = tr_generator_begin(model, false);
		MemoryContext old = MemoryContextSwitchTo(context);
		size_t		row = 0;

		to = feed_window(model, generator, calls, from);
		while (te_generator_step(generator))
			;
		MemoryContextSwitchTo(old);
		for (int i = from; i < to; i++)
		{
			bool		isnull = is_null(calls, i);

			take(arg, i, isnull ? (Datum) 0 : calls->form->result(calls, te_generator_row(generator, row++).text), isnull);
		}
		tr_generator_end(generator, false);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}
