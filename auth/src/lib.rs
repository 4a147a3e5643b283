//! Verifies who is calling: access tokens, DPoP proofs (RFC 9449), replay protection, and the
//! request tokens that the gateway sends to the services behind it.
//!
//! Start with [`edge::Authenticator`], which runs all checks of a request in the contract's order;
//! [`principal::Principal`] is the caller it identifies. Services use
//! [`edge::RequestTokenAuthenticator`].
//!
//! All modules but [`edge`] are pure: time, keys and random numbers are passed in.
//! Not here: what a caller may do on a route; handlers state that in their signatures.

pub mod edge;
pub mod htu;
pub mod jwk;
pub mod jwks;
pub mod jwt;
pub mod nonce;
pub mod oidc;
pub mod principal;
pub mod proof;
pub mod replay;
pub mod request_token;
pub mod sync_token;
pub mod token;
pub mod verifier;

#[cfg(test)]
mod tests;

pub use contracts::json;
pub use principal::Principal;
