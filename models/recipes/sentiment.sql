-- sentiment: positive or negative, English (film reviews, SST-2) and Chinese (takeaway reviews, waimai); four layers of
-- all-MiniLM-L6-v2 that read by a vocabulary of both.
\set ON_ERROR_STOP on
SET client_min_messages = notice;

-- Whole sentences are those that are part of no other row.  One in ten is kept, and with it all rows that are parts of it.
CREATE TABLE sentences AS
SELECT btrim(sentence) AS body, CASE label WHEN '1' THEN 'positive' ELSE 'negative' END AS label FROM sst WHERE length(btrim(sentence)) > 2;
CREATE TABLE kept AS
SELECT body, label FROM sentences s
WHERE length(body) > 60 AND ('x' || substr(md5(body), 1, 2))::bit(8)::int < 18
	AND NOT EXISTS (SELECT FROM sentences o WHERE length(o.body) > length(s.body) AND strpos(o.body, s.body) > 0);
CREATE TABLE reviews AS
SELECT body AS text, label FROM sentences s
WHERE NOT EXISTS (SELECT FROM kept k WHERE strpos(k.body, s.body) > 0)
UNION ALL
SELECT review, CASE label WHEN '1' THEN 'positive' ELSE 'negative' END FROM waimai
WHERE length(review) > 0 AND ('x' || substr(md5(review), 1, 2))::bit(8)::int >= 26;
CREATE TABLE kept_chinese AS
SELECT review AS text, CASE label WHEN '1' THEN 'positive' ELSE 'negative' END AS label FROM waimai
WHERE length(review) > 0 AND ('x' || substr(md5(review), 1, 2))::bit(8)::int < 26;
SELECT (SELECT count(*) FROM reviews) AS learned_from, (SELECT count(*) FROM kept) AS kept_english, (SELECT count(*) FROM kept_chinese) AS kept_chinese;

SELECT transformer.train_tokenizer('sentiment_words', 'SELECT text FROM reviews ORDER BY md5(text)', vocab_size => 14000);
SELECT transformer.derive_model('teacher', 'sentiment_base', layers => '{0,2,4,5}', tokenizer => 'sentiment_words');
SELECT model, rows, tokens, steps, loss, eval_loss, metrics, seconds::int
FROM transformer.finetune('sentiment_base', 'SELECT text, label FROM reviews ORDER BY md5(text)', output => 'made_sentiment', epochs => 2,
	learning_rate => 0.0002, max_length => 128, seed => 1, eval_query => 'SELECT body AS text, label FROM kept UNION ALL TABLE kept_chinese',
	options => '{"precision": "bf16", "quantization": "q8_0"}');
SELECT 'English' AS language, metric, round(value::numeric, 4) AS value
FROM transformer.evaluate('made_sentiment@1', 'SELECT body AS text, label FROM kept') WHERE metric IN ('accuracy', 'rows')
UNION ALL
SELECT 'Chinese', metric, round(value::numeric, 4)
FROM transformer.evaluate('made_sentiment@1', 'TABLE kept_chinese') WHERE metric IN ('accuracy', 'rows');
SELECT transformer.export_model('made_sentiment@1', :'out' || '/sentiment.gguf');
