//! The processor time of a running weir, so measured that a busy machine changes nothing.

use std::time::Duration;

use crate::support::weir::Weir;

/// The largest input costs at most this many times what a tenth of it costs.
const MOST: u32 = 15;
/// The cost of a message by itself, and how exact the clock is.
const FLOOR: Duration = Duration::from_millis(20);
/// The tries for each size; the cheapest time counts.
const ROUNDS: usize = 3;

/// Sends inputs of two sizes, and compares what they cost.
pub struct Cost<'w> {
    weir: &'w Weir,
    failed: Vec<String>,
}

impl<'w> Cost<'w> {
    pub fn of(weir: &'w Weir) -> Self {
        Self {
            weir,
            failed: Vec::new(),
        }
    }

    /// Returns the processor time that `act` costs weir, with what it begins in the background.
    async fn measure(&self, act: impl Future<Output = ()>) -> Duration {
        let before = self.settled().await;
        act.await;
        self.settled().await.saturating_sub(before)
    }

    /// Returns the processor time used so far, as soon as it grows no more.
    async fn settled(&self) -> Duration {
        let mut last = self.weir.cpu();
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let now = self.weir.cpu();
            if now == last {
                return now;
            }
            last = now;
        }
        last
    }

    /// Sends an input of `bytes`, and of a tenth of them. The first costs at most [`MOST`] times what
    /// the second costs; [`Self::assert`] tells where it costs more.
    pub async fn compare(&mut self, what: &str, bytes: usize, mut act: impl AsyncFnMut(usize)) {
        let (mut small, mut large) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            small = small.min(self.measure(act(bytes / 10)).await);
            large = large.min(self.measure(act(bytes)).await);
            if large <= (small + FLOOR) * MOST {
                return;
            }
        }
        let told = format!(
            "{what}: {small:?} for {}, {large:?} for {bytes}",
            bytes / 10
        );
        self.failed.push(told);
    }

    /// Asserts that nothing cost more than it weighed.
    pub fn assert(self) {
        assert!(self.failed.is_empty(), "{}", self.failed.join("\n"));
    }
}

/// Joins items with commas until they have so many bytes.
pub fn many(bytes: usize, item: impl Fn(usize) -> String) -> String {
    let mut all = String::with_capacity(bytes + 64);
    for number in 0.. {
        let next = item(number);
        if all.len() + next.len() + 1 > bytes {
            return all;
        }
        if number > 0 {
            all.push(',');
        }
        all.push_str(&next);
    }
    all
}
