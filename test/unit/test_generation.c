/*-------------------------------------------------------------------------
 * test_generation.c
 *	  What texts begin and end with: from folders and GGUF, through definitions and images, and back; conversations as prompts.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

/* The fixture of a decoder with more files; NULL ends the list of names and contents.  Its tokens <s> and </s> are 0 and 1. */
static TeFolder
folder_with(TeArena *arena, const char *const *files)
{
	TeFolder	from = fixture_folder(arena, "causal-llama");
	MemoryFolder *folder = memory_folder_copy(arena, &from, NULL);

	for (; *files != NULL; files += 2)
		memory_folder_add(folder, files[0], te_str(files[1]));
	return memory_folder_read(folder);
}

#define SPECIAL 189				/* the token of a byte that no text has */

/* The tokenizer of the fixture, where that token is a special one of another name. */
static const TeJson *
tokenizer_with(TeArena *arena, const char *name)
{
	TeFolder	from = fixture_folder(arena, "causal-llama");
	TeJson	   *result = te_json_new_object(arena);
	TeJson	   *list = te_json_new_array(arena, 3);
	TeJson	   *vocab;

	te_json_set_copy(arena, result, fixture_json(arena, &from, "tokenizer.json"));
	vocab = (TeJson *) te_json_path(result, "model.vocab");
	for (uint32_t i = 0; i < vocab->n; i++)
	{
		if (vocab->items[i].integer == SPECIAL)
			vocab->items[i].key = te_str(name);
	}
	te_json_set_copy(arena, &list->items[0], &te_json_get(result, "added_tokens")->items[0]);
	te_json_set_copy(arena, &list->items[1], &te_json_get(result, "added_tokens")->items[1]);
	te_json_set_copy(arena, &list->items[2], &list->items[0]);
	te_json_set_str(te_json_add(arena, &list->items[2], "content"), te_str(name));
	te_json_set_int(te_json_add(arena, &list->items[2], "id"), SPECIAL);
	te_json_set_copy(arena, te_json_add(arena, result, "added_tokens"), list);
	return result;
}

static TeModelDef *
import_with(TeArena *arena, const char *const *files, const TeJson *tokenizer)
{
	TeFolder   *folder = te_new(arena, TeFolder);
	TeImportOptions options = {.tokenizer = tokenizer};

	*folder = folder_with(arena, files);
	return te_import_folder(arena, folder, &options);
}

static const TeGeneration *
generation_of(TeArena *arena, const TeModelDef *def)
{
	return &te_model_pipeline(load_model(arena, def))->generation;
}

static bool
ends_with(const TeGeneration *generation, int32_t id)
{
	for (size_t i = 0; i < generation->n_end; i++)
	{
		if (generation->end_ids[i] == id)
			return true;
	}
	return false;
}

/* A model of before: its pipeline has no such member, and it can be used all the same. */
TEST(without_files_config_json_says_it)
{
	const TeModelDef *def = import_with(arena, (const char *[]) {NULL}, NULL);
	const TeGeneration *generation = generation_of(arena, def);

	CHECK(te_json_get(te_json_parse(arena, def->pipeline, "pipeline"), "generation") == NULL);
	CHECK(generation->chat_template.len == 0);
	CHECK(generation->begin_id == 0 && generation->adds_begin);
	CHECK(generation->n_end == 1 && generation->end_ids[0] == 1);
	CHECK_STR(generation->bos_token, "<s>");
	CHECK_STR(generation->eos_token, "</s>");
}

static const char *const chat_files[] = {
	"tokenizer_config.json", "{\"bos_token\": {\"content\": \"<s>\", \"lstrip\": false}, \"eos_token\": \"<|im_end|>\", \"add_bos_token\": false,"
	" \"chat_template\": [{\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"default\", \"template\": \"D{{ bos_token }}\"}]}",
	"generation_config.json", "{\"bos_token_id\": 0, \"eos_token_id\": [2, 1, 99999, -4, 2, \"x\"], \"temperature\": 0.7}",
	NULL
};

static void
check_chat(TeArena *arena, const TeModelDef *def)
{
	const TeGeneration *generation = generation_of(arena, def);

	CHECK_STR(generation->chat_template, "D{{ bos_token }}");
	CHECK_STR(generation->bos_token, "<s>");
	CHECK_STR(generation->eos_token, "<|im_end|>");
	CHECK(generation->begin_id == 0 && !generation->adds_begin);
	CHECK(generation->n_end == 3 && generation->end_ids[0] == 2 && generation->end_ids[1] == 1 && ends_with(generation, SPECIAL));
}

