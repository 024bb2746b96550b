/*-------------------------------------------------------------------------
 * test_train.c
 *	  Runs: examples and their spool, steps, checkpoints, what comes out.
 *
 * Fixtures have random weights, so what is asked here is that losses fall, that nothing depends on the number of
 * workers or on how a batch is cut, and that what is restored goes on bit for bit.  Losses and gradients
 * against the reference are test_train_reference.c's.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "train/train.h"

#define N_TEXTS 24

static const char *const words[] = {"good", "bad", "fine", "poor", "warm", "cold", "day", "night", "city", "river", "music", "paper"};

typedef struct Run
{
	TeModelDef *base;
	const TeObjective *objective;
	TeTrainOptions *options;
	TeBuffer	spool;
	TeSource	source;
	TeExamples *examples;
} Run;

static void
option(Run *run, const char *name, const char *json, TeArena *arena)
{
	te_train_set(run->options, te_str(name), te_json_parse(arena, te_str(json), "option"));
}

static const char *
text_of(TeArena *arena, int i)
{
	return te_format(arena, "%s %s %s", words[i % 4], words[(i * 5 + 1) % 12], words[(i * 7 + 2) % 12]);
}

/* Texts whose first word says their label. */
static void
feed(TeArena *arena, TeExamples *examples, int n)
{
	for (int i = 0; i < n; i++)
	{
		TeValue		values[3] = {{0}};

		values[0].given = values[2].given = true;
		values[0].text = te_str(text_of(arena, i));
		values[2].text = i % 2 == 0 ? TE_STR("up") : TE_STR("down");
		te_examples_add(examples, values);
	}
}

static Run *
begin(TeArena *arena, const char *fixture, const char *quantization)
{
	Run		   *run = te_new(arena, Run);
	TeStr		columns[] = {TE_STR("label"), TE_STR("text")};

	run->base = fixture_load(arena, fixture, quantization)->def;
	run->objective = te_objective_find(arena, "finetune", TE_STR("classification"), run->base->task, run->base->architecture, columns, 2);
	run->options = te_train_options(arena, run->objective);
	option(run, "learning_rate", "0.002", arena);
	option(run, "batch_size", "8", arena);
	option(run, "epochs", "4", arena);
	option(run, "warmup", "0", arena);
	option(run, "schedule", "\"constant\"", arena);
	return run;
}

static void
spool(TeArena *arena, Run *run)
{
	TeSink		sink;
	TeExamples *examples;

	te_buffer_init(&run->spool, arena);
	sink = te_sink_buffer(&run->spool);
	examples = te_examples_create(arena, load_model(arena, run->base), run->objective, run->options, NULL, &sink);
	feed(arena, examples, N_TEXTS);
	te_examples_finish(examples);
	run->source = te_source_memory("spool", run->spool.data, run->spool.len);
	run->examples = te_examples_open(arena, run->objective, &run->source);
}

static TeTrainer *
trainer(TeArena *arena, const Run *run)
{
	return te_trainer_create(arena, run->base, run->objective, run->options, run->examples, run->examples, 0);
}

/* All steps that are left; the last loss. */
static double
train(TeTrainer *trainer, int most)
{
	TeTrainStep step = {0};

	for (int i = 0; i < most && te_trainer_step(trainer, &step); i++)
		;
	return step.loss;
}

static double
evaluation(TeTrainer *trainer, const char *metric)
{
	size_t		n;
	const TeTrainMetric *metrics = te_trainer_evaluate(trainer, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (strcmp(metrics[i].name, metric) == 0)
			return metrics[i].value;
	}
	return NAN;
}

/* What a trainer's state is, as bytes. */
static TeStr
state_of(TeArena *arena, const TeTrainer *trainer)
{
	TeBuffer	buffer;
	TeSink		sink;

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_trainer_save(trainer, &sink);
	return (TeStr) {buffer.data, buffer.len};
}

static const float *
logits_of(TeArena *arena, const TeModelDef *def, const char *text, int *n)
{
	TeSession  *session = te_session_create(arena, load_model(arena, def), 0);
	TeJob	   *job = te_job_create(session, "classify", NULL);

	te_job_feed(job, te_str(text), (TeStr) {NULL, 0});
	te_job_run(job);
	return te_job_vector(job, 0, n);
}

