/*-------------------------------------------------------------------------
 * test_graph_run.c
 *	  How graphs run: plans and their reuse of memory, independence of workers
 *	  and of the rest of a batch, training, shape errors, faults.
 *
 * All of it on one small Transformer (post-norm, joint projections, GELU), as
 * arch/ would build it; test_graph.c checks the numbers of each op.
 */
#include "harness.h"

#include "graph/graph.h"

#define MAX_LAYERS 6
#define WEIGHTS_A_LAYER 12
#define VOCABULARY 50

/* What an encoder is made of: sizes, and weights in the order of build_encoder(). */
typedef struct Encoder
{
	int			n_layers;
	size_t		hidden;
	size_t		inner;
	int			n_head;
	TeDtype		dtype;			/* of the linear weights */
	bool		packed;
	bool		trained;
	TeWeight	tokens;
	TeWeight	layers[MAX_LAYERS][WEIGHTS_A_LAYER];
	TeWeight	norm[2];
} Encoder;

static uint64_t random_state = 1;

static float
uniform(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (float) ((double) (random_state >> 11) / 9007199254740992.0 * 2.0 - 1.0);
}

static TeWeight
vector(TeArena *arena, const Encoder *encoder, size_t n, float around)
{
	float	   *data = te_new_array(arena, float, n);

	for (size_t i = 0; i < n; i++)
		data[i] = around + 0.1f * uniform();
	return (TeWeight) {TE_F32, TE_ROWS, 1, (int64_t) n, data, encoder->trained ? te_new_array(arena, float, n) : NULL};
}

static TeWeight
matrix(TeArena *arena, const Encoder *encoder, size_t n_out, size_t n_in)
{
	TeWeight	w = {encoder->dtype, TE_ROWS, (int64_t) n_out, (int64_t) n_in, NULL, NULL};
	float	   *data = te_new_array(arena, float, n_out * n_in);
	void	   *rows = te_alloc(arena, te_row_bytes(w.dtype, w.n_in) * n_out);

	for (size_t i = 0; i < n_out * n_in; i++)
		data[i] = 1.7f * uniform() / sqrtf((float) n_in);
	te_convert_rows(TE_F32, data, w.dtype, rows, w.n_out, w.n_in, te_new_array(arena, float, n_in));
	w.data = rows;
	if (encoder->trained)
		w.grad = te_new_array(arena, float, n_out * n_in);
	if (encoder->packed)
	{
		w.layout = te_pack_layout(w.dtype, w.n_in);
		w.data = te_alloc0(arena, te_pack_bytes(w.dtype, w.n_out, w.n_in));
		te_pack_rows(w.dtype, w.n_out, w.n_in, 0, w.n_out, rows, (void *) w.data);
	}
	return w;
}

static void
fill_encoder(TeArena *arena, Encoder *e)
{
	Encoder		in_rows = *e;

	random_state = 7;
	in_rows.packed = false;		/* embeddings are read by rows */
	e->tokens = matrix(arena, &in_rows, VOCABULARY, e->hidden);
	e->norm[0] = vector(arena, e, e->hidden, 1);
	e->norm[1] = vector(arena, e, e->hidden, 0);
	for (int i = 0; i < e->n_layers; i++)
	{
		TeWeight   *w = e->layers[i];

		for (int j = 0; j < 3; j++)
			*w++ = matrix(arena, e, e->hidden, e->hidden);
		*w++ = vector(arena, e, e->hidden, 0);
		*w++ = matrix(arena, e, e->hidden, e->hidden);
		*w++ = vector(arena, e, e->hidden, 0);
		*w++ = vector(arena, e, e->hidden, 1);
		*w++ = vector(arena, e, e->hidden, 0);
		*w++ = matrix(arena, e, e->inner, e->hidden);
		*w++ = vector(arena, e, e->inner, 0);
		*w++ = matrix(arena, e, e->hidden, e->inner);
		*w++ = vector(arena, e, e->hidden, 0);
	}
}

