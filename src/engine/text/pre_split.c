/*-------------------------------------------------------------------------
 * pre_split.c
 *	  Pre-tokenizers that only cut: Whitespace, WhitespaceSplit, Punctuation,
 *	  Digits, CharDelimiterSplit, UnicodeScripts, FixedLength and Split.
 *
 * Each marks what it looks for; split.c does the rest.
 *-------------------------------------------------------------------------
 */
#include "text/pattern.h"

/* Each character with a property is a match. */
static void
mark_flag(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	uint32_t	flag = *(const uint32_t *) param;

	for (size_t i = 0; i < n; i++)
		if (te_uc_is(in[i].c & TE_CHAR_CODE, flag))
			te_mark(in, n, i, i + 1);
}

/* ---- Whitespace: runs of word characters, runs of neither word characters nor spaces ---- */

/* What matches is kept: the split is inverted. */
static void
mark_words(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n;)
	{
		uint32_t	flags = te_uc_class(in[i].c & TE_CHAR_CODE)->flags & (TE_UC_RE_WORD | TE_UC_RE_SPACE);
		size_t		to = i + 1;

		while (to < n && (te_uc_class(in[to].c & TE_CHAR_CODE)->flags & (TE_UC_RE_WORD | TE_UC_RE_SPACE)) == flags)
			to++;
		if (!(flags & TE_UC_RE_SPACE))
			te_mark(in, n, i, to);
		i = to;
	}
}

/* Everything that is no match goes. */
static void
run_whitespace(TeEncoder *encoder, const void *param)
{
	te_split(encoder, mark_words, NULL, TE_SPLIT_REMOVED, true);
}

const TeRow te_pre_whitespace = {"Whitespace", te_compile_plain, run_whitespace};

/* Runs of spaces leave no empty pieces. */
static void
run_whitespace_split(TeEncoder *encoder, const void *param)
{
	const uint32_t flag = TE_UC_WHITE;

	te_split(encoder, mark_flag, &flag, TE_SPLIT_REMOVED, false);
}

const TeRow te_pre_whitespace_split = {"WhitespaceSplit", te_compile_plain, run_whitespace_split};

/* ---- Punctuation, Digits, CharDelimiterSplit ---- */

/* Isolated by default. */
static void
compile_punctuation(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeBehavior	behavior = te_behavior(compiler, node, "behavior");

	te_emit(compiler, kind, &behavior, sizeof(behavior));
}

/* The same characters as BERT's. */
static void
run_punctuation(TeEncoder *encoder, const void *param)
{
	const uint32_t flag = TE_UC_PUNCT;

	te_split(encoder, mark_flag, &flag, *(const TeBehavior *) param, false);
}

const TeRow te_pre_punctuation = {"Punctuation", compile_punctuation, run_punctuation};

/* A number is one piece, or each digit is. */
static void
compile_digits(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeBehavior	behavior = te_json_bool(node, "individual_digits", false) ? TE_SPLIT_ISOLATED : TE_SPLIT_CONTIGUOUS;

	te_emit(compiler, kind, &behavior, sizeof(behavior));
}

/* Digits of all scripts, and other numerals. */
static void
run_digits(TeEncoder *encoder, const void *param)
{
	const uint32_t flag = TE_UC_NUMERIC;

	te_split(encoder, mark_flag, &flag, *(const TeBehavior *) param, false);
}

const TeRow te_pre_digits = {"Digits", compile_digits, run_digits};

/* One character. */
static void
compile_delimiter(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	uint32_t	delimiter = te_char_member(compiler, node, "delimiter");

	te_emit(compiler, kind, &delimiter, sizeof(delimiter));
}

/* By equality. */
static void
mark_delimiter(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
		if ((in[i].c & TE_CHAR_CODE) == *(const uint32_t *) param)
			te_mark(in, n, i, i + 1);
}

/* The delimiter goes. */
static void
run_delimiter(TeEncoder *encoder, const void *param)
{
	te_split(encoder, mark_delimiter, param, TE_SPLIT_REMOVED, false);
}

const TeRow te_pre_delimiter = {"CharDelimiterSplit", compile_delimiter, run_delimiter};

/* ---- UnicodeScripts: where the script changes; what joins with any script stays with the one before ---- */

/* A border where a script follows another one. */
static void
mark_scripts(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	uint8_t		last = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint8_t		script = te_uc_class(in[i].c & TE_CHAR_CODE)->script;

		if (script == 0)
			continue;
		/* Like the reference, lose what comes before the first script */
		if (last == 0 && i > 0)
			te_mark(in, n, 0, i);
		else if (script != last)
			te_mark(in, n, i, i);
		last = script;
	}
	if (last == 0)
		te_mark(in, n, 0, n);
}

/* Borders are empty matches, of which there is nothing to remove. */
static void
run_scripts(TeEncoder *encoder, const void *param)
{
	te_split(encoder, mark_scripts, NULL, TE_SPLIT_REMOVED, false);
}

const TeRow te_pre_scripts = {"UnicodeScripts", te_compile_plain, run_scripts};

/* ---- FixedLength: every so many characters ---- */

/* In characters. */
static void
compile_fixed_length(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	uint32_t	length = (uint32_t) te_json_int_range(node, "length", 5, 1, INT32_MAX);

	te_emit(compiler, kind, &length, sizeof(length));
}

/* A border at each multiple. */
static void
mark_fixed_length(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i += *(const uint32_t *) param)
		te_mark(in, n, i, i);
}

/* By borders alone. */
static void
run_fixed_length(TeEncoder *encoder, const void *param)
{
	te_split(encoder, mark_fixed_length, param, TE_SPLIT_ISOLATED, false);
}

const TeRow te_pre_fixed_length = {"FixedLength", compile_fixed_length, run_fixed_length};

/* ---- Split: by a string or a regular expression ---- */

typedef struct SplitParam
{
	TePattern	pattern;
	TeBehavior	behavior;
	bool		invert;
} SplitParam;

/* invert keeps what does not match in place of what does. */
static void
compile_split(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	SplitParam	param = {.pattern = te_pattern_compile(compiler, te_json_get(node, "pattern"))};

	param.behavior = te_behavior(compiler, node, "behavior");
	param.invert = te_json_bool(node, "invert", false);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* See split.c for the behaviours. */
static void
run_split(TeEncoder *encoder, const void *data)
{
	const SplitParam *param = data;

	te_split(encoder, te_pattern_mark, &param->pattern, param->behavior, param->invert);
}

const TeRow te_pre_split = {"Split", compile_split, run_split};
