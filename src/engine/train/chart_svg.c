/*-------------------------------------------------------------------------
 * chart_svg.c
 *	  The course of a training as a picture: SVG 1.1, by itself in one text.
 *
 * Colours are classes of a style sheet that has them twice, for light and for dark
 * (prefers-color-scheme), so that the same picture fits either page; blue and
 * orange differ to every kind of eye.  The loss of each step is a thin pale line, its mean a strong one,
 * evaluations are points joined by a line with a ring about the best; the learning rate is a
 * thin dashed line on a scale of its own, which the legend names.
 *
 * Places have one decimal; of many steps a column of pixels has two points at most (te_series_thin()), so that a
 * picture stays below some 100 kB.  Text from outside is the title alone, and is escaped.
 *-------------------------------------------------------------------------
 */
#include "train/chart.h"

#include <math.h>

#include "text/text.h"

#define LEAST_WIDTH 360
#define LEAST_HEIGHT 220
#define MOST 4000
#define LEFT 58.0				/* of the plot, to the edge */
#define RIGHT 22.0
#define TOP 80.0
#define BOTTOM 46.0
#define PIXELS_PER_TICK_X 100
#define PIXELS_PER_TICK_Y 52
#define CHARACTER 6.5			/* about how wide one of the legend is */

typedef struct Picture
{
	TeArena    *arena;
	TeBuffer   *into;
	const TeChartParts *parts;
	double		left;			/* the plot's edges */
	double		right;
	double		top;
	double		bottom;
	double		legend_x;		/* of the next entry */
	double		legend_y;
} Picture;

static const char style[] =
	"<style>"
	"text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#57606a}"
	".t{font-size:15px;font-weight:600;fill:#1f2328}"
	".b{fill:#ffffff}"
	".g{stroke:#d8dee4;stroke-width:1}"
	".a{stroke:#8c959f;stroke-width:1}"
	".l,.s,.e,.r{fill:none;stroke-linejoin:round;stroke-linecap:round}"
	".l{stroke:#9ecbff;stroke-width:1}"
	".s{stroke:#0969da;stroke-width:2.2}"
	".e{stroke:#d4570a;stroke-width:1.6}"
	".p{fill:#d4570a;stroke:#ffffff;stroke-width:1}"
	".o{fill:none;stroke:#d4570a;stroke-width:1.6}"
	".r{stroke:#afb8c1;stroke-width:1;stroke-dasharray:5 4}"
	"@media (prefers-color-scheme:dark){"
	"text{fill:#9198a1}"
	".t{fill:#f0f6fc}"
	".b{fill:#0d1117}"
	".g{stroke:#262c36}"
	".a{stroke:#656c76}"
	".l{stroke:#1f4b85}"
	".s{stroke:#58a6ff}"
	".e{stroke:#ff9e57}"
	".p{fill:#ff9e57;stroke:#0d1117}"
	".o{stroke:#ff9e57}"
	".r{stroke:#59616b}"
	"}</style>";

/* ---- pieces ---- */

static void
add(const Picture *picture, const char *text)
{
	te_buffer_add_str(picture->into, text);
}

/* Text as XML has it: what it forbids is a space. */
static void
add_escaped(const Picture *picture, TeStr text)
{
	const char *end = text.data + text.len;

	for (const char *p = text.data; p < end;)
	{
		const char *at = p;
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			return;
		if (c == '&')
			add(picture, "&amp;");
		else if (c == '<')
			add(picture, "&lt;");
		else if (c == '>')
			add(picture, "&gt;");
		else if (c < 0x20 || c == 0x7f || c == 0xFFFE || c == 0xFFFF)
			add(picture, " ");
		else
			te_buffer_add(picture->into, at, (size_t) (p - at));
	}
}

static double
x_of(const Picture *picture, double step)
{
	return picture->left + te_axis_place(&picture->parts->x, step) * (picture->right - picture->left);
}

static double
y_of(const Picture *picture, double place)
{
	return picture->bottom - place * (picture->bottom - picture->top);
}

static void
add_line(const Picture *picture, const char *class, double x1, double y1, double x2, double y2)
{
	add(picture, te_format(picture->arena, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
						   class, x1, y1, x2, y2));
}

static void
add_label(const Picture *picture, const char *anchor, double x, double y, const char *label)
{
	add(picture, te_format(picture->arena, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, label));
}

/* ---- the plot ---- */

static void
add_axes(const Picture *picture)
{
	const TeChartParts *parts = picture->parts;

	for (int i = 0; i < parts->y.n; i++)
	{
		double		y = y_of(picture, te_axis_place(&parts->y, parts->y.ticks[i]));

		add_line(picture, "g", picture->left, y, picture->right, y);
		add_label(picture, "end", picture->left - 8, y + 4, te_axis_label(picture->arena, &parts->y, i));
	}
	for (int i = 0; i < parts->x.n; i++)
	{
		double		x = x_of(picture, parts->x.ticks[i]);

		add_line(picture, "a", x, picture->bottom, x, picture->bottom + 5);
		add_label(picture, "middle", x, picture->bottom + 19, te_axis_label(picture->arena, &parts->x, i));
	}
	add_line(picture, "a", picture->left, picture->bottom, picture->right, picture->bottom);
	add_label(picture, "middle", (picture->left + picture->right) / 2, picture->bottom + 37, "step");
	add(picture, te_format(picture->arena, "<text transform=\"translate(16 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
						   (picture->top + picture->bottom) / 2, parts->y.logarithmic ? "loss (log scale)" : "loss"));
}

