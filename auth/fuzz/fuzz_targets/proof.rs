//! Any text as a proof, with nonces and without: must be rejected and never panic, because the key
//! that the token is bound to does not exist here.
#![no_main]

use std::sync::LazyLock;

use auth::htu::Htu;
use auth::nonce::Nonces;
use auth::proof::{Expected, ProofVerifier, Window};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

static PLAIN: LazyLock<ProofVerifier> = LazyLock::new(|| ProofVerifier::new(Window::default()));
static WITH_NONCES: LazyLock<ProofVerifier> = LazyLock::new(|| {
    let nonces = Nonces::new(&[7; 32]).expect("32 bytes");
    ProofVerifier::new(Window::default()).with_nonces(nonces)
});
static TARGETS: LazyLock<[Htu; 1]> =
    LazyLock::new(|| [Htu::parse("https://desk.test/api/today").expect("a URI")]);

fuzz_target!(|text: &str| {
    let expected = Expected {
        method: "GET",
        targets: &*TARGETS,
        token_digest: Some(&[0; 32]),
        bound_to: Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        now: Timestamp::constant(1_790_000_040, 0),
    };
    for proofs in [&*PLAIN, &*WITH_NONCES] {
        let error = proofs.verify(text, &expected).expect_err("a proof without the bound key");
        assert!(!error.to_string().is_empty());
    }
});
