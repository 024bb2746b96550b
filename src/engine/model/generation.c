/*-------------------------------------------------------------------------
 * generation.c
 *	  What a model that writes text needs beside its numbers: the tokens that a text begins and ends with, and the
 *	  template that makes a prompt of a conversation.
 *
 * The pipeline's JSON has it as a member, with the names that Hugging Face's files have for the same:
 *
 *	  {"generation": {"chat_template": "{% for ... %}",		Jinja (text/template.h)
 *					  "bos_token": "<s>", "eos_token": "</s>",	as templates see them
 *					  "bos_token_id": 1,
 *					  "eos_token_id": [2, 32000],	any of them ends a text
 *					  "add_bos_token": true}}		absent: as the tokenizer's post-processor has it
 *
 * It is what the files said, and no more.  A model without it (older than version 0.4, or trained here) has what its config.json
 * says.  The rest is found when the image is made, where the tokenizer is at hand (te_generation_complete()): the texts
 * of tokens that only have a number, and special tokens that end a turn or a text by their name, as llama.cpp has it.
 *
 * Only models with a causal head have it.  To add a name that ends a text: a row of `end_names`.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define MAX_TEMPLATE_BYTES ((size_t) 1 << 20)

/* Special tokens of these names end a text. */
static const char *const end_names[] = {
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
	"<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
	"<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", "[e~[", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
};

/* Where both of these exist, <|end|> ends a part of an answer, not the answer. */
static const char *const message_ends[][2] = {{"<|return|>", "<|call|>"}, {"<|flush|>", "<|calls|>"}};

/* ---- from the pipeline ---- */

/* Each id once, as far as there is room. */
static void
add_end(TeGeneration *generation, int64_t id)
{
	if (id < 0 || id > INT32_MAX || generation->n_end == TE_MAX_ENDS)
		return;
	for (size_t i = 0; i < generation->n_end; i++)
	{
		if (generation->end_ids[i] == id)
			return;
	}
	generation->end_ids[generation->n_end++] = (int32_t) id;
}

/* A number, a list of them, or nothing. */
static void
read_ends(const TeJson *ids, TeGeneration *into)
{
	if (ids != NULL && ids->kind == TE_JSON_INTEGER)
		add_end(into, ids->integer);
	for (uint32_t i = 0; ids != NULL && ids->kind == TE_JSON_ARRAY && i < ids->n; i++)
	{
		if (ids->items[i].kind == TE_JSON_INTEGER)
			add_end(into, ids->items[i].integer);
	}
}

/* Numbers come from files: what is no token is dropped. */
static void
drop_unknown(TeGeneration *generation, int32_t n_vocab)
{
	size_t		n = 0;

	if (generation->begin_id >= n_vocab)
		generation->begin_id = -1;
	for (size_t i = 0; i < generation->n_end; i++)
	{
		if (generation->end_ids[i] < n_vocab)
			generation->end_ids[n++] = generation->end_ids[i];
	}
	generation->n_end = n;
}

void
te_generation_none(TeGeneration *into)
{
	memset(into, 0, sizeof(*into));
	into->begin_id = -1;
	into->by_tokenizer = true;
}

/* Strings of the result point into the JSON. */
void
te_generation_read(const TeJson *pipeline, const TeJson *config, int32_t n_vocab, TeGeneration *into)
{
	const TeJson *json = te_json_get(pipeline, "generation");
	const TeJson *begin = te_json_get(json != NULL ? json : config, "bos_token_id");
	const TeJson *adds = te_json_get(json, "add_bos_token");

	te_generation_none(into);
	if (json != NULL && json->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "\"generation\" must be an object");
	into->chat_template = te_json_str(json, "chat_template", NULL);
	if (into->chat_template.len > MAX_TEMPLATE_BYTES)
		te_throw(TE_ERR_CORRUPT, "a chat template of more than %zu bytes", MAX_TEMPLATE_BYTES);
	into->bos_token = te_json_str(json, "bos_token", NULL);
	into->eos_token = te_json_str(json, "eos_token", NULL);
	if (begin != NULL && begin->kind == TE_JSON_INTEGER && begin->integer >= 0 && begin->integer <= INT32_MAX)
		into->begin_id = (int32_t) begin->integer;
	into->by_tokenizer = adds == NULL;
	into->adds_begin = te_json_bool(json, "add_bos_token", false);
	read_ends(te_json_get(json != NULL ? json : config, "eos_token_id"), into);
	drop_unknown(into, n_vocab);
}

/* ---- with the tokenizer ---- */

static int32_t
special_id(const TeTokenizer *tokenizer, const char *name)
{
	int32_t		id = te_token_id(tokenizer, te_str(name));

	return id >= 0 && te_token_special(tokenizer, id) ? id : -1;
}

