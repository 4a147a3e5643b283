//! Builds the list of installed packages that apt sees.
//!
//! apt does not download installed packages. The packages we fetch are removed from the list, so that
//! they are downloaded even where they are installed but unusable: too old, incomplete, hidden, or
//! ignored by setting.

/// Name prefixes of packages that are always downloaded.
const FETCHED_PACKAGES: [&str; 9] = [
    "chromium",
    "curl",
    "fonts-dejavu",
    "libpython3",
    "openssl",
    "postgresql",
    "prometheus",
    "python3",
    "redis",
];

/// Relations between packages are dropped: to apt, removing a package would break its dependents.
const KEPT_FIELDS: [&str; 6] =
    ["Package:", "Status:", "Version:", "Architecture:", "Multi-Arch:", "Provides:"];

/// Returns `/var/lib/dpkg/status` without the packages we fetch.
pub(super) fn without_fetched_packages(status: &str) -> String {
    let stanzas = status.split("\n\n").filter(|stanza| !is_ours(stanza)).map(kept_fields);
    stanzas.filter(|stanza| !stanza.is_empty()).map(|stanza| stanza + "\n").collect()
}

fn is_ours(stanza: &str) -> bool {
    let name = stanza.lines().find_map(|line| line.strip_prefix("Package: "));
    name.is_some_and(|name| FETCHED_PACKAGES.iter().any(|prefix| name.starts_with(prefix)))
}

fn kept_fields(stanza: &str) -> String {
    let lines = stanza.lines();
    let kept = lines.filter(|line| KEPT_FIELDS.iter().any(|field| line.starts_with(field)));
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_programs_and_all_relations_are_left_out() {
        let status = "Package: libc6\nStatus: install ok installed\nVersion: 2.36\nDepends: x\n\n\
                      Package: redis-server\nStatus: install ok installed\nVersion: 7.0\n\n\
                      Package: uses-redis\nVersion: 1\nDepends: redis-server,\n more\n";
        assert_eq!(
            without_fetched_packages(status),
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36\n\n\
             Package: uses-redis\nVersion: 1\n\n"
        );
    }
}
