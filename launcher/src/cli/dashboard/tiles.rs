//! Renders the widgets as text, one tile each, with a coloured mark for the status.

use console::{Style, style};
use contracts::dashboard::{Dashboard, Widget, WidgetStatus};
use serde_json::Value;

use super::figures::spaced;
use super::highlights::{lines, position};

/// Maximum lines of one tile; `./desk curl` shows the whole response.
const MAX_LINES: usize = 5;
const TITLE_WIDTH: usize = 24;

pub(super) fn render(dashboard: &Dashboard) -> String {
    let mut widgets: Vec<(&String, &Widget)> = dashboard.widgets.iter().collect();
    widgets.sort_by_key(|(name, _)| position(name).unwrap_or(usize::MAX));
    let tiles = widgets.into_iter().map(|(name, widget)| tile(name, widget));
    tiles.collect::<Vec<_>>().join("\n") + "\n"
}

fn tile(name: &str, widget: &Widget) -> String {
    let (mark, colour) = match widget.status {
        WidgetStatus::Ok => ("●", Style::new().green()),
        WidgetStatus::Stale => ("◐", Style::new().yellow()),
        WidgetStatus::Unavailable => ("○", Style::new().red()),
        WidgetStatus::Forbidden => ("⊘", Style::new().dim()),
    };
    let (mark, bar) = (colour.apply_to(mark), colour.apply_to("│"));
    let title = style(format!("{:<TITLE_WIDTH$}", spaced(name))).bold().to_string();
    let head = format!("  {mark} {title} {}\n", style(notes(widget)).dim());
    let data = widget.data.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    let shown = data.map(|data| lines(name, &data)).unwrap_or_default();
    let shown = shown.into_iter().take(MAX_LINES).map(|line| format!("  {bar} {line}\n"));
    std::iter::once(head).chain(shown).collect()
}

/// The widget's source, status, duration, age and reason.
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
    notes.extend(widget.reason.map(|reason| reason.into_str().to_lowercase().replace('_', " ")));
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_tile_says_why() {
        console::set_colors_enabled(false);
        let widget: Widget = serde_json::from_str(
            r#"{"status":"unavailable","source":"staff","reason":"UPSTREAM_TIMEOUT"}"#,
        )
        .unwrap();
        let text = tile("staffOnDuty", &widget);
        assert!(text.starts_with("  ○ Staff on duty"), "{text}");
        assert!(text.contains("staff, unavailable, upstream timeout"), "{text}");
    }
}
