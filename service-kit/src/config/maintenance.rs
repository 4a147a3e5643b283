use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

/// Longer intervals would never end.
const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

/// When a program creates partitions and deletes expired rows.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct MaintenanceConfig {
    /// Interval of checks for missing partitions and for rows in default partitions.
    #[garde(range(min = 1, max = YEAR_SECONDS))]
    pub months_every_seconds: u64,
    /// Interval of the deletion of expired rows.
    #[garde(range(min = 1, max = YEAR_SECONDS))]
    pub sweep_every_seconds: u64,
    /// Interval after a failed run.
    #[garde(range(min = 1, max = YEAR_SECONDS))]
    pub retry_seconds: u64,
    /// Longest random delay before each run, so that instances do not run at the same time.
    #[garde(range(max = YEAR_SECONDS))]
    pub jitter_seconds: u64,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            months_every_seconds: 60 * 60,
            sweep_every_seconds: 60 * 60,
            retry_seconds: 5 * 60,
            jitter_seconds: 30,
        }
    }
}
