/* transformer 0.1: Transformer models in the database */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION transformer" to load this file. \quit

/*
 * Whoever owns the schema can put functions and operators into it that calls
 * and views would find beside ours, or in place of them.
 */
DO $$
BEGIN
	IF NOT (SELECT r.rolsuper FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
			WHERE n.nspname OPERATOR(pg_catalog.=) '@extschema@') THEN
		RAISE insufficient_privilege USING
			MESSAGE = 'schema "@extschema@" is owned by a role that is not a superuser',
			HINT = 'Drop the schema, or make a superuser its owner, once it holds nothing that you do not trust.';
	END IF;
END
$$;

/* ---- catalog ---- */

/*
 * The schema sorts before users' schemas, so that a dump restores models
 * before columns that are generated from them.  Nothing in it is for users:
 * they read the views.
 *
 * There are no foreign keys: they would be checked while a dump is restored,
 * which with pg_restore -j fills these tables in any order.  src/pg/catalog_write.c, which alone
 * changes the tables, keeps them whole under its locks.
 */
CREATE SCHEMA _transformer;
REVOKE ALL ON SCHEMA _transformer FROM PUBLIC;

/* One row per model name. */
CREATE TABLE _transformer.model (
	name		text COLLATE "C" PRIMARY KEY,
	deployed	int NOT NULL,		-- the version that the bare name means
	last_version int NOT NULL,		-- the largest ever given, so that none is given twice
	created_at	timestamptz NOT NULL DEFAULT now()
);

/* One row per version; never updated. */
CREATE TABLE _transformer.version (
	name		text COLLATE "C" NOT NULL,
	version		int NOT NULL,
	digest		bytea NOT NULL,		-- sha256 of all that follows which makes up the model
	architecture text NOT NULL,
	task		text NOT NULL,
	config		text NOT NULL,		-- config.json
	pipeline	text NOT NULL,
	tokenizer	bytea[] NOT NULL,	-- digests of the chunks of tokenizer.json
	tokenizer_bytes int NOT NULL,
	quantization text NOT NULL,
	parameters	bigint NOT NULL,
	bytes		bigint NOT NULL,
	dimensions	int NOT NULL,
	context_length int NOT NULL,
	labels		text[] NOT NULL,
	parent		text,				-- 'name@version' that it was made from, as it was called then
	storage		text NOT NULL CHECK (storage IN ('table', 'file')),
	path		text,				-- storage 'file': where the weights are, what they are converted to
	conversion	text,				-- as they are read, and how the file looked
	file_size	bigint,
	file_mtime	timestamptz,
	created_at	timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (name, version)
);

/* The tensors of a version, in the order of export. */
CREATE TABLE _transformer.tensor (
	name		text COLLATE "C" NOT NULL,
	version		int NOT NULL,
	seq			int NOT NULL,
	tensor		text NOT NULL,
	dtype		text NOT NULL,
	dims		bigint[] NOT NULL,
	bytes		bigint NOT NULL,
	chunk_bytes	int NOT NULL,		-- of each chunk but the last
	chunks		bytea[] NOT NULL,	-- digests, in order; of storage 'file' too, where they guard against a changed file
	PRIMARY KEY (name, version, seq)
);

/* What the scalar kernels gave for the reference texts, when the version was made. */
CREATE TABLE _transformer.reference (
	name		text COLLATE "C" NOT NULL,
	version		int NOT NULL,
	seq			int NOT NULL,		-- number of the text
	vector		real[] NOT NULL,
	PRIMARY KEY (name, version, seq)
);

/*
 * Bytes, once each: versions share what they have in common.  Transactions that
 * write the same bytes at the same time do not wait for each other but write them twice.
 */
CREATE TABLE _transformer.chunk (
	digest		bytea NOT NULL,		-- sha256
	writer		xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
	data		bytea NOT NULL,
	PRIMARY KEY (digest, writer)
);
ALTER TABLE _transformer.chunk ALTER COLUMN data SET STORAGE EXTERNAL;

