/*-------------------------------------------------------------------------
 * entities.c
 *	  Named entities: texts through a job "tag", labels of tokens to spans.
 *
 * A text is tokenized once, whole.  One that is longer than the model's
 * context goes through it in windows of the context's length, each between the
 * special tokens that the tokenizer puts around a text; neighbours overlap in a
 * quarter of a window.  Each token has its label from the one window in which it
 * is further from the edge, so that the labels of the text are one row, and an
 * entity is found once, wherever windows begin.
 *
 * A token's label is its best one, its score that one's softmax.  Merging is
 * that of transformers' pipeline with aggregation_strategy "simple": tokens
 * that follow each other and have the same label are an entity, whose score
 * is their mean; a prefix is no part of the label; B- begins a new entity; the
 * label O, and the special tokens, are nothing.  Beyond that, what the pipeline
 * does not know: E- and L- end an entity, S- and U- are one by themselves, M- is
 * inside of one.  Those letters count as prefixes only where the model has the
 * same label with B- or I- too, since a bare label may be called "E-mail".
 * Such models learn one tag a word, so further pieces of a word belong to what the word is in.
 * And white space at the ends of a span, which some tokenizers count to the
 * word behind it, is left out.
 *
 * Lifetimes: all is in the job's arena, until te_job_reset().
 *
 * To add a prefix: a row of `prefixes`.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include <math.h>

#define OVERLAP_PART 4			/* of a window */

static const struct
{
	const char *prefix;
	TePlace		place;
	bool		alone;			/* a prefix whatever other labels there are */
}			prefixes[] = {
	{"B-", TE_PLACE_BEGIN, true},
	{"I-", TE_PLACE_INSIDE, true},
	{"M-", TE_PLACE_INSIDE, false},
	{"E-", TE_PLACE_END, false},
	{"L-", TE_PLACE_END, false},
	{"S-", TE_PLACE_SINGLE, false},
	{"U-", TE_PLACE_SINGLE, false},
};

/* A label of the model, taken apart. */
typedef struct Tag
{
	TePlace		place;
	TeStr		label;
} Tag;

/* A text, and the rows of the job that its windows are. */
typedef struct TaggedText
{
	TeStr		text;
	TeToken    *tokens;
	size_t		n_tokens;
	size_t		n_before;		/* special tokens in front */
	size_t		n_body;
	size_t		room;			/* tokens of the text in a window */
	size_t		first_row;
	size_t		n_rows;			/* 0: nothing to compute */
} TaggedText;

struct TeTagger
{
	TeJob	   *job;
	TeArena    *arena;
	const TeModel *model;
	Tag		   *tags;			/* a label each */
	TaggedText *texts;
	size_t		n_texts;
	size_t		capacity;
};

/* An entity that is being put together. */
typedef struct OpenEntity
{
	const Tag  *last;			/* of its last token; NULL: there is none */
	TeStr		label;
	double		sum;			/* of scores */
	size_t		n;				/* tokens */
	uint32_t	start;
	uint32_t	stop;
} OpenEntity;

/* ---- labels ---- */

/* Is there that label with B- or I-? */
static bool
has_counterpart(const TeModel *model, TeStr label)
{
	for (int i = 0; i < te_model_labels(model); i++)
	{
		TeStr		other = te_model_label(model, i);

		if ((te_str_starts(other, "B-") || te_str_starts(other, "I-"))
			&& te_str_eq((TeStr) {other.data + 2, other.len - 2}, label))
			return true;
	}
	return false;
}

static Tag
read_tag(const TeModel *model, TeStr label)
{
	Tag			tag = {TE_PLACE_INSIDE, label};

	for (size_t i = 0; i < TE_LENGTH(prefixes); i++)
	{
		size_t		n = strlen(prefixes[i].prefix);
		TeStr		rest = {label.data + n, label.len - n};

		if (te_str_starts(label, prefixes[i].prefix) && (prefixes[i].alone || has_counterpart(model, rest)))
			tag = (Tag) {prefixes[i].place, rest};
	}
	if (te_str_is(tag.label, "O"))
		tag.place = TE_PLACE_OUTSIDE;
	return tag;
}

TeTagger *
te_tagger_create(TeJob *job)
{
	TeArena    *arena = te_job_arena(job);
	const TeModel *model = te_job_model(job);
	TeTagger   *tagger;

	if (te_model_head(model)->kind != TE_HEAD_TOKEN)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL,
					  "Use a model whose config.json names a class like BertForTokenClassification.",
					  "a model for the task \"%.*s\" finds no entities", TE_STR_ARGS(te_model_task(model)));
	tagger = te_new(arena, TeTagger);
	tagger->job = job;
	tagger->arena = arena;
	tagger->model = model;
	tagger->tags = te_new_array(arena, Tag, te_model_labels(model));
	for (int i = 0; i < te_model_labels(model); i++)
	{
		te_check_interrupts();
		tagger->tags[i] = read_tag(model, te_model_label(model, i));
	}
	return tagger;
}