TEST(a_classifier_learns)
{
	static const char *const fixtures[] = {"bert", "distilbert", "roberta", "mpnet", "modernbert", "nomic-bert", "albert", "electra",
		"deberta-v3"};

	for (size_t i = 0; i < TE_LENGTH(fixtures); i++)
	{
		Run		   *run = begin(arena, fixtures[i], NULL);
		TeTrainer  *t;
		TeModelDef *def;
		double		before;
		double		after;
		int			n;

		option(run, "epochs", "40", arena);
		spool(arena, run);
		CHECK(te_examples_rows(run->examples) == N_TEXTS && te_examples_count(run->examples) == N_TEXTS);
		t = trainer(arena, run);
		before = evaluation(t, "loss");
		train(t, 1000);
		after = evaluation(t, "loss");
		if (!CHECK(after < before / 3 && evaluation(t, "accuracy") == 1))
			fprintf(stderr, "  %s: loss %g, then %g\n", fixtures[i], before, after);
		def = te_trainer_definition(t, arena);
		CHECK(def->n_labels == 2 && te_str_is(def->labels[0], "down") && te_str_is(def->labels[1], "up"));
		CHECK(te_str_is(def->task, "classification"));
		te_def_check(arena, def);
		for (int text = 0; text < 4; text++)
		{
			const float *logits = logits_of(arena, def, text_of(arena, text), &n);

			CHECK(n == 2 && (logits[1] > logits[0]) == (text % 2 == 0));
		}
	}
}

TEST(a_batch_cut_into_pieces_has_the_same_gradient)
{
	double		losses[2];
	const float *logits[2];
	int			n;

	for (int i = 0; i < 2; i++)
	{
		Run		   *run = begin(arena, "bert", NULL);
		TeTrainer  *t;

		option(run, "piece_tokens", i == 0 ? "4096" : "5", arena);
		option(run, "dropout", "0", arena);
		spool(arena, run);
		t = trainer(arena, run);
		losses[i] = train(t, 6);
		logits[i] = logits_of(arena, te_trainer_definition(t, arena), "warm city", &n);
	}
	CHECK_NEAR(losses[0], losses[1], 1e-4 * losses[0]);
	CHECK_NEAR(logits[0][0], logits[1][0], 1e-3);
}

TEST(products_in_bf16_learn_as_those_in_f32_do)
{
	double		losses[2];
	TeStr		states[2];

	for (int i = 0; i < 2; i++)
	{
		Run		   *run = begin(arena, "bert", NULL);
		TeTrainer  *t;

		option(run, "precision", i == 0 ? "\"f32\"" : "\"bf16\"", arena);
		option(run, "dropout", "0", arena);
		spool(arena, run);
		t = trainer(arena, run);
		losses[i] = train(t, 8);
		states[i] = state_of(arena, t);
	}
	CHECK_NEAR(losses[0], losses[1], 0.03 * losses[0]);
	CHECK(!te_str_eq(states[0], states[1]));
}

TEST(nothing_depends_on_the_number_of_workers)
{
	TeStr		states[2];

	for (int i = 0; i < 2; i++)
	{
		Run		   *run = begin(arena, "bert", NULL);
		TeTrainer  *t;

		te_std_set_workers(i == 0 ? 1 : 3);
		spool(arena, run);
		t = trainer(arena, run);
		train(t, 5);
		states[i] = state_of(arena, t);
	}
	te_std_set_workers(1);
	CHECK(te_str_eq(states[0], states[1]));
}

TEST(what_is_restored_goes_on_bit_for_bit)
{
	static const char *const optimizers[] = {"\"adamw\"", "\"sgd\"", "\"lion\""};

	for (size_t i = 0; i < TE_LENGTH(optimizers); i++)
	{
		Run		   *run = begin(arena, "bert", NULL);
		TeTrainer  *whole;
		TeTrainer  *first;
		TeTrainer  *second;
		TeStr		checkpoint;
		TeSource	source;

		option(run, "optimizer", optimizers[i], arena);
		option(run, "patience", "2", arena);
		spool(arena, run);
		whole = trainer(arena, run);
		train(whole, 3);
		evaluation(whole, "loss");
		train(whole, 100);
		first = trainer(arena, run);
		train(first, 3);
		evaluation(first, "loss");
		train(first, 2);
		checkpoint = state_of(arena, first);
		source = te_source_memory("checkpoint", checkpoint.data, checkpoint.len);
		second = trainer(arena, run);
		te_trainer_restore(second, &source);
		train(second, 100);
		CHECK(te_str_eq(state_of(arena, whole), state_of(arena, second)));

		/* damage is found out */
		((char *) checkpoint.data)[20] ^= 1;
		CHECK_THROWS(TE_ERR_CORRUPT, te_trainer_restore(second, &source));
		source.size -= 4;
		CHECK_THROWS(TE_ERR_CORRUPT, te_trainer_restore(second, &source));
	}
}

