/*-------------------------------------------------------------------------
 * task_fill.c
 *	  The task "fill": words for the mask of a text, with their probabilities.
 *
 * Only the hidden states of mask tokens go through the model's head: its last
 * layer is as wide as the vocabulary, and over all tokens it would cost as
 * much as some layers of the encoder.
 *
 * With top_k a text has one mask, and of its logits only the best words are
 * kept, when its batch has run: a vocabulary may have 250,000 words, and a job
 * thousands of texts.  A result is one row of top_k pairs, a word's id and its
 * probability (an id is exact as a float, TE_MAX_VOCABULARY being less than
 * 2^24).  Without, a result is a row of logits for each mask.
 *
 * Which token is the mask, tokenizer.json does not say.  It is called [MASK]
 * or <mask> in all families.
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "model/model.h"

static const struct
{
	const char *text;
	const char *hint;
}			masks[] = {
	{"[MASK]", "Write [MASK] once, where a word is to be found."},
	{"<mask>", "Write <mask> once, where a word is to be found."},
};

typedef struct Word
{
	float		id;
	float		score;			/* first the logit */
} Word;

_Static_assert(TE_MAX_VOCABULARY <= 1 << 24, "ids are exact as floats");

/* -1: none. */
static int32_t
find_mask(const TeModel *model, const char **hint)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(model);
	int32_t		id = -1;

	for (size_t i = 0; id < 0 && i < TE_LENGTH(masks); i++)
	{
		id = te_token_id(tokenizer, te_str(masks[i].text));
		*hint = masks[i].hint;
	}
	return id;
}

int32_t
te_model_mask(const TeModel *model)
{
	const char *hint;

	return find_mask(model, &hint);
}

static void
fill_needs(const TeModel *model, const TeJobOptions *options)
{
	if (te_model_head(model)->kind != TE_HEAD_MASK)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use a model whose config.json names a class like BertForMaskedLM.",
					  "a model for the task \"%.*s\" fills no masks", TE_STR_ARGS(te_model_task(model)));
	if (te_model_mask(model) < 0)
		te_throw(TE_ERR_UNSUPPORTED, "the model's tokenizer has no mask token");
	if (options->top_k < 0)
		te_throw(TE_ERR_INVALID, "top_k must not be negative");
}

static int
fill_width(const TeModel *model, const TeJobOptions *options)
{
	int			n = te_head_outputs(te_model_head(model), te_model_config(model));

	return options->top_k == 0 ? n : TE_MIN(options->top_k, n) * 2;
}

static TeStr
fill_prompt(const TeModel *model, const TeJobOptions *options)
{
	return (TeStr) {NULL, 0};
}

static size_t
fill_values(const TeModel *model, const TeJobOptions *options, const TeJobRow *row)
{
	const char *hint;
	int32_t		mask = find_mask(model, &hint);
	const char *detail = row->n_untruncated > row->n_tokens ? "The text is longer than the model takes, and was cut." : NULL;
	size_t		n = 0;

	for (uint32_t i = 0; i < row->n_tokens; i++)
		n += row->ids[i] == mask;
	if (options->top_k > 0 && n == 0)
		te_throw_hint(TE_ERR_INVALID, detail, hint, "the text has no mask token");
	if (options->top_k > 0 && n > 1)
		te_throw_hint(TE_ERR_INVALID, NULL, hint, "the text has %zu mask tokens", n);
	return n;
}

/* [masks, vocabulary] */
static TeNode *
fill_compute(TeArena *step, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	TeNode	   *x = te_model_arch(model)->forward(graph, model, batch);
	int32_t    *rows = te_new_array(step, int32_t, batch->n_tok);
	int32_t		mask = te_model_mask(model);
	size_t		n = 0;

	for (int i = 0; i < batch->n_tok; i++)
	{
		if (batch->ids[i] == mask)
			rows[n++] = i;
	}
	return te_head_forward(graph, model, te_select_rows(graph, x, rows, n));
}

/* ---- the best words of a row of logits ---- */

static bool
is_worse(const Word *a, const Word *b)
{
	return a->score < b->score || (a->score == b->score && a->id > b->id);
}

/* Move a word down a heap of n, whose top is the worst. */
static void
sift_down(Word *heap, size_t n, size_t i)
{
	Word		word = heap[i];

	for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1)
	{
		if (child + 1 < n && is_worse(&heap[child + 1], &heap[child]))
			child++;
		if (!is_worse(&heap[child], &word))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = word;
}

/* The k largest of n logits, best first. */
static void
select_words(const float *logits, size_t n, Word *words, size_t k)
{
	for (size_t i = 0; i < k; i++)
		words[i] = (Word) {(float) i, logits[i]};
	for (size_t i = k / 2; i-- > 0;)
		sift_down(words, k, i);
	for (size_t i = k; i < n; i++)
	{
		if (!(logits[i] > words[0].score))
			continue;
		words[0] = (Word) {(float) i, logits[i]};
		sift_down(words, k, 0);
	}
	for (size_t left = k; left-- > 1;)
	{
		Word		worst = words[0];

		words[0] = words[left];
		words[left] = worst;
		sift_down(words, left, 0);
	}
}

static void
fill_reduce(const TeJobOptions *options, const float *values, size_t n_rows, size_t cols, float *into)
{
	size_t		k = TE_MIN((size_t) options->top_k, cols);
	Word	   *words = (Word *) into;
	double		sum = 0;
	float		largest;

	if (options->top_k == 0)
	{
		memcpy(into, values, n_rows * cols * sizeof(float));
		return;
	}
	te_assert(n_rows == 1);
	select_words(values, cols, words, k);
	largest = words[0].score;
	for (size_t i = 0; i < cols; i++)
		sum += expf(values[i] - largest);
	for (size_t i = 0; i < k; i++)
		words[i].score = (float) (expf(words[i].score - largest) / sum);
}

const TeTaskKind te_task_fill = {
	.name = "fill",
	.needs = fill_needs,
	.width = fill_width,
	.prompt = fill_prompt,
	.n_values = fill_values,
	.compute = fill_compute,
	.reduce = fill_reduce,
};

/* ---- words as text ---- */

int
te_job_fills(const TeJob *job)
{
	return te_job_width(job) / 2;
}

/* A model may have more words than its tokenizer: they are empty. */
TeFill
te_job_fill(const TeJob *job, size_t row, int i, TeArena *arena)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(te_job_model(job));
	const TeJobRow *tokens = te_job_row(job, row);
	const Word *word = (const Word *) tokens->values + i;
	int32_t		id = (int32_t) word->id;
	int32_t		mask = te_model_mask(te_job_model(job));
	bool		known = id < te_vocab_size(tokenizer);
	int32_t    *ids = te_new_array(arena, int32_t, tokens->n_tokens);
	size_t		n = 0;

	for (uint32_t t = 0; t < tokens->n_tokens; t++)
	{
		if (tokens->ids[t] != mask)
			ids[n++] = tokens->ids[t];
		else if (known)
			ids[n++] = id;
	}
	return (TeFill)
	{
		.token = te_decode(tokenizer, arena, &id, known ? 1 : 0, false),
			.sequence = te_decode(tokenizer, arena, ids, n, true),
			.score = word->score,
	};
}
