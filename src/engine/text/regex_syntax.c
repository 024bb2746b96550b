/*-------------------------------------------------------------------------
 * regex_syntax.c
 *	  Regular expressions as tokenizer.json has them, for PCRE2.
 *
 * The reference runs them through Oniguruma in its Ruby syntax.  Where that and PCRE2
 * say different things with the same signs, the text is rewritten:
 *
 *		\s \w \d \b \h	by the classes of Unicode that Oniguruma means
 *		(?m)			a dot that matches line ends: (?s)
 *		X{n,m}+			repeated, not possessive: (?:X{n,m})+
 *		{,n}			{0,n}
 *		\uHHHH			\x{HHHH}
 *		\p{Han}			the script itself, not its extensions: \p{sc:Han}
 *
 *		[a[bc]]			[abc]
 *		[a&&[^b]]		(?:(?=[^b])[a])
 *
 * What else there is of classes inside classes is refused, since PCRE2 would take
 * it for something else.  ^ and $ match at lines in both, by option.
 *-------------------------------------------------------------------------
 */
#include "text/pattern.h"

#define CLASS_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
/* Outside a class, Oniguruma takes the superscripts and fractions of Latin-1 for word characters too */
#define WORD CLASS_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define SPACE "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define HEX "0-9A-Fa-f"
#define MOST_GROUPS 128

typedef struct Translator
{
	TeStr		text;
	size_t		at;
	TeBuffer	out;
	bool		in_class;
	int			nested;			/* classes inside the class */
	size_t		atom;			/* where the last atom begins in out */
	bool		has_atom;
	bool		bounded;		/* the last thing was {n,m} */
	size_t		groups[MOST_GROUPS];	/* where open groups begin in out */
	int			n_groups;
} Translator;

typedef struct Escape
{
	char		sign;
	const char *outside;
	const char *inside;			/* NULL: the same sign */
} Escape;

