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
\echo '--- 1. The extension, and a model: all-MiniLM-L6-v2, a folder as its makers publish it.'
\echo
\set ECHO queries
CREATE EXTENSION transformer;
SELECT transformer.import_model('minilm', :'model_folder');
SELECT name, version, architecture, dimensions, context_length, parameters, pg_size_pretty(bytes) AS bytes FROM transformer.models;
SELECT * FROM transformer.verify_model('minilm');
\set ECHO none

\echo
\echo '--- 2. It is the model of this database from now on; a vector is an array of real.'
\echo
\set ECHO queries
ALTER DATABASE postgres SET transformer.embedding_model = 'minilm';
\connect
SELECT (transformer.embed('hello'))[1:4] AS first_four_of_384;
\set ECHO none

\echo
\echo '--- 3. 200 texts: tickets, reviews, recipes, news, in several languages.  One call embeds the table.'
\echo
\set QUIET on
CREATE TABLE note (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, language text, body text, embedding real[]);
\copy note (kind, language, body) FROM PROGRAM 'cat "$DEMO_TEXTS"'
\set QUIET off
\set ECHO queries
SELECT kind, count(*), min(body) AS one_of_them FROM note GROUP BY kind ORDER BY count(*) DESC;
\timing on
CALL transformer.embed_table('note', 'body', 'embedding');
\timing off
\set ECHO none

\echo
\echo '--- 4. Search by meaning: no word of the question need be in the answer.'
\echo
\set ECHO queries
SELECT round(transformer.cosine_distance(embedding, transformer.embed('I cannot sign in'))::numeric, 3) AS distance, language, body
FROM note ORDER BY 1 LIMIT 6;
SELECT round(transformer.cosine_distance(embedding, transformer.embed('something sweet with fruit'))::numeric, 3) AS distance, body
FROM note WHERE kind = 'recipe' ORDER BY 1 LIMIT 4;
SELECT round(transformer.cosine_distance(embedding, transformer.embed('why is my database slow?'))::numeric, 3) AS distance, body
FROM note ORDER BY 1 LIMIT 4;
\set ECHO none

\echo
\echo '--- 5. Which reviews say the same?  A join by meaning.'
\echo
\set ECHO queries
SELECT round((1 - transformer.cosine_distance(a.embedding, b.embedding))::numeric, 2) AS similarity, a.body, b.body AS other
FROM note a JOIN note b ON a.id < b.id AND a.kind = b.kind AND a.language = 'en' AND b.language = 'en'
ORDER BY 1 DESC LIMIT 4;
SELECT transformer.similarity('The parcel never came.', 'My package was not delivered.') AS same_thing,
       transformer.similarity('The parcel never came.', 'Whisk the egg whites.') AS another;
\set ECHO none

\echo
\echo '--- 6. A long text, cut to what a model can read, along its tokens; start and stop are characters.'
\echo
\set ECHO queries
SELECT seq, start, stop, transformer.token_count(chunk) AS tokens, left(chunk, 60) || '…' AS chunk
FROM transformer.chunk((SELECT string_agg(body, ' ' ORDER BY id) FROM note WHERE kind = 'garden'), max_tokens => 48, overlap => 8);
\set ECHO none

\echo
\echo '--- 7. A column that keeps itself up to date.'
\echo
\set ECHO queries
CREATE TABLE article (
    body   text,
    vector real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'minilm@1')) STORED
);
INSERT INTO article VALUES ('Cats sleep most of the day.');
SELECT cardinality(vector), vector = transformer.embed('Cats sleep most of the day.') AS same FROM article;
\set ECHO none

\echo
\echo '--- 8. How fast?  2,000 texts, on this machine.'
\echo
\set ECHO queries
\timing on
SELECT count(*) FROM transformer.embed((SELECT array_agg(body || ' ' || i) FROM note, generate_series(1, 10) i));
\timing off
SELECT model, calls, rows, tokens, round(milliseconds) AS ms, round(rows / milliseconds * 1000) AS rows_per_second FROM transformer.stat_models;
\set ECHO none

\echo
\echo '--- 9. The weights are in memory once, for all connections.'
\echo
\set ECHO queries
SELECT model, status, pg_size_pretty(bytes) AS bytes, pinned, hits FROM transformer.loaded_models;
\connect
\timing on
SELECT cardinality(transformer.embed('the first embed of a new connection'));
\timing off
\set ECHO none
