//! What both token issuers share: the form of a token request, its errors, and the signing key.

mod error;
mod form;
mod keys;

pub(crate) use error::OAuthError;
pub(crate) use form::Form;
pub(crate) use keys::{KeyError, SigningKey};
