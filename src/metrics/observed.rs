//! The answer to a scrape: counters, and current states.

use std::time::{Duration, UNIX_EPOCH};

use crate::build_info;
use crate::metrics::blame::BLAMES;
use crate::metrics::counter::Counter;
use crate::metrics::names::{self, MetricFamily};
use crate::metrics::process::ProcessUsage;
use crate::metrics::series::{ADDED_BOUNDS, BOUNDS, Ending, OTHER, Series, UpstreamMetrics};
use crate::metrics::text::MetricsFormat;
use crate::metrics::writer::MetricsWriter;
use crate::metrics::{DECISIONS, FORWARDED, Metrics, RECEIVED, REFUSALS, lock};
use crate::protocol::method;
use crate::telemetry::{EmfBaseline, EmfEncoder};

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
    /// Look-ups in caches: the word for the cache, hits and misses.
    pub caches: Vec<(&'static str, u64, u64)>,
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
    /// Writes what policies decided, which callers were not let in, and what went from replica to replica.
    fn write_callers(&self, out: &mut MetricsWriter) {
        for (family, words, counters) in [
            (
                &names::POLICY_DECISIONS,
                &DECISIONS[..],
                &self.decisions[..],
            ),
            (&names::REFUSALS, &REFUSALS[..], &self.refusals[..]),
            (&names::FORWARDED, &FORWARDED[..], &self.forwarded[..]),
            (&names::RECEIVED, &RECEIVED[..], &self.received[..]),
        ] {
            out.family(family, |values| {
                for (word, counter) in words.iter().zip(counters) {
                    values.write(&[word], counter.value());
                }
            });
        }
    }

    /// Writes all metrics as text.
    #[must_use]
    pub fn text(&self, observed: &Observed, format: MetricsFormat) -> String {
        let mut out = MetricsWriter::text(format);
        self.write(&mut out, observed);
        out.into_text()
    }

    /// Writes all metrics for OpenTelemetry, as an item of an [`crate::telemetry::Envelope`].
    #[must_use]
    pub fn export(&self, observed: &Observed) -> Vec<u8> {
        let mut out = MetricsWriter::export(self.started);
        self.write(&mut out, observed);
        out.into_messages()
    }

    /// Adds all metrics to lines for CloudWatch.
    #[must_use]
    pub fn add_to(&self, lines: EmfEncoder, observed: &Observed) -> EmfEncoder {
        let mut out = MetricsWriter::Lines(lines);
        self.write(&mut out, observed);
        match out {
            MetricsWriter::Lines(lines) => lines,
            MetricsWriter::Text(_) | MetricsWriter::Messages(_) => {
                EmfEncoder::new(EmfBaseline::default())
            }
        }
    }

    fn write(&self, out: &mut MetricsWriter, observed: &Observed) {
        out.family(&names::BUILD, |values| {
            values.write(&build_info::LABELS, 1);
        });
        self.write_calls(out);
        self.callers.write(out);
        write_caches(out, observed);
        write_each(out, &names::CALLS_IN_FLIGHT, observed, |up| up.in_flight);
        write_each(out, &names::CALLS_QUEUED, observed, |up| up.queued);
        out.family(&names::ERRORS, |values| {
            for ((_, blame), counter) in BLAMES.iter().zip(&self.errors) {
                values.write(&[blame], counter.value());
            }
        });
        self.write_responses(out);
        self.write_callers(out);
        self.write_limited(out);
        self.write_guarded(out);
        self.write_data(out);
        self.write_dropped(out);
        write_each(out, &names::UP, observed, |up| usize::from(up.up));
        write_each(out, &names::STARTING, observed, |up| {
            usize::from(up.starting)
        });
        write_credentials(out, observed);
        write_each(out, &names::UPSTREAM_SESSIONS, observed, |up| up.sessions);
        self.write_listings(out, observed);
        write_reloads(out, &observed.reloads);
        out.family(&names::GENERATION, |values| {
            values.write(&[], observed.generation)
        });
        out.family(&names::PUBLICATIONS, |values| {
            values.write(&[], self.publications.value());
        });
        out.family(&names::CATALOG_ITEMS, |values| {
            for (kind, count) in &observed.items {
                values.write(&[kind], count);
            }
        });
        out.family(&names::CONFLICTS, |values| {
            values.write(&[], observed.conflicts)
        });
        for gauge in lock(&self.observed_gauges).iter() {
            out.family(gauge.family, |values| values.write(&[], (gauge.value)()));
        }
        out.family(&names::GET_STREAMS, |values| {
            values.write(&[], self.get_streams.value())
        });
        out.family(&names::LISTEN_STREAMS, |values| {
            values.write(&[], self.listen_streams.value());
        });
        self.write_process(out);
    }

    fn write_responses(&self, out: &mut MetricsWriter) {
        out.family(&names::RESPONSES, |values| {
            for (code, counter) in (100..).zip(&self.responses) {
                if counter.value() > 0 {
                    values.write(&[&format!("{code}")], counter.value());
                }
            }
        });
    }

    fn write_dropped(&self, out: &mut MetricsWriter) {
        out.family(&names::TELEMETRY_DROPPED, |values| {
            for (signal, count) in self.tracer.dropped() {
                values.write(&[signal.as_str()], count);
            }
        });
    }

    fn write_calls(&self, out: &mut MetricsWriter) {
        let upstreams = lock(&self.upstreams).clone();
        out.family(&names::CALLS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                for (ending, counter) in Ending::ALL.iter().zip(&series.endings) {
                    if counter.value() > 0 {
                        let labels = [upstream, method, tool, ending.as_str()];
                        values.write(&labels, counter.value());
                    }
                }
            });
        });
        out.family(&names::CALL_SECONDS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                let counts: Vec<u64> = series.buckets.iter().map(Counter::value).collect();
                let sum = Duration::from_nanos(series.nanoseconds.value()).as_secs_f64();
                let labels = [upstream, method, tool];
                let exemplars = series.exemplars.all();
                values.write_histogram(&labels, &BOUNDS, (&counts, &exemplars), sum);
            });
        });
        out.family(&names::CALL_ERRORS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                for ((_, blame), counter) in BLAMES.iter().zip(&series.blames) {
                    if counter.value() > 0 {
                        values.write(&[upstream, method, tool, blame], counter.value());
                    }
                }
            });
        });
        out.family(&names::CALL_ADDED_SECONDS, |values| {
            visit_series(&upstreams, |upstream, method, tool, series| {
                let counts: Vec<u64> = series.added_buckets.iter().map(Counter::value).collect();
                let sum = Duration::from_nanos(series.added_nanoseconds.value()).as_secs_f64();
                let labels = [upstream, method, tool];
                let exemplars = series.added_exemplars.all();
                values.write_histogram(&labels, &ADDED_BOUNDS, (&counts, &exemplars), sum);
            });
        });
    }

    fn write_listings(&self, out: &mut MetricsWriter, observed: &Observed) {
        out.family(&names::LISTING_AGE, |values| {
            for up in &observed.upstreams {
                if let Some(age) = up.listing_age {
                    values.write(&[&up.name], age.as_secs_f64());
                }
            }
        });
        write_each(out, &names::LISTING_STALE, observed, |up| {
            usize::from(up.stale)
        });
        out.family(&names::LISTING_ITEMS, |values| {
            for up in &observed.upstreams {
                for (kind, count) in &up.items {
                    values.write(&[&up.name, kind], count);
                }
            }
        });
        out.family(&names::LISTING_FAILED, |values| {
            for up in &observed.upstreams {
                for (kind, failed) in &up.failed_lists {
                    values.write(&[&up.name, kind], usize::from(*failed));
                }
            }
        });
        write_each(out, &names::QUARANTINED, observed, |up| up.quarantined);
        write_each(out, &names::DRIFTED, observed, |up| up.drifted);
        out.family(&names::RESYNCS, |values| {
            for upstream in lock(&self.upstreams).iter() {
                let name = upstream.id().as_str();
                values.write(&[name, "listed"], upstream.listed.value());
                values.write(&[name, "failed"], upstream.failed.value());
            }
        });
    }

    fn write_process(&self, out: &mut MetricsWriter) {
        let ProcessUsage {
            cpu_seconds,
            resident_bytes,
            open_fds,
            max_fds,
        } = ProcessUsage::read();
        if let Some(seconds) = cpu_seconds {
            out.family(&names::CPU, |values| values.write(&[], seconds));
        }
        if let Some(bytes) = resident_bytes {
            out.family(&names::RSS, |values| values.write(&[], bytes));
        }
        if let Some(count) = open_fds {
            out.family(&names::FDS, |values| values.write(&[], count));
        }
        if let Some(count) = max_fds {
            out.family(&names::MAX_FDS, |values| values.write(&[], count));
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        out.family(&names::STARTED, |values| {
            values.write(&[], started.as_secs_f64())
        });
    }
}

