/*-------------------------------------------------------------------------
 * metrics_answers.c
 *	  Answers compared: exact match, and F1 of their words, as SQuAD has them
 *	  (Rajpurkar et al. 2016, evaluate-v1.1.py).
 *
 * Before that both are normalized: lower case, without the punctuation of
 * ASCII, without a, an and the, in words between white space.  Words are
 * counted as often as they occur in both.  Where one of the two has no words, as the answer to a
 * question that has none, F1 is whether both have none (SQuAD 2.0).
 *-------------------------------------------------------------------------
 */
#include "train/report.h"

#include <stdlib.h>

#include "text/unicode.h"

static const char *const articles[] = {"a", "an", "the"};

/* ---- normalizing ---- */

static bool
is_punctuation(int32_t c)
{
	return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

static bool
is_space(int32_t c)
{
	return te_uc_is((uint32_t) c, TE_UC_WHITE) || (c >= 0x1c && c <= 0x1f);
}

/* What an article may not touch. */
static bool
is_letter(int32_t c)
{
	return te_uc_is((uint32_t) c, TE_UC_L | TE_UC_N);
}

/* In lower case and without punctuation. */
static TeStr
lower_plain(TeArena *scratch, TeStr text)
{
	TeBuffer	plain;
	const char *end = text.data + text.len;

	te_buffer_init(&plain, scratch);
	te_buffer_extend(&plain, 0);
	for (const char *p = text.data; p < end;)
	{
		int32_t		c = te_utf8_next(&p, end);
		uint32_t	lower[TE_UC_LONGEST];
		char		bytes[4];
		int			n;

		if (c < 0)
			te_throw(TE_ERR_INVALID, "the text is not valid UTF-8");
		if (is_punctuation(c))
			continue;
		n = te_uc_lower((uint32_t) c, lower);
		for (int i = 0; i < n; i++)
			te_buffer_add(&plain, bytes, te_utf8_put(bytes, (int32_t) lower[i]));
	}
	return (TeStr) {plain.data, plain.len};
}

static bool
is_article(TeStr word)
{
	for (size_t i = 0; i < TE_LENGTH(articles); i++)
	{
		if (te_str_is(word, articles[i]))
			return true;
	}
	return false;
}

/* Write over a run of letters that is an article with spaces. */
static void
blank_article(char *start, const char *stop)
{
	if (is_article((TeStr) {start, (size_t) (stop - start)}))
		memset(start, ' ', (size_t) (stop - start));
}

static void
blank_articles(TeStr text)
{
	char	   *start = NULL;
	const char *end = text.data + text.len;

	for (const char *p = text.data; p < end;)
	{
		const char *at = p;
		bool		letter = is_letter(te_utf8_next(&p, end));

		if (letter && start == NULL)
			start = (char *) at;
		if (!letter && start != NULL)
		{
			blank_article(start, at);
			start = NULL;
		}
	}
	if (start != NULL)
		blank_article(start, end);
}

typedef struct Words
{
	TeStr	   *words;
	size_t		n;
} Words;

static void
add_word(Words *list, const char *start, const char *stop)
{
	if (start < stop)
		list->words[list->n++] = (TeStr) {start, (size_t) (stop - start)};
}

static Words
normalize(TeArena *scratch, TeStr text)
{
	TeStr		plain = lower_plain(scratch, text);
	const char *end = plain.data + plain.len;
	const char *start = plain.data;
	Words		list = {.words = te_new_array(scratch, TeStr, plain.len / 2 + 1)};

	blank_articles(plain);
	for (const char *p = start; p < end;)
	{
		const char *at = p;

		if (!is_space(te_utf8_next(&p, end)))
			continue;
		add_word(&list, start, at);
		start = p;
	}
	add_word(&list, start, end);
	return list;
}

/* ---- comparing ---- */

static int
compare_words(const void *a, const void *b)
{
	const TeStr *x = a;
	const TeStr *y = b;
	int			order = memcmp(x->data, y->data, TE_MIN(x->len, y->len));

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len;
}

static bool
same_words(const Words *a, const Words *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
	{
		if (!te_str_eq(a->words[i], b->words[i]))
			return false;
	}
	return true;
}

/* How many words both have; sorts them. */
static size_t
count_common(Words *a, Words *b)
{
	size_t		common = 0;

	qsort(a->words, a->n, sizeof(TeStr), compare_words);
	qsort(b->words, b->n, sizeof(TeStr), compare_words);
	for (size_t i = 0, j = 0; i < a->n && j < b->n;)
	{
		int			order = compare_words(&a->words[i], &b->words[j]);

		common += order == 0;
		i += order <= 0;
		j += order >= 0;
	}
	return common;
}

TeAnswerScore
te_answer_score(TeArena *scratch, TeStr actual, TeStr predicted)
{
	Words		a = normalize(scratch, actual);
	Words		p = normalize(scratch, predicted);
	TeAnswerScore score = {.exact = same_words(&a, &p)};

	if (a.n == 0 || p.n == 0)
		score.f1 = score.exact;
	else
		score.f1 = 2 * (double) count_common(&a, &p) / (double) (a.n + p.n);
	return score;
}
