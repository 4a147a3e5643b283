//! Decodes columns into wire types. A value that does not fit is an error that names the column.

use std::error::Error;
use std::num::TryFromIntError;
use std::str::FromStr;

use contracts::clock::wire;
use contracts::id::{Id, IdError};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::postgres::StoreError;

type Read<T> = Result<T, StoreError>;

fn misfit(column: &'static str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> StoreError {
    move |source| StoreError::Row { column, source }
}

/// Decodes a column by its Postgres type.
pub fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Read<T> {
    row.try_get(column).map_err(|error| misfit(column)(error.into()))
}

/// Decodes an instant.
pub fn instant(row: &Row, column: &'static str) -> Read<wire::Timestamp> {
    get(row, column).map(wire::Timestamp)
}

/// Decodes an optional instant.
pub fn optional_instant(row: &Row, column: &'static str) -> Read<Option<wire::Timestamp>> {
    Ok(get::<Option<_>>(row, column)?.map(wire::Timestamp))
}

/// Decodes a date.
pub fn date(row: &Row, column: &'static str) -> Read<wire::Date> {
    get(row, column).map(wire::Date)
}

/// Decodes a text column that holds an id.
pub fn id<T: Id + FromStr<Err = IdError>>(row: &Row, column: &'static str) -> Read<T> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|error: IdError| misfit(column)(error.into()))
}

/// Decodes an optional id.
pub fn optional_id<T: Id + FromStr<Err = IdError>>(
    row: &Row,
    column: &'static str,
) -> Read<Option<T>> {
    let text: Option<&str> = get(row, column)?;
    text.map(str::parse).transpose().map_err(|error: IdError| misfit(column)(error.into()))
}

/// Decodes a text column that holds the wire name of an enum's variant.
pub fn name<T: DeserializeOwned>(row: &Row, column: &'static str) -> Read<T> {
    let text: &str = get(row, column)?;
    T::deserialize(StrDeserializer::new(text))
        .map_err(|error: NameError| misfit(column)(error.into()))
}

/// Decodes a non-negative `integer`.
pub fn count(row: &Row, column: &'static str) -> Read<u32> {
    let number: i32 = get(row, column)?;
    number.try_into().map_err(|error: TryFromIntError| misfit(column)(error.into()))
}

/// Decodes a non-negative `bigint`, such as `count(*)`.
pub fn total(row: &Row, column: &'static str) -> Read<u32> {
    let number: i64 = get(row, column)?;
    number.try_into().map_err(|error: TryFromIntError| misfit(column)(error.into()))
}
