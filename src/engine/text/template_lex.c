/*-------------------------------------------------------------------------
 * template_lex.c
 *	  Chat templates: text to tokens.
 *
 * Jinja's rules for white space, with trim_blocks and lstrip_blocks: "{%-" takes all white space before it, "-%}" all
 * behind it; without a sign, a block or a comment takes the blanks before it where there is nothing else in its line, and the
 * line feed behind it; "+" keeps them.  Line ends are made "\n", and one at the end of the template is dropped.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/text.h"

typedef struct Lexer
{
	TeArena    *arena;
	TeStr		source;
	size_t		at;
	int			line;
	bool		line_starting;	/* what was matched last ends a line, or there was nothing yet */
	TeTemplateToken *tokens;
	size_t		n;
	size_t		capacity;
} Lexer;

static TE_NORETURN void
fail(const Lexer *lexer, const char *what)
{
	te_throw(TE_ERR_CORRUPT, "chat template, line %d: %s", lexer->line, what);
}

static void
add_token(Lexer *lexer, TeTokenKind kind, TeStr text)
{
	if (lexer->n == lexer->capacity)
	{
		size_t		capacity = TE_MAX(256, lexer->capacity * 2);
		TeTemplateToken *tokens = te_new_array(lexer->arena, TeTemplateToken, capacity);

		if (lexer->n > 0)
			memcpy(tokens, lexer->tokens, lexer->n * sizeof(TeTemplateToken));
		lexer->tokens = tokens;
		lexer->capacity = capacity;
	}
	lexer->tokens[lexer->n++] = (TeTemplateToken) {kind, lexer->line, text};
}

/* On by so many bytes, counting lines. */
static TeStr
take(Lexer *lexer, size_t len)
{
	TeStr		taken = {lexer->source.data + lexer->at, len};

	for (size_t i = 0; i < len; i++)
		lexer->line += taken.data[i] == '\n';
	if (len > 0)
		lexer->line_starting = taken.data[len - 1] == '\n';
	lexer->at += len;
	return taken;
}

static bool
looking_at(const Lexer *lexer, size_t at, const char *text)
{
	size_t		len = strlen(text);

	return lexer->source.len - at >= len && memcmp(lexer->source.data + at, text, len) == 0;
}

/* Behind white space from there on. */
static size_t
skip_white(const Lexer *lexer, size_t at)
{
	const char *p = lexer->source.data + at;
	const char *end = lexer->source.data + lexer->source.len;

	while (p < end)
	{
		const char *next = p;
		int32_t		c = te_utf8_next(&next, end);

		if (c < 0 || !te_is_white((uint32_t) c))
			break;
		p = next;
	}
	return (size_t) (p - lexer->source.data);
}

/* Is there a name, and behind it no more of one? */
static bool
is_word(const Lexer *lexer, size_t at, const char *word)
{
	return looking_at(lexer, at, word);
}

/* ---- between tags ---- */

/* The text before a tag, without what the tag takes of it. */
static void
add_text(Lexer *lexer, TeStr text, bool at_line, char sign, bool strips)
{
	size_t		start = text.len;

	if (sign == '-')
		text = te_text_strip(text, (TeStr) {NULL, 0}, false, true);
	else if (sign != '+' && strips)
	{
		while (start > 0 && text.data[start - 1] != '\n')
			start--;
		if ((start > 0 || at_line) && te_text_strip((TeStr) {text.data + start, text.len - start}, (TeStr) {NULL, 0}, true, true).len == 0)
			text.len = start;
	}
	if (text.len > 0)
		add_token(lexer, TE_L_TEXT, text);
}

/* A sign may follow the beginning of a tag. */
static char
sign_at(const Lexer *lexer, size_t at)
{
	char		c = at < lexer->source.len ? lexer->source.data[at] : '\0';

	return c == '-' || c == '+' ? c : '\0';
}

/* Where the end of a tag that is at `at` ends, with the white space that it takes; 0 where there is none. */
static size_t
end_of_tag(const Lexer *lexer, size_t at, const char *end, bool trims)
{
	char		sign = sign_at(lexer, at);

	if (sign != '\0' && looking_at(lexer, at + 1, end) && (sign == '-' || trims))
		return sign == '-' ? skip_white(lexer, at + 3) : at + 3;
	if (!looking_at(lexer, at, end))
		return 0;
	return at + 2 + (trims && looking_at(lexer, at + 2, "\n"));
}

