use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use super::rules::http_url;

/// The issuer of service accounts' tokens.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct OidcConfig {
    /// `iss` of the tokens.
    #[schemars(example = &"https://accounts.google.com")]
    #[garde(length(min = 1))]
    pub issuer: String,
    /// URL of the issuer's keys.
    #[schemars(example = &"https://www.googleapis.com/oauth2/v3/certs")]
    #[garde(custom(http_url))]
    pub jwks_url: String,
    /// Audience of the tokens: the URL of the listener.
    #[schemars(example = &"https://bff.internal:9083")]
    #[garde(length(min = 1))]
    pub audience: String,
    #[serde(default)]
    pub accounts: AccountsConfig,
}

/// Emails of the accounts that may call each group of routes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// May call `/internal/jobs/*`.
    pub scheduler: Vec<String>,
    /// May call `/internal/events`.
    pub events: Vec<String>,
    /// May call `/internal/admin/*`, and the gateway's `/internal/sessions/*`.
    pub operators: Vec<String>,
}
