/*-------------------------------------------------------------------------
 * test_head.c
 *	  Heads: logits and scores against the reference, import, export, labels.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

static const char *const head_names[] = {
	"classify-bert", "classify-distilbert", "classify-roberta", "classify-mpnet", "classify-deberta",
	"topics-bert", "ratings-bert", "topics-electra", "ratings-electra"
};

static double
relative_difference(const float *actual, const float *expected, size_t n)
{
	double		largest = 0;
	double		worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		largest = fmax(largest, fabs((double) expected[i]));
		worst = fmax(worst, fabs((double) actual[i] - expected[i]));
	}
	return worst / largest;
}

/* The fixtures of other heads: the beginning of a folder's name, the task, and the job that computes it. */
static const struct
{
	const char *prefix;
	const char *task;
	const char *job;
}			token_heads[] = {
	{"token", "token-classification", "tag"},
	{"mask", "fill-mask", "fill"},
	{"answer", "question-answering", "tag"},
	{"next", "next-sentence", "classify"},
	{"sequence", "classification", "classify"},
};

/* All texts of expected.json in one job. */
static TeJob *
run_texts(TeArena *arena, const TeModel *model, const TeJson *texts, const char *task)
{
	TeSession  *session = te_session_create(arena, model, 0);
	TeJob	   *job;

	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	job = te_job_create(session, task, NULL);
	for (uint32_t i = 0; i < texts->n; i++)
		te_job_feed(job, te_json_str(&texts->items[i], "text", ""), te_json_str(&texts->items[i], "pair", NULL));
	te_job_run(job);
	return job;
}

/* Logits of every text within `bound` of the reference's, and scores under the right labels. */
static void
check_logits(TeArena *arena, const char *name, const TeModelDef *def, double bound)
{
	TeFolder	folder = fixture_folder(arena, name);
	const TeJson *texts = te_json_get(fixture_json(arena, &folder, "expected.json"), "texts");
	TeModel    *model = load_model(arena, def);
	TeJob	   *job = run_texts(arena, model, texts, "classify");

	CHECK(texts->n >= 8);
	for (uint32_t i = 0; i < texts->n; i++)
	{
		const TeJson *expected = te_json_get(&texts->items[i], "logits");
		const TeJson *expected_scores = te_json_get(&texts->items[i], "scores");
		int			n;
		const float *logits = te_job_vector(job, i, &n);
		float		scores[8];

		if (!CHECK(n == (int) expected->n && n == te_model_labels(model)))
			continue;
		if (!CHECK(relative_difference(logits, json_floats(arena, expected), n) <= bound))
			fprintf(stderr, "  %s, text %u\n", name, i);
		te_model_scores(model, logits, scores);
		for (int label = 0; label < n; label++)
		{
			const char *text = te_cstring(arena, te_model_label(model, label));

			CHECK_NEAR(scores[label], te_json_real(expected_scores, text, -1), bound * 4);
		}
	}
}

TEST(logits_are_the_references)
{
	const char *isas[8];
	size_t		n = te_isa_list(isas, TE_LENGTH(isas));

	for (size_t i = 0; i < n; i++)
	{
		CHECK(te_isa_select(isas[i]));
		for (size_t f = 0; f < TE_LENGTH(head_names); f++)
		{
			TeFolder	folder = fixture_folder(arena, head_names[f]);

			check_logits(arena, head_names[f], te_import_folder(arena, &folder, NULL), 1e-5);
		}
	}
	te_isa_select("auto");
}

/* Every row of numbers that the reference gives for every text. */
static void
check_values(TeArena *arena, const char *name, const TeModelDef *def, const char *job_name)
{
	TeFolder	folder = fixture_folder(arena, name);
	const TeJson *texts = te_json_get(fixture_json(arena, &folder, "expected.json"), "texts");
	TeJob	   *job = run_texts(arena, load_model(arena, def), texts, job_name);

	for (uint32_t i = 0; i < texts->n; i++)
	{
		const TeJson *expected = te_json_get(&texts->items[i], "logits");
		size_t		n_rows;
		int			width;
		const float *values = te_job_values(job, i, &n_rows, &width);

		if (!CHECK(n_rows * width == expected->n)
			|| !CHECK(relative_difference(values, json_floats(arena, expected), expected->n) <= 1e-4))
			fprintf(stderr, "  %s, text %u\n", name, i);
	}
}

/* The reference's numbers, from the folder and from what is exported. */
static void
check_head(TeArena *arena, const char *name, const char *task, const char *job)
{
	TeFolder	folder = fixture_folder(arena, name);
	MemoryFolder *memory = memory_folder(arena);
	TeModelDef *def = te_import_folder(arena, &folder, NULL);
	TeFolder	written;

	CHECK_STR(def->task, task);
	CHECK(strstr(te_std_last_report(), "decoder") == NULL);
	te_def_check(arena, def);
	check_values(arena, name, def, job);
	te_export_folder(arena, def, &memory->sink);
	written = memory_folder_read(memory);
	check_values(arena, name, te_import_folder(arena, &written, NULL), job);
	check_values(arena, name, te_import_gguf(arena, exported_gguf(arena, def), NULL), job);
}

