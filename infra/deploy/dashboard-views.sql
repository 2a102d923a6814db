-- Views for dashboards over a Fwd2Bot ledger on PostgreSQL 14 or newer, in a schema of their own. See docs/deploying.md.
--
--   fwd2bot_dashboard   reads these views, and no table: neither keys of images, nor names of persons or of legal cases
--
-- Run it as a superuser in the ledger's own database, after its tables were made. Running it twice changes nothing.
-- A view holds on to the columns that it shows, so before a new release migrates the ledger:
-- DROP SCHEMA dashboard CASCADE, and this file once more afterwards.

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fwd2bot_dashboard') THEN
        CREATE ROLE fwd2bot_dashboard LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fwd2bot_dashboard', current_database());
END $$;

DROP SCHEMA IF EXISTS dashboard CASCADE;
CREATE SCHEMA dashboard;

CREATE VIEW dashboard.collections AS
SELECT name AS collection, registered_at FROM public.collections;

-- One row a run. images_per_second is over the time with workers up, as the night's own summary counts it.
CREATE VIEW dashboard.nights AS
SELECT r.id AS run_id, c.name AS collection, r.kind, r.night, r.state, r.started_at, r.ended_at,
       EXTRACT(EPOCH FROM r.ended_at - r.started_at)::float8 AS seconds,
       COALESCE(s.images, 0) AS images, COALESCE(f.failed, 0) AS failed,
       s.images / NULLIF((r.summary::jsonb ->> 'compress_seconds')::float8, 0) AS images_per_second,
       r.host, r.software, r.message
FROM public.runs r
JOIN public.collections c ON c.id = r.collection_id
LEFT JOIN (SELECT run_id, SUM(rows)::bigint AS images FROM public.shards GROUP BY run_id) s ON s.run_id = r.id
LEFT JOIN (SELECT run_id, COUNT(*) AS failed FROM public.failures GROUP BY run_id) f ON f.run_id = r.id;

-- Bytes by collection. freed: originals that are gone, as the store confirmed; net: freed less what is stored instead.
-- While nothing is destroyed nothing is saved, and net is below zero.
CREATE VIEW dashboard.bytes AS
SELECT c.name AS collection,
       COALESCE(o.originals, 0) AS originals, COALESCE(o.original_bytes, 0) AS original_bytes,
       COALESCE(o.destroyed, 0) AS destroyed, COALESCE(o.freed_bytes, 0) AS freed_bytes,
       COALESCE(s.stored_bytes, 0) AS stored_bytes,
       COALESCE(o.freed_bytes, 0) - COALESCE(s.stored_bytes, 0) AS net_saved_bytes
FROM public.collections c
LEFT JOIN (
    SELECT collection_id,
           COUNT(*) FILTER (WHERE destroyed_seq IS NULL AND superseded_at IS NULL) AS originals,
           (SUM(size) FILTER (WHERE destroyed_seq IS NULL AND superseded_at IS NULL))::bigint AS original_bytes,
           COUNT(*) FILTER (WHERE destroyed_seq IS NOT NULL) AS destroyed,
           (SUM(size) FILTER (WHERE destroyed_seq IS NOT NULL))::bigint AS freed_bytes
    FROM public.object_versions GROUP BY collection_id
) o ON o.collection_id = c.id
LEFT JOIN (SELECT collection_id, SUM(bytes)::bigint AS stored_bytes FROM public.shards GROUP BY collection_id) s
    ON s.collection_id = c.id;

-- One row a committed batch: what was read, what was stored, how fast.
CREATE VIEW dashboard.batches AS
SELECT b.id AS batch_id, c.name AS collection, b.run_id, b.finished_at, b.worker, b.attempts, s.rows AS images,
       b.bytes_in AS read_bytes, s.bytes AS stored_bytes
FROM public.batches b
JOIN public.collections c ON c.id = b.collection_id
JOIN public.shards s ON s.batch_id = b.id
WHERE b.state = 'committed';

CREATE VIEW dashboard.failures AS
SELECT c.name AS collection, f.run_id, f.reason, f.failed_at, f.resolved_at, f.resolved_at IS NULL AS open
FROM public.failures f
JOIN public.runs r ON r.id = f.run_id
JOIN public.collections c ON c.id = r.collection_id;

-- One row: how much of the audit trail is signed, and how much of it somebody outside keeps.
CREATE VIEW dashboard.audit AS
SELECT h.size AS events, COALESCE(k.signed, 0) AS signed, COALESCE(a.anchored, 0) AS anchored,
       h.size - COALESCE(k.signed, 0) AS unsigned_events, h.size - COALESCE(a.anchored, 0) AS unanchored_events,
       k.signed_at, a.anchored_at
FROM public.audit_head h
CROSS JOIN (SELECT MAX(size) AS signed, MAX(signed_at) AS signed_at FROM public.audit_checkpoints) k
CROSS JOIN (SELECT MAX(size) AS anchored, MAX(anchored_at) AS anchored_at FROM public.audit_anchors) a;

CREATE VIEW dashboard.checkpoints AS
SELECT k.size AS events, encode(k.root, 'hex') AS root, k.signed_at, COUNT(a.anchor) AS anchors
FROM public.audit_checkpoints k
LEFT JOIN public.audit_anchors a ON a.size = k.size
GROUP BY k.size, k.root, k.signed_at;

CREATE VIEW dashboard.anchors AS
SELECT anchor, kind, place, size AS events, anchored_at, retain_until FROM public.audit_anchors;

CREATE VIEW dashboard.disposition_lists AS
SELECT l.id AS list_id, c.name AS collection, l.policy_id AS policy, l.policy_version, l.state, l.objects, l.bytes,
       l.approvals AS approvals_needed, l.made_at, l.grace_until, l.expires_at, l.ended_at
FROM public.disposition_lists l
JOIN public.collections c ON c.id = l.collection_id;

CREATE VIEW dashboard.disposition_states AS
SELECT c.name AS collection, i.state, i.reason, COUNT(*) AS objects, SUM(v.size)::bigint AS bytes,
       MAX(i.changed_at) AS changed_at
FROM public.disposition_items i
JOIN public.object_versions v ON v.id = i.object_version_id
JOIN public.collections c ON c.id = v.collection_id
GROUP BY c.name, i.state, i.reason;

-- Holds are counted and never named: a confidential one must not show on a wall.
CREATE VIEW dashboard.holds AS
SELECT c.name AS collection, COUNT(DISTINCT m.hold_id) AS holds, COUNT(DISTINCT m.object_version_id) AS held_objects
FROM public.legal_holds h
JOIN public.hold_members m ON m.hold_id = h.id
JOIN public.object_versions v ON v.id = m.object_version_id
JOIN public.collections c ON c.id = v.collection_id
WHERE h.released_at IS NULL
GROUP BY c.name;

GRANT USAGE ON SCHEMA dashboard TO fwd2bot_dashboard;
GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO fwd2bot_dashboard;

COMMIT;
