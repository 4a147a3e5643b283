//! Fetches and caches an issuer's key set. Refreshes it when it is old or a token names an unknown
//! key; keeps the last good set while the issuer is down.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use contracts::safeguard;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::jwks::{KeySet, KeySetError, MAX_DOCUMENT_BYTES};

/// An older set is fetched again, so that a withdrawn key stops being trusted.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Minimum time between attempts while there is no key set at all.
const EMPTY_COOLDOWN: Duration = Duration::from_secs(1);

/// The issuer's keys (RFC 7517) at a URL.
#[derive(Debug)]
pub struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    current: ArcSwap<KeySet>,
    /// When the set was last requested.
    last_attempt: Mutex<Option<Instant>>,
    /// When the set was last fetched; `None` before the first time.
    read_at: ArcSwap<Option<Instant>>,
    cooldown: Duration,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the key set cannot be fetched")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Document(#[from] KeySetError),
}

impl RemoteKeys {
    /// `client` must have a timeout. `cooldown` is the minimum time between requests to the issuer.
    pub fn new(url: String, client: reqwest::Client, cooldown: Duration) -> Self {
        Self {
            url,
            client,
            current: ArcSwap::default(),
            last_attempt: Mutex::default(),
            read_at: ArcSwap::default(),
            cooldown,
        }
    }

    /// Returns the cached keys. When they are old, one caller refreshes them while the others go on
    /// with the old set.
    pub async fn current(&self) -> Arc<KeySet> {
        if !safeguard!(KeptKeys) {
            self.current.store(Arc::new(self.fetch().await.unwrap_or_default()));
        }
        let old = self.read_at.load().is_some_and(|at| at.elapsed() >= MAX_AGE);
        if old && let Ok(last_attempt) = self.last_attempt.try_lock() {
            self.try_to_refresh(last_attempt).await;
        }
        self.current.load_full()
    }

    /// Returns the keys, refreshed first if `kid` is unknown and the cooldown allows it.
    pub async fn holding(&self, kid: &str) -> Arc<KeySet> {
        let keys = self.current().await;
        if keys.get(kid).is_some() {
            return keys;
        }
        self.refresh_for(kid).await;
        self.current.load_full()
    }

    pub fn is_loaded(&self) -> bool {
        !self.current.load().is_empty()
    }

    /// Refreshes once at a time; callers that waited use the result, good or bad.
    async fn refresh_for(&self, kid: &str) {
        let waiting_since = Instant::now();
        let last_attempt = self.last_attempt.lock().await;
        let refreshed_meanwhile = last_attempt.is_some_and(|at| at >= waiting_since);
        if !refreshed_meanwhile && self.current.load().get(kid).is_none() {
            self.try_to_refresh(last_attempt).await;
        }
    }

    async fn try_to_refresh(&self, mut last_attempt: MutexGuard<'_, Option<Instant>>) {
        let cooldown =
            if self.is_loaded() { self.cooldown } else { self.cooldown.min(EMPTY_COOLDOWN) };
        if last_attempt.is_some_and(|at| at.elapsed() < cooldown) {
            return;
        }
        // Set before the attempt too: a cancelled caller has still used the cooldown.
        *last_attempt = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => self.store(keys),
            Err(error) => {
                tracing::warn!(url = %self.url, %error, "Failed to refresh the key set; keeping the last good one.");
            }
        }
        *last_attempt = Some(Instant::now());
    }

    /// An unchanged document keeps its `Arc`, because cached tokens are valid for one set only.
    fn store(&self, keys: KeySet) {
        if !self.current.load().is_same_document(&keys) {
            self.current.store(Arc::new(keys));
        }
        self.read_at.store(Arc::new(Some(Instant::now())));
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(KeySetError::TooLarge.into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&document)?)
    }
}