/* ---- windows ---- */

/* From the start of a window to that of the next. */
static inline size_t
window_step(const TaggedText *t)
{
	return t->room - t->room / OVERLAP_PART;
}

static inline size_t
window_start(const TaggedText *t, size_t window)
{
	return window + 1 < t->n_rows ? window * window_step(t) : t->n_body - TE_MIN(t->n_body, t->room);
}

/* The token of the body behind the last one whose label is this window's. */
static inline size_t
window_end(const TaggedText *t, size_t window)
{
	if (window + 1 == t->n_rows)
		return t->n_body;
	return (window_start(t, window) + t->room + window_start(t, window + 1)) / 2;
}

/* Feed a window: its tokens between the special ones. */
static void
feed_window(TeTagger *tagger, const TaggedText *t, size_t window, TeToken *buffer)
{
	size_t		n_behind = t->n_tokens - t->n_before - t->n_body;
	const TeToken *body = t->tokens + t->n_before;

	memcpy(buffer, t->tokens, t->n_before * sizeof(TeToken));
	memcpy(buffer + t->n_before, body + window_start(t, window), t->room * sizeof(TeToken));
	memcpy(buffer + t->n_before + t->room, body + t->n_body, n_behind * sizeof(TeToken));
	te_job_feed_tokens(tagger->job, buffer, t->n_before + t->room + n_behind);
}

static void
feed_windows(TeTagger *tagger, TaggedText *t)
{
	size_t		context = te_model_context_length(tagger->model);
	size_t		added = t->n_tokens - t->n_body;
	size_t		step;
	TeToken    *buffer;

	if (context > 0 && context <= added)
		te_throw(TE_ERR_UNSUPPORTED, "the model takes %zu tokens at most, and its tokenizer adds %zu to each text", context, added);
	t->room = context > 0 ? context - added : t->n_body;
	if (t->n_body <= t->room)
	{
		t->n_rows = 1;
		te_job_feed_tokens(tagger->job, t->tokens, t->n_tokens);
		return;
	}
	step = window_step(t);
	t->n_rows = 1 + (t->n_body - t->room + step - 1) / step;
	buffer = te_new_array(tagger->arena, TeToken, context);
	for (size_t i = 0; i < t->n_rows; i++)
		feed_window(tagger, t, i, buffer);
}

/* The place for another text, zeroed. */
static TaggedText *
add_text(TeTagger *tagger)
{
	if (tagger->n_texts == tagger->capacity)
	{
		size_t		capacity = tagger->capacity == 0 ? 64 : te_mul_size(tagger->capacity, 2);
		TaggedText *texts = te_new_array(tagger->arena, TaggedText, capacity);

		if (tagger->n_texts > 0)
			memcpy(texts, tagger->texts, tagger->n_texts * sizeof(TaggedText));
		tagger->texts = texts;
		tagger->capacity = capacity;
	}
	return &tagger->texts[tagger->n_texts++];
}

size_t
te_tagger_feed(TeTagger *tagger, TeStr text)
{
	TaggedText *t = add_text(tagger);

	t->text = text;
	t->tokens = te_encode_alloc(te_model_tokenizer(tagger->model), tagger->arena, text, (TeStr) {NULL, 0}, true, 0,
								&t->n_tokens, NULL);
	while (t->n_before < t->n_tokens && t->tokens[t->n_before].special)
		t->n_before++;
	t->n_body = t->n_tokens - t->n_before;
	while (t->n_body > 0 && t->tokens[t->n_before + t->n_body - 1].special)
		t->n_body--;
	t->first_row = te_job_rows(tagger->job);
	if (t->n_body > 0)
		feed_windows(tagger, t);
	return tagger->n_texts - 1;
}

/* ---- from labels of tokens to entities ---- */

/* The best of a token's labels, the first of equal ones; *score is its softmax. */
static int
best_label(const float *logits, int n, double *score)
{
	int			best = 0;
	double		sum = 0;

	for (int i = 1; i < n; i++)
	{
		if (logits[i] > logits[best])
			best = i;
	}
	for (int i = 0; i < n; i++)
		sum += exp((double) logits[i] - logits[best]);
	*score = 1 / sum;
	return best;
}

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Is the token a further piece of the word that the one before it is of? */
static bool
continues_word(TeStr text, const TeToken *token)
{
	return token->word == token[-1].word && token->start <= token[-1].stop
		&& token->start < text.len && !is_space(text.data[token->start]);
}