/*
 * Who may use a model: its owner, and those it is granted to.  Role 0 is
 * PUBLIC.  Rows of roles that are no more are not dumped, since their number
 * may be another role's elsewhere; a model without an owner is the superusers'.
 */
CREATE TABLE _transformer.privilege (
	name		text COLLATE "C" NOT NULL,
	role		regrole NOT NULL,
	owner		bool NOT NULL,
	PRIMARY KEY (name, role)
);
CREATE UNIQUE INDEX privilege_owner ON _transformer.privilege (name) WHERE owner;

SELECT pg_catalog.pg_extension_config_dump('_transformer.model', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.version', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.tensor', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.reference', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.chunk', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.privilege',
	'WHERE role = 0 OR role IN (SELECT oid FROM pg_catalog.pg_roles)');

COMMENT ON SCHEMA _transformer IS 'Catalog of the extension transformer; not for direct use';
COMMENT ON TABLE _transformer.model IS 'Names of models';
COMMENT ON TABLE _transformer.version IS 'Versions of models';
COMMENT ON TABLE _transformer.tensor IS 'Tensors of versions';
COMMENT ON TABLE _transformer.reference IS 'Embeddings of the reference texts, for verify_model';
COMMENT ON TABLE _transformer.chunk IS 'Bytes of tensors and tokenizers, by their sha256';
COMMENT ON TABLE _transformer.privilege IS 'Owners of models, and who else may use them';

/* ---- models ---- */

GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;

