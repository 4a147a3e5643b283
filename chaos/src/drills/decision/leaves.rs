//! The leaves, in the tree's order.

use super::asking::Ask;
use super::{Arrange, Leaf, Signal, Want};

const AS_EVER: &[(Ask, Want)] = &[(Ask::Dashboard, Want::Whole)];
const MFA: &str = "bff_backoffice_mfa_attestation_total";

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

/// The leaf of a row.
pub(in crate::drills) fn leaf(id: &str) -> Option<&'static Leaf> {
    LEAVES.iter().find(|leaf| leaf.id == id)
}

/// One whose failure is in its request.
const fn refused(id: &'static str, asks: &'static [(Ask, Want)], code: &'static str) -> Leaf {
    let (arrange, signal) = (Arrange::Nothing, Signal::Code(code));
    Leaf { id, arrange, asks, signal, alert: None, afterwards: AS_EVER }
}

static LEAVES: [Leaf; 19] = [
    Leaf {
        id: "DT-1",
        arrange: Arrange::EdgeRule,
        asks: &[
            (Ask::Dashboard, Want::Problem(403, BLOCKED)),
            (Ask::Unsigned, Want::Problem(403, BLOCKED)),
        ],
        signal: Signal::Code(BLOCKED),
        alert: None,
        afterwards: AS_EVER,
    },
    refused(
        "DT-2",
        &[
            (Ask::Unsigned, Want::Problem(401, NO_SESSION)),
            (Ask::UnsignedNowhere, Want::Problem(401, NO_SESSION)),
        ],
        NO_SESSION,
    ),
    refused(
        "DT-3",
        &[
            (Ask::WithoutProof, Want::Problem(401, BAD_PROOF)),
            (Ask::ProofOfOtherKey, Want::Problem(401, BAD_PROOF)),
            (Ask::ProofOfOtherMethod, Want::Problem(401, BAD_PROOF)),
        ],
        BAD_PROOF,
    ),
    refused("DT-4", &[(Ask::ExpiredToken, Want::Problem(401, EXPIRED))], EXPIRED),
    refused("DT-5", &[(Ask::OtherDevice, Want::Problem(403, OTHER_DEVICE))], OTHER_DEVICE),
    Leaf {
        id: "DT-6",
        arrange: Arrange::Suspension,
        asks: &[
            (Ask::Dashboard, Want::Problem(503, SUSPENDED)),
            (Ask::Session, Want::Problem(503, SUSPENDED)),
        ],
        signal: Signal::Code(SUSPENDED),
        alert: None,
        afterwards: AS_EVER,
    },
    refused("DT-7", &[(Ask::OtherProperty, Want::Problem(403, OUT_OF_SCOPE))], OUT_OF_SCOPE),
    Leaf {
        id: "DT-8",
        arrange: Arrange::SessionTier,
        asks: &[
            (Ask::CheckIn, Want::Later(503, NO_TIER)),
            (Ask::Stream, Want::Later(503, NO_TIER)),
            (Ask::Dashboard, Want::Whole),
            (Ask::CheckIns, Want::Effects(0)),
        ],
        signal: Signal::Code(NO_TIER),
        alert: None,
        afterwards: &[(Ask::CheckIn, Want::Status(200)), (Ask::CheckIns, Want::Effects(1))],
    },
    Leaf {
        id: "DT-9",
        arrange: Arrange::Nothing,
        asks: AS_EVER,
        signal: Signal::Series("bff_backoffice_widget_total", &[("outcome", "ok")]),
        alert: None,
        afterwards: AS_EVER,
    },
    Leaf {
        id: "DT-10",
        arrange: Arrange::Upstream(&[("pricing", "status", None)]),
        asks: &[(Ask::Dashboard, Want::Without("rateSnapshot"))],
        signal: Signal::Series("bff_backoffice_dashboard_partial_total", &[]),
        alert: None,
        afterwards: AS_EVER,
    },
    Leaf {
        id: "DT-11",
        arrange: Arrange::Upstream(&[("reservation", "refuse", None)]),
        asks: &[(Ask::Arrivals, Want::Problem(502, NO_UPSTREAM))],
        signal: Signal::Code(NO_UPSTREAM),
        alert: None,
        afterwards: &[(Ask::Arrivals, Want::Status(200)), (Ask::Dashboard, Want::Whole)],
    },
    // It does what it was asked and its answer is lost; then it is too slow to say so again.
    Leaf {
        id: "DT-12",
        arrange: Arrange::Upstream(&[
            ("reservation", "lost_answer", Some(1)),
            ("reservation", "hang", None),
        ]),
        asks: &[(Ask::CheckIn, Want::Problem(504, SLOW_UPSTREAM))],
        signal: Signal::Code(SLOW_UPSTREAM),
        alert: None,
        afterwards: &[
            (Ask::CheckIn, Want::Status(200)),
            (Ask::CheckIn, Want::Replayed(200)),
            (Ask::CheckIns, Want::Effects(1)),
        ],
    },
    Leaf {
        id: "DT-13",
        arrange: Arrange::Upstream(&[("lock", "refuse", None)]),
        asks: &[
            (Ask::IssueKey, Want::Problem(502, NO_UPSTREAM)),
            (Ask::LockRows, Want::Rows("requested failure")),
            (Ask::KeysMade, Want::Effects(0)),
            (Ask::Dashboard, Want::Whole),
        ],
        signal: Signal::Series("bff_backoffice_lock_action_total", &[("outcome", "failure")]),
        alert: None,
        afterwards: &[
            (Ask::IssueKey, Want::Status(201)),
            (Ask::IssueKey, Want::Replayed(201)),
            (Ask::LockRows, Want::Rows("requested failure requested success")),
            (Ask::KeysMade, Want::Effects(1)),
        ],
    },
    refused("DT-14", &[(Ask::RefundWithoutFactor, Want::Problem(401, NO_FACTOR))], NO_FACTOR),
    refused("DT-15", &[(Ask::RefundWithUsedFactor, Want::Problem(401, USED_FACTOR))], USED_FACTOR),
    Leaf {
        id: "DT-16",
        arrange: Arrange::Upstream(&[("reservation", "drift", None)]),
        asks: &[(Ask::Arrivals, Want::Problem(502, DRIFT))],
        signal: Signal::Series(
            "bff_backoffice_upstream_schema_drift_total",
            &[("upstream", "reservation")],
        ),
        alert: Some("BffSchemaDrift"),
        afterwards: &[(Ask::Arrivals, Want::Status(200)), (Ask::Dashboard, Want::Whole)],
    },
    Leaf {
        id: "DT-17",
        arrange: Arrange::Nothing,
        asks: &[(Ask::Refund, Want::Status(201))],
        signal: Signal::Series(MFA, &[("outcome", "used")]),
        alert: None,
        afterwards: AS_EVER,
    },
    Leaf {
        id: "DT-18",
        arrange: Arrange::Nothing,
        asks: &[(Ask::CheckIn, Want::Status(200)), (Ask::CheckIn, Want::Replayed(200))],
        signal: Signal::Series("bff_backoffice_mutation_settled_total", &[("outcome", "stored")]),
        alert: None,
        afterwards: &[(Ask::CheckIns, Want::Effects(1))],
    },
    Leaf {
        id: "DT-19",
        arrange: Arrange::Postgres,
        asks: &[
            (Ask::CheckIn, Want::Problem(503, NO_STORE)),
            (Ask::CheckIns, Want::Effects(0)),
            (Ask::Dashboard, Want::Without("syncStatus")),
            (Ask::Readiness, Want::Problem(503, "durable-store")),
        ],
        signal: Signal::Code(NO_STORE),
        alert: None,
        afterwards: &[
            (Ask::CheckIn, Want::Status(200)),
            (Ask::CheckIns, Want::Effects(1)),
            (Ask::Readiness, Want::Status(200)),
        ],
    },
];
