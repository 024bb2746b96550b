# The two stores give the same, and lose nothing: dynamic shared memory, which
# goes with the server and comes back, and files, which may be damaged or refused.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TransformerTest;

my $node = new_node('stores', conf => "restart_after_crash = on\n");
import_model($node, 'tiny', fixture('bert'));
import_model($node, 'big', make_bert(scratch() . '/big', vocabulary => 5000, layers => 2));
my $want = vectors($node, 'tiny', 'big');
my ($image) = grep { -s $node->data_dir . "/pgsql_tmp_transformer/$_" > 1024 * 1024 } cache_files($node);

sub directory
{
	return $node->data_dir . '/pgsql_tmp_transformer';
}

# ---- files ----

# Damage that the header shows is found when a session maps the image; it is built again.
$node->stop;
truncate directory() . "/$image", 4096;
$node->start;
is(vectors($node, 'tiny', 'big'), $want, 'an image that was cut is built again');

$node->stop;
unlink map { directory() . "/$_" } cache_files($node);
rmdir directory();
$node->start;
is(vectors($node, 'tiny', 'big'), $want, 'so is a whole cache that was removed');

# What is not ours is left alone, and leftovers are swept.
append_to_file(directory() . '/note', 'x');
$node->safe_psql('postgres', q{SELECT transformer.unload_model('big')});
is(vector($node, 'big'), (split ' ', $want)[1], 'a foreign file does not disturb');
unlink directory() . '/note';

SKIP:
{
	skip 'root may write anywhere', 3 if $> == 0;
	$node->safe_psql('postgres', q{SELECT transformer.unload_model('big')});
	chmod 0500, directory();
	my ($state, $message) = sqlstate($node, q{SELECT transformer.embed('x', 'big');});
	is($state, '00000', 'where the directory cannot be written, a session makes its own image');
	like($message, qr/WARNING/, 'and says so');
	is(vector($node, 'big'), (split ' ', $want)[1], 'same vector');
	chmod 0700, directory();
}

# ---- dynamic shared memory ----

$node->safe_psql('postgres', q{SELECT transformer.unload_model('big'), transformer.unload_model('tiny')});
$node->append_conf('postgresql.conf', 'transformer.weights_store = dsm');
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('transformer.weights_store', true) = 'dsm'});
is(vectors($node, 'tiny', 'big'), $want, 'dsm: same vectors');
is((scalar grep { -s directory() . "/$_" > 1024 * 1024 } cache_files($node)), 0, 'dsm: no large file');
is($node->safe_psql('postgres', q{SELECT count(*) FROM transformer.loaded_models WHERE model = 'big@1'}), '1', 'dsm: loaded_models has it');

my $session = $node->background_psql('postgres');
$session->query_safe(q{SELECT transformer.embed('x', 'big')});
is($node->safe_psql('postgres', q{SELECT transformer.unload_model('big') > 0}), 't', 'dsm: unloaded while a session has it');
is($session->query_safe(q{SELECT md5(transformer.embed('a quick fox', 'big')::text)}), (split ' ', $want)[1], 'dsm: which goes on');
$session->quit;

$session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = begin_work($session, q{SELECT count(transformer.embed('a quick fox ' || i, 'big')) FROM generate_series(1, 1000000) i});
my $log = -s $node->logfile;
usleep(200_000);
kill 'KILL', $pid;
eval { $session->quit };
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
usleep(20_000) while system('pg_isready', '-q', '-d', $node->connstr('postgres')) != 0;
is(vectors($node, 'tiny', 'big'), $want, 'dsm: same vectors after a crash');
$node->restart;
is(vectors($node, 'tiny', 'big'), $want, 'and after a restart');

done_testing();
