-- Entities: as the reference's pipeline, with exact places in the text; long texts; classify_scores of many texts.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'error';

-- Each model with each set of labels
CREATE TEMP TABLE sets AS
SELECT 'entities_' || name || '_' || n AS model, name, s->'labels' AS labels, s->'texts' AS texts
FROM unnest('{bert,distilbert,roberta,mpnet,albert,electra,modernbert}'::text[]) name,
	LATERAL jsonb_array_elements(pg_read_file(:'fixtures' || 'token-' || name || '/expected.json')::jsonb->'entities') WITH ORDINALITY a(s, n);
SELECT count(transformer.import_model(model, :'fixtures' || 'token-' || name, labels => ARRAY(SELECT jsonb_array_elements_text(labels)))) FROM sets;
CREATE TEMP TABLE bodies AS
SELECT model, i, t->>'text' AS body, t->'entities' AS entities FROM sets, LATERAL jsonb_array_elements(texts) WITH ORDINALITY a(t, i);
CREATE TEMP TABLE found AS
SELECT model, i, body, e.* FROM bodies, LATERAL transformer.entities(body, model) WITH ORDINALITY e(label, entity, score, start, stop, n);
SELECT split_part(model, '_', 2) AS name, count(*), count(f.*) AS found, bool_and(f.label = e->>'label') AS labels, max(abs(f.score - (e->>'score')::real)) < 1e-4 AS scores,
	bool_and(f.start = (e->>'start')::int + 1 AND f.stop = (e->>'stop')::int) AS places, bool_and(f.entity = substr(f.body, f.start, f.stop - f.start + 1)) AS exact
FROM (SELECT model, i, n, e FROM bodies, LATERAL jsonb_array_elements(entities) WITH ORDINALITY a(e, n)) x FULL JOIN found f USING (model, i, n)
GROUP BY 1 ORDER BY 1;

-- Many texts: each as by itself
SELECT count(*), count(*) FILTER (WHERE f.* IS NULL OR a.* IS NULL) AS differ
FROM (SELECT model, e.* FROM (SELECT model, array_agg(body ORDER BY i) AS all_bodies FROM bodies GROUP BY model) b, LATERAL transformer.entities(all_bodies, model) e) a
FULL JOIN found f ON f.model = a.model AND f.i = a.input AND f.label = a.label AND f.entity = a.entity AND f.start = a.start AND f.stop = a.stop AND f.score = a.score;

-- Without batches
SET transformer.batch = off;
SELECT count(*), count(*) FILTER (WHERE f.* IS NULL OR a.* IS NULL) AS differ
FROM (SELECT model, i, e.* FROM bodies, LATERAL transformer.entities(body, model) e) a
FULL JOIN found f ON f.model = a.model AND f.i = a.i AND f.label = a.label AND f.entity = a.entity AND f.start = a.start AND f.stop = a.stop AND f.score = a.score;
RESET transformer.batch;

-- The setting, NULL, nothing
SELECT transformer.entities('bread');
SET transformer.entity_model = 'entities_distilbert_1';
SELECT label, entity, round(score::numeric, 3) AS score, start, stop FROM transformer.entities('In München, bread and water');
SELECT input, label, entity, start, stop FROM transformer.entities(ARRAY['bread', NULL, '', 'water']);
SELECT count(*) FROM transformer.entities(NULL::text);
SELECT count(*) FROM transformer.entities(NULL::text[]);
SELECT count(*) FROM transformer.entities('{}'::text[]);
SELECT count(*) FROM unnest(ARRAY['', ' ', E' \n\t ']) body, LATERAL transformer.entities(body);

-- Of any length, in windows that overlap: with one label everything is one entity, and places stay exact
SELECT transformer.import_model('entities_one', :'fixtures' || 'token-bert', labels => '{X,X,X,X,X}');
SELECT e.label, e.start, e.stop, e.entity = btrim(body) AS whole, length(body) AS length
FROM (VALUES (repeat('bread ', 16667)), (repeat('x', 200)), (repeat('é😀 ', 300)), (repeat('e' || chr(769), 300) || ' a')) t(body), LATERAL transformer.entities(body, 'entities_one') e;
SELECT count(*) > 10000 AS many, bool_and(entity = substr(body, start, stop - start + 1)) AS exact, bool_and(start > before) AS ordered
FROM (SELECT body, e.*, lag(stop, 1, 0) OVER (ORDER BY n) AS before
	FROM (SELECT repeat('The smell of bread, Утром река 小猫 😀 ', 2703) AS body) t, LATERAL transformer.entities(body) WITH ORDINALITY e(label, entity, score, start, stop, n)) x;

-- Models of other kinds
SELECT transformer.import_model('entities_' || name, :'fixtures' || name) FROM unnest('{answer-bert,classify-bert,bert}'::text[]) name;
SELECT transformer.entities('bread', 'entities_answer-bert');
SELECT transformer.entities('bread', 'entities_classify-bert');
SELECT transformer.entities('bread', 'entities_bert');

-- classify_scores of many texts
SELECT count(*), count(DISTINCT input) AS texts, bool_and(score <= before) AS ordered, bool_and(score = alone) AS equal
FROM (SELECT s.*, lag(score, 1, 'Infinity') OVER (PARTITION BY input ORDER BY n) AS before,
	(SELECT o.score FROM transformer.classify_scores(bodies[s.input], 'entities_classify-bert') o WHERE o.label = s.label) AS alone
	FROM (SELECT ARRAY['bread', NULL, '', 'The small boat'] AS bodies) b, LATERAL transformer.classify_scores(bodies, 'entities_classify-bert') WITH ORDINALITY s(input, label, score, n)) x;
SELECT count(*) FROM transformer.classify_scores(NULL::text[], 'entities_classify-bert');
SELECT count(*) FROM transformer.classify_scores('{}'::text[], 'entities_classify-bert');

SELECT count(transformer.drop_model(name)) FROM transformer.models WHERE name LIKE 'entities\_%';