/* Every node that was built, where a test wants them. */
typedef struct Nodes
{
	int			n;
	TeNode	   *nodes[128];
} Nodes;

static TeNode *
note(Nodes *nodes, TeNode *node)
{
	if (nodes != NULL)
		nodes->nodes[nodes->n++] = node;
	return node;
}

static TeNode *
build_layer(TeGraph *graph, const Encoder *e, const TeWeight *w, TeNode *x, Nodes *nodes)
{
	TeOperand	qkv[3] = {{.matrix = &w[0], .bias = &w[3]}, {.matrix = &w[1]}, {.matrix = &w[2]}};
	TeOperand	out = {.matrix = &w[4], .bias = &w[5]};
	TeOperand	up = {.matrix = &w[8], .bias = &w[9]};
	TeOperand	down = {.matrix = &w[10], .bias = &w[11]};
	TeAttentionSpec spec = {.n_head = e->n_head, .n_kv_head = e->n_head, .d_head = (int) e->hidden / e->n_head};
	TeNode	   *joint = note(nodes, te_linear(graph, x, qkv, 3, TE_ACT_NONE));
	TeNode	   *y = note(nodes, te_attention(graph, (TeColumns) {joint, 0, e->hidden}, (TeColumns) {joint, e->hidden, e->hidden},
											 (TeColumns) {joint, 2 * e->hidden, e->hidden}, &spec));

	y = note(nodes, te_linear(graph, y, &out, 1, TE_ACT_NONE));
	x = note(nodes, te_layer_norm(graph, y, x, &w[6], &w[7], 1e-5f));
	y = note(nodes, te_linear(graph, x, &up, 1, TE_ACT_GELU));
	y = note(nodes, te_linear(graph, y, &down, 1, TE_ACT_NONE));
	return note(nodes, te_layer_norm(graph, y, x, &w[6], &w[7], 1e-5f));
}

static TeNode *
build_encoder(TeGraph *graph, const Encoder *e, const TeBatch *batch, Nodes *nodes)
{
	TeNode	   *x = note(nodes, te_gather(graph, &e->tokens, batch->ids, (size_t) batch->n_tok, 0));

	x = note(nodes, te_layer_norm(graph, x, NULL, &e->norm[0], &e->norm[1], 1e-5f));
	for (int i = 0; i < e->n_layers; i++)
		x = build_layer(graph, e, e->layers[i], x, nodes);
	return x;
}

/* n_seq sequences of these lengths, with ids that depend on the position in the batch. */
static TeBatch
make_batch(TeArena *arena, const int *lengths, int n_seq)
{
	TeBatch		batch = {.n_seq = n_seq};
	int32_t    *start = te_new_array(arena, int32_t, (size_t) n_seq + 1);
	int32_t    *ids;

	for (int s = 0; s < n_seq; s++)
	{
		start[s + 1] = start[s] + lengths[s];
		batch.max_len = TE_MAX(batch.max_len, lengths[s]);
	}
	batch.n_tok = start[n_seq];
	ids = te_new_array(arena, int32_t, (size_t) batch.n_tok);
	for (int i = 0; i < batch.n_tok; i++)
		ids[i] = (int32_t) (i * 7 % VOCABULARY);
	batch.seq_start = start;
	batch.ids = ids;
	return batch;
}

static const float *
run_encoder(TeArena *arena, const Encoder *e, const TeBatch *batch, TeGraphMode mode, size_t *bytes)
{
	TeGraph    *graph = te_graph_create(arena, mode, batch);
	TeNode	   *x = build_encoder(graph, e, batch, NULL);

	te_graph_keep(graph, x);
	if (bytes != NULL)
		*bytes = te_graph_plan(graph);
	te_graph_run(graph);
	return te_node_value(x);
}

static bool
same_floats(const float *a, const float *b, size_t n)
{
	return isfinite(a[0]) && memcmp(a, b, n * sizeof(float)) == 0;
}

/* ---- plans ---- */

