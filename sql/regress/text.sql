-- Texts and tokens: ids as the reference, array twins, chunks.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';

SELECT transformer.import_model('text_' || name, :'fixtures' || name)
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) name;

-- Ids of all texts of all fixtures, special tokens included (cut there, not here).
CREATE VIEW reference AS
SELECT name, t->>'text' AS body, ARRAY(SELECT jsonb_array_elements_text(t->'ids')::int) AS ids, (f->'max_tokens')::int AS max_tokens
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) name,
	LATERAL (SELECT pg_read_file(:'fixtures' || name || '/expected.json')::jsonb AS f) e,
	LATERAL jsonb_array_elements(f->'texts') t WHERE NOT t ? 'pair';
SELECT name, count(*) > 3 AS several,
	bool_and(transformer.tokenize(body, 'text_' || name) = ids)
		FILTER (WHERE transformer.token_count(body, 'text_' || name) <= max_tokens) AS equal
FROM reference GROUP BY name ORDER BY name;

SET transformer.embedding_model = 'text_bert';
SELECT transformer.tokenize('The smell of bread.');
SELECT transformer.tokenize('The smell of bread.', special => false);
SELECT transformer.tokens('The smell of bread.');
SELECT transformer.tokens('The smell of bread.', special => NULL);
SELECT transformer.token_count('The smell of bread.');
SELECT transformer.detokenize(transformer.tokenize('The smell of bread.'));
SELECT transformer.detokenize('{}'), transformer.tokenize(''), transformer.tokenize('', special => false);

-- Array twins: the order is kept, NULL gives NULL.
SELECT * FROM transformer.tokenize(ARRAY['bread', NULL, '', 'of']) WITH ORDINALITY;
SELECT transformer.tokens(ARRAY['bread', NULL, 'of'], special => false);
SELECT transformer.token_count(ARRAY['bread', NULL, 'of']);
SELECT count(*) FROM transformer.token_count('{}'::text[]);
SELECT count(*) FROM transformer.token_count(NULL::text[]);

-- NULL
SELECT transformer.tokenize(NULL::text) IS NULL AS a, transformer.tokens(NULL::text) IS NULL AS b,
	transformer.token_count(NULL::text) IS NULL AS c, transformer.detokenize(NULL) IS NULL AS d;

-- Errors
SELECT transformer.detokenize('{5,NULL}');
SELECT transformer.detokenize('{5,-1}');
SELECT transformer.detokenize('{5,1000000}');
SELECT transformer.tokenize('a', 'no_such_model');
SELECT transformer.tokenize('a', 'a@b@c');

-- Chunks: cut at spaces, then words, then tokens.
SELECT * FROM transformer.chunk('The smell of bread fills the street, and nobody sleeps.', 8);
SELECT * FROM transformer.chunk('The smell of bread fills the street, and nobody sleeps.', 8, 3);
SELECT seq, transformer.token_count(chunk) <= 6 AS fits, start, stop
FROM transformer.chunk('Größe  你好世界' || chr(10) || 'naïve', 6, 1);
SELECT count(*) FROM transformer.chunk('', 8);
SELECT count(*) FROM transformer.chunk(' ' || chr(9) || chr(10), 8);
SELECT count(*) FROM transformer.chunk(NULL, 8);

-- For any sizes and tokenizers: no piece is too long, each is what it says, and no word is lost.
WITH long AS (
	SELECT string_agg(body, ' ' ORDER BY name, body) AS body FROM reference
), sizes AS (
	SELECT model, max_tokens, overlap
	FROM unnest('{text_bert,text_mpnet,text_roberta,text_xlm-roberta}'::text[]) model,
		generate_series(7, 47, 10) max_tokens, unnest('{0,1,4}'::int[]) overlap
), pieces AS (
	SELECT s.*, c.*, body, lag(stop, 1, 0) OVER (PARTITION BY model, max_tokens, overlap ORDER BY seq) AS before
	FROM long, sizes s, transformer.chunk(body, max_tokens, overlap, model) c
)
SELECT model, bool_and(transformer.token_count(chunk, model) <= max_tokens) AS fits,
	bool_and(substr(body, start, stop - start + 1) = chunk) AS places,
	bool_and(start <= before OR substr(body, before + 1, start - before - 1) !~ '\S') AS complete,
	bool_and(start > before) FILTER (WHERE overlap = 0) AS disjoint
FROM pieces GROUP BY model ORDER BY model;

SELECT transformer.chunk('a', 2);
SELECT transformer.chunk('a', 8, 6);
SELECT transformer.chunk('a', 8, -1);
SELECT transformer.chunk('a', NULL);

-- What a long text needed is given back with the transaction.
SELECT transformer.token_count(repeat('hello ', 300000));
SELECT sum(total_bytes) < 8 * 1024 * 1024 AS is_little FROM pg_backend_memory_contexts WHERE name LIKE 'transformer%';

RESET transformer.embedding_model;
DROP VIEW reference;
SELECT transformer.drop_model(name) FROM transformer.models WHERE name LIKE 'text%' ORDER BY name;
