//! Commands, in a table: routes that change something once per idempotency key. Response types are
//! in `contracts::upstream`.

use contracts::id::{FolioId, KeyCredentialId, LockDeviceId, ReservationId};
use contracts::upstream::Upstream;
use contracts::upstream::billing::Refund;
use contracts::upstream::lock::{IssuedKey, RevokedKey};
use contracts::upstream::reservation::CheckedIn;

use super::{CallResult, Upstreams};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::request::IdempotentBody;

/// Declares a function per route: its name, the parameters in the path, the upstream, the path and
/// the response.
macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $name:ident($($parameter:ident: $type:ty),*): $upstream:ident $path:literal => $response:ty;
    )*) => {
        impl Upstreams {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                context: &CallContext,
                $($parameter: $type,)*
                command: IdempotentBody<'_>,
            ) -> CallResult<Reply<$response>> {
                let path = format!($path);
                self.stack(Upstream::$upstream)?.post(context, &command.call(&path)).await
            }
        )*}
    };
}

commands! {
    /// Refunds a payment. The body of `command` is a `RefundRequest`.
    refund(folio: FolioId): Billing "/api/v1/folios/{folio}/refunds" => Refund;
    /// Issues a key. The body of `command` is an `IssueKeyRequest`.
    issue_key(lock: LockDeviceId): Lock "/api/v1/locks/{lock}/keys" => IssuedKey;
    /// Revokes a key. The body of `command` is a `RevokeKeyRequest`.
    revoke_key(lock: LockDeviceId, credential: KeyCredentialId):
        Lock "/api/v1/locks/{lock}/keys/{credential}/revoke" => RevokedKey;
    /// Checks a reservation in. The body of `command` is a `CheckInRequest`.
    check_in(reservation: ReservationId):
        Reservation "/api/v1/reservations/{reservation}/check-in" => CheckedIn;
}
