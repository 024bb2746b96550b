/*-------------------------------------------------------------------------
 * objective_causal.c
 *	  Objectives of the token that follows: causal, of all of a text; completion, of the
 *	  second of two texts.
 *
 * causal: a text of any length is cut into sequences of the run's longest, each
 * beginning with the tokens that the tokenizer puts before a text.  The end of a text is learned where the
 * tokenizer has a token for it.
 *
 * completion: what is generated for a prompt; the prompt is read, and is no term of the loss.  Too long a prompt loses
 * tokens from its beginning, too long a completion from its end.
 *
 * An example's only target is the number of tokens, from the first on, that are not to be guessed.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#define UNBOUNDED_TOKENS 2048	/* of a sequence, where neither model nor run have a bound */

/* Tokens of a text, without special ones, however many. */
static TeToken *
tokens_of(TeExamples *examples, TeStr text, size_t *n)
{
	size_t		n_untruncated;

	return te_encode_alloc(te_model_tokenizer(te_examples_model(examples)), te_examples_arena(examples), text,
						   (TeStr) {NULL, 0}, false, 0, n, &n_untruncated);
}

/* What stands before and after a text: the tokens that an empty one has, all of them before but for a last one that ends texts. */
typedef struct Frame
{
	size_t		n_before;
	size_t		n_after;		/* 0 or 1 */
	TeToken    *tokens;
} Frame;

static const char *const end_tokens[] = {"</s>", "<|endoftext|>", "<|im_end|>", "[SEP]", "<eos>", "<|end_of_text|>"};

static int32_t
end_token(const TeTokenizer *tokenizer)
{
	for (size_t i = 0; i < TE_LENGTH(end_tokens); i++)
	{
		int32_t		id = te_token_id(tokenizer, te_str(end_tokens[i]));

		if (id >= 0)
			return id;
	}
	return -1;
}

static Frame
read_frame(TeExamples *examples)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(te_examples_model(examples));
	size_t		n;
	size_t		n_untruncated;
	int32_t		end = end_token(tokenizer);
	Frame		frame = {0};
	TeToken    *added = te_encode_alloc(tokenizer, te_examples_arena(examples), TE_STR(""), (TeStr) {NULL, 0}, true, 0, &n, &n_untruncated);

	frame.tokens = te_new_array(te_examples_arena(examples), TeToken, n + 1);
	if (n > 0)
		memcpy(frame.tokens, added, n * sizeof(TeToken));
	frame.n_before = n;
	if (n > 0 && added[n - 1].id == end)
	{
		frame.n_before--;
		frame.n_after = 1;
	}
	else if (end >= 0)
	{
		frame.tokens[n] = (TeToken) {.id = end};
		frame.n_after = 1;
	}
	return frame;
}

/* The most tokens of a sequence. */
static size_t
most_tokens(const TeExamples *examples)
{
	size_t		longest = te_examples_longest(examples);

	return longest == 0 ? UNBOUNDED_TOKENS : longest;
}

static void
put(TeExamples *examples, const TeToken *tokens, size_t n, int32_t n_given)
{
	TeExample	example = {.n_sequences = 1, .n_targets = 1, .targets = &n_given};

	if (n <= (size_t) n_given)
		return;
	example.sequences[0] = te_sequence_of_tokens(te_examples_arena(examples), tokens, n);
	te_examples_put(examples, &example);
}

static void
encode_text(TeExamples *examples, const TeValue *values)
{
	Frame		frame = read_frame(examples);
	size_t		most = most_tokens(examples);
	size_t		n;
	TeToken    *tokens = tokens_of(examples, values[0].text, &n);
	size_t		room = most > frame.n_before + 1 ? most - frame.n_before : 0;
	TeToken    *text;
	TeToken    *piece;

	if (room == 0)
		te_throw(TE_ERR_INVALID, "option \"max_length\" leaves no room for a text");
	if (n == 0)
		return;
	/* with what ends it behind it */
	text = te_new_array(te_examples_arena(examples), TeToken, n + frame.n_after);
	memcpy(text, tokens, n * sizeof(TeToken));
	memcpy(text + n, frame.tokens + frame.n_before, frame.n_after * sizeof(TeToken));
	n += frame.n_after;
	piece = te_new_array(te_examples_arena(examples), TeToken, most);
	memcpy(piece, frame.tokens, frame.n_before * sizeof(TeToken));
	for (size_t first = 0; first < n; first += room)
	{
		size_t		count = TE_MIN(room, n - first);

		memcpy(piece + frame.n_before, text + first, count * sizeof(TeToken));
		put(examples, piece, frame.n_before + count, 1);
	}
}

