# Batches give what row by row gives: many generated queries, each run with
# transformer.batch on and off, on the scalar kernels, and compared bit for bit; errors too.
#
# Queries are made by a small grammar with a fixed seed over small tables
# with NULLs, empty, long and odd texts.  Each is ordered by all that it selects, unless
# the plan alone decides the order, so that rows compare one by one.  BATCH_SEED and BATCH_QUERIES
# choose others.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $seed = $ENV{BATCH_SEED} // 20;
my $wanted = $ENV{BATCH_QUERIES} // 1000;

my $node = new_node('batch', conf => "max_parallel_workers_per_gather = 0\nmax_parallel_workers = 4\njit = off\nautovacuum = off\n");
import_model($node, 'm', fixture('bert'));
import_model($node, 'r', fixture('roberta'));
import_model($node, 'l', fixture('classify-bert'));
import_model($node, 'g', fixture('causal-llama'));
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE postgres SET transformer.isa = 'ref';
ALTER DATABASE postgres SET transformer.embedding_model = 'm';
ALTER DATABASE postgres SET transformer.classification_model = 'l';
ALTER DATABASE postgres SET transformer.sentiment_model = 'l';
ALTER DATABASE postgres SET transformer.zero_shot_model = 'm';
ALTER DATABASE postgres SET transformer.generation_model = 'g';
ALTER DATABASE postgres SET transformer.truncate = 'error';
ALTER DATABASE postgres SET search_path = public, transformer;
SET search_path = public, transformer;
SET transformer.embedding_model = 'm';
CREATE TABLE a (id int PRIMARY KEY, body text, k int, model text);
INSERT INTO a SELECT i, CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'the red bread ' || i
	WHEN 3 THEN repeat('a ', i % 11) WHEN 4 THEN E'\u00e9\u4e2d ' || i ELSE 'word ' || i * 7919 END,
	nullif(i % 5, 4), (ARRAY['m', 'r', 'm@1', NULL])[i % 4 + 1] FROM generate_series(1, 60) i;
