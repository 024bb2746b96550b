/*-------------------------------------------------------------------------
 * convert.c
 *	  Vocabulary files into tokenizer.json: BERT's vocab.txt, and vocab.json with merges.txt.
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

/* The last of equal tokens, as in a vocabulary. */
TeBuildSpecial
te_special(const TeJson *config, const char *key, const char *fallback, const TeStr *tokens, size_t n)
{
	TeBuildSpecial special = {configured(config, key, fallback), -1};

	for (size_t i = 0; i < n; i++)
		if (te_str_eq(tokens[i], special.token))
			special.id = (int64_t) i;
	return special;
}

/* Several names may stand for one id: it is listed once. */
void
te_build_specials(TeTokenizerBuild *build, const TeBuildSpecial *specials, size_t n, bool lstrip_last)
{
	TeBuildAdded *added = te_new_array(build->arena, TeBuildAdded, n);
	size_t		n_added = 0;

	for (size_t i = 0; i < n; i++)
	{
		bool		known = specials[i].id < 0;

		for (size_t j = 0; j < i; j++)
			known |= specials[j].id == specials[i].id;
		if (!known)
			added[n_added++] = (TeBuildAdded) {specials[i].token, specials[i].id,.special = true,
			.lstrip = lstrip_last && i + 1 == n};
	}
	te_build_added(build, added, n_added);
}

/* "sep": ["</s>", 2] */
static void
build_end(TeTokenizerBuild *build, const char *key, TeBuildSpecial special)
{
	TeJson	   *pair = te_json_new_array(build->arena, 2);

	te_json_set_str(&pair->items[0], special.token);
	te_json_set_int(&pair->items[1], special.id);
	te_build_take(build, build->post_processor, key, pair);
}

/* <s> A </s>, <s> A </s></s> B </s>, all of type 0; without both tokens in the vocabulary there is none. */
void
te_build_roberta_processing(TeTokenizerBuild *build, TeBuildSpecial cls, TeBuildSpecial sep, bool prefix_space)
{
	if (cls.id < 0 || sep.id < 0)
		return;
	te_build_set(build, build->post_processor, "{'type': 'RobertaProcessing'}");
	build_end(build, "sep", sep);
	build_end(build, "cls", cls);
	te_build_bool(build, build->post_processor, "trim_offsets", true);
	te_build_bool(build, build->post_processor, "add_prefix_space", prefix_space);
}

