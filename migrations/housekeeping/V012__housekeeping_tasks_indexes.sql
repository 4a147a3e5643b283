-- The board and the summary read three small sets of a property's tasks: what is open, whenever it was made; what was
-- made today; and the rooms that got ready today. The partial ones stay small however long the history grows.
CREATE INDEX housekeeping_tasks_open_idx
    ON housekeeping.housekeeping_tasks (tenant_id, property_id)
    WHERE status IN ('pending', 'assigned', 'in_progress', 'paused');

CREATE INDEX housekeeping_tasks_made_idx
    ON housekeeping.housekeeping_tasks (tenant_id, property_id, created_at);

CREATE INDEX housekeeping_tasks_ready_idx
    ON housekeeping.housekeeping_tasks (tenant_id, property_id, room_ready_at)
    WHERE room_ready_at IS NOT NULL;
