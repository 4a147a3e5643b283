use std::collections::BTreeSet;

use super::*;
use crate::catalog::Catalog;
use crate::observations::Observations;

/// The rows that can be red.
fn rows(catalog: &Catalog) -> Vec<DrilledRow<'_>> {
    catalog.drilled().filter(|it| it.drill.no_safeguard.is_none()).collect()
}

/// The workspace's files, with one of them changed.
fn with_change(sources: Sources, path: &str) -> Sources {
    let Sources(mut files) = sources;
    files.get_mut(path).unwrap().push_str("// changed");
    Sources(files)
}

fn row<'a>(catalog: &'a Catalog, id: &str) -> DrilledRow<'a> {
    catalog.chosen(&[id.to_owned()]).unwrap()[0]
}

/// Records that all rows were red with these files.
fn record(rows: &[DrilledRow<'_>], sources: &Sources) -> Record {
    let guards = Guards::of(sources);
    Record(rows.iter().map(|it| (it.row.id.clone(), guards.of_row(*it))).collect())
}

/// Ids of the rows that run although the commit's share does not name them.
fn changed(rows: &[DrilledRow<'_>], record: &Record, sources: &Sources) -> BTreeSet<String> {
    let choice = Choice::of(rows.to_vec(), record, &Guards::of(sources));
    let chosen = choice.chosen.into_iter().filter(|(_, reason)| *reason != Reason::Share);
    chosen.map(|(it, _)| it.row.id.clone()).collect()
}

#[test]
fn without_a_record_every_row_runs() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let choice = Choice::of(rows(&catalog), &Record::default(), &Guards::of(&sources));
    assert_eq!(choice.rows().len(), rows(&catalog).len());
    assert!(choice.chosen.iter().all(|(_, reason)| *reason == Reason::NoRecord));
    assert!(!choice.to_string().contains("Unchanged since"), "{choice}");
}

#[test]
fn a_seventh_of_the_unchanged_rows_runs_and_the_commit_decides_which() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let rows = rows(&catalog);
    let record = record(&rows, &sources);
    let choice = Choice::of(rows.clone(), &record, &Guards::of(&sources));
    let again = Choice::of(rows.clone(), &record, &Guards::of(&sources));
    assert_eq!(choice.to_string(), again.to_string());
    assert_eq!(choice.chosen.len(), rows.len().div_ceil(SHARE));
    assert_eq!(choice.chosen.len() + choice.left_out.len(), rows.len());
    let mut seen = BTreeSet::new();
    for number in 0..100 {
        let (share, others) = share(rows.clone(), &format!("commit {number}"));
        assert_eq!(share.len() + others.len(), rows.len());
        seen.extend(share.into_iter().map(|it| it.row.id.as_str()));
    }
    assert_eq!(seen.len(), rows.len(), "every row is in the share of some commit");
}

#[test]
fn a_changed_file_makes_exactly_the_rows_run_that_it_guards() {
    let catalog = Catalog::load().unwrap();
    let (rows, sources) = (rows(&catalog), Sources::read().unwrap());
    let record = record(&rows, &sources);
    assert_eq!(changed(&rows, &record, &sources), BTreeSet::new());
    let after = |path: &str| {
        let sources = with_change(Sources::read().unwrap(), path);
        changed(&rows, &record, &sources)
    };
    let with = |safeguard: Safeguard| {
        let named = |it: &&DrilledRow<'_>| {
            it.drill.sabotage.iter().any(|named| named.safeguard == safeguard)
        };
        rows.iter().filter(named).map(|it| it.row.id.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(after("bff/src/firewall.rs"), with(Safeguard::ShadowMode));
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(after("chaos/src/drills/certificate.rs"), ids(&["F-23"]));
    assert_eq!(after("bff/src/config.rs"), ids(&[]));
    assert_eq!(after(REGISTRY).len(), rows.len());
}

#[test]
fn a_drill_depends_on_what_its_module_uses_and_on_where_its_values_stand() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let of = |id: &str| Guards::of(&sources).of_row(row(&catalog, id));
    let f_6 = of("F-6");
    for path in ["chaos/src/drills/upstream.rs", "chaos/src/drills/widget_states.rs", REGISTRATION]
    {
        assert!(f_6.contains_key(path), "{path} is missing in {f_6:?}");
    }
    let (f_23, br_1) = (of("F-23"), of("BR-1"));
    assert!(!f_23.contains_key(REGISTRATION) && !f_23.contains_key("chaos/src/drills/upstream.rs"));
    assert!(br_1.contains_key("chaos/src/drills/blast_radius/cases.rs"), "{br_1:?}");
}

#[test]
fn a_changed_entry_makes_its_row_run() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let it = row(&catalog, "F-6");
    let record = record(&[it], &sources);
    assert_eq!(record.reason(it, &Guards::of(&sources)), None);
    let mut entry = it.row.clone();
    entry.drill.as_mut().unwrap().red.push("another finding".to_owned());
    let drill = entry.drill.clone().unwrap();
    let reason = record.reason(DrilledRow { row: &entry, drill: &drill }, &Guards::of(&sources));
    assert_eq!(reason, Some(Reason::Changed(vec![ENTRY.to_owned()])));
}

#[test]
fn a_row_that_was_not_red_runs_again() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let it = row(&catalog, "F-6");
    let result = |outcome| RowResult {
        result: outcome,
        ..RowResult::new(it, Observations::default(), Ok(()), true)
    };
    let mut record = record(&[it], &sources);
    record.note(&[it], &[result(DrillResult::Broken("held".to_owned()))], &Guards::of(&sources));
    assert_eq!(record.reason(it, &Guards::of(&sources)), Some(Reason::NoRecord));
    record.note(&[it], &[result(DrillResult::Red)], &Guards::of(&sources));
    assert_eq!(record.reason(it, &Guards::of(&sources)), None);
}

#[test]
fn every_drill_is_in_a_file_and_every_safeguard_acts_in_one() {
    let (catalog, sources) = (Catalog::load().unwrap(), Sources::read().unwrap());
    let guards = Guards::of(&sources);
    for it in catalog.drilled() {
        let files = guards.of_row(it);
        let drill = |path: &String| path.starts_with(DRILLS) && path != REGISTRATION;
        assert!(files.keys().any(drill), "the file of {} is not found", it.row.id);
    }
    for safeguard in Safeguard::ALL {
        let acts = guards.programs.iter().any(|(_, text)| acts_in(*safeguard, text));
        assert!(acts, "{safeguard:?} acts nowhere");
    }
}

#[test]
fn a_safeguard_is_not_found_by_the_beginning_of_another_s_name() {
    let text = "if safeguard!(ReplayFallback) { time_limit(Safeguard::ReplayFilter, limit) }";
    assert!(acts_in(Safeguard::ReplayFallback, text) && acts_in(Safeguard::ReplayFilter, text));
    assert!(!acts_in(Safeguard::Replay, text));
}

#[test]
fn tests_of_a_program_do_not_guard() {
    let text = "safeguard!(Replay)";
    assert!(is_program_with_safeguards("bff/src/edge.rs", text));
    for path in ["bff/src/tests/edge.rs", "auth/src/edge/tests.rs", REGISTRY, "chaos/src/a.rs"] {
        assert!(!is_program_with_safeguards(path, text), "{path}");
    }
}
