# A backend is killed in the middle of an import, of the building of an image
# and of a forward pass, and then the postmaster itself.  After each: no model is lost
# or damaged, an unfinished one has left nothing, the vectors are the same, and
# nothing lies about in the cache directory.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TransformerTest;

my $node = new_node('crash', conf => "restart_after_crash = on\nfsync = on\nwal_level = replica\n");
my $big  = make_bert(scratch() . '/big', vocabulary => 20000);

import_model($node, 'tiny', fixture('bert'));
import_model($node, 'big', $big);
my $want  = vectors($node, 'tiny', 'big');
my @files = cache_files($node);

# Kill the backend that runs $sql after some milliseconds; gives what psql had to say
sub kill_during
{
	my ($sql, $after) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = begin_work($session, $sql);
	my $log = -s $node->logfile;
	usleep($after * 1000);
	kill 'KILL', $pid;
	eval { $session->quit };
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	usleep(20_000) while system('pg_isready', '-q', '-d', $node->connstr('postgres')) != 0;
	return $session->{stderr};
}

sub check_whole
{
	my ($what) = @_;
	is(vectors($node, 'tiny', 'big'), $want, "$what: same vectors");
	is($node->safe_psql('postgres', 'SELECT string_agg(name, $$ $$ ORDER BY name) FROM transformer.models'),
		'big tiny', "$what: the models that were there, no other");
	is( $node->safe_psql('postgres',
			'SELECT count(*) FROM _transformer.chunk c WHERE NOT EXISTS (SELECT FROM _transformer.tensor t WHERE c.digest = ANY (t.chunks))
			 AND NOT EXISTS (SELECT FROM _transformer.version v WHERE c.digest = ANY (v.tokenizer))'),
		'0', "$what: no chunk without an owner");
	is($node->safe_psql('postgres', "SELECT count(*) FROM transformer.verify_model('big') WHERE NOT ok"), '0', "$what: verified");
	is_deeply([ cache_files($node) ], \@files, "$what: cache directory as before");
}

# Where the import is done already, its transaction is still open.
for my $after (5, 100, 300)
{
	like(kill_during("DO \$\$ BEGIN PERFORM transformer.import_model('half', '$big'); PERFORM pg_sleep(60); END \$\$", $after),
		qr/terminated|server closed|connection/i, "killed $after ms into an import");
	check_whole("import, $after ms");
}

like(kill_during("SELECT sum(cardinality(transformer.embed(repeat('quick brown fox ' || i || ' ', 60), 'big'))) FROM generate_series(1, 100000) i", 300),
	qr/terminated|server closed|connection/i, 'killed during embed');
check_whole('embed');

for my $after (0, 20, 60)
{
	$node->safe_psql('postgres', "SELECT transformer.unload_model('big')");
	kill_during("SELECT transformer.load_model('big')", $after);
	$node->safe_psql('postgres', "SELECT transformer.load_model('big')");
	check_whole("load, $after ms");
	$node->safe_psql('postgres', "SELECT transformer.unload_model('big')");
	vector($node, 'big');
}

my $postmaster = $node->{_pid};
$node->kill9;
usleep(100_000) while kill 0, $postmaster;
$node->start;
check_whole('kill -9 of the postmaster');
is(import_model($node, 'half', $big), 'half@1', 'import works after all that');
is(vector($node, 'half'), vector($node, 'big'), 'and gives the vectors of the model that it is');

done_testing();
