//! Creates and migrates the four databases, each with the login role of its service.

use std::collections::BTreeMap;

use migrations::Schema;

use crate::progress::Progress;
use crate::secrets::Secrets;

/// Returns the URL of each service's own role, by service.
pub async fn provision(
    admin_url: &str,
    secrets: &Secrets,
    progress: &Progress,
) -> anyhow::Result<BTreeMap<String, String>> {
    let step = progress.step("Databases and migrations");
    let made = Schema::ALL.map(|schema| async move {
        let url = migrations::provision(admin_url, schema, &secrets.postgres_roles).await?;
        anyhow::Ok((schema.name().to_owned(), url))
    });
    let urls = futures_util::future::try_join_all(made).await?;
    step.done("Databases of bff, inventory, housekeeping and staff are up to date");
    Ok(urls.into_iter().collect())
}
