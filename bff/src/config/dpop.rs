use std::path::PathBuf;

use auth::nonce::Nonces;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::{readable_file, require};

/// Proofs of possession (RFC 9449).
#[derive(Debug, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct DpopConfig {
    /// Whether a proof must carry a server-provided nonce (RFC 9449 section 9). Off: `iat` is
    /// checked instead.
    pub nonces: bool,
    /// File with at least 32 random bytes, the same on every instance. Absent: generated at start.
    /// Read only with `nonces`.
    #[garde(custom(nonce_key(self.nonces)))]
    pub nonce_key_file: Option<PathBuf>,
}

/// Requires a key that nonces can be made with, where there are nonces.
fn nonce_key(nonces: bool) -> impl FnOnce(&Option<PathBuf>, &()) -> garde::Result {
    move |file, ()| {
        let Some(file) = file.as_deref().filter(|_| nonces) else { return Ok(()) };
        readable_file(file, &())?;
        let is_long = std::fs::read(file).is_ok_and(|key| Nonces::new(&key).is_ok());
        require(is_long, "the file needs at least 32 random bytes")
    }
}