TEST(inference_reuses_memory)
{
	static const int lengths[] = {30, 50, 20};
	Encoder		e = {.n_layers = 6, .hidden = 48, .inner = 192, .n_head = 4};
	TeBatch		batch = make_batch(arena, lengths, 3);
	TeGraph    *graph;
	Nodes		nodes = {0};
	TeNode	   *output;
	size_t		reused;
	size_t		values = 0;
	const float *x;

	fill_encoder(arena, &e);
	graph = te_graph_create(arena, TE_INFER, &batch);
	output = build_encoder(graph, &e, &batch, &nodes);
	CHECK(output == nodes.nodes[nodes.n - 1]);
	for (int i = 0; i < nodes.n; i++)
	{
		te_graph_keep(graph, nodes.nodes[i]);
		values += te_node_rows(nodes.nodes[i]) * te_node_cols(nodes.nodes[i]);
	}
	CHECK(te_graph_plan(graph) >= values * sizeof(float));
	te_graph_run(graph);

	x = run_encoder(arena, &e, &batch, TE_INFER, &reused);
	CHECK(same_floats(x, te_node_value(output), te_node_rows(output) * te_node_cols(output)));
	/* the values alone, without scratch: one of the feed-forward, one of its input, one of its output */
	reused -= te_graph_plan(graph) - values * sizeof(float);
	CHECK(reused <= 100 * (192 + 48 + 48) * sizeof(float) + 256);
}

TEST(scratch_is_for_as_many_workers_as_fit)
{
	static const int lengths[] = {30, 50, 20};
	Encoder		e = {.n_layers = 2, .hidden = 48, .inner = 192, .n_head = 4};
	TeBatch		batch = make_batch(arena, lengths, 3);
	const float *expected;
	size_t		one;
	size_t		many;

	fill_encoder(arena, &e);
	expected = run_encoder(arena, &e, &batch, TE_INFER, &one);
	te_std_set_workers(64);
	run_encoder(arena, &e, &batch, TE_INFER, &many);
	CHECK(many > 2 * one);
	for (size_t limit = one / 2; limit < 2 * many; limit += limit / 2)
	{
		TeGraph    *graph = te_graph_create(arena, TE_INFER, &batch);
		TeNode	   *x = build_encoder(graph, &e, &batch, NULL);
		size_t		bytes;

		te_graph_keep(graph, x);
		bytes = te_graph_plan_within(graph, limit);
		CHECK(bytes >= one && bytes <= TE_MAX(one, one + limit / 2));
		te_graph_run(graph);
		CHECK(same_floats(expected, te_node_value(x), te_node_rows(x) * te_node_cols(x)));
	}
	te_std_set_workers(1);
}

TEST(frozen_weights_keep_nothing)
{
	static const int lengths[] = {30, 50, 20};
	Encoder		e = {.n_layers = 4, .hidden = 48, .inner = 192, .n_head = 4};
	TeBatch		batch = make_batch(arena, lengths, 3);
	size_t		frozen;
	size_t		inferred;
	size_t		trained;

	fill_encoder(arena, &e);
	run_encoder(arena, &e, &batch, TE_INFER, &inferred);
	run_encoder(arena, &e, &batch, TE_TRAIN, &frozen);
	e.trained = true;
	fill_encoder(arena, &e);
	run_encoder(arena, &e, &batch, TE_TRAIN, &trained);
	CHECK(frozen == inferred);
	CHECK(trained > 2 * inferred);
}

