//! Error codes that only a stand-in has.

use contracts::problem::Code;

/// A code of a request that fails again when it is repeated unchanged.
pub(crate) const fn refusal(status: u16, name: &'static str, title: &'static str) -> Code {
    Code { name, status, title, retriable: false, retry_after: None, runbook: None }
}
