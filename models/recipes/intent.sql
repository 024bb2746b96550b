-- intent: what a bank's customer wants, one of 77 intents (banking77); the encoder with a head.
\set ON_ERROR_STOP on
SET client_min_messages = notice;

SELECT transformer.import_model('intent_base', :'out' || '/encoder.gguf');
-- One row in ten is kept for evaluation
CREATE OR REPLACE VIEW intents AS
SELECT body AS text, category AS label, ('x' || substr(md5(body), 1, 2))::bit(8)::int < 26 AS kept FROM banking;

SELECT model, rows, tokens, steps, loss, eval_loss, metrics, seconds::int
FROM transformer.finetune('intent_base', 'SELECT text, label FROM intents WHERE NOT kept ORDER BY md5(text)', output => 'made_intent', epochs => 10,
	learning_rate => 0.0005, max_length => 128, seed => 1, eval_query => 'SELECT text, label FROM intents WHERE kept',
	options => '{"precision": "bf16", "quantization": "q8_0", "eval_steps": 1125}');
SELECT metric, round(value::numeric, 4) AS value
FROM transformer.evaluate('made_intent@1', 'SELECT text, label FROM intents WHERE kept') WHERE metric IN ('accuracy', 'f1', 'f1_macro', 'rows');
SELECT transformer.export_model('made_intent@1', :'out' || '/intent.gguf');
