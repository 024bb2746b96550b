-- Models in shared memory: what is there, loading, unloading, both stores.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SELECT transformer.import_model('resident', :'bert', quantization => 'q5_1');
SELECT transformer.unload_model('resident') >= 0 AS ok;
CREATE TEMP VIEW here AS
SELECT model, status, bytes > 0 AS bytes, pinned, loaded_at <= now() + interval '1 minute' AS dated
FROM transformer.loaded_models WHERE model LIKE 'resident%';
SELECT * FROM here;

-- The first use builds it; it stays for others.
SELECT transformer.embed('hello', 'resident') AS first \gset
SELECT * FROM here;
SELECT count(*) AS files FROM pg_ls_dir('pgsql_tmp_transformer') f,
	_transformer.version v WHERE v.name = 'resident' AND f LIKE encode(v.digest, 'hex') || '.%';
SELECT (pg_stat_file('pgsql_tmp_transformer/' || f)).size = l.bytes AS size
FROM transformer.loaded_models l, pg_ls_dir('pgsql_tmp_transformer') f, _transformer.version v
WHERE model = 'resident@1' AND v.name = 'resident' AND f LIKE encode(v.digest, 'hex') || '.%';
\c -
SET transformer.isa = 'ref';
SELECT transformer.embed('hello', 'resident') = :'first' AS same;

-- A copy has the same content: one image, two names.
SELECT transformer.copy_model('resident', 'resident_copy');
SELECT model, status FROM transformer.loaded_models WHERE model LIKE 'resident%' ORDER BY 1;
SELECT transformer.drop_model('resident_copy');

-- load_model() pins, unload_model() removes.
CREATE TEMP VIEW here AS
SELECT model, status, bytes > 0 AS bytes, pinned FROM transformer.loaded_models WHERE model LIKE 'resident%';
SELECT transformer.load_model('resident') = bytes AS bytes FROM transformer.loaded_models WHERE model = 'resident@1';
SELECT * FROM here;
SELECT transformer.unload_model('resident') > 0 AS there;
SELECT * FROM here;
SELECT transformer.unload_model('resident');
SELECT transformer.load_model('resident') > 0 AS loaded;
SELECT * FROM here;

-- Unloaded during use: who has it goes on, and the next statement has it anew.
BEGIN;
SELECT transformer.embed('hello', 'resident') = :'first' AS same;
SELECT transformer.unload_model('resident') > 0 AS there;
SELECT transformer.embed('street', 'resident') IS NOT NULL AS works;
COMMIT;
SELECT transformer.embed('hello again', 'resident') IS NOT NULL AS works;
SELECT * FROM here;
SELECT hits > 0 AS hits FROM transformer.loaded_models WHERE model = 'resident@1';

SELECT transformer.unload_model('resident') > 0 AS there;

-- Dynamic shared memory
SET transformer.weights_store = 'dsm';
SELECT transformer.embed('hello', 'resident') = :'first' AS same;
SELECT * FROM here;
SELECT count(*) AS files FROM pg_ls_dir('pgsql_tmp_transformer') f,
	_transformer.version v WHERE v.name = 'resident' AND f LIKE encode(v.digest, 'hex') || '.%';
\c -
SET transformer.isa = 'ref';
SET transformer.weights_store = 'dsm';
SELECT transformer.embed('hello', 'resident') = :'first' AS same;
SELECT transformer.load_model('resident') > 0 AS loaded;
SELECT status, pinned FROM transformer.loaded_models WHERE model = 'resident@1';
SELECT transformer.unload_model('resident') > 0 AS there;
SELECT count(*) FROM transformer.loaded_models WHERE model = 'resident@1';
RESET transformer.weights_store;

-- Pinned, then dropped: a superuser can still unload it.
SELECT transformer.import_model('orphan', :'bert', quantization => 'q4_1');
SELECT transformer.load_model('orphan') > 0 AS loaded;
SELECT 'sha256:' || encode(digest, 'hex') AS orphan FROM _transformer.version WHERE name = 'orphan' \gset
SELECT transformer.drop_model('orphan');
SELECT pinned FROM transformer.loaded_models WHERE model = :'orphan';
SELECT transformer.unload_model(:'orphan') > 0 AS there;
SELECT count(*) FROM transformer.loaded_models WHERE model = :'orphan';

SELECT transformer.load_model('no_such_model');
SELECT transformer.unload_model('no_such_model');
SELECT transformer.drop_model('resident');
