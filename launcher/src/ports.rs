//! Chooses free ports on 127.0.0.1, and reuses those of the previous start if they are still free.
//!
//! The ports lie below the kernel's range for outgoing connections. Inside that range, a client that
//! keeps retrying a dead server's port is eventually assigned that port and connects to itself.
//!
//! Until its server listens, a chosen port looks free to another stack. Therefore a stack claims its
//! ports while it runs, by abstract socket names, which share the ports' network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use anyhow::Context;
use rand::Rng;

use crate::data_dir::{DataDir, read_json, write_json};
use crate::user_error::UserError;

const LOWEST_PORT: u16 = 18_000;
const DEFAULT_FIRST_OUTGOING_PORT: u16 = 32_768;

#[derive(Debug)]
pub struct Ports {
    file: PathBuf,
    before: BTreeMap<String, u16>,
    /// Listeners that hold the ports until all are chosen.
    held: BTreeMap<String, (TcpListener, UnixDatagram)>,
}

/// Claims on the ports of one stack.
#[derive(Debug)]
#[must_use = "dropping it lets another stack take the ports"]
pub struct Claims(#[expect(dead_code, reason = "held, not read")] Vec<UnixDatagram>);

impl Ports {
    pub fn open(folder: &DataDir) -> Self {
        let file = folder.join("ports.json");
        let before = read_json(&file).unwrap_or_default();
        Self { file, before, held: BTreeMap::new() }
    }

    /// Chooses a free port for `name`.
    pub fn choose(&mut self, name: &str) -> anyhow::Result<u16> {
        let earlier = self.before.get(name).and_then(|port| claim(*port).ok());
        let held = match earlier {
            Some(held) => held,
            None => claim_any()?,
        };
        let port = held.0.local_addr()?.port();
        self.held.insert(name.to_owned(), held);
        Ok(port)
    }

    /// Saves the choice and closes the listeners. Other stacks stay excluded while the claims live.
    pub fn release(self) -> anyhow::Result<Claims> {
        let (mut chosen, mut claims) = (self.before, Vec::new());
        for (name, (listener, claim)) in self.held {
            chosen.insert(name, listener.local_addr()?.port());
            claims.push(claim);
        }
        write_json(&self.file, &chosen)?;
        Ok(Claims(claims))
    }
}

/// Fails with [`UserError::PortInUse`] if something listens on `port`.
pub fn require_free(port: u16) -> anyhow::Result<()> {
    match bind(port) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(UserError::PortInUse { port, holder: holder_of(port) }.into())
        }
        Err(error) => Err(error).with_context(|| format!("listening on port {port}")),
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn claim(port: u16) -> std::io::Result<(TcpListener, UnixDatagram)> {
    let name = SocketAddr::from_abstract_name(format!("melmastoon-port-{port}"))?;
    let claim = UnixDatagram::bind_addr(&name)?;
    Ok((bind(port)?, claim))
}

fn claim_any() -> anyhow::Result<(TcpListener, UnixDatagram)> {
    let highest = first_outgoing_port().clamp(LOWEST_PORT + 1_000, DEFAULT_FIRST_OUTGOING_PORT);
    (0..1_000).find_map(|_| claim(rand::rng().random_range(LOWEST_PORT..highest)).ok()).with_context(
        || {
            format!(
                "no port between {LOWEST_PORT} and {highest} is free: stop some programs and start again"
            )
        },
    )
}

fn first_outgoing_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(DEFAULT_FIRST_OUTGOING_PORT)
}

/// Pid and name of the process that listens on `port`, if this user may see it.
fn holder_of(port: u16) -> String {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    find_process_with(&inodes).unwrap_or_else(|| "another user's program".to_owned())
}

/// Socket inodes of the rows in state LISTEN (0A) on `port`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() > 9 && row[1].ends_with(&suffix) && row[3] == "0A")
        .map(|row| format!("socket:[{}]", row[9]))
        .collect()
}

fn find_process_with(inodes: &[String]) -> Option<String> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        // Skips `self` and `thread-self`, which duplicate this process.
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = fds
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()));
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("pid {}, {}", entry.file_name().display(), name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let (listener, _claim) = claim_any().unwrap();
        let port = listener.local_addr().unwrap().port();
        let sentence = require_free(port).unwrap_err().to_string();
        let own = format!("pid {}", std::process::id());
        assert!(sentence.contains(&own), "{sentence}");
    }

    #[test]
    fn chosen_ports_cannot_be_given_to_a_client() {
        let port = claim_any().unwrap().0.local_addr().unwrap().port();
        assert!(port < first_outgoing_port());
    }

    #[test]
    fn a_claimed_port_is_not_given_to_another_stack() {
        let (listener, claimed) = claim_any().unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(claim(port).is_err(), "two stacks got one port");
        drop(claimed);
        assert!(claim(port).is_ok());
    }
}
