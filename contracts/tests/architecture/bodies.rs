//! No server reads a request body past its rules: the kit's `Json` and `body` validate what they read.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{ExprPath, FnArg, ItemMod, Path, Signature, Type, UseTree};

use crate::sources::{is_left_out, is_test, root, sources};

/// Folders of the servers, and of what they share.
const SERVERS: [&str; 4] = ["bff/src", "domain-services", "service-kit/src", "stand-ins/src"];

/// Files that take the bytes of a body, and why.
const RAW: [&str; 8] = [
    // `Json`, and `body` for those that need the bytes too.
    "service-kit/src/extract.rs",
    // Published events: a refusal does not reach the publisher.
    "service-kit/src/pubsub_push.rs",
    // Fingerprints of the bytes; read with `extract::body`.
    "bff/src/mutation/request.rs",
    "stand-ins/src/idempotency.rs",
    // Forms of RFC 6749.
    "stand-ins/src/iam/token.rs",
    "stand-ins/src/oidc.rs",
    // Passed on, or broken on purpose.
    "stand-ins/src/faults/wire.rs",
    "stand-ins/src/upstreams/pass_through.rs",
];

#[derive(Default)]
struct Bodies {
    /// Whether `Json` is axum's here.
    is_axum: bool,
    takes_json: bool,
    takes_bytes: bool,
}

fn ends_with(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == name)
}

fn imports_json(tree: &UseTree) -> bool {
    match tree {
        UseTree::Path(path) => imports_json(&path.tree),
        UseTree::Group(group) => group.items.iter().any(imports_json),
        UseTree::Name(name) => name.ident == "Json",
        UseTree::Rename(name) => name.ident == "Json",
        UseTree::Glob(_) => false,
    }
}

impl<'ast> Visit<'ast> for Bodies {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        self.is_axum |=
            matches!(tree, UseTree::Path(path) if path.ident == "axum" && imports_json(tree));
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        for input in &signature.inputs {
            let FnArg::Typed(input) = input else { continue };
            let Type::Path(kind) = &*input.ty else { continue };
            let is_qualified =
                kind.path.segments.first().is_some_and(|first| first.ident == "axum");
            self.is_axum |= is_qualified && ends_with(&kind.path, "Json");
            self.takes_json |= ends_with(&kind.path, "Json");
            self.takes_bytes |= signature.asyncness.is_some() && ends_with(&kind.path, "Bytes");
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let names: Vec<String> =
            path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.takes_bytes |= names.ends_with(&["Bytes".to_owned(), "from_request".to_owned()])
            || names.last().is_some_and(|name| name == "to_bytes");
        visit::visit_expr_path(self, path);
    }
}

fn bodies(text: &str) -> Bodies {
    let mut bodies = Bodies::default();
    bodies.visit_file(&syn::parse_file(text).expect("a source is Rust"));
    bodies
}

#[test]
fn a_body_is_read_only_where_it_is_validated() {
    let (root, mut raw) = (root(), BTreeSet::new());
    for file in sources() {
        let name = file.strip_prefix(&root).expect("it is in the repository");
        if is_left_out(name) || !SERVERS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let found = bodies(&std::fs::read_to_string(&file).expect("a source can be read"));
        let name = name.to_string_lossy().into_owned();
        assert!(!(found.is_axum && found.takes_json), "{name}: extract service_kit's Json");
        if found.takes_bytes {
            raw.insert(name);
        }
    }
    let known: BTreeSet<String> = RAW.map(str::to_owned).into();
    assert_eq!(raw, known, "read a body with service_kit::extract::{{Json, body}}");
}

#[test]
fn bodies_read_past_their_rules_are_found() {
    for text in [
        "use axum::{Extension, Json}; async fn one(Json(body): Json<Body>) {}",
        "async fn two(body: axum::extract::Json<Body>) {}",
    ] {
        let found = bodies(text);
        assert!(found.is_axum && found.takes_json, "{text}");
    }
    for text in [
        "async fn three(body: Bytes) {}",
        "async fn four(request: Request) { Bytes::from_request(request, &()).await; }",
        "async fn five(body: Body) { axum::body::to_bytes(body, 1).await; }",
    ] {
        assert!(bodies(text).takes_bytes, "{text}");
    }
    let text = "use axum::Json; fn answer() -> Json<u8> { Json(1) } fn digest(body: Bytes) {}";
    let found = bodies(text);
    assert!(!found.takes_json && !found.takes_bytes);
}
