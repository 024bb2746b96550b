/*-------------------------------------------------------------------------
 * gguf.c
 *	  The tokenizer.ggml.* keys of GGUF files into tokenizer.json, and back.
 *
 * tokenizer.ggml.model names the algorithm; one row each here.  "bert" is
 * WordPiece with the marks turned around: a token that begins a word has
 * U+2581 before it, a continuation has nothing, and special tokens stand as they are.
 * GGUF does not say whether text is lowered: a vocabulary in which no
 * token has a Latin capital is taken for one of lower case.
 *-------------------------------------------------------------------------
 */
#include "text/convert.h"

/* tokenizer.ggml.token_type */
enum
{
	GGUF_NORMAL = 1,
	GGUF_UNKNOWN,
	GGUF_CONTROL,
	GGUF_USER_DEFINED,
	GGUF_UNUSED,
	GGUF_BYTE
};

#define PHANTOM_SPACE "\xe2\x96\x81"

typedef struct Vocabulary
{
	const TeJson *meta;
	TeStr	   *tokens;
	int64_t    *types;			/* GGUF_* */
	size_t		n;
} Vocabulary;

typedef struct ModelRow
{
	const char *name;			/* tokenizer.ggml.model */
	const char *type;			/* of the model in tokenizer.json */
	const TeJson *(*from) (TeArena *arena, Vocabulary *vocabulary);
	void		(*to) (TeArena *arena, const TeJson *tokenizer, TeJson *meta);
} ModelRow;

static void
read_vocabulary(TeArena *arena, const TeJson *meta, Vocabulary *vocabulary)
{
	const TeJson *tokens = te_json_get(meta, "tokenizer.ggml.tokens");
	const TeJson *types = te_json_get(meta, "tokenizer.ggml.token_type");

	if (tokens == NULL || tokens->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "file has no list \"tokenizer.ggml.tokens\"");
	if (types != NULL && (types->kind != TE_JSON_ARRAY || types->n != tokens->n))
		te_throw(TE_ERR_CORRUPT, "\"tokenizer.ggml.token_type\" is not one number a token");
	*vocabulary = (Vocabulary) {meta, te_new_array(arena, TeStr, tokens->n), te_new_array(arena, int64_t, tokens->n), tokens->n};
	for (uint32_t i = 0; i < tokens->n; i++)
	{
		if (tokens->items[i].kind != TE_JSON_STRING)
			te_throw(TE_ERR_CORRUPT, "item %u of \"tokenizer.ggml.tokens\" is no string", i);
		vocabulary->tokens[i] = tokens->items[i].string;
		vocabulary->types[i] = GGUF_NORMAL;
		if (types != NULL && types->items[i].kind == TE_JSON_INTEGER)
			vocabulary->types[i] = types->items[i].integer;
	}
}

/* The token whose id a key gives; id -1 where there is none. */
static TeBuildSpecial
special_by_key(const Vocabulary *vocabulary, const char *key)
{
	int64_t		id = te_json_int(vocabulary->meta, key, -1);

	if (id < 0 || (size_t) id >= vocabulary->n)
		return (TeBuildSpecial) {{"", 0}, -1};
	return (TeBuildSpecial) {vocabulary->tokens[id], id};
}

/* ---- bert ---- */

/* ASCII alone: vocabularies of lower case do hold capitals of rare scripts. */
static bool
has_capitals(TeStr token)
{
	for (size_t i = 0; i < token.len; i++)
		if (token.data[i] >= 'A' && token.data[i] <= 'Z')
			return true;
	return false;
}

static inline bool
in_brackets(TeStr token)
{
	return token.len > 2 && token.data[0] == '[' && token.data[token.len - 1] == ']';
}

/* "▁word" is "word", "ing" is "##ing". */
static TeStr
restore_marks(TeArena *arena, TeStr token, bool is_special)
{
	char	   *text;

	if (te_str_starts(token, PHANTOM_SPACE))
		return (TeStr) {token.data + 3, token.len - 3};
	if (is_special)
		return token;
	text = te_alloc(arena, token.len + 2);
	memcpy(text, "##", 2);
	memcpy(text + 2, token.data, token.len);
	return (TeStr) {text, token.len + 2};
}

