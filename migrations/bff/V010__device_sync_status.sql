-- What the gateway last heard from a device, and the cursor it last saw. A projection: sync-service is the authority.
CREATE TABLE bff.device_sync_status (
    tenant_id         text        NOT NULL,
    id                text        NOT NULL,
    device_id         text        NOT NULL,
    operator_id       text        NOT NULL,
    property_id       text,
    app_version       text,
    app_platform      text,
    network_mode      text,
    pending_actions   integer     NOT NULL DEFAULT 0 CHECK (pending_actions >= 0),
    last_heartbeat_at timestamptz NOT NULL,
    sync_cursor       text,
    sync_cursor_at    timestamptz,
    version           integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, device_id),
    UNIQUE (tenant_id, id)
);

SELECT bff.isolate_by_tenant('bff.device_sync_status');