CREATE TABLE b (id int, body text, k int, model text);
INSERT INTO b SELECT i % 17, repeat('bread ', i % 6) || i % 4, i % 3, 'm' FROM generate_series(1, 40) i;
CREATE INDEX ON b (id);
-- Some rows of this one cannot be computed.
CREATE TABLE c (id int, body text, k int, model text);
INSERT INTO c SELECT i, CASE WHEN i = 37 THEN repeat('bread ', 300) ELSE 'x ' || i END, i % 4, CASE WHEN i = 31 THEN 'none' ELSE 'm' END
FROM generate_series(1, 40) i;
CREATE TABLE p (id int, body text, k int, model text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (20);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (20) TO (1000);
INSERT INTO p SELECT * FROM a WHERE id <= 40;
CREATE TABLE target (id int, v real[], n int, w text[]);
CREATE TABLE generated (id int PRIMARY KEY, body text, n int, v real[] GENERATED ALWAYS AS (embed_pinned(body, 'm@1')) STORED);
CREATE DOMAIN short AS text CHECK (length(value) < 100);
CREATE TABLE typed (id int, body varchar(40), k int, model text, d short, c char(12));
INSERT INTO typed SELECT id, left(body, 40), k, model, left(body, 30), left(body, 12) FROM a;
CREATE TABLE parent (id int, body text, k int, model text);
CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent SELECT * FROM a WHERE id <= 20;
INSERT INTO child SELECT *, 'x' FROM a WHERE id > 40;
CREATE TABLE log (id int, n int);
CREATE FUNCTION log_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO log SELECT new.id, token_count(x.body) FROM (SELECT new.body UNION ALL SELECT s.body FROM b s WHERE s.id = new.id) x;
	new.k := token_count(new.body);
	RETURN new;
END $$;
CREATE TABLE watched (id int, body text, k int, model text);
CREATE TRIGGER log BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION log_count();
INSERT INTO watched SELECT * FROM b;
CREATE FUNCTION total(bound int) RETURNS int LANGUAGE plpgsql STABLE AS $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT t.id, token_count(t.body) AS c FROM a t ORDER BY t.id LOOP
		n := n + coalesce(r.c, 0) * r.id;
		EXIT WHEN n > bound;
	END LOOP;
	RETURN n;
END $$;
CREATE FUNCTION seen(x text) RETURNS bool LANGUAGE plpgsql STABLE COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', x; RETURN true; END $$;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM b t WHERE token_count(t.body) > 3;
CREATE VIEW merged AS SELECT * FROM a UNION ALL SELECT * FROM b;
ANALYZE;
SQL

# ---- the grammar ----

my $state = $seed;

# a number below n, the same on all machines
sub pick
{
	my ($n) = @_;
	$state = ($state * 1103515245 + 12345) % 2147483648;
	return int($state / 65536) % $n;
}

sub one_of
{
	return $_[ pick(scalar @_) ];
}

# An expression of type text over the columns of a table; deeper ones have calls in them.
sub text_of
{
	my ($t, $depth) = @_;
	my $simple = one_of("$t.body", "$t.body", "$t.body", "$t.body || $t.id", "upper($t.body)", "'the bread'", "$t.k::text", 'NULL::text');
	return $simple if $depth <= 0;
	return one_of(
		$simple,
		$simple,
		"left(" . text_of($t, $depth - 1) . ", " . (3 + pick(9)) . ")",
		"left(array_to_string(tokens(" . text_of($t, 0) . "), ' '), 20)",
		"generate(left(" . text_of($t, $depth - 1) . ", 20), max_tokens => " . one_of(1 + pick(4), "1 + $t.id % 3") . one_of('', ', repetition_penalty => 1.5', ", temperature => 1, seed => $t.id") . ")",
		"CASE WHEN " . bool_of($t, $depth - 1) . " THEN " . text_of($t, $depth - 1) . " ELSE " . text_of($t, 0) . " END",
		"coalesce(" . text_of($t, $depth - 1) . ", " . text_of($t, $depth - 1) . ")",
		int_of($t, $depth - 1) . "::text");
}

sub model_of
{
	my ($t) = @_;
	return one_of('', '', '', ", 'm'", ", 'r\@1'", ", $t.model", ", model => CASE $t.k WHEN 1 THEN 'r' END");
}

sub int_of
{
	my ($t, $depth) = @_;
	my $simple = one_of("$t.k", "$t.id", pick(7), "length($t.body)");
	return $simple if $depth <= 0;
	return one_of(
		"token_count(" . text_of($t, $depth - 1) . model_of($t) . ")",
		"token_count(" . text_of($t, $depth - 1) . ")",
		"cardinality(tokenize(" . text_of($t, $depth - 1) . ", special => " . one_of('true', 'false', "$t.k = 1") . "))",
		"cardinality(tokens(" . text_of($t, $depth - 1) . model_of($t) . "))",
		"(" . int_of($t, $depth - 1) . " + " . int_of($t, $depth - 1) . ")",
		"(tokenize(" . text_of($t, $depth - 1) . "))[" . int_of($t, $depth - 1) . "]",
		"coalesce(" . int_of($t, $depth - 1) . ", " . int_of($t, $depth - 1) . ")",
		"greatest(" . int_of($t, $depth - 1) . ", " . int_of($t, $depth - 1) . ")",
		"nullif(" . int_of($t, $depth - 1) . ", " . int_of($t, 0) . ")",
		"CASE " . int_of($t, $depth - 1) . " WHEN " . int_of($t, 0) . " THEN " . int_of($t, $depth - 1)
		  . " WHEN " . int_of($t, $depth - 1) . " THEN " . int_of($t, 0) . " ELSE " . int_of($t, $depth - 1) . " END",
		"(100 / (" . int_of($t, $depth - 1) . " - 33))",
		"length(classify(" . text_of($t, $depth - 1) . "))",
		"length(sentiment(" . text_of($t, $depth - 1) . "))",
		"generate_as(left(" . text_of($t, $depth - 1) . ", 20), NULL::int2, max_tokens => 3)",
		"(SELECT max(token_count(s.body || coalesce($t.body, ''))) FROM b s WHERE s.id = $t.k)");
}

sub real_of
{
	my ($t, $depth) = @_;
	return one_of(
		"similarity(" . text_of($t, $depth - 1) . ", " . text_of($t, $depth - 1) . ")",
		"similarity(" . text_of($t, $depth - 1) . ", 'the bread'" . model_of($t) . ")",
		"sentiment_score(" . text_of($t, $depth - 1) . one_of('', ", 'l\@1'") . ")",
		"l2_distance(embed(" . text_of($t, $depth - 1) . "), embed('bread'))",
		"(embed(" . text_of($t, $depth - 1) . model_of($t) . "))[" . (1 + pick(8)) . "]");
}

# Where the order of rows is the scan's, no condition may become a join.
our $no_joins = 0;

sub bool_of
{
	my ($t, $depth) = @_;
	my $simple = one_of("$t.k = " . pick(4), "$t.id % 3 = " . pick(3), "$t.body IS NOT NULL", "$t.id > " . pick(40));
	return $simple if $depth <= 0;
	return one_of(
		$simple,
		int_of($t, $depth - 1) . one_of(' > ', ' < ', ' = ') . pick(8),
		"token_count(" . text_of($t, $depth - 1) . ") > " . (2 + pick(5)),
		real_of($t, $depth - 1) . " > 0." . pick(10),
		"(" . bool_of($t, $depth - 1) . " AND " . bool_of($t, $depth - 1) . ")",
		"(" . bool_of($t, $depth - 1) . " OR " . bool_of($t, $depth - 1) . ")",
		"NOT (" . bool_of($t, $depth - 1) . ")",
		$no_joins ? $simple : int_of($t, $depth - 1) . " IN (SELECT s.k FROM b s)",
		$no_joins ? $simple : "EXISTS (SELECT FROM b s WHERE s.id = $t.k AND token_count(s.body) > " . (2 + pick(4)) . ")");
}

sub any_of
{
	my ($t, $depth) = @_;
	return one_of(
		text_of($t, $depth), int_of($t, $depth), real_of($t, $depth), bool_of($t, $depth),
		"embed(" . text_of($t, $depth - 1) . model_of($t) . ")",
		"embed_pinned(" . text_of($t, $depth - 1) . ", 'r\@1')",
		"tokens(" . text_of($t, $depth - 1) . ")",
		$t);
}

sub list_of
{
	my ($t, $depth) = @_;
	return join ', ', "$t.id", map { any_of($t, $depth) } 0 .. pick(3);
}

# Rows compare in order, so there has to be one; "t::text" orders rows that are records.
sub ordered
{
	my ($query) = @_;
	return "SELECT q::text FROM ($query) q ORDER BY 1";
}

# A function in FROM, or in a select list.
sub set_of
{
	my ($t) = @_;
	return one_of(
		"classify_scores(" . text_of($t, 1) . one_of('', ", 'l'") . ")",
		"zero_shot(" . text_of($t, 1) . ", " . one_of("'{red,green}'", "ARRAY['cold', $t.id::text]") . one_of('', ', multi_label => true') . ")",
		"chunk(" . text_of($t, 1) . ", " . (4 + pick(9)) . one_of('', ', 1') . ")",
		"tokenize(ARRAY[" . text_of($t, 0) . ", " . text_of($t, 0) . "])");
}

my @shapes = (
	sub { my $f = one_of('a', 'b', 'c', 'p'); ordered("SELECT " . list_of('t', 3) . " FROM $f t") },
	sub { my $f = one_of('a', 'b', 'c', 'p'); ordered("SELECT " . list_of('t', 2) . " FROM $f t WHERE " . bool_of('t', 3)) },
	sub { my $f = one_of('a', 'c'); local $no_joins = 1; "SELECT " . list_of('t', 2) . " FROM $f t WHERE " . bool_of('t', 2) . " LIMIT " . pick(25) },
	sub { "SELECT " . list_of('t', 2) . " FROM a t ORDER BY " . one_of('t.k, t.id', 't.id DESC', int_of('t', 2) . ", t.id") . " LIMIT " . pick(30) . " OFFSET " . pick(6) },
	sub { "SELECT " . any_of('t', 2) . " FROM c t LIMIT " . pick(40) },
	sub { my $g = one_of(int_of('t', 2), bool_of('t', 2)); ordered("SELECT $g AS g, count(*), max(" . int_of('t', 2) . "), sum(" . int_of('t', 2) . ") FILTER (WHERE " . bool_of('t', 2) . ") FROM a t GROUP BY 1") },
	sub { ordered("SELECT t.k, string_agg(" . text_of('t', 2) . ", ',' ORDER BY " . int_of('t', 1) . ", t.id), token_count(left(max(t.body), 9)) FROM a t GROUP BY t.k HAVING " . one_of('count(*) > 5', "token_count(min(t.body)) > 2")) },
	sub { ordered("SELECT t.id, sum(" . int_of('t', 2) . ") OVER (PARTITION BY t.k ORDER BY t.id), token_count(lag(t.body) OVER (ORDER BY t.id)) FROM a t") },
	sub { ordered("SELECT DISTINCT " . any_of('t', 2) . " AS d FROM b t") },
	sub { ordered("SELECT " . int_of('t', 2) . " AS u FROM a t " . one_of('UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT') . " SELECT " . int_of('s', 2) . " FROM b s") },
	sub { ordered("SELECT t.id, s.id AS i, " . any_of('t', 2) . " AS x, " . any_of('s', 2) . " AS y FROM a t " . one_of('JOIN', 'LEFT JOIN', 'FULL JOIN') . " b s ON t.k = s.id") },
	sub { ordered("SELECT t.id, s.id AS i FROM a t " . one_of('JOIN', 'LEFT JOIN') . " b s ON " . int_of('t', 2) . " = " . int_of('s', 2)) },
	sub { ordered("SELECT t.id, s.* FROM a t, LATERAL (SELECT s.k, " . any_of('s', 2) . " AS x, token_count(s.body || coalesce(t.body, '')) AS y FROM b s WHERE s.id = t.k " . one_of('', 'ORDER BY s.k, s.body LIMIT 2', 'OFFSET 0') . ") s") },
	sub { ordered("SELECT t.id, unnest(tokens(" . text_of('t', 1) . ")) AS word, " . any_of('t', 1) . " AS x FROM a t") },
	sub { ordered("SELECT * FROM (VALUES " . join(', ', map { "($_, token_count('v " . pick(99) . "'), " . one_of("tokens('a')", 'NULL') . ")" } 1 .. 2 + pick(9)) . ") v(x, y, z) WHERE " . one_of('true', 'y > 3', 'token_count(x::text) > 2')) },
	sub { ordered("WITH w AS " . one_of('', 'MATERIALIZED', 'NOT MATERIALIZED') . " (SELECT t.id, " . int_of('t', 2) . " AS n, t.k, t.body FROM a t) SELECT w.id, w.n, token_count(w.body || w.n) FROM w JOIN w x ON w.id = x.k") },
	sub { "SELECT EXISTS (SELECT FROM c t WHERE " . bool_of('t', 2) . ")" },
	sub { "INSERT INTO target SELECT t.id, embed(" . text_of('t', 1) . "), " . int_of('t', 2) . ", tokens(" . text_of('t', 1) . ") FROM " . one_of('a', 'b', 'c') . " t" },
	sub { "INSERT INTO target VALUES " . join(', ', map { "($_, embed('i " . pick(99) . "'), token_count('x " . pick(9) . "'), NULL)" } 1 .. 2 + pick(20)) },
	sub { "UPDATE a t SET body = left(" . text_of('t', 2) . ", 40), k = " . int_of('t', 2) . " WHERE " . bool_of('t', 2) },
	sub { "UPDATE p t SET id = t.id + " . pick(9) . ", k = " . int_of('t', 2) },
	sub { "UPDATE a t SET k = s.n FROM (SELECT max(" . int_of('s', 2) . ") AS n, s.id FROM b s GROUP BY s.id) s WHERE s.id = t.k" },
	sub { "DELETE FROM " . one_of('a', 'b', 'p', 'c') . " t WHERE " . bool_of('t', 3) },
	sub { "MERGE INTO a t USING (SELECT s.id, max(" . int_of('s', 2) . ") AS n FROM b s GROUP BY s.id) s ON s.id = t.id WHEN MATCHED AND s.n > 4 THEN DELETE "
		  . "WHEN MATCHED THEN UPDATE SET k = s.n + token_count(t.body) WHEN NOT MATCHED THEN INSERT (id, body) VALUES (s.id + 1000, 'n' || s.n)" },
	# sets, in FROM and in the select list
	sub { ordered("SELECT t.id, s.* FROM a t, " . set_of('t') . " s") },
	sub { ordered("SELECT t.id, s.* FROM " . one_of('a', 'b') . " t LEFT JOIN LATERAL " . set_of('t') . " WITH ORDINALITY s ON " . one_of('true', bool_of('t', 1))) },
	sub { ordered("SELECT t.id, s.* FROM b t, LATERAL ROWS FROM (" . set_of('t') . ", " . set_of('t') . ") s") },
	sub { ordered("SELECT t.id, g, h FROM " . one_of('a', 'b', 'c') . " t, generate(left(" . text_of('t', 1) . ", 20), max_tokens => 3) g, LATERAL (SELECT string_agg(s, '') AS h FROM (SELECT s FROM generate_stream(left(" . text_of('t', 1) . ", 9), max_tokens => 5) s" . one_of('', ' LIMIT 2') . ") s) s") },
	sub { ordered("SELECT t.id, e, c, s.* FROM b t, embed(" . text_of('t', 1) . ") e, classify(" . text_of('t', 2) . ") c, " . set_of('t') . " s") },
	sub { ordered("SELECT t.id, " . set_of('t') . " AS s, " . any_of('t', 1) . " AS x FROM a t") },
	sub { ordered("SELECT t.id, (SELECT label FROM classify_scores(" . text_of('t', 1) . ") LIMIT 1) AS best FROM a t") },
	sub { "SELECT t.id, s.* FROM c t, " . set_of('t') . " s LIMIT " . pick(60) },
	# generated columns, triggers, RETURNING, ON CONFLICT
	sub { "INSERT INTO generated (id, body) SELECT t.id, max(" . text_of('t', 1) . ") FROM " . one_of('a', 'b', 'c') . " t GROUP BY t.id" },
	sub { "INSERT INTO generated (id, body) SELECT t.id % 20, max(" . text_of('t', 0) . ") FROM a t GROUP BY 1 ORDER BY 1 ON CONFLICT (id) DO UPDATE SET n = token_count(excluded.body) RETURNING id, v, token_count(body)" },
	sub { "INSERT INTO generated (id, body) VALUES " . join(', ', map { "($_, 'g " . pick(9) . "')" } 1 .. 2 + pick(12)) . " RETURNING id, v" },
	sub { "WITH i AS (INSERT INTO generated (id, body) SELECT t.id, t.body FROM a t RETURNING *) UPDATE a t SET k = cardinality(i.v) FROM i WHERE i.id = t.k" },
	sub { local $no_joins = 1; "UPDATE watched t SET body = left(" . text_of('t', 1) . ", 30) WHERE " . bool_of('t', 2) . " RETURNING id, k, token_count(body)" },
	sub { "INSERT INTO watched SELECT t.id, left(" . text_of('t', 2) . ", 30), t.k, t.model FROM a t" },
	sub { ordered("SELECT total(" . pick(400) . " + t.k) FROM b t") },
	# other kinds of tables and types
	sub { my $f = one_of('parent', 'merged', 'barrier', 'typed'); ordered("SELECT " . list_of('t', 2) . " FROM $f t WHERE " . bool_of('t', 2)) },
	sub { ordered("SELECT t.id, token_count(t.d) AS x, token_count(t.c) AS y, embed(t.c || t.d) AS z FROM typed t WHERE token_count(t.d::text) > " . pick(5)) },
	sub { local $no_joins = 1; "SELECT t.id, token_count(t.body) FROM barrier t WHERE seen(t.body) AND " . bool_of('t', 1) },
	sub { local $no_joins = 1; "SELECT t.id, " . any_of('t', 1) . " FROM a t TABLESAMPLE system (100) REPEATABLE (1)" },
	sub { local $no_joins = 1; "DELETE FROM parent t WHERE " . bool_of('t', 2) . " RETURNING id, token_count(body)" },
	sub { "UPDATE parent t SET k = " . int_of('t', 2) },
	# grouping, distinct, windows, recursion
	sub { ordered("SELECT t.k, t.model, max(" . int_of('t', 2) . "), grouping(t.k), token_count(left(min(t.body), 9)) FROM a t GROUP BY " . one_of('GROUPING SETS ((t.k), (t.model), ())', 'CUBE (t.k, t.model)', 'ROLLUP (t.k, t.model)')) },
	sub { "SELECT DISTINCT ON (c) " . int_of('t', 2) . " AS c, t.id, " . any_of('t', 1) . " FROM a t ORDER BY c, t.id" },
	sub { ordered("SELECT t.id, rank() OVER (PARTITION BY " . int_of('t', 1) . " ORDER BY " . int_of('t', 1) . ", t.id), first_value(" . text_of('t', 1) . ") OVER (PARTITION BY t.k ORDER BY t.id) FROM a t") },
	sub { ordered("WITH RECURSIVE r(n, c) AS (SELECT 1, 'a'::text UNION ALL SELECT r.n + 1, left(r.c || token_count(r.c), 20) FROM r WHERE r.n < " . (3 + pick(9)) . ") SELECT r.n, r.c, token_count(r.c) FROM r") },
	# cursors, COPY, CREATE TABLE AS, loops
	sub { "DECLARE cur " . one_of('SCROLL', 'NO SCROLL', '') . " CURSOR " . one_of('WITH HOLD', '') . " FOR SELECT " . list_of('t', 1) . " FROM " . one_of('a', 'c') . " t ORDER BY t.id; FETCH " . pick(12) . " FROM cur; FETCH FORWARD " . pick(9) . " FROM cur; MOVE " . pick(9) . " IN cur; FETCH ALL FROM cur" },
	sub { "DECLARE cur SCROLL CURSOR FOR SELECT " . list_of('t', 1) . " FROM a t ORDER BY t.id; FETCH " . (1 + pick(20)) . " FROM cur; FETCH BACKWARD " . pick(9) . " FROM cur; FETCH LAST FROM cur; FETCH PRIOR FROM cur; FETCH ABSOLUTE " . pick(30) . " FROM cur" },
	sub { "COPY (SELECT " . list_of('t', 2) . " FROM " . one_of('a', 'b', 'c') . " t ORDER BY t.id) TO STDOUT" },
	sub { "CREATE TABLE made AS SELECT " . join(', ', map { any_of('t', 2) . " AS x$_" } 0 .. pick(3)) . " FROM " . one_of('a', 'p', 'merged') . " t; SELECT m FROM made m ORDER BY m::text" });

# ---- both ways ----

my @plans = ('', 'SET enable_hashjoin = off;', 'SET enable_mergejoin = off; SET enable_nestloop = off;', 'SET enable_hashagg = off; SET enable_sort = on;',
	'SET enable_seqscan = off;', 'SET transformer.batch_size = 3;', 'SET plan_cache_mode = force_generic_plan;',
	'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;');

my @queries;
push @queries, [ $shapes[ $_ % @shapes ]->(), one_of(@plans) ] for 0 .. $wanted - 1;

# What a statement changes is compared too, and taken back.
sub script
{
	my ($batch) = @_;
	my $script = "SET transformer.batch = $batch;\n\\set VERBOSITY sqlstate\n";
	for my $i (0 .. $#queries)
	{
		my ($query, $settings) = @{ $queries[$i] };
		$script .= "\\echo == $i\nBEGIN; $settings\n";
		$script .= $settings =~ /generic/ && $query !~ /^(?:DECLARE|COPY|CREATE)/ ? "PREPARE s AS $query;\nEXECUTE s;\nDEALLOCATE s;\n" : "$query;\n";
		if ($query =~ /(?:INSERT INTO|UPDATE|DELETE FROM|MERGE INTO) (\w+)/)
		{
			$script .= "SELECT t FROM $1 t ORDER BY t::text;\nSELECT l FROM log l ORDER BY l::text;\n";
		}
		$script .= "ROLLBACK; DEALLOCATE ALL; RESET ALL; SET transformer.batch = $batch;\n";
	}
	return $script;
}

sub answers
{
	my ($batch) = @_;
	my ($out, $err);
	my $file = scratch() . "/$batch.sql";
	PostgreSQL::Test::Utils::append_to_file($file, script($batch));
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-d', $node->connstr('postgres'), '-f', $file ], '>&', \$out);
	$out =~ s/^psql:\S+: //mg;
	my %answers;
	while ($out =~ /^== (\d+)\n(.*?)(?=^== |\z)/msg)
	{
		$answers{$1} = $2;
	}
	return \%answers;
}

my $with = answers('on');
my $without = answers('off');

my ($equal, $errors, $rows, %states) = (0, 0, 0);
for my $i (0 .. $#queries)
{
	# A parallel query reads ahead, and any of its processes may be the first to fail.
	my ($a, $b) = ($with->{$i} // 'no answer with batches', $without->{$i} // 'no answer without');
	my $parallel = $queries[$i][1] =~ /parallel/ && ($a . $b) =~ /^ERROR/m;
	if ($a eq $b || $parallel)
	{
		$equal++;
		$errors++ if $a =~ /^ERROR/m;
		$states{$1}++ while $a =~ /^ERROR:  (\w+)/mg;
		$rows += () = $a =~ /\n/g;
		next;
	}
	diag "query $i (seed $seed) differs: $queries[$i][1]\n$queries[$i][0]\nwith batches: " . substr($a, 0, 400) . "\nwithout: " . substr($b, 0, 400);
}
is($equal, scalar(@queries), scalar(@queries) . " generated queries (seed $seed) give the same with batches and without ($rows lines, $errors errors)");

note "errors: ", join ', ', map { "$_ $states{$_}" } sort keys %states;

# How much of it ran in batches: the test would be worth nothing otherwise.
my $explain = join '', map { "EXPLAIN $_->[0];\n" } @queries;
my ($plans, $ignored) = ('', '');
$node->psql('postgres', $explain, stdout => \$plans, stderr => \$ignored, on_error_stop => 0);
my $batched = () = $plans =~ /Custom Scan \(Batch\)/g;
cmp_ok($batched, '>', $wanted / 2, "with $batched Batch nodes in their plans");

done_testing();
