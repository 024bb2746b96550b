-- Calls that a Batch node computes ahead: generated columns, functions in FROM, sets in select lists.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set labels :srcdir '/models/fixtures/classify-bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'error';
SET max_parallel_workers_per_gather = 0;
SELECT transformer.import_model('ahead', :'bert'), transformer.import_model('ahead_labels', :'labels');
SET transformer.embedding_model = 'ahead';
SET transformer.classification_model = 'ahead_labels';
SET transformer.zero_shot_model = 'ahead';

CREATE SCHEMA ahead;
SET search_path = ahead, transformer, public;
CREATE TABLE t (id int PRIMARY KEY, body text, k int);
INSERT INTO t SELECT i, CASE WHEN i % 10 = 0 THEN NULL ELSE repeat('bread ', i % 4) || i END, i % 3
FROM generate_series(1, 100) i;
ANALYZE t;

-- Runs a statement in batches and without, compares what it gives, and says what a Batch did.
CREATE FUNCTION compare(query text, result text DEFAULT NULL, OUT same bool, OUT work text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	plan jsonb;
	a text[];
	b text[];
	read text := coalesce(result, query);
BEGIN
	FOREACH work IN ARRAY '{on,off}'::text[] LOOP
		BEGIN
			PERFORM set_config('transformer.batch', work, true);
			IF result IS NOT NULL THEN
				EXECUTE query;
			END IF;
			b := a;
			EXECUTE format('SELECT array_agg(q::text) FROM (%s) q', read) INTO a;
			RAISE EXCEPTION SQLSTATE 'T0000';
		EXCEPTION WHEN SQLSTATE 'T0000' THEN
		END;
	END LOOP;
	same := a IS NOT DISTINCT FROM b AND a IS NOT NULL;
	BEGIN
		PERFORM set_config('transformer.batch', 'on', true);
		EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
		SELECT string_agg(format('%s of %s, found %s, %s texts', node->>'Batches', node->>'Calls', coalesce(node->>'Found', '-'), node->>'Texts'), '; ') INTO work
		FROM jsonb_path_query(plan, 'strict $.** ? (exists (@."Batches"))', silent => true) node;
		RAISE EXCEPTION SQLSTATE 'T0000';
	EXCEPTION WHEN SQLSTATE 'T0000' THEN
	END;
END $$;

-- ---- generated columns ----

CREATE TABLE made (id int PRIMARY KEY, body text, gone int, n int,
	v real[] GENERATED ALWAYS AS (embed_pinned(body, 'ahead@1')) STORED,
	l text GENERATED ALWAYS AS (upper(classify_pinned(body || n, 'ahead_labels@1'))) STORED);
ALTER TABLE made DROP COLUMN gone;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO made (id, body) SELECT id, body FROM t;
SELECT * FROM compare('INSERT INTO made (id, body) SELECT id, body FROM t', 'SELECT * FROM made');
SELECT * FROM compare('INSERT INTO made SELECT id, body, token_count(body) FROM t', 'SELECT * FROM made');
SELECT * FROM compare($$INSERT INTO made (id, body) VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a')$$, 'SELECT * FROM made');
-- one row alone is not worth a node
EXPLAIN (COSTS OFF) INSERT INTO made (id, body) VALUES (1, 'a');
INSERT INTO made SELECT id, body, k FROM t;
EXPLAIN (COSTS OFF) UPDATE made SET body = left(body, 9);
SELECT * FROM compare('UPDATE made SET body = left(body, 9)', 'SELECT * FROM made ORDER BY id');
SELECT * FROM compare('UPDATE made SET body = left(body, 9), n = n + 1', 'SELECT * FROM made ORDER BY id');
SELECT * FROM compare('UPDATE made SET n = n + 1', 'SELECT * FROM made ORDER BY id');
SELECT * FROM compare('UPDATE made SET body = t.body || 1, n = 2 FROM t WHERE t.id = made.id', 'SELECT * FROM made ORDER BY id');
SELECT * FROM compare('INSERT INTO made SELECT id, body || 2, k FROM t ORDER BY id ON CONFLICT (id) DO UPDATE SET body = excluded.body', 'SELECT * FROM made ORDER BY id');
-- in a WITH
SELECT * FROM compare('WITH x AS (UPDATE made SET body = body || 1 RETURNING id, v) INSERT INTO made (id, body) SELECT id + 1000, left(v::text, 5) FROM x WHERE id < 30', 'SELECT * FROM made ORDER BY id');
-- What planning could compute is left to the executor, which does not come to it where an UPDATE leaves the column as
-- it is; arguments may be named, functions in SQL are seen through.
CREATE FUNCTION fragile(x int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN x; END$$;
CREATE FUNCTION own(model text, t text) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$SELECT transformer.embed_pinned(t, model)$$;
CREATE TABLE careful (id int, body text,
	v real[] GENERATED ALWAYS AS (embed_pinned(body || ahead.fragile(x => 1), 'ahead@1')) STORED,
	w real[] GENERATED ALWAYS AS (embed_pinned(ahead.fragile(2), 'ahead@1')) STORED);
EXPLAIN (COSTS OFF) INSERT INTO careful SELECT id, body FROM t;
SELECT * FROM compare('INSERT INTO careful SELECT id, body FROM t', 'SELECT * FROM careful');
INSERT INTO careful SELECT id, body FROM t WHERE id < 4;
CREATE OR REPLACE FUNCTION fragile(x int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE 'too early'; END$$;
UPDATE careful SET id = id + 1;
UPDATE careful SET body = body;
SET transformer.batch = off;
UPDATE careful SET body = body;
RESET transformer.batch;
CREATE TABLE named (body text, v real[] GENERATED ALWAYS AS (embed_pinned(model => 'ahead@1', input => body)) STORED,
	w real[] GENERATED ALWAYS AS (ahead.own('ahead@1', body || 1)) STORED);
EXPLAIN (COSTS OFF) INSERT INTO named SELECT body FROM t;
SELECT * FROM compare('INSERT INTO named SELECT body FROM t', 'SELECT * FROM named');
DROP TABLE careful, named;
DROP FUNCTION fragile(int), own(text, text);
-- partitions, one of them with columns in another order
CREATE TABLE parts (id int, body text, v real[] GENERATED ALWAYS AS (embed_pinned(body, 'ahead@1')) STORED) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts2 (extra int, v real[] GENERATED ALWAYS AS (embed_pinned(body, 'ahead@1')) STORED, body text, id int);
ALTER TABLE parts2 DROP COLUMN extra;
ALTER TABLE parts ATTACH PARTITION parts2 FOR VALUES FROM (50) TO (1000);
SELECT * FROM compare('INSERT INTO parts SELECT id, body FROM t', 'SELECT * FROM parts ORDER BY id');
INSERT INTO parts SELECT id, body FROM t;
SELECT * FROM compare('UPDATE parts SET body = body || 1, id = id + 20', 'SELECT * FROM parts ORDER BY id');
-- a trigger has other ideas: what is in the row counts, and the node gives up
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := 'x' || new.body; RETURN new; END $$;
CREATE TRIGGER change BEFORE INSERT ON made FOR EACH ROW EXECUTE FUNCTION change();
SELECT * FROM compare('INSERT INTO made (id, body) SELECT id + 1000, body FROM t', 'SELECT * FROM made ORDER BY id');
-- what the trigger takes away is no error
CREATE OR REPLACE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := left(new.body, 20); RETURN new; END $$;
SELECT * FROM compare('INSERT INTO made (id, body) SELECT id + 1000, CASE WHEN id > 50 THEN repeat(body, 1000) ELSE body END FROM t', 'SELECT * FROM made ORDER BY id');
DROP TRIGGER change ON made;
-- the error of a bad row
INSERT INTO made (id, body) SELECT id + 2000, CASE WHEN id > 50 THEN repeat(body, 1000) ELSE body END FROM t;

-- ---- functions in FROM ----

EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, s.* FROM t, classify_scores(t.body) s;
SELECT * FROM compare('SELECT t.id, s.* FROM t, classify_scores(t.body) s');
SELECT * FROM compare('SELECT t.id, s.* FROM t LEFT JOIN LATERAL classify_scores(t.body) WITH ORDINALITY s ON true');
SELECT * FROM compare('SELECT t.id, s.* FROM t LEFT JOIN LATERAL classify_scores(t.body) s ON s.score > 0.5 AND t.k = 1');
SELECT * FROM compare($$SELECT t.id, s.* FROM t, ROWS FROM (classify_scores(t.body), zero_shot(t.body, '{a,b,c}'), generate_series(1, t.k)) s$$);
SELECT * FROM compare($$SELECT t.id, s.* FROM t, zero_shot(t.body, CASE k WHEN 0 THEN '{red,green}' ELSE '{cold,warm,hot}'::text[] END, multi_label => k = 1) s$$);
SELECT * FROM compare($$SELECT t.id, s.*, u.* FROM t, classify_scores(t.body) s, LATERAL (SELECT * FROM classify_scores(t.body || s.label) ORDER BY score LIMIT 1) u$$);
SELECT * FROM compare('SELECT t.id, e, c FROM t, embed(t.body) e, classify(array_to_string(tokens(t.body), '' '')) c');
SELECT * FROM compare('SELECT t.id FROM t WHERE EXISTS (SELECT FROM classify_scores(t.body) s WHERE s.score > 0.4)');
-- a condition that keeps the function from being called
SELECT * FROM compare($$SELECT t.id, s.* FROM t LEFT JOIN LATERAL (SELECT * FROM classify_scores(CASE WHEN t.k <> 1 THEN repeat(t.body, 1000) ELSE t.body END) WHERE t.k = 1 OFFSET 0) s ON true$$);
-- of another level, and volatile: not ahead
SELECT * FROM compare('SELECT t.id, (SELECT label FROM classify_scores(t.body) ORDER BY score DESC LIMIT 1) FROM t');
EXPLAIN (COSTS OFF) SELECT t.id, s.* FROM t, classify_scores(t.body || random()) s;
-- a few rows only
SELECT * FROM compare('SELECT t.id, s.* FROM t, classify_scores(t.body) s LIMIT 1');
SELECT * FROM compare('SELECT t.id, s.* FROM t, classify_scores(t.body) s LIMIT 30');
-- the error of a bad row comes when its turn comes
INSERT INTO t VALUES (1001, repeat('bread ', 600), 5);
SELECT t.id, s.label FROM t, classify_scores(t.body) s WHERE t.id > 98 ORDER BY t.id;
SELECT count(*) FROM (SELECT t.id, s.label FROM t, classify_scores(t.body) s LIMIT 150) x;
SELECT * FROM compare('SELECT t.id, s.* FROM t, classify_scores(left(t.body, 20)) s');
DELETE FROM t WHERE id = 1001;

-- ---- sets in a select list ----

EXPLAIN (VERBOSE, COSTS OFF) SELECT id, classify_scores(body) FROM t;
SELECT * FROM compare('SELECT id, classify_scores(body) FROM t');
SELECT * FROM compare('SELECT id, (classify_scores(body)).*, token_count(body) FROM t');
SELECT * FROM compare($$SELECT id, zero_shot(array_to_string(tokens(body), ' '), '{a,b}'), embed(body) FROM t$$);
SELECT * FROM compare('SELECT id, classify_scores(body) FROM t LIMIT 1');

-- ---- equal calls ----

CREATE TABLE same AS SELECT i AS id, CASE WHEN i % 7 = 0 THEN NULL ELSE 'text ' || i % 3 END AS body FROM generate_series(1, 100) i;
SELECT * FROM compare('SELECT id, embed(body), classify(body) FROM same');
SELECT * FROM compare('SELECT id, s.* FROM same, classify_scores(body) s');

-- ---- parallel queries: what all processes did, here the workers alone ----

SET max_parallel_workers_per_gather = 2;
ALTER TABLE t SET (parallel_workers = 2);
SET parallel_leader_participation = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT * FROM compare('SELECT id, embed(body) FROM t');
SELECT * FROM compare('SELECT t.id, s.* FROM t, classify_scores(t.body) s');
EXPLAIN (COSTS OFF) SELECT t.id, s.* FROM t, classify_scores(t.body) s;
RESET parallel_leader_participation;
SET max_parallel_workers_per_gather = 0;

-- ---- no function sees what the conditions hide ----

CREATE FUNCTION seen(x text) RETURNS text LANGUAGE plpgsql STABLE COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', x; RETURN x; END $$;
CREATE TABLE secret (id int, body text);
INSERT INTO secret SELECT i, 'row ' || i FROM generate_series(1, 6) i;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM secret WHERE token_count(body) > 3 AND id % 3 = 0 AND cardinality(embed(body)) > 0;
SELECT b.id, count(s) FROM barrier b, classify_scores(seen(b.body)) s GROUP BY b.id ORDER BY b.id;
SELECT b.id, embed(seen(b.body)) IS NULL AS n, (classify_scores(seen(b.body))).label IS NULL AS m FROM barrier b WHERE b.id > 3;
GRANT USAGE ON SCHEMA ahead TO PUBLIC;
GRANT SELECT ON secret TO PUBLIC;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON secret USING (cardinality(embed(body)) > 0 AND id = 4);
CREATE ROLE regress_ahead_reader;
SELECT grant_model('ahead', 'regress_ahead_reader'), grant_model('ahead_labels', 'regress_ahead_reader');
SET ROLE regress_ahead_reader;
SELECT b.id, count(s) FROM secret b, classify_scores(seen(b.body)) s WHERE seen(b.body) <> '' GROUP BY b.id;
SELECT b.id, (SELECT count(*) FROM classify_scores(seen(b.body))) FROM secret b WHERE cardinality(embed(seen(body))) > 0;
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA ahead CASCADE;
DROP OWNED BY regress_ahead_reader;
DROP ROLE regress_ahead_reader;
SELECT transformer.drop_model('ahead'), transformer.drop_model('ahead_labels');
