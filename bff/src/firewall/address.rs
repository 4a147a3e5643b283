//! The client address of a request: the connection's peer, or what trusted proxies report.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Number of trusted proxies. Each appends its peer's address to `X-Forwarded-For`, so only that
/// many entries from the right can be trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustedHops(pub usize);

impl TrustedHops {
    /// Returns the client's address. Without hops, or if the header is too short or malformed, that
    /// is the peer.
    pub(crate) fn client(self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded_address = (self.0 > 0).then(|| forwarded(headers, self.0)).flatten();
        forwarded_address.unwrap_or(peer).to_canonical()
    }
}

/// Returns the entry `hops` from the right, over all such headers in order.
fn forwarded(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let mut values: Vec<&str> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        values.extend(value.to_str().ok()?.split(','));
    }
    parse(values.get(values.len().checked_sub(hops)?)?.trim())
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`
fn parse(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok();
    text.parse()
        .ok()
        .or_else(|| bare().map(IpAddr::V6))
        .or_else(|| with_port().map(|address| address.ip()))
}

/// Groups addresses as the connection limits do.
pub(crate) use service_kit::serve::address_group as shared;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.9";

    fn client(hops: usize, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        TrustedHops(hops).client(PEER.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_the_header_is_not_read() {
        assert_eq!(client(0, &["203.0.113.7"]), PEER);
    }

    #[test]
    fn only_entries_of_trusted_proxies_count() {
        assert_eq!(client(1, &["198.51.100.1, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(1, &["198.51.100.1", "203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(2, &["198.51.100.1, 203.0.113.7, 10.0.0.1"]), "203.0.113.7");
        assert_eq!(client(1, &["nonsense, [2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(1, &["203.0.113.7:1234"]), "203.0.113.7");
        assert_eq!(client(1, &["::ffff:203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn a_request_not_through_trusted_proxies_has_the_peers_address() {
        assert_eq!(client(1, &[]), PEER);
        assert_eq!(client(1, &["203.0.113.7, nonsense"]), PEER);
        assert_eq!(client(3, &["203.0.113.7, 10.0.0.1"]), PEER);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_rate() {
        let shared = |text: &str| shared(text.parse().unwrap()).to_string();
        assert_eq!(shared("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(shared("203.0.113.7"), "203.0.113.7");
    }
}
