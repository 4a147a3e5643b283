//! `GET /internal/background`: the background tasks and jobs of this instance, each with its last result.
//! Internal listener only.

use axum::extract::State;
use serde::Serialize;
use service_kit::background::{TaskDriver, TaskReport};
use service_kit::extract::Json;

#[derive(Debug, Serialize)]
pub(crate) struct Background {
    tasks: Vec<TaskReport>,
}

pub(crate) async fn get_background(State(driver): State<TaskDriver>) -> Json<Background> {
    Json(Background { tasks: driver.reports() })
}
