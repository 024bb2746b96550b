/*-------------------------------------------------------------------------
 * chart_text.c
 *	  The course of a training drawn with characters, for a terminal.
 *
 *	  title
 *	  the legend
 *	   4 ┤░
 *	     │⠑⢄░		the plot, with round numbers beside it
 *	   0 ┤  ⠑⠒○
 *	     └┬────┬──
 *	step  0   100
 *	  learning rate ▁▅█▆▃▁
 *
 * Lines are of braille characters, which have 2 x 4 dots each.  There is no colour to tell lines apart, so
 * a noisy loss is a shade of whole characters behind the line of its mean; an evaluation is a circle on top of
 * both, and the best one a full circle.  All characters are one column wide; spaces at the end of lines are left out.
 *-------------------------------------------------------------------------
 */
#include "train/chart.h"

#include <math.h>
#include <stdlib.h>

#include "text/text.h"

#define LEAST_WIDTH 40
#define LEAST_HEIGHT 12
#define MOST 1000				/* columns or lines */
#define LINES_AROUND 3			/* title, axis, steps */
#define COLUMNS_PER_TICK 14
#define LINES_PER_TICK 4

#define STEPS "step"			/* beside their axis */
#define BRAILLE 0x2800
#define SHADE 0x2591			/* ░ */
#define CIRCLE 0x25CB			/* ○ */
#define FULL_CIRCLE 0x25CF		/* ● */
#define LOW_BLOCK 0x2581		/* ▁, and seven higher ones behind it */

typedef struct Canvas
{
	int			columns;
	int			lines;
	uint8_t    *dots;			/* of each character */
	int32_t    *marks;			/* a character that takes the place; 0: none */
} Canvas;

typedef void (*Pen) (Canvas *canvas, int x, int y);

/* ---- drawing ---- */

/* The dot (x, y), from the top left. */
static void
put_dot(Canvas *canvas, int x, int y)
{
	static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

	canvas->dots[y / 4 * canvas->columns + x / 2] |= bits[y % 4][x % 2];
}

static void
put_shade(Canvas *canvas, int x, int y)
{
	canvas->marks[y * canvas->columns + x] = SHADE;
}

static int
scale(double place, int n)
{
	return (int) floor(place * (n - 1) + 0.5);
}

static void
draw_line(Canvas *canvas, Pen pen, int x0, int y0, int x1, int y1)
{
	int			n = TE_MAX(1, TE_MAX(abs(x1 - x0), abs(y1 - y0)));

	for (int i = 0; i <= n; i++)
		pen(canvas, x0 + scale((double) i / n, abs(x1 - x0) + 1) * (x1 < x0 ? -1 : 1),
			y0 + scale((double) i / n, abs(y1 - y0) + 1) * (y1 < y0 ? -1 : 1));
}

/* Lines from point to point; the pen sees `across` x `down` places. */
static void
draw_series(Canvas *canvas, const TeChartParts *parts, const TeSeries *series, Pen pen, int across, int down)
{
	int			x0 = 0;
	int			y0 = 0;

	for (size_t i = 0; i < series->n; i++)
	{
		int			x = scale(te_axis_place(&parts->x, series->x[i]), across);
		int			y = scale(1 - te_axis_place(&parts->y, series->y[i]), down);

		draw_line(canvas, pen, i > 0 ? x0 : x, i > 0 ? y0 : y, x, y);
		x0 = x;
		y0 = y;
	}
}

static void
draw_marks(Canvas *canvas, const TeChartParts *parts)
{
	for (size_t n = 0; n < parts->eval.n; n++)
	{
		/* the best one last, over all others */
		size_t		i = n + 1 == parts->eval.n ? parts->best : n < parts->best ? n : n + 1;
		int			x = scale(te_axis_place(&parts->x, parts->eval.x[i]), canvas->columns);
		int			y = scale(1 - te_axis_place(&parts->y, parts->eval.y[i]), canvas->lines);

		canvas->marks[y * canvas->columns + x] = i == parts->best ? FULL_CIRCLE : CIRCLE;
	}
}

