-- The end of each tenant's chain of lock actions: what the next row goes on from, and what tells that the last rows are
-- missing. Whoever appends holds the row until the commit, so that `sequence` has no hole and no two rows go on from one.
CREATE TABLE bff.lock_audit_heads (
    tenant_id text   PRIMARY KEY,
    sequence  bigint NOT NULL CHECK (sequence >= 0),
    hash      bytea  NOT NULL CHECK (octet_length(hash) = 32)
);

SELECT bff.isolate_by_tenant('bff.lock_audit_heads');

-- With lock-integration away nobody may be able to say where a lock is that was never used before. Then nothing is sent,
-- and the rows that tell of the attempt say so by having no property.
ALTER TABLE bff.lock_action_proxy_audit ALTER COLUMN property_id DROP NOT NULL;
ALTER TABLE bff.lock_action_proxy_audit ADD CONSTRAINT nothing_is_sent_to_nowhere
    CHECK (property_id IS NOT NULL OR phase IN ('requested', 'failure'));

-- Where a lock was last.
CREATE INDEX lock_action_proxy_audit_lock_idx
    ON bff.lock_action_proxy_audit (tenant_id, lock_id, sequence DESC) WHERE property_id IS NOT NULL;
