//! Whether a rule of the firewall is enforced.

use serde::Deserialize;

/// Whether a rule is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::IntoStaticStr, Deserialize)]
#[serde(rename_all = "lowercase")]
#[strum(const_into_str, serialize_all = "lowercase")]
pub enum Mode {
    #[default]
    Enforce,
    /// Only counted, to see whom it would hit.
    Shadow,
    Off,
}