/* A graph whose inputs all stay in use must not write over any of them. */
TEST(nothing_is_overwritten_while_it_is_read)
{
	TeGraph    *graph = te_graph_create(arena, TE_INFER, NULL);
	float		data[4] = {1, 2, 3, 4};
	TeNode	   *x = te_input(graph, data, 2, 2, NULL);
	TeNode	   *a = te_scale(graph, x, 2);
	TeNode	   *b = te_scale(graph, a, 10);
	TeNode	   *c = te_add(graph, a, b);
	TeNode	   *d = te_add(graph, c, c);
	TeNode	   *e = te_add(graph, d, a);

	te_graph_keep(graph, b);
	te_graph_keep(graph, e);
	te_graph_run(graph);
	CHECK(data[0] == 1 && data[3] == 4);
	CHECK(te_node_value(b)[0] == 20 && te_node_value(b)[3] == 80);
	CHECK(te_node_value(e)[0] == 46 && te_node_value(e)[3] == 184);
	CHECK(te_node_value(x) == data);
}

/* ---- bit for bit ---- */

/* Sizes at which work is spread, and tiles are cut. */
static const Encoder wide = {.n_layers = 2, .hidden = 128, .inner = 512, .n_head = 4, .trained = true};
static const int mixed[] = {130, 1, 3, 64, 200, 65, 17};

static void
train_step(TeArena *arena, Encoder *e, const TeBatch *batch, TeBuffer *all)
{
	TeGraph    *graph = te_graph_create(arena, TE_TRAIN, batch);
	TeNode	   *x;
	TeNode	   *pooled;
	float	   *d_output = te_new_array(arena, float, (size_t) batch->n_seq * e->hidden);

	fill_encoder(arena, e);
	x = build_encoder(graph, e, batch, NULL);
	pooled = te_pool(graph, x, TE_POOL_MEAN);
	te_graph_keep(graph, pooled);
	te_graph_run(graph);
	for (size_t i = 0; i < (size_t) batch->n_seq * e->hidden; i++)
		d_output[i] = uniform();
	te_graph_backward(graph, pooled, d_output);
	te_buffer_init(all, arena);
	te_buffer_add(all, te_node_value(pooled), (size_t) batch->n_seq * e->hidden * sizeof(float));
	te_buffer_add(all, e->tokens.grad, VOCABULARY * e->hidden * sizeof(float));
	for (int i = 0; i < e->n_layers; i++)
	{
		for (int j = 0; j < WEIGHTS_A_LAYER; j++)
		{
			const TeWeight *w = &e->layers[i][j];

			te_buffer_add(all, w->grad, (size_t) (w->n_out * w->n_in) * sizeof(float));
		}
	}
}

TEST(workers_change_nothing)
{
	Encoder		e = wide;
	TeBatch		batch = make_batch(arena, mixed, TE_LENGTH(mixed));
	TeBuffer	one;
	TeBuffer	many;

	train_step(arena, &e, &batch, &one);
	te_std_set_workers(4);
	for (int i = 0; i < 3; i++)
	{
		train_step(arena, &e, &batch, &many);
		CHECK(one.len == many.len && memcmp(one.data, many.data, one.len) == 0);
	}
	te_std_set_workers(1);
}

static void
check_alone(TeArena *arena, const Encoder *e, const TeBatch *batch, const float *together)
{
	for (int s = 0; s < batch->n_seq; s++)
	{
		int32_t		first = batch->seq_start[s];
		int			length = batch->seq_start[s + 1] - first;
		TeBatch		alone = make_batch(arena, &length, 1);
		const float *x;

		alone.ids = batch->ids + first;
		x = run_encoder(arena, e, &alone, TE_INFER, NULL);
		CHECK(same_floats(x, together + (size_t) first * e->hidden, (size_t) length * e->hidden));
	}
}

/* In every layout and instruction set: neighbours in a batch do not change a bit. */
TEST(the_rest_of_a_batch_changes_nothing)
{
	static const TeDtype dtypes[] = {TE_F32, TE_F16, TE_Q8_0, TE_Q4_0, TE_INT8};
	const char *sets[8];
	size_t		n_sets = te_isa_list(sets, TE_LENGTH(sets));
	TeBatch		batch = make_batch(arena, mixed, TE_LENGTH(mixed));

	for (size_t i = 0; i < n_sets; i++)
	{
		CHECK(te_isa_select(sets[i]));
		for (size_t j = 0; j < 2 * TE_LENGTH(dtypes); j++)
		{
			Encoder		e = {.n_layers = 1, .hidden = 96, .inner = 160, .n_head = 3,
				.dtype = dtypes[j / 2], .packed = j % 2 == 0};

			fill_encoder(arena, &e);
			check_alone(arena, &e, &batch, run_encoder(arena, &e, &batch, TE_INFER, NULL));
		}
	}
	te_isa_select("auto");
}

