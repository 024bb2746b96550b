/*-------------------------------------------------------------------------
 * added.c
 *	  Added tokens: cut out of the text before anything else looks at it.
 *
 * Two sets: tokens looked for in the text as it is, and tokens looked for
 * once it is normalized, in their own normalized form.  Each is a trie; the
 * leftmost match counts, of those the longest, and the search goes on
 * behind it even where the match is then dismissed (a single word that is
 * part of another).
 *
 * As in the reference, the id is that of the model's vocabulary where the
 * token is there, else the next free one; the id in the file is not asked.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

typedef struct Builder
{
	TeCompiler *compiler;
	TeAdded    *added;
	size_t		n;
	TeTrieKey  *raw;
	size_t		n_raw;
	TeTrieKey  *normal;
	size_t		n_normal;
	uint32_t	next_id;
	TeVocabSlot *slots;			/* index by content */
	uint32_t	mask;
} Builder;

/* Text through the normalizer, at compile time. */
static TeStr
normalize(TeCompiler *compiler, TeStr text)
{
	TeTextScratch scratch = {0};
	TeEncoder	encoder;
	size_t		bytes = 4096 + text.len * 64;
	const TeTokenizer *image;
	TeBuffer	result;

	if (compiler->header.normalizer.n == 0)
		return text;
	do
	{
		scratch.bytes = bytes;
		scratch.memory = te_alloc(compiler->arena, bytes);
		image = te_image_so_far(compiler);
		te_normalize(image, text, &scratch, &encoder);
		bytes *= 2;
	} while (encoder.status == TE_TEXT_MORE);
	if (encoder.status != TE_TEXT_OK)
		te_throw(TE_ERR_CORRUPT, "tokenizer: added token \"%.*s\" cannot be normalized", TE_STR_ARGS(text));
	te_buffer_init(&result, compiler->arena);
	for (size_t i = 0; i < encoder.n_chars; i++)
	{
		char		utf8[4];

		te_buffer_add(&result, utf8, te_utf8_put(utf8, (int32_t) (encoder.chars[i].c & TE_CHAR_CODE)));
	}
	return (TeStr) {result.data, result.len};
}

/* The key of a content in tables of slots. */
static inline uint64_t
hash_of(TeStr content)
{
	return te_hash_add(TE_HASH_START, content.data, content.len);
}

/* The record with this content so far, or NULL. */
static TeAdded *
find_content(const Builder *builder, TeStr content)
{
	const TeTokenizer *image = te_image_so_far(builder->compiler);
	uint64_t	hash = hash_of(content);

	for (uint32_t at = (uint32_t) hash & builder->mask; builder->slots[at].id1 != 0; at = (at + 1) & builder->mask)
	{
		TeAdded    *added = &builder->added[builder->slots[at].id1 - 1];

		if (te_str_eq(te_image_str(image, added->content), content))
			return added;
	}
	return NULL;
}

/*
 * One entry of "added_tokens".  Empty contents are passed over; one that came before is replaced, with its
 * id.
 */
static void
add_token(Builder *builder, const TeJson *node)
{
	TeStr		content = te_json_str(node, "content", "");
	bool		special = te_json_bool(node, "special", false);
	bool		normalized = te_json_bool(node, "normalized", !special);
	TeAdded    *added;
	TeStr		form;
	int32_t		id;

	if (content.len == 0)
		return;
	form = normalized ? normalize(builder->compiler, content) : content;
	added = find_content(builder, content);
	if (added != NULL)
		id = (int32_t) added->id;
	else
	{
		id = te_vocab_id(te_image_so_far(builder->compiler), content);
		if (id < 0)
			id = (int32_t) builder->next_id++;
		te_slot_insert(builder->slots, builder->mask, hash_of(content), (uint32_t) builder->n);
		added = &builder->added[builder->n++];
	}
	*added = (TeAdded)
	{
		.id = (uint32_t) id,.special = special,.lstrip = te_json_bool(node, "lstrip", false),
			.rstrip = te_json_bool(node, "rstrip", false),.single_word = te_json_bool(node, "single_word", false)
	};
	added->content = added->decoded = te_image_add_str(builder->compiler, content);
	if (!te_str_eq(form, content))
		added->decoded = te_image_add_str(builder->compiler, form);
	if (form.len == 0)
		return;
	if (normalized)
		builder->normal[builder->n_normal++] = (TeTrieKey) {form, id};
	else
		builder->raw[builder->n_raw++] = (TeTrieKey) {content, id};
}

/* By id, by merging: files may list many, mostly in order. */
static void
sort_added(TeAdded *added, TeAdded *spare, size_t n)
{
	size_t		half = n / 2;
	size_t		i = 0;
	size_t		j = half;

	if (n < 2)
		return;
	sort_added(added, spare, half);
	sort_added(added + half, spare, n - half);
	memcpy(spare, added, n * sizeof(TeAdded));
	for (size_t k = 0; k < n; k++)
		added[k] = j == n || (i < half && spare[i].id <= spare[j].id) ? spare[i++] : spare[j++];
}

