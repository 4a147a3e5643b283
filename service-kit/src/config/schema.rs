//! The JSON schema of a configuration: what is required, descriptions, defaults and examples.

use figment::value::{Dict, Value as FigmentValue};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of a configuration, without references.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a section, of a map of named entries, or of one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a>(&'a Value);

/// A setting or section within a section.
#[derive(Debug)]
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) schema: Schema<'a>,
    pub(super) is_required: bool,
}

impl<'a> Schema<'a> {
    pub(super) fn new(schema: &'a Value) -> Self {
        Self(schema)
    }

    pub(super) fn get(self, keyword: &str) -> Option<&'a Value> {
        self.0.get(keyword)
    }

    /// What a section consists of.
    pub(super) fn properties(self) -> impl Iterator<Item = Property<'a>> {
        let required = self.get("required").and_then(Value::as_array);
        let all = self.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter);
        all.map(move |(name, schema)| Property {
            name,
            schema: Self(schema),
            is_required: required.is_some_and(|names| names.iter().any(|other| other == name)),
        })
    }

    pub(super) fn is_section(self) -> bool {
        self.get("properties").is_some()
    }

    /// The schema of a setting in this section, or of an entry of this map.
    pub(super) fn child(self, name: &str) -> Option<Self> {
        let property = self.properties().find(|property| property.name == name);
        property.map(|property| property.schema).or_else(|| self.entries())
    }

    /// The schema of each entry, for a map.
    pub(super) fn entries(self) -> Option<Self> {
        self.get("additionalProperties").filter(|entry| entry.is_object()).map(Self)
    }

    pub(super) fn example(self) -> Option<&'a Value> {
        self.get("examples")?.get(0)
    }

    /// `, such as …`, for a setting with an example.
    pub(super) fn such_as(self) -> String {
        let text =
            |example: &Value| example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        self.example().map(|example| format!(", such as {}", text(example))).unwrap_or_default()
    }

    /// A value that can be read: the example, or an empty section.
    pub(super) fn readable_value(self) -> FigmentValue {
        let example = self.example().and_then(|example| FigmentValue::serialize(example).ok());
        example.unwrap_or_else(|| Dict::new().into())
    }
}
