/* transformer 0.2: labels over tables */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION transformer UPDATE TO '0.2'" to load this file. \quit

/*
 * CREATE EXTENSION runs 0.1's script and then this one, so a fresh installation
 * and an updated one are the same.
 */

/* ---- batches of labels ---- */

ALTER FUNCTION @extschema@.classify(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.classify_pinned(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment_score(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.intent(text, text) SUPPORT _transformer.batch_support;
