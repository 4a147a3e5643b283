//! The Pub/Sub push format, in which servers receive events, with a CloudEvent inside.
//!
//! Not here: who may push ([`crate::identity`]) and what an event changes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::event::CloudEvent;
use contracts::json::{self, ZeroCharacter};
use serde::Deserialize;

use crate::extract::refused;
use crate::problem::ApiError;

/// The body of a push; other members are ignored.
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
    /// Decodes the event. Invalid data is refused and ends as a dead letter. U+0000 is removed from
    /// texts, because a published event cannot be corrected.
    pub fn event(&self) -> Result<CloudEvent, ApiError> {
        let bytes = STANDARD.decode(&self.message.data).map_err(|_| {
            let detail = "Send the CloudEvent as base64.";
            ApiError::field("body.message.data", "INVALID", detail)
        })?;
        json::from_slice(&bytes, ZeroCharacter::Dropped).map_err(|error| refused("event", &error))
    }
}
