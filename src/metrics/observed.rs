//! The answer to a scrape: counters, and current states.

use std::time::{Duration, UNIX_EPOCH};

use crate::metrics::counter::Counter;
use crate::metrics::names::{self, MetricFamily};
use crate::metrics::process::ProcessUsage;
use crate::metrics::series::{BOUNDS, Ending, OTHER, Series, UpstreamMetrics};
use crate::metrics::text::{MetricsFormat, MetricsText};
use crate::metrics::{BLAMES, DECISIONS, Metrics, REFUSALS, lock};
use crate::protocol::method;

/// The current state of weir.
#[derive(Debug, Default)]
pub struct Observed {
    /// The number of the snapshot.
    pub generation: u64,
    /// Definitions that callers see: the word for the kind, and how many.
    pub items: Vec<(&'static str, usize)>,
    /// Names that several definitions would have.
    pub conflicts: usize,
    /// The reloads of the config.
    pub reloads: ObservedReloads,
    /// In the order of the config.
    pub upstreams: Vec<ObservedUpstream>,
}

/// The reloads of the config.
#[derive(Debug, Default)]
pub struct ObservedReloads {
    /// The words for outcome and trigger, and how many.
    pub counts: Vec<(&'static str, &'static str, u64)>,
    /// Whether the config that was last read is in force.
    pub last_is_good: bool,
    /// When a valid config was last read, as the time since 1970.
    pub good: Duration,
}

/// The current state of one upstream.
#[derive(Debug, Default)]
pub struct ObservedUpstream {
    /// Its name.
    pub name: String,
    /// Whether the last attempt to list it succeeded.
    pub up: bool,
    /// Whether its child process is started and has not answered yet.
    pub starting: bool,
    /// Its credentials, if it has any.
    pub credentials: Option<ObservedCredentials>,
    /// Connections to it.
    pub sessions: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Requests that wait in the queue.
    pub queued: usize,
    /// The age of the last successful listing, if there was one.
    pub listing_age: Option<Duration>,
    /// Whether it may be out of date, because weir fails to renew it.
    pub stale: bool,
    /// Definitions in it: the word for the kind, and how many.
    pub items: Vec<(&'static str, usize)>,
    /// Whether the list of each kind failed while others came.
    pub failed_lists: Vec<(&'static str, bool)>,
    /// Definitions left out of it.
    pub quarantined: usize,
    /// Definitions that differ from their pin and wait to be accepted.
    pub drifted: usize,
}

/// The current state of an upstream's credentials.
#[derive(Debug)]
pub struct ObservedCredentials {
    /// Every state, and whether it is the current one.
    pub states: Vec<(&'static str, bool)>,
    /// The time until the one in use expires, if known.
    pub left: Option<Duration>,
    /// Requests for credentials: granted, failed.
    pub requests: (u64, u64),
}

impl Metrics {
    /// Writes what policies decided, and which callers were not let in.
    fn write_callers(&self, text: &mut MetricsText) {
        for (family, words, counters) in [
            (
                &names::POLICY_DECISIONS,
                &DECISIONS[..],
                &self.decisions[..],
            ),
            (&names::REFUSALS, &REFUSALS[..], &self.refusals[..]),
        ] {
            text.family(family, |values| {
                for (word, counter) in words.iter().zip(counters) {
                    values.write(&[word], counter.value());
                }
            });
        }
    }

    /// Writes all metrics as text.
    #[must_use]
    pub fn text(&self, observed: &Observed, format: MetricsFormat) -> String {
        let mut text = MetricsText::new(format);
        text.family(&names::BUILD, |values| {
            values.write(&[env!("CARGO_PKG_VERSION")], 1);
        });
        self.write_calls(&mut text);
        write_each(&mut text, &names::CALLS_IN_FLIGHT, observed, |up| {
            up.in_flight
        });
        write_each(&mut text, &names::CALLS_QUEUED, observed, |up| up.queued);
        text.family(&names::ERRORS, |values| {
            for ((_, blame), counter) in BLAMES.iter().zip(&self.errors) {
                values.write(&[blame], counter.value());
            }
        });
        text.family(&names::RESPONSES, |values| {
            for (code, counter) in (100..).zip(&self.responses) {
                if counter.value() > 0 {
                    values.write(&[&format!("{code}")], counter.value());
                }
            }
        });
        self.write_callers(&mut text);
        self.write_limited(&mut text);
        self.write_guarded(&mut text);
        write_each(&mut text, &names::UP, observed, |up| usize::from(up.up));
        write_each(&mut text, &names::STARTING, observed, |up| {
            usize::from(up.starting)
        });
        write_credentials(&mut text, observed);
        write_each(&mut text, &names::UPSTREAM_SESSIONS, observed, |up| {
            up.sessions
        });
        self.write_listings(&mut text, observed);
        write_reloads(&mut text, &observed.reloads);
        text.family(&names::GENERATION, |values| {
            values.write(&[], observed.generation)
        });
        text.family(&names::PUBLICATIONS, |values| {
            values.write(&[], self.publications.value());
        });
        text.family(&names::CATALOG_ITEMS, |values| {
            for (kind, count) in &observed.items {
                values.write(&[kind], count);
            }
        });
        text.family(&names::CONFLICTS, |values| {
            values.write(&[], observed.conflicts)
        });
        for gauge in lock(&self.observed_gauges).iter() {
            text.family(gauge.family, |values| values.write(&[], (gauge.value)()));
        }
        text.family(&names::GET_STREAMS, |values| {
            values.write(&[], self.get_streams.value())
        });
        text.family(&names::LISTEN_STREAMS, |values| {
            values.write(&[], self.listen_streams.value());
        });
        self.write_process(&mut text);
        text.finish()
    }

    fn write_calls(&self, text: &mut MetricsText) {
        let upstreams = lock(&self.upstreams).clone();
        text.family(&names::CALLS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                for (ending, counter) in Ending::ALL.iter().zip(&series.endings) {
                    if counter.value() > 0 {
                        let labels = [upstream, method, tool, ending.as_str()];
                        values.write(&labels, counter.value());
                    }
                }
            });
        });
        text.family(&names::CALL_SECONDS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                let counts: Vec<u64> = series.buckets.iter().map(Counter::value).collect();
                let sum = Duration::from_nanos(series.nanoseconds.value()).as_secs_f64();
                values.write_histogram(&[upstream, method, tool], &BOUNDS, &counts, sum);
            });
        });
    }

    fn write_listings(&self, text: &mut MetricsText, observed: &Observed) {
        text.family(&names::LISTING_AGE, |values| {
            for up in &observed.upstreams {
                if let Some(age) = up.listing_age {
                    values.write(&[&up.name], age.as_secs_f64());
                }
            }
        });
        write_each(text, &names::LISTING_STALE, observed, |up| {
            usize::from(up.stale)
        });
        text.family(&names::LISTING_ITEMS, |values| {
            for up in &observed.upstreams {
                for (kind, count) in &up.items {
                    values.write(&[&up.name, kind], count);
                }
            }
        });
        text.family(&names::LISTING_FAILED, |values| {
            for up in &observed.upstreams {
                for (kind, failed) in &up.failed_lists {
                    values.write(&[&up.name, kind], usize::from(*failed));
                }
            }
        });
        write_each(text, &names::QUARANTINED, observed, |up| up.quarantined);
        write_each(text, &names::DRIFTED, observed, |up| up.drifted);
        text.family(&names::RESYNCS, |values| {
            for upstream in lock(&self.upstreams).iter() {
                let name = upstream.id().as_str();
                values.write(&[name, "listed"], upstream.listed.value());
                values.write(&[name, "failed"], upstream.failed.value());
            }
        });
    }

    fn write_process(&self, text: &mut MetricsText) {
        let ProcessUsage {
            cpu_seconds,
            resident_bytes,
            open_fds,
            max_fds,
        } = ProcessUsage::read();
        if let Some(seconds) = cpu_seconds {
            text.family(&names::CPU, |values| values.write(&[], seconds));
        }
        if let Some(bytes) = resident_bytes {
            text.family(&names::RSS, |values| values.write(&[], bytes));
        }
        if let Some(count) = open_fds {
            text.family(&names::FDS, |values| values.write(&[], count));
        }
        if let Some(count) = max_fds {
            text.family(&names::MAX_FDS, |values| values.write(&[], count));
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        text.family(&names::STARTED, |values| {
            values.write(&[], started.as_secs_f64())
        });
    }
}

