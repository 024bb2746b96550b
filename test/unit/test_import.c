/*-------------------------------------------------------------------------
 * test_import.c
 *	  Import and export: what comes back is what went out, what is not
 *	  understood is refused by name, what is damaged is an error.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

#include "file/file.h"

/* The bytes of a tensor as the definition stores them. */
static const void *
tensor_bytes(TeArena *arena, const TeTensorInfo *tensor)
{
	void	   *data = te_alloc(arena, tensor->bytes);

	te_source_read(tensor->source, tensor->offset, data, tensor->bytes);
	return data;
}

static void
check_same_tensors(TeArena *arena, const TeModelDef *a, const TeModelDef *b)
{
	if (!CHECK(a->tensors.n == b->tensors.n))
		return;
	for (size_t i = 0; i < a->tensors.n; i++)
	{
		const TeTensorInfo *x = &a->tensors.tensors[i];
		const TeTensorInfo *y = te_tensor_find(&b->tensors, x->name);

		if (!CHECK(y != NULL))
			continue;
		CHECK(x->dtype == y->dtype && x->n_dims == y->n_dims && x->bytes == y->bytes);
		CHECK(memcmp(x->dims, y->dims, x->n_dims * sizeof(x->dims[0])) == 0);
		CHECK(x->bytes == y->bytes && memcmp(tensor_bytes(arena, x), tensor_bytes(arena, y), x->bytes) == 0);
	}
}

/* The same model: architecture, configuration, pipeline, tokenizer, tensors, and what is derived from them. */
static void
check_same_model(TeArena *arena, const TeModelDef *a, const TeModelDef *b)
{
	TeDefParts	x;
	TeDefParts	y;

	te_def_parts(arena, a, &x);
	te_def_parts(arena, b, &y);
	CHECK(te_str_eq(a->architecture, b->architecture));
	CHECK(te_str_eq(a->task, b->task));
	CHECK(te_str_eq(a->quantization, b->quantization));
	CHECK(memcmp(&x.config, &y.config, sizeof(x.config)) == 0);
	CHECK(te_str_eq(a->pipeline, b->pipeline));
	CHECK(te_str_eq(a->tokenizer, b->tokenizer));
	CHECK(a->parameters == b->parameters && a->bytes == b->bytes);
	CHECK(a->dimensions == b->dimensions && a->context_length == b->context_length);
	check_same_tensors(arena, a, b);
}

static TeModelDef *
through_folder(TeArena *arena, const TeModelDef *def)
{
	MemoryFolder *memory = memory_folder(arena);
	TeFolder   *folder = te_new(arena, TeFolder);

	te_export_folder(arena, def, &memory->sink);
	*folder = memory_folder_read(memory);
	return te_import_folder(arena, folder, NULL);
}

TEST(folders_come_back)
{
	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		const TeModelDef *def = fixture_load(arena, fixture_names[f], NULL)->def;
		const TeModelDef *back = through_folder(arena, def);

		check_same_model(arena, def, back);
		/* What is the same once stays the same, to the byte. */
		CHECK(te_str_eq(back->config, through_folder(arena, back)->config));
	}
}

TEST(gguf_files_come_back)
{
	static const char *const types[] = {NULL, "q8_0", "q4_0", "f16"};

	for (size_t f = 0; f < TE_LENGTH(fixture_names); f++)
	{
		for (size_t t = 0; t < TE_LENGTH(types); t++)
		{
			const TeModelDef *def = fixture_load(arena, fixture_names[f], types[t])->def;
			const TeModelDef *back = te_import_gguf(arena, exported_gguf(arena, def), NULL);

			check_same_model(arena, def, back);
			CHECK(te_str_eq(def->config, back->config));
		}
	}
}

/*
 * A folder with a BERT of 256 columns, whose rows divide into the blocks of
 * every storage type: one layer of random weights, the fixture's tokenizer.
 */
