//! Removes what a drill that was stopped left behind.

use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::supervisor::State;
use launcher::tls::Tls;
use serde_json::json;

use crate::drill_env::DrillEnv;
use crate::events;

/// Validity of the certificate that replaces any that a drill left.
const CERTIFICATE_DAYS: i64 = 90;

/// Removes every fault that a drill injects. The servers' settings count as unknown afterwards.
pub async fn restore(env: &mut DrillEnv) -> anyhow::Result<()> {
    restore_processes(env).await?;
    env.clear_faults().await?;
    env.write_edge_rules("")?;
    env.uptime.names.restore();
    for database in env.closed_databases().await? {
        env.set_database_available(&database, true).await?;
    }
    env.restore_session_memory().await?;
    // The file may hold another certificate than the gateway has loaded.
    Tls::renew(&DataDir::open(&env.folder)?, &Clock::system(), CERTIFICATE_DAYS)?;
    let reason = json!({"reason": "The drill was stopped."});
    events::publish(env, "tenant.tenant.reactivated.v1", &reason).await?;
    env.forget_settings();
    Ok(())
}

/// Continues paused processes and starts ended ones.
async fn restore_processes(env: &mut DrillEnv) -> anyhow::Result<()> {
    let mut ended = Vec::new();
    for process in env.stack.processes() {
        match process.state() {
            State::Up { .. } => process.resume().await?,
            _ => ended.push(process.name().to_owned()),
        }
    }
    for name in ended {
        env.stack.restart(&name).await?;
    }
    Ok(())
}
