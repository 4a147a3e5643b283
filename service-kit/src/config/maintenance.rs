use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

/// When a program creates partitions and deletes expired rows.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct MaintenanceConfig {
    /// Interval of checks for missing partitions and for rows in default partitions.
    #[garde(range(min = 1))]
    pub months_every_seconds: u64,
    /// Interval of the deletion of expired rows.
    #[garde(range(min = 1))]
    pub sweep_every_seconds: u64,
    /// Interval after a failed run.
    #[garde(range(min = 1))]
    pub retry_seconds: u64,
    /// Longest random delay before each run, so that instances do not run at the same time.
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
