//! The token request's form: RFC 6749 section 3.2, appendix B.

use std::collections::HashMap;

use http::{HeaderMap, header};

use super::OAuthError;

/// Parameters by name. Empty ones count as absent; unknown ones are ignored; none is repeated.
#[derive(Debug)]
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthError::InvalidRequest(
                "Send the parameters as application/x-www-form-urlencoded.",
            ));
        }
        let mut fields = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if !value.is_empty() && fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(OAuthError::InvalidRequest("A parameter is repeated. Send it once."));
            }
        }
        Ok(Self(fields))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str, else_say: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or(OAuthError::InvalidRequest(else_say))
    }

    /// Checks that the caller is `client`, which is public: a request with a secret is not from it.
    pub(crate) fn check_client(&self, headers: &HeaderMap, client: &str) -> Result<(), OAuthError> {
        let has_secret = self.get("client_secret").is_some()
            || self.get("client_assertion").is_some()
            || headers.contains_key(header::AUTHORIZATION);
        if has_secret || self.get("client_id") != Some(client) {
            return Err(OAuthError::WRONG_CLIENT);
        }
        Ok(())
    }
}
