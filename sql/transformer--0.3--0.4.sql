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

/*
 * ---- text out ----
 *
 * What draws at random is VOLATILE.  In a parallel query the leader generates, with all threads and one cache; a worker would have one thread,
 * and a cache and prefixes of its own.
 */

CREATE FUNCTION @extschema@.generate(prompt text, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL, grammar text DEFAULT NULL, json_schema jsonb DEFAULT NULL, choices text[] DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_generate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.generate(text, text, int, real, int, real, real, real, bigint, text[], text, jsonb, text[], jsonb) IS
	'What a model writes after a text';

CREATE FUNCTION @extschema@.generate(prompts text[], model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL, grammar text DEFAULT NULL, json_schema jsonb DEFAULT NULL, choices text[] DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_generate_array'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.generate(text[], text, int, real, int, real, real, real, bigint, text[], text, jsonb, text[], jsonb) IS
	'What a model writes after each of many texts, in their order';

CREATE FUNCTION @extschema@.generate_stream(prompt text, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL, grammar text DEFAULT NULL, json_schema jsonb DEFAULT NULL, choices text[] DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_generate_stream'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.generate_stream(text, text, int, real, int, real, real, real, bigint, text[], text, jsonb, text[], jsonb) IS
	'What a model writes after a text, a row for each piece as it is made';

CREATE FUNCTION @extschema@.generate_json(prompt text, schema jsonb, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'transformer_generate_json'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.generate_json(text, jsonb, text, int, real, int, real, real, real, bigint, jsonb) IS
	'JSON that a model writes after a text, by a JSON schema';

CREATE FUNCTION @extschema@.generate_as(prompt text, base anyelement, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS anyelement
AS 'MODULE_PATHNAME', 'transformer_generate_as'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.generate_as(text, anyelement, text, int, real, int, real, real, real, bigint, jsonb) IS
	'A value of a type that a model writes after a text: generate_as(prompt, NULL::type)';

CREATE FUNCTION @extschema@.chat(messages jsonb, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL, grammar text DEFAULT NULL, json_schema jsonb DEFAULT NULL, choices text[] DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_chat'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.chat(jsonb, text, int, real, int, real, real, real, bigint, text[], text, jsonb, text[], jsonb) IS
	'What a model answers in a conversation, an array of {"role": ..., "content": ...}';

CREATE FUNCTION @extschema@.chat_stream(messages jsonb, model text DEFAULT NULL, max_tokens int DEFAULT 128, temperature real DEFAULT 0,
	top_k int DEFAULT 0, top_p real DEFAULT 1, min_p real DEFAULT 0, repetition_penalty real DEFAULT 1, seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL, grammar text DEFAULT NULL, json_schema jsonb DEFAULT NULL, choices text[] DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_chat_stream'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.chat_stream(jsonb, text, int, real, int, real, real, real, bigint, text[], text, jsonb, text[], jsonb) IS
	'What a model answers in a conversation, a row for each piece as it is made';

CREATE FUNCTION @extschema@.token_logprobs(input text, model text DEFAULT NULL, target text DEFAULT NULL,
	OUT seq int, OUT token text, OUT id int, OUT logprob real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_token_logprobs'
LANGUAGE C STABLE PARALLEL SAFE COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.token_logprobs(text, text, text) IS
	'How probable each token of a text is to a model, or of what follows the text';

CREATE FUNCTION @extschema@.token_logprobs(inputs text[], model text DEFAULT NULL, target text DEFAULT NULL,
	OUT input int, OUT seq int, OUT token text, OUT id int, OUT logprob real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_token_logprobs_array'
LANGUAGE C STABLE PARALLEL SAFE COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.token_logprobs(text[], text, text) IS
	'The same of many texts; input is the number of the text, from 1';

CREATE FUNCTION @extschema@.perplexity(input text, model text DEFAULT NULL, target text DEFAULT NULL)
RETURNS float8
AS 'MODULE_PATHNAME', 'transformer_perplexity'
LANGUAGE C STABLE PARALLEL SAFE COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.perplexity(text, text, text) IS
	'How little a model foresees a text, or what follows it: exp of the mean loss of its tokens';

CREATE FUNCTION @extschema@.perplexity(inputs text[], model text DEFAULT NULL, target text DEFAULT NULL)
RETURNS SETOF float8
AS 'MODULE_PATHNAME', 'transformer_perplexity_array'
LANGUAGE C STABLE PARALLEL SAFE COST 100000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.perplexity(text[], text, text) IS
	'The same of many texts, in their order';
/* A role that was dropped has no name; its runs are superusers'. */
CREATE OR REPLACE VIEW @extschema@.training_runs WITH (security_barrier) AS
SELECT run, (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = owner) AS owner, statement, 'finished' AS status, NULL AS message, base, model,
	objective, rows, tokens, steps, loss, eval_loss, metrics, seconds, started_at, finished_at, options, query, eval_query
FROM _transformer.training_run
WHERE pg_catalog.pg_has_role(owner, 'USAGE')
UNION ALL
SELECT run, (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = owner), statement, status, message, base, model,
	objective, NULL, NULL, steps, loss, NULL, NULL, NULL, started_at, NULL, options, query, eval_query
FROM _transformer.unfinished_runs();

/* ---- models that come with it ---- */

INSERT INTO _transformer.shipped VALUES
	('generator', 'text-generation', 'Goes on with a text in the manner of Shakespeare, of Wikipedia or of a Chinese poem: small, to try things out');
SELECT _transformer.register_shipped();
