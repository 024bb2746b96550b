/*-------------------------------------------------------------------------
 * test_causal.c
 *	  Decoders: logits and the loss of the token that follows, against the reference; objectives of text.
 *-------------------------------------------------------------------------
 */
#include "causal_fixture.h"
#include "train_fixture.h"

#include "arch/rotary.h"

/*
 * Fixtures, those first whose computation a GGUF file does not say in full (llama.cpp knows no window there, or no scale of scores), those
 * last whose files test_gpt.c looks at.
 */
#define N_UNSAID 2
#define N_FILES 13
static const char *const names[] = {"causal-mistral", "causal-gemma2", "causal-llama", "causal-qwen2", "causal-llama3", "causal-qwen3",
	"causal-smollm3", "causal-gemma", "causal-gemma3", "causal-phi3", "causal-mixtral", "causal-qwen2moe", "causal-qwen3moe",
	"causal-gpt2", "causal-neox"};

static void
check_logits(TeArena *arena, const Fixture *fixture, const TeModelDef *def, const char *what)
{
	double		difference = logits_difference(arena, load_model(arena, def), te_json_get(fixture->expected, "texts"));

	CHECK(te_str_is(def->task, "text-generation"));
	if (!CHECK(difference <= 1e-4))
		fprintf(stderr, "  %s: off by %g\n", what, difference);
}

static void
check_greedy(TeArena *arena, const Fixture *fixture, const char *name)
{
	const TeModel *model = load_model(arena, fixture->def);
	const TeJson *texts = te_json_get(fixture->expected, "texts");

	for (uint32_t t = 0; t < texts->n; t++)
	{
		int			at = greedy_difference(arena, model, &texts->items[t]);

		if (!CHECK(at < 0))
			fprintf(stderr, "  %s, text %u: another token than the reference's, number %d\n", name, t, at);
	}
}

TEST(logits_are_those_of_the_reference)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);

		check_logits(arena, fixture, fixture->def, names[i]);
		check_greedy(arena, fixture, names[i]);
	}
}

TEST(folders_that_are_written_say_the_same)
{
	for (size_t i = 0; i < N_FILES; i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		MemoryFolder *written = memory_folder(arena);
		TeFolder	folder;

		te_export_folder(arena, fixture->def, &written->sink);
		folder = memory_folder_read(written);
		check_logits(arena, fixture, te_import_folder(arena, &folder, NULL), te_format(arena, "%s as a folder", names[i]));
	}
}

static void
read_config(TeArena *arena, const TeModelDef *def, TeConfig *into)
{
	memset(into, 0, sizeof(*into));
	te_arch_by_name(def->architecture)->read_config(te_json_parse(arena, def->config, "config.json"), into);
}

/* The folder of a model with experts as transformers saves it where it does not cut what it holds in memory. */
static TeFolder
fused_folder(TeArena *arena, const Fixture *fixture)
{
	MemoryFolder *folder = memory_folder_copy(arena, &fixture->folder, "model.safetensors");
	const TeTensorSet *from = &fixture->def->tensors;
	TeTensorSet set = {.tensors = te_new_array(arena, TeTensorInfo, from->n)};
	TeModelFile file = {.meta = te_json_new_object(arena)};
	TeConfig	config;

	read_config(arena, fixture->def, &config);
	for (size_t i = 0; i < from->n; i++)
	{
		if (strstr(te_cstring(arena, from->tensors[i].name), ".experts.") == NULL)
			set.tensors[set.n++] = from->tensors[i];
	}
	for (int layer = 0; layer < config.n_layers; layer++)
	{
		TeTensorInfo *both = te_new_array(arena, TeTensorInfo, 2 * config.n_experts);
		TeTensorInfo *down = te_new_array(arena, TeTensorInfo, config.n_experts);

		if (!te_rotary_has_experts(&config, layer))
			continue;
		for (int e = 0; e < config.n_experts; e++)
		{
			const char *name = te_format(arena, "layers.%d.mlp.experts.%d", layer, e);

			both[2 * e] = *te_tensor_find(from, te_str(te_format(arena, "%s.gate_proj.weight", name)));
			both[2 * e + 1] = *te_tensor_find(from, te_str(te_format(arena, "%s.up_proj.weight", name)));
			down[e] = *te_tensor_find(from, te_str(te_format(arena, "%s.down_proj.weight", name)));
		}
		set.tensors[set.n] = te_order_stacked(arena, both, 2 * (size_t) config.n_experts);
		set.tensors[set.n].dims[0] /= 2;
		set.tensors[set.n].dims[1] *= 2;
		set.tensors[set.n++].name = te_str(te_format(arena, "layers.%d.mlp.experts.gate_up_proj", layer));
		set.tensors[set.n] = te_order_stacked(arena, down, (size_t) config.n_experts);
		set.tensors[set.n++].name = te_str(te_format(arena, "layers.%d.mlp.experts.down_proj", layer));
	}
	te_tensor_set_index(arena, &set);
	file.tensors = set;
	te_safetensors_write(arena, &file, memory_open(&folder->sink, "model.safetensors"));
	return memory_folder_read(folder);
}

