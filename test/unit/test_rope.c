/*-------------------------------------------------------------------------
 * test_rope.c
 *	  Frequencies of rotary positions, scaled in every way, against the reference; which of them a row turns by.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "arch/rope.h"

static bool
near(const float *a, const TeJson *expected, TeArena *arena)
{
	const float *b = json_floats(arena, expected);

	for (uint32_t i = 0; i < expected->n; i++)
	{
		if (!(fabs((double) a[i] - b[i]) <= 1e-6 * fabs(b[i])))
			return false;
	}
	return true;
}

/* Does it turn as before when it has been through the metadata and tensors of a file? */
static bool
survives_gguf(TeArena *arena, const TeArch *arch, const TeJson *json, const TeConfig *config, const TeRope *rope)
{
	TeJson	   *meta = te_json_new_object(arena);
	TeJson	   *read = te_json_new_object(arena);
	TeTensorList list = {arena};
	TeModelFile file = {.meta = meta};
	TeConfig	again = {0};
	TeRope		other;
	bool		same;

	te_rope_to_gguf(arena, &config->rope, config->rope_columns, "llama", meta);
	te_rope_gguf_tensors(&config->rope, config->rope_columns, &list);
	file.tensors.n = list.n;
	file.tensors.tensors = list.tensors;
	te_tensor_set_index(arena, &file.tensors);
	for (uint32_t i = 0; i < json->n; i++)
	{
		if (!te_str_starts(json->items[i].key, "rope_"))
			te_json_set_copy(arena, te_json_add(arena, read, te_cstring(arena, json->items[i].key)), &json->items[i]);
	}
	te_rope_from_gguf(arena, &file, "llama", read);
	arch->read_config(read, &again);
	other = te_rope_bind(arena, &again.rope, again.rope_columns);
	same = other.n_rot == rope->n_rot && fabs((double) other.factor - rope->factor) < 1e-6;
	for (int i = 0; same && i < rope->n_rot / 2; i++)
		same = fabs((double) other.frequencies[i] - rope->frequencies[i]) <= 1e-6 * rope->frequencies[i]
			&& (rope->long_frequencies == NULL || fabs((double) other.long_frequencies[i] - rope->long_frequencies[i]) <= 1e-6 * rope->long_frequencies[i]);
	return same;
}

TEST(frequencies_are_those_of_the_reference)
{
	TeFolder	folder = fixture_folder(arena, "rope");
	const TeJson *cases = fixture_json(arena, &folder, "expected.json");
	const TeArch *arch = te_arch_by_name(TE_STR("llama"));

	CHECK(cases->n > 20);
	for (uint32_t i = 0; i < cases->n; i++)
	{
		const TeJson *expected = te_json_get(&cases->items[i], "frequencies");
		const TeJson *longer = te_json_get(&cases->items[i], "long");
		TeConfig	config = {0};
		TeRope		rope;

		arch->read_config(te_json_get(&cases->items[i], "config"), &config);
		rope = te_rope_bind(arena, &config.rope, config.rope_columns);
		CHECK((uint32_t) rope.n_rot == 2 * expected->n);
		if (!CHECK(near(rope.frequencies, expected, arena)))
			fprintf(stderr, "  case %u\n", i);
		CHECK_NEAR(rope.factor, te_json_real(&cases->items[i], "factor", 0), 1e-6);
		CHECK((rope.long_frequencies != NULL) == (longer != NULL));
		/* llama.cpp's bounds of YaRN are pairs, always */
		if (config.rope.scaling == TE_ROPE_YARN && !config.rope.whole)
			continue;
		if (!CHECK(survives_gguf(arena, arch, te_json_get(&cases->items[i], "config"), &config, &rope)))
			fprintf(stderr, "  case %u\n", i);
		if (longer != NULL)
			CHECK(near(rope.long_frequencies, longer, arena) && rope.long_from == 1025);
	}
}

static void
read_text(TeArena *arena, const char *text)
{
	const char *json = te_format(arena, "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
								 "\"num_attention_heads\": 4, \"intermediate_size\": 16, \"vocab_size\": 8, %s}", text);
	TeConfig	config = {0};

	te_arch_by_name(TE_STR("llama"))->read_config(te_json_parse(arena, te_str(json), "config.json"), &config);
}

TEST(what_is_no_scaling_is_refused)
{
	CHECK_THROWS(TE_ERR_UNSUPPORTED, read_text(arena, "\"rope_scaling\": {\"type\": \"spiral\"}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_scaling\": {\"type\": \"linear\"}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1]}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 0], "
										   "\"long_factor\": [1, 1, 1, 1]}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, "
										   "\"high_freq_factor\": 4}"));
	CHECK_THROWS(TE_ERR_CORRUPT, read_text(arena, "\"rope_theta\": 0"));
	CHECK_THROWS(TE_ERR_UNSUPPORTED, read_text(arena, "\"partial_rotary_factor\": 0.1"));
}

/* The cosine and sine of the first pair of a row. */
static void
check_angle(const TeNode *table, int row, double angle)
{
	const float *values = te_node_value(table) + (size_t) row * te_node_cols(table);

	CHECK_NEAR(values[0], cos(angle), 1e-6);
	CHECK_NEAR(values[te_node_cols(table) - 1], sin(angle), 1e-6);
}

TEST(long_sequences_have_their_own)
{
	static const float usual[] = {1};
	static const float longer[] = {0.5f};
	int32_t		start[] = {0, 2, 5};
	int32_t		positions[] = {0, 1, 0, 1, 2};
	int32_t		grown[] = {3, 3};
	TeRope		rope = {.n_rot = 2, .factor = 1, .frequencies = usual, .long_frequencies = longer, .long_from = 3};
	TeBatch		batch = {.n_seq = 2, .n_tok = 5, .max_len = 3, .seq_start = start, .positions = positions};
	TeGraph    *graph = te_graph_create(arena, TE_INFER, &batch);
	TeNode	   *table = te_rope_table(graph, &rope);

	te_graph_keep(graph, table);
	te_graph_run(graph);
	check_angle(table, 1, 1);
	check_angle(table, 3, 0.5);
	check_angle(table, 4, 1);
	/* the first will be as long as the second */
	batch.lengths = grown;
	te_graph_run(graph);
	check_angle(table, 1, 0.5);
}

TEST_MAIN()