/* ---- training ---- */

static void
descend(TeWeight *w, float rate)
{
	te_kernel.axpy((size_t) (w->n_out * w->n_in), -rate, w->grad, (float *) w->data);
	memset(w->grad, 0, (size_t) (w->n_out * w->n_in) * sizeof(float));
}

/* Half the squared distance of the pooled vectors to fixed targets; one graph, run again and again. */
/* One row of a linear op over q8_0, whose inputs are no multiples of 1 / 127. */
static float
one_product(TeArena *arena, const TeBatch *batch)
{
	Encoder		packed = {.dtype = TE_Q8_0, .packed = true};
	TeWeight	weight = {0};
	TeOperand	operand = {.matrix = &weight};
	float	   *x = te_new_array(arena, float, 32);
	TeGraph    *graph = te_graph_create(arena, TE_INFER, batch);
	TeNode	   *node;

	random_state = 3;
	weight = matrix(arena, &packed, 1, 32);
	for (size_t i = 0; i < 32; i++)
		x[i] = uniform();
	node = te_linear(graph, te_input(graph, x, 1, 32, NULL), &operand, 1, TE_ACT_NONE);
	te_graph_keep(graph, node);
	te_graph_plan(graph);
	te_graph_run(graph);
	return te_node_value(node)[0];
}

TEST(text_in_the_making_rounds_to_bytes_alone)
{
	int32_t		starts[] = {0, 1};
	TeBatchPages pages = {0};
	TeBatch		batch = {.n_seq = 1, .n_tok = 1, .max_len = 1, .seq_start = starts};
	float		closer = one_product(arena, &batch);

	batch.pages = &pages;
	CHECK(one_product(arena, NULL) == closer);
	CHECK(one_product(arena, &batch) != closer);
	CHECK_NEAR(one_product(arena, &batch), closer, 0.02);
}

TEST(descent_lowers_a_loss)
{
	static const int lengths[] = {5, 9, 3, 12};
	Encoder		e = {.n_layers = 2, .hidden = 32, .inner = 64, .n_head = 4, .trained = true};
	TeBatch		batch = make_batch(arena, lengths, 4);
	TeGraph    *graph = te_graph_create(arena, TE_TRAIN, &batch);
	float		targets[4 * 32];
	float		d_output[4 * 32];
	double		losses[30];
	TeNode	   *pooled;

	fill_encoder(arena, &e);
	for (size_t i = 0; i < TE_LENGTH(targets); i++)
		targets[i] = uniform();
	pooled = te_pool(graph, build_encoder(graph, &e, &batch, NULL), TE_POOL_MEAN);
	te_graph_keep(graph, pooled);
	for (size_t step = 0; step < TE_LENGTH(losses); step++)
	{
		te_graph_run(graph);
		losses[step] = 0;
		for (size_t i = 0; i < TE_LENGTH(targets); i++)
		{
			d_output[i] = te_node_value(pooled)[i] - targets[i];
			losses[step] += 0.5 * d_output[i] * d_output[i];
		}
		CHECK(step == 0 || losses[step] < losses[step - 1]);
		te_graph_backward(graph, pooled, d_output);
		descend(&e.tokens, 0.01f);
		for (int i = 0; i < e.n_layers; i++)
		{
			for (int j = 0; j < WEIGHTS_A_LAYER; j++)
				descend(&e.layers[i][j], 0.01f);
		}
	}
	CHECK(losses[TE_LENGTH(losses) - 1] < 0.3 * losses[0]);
}

