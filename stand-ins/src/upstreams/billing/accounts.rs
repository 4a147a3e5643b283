//! The folios and their refunds.

use std::collections::BTreeMap;

use contracts::id::{FolioId, PropertyId, ReservationId};
use contracts::money::Money;
use contracts::problem::Code;
use contracts::upstream::billing::{BillingSummary, Folio, FolioBalance, FolioState, Refund};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use service_kit::caller::Caller;
use service_kit::problem::{ApiError, ApiResult};

use crate::demo::{self, DemoData, Property, Reservation};
use crate::refusal::refusal;

static REFUND_EXCEEDS_PAID: Code =
    refusal(422, "MELMASTOON.BILLING.REFUND_EXCEEDS_PAID", "The refund exceeds the payments");
static REFUND_INVALID: Code =
    refusal(422, "MELMASTOON.BILLING.REFUND_INVALID", "The refund is not valid");

#[derive(Debug)]
pub(super) struct Account {
    folio: demo::Folio,
    /// In the order they were made.
    refunds: Vec<Refund>,
}

/// All folios by id.
#[derive(Debug)]
pub(crate) struct Folios(Mutex<BTreeMap<FolioId, Account>>);

/// A folio with its sums.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FolioSummary {
    folio_id: FolioId,
    property_id: PropertyId,
    reservation_id: ReservationId,
    guest_name: String,
    charged: Money,
    paid: Money,
    refunded: Money,
    /// What the guest owes.
    balance: Money,
}

impl Folios {
    pub(crate) fn of(demo: &DemoData) -> Self {
        let accounts = demo.folios.iter().cloned().map(Account::opened);
        Self(Mutex::new(accounts.map(|account| (account.folio.id, account)).collect()))
    }

    /// The folios of a property, or all.
    pub(crate) fn list(&self, property: Option<PropertyId>) -> Vec<FolioSummary> {
        let all = self.0.lock();
        let wanted = all.values().filter(|account| {
            property.is_none_or(|property| property == account.folio.property_id)
        });
        wanted.map(Account::summary).collect()
    }

    /// Opens the folio of a guest who has just checked in.
    pub(crate) fn open(&self, property: &Property, stay: &Reservation, now: Timestamp) {
        if let Some(folio) = demo::folios::of_stay(property, stay, now) {
            self.0.lock().entry(folio.id).or_insert_with(|| Account::opened(folio));
        }
    }

    /// The property of a folio.
    pub(crate) fn property(&self, folio: FolioId) -> Option<PropertyId> {
        self.0.lock().get(&folio).map(|account| account.folio.property_id)
    }

    /// Runs `act` on an account of the caller's tenant, in the caller's scope.
    pub(super) fn with<T>(
        &self,
        caller: &Caller,
        id: FolioId,
        act: impl FnOnce(&mut Account) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let mut all = self.0.lock();
        let own = all.get_mut(&id).filter(|account| account.folio.tenant_id == caller.0.tenant);
        let account = own.ok_or_else(ApiError::not_found)?;
        caller.require(account.folio.property_id)?;
        act(account)
    }

    pub(super) fn balances(&self, of: PropertyId) -> Vec<FolioBalance> {
        let balance = |account: &Account| FolioBalance {
            folio_id: account.folio.id,
            reservation_id: account.folio.reservation_id,
            balance: account.balance(),
        };
        let all = self.0.lock();
        all.values().filter(|account| account.folio.property_id == of).map(balance).collect()
    }

    pub(super) fn totals(&self, of: &Property, now: Timestamp) -> BillingSummary {
        let all = self.0.lock();
        let open: Vec<_> =
            all.values().filter(|account| account.folio.property_id == of.id).collect();
        let owing = || open.iter().filter(|account| account.balance().amount_micro > 0);
        let today = of.today(now);
        let due = || owing().filter(|account| account.folio.due_on <= today);
        BillingSummary {
            property_id: of.id,
            as_of: now.into(),
            open_folios: open.len() as u32,
            outstanding: by_currency(owing().map(|account| account.balance())),
            due_today: by_currency(due().map(|account| account.balance())),
            folios_due_today: due().count() as u32,
        }
    }
}

fn by_currency(amounts: impl Iterator<Item = Money>) -> Vec<Money> {
    let mut sums: Vec<Money> = Vec::new();
    for amount in amounts {
        match sums.iter_mut().find(|sum| sum.currency == amount.currency) {
            Some(sum) => sum.amount_micro += amount.amount_micro,
            None => sums.push(amount),
        }
    }
    sums
}

impl Account {
    fn opened(folio: demo::Folio) -> Self {
        Self { folio, refunds: Vec::new() }
    }

    fn refunded(&self) -> Money {
        self.folio.sum(self.refunds.iter().map(|refund| &refund.amount))
    }

    /// What the guest owes.
    fn balance(&self) -> Money {
        let owed = self.folio.charged().amount_micro - self.folio.paid().amount_micro;
        let amount_micro = owed + self.refunded().amount_micro;
        Money { amount_micro, currency: self.folio.currency }
    }

    fn summary(&self) -> FolioSummary {
        FolioSummary {
            folio_id: self.folio.id,
            property_id: self.folio.property_id,
            reservation_id: self.folio.reservation_id,
            guest_name: self.folio.guest_name.clone(),
            charged: self.folio.charged(),
            paid: self.folio.paid(),
            refunded: self.refunded(),
            balance: self.balance(),
        }
    }

    pub(super) fn to_wire(&self, now: Timestamp) -> Folio {
        let FolioSummary { charged, paid, refunded, balance, .. } = self.summary();
        Folio {
            folio_id: self.folio.id,
            property_id: self.folio.property_id,
            as_of: now.into(),
            reservation_id: self.folio.reservation_id,
            guest_name: self.folio.guest_name.clone(),
            state: FolioState::Open,
            opened_at: self.folio.opened_at.into(),
            charges: self.folio.charges.clone(),
            payments: self.folio.payments.clone(),
            refunds: self.refunds.clone(),
            charged,
            paid,
            refunded,
            balance,
        }
    }

    /// Refunds at most what was paid and not yet refunded.
    pub(super) fn pay_back(&mut self, refund: &Refund) -> ApiResult<()> {
        let amount = &refund.amount;
        if amount.amount_micro <= 0 || amount.currency != self.folio.currency {
            return Err(ApiError::new(
                &REFUND_INVALID,
                "Refund an amount above zero in the currency of the folio.",
            ));
        }
        let left = self.folio.paid().amount_micro - self.refunded().amount_micro;
        if amount.amount_micro > left {
            return Err(ApiError::new(
                &REFUND_EXCEEDS_PAID,
                "The guest has not paid that much. Refund at most what was paid and not yet refunded.",
            ));
        }
        self.refunds.push(refund.clone());
        Ok(())
    }
}
