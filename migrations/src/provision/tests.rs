use tokio::join;

use super::*;
use crate::testing::TestDatabase;

/// A database and a role that nothing else uses, on the server of a test database.
struct Fresh {
    server: TestDatabase,
    name: String,
}

impl Fresh {
    async fn on(schema: Schema, suffix: &str) -> Self {
        let server = TestDatabase::create(schema).await;
        let name = format!("{}_{suffix}", server.name());
        Self { server, name }
    }

    fn target(&self, schema: Schema) -> ProvisionTarget<'_> {
        ProvisionTarget {
            schema,
            database: &self.name,
            role: &self.name,
            password: "it's \"quoted\"",
        }
    }

    async fn provision(&self, schema: Schema) -> String {
        let (admin_url, target) = (self.server.admin_url(), self.target(schema));
        create(admin_url, target).await.unwrap();
        migrate(admin_url, target).await.unwrap();
        service_url(admin_url, target).unwrap()
    }

    async fn remove(self) {
        let admin = Admin::connect(self.server.admin_url()).await.unwrap();
        let name = quoted(&self.name);
        admin.run(&format!("DROP DATABASE {name} WITH (FORCE)"), "clean up").await.unwrap();
        admin.run(&format!("DROP ROLE {name}"), "clean up").await.unwrap();
        admin.close().await;
    }
}

#[tokio::test]
async fn provisioning_may_be_repeated_and_run_at_once() {
    for schema in Schema::ALL {
        let fresh = Fresh::on(schema, "once").await;
        let (first, second) = join!(fresh.provision(schema), fresh.provision(schema));
        assert_eq!(first, second);
        assert_eq!(fresh.provision(schema).await, first);

        let service = Admin::connect(&first).await.unwrap();
        let path = service.client.query_one("SHOW search_path", &[]).await.unwrap();
        assert_eq!(path.get::<_, &str>(0), schema.name());
        service.close().await;
        fresh.remove().await;
    }
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    let database = TestDatabase::create(Schema::Staff).await;
    let mut admin = Admin::connect(database.admin_url()).await.unwrap();
    let sql = "UPDATE staff.schema_migrations SET checksum = '1' WHERE version = 1";
    admin.run(sql, "change history").await.unwrap();
    assert!(Schema::Staff.runner().run_async(&mut admin.client).await.is_err());
    admin.close().await;
}

#[tokio::test]
async fn an_unreachable_server_is_reported_with_advice() {
    let error = provision("postgres://root@127.0.0.1:1/postgres", Schema::Bff, "x").await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("check that it runs"), "{text}");
}
