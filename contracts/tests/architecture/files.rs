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

/// Whether the attributes right above `line` bound what is read.
fn is_bounded(lines: &[&str], line: usize) -> bool {
    let above = lines[..line].iter().rev().map(|line| line.trim());
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes.any(|line| line.contains("crate::clock::wire"))
}

#[test]
fn every_instant_and_date_of_the_wire_is_bounded_to_what_a_store_holds() {
    let (mut found, folder) = (0, root().join("contracts/src"));
    for file in sources() {
        if !file.starts_with(&folder) || file.ends_with("clock.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let kind = line.trim().strip_prefix("pub ").and_then(|field| field.split_once(": "));
            let is_time = kind.is_some_and(|(_, kind)| {
                ["Timestamp,", "Option<Timestamp>,", "Date,", "Option<Date>,"].contains(&kind)
            });
            if is_time {
                found += 1;
                let location = format!("{}:{}", file.display(), number + 1);
                assert!(is_bounded(&lines, number), "{location}: read it with crate::clock::wire");
            }
        }
    }
    assert!(found > 40, "the fields were not found");
}
