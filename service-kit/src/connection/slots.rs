//! Counts open connections: all of a listener, and the unauthenticated ones of each client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::limits::ConnectionLimits;
use super::metrics::{Meters, Reason};

/// The addresses that share a limit: an IPv4 address, or an IPv6 /64, which is one subscriber.
pub fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The open connections of one listener.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: ConnectionLimits,
    pub(crate) meters: Meters,
    open: AtomicUsize,
    unauthenticated: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection in the counts, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// The client address this connection counts for, while it is unauthenticated.
    address: Mutex<Option<IpAddr>>,
    is_authenticated: AtomicBool,
}

impl Slots {
    pub(crate) fn new(limits: ConnectionLimits, meters: Meters) -> Arc<Self> {
        let (open, unauthenticated) = (AtomicUsize::default(), Mutex::default());
        Arc::new(Self { limits, meters, open, unauthenticated })
    }

    /// Admits a new connection. `address` is absent behind a proxy, which sends it with the first
    /// request: see [`Slot::claim`].
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Reason> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limits.max_connections {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::InstanceLimit);
        }
        self.meters.unauthenticated.increment(1);
        // From here on, dropping the slot undoes what was counted.
        let slot = Slot {
            slots: Arc::clone(self),
            address: Mutex::default(),
            is_authenticated: AtomicBool::default(),
        };
        if let Some(address) = address {
            slot.claim(address)?;
        }
        Ok(slot)
    }

    fn take(&self, group: IpAddr) -> Result<(), Reason> {
        let mut counts = self.unauthenticated.lock();
        let count = counts.entry(group).or_default();
        if *count >= self.limits.max_unauthenticated_per_address {
            if *count == 0 {
                counts.remove(&group);
            }
            return Err(Reason::AddressLimit);
        }
        *count += 1;
        Ok(())
    }

    fn give_back(&self, group: IpAddr) {
        let mut counts = self.unauthenticated.lock();
        if let Some(count) = counts.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&group);
            }
        }
    }
}

impl Slot {
    /// Counts this connection for the address, unless it already counts for one or carried an
    /// authenticated request.
    pub(crate) fn claim(&self, address: IpAddr) -> Result<(), Reason> {
        let mut own = self.address.lock();
        if own.is_some() || self.is_authenticated.load(Ordering::Relaxed) {
            return Ok(());
        }
        let group = address_group(address);
        self.slots.take(group)?;
        *own = Some(group);
        Ok(())
    }

    /// Marks the connection as authenticated: it no longer counts for its address.
    pub(crate) fn authenticated(&self) {
        if self.is_authenticated.load(Ordering::Relaxed)
            || self.is_authenticated.swap(true, Ordering::Relaxed)
        {
            return;
        }
        self.slots.meters.unauthenticated.decrement(1);
        self.slots.meters.authenticated.increment(1);
        self.free_address();
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.slots.meters.refused(reason);
    }

    fn free_address(&self) {
        let address = self.address.lock().take();
        if let Some(group) = address {
            self.slots.give_back(group);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free_address();
        self.slots.open.fetch_sub(1, Ordering::Relaxed);
        let meters = &self.slots.meters;
        let is_authenticated = *self.is_authenticated.get_mut();
        if is_authenticated { &meters.authenticated } else { &meters.unauthenticated }.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_metrics;

    fn slots(max_connections: usize, max_unauthenticated_per_address: usize) -> Arc<Slots> {
        let limits = ConnectionLimits {
            max_connections,
            max_unauthenticated_per_address,
            ..ConnectionLimits::default()
        };
        Slots::new(limits, Meters::new(connection_metrics!("test"), "test"))
    }

    fn admit(slots: &Arc<Slots>, address: &str) -> Result<Slot, Reason> {
        slots.admit(Some(address.parse().unwrap()))
    }

    #[test]
    fn the_newest_connection_past_the_limit_of_the_listener_is_refused() {
        let slots = slots(2, 9);
        let first = admit(&slots, "192.0.2.1").unwrap();
        let _second = admit(&slots, "192.0.2.2").unwrap();
        assert_eq!(admit(&slots, "192.0.2.3").unwrap_err(), Reason::InstanceLimit);
        drop(first);
        admit(&slots, "192.0.2.3").unwrap();
    }

    #[test]
    fn an_address_has_its_share_until_a_connection_closes_or_is_authenticated() {
        let slots = slots(9, 2);
        let first = admit(&slots, "192.0.2.1").unwrap();
        let second = admit(&slots, "192.0.2.1").unwrap();
        assert_eq!(admit(&slots, "192.0.2.1").unwrap_err(), Reason::AddressLimit);
        let _other = admit(&slots, "192.0.2.2").unwrap();
        second.authenticated();
        second.authenticated();
        let _third = admit(&slots, "192.0.2.1").unwrap();
        assert_eq!(admit(&slots, "192.0.2.1").unwrap_err(), Reason::AddressLimit);
        drop(second);
        assert_eq!(admit(&slots, "192.0.2.1").unwrap_err(), Reason::AddressLimit);
        drop(first);
        admit(&slots, "192.0.2.1").unwrap();
    }

    #[test]
    fn a_refused_connection_leaves_no_count_behind() {
        let slots = slots(9, 1);
        let first = admit(&slots, "192.0.2.1").unwrap();
        for _ in 0..20 {
            assert_eq!(admit(&slots, "192.0.2.1").unwrap_err(), Reason::AddressLimit);
        }
        drop(first);
        assert_eq!(slots.open.load(Ordering::Relaxed), 0);
        assert!(slots.unauthenticated.lock().is_empty());
    }

    #[test]
    fn an_ipv6_64_shares_its_limit() {
        let slots = slots(9, 1);
        let _first = admit(&slots, "2001:db8:1:2::1").unwrap();
        assert_eq!(admit(&slots, "2001:db8:1:2::2").unwrap_err(), Reason::AddressLimit);
        admit(&slots, "2001:db8:1:3::1").unwrap();
    }

    #[test]
    fn behind_a_proxy_a_connection_counts_for_the_address_of_its_first_request() {
        let slots = slots(9, 1);
        let (first, second) = (slots.admit(None).unwrap(), slots.admit(None).unwrap());
        let (client, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        first.claim(client).unwrap();
        first.claim(other).unwrap();
        assert_eq!(second.claim(client), Err(Reason::AddressLimit));
        second.claim(other).unwrap();
    }
}
