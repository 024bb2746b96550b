# Models that come with the extension: what is installed is there after CREATE
# EXTENSION, in every database, for everybody, and in no dump; what a database
# makes of them stays its own.  Here they are fixtures under the names of the real ones.

use strict;
use warnings;

use File::Basename;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

my $share = qx(pg_config --sharedir);
chomp $share;
my $folder = "$share/transformer";
my $script = "$share/extension/transformer--0.2--0.3.sql";
my $dir    = scratch();
my $node   = new_node('shipped');

END
{
	unlink glob "$folder/*" if defined $folder;
	rmdir $folder           if defined $folder;
}

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

# A database with the extension; options of CREATE EXTENSION
sub new_database
{
	my ($name, $options) = @_;
	sql("CREATE DATABASE $name");
	my ($stdout, $stderr) = ('', '');
	$node->psql($name, 'CREATE EXTENSION transformer ' . ($options // ''), stderr => \$stderr, on_error_die => 1);
	return $stderr;
}

sub models { return sql(q{SELECT string_agg(name || '@' || version, ' ' ORDER BY name, version) FROM transformer.models}, $_[0]); }

# --- nothing installed ---
is(models('postgres'), '', 'no file, no model');
my ($state, $message) = sqlstate($node, q{SELECT transformer.embed('hello')});
is($state, '42704', 'embed() without a model fails');
like($message, qr/model "encoder" does not exist.*HINT.*transformer\.embedding_model/s, 'and says what to do');

# --- files ---
mkdir $folder or die "$folder: $!";
import_model($node, 'a', fixture('bert'));
import_model($node, 'b', fixture('distilbert'));
sql(sprintf q{SELECT transformer.import_model('s', '%s', labels => '{negative,neutral,positive}')}, fixture('classify-bert'));
sql(sprintf q{SELECT transformer.import_model('i', '%s', labels => '{card lost,top up}')}, fixture('classify-distilbert'));
sql("SELECT transformer.export_model('$_->[0]', '$dir/$_->[1].gguf')")
  for [ 'a', 'encoder' ], [ 'b', 'encoder-2' ], [ 's', 'sentiment' ], [ 'i', 'intent' ];
copy("$dir/$_.gguf", "$folder/$_.gguf") or die for qw(encoder sentiment intent);
my %vector = map { $_ => vector($node, $_) } qw(a b);

# --- a database has them, and everybody may use them ---
is(new_database('first'), '', 'CREATE EXTENSION says nothing');
is(models('first'), 'encoder@1 intent@1 sentiment@1', 'the models that are installed are there');
is(vector($node, 'encoder', 'first'), $vector{a}, 'and give what they should');
my $works = q{SELECT cardinality(transformer.embed('hello')) > 0, transformer.sentiment('good') IS NOT NULL, transformer.intent('my card is gone') IS NOT NULL};
sql('CREATE ROLE guest LOGIN');
is(sql("SET ROLE guest; $works", 'first'), 't|t|t', 'nothing else is needed, by a role without any privilege');
is(sql(q{SET ROLE guest; SELECT owner = 'postgres', comment LIKE '%sentences%' FROM transformer.models WHERE name = 'encoder'}, 'first') ne '',
	1, 'the view has them');
is(sql(q{SELECT bool_and(comment IS NOT NULL AND deployed AND owner = current_user) FROM transformer.models}, 'first'), 't', 'with owner and comment');
is((sqlstate($node, q{SET ROLE guest; SELECT transformer.drop_model('encoder')}, database => 'first'))[0], '42501', 'but not drop them');
is((sqlstate($node, sprintf(q{SELECT transformer.import_model('x', '%s')}, "$folder/encoder.gguf"), database => 'first', user => 'guest'))[0],
	'42501', 'or import files of the server');
is(sql(q{SELECT count(*) FROM transformer.verify_model('encoder') WHERE NOT ok}, 'first'), '0', 'verify_model');
is(sql(q{SELECT string_agg(DISTINCT storage || ' ' || path, ',' ORDER BY storage || ' ' || path) FROM _transformer.version}, 'first'),
	'file $share/transformer/encoder.gguf,file $share/transformer/intent.gguf,file $share/transformer/sentiment.gguf',
	'paths are relative to the share directory');

# --- two databases, one image; templates ---
new_database('second');
my $images = scalar cache_files($node);
is(vector($node, 'encoder', 'second'), $vector{a}, 'a second database');
is(scalar cache_files($node), $images, 'shares the image');
sql('CREATE DATABASE child TEMPLATE second');
is(models('child'), 'encoder@1 intent@1 sentiment@1', 'a database from a template has them');
is(sql($works, 'child'), 't|t|t', 'and can use them');
like(sql(q{SELECT string_agg(model, ' ' ORDER BY model) FROM transformer.loaded_models}, 'second'), qr/\bencoder\@1\b/, 'loaded_models names them');

# --- dump and restore: not in the dump, and what names them restores ---
my $table = q{
CREATE TABLE note (id int PRIMARY KEY, body text, v real[] GENERATED ALWAYS AS (transformer.embed_pinned(body, 'encoder@1')) STORED);
INSERT INTO note (id, body) SELECT i, 'note ' || i FROM generate_series(1, 20) i;
};
my $notes = 'SELECT md5(string_agg(id || v::text, \',\' ORDER BY id)) FROM note';
sql($table, 'first');
sub dump_and_restore
{
	my ($from, $to, $restored) = @_;
	$node->command_ok([ 'pg_dump', '-f', "$dir/$from.sql", $node->connstr($from) ], "dump of $from");
	sql("CREATE DATABASE $to");
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', File::Spec->devnull, '-f', "$dir/$from.sql", $node->connstr($to) ],
		"$restored");
	return slurp_file("$dir/$from.sql");
}
my $dump = dump_and_restore('first', 'first_again', 'restore');
is(scalar(() = $dump =~ /^\@?encoder\t/mg), 0, 'no row of a model that is the extension\'s');
is(scalar(() = $dump =~ /^\\\\x/mg), 0, 'nor a chunk');
is(models('first_again'), 'encoder@1 intent@1 sentiment@1', 'they are there again');
is(sql($notes, 'first_again'), sql($notes, 'first'), 'and the generated column');
is((sqlstate($node, q{SELECT transformer.drop_model('encoder')}, database => 'first_again'))[0], '2BP01', 'which protects its model');

# --- what a database makes of them is its own ---
sql(q{
SELECT transformer.revoke_model('encoder', 'public');
SELECT transformer.drop_model('intent');
SELECT transformer.rename_model('sentiment', 'mood');
SELECT transformer.copy_model('mood', 'mood2');
}, 'second');
my $own = q{SELECT transformer.has_model_privilege('guest', 'encoder'),
	(SELECT string_agg(name || '@' || version || CASE WHEN deployed THEN '!' ELSE '' END, ' ' ORDER BY name, version) FROM transformer.models),
	transformer.sentiment('good', 'mood') = transformer.sentiment('good', 'mood2'), md5(transformer.embed('x')::text)};
is(sql(q{SELECT transformer.copy_model('encoder', 'encoder')}, 'second'), 'encoder@2', 'a version more');
my $want = sql($own, 'second');
like($want, qr/^f\|encoder\@1! encoder\@2 mood\@1! mood2\@1!\|t\|/, 'revoked, dropped, renamed, copied');
is((sqlstate($node, q{SELECT transformer.intent('x')}, database => 'second'))[0], '42704', 'what is dropped is dropped');
dump_and_restore('second', 'second_again', 'restore of what was changed');
is(sql($own, 'second_again'), $want, 'as it was');
is(sql(q{SELECT _transformer.register_shipped()}, 'second_again'), '0', 'registered again, nothing comes back');
is(sql($own, 'second_again'), $want, 'and nothing changes');
is(sql(sprintf(q{SELECT transformer.import_model('intent', '%s')}, fixture('classify-bert')), 'second_again'), 'intent@1', 'a name that was dropped is free');
is(sql(q{SELECT transformer.rename_model('mood', 'sentiment'); SELECT transformer.sentiment('good') IS NOT NULL}, 'second_again'), "\nt",
	'a name can be taken back');
dump_and_restore('second_again', 'second_last', 'restore of names that are the extension\'s and the user\'s');
is(sql($own =~ s/mood/sentiment/r, 'second_last'), sql($own =~ s/mood/sentiment/r, 'second_again'), 'as it was');
is(sql(q{SELECT count(*) FROM _transformer.chunk c WHERE writer <> '0' AND NOT EXISTS (SELECT FROM _transformer.version v WHERE c.digest = ANY (v.tokenizer))
	AND NOT EXISTS (SELECT FROM _transformer.tensor v WHERE c.digest = ANY (v.chunks))}, 'second_last'), '0', 'no bytes that nobody needs');

# --- training makes models of them; of the name itself, a version ---
sql(q{CREATE TABLE lesson AS SELECT CASE WHEN i % 2 = 0 THEN 'bread ' ELSE 'boat ' END || i AS text, CASE WHEN i % 2 = 0 THEN 'baker' ELSE 'sailor' END AS label
	FROM generate_series(1, 24) i}, 'child');
is(sql(q{SELECT model FROM transformer.finetune('encoder', 'TABLE lesson', output => 'job', max_steps => 2)}, 'child'), 'job@1', 'a model of ours is trained');
is(sql(q{SELECT model FROM transformer.finetune('encoder', 'TABLE lesson', max_steps => 2)}, 'child'), 'encoder@2', 'as a version of its name');
is(vector($node, 'encoder', 'child'), $vector{a}, 'which is not deployed');
my $labels = q{SELECT md5(string_agg(transformer.classify(text, 'job'), ',' ORDER BY text)), md5(string_agg(transformer.classify(text, 'encoder@2'), ',' ORDER BY text)),
	md5(transformer.embed('x')::text) FROM lesson};
$want = sql($labels, 'child');
dump_and_restore('child', 'child_again', 'restore of trained models');
is(sql($labels, 'child_again'), $want, 'as they were');
is(models('child_again'), 'encoder@1 encoder@2 intent@1 job@1 sentiment@1', 'all of them');

# --- update from 0.2, with a model of that name ---
new_database('old', q{VERSION '0.2'});
is(sql(q{SELECT count(*) FROM transformer.models}, 'old'), '0', '0.2 comes with nothing');
sql(sprintf(q{SELECT transformer.import_model('encoder', '%s')}, fixture('distilbert')), 'old');
{
	my ($stdout, $stderr) = ('', '');
	$node->psql('old', 'ALTER EXTENSION transformer UPDATE', stderr => \$stderr, on_error_die => 1);
	like($stderr, qr/WARNING:  model "encoder" is this database's own/, 'update says that a name is taken');
}
is(vector($node, 'encoder', 'old'), $vector{b}, 'and leaves the model alone');
is(models('old'), 'encoder@1 intent@1 sentiment@1', 'others are there');
dump_and_restore('old', 'old_again', 'restore of a model of that name');
is(vector($node, 'encoder', 'old_again'), $vector{b}, 'it is still the user\'s');
is(sql(q{SELECT transformer.drop_model('encoder')}, 'old_again') . models('old_again'), 'intent@1 sentiment@1', 'dropped, ours does not come in its place');

# --- a further release: another version beside the first ---
copy("$dir/encoder-2.gguf", "$folder/encoder-2.gguf") or die;
sql(q{SELECT _transformer.register_shipped()}, 'first');
is(vector($node, 'encoder', 'first'), $vector{b}, 'a new version is what the name means');
is(vector($node, 'encoder@1', 'first'), $vector{a}, 'the old one is there');
is(sql($notes, 'first'), sql($notes, 'first_again'), 'for columns that name it');
dump_and_restore('first_again', 'first_new', 'restore into the new release');
is(vector($node, 'encoder', 'first_new'), $vector{b}, 'which has the new file');
is(sql($notes, 'first_new'), sql($notes, 'first'), 'and the old one');

# --- files that are missing, changed or damaged ---
sql(q{SELECT transformer.unload_model('encoder@1')}, 'first');
unlink "$folder/encoder.gguf";
($state, $message) = sqlstate($node, q{SELECT transformer.embed('x', 'encoder@1')}, database => 'first');
is($state, '58P01', 'a file that is missing');
like($message, qr/encoder\.gguf": No such file.*HINT:  The file comes with the extension/s, 'is an error that says so');
copy("$dir/encoder-2.gguf", "$folder/encoder.gguf") or die;
($state, $message) = sqlstate($node, q{SELECT transformer.embed('x', 'encoder@1')}, database => 'first');
like($state, qr/^XX001|22P04$/, 'another file in its place');
open my $out, '+<:raw', "$folder/sentiment.gguf" or die;
truncate $out, (-s "$dir/sentiment.gguf") / 2;
close $out;
like(my $warning = new_database('damaged'), qr/WARNING:  model "sentiment\@1", which comes with the extension, is left out\s*DETAIL: .*HINT: /s,
	'a damaged file is a WARNING');
unlike($warning, qr/"intent|"encoder/, 'of that file only');
is(models('damaged'), 'encoder@1 encoder@2 intent@1', 'the others are there');
open $out, '>', "$folder/no model.gguf" or die;
close $out;
like(new_database('more_damaged'), qr/model "no model\@1"/, 'so is an empty file');

# --- a share directory that cannot be written is none that must be ---
chmod 0555, $folder;
unlink "$folder/no model.gguf";
copy("$dir/sentiment.gguf", "$folder/sentiment.gguf") or die;
new_database('readonly');
is(sql(q{SELECT transformer.sentiment('good') IS NOT NULL}, 'readonly'), 't', 'a folder that is read-only');
chmod 0755, $folder;

# --- the real ones, where they are ---
SKIP:
{
	my @real = glob "$ENV{TRANSFORMER_FIXTURES}/../*.gguf";
	skip 'models/ has no models', 6 if !@real;
	unlink glob "$folder/*";
	copy($_, "$folder/" . basename($_)) or die for @real;
	my $bytes = 0;
	$bytes += -s for @real;
	cmp_ok($bytes, '<=', 40e6, 'the models are at most 40 MB');
	is(new_database('real'), '', 'CREATE EXTENSION with the real models');
	is(sql($works, 'real'), 't|t|t', 'all functions work');
	cmp_ok(sql(q{SELECT transformer.similarity('My card has not arrived yet.', 'I am still waiting for my new card.')
		- transformer.similarity('My card has not arrived yet.', 'Whisk the egg whites.')}, 'real'), '>', 0.2, 'the encoder knows what is similar');
	is(sql(q{SELECT transformer.sentiment_score('What a lovely, happy day!') > 0, transformer.sentiment_score('Cold food, rude waiter, never again.') < 0}, 'real'),
		't|t', 'the other one what is good');
	is(sql(q{SELECT length(transformer.generate('Once upon a time')) > 100,
		transformer.perplexity('I will not speak to you, my lord.') < transformer.perplexity('Lord you to my, speak not will I.')}, 'real'),
		't|t', 'the last one goes on with a text, and has an ear for words');
}

done_testing();
