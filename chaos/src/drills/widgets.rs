//! The widgets of an upstream, by the composer's table.

use std::collections::{BTreeMap, BTreeSet};

use composer::WIDGETS;

/// Names of widgets by name of their upstream.
pub(super) fn by_upstream() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut widgets: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for widget in WIDGETS {
        let Some(upstream) = widget.read.policy.upstream else { continue };
        widgets.entry(upstream.name()).or_default().insert(widget.name.to_owned());
    }
    widgets
}

/// Names of the upstream's widgets. Panics if it has none: then there is nothing to drill.
pub(super) fn of_upstream(upstream: &str) -> BTreeSet<String> {
    by_upstream().remove(upstream).expect("an upstream of the dashboard")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_upstreams_fill_all_widgets_but_the_gateways_own() {
        let widgets = by_upstream();
        assert_eq!(widgets.len(), 11);
        assert_eq!(widgets.values().map(BTreeSet::len).sum::<usize>(), WIDGETS.len() - 1);
    }
}
