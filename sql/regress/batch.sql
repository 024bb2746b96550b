-- The Batch node: plans, how much is computed, and the same answers as without it.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set roberta :srcdir '/models/fixtures/roberta'
\set labels :srcdir '/models/fixtures/classify-bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'error';
SET max_parallel_workers_per_gather = 0;
SELECT transformer.import_model('batch_bert', :'bert'), transformer.import_model('batch_roberta', :'roberta');
SET transformer.embedding_model = 'batch_bert';

CREATE SCHEMA batch;
SET search_path = batch, transformer, public;
CREATE TABLE t (id int PRIMARY KEY, body text, k int, n int, v real[]);
INSERT INTO t SELECT i, CASE WHEN i % 10 = 0 THEN NULL ELSE repeat('bread ', i % 4) || i END, i % 3
FROM generate_series(1, 300) i;
ANALYZE t;

-- Runs a query with and without batches, compares the answers, and says whether a Batch was there.
CREATE FUNCTION compare(query text, OUT same bool, OUT batched bool)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	plan text;
	a text[];
	b text[];
BEGIN
	SET LOCAL transformer.batch = on;
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	batched := plan LIKE '%"Batch"%';
	EXECUTE format('SELECT array_agg(q::text) FROM (%s) q', query) INTO a;
	SET LOCAL transformer.batch = off;
	EXECUTE format('SELECT array_agg(q::text) FROM (%s) q', query) INTO b;
	same := a IS NOT DISTINCT FROM b;
END $$;

-- Batches and calls of each node of a statement.
CREATE FUNCTION work(query text) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
	RETURN string_agg((node->>'Batches') || ' of ' || (node->>'Calls'), ', ')
	FROM jsonb_path_query(plan, 'strict $.** ? (exists (@."Batches"))', silent => true) node;
END $$;

-- ---- settings ----

SELECT name, setting, context FROM pg_settings WHERE name LIKE 'transformer.batch%' ORDER BY name;
SET transformer.batch_size = 0;

-- ---- select lists ----

EXPLAIN (VERBOSE, COSTS OFF) SELECT id, embed(body) FROM t;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id, embed(body) FROM t;
SELECT * FROM compare('SELECT id, embed(body) FROM t');
SELECT * FROM compare('SELECT id, token_count(body), tokens(body), tokenize(body, special => id % 2 = 0) FROM t');
SELECT * FROM compare('SELECT id, similarity(body, ''bread''), similarity(''bread'', body), similarity(body, lower(body)) FROM t');
SELECT * FROM compare('SELECT id, embed(body, CASE k WHEN 0 THEN ''batch_bert'' WHEN 1 THEN ''batch_roberta@1'' END, CASE WHEN id % 2 = 0 THEN ''query'' END) FROM t');
SELECT * FROM compare('SELECT id, embed_pinned(body, CASE k WHEN 0 THEN ''batch_bert@1'' ELSE ''batch_roberta@1'' END) FROM t');
SELECT transformer.import_model('batch_labels', :'labels');
SET transformer.classification_model = 'batch_labels';
SET transformer.sentiment_model = 'batch_labels';
SET transformer.intent_model = 'batch_labels';
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT classify(body) FROM t;
SELECT * FROM compare('SELECT id, classify(body), classify_pinned(body, ''batch_labels@1''), sentiment(body), sentiment_score(body), intent(body) FROM t');
-- inside of bigger expressions, nested in one another, twice the same
SELECT * FROM compare($$SELECT id, token_count(array_to_string(tokens(body), ' ')) + token_count(body), 2 * token_count(body) FROM t$$);
SELECT * FROM compare($$SELECT t, ctid, tableoid::regclass, token_count(body) FROM t$$);
SELECT work('SELECT token_count(body), token_count(body) + 1, embed(body) FROM t WHERE id <= 8');
-- not for constants: one call for the whole scan
SELECT work($$SELECT l2_distance(embed(body), embed('query')) FROM t WHERE body IS NOT NULL$$);
-- volatile arguments stay with their row; volatile expressions elsewhere run once for each row
EXPLAIN (COSTS OFF) SELECT token_count(body || random()) FROM t;
CREATE SEQUENCE seq;
SELECT nextval('seq'), token_count(body) FROM t ORDER BY id LIMIT 3;
SELECT nextval('seq'), x FROM (SELECT nextval('seq'), token_count(body) x FROM t LIMIT 2) s;
-- functions that switch settings or user are left alone
CREATE FUNCTION tuned(input text, model text DEFAULT NULL) RETURNS int
AS '$libdir/transformer', 'transformer_token_count' LANGUAGE c STABLE;
EXPLAIN (COSTS OFF) SELECT tuned(body) FROM t;
ALTER FUNCTION tuned SET transformer.embedding_model = 'batch_roberta';
EXPLAIN (COSTS OFF) SELECT tuned(body) FROM t;
ALTER FUNCTION tuned RESET ALL STRICT;
SELECT * FROM compare('SELECT id, tuned(body, CASE WHEN k > 0 THEN ''batch_bert'' END) FROM t');
SELECT array_agg(tuned(body, CASE WHEN k > 0 THEN 'batch_bert' END)) FROM t WHERE id < 5;

