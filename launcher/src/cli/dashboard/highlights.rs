//! What a person at the desk wants to see of each widget, in a few lines.
//!
//! Not here: widgets nobody has thought about yet. Those show their plain figures.

use serde_json::Value;

use super::figures::{counts, figures, money};
use crate::paint::Paint;

/// Width of the room bar, characters.
const BAR: usize = 24;
/// Names shown of a list.
const NAMES: usize = 4;
const LABEL: usize = 18;

/// The order a desk reads them in; others follow by name.
pub(super) const ORDER: [&str; 17] = [
    "propertyCard",
    "occupancy",
    "availability",
    "arrivals",
    "departures",
    "inHouse",
    "roomStatus",
    "housekeepingSummary",
    "maintenanceSummary",
    "folioSummary",
    "staffOnDuty",
    "staffingGaps",
    "rateSnapshot",
    "kpis",
    "alerts",
    "aiSuggestions",
    "syncStatus",
];

pub(super) fn lines(widget: &str, data: &Value, paint: Paint) -> Vec<String> {
    let lines = match widget {
        "occupancy" => occupancy(data, paint),
        "availability" => availability(data, paint),
        "arrivals" => arrivals(data, paint),
        "roomStatus" => counts(&data["counts"]).map(|text| vec![text]),
        "housekeepingSummary" => housekeeping(data),
        "staffOnDuty" => staff(data),
        "staffingGaps" => gaps(data, paint),
        "departures" => stays(data, ("leave", "left"), "checked_out"),
        "inHouse" => stays(data, ("stay", "in house"), "in_house"),
        "maintenanceSummary" => maintenance(data, paint),
        "folioSummary" => folios(data),
        "aiSuggestions" => suggestions(data, paint),
        "syncStatus" => desktops(data, paint),
        "propertyCard" => card(data),
        "rateSnapshot" => rates(data, paint),
        "kpis" => kpis(data),
        "alerts" => alerts(data, paint),
        _ => None,
    };
    lines.unwrap_or_else(|| plain(data, paint))
}

fn plain(data: &Value, paint: Paint) -> Vec<String> {
    let row = |(label, value)| format!("{} {value}", paint.dim(&format!("{label:<LABEL$}")));
    figures(data).into_iter().map(row).collect()
}

fn occupancy(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let (total, percent) = (number("total")?, data["percent"].as_f64()?);
    let full = (percent / 100.0 * BAR as f64).round().clamp(0.0, BAR as f64) as usize;
    let bar = format!("{}{}", paint.green(&"█".repeat(full)), paint.dim(&"░".repeat(BAR - full)));
    let sold = format!("{} of {total} rooms sold", number("sold")?);
    let rest = format!("{} free, {} out of service", number("available")?, number("outOfService")?);
    Some(vec![format!("{bar} {percent:.0} %"), format!("{sold}, {rest}")])
}

/// One line per room type: what can be sold each night from tonight.
fn availability(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let types = data["roomTypes"].as_array()?;
    let line = |kind: &Value| {
        let nights = kind["nights"].as_array()?.iter().map(|night| {
            let text = format!("{:>3}", night["available"].as_u64().unwrap_or(0));
            if night["available"] == 0 { paint.red(&text) } else { text }
        });
        let name = paint.dim(&format!("{:<LABEL$}", kind["name"].as_str()?));
        Some(format!("{name}{}", nights.collect::<String>()))
    };
    types.iter().map(line).collect()
}

