//! Raises the limit of open files: each connection takes one.

use std::sync::Once;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files, usually 1,024, to the hard limit. Runs once.
pub(super) fn raise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "Failed to raise the limit of open files. Set it with `ulimit -n`.");
        }
    });
}
