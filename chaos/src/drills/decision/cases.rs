//! The cases, in the order of the decision tree.

use super::probe::Probe;
use super::{DecisionCase, Expected, Failure, Signal};

const BACK_TO_NORMAL: &[(Probe, Expected)] = &[(Probe::Dashboard, Expected::Whole)];
const MFA_METRIC: &str = "bff_backoffice_mfa_attestation_total";

const BLOCKED: &str = "MELMASTOON.BFF.EDGE_BLOCKED";
const NO_SESSION: &str = "MELMASTOON.BFF.SESSION_REQUIRED";
const BAD_PROOF: &str = "MELMASTOON.BFF.DPOP_INVALID";
const EXPIRED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";
const OTHER_DEVICE: &str = "MELMASTOON.BFF.DEVICE_MISMATCH";
const SUSPENDED: &str = "MELMASTOON.TENANT.SUSPENDED";
const OUT_OF_SCOPE: &str = "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE";
const NO_TIER: &str = "MELMASTOON.BFF.CACHE_UNAVAILABLE";
const NO_UPSTREAM: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
const SLOW_UPSTREAM: &str = "MELMASTOON.BFF.UPSTREAM_TIMEOUT";
const NO_FACTOR: &str = "MELMASTOON.BFF.MFA_REQUIRED";
const USED_FACTOR: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";
const DRIFT: &str = "MELMASTOON.BFF.SCHEMA_DRIFT";
const NO_STORE: &str = "MELMASTOON.BFF.STORE_UNAVAILABLE";

/// A case whose request itself is wrong.
const fn refused(probes: &'static [(Probe, Expected)], code: &'static str) -> DecisionCase {
    let (failure, signal) = (Failure::Nothing, Signal::Code(code));
    DecisionCase { failure, probes, signal, alert: None, afterwards: BACK_TO_NORMAL }
}

pub(in crate::drills) static DT_1: DecisionCase = DecisionCase {
    failure: Failure::EdgeRule,
    probes: &[
        (Probe::Dashboard, Expected::Problem(403, BLOCKED)),
        (Probe::Unsigned, Expected::Problem(403, BLOCKED)),
    ],
    signal: Signal::Code(BLOCKED),
    alert: None,
    afterwards: BACK_TO_NORMAL,
};

pub(in crate::drills) static DT_2: DecisionCase = refused(
    &[
        (Probe::Unsigned, Expected::Problem(401, NO_SESSION)),
        (Probe::UnsignedNowhere, Expected::Problem(401, NO_SESSION)),
    ],
    NO_SESSION,
);

pub(in crate::drills) static DT_3: DecisionCase = refused(
    &[
        (Probe::WithoutProof, Expected::Problem(401, BAD_PROOF)),
        (Probe::ProofOfOtherKey, Expected::Problem(401, BAD_PROOF)),
        (Probe::ProofOfOtherMethod, Expected::Problem(401, BAD_PROOF)),
    ],
    BAD_PROOF,
);

pub(in crate::drills) static DT_4: DecisionCase =
    refused(&[(Probe::ExpiredToken, Expected::Problem(401, EXPIRED))], EXPIRED);

pub(in crate::drills) static DT_5: DecisionCase =
    refused(&[(Probe::OtherDevice, Expected::Problem(403, OTHER_DEVICE))], OTHER_DEVICE);

pub(in crate::drills) static DT_6: DecisionCase = DecisionCase {
    failure: Failure::Suspension,
    probes: &[
        (Probe::Dashboard, Expected::Problem(503, SUSPENDED)),
        (Probe::Session, Expected::Problem(503, SUSPENDED)),
    ],
    signal: Signal::Code(SUSPENDED),
    alert: None,
    afterwards: BACK_TO_NORMAL,
};

pub(in crate::drills) static DT_7: DecisionCase =
    refused(&[(Probe::OtherProperty, Expected::Problem(403, OUT_OF_SCOPE))], OUT_OF_SCOPE);

pub(in crate::drills) static DT_8: DecisionCase = DecisionCase {
    failure: Failure::SessionTier,
    probes: &[
        (Probe::CheckIn, Expected::Later(503, NO_TIER)),
        (Probe::Stream, Expected::Later(503, NO_TIER)),
        (Probe::Dashboard, Expected::Whole),
        (Probe::CheckIns, Expected::Effects(0)),
    ],
    signal: Signal::Code(NO_TIER),
    alert: None,
    afterwards: &[(Probe::CheckIn, Expected::Status(200)), (Probe::CheckIns, Expected::Effects(1))],
};

pub(in crate::drills) static DT_10: DecisionCase = DecisionCase {
    failure: Failure::Upstream(&[("pricing", "status", None)]),
    probes: &[(Probe::Dashboard, Expected::Stale("rateSnapshot"))],
    signal: Signal::Series("bff_backoffice_dashboard_partial_total", &[]),
    alert: None,
    afterwards: BACK_TO_NORMAL,
};