TEST(tokens_are_the_references)
{
	int			n = 0;

	for (size_t i = 0; i < TE_LENGTH(token_heads); i++)
	{
		for (size_t f = 0; f < TE_LENGTH(head_families); f++)
		{
			const char *name = te_format(arena, "%s-%s", token_heads[i].prefix, head_families[f]);

			if (!has_fixture(arena, name))
				continue;
			check_head(arena, name, token_heads[i].task, token_heads[i].job);
			n++;
		}
	}
	CHECK(n >= 33);
}

TEST(tasks_have_synonyms)
{
	TeFolder	folder = fixture_folder(arena, "token-bert");
	TeModelDef *def = te_import_folder(arena, &folder, &(TeImportOptions) {.task = TE_STR("ner")});

	CHECK_STR(def->task, "token-classification");
	CHECK(def->n_labels == 5 && te_str_is(def->labels[1], "B-FOOD"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "has no head",
					  te_import_folder(arena, &folder, &(TeImportOptions) {.task = TE_STR("fill-mask")}));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "not supported",
					  te_import_folder(arena, &folder, &(TeImportOptions) {.task = TE_STR("juggling")}));
}

TEST(definitions_know_their_task)
{
	static const char *const tasks[] = {"classification", "classification", "classification", "regression", "classification",
	"classification", "regression", "classification", "regression"};
	static const int counts[] = {3, 2, 4, 1, 3, 3, 3, 3, 3};

	for (size_t f = 0; f < TE_LENGTH(head_names); f++)
	{
		TeFolder	folder = fixture_folder(arena, head_names[f]);
		TeModelDef *def = te_import_folder(arena, &folder, NULL);

		CHECK_STR(def->task, tasks[f]);
		CHECK(def->n_labels == counts[f]);
		CHECK(def->dimensions == 0 && def->context_length == 32);
		te_def_check(arena, def);
		CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "gives no embeddings",
						  te_job_create(te_session_create(arena, load_model(arena, def), 0), "embed", NULL));
	}
}

TEST(foreign_classifiers_are_read)
{
	TeFolder	folder = fixture_folder(arena, "classify-bert");
	TeModelDef *def = te_import_gguf(arena, foreign_gguf(arena, te_import_folder(arena, &folder, NULL), "bert"), NULL);

	CHECK_STR(def->task, "classification");
	CHECK(def->n_labels == 3 && te_str_is(def->labels[2], "positive"));
	check_logits(arena, "classify-bert", def, 1e-5);
}

TEST(exports_come_back)
{
	for (size_t f = 0; f < TE_LENGTH(head_names); f++)
	{
		TeFolder	folder = fixture_folder(arena, head_names[f]);
		TeModelDef *def = te_import_folder(arena, &folder, NULL);
		MemoryFolder *memory = memory_folder(arena);
		TeFolder	written;
		TeModelDef *again;

		te_export_folder(arena, def, &memory->sink);
		written = memory_folder_read(memory);
		again = te_import_folder(arena, &written, NULL);
		CHECK_STR(again->task, te_cstring(arena, def->task));
		CHECK(again->n_labels == def->n_labels && again->tensors.n == def->tensors.n);
		check_logits(arena, head_names[f], again, 1e-5);

		again = te_import_gguf(arena, exported_gguf(arena, def), NULL);
		CHECK_STR(again->task, te_cstring(arena, def->task));
		check_logits(arena, head_names[f], again, 1e-5);
	}
}

TEST(labels_are_given)
{
	TeFolder	folder = fixture_folder(arena, "classify-distilbert");
	TeStr		labels[] = {TE_STR("no"), TE_STR("yes"), TE_STR("perhaps")};
	TeModelDef *def = te_import_folder(arena, &folder, &(TeImportOptions) {.n_labels = 2, .labels = labels});
	TeModel    *model = load_model(arena, def);

	CHECK_STR(te_model_label(model, 0), "no");
	CHECK_STR(te_model_label(model, 1), "yes");
	te_def_check(arena, def);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "3 labels are given, but the model has 2",
					  te_import_folder(arena, &folder, &(TeImportOptions) {.n_labels = 3, .labels = labels}));
	def->labels[1] = TE_STR("maybe");
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "labels", te_def_check(arena, def));
}