/* Gradients of two outputs add up, in whatever order, and values survive a backward pass. */
TEST(backward_from_two_outputs_adds)
{
	float		data[4] = {1, -2, 3, 4};
	float		grad[4] = {100, 100, 100, 100};
	float		ones[4] = {1, 1, 1, 1};
	TeGraph    *graph = te_graph_create(arena, TE_TRAIN, NULL);
	TeNode	   *x = te_input(graph, data, 2, 2, grad);
	TeNode	   *square = te_multiply(graph, x, x);
	TeNode	   *cube = te_multiply(graph, square, x);

	te_graph_run(graph);
	te_graph_backward(graph, square, ones);
	CHECK_NEAR(grad[2], 100 + 6, 1e-5);
	te_graph_backward(graph, cube, ones);
	CHECK_NEAR(grad[1], 100 - 4 + 12, 1e-5);
	te_graph_backward(graph, square, ones);
	CHECK_NEAR(grad[3], 100 + 8 + 48 + 8, 1e-5);
}

/* ---- errors ---- */

TEST(wrong_shapes_name_the_op)
{
	static const int lengths[] = {3, 4};
	TeBatch		batch = make_batch(arena, lengths, 2);
	TeGraph    *g = te_graph_create(arena, TE_INFER, &batch);
	TeGraph    *bare = te_graph_create(arena, TE_INFER, NULL);
	Encoder		e = {.hidden = 8};
	float		zeros[7 * 16] = {0};
	TeNode	   *a = te_input(g, zeros, 7, 8, NULL);
	TeNode	   *b = te_input(g, zeros, 7, 16, NULL);
	TeNode	   *c = te_input(g, zeros, 5, 8, NULL);
	TeNode	   *elsewhere = te_input(bare, zeros, 7, 8, NULL);
	TeWeight	w = matrix(arena, &e, 6, 16);
	TeWeight	low = matrix(arena, &e, 2, 16);
	TeWeight	v = vector(arena, &e, 8, 1);
	TeOperand	plain = {.matrix = &w};
	TeOperand	biased = {.matrix = &w, .bias = &v};
	TeWeight	w_half = w;
	TeWeight	w_crooked = w;
	TeOperand	half = {.matrix = &w_half};
	TeOperand	crooked = {.matrix = &w_crooked};
	TeAttentionSpec spec = {.n_head = 2, .n_kv_head = 2, .d_head = 4};
	TeAttentionSpec uneven = {.n_head = 3, .n_kv_head = 2, .d_head = 4};
	TeAttentionSpec large = {.n_head = 1, .n_kv_head = 1, .d_head = TE_MAX_D_HEAD + 1};
	TeAttentionSpec narrow = spec;
	TeColumns	columns = {a, 0, 8};
	int32_t		rows[] = {0, 7};
	TeNode	   *nodes[] = {a, c};
	TeBatch		bad = batch;

	w_half.lora_a = &low;
	w_crooked.lora_a = w_crooked.lora_b = &low;
	narrow.bias = te_input(g, zeros, 2, 5, NULL);
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "add: ", te_add(g, a, b));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "multiply: ", te_multiply(g, a, c));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "scale: ", te_scale(g, elsewhere, 1));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "activate: ", te_activate(g, a, TE_N_ACTIVATIONS));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "layer_norm: ", te_layer_norm(g, b, NULL, &v, NULL, 1e-5f));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "layer_norm: ", te_layer_norm(g, a, b, &v, NULL, 1e-5f));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "layer_norm: ", te_layer_norm(g, a, NULL, NULL, &v, 1e-5f));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "rms_norm: ", te_rms_norm(g, b, &v, 1e-5f));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "linear: ", te_linear(g, a, &plain, 1, TE_ACT_NONE));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "linear: ", te_linear(g, b, &biased, 1, TE_ACT_NONE));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "linear: ", te_linear(g, b, &half, 1, TE_ACT_NONE));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "linear: ", te_linear(g, b, &crooked, 1, TE_ACT_NONE));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "linear: ", te_linear(g, b, &plain, TE_MAX_PARTS + 1, TE_ACT_NONE));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ", te_attention(g, (TeColumns) {a, 1, 8}, columns, columns, &spec));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ", te_attention(g, columns, (TeColumns) {c, 0, 8}, columns, &spec));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ",
					  te_attention(g, (TeColumns) {b, 0, 8}, (TeColumns) {b, 4, 8}, columns, &spec));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ", te_attention(g, columns, columns, columns, &uneven));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ", te_attention(g, columns, columns, columns, &large));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "attention: ", te_attention(g, columns, columns, columns, &narrow));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "relative_bias: ", te_relative_bias(g, &w, 8, 16, true));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "relative_bias: ", te_relative_bias(g, &w, 6, 1, true));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "relative_bias: ", te_relative_bias(bare, &w, 6, 16, true));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "pool: ", te_pool(g, c, TE_POOL_MEAN));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "pool: ", te_pool(bare, elsewhere, TE_POOL_MEAN));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "select_rows: ", te_select_rows(g, a, rows, 2));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "concat: ", te_concat(g, nodes, 2));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "concat: ", te_concat(g, nodes, 0));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "l2_normalize: ", te_l2_normalize(g, a, 0));
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "graph: ", te_node_value(te_scale(g, a, 1)));
	bad.max_len = 3;
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "batch: ", te_graph_create(arena, TE_INFER, &bad));
	bad = batch;
	bad.n_tok = 6;
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "batch: ", te_graph_create(arena, TE_INFER, &bad));
	CHECK_THROWS(TE_ERR_CORRUPT, te_input(g, zeros, SIZE_MAX / 2, 3, NULL));
}

