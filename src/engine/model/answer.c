/*-------------------------------------------------------------------------
 * answer.c
 *	  Extractive answers: the span of a context that answers a question.
 *
 * As transformers' question-answering pipeline did it.  Question and context
 * are tokenized as a pair.  Where that is longer than the model takes, or than
 * WINDOW tokens (a question that takes more than half of them has windows of twice its size), the
 * context is cut into windows, each with the whole question before it, that overlap by
 * STRIDE tokens or half a window, whichever is less; by half of a window's part of the
 * context where the question leaves less than that for it.
 *
 * In each window the logits of beginnings, and of ends, become probabilities by a softmax over
 * the tokens of the context and the first token of all, which stands for "no
 * answer here".  The answer is the span of at most MAX_ANSWER tokens with the largest
 * product of the two, in any window, widened to whole words.
 *
 * Windows are rows of a job "tag".  What is known of an input (its tokens
 * with their places) is in the arena until the caller drops it, which is after te_answers_best().
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "model/model.h"

#define WINDOW 384
#define STRIDE 128
#define MAX_ANSWER 15

/* A question with its context. */
typedef struct Input
{
	TeContext	context;
	size_t		first_row;		/* of the job */
	size_t		n_windows;
} Input;

struct TeAnswers
{
	TeArena    *arena;
	TeJob	   *job;
	Input	   *inputs;
	size_t		n;
	size_t		capacity;
	TeToken    *window;			/* the tokens of one ... */
	double	   *work;			/* ... and the probabilities of its ends, two a token */
	size_t		window_tokens;
};

TeAnswers *
te_answers_create(TeArena *arena, TeJob *job)
{
	TeAnswers  *answers = te_new(arena, TeAnswers);
	const TeModel *model = te_job_model(job);

	if (te_model_head(model)->kind != TE_HEAD_ANSWER)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use a model whose config.json names a class like BertForQuestionAnswering.",
					  "a model for the task \"%.*s\" answers no questions", TE_STR_ARGS(te_model_task(model)));
	answers->arena = arena;
	answers->job = job;
	return answers;
}

static Input *
add_input(TeAnswers *answers)
{
	if (answers->n == answers->capacity)
	{
		size_t		capacity = answers->capacity == 0 ? 16 : te_mul_size(answers->capacity, 2);
		Input	   *inputs = te_new_array(answers->arena, Input, capacity);

		if (answers->n > 0)
			memcpy(inputs, answers->inputs, answers->n * sizeof(Input));
		answers->inputs = inputs;
		answers->capacity = capacity;
	}
	return &answers->inputs[answers->n++];
}

/* ---- windows ---- */

size_t
te_context_around(const TeContext *context)
{
	return context->n_tokens - context->n_context;
}

static void
choose_windows(TeContext *context, size_t most)
{
	size_t		around = te_context_around(context);
	size_t		limit = TE_MAX(WINDOW, around * 2);
	size_t		overlap;

	if (most > 0 && around >= most)
		te_throw(TE_ERR_TOO_LONG, "the question takes %zu tokens, but the model takes %zu, with those of the context",
				 around, most);
	limit = most > 0 ? TE_MIN(limit, most) : limit;
	context->room = limit - around;
	overlap = TE_MIN(STRIDE, limit / 2);
	if (overlap > context->room / 4 * 3)
		overlap = context->room / 2;
	context->step = context->room - overlap;
}

void
te_context_cut(TeContext *context, const TeToken *tokens, size_t n_tokens, size_t most)
{
	size_t		stop;

	memset(context, 0, sizeof(*context));
	context->tokens = tokens;
	context->n_tokens = n_tokens;
	while (context->n_before < n_tokens && (tokens[context->n_before].special || tokens[context->n_before].sequence == 0))
		context->n_before++;
	for (stop = context->n_before; stop < n_tokens && !tokens[stop].special;)
		stop++;
	context->n_context = stop - context->n_before;
	choose_windows(context, most);
}

size_t
te_context_window(const TeContext *context, size_t from, size_t stop, TeToken *into)
{
	size_t		n = stop - from;
	size_t		n_after = te_context_around(context) - context->n_before;
	const TeToken *tokens = context->tokens + context->n_before;

	memcpy(into, context->tokens, context->n_before * sizeof(TeToken));
	memcpy(into + context->n_before, tokens + from, n * sizeof(TeToken));
	memcpy(into + context->n_before + n, tokens + context->n_context, n_after * sizeof(TeToken));
	return te_context_around(context) + n;
}