static TeFolder *
wide_folder(TeArena *arena)
{
	TeFolder	from = fixture_folder(arena, "bert");
	MemoryFolder *memory = memory_folder(arena);
	TeFolder   *folder = te_new(arena, TeFolder);
	TeStr		config = TE_STR("{\"model_type\":\"bert\",\"hidden_size\":256,\"num_hidden_layers\":1,"
								"\"num_attention_heads\":4,\"intermediate_size\":512,\"vocab_size\":340,"
								"\"max_position_embeddings\":16,\"hidden_act\":\"gelu\"}");
	TeTensorSpecs specs = {arena};
	TeConfig	sizes = {0};
	TeModelFile file = {0};
	uint32_t	state = 7;

	te_arch_bert.read_config(te_json_parse(arena, config, "config.json"), &sizes);
	te_arch_bert.list_tensors(&sizes, &specs);
	file.tensors.tensors = te_new_array(arena, TeTensorInfo, specs.n);
	for (size_t i = 0; i < specs.n; i++)
	{
		const TeTensorSpec *spec = &specs.specs[i];
		TeTensorInfo *tensor = &file.tensors.tensors[file.tensors.n++];
		size_t		n = spec->n_out * spec->n_in;
		float	   *data = te_new_array(arena, float, n);
		TeSource   *source = te_new(arena, TeSource);

		for (size_t j = 0; j < n; j++)
		{
			state = state * 1664525 + 1013904223;
			data[j] = ((float) (state >> 8) / (1 << 24) - 0.5f) * (spec->role == TE_ROLE_LINEAR ? 0.2f : 1.0f);
		}
		*source = te_source_memory("random", data, n * sizeof(float));
		*tensor = (TeTensorInfo) {te_str(spec->name), TE_F32, 2, {spec->n_out, spec->n_in}, n * sizeof(float), source, 0};
		if (spec->role == TE_ROLE_VECTOR)
		{
			tensor->n_dims = 1;
			tensor->dims[0] = spec->n_in;
		}
	}
	te_tensor_set_index(arena, &file.tensors);
	te_safetensors_write(arena, &file, memory_open(&memory->sink, "model.safetensors"));
	memory_folder_add(memory, "config.json", config);
	memory_folder_add(memory, "tokenizer.json",
					  te_source_whole(arena, te_folder_find(&from, "tokenizer.json"), SIZE_MAX));
	*folder = memory_folder_read(memory);
	return folder;
}

TEST(every_storage_type_works)
{
	TeFolder   *folder = wide_folder(arena);
	TeStr		text = TE_STR("The baker opens the shop");
	int			n;
	const float *expected;

	expected = embed_one(arena, load_model(arena, te_import_folder(arena, folder, NULL)), text, NULL, &n);
	for (int type = 0; type < TE_N_DTYPES; type++)
	{
		TeImportOptions options = {.quantization = te_str(te_dtypes[type].name)};
		TeModelDef *def;
		TeModelDef *back;
		const float *vector;
		double		near;

		if (te_dtypes[type].from_float == NULL || te_dtypes[type].to_float == NULL)
			continue;
		def = te_import_folder(arena, folder, &options);
		back = te_import_gguf(arena, exported_gguf(arena, def), NULL);
		if (te_dtypes[type].ggml_type >= 0)
			check_same_model(arena, def, back);
		else
			CHECK(strstr(te_std_last_report(), "GGUF has no type int8") != NULL);
		CHECK(te_tensor_find(&back->tensors, TE_STR("encoder.layer.0.attention.self.query.weight"))->dtype
			  == (te_dtypes[type].ggml_type >= 0 ? (TeDtype) type : TE_Q8_0));
		vector = embed_one(arena, load_model(arena, def), text, NULL, &n);
		near = cosine(vector, expected, n);
		if (!CHECK(near > 1 - 2 * te_dtypes[type].round_trip_error * te_dtypes[type].round_trip_error - 1e-6))
			fprintf(stderr, "  %s: %g\n", te_dtypes[type].name, near);
	}
}

TEST(quantized_models_leave_as_floats)
{
	TeModelDef *def = fixture_load(arena, "bert", "q8_0")->def;
	TeModelDef *back = through_folder(arena, def);
	int			n;
	const float *before = embed_one(arena, load_model(arena, def), TE_STR("bread"), NULL, &n);
	const float *after = embed_one(arena, load_model(arena, back), TE_STR("bread"), NULL, &n);

	CHECK_STR(back->quantization, "f32");
	CHECK(cosine(before, after, n) > 0.999999);
	CHECK(strstr(te_std_last_report(), "written as f32") != NULL);
}

