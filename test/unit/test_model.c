/*-------------------------------------------------------------------------
 * test_model.c
 *	  Models end to end: the fixtures of models/fixtures against the
 *	  reference's numbers, images, batches, limits, interruptions.
 *
 * With TRANSFORMER_MINILM naming a folder with all-MiniLM-L6-v2, that model is
 * also quantized and held against itself; the comparison with the reference
 * library is test/bench/compare_embeddings.py.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

/* ---- against the reference ---- */

/* A row with the tokens of an item of expected.json. */
static TeJobRow *
expected_row(TeArena *arena, const TeJson *item)
{
	const TeJson *ids = te_json_get(item, "ids");
	const TeJson *types = te_json_get(item, "type_ids");
	TeJobRow   *row = te_new(arena, TeJobRow);

	row->n_tokens = ids->n;
	row->ids = te_new_array(arena, int32_t, ids->n);
	row->type_ids = te_new_array(arena, int32_t, ids->n);
	for (uint32_t i = 0; i < ids->n; i++)
	{
		row->ids[i] = (int32_t) ids->items[i].integer;
		row->type_ids[i] = types != NULL ? (int32_t) types->items[i].integer : 0;
	}
	return row;
}

/* Hidden states of rows in one batch. */
static const float *
hidden_states(TeArena *arena, const TeModel *model, TeJobRow *const *rows, size_t n)
{
	TeBatch    *batch = te_rows_batch(arena, model, rows, n);
	TeGraph    *graph = te_graph_create(arena, TE_INFER, batch);
	TeNode	   *hidden = te_model_arch(model)->forward(graph, model, batch);

	te_graph_keep(graph, hidden);
	te_graph_run(graph);
	return te_node_value(hidden);
}

/* Largest difference relative to the root mean square of the expected values. */
static double
relative_difference(const float *actual, const float *expected, size_t n)
{
	double		sum = 0;
	double		worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		sum += (double) expected[i] * expected[i];
		worst = fmax(worst, fabs((double) actual[i] - expected[i]));
	}
	return worst / sqrt(sum / n);
}

/* All texts of a fixture in one batch, then each alone. */
static void
check_hidden_states(TeArena *arena, const char *name, const char *isa)
{
	Fixture    *fixture = fixture_load(arena, name, NULL);
	TeModel    *model = load_model(arena, fixture->def);
	const TeJson *texts = te_json_get(fixture->expected, "texts");
	TeJobRow  **rows = te_new_array(arena, TeJobRow *, texts->n);
	const float *together;
	size_t		at = 0;

	for (uint32_t i = 0; i < texts->n; i++)
		rows[i] = expected_row(arena, &texts->items[i]);
	together = hidden_states(arena, model, rows, texts->n);
	for (uint32_t i = 0; i < texts->n; i++)
	{
		const TeJson *list = te_json_get(&texts->items[i], "hidden");
		const float *expected = json_floats(arena, list);
		const float *alone = hidden_states(arena, model, &rows[i], 1);
		double		difference = relative_difference(together + at, expected, list->n);

		if (!CHECK(difference <= 1e-5))
			fprintf(stderr, "  %s, %s, text %u: %g\n", name, isa, i, difference);
		/* Neither the rest of the batch nor the tile matters. */
		CHECK(memcmp(together + at, alone, list->n * sizeof(float)) == 0);
		at += list->n;
	}
}

TEST(hidden_states_are_the_references)
{
	const char *isas[8];
	size_t		n = te_isa_list(isas, TE_LENGTH(isas));

	for (size_t i = 0; i < n; i++)
	{
		CHECK(te_isa_select(isas[i]));
		for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
			check_hidden_states(arena, fixture_names[f], isas[i]);
	}
	te_isa_select("auto");
}

