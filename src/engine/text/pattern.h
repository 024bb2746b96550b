/*-------------------------------------------------------------------------
 * pattern.h
 *	  What Split and Replace look for: a string, or a regular expression.
 *
 * Three kinds: a literal; a known split pattern, done by hand
 * (splitters.c); any other regular expression, by PCRE2.
 *-------------------------------------------------------------------------
 */
#ifndef TE_PATTERN_H
#define TE_PATTERN_H

#include "text/tokenizer.h"

typedef struct TePattern
{
	uint32_t	kind;
	uint32_t	number;			/* of the splitter, or of the expression in the image */
	TeImageChars literal;
} TePattern;

/* The member "pattern" of a component: {"String": ...} or {"Regex": ...} */
extern TePattern te_pattern_compile(TeCompiler *compiler, const TeJson *node);

/* The text that a pattern looks for, where it is no expression; {NULL, 0} where it is one. */
extern TeStr te_pattern_text(const TeTokenizer *tokenizer, const TePattern *pattern, TeArena *arena);

/* Calls found(arg, from, to) for each match in a piece, in order; from = to for an empty one. */
typedef void (*TeFound) (void *arg, size_t from, size_t to);
extern void te_pattern_each(TeEncoder *encoder, TeChar *in, size_t n, const TePattern *pattern, TeFound found, void *arg);
/* Marks the matches; param is a TePattern. */
extern void te_pattern_mark(TeEncoder *encoder, TeChar *in, size_t n, const void *param);

/*
 * A compiled expression is full of pointers, so the image has only its
 * text.  Each scratch keeps its own compiled ones at the top of its memory, made by
 * the first call and found again by the next ones with the same tokenizer.
 */
#define TE_PATTERN_SCRATCH ((size_t) 16 * 1024) /* room that one usually needs ... */
#define TE_MATCH_SCRATCH ((size_t) 64 * 1024)	/* ... and matching, whichever it is */
extern void te_patterns_open(TeEncoder *encoder, TeTextScratch *scratch);

/* Oniguruma's Ruby syntax, which files are written in, as PCRE2's (regex_syntax.c). */
extern TeStr te_regex_translate(TeArena *arena, TeStr pattern);

#endif							/* TE_PATTERN_H */
