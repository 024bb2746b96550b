/*-------------------------------------------------------------------------
 * spm.c
 *	  SentencePiece models into tokenizer.json.
 *
 * T. Kudo and J. Richardson, "SentencePiece", 2018; the file is a protocol
 * buffer (sentencepiece_model.proto), of which three messages matter: pieces
 * (text, score, type), the trainer's options, and the normalizer's.
 * The wire format is read here: a key (field number and type), then a
 * varint, 4 or 8 bytes, or a length and so many bytes.
 *
 * The file does not say how a model puts special tokens around a text, nor
 * which ids it uses (XLM-R counts from another token), so model types that have conventions of
 * their own are rows of a table.  Any other one is treated as SentencePiece's own
 * encoder treats it.
 *
 * To add a convention: a function and a row.
 *-------------------------------------------------------------------------
 */
#include "text/convert.h"

#define MARK "\xe2\x96\x81"		/* U+2581, a space */

/* ---- the wire format ---- */

typedef struct Wire
{
	const uint8_t *at;
	const uint8_t *end;
	const uint8_t *file;		/* for messages: where it begins */
} Wire;

typedef struct Field
{
	uint32_t	number;
	uint64_t	value;			/* varint, or the bytes of a fixed one */
	TeStr		bytes;			/* of a message or string */
} Field;

/* The offset is that of the byte that could not be read. */
static TE_NORETURN void
malformed(const Wire *wire)
{
	te_throw(TE_ERR_CORRUPT, "SentencePiece model is malformed at byte %zu", (size_t) (wire->at - wire->file));
}

/* Seven bits a byte, lowest first. */
static uint64_t
read_varint(Wire *wire)
{
	uint64_t	value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8_t		byte;

		if (wire->at == wire->end)
			malformed(wire);
		byte = *wire->at++;
		value |= (uint64_t) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return value;
	}
	malformed(wire);
}

/* Little-endian. */
static uint64_t
read_fixed(Wire *wire, size_t bytes)
{
	uint64_t	value = 0;

	if ((size_t) (wire->end - wire->at) < bytes)
		malformed(wire);
	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t) wire->at[i] << (8 * i);
	wire->at += bytes;
	return value;
}

/* The next field of a message; false at its end. */
static bool
next_field(Wire *wire, Field *field)
{
	uint64_t	key;

	if (wire->at == wire->end)
		return false;
	key = read_varint(wire);
	*field = (Field) {.number = (uint32_t) TE_MIN(key >> 3, (uint64_t) UINT32_MAX)};
	switch (key & 7)
	{
		case 0:
			field->value = read_varint(wire);
			break;
		case 1:
			field->value = read_fixed(wire, 8);
			break;
		case 2:
			field->value = read_varint(wire);
			if (field->value > (size_t) (wire->end - wire->at))
				malformed(wire);
			field->bytes = (TeStr) {(const char *) wire->at, field->value};
			wire->at += field->value;
			break;
		case 5:
			field->value = read_fixed(wire, 4);
			break;
		default:
			malformed(wire);
	}
	return true;
}

/* A message in a message. */
static inline Wire
wire_of(TeStr bytes, const uint8_t *file)
{
	return (Wire) {(const uint8_t *) bytes.data, (const uint8_t *) bytes.data + bytes.len, file};
}

/* ---- the messages ---- */

typedef struct Model
{
	TeSpmVocab	vocab;
	const uint8_t *file;
	uint64_t	model_type;		/* 1 Unigram, 2 BPE */
} Model;

/* SentencePiece { string piece = 1; float score = 2; Type type = 3; } */
static void
read_piece(Model *model, TeStr message)
{
	Wire		wire = wire_of(message, model->file);
	TeSpmVocab *vocab = &model->vocab;
	Field		field;
	size_t		i = vocab->n++;

	vocab->tokens[i] = TE_STR("");
	vocab->types[i] = TE_SPM_NORMAL;
	while (next_field(&wire, &field))
	{
		if (field.number == 1)
			vocab->tokens[i] = field.bytes.data != NULL ? field.bytes : TE_STR("");
		else if (field.number == 2)
		{
			uint32_t	bits = (uint32_t) field.value;
			float		score;

			memcpy(&score, &bits, sizeof(score));
			vocab->scores[i] = score;
		}
		else if (field.number == 3)
			vocab->types[i] = (int64_t) field.value;
	}
	if (!te_utf8_valid(vocab->tokens[i]) || !(vocab->scores[i] > -1e30 && vocab->scores[i] < 1e30))
		te_throw(TE_ERR_CORRUPT, "SentencePiece model: piece %zu is not valid", i);
}

