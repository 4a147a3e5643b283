//! The consumer surface and the booking surface: what their gateways need of the services, called
//! directly, with request tokens as a gateway signs them. Both sign people in at iam.
//!
//! The stand-in of reservation has no holds; a read of its reservations stands for them.

use std::collections::BTreeMap;

use anyhow::Context;
use auth::Principal;
use auth::request_token::RequestTokens;
use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, OperatorId};
use contracts::role::{Role, RoleSet};
use launcher::data_dir::DataDir;
use launcher::secrets::signing_key;

use super::Notices;
use crate::drill_env::DrillEnv;
use crate::drill_run::DrillRun;
use crate::observations::Step;

/// What a surface needs: an upstream and a path.
type Need = (&'static str, &'static str);

const CONSUMER: &[Need] = &[
    ("property", "/internal/v1/properties/{property}"),
    ("pricing", "/v1/pricing/rate-snapshot?propertyId={property}"),
    ("inventory", "/api/v1/inventory/properties/{property}/availability"),
    ("iam", "/jwks"),
];
const BOOKING: &[Need] = &[
    ("pricing", "/v1/pricing/rate-snapshot?propertyId={property}"),
    ("inventory", "/api/v1/inventory/properties/{property}/availability"),
    ("reservation", "/api/v1/reservations/arrivals?propertyId={property}"),
    ("iam", "/jwks"),
];

/// Both surfaces, and how their gateways reach the services.
pub(super) struct Surfaces {
    tokens: RequestTokens,
    addresses: BTreeMap<String, u16>,
}

impl Surfaces {
    pub(super) fn open(env: &DrillEnv) -> anyhow::Result<Self> {
        let folder = DataDir::open(&env.folder)?;
        let pem = std::fs::read(signing_key(&folder, "request-token")?)?;
        let tokens =
            RequestTokens::new("bff-backoffice", &pem, Clock::system(), Entropy::system())?;
        // The launcher writes down which port each server has.
        let addresses = serde_json::from_slice(&std::fs::read(env.folder.join("ports.json"))?)?;
        Ok(Self { tokens, addresses })
    }

    /// Checks that each surface notices what it should and nothing else.
    pub(super) async fn check(
        &self,
        run: &DrillRun,
        step: Step,
        booking: Notices,
        consumer: Notices,
    ) -> anyhow::Result<()> {
        for (surface, needs, notices) in
            [("booking", BOOKING, booking), ("consumer", CONSUMER, consumer)]
        {
            let mut failed = Vec::new();
            for need in needs {
                if !self.is_met(&run.env, *need).await? {
                    failed.push(need.0);
                }
            }
            let (what, expected) = match notices {
                Notices::Nothing => (format!("the {surface} surface notices nothing"), vec![]),
                Notices::Upstream(name) => {
                    (format!("the {surface} surface lacks {name} and nothing else"), vec![name])
                }
            };
            run.check(step, what, failed == expected, format!("without: {failed:?}"));
        }
        Ok(())
    }

    async fn is_met(&self, env: &DrillEnv, need: Need) -> anyhow::Result<bool> {
        let (upstream, path) = need;
        let port =
            self.addresses.get(upstream).with_context(|| format!("no port of {upstream}"))?;
        let path = path.replace("{property}", &env.property);
        let url = format!("http://127.0.0.1:{port}{path}");
        let token = self.tokens.token_for(&guest(env)?, upstream).to_string();
        let response = env.http().get(url).bearer_auth(token).send().await;
        Ok(response.is_ok_and(|response| response.status().is_success()))
    }
}

/// Whom the other gateways act for: a principal of the tenant with access to the property.
fn guest(env: &DrillEnv) -> anyhow::Result<Principal> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    Ok(Principal {
        tenant: env.desktop.operator().tenant_id.parse()?,
        operator: OperatorId::generate(&clock, &entropy),
        device: DeviceId::generate(&clock, &entropy),
        session: None,
        roles: RoleSet::of(&[Role::FrontDesk]),
        properties: vec![env.property.parse()?],
        issued_at: clock.now(),
        expires_at: clock.now(),
        thumbprint: None,
        token_digest: digest(&entropy),
    })
}

/// A new one for each request, because tokens are kept by it.
fn digest(entropy: &Entropy) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&entropy.u128().to_be_bytes());
    digest[16..].copy_from_slice(&entropy.u128().to_be_bytes());
    digest
}
