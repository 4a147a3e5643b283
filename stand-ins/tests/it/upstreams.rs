//! Reads of each upstream, and who may call them.

use contracts::upstream::Upstream;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::notification::Alerts;
use contracts::upstream::pricing::RateSnapshot;
use contracts::upstream::property::Property;
use contracts::upstream::reservation::{ReservationState, Stays};
use contracts::upstream::tenant::{OperatorPreferences, OperatorProfile, TenantStatus};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stand_ins::demo::Operator;

use crate::platform::{self, TestPlatform};

/// Every implemented read, for a property.
pub(crate) fn routes(property: &str) -> [(Upstream, String); 14] {
    [
        (Upstream::Reservation, format!("/api/v1/reservations/arrivals?propertyId={property}")),
        (Upstream::Reservation, format!("/api/v1/reservations/departures?propertyId={property}")),
        (Upstream::Reservation, format!("/api/v1/reservations/in-house?propertyId={property}")),
        (Upstream::Pricing, format!("/v1/pricing/rate-snapshot?propertyId={property}")),
        (Upstream::Notification, format!("/api/v1/alerts?propertyId={property}")),
        (Upstream::Analytics, format!("/api/v1/analytics/kpis?propertyId={property}")),
        (Upstream::Property, format!("/internal/v1/properties/{property}")),
        (Upstream::Maintenance, format!("/api/v1/maintenance/summary?propertyId={property}")),
        (Upstream::Maintenance, format!("/api/v1/maintenance/board?propertyId={property}")),
        (Upstream::Billing, format!("/api/v1/billing/summary?propertyId={property}")),
        (Upstream::Billing, format!("/api/v1/billing/balances?propertyId={property}")),
        (Upstream::Ai, format!("/api/v1/ai/suggestions?propertyId={property}")),
        (Upstream::Sync, format!("/api/v1/sync/cursors?propertyId={property}")),
        (Upstream::Audit, format!("/api/v1/audit/entries?propertyId={property}")),
    ]
}