/* ---- feeding ---- */

/* Room to work on a window of so many tokens. */
static void
reserve(TeAnswers *answers, size_t n_tokens)
{
	if (n_tokens <= answers->window_tokens)
		return;
	answers->window_tokens = n_tokens;
	answers->window = te_new_array(answers->arena, TeToken, n_tokens);
	answers->work = te_new_array(answers->arena, double, te_mul_size(n_tokens, 2));
}

size_t
te_answers_feed(TeAnswers *answers, TeStr question, TeStr context)
{
	const TeModel *model = te_job_model(answers->job);
	Input	   *input = add_input(answers);
	size_t		n_tokens;
	TeToken    *tokens;
	size_t		stop = 0;

	te_check_interrupts();
	if (context.len == 0)
		return answers->n - 1;
	tokens = te_encode_alloc(te_model_tokenizer(model), answers->arena, question, context, true, 0, &n_tokens, NULL);
	te_context_cut(&input->context, tokens, n_tokens, te_model_context_length(model));
	reserve(answers, te_context_around(&input->context) + TE_MIN(input->context.room, input->context.n_context));
	for (size_t from = 0; stop < input->context.n_context; from += input->context.step)
	{
		size_t		row;

		stop = TE_MIN(from + input->context.room, input->context.n_context);
		row = te_job_feed_tokens(answers->job, answers->window,
								 te_context_window(&input->context, from, stop, answers->window));
		if (input->n_windows++ == 0)
			input->first_row = row;
	}
	return answers->n - 1;
}

/* ---- the best span ---- */

/* Probabilities of column `column` for the tokens [from, from + n) of a window, and the first one if that counts. */
static void
spread(const float *logits, bool has_first, size_t from, size_t n, int column, double *into)
{
	float		largest = has_first ? logits[column] : logits[from * 2 + column];
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, logits[(from + i) * 2 + column]);
	for (size_t i = 0; i < n; i++)
	{
		into[i] = exp((double) logits[(from + i) * 2 + column] - largest);
		sum += into[i];
	}
	if (has_first)
		sum += exp((double) logits[column] - largest);
	for (size_t i = 0; i < n; i++)
		into[i] /= sum;
}

/* The place of a span in the text, widened to whole words as far as the window [from, from + n) has them. */
static void
place_span(const TeToken *context, size_t n, size_t first, size_t last, TeAnswer *answer)
{
	while (first > 0 && context[first - 1].word == context[first].word)
		first--;
	while (last + 1 < n && context[last + 1].word == context[last].word)
		last++;
	answer->start = context[first].start;
	answer->stop = TE_MAX(context[last].stop, context[first].start);
}

static void
answer_window(const TeAnswers *answers, const Input *input, size_t window, double *starts, double *stops, TeAnswer *best)
{
	const TeContext *context = &input->context;
	size_t		from = window * context->step;
	size_t		n = TE_MIN(context->room, context->n_context - from);
	bool		has_first = context->tokens[0].special;
	size_t		n_rows;
	int			width;
	const float *logits = te_job_values(answers->job, input->first_row + window, &n_rows, &width);

	te_assert(width == 2 && n_rows >= context->n_before + n);
	spread(logits, has_first, context->n_before, n, 0, starts);
	spread(logits, has_first, context->n_before, n, 1, stops);
	for (size_t i = 0; i < n; i++)
	{
		for (size_t j = i; j < TE_MIN(i + MAX_ANSWER, n); j++)
		{
			if (!(starts[i] * stops[j] > best->score))
				continue;
			best->score = starts[i] * stops[j];
			place_span(context->tokens + context->n_before + from, n, i, j, best);
		}
	}
}

TeAnswer
te_answers_best(TeAnswers *answers, size_t i)
{
	const Input *input = &answers->inputs[i];
	TeAnswer	best = {.score = -1};
	size_t		most = TE_MIN(input->context.room, input->context.n_context);

	te_assert(i < answers->n);
	for (size_t window = 0; window < input->n_windows; window++)
		answer_window(answers, input, window, answers->work, answers->work + most, &best);
	best.found = best.score >= 0;
	return best;
}