TEST(token_ids_are_the_references)
{
	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		Fixture    *fixture = fixture_load(arena, fixture_names[f], NULL);
		TeModel    *model = load_model(arena, fixture->def);
		const TeJson *texts = te_json_get(fixture->expected, "texts");
		int			limit = te_model_context_length(model);

		CHECK(limit == te_json_int(fixture->expected, "max_tokens", 0));
		for (uint32_t i = 0; i < texts->n; i++)
		{
			const TeJson *item = &texts->items[i];
			TeJobRow   *row = expected_row(arena, item);
			size_t		n;
			size_t		all;
			TeToken    *tokens = te_encode_alloc(te_model_tokenizer(model), arena, te_json_str(item, "text", ""),
												 te_json_str(item, "pair", NULL), true, limit, &n, &all);

			if (!CHECK(n == row->n_tokens))
				continue;
			for (size_t t = 0; t < n; t++)
				CHECK(tokens[t].id == row->ids[t] && tokens[t].type_id == row->type_ids[t]);
		}
	}
}

TEST(embeddings_are_the_references)
{
	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		Fixture    *fixture = fixture_load(arena, fixture_names[f], NULL);
		TeModel    *model = load_model(arena, fixture->def);
		const TeJson *texts = te_json_get(fixture->expected, "texts");
		const TeJson *query = te_json_get(fixture->expected, "query");
		int			n;

		CHECK(te_model_dimensions(model) == te_json_int(fixture->expected, "dimensions", 0));
		CHECK_STR(te_model_task(model), "embedding");
		CHECK(te_model_flops_per_token(model) > 1e4);
		for (uint32_t i = 0; i < texts->n; i++)
		{
			const TeJson *expected = te_json_get(&texts->items[i], "embedding");
			const float *vector;

			if (expected == NULL)
				continue;
			vector = embed_one(arena, model, te_json_str(&texts->items[i], "text", ""), NULL, &n);
			if (!CHECK(n == (int) expected->n))
				continue;
			CHECK(cosine(vector, json_floats(arena, expected), n) >= 0.999999);
			CHECK(relative_difference(vector, json_floats(arena, expected), n) <= 1e-5);
		}
		if (query != NULL)
		{
			TeStr		text = te_json_str(&texts->items[0], "text", "");
			const float *plain = embed_one(arena, model, text, NULL, &n);
			const float *asked = embed_one(arena, model, text, "query", &n);
			const float *passage = embed_one(arena, model, text, "passage", &n);

			CHECK(relative_difference(asked, json_floats(arena, query), n) <= 1e-5);
			CHECK(cosine(plain, asked, n) < 0.9999 && cosine(passage, asked, n) < 0.9999);
		}
	}
}

/* ---- jobs ---- */

#define N_MIXED 150

/* Texts of mixed lengths out of a small vocabulary. */
static TeStr
mixed_text(TeArena *arena, uint32_t i)
{
	static const char *const words[] = {"bread ", "the lake", ", ", "Zug ", "море ", "小猫", "x", " 100 ", "boat ", "!"};
	TeBuffer	buffer;
	uint32_t	state = i * 2654435761u + 1;
	uint32_t	n = i * 7 % 23;

	te_buffer_init(&buffer, arena);
	for (uint32_t w = 0; w < n; w++)
	{
		state = state * 1664525 + 1013904223;
		te_buffer_add_str(&buffer, words[(state >> 16) % TE_LENGTH(words)]);
	}
	return (TeStr) {buffer.data, buffer.len};
}

static TeJob *
mixed_job(TeArena *arena, TeSession *session)
{
	TeJob	   *job = te_job_create(session, "embed", NULL);

	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	for (uint32_t i = 0; i < N_MIXED; i++)
		CHECK(te_job_feed(job, mixed_text(arena, i), (TeStr) {NULL, 0}) == i);
	te_job_run(job);
	return job;
}

TEST(batches_do_not_matter)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeModel    *model = load_model(arena, fixture->def);
	TeSession  *wide = te_session_create(arena, model, 0);
	TeSession  *narrow = te_session_create(arena, model, 64 * 1024);
	TeJob	   *wide_job = mixed_job(arena, wide);
	TeJob	   *narrow_job = mixed_job(arena, narrow);
	int			n;

	CHECK(te_session_usage(wide)->rows == N_MIXED);
	CHECK(te_session_usage(narrow)->rows == N_MIXED);
	CHECK(te_session_usage(narrow)->tokens == te_session_usage(wide)->tokens);
	CHECK(te_session_usage(narrow)->batches > te_session_usage(wide)->batches);
	CHECK(te_session_usage(wide)->truncated > 0);
	for (uint32_t i = 0; i < N_MIXED; i++)
	{
		const float *vector = te_job_vector(wide_job, i, &n);

		CHECK(same_vector(vector, te_job_vector(narrow_job, i, &n), &n));
		CHECK(same_vector(vector, embed_one(arena, model, mixed_text(arena, i), NULL, &n), &n));
	}
}

