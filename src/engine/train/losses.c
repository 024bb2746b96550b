/*-------------------------------------------------------------------------
 * losses.c
 *	  What outputs are compared with, and the gradient of the comparison.
 *
 * A loss is a sum over rows; each row is computed on a worker from that row alone, and the
 * sums of the rows are added in order, in double precision: nothing depends on the number of
 * workers.  Gradients are added, times a scale, to what is there.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

typedef struct CrossEntropy
{
	const float *logits;
	size_t		cols;
	const int32_t *targets;
	const float *class_weights;
	float		smoothing;
	float		scale;
	float	   *d;
	double	   *losses;			/* of the rows */
	uint8_t    *right;
} CrossEntropy;

static float
weight_of(const float *class_weights, int32_t target)
{
	return class_weights != NULL ? class_weights[target] : 1;
}

/*
 * -log softmax(z)[t], or with smoothing e: (1 - e) of that, and e of the mean over all classes.  Smoothed, class weights
 * count for each class of its own, as in torch.
 */
static void
cross_entropy_task(void *arg, size_t row, int worker)
{
	const CrossEntropy *ce = arg;
	const float *z = ce->logits + row * ce->cols;
	int32_t		target = ce->targets[row];
	float		largest = te_kernel.max(ce->cols, z);
	double		sum = 0;
	double		log_sum;
	double		loss;
	double		total = 0;
	double		smooth = (double) ce->smoothing / (double) ce->cols;

	ce->losses[row] = 0;
	ce->right[row] = 0;
	if (target < 0)
		return;
	for (size_t c = 0; c < ce->cols; c++)
		sum += exp((double) (z[c] - largest));
	log_sum = (double) largest + log(sum);
	loss = (1 - (double) ce->smoothing) * weight_of(ce->class_weights, target) * (log_sum - (double) z[target]);
	total = (1 - (double) ce->smoothing) * weight_of(ce->class_weights, target);
	for (size_t c = 0; ce->smoothing > 0 && c < ce->cols; c++)
	{
		loss += smooth * weight_of(ce->class_weights, (int32_t) c) * (log_sum - (double) z[c]);
		total += smooth * weight_of(ce->class_weights, (int32_t) c);
	}
	ce->losses[row] = loss;
	ce->right[row] = z[target] == largest;
	for (size_t c = 0; ce->d != NULL && c < ce->cols; c++)
	{
		double		d = total * exp((double) z[c] - log_sum);

		if (ce->smoothing > 0)
			d -= smooth * weight_of(ce->class_weights, (int32_t) c);
		if ((int32_t) c == target)
			d -= (1 - (double) ce->smoothing) * weight_of(ce->class_weights, target);
		ce->d[row * ce->cols + c] += ce->scale * (float) d;
	}
}

void
te_loss_cross_entropy(TeArena *arena, const float *logits, size_t rows, size_t cols, const int32_t *targets,
					  const float *class_weights, float smoothing, float scale, float *d, TeLossSum *sum)
{
	CrossEntropy ce = {logits, cols, targets, class_weights, smoothing, scale, d,
		te_new_array(arena, double, rows), te_alloc(arena, rows)};

	te_parallel_for(rows, cross_entropy_task, &ce);
	for (size_t r = 0; r < rows; r++)
	{
		if (targets[r] < 0)
			continue;
		sum->loss += ce.losses[r];
		sum->weight += weight_of(class_weights, targets[r]);
		sum->n_right += ce.right[r];
		sum->n_judged++;
	}
}

void
te_loss_binary(const float *logits, size_t rows, size_t cols, const float *targets, float scale, float *d, TeLossSum *sum)
{
	for (size_t r = 0; r < rows; r++)
	{
		double		loss = 0;
		bool		right = true;

		for (size_t c = 0; c < cols; c++)
		{
			double		z = logits[r * cols + c];
			double		t = targets[r * cols + c];

			/* log(1 + exp(z)) - t * z, without overflow */
			loss += fmax(z, 0) - t * z + log1p(exp(-fabs(z)));
			right &= (z > 0) == (t > 0.5);
			if (d != NULL)
				d[r * cols + c] += scale * (float) ((1 / (1 + exp(-z)) - t) / (double) cols);
		}
		sum->loss += loss / (double) cols;
		sum->weight++;
		sum->n_right += right;
		sum->n_judged++;
	}
}

void
te_loss_square(const float *values, size_t rows, size_t cols, const float *targets, float scale, float *d, TeLossSum *sum)
{
	for (size_t r = 0; r < rows; r++)
	{
		double		loss = 0;

		for (size_t c = 0; c < cols; c++)
		{
			double		difference = (double) values[r * cols + c] - targets[r * cols + c];

			loss += difference * difference;
			if (d != NULL)
				d[r * cols + c] += scale * (float) (2 * difference / (double) cols);
		}
		sum->loss += loss / (double) cols;
		sum->weight++;
	}
}
