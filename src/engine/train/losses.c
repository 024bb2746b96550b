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

/* ---- what a teacher says ---- */

typedef struct Soft
{
	const float *logits;
	size_t		cols;
	const float *teacher;
	double		temperature;
	float		scale;
	float	   *d;
	double	   *losses;
	uint8_t    *right;
} Soft;

/* log of the sum of exp(z[i * stride] / temperature) */
static double
log_sum_exp(const float *z, size_t n, size_t stride, double temperature)
{
	double		largest = z[0];
	double		sum = 0;

	for (size_t i = 1; i < n; i++)
		largest = fmax(largest, z[i * stride]);
	for (size_t i = 0; i < n; i++)
		sum += exp((z[i * stride] - largest) / temperature);
	return largest / temperature + log(sum);
}

static void
soft_task(void *arg, size_t row, int worker)
{
	const Soft *soft = arg;
	double		t = soft->temperature;
	const float *z = soft->logits + row * soft->cols;
	const float *teacher = soft->teacher + row * soft->cols;
	double		log_sum = log_sum_exp(z, soft->cols, 1, t);
	double		teacher_log_sum = log_sum_exp(teacher, soft->cols, 1, t);
	float		largest = te_kernel.max(soft->cols, z);
	float		teacher_largest = te_kernel.max(soft->cols, teacher);
	double		loss = 0;

	soft->right[row] = 0;
	for (size_t c = 0; c < soft->cols; c++)
	{
		double		log_p = z[c] / t - log_sum;
		double		log_q = teacher[c] / t - teacher_log_sum;

		loss += exp(log_q) * (log_q - log_p);
		soft->right[row] |= z[c] == largest && teacher[c] == teacher_largest;
		if (soft->d != NULL)
			soft->d[row * soft->cols + c] += soft->scale * (float) (t * (exp(log_p) - exp(log_q)));
	}
	soft->losses[row] = t * t * loss;
}

void
te_loss_soft(TeArena *arena, const float *logits, size_t rows, size_t cols, const float *teacher, double temperature, float scale,
			 float *d, TeLossSum *sum)
{
	Soft		soft = {logits, cols, teacher, temperature, scale, d, te_new_array(arena, double, rows), te_alloc(arena, rows)};

	te_parallel_for(rows, soft_task, &soft);
	for (size_t r = 0; r < rows; r++)
	{
		sum->loss += soft.losses[r];
		sum->weight++;
		sum->n_right += soft.right[r];
		sum->n_judged++;
	}
}

/* ---- where a span begins and ends ---- */

typedef struct Span
{
	const float *logits;		/* [tokens, 2] */
	const int32_t *seq_start;
	const int32_t *targets;		/* two a sequence */
	float		scale;
	float	   *d;
	double	   *losses;
	uint8_t    *right;
} Span;

static void
span_task(void *arg, size_t sequence, int worker)
{
	const Span *span = arg;
	size_t		from = (size_t) span->seq_start[sequence];
	size_t		n = (size_t) span->seq_start[sequence + 1] - from;

	span->losses[sequence] = 0;
	span->right[sequence] = 1;
	for (size_t end = 0; end < 2; end++)
	{
		const float *z = span->logits + from * 2 + end;
		size_t		target = (size_t) span->targets[2 * sequence + end];
		double		log_sum = log_sum_exp(z, n, 2, 1);

		span->losses[sequence] += (log_sum - z[target * 2]) / 2;
		for (size_t i = 0; i < n; i++)
		{
			double		d = exp(z[i * 2] - log_sum) - (i == target);

			span->right[sequence] &= z[i * 2] <= z[target * 2];
			if (span->d != NULL)
				span->d[(from + i) * 2 + end] += span->scale * (float) (d / 2);
		}
	}
}

void
te_loss_span(TeArena *arena, const float *logits, size_t n_sequences, const int32_t *seq_start, const int32_t *targets, float scale,
			 float *d, TeLossSum *sum)
{
	Span		span = {logits, seq_start, targets, scale, d, te_new_array(arena, double, n_sequences), te_alloc(arena, n_sequences)};

	te_parallel_for(n_sequences, span_task, &span);
	for (size_t i = 0; i < n_sequences; i++)
	{
		sum->loss += span.losses[i];
		sum->weight++;
		sum->n_right += span.right[i];
		sum->n_judged++;
	}
}

/* ---- each number by itself ---- */

void
te_loss_binary(const float *logits, size_t rows, size_t cols, const float *targets, const float *class_weights, float scale,
			   float *d, TeLossSum *sum)
{
	for (size_t r = 0; r < rows; r++)
	{
		double		loss = 0;
		bool		right = true;

		for (size_t c = 0; c < cols; c++)
		{
			double		z = logits[r * cols + c];
			double		t = targets[r * cols + c];
			double		w = weight_of(class_weights, (int32_t) c);

			/* log(1 + exp(z)) - t * z, without overflow */
			loss += w * (fmax(z, 0) - t * z + log1p(exp(-fabs(z))));
			right &= (z > 0) == (t > 0.5);
			if (d != NULL)
				d[r * cols + c] += scale * (float) (w * (1 / (1 + exp(-z)) - t) / (double) cols);
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
