//! Where a mutation may have had its effect: what a repeat's property scope is checked against.

use auth::Principal;
use contracts::id::PropertyId;

/// The property of the effect where it is known, and the caller's scope at the first request, which
/// stands for it where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(super) property: Option<String>,
    /// Absent in rows from before scopes were kept.
    pub(super) scope: Option<Vec<String>>,
}

impl Reach {
    /// Of a request that `principal` makes, in `property` if the request itself says where.
    pub(crate) fn new(principal: &Principal, property: Option<PropertyId>) -> Self {
        let scope = principal.properties.iter().map(ToString::to_string).collect();
        Self { property: property.map(|property| property.to_string()), scope: Some(scope) }
    }

    /// Whether all of it is in the caller's scope now. Where the property is not known, every property
    /// of the first caller's scope must be. A row from before scopes were kept says nothing: to refuse
    /// its repeats would hide from an operator that the change was made.
    pub(crate) fn is_in_scope_of(&self, principal: &Principal) -> bool {
        let covers = |id: &String| principal.properties.iter().any(|own| own.as_str() == id);
        match (&self.property, &self.scope) {
            (Some(property), _) => covers(property),
            (None, Some(scope)) => scope.iter().all(covers),
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::Principal;
    use contracts::clock::{Clock, Entropy};
    use contracts::id::Id;
    use contracts::role::RoleSet;

    use super::*;

    fn fresh<T: Id>() -> T {
        T::generate(&Clock::system(), &Entropy::system())
    }

    fn caller(properties: &[PropertyId]) -> Principal {
        let now = Clock::system().now();
        Principal {
            tenant: fresh(),
            operator: fresh(),
            device: fresh(),
            session: None,
            roles: RoleSet::ANY,
            properties: properties.to_vec(),
            issued_at: now,
            expires_at: now,
            thumbprint: None,
            token_digest: [0; 32],
        }
    }

    #[test]
    fn a_known_property_decides_alone() {
        let (here, there) = (fresh(), fresh());
        let reach = Reach::new(&caller(&[here, there]), Some(here));
        assert!(reach.is_in_scope_of(&caller(&[here])));
        assert!(!reach.is_in_scope_of(&caller(&[there])));
        assert!(!reach.is_in_scope_of(&caller(&[])));
    }

    #[test]
    fn without_one_the_whole_scope_of_the_first_must_be_left() {
        let (here, there, more) = (fresh(), fresh(), fresh());
        let reach = Reach::new(&caller(&[here, there]), None);
        assert!(reach.is_in_scope_of(&caller(&[more, there, here])));
        assert!(!reach.is_in_scope_of(&caller(&[here, more])));
    }

    #[test]
    fn a_row_from_before_scopes_were_kept_refuses_nobody() {
        assert!(Reach { property: None, scope: None }.is_in_scope_of(&caller(&[])));
    }
}
