-- New models, and students: create_model, pretrain, distill.
\getenv srcdir PG_ABS_SRCDIR
\set teacher :srcdir '/models/fixtures/classify-bert'
\set tagger :srcdir '/models/fixtures/token-bert'
\set encoder :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT errors
SET transformer.isa = 'ref';
SET client_min_messages = warning;

SELECT transformer.import_model('teacher', :'teacher'), transformer.import_model('teacher_encoder', :'encoder'),
	transformer.import_model('teacher_tagger', :'tagger');
CREATE TABLE reading AS
SELECT i AS id, (ARRAY['good', 'bad', 'fine', 'poor'])[i % 4 + 1] || ' ' || (ARRAY['city', 'river', 'music', 'paper', 'day'])[i % 5 + 1] AS body
FROM generate_series(0, 299) i;

-- A student that is made of its teacher's layers: the teacher's labels, and soon the teacher's mind
SELECT model, rows, steps, eval_loss < 0.1 AS learned, metrics ? 'accuracy' AS agreement
FROM transformer.distill('teacher', 'student', 'SELECT body AS text FROM reading', epochs => 8, learning_rate => 0.001, batch_size => 16,
	options => '{"layers": 1}', eval_query => 'SELECT DISTINCT body AS text FROM reading');
SELECT s.labels = t.labels AS labels, s.parent, s.deployed
FROM transformer.models s, transformer.models t WHERE s.name = 'student' AND t.name = 'teacher';
-- One that is there, another task, a vector; labels beside what the teacher says
SELECT model, steps FROM transformer.distill('teacher', 'student', 'SELECT body AS text, transformer.classify(body, ''teacher'') AS label FROM reading',
	temperature => 3, alpha => 0.3, max_steps => 2);
SELECT model, steps FROM transformer.distill('teacher_encoder', 'student_encoder', 'SELECT body AS text FROM reading', max_steps => 2, options => '{"layers": 1}');
SELECT s.parameters < t.parameters AS smaller FROM transformer.models s, transformer.models t WHERE s.name = 'student_encoder' AND t.name = 'teacher_encoder';
SELECT model, steps FROM transformer.distill('teacher_tagger', 'student_tagger', 'SELECT body AS text FROM reading', max_steps => 2);
SELECT name, version, task, parent FROM transformer.models WHERE name LIKE 'student%' ORDER BY name, version;

-- Rows have their numbers, though the teacher sees many at a time
SELECT transformer.distill('teacher', 'student', 'SELECT body AS text, CASE WHEN id <> 270 THEN ''negative'' ELSE ''none'' END AS label FROM reading ORDER BY id');
SELECT transformer.distill('teacher', 'student', 'SELECT CASE WHEN id <> 270 THEN body END AS text FROM reading ORDER BY id');
-- What is refused
SELECT transformer.distill('teacher', 'student', 'SELECT body AS text FROM reading', options => '{"layers": 1}');
SELECT transformer.distill('teacher', 'other', 'SELECT body AS text FROM reading', options => '{"layers": 100}');
SELECT transformer.distill('teacher', 'other@1', 'SELECT body AS text FROM reading');
SELECT transformer.distill('no_such_model', 'other', 'SELECT body AS text FROM reading');
SELECT transformer.distill('teacher', NULL, 'SELECT body AS text FROM reading');
SELECT transformer.distill('teacher', 'other', 'SELECT body AS text FROM reading', temperature => 0);
SELECT transformer.finetune('teacher', 'SELECT body AS text, ''negative'' AS label FROM reading', options => '{"layers": 1}');

-- The name is free where the run was rolled back
BEGIN;
SELECT model FROM transformer.distill('teacher', 'late', 'SELECT body AS text FROM reading', max_steps => 5, options => '{"layers": 1}');
ROLLBACK;
SELECT model FROM transformer.distill('teacher', 'late', 'SELECT body AS text FROM reading', max_steps => 5, options => '{"layers": 1}');

-- New models
\set tiny '{"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}'
SELECT transformer.create_model('fresh', :'tiny', 'teacher'), transformer.create_model('fresh', :'tiny', 'teacher'),
	transformer.create_model('fresh', :'tiny', 'teacher', 1);
SELECT version, digest = (SELECT digest FROM _transformer.version WHERE name = 'fresh' AND version = 1) AS same, (config::jsonb->>'vocab_size')::int > 100 AS words
FROM _transformer.version WHERE name = 'fresh' ORDER BY version;
SELECT cardinality(transformer.embed('a river', 'fresh')) AS dimensions;
SELECT count(*) FROM transformer.verify_model('fresh') WHERE NOT ok;
SELECT model, steps, loss > 0 AS loss, eval_loss > 0 AS eval_loss
FROM transformer.pretrain('fresh', 'SELECT body AS text FROM reading', max_steps => 20, eval_query => 'SELECT body AS text FROM reading LIMIT 20');
SELECT model FROM transformer.pretrain('fresh', 'SELECT body AS text FROM reading', 'mlm', max_steps => 1);
SELECT transformer.create_model('wrong', jsonb_set(:'tiny', '{vocab_size}', '3'), 'teacher');
SELECT transformer.create_model('wrong', '[]', 'teacher');
SELECT transformer.create_model('wrong', jsonb_set(:'tiny', '{hidden_size}', '33'), 'teacher');
SELECT transformer.create_model('wrong', :'tiny', 'no_such_model');
SELECT transformer.create_model('wrong', NULL, 'teacher');
SELECT transformer.create_model('wrong', :'tiny', NULL);
SELECT transformer.create_model('wrong@1', :'tiny', 'teacher');
SELECT count(*) FROM transformer.models WHERE name = 'wrong';

CREATE ROLE apprentice;
SET ROLE apprentice;
SELECT transformer.create_model('wrong', :'tiny', 'teacher');
SELECT transformer.distill('teacher', 'own', 'SELECT ''a'' AS text');
RESET ROLE;
GRANT EXECUTE ON FUNCTION transformer.create_model, transformer.distill TO apprentice;
SELECT transformer.grant_model('student', 'apprentice');
SET ROLE apprentice;
SELECT transformer.create_model('wrong', :'tiny', 'teacher');
SELECT transformer.distill('teacher', 'own', 'SELECT ''a'' AS text');
SELECT transformer.distill('teacher', 'student', 'SELECT ''a'' AS text', output => 'own');
SELECT model FROM transformer.distill('student', 'own', 'SELECT ''a'' AS text', max_steps => 1);
SELECT transformer.create_model('own_new', :'tiny', 'student');
RESET ROLE;
SELECT count(transformer.drop_model(name)) FROM unnest('{own,own_new,student,student_encoder,student_tagger,teacher_tagger,late,fresh,teacher,teacher_encoder}'::text[]) name;
DROP OWNED BY apprentice;
DROP ROLE apprentice;
DROP TABLE reading;
