# A base backup has the models and not the cache directory; a server from it
# builds its images anew.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $node = new_node('origin', allows_streaming => 1, conf => "max_wal_size = 1GB\nshared_buffers = 32MB\n");
import_model($node, 'tiny', fixture('bert'));
my $want = vector($node, 'tiny');
isnt(scalar(cache_files($node)), 0, 'there is a cache');

$node->backup('base');
my $copy = $node->backup_dir . '/base/pgsql_tmp_transformer';
ok(!-e $copy || !glob("$copy/*"), 'the backup does not have it');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'base');
$restored->start;
is(vector($restored, 'tiny'), $want, 'same vector from the backup');
is($restored->safe_psql('postgres', q{SELECT count(*) FROM transformer.verify_model('tiny') WHERE NOT ok}), '0', 'verified');
is_deeply([ cache_files($restored) ], [ cache_files($node) ], 'and the same images, by content');
is((stat $restored->data_dir . '/pgsql_tmp_transformer')[2] & 077, 0, 'the cache directory is private');
for my $file (cache_files($restored))
{
	is((stat $restored->data_dir . "/pgsql_tmp_transformer/$file")[2] & 0777, 0600, "so is $file");
}

done_testing();
