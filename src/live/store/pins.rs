//! Stored pins, by which the next run checks the definitions too.
//!
//! One file per upstream in `state.dir`, like that of its listing: a line that says what it is,
//! then one pin a line.

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::catalog::pins::StoredPin;
use crate::catalog::{Kind, Pins};
use crate::config;
use crate::durable;
use crate::live::store::{FileHeader, ListingStore, ListingStoreError, contents, head};

/// The folder inside `state.dir`.
const FOLDER: &str = "pins";

/// A pin.
#[derive(Serialize, Deserialize)]
pub(in crate::live) struct PinLine<'l> {
    kind: Kind,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    was: Option<Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    moved: bool,
    #[serde(borrow)]
    definition: &'l RawValue,
}

impl<'l> PinLine<'l> {
    /// Describes a pin.
    ///
    /// # Errors
    /// Its definition is not JSON.
    pub(in crate::live) fn of(row: &StoredPin<'l>) -> serde_json::Result<Self> {
        Ok(Self {
            kind: row.kind,
            was: row.was.map(Cow::Borrowed),
            gone: row.gone,
            moved: row.moved,
            definition: serde_json::from_str(row.definition)?,
        })
    }

    /// Returns the pin.
    pub(in crate::live) fn row(&self) -> StoredPin<'_> {
        StoredPin {
            kind: self.kind,
            definition: self.definition.get(),
            was: self.was.as_deref(),
            gone: self.gone,
            moved: self.moved,
        }
    }
}

impl ListingStore {
    /// Stores the pins of an upstream. Blocks.
    ///
    /// # Errors
    /// They cannot be written; what was stored before stays.
    pub fn write_pins(
        &self,
        upstream: &config::Upstream,
        pins: &Pins,
    ) -> Result<(), ListingStoreError> {
        let mut lines = String::new();
        for row in pins.rows() {
            let line = PinLine::of(&row).map_err(io::Error::from)?;
            lines.push_str(&serde_json::to_string(&line).map_err(io::Error::from)?);
            lines.push('\n');
        }
        let about = FileHeader::of("pins", upstream, &lines);
        let about = serde_json::to_string(&about).map_err(io::Error::from)?;
        let text = format!("{about}\n{lines}");
        let file = self.file(FOLDER, upstream);
        Ok(durable::replace(&file, text.as_bytes())?)
    }

    /// Removes the stored pins of an upstream. Blocks.
    ///
    /// # Errors
    /// There are some, and they cannot be removed.
    pub fn remove_pins(&self, upstream: &config::Upstream) -> Result<(), ListingStoreError> {
        match std::fs::remove_file(self.file(FOLDER, upstream)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads the stored pins of an upstream, if its config uses pins and there are some. Moves
    /// nothing. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn read_pins(
        &self,
        upstream: &config::Upstream,
    ) -> Result<Option<Pins>, ListingStoreError> {
        if !upstream.drift.is_gated() {
            return Ok(None);
        }
        let found = contents(&self.file(FOLDER, upstream))?;
        found.map(|(text, _)| parse(&text, upstream)).transpose()
    }

    /// Loads the stored pins of an upstream, if there are some. A file that cannot be used is moved
    /// aside and logged. Where the config does not use pins, stored ones are removed. Blocks.
    #[must_use]
    pub fn load_pins(&self, upstream: &config::Upstream) -> Option<Pins> {
        if !upstream.drift.is_gated() {
            if let Err(error) = self.remove_pins(upstream) {
                tracing::warn!(upstream = %upstream.id, %error, "its pins cannot be removed");
            }
            return None;
        }
        let error = match self.read_pins(upstream) {
            Ok(pins) => return pins,
            Err(error) => error,
        };
        let path = self.file(FOLDER, upstream);
        let aside = durable::set_aside(&path);
        let aside = aside.as_ref().map_or(&path, |aside| aside);
        tracing::warn!(
            upstream = %upstream.id, %error, file = %aside.display(),
            "stored pins are of no use: what is listed next is pinned"
        );
        None
    }
}

fn parse(text: &str, upstream: &config::Upstream) -> Result<Pins, ListingStoreError> {
    let (about, lines) = head::<FileHeader>(text)?;
    about.fits("pins", upstream, lines)?;
    let mut pins = Pins::default();
    for line in lines.lines() {
        let strange = ListingStoreError::Damaged("it has a line that is no pin");
        let Ok(line) = serde_json::from_str::<PinLine<'_>>(line) else {
            return Err(strange);
        };
        if !pins.add(&line.row()) {
            return Err(strange);
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests;
