-- Pairs of texts: rerank and zero_shot as the reference, with every kind of model; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';

SELECT transformer.import_model('pairs_' || name, :'fixtures' || name) FROM unnest('{rerank-bert,rerank-distilbert,bert,roberta}'::text[]) name;
CREATE TEMP TABLE expected AS SELECT pg_read_file(:'fixtures' || 'pairs/expected.json')::jsonb AS e;

-- Cross-encoders, one with a sigmoid and one whose output is the score; encoders with and without prompts
CREATE TEMP TABLE scored AS
SELECT 'pairs_' || name AS model, p->>'query' AS query, p->>'document' AS document, (p->>'score')::real AS score, row_number() OVER () AS n
FROM (SELECT name, pg_read_file(:'fixtures' || name || '/expected.json')::jsonb->'pairs' AS pairs FROM unnest('{rerank-bert,rerank-distilbert}'::text[]) name
	UNION ALL SELECT name, e->'cosines'->name FROM expected, unnest('{bert,roberta}'::text[]) name) s, LATERAL jsonb_array_elements(pairs) p;
SELECT model, count(*), max(abs(transformer.rerank(query, document, model) - score)) < 1e-4 AS equal, min(score) < 0 AS negative
FROM scored GROUP BY model ORDER BY model;
SELECT model, bool_and(score = again) AS equal
FROM (SELECT model, query, array_agg(document ORDER BY n) AS documents, array_agg(transformer.rerank(query, document, model) ORDER BY n) AS scores
	FROM scored GROUP BY 1, 2) g, LATERAL unnest(scores) WITH ORDINALITY s(score, at)
	JOIN LATERAL (SELECT r.again, r.at FROM transformer.rerank(query, documents, model) WITH ORDINALITY r(again, at)) r USING (at)
GROUP BY model ORDER BY model;

-- Models of inference, by other names of their labels
SELECT transformer.import_model('pairs_' || replace(key, '-', '_'), :'fixtures' || (value->>'fixture'),
	labels => ARRAY(SELECT jsonb_array_elements_text(value->'model_labels')))
FROM expected, LATERAL jsonb_each(e->'zero_shot') ORDER BY key;
CREATE TEMP TABLE called AS
SELECT 'pairs_' || replace(key, '-', '_') AS model, row_number() OVER () AS n, c->>'text' AS body, ARRAY(SELECT jsonb_array_elements_text(c->'labels')) AS labels,
	(c->>'multi_label')::bool AS multi_label, c->>'template' AS template, c->'scores' AS scores
FROM expected, LATERAL jsonb_each(e->'zero_shot'), LATERAL jsonb_array_elements(value->'calls') c;
SELECT model, count(*), max(abs(z.score - (scores->>z.label)::real)) < 1e-4 AS equal
FROM called, LATERAL transformer.zero_shot(body, labels, model, multi_label, template) z GROUP BY model ORDER BY model;
SELECT bool_and(score <= before) AS ordered, count(*) FROM (
	SELECT z.score, lag(z.score, 1, 'Infinity') OVER (PARTITION BY n ORDER BY z.ordinality) AS before
	FROM called, LATERAL transformer.zero_shot(body, labels, model, multi_label, template) WITH ORDINALITY z) x;
SELECT z.input, array_agg(z.label ORDER BY z.ordinality) = (SELECT array_agg(o.label ORDER BY o.ordinality)
	FROM transformer.zero_shot(b[z.input], '{bread,water,cats}', 'pairs_nli') WITH ORDINALITY o) AS equal
FROM (SELECT ARRAY['a', NULL, repeat('bread ', 500), ''] AS b) t, LATERAL transformer.zero_shot(b, '{bread,water,cats}', 'pairs_nli') WITH ORDINALITY z
GROUP BY z.input, b ORDER BY z.input;
SELECT round(transformer.rerank('bread', 'water', 'pairs_nli')::numeric, 3) BETWEEN 0 AND 1 AS probability;

