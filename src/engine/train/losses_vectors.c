/*-------------------------------------------------------------------------
 * losses_vectors.c
 *	  What embeddings are compared by: their cosines, among one another or with what they should be.
 *
 * Vectors may have any length: each is divided by its own here, and the gradient goes back through
 * that.  A loss is computed in tasks of one row each, which write to that row alone; sums are added in the order of the
 * rows, in double precision.  So nothing depends on the number of workers.
 *
 * The examples of a batch stand one after the other, each with as many rows as it has texts.
 *
 * In-batch negatives are those of Henderson et al. 2017, as sentence-transformers'
 * MultipleNegativesRankingLoss has them; te_loss_cosine() is its CosineSimilarityLoss, te_loss_triplet() its
 * TripletLoss with the cosine distance.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

#define MIN_NORM 1e-12f

/* Vectors of length 1, and what their gradients are. */
typedef struct Units
{
	size_t		rows;
	size_t		cols;
	float	   *u;				/* [rows, cols] */
	float	   *norms;
	float	   *d_u;			/* the same shape, zero at first; NULL: none is wanted */
	float		scale;			/* of the gradients that are added to d */
	float	   *d;
} Units;

static void
normalize_task(void *arg, size_t row, int worker)
{
	const Units *units = arg;
	float	   *u = units->u + row * units->cols;
	float		norm = sqrtf(te_kernel.dot(units->cols, u, u));

	units->norms[row] = fmaxf(norm, MIN_NORM);
	te_kernel.scale(units->cols, 1 / units->norms[row], u, u);
}

static Units
make_units(TeArena *arena, const float *vectors, size_t rows, size_t cols, float scale, float *d)
{
	Units		units = {rows, cols, .scale = scale, .d = d};

	units.u = te_new_array(arena, float, te_mul_size(rows, cols));
	units.norms = te_new_array(arena, float, rows);
	units.d_u = d != NULL ? te_new_array(arena, float, te_mul_size(rows, cols)) : NULL;
	memcpy(units.u, vectors, rows * cols * sizeof(float));
	te_parallel_for(rows, normalize_task, &units);
	return units;
}

/* u = x / |x|, so d_x = (d_u - u (u . d_u)) / |x|. */
static void
gradient_task(void *arg, size_t row, int worker)
{
	const Units *units = arg;
	const float *u = units->u + row * units->cols;
	float	   *d_u = units->d_u + row * units->cols;
	float		along = te_kernel.dot(units->cols, u, d_u);

	te_kernel.axpy(units->cols, -along, u, d_u);
	te_kernel.axpy(units->cols, units->scale / units->norms[row], d_u, units->d + row * units->cols);
}

static void
add_gradients(Units *units)
{
	if (units->d != NULL)
		te_parallel_for(units->rows, gradient_task, units);
}

static float
unit_cosine(const Units *units, size_t a, size_t b)
{
	return te_kernel.dot(units->cols, units->u + a * units->cols, units->u + b * units->cols);
}

/* The loss changes by `slope` with the cosine of two of them. */
static void
add_slope(Units *units, size_t a, size_t b, float slope)
{
	if (units->d == NULL)
		return;
	te_kernel.axpy(units->cols, slope, units->u + b * units->cols, units->d_u + a * units->cols);
	te_kernel.axpy(units->cols, slope, units->u + a * units->cols, units->d_u + b * units->cols);
}

/* ---- in-batch negatives ---- */

typedef struct InBatch
{
	Units		units;
	size_t		n;				/* examples */
	size_t		each;			/* rows of one */
	size_t		n_candidates;
	float		cosine_scale;
	float	   *slopes;			/* [n, candidates]: of the loss by a scaled cosine */
	double	   *losses;
	uint8_t    *right;
} InBatch;

/* The positives of all examples are the first candidates, then come their negatives. */
static const float *
candidate(const InBatch *batch, size_t c)
{
	return batch->units.u + ((c % batch->n) * batch->each + 1 + c / batch->n) * batch->units.cols;
}

