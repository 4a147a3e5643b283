//! Lock actions and their audit (gateway-api section 7): nothing is sent to lock-integration before a
//! row says so, and how it ended is a row after it. Rows are only ever inserted, each with the hash
//! of the one before it in its tenant's chain.
//!
//! [`AtLock`] extracts who may act on which lock, an [`Action`] writes the rows of one mutation;
//! [`audit_log`] appends, [`hash_chain`] makes the hashes, which [`verify_chain`] checks. [`reconcile`]
//! finds out how actions ended that have no last row, [`completeness_check`] finds gaps, and [`freeze`]
//! stops the routes of a tenant with one. Not here: the order of work, which is [`crate::mutation`]'s.

mod action;
pub(crate) mod audit_log;
pub(crate) mod audit_page;
pub(crate) mod completeness_check;
pub(crate) mod freeze;
pub(crate) mod hash_chain;
mod location;
pub(crate) mod reconcile;
mod row;
pub(crate) mod verify_chain;

pub(crate) use action::Action;
pub(crate) use location::AtLock;