/* Behind "{#". */
static void
skip_comment(Lexer *lexer)
{
	for (size_t at = lexer->at; at < lexer->source.len; at++)
	{
		size_t		end = end_of_tag(lexer, at, "#}", true);

		if (end > 0)
		{
			take(lexer, end - lexer->at);
			return;
		}
	}
	fail(lexer, "a comment has no end");
}

/* Where the beginning of {% raw %} ends that begins at `at`; 0 where it is another tag. */
static size_t
end_of_raw(const Lexer *lexer, size_t at)
{
	size_t		name = skip_white(lexer, at + 2 + (sign_at(lexer, at + 2) != '\0'));
	size_t		end = is_word(lexer, name, "raw") ? skip_white(lexer, name + 3) : 0;

	if (end > 0 && looking_at(lexer, end, "-%}"))
		return skip_white(lexer, end + 3);
	return end > 0 && looking_at(lexer, end, "%}") ? end + 2 : 0;
}

/* Behind {% raw %}: all as it is until {% endraw %}. */
static void
lex_raw(Lexer *lexer)
{
	bool		at_line = lexer->line_starting;

	for (size_t at = lexer->at; at < lexer->source.len; at++)
	{
		char		sign = sign_at(lexer, at + 2);
		size_t		name;
		size_t		end;

		if (!looking_at(lexer, at, "{%"))
			continue;
		name = skip_white(lexer, at + 2 + (sign != '\0'));
		if (!is_word(lexer, name, "endraw"))
			continue;
		end = end_of_tag(lexer, skip_white(lexer, name + 6), "%}", true);
		if (end == 0)
			continue;
		add_text(lexer, take(lexer, at - lexer->at), at_line, sign, true);
		take(lexer, end - lexer->at);
		return;
	}
	fail(lexer, "{% raw %} has no end");
}

/* ---- within a tag ---- */

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80) != 0;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits, with a fraction and an exponent where there are digits behind the mark. */
static size_t
number_length(const char *p, size_t left)
{
	size_t		n = 0;

	while (n < left && (is_digit(p[n]) || p[n] == '_'))
		n++;
	if (n == 1 && p[0] == '0' && left > 2 && strchr("xXoObB", p[1]) != NULL)
	{
		for (n = 2; n < left && is_name_char(p[n]);)
			n++;
		return n;
	}
	if (n + 1 < left && p[n] == '.' && is_digit(p[n + 1]))
	{
		for (n++; n < left && (is_digit(p[n]) || p[n] == '_');)
			n++;
	}
	if (n + 1 < left && (p[n] == 'e' || p[n] == 'E') &&
		(is_digit(p[n + 1]) || (n + 2 < left && (p[n + 1] == '-' || p[n + 1] == '+') && is_digit(p[n + 2]))))
	{
		for (n += 2; n < left && is_digit(p[n]);)
			n++;
	}
	return n;
}

/* With both quotes; 0 where there is no end. */
static size_t
string_length(const char *p, size_t left)
{
	for (size_t n = 1; n < left; n++)
	{
		if (p[n] == '\\')
			n++;
		else if (p[n] == p[0])
			return n + 1;
	}
	return 0;
}

static size_t
operator_length(const char *p, size_t left)
{
	static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};

	for (size_t i = 0; i < TE_LENGTH(two) && left >= 2; i++)
	{
		if (memcmp(p, two[i], 2) == 0)
			return 2;
	}
	return p[0] != '\0' && strchr("+-/*%~[](){}><=.:|,;", p[0]) != NULL ? 1 : 0;
}

