//! Who is calling: access tokens, DPoP proofs, replay, and the request tokens the gateway
//! hands to the services behind it.
//!
//! All modules but [`edge`] are pure: time, keys and random numbers are passed in.
//! Not here: what a caller may do on a route; handlers say that in their signatures.

pub mod edge;
pub mod htu;
pub mod judge;
pub mod jwks;
pub mod jwt;
pub mod nonce;
pub mod oidc;
pub mod principal;
pub mod proof;
pub mod replay;
pub mod request_token;
pub mod sync_token;
pub mod thumbprint;
pub mod token;

#[cfg(test)]
mod signature_sets;

pub use contracts::json;
pub use principal::Principal;
