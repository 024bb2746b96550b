/* transformer 0.3: learning */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION transformer UPDATE TO '0.3'" to load this file. \quit

/* ---- training runs ---- */

CREATE SEQUENCE _transformer.training_run_seq;

/* One row per run that made a version; of others only their directories speak. */
CREATE TABLE _transformer.training_run (
	run			bigint PRIMARY KEY,
	owner		regrole NOT NULL,
	statement	text NOT NULL,
	base		text NOT NULL,		-- 'name@version', as they were called then
	model		text NOT NULL,
	objective	text NOT NULL,
	options		jsonb NOT NULL,
	query		text NOT NULL,
	eval_query	text,
	rows		bigint NOT NULL,
	tokens		bigint NOT NULL,
	steps		bigint NOT NULL,
	loss		float8,
	eval_loss	float8,
	metrics		jsonb,
	seconds		float8,
	started_at	timestamptz NOT NULL,
	finished_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

CREATE TABLE _transformer.training_log (
	run			bigint NOT NULL,
	step		bigint NOT NULL,
	loss		float8,				-- mean since the row before
	eval_loss	float8,
	learning_rate float8,
	tokens		bigint NOT NULL,
	at			timestamptz NOT NULL,
	PRIMARY KEY (run, step)
);

/* Rows of roles that are no more are not dumped, as with grants. */
SELECT pg_catalog.pg_extension_config_dump('_transformer.training_run_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_transformer.training_run',
	'WHERE owner IN (SELECT oid FROM pg_catalog.pg_roles)');
SELECT pg_catalog.pg_extension_config_dump('_transformer.training_log',
	'WHERE run IN (SELECT run FROM _transformer.training_run WHERE owner IN (SELECT oid FROM pg_catalog.pg_roles))');

COMMENT ON SEQUENCE _transformer.training_run_seq IS 'Numbers of training runs';
COMMENT ON TABLE _transformer.training_run IS 'Training runs that made a version';
COMMENT ON TABLE _transformer.training_log IS 'How the losses of these runs went';

CREATE FUNCTION @extschema@.finetune(model text, query text, task text DEFAULT 'classification', output text DEFAULT NULL,
	epochs real DEFAULT NULL, batch_size int DEFAULT NULL, learning_rate real DEFAULT NULL, warmup real DEFAULT NULL,
	weight_decay real DEFAULT NULL, schedule text DEFAULT NULL, max_length int DEFAULT NULL, max_steps int DEFAULT NULL,
	eval_query text DEFAULT NULL, seed bigint DEFAULT NULL, background bool DEFAULT false, options jsonb DEFAULT NULL,
	lora_rank int DEFAULT 0, freeze text DEFAULT NULL,
	OUT model text, OUT run bigint, OUT rows bigint, OUT tokens bigint, OUT steps int, OUT loss real, OUT eval_loss real,
	OUT metrics jsonb, OUT seconds float8)
AS 'MODULE_PATHNAME', 'transformer_finetune'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000;
REVOKE ALL ON FUNCTION @extschema@.finetune FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.finetune IS
	'Train a model on the rows of a query, which becomes a new version of it or of the name given as output';

CREATE FUNCTION @extschema@.pretrain(model text, query text, objective text DEFAULT NULL, output text DEFAULT NULL,
	epochs real DEFAULT NULL, batch_size int DEFAULT NULL, learning_rate real DEFAULT NULL, warmup real DEFAULT NULL,
	weight_decay real DEFAULT NULL, schedule text DEFAULT NULL, max_length int DEFAULT NULL, max_steps int DEFAULT NULL,
	eval_query text DEFAULT NULL, seed bigint DEFAULT NULL, background bool DEFAULT false, options jsonb DEFAULT NULL,
	lora_rank int DEFAULT 0, freeze text DEFAULT NULL,
	OUT model text, OUT run bigint, OUT rows bigint, OUT tokens bigint, OUT steps int, OUT loss real, OUT eval_loss real,
	OUT metrics jsonb, OUT seconds float8)
AS 'MODULE_PATHNAME', 'transformer_pretrain'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000;
REVOKE ALL ON FUNCTION @extschema@.pretrain FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.pretrain IS
	'Train a model on texts without labels; the result is a new version of it or of the name given as output';

CREATE FUNCTION @extschema@.distill(teacher text, student text, query text, task text DEFAULT NULL, output text DEFAULT NULL,
	epochs real DEFAULT NULL, batch_size int DEFAULT NULL, learning_rate real DEFAULT NULL, warmup real DEFAULT NULL,
	weight_decay real DEFAULT NULL, schedule text DEFAULT NULL, max_length int DEFAULT NULL, max_steps int DEFAULT NULL,
	eval_query text DEFAULT NULL, seed bigint DEFAULT NULL, background bool DEFAULT false, options jsonb DEFAULT NULL,
	temperature real DEFAULT 2, alpha real DEFAULT 0.5,
	OUT model text, OUT run bigint, OUT rows bigint, OUT tokens bigint, OUT steps int, OUT loss real, OUT eval_loss real,
	OUT metrics jsonb, OUT seconds float8)
AS 'MODULE_PATHNAME', 'transformer_distill'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000;
REVOKE ALL ON FUNCTION @extschema@.distill FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.distill IS
	'Train a model to say what another one says of the rows of a query; the student may be made of the teacher''s layers';

CREATE FUNCTION @extschema@.create_model(name text, config jsonb, tokenizer text, seed bigint DEFAULT 0) RETURNS text
AS 'MODULE_PATHNAME', 'transformer_create_model'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION @extschema@.create_model FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.create_model IS
	'Make a model with random weights, of a configuration as in config.json and the tokenizer of another model; gives the new version';

CREATE FUNCTION @extschema@.resume_training(run bigint,
	OUT model text, OUT run bigint, OUT rows bigint, OUT tokens bigint, OUT steps int, OUT loss real, OUT eval_loss real,
	OUT metrics jsonb, OUT seconds float8)
AS 'MODULE_PATHNAME', 'transformer_resume_training'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000;
REVOKE ALL ON FUNCTION @extschema@.resume_training FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.resume_training IS
	'Go on with a training run that was interrupted, from its last checkpoint, to the same weights as without';

CREATE FUNCTION @extschema@.cancel_training(run bigint) RETURNS bool
AS 'MODULE_PATHNAME', 'transformer_cancel_training'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.cancel_training IS
	'Stop a training run that is at work, or remove what one that is not has left; false where it is finished';

CREATE FUNCTION @extschema@.training_chart(run bigint, width int DEFAULT 78, height int DEFAULT 20) RETURNS text
AS 'MODULE_PATHNAME', 'transformer_training_chart'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.training_chart IS 'The losses of a training run, drawn with characters';

CREATE FUNCTION @extschema@.training_svg(run bigint, width int DEFAULT 720, height int DEFAULT 360) RETURNS text
AS 'MODULE_PATHNAME', 'transformer_training_svg'
LANGUAGE C STABLE PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION @extschema@.training_svg IS 'The losses of a training run as a picture (SVG)';

/* What is not in the tables; each gives the rows that the current user may see. */
CREATE FUNCTION _transformer.unfinished_runs(OUT run bigint, OUT owner oid, OUT statement text, OUT status text, OUT message text,
	OUT base text, OUT model text, OUT objective text, OUT options jsonb, OUT query text, OUT eval_query text,
	OUT steps bigint, OUT loss float8, OUT started_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_unfinished_runs'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION _transformer.unfinished_runs() IS 'Training runs that have made no version yet';

CREATE FUNCTION _transformer.unfinished_log(OUT run bigint, OUT step bigint, OUT loss float8, OUT eval_loss float8,
	OUT learning_rate float8, OUT tokens bigint, OUT at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_unfinished_log'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 1000;
COMMENT ON FUNCTION _transformer.unfinished_log() IS 'Logs of training runs that have made no version yet';

CREATE FUNCTION _transformer.training_progress(OUT run bigint, OUT pid int, OUT owner oid, OUT model text, OUT phase text,
	OUT rows bigint, OUT epoch float8, OUT step bigint, OUT steps bigint, OUT loss float8, OUT eval_loss float8,
	OUT learning_rate float8, OUT tokens_per_second float8, OUT seconds_left float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_training_progress'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 1;
COMMENT ON FUNCTION _transformer.training_progress() IS 'Training runs at work';

CREATE VIEW @extschema@.training_progress WITH (security_barrier) AS
SELECT run, pid, pg_catalog.pg_get_userbyid(owner) AS owner, model, phase, rows, epoch, step, steps, loss, eval_loss, learning_rate,
	tokens_per_second, seconds_left
FROM _transformer.training_progress();
GRANT SELECT ON @extschema@.training_progress TO PUBLIC;
COMMENT ON VIEW @extschema@.training_progress IS 'Training runs at work: the current user''s, or all for a superuser';

CREATE VIEW @extschema@.training_runs WITH (security_barrier) AS
SELECT run, pg_catalog.pg_get_userbyid(owner) AS owner, statement, 'finished' AS status, NULL AS message, base, model, objective,
	rows, tokens, steps, loss, eval_loss, metrics, seconds, started_at, finished_at, options, query, eval_query
FROM _transformer.training_run
WHERE pg_catalog.pg_has_role(owner, 'USAGE')
UNION ALL
SELECT run, pg_catalog.pg_get_userbyid(owner), statement, status, message, base, model, objective,
	NULL, NULL, steps, loss, NULL, NULL, NULL, started_at, NULL, options, query, eval_query
FROM _transformer.unfinished_runs();
GRANT SELECT ON @extschema@.training_runs TO PUBLIC;
COMMENT ON VIEW @extschema@.training_runs IS
	'Training runs, finished or not: the current user''s, or all for a superuser';

CREATE VIEW @extschema@.training_log WITH (security_barrier) AS
SELECT l.run, l.step, l.loss, l.eval_loss, l.learning_rate, l.tokens, l.at
FROM _transformer.training_log l JOIN _transformer.training_run r ON r.run = l.run
WHERE pg_catalog.pg_has_role(r.owner, 'USAGE')
UNION ALL
SELECT run, step, loss, eval_loss, learning_rate, tokens, at
FROM _transformer.unfinished_log();
GRANT SELECT ON @extschema@.training_log TO PUBLIC;
COMMENT ON VIEW @extschema@.training_log IS
	'How the losses of training runs go: the current user''s, or all for a superuser';

/* ---- tokenizers ---- */

CREATE FUNCTION @extschema@.train_tokenizer(name text, query text, kind text DEFAULT 'wordpiece', vocab_size int DEFAULT 8192,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'transformer_train_tokenizer'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION @extschema@.train_tokenizer(text, text, text, int, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.train_tokenizer(text, text, text, int, jsonb) IS
	'Learn a tokenizer (wordpiece, bpe or unigram) from the texts of a query; returns the new version, name@n';

/* ---- evaluation ---- */

CREATE FUNCTION @extschema@.evaluate(model text, query text, OUT metric text, OUT value float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_evaluate'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000 ROWS 20;
COMMENT ON FUNCTION @extschema@.evaluate(text, text) IS
	'How well a model does on the rows of a query, which say what is right; metrics by its task and the query''s columns';

CREATE FUNCTION @extschema@.confusion_matrix(model text, query text, OUT actual text, OUT predicted text, OUT n bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'transformer_confusion_matrix'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000 ROWS 20;
COMMENT ON FUNCTION @extschema@.confusion_matrix(text, text) IS
	'How many rows of a query have one label, and are given another one or the same';

CREATE FUNCTION @extschema@.derive_model(model text, name text, layers int[] DEFAULT NULL, tokenizer text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'transformer_derive_model'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION @extschema@.derive_model FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.derive_model(text, text, int[], text) IS
	'Make a model of some layers of another one, or of one that reads by another tokenizer, to be trained; gives the new version';

/* ---- models that come with the extension ---- */

/* Names, tasks and comments; which of them are there, and in which versions, is said by the files in the server's share directory. */
CREATE TABLE _transformer.shipped (
	name		text COLLATE "C" PRIMARY KEY,
	task		text NOT NULL,
	comment		text NOT NULL
);
COMMENT ON TABLE _transformer.shipped IS 'What models come with the extension';
INSERT INTO _transformer.shipped VALUES
	('encoder', 'embedding', 'Embeddings of English sentences, for search and similarity'),
	('sentiment', 'classification', 'Sentiment of English and Chinese texts'),
	('intent', 'classification', 'What a customer wants of a bank: one of the 77 intents of banking77');

/* Rows of these models have a key that begins with @ and chunks of writer 0; a restore has those of its own release. */
SELECT pg_catalog.pg_extension_config_dump('_transformer.model', $$WHERE name NOT LIKE '@%'$$);
SELECT pg_catalog.pg_extension_config_dump('_transformer.version', $$WHERE name NOT LIKE '@%'$$);
SELECT pg_catalog.pg_extension_config_dump('_transformer.tensor', $$WHERE name NOT LIKE '@%'$$);
SELECT pg_catalog.pg_extension_config_dump('_transformer.reference', $$WHERE name NOT LIKE '@%'$$);
SELECT pg_catalog.pg_extension_config_dump('_transformer.chunk', $$WHERE writer <> '0'$$);
SELECT pg_catalog.pg_extension_config_dump('_transformer.privilege',
	$$WHERE name NOT LIKE '@%' AND (role = 0 OR role IN (SELECT oid FROM pg_catalog.pg_roles))$$);

CREATE FUNCTION _transformer.register_shipped() RETURNS int
AS 'MODULE_PATHNAME', 'transformer_register_shipped'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
REVOKE ALL ON FUNCTION _transformer.register_shipped() FROM PUBLIC;
COMMENT ON FUNCTION _transformer.register_shipped() IS
	'Make models of the files that came with the extension; how many';

/*
 * Versions by the names that they are called by; visible: a name of the database hides that of the extension.  Nothing
 * may be asked of a name before that is known.
 */
CREATE VIEW _transformer.named_version AS
SELECT CASE WHEN v.name LIKE '@%' THEN pg_catalog.substr(v.name, 2) ELSE v.name END AS name, v.name AS key, v.version, m.deployed,
	v.digest, v.architecture, v.task, v.parameters, v.quantization, v.bytes, v.dimensions, v.context_length, v.labels, v.parent,
	v.created_at, v.path,
	v.name NOT LIKE '@%' OR NOT EXISTS (SELECT FROM _transformer.model o WHERE o.name = pg_catalog.substr(v.name, 2)) AS visible
FROM _transformer.version v JOIN _transformer.model m ON m.name = v.name;
COMMENT ON VIEW _transformer.named_version IS 'Versions by the names that they are called by';

CREATE OR REPLACE VIEW @extschema@.models WITH (security_barrier) AS
SELECT v.name, v.version, v.version = v.deployed AS deployed,
	(SELECT pg_catalog.pg_get_userbyid(p.role) FROM _transformer.privilege p WHERE p.name = v.key AND p.owner) AS owner,
	v.architecture, v.task, v.parameters, v.quantization, v.bytes, v.dimensions, v.context_length, v.labels,
	v.parent, v.created_at,
	(SELECT s.comment FROM _transformer.shipped s
		WHERE v.path ~ ('^\$share/transformer/' || s.name || '(-[0-9]+)?\.gguf$')) AS comment
FROM _transformer.named_version v
WHERE CASE WHEN v.visible THEN @extschema@.has_model_privilege(v.name) ELSE false END;

CREATE OR REPLACE VIEW @extschema@.loaded_models WITH (security_barrier) AS
SELECT coalesce(v.name || '@' || v.version::text, 'sha256:' || pg_catalog.encode(i.digest, 'hex')) AS model,
	i.status, i.bytes, i.pinned, i.hits, i.loaded_at
FROM _transformer.images() i LEFT JOIN _transformer.named_version v ON v.digest = i.digest AND v.visible
WHERE CASE WHEN v.name IS NOT NULL THEN @extschema@.has_model_privilege(v.name)
	ELSE (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) END;

CREATE OR REPLACE VIEW @extschema@.stat_models WITH (security_barrier) AS
SELECT v.name || '@' || v.version::text AS model, s.calls, s.rows, s.tokens, s.milliseconds
FROM _transformer.image_statistics() s JOIN _transformer.named_version v ON v.digest = s.digest
WHERE CASE WHEN v.visible THEN @extschema@.has_model_privilege(v.name) ELSE false END;

SELECT _transformer.register_shipped();
