-- Training: a run from its query to its version, what it leaves, what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set bert :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT errors
SET transformer.isa = 'ref';
SET client_min_messages = warning;

SELECT transformer.import_model('train_base', :'bert');
-- Errors without the numbers of runs, which depend on what else has run.
CREATE FUNCTION pg_temp.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '\d+$|run \d+', 'N');
END
$$;
CREATE TABLE lesson AS
SELECT i AS id, (ARRAY['good', 'bad', 'fine', 'poor'])[i % 4 + 1] || ' ' || (ARRAY['city', 'river', 'music', 'paper', 'day'])[i % 5 + 1] AS body,
	CASE WHEN i % 2 = 0 THEN 'up' ELSE 'down' END AS label, i % 2 AS score
FROM generate_series(0, 59) i;

-- A run: result, version, row, log
SELECT model, run, rows, tokens > 1000 AS tokens, steps, loss < 0.3 AS learned, eval_loss < 0.3 AS eval_learned,
	metrics ? 'loss' AND (metrics->>'accuracy')::float8 = 1 AS metrics, seconds > 0 AS seconds
FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson WHERE id < 40', output => 'mood', epochs => 16,
	batch_size => 8, learning_rate => 0.002, eval_query => 'SELECT body AS text, label FROM lesson WHERE id >= 40') \gset r_
SELECT :'r_model' AS model, :r_rows AS rows, :'r_tokens' AS tokens, :r_steps AS steps, :'r_learned' AS learned,
	:'r_eval_learned' AS eval_learned, :'r_metrics' AS metrics, :'r_seconds' AS seconds;
SELECT name, version, deployed, task, labels, parent FROM transformer.models WHERE name = 'mood';
SELECT transformer.classify('fine music', 'mood'), transformer.classify('poor music', 'mood');
SELECT statement, status, message, base, model, objective, rows, steps, loss < 0.3 AS loss, eval_loss < 0.3 AS eval_loss,
	finished_at > started_at AS finished, options->>'batch_size' AS batch_size, query
FROM transformer.training_runs WHERE run = :r_run;
SELECT count(*), min(step), max(step), count(eval_loss), bool_and(learning_rate >= 0) AS rates, max(tokens) > 1000 AS tokens
FROM transformer.training_log WHERE run = :r_run;
SELECT transformer.training_chart(:r_run, 60, 12) LIKE E'training run %\n%\n%' AS chart, transformer.training_svg(:r_run) LIKE '<svg%</svg>%' AS svg;
SELECT count(*) FROM transformer.training_progress;
SELECT count(*) FROM transformer.verify_model('mood') WHERE NOT ok;
SELECT count(*) FROM pg_ls_dir('pgsql_tmp_transformer') f WHERE f LIKE 'run.%';

-- The same seed gives the same weights, whatever the number of threads; another seed gives others.
SET transformer.threads = 3;
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson WHERE id < 40', output => 'mood', epochs => 16,
	batch_size => 8, learning_rate => 0.002, eval_query => 'SELECT body AS text, label FROM lesson WHERE id >= 40');
RESET transformer.threads;
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson WHERE id < 40', output => 'mood', epochs => 16,
	batch_size => 8, learning_rate => 0.002, seed => 1);
SELECT version, digest = (SELECT digest FROM _transformer.version WHERE name = 'mood' AND version = 1) AS same
FROM _transformer.version WHERE name = 'mood' ORDER BY version;

-- An overlay and a frozen base share the base's chunks; output NULL is the model's own name, not deployed
SELECT model, steps FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', lora_rank => 1, max_steps => 2);
SELECT model, steps FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', freeze => 'base', max_steps => 2);
SELECT name, version, deployed FROM transformer.models WHERE name = 'train_base' ORDER BY version;
SELECT count(DISTINCT chunk) FILTER (WHERE version = 1) AS base, count(DISTINCT chunk) FILTER (WHERE version = 3 AND NOT shared) AS head
FROM (SELECT version, chunk, chunk IN (SELECT unnest(chunks) FROM _transformer.tensor WHERE name = 'train_base' AND version = 1) AS shared
	FROM _transformer.tensor, unnest(chunks) chunk WHERE name = 'train_base') x;

