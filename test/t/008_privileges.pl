# Who may do what, and what those who may not are told.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $node = new_node('privileges');
my $folder = fixture('bert');
import_model($node, 'secret', $folder);
import_model($node, 'public_one', $folder);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE plain LOGIN;
CREATE ROLE maker LOGIN;
CREATE ROLE crew;
CREATE ROLE member LOGIN IN ROLE crew;
GRANT EXECUTE ON FUNCTION transformer.import_model(text, text, text, text, text, text[], text) TO maker, plain;
GRANT EXECUTE ON FUNCTION transformer.import_model(text, oid, text, text, text, text[], text) TO maker;
GRANT pg_read_server_files TO maker;
SELECT transformer.grant_model('public_one', 'public');
SQL

sub as
{
	my ($user, $sql) = @_;
	return sqlstate($node, $sql, user => $user);
}

# ---- use ----

my ($state, $denied) = as('plain', "SELECT transformer.embed('x', 'secret');");
is($state, '42501', 'no USAGE, no vector');
unlike($denied, qr/bert|dimension|digest|\d+ bytes/i, 'and nothing of the model in the message');
for my $call ("token_count('x', 'secret')", "tokenize('x', 'secret')", "similarity('x', 'y', 'secret')", "embed_pinned('x', 'secret\@1')",
	"load_model('secret')", "unload_model('secret')", "export_model('secret', '/tmp/never')", "copy_model('secret', 'mine')",
	"rename_model('secret', 'mine')", "drop_model('secret')", "deploy_model('secret\@1')", "grant_model('secret', 'plain')",
	"generate('x', 'secret')", "generate(ARRAY['x'], 'secret')", "generate_stream('x', 'secret')", "generate_json('x', '{}', 'secret')",
	"generate_as('x', 1, 'secret')", "chat('[]', 'secret')", "chat_stream('[]', 'secret')", "token_logprobs('x', 'secret')", "perplexity('x', 'secret')",
	"verify_model('secret')", "evaluate('secret', 'SELECT 1')", "confusion_matrix('secret', 'SELECT 1')")
{
	is(as('plain', "SELECT transformer.$call;"), '42501', "no USAGE: $call");
}
is(as('plain', "SELECT transformer.embed('x', 'public_one');"), '00000', 'what public was granted, anyone may use');
is(as('plain', "SELECT transformer.drop_model('public_one');"), '42501', 'but not drop');
is($node->safe_psql('postgres', 'SELECT string_agg(name, $$ $$) FROM transformer.models', extra_params => [ '-U', 'plain' ]),
	'public_one', 'models lists what one may use');
is($node->safe_psql('postgres', q{SELECT count(*) FROM transformer.loaded_models WHERE model LIKE 'secret%'}, extra_params => [ '-U', 'plain' ]),
	'0', 'so does loaded_models');
is(as('plain', "SELECT * FROM _transformer.$_;"), '42501', "_transformer.$_ is nobody's business")
  for qw(model version tensor chunk privilege reference);

# A user's own leaky function does not see through the view.
$node->safe_psql('postgres', 'CREATE SCHEMA plain AUTHORIZATION plain');
my (undef, $leak) = as('plain',
	q{CREATE FUNCTION plain.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END$$;
	SELECT count(*) FROM transformer.models WHERE plain.leak(name);});
unlike($leak, qr/saw secret/, 'nor does a leaky function in a query');

# ---- grants ----

is(as('member', "SELECT transformer.embed('x', 'secret');"), '42501', 'a member of a role without a grant');
$node->safe_psql('postgres', "SELECT transformer.grant_model('secret', 'crew')");
is(as('member', "SELECT transformer.embed('x', 'secret');"), '00000', 'its role was granted it');
is($node->safe_psql('postgres', "SELECT transformer.has_model_privilege('member', 'secret'), transformer.has_model_privilege('plain', 'secret')"),
	't|f', 'has_model_privilege');
is(as('member', "SELECT transformer.grant_model('secret', 'plain');"), '42501', 'a user cannot pass it on');

