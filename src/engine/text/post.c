/*-------------------------------------------------------------------------
 * post.c
 *	  Post-processors: where special tokens and type ids go, compiled to two
 *	  templates, for a text alone and for a pair.
 *
 * BertProcessing and RobertaProcessing are fixed templates; ByteLevel and
 * RobertaProcessing may trim white space from offsets; Sequence puts such
 * things together.  encode.c fills the templates in.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

#define MOST_PARTS 64

typedef struct Parts
{
	TeTemplatePart parts[MOST_PARTS];
	uint32_t	n;
	uint32_t	added;
} Parts;

typedef struct PostRow
{
	const char *type;
	void		(*compile) (TeCompiler *compiler, const TeJson *node);
} PostRow;

/* Parts are few: a file with more is not a tokenizer's. */
static void
add_part(Parts *parts, int32_t id, int32_t type_id)
{
	if (parts->n == MOST_PARTS)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: post-processor has more than %d parts", MOST_PARTS);
	parts->parts[parts->n++] = (TeTemplatePart) {id, type_id};
	parts->added += id >= 0;
}

/* Ids of special tokens are checked: a model looks them up in its embeddings. */
static TeTemplate
finish(TeCompiler *compiler, const Parts *parts)
{
	for (uint32_t i = 0; i < parts->n; i++)
		if (parts->parts[i].id >= 0 && (uint32_t) parts->parts[i].id >= compiler->header.vocab_size)
			te_throw(TE_ERR_CORRUPT, "tokenizer: special token %d of the post-processor is not in the vocabulary",
					 parts->parts[i].id);
	return (TeTemplate) {te_image_add(compiler, parts->parts, parts->n * sizeof(TeTemplatePart)), parts->n, parts->added};
}

/* At most one component may set them. */
static void
set_templates(TeCompiler *compiler, const Parts *single, const Parts *pair)
{
	TePost	   *post = &compiler->header.post;

	if (post->single.n > 0)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: more than one post-processor adds special tokens");
	post->single = finish(compiler, single);
	post->pair = finish(compiler, pair);
}

/* Trimming is counted, as the reference trims once for each component that says so. */
static void
add_trim(TeCompiler *compiler, const TeJson *node)
{
	TePost	   *post = &compiler->header.post;

	if (!te_json_bool(node, "trim_offsets", true))
		return;
	if (post->n_trims == 8)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: too many post-processors");
	if (te_json_bool(node, "add_prefix_space", true))
		post->prefix_space |= (uint8_t) (1 << post->n_trims);
	post->n_trims++;
}

/* A member such as "sep": ["[SEP]", 102]. */
static int32_t
token_of(const TeJson *node, const char *key)
{
	const TeJson *pair = te_json_get(node, key);

	if (pair == NULL || pair->kind != TE_JSON_ARRAY || pair->n != 2 || pair->items[1].kind != TE_JSON_INTEGER ||
		pair->items[1].integer < 0 || pair->items[1].integer > INT32_MAX)
		te_throw(TE_ERR_CORRUPT, "tokenizer: \"%s\" of the post-processor is no pair of token and id", key);
	return (int32_t) pair->items[1].integer;
}

/* [CLS] A [SEP], [CLS] A [SEP] B [SEP]. */
static void
compile_bert(TeCompiler *compiler, const TeJson *node)
{
	int32_t		cls = token_of(node, "cls");
	int32_t		sep = token_of(node, "sep");
	Parts		single = {.parts = {{cls, 0}, {TE_PART_TEXT, TE_KEEP_TYPE}, {sep, 0}},.n = 3,.added = 2};
	Parts		pair = single;

	add_part(&pair, TE_PART_PAIR, TE_KEEP_TYPE);
	add_part(&pair, sep, 1);
	set_templates(compiler, &single, &pair);
}

/* All type ids are 0. */
static void
compile_roberta(TeCompiler *compiler, const TeJson *node)
{
	int32_t		cls = token_of(node, "cls");
	int32_t		sep = token_of(node, "sep");
	Parts		single = {.parts = {{cls, 0}, {TE_PART_TEXT, 0}, {sep, 0}},.n = 3,.added = 2};
	Parts		pair = single;

	add_trim(compiler, node);
	add_part(&pair, sep, 0);
	add_part(&pair, TE_PART_PAIR, 0);
	add_part(&pair, sep, 0);
	set_templates(compiler, &single, &pair);
}

