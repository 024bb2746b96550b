/*-------------------------------------------------------------------------
 * test_distill.c
 *	  Students: made of a teacher's layers, and learning what it says.
 *-------------------------------------------------------------------------
 */
#include "train_fixture.h"

static const char *const words[] = {"good", "bad", "fine", "poor", "warm", "cold", "day", "night", "city", "river", "music", "paper"};

static void
text_row(TeArena *arena, int i, TeValue *values)
{
	values[0] = text_value(te_format(arena, "%s %s %s", words[i % 4], words[(i * 5 + 1) % 12], words[(i * 7 + 2) % 12]));
}

static void
label_row(TeArena *arena, int i, TeValue *values)
{
	text_row(arena, i, values);
	values[2] = text_value(i % 2 == 0 ? "up" : "down");
}

static void
score_row(TeArena *arena, int i, TeValue *values)
{
	text_row(arena, i, values);
	values[2] = real_value(i % 2 == 0 ? 2 : -1);
}

/* A model that has learned these rows. */
static TeModelDef *
learned(TeArena *arena, const char *fixture, const char *objective, MakeRow make)
{
	Run		   *run = run_begin(arena, fixture_load(arena, fixture, NULL)->def, objective);
	TeTrainer  *trainer;

	run_spool(arena, run, make, 24);
	trainer = run_trainer(arena, run);
	run_steps(trainer, 60);
	return te_trainer_definition(trainer, arena);
}

/* Rows with what a teacher says of them. */
static void
spool_taught(TeArena *arena, Run *run, const TeModelDef *teacher_def, MakeRow make, int n)
{
	const TeModel *teacher = load_model(arena, teacher_def);
	TeJob	   *job = te_job_create(te_session_create(arena, teacher, 0), te_objective_teacher(run->objective), NULL);
	TeExamples *examples = run_examples(arena, run);

	te_examples_set_teacher(examples, teacher);
	for (int i = 0; i < n; i++)
	{
		TeValue		values[MAX_COLUMNS] = {{0}};

		make(arena, i, values);
		te_job_feed(job, values[0].text, (TeStr) {NULL, 0});
	}
	te_job_run(job);
	for (int i = 0; i < n; i++)
	{
		TeValue		values[MAX_COLUMNS] = {{0}};
		int			width;
		size_t		n_rows;
		const float *soft = te_job_values(job, (size_t) i, &n_rows, &width);

		make(arena, i, values);
		te_examples_add(examples, values);
		te_examples_add_soft(examples, soft, n_rows * (size_t) width);
	}
	te_examples_finish(examples);
	run->source = te_source_memory("spool", run->spool.data, run->spool.len);
	run->examples = te_examples_open(arena, run->objective, &run->source);
}

TEST(a_student_says_what_its_teacher_says)
{
	/* without a head, with a head for other labels */
	static const char *const students[] = {"distilbert", "classify-bert", "modernbert"};
	TeModelDef *teacher = learned(arena, "bert", "classification", label_row);

	for (size_t i = 0; i < TE_LENGTH(students); i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, students[i], NULL)->def, "distill_classification");
		TeTrainer  *trainer;
		TeModelDef *def;
		double		before;

		option(run, "dropout", "0", arena);
		spool_taught(arena, run, teacher, text_row, 24);
		trainer = run_trainer(arena, run);
		before = run_metric(trainer, "loss");
		run_steps(trainer, 100);
		if (!CHECK(run_metric(trainer, "loss") < before / 20 && run_metric(trainer, "accuracy") == 1))
			fprintf(stderr, "  %s: loss %g, then %g\n", students[i], before, run_metric(trainer, "loss"));
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(def->n_labels == 2 && te_str_is(def->labels[0], "down") && te_str_is(def->labels[1], "up"));
	}
}

static void
words_row(TeArena *arena, int i, TeValue *values)
{
	const char *tokens[3];
	const char *labels[3];

	for (int w = 0; w < 3; w++)
	{
		tokens[w] = words[(i * (w + 1) + w) % TE_LENGTH(words)];
		labels[w] = words[0] == tokens[w] || words[2] == tokens[w] ? "good" : "other";
	}
	values[0] = texts_value(arena, 3, tokens);
	values[1] = texts_value(arena, 3, labels);
}