TEST(experts_that_are_not_chosen_are_no_work)
{
	const TeModel *model = load_model(arena, fixture_load(arena, "causal-mixtral", NULL)->def);
	const TeConfig *config = te_model_config(model);
	double		width = config->hidden_size;
	double		heads = config->n_heads * config->head_size;
	double		keys = config->n_kv_heads * config->head_size;
	double		layer = width * (2 * heads + 2 * keys + config->n_experts) + 3.0 * width * config->expert_size * config->n_chosen;

	CHECK(te_model_flops_per_token(model) >= 2 * config->n_layers * layer);
	CHECK(te_model_flops_per_token(model) <= 2 * (config->n_layers * layer + width * config->vocab_size));
}

TEST(experts_may_lie_in_one_tensor)
{
	static const char *const routed[] = {"causal-qwen2moe", "causal-qwen3moe"};

	for (size_t i = 0; i < TE_LENGTH(routed); i++)
	{
		Fixture    *fixture = fixture_load(arena, routed[i], NULL);
		TeFolder	folder = fused_folder(arena, fixture);

		check_logits(arena, fixture, te_import_folder(arena, &folder, NULL), te_format(arena, "%s in one tensor", routed[i]));
	}
}

/* All but what the file does not say. */
static void
check_config(TeArena *arena, const TeModelDef *def, const TeModelDef *other)
{
	TeConfig	config;
	TeConfig	read;

	read_config(arena, def, &config);
	read_config(arena, other, &read);
	CHECK(read.score_cap == config.score_cap && read.logit_cap == config.logit_cap && read.words_scale == config.words_scale);
	CHECK(read.head_size == config.head_size && read.n_kv_heads == config.n_kv_heads && read.rope.base == config.rope.base);
	CHECK(read.four_norms == config.four_norms && read.norms_less_one == config.norms_less_one && read.activation == config.activation);
	CHECK(def->tensors.n == other->tensors.n && def->parameters == other->parameters);
}

TEST(gguf_files_say_the_same)
{
	for (size_t i = 0; i < N_FILES; i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		const TeJson *config = te_json_parse(arena, fixture->def->config, "config.json");
		const char *name = te_arch_gguf_name(te_arch_by_name(fixture->def->architecture), config);
		TeModelDef *foreign = te_import_gguf(arena, foreign_gguf(arena, fixture->def, name), NULL);

		check_logits(arena, fixture, te_import_gguf(arena, exported_gguf(arena, fixture->def), NULL),
					 te_format(arena, "%s as GGUF", names[i]));
		check_config(arena, fixture->def, foreign);
		if (i >= N_UNSAID)
			check_logits(arena, fixture, foreign, te_format(arena, "%s as another's GGUF", names[i]));
	}
}

/* Examples of the texts of a fixture. */
static TeExamples *
examples_of(TeArena *arena, const Fixture *fixture, const TeObjective *objective, const TeTrainOptions *options)
{
	const TeJson *texts = te_json_get(fixture->expected, "texts");
	TeBuffer   *buffer = te_new(arena, TeBuffer);
	TeSource   *source = te_new(arena, TeSource);
	TeSink		sink;
	TeExamples *examples;

	te_buffer_init(buffer, arena);
	sink = te_sink_buffer(buffer);
	examples = te_examples_create(arena, load_model(arena, fixture->def), objective, options, NULL, &sink);
	for (uint32_t i = 0; i < texts->n; i++)
	{
		TeValue		values[2] = {{.given = true, .text = te_json_str(&texts->items[i], "text", "")}, {.given = true, .text = TE_STR(" street")}};

		te_examples_add(examples, values);
	}
	te_examples_finish(examples);
	*source = te_source_memory("spool", buffer->data, buffer->len);
	return te_examples_open(arena, objective, source);
}

