/*-------------------------------------------------------------------------
 * objective_answer.c
 *	  The objective of questions that a context answers: where the answer begins and ends.
 *
 * A long context is cut into the windows that it is read in when the model is used (model/answer.c), each an example. In
 * a window that has all of the answer the targets are its first and its last token; in any other, and where the answer
 * is empty, which says that the context has none, both are the first token of all.  A model whose tokenizer puts
 * no token there learns from windows with the answer alone.
 *
 * The answer is the part of the context at "start", counted in characters from 1, or where it occurs first.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

enum
{
	QUESTION,
	CONTEXT,
	ANSWER,
	START
};

/* ---- where the answer is ---- */

/* The byte where character `number` from 0 begins; SIZE_MAX: the text is shorter. */
static size_t
byte_of_character(TeStr text, double number)
{
	const char *at = text.data;
	const char *end = text.data + text.len;

	for (double i = 0; i < number && at < end; i++)
	{
		if (te_utf8_next(&at, end) < 0)
			te_throw(TE_ERR_INVALID, "the context is not valid UTF-8");
	}
	return at < end ? (size_t) (at - text.data) : SIZE_MAX;
}

static bool
is_at(TeStr text, size_t at, TeStr part)
{
	return at <= text.len && part.len <= text.len - at && memcmp(text.data + at, part.data, part.len) == 0;
}

static size_t
find_answer(const TeValue *values)
{
	TeStr		context = values[CONTEXT].text;
	TeStr		answer = values[ANSWER].text;
	size_t		at;

	if (!values[START].given)
	{
		for (at = 0; at + answer.len <= context.len; at++)
		{
			if (is_at(context, at, answer))
				return at;
		}
		te_throw(TE_ERR_INVALID, "the answer \"%.*s\" does not occur in the context", TE_STR_ARGS(answer));
	}
	if (!(values[START].real >= 1) || values[START].real != floor(values[START].real))
		te_throw(TE_ERR_INVALID, "start %g is no character: they are counted from 1", values[START].real);
	at = byte_of_character(context, values[START].real - 1);
	if (at == SIZE_MAX || !is_at(context, at, answer))
		te_throw(TE_ERR_INVALID, "the answer \"%.*s\" is not at character %g of the context", TE_STR_ARGS(answer), values[START].real);
	return at;
}

/* ---- examples ---- */

/* Tokens of the context, from its first one on. */
typedef struct Span
{
	bool		any;			/* there is an answer */
	size_t		first;
	size_t		last;
} Span;

static Span
find_tokens(const TeContext *context, const TeValue *values)
{
	Span		span = {.any = values[ANSWER].text.len > 0};
	const TeToken *tokens = context->tokens + context->n_before;
	size_t		from = span.any ? find_answer(values) : 0;
	size_t		stop = from + values[ANSWER].text.len;
	size_t		n = 0;

	for (size_t i = 0; span.any && i < context->n_context; i++)
	{
		if (tokens[i].stop <= from || tokens[i].start >= stop)
			continue;
		span.first = n++ == 0 ? i : span.first;
		span.last = i;
	}
	if (span.any && n == 0)
		te_throw(TE_ERR_INVALID, "the answer \"%.*s\" has no tokens", TE_STR_ARGS(values[ANSWER].text));
	return span;
}

/* Gives whether the window has the answer. */
static bool
put_window(TeExamples *examples, const TeContext *context, Span span, size_t from, size_t stop)
{
	TeArena    *arena = te_examples_arena(examples);
	TeToken    *window = te_new_array(arena, TeToken, te_context_around(context) + (stop - from));
	size_t		n = te_context_window(context, from, stop, window);
	bool		has = span.any && span.first >= from && span.last < stop;
	int32_t		targets[2] = {0, 0};
	TeExample	example = {.n_sequences = 1, .n_targets = 2, .targets = targets};

	if (has)
	{
		targets[0] = (int32_t) (context->n_before + span.first - from);
		targets[1] = (int32_t) (context->n_before + span.last - from);
	}
	else if (!window[0].special)
		return false;
	example.sequences[0] = te_sequence_of_tokens(arena, window, n);
	te_examples_put(examples, &example);
	return has;
}

static void
encode(TeExamples *examples, const TeValue *values)
{
	size_t		before = te_examples_count(examples);
	TeContext	context;
	size_t		n;
	size_t		n_untruncated;
	TeToken    *tokens = te_encode_alloc(te_model_tokenizer(te_examples_model(examples)), te_examples_arena(examples),
										 values[QUESTION].text, values[CONTEXT].text, true, 0, &n, &n_untruncated);
	Span		span;
	bool		found = false;

	te_context_cut(&context, tokens, n, te_examples_longest(examples));
	if (context.n_context == 0)
		te_throw(TE_ERR_INVALID, "the context has no tokens");
	span = find_tokens(&context, values);
	for (size_t from = 0, stop = 0; stop < context.n_context; from += context.step)
	{
		stop = TE_MIN(from + context.room, context.n_context);
		found |= put_window(examples, &context, span, from, stop);
	}
	if (span.any && !found)
		te_throw(TE_ERR_INVALID, "the answer is longer than what the model reads of a context at once");
	if (te_examples_count(examples) == before)
		te_throw(TE_ERR_INVALID, "the model has no first token to say with that a context has no answer");
}

static bool
fits(const TeExample *example)
{
	int32_t		n = example->sequences[0].n;

	return example->n_sequences == 1 && example->n_targets == 2 && example->targets[0] >= 0 && example->targets[0] < n
		&& example->targets[1] >= 0 && example->targets[1] < n;
}

/* [tokens, 2] */
static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	return te_task_tag.compute(piece->arena, graph, piece->model, piece->batch);
}

static void
loss(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *targets = te_new_array(piece->arena, int32_t, 2 * piece->n_examples);

	te_assert(cols == 2);
	for (size_t i = 0; i < piece->n_examples; i++)
		memcpy(targets + 2 * i, piece->examples[i].targets, 2 * sizeof(int32_t));
	te_loss_span(piece->arena, outputs, piece->n_examples, piece->batch->seq_start, targets, scale, d_outputs, sum);
}

static const TeColumn columns[] = {
	{"question", TE_COLUMN_TEXT, false},
	{"context", TE_COLUMN_TEXT, false},
	{"answer", TE_COLUMN_TEXT, false},
	{"start", TE_COLUMN_REAL, true},
	{NULL}
};

const TeObjective te_objective_question_answering = {
	.statement = "finetune",
	.task = "question-answering",
	.name = "question_answering",
	.columns = columns,
	.head = TE_HEAD_ANSWER,
	.model_task = "question-answering",
	.dropout = 0.1,
	.learning_rate = 3e-5,
	.encode = encode,
	.fits = fits,
	.compute = compute,
	.loss = loss,
};
