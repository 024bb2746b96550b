-- generate, streams, how probable a text is: against what the reference writes; many calls at once; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
\pset format unaligned
SET transformer.isa = 'ref';
SET transformer.kv_cache_type = 'f32';
SET search_path = public, transformer;

SELECT generate('a');
SELECT count(import_model('write_' || name, :'fixtures' || 'causal-' || name)) FROM unnest('{llama,qwen2,mistral}'::text[]) name;
SELECT import_model('write_mask', :'fixtures' || 'mask-bert');
CREATE TEMP TABLE expected AS
SELECT replace(e->>'model', 'causal-', 'write_') AS model, (e->>'tokens')::int AS tokens, e->'prompts' AS prompts, e->'texts' AS texts
FROM jsonb_array_elements(pg_read_file(:'fixtures' || 'generate/expected.json')::jsonb) e;
CREATE TABLE write_prompt AS
SELECT row_number() OVER ()::int AS id, model, tokens, p->>'prompt' AS body, p->>'greedy' AS greedy, p->>'penalized' AS penalized
FROM expected, jsonb_array_elements(prompts) p;

-- The most probable tokens, as the reference has them; with a penalty
SELECT model, count(*), bool_and(generate(body, model, tokens) = greedy) AS greedy,
	bool_and(generate(body, model, tokens, repetition_penalty => 1.3) = penalized) AS penalized
FROM write_prompt GROUP BY model ORDER BY model;
-- as f16, too
SET transformer.kv_cache_type = 'f16';
SELECT count(*) AS differ FROM write_prompt WHERE generate(body, model, tokens) <> greedy;
SET transformer.kv_cache_type = 'f32';

-- The setting; NULL is the default of an argument, and of a prompt NULL
SET transformer.generation_model = 'write_llama';
SELECT generate('so six', max_tokens => 24) = greedy AS setting FROM write_prompt WHERE body = 'so six' AND model = 'write_llama';
SELECT generate('so six') = generate('so six', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) AS defaults,
	generate('so six', max_tokens => 60) = generate('so six', max_tokens => 60, temperature => 0, options => '{"beams": null, "speculative": false}') AS options,
	generate(NULL::text) IS NULL AS null, generate(NULL, 'no such model') IS NULL AS nothing_asked;

-- Arrays: in their order
SELECT array_agg(g ORDER BY n) = (SELECT array_agg(generate(body, 'write_qwen2', 8) ORDER BY id) FROM write_prompt) AS equal, count(*)
FROM generate((SELECT array_agg(body ORDER BY id) FROM write_prompt), 'write_qwen2', 8) WITH ORDINALITY g(g, n);
SELECT count(*), count(g) FROM generate(ARRAY['a', NULL, 'so six', NULL], max_tokens => 3) g;
SELECT count(*) FROM generate('{}'::text[]);
SELECT count(*) FROM generate(NULL::text[]);

-- Drawn at random: by a seed always the same
SELECT generate('a', temperature => 1, seed => 7, max_tokens => 20) = generate('a', temperature => 1, seed => 7, max_tokens => 20) AS same,
	generate('a', temperature => 1, seed => 7, max_tokens => 20) <> generate('a', temperature => 1, seed => 8, max_tokens => 20) AS other_seed,
	generate('a', temperature => 1.5, max_tokens => 20) <> generate('a', temperature => 1.5, max_tokens => 20) AS drawn,
	generate('a', temperature => 1, top_k => 1, max_tokens => 20) = generate('a', max_tokens => 20) AS top_1;

-- Where a text ends
SELECT token_count(generate('a', max_tokens => 5), 'write_llama') <= 6 AS max_tokens, position('H' in generate('so six', max_tokens => 24)) > 0 AS has,
	generate('so six', max_tokens => 24, stop => '{H}') = split_part(generate('so six', max_tokens => 24), 'H', 1) AS stop;

-- Streams: the same text in pieces, in a select list and in FROM
SELECT count(*), bool_and(streamed = generate(body, model, tokens)) AS equal, bool_and(listed = streamed) AS listed FROM (
	SELECT body, model, tokens, (SELECT string_agg(s, '' ORDER BY n) FROM (SELECT s, row_number() OVER () AS n FROM generate_stream(body, model, tokens) s) x) AS streamed,
		(SELECT string_agg(s, '' ORDER BY n) FROM (SELECT generate_stream(body, model, tokens) AS s, row_number() OVER () AS n) x) AS listed
	FROM write_prompt) y;
