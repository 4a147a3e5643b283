use std::path::{Path, PathBuf};

use auth::request_token::RequestTokens;
use contracts::clock::{Clock, Entropy};
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::{readable_file, require};

/// `iss` of the request tokens.
pub(crate) const REQUEST_TOKEN_ISSUER: &str = "bff-backoffice";

/// The tokens that identify the caller to the services.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RequestTokenConfig {
    /// PEM, PKCS#8, P-256. Signs the request tokens that identify the caller to the services.
    #[schemars(example = &"/etc/bff/request-token.pem")]
    #[garde(custom(signing_key))]
    pub key_file: PathBuf,
}

/// Requires a file with a key that signs request tokens.
fn signing_key(path: &Path, context: &()) -> garde::Result {
    readable_file(path, context)?;
    let pem = std::fs::read(path).unwrap_or_default();
    let tokens = RequestTokens::new("", &pem, Clock::system(), Entropy::system());
    require(tokens.is_ok(), "the file is not a P-256 key in PKCS#8 and PEM")
}
