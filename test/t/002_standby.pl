# A streaming standby has the models of its primary, builds its own image of
# them, and gives the same vectors; it writes nothing to the catalog; promoted, it goes on.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $primary = new_node('primary', allows_streaming => 1, conf => "max_wal_size = 1GB\nshared_buffers = 32MB\n");
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

import_model($primary, 'tiny', fixture('bert'));
my $want = vector($primary, 'tiny');
$primary->wait_for_catchup($standby);

is(vector($standby, 'tiny'), $want, 'the standby gives the same vector');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM transformer.loaded_models WHERE model LIKE 'tiny%'}), '1', 'from an image of its own');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM transformer.verify_model('tiny') WHERE NOT ok}), '0', 'which is verified');
isnt($standby->safe_psql('postgres', q{SELECT transformer.load_model('tiny')}), '0', 'load_model works there');

is(sqlstate($standby, "SELECT transformer.import_model('other', '" . fixture('bert') . "');"), '25006', 'import is refused there');
is(sqlstate($standby, "SELECT transformer.drop_model('tiny');"), '25006', 'so is drop_model');

# A version that is deployed on the primary is the deployed one on the standby.
is(import_model($primary, 'tiny', fixture('distilbert')), 'tiny@2', 'a second version');
$primary->wait_for_catchup($standby);
is(vector($standby, 'tiny'), $want, 'is not deployed yet');
$primary->safe_psql('postgres', q{SELECT transformer.deploy_model('tiny@2')});
$primary->wait_for_catchup($standby);
is(vector($standby, 'tiny'), vector($primary, 'tiny@2'), 'deployed, the standby has it');
is(vector($standby, 'tiny@1'), $want, 'and still the first');

$primary->stop('immediate');
$standby->promote;
is(vector($standby, 'tiny@1'), $want, 'promoted: same vector');
is(import_model($standby, 'other', fixture('bert')), 'other@1', 'promoted: import works');
is(vector($standby, 'other'), $want, 'with the vector it should have');
$standby->safe_psql('postgres', q{SELECT transformer.drop_model('tiny')});
is($standby->safe_psql('postgres', 'SELECT string_agg(name, $$ $$) FROM transformer.models'), 'other', 'promoted: drop works');

done_testing();
