//! How the platform tells a server of an event: the Pub/Sub push form, a CloudEvent inside.
//!
//! Not here: who may push ([`crate::identity`]) and what an event changes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::event::CloudEvent;
use contracts::json::{self, ZeroCharacter};
use serde::Deserialize;

use crate::extract::refused;
use crate::problem::ApiError;

/// The push form; members we do not read are left out.
#[derive(Debug, Deserialize)]
pub struct Push {
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Message {
    /// A CloudEvent, base64.
    data: String,
}

impl Push {
    /// The event inside. What is not one is refused: the sender delivers it ten times at most, then
    /// it ends in the dead-letter stream. U+0000 is left out of its texts, because an event that was
    /// published cannot be corrected.
    pub fn event(&self) -> Result<CloudEvent, ApiError> {
        let bytes = STANDARD.decode(&self.message.data).map_err(|_| {
            let detail = "Send the CloudEvent as base64.";
            ApiError::field("body.message.data", "INVALID", detail)
        })?;
        json::from_slice(&bytes, ZeroCharacter::Dropped).map_err(|error| refused("event", &error))
    }
}
