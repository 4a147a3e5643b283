-- The tenant a transaction works for. Empty counts as unset: a setting made with SET LOCAL comes back as '' in the
-- next transaction of the same session, and nobody may be the tenant ''.
CREATE FUNCTION bff.current_tenant_id() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(current_setting('app.tenant_id', true), '') $$;

-- One way to put a table behind row-level security, so that none is forgotten half-way: enabled, forced on the owner
-- too, and with one policy for reading and writing. Safe to repeat.
CREATE FUNCTION bff.isolate_by_tenant(target regclass) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('DROP POLICY IF EXISTS tenant_isolation ON %s', target);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s '
        'USING (tenant_id = bff.current_tenant_id()) WITH CHECK (tenant_id = bff.current_tenant_id())',
        target);
END
$$;
