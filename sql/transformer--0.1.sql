/* transformer 0.1: Transformer models in the database */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION transformer" to load this file. \quit

/*
 * Catalog.  The schema sorts before users' schemas, so that a dump restores
 * models before columns that are generated from them.  Nothing in it is for
 * users: they read the views.
 */
CREATE SCHEMA _transformer;
REVOKE ALL ON SCHEMA _transformer FROM PUBLIC;

/* One row per model name. */
CREATE TABLE _transformer.model (
	name		text PRIMARY KEY,
	deployed	int NOT NULL,		-- the version that the bare name means
	owner		regrole NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT now()
);

/* One row per version; never updated. */
CREATE TABLE _transformer.version (
	name		text NOT NULL REFERENCES _transformer.model ON UPDATE CASCADE ON DELETE CASCADE,
	version		int NOT NULL,
	digest		bytea NOT NULL,		-- sha256 of all that follows which makes up the model
	architecture text NOT NULL,
	task		text NOT NULL,
	config		text NOT NULL,		-- config.json
	pipeline	text NOT NULL,
	tokenizer	bytea[] NOT NULL,	-- digests of the chunks of tokenizer.json
	quantization text NOT NULL,
	parameters	bigint NOT NULL,
	bytes		bigint NOT NULL,
	dimensions	int NOT NULL,
	context_length int NOT NULL,
	labels		text[] NOT NULL,
	parent		text,
	storage		text NOT NULL CHECK (storage IN ('table', 'file')),
	path		text,				-- storage 'file'
	file_size	bigint,
	file_mtime	timestamptz,
	"references" real[] NOT NULL,	-- what the scalar kernels gave for the reference texts, one after the other
	created_at	timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (name, version)
);

/* The tensors of a version, in the order of export. */
CREATE TABLE _transformer.tensor (
	name		text NOT NULL,
	version		int NOT NULL,
	seq			int NOT NULL,
	tensor		text NOT NULL,
	dtype		text NOT NULL,
	dims		bigint[] NOT NULL,
	bytes		bigint NOT NULL,
	chunks		bytea[] NOT NULL,	-- digests, in order; empty where storage is 'file'
	chunk_bytes	int NOT NULL,		-- of each chunk but the last
	PRIMARY KEY (name, version, seq),
	FOREIGN KEY (name, version) REFERENCES _transformer.version ON UPDATE CASCADE ON DELETE CASCADE
);

/* Bytes, once each: versions share what they have in common. */
CREATE TABLE _transformer.chunk (
	digest		bytea PRIMARY KEY,
	data		bytea NOT NULL
);
ALTER TABLE _transformer.chunk ALTER COLUMN data SET STORAGE EXTERNAL;

/* Who but the owner may use a model.  Role 0 is PUBLIC. */
CREATE TABLE _transformer.privilege (
	name		text NOT NULL REFERENCES _transformer.model ON UPDATE CASCADE ON DELETE CASCADE,
	role		regrole NOT NULL,
	PRIMARY KEY (name, role)
);

SELECT pg_catalog.pg_extension_config_dump('_transformer.model', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.version', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.tensor', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.chunk', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.privilege', '');
