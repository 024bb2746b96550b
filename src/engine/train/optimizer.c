/*-------------------------------------------------------------------------
 * optimizer.c
 *	  Optimizers, learning rate schedules, and the norm of a gradient.
 *
 * An optimizer is a pure function over a range of elements and a row; ranges are cut by size only and run
 * on workers.  Sums are of fixed pieces in order, so that nothing depends on the number of workers.
 *
 *	  adamw		Loshchilov and Hutter 2019, as torch.optim.AdamW
 *	  sgd		with momentum beta1, and weight decay apart from the gradient
 *	  lion		Chen et al. 2023
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

#define PIECE ((size_t) 1 << 16)	/* elements of a task */

static void
adamw(const TeTrainOptions *options, double rate, int64_t step, bool decays, float grad_scale, size_t n,
	  float *data, float *grad, float *const *state)
{
	float	   *m = state[0];
	float	   *v = state[1];
	float		beta1 = (float) options->beta1;
	float		beta2 = (float) options->beta2;
	float		rate_m = (float) (rate / (1 - pow(options->beta1, (double) step)));
	float		root_v = (float) (1 / sqrt(1 - pow(options->beta2, (double) step)));
	float		epsilon = (float) options->epsilon;
	float		keep = decays ? (float) (1 - rate * options->weight_decay) : 1;

	for (size_t i = 0; i < n; i++)
	{
		float		g = grad[i] * grad_scale;

		m[i] += (1 - beta1) * (g - m[i]);
		v[i] = beta2 * v[i] + (1 - beta2) * g * g;
		data[i] = data[i] * keep - rate_m * m[i] / (sqrtf(v[i]) * root_v + epsilon);
		grad[i] = 0;
	}
}

static void
sgd(const TeTrainOptions *options, double rate, int64_t step, bool decays, float grad_scale, size_t n,
	float *data, float *grad, float *const *state)
{
	float	   *m = state[0];
	float		momentum = (float) options->beta1;
	float		keep = decays ? (float) (1 - rate * options->weight_decay) : 1;

	for (size_t i = 0; i < n; i++)
	{
		m[i] = momentum * m[i] + grad[i] * grad_scale;
		data[i] = data[i] * keep - (float) rate * m[i];
		grad[i] = 0;
	}
}

static void
lion(const TeTrainOptions *options, double rate, int64_t step, bool decays, float grad_scale, size_t n,
	 float *data, float *grad, float *const *state)
{
	float	   *m = state[0];
	float		beta1 = (float) options->beta1;
	float		beta2 = (float) options->beta2;
	float		keep = decays ? (float) (1 - rate * options->weight_decay) : 1;

	for (size_t i = 0; i < n; i++)
	{
		float		g = grad[i] * grad_scale;
		float		direction = beta1 * m[i] + (1 - beta1) * g;

		data[i] = data[i] * keep - (float) rate * (float) ((direction > 0) - (direction < 0));
		m[i] = beta2 * m[i] + (1 - beta2) * g;
		grad[i] = 0;
	}
}

static const TeOptimizer optimizers[] = {
	{"adamw", 2, adamw},
	{"sgd", 1, sgd},
	{"lion", 1, lion},
};

const char *
te_optimizer_name(size_t i)
{
	return i < TE_LENGTH(optimizers) ? optimizers[i].name : NULL;
}

const TeOptimizer *
te_optimizer_by_name(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(optimizers); i++)
	{
		if (te_str_is(name, optimizers[i].name))
			return &optimizers[i];
	}
	return NULL;
}

/* ---- schedules: the rate's share of the highest, for a share [0, 1] of the steps after warm-up ---- */

static double
constant(double done)
{
	return 1;
}

static double
linear(double done)
{
	return 1 - done;
}

static double
cosine(double done)
{
	return (1 + cos(3.14159265358979323846 * done)) / 2;
}

static const struct
{
	const char *name;
	double		(*share) (double done);
}			schedules[] = {
	{"constant", constant},
	{"linear", linear},
	{"cosine", cosine},
};

const char *
te_schedule_name(size_t i)
{
	return i < TE_LENGTH(schedules) ? schedules[i].name : NULL;
}

/* As transformers' get_*_schedule_with_warmup(), which counts steps from 0. */
double
te_schedule_rate(const TeTrainOptions *options, int64_t step, int64_t n_steps)
{
	double		warmup = options->warmup < 1 ? ceil(options->warmup * (double) n_steps) : floor(options->warmup);
	double		at = (double) (step - 1);

	if (at < warmup)
		return options->learning_rate * at / fmax(1, warmup);
	for (size_t i = 0; i < TE_LENGTH(schedules); i++)
	{
		if (te_str_is(options->schedule, schedules[i].name))
			return options->learning_rate * schedules[i].share(fmin(1, (at - warmup) / fmax(1, (double) n_steps - warmup)));
	}
	te_throw(TE_ERR_INTERNAL, "there is no schedule \"%.*s\"", TE_STR_ARGS(options->schedule));
}

/* ---- all tensors, in pieces ---- */

typedef struct Update
{
	const TeOptimizer *optimizer;
	const TeTrainOptions *options;
	double		rate;
	int64_t		step;
	float		grad_scale;
	TeTrained  *tensor;
} Update;

static void
update_task(void *arg, size_t task, int worker)
{
	const Update *update = arg;
	TeTrained  *tensor = update->tensor;
	size_t		first = task * PIECE;
	float	   *state[2] = {tensor->state[0] + first, tensor->state[1] != NULL ? tensor->state[1] + first : NULL};

	update->optimizer->update(update->options, update->rate, update->step, tensor->decays, update->grad_scale,
							  TE_MIN(PIECE, tensor->n - first), tensor->data + first, tensor->weight->grad + first, state);
}

static size_t
pieces_of(const TeTrained *tensor)
{
	return (tensor->n + PIECE - 1) / PIECE;
}

/* A tensor that the graph did not read has no gradient: it is left alone, as torch leaves alone what has none. */
static bool
is_unread(const TeTrained *tensor)
{
	for (size_t i = 0; tensor->optional && i < tensor->n; i++)
	{
		if (tensor->weight->grad[i] != 0)
			return false;
	}
	return tensor->optional;
}

void
te_optimize(const TeOptimizer *optimizer, const TeTrainOptions *options, double rate, int64_t step, float grad_scale,
			TeTrained *trained, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		Update		update = {optimizer, options, rate, step, grad_scale, &trained[i]};

		if (!is_unread(&trained[i]))
			te_parallel_for(pieces_of(&trained[i]), update_task, &update);
	}
}

typedef struct Norm
{
	const TeTrained *tensor;
	double	   *sums;
} Norm;

static void
norm_task(void *arg, size_t task, int worker)
{
	const Norm *norm = arg;
	size_t		end = TE_MIN((task + 1) * PIECE, norm->tensor->n);

	norm->sums[task] = 0;
	for (size_t i = task * PIECE; i < end; i += 4096)
	{
		const float *g = norm->tensor->weight->grad + i;

		norm->sums[task] += (double) te_kernel.dot(TE_MIN((size_t) 4096, end - i), g, g);
	}
}

double
te_gradient_norm(TeArena *scratch, const TeTrained *trained, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		size_t		n_pieces = pieces_of(&trained[i]);
		Norm		norm = {&trained[i], te_new_array(scratch, double, n_pieces)};

		te_parallel_for(n_pieces, norm_task, &norm);
		for (size_t j = 0; j < n_pieces; j++)
			sum += norm.sums[j];
	}
	return sqrt(sum);
}