-- ---- conditional evaluation: no function sees a row that it would not see otherwise ----

INSERT INTO t VALUES (1001, repeat('bread ', 600), 5), (1002, '12', 6), (1003, '', 7);
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, CASE WHEN id < 1000 THEN token_count(body) ELSE -1 END FROM t;
SELECT * FROM compare($$SELECT id, CASE WHEN body IS NULL THEN '{-1}' WHEN id <> 1001 THEN embed(body) ELSE '{}' END FROM t$$);
SELECT * FROM compare($$SELECT id, CASE k WHEN 5 THEN '{}' WHEN 1 THEN embed(id::text) ELSE embed(body) END FROM t$$);
SELECT * FROM compare($$SELECT id, CASE WHEN id > 1000 THEN '{}' WHEN token_count(body) > 3 THEN embed(body) ELSE embed(body || '1') END FROM t$$);
SELECT * FROM compare($$SELECT id, coalesce(nullif(n, n), CASE WHEN id <> 1001 THEN token_count(body) END, token_count(id::text)) FROM t$$);
SELECT * FROM compare($$SELECT id, id <> 1001 AND similarity(body, 'bread') > 0.5, id = 1001 OR similarity(body, 'bread') > 0.5 FROM t$$);
SELECT * FROM compare($$SELECT id, (CASE WHEN id <> 1001 THEN tokens(body) END)[token_count(CASE k WHEN 5 THEN 1 / (k - 5) || '' WHEN 6 THEN 'x' END)] FROM t$$);
-- an argument that fails for other rows
SELECT * FROM compare($$SELECT id, CASE WHEN k = 6 THEN token_count((body::bigint + 1)::text) END FROM t$$);
-- no guard can be given: stays row by row
EXPLAIN (COSTS OFF) SELECT CASE WHEN random() < 0.5 THEN token_count(body) END FROM t;

-- ---- filters ----

EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM t WHERE similarity(body, 'bread') > 0.5 AND k = 1;
SELECT * FROM compare($$SELECT id FROM t WHERE similarity(body, 'bread') > 0.5 AND k = 1$$);
SELECT * FROM compare($$SELECT id FROM t WHERE k < 5 AND similarity(body, 'bread') > 0.3 AND token_count(body) > 5 AND id % 2 = 0$$);
SELECT * FROM compare($$SELECT id FROM t WHERE id <> 1001 AND (id < 20 OR similarity(body, 'bread') > 0.5)$$);
SELECT * FROM compare($$SELECT k, count(*) FROM t WHERE id < 1000 GROUP BY k HAVING token_count(left(string_agg(body, ''), 20)) > 2$$);
-- the second function sees what the first condition lets through
SELECT work($$SELECT * FROM t WHERE id BETWEEN 1 AND 8 AND token_count(body) > 5 AND similarity(body, 'bread') > -2$$);
-- a volatile condition would see rows that are read ahead
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE token_count(body) > 5 AND nextval('seq') > 0 AND similarity(body, 'bread') > random();