static const TeJson *
from_bert(TeArena *arena, Vocabulary *vocabulary)
{
	TeBertOptions options = {.lower = true,.chinese = true,.strip = -1};

	for (size_t i = 0; i < vocabulary->n; i++)
	{
		TeStr		token = vocabulary->tokens[i];
		bool		is_special = vocabulary->types[i] == GGUF_CONTROL || vocabulary->types[i] == GGUF_UNKNOWN ||
			in_brackets(token);

		if (!is_special && has_capitals(token))
			options.lower = false;
		vocabulary->tokens[i] = restore_marks(arena, token, is_special);
	}
	options.lower = te_json_bool(vocabulary->meta, "tokenizer.ggml.normalizer.lowercase", options.lower);
	options.cls = special_by_key(vocabulary, "tokenizer.ggml.cls_token_id");
	if (options.cls.id < 0)
		options.cls = special_by_key(vocabulary, "tokenizer.ggml.bos_token_id");
	/* The key is misspelt in the format */
	options.sep = special_by_key(vocabulary, "tokenizer.ggml.seperator_token_id");
	if (options.sep.id < 0)
		options.sep = special_by_key(vocabulary, "tokenizer.ggml.eos_token_id");
	options.unk = special_by_key(vocabulary, "tokenizer.ggml.unknown_token_id");
	options.pad = special_by_key(vocabulary, "tokenizer.ggml.padding_token_id");
	options.mask = special_by_key(vocabulary, "tokenizer.ggml.mask_token_id");
	return te_build_bert(arena, vocabulary->tokens, vocabulary->n, &options);
}

/* ---- writing ---- */

/* Tokens by id, of the model and the added ones; those that are missing are named after their id. */
static void
list_tokens(TeArena *arena, const TeJson *tokenizer, Vocabulary *vocabulary)
{
	TeArena    *work = te_arena_create(arena, "vocabulary");
	TeBuffer	image;
	const TeTokenizer *compiled;
	size_t		offset;

	te_buffer_init(&image, work);
	offset = te_tokenizer_compile(work, tokenizer, &image);
	compiled = te_tokenizer_attach(image.data + offset, image.len - offset);
	vocabulary->n = (size_t) te_vocab_size(compiled);
	vocabulary->tokens = te_new_array(arena, TeStr, vocabulary->n);
	vocabulary->types = te_new_array(arena, int64_t, vocabulary->n);
	for (size_t i = 0; i < vocabulary->n; i++)
	{
		TeStr		token = te_token_text(compiled, (int32_t) i);

		vocabulary->types[i] = token.data != NULL ? GGUF_NORMAL : GGUF_UNUSED;
		vocabulary->tokens[i] = token.data != NULL ? te_str_copy(arena, token) :
			te_str(te_format(arena, "[PAD%zu]", i));
	}
	te_arena_destroy(work);
}

static void
mark_added(const TeJson *tokenizer, Vocabulary *vocabulary)
{
	const TeJson *added = te_json_get(tokenizer, "added_tokens");

	for (uint32_t i = 0; added != NULL && added->kind == TE_JSON_ARRAY && i < added->n; i++)
	{
		int64_t		id = te_json_int(&added->items[i], "id", -1);

		if (id >= 0 && (size_t) id < vocabulary->n)
			vocabulary->types[id] = te_json_bool(&added->items[i], "special", false) ? GGUF_CONTROL : GGUF_USER_DEFINED;
	}
}

static void
put_array(TeArena *arena, TeJson *meta, const char *key, TeJson *array)
{
	TeJson	   *node = te_json_add(arena, meta, key);

	node->kind = TE_JSON_ARRAY;
	node->n = array->n;
	node->items = array->items;
}

static void
put_vocabulary(TeArena *arena, TeJson *meta, const Vocabulary *vocabulary)
{
	TeJson	   *tokens = te_json_new_array(arena, vocabulary->n);
	TeJson	   *types = te_json_new_array(arena, vocabulary->n);

	for (size_t i = 0; i < vocabulary->n; i++)
	{
		te_json_set_str(&tokens->items[i], vocabulary->tokens[i]);
		te_json_set_int(&types->items[i], vocabulary->types[i]);
	}
	put_array(arena, meta, "tokenizer.ggml.tokens", tokens);
	put_array(arena, meta, "tokenizer.ggml.token_type", types);
}

