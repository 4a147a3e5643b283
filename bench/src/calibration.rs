//! Calibration: the time of one ES256 verification on one core. Every authenticated request does one,
//! so it makes figures of different days and machines comparable.

use anyhow::anyhow;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey,
};
use tokio::time::Instant;

/// Verifications per sample; the result is the median of all samples.
const VERIFICATIONS_PER_SAMPLE: u32 = 20;
const SAMPLES: usize = 101;

/// Measures the median time in microseconds. Takes one or two tenths of a second.
pub(crate) fn es256_us() -> anyhow::Result<f64> {
    let (random, message) = (SystemRandom::new(), [7; 400]);
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let key = key.map_err(|_| anyhow!("a key cannot be made"))?;
    let signature = key.sign(&random, &message).map_err(|_| anyhow!("the key does not sign"))?;
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    let public = public.map_err(|_| anyhow!("the key cannot be read"))?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        for _ in 0..VERIFICATIONS_PER_SAMPLE {
            let verified = public.verify_sig(&message, signature.as_ref());
            verified.map_err(|_| anyhow!("a good signature was refused"))?;
        }
        samples.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(VERIFICATIONS_PER_SAMPLE));
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[SAMPLES / 2])
}