/* The labels stand right before the configuration in an image's header, which ends with a hash of itself. */
TEST(heads_without_their_labels_are_damage)
{
	TeFolder	folder = fixture_folder(arena, "classify-bert");
	uint64_t	bytes;
	char	   *image = build_image(arena, te_import_folder(arena, &folder, NULL), &bytes);
	TeConfig   *config = (TeConfig *) te_model_config(te_model_attach(arena, image, bytes));
	uint64_t   *labels_bytes = (uint64_t *) config - 1;
	uint32_t	header_bytes;
	uint64_t	hash;

	memcpy(&header_bytes, image + 12, sizeof(header_bytes));
	CHECK((char *) config > image && *labels_bytes == (uint64_t) config->n_labels * 16);
	*labels_bytes = 0;
	config->n_labels = 0;
	hash = te_hash(image, header_bytes - sizeof(hash));
	memcpy(image + header_bytes - sizeof(hash), &hash, sizeof(hash));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "damaged head", te_model_attach(arena, image, bytes));
}

TEST(tasks_are_given)
{
	TeFolder	folder = fixture_folder(arena, "classify-bert");
	TeFolder	encoder = fixture_folder(arena, "bert");
	TeImportOptions options = {.task = TE_STR("embedding")};
	TeModelDef *def = te_import_folder(arena, &folder, &options);
	int			n;

	CHECK(def->dimensions == 16 && def->n_labels == 0);
	CHECK(strstr(te_std_last_report(), "classifier.") != NULL);
	embed_one(arena, load_model(arena, def), TE_STR("bread"), NULL, &n);
	CHECK(n == 16);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "gives no labels",
					  te_job_create(te_session_create(arena, load_model(arena, def), 0), "classify", NULL));
	options.task = TE_STR("classification");
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "has no head", te_import_folder(arena, &encoder, &options));
	options.task = TE_STR("regression");
	CHECK_STR(te_import_folder(arena, &folder, &options)->task, "regression");
}

TEST(quantized_labels_are_the_same)
{
	TeFolder	folder = fixture_folder(arena, "classify-bert");
	TeModelDef *def = te_import_folder(arena, &folder, &(TeImportOptions) {.quantization = TE_STR("f16")});

	CHECK(te_tensor_find(&def->tensors, TE_STR("classifier.weight"))->dtype == TE_F32);
	CHECK(te_tensor_find(&def->tensors, TE_STR("pooler.dense.weight"))->dtype == TE_F16);
	check_logits(arena, "classify-bert", def, 1e-2);
}

/* A config.json with its labels written so, read as a head. */
static void
read_labels_of(TeArena *arena, const char *config)
{
	TeHead		head;

	te_head_read(arena, te_arch_by_name(TE_STR("bert")), TE_STR("classification"),
				 te_json_parse(arena, te_str(config), "config.json"), &head);
}

TEST(odd_labels_are_errors)
{
	static const char *const configs[] = {
		"{\"id2label\": {\"0\": \"a\", \"2\": \"b\"}}", "{\"id2label\": {\"0\": \"a\", \"00\": \"b\"}}",
		"{\"id2label\": {\"0\": 7}}", "{\"id2label\": {\"-1\": \"a\"}}", "{\"id2label\": {\"\": \"a\"}}",
		"{\"id2label\": {\"99999999999999999999\": \"a\"}}", "{\"num_labels\": 0}", "{\"num_labels\": 70000}",
	};

	for (size_t i = 0; i < TE_LENGTH(configs); i++)
		CHECK_THROWS(TE_ERR_CORRUPT, read_labels_of(arena, configs[i]));
	read_labels_of(arena, "{\"num_labels\": 5}");
	read_labels_of(arena, "{}");
}

TEST(labels_have_polarities)
{
	static const struct
	{
		const char *labels[5];
		float		expected[5];
		bool		known;
	}			cases[] = {
		{{"NEGATIVE", "POSITIVE"}, {-1, 1}, true},
		{{"positive (stars 4 and 5)", "negative (stars 1, 2 and 3)"}, {1, -1}, true},
		{{"Very_Negative", "neg", "Neutral", "pos", "very positive"}, {-1, -1, 0, 1, 1}, true},
		{{"LABEL_0", "LABEL_1"}, {-1, 1}, true},
		{{"LABEL_0", "LABEL_1", "LABEL_2"}, {-1, 0, 1}, true},
		{{"1 star", "2 stars", "3 stars", "4 stars", "5 stars"}, {-1, -0.5, 0, 0.5, 1}, true},
		{{"joy", "anger"}, {0}, false},
		{{"positive", "neutral"}, {0}, false},
		{{"positive", "negative", "position"}, {0}, false},
		{{"LABEL_0"}, {0}, false},
		{{"relevance"}, {0}, false},
		{{"LABEL_99999999999999999999", "LABEL_"}, {0}, false},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		TeStr		labels[5];
		float		polarities[5] = {0};
		int			n = 0;

		for (; n < 5 && cases[i].labels[n] != NULL; n++)
			labels[n] = te_str(cases[i].labels[n]);
		CHECK(te_label_polarities(labels, n, polarities) == cases[i].known);
		for (int j = 0; cases[i].known && j < n; j++)
			CHECK_NEAR(polarities[j], cases[i].expected[j], 1e-6);
	}
	CHECK(!te_label_polarities(NULL, 0, NULL));
}

TEST_MAIN()