pub(in crate::drills) static DT_11: DecisionCase = DecisionCase {
    failure: Failure::Upstream(&[("reservation", "refuse", None)]),
    probes: &[(Probe::Arrivals, Expected::Problem(502, NO_UPSTREAM))],
    signal: Signal::Code(NO_UPSTREAM),
    alert: None,
    afterwards: &[(Probe::Arrivals, Expected::Status(200)), (Probe::Dashboard, Expected::Whole)],
};

/// The change succeeds but its response is lost; then reservation is too slow for the gateway's repeat.
/// The operator repeats it with the same key.
pub(in crate::drills) static DT_12: DecisionCase = DecisionCase {
    failure: Failure::Reservation {
        route: "POST /api/v1/reservations/{id}/check-in",
        kinds: &["lost_answer", "hang"],
    },
    probes: &[
        (Probe::CheckIn, Expected::Problem(504, SLOW_UPSTREAM)),
        (Probe::CheckIns, Expected::Effects(1)),
        (Probe::CheckIn, Expected::Status(200)),
        (Probe::CheckIn, Expected::Replayed(200)),
        (Probe::CheckIns, Expected::Effects(1)),
    ],
    signal: Signal::Code(SLOW_UPSTREAM),
    alert: None,
    afterwards: BACK_TO_NORMAL,
};

pub(in crate::drills) static DT_13: DecisionCase = DecisionCase {
    failure: Failure::Upstream(&[("lock", "refuse", None)]),
    probes: &[
        (Probe::IssueKey, Expected::Problem(502, NO_UPSTREAM)),
        (Probe::LockRows, Expected::Rows("requested failure")),
        (Probe::KeysMade, Expected::Effects(0)),
        (Probe::Dashboard, Expected::Whole),
    ],
    signal: Signal::Series("bff_backoffice_lock_action_total", &[("outcome", "failure")]),
    alert: None,
    afterwards: &[
        (Probe::IssueKey, Expected::Status(201)),
        (Probe::IssueKey, Expected::Replayed(201)),
        (Probe::LockRows, Expected::Rows("requested failure requested success")),
        (Probe::KeysMade, Expected::Effects(1)),
    ],
};

pub(in crate::drills) static DT_14: DecisionCase =
    refused(&[(Probe::RefundWithoutFactor, Expected::Problem(401, NO_FACTOR))], NO_FACTOR);

pub(in crate::drills) static DT_15: DecisionCase = DecisionCase {
    failure: Failure::SecondUse,
    ..refused(&[(Probe::RefundWithUsedFactor, Expected::Problem(401, USED_FACTOR))], USED_FACTOR)
};

pub(in crate::drills) static DT_16: DecisionCase = DecisionCase {
    failure: Failure::Upstream(&[("reservation", "drift", None)]),
    probes: &[(Probe::Arrivals, Expected::Problem(502, DRIFT))],
    signal: Signal::Series(
        "bff_backoffice_upstream_schema_drift_total",
        &[("upstream", "reservation")],
    ),
    alert: Some("BffSchemaDrift"),
    afterwards: &[(Probe::Arrivals, Expected::Status(200)), (Probe::Dashboard, Expected::Whole)],
};

pub(in crate::drills) static DT_17: DecisionCase = DecisionCase {
    failure: Failure::Nothing,
    probes: &[(Probe::Refund, Expected::Status(201))],
    signal: Signal::Series(MFA_METRIC, &[("outcome", "used")]),
    alert: None,
    afterwards: BACK_TO_NORMAL,
};

pub(in crate::drills) static DT_18: DecisionCase = DecisionCase {
    failure: Failure::Nothing,
    probes: &[
        (Probe::CheckIn, Expected::Status(200)),
        (Probe::Activity, Expected::Rows("requested success")),
        (Probe::CheckIn, Expected::Replayed(200)),
        (Probe::Activity, Expected::Rows("requested success")),
    ],
    signal: Signal::Series("bff_backoffice_mutation_settled_total", &[("outcome", "stored")]),
    alert: None,
    afterwards: &[(Probe::CheckIns, Expected::Effects(1))],
};

pub(in crate::drills) static DT_19: DecisionCase = DecisionCase {
    failure: Failure::Postgres,
    probes: &[
        (Probe::CheckIn, Expected::Later(503, NO_STORE)),
        (Probe::CheckIns, Expected::Effects(0)),
        (Probe::Dashboard, Expected::Without("syncStatus")),
        (Probe::Arrivals, Expected::Status(200)),
        (Probe::Session, Expected::Status(200)),
        (Probe::Readiness, Expected::Problem(503, "durable-store")),
    ],
    signal: Signal::Code(NO_STORE),
    alert: None,
    afterwards: &[
        (Probe::CheckIn, Expected::Status(200)),
        (Probe::CheckIns, Expected::Effects(1)),
        (Probe::Activity, Expected::Rows("requested success")),
        (Probe::Readiness, Expected::Status(200)),
    ],
};
