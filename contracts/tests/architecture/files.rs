//! Form of the source files.

use crate::sources::{root, sources};

/// Lines of a source file.
const MAX_LINES: usize = 500;

#[test]
fn files_are_short_and_no_module_hides_in_a_mod_rs() {
    for file in sources() {
        let lines =
            std::fs::read_to_string(&file).expect("a tracked file can be read").lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; split it", file.display());
        assert!(!file.ends_with("mod.rs"), "{}: use foo.rs with foo/", file.display());
    }
}

#[test]
fn every_instant_and_date_of_the_wire_is_bounded_to_what_a_store_holds() {
    let (mut found, folder) = (0, root().join("contracts/src"));
    for file in sources() {
        if !file.starts_with(&folder) || file.ends_with("clock.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        for (number, line) in text.lines().enumerate() {
            let kind = line.trim().strip_prefix("pub ").and_then(|field| field.split_once(": "));
            let kind = kind.map_or("", |(_, kind)| kind.trim_start_matches("Option<"));
            found += usize::from(kind.starts_with("wire::"));
            let is_unbounded = ["Timestamp", "Date"].contains(&kind.trim_end_matches([',', '>']));
            let location = format!("{}:{}", file.display(), number + 1);
            assert!(!is_unbounded, "{location}: read it as a type of crate::clock::wire");
        }
    }
    assert!(found > 40, "the fields were not found");
}
