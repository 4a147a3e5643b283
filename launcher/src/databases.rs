use crate::{progress::Progress, secrets::Secrets};
use std::collections::BTreeMap;
pub(crate) async fn provision(
    _a: &str,
    s: &Secrets,
    _p: &Progress,
) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(["bff", "inventory", "housekeeping", "staff"]
        .iter()
        .map(|n| ((*n).to_owned(), format!("postgres://{n}:{}@x/{n}", s.postgres_roles)))
        .collect())
}