TEST(a_tokenizer_comes_back)
{
	TeFolder	folder = fixture_folder(arena, "bert");
	TeImportOptions options = {.task = TE_STR("tokenizer")};
	TeModelDef *def = te_import_folder(arena, &folder, &options);

	CHECK(te_str_eq(def->tokenizer, through_folder(arena, def)->tokenizer));
	CHECK(te_str_eq(def->tokenizer, te_import_gguf(arena, exported_gguf(arena, def), NULL)->tokenizer));
}

TEST(foreign_gguf_files_are_read)
{
	/* Among them XLM-R, whose positions lack the first rows there: it becomes a BERT without an offset. */
	static const char *const names[] = {"bert", "xlm-roberta"};
	static const char *const texts[] = {"The lake, at six!", "Le marché ouvre 小猫 ﬁne", ""};
	TeModelDef *def = NULL;

	for (size_t f = 0; f < TE_LENGTH(names); f++)
	{
		TeModel    *before;
		TeModel    *after;
		int			n;

		def = fixture_load(arena, names[f], NULL)->def;
		before = load_model(arena, def);
		after = load_model(arena, te_import_gguf(arena, foreign_gguf(arena, def, "bert"), NULL));
		CHECK_STR(te_model_architecture(after), "bert");
		CHECK(te_model_config(after)->position_offset == 0);
		for (size_t t = 0; t < TE_LENGTH(texts); t++)
			CHECK(same_vector(embed_one(arena, before, te_str(texts[t]), NULL, &n),
							  embed_one(arena, after, te_str(texts[t]), NULL, &n), &n));
	}
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "\"mamba\"", te_import_gguf(arena, foreign_gguf(arena, def, "mamba"), NULL));
}

TEST(a_vocabulary_alone_is_a_tokenizer)
{
	const char *path = te_test_data("vocab-gguf/ggml-vocab-bert-bge.gguf");
	TeSource	source;
	TeModelDef *def;

	if (path == NULL)
		SKIP("no test data");
	source = te_std_file(arena, path);
	def = te_import_gguf(arena, &source, NULL);
	CHECK_STR(def->architecture, "tokenizer");
	te_def_check(arena, def);
}

/* ---- checking what comes from a catalog ---- */

TEST(definitions_are_checked)
{
	TeModelDef *def = fixture_load(arena, "roberta", NULL)->def;
	TeModelDef	copy = *def;
	TeTensorInfo *tensors = te_new_array(arena, TeTensorInfo, def->tensors.n);

	memcpy(tensors, def->tensors.tensors, def->tensors.n * sizeof(TeTensorInfo));
	copy.tensors.tensors = tensors;
	copy.dimensions = 0;
	copy.parameters = 0;
	te_def_check(arena, &copy);
	CHECK(copy.dimensions == def->dimensions && copy.parameters == def->parameters);
	CHECK(copy.context_length == def->context_length && te_str_eq(copy.quantization, def->quantization));

	copy.tensors.n--;			/* the last one is the dense layer's bias */
	CHECK_THROWS_LIKE(TE_ERR_MISSING, "2_Dense.linear.bias", te_def_check(arena, &copy));
	copy.tensors.n++;
	tensors[0].dims[0]++;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "word_embeddings", te_def_check(arena, &copy));
	tensors[0].dims[0]--;
	tensors[0].bytes--;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "another size", te_def_check(arena, &copy));
	tensors[0].bytes++;
	tensors[0].name = TE_STR("something");
	CHECK_THROWS(TE_ERR_MISSING, te_def_check(arena, &copy));
	copy = *def;
	/* Its name becomes a folder's when the model is exported. */
	copy.pipeline = TE_STR("{\"dense\": [{\"tensor\": \"../../evil.linear\", \"in\": 32, \"out\": 24}]}");
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "plain name", te_def_check(arena, &copy));
	copy.pipeline = TE_STR("{\"dense\": [{\"tensor\": \"2_Dense.linear\", \"in\": 33, \"out\": 24}]}");
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "takes 33 numbers", te_def_check(arena, &copy));
	copy.pipeline = TE_STR("{\"pooling\": [\"median\"]}");
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "median", te_def_check(arena, &copy));
	copy.pipeline = TE_STR("{\"default_prompt\": \"query\"}");
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "none of the prompts", te_def_check(arena, &copy));
	copy = *def;
	copy.config = TE_STR("{\"hidden_size\": 32}");
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "num_hidden_layers", te_def_check(arena, &copy));
	copy.config = TE_STR("nonsense");
	CHECK_THROWS(TE_ERR_CORRUPT, te_def_check(arena, &copy));
	copy.architecture = TE_STR("mamba");
	copy.config = TE_STR("{}");
	CHECK_THROWS(TE_ERR_UNSUPPORTED, te_def_check(arena, &copy));
}

