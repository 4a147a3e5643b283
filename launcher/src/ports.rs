//! Ports on 127.0.0.1 for what the launcher starts: free ones, and the same again at
//! the next start where they still are.
//!
//! They are taken below the range that the kernel gives to outgoing connections. In
//! that range a client that tries a dead server's port again and again is at some
//! point given that very port and connects to itself.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;
use rand::Rng;

use crate::folder::{DataFolder, write_private};
use crate::obstacle::Obstacle;

const LOWEST: u16 = 18_000;
const USUAL_OUTGOING: u16 = 32_768;

#[derive(Debug)]
pub struct Ports {
    file: PathBuf,
    before: BTreeMap<String, u16>,
    /// The listeners hold the ports until all are chosen.
    held: BTreeMap<String, TcpListener>,
}

impl Ports {
    pub fn open(folder: &DataFolder) -> Self {
        let file = folder.join("ports.json");
        let before = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self { file, before, held: BTreeMap::new() }
    }

    /// A free port for `name`.
    pub fn choose(&mut self, name: &str) -> anyhow::Result<u16> {
        let earlier = self.before.get(name).and_then(|port| bind(*port).ok());
        let listener = match earlier {
            Some(listener) => listener,
            None => bind_any()?,
        };
        let port = listener.local_addr()?.port();
        self.held.insert(name.to_owned(), listener);
        Ok(port)
    }

    /// Remembers the ports and lets go of them for their servers.
    pub fn release(self) -> anyhow::Result<()> {
        let mut chosen = self.before;
        for (name, listener) in self.held {
            chosen.insert(name, listener.local_addr()?.port());
        }
        write_private(&self.file, &serde_json::to_vec_pretty(&chosen)?)
    }
}

/// Fails with [`Obstacle::PortInUse`] and the holder's name.
pub fn require_free(port: u16) -> anyhow::Result<()> {
    match bind(port) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Obstacle::PortInUse { port, holder: holder_of(port) }.into())
        }
        Err(error) => Err(error).with_context(|| format!("listening on port {port}")),
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn bind_any() -> anyhow::Result<TcpListener> {
    let highest = first_outgoing_port().clamp(LOWEST + 1_000, USUAL_OUTGOING);
    (0..200)
        .find_map(|_| bind(rand::rng().random_range(LOWEST..highest)).ok())
        .map_or_else(|| Ok(bind(0)?), Ok)
}

fn first_outgoing_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(USUAL_OUTGOING)
}

/// Who listens on `port`, as far as this user may see.
fn holder_of(port: u16) -> String {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    find_process_with(&inodes).unwrap_or_else(|| "another user's program".to_owned())
}

/// The socket inodes of the rows in state LISTEN (0A) on `port`.
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
        // Not `self` and `thread-self`, which are this process once more.
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
        let listener = bind_any().unwrap();
        let port = listener.local_addr().unwrap().port();
        let sentence = require_free(port).unwrap_err().to_string();
        let own = format!("pid {}", std::process::id());
        assert!(sentence.contains(&own), "{sentence}");
    }

    #[test]
    fn chosen_ports_cannot_be_given_to_a_client() {
        let port = bind_any().unwrap().local_addr().unwrap().port();
        assert!(port < first_outgoing_port());
    }
}