TEST(a_profile_accounts_for_forward_passes)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeSession  *session = te_session_create(arena, load_model(arena, fixture->def), 0);
	double	   *seconds = te_new_array(arena, double, (size_t) te_op_count());
	double		before;
	double		sum = 0;

	te_session_profile(session, seconds);
	mixed_job(arena, session);
	for (int i = 0; i < te_op_count(); i++)
	{
		CHECK(seconds[i] >= 0);
		if (strcmp(te_op_name(i), "linear") == 0)
			CHECK(seconds[i] > 0);
		sum += seconds[i];
	}
	CHECK(sum <= te_session_usage(session)->seconds);
	before = sum;
	te_session_profile(session, NULL);
	mixed_job(arena, session);
	for (int i = 0; i < te_op_count(); i++)
		before -= seconds[i];
	CHECK(fabs(before) < 1e-12);
}

TEST(workers_do_not_matter)
{
	Fixture    *fixture = fixture_load(arena, "distilbert", NULL);
	TeModel    *model = load_model(arena, fixture->def);
	TeJob	   *one = mixed_job(arena, te_session_create(arena, model, 0));
	TeJob	   *three;
	int			n;

	te_std_set_workers(3);
	three = mixed_job(arena, te_session_create(arena, load_model(arena, fixture->def), 0));
	te_std_set_workers(1);
	for (uint32_t i = 0; i < N_MIXED; i++)
		CHECK(same_vector(te_job_vector(one, i, &n), te_job_vector(three, i, &n), &n));
}

TEST(jobs_are_used_again)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeModel    *model = load_model(arena, fixture->def);
	TeSession  *session = te_session_create(arena, model, 0);
	TeJob	   *job = te_job_create(session, "embed", NULL);
	const float *expected;
	float		first[64];
	size_t		held;
	int			n;

	te_job_run(job);			/* nothing fed */
	expected = embed_one(arena, model, TE_STR("a boat"), NULL, &n);
	te_job_feed(job, TE_STR("a boat"), (TeStr) {NULL, 0});
	te_job_run(job);
	memcpy(first, te_job_vector(job, 0, &n), te_model_dimensions(model) * sizeof(float));
	CHECK(same_vector(first, expected, &n));
	/* More rows after a run: those before stay. */
	te_job_feed(job, TE_STR("a lake"), (TeStr) {NULL, 0});
	te_job_run(job);
	CHECK(same_vector(te_job_vector(job, 0, &n), first, &n));
	CHECK(!same_vector(te_job_vector(job, 1, &n), first, &n));

	held = 0;
	for (int i = 0; i < 50; i++)
	{
		te_job_reset(job);
		te_job_feed(job, TE_STR("a boat"), (TeStr) {NULL, 0});
		te_job_run(job);
		CHECK(same_vector(te_job_vector(job, 0, &n), first, &n));
		if (i == 10)
			held = te_arena_bytes(arena);
	}
	CHECK(te_arena_bytes(arena) == held);
	te_session_destroy(session);
}

TEST(long_texts_are_cut_or_refused)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeModel    *model = load_model(arena, fixture->def);
	TeSession  *session = te_session_create(arena, model, 0);
	TeJob	   *job = te_job_create(session, "embed", NULL);
	TeBuffer	text;

	te_buffer_init(&text, arena);
	for (int i = 0; i < 30000; i++)
		te_buffer_add_str(&text, "the ");
	te_job_feed(job, (TeStr) {text.data, text.len}, (TeStr) {NULL, 0});
	CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "has 30002 tokens, but the model takes 24", te_job_run(job));

	te_session_destroy(session);
	session = te_session_create(arena, model, 0);
	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	job = te_job_create(session, "embed", NULL);
	te_job_feed(job, (TeStr) {text.data, text.len}, (TeStr) {NULL, 0});
	te_job_feed(job, TE_STR("the"), (TeStr) {NULL, 0});
	te_job_run(job);
	CHECK(te_session_usage(session)->truncated == 1);
	CHECK(te_session_usage(session)->tokens == 24 + 3);
}

