-- Attempts at a second factor, so that a code cannot be guessed: a row counts as a wrong code until iam has judged it
-- right or could not be asked. A row that nobody settles, because its process died, counts like a wrong code and, like
-- one, stops counting after the window. Rows that no longer count are deleted by the operator's next attempt.
CREATE TABLE bff.mfa_attempts (
    tenant_id   text        NOT NULL,
    attempt_id  text        NOT NULL,
    operator_id text        NOT NULL,
    device_id   text        NOT NULL,
    request_id  text        NOT NULL,
    reserved_at timestamptz NOT NULL,
    -- When iam said that the code is wrong; absent while iam is asked.
    settled_at  timestamptz,
    PRIMARY KEY (tenant_id, attempt_id),
    CONSTRAINT settled_after_it_was_reserved CHECK (settled_at >= reserved_at)
);

CREATE INDEX mfa_attempts_operator_idx ON bff.mfa_attempts (tenant_id, operator_id);

SELECT bff.isolate_by_tenant('bff.mfa_attempts');
