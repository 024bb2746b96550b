-- Import: arguments, storage, conversion; large objects and tar archives; what goes wrong, and says so.
\getenv srcdir PG_ABS_SRCDIR
\set fixtures :srcdir '/models/fixtures'
\set bert :fixtures '/bert'
\set SHOW_CONTEXT never
SET transformer.isa = 'ref';

-- Run a statement that fails; its error without the paths of this machine.
CREATE FUNCTION failure(sql text, folder text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	EXECUTE sql;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
		context = PG_EXCEPTION_CONTEXT;
	context = (regexp_match(context, '^while [^\n]*'))[1];
	RETURN replace(replace(concat_ws(E'\n', SQLSTATE || ': ' || message, 'detail: ' || nullif(detail, ''),
		'hint: ' || nullif(hint, ''), 'context: ' || context), folder, '...'), current_setting('data_directory'), '...');
END$$;

-- Arguments.
SELECT transformer.import_model(NULL, '/x');
SELECT transformer.import_model('import_a', NULL::text);
SELECT transformer.import_model('import_a', NULL::oid);
SELECT transformer.import_model('import_a', '/x', storage => 'tape');
SELECT transformer.import_model('import_a', '/x', storage => NULL);
SELECT transformer.import_model('import_a@2', '/x');
SELECT transformer.import_model('import_a', 'relative/path');
SELECT transformer.import_model('import_a', '/no/such/path');
SELECT transformer.import_model('import_a', '/dev/null');
SELECT transformer.import_model('import_a', 4711::oid);
SELECT transformer.import_model('import_a', 4711::oid, storage => 'file');
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L, quantization => ''q9_9'')', :'bert'), :'fixtures');
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L, labels => ''{a,NULL}'')', :'bert'), :'fixtures');
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L, tokenizer => ''no_such_model'')', :'bert'), :'fixtures');
SELECT regexp_replace(failure(format('SELECT transformer.import_model(''import_a'', %L)', :'bert' || '/1_Pooling'), :'fixtures'),
	'there are [^\n]*', 'there are others') AS failure;
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L)', :'bert' || '/config.json'), :'fixtures');

-- Every architecture, with its reference vectors.
SELECT arch, transformer.import_model('import_' || arch, :'fixtures' || '/' || arch)
FROM unnest('{bert,distilbert,mpnet,roberta,xlm-roberta}'::text[]) arch;
SELECT name, architecture, task, quantization, parameters, bytes = 4 * parameters AS f32, dimensions, context_length
FROM transformer.models WHERE name LIKE 'import%' ORDER BY 1;
SELECT name, v.check_name, v.ok FROM transformer.models, transformer.verify_model(name) v
WHERE name LIKE 'import%' AND NOT (ok AND check_name LIKE 'reference%') ORDER BY name, check_name;

-- Conversion: fewer bytes, nearly the same vectors.
SELECT transformer.import_model('import_' || q, :'bert', quantization => q) FROM unnest('{f16,bf16,q8_0,q4_0}'::text[]) q;
SELECT name, quantization, bytes < (SELECT bytes FROM transformer.models WHERE name = 'import_bert') AS smaller,
	1 - transformer.cosine_distance(transformer.embed('some text', name), transformer.embed('some text', 'import_bert')) > 0.9 AS near
FROM transformer.models WHERE name IN ('import_f16', 'import_bf16', 'import_q8_0', 'import_q4_0') ORDER BY 1;

-- In the file: no chunks but the tokenizer's, the same digest, the same image.
SELECT transformer.import_model('import_file', :'bert', storage => 'file');
SELECT a.digest = b.digest AS same, b.storage, b.file_size > 0 AS size, b.path LIKE '/%/models/fixtures/bert' AS path
FROM _transformer.version a, _transformer.version b WHERE a.name = 'import_bert' AND b.name = 'import_file';
SELECT check_name, ok FROM transformer.verify_model('import_file') WHERE check_name IN ('chunks', 'digest');
SELECT transformer.embed('some text', 'import_file') = transformer.embed('some text', 'import_bert') AS same;
SELECT transformer.import_model('import_file8', :'bert', storage => 'file', quantization => 'q8_0');
SELECT a.digest = b.digest AS same, b.conversion FROM _transformer.version a, _transformer.version b
WHERE a.name = 'import_q8_0' AND b.name = 'import_file8';
SELECT check_name, ok FROM transformer.verify_model('import_file8') WHERE check_name IN ('chunks', 'digest');

-- A file that is changed afterwards is an error, not another model.
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf pgsql_tmp_regress && mkdir pgsql_tmp_regress';
SELECT current_setting('data_directory') || '/pgsql_tmp_regress' AS scratch \gset
SELECT transformer.export_model('import_bert', :'scratch' || '/model.gguf') > 0 AS exported;
SELECT transformer.import_model('import_changed', :'scratch' || '/model.gguf', storage => 'file');
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress && printf XXXX | dd of=model.gguf bs=1 seek=$(($(wc -c < model.gguf) - 100)) conv=notrunc 2>/dev/null';
SELECT check_name, expected - actual AS missing FROM transformer.verify_model('import_changed') WHERE NOT ok;
SELECT failure('SELECT transformer.export_model(''import_changed'', current_setting(''data_directory'') || ''/pgsql_tmp_regress/again'')', :'fixtures');
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress && printf X >> model.gguf';
SELECT failure('SELECT * FROM transformer.verify_model(''import_changed'')', :'fixtures');
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress && rm model.gguf';
SELECT failure('SELECT * FROM transformer.verify_model(''import_changed'')', :'fixtures');
SELECT pg_ls_dir(:'scratch');
SELECT transformer.drop_model('import_changed');

