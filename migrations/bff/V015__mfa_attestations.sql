-- What a second factor was shown for: one action of one operator at one device with one key, for five minutes. A resource
-- or a body's digest that is absent was not named when the factor was shown, and any is covered.
CREATE TABLE bff.mfa_attestations (
    tenant_id      text        NOT NULL,
    attestation_id text        NOT NULL,
    operator_id    text        NOT NULL,
    device_id      text        NOT NULL,
    thumbprint     text        NOT NULL CHECK (length(thumbprint) = 43),
    scope          text        NOT NULL CHECK (scope IN ('folio.refund', 'folio.charge', 'lock.revoke')),
    resource       text        CHECK (length(resource) BETWEEN 1 AND 128),
    body_digest    bytea       CHECK (octet_length(body_digest) = 32),
    issued_at      timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    request_id     text        NOT NULL,
    PRIMARY KEY (tenant_id, attestation_id),
    CONSTRAINT lasts_five_minutes_at_most CHECK (
        expires_at > issued_at AND expires_at <= issued_at + interval '5 minutes')
);

SELECT bff.isolate_by_tenant('bff.mfa_attestations');
SELECT bff.make_append_only('bff.mfa_attestations');
