/* transformer 0.4: text out of rows */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION transformer UPDATE TO '0.4'" to load this file. \quit

/* ---- training runs ---- */

/* Objectives are called as users call them. */
UPDATE _transformer.training_run SET objective = n.shown
FROM (VALUES ('causal', 'clm'), ('completion', 'text-generation'), ('multi_label', 'multi-label'), ('embedding_score', 'embedding'),
	('token_classification', 'token-classification'), ('question_answering', 'question-answering'), ('distill_classification', 'classification'),
	('distill_regression', 'regression'), ('distill_embedding', 'embedding'), ('distill_tokens', 'token-classification')) n(called, shown)
WHERE objective = n.called;
