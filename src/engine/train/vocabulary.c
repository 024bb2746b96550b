/*-------------------------------------------------------------------------
 * vocabulary.c
 *	  A model with another vocabulary: what it knew of the old words is kept in the rows of the new ones.
 *
 * A smaller vocabulary, learned from the texts that a model is for, makes a smaller model, and one with the words of
 * another language or trade reads them in fewer tokens.  A new word begins as what the model made of it
 * before: the row of the same token where the old vocabulary has it, else the mean of the rows of the
 * tokens that the old tokenizer cuts it into; special tokens take the row of those that do the same in
 * other families ("<s>" of "[CLS]").  What the old tokenizer knows nothing of begins at random.  Training has to follow: words now come in other
 * company than they were learned in.
 *
 * Which tensors have a row a word follows from the shapes that the architecture gives them for the old and the new
 * size; no tensor is known by name.
 *-------------------------------------------------------------------------
 */
#include "base/random.h"
#include "train/train.h"

#define DEVIATION 0.02f			/* of random rows */

/* Tokens that do the same in different families. */
#define N_FAMILIES 3

typedef enum Special
{
	SPECIAL_BEGIN,
	SPECIAL_END,
	SPECIAL_PAD,
	SPECIAL_UNKNOWN,
	SPECIAL_MASK,
	N_SPECIAL
} Special;

static const char *const special_tokens[N_SPECIAL][N_FAMILIES] = {
	[SPECIAL_BEGIN] = {"[CLS]", "<s>", "<bos>"},
	[SPECIAL_END] = {"[SEP]", "</s>", "<eos>"},
	[SPECIAL_PAD] = {"[PAD]", "<pad>", "<|pad|>"},
	[SPECIAL_UNKNOWN] = {"[UNK]", "<unk>", "<|unk|>"},
	[SPECIAL_MASK] = {"[MASK]", "<mask>", "<|mask|>"},
};

typedef struct Transfer
{
	TeArena    *arena;
	TeArena    *scratch;		/* of one word */
	const TeTokenizer *from;
	const TeTokenizer *to;
	int32_t		n_from;
	int32_t		n_to;
	int32_t		unknown;		/* of the old vocabulary, -1: none */
	size_t	   *starts;			/* n_to + 1: the old tokens of each new one */
	int32_t    *tokens;
	size_t		n_tokens;
	size_t		capacity;
} Transfer;

static const TeTokenizer *
compile(TeArena *arena, const TeJson *tokenizer)
{
	TeBuffer	buffer;
	size_t		start;
	char	   *image;

	te_buffer_init(&buffer, arena);
	start = te_tokenizer_compile(arena, tokenizer, &buffer);
	image = te_alloc(arena, TE_MAX(buffer.len - start, (size_t) 256));
	memcpy(image, buffer.data + start, buffer.len - start);
	return te_tokenizer_attach(image, buffer.len - start);
}

static void
add_token(Transfer *transfer, int32_t token)
{
	if (transfer->n_tokens == transfer->capacity)
	{
		size_t		capacity = TE_MAX((size_t) 1024, te_mul_size(transfer->capacity, 2));
		int32_t    *tokens = te_new_array(transfer->arena, int32_t, capacity);

		if (transfer->n_tokens > 0)
			memcpy(tokens, transfer->tokens, transfer->n_tokens * sizeof(int32_t));
		transfer->tokens = tokens;
		transfer->capacity = capacity;
	}
	transfer->tokens[transfer->n_tokens++] = token;
}

/* A tokenizer's token for a purpose, -1: none. */
static int32_t
special_token(const TeTokenizer *tokenizer, Special special)
{
	int32_t		id = -1;

	for (int i = 0; id < 0 && i < N_FAMILIES; i++)
		id = te_token_id(tokenizer, te_str(special_tokens[special][i]));
	return id;
}

