/*-------------------------------------------------------------------------
 * build.c
 *	  Putting together a tokenizer.json.  See build.h.
 *-------------------------------------------------------------------------
 */
#include "text/build.h"

/* A null member, to fill at once: the next addition may move it. */
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

/* Members are added first, since adding moves them, then remembered. */
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

/* For components that are the same each time, so easiest to read as JSON. */
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

/* Only the node is copied: a vocabulary has hundreds of thousands of items. */
void
te_build_take(TeTokenizerBuild *build, TeJson *object, const char *key, const TeJson *value)
{
	TeJson	   *node = slot(build->arena, object, key);
	TeStr		name = node->key;

	*node = *value;
	node->key = name;
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

/* All are of the simplest kind but for the properties that TeBuildAdded has. */
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
		te_build_bool(build, token, "rstrip", added[i].rstrip);
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

/* See te_build_template(): the specification is ours, so it is well formed. */
static TeJson *
build_parts(TeTokenizerBuild *build, const char *spec, const TeBuildSpecial *specials)
{
	TeJson	   *list = te_json_new_array(build->arena, strlen(spec));

	list->n = 0;
	while (*spec != '\0')
	{
		const char *colon = strchr(spec, ':');
		int			type_id = colon[1] - '0';

		if (spec[0] == '$')
			add_part(build, list, "Sequence", (TeStr) {spec + 1, 1}, type_id);
		else if (specials[spec[0] - '0'].id >= 0)
			add_part(build, list, "SpecialToken", specials[spec[0] - '0'].token, type_id);
		spec = colon + 2;
		while (*spec == ' ')
			spec++;
	}
	return list;
}

/* The entry of "special_tokens" that tells a token's id. */
static void
add_ids(TeTokenizerBuild *build, TeJson *list, TeBuildSpecial special)
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
	te_json_set_copy(build->arena, slot(build->arena, list, te_cstring(build->arena, special.token)), entry);
}

/* Also tells the ids of all specials, used or not. */
void
te_build_template(TeTokenizerBuild *build, const char *single, const char *pair, const TeBuildSpecial *specials, size_t n)
{
	TeArena    *arena = build->arena;
	TeJson	   *ids = te_json_new_object(arena);
	TeJson	   *post = te_json_new_object(arena);

	for (size_t i = 0; i < n; i++)
		add_ids(build, ids, specials[i]);
	te_build_str(build, post, "type", TE_STR("TemplateProcessing"));
	te_json_set_copy(arena, slot(arena, post, "single"), build_parts(build, single, specials));
	te_json_set_copy(arena, slot(arena, post, "pair"), build_parts(build, pair, specials));
	te_json_set_copy(arena, slot(arena, post, "special_tokens"), ids);
	te_json_set_copy(arena, build->post_processor, post);
}

/* ---- token index ---- */

/* Half full at most. */
TeTokenIndex
te_token_index(TeArena *arena, const TeStr *tokens, size_t n)
{
	TeTokenIndex index = {tokens};

	if (n > UINT32_MAX / 4)
		te_throw(TE_ERR_UNSUPPORTED, "vocabulary is too large");
	for (index.mask = 15; index.mask < 2 * n;)
		index.mask = index.mask * 2 + 1;
	index.slots = te_new_array(arena, uint32_t, (size_t) index.mask + 1);
	/* Backwards, so that the last of equal tokens is found first */
	for (size_t i = n; i-- > 0;)
	{
		uint32_t	at = (uint32_t) te_hash(tokens[i].data, tokens[i].len) & index.mask;

		while (index.slots[at] != 0)
			at = (at + 1) & index.mask;
		index.slots[at] = (uint32_t) i + 1;
	}
	return index;
}

/* Hash, then compare. */
int64_t
te_token_find(const TeTokenIndex *index, TeStr token)
{
	uint32_t	at = (uint32_t) te_hash(token.data, token.len) & index->mask;

	for (; index->slots[at] != 0; at = (at + 1) & index->mask)
		if (te_str_eq(index->tokens[index->slots[at] - 1], token))
			return (int64_t) index->slots[at] - 1;
	return -1;
}

/* ---- merges from scores ---- */

typedef struct Split
{
	double		score;			/* of the whole */
	uint32_t	left;			/* characters of each side ... */
	uint32_t	right;
	uint32_t	left_id;		/* ... and their places */
	uint32_t	right_id;
} Split;

/* Splits of one token are in the order of their sides' ids. */
static bool
by_ids(const Split *a, const Split *b)
{
	return a->left_id < b->left_id || (a->left_id == b->left_id && a->right_id < b->right_id);
}

/* Falling score, then longer left sides, then longer right sides, first. */
static bool
by_score(const Split *a, const Split *b)
{
	if (a->score != b->score)
		return a->score > b->score;
	if (a->left != b->left)
		return a->left > b->left;
	return a->right > b->right;
}

