//! The token of the admin listener, which may change while weir runs.

use crate::credentials::secrets::SecretCell;
use crate::latest::Latest;
use crate::secret::Secret;

/// The admin token in force: that of the config, whose file is watched, or the one that weir made.
#[derive(Debug)]
pub struct AdminToken(Latest<Option<SecretCell>>);

impl AdminToken {
    /// Begins with a token, or without one.
    #[must_use]
    pub fn new(cell: Option<SecretCell>) -> Self {
        Self(Latest::new(cell))
    }

    /// Returns the token as it is now; `None` if there is none.
    #[must_use]
    pub fn now(&self) -> Option<Secret> {
        let cell = self.0.get();
        cell.as_ref().as_ref()?.current()
    }

    /// Puts another token in force. The one before is refused from now on.
    pub fn replace(&self, cell: SecretCell) {
        self.0.set(Some(cell));
    }

    /// Reads the file again, if the token comes from one.
    pub async fn read(&self) {
        if let Some(cell) = self.0.get().as_ref() {
            let _ = cell.read().await;
        }
    }
}
