/*-------------------------------------------------------------------------
 * metrics_masked.c
 *	  How well a masked language model knows texts: its loss on words that are
 *	  hidden from it.
 *
 * As in pretraining (Devlin et al. 2018), but every chosen token becomes a mask, so that each is
 * a guess: SHARE of a text's tokens at random, all of them at once, and one at least.  The
 * exponential of the mean loss is called pseudo-perplexity here; that of Salazar et al. (2020) masks one token at
 * a time, which is a pass for each, and is lower.  It compares models with the same vocabulary only.
 *
 * Which tokens depends on the text's number and their place in it, and on nothing else: not on how
 * texts are put into batches.  Texts that are longer than the model's context are cut into windows one
 * after the other, so that nothing is left out.  A mask that was in the text already stays one and is not counted.
 *
 * Logits are as wide as the vocabulary: the job runs when those of its masks reach the limit, and of its
 * result only sums are kept.
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "model/model.h"

#define SEED UINT64_C(20181011)
#define SHARE 0.15
#define NO_TARGET -1			/* of a mask that was there */

/* The masks of a row, in its order. */
typedef struct MaskedRow
{
	size_t		row;			/* of the job */
	size_t		n;
	int32_t    *targets;
} MaskedRow;

struct TeMasked
{
	TeArena    *arena;			/* of rows: reset with the job */
	TeArena    *text_arena;		/* of the text that is fed */
	TeJob	   *job;
	const TeModel *model;
	int32_t		mask;
	size_t		most;			/* masks at a time */
	size_t		n_masks;
	size_t		n_rows;
	size_t		capacity;
	MaskedRow  *rows;
	TeMaskedScore score;
};

TeMasked *
te_masked_create(TeArena *arena, TeJob *job, size_t limit)
{
	TeMasked   *masked = te_new(arena, TeMasked);
	size_t		row_bytes = (size_t) te_job_width(job) * sizeof(float);

	masked->arena = te_arena_create(arena, "masked rows");
	masked->text_arena = te_arena_create(arena, "masked text");
	masked->job = job;
	masked->model = te_job_model(job);
	masked->mask = te_model_mask(masked->model);
	masked->most = TE_MAX(1, limit / TE_MAX(row_bytes, 1));
	return masked;
}

/* ---- sums ---- */

