-- Labels into a column: text, an enum, what is not a label of it, and going on.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SET transformer.truncate = 'silent';
SELECT transformer.import_model('table_bert', :'fixtures' || 'classify-bert');
CREATE TYPE mood AS ENUM ('negative', 'neutral');
CREATE TABLE labelled_rows (id int PRIMARY KEY, body text, label text, mood mood, number int, short varchar(3));
INSERT INTO labelled_rows SELECT i, CASE WHEN i % 10 > 0 THEN 'bread and water ' || i END FROM generate_series(1, 50) i;
INSERT INTO labelled_rows VALUES (51, 'Les pommes sont rangées, не так ли? 小猫在睡觉。');
CALL transformer.classify_table('labelled_rows', 'body', 'label', 'table_bert', batch_size => 7, condition => 'id <= 20');
CALL transformer.classify_table('labelled_rows', 'body', 'label', 'table_bert', batch_size => 7);
SELECT bool_and(label = transformer.classify(body, 'table_bert')) AS equal, count(label) FROM labelled_rows WHERE body IS NOT NULL;
CALL transformer.classify_table('labelled_rows', 'body', 'mood', 'table_bert');
CALL transformer.classify_table('labelled_rows', 'body', 'mood', 'table_bert', on_error => 'skip');
SELECT bool_and(mood::text = label) AS equal, count(*) - count(mood) AS without FROM labelled_rows WHERE body IS NOT NULL;
CALL transformer.classify_table('labelled_rows', 'body', 'number', 'table_bert');
\set VERBOSITY sqlstate
CALL transformer.classify_table('labelled_rows', 'body', 'number', 'table_bert');
CALL transformer.embed_table('labelled_rows', 'body', 'number', 'table_bert');
CALL transformer.classify_table('labelled_rows', 'body', 'label', 'table_bert', condition => '');
\set VERBOSITY default
CALL transformer.embed_table('labelled_rows', 'body', 'number', 'table_bert');
CALL transformer.classify_table('labelled_rows', 'body', 'ctid', 'table_bert');
CALL transformer.classify_table('labelled_rows', 'body', 'label', 'table_bert', condition => E' \n');
-- What text is assigned to will do.
CREATE DOMAIN topic AS varchar(20);
CREATE TABLE assigned (body text DEFAULT 'bread', a topic, b name, c char(20));
INSERT INTO assigned DEFAULT VALUES;
CALL transformer.classify_table('assigned', 'body', 'a', 'table_bert');
CALL transformer.classify_table('assigned', 'body', 'b', 'table_bert');
CALL transformer.classify_table('assigned', 'body', 'c', 'table_bert');
SELECT a = b::text AND a = c::text AS equal FROM assigned;
DROP TABLE assigned;
DROP DOMAIN topic;
CALL transformer.classify_table('labelled_rows', 'body', 'short', 'table_bert');
CALL transformer.classify_table('labelled_rows', 'body', 'label');
DROP TABLE labelled_rows;
DROP TYPE mood;
SELECT transformer.drop_model('table_bert');
