//! A client of either era, for what both can do.

use super::{Ask, Legacy, Modern, Reply, call_params, names};
use crate::support::weir::Weir;

/// A client of either era.
pub enum Client {
    Modern(Modern),
    Legacy(Legacy),
}

impl Client {
    /// One of each.
    pub async fn both(weir: &Weir) -> [Self; 2] {
        [
            Self::Modern(weir.modern()),
            Self::Legacy(weir.legacy("2025-11-25").await),
        ]
    }

    pub fn era(&self) -> &'static str {
        match self {
            Self::Modern(_) => "modern client",
            Self::Legacy(_) => "legacy client",
        }
    }

    pub fn is_modern(&self) -> bool {
        matches!(self, Self::Modern(_))
    }

    /// A correct request that can still be changed.
    pub fn ask(&self, method: &str, params: &str) -> Ask<'_> {
        match self {
            Self::Modern(client) => client.ask(method, params),
            Self::Legacy(client) => client.ask(method, params),
        }
    }

    pub async fn request(&self, method: &str, params: &str) -> Reply {
        self.ask(method, params).send().await
    }

    pub async fn call(&self, tool: &str, arguments: &str) -> Reply {
        self.request("tools/call", &call_params(tool, arguments))
            .await
    }

    /// The raw definitions of a list method, all pages.
    pub async fn list_all(&self, method: &str) -> Vec<String> {
        match self {
            Self::Modern(client) => client.list_all(method).await,
            Self::Legacy(client) => client.list_all(method).await,
        }
    }

    pub async fn tool_names(&self) -> Vec<String> {
        names(&self.list_all("tools/list").await, "name")
    }
}
