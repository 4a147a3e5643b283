//! The four schemas and their migrations, embedded.

use sha2::{Digest, Sha256};

mod embedded {
    pub(crate) mod bff {
        refinery::embed_migrations!("bff");
    }
    pub(crate) mod inventory {
        refinery::embed_migrations!("inventory");
    }
    pub(crate) mod housekeeping {
        refinery::embed_migrations!("housekeeping");
    }
    pub(crate) mod staff {
        refinery::embed_migrations!("staff");
    }
}

/// A schema. Its database and login role have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Schema {
    Bff,
    Inventory,
    Housekeeping,
    Staff,
}

impl Schema {
    pub const ALL: [Self; 4] = [Self::Bff, Self::Inventory, Self::Housekeeping, Self::Staff];

    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The table of applied migrations.
    pub(crate) fn history_table(self) -> String {
        format!("{self}.{}", Self::HISTORY)
    }

    pub(crate) const HISTORY: &str = "schema_migrations";

    pub(crate) fn runner(self) -> refinery::Runner {
        let mut runner = match self {
            Self::Bff => embedded::bff::migrations::runner(),
            Self::Inventory => embedded::inventory::migrations::runner(),
            Self::Housekeeping => embedded::housekeeping::migrations::runner(),
            Self::Staff => embedded::staff::migrations::runner(),
        };
        runner.set_migration_table_name(self.history_table());
        runner
    }

    /// A hash of the migrations and of the code that grants rights, as 16 hexadecimal digits.
    pub(crate) fn content_hash(self) -> String {
        let mut hash = Sha256::new();
        let mut migrations = self.runner().get_migrations().clone();
        migrations.sort();
        for migration in &migrations {
            hash.update(migration.checksum().to_be_bytes());
        }
        hash.update(include_str!("grants.rs"));
        hash.update(include_str!("provision.rs"));
        let start = hash.finalize().first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(start))
    }
}
