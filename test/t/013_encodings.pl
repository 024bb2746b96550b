# Databases in other encodings than UTF-8: texts are converted on their way in, places count characters of the
# database, and what a model makes that the encoding has not is an error that says so.

use strict;
use warnings;
use utf8;

use Encode qw(encode);
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use TransformerTest;

$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = new_node('encodings');
my @models = qw(bert xlm-roberta token-bert mask-bert answer-bert classify-bert causal-llama);
my %encodings = (utf8 => 'UTF8', latin => 'LATIN1', japanese => 'EUC_JP');
for my $database (sort keys %encodings)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $database TEMPLATE template0 ENCODING '$encodings{$database}' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION transformer');
	$node->safe_psql($database, "SELECT transformer.import_model('$_', '" . fixture($_) . "')") for @models;
	$node->safe_psql('postgres', "ALTER DATABASE $database SET transformer.isa = 'ref'");
}

# A statement in a database, the text $1 written in it; and its error, if any.
sub run
{
	my ($database, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database, encode('UTF-8', "\\set VERBOSITY verbose\n$sql"), stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $out . $err;
}

my %texts = (
	latin    => 'Die Bäckerei öffnet früh, à six heures; the smell of bread in München.',
	japanese => '猫は屋根で眠る。The smell of パン in 東京, bread and water.');
my @statements = (
	q{SELECT transformer.tokenize($1, 'bert')},
	q{SELECT transformer.tokenize($1, 'xlm-roberta')},
	q{SELECT transformer.embed($1, 'bert')},
	q{SELECT label, entity, start, stop, entity = substr($1, start, stop - start + 1) FROM transformer.entities($1, 'token-bert')},
	q{SELECT answer, start, stop, answer = substr($1, start, stop - start + 1) FROM transformer.answer('bread?', $1, 'answer-bert')},
	q{SELECT chunk, start, stop, chunk = substr($1, start, stop - start + 1) FROM transformer.chunk($1, 8, 2, 'bert')},
	q{SELECT transformer.classify(ARRAY[$1, 'bread'], 'classify-bert')},
	q{SELECT transformer.generate(left($1, 9), 'causal-llama', choices => ARRAY[left($1, 9)])},
	q{SELECT transformer.generate_json('a', jsonb_build_object('enum', jsonb_build_array(left($1, 9))), 'causal-llama')},
	q{SELECT string_agg(s, '') = left($1, 9) FROM transformer.generate_stream('a', 'causal-llama', choices => ARRAY[left($1, 9)]) s},
	q{SELECT (transformer.zero_shot('bread', ARRAY[$1, 'water'], 'bert')).*});
for my $database (sort keys %texts)
{
	for my $statement (@statements)
	{
		my $sql = $statement =~ s/\$1/'$texts{$database}'/gr;
		my $expected = run('utf8', $sql);
		my ($name) = $statement =~ /transformer\.(\w+)/;
		unlike($expected, qr/ERROR|\|f$/m, "$name() of $database text works");
		is(run($database, $sql), $expected, "and gives the same in $encodings{$database}");
	}
}

# What the encoding has not
my $tokens = run('latin', q{SELECT transformer.tokens('bread', 'xlm-roberta')});
like($tokens, qr/22P05: a token has a character that encoding "LATIN1" has not/, 'a token that LATIN1 has not');
like($tokens, qr/DETAIL:  It is "\\2581\w*"/, 'is named');
like($tokens, qr/HINT:  Use transformer.tokenize\(\)/, 'with a way out');
like(run('latin', q{SELECT transformer.tokens('{bread}'::text[], 'xlm-roberta')}), qr/22P05: a token/, 'in arrays, too');
like(run('utf8', q{SELECT transformer.tokens('bread', 'xlm-roberta')}), qr/\x{e2}\x{96}\x{81}|▁/, 'and UTF8 has it');
unlike(run('latin', q{SELECT transformer.tokens('The bread', 'bert')}), qr/ERROR/, 'tokens of ASCII are shown');
my $ids = $node->safe_psql('utf8', encode('UTF-8', q{SELECT transformer.tokenize('小猫', 'xlm-roberta', false)}));
my $text = run('latin', "SELECT transformer.detokenize('$ids', 'xlm-roberta')");
SKIP:
{
	skip 'the vocabulary has none of these characters', 1 if run('utf8', "SELECT transformer.detokenize('$ids', 'xlm-roberta')") =~ /^[\x00-\x7f]*$/;
	like($text, qr/22P05: the text of the tokens.*DETAIL:.*HINT:  Use a database with encoding UTF8/s, 'nor is a text of tokens');
}
my $fill = q{SELECT count(*) FROM transformer.fill_mask('the [MASK] of bread', 100000, 'mask-bert')};
my $words = run('utf8', $fill =~ s/count\(\*\)/string_agg(token, '')/r);
like(run('latin', $fill), $words =~ /[^\x00-\xff]/ || $words =~ /\xe4|\xe5|\xd0/ ? qr/22P05: a word for the mask.*HINT:  Ask for fewer words/s : qr/^\d+$/,
	'words for a mask');
like(run('latin', q{SELECT transformer.embed(convert_from('\xe5b08f', 'UTF8'), 'bert')}), qr/22P05/, 'the server says so of what goes in');

done_testing();
