//! The list of installed packages as apt is to see it.
//!
//! A package that is installed is not downloaded. Our own programs are left out of the list, so
//! that they are downloaded also where they are installed and cannot be used: too old, incomplete,
//! hidden, or ignored by setting.

/// How the names of the packages begin that are always unpacked.
const OUR_PROGRAMS: [&str; 5] = ["libpython3", "postgresql", "prometheus", "python3", "redis"];

/// Without the relations between packages: to apt, leaving one out would break those that need it.
const KEPT_FIELDS: [&str; 6] =
    ["Package:", "Status:", "Version:", "Architecture:", "Multi-Arch:", "Provides:"];

/// `/var/lib/dpkg/status` without the packages of our programs.
pub(super) fn without_our_programs(status: &str) -> String {
    let stanzas = status.split("\n\n").filter(|stanza| !is_ours(stanza)).map(kept_fields);
    stanzas.filter(|stanza| !stanza.is_empty()).map(|stanza| stanza + "\n").collect()
}

fn is_ours(stanza: &str) -> bool {
    let name = stanza.lines().find_map(|line| line.strip_prefix("Package: "));
    name.is_some_and(|name| OUR_PROGRAMS.iter().any(|prefix| name.starts_with(prefix)))
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
            without_our_programs(status),
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36\n\n\
             Package: uses-redis\nVersion: 1\n\n"
        );
    }
}
