//! The rows of the matrix that a failure of a process, a stand-in, a certificate or a rule makes.

use super::{Action, BlastRadius, Failure, Got, Notices};

const WORKS: &[(Action, Got)] = &[(Action::Dashboard, Got::Works), (Action::Change, Got::Works)];

/// The same in every back office, and nothing on the other surfaces.
macro_rules! back_offices {
    ($failure:expr, $both:expr) => {
        BlastRadius {
            failure: $failure,
            own: &$both,
            other: &$both,
            booking: Notices::Nothing,
            consumer: Notices::Nothing,
        }
    };
}

pub(in crate::drills) static BR_1: BlastRadius = back_offices!(
    Failure::Redis,
    [(Action::Dashboard, Got::Works), (Action::Change, Got::Refused(&[503]))]
);

pub(in crate::drills) static BR_2: BlastRadius = back_offices!(
    Failure::Database,
    [(Action::Dashboard, Got::Works), (Action::Change, Got::Refused(&[503]))]
);

const RENEWAL_FAILS: &[(Action, Got)] = &[
    (Action::Renewal, Got::Refused(&[502, 503, 504])),
    (Action::Dashboard, Got::Works),
    (Action::Change, Got::Works),
];

pub(in crate::drills) static BR_3: BlastRadius = BlastRadius {
    failure: Failure::Upstream("iam"),
    own: RENEWAL_FAILS,
    other: RENEWAL_FAILS,
    booking: Notices::Upstream("iam"),
    consumer: Notices::Upstream("iam"),
};

const WITHOUT_RESERVATION: &[(Action, Got)] =
    &[(Action::Arrivals, Got::Refused(&[502, 504])), (Action::Dashboard, Got::Works)];

pub(in crate::drills) static BR_4: BlastRadius = BlastRadius {
    failure: Failure::Upstream("reservation"),
    own: WITHOUT_RESERVATION,
    other: WITHOUT_RESERVATION,
    booking: Notices::Upstream("reservation"),
    consumer: Notices::Nothing,
};

pub(in crate::drills) static BR_5: BlastRadius = back_offices!(
    Failure::Upstream("lock"),
    [(Action::Change, Got::Refused(&[502, 504])), (Action::Dashboard, Got::Works)]
);

pub(in crate::drills) static BR_6: BlastRadius = back_offices!(
    Failure::Upstream("sync"),
    [
        (Action::Handshake, Got::Refused(&[502, 504])),
        (Action::Dashboard, Got::Works),
        (Action::Change, Got::Works),
    ]
);

pub(in crate::drills) static BR_7: BlastRadius = back_offices!(
    Failure::Certificate,
    [(Action::Dashboard, Got::NoConnection), (Action::Change, Got::NoConnection)]
);

pub(in crate::drills) static BR_8: BlastRadius = BlastRadius {
    failure: Failure::EdgeRule,
    own: &[(Action::Dashboard, Got::Refused(&[403])), (Action::Change, Got::Refused(&[403]))],
    other: WORKS,
    booking: Notices::Nothing,
    consumer: Notices::Nothing,
};