static const Escape escapes[] =
{
	{'w', "[" WORD "]", CLASS_WORD},
	{'W', "[^" WORD "]", NULL},
	{'s', "[" SPACE "]", SPACE},
	{'S', "[^" SPACE "]", NULL},
	{'d', "\\p{Nd}", "\\p{Nd}"},
	{'D', "\\P{Nd}", "\\P{Nd}"},
	{'h', "[" HEX "]", HEX},
	{'H', "[^" HEX "]", NULL},
	{'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", NULL},
	{'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL},
};

/* Names of Oniguruma that PCRE2 has not, or has by another name */
static const char *const property_names[][2] = {
	{"letter", "L"}, {"mark", "M"}, {"number", "N"}, {"punctuation", "P"}, {"symbol", "S"}, {"separator", "Z"},
	{"other", "C"}, {"alpha", "Alphabetic"}, {"alnum", NULL}, {"digit", "Nd"}, {"punct", "P"},
	{"upper", "Uppercase"}, {"lower", "Lowercase"}, {"cntrl", "Cc"}, {"space", "White_Space"},
	{"lowercaseletter", "Ll"}, {"uppercaseletter", "Lu"}, {"titlecaseletter", "Lt"}, {"modifierletter", "Lm"},
	{"otherletter", "Lo"}, {"decimalnumber", "Nd"}, {"letternumber", "Nl"}, {"othernumber", "No"},
	{"nonspacingmark", "Mn"}, {"spacingmark", "Mc"}, {"enclosingmark", "Me"}, {"any", "Any"},
	{"alphabetic", "Alphabetic"}, {"whitespace", "White_Space"}, {"emoji", "Emoji"},
	{"extendedpictographic", "Extended_Pictographic"}, {"ideographic", "Ideographic"},
	{"lowercase", "Lowercase"}, {"uppercase", "Uppercase"}, {"unifiedideograph", "Unified_Ideograph"},
};

/* Signs of our own. */
static void
put(Translator *translator, const char *s)
{
	te_buffer_add_str(&translator->out, s);
}

/* Signs of the pattern. */
static void
put_bytes(Translator *translator, const char *s, size_t len)
{
	te_buffer_add(&translator->out, s, len);
}

/* The byte so far ahead, -1 beyond the end. */
static int
peek(const Translator *translator, size_t ahead)
{
	return translator->at + ahead < translator->text.len ? (uint8_t) translator->text.data[translator->at + ahead] : -1;
}

/* What a quantifier that follows now refers to. */
static void
begin_atom(Translator *translator)
{
	translator->atom = translator->out.len;
	translator->has_atom = true;
	translator->bounded = false;
}

/* Better than to match something else. */
static TE_NORETURN void
refuse(const Translator *translator, const char *what)
{
	te_throw(TE_ERR_UNSUPPORTED, "tokenizer: pattern \"%.*s\" has %s, which is not supported",
			 TE_STR_ARGS(translator->text), what);
}

/* Is a name, in lower case and without separators, the same as `known`? */
static bool
same_name(TeStr name, const char *known)
{
	for (size_t i = 0; i < name.len; i++)
	{
		char		c = name.data[i];

		if (c == '_' || c == ' ' || c == '-')
			continue;
		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (*known++ != c)
			return false;
	}
	return *known == '\0';
}

/* \p{name}, \P{name}, \p{^name}: general categories as they are, other names as binary properties or scripts. */
static void
put_property(Translator *translator, bool negated, TeStr name)
{
	if (name.len > 0 && name.data[0] == '^')
	{
		negated = !negated;
		name = (TeStr) {name.data + 1, name.len - 1};
	}
	put(translator, negated ? "\\P{" : "\\p{");
	if (name.len > 2)
	{
		const char *known = NULL;

		for (size_t i = 0; i < TE_LENGTH(property_names); i++)
			if (same_name(name, property_names[i][0]))
			{
				known = property_names[i][1];
				if (known == NULL)
					refuse(translator, "a property");
				put(translator, known);
			}
		if (known == NULL)
		{
			put(translator, "sc:");
			put_bytes(translator, name.data, name.len);
		}
	}
	else
		put_bytes(translator, name.data, name.len);
	put(translator, "}");
}

/* At the sign behind \p or \P. */
static void
translate_property(Translator *translator, bool negated)
{
	const char *from = translator->text.data + translator->at;
	const char *end;

	if (peek(translator, 0) != '{')
	{
		put_property(translator, negated, (TeStr) {from, translator->at < translator->text.len});
		translator->at++;
		return;
	}
	end = memchr(from, '}', translator->text.len - translator->at);
	if (end == NULL)
		refuse(translator, "a property without an end");
	put_property(translator, negated, (TeStr) {from + 1, (size_t) (end - from) - 1});
	translator->at += (size_t) (end - from) + 1;
}

/* Of either case; -1 is no digit. */
static bool
is_hex(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* At the character behind a backslash. */
static void
translate_escape(Translator *translator)
{
	int			sign = peek(translator, 0);
	char		both[2] = {'\\', (char) sign};

	if (sign < 0)
		refuse(translator, "a backslash at its end");
	translator->at++;
	if (sign == 'p' || sign == 'P')
	{
		translate_property(translator, sign == 'P');
		return;
	}
	if (sign == 'u' && is_hex(peek(translator, 0)) && is_hex(peek(translator, 1)) && is_hex(peek(translator, 2)) &&
		is_hex(peek(translator, 3)))
	{
		put(translator, "\\x{");
		put_bytes(translator, translator->text.data + translator->at, 4);
		put(translator, "}");
		translator->at += 4;
		return;
	}
	for (size_t i = 0; i < TE_LENGTH(escapes); i++)
		if (escapes[i].sign == sign && (!translator->in_class || escapes[i].inside != NULL))
		{
			put(translator, translator->in_class ? escapes[i].inside : escapes[i].outside);
			return;
		}
	put_bytes(translator, both, 2);
	/* The rest of a character that takes several bytes stands as it is */
}

/* [ and [^, and a ] that comes first and stands for itself. */
static void
begin_class(Translator *translator)
{
	begin_atom(translator);
	put(translator, "[");
	translator->at++;
	translator->in_class = true;
	if (peek(translator, 0) == '^')
	{
		put(translator, "^");
		translator->at++;
	}
	if (peek(translator, 0) == ']')
	{
		put(translator, "\\]");
		translator->at++;
	}
}

static void translate_intersection(Translator *translator);

/* [:alpha:] as it is; another class is a union with this one, so its brackets go. */
static void
translate_nested(Translator *translator)
{
	const char *from = translator->text.data + translator->at;
	const char *end;

	if (peek(translator, 1) != ':')
	{
		if (peek(translator, 1) == '^')
			refuse(translator, "a negated class inside a class");
		translator->nested++;
		translator->at++;
		return;
	}
	end = memchr(from, ']', translator->text.len - translator->at);
	if (end == NULL)
		refuse(translator, "a class without an end");
	put_bytes(translator, from, (size_t) (end - from) + 1);
	translator->at += (size_t) (end - from) + 1;
}

/* The next sign of a class. */
static void
translate_in_class(Translator *translator)
{
	int			c = peek(translator, 0);
	char		byte = (char) c;

	if (c == '\\')
	{
		translator->at++;
		translate_escape(translator);
	}
	else if (c == '&' && peek(translator, 1) == '&')
		translate_intersection(translator);
	else if (c == '[')
		translate_nested(translator);
	else if (c == ']' && translator->nested > 0)
	{
		translator->nested--;
		translator->at++;
	}
	else
	{
		put_bytes(translator, &byte, 1);
		translator->at++;
		if (c == ']')
			translator->in_class = false;
	}
}

/* [A&&[^B]]: a character of A at which [^B] matches too, (?:(?=[^B])[A]) */
static void
translate_intersection(Translator *translator)
{
	size_t		start = translator->atom;
	size_t		len;
	char	   *left;

	if (translator->nested > 0 || translator->out.data[start + 1] == '^' || peek(translator, 2) != '[')
		refuse(translator, "an intersection of classes");
	put(translator, "]");
	len = translator->out.len - start;
	left = te_alloc(translator->out.arena, len);
	memcpy(left, translator->out.data + start, len);
	translator->out.len = start;
	put(translator, "(?:(?=");
	translator->at += 2;
	begin_class(translator);
	while (translator->in_class && translator->at < translator->text.len)
		translate_in_class(translator);
	put(translator, ")");
	put_bytes(translator, left, len);
	put(translator, ")");
	if (peek(translator, 0) != ']')
		refuse(translator, "an intersection of classes");
	translator->at++;
	translator->in_class = false;
	translator->atom = start;
}

/* "(" with what may follow it: options are letters up to : or ). */
static void
begin_group(Translator *translator)
{
	if (translator->n_groups == MOST_GROUPS)
		refuse(translator, "groups in groups");
	translator->groups[translator->n_groups++] = translator->out.len;
	translator->has_atom = false;
	translator->bounded = false;
	put(translator, "(");
	translator->at++;
	if (peek(translator, 0) != '?')
		return;
	put(translator, "?");
	translator->at++;
	while (peek(translator, 0) == 'm' || peek(translator, 0) == 'i' || peek(translator, 0) == 'x' || peek(translator, 0) == '-')
	{
		char		c = (char) peek(translator, 0);

		put_bytes(translator, c == 'm' ? "s" : &c, 1);
		translator->at++;
	}
}

/* The group as a whole is now the last atom. */
static void
end_group(Translator *translator)
{
	put(translator, ")");
	translator->at++;
	translator->bounded = false;
	if (translator->n_groups == 0)
		return;
	translator->atom = translator->groups[--translator->n_groups];
	translator->has_atom = true;
}

/* Wrap the last atom, with its quantifier, in a group. */
static void
wrap_atom(Translator *translator)
{
	size_t		len = translator->out.len - translator->atom;
	char	   *room;

	put(translator, "(?:)");
	room = translator->out.data + translator->atom;
	memmove(room + 3, room, len);
	memcpy(room, "(?:", 3);
	translator->out.data[translator->out.len - 1] = ')';
}

/* {n}, {n,}, {n,m}, {,m}: how long it is; 0 where the brace is only a brace. */
static size_t
bounds_length(const Translator *translator)
{
	size_t		i = 1;
	bool		digits = false;

	while (peek(translator, i) >= '0' && peek(translator, i) <= '9')
		digits = true, i++;
	if (peek(translator, i) == ',')
		i++;
	while (peek(translator, i) >= '0' && peek(translator, i) <= '9')
		digits = true, i++;
	return digits && peek(translator, i) == '}' ? i + 1 : 0;
}

/* A + behind bounds repeats them; elsewhere it makes a quantifier possessive, in both syntaxes. */
static void
translate_quantifier(Translator *translator)
{
	char		c = (char) peek(translator, 0);
	size_t		len = c == '{' ? bounds_length(translator) : 1;

	if (c == '{' && len > 0 && translator->has_atom)
	{
		const char *from = translator->text.data + translator->at;

		if (from[1] == ',')
			put(translator, "{0");
		put_bytes(translator, from + (from[1] == ','), len - (from[1] == ','));
		translator->at += len;
		translator->bounded = true;
		return;
	}
	if (c == '+' && translator->bounded && translator->has_atom)
		wrap_atom(translator);
	if (c == '{')
		put(translator, "\\");
	put_bytes(translator, &c, 1);
	translator->at++;
	translator->bounded = false;
}

/* One sign outside of classes. */
static void
translate_next(Translator *translator)
{
	int			c = peek(translator, 0);
	char		byte = (char) c;

	if (translator->in_class)
		translate_in_class(translator);
	else if (c == '\\')
	{
		begin_atom(translator);
		translator->at++;
		translate_escape(translator);
	}
	else if (c == '[')
		begin_class(translator);
	else if (c == '(')
		begin_group(translator);
	else if (c == ')')
		end_group(translator);
	else if (c == '*' || c == '+' || c == '?' || c == '{')
		translate_quantifier(translator);
	else
	{
		/* A new atom, but for the further bytes of a character */
		if ((c & 0xC0) != 0x80)
			begin_atom(translator);
		put_bytes(translator, &byte, 1);
		translator->at++;
	}
}

/* What is malformed stays so: PCRE2 says what is wrong. */
TeStr
te_regex_translate(TeArena *arena, TeStr pattern)
{
	Translator	translator = {.text = pattern};

	te_buffer_init(&translator.out, arena);
	while (translator.at < pattern.len)
		translate_next(&translator);
	return (TeStr) {translator.out.len > 0 ? translator.out.data : "", translator.out.len};
}
