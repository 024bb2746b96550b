/*-------------------------------------------------------------------------
 * test_gpt.c
 *	  Decoders with layer norms: what follows a text is the reference's, and they leave as they came, whatever the order of their rows.
 *-------------------------------------------------------------------------
 */
#include "causal_fixture.h"

#include "train/train.h"

/* Fixtures of make_decoders_norm.py, and what llama.cpp calls them; NULL: it has no such model. */
static const struct
{
	const char *name;
	const char *gguf;
}			models[] = {
	{"causal-gpt2", "gpt2"},
	{"causal-neox", "gptneox"},
	{"causal-neox-serial", "gptneox"},
	{"causal-phi", "phi2"},
	{"causal-stablelm", "stablelm"},
	{"causal-stablelm-parallel", "stablelm"},
	{"causal-stablelm-heads", "stablelm"},
	{"causal-falcon", "falcon"},
	{"causal-falcon-groups", "falcon"},
	{"causal-falcon-groups-one-norm", "falcon"},
	{"causal-falcon-alibi", NULL},
	{"causal-bloom", "bloom"},
	{"causal-mpt", "mpt"},
};

static const TeJson *
texts_of(const Fixture *fixture)
{
	return te_json_get(fixture->expected, "texts");
}

static bool
check_logits(TeArena *arena, const Fixture *fixture, const TeModelDef *def, double bound, const char *name)
{
	double		difference = logits_difference(arena, load_model(arena, def), texts_of(fixture));

	if (difference > bound)
		fprintf(stderr, "  %s: off by %g\n", name, difference);
	return difference <= bound;
}

TEST(logits_and_what_follows_are_those_of_the_reference)
{
	const char *isas[8];
	size_t		n = te_isa_list(isas, TE_LENGTH(isas));

	for (size_t m = 0; m < TE_LENGTH(models); m++)
	{
		Fixture    *fixture = fixture_load(arena, models[m].name, NULL);
		const TeJson *texts = texts_of(fixture);

		for (size_t i = 0; i < n; i++)
		{
			te_isa_select(isas[i]);
			CHECK(check_logits(arena, fixture, fixture->def, 1e-4, models[m].name));
		}
		for (uint32_t t = 0; t < texts->n; t++)
			CHECK(greedy_difference(arena, load_model(arena, fixture->def), &texts->items[t]) == -1);
	}
}

/* The bytes of a tensor. */
static TeStr
tensor_bytes(TeArena *arena, const TeTensorInfo *tensor)
{
	char	   *data = te_alloc(arena, tensor->bytes);

	te_source_read(tensor->source, tensor->offset, data, tensor->bytes);
	return (TeStr) {data, tensor->bytes};
}

static void
read_checkpoint(TeArena *arena, const TeFolder *folder, TeModelFile *file)
{
	te_safetensors_read(arena, te_folder_find(folder, "model.safetensors"), file);
}

/* Tensors by the end of their names: an export has no prefix. */
static const TeTensorInfo *
find_by_end(TeArena *arena, const TeTensorSet *set, TeStr name)
{
	const char *end = te_format(arena, ".%.*s", TE_STR_ARGS(name));

	for (size_t i = 0; i < set->n; i++)
	{
		if (te_str_eq(set->tensors[i].name, name) || te_str_ends(set->tensors[i].name, end))
			return &set->tensors[i];
	}
	return NULL;
}

TEST(folders_come_back_byte_for_byte)
{
	for (size_t m = 0; m < TE_LENGTH(models); m++)
	{
		Fixture    *fixture = fixture_load(arena, models[m].name, NULL);
		MemoryFolder *memory = memory_folder(arena);
		TeFolder	written;
		TeModelFile before;
		TeModelFile after;

		te_export_folder(arena, fixture->def, &memory->sink);
		written = memory_folder_read(memory);
		read_checkpoint(arena, &fixture->folder, &before);
		read_checkpoint(arena, &written, &after);
		CHECK(before.tensors.n == after.tensors.n);
		for (size_t i = 0; i < after.tensors.n; i++)
		{
			const TeTensorInfo *tensor = &after.tensors.tensors[i];
			const TeTensorInfo *found = find_by_end(arena, &before.tensors, tensor->name);

			if (!CHECK(found != NULL && found->n_dims == tensor->n_dims && found->dims[0] == tensor->dims[0]
					   && te_str_eq(tensor_bytes(arena, tensor), tensor_bytes(arena, found))))
				fprintf(stderr, "  %s: %.*s\n", models[m].name, TE_STR_ARGS(tensor->name));
		}
		CHECK(check_logits(arena, fixture, te_import_folder(arena, &written, NULL), 1e-4, models[m].name));
	}
}

TEST(gguf_files_come_back)
{
	for (size_t m = 0; m < TE_LENGTH(models); m++)
	{
		Fixture    *fixture = fixture_load(arena, models[m].name, NULL);
		TeModelDef *def = te_import_gguf(arena, exported_gguf(arena, fixture->def), NULL);

		CHECK(te_str_is(def->task, "text-generation"));
		CHECK(check_logits(arena, fixture, def, 1e-4, models[m].name));
		if (models[m].gguf == NULL)
			continue;
		def = te_import_gguf(arena, foreign_gguf(arena, fixture->def, models[m].gguf), NULL);
		CHECK(te_str_is(def->task, "text-generation") && te_str_eq(def->architecture, fixture->def->architecture));
		CHECK(check_logits(arena, fixture, def, 1e-4, models[m].name));
	}
}

TEST(quantized_decoders_are_near)
{
	for (size_t m = 0; m < TE_LENGTH(models); m++)
	{
		Fixture    *fixture = fixture_load(arena, models[m].name, "q8_0");

		CHECK(check_logits(arena, fixture, fixture->def, 0.1, models[m].name));
	}
}

