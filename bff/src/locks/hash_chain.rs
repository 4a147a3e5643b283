//! Hash chain of the lock audit log: each row's hash is SHA-256 over its content and the previous
//! hash, so that a missing, moved or altered row can be proven from the rows alone.

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::row::Row;

/// Previous hash of the first row.
pub(crate) const GENESIS_HASH: [u8; 32] = [0; 32];
/// Version of the hashed format; a new format gets a new name.
const FORMAT: &str = "lock-audit/1";
/// Length marker of an absent value; no text is that long.
const ABSENT_LENGTH: u32 = u32::MAX;

/// Content of a row, without the hashes.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) tenant: String,
    pub(crate) sequence: i64,
    /// To the microsecond.
    pub(crate) at: Timestamp,
    pub(crate) row: Row,
}

impl Content {
    /// SHA-256(content ‖ hash of the row before).
    pub(crate) fn hash(&self, before: &[u8]) -> [u8; 32] {
        let mut content = Canonical(Sha256::new());
        self.write(&mut content);
        content.0.chain_update(before).finalize().into()
    }

    /// Writes every column in the table's order, each with its length, so that two rows never
    /// serialise equally.
    fn write(&self, to: &mut Canonical) {
        let row = &self.row;
        to.text(FORMAT);
        to.text(&self.tenant);
        to.number(self.sequence);
        for text in [&row.id, &row.action_id, &row.action, &row.phase] {
            to.text(text);
        }
        to.optional(row.property.as_deref());
        for text in [&row.lock, &row.operator, &row.device] {
            to.text(text);
        }
        to.number(row.roles.len() as i64);
        row.roles.iter().for_each(|role| to.text(role));
        to.optional(row.session.as_deref());
        to.text(&row.request);
        to.optional(row.trace.as_deref());
        to.text(&row.key);
        to.bytes(&row.body_digest);
        to.optional(row.attestation.as_deref());
        to.object(&row.detail);
        to.number(self.at.as_microsecond());
    }
}

struct Canonical(Sha256);

impl Canonical {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(u32::try_from(bytes.len()).unwrap_or(ABSENT_LENGTH - 1).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.0.update(ABSENT_LENGTH.to_be_bytes()),
        }
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    /// Sorted by name, because Postgres does not keep the order of members.
    fn object(&mut self, detail: &Value) {
        let mut members: Vec<_> = detail.as_object().into_iter().flatten().collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        self.number(members.len() as i64);
        for (name, value) in members {
            self.text(name);
            self.text(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content() -> Content {
        let text = str::to_owned;
        let row = Row {
            id: text("lap_1"),
            action_id: text("lap_1"),
            action: text("issue_key"),
            phase: text("requested"),
            property: None,
            lock: text("lck_1"),
            operator: text("opr_1"),
            device: text("dev_1"),
            roles: vec![text("front_desk"), text("property.gm")],
            session: Some(text("bos_1")),
            request: text("req_1"),
            trace: None,
            key: text("a-key"),
            body_digest: vec![7; 32],
            attestation: None,
            detail: json!({"vendor": "salto", "error": "late"}),
        };
        Content { tenant: text("tnt_1"), sequence: 1, at: Timestamp::from_second(9).unwrap(), row }
    }

    #[test]
    fn the_order_of_the_detail_does_not_matter_and_its_content_does() {
        let hash = content().hash(&GENESIS_HASH);
        let mut other = content();
        other.row.detail = json!({"error": "late", "vendor": "salto"});
        assert_eq!(other.hash(&GENESIS_HASH), hash);
        other.row.detail["vendor"] = json!("ttlock");
        assert_ne!(other.hash(&GENESIS_HASH), hash);
    }

    #[test]
    fn each_column_and_the_row_before_make_another_hash() {
        let changes: [fn(&mut Content); 20] = [
            |content| content.tenant.push('x'),
            |content| content.sequence += 1,
            |content| content.at += jiff::SignedDuration::from_micros(1),
            |content| content.row.id.push('x'),
            |content| content.row.action_id.push('x'),
            |content| content.row.action.push('x'),
            |content| content.row.phase.push('x'),
            |content| content.row.property = Some(String::new()),
            |content| content.row.lock.push('x'),
            |content| content.row.operator.push('x'),
            |content| content.row.device.push('x'),
            |content| content.row.roles = vec!["front_deskproperty.gm".to_owned()],
            |content| content.row.session = None,
            |content| content.row.request.push('x'),
            |content| content.row.trace = Some(String::new()),
            |content| content.row.key.push('x'),
            |content| content.row.body_digest[0] = 8,
            |content| content.row.attestation = Some(String::new()),
            |content| content.row.detail["code"] = json!("x"),
            |content| content.row.detail = json!({}),
        ];
        let mut seen = vec![content().hash(&GENESIS_HASH), content().hash(&[1; 32])];
        for change in changes {
            let mut changed = content();
            change(&mut changed);
            seen.push(changed.hash(&GENESIS_HASH));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn text_does_not_move_from_one_column_to_the_next() {
        let mut moved = content();
        (moved.row.lock, moved.row.operator) = ("lck_1o".to_owned(), "pr_1".to_owned());
        assert_ne!(moved.hash(&GENESIS_HASH), content().hash(&GENESIS_HASH));
    }
}
