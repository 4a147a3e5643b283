//! The settings of a program as Markdown.

use serde_json::Value;

use super::schema::{self, Property, Schema};
use super::{Configuration, variable};

const HEAD: &str = "| variable | type | default | description |\n|---|---|---|---|\n";

/// Describes the settings of a program: a table per section, under headings of the third level.
pub fn reference<T: Configuration>() -> String {
    let schema = schema::of::<T>();
    let (sections, single): (Vec<_>, Vec<_>) =
        Schema::new(&schema).properties().partition(|property| is_group(property.schema));
    let single = single.iter().flat_map(|property| rows(property, &[])).collect::<String>();
    let single = (!single.is_empty()).then(|| format!("\n### No section\n\n{HEAD}{single}"));
    let sections = sections.iter().map(|section| {
        let (about, rows) = (description(section.schema), inner_rows(section, &[]));
        format!("\n### {}\n\n{about}\n\n{HEAD}{}", section.name, rows.concat())
    });
    single.into_iter().chain(sections).collect()
}

fn is_group(schema: Schema<'_>) -> bool {
    schema.is_section() || schema.entries().is_some()
}

/// The rows of what a section or map consists of.
fn inner_rows(group: &Property<'_>, parent: &[String]) -> Vec<String> {
    let path = [parent, &[group.name.to_owned()]].concat();
    let entry = group.schema.entries();
    let entry = entry.map(|schema| Property { name: "<NAME>", schema, is_required: false });
    group.schema.properties().chain(entry).flat_map(|property| rows(&property, &path)).collect()
}

fn rows(property: &Property<'_>, parent: &[String]) -> Vec<String> {
    let schema = property.schema;
    let name = variable(&[parent, &[property.name.to_owned()]].concat());
    let about = description(schema);
    if is_group(schema) {
        let default = if is_optional(schema) { "not set" } else { "" };
        let own = format!("| `{name}__…` | section | {default} | {about} |\n");
        return [vec![own], inner_rows(property, parent)].concat();
    }
    let (kind, default) = (kind(schema), default(property));
    vec![format!("| `{name}` | {kind} | {default} | {about} |\n")]
}

fn description(schema: Schema<'_>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let example = schema.example().map(|example| format!(" Example: {}.", code(example)));
    (text.replace('\n', " ") + &example.unwrap_or_default()).trim().replace('|', "\\|")
}

fn default(property: &Property<'_>) -> String {
    match property.schema.get("default") {
        Some(Value::Null) | None if property.is_required => "**required**".to_owned(),
        Some(Value::Null) | None => "not set".to_owned(),
        Some(default) => code(default),
    }
}

fn kind(schema: Schema<'_>) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(code).collect::<Vec<_>>().join(" or ");
    }
    match (type_name(schema), range(schema)) {
        ("array", _) => {
            let items = schema.get("items").map_or("value", |items| type_name(Schema::new(items)));
            format!("list of {items}s")
        }
        (name, Some(range)) => format!("{name}, {range}"),
        (name, None) if schema.get("writeOnly").is_some() => format!("secret {name}"),
        (name, None) => name.to_owned(),
    }
}

/// The limits of a number that its rules set; those of its Rust type are not shown.
fn range(schema: Schema<'_>) -> Option<String> {
    let minimum = schema.get("minimum").and_then(Value::as_u64).filter(|minimum| *minimum > 0);
    let of_type = [u8::MAX.into(), u16::MAX.into(), u32::MAX.into(), u64::MAX];
    let maximum = schema.get("maximum").and_then(Value::as_u64);
    match (minimum, maximum.filter(|maximum| !of_type.contains(maximum))) {
        (Some(minimum), Some(maximum)) => Some(format!("{minimum} to {maximum}")),
        (Some(minimum), None) => Some(format!("at least {minimum}")),
        (None, Some(maximum)) => Some(format!("at most {maximum}")),
        (None, None) => None,
    }
}

/// Whether it is an `Option`: its type is `[type, "null"]`.
fn is_optional(schema: Schema<'_>) -> bool {
    schema.get("type").is_some_and(Value::is_array)
}

fn type_name(schema: Schema<'_>) -> &str {
    let name = schema.get("type").and_then(|name| name.as_str().or_else(|| name.get(0)?.as_str()));
    name.unwrap_or("value")
}

fn code(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}