TEST(decoders_begin_at_random)
{
	for (size_t m = 0; m < TE_LENGTH(models); m++)
	{
		Fixture    *fixture = fixture_load(arena, models[m].name, NULL);
		const TeJson *config = te_json_parse(arena, fixture->def->config, "config.json");
		TeModelDef *def = te_model_create(arena, config, te_json_parse(arena, fixture->def->tokenizer, "tokenizer.json"), TE_STR("text-generation"), 7);
		int32_t		ids[] = {0, 3, 5};
		size_t		cols;
		const float *logits;

		te_def_check(arena, def);
		CHECK(def->tensors.n == fixture->def->tensors.n && def->context_length == fixture->def->context_length);
		logits = logits_of_ids(arena, load_model(arena, def), ids, TE_LENGTH(ids), &cols);
		CHECK(isfinite(logits[0]) && isfinite(logits[3 * cols - 1]));
	}
}

/* A fixture's folder with another file in place of one of its own. */
static TeFolder
folder_with(TeArena *arena, const Fixture *fixture, const char *name, TeStr content)
{
	MemoryFolder *memory = memory_folder_copy(arena, &fixture->folder, name);

	memory_folder_add(memory, name, content);
	return memory_folder_read(memory);
}

TEST(configurations_that_are_not_computed_are_refused)
{
	static const struct
	{
		const char *name;
		const char *key;
		const char *value;
		TeErrorCode code;
		const char *message;
	}			cases[] = {
		{"causal-gpt2", "scale_attn_by_inverse_layer_idx", "true", TE_ERR_UNSUPPORTED, "depends on the layer"},
		{"causal-gpt2", "scale_attn_weights", "false", TE_ERR_UNSUPPORTED, "depends on the layer"},
		{"causal-gpt2", "add_cross_attention", "true", TE_ERR_UNSUPPORTED, "add_cross_attention"},
		{"causal-gpt2", "n_head", "3", TE_ERR_CORRUPT, "no multiple"},
		{"causal-gpt2", "n_positions", "0", TE_ERR_CORRUPT, "n_positions"},
		{"causal-gpt2", "n_inner", "64", TE_ERR_CORRUPT, "has shape"},
		{"causal-gpt2", "n_layer", "3", TE_ERR_MISSING, "h.2."},
		{"causal-gpt2", "activation_function", "\"maxout\"", TE_ERR_UNSUPPORTED, "maxout"},
		{"causal-neox", "num_attention_heads", "32", TE_ERR_UNSUPPORTED, "cannot be turned"},
		{"causal-neox", "hidden_size", "64", TE_ERR_CORRUPT, "has shape"},
		{"causal-phi", "qk_layernorm", "true", TE_ERR_UNSUPPORTED, "qk_layernorm"},
		{"causal-stablelm", "num_key_value_heads", "3", TE_ERR_CORRUPT, "cannot share"},
		{"causal-falcon-groups", "num_kv_heads", "5", TE_ERR_CORRUPT, "cannot share"},
		{"causal-falcon-groups", "num_ln_in_parallel_attn", "3", TE_ERR_CORRUPT, "num_ln_in_parallel_attn"},
		{"causal-bloom", "apply_residual_connection_post_layernorm", "true", TE_ERR_UNSUPPORTED, "apply_residual"},
		{"causal-mpt", "attn_config", "{\"alibi\": false}", TE_ERR_UNSUPPORTED, "attn_config"},
		{"causal-mpt", "attn_config", "{\"clip_qkv\": 6}", TE_ERR_UNSUPPORTED, "attn_config"},
		{"causal-mpt", "attn_config", "{\"alibi_bias_max\": 0}", TE_ERR_CORRUPT, "alibi_bias_max"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		Fixture    *fixture = fixture_load(arena, cases[i].name, NULL);
		TeJson	   *config = te_json_new_object(arena);
		TeFolder	folder;

		te_json_set_copy(arena, config, te_json_parse(arena, fixture->def->config, "config.json"));
		te_json_set_copy(arena, te_json_add(arena, config, cases[i].key), te_json_parse(arena, te_str(cases[i].value), "value"));
		folder = folder_with(arena, fixture, "config.json", te_json_text(arena, config, 0));
		CHECK_THROWS_LIKE(cases[i].code, cases[i].message, te_import_folder(arena, &folder, NULL));
	}
}

/* GPT-2 was saved with the mask of its attention. */
TEST(buffers_of_older_checkpoints_are_passed_over)
{
	Fixture    *fixture = fixture_load(arena, "causal-gpt2", NULL);
	TeSource	mask = te_source_memory("mask", "\0\0\0\0\0\0\0\0", 8);
	TeModelFile file;
	TeTensorInfo *tensors;
	TeFolder	folder;
	TeBuffer	buffer;
	TeSink		sink;

	read_checkpoint(arena, &fixture->folder, &file);
	tensors = te_new_array(arena, TeTensorInfo, file.tensors.n + 1);
	memcpy(tensors, file.tensors.tensors, file.tensors.n * sizeof(TeTensorInfo));
	tensors[file.tensors.n++] = (TeTensorInfo) {TE_STR("transformer.h.0.attn.bias"), TE_F32, 1, {2}, 8, &mask, 0};
	file.tensors.tensors = tensors;
	te_tensor_set_index(arena, &file.tensors);
	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_safetensors_write(arena, &file, &sink);
	folder = folder_with(arena, fixture, "model.safetensors", (TeStr) {buffer.data, buffer.len});
	CHECK(te_import_folder(arena, &folder, NULL)->tensors.n == fixture->def->tensors.n);
	CHECK(strstr(te_std_last_report(), "attn.bias") != NULL && strstr(te_std_last_report(), "left out") == NULL);
}

TEST_MAIN()