TEST(chunks_are_whole_rows)
{
	TeModelDef *def = fixture_load(arena, "bert", "q8_0")->def;
	const TeTensorInfo *words = te_tensor_find(&def->tensors, TE_STR("embeddings.word_embeddings.weight"));
	uint64_t	row = te_row_bytes(words->dtype, words->dims[1]);
	const char *whole = tensor_bytes(arena, words);
	char	   *parts = te_alloc0(arena, words->bytes);

	CHECK(te_tensor_chunk_rows(words, 1) == 1);
	CHECK(te_tensor_chunk_rows(words, 10 * row + 1) == 10);
	CHECK(te_tensor_chunk_rows(words, SIZE_MAX) == words->dims[0]);
	/* A converting source gives the same however it is read. */
	for (uint64_t at = 0; at < words->bytes; at += 100)
		te_source_read(words->source, words->offset + at, parts + at, TE_MIN(100, words->bytes - at));
	CHECK(memcmp(whole, parts, words->bytes) == 0);
}

/* ---- what a folder may look like ---- */

/* The bert fixture with one file replaced (content) or left out (no content). */
static TeFolder *
bert_with(TeArena *arena, const char *file, const char *content)
{
	TeFolder	from = fixture_folder(arena, "bert");
	MemoryFolder *memory = memory_folder_copy(arena, &from, file);
	TeFolder   *folder = te_new(arena, TeFolder);

	if (content != NULL)
		memory_folder_add(memory, file, te_str(content));
	*folder = memory_folder_read(memory);
	return folder;
}

/* A file of the bert fixture with a piece of its text replaced. */
static TeFolder *
bert_changed(TeArena *arena, const char *file, const char *piece, const char *by)
{
	TeFolder	from = fixture_folder(arena, "bert");
	const char *text = te_cstring(arena, te_source_whole(arena, te_folder_find(&from, file), SIZE_MAX));
	const char *at = strstr(text, piece);

	te_assert(at != NULL);
	return bert_with(arena, file, te_format(arena, "%.*s%s%s", (int) (at - text), text, by, at + strlen(piece)));
}

TEST(missing_files_are_named)
{
	TeFolder   *pickled;

	CHECK_THROWS_LIKE(TE_ERR_MISSING, "model.safetensors",
					  te_import_folder(arena, bert_with(arena, "model.safetensors", NULL), NULL));
	pickled = bert_with(arena, "model.safetensors", NULL);
	for (int i = 0; i < pickled->n_files; i++)
	{
		if (strcmp(pickled->files[i].name, "tokenizer_config.json") == 0)
			((TeSource *) pickled->files)[i].name = "pytorch_model.bin";
	}
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "pytorch_model.bin", te_import_folder(arena, pickled, NULL));
	CHECK(strstr(te_std_error()->hint, "safe_serialization") != NULL);
	CHECK_THROWS_LIKE(TE_ERR_MISSING, "neither", te_import_folder(arena, &(TeFolder) {"empty", 0, NULL}, NULL));
	/* Weights that nothing describes are not passed over, unless the tokenizer is all that is wanted. */
	CHECK_THROWS_LIKE(TE_ERR_MISSING, "config.json",
					  te_import_folder(arena, bert_with(arena, "config.json", NULL), NULL));
	CHECK_STR(te_import_folder(arena, bert_with(arena, "config.json", NULL),
							   &(TeImportOptions) {.task = TE_STR("tokenizer")})->architecture, "tokenizer");
	/* Without a tokenizer a model can be imported, but does not embed text. */
	CHECK(te_import_folder(arena, bert_with(arena, "tokenizer.json", NULL), NULL)->tokenizer.len == 0);
	/* Without modules.json, the mean is taken and not normalized. */
	CHECK_STR(te_import_folder(arena, bert_with(arena, "modules.json", NULL), NULL)->pipeline,
			  "{\"pooling\":[\"mean\"],\"normalize\":false,\"max_tokens\":24}");
}

