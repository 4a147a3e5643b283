use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use super::rules::http_url;

/// The issuer of the request tokens that a service accepts.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct CallersConfig {
    /// URL of the issuer's keys, on the gateway's internal listener.
    #[schemars(example = &"http://bff.internal:9083/.well-known/jwks.json")]
    #[garde(custom(http_url))]
    pub jwks_url: String,
    /// `iss` of the tokens.
    #[schemars(example = &"bff-backoffice")]
    #[garde(length(min = 1))]
    pub issuer: String,
}