static void
anchor_task(void *arg, size_t i, int worker)
{
	const InBatch *batch = arg;
	size_t		cols = batch->units.cols;
	const float *anchor = batch->units.u + i * batch->each * cols;
	float	   *z = batch->slopes + i * batch->n_candidates;
	float		largest;
	double		sum = 0;

	for (size_t c = 0; c < batch->n_candidates; c++)
		z[c] = batch->cosine_scale * te_kernel.dot(cols, anchor, candidate(batch, c));
	largest = te_kernel.max(batch->n_candidates, z);
	for (size_t c = 0; c < batch->n_candidates; c++)
		sum += exp((double) (z[c] - largest));
	batch->losses[i] = (double) largest + log(sum) - (double) z[i];
	batch->right[i] = z[i] == largest;
	if (batch->units.d == NULL)
		return;
	for (size_t c = 0; c < batch->n_candidates; c++)
	{
		z[c] = (float) (exp((double) (z[c] - largest)) / sum) - (c == i ? 1.0f : 0.0f);
		te_kernel.axpy(cols, batch->cosine_scale * z[c], candidate(batch, c), batch->units.d_u + i * batch->each * cols);
	}
}

static void
candidate_task(void *arg, size_t c, int worker)
{
	const InBatch *batch = arg;
	size_t		cols = batch->units.cols;
	float	   *d_u = batch->units.d_u + (candidate(batch, c) - batch->units.u);

	for (size_t i = 0; i < batch->n; i++)
		te_kernel.axpy(cols, batch->cosine_scale * batch->slopes[i * batch->n_candidates + c],
					   batch->units.u + i * batch->each * cols, d_u);
}

void
te_loss_in_batch(TeArena *arena, const float *vectors, size_t n, size_t each, size_t cols, float cosine_scale, float scale,
				 float *d, TeLossSum *sum)
{
	InBatch		batch = {
		.units = make_units(arena, vectors, te_mul_size(n, each), cols, scale, d),
		.n = n,
		.each = each,
		.n_candidates = te_mul_size(n, each - 1),
		.cosine_scale = cosine_scale,
		.losses = te_new_array(arena, double, n),
		.right = te_alloc(arena, n),
	};

	batch.slopes = te_alloc(arena, te_mul_size(te_mul_size(n, batch.n_candidates), sizeof(float)));
	te_parallel_for(n, anchor_task, &batch);
	if (d != NULL)
		te_parallel_for(batch.n_candidates, candidate_task, &batch);
	add_gradients(&batch.units);
	for (size_t i = 0; i < n; i++)
	{
		sum->loss += batch.losses[i];
		sum->weight++;
		sum->n_right += batch.right[i];
		sum->n_judged++;
	}
}

/* ---- cosines of an example's own vectors ---- */

void
te_loss_cosine(TeArena *arena, const float *vectors, size_t n, size_t cols, const float *targets, float scale, float *d,
			   TeLossSum *sum)
{
	Units		units = make_units(arena, vectors, te_mul_size(n, 2), cols, scale, d);

	for (size_t i = 0; i < n; i++)
	{
		double		difference = (double) unit_cosine(&units, 2 * i, 2 * i + 1) - targets[i];

		add_slope(&units, 2 * i, 2 * i + 1, (float) (2 * difference));
		sum->loss += difference * difference;
		sum->weight++;
	}
	add_gradients(&units);
}

void
te_loss_triplet(TeArena *arena, const float *vectors, size_t n, size_t cols, float margin, float scale, float *d, TeLossSum *sum)
{
	Units		units = make_units(arena, vectors, te_mul_size(n, 3), cols, scale, d);

	for (size_t i = 0; i < n; i++)
	{
		double		positive = unit_cosine(&units, 3 * i, 3 * i + 1);
		double		negative = unit_cosine(&units, 3 * i, 3 * i + 2);
		double		loss = negative - positive + margin;

		if (loss > 0)
		{
			add_slope(&units, 3 * i, 3 * i + 1, -1);
			add_slope(&units, 3 * i, 3 * i + 2, 1);
			sum->loss += loss;
		}
		sum->weight++;
		sum->n_right += positive > negative;
		sum->n_judged++;
	}
	add_gradients(&units);
}

/* ---- the direction of another vector ---- */

void
te_loss_direction(TeArena *arena, const float *vectors, size_t rows, size_t cols, const float *targets, float scale, float *d,
				  TeLossSum *sum)
{
	Units		units = make_units(arena, vectors, rows, cols, scale, d);
	Units		wanted = make_units(arena, targets, rows, cols, 0, NULL);

	for (size_t r = 0; r < rows; r++)
	{
		const float *target = wanted.u + r * cols;

		sum->loss += 1 - (double) te_kernel.dot(cols, units.u + r * cols, target);
		sum->weight++;
		if (d != NULL)
			te_kernel.axpy(cols, -1, target, units.d_u + r * cols);
	}
	add_gradients(&units);
}
