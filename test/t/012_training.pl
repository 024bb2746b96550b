# Training that is cut off, at whatever moment, goes on to the same weights, bit for
# bit; it can be cancelled at once; it runs in the background as its caller; what it leaves is its
# owner's; and a dump has the runs that are finished.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use TransformerTest;

my $node = new_node('training', conf => "restart_after_crash = on\nfsync = on\nwal_level = replica\nmax_worker_processes = 3\n");
my $small = make_bert(scratch() . '/small', vocabulary => 1000, hidden => 64, layers => 2, heads => 4, intermediate => 128);
import_model($node, 'small', $small);
$node->safe_psql('postgres', q{
	CREATE TABLE lesson AS
	SELECT i AS id, chr(97 + i % 26) || chr(97 + i % 7) || ' ' || repeat(chr(97 + i % 11) || ' ', i % 9) AS body,
		(ARRAY['up', 'down', 'left'])[i % 3 + 1] AS label
	FROM generate_series(0, 299) i;
	ALTER DATABASE postgres SET transformer.threads = 2;
	CREATE FUNCTION slowly(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN $1; END $$;
	CREATE FUNCTION wait_for(condition text) RETURNS bool LANGUAGE plpgsql AS $$
	DECLARE
		seen bool;
	BEGIN
		FOR i IN 1 .. 20000 LOOP
			EXECUTE condition INTO seen;
			EXIT WHEN seen;
			PERFORM pg_sleep(0.003);
		END LOOP;
		RETURN seen;
	END $$;
});

my $rows = q{'SELECT body AS text, label FROM lesson WHERE id < 250', eval_query => 'SELECT body AS text, label FROM lesson WHERE id >= 250'};
my $how  = q{epochs => 60, batch_size => 4, learning_rate => 0.001, seed => 7, options => '{"patience": 50, "checkpoint_interval": %s}'};

# A statement that trains a version of this name
sub training
{
	my ($name, $interval, %options) = @_;
	return sprintf "SELECT model FROM transformer.finetune('small', %s, output => '%s', %s)", $options{rows} // $rows, $name,
	  sprintf($how, $interval) . ($options{more} // '');
}

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# Wait for a query to give true, by looking every few milliseconds
sub wait_for
{
	my ($query, $what) = @_;
	my $seen = sql("SELECT wait_for(\$q\$$query\$q\$)");
	die "$what: waited too long; " . sql('SELECT string_agg(r::text, $$ $$) FROM transformer.training_runs r') if $seen ne 't';
	return;
}

sub digest
{
	return sql("SELECT encode(digest, 'hex') FROM _transformer.version WHERE name = '$_[0]' ORDER BY version DESC LIMIT 1");
}

sub run_directories
{
	return grep { /^run\./ } cache_files($node);
}

# The number of the run that is not finished
sub unfinished
{
	return sql(q{SELECT string_agg(run::text, ' ') FROM transformer.training_runs WHERE status <> 'finished'});
}

sub wait_for_server
{
	usleep(20_000) while system('pg_isready', '-q', '-d', $node->connstr('postgres')) != 0;
}

# Kill the process that trains, at a moment
sub kill_trainer
{
	my ($pid) = @_;
	my $log = -s $node->logfile;
	kill 'KILL', $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	wait_for_server();
}

my $began = time;
sql(training('whole', 60));
my $seconds = time - $began;
my $want = digest('whole');
my $log = sql(q{SELECT md5(string_agg((step, loss, eval_loss, learning_rate, tokens)::text, ' ' ORDER BY step)) FROM transformer.training_log});
note(sprintf 'a run takes %.1f s', $seconds);
is(scalar(run_directories()), 0, 'a run that is finished leaves no files');
is(sql(training('often', 0.01)), 'often@1', 'checkpoints all the time');
is(digest('often'), $want, 'checkpoints change nothing');

# ---- killed, then resumed ----

# Killed after a number of steps (checkpoints seldom, often, always, so that the last are mostly hit while one is written);
# then, for some, killed again in the middle of going on.
my $n = 0;
for ([ 20, 0.05 ], [ 300, 0.05 ], [ 1500, 0.2 ], [ 60, 0.01 ], [ 200, 0.01 ], [ 450, 0.01 ], [ 5, 60 ])
{
	my ($steps, $interval) = @$_;
	my $name = 'killed' . ++$n;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = begin_work($session, training($name, $interval));
	wait_for("SELECT coalesce((SELECT step >= $steps FROM transformer.training_progress), false)", $name);
	usleep(int(rand(20_000)));
	kill_trainer($pid);
	eval { $session->quit };

	my $run = unfinished();
	is(sql("SELECT status || ' ' || model FROM transformer.training_runs WHERE run = $run"), "interrupted $name", "killed at step $steps, checkpoints every $interval s: interrupted");
	is(sql("SELECT count(*) FROM transformer.models WHERE name = '$name'"), '0', 'there is no version');
	if ($n % 2 == 0)
	{
		$session = $node->background_psql('postgres', on_error_stop => 0);
		$pid = begin_work($session, "SELECT transformer.resume_training($run)");
		wait_for('SELECT count(*) = 1 FROM transformer.training_progress', 'resumed');
		usleep(100_000);
		kill_trainer($pid);
		eval { $session->quit };
	}
	is(sql("SELECT model FROM transformer.resume_training($run)"), "$name\@1", 'resumed');
	is(digest($name), $want, 'the same weights');
	is( sql("SELECT md5(string_agg((step, loss, eval_loss, learning_rate, tokens)::text, ' ' ORDER BY step)) FROM transformer.training_log WHERE run = $run"),
		$log, 'the same log');
	is(scalar(run_directories()), 0, 'no files are left');
}

# After the last step, with the version made but not committed
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = begin_work($session, "BEGIN; " . training('late', 0.2) . "; SELECT pg_sleep(600)");
wait_for("SELECT coalesce((SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid), false)", 'sleeping');
is(sql("SELECT status FROM transformer.training_runs WHERE model = 'late'"), 'running', 'not committed: still running');
like((sqlstate($node, 'SELECT transformer.resume_training(' . unfinished() . ')'))[0], qr/55006/, 'and not to be resumed');
kill_trainer($pid);
eval { $session->quit };
my $run = unfinished();
is(sql("SELECT model FROM transformer.resume_training($run)"), 'late@1', 'killed before commit, resumed');
is(digest('late'), $want, 'the same weights');

# The whole server
$session = $node->background_psql('postgres', on_error_stop => 0);
begin_work($session, training('stopped', 0.1));
wait_for('SELECT coalesce((SELECT step >= 100 FROM transformer.training_progress), false)', 'stopped');
$node->stop('immediate');
eval { $session->quit };
$node->start;
$run = unfinished();
is(sql("SELECT status FROM transformer.training_runs WHERE run = $run"), 'interrupted', 'immediate shutdown: interrupted');
is(sql("SELECT model FROM transformer.resume_training($run)"), 'stopped@1', 'resumed');
is(digest('stopped'), $want, 'the same weights');

# While rows are read there is nothing to resume; the next run removes what was left.
$session = $node->background_psql('postgres', on_error_stop => 0);
$pid = begin_work($session, training('reading', 1, rows => q{'SELECT slowly(body) AS text, label FROM lesson', eval_query => 'SELECT body AS text, label FROM lesson'}));
wait_for(q{SELECT coalesce((SELECT phase = 'reading rows' AND rows > 10 FROM transformer.training_progress), false)}, 'reading');
kill_trainer($pid);
eval { $session->quit };
$run = unfinished();
my ($state, $message) = sqlstate($node, "SELECT transformer.resume_training($run)");
is($state, '55000', 'killed while rows were read: cannot be resumed');
like($message, qr/before all rows of its query were read/, 'and says why');
is(scalar(run_directories()), 1, 'its directory is there');
sql(training('next', 60, more => ', max_steps => 2'));
is(scalar(run_directories()), 0, 'until the next run');

# ---- cancelled ----

# Seconds until a run that is at work has stopped; the best of three
sub cancelled
{
	my ($statement, $wait, $cancel) = @_;
	my $best = 1e9;
	for (1 .. 3)
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = begin_work($session, $statement);
		my $controller = $node->background_psql('postgres');
		my $run;
		wait_for($wait, 'to be cancelled');
		$run = sql('SELECT run FROM transformer.training_progress');
		my $began = time;
		$controller->query_safe($cancel eq 'pid' ? "SELECT pg_cancel_backend($pid)" : "SELECT transformer.cancel_training($run)");
		$session->query_until(qr/ended/, '');
		my $ms = (time - $began) * 1000;
		$session->{stderr} = '';
		eval { $session->quit };
		$controller->quit;
		$best = $ms if $ms < $best;
		sql("SELECT transformer.cancel_training(run) FROM transformer.training_runs WHERE status <> 'finished'");
		last if $best <= 100;
	}
	return $best;
}

my $at_work = 'SELECT coalesce((SELECT step >= 20 FROM transformer.training_progress), false)';
for (
	[ 'training',            training('cancelled', 60), $at_work, 'run' ],
	[ 'training',            training('cancelled', 60), $at_work, 'pid' ],
	[ 'writing checkpoints', training('cancelled', 0.001), $at_work, 'run' ],
	[   'reading rows', training('cancelled', 60, rows => q{'SELECT slowly(body) AS text, label FROM lesson', eval_query => 'SELECT body AS text, label FROM lesson'}),
		q{SELECT coalesce((SELECT rows > 10 FROM transformer.training_progress), false)}, 'run' ])
{
	my ($what, $statement, $wait, $how) = @$_;
	my $ms = cancelled($statement, $wait, $how);
	cmp_ok($ms, '<=', 100, sprintf '%s: cancel acts within 100 ms (%.0f)', $what, $ms);
}
is(scalar(run_directories()), 0, 'cancel_training() removes what is left');
is(sql("SELECT count(*) FROM transformer.models WHERE name = 'cancelled'"), '0', 'no version of what was cancelled');

# What was cancelled can be resumed.
($state) = sqlstate($node, "SET statement_timeout = '" . int($seconds * 500) . "ms'; " . training('timeout', 0.1));
is($state, '57014', 'statement_timeout');
is(sql("SELECT status || ': ' || message FROM transformer.training_runs WHERE model = 'timeout'"),
	'cancelled: canceling statement due to statement timeout', 'it is known why');
sql('SELECT transformer.resume_training(' . unfinished() . ')');
is(digest('timeout'), $want, 'resumed: the same weights');

# It goes on where it was cancelled, whenever the last checkpoint was: here there is none.
sub steps_after
{
	my ($seconds, $statement) = @_;
	sqlstate($node, "SET statement_timeout = '${seconds}s'; $statement");
	return sql('SELECT steps FROM transformer.training_runs WHERE run = ' . unfinished());
}
my $first = steps_after($seconds / 2, training('cut', 600));
$run = unfinished();
cmp_ok(-s $node->data_dir . "/pgsql_tmp_transformer/" . (run_directories())[0] . '/checkpoint', '>', 0, 'a cancelled run writes a checkpoint');
sqlstate($node, "SET statement_timeout = '" . $seconds / 5 . "s'; SELECT transformer.resume_training($run)");
cmp_ok(sql("SELECT steps FROM transformer.training_runs WHERE run = $run"), '>', $first, 'resumed, and cancelled again: farther');
sql("SELECT transformer.resume_training($run)");
is(digest('cut'), $want, 'resumed: the same weights');

# A student's run, too
my $distill = q{SELECT model FROM transformer.distill('small', '%s', 'SELECT body AS text FROM lesson', epochs => 20, batch_size => 4, }
  . q{options => '{"layers": 1, "checkpoint_interval": 600}')};
$began = time;
sql(sprintf $distill, 'pupil');
steps_after((time - $began) / 2, sprintf $distill, 'student');
sql('SELECT transformer.resume_training(' . unfinished() . ')');
is(digest('student'), digest('pupil'), 'a student that was cancelled, resumed: the same weights');

# A description that nobody can read is in nobody's way.
steps_after($seconds / 2, training('damaged', 600));
$run = unfinished();
my $description = $node->data_dir . '/pgsql_tmp_transformer/' . (run_directories())[0] . '/run.json';
append_to_file($description, '}');
($state, $message) = sqlstate($node, training('beside', 60, more => ', max_steps => 1'));
is($state, '00000', 'a damaged description: others train');
like($message, qr/WARNING:  XX001: the description of training run $run is damaged/, 'a warning says which');
is((sqlstate($node, 'SELECT count(*) FROM transformer.training_runs'))[0], '00000', 'the view has the others');
is(sql("SELECT transformer.cancel_training($run)"), 't', 'it can be removed');
is(scalar(run_directories()), 0, 'nothing is left');

# ---- in the background ----

sql(q{
	CREATE ROLE teacher LOGIN;
	CREATE ROLE crew NOLOGIN;
	GRANT crew TO teacher;
	CREATE SCHEMA school AUTHORIZATION teacher;
	CREATE TABLE school.pupils AS SELECT id, body, label, CASE WHEN id < 250 THEN 'a' ELSE 'b' END AS tenant FROM lesson;
	ALTER TABLE school.pupils ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON school.pupils USING (tenant = current_setting('app.tenant'));
	GRANT SELECT ON school.pupils TO teacher, crew;
	GRANT USAGE ON SCHEMA school TO crew;
	GRANT EXECUTE ON FUNCTION transformer.finetune, transformer.resume_training TO teacher, crew;
	SELECT transformer.grant_model('small', 'crew');
});

sub as_teacher
{
	return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'teacher' ]);
}