/* The old token that does what a special one does, -1: none. */
static int32_t
special_partner(const Transfer *transfer, TeStr token)
{
	for (int special = 0; special < N_SPECIAL; special++)
	{
		for (int i = 0; i < N_FAMILIES; i++)
		{
			if (te_str_is(token, special_tokens[special][i]))
				return special_token(transfer->from, (Special) special);
		}
	}
	return -1;
}

/* What a token stands for in a text: without the marks of where words begin or go on. */
static TeStr
surface(const Transfer *transfer, int32_t id)
{
	TeStr		text = te_decode(transfer->to, transfer->scratch, &id, 1, false);

	if (te_str_starts(text, "##"))
		text = (TeStr) {text.data + 2, text.len - 2};
	while (text.len > 0 && text.data[0] == ' ')
		text = (TeStr) {text.data + 1, text.len - 1};
	return text;
}

/* List the old tokens that a new one is made of. */
static void
list_word(Transfer *transfer, int32_t id)
{
	TeStr		token = te_token_text(transfer->to, id);
	int32_t		same;
	TeStr		text;
	TeToken    *tokens;
	size_t		n;
	size_t		n_untruncated;

	if (token.data == NULL)
		return;
	same = te_token_id(transfer->from, token);
	if (same < 0)
		same = special_partner(transfer, token);
	if (same >= 0)
	{
		add_token(transfer, same);
		return;
	}
	te_arena_reset(transfer->scratch);
	text = surface(transfer, id);
	if (text.len == 0 || !te_utf8_valid(text))
		return;
	tokens = te_encode_alloc(transfer->from, transfer->scratch, text, (TeStr) {NULL, 0}, false, 0, &n, &n_untruncated);
	for (size_t i = 0; i < n; i++)
	{
		if (tokens[i].id != transfer->unknown)
			add_token(transfer, tokens[i].id);
	}
}

static void
list_words(Transfer *transfer)
{
	transfer->starts = te_new_array(transfer->arena, size_t, (size_t) transfer->n_to + 1);
	for (int32_t id = 0; id < transfer->n_to; id++)
	{
		if (id % 1024 == 0)
			te_check_interrupts();
		list_word(transfer, id);
		transfer->starts[id + 1] = transfer->n_tokens;
	}
}

/* A tensor with a row (of a vector: an element) a word, in f32. */
static TeTensorInfo
transfer_rows(const Transfer *transfer, const TeTensorInfo *old, const TeTensorSpec *spec)
{
	TeArena    *arena = transfer->arena;
	TeTensorInfo from = old->dtype == TE_F32 ? *old : te_tensor_converted(arena, old, TE_F32);
	TeTensorInfo to = from;
	size_t		n = old->n_dims == 2 ? (size_t) old->dims[1] : 1;
	float	   *rows = te_alloc(arena, from.bytes);
	float	   *made;
	TeSource   *source = te_new(arena, TeSource);
	uint64_t	stream = te_hash(spec->name, strlen(spec->name));

	te_source_read(from.source, from.offset, rows, from.bytes);
	to.dims[0] = transfer->n_to;
	to.bytes = te_tensor_bytes(&to);
	made = te_alloc0(arena, to.bytes);
	for (int32_t id = 0; id < transfer->n_to; id++)
	{
		size_t		first = transfer->starts[id];
		size_t		count = transfer->starts[id + 1] - first;
		float	   *row = made + (size_t) id * n;

		if (id % 1024 == 0)
			te_check_interrupts();
		for (size_t i = 0; i < count; i++)
		{
			int32_t		token = transfer->tokens[first + i];

			if (token < transfer->n_from)
				te_kernel.axpy(n, 1.0f / (float) count, rows + (size_t) token * n, row);
		}
		for (size_t i = 0; count == 0 && old->n_dims == 2 && i < n; i++)
			row[i] = DEVIATION * (float) te_random_normal(stream, (uint64_t) id * n + i);
	}
	*source = te_source_memory(spec->name, made, to.bytes);
	to.source = source;
	to.offset = 0;
	return to;
}

typedef struct Found
{
	const Transfer *transfer;
	const TeModelDef *def;
	TeDefParts	larger;			/* the same model with a word more */
} Found;

