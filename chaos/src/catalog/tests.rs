use super::*;

fn load() -> Catalog {
    Catalog::load().unwrap()
}

/// A row's file with this drill, or without one.
fn file(id: &str, drill: &str) -> String {
    let texts = ["title", "detection", "impact", "mitigation", "objective"];
    let texts: String = texts.map(|name| format!("{name} = \"a\"\n")).concat();
    format!("[row.{id}]\n{texts}{drill}")
}

#[test]
fn every_row_of_the_catalogues_is_there() {
    let catalog = load();
    let count = |prefix: &str| {
        let of_group = catalog.rows().iter().filter(|row| {
            row.id.strip_prefix(prefix).is_some_and(|number| number.starts_with(char::is_numeric))
        });
        of_group.count()
    };
    let groups =
        ["F-", "DT-", "BR-", "RO-", "GD-", "INV-2.", "INV-L", "HK-", "STF-", "RDY-", "RDY-S"];
    assert_eq!(groups.map(count), [41, 19, 10, 8, 5, 20, 4, 25, 18, 25, 8]);
    assert_eq!(catalog.rows().len(), 183);
    let named = IDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!(named.into_iter().all(|line| line.split_once(' ').is_some()), "every row has a name");
}

#[test]
fn rows_and_ids_are_compared_in_both_directions() {
    let text = file("F-1", "");
    let parse = |ids: &str, files: &[(&str, &str)]| Catalog::parse(ids, files);
    assert_eq!(parse("# heading\nF-1 a name", &[("a", &text)]).unwrap().rows()[0].id, "F-1");
    let refusal = |outcome: anyhow::Result<Catalog>| outcome.unwrap_err().to_string();
    let missing = refusal(parse("F-1 a\nF-2 b", &[("a", &text)]));
    assert!(missing.contains("no entry for [\"F-2\"]"), "{missing}");
    let unlisted = refusal(parse("", &[("a", &text)]));
    assert!(unlisted.contains("does not list [\"F-1\"]"), "{unlisted}");
    let twice = refusal(parse("F-1 a", &[("a", &text), ("b", &text)]));
    assert!(twice.contains("F-1 is twice"), "{twice}");
}

#[test]
fn every_text_is_written() {
    for row in load().rows() {
        for text in [&row.title, &row.detection, &row.impact, &row.mitigation, &row.objective] {
            assert!(!text.trim().is_empty(), "{} has an empty text", row.id);
        }
    }
}

#[test]
fn every_drill_is_registered_and_has_a_runbook_and_a_way_to_break_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/runbooks");
    for row in load().rows() {
        let Some(drill) = &row.drill else {
            assert!(crate::drills::find(&row.id).is_none(), "{} has a drill without entry", row.id);
            continue;
        };
        assert!(crate::drills::find(&row.id).is_some(), "{} has no drill", row.id);
        let page = root.join(format!("{}.md", drill.runbook));
        assert!(page.is_file(), "{}: {} is missing", row.id, drill.runbook);
        assert_eq!(
            drill.sabotage.is_empty(),
            drill.no_safeguard.is_some(),
            "{} names a safeguard, or says why there is none",
            row.id
        );
        assert_eq!(
            drill.sabotage.is_empty(),
            drill.red.is_empty(),
            "{} names the findings that break without its safeguards",
            row.id
        );
        assert_eq!(drill.kind == Kind::Emulated, drill.stands_for.is_some(), "{}", row.id);
    }
}

#[test]
fn rows_without_a_drill_are_counted() {
    let drill = "[row.F-2.drill]\nkind = \"live\"\nschedule = \"nightly\"\n\
                 recover_within_s = 1\nrunbook = \"b\"\nno_safeguard = \"c\"\n";
    let (without, with) = (file("F-1", ""), file("F-2", drill));
    let catalog = Catalog::parse("F-2 b\nF-1 a", &[("a", &without), ("b", &with)]).unwrap();
    assert_eq!(catalog.summary(), "1 of 2 rows have a drill; 1 do not.");
    assert_eq!(catalog.rows().iter().map(|row| &row.id).collect::<Vec<_>>(), ["F-2", "F-1"]);
    assert_eq!(catalog.chosen(&[]).unwrap().len(), 1);
    let refused = catalog.chosen(&["F-1".to_owned()]).unwrap_err().to_string();
    assert!(refused.starts_with("F-1 has no drill yet."), "{refused}");
    let refused = catalog.chosen(&["F-9".to_owned()]).unwrap_err().to_string();
    assert!(refused.starts_with("There is no row F-9."), "{refused}");
}

fn with_sabotage(names: &str) -> anyhow::Result<Catalog> {
    let drill = format!(
        "[row.F-5.drill]\nkind = \"live\"\nschedule = \"gate\"\nrecover_within_s = 1\n\
         runbook = \"b\"\nsabotage = {names}"
    );
    Catalog::parse("F-5 a", &[("a", &file("F-5", &drill))])
}

#[test]
fn a_safeguard_is_of_the_gateway_unless_it_names_its_server() {
    let catalog = with_sabotage(r#"["replay", "housekeeping:roles"]"#).unwrap();
    let drill = catalog.drilled().next().unwrap().drill;
    let found: Vec<_> = drill.sabotage.iter().map(|it| (it.server, it.safeguard)).collect();
    let expected = [("bff", Safeguard::Replay), ("housekeeping", Safeguard::SupervisorRole)];
    assert_eq!(found, expected);
}

#[test]
fn an_unknown_safeguard_or_server_is_refused() {
    let refused = format!("{:#}", with_sabotage(r#"["reply"]"#).unwrap_err());
    assert!(refused.contains("There is no safeguard named `reply`."), "{refused}");
    let refused = format!("{:#}", with_sabotage(r#"["staff:roles"]"#).unwrap_err());
    assert!(refused.contains("no safeguard of staff can be switched off"), "{refused}");
}

#[test]
fn every_safeguard_turns_a_row_red() {
    let catalog = load();
    let used = |safeguard: &&Safeguard| {
        let mut named = catalog.drilled().flat_map(|it| &it.drill.sabotage);
        named.any(|named| named.safeguard == **safeguard)
    };
    let unused: Vec<_> = Safeguard::ALL.iter().filter(|safeguard| !used(safeguard)).collect();
    assert!(unused.is_empty(), "no row names {unused:?}");
}