fn write_reloads(text: &mut MetricsText, observed: &ObservedReloads) {
    text.family(&names::RELOADS, |values| {
        for (outcome, trigger, count) in &observed.counts {
            values.write(&[outcome, trigger], count);
        }
    });
    text.family(&names::RELOAD_GOOD, |values| {
        values.write(&[], u8::from(observed.last_is_good));
    });
    text.family(&names::RELOADED, |values| {
        values.write(&[], observed.good.as_secs_f64());
    });
}

fn write_credentials(text: &mut MetricsText, observed: &Observed) {
    let found = || {
        let upstreams = observed.upstreams.iter();
        upstreams.filter_map(|up| Some((up.name.as_str(), up.credentials.as_ref()?)))
    };
    text.family(&names::CREDENTIALS, |values| {
        for (name, credentials) in found() {
            for (state, is) in &credentials.states {
                values.write(&[name, state], usize::from(*is));
            }
        }
    });
    text.family(&names::CREDENTIALS_EXPIRE, |values| {
        for (name, credentials) in found() {
            if let Some(left) = credentials.left {
                values.write(&[name], left.as_secs_f64());
            }
        }
    });
    text.family(&names::CREDENTIAL_REQUESTS, |values| {
        for (name, credentials) in found() {
            let (granted, failed) = credentials.requests;
            values.write(&[name, "granted"], granted);
            values.write(&[name, "failed"], failed);
        }
    });
}

fn write_each(
    text: &mut MetricsText,
    family: &MetricFamily,
    observed: &Observed,
    value: impl Fn(&ObservedUpstream) -> usize,
) {
    text.family(family, |values| {
        for up in &observed.upstreams {
            values.write(&[&up.name], value(up));
        }
    });
}

/// Calls `found` with upstream, method, tool and series of everything that was called, tools in the
/// order of their names.
fn visit_series(
    upstreams: &[std::sync::Arc<UpstreamMetrics>],
    mut found: impl FnMut(&str, &str, &str, &Series),
) {
    for upstream in upstreams {
        let name = upstream.id().as_str();
        let tools = upstream.tools.read();
        let mut tools: Vec<_> = tools
            .iter()
            .map(|(tool, series)| (&**tool, series))
            .collect();
        tools.sort_by_key(|(tool, _)| *tool);
        for (tool, series) in tools {
            found(name, method::TOOLS_CALL, tool, series);
        }
        if upstream
            .others
            .buckets
            .iter()
            .any(|bucket| bucket.value() > 0)
        {
            found(name, method::TOOLS_CALL, OTHER, &upstream.others);
        }
        let methods = upstream.methods.read();
        for (method, series) in methods.iter() {
            found(name, method, "", series);
        }
    }
}