-- ---- LIMIT, and others that want few rows ----

SELECT work('SELECT embed(body) FROM t LIMIT 1');
SELECT work('SELECT embed(body) FROM t LIMIT 20 OFFSET 3');
SELECT work('SELECT embed(body) FROM t ORDER BY k, id LIMIT 5');
SELECT work($$SELECT id FROM t WHERE body IS NOT NULL AND similarity(body, 'bread') > -2 LIMIT 10$$);
SELECT work($$SELECT EXISTS (SELECT FROM t WHERE similarity(body, 'bread') > -2)$$);
PREPARE few(int) AS SELECT embed(body) FROM t WHERE id < 1000 LIMIT $1;
SET plan_cache_mode = force_generic_plan;
SELECT work('EXECUTE few(3)'), work('EXECUTE few(12)'), work('EXECUTE few(40)'), work('EXECUTE few(NULL)');
RESET plan_cache_mode;
-- a Sort below still knows its bound
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id, embed(body) FROM t ORDER BY k, id LIMIT 5;
SET transformer.batch_size = 4;
SELECT work('SELECT embed(body) FROM t LIMIT 10');
RESET transformer.batch_size;

-- ---- Sort, aggregates, windows, set operations, sets ----

SELECT * FROM compare($$SELECT id FROM t WHERE id < 100 ORDER BY token_count(body), id$$);
SELECT * FROM compare($$SELECT token_count(body) c, count(*) FROM t WHERE id < 1000 GROUP BY c ORDER BY c$$);
SELECT * FROM compare($$SELECT k, count(*) FILTER (WHERE token_count(body) > 5), max(similarity(body, 'x')) FROM t WHERE id < 1000 GROUP BY k ORDER BY k$$);
SELECT * FROM compare($$SELECT k, sum(token_count(body)) FILTER (WHERE id <> 1001), string_agg(token_count(body)::text, ',' ORDER BY id) FILTER (WHERE k = 1) FROM t GROUP BY ROLLUP (k) ORDER BY k$$);
SELECT * FROM compare($$SELECT k, embed(left(string_agg(body, '' ORDER BY id), 50)) FROM t GROUP BY k ORDER BY k$$);
EXPLAIN (VERBOSE, COSTS OFF) SELECT sum(token_count(body)) OVER (ORDER BY id) FROM t WHERE k = 1;
SELECT * FROM compare($$SELECT id, sum(token_count(body)) OVER (PARTITION BY k ORDER BY id ROWS 2 PRECEDING), embed(lag(body) OVER (ORDER BY id)) FROM t WHERE id < 1000 ORDER BY id$$);
SELECT * FROM compare($$SELECT DISTINCT token_count(body) FROM t WHERE k = 2 ORDER BY 1$$);
SELECT * FROM compare($$SELECT token_count(body) FROM t WHERE k = 1 UNION ALL SELECT token_count(body || 'x') FROM t WHERE k = 2$$);
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, unnest(tokens(body)) FROM t;
SELECT * FROM compare($$SELECT id, unnest(tokens(body)), embed(body) FROM t WHERE id < 1000$$);

-- ---- joins, subqueries, rescans ----

