/* transformer 0.2: labels over tables */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION transformer UPDATE TO '0.2'" to load this file. \quit

/*
 * CREATE EXTENSION runs 0.1's script and then this one, so a fresh installation
 * and an updated one are the same.
 */

/* Rows of int8 are rotated before they are rounded now, and bytes made before would be read wrongly. */
DO $$
BEGIN
	IF EXISTS (SELECT FROM _transformer.tensor t WHERE t.dtype OPERATOR(pg_catalog.=) 'int8') THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'models stored as int8 by version 0.1 cannot be kept',
			HINT = 'Drop them, and import them again after the update.';
	END IF;
END
$$;

/* ---- batches of labels ---- */

ALTER FUNCTION @extschema@.classify(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.classify_pinned(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment_score(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.intent(text, text) SUPPORT _transformer.batch_support;

/* ---- pairs of texts ---- */

CREATE FUNCTION @extschema@.rerank(query text, document text, model text DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'transformer_rerank'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.rerank(text, text, text) IS
	'How well a document answers a query, by a cross-encoder or by embeddings';

CREATE FUNCTION @extschema@.rerank(query text, documents text[], model text DEFAULT NULL)
RETURNS SETOF real
AS 'MODULE_PATHNAME', 'transformer_rerank_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.rerank(text, text[], text) IS
	'How well each document answers a query, in their order';

CREATE FUNCTION @extschema@.zero_shot(input text, labels text[], model text DEFAULT NULL, multi_label bool DEFAULT false,
	template text DEFAULT 'This example is {}.', OUT label text, OUT score real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_zero_shot'
LANGUAGE C STABLE PARALLEL SAFE COST 100000 ROWS 10;
COMMENT ON FUNCTION @extschema@.zero_shot(text, text[], text, bool, text) IS
	'Scores of labels that the model was not trained on, the best first';

CREATE FUNCTION @extschema@.zero_shot(inputs text[], labels text[], model text DEFAULT NULL, multi_label bool DEFAULT false,
	template text DEFAULT 'This example is {}.', OUT input int, OUT label text, OUT score real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_zero_shot_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 1000;
COMMENT ON FUNCTION @extschema@.zero_shot(text[], text[], text, bool, text) IS
	'The same for each text; input is its number, from 1';

/* ---- twins of pinned functions ---- */

CREATE FUNCTION @extschema@.embed_pinned(inputs text[], model text)
RETURNS SETOF real[]
AS 'MODULE_PATHNAME', 'transformer_embed_pinned_array'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.embed_pinned(text[], text) IS
	'Embeddings of texts by a version (name@n), in their order';

CREATE FUNCTION @extschema@.classify_pinned(inputs text[], model text)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_classify_pinned_array'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.classify_pinned(text[], text) IS
	'Labels of texts by a version (name@n), in their order';

/* ---- whole tables ---- */

CREATE PROCEDURE @extschema@.classify_table(tbl regclass, source name, target name, model text DEFAULT NULL,
	batch_size int DEFAULT 1000, condition text DEFAULT NULL, on_error text DEFAULT 'stop')
AS 'MODULE_PATHNAME', 'transformer_classify_table'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.classify_table(regclass, name, name, text, int, text, text) IS
	'Classify column source into column target where that is NULL, with a commit per batch; on_error: stop or skip';

/* ---- costs and rows ---- */

ALTER FUNCTION @extschema@.tokenize(text[], text, bool) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.tokens(text[], text, bool) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.token_count(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.embed(text[], text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.embed_pinned(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.classify(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.classify_pinned(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.classify_scores(text, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.sentiment_score(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.intent(text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.rerank(text, text[], text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.zero_shot(text, text[], text, bool, text) SUPPORT _transformer.batch_support;
ALTER FUNCTION @extschema@.zero_shot(text[], text[], text, bool, text) SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION _transformer.batch_support(internal) IS 'Planner support: batches, costs, rows';

/* ---- scores of many texts, entities ---- */

CREATE FUNCTION @extschema@.classify_scores(inputs text[], model text DEFAULT NULL, OUT input int, OUT label text, OUT score real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_classify_scores_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 500 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.classify_scores(text[], text) IS
	'All labels with their scores of each text, the best first; input is its number, from 1';

CREATE FUNCTION @extschema@.entities(input text, model text DEFAULT NULL,
	OUT label text, OUT entity text, OUT score real, OUT start int, OUT stop int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_entities'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 5 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.entities(text, text) IS
	'Names in a text, of any length, with the place of each: its first and last character, from 1';

CREATE FUNCTION @extschema@.entities(inputs text[], model text DEFAULT NULL,
	OUT input int, OUT label text, OUT entity text, OUT score real, OUT start int, OUT stop int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_entities_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 500 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.entities(text[], text) IS
	'The same for each text; input is its number, from 1';

/* ---- words for masks ---- */

CREATE FUNCTION @extschema@.fill_mask(input text, top_k int DEFAULT 5, model text DEFAULT NULL,
	OUT token text, OUT score real, OUT sequence text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_fill_mask'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 5 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.fill_mask(text, int, text) IS
	'Words for the one mask token of a text, the most probable first';

CREATE FUNCTION @extschema@.fill_mask(inputs text[], top_k int DEFAULT 5, model text DEFAULT NULL,
	OUT input int, OUT token text, OUT score real, OUT sequence text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_fill_mask_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 500 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.fill_mask(text[], int, text) IS
	'The same for each text; input is its number, from 1';

/* ---- answers ---- */

CREATE FUNCTION @extschema@.answer(question text, context text, model text DEFAULT NULL,
	OUT answer text, OUT score real, OUT start int, OUT stop int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_answer'
LANGUAGE C STABLE PARALLEL SAFE COST 50000 ROWS 1 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.answer(text, text, text) IS
	'The words of a context that answer a question, and their first and last character';

CREATE FUNCTION @extschema@.answer(question text, contexts text[], model text DEFAULT NULL,
	OUT input int, OUT answer text, OUT score real, OUT start int, OUT stop int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_answer_array'
LANGUAGE C STABLE PARALLEL SAFE COST 2000000 ROWS 100 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.answer(text, text[], text) IS
	'The same for each context; input is its number, from 1';

/* ---- a NULL for a name is an error, not nothing ---- */

ALTER FUNCTION @extschema@.export_model(text, text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.copy_model(text, text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.rename_model(text, text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.drop_model(text, bool) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.deploy_model(text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.grant_model(text, name) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.revoke_model(text, name) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.verify_model(text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.load_model(text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.unload_model(text) CALLED ON NULL INPUT;
