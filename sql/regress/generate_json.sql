-- Texts that must be of a form: choices, grammars, JSON schemas, types.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
\pset format unaligned
SET transformer.isa = 'ref';
SET search_path = public, transformer;

SELECT count(import_model('write_' || name, :'fixtures' || 'causal-' || name)) FROM unnest('{llama,qwen2,mistral}'::text[]) name;
-- One with room for long texts, of which it knows nothing
SELECT create_model('write_long', '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
	"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024, "vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1}', 'write_llama', seed => 3);
SET transformer.generation_model = 'write_llama';
CREATE TABLE write_prompt AS
SELECT row_number() OVER ()::int AS id, 'write_' || name AS model, body FROM unnest('{llama,qwen2,mistral}'::text[]) name, unnest('{The smell of bread,a,so six,""}'::text[]) body;

-- What a text must be
SELECT generate('a', choices => '{yes,no,perhaps}') = ANY ('{yes,no,perhaps}') AS choices,
	generate('a', grammar => 'root ::= [a-c]+ "." [0-9] [0-9]', max_tokens => 12) ~ '^[a-c]+\.[0-9][0-9]$' AS grammar,
	generate('a', json_schema => '{"type": "array", "items": {"type": "boolean"}}', max_tokens => 30)::jsonb IS NOT NULL AS json_schema;
SELECT bool_and(jsonb_typeof(j) = 'object' AND jsonb_typeof(j->'name') = 'string' AND j->>'kind' IN ('a', 'b')) AS valid, count(*)
FROM (SELECT generate_json(body, '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "kind": {"enum": ["a", "b"]}},
	"required": ["name", "kind"], "additionalProperties": false}', model, 50, temperature => 1.2) AS j FROM write_prompt) x;
SELECT generate_json('a', NULL);
SELECT generate_json(NULL, NULL) IS NULL AS null;

-- Values of types
CREATE TYPE write_mood AS ENUM ('sad', 'glad', 'neither');
CREATE DOMAIN write_count AS int CHECK (value > -2147483648);
CREATE TYPE write_part AS (code varchar(3), at date);
CREATE TYPE write_thing AS (name text, mood write_mood, n int2, big int8, sure bool, amount numeric, ratio float8, day date, moment timestamp,
	id uuid, extra jsonb, parts write_part[], one write_part, many write_count[], note char(2));
SELECT generate_as('a', NULL::write_mood) IS NOT NULL AS enum, generate_as('a', NULL::bool) IS NOT NULL AS bool, generate_as('a', NULL::int2) IS NOT NULL AS int2,
	generate_as('a', NULL::int) IS NOT NULL AS int4, generate_as('a', NULL::int8) IS NOT NULL AS int8, generate_as('a', NULL::text, max_tokens => 12) IS NOT NULL AS text,
	generate_as('a', NULL::numeric, max_tokens => 8) IS NOT NULL AS numeric, generate_as('a', NULL::date) IS NOT NULL AS date, generate_as('a', NULL::uuid, 'write_long', 50) IS NOT NULL AS uuid,
	generate_as('a', NULL::int[], max_tokens => 12) IS NOT NULL AS array, generate_as('a', NULL::write_count) IS NOT NULL AS domain;
SELECT max(length(generate_as(body, NULL::varchar(3), temperature => 1, seed => id))) <= 3 AS batch, length(generate_as('a', NULL::varchar(3))) <= 3 AS alone FROM write_prompt;
SELECT count(*), bool_and((t).name IS NOT NULL AND (t).mood IS NOT NULL AND (t).day IS NOT NULL AND (t).extra IS NOT NULL AND (t).one IS NOT NULL) AS whole
FROM (SELECT generate_as(body, NULL::write_thing, 'write_long', 600, temperature => 1, seed => id) AS t FROM write_prompt WHERE id <= 4) x;
SELECT pg_typeof(generate_as('a', NULL::write_thing, 'write_long', 600)), pg_typeof(generate_as('a', NULL::write_count));
SELECT generate_as('a', NULL::point);
SELECT generate_as('a', NULL::int4range);
SELECT generate_as('a', ROW(1, NULL::inet));
SELECT generate_as(NULL, NULL::int) IS NULL AS null;
ALTER TYPE write_part DROP ATTRIBUTE code;
SELECT (t).at IS NOT NULL AS at FROM (SELECT generate_as('a', NULL::write_part, 'write_long', 60) AS t) x;

-- Many rows at once, as one by one
CREATE TEMP TABLE written AS
SELECT id, generate_as(body, NULL::write_mood, model) AS a, generate_json(body, '{"type": "integer", "minimum": 0, "maximum": 99}', model) AS b,
	generate(body, model, 9, temperature => 1, seed => id, choices => '{one,two,three,four}') AS c
FROM write_prompt;
EXPLAIN (COSTS OFF) SELECT generate_as(body, NULL::write_mood, model), generate_json(body, '{"type": "integer"}') FROM write_prompt;
SET transformer.batch = off;
SELECT count(*), (SELECT count(*) FROM (TABLE written EXCEPT ALL
	SELECT id, generate_as(body, NULL::write_mood, model), generate_json(body, '{"type": "integer", "minimum": 0, "maximum": 99}', model),
		generate(body, model, 9, temperature => 1, seed => id, choices => '{one,two,three,four}') FROM write_prompt) x) AS differ FROM written;
RESET transformer.batch;

-- What is refused
SELECT generate('a', grammar => 'root ::= nothing');
SELECT generate('a', json_schema => '{"type": "number", "no such keyword": 1}', max_tokens => 3);
SELECT generate_json('a', '{"type": "string", "minLength": 100}', max_tokens => 5);

DROP TABLE write_prompt, written;
DROP TYPE write_thing, write_part, write_mood;
DROP DOMAIN write_count;
SELECT drop_model(name) FROM models WHERE name LIKE 'write\_%' ORDER BY name;
