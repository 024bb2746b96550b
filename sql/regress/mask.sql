-- fill_mask: words for masks as the pipeline of the reference gives them; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';

SELECT count(transformer.import_model('mask_' || name, :'fixtures' || 'mask-' || name)) FROM unnest('{bert,roberta,albert}'::text[]) name;
CREATE TEMP TABLE texts AS
SELECT 'mask_' || name AS model, row_number() OVER () AS n, t->>'text' AS body, t->'fills' AS fills
FROM unnest('{bert,roberta,albert}'::text[]) name, LATERAL jsonb_array_elements(pg_read_file(:'fixtures' || 'mask-' || name || '/expected.json')::jsonb->'texts') t;

SELECT model, count(DISTINCT n) AS texts, count(*), bool_and(f.token = e->>'token') AS tokens, bool_and(f.sequence = e->>'sequence') AS sequences,
	max(abs(f.score - (e->>'score')::real)) < 1e-4 AS scores
FROM texts, LATERAL ROWS FROM (transformer.fill_mask(body, 12, model), jsonb_array_elements(fills)) f(token, score, sequence, e)
WHERE jsonb_array_length(fills) > 0 GROUP BY model ORDER BY model;

-- Many texts: each as by itself
SELECT bool_and(a = b) AS equal, count(*) FROM (
	SELECT array_agg((input, token, sequence)::text ORDER BY input, o) AS a, (SELECT array_agg((i, s.token, s.sequence)::text ORDER BY i, s.o)
		FROM unnest(bodies) WITH ORDINALITY u(one, i), LATERAL transformer.fill_mask(one, model => model) WITH ORDINALITY s(token, score, sequence, o)) AS b
	FROM (SELECT model, array_agg(CASE WHEN n % 2 > 0 THEN body END) AS bodies FROM texts WHERE jsonb_array_length(fills) > 0 GROUP BY model) t,
		LATERAL transformer.fill_mask(bodies, model => model) WITH ORDINALITY f(input, token, score, sequence, o)
	GROUP BY model, bodies) x;

-- A LATERAL call is computed ahead for many rows, each with its own top_k
EXPLAIN (COSTS OFF) SELECT f.token FROM texts, LATERAL transformer.fill_mask(body, 2 + n::int % 3, model) f;
CREATE TEMP TABLE batched AS
SELECT model, n, f.* FROM texts, LATERAL transformer.fill_mask(body, 2 + n::int % 3, model) f WHERE jsonb_array_length(fills) > 0;
SET transformer.batch = off;
SELECT count(*) > 0 AS some, (SELECT count(*) FROM (TABLE batched EXCEPT ALL
	SELECT model, n, f.* FROM texts, LATERAL transformer.fill_mask(body, 2 + n::int % 3, model) f WHERE jsonb_array_length(fills) > 0) d) AS differ FROM batched;
RESET transformer.batch;

-- The setting, NULL, bounds of top_k
SELECT transformer.fill_mask('The [MASK] boat');
SET transformer.mask_model = 'mask_bert';
SELECT token, round(score::numeric, 3) AS score, sequence FROM transformer.fill_mask('The [MASK] boat', 3);
SELECT count(*) FROM transformer.fill_mask('The [MASK] boat');
SELECT count(*) FROM transformer.fill_mask('The [MASK] boat', NULL);
SELECT count(*) FROM transformer.fill_mask(NULL::text);
SELECT count(*) FROM transformer.fill_mask(NULL::text[]);
SELECT count(*) FROM transformer.fill_mask('{}'::text[]);
SELECT input, count(*) FROM transformer.fill_mask(ARRAY['a [MASK]', NULL, '[MASK]'], 2) GROUP BY 1 ORDER BY 1;
SELECT count(*) = (SELECT (config::jsonb->>'vocab_size')::int FROM pg_read_file(:'fixtures' || 'mask-bert/config.json') config) AS whole_vocabulary,
	round(sum(score)::numeric, 4) AS sum FROM transformer.fill_mask('[MASK]', 2147483647);
SELECT transformer.fill_mask('The [MASK] boat', 0);

-- Texts
SELECT count(*) FROM transformer.fill_mask('[MASK]' || repeat(' bread', 20000));
SELECT transformer.fill_mask(repeat('bread ', 20000) || '[MASK]');
SELECT transformer.fill_mask('');
SELECT transformer.fill_mask('no mask');
SELECT transformer.fill_mask('[MASK] [MASK]');
SELECT transformer.fill_mask('The [MASK] boat', model => 'mask_roberta');
SELECT transformer.fill_mask(ARRAY['The [MASK] boat', 'no mask']);
SELECT transformer.import_model('mask_embed', :'fixtures' || 'bert');
SELECT transformer.fill_mask('The [MASK] boat', model => 'mask_embed');
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'mask\_%' ORDER BY name;