TEST(unknown_things_are_named)
{
	static const struct
	{
		const char *file;
		const char *piece;
		const char *by;
		const char *message;
	}			cases[] = {
		{"config.json", "\"bert\"", "\"mamba\"", "\"mamba\" is not supported; there are bert"},
		{"config.json", "\"gelu\"", "\"gegelu\"", "\"gegelu\""},
		{"config.json", "\"use_cache\"", "\"position_embedding_type\": \"relative_key\", \"x\"", "\"relative_key\""},
		{"config.json", "\"is_decoder\": false", "\"is_decoder\": true", "is_decoder"},
		{"1_Pooling/config.json", "\"mean\"", "\"weightedmean\"", "\"weightedmean\""},
		{"modules.json", "normalize.Normalize", "layernorm.LayerNorm", "LayerNorm"},
		{"modules.json", "pooling.Pooling", "cnn.CNN", "CNN"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
		CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, cases[i].message,
						  te_import_folder(arena, bert_changed(arena, cases[i].file, cases[i].piece, cases[i].by), NULL));
}

TEST(wrong_numbers_are_named)
{
	static const struct
	{
		const char *piece;
		const char *by;
		const char *message;
	}			cases[] = {
		{"\"hidden_size\": 32", "\"hidden_size\": -1", "hidden_size"},
		{"\"hidden_size\": 32", "\"hidden_size\": 1e99", "hidden_size"},
		{"\"hidden_size\": 32", "\"hidden_size\": \"x\"", "hidden_size"},
		{"\"hidden_size\": 32", "\"hidden_sise\": 32", "hidden_size"},
		{"\"hidden_size\": 32", "\"hidden_size\": 64", "has shape"},
		{"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 100000", "num_hidden_layers"},
		{"\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "no multiple of 5"},
		{"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", "layer_norm_eps"},
		{"\"vocab_size\": 340", "\"vocab_size\": 341", "word_embeddings"},
		{"\"max_position_embeddings\": 32", "\"max_position_embeddings\": 33", "position_embeddings"},
		{"\"type_vocab_size\": 2", "\"type_vocab_size\": 3", "token_type_embeddings"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
		CHECK_THROWS_LIKE(TE_ERR_CORRUPT, cases[i].message,
						  te_import_folder(arena, bert_changed(arena, "config.json", cases[i].piece, cases[i].by), NULL));
	CHECK_THROWS_LIKE(TE_ERR_MISSING, "encoder.layer.2",
					  te_import_folder(arena, bert_changed(arena, "config.json", "\"num_hidden_layers\": 2",
														   "\"num_hidden_layers\": 3"), NULL));
}

static void
check_same_config(TeArena *arena, const TeArch *arch, const char *a, const char *b)
{
	TeConfig	read_a = {0};
	TeConfig	read_b = {0};

	arch->read_config(te_json_parse(arena, te_str(a), "config.json"), &read_a);
	arch->read_config(te_json_parse(arena, te_str(b), "config.json"), &read_b);
	CHECK(memcmp(&read_a, &read_b, sizeof(TeConfig)) == 0);
}

/* What transformers wrote before it changed the keys, and what it writes since. */
TEST(old_and_new_configurations_say_the_same)
{
#define MODERNBERT "{\"hidden_size\":64,\"num_hidden_layers\":5,\"num_attention_heads\":2,\"intermediate_size\":96," \
	"\"vocab_size\":99,\"max_position_embeddings\":512,\"local_attention\":32,"

	TeConfig	read = {0};

	check_same_config(arena, &te_arch_modernbert,
					  MODERNBERT "\"global_attn_every_n_layers\":2,\"global_rope_theta\":80000,\"local_rope_theta\":500}",
					  MODERNBERT "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\","
					  "\"sliding_attention\",\"full_attention\"],\"rope_parameters\":{\"full_attention\":{\"rope_theta\":80000,"
					  "\"rope_type\":\"default\"},\"sliding_attention\":{\"rope_theta\":500}}}");
	te_arch_modernbert.read_config(te_json_parse(arena, TE_STR(MODERNBERT "\"norm_bias\":true}"), "config.json"), &read);
	CHECK(read.window == 16 && read.local_layers[0] == (1 << 1 | 1 << 2 | 1 << 4) && read.norm_bias == 1 && read.up_bias == 0);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "spiral", te_arch_modernbert.read_config(
		te_json_parse(arena, TE_STR(MODERNBERT "\"rope_scaling\":{\"rope_type\":\"spiral\"}}"), "config.json"), &read));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "layer_types", te_arch_modernbert.read_config(
		te_json_parse(arena, TE_STR(MODERNBERT "\"layer_types\":[\"full_attention\"]}"), "config.json"), &read));
	check_same_config(arena, &te_arch_nomic,
					  "{\"n_embd\":64,\"n_layer\":2,\"n_head\":2,\"n_inner\":96,\"n_positions\":2048,\"vocab_size\":99,"
					  "\"activation_function\":\"swiglu\",\"layer_norm_epsilon\":1e-12,\"rotary_emb_base\":1000,"
					  "\"rotary_emb_fraction\":1.0,\"qkv_proj_bias\":false,\"prenorm\":false,\"rotary_emb_scale_base\":null}",
					  "{\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"intermediate_size\":96,"
					  "\"max_position_embeddings\":2048,\"vocab_size\":99,\"hidden_act\":\"silu\",\"layer_norm_eps\":1e-12,"
					  "\"rope_parameters\":{\"rope_theta\":1000.0,\"rope_type\":\"default\"}}");
}

/* What DeBERTa's position keys mean, and what of them is refused. */
TEST(relative_positions_are_read)
{
#define DEBERTA "{\"hidden_size\":64,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":96," \
	"\"vocab_size\":99,\"max_position_embeddings\":40"
#define READ(more) (memset(&read, 0, sizeof(read)), \
	te_arch_deberta.read_config(te_json_parse(arena, TE_STR(DEBERTA more "}"), "config.json"), &read))

	TeConfig	read;

	check_same_config(arena, &te_arch_deberta,
					  DEBERTA ",\"relative_attention\":true,\"pos_att_type\":\" P2C |c2p\",\"norm_rel_ebd\":\"none| Layer_Norm\"}",
					  DEBERTA ",\"relative_attention\":true,\"pos_att_type\":[\"c2p\",\"p2c\"],\"norm_rel_ebd\":\"layer_norm\","
					  "\"max_relative_positions\":40,\"position_buckets\":-1,\"conv_kernel_size\":0}");
	READ(",\"relative_attention\":true,\"pos_att_type\":\"p2c\",\"position_buckets\":16,\"position_biased_input\":false");
	CHECK(read.relative_buckets == 32 && read.relative_log && read.relative_max_distance == 40 && read.score_terms == 2);
	CHECK(read.relative_queries && !read.relative_keys && !read.relative_norm && !read.relative_shared);
	CHECK(read.added_positions == 0 && read.max_positions == 40 && read.type_vocab_size == 0);
	CHECK_NEAR(read.norm_eps, 1e-7, 1e-12);
	READ(",\"pos_att_type\":\"p2c|c2p\"");
	CHECK(read.relative_buckets == 0 && !read.relative_keys && read.score_terms == 3 && read.added_positions == 40);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "convolution", READ(",\"conv_kernel_size\":3"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "attention_head_size", READ(",\"attention_head_size\":16"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "position_buckets",
					  READ(",\"relative_attention\":true,\"pos_att_type\":\"c2p\",\"position_buckets\":1"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "position_buckets",
					  READ(",\"relative_attention\":true,\"pos_att_type\":\"c2p\",\"position_buckets\":78"));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "at most",
					  READ(",\"relative_attention\":true,\"pos_att_type\":\"c2p\",\"max_relative_positions\":99999999999"));
}

/* DeBERTa's folders often have no other tokenizer than this file. */
TEST(sentencepiece_is_found_in_folders)
{
	TeFolder	tokenizers = fixture_folder(arena, "tokenizers");
	TeFolder	plain = fixture_folder(arena, "deberta-v3");
	MemoryFolder *folder = memory_folder_copy(arena, &plain, "tokenizer.json");
	TeFolder	read;
	TeModelDef *def;

	memory_folder_add(folder, "spm.model", te_source_whole(arena, te_folder_find(&tokenizers, "spm_deberta.model"), SIZE_MAX));
	read = memory_folder_read(folder);
	def = te_import_folder(arena, &read, NULL);
	CHECK(strstr(te_cstring(arena, def->tokenizer), "[MASK]") != NULL);
}

TEST(wishes_are_checked)
{
	TeFolder	folder = fixture_folder(arena, "bert");
	TeStr		label = TE_STR("good");

	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "\"q9_9\"",
					  te_import_folder(arena, &folder, &(TeImportOptions) {.quantization = TE_STR("q9_9")}));
	CHECK_THROWS(TE_ERR_UNSUPPORTED,
				 te_import_folder(arena, &folder, &(TeImportOptions) {.quantization = TE_STR("i8")}));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "\"dancing\"",
					  te_import_folder(arena, &folder, &(TeImportOptions) {.task = TE_STR("dancing")}));
	CHECK_THROWS(TE_ERR_INVALID,
				 te_import_folder(arena, &folder, &(TeImportOptions) {.n_labels = 1, .labels = &label}));
	/* Rows of 32 are no multiple of 256. */
	CHECK_STR(te_import_folder(arena, &folder, &(TeImportOptions) {.quantization = TE_STR("q4_K")})->quantization, "f16");
	CHECK(strstr(te_std_last_report(), "stored as f16") != NULL);
}