# In a session that had the model open, a revoke acts at the next statement.
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'member' ], on_error_stop => 0);
$session->query_safe("SELECT transformer.embed('x', 'secret')");
$node->safe_psql('postgres', "SELECT transformer.revoke_model('secret', 'crew')");
$session->{stderr} = '';
$session->query("SELECT transformer.embed('x', 'secret')");
like($session->{stderr}, qr/permission denied/, 'revoke acts in a session that has the model open');
$session->{stderr} = '';
eval { $session->quit };

# SET ROLE and SECURITY DEFINER: the privilege is that of the current user
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.lend(text) RETURNS real[] LANGUAGE sql SECURITY DEFINER AS $$SELECT transformer.embed($1, 'secret')$$;
SQL
is(as('plain', "SELECT public.lend('x');"), '00000', 'a security definer function lends its owner\'s right');
is(as('plain', "SELECT public.lend('x'); SELECT transformer.embed('x', 'secret');"), '42501', 'for its own call only');

# ---- import ----

is(as('member', "SELECT transformer.import_model('mine', '$folder');"), '42501', 'import_model is not for everybody');
my ($there, $there_message) = as('plain', "SELECT transformer.import_model('mine', '$folder');");
my ($missing, $missing_message) = as('plain', q{SELECT transformer.import_model('mine', '/no/such/folder');});
is($there, '42501', 'without pg_read_server_files no path');
is($missing, '42501', 'whether it is there');
s/'?\/[^\s"']*|LOCATION.*|LINE.*//g for $there_message, $missing_message;
is($there_message, $missing_message, 'or not, one is told the same');
like($there_message, qr/pg_read_server_files/, 'and what one needs');
is(as('maker', "SELECT transformer.import_model('mine', '$folder');"), '00000', 'with it, import');
is($node->safe_psql('postgres', q{SELECT owner FROM transformer.models WHERE name = 'mine'}), 'maker', 'the importer owns it');
is(as('maker', "SELECT transformer.export_model('mine', '/tmp/transformer-never.gguf');"), '42501', 'export needs pg_write_server_files');
is(as('plain', "SELECT transformer.embed('x', 'mine');"), '42501', 'it is the owner\'s alone');
is(as('maker', "SELECT transformer.grant_model('mine', 'plain'); SELECT transformer.embed('x', 'mine');"), '00000', 'who may grant it');
is(as('plain', "SELECT transformer.embed('x', 'mine');"), '00000', 'granted');
is(as('maker', "SELECT transformer.import_model('secret', '$folder');"), '42501', 'a version of somebody else\'s model');

# ---- an owner goes ----

$node->safe_psql('postgres', 'DROP OWNED BY maker; DROP ROLE maker;');
is($node->safe_psql('postgres', q{SELECT transformer.embed('x', 'mine') IS NOT NULL}), 't', 'a dropped owner\'s model falls to superusers');
is($node->safe_psql('postgres', q{SELECT count(*) FROM transformer.models WHERE name = 'mine'}), '1', 'and is listed');
$node->safe_psql('postgres', 'CREATE ROLE newcomer LOGIN');
is(as('newcomer', "SELECT transformer.embed('x', 'mine');"), '42501', 'not to whoever comes next');

# ---- settings ----

my $load = q{SELECT transformer.token_count('x', 'public_one');};
is(as('plain', "$load SET transformer.max_session_memory = 1000000;"), '42501', 'a bound is not the user\'s to lift');
is(as('plain', "$load SET transformer.isa = ref;"), '42501', 'nor the instruction set');
is(as('plain', "$load SET transformer.session_memory = '64MB';"), '00000', 'within the bounds he may choose');
is( $node->safe_psql('postgres', "SET transformer.max_session_memory = '2GB'; SET transformer.isa = 'ref'; $load SHOW transformer.isa",
		extra_params => [ '-U', 'plain' ]) =~ s/\d+\n//r,
	'auto', 'set before the library is loaded, they are ignored');

done_testing();
