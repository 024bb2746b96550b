-- CALL embed_table(): whole tables.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SELECT transformer.import_model('table_a', :'bert');
SET transformer.embedding_model = 'table_a';

CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."Odd table" (id int PRIMARY KEY, "The text" varchar(40), "The vector" real[]);
INSERT INTO "Odd schema"."Odd table" SELECT i, 'text ' || i FROM generate_series(1, 700) i;
INSERT INTO "Odd schema"."Odd table" VALUES (0, NULL), (-1, '');
CREATE VIEW t AS SELECT id, "The text" AS body, "The vector" AS vector FROM "Odd schema"."Odd table";

CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector');
SELECT count(*), count(vector), bool_and(transformer.l2_distance(vector, transformer.embed(body)) < 1e-5) AS equal FROM t;
-- Again: nothing to do; then only what is NULL, and what the condition wants.
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector');
UPDATE t SET vector = NULL WHERE id % 7 = 0;
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', batch_size => 1,
	condition => 'id <= 140 -- a comment');
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', 'table_a@1', batch_size => 3);
SELECT count(*), count(vector) FROM t;

-- Each batch is committed, except in a transaction block.
UPDATE t SET vector = NULL;
ALTER TABLE "Odd schema"."Odd table" ADD CHECK (id <> 500 OR "The vector" IS NULL);
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', batch_size => 50);
SELECT count(vector) > 300 AS kept, count(vector) < 700 AS stopped FROM t;
BEGIN;
UPDATE t SET vector = NULL;
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', condition => 'id <= 10');
ROLLBACK;
SELECT count(vector) > 300 AS as_before FROM t;
-- Bad rows can be skipped.
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', batch_size => 50, on_error => 'skip');
SELECT id, body FROM t WHERE vector IS NULL ORDER BY id;
SET transformer.truncate = 'error';
UPDATE t SET vector = NULL, body = repeat('a:b:', 10) WHERE id IN (5, 6, 300);
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', condition => 'id <> 500');
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', on_error => 'skip');
SET transformer.truncate = 'warn';
CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', batch_size => 1, condition => 'id <> 500');
RESET transformer.truncate;

-- From a procedure that commits, and from a function that cannot.
UPDATE t SET vector = NULL;
CREATE PROCEDURE embed_all() LANGUAGE plpgsql AS $$
BEGIN
	CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', condition => 'id <= 300');
	COMMIT;
	CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', condition => 'id < 500');
END $$;
CALL embed_all();
DO $$ BEGIN CALL transformer.embed_table('"Odd schema"."Odd table"', 'The text', 'The vector', on_error => 'skip'); END $$;
SELECT count(*), count(vector) FROM t;
DROP PROCEDURE embed_all();

-- Triggers run, may use the model themselves, and may refuse: it ends nevertheless.
CREATE TABLE fired (id int, body text, vector real[], likeness real);
INSERT INTO fired SELECT i, 'text ' || i FROM generate_series(1, 30) i;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	new.likeness := transformer.similarity(new.body, 'text 1');
	IF new.id = 3 THEN new.vector := NULL; END IF;
	IF new.id = 4 THEN RETURN NULL; END IF;
	RETURN new;
END $$;
CREATE TRIGGER fire BEFORE UPDATE ON fired FOR EACH ROW EXECUTE FUNCTION fire();
CALL transformer.embed_table('fired', 'body', 'vector', batch_size => 1000);
SELECT count(vector), count(likeness), bool_and(transformer.l2_distance(vector, transformer.embed(body)) < 1e-5) AS equal FROM fired;

-- Partitions and children
CREATE TABLE parted (id int, body text, vector real[]) PARTITION BY LIST (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted SELECT i % 2, 'text ' || i FROM generate_series(1, 100) i;
CALL transformer.embed_table('parted', 'body', 'vector', batch_size => 7);
SELECT tableoid::regclass, count(*), count(vector) FROM parted GROUP BY 1 ORDER BY 1;

-- The caller's rights and row security
CREATE ROLE regress_table_user;
GRANT USAGE ON SCHEMA "Odd schema" TO regress_table_user;
CREATE TABLE secured (id int, body text, vector real[]);
INSERT INTO secured SELECT i, 'text ' || i FROM generate_series(1, 10) i;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON secured USING (id <= 5);
GRANT SELECT ON secured TO regress_table_user;
SET ROLE regress_table_user;
CALL transformer.embed_table('secured', 'body', 'vector');
RESET ROLE;
SELECT transformer.grant_model('table_a', 'regress_table_user');
SET ROLE regress_table_user;
CALL transformer.embed_table('secured', 'body', 'vector', on_error => 'skip');
RESET ROLE;
GRANT UPDATE ON secured TO regress_table_user;
SET ROLE regress_table_user;
CALL transformer.embed_table('secured', 'body', 'vector');
RESET ROLE;
SELECT count(vector) FROM secured;
DROP TABLE secured;
REVOKE USAGE ON SCHEMA "Odd schema" FROM regress_table_user;

-- A source whose text is NULL although it is not.
CREATE TYPE mood AS (name text);
CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql RETURN nullif($1.name, 'none');
CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood);
CREATE TABLE moods (feels mood, vector real[]);
INSERT INTO moods VALUES (ROW('good')), (ROW('none')), (ROW('bad'));
CALL transformer.embed_table('moods', 'feels', 'vector');
SELECT feels, vector IS NOT NULL AS embedded FROM moods ORDER BY ctid;
DROP TABLE moods;
DROP TYPE mood CASCADE;

-- Errors
CALL transformer.embed_table('fired', 'nothing', 'vector');
CALL transformer.embed_table('fired', 'body', 'nothing');
CALL transformer.embed_table('fired', 'body', 'vector', 'no_such_model');
CALL transformer.embed_table('fired', 'body', 'vector', batch_size => 0);
CALL transformer.embed_table('fired', 'body', 'vector', on_error => 'ignore');
CALL transformer.embed_table('fired', 'body', NULL);
CALL transformer.embed_table('t', 'body', 'vector');
CALL transformer.embed_table('fired', 'body', 'body');
CALL transformer.embed_table('fired', 'body', 'vector', condition => 'id < 10) OR (true');
CALL transformer.embed_table('fired', 'body', 'vector', condition => 'true) UNION ALL SELECT 1, NULL, NULL WHERE (true');
CALL transformer.embed_table('fired', 'body', 'vector', condition => 'true /*');
\set VERBOSITY sqlstate
CALL transformer.embed_table('fired', 'body', 'id');
CALL transformer.embed_table('fired', 'body', 'vector', condition => 'nonsense here');
\set VERBOSITY default

DROP TABLE fired, parted;
DROP FUNCTION fire();
DROP SCHEMA "Odd schema" CASCADE;
RESET transformer.embedding_model;
SELECT transformer.drop_model('table_a');
DROP ROLE regress_table_user;