TEST(a_student_tags_as_its_teacher_does)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "distill_tokens");
	TeModelDef *teacher = learned(arena, "bert", "token_classification", words_row);
	TeTrainer  *trainer;
	TeModelDef *def;
	double		before;

	option(run, "dropout", "0", arena);
	spool_taught(arena, run, teacher, text_row, 24);
	trainer = run_trainer(arena, run);
	before = run_metric(trainer, "loss");
	run_steps(trainer, 150);
	CHECK(run_metric(trainer, "loss") < before / 20 && run_metric(trainer, "accuracy") == 1);
	def = te_trainer_definition(trainer, arena);
	te_def_check(arena, def);
	CHECK(def->n_labels == 2 && te_str_is(def->labels[0], "good") && te_str_is(def->labels[1], "other"));
	/* tokens of another tokenizer */
	run = run_begin(arena, fixture_load(arena, "modernbert", NULL)->def, "distill_tokens");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "the teacher says", spool_taught(arena, run, teacher, text_row, 24));
}

/* The losses of some steps on the same rows. */
static void
losses_of(TeArena *arena, const char *objective, const TeModelDef *teacher, MakeRow make, const char *alpha, double *losses, int n)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "distilbert", NULL)->def, objective);
	TeTrainer  *trainer;

	option(run, "dropout", "0", arena);
	option(run, "alpha", alpha, arena);
	if (teacher != NULL)
		spool_taught(arena, run, teacher, make, 24);
	else
		run_spool(arena, run, make, 24);
	trainer = run_trainer(arena, run);
	for (int i = 0; i < n; i++)
		losses[i] = run_steps(trainer, 1);
}

TEST(labels_and_teacher_are_mixed_by_alpha)
{
	static const struct
	{
		const char *plain;
		const char *distilled;
		MakeRow		make;
	}			kinds[] = {{"classification", "distill_classification", label_row}, {"regression", "distill_regression", score_row}};

	for (size_t k = 0; k < TE_LENGTH(kinds); k++)
	{
		const TeModelDef *teacher = learned(arena, "bert", kinds[k].plain, kinds[k].make);
		double		hard[4];
		double		hard_alone[4];
		double		soft[4];
		double		soft_alone[4];
		double		half[4];

		losses_of(arena, kinds[k].plain, NULL, kinds[k].make, "0.5", hard_alone, 4);
		losses_of(arena, kinds[k].distilled, teacher, kinds[k].make, "0", hard, 4);
		losses_of(arena, kinds[k].distilled, teacher, kinds[k].make, "1", soft, 4);
		losses_of(arena, kinds[k].distilled, teacher, text_row, "0.5", soft_alone, 4);
		losses_of(arena, kinds[k].distilled, teacher, kinds[k].make, "0.5", half, 4);
		for (int i = 0; i < 4; i++)
		{
			CHECK_NEAR(hard[i], hard_alone[i], 1e-6);
			CHECK_NEAR(soft[i], soft_alone[i], 1e-6);
		}
		CHECK_NEAR(half[0], (hard[0] + soft[0]) / 2, 1e-5);
	}
}

TEST(a_student_embeds_into_its_teachers_space)
{
	static const char *const matches[] = {"\"cosine\"", "\"mse\""};
	TeModelDef *teacher = fixture_load(arena, "electra", NULL)->def;
	TeModelDef *narrow = fixture_load(arena, "bert", NULL)->def;

	teacher->pipeline = TE_STR("{\"pooling\":[\"cls\"],\"normalize\":true}");
	te_def_check(arena, teacher);
	/* a base of the same width, one of another, and one of another that ends with a layer already */
	for (size_t i = 0; i < 3 * TE_LENGTH(matches); i++)
	{
		TeModelDef *base = i / 2 == 2 ? fixture_load(arena, "roberta", NULL)->def : narrow;
		Run		   *run;
		TeTrainer  *trainer;
		TeModelDef *def;
		double		before;

		if (i / 2 == 1)
		{
			TeModelDef *wide = te_new(arena, TeModelDef);
			const char *pipeline = te_format(arena, "{\"pooling\":[\"mean\",\"max\"],\"normalize\":true}");

			*wide = *narrow;
			wide->pipeline = te_str(pipeline);
			te_def_check(arena, wide);
			base = wide;
		}
		run = run_begin(arena, base, "distill_embedding");
		option(run, "match", matches[i % TE_LENGTH(matches)], arena);
		option(run, "learning_rate", "0.005", arena);
		spool_taught(arena, run, teacher, text_row, 24);
		trainer = run_trainer(arena, run);
		before = run_metric(trainer, "loss");
		run_steps(trainer, 200);
		if (!CHECK(run_metric(trainer, "loss") < before / 4))
			fprintf(stderr, "  case %zu: loss %g, then %g\n", i, before, run_metric(trainer, "loss"));
		def = te_trainer_definition(trainer, arena);
		te_def_check(arena, def);
		CHECK(def->dimensions == teacher->dimensions);
		CHECK(te_str_eq(def->pipeline, base->pipeline) == (base->dimensions == teacher->dimensions));
	}
}

