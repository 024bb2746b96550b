-- evaluate() and confusion_matrix(): each form of rows against the same numbers made with SQL, or the reference's; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';
SET extra_float_digits = -6;
SELECT transformer.import_model('eval_' || name, :'fixtures' || name)
FROM unnest('{classify-bert,topics-bert,ratings-bert,rerank-bert,next-bert,token-bert,answer-bert,mask-bert,bert}'::text[]) name;

-- One label a text: several slices, unequal labels
CREATE TEMP TABLE rows AS
SELECT i, 'bread ' || repeat('boat ', i % 7) || i % 50 AS text, (ARRAY['negative', 'neutral', 'positive'])[1 + (i * i) % 3] AS label FROM generate_series(1, 2500) i;
CREATE TEMP TABLE said AS SELECT *, transformer.classify(text, 'eval_classify-bert') AS said FROM rows;
SELECT * FROM transformer.evaluate('eval_classify-bert', 'SELECT text, label FROM rows');
SELECT metric, value = (SELECT avg((label = said)::int)::float8 FROM said) AS equal
FROM transformer.evaluate('eval_classify-bert', 'TABLE rows') WHERE metric = 'accuracy';
SELECT metric, abs(value - expected) < 1e-12 AS equal FROM transformer.evaluate('eval_classify-bert', 'TABLE rows')
JOIN (SELECT 'f1:' || l, 2.0 * count(*) FILTER (WHERE label = l AND said = l) / nullif(count(*) FILTER (WHERE label = l) + count(*) FILTER (WHERE said = l), 0)
	FROM said, unnest('{negative,neutral,positive}'::text[]) l GROUP BY l) x(metric, expected) USING (metric) ORDER BY metric;
SELECT * FROM transformer.confusion_matrix('eval_classify-bert', 'TABLE rows');
SELECT count(*) FROM (SELECT label, said, count(*) FROM said GROUP BY 1, 2
	EXCEPT SELECT actual, predicted, n FROM transformer.confusion_matrix('eval_classify-bert', 'TABLE rows')) x;

-- Slices do not change numbers; a cut text counts, and is told of
SET transformer.session_memory = '1MB';
SELECT metric, value FROM transformer.evaluate('eval_classify-bert', 'TABLE rows') LIMIT 4;
RESET transformer.session_memory;
SELECT metric, value FROM transformer.evaluate('eval_classify-bert',
	$$SELECT 'bread ' || i AS text, 'neutral' AS label FROM generate_series(1, 10) i UNION ALL SELECT repeat('bread ', 100), 'neutral'$$) LIMIT 2;

-- Names of labels are cast as INSERT would; other columns do not matter; the query may use models itself
SELECT metric, value FROM transformer.evaluate('eval_classify-bert',
	$$SELECT NULL AS score_of_nothing, body AS text, transformer.classify(body, 'eval_classify-bert')::varchar AS label FROM (VALUES ('a'), ('b'), ('c')) v(body)$$) WHERE metric = 'accuracy';

-- Pairs of texts
SELECT metric, value FROM transformer.evaluate('eval_next-bert',
	$$SELECT 'a' AS text, 'b' AS text_pair, transformer.classify(x, 'eval_classify-bert') IS NOT NULL AS is_there, (SELECT labels[1] FROM transformer.models WHERE name = 'eval_next-bert') AS label
	FROM (VALUES ('a')) v(x)$$) WHERE metric IN ('rows', 'accuracy');

-- Several labels a text, none among them
CREATE TEMP TABLE topics AS SELECT text, (ARRAY['{bread}', '{}', '{boat,letter}', '{bread,boat,letter}'])[1 + i % 4]::text[] AS labels FROM rows WHERE i <= 40;
SELECT * FROM transformer.evaluate('eval_topics-bert', 'TABLE topics');
SELECT metric, abs(value - expected) < 1e-12 AS equal FROM transformer.evaluate('eval_topics-bert', 'TABLE topics'),
	(SELECT avg((said = ARRAY(SELECT unnest(labels) ORDER BY 1))::int)::float8 AS expected
	FROM (SELECT labels, ARRAY(SELECT label FROM transformer.classify_scores(text, 'eval_topics-bert') WHERE score >= 0.5 ORDER BY 1) AS said FROM topics) x) y
WHERE metric = 'subset_accuracy';

-- Numbers
CREATE TEMP TABLE pairs AS SELECT 'bread ' || i AS text, 'boat ' || i % 5 AS text_pair, (i * 7 % 11) / 10.0 AS score FROM generate_series(1, 30) i;
SELECT metric, abs(value - CASE metric WHEN 'pearson' THEN p WHEN 'mse' THEN mse WHEN 'mae' THEN mae WHEN 'rows' THEN 30 WHEN 'r2' THEN 1 - mse / v ELSE 0 END) < 1e-6 AS equal
FROM transformer.evaluate('eval_rerank-bert', 'TABLE pairs'),
	(SELECT corr(score, s) AS p, avg((score - s) ^ 2) AS mse, avg(abs(score - s)) AS mae, var_pop(score) AS v
	FROM (SELECT score::float8, transformer.rerank(text, text_pair, 'eval_rerank-bert')::float8 AS s FROM pairs) x) y WHERE metric NOT IN ('spearman', 'truncated');