my $background = sprintf "SELECT model IS NULL, rows IS NULL, run FROM transformer.finetune('small', 'SELECT body AS text, label FROM pupils', output => 'mine', "
  . "eval_query => 'SELECT body AS text, label FROM pupils', background => true, %s)", sprintf($how, 1);
my $answer = as_teacher("SET search_path = school; SET app.tenant = 'b'; SET transformer.threads = 1; SET ROLE crew; $background");
like($answer, qr/^t\|t\|\d+$/, 'in the background: the run, nothing else');
($run) = $answer =~ /(\d+)$/;
wait_for("SELECT status = 'finished' FROM transformer.training_runs WHERE run = $run", 'background');
is(as_teacher("SELECT owner, status, rows, model FROM transformer.training_runs WHERE run = $run"), 'crew|finished|50|mine@1',
	'it ran as its caller, with its search_path and row security');
is(sql("SELECT owner FROM transformer.models WHERE name = 'mine'"), 'crew', 'who owns the version');
wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'transformer training'", 'the worker is gone');
is(scalar(run_directories()), 0, 'no files are left');

# What its functions put off to the end of the transaction
sql(q{
	CREATE TABLE school.seen (who name);
	CREATE TABLE school.rows (id int);
	ALTER TABLE school.rows OWNER TO crew;
	GRANT INSERT ON school.seen TO crew, teacher;
	GRANT CREATE ON SCHEMA school TO crew;
	SET ROLE crew;
	CREATE FUNCTION school.later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO school.seen VALUES (current_user); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON school.rows DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION school.later();
	CREATE FUNCTION school.note(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO school.rows VALUES (id); RETURN id; END $$;
});
$answer = as_teacher("SET search_path = school; SET app.tenant = 'b'; SET ROLE crew; "
	  . ($background =~ s/label FROM pupils', output/label FROM pupils WHERE note(id) > 0', output/r));
($run) = $answer =~ /(\d+)$/;
wait_for("SELECT status = 'finished' FROM transformer.training_runs WHERE run = $run", 'with triggers');
is(sql('SELECT DISTINCT who FROM school.seen'), 'crew', 'deferred triggers run as its caller, too');
sql("SELECT transformer.drop_model('mine')");

# Rolled back; prepared
sql('BEGIN; ' . training('rolled', 1, more => ', background => true') . '; ROLLBACK');
sql('BEGIN; SAVEPOINT s; ' . training('rolled', 1, more => ', background => true') . '; ROLLBACK TO s; COMMIT');
is(scalar(run_directories()), 0, 'rolled back: nothing begins');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'transformer training'"), '0', 'no worker');
is(unfinished(), '', 'no run');

# A version of the same weights, also after the worker was killed
$run = sql(training('aside', 0.05, more => ', background => true') =~ s/SELECT model/SELECT run/r);
wait_for($at_work, 'background');
is(sql('SELECT owner, model, phase IN (\'training\', \'evaluating\', \'writing checkpoint\') FROM transformer.training_progress'), $node->safe_psql('postgres', 'SELECT current_user') . '|aside|t', 'its progress is seen');
kill_trainer(sql('SELECT pid FROM transformer.training_progress'));
is(sql("SELECT status FROM transformer.training_runs WHERE run = $run"), 'interrupted', 'the worker was killed');
sql("SELECT transformer.resume_training($run)");
is(digest('aside'), $want, 'resumed in the foreground: the same weights');
$run = sql(training('aside', 60, more => ', background => true') =~ s/SELECT model/SELECT run/r);
wait_for("SELECT status = 'finished' FROM transformer.training_runs WHERE run = $run", 'background');
is(digest('aside'), $want, 'in the background: the same weights');

# Errors
$run = sql(q{SELECT run FROM transformer.finetune('small', 'SELECT body AS text, 1 / (id - 200) AS label FROM lesson', output => 'bad', background => true)});
wait_for("SELECT status = 'failed' FROM transformer.training_runs WHERE run = $run", 'failed');
like(sql("SELECT message FROM transformer.training_runs WHERE run = $run"), qr/^division by zero\nCONTEXT: .*row/s, 'an error is to be seen, and where');
is((sqlstate($node, "SELECT transformer.resume_training($run)"))[0], '55000', 'and cannot be resumed');
is(sql("SELECT transformer.cancel_training($run)"), 't', 'it is removed');
is((sqlstate($node, q{SELECT transformer.finetune('small', 'SELECT body FROM lesson', background => true)}))[0], '22023', 'what is wrong at once is said at once');

# Cancelled: from another session; then there is no worker left for a third
my @runs = map { sql(training("many$_", 60, more => ', background => true, max_length => 64') =~ s/SELECT model/SELECT run/r =~ s/epochs => 60/epochs => 10000/r) } 1 .. 2;
wait_for('SELECT count(*) = 2 FROM transformer.training_progress WHERE step > 10', 'two at work');
my $third = training('many3', 60, more => ', background => true') =~ s/epochs => 60/epochs => 10000/r;
($state, $message) = sqlstate($node, "BEGIN; $third; COMMIT;");
is($state, '53400', 'no worker is left: an error');
like($message, qr/max_worker_processes/, 'with a hint');
for (@runs)
{
	my $began = time;
	is(sql("SELECT transformer.cancel_training($_)"), 't', 'cancelled');
	wait_for("SELECT status = 'cancelled' FROM transformer.training_runs WHERE run = $_", 'cancelled');
	note(sprintf 'stopped within %.0f ms', (time - $began) * 1000);
}
wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'transformer training'", 'the workers are gone');

# ---- whose it is ----

is(as_teacher("SELECT count(*) FROM transformer.training_runs WHERE status <> 'finished'"), '0', 'runs of others are not seen');
is((sqlstate($node, "SELECT transformer.cancel_training($runs[0])", user => 'teacher'))[0], '42501', 'nor cancelled');
is((sqlstate($node, "SELECT transformer.resume_training($runs[0])", user => 'teacher'))[0], '42501', 'nor resumed');
sql("SELECT transformer.cancel_training(run) FROM transformer.training_runs WHERE status <> 'finished'");
as_teacher("SET app.tenant = 'b'; SET search_path = school; SET ROLE crew; SET statement_timeout = '0.3s';\n\\set ON_ERROR_STOP 0\n"
	  . ($background =~ s/background => true/background => false/r =~ s/epochs => 60/epochs => 10000/r));
$run = unfinished();
like($run, qr/^\d+$/, 'a run of a role is left');
sql("SELECT transformer.revoke_model('small', 'crew')");
is((sqlstate($node, "SELECT transformer.resume_training($run)", user => 'teacher'))[0], '42501', 'rights are checked again');
is(as_teacher("SELECT transformer.cancel_training($run)"), 't', 'its owner removes it');

# ---- dump ----

my $dump = $node->safe_psql('postgres', 'SELECT count(*), sum(steps), max(run) FROM transformer.training_runs');
my $lines = sql('SELECT count(*), sum(loss::numeric) FROM transformer.training_log');
my $file = scratch() . '/training.dump';
PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-Fc', '-f', $file, $node->connstr('postgres'));
sql('CREATE DATABASE restored');
PostgreSQL::Test::Utils::system_or_bail('pg_restore', '-d', $node->connstr('restored'), $file);
is($node->safe_psql('restored', 'SELECT count(*), sum(steps), max(run) FROM transformer.training_runs'), $dump, 'a dump has the runs');
is($node->safe_psql('restored', 'SELECT count(*), sum(loss::numeric) FROM transformer.training_log'), $lines, 'and their logs');
cmp_ok($node->safe_psql('restored', 'SELECT run FROM (' . training('restored', 60, more => ', max_steps => 1') =~ s/SELECT model/SELECT run/r . ') x'),
	'>', (split /\|/, $dump)[2], 'numbers go on');

# A database that is dropped takes its runs with it.
sqlstate($node, "SET statement_timeout = '0.5s'; " . training('dropped', 0.1) =~ s/epochs => 60/epochs => 10000/r, database => 'restored');
is(scalar(run_directories()), 1, 'a run of another database');
sql('DROP DATABASE restored');
sql(training('last', 60, more => ', max_steps => 1'));
is(scalar(run_directories()), 0, 'it goes after its database');

# ---- the extension goes ----

my $leaving = sub { $node->safe_psql('leaving', $_[0]) };
$node->safe_psql('postgres', 'CREATE DATABASE leaving');
$leaving->('CREATE EXTENSION transformer');
import_model($node, 'small', $small, 'leaving');
$leaving->(q{CREATE TABLE lesson AS SELECT i AS id, chr(97 + i % 26) AS body, (i % 3)::text AS label FROM generate_series(0, 299) i});
my $endless = training('never', 60) =~ s/epochs => 60/epochs => 100000/r;
sqlstate($node, "SET statement_timeout = '0.5s'; $endless", database => 'leaving');
$leaving->($endless =~ s/\)$/, background => true)/r);
usleep(20_000) while $leaving->('SELECT count(*) FROM transformer.training_progress WHERE step > 10') ne '1';
is(scalar(run_directories()), 2, 'a run that was cancelled, and one at work');
$leaving->(q{BEGIN; SELECT transformer.token_count('a', 'small'); DROP EXTENSION transformer CASCADE; ROLLBACK});
is(scalar(run_directories()), 2, 'DROP EXTENSION, rolled back: they are there');
$leaving->(q{SELECT transformer.token_count('a', 'small'); DROP EXTENSION transformer CASCADE});
wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'transformer training'", 'the worker to go');
is(scalar(run_directories()), 0, 'DROP EXTENSION takes runs with it');

done_testing();
