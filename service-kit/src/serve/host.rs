//! Checks the Host header of requests (RFC 9112 section 3.2, RFC 9113 section 8.3.1).

use contracts::problem::code;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Version};

use crate::problem::ApiError;

const HOST_MISSING: &str =
    "The Host header is missing. Send the name of the server in one Host header.";
const HOST_REPEATED: &str = "The request has more than one Host header. Send one.";
const HOST_INVALID: &str = "The Host header is not a host name with an optional port. Correct it.";
const HOST_MISMATCH: &str = "The Host header differs from :authority. Leave it out.";

/// Refuses requests without a Host header where HTTP/1.1 requires one, with several, or with an
/// invalid one.
pub(super) fn check(request: &Parts) -> Result<(), ApiError> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed(HOST_REPEATED));
    }
    match first {
        None if request.version == Version::HTTP_11 => Err(malformed(HOST_MISSING)),
        None => Ok(()),
        Some(host) => check_value(request, host),
    }
}

fn check_value(request: &Parts, host: &HeaderValue) -> Result<(), ApiError> {
    let named = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    let named = named.filter(is_host_and_port);
    let Some(named) = named else { return Err(malformed(HOST_INVALID)) };
    // In HTTP/1.1 the target in absolute form wins over Host (RFC 9112 section 3.2.2).
    let authority = request.uri.authority().filter(|_| request.version >= Version::HTTP_2);
    match authority {
        Some(authority) if *authority != named => Err(malformed(HOST_MISMATCH)),
        _ => Ok(()),
    }
}

fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    // With user information in front, the host is not a prefix.
    port.is_some_and(|port| matches!(port, "" | ":") || authority.port_u16().is_some())
}

fn malformed(detail: &'static str) -> ApiError {
    ApiError::new(&code::MALFORMED_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn outcome(version: Version, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts).err().map(|error| error.0.detail.into_owned())
    }

    #[test]
    fn http1_1_needs_one_host() {
        let outcome = |hosts: &[&str]| outcome(Version::HTTP_11, "/", hosts);
        assert_eq!(outcome(&["gateway.example"]), None);
        assert_eq!(outcome(&["[::1]:8083"]), None);
        assert_eq!(outcome(&[]).as_deref(), Some(HOST_MISSING));
        assert_eq!(outcome(&["a.example", "a.example"]).as_deref(), Some(HOST_REPEATED));
        for bad in ["", "a b", "a.example/path", "user@a.example", "a.example:port", "h\u{e9}"] {
            assert_eq!(outcome(&[bad]).as_deref(), Some(HOST_INVALID), "{bad:?}");
        }
    }

    #[test]
    fn other_versions_may_do_without() {
        assert_eq!(outcome(Version::HTTP_10, "/", &[]), None);
        assert_eq!(outcome(Version::HTTP_10, "/", &["a", "b"]).as_deref(), Some(HOST_REPEATED));
        let http2 = |hosts: &[&str]| outcome(Version::HTTP_2, "https://a.example/", hosts);
        assert_eq!(http2(&[]), None);
        assert_eq!(http2(&["A.example"]), None);
        assert_eq!(http2(&["b.example"]).as_deref(), Some(HOST_MISMATCH));
        assert_eq!(http2(&["a.example", "a.example"]).as_deref(), Some(HOST_REPEATED));
    }
}
