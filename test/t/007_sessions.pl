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
