# Connections are cheap: the second one's first embed() finds the model in
# memory, parses nothing and keeps almost nothing of its own, whatever the size of the
# vocabulary.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $node = new_node('sessions');
my %models = (tiny => fixture('bert'), words => make_bert(scratch() . '/words', vocabulary => 250_000, hidden => 64, heads => 4, intermediate => 128, layers => 2));
$models{minilm} = minilm() if minilm();

for my $model (sort keys %models)
{
	import_model($node, $model, $models{$model});
	$node->safe_psql('postgres', "SELECT transformer.load_model('$model')");

	my @ms = map { timed_ms($node, "SELECT transformer.embed('how do I reset my password?', '$model');") } 1 .. 7;
	my $median = median(@ms);
	cmp_ok($median, '<=', 20, sprintf '%s: first embed() of a connection takes at most 20 ms (median of 7: %.1f)', $model, $median);

	@ms = map { timed_ms($node, "SELECT transformer.token_count('how do I reset my password?', '$model');") } 1 .. 7;
	$median = median(@ms);
	cmp_ok($median, '<=', 20, sprintf '%s: so does the first token_count() (%.1f)', $model, $median);

	my @sessions = map { $node->background_psql('postgres') } 1 .. 3;
	my @kb;
	for my $session (@sessions)
	{
		$session->query_safe("SELECT transformer.embed('how do I reset my password?', '$model')");
	}
	for my $session (@sessions)
	{
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		chomp $pid;
		push @kb, backend_private_kb($pid);
	}
	cmp_ok($kb[1], '<=', 8 * 1024, "$model: a further connection has at most 8 MB of its own ($kb[1] kB)");
	$_->quit for @sessions;
}

# Many at once: one builds, the others wait for it; all get the same vector, and there is one image.
$node->safe_psql('postgres', "SELECT transformer.unload_model('words')");
my @files = cache_files($node);
my @crowd = map { $node->background_psql('postgres') } 1 .. 6;
$_->query_until(qr/begun/, "\\echo begun\nSELECT md5(transformer.embed('how do I reset my password?', 'words')::text);\n\\echo ended\n") for @crowd;
my %vectors;
for my $session (@crowd)
{
	my $output = $session->query_until(qr/ended/, '');
	$vectors{$1}++ while $output =~ /\b([0-9a-f]{32})\b/g;
}
is_deeply([ values %vectors ], [ 6 ], 'six sessions that load a model at once get one vector');
is(scalar(cache_files($node)), @files + 1, 'and there is one image, and nothing else');
$_->quit for @crowd;

# One that waits for the builder can be cancelled, and one that comes after a builder was killed takes over.
$node->safe_psql('postgres', "SELECT transformer.unload_model('words')");
is(sqlstate($node, "SET statement_timeout = '1ms'; SELECT transformer.embed('x', 'words');"), '57014', 'loading can be cancelled');
is(sqlstate($node, "SELECT transformer.embed('x', 'words');"), '00000', 'and begun again');

# All see one image, and the weights cannot be written through it.
my $session = $node->background_psql('postgres');
$session->query_safe("SELECT transformer.embed('x', 'words')");
my $pid = $session->query_safe('SELECT pg_backend_pid()');
chomp $pid;
my @maps = grep { /pgsql_tmp_transformer/ } split /\n/, slurp_file("/proc/$pid/maps");
ok(scalar(grep { /r--s/ } @maps), 'the image is mapped shared and read-only');
is(scalar(grep { /\brw.s/ && !/control/ } @maps), 0, 'and in no other way');
$session->quit;

# Ready again after a restart, without being built anew
my @before = map { $_ . ' ' . (stat $node->data_dir . "/pgsql_tmp_transformer/$_")[1] } grep { !/control/ } cache_files($node);
$node->restart;
my $ms = timed_ms($node, "SELECT transformer.embed('x', 'words');");
cmp_ok($ms, '<=', 200, sprintf 'after a restart the image is still there (%.1f ms)', $ms);
my @after = map { $_ . ' ' . (stat $node->data_dir . "/pgsql_tmp_transformer/$_")[1] } grep { !/control/ } cache_files($node);
is_deeply(\@after, \@before, 'the same file');

done_testing();
