//! What the platform's administrators do and see.

pub mod composition;
pub mod override_rules;
pub mod unfreeze_locks;