-- The other tasks; the model's own one; a query of any form
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, score FROM lesson', 'regression', 'score', max_steps => 2);
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, ARRAY[label, ''all''] AS labels FROM lesson', 'multi-label', 'tags', max_steps => 2);
SELECT model FROM transformer.finetune('mood', 'SELECT body AS text, label FROM lesson', NULL, max_steps => 1);
SELECT model FROM transformer.finetune('train_base', $$VALUES ('a', 'b'), ('c', 'd')$$, output => 'none');
SELECT model FROM transformer.finetune('train_base', $$WITH w(text, label) AS (VALUES ('a', 1), ('c', 2)) TABLE w$$, output => 'numbers', max_steps => 1);
SELECT name, labels FROM transformer.models WHERE name IN ('score', 'tags', 'numbers') ORDER BY name;

-- Options: arguments and members alike, an argument counts more
SELECT options->>'epochs' AS epochs, options->>'learning_rate' AS learning_rate, options->>'optimizer' AS optimizer
FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', epochs => 0.5, learning_rate => 0.1, max_steps => 1,
	options => '{"optimizer": "sgd", "epochs": 7, "checkpoint_interval": 5}') f JOIN transformer.training_runs r ON r.run = f.run;
SELECT pg_temp.error_of($$SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', options => '{"speed": 1}')$$);
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', options => '[1]');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', options => '{"checkpoint_interval": -1}');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', learning_rate => 'NaN');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', schedule => 'steep');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', options => '{"patience": 3}');
SELECT transformer.finetune('train_base', 'SELECT body AS text, ''same'' AS label FROM lesson');
SELECT pg_temp.error_of($$SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', 'juggling')$$);

-- Rows that cannot be learned from
SELECT transformer.finetune('train_base', 'SELECT body, label FROM lesson');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson WHERE false');
SELECT transformer.finetune('train_base', 'SELECT body AS text, CASE WHEN id <> 7 THEN label END AS label FROM lesson ORDER BY id');
SELECT transformer.finetune('train_base', 'SELECT CASE WHEN id <> 7 THEN body END AS text, label FROM lesson ORDER BY id');
SELECT transformer.finetune('train_base', 'SELECT body AS text, CASE WHEN id <> 7 THEN label ELSE '''' END AS label FROM lesson ORDER BY id');
SELECT transformer.finetune('mood', 'SELECT body AS text, CASE WHEN id <> 7 THEN label ELSE ''over'' END AS label FROM lesson ORDER BY id');
SELECT transformer.finetune('train_base', 'SELECT body AS text, CASE WHEN id <> 7 THEN label ELSE repeat(''o'', 1001) END AS label FROM lesson ORDER BY id');
SELECT transformer.finetune('train_base', 'SELECT body AS text, ARRAY[label, CASE WHEN id <> 7 THEN ''all'' END] AS labels FROM lesson ORDER BY id', 'multi-label');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', eval_query => 'SELECT body AS text, ''over'' AS label FROM lesson');
SELECT transformer.finetune('train_base', 'DELETE FROM lesson RETURNING body AS text, label');
SELECT transformer.finetune('train_base', 'SELECT body AS text, 1 / (id - 7) AS label FROM lesson');

-- Models, NULLs, memory, numbers of runs
SELECT transformer.finetune('no_such_model', 'SELECT body AS text, label FROM lesson');
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'name@2');
SELECT transformer.finetune(NULL, 'SELECT 1');
SELECT transformer.finetune('train_base', NULL);
SET transformer.training_memory = '1MB';
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson');
SELECT transformer.create_model('train_large', '{"model_type": "bert", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
	"intermediate_size": 1024, "max_position_embeddings": 64}', 'train_base');
SET transformer.training_memory = '16MB';
SELECT transformer.finetune('train_large', 'SELECT body AS text, label FROM lesson');
SELECT model FROM transformer.finetune('train_large', 'SELECT body AS text, label FROM lesson', freeze => 'base', max_steps => 1);
SELECT transformer.drop_model('train_large');
RESET transformer.training_memory;
SET transformer.max_training_memory = '64MB';
SET transformer.training_memory = '65MB';
RESET transformer.max_training_memory;
SELECT pg_temp.error_of(format('SELECT transformer.resume_training(%s)', :r_run));
SELECT transformer.resume_training(999999999);
SELECT transformer.resume_training(NULL);
SELECT transformer.cancel_training(:r_run);
SELECT transformer.cancel_training(999999999);
SELECT transformer.training_chart(999999999);
SELECT transformer.training_chart(:r_run, 1);
BEGIN READ ONLY;
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson');
ROLLBACK;
SELECT count(*) FROM pg_ls_dir('pgsql_tmp_transformer') f WHERE f LIKE 'run.%';

-- A transaction that is rolled back takes the version with it, and the run; it cannot be prepared.
SELECT max(run) AS last FROM transformer.training_runs \gset
BEGIN;
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'mood2', max_steps => 2);
SELECT status FROM transformer.training_runs WHERE run > :last;
ROLLBACK;
DO $$ BEGIN
	PERFORM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'gone', max_steps => 1);
	RAISE EXCEPTION 'undone';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
BEGIN;
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'mood2', max_steps => 2);
PREPARE TRANSACTION 'training';
SELECT count(*) FROM transformer.models WHERE name IN ('mood2', 'gone');
SELECT count(*) FROM transformer.training_runs WHERE run > :last;
SELECT count(*) FROM pg_ls_dir('pgsql_tmp_transformer') f WHERE f LIKE 'run.%';

-- In the background nobody sees temporary tables.
CREATE TEMP TABLE note AS SELECT body AS text, label FROM lesson;
SELECT transformer.finetune('train_base', 'TABLE note', output => 'gone', background => true);
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'gone', background => true,
	eval_query => 'SELECT * FROM (SELECT body AS text, label FROM lesson UNION ALL TABLE note) x');
DROP TABLE note;

-- Long texts are cut, as everywhere, or not; texts without words are left out of pretraining.
SELECT model FROM transformer.finetune('train_base', 'SELECT repeat(body || '' '', 30) AS text, label FROM lesson', output => 'long', max_steps => 1);
SET transformer.truncate = 'silent';
SELECT model FROM transformer.finetune('train_base', 'SELECT repeat(body || '' '', 30) AS text, label FROM lesson', output => 'long', max_steps => 1);
SET transformer.truncate = 'error';
SELECT model FROM transformer.finetune('train_base', 'SELECT CASE WHEN id = 7 THEN repeat(body || '' '', 30) ELSE body END AS text, label FROM lesson ORDER BY id');
RESET transformer.truncate;
SELECT model, rows FROM transformer.pretrain('train_base', 'SELECT CASE WHEN id % 20 <> 7 THEN body ELSE '' '' END AS text FROM lesson', output => 'words', max_steps => 1);
SELECT transformer.pretrain('train_base', 'SELECT '' '' AS text FROM lesson', output => 'words');
SELECT model, objective FROM transformer.training_runs WHERE model LIKE 'words%' OR model LIKE 'tags%' ORDER BY model;

-- Privileges
CREATE ROLE pupil;
GRANT SELECT ON lesson TO pupil;
SET ROLE pupil;
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson');
SELECT count(*) FROM transformer.training_runs;
SELECT count(*) FROM transformer.training_log;
SELECT pg_temp.error_of(format('SELECT transformer.cancel_training(%s)', :r_run));
SELECT pg_temp.error_of(format('SELECT transformer.training_chart(%s)', :r_run));
RESET ROLE;
GRANT EXECUTE ON FUNCTION transformer.finetune, transformer.resume_training TO pupil;
SET ROLE pupil;
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson');
RESET ROLE;
SELECT transformer.grant_model('train_base', 'pupil');
SET ROLE pupil;
SELECT transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson');
SELECT model FROM transformer.finetune('train_base', 'SELECT body AS text, label FROM lesson', output => 'own', max_steps => 1);
SELECT transformer.finetune('train_base', 'SELECT rolpassword AS text, rolname AS label FROM pg_authid', output => 'own');
SELECT owner, statement, model FROM transformer.training_runs;
SELECT pg_temp.error_of(format('SELECT transformer.resume_training(%s)', :r_run));
RESET ROLE;
SELECT owner FROM transformer.models WHERE name = 'own';
SELECT transformer.drop_model(name) FROM unnest('{own,mood,long,words,score,tags,numbers,train_base}'::text[]) name;
DROP TABLE lesson;
DROP OWNED BY pupil;
DROP ROLE pupil;
SELECT DISTINCT owner, status FROM transformer.training_runs WHERE model = 'own@1';