-- Encoders
SELECT round(sum(score)::numeric, 4) AS sum, count(*) FROM transformer.zero_shot('The smell of bread', '{bread,water,cats}', 'pairs_bert');
SELECT bool_and(abs(score - (1 + transformer.similarity('The smell of bread', 'It is ' || label, 'pairs_bert')) / 2) < 1e-5) AS equal
FROM transformer.zero_shot('The smell of bread', '{bread,water,cats}', 'pairs_bert', multi_label => true, template => 'It is {}');

-- In batches as one by one, with several models and NULLs in a batch
CREATE TEMP TABLE both_ways AS SELECT n, transformer.rerank(query, CASE WHEN n % 7 > 0 THEN document END, model) AS batched, NULL::real AS single FROM scored;
EXPLAIN (COSTS OFF) SELECT transformer.rerank(query, document, model) FROM scored;
SET transformer.batch = off;
UPDATE both_ways b SET single = transformer.rerank(query, CASE WHEN s.n % 7 > 0 THEN document END, model) FROM scored s WHERE s.n = b.n;
RESET transformer.batch;
SELECT count(*), count(batched), bool_and(batched IS NOT DISTINCT FROM single) AS equal FROM both_ways;

-- NULL, settings, refused
SELECT transformer.rerank('bread', 'water');
SET transformer.rerank_model = 'pairs_rerank-bert';
SET transformer.zero_shot_model = 'pairs_nli';
SELECT transformer.rerank(NULL, 'bread'::text) IS NULL AS a, transformer.rerank('bread', NULL::text) IS NULL AS b, transformer.rerank('bread', 'water') > 0 AS c;
SELECT score IS NULL AS is_null FROM transformer.rerank('bread', ARRAY['bread', NULL, 'water']) score;
SELECT score IS NULL AS is_null FROM transformer.rerank(NULL, ARRAY['bread', 'water']) score;
SELECT count(*) FROM transformer.zero_shot(NULL::text, '{bread}');
SELECT transformer.zero_shot('bread', '{}'::text[]);
SELECT transformer.zero_shot('bread', NULL);
SELECT transformer.zero_shot('bread', ARRAY['a', NULL]);
SELECT transformer.zero_shot('bread', '{a}', template => 'no place');
SELECT transformer.import_model('pairs_named', :'fixtures' || 'classify-bert', labels => '{red,green,blue}');
SELECT transformer.zero_shot('bread', '{a}', 'pairs_named');
SELECT transformer.rerank('bread', 'water', 'pairs_named');
-- Twins of pinned functions
SELECT bool_and(a = b) AS equal, count(*) FROM (SELECT transformer.embed_pinned(ARRAY['bread', NULL, 'water'], 'pairs_bert@1') AS a,
	transformer.embed(ARRAY['bread', NULL, 'water'], 'pairs_bert') AS b) x;
SELECT bool_and(a = b) AS equal, count(*) FROM (SELECT transformer.classify_pinned(ARRAY['bread', NULL, 'water'], 'pairs_named@1') AS a,
	transformer.classify(ARRAY['bread', NULL, 'water'], 'pairs_named') AS b) x;
SELECT transformer.classify_pinned(ARRAY['bread'], 'pairs_named');
SELECT transformer.embed_pinned(ARRAY['bread'], 'pairs_bert');
-- A next-sentence head says whether a document follows; models for other tasks are refused
SELECT transformer.import_model('pairs_' || name, :'fixtures' || name || '-bert') FROM unnest('{next,token,answer,mask}'::text[]) name;
SELECT count(*) > 0 AS some, max(abs(transformer.rerank(a, b, 'pairs_next') - exp(z[1]) / (exp(z[1]) + exp(z[2])))) < 1e-4 AS equal
FROM (SELECT ARRAY(SELECT jsonb_array_elements_text(t->'logits')::float8) AS z, t->>'text' AS a, t->>'pair' AS b
	FROM jsonb_array_elements(pg_read_file(:'fixtures' || 'next-bert/expected.json')::jsonb->'texts') t WHERE t->>'pair' IS NOT NULL) x;
SELECT transformer.rerank('a boat', 'the sea', 'pairs_token');
SELECT transformer.rerank('a boat', 'the sea', 'pairs_answer');
SELECT transformer.rerank('a boat', 'the sea', 'pairs_mask');
SELECT transformer.zero_shot('a boat', '{sea}', 'pairs_next');
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'pairs\_%';
