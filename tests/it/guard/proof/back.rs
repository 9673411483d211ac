//! Messages of upstreams to callers that are not cleared, in streams that are cut anywhere, and the
//! answers of callers.

use futures::future::join_all;

use super::lane::{Lane, upstreams};
use super::random::Random;
use super::values::OWN;
use super::{assert_clean, messages, watched};
use crate::support::weir::Weir;

const ACTIONS: &str = "{ EMAIL: tokenise, STAFF: tokenise, NAME: tokenise, PHONE: mask, INTERNATIONAL_BANK_ACCOUNT_NUMBER: mask, CREDIT_DEBIT_CARD_NUMBER: mask }";

/// The number of pairs of upstreams, whose messages go side by side.
const LANES: usize = 8;

#[tokio::test]
async fn no_caller_who_is_not_cleared_sees_what_upstreams_say_and_no_upstream_what_it_answers() {
    let ups = join_all((0..LANES).map(upstreams)).await;
    let yaml: String = ups.iter().flatten().map(|up| up.yaml()).collect();
    let guard = format!(
        "guard: {{ redact: {{ towards_upstream: {ACTIONS}, towards_caller: {ACTIONS}, {OWN}, fields: {{ \"$.customer.name\": NAME }} }} }}"
    );
    let weir = watched(Weir::with(&yaml).top(&guard)).start().await;
    let lanes = join_all(ups.into_iter().map(|ups| Lane::open(ups, &weir))).await;
    let run = async |(at, lane): (usize, &Lane)| {
        for number in (at..messages()).step_by(LANES) {
            let random = &mut Random::new(0x2_0000_0000 + number as u64);
            lane.exchange(random, number).await;
        }
    };
    join_all(lanes.iter().enumerate().map(run)).await;
    for era in [0, 1] {
        let calls = lanes.iter().map(|lane| lane.ups[era].count("tools/call"));
        assert!(calls.sum::<usize>() > messages() / 8);
    }
    lanes.iter().for_each(Lane::assert_clean);
    assert_clean(weir).await;
}