/* A step, interrupted at the nth look; did it get through? */
static bool
step_through(TeTrainer *trainer, TeTrainStep *step, uint64_t nth)
{
	volatile bool through = false;

	te_std_interrupt(nth);
	TE_TRY
	{
		te_trainer_step(trainer, step);
		through = true;
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code == TE_STD_INTERRUPTED);
	}
	TE_END_TRY;
	te_std_interrupt(0);
	return through;
}

TEST(a_step_that_is_interrupted_was_not_made)
{
	Run		   *run = begin(arena, "bert", NULL);
	TeTrainer  *t;
	TeTrainStep step = {0};
	TeStr		before;
	uint64_t	nth = 1;

	spool(arena, run);
	t = trainer(arena, run);
	train(t, 2);
	before = state_of(arena, t);
	while (!step_through(t, &step, nth))
	{
		CHECK(step.step == 0 && te_str_eq(before, state_of(arena, t)));
		nth++;
	}
	CHECK(nth > 10 && step.step == 3 && !te_str_eq(before, state_of(arena, t)));
}

TEST(a_run_evaluates_so_often_at_most)
{
	Run		   *run = begin(arena, "bert", NULL);

	spool(arena, run);
	option(run, "epochs", "1000000", arena);
	option(run, "eval_steps", "1", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "100000 times", trainer(arena, run));
	option(run, "eval_steps", "1000", arena);
	trainer(arena, run);
}

TEST(an_overlay_is_small_and_can_be_merged)
{
	static const char *const types[] = {NULL, "q8_0"};

	for (size_t i = 0; i < TE_LENGTH(types); i++)
	{
		Run		   *run = begin(arena, "bert", types[i]);
		TeTrainer  *t;
		TeModelDef *def;
		const TeModelDef *merged;
		size_t		same = 0;
		int			n;
		const float *apart;
		const float *together;

		option(run, "lora_rank", "2", arena);
		option(run, "learning_rate", "0.02", arena);
		option(run, "epochs", "40", arena);
		spool(arena, run);
		t = trainer(arena, run);
		CHECK(te_trainer_parameters(t) < run->base->parameters / 4);
		train(t, 1000);
		CHECK(evaluation(t, "accuracy") == 1);
		def = te_trainer_definition(t, arena);
		/* the base's tensors are the base's own sources */
		for (size_t j = 0; j < run->base->tensors.n; j++)
		{
			const TeTensorInfo *tensor = te_tensor_find(&def->tensors, run->base->tensors.tensors[j].name);

			same += tensor != NULL && tensor->source == run->base->tensors.tensors[j].source && tensor->dtype == run->base->tensors.tensors[j].dtype;
		}
		CHECK(same >= run->base->tensors.n - 2);
		merged = te_lora_merged(arena, def);
		CHECK(merged->tensors.n < def->tensors.n);
		apart = logits_of(arena, def, "poor night", &n);
		together = logits_of(arena, merged, "poor night", &n);
		CHECK_NEAR(apart[0], together[0], (i == 0 ? 1e-4 : 0.1) * fabs(apart[0]));
	}
}

TEST(a_matrix_has_one_overlay)
{
	Fixture    *fixture = fixture_load(arena, "bert", NULL);
	TeStr		names[] = {TE_STR("encoder.layer.0.attention.self.query"), TE_STR("encoder.layer.0.attention.self.query")};
	const TeJson *config = te_json_parse(arena, fixture->def->config, "config.json");
	TeDefParts	parts;

	fixture->def->config = te_json_text(arena, te_lora_config(arena, config, 2, 4, names, 1), 0);
	te_def_parts(arena, fixture->def, &parts);
	fixture->def->config = te_json_text(arena, te_lora_config(arena, config, 2, 4, names, 2), 0);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "twice", te_def_parts(arena, fixture->def, &parts));
}

TEST(defaults_are_the_objectives)
{
	Run		   *run = begin(arena, "bert", NULL);
	TeTrainStep step;

	CHECK(te_train_options(arena, run->objective)->epochs == run->objective->epochs);
	option(run, "learning_rate", "0", arena);
	spool(arena, run);
	/* a model as narrow as this has twice the rate of a usual one, and an overlay ten times that */
	CHECK(te_trainer_step(trainer(arena, run), &step));
	CHECK_NEAR(step.learning_rate, 2 * run->objective->learning_rate, 1e-9);
	option(run, "lora_rank", "2", arena);
	CHECK(te_trainer_step(trainer(arena, run), &step));
	CHECK_NEAR(step.learning_rate, 20 * run->objective->learning_rate, 1e-9);
}

