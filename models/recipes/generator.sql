-- generator: goes on with a text; a small decoder like Llama with a vocabulary of its own, from nothing: Shakespeare, articles of
-- Wikipedia, Chinese poems.
\set ON_ERROR_STOP on
SET client_min_messages = notice;

-- Documents: twelve speeches of a play; a section of an article, its names that WikiText has left out, and what it puts between
-- words, taken away; a poem with its title.
CREATE TABLE documents AS
WITH speeches AS (
	SELECT (n - 1) / 12 AS document, n, btrim(speech, E'\n') AS speech
	FROM regexp_split_to_table(pg_read_file(:'texts' || '/plays.txt'), E'\n\n+') WITH ORDINALITY s(speech, n)
), sections AS (
	SELECT btrim(regexp_replace(section, '(?n)^ +| +$|^ *\n', '', 'g'), E'\n') AS section
	FROM regexp_split_to_table(pg_read_file(:'texts' || '/articles.txt'), E'(?n)^(?= = )') section
), cleaned AS (
	SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(section, '(?n)^(= )+| =+( =)*$', '', 'g'),
		' @(.)@ ', '\1', 'g'), ' ?(<unk>|\( <unk> \))', '', 'g'), ' ([.,;:!?)]|''s|n''t)', '\1', 'g'), '\( ', '(', 'g') AS body
	FROM sections WHERE section ~ '\n'
), poems AS (
	SELECT p FROM unnest('{tang300,songci300,tang}'::text[]) file, jsonb_array_elements(pg_read_file(format('%s/%s.json', :'texts', file))::jsonb) p
)
SELECT body, ('x' || substr(md5(body), 1, 2))::bit(8)::int < 10 AS kept
FROM (SELECT string_agg(speech, E'\n\n' ORDER BY n) FROM speeches GROUP BY document
	UNION ALL SELECT body FROM cleaned
	UNION SELECT coalesce(p->>'title', p->>'rhythmic') || E'\n' || (SELECT string_agg(line, E'\n' ORDER BY n)
		FROM jsonb_array_elements_text(p->'paragraphs') WITH ORDINALITY l(line, n)) FROM poems) t(body)
WHERE length(body) > 0;
SELECT kept, count(*), sum(length(body)) AS characters FROM documents GROUP BY kept ORDER BY kept;

SELECT transformer.train_tokenizer('generator_words', 'SELECT body AS text FROM documents WHERE NOT kept ORDER BY md5(body)', 'bpe', 5120,
	'{"special_tokens": ["<s>", "<|endoftext|>"]}');
SELECT transformer.create_model('generator_start', '{"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 5,
	"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 512, "tie_word_embeddings": true,
	"bos_token_id": 0, "eos_token_id": 1}', 'generator_words', 1);
SELECT model, rows, tokens, steps, loss, eval_loss, seconds::int
FROM transformer.pretrain('generator_start', 'SELECT body AS text FROM documents WHERE NOT kept ORDER BY md5(body)', output => 'made_generator',
	epochs => 8, batch_size => 16, learning_rate => 0.002, schedule => 'cosine', weight_decay => 0.1, warmup => 0.05, seed => 1,
	eval_query => 'SELECT body AS text FROM documents WHERE kept ORDER BY md5(body)',
	options => '{"precision": "bf16", "dropout": 0.1, "beta2": 0.95, "quantization": "q8_0"}');
SELECT transformer.export_model('made_generator@1', :'out' || '/generator.gguf');
