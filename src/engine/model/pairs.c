/*-------------------------------------------------------------------------
 * pairs.c
 *	  What a model's numbers for a pair of texts mean.
 *
 * Relevance.  A cross-encoder reads a query and a document together and gives
 * one number, whose activation is its own (head.c).  A model with two labels
 * calls one of them "relevant", "duplicate", "yes" or the like, and the other
 * "not_..."; labels without names are in the order no, yes, but those of a
 * next-sentence head in the order yes, no.  A model of natural language
 * inference has "entailment" beside "neutral" and "contradiction".
 *
 * Zero-shot.  A label is put into a sentence that claims it ("This example is
 * about bread."), and the claims are held against the text.  By inference, as
 * transformers' pipeline: one label out of several by a softmax over their
 * logits of entailment, each label by itself by entailment against
 * contradiction.  By an encoder's cosines: a softmax at SCALE, the scale by which
 * sentence-transformers' losses multiply cosines in training, so that it is
 * what such models have learned to tell texts apart at; each label by itself
 * has its cosine moved from -1 ... 1 to 0 ... 1.
 *
 * To add a word: a row of `words`, behind those that it begins with.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define SCALE 20.0f
#define MAX_STACK_LABELS 64

/* What a label of two means by what it begins with. */
static const struct
{
	const char *word;
	bool		yes;
}			words[] = {
	{"not", false}, {"no", false}, {"non", false}, {"irrelevant", false}, {"unrelated", false}, {"random", false},
	{"different", false}, {"contradict", false}, {"false", false}, {"negative", false},
	{"relevant", true}, {"related", true}, {"is next", true}, {"next", true}, {"duplicate", true}, {"equivalent", true},
	{"paraphrase", true}, {"same", true}, {"entail", true}, {"yes", true}, {"true", true}, {"positive", true},
};

/* The first label that begins with a word; -1: none. */
static int
find_label(const TeHead *head, const char *word)
{
	for (int i = 0; i < head->n_labels; i++)
	{
		if (te_label_begins(head->labels[i], word))
			return i;
	}
	return -1;
}

/* 1: yes, -1: no, 0: the label does not say. */
static int
meaning(TeStr label)
{
	for (size_t i = 0; i < TE_LENGTH(words); i++)
	{
		if (te_label_begins(label, words[i].word))
			return words[i].yes ? 1 : -1;
	}
	return 0;
}

/* Which of two labels means yes; -1: they do not say. */
static int
yes_of_two(const TeHead *head)
{
	int			first = meaning(head->labels[0]);
	int			second = meaning(head->labels[1]);

	if (first != second)
		return first > second ? 0 : 1;
	if (!te_str_is(head->labels[0], "LABEL_0") || !te_str_is(head->labels[1], "LABEL_1"))
		return -1;
	return head->kind == TE_HEAD_NEXT ? 0 : 1;
}

static TE_NORETURN void
throw_labels(const TeHead *head)
{
	te_throw_hint(TE_ERR_MISSING, NULL,
				  "Import the model again with labels such as \"irrelevant\" and \"relevant\", or \"contradiction\", \"neutral\" and \"entailment\".",
				  "the model's %d labels do not say which one means that a document answers a query", (int) head->n_labels);
}

float
te_pair_relevance(const TeModel *model, const float *logits)
{
	const TeHead *head = te_model_head(model);
	float		few[MAX_STACK_LABELS];
	int			label = 0;

	if (head->n_labels == 2)
		label = yes_of_two(head);
	else if (head->n_labels > 2)
		label = find_label(head, "entail");
	if (head->n_labels < 1 || head->n_labels > MAX_STACK_LABELS || label < 0)
		throw_labels(head);
	te_model_pair_scores(model, logits, few);
	return few[label];
}

/* ---- zero-shot ---- */

bool
te_model_infers(const TeModel *model)
{
	const TeHead *head = te_model_head(model);

	return head->n_labels >= 2 && find_label(head, "entail") >= 0;
}

/* Where no label is called so, the pipeline takes the first one, or the last where the first is entailment. */
static int
contradiction_of(const TeHead *head, int entailment)
{
	int			found = find_label(head, "contradict");

	if (found >= 0)
		return found;
	return entailment == 0 ? head->n_labels - 1 : 0;
}

void
te_claim_scores(const TeModel *model, const float *logits, int n, bool multi_label, float *scores)
{
	const TeHead *head = te_model_head(model);
	int			entailment = find_label(head, "entail");
	int			contradiction = contradiction_of(head, entailment);

	te_assert(te_model_infers(model));
	for (int i = 0; i < n; i++)
	{
		const float *row = logits + (size_t) i * head->n_labels;
		float		two[2] = {row[contradiction], row[entailment]};

		scores[i] = two[1];
		if (!multi_label && n > 1)
			continue;
		te_softmax(two, two, 2);
		scores[i] = two[1];
	}
	if (!multi_label && n > 1)
		te_softmax(scores, scores, n);
}

void
te_claim_scores_of_cosines(const float *cosines, int n, bool multi_label, float *scores)
{
	for (int i = 0; i < n; i++)
		scores[i] = multi_label ? (1 + cosines[i]) / 2 : SCALE * cosines[i];
	if (!multi_label)
		te_softmax(scores, scores, n);
}
