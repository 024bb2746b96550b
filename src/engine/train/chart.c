/*-------------------------------------------------------------------------
 * chart.c
 *	  From the numbers of a training to points and axes, for chart_text.c and
 *	  chart_svg.c to draw.
 *
 * A value that is not finite is nothing to be drawn.  Losses and evaluations share one axis, which is
 * logarithmic where the largest is more than LOG_RANGE times the least; its ends and ticks are round
 * numbers.  The axis of steps ends where they end.
 *
 * Smoothing.  The loss of a step is that of one batch.  Where points jump about by more than NOISE of
 * the axis, in one quarter of them at least, a second line shows their mean over a window about each, taken twice so
 * that it has no corners.  It lags nowhere, unlike an exponential mean; where the ends cut the window, and losses are
 * perhaps steep, it is a line that is fitted to the window.
 *
 * Everything follows from the input alone, and is the same on every machine but for the rounding of
 * log10().
 *-------------------------------------------------------------------------
 */
#include "train/chart.h"

#include <math.h>

#define LOG_RANGE 100.0
#define LARGEST 1e30				/* what is beyond is nothing to be drawn, either */
#define NOISE 0.01
#define SMOOTH_LEAST 16			/* points, to tell noise from a course */
#define SMOOTH_PART 20			/* of the points is a window to either side */

/* ---- points ---- */

static TeSeries
read_series(TeArena *arena, const double *x, const double *y, size_t n)
{
	TeSeries	series = {.x = te_new_array(arena, double, n), .y = te_new_array(arena, double, n)};

	for (size_t i = 0; y != NULL && i < n; i++)
	{
		if (!(fabs(x[i]) <= LARGEST && fabs(y[i]) <= LARGEST))
			continue;
		series.x[series.n] = x[i];
		series.y[series.n++] = y[i];
	}
	return series;
}

/* At each point the line that fits the points about it best: their mean, but where the window is cut at an end. */
static double *
smooth_once(TeArena *arena, const double *y, size_t n, size_t half)
{
	double	   *sums = te_new_array(arena, double, n + 1);
	double	   *moments = te_new_array(arena, double, n + 1);
	double	   *fits = te_new_array(arena, double, n);

	for (size_t i = 0; i < n; i++)
	{
		sums[i + 1] = sums[i] + y[i];
		moments[i + 1] = moments[i] + y[i] * (double) i;
	}
	for (size_t i = 0; i < n; i++)
	{
		size_t		first = i - TE_MIN(i, half);
		size_t		last = TE_MIN(i + half, n - 1);
		double		width = (double) (last - first + 1);
		double		middle = (double) (first + last) / 2;
		double		sum = sums[last + 1] - sums[first];
		double		slope = (moments[last + 1] - moments[first] - middle * sum) / (width * (width * width - 1) / 12);

		fits[i] = sum / width + slope * ((double) i - middle);
	}
	return fits;
}

/* How far points jump, on the axis: what a point differs by from the middle of its neighbours. */
static double
noise(const TeAxis *axis, const double *y, size_t n)
{
	double		sum = 0;

	for (size_t i = 1; i + 1 < n; i++)
		sum += fabs(te_axis_place(axis, y[i]) - (te_axis_place(axis, y[i - 1]) + te_axis_place(axis, y[i + 1])) / 2);
	return sum / (double) (n - 2);
}

static TeSeries
smooth(TeArena *arena, const TeSeries *loss, const TeAxis *y)
{
	size_t		half = loss->n / SMOOTH_PART + 1;
	size_t		part = loss->n / 4;
	bool		noisy = false;

	for (size_t i = 0; loss->n >= SMOOTH_LEAST && i + part <= loss->n; i += part)
		noisy = noisy || noise(y, loss->y + i, part) > NOISE;
	if (!noisy)
		return (TeSeries) {0};
	return (TeSeries)
	{
		.n = loss->n,
			.x = loss->x,
			.y = smooth_once(arena, smooth_once(arena, loss->y, loss->n, half), loss->n, half),
	};
}