/* Old checkpoints: gamma and beta, a prefix, tensors of heads and buffers. */
TEST(old_names_are_found)
{
	TeFolder	from = fixture_folder(arena, "bert");
	MemoryFolder *memory = memory_folder_copy(arena, &from, "model.safetensors");
	TeModelFile file;
	TeSink	   *sink;
	TeFolder	folder;

	te_safetensors_read(arena, te_folder_find(&from, "model.safetensors"), &file);
	for (size_t i = 0; i < file.tensors.n; i++)
	{
		TeStr	   *name = &file.tensors.tensors[i].name;
		const char *ending = "";
		size_t		cut = 0;

		if (te_str_ends(*name, "LayerNorm.weight"))
		{
			ending = "gamma";
			cut = strlen("weight");
		}
		else if (te_str_ends(*name, "LayerNorm.bias"))
		{
			ending = "beta";
			cut = strlen("bias");
		}
		*name = te_str(te_format(arena, "bert.%.*s%s", (int) (name->len - cut), name->data, ending));
	}
	te_tensor_set_index(arena, &file.tensors);
	sink = memory_open(&memory->sink, "model.safetensors");
	te_safetensors_write(arena, &file, sink);
	folder = memory_folder_read(memory);
	check_same_model(arena, fixture_load(arena, "bert", NULL)->def, te_import_folder(arena, &folder, NULL));
}