SELECT metric, abs(value - CASE metric WHEN 'pearson' THEN p ELSE s END) < 1e-6 AS equal FROM transformer.evaluate('eval_bert', 'TABLE pairs'),
	(SELECT corr(score, c) AS p, corr(rs, rc) AS s
	FROM (SELECT score, c, rank() OVER (ORDER BY score) + (count(*) OVER (PARTITION BY score) - 1) / 2.0 AS rs, rank() OVER (ORDER BY c) + (count(*) OVER (PARTITION BY c) - 1) / 2.0 AS rc
		FROM (SELECT score, transformer.similarity(text, text_pair, 'eval_bert')::float8 AS c FROM pairs) x) y) z WHERE metric IN ('pearson', 'spearman');
SELECT * FROM transformer.evaluate('eval_bert', 'SELECT text, text AS text_pair, 1 AS score FROM pairs');

-- Words
CREATE TEMP TABLE tagged AS
SELECT i, ARRAY(SELECT (ARRAY['bread', 'boat', 'The', E'\u200b', 'München'])[1 + (i * j) % 5] FROM generate_series(1, i % 9) j) AS tokens,
	ARRAY(SELECT (ARRAY['O', 'B-FOOD', 'I-FOOD', 'B-PLACE', 'I-PLACE'])[1 + (i + j * j) % 5] FROM generate_series(1, i % 9) j) AS labels FROM generate_series(1, 60) i;
SELECT * FROM transformer.evaluate('eval_token-bert', 'SELECT tokens, labels FROM tagged');
SELECT sum(n), sum(n) FILTER (WHERE actual = predicted) FROM transformer.confusion_matrix('eval_token-bert', 'SELECT tokens, labels FROM tagged');
SELECT metric, value FROM transformer.evaluate('eval_token-bert', $$SELECT array_fill('bread'::text, '{500}') AS tokens, array_fill('O'::text, '{500}') AS labels$$) WHERE metric IN ('words', 'truncated');

-- Answers; several right ones
CREATE TEMP TABLE asked AS
SELECT a->>'question' AS question, a->>'context' AS context, a->>'answer' AS answer
FROM jsonb_array_elements(pg_read_file(:'fixtures' || 'answer-bert/expected.json')::jsonb->'answers') a WHERE a ? 'answer' AND a->>'context' <> '';
SELECT * FROM transformer.evaluate('eval_answer-bert', 'TABLE asked');
SELECT metric, round(value::numeric, 4) AS value FROM transformer.evaluate('eval_answer-bert', $$SELECT question, context, 'the ' || upper(answer) || '!' AS answer FROM asked
	UNION ALL SELECT 'Who?', 'The baker', 'nobody at all'$$);
SELECT * FROM transformer.evaluate('eval_answer-bert', $$SELECT question, context, ARRAY['nothing', answer] AS answers FROM asked UNION ALL SELECT 'Who?', '', '{}'$$);

-- Masked words: as the reference, whatever the batches
CREATE TEMP TABLE masked AS
SELECT m, t.text, t.n FROM jsonb_array_elements(pg_read_file(:'fixtures' || 'metrics/expected.json')::jsonb->'masked') m, LATERAL jsonb_array_elements_text(m->'texts') WITH ORDINALITY t(text, n)
WHERE m->>'model' = 'mask-bert';
SELECT metric, CASE metric WHEN 'tokens' THEN value = (m->>'tokens')::float8 WHEN 'masked' THEN value = (m->>'masked')::float8
	WHEN 'loss' THEN abs(value / ((m->>'loss')::float8 / (m->>'masked')::float8) - 1) < 1e-4 WHEN 'accuracy' THEN value = (m->>'right')::float8 / (m->>'masked')::float8
	WHEN 'perplexity' THEN abs(ln(value) / ((m->>'loss')::float8 / (m->>'masked')::float8) - 1) < 1e-4 END AS equal
FROM transformer.evaluate('eval_mask-bert', 'SELECT text FROM masked ORDER BY n'), (SELECT m FROM masked LIMIT 1) x WHERE metric NOT IN ('rows', 'truncated');
SELECT * FROM transformer.evaluate('eval_mask-bert', $$SELECT '' AS text$$);

