/*-------------------------------------------------------------------------
 * polarity.c
 *	  Which labels of a sentiment model are positive, by their names.
 *
 * Models call their labels in one of three ways:
 *
 *	  words			"NEGATIVE", "pos", "Very Positive", "positive (stars 4 and 5)"
 *	  ratings		"1 star" to "5 stars", or the bare digits
 *	  no names		LABEL_0, LABEL_1, ...: from bad to good by general custom
 *
 * Ratings and numbers are spread evenly over -1 to 1.  A set of labels counts
 * only if every label is understood, and one of them is positive and one
 * negative; a model of emotions or topics is then no sentiment model.
 *
 * To add a word: a row of `words`, behind those that it begins with.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define NO_NAME "LABEL_"

/* In lower case; the first that the label begins with. */
static const struct
{
	const char *word;
	float		polarity;
}			words[] = {
	{"very positive", 1}, {"positive", 1}, {"pos", 1},
	{"very negative", -1}, {"negative", -1}, {"neg", -1},
	{"neutral", 0}, {"neu", 0}, {"mixed", 0},
};

static char
lower(char c)
{
	if (c == '_' || c == '-')
		return ' ';
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

bool
te_label_begins(TeStr label, const char *word)
{
	size_t		len = strlen(word);

	if (label.len < len)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (lower(label.data[i]) != word[i])
			return false;
	}
	return true;
}

/* Does the label begin with this word, and end or go on with something else than a letter? */
static bool
begins_with(TeStr label, const char *word)
{
	size_t		len = strlen(word);

	return te_label_begins(label, word) &&
		(label.len == len || !(lower(label.data[len]) >= 'a' && lower(label.data[len]) <= 'z'));
}

static bool
word_polarity(TeStr label, float *polarity)
{
	for (size_t i = 0; i < TE_LENGTH(words); i++)
	{
		if (begins_with(label, words[i].word))
		{
			*polarity = words[i].polarity;
			return true;
		}
	}
	return false;
}

/* The number of a rating, or of a label without a name; -1: none. */
static int
label_rank(TeStr label)
{
	size_t		start = 0;
	size_t		i;
	int			rank = 0;

	if (label.len > strlen(NO_NAME) && memcmp(label.data, NO_NAME, strlen(NO_NAME)) == 0)
		start = strlen(NO_NAME);
	for (i = start; i < label.len && label.data[i] >= '0' && label.data[i] <= '9' && rank < TE_MAX_LABELS; i++)
		rank = rank * 10 + (label.data[i] - '0');
	return i > start ? rank : -1;
}

/* All labels have numbers: the least is the worst. */
static bool
rank_polarities(const TeStr *labels, int n, float *polarities)
{
	int			least = INT32_MAX;
	int			most = -1;

	for (int i = 0; i < n; i++)
	{
		int			rank = label_rank(labels[i]);

		if (rank < 0)
			return false;
		least = TE_MIN(least, rank);
		most = TE_MAX(most, rank);
	}
	for (int i = 0; i < n && most > least; i++)
		polarities[i] = 2.0f * (label_rank(labels[i]) - least) / (most - least) - 1;
	return most > least;
}

bool
te_label_polarities(const TeStr *labels, int n, float *polarities)
{
	bool		both[2] = {false, false};

	if (n > 0 && rank_polarities(labels, n, polarities))
		return true;
	for (int i = 0; i < n; i++)
	{
		if (!word_polarity(labels[i], &polarities[i]))
			return false;
		both[0] |= polarities[i] < 0;
		both[1] |= polarities[i] > 0;
	}
	return both[0] && both[1];
}
