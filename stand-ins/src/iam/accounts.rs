//! Accounts of the demo operators.

use std::collections::HashMap;

use contracts::id::{DeviceId, OperatorId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::demo::{DemoData, Operator};

#[derive(Debug)]
pub(super) struct Accounts {
    by_name: HashMap<String, Operator>,
}

impl Accounts {
    pub(super) fn of(demo: &DemoData) -> Self {
        let named = |operator: &Operator| (operator.username.clone(), operator.clone());
        Self { by_name: demo.operators.iter().map(named).collect() }
    }

    /// Finds the operator if the password is right and the device is theirs. Takes as long for an
    /// unknown name.
    pub(super) fn sign_in(&self, name: &str, password: &str, device: &str) -> Option<&Operator> {
        let operator = self.by_name.get(name);
        let expected = operator.map_or("", |operator| operator.password.as_str());
        let right = Sha256::digest(password).ct_eq(&Sha256::digest(expected));
        let device = device.parse::<DeviceId>().ok();
        operator.filter(|operator| bool::from(right) && device == Some(operator.device_id))
    }

    pub(super) fn operator(&self, id: OperatorId) -> Option<&Operator> {
        self.by_name.values().find(|operator| operator.id == id)
    }
}
