//! Typed ids: `<prefix>_<ULID>`, 30 ASCII bytes, checked when parsed.

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

use crate::clock::{Clock, Entropy};

const ID_BYTES: usize = 30;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_<ULID>")]
pub struct IdError {
    pub prefix: &'static str,
}

/// An id type.
pub trait Id: Copy + Eq + Hash + fmt::Display + FromStr<Err = IdError> {
    const PREFIX: &'static str;

    /// A new id with the current time.
    fn generate(clock: &Clock, entropy: &Entropy) -> Self {
        Self::from_parts(clock.now(), entropy.u128())
    }

    /// The id made of this millisecond and these random bits (the low 80 are used).
    fn from_parts(at: Timestamp, random: u128) -> Self;

    fn as_str(&self) -> &str;

    /// The time in the id, in milliseconds, as set by its creator.
    fn made_at(&self) -> Timestamp {
        let millis = self.as_str().get(4..).and_then(|digits| Ulid::from_string(digits).ok());
        let millis = millis.and_then(|ulid| i64::try_from(ulid.timestamp_ms()).ok());
        millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or_default()
    }
}

fn text(prefix: &'static str, ulid: Ulid) -> [u8; ID_BYTES] {
    let mut text = [b'_'; ID_BYTES];
    text[..3].copy_from_slice(prefix.as_bytes());
    let mut digits = [0_u8; ulid::ULID_LEN];
    text[4..].copy_from_slice(ulid.array_to_str(&mut digits).as_bytes());
    text
}

fn parse(prefix: &'static str, given: &str) -> Result<[u8; ID_BYTES], IdError> {
    let error = IdError { prefix };
    let text: [u8; ID_BYTES] = given.as_bytes().try_into().map_err(|_| error)?;
    let (head, digits) = text.split_at(4);
    let is_kind = head[..3] == *prefix.as_bytes() && head[3] == b'_';
    // 26 digits have 130 bits, a ULID 128: the first digit has three bits.
    let is_ulid = digits[0] <= b'7' && digits.iter().all(|digit| is_digit(*digit));
    if is_kind && is_ulid { Ok(text) } else { Err(error) }
}

/// Whether this is a canonical digit of Crockford's base 32. Lower case and look-alikes are refused, so
/// that an id has one spelling.
const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z') && !matches!(byte, b'I' | b'L' | b'O' | b'U')
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn from_parts(at: Timestamp, random: u128) -> Self {
                let millis = at.as_millisecond().max(0) as u64;
                Self(text($prefix, Ulid::from_parts(millis, random)))
            }

            fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("an id is ASCII")
            }
        }

        impl $name {
            /// The whole id as text.
            pub fn as_str(&self) -> &str {
                Id::as_str(self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(given: &str) -> Result<Self, IdError> {
                parse($prefix, given).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Id::as_str(self))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Id::as_str(self))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(Id::as_str(self))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let given = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                given.parse().map_err(de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "_[0-7][0-9A-HJKMNP-TV-Z]{25}$")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

ids! {
    TenantId "tnt"
    PropertyId "ppt"
    RoomId "rom"
    RoomTypeId "rty"
    OperatorId "opr"
    DeviceId "dev"
    SessionId "bos"
    RequestId "req"
    EventId "evt"
    DashboardId "dsh"
    WorkbenchViewId "wbv"
    ActivityId "act"
    LockAuditId "lap"
    AttestationId "mfa"
    PreferencesId "prf"
    AlertId "alr"
    SuggestionId "sug"
    DeviceSyncStatusId "dsy"
    ReservationId "rsv"
    ReservationItemId "rit"
    GuestId "gst"
    FolioId "fol"
    KeyCredentialId "key"
    LockDeviceId "lck"
    WorkOrderId "mnt"
    AllocationId "inv"
    InventoryBlockId "blk"
    CalendarId "cal"
    HousekeepingTaskId "hkt"
    StaffId "stf"
    PositionId "pos"
    DepartmentId "dpt"
    ShiftId "shf"
    AssignmentId "sha"
    ClockEntryId "clk"
}

impl TenantId {
    /// The platform's own tenant, an id that is no hotel's. Its rows are behind the same row-level
    /// security as everybody's.
    pub fn platform() -> Self {
        Self::from_parts(Timestamp::UNIX_EPOCH, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "tnt_01K0000000000000000000000A";

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id: TenantId = TENANT.parse().unwrap();
        assert_eq!(id.to_string(), TENANT);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TENANT}\""));
        assert_eq!(serde_json::from_str::<TenantId>(&format!("\"{TENANT}\"")).unwrap(), id);
    }

    #[test]
    fn an_id_contains_its_time() {
        let at = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        assert_eq!(RoomId::from_parts(at, 7).made_at(), at);
    }

    #[test]
    fn other_kinds_spellings_and_lengths_are_refused() {
        for given in [
            "",
            "tnt_",
            "01K0000000000000000000000A",
            "ppt_01K0000000000000000000000A",
            "tnt_01k0000000000000000000000a",
            "tnt_01K000000000000000000000OA",
            "tnt_01K000000000000000000000IA",
            "tnt_01K000000000000000000000LA",
            "tnt_01K000000000000000000000UA",
            "tnt_01K000000000000000000000:A",
            "tnt_01K00000000000000000000é0",
            "tnt_01K0000000000000000000000",
            "tnt_01K0000000000000000000000AA",
            "tnt_81K0000000000000000000000A",
            "tnt-01K0000000000000000000000A",
        ] {
            assert!(given.parse::<TenantId>().is_err(), "{given} was taken");
        }
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let (early, late) =
            (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        assert!(RoomId::from_parts(early, u128::MAX) < RoomId::from_parts(late, 0));
    }
}
