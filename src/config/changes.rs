//! The difference between two configs: what cannot change while weir runs, and what can.

use std::sync::Arc;

use indexmap::IndexMap;

use super::rates;
use super::{Admin, AuditSettings, Config, Fingerprint, Telemetry, Upstream, UpstreamGuard};
use crate::name::UpstreamId;
use crate::secret::Secret;

impl Config {
    /// Returns a digest of each setting that cannot change while weir runs, by its key in the file.
    /// `None` means that the setting is not written.
    ///
    /// A new field does not compile until it is compared here or in [`Self::is_same`].
    #[must_use]
    pub fn fixed(&self) -> [(&'static str, Option<Fingerprint>); 7] {
        let Self {
            listen,
            admin,
            state_dir,
            sealing_keys,
            instance,
            audit,
            replicas,
            // These can change: see `is_same`.
            memory: _,
            rates: _,
            policy: _,
            guard: _,
            telemetry: _,
            hooks: _,
            front_gateway: _,
            naming: _,
            server: _,
            upstreams: _,
            sources: _,
            // They follow from the settings that name them.
            secret_files: _,
            aws_secrets: _,
        } = self;
        let sealing_keys: Vec<_> = sealing_keys.iter().map(Secret::expose).collect();
        let sealing_key = (!sealing_keys.is_empty()).then_some(sealing_keys);
        [
            ("listen", Some(listen.fingerprint())),
            ("admin", admin.as_ref().map(Admin::fingerprint)),
            ("state", state_dir.as_ref().map(|dir| Fingerprint::of(dir))),
            ("sealing_key", sealing_key.map(|key| Fingerprint::of(&key))),
            (
                "instance",
                instance.as_ref().map(|name| Fingerprint::of(name)),
            ),
            ("audit", audit.as_ref().map(AuditSettings::fingerprint)),
            (
                "replicas",
                replicas.as_ref().map(|replicas| replicas.fingerprint),
            ),
        ]
    }

    /// Returns the keys of the settings that differ in `other` and cannot change while weir runs.
    #[must_use]
    pub fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        let both = self.fixed().into_iter().zip(other.fixed());
        let changed = both.filter(|((_, here), (_, there))| here != there);
        changed.map(|((field, _), _)| field).collect()
    }

    /// Returns digests of the settings that can change while weir runs, besides upstreams, by their
    /// keys.
    ///
    /// A new field does not compile until it is here or in [`Self::fixed`].
    #[must_use]
    pub fn changeable(&self) -> [(&'static str, Fingerprint); 11] {
        let Self {
            memory,
            rates,
            policy,
            guard,
            telemetry,
            hooks,
            front_gateway,
            naming,
            server,
            // They are compared one by one: see `is_same`.
            upstreams: _,
            // Where upstreams are written means nothing, like the positions of settings.
            sources: _,
            // They follow from the settings that name them.
            secret_files: _,
            aws_secrets: _,
            // The rest of both cannot change: see `fixed`.
            listen,
            admin,
            // These cannot change: see `fixed`.
            state_dir: _,
            sealing_keys: _,
            instance: _,
            audit: _,
            replicas: _,
        } = self;
        let policy = policy.as_ref().map(|policy| policy.fingerprint.to_hex());
        // A fingerprint shows nothing of itself.
        let rates = rates::written(rates).map(|(name, digest)| (name, digest.to_hex()));
        let rates: Vec<_> = rates.collect();
        let hooks = hooks
            .iter()
            .map(|hook| (&hook.name, hook.fingerprint.to_hex()));
        let hooks: Vec<_> = hooks.collect();
        [
            ("listen.auth", listen.auth_fingerprint()),
            (
                "admin.token",
                Fingerprint::of(
                    &admin
                        .as_ref()
                        .map(|admin| admin.token_fingerprint().to_hex()),
                ),
            ),
            ("limits.memory", Fingerprint::of(memory)),
            ("limits.rates", Fingerprint::of(&rates)),
            ("policy", Fingerprint::of(&policy)),
            ("guard", guard.fingerprint),
            (
                "telemetry",
                Fingerprint::of(&Telemetry::digest(telemetry.as_deref())),
            ),
            ("hooks", Fingerprint::of(&hooks)),
            ("on_publish", Fingerprint::of(front_gateway)),
            ("naming", Fingerprint::of(naming)),
            ("server", Fingerprint::of(server)),
        ]
    }

    /// Returns whether `other` has the same value for everything that can change while weir runs.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.changeable() == other.changeable()
            && fingerprints(&self.upstreams).eq(fingerprints(&other.upstreams))
            && guards(&self.upstreams).eq(guards(&other.upstreams))
    }
}

/// Returns what tells the upstreams of one config from those of another, in their order.
fn fingerprints(
    upstreams: &IndexMap<UpstreamId, Arc<Upstream>>,
) -> impl Iterator<Item = (&UpstreamId, Fingerprint)> {
    let all = upstreams.iter();
    all.map(|(id, upstream)| (id, upstream.fingerprint))
}

/// Returns the rules for the data of each upstream. They are in force without a new link.
fn guards(upstreams: &IndexMap<UpstreamId, Arc<Upstream>>) -> impl Iterator<Item = &UpstreamGuard> {
    upstreams.values().map(|upstream| &upstream.guard)
}