CREATE TABLE names (count int PRIMARY KEY, name text);
INSERT INTO names SELECT i, 'length ' || i FROM generate_series(1, 8) i;
CREATE TABLE u AS SELECT i AS id, repeat('x ', i % 7) AS body FROM generate_series(1, 60) i;
CREATE INDEX ON u (id);
ANALYZE names, u;
SELECT * FROM compare($$SELECT t.id, n.name FROM t JOIN names n ON n.count = token_count(t.body) WHERE t.id < 1000 ORDER BY 1$$);
SET enable_nestloop = off; SET enable_mergejoin = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.id, b.id FROM t a JOIN u b ON token_count(a.body) = token_count(b.body) AND a.k = b.id;
SELECT * FROM compare($$SELECT a.id, b.id FROM t a JOIN u b ON token_count(a.body) = token_count(b.body) AND a.k = b.id WHERE a.id < 1000 ORDER BY 1, 2$$);
SELECT * FROM compare($$SELECT t.id, n.name FROM t LEFT JOIN names n ON n.count = token_count(t.body) WHERE t.id < 1000 ORDER BY 1$$);
RESET enable_nestloop;
SET enable_hashjoin = off;
SELECT * FROM compare($$SELECT a.k, s.id, s.c FROM generate_series(1, 5) a(k), LATERAL (SELECT id, token_count(body) c FROM t WHERE t.k = a.k AND t.id < 1000 ORDER BY id LIMIT 20) s$$);
SELECT * FROM compare($$SELECT a.k, s.id FROM generate_series(1, 5) a(k), LATERAL (SELECT id FROM t WHERE token_count(body || a.k) > 6 AND t.id < 30 OFFSET 0) s$$);
RESET enable_mergejoin;
-- a merge join goes back in its inner input
SET enable_nestloop = off; SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT a.id, b.body FROM t a JOIN u b ON a.id = b.id AND token_count(b.body) > 4;
SELECT * FROM compare($$SELECT a.id, b.body FROM t a JOIN u b ON a.id = b.id AND token_count(b.body) > 4 ORDER BY 1, 2$$);
RESET enable_hashjoin; RESET enable_nestloop; RESET enable_sort;
SELECT * FROM compare($$SELECT id, (SELECT token_count(u.body || t.k) FROM u WHERE u.id = t.id) FROM t WHERE id < 40$$);
SELECT * FROM compare($$SELECT id FROM t WHERE EXISTS (SELECT FROM u WHERE u.id = t.id AND token_count(u.body) > 4) AND id < 1000 ORDER BY id$$);
SELECT * FROM compare($$SELECT id FROM t WHERE token_count(body) IN (SELECT count FROM names OFFSET 0) AND id < 1000$$);
SELECT * FROM compare($$SELECT id, token_count((SELECT max(u.body) FROM u WHERE u.id <= t.k)) FROM t WHERE id < 20$$);
SELECT * FROM compare($$WITH RECURSIVE r(n, c) AS (SELECT 1, 'a'::text UNION ALL SELECT n + 1, c || token_count(c) FROM r WHERE n < 10) SELECT * FROM r$$);
SELECT * FROM compare($$WITH c AS MATERIALIZED (SELECT id, token_count(body) x FROM t WHERE id < 5) SELECT * FROM c a JOIN c b USING (id) ORDER BY 1$$);

-- ---- INSERT, UPDATE, DELETE, MERGE, COPY ----

DELETE FROM t WHERE id = 1001;
EXPLAIN (COSTS OFF) CREATE TABLE e AS SELECT id, embed(body) v FROM t;
CREATE TABLE e AS SELECT id, embed(body) v FROM t;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO e VALUES (-1, embed('a')), (-2, embed('b')), (-3, embed(NULL)), (-4, NULL);
INSERT INTO e VALUES (-1, embed('a')), (-2, embed(upper('b'))), (-3, embed(NULL)), (-4, NULL);
INSERT INTO e SELECT id + 2000, embed(body) FROM t WHERE id < 50;
UPDATE t SET v = embed(body), n = token_count(body);
SET transformer.batch = off;
SELECT count(*), count(*) FILTER (WHERE t.v IS DISTINCT FROM embed(t.body)) + count(*) FILTER (WHERE e.v IS DISTINCT FROM t.v)
	+ count(*) FILTER (WHERE n IS DISTINCT FROM token_count(body)) AS wrong FROM t JOIN e ON e.id % 2000 = t.id;