static void
encode_completion(TeExamples *examples, const TeValue *values)
{
	Frame		frame = read_frame(examples);
	size_t		most = most_tokens(examples);
	size_t		n_prompt;
	size_t		n_completion;
	TeToken    *prompt = tokens_of(examples, values[0].text, &n_prompt);
	TeToken    *completion = tokens_of(examples, values[1].text, &n_completion);
	size_t		room = most > frame.n_before + 1 ? most - frame.n_before : 0;
	TeToken    *all = te_new_array(te_examples_arena(examples), TeToken, frame.n_before + n_prompt + n_completion + 1);
	size_t		n = frame.n_before;

	if (room < 2)
		te_throw(TE_ERR_INVALID, "option \"max_length\" leaves no room for a completion");
	if (n_completion == 0)
		te_throw(TE_ERR_INVALID, "the completion has no tokens");
	if (n_prompt + n_completion + frame.n_after > room)
	{
		size_t		kept = TE_MIN(n_completion + frame.n_after, room - TE_MIN(n_prompt, room / 2));
		size_t		n_kept_prompt = TE_MIN(n_prompt, room - kept);

		te_examples_cut(examples, frame.n_before + n_prompt + n_completion + frame.n_after);
		prompt += n_prompt - n_kept_prompt;
		n_prompt = n_kept_prompt;
		if (kept < n_completion + frame.n_after)
		{
			n_completion = kept;
			frame.n_after = 0;
		}
	}
	memcpy(all, frame.tokens, frame.n_before * sizeof(TeToken));
	memcpy(all + n, prompt, n_prompt * sizeof(TeToken));
	n += n_prompt;
	memcpy(all + n, completion, n_completion * sizeof(TeToken));
	n += n_completion;
	if (frame.n_after > 0)
		all[n++] = frame.tokens[frame.n_before];
	put(examples, all, n, (int32_t) TE_MAX(frame.n_before + n_prompt, (size_t) 1));
}

static bool
fits(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets == 1 && example->targets[0] >= 1
		&& example->targets[0] < example->sequences[0].n;
}

/* A term for each token that is guessed. */
static double
count_terms(const TePiece *piece, TeExample *example, uint64_t stream)
{
	return example->sequences[0].n - example->targets[0];
}

/* The rows that a token follows which is to be guessed, and these tokens. */
static size_t
list_rows(const TePiece *piece, int32_t *rows, int32_t *targets)
{
	size_t		n = 0;

	for (size_t i = 0; i < piece->n_examples; i++)
	{
		const TeSequence *sequence = &piece->examples[i].sequences[0];

		for (int32_t t = piece->examples[i].targets[0]; t < sequence->n; t++)
		{
			rows[n] = piece->batch->seq_start[i] + t - 1;
			targets[n++] = sequence->ids[t];
		}
	}
	return n;
}

static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	TeNode	   *x = te_model_arch(piece->model)->forward(graph, piece->model, piece->batch);
	int32_t    *rows = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	int32_t    *targets = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	size_t		n = list_rows(piece, rows, targets);

	return te_head_forward(graph, piece->model, te_select_rows(graph, x, rows, n));
}

static void
loss(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *places = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	int32_t    *targets = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	size_t		n = list_rows(piece, places, targets);

	te_assert(n == rows);
	te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, NULL, (float) piece->options->label_smoothing, scale,
						  d_outputs, sum);
}

static const TeColumn text_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{NULL}
};

const TeObjective te_objective_causal = {
	.statement = "pretrain",
	.task = "clm",
	.usual = true,
	.name = "causal",
	.columns = text_columns,
	.head = TE_HEAD_CAUSAL,
	.model_task = "text-generation",
	.learning_rate = 5e-4,
	.encode = encode_text,
	.fits = fits,
	.prepare = count_terms,
	.compute = compute,
	.loss = loss,
};

static const TeColumn completion_columns[] = {
	{"prompt", TE_COLUMN_TEXT, false},
	{"completion", TE_COLUMN_TEXT, false},
	{NULL}
};

const TeObjective te_objective_completion = {
	.statement = "finetune",
	.task = "text-generation",
	.name = "completion",
	.columns = completion_columns,
	.head = TE_HEAD_CAUSAL,
	.model_task = "text-generation",
	.learning_rate = 5e-5,
	.encode = encode_completion,
	.fits = fits,
	.prepare = count_terms,
	.compute = compute,
	.loss = loss,
};
