//! A few lines of text for each known widget. The data of other widgets is shown as it is.

use composer::widgets::{self, WidgetSpec};
use console::style;
use serde_json::Value;

use super::figures::{counts, money};

/// Width of the room bar, characters.
const BAR_WIDTH: usize = 24;
/// Names shown of each list.
const MAX_NAMES: usize = 4;
const LABEL_WIDTH: usize = 18;

/// A widget's lines, from its data; `None` if the data has another form.
type Lines = fn(&Value) -> Option<Vec<String>>;

/// In the order on the screen.
static HIGHLIGHTS: &[(&WidgetSpec, Lines)] = &[
    (&widgets::PROPERTY_CARD, card),
    (&widgets::OCCUPANCY, occupancy),
    (&widgets::AVAILABILITY, availability),
    (&widgets::ARRIVALS, arrivals),
    (&widgets::DEPARTURES, |data| stays(data, "leave", "left", "checked_out")),
    (&widgets::IN_HOUSE, |data| stays(data, "stay", "in house", "in_house")),
    (&widgets::ROOM_STATUS, |data| counts(&data["counts"]).map(|text| vec![text])),
    (&widgets::HOUSEKEEPING_SUMMARY, housekeeping),
    (&widgets::MAINTENANCE_SUMMARY, maintenance),
    (&widgets::FOLIO_SUMMARY, folios),
    (&widgets::STAFF_ON_DUTY, staff),
    (&widgets::STAFFING_GAPS, gaps),
    (&widgets::RATE_SNAPSHOT, rates),
    (&widgets::KPIS, kpis),
    (&widgets::ALERTS, alerts),
    (&widgets::AI_SUGGESTIONS, suggestions),
    (&widgets::SYNC_STATUS, desktops),
];

/// Position on the screen; `None` for a widget of another version of the gateway.
pub(super) fn position(widget: &str) -> Option<usize> {
    HIGHLIGHTS.iter().position(|(spec, _)| spec.name == widget)
}

pub(super) fn lines(widget: &str, data: &Value) -> Vec<String> {
    let lines = position(widget).and_then(|position| (HIGHLIGHTS[position].1)(data));
    lines.unwrap_or_else(|| vec![data.to_string()])
}

fn label(name: &str) -> String {
    style(format!("{name:<LABEL_WIDTH$}")).dim().to_string()
}

/// Highlights the text of a count that should be zero.
fn warn(count: u64, text: &str) -> String {
    let text = format!("{count} {text}");
    if count > 0 { style(text).yellow().to_string() } else { text }
}

/// The first few guests and their rooms.
fn guests<'a>(items: impl IntoIterator<Item = &'a Value>) -> String {
    let names = items.into_iter().take(MAX_NAMES).filter_map(|item| {
        let room = item["roomNumber"].as_str().unwrap_or("no room");
        Some(format!("{} ({room})", item["guestName"].as_str()?))
    });
    names.collect::<Vec<_>>().join(", ")
}

/// One line per item, or the word `none`.
fn list(data: &Value, line: impl Fn(&Value) -> Option<String>) -> Option<Vec<String>> {
    let lines: Option<Vec<String>> = data["items"].as_array()?.iter().map(line).collect();
    lines.map(|lines| if lines.is_empty() { vec!["none".to_owned()] } else { lines })
}

fn occupancy(data: &Value) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let (total, percent) = (number("total")?, data["percent"].as_f64()?);
    let full = (percent / 100.0 * BAR_WIDTH as f64).round().clamp(0.0, BAR_WIDTH as f64) as usize;
    let bar =
        format!("{}{}", style("█".repeat(full)).green(), style("░".repeat(BAR_WIDTH - full)).dim());
    let sold = format!("{} of {total} rooms sold", number("sold")?);
    let rest = format!("{} free, {} out of service", number("available")?, number("outOfService")?);
    Some(vec![format!("{bar} {percent:.0} %"), format!("{sold}, {rest}")])
}

/// One line per room type: rooms available each night from tonight.
fn availability(data: &Value) -> Option<Vec<String>> {
    let types = data["roomTypes"].as_array()?;
    let line = |kind: &Value| {
        let nights = kind["nights"].as_array()?.iter().map(|night| {
            let text = format!("{:>3}", night["available"].as_u64().unwrap_or(0));
            if night["available"] == 0 { style(&text).red().to_string() } else { text }
        });
        Some(format!("{}{}", label(kind["name"].as_str()?), nights.collect::<String>()))
    };
    types.iter().map(line).collect()
}

fn arrivals(data: &Value) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let (expected, arrived) = (number("expected")?, number("arrived")?);
    let without = warn(number("withoutRoom")?, "without a room");
    let waiting = data["items"].as_array()?.iter().filter(|item| item["state"] != "checked_in");
    let next = format!("{} {}", style("next").dim(), guests(waiting));
    Some(vec![format!("{arrived} of {expected} guests arrived, {without}"), next])
}

fn housekeeping(data: &Value) -> Option<Vec<String>> {
    let tasks = counts(&data["tasks"]).unwrap_or_else(|| "no task".to_owned());
    let urgent = format!("{} urgent", data["urgentOpen"].as_u64()?);
    let ready = data["timeToReadyMinutes"].as_f64();
    let ready = ready.map(|minutes| format!(", ready {minutes:.0} min after check-out"));
    Some(vec![format!("tasks: {tasks}"), format!("{urgent}{}", ready.unwrap_or_default())])
}

