//! What one raw ES256 verification takes the fastest library now, on one core: every guarded request
//! pays one, and by it the figures of one day, or of one machine, are told from another's.

use anyhow::anyhow;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey,
};
use tokio::time::Instant;

/// Of so many verifications a turn; the middle of the turns is told.
const TURN: u32 = 20;
const TURNS: usize = 101;

/// Microseconds. Takes a tenth of a second or two.
pub(crate) fn es256_us() -> anyhow::Result<f64> {
    let (random, message) = (SystemRandom::new(), [7; 400]);
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let key = key.map_err(|_| anyhow!("a key cannot be made"))?;
    let signature = key.sign(&random, &message).map_err(|_| anyhow!("the key does not sign"))?;
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    let public = public.map_err(|_| anyhow!("the key cannot be read"))?;
    let mut turns = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let began = Instant::now();
        for _ in 0..TURN {
            let verified = public.verify_sig(&message, signature.as_ref());
            verified.map_err(|_| anyhow!("a good signature was refused"))?;
        }
        turns.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(TURN));
    }
    turns.sort_by(f64::total_cmp);
    Ok(turns[TURNS / 2])
}
