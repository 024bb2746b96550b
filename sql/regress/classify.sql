-- Labels: as the reference, arrays, pinned versions, sentiment, settings, what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';

SELECT transformer.import_model('classify_' || name, :'fixtures' || 'classify-' || name)
FROM unnest('{bert,distilbert,mpnet,roberta}'::text[]) name;
SELECT name, architecture, task, dimensions, context_length, labels FROM transformer.models
WHERE name LIKE 'classify\_%' ORDER BY name;

CREATE TEMP TABLE labelled AS
SELECT name, 'classify_' || name AS model, t->>'text' AS body, t->'scores' AS scores, row_number() OVER () AS n
FROM unnest('{bert,distilbert,mpnet,roberta}'::text[]) name,
	LATERAL (SELECT pg_read_file(:'fixtures' || 'classify-' || name || '/expected.json')::jsonb AS f) e,
	LATERAL jsonb_array_elements(f->'texts') t WHERE NOT t ? 'pair';

-- Scores equal the reference's and come in order; the first is the label; arrays give the same.
SELECT name, count(*), max(abs(score - (scores->>label)::real)) < 1e-4 AS equal, bool_and(score <= before) AS ordered
FROM (SELECT l.*, s.label, s.score, lag(s.score, 1, 'Infinity') OVER (PARTITION BY n ORDER BY s.ordinality) AS before
	FROM labelled l, LATERAL transformer.classify_scores(body, model) WITH ORDINALITY s) x
GROUP BY name ORDER BY name;
SELECT name, bool_and(transformer.classify(body, model) =
	(SELECT label FROM transformer.classify_scores(body, model) LIMIT 1)) AS first
FROM labelled GROUP BY name ORDER BY name;
SELECT g.name, array_agg(label ORDER BY at) = labels AS equal
FROM (SELECT name, model, array_agg(body ORDER BY n) AS bodies, array_agg(transformer.classify(body, model) ORDER BY n) AS labels
	FROM labelled GROUP BY 1, 2) g, LATERAL transformer.classify(bodies, model) WITH ORDINALITY AS c(label, at)
GROUP BY g.name, labels ORDER BY g.name;

-- NULL, empty arrays, settings
SELECT transformer.classify('bread');
SET transformer.classification_model = 'classify_bert';
SET transformer.sentiment_model = 'classify_distilbert';
SET transformer.intent_model = 'classify_roberta';
SELECT transformer.classify('bread'), transformer.sentiment('bread'), transformer.intent('bread');
SELECT transformer.classify(NULL::text) IS NULL AS a, transformer.classify_pinned(NULL, 'classify_bert@1') IS NULL AS b,
	transformer.sentiment_score(NULL::text) IS NULL AS c;
SELECT count(*) FROM transformer.classify_scores(NULL);
SELECT count(*) FROM transformer.classify('{}'::text[]);
SELECT label IS NULL AS is_null FROM transformer.classify(ARRAY['a', NULL, '']) label;
SELECT transformer.intent(ARRAY['bread', NULL]);

-- Any text has a label; what is too long is cut, or refused.
SELECT count(label) FROM unnest(ARRAY['', ' ', repeat('bread ', 20000), repeat('x', 100000), '😀🇩🇪', 'القطة تنام قرب النافذة', '小猫在窗台上睡觉']) body,
	LATERAL transformer.classify(body) label;
SET transformer.truncate = 'error';
SELECT transformer.classify(repeat('bread ', 20000));
SET transformer.truncate = 'silent';

-- Sentiment by the names of labels
SELECT abs(transformer.sentiment_score(body) - ((scores->>'LABEL_1')::real - (scores->>'LABEL_0')::real)) < 1e-4 AS equal,
	transformer.sentiment(body) = CASE WHEN transformer.sentiment_score(body) > 0 THEN 'positive' ELSE 'negative' END AS agrees
FROM labelled WHERE name = 'distilbert' ORDER BY n;
SELECT abs(transformer.sentiment_score(body, model) - ((scores->>'positive')::real - (scores->>'negative')::real)) < 1e-4 AS equal,
	transformer.sentiment(body, model)
FROM labelled WHERE name = 'bert' ORDER BY n;
SELECT s = transformer.sentiment('bread') AS equal FROM transformer.sentiment(ARRAY['bread', NULL]) s;
SELECT score BETWEEN -1 AND 1 AS bounded FROM transformer.sentiment_score(ARRAY['bread', NULL]) score;
SELECT transformer.sentiment('bread', 'classify_roberta');
SELECT transformer.sentiment_score(ARRAY['bread'], 'classify_mpnet');

-- Labels of one's own, and the other form of a model
SELECT transformer.import_model('classify_named', :'fixtures' || 'classify-distilbert', labels => '{bad,good}');
SELECT label FROM transformer.classify_scores('bread', 'classify_named') ORDER BY 1;
SELECT transformer.import_model('classify_wrong', :'fixtures' || 'classify-distilbert', labels => '{bad,good,best}');
SELECT transformer.import_model('classify_encoder', :'fixtures' || 'classify-bert', task => 'embedding');
SELECT array_length(transformer.embed('bread', 'classify_encoder'), 1) AS dimensions;
SELECT transformer.import_model('classify_file', :'fixtures' || 'classify-distilbert', storage => 'file', labels => '{bad,good}');
SELECT transformer.classify('bread', 'classify_file') = transformer.classify('bread', 'classify_named') AS equal;

-- Refused
SELECT transformer.classify('bread', 'classify_encoder');
SELECT transformer.classify(ARRAY['bread'], 'classify_encoder');
SELECT transformer.sentiment('bread', 'classify_encoder');
SELECT transformer.embed('bread', 'classify_bert');
SELECT transformer.import_model('classify_none', :'fixtures' || 'bert', task => 'classification');
SELECT transformer.classify_pinned('bread', 'classify_bert');

-- Pinned versions
CREATE TABLE classify_stored (body text, label text GENERATED ALWAYS AS (transformer.classify_pinned(body, 'classify_roberta@1')) STORED);
INSERT INTO classify_stored VALUES ('bread'), (NULL);
UPDATE classify_stored SET body = 'boat' WHERE body IS NOT NULL;
SELECT body, label = transformer.classify(body, 'classify_roberta') AS equal FROM classify_stored ORDER BY body;
SELECT transformer.drop_model('classify_roberta@1');
DROP TABLE classify_stored;

SELECT bool_and(ok) FROM transformer.verify_model('classify_bert');
SELECT transformer.drop_model('classify_' || name)
FROM unnest('{bert,distilbert,encoder,file,mpnet,named,roberta}'::text[]) name;

-- A pinned function must be told its version
SELECT transformer.classify_pinned('a', NULL);
SELECT transformer.embed_pinned('a', NULL);
SELECT transformer.classify_pinned(ARRAY['a'], NULL);
SELECT transformer.classify_pinned(b, NULL) FROM (VALUES ('a'), ('b')) t(b);
