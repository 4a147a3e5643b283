//! Query parameters shared by reads.

use jiff::civil::Date;
use serde::Deserialize;
use service_kit::extract::date;
use service_kit::problem::ApiResult;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DayQuery {
    /// Today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<String>,
}

impl DayQuery {
    pub(crate) fn day(&self) -> ApiResult<Option<Date>> {
        date("query.date", self.date.as_deref())
    }
}
