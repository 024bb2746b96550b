-- encoder: a sentence encoder for English with a vocabulary of its own; two layers of all-MiniLM-L6-v2, taught by the whole.
\set ON_ERROR_STOP on
SET client_min_messages = notice;

SELECT transformer.train_tokenizer('encoder_words', 'SELECT body AS text FROM english ORDER BY md5(body)', vocab_size => 12000);
SELECT transformer.derive_model('teacher', 'made_encoder', layers => '{0,5}', tokenizer => 'encoder_words');
SELECT model, rows, tokens, steps, loss, seconds::int
FROM transformer.distill('teacher', 'made_encoder', 'SELECT body AS text FROM english ORDER BY md5(body)', epochs => 2, batch_size => 32,
	learning_rate => 0.0006, max_length => 128, seed => 1, options => '{"precision": "bf16", "quantization": "q8_0"}');

-- How near to what people say: rows that nothing was learned from
SELECT m AS model, metric, round(value::numeric, 4) AS value
FROM unnest('{teacher,made_encoder@1,made_encoder@2}'::text[]) m,
	LATERAL transformer.evaluate(m, 'SELECT first AS text, second AS text_pair, score FROM sts_dev') WHERE metric ~ 'spearman';
SELECT transformer.export_model('made_encoder@2', :'out' || '/encoder.gguf');
