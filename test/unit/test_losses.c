/*-------------------------------------------------------------------------
 * test_losses.c
 *	  Losses and their gradients against torch and sentence-transformers
 *	  (models/fixtures/make_losses.py), and against finite differences.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "train/train.h"

/* A case of the file. */
typedef struct Case
{
	TeArena    *arena;
	const TeJson *json;
	TeStr		function;
	size_t		n;				/* inputs */
	size_t		rows;			/* of the first dimension */
	size_t		each;			/* of the second, where there are three */
	size_t		cols;			/* of the last */
} Case;

static const float *
floats(const Case *c, const char *key)
{
	const TeJson *list = te_json_get(c->json, key);

	return list == NULL ? NULL : json_floats(c->arena, list);
}

static const int32_t *
integers(const Case *c, const char *key)
{
	const TeJson *list = te_json_get(c->json, key);
	int32_t    *values = te_new_array(c->arena, int32_t, list->n);

	for (uint32_t i = 0; i < list->n; i++)
		values[i] = (int32_t) list->items[i].integer;
	return values;
}

static float
number(const Case *c, const char *key)
{
	return (float) te_json_real(c->json, key, NAN);
}

static void
run_cross_entropy(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_cross_entropy(c->arena, x, c->rows, c->cols, integers(c, "targets"), floats(c, "weights"), number(c, "smoothing"), scale, d, sum);
}

static void
run_binary(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_binary(x, c->rows, c->cols, floats(c, "targets"), floats(c, "weights"), scale, d, sum);
}

static void
run_square(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_square(x, c->rows, c->cols, floats(c, "targets"), scale, d, sum);
}

static void
run_soft(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_soft(c->arena, x, c->rows, c->cols, floats(c, "targets"), number(c, "temperature"), scale, d, sum);
}

static void
run_span(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	size_t		n = te_json_get(c->json, "lengths")->n;
	const int32_t *lengths = integers(c, "lengths");
	int32_t    *starts = te_new_array(c->arena, int32_t, n + 1);

	for (size_t i = 0; i < n; i++)
		starts[i + 1] = starts[i] + lengths[i];
	te_loss_span(c->arena, x, n, starts, integers(c, "targets"), scale, d, sum);
}

static void
run_in_batch(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_in_batch(c->arena, x, c->rows, c->each, c->cols, number(c, "cosine_scale"), scale, d, sum);
}

static void
run_cosine(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_cosine(c->arena, x, c->rows, c->cols, floats(c, "targets"), scale, d, sum);
}

static void
run_triplet(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_triplet(c->arena, x, c->rows, c->cols, number(c, "margin"), scale, d, sum);
}

static void
run_direction(const Case *c, const float *x, float scale, float *d, TeLossSum *sum)
{
	te_loss_direction(c->arena, x, c->rows, c->cols, floats(c, "targets"), scale, d, sum);
}

static const struct
{
	const char *name;
	void		(*run) (const Case *c, const float *x, float scale, float *d, TeLossSum *sum);
}			functions[] = {
	{"cross_entropy", run_cross_entropy},
	{"binary", run_binary},
	{"square", run_square},
	{"soft", run_soft},
	{"span", run_span},
	{"in_batch", run_in_batch},
	{"cosine", run_cosine},
	{"triplet", run_triplet},
	{"direction", run_direction},
};

/* The mean; its gradient is added to d. */
static double
run(const Case *c, const float *x, float *d)
{
	TeLossSum	sum = {0};
	TeLossSum	again = {0};

	for (size_t i = 0; i < TE_LENGTH(functions); i++)
	{
		if (!te_str_is(c->function, functions[i].name))
			continue;
		functions[i].run(c, x, 0, NULL, &sum);
		if (d == NULL)
			return sum.loss / sum.weight;
		functions[i].run(c, x, (float) (1 / sum.weight), d, &again);
		CHECK(again.loss == sum.loss);
		return sum.loss / sum.weight;
	}
	CHECK(false);
	return NAN;
}

