//! The tiles as text: one block each, its state as a coloured mark.

use contracts::dashboard::{Dashboard, Widget, WidgetStatus};
use serde_json::Value;

use super::figures::spaced;
use super::highlights::{ORDER, lines};
use crate::paint::Paint;

/// Lines of one tile, at most; the whole answer is one `./desk curl` away.
const LINES: usize = 5;
const TITLE: usize = 24;

pub(super) fn render(dashboard: &Dashboard, paint: Paint) -> String {
    let mut widgets: Vec<(&String, &Widget)> = dashboard.widgets.iter().collect();
    let place = |name: &str| ORDER.iter().position(|one| *one == name).unwrap_or(ORDER.len());
    widgets.sort_by_key(|(name, _)| place(name));
    let tiles = widgets.into_iter().map(|(name, widget)| tile(name, widget, paint));
    tiles.collect::<Vec<_>>().join("\n") + "\n"
}

fn tile(name: &str, widget: &Widget, paint: Paint) -> String {
    let (mark, bar) = match widget.status {
        WidgetStatus::Ok => (paint.green("●"), paint.green("│")),
        WidgetStatus::Stale => (paint.yellow("◐"), paint.yellow("│")),
        WidgetStatus::Unavailable => (paint.red("○"), paint.red("│")),
        WidgetStatus::Forbidden => (paint.dim("⊘"), paint.dim("│")),
    };
    let title = paint.bold(&format!("{:<TITLE$}", spaced(name)));
    let head = format!("  {mark} {title} {}\n", paint.dim(&notes(widget)));
    let data = widget.data.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    let shown = data.map(|data| lines(name, &data, paint)).unwrap_or_default();
    let shown = shown.into_iter().take(LINES).map(|line| format!("  {bar} {line}\n"));
    std::iter::once(head).chain(shown).collect()
}

/// Where it comes from and how it went.
fn notes(widget: &Widget) -> String {
    let mut notes = vec![widget.source.clone()];
    match widget.status {
        WidgetStatus::Ok => {}
        WidgetStatus::Stale => notes.push("stale".to_owned()),
        WidgetStatus::Unavailable => notes.push("unavailable".to_owned()),
        WidgetStatus::Forbidden => notes.push("not for this role".to_owned()),
    }
    notes.extend(widget.took_ms.map(|ms| format!("{ms} ms")));
    notes.extend(widget.age_ms.map(|ms| format!("{} s old", ms / 1000)));
    notes.extend(widget.reason.map(|reason| reason.name().to_lowercase().replace('_', " ")));
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_tile_says_why() {
        let widget: Widget = serde_json::from_str(
            r#"{"status":"unavailable","source":"staff","reason":"UPSTREAM_TIMEOUT"}"#,
        )
        .unwrap();
        let text = tile("staffOnDuty", &widget, Paint::never());
        assert!(text.starts_with("  ○ Staff on duty"), "{text}");
        assert!(text.contains("staff, unavailable, upstream timeout"), "{text}");
    }
}