static int64_t
rows_of(const TeTensorSpec *spec)
{
	return spec->role == TE_ROLE_VECTOR ? spec->n_in : spec->n_out;
}

/* Has a tensor a row a word?  That it has as many says little: a hidden layer may be as wide as the vocabulary is large. */
static bool
has_words(const Found *found, const char *name)
{
	const TeTensorSpec *larger = te_specs_find(&found->larger.specs, name);

	return larger != NULL && rows_of(larger) == (int64_t) found->transfer->n_from + 1;
}

static void
add_word(TeArena *arena, Found *found, const TeJson *config)
{
	TeModelDef	def = *found->def;
	TeJson	   *larger = te_json_new_object(arena);

	te_json_set_copy(arena, larger, config);
	te_json_set_int(te_json_add(arena, larger, "vocab_size"), (int64_t) found->transfer->n_from + 1);
	def.config = te_json_text(arena, larger, 0);
	te_def_parts(arena, &def, &found->larger);
}

static const TeTensorInfo *
find_tensor(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const Found *found = from;
	const TeTensorInfo *old = te_tensor_find(&found->def->tensors, te_str(spec->name));
	TeTensorInfo *tensor;

	if (old == NULL || old->n_dims == 0 || old->dims[0] != found->transfer->n_from || !has_words(found, spec->name))
		return old;
	tensor = te_new(arena, TeTensorInfo);
	*tensor = transfer_rows(found->transfer, old, spec);
	return tensor;
}

/* config.json for the new vocabulary; ids of special tokens follow. */
static const TeJson *
vocabulary_config(TeArena *arena, const Transfer *transfer, const TeJson *config)
{
	static const struct
	{
		const char *key;
		Special		special;
	}			keys[] = {{"pad_token_id", SPECIAL_PAD}, {"bos_token_id", SPECIAL_BEGIN}, {"eos_token_id", SPECIAL_END},
		{"cls_token_id", SPECIAL_BEGIN}, {"sep_token_id", SPECIAL_END}};
	TeJson	   *result = te_json_new_object(arena);

	te_json_set_copy(arena, result, config);
	te_json_set_int(te_json_add(arena, result, "vocab_size"), transfer->n_to);
	for (size_t i = 0; i < TE_LENGTH(keys); i++)
	{
		int32_t		id = special_token(transfer->to, keys[i].special);

		if (id >= 0 && te_json_get(config, keys[i].key) != NULL)
			te_json_set_int(te_json_add(arena, result, keys[i].key), id);
	}
	return result;
}

TeModelDef *
te_model_with_vocabulary(TeArena *arena, const TeModelDef *def, const TeJson *tokenizer)
{
	Transfer	transfer = {.arena = arena, .scratch = te_arena_create(arena, "word")};
	TeModelDef *result = te_new(arena, TeModelDef);
	TeDefParts	parts;
	Found		found = {.transfer = &transfer};

	if (def->tokenizer.len == 0)
		te_throw(TE_ERR_MISSING, "the model has no tokenizer");
	def = te_lora_merged(arena, def);
	te_def_parts(arena, def, &parts);
	if (parts.config.vocab_size == 0)
		te_throw(TE_ERR_INVALID, "the model has no vocabulary");
	transfer.from = compile(arena, te_json_parse(arena, def->tokenizer, "tokenizer.json"));
	transfer.to = compile(arena, tokenizer);
	transfer.n_from = parts.config.vocab_size;
	transfer.n_to = te_vocab_size(transfer.to);
	transfer.unknown = special_token(transfer.from, SPECIAL_UNKNOWN);
	list_words(&transfer);
	*result = *def;
	result->config = te_json_text(arena, vocabulary_config(arena, &transfer, parts.config_json), 0);
	te_def_set_tokenizer(arena, result, tokenizer);
	result->tensors = (TeTensorSet) {0};
	found.def = def;
	add_word(arena, &found, parts.config_json);
	te_def_assemble(arena, result, NULL, find_tensor, &found);
	return result;
}
