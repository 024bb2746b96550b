/*-------------------------------------------------------------------------
 * compile.c
 *	  tokenizer.json into a position-independent image, and attaching to one.
 *
 * The order matters: the normalizer comes first, since added tokens may be
 * looked for in normalized text and are then normalized here, by running the
 * part of the image that is there; the model comes before the added
 * tokens, since those that the vocabulary knows have its ids.
 *
 * "truncation" and "padding" of the file are not read: both are the caller's.
 *-------------------------------------------------------------------------
 */
#include "text/build.h"
#include "text/tokenizer.h"

#define IMAGE_ALIGN 8
#define MOST_STEPS 256			/* of a program */

/* Copies the data; data that has just been added may move. */
uint32_t
te_image_add(TeCompiler *compiler, const void *data, size_t bytes)
{
	size_t		offset = TE_ALIGN(compiler->into->len - compiler->base, IMAGE_ALIGN);
	size_t		gap = offset - (compiler->into->len - compiler->base);

	if (bytes > UINT32_MAX / 2 || offset > UINT32_MAX / 2)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer is too large");
	memset(te_buffer_extend(compiler->into, gap), 0, gap);
	te_buffer_add(compiler->into, data, bytes);
	return (uint32_t) offset;
}

/* Not aligned: strings are most of an image. */
TeImageStr
te_image_add_str(TeCompiler *compiler, TeStr s)
{
	size_t		offset = compiler->into->len - compiler->base;

	if (s.len > UINT32_MAX / 2 || offset > UINT32_MAX / 2)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer is too large");
	te_buffer_add(compiler->into, s.data, s.len);
	return (TeImageStr) {(uint32_t) offset, (uint32_t) s.len};
}

/* For what is compared or put character by character. */
TeImageChars
te_image_add_chars(TeCompiler *compiler, TeStr s)
{
	const char *p = s.data;
	const char *end = p + s.len;
	uint32_t   *chars = te_new_array(compiler->arena, uint32_t, s.len);
	uint32_t	n = 0;

	while (p < end)
	{
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			te_throw(TE_ERR_CORRUPT, "tokenizer: a string of the %s is not valid UTF-8", compiler->part);
		chars[n++] = (uint32_t) c;
	}
	return (TeImageChars) {te_image_add(compiler, chars, n * sizeof(uint32_t)), n};
}

/* Throws naming the member. */
uint32_t
te_char_member(TeCompiler *compiler, const TeJson *node, const char *key)
{
	TeStr		s = te_json_str(node, key, "");
	const char *p = s.data;
	int32_t		c = te_utf8_next(&p, s.data + s.len);

	if (c < 0 || p != s.data + s.len)
		te_throw(TE_ERR_CORRUPT, "tokenizer: \"%s\" of the %s is not one character", key, compiler->part);
	return (uint32_t) c;
}

/* The header is copied in, as the functions that read an image look there. */
const TeTokenizer *
te_image_so_far(TeCompiler *compiler)
{
	char	   *image = compiler->into->data + compiler->base;

	memcpy(image, &compiler->header, sizeof(TeTokenizer));
	return (const TeTokenizer *) image;
}

/* Appends a step to the program that is being compiled. */
void
te_emit(TeCompiler *compiler, uint32_t kind, const void *param, size_t bytes)
{
	TeStep	   *steps = te_new_array(compiler->arena, TeStep, compiler->n_steps + 1);

	if (compiler->n_steps > 0)
		memcpy(steps, compiler->steps, compiler->n_steps * sizeof(TeStep));
	steps[compiler->n_steps].kind = kind;
	steps[compiler->n_steps].param = bytes > 0 ? te_image_add(compiler, param, bytes) : 0;
	compiler->steps = steps;
	compiler->n_steps++;
}

/* For rows whose behaviour the type alone tells. */
void
te_compile_plain(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	te_emit(compiler, kind, NULL, 0);
}

/* By the row of this name; throws TE_ERR_UNSUPPORTED where there is none. */
static void
compile_typed(TeCompiler *compiler, const TeRow *const *table, const TeJson *node, TeStr type)
{
	if (compiler->n_steps > MOST_STEPS)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: too many components in the %s", compiler->part);
	for (uint32_t i = 0; table[i] != NULL; i++)
	{
		if (!te_str_is(type, table[i]->type))
			continue;
		table[i]->compile(compiler, node, i);
		return;
	}
	te_throw(TE_ERR_UNSUPPORTED, "tokenizer: %s \"%.*s\" is not supported", compiler->part, TE_STR_ARGS(type));
}

/* The usual case: the component names its type. */
void
te_compile_node(TeCompiler *compiler, const TeRow *const *table, const TeJson *node)
{
	compile_typed(compiler, table, node, te_json_str(node, "type", ""));
}

