-- What a repeat is checked against.
--
-- `property_id` is where the mutation had its effect, from the request or from the upstream's answer. Where neither says,
-- `property_ids`, the caller's scope at the first request, stands for it: it holds wherever the effect can be. Both are
-- absent in rows from before this migration, which replay as they did until they run out, a day later.
-- `resumed` says that the claim took over one that had not finished: such a request may use its attestation again.
ALTER TABLE bff.idempotency
    ADD COLUMN property_id  text,
    ADD COLUMN property_ids text[],
    ADD COLUMN resumed      boolean NOT NULL DEFAULT false;

-- The use of an attestation belongs to a key and to the request under it. Rows from before this migration have no
-- fingerprint and match no request: the attestation is used, whatever comes. A use must be kept for as long as its
-- attestation is; without its row the attestation would be free again.
ALTER TABLE bff.mfa_attestation_uses
    ADD COLUMN fingerprint bytea CHECK (octet_length(fingerprint) = 32);

CREATE OR REPLACE FUNCTION bff.mfa_attestations_used_twice(since timestamptz) RETURNS bigint
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
    SELECT count(*) FROM (
        SELECT FROM bff.mfa_attestation_uses u
        WHERE u.used_at >= since
        GROUP BY u.tenant_id, u.attestation_id
        HAVING count(DISTINCT (u.used_by, u.fingerprint)) > 1) twice
$$;