SELECT count(*) FROM generate_stream(NULL);
SELECT string_agg(s, '') = generate('a', max_tokens => 10, options => '{"beams": 3}') AS beams FROM generate_stream('a', max_tokens => 10, options => '{"beams": 3}') s;
EXPLAIN (COSTS OFF) SELECT s FROM generate_stream('a') s WHERE s <> '' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT t.id, s FROM write_prompt t, generate_stream('a', max_tokens => 2) s;
EXPLAIN (COSTS OFF) SELECT t.id, s FROM write_prompt t, LATERAL (SELECT s FROM generate_stream(t.body, t.model) s LIMIT 3) x;
EXPLAIN (COSTS OFF) SELECT * FROM generate_stream('a') WITH ORDINALITY s;
-- a scan gives its rows again
SELECT count(DISTINCT all_of) FROM (SELECT t.id, string_agg(s, '') AS all_of FROM write_prompt t, generate_stream('a', max_tokens => 8, temperature => 1) s GROUP BY t.id) x;
-- whoever stops asking stops the work: five tokens, and perhaps the prompt's
CREATE FUNCTION write_tokens(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := coalesce((SELECT sum(tokens) FROM transformer.stat_models WHERE model = 'write_llama@1'), 0);
BEGIN
	EXECUTE query;
	RETURN (SELECT sum(tokens) FROM transformer.stat_models WHERE model = 'write_llama@1') - before;
END $$;
SELECT write_tokens('SELECT * FROM transformer.generate_stream(''so six'', ''write_llama'', 50) LIMIT 5') < 15 AS from_stops,
	write_tokens('SELECT transformer.generate_stream(''so six'', ''write_llama'', 50) LIMIT 5') < 15 AS list_stops,
	write_tokens('SELECT * FROM transformer.generate_stream(''so six'', ''write_llama'', 50)') >= 50 AS whole;
BEGIN;
DECLARE pieces CURSOR FOR SELECT * FROM generate_stream('so six', max_tokens => 30);
FETCH 2 FROM pieces;
FETCH BACKWARD 1 FROM pieces;
SAVEPOINT here;
SELECT 1 / 0;
ROLLBACK TO here;
FETCH 2 FROM pieces;
CLOSE pieces;
DECLARE pieces CURSOR FOR SELECT generate_stream('so six', max_tokens => 30);
SAVEPOINT here;
FETCH 1 FROM pieces;
ROLLBACK TO here;
FETCH 1 FROM pieces;
SELECT generate('so six', max_tokens => 4);
COMMIT;
DO $$
DECLARE
	piece text;
	n int := 0;
BEGIN
	FOR piece IN SELECT s FROM transformer.generate_stream('so six', max_tokens => 50) s LOOP
		n := n + 1;
		EXIT WHEN n = 3;
	END LOOP;
	BEGIN
		FOR piece IN SELECT s || 1 / (3 - o) FROM (SELECT s, row_number() OVER () AS o FROM transformer.generate_stream('so six', max_tokens => 50) s) x LOOP
			n := n + 1;
		END LOOP;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE 'after % pieces', n;
	END;
END $$;

-- How probable a text is
SELECT model, count(*), bool_and(l.id = i.id::int) AS ids, bool_and(l.token = (tokens_of)[l.seq + 1] OR target IS NOT NULL) AS tokens,
	bool_and(l.logprob IS NOT DISTINCT FROM NULL AND i.logprob IS NULL OR abs(l.logprob - i.logprob::real) < 1e-3) AS logprobs
FROM (SELECT model, t->>'text' AS body, t->>'target' AS target, t->'ids' AS ids, t->'logprobs' AS logprobs FROM expected, jsonb_array_elements(texts) t) e,
	LATERAL tokens(body, model) tokens_of,
	LATERAL ROWS FROM (token_logprobs(body, model, target), jsonb_array_elements_text(ids), jsonb_array_elements_text(logprobs)) l(seq, token, id, logprob, expected_id, expected_logprob),
	LATERAL (SELECT expected_id AS id, expected_logprob AS logprob) i
GROUP BY model ORDER BY model;
SELECT abs(perplexity('so six') - exp(-avg(logprob))) < 1e-3 AS perplexity FROM token_logprobs('so six');
SELECT abs(perplexity('The smell of', target => ' bread') - exp(-avg(logprob))) < 1e-3 AS of_target FROM token_logprobs('The smell of', target => ' bread');
SELECT perplexity(NULL) IS NULL AS null, perplexity('') IS NULL AS empty, count(*) AS of_array, count(p) AS not_null FROM perplexity(ARRAY['so six', NULL, '']) p;
SELECT input, count(*) FROM token_logprobs(ARRAY['so six', NULL, 'a']) GROUP BY input ORDER BY input;
SELECT count(*) FROM token_logprobs(NULL::text);
SELECT metric, round(value::numeric, 3) FROM evaluate('write_llama', 'SELECT body AS text FROM write_prompt WHERE model = ''write_llama'' ORDER BY id');
SELECT metric, round(value::numeric, 3) FROM evaluate('write_llama', 'SELECT ''The smell of'' AS prompt, '' bread'' AS completion');
SELECT evaluate('write_llama', 'SELECT 1 AS number');
SELECT round(exp(sum(-logprob) / count(logprob))::numeric, 3) AS perplexity FROM write_prompt, token_logprobs(body) WHERE model = 'write_llama';

-- Many rows at once
EXPLAIN (COSTS OFF) UPDATE write_prompt SET body = generate('so ' || body, model);
EXPLAIN (COSTS OFF) SELECT id FROM write_prompt WHERE generate(body) > 'H' AND id % 2 = 0;
CREATE FUNCTION write_dear(int) RETURNS bool LANGUAGE plpgsql COST 1e9 AS 'BEGIN RETURN true; END';
EXPLAIN (COSTS OFF) SELECT id FROM write_prompt WHERE generate(body) > 'H' AND write_dear(id);
EXPLAIN (COSTS OFF) SELECT generate(body || random()) FROM write_prompt;
EXPLAIN (COSTS OFF) SELECT t.id, g FROM write_prompt t, generate(t.body) g;
CREATE TEMP TABLE written AS
SELECT t.id, generate(body, model, tokens) AS a, CASE WHEN t.id % 2 = 0 THEN generate(body, model, 3) END AS b, generate(generate(body, model, 2), max_tokens => 2) AS c, g,
	generate(body, model, 9, temperature => 1, seed => t.id) AS f
FROM write_prompt t, generate(body, max_tokens => 1 + t.id % 3) g;
SET transformer.batch = off;
SELECT count(*), (SELECT count(*) FROM (TABLE written EXCEPT ALL
	SELECT t.id, generate(body, model, tokens), CASE WHEN t.id % 2 = 0 THEN generate(body, model, 3) END, generate(generate(body, model, 2), max_tokens => 2), g,
		generate(body, model, 9, temperature => 1, seed => t.id)
	FROM write_prompt t, generate(body, max_tokens => 1 + t.id % 3) g) x) AS differ FROM written;
EXPLAIN (COSTS OFF) SELECT s FROM generate_stream('a') s LIMIT 3;
RESET transformer.batch;
-- equal calls are one where they give the same, and stay apart where they draw
CREATE FUNCTION write_texts(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'Batches:' THEN
			RETURN substring(line from 'Batches: .* Texts: \d+');
		END IF;
	END LOOP;
END $$;
SELECT write_texts('SELECT transformer.generate(''a'', max_tokens => 2) FROM generate_series(1, 100)') AS greedy,
	write_texts('SELECT transformer.generate(''a'', max_tokens => 2, temperature => 1, seed => 1) FROM generate_series(1, 100)') AS seeded,
	write_texts('SELECT transformer.generate(''a'', max_tokens => 2, temperature => 1) FROM generate_series(1, 100)') AS drawn,
	write_texts('SELECT g FROM generate_series(1, 100) i, transformer.generate(''a'' || i % 2, max_tokens => 2, temperature => 1) g') AS ahead;
SELECT count(DISTINCT a || '|' || b) > 20 AS differ FROM generate_series(1, 100) i,
	ROWS FROM (generate('a' || i * 0, max_tokens => 5, temperature => 1.5), generate('a' || i * 0, max_tokens => 5, temperature => 1.5)) r(a, b) WHERE a <> b;
SELECT write_texts('SELECT transformer.generate(''a'' || i, max_tokens => 2) FROM generate_series(1, 100) i LIMIT 3') AS limited;

-- in parallel the leader writes
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM write_prompt WHERE generate(body) > 'H';
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- What is refused
SELECT generate('a', 'write_mask');
SELECT generate('a', max_tokens => 0);
SELECT generate('a', temperature => -1);
SELECT generate('a', top_p => 2);
SELECT generate('a', repetition_penalty => 0);
SELECT generate(repeat('a', 1000));
SELECT generate('a', options => '{"beam": 1}');
SELECT generate('a', options => '{"beams": 1.5}');
SELECT generate('a', options => '{"presence_penalty": "much"}');
SELECT generate('a', options => '{"speculative": 1}');
SELECT generate('a', options => '[]');
SELECT generate('a', stop => '{a,NULL}');
SELECT generate('a', choices => '{}');
SELECT generate('a', choices => '{a,b}', grammar => 'root ::= "a"');
SELECT generate(body, model => 'none') FROM write_prompt;
SELECT * FROM generate_stream('a', max_tokens => 0);
-- the session goes on
SELECT generate('so six', max_tokens => 24) = greedy AS as_before FROM write_prompt WHERE body = 'so six' AND model = 'write_llama';

-- Memory for keys and values
SET transformer.max_kv_cache = '2MB';
SET transformer.kv_cache = '4MB';
SET transformer.kv_cache = '2MB';
SET transformer.kv_cache_type = 'int4';
SET transformer.kv_cache_type = 'q8_0';
SELECT generate('so six', max_tokens => 24) IS NOT NULL AS q8_0;
-- set before the library is there
\connect
SET transformer.kv_cache = '2MB';
LOAD 'transformer';
SHOW transformer.kv_cache;
SET transformer.isa = 'ref';
SET search_path = public, transformer;

-- Who may
CREATE ROLE regress_transformer_writer;
SET ROLE regress_transformer_writer;
SELECT generate('a', 'write_llama');
SELECT * FROM generate_stream('a', 'write_llama');
SELECT perplexity('a b', 'write_llama');
RESET ROLE;
DROP ROLE regress_transformer_writer;

DROP TABLE write_prompt;
DROP FUNCTION write_tokens(text), write_texts(text), write_dear(int);
SELECT drop_model(name) FROM models WHERE name LIKE 'write\_%' ORDER BY name;
