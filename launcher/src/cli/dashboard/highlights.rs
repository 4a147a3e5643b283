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
pub(super) const ORDER: [&str; 9] = [
    "occupancy",
    "availability",
    "arrivals",
    "roomStatus",
    "housekeepingSummary",
    "staffOnDuty",
    "rateSnapshot",
    "kpis",
    "alerts",
];

pub(super) fn lines(widget: &str, data: &Value, paint: Paint) -> Vec<String> {
    let lines = match widget {
        "occupancy" => occupancy(data, paint),
        "availability" => availability(data, paint),
        "arrivals" => arrivals(data, paint),
        "roomStatus" => counts(&data["counts"]).map(|text| vec![text]),
        "housekeepingSummary" => housekeeping(data),
        "staffOnDuty" => staff(data),
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