-- Search: ranks by SQL; all rows' texts, or with little memory those of the first rows and its own
CREATE TEMP TABLE found AS SELECT 'bread ' || i AS anchor, 'The boat and ' || i * 3 % 20 AS positive, 'letter ' || i AS negative FROM generate_series(1, 60) i;
CREATE TEMP TABLE cosines AS SELECT anchor, c.text, 1 - transformer.cosine_distance(transformer.embed(anchor, 'eval_bert', 'query'), transformer.embed(c.text, 'eval_bert', 'passage')) AS cosine
FROM found, (SELECT positive AS text FROM found UNION SELECT negative FROM found) c;
SELECT metric, value, abs(value - CASE metric WHEN 'accuracy_at_1' THEN first WHEN 'mrr' THEN mrr WHEN 'triplet_accuracy' THEN apart WHEN 'candidates' THEN 80 ELSE value END) < 1e-6 AS equal
FROM transformer.evaluate('eval_bert', 'TABLE found'),
	(SELECT avg((rank = 1)::int) AS first, avg(1.0 / rank) AS mrr, avg(apart::int) AS apart
	FROM (SELECT f.*, 1 + (SELECT count(*) FROM cosines w WHERE w.anchor = f.anchor AND w.text <> f.positive AND w.cosine >= p.cosine) AS rank, p.cosine > n.cosine AS apart
		FROM found f JOIN cosines p ON p.anchor = f.anchor AND p.text = f.positive JOIN cosines n ON n.anchor = f.anchor AND n.text = f.negative) x) y;
SELECT * FROM transformer.evaluate('eval_bert', $$SELECT w AS anchor, w AS positive FROM unnest('{bread,boat,letter,water,The}'::text[]) w$$);
-- equal vectors (of unknown words) find nothing, unless all texts belong to the anchor
SELECT * FROM transformer.evaluate('eval_bert', $$SELECT 'x' || i AS anchor, 'x' || i AS positive FROM generate_series(1, 5) i$$);
SELECT * FROM transformer.evaluate('eval_bert', $$SELECT 'one anchor' AS anchor, 'x' || i AS positive FROM generate_series(1, 5) i$$);
SET transformer.session_memory = '1MB';
SELECT * FROM transformer.evaluate('eval_bert', $$SELECT 'x' || i AS anchor, 'x' || i AS positive FROM generate_series(1, 3000) i$$);
RESET transformer.session_memory;

-- What is refused
SELECT transformer.evaluate(NULL, 'TABLE rows');
SELECT transformer.evaluate('eval_classify-bert', NULL);
SELECT transformer.evaluate('eval_nothing', 'TABLE rows');
SELECT transformer.evaluate('eval_classify-bert', $$SELECT 'a' AS text, 'negative' AS label WHERE false$$);
SELECT transformer.evaluate('eval_classify-bert', $$SELECT * FROM (VALUES ('a', 'negative'), ('b', NULL)) v(text, label)$$);
SELECT transformer.evaluate('eval_classify-bert', $$SELECT * FROM (VALUES ('a', 'negative'), ('b', 'Negative')) v(text, label)$$);
SELECT transformer.evaluate('eval_classify-bert', $$SELECT 'a' AS text$$);
SELECT transformer.evaluate('eval_classify-bert', $$SELECT 'a' AS text, 1 AS score$$);
SELECT transformer.evaluate('eval_classify-bert', 'DELETE FROM rows');
SELECT transformer.evaluate('eval_topics-bert', $$SELECT 'a' AS text, ARRAY['bread', NULL] AS labels$$);
SELECT transformer.evaluate('eval_topics-bert', $$SELECT 'a' AS text, ARRAY['bread', 'water'] AS labels$$);
SELECT transformer.evaluate('eval_rerank-bert', $$SELECT 'a' AS text, 'b' AS text_pair, 'NaN'::float8 AS score$$);
SELECT transformer.evaluate('eval_ratings-bert', $$SELECT 'a' AS text, 1 AS score$$);
SELECT transformer.evaluate('eval_token-bert', $$SELECT '{a,b}'::text[] AS tokens, '{O}'::text[] AS labels$$);
SELECT transformer.evaluate('eval_bert', $$SELECT 'a' AS text, 'negative' AS label$$);
SELECT transformer.evaluate('eval_mask-bert', $$SELECT 'a' AS body$$);
SELECT transformer.confusion_matrix('eval_bert', 'TABLE pairs');
SELECT transformer.confusion_matrix('eval_topics-bert', 'TABLE topics');
SET transformer.truncate = 'error';
SELECT transformer.evaluate('eval_classify-bert', $$SELECT repeat('bread ', 100) AS text, 'neutral' AS label$$);
RESET transformer.truncate;

-- As the caller
CREATE ROLE regress_evaluator;
GRANT SELECT ON topics TO regress_evaluator;
SET ROLE regress_evaluator;
SELECT transformer.evaluate('eval_classify-bert', 'TABLE rows');
RESET ROLE;
SELECT transformer.grant_model('eval_classify-bert', 'regress_evaluator');
SET ROLE regress_evaluator;
SELECT transformer.evaluate('eval_classify-bert', 'TABLE rows');
RESET ROLE;
REVOKE ALL ON topics FROM regress_evaluator;
SELECT transformer.revoke_model('eval_classify-bert', 'regress_evaluator');
DROP ROLE regress_evaluator;
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'eval\_%' ORDER BY name;
