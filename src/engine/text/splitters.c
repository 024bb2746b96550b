/*-------------------------------------------------------------------------
 * splitters.c
 *	  The split patterns of GPT-2 and of the cl100k family, by hand.
 *
 * A pattern is recognized by its exact text.  Both are a list of
 * alternatives that are tried in order at each place; together they match every
 * character, so that the matches are the pieces.  Property flags come from
 * the same table as everything else, which makes ids independent of
 * the regular expression library of the system.
 *
 * To add one: the function, and a row at the end of the table.
 *-------------------------------------------------------------------------
 */
#include "text/splitters.h"

#define LETTER TE_UC_L
#define NUMBER TE_UC_N
#define SPACE TE_UC_ON_SPACE

/* Without flags. */
static inline uint32_t
code(const TeChar *in, size_t i)
{
	return in[i].c & TE_CHAR_CODE;
}

/* Properties of a character. */
static inline uint32_t
flags(const TeChar *in, size_t i)
{
	return te_uc_class(code(in, i))->flags;
}

/* Where a run of characters with (or, negated, without) flags ends. */
static size_t
run_of(const TeChar *in, size_t n, size_t i, uint32_t any)
{
	while (i < n && (flags(in, i) & any))
		i++;
	return i;
}

/* The same for characters without any of the flags. */
static size_t
run_without(const TeChar *in, size_t n, size_t i, uint32_t any)
{
	while (i < n && !(flags(in, i) & any))
		i++;
	return i;
}

/* A letter in either case; U+017F is an s when case is ignored. */
static inline bool
is_letter(uint32_t c, char letter, bool any_case)
{
	if (c == (uint32_t) letter)
		return true;
	return any_case && (c == (uint32_t) (letter - 'a' + 'A') || (letter == 's' && c == 0x17F));
}

/* 's 't 're 've 'm 'll 'd: where it ends, or i */
static size_t
contraction(const TeChar *in, size_t n, size_t i, bool any_case)
{
	static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};

	if (code(in, i) != '\'')
		return i;
	for (size_t k = 0; k < TE_LENGTH(endings); k++)
	{
		size_t		len = strlen(endings[k]);
		size_t		j = 0;

		while (j < len && i + 1 + j < n && is_letter(code(in, i + 1 + j), endings[k][j], any_case))
			j++;
		if (j == len)
			return i + 1 + len;
	}
	return i;
}

/* A run of spaces from i: all at the end of the text or if single, else all but the last. */
static size_t
spaces(const TeChar *in, size_t n, size_t i)
{
	size_t		to = run_of(in, n, i, SPACE);

	return to < n && to - i > 1 ? to - 1 : to;
}

/*
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 */
static size_t
gpt2_piece(const TeChar *in, size_t n, size_t i)
{
	size_t		to = contraction(in, n, i, false);
	size_t		at = i + (code(in, i) == ' ' && i + 1 < n);
	uint32_t	f = flags(in, at);

	if (to > i)
		return to;
	if (f & LETTER)
		return run_of(in, n, at, LETTER);
	if (f & NUMBER)
		return run_of(in, n, at, NUMBER);
	if (!(f & SPACE))
		return run_without(in, n, at, SPACE | LETTER | NUMBER);
	return spaces(in, n, i);
}

/* Every character is in a match. */
void
te_split_gpt2(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n;)
	{
		size_t		to = gpt2_piece(in, n, i);

		te_mark(in, n, i, to);
		i = to;
	}
}

/* [\r\n] */
static inline bool
is_line_end(uint32_t c)
{
	return c == '\r' || c == '\n';
}

/* \s*[\r\n]+: a run of spaces up to and with its last line end; i where there is none */
static size_t
up_to_line_end(const TeChar *in, size_t n, size_t i)
{
	size_t		end = run_of(in, n, i, SPACE);

	while (end > i && !is_line_end(code(in, end - 1)))
		end--;
	return end;
}

/*
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * with most_digits in place of the 3
 */
static size_t
cl100k_piece(const TeChar *in, size_t n, size_t i, size_t most_digits)
{
	size_t		to = contraction(in, n, i, true);
	uint32_t	f = flags(in, i);
	size_t		at = i;

	if (to > i)
		return to;
	if (f & LETTER)
		return run_of(in, n, i, LETTER);
	if (!(f & NUMBER) && !is_line_end(code(in, i)) && i + 1 < n && (flags(in, i + 1) & LETTER))
		return run_of(in, n, i + 1, LETTER);
	if (f & NUMBER)
		return run_of(in, TE_MIN(n, i + most_digits), i, NUMBER);
	if (code(in, i) == ' ' && i + 1 < n)
		at++;
	if (!(flags(in, at) & (SPACE | LETTER | NUMBER)))
	{
		to = run_without(in, n, at, SPACE | LETTER | NUMBER);
		while (to < n && is_line_end(code(in, to)))
			to++;
		return to;
	}
	to = up_to_line_end(in, n, i);
	return to > i ? to : spaces(in, n, i);
}

/* param: how many digits may be together. */
static void
split_cl100k(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n;)
	{
		size_t		to = cl100k_piece(in, n, i, *(const uint32_t *) param);

		te_mark(in, n, i, to);
		i = to;
	}
}

const TeSplitter te_splitters[] =
{
	{"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", te_split_gpt2},
	{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	split_cl100k, 3},
	{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	split_cl100k, 1},
	{NULL}
};