/* The teacher with another word in its config.json. */
static const TeModel *
changed(TeArena *arena, const TeModelDef *teacher, const char *from, const char *to)
{
	TeModelDef *def = te_new(arena, TeModelDef);
	char	   *config = te_cstring(arena, teacher->config);
	char	   *at = strstr(config, from);

	*def = *teacher;
	te_assert(at != NULL);
	def->config = te_str(te_format(arena, "%.*s%s%s", (int) (at - config), config, to, at + strlen(from)));
	return load_model(arena, def);
}

TEST(what_a_teacher_cannot_teach)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "distill_classification");
	TeModelDef *teacher = learned(arena, "bert", "classification", label_row);
	TeExamples *examples = run_examples(arena, run);
	TeValue		values[MAX_COLUMNS] = {{0}};
	float		soft[2] = {0, 1};
	TeStr		column = TE_STR("text");

	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be the teacher", te_examples_set_teacher(examples, run->model));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "several labels",
					  te_examples_set_teacher(examples, changed(arena, teacher, "single_label", "multi_label")));
	te_examples_set_teacher(examples, load_model(arena, teacher));
	label_row(arena, 0, values);
	te_examples_add(examples, values);
	te_examples_add_soft(examples, soft, 2);
	values[2] = text_value("sideways");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "not known", te_examples_add(examples, values));
	values[2] = text_value("up");
	te_examples_add(examples, values);
	CHECK_THROWS_LIKE(TE_ERR_INTERNAL, "said nothing", te_examples_add(examples, values));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be", option(run, "match", "\"norm\"", arena));
	CHECK(te_objective_find(arena, "distill", TE_STR(""), TE_STR("classification"), TE_STR("bert"), &column, 1) == run->objective);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "knows no task", te_objective_find(arena, "distill", TE_STR(""), TE_STR("fill-mask"), TE_STR("bert"), &column, 1));
}

TEST(students_do_not_depend_on_pieces_or_workers)
{
	TeStr		weights[2];

	for (int i = 0; i < 2; i++)
	{
		Run		   *run = run_begin(arena, fixture_load(arena, "distilbert", NULL)->def, "distill_embedding");
		TeTrainer  *trainer;
		TeBuffer   *buffer = te_new(arena, TeBuffer);
		TeSink		sink;

		te_std_set_workers(i == 0 ? 1 : 3);
		spool_taught(arena, run, fixture_load(arena, "bert", NULL)->def, text_row, 24);
		trainer = run_trainer(arena, run);
		run_steps(trainer, 3);
		te_buffer_init(buffer, arena);
		sink = te_sink_buffer(buffer);
		te_trainer_save(trainer, &sink);
		weights[i] = (TeStr) {buffer->data, buffer->len};
	}
	te_std_set_workers(1);
	CHECK(te_str_eq(weights[0], weights[1]));
}

/* ---- students made of a teacher ---- */

/* The teacher's tensor that has these bytes. */
static const TeTensorInfo *
same_bytes(const TeModelDef *teacher, const TeTensorInfo *tensor)
{
	for (size_t i = 0; i < teacher->tensors.n; i++)
	{
		if (teacher->tensors.tensors[i].source == tensor->source && teacher->tensors.tensors[i].offset == tensor->offset)
			return &teacher->tensors.tensors[i];
	}
	return NULL;
}

static const TeJson *
layers_option(TeArena *arena, const char *layers)
{
	return te_json_parse(arena, te_str(layers), "layers");
}

TEST(a_student_is_made_of_layers)
{
	for (size_t i = 0; i < TE_LENGTH(fixture_names); i++)
	{
		TeModelDef *teacher = fixture_load(arena, fixture_names[i], NULL)->def;
		TeModelDef *student = te_model_student(arena, teacher, NULL);
		int			n;
		const float *a;
		const float *b;

		te_def_check(arena, student);
		CHECK(student->tensors.n <= teacher->tensors.n && student->dimensions == teacher->dimensions);
		for (size_t t = 0; t < student->tensors.n; t++)
		{
			const TeTensorInfo *tensor = &student->tensors.tensors[t];
			const TeTensorInfo *from = same_bytes(teacher, tensor);

			CHECK(from != NULL && from->dtype == tensor->dtype && from->bytes == tensor->bytes);
		}
		a = embed_one(arena, load_model(arena, student), TE_STR("a warm day"), NULL, &n);
		b = embed_one(arena, load_model(arena, teacher), TE_STR("a warm day"), NULL, &n);
		CHECK(n == teacher->dimensions && !same_vector(a, b, &n));
	}
}

