# What the TAP tests share: nodes with the extension, models to put into them,
# and ways to look at a backend from outside.
#
# Models come from two places.  fixture('bert') is a tiny one of models/fixtures,
# with weights that give sensible numbers.  make_bert() writes a folder of any
# size with made-up weights, for tests that need a model which takes its time.

package TransformerTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  new_node fixture minilm make_bert import_model vector vectors sqlstate
  cache_files begin_work backend_private_kb backend_anonymous_kb timed_ms median scratch);

# A started node with the extension in database postgres.  Options: allows_streaming, conf (text).
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(
		allows_streaming => $options{allows_streaming} // 0,
		extra            => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
	$node->append_conf('postgresql.conf', $options{conf} // '');
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION transformer');
	return $node;
}

# Folder of a tiny model.
sub fixture
{
	my ($name) = @_;
	my $folder = ($ENV{TRANSFORMER_FIXTURES} // 'models/fixtures') . "/$name";
	die "no fixture $folder" if !-d $folder;
	return $folder;
}

# Folder of all-MiniLM-L6-v2, or undef.
sub minilm
{
	my $folder = $ENV{TRANSFORMER_MINILM} // '';
	return -d $folder ? $folder : undef;
}

# A folder for files that the server reads.
sub scratch
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	chmod 0755, $folder;
	return $folder;
}

# Write a BERT of made-up weights.  Options and their defaults are in %size.
sub make_bert
{
	my ($folder, %options) = @_;
	my %size = (vocabulary => 2000, hidden => 384, layers => 6, heads => 12, intermediate => 1536, positions => 512, %options);
	my $h = $size{hidden};

	mkdir $folder;
	put("$folder/config.json", sprintf
		'{"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": %d, '
		  . '"initializer_range": 0.02, "intermediate_size": %d, "layer_norm_eps": 1e-12, "max_position_embeddings": %d, '
		  . '"num_attention_heads": %d, "num_hidden_layers": %d, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": %d, '
		  . '"position_embedding_type": "absolute"}',
		$h, @size{qw(intermediate positions heads layers vocabulary)});
	put("$folder/modules.json",
		'[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
		  . '{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, '
		  . '{"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]');
	mkdir "$folder/1_Pooling";
	put("$folder/1_Pooling/config.json", qq({"word_embedding_dimension": $h, "pooling_mode_mean_tokens": true}));
	put("$folder/sentence_bert_config.json", qq({"max_seq_length": $size{positions}, "do_lower_case": false}));
	put("$folder/tokenizer_config.json", '{"do_lower_case": true, "tokenizer_class": "BertTokenizer", "model_max_length": 512}');
	put("$folder/vocab.txt", join '', map { "$_\n" } vocabulary($size{vocabulary}));

	my @tensors = (
		[ 'embeddings.word_embeddings.weight',       $size{vocabulary}, $h ],
		[ 'embeddings.position_embeddings.weight',   $size{positions}, $h ],
		[ 'embeddings.token_type_embeddings.weight', 2, $h ],
		pair('embeddings.LayerNorm', $h));
	for my $i (0 .. $size{layers} - 1)
	{
		my $layer = "encoder.layer.$i";
		push @tensors, map { pair("$layer.attention.self.$_", $h, $h) } qw(query key value);
		push @tensors,
		  pair("$layer.attention.output.dense", $h, $h),
		  pair("$layer.attention.output.LayerNorm", $h),
		  pair("$layer.intermediate.dense", $size{intermediate}, $h),
		  pair("$layer.output.dense", $h, $size{intermediate}),
		  pair("$layer.output.LayerNorm", $h);
	}
	write_safetensors("$folder/model.safetensors", @tensors);
	return $folder;
}

# [PAD] ... letters, pieces, then words of letters until there are enough
sub vocabulary
{
	my ($n) = @_;
	my @words = (qw([PAD] [UNK] [CLS] [SEP] [MASK] .), ',', 'a' .. 'z', map { "##$_" } 'a' .. 'z');
	my $word = 'aa';
	push @words, $word++ while @words < $n;
	return @words[ 0 .. $n - 1 ];
}

# a weight and its bias
sub pair
{
	my ($name, @shape) = @_;
	return ([ "$name.weight", @shape ], [ "$name.bias", $shape[0] ]);
}

# f32; norms' weights are 1 and biases 0, all else repeats one block of small numbers
sub write_safetensors
{
	my ($file, @tensors) = @_;
	my $offset = 0;
	my @entries;
	for (@tensors)
	{
		my ($name, @shape) = @$_;
		my $n = 1;
		$n *= $_ for @shape;
		push @entries, sprintf '"%s": {"dtype": "F32", "shape": [%s], "data_offsets": [%d, %d]}',
		  $name, join(', ', @shape), $offset, $offset + 4 * $n;
		$offset += 4 * $n;
	}
	my $header = '{' . join(', ', @entries) . '}';
	$header .= ' ' while length($header) % 8;

	my $seed = 1;
	my $block = pack 'f<*', map { $seed = ($seed * 1103515245 + 12345) % 2**31; $seed / 2**31 * 0.1 - 0.05 } 1 .. 65521;
	my $from = 0;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out pack('Q<', length $header), $header;
	for (@tensors)
	{
		my ($name, @shape) = @$_;
		my $n = 1;
		$n *= $_ for @shape;
		if ($name =~ /LayerNorm\.weight$/ || $name =~ /bias$/)
		{
			print $out pack('f<', $name =~ /LayerNorm\.weight$/ ? 1 : 0) x $n;
			next;
		}
		for (my $left = 4 * $n; $left > 0;)
		{
			my $piece = substr $block, $from, $left;
			print $out $piece;
			$left -= length $piece;
			$from = ($from + length $piece) % length $block;
		}
	}
	close $out or die "$file: $!";
}

sub put
{
	my ($file, $text) = @_;
	open my $out, '>', $file or die "$file: $!";
	print $out $text;
	close $out;
}

sub import_model
{
	my ($node, $name, $folder, $database) = @_;
	return $node->safe_psql($database // 'postgres', "SELECT transformer.import_model('$name', '$folder')");
}

# What an embedding looks like, all its digits, as a digest; database postgres unless told
sub vector
{
	my ($node, $model, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT md5(transformer.embed('a quick fox', '$model')::text)");
}

sub vectors
{
	my ($node, @models) = @_;
	return join ' ', map { vector($node, $_) } @models;
}

# The SQLSTATE that a statement ends with; 00000 where it does not fail.  In list context also the whole message.
sub sqlstate
{
	my ($node, $sql, %options) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql($options{database} // 'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$stdout, stderr => \$stderr, on_error_stop => 0,
		extra_params => $options{user} ? [ '-U', $options{user} ] : []);
	my ($state) = $stderr =~ /(?:ERROR|FATAL):  (\w{5}):/;
	return wantarray ? ($state // '00000', $stderr) : $state // '00000';
}

# Names of what is in the cache directory
sub cache_files
{
	my ($node) = @_;
	opendir my $dir, $node->data_dir . '/pgsql_tmp_transformer' or return ();
	my @names = sort grep { !/^\.\.?$/ } readdir $dir;
	return @names;
}

# Begin a statement in a session and leave it running; gives its process
sub begin_work
{
	my ($session, $sql) = @_;
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	chomp $pid;
	$session->query_until(qr/begun/, "\\echo begun\n$sql;\n\\echo ended\n");
	return $pid;
}

# Memory that is a backend's own, in kB
sub backend_private_kb
{
	my ($pid) = @_;
	my $kb = 0;
	for (split /\n/, slurp_file("/proc/$pid/smaps_rollup"))
	{
		$kb += $1 if /^Private_(?:Clean|Dirty|Hugetlb):\s+(\d+) kB/;
	}
	return $kb;
}

# The same without pages of files, which count as private where one process alone maps them
sub backend_anonymous_kb
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return $kb;
}

# Milliseconds of the last statement of a script, measured by psql in a session of its own
sub timed_ms
{
	my ($node, $sql, %options) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql($options{database} // 'postgres', "\\timing on\n$sql", stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
	my @times = $stdout =~ /^Time: ([\d.]+) ms/mg;
	return $times[-1];
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ @sorted / 2 ];
}

1;
