//! The web console shows every widget, and no other.

use std::collections::BTreeSet;

use composer::WIDGETS;

const TILES: &str = include_str!("../../console/tiles.js");

/// Keys of an object of the script, which are indented by two spaces.
fn keys(object: &str) -> BTreeSet<&'static str> {
    let lines = TILES.lines().skip_while(|line| *line != format!("const {object} = {{"));
    let members = lines.skip(1).take_while(|line| *line != "};");
    let members = members.filter_map(|line| line.strip_prefix("  "));
    let members = members.filter(|line| line.starts_with(|first: char| first.is_alphabetic()));
    members.filter_map(|line| Some(line.split_once(':')?.0)).collect()
}

#[test]
fn the_console_has_a_title_and_a_tile_for_every_widget() {
    let widgets: BTreeSet<_> = WIDGETS.iter().map(|widget| widget.name).collect();
    assert_eq!(keys("TITLES"), widgets);
    assert_eq!(keys("PAINT"), widgets);
}
