//! Tenants, properties, room types and rooms.

use contracts::id::{PropertyId, RoomId, RoomTypeId, TenantId};
use contracts::money::{Currency, Money};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::DemoData;
use super::seed::{self, OPENING_DAY};

/// A customer of the platform.
#[derive(Debug, Clone, Serialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: &'static str,
    /// Domain of its operators' user names.
    pub domain: &'static str,
}

/// One hotel.
#[derive(Debug, Clone, Serialize)]
pub struct Property {
    pub id: PropertyId,
    pub tenant_id: TenantId,
    /// Short unique name: the root of every label and id of the property.
    pub slug: &'static str,
    pub name: &'static str,
    pub city: &'static str,
    /// ISO 3166 alpha-2
    pub country: &'static str,
    pub address: &'static str,
    pub phone: &'static str,
    pub email: &'static str,
    /// IANA name
    pub time_zone: &'static str,
    /// ISO 4217
    currency: &'static str,
    pub locale: &'static str,
}

impl Property {
    pub fn zone(&self) -> TimeZone {
        TimeZone::get(self.time_zone).expect("the zones of the demo are in the bundled database")
    }

    /// The local date.
    pub fn today(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone()).date()
    }

    pub fn currency(&self) -> Currency {
        Currency::try_from(self.currency.to_owned()).expect("the demo has ISO 4217 codes")
    }

    /// An amount of whole units in its currency.
    pub(super) fn money(&self, units: i64) -> Money {
        Money { amount_micro: units * 1_000_000, currency: self.currency() }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct RoomType {
    pub id: RoomTypeId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    /// `STD`, `DLX` …
    pub code: &'static str,
    pub name: &'static str,
    pub sleeps: u8,
    /// Usual rate of one night, in whole units of the property's currency.
    pub base_rate: i64,
    /// Rates are multiples of this many units.
    pub rate_step: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Room {
    pub id: RoomId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_type_id: RoomTypeId,
    /// As on the door.
    pub number: String,
    pub floor: i32,
    /// Why it is closed, if it is.
    pub closed: Option<Closed>,
}

/// Why a room is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Closed {
    /// Under repair: not sold.
    OutOfOrder,
    /// A small fault: still sold, but not assigned.
    OutOfService,
}

/// Of every property.
const FLOORS: i32 = 4;

/// The plan of a property: its room types, with the rooms of each per floor.
struct PropertyPlan {
    property: Property,
    types: &'static [(&'static str, &'static str, u8, i64, usize)],
    rate_step: i64,
    out_of_order: &'static str,
    out_of_service: Option<&'static str>,
}

/// The tenants, room types and rooms of the demo data, and the properties.
pub(super) fn build() -> (DemoData, Vec<Property>) {
    let lapis = tenant("Lapis Hospitality", "lapis.example");
    let mehrgan = tenant("Mehrgan Hotels", "mehrgan.example");
    let plans = [kabul(&lapis), dushanbe(&lapis), shiraz(&mehrgan)];
    let room_types: Vec<_> = plans.iter().flat_map(room_types).collect();
    let rooms = plans.iter().flat_map(|plan| rooms(plan, &room_types)).collect();
    let properties = plans.into_iter().map(|plan| plan.property).collect();
    let tenants = vec![lapis, mehrgan];
    (DemoData { tenants, room_types, rooms, ..DemoData::default() }, properties)
}

fn tenant(name: &'static str, domain: &'static str) -> Tenant {
    Tenant { id: seed::id(OPENING_DAY, domain), name, domain }
}

fn kabul(tenant: &Tenant) -> PropertyPlan {
    PropertyPlan {
        property: Property {
            id: seed::id(OPENING_DAY, "kabul"),
            tenant_id: tenant.id,
            slug: "kabul",
            name: "Bagh-e Lajward",
            city: "Kabul",
            country: "AF",
            address: "14 Qala-e Fatullah Road",
            phone: "+93 20 555 0114",
            email: "desk.kabul@lapis.example",
            time_zone: "Asia/Kabul",
            currency: "AFN",
            locale: "fa-AF",
        },
        types: &[
            ("STD", "Standard Double", 2, 4_500, 6),
            ("DLX", "Deluxe Courtyard", 2, 6_800, 3),
            ("FAM", "Family Room", 4, 8_200, 2),
            ("STE", "Lajward Suite", 3, 12_500, 1),
        ],
        rate_step: 50,
        out_of_order: "207",
        out_of_service: Some("311"),
    }
}

fn dushanbe(tenant: &Tenant) -> PropertyPlan {
    PropertyPlan {
        property: Property {
            id: seed::id(OPENING_DAY, "dushanbe"),
            tenant_id: tenant.id,
            slug: "dushanbe",
            name: "Pomir Plaza",
            city: "Dushanbe",
            country: "TJ",
            address: "88 Rudaki Avenue",
            phone: "+992 37 555 0188",
            email: "desk.dushanbe@lapis.example",
            time_zone: "Asia/Dushanbe",
            currency: "TJS",
            locale: "tg-TJ",
        },
        types: &[
            ("STD", "Standard Twin", 2, 480, 4),
            ("DLX", "Deluxe Mountain View", 2, 690, 3),
            ("FAM", "Family Room", 4, 880, 2),
            ("STE", "Pomir Suite", 3, 1_450, 1),
        ],
        rate_step: 5,
        out_of_order: "302",
        out_of_service: None,
    }
}

fn shiraz(tenant: &Tenant) -> PropertyPlan {
    PropertyPlan {
        property: Property {
            id: seed::id(OPENING_DAY, "shiraz"),
            tenant_id: tenant.id,
            slug: "shiraz",
            name: "Mehrgan Garden Hotel",
            city: "Shiraz",
            country: "IR",
            address: "5 Kuche-ye Narenjestan",
            phone: "+98 71 555 0105",
            email: "desk.shiraz@mehrgan.example",
            time_zone: "Asia/Tehran",
            currency: "IRR",
            locale: "fa-IR",
        },
        types: &[
            ("STD", "Garden Double", 2, 28_000_000, 4),
            ("DLX", "Orangery Deluxe", 2, 39_500_000, 3),
            ("STE", "Mehrgan Suite", 4, 74_000_000, 1),
        ],
        rate_step: 100_000,
        out_of_order: "104",
        out_of_service: None,
    }
}

fn room_types(plan: &PropertyPlan) -> Vec<RoomType> {
    let Property { id: property_id, tenant_id, slug, .. } = plan.property;
    let make = |&(code, name, sleeps, base_rate, _): &(_, _, _, _, _)| RoomType {
        id: seed::id(OPENING_DAY, &format!("{slug}/{code}")),
        tenant_id,
        property_id,
        code,
        name,
        sleeps,
        base_rate,
        rate_step: plan.rate_step,
    };
    plan.types.iter().map(make).collect()
}

fn rooms(plan: &PropertyPlan, types: &[RoomType]) -> Vec<Room> {
    let own = types.iter().filter(|room_type| room_type.property_id == plan.property.id);
    let floor: Vec<_> = own
        .zip(plan.types)
        .flat_map(|(room_type, &(.., count))| std::iter::repeat_n(room_type.id, count))
        .collect();
    (1..=FLOORS)
        .flat_map(|storey| (1..).zip(&floor).map(move |(number, kind)| (storey, number, *kind)))
        .map(|(storey, number, kind)| room(plan, storey, &format!("{storey}{number:02}"), kind))
        .collect()
}

fn room(plan: &PropertyPlan, floor: i32, number: &str, room_type_id: RoomTypeId) -> Room {
    let closed = match number {
        _ if number == plan.out_of_order => Some(Closed::OutOfOrder),
        _ if Some(number) == plan.out_of_service => Some(Closed::OutOfService),
        _ => None,
    };
    Room {
        id: seed::id(OPENING_DAY, &format!("{}/{number}", plan.property.slug)),
        tenant_id: plan.property.tenant_id,
        property_id: plan.property.id,
        room_type_id,
        number: number.to_owned(),
        floor,
        closed,
    }
}