TEST(texts_without_tokens_are_refused)
{
	TeFolder	folder = fixture_folder(arena, "bert");
	TeJson	   *tokenizer = te_json_new_object(arena);
	TeModel    *model;
	int			n;

	te_json_set_copy(arena, tokenizer, fixture_json(arena, &folder, "tokenizer.json"));
	te_json_add(arena, tokenizer, "post_processor");	/* null: no special tokens */
	model = load_model(arena, te_import_folder(arena, &folder, &(TeImportOptions) {.tokenizer = tokenizer}));
	CHECK(te_tokens_added(te_model_tokenizer(model), false) == 0);
	embed_one(arena, model, TE_STR("bread"), NULL, &n);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no tokens", embed_one(arena, model, TE_STR(" "), NULL, &n));
}

TEST(lower_case_is_added)
{
	TeFolder	from = fixture_folder(arena, "distilbert");
	MemoryFolder *memory = memory_folder_copy(arena, &from, "sentence_bert_config.json");
	TeFolder	folder;
	TeModel    *model;
	int			n;

	memory_folder_add(memory, "sentence_bert_config.json", TE_STR("{\"max_seq_length\": 20, \"do_lower_case\": true}"));
	folder = memory_folder_read(memory);
	model = load_model(arena, te_import_folder(arena, &folder, NULL));
	CHECK(te_model_context_length(model) == 20);
	CHECK(same_vector(embed_one(arena, model, TE_STR("The BREAD"), NULL, &n),
					  embed_one(arena, model, TE_STR("the bread"), NULL, &n), &n));
}