/* TrainerSpec: model_type = 3, byte_fallback = 35, unk_id, bos_id, eos_id, pad_id = 40 .. 43 */
static void
read_trainer(Model *model, TeStr message)
{
	Wire		wire = wire_of(message, model->file);
	int64_t    *ids[] = {&model->vocab.unk, &model->vocab.bos, &model->vocab.eos, &model->vocab.pad};
	Field		field;

	while (next_field(&wire, &field))
	{
		if (field.number == 3)
			model->model_type = field.value;
		else if (field.number == 35)
			model->vocab.byte_fallback = field.value != 0;
		else if (field.number >= 40 && field.number <= 43)
			*ids[field.number - 40] = (int32_t) field.value;
	}
}

/* NormalizerSpec: precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4 */
static void
read_normalizer(Model *model, TeStr message)
{
	Wire		wire = wire_of(message, model->file);
	Field		field;

	while (next_field(&wire, &field))
	{
		if (field.number == 2 && field.bytes.data != NULL)
			model->vocab.charsmap = field.bytes;
		else if (field.number == 3)
			model->vocab.prefix_space = field.value != 0;
		else if (field.number == 4)
			model->vocab.extra_space = field.value == 0;
	}
}

/* ModelProto { repeated SentencePiece pieces = 1; TrainerSpec = 2; NormalizerSpec = 3; } */
static void
read_model(TeArena *arena, TeStr bytes, Model *model)
{
	const uint8_t *file = (const uint8_t *) bytes.data;
	Wire		wire = wire_of(bytes, file);
	Field		field;
	size_t		n = 0;

	while (next_field(&wire, &field))
		n += field.number == 1;
	*model = (Model) {.file = file,.model_type = 1,.vocab = {.prefix_space = true,.unk = 0,.bos = 1,.eos = 2,.pad = -1}};
	model->vocab.tokens = te_new_array(arena, TeStr, n);
	model->vocab.scores = te_new_array(arena, double, n);
	model->vocab.types = te_new_array(arena, int64_t, n);
	wire = wire_of(bytes, file);
	while (next_field(&wire, &field))
	{
		if (field.number == 1)
			read_piece(model, field.bytes.data != NULL ? field.bytes : TE_STR(""));
		else if (field.number == 2 && field.bytes.data != NULL)
			read_trainer(model, field.bytes);
		else if (field.number == 3 && field.bytes.data != NULL)
			read_normalizer(model, field.bytes);
	}
	if (model->vocab.n == 0)
		te_throw(TE_ERR_CORRUPT, "SentencePiece model has no pieces");
	if (model->model_type != 1 && model->model_type != 2)
		te_throw(TE_ERR_UNSUPPORTED, "SentencePiece model of type %llu is not supported (Unigram and BPE are)",
				 (unsigned long long) model->model_type);
	model->vocab.is_bpe = model->model_type == 2;
}

/* ---- components ---- */

typedef struct Spm
{
	TeTokenizerBuild build;
	TeSpmVocab *vocab;
	const TeJson *config;
	const char *mask;			/* the mask token, unless the configuration names another */
	bool		lstrip_last;	/* the mask token takes the spaces before it */
} Spm;

/* By id; ids beyond the vocabulary are none. */
static TeBuildSpecial
special_of(const TeSpmVocab *vocab, int64_t id)
{
	if (id < 0 || (size_t) id >= vocab->n)
		return (TeBuildSpecial) {TE_STR(""), -1};
	return (TeBuildSpecial) {vocab->tokens[id], id};
}

/* By the configuration, or else by this name. */
static TeBuildSpecial
named(const Spm *spm, const char *key, const char *fallback)
{
	return te_special(spm->config, key, fallback, spm->vocab->tokens, spm->vocab->n);
}

