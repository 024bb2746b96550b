-- answer: spans of contexts as the pipeline of the reference gave them; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'error';

SELECT count(transformer.import_model('answer_' || name, :'fixtures' || 'answer-' || name)) FROM unnest('{bert,roberta,mpnet}'::text[]) name;
CREATE TEMP TABLE asked AS
SELECT 'answer_' || name AS model, row_number() OVER () AS n, a->>'question' AS question, a->>'context' AS context, a AS e
FROM unnest('{bert,roberta,mpnet}'::text[]) name, LATERAL jsonb_array_elements(pg_read_file(:'fixtures' || 'answer-' || name || '/expected.json')::jsonb->'answers') a
WHERE a ? 'answer';

SELECT model, bool_and(a.answer = e->>'answer') AS answers, bool_and(a.start = (e->>'start')::int AND a.stop = (e->>'stop')::int) AS places,
	bool_and(a.answer = substr(context, a.start, a.stop - a.start + 1)) AS cut, max(abs(a.score - (e->>'score')::real)) < 1e-4 AS scores,
	max((e->>'windows')::int) > 3 AS windows, count(*) = count(DISTINCT n) AND count(*) >= 5 AS all
FROM asked, LATERAL transformer.answer(question, context, model) a GROUP BY model ORDER BY model;

-- Many contexts: each as by itself
SELECT model, bool_and(t.answer = s.answer AND t.start = s.start AND t.stop = s.stop AND abs(t.score - s.score) < 1e-6) AS equal, array_agg(t.input ORDER BY t.input)
FROM (SELECT model, array_agg(context ORDER BY n) || ARRAY[NULL, '', 'The end'] AS contexts FROM asked WHERE model <> 'answer_roberta' GROUP BY model) c,
	LATERAL transformer.answer('Who?', contexts, model) t, LATERAL transformer.answer('Who?', contexts[t.input], model) s
GROUP BY model ORDER BY model;

-- The setting, NULL, nothing in the context
SELECT transformer.answer('Who?', 'The baker');
SET transformer.answer_model = 'answer_bert';
SELECT a.answer, round(a.score::numeric, 3) AS score, start, stop FROM transformer.answer('Who opens?', 'The baker opens the shop at six.') a;
SELECT count(*) FROM transformer.answer(NULL, 'bread'::text);
SELECT count(*) FROM transformer.answer('Who?', NULL::text);
SELECT count(*) FROM transformer.answer('Who?', NULL::text[]);
SELECT count(*) FROM transformer.answer(NULL, ARRAY['bread']);
SELECT count(*) FROM transformer.answer('Who?', '{}'::text[]);
SELECT count(*) FROM transformer.answer('Who?', '');
SELECT count(*) FROM transformer.answer('Who?', E' \n');
SELECT count(*) FROM transformer.answer('', 'The baker');

-- Long texts
SELECT a.answer = substr(c, a.start, a.stop - a.start + 1) AS cut FROM (SELECT repeat('小猫在睡觉 bread 😀 ', 6000) AS c) t, LATERAL transformer.answer('Who?', c) a;
SELECT transformer.answer(repeat('who ', 500), 'The baker');
SELECT transformer.import_model('answer_token', :'fixtures' || 'token-bert');
SELECT transformer.answer('Who?', 'The baker', 'answer_token');
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'answer\_%' ORDER BY name;