TEST(the_loss_is_that_of_the_reference_and_falls)
{
	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		Fixture    *fixture = fixture_load(arena, names[i], NULL);
		TeStr		columns[] = {TE_STR("text")};
		const TeObjective *objective = te_objective_find(arena, "pretrain", TE_STR("clm"), fixture->def->task, fixture->def->architecture, columns, 1);
		TeTrainOptions *options = te_train_options(arena, objective);
		TeExamples *examples = examples_of(arena, fixture, objective, options);
		TeTrainer  *trainer;
		TeTrainStep step;
		double		first;
		size_t		n;

		te_train_set(options, TE_STR("epochs"), te_json_parse(arena, TE_STR("30"), "option"));
		te_train_set(options, TE_STR("warmup"), te_json_parse(arena, TE_STR("0"), "option"));
		te_train_set(options, TE_STR("learning_rate"), te_json_parse(arena, TE_STR("0.01"), "option"));
		trainer = te_trainer_create(arena, fixture->def, objective, options, examples, examples, 0);
		first = te_trainer_evaluate(trainer, &n)[0].value;
		CHECK_NEAR(first, te_json_real(fixture->expected, "loss", 0), 1e-4 * first);
		while (te_trainer_step(trainer, &step))
			;
		CHECK(te_trainer_evaluate(trainer, &n)[0].value < first / 4);
	}
}

TEST(long_texts_are_cut_and_prompts_are_not_learned)
{
	Fixture    *fixture = fixture_load(arena, "causal-llama", NULL);
	size_t		n_texts = te_json_get(fixture->expected, "texts")->n;
	TeStr		columns[] = {TE_STR("prompt"), TE_STR("completion")};
	const TeObjective *causal = te_objective_by_name(TE_STR("causal"));
	const TeObjective *completion = te_objective_find(arena, "finetune", TE_STR("text-generation"), fixture->def->task, fixture->def->architecture, columns, 2);
	TeTrainOptions *options = te_train_options(arena, causal);
	TeExamples *examples;
	TeExample	example;
	uint64_t	guessed = 0;

	te_train_set(options, TE_STR("max_length"), te_json_parse(arena, TE_STR("5"), "option"));
	examples = examples_of(arena, fixture, causal, options);
	CHECK(te_examples_rows(examples) == n_texts && te_examples_count(examples) > n_texts);
	for (size_t i = 0; i < te_examples_count(examples); i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.sequences[0].n <= 5 && example.sequences[0].ids[0] == 0 && example.targets[0] == 1);
		guessed += (uint64_t) example.sequences[0].n - 1;
	}
	/* all tokens of the texts, and the end of each */
	CHECK(guessed == te_examples_tokens(examples) - te_examples_count(examples));

	options = te_train_options(arena, completion);
	examples = examples_of(arena, fixture, completion, options);
	CHECK(te_examples_count(examples) == n_texts);
	for (size_t i = 0; i < n_texts; i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.targets[0] >= 2 && example.targets[0] < example.sequences[0].n - 1);
		CHECK(example.sequences[0].ids[example.sequences[0].n - 1] == 1);
	}
	te_train_set(options, TE_STR("max_length"), te_json_parse(arena, TE_STR("4"), "option"));
	examples = examples_of(arena, fixture, completion, options);
	for (size_t i = 0; i < n_texts; i++)
	{
		te_examples_read(examples, i, arena, &example);
		CHECK(example.sequences[0].n <= 4 && example.targets[0] < example.sequences[0].n);
	}
}

TEST(texts_without_tokens_are_left_out)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "causal-llama", NULL)->def, "causal");

	CHECK_ROW_IS_EMPTY(run, text_value(""));
}

TEST(what_is_cut_is_counted_or_refused)
{
	Run		   *run = run_begin(arena, fixture_load(arena, "causal-llama", NULL)->def, "completion");
	TeValue		row[MAX_COLUMNS] = {text_value("a day in the city"), text_value(" and another one")};
	TeExamples *examples;

	option(run, "max_length", "6", arena);
	examples = run_examples(arena, run);
	te_examples_add(examples, row);
	CHECK(te_examples_truncated(examples) == 1 && te_examples_count(examples) == 1);
	te_examples_set_truncate(examples, TE_TRUNCATE_ERROR);
	CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "6 at most", te_examples_add(examples, row));
	run = run_begin(arena, fixture_load(arena, "bert", NULL)->def, "regression");
	option(run, "max_length", "4", arena);
	row[1] = (TeValue) {0};
	row[2] = (TeValue) {.given = true, .real = 1};
	examples = run_examples(arena, run);
	te_examples_add(examples, row);
	te_examples_set_truncate(examples, TE_TRUNCATE_ERROR);
	CHECK_THROWS_LIKE(TE_ERR_TOO_LONG, "4 at most", te_examples_add(examples, row));
}

TEST_MAIN()
