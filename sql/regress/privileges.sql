-- Who may do what with a model, and what the others learn.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET client_min_messages = warning;
CREATE ROLE regress_maker;
CREATE ROLE regress_reader;
CREATE ROLE regress_stranger;
CREATE ROLE regress_group;
GRANT regress_group TO regress_reader;
RESET client_min_messages;

-- Functions that make models are not everybody's.
SET ROLE regress_stranger;
SELECT transformer.import_model('privileges_m', '/nowhere');
SELECT transformer.import_model('privileges_m', 4711::oid);
SELECT transformer.copy_model('a', 'b');
SELECT * FROM _transformer.model;
RESET ROLE;
GRANT EXECUTE ON FUNCTION transformer.import_model(text, text, text, text, text, text[], text) TO regress_maker;
GRANT EXECUTE ON FUNCTION transformer.copy_model(text, text) TO regress_maker, regress_reader;

-- Whoever may not read files learns nothing of them: there, not there, a folder.
SET ROLE regress_maker;
SELECT transformer.import_model('privileges_m', '/etc/passwd');
SELECT transformer.import_model('privileges_m', '/no/such/file');
SELECT transformer.export_model('privileges_m', '/etc/passwd');
RESET ROLE;
GRANT pg_read_server_files TO regress_maker;
SET ROLE regress_maker;
SELECT transformer.import_model('privileges_m', :'bert');
SELECT owner FROM transformer.models WHERE name = 'privileges_m';
SELECT transformer.has_model_privilege('privileges_m');

-- Nobody else sees it or may use it.
SET ROLE regress_reader;
SELECT count(*) FROM transformer.models WHERE name LIKE 'privileges%';
SELECT transformer.has_model_privilege('privileges_m');
SELECT transformer.embed('text', 'privileges_m');
SELECT transformer.verify_model('privileges_m');
SELECT transformer.copy_model('privileges_m', 'mine');
SELECT transformer.drop_model('privileges_m');
SELECT transformer.rename_model('privileges_m', 'mine');
SELECT transformer.deploy_model('privileges_m@1');
SELECT transformer.grant_model('privileges_m', 'regress_reader');
SELECT transformer.revoke_model('privileges_m', 'regress_maker');

-- A grant, to a group, is for its members; a version has no privileges of its own.
SET ROLE regress_maker;
SELECT transformer.grant_model('privileges_m@1', 'regress_group');
SELECT transformer.grant_model('privileges_m', 'regress_nobody');
SELECT transformer.grant_model('privileges_m', 'regress_group');
SELECT transformer.grant_model('privileges_m', 'regress_group');
SELECT r, transformer.has_model_privilege(r, 'privileges_m')
FROM unnest('{regress_maker,regress_reader,regress_stranger,regress_group,public}'::name[]) r;
SELECT transformer.has_model_privilege('regress_nobody', 'privileges_m');
SELECT transformer.has_model_privilege('no_such_model');

SET ROLE regress_reader;
SELECT name, version, owner FROM transformer.models WHERE name LIKE 'privileges%';
SELECT cardinality(transformer.embed('text', 'privileges_m')) > 0;
SELECT transformer.drop_model('privileges_m');
SELECT transformer.copy_model('privileges_m', 'privileges_m');
SELECT transformer.copy_model('privileges_m', 'privileges_mine');
SELECT name, owner FROM transformer.models WHERE name LIKE 'privileges%' ORDER BY 1;
SELECT transformer.drop_model('privileges_mine');

SET ROLE regress_stranger;
SELECT transformer.embed('text', 'privileges_m');
RESET ROLE;
SELECT transformer.grant_model('privileges_m', 'public');
SET ROLE regress_stranger;
SELECT cardinality(transformer.embed('text', 'privileges_m')) > 0;
RESET ROLE;

-- Taking it back.
SELECT transformer.revoke_model('privileges_m', 'public');
SELECT transformer.revoke_model('privileges_m', 'public');
SET ROLE regress_maker;
SELECT transformer.revoke_model('privileges_m', 'regress_group');
SELECT transformer.revoke_model('privileges_m', 'regress_maker');
RESET ROLE;
SELECT r, transformer.has_model_privilege(r, 'privileges_m')
FROM unnest('{regress_maker,regress_reader,regress_stranger,regress_group,public}'::name[]) r;

-- A view runs with the privileges of who asks, as far as models are concerned.
CREATE VIEW regress_view AS SELECT transformer.embed('text', 'privileges_m');
GRANT SELECT ON regress_view TO regress_stranger;
SET ROLE regress_stranger;
SELECT * FROM regress_view;
RESET ROLE;
DROP VIEW regress_view;

-- A renamed role keeps its model; the model of a dropped one is the superusers'.
ALTER ROLE regress_maker RENAME TO regress_maker2;
SELECT owner FROM transformer.models WHERE name = 'privileges_m';
SET client_min_messages = warning;
DROP OWNED BY regress_maker2;
DROP ROLE regress_maker2;
RESET client_min_messages;
SELECT count(*) FROM transformer.models WHERE name = 'privileges_m';
SET ROLE regress_reader;
SELECT transformer.embed('text', 'privileges_m');
RESET ROLE;
SELECT transformer.drop_model('privileges_m');

-- Nobody but a superuser may have prepared the schema for the extension; and what is in it is not used.
BEGIN;
DROP EXTENSION transformer;
CREATE FUNCTION transformer.join_badly(text, int) RETURNS text LANGUAGE sql AS $$SELECT 'not ours'$$;
CREATE OPERATOR transformer.|| (leftarg = text, rightarg = int, function = transformer.join_badly);
CREATE EXTENSION transformer;
SELECT count(*) FROM pg_depend
WHERE classid = 'pg_rewrite'::regclass AND refobjid IN ('transformer.||(text, int)'::regoperator, 'transformer.join_badly'::regproc);
DROP EXTENSION transformer;
ALTER SCHEMA transformer OWNER TO regress_stranger;
CREATE EXTENSION transformer;
ROLLBACK;

DROP OWNED BY regress_reader, regress_stranger, regress_group;
DROP ROLE regress_reader, regress_stranger, regress_group;