static void
add_logits(TeMasked *masked, const float *logits, size_t n, int32_t target)
{
	double		sum = 0;
	size_t		best = 0;

	if (target == NO_TARGET)
		return;
	for (size_t i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	for (size_t i = 0; i < n; i++)
		sum += exp((double) logits[i] - logits[best]);
	masked->score.masked++;
	masked->score.right += best == (size_t) target;
	masked->score.loss += log(sum) + logits[best] - logits[target];
}

static void
run(TeMasked *masked)
{
	te_job_run(masked->job);
	for (size_t i = 0; i < masked->n_rows; i++)
	{
		const MaskedRow *row = &masked->rows[i];
		size_t		n;
		int			width;
		const float *logits = te_job_values(masked->job, row->row, &n, &width);

		te_assert(n == row->n);
		te_check_interrupts();
		for (size_t m = 0; m < n; m++)
			add_logits(masked, logits + m * width, width, row->targets[m]);
	}
	te_job_reset(masked->job);
	te_arena_reset(masked->arena);
	masked->rows = NULL;
	masked->n_masks = masked->n_rows = masked->capacity = 0;
}

TeMaskedScore
te_masked_score(TeMasked *masked)
{
	if (masked->n_rows > 0)
		run(masked);
	return masked->score;
}

/* ---- masks ---- */

/* Steele et al., Fast splittable pseudorandom number generators (2014): its finalizer. */
static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* In [0, 1), for token i of a text. */
static double
chance(uint64_t number, size_t i)
{
	return (double) (mix(mix(SEED + number * UINT64_C(0x9e3779b97f4a7c15)) + i * UINT64_C(0xd1b54a32d192ed03)) >> 11) * 0x1p-53;
}

/* The token of a text that is masked in any case. */
static size_t
surest(uint64_t number, size_t n)
{
	size_t		least = 0;

	for (size_t i = 1; i < n; i++)
		least = chance(number, i) < chance(number, least) ? i : least;
	return least;
}

static void
add_row(TeMasked *masked, MaskedRow row)
{
	if (masked->n_rows == masked->capacity)
	{
		size_t		capacity = masked->capacity == 0 ? 64 : te_mul_size(masked->capacity, 2);
		MaskedRow  *rows = te_new_array(masked->arena, MaskedRow, capacity);

		if (masked->n_rows > 0)
			memcpy(rows, masked->rows, masked->n_rows * sizeof(MaskedRow));
		masked->rows = rows;
		masked->capacity = capacity;
	}
	masked->rows[masked->n_rows++] = row;
	masked->n_masks += row.n;
}

/* Feed the tokens of a window as they are, those that are chosen as masks; no row where none is. */
static void
feed_window(TeMasked *masked, TeToken *window, size_t n, const bool *chosen)
{
	MaskedRow	row = {.targets = te_new_array(masked->arena, int32_t, n)};
	int32_t		vocabulary = te_job_width(masked->job);

	for (size_t i = 0; i < n; i++)
	{
		if (!chosen[i] && window[i].id != masked->mask)
			continue;
		if (window[i].id < 0 || window[i].id >= vocabulary)
			te_throw(TE_ERR_CORRUPT, "the tokenizer gives token %d, but the model's vocabulary has %d",
					 (int) window[i].id, (int) vocabulary);
		row.targets[row.n++] = window[i].id != masked->mask ? window[i].id : NO_TARGET;
		window[i].id = masked->mask;
	}
	if (row.n == 0)
		return;
	row.row = te_job_feed_tokens(masked->job, window, n);
	add_row(masked, row);
}

/* A text's tokens, the special ones in front and behind apart. */
typedef struct Body
{
	TeToken    *tokens;
	size_t		before;
	size_t		n;
	size_t		behind;
} Body;

static Body
tokenize(TeMasked *masked, TeStr text)
{
	size_t		n;
	Body		body = {0};

	body.tokens = te_encode_alloc(te_model_tokenizer(masked->model), masked->text_arena, text, (TeStr) {NULL, 0}, true, 0, &n, NULL);
	while (body.before < n && body.tokens[body.before].special)
		body.before++;
	while (body.before + body.behind < n && body.tokens[n - 1 - body.behind].special)
		body.behind++;
	body.n = n - body.before - body.behind;
	return body;
}

void
te_masked_feed(TeMasked *masked, TeStr text, uint64_t number)
{
	Body		body;
	size_t		context = te_model_context_length(masked->model);
	size_t		around;
	size_t		room;
	size_t		sure;
	TeToken    *window;
	bool	   *chosen;

	te_arena_reset(masked->text_arena);
	body = tokenize(masked, text);
	around = body.before + body.behind;
	sure = surest(number, body.n);
	if (context > 0 && context <= around)
		te_throw(TE_ERR_UNSUPPORTED, "the model takes %zu tokens at most, and its tokenizer adds %zu to each text", context, around);
	room = context > 0 ? TE_MIN(body.n, context - around) : body.n;
	window = te_new_array(masked->text_arena, TeToken, room + around);
	chosen = te_new_array(masked->text_arena, bool, room + around);
	for (size_t from = 0; from < body.n; from += room)
	{
		size_t		n = TE_MIN(room, body.n - from);

		te_check_interrupts();
		memcpy(window, body.tokens, body.before * sizeof(TeToken));
		memcpy(window + body.before, body.tokens + body.before + from, n * sizeof(TeToken));
		memcpy(window + body.before + n, body.tokens + body.before + body.n, body.behind * sizeof(TeToken));
		memset(chosen, 0, (room + around) * sizeof(bool));
		for (size_t i = 0; i < n; i++)
			chosen[body.before + i] = from + i == sure || chance(number, from + i) < SHARE;
		feed_window(masked, window, body.before + n + body.behind, chosen);
		if (masked->n_masks >= masked->most)
			run(masked);
	}
	masked->score.tokens += body.n;
}
