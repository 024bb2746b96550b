/*-------------------------------------------------------------------------
 * pattern.c
 *	  Matching strings and regular expressions, and keeping the latter compiled.
 *
 * PCRE2 gets all its memory from the top of the scratch, through an allocator that
 * never frees: what a match took is given back as a whole when its
 * step ends.  There is no JIT, and the number of steps and the memory of a match
 * are bounded; a match that passes a bound ends the call with TE_TEXT_LIMIT.
 *
 * Matches are found as the reference finds them: left to right, each from the end of
 * the one before; an empty match right behind another one does not count.
 *-------------------------------------------------------------------------
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/pattern.h"
#include "text/splitters.h"

#define MOST_STEPS 200000		/* of one match ... */
#define MOST_HEAP 256			/* ... and kB ... */
#define HEAP_FACTOR 128			/* ... and bytes for each character of the piece */
#define MOST_PATTERNS 64
#define COMPILE_OPTIONS (PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK)

enum
{
	PATTERN_LITERAL,
	PATTERN_SPLITTER,
	PATTERN_REGEX
};

/* ---- PCRE2's memory ---- */

/* PCRE2 takes NULL for an end of memory, and te_high() has set the status. */
static void *
take_memory(size_t bytes, void *encoder)
{
	return te_high(encoder, bytes);
}

/* What was taken goes as a whole. */
static void
give_back(void *block, void *encoder)
{
}

/* NULL where there is no room. */
static pcre2_general_context *
memory_of(TeEncoder *encoder)
{
	return pcre2_general_context_create(take_memory, give_back, encoder);
}

/* At compile time an arena serves, and throws where it is full. */
static void *
take_arena(size_t bytes, void *arena)
{
	return te_alloc(arena, bytes);
}

/* ---- compiling ---- */

/* NULL where there is no memory, or with an error code. */
static pcre2_code *
compile_with(pcre2_general_context *memory, TeStr text, int *error, size_t *offset)
{
	pcre2_compile_context *context = memory != NULL ? pcre2_compile_context_create(memory) : NULL;

	if (context == NULL)
		return NULL;
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	return pcre2_compile((PCRE2_SPTR) text.data, text.len, COMPILE_OPTIONS, error, offset, context);
}

/* Throws where an expression does not compile, so that encoding need not expect it. */
static void
check_regex(TeCompiler *compiler, TeStr source, TeStr text)
{
	TeArena    *arena = te_arena_create(compiler->arena, "pattern");
	int			error = 0;
	size_t		offset = 0;
	PCRE2_UCHAR message[160] = "";

	if (compile_with(pcre2_general_context_create(take_arena, give_back, arena), text, &error, &offset) == NULL)
	{
		pcre2_get_error_message(error, message, sizeof(message));
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: pattern \"%.*s\" of the %s is not understood: %s",
				 TE_STR_ARGS(source), compiler->part, (const char *) message);
	}
	te_arena_destroy(arena);
}

/* A known pattern is done by hand, any other one goes into the image. */
static TePattern
compile_regex(TeCompiler *compiler, TeStr source)
{
	TeTokenizer *header = &compiler->header;
	TePattern	pattern = {.kind = PATTERN_REGEX,.number = header->n_patterns};
	TeStr		text;

	for (uint32_t i = 0; te_splitters[i].pattern != NULL; i++)
		if (te_str_is(source, te_splitters[i].pattern))
			return (TePattern) {.kind = PATTERN_SPLITTER,.number = i};
	if (header->n_patterns == MOST_PATTERNS)
		te_throw(TE_ERR_UNSUPPORTED, "tokenizer: more than %d patterns", MOST_PATTERNS);
	if (compiler->patterns == NULL)
		compiler->patterns = te_new_array(compiler->arena, TeImageStr, MOST_PATTERNS);
	text = te_regex_translate(compiler->arena, source);
	check_regex(compiler, source, text);
	compiler->patterns[header->n_patterns++] = te_image_add_str(compiler, text);
	return pattern;
}

/* A bare string is a literal, as older files have it. */
TePattern
te_pattern_compile(TeCompiler *compiler, const TeJson *node)
{
	const TeJson *literal = te_json_get(node, "String");
	const TeJson *regex = te_json_get(node, "Regex");

	if (node != NULL && node->kind == TE_JSON_STRING)
		literal = node;
	if (literal != NULL && literal->kind == TE_JSON_STRING)
		return (TePattern) {.kind = PATTERN_LITERAL,.literal = te_image_add_chars(compiler, literal->string)};
	if (regex != NULL && regex->kind == TE_JSON_STRING)
		return compile_regex(compiler, regex->string);
	te_throw(TE_ERR_CORRUPT, "tokenizer: pattern of the %s is neither String nor Regex", compiler->part);
}