/* Merge sort, stable. */
static void
sort_splits(Split *splits, Split *spare, size_t n, bool (*before) (const Split *, const Split *))
{
	size_t		half = n / 2;
	size_t		i = 0;
	size_t		j = half;

	if (n < 2)
		return;
	sort_splits(splits, spare, half, before);
	sort_splits(splits + half, spare, n - half, before);
	memcpy(spare, splits, n * sizeof(Split));
	for (size_t k = 0; k < n; k++)
		splits[k] = j == n || (i < half && !before(&spare[j], &spare[i])) ? spare[i++] : spare[j++];
}

/* Code points of valid UTF-8. */
static inline size_t
count_chars(TeStr s)
{
	size_t		n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += (s.data[i] & 0xC0) != 0x80;
	return n;
}

/* All ways to put one token together. */
static void
add_splits(const TeTokenIndex *index, size_t id, double score, TeBuffer *out)
{
	TeStr		token = index->tokens[id];
	size_t		n_chars = count_chars(token);
	size_t		left_chars = 1;

	for (size_t i = 1; i < token.len; i++)
	{
		TeStr		left = {token.data, i};
		TeStr		right = {token.data + i, token.len - i};
		int64_t		left_id,
					right_id;

		if ((token.data[i] & 0xC0) == 0x80)
			continue;
		left_id = te_token_find(index, left);
		right_id = left_id < 0 ? -1 : te_token_find(index, right);
		if (right_id >= 0)
		{
			Split		split = {score, (uint32_t) left_chars, (uint32_t) (n_chars - left_chars), (uint32_t) left_id,
			(uint32_t) right_id};

			te_buffer_add(out, &split, sizeof(split));
		}
		left_chars++;
	}
}

#define LONGEST_MERGED 1024		/* bytes of a token that is looked at for merges */

/* The order is that of the reference: by token and ids first, then by score, stably. */
TeJson *
te_build_merges(TeArena *arena, const TeStr *tokens, const double *scores, size_t n)
{
	TeTokenIndex index = te_token_index(arena, tokens, n);
	TeBuffer	buffer;
	Split	   *splits,
			   *spare;
	size_t		n_splits;
	TeJson	   *merges;

	te_buffer_init(&buffer, arena);
	for (size_t i = 0; i < n; i++)
	{
		size_t		from = buffer.len;

		if (i % 4096 == 0)
			te_check_interrupts();
		if (tokens[i].len > LONGEST_MERGED || te_token_find(&index, tokens[i]) != (int64_t) i)
			continue;
		add_splits(&index, i, scores[i], &buffer);
		if (buffer.len == from)
			continue;
		spare = te_alloc(arena, buffer.len - from);
		sort_splits((Split *) (buffer.data + from), spare, (buffer.len - from) / sizeof(Split), by_ids);
	}
	n_splits = buffer.len / sizeof(Split);
	splits = (Split *) buffer.data;
	sort_splits(splits, te_new_array(arena, Split, n_splits), n_splits, by_score);
	merges = te_json_new_array(arena, n_splits);
	for (size_t i = 0; i < n_splits; i++)
	{
		TeJson	   *pair = te_json_new_array(arena, 2);

		te_json_set_str(&pair->items[0], tokens[splits[i].left_id]);
		te_json_set_str(&pair->items[1], tokens[splits[i].right_id]);
		merges->items[i] = *pair;
	}
	return merges;
}

/* With padding, as tokenizer.json has it. */
TeStr
te_base64(TeArena *arena, TeStr bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = (const uint8_t *) bytes.data;
	char	   *out = te_alloc(arena, te_mul_size(bytes.len / 3 + 1, 4));
	size_t		n = 0;

	for (size_t i = 0; i < bytes.len; i += 3)
	{
		size_t		left = bytes.len - i;
		uint32_t	bits = (uint32_t) in[i] << 16 | (left > 1 ? (uint32_t) in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);

		out[n++] = digits[bits >> 18];
		out[n++] = digits[bits >> 12 & 63];
		out[n++] = left > 1 ? digits[bits >> 6 & 63] : '=';
		out[n++] = left > 2 ? digits[bits & 63] : '=';
	}
	return (TeStr) {out, n};
}

/* Of a digit, or -1. */
static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding may be missing. */
TeStr
te_base64_decode(TeArena *arena, TeStr text)
{
	char	   *out = te_alloc(arena, text.len / 4 * 3 + 3);
	size_t		n = 0;
	uint32_t	bits = 0;
	int			n_bits = 0;

	while (text.len > 0 && text.data[text.len - 1] == '=')
		text.len--;
	for (size_t i = 0; i < text.len; i++)
	{
		int			value = base64_value(text.data[i]);

		if (value < 0)
			te_throw(TE_ERR_CORRUPT, "tokenizer: precompiled_charsmap is not base64");
		bits = bits << 6 | (uint32_t) value;
		n_bits += 6;
		if (n_bits >= 8)
		{
			n_bits -= 8;
			out[n++] = (char) (bits >> n_bits);
		}
	}
	return (TeStr) {out, n};
}
