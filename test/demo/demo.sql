-- The tour of the demo: every statement is shown, then what it gives.

\set ON_ERROR_STOP on
\set QUIET on
\pset null '(null)'
\pset linestyle unicode
\pset border 1
\pset footer off
SET client_min_messages = warning;
\set QUIET off

\echo
\echo '--- 1. The extension, with its models.  Nothing is imported, nothing is set.'
\echo
\set ECHO queries
CREATE EXTENSION transformer;
\set ECHO none
\set QUIET on
SELECT count(*) FILTER (WHERE name = 'encoder') = 0 AS no_encoder, count(*) FILTER (WHERE name = 'sentiment') = 0 AS no_sentiment,
	count(*) FILTER (WHERE name = 'intent') = 0 AS no_intent FROM transformer.models \gset
\if :no_encoder
	\echo 'There is no models/encoder.gguf here.  A fixture stands in for it, which has learned nothing: look at how, not at how well.'
	SELECT transformer.import_model('encoder', :'fixtures' || '/bert') \g /dev/null
	ALTER DATABASE postgres SET transformer.truncate = silent;
\endif
\if :no_sentiment
	\echo 'There is no models/sentiment.gguf here.  A fixture stands in for it.'
	SELECT transformer.import_model('sentiment', :'fixtures' || '/classify-bert', labels => '{negative,neutral,positive}') \g /dev/null
	ALTER DATABASE postgres SET transformer.truncate = silent;
\endif
\if :no_intent
	\echo 'There is no models/intent.gguf here.  A fixture stands in for it.'
	SELECT transformer.import_model('intent', :'fixtures' || '/classify-bert', labels => '{card_arrival,exchange_rate,lost_or_stolen_card}') \g /dev/null
	ALTER DATABASE postgres SET transformer.truncate = silent;
\endif
\connect
SET client_min_messages = warning;
\set QUIET off
\set ECHO queries
SELECT name, version, task, dimensions, parameters, pg_size_pretty(bytes) AS bytes, comment FROM transformer.models;
SELECT (transformer.embed('hello'))[1:4] AS first_four_numbers;
\set ECHO none

\echo
\echo '--- 2. 200 texts: tickets, reviews, recipes, news, in several languages.  One call embeds the table.'
\echo
\set QUIET on
CREATE TABLE note (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, language text, body text, embedding real[]);
\copy note (kind, language, body) FROM PROGRAM 'cat "$DEMO_TEXTS"'
ANALYZE note;
\set QUIET off
\set ECHO queries
SELECT kind, count(*), min(body) AS one_of_them FROM note GROUP BY kind ORDER BY count(*) DESC;
\timing on
CALL transformer.embed_table('note', 'body', 'embedding');
\timing off
\set ECHO none

\echo
\echo '--- 3. Search by meaning: no word of the question need be in the answer.'
\echo
\set ECHO queries
SELECT round(transformer.cosine_distance(embedding, transformer.embed('I cannot sign in'))::numeric, 3) AS distance, language, body
FROM note ORDER BY 1 LIMIT 6;
SELECT round(transformer.cosine_distance(embedding, transformer.embed('something sweet with fruit'))::numeric, 3) AS distance, body
FROM note WHERE kind = 'recipe' ORDER BY 1 LIMIT 4;
SELECT transformer.similarity('The parcel never came.', 'My package was not delivered.') AS same_thing,
       transformer.similarity('The parcel never came.', 'Whisk the egg whites.') AS another;
\set ECHO none

\echo
\echo '--- 4. What do the reviews say?  A plain UPDATE runs in batches; Chinese ones are read, too.'
\echo
\set ECHO queries
ALTER TABLE note ADD sentiment text;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
UPDATE note SET sentiment = transformer.sentiment(body) WHERE kind = 'review' AND language IN ('en', 'zh');
SELECT sentiment, count(*) FROM note WHERE sentiment IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT round(transformer.sentiment_score(body)::numeric, 2) AS score, body
FROM note WHERE kind = 'review' AND language IN ('en', 'zh') ORDER BY 1 DESC LIMIT 4;
SELECT round(transformer.sentiment_score(body)::numeric, 2) AS score, body
FROM note WHERE kind = 'review' AND language IN ('en', 'zh') ORDER BY 1 LIMIT 4;
\set ECHO none