TEST(of_a_folder)
{
	const TeModelDef *def = import_with(arena, chat_files, tokenizer_with(arena, "<|im_end|>"));
	MemoryFolder *folder = memory_folder(arena);
	TeFolder	back;
	const TeModelDef *again;

	check_chat(arena, def);
	te_export_folder(arena, def, &folder->sink);
	back = memory_folder_read(folder);
	CHECK(te_folder_find(&back, "generation_config.json") != NULL);
	again = te_import_folder(arena, &back, NULL);
	CHECK(te_str_eq(te_json_text(arena, te_json_path(te_json_parse(arena, def->pipeline, "a"), "generation"), 0),
					te_json_text(arena, te_json_path(te_json_parse(arena, again->pipeline, "b"), "generation"), 0)));
	check_chat(arena, again);
}

TEST(a_template_by_itself_comes_first)
{
	const char *const files[] = {"tokenizer_config.json", "{\"chat_template\": \"old\"}", "chat_template.jinja", "new\n", NULL};
	const char *const one[] = {"tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"only\"}, 5]}", NULL};
	const char *const odd[] = {"tokenizer_config.json", "{\"chat_template\": 7, \"bos_token\": null, \"eos_token\": [1], \"add_bos_token\": \"yes\"}", NULL};

	CHECK_STR(generation_of(arena, import_with(arena, files, NULL))->chat_template, "new\n");
	CHECK_STR(generation_of(arena, import_with(arena, one, NULL))->chat_template, "only");
	CHECK(generation_of(arena, import_with(arena, odd, NULL))->chat_template.len == 0);
	CHECK(generation_of(arena, import_with(arena, odd, NULL))->adds_begin);
}

/* Not for a model that is imported for something else. */
TEST(only_for_a_causal_head)
{
	TeFolder	folder = folder_with(arena, chat_files);
	TeImportOptions options = {.task = TE_STR("embedding")};
	const TeModelDef *def = te_import_folder(arena, &folder, &options);

	CHECK(te_json_get(te_json_parse(arena, def->pipeline, "pipeline"), "generation") == NULL);
	CHECK(generation_of(arena, def)->begin_id == -1 && generation_of(arena, def)->n_end == 0);
}

/* As a file of llama.cpp's says it, which has nothing of ours. */
TEST(keys_of_gguf)
{
	const TeModelDef *def = import_with(arena, chat_files, tokenizer_with(arena, "<|im_end|>"));
	TeJson	   *meta = te_json_new_object(arena);
	TeJson	   *tokens = te_json_new_array(arena, 3);
	TeDefParts	parts;
	const TeJson *back;

	CHECK(te_gguf_generation(arena, meta) == NULL);
	te_def_parts(arena, def, &parts);
	te_generation_to_gguf(arena, &parts.pipeline.generation, meta);
	CHECK(te_json_int(meta, "tokenizer.ggml.eos_token_id", -1) == 2);
	CHECK(te_json_int(meta, "tokenizer.ggml.eot_token_id", -1) == 1);
	te_json_set_str(&tokens->items[0], TE_STR("<s>"));
	te_json_set_copy(arena, te_json_add(arena, meta, "tokenizer.ggml.tokens"), tokens);
	back = te_gguf_generation(arena, meta);
	CHECK_STR(te_json_text(arena, back, 0), "{\"chat_template\":\"D{{ bos_token }}\",\"bos_token\":\"<s>\",\"bos_token_id\":0,"
			  "\"eos_token_id\":[2,1,189],\"add_bos_token\":false}");
	te_json_set_int(te_json_add(arena, meta, "tokenizer.ggml.bos_token_id"), 1 << 30);
	CHECK(te_json_get(te_gguf_generation(arena, meta), "bos_token") == NULL);
}

TEST(through_gguf)
{
	const TeModelDef *def = import_with(arena, chat_files, tokenizer_with(arena, "<|im_end|>"));
	TeBuffer	buffer;
	TeSink		sink;
	TeSource	source;

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_export_gguf(arena, def, "chat", &sink);
	source = te_source_memory("chat.gguf", buffer.data, buffer.len);
	check_chat(arena, te_import_gguf(arena, &source, NULL));
}

TEST(special_tokens_end_by_their_names)
{
	const char *const none[] = {NULL};
	const TeModelDef *def = import_with(arena, none, tokenizer_with(arena, "<end_of_turn>"));
	const TeModelDef *other = import_with(arena, none, tokenizer_with(arena, "<start_of_turn>"));

	CHECK(ends_with(generation_of(arena, def), SPECIAL));
	CHECK(!ends_with(generation_of(arena, other), SPECIAL));
}

