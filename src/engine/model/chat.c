/*-------------------------------------------------------------------------
 * chat.c
 *	  A conversation as the prompt that the model was trained to continue.
 *
 * The model's chat template makes it (text/template.h) of what transformers gives to one: messages,
 * add_generation_prompt, bos_token and eos_token where the model has them, and tools and documents, which are none.  A
 * model without a template whose tokens say that it was trained on ChatML gets that; any other one was not trained to
 * chat, and a prompt made up for it would only look like an answer's.
 *
 * The prompt has its special tokens written out, so it is tokenized as it is (TeGenerateOptions.bare).  A message that
 * contains the text of such a token is tokenized as that too, as it is wherever these templates are used.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "text/template.h"

#define CHATML_BEGIN "<|im_start|>"
#define CHATML_END "<|im_end|>"

static const char chatml[] =
"{% for message in messages %}{{ '" CHATML_BEGIN "' ~ message.role ~ '\n' ~ message.content ~ '" CHATML_END "\n' }}{% endfor %}"
"{% if add_generation_prompt %}{{ '" CHATML_BEGIN "assistant\n' }}{% endif %}";

/* A member that has to be a string. */
static void
check_string(const TeJson *message, const char *key, uint32_t i)
{
	const TeJson *member = te_json_get(message, key);

	if (member == NULL || member->kind != TE_JSON_STRING)
		te_throw_hint(TE_ERR_INVALID, NULL, "A message is an object such as {\"role\": \"user\", \"content\": \"Hello!\"}.",
					  "message %u has no text \"%s\"", i + 1, key);
}

static void
check_messages(const TeJson *messages)
{
	if (messages->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_INVALID, "messages must be an array");
	if (messages->n == 0)
		te_throw(TE_ERR_INVALID, "there are no messages");
	for (uint32_t i = 0; i < messages->n; i++)
	{
		if (messages->items[i].kind != TE_JSON_OBJECT)
			te_throw(TE_ERR_INVALID, "message %u is no object", i + 1);
		check_string(&messages->items[i], "role", i);
		check_string(&messages->items[i], "content", i);
	}
}

static TeStr
template_of(const TeModel *model)
{
	const TeGeneration *generation = &te_model_pipeline(model)->generation;
	const TeTokenizer *tokenizer = te_model_tokenizer(model);

	if (te_model_head(model)->kind != TE_HEAD_CAUSAL)
		te_throw(TE_ERR_UNSUPPORTED, "the model does not write text");
	if (generation->chat_template.len > 0)
		return generation->chat_template;
	if (te_token_id(tokenizer, TE_STR(CHATML_BEGIN)) < 0 || te_token_id(tokenizer, TE_STR(CHATML_END)) < 0)
		te_throw_hint(TE_ERR_UNSUPPORTED, "It has no chat template, so it was probably not trained on conversations.",
					  "Use generate() with a prompt that the answer continues.", "the model cannot chat");
	return te_str(chatml);
}

static void
add_token(TeArena *arena, TeJson *variables, const char *key, TeStr token)
{
	if (token.len > 0)
		te_json_set_str(te_json_add(arena, variables, key), token);
}

TeStr
te_model_chat_prompt(const TeModel *model, TeArena *arena, const TeJson *messages, bool add_generation_prompt)
{
	const TeGeneration *generation = &te_model_pipeline(model)->generation;
	TeStr		source = template_of(model);
	TeJson	   *variables = te_json_new_object(arena);

	check_messages(messages);
	te_json_set_copy(arena, te_json_add(arena, variables, "messages"), messages);
	te_json_set_bool(te_json_add(arena, variables, "add_generation_prompt"), add_generation_prompt);
	te_json_add(arena, variables, "tools");
	te_json_add(arena, variables, "documents");
	add_token(arena, variables, "bos_token", generation->bos_token);
	add_token(arena, variables, "eos_token", generation->eos_token);
	return te_template_render(arena, source, variables);
}