TEST(bad_input_is_refused)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeModel    *model = load_model(arena, fixture->def);
	TeSession  *session = te_session_create(arena, model, 0);
	TeJob	   *job = te_job_create(session, "embed", NULL);
	TeJobOptions options = {TE_STR("document")};

	CHECK_THROWS_LIKE(TE_ERR_INVALID, "kind \"document\"", te_job_create(session, "embed", &options));
	CHECK_THROWS(TE_ERR_INTERNAL, te_job_create(session, "dance", NULL));
	te_job_feed(job, TE_STR("\xff\xfe"), (TeStr) {NULL, 0});
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "UTF-8", te_job_run(job));
}

TEST(a_tokenizer_alone_is_a_model)
{
	TeFolder	folder = fixture_folder(arena, "bert");
	TeImportOptions options = {.task = TE_STR("tokenizer")};
	TeModelDef *def = te_import_folder(arena, &folder, &options);
	TeModel    *model = load_model(arena, def);
	size_t		n;
	size_t		all;

	CHECK_STR(te_model_architecture(model), "tokenizer");
	CHECK(te_model_dimensions(model) == 0);
	te_encode_alloc(te_model_tokenizer(model), arena, TE_STR("the a"), (TeStr) {NULL, 0}, true, 0, &n, &all);
	CHECK(n == 4);
	te_def_check(arena, def);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "gives no embeddings",
					  te_job_create(te_session_create(arena, model, 0), "embed", NULL));
}

TEST(reference_texts_are_texts)
{
	CHECK(te_reference_count() >= 4);
	for (int i = 0; i < te_reference_count(); i++)
		CHECK(te_utf8_valid(te_reference_text(i)) && te_reference_text(i).len > 10);
}

TEST(vectors_have_distances)
{
	float		a[] = {1, 2, 3, 4, 5};
	float		b[] = {5, 4, 3, 2, 1};

	CHECK_NEAR(te_vector_dot(a, b, 5), 35, 1e-6);
	CHECK_NEAR(te_vector_distance2(a, b, 5), 40, 1e-6);
	CHECK_NEAR(te_vector_dot(a, b, 0), 0, 0);
}

/* ---- images ---- */

TEST(images_are_relocatable)
{
	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		Fixture    *fixture = fixture_load(arena, fixture_names[f], NULL);
		uint64_t	bytes;
		void	   *image = build_image(arena, fixture->def, &bytes);
		void	   *copy = te_alloc(arena, bytes);
		const float *before;
		const float *after;
		int			n;

		memcpy(copy, image, bytes);
		before = embed_one(arena, te_model_attach(arena, image, bytes), TE_STR("Der Zug hält"), NULL, &n);
		memset(image, 0xee, bytes);
		after = embed_one(arena, te_model_attach(arena, copy, bytes), TE_STR("Der Zug hält"), NULL, &n);
		CHECK(same_vector(before, after, &n));
	}
}

TEST(images_are_the_same_each_time)
{
	Fixture    *fixture = fixture_load(arena, "roberta", "q8_0");
	uint64_t	bytes;
	uint64_t	bytes_again;
	void	   *image = build_image(arena, fixture->def, &bytes);
	void	   *again = build_image(arena, fixture_load(arena, "roberta", "q8_0")->def, &bytes_again);

	CHECK(bytes == bytes_again && memcmp(image, again, bytes) == 0);
}

/* Of an image without its version (behind the magic) and the hash over that (the header's last member). */
static uint64_t
image_hash(const void *image, uint64_t bytes)
{
	char	   *copy = malloc(bytes);
	uint32_t	header_bytes;
	uint64_t	hash;

	memcpy(copy, image, bytes);
	memcpy(&header_bytes, copy + 12, sizeof(header_bytes));
	te_assert(header_bytes < bytes);
	memset(copy + 8, 0, sizeof(uint32_t));
	memset(copy + header_bytes - sizeof(uint64_t), 0, sizeof(uint64_t));
	hash = te_hash(copy, bytes);
	free(copy);
	return hash;
}

