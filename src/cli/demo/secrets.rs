//! Random secrets.

use crate::seal;
use crate::secret::Secret;

/// Returns 128 random bits as text.
pub(super) fn random_secret() -> Option<Secret> {
    let bytes: [u8; 16] = seal::random().ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Secret::new(&hex))
}
