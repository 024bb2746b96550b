-- Tokenizers that are learned from a query.

\set SHOW_CONTEXT errors
CREATE TEMP TABLE line (id int, text text);
INSERT INTO line SELECT i, format('%s %s %s the %s %s, %s',
	(ARRAY['Yesterday', 'Tomorrow', 'Today', 'Often', 'Seldom'])[1 + i % 5],
	(ARRAY['the baker', 'a gardener', 'our neighbour', 'the postman', 'a sailor', 'her teacher', 'Zoë'])[1 + i % 7],
	(ARRAY['carries', 'repairs', 'paints', 'forgets', 'borrows', 'returns'])[1 + i % 6],
	(ARRAY['old', 'painted', 'broken', 'wooden', 'smallest', 'newest', 'borrowed', 'gardening'])[1 + i % 8],
	(ARRAY['ladder', 'boat', 'letter', 'kettle', 'bicycle', 'window', 'basket', 'umbrella', 'tools'])[1 + i % 9],
	(ARRAY['as before.', 'unwillingly!', '我们都知道。', 'is it not?'])[1 + i % 4])
FROM generate_series(0, 499) i;
CREATE TEMP VIEW tokenizers AS SELECT * FROM transformer.models WHERE name LIKE 'tok\_%';

-- the kinds
SELECT transformer.train_tokenizer('tok_words', 'SELECT text FROM line', vocab_size => 200);
SELECT transformer.train_tokenizer('tok_bytes', 'SELECT text FROM line', 'bpe', 400);
SELECT transformer.train_tokenizer('tok_pieces', 'SELECT text FROM line', 'unigram', 100);
SELECT name, version, deployed, architecture, task, bytes FROM tokenizers ORDER BY name;
SELECT transformer.tokens('Tomorrow the gardener paints wooden boats, 我们', name) FROM tokenizers ORDER BY name;
SELECT transformer.tokens('Zoë [MASK] unknown ☃', name) FROM tokenizers ORDER BY name;
SELECT name, transformer.detokenize(transformer.tokenize('Our neighbour repairs a basket.', name), name) FROM tokenizers ORDER BY name;
SELECT name, count(*) FROM tokenizers, line WHERE transformer.detokenize(transformer.tokenize(text, name, special => false), name) = text
GROUP BY name ORDER BY name;

-- neither the order of rows nor the name of the column matters
SELECT transformer.train_tokenizer('tok_again', 'SELECT id, text AS body FROM line ORDER BY md5(text)', 'unigram', 100);
SELECT count(*) FROM line WHERE transformer.tokenize(text, 'tok_again') <> transformer.tokenize(text, 'tok_pieces');

-- options
SELECT transformer.train_tokenizer('tok_words', 'TABLE line', 'wordpiece', 200, '{"lowercase": false, "special_tokens": ["<unk>"], "continuing_prefix": "@"}');
SELECT transformer.tokens('Tomorrow THE gardener', 'tok_words@2');
SELECT transformer.train_tokenizer('tok_roberta', 'SELECT text FROM line', 'bpe', 300, '{"special_tokens": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "lowercase": true}');
SELECT transformer.tokens('Tomorrow a <mask>', 'tok_roberta');
SELECT transformer.train_tokenizer('tok_t5', $$VALUES ('one word'), ('another word'), ('words')$$, 'unigram', 60, '{"special_tokens": ["<pad>", "</s>", "<unk>"]}');
SELECT transformer.tokens('word', 'tok_t5');
SELECT transformer.train_tokenizer('tok_llama', 'SELECT text FROM line', 'bpe', 300, '{"special_tokens": ["<s>", "<|endoftext|>"]}');
SELECT transformer.tokens('Tomorrow', 'tok_llama');

-- any SELECT will do
SELECT transformer.train_tokenizer('tok_more', format('WITH l AS (SELECT text FROM line WHERE id < %s) SELECT upper(text) AS text FROM l', 100), 'bpe', 300);

-- errors: what is asked for
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'sentencepiece');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'bpe', 256);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'wordpiece', 20);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'unigram', 20);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'unigram', 0);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', 'bpe', 2000000);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"lower": true}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"seed_size": 100}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"lowercase": 1}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"min_frequency": -1}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"special_tokens": ["[PAD]"]}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '{"special_tokens": ["[UNK]", "[UNK]"]}');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', options => '[]');
SELECT transformer.train_tokenizer('tok bad@', 'SELECT text FROM line');
SELECT transformer.train_tokenizer(NULL, 'SELECT text FROM line');
SELECT transformer.train_tokenizer('tok_bad', NULL);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', NULL);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line', vocab_size => NULL);

-- errors: the query
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line WHERE false');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT nullif(text, (SELECT text FROM line WHERE id = 41)) AS text FROM line ORDER BY id');
SELECT transformer.train_tokenizer('tok_bad', $$SELECT ''$$);
SELECT transformer.train_tokenizer('tok_bad', $$SELECT 'a', 'b'$$);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text, text FROM line');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT id FROM line');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM missing');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT 1 / (100 - id), text FROM line ORDER BY id');
SELECT transformer.train_tokenizer('tok_bad', $$INSERT INTO line VALUES (-1, 'x') RETURNING text$$);
SELECT transformer.train_tokenizer('tok_bad', $$WITH i AS (INSERT INTO line VALUES (-1, 'x') RETURNING text) SELECT text FROM i$$);
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line FOR UPDATE');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM (SELECT text FROM line FOR SHARE) l');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text INTO other FROM line');
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line; SELECT text FROM line');
SELECT transformer.train_tokenizer('tok_bad', 'EXPLAIN SELECT text FROM line');
SELECT transformer.train_tokenizer('tok_bad', '');
BEGIN READ ONLY;
SELECT transformer.train_tokenizer('tok_bad', 'SELECT text FROM line');
ROLLBACK;

-- with the rights of the caller, and none for everybody
CREATE ROLE regress_tokenizer;
SET ROLE regress_tokenizer;
SELECT transformer.train_tokenizer('tok_bad', 'SELECT 1::text');
RESET ROLE;
GRANT EXECUTE ON FUNCTION transformer.train_tokenizer TO regress_tokenizer;
SET ROLE regress_tokenizer;
SELECT transformer.train_tokenizer('tok_bad', 'SELECT rolpassword AS text FROM pg_authid');
SELECT transformer.train_tokenizer('tok_words', $$VALUES ('a')$$);
SELECT transformer.train_tokenizer('tok_mine', $$VALUES ('one'), ('once'), ('on')$$, 'unigram', 12);
RESET ROLE;
SELECT owner FROM tokenizers WHERE name = 'tok_mine';

-- what is cancelled leaves nothing
\set SHOW_CONTEXT never
SET statement_timeout = '100ms';
SELECT transformer.train_tokenizer('tok_bad', $$SELECT repeat(md5(i::text), 10) AS text FROM generate_series(1, 1000000000) i$$);
RESET statement_timeout;
-- nor does what has too little memory
SET transformer.session_memory = '10MB';
SELECT transformer.train_tokenizer('tok_bad', $$SELECT md5(i::text) AS text FROM generate_series(1, 1000000) i$$);
RESET transformer.session_memory;
SELECT name, version FROM tokenizers WHERE name = 'tok_bad';

SELECT transformer.drop_model(name) FROM tokenizers GROUP BY name ORDER BY name;
DROP OWNED BY regress_tokenizer;
DROP ROLE regress_tokenizer;
