//! The gateway through its real router, with real Redis where a request needs it.

mod contract;
mod edge;
mod house;