fn arrivals(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let (expected, arrived) = (number("expected")?, number("arrived")?);
    let without = format!("{} without a room", number("withoutRoom")?);
    let without = if number("withoutRoom")? > 0 { paint.yellow(&without) } else { without };
    let waiting = data["items"].as_array()?.iter().filter(|item| item["state"] != "checked_in");
    let names = waiting.take(NAMES).filter_map(|item| {
        let room = item["roomNumber"].as_str().unwrap_or("no room");
        Some(format!("{} ({room})", item["guestName"].as_str()?))
    });
    let next = format!("{} {}", paint.dim("next"), names.collect::<Vec<_>>().join(", "));
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

/// How many of a day's stays are as far as they can be, and the next others.
fn stays(data: &Value, (will, done): (&str, &str), state: &str) -> Option<Vec<String>> {
    let items = data["items"].as_array()?;
    let (finished, others): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item["state"] == state);
    let names = others.iter().take(NAMES).filter_map(|item| {
        let room = item["roomNumber"].as_str().unwrap_or("no room");
        Some(format!("{} ({room})", item["guestName"].as_str()?))
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("{} of {} who {will}: {done}", finished.len(), items.len())];
    lines.extend((!names.is_empty()).then(|| format!("others: {names}")));
    Some(lines)
}

/// The hours of each department in which somebody is missing.
fn gaps(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let line = |department: &Value| {
        let hours = department["hours"].as_array()?;
        let short = hours.iter().filter_map(|hour| hour["missing"].as_u64()).filter(|it| *it > 0);
        let (hours, worst) = short.fold((0, 0), |(hours, worst), it| (hours + 1, it.max(worst)));
        let name = department["department"].as_str()?;
        let text = format!("{name}: {hours} h short, {worst} missing at most");
        (hours > 0).then(|| paint.yellow(&text))
    };
    let lines: Vec<String> = data["departments"].as_array()?.iter().filter_map(line).collect();
    let enough = || vec!["enough people for the next 24 hours".to_owned()];
    Some(if lines.is_empty() { enough() } else { lines })
}

fn maintenance(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let states = counts(&data["states"]).unwrap_or_else(|| "no work order".to_owned());
    let overdue = data["overdue"].as_u64()?;
    let late = format!("{overdue} overdue");
    let late = if overdue > 0 { paint.yellow(&late) } else { late };
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

fn suggestions(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let line = |one: &Value| {
        let sure = format!("{:.0} %", one["confidence"].as_f64()? * 100.0);
        Some(format!("{} {}", paint.dim(&sure), one["title"].as_str()?))
    };
    let lines: Option<Vec<String>> = data["items"].as_array()?.iter().map(line).collect();
    lines.map(|lines| if lines.is_empty() { vec!["none".to_owned()] } else { lines })
}

fn desktops(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let number = |name: &str| data[name].as_u64();
    let pending = number("pendingActions")?;
    let waiting = format!("{pending} changes wait to be sent");
    let waiting = if pending > 0 { paint.yellow(&waiting) } else { waiting };
    let (online, all, stale) = (number("online")?, number("devices")?, number("stale")?);
    let stale = (stale > 0).then(|| paint.yellow(&format!(", {stale} with a stale sync")));
    let stale = stale.unwrap_or_default();
    Some(vec![format!("{online} of {all} desktops online, {waiting}{stale}")])
}

fn card(data: &Value) -> Option<Vec<String>> {
    let text = |name: &str| data[name].as_str();
    let place = format!("{}, {}, {}", text("name")?, text("city")?, text("country")?);
    Some(vec![place, format!("{} rooms, {}", data["roomCount"].as_u64()?, text("phone")?)])
}

fn rates(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let line = |rate: &Value| {
        let name = paint.dim(&format!("{:<LABEL$}", rate["name"].as_str()?));
        let change = rate["changePercent"].as_f64().map(|percent| format!("  {percent:+.0} %"));
        let price = money(&rate["bestAvailable"])?;
        Some(format!("{name} {price:>16}{}", paint.dim(&change.unwrap_or_default())))
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

fn alerts(data: &Value, paint: Paint) -> Option<Vec<String>> {
    let items = data["items"].as_array()?;
    let line = |alert: &Value| {
        let title = alert["title"].as_str()?;
        Some(match alert["severity"].as_str()? {
            "critical" => format!("{} {title}", paint.red("!")),
            "warning" => format!("{} {title}", paint.yellow("!")),
            _ => format!("{} {title}", paint.dim("i")),
        })
    };
    let lines: Option<Vec<String>> = items.iter().map(line).collect();
    lines.map(|lines| if lines.is_empty() { vec!["none".to_owned()] } else { lines })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn occupancy_is_a_bar() {
        let data =
            json!({"total": 48, "sold": 24, "available": 23, "outOfService": 1, "percent": 50});
        let lines = lines("occupancy", &data, Paint::never());
        assert_eq!(lines[0], format!("{}{} 50 %", "█".repeat(12), "░".repeat(12)));
        assert_eq!(lines[1], "24 of 48 rooms sold, 23 free, 1 out of service");
    }

    #[test]
    fn data_of_another_form_shows_its_plain_figures() {
        let lines = lines("occupancy", &json!({"rooms": 3}), Paint::never());
        assert_eq!(lines, [format!("{:<LABEL$} 3", "Rooms")]);
    }
}
