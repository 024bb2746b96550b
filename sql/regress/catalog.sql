-- Models as objects: names, versions, deployment, copies, what is shared and what is given back.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';

CREATE VIEW chunks AS
SELECT count(*) AS stored,
	count(*) FILTER (WHERE digest IN (SELECT unnest(chunks) FROM _transformer.tensor
		UNION SELECT unnest(tokenizer) FROM _transformer.version)) AS used,
	bool_and(digest = sha256(data)) AS whole
FROM _transformer.chunk;

SELECT transformer.import_model('catalog_a', :'bert');
SELECT stored > 0 AS stored, stored = used AS used, whole FROM chunks;
SELECT stored AS before FROM chunks \gset

-- Again under the same name: a version, not deployed, that shares everything.
SELECT transformer.import_model('catalog_a', :'bert');
SELECT stored = :before AS shared FROM chunks;
SELECT name, version, deployed, owner = current_user AS own, architecture, task, quantization, labels, parent
FROM transformer.models WHERE name LIKE 'catalog%' ORDER BY 1, 2;
SELECT count(DISTINCT digest) FROM _transformer.version WHERE name = 'catalog_a';

-- What the bare name means.
SELECT transformer.deploy_model('catalog_a@2');
SELECT version, deployed FROM transformer.models WHERE name = 'catalog_a' ORDER BY 1;
SELECT transformer.deploy_model('catalog_a');
SELECT transformer.deploy_model('catalog_a@7');

-- Names.
SELECT transformer.deploy_model('catalog_a@0');
SELECT transformer.deploy_model('catalog_a@');
SELECT transformer.deploy_model('catalog_a@02');
SELECT transformer.deploy_model('catalog_a@99999999999');
SELECT transformer.deploy_model('catalog_a@1@1');
SELECT transformer.deploy_model('@1');
SELECT transformer.copy_model('catalog_a', '');
SELECT transformer.copy_model('catalog_a', ' x');
SELECT transformer.copy_model('catalog_a', E'x\ny');
SELECT transformer.copy_model('catalog_a', repeat('x', 64));
SELECT transformer.copy_model('catalog_a', 'x@1');
SELECT transformer.copy_model('no_such_model', 'x');

-- Copies share the weights, and know where they came from.
SELECT transformer.copy_model('catalog_a', 'catalog_b');
SELECT transformer.copy_model('catalog_a@1', 'catalog_b');
SELECT name, version, deployed, parent FROM transformer.models WHERE name = 'catalog_b' ORDER BY 2;
SELECT stored = :before AS shared FROM chunks;
SELECT check_name, expected, ok FROM transformer.verify_model('catalog_b@2') WHERE check_name = 'digest';

-- Renaming takes all versions along.
SELECT transformer.rename_model('catalog_b', 'catalog_a');
SELECT transformer.rename_model('catalog_b@1', 'catalog_c');
SELECT transformer.rename_model('catalog_b', 'catalog_c');
SELECT name, version, deployed FROM transformer.models WHERE name IN ('catalog_b', 'catalog_c') ORDER BY 1, 2;

-- Dropping: not the deployed version, unless it is the last one.
SELECT transformer.drop_model('catalog_a@2');
SELECT transformer.drop_model('catalog_a@1');
SELECT transformer.drop_model('catalog_a@2');
SELECT count(*) FROM transformer.models WHERE name = 'catalog_a';
SELECT stored = :before AS kept FROM chunks;
SELECT transformer.drop_model('catalog_a');
SELECT transformer.drop_model('catalog_a', if_exists => true);
SELECT transformer.drop_model('catalog_c@5', if_exists => true);

-- A number is not given twice.
SELECT transformer.drop_model('catalog_c@2');
SELECT transformer.copy_model('catalog_c', 'catalog_c');
SELECT transformer.drop_model('catalog_c@3');

-- All of it is one transaction's.
BEGIN;
SELECT transformer.copy_model('catalog_c', 'catalog_d');
SAVEPOINT s;
SELECT transformer.drop_model('catalog_c');
SELECT name, version FROM transformer.models WHERE name LIKE 'catalog%';
ROLLBACK TO s;
SELECT name, version FROM transformer.models WHERE name LIKE 'catalog%' ORDER BY 1;
ROLLBACK;
SELECT name, version FROM transformer.models WHERE name LIKE 'catalog%' ORDER BY 1;
BEGIN READ ONLY;
SELECT transformer.drop_model('catalog_c');
ROLLBACK;

-- No path leads astray, and no object of a user is taken for one of the catalog's.
CREATE SCHEMA regress_trap;
CREATE TABLE regress_trap.model (name text);
CREATE FUNCTION regress_trap.raise_eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE OPERATOR regress_trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_trap.raise_eq);
SET search_path = regress_trap, pg_catalog;
SELECT transformer.copy_model('catalog_c', 'catalog_e');
SELECT transformer.drop_model('catalog_e');
SHOW search_path;
RESET search_path;
DROP SCHEMA regress_trap CASCADE;

-- With the last version its bytes go.
SELECT transformer.drop_model('catalog_c');
SELECT stored = used AS nothing_left FROM chunks;
SELECT count(*) FROM transformer.models WHERE name LIKE 'catalog%';
DROP VIEW chunks;

-- Damage is found, and said to be what it is.
SELECT transformer.import_model('catalog_f', :'bert');
BEGIN;
UPDATE _transformer.chunk SET data = set_byte(data, 0, get_byte(data, 0) # 1)
WHERE digest = (SELECT chunks[1] FROM _transformer.tensor WHERE name = 'catalog_f' AND seq = 0);
SELECT check_name, expected - actual AS missing, ok FROM transformer.verify_model('catalog_f') WHERE NOT ok;
ROLLBACK;
BEGIN;
UPDATE _transformer.tensor SET bytes = bytes + 4 WHERE name = 'catalog_f' AND seq = 0;
SELECT * FROM transformer.verify_model('catalog_f');
ROLLBACK;
BEGIN;
DELETE FROM _transformer.chunk WHERE digest = (SELECT tokenizer[1] FROM _transformer.version WHERE name = 'catalog_f');
SELECT * FROM transformer.verify_model('catalog_f');
ROLLBACK;

-- What a column was computed with stays.
CREATE TABLE regress_pinned (body text,
	embedding real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'catalog_f@1')) STORED);
INSERT INTO regress_pinned VALUES ('one text');
SELECT transformer.drop_model('catalog_f');
SELECT transformer.rename_model('catalog_f', 'catalog_g');
SELECT transformer.copy_model('catalog_f', 'catalog_f');
SELECT transformer.drop_model('catalog_f@2');
ALTER TABLE regress_pinned DROP COLUMN embedding;
CREATE INDEX regress_pinned_index ON regress_pinned (cardinality(transformer.embed_pinned(body, 'catalog_f@1')));
SELECT transformer.drop_model('catalog_f');
DROP INDEX regress_pinned_index;
ALTER TABLE regress_pinned ADD CHECK (transformer.embed_pinned(body, 'catalog_f@1') IS NOT NULL);
SELECT transformer.drop_model('catalog_f');
BEGIN;
ALTER SCHEMA transformer RENAME TO regress_renamed;
SELECT regress_renamed.drop_model('catalog_f');
ROLLBACK;
DROP TABLE regress_pinned;
SELECT transformer.drop_model('catalog_f');
