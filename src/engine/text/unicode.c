/*-------------------------------------------------------------------------
 * unicode.c
 *	  UTF-8, and look-ups in the generated character table.
 *
 * Everything here is pure.  Hangul syllables are decomposed and composed by
 * arithmetic (The Unicode Standard, section 3.12); all else is in the table.
 *-------------------------------------------------------------------------
 */
#include "text/unicode.h"

#define L_BASE 0x1100
#define V_BASE 0x1161
#define T_BASE 0x11A7
#define L_COUNT 19
#define V_COUNT 21
#define T_COUNT 28

/* The bytes after the first of a character: 10xxxxxx, n of them. */
static bool
continuations(const uint8_t *s, int n)
{
	for (int i = 0; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return false;
	return true;
}

/* Overlong forms, surrogates and what is beyond U+10FFFF are not valid. */
int32_t
te_utf8_next(const char **p, const char *end)
{
	const uint8_t *s = (const uint8_t *) *p;
	size_t		left = (size_t) (end - *p);
	int32_t		c;

	if (left == 0)
		return -1;
	if (s[0] < 0x80)
	{
		(*p)++;
		return s[0];
	}
	if (s[0] < 0xE0)
	{
		if (s[0] < 0xC2 || left < 2 || !continuations(s + 1, 1))
			return -1;
		*p += 2;
		return (s[0] & 0x1F) << 6 | (s[1] & 0x3F);
	}
	if (s[0] < 0xF0)
	{
		if (left < 3 || !continuations(s + 1, 2))
			return -1;
		c = (s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F);
		if (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF))
			return -1;
		*p += 3;
		return c;
	}
	if (s[0] > 0xF4 || left < 4 || !continuations(s + 1, 3))
		return -1;
	c = (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F);
	if (c < 0x10000 || c > 0x10FFFF)
		return -1;
	*p += 4;
	return c;
}

/* At most 4 bytes; how many. */
size_t
te_utf8_put(char *to, int32_t c)
{
	if (c < 0x80)
	{
		to[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		to[0] = (char) (0xC0 | c >> 6);
		to[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		to[0] = (char) (0xE0 | c >> 12);
		to[1] = (char) (0x80 | (c >> 6 & 0x3F));
		to[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	to[0] = (char) (0xF0 | c >> 18);
	to[1] = (char) (0x80 | (c >> 12 & 0x3F));
	to[2] = (char) (0x80 | (c >> 6 & 0x3F));
	to[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* Copies an expansion of the pool, or c itself where there is none. */
static int
expand(uint32_t c, uint32_t at, uint32_t *to)
{
	uint32_t	n = te_uc_pool[at];

	if (at == 0)
	{
		to[0] = c;
		return 1;
	}
	memcpy(to, &te_uc_pool[at + 1], n * sizeof(uint32_t));
	return (int) n;
}

/* One level is enough: the table has full decompositions. */
int
te_uc_decompose(uint32_t c, bool compatible, uint32_t *to)
{
	const TeCharMap *map;
	uint32_t	i = c - TE_HANGUL_BASE;

	if (i < TE_HANGUL_COUNT)
	{
		to[0] = L_BASE + i / (V_COUNT * T_COUNT);
		to[1] = V_BASE + i % (V_COUNT * T_COUNT) / T_COUNT;
		to[2] = T_BASE + i % T_COUNT;
		return i % T_COUNT == 0 ? 2 : 3;
	}
	map = te_uc_map(c);
	return expand(c, compatible ? map->compatible : map->canonical, to);
}

/* c itself where there is no other. */
int
te_uc_lower(uint32_t c, uint32_t *to)
{
	return expand(c, te_uc_map(c)->lower, to);
}

/* Two Hangul parts: a leading consonant and a vowel, or these two and a trailing consonant. */
static uint32_t
compose_hangul(uint32_t first, uint32_t second)
{
	if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
		return TE_HANGUL_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
	if (first - TE_HANGUL_BASE < TE_HANGUL_COUNT && (first - TE_HANGUL_BASE) % T_COUNT == 0 &&
		second - (T_BASE + 1) < T_COUNT - 1)
		return first + (second - T_BASE);
	return 0;
}

/* By binary search; few characters are asked for at all. */
uint32_t
te_uc_compose(uint32_t first, uint32_t second)
{
	size_t		low = 0;
	size_t		high = te_uc_n_pairs;

	if (!te_uc_is(second, TE_UC_COMPOSE))
		return 0;
	while (low < high)
	{
		size_t		middle = (low + high) / 2;
		const TeCharPair *pair = &te_uc_pairs[middle];

		if (pair->first == first && pair->second == second)
			return pair->composed;
		if (pair->first < first || (pair->first == first && pair->second < second))
			low = middle + 1;
		else
			high = middle;
	}
	return compose_hangul(first, second);
}