CREATE FUNCTION @extschema@.import_model(name text, path text, storage text DEFAULT 'table', quantization text DEFAULT NULL,
	task text DEFAULT NULL, labels text[] DEFAULT NULL, tokenizer text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_import_model'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION @extschema@.import_model(text, text, text, text, text, text[], text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.import_model(text, text, text, text, text, text[], text) IS
	'Import a GGUF file or a model folder of the server; returns the new version, name@n';

CREATE FUNCTION @extschema@.import_model(name text, large_object oid, storage text DEFAULT 'table', quantization text DEFAULT NULL,
	task text DEFAULT NULL, labels text[] DEFAULT NULL, tokenizer text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_import_model_lo'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION @extschema@.import_model(text, oid, text, text, text, text[], text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.import_model(text, oid, text, text, text, text[], text) IS
	'Import a GGUF file, or a tar archive of a model folder, from a large object; returns the new version, name@n';

CREATE FUNCTION @extschema@.export_model(model text, path text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'transformer_export_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.export_model(text, text) IS
	'Write a model to a new file of the server (*.gguf) or a new folder (safetensors and JSON); returns its bytes';

CREATE FUNCTION @extschema@.copy_model(model text, name text)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_copy_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
REVOKE ALL ON FUNCTION @extschema@.copy_model(text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.copy_model(text, text) IS
	'Make a version of another model from one of this, sharing its weights; returns the new version, name@n';

CREATE FUNCTION @extschema@.rename_model(name text, new_name text)
RETURNS void
AS 'MODULE_PATHNAME', 'transformer_rename_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION @extschema@.rename_model(text, text) IS 'Rename a model with all its versions';

CREATE FUNCTION @extschema@.drop_model(model text, if_exists bool DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'transformer_drop_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION @extschema@.drop_model(text, bool) IS 'Drop a model, or one version of it (name@n)';

CREATE FUNCTION @extschema@.deploy_model(model text)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_deploy_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.deploy_model(text) IS 'Make a version (name@n) the one that the bare name means';

CREATE FUNCTION @extschema@.grant_model(model text, role name)
RETURNS void
AS 'MODULE_PATHNAME', 'transformer_grant_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.grant_model(text, name) IS 'Let a role use a model; public means every role';

CREATE FUNCTION @extschema@.revoke_model(model text, role name)
RETURNS void
AS 'MODULE_PATHNAME', 'transformer_revoke_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.revoke_model(text, name) IS 'Take back what grant_model gave';

CREATE FUNCTION @extschema@.has_model_privilege(model text)
RETURNS bool
AS 'MODULE_PATHNAME', 'transformer_has_model_privilege'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.has_model_privilege(text) IS 'May the current user use this model?';

CREATE FUNCTION @extschema@.has_model_privilege(role name, model text)
RETURNS bool
AS 'MODULE_PATHNAME', 'transformer_has_model_privilege_role'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.has_model_privilege(name, text) IS 'May this role use this model?';

CREATE FUNCTION @extschema@.verify_model(model text, OUT check_name text, OUT expected float8, OUT actual float8, OUT ok bool)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_verify_model'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 10;
COMMENT ON FUNCTION @extschema@.verify_model(text) IS
	'Check the stored bytes of a model against their digests, and its vectors against those stored at import';

/* A security barrier, so that a leaky function in a user's query sees no other rows. */
CREATE VIEW @extschema@.models WITH (security_barrier) AS
SELECT v.name, v.version, v.version = m.deployed AS deployed,
	(SELECT pg_catalog.pg_get_userbyid(p.role) FROM _transformer.privilege p WHERE p.name = v.name AND p.owner) AS owner,
	v.architecture, v.task, v.parameters, v.quantization, v.bytes, v.dimensions, v.context_length, v.labels,
	v.parent, v.created_at
FROM _transformer.version v JOIN _transformer.model m ON m.name = v.name
WHERE @extschema@.has_model_privilege(v.name);
GRANT SELECT ON @extschema@.models TO PUBLIC;
COMMENT ON VIEW @extschema@.models IS 'Models that the current user may use, one row per version';

/* The view's: a function of the C library, since the server's own shows commands that it knows only. */
CREATE FUNCTION _transformer.import_progress(OUT pid int, OUT datname name, OUT usename name, OUT phase text,
	OUT tensors_done bigint, OUT tensors_total bigint, OUT bytes_done bigint, OUT bytes_total bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_import_progress'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100 ROWS 10;
COMMENT ON FUNCTION _transformer.import_progress() IS 'Rows of the view import_progress';

CREATE VIEW @extschema@.import_progress AS
SELECT pid, datname, usename, phase, tensors_done, tensors_total, bytes_done, bytes_total
FROM _transformer.import_progress();
GRANT SELECT ON @extschema@.import_progress TO PUBLIC;
COMMENT ON VIEW @extschema@.import_progress IS 'Imports that are going on, in all databases';

/* ---- text, meaning ---- */

/* Of scalar functions that run in batches: planning a call loads the library, whose hooks find it. */
CREATE FUNCTION _transformer.batch_support(internal)
RETURNS internal
AS 'MODULE_PATHNAME', 'transformer_batch_support'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _transformer.batch_support(internal) IS 'Planner support of functions that run in batches';

CREATE FUNCTION @extschema@.tokenize(input text, model text DEFAULT NULL, special bool DEFAULT true)
RETURNS int[]
AS 'MODULE_PATHNAME', 'transformer_tokenize'
LANGUAGE C STABLE PARALLEL SAFE COST 100 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.tokenize(text, text, bool) IS
	'Token ids of a text; special: with the tokens that the model adds';

CREATE FUNCTION @extschema@.tokenize(inputs text[], model text DEFAULT NULL, special bool DEFAULT true)
RETURNS SETOF int[]
AS 'MODULE_PATHNAME', 'transformer_tokenize_array'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION @extschema@.tokenize(text[], text, bool) IS
	'Token ids of each text';

CREATE FUNCTION @extschema@.tokens(input text, model text DEFAULT NULL, special bool DEFAULT true)
RETURNS text[]
AS 'MODULE_PATHNAME', 'transformer_tokens'
LANGUAGE C STABLE PARALLEL SAFE COST 100 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.tokens(text, text, bool) IS
	'Tokens of a text as the vocabulary writes them';

CREATE FUNCTION @extschema@.tokens(inputs text[], model text DEFAULT NULL, special bool DEFAULT true)
RETURNS SETOF text[]
AS 'MODULE_PATHNAME', 'transformer_tokens_array'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION @extschema@.tokens(text[], text, bool) IS
	'Tokens of each text as the vocabulary writes them';

CREATE FUNCTION @extschema@.detokenize(ids int[], model text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_detokenize'
LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION @extschema@.detokenize(int[], text) IS
	'Text of token ids, without special tokens';

CREATE FUNCTION @extschema@.token_count(input text, model text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'transformer_token_count'
LANGUAGE C STABLE PARALLEL SAFE COST 100 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.token_count(text, text) IS
	'How many tokens the model sees of a text, special tokens included';

CREATE FUNCTION @extschema@.token_count(inputs text[], model text DEFAULT NULL)
RETURNS SETOF int
AS 'MODULE_PATHNAME', 'transformer_token_count_array'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION @extschema@.token_count(text[], text) IS
	'How many tokens the model sees of each text';

CREATE FUNCTION @extschema@.chunk(input text, max_tokens int, overlap int DEFAULT 0, model text DEFAULT NULL,
	OUT seq int, OUT chunk text, OUT start int, OUT stop int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_chunk'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.chunk(text, int, int, text) IS
	'Cut a text into pieces of at most max_tokens tokens, overlapping by so many; start and stop count characters from 1';

CREATE FUNCTION @extschema@.embed(input text, model text DEFAULT NULL, kind text DEFAULT NULL)
RETURNS real[]
AS 'MODULE_PATHNAME', 'transformer_embed'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.embed(text, text, text) IS
	'Embedding of a text; kind: query or passage, where the model tells them apart';

CREATE FUNCTION @extschema@.embed(inputs text[], model text DEFAULT NULL, kind text DEFAULT NULL)
RETURNS SETOF real[]
AS 'MODULE_PATHNAME', 'transformer_embed_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.embed(text[], text, text) IS
	'Embeddings of texts, in their order';

CREATE FUNCTION @extschema@.embed_pinned(input text, model text)
RETURNS real[]
AS 'MODULE_PATHNAME', 'transformer_embed_pinned'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.embed_pinned(text, text) IS
	'Embedding by a version (name@n), for generated columns and indexes';

CREATE FUNCTION @extschema@.similarity(a text, b text, model text DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'transformer_similarity'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 SUPPORT _transformer.batch_support;
COMMENT ON FUNCTION @extschema@.similarity(text, text, text) IS
	'Cosine of the embeddings of two texts';

CREATE FUNCTION @extschema@.cosine_distance(a real[], b real[])
RETURNS float8
AS 'MODULE_PATHNAME', 'transformer_cosine_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.cosine_distance(real[], real[]) IS
	'1 minus the cosine of two vectors';

CREATE FUNCTION @extschema@.inner_product(a real[], b real[])
RETURNS float8
AS 'MODULE_PATHNAME', 'transformer_inner_product'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.inner_product(real[], real[]) IS
	'Inner product of two vectors (not negated)';

CREATE FUNCTION @extschema@.l2_distance(a real[], b real[])
RETURNS float8
AS 'MODULE_PATHNAME', 'transformer_l2_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.l2_distance(real[], real[]) IS
	'Euclidean distance of two vectors';

/* ---- labels ---- */

CREATE FUNCTION @extschema@.classify(input text, model text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_classify'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.classify(text, text) IS
	'Label of a text';

CREATE FUNCTION @extschema@.classify(inputs text[], model text DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_classify_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.classify(text[], text) IS
	'Labels of texts, in their order';

CREATE FUNCTION @extschema@.classify_scores(input text, model text DEFAULT NULL, OUT label text, OUT score real)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_classify_scores'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION @extschema@.classify_scores(text, text) IS
	'All labels for a text, the most probable first';

CREATE FUNCTION @extschema@.classify_pinned(input text, model text)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_classify_pinned'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.classify_pinned(text, text) IS
	'Label by a version (name@n), for generated columns and indexes';

CREATE FUNCTION @extschema@.sentiment(input text, model text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_sentiment'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.sentiment(text, text) IS
	'positive, negative or neutral';

CREATE FUNCTION @extschema@.sentiment(inputs text[], model text DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_sentiment_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.sentiment(text[], text) IS
	'positive, negative or neutral, for each text';

CREATE FUNCTION @extschema@.sentiment_score(input text, model text DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'transformer_sentiment_score'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.sentiment_score(text, text) IS
	'How positive a text is, from -1 to 1';

CREATE FUNCTION @extschema@.sentiment_score(inputs text[], model text DEFAULT NULL)
RETURNS SETOF real
AS 'MODULE_PATHNAME', 'transformer_sentiment_score_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.sentiment_score(text[], text) IS
	'How positive each text is, from -1 to 1';

CREATE FUNCTION @extschema@.intent(input text, model text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_intent'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.intent(text, text) IS
	'Intent of a text, by the intent model';

CREATE FUNCTION @extschema@.intent(inputs text[], model text DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'transformer_intent_array'
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION @extschema@.intent(text[], text) IS
	'Intents of texts, in their order';

/* ---- whole tables, statistics ---- */

CREATE PROCEDURE @extschema@.embed_table(tbl regclass, source name, target name, model text DEFAULT NULL,
	batch_size int DEFAULT 1000, condition text DEFAULT NULL, on_error text DEFAULT 'stop')
AS 'MODULE_PATHNAME', 'transformer_embed_table'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.embed_table(regclass, name, name, text, int, text, text) IS
	'Embed column source into column target where that is NULL, with a commit per batch; on_error: stop or skip';

CREATE FUNCTION @extschema@.load_model(model text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'transformer_load_model'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION @extschema@.load_model(text) IS
	'Load a model into shared memory and keep it there; gives its bytes';

CREATE FUNCTION @extschema@.unload_model(model text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'transformer_unload_model'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION @extschema@.unload_model(text) IS
	'Remove a model from shared memory; gives its bytes, 0 if it was not there. Superusers may name it as loaded_models does';

/* Under the views: by digest, for all databases. */
CREATE FUNCTION _transformer.images(OUT digest bytea, OUT status text, OUT store text, OUT bytes bigint, OUT pinned bool,
	OUT hits bigint, OUT loaded_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_images'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION _transformer.images() IS 'Images of models in shared memory';

CREATE FUNCTION _transformer.image_statistics(OUT digest bytea, OUT calls bigint, OUT rows bigint, OUT tokens bigint,
	OUT batches bigint, OUT milliseconds float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_image_statistics'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000 ROWS 100;
COMMENT ON FUNCTION _transformer.image_statistics() IS 'What was computed with each image';

/* A superuser sees images that no model of this database has, too, by their digest. */
CREATE VIEW @extschema@.loaded_models WITH (security_barrier) AS
SELECT coalesce(v.name || '@' || v.version::text, 'sha256:' || pg_catalog.encode(i.digest, 'hex')) AS model,
	i.status, i.bytes, i.pinned, i.hits, i.loaded_at
FROM _transformer.images() i LEFT JOIN _transformer.version v ON v.digest = i.digest
WHERE CASE WHEN v.name IS NOT NULL THEN @extschema@.has_model_privilege(v.name)
	ELSE (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) END;
GRANT SELECT ON @extschema@.loaded_models TO PUBLIC;
COMMENT ON VIEW @extschema@.loaded_models IS 'Models in shared memory that the current user may use';

CREATE VIEW @extschema@.stat_models WITH (security_barrier) AS
SELECT v.name || '@' || v.version::text AS model, s.calls, s.rows, s.tokens, s.milliseconds
FROM _transformer.image_statistics() s JOIN _transformer.version v ON v.digest = s.digest
WHERE @extschema@.has_model_privilege(v.name);
GRANT SELECT ON @extschema@.stat_models TO PUBLIC;
COMMENT ON VIEW @extschema@.stat_models IS 'What was computed with each model, by all sessions together';
