//! Encryption of shared refresh answers. The Redis key and the AES-256-GCM key are derived from the
//! refresh token (HKDF-SHA-256, RFC 5869), so that the session store alone reveals neither token.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use contracts::upstream::iam::RefreshRequest;
use std::fmt::Write;

const SALT: &[u8] = b"bff-backoffice refresh sharing 1";

/// Redis key and encryption key of one refresh, derived from its token, thumbprint and device.
pub(super) struct Seal {
    name: String,
    key: LessSafeKey,
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl Seal {
    pub(super) fn of(request: &RefreshRequest) -> Self {
        let secret = Salt::new(HKDF_SHA256, SALT).extract(request.refresh_token.as_bytes());
        let mut name = "bff:refresh:".to_owned();
        for byte in derived(&secret, b"name", request) {
            write!(name, "{byte:02x}").expect("a string takes everything");
        }
        let key = derived(&secret, b"key", request);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes");
        Self { name, key: LessSafeKey::new(key) }
    }

    /// Key in the session store.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The nonce, then the ciphertext with its tag. `random` must not be used twice.
    pub(super) fn close(&self, mut plain: Vec<u8>, random: u128) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&random.to_be_bytes()[..NONCE_LEN]);
        let aad = Aad::from(self.name.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain)
            .expect("an answer is far shorter than the cipher's limit");
        [nonce.as_slice(), &plain].concat()
    }

    /// `None` if it was not encrypted with this key.
    pub(super) fn open(&self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(self.name.as_bytes());
        self.key.open_in_place(nonce, aad, ciphertext).ok().map(|plain| plain.to_vec())
    }
}

fn derived(secret: &Prk, purpose: &[u8], request: &RefreshRequest) -> [u8; 32] {
    let info = [purpose, b"|", request.jkt.as_bytes(), b"|", request.device_id.as_str().as_bytes()];
    let mut bytes = [0; 32];
    secret
        .expand(&info, Bytes32)
        .and_then(|okm| okm.fill(&mut bytes))
        .expect("32 bytes are one block of SHA-256");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(token: &str, jkt: &str) -> Seal {
        let device_id = "dev_01K0000000000000000000000A".parse().unwrap();
        Seal::of(&RefreshRequest { refresh_token: token.into(), jkt: jkt.into(), device_id })
    }

    #[test]
    fn only_the_same_token_and_key_find_and_open_it() {
        let own = seal("token", "key");
        let sealed = own.close(b"the pair".to_vec(), 7);
        assert_eq!(seal("token", "key").open(sealed.clone()).unwrap(), b"the pair");
        for other in [seal("token2", "key"), seal("token", "key2")] {
            assert_ne!(own.name(), other.name());
            assert_eq!(other.open(sealed.clone()), None);
        }
    }

    #[test]
    fn sealed_content_is_illegible_and_tampering_is_detected() {
        let own = seal("token", "key");
        let sealed = own.close(b"the pair".to_vec(), 7);
        assert!(!own.name().contains("token"));
        assert!(!sealed.windows(4).any(|part| part == b"pair"));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(own.open(altered), None, "{at}");
        }
        assert_eq!(own.open(Vec::new()), None);
    }
}
