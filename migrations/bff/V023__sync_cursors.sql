-- The cursor as sync-service numbers it, which nobody wrote down before, and whether it was found to be another than
-- sync-service's (row F-35). sync_cursor_at: of the pull it stands for.
ALTER TABLE bff.device_sync_status
    DROP COLUMN sync_cursor,
    ADD COLUMN cursor_version     bigint CHECK (cursor_version >= 0),
    -- When the gateway heard of it.
    ADD COLUMN cursor_noted_at    timestamptz,
    -- Since when it is known to be wrong. The next handshake brings the right one.
    ADD COLUMN cursor_diverged_at timestamptz,
    ADD CONSTRAINT a_cursor_is_whole CHECK (
        (cursor_version IS NULL) = (sync_cursor_at IS NULL) AND (cursor_version IS NULL) = (cursor_noted_at IS NULL)),
    ADD CONSTRAINT only_a_cursor_diverges CHECK (cursor_diverged_at IS NULL OR cursor_version IS NOT NULL);

-- Where cursors are cached, for the job that compares them: ids of tenants and properties, and no more.
CREATE FUNCTION bff.places_with_sync_cursors() RETURNS TABLE (tenant_id text, property_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    SELECT DISTINCT s.tenant_id, s.property_id
    FROM bff.device_sync_status s
    WHERE s.cursor_version IS NOT NULL AND s.property_id IS NOT NULL
$$;