-- A link to nowhere and a pipe are not taken for missing: without modules.json it would be another model.
\set make 'cd pgsql_tmp_regress && cp -r ' :bert ' broken && rm broken/modules.json && ln -s nowhere broken/modules.json && ln -s nowhere broken/unused.json'
COPY (SELECT WHERE false) TO PROGRAM :'make';
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L)', :'scratch' || '/broken'), :'fixtures');
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress/broken && rm modules.json && mkfifo modules.json';
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L)', :'scratch' || '/broken'), :'fixtures');
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress/broken && rm modules.json config.json';
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L)', :'scratch' || '/broken'), :'fixtures');
SELECT transformer.import_model('import_broken', :'scratch' || '/broken', task => 'tokenizer');
SELECT transformer.drop_model('import_broken');

-- Weights that are no numbers: the bias of the first norm, which is behind a header of 3968 bytes.
\set make 'cd pgsql_tmp_regress && cp -r ' :bert ' nan && printf "\\377\\377\\377\\377" | dd of=nan/model.safetensors bs=1 seek=3976 conv=notrunc 2>/dev/null'
COPY (SELECT WHERE false) TO PROGRAM :'make';
SELECT failure(format('SELECT transformer.import_model(''import_a'', %L)', :'scratch' || '/nan'), :'fixtures');

-- Large objects: a GGUF file, and a folder as a tar archive of each kind.
SELECT transformer.export_model('import_bert', :'scratch' || '/model.gguf') > 0 AS exported;
SELECT lo_import(:'scratch' || '/model.gguf') AS object \gset
SELECT transformer.import_model('import_lo', :object);
SELECT a.digest = b.digest AS same FROM _transformer.version a, _transformer.version b
WHERE a.name = 'import_bert' AND b.name = 'import_lo';

-- one.tar begins in the folder, the others have a path in each name that is too long for a plain header
SELECT repeat('long/', 30) || repeat('name', 20) AS long \gset
\set make 'cd pgsql_tmp_regress && mkdir -p ' :long ' && cp -r ' :bert '/* ' :long ' && tar --format=ustar -cf one.tar -C ' :long ' .'
COPY (SELECT WHERE false) TO PROGRAM :'make';
COPY (SELECT WHERE false) TO PROGRAM 'cd pgsql_tmp_regress && tar --format=gnu -cf gnu.tar long && tar --format=pax -cf pax.tar long';
SELECT lo_import(:'scratch' || '/one.tar') AS tar \gset
SELECT transformer.import_model('import_tar', :tar);
SELECT a.digest = b.digest AS same FROM _transformer.version a, _transformer.version b
WHERE a.name = 'import_bert' AND b.name = 'import_tar';
SELECT transformer.import_model('import_tar', :'scratch' || '/gnu.tar');
SELECT transformer.import_model('import_tar', :'scratch' || '/pax.tar');
SELECT count(DISTINCT digest), count(*) FROM _transformer.version WHERE name = 'import_tar';
-- ... cut off, and with a damaged header
SELECT lo_unlink(:object);
SELECT lo_import(:'scratch' || '/one.tar') AS object \gset
BEGIN;
SELECT lo_open(:object, 393216) AS fd \gset
SELECT lo_truncate(:fd, 5000);
COMMIT;
SELECT failure(format('SELECT transformer.import_model(''import_tar2'', %s::oid)', :object), 'object ' || :object);
SELECT lo_put(:object, 10, 'x');
SELECT failure(format('SELECT transformer.import_model(''import_tar2'', %s::oid)', :object), 'object ' || :object);
-- ... and of somebody else
CREATE ROLE regress_import;
GRANT EXECUTE ON FUNCTION transformer.import_model(text, oid, text, text, text, text[], text) TO regress_import;
SET ROLE regress_import;
\set VERBOSITY sqlstate
SELECT transformer.import_model('import_tar2', :object);
\set VERBOSITY default
RESET ROLE;
DROP OWNED BY regress_import;
DROP ROLE regress_import;
SELECT lo_unlink(:object), lo_unlink(:tar);

-- Cancelled: nothing is left.
SELECT count(*) AS before FROM _transformer.chunk \gset
SET statement_timeout = '1ms';
SELECT transformer.import_model('import_late', :'fixtures' || '/xlm-roberta');
RESET statement_timeout;
SELECT count(*) = :before AS same FROM _transformer.chunk;

-- Nothing goes on now.
SELECT * FROM transformer.import_progress WHERE datname = current_database();

SELECT name, version FROM transformer.models WHERE name LIKE 'import%' ORDER BY 1, 2;
SELECT count(transformer.drop_model(name)) FROM _transformer.model WHERE name LIKE 'import%';
SELECT count(*) FROM transformer.models WHERE name LIKE 'import%';
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf pgsql_tmp_regress';
DROP FUNCTION failure;
