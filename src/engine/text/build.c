/*-------------------------------------------------------------------------
 * build.c
 *	  Putting together a tokenizer.json.  See build.h.
 *-------------------------------------------------------------------------
 */
#include "text/build.h"

static TeJson *
slot(TeArena *arena, TeJson *object, const char *key)
{
	return te_json_add(arena, object, key);
}

/* A member of an object that is already there; adding others may have moved it. */
static TeJson *
member(TeJson *object, const char *key)
{
	for (uint32_t i = 0; i < object->n; i++)
		if (te_str_is(object->items[i].key, key))
			return &object->items[i];
	return NULL;
}

void
te_build_start(TeTokenizerBuild *build, TeArena *arena)
{
	static const char *const keys[] = {"version", "truncation", "padding", "added_tokens", "normalizer",
	"pre_tokenizer", "post_processor", "decoder", "model"};
	TeJson	   *root = te_json_new_object(arena);

	for (size_t i = 0; i < TE_LENGTH(keys); i++)
		slot(arena, root, keys[i]);
	te_json_set_str(member(root, "version"), TE_STR("1.0"));
	*build = (TeTokenizerBuild) {.arena = arena,.root = root,
		.added = member(root, "added_tokens"),.normalizer = member(root, "normalizer"),
		.pre_tokenizer = member(root, "pre_tokenizer"),.post_processor = member(root, "post_processor"),
	.decoder = member(root, "decoder"),.model = member(root, "model")};
	te_json_set_copy(arena, build->added, te_json_new_array(arena, 0));
	te_json_set_copy(arena, build->model, te_json_new_object(arena));
}

void
te_build_set(TeTokenizerBuild *build, TeJson *into, const char *json)
{
	char	   *text = te_cstring(build->arena, te_str(json));

	for (char *p = text; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	te_json_set_copy(build->arena, into, te_json_parse(build->arena, te_str(text), "a built-in component"));
}

void
te_build_str(TeTokenizerBuild *build, TeJson *object, const char *key, TeStr value)
{
	te_json_set_str(slot(build->arena, object, key), value);
}

void
te_build_int(TeTokenizerBuild *build, TeJson *object, const char *key, int64_t value)
{
	te_json_set_int(slot(build->arena, object, key), value);
}

void
te_build_bool(TeTokenizerBuild *build, TeJson *object, const char *key, bool value)
{
	te_json_set_bool(slot(build->arena, object, key), value);
}

/* Built as an array first: adding members one by one would look each of them up. */
TeJson *
te_build_vocab(TeArena *arena, const TeStr *tokens, size_t n)
{
	TeJson	   *vocab = te_json_new_array(arena, n);

	for (size_t i = 0; i < n; i++)
	{
		te_json_set_int(&vocab->items[i], (int64_t) i);
		vocab->items[i].key = tokens[i];
	}
	vocab->kind = TE_JSON_OBJECT;
	return vocab;
}

void
te_build_added(TeTokenizerBuild *build, const TeBuildAdded *added, size_t n)
{
	TeJson	   *list = te_json_new_array(build->arena, n);

	for (size_t i = 0; i < n; i++)
	{
		TeJson	   *token = te_json_new_object(build->arena);

		te_build_int(build, token, "id", added[i].id);
		te_build_str(build, token, "content", added[i].content);
		te_build_bool(build, token, "single_word", false);
		te_build_bool(build, token, "lstrip", added[i].lstrip);
		te_build_bool(build, token, "rstrip", false);
		te_build_bool(build, token, "normalized", added[i].normalized);
		te_build_bool(build, token, "special", added[i].special);
		list->items[i] = *token;
	}
	build->added->kind = TE_JSON_ARRAY;
	build->added->n = (uint32_t) n;
	build->added->items = list->items;
}

/* ---- templates ---- */

/* {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": ...} */
static void
add_part(TeTokenizerBuild *build, TeJson *list, const char *kind, TeStr id, int type_id)
{
	TeJson	   *part = te_json_new_object(build->arena);
	TeJson	   *body = te_json_new_object(build->arena);

	te_build_str(build, body, "id", id);
	te_build_int(build, body, "type_id", type_id);
	te_json_set_copy(build->arena, slot(build->arena, part, kind), body);
	list->items[list->n++] = *part;
}

static void
add_special(TeTokenizerBuild *build, TeJson *list, TeBuildSpecial special, int type_id)
{
	if (special.id >= 0)
		add_part(build, list, "SpecialToken", special.token, type_id);
}

/* The entry of "special_tokens" that tells a token's id. */
static void
add_ids(TeTokenizerBuild *build, TeJson *specials, TeBuildSpecial special)
{
	TeJson	   *entry = te_json_new_object(build->arena);
	TeJson	   *ids = te_json_new_array(build->arena, 1);
	TeJson	   *tokens = te_json_new_array(build->arena, 1);

	if (special.id < 0)
		return;
	te_json_set_int(&ids->items[0], special.id);
	te_json_set_str(&tokens->items[0], special.token);
	te_build_str(build, entry, "id", special.token);
	te_json_set_copy(build->arena, slot(build->arena, entry, "ids"), ids);
	te_json_set_copy(build->arena, slot(build->arena, entry, "tokens"), tokens);
	te_json_set_copy(build->arena, slot(build->arena, specials, te_cstring(build->arena, special.token)), entry);
}

void
te_build_template(TeTokenizerBuild *build, TeBuildSpecial first, TeBuildSpecial middle, TeBuildSpecial before_pair,
				  TeBuildSpecial end, int pair_type)
{
	TeArena    *arena = build->arena;
	TeJson	   *single = te_json_new_array(arena, 8);
	TeJson	   *pair = te_json_new_array(arena, 8);
	TeJson	   *specials = te_json_new_object(arena);
	TeJson	   *post = te_json_new_object(arena);

	single->n = pair->n = 0;
	add_special(build, single, first, 0);
	add_part(build, single, "Sequence", TE_STR("A"), 0);
	add_special(build, single, end, 0);
	add_special(build, pair, first, 0);
	add_part(build, pair, "Sequence", TE_STR("A"), 0);
	add_special(build, pair, middle, 0);
	add_special(build, pair, before_pair, pair_type);
	add_part(build, pair, "Sequence", TE_STR("B"), pair_type);
	add_special(build, pair, end, pair_type);
	add_ids(build, specials, first);
	add_ids(build, specials, middle);
	add_ids(build, specials, before_pair);
	add_ids(build, specials, end);
	te_build_str(build, post, "type", TE_STR("TemplateProcessing"));
	te_json_set_copy(arena, slot(arena, post, "single"), single);
	te_json_set_copy(arena, slot(arena, post, "pair"), pair);
	te_json_set_copy(arena, slot(arena, post, "special_tokens"), specials);
	te_json_set_copy(arena, build->post_processor, post);
}