/*
 * What images are made of, byte for byte.  Where this fails though the fixture is as it was, a server would take an image of before the
 * change for one of after it: raise IMAGE_LAYOUT (image.c), and then put the hashes here that the failures print.
 */
TEST(images_change_with_their_version)
{
	static const struct
	{
		const char *name;
		const char *quantization;
		uint64_t	hash;
	}			images[] = {
		{"bert", NULL, UINT64_C(0x30766f97c00ab150)},
		{"distilbert", NULL, UINT64_C(0x0213c695906abed8)},
		{"roberta", NULL, UINT64_C(0x2880a0b8e22823d6)},
		{"xlm-roberta", NULL, UINT64_C(0x76bf1873bd7b5e19)},
		{"mpnet", NULL, UINT64_C(0x36cdfbfe5445e1f9)},
		{"modernbert", NULL, UINT64_C(0x48be8bff64982c44)},
		{"nomic-bert", NULL, UINT64_C(0xbefa9049a36e57fe)},
		{"albert", NULL, UINT64_C(0x305745c198ee7474)},
		{"electra", NULL, UINT64_C(0x130bcbdec88051ac)},
		{"deberta-v2", NULL, UINT64_C(0xd21f108b6162d0d7)},
		{"deberta-v3", NULL, UINT64_C(0x6c4f11281f76b3be)},
		{"causal-llama", NULL, UINT64_C(0xaaacbeccee3b374d)},
		{"causal-mistral", NULL, UINT64_C(0xa0065010abec5dcb)},
		{"causal-qwen2", NULL, UINT64_C(0x52a12c54d5b2e72f)},
		{"classify-bert", NULL, UINT64_C(0x0228faec21c78a4b)},
		{"token-bert", NULL, UINT64_C(0x687424a42798921a)},
		{"answer-bert", NULL, UINT64_C(0xb96e55138c98112d)},
		{"mask-bert", NULL, UINT64_C(0x709f0bb1a633a916)},
		{"ratings-bert", NULL, UINT64_C(0xe25d9c9611225ba1)},
		{"bert", "f16", UINT64_C(0x61a63c9264d9f108)},
		{"bert", "bf16", UINT64_C(0xab83545cfcb87e18)},
		{"bert", "q8_0", UINT64_C(0x5cb5bb2d6356a44a)},
		{"bert", "q4_0", UINT64_C(0xa2cf76a31277fc50)},
		{"bert", "int8", UINT64_C(0x97442888941bf2fc)},
		{"causal-gpt2", NULL, UINT64_C(0xf47feb8b58e88c95)},
		{"causal-neox", NULL, UINT64_C(0xb7eede0b60d9c088)},
		{"causal-phi", NULL, UINT64_C(0xe3d4d3034ca8ae1a)},
		{"causal-stablelm", NULL, UINT64_C(0xbfab658e945bf3a9)},
		{"causal-falcon", NULL, UINT64_C(0x597f4904815f3f0f)},
		{"causal-bloom", NULL, UINT64_C(0x61e04a3fe2fd4ecd)},
		{"causal-mpt", NULL, UINT64_C(0xafcdef2b02b9e21d)},
		{"causal-stablelm-heads", NULL, UINT64_C(0x94dc99995f0e2d22)},
	};

	for (size_t i = 0; i < TE_LENGTH(images); i++)
	{
		uint64_t	bytes;
		void	   *image = build_image(arena, fixture_load(arena, images[i].name, images[i].quantization)->def, &bytes);
		uint64_t	hash = image_hash(image, bytes);

		if (hash != images[i].hash)
			fprintf(stderr, "the image of %s (%s) is UINT64_C(0x%016llx)\n", images[i].name,
					images[i].quantization != NULL ? images[i].quantization : "as it is", (unsigned long long) hash);
		CHECK(hash == images[i].hash);
	}
}

