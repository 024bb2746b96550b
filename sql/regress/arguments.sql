-- Arguments that cannot be: NULL for a name, labels that are none, arrays of more than one dimension.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures/'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
SELECT transformer.import_model('arguments_' || name, :'fixtures' || name)
FROM unnest('{bert,classify-bert,token-bert,mask-bert,answer-bert}'::text[]) name;
SET transformer.embedding_model = 'arguments_bert';
SET transformer.rerank_model = 'arguments_bert';
SET transformer.zero_shot_model = 'arguments_bert';
SET transformer.classification_model = 'arguments_classify-bert';
SET transformer.sentiment_model = 'arguments_classify-bert';
SET transformer.intent_model = 'arguments_classify-bert';
SET transformer.entity_model = 'arguments_token-bert';
SET transformer.mask_model = 'arguments_mask-bert';
SET transformer.answer_model = 'arguments_answer-bert';

-- Run a call that fails; its error in one line.
CREATE FUNCTION refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT transformer.' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END$$;

-- Functions on models do not pass over a NULL
\pset format unaligned
\pset tuples_only on
SELECT call || ': ' || refusal(call) FROM unnest(ARRAY[
	'drop_model(NULL)', 'drop_model(''no_such_model'', NULL)', 'rename_model(NULL, ''x'')', 'rename_model(''x'', NULL)',
	'deploy_model(NULL)', 'grant_model(NULL, ''public'')', 'grant_model(''x'', NULL)', 'revoke_model(NULL, ''public'')',
	'revoke_model(''x'', NULL)', 'copy_model(NULL, ''x'')', 'copy_model(''x'', NULL)', 'export_model(NULL, ''/x'')',
	'export_model(''x'', NULL)', 'load_model(NULL)', 'unload_model(NULL)', 'verify_model(NULL)']) call;
-- but as with the server's own, nobody knows whether one has a privilege on it.
SELECT transformer.has_model_privilege(NULL) IS NULL, transformer.has_model_privilege(NULL, 'x') IS NULL;
-- Nothing else is strict that takes a name.
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'transformer'::regnamespace AND p.proisstrict ORDER BY p.oid::regprocedure::text;

-- Labels, at import and for a text
SELECT labels || ': ' || refusal(format('import_model(''arguments_x'', %L, labels => %L)', :'fixtures' || 'classify-bert', labels))
FROM unnest('{"{}","{a,NULL,c}","{a,\"\",c}","{a,\"  \",c}","{a,b,a}","{{a,b},{c,d}}"}'::text[]) labels;
-- (tags of tokens may be one)
SELECT refusal(format('import_model(''arguments_x'', %L, labels => ''{O,X,X,Y,Y}'')', :'fixtures' || 'token-bert'));
SELECT labels || ': ' || refusal(format('zero_shot(''bread'', %L)', labels))
FROM unnest('{"{}","{a,NULL,c}","{a,\"\",c}","{a,\"  \",c}","{a,b,a}","{{a,b},{c,d}}"}'::text[]) labels;
SELECT refusal($$zero_shot('bread', ARRAY['a', repeat('ü', 1001)])$$);
SELECT count(*) FROM transformer.zero_shot('bread', ARRAY['a', repeat('ü', 1000)]);
SELECT refusal($$zero_shot('bread', ARRAY(SELECT i::text FROM generate_series(0, 65536) i))$$);
SELECT refusal($$zero_shot('{bread,butter}'::text[], ARRAY['a', 'a'])$$);
SELECT refusal($$zero_shot('bread', NULL)$$);

-- Arrays of more than one dimension
SELECT call || ': ' || refusal(replace(call, '{{', $${{a,b},{c,d}}'::text[]$$))
FROM unnest(ARRAY[
	$$tokenize('{{)$$, $$tokens('{{)$$, $$token_count('{{)$$, $$embed('{{)$$, $$embed_pinned('{{, 'arguments_bert@1')$$,
	$$classify('{{)$$, $$classify_scores('{{)$$, $$classify_pinned('{{, 'arguments_classify-bert@1')$$, $$sentiment('{{)$$,
	$$sentiment_score('{{)$$, $$intent('{{)$$, $$rerank('q', '{{)$$, $$zero_shot('{{, '{a}')$$, $$entities('{{)$$, $$fill_mask('{{)$$,
	$$answer('q', '{{)$$]) call;
SELECT call || ': ' || refusal(call)
FROM unnest(ARRAY[$$detokenize('{{5,6},{7,8}}')$$, $$cosine_distance('{{1,2}}', '{1,2}')$$, $$inner_product('{1,2}', '{{1,2}}')$$]) call;
-- Arrays that begin elsewhere are of one dimension.
SELECT count(*) FROM transformer.embed('[3:4]={a,b}'::text[]);
-- A model for something else: what it is for, what is wanted, what takes it. Only its tokenizer is for all.
SELECT call || ' by ' || model || ': ' || refusal(replace(call, '$', format('model => %L', 'arguments_' || model)))
FROM unnest('{bert,classify-bert,token-bert,mask-bert,answer-bert}'::text[]) model,
	unnest(ARRAY[$$embed('a', $)$$, $$classify('a', $)$$, $$sentiment('a', $)$$, $$intent('{a}'::text[], $)$$, $$rerank('a', 'b', $)$$,
		$$zero_shot('a', '{a}', $)$$, $$entities('a', $)$$, $$fill_mask('a [MASK]', $)$$, $$answer('a', 'b', $)$$, $$token_count('a', $)$$]) call;
\pset tuples_only off
\pset format aligned

DROP FUNCTION refusal(text);
SELECT count(transformer.drop_model(name)) FROM transformer.models WHERE name LIKE 'arguments%';
