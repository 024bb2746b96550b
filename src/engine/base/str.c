/*-------------------------------------------------------------------------
 * str.c
 *	  Byte strings: comparison, copies, hashing, and what is valid UTF-8.
 *
 * A TeStr does not own its bytes; copies are in an arena and end with a NUL
 * that is not counted.  Valid UTF-8 is that of RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF.  Whatever is read from a file as text is
 * checked with it, so that the layers above need not.
 *-------------------------------------------------------------------------
 */
#include "base/base.h"

bool
te_str_ends(TeStr a, const char *suffix)
{
	size_t		n = strlen(suffix);

	return a.len >= n && memcmp(a.data + a.len - n, suffix, n) == 0;
}

bool
te_str_is_ignoring_case(TeStr a, const char *b)
{
	if (strlen(b) != a.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
	{
		char		x = a.data[i];
		char		y = b[i];

		if (x >= 'A' && x <= 'Z')
			x = (char) (x + 32);
		if (y >= 'A' && y <= 'Z')
			y = (char) (y + 32);
		if (x != y)
			return false;
	}
	return true;
}

TeStr
te_str_copy(TeArena *arena, TeStr s)
{
	return (TeStr) {te_cstring(arena, s), s.len};
}

char *
te_cstring(TeArena *arena, TeStr s)
{
	char	   *copy = te_alloc(arena, te_add_size(s.len, 1));

	if (s.len > 0)
		memcpy(copy, s.data, s.len);
	copy[s.len] = '\0';
	return copy;
}

/* FNV-1a, 64 bits. */
uint64_t
te_hash(const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint64_t	hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	return hash;
}

size_t
te_utf8_sequence(const char *at, const char *end)
{
	const unsigned char *s = (const unsigned char *) at;
	size_t		left = (size_t) (end - at);
	unsigned	low = 0x80;
	unsigned	high = 0xbf;
	size_t		len;

	if (left == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (left < len)
		return 0;

	/* The second byte of some first ones is bounded more narrowly. */
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
	{
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

bool
te_utf8_valid(TeStr s)
{
	const char *at = s.data;
	const char *end = s.len > 0 ? s.data + s.len : s.data;

	while (at < end)
	{
		size_t		len = te_utf8_sequence(at, end);

		if (len == 0)
			return false;
		at += len;
	}
	return true;
}
