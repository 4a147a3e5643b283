//! The head that all responses about a property share.

use jiff::Timestamp;
use serde::Serialize;

use crate::id::PropertyId;

/// A response about a property.
pub trait Stamped: Serialize {
    fn property_id(&self) -> PropertyId;

    /// When the data was current, according to the upstream.
    fn as_of(&self) -> Timestamp;

    /// IANA name of the property's time zone, if the response states it.
    fn time_zone(&self) -> Option<&str> {
        None
    }
}

/// Implements [`Stamped`] by the members of that name: `stamped!(Kpis);`, and for a response with a
/// time zone `stamped!(Calendar, time_zone);`.
macro_rules! stamped {
    ($response:ty $(, $time_zone:ident)?) => {
        impl crate::upstream::stamped::Stamped for $response {
            fn property_id(&self) -> crate::id::PropertyId {
                self.property_id
            }

            fn as_of(&self) -> jiff::Timestamp {
                *self.as_of
            }

            $(fn time_zone(&self) -> Option<&str> {
                Some(&self.$time_zone)
            })?
        }
    };
}
