/*-------------------------------------------------------------------------
 * chart.h
 *	  What the two drawings of a training share: points, axes, smoothing.
 *-------------------------------------------------------------------------
 */
#ifndef TE_CHART_H
#define TE_CHART_H

#include "train/report.h"

#define TE_MAX_TICKS 16

typedef struct TeAxis
{
	double		min;
	double		max;			/* more than min */
	bool		logarithmic;
	double		step;			/* between ticks, where it is not logarithmic */
	int			n;
	double		ticks[TE_MAX_TICKS];
} TeAxis;

/* Points that can be drawn. */
typedef struct TeSeries
{
	size_t		n;
	double	   *x;
	double	   *y;
} TeSeries;

typedef struct TeChartParts
{
	TeSeries	loss;			/* of each step */
	TeSeries	smooth;			/* the same without its noise; empty where it has little */
	TeSeries	eval;
	TeSeries	rate;			/* of learning */
	size_t		best;			/* of eval, where it has points: the first that is lowest */
	double		rate_max;		/* 0: there is nothing to draw of it */
	TeAxis		x;
	TeAxis		y;
} TeChartParts;

/* About so many ticks an axis.  False where there is no point of a loss. */
extern bool te_chart_parts(TeArena *arena, const TeChart *chart, int x_ticks, int y_ticks, TeChartParts *parts);
/* Where a value is on its axis, 0 to 1. */
extern double te_axis_place(const TeAxis *axis, double value);
extern const char *te_axis_label(TeArena *arena, const TeAxis *axis, int tick);
/* At most two points for each of n columns of the x axis, its lowest and its highest, which draw the same picture. */
extern TeSeries te_series_thin(TeArena *arena, const TeSeries *series, const TeAxis *x, size_t n);
/* A loss as text: three digits that mean something. */
extern const char *te_chart_number(TeArena *arena, double value);

#endif							/* TE_CHART_H */