/* Append tokens with score 0; the lists grow. */
static void
add_tokens(Spm *spm, const TeStr *tokens, size_t n)
{
	TeArena    *arena = spm->build.arena;
	TeSpmVocab *vocab = spm->vocab;
	TeStr	   *all = te_new_array(arena, TeStr, vocab->n + n);
	double	   *scores = te_new_array(arena, double, vocab->n + n);
	int64_t    *types = te_new_array(arena, int64_t, vocab->n + n);

	memcpy(all, vocab->tokens, vocab->n * sizeof(TeStr));
	memcpy(scores, vocab->scores, vocab->n * sizeof(double));
	memcpy(types, vocab->types, vocab->n * sizeof(int64_t));
	for (size_t i = 0; i < n; i++)
	{
		all[vocab->n + i] = tokens[i];
		types[vocab->n + i] = TE_SPM_CONTROL;
	}
	vocab->tokens = all;
	vocab->scores = scores;
	vocab->types = types;
	vocab->n += n;
}

/* Where special tokens take the spaces behind them these do not: a text, or another one, begins behind them. */
static bool
starts_text(TeStr token)
{
	return te_str_is(token, "<s>") || te_str_is(token, "<unk>") || te_str_is(token, "<|endoftext|>");
}

/*
 * Control pieces and the unknown one are added tokens.  So are user-defined ones of
 * BPE; to Unigram they are tokens of a very good score, and a text is not
 * to begin anew, with a space, behind each of them.
 */
static void
build_added(Spm *spm)
{
	TeSpmVocab *vocab = spm->vocab;
	TeBuildAdded *added = te_new_array(spm->build.arena, TeBuildAdded, vocab->n);
	int64_t		mask = named(spm, "mask_token", spm->mask != NULL ? spm->mask : "").id;
	size_t		n = 0;

	for (size_t i = 0; i < vocab->n; i++)
	{
		int64_t		type = vocab->types[i];
		bool		special = type == TE_SPM_CONTROL || type == TE_SPM_UNKNOWN || (int64_t) i == mask;

		if ((special || (type == TE_SPM_USER_DEFINED && vocab->is_bpe)) && vocab->tokens[i].len > 0)
			added[n++] = (TeBuildAdded) {vocab->tokens[i], (int64_t) i,.special = special,
			.lstrip = spm->lstrip_last && (int64_t) i == mask,.rstrip = vocab->rstrip && !starts_text(vocab->tokens[i])};
	}
	te_build_added(&spm->build, added, n);
}

/* A Sequence of normalizers: those of a list of JSON, with the character map, if there is one, at a place. */
static void
build_normalizers(Spm *spm, const char *const *list, size_t n, size_t map_at)
{
	TeTokenizerBuild *build = &spm->build;
	TeJson	   *items = te_json_new_array(build->arena, n + 1);

	items->n = 0;
	for (size_t i = 0; i <= n; i++)
	{
		if (i == map_at && spm->vocab->charsmap.len > 0)
		{
			te_build_set(build, &items->items[items->n], "{'type': 'Precompiled'}");
			te_build_str(build, &items->items[items->n++], "precompiled_charsmap",
						 te_base64(build->arena, spm->vocab->charsmap));
		}
		if (i < n)
			te_build_set(build, &items->items[items->n++], list[i]);
	}
	te_build_set(build, build->normalizer, "{'type': 'Sequence'}");
	te_build_take(build, build->normalizer, "normalizers", items);
}

/* Words, each with its spaces as marks and a mark before it; where runs of spaces count, the text as a whole. */
static void
build_metaspace(Spm *spm)
{
	TeTokenizerBuild *build = &spm->build;
	const char *json = spm->vocab->prefix_space ?
		"{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'always', 'split': true}" :
		"{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'never', 'split': true}";
	TeJson	   *list = te_json_new_array(build->arena, 2);

	te_build_set(build, build->decoder, json);
	te_build_set(build, &list->items[0], "{'type': 'WhitespaceSplit'}");
	te_build_set(build, &list->items[1], json);
	if (spm->vocab->extra_space)
		te_build_set(build, build->pre_tokenizer, json);
	else
	{
		te_build_set(build, build->pre_tokenizer, "{'type': 'Sequence'}");
		te_build_take(build, build->pre_tokenizer, "pretokenizers", list);
	}
}

