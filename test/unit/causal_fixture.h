/*-------------------------------------------------------------------------
 * causal_fixture.h
 *	  What the tests of decoders share: logits of tokens, and how far they are from the reference's.
 *-------------------------------------------------------------------------
 */
#ifndef TE_CAUSAL_FIXTURE_H
#define TE_CAUSAL_FIXTURE_H

#include "model_fixture.h"

/* Logits [n, vocabulary] of ids. */
static const float *
logits_of_ids(TeArena *arena, const TeModel *model, int32_t *ids, uint32_t n, size_t *cols)
{
	TeJobRow	row = {.n_tokens = n, .ids = ids};
	TeJobRow   *rows[] = {&row};
	TeBatch    *batch = te_rows_batch(arena, model, rows, 1);
	TeGraph    *graph = te_graph_create(arena, TE_INFER, batch);
	TeNode	   *node = te_head_forward(graph, model, te_model_arch(model)->forward(graph, model, batch));

	te_graph_keep(graph, node);
	te_graph_run(graph);
	*cols = te_node_cols(node);
	return te_node_value(node);
}

static int32_t *
ids_of(TeArena *arena, const TeJson *list, uint32_t room)
{
	int32_t    *ids = te_new_array(arena, int32_t, room);

	for (uint32_t i = 0; i < list->n; i++)
		ids[i] = (int32_t) list->items[i].integer;
	return ids;
}

/* The largest difference to the logits of expected.json, relative to the largest of them; of all texts. */
__attribute__((unused)) static double
logits_difference(TeArena *arena, const TeModel *model, const TeJson *texts)
{
	double		result = 0;

	for (uint32_t t = 0; t < texts->n; t++)
	{
		const TeJson *ids = te_json_get(&texts->items[t], "ids");
		const TeJson *expected = te_json_get(&texts->items[t], "logits");
		size_t		cols;
		const float *logits = logits_of_ids(arena, model, ids_of(arena, ids, ids->n), ids->n, &cols);
		double		largest = 0;
		double		worst = 0;

		for (uint32_t r = 0; r < expected->n; r++)
		{
			const float *row = json_floats(arena, &expected->items[r]);

			for (uint32_t c = 0; c < expected->items[r].n; c++)
			{
				largest = fmax(largest, fabs(row[c]));
				worst = fmax(worst, fabs(row[c] - logits[r * cols + c]));
			}
		}
		CHECK(expected->n == ids->n && cols == (size_t) te_model_config(model)->vocab_size);
		result = fmax(result, worst / largest);
	}
	return result;
}

/* Where the ids that follow a text, each the likeliest one, are not the reference's: the number of the first such; -1: nowhere. */
__attribute__((unused)) static int
greedy_difference(TeArena *arena, const TeModel *model, const TeJson *text)
{
	const TeJson *before = te_json_get(text, "ids");
	const TeJson *expected = te_json_get(text, "greedy");
	int32_t    *ids = ids_of(arena, before, before->n + expected->n);

	for (uint32_t i = 0; i < expected->n; i++)
	{
		uint32_t	n = before->n + i;
		size_t		cols;
		const float *logits = logits_of_ids(arena, model, ids, n, &cols);
		const float *last = logits + (n - 1) * cols;
		int32_t		best = 0;

		for (size_t c = 1; c < cols; c++)
		{
			if (last[c] > last[best])
				best = (int32_t) c;
		}
		if (best != (int32_t) expected->items[i].integer)
			return (int) i;
		ids[n] = best;
	}
	return -1;
}

#endif							/* TE_CAUSAL_FIXTURE_H */
