//! Random secrets.

use crate::hex;
use crate::seal;
use crate::secret::Secret;

/// Returns 128 random bits as text.
pub(super) fn random_secret() -> Option<Secret> {
    let bytes: [u8; 16] = seal::random().ok()?;
    Some(Secret::new(&hex::text(&bytes)))
}