pub(crate) async fn read<T: DeserializeOwned>(
    platform: &TestPlatform,
    slug: &str,
    route: usize,
) -> T {
    let property = platform.demo.properties.iter().find(|property| property.slug == slug).unwrap();
    let (upstream, path) = routes(property.id.as_str())[route].clone();
    let response = platform.get(upstream, &path, platform.operator("frontdesk", slug)).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

#[tokio::test]
async fn arrivals_departures_and_guests_in_house_are_listed() {
    let platform = platform::start().await;
    for property in &platform.demo.properties {
        let [arrivals, departures, in_house]: [Stays; 3] = [
            read(&platform, property.slug, 0).await,
            read(&platform, property.slug, 1).await,
            read(&platform, property.slug, 2).await,
        ];
        let today = property.today(platform.now());
        assert_eq!((*arrivals.date, arrivals.property_id), (today, property.id));
        assert!(
            !arrivals.items.is_empty()
                && arrivals.items.iter().all(|arrival| *arrival.check_in == today)
        );
        assert!(arrivals.items.is_sorted_by_key(|stay| stay.eta));
        assert!(!departures.items.is_empty());
        assert!(departures.items.iter().all(|stay| *stay.check_out == today));
        assert!(in_house.items.iter().all(|stay| stay.room_number.is_some()
            && matches!(stay.state, ReservationState::CheckedIn | ReservationState::InHouse)));
    }
}

#[tokio::test]
async fn rates_figures_alerts_and_card_are_the_propertys_own() {
    let platform = platform::start().await;
    for property in &platform.demo.properties {
        let rates: RateSnapshot = read(&platform, property.slug, 3).await;
        assert_eq!(rates.rates.len(), platform.demo.room_types_of(property.id).count());
        assert!(rates.rates.iter().all(|rate| rate.best_available.amount_micro > 0));
        let kpis: Kpis = read(&platform, property.slug, 5).await;
        assert!((30.0..=100.0).contains(&kpis.occupancy_percent), "{kpis:?}");
        assert!(kpis.rev_par.amount_micro < kpis.adr.amount_micro);
        let alerts: Alerts = read(&platform, property.slug, 4).await;
        assert!(
            !alerts.items.is_empty()
                && alerts.items.is_sorted_by(|a, b| a.raised_at >= b.raised_at)
        );
        let card: Property = read(&platform, property.slug, 6).await;
        assert_eq!((card.name.as_str(), card.room_count > 0), (property.name, true));
    }
}

#[tokio::test]
async fn another_tenants_property_does_not_exist_and_anothers_scope_is_forbidden() {
    let platform = platform::start().await;
    let kabul = &platform.demo.properties[0];
    let stranger = platform.operator("frontdesk", "shiraz");
    let colleague = platform.operator("frontdesk", "dushanbe");
    for (upstream, path) in routes(kabul.id.as_str()) {
        let hidden = platform.get(upstream, &path, stranger).await;
        assert_eq!(hidden.status(), 404, "{path}");
        let problem: Value = hidden.json().await.unwrap();
        assert_eq!(problem["code"], "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
        let made_up = path.replace(kabul.id.as_str(), "ppt_01K0000000000000000000000A");
        let unknown: Value = platform.get(upstream, &made_up, stranger).await.json().await.unwrap();
        assert_eq!(problem["detail"], unknown["detail"], "the two can be listed apart");
        assert_eq!(platform.get(upstream, &path, colleague).await.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn an_operators_profile_is_hidden_from_other_tenants() {
    let platform = platform::start().await;
    let path = |operator: &Operator| {
        format!("/api/v1/tenants/{}/operators/{}", operator.tenant_id, operator.id)
    };
    for operator in &platform.demo.operators {
        let response = platform.get(Upstream::Tenant, &path(operator), operator).await;
        let profile: OperatorProfile = response.json().await.unwrap();
        let home = platform.demo.property(operator.property_ids[0]).unwrap();
        assert_eq!((profile.tenant_id, profile.operator_id), (operator.tenant_id, operator.id));
        assert_eq!(profile.property_ids, operator.property_ids);
        assert_eq!(
            (profile.locale.as_str(), profile.display_name),
            (home.locale, operator.display_name.clone())
        );
        assert_eq!(
            profile.roles,
            operator.roles.iter().map(|role| role.name()).collect::<Vec<_>>()
        );
        assert_eq!(profile.tenant_status, TenantStatus::Active);
        let wanted = format!("{}/preferences", path(operator));
        let response = platform.get(Upstream::Tenant, &wanted, operator).await;
        let wanted: OperatorPreferences = response.json().await.unwrap();
        assert_eq!((wanted.operator_id, wanted.locale.as_str()), (operator.id, home.locale));
    }
    let (operator, stranger) =
        (platform.operator("frontdesk", "kabul"), platform.operator("gm", "shiraz"));
    let made_up = path(operator).replace(operator.id.as_str(), "opr_01K0000000000000000000000A");
    let mixed = path(operator).replace(operator.tenant_id.as_str(), stranger.tenant_id.as_str());
    for (who, path) in [(stranger, path(operator)), (operator, made_up), (stranger, mixed)] {
        for path in [format!("{path}/preferences"), path] {
            assert_eq!(platform.get(Upstream::Tenant, &path, who).await.status(), 404, "{path}");
        }
    }
}

#[tokio::test]
async fn a_request_token_for_this_upstream_is_required() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    for (upstream, path) in routes(platform.demo.properties[0].id.as_str()) {
        let url = platform.url(upstream, &path);
        assert_eq!(platform.http.get(&url).send().await.unwrap().status(), 401);
        let for_another = platform.request_token(Upstream::Iam, operator);
        let response = platform.http.get(&url).header("authorization", for_another).send().await;
        assert_eq!(response.unwrap().status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_malformed_query_is_refused() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let property = platform.demo.properties[0].id;
    for query in ["", "?propertyId=kabul", &format!("?propertyId={property}&date=tomorrow")] {
        let path = format!("/api/v1/reservations/arrivals{query}");
        assert_eq!(
            platform.get(Upstream::Reservation, &path, operator).await.status(),
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn routes_that_are_not_implemented_are_501() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    for &upstream in platform.running.upstreams.keys().filter(|name| **name != Upstream::Iam) {
        let response = platform.get(upstream, "/api/v1/anything", operator).await;
        assert_eq!(response.status(), 501, "{upstream}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "MELMASTOON.STAND_INS.NOT_PLAYED");
    }
}
