-- What the planner is told: costs by the model's size and the texts' length, rows, parallel scans.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SELECT transformer.import_model('cost_small', :'fixtures' || 'bert'), transformer.import_model('cost_large', :'fixtures' || 'bert'),
	transformer.import_model('cost_labels', :'fixtures' || 'classify-bert');
-- As large as all-MiniLM-L6-v2, for the planner
UPDATE _transformer.version SET parameters = 22713216 WHERE name IN ('cost_large', 'cost_labels');
SET transformer.embedding_model = 'cost_large';
SET transformer.classification_model = 'cost_labels';
SET max_parallel_workers_per_gather = 2;

CREATE TABLE cost_text (id int, body text, long text);
INSERT INTO cost_text SELECT i, 'text number ' || i, repeat('a long text ', 8) || i FROM generate_series(1, 10000) i;
CREATE TABLE cost_few (LIKE cost_text);
INSERT INTO cost_few SELECT * FROM cost_text LIMIT 10;
ANALYZE cost_text, cost_few;
CREATE FUNCTION cost_explain(query text, what text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan->0->'Plan'->>what;
END $$;

-- The cheap condition first, whatever the order they are written in
EXPLAIN (COSTS OFF) SELECT id FROM cost_few WHERE (transformer.embed(body))[1] > 0 AND transformer.token_count(body) > 2 AND id % 2 = 0;
EXPLAIN (COSTS OFF) SELECT id FROM cost_few WHERE transformer.classify(long) = 'a' AND transformer.classify(body) = 'a' AND length(body) > 3;

-- An index rather than the model
CREATE INDEX cost_id ON cost_text (id);
EXPLAIN (COSTS OFF) SELECT id FROM cost_text WHERE transformer.classify(body) = 'a' AND id < 20;
EXPLAIN (COSTS OFF) SELECT id FROM cost_text WHERE transformer.classify(body) = 'a' AND id < 9000;

-- Workers for a small table, where there is enough to compute
EXPLAIN (COSTS OFF) SELECT id, transformer.embed(body) FROM cost_text;
EXPLAIN (COSTS OFF) SELECT count(*) FROM cost_text WHERE transformer.classify(body) = 'a';
EXPLAIN (COSTS OFF) SELECT count(transformer.embed(body)) FROM cost_text;
EXPLAIN (COSTS OFF) SELECT id, transformer.embed(body) FROM cost_few;
EXPLAIN (COSTS OFF) SELECT id, transformer.embed(body) FROM cost_text LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id, transformer.embed('one question') FROM cost_text;
EXPLAIN (COSTS OFF) SELECT id, body FROM cost_text;
ALTER TABLE cost_text SET (parallel_workers = 0);
EXPLAIN (COSTS OFF) SELECT id, transformer.embed(body) FROM cost_text;
ALTER TABLE cost_text RESET (parallel_workers);
-- and they compute the same
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
CREATE TEMP TABLE cost_parallel AS SELECT id, transformer.embed(body) AS v FROM cost_text WHERE id <= 500;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
SET max_parallel_workers_per_gather = 0;
SELECT count(*), bool_and(v = transformer.embed(body)) AS equal FROM cost_parallel JOIN cost_text USING (id);

-- By the size of the model and the length of the text
SELECT round(cost_explain('SELECT transformer.embed(long) FROM cost_text', 'Total Cost') / cost_explain('SELECT transformer.embed(body) FROM cost_text', 'Total Cost')) AS of_length,
	cost_explain('SELECT transformer.embed(body) FROM cost_text', 'Total Cost') > 100 * cost_explain('SELECT transformer.embed(body, ''cost_small'') FROM cost_text', 'Total Cost') AS of_size,
	cost_explain('SELECT transformer.embed(body || body) FROM cost_text', 'Total Cost') > 1.3 * cost_explain('SELECT transformer.embed(body) FROM cost_text', 'Total Cost') AS of_both,
	cost_explain('SELECT transformer.embed(repeat(body, 1000)) FROM cost_text', 'Total Cost') < 1e9 AS bounded;
-- A constant is computed once
SELECT cost_explain('SELECT transformer.embed(''one question'') FROM cost_text', 'Total Cost') < cost_explain('SELECT transformer.embed(body) FROM cost_text', 'Total Cost') / 100 AS once;
SELECT cost_explain(format('SELECT * FROM %s', call), 'Plan Rows') AS rows, call FROM unnest(ARRAY[
	$$transformer.embed(ARRAY['a', 'b', 'c'])$$, $$transformer.embed('{a,b}'::text[])$$, $$transformer.rerank('q', '{a,b,c,d}'::text[])$$,
	$$transformer.zero_shot('a', '{x,y,z}')$$, $$transformer.zero_shot('{a,b}'::text[], '{x,y,z}'::text[])$$, $$transformer.classify_scores('a')$$]) call;

-- What is not known has the function's own cost; planning is no place for errors
EXPLAIN (COSTS OFF) SELECT transformer.embed(body, 'cost_none') FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed(body, 'cost_large@7') FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed(body, 'cost@large@') FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed(body, NULL) FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed_pinned(body, NULL) FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed(body, body) FROM cost_few;
EXPLAIN (COSTS OFF) SELECT transformer.embed(NULL::text) FROM cost_few;
SET plan_cache_mode = force_generic_plan;
PREPARE cost_by(text, text) AS SELECT transformer.embed(body || $1, $2) FROM cost_few;
EXPLAIN (COSTS OFF) EXECUTE cost_by('x', 'cost_none');
DEALLOCATE cost_by;
RESET plan_cache_mode;
RESET transformer.embedding_model;
EXPLAIN (COSTS OFF) SELECT transformer.embed(body) FROM cost_few;
-- By how many tokens may be generated
SELECT transformer.import_model('cost_writes', :'fixtures' || 'causal-llama');
UPDATE _transformer.version SET parameters = 500000000 WHERE name = 'cost_writes';
SELECT cost_explain('SELECT transformer.generate(body, ''cost_writes'', 100) FROM cost_few', 'Total Cost') > 4 * cost_explain('SELECT transformer.generate(body, ''cost_writes'', 10) FROM cost_few', 'Total Cost') AS of_tokens,
	cost_explain('SELECT transformer.generate(body, ''cost_writes'') FROM cost_few', 'Total Cost') > cost_explain('SELECT transformer.generate(body, ''cost_writes'', 100) FROM cost_few', 'Total Cost') AS of_default;

CREATE ROLE cost_stranger;
GRANT SELECT ON cost_text TO cost_stranger;
SELECT cost_explain('SELECT transformer.embed(body, ''cost_large'') FROM cost_text', 'Total Cost') AS cost \gset
SET ROLE cost_stranger;
SELECT cost_explain('SELECT transformer.embed(body, ''cost_large'') FROM cost_text', 'Total Cost') < :cost / 2 AS not_told;
RESET ROLE;

REVOKE ALL ON cost_text FROM cost_stranger;
DROP ROLE cost_stranger;
DROP FUNCTION cost_explain(text, text);
DROP TABLE cost_text, cost_few;
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'cost\_%';
