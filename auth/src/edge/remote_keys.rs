//! A key set fetched from its issuer: kept, refreshed when it grows old or a token names a key
//! it does not hold, never dropped because the issuer is away.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use contracts::safeguard;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::jwks::{KeySet, KeySetError, LARGEST};

/// A set older than this is fetched again, so that a key the issuer withdrew stops being trusted.
const OLD: Duration = Duration::from_secs(300);
/// How long whoever asks waits between tries while there is no key set at all.
const EMPTY_COOLDOWN: Duration = Duration::from_secs(1);

/// The issuer's keys (RFC 7517) at a URL.
#[derive(Debug)]
pub struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    current: ArcSwap<KeySet>,
    tries: Mutex<Tries>,
    /// When the set in use was read or last found unchanged; `None` before the first.
    read_at: ArcSwap<Option<Instant>>,
    cooldown: Duration,
}

#[derive(Debug, Default)]
struct Tries {
    last: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the key set cannot be fetched")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Document(#[from] KeySetError),
}

impl RemoteKeys {
    /// `client` must carry a time limit. `cooldown`: the issuer is asked at most this often.
    pub fn new(url: String, client: reqwest::Client, cooldown: Duration) -> Self {
        Self {
            url,
            client,
            current: ArcSwap::default(),
            tries: Mutex::default(),
            read_at: ArcSwap::default(),
            cooldown,
        }
    }

    /// The keys as they are; when they are old, one caller fetches them again while the others
    /// go on with what there is.
    pub async fn current(&self) -> Arc<KeySet> {
        if !safeguard!(KeptKeys) {
            self.current.store(Arc::new(self.fetch().await.unwrap_or_default()));
        }
        let old = self.read_at.load().is_some_and(|at| at.elapsed() >= OLD);
        if old && let Ok(tries) = self.tries.try_lock() {
            self.try_to_refresh(tries).await;
        }
        self.current.load_full()
    }

    /// The keys, after a refresh when `kid` is not among them and the cooldown allows one.
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

    /// One refresh at a time; those who waited find its result, good or bad.
    async fn refresh_for(&self, kid: &str) {
        let asked_at = Instant::now();
        let tries = self.tries.lock().await;
        let tried_meanwhile = tries.last.is_some_and(|at| at >= asked_at);
        if !tried_meanwhile && self.current.load().get(kid).is_none() {
            self.try_to_refresh(tries).await;
        }
    }

    async fn try_to_refresh(&self, mut tries: MutexGuard<'_, Tries>) {
        let cooldown =
            if self.is_loaded() { self.cooldown } else { self.cooldown.min(EMPTY_COOLDOWN) };
        if tries.last.is_some_and(|at| at.elapsed() < cooldown) {
            return;
        }
        // Before the try too: a caller that gives up in the middle has used the turn.
        tries.last = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => self.take(keys),
            Err(error) => {
                tracing::warn!(url = %self.url, %error, "The key set was not refreshed; the last good one stays.");
            }
        }
        tries.last = Some(Instant::now());
    }

    /// An unchanged document keeps its identity, on which verified tokens depend.
    fn take(&self, keys: KeySet) {
        if !self.current.load().is_same_document(&keys) {
            self.current.store(Arc::new(keys));
        }
        self.read_at.store(Arc::new(Some(Instant::now())));
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut answer = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if document.len() + chunk.len() > LARGEST {
                return Err(KeySetError::TooLarge.into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&document)?)
    }
}