\echo
\echo '--- 5. What does a customer of a bank want?'
\echo
\set ECHO queries
SELECT body, transformer.intent(body) FROM (VALUES
	('My new card has still not come with the post.'),
	('Somebody took my wallet and the card was in it!'),
	('What do I get for a dollar if I pay in euros?')) question (body);
\set ECHO none

\echo
\echo '--- 6. A column that keeps itself up to date, and names the version that made it.'
\echo
\set ECHO queries
CREATE TABLE article (
    body   text,
    vector real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'encoder@1')) STORED
);
INSERT INTO article VALUES ('Cats sleep most of the day.');
SELECT cardinality(vector), vector = transformer.embed('Cats sleep most of the day.') AS same FROM article;
\set ECHO none

\echo
\echo '--- 7. A model of our own, trained on rows: which kind of note is it?  At first only the head learns, on every fourth of the rows.'
\echo
\set ECHO queries
ALTER TABLE note ADD guess text;
SELECT model, rows, steps, loss, eval_loss, round(seconds::numeric, 1) AS seconds
FROM transformer.finetune('encoder', 'SELECT body AS text, kind AS label FROM note WHERE id % 4 = 1',
       output => 'kinds', freeze => 'base', epochs => 4);
SET transformer.classification_model = 'kinds';
UPDATE note SET guess = transformer.classify(body);
SELECT count(*) FILTER (WHERE guess = kind) AS right, count(*) AS of_all FROM note WHERE id % 4 = 0;
\set ECHO none

\echo
\echo '--- 8. A second version: all of the model learns, on all rows but those that it is tested with.'
\echo
\set ECHO queries
SELECT run FROM transformer.finetune('encoder', 'SELECT body AS text, kind AS label FROM note WHERE id % 4 <> 0', output => 'kinds',
       eval_query => 'SELECT body AS text, kind AS label FROM note WHERE id % 4 = 0', epochs => 12, batch_size => 16) \gset
SELECT model, rows, steps, loss, eval_loss, round(seconds::numeric, 1) AS seconds FROM transformer.training_runs WHERE run = :run;
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set QUIET off
SELECT transformer.training_chart(:run);
\set QUIET on
\pset format aligned
\pset tuples_only off
\set QUIET off
SELECT metric, round(a.value::numeric, 3) AS "kinds@1", round(b.value::numeric, 3) AS "kinds@2"
FROM transformer.evaluate('kinds@1', 'SELECT body AS text, kind AS label FROM note WHERE id % 4 = 0') a
JOIN transformer.evaluate('kinds@2', 'SELECT body AS text, kind AS label FROM note WHERE id % 4 = 0') b USING (metric)
WHERE metric IN ('rows', 'accuracy', 'f1_macro', 'matthews');
SELECT * FROM transformer.confusion_matrix('kinds@2', 'SELECT body AS text, kind AS label FROM note WHERE id % 4 = 0')
WHERE actual <> predicted ORDER BY n DESC LIMIT 5;
\set ECHO none

\echo
\echo '--- 9. It becomes what the name means, and the column follows, in one transaction.'
\echo
\set ECHO queries
BEGIN;
SELECT transformer.deploy_model('kinds@2');
UPDATE note SET guess = transformer.classify(body);
COMMIT;
SELECT count(*) FILTER (WHERE guess = kind) AS right, count(*) AS of_all FROM note WHERE id % 4 = 0;
SELECT name, version, deployed, parent, pg_size_pretty(bytes) AS bytes FROM transformer.models ORDER BY 1, 2;
\set ECHO none

\echo
\echo '--- 10. How fast?  2,000 texts, on this machine; the weights are in memory once, for all connections.'
\echo
\set ECHO queries
\timing on
SELECT count(*) FROM transformer.embed((SELECT array_agg(body || ' ' || i) FROM note, generate_series(1, 10) i));
\timing off
SELECT model, calls, rows, tokens, round(milliseconds) AS ms, round(rows / milliseconds * 1000) AS rows_per_second FROM transformer.stat_models;
SELECT model, status, pg_size_pretty(bytes) AS bytes, pinned, hits FROM transformer.loaded_models;
\connect
\timing on
SELECT cardinality(transformer.embed('the first embed of a new connection'));
\timing off
\set ECHO none
