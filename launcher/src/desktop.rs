//! Desktop client: one device with its own key, signed in as one operator, sending every request
//! with a fresh proof of possession (RFC 9449).
//!
//! Its parts are public so that tests and drills can send wrong proofs.
//! Not here: verification. No code is shared with the gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::{DEVICE_ID, DPOP, DPOP_NONCE};
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use stand_ins::totp;
use url::Url;

use crate::http_client;
use crate::stack_info::{Operator, StackInfo};
use crate::user_error::UserError;

mod key;
mod proof;
mod session;

pub use key::DeviceKey;
pub use proof::Proof;
pub use session::Tokens;

/// Longer than any response of the gateway takes, streams excepted.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// One request to the gateway's API, without credentials.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Relative to the API's base URL, with its query: `/dashboard?propertyId=…`.
    pub path: String,
    pub headers: HeaderMap,
    pub json: Option<serde_json::Value>,
    /// Timeout of the whole response; `None` for streams.
    pub within: Option<Duration>,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), HeaderMap::new());
        Self { method, path, headers, json: None, within: Some(RESPONSE_TIMEOUT) }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
}

/// Maps a refused connection to [`UserError::NoAnswer`] and adds context to any other error.
pub(crate) fn connection_error(
    name: &'static str,
    url: &Url,
    error: reqwest::Error,
) -> anyhow::Error {
    if error.is_connect() {
        return anyhow::Error::from(error)
            .context(UserError::NoAnswer { name, url: url.to_string() });
    }
    anyhow::Error::from(error).context(format!("requesting {url}"))
}

#[derive(Debug)]
pub struct Desktop {
    http: Client,
    base: Url,
    issuer: String,
    operator: Operator,
    key: DeviceKey,
    token_file: PathBuf,
    clock: Clock,
    /// The gateway's latest nonce, sent with every proof once the gateway has required one.
    nonce: Mutex<Option<String>>,
    tokens: tokio::sync::Mutex<Option<Tokens>>,
}

impl Desktop {
    /// Opens the desktop of `username`, whose key and tokens are stored in `folder`.
    pub fn open(
        info: &StackInfo,
        username: &str,
        folder: &Path,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let operator = info.operator(username)?.clone();
        let key = DeviceKey::load_or_make(&folder.join(format!("{}.jwk", operator.device_id)))?;
        Ok(Self {
            http: http_client::trusting(&info.ca_file)?,
            base: Url::parse(&info.gateway.api_url)?,
            issuer: info.iam.issuer.clone(),
            token_file: folder.join(format!("{username}.token")),
            operator,
            key,
            clock,
            nonce: Mutex::new(None),
            tokens: tokio::sync::Mutex::new(None),
        })
    }

    /// Sends its requests with another HTTP client.
    #[must_use]
    pub fn with_http(self, http: Client) -> Self {
        Self { http, ..self }
    }

    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// The HTTP client, which trusts only the stack's own certificate authority.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Returns the full URL of a path relative to the API's base URL.
    pub fn url(&self, path: &str) -> anyhow::Result<Url> {
        let joined = format!(
            "{}/{}",
            self.base.as_str().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        Url::parse(&joined).with_context(|| format!("{path} is not a path"))
    }

    /// Returns a token that is valid for at least half a minute, signing in if necessary.
    pub async fn access_token(&self) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        if tokens.is_none() {
            *tokens = Tokens::load(&self.token_file, &self.issuer);
        }
        let now = self.clock.unix_seconds();
        let fresh = match tokens.take() {
            Some(current) if current.is_good(now) => current,
            earlier => {
                let new = self.obtain(earlier.as_ref()).await?;
                new.save(&self.token_file)?;
                new
            }
        };
        let token = fresh.access_token.clone();
        *tokens = Some(fresh);
        Ok(token)
    }

    /// Refreshes the tokens through the gateway before they expire, and stores the new pair. Returns
    /// the response's status and body; never falls back to the password.
    pub async fn renew(&self) -> anyhow::Result<(u16, serde_json::Value)> {
        self.access_token().await?;
        let mut tokens = self.tokens.lock().await;
        let current = tokens.as_ref().context("there is no refresh token")?;
        let response = self.send_refresh(&current.refresh_token).await?;
        let status = response.status().as_u16();
        let body: serde_json::Value = response.json().await?;
        if status == 200 {
            let new = self.parse_tokens(body.clone())?;
            new.save(&self.token_file)?;
            *tokens = Some(new);
        }
        Ok((status, body))
    }

    /// The authenticator codes of the previous, the current and the next period. iam accepts each of
    /// them once.
    pub fn codes(&self) -> anyhow::Result<[String; 3]> {
        let now = totp::step(self.clock.now());
        let code = |step| totp::code(&self.operator.totp_secret, step);
        Ok([code(now - 1)?, code(now)?, code(now + 1)?])
    }

    /// Deletes the tokens in memory and on disk, so that the next request signs in.
    pub async fn forget_tokens(&self) -> anyhow::Result<()> {
        *self.tokens.lock().await = None;
        crate::run_as::remove_any(&self.token_file)
    }

    /// Builds a fresh proof for one request with `token`.
    pub fn proof(&self, method: &Method, url: &Url, token: &str) -> Proof {
        let proof = Proof::new(method, url, self.clock.unix_seconds()).for_token(token);
        match self.nonce.lock().as_deref() {
            Some(nonce) => proof.claim("nonce", nonce),
            None => proof,
        }
    }

    /// Sends with token and proof. Retries once when the gateway requires a nonce or refuses a stored
    /// token.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Response> {
        let first = self.attempt(call).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        match first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok()) {
            Some(nonce) => {
                *self.nonce.lock() = Some(nonce.to_owned());
            }
            None => self.forget_tokens().await?,
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call) -> anyhow::Result<Response> {
        let url = self.url(&call.path)?;
        let token = self.access_token().await?;
        let proof = self.proof(&call.method, &url, &token).sign(&self.key)?;
        let request = self.request(call, &token, &proof)?;
        request.send().await.map_err(|error| connection_error("The gateway", &url, error))
    }

    /// Builds the request with any token and proof, right or wrong.
    pub fn request(&self, call: &Call, token: &str, proof: &str) -> anyhow::Result<RequestBuilder> {
        let mut request = self
            .http
            .request(call.method.clone(), self.url(&call.path)?)
            .header(AUTHORIZATION, format!("DPoP {token}"))
            .header(DPOP, proof)
            .header(DEVICE_ID, &self.operator.device_id)
            .headers(call.headers.clone());
        if let Some(json) = &call.json {
            request = request.json(json);
        }
        if let Some(within) = call.within {
            request = request.timeout(within);
        }
        Ok(request)
    }
}
