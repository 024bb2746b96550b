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
my $wanted = $ENV{BATCH_QUERIES} // 700;

my $node = new_node('batch', conf => "max_parallel_workers_per_gather = 0\nmax_parallel_workers = 4\njit = off\nautovacuum = off\n");
import_model($node, 'm', fixture('bert'));
import_model($node, 'r', fixture('roberta'));
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE postgres SET transformer.isa = 'ref';
ALTER DATABASE postgres SET transformer.embedding_model = 'm';
ALTER DATABASE postgres SET transformer.truncate = 'error';
ALTER DATABASE postgres SET search_path = public, transformer;
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
		"(SELECT max(token_count(s.body || coalesce($t.body, ''))) FROM b s WHERE s.id = $t.k)");
}

sub real_of
{
	my ($t, $depth) = @_;
	return one_of(
		"similarity(" . text_of($t, $depth - 1) . ", " . text_of($t, $depth - 1) . ")",
		"similarity(" . text_of($t, $depth - 1) . ", 'the bread'" . model_of($t) . ")",
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
		  . "WHEN MATCHED THEN UPDATE SET k = s.n + token_count(t.body) WHEN NOT MATCHED THEN INSERT (id, body) VALUES (s.id + 1000, 'n' || s.n)" });

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
		$script .= $settings =~ /generic/ ? "PREPARE s AS $query;\nEXECUTE s;\nDEALLOCATE s;\n" : "$query;\n";
		if ($query =~ /^(?:INSERT INTO|UPDATE|DELETE FROM|MERGE INTO) (\w+)/)
		{
			$script .= "SELECT t FROM $1 t ORDER BY t::text;\n";
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
is($equal, scalar(@queries), scalar(@queries) . " generated queries give the same with batches and without ($rows lines, $errors errors)");

note "errors: ", join ', ', map { "$_ $states{$_}" } sort keys %states;

# How much of it ran in batches: the test would be worth nothing otherwise.
my $explain = join '', map { "EXPLAIN $_->[0];\n" } @queries;
my ($plans, $ignored) = ('', '');
$node->psql('postgres', $explain, stdout => \$plans, stderr => \$ignored, on_error_stop => 0);
my $batched = () = $plans =~ /Custom Scan \(Batch\)/g;
cmp_ok($batched, '>', $wanted / 2, "with $batched Batch nodes in their plans");

done_testing();