static size_t
find_best(const TeSeries *eval)
{
	size_t		best = 0;

	for (size_t i = 1; i < eval->n; i++)
	{
		if (eval->y[i] < eval->y[best])
			best = i;
	}
	return best;
}

/* Widen [*min, *max] to a series. */
static void
widen(const double *values, size_t n, double *min, double *max)
{
	for (size_t i = 0; i < n; i++)
	{
		*min = fmin(*min, values[i]);
		*max = fmax(*max, values[i]);
	}
}

/* The column of n that a point falls into. */
static size_t
column_of(const TeAxis *x, double value, size_t n)
{
	return TE_MIN((size_t) (te_axis_place(x, value) * (double) n), n - 1);
}

static void
add_point(TeSeries *to, const TeSeries *from, size_t i)
{
	to->x[to->n] = from->x[i];
	to->y[to->n++] = from->y[i];
}

TeSeries
te_series_thin(TeArena *arena, const TeSeries *series, const TeAxis *x, size_t n)
{
	TeSeries	thin = {.x = te_new_array(arena, double, series->n), .y = te_new_array(arena, double, series->n)};
	size_t		end;

	if (series->n <= 2 * n)
		return *series;
	for (size_t i = 0; i < series->n; i = end)
	{
		size_t		low = i;
		size_t		high = i;

		for (end = i + 1; end < series->n && column_of(x, series->x[end], n) == column_of(x, series->x[i], n); end++)
		{
			low = series->y[end] < series->y[low] ? end : low;
			high = series->y[end] > series->y[high] ? end : high;
		}
		add_point(&thin, series, TE_MIN(low, high));
		if (low != high)
			add_point(&thin, series, TE_MAX(low, high));
	}
	return thin;
}

/* ---- axes ---- */

double
te_axis_place(const TeAxis *axis, double value)
{
	double		place;

	if (axis->logarithmic)
		place = (log10(value) - log10(axis->min)) / (log10(axis->max) - log10(axis->min));
	else
		place = (value - axis->min) / (axis->max - axis->min);
	return fmax(0, fmin(1, place));
}

/* The least of 1, 2 and 5 times a power of ten that is not less. */
static double
round_up(double value)
{
	static const double steps[] = {1, 2, 5};
	double		power = pow(10, floor(log10(value)));

	for (size_t i = 0; i < TE_LENGTH(steps); i++)
	{
		if (steps[i] * power >= value * (1 - 1e-9))
			return steps[i] * power;
	}
	return 10 * power;
}

static void
add_tick(TeAxis *axis, double value)
{
	if (axis->n < TE_MAX_TICKS)
		axis->ticks[axis->n++] = value;
}

/* Round numbers within the axis. */
static void
place_ticks(TeAxis *axis)
{
	double		first = ceil(axis->min / axis->step - 1e-9);
	double		last = floor(axis->max / axis->step + 1e-9);

	for (double i = first; i <= last && axis->n < TE_MAX_TICKS; i++)
		add_tick(axis, i * axis->step + 0.0);
}

/* From min to max, and to `room` beyond where they are the same. */
static TeAxis
linear_axis(double min, double max, double room)
{
	bool		narrow = !(max - min > 1e-9 * fmax(fabs(min), fabs(max)));

	return (TeAxis) {.min = narrow ? min - room : min, .max = narrow ? max + room : max};
}

/* Steps are whole numbers. */
static TeAxis
step_axis(double min, double max, int ticks)
{
	TeAxis		axis = linear_axis(min, max, fmax(1, fabs(min) * 1e-6));

	axis.step = fmax(1, round_up((axis.max - axis.min) / ticks));
	place_ticks(&axis);
	return axis;
}

/* Its ends are ticks, too. */
static TeAxis
loss_axis(double min, double max, int ticks)
{
	TeAxis		axis = linear_axis(min, max, fmax(fabs(min) * 0.1, 1e-9));

	axis.step = round_up((axis.max - axis.min) / ticks);
	axis.min = floor(axis.min / axis.step + 1e-9) * axis.step;
	axis.max = ceil(axis.max / axis.step - 1e-9) * axis.step;
	place_ticks(&axis);
	return axis;
}

