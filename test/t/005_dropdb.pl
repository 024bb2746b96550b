# Databases come and go while their models are loaded: images belong to no
# database, so another with the same model keeps it, and one that nobody has any more
# gives way when its room is wanted.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $node = new_node('dropdb');
for my $database ('one', 'two')
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION transformer');
	$node->safe_psql($database, "SELECT transformer.import_model('m', '" . fixture('bert') . "')");
}
my $want = vector($node, 'm', 'one');
my $images = cache_files($node);
is(vector($node, 'm', 'two'), $want, 'two databases, the same model, the same vector');
is(scalar(cache_files($node)), $images, 'and one image');

# A session that is attached, in a database that is dropped under it
my $session = $node->background_psql('one');
$session->query_safe("SELECT transformer.embed('x', 'm')");
my $pid = $session->query_safe('SELECT pg_backend_pid()');
chomp $pid;
isnt(sqlstate($node, 'DROP DATABASE one;'), '00000', 'a database in use is not dropped');
is(sqlstate($node, 'DROP DATABASE one WITH (FORCE);'), '00000', 'with force it is');
eval { $session->quit };
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), '0', 'its session is gone');
is(vector($node, 'm', 'two'), $want, 'the other database does not notice');

# pinned by load_model, then dropped: nobody is left who could unload it
my $big = make_bert(scratch() . '/big', vocabulary => 2000, layers => 2);
$node->safe_psql('postgres', 'CREATE DATABASE three');
$node->safe_psql('three', 'CREATE EXTENSION transformer');
$node->safe_psql('three', "SELECT transformer.import_model('m', '$big'); SELECT transformer.load_model('m')");
$want = vector($node, 'm', 'three');
my @before = cache_files($node);
$node->safe_psql('postgres', 'DROP DATABASE three');
is($node->safe_psql('postgres', 'SELECT count(*) FROM transformer.loaded_models WHERE status IS NULL'), '0', 'loaded_models can be read');

# It comes back in a new database: the same content, the same image
$node->safe_psql('postgres', 'CREATE DATABASE four');
$node->safe_psql('four', 'CREATE EXTENSION transformer');
$node->safe_psql('four', "SELECT transformer.import_model('again', '$big')");
is(vector($node, 'again', 'four'), $want, 'restored under another name: same vector');
is_deeply([ cache_files($node) ], \@before, 'from the image that was there');
$node->safe_psql('four', "SELECT transformer.unload_model('again')");
is(scalar(cache_files($node)), @before - 1, 'unload_model removes it');

done_testing();
