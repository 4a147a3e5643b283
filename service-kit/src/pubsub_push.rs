//! The Pub/Sub push format, in which servers receive events, with a CloudEvent inside.
//!
//! Not here: who may push ([`crate::identity`]) and what an event changes.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::clock::wire;
use contracts::id::{EventId, PropertyId, TenantId};
use contracts::json::{ZeroCharacter, from_published, published_text};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::extract::{content_type, refused};
use crate::problem::ApiError;

/// The body of a push. Members that are not read may hold anything, because the sender cannot correct
/// them.
#[derive(Debug, Deserialize)]
pub struct Push {
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Message {
    /// A CloudEvent, base64.
    data: String,
}

impl<S: Send + Sync> FromRequest<S> for Push {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        content_type(request.headers())?;
        let bytes = Bytes::from_request(request, state).await?;
        let read = from_published(&bytes, &["message.data"], ZeroCharacter::Refused);
        read.map_err(|error| refused("body", &error))
    }
}

impl Push {
    /// Decodes the event. Invalid data is refused and ends as a dead letter. U+0000 is removed from
    /// texts, because a published event cannot be corrected.
    pub fn event(&self) -> Result<Event, ApiError> {
        let json = STANDARD.decode(&self.message.data).map_err(|_| {
            let detail = "Send the CloudEvent as base64.";
            ApiError::field("body.message.data", "INVALID", detail)
        })?;
        let members = ["id", "type", "time", "tenantid"];
        let read = from_published(&json, &members, ZeroCharacter::Dropped);
        let event: Event = read.map_err(|error| refused("event", &error))?;
        Ok(Event { json, ..event })
    }
}

/// A CloudEvent that was pushed: what every consumer needs of it. The rest is read on demand and
/// may hold anything until then, because an event that was published must not be lost for a member
/// that changes nothing.
#[derive(Debug, Deserialize)]
pub struct Event {
    pub id: EventId,
    #[serde(rename = "type")]
    pub kind: String,
    pub time: wire::Timestamp,
    pub tenantid: TenantId,
    #[serde(skip)]
    json: Vec<u8>,
}

#[derive(Deserialize)]
struct WithData<T> {
    data: T,
}

impl Event {
    /// These members of its data, which decide what the event changes.
    pub fn data<T: DeserializeOwned>(&self, members: &[&str]) -> Result<T, ApiError> {
        let paths: Vec<String> = members.iter().map(|name| format!("data.{name}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let read = from_published::<WithData<T>>(&self.json, &paths, ZeroCharacter::Dropped);
        read.map(|event| event.data).map_err(|error| refused("event", &error))
    }

    /// The text of this member, as `subject` or `data.reason`; none when there is no text.
    pub fn text(&self, member: &str) -> Option<String> {
        published_text(&self.json, member)
    }

    /// The property it is about, when it says so.
    pub fn property(&self) -> Option<PropertyId> {
        self.text("propertyid")?.parse().ok()
    }
}