/* A Sequence is flattened: its members become steps of the same program. */
void
te_compile_list(TeCompiler *compiler, const TeRow *const *table, const TeJson *list)
{
	if (list == NULL || list->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: a Sequence of the %s has no list", compiler->part);
	for (uint32_t i = 0; i < list->n; i++)
		te_compile_node(compiler, table, &list->items[i]);
}

/* One of the programs; an absent component is an empty one. */
static TeProgram
compile_program(TeCompiler *compiler, const TeRow *const *table, const TeJson *tokenizer, const char *key,
				const char *part)
{
	const TeJson *node = te_json_get(tokenizer, key);
	TeProgram	program;

	compiler->part = part;
	compiler->steps = NULL;
	compiler->n_steps = 0;
	if (node != NULL)
		te_compile_node(compiler, table, node);
	program.n = (uint32_t) compiler->n_steps;
	program.steps = te_image_add(compiler, compiler->steps, compiler->n_steps * sizeof(TeStep));
	return program;
}

/* Older files leave it out; then the members tell. */
TeStr
te_model_type(const TeJson *model)
{
	const TeJson *vocab = te_json_get(model, "vocab");

	if (te_json_get(model, "type") != NULL)
		return te_json_str(model, "type", "");
	if (te_json_get(model, "merges") != NULL)
		return TE_STR("BPE");
	if (te_json_get(model, "max_input_chars_per_word") != NULL)
		return TE_STR("WordPiece");
	return vocab != NULL && vocab->kind == TE_JSON_ARRAY ? TE_STR("Unigram") : TE_STR("WordLevel");
}

/* The vocabulary comes first, as models look up tokens while they are compiled. */
static void
compile_model(TeCompiler *compiler, const TeJson *tokenizer)
{
	const TeJson *model = te_json_get(tokenizer, "model");

	if (model == NULL || model->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "tokenizer: there is no \"model\"");
	compiler->part = "model";
	compiler->steps = NULL;
	compiler->n_steps = 0;
	te_vocab_compile(compiler, te_json_get(model, "vocab"));
	compile_typed(compiler, te_models, model, te_model_type(model));
	compiler->header.model = compiler->steps[0];
}

uint32_t
te_tokenizer_version(void)
{
	const uint32_t parts[] = {
		TE_TOKENIZER_VERSION, sizeof(TeTokenizer), sizeof(TeVocab), sizeof(TeVocabSlot), sizeof(TeAdded), sizeof(TePost),
		sizeof(TeTemplatePart), sizeof(TeTrieUnit),
	};

	return (uint32_t) te_hash(parts, sizeof(parts));
}

/* The header is written last, when all offsets are known; a zeroed one keeps its place. */
size_t
te_tokenizer_compile(TeArena *scratch, const TeJson *tokenizer, TeBuffer *into)
{
	TeCompiler	compiler = {.arena = te_arena_create(scratch, "tokenizer"),.into = into};
	TeTokenizer *header = &compiler.header;
	size_t		gap = TE_ALIGN(into->len, TE_CACHE_LINE) - into->len;
	char	   *image;

	memset(te_buffer_extend(into, gap), 0, gap);
	compiler.base = into->len;
	memset(te_buffer_extend(into, sizeof(TeTokenizer)), 0, sizeof(TeTokenizer));
	header->normalizer = compile_program(&compiler, te_normalizers, tokenizer, "normalizer", "normalizer");
	header->pre_tokenizer = compile_program(&compiler, te_pre_tokenizers, tokenizer, "pre_tokenizer", "pre-tokenizer");
	header->decoder = compile_program(&compiler, te_decoders, tokenizer, "decoder", "decoder");
	header->has_decoder = te_json_get(tokenizer, "decoder") != NULL;
	header->patterns = te_image_add(&compiler, compiler.patterns, header->n_patterns * sizeof(TeImageStr));
	compile_model(&compiler, tokenizer);
	te_added_compile(&compiler, te_json_get(tokenizer, "added_tokens"));
	te_post_compile(&compiler, te_json_get(tokenizer, "post_processor"));

	te_image_add(&compiler, NULL, 0);
	header->magic = TE_TOKENIZER_MAGIC;
	header->version = te_tokenizer_version();
	header->bytes = (uint32_t) (into->len - compiler.base);
	image = into->data + compiler.base;
	header->digest = te_hash(image + sizeof(TeTokenizer), header->bytes - sizeof(TeTokenizer));
	memcpy(image, header, sizeof(TeTokenizer));
	te_arena_destroy(compiler.arena);
	return compiler.base;
}

/* The offset of a section must lie in the image; what is in it was checked as it was built. */
static bool
section_fits(const TeTokenizer *tokenizer, uint32_t at, uint64_t bytes)
{
	return at <= tokenizer->bytes && bytes <= tokenizer->bytes - at;
}

/* A few comparisons, whatever the size of the vocabulary. */
const TeTokenizer *
te_tokenizer_attach(const void *image, size_t len)
{
	const TeTokenizer *tokenizer = image;

	if (len < sizeof(TeTokenizer) || tokenizer->magic != TE_TOKENIZER_MAGIC)
		te_throw(TE_ERR_CORRUPT, "tokenizer image has no header");
	if (tokenizer->version != te_tokenizer_version())
		te_throw(TE_ERR_CORRUPT, "tokenizer image has the layout of another version");
	if (tokenizer->bytes > len || ((uintptr_t) image & (IMAGE_ALIGN - 1)) != 0 ||
		!section_fits(tokenizer, tokenizer->vocab.tokens, (uint64_t) tokenizer->vocab.n_ids * sizeof(TeImageStr)) ||
		!section_fits(tokenizer, tokenizer->vocab.slots, ((uint64_t) tokenizer->vocab.slot_mask + 1) * sizeof(TeVocabSlot)) ||
		!section_fits(tokenizer, tokenizer->added, (uint64_t) tokenizer->n_added * sizeof(TeAdded)) ||
		!section_fits(tokenizer, tokenizer->patterns, (uint64_t) tokenizer->n_patterns * sizeof(TeImageStr)) ||
		!section_fits(tokenizer, tokenizer->normalizer.steps, (uint64_t) tokenizer->normalizer.n * sizeof(TeStep)) ||
		!section_fits(tokenizer, tokenizer->pre_tokenizer.steps, (uint64_t) tokenizer->pre_tokenizer.n * sizeof(TeStep)) ||
		!section_fits(tokenizer, tokenizer->decoder.steps, (uint64_t) tokenizer->decoder.n * sizeof(TeStep)))
		te_throw(TE_ERR_CORRUPT, "tokenizer image is damaged");
	return tokenizer;
}