/* One token, and how deep in brackets it is. */
static void
lex_token(Lexer *lexer, int *brackets)
{
	const char *p = lexer->source.data + lexer->at;
	size_t		left = lexer->source.len - lexer->at;
	bool		after_dot = lexer->n > 0 && lexer->tokens[lexer->n - 1].kind == TE_L_OPERATOR &&
		te_str_is(lexer->tokens[lexer->n - 1].text, ".");
	TeTokenKind kind = TE_L_OPERATOR;
	size_t		len;

	if (is_digit(*p))
	{
		kind = TE_L_NUMBER;
		for (len = 0; after_dot && len < left && is_digit(p[len]);)
			len++;
		if (len == 0)
			len = number_length(p, left);
	}
	else if (is_name_char(*p))
	{
		kind = TE_L_NAME;
		for (len = 1; len < left && is_name_char(p[len]);)
			len++;
	}
	else if (*p == '"' || *p == '\'')
	{
		kind = TE_L_STRING;
		len = string_length(p, left);
	}
	else
		len = operator_length(p, left);
	if (len == 0)
		fail(lexer, kind == TE_L_STRING ? "a string has no end" : te_format(lexer->arena, "unexpected character \"%.1s\"", p));
	if (kind == TE_L_OPERATOR)
		*brackets += strchr("([{", *p) != NULL ? 1 : strchr(")]}", *p) != NULL ? -1 : 0;
	if (*brackets < 0)
		fail(lexer, "a bracket closes nothing");
	add_token(lexer, kind, (TeStr) {p, len});
	take(lexer, len);
}

/* Behind "{{" or "{%", up to its end, which is none within brackets. */
static void
lex_tag(Lexer *lexer, const char *end, TeTokenKind kind)
{
	int			brackets = 0;

	while (true)
	{
		size_t		stop;

		take(lexer, skip_white(lexer, lexer->at) - lexer->at);
		if (lexer->at >= lexer->source.len)
			fail(lexer, "a tag has no end");
		stop = brackets == 0 ? end_of_tag(lexer, lexer->at, end, kind == TE_L_BLOCK_END) : 0;
		if (stop > 0)
		{
			add_token(lexer, kind, (TeStr) {"", 0});
			take(lexer, stop - lexer->at);
			return;
		}
		lex_token(lexer, &brackets);
	}
}

/* ---- all ---- */

/* The tag at `at` in the text that begins at lexer->at. */
static void
lex_from(Lexer *lexer, size_t at)
{
	char		kind = lexer->source.data[at + 1];
	char		sign = sign_at(lexer, at + 2);
	bool		at_line = lexer->line_starting;
	size_t		raw = kind == '%' ? end_of_raw(lexer, at) : 0;

	add_text(lexer, take(lexer, at - lexer->at), at_line, sign, kind != '{');
	if (raw > 0)
	{
		take(lexer, raw - lexer->at);
		lex_raw(lexer);
		return;
	}
	take(lexer, 2 + (sign != '\0'));
	if (kind == '#')
		skip_comment(lexer);
	else
	{
		add_token(lexer, kind == '{' ? TE_L_OUTPUT_BEGIN : TE_L_BLOCK_BEGIN, (TeStr) {"", 0});
		lex_tag(lexer, kind == '{' ? "}}" : "%}", kind == '{' ? TE_L_OUTPUT_END : TE_L_BLOCK_END);
	}
}

/* With "\n" at the ends of lines, but not of the last. */
static TeStr
with_line_feeds(TeArena *arena, TeStr source)
{
	char	   *text = te_alloc(arena, source.len + 1);
	size_t		n = 0;

	for (size_t i = 0; i < source.len; i++)
	{
		char		c = source.data[i];

		if (c == '\r' && i + 1 < source.len && source.data[i + 1] == '\n')
			continue;
		text[n++] = c == '\r' ? '\n' : c;
	}
	if (n > 0 && text[n - 1] == '\n')
		n--;
	return (TeStr) {text, n};
}

TeTemplateToken *
te_template_lex(TeArena *arena, TeStr source)
{
	Lexer		lexer = {.arena = arena,.source = with_line_feeds(arena, source),.line = 1,.line_starting = true};
	size_t		at = 0;

	if (!te_utf8_valid(lexer.source))
		te_throw(TE_ERR_CORRUPT, "chat template: not UTF-8");
	while (at + 1 < lexer.source.len)
	{
		char		next = lexer.source.data[at + 1];

		if (lexer.source.data[at] != '{' || (next != '{' && next != '%' && next != '#'))
		{
			at++;
			continue;
		}
		lex_from(&lexer, at);
		at = lexer.at;
	}
	if (lexer.at < lexer.source.len)
		add_token(&lexer, TE_L_TEXT, take(&lexer, lexer.source.len - lexer.at));
	add_token(&lexer, TE_L_END, (TeStr) {"", 0});
	return lexer.tokens;
}
