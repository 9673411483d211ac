//! Values that only replicas can make and read, each for one place in the store.

use crate::replicas::store::SharedStore;
use crate::seal::NoRandom;

impl SharedStore {
    /// Seals a value for its place: elsewhere it does not open.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub(crate) fn seal(&self, place: &str, value: &[u8]) -> Result<String, NoRandom> {
        let mut plain = (place.len() as u64).to_be_bytes().to_vec();
        plain.extend_from_slice(place.as_bytes());
        plain.extend_from_slice(value);
        self.sealer().seal(&plain)
    }

    /// Returns a name for a list of parts, which nobody else can make.
    pub(crate) fn mark(&self, parts: &[&str]) -> String {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        self.marks().mark(&parts)
    }

    /// Returns whether a text is the mark of these parts.
    pub(crate) fn is_mark(&self, text: &str, parts: &[&str]) -> bool {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        self.marks().is_mark(text, &parts)
    }

    /// Opens a value that was sealed for this place.
    pub(crate) fn unseal(&self, place: &str, sealed: &str) -> Option<Vec<u8>> {
        let plain = self.sealer().open(sealed)?;
        let (length, rest) = plain.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (found, value) = rest.split_at_checked(length)?;
        (found == place.as_bytes()).then(|| value.to_vec())
    }
}
