//! A second instance of the gateway, which a drill replaces by a revision with a defect: the same
//! program without some safeguards.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::safeguard::Safeguard;
use launcher::builder::Build;
use launcher::desktop::Desktop;
use launcher::internal::InternalClient;
use launcher::servers::SECOND_GATEWAY;
use launcher::stack_info::{Gateway, StackInfo};

use crate::drill_env::{DrillEnv, EnvOptions, GUARDS_OFF};

const START_WITHIN: Duration = Duration::from_secs(30);

/// Two instances of a program whose safeguards can be switched off.
pub(super) fn environment(options: EnvOptions<'_>) -> EnvOptions<'_> {
    EnvOptions { build: Build::Sabotage, second_gateway: true, ..options }
}

/// Restarts the second instance with these safeguards switched off.
pub(super) async fn deploy(env: &DrillEnv, disabled: &[Safeguard]) -> anyhow::Result<()> {
    let mut off = env.safeguards_off.clone();
    off.extend(disabled);
    let gateway = env.stack.process(SECOND_GATEWAY)?;
    gateway.set_env(GUARDS_OFF, serde_json::to_string(&off)?).await?;
    gateway.restart().await?;
    // Waits for a response only: a broken instance may never be ready.
    let second = second_gateway(env)?;
    let answers = async |env: &DrillEnv| Ok(env.readiness(&second).await.is_ok());
    env.wait_until("the new instance", START_WITHIN, answers).await?;
    Ok(())
}

pub(super) fn second_gateway(env: &DrillEnv) -> anyhow::Result<Gateway> {
    env.gateways().into_iter().nth(1).context("there are two instances")
}

/// The stack as seen by a client of the second instance.
fn seen_by_second(env: &DrillEnv) -> anyhow::Result<StackInfo> {
    Ok(StackInfo { gateway: second_gateway(env)?, ..env.stack.info().clone() })
}

/// The desktop of this operator, connected to the second instance.
pub(super) fn desktop(env: &DrillEnv, username: &str) -> anyhow::Result<Desktop> {
    let folder = env.folder.join("desktop");
    Desktop::open(&seen_by_second(env)?, username, &folder, Clock::system())
}

/// A client of the second instance's internal listener.
pub(super) fn internal(env: &DrillEnv) -> anyhow::Result<InternalClient> {
    InternalClient::new(&seen_by_second(env)?, Clock::system())
}
