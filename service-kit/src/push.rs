//! How the platform tells a server of an event: the Pub/Sub push form, a CloudEvent inside.
//!
//! Not here: who may push ([`crate::identity`]) and what an event changes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::event::CloudEvent;
use serde::Deserialize;

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
    /// The event inside. What is not one is delivered again, and ends in the dead-letter stream.
    pub fn event(&self) -> Result<CloudEvent, ApiError> {
        let invalid = |detail| ApiError::field("body.message.data", "INVALID", detail);
        let bytes = STANDARD
            .decode(&self.message.data)
            .map_err(|_| invalid("Send the CloudEvent as base64."))?;
        serde_json::from_slice(&bytes)
            .map_err(|_| invalid("The data is not a CloudEvent of the platform's profile."))
    }
}