/* The reference leaves out a token if what it decodes to is the content of a special one. */
static void
set_skipped(const Builder *builder)
{
	const TeTokenizer *image = te_image_so_far(builder->compiler);

	for (size_t i = 0; i < builder->n; i++)
	{
		const TeAdded *same = find_content(builder, te_image_str(image, builder->added[i].decoded));

		builder->added[i].skipped = same != NULL && same->special;
	}
}

/* Fills header.added, the table by content, the two tries and vocab_size.  list may be NULL. */
void
te_added_compile(TeCompiler *compiler, const TeJson *list)
{
	TeTokenizer *header = &compiler->header;
	size_t		n = list == NULL || list->kind != TE_JSON_ARRAY ? 0 : list->n;
	Builder		builder = {.compiler = compiler};

	builder.added = te_new_array(compiler->arena, TeAdded, n);
	builder.raw = te_new_array(compiler->arena, TeTrieKey, n);
	builder.normal = te_new_array(compiler->arena, TeTrieKey, n);
	for (builder.mask = 15; builder.mask < 2 * n;)
		builder.mask = builder.mask * 2 + 1;
	builder.slots = te_new_array(compiler->arena, TeVocabSlot, (size_t) builder.mask + 1);
	builder.next_id = header->vocab.n_tokens;
	compiler->part = "added tokens";
	for (size_t i = 0; i < n; i++)
		add_token(&builder, &list->items[i]);
	set_skipped(&builder);
	sort_added(builder.added, te_new_array(compiler->arena, TeAdded, n), builder.n);
	memset(builder.slots, 0, ((size_t) builder.mask + 1) * sizeof(TeVocabSlot));
	for (size_t i = 0; i < builder.n; i++)
		te_slot_insert(builder.slots, builder.mask, hash_of(te_image_str(te_image_so_far(compiler), builder.added[i].content)),
					   (uint32_t) i);
	header->added_slots = te_image_add(compiler, builder.slots, ((size_t) builder.mask + 1) * sizeof(TeVocabSlot));
	header->added_mask = builder.mask;
	header->raw_trie = te_trie_compile(compiler, builder.raw, builder.n_raw);
	header->normal_trie = te_trie_compile(compiler, builder.normal, builder.n_normal);
	header->added = te_image_add(compiler, builder.added, builder.n * sizeof(TeAdded));
	header->n_added = (uint32_t) builder.n;
	header->vocab_size = header->vocab.n_ids;
	if (builder.n > 0)
		header->vocab_size = TE_MAX(header->vocab_size, builder.added[builder.n - 1].id + 1);
}

/* ---- cutting ---- */

/* The longest key that begins at `from`: its id, and where it ends. */
static int32_t
longest_match(const TeTrie *trie, const TeChar *in, size_t n, size_t from, size_t *to)
{
	int32_t		best = -1;
	uint32_t	node = 0;

	for (size_t i = from; i < n; i++)
	{
		char		utf8[4];
		size_t		len = te_utf8_put(utf8, (int32_t) (in[i].c & TE_CHAR_CODE));
		int32_t		value;

		for (size_t j = 0; j < len; j++)
			if (!te_trie_step(trie, &node, (uint8_t) utf8[j]))
				return best;
		value = te_trie_value(trie, node);
		if (value >= 0)
		{
			best = value;
			*to = i + 1;
		}
	}
	return best;
}

/* Has a character, flags and all, a property? */
static inline bool
is(const TeChar *c, uint32_t flag)
{
	return te_uc_is(c->c & TE_CHAR_CODE, flag);
}

/* Copies what is between added tokens. */
static void
put_between(TeEncoder *encoder, const TeChar *in, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		te_put(encoder, (in[i].c & TE_CHAR_CODE) | (i == from ? TE_CHAR_PIECE : 0), in[i].start, in[i].stop);
}

/*
 * The search goes on behind each match of the trie, also where white space was taken in or the match
 * dismissed.
 */
static void
cut_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	const TeTrie *trie = param;
	size_t		done = 0;

	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK;)
	{
		size_t		from = i;
		size_t		to = i + 1;
		int32_t		id = longest_match(trie, in, n, i, &to);
		const TeAdded *added;

		i = to;
		if (id < 0)
			continue;
		added = te_added_by_id(encoder->tokenizer, id);
		if (added->single_word &&
			((from > 0 && is(&in[from - 1], TE_UC_RE_WORD)) || (to < n && is(&in[to], TE_UC_RE_WORD))))
			continue;
		while (added->lstrip && from > done && is(&in[from - 1], TE_UC_RE_SPACE))
			from--;
		while (added->rstrip && to < n && is(&in[to], TE_UC_RE_SPACE))
			to++;
		put_between(encoder, in, done, from);
		te_put(encoder, (uint32_t) id | TE_CHAR_TOKEN | TE_CHAR_PIECE, in[from].start, in[to - 1].stop);
		done = to;
	}
	put_between(encoder, in, done, n);
}

/* Pieces that are tokens already are left alone. */
void
te_cut_added(TeEncoder *encoder, uint32_t trie)
{
	te_each_piece(encoder, cut_piece, te_at(encoder->tokenizer, trie));
}
