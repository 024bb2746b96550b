/*-------------------------------------------------------------------------
 * train_options.c
 *	  Options of learning a vocabulary: one table with the type, bounds and kinds of each; defaults are the kind's.
 *
 * Defaults are those of the reference's ready-made trainers (BertWordPieceTokenizer,
 * ByteLevelBPETokenizer, SentencePieceUnigramTokenizer), but for the bound on the alphabet of WordPiece, which
 * is a quarter of the vocabulary where that is more than the reference's 1000: Chinese wants it.
 *
 * Special tokens are known by their names, as all that reads a tokenizer.json does (te_learn_special()).
 *
 * To add an option: a member of TeLearnOptions and a row in options[].
 *-------------------------------------------------------------------------
 */
#include "text/train.h"

#define MOST_TOKENS 1000000
#define MOST_SPECIALS 1000
#define LONGEST_SPECIAL 200
#define FEW_CHARACTERS 1000		/* bound of an alphabet, in a small vocabulary */

static const TeLearnKind *const kinds[] = {&te_learn_wordpiece, &te_learn_bpe, &te_learn_unigram};

typedef enum OptionType
{
	OPTION_BOOL,
	OPTION_STRING,
	OPTION_INTEGER,
	OPTION_FLAG,				/* a bool in an integer */
	OPTION_REAL,
	OPTION_SPECIALS
} OptionType;

#define WORDPIECE (1 << 0)
#define BPE (1 << 1)
#define UNIGRAM (1 << 2)
#define ALL (WORDPIECE | BPE | UNIGRAM)
#define MEMBER(member) offsetof(TeLearnOptions, member)

static const struct Option
{
	const char *name;
	OptionType	type;
	int			kinds;			/* bit i: of kinds[i] */
	size_t		member;
	double		min;
	double		max;
}			options[] = {
	{"add_prefix_space", OPTION_BOOL, BPE, MEMBER(add_prefix_space)},
	{"continuing_prefix", OPTION_STRING, WORDPIECE, MEMBER(prefix)},
	{"iterations", OPTION_INTEGER, UNIGRAM, MEMBER(iterations), 1, 100},
	{"limit_alphabet", OPTION_INTEGER, WORDPIECE | UNIGRAM, MEMBER(limit_alphabet), 1, MOST_TOKENS},
	{"lowercase", OPTION_BOOL, ALL, MEMBER(lowercase)},
	{"max_piece_length", OPTION_INTEGER, UNIGRAM, MEMBER(longest_piece), 1, TE_LONGEST_PIECE},
	{"max_word_length", OPTION_INTEGER, WORDPIECE, MEMBER(longest_word), 1, 1000},
	{"min_frequency", OPTION_INTEGER, WORDPIECE | BPE, MEMBER(min_frequency), 0, INT32_MAX},
	{"seed_size", OPTION_INTEGER, UNIGRAM, MEMBER(seed_size), 1, 10 * MOST_TOKENS},
	{"shrinking_factor", OPTION_REAL, UNIGRAM, MEMBER(shrinking_factor), 0.1, 0.95},
	{"special_tokens", OPTION_SPECIALS, ALL, MEMBER(specials)},
	{"strip_accents", OPTION_FLAG, ALL, MEMBER(strip_accents)},
};

/* "wordpiece, bpe, unigram": the names of the kinds whose bits are set. */
static const char *
kind_names(TeArena *arena, int bits)
{
	const char *names = "";

	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
		if (bits >> i & 1)
			names = te_format(arena, "%s%s%s", names, *names != '\0' ? ", " : "", kinds[i]->name);
	return names;
}

const TeLearnKind *
te_learn_kind(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(kinds); i++)
		if (te_str_is(name, kinds[i]->name))
			return kinds[i];
	te_throw_hint(TE_ERR_INVALID, NULL, "Use \"wordpiece\", \"bpe\" or \"unigram\".", "unknown kind of tokenizer: \"%.*s\"",
				  TE_STR_ARGS(name));
}

/* ---- values ---- */

static TE_NORETURN void
wrong_type(const struct Option *option)
{
	static const char *const types[] = {
		[OPTION_BOOL] = "true or false",[OPTION_STRING] = "a string",[OPTION_INTEGER] = "an integer",
		[OPTION_FLAG] = "true or false",[OPTION_REAL] = "a number",[OPTION_SPECIALS] = "a list of strings"
	};

	te_throw(TE_ERR_INVALID, "option \"%s\" must be %s", option->name, types[option->type]);
}

static double
number(const struct Option *option, const TeJson *value)
{
	double		real;

	if (value->kind != TE_JSON_INTEGER && (value->kind != TE_JSON_REAL || option->type == OPTION_INTEGER))
		wrong_type(option);
	real = value->kind == TE_JSON_INTEGER ? (double) value->integer : value->real;
	if (!(real >= option->min && real <= option->max))
		te_throw(TE_ERR_INVALID, "option \"%s\" must be from %g to %.10g", option->name, option->min, option->max);
	return real;
}