TEST(frozen_tensors_stay_as_they_are)
{
	Run		   *run = begin(arena, "bert", NULL);
	TeTrainer  *t;
	TeModelDef *def;

	option(run, "freeze", "\"base\"", arena);
	spool(arena, run);
	t = trainer(arena, run);
	train(t, 3);
	def = te_trainer_definition(t, arena);
	CHECK(te_tensor_find(&def->tensors, TE_STR("embeddings.word_embeddings.weight"))->source ==
		  te_tensor_find(&run->base->tensors, TE_STR("embeddings.word_embeddings.weight"))->source);
	option(run, "freeze", "\"no_such_tensor\"", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no_such_tensor", trainer(arena, run));
}

/* However many stars a pattern has, it is a loop. */
TEST(patterns_of_names_take_little_time)
{
	Run		   *run = begin(arena, "bert", NULL);
	size_t		n = 1 << 20;
	char	   *stars = te_alloc(arena, n + 3);

	memset(stars, '*', n + 2);
	stars[0] = stars[n + 1] = '"';
	stars[n + 2] = '\0';
	spool(arena, run);
	option(run, "freeze", stars, arena);
	(void) trainer(arena, run);
	option(run, "freeze", "\"*e*e*e*e*e*e*e*e*e*e*e*e*e*e*x\"", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "has no tensor", trainer(arena, run));
	option(run, "freeze", "\"**word*s.weight, encoder.*.0.**bias*, *self*value*\"", arena);
	(void) trainer(arena, run);
}

/* A tokenizer of five special tokens, two letters and both together. */
static const TeJson *
eight_words(TeArena *arena, const char *fifth, const char *sixth)
{
	return te_json_parse(arena, te_str(te_format(arena, "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
		"\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,"
		"\"[MASK]\":4,\"%s\":5,\"%s\":6,\"ab\":7}},\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
		"\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":null,\"decoder\":"
		"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"added_tokens\":[],\"truncation\":null,\"padding\":null,\"version\":\"1.0\"}",
		fifth, sixth)), "tokenizer.json");
}

/* A vocabulary that has some of the words in another order, a new one, and no others. */
TEST(a_model_takes_another_vocabulary)
{
	Fixture    *fixture = fixture_load(arena, "mask-bert", NULL);
	const TeJson *tokenizer = eight_words(arena, "b", "a");
	TeModelDef *def = te_model_with_vocabulary(arena, fixture->def, tokenizer);
	const TeTokenizer *old = te_model_tokenizer(load_model(arena, fixture->def));
	const TeTensorInfo *words = te_tensor_find(&def->tensors, TE_STR("embeddings.word_embeddings.weight"));
	const TeTensorInfo *old_words = te_tensor_find(&fixture->def->tensors, TE_STR("embeddings.word_embeddings.weight"));
	size_t		n = (size_t) words->dims[1];
	float	   *rows = te_new_array(arena, float, 8 * n);
	float	   *row = te_new_array(arena, float, n);

	CHECK(words->dims[0] == 8 && def->tensors.n == fixture->def->tensors.n);
	te_source_read(words->source, words->offset, rows, 8 * n * sizeof(float));
	for (int32_t id = 0; id < 7; id++)
	{
		static const char *const tokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "b", "a"};
		int32_t		was = te_token_id(old, te_str(tokens[id]));

		CHECK(was >= 0);
		te_source_read(old_words->source, old_words->offset + (uint64_t) was * n * sizeof(float), row, n * sizeof(float));
		CHECK(memcmp(row, rows + (size_t) id * n, n * sizeof(float)) == 0);
	}
	te_def_check(arena, def);
	load_model(arena, def);
}

