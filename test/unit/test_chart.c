/*-------------------------------------------------------------------------
 * test_chart.c
 *	  Charts of trainings: one as it has to look, and what holds for all.
 *
 * The picture of the golden chart was looked at; to change it, look at what this test prints.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "text/text.h"
#include "train/report.h"

static const char golden[] =
	"intent@2: fine-tuning on 9003 rows\n"
	"░ loss  ⠒⠒ its mean  ○ evaluation  ● best 0.635 at step 180\n"
	"   3 ┤░\n"
	"     │░░\n"
	"     │⡀░░\n"
	"     │⠘⢦░\n"
	"   2 ┤░░⠣⡀░\n"
	"     │ ░░⠘⢄░░\n"
	"     │ ░░ ░⠱○░░\n"
	"     │     ░░⠓⠤⡀░░░\n"
	"   1 ┤      ░░░⠈⠑⠢⢤○⡀░░░░\n"
	"     │          ░░░░⠉⠙⠒⠢⠤○⣀⣀░░░░○░░  ░○      ●     ○      ○     ○      ○\n"
	"     │                  ░ ░⠈⠉⠉⠉⠓⠒⠒⠢⠤⠤⣄⣀⣀⣀⣀░░░░░░░░░░░░░░░░░░░\n"
	"     │                              ░ ░ ░⠈⠉⠉⠉⠉⠉⠉⠉⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠲⠤⠤⠤⠤⠤⠤⠤⠤⠤⣀⣀\n"
	"   0 ┤\n"
	"     └──────────────────────┬────────────────────┬─────────────────────┬\n"
	"step                       100                  200                  300\n"
	"learning rate ▂▃▅▇███▇▇▇▇▇▇▆▆▆▆▆▅▅▅▅▅▅▄▄▄▄▄▃▃▃▃▃▃▂▂▂▂▂▁▁▁▁ at most 5e-05";

static double
jump(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) / 16777216.0 - 0.5;
}

/* A run of n steps of `stride`, evaluated ten times: losses fall as 1 / (1 + 8 t) from `most`, with so much noise. */
static TeChart
make_chart(TeArena *arena, size_t n, double stride, double most, double noise)
{
	double	   *steps = te_new_array(arena, double, n);
	double	   *losses = te_new_array(arena, double, n);
	double	   *eval = te_new_array(arena, double, n);
	double	   *rate = te_new_array(arena, double, n);
	uint32_t	state = 7;

	for (size_t i = 0; i < n; i++)
	{
		double		t = (double) i / n;

		steps[i] = (double) (i + 1) * stride;
		losses[i] = most / (1 + 8 * t) * (1 + noise * jump(&state));
		eval[i] = (i + 1) % TE_MAX(1, n / 10) == 0 ? most / (1 + 7 * t) + most * 0.2 * t * t : NAN;
		rate[i] = t < 0.1 ? 5e-4 * t : 5.5555e-5 * (1 - t);
	}
	return (TeChart)
	{
		.title = TE_STR("intent@2: fine-tuning on 9003 rows"),
			.n = n,.steps = steps,.losses = losses,.eval_losses = eval,.learning_rates = rate
	};
}

static size_t
count(TeStr text, const char *part)
{
	size_t		n = 0;
	size_t		len = strlen(part);

	for (size_t i = 0; i + len <= text.len; i++)
		n += memcmp(text.data + i, part, len) == 0;
	return n;
}

/* At most so many columns and lines, valid, without spaces at the ends of lines. */
static void
check_shape(TeStr text, int width, int height)
{
	int			lines = 1;
	int			columns = 0;
	int			widest = 0;
	int			spaces = 0;

	CHECK(te_utf8_valid(text) && text.len > 0 && text.data[text.len - 1] != '\n');
	for (size_t i = 0; i < text.len; i++)
	{
		spaces += text.data[i] == '\n' && i > 0 && text.data[i - 1] == ' ';
		if (((unsigned char) text.data[i] & 0xC0) != 0x80)
			columns = text.data[i] == '\n' ? 0 : columns + 1;
		lines += text.data[i] == '\n';
		widest = TE_MAX(widest, columns);
	}
	CHECK(spaces == 0 && widest <= width && lines <= height);
}

TEST(a_chart_as_it_has_to_look)
{
	TeChart		chart = make_chart(arena, 300, 1, 2.4, 0.6);
	TeStr		text = te_chart_text(arena, &chart, 72, 18);

	check_shape(text, 72, 18);
	if (!CHECK(te_str_is(text, golden)))
		fprintf(stderr, "%.*s\n", (int) text.len, text.data);
	CHECK(te_str_eq(text, te_chart_text(arena, &chart, 72, 18)));
}

TEST(charts_of_any_size)
{
	static const int sizes[][2] = {{0, 0}, {40, 10}, {41, 11}, {80, 24}, {200, 60}, {1 << 30, 1 << 30}};
	static const size_t lengths[] = {1, 2, 3, 15, 16, 17, 1000, 20000};

	for (size_t s = 0; s < TE_LENGTH(sizes); s++)
	{
		for (size_t n = 0; n < TE_LENGTH(lengths); n++)
		{
			TeChart		chart = make_chart(arena, lengths[n], 3, 5, 0.5);

			check_shape(te_chart_text(arena, &chart, sizes[s][0], sizes[s][1]),
						TE_MAX(40, TE_MIN(sizes[s][0], 1000)), TE_MAX(12, TE_MIN(sizes[s][1], 1000)));
		}
	}
}

