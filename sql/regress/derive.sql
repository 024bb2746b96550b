-- Models made of parts of others: derive_model.
\getenv srcdir PG_ABS_SRCDIR
\set encoder :srcdir '/models/fixtures/bert'
\set SHOW_CONTEXT errors
SET transformer.isa = 'ref';
SET client_min_messages = warning;

SELECT transformer.import_model('whole', :'encoder');
SELECT transformer.train_tokenizer('few_words', 'SELECT ''the baker opens the shop and the boat crossed the lake'' AS text FROM generate_series(1, 3)', vocab_size => 60);

-- Some layers, the same words
SELECT transformer.derive_model('whole', 'half', layers => '{1}');
SELECT h.parameters < w.parameters AS smaller, h.dimensions = w.dimensions AS as_wide
FROM transformer.models h, transformer.models w WHERE h.name = 'half' AND w.name = 'whole';
-- Other words; both
SELECT transformer.derive_model('whole', 'short', tokenizer => 'few_words');
SELECT transformer.tokens('the baker', 'short'), cardinality(transformer.embed('the baker', 'short')) > 0 AS embeds;
SELECT transformer.derive_model('whole', 'both', '{0}', 'few_words');
SELECT name, version, deployed, task FROM transformer.models WHERE name IN ('half', 'short', 'both') ORDER BY name;
-- All layers and the same words are the same model
SELECT transformer.derive_model('whole', 'same', layers => '{0,1}');
SELECT transformer.embed('the smell of bread', 'same') = transformer.embed('the smell of bread', 'whole') AS same;
-- It learns what the whole one says
SELECT model, loss < 0.5 AS near FROM transformer.distill('whole', 'both', 'SELECT ''the baker '' || i AS text FROM generate_series(1, 64) i', epochs => 3, learning_rate => 0.005);

SELECT transformer.derive_model('whole', 'wrong', layers => '{5}');
SELECT transformer.derive_model('whole', 'wrong', layers => '{1,0}');
SELECT transformer.derive_model('whole', 'wrong', layers => '{}');
SELECT transformer.derive_model('whole', 'wrong', layers => '{NULL}');
SELECT transformer.derive_model('whole', 'wrong', tokenizer => 'nothing');
SELECT transformer.derive_model('few_words', 'wrong', layers => '{0}');
SELECT transformer.derive_model('few_words', 'wrong', tokenizer => 'few_words');
SELECT transformer.derive_model(NULL, 'wrong');
SELECT transformer.derive_model('whole', NULL);
SELECT count(transformer.drop_model(name)) FROM unnest('{whole,few_words,half,short,both,same}'::text[]) name;