/* How many tokens a prompt has for the generator. */
static size_t
prompt_tokens(TeArena *arena, const char *files, bool bare)
{
	const char *const list[] = {"tokenizer_config.json", files, NULL};
	const TeModel *model = load_model(arena, import_with(arena, list, NULL));
	TeGeneratorLimits limits = {.cache_type = TE_STR("f32")};
	TeGenerator *generator = te_generator_create(te_session_create(arena, model, 0), &limits);
	TeGenerateOptions options = te_generate_defaults;

	options.bare = bare;
	te_generator_feed(generator, TE_STR("The smell"), &options);
	return te_generator_row(generator, 0).n_prompt;
}

/* The fixture's tokenizer puts <s> first; the model's files may want it otherwise. */
TEST(the_beginning_is_as_the_files_say)
{
	size_t		with = prompt_tokens(arena, "{\"bos_token\": \"<s>\"}", false);

	CHECK(prompt_tokens(arena, "{\"bos_token\": \"<s>\", \"add_bos_token\": true}", false) == with);
	CHECK(prompt_tokens(arena, "{\"bos_token\": \"<s>\", \"add_bos_token\": false}", false) == with - 1);
	CHECK(prompt_tokens(arena, "{\"bos_token\": \"</s>\", \"add_bos_token\": true}", false) == with);
	CHECK(prompt_tokens(arena, "{\"bos_token\": \"<s>\", \"add_bos_token\": true}", true) == with - 1);
}

/* ---- conversations ---- */

static TeStr
prompt_of(TeArena *arena, const TeModelDef *def, const char *messages)
{
	return te_model_chat_prompt(load_model(arena, def), arena, te_json_parse(arena, te_str(messages), "messages"), true);
}

TEST(a_conversation_becomes_a_prompt)
{
	static const char *const files[] = {
		"tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}", "chat_template.jinja",
		"{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{{ eos_token }}{% endfor %}{{ tools is none }}{{ add_generation_prompt }}\n",
		NULL
	};
	const TeModelDef *def = import_with(arena, files, NULL);

	CHECK_STR(prompt_of(arena, def, "[{\"role\": \"system\", \"content\": \" Be brief. \"}, {\"role\": \"user\", \"content\": \"Hi\", \"name\": \"Al\"}]"),
			  "<s>[system] Be brief.</s>[user] Hi</s>TrueTrue");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "array", prompt_of(arena, def, "{\"role\": \"user\"}"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "no messages", prompt_of(arena, def, "[]"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "message 2 is no object", prompt_of(arena, def, "[{\"role\": \"user\", \"content\": \"\"}, \"Hi\"]"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "\"role\"", prompt_of(arena, def, "[{\"content\": \"Hi\"}]"));
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "\"content\"", prompt_of(arena, def, "[{\"role\": \"user\", \"content\": [1]}]"));
}

TEST(without_a_template_only_chatml)
{
	const char *const none[] = {NULL};
	const char *messages = "[{\"role\": \"user\", \"content\": \"Hi\"}]";
	const TeJson *tokenizer = tokenizer_with(arena, "<|im_start|>");
	TeJson	   *list = (TeJson *) te_json_get(tokenizer, "added_tokens");

	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "cannot chat", prompt_of(arena, import_with(arena, none, NULL), messages));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "cannot chat", prompt_of(arena, import_with(arena, none, tokenizer), messages));
	te_json_set_str(te_json_add(arena, &list->items[1], "content"), TE_STR("<|im_end|>"));
	CHECK_STR(prompt_of(arena, import_with(arena, none, tokenizer), messages), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "does not write text",
					  prompt_of(arena, fixture_load(arena, "bert", NULL)->def, messages));
}

TEST(refuses_what_cannot_be)
{
	TeModelDef	def = *import_with(arena, chat_files, NULL);
	TeDefParts	parts;

	def.pipeline = TE_STR("{\"generation\": []}");
	CHECK_THROWS(TE_ERR_CORRUPT, te_def_parts(arena, &def, &parts));
	def.pipeline = TE_STR("{\"generation\": {\"chat_template\": 5}}");
	CHECK_THROWS(TE_ERR_CORRUPT, te_def_parts(arena, &def, &parts));
	def.pipeline = TE_STR("{\"generation\": {\"bos_token_id\": 5000000000, \"eos_token_id\": {}}}");
	te_def_parts(arena, &def, &parts);
	CHECK(parts.pipeline.generation.begin_id == -1 && parts.pipeline.generation.n_end == 0);
}

TEST_MAIN()
