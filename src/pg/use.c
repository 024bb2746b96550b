/*-------------------------------------------------------------------------
 * use.c
 *	  What models are used for: which setting names the model, and which tasks
 *	  it may have been made for.
 *
 * A function of SQL opens its model for a use (tr_model_open()).  A model that is for
 * something else is an error here, before anything is computed, that says what
 * the model is for, what was wanted, and which functions do take it.  What a model
 * of the right task lacks beyond that (a label "entailment", a mask token) is the engine's,
 * or the function's, to say.
 *
 * To add a use: its word in TrUse, its row here.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "lib/stringinfo.h"

#define MOST_TASKS 5

typedef struct UseRow
{
	char	  **setting;
	const char *setting_name;
	const char *functions;		/* of SQL */
	const char *lacks;			/* what a model of another task does not do */
	const char *tasks[MOST_TASKS];	/* none: any */
} UseRow;

#define LABEL_TASKS "classification", "regression", "next-sentence"

static const UseRow uses[] = {
	[TR_USE_TOKENS] = {&tr_embedding_model, "transformer.embedding_model",
	"tokenize(), tokens(), token_count(), detokenize(), chunk()", NULL, {NULL}},
	[TR_USE_EMBED] = {&tr_embedding_model, "transformer.embedding_model",
	"embed(), similarity()", "gives no embeddings", {"embedding"}},
	[TR_USE_CLASSIFY] = {&tr_classification_model, "transformer.classification_model",
	"classify(), classify_scores()", "gives no labels", {LABEL_TASKS}},
	[TR_USE_SENTIMENT] = {&tr_sentiment_model, "transformer.sentiment_model",
	"sentiment(), sentiment_score()", "tells no sentiments", {LABEL_TASKS}},
	[TR_USE_INTENT] = {&tr_intent_model, "transformer.intent_model",
	"intent()", "gives no labels", {LABEL_TASKS}},
	[TR_USE_RERANK] = {&tr_rerank_model, "transformer.rerank_model",
	"rerank()", "ranks no documents", {"embedding", LABEL_TASKS}},
	[TR_USE_ZERO_SHOT] = {&tr_zero_shot_model, "transformer.zero_shot_model",
	"zero_shot()", "finds no labels that it was not trained on", {"embedding", "classification"}},
	[TR_USE_ENTITIES] = {&tr_entity_model, "transformer.entity_model",
	"entities()", "finds no entities", {"token-classification"}},
	[TR_USE_FILL] = {&tr_mask_model, "transformer.mask_model",
	"fill_mask()", "fills no masks", {"fill-mask"}},
	[TR_USE_ANSWER] = {&tr_answer_model, "transformer.answer_model",
	"answer()", "answers no questions", {"question-answering"}},
	[TR_USE_GENERATE] = {&tr_generation_model, "transformer.generation_model",
	"generate(), chat(), token_logprobs(), perplexity()", "writes no text", {"text-generation"}},
};

const char *
tr_use_setting(TrUse use)
{
	return *uses[use].setting;
}

const char *
tr_use_setting_name(TrUse use)
{
	return uses[use].setting_name;
}

static bool
takes_task(const UseRow *row, TeStr task)
{
	for (int i = 0; i < MOST_TASKS && row->tasks[i] != NULL; i++)
		if (te_str_is(task, row->tasks[i]))
			return true;
	return false;
}

/* "classification", "regression" or ... */
static char *
list_tasks(const UseRow *row)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < MOST_TASKS && row->tasks[i] != NULL; i++)
	{
		bool		last = i + 1 == MOST_TASKS || row->tasks[i + 1] == NULL;

		appendStringInfo(&list, "%s\"%s\"", i == 0 ? "" : last ? " or " : ", ", row->tasks[i]);
	}
	return list.data;
}

/* Functions that take a model for the task; those of tokens take any. */
static char *
list_functions(TeStr task)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(uses); i++)
		if (takes_task(&uses[i], task))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", uses[i].functions);
	return list.len > 0 ? list.data : (char *) uses[TR_USE_TOKENS].functions;
}

void
tr_use_check(TrUse use, const TeModel *model)
{
	const UseRow *row = &uses[use];
	TeStr		task = te_model_task(model);
	bool		embeds = takes_task(row, TE_STR("embedding")) && !te_str_is(task, "tokenizer");

	if (row->tasks[0] == NULL || takes_task(row, task))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("a model for the task \"%s\" %s", tr_cstring(task), row->lacks),
			 errdetail("One for the task %s is wanted.", list_tasks(row)),
			 errhint("Functions that take this model: %s.%s", list_functions(task),
					 embeds ? " Imported with task => 'embedding', which leaves its head out, it gives embeddings." : "")));
}