static bool
ends_only_a_message(const TeTokenizer *tokenizer, const char *name)
{
	for (size_t i = 0; strcmp(name, "<|end|>") == 0 && i < TE_LENGTH(message_ends); i++)
	{
		if (special_id(tokenizer, message_ends[i][0]) >= 0 && special_id(tokenizer, message_ends[i][1]) >= 0)
			return true;
	}
	return false;
}

void
te_generation_complete(const TeTokenizer *tokenizer, int32_t n_vocab, TeGeneration *generation)
{
	int32_t		before = te_token_before(tokenizer);

	n_vocab = TE_MIN(n_vocab, te_vocab_size(tokenizer));
	drop_unknown(generation, n_vocab);
	if (generation->begin_id < 0 && generation->bos_token.len > 0)
		generation->begin_id = te_token_id(tokenizer, generation->bos_token);
	if (generation->begin_id < 0)
		generation->begin_id = before;
	if (generation->by_tokenizer)
		generation->adds_begin = before >= 0 && before == generation->begin_id;
	if (generation->eos_token.len > 0)
		add_end(generation, te_token_id(tokenizer, generation->eos_token));
	for (size_t i = 0; i < TE_LENGTH(end_names); i++)
	{
		if (!ends_only_a_message(tokenizer, end_names[i]))
			add_end(generation, special_id(tokenizer, end_names[i]));
	}
	drop_unknown(generation, n_vocab);
	generation->adds_begin = generation->adds_begin && generation->begin_id >= 0;
	if (generation->bos_token.data == NULL)
		generation->bos_token = te_token_text(tokenizer, generation->begin_id);
	if (generation->eos_token.data == NULL && generation->n_end > 0)
		generation->eos_token = te_token_text(tokenizer, generation->end_ids[0]);
}

/* ---- from a Hugging Face folder ---- */

/* A special token is a string, or an object with what else tokenizers want to know of it. */
static TeStr
token_text(const TeJson *config, const char *key)
{
	const TeJson *token = te_json_get(config, key);

	if (token != NULL && token->kind == TE_JSON_OBJECT)
		token = te_json_get(token, "content");
	return token != NULL && token->kind == TE_JSON_STRING ? token->string : (TeStr) {NULL, 0};
}

/* One template, or several with names: the one called "default", or the first. */
static TeStr
named_template(const TeJson *templates)
{
	TeStr		first = {NULL, 0};

	if (templates == NULL)
		return first;
	if (templates->kind == TE_JSON_STRING)
		return templates->string;
	for (uint32_t i = 0; templates->kind == TE_JSON_ARRAY && i < templates->n; i++)
	{
		TeStr		text = token_text(&templates->items[i], "template");

		if (te_str_is(token_text(&templates->items[i], "name"), "default"))
			return text;
		if (first.data == NULL)
			first = text;
	}
	return first;
}

static TeStr
folder_template(TeArena *arena, const TeFolder *folder, const char *base, const TeJson *tokenizer)
{
	const TeSource *file = te_folder_file(arena, folder, base, "chat_template.jinja");

	if (file != NULL)
		return te_source_whole(arena, file, MAX_TEMPLATE_BYTES);
	return named_template(te_json_get(tokenizer, "chat_template"));
}

/* The id of an added token of a tokenizer.json; -1: none. */
static int64_t
added_id(const TeJson *tokenizer, TeStr text)
{
	const TeJson *added = te_json_get(tokenizer, "added_tokens");

	for (uint32_t i = 0; text.len > 0 && added != NULL && added->kind == TE_JSON_ARRAY && i < added->n; i++)
	{
		if (te_str_eq(te_json_str(&added->items[i], "content", ""), text))
			return te_json_int(&added->items[i], "id", -1);
	}
	return -1;
}

static void
set_str(TeArena *arena, TeJson *object, const char *key, TeStr value)
{
	if (value.len > 0)
		te_json_set_str(te_json_add(arena, object, key), value);
}

/* The ids that end a text: those of the file, then that of the token. */
static void
set_ends(TeArena *arena, TeJson *object, const TeGeneration *ends)
{
	TeJson	   *list = te_json_new_array(arena, ends->n_end);

	for (size_t i = 0; i < ends->n_end; i++)
		te_json_set_int(&list->items[i], ends->end_ids[i]);
	if (ends->n_end > 0)
		te_json_set_copy(arena, te_json_add(arena, object, "eos_token_id"), list);
}

