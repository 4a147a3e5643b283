//! Parses and compares the `htu` claim with the request's URI (RFC 9449 section 4.3 check 9), after
//! the normalisation of RFC 3986 sections 6.2.2 and 6.2.3 and without query and fragment.

/// An http(s) URI in normal form: scheme and authority lower-cased, default port dropped,
/// unreserved characters decoded, dot segments removed. Two equal values name the same target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Htu(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an absolute http or https URI without user information")]
pub struct HtuError;

impl Htu {
    /// Parses an absolute URI. A path keeps its case, its trailing slash and its `%2F`.
    pub fn parse(uri: &str) -> Result<Self, HtuError> {
        if is_normal(uri) { Ok(Self(uri.to_owned())) } else { Self::normalised(uri) }
    }

    fn normalised(uri: &str) -> Result<Self, HtuError> {
        if !uri.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)) {
            return Err(HtuError);
        }
        let (scheme, rest) = uri.split_once("://").ok_or(HtuError)?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(HtuError),
        };
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = normal_authority(authority, default_port)?;
        Ok(Self(format!("{scheme}://{authority}{}", normal_path(path)?)))
    }

    /// Joins this base with a path of a request line.
    pub fn join(&self, path: &str) -> Result<Self, HtuError> {
        let uri = format!("{}{path}", self.0.trim_end_matches('/'));
        if is_normal(&uri) { Ok(Self(uri)) } else { Self::normalised(&uri) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fast path: recognises the common normal form (lower-case host name, non-default port, path
/// without dots and escapes). `false` says nothing.
fn is_normal(uri: &str) -> bool {
    let (rest, default_port) = match (uri.strip_prefix("https://"), uri.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (_, Some(rest)) => (rest, "80"),
        _ => return false,
    };
    let Some((authority, path)) = rest.split_once('/') else { return false };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~/".contains(&byte);
    !host.is_empty()
        && host.bytes().all(is_name)
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port != default_port
        && path.bytes().all(is_path)
}

fn normal_authority(authority: &str, default_port: &str) -> Result<String, HtuError> {
    let authority = authority.to_ascii_lowercase();
    if authority.contains(['@', '%']) {
        return Err(HtuError);
    }
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    let port_at = authority[host_end..].find(':').map_or(authority.len(), |at| at + host_end);
    let (host, port) = authority.split_at(port_at);
    let digits = port.strip_prefix(':').unwrap_or_default();
    if host.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HtuError);
    }
    let default = digits.is_empty() || port == default_port;
    Ok(if default { host.to_owned() } else { authority })
}

/// Decodes unreserved characters, upper-cases other escapes, removes dot segments.
fn normal_path(path: &str) -> Result<String, HtuError> {
    let mut decoded = String::with_capacity(path.len() + 1);
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).ok_or(HtuError)?;
        // `from_str_radix` would accept a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(HtuError);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| HtuError)?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push_str(&rest[at..=at + 2].to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    Ok(without_dot_segments(&decoded))
}

/// RFC 3986 section 5.2.4 for an absolute or empty path.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "https://localhost:8083/api/dashboard";

    fn same(a: &str, b: &str) -> bool {
        Htu::parse(a).unwrap() == Htu::parse(b).unwrap()
    }

    #[test]
    fn spellings_of_one_target_are_equal() {
        for spelling in [
            "HTTPS://LOCALHOST:8083/api/dashboard",
            "https://localhost:8083/api/dashboard?x=1",
            "https://localhost:8083/api/dashboard#part",
            "https://localhost:8083/api/./dashboard",
            "https://localhost:8083/api/x/../dashboard",
            "https://localhost:8083/api/d%61shboard",
        ] {
            assert!(same(TARGET, spelling), "{spelling}");
        }
        assert!(same("https://host/a", "https://host:443/a"));
        assert!(same("http://host", "http://HOST:80/"));
        assert!(same("https://[2001:DB8::1]/", "https://[2001:db8::1]:443"));
        assert!(same("https://host/a%2fb", "https://host/a%2Fb"));
    }

    #[test]
    fn the_fast_path_agrees_with_the_normalisation() {
        for uri in [TARGET, "http://host/", "https://a.b-c:80//x/_~/", "http://h:443/A/"] {
            assert!(is_normal(uri), "{uri}");
            assert_eq!(Htu::normalised(uri), Ok(Htu(uri.to_owned())));
        }
        for uri in [
            "https://host",
            "https://host:443/",
            "http://host:80/",
            "https://host:/",
            "https://:1/",
            "https:///",
            "https://Host/",
            "https://host:1:2/",
            "https://user@host/",
            "https://[::1]/",
            "https://host/a.b",
            "https://host/%41",
            "https://host/?a",
            "https://host/#a",
            "HTTPS://host/",
            "ftp://host/",
        ] {
            assert!(!is_normal(uri), "{uri}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_normalisation_for_any_uri(
            uri in "(https?|HTTP)://[a-zB0-9.:@%-]{0,8}(/[a-zA-Z0-9./%~_?#-]{0,12})?"
        ) {
            if is_normal(&uri) {
                assert_eq!(Htu::normalised(&uri), Ok(Htu(uri)));
            }
        }
    }

    #[test]
    fn other_targets_stay_different() {
        for other in [
            "http://localhost:8083/api/dashboard",
            "https://localhost:8084/api/dashboard",
            "https://localhost/api/dashboard",
            "https://localhost.evil:8083/api/dashboard",
            "https://localhost:8083/api/dashboard/",
            "https://localhost:8083/API/dashboard",
            "https://localhost:8083/api%2Fdashboard",
            "https://localhost:8083//api/dashboard",
        ] {
            assert!(!same(TARGET, other), "{other}");
        }
    }

    #[test]
    fn other_than_plain_http_uris_are_rejected() {
        for bad in [
            "",
            "/api",
            "localhost/api",
            "ftp://host/",
            "https://",
            "https:///a",
            "https://user@host/",
            "https://host:80a/",
            "https://host/a b",
            "https://host/a%2",
            "https://host/a%zz",
            "https://host/a%+7",
            "https://hôst/",
            "https:\\\\host\\",
            "https://ho%73t/",
            "javascript://x/%0aalert(1)",
        ] {
            assert!(Htu::parse(bad).is_err(), "{bad}");
        }
    }
}
