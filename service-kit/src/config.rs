//! Configuration: defaults, then a TOML file when `MELMASTOON_CONFIG` names one, then the
//! environment (`MELMASTOON_` with `__` between levels).
//!
//! [`load`] reports every error at once. The sections that several programs share have a file each;
//! [`rules`] has what their settings are checked with. `docs/configuration.md` is [`reference`].

use garde::Validate;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

mod callers;
mod error;
mod load;
mod maintenance;
mod oidc;
mod postgres;
mod reference;
pub mod rules;
mod schema;
mod telemetry;

pub use callers::CallersConfig;
pub use error::{ConfigError, SettingErrors};
pub use load::load;
pub use maintenance::MaintenanceConfig;
pub use oidc::{AccountsConfig, OidcConfig};
pub use postgres::PostgresConfig;
pub use reference::reference;
pub use telemetry::{LogFormat, TelemetryConfig};

const PREFIX: &str = "MELMASTOON_";

/// The settings of a program, with their defaults, descriptions and rules.
pub trait Configuration: DeserializeOwned + JsonSchema + Validate<Context = ()> {}

impl<T: DeserializeOwned + JsonSchema + Validate<Context = ()>> Configuration for T {}

/// The environment variable of the setting at this path.
fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}
