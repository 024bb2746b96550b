/*-------------------------------------------------------------------------
 * convert.c
 *	  Vocabulary files into tokenizer.json: BERT's vocab.txt.
 *
 * A vocabulary alone does not say how text is normalized; that comes from
 * tokenizer_config.json, and where that is silent from the conventions of
 * the model that introduced the file.
 *-------------------------------------------------------------------------
 */
#include "text/convert.h"

/* A token of tokenizer_config.json: a string, or an object with its content. */
static TeStr
configured(const TeJson *config, const char *key, const char *fallback)
{
	const TeJson *node = te_json_get(config, key);

	if (node != NULL && node->kind == TE_JSON_STRING)
		return node->string;
	if (node != NULL && node->kind == TE_JSON_OBJECT)
		return te_json_str(node, "content", fallback);
	return te_str(fallback);
}

TeBuildSpecial
te_special(const TeJson *config, const char *key, const char *fallback, const TeStr *tokens, size_t n)
{
	TeBuildSpecial special = {configured(config, key, fallback), -1};

	for (size_t i = 0; i < n; i++)
		if (te_str_eq(tokens[i], special.token))
			special.id = (int64_t) i;
	return special;
}

const TeJson *
te_build_bert(TeArena *arena, const TeStr *tokens, size_t n, const TeBertOptions *options)
{
	const TeBuildSpecial specials[] = {options->pad, options->unk, options->cls, options->sep, options->mask};
	const TeBuildSpecial none = {{"", 0}, -1};
	TeBuildAdded added[TE_LENGTH(specials)];
	size_t		n_added = 0;
	TeTokenizerBuild build;

	te_build_start(&build, arena);
	for (size_t i = 0; i < TE_LENGTH(specials); i++)
		if (specials[i].id >= 0)
			added[n_added++] = (TeBuildAdded) {specials[i].token, specials[i].id,.special = true};
	te_build_added(&build, added, n_added);
	te_build_set(&build, build.normalizer, "{'type': 'BertNormalizer', 'clean_text': true}");
	te_build_bool(&build, build.normalizer, "handle_chinese_chars", options->chinese);
	if (options->strip >= 0)
		te_build_bool(&build, build.normalizer, "strip_accents", options->strip);
	te_build_bool(&build, build.normalizer, "lowercase", options->lower);
	te_build_set(&build, build.pre_tokenizer, "{'type': 'BertPreTokenizer'}");
	te_build_set(&build, build.decoder, "{'type': 'WordPiece', 'prefix': '##', 'cleanup': true}");
	te_build_template(&build, options->cls, options->sep, none, options->sep, 1);
	te_build_set(&build, build.model, "{'type': 'WordPiece', 'unk_token': '', 'continuing_subword_prefix': '##', "
				 "'max_input_chars_per_word': 100}");
	te_build_str(&build, build.model, "unk_token", options->unk.token);
	*te_json_add(arena, build.model, "vocab") = *te_build_vocab(arena, tokens, n);
	build.model->items[build.model->n - 1].key = TE_STR("vocab");
	return build.root;
}

/* Lines, as Python's: the last one need not end; a carriage return before the end goes. */
static TeStr *
split_lines(TeArena *arena, TeStr text, size_t *n)
{
	size_t		count = 0;
	TeStr	   *lines;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == '\n';
	lines = te_new_array(arena, TeStr, count + 1);
	*n = 0;
	for (size_t from = 0; from < text.len;)
	{
		const char *end = memchr(text.data + from, '\n', text.len - from);
		size_t		to = end != NULL ? (size_t) (end - text.data) : text.len;
		size_t		len = to - from;

		if (len > 0 && text.data[to - 1] == '\r')
			len--;
		lines[(*n)++] = (TeStr) {text.data + from, len};
		from = to + 1;
	}
	return lines;
}

const TeJson *
te_tokenizer_from_vocab_txt(TeArena *arena, TeStr vocab, const TeJson *config)
{
	TeBertOptions options;
	size_t		n;
	TeStr	   *tokens;
	const TeJson *strip = te_json_get(config, "strip_accents");

	if (!te_utf8_valid(vocab))
		te_throw(TE_ERR_CORRUPT, "vocab.txt is not valid UTF-8");
	tokens = split_lines(arena, vocab, &n);
	options.lower = te_json_bool(config, "do_lower_case", true);
	options.chinese = te_json_bool(config, "tokenize_chinese_chars", true);
	options.strip = strip != NULL && strip->kind == TE_JSON_BOOL ? strip->boolean : -1;
	options.cls = te_special(config, "cls_token", "[CLS]", tokens, n);
	options.sep = te_special(config, "sep_token", "[SEP]", tokens, n);
	options.unk = te_special(config, "unk_token", "[UNK]", tokens, n);
	options.pad = te_special(config, "pad_token", "[PAD]", tokens, n);
	options.mask = te_special(config, "mask_token", "[MASK]", tokens, n);
	return te_build_bert(arena, tokens, n, &options);
}