/* The beginning and end tokens, as far as they are wanted. */
static void
build_ends(Spm *spm)
{
	TeSpmVocab *vocab = spm->vocab;
	const TeBuildSpecial ends[] = {special_of(vocab, vocab->add_bos ? vocab->bos : -1),
	special_of(vocab, vocab->add_eos ? vocab->eos : -1)};

	if (ends[0].id >= 0 || ends[1].id >= 0)
		te_build_template(&spm->build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 0:1 $B:1 1:1", ends, TE_LENGTH(ends));
}

/* ---- conventions of models ---- */

/*
 * BPE: no pre-tokenizer; the normalizer writes the marks, after the spaces that are not to count are gone.  Where
 * tokenizer_config.json says that this is not wanted ("legacy"), no mark is put behind special tokens.
 */
static void
convention_llama(Spm *spm)
{
	const char *list[4];
	size_t		n = 0;
	bool		legacy = te_json_bool(spm->config, "legacy", true);

	if (!spm->vocab->extra_space)
	{
		list[n++] = "{'type': 'Strip', 'strip_left': true, 'strip_right': true}";
		list[n++] = "{'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}";
	}
	if (legacy && spm->vocab->prefix_space)
		list[n++] = "{'type': 'Prepend', 'prepend': '" MARK "'}";
	if (legacy)
		list[n++] = "{'type': 'Replace', 'pattern': {'String': ' '}, 'content': '" MARK "'}";
	else
		te_build_set(&spm->build, spm->build.pre_tokenizer, spm->vocab->prefix_space ?
					 "{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'first', 'split': false}" :
					 "{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'never', 'split': false}");
	build_normalizers(spm, list, n, 0);
	te_build_set(&spm->build, spm->build.decoder, spm->vocab->prefix_space ?
				 "{'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '" MARK "'}, 'content': ' '}, "
				 "{'type': 'ByteFallback'}, {'type': 'Fuse'}, {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]}" :
				 "{'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '" MARK "'}, 'content': ' '}, "
				 "{'type': 'ByteFallback'}, {'type': 'Fuse'}]}");
	build_ends(spm);
}

/* As SentencePiece itself encodes, with its own end tokens. */
static void
convention_plain(Spm *spm)
{
	if (spm->vocab->is_bpe)
	{
		convention_llama(spm);
		return;
	}
	build_normalizers(spm, NULL, 0, 0);
	build_metaspace(spm);
	build_ends(spm);
}

/* Ids are shifted: <s>, <pad>, </s>, <unk>, then the pieces from the fourth on, then <mask>. */
static void
convention_xlm_roberta(Spm *spm)
{
	static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
	TeSpmVocab *vocab = spm->vocab;
	size_t		n = vocab->n > 3 ? vocab->n - 3 : 0;
	TeStr	   *tokens = te_new_array(spm->build.arena, TeStr, n + 4);
	double	   *scores = te_new_array(spm->build.arena, double, n + 4);
	int64_t    *types = te_new_array(spm->build.arena, int64_t, n + 4);
	const TeBuildSpecial ends[] = {{TE_STR("<s>"), 0}, {TE_STR("</s>"), 2}};
	const TeStr mask = TE_STR("<mask>");

	for (size_t i = 0; i < n + 4; i++)
	{
		tokens[i] = i < 4 ? te_str(first[i]) : vocab->tokens[i - 1];
		scores[i] = i < 4 ? 0 : vocab->scores[i - 1];
		types[i] = i < 4 ? TE_SPM_CONTROL : vocab->types[i - 1];
	}
	vocab->tokens = tokens;
	vocab->scores = scores;
	vocab->types = types;
	vocab->n = n + 4;
	vocab->unk = 3;
	add_tokens(spm, &mask, 1);
	spm->lstrip_last = true;
	build_normalizers(spm, NULL, 0, 0);
	build_metaspace(spm);
	te_build_template(&spm->build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 1:0 $B:0 1:0", ends, TE_LENGTH(ends));
}

/* <extra_id_99> .. <extra_id_0> behind the pieces; </s> behind each text. */
static void
convention_t5(Spm *spm)
{
	TeBuildSpecial end = special_of(spm->vocab, spm->vocab->eos);
	int64_t		n = te_json_int_range(spm->config, "extra_ids", 100, 0, 10000);
	TeStr	   *extra = te_new_array(spm->build.arena, TeStr, (size_t) n);

	for (int64_t i = 0; i < n; i++)
		extra[i] = te_str(te_format(spm->build.arena, "<extra_id_%lld>", (long long) (n - 1 - i)));
	add_tokens(spm, extra, (size_t) n);
	build_normalizers(spm, NULL, 0, 0);
	build_metaspace(spm);
	te_build_template(&spm->build, "$A:0 0:0", "$A:0 0:0 $B:0 0:0", &end, 1);
}

/* Quotes, accents and case, as ALBERT and XLNet normalize them before the character map. */
static void
build_cased_normalizer(Spm *spm, bool lower)
{
	const char *list[8];
	size_t		n = 0;

	list[n++] = "{'type': 'Replace', 'pattern': {'String': '``'}, 'content': '\\\"'}";
	list[n++] = "{'type': 'Replace', 'pattern': {'String': '\\u0027\\u0027'}, 'content': '\\\"'}";
	if (!te_json_bool(spm->config, "keep_accents", false))
	{
		list[n++] = "{'type': 'NFKD'}";
		list[n++] = "{'type': 'StripAccents'}";
	}
	if (te_json_bool(spm->config, "do_lower_case", lower))
		list[n++] = "{'type': 'Lowercase'}";
	build_normalizers(spm, list, n, n);
}

/* [CLS] and [SEP], and lower case by default. */
static void
convention_albert(Spm *spm)
{
	const TeBuildSpecial ends[] = {named(spm, "cls_token", "[CLS]"), named(spm, "sep_token", "[SEP]")};

	spm->lstrip_last = true;
	build_cased_normalizer(spm, true);
	build_metaspace(spm);
	te_build_template(&spm->build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 $B:1 1:1", ends, TE_LENGTH(ends));
}

/*
 * [CLS] and [SEP], and [MASK] behind the pieces.  The character map is left out, since transformers 5 leaves it
 * out: it normalizes to NFC, and nothing but the end of a text is stripped.
 */
static void
convention_deberta(Spm *spm)
{
	TeTokenizerBuild *build = &spm->build;
	const TeBuildSpecial ends[] = {named(spm, "cls_token", "[CLS]"), named(spm, "sep_token", "[SEP]")};
	const TeBuildSpecial mask = named(spm, "mask_token", spm->mask);
	const char *metaspace = te_json_bool(spm->config, "add_prefix_space", true) ?
		"{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'always', 'split': true}" :
		"{'type': 'Metaspace', 'replacement': '" MARK "', 'prepend_scheme': 'first', 'split': true}";
	TeJson	   *list = te_json_new_array(build->arena, 2);
	const char *normalizers[4];
	size_t		n = 0;

	if (mask.id < 0)
		add_tokens(spm, &mask.token, 1);
	if (te_json_bool(spm->config, "do_lower_case", false))
		normalizers[n++] = "{'type': 'Lowercase'}";
	normalizers[n++] = "{'type': 'Replace', 'pattern': {'Regex': '\\\\s{2,}|[\\\\n\\\\r\\\\t]'}, 'content': ' '}";
	normalizers[n++] = "{'type': 'NFC'}";
	normalizers[n++] = "{'type': 'Strip', 'strip_left': false, 'strip_right': true}";
	build_normalizers(spm, normalizers, n, SIZE_MAX);
	list->n = 0;
	if (te_json_bool(spm->config, "split_by_punct", false))
		te_build_set(build, &list->items[list->n++], "{'type': 'Punctuation', 'behavior': 'Isolated'}");
	te_build_set(build, &list->items[list->n++], metaspace);
	te_build_set(build, build->pre_tokenizer, "{'type': 'Sequence'}");
	te_build_take(build, build->pre_tokenizer, "pretokenizers", list);
	te_build_set(build, build->decoder, metaspace);
	te_build_template(build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 $B:1 1:1", ends, TE_LENGTH(ends));
}

/* The classification token is last, and of a type of its own. */
static void
convention_xlnet(Spm *spm)
{
	const TeBuildSpecial ends[] = {named(spm, "sep_token", "<sep>"), named(spm, "cls_token", "<cls>")};

	spm->lstrip_last = true;
	build_cased_normalizer(spm, false);
	build_metaspace(spm);
	te_build_template(&spm->build, "$A:0 0:0 1:2", "$A:0 0:0 $B:1 0:1 1:2", ends, TE_LENGTH(ends));
}

static const struct
{
	const char *model_type;
	void		(*build) (Spm *spm);
	const char *mask;			/* unless the configuration names another */
}			conventions[] = {
	{"xlm-roberta", convention_xlm_roberta, "<mask>"},
	{"camembert", convention_xlm_roberta, "<mask>"},
	{"t5", convention_t5},
	{"mt5", convention_t5},
	{"umt5", convention_t5},
	{"albert", convention_albert, "[MASK]"},
	{"xlnet", convention_xlnet, "<mask>"},
	{"deberta-v2", convention_deberta, "[MASK]"},
	{"", convention_plain},
};

/* ---- putting it together ---- */

/* Scores as they are. */
static void
build_unigram(Spm *spm)
{
	TeTokenizerBuild *build = &spm->build;
	const TeSpmVocab *vocab = spm->vocab;
	TeJson	   *list = te_json_new_array(build->arena, vocab->n);

	for (size_t i = 0; i < vocab->n; i++)
	{
		TeJson	   *pair = te_json_new_array(build->arena, 2);

		te_json_set_str(&pair->items[0], vocab->tokens[i]);
		te_json_set_real(&pair->items[1], vocab->scores[i]);
		list->items[i] = *pair;
	}
	te_build_set(build, build->model, "{'type': 'Unigram'}");
	if (vocab->unk >= 0 && (size_t) vocab->unk < vocab->n)
		te_build_int(build, build->model, "unk_id", vocab->unk);
	else
		te_json_add(build->arena, build->model, "unk_id");
	te_build_take(build, build->model, "vocab", list);
	te_build_bool(build, build->model, "byte_fallback", vocab->byte_fallback);
}

/* The convention first, as it may change the vocabulary. */
const TeJson *
te_build_spm(TeArena *arena, TeSpmVocab *vocab, const TeJson *config, TeStr model_type)
{
	Spm			spm = {.vocab = vocab,.config = config};
	TeBuildSpecial unk;
	size_t		row = 0;

	te_build_start(&spm.build, arena);
	vocab->prefix_space = te_json_bool(config, "add_prefix_space", vocab->prefix_space);
	vocab->add_bos = te_json_bool(config, "add_bos_token", vocab->add_bos);
	vocab->add_eos = te_json_bool(config, "add_eos_token", vocab->add_eos);
	while (conventions[row].model_type[0] != '\0' && !te_str_is(model_type, conventions[row].model_type))
		row++;
	spm.mask = conventions[row].mask;
	conventions[row].build(&spm);
	build_added(&spm);
	unk = special_of(vocab, vocab->unk);
	if (vocab->is_bpe)
		te_build_bpe(&spm.build, vocab->tokens, vocab->n, te_build_merges(arena, vocab->tokens, vocab->scores, vocab->n),
					 unk.id >= 0 ? te_cstring(arena, unk.token) : NULL, vocab->byte_fallback, false);
	else
		build_unigram(&spm);
	return spm.build.root;
}

/* model_type is that of config.json, empty where there is none. */
const TeJson *
te_tokenizer_from_spm(TeArena *arena, TeStr bytes, const TeJson *config, TeStr model_type)
{
	Model		model;

	read_model(arena, bytes.len > 0 ? bytes : TE_STR(""), &model);
	/* Llama's default, where no convention says otherwise */
	model.vocab.add_bos = model.vocab.is_bpe;
	return te_build_spm(arena, &model.vocab, config, model_type);
}
