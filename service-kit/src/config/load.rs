//! Reads a configuration and collects its errors.

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::error::SettingErrors;
use super::schema::{self, Schema};
use super::{ConfigError, Configuration, PREFIX, variable};

#[cfg(test)]
mod tests;

/// Loads and validates the configuration of a program. `T` has the defaults.
pub fn load<T: Configuration>() -> Result<T, ConfigError> {
    // `MELMASTOON_TEST_*` configures tests, not the servers that they start.
    let misnamed = misnamed_variables();
    if !misnamed.is_empty() {
        return Err(misnamed.into());
    }
    let environment = Env::prefixed(PREFIX)
        .filter(|key| key != "config" && !key.starts_with("test_"))
        .split("__");
    let mut figment = Figment::new();
    if let Some(file) = Env::var("MELMASTOON_CONFIG") {
        figment = figment.merge(Toml::file_exact(file));
    }
    read(figment.merge(environment).extract().map_err(file_error)?)
}

/// Variables that the provider would pass over: a level without a name, or a value that is no text.
fn misnamed_variables() -> SettingErrors {
    let mut errors = SettingErrors::default();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        // As the provider does, in any case and without the settings of tests.
        let upper = name.to_ascii_uppercase();
        let Some(levels) = upper.strip_prefix(PREFIX) else { continue };
        if levels.starts_with("TEST_") {
            continue;
        }
        if levels.split("__").any(str::is_empty) {
            errors.add(name, "is not a setting".to_owned());
        } else if value.to_str().is_none() {
            errors.add(name, "is not UTF-8".to_owned());
        }
    }
    errors
}

/// Leaves out all lines but the first: they repeat a part of the file.
fn file_error(error: figment::Error) -> ConfigError {
    ConfigError::File(error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Reads values into a configuration. A value that is missing or cannot be read is replaced by its
/// default or example, so that the others are validated too.
fn read<T: Configuration>(mut values: Dict) -> Result<T, ConfigError> {
    let (mut errors, schema) = (SettingErrors::default(), schema::of::<T>());
    let schema = Schema::new(&schema);
    remove_unreadable::<T>(Some(schema), &mut values, &[], &mut errors);
    complete(schema, &mut values, &[], &mut errors);
    match Value::from(values).deserialize::<T>() {
        Ok(config) => {
            validate(&config, &mut errors);
            if errors.is_empty() { Ok(config) } else { Err(errors.into()) }
        }
        Err(error) => {
            errors.add(variable(&error.path), describe(error.kind, None));
            Err(errors.into())
        }
    }
}

/// Removes each value that cannot be read, and reports it. Each is read alone, because
/// deserialisation ends at the first error.
fn remove_unreadable<T: DeserializeOwned>(
    schema: Option<Schema<'_>>,
    values: &mut Dict,
    parent: &[String],
    errors: &mut SettingErrors,
) {
    values.retain(|name, value| {
        let path = [parent, std::slice::from_ref(name)].concat();
        let schema = schema.and_then(|schema| schema.child(name));
        let inner = match &*value {
            Value::Dict(tag, _) => Value::Dict(*tag, Dict::new()),
            single => single.clone(),
        };
        let alone =
            path.iter().rfold(inner, |inner, name| Dict::from([(name.clone(), inner)]).into());
        if let Err(error) = alone.deserialize::<T>()
            && !error.missing()
        {
            errors.add(variable(&path), describe(error.kind, schema));
            return false;
        }
        if let Value::Dict(_, inner) = value {
            remove_unreadable::<T>(schema, inner, &path, errors);
        }
        true
    });
}

/// Adds the example of each required setting that is missing, and reports it, unless it or its section
/// was removed because it cannot be read.
fn complete(schema: Schema<'_>, values: &mut Dict, parent: &[String], errors: &mut SettingErrors) {
    let join = |name: &str| [parent, &[name.to_owned()]].concat();
    for property in schema.properties() {
        let path = join(property.name);
        let mut consequences = SettingErrors::default();
        let is_removed = errors.contains(&variable(&path));
        let errors = if is_removed { &mut consequences } else { &mut *errors };
        if property.is_required && !values.contains_key(property.name) {
            if !property.schema.is_section() {
                let name = if property.schema.entries().is_some() { "__<NAME>" } else { "" };
                let message = format!("is required{}", property.schema.such_as());
                errors.add(format!("{}{name}", variable(&path)), message);
            }
            values.insert(property.name.to_owned(), property.schema.readable_value());
        }
        if let Some(Value::Dict(_, inner)) = values.get_mut(property.name) {
            complete(property.schema, inner, &path, errors);
        }
    }
    let Some(entry) = schema.entries() else { return };
    for (name, value) in values {
        if let Value::Dict(_, inner) = value {
            complete(entry, inner, &join(name), errors);
        }
    }
}

fn validate<T: Configuration>(config: &T, errors: &mut SettingErrors) {
    let Err(report) = config.validate() else { return };
    for (path, error) in report.iter() {
        let path: Vec<_> = path.to_string().split('.').map(str::to_owned).collect();
        errors.add(variable(&path), error.to_string());
    }
}

/// Says what is expected. Only what serde's own errors expect is repeated: the message of a type may
/// contain the value.
fn describe(kind: Kind, schema: Option<Schema<'_>>) -> String {
    match kind {
        Kind::Message(_) => {
            let example = schema.map(Schema::such_as).unwrap_or_default();
            format!("is not a value of this setting{example}")
        }
        Kind::UnknownField(..) => "is not a setting".to_owned(),
        Kind::UnknownVariant(_, expected) => format!("expected one of {}", expected.join(", ")),
        Kind::InvalidType(_, expected) if expected.starts_with("struct ") => {
            "is a section; set its own settings, `…__<NAME>`".to_owned()
        }
        Kind::InvalidType(_, expected)
        | Kind::InvalidLength(_, expected)
        | Kind::InvalidValue(_, expected) => format!("must be {}", in_words(&expected)),
        _ => "cannot be read".to_owned(),
    }
}

/// Names what serde names by a Rust type.
fn in_words(expected: &str) -> &str {
    match expected {
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number above 0",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a sequence" => r#"a list, such as ["a","b"]"#,
        "a boolean" => "true or false",
        other => other,
    }
}