SELECT id, v = embed(CASE id WHEN -1 THEN 'a' ELSE 'B' END) AS equal FROM e WHERE id < 0 ORDER BY id DESC;
RESET transformer.batch;
SELECT * FROM compare($$SELECT x, y + x, tokens(z) FROM (VALUES (1, token_count('a'), 'q'), (2, token_count('bb'), 'r'), (3, NULL, 's')) v(x, y, z) WHERE y > 0$$);
SELECT * FROM compare($$SELECT v FROM (VALUES (1, token_count('a')), (2, token_count('bb'))) v(x, y)$$);
COPY (SELECT id, token_count(body) FROM t WHERE id < 4 ORDER BY id) TO STDOUT;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE t SET n = token_count(body) + 1 WHERE n IS NOT NULL;
UPDATE t SET n = c.count * 100 FROM names c WHERE c.count = token_count(t.body) AND t.k = 0;
SELECT k, sum(n) FROM t GROUP BY 1 ORDER BY 1;
DELETE FROM t WHERE token_count(body) > 4 AND k = 2;
SELECT count(*) FROM t WHERE k = 2;
MERGE INTO t USING (SELECT id, token_count(body) c FROM u WHERE id <= 40) s ON s.id = t.id
WHEN MATCHED THEN UPDATE SET n = -s.c;
SELECT sum(n) FROM t WHERE n < 0;
-- row by row: RETURNING, ON CONFLICT, several columns from one subquery
INSERT INTO t VALUES (1, 'abc') ON CONFLICT (id) DO UPDATE SET n = token_count(excluded.body) RETURNING n, token_count(t.body);
UPDATE t SET (n, k) = (SELECT token_count(t.body), 7) WHERE id = 1 RETURNING n, k;

-- ---- partitions ----

