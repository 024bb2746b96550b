-- Statistics by model, of all sessions together.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SELECT transformer.import_model('stat_a', :'bert', quantization => 'f16');
CREATE TEMP TABLE before AS SELECT 0::bigint AS calls, 0::bigint AS rows, 0::bigint AS tokens, 0::float8 AS milliseconds;
INSERT INTO before SELECT calls, rows, tokens, milliseconds FROM transformer.stat_models WHERE model = 'stat_a@1';
CREATE TEMP VIEW since AS
SELECT s.model, s.calls - max(b.calls) AS calls, s.rows - max(b.rows) AS rows, s.tokens - max(b.tokens) AS tokens,
	s.milliseconds > max(b.milliseconds) AS time
FROM transformer.stat_models s, before b WHERE s.model LIKE 'stat%' GROUP BY s.model, s.calls, s.rows, s.tokens, s.milliseconds;

SELECT count(v) FROM transformer.embed(ARRAY['bread', NULL, 'street'], 'stat_a') v;
SELECT * FROM since;
SELECT transformer.similarity('bread', 'street', 'stat_a') IS NOT NULL;
SELECT * FROM since;

-- The same constant again, in this session: nothing is computed.
SELECT array_length(transformer.embed('bread', 'stat_a'), 1);
SELECT array_length(transformer.embed('bread', 'stat_a'), 1);
EXPLAIN (COSTS OFF) SELECT 1 WHERE transformer.embed('bread', 'stat_a') = '{1}';
SELECT calls, rows FROM since;

-- Names are for those who may use the model.
CREATE ROLE regress_stat_user;
SET ROLE regress_stat_user;
SELECT * FROM transformer.stat_models;
SELECT * FROM transformer.loaded_models;
RESET ROLE;
SELECT transformer.grant_model('stat_a', 'regress_stat_user');
SET ROLE regress_stat_user;
SELECT model FROM transformer.stat_models;
SELECT model, bytes > 0 AS bytes FROM transformer.loaded_models;
SELECT transformer.load_model('stat_a');
SELECT transformer.unload_model('stat_a');
RESET ROLE;
SELECT transformer.drop_model('stat_a');
DROP ROLE regress_stat_user;
