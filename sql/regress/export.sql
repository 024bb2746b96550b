-- Export: what is written reads back as the same model; what exists is not touched; nothing is left of what failed.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf pgsql_tmp_export && mkdir pgsql_tmp_export && chmod 755 pgsql_tmp_export';
SELECT current_setting('data_directory') || '/pgsql_tmp_export' AS scratch \gset

-- Tensors of two models, one against the other.
CREATE VIEW tensors AS
SELECT name, version, count(*) AS n, string_agg(tensor || dtype || dims::text || chunks::text, '' ORDER BY tensor) AS content
FROM _transformer.tensor GROUP BY 1, 2;
CREATE FUNCTION same(a text, b text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s tensors, %s; vectors %s', x.n, CASE WHEN x.content = y.content THEN 'identical' ELSE 'different' END,
		CASE WHEN transformer.embed('A text.', a) = transformer.embed('A text.', b) THEN 'identical' ELSE 'different' END)
	FROM tensors x, tensors y WHERE x.name = a AND y.name = b $$;

SELECT arch, transformer.import_model('export_' || arch, :'fixtures' || '/' || arch)
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) arch;
SELECT transformer.import_model('export_q8_0', :'fixtures' || '/bert', quantization => 'q8_0');

-- Folders.
SELECT name, transformer.export_model(name, :'scratch' || '/' || name) > 0 AS written
FROM transformer.models WHERE name LIKE 'export%' AND quantization <> 'q8_0' ORDER BY name;
SELECT name, transformer.import_model('folder_' || name, :'scratch' || '/' || name)
FROM transformer.models WHERE name LIKE 'export%' AND quantization <> 'q8_0' ORDER BY name;
SELECT name, same(name, 'folder_' || name) FROM transformer.models
WHERE name LIKE 'export%' AND quantization <> 'q8_0' ORDER BY name;
SELECT count(*) > 5 AS files, bool_or(f = 'model.safetensors') AS safetensors, bool_or(f LIKE '%.tmp%') AS temporary
FROM pg_ls_dir(:'scratch' || '/export_bert') f;

-- GGUF.
SELECT name, transformer.export_model(name, :'scratch' || '/' || name || '.gguf') > 0 AS written
FROM transformer.models WHERE name IN ('export_bert', 'export_q8_0') ORDER BY name;
SELECT name, transformer.import_model('gguf_' || name, :'scratch' || '/' || name || '.gguf')
FROM transformer.models WHERE name IN ('export_bert', 'export_q8_0') ORDER BY name;
SELECT name, same(name, 'gguf_' || name) FROM transformer.models WHERE name IN ('export_bert', 'export_q8_0') ORDER BY name;
SELECT transformer.export_model('export_bert', :'scratch' || '/size.gguf') = size AS bytes
FROM pg_stat_file(:'scratch' || '/export_bert.gguf');

-- Never over something, never to somewhere that is not meant.
\set VERBOSITY sqlstate
SELECT transformer.export_model('export_bert', :'scratch' || '/export_bert.gguf');
SELECT transformer.export_model('export_bert', :'scratch' || '/export_bert');
SELECT transformer.export_model('export_bert', :'scratch' || '/no/such/folder/x.gguf');
SELECT transformer.export_model('export_bert', :'scratch' || '/no/such/folder/x');
\set VERBOSITY default
SELECT transformer.export_model('export_bert', 'relative.gguf');
SELECT transformer.export_model('no_such_model', '/tmp/x');

-- Broken off by a damaged model: no file under a temporary name.
SELECT count(*) AS before FROM pg_ls_dir(:'scratch') \gset
BEGIN;
UPDATE _transformer.chunk SET data = substr(data, 2)
WHERE digest = (SELECT chunks[1] FROM _transformer.tensor WHERE name = 'export_bert' ORDER BY seq DESC LIMIT 1);
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT transformer.export_model('export_bert', :'scratch' || '/late.gguf');
ROLLBACK TO s;
SELECT transformer.export_model('export_bert', :'scratch' || '/late');
\set VERBOSITY default
ROLLBACK;
SELECT count(*) = :before AS nothing_left FROM pg_ls_dir(:'scratch');

-- A tokenizer alone is a model too.
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_export && mkdir tokenizer && cp export_bert/tokenizer*.json tokenizer';
SELECT transformer.import_model('export_tokenizer', :'scratch' || '/tokenizer');
SELECT architecture, task, parameters, bytes, dimensions FROM transformer.models WHERE name = 'export_tokenizer';
SELECT transformer.tokenize('a text', 'export_tokenizer') = transformer.tokenize('a text', 'export_bert') AS same;
SELECT check_name, expected, actual, ok FROM transformer.verify_model('export_tokenizer');
SELECT transformer.import_model('export_other', :'fixtures' || '/bert', tokenizer => 'export_tokenizer');
SELECT transformer.embed('a text', 'export_tokenizer');

SELECT count(transformer.drop_model(name)) FROM _transformer.model WHERE name ~ '^(folder_|gguf_|)export';
DROP FUNCTION same;
DROP VIEW tensors;
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf pgsql_tmp_export';