TEST(ids_outside_of_a_table_are_named)
{
	Encoder		e = {.hidden = 8};
	TeWeight	table = matrix(arena, &e, 10, 8);
	int32_t		ids[] = {9, 10, -1};
	TeGraph    *graph = te_graph_create(arena, TE_INFER, NULL);

	te_gather(graph, &table, ids, 2, 0);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "id 10 is outside of an embedding of 10 rows", te_graph_run(graph));
	graph = te_graph_create(arena, TE_INFER, NULL);
	te_gather(graph, &table, ids + 2, 1, 0);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "id -1 ", te_graph_run(graph));
	graph = te_graph_create(arena, TE_INFER, NULL);
	te_gather(graph, &table, ids, 1, INT32_MAX);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "id 2147483656 ", te_graph_run(graph));
}

TEST(nothing_in_gives_nothing_out)
{
	Encoder		e = {.n_layers = 1, .hidden = 8, .inner = 8, .n_head = 2, .trained = true};
	TeBatch		batch = make_batch(arena, NULL, 0);
	TeGraph    *graph = te_graph_create(arena, TE_TRAIN, &batch);
	TeNode	   *pooled;

	fill_encoder(arena, &e);
	pooled = te_l2_normalize(graph, te_pool(graph, build_encoder(graph, &e, &batch, NULL), TE_POOL_MAX), 1e-12f);
	te_graph_keep(graph, pooled);
	te_graph_run(graph);
	CHECK(te_node_rows(pooled) == 0 && te_node_cols(pooled) == 8);
	te_graph_backward(graph, pooled, NULL);
}

static void
step_under_faults(void *arg)
{
	static const int lengths[] = {70, 5};
	TeArena    *arena = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);
	Encoder		e = {.n_layers = 1, .hidden = 128, .inner = 256, .n_head = 2, .trained = true};
	TeBatch		batch = make_batch(arena, lengths, 2);
	TeBuffer	all;

	train_step(arena, &e, &batch, &all);
}

TEST(faults_leave_nothing)
{
	CHECK(te_std_fault_loop(step_under_faults, NULL) > 20);
	te_std_set_workers(3);
	CHECK(te_std_fault_loop(step_under_faults, NULL) > 20);
	te_std_set_workers(1);
}

TEST_MAIN()
