/*-------------------------------------------------------------------------
 * template_text.c
 *	  Chat templates: Python's strings: characters, white space, case, lines, and %-formats.
 *
 * Strings are UTF-8 that is valid; what Python counts in characters is counted here each time, as templates seldom do.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/unicode.h"

#include <math.h>

void
te_template_write(TeTemplateRun *run, TeBuffer *buffer, TeStr text)
{
	if (text.len > TE_TEMPLATE_TEXT - buffer->len)
		te_template_fail(run, TE_ERR_LIMIT, "a text of more than %zu bytes", TE_TEMPLATE_TEXT);
	te_template_charge(run, text.len / 64);
	te_buffer_add(buffer, text.data, text.len);
}

TeStr
te_buffer_text(const TeBuffer *buffer)
{
	return (TeStr) {buffer->len > 0 ? buffer->data : "", buffer->len};
}

/* ---- characters ---- */

bool
te_is_white(uint32_t c)
{
	return (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= ' ') || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t
te_text_length(TeStr text)
{
	size_t		n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += (text.data[i] & 0xC0) != 0x80;
	return n;
}

size_t
te_text_offset(TeStr text, size_t n)
{
	size_t		i = 0;

	while (i < text.len && ((text.data[i] & 0xC0) == 0x80 || n-- > 0))
		i++;
	return i;
}

/* The character that ends at `end`, and where it begins. */
static uint32_t
last_char(const char *start, const char *end, const char **from)
{
	const char *p = end - 1;

	while (p > start && (*p & 0xC0) == 0x80)
		p--;
	*from = p;
	return (uint32_t) te_utf8_next(&p, end);
}

static bool
is_among(uint32_t c, TeStr chars)
{
	const char *p = chars.data;
	const char *end;

	if (chars.data == NULL)
		return te_is_white(c);
	end = p + chars.len;
	while (p < end)
	{
		if ((uint32_t) te_utf8_next(&p, end) == c)
			return true;
	}
	return false;
}

TeStr
te_text_strip(TeStr text, TeStr chars, bool left, bool right)
{
	const char *start = text.data;
	const char *end = start + text.len;
	const char *next;

	while (left && start < end)
	{
		next = start;
		if (!is_among((uint32_t) te_utf8_next(&next, end), chars))
			break;
		start = next;
	}
	while (right && end > start)
	{
		if (!is_among(last_char(start, end, &next), chars))
			break;
		end = next;
	}
	return (TeStr) {start, (size_t) (end - start)};
}

size_t
te_text_find(TeStr text, TeStr part, size_t from)
{
	for (size_t i = from; i + part.len <= text.len; i++)
	{
		const char *found;

		if (part.len == 0)
			return i;
		found = memchr(text.data + i, part.data[0], text.len - part.len + 1 - i);
		if (found == NULL)
			return SIZE_MAX;
		i = (size_t) (found - text.data);
		if (memcmp(found, part.data, part.len) == 0)
			return i;
	}
	return SIZE_MAX;
}

/* ---- case ---- */

static void
put_char(TeTemplateRun *run, TeBuffer *buffer, uint32_t c)
{
	char		utf8[4];

	te_template_write(run, buffer, (TeStr) {utf8, te_utf8_put(utf8, (int32_t) c)});
}

static void
put_lower(TeTemplateRun *run, TeBuffer *buffer, uint32_t c)
{
	uint32_t	to[TE_UC_LONGEST];
	int			n = te_uc_lower(c, to);

	for (int i = 0; i < n; i++)
		put_char(run, buffer, to[i]);
}

/*
 * The table has lower case only, so upper case is looked for where alphabets keep it: so far before the letter, or
 * behind it.  Sharp s becomes two letters.
 */
static void
put_upper(TeTemplateRun *run, TeBuffer *buffer, uint32_t c)
{
	static const int offsets[] = {-32, -1, -80, -48, -37, -38, -63, -64, -8, -40, -26, -28, -16, 121, -7264};
	uint32_t	to[TE_UC_LONGEST];

	if (c == 0xDF)
		te_template_write(run, buffer, TE_STR("SS"));
	for (size_t i = 0; c != 0xDF && te_uc_is(c, TE_UC_LL) && i < TE_LENGTH(offsets); i++)
	{
		uint32_t	upper = c + (uint32_t) offsets[i];

		if (upper < 0x110000 && upper != c && te_uc_lower(upper, to) == 1 && to[0] == c)
		{
			put_char(run, buffer, upper);
			return;
		}
	}
	if (c != 0xDF)
		put_char(run, buffer, c);
}

TeStr
te_text_lower(TeTemplateRun *run, TeStr text)
{
	const char *p = text.data;
	const char *end = p + text.len;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	while (p < end)
		put_lower(run, &buffer, (uint32_t) te_utf8_next(&p, end));
	return te_buffer_text(&buffer);
}

TeStr
te_text_upper(TeTemplateRun *run, TeStr text)
{
	const char *p = text.data;
	const char *end = p + text.len;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	while (p < end)
		put_upper(run, &buffer, (uint32_t) te_utf8_next(&p, end));
	return te_buffer_text(&buffer);
}

TeStr
te_text_capitalize(TeTemplateRun *run, TeStr text)
{
	size_t		first = te_text_offset(text, 1);
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	te_template_write(run, &buffer, te_text_upper(run, (TeStr) {text.data, first}));
	te_template_write(run, &buffer, te_text_lower(run, (TeStr) {text.data + first, text.len - first}));
	return te_buffer_text(&buffer);
}

/* ---- parts ---- */

/* An empty text is found before each character, and at the end. */
TeStr
te_text_replace(TeTemplateRun *run, TeStr text, TeStr from, TeStr to, int64_t most)
{
	TeBuffer	buffer;
	size_t		done = 0;

	te_buffer_init(&buffer, run->arena);
	te_template_charge(run, text.len / 16);
	for (int64_t n = 0; most < 0 || n < most; n++)
	{
		size_t		at = te_text_find(text, from, done);

		if (at == SIZE_MAX)
			break;
		te_template_charge(run, 1);
		te_template_write(run, &buffer, (TeStr) {text.data + done, at - done});
		te_template_write(run, &buffer, to);
		done = at + from.len;
		if (from.len == 0 && done >= text.len)
			break;
		if (from.len == 0)
		{
			size_t		next = done + te_text_offset((TeStr) {text.data + done, text.len - done}, 1);

			te_template_write(run, &buffer, (TeStr) {text.data + done, next - done});
			done = next;
		}
	}
	te_template_write(run, &buffer, (TeStr) {text.data + done, text.len - done});
	return te_buffer_text(&buffer);
}

/* Does a line end with this character? */
static bool
ends_line(uint32_t c)
{
	return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

TeValue
te_text_lines(TeTemplateRun *run, TeStr text)
{
	TeValue		result = te_value_list(run, TE_V_LIST);
	const char *p = text.data;
	const char *end = p + text.len;
	const char *line = p;

	while (p < end)
	{
		const char *from = p;
		uint32_t	c = (uint32_t) te_utf8_next(&p, end);

		if (!ends_line(c))
			continue;
		te_value_append(run, result.list, TE_VALUE_STR(((TeStr) {line, (size_t) (from - line)})));
		if (c == '\r' && p < end && *p == '\n')
			p++;
		line = p;
	}
	if (line < end)
		te_value_append(run, result.list, TE_VALUE_STR(((TeStr) {line, (size_t) (end - line)})));
	return result;
}

/* ---- formats ---- */

/* The value as a conversion such as "%5.2f" writes it; spec has all but the conversion's letter. */
static TeStr
converted(TeTemplateRun *run, const char *spec, char letter, TeValue value)
{
	if (letter == 's' || letter == 'r')
	{
		TeStr		text = letter == 's' ? te_value_text(run, value) : te_value_repr(run, value);

		if (strcmp(spec, "%") != 0)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "the format \"%s%c\" is not supported", spec, letter);
		return text;
	}
	if (!te_value_is_number(value))
		te_template_fail(run, TE_ERR_INVALID, "the format \"%s%c\" wants a number, not %s", spec, letter, te_value_type(value));
	if (strchr("di", letter) != NULL && value.kind == TE_V_FLOAT)
		return te_str(te_format(run->arena, "%.0f", trunc(value.real)));
	if (strchr("dixXo", letter) != NULL)
		return te_str(te_format(run->arena, te_format(run->arena, "%sll%c", spec, letter), (long long) te_value_need_int(run, value, "a number")));
	return te_str(te_format(run->arena, te_format(run->arena, "%s%c", spec, letter), te_value_real(value)));
}

/* A conversion's flag, width and precision behind "%", where they are short: nothing here pads without bound. */
static size_t
read_spec(TeStr format, size_t at, char spec[8])
{
	static const char *const parts[] = {"-+ #0", "0123456789", "0123456789", ".", "0123456789"};
	size_t		n = 1;

	spec[0] = '%';
	for (size_t i = 0; i < TE_LENGTH(parts) && at < format.len; i++)
	{
		if (format.data[at] != '\0' && strchr(parts[i], format.data[at]) != NULL)
			spec[n++] = format.data[at++];
		else if (i == 3)
			break;
	}
	spec[n] = '\0';
	return at;
}

TeStr
te_text_printf(TeTemplateRun *run, TeStr format, const TeTemplateArguments *arguments)
{
	TeBuffer	buffer;
	size_t		next = 0;
	size_t		n = arguments->n - arguments->n_names;

	te_buffer_init(&buffer, run->arena);
	for (size_t i = 0; i < format.len; i++)
	{
		char		spec[8];
		char		letter;

		if (format.data[i] != '%')
		{
			te_template_write(run, &buffer, (TeStr) {format.data + i, 1});
			continue;
		}
		i = read_spec(format, i + 1, spec);
		letter = i < format.len ? format.data[i] : '\0';
		if (letter == '%' && spec[1] == '\0')
			te_template_write(run, &buffer, TE_STR("%"));
		else if (letter == '\0' || strchr("srdixXofeEgG", letter) == NULL)
			te_template_fail(run, TE_ERR_UNSUPPORTED, "a format like \"%s%c\" is not supported", spec, letter != '\0' ? letter : ' ');
		else if (next >= n)
			te_template_fail(run, TE_ERR_INVALID, "there are fewer values than the format wants");
		else
			te_template_write(run, &buffer, converted(run, spec, letter, arguments->list[next++]));
	}
	if (next < n)
		te_template_fail(run, TE_ERR_INVALID, "there are more values than the format wants");
	return te_buffer_text(&buffer);
}
