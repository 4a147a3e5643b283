//! The private Redis servers: the session tier, which never evicts and survives a restart, and the
//! cache tier, which evicts and is not persistent.

use std::path::Path;
use std::time::Duration;

use crate::binaries::Binary;
use crate::data_dir::{DataDir, write_private};
use crate::readiness::ReadyCheck;
use crate::run_as::{RunAs, give_to, owned_dir};
use crate::supervisor::{ChildSpec, StopSignal};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Session,
    /// Replica of the session tier on port `of`.
    SessionStandby {
        of: u16,
    },
    Cache,
}

impl Tier {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "redis-session",
            Self::SessionStandby { .. } => "redis-session-standby",
            Self::Cache => "redis-cache",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            // Losing a replay record or a session silently is worse than refusing a write.
            Self::Session | Self::SessionStandby { .. } => {
                "maxmemory 256mb\nmaxmemory-policy noeviction\nappendonly yes\nappendfsync everysec\n"
            }
            Self::Cache => "maxmemory 128mb\nmaxmemory-policy allkeys-lru\nappendonly no\n",
        }
    }
}

pub(crate) fn url(port: u16, password: &str) -> String {
    format!("redis://default:{password}@127.0.0.1:{port}")
}

pub(crate) fn spec(
    folder: &DataDir,
    program: &Binary,
    user: Option<&RunAs>,
    tier: Tier,
    port: u16,
    password: &str,
) -> anyhow::Result<ChildSpec> {
    let dir = owned_dir(folder, tier.name(), user)?;
    let config = dir.join("redis.conf");
    write_private(&config, configuration(&dir, tier, port, password).as_bytes())?;
    give_to(user, &config)?;
    Ok(ChildSpec {
        name: tier.name().to_owned(),
        program: program.path.clone(),
        args: vec![config.into()],
        env: program.env.clone(),
        dir,
        exclusive_dir: None,
        log: folder.log(tier.name()),
        run_as: user.cloned(),
        stop: StopSignal::Terminate,
        drain: DRAIN_TIMEOUT,
        ready: ReadyCheck::Redis { port, password: password.to_owned() },
    })
}

/// Content of the configuration file. The password is not an argument because arguments are visible
/// to every user.
fn configuration(dir: &Path, tier: Tier, port: u16, password: &str) -> String {
    let follows = match tier {
        Tier::SessionStandby { of } => {
            format!("replicaof 127.0.0.1 {of}\nmasterauth {password}\n")
        }
        Tier::Session | Tier::Cache => String::new(),
    };
    format!(
        "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\n\
         daemonize no\nsupervised no\nlogfile \"\"\nsave \"\"\ndir \"{}\"\n{}{follows}",
        dir.display(),
        tier.settings()
    )
}
