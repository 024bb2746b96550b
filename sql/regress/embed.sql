-- Embeddings: as the reference, kinds, arrays, pinned versions, what is cut, what a transaction sees.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';

SELECT transformer.import_model('embed_' || name, :'fixtures' || name)
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) name;

CREATE TEMP TABLE reference AS
SELECT name, 'embed_' || name AS model, t->>'text' AS body,
	ARRAY(SELECT jsonb_array_elements_text(t->'embedding')::real) AS embedding, row_number() OVER () AS n
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) name,
	LATERAL (SELECT pg_read_file(:'fixtures' || name || '/expected.json')::jsonb AS f) e,
	LATERAL jsonb_array_elements(f->'texts') t WHERE NOT t ? 'pair';

-- Row by row, then as arrays; both equal the reference, and each other.
SELECT name, max(transformer.l2_distance(transformer.embed(body, model), embedding)) < 1e-4 AS equal
FROM reference GROUP BY name ORDER BY name;
SELECT r.name, count(*) = count(vector) AS whole, max(transformer.l2_distance(vector, embedding)) < 1e-4 AS equal
FROM (SELECT name, model, array_agg(body ORDER BY n) AS bodies, array_agg(n ORDER BY n) AS ns
	FROM reference GROUP BY 1, 2) g,
	LATERAL ROWS FROM (transformer.embed(bodies, model), unnest(ns)) AS e(vector, n) JOIN reference r USING (n)
GROUP BY r.name ORDER BY r.name;
SELECT max(transformer.l2_distance(transformer.embed_pinned(body, 'embed_bert@1'), embedding)) < 1e-4 AS equal
FROM reference WHERE name = 'bert';

SET transformer.embedding_model = 'embed_bert';
SELECT array_length(transformer.embed('hello'), 1) AS dimensions;
SELECT v IS NULL AS is_null, array_length(v, 1) AS dimensions FROM transformer.embed(ARRAY['a', NULL, '', 'b']) v;
SELECT count(*) FROM transformer.embed('{}'::text[]);
SELECT transformer.embed(NULL::text) IS NULL AS a, transformer.embed_pinned(NULL, 'embed_bert@1') IS NULL AS b,
	transformer.similarity('a', NULL) IS NULL AS c;
SELECT transformer.similarity('hello', 'hello') > 0.9999 AS same,
	abs(transformer.similarity('hello', 'bread') -
		(1 - transformer.cosine_distance(transformer.embed('hello'), transformer.embed('bread')))) < 1e-5 AS cosine;

-- Kinds: this model has a prompt for questions.
SELECT transformer.l2_distance(transformer.embed(t->>'text', 'embed_roberta', 'query'), q) < 1e-4 AS equal,
	transformer.l2_distance(transformer.embed(t->>'text', 'embed_roberta'), q) < 1e-4 AS without
FROM (SELECT f->'texts'->0 AS t, ARRAY(SELECT jsonb_array_elements_text(f->'query')::real) AS q
	FROM (SELECT pg_read_file(:'fixtures' || 'roberta/expected.json')::jsonb AS f) e) x;
SELECT transformer.embed('hello', kind => 'passage') = transformer.embed('hello') AS ignored;
SELECT transformer.embed('hello', kind => 'question');
SELECT transformer.embed(ARRAY['hello'], kind => '');

-- Pinned versions
SELECT transformer.embed_pinned('hello', 'embed_bert');
CREATE TABLE embed_stored (body text, vector real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'embed_bert@1')) STORED);
INSERT INTO embed_stored VALUES ('hello'), (NULL), ('bread');
UPDATE embed_stored SET body = 'street' WHERE body = 'bread';
SELECT body, vector = transformer.embed(body) AS equal FROM embed_stored ORDER BY body;
CREATE INDEX ON embed_stored ((transformer.embed_pinned(body, 'embed_bert@1')));
CREATE TABLE embed_bad (body text, vector real[] GENERATED ALWAYS AS (transformer.embed(body, 'embed_bert')) STORED);
DROP TABLE embed_stored;

-- Texts beyond the model's limit: one WARNING a statement.
CREATE TABLE embed_long (id int, body text);
INSERT INTO embed_long SELECT i, repeat('bread ', i % 3 * 50 + 1) FROM generate_series(1, 9) i;
SET transformer.truncate = 'warn';
SELECT count(transformer.embed(body)) FROM embed_long;
SELECT count(transformer.embed(body)) FROM embed_long WHERE id % 3 = 0;
SELECT count(v) FROM embed_long, transformer.embed(ARRAY[body, body]) v;
SELECT array_length(transformer.embed(repeat('bread ', 100)), 1);
SELECT array_length(transformer.embed(repeat('bread ', 100)), 1);
DO $$ BEGIN PERFORM transformer.embed(body) FROM embed_long; PERFORM transformer.embed(body) FROM embed_long; END $$;
SET transformer.truncate = 'error';
SELECT count(transformer.embed(body)) FROM embed_long;
SET transformer.truncate = 'silent';
SELECT count(transformer.embed(body)) FROM embed_long;
DROP TABLE embed_long;

-- An error in a subtransaction leaves the session usable.
DO $$
DECLARE
	failed int := 0;
	v real[];
BEGIN
	SET LOCAL transformer.truncate = 'error';
	FOR i IN 1..5 LOOP
		BEGIN
			v := transformer.embed(repeat('bread ', 100));
		EXCEPTION WHEN program_limit_exceeded THEN
			failed := failed + 1;
		END;
		v := transformer.embed('hello ' || i);
	END LOOP;
	RAISE NOTICE '% failed, then % dimensions', failed, array_length(v, 1);
END $$;

-- What a transaction sees: its own versions, not those it took back.
BEGIN;
SELECT transformer.import_model('embed_bert', :'fixtures' || 'bert', quantization => 'q8_0');
SELECT transformer.embed('hello') = transformer.embed('hello', 'embed_bert@1') AS old;
SAVEPOINT s;
SELECT transformer.deploy_model('embed_bert@2');
SELECT transformer.embed('hello') = transformer.embed('hello', 'embed_bert@2') AS new;
ROLLBACK TO s;
SELECT transformer.embed('hello') = transformer.embed('hello', 'embed_bert@1') AS old;
ROLLBACK;
SELECT transformer.embed('hello', 'embed_bert@2');
SELECT transformer.similarity('a', 'b', 'embed_bert@1') = transformer.similarity('a', 'b') AS equal;

-- Which model
SET transformer.embedding_model = '';
SELECT transformer.embed('hello');
SET transformer.embedding_model = 'no_such_model';
SELECT transformer.embed('hello');
SELECT transformer.embed('hello', 'no_such_model');
RESET transformer.embedding_model;

-- Bounded memory
SET transformer.session_memory = '1MB';
SELECT count(v) FROM transformer.embed(ARRAY(SELECT 'bread ' || i FROM generate_series(1, 3000) i), 'embed_bert') v;
RESET transformer.session_memory;

SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'embed%' ORDER BY name;