TEST(what_a_chart_says)
{
	TeChart		noisy = make_chart(arena, 300, 1, 2, 0.6);
	TeChart		calm = make_chart(arena, 300, 1000, 2, 0);
	TeChart		wide = make_chart(arena, 3000, 1, 2, 0);
	double	   *losses = (double *) wide.losses;
	TeStr		text = te_chart_text(arena, &noisy, 80, 20);

	CHECK(count(text, "░ loss  ⠒⠒ its mean  ○ evaluation  ● best ") == 1 && count(text, "○") == 10 && count(text, "●") == 2);
	CHECK(count(text, "learning rate ") == 1 && count(text, "at most 5e-05") == 1 && count(text, "log") == 0);
	text = te_chart_text(arena, &calm, 80, 20);
	CHECK(count(text, "░") == 0 && count(text, "its mean") == 0 && count(text, "100k") == 1 && count(text, "300k") == 1);

	/* more than two decades; every loss of another kind is left out */
	losses[0] = 1000;
	losses[1] = NAN;
	losses[2] = INFINITY;
	text = te_chart_text(arena, &wide, 80, 20);
	CHECK(count(text, "(log scale)") == 1 && count(text, "1000 ┤") == 1 && count(text, "inf") + count(text, "nan") == 0);
	losses[3] = -1;
	CHECK(count(te_chart_text(arena, &wide, 80, 20), "log") == 0);
}

TEST(charts_of_nothing)
{
	static const double steps[] = {1, 2};
	static const double none[] = {NAN, INFINITY};
	static const double huge[] = {1e300, -1e300};
	static const double same[] = {0, 0};
	TeChart		chart = {.title = TE_STR("a\nb\x01")};

	CHECK_STR(te_chart_text(arena, &chart, 80, 20), "a b\nThere is no loss yet.");
	CHECK(count(te_chart_svg(arena, &chart, 760, 420), "There is no loss yet.") == 1);
	chart = (TeChart) {.title = TE_STR(""),.n = 2,.steps = steps,.losses = none,.eval_losses = huge};
	CHECK_STR(te_chart_text(arena, &chart, 80, 20), "\nThere is no loss yet.");
	chart.losses = same;
	chart.learning_rates = same;
	check_shape(te_chart_text(arena, &chart, 80, 20), 80, 20);
	CHECK(count(te_chart_text(arena, &chart, 80, 20), "learning rate") == 0);
	CHECK(count(te_chart_svg(arena, &chart, 760, 420), "nan") == 0);
}

/* Elements are closed, in their order. */
static bool
well_formed(TeStr svg)
{
	const char *open[8];
	size_t		lengths[8];
	int			depth = 0;

	for (size_t i = 0; i < svg.len; i++)
	{
		const char *name = svg.data + i + 1;
		const char *end = memchr(svg.data + i, '>', svg.len - i);

		if (svg.data[i] != '<')
			continue;
		if (end == NULL)
			return false;
		if (*name == '/')
		{
			depth--;
			if (depth < 0 || (size_t) (end - name - 1) != lengths[depth] || memcmp(name + 1, open[depth], lengths[depth]) != 0)
				return false;
		}
		else if (end[-1] != '/')
		{
			if (depth == (int) TE_LENGTH(open))
				return false;
			open[depth] = name;
			lengths[depth++] = strcspn(name, " >");
		}
	}
	return depth == 0;
}

TEST(pictures)
{
	TeChart		chart = make_chart(arena, 300, 1, 2.4, 0.6);
	TeStr		svg = te_chart_svg(arena, &chart, 760, 420);

	CHECK(te_str_starts(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"420\""));
	CHECK(te_utf8_valid(svg) && well_formed(svg) && te_str_ends(svg, "</svg>\n"));
	CHECK(count(svg, "prefers-color-scheme:dark") == 1 && count(svg, "<polyline class=\"l\"") == 1 && count(svg, "<polyline class=\"s\"") == 1);
	CHECK(count(svg, "<polyline class=\"e\"") == 1 && count(svg, "<polyline class=\"r\"") == 1);
	CHECK(count(svg, "<circle class=\"p\"") == 11 && count(svg, "<circle class=\"o\"") == 2);
	CHECK(count(svg, "href") == 0 && count(svg, "nan") == 0);
	chart.title = TE_STR("<b>&\"\x01\xef\xbf\xbf</b>");
	svg = te_chart_svg(arena, &chart, 0, 0);
	CHECK(well_formed(svg) && count(svg, "&lt;b&gt;&amp;\"  &lt;/b&gt;") == 2);
}

TEST(pictures_of_long_runs_are_small)
{
	TeChart		chart = make_chart(arena, 200000, 1, 2.4, 0.6);
	TeStr		svg = te_chart_svg(arena, &chart, 760, 420);

	CHECK(svg.len < 100000 && well_formed(svg));
}

TEST_MAIN()