/* What a decade is divided into, the finest first. */
static const struct
{
	int			n;
	double		parts[3];
}			divisions[] = {
	{3, {1, 2, 5}}, {2, {1, 3}}, {1, {1}},
};

/* Ticks of a division of every so many decades. */
static void
place_log_ticks(TeAxis *axis, size_t division, int decades)
{
	int			first = (int) floor(log10(axis->min) + 1e-9);
	int			last = (int) ceil(log10(axis->max) - 1e-9);

	axis->n = 0;
	for (int decade = first; decade <= last; decade += decades)
	{
		for (int i = 0; i < divisions[division].n; i++)
		{
			double		tick = divisions[division].parts[i] * pow(10, decade);

			if (tick >= axis->min * (1 - 1e-9) && tick <= axis->max * (1 + 1e-9))
				add_tick(axis, tick);
		}
	}
}

static TeAxis
log_axis(double min, double max, int ticks)
{
	TeAxis		axis = {.logarithmic = true, .min = 1 / round_up(1 / min), .max = round_up(max)};
	size_t		division = 0;
	int			decades = 1;

	for (;;)
	{
		place_log_ticks(&axis, division, decades);
		if (axis.n <= ticks + 2)
			return axis;
		if (division + 1 < TE_LENGTH(divisions))
			division++;
		else
			decades++;
	}
}

/* Digits behind the point that tell multiples of the step apart. */
static int
decimals(double step)
{
	return (int) fmax(0, -floor(log10(step) + 1e-9));
}

const char *
te_axis_label(TeArena *arena, const TeAxis *axis, int tick)
{
	static const struct
	{
		double		unit;
		const char *suffix;
	}			units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
	double		value = axis->ticks[tick];

	if (axis->logarithmic)
		return te_format(arena, "%g", value);
	for (size_t i = 0; i < TE_LENGTH(units); i++)
	{
		if (fabs(axis->ticks[axis->n - 1]) >= 10 * units[i].unit)
			return value == 0 ? "0" : te_format(arena, "%.*f%s", decimals(axis->step / units[i].unit), value / units[i].unit, units[i].suffix);
	}
	if (decimals(axis->step) > 6)
		return te_format(arena, "%.6g", value);
	return te_format(arena, "%.*f", decimals(axis->step), value);
}

const char *
te_chart_number(TeArena *arena, double value)
{
	double		size = fabs(value);

	if (size != 0 && (size < 0.001 || size >= 100000))
		return te_format(arena, "%.3g", value);
	return te_format(arena, "%.*f", size < 0.1 ? 4 : size < 10 ? 3 : size < 1000 ? 1 : 0, value);
}

/* ---- both ---- */

bool
te_chart_parts(TeArena *arena, const TeChart *chart, int x_ticks, int y_ticks, TeChartParts *parts)
{
	double		x_min = INFINITY;
	double		x_max = -INFINITY;
	double		y_min = INFINITY;
	double		y_max = -INFINITY;

	memset(parts, 0, sizeof(*parts));
	parts->loss = read_series(arena, chart->steps, chart->losses, chart->n);
	parts->eval = read_series(arena, chart->steps, chart->eval_losses, chart->n);
	parts->rate = read_series(arena, chart->steps, chart->learning_rates, chart->n);
	parts->best = find_best(&parts->eval);
	if (parts->loss.n + parts->eval.n == 0)
		return false;
	widen(parts->loss.x, parts->loss.n, &x_min, &x_max);
	widen(parts->eval.x, parts->eval.n, &x_min, &x_max);
	widen(parts->loss.y, parts->loss.n, &y_min, &y_max);
	widen(parts->eval.y, parts->eval.n, &y_min, &y_max);
	for (size_t i = 0; i < parts->rate.n; i++)
		parts->rate_max = fmax(parts->rate_max, parts->rate.y[i]);
	parts->x = step_axis(x_min, x_max, x_ticks);
	parts->y = y_min > 1 / LARGEST && y_max > LOG_RANGE * y_min ? log_axis(y_min, y_max, y_ticks) : loss_axis(y_min, y_max, y_ticks);
	parts->smooth = smooth(arena, &parts->loss, &parts->y);
	return true;
}
