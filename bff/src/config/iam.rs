use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::http_url;

/// The issuer of operators' access tokens.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct IamConfig {
    /// `iss` of the tokens.
    #[schemars(example = &"https://iam.hotel.example")]
    #[garde(length(min = 1))]
    pub issuer: String,
    /// URL of the issuer's keys.
    #[schemars(example = &"https://iam.hotel.example/jwks")]
    #[garde(custom(http_url))]
    pub jwks_url: String,
    /// `aud` of the tokens.
    #[serde(default = "IamConfig::default_audience")]
    #[garde(length(min = 1))]
    pub audience: String,
}

impl IamConfig {
    fn default_audience() -> String {
        "bff-backoffice".to_owned()
    }
}
