-- Before all others: without the models that come with the extension, so that tests
-- give the same where these are installed and where not.  They have a test of their own, test/t/014_shipped.pl.
DELETE FROM _transformer.privilege WHERE name LIKE '@%';
DELETE FROM _transformer.reference WHERE name LIKE '@%';
DELETE FROM _transformer.tensor WHERE name LIKE '@%';
DELETE FROM _transformer.version WHERE name LIKE '@%';
DELETE FROM _transformer.model WHERE name LIKE '@%';
DELETE FROM _transformer.chunk WHERE writer = '0';
