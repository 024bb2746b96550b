-- Settings: what there is, who may change it, what is refused.
LOAD 'transformer';
SELECT name, setting, unit, vartype, context, min_val, max_val, enumvals
FROM pg_settings WHERE name LIKE 'transformer.%' ORDER BY name COLLATE "C";
SELECT count(*) FROM pg_settings WHERE name LIKE 'transformer.%' AND short_desc = '';

-- The instruction set is checked against this machine.
SET transformer.isa = 'ref';
SHOW transformer.isa;
\set VERBOSITY terse
SET transformer.isa = 'abacus';
SET transformer.isa = 'auto';

-- No session lifts a bound.
SET transformer.max_session_memory = '64MB';
SET transformer.session_memory = '65MB';
SET transformer.session_memory = '64MB';
RESET transformer.session_memory;
RESET transformer.max_session_memory;
SET transformer.session_memory = '1kB';
SET transformer.threads = -1;
SET transformer.threads = 100000;
SET transformer.truncate = 'perhaps';
SET transformer.shared_memory = '1GB';
SET transformer.max_threads = 4;
SET transformer.no_such_setting = 1;

CREATE ROLE regress_transformer_user;
SET SESSION AUTHORIZATION regress_transformer_user;
SET transformer.isa = 'ref';
SET transformer.weights_store = 'dsm';
SET transformer.max_session_memory = '8GB';
SET transformer.threads = 2;
SET transformer.truncate = 'error';
RESET SESSION AUTHORIZATION;
DROP ROLE regress_transformer_user;

-- A change is taken back with its transaction.
BEGIN;
SET LOCAL transformer.isa = 'ref';
SHOW transformer.isa;
ROLLBACK;
SHOW transformer.isa;
