//! A database on a PostgreSQL server for one run of one file.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, Config, NoTls};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An empty database in the C locale.
pub(super) struct ScratchDatabase {
    admin: Client,
    config: Config,
    name: String,
}

impl ScratchDatabase {
    pub(super) async fn create(config: &Config) -> io::Result<Self> {
        let (admin, connection) = config.connect(NoTls).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let name = format!("crucible_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let sql =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
        admin.batch_execute(&sql).await.map_err(io::Error::other)?;
        let mut config = config.clone();
        config.dbname(&name);
        Ok(Self { admin, config, name })
    }

    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(super) async fn remove(self) -> io::Result<()> {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.admin.batch_execute(&sql).await.map_err(io::Error::other)
    }
}
