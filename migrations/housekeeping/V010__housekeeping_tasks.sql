-- The work. By month of `created_at`, so that old tasks leave without a delete. No foreign key to `rooms`: a check-out
-- of a room that is gone makes a task that is cancelled, not an event that fails.
CREATE TABLE housekeeping.housekeeping_tasks (
    id                text        NOT NULL,
    tenant_id         text        NOT NULL,
    property_id       text        NOT NULL,
    room_id           text        NOT NULL,
    reservation_id    text,
    kind              text        NOT NULL CHECK (kind IN
        ('turnover', 'mid_stay_clean', 'deep_clean', 'post_maintenance', 'post_renovation', 'inspection')),
    priority          text        NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    status            text        NOT NULL CHECK (status IN
        ('pending', 'assigned', 'in_progress', 'paused', 'completed', 'failed', 'cancelled')),
    assigned_staff_id text,
    scheduled_for     timestamptz,
    -- Of a turnover: when the guest left, when the next one is expected, when the room was ready again.
    checked_out_at    timestamptz,
    next_arrival_at   timestamptz,
    room_ready_at     timestamptz,
    source            text        NOT NULL DEFAULT 'manual' CHECK (source IN ('event', 'manual', 'scheduler')),
    source_event_id   text,
    started_at        timestamptz,
    ended_at          timestamptz,
    end_reason        text,
    version           integer     NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id, created_at),
    CONSTRAINT work_has_a_worker CHECK (status NOT IN ('assigned', 'in_progress', 'paused')
                                        OR assigned_staff_id IS NOT NULL)
) PARTITION BY RANGE (created_at);

CREATE TABLE housekeeping.housekeeping_tasks_default PARTITION OF housekeeping.housekeeping_tasks DEFAULT;

SELECT housekeeping.isolate_by_tenant('housekeeping.housekeeping_tasks');
SELECT housekeeping.isolate_by_tenant('housekeeping.housekeeping_tasks_default');
