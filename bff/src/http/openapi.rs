//! The OpenAPI document, generated from the handlers; committed as `contracts/openapi/bff.json`.

use axum::Router;
use contracts::problem::Problem;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi};

use super::router::{authenticated_routes, proof_only_routes};
use crate::handlers::public::reference;
use crate::http::endpoints::Endpoint;
use crate::paths::BASE_PATH;
use crate::problems::AnyProblem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Back office gateway",
        description = "One server between the hotel desktop and the platform. Sign in at iam, then send \
            `Authorization: DPoP <token>`, `DPoP: <proof>` and `X-Device-Id` with every request (RFC 9449).",
        license(name = "Apache-2.0"),
    ),
    components(schemas(Problem), responses(AnyProblem)),
    modifiers(&Dpop),
)]
struct Document;

struct Dpop;

impl Modify for Dpop {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = ApiKey::Header(ApiKeyValue::with_description(
            "Authorization",
            "An access token of iam under the scheme DPoP, with a proof in the header DPoP (RFC 9449).",
        ));
        let proof = ApiKey::Header(ApiKeyValue::with_description(
            "DPoP",
            "A proof alone, without an access token, for the route that gives a new one (RFC 9449 section 5).",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("dpop", SecurityScheme::ApiKey(scheme));
        components.add_security_scheme("proof", SecurityScheme::ApiKey(proof));
    }
}

/// Returns the document as served and committed: pretty-printed, with a final newline.
pub(crate) fn json() -> String {
    let (_, routes) = authenticated_routes().split_for_parts();
    let (_, renewal) = proof_only_routes().split_for_parts();
    let parts = [with_requirements(routes, "dpop"), with_requirements(renewal, "proof")];
    let document =
        parts.into_iter().fold(Document::openapi(), |all, part| all.nest(BASE_PATH, part));
    let mut json = document.to_pretty_json().expect("the document is plain JSON");
    json.push('\n');
    json
}

/// Adds to each operation what all have alike: the scheme, the problem response, and `x-requires`
/// from the endpoint table.
fn with_requirements(
    mut routes: utoipa::openapi::OpenApi,
    scheme: &str,
) -> utoipa::openapi::OpenApi {
    for (path, item) in &mut routes.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.security = Some(vec![SecurityRequirement::new(scheme, [""; 0])]);
            let problem = RefOr::Ref(Ref::from_response_name("AnyProblem"));
            operation.responses.responses.insert("default".to_owned(), problem);
            if let Some(row) = Endpoint::find(method, path) {
                let mut requires = Extensions::default();
                requires.insert("x-requires".to_owned(), row.requirement());
                operation.extensions.get_or_insert_default().merge(requires);
            }
        }
    }
    routes
}

/// Routes that need none: the API's own description. Health is added where readiness is known.
pub(crate) fn open_routes() -> Router {
    Router::new().merge(reference::router(json()))
}