/* All widths of this model are 8, as is the number of words. */
TEST(a_vocabulary_of_the_same_size_moves_words_only)
{
	static const struct
	{
		const char *name;
		bool		moves;
	}			tensors[] = {{"embeddings.word_embeddings.weight", true}, {"encoder.layer.0.intermediate.dense.weight", false},
	{"encoder.layer.0.attention.self.query.weight", false}, {"encoder.layer.0.output.dense.weight", false}};
	const TeJson *config = te_json_parse(arena, TE_STR("{\"model_type\":\"bert\",\"hidden_size\":8,\"num_hidden_layers\":1,"
		"\"num_attention_heads\":2,\"intermediate_size\":8,\"max_position_embeddings\":16,\"type_vocab_size\":2,\"vocab_size\":8,"
		"\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12,\"pad_token_id\":0}"), "config.json");
	TeModelDef *before = te_model_create(arena, config, eight_words(arena, "b", "a"), (TeStr) {NULL, 0}, 1);
	TeModelDef *after = te_model_with_vocabulary(arena, before, eight_words(arena, "a", "b"));
	float		x[64];
	float		y[64];

	for (size_t i = 0; i < TE_LENGTH(tensors); i++)
	{
		const TeTensorInfo *old = te_tensor_find(&before->tensors, te_str(tensors[i].name));
		const TeTensorInfo *new = te_tensor_find(&after->tensors, te_str(tensors[i].name));

		CHECK(old->bytes == sizeof(x) && new->bytes == sizeof(y));
		te_source_read(old->source, old->offset, x, sizeof(x));
		te_source_read(new->source, new->offset, y, sizeof(y));
		CHECK((memcmp(x, y, sizeof(x)) != 0) == tensors[i].moves);
	}
}

TEST(rows_that_cannot_be_learned_from)
{
	Run		   *run = begin(arena, "classify-bert", NULL);
	TeStr		columns[] = {TE_STR("label"), TE_STR("body")};
	TeBuffer	buffer;
	TeSink		sink;
	TeExamples *examples;
	TeValue		values[3] = {{0}};

	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no column \"text\"",
					  te_objective_find(arena, "finetune", TE_STR("classification"), run->base->task, run->base->architecture, columns, 2));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "knows no task", te_objective_find(arena, "finetune", TE_STR("juggling"), run->base->task, run->base->architecture, columns, 2));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no option", option(run, "speed", "1", arena));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "between", option(run, "batch_size", "0", arena));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "integer", option(run, "batch_size", "1.5", arena));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be", option(run, "optimizer", "\"adam\"", arena));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "cannot be", option(run, "quantization", "\"q9\"", arena));
	option(run, "quantization", "\"Q8_0\"", arena);
	CHECK(te_str_is(run->options->quantization, "q8_0"));
	option(run, "quantization", "\"\"", arena);
	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	examples = te_examples_create(arena, load_model(arena, run->base), run->objective, run->options, NULL, &sink);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "nothing to learn", te_examples_finish(examples));
	values[0].given = values[2].given = true;
	values[0].text = TE_STR("text");
	values[2].text = TE_STR("a label that the model does not have");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "is not known", te_examples_add(examples, values));
}

static TeExamples *
without_model_labels(TeArena *arena, Run *run, TeBuffer *buffer, TeSink *sink)
{
	option(run, "new_labels", "true", arena);
	te_buffer_init(buffer, arena);
	*sink = te_sink_buffer(buffer);
	return te_examples_create(arena, load_model(arena, run->base), run->objective, run->options, NULL, sink);
}

TEST(labels_that_leave_nothing_to_learn)
{
	Run		   *run = begin(arena, "classify-bert", NULL);
	TeStr		columns[] = {TE_STR("text"), TE_STR("labels")};
	TeBuffer	buffer;
	TeSink		sink;
	TeExamples *examples;
	TeValue		values[3] = {{0}};

	values[0].given = values[2].given = true;
	values[0].text = TE_STR("text");
	values[2].text = TE_STR("only");
	examples = without_model_labels(arena, run, &buffer, &sink);
	te_examples_add(examples, values);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "the same label, \"only\"", te_examples_finish(examples));
	run->objective = te_objective_find(arena, "finetune", TE_STR("multi-label"), run->base->task, run->base->architecture, columns, 2);
	examples = without_model_labels(arena, run, &buffer, &sink);
	te_examples_add(examples, values);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no row has a label", te_examples_finish(examples));
	values[2].texts = &values[2].text;
	values[2].n_texts = 1;
	examples = without_model_labels(arena, run, &buffer, &sink);
	te_examples_add(examples, values);
	te_examples_finish(examples);
}

TEST(options_that_want_an_evaluation)
{
	Run		   *run = begin(arena, "classify-bert", NULL);

	te_train_check_alone(run->options);
	option(run, "patience", "3", arena);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "\"patience\" needs rows", te_train_check_alone(run->options));
}

TEST_MAIN()
