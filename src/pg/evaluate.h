/*-------------------------------------------------------------------------
 * evaluate.h
 *	  What fn_evaluate.c and the forms of rows share.
 *
 * A form is a shape of rows (its columns), for models of one task, and what is made of them: rows
 * are taken one by one into a slice, a slice is run through the model, and at the end there are metrics.
 * fn_evaluate.c has the table of forms, evaluate_labels.c and evaluate_texts.c what they do.
 *
 * Lifetimes: `memory`, and `arena` in it, until the end of the call; `slice` until its rows have been run.
 *-------------------------------------------------------------------------
 */
#ifndef TRANSFORMER_EVALUATE_H
#define TRANSFORMER_EVALUATE_H

#include "pg/transformer.h"

#include "utils/hsearch.h"

/* Columns that a query may have, each by its name (fn_evaluate.c). */
typedef enum TrColumn
{
	TR_COLUMN_TEXT,
	TR_COLUMN_PAIR,
	TR_COLUMN_LABEL,
	TR_COLUMN_LABELS,
	TR_COLUMN_SCORE,
	TR_COLUMN_TOKENS,
	TR_COLUMN_QUESTION,
	TR_COLUMN_CONTEXT,
	TR_COLUMN_ANSWER,
	TR_COLUMN_ANSWERS,
	TR_COLUMN_ANCHOR,
	TR_COLUMN_POSITIVE,
	TR_COLUMN_NEGATIVE,
	TR_COLUMN_PROMPT,
	TR_COLUMN_COMPLETION,
	TR_N_COLUMNS
} TrColumn;

typedef struct TrEvaluation TrEvaluation;

/* What is done with rows of a form. */
typedef struct TrFormOps
{
	bool		(*fits) (const TeModel *engine);	/* NULL: always */
	void		(*begin) (TrEvaluation *e);
	void		(*take) (TrEvaluation *e);	/* the query's row into the slice, whose memory is current */
	void		(*run) (TrEvaluation *e);	/* the slice, whose memory is current */
	void		(*show) (TrEvaluation *e);
	bool		has_cells;		/* it counts pairs of labels, which a confusion matrix shows */
} TrFormOps;

struct TrEvaluation
{
	TrModel    *model;
	const TeModel *engine;
	const TrFormOps *ops;
	TrQuery    *query;
	int			place[TR_N_COLUMNS];	/* of a column in the query's values; -1: it is not there */
	MemoryContext memory;
	TeArena    *arena;			/* bounded by transformer.session_memory */
	void	   *state;			/* the form's */

	/* the slice */
	MemoryContext slice;
	int64		first_row;		/* number of its first row */
	TrTexts		texts;			/* one of each row, and a second one where the form has it */
	Datum	   *thirds;
	void	  **items;			/* what else the form keeps of a row */
	Size		bytes;			/* of texts */
	Size		most_bytes;		/* a slice is full with so many */

	/* sums */
	uint64		rows;
	uint64		truncated;
	HTAB	   *cells;			/* of TrCell; NULL: not asked for */
	FunctionCallInfo fcinfo;	/* of the set that metrics go to */
};

/* Rows of one label that were given another one, or the same. */
typedef struct TrCell
{
	int			actual;			/* the key */
	int			predicted;
	int64		n;
} TrCell;

extern const TrFormOps tr_form_label;
extern const TrFormOps tr_form_labels;
extern const TrFormOps tr_form_score;
extern const TrFormOps tr_form_tags;
extern const TrFormOps tr_form_answer;
extern const TrFormOps tr_form_masked;
extern const TrFormOps tr_form_written;
extern const TrFormOps tr_form_completed;
extern const TrFormOps tr_form_pairs;
extern const TrFormOps tr_form_ranking;

/* ---- fn_evaluate.c ---- */

extern Datum tr_eval_value(const TrEvaluation *e, TrColumn column);
extern bool tr_eval_has(const TrEvaluation *e, TrColumn column);
/* A copy of a text column's value, counted as bytes of the slice. */
extern Datum tr_eval_text(TrEvaluation *e, TrColumn column);
/* The elements of an array column, copied likewise; none of them NULL. */
extern TrTexts tr_eval_texts(TrEvaluation *e, TrColumn column);
/* A metric; NaN is NULL. */
extern void tr_eval_show(TrEvaluation *e, const char *metric, double value);
/* "precision", "recall" and "f1" with this behind them. */
extern void tr_eval_show_scores(TrEvaluation *e, const char *suffix, TePrecisionRecall scores);

/* Numbers that are kept of all rows. */
typedef struct TrNumbers
{
	TeBuffer	actual;			/* of double */
	TeBuffer	predicted;
	Size		n;
} TrNumbers;

extern void tr_numbers_begin(TrEvaluation *e, TrNumbers *numbers);
extern void tr_numbers_add(TrNumbers *numbers, double actual, double predicted);
extern double tr_eval_score(const TrEvaluation *e);	/* the column "score" of a row; an error where it is not finite */
/* Pearson and Spearman, and with errors how far the numbers are apart. */
extern void tr_numbers_show(TrEvaluation *e, const TrNumbers *numbers, bool errors);

#endif							/* TRANSFORMER_EVALUATE_H */
