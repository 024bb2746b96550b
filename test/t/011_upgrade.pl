# ALTER EXTENSION UPDATE: a database with 0.1, its models and what depends on
# them, becomes what CREATE EXTENSION makes; and such a database is dumped and
# restored.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

# Everything that the catalog says of the extension's objects, by names.
my $objects = <<'SQL';
WITH member AS (
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'transformer' AND d.deptype = 'e'
)
SELECT 'object', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name), NULL FROM member
UNION ALL
SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid),
	concat_ws(' ', p.proacl, p.proowner::regrole, p.prosupport, p.procost, p.prorows, p.provolatile, p.proparallel, p.proisstrict, p.proleakproof, p.prosecdef, p.proargdefaults IS NOT NULL)
FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid
UNION ALL
SELECT 'relation', c.oid::regclass::text, CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END,
	concat_ws(' ', c.relkind, c.relacl, c.relowner::regrole, c.reloptions, c.relpersistence)
FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
UNION ALL
SELECT 'column', attrelid::regclass || '.' || attnum || '.' || attname, pg_get_expr(adbin, adrelid),
	concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attstorage, attcollation::regcollation, attacl)
FROM member JOIN pg_attribute ON classid = 'pg_class'::regclass AND objid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(x.oid), NULL
FROM member JOIN pg_constraint x ON classid = 'pg_class'::regclass AND objid = conrelid
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), NULL
FROM member JOIN pg_index ON classid = 'pg_class'::regclass AND objid = indrelid
UNION ALL
SELECT 'schema', nspname, obj_description(oid, 'pg_namespace'), concat_ws(' ', nspacl, nspowner::regrole)
FROM pg_namespace WHERE nspname IN ('transformer', '_transformer')
UNION ALL
SELECT 'dumped', unnest(extconfig)::regclass::text, unnest(extcondition), NULL FROM pg_extension WHERE extname = 'transformer'
UNION ALL
SELECT 'version', extversion, extnamespace::regnamespace::text, extrelocatable::text FROM pg_extension WHERE extname = 'transformer'
ORDER BY 1, 2
SQL

my $summary = <<'SQL';
SELECT md5(string_agg(id || coalesce(vector::text, '-'), ',' ORDER BY id)) FROM note;
SELECT string_agg(name || '@' || version || ' ' || deployed || ' ' || owner || ' ' || bytes, ',' ORDER BY name, version) FROM transformer.models;
SELECT md5(transformer.embed('a fox', 'tiny')::text), md5(transformer.embed('a fox', 'tiny@2')::text);
SELECT transformer.classify('a fox', 'label'), transformer.sentiment_score('a fox', 'label') IS NOT NULL, transformer.token_count('a fox', 'tiny');
SELECT count(*) FROM transformer.verify_model('tiny@1') WHERE NOT ok;
SELECT transformer.has_model_privilege('reader', 'tiny'), transformer.has_model_privilege('reader', 'label');
SQL

my $node = new_node('upgrade');
my $dir  = scratch();
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->safe_psql('old', "CREATE EXTENSION transformer VERSION '0.1'");
is($node->safe_psql('old', "SELECT extversion FROM pg_extension WHERE extname = 'transformer'"), '0.1', 'a database with 0.1');
$node->safe_psql('old', sprintf <<'SQL', (fixture('bert')) x 2, fixture('classify-bert'));
SELECT transformer.import_model('tiny', '%s');
SELECT transformer.import_model('tiny', '%s', quantization => 'f16');
SELECT transformer.import_model('label', '%s', labels => '{negative,neutral,positive}');
CREATE ROLE reader;
SELECT transformer.grant_model('tiny', 'reader');
CREATE TABLE note (id int PRIMARY KEY, body text, vector real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'tiny@1')) STORED);
INSERT INTO note (id, body) SELECT i, 'note ' || i || ' about ' || repeat('foxes ', i %% 5) FROM generate_series(0, 99) i;
INSERT INTO note (id, body) VALUES (100, NULL);
CREATE VIEW labelled AS SELECT id, transformer.classify(body, 'label') AS label FROM note;
SQL
my $before = $node->safe_psql('old', $summary);
my $labels = $node->safe_psql('old', 'SELECT * FROM labelled ORDER BY id');

# --- update: what there was works as before, what is new works ---
$node->safe_psql('old', 'ALTER EXTENSION transformer UPDATE');
is($node->safe_psql('old', $summary), $before, 'models, grants and columns are as they were');
is($node->safe_psql('old', 'SELECT * FROM labelled ORDER BY id'), $labels, 'so are labels by a view of before');
is( $node->safe_psql('old', q{SELECT count(*) FROM transformer.rerank('foxes', ARRAY['a fox', 'bread'], 'tiny')}),
	'2', 'a function of 0.2 works with a model of 0.1');
$node->safe_psql('old', sprintf "SELECT transformer.import_model('writes', '%s')", fixture('causal-llama'));
is($node->safe_psql('old', q{SELECT length(transformer.generate('a fox', 'writes', 3)) > 0}), 't', 'so does one of 0.4 with a model of its own');
like($node->safe_psql('old', q{EXPLAIN SELECT transformer.classify(body, 'label') FROM note}), qr/Batch/, 'labels run in batches');
$node->safe_psql('old', q{ALTER TABLE note ADD label text});
$node->safe_psql('old', q{CALL transformer.classify_table('note', 'body', 'label', 'label')});
is($node->safe_psql('old', 'SELECT id, label FROM note ORDER BY id'), $labels, 'classify_table gives the same labels');

# --- the catalog is that of a fresh installation ---
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION transformer');
my $fresh = $node->safe_psql('fresh', $objects);
cmp_ok(scalar(() = $fresh =~ /\n/g), '>', 100, 'the catalog has been looked at');
is($node->safe_psql('old', $objects), $fresh, 'updated and fresh are the same');
for my $version ('0.2', '0.3')
{
	$node->safe_psql('postgres', 'CREATE DATABASE step');
	$node->safe_psql('step', "CREATE EXTENSION transformer VERSION '$version'");
	isnt($node->safe_psql('step', $objects), $fresh, "$version is another");
	$node->safe_psql('step', 'ALTER EXTENSION transformer UPDATE');
	is($node->safe_psql('step', $objects), $fresh, "updated from $version and fresh are the same");
	$node->safe_psql('postgres', 'DROP DATABASE step');
}

# --- and it is dumped and restored ---
my $want = $node->safe_psql('old', $summary);
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/old.dump", $node->connstr('old') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-1', '-d', $node->connstr('restored'), "$dir/old.dump" ], 'restore');
is($node->safe_psql('restored', $summary), $want, 'restored: everything as it was');
is($node->safe_psql('restored', 'SELECT id, label FROM note ORDER BY id'), $labels, 'restored: labels');
is($node->safe_psql('restored', $objects), $fresh, 'restored: the same catalog');

done_testing();