/* A special token of a template may stand for several ids. */
static void
add_special(Parts *parts, const TeJson *tokens, TeStr name, int32_t type_id)
{
	const TeJson *ids = NULL;

	for (uint32_t i = 0; tokens != NULL && tokens->kind == TE_JSON_OBJECT && i < tokens->n; i++)
		if (te_str_eq(tokens->items[i].key, name))
			ids = te_json_get(&tokens->items[i], "ids");
	if (ids == NULL || ids->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: special token \"%.*s\" of the post-processor has no ids", TE_STR_ARGS(name));
	for (uint32_t i = 0; i < ids->n; i++)
	{
		const TeJson *id = &ids->items[i];

		if (id->kind != TE_JSON_INTEGER || id->integer < 0 || id->integer > INT32_MAX)
			te_throw(TE_ERR_CORRUPT, "tokenizer: special token \"%.*s\" of the post-processor has a bad id", TE_STR_ARGS(name));
		add_part(parts, (int32_t) id->integer, type_id);
	}
}

/* A template of the file; the single one knows no second text. */
static void
compile_parts(const TeJson *node, const char *key, bool is_pair, Parts *parts)
{
	const TeJson *list = te_json_get(node, key);

	if (list == NULL || list->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: post-processor has no template \"%s\"", key);
	for (uint32_t i = 0; i < list->n; i++)
	{
		const TeJson *sequence = te_json_get(&list->items[i], "Sequence");
		const TeJson *special = te_json_get(&list->items[i], "SpecialToken");
		const TeJson *part = sequence != NULL ? sequence : special;
		TeStr		id = te_json_str(part, "id", "");
		int32_t		type_id = (int32_t) te_json_int_range(part, "type_id", 0, 0, INT32_MAX);

		if (part == NULL || (sequence != NULL && !te_str_is(id, "A") && !(is_pair && te_str_is(id, "B"))))
			te_throw(TE_ERR_CORRUPT, "tokenizer: part %u of template \"%s\" is not understood", i, key);
		if (sequence != NULL)
			add_part(parts, te_str_is(id, "A") ? TE_PART_TEXT : TE_PART_PAIR, type_id);
		else
			add_special(parts, te_json_get(node, "special_tokens"), id, type_id);
	}
}

/* Type ids are the template's, for texts too. */
static void
compile_template(TeCompiler *compiler, const TeJson *node)
{
	Parts		single = {.n = 0};
	Parts		pair = {.n = 0};

	compile_parts(node, "single", false, &single);
	compile_parts(node, "pair", true, &pair);
	set_templates(compiler, &single, &pair);
}

/* Adds nothing, but trims. */
static void
compile_byte_level(TeCompiler *compiler, const TeJson *node)
{
	add_trim(compiler, node);
}

static void compile_sequence(TeCompiler *compiler, const TeJson *node);

static const PostRow post_rows[] =
{
	{"TemplateProcessing", compile_template},
	{"BertProcessing", compile_bert},
	{"RobertaProcessing", compile_roberta},
	{"ByteLevel", compile_byte_level},
	{"Sequence", compile_sequence},
};

/* By the row of its type. */
static void
compile_one(TeCompiler *compiler, const TeJson *node)
{
	TeStr		type = te_json_str(node, "type", "");

	for (size_t i = 0; i < TE_LENGTH(post_rows); i++)
		if (te_str_is(type, post_rows[i].type))
		{
			post_rows[i].compile(compiler, node);
			return;
		}
	te_throw(TE_ERR_UNSUPPORTED, "tokenizer: post-processor \"%.*s\" is not supported", TE_STR_ARGS(type));
}

/* One after the other, into the same two templates. */
static void
compile_sequence(TeCompiler *compiler, const TeJson *node)
{
	const TeJson *list = te_json_get(node, "processors");

	if (list == NULL || list->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: a Sequence of post-processors has no list");
	for (uint32_t i = 0; i < list->n; i++)
		compile_one(compiler, &list->items[i]);
}

/* Without a post-processor the texts stand one after the other. */
void
te_post_compile(TeCompiler *compiler, const TeJson *node)
{
	Parts		single = {.parts = {{TE_PART_TEXT, TE_KEEP_TYPE}},.n = 1};
	Parts		pair = single;

	add_part(&pair, TE_PART_PAIR, TE_KEEP_TYPE);
	if (node != NULL)
		compile_one(compiler, node);
	if (compiler->header.post.single.n == 0)
		set_templates(compiler, &single, &pair);
}

int32_t
te_token_before(const TeTokenizer *tokenizer)
{
	const TeTemplate *single = &tokenizer->post.single;
	const TeTemplatePart *parts = te_at(tokenizer, single->parts);

	return single->n > 0 && parts[0].id >= 0 ? parts[0].id : -1;
}
