/*-------------------------------------------------------------------------
 * evaluate_texts.c
 *	  Forms of rows without labels: answers to questions, texts to mask words
 *	  of or to foretell, pairs with a score, anchors with what is to be found (evaluate.h).
 *
 * Ranking.  The texts to be found, and those that are to be told from them, are
 * ranked by their cosine with an anchor, as a search would.  All rows' texts are candidates, up to the first
 * POOL_ROWS rows (fewer where vectors are long and session memory is short): every row, also one behind them,
 * is ranked among those candidates and its own text, so that memory is bounded and no row has it easier
 * than others.  `candidates` says how many different texts there were.  Equal texts are one candidate;
 * every text that belongs to the same anchor is right, so none counts against another; one that scores the same as
 * the right one counts as better, so that a model which gives all texts one vector finds nothing.
 *-------------------------------------------------------------------------
 */
#include "pg/evaluate.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"

#define POOL_ROWS 4096

static const TeJobOptions no_options;

/* ---- (question, context, answer): the answer that answer() gives ---- */

typedef struct AnswerSums
{
	TeArena    *arena;			/* of a comparison */
	double		exact;
	double		f1;
	Datum	   *given;			/* of the slice: what the model says; 0: nothing */
} AnswerSums;

static void
answer_begin(TrEvaluation *e)
{
	AnswerSums *state = palloc0(sizeof(AnswerSums));

	state->arena = te_arena_create(e->arena, "answers");
	e->state = state;
}

static void
answer_take(TrEvaluation *e)
{
	TrTexts    *right = palloc(sizeof(TrTexts));

	if (tr_eval_has(e, TR_COLUMN_ANSWER))
	{
		*right = (TrTexts) {.values = palloc(sizeof(Datum)),.n = 1};
		right->values[0] = tr_eval_text(e, TR_COLUMN_ANSWER);
	}
	else
		*right = tr_eval_texts(e, TR_COLUMN_ANSWERS);
	e->items[e->texts.n] = right;
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_QUESTION);
	e->texts.pairs[e->texts.n] = tr_eval_text(e, TR_COLUMN_CONTEXT);
}

static void
keep_answer(void *arg, int i, Datum *row)
{
	TrEvaluation *e = arg;
	AnswerSums *state = e->state;
	MemoryContext old = MemoryContextSwitchTo(e->slice);

	state->given[i] = PointerGetDatum(DatumGetTextPCopy(row[0]));
	MemoryContextSwitchTo(old);
}

/* The best of what several right answers give, as SQuAD has it; a question without one is to have none. */
static void
add_answer(AnswerSums *state, const TrTexts *right, TeStr given)
{
	TeAnswerScore best = {0};

	te_arena_reset(state->arena);
	if (right->n == 0)
		best = te_answer_score(state->arena, TE_STR(""), given);
	for (int i = 0; i < right->n; i++)
	{
		TeAnswerScore score = te_answer_score(state->arena, tr_utf8(DatumGetTextPP(right->values[i])), given);

		best.exact = fmax(best.exact, score.exact);
		best.f1 = fmax(best.f1, score.f1);
	}
	state->exact += best.exact;
	state->f1 += best.f1;
}

static void
answer_run(TrEvaluation *e)
{
	AnswerSums *state = e->state;

	state->given = palloc0(sizeof(Datum) * e->texts.n);
	tr_answer_each(e->model, &e->texts, keep_answer, e);
	for (int i = 0; i < e->texts.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_answer(state, e->items[i], state->given[i] != 0 ? tr_utf8(DatumGetTextPP(state->given[i])) : TE_STR(""));
	}
}

static void
answer_show(TrEvaluation *e)
{
	const AnswerSums *state = e->state;

	tr_eval_show(e, "exact_match", state->exact / e->rows);
	tr_eval_show(e, "f1", state->f1 / e->rows);
}

const TrFormOps tr_form_answer = {NULL, answer_begin, answer_take, answer_run, answer_show};

/* ---- (text): words that are masked ---- */

