-- The texts that the recipes learn from, as tables.
CREATE EXTENSION transformer;
SET client_min_messages = warning;

CREATE TABLE sst (sentence text, label text);
CREATE TABLE waimai (label text, review text);
CREATE TABLE banking (body text, category text);
CREATE TABLE sts (first text, second text, score real);
CREATE TABLE sts_dev (LIKE sts);
CREATE TABLE lines (source text, line text);

SELECT format('COPY sst FROM %L (FORMAT csv, DELIMITER E''\t'', QUOTE E''\b'', HEADER)', :'texts' || '/sst_train.tsv') \gexec
SELECT format('COPY sst FROM %L (FORMAT csv, DELIMITER E''\t'', QUOTE E''\b'', HEADER)', :'texts' || '/sst_dev.tsv') \gexec
SELECT format('COPY waimai FROM %L (FORMAT csv, HEADER)', :'texts' || '/waimai.csv') \gexec
SELECT format('COPY banking FROM %L (FORMAT csv, HEADER)', :'texts' || '/banking.csv') \gexec
SELECT format('COPY sts FROM %L (FORMAT csv)', :'texts' || '/sts_train.csv') \gexec
SELECT format('COPY sts_dev FROM %L (FORMAT csv)', :'texts' || '/sts_dev.csv') \gexec
SELECT format('COPY lines (line) FROM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\b'')', :'texts' || '/captions.txt') \gexec
UPDATE lines SET source = 'captions';
SELECT format('COPY lines (line) FROM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\b'')', :'texts' || '/pairs.txt') \gexec
UPDATE lines SET source = 'pairs', line = split_part(line, E'\t', 1) WHERE source IS NULL;
SELECT format('COPY lines (line) FROM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\b'')', :'texts' || '/articles.txt') \gexec
UPDATE lines SET source = 'articles' WHERE source IS NULL;

-- English, each text once, in an order that nothing but the texts themselves decides
CREATE TABLE english AS
SELECT min(body) AS body
FROM (SELECT sentence FROM sst UNION ALL SELECT body FROM banking UNION ALL SELECT first FROM sts UNION ALL SELECT second FROM sts
	UNION ALL SELECT line FROM lines WHERE source IN ('captions', 'pairs')
	UNION ALL SELECT regexp_split_to_table(line, '(?<= \.) ') FROM lines WHERE source = 'articles' AND line !~ '^ *=') t(raw),
	regexp_replace(btrim(raw), '\s+', ' ', 'g') body
WHERE length(body) BETWEEN 3 AND 400
GROUP BY lower(body);
CREATE INDEX ON english (md5(body));

SELECT transformer.import_model('teacher', :'teacher');
VACUUM ANALYZE;