/* The id of a token that is written under a key, where the vocabulary has it. */
static void
put_special(TeArena *arena, TeJson *meta, const Vocabulary *vocabulary, const char *key, TeStr token)
{
	for (size_t i = 0; i < vocabulary->n; i++)
		if (token.len > 0 && te_str_eq(vocabulary->tokens[i], token))
			te_json_set_int(te_json_add(arena, meta, key), (int64_t) i);
}

/* The special token at a place of the post-processor's template for one text: 0 first, 1 last. */
static TeStr
template_token(const TeJson *tokenizer, bool last)
{
	const TeJson *post = te_json_get(tokenizer, "post_processor");
	const TeJson *single = te_json_get(post, "single");
	const TeJson *fixed = te_json_get(post, last ? "sep" : "cls");

	if (fixed != NULL && fixed->kind == TE_JSON_ARRAY && fixed->n > 0 && fixed->items[0].kind == TE_JSON_STRING)
		return fixed->items[0].string;
	if (single == NULL || single->kind != TE_JSON_ARRAY || single->n == 0)
		return (TeStr) {NULL, 0};
	return te_json_str(te_json_get(&single->items[last ? single->n - 1 : 0], "SpecialToken"), "id", "");
}

static void
to_bert(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	Vocabulary	vocabulary;
	TeStr		prefix = te_json_str(te_json_get(tokenizer, "model"), "continuing_subword_prefix", "##");

	list_tokens(arena, tokenizer, &vocabulary);
	mark_added(tokenizer, &vocabulary);
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.cls_token_id", template_token(tokenizer, false));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.bos_token_id", template_token(tokenizer, false));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.seperator_token_id", template_token(tokenizer, true));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.eos_token_id", template_token(tokenizer, true));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.unknown_token_id",
				te_json_str(te_json_get(tokenizer, "model"), "unk_token", "[UNK]"));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.padding_token_id", TE_STR("[PAD]"));
	put_special(arena, meta, &vocabulary, "tokenizer.ggml.mask_token_id", TE_STR("[MASK]"));
	for (size_t i = 0; i < vocabulary.n; i++)
	{
		TeStr	   *token = &vocabulary.tokens[i];

		if (vocabulary.types[i] != GGUF_NORMAL || in_brackets(*token))
			continue;
		if (token->len > prefix.len && memcmp(token->data, prefix.data, prefix.len) == 0)
			*token = (TeStr) {token->data + prefix.len, token->len - prefix.len};
		else
			*token = te_str(te_format(arena, PHANTOM_SPACE "%.*s", (int) token->len, token->data));
	}
	put_vocabulary(arena, meta, &vocabulary);
}

static const ModelRow model_rows[] =
{
	{"bert", "WordPiece", from_bert, to_bert},
};

const TeJson *
te_tokenizer_from_gguf(TeArena *arena, const TeJson *meta)
{
	TeStr		model = te_json_str(meta, "tokenizer.ggml.model", "");
	Vocabulary	vocabulary;

	for (size_t i = 0; i < TE_LENGTH(model_rows); i++)
		if (te_str_is(model, model_rows[i].name))
		{
			read_vocabulary(arena, meta, &vocabulary);
			return model_rows[i].from(arena, &vocabulary);
		}
	te_throw(TE_ERR_UNSUPPORTED, "tokenizer \"%.*s\" (tokenizer.ggml.model) is not supported", TE_STR_ARGS(model));
}

void
te_tokenizer_to_gguf(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	TeStr		type = te_json_str(te_json_get(tokenizer, "model"), "type", "");

	for (size_t i = 0; i < TE_LENGTH(model_rows); i++)
		if (te_str_is(type, model_rows[i].type))
		{
			te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.model"), te_str(model_rows[i].name));
			model_rows[i].to(arena, tokenizer, meta);
			return;
		}
	te_throw(TE_ERR_UNSUPPORTED, "GGUF has no tokenizer of type \"%.*s\"", TE_STR_ARGS(type));
}