static void
masked_begin(TrEvaluation *e)
{
	e->state = palloc0(sizeof(TeMaskedScore));
}

static void
masked_take(TrEvaluation *e)
{
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_TEXT);
}

static void
masked_run(TrEvaluation *e)
{
	TeMaskedScore *sums = e->state;
	TeJob	   *job = tr_job_begin(e->model, "fill", &no_options);
	TeArena    *arena = te_arena_create(e->arena, "masks");
	TeMasked   *masked = te_masked_create(arena, job, tr_session_limit() / 4);
	TeMaskedScore score;

	for (int i = 0; i < e->texts.n; i++)
		te_masked_feed(masked, tr_utf8(DatumGetTextPP(e->texts.values[i])), e->first_row + i);
	score = te_masked_score(masked);
	sums->tokens += score.tokens;
	sums->masked += score.masked;
	sums->right += score.right;
	sums->loss += score.loss;
	te_arena_destroy(arena);
	(void) tr_job_end(e->model, job);
}

static void
masked_show(TrEvaluation *e)
{
	const TeMaskedScore *sums = e->state;
	double		masked = sums->masked > 0 ? (double) sums->masked : get_float8_nan();

	tr_eval_show(e, "tokens", (double) sums->tokens);
	tr_eval_show(e, "masked", (double) sums->masked);
	tr_eval_show(e, "loss", sums->loss / masked);
	tr_eval_show(e, "perplexity", te_perplexity(sums->loss, sums->masked));
	tr_eval_show(e, "accuracy", sums->right / masked);
}

const TrFormOps tr_form_masked = {NULL, masked_begin, masked_take, masked_run, masked_show};

/* ---- (text) and (prompt, completion): tokens that are foretold from those before ---- */

static void
written_begin(TrEvaluation *e)
{
	e->state = palloc0(sizeof(TrLoss));
}

static void
completed_take(TrEvaluation *e)
{
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_PROMPT);
	e->texts.pairs[e->texts.n] = tr_eval_text(e, TR_COLUMN_COMPLETION);
}

static void
written_run(TrEvaluation *e)
{
	TrLoss	   *sums = e->state;

	for (int i = 0; i < e->texts.n; i++)
	{
		NullableDatum target = {.value = e->texts.pairs[i],.isnull = e->texts.pairs[i] == (Datum) 0};
		TrLoss		loss = tr_text_loss(e->model, e->texts.values[i], &target);

		sums->tokens += loss.tokens;
		sums->counted += loss.counted;
		sums->sum += loss.sum;
	}
}

static void
written_show(TrEvaluation *e)
{
	const TrLoss *sums = e->state;
	double		counted = sums->counted > 0 ? (double) sums->counted : get_float8_nan();

	tr_eval_show(e, "tokens", (double) sums->tokens);
	tr_eval_show(e, "loss", sums->sum / counted);
	tr_eval_show(e, "perplexity", te_perplexity(sums->sum, sums->counted));
}

const TrFormOps tr_form_written = {NULL, written_begin, masked_take, written_run, written_show};
const TrFormOps tr_form_completed = {NULL, written_begin, completed_take, written_run, written_show};

/* ---- (text, text_pair, score): cosines ---- */

static void
pairs_begin(TrEvaluation *e)
{
	e->state = palloc0(sizeof(TrNumbers));
	tr_numbers_begin(e, e->state);
}

static void
pairs_take(TrEvaluation *e)
{
	double	   *score = palloc(sizeof(double));

	*score = tr_eval_score(e);
	e->items[e->texts.n] = score;
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_TEXT);
	e->texts.pairs[e->texts.n] = tr_eval_text(e, TR_COLUMN_PAIR);
}

/* One text of each row of the slice. */
static TrVectors
embed(TrEvaluation *e, Datum *values, const char *kind)
{
	TrTexts		texts = {.values = values,.nulls = e->texts.nulls,.n = e->texts.n};
	TeJobOptions options = {.kind = kind != NULL ? te_str(kind) : (TeStr) {NULL, 0}};

	return tr_embed_all(e->model, &options, &texts);
}

