-- Roles of a Fwd2Bot ledger on PostgreSQL 14 or newer: who may do what, table by table. See docs/audit-roles.md.
--
--   fwd2bot_migrate   owns the schema and changes it: new releases
--   fwd2bot_app       nights, backfills, all daily work; appends to the audit trail, and can neither change nor remove it
--   fwd2bot_auditor   reads, and nothing else
--
-- Run it as a superuser in the ledger's own database: once while it is empty, and again after each migration, since a
-- table that it has not seen belongs to fwd2bot_migrate alone. Running it twice changes nothing. The roles have no
-- password until you give them one.

BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['fwd2bot_migrate', 'fwd2bot_app', 'fwd2bot_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fwd2bot_migrate, fwd2bot_auditor', current_database());
    -- a night compares a listing with the ledger in a temporary table
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO fwd2bot_app', current_database());
END $$;

ALTER SCHEMA public OWNER TO fwd2bot_migrate;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO fwd2bot_app, fwd2bot_auditor;

-- What is there already, to its owner; a sequence goes with its table.
DO $$
DECLARE
    what text;
BEGIN
    FOR what IN
        SELECT format('ALTER TABLE %s OWNER TO fwd2bot_migrate', oid::regclass)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO fwd2bot_migrate', oid::regprocedure)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = 'audit_refuse'
    LOOP
        EXECUTE what;
    END LOOP;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, fwd2bot_app, fwd2bot_auditor;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, fwd2bot_app, fwd2bot_auditor;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO fwd2bot_auditor;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO fwd2bot_app;

DO $$
DECLARE
    tab regclass;
    name text;
BEGIN
    FOR tab, name IN
        SELECT oid, relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM fwd2bot_app', tab);
        EXECUTE format('GRANT %s ON %s TO fwd2bot_app', CASE
            WHEN name = 'alembic_version' THEN 'SELECT'
            WHEN name = 'installation' THEN 'SELECT, INSERT'
            WHEN name = 'audit_head' THEN 'SELECT, UPDATE (size, frontier)'
            WHEN name = 'audit_keys' THEN 'SELECT, INSERT, UPDATE (until)'  -- a key is retired
            WHEN name = 'audit_states' THEN 'SELECT, INSERT, UPDATE (secret)'  -- erased
            WHEN name = 'audit_values' THEN 'SELECT, INSERT, UPDATE, DELETE'  -- names must be erasable
            WHEN name LIKE 'audit\_%' THEN 'SELECT, INSERT'
            ELSE 'SELECT, INSERT, UPDATE, DELETE'
        END, tab);
    END LOOP;
END $$;

COMMIT;