/* The image has its characters. */
TeStr
te_pattern_text(const TeTokenizer *tokenizer, const TePattern *pattern, TeArena *arena)
{
	const uint32_t *chars = te_at(tokenizer, pattern->literal.at);
	char	   *text;
	size_t		len = 0;

	if (pattern->kind != PATTERN_LITERAL)
		return (TeStr) {NULL, 0};
	text = te_alloc(arena, te_mul_size(pattern->literal.n, 4));
	for (uint32_t i = 0; i < pattern->literal.n; i++)
		len += te_utf8_put(text + len, (int32_t) chars[i]);
	return (TeStr) {text, len};
}

/* Compile all expressions of the tokenizer at the top of the memory, unless they are there from before. */
void
te_patterns_open(TeEncoder *encoder, TeTextScratch *scratch)
{
	const TeTokenizer *tokenizer = encoder->tokenizer;
	const TeImageStr *texts = te_at(tokenizer, tokenizer->patterns);
	const void **codes;
	pcre2_general_context *memory;

	if (tokenizer->n_patterns == 0)
		return;
	if (scratch->kept > 0 && scratch->kept_for == tokenizer->digest && scratch->kept_memory == scratch->memory &&
		scratch->kept_bytes == scratch->bytes)
	{
		encoder->high -= scratch->kept;
		encoder->patterns = (const void **) (encoder->memory + encoder->high);
		return;
	}
	scratch->kept = 0;
	codes = te_high(encoder, 0);
	memory = memory_of(encoder);
	for (uint32_t i = 0; i < tokenizer->n_patterns && encoder->status == TE_TEXT_OK; i++)
	{
		int			error;
		size_t		offset;
		pcre2_code *code = compile_with(memory, te_image_str(tokenizer, texts[i]), &error, &offset);
		const void **list;

		/* Each goes into a new list in front of the others' memory: the last list is complete */
		list = te_high(encoder, tokenizer->n_patterns * sizeof(void *));
		if (code == NULL || list == NULL)
		{
			encoder->status = TE_TEXT_MORE;
			return;
		}
		if (i > 0)
			memcpy(list, codes, i * sizeof(void *));
		list[i] = code;
		codes = list;
	}
	encoder->patterns = codes;
	scratch->kept = (scratch->bytes & ~(size_t) 63) - encoder->high;
	scratch->kept_for = tokenizer->digest;
	scratch->kept_memory = scratch->memory;
	scratch->kept_bytes = scratch->bytes;
}

/* ---- matching ---- */

/* Matches do not overlap; an empty literal matches nowhere. */
static void
each_literal(TeEncoder *encoder, TeChar *in, size_t n, const TePattern *pattern, TeFound found, void *arg)
{
	const uint32_t *literal = te_at(encoder->tokenizer, pattern->literal.at);
	size_t		len = pattern->literal.n;

	for (size_t i = 0; len > 0 && i + len <= n;)
	{
		size_t		k = 0;

		while (k < len && (in[i + k].c & TE_CHAR_CODE) == literal[k])
			k++;
		if (k == len)
			found(arg, i, i + len);
		i += k == len ? len : 1;
	}
}

/* A piece as UTF-8, and where its characters begin. */
typedef struct Subject
{
	char	   *bytes;
	uint32_t   *at;				/* n + 1 */
	size_t		n;
} Subject;

/*
 * PCRE2 has tables of its own, as old as the library.  A character that had
 * another category in Unicode 14, which the oldest library knows, is shown to it as an older one
 * that is like it.
 */
static uint32_t
shown_as(uint32_t c)
{
	static const struct
	{
		uint32_t	flag;
		uint32_t	c;
	}			likes[] = {
		{TE_UC_LU, 0x1D400}, {TE_UC_LL, 0x1D41A}, {TE_UC_LT, 0x1F88}, {TE_UC_LM, 0x16F93}, {TE_UC_LO, 0x10280},
		{TE_UC_M, 0x1E000}, {TE_UC_ND, 0x1D7CE}, {TE_UC_N, 0x10107}, {TE_UC_P, 0x10100}, {TE_UC_S, 0x1D000}
	};
	uint32_t	flags = te_uc_class(c)->flags;

	if (!(flags & TE_UC_NEW))
		return c;
	if (c >= 0x20000 && (flags & TE_UC_LO))
		return 0x2FA1D;			/* an ideograph */
	for (size_t i = 0; i < TE_LENGTH(likes); i++)
		if (flags & likes[i].flag)
			return likes[i].c;
	return c;
}