/* A token may not be empty, nor come twice: it would have two ids. */
static void
set_specials(TeLearnOptions *into, const struct Option *option, TeArena *arena, const TeJson *value)
{
	TeStr	   *specials;

	if (value->kind != TE_JSON_ARRAY)
		wrong_type(option);
	if (value->n > MOST_SPECIALS)
		te_throw(TE_ERR_INVALID, "option \"%s\" has more than %d tokens", option->name, MOST_SPECIALS);
	specials = te_new_array(arena, TeStr, value->n);
	for (uint32_t i = 0; i < value->n; i++)
	{
		if (value->items[i].kind != TE_JSON_STRING)
			wrong_type(option);
		specials[i] = value->items[i].string;
		if (specials[i].len == 0 || specials[i].len > LONGEST_SPECIAL)
			te_throw(TE_ERR_INVALID, "option \"%s\" has a token that is empty, or of more than %d bytes", option->name,
					 LONGEST_SPECIAL);
		for (uint32_t j = 0; j < i; j++)
			if (te_str_eq(specials[i], specials[j]))
				te_throw(TE_ERR_INVALID, "option \"%s\" has \"%.*s\" twice", option->name, TE_STR_ARGS(specials[i]));
	}
	into->specials = specials;
	into->n_specials = value->n;
}

static void
set_option(TeLearnOptions *into, const struct Option *option, TeArena *arena, const TeJson *value)
{
	void	   *member = (char *) into + option->member;

	switch (option->type)
	{
		case OPTION_BOOL:
		case OPTION_FLAG:
			if (value->kind != TE_JSON_BOOL)
				wrong_type(option);
			if (option->type == OPTION_BOOL)
				*(bool *) member = value->boolean;
			else
				*(int64_t *) member = value->boolean;
			break;
		case OPTION_STRING:
			if (value->kind != TE_JSON_STRING)
				wrong_type(option);
			*(TeStr *) member = value->string;
			break;
		case OPTION_INTEGER:
			*(int64_t *) member = (int64_t) number(option, value);
			break;
		case OPTION_REAL:
			*(double *) member = number(option, value);
			break;
		case OPTION_SPECIALS:
			set_specials(into, option, arena, value);
			break;
	}
}

static const struct Option *
find_option(TeArena *arena, const TeLearnKind *kind, TeStr name)
{
	int			bit = 0;
	const char *known = "";

	while (kinds[bit] != kind)
		bit++;
	for (size_t i = 0; i < TE_LENGTH(options); i++)
	{
		if (!(options[i].kinds >> bit & 1))
			continue;
		if (te_str_is(name, options[i].name))
			return &options[i];
		known = te_format(arena, "%s%s%s", known, *known != '\0' ? ", " : "", options[i].name);
	}
	for (size_t i = 0; i < TE_LENGTH(options); i++)
		if (te_str_is(name, options[i].name))
			te_throw_hint(TE_ERR_INVALID, te_format(arena, "It is for %s.", kind_names(arena, options[i].kinds)), NULL,
						  "option \"%s\" is not for tokenizers of kind %s", options[i].name, kind->name);
	te_throw_hint(TE_ERR_INVALID, NULL, te_format(arena, "Options of kind %s are %s.", kind->name, known),
				  "unknown option \"%.*s\"", TE_STR_ARGS(name));
}

/* ---- all of them ---- */

/* The kind's, which are separated by spaces. */
static void
default_specials(TeArena *arena, const TeLearnKind *kind, TeLearnOptions *into)
{
	TeStr	   *specials = te_new_array(arena, TeStr, strlen(kind->specials));

	for (const char *at = kind->specials; *at != '\0';)
	{
		size_t		len = strcspn(at, " ");

		specials[into->n_specials++] = (TeStr) {at, len};
		at += len + (at[len] == ' ');
	}
	into->specials = specials;
}

static void
check_sizes(const TeLearnKind *kind, const TeLearnOptions *o)
{
	if (o->vocab_size < 1 || o->vocab_size > MOST_TOKENS)
		te_throw(TE_ERR_INVALID, "size of the vocabulary must be from 1 to %d", MOST_TOKENS);
	if (o->vocab_size <= o->n_specials)
		te_throw(TE_ERR_INVALID, "a vocabulary of %lld tokens has no room beside %lld special tokens", (long long) o->vocab_size,
				 (long long) o->n_specials);
	if (kind->needs_unknown && te_learn_special(o, "[UNK] <unk>") < 0)
		te_throw_hint(TE_ERR_INVALID, NULL, "Add \"[UNK]\" or \"<unk>\" to option \"special_tokens\".",
					  "a tokenizer of kind %s needs a token for what is unknown", kind->name);
}

TeLearnOptions
te_learn_options(TeArena *arena, const TeLearnKind *kind, int64_t vocab_size, const TeJson *given)
{
	TeLearnOptions result = kind->defaults;

	result.vocab_size = vocab_size;
	default_specials(arena, kind, &result);
	if (given != NULL && given->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_INVALID, "options must be a JSON object");
	for (uint32_t i = 0; given != NULL && i < given->n; i++)
	{
		const struct Option *option = find_option(arena, kind, given->items[i].key);

		if (given->items[i].kind != TE_JSON_NULL)
			set_option(&result, option, arena, &given->items[i]);
	}
	check_sizes(kind, &result);
	if (result.limit_alphabet < 0)
		result.limit_alphabet = TE_MAX(FEW_CHARACTERS, vocab_size / 4);
	return result;
}

int64_t
te_learn_special(const TeLearnOptions *o, const char *names)
{
	while (*names != '\0')
	{
		TeStr		name = {names, strcspn(names, " ")};

		for (int64_t i = 0; i < o->n_specials; i++)
			if (te_str_eq(o->specials[i], name))
				return i;
		names += name.len + (names[name.len] == ' ');
	}
	return -1;
}

void
te_learn_too_small(const TeLearnOptions *o, size_t needed, const char *alphabet)
{
	te_throw_hint(TE_ERR_INVALID, NULL, alphabet, "a vocabulary of %lld tokens is too small: special tokens and characters alone are %zu",
				  (long long) o->vocab_size, needed);
}