/* A folder that has nothing of it beside config.json gives no member. */
const TeJson *
te_folder_generation(TeArena *arena, const TeFolder *folder, const char *base, const TeJson *config, const TeJson *tokenizer)
{
	const TeJson *files = te_folder_json(arena, folder, base, "tokenizer_config.json");
	const TeJson *defaults = te_folder_json(arena, folder, base, "generation_config.json");
	TeJson	   *result = te_json_new_object(arena);
	const TeJson *adds = te_json_get(files, "add_bos_token");
	const TeJson *begin = te_json_get(defaults, "bos_token_id");
	const TeJson *end = te_json_get(defaults, "eos_token_id");
	TeStr		bos = token_text(files, "bos_token");
	TeStr		eos = token_text(files, "eos_token");
	int64_t		begin_id = added_id(tokenizer, bos);
	TeGeneration ends;

	if (files == NULL && defaults == NULL && te_folder_file(arena, folder, base, "chat_template.jinja") == NULL)
		return NULL;
	te_generation_none(&ends);
	read_ends(end != NULL ? end : te_json_get(config, "eos_token_id"), &ends);
	add_end(&ends, added_id(tokenizer, eos));
	if (begin == NULL)
		begin = te_json_get(config, "bos_token_id");
	if (begin_id < 0 && begin != NULL && begin->kind == TE_JSON_INTEGER)
		begin_id = begin->integer;
	set_str(arena, result, "chat_template", folder_template(arena, folder, base, files));
	set_str(arena, result, "bos_token", bos);
	set_str(arena, result, "eos_token", eos);
	if (begin_id >= 0)
		te_json_set_int(te_json_add(arena, result, "bos_token_id"), begin_id);
	set_ends(arena, result, &ends);
	if (adds != NULL && adds->kind == TE_JSON_BOOL)
		te_json_set_bool(te_json_add(arena, result, "add_bos_token"), adds->boolean);
	return result->n > 0 ? result : NULL;
}

void
te_generation_to_folder(TeArena *arena, const TeJson *generation, TeJson *tokenizer, TeJson *defaults)
{
	static const char *const of_tokenizer[] = {"bos_token", "eos_token", "add_bos_token", "chat_template"};
	const TeJson *ends = te_json_get(generation, "eos_token_id");

	for (size_t i = 0; i < TE_LENGTH(of_tokenizer); i++)
	{
		const TeJson *member = te_json_get(generation, of_tokenizer[i]);

		if (member != NULL)
			te_json_set_copy(arena, te_json_add(arena, tokenizer, of_tokenizer[i]), member);
	}
	if (te_json_get(generation, "bos_token_id") != NULL)
		te_json_set_copy(arena, te_json_add(arena, defaults, "bos_token_id"), te_json_get(generation, "bos_token_id"));
	if (ends != NULL)
		te_json_set_copy(arena, te_json_add(arena, defaults, "eos_token_id"),
						 ends->kind == TE_JSON_ARRAY && ends->n == 1 ? &ends->items[0] : ends);
}

/* ---- from and to GGUF ---- */

/* The ids that a file names, the first of which is eos_token_id. */
static const char *const gguf_ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};

/* The text of a token by its number. */
static TeStr
gguf_token(const TeJson *meta, int64_t id)
{
	const TeJson *tokens = te_json_get(meta, "tokenizer.ggml.tokens");

	if (tokens == NULL || tokens->kind != TE_JSON_ARRAY || id < 0 || id >= tokens->n || tokens->items[id].kind != TE_JSON_STRING)
		return (TeStr) {NULL, 0};
	return tokens->items[id].string;
}

const TeJson *
te_gguf_generation(TeArena *arena, const TeJson *meta)
{
	TeJson	   *result = te_json_new_object(arena);
	int64_t		begin = te_json_int(meta, "tokenizer.ggml.bos_token_id", -1);
	const TeJson *adds = te_json_get(meta, "tokenizer.ggml.add_bos_token");
	TeGeneration ends;

	te_generation_none(&ends);
	for (size_t i = 0; i < TE_LENGTH(gguf_ends); i++)
		add_end(&ends, te_json_int(meta, gguf_ends[i], -1));
	set_str(arena, result, "chat_template", te_json_str(meta, "tokenizer.chat_template", NULL));
	set_str(arena, result, "bos_token", gguf_token(meta, begin));
	if (ends.n_end > 0)
		set_str(arena, result, "eos_token", gguf_token(meta, ends.end_ids[0]));
	if (begin >= 0)
		te_json_set_int(te_json_add(arena, result, "bos_token_id"), begin);
	set_ends(arena, result, &ends);
	if (adds != NULL && adds->kind == TE_JSON_BOOL)
		te_json_set_bool(te_json_add(arena, result, "add_bos_token"), adds->boolean);
	return result->n > 0 ? result : NULL;
}

/* Over what the tokenizer alone gave. */
void
te_generation_to_gguf(TeArena *arena, const TeGeneration *generation, TeJson *meta)
{
	for (size_t i = 0; i < TE_MIN(generation->n_end, TE_LENGTH(gguf_ends)); i++)
		te_json_set_int(te_json_add(arena, meta, gguf_ends[i]), generation->end_ids[i]);
	if (generation->begin_id >= 0)
		te_json_set_int(te_json_add(arena, meta, "tokenizer.ggml.bos_token_id"), generation->begin_id);
	if (!generation->by_tokenizer)
		te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.add_bos_token"), generation->adds_begin);
	set_str(arena, meta, "tokenizer.chat_template", generation->chat_template);
}
