# pg_dump and restore: models, grants and owners, and a table with a column
# that is generated from a model.  Plain, and custom format with parallel jobs,
# where the catalog has to come first (README, Backup).

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $node = new_node('dump');
my $dir  = scratch();
import_model($node, 'tiny', fixture('bert'));
import_model($node, 'tiny', fixture('distilbert'));
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE writer;
CREATE ROLE reader;
CREATE ROLE gone;
SELECT transformer.grant_model('tiny', 'reader');
SELECT transformer.grant_model('tiny', 'gone');
CREATE TABLE article (
	id int PRIMARY KEY,
	body text,
	vector real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'tiny@1')) STORED
);
INSERT INTO article (id, body) SELECT i, 'article ' || i || ' about ' || repeat('foxes ', i % 7) FROM generate_series(1, 200) i;
INSERT INTO article (id, body) VALUES (0, NULL);
CREATE TABLE "aardvark" (id int PRIMARY KEY REFERENCES article, length int);
INSERT INTO aardvark SELECT id, transformer.token_count(body, 'tiny') FROM article;
CREATE INDEX ON article ((transformer.embed_pinned(body, 'tiny@2')));
SELECT transformer.load_model('tiny@2');
SQL

my $summary = <<'SQL';
SELECT md5(string_agg(id || ' ' || coalesce(vector::text, '-'), ',' ORDER BY id)) FROM article;
SELECT string_agg(name || '@' || version || ' ' || deployed || ' ' || owner || ' ' || bytes, ',' ORDER BY version) FROM transformer.models;
SELECT transformer.has_model_privilege('reader', 'tiny'), transformer.has_model_privilege('writer', 'tiny');
SELECT count(*) FROM transformer.verify_model('tiny@1') WHERE NOT ok;
SELECT md5(transformer.embed('a fox', 'tiny@2')::text);
SQL
my $want = $node->safe_psql('postgres', $summary);

# --- plain ---
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'plain dump');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', File::Spec->devnull, '-f', "$dir/plain.sql", $node->connstr('plain') ],
	'plain restore');
is($node->safe_psql('plain', $summary), $want, 'plain: everything as it was');

# --- custom format, in the order of the archive, and in one transaction ---
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('postgres') ], 'custom dump');
$node->safe_psql('postgres', 'CREATE DATABASE single');
$node->command_ok([ 'pg_restore', '-1', '-d', $node->connstr('single'), "$dir/custom.dump" ], 'restore in one transaction');
is($node->safe_psql('single', $summary), $want, 'one transaction: everything as it was');

# --- parallel: the catalog first, then the rest with as many jobs as one likes ---
$node->safe_psql('postgres', 'CREATE DATABASE parallel');
$node->command_ok([ 'pg_restore', '--section=pre-data', '-d', $node->connstr('parallel'), "$dir/custom.dump" ], 'parallel: definitions');
$node->command_ok([ 'pg_restore', '--section=data', '-n', '_transformer', '-d', $node->connstr('parallel'), "$dir/custom.dump" ],
	'parallel: models');
$node->command_ok(
	[ 'pg_restore', '--section=data', '-N', '_transformer', '-j2', '-d', $node->connstr('parallel'), "$dir/custom.dump" ],
	'parallel: data of tables, two jobs');
$node->command_ok([ 'pg_restore', '--section=post-data', '-j2', '-d', $node->connstr('parallel'), "$dir/custom.dump" ],
	'parallel: indexes and constraints, two jobs');
is($node->safe_psql('parallel', $summary), $want, 'parallel: everything as it was');

# --- roles: another cluster, where numbers of roles differ and one is missing ---
$node->safe_psql('postgres', <<'SQL');
REASSIGN OWNED BY gone TO CURRENT_USER;
DROP OWNED BY gone;
DROP ROLE gone;
SQL
$node->command_ok([ 'pg_dump', '-f', "$dir/again.sql", $node->connstr('postgres') ], 'dump after a role with a grant is gone');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE shift1; CREATE ROLE shift2; CREATE ROLE shift3; CREATE ROLE reader; CREATE ROLE writer');
$other->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', File::Spec->devnull, '-f', "$dir/again.sql", $other->connstr('postgres') ],
	'restore where roles have other numbers');
is($other->safe_psql('postgres', $summary), $want, 'another cluster: everything as it was, grants included');
is( $other->safe_psql('postgres', q{SELECT count(*) FROM pg_roles r WHERE rolname LIKE 'shift%' AND transformer.has_model_privilege(rolname, 'tiny')}),
	'0', 'and nobody else may use it');

done_testing();