fn write_caches(out: &mut MetricsWriter, observed: &Observed) {
    out.family(&names::CACHE, |values| {
        for (cache, hits, misses) in &observed.caches {
            values.write(&[cache, "hit"], hits);
            values.write(&[cache, "miss"], misses);
        }
    });
}

fn write_reloads(out: &mut MetricsWriter, observed: &ObservedReloads) {
    out.family(&names::RELOADS, |values| {
        for (outcome, trigger, count) in &observed.counts {
            values.write(&[outcome, trigger], count);
        }
    });
    out.family(&names::RELOAD_GOOD, |values| {
        values.write(&[], u8::from(observed.last_is_good));
    });
    out.family(&names::RELOADED, |values| {
        values.write(&[], observed.good.as_secs_f64());
    });
}

fn write_credentials(out: &mut MetricsWriter, observed: &Observed) {
    let found = || {
        let upstreams = observed.upstreams.iter();
        upstreams.filter_map(|up| Some((up.name.as_str(), up.credentials.as_ref()?)))
    };
    out.family(&names::CREDENTIALS, |values| {
        for (name, credentials) in found() {
            for (state, is) in &credentials.states {
                values.write(&[name, state], usize::from(*is));
            }
        }
    });
    out.family(&names::CREDENTIALS_EXPIRE, |values| {
        for (name, credentials) in found() {
            if let Some(left) = credentials.left {
                values.write(&[name], left.as_secs_f64());
            }
        }
    });
    out.family(&names::CREDENTIAL_REQUESTS, |values| {
        for (name, credentials) in found() {
            let (granted, failed) = credentials.requests;
            values.write(&[name, "granted"], granted);
            values.write(&[name, "failed"], failed);
        }
    });
}

fn write_each(
    out: &mut MetricsWriter,
    family: &MetricFamily,
    observed: &Observed,
    value: impl Fn(&ObservedUpstream) -> usize,
) {
    out.family(family, |values| {
        for up in &observed.upstreams {
            values.write(&[&up.name], value(up));
        }
    });
}

/// Calls `found` with upstream, method, tool and series of everything that was called, tools in the
/// order of their names.
pub(super) fn visit_series(
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
