//! What functions know of the session they run in: an extension of DataFusion's configuration.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::config::ConfigOptions;

use crate::error::SqlError;

/// What functions know of the session.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionInfo {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    user: String,
    backend: u32,
    settings: BTreeMap<String, String>,
}

impl SessionInfo {
    pub(crate) fn new(user: String, backend: u32, settings: BTreeMap<String, String>) -> Self {
        Self { inner: Arc::new(Inner { user, backend, settings }) }
    }

    /// That of a configuration.
    pub(crate) fn of(config: &ConfigOptions) -> Self {
        config.extensions.get::<SessionInfo>().cloned().unwrap_or_default()
    }

    pub(crate) fn user(&self) -> &str {
        &self.inner.user
    }

    pub(crate) fn backend(&self) -> u32 {
        self.inner.backend
    }

    /// A setting by its name in lower case.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.inner.settings.get(name).map(String::as_str)
    }
}

impl ConfigExtension for SessionInfo {
    const PREFIX: &'static str = "strata";
}

impl ExtensionOptions for SessionInfo {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{key}\"")).into())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