CREATE TABLE p (id int, body text, n int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (50);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (1000);
INSERT INTO p SELECT i, repeat('z ', i % 5) FROM generate_series(1, 100) i;
EXPLAIN (COSTS OFF) UPDATE p SET n = token_count(body);
UPDATE p SET n = token_count(body), id = id + 1;
SELECT count(*), count(*) FILTER (WHERE n = token_count(body)) FROM p;

-- ---- cursors ----

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id, token_count(body) FROM t ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE sc SCROLL CURSOR FOR SELECT id, token_count(body) FROM t WHERE id < 8 ORDER BY id;
FETCH 3 FROM sc;
FETCH BACKWARD 2 FROM sc;
FETCH LAST FROM sc;
FETCH FIRST FROM sc;
-- one that says nothing goes backward where it could without batches
DECLARE d CURSOR FOR SELECT id, token_count(body) FROM t WHERE id < 8;
FETCH 2 FROM d;
FETCH BACKWARD 1 FROM d;
-- by position only where rows are locked
DECLARE f CURSOR FOR SELECT id, token_count(body) FROM t WHERE id > 50 FOR UPDATE;
FETCH 2 FROM f;
UPDATE t SET n = 4711 WHERE CURRENT OF f RETURNING id, n;
UPDATE t SET n = 4711 WHERE CURRENT OF d;
ROLLBACK;

-- ---- an error counts only if its row is wanted ----

CREATE TABLE bad (id int, body text, model text);
INSERT INTO bad SELECT i, 'good ' || i FROM generate_series(1, 9) i;
INSERT INTO bad VALUES (10, repeat('bread ', 600), NULL), (11, 'x', 'no_such_model');
SELECT id, array_length(embed(body), 1) FROM bad WHERE embed(body) IS NOT NULL LIMIT 9;
SELECT id, array_length(embed(body), 1) FROM bad;
SELECT count(*) FROM (SELECT id FROM bad WHERE token_count(body, model) > 2 LIMIT 9) s;
SELECT id FROM bad WHERE token_count(body, model) > 2;
SELECT EXISTS (SELECT FROM bad WHERE embed(body) IS NOT NULL);
-- an argument that cannot be computed
SELECT id FROM bad WHERE token_count((1 / (id - 5))::text) > 0 LIMIT 4;
SELECT id FROM bad WHERE token_count((1 / (id - 5))::text) > 0 LIMIT 5;
BEGIN;
DECLARE b CURSOR FOR SELECT id, embed(body) IS NOT NULL FROM bad;
FETCH 9 FROM b;
SAVEPOINT s;
FETCH 1 FROM b;
ROLLBACK TO s;
SELECT token_count('still here');
ROLLBACK;

-- ---- row security: the function must not see hidden rows ----

CREATE ROLE regress_batch_user;
SELECT transformer.grant_model('batch_bert', 'regress_batch_user');
GRANT USAGE ON SCHEMA batch TO regress_batch_user;
CREATE TABLE docs (id int, owner name, body text);
INSERT INTO docs VALUES (1, 'regress_batch_user', 'mine'), (2, 'other', repeat('bread ', 600)), (3, 'regress_batch_user', 'mine too');
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (owner = current_user);
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM docs WHERE length(body) < 100;
GRANT SELECT ON docs, barrier TO regress_batch_user;
SET ROLE regress_batch_user;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE token_count(body) > 2;
SELECT id FROM docs WHERE embed(body) IS NOT NULL;
SELECT id, token_count(body) FROM barrier WHERE token_count(body) > 2;
RESET ROLE;
-- a policy that is itself batched comes before the conditions of the user
DROP POLICY own ON docs;
UPDATE docs SET body = 'another and longer one' WHERE id = 2;
CREATE POLICY short ON docs USING (token_count(body) < 5);
CREATE FUNCTION leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
GRANT EXECUTE ON FUNCTION leak(text) TO regress_batch_user;
SET ROLE regress_batch_user;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE leak(body);
SELECT id FROM docs WHERE leak(body);
RESET ROLE;
ALTER FUNCTION leak STABLE;
UPDATE docs SET body = 'x' WHERE id = 3;
SET ROLE regress_batch_user;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE leak(body);
SELECT id FROM docs WHERE leak(body);
RESET ROLE;
-- the right to execute
CREATE FUNCTION private(input text, model text DEFAULT NULL) RETURNS int
AS '$libdir/transformer', 'transformer_token_count' LANGUAGE c STABLE;
REVOKE EXECUTE ON FUNCTION private FROM public;
SET ROLE regress_batch_user;
SELECT private(body) FROM docs;
RESET ROLE;
-- and the right to the model
SELECT transformer.revoke_model('batch_bert', 'regress_batch_user');
SET ROLE regress_batch_user;
SELECT embed(body) FROM docs;
RESET ROLE;

-- ---- parallel query: each worker has batches of its own ----

CREATE TABLE big AS SELECT i AS id, repeat('x ', i % 5) AS body FROM generate_series(1, 3000) i;
ALTER TABLE big SET (parallel_workers = 2);
ANALYZE big;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM big WHERE token_count(body) > 4;
SELECT count(*) FROM big WHERE token_count(body) > 4;
EXPLAIN (COSTS OFF) SELECT id, embed(body) FROM big;
SELECT * FROM compare('SELECT count(*), sum(l2_distance(c, embed(''x'')))::numeric(12, 3) FROM (SELECT embed(body) c FROM big OFFSET 0) s');
ALTER FUNCTION tuned PARALLEL RESTRICTED;
EXPLAIN (COSTS OFF) SELECT id, tuned(body, 'batch_bert') FROM big WHERE id % 5 = 1;
SELECT * FROM compare('SELECT id, token_count(body), tuned(body, ''batch_bert'') FROM big WHERE id % 5 = 1 ORDER BY id');
RESET max_parallel_workers_per_gather;

-- ---- from PL/pgSQL and SQL functions ----

CREATE FUNCTION count_of(text) RETURNS int LANGUAGE sql STABLE AS 'SELECT token_count($1)';
EXPLAIN (COSTS OFF) SELECT count_of(body) FROM t;
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT id, token_count(body) c FROM t ORDER BY id LOOP
		n := n + 1;
		UPDATE t SET n = r.c WHERE id = r.id;
		EXIT WHEN n = 30;
	END LOOP;
END $$;
SELECT count(*) FROM t WHERE n = token_count(body);

SET client_min_messages = warning;
DROP SCHEMA batch CASCADE;
DROP OWNED BY regress_batch_user;
DROP ROLE regress_batch_user;
SELECT transformer.drop_model('batch_bert'), transformer.drop_model('batch_roberta'), transformer.drop_model('batch_labels');