static Canvas
draw(TeArena *arena, const TeChartParts *parts, int columns, int lines)
{
	size_t		n = (size_t) columns * lines;
	Canvas		canvas = {columns, lines, te_new_array(arena, uint8_t, n), te_new_array(arena, int32_t, n)};
	bool		noisy = parts->smooth.n > 0;

	if (noisy)
		draw_series(&canvas, parts, &parts->loss, put_shade, columns, lines);
	draw_series(&canvas, parts, noisy ? &parts->smooth : &parts->loss, put_dot, columns * 2, lines * 4);
	draw_marks(&canvas, parts);
	return canvas;
}

/* ---- writing ---- */

static void
put(TeBuffer *into, int32_t character)
{
	char		bytes[4];

	te_buffer_add(into, bytes, te_utf8_put(bytes, character));
}

static void
put_spaces(TeBuffer *into, int n)
{
	for (int i = 0; i < n; i++)
		te_buffer_add(into, " ", 1);
}

static void
end_line(TeBuffer *into)
{
	while (into->len > 0 && into->data[into->len - 1] == ' ')
		into->len--;
	te_buffer_add(into, "\n", 1);
}

/* The title, as much of it as fits; what would break the line is a space. */
static void
write_title(TeBuffer *into, TeStr title, int width)
{
	const char *end = title.data + title.len;
	const char *p = title.data;

	for (int i = 0; i < width && p < end; i++)
	{
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			break;
		put(into, c < 0x20 || c == 0x7f ? ' ' : c);
	}
	end_line(into);
}

/* The legend, in as many lines as it needs. */
typedef struct Legend
{
	TeBuffer	text;
	int			width;
	int			columns;		/* of the last line */
	int			lines;
} Legend;

static void
add_entry(Legend *legend, const char *sign, const char *label)
{
	int			columns = (int) strlen(label);
	const char *end = sign + strlen(sign);

	for (const char *p = sign; p < end; columns++)
		te_utf8_next(&p, end);
	if (legend->columns > 0 && legend->columns + 2 + columns > legend->width)
	{
		end_line(&legend->text);
		legend->columns = 0;
		legend->lines++;
	}
	else if (legend->columns > 0)
	{
		put_spaces(&legend->text, 2);
		columns += 2;
	}
	te_buffer_add_str(&legend->text, sign);
	te_buffer_add_str(&legend->text, label);
	legend->columns += columns;
}

static Legend
make_legend(TeArena *arena, const TeChartParts *parts, int width)
{
	Legend		legend = {.width = width,.lines = 1};

	te_buffer_init(&legend.text, arena);
	if (parts->smooth.n > 0)
		add_entry(&legend, "░", " loss");
	if (parts->loss.n > 0)
		add_entry(&legend, "⠒⠒", parts->smooth.n > 0 ? " its mean" : " loss");
	if (parts->eval.n > 1)
		add_entry(&legend, "○", " evaluation");
	if (parts->eval.n > 0)
		add_entry(&legend, "●", te_format(arena, " %s %s at step %.0f", parts->eval.n > 1 ? "best" : "evaluation",
										  te_chart_number(arena, parts->eval.y[parts->best]), parts->eval.x[parts->best]));
	if (parts->y.logarithmic)
		add_entry(&legend, "", "(log scale)");
	end_line(&legend.text);
	return legend;
}

static void
write_cell(TeBuffer *into, const Canvas *canvas, size_t i)
{
	int32_t		mark = canvas->marks[i];

	if (mark != 0 && (mark != SHADE || canvas->dots[i] == 0))
		put(into, mark);
	else
		put(into, canvas->dots[i] == 0 ? ' ' : BRAILLE + canvas->dots[i]);
}

/* The tick whose line this is; -1: none. */
static int
tick_at(const TeAxis *axis, int place, int n, bool from_top)
{
	for (int i = 0; i < axis->n; i++)
	{
		double		at = te_axis_place(axis, axis->ticks[i]);

		if (scale(from_top ? 1 - at : at, n) == place)
			return i;
	}
	return -1;
}