TEST(all_layers_are_the_teacher)
{
	TeModelDef *teacher = fixture_load(arena, "classify-bert", NULL)->def;
	TeModelDef *student = te_model_student(arena, teacher, layers_option(arena, "[0]"));

	CHECK(te_str_eq(student->config, teacher->config) && student->tensors.n == teacher->tensors.n);
	CHECK(student->n_labels == teacher->n_labels && te_str_eq(student->task, teacher->task));
}

TEST(layers_get_other_numbers)
{
	/* what stands before the number, in several families */
	static const struct
	{
		const char *fixture;
		const char *layers;
		const char *name;
		const char *from;
	}			cases[] = {
		{"bert", "[1]", "encoder.layer.0.output.dense.weight", "encoder.layer.1.output.dense.weight"},
		{"distilbert", "[1]", "transformer.layer.0.ffn.lin1.weight", "transformer.layer.1.ffn.lin1.weight"},
		{"modernbert", "2", "layers.1.mlp.Wi.weight", "layers.3.mlp.Wi.weight"},
		{"modernbert", "[0, 3]", "layers.1.mlp.Wi.weight", "layers.3.mlp.Wi.weight"},
		{"modernbert", "[0, 2, 3]", "layers.1.mlp.Wi.weight", "layers.2.mlp.Wi.weight"},
		{"causal-llama", "[1]", "layers.0.mlp.up_proj.weight", "layers.1.mlp.up_proj.weight"},
		{"causal-gpt2", "[1]", "h.0.mlp.c_fc.weight", "h.1.mlp.c_fc.weight"},
		{"causal-neox", "[1]", "layers.0.attention.query_key_value.bias", "layers.1.attention.query_key_value.bias"},
		{"causal-mpt", "[1]", "blocks.0.ffn.up_proj.weight", "blocks.1.ffn.up_proj.weight"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		TeModelDef *teacher = fixture_load(arena, cases[i].fixture, NULL)->def;
		TeModelDef *student = te_model_student(arena, teacher, layers_option(arena, cases[i].layers));
		const TeTensorInfo *tensor = te_tensor_find(&student->tensors, te_str(cases[i].name));

		te_def_check(arena, student);
		load_model(arena, student);
		if (CHECK(tensor != NULL && same_bytes(teacher, tensor) != NULL))
			CHECK_STR(same_bytes(teacher, tensor)->name, cases[i].from);
	}
}

TEST(layers_that_cannot_be_taken)
{
	static const struct
	{
		const char *layers;
		const char *message;
	}			wrong[] = {{"0", "from 1 to 2"}, {"3", "from 1 to 2"}, {"\"all\"", "a number"}, {"[]", "1 to 2 layers"}, {"[2]", "from 0 to 1"},
	{"[-1]", "from 0 to 1"}, {"[1, 0]", "in order"}, {"[0, 0]", "in order"}, {"[0.5]", "in order"}};
	TeModelDef *teacher = fixture_load(arena, "bert", NULL)->def;

	for (size_t i = 0; i < TE_LENGTH(wrong); i++)
		CHECK_THROWS_LIKE(TE_ERR_INVALID, wrong[i].message, te_model_student(arena, teacher, layers_option(arena, wrong[i].layers)));
	/* the first layer of a ModernBERT has no norm before its attention */
	teacher = fixture_load(arena, "modernbert", NULL)->def;
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be layer 0", te_model_student(arena, teacher, layers_option(arena, "[1, 2]")));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no layers", te_model_student(arena, te_def_tokenizer(arena, te_json_parse(arena, teacher->tokenizer, "t")), NULL));
}

/* Where config.json has a rule for the kinds of layers, not a list of them, the number chooses layers of the right kinds. */
TEST(kinds_of_layers_stay_in_their_places)
{
	TeModelDef *teacher = fixture_load(arena, "modernbert", NULL)->def;
	TeJson	   *config = te_json_new_object(arena);
	TeModelDef *student;

	te_json_set_copy(arena, config, te_json_parse(arena, teacher->config, "config.json"));
	for (uint32_t i = 0; i < config->n; i++)
	{
		if (te_str_is(config->items[i].key, "layer_types"))
			config->items[i].kind = TE_JSON_NULL;
	}
	te_json_set_int(te_json_add(arena, config, "global_attn_every_n_layers"), 3);
	teacher->config = te_json_text(arena, config, 0);
	te_def_check(arena, teacher);
	student = te_model_student(arena, teacher, layers_option(arena, "2"));
	te_def_check(arena, student);
	CHECK_STR(same_bytes(teacher, te_tensor_find(&student->tensors, TE_STR("layers.1.mlp.Wi.weight")))->name, "layers.2.mlp.Wi.weight");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "do not see as far", te_model_student(arena, teacher, layers_option(arena, "[0, 3]")));
}

TEST_MAIN()
