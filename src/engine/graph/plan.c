/*-------------------------------------------------------------------------
 * plan.c
 *	  Where in the workspace each value, gradient and temporary lies.
 *
 * Time is the index of a node.  An area is taken when it is first written and
 * given back after it was last read; whatever is free then may lie there
 * next.  Free room is a list of holes in order of offset, neighbours joined;
 * an area goes into the smallest hole that holds it, or at the end.
 *
 * Forward, at time i:
 *	  take the temporaries and the saved data of node i, and its value, unless the op may
 *	  write over an input that nobody reads afterwards; give back the temporaries, then
 *	  every value whose last reader is i.
 * What a backward function reads ("held"), what the caller keeps, and saved data are never given back.
 *
 * Backward, in a region of its own behind it, from the last node to the first: a gradient is taken
 * at the first node that adds to it and given back when its own node has run.  The
 * plan holds for a backward pass from any output, which uses a part of it.
 *
 * Nothing here depends on data, so two graphs of one shape have one plan.
 *-------------------------------------------------------------------------
 */
#include "graph/impl.h"

#define AREA_FLOATS (TE_CACHE_LINE / sizeof(float))

typedef struct Hole
{
	size_t		offset;
	size_t		floats;
} Hole;

typedef struct Room
{
	size_t		end;			/* floats from here on were never used */
	size_t		n_holes;
	Hole	   *holes;			/* by offset; never two that touch */
} Room;

static size_t
area_size(const TeArea *area)
{
	return TE_ALIGN(area->floats, AREA_FLOATS);
}

static void
remove_hole(Room *room, size_t at)
{
	room->n_holes--;
	memmove(room->holes + at, room->holes + at + 1, (room->n_holes - at) * sizeof(Hole));
}

/* Best fit; a hole at the very end is extended. */
static void
take(Room *room, TeArea *area)
{
	size_t		size = area_size(area);
	size_t		best = room->n_holes;
	Hole	   *hole;

	if (size == 0)
		return;
	for (size_t i = 0; i < room->n_holes; i++)
	{
		if (room->holes[i].floats >= size && (best == room->n_holes || room->holes[i].floats < room->holes[best].floats))
			best = i;
	}
	if (best == room->n_holes)
	{
		Hole	   *last = room->n_holes > 0 ? &room->holes[room->n_holes - 1] : NULL;

		area->offset = room->end;
		if (last != NULL && last->offset + last->floats == room->end)
		{
			area->offset = last->offset;
			room->n_holes--;
		}
		room->end = te_add_size(area->offset, size);
		return;
	}
	hole = &room->holes[best];
	area->offset = hole->offset;
	hole->offset += size;
	hole->floats -= size;
	if (hole->floats == 0)
		remove_hole(room, best);
}

static void
give_back(Room *room, const TeArea *area)
{
	size_t		size = area_size(area);
	size_t		at = 0;
	Hole	   *hole;

	if (size == 0)
		return;
	while (at < room->n_holes && room->holes[at].offset < area->offset)
		at++;
	if (at > 0 && room->holes[at - 1].offset + room->holes[at - 1].floats == area->offset)
		room->holes[--at].floats += size;
	else
	{
		memmove(room->holes + at + 1, room->holes + at, (room->n_holes - at) * sizeof(Hole));
		room->n_holes++;
		room->holes[at].offset = area->offset;
		room->holes[at].floats = size;
	}
	hole = &room->holes[at];
	if (at + 1 < room->n_holes && hole->offset + hole->floats == hole[1].offset)
	{
		hole->floats += hole[1].floats;
		remove_hole(room, at + 1);
	}
}

/* Whether a value is over after node number `time`. */
static bool
is_over(const TeNode *node, size_t time)
{
	return node->last_reader == time && !node->keep && !node->held;
}

/* The input in whose place the result may lie, or NULL. */
static TeNode *
replaced_input(const TeNode *node)
{
	for (int i = 0; i < node->n_inputs && i < 31; i++)
	{
		TeNode	   *input = node->inputs[i];

		if ((node->op->in_place & TE_READS_INPUT(i)) != 0 && is_over(input, node->index) &&
			input->rows == node->rows && input->cols == node->cols)
			return input;
	}
	return NULL;
}

/* Mark what backward functions will read. */
static void
mark_held(TeGraph *graph)
{
	for (TeNode *node = graph->first; node != NULL; node = node->next)
	{
		if ((node->reads & TE_READS_OUTPUT) != 0)
			node->held = true;
		for (int i = 0; i < node->n_inputs && i < 31; i++)
		{
			if ((node->reads & TE_READS_INPUT(i)) != 0)
				node->inputs[i]->held = true;
		}
	}
}

static void
plan_forward_node(Room *room, TeNode *node)
{
	TeNode	   *replaced = replaced_input(node);

	take(room, &node->saved);
	if (replaced != NULL)
		node->value.offset = replaced->value.offset;
	else
		take(room, &node->value);
	take(room, &node->temp);
	give_back(room, &node->temp);
	for (int i = 0; i < node->n_inputs; i++)
	{
		TeNode	   *input = node->inputs[i];
		bool		again = false;	/* an input that occurs twice is given back once */

		for (int j = 0; j < i; j++)
			again |= node->inputs[j] == input;
		if (!again && input != replaced && is_over(input, node->index))
			give_back(room, &input->value);
	}
	if (is_over(node, node->index))
		give_back(room, &node->value);
}

static void
take_grad(Room *room, TeNode *node)
{
	if (!node->grad_placed)
		take(room, &node->grad);
	node->grad_placed = true;
}

static void
plan_backward_node(Room *room, TeNode *node)
{
	take_grad(room, node);
	for (int i = 0; i < node->n_inputs; i++)
		take_grad(room, node->inputs[i]);
	take(room, &node->grad_temp);
	give_back(room, &node->grad_temp);
	give_back(room, &node->grad);
}

/* Gradients, last node first, from offset `room->end` on. */
static void
plan_backward(TeGraph *graph, Room *room)
{
	TeNode	  **nodes = te_new_array(graph->arena, TeNode *, graph->n_nodes);

	room->n_holes = 0;
	for (TeNode *node = graph->first; node != NULL; node = node->next)
		nodes[node->index] = node;
	for (size_t i = graph->n_nodes; i-- > 0;)
	{
		if (nodes[i]->op != NULL && nodes[i]->needs_grad)
			plan_backward_node(room, nodes[i]);
	}
}

void
te_plan_areas(TeGraph *graph)
{
	Room		room = {0};

	/* of each node at most a value, a temporary and a gradient can leave a hole */
	room.holes = te_alloc(graph->arena, te_mul_size(te_add_size(te_mul_size(graph->n_nodes, 3), 1), sizeof(Hole)));
	mark_held(graph);
	for (TeNode *node = graph->first; node != NULL; node = node->next)
	{
		if (node->op != NULL)
			plan_forward_node(&room, node);
		graph->scratch_stride = TE_MAX(graph->scratch_stride, TE_ALIGN(node->scratch, AREA_FLOATS));
	}
	if (graph->mode == TE_TRAIN)
		plan_backward(graph, &room);
	graph->workspace = room.end;
}