TEST(damaged_images_are_errors)
{
	Fixture    *fixture = fixture_load(arena, "roberta", NULL);
	uint64_t	bytes;
	char	   *image = build_image(arena, fixture->def, &bytes);
	uint8_t		other[32] = {9};
	TeArena    *scratch = te_arena_create(arena, "attach");
	size_t		tables = 5000;	/* header, pipeline, names: all of them are hashed */

	CHECK(te_image_valid(image, bytes, fixture_digest));
	CHECK(!te_image_valid(image, bytes, other));
	CHECK(!te_image_valid(image, bytes - 1, fixture_digest));
	CHECK(!te_image_valid(image, 10, fixture_digest));
	CHECK_THROWS(TE_ERR_CORRUPT, te_model_attach(scratch, image, bytes - 64));
	CHECK_THROWS(TE_ERR_CORRUPT, te_model_attach(scratch, image + 64, bytes - 64));
	for (size_t i = 0; i < tables; i++)
	{
		image[i] ^= 1 << i % 8;
		CHECK_THROWS(TE_ERR_CORRUPT, te_model_attach(scratch, image, bytes));
		image[i] ^= 1 << i % 8;
		te_arena_reset(scratch);
	}
	te_model_attach(scratch, image, bytes);
}

TEST(attaching_costs_little)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	uint64_t	bytes;
	void	   *image = build_image(arena, fixture->def, &bytes);
	TeArena    *scratch = te_arena_create(arena, "attach");

	te_model_attach(scratch, image, bytes);
	CHECK(te_arena_bytes(scratch) < 64 * 1024);
}

/* ---- storage types ---- */

TEST(quantized_models_are_near)
{
	static const struct
	{
		const char *name;
		double		bound;
	}			types[] = {{"f16", 0.99999}, {"bf16", 0.9995}, {"q8_0", 0.9995}, {"q4_0", 0.9}};

	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		TeModel    *plain = load_model(arena, fixture_load(arena, fixture_names[f], "f32")->def);
		TeStr		text = TE_STR("The baker opens the shop at six");
		int			n;
		const float *expected = embed_one(arena, plain, text, NULL, &n);

		for (size_t t = 0; t < TE_LENGTH(types); t++)
		{
			Fixture    *fixture = fixture_load(arena, fixture_names[f], types[t].name);
			const float *vector = embed_one(arena, load_model(arena, fixture->def), text, NULL, &n);
			double		near = cosine(vector, expected, n);

			CHECK_STR(fixture->def->quantization, types[t].name);
			if (!CHECK(near >= types[t].bound))
				fprintf(stderr, "  %s %s: %g\n", fixture_names[f], types[t].name, near);
		}
	}
}

TEST(minilm_quantized)
{
	const char *path = getenv("TRANSFORMER_MINILM");
	static const struct
	{
		const char *name;
		double		bound;
	}			types[] = {{"q8_0", 0.999}, {"int8", 0.999}, {"q4_0", 0.98}};
	TeFolder	folder;
	TeModel    *plain;

	if (path == NULL)
		SKIP("TRANSFORMER_MINILM is not set");
	folder = te_std_folder(arena, path);
	plain = load_model(arena, te_import_folder(arena, &folder, NULL));
	CHECK(te_model_dimensions(plain) == 384 && te_model_context_length(plain) == 256);
	for (size_t t = 0; t < TE_LENGTH(types); t++)
	{
		TeImportOptions options = {.quantization = te_str(types[t].name)};
		TeModel    *model = load_model(arena, te_import_folder(arena, &folder, &options));
		double		sum = 0;

		for (int i = 0; i < te_reference_count(); i++)
		{
			int			n;
			const float *expected = embed_one(arena, plain, te_reference_text(i), NULL, &n);

			sum += cosine(embed_one(arena, model, te_reference_text(i), NULL, &n), expected, n);
		}
		CHECK(sum / te_reference_count() >= types[t].bound);
	}
}

/* ---- faults ---- */

static void
import_and_embed(void *arg)
{
	TeArena    *arena = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);
	Fixture    *fixture = fixture_load(arena, arg, "q8_0");
	int			n;

	embed_one(arena, load_model(arena, fixture->def), TE_STR("a boat on the lake"), NULL, &n);
}

TEST(every_fault_unwinds)
{
	CHECK(te_std_fault_loop(import_and_embed, "bert") > 20);
}

TEST_MAIN()