static void
add_series(const Picture *picture, const char *class, const TeSeries *series, const TeAxis *y)
{
	TeSeries	points = te_series_thin(picture->arena, series, &picture->parts->x, (size_t) (picture->right - picture->left));

	if (points.n < 2)
		return;
	add(picture, te_format(picture->arena, "<polyline class=\"%s\" points=\"", class));
	for (size_t i = 0; i < points.n; i++)
		add(picture, te_format(picture->arena, "%s%.1f,%.1f", i > 0 ? " " : "", x_of(picture, points.x[i]),
							   y_of(picture, te_axis_place(y, points.y[i]))));
	add(picture, "\"/>\n");
}

static void
add_circle(const Picture *picture, const char *class, double x, double y, double radius)
{
	add(picture, te_format(picture->arena, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", class, x, y, radius));
}

static void
add_point(const Picture *picture, const char *class, const TeSeries *series, size_t i, double radius)
{
	add_circle(picture, class, x_of(picture, series->x[i]),
			   y_of(picture, te_axis_place(&picture->parts->y, series->y[i])), radius);
}

/* More evaluations than can be told apart are a line only. */
static void
add_evaluations(const Picture *picture)
{
	const TeSeries *eval = &picture->parts->eval;
	bool		apart = (double) eval->n * 8 <= picture->right - picture->left;

	add_series(picture, "e", eval, &picture->parts->y);
	for (size_t i = 0; apart && i < eval->n; i++)
		add_point(picture, "p", eval, i, 3.2);
	if (eval->n == 0)
		return;
	add_point(picture, "p", eval, picture->parts->best, 3.2);
	add_point(picture, "o", eval, picture->parts->best, 7);
}

/* The learning rate's scale has its largest value a little below the top. */
static void
add_rate(const Picture *picture)
{
	TeAxis		y = {.max = picture->parts->rate_max * 1.04};

	if (picture->parts->rate_max > 0)
		add_series(picture, "r", &picture->parts->rate, &y);
}

static void
add_losses(const Picture *picture)
{
	const TeChartParts *parts = picture->parts;
	bool		noisy = parts->smooth.n > 0;

	add_series(picture, noisy ? "l" : "s", &parts->loss, &parts->y);
	if (noisy)
		add_series(picture, "s", &parts->smooth, &parts->y);
	if (parts->loss.n == 1)
		add_point(picture, "s", &parts->loss, 0, 1.5);
}

/* ---- the legend ---- */

/* A piece of a line, or a ring, and what it is; in a second row where the first is full. */
static void
add_entry(Picture *picture, const char *class, const char *label)
{
	double		width = 26 + CHARACTER * (double) strlen(label);

	if (picture->legend_x + width > picture->right + RIGHT)
	{
		picture->legend_x = picture->left;
		picture->legend_y += 16;
	}
	if (class != NULL)
		add_line(picture, class, picture->legend_x, picture->legend_y, picture->legend_x + 20, picture->legend_y);
	else
		add_circle(picture, "o", picture->legend_x + 14, picture->legend_y, 5);
	add_label(picture, "start", picture->legend_x + 26, picture->legend_y + 4, label);
	picture->legend_x += width + 18;
}

static void
add_legend(Picture *picture)
{
	const TeChartParts *parts = picture->parts;
	const TeSeries *eval = &parts->eval;

	if (parts->smooth.n > 0)
		add_entry(picture, "l", "loss");
	if (parts->loss.n > 0)
		add_entry(picture, "s", parts->smooth.n > 0 ? "its mean" : "loss");
	if (eval->n > 1)
		add_entry(picture, "e", "evaluation");
	if (eval->n > 0)
		add_entry(picture, NULL, te_format(picture->arena, "%s %s at step %.0f", eval->n > 1 ? "best" : "evaluation",
												  te_chart_number(picture->arena, eval->y[parts->best]), eval->x[parts->best]));
	if (parts->rate_max > 0)
		add_entry(picture, "r", te_format(picture->arena, "learning rate, at most %.3g", parts->rate_max));
}

static void
add_head(const Picture *picture, TeStr title, int width, int height)
{
	add(picture, te_format(picture->arena, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
						   width, height, width, height));
	add_escaped(picture, title);
	add(picture, "</title>\n");
	add(picture, style);
	add(picture, te_format(picture->arena, "\n<rect class=\"b\" width=\"%d\" height=\"%d\"/>\n<text class=\"t\" x=\"%.1f\" y=\"28\">", width, height, LEFT));
	add_escaped(picture, title);
	add(picture, "</text>\n");
}

TeStr
te_chart_svg(TeArena *arena, const TeChart *chart, int width, int height)
{
	TeChartParts parts;
	TeBuffer	text;
	Picture		picture = {.arena = arena, .into = &text, .parts = &parts, .left = LEFT, .top = TOP, .legend_x = LEFT, .legend_y = 48};

	width = TE_MAX(LEAST_WIDTH, TE_MIN(width, MOST));
	height = TE_MAX(LEAST_HEIGHT, TE_MIN(height, MOST));
	picture.right = width - RIGHT;
	picture.bottom = height - BOTTOM;
	te_buffer_init(&text, arena);
	add_head(&picture, chart->title, width, height);
	if (te_chart_parts(arena, chart, (int) (picture.right - picture.left) / PIXELS_PER_TICK_X,
					   (int) (picture.bottom - picture.top) / PIXELS_PER_TICK_Y, &parts))
	{
		add_axes(&picture);
		add_rate(&picture);
		add_losses(&picture);
		add_evaluations(&picture);
		add_legend(&picture);
	}
	else
		add_label(&picture, "middle", width / 2.0, height / 2.0, "There is no loss yet.");
	add(&picture, "</svg>\n");
	return (TeStr) {text.data, text.len};
}