static bool
continues_entity(const OpenEntity *open, const Tag *tag, bool same_word)
{
	if (open->last == NULL || tag->place == TE_PLACE_BEGIN || !te_str_eq(open->label, tag->label))
		return false;
	if (tag->place == TE_PLACE_SINGLE || open->last->place == TE_PLACE_END || open->last->place == TE_PLACE_SINGLE)
		return same_word;
	return true;
}

/* Move an entity to the list; one that is only white space is none. */
static void
close_entity(TeStr text, OpenEntity *open, TeEntity *entities, size_t *n)
{
	if (open->last == NULL)
		return;
	while (open->start < open->stop && is_space(text.data[open->start]))
		open->start++;
	while (open->stop > open->start && is_space(text.data[open->stop - 1]))
		open->stop--;
	/* callers count on from one to the next */
	te_assert(open->start >= open->stop || *n == 0 || open->start >= entities[*n - 1].start);
	if (open->start < open->stop)
		entities[(*n)++] = (TeEntity) {open->label, (float) (open->sum / open->n), open->start, open->stop};
	open->last = NULL;
}

static void
add_token(TeStr text, const TeToken *token, const Tag *tag, double score, OpenEntity *open, TeEntity *entities, size_t *n)
{
	bool		same_word = open->last != NULL && continues_word(text, token);

	if (!continues_entity(open, tag, same_word))
	{
		close_entity(text, open, entities, n);
		*open = (OpenEntity) {.label = tag->label,.start = token->start};
	}
	open->last = tag;
	open->stop = token->stop;
	open->sum += score;
	open->n++;
}

const TeEntity *
te_tagger_entities(TeTagger *tagger, size_t text, size_t *n)
{
	const TaggedText *t = &tagger->texts[text];
	const TeToken *body = t->tokens + t->n_before;
	TeEntity   *entities = te_new_array(tagger->arena, TeEntity, t->n_body);
	OpenEntity	open = {0};
	size_t		i = 0;

	te_assert(text < tagger->n_texts);
	*n = 0;
	for (size_t window = 0; window < t->n_rows; window++)
	{
		size_t		n_values;
		int			width;
		const float *values = te_job_values(tagger->job, t->first_row + window, &n_values, &width);

		te_check_interrupts();
		values += t->n_before * width;
		for (size_t end = window_end(t, window), start = window_start(t, window); i < end; i++)
		{
			double		score;
			const Tag  *tag = &tagger->tags[best_label(values + (i - start) * width, width, &score)];

			if (body[i].special)
				continue;
			if (tag->place == TE_PLACE_OUTSIDE)
				close_entity(t->text, &open, entities, n);
			else
				add_token(t->text, &body[i], tag, score, &open, entities, n);
		}
	}
	close_entity(t->text, &open, entities, n);
	return entities;
}

/* ---- labels of words ---- */

/* Behind the tokens that end before a word, or are special. */
static size_t
first_token(const TaggedText *t, size_t i, uint32_t word_start)
{
	const TeToken *body = t->tokens + t->n_before;

	while (i < t->n_body && (body[i].special || body[i].stop <= word_start))
		i++;
	return i;
}

void
te_tagger_words(TeTagger *tagger, size_t text, const TeWord *words, size_t n, int *labels)
{
	const TaggedText *t = &tagger->texts[text];
	const TeToken *body = t->tokens + t->n_before;
	size_t		window = 0;
	size_t		i = 0;

	te_assert(text < tagger->n_texts);
	for (size_t word = 0; word < n; word++)
	{
		size_t		n_values;
		int			width;
		double		score;
		const float *values;

		labels[word] = -1;
		i = first_token(t, i, words[word].start);
		if (i == t->n_body || body[i].start >= words[word].stop)
			continue;
		while (i >= window_end(t, window))
		{
			te_check_interrupts();
			window++;
		}
		values = te_job_values(tagger->job, t->first_row + window, &n_values, &width);
		labels[word] = best_label(values + (t->n_before + i - window_start(t, window)) * width, width, &score);
	}
}

int
te_tagger_types(const TeTagger *tagger, TeWordTag *tags, TeStr *types)
{
	int			n = 0;

	for (int i = 0; i < te_model_labels(tagger->model); i++)
	{
		int			type = 0;

		te_check_interrupts();
		tags[i] = (TeWordTag) {.place = tagger->tags[i].place};
		if (tags[i].place == TE_PLACE_OUTSIDE)
			continue;
		while (type < n && !te_str_eq(types[type], tagger->tags[i].label))
			type++;
		if (type == n)
			types[n++] = tagger->tags[i].label;
		tags[i].type = type;
	}
	return n;
}