fn staff(data: &Value) -> Option<Vec<String>> {
    let department = |one: &Value| {
        let present = one["present"].as_array()?.len();
        Some(format!("{} {present}/{}", one["department"].as_str()?, one["scheduled"].as_u64()?))
    };
    let all: Option<Vec<String>> = data["departments"].as_array()?.iter().map(department).collect();
    Some(all?.chunks(3).map(|some| some.join(", ")).collect())
}

/// The number of a day's stays that reached `state`, and the names of the next others.
fn stays(data: &Value, will: &str, done: &str, state: &str) -> Option<Vec<String>> {
    let items = data["items"].as_array()?;
    let (finished, others): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item["state"] == state);
    let names = guests(others);
    let mut lines = vec![format!("{} of {} who {will}: {done}", finished.len(), items.len())];
    lines.extend((!names.is_empty()).then(|| format!("others: {names}")));
    Some(lines)
}

/// The hours in which each department is short of staff.
fn gaps(data: &Value) -> Option<Vec<String>> {
    let line = |department: &Value| {
        let hours = department["hours"].as_array()?;
        let short =
            hours.iter().filter_map(|hour| hour["missing"].as_u64()).filter(|count| *count > 0);
        let (hours, worst) =
            short.fold((0, 0), |(hours, worst), missing| (hours + 1, missing.max(worst)));
        let name = department["department"].as_str()?;
        let text = format!("{name}: {hours} h short, {worst} missing at most");
        (hours > 0).then(|| style(&text).yellow().to_string())
    };
    let lines: Vec<String> = data["departments"].as_array()?.iter().filter_map(line).collect();
    let enough = || vec!["enough people for the next 24 hours".to_owned()];
    Some(if lines.is_empty() { enough() } else { lines })
}

fn maintenance(data: &Value) -> Option<Vec<String>> {
    let states = counts(&data["states"]).unwrap_or_else(|| "no work order".to_owned());
    let late = warn(data["overdue"].as_u64()?, "overdue");
    let out = data["roomsOutOfOrder"].as_array()?.len();
    Some(vec![states, format!("{late}, {out} rooms out of order for it")])
}

fn folios(data: &Value) -> Option<Vec<String>> {
    let sum = |name: &str| {
        let all = data[name].as_array()?.iter().filter_map(money).collect::<Vec<_>>();
        Some(if all.is_empty() { "nothing".to_owned() } else { all.join(" + ") })
    };
    Some(vec![
        format!("{} open, {} owed", data["openFolios"].as_u64()?, sum("outstanding")?),
        format!("{} due today from {} folios", sum("dueToday")?, data["foliosDueToday"].as_u64()?),
    ])
}

fn suggestions(data: &Value) -> Option<Vec<String>> {
    list(data, |one| {
        let sure = format!("{:.0} %", one["confidence"].as_f64()? * 100.0);
        Some(format!("{} {}", style(&sure).dim(), one["title"].as_str()?))
    })
}

fn desktops(data: &Value) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let waiting = warn(number("pendingActions")?, "changes wait to be sent");
    let (online, all, stale) = (number("online")?, number("devices")?, number("stale")?);
    let stale =
        (stale > 0).then(|| style(format!(", {stale} with a stale sync")).yellow().to_string());
    let stale = stale.unwrap_or_default();
    Some(vec![format!("{online} of {all} desktops online, {waiting}{stale}")])
}

fn card(data: &Value) -> Option<Vec<String>> {
    let text = |name: &str| data[name].as_str();
    let address = format!("{}, {}, {}", text("name")?, text("city")?, text("country")?);
    Some(vec![address, format!("{} rooms, {}", data["roomCount"].as_u64()?, text("phone")?)])
}

fn rates(data: &Value) -> Option<Vec<String>> {
    let line = |rate: &Value| {
        let name = label(rate["name"].as_str()?);
        let change = rate["changePercent"].as_f64().map(|percent| format!("  {percent:+.0} %"));
        let price = money(&rate["bestAvailable"])?;
        Some(format!("{name} {price:>16}{}", style(&change.unwrap_or_default()).dim()))
    };
    data["rates"].as_array()?.iter().map(line).collect()
}

fn kpis(data: &Value) -> Option<Vec<String>> {
    Some(vec![format!(
        "{}: {} % occupied, {} per room sold, {} per room",
        data["businessDate"].as_str()?,
        data["occupancyPercent"].as_f64()?,
        money(&data["adr"])?,
        money(&data["revPar"])?
    )])
}

fn alerts(data: &Value) -> Option<Vec<String>> {
    list(data, |alert| {
        let mark = match alert["severity"].as_str()? {
            "critical" => style("!").red(),
            "warning" => style("!").yellow(),
            _ => style("i").dim(),
        };
        Some(format!("{mark} {}", alert["title"].as_str()?))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use composer::WIDGETS;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_widget_has_its_lines() {
        let shown: BTreeSet<_> = HIGHLIGHTS.iter().map(|(spec, _)| spec.name).collect();
        assert_eq!(shown, WIDGETS.iter().map(|widget| widget.name).collect());
    }

    #[test]
    fn occupancy_is_a_bar() {
        console::set_colors_enabled(false);
        let data =
            json!({"total": 48, "sold": 24, "available": 23, "outOfService": 1, "percent": 50});
        let lines = lines("occupancy", &data);
        assert_eq!(lines[0], format!("{}{} 50 %", "█".repeat(12), "░".repeat(12)));
        assert_eq!(lines[1], "24 of 48 rooms sold, 23 free, 1 out of service");
    }

    #[test]
    fn data_of_another_form_is_shown_as_it_is() {
        assert_eq!(lines("occupancy", &json!({"rooms": 3})), [r#"{"rooms":3}"#]);
    }
}
