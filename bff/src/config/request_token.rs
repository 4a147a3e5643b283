use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::readable_file;

/// `iss` of the request tokens.
pub(crate) const REQUEST_TOKEN_ISSUER: &str = "bff-backoffice";

/// The tokens that identify the caller to the services.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RequestTokenConfig {
    /// PEM, PKCS#8, P-256. Signs the request tokens that identify the caller to the services.
    #[schemars(example = &"/etc/bff/request-token.pem")]
    #[garde(custom(readable_file))]
    pub key_file: PathBuf,
}