/* Special tokens that have no id are left out everywhere. */
const TeJson *
te_build_bert(TeArena *arena, const TeStr *tokens, size_t n, const TeBertOptions *options)
{
	const TeBuildSpecial specials[] = {options->pad, options->unk, options->cls, options->sep, options->mask};
	const TeBuildSpecial ends[] = {options->cls, options->sep};
	TeTokenizerBuild build;

	te_build_start(&build, arena);
	te_build_specials(&build, specials, TE_LENGTH(specials), options->double_sep);
	te_build_set(&build, build.normalizer, "{'type': 'BertNormalizer', 'clean_text': true}");
	te_build_bool(&build, build.normalizer, "handle_chinese_chars", options->chinese);
	if (options->strip >= 0)
		te_build_bool(&build, build.normalizer, "strip_accents", options->strip);
	else
		te_json_add(arena, build.normalizer, "strip_accents");
	te_build_bool(&build, build.normalizer, "lowercase", options->lower);
	te_build_set(&build, build.pre_tokenizer, "{'type': 'BertPreTokenizer'}");
	te_build_set(&build, build.decoder, "{'type': 'WordPiece', 'prefix': '##', 'cleanup': true}");
	if (options->double_sep)
		te_build_roberta_processing(&build, options->cls, options->sep, false);
	else
		te_build_template(&build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 $B:1 1:1", ends, TE_LENGTH(ends));
	te_build_set(&build, build.model, "{'type': 'WordPiece', 'unk_token': '', 'continuing_subword_prefix': '##', "
				 "'max_input_chars_per_word': 100}");
	te_build_str(&build, build.model, "unk_token", options->unk.token);
	te_build_take(&build, build.model, "vocab", te_build_vocab(arena, tokens, n));
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

/* Ids are line numbers. */
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
	options.double_sep = te_str_starts(te_json_str(config, "tokenizer_class", ""), "MPNet");
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

/* ---- byte-level BPE ---- */

/* All members are written, as the reference writes them. */
void
te_build_bpe(TeTokenizerBuild *build, const TeStr *tokens, size_t n, const TeJson *merges, const char *unk,
			 bool byte_fallback, bool ignore_merges)
{
	te_build_set(build, build->model, "{'type': 'BPE', 'dropout': null, 'unk_token': null, "
				 "'continuing_subword_prefix': null, 'end_of_word_suffix': null}");
	if (unk != NULL)
		te_build_str(build, build->model, "unk_token", te_str(unk));
	te_build_bool(build, build->model, "fuse_unk", unk != NULL);
	te_build_bool(build, build->model, "byte_fallback", byte_fallback);
	te_build_bool(build, build->model, "ignore_merges", ignore_merges);
	te_build_take(build, build->model, "vocab", te_build_vocab(build->arena, tokens, n));
	te_build_take(build, build->model, "merges", merges);
}

/* The tokens of a vocab.json by id. */
static TeStr *
tokens_by_id(TeArena *arena, const TeJson *vocab, size_t *n)
{
	TeStr	   *tokens;

	if (vocab == NULL || vocab->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "vocab.json is no object");
	*n = vocab->n;
	tokens = te_new_array(arena, TeStr, vocab->n);
	for (uint32_t i = 0; i < vocab->n; i++)
	{
		const TeJson *item = &vocab->items[i];

		if (item->kind != TE_JSON_INTEGER || item->integer < 0 || item->integer >= (int64_t) vocab->n ||
			tokens[item->integer].data != NULL)
			te_throw(TE_ERR_CORRUPT, "vocab.json: id of token \"%.*s\" is not one of 0 to %u, each once",
					 TE_STR_ARGS(item->key), vocab->n - 1);
		tokens[item->integer] = item->key;
	}
	return tokens;
}

/* The lines of merges.txt but for the version and empty ones. */
static TeJson *
merges_of(TeArena *arena, TeStr text)
{
	size_t		n;
	TeStr	   *lines = split_lines(arena, text, &n);
	TeJson	   *merges = te_json_new_array(arena, n);

	merges->n = 0;
	for (size_t i = 0; i < n; i++)
		if (lines[i].len > 0 && !te_str_starts(lines[i], "#version"))
			te_json_set_str(&merges->items[merges->n++], lines[i]);
	return merges;
}

/* Model types whose texts are put together as RoBERTa's */
static const char *const roberta_types[] = {"roberta", "bart", "mbart", "longformer", "led", "bigbird_pegasus", "xlm-roberta", "deberta"};

/* By the "model_type" of config.json. */
static bool
is_roberta(TeStr model_type)
{
	for (size_t i = 0; i < TE_LENGTH(roberta_types); i++)
		if (te_str_is(model_type, roberta_types[i]))
			return true;
	return false;
}

/* The mask token takes the space before it. */
static void
build_roberta(TeTokenizerBuild *build, const TeJson *config, const TeStr *tokens, size_t n, bool prefix_space)
{
	TeBuildSpecial cls = te_special(config, "cls_token", "<s>", tokens, n);
	TeBuildSpecial sep = te_special(config, "sep_token", "</s>", tokens, n);
	const TeBuildSpecial specials[] = {te_special(config, "bos_token", "<s>", tokens, n), cls,
		te_special(config, "pad_token", "<pad>", tokens, n), te_special(config, "eos_token", "</s>", tokens, n), sep,
	te_special(config, "unk_token", "<unk>", tokens, n), te_special(config, "mask_token", "<mask>", tokens, n)};

	te_build_specials(build, specials, TE_LENGTH(specials), true);
	te_build_roberta_processing(build, cls, sep, prefix_space);
}

/* The post-processor changes nothing, but is there in the reference too. */
static void
build_gpt2(TeTokenizerBuild *build, const TeJson *config, const TeStr *tokens, size_t n)
{
	TeBuildSpecial bos = te_special(config, "bos_token", "<|endoftext|>", tokens, n);
	const TeBuildSpecial specials[] = {te_special(config, "unk_token", "", tokens, n), bos,
	te_special(config, "eos_token", "<|endoftext|>", tokens, n), te_special(config, "pad_token", "", tokens, n)};

	te_build_specials(build, specials, TE_LENGTH(specials), false);
	if (te_json_bool(config, "add_bos_token", false))
		te_build_template(build, "0:0 $A:0", "0:0 $A:0 $B:1", &bos, 1);
	else
		te_build_set(build, build->post_processor,
					 "{'type': 'ByteLevel', 'add_prefix_space': true, 'trim_offsets': false, 'use_regex': true}");
}

/* Byte-level BPE, whichever the model. */
const TeJson *
te_tokenizer_from_bpe(TeArena *arena, const TeJson *vocab, TeStr merges, const TeJson *config, TeStr model_type)
{
	TeTokenizerBuild build;
	size_t		n;
	TeStr	   *tokens = tokens_by_id(arena, vocab, &n);
	bool		prefix_space = te_json_bool(config, "add_prefix_space", false);

	if (!te_utf8_valid(merges))
		te_throw(TE_ERR_CORRUPT, "merges.txt is not valid UTF-8");
	te_build_start(&build, arena);
	te_build_set(&build, build.pre_tokenizer, "{'type': 'ByteLevel'}");
	te_build_bool(&build, build.pre_tokenizer, "add_prefix_space", prefix_space);
	te_build_bool(&build, build.pre_tokenizer, "trim_offsets", true);
	te_build_bool(&build, build.pre_tokenizer, "use_regex", true);
	te_build_set(&build, build.decoder,
				 "{'type': 'ByteLevel', 'add_prefix_space': true, 'trim_offsets': true, 'use_regex': true}");
	if (is_roberta(model_type))
		build_roberta(&build, config, tokens, n, prefix_space);
	else
		build_gpt2(&build, config, tokens, n);
	te_build_bpe(&build, tokens, n, merges_of(arena, merges), NULL, false, false);
	return build.root;
}