static void
pairs_run(TrEvaluation *e)
{
	TrVectors	a = embed(e, e->texts.values, NULL);
	TrVectors	b = embed(e, e->texts.pairs, NULL);

	for (int i = 0; i < e->texts.n; i++)
		tr_numbers_add(e->state, *(double *) e->items[i],
					   tr_cosine(a.vectors + (Size) i * a.dimensions, b.vectors + (Size) i * b.dimensions, a.dimensions));
}

static void
pairs_show(TrEvaluation *e)
{
	tr_numbers_show(e, e->state, false);
}

const TrFormOps tr_form_pairs = {NULL, pairs_begin, pairs_take, pairs_run, pairs_show};

/* ---- (anchor, positive [, negative]): search ---- */

/* A text that may be found; the key is its hash. */
typedef struct Candidate
{
	uint64		text;
	float	   *vector;
} Candidate;

/* A row, or one of the pool; vectors have length 1. */
typedef struct RankedRow
{
	float	   *anchor;
	float	   *positive;
	uint64		anchor_text;	/* hashes */
	uint64		positive_text;
} RankedRow;

typedef struct Ranking
{
	int			dimensions;
	bool		negatives;
	int			most_rows;		/* of the pool */
	bool		full;			/* its rows have been ranked */
	RankedRow  *rows;			/* of the pool, whose anchors are wanted until it is full */
	int			n_rows;
	Candidate  *candidates;		/* different texts of the pool */
	int			n_candidates;
	HTAB	   *seen;			/* the same by their hashes */
	float	   *wrong;			/* work space: cosines of candidates */
	uint64	   *right;			/* work space: texts that belong to an anchor */
	uint64		first;			/* anchors whose text is found first */
	double		reciprocal;		/* sum of reciprocal ranks */
	uint64		told_apart;		/* rows whose positive is nearer than its negative */
} Ranking;

