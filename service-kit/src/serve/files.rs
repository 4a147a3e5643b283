//! Room for connections: each takes a file descriptor.

use std::sync::Once;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to what the process may have at most, as runtimes of other
/// languages do: shells and service managers start programs with 1,024.
pub(super) fn raise_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "The limit of open files could not be raised. Set it with ulimit -n.");
        }
    });
}