/* ---- faults ---- */

static void
import_and_export(void *arg)
{
	TeArena    *arena = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);
	TeModelDef *def = fixture_load(arena, arg, "q8_0")->def;

	through_folder(arena, def);
	te_import_gguf(arena, exported_gguf(arena, def), NULL);
}

TEST(every_fault_of_an_export_unwinds)
{
	CHECK(te_std_fault_loop(import_and_export, "bert") > 20);
}

/* ---- damage ---- */

/* Import and run what came of it: any error is right, anything else is not. */
static void
import_damaged(TeArena *arena, const TeFolder *folder)
{
	TE_TRY
	{
		TeModelDef *def = te_import_folder(arena, folder, NULL);

		if (!te_str_is(def->architecture, "tokenizer") && def->tokenizer.len > 0)
		{
			TeModel    *model = load_model(arena, def);
			int			n;

			embed_one(arena, model, TE_STR("The bread, 小猫"), NULL, &n);
		}
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code != TE_ERR_INTERNAL || strstr(te_std_error()->message, "assertion") == NULL);
		CHECK(te_std_error()->code != TE_ERR_MEMORY);
	}
	TE_END_TRY;
}

/* Each file of a fixture cut short, and with bytes changed. */
static void
damage_fixture(TeArena *arena, const char *name, int n_changes)
{
	TeFolder	from = fixture_folder(arena, name);
	uint32_t	state = 12345;

	for (int f = 0; f < from.n_files; f++)
	{
		for (int i = 0; i < n_changes; i++)
		{
			TeArena    *scratch = te_arena_create(arena, "damage");
			MemoryFolder *memory = memory_folder_copy(scratch, &from, NULL);
			TeFolder	folder = memory_folder_read(memory);

			for (int j = 0; j < folder.n_files; j++)
			{
				size_t		len = memory->buffers[j].len;

				if (strcmp(memory->names[j], from.files[f].name) != 0 || len == 0)
					continue;
				state = state * 1664525 + 1013904223;
				/* Headers and small files are where a byte counts. */
				if (i % 3 == 0)
					memory->sources[j] = te_source_memory(memory->names[j], memory->buffers[j].data, (state >> 8) % len);
				else
					memory->buffers[j].data[(state >> 8) % TE_MIN(len, 6000)] ^= 1 << (state & 7);
			}
			import_damaged(scratch, &folder);
			te_arena_destroy(scratch);
		}
	}
}

TEST(damaged_folders_are_errors)
{
	damage_fixture(arena, "bert", 30);
	damage_fixture(arena, "mpnet", 12);
	damage_fixture(arena, "roberta", 12);
}

TEST(damaged_gguf_files_are_errors)
{
	TeSource   *source;
	char	   *data;
	uint32_t	state = 99;

	source = exported_gguf(arena, fixture_load(arena, "roberta", "q8_0")->def);
	data = te_alloc(arena, source->size);
	te_source_read(source, 0, data, source->size);
	for (int i = 0; i < 150; i++)
	{
		TeArena    *scratch = te_arena_create(arena, "damage");
		char	   *copy = te_alloc(scratch, source->size);
		TeSource	damaged;

		state = state * 1664525 + 1013904223;
		memcpy(copy, data, source->size);
		damaged = te_source_memory("damaged.gguf", copy, i % 3 == 0 ? (state >> 8) % source->size : source->size);
		if (i % 3 != 0)
			copy[(state >> 8) % 20000] ^= 1 << (state & 7);
		TE_TRY
		{
			TeModelDef *def = te_import_gguf(scratch, &damaged, NULL);
			int			n;

			if (def->tensors.n > 0)
				embed_one(scratch, load_model(scratch, def), TE_STR("bread"), NULL, &n);
		}
		TE_CATCH
		{
			CHECK(te_std_error()->code != TE_ERR_MEMORY);
		}
		TE_END_TRY;
		te_arena_destroy(scratch);
	}
}

TEST_MAIN()
