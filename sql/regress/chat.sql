-- Conversations: the model's own template, against the reference; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
\pset format unaligned
SET transformer.isa = 'ref';
SET transformer.kv_cache_type = 'f32';
SET search_path = public, transformer;

SELECT import_model('chat', :'fixtures' || 'generate/chat-llama'), import_model('chat_none', :'fixtures' || 'causal-llama');
CREATE TEMP TABLE talk AS
SELECT row_number() OVER ()::int AS id, c->'messages' AS messages, c->>'answer' AS answer, (e->>'tokens')::int AS tokens
FROM pg_read_file(:'fixtures' || 'generate/chat-llama/expected.json') f, LATERAL (SELECT f::jsonb AS e) e, jsonb_array_elements(e->'conversations') c;

SELECT count(*), bool_and(chat(messages, 'chat', tokens) = answer) AS answers FROM talk;
SELECT bool_and((SELECT string_agg(s, '' ORDER BY n) FROM (SELECT s, row_number() OVER () AS n FROM chat_stream(messages, 'chat', tokens) s) x) = answer) AS streams FROM talk;
SET transformer.generation_model = 'chat';
EXPLAIN (COSTS OFF) SELECT id, chat(messages) FROM talk;
EXPLAIN (COSTS OFF) SELECT s FROM chat_stream('[]') s LIMIT 3;
SELECT count(*) AS differ FROM (SELECT id, chat(messages, max_tokens => 9, temperature => 1, seed => id) AS a FROM talk) b WHERE a <> (SELECT chat(messages, max_tokens => 9, temperature => 1, seed => id) FROM talk t WHERE t.id = b.id OFFSET 0);
SELECT chat(NULL) IS NULL AS null, chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Yes or no?')), choices => '{yes,no}') IN ('yes', 'no') AS choices;
SELECT count(*) FROM chat_stream(NULL);

-- What is refused
SELECT chat('[{"role": "user", "content": "hello"}]', 'chat_none');
SELECT chat('{"role": "user", "content": "hello"}');
SELECT chat('[]');
SELECT chat('["hello"]');
SELECT chat('[{"content": "hello"}]');
SELECT chat('[{"role": "user"}]');
SELECT drop_model(name) FROM models WHERE name LIKE 'chat%' ORDER BY name;