/* False where there is no room. */
static bool
make_subject(TeEncoder *encoder, const TeChar *in, size_t n, Subject *subject)
{
	uint32_t	len = 0;

	subject->n = n;
	subject->at = te_high(encoder, (n + 1) * sizeof(uint32_t));
	subject->bytes = te_high(encoder, n * 4);
	if (subject->at == NULL || subject->bytes == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		subject->at[i] = len;
		len += (uint32_t) te_utf8_put(subject->bytes + len, (int32_t) shown_as(in[i].c & TE_CHAR_CODE));
	}
	subject->at[n] = len;
	return true;
}

/* The matches of a subject, by a context and match data that are made for it. */
static void
match_subject(TeEncoder *encoder, const Subject *subject, const pcre2_code *code, TeFound found, void *arg)
{
	pcre2_general_context *memory = memory_of(encoder);
	pcre2_match_data *match = memory != NULL ? pcre2_match_data_create(1, memory) : NULL;
	pcre2_match_context *context = memory != NULL ? pcre2_match_context_create(memory) : NULL;
	size_t		from = 0;		/* characters */
	size_t		last = SIZE_MAX;	/* where the last match ended */

	if (match == NULL || context == NULL)
		return;
	pcre2_set_match_limit(context, MOST_STEPS);
	pcre2_set_heap_limit(context, (uint32_t) (MOST_HEAP + subject->n * HEAP_FACTOR / 1024));
	while (from <= subject->n)
	{
		const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
		int			result = pcre2_match(code, (PCRE2_SPTR) subject->bytes, subject->at[subject->n], subject->at[from],
										 PCRE2_NO_UTF_CHECK, match, context);
		size_t		to;

		if (result == PCRE2_ERROR_NOMATCH)
			return;
		if (result < 0 || span[0] > span[1])
		{
			if (encoder->status == TE_TEXT_OK)
				encoder->status = TE_TEXT_LIMIT;
			return;
		}
		while (subject->at[from] < span[0])
			from++;
		for (to = from; subject->at[to] < span[1];)
			to++;
		if (from == to && to == last)
			from++;
		else
		{
			found(arg, from, to);
			from = last = to;
		}
	}
}

/* All memory of the match is given back. */
static void
each_regex(TeEncoder *encoder, TeChar *in, size_t n, const TePattern *pattern, TeFound found, void *arg)
{
	size_t		high = encoder->high;
	Subject		subject;

	if (make_subject(encoder, in, n, &subject))
		match_subject(encoder, &subject, encoder->patterns[pattern->number], found, arg);
	te_release(encoder, high);
}

typedef struct Marking
{
	TeChar	   *in;
	size_t		n;
} Marking;

/* For te_pattern_each(). */
static void
mark_found(void *arg, size_t from, size_t to)
{
	Marking    *marking = arg;

	te_mark(marking->in, marking->n, from, to);
}

/* The matches of a splitter, from the marks that it sets. */
static void
each_split(TeEncoder *encoder, TeChar *in, size_t n, const TePattern *pattern, TeFound found, void *arg)
{
	size_t		from = 0;

	te_splitters[pattern->number].mark(encoder, in, n, &te_splitters[pattern->number].param);
	for (size_t i = 1; i <= n; i++)
		if (i == n || (in[i].c & TE_CHAR_SEGMENT))
		{
			found(arg, from, i);
			from = i;
		}
}

/* By kind. */
void
te_pattern_each(TeEncoder *encoder, TeChar *in, size_t n, const TePattern *pattern, TeFound found, void *arg)
{
	if (pattern->kind == PATTERN_LITERAL)
		each_literal(encoder, in, n, pattern, found, arg);
	else if (pattern->kind == PATTERN_REGEX)
		each_regex(encoder, in, n, pattern, found, arg);
	else
		each_split(encoder, in, n, pattern, found, arg);
}

/* A splitter marks by itself. */
void
te_pattern_mark(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	const TePattern *pattern = param;
	Marking		marking = {in, n};

	if (pattern->kind == PATTERN_SPLITTER)
		te_splitters[pattern->number].mark(encoder, in, n, &te_splitters[pattern->number].param);
	else
		te_pattern_each(encoder, in, n, pattern, mark_found, &marking);
}
