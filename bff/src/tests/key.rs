//! Keys that sign, and iam's key set on a socket.

use axum::Router;
use axum::routing::get;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, JwsSigner};
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;

/// A key that signs: the device's, or iam's.
#[derive(Clone)]
pub(crate) struct Key {
    jwk: Jwk,
}

impl Key {
    pub(crate) fn new() -> Self {
        Self { jwk: Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap() }
    }

    pub(crate) fn public(&self) -> Value {
        let public = self.jwk.to_public_key().unwrap();
        json!({"kty": "EC", "crv": "P-256", "x": public.parameter("x"), "y": public.parameter("y")})
    }

    pub(crate) fn thumbprint(&self) -> String {
        auth::jwk::thumbprint(self.public().to_string().as_bytes()).unwrap()
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// Signs texts that need not be JSON.
    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let encode = |text: &str| auth::jwt::encode(text.as_bytes());
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = ES256.signer_from_jwk(&self.jwk).unwrap().sign(input.as_bytes()).unwrap();
        format!("{input}.{}", auth::jwt::encode(&signature))
    }

    pub(crate) fn private_pem(&self) -> Vec<u8> {
        josekit::jwk::alg::ec::EcKeyPair::from_jwk(&self.jwk).unwrap().to_pem_private_key()
    }
}

/// iam's key set on a socket of its own.
pub(crate) async fn serve_keys(iam: &Key) -> String {
    let mut key = iam.public();
    key["kid"] = json!("iam-1");
    key["use"] = json!("sig");
    let set = json!({"keys": [key]});
    let app = Router::new().route("/jwks", get(move || async move { axum::Json(set) }));
    let listener = service_kit::serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    service_kit::serve::serve(listener, service_kit::serve::Plain, app, &Lifecycle::new());
    url
}