/* Four points, since those of a sharp softmax have large third derivatives. */
static double
difference(const Case *c, const float *x, size_t i)
{
	static const struct
	{
		double		at;
		double		factor;
	}			points[] = {{-2, 1}, {-1, -8}, {1, 8}, {2, -1}};
	const double h = 0x1p-8;
	float	   *moved = te_new_array(c->arena, float, c->n);
	double		sum = 0;

	memcpy(moved, x, c->n * sizeof(float));
	for (size_t p = 0; p < TE_LENGTH(points); p++)
	{
		moved[i] = (float) (x[i] + points[p].at * h);
		sum += points[p].factor * run(c, moved, NULL);
	}
	return sum / (12 * h);
}

static void
check_case(const Case *c)
{
	const float *x = floats(c, "inputs");
	const float *expected = floats(c, "gradient");
	float	   *d = te_new_array(c->arena, float, c->n);
	double		loss = te_json_real(c->json, "loss", NAN);
	double		largest = 0;

	/* gradients are added to what is there */
	for (size_t i = 0; i < c->n; i++)
	{
		largest = fmax(largest, fabs(expected[i]));
		d[i] = 1;
	}
	CHECK_NEAR(run(c, x, d), loss, 2e-6 * fmax(1, loss));
	for (size_t i = 0; i < c->n; i++)
	{
		if (!CHECK_NEAR(d[i] - 1, expected[i], 1e-5 * largest + 2e-7) || !CHECK_NEAR(difference(c, x, i), expected[i], 2e-3 * largest))
			fprintf(stderr, "  %.*s, input %zu\n", TE_STR_ARGS(c->function), i);
	}
}

TEST(losses_and_gradients_are_those_of_the_reference)
{
	TeFolder	folder = fixture_folder(arena, "losses");
	const TeJson *cases = fixture_json(arena, &folder, "expected.json");
	size_t		counts[TE_LENGTH(functions)] = {0};

	for (uint32_t i = 0; i < cases->n; i++)
	{
		const TeJson *shape = te_json_get(&cases->items[i], "shape");
		Case		c = {arena, &cases->items[i], te_json_str(&cases->items[i], "function", "")};

		c.rows = (size_t) shape->items[0].integer;
		c.each = shape->n > 2 ? (size_t) shape->items[1].integer : 1;
		c.cols = (size_t) shape->items[shape->n - 1].integer;
		c.n = c.rows * c.each * c.cols;
		check_case(&c);
		for (size_t f = 0; f < TE_LENGTH(functions); f++)
			counts[f] += te_str_is(c.function, functions[f].name);
	}
	for (size_t f = 0; f < TE_LENGTH(functions); f++)
		CHECK(counts[f] > 0);
}

/* Logits far beyond what exp() takes, vectors of zeros, a row without a target. */
TEST(losses_stay_numbers)
{
	const float far[] = {300, -300, 1e4f, -1e4f};
	const int32_t targets[] = {1, -1};
	const int32_t starts[] = {0, 2};
	const int32_t ends[] = {1, 0};
	const float soft[] = {-1e4f, 1e4f, 0, 0};
	const float zeros[6] = {0};
	float		d[6] = {0};
	TeLossSum	sum = {0};

	te_loss_cross_entropy(arena, far, 2, 2, targets, NULL, 0.1f, 1, d, &sum);
	CHECK(sum.weight == 1 && sum.n_judged == 1 && sum.n_right == 0);
	te_loss_soft(arena, far, 2, 2, soft, 2, 1, d, &sum);
	te_loss_span(arena, far, 1, starts, ends, 1, d, &sum);
	te_loss_binary(far, 2, 2, zeros, NULL, 1, d, &sum);
	te_loss_in_batch(arena, zeros, 1, 3, 2, 20, 1, d, &sum);
	te_loss_triplet(arena, zeros, 1, 2, 0.2f, 1, d, &sum);
	te_loss_direction(arena, zeros, 3, 2, zeros, 1, d, &sum);
	CHECK(isfinite(sum.loss));
	for (size_t i = 0; i < 6; i++)
		CHECK(isfinite(d[i]));
}

TEST_MAIN()
