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

#define PHANTOM_SPACE "\xe2\x96\x81"

typedef struct Vocabulary
{
	const TeJson *meta;
	TeStr	   *tokens;
	int64_t    *types;			/* TE_SPM_*: the same numbers */
	size_t		n;
} Vocabulary;

typedef struct ModelRow
{
	const char *name;			/* tokenizer.ggml.model */
	const char *type;			/* of the model in tokenizer.json */
	const TeJson *(*from) (TeArena *arena, Vocabulary *vocabulary);
	void		(*to) (TeArena *arena, const TeJson *tokenizer, TeJson *meta);
} ModelRow;

/* Tokens and their types; without types all are normal. */
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
		vocabulary->types[i] = TE_SPM_NORMAL;
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

/* [CLS] and its like. */
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

/* See the top of the file for the marks and for lower case. */
static const TeJson *
from_bert(TeArena *arena, Vocabulary *vocabulary)
{
	TeBertOptions options = {.lower = true,.chinese = true,.strip = -1};

	for (size_t i = 0; i < vocabulary->n; i++)
	{
		TeStr		token = vocabulary->tokens[i];
		bool		is_special = vocabulary->types[i] == TE_SPM_CONTROL || vocabulary->types[i] == TE_SPM_UNKNOWN ||
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

/* ---- gpt2: byte-level BPE; tokenizer.ggml.pre names how text is split ---- */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CL100K(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CONTRACTED "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define O200K(ending, digits) "[^\\r\\n\\p{L}\\p{N}]?" CASED "*" LOWER "+" ending "|[^\\r\\n\\p{L}\\p{N}]?" CASED "+" LOWER "*" ending "|" digits \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
#define QWEN35 "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}" \
	"| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BAILING "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}" \
	"| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define SEED "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}" \
	"| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define EXAONE "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}" \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define NOT_HAN_CASED "(?:(?!\\p{Han})" CASED ")"
#define NOT_HAN_LOWER "(?:(?!\\p{Han})" LOWER ")"
#define KIMI "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN_CASED "*" NOT_HAN_LOWER "+" CONTRACTED \
	"|[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN_CASED "+" NOT_HAN_LOWER "*" CONTRACTED \
	"|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Letters that have a case, as some version of Unicode had them. */
#define CASED_LETTERS \
	"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377" \
	"\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556" \
	"\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15" \
	"\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe" \
	"\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113" \
	"\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184" \
	"\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e" \
	"\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3" \
	"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
#define OLD_PUNCTUATION "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
#define OLD_CJK "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
#define MOST_SPLITS 6

/* Patterns that are applied one after the other; names: separated by spaces, the first one is written. */
static const struct
{
	const char *names;
	bool		ignore_merges;
	bool		add_bos;
	const char *patterns[MOST_SPLITS];
}			splits[] = {
	{"gpt-2 phi-2 mpt olmo jais trillion granite-docling jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum "
	"jina-v1-en jina-v2-code roberta-bpe exaone4 modern-bert", false, false, {GPT2}},
	{"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", true, true, {CL100K("\\p{N}{1,3}")}},
	{"dbrx smaug-bpe glm4 glm5 chatglm-bpe", false, false, {CL100K("\\p{N}{1,3}")}},
	{"qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan grok-2 kormo f2llmv2 solar-open", false, false, {CL100K("\\p{N}")}},
	{"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", false, false, {"\\p{N}", GPT2}},
	{"falcon", false, false, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
	{"deepseek-llm", false, false, {"[\r\n]", "\\s?[" CASED_LETTERS "]+", OLD_PUNCTUATION, "\\s+$", OLD_CJK, "\\p{N}+"}},
	{"deepseek-coder", false, false, {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", OLD_CJK, "\\p{N}"}},
	{"deepseek-v3 hunyuan-dense hy_v4 joyai-llm", false, false, {"\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK}},
	{"gpt-4o llama4 minimax-m2 kanana2 talkie", false, false, {O200K(CONTRACTED, "\\p{N}{1,3}")}},
	{"tekken", true, true, {O200K("", "\\p{N}")}},
	{"poro-chat bloom gpt3-finnish", false, false, {BLOOM}},
	{"viking", false, false, {BLOOM, "\\p{N}"}},
	{"qwen35", false, false, {QWEN35}},
	{"bailingmoe bailingmoe2 llada-moe", false, false, {BAILING}},
	{"seed-coder", false, false, {SEED}},
	{"exaone-moe", false, false, {EXAONE}},
	{"tiny_aya cohere2moe", false, false, {"\\d{1,3}(?=(?:\\d{3})*\\b)", O200K(CONTRACTED, "\\p{N}{1,3}")}},
	{"kimi-k2", false, false, {KIMI}},
	{"minicpm5", true, false, {"\\p{N}{1,3}", CL100K("\\p{N}+")}},
	{"default", false, false, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

/* Is a name one of a list that spaces separate? */
static bool
names_have(const char *names, TeStr name)
{
	while (name.len > 0)
	{
		size_t		len = strcspn(names, " ");

		if (len == name.len && memcmp(names, name.data, len) == 0)
			return true;
		if (names[len] == '\0')
			return false;
		names += len + 1;
	}
	return false;
}

/* The row of tokenizer.ggml.pre. */
static size_t
split_row(const TeJson *meta)
{
	TeStr		pre = te_json_str(meta, "tokenizer.ggml.pre", "default");

	for (size_t i = 0; i < TE_LENGTH(splits); i++)
		if (names_have(splits[i].names, pre))
			return i;
	te_throw(TE_ERR_UNSUPPORTED, "tokenizer.ggml.pre \"%.*s\" is not supported", TE_STR_ARGS(pre));
}

/* {"type": "Split", "pattern": {"Regex": ...}, "behavior": "Isolated", "invert": false} */
static TeJson *
split_component(TeTokenizerBuild *build, const char *pattern)
{
	TeJson	   *node = te_json_new_object(build->arena);
	TeJson	   *regex = te_json_new_object(build->arena);

	te_build_str(build, regex, "Regex", te_str(pattern));
	te_build_str(build, node, "type", TE_STR("Split"));
	te_build_take(build, node, "pattern", regex);
	te_build_str(build, node, "behavior", TE_STR("Isolated"));
	te_build_bool(build, node, "invert", false);
	return node;
}

/* The splits, then the spelling of bytes. */
static void
build_splits(TeTokenizerBuild *build, size_t row)
{
	TeJson	   *list = te_json_new_array(build->arena, MOST_SPLITS + 1);

	list->n = 0;
	for (int i = 0; i < MOST_SPLITS && splits[row].patterns[i] != NULL; i++)
		list->items[list->n++] = *split_component(build, splits[row].patterns[i]);
	te_build_set(build, &list->items[list->n++],
				 "{'type': 'ByteLevel', 'add_prefix_space': false, 'trim_offsets': true, 'use_regex': false}");
	te_build_set(build, build->pre_tokenizer, "{'type': 'Sequence'}");
	te_build_take(build, build->pre_tokenizer, "pretokenizers", list);
}

/* Control and user-defined tokens. */
static void
build_added(TeTokenizerBuild *build, const Vocabulary *vocabulary)
{
	TeBuildAdded *added = te_new_array(build->arena, TeBuildAdded, vocabulary->n);
	size_t		n = 0;

	for (size_t i = 0; i < vocabulary->n; i++)
		if ((vocabulary->types[i] == TE_SPM_CONTROL || vocabulary->types[i] == TE_SPM_USER_DEFINED) &&
			vocabulary->tokens[i].len > 0)
			added[n++] = (TeBuildAdded) {vocabulary->tokens[i], (int64_t) i,.special = vocabulary->types[i] == TE_SPM_CONTROL};
	te_build_added(build, added, n);
}

/* add_bos_token and add_eos_token decide the post-processor; their defaults are those of llama.cpp. */
static const TeJson *
from_gpt2(TeArena *arena, Vocabulary *vocabulary)
{
	const TeJson *merges = te_json_get(vocabulary->meta, "tokenizer.ggml.merges");
	size_t		row = split_row(vocabulary->meta);
	bool		double_sep = names_have("roberta-bpe jina-v1-en jina-v2-code", te_json_str(vocabulary->meta, "tokenizer.ggml.pre", ""));
	TeBuildSpecial ends[2];
	TeTokenizerBuild build;

	if (merges == NULL || merges->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "file has no list \"tokenizer.ggml.merges\"");
	ends[0] = special_by_key(vocabulary, "tokenizer.ggml.bos_token_id");
	ends[1] = special_by_key(vocabulary, "tokenizer.ggml.eos_token_id");
	if (!te_json_bool(vocabulary->meta, "tokenizer.ggml.add_bos_token", splits[row].add_bos))
		ends[0].id = -1;
	if (!te_json_bool(vocabulary->meta, "tokenizer.ggml.add_eos_token", false))
		ends[1].id = -1;
	te_build_start(&build, arena);
	build_added(&build, vocabulary);
	build_splits(&build, row);
	if (ends[0].id >= 0 || ends[1].id >= 0)
		te_build_template(&build, "0:0 $A:0 1:0", double_sep ? "0:0 $A:0 1:0 1:0 $B:0 1:0" : "0:0 $A:0 1:0 0:1 $B:1 1:1",
						  ends, TE_LENGTH(ends));
	te_build_set(&build, build.decoder, "{'type': 'ByteLevel', 'add_prefix_space': true, 'trim_offsets': true, 'use_regex': true}");
	te_build_bpe(&build, vocabulary->tokens, vocabulary->n, merges, NULL, false, splits[row].ignore_merges);
	return build.root;
}

/* ---- llama and t5: SentencePiece, BPE and Unigram ---- */

/* One a token, finite. */
static double *
read_scores(TeArena *arena, const Vocabulary *vocabulary)
{
	const TeJson *scores = te_json_get(vocabulary->meta, "tokenizer.ggml.scores");
	double	   *result = te_new_array(arena, double, vocabulary->n);

	if (scores == NULL || scores->kind != TE_JSON_ARRAY || scores->n != vocabulary->n)
		te_throw(TE_ERR_CORRUPT, "\"tokenizer.ggml.scores\" is not one number a token");
	for (size_t i = 0; i < vocabulary->n; i++)
	{
		const TeJson *score = &scores->items[i];

		if (score->kind == TE_JSON_REAL)
			result[i] = score->real;
		else if (score->kind == TE_JSON_INTEGER)
			result[i] = (double) score->integer;
		if (!(result[i] > -1e30 && result[i] < 1e30))
			te_throw(TE_ERR_CORRUPT, "item %zu of \"tokenizer.ggml.scores\" is not valid", i);
	}
	return result;
}

/* tokenizer.ggml.precompiled_charsmap is a list of bytes. */
static TeStr
read_charsmap(TeArena *arena, const TeJson *meta)
{
	const TeJson *list = te_json_get(meta, "tokenizer.ggml.precompiled_charsmap");
	char	   *bytes;

	if (list == NULL || list->kind != TE_JSON_ARRAY)
		return (TeStr) {NULL, 0};
	bytes = te_alloc(arena, list->n);
	for (uint32_t i = 0; i < list->n; i++)
	{
		if (list->items[i].kind != TE_JSON_INTEGER)
			te_throw(TE_ERR_CORRUPT, "item %u of \"tokenizer.ggml.precompiled_charsmap\" is no byte", i);
		bytes[i] = (char) list->items[i].integer;
	}
	return (TeStr) {bytes, list->n};
}

/* Phi-3 alone has such special tokens, which no key says: like llama.cpp, go by the name, in any case. */
static bool
is_phi3(TeStr name)
{
	static const char *const names[] = {"phi-3", "phi3"};

	for (size_t i = 0; i < name.len; i++)
		for (size_t k = 0; k < TE_LENGTH(names); k++)
		{
			size_t		len = strlen(names[k]);
			size_t		j = 0;

			while (j < len && i + j < name.len &&
				   (name.data[i + j] == names[k][j] || name.data[i + j] == names[k][j] - 'a' + 'A'))
				j++;
			if (j == len)
				return true;
		}
	return false;
}

/* Defaults are those of llama.cpp for the two kinds. */
static const TeJson *
from_spm(TeArena *arena, Vocabulary *vocabulary, bool is_bpe)
{
	const TeJson *meta = vocabulary->meta;
	TeSpmVocab	spm = {.tokens = vocabulary->tokens,.types = vocabulary->types,.n = vocabulary->n,.is_bpe = is_bpe};

	spm.scores = read_scores(arena, vocabulary);
	spm.charsmap = read_charsmap(arena, meta);
	spm.byte_fallback = is_bpe;
	spm.prefix_space = te_json_bool(meta, "tokenizer.ggml.add_space_prefix", true);
	spm.extra_space = !te_json_bool(meta, "tokenizer.ggml.remove_extra_whitespaces", !is_bpe);
	spm.rstrip = is_phi3(te_json_str(meta, "general.name", ""));
	spm.unk = te_json_int(meta, "tokenizer.ggml.unknown_token_id", is_bpe ? 0 : 2);
	spm.bos = te_json_int(meta, "tokenizer.ggml.bos_token_id", is_bpe ? 1 : -1);
	spm.eos = te_json_int(meta, "tokenizer.ggml.eos_token_id", is_bpe ? 2 : 1);
	spm.pad = te_json_int(meta, "tokenizer.ggml.padding_token_id", -1);
	spm.add_bos = te_json_bool(meta, "tokenizer.ggml.add_bos_token", is_bpe);
	spm.add_eos = te_json_bool(meta, "tokenizer.ggml.add_eos_token", !is_bpe);
	return te_build_spm(arena, &spm, NULL, TE_STR(""));
}

/* SentencePiece's BPE. */
static const TeJson *
from_llama(TeArena *arena, Vocabulary *vocabulary)
{
	return from_spm(arena, vocabulary, true);
}

/* SentencePiece's Unigram. */
static const TeJson *
from_t5(TeArena *arena, Vocabulary *vocabulary)
{
	return from_spm(arena, vocabulary, false);
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

		vocabulary->types[i] = token.data != NULL ? TE_SPM_NORMAL : TE_SPM_UNUSED;
		vocabulary->tokens[i] = token.data != NULL ? te_str_copy(arena, token) :
			te_str(te_format(arena, "[PAD%zu]", i));
	}
	te_arena_destroy(work);
}

/* Special tokens are control tokens, other added ones user-defined. */
static void
mark_added(const TeJson *tokenizer, Vocabulary *vocabulary)
{
	const TeJson *added = te_json_get(tokenizer, "added_tokens");

	for (uint32_t i = 0; added != NULL && added->kind == TE_JSON_ARRAY && i < added->n; i++)
	{
		int64_t		id = te_json_int(&added->items[i], "id", -1);

		if (id >= 0 && (size_t) id < vocabulary->n)
			vocabulary->types[id] = te_json_bool(&added->items[i], "special", false) ? TE_SPM_CONTROL : TE_SPM_USER_DEFINED;
	}
}

/* Shares the items. */
static void
put_array(TeArena *arena, TeJson *meta, const char *key, TeJson *array)
{
	TeJson	   *node = te_json_add(arena, meta, key);

	node->kind = TE_JSON_ARRAY;
	node->n = array->n;
	node->items = array->items;
}

/* Tokens and types side by side. */
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

/* The post-processor that adds special tokens: itself, or one of its Sequence. */
static const TeJson *
find_template(const TeJson *post)
{
	const TeJson *list = te_json_get(post, "processors");

	for (uint32_t i = 0; list != NULL && list->kind == TE_JSON_ARRAY && i < list->n; i++)
		if (te_json_get(&list->items[i], "single") != NULL || te_json_get(&list->items[i], "cls") != NULL)
			return &list->items[i];
	return post;
}

/* The special token that it puts before a text, or behind it; empty where there is none. */
static TeStr
template_token(const TeJson *tokenizer, bool last)
{
	const TeJson *post = find_template(te_json_get(tokenizer, "post_processor"));
	const TeJson *single = te_json_get(post, "single");
	const TeJson *fixed = te_json_get(post, last ? "sep" : "cls");

	if (fixed != NULL && fixed->kind == TE_JSON_ARRAY && fixed->n > 0 && fixed->items[0].kind == TE_JSON_STRING)
		return fixed->items[0].string;
	if (single == NULL || single->kind != TE_JSON_ARRAY || single->n == 0)
		return (TeStr) {NULL, 0};
	return te_json_str(te_json_get(&single->items[last ? single->n - 1 : 0], "SpecialToken"), "id", "");
}

/* A component of a kind anywhere in a normalizer or pre-tokenizer; NULL where there is none. */
static const TeJson *
find_component(const TeJson *node, const char *type)
{
	const TeJson *list = te_json_get(node, te_json_get(node, "normalizers") != NULL ? "normalizers" : "pretokenizers");

	if (te_str_is(te_json_str(node, "type", ""), type))
		return node;
	for (uint32_t i = 0; list != NULL && list->kind == TE_JSON_ARRAY && i < list->n; i++)
	{
		const TeJson *found = find_component(&list->items[i], type);

		if (found != NULL)
			return found;
	}
	return NULL;
}

/* Both names of each special token are written: readers differ in which they ask for. */
static void
to_bert(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	Vocabulary	vocabulary;
	TeStr		prefix = te_json_str(te_json_get(tokenizer, "model"), "continuing_subword_prefix", "##");

	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.normalizer.lowercase"),
					 te_json_bool(find_component(te_json_get(tokenizer, "normalizer"), "BertNormalizer"), "lowercase", true));
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

		if (vocabulary.types[i] != TE_SPM_NORMAL || in_brackets(*token))
			continue;
		if (token->len > prefix.len && memcmp(token->data, prefix.data, prefix.len) == 0)
			*token = (TeStr) {token->data + prefix.len, token->len - prefix.len};
		else
			*token = te_str(te_format(arena, PHANTOM_SPACE "%.*s", (int) token->len, token->data));
	}
	put_vocabulary(arena, meta, &vocabulary);
}

/* The ids of the beginning and end tokens, and whether the post-processor adds them. */
static void
put_ends(TeArena *arena, const TeJson *tokenizer, TeJson *meta, const Vocabulary *vocabulary, TeStr bos, TeStr eos)
{
	TeStr		first = template_token(tokenizer, false);
	TeStr		last = template_token(tokenizer, true);

	put_special(arena, meta, vocabulary, "tokenizer.ggml.bos_token_id", first.len > 0 ? first : bos);
	put_special(arena, meta, vocabulary, "tokenizer.ggml.eos_token_id", last.len > 0 ? last : eos);
	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.add_bos_token"), first.len > 0);
	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.add_eos_token"), last.len > 0);
}

/* Does the pre-tokenizer, a Split, a ByteLevel or a Sequence of them, split by these patterns? */
static bool
splits_by(const TeJson *pre, size_t row)
{
	const TeJson *list = te_json_get(pre, "pretokenizers");
	size_t		n = list != NULL && list->kind == TE_JSON_ARRAY ? list->n : 1;
	int			k = 0;

	for (size_t i = 0; i < n; i++)
	{
		const TeJson *node = list != NULL ? &list->items[i] : pre;
		TeStr		type = te_json_str(node, "type", "");
		TeStr		pattern = te_json_str(te_json_get(node, "pattern"), "Regex", "");

		if (te_str_is(type, "ByteLevel") && te_json_bool(node, "use_regex", true))
			pattern = TE_STR(GPT2);
		else if (te_str_is(type, "ByteLevel"))
			continue;
		if (k == MOST_SPLITS || splits[row].patterns[k] == NULL || !te_str_is(pattern, splits[row].patterns[k]))
			return false;
		k++;
	}
	return k == MOST_SPLITS || splits[row].patterns[k] == NULL;
}

/* The name under which a row can be read again; throws where there is none. */
static const char *
pre_name(TeArena *arena, const TeJson *tokenizer)
{
	const TeJson *pre = te_json_get(tokenizer, "pre_tokenizer");
	TeStr		post = te_json_str(te_json_get(tokenizer, "post_processor"), "type", "");
	bool		ignore_merges = te_json_bool(te_json_get(tokenizer, "model"), "ignore_merges", false);

	if (te_str_is(post, "RobertaProcessing") && splits_by(pre, 0))
		return "roberta-bpe";
	for (size_t i = 0; i < TE_LENGTH(splits); i++)
		if (splits_by(pre, i) && splits[i].ignore_merges == ignore_merges)
			return te_cstring(arena, (TeStr) {splits[i].names, strcspn(splits[i].names, " ")});
	te_throw(TE_ERR_UNSUPPORTED, "GGUF has no name for the way this tokenizer splits text");
}

/* "a b" for ["a", "b"] */
static void
put_merges(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	const TeJson *merges = te_json_get(te_json_get(tokenizer, "model"), "merges");
	TeJson	   *list = te_json_new_array(arena, merges != NULL ? merges->n : 0);

	for (uint32_t i = 0; i < list->n; i++)
	{
		const TeJson *merge = &merges->items[i];

		if (merge->kind == TE_JSON_STRING)
			te_json_set_str(&list->items[i], merge->string);
		else
			te_json_set_str(&list->items[i],
							te_str(te_format(arena, "%.*s %.*s", (int) merge->items[0].string.len, merge->items[0].string.data,
											 (int) merge->items[1].string.len, merge->items[1].string.data)));
	}
	put_array(arena, meta, "tokenizer.ggml.merges", list);
}

/* Merges as "a b": a side with a space in it cannot be byte-level. */
static void
to_gpt2(TeArena *arena, const TeJson *tokenizer, TeJson *meta, Vocabulary *vocabulary)
{
	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.pre"), te_str(pre_name(arena, tokenizer)));
	put_vocabulary(arena, meta, vocabulary);
	put_merges(arena, tokenizer, meta);
	put_ends(arena, tokenizer, meta, vocabulary, TE_STR("<|endoftext|>"), TE_STR("<|endoftext|>"));
	put_special(arena, meta, vocabulary, "tokenizer.ggml.unknown_token_id", TE_STR("<unk>"));
	put_special(arena, meta, vocabulary, "tokenizer.ggml.padding_token_id", TE_STR("<pad>"));
	put_special(arena, meta, vocabulary, "tokenizer.ggml.mask_token_id", TE_STR("<mask>"));
}

/* <0x00> and so on, and the unknown token, have types of their own. */
static void
mark_bytes(Vocabulary *vocabulary, TeStr unk)
{
	for (size_t i = 0; i < vocabulary->n; i++)
	{
		TeStr		token = vocabulary->tokens[i];

		if (token.len == 6 && te_str_starts(token, "<0x") && token.data[5] == '>')
			vocabulary->types[i] = TE_SPM_BYTE;
		if (unk.len > 0 && te_str_eq(token, unk))
			vocabulary->types[i] = TE_SPM_UNKNOWN;
	}
}

/* As reals. */
static void
put_scores(TeArena *arena, TeJson *meta, const double *scores, size_t n)
{
	TeJson	   *list = te_json_new_array(arena, n);

	for (size_t i = 0; i < n; i++)
		te_json_set_real(&list->items[i], scores[i]);
	put_array(arena, meta, "tokenizer.ggml.scores", list);
}

/*
 * A token's score is the rank of the first merge that makes it, downwards.  With scores alone any two tokens
 * merge that make a token; a list that lacks some of these merges cannot be said so.
 */
static double *
scores_of_merges(TeArena *arena, const TeJson *tokenizer, const Vocabulary *vocabulary)
{
	const TeJson *merges = te_json_get(te_json_get(tokenizer, "model"), "merges");
	TeTokenIndex index = te_token_index(arena, vocabulary->tokens, vocabulary->n);
	double	   *scores = te_new_array(arena, double, vocabulary->n);

	for (uint32_t i = merges != NULL ? merges->n : 0; i-- > 0;)
	{
		const TeJson *merge = &merges->items[i];
		TeBuffer	whole;
		int64_t		id;

		te_buffer_init(&whole, arena);
		if (merge->kind == TE_JSON_ARRAY && merge->n == 2)
			for (int k = 0; k < 2; k++)
				te_buffer_add(&whole, merge->items[k].string.data, merge->items[k].string.len);
		else if (merge->kind == TE_JSON_STRING)
			for (size_t k = 0; k < merge->string.len; k++)
				if (merge->string.data[k] != ' ')
					te_buffer_add(&whole, merge->string.data + k, 1);
		id = te_token_find(&index, (TeStr) {whole.data != NULL ? whole.data : "", whole.len});
		if (id >= 0)
			scores[id] = -1.0 - (double) i;
	}
	if (merges == NULL || te_build_merges(arena, vocabulary->tokens, scores, vocabulary->n)->n != merges->n)
		te_throw(TE_ERR_UNSUPPORTED, "GGUF cannot express the merges of this tokenizer");
	return scores;
}

/* What is done to text before it is split. */
static void
put_normalizer(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	const TeJson *map = find_component(te_json_get(tokenizer, "normalizer"), "Precompiled");

	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.remove_extra_whitespaces"),
					 find_component(te_json_get(tokenizer, "pre_tokenizer"), "WhitespaceSplit") != NULL ||
					 find_component(te_json_get(tokenizer, "normalizer"), "Strip") != NULL);
	if (map != NULL)
	{
		TeStr		bytes = te_base64_decode(arena, te_json_str(map, "precompiled_charsmap", ""));
		TeJson	   *list = te_json_new_array(arena, bytes.len);

		for (size_t i = 0; i < bytes.len; i++)
			te_json_set_int(&list->items[i], (uint8_t) bytes.data[i]);
		put_array(arena, meta, "tokenizer.ggml.precompiled_charsmap", list);
	}
}

/* What both kinds of SentencePiece model have. */
static void
put_spm(TeArena *arena, const TeJson *tokenizer, TeJson *meta, Vocabulary *vocabulary, const double *scores, TeStr unk)
{
	const TeJson *normalizer = te_json_get(tokenizer, "normalizer");
	const TeJson *metaspace = find_component(te_json_get(tokenizer, "pre_tokenizer"), "Metaspace");
	bool		prefix = find_component(normalizer, "Prepend") != NULL ||
		(metaspace != NULL && !te_str_is(te_json_str(metaspace, "prepend_scheme", "always"), "never") &&
		 te_json_bool(metaspace, "add_prefix_space", true));

	mark_bytes(vocabulary, unk);
	put_vocabulary(arena, meta, vocabulary);
	put_scores(arena, meta, scores, vocabulary->n);
	put_ends(arena, tokenizer, meta, vocabulary, TE_STR("<s>"), TE_STR("</s>"));
	put_special(arena, meta, vocabulary, "tokenizer.ggml.unknown_token_id", unk);
	put_special(arena, meta, vocabulary, "tokenizer.ggml.padding_token_id", TE_STR("<pad>"));
	te_json_set_bool(te_json_add(arena, meta, "tokenizer.ggml.add_space_prefix"), prefix);
	put_normalizer(arena, tokenizer, meta);
}

/*
 * What these do cannot be said in the keys that llama.cpp reads.  Our own reader goes by the whole tokenizer.json, which is in
 * the file too.  Nearly all text is in NFC anyway.
 */
static void
report_normalizers(const TeJson *tokenizer)
{
	static const char *const types[] = {"NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"};

	for (size_t i = 0; i < TE_LENGTH(types); i++)
		if (find_component(te_json_get(tokenizer, "normalizer"), types[i]) != NULL)
			te_report(TE_WARNING, "llama.cpp cannot do what the normalizer \"%s\" of this tokenizer does, and reads texts otherwise", types[i]);
	if (find_component(te_json_get(tokenizer, "normalizer"), "NFC") != NULL)
		te_report(TE_NOTICE, "llama.cpp does not normalize text for this tokenizer: it must be in NFC already");
}

/* BPE: with byte fallback it is SentencePiece's, else GPT-2's. */
static void
to_bpe(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	const TeJson *model = te_json_get(tokenizer, "model");
	bool		is_spm = te_json_bool(model, "byte_fallback", false);
	Vocabulary	vocabulary;

	report_normalizers(tokenizer);
	list_tokens(arena, tokenizer, &vocabulary);
	mark_added(tokenizer, &vocabulary);
	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.model"), is_spm ? TE_STR("llama") : TE_STR("gpt2"));
	if (!is_spm)
		to_gpt2(arena, tokenizer, meta, &vocabulary);
	else
	{
		te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.pre"), TE_STR("default"));
		put_spm(arena, tokenizer, meta, &vocabulary, scores_of_merges(arena, tokenizer, &vocabulary),
				te_json_str(model, "unk_token", ""));
	}
}

/* Tokens beyond the model's own have score 0. */
static void
to_unigram(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	const TeJson *model = te_json_get(tokenizer, "model");
	const TeJson *vocab = te_json_get(model, "vocab");
	int64_t		unk = te_json_int(model, "unk_id", -1);
	Vocabulary	vocabulary;
	double	   *scores;

	report_normalizers(tokenizer);
	list_tokens(arena, tokenizer, &vocabulary);
	mark_added(tokenizer, &vocabulary);
	scores = te_new_array(arena, double, vocabulary.n);
	for (size_t i = 0; vocab != NULL && vocab->kind == TE_JSON_ARRAY && i < vocab->n && i < vocabulary.n; i++)
		if (vocab->items[i].kind == TE_JSON_ARRAY && vocab->items[i].n == 2)
			scores[i] = vocab->items[i].items[1].kind == TE_JSON_REAL ? vocab->items[i].items[1].real :
				(double) vocab->items[i].items[1].integer;
	put_spm(arena, tokenizer, meta, &vocabulary, scores,
			unk >= 0 && (size_t) unk < vocabulary.n ? vocabulary.tokens[unk] : (TeStr) {NULL, 0});
	te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.pre"), TE_STR("default"));
}

static const ModelRow model_rows[] =
{
	{"bert", "WordPiece", from_bert, to_bert},
	{"gpt2", "BPE", from_gpt2, to_bpe},
	{"llama", "BPE", from_llama, to_bpe},
	{"t5", "Unigram", from_t5, to_unigram},
};

/* By the row of tokenizer.ggml.model. */
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

/* By the first row of this model type. */
void
te_tokenizer_to_gguf(TeArena *arena, const TeJson *tokenizer, TeJson *meta)
{
	TeStr		type = te_model_type(te_json_get(tokenizer, "model"));

	for (size_t i = 0; i < TE_LENGTH(model_rows); i++)
		if (te_str_is(type, model_rows[i].type))
		{
			te_json_set_str(te_json_add(arena, meta, "tokenizer.ggml.model"), te_str(model_rows[i].name));
			model_rows[i].to(arena, tokenizer, meta);
			return;
		}
	te_throw(TE_ERR_UNSUPPORTED, "GGUF has no tokenizer of type \"%.*s\"", TE_STR_ARGS(type));
}
