use contracts::id::{Id, PropertyId};
use contracts::role::RoleSet;
use jiff::SignedDuration;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id<T: Id>(number: u128) -> T {
    T::from_parts(at(0), number)
}

fn principal(issued: i64) -> Principal {
    Principal {
        tenant: id(1),
        operator: id(1),
        device: id(1),
        session: Some(id(1)),
        roles: RoleSet::ANY,
        properties: Vec::<PropertyId>::new(),
        issued_at: at(issued),
        expires_at: at(issued + 900),
        thumbprint: None,
        token_digest: [0; 32],
    }
}

fn revoked(tenant: u128, target: Target, seconds: i64) -> Revocation {
    let at = at(seconds) + SignedDuration::from_millis(300);
    Revocation {
        tenant: id(tenant),
        target,
        revoked_at: at,
        reason: "lost".into(),
        recorded_at: at,
    }
}

fn after(news: Vec<Revocation>) -> Revocations {
    let revocations = Revocations::default();
    revocations.apply(news, at(100));
    revocations
}

#[test]
fn tokens_issued_before_are_void_and_those_issued_later_are_good() {
    for target in [Target::Device(id(1)), Target::Operator(id(1)), Target::Tenant(id(1))] {
        let revocations = after(vec![revoked(1, target, 10)]);
        assert_eq!(revocations.against(&principal(9)).as_deref(), Some("lost"), "{target:?}");
        assert!(revocations.against(&principal(10)).is_some(), "the same second");
        assert!(revocations.against(&principal(11)).is_none());
    }
}

#[test]
fn a_session_never_comes_back() {
    let revocations = after(vec![revoked(1, Target::Session(id(1)), 10)]);
    assert!(revocations.against(&principal(50)).is_some());
    let other = Principal { session: Some(id(2)), ..principal(5) };
    assert!(revocations.against(&other).is_none());
    let without = Principal { session: None, ..principal(5) };
    assert!(revocations.against(&without).is_none());
}

#[test]
fn a_tenant_cannot_revoke_what_is_another_s() {
    let revocations = after(vec![revoked(2, Target::Device(id(1)), 10)]);
    assert!(revocations.against(&principal(5)).is_none());
}

#[test]
fn the_later_revocation_counts_in_any_order_of_arrival() {
    let target = Target::Operator(id(1));
    let revocations = after(vec![revoked(1, target, 20), revoked(1, target, 10)]);
    assert!(revocations.against(&principal(15)).is_some());
    assert_eq!(revocations.len(), 1);
}

#[test]
fn revocations_older_than_any_valid_token_are_dropped() {
    let revocations = after(vec![revoked(1, Target::Operator(id(1)), 10)]);
    let hours = MAX_TOKEN_AGE.as_secs() as i64;
    revocations.apply(Vec::new(), at(10 + hours));
    assert_eq!(revocations.len(), 1);
    revocations.apply(Vec::new(), at(20) + REVOCATION_TTL);
    assert!(revocations.is_empty());
    assert!(is_too_old(&principal(9), at(9 + hours)));
    assert!(!is_too_old(&principal(9), at(8 + hours)));
}