static void
write_plot(TeArena *arena, TeBuffer *into, const Canvas *canvas, const TeAxis *y, int margin)
{
	for (int line = 0; line < canvas->lines; line++)
	{
		int			tick = tick_at(y, line, canvas->lines, true);
		const char *label = tick >= 0 ? te_axis_label(arena, y, tick) : "";

		put_spaces(into, margin - (int) strlen(label));
		te_buffer_add_str(into, label);
		te_buffer_add_str(into, tick >= 0 ? " ┤" : " │");
		for (int column = 0; column < canvas->columns; column++)
			write_cell(into, canvas, (size_t) line * canvas->columns + column);
		end_line(into);
	}
}

static void
write_steps(TeArena *arena, TeBuffer *into, const TeAxis *x, int columns, int margin)
{
	int			at = 0;

	put_spaces(into, margin);
	te_buffer_add_str(into, " └");
	for (int column = 0; column < columns; column++)
		te_buffer_add_str(into, tick_at(x, column, columns, false) >= 0 ? "┬" : "─");
	end_line(into);
	put_spaces(into, margin - (int) strlen(STEPS));
	te_buffer_add_str(into, STEPS "  ");
	for (int i = 0; i < x->n; i++)
	{
		const char *label = te_axis_label(arena, x, i);
		int			length = (int) strlen(label);
		int			start = scale(te_axis_place(x, x->ticks[i]), columns) - length / 2;

		start = TE_MAX(0, TE_MIN(start, columns - length));
		if (start < at + (i > 0))
			continue;
		put_spaces(into, start - at);
		te_buffer_add_str(into, label);
		at = start + length;
	}
	end_line(into);
}

/* The learning rate as a row of blocks: its value at each column, the last one known there. */
static void
write_rate(TeArena *arena, TeBuffer *into, const TeChartParts *parts, int width)
{
	const TeSeries *rate = &parts->rate;
	const char *most = te_format(arena, " at most %.3g", parts->rate_max);
	int			columns = width - (int) strlen("learning rate ") - (int) strlen(most);
	size_t		i = 0;

	te_buffer_add_str(into, "learning rate ");
	for (int column = 0; column < columns; column++)
	{
		while (i + 1 < rate->n && scale(te_axis_place(&parts->x, rate->x[i + 1]), columns) <= column)
			i++;
		put(into, LOW_BLOCK + scale(fmax(0, rate->y[i] / parts->rate_max), 8));
	}
	te_buffer_add_str(into, most);
	end_line(into);
}

/* The widest label at the left. */
static int
choose_margin(TeArena *arena, const TeAxis *y)
{
	int			margin = (int) strlen(STEPS);

	for (int i = 0; i < y->n; i++)
		margin = TE_MAX(margin, (int) strlen(te_axis_label(arena, y, i)));
	return margin;
}

TeStr
te_chart_text(TeArena *arena, const TeChart *chart, int width, int height)
{
	TeChartParts parts;
	TeBuffer	text;
	Legend		legend;
	Canvas		canvas;
	int			margin;

	width = TE_MAX(LEAST_WIDTH, TE_MIN(width, MOST));
	height = TE_MAX(LEAST_HEIGHT, TE_MIN(height, MOST));
	te_buffer_init(&text, arena);
	write_title(&text, chart->title, width);
	if (te_chart_parts(arena, chart, width / COLUMNS_PER_TICK, height / LINES_PER_TICK, &parts))
	{
		margin = choose_margin(arena, &parts.y);
		legend = make_legend(arena, &parts, width);
		canvas = draw(arena, &parts, width - margin - 2, height - LINES_AROUND - legend.lines - (parts.rate_max > 0));
		te_buffer_add(&text, legend.text.data, legend.text.len);
		write_plot(arena, &text, &canvas, &parts.y, margin);
		write_steps(arena, &text, &parts.x, canvas.columns, margin);
		if (parts.rate_max > 0)
			write_rate(arena, &text, &parts, width);
	}
	else
		te_buffer_add_str(&text, "There is no loss yet.\n");
	return (TeStr) {text.data, text.len - 1};
}