static void
ranking_begin(TrEvaluation *e)
{
	Ranking    *state = palloc0(sizeof(Ranking));
	HASHCTL		control = {.keysize = sizeof(uint64),.entrysize = sizeof(Candidate),.hcxt = e->memory};
	Size		row_bytes;

	state->dimensions = te_model_dimensions(e->engine);
	state->negatives = tr_eval_has(e, TR_COLUMN_NEGATIVE);
	row_bytes = sizeof(float) * Max(state->dimensions, 1) * (2 + state->negatives);
	state->most_rows = (int) Max(1, Min(POOL_ROWS, tr_session_limit() / 4 / row_bytes));
	state->rows = palloc(sizeof(RankedRow) * state->most_rows);
	state->candidates = palloc(sizeof(Candidate) * state->most_rows * 2);
	state->wrong = palloc(sizeof(float) * state->most_rows * 2);
	state->right = palloc(sizeof(uint64) * (state->most_rows + 1));
	state->seen = hash_create("transformer candidates", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	e->state = state;
}

static void
ranking_take(TrEvaluation *e)
{
	e->texts.values[e->texts.n] = tr_eval_text(e, TR_COLUMN_ANCHOR);
	e->texts.pairs[e->texts.n] = tr_eval_text(e, TR_COLUMN_POSITIVE);
	if (tr_eval_has(e, TR_COLUMN_NEGATIVE))
		e->thirds[e->texts.n] = tr_eval_text(e, TR_COLUMN_NEGATIVE);
}

static uint64
hash_text(Datum value)
{
	text	   *t = DatumGetTextPP(value);

	return te_hash(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* Vectors of length 1, so that cosines are products; a vector of zeros stays one. */
static TrVectors
directions(TrEvaluation *e, Datum *values, const char *kind)
{
	TrVectors	found = embed(e, values, kind);

	for (int i = 0; i < e->texts.n; i++)
	{
		float	   *vector = found.vectors + (Size) i * found.dimensions;
		double		length = sqrt(te_vector_dot(vector, vector, found.dimensions));

		for (int j = 0; j < found.dimensions && length > 0; j++)
			vector[j] = (float) (vector[j] / length);
	}
	return found;
}

static float *
keep_vector(TrEvaluation *e, const float *vector)
{
	Size		bytes = sizeof(float) * ((Ranking *) e->state)->dimensions;

	return memcpy(MemoryContextAlloc(e->memory, bytes), vector, bytes);
}

/* The candidate of a text, with the vector that is kept of it. */
static const Candidate *
add_candidate(TrEvaluation *e, const float *vector, uint64 text)
{
	Ranking    *state = e->state;
	bool		found;
	Candidate  *candidate = hash_search(state->seen, &text, HASH_ENTER, &found);

	if (!found)
	{
		candidate->vector = keep_vector(e, vector);
		state->candidates[state->n_candidates++] = *candidate;
	}
	return candidate;
}

static int
compare_texts(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* The texts that belong to an anchor, in the order of their hashes; how many. */
static int
find_right(Ranking *state, const RankedRow *row)
{
	int			n = 0;

	state->right[n++] = row->positive_text;
	for (int i = 0; i < state->n_rows; i++)
		if (state->rows[i].anchor_text == row->anchor_text)
			state->right[n++] = state->rows[i].positive_text;
	qsort(state->right, n, sizeof(uint64), compare_texts);
	return n;
}

static void
rank_row(Ranking *state, const RankedRow *row)
{
	int			n_right = find_right(state, row);
	size_t		n_wrong = 0;
	size_t		rank;

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < state->n_candidates; i++)
	{
		const Candidate *candidate = &state->candidates[i];

		if (bsearch(&candidate->text, state->right, n_right, sizeof(uint64), compare_texts) == NULL)
			state->wrong[n_wrong++] = (float) te_vector_dot(row->anchor, candidate->vector, state->dimensions);
	}
	rank = te_rank((float) te_vector_dot(row->anchor, row->positive, state->dimensions), state->wrong, n_wrong);
	state->first += rank == 1;
	state->reciprocal += 1.0 / rank;
}

/* The pool has all that it will have: rank its rows, which have waited for that. */
static void
close_pool(Ranking *state)
{
	if (state->full)
		return;
	state->full = true;
	for (int i = 0; i < state->n_rows; i++)
		rank_row(state, &state->rows[i]);
}

static void
ranking_run(TrEvaluation *e)
{
	Ranking    *state = e->state;
	TrVectors	anchors = directions(e, e->texts.values, "query");
	TrVectors	positives = directions(e, e->texts.pairs, "passage");
	TrVectors	negatives = {0};

	if (state->negatives)
		negatives = directions(e, e->thirds, "passage");
	for (int i = 0; i < e->texts.n; i++)
	{
		Size		at = (Size) i * state->dimensions;
		RankedRow	row = {anchors.vectors + at, positives.vectors + at, hash_text(e->texts.values[i]), hash_text(e->texts.pairs[i])};

		if (state->negatives)
			state->told_apart += te_vector_dot(row.anchor, row.positive, state->dimensions)
				> te_vector_dot(row.anchor, negatives.vectors + at, state->dimensions);
		if (state->n_rows == state->most_rows)
		{
			close_pool(state);
			rank_row(state, &row);
			continue;
		}
		row.anchor = keep_vector(e, row.anchor);
		row.positive = add_candidate(e, row.positive, row.positive_text)->vector;
		if (state->negatives)
			(void) add_candidate(e, negatives.vectors + at, hash_text(e->thirds[i]));
		state->rows[state->n_rows++] = row;
	}
}

static void
ranking_show(TrEvaluation *e)
{
	Ranking    *state = e->state;

	close_pool(state);
	tr_eval_show(e, "candidates", state->n_candidates);
	tr_eval_show(e, "accuracy_at_1", (double) state->first / e->rows);
	tr_eval_show(e, "mrr", state->reciprocal / e->rows);
	if (state->negatives)
		tr_eval_show(e, "triplet_accuracy", (double) state->told_apart / e->rows);
}

const TrFormOps tr_form_ranking = {NULL, ranking_begin, ranking_take, ranking_run, ranking_show};
