use super::*;

const WHY: &str = "no answer in time";

/// A circuit and a clock that only this test moves.
struct Bench {
    circuit: Circuit,
    now: Instant,
}

/// An event for the circuit, or a check of its state.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many milliseconds pass.
    Pass(u64),
    /// A call comes and ends at once.
    Call(CallOutcome),
    /// A call is refused, so many milliseconds before the next probe.
    Refused(u64),
    Listed,
    Unlisted,
    /// The last step turned it.
    Turned(Transition),
    /// The last step did not turn it.
    Quiet,
    Closed,
    Open,
    HalfOpen,
}

use CallOutcome::{Answered, Broke, Stalled, Unknown};
use Step::{Call, Closed, HalfOpen, Listed, Pass, Quiet, Refused, Turned, Unlisted};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Bench {
    fn new() -> Self {
        Self {
            circuit: Circuit::default(),
            now: Instant::now(),
        }
    }

    fn admit(&mut self) -> AdmittedCall {
        self.circuit.admit(self.now).expect("it is let through")
    }

    fn end(&mut self, call: AdmittedCall, ended: CallOutcome) -> Option<Transition> {
        self.circuit.record_call(call, ended, self.now)
    }

    fn run(&mut self, steps: &[Step]) {
        let mut turn = None;
        for (index, step) in steps.iter().enumerate() {
            let position = self.circuit.state(self.now);
            let at = format!("step {index}, {step:?}: {position:?}, {:?}", self.circuit);
            match *step {
                Pass(time) => self.now += ms(time),
                Call(ended) => {
                    let call = self.admit();
                    self.now += ms(1);
                    turn = self.end(call, ended);
                }
                Refused(again) => {
                    let refused = self.circuit.admit(self.now).err();
                    assert_eq!(
                        refused.map(|refusal| refusal.again),
                        Some(ms(again)),
                        "{at}"
                    );
                }
                Listed => turn = self.circuit.record_listing(),
                Unlisted => turn = self.circuit.record_listing_failure(WHY, self.now),
                Turned(expected) => assert_eq!(turn, Some(expected), "{at}"),
                Quiet => assert_eq!(turn, None, "{at}"),
                Closed => assert_eq!(position, CircuitState::Closed, "{at}"),
                Step::Open => assert!(matches!(position, CircuitState::Open { .. }), "{at}"),
                HalfOpen => assert!(matches!(position, CircuitState::HalfOpen { .. }), "{at}"),
            }
        }
    }
}

fn run(steps: &[Step]) {
    Bench::new().run(steps);
}

const OPENED: Step = Turned(Transition::Opened);
const CLOSED: Step = Turned(Transition::Closed);

/// The steps after as many failures as open a circuit.
fn opened(then: &[Step]) {
    let mut steps = vec![Call(Broke(WHY)); FAILURES as usize];
    steps.extend([OPENED, Step::Open, Refused(1000)]);
    steps.extend(then);
    run(&steps);
}

#[test]
fn failures_in_a_row_open_it_and_no_others() {
    let (broke, stalled) = (Call(Broke(WHY)), Call(Stalled(WHY)));
    run(&[broke, stalled, broke, stalled, Quiet, Closed, broke, OPENED]);
    run(&[
        broke,
        broke,
        broke,
        broke,
        Call(Answered),
        broke,
        broke,
        broke,
        broke,
        Quiet,
        Closed,
    ]);
    // A call that is no evidence neither counts nor interrupts the row.
    run(&[
        broke,
        broke,
        broke,
        broke,
        Call(Unknown),
        Call(Unknown),
        Quiet,
        Closed,
        broke,
        OPENED,
    ]);
}

#[test]
fn calls_that_break_off_together_are_one_failure_and_calls_that_stall_are_as_many() {
    for (ended, turns) in [(Broke(WHY), 0), (Stalled(WHY), 1)] {
        let mut bench = Bench::new();
        let calls: Vec<_> = (0..20).map(|_| bench.admit()).collect();
        bench.now += ms(100);
        let turned = calls.into_iter().filter_map(|call| bench.end(call, ended));
        assert_eq!(turned.count(), turns, "{ended:?}");
    }
}

#[test]
fn after_the_cool_down_one_call_decides() {
    opened(&[
        Pass(999),
        Refused(1),
        Pass(1),
        HalfOpen,
        Call(Answered),
        CLOSED,
        Closed,
    ]);
    let failed = [
        Pass(1000),
        Call(Broke(WHY)),
        Quiet,
        Step::Open,
        Refused(2000),
    ];
    opened(&failed);
    // An answer forgets all of it.
    opened(&[Pass(1000), Call(Answered), Call(Broke(WHY)), Quiet, Closed]);
}

#[test]
fn the_cool_down_doubles_up_to_half_a_minute() {
    let mut steps = Vec::new();
    for pause in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        steps.extend([Refused(pause), Pass(pause), HalfOpen, Call(Stalled(WHY))]);
    }
    opened(&steps);
}

#[test]
fn exactly_one_call_probes() {
    let mut bench = Bench::new();
    bench.run(&[Call(Broke(WHY)); FAILURES as usize]);
    bench.run(&[Pass(1000)]);
    let probe = bench.admit();
    bench.run(&[HalfOpen, Refused(1000), Pass(500), Refused(500)]);
    // A caller who leaves hands the turn on.
    assert_eq!(bench.end(probe, Unknown), None);
    let probe = bench.admit();
    bench.run(&[Refused(1000)]);
    // A probe that takes its time does not keep the next one waiting for ever.
    bench.run(&[Pass(1000)]);
    let second = bench.admit();
    bench.run(&[Refused(1000)]);
    assert_eq!(bench.end(second, Answered), Some(Transition::Closed));
    assert_eq!(bench.end(probe, Broke(WHY)), None);
    bench.run(&[Closed]);
}

#[test]
fn what_began_before_a_turn_does_not_count_after_it() {
    let mut bench = Bench::new();
    let slow: Vec<_> = (0..20).map(|_| bench.admit()).collect();
    bench.run(&[Call(Broke(WHY)); FAILURES as usize]);
    bench.run(&[Step::Open, Refused(1000)]);
    for call in &slow {
        assert_eq!(bench.end(*call, Stalled(WHY)), None);
    }
    bench.run(&[Refused(1000), Listed, CLOSED]);
    for call in &slow {
        assert_eq!(bench.end(*call, Stalled(WHY)), None);
    }
    bench.run(&[Closed]);
    // An answer is good news whenever it was asked for.
    bench.run(&[Pass(1), Call(Broke(WHY)), OPENED]);
    assert_eq!(bench.end(slow[0], Answered), Some(Transition::Closed));
}

#[test]
fn a_listing_vouches_once_until_a_call_is_answered_or_a_listing_fails() {
    let relapse = [
        Listed,
        CLOSED,
        Closed,
        Call(Broke(WHY)),
        OPENED,
        Refused(2000),
    ];
    opened(&relapse);
    let vouch_again = |between: &[Step]| {
        let mut steps = relapse.to_vec();
        steps.extend([Listed, Quiet, Step::Open]);
        steps.extend(between);
        opened(&steps);
    };
    vouch_again(&[Pass(2000), Call(Answered), CLOSED]);
    vouch_again(&[Unlisted, Quiet, Refused(2000), Listed, CLOSED]);
}

#[test]
fn listings_that_fail_count_like_calls_until_one_is_good() {
    run(&[
        Unlisted, Unlisted, Unlisted, Unlisted, Quiet, Unlisted, OPENED,
    ]);
    run(&[
        Unlisted,
        Unlisted,
        Call(Broke(WHY)),
        Unlisted,
        Call(Broke(WHY)),
        OPENED,
    ]);
    run(&[
        Unlisted, Unlisted, Unlisted, Unlisted, Listed, Quiet, Unlisted, Quiet, Closed,
    ]);
    // If only listings failed, a good listing closes the circuit for good.
    let opened_by_listings = [
        [Unlisted; FAILURES as usize].as_slice(),
        &[OPENED, Listed, CLOSED],
    ]
    .concat();
    run(&[&opened_by_listings[..], &[Call(Broke(WHY)), Quiet, Closed]].concat());
    run(&[
        &opened_by_listings[..],
        &opened_by_listings,
        &opened_by_listings,
        &[Closed],
    ]
    .concat());
    // Unless a probe found that calls fail too.
    let mut probed = vec![Unlisted; FAILURES as usize];
    probed.extend([
        OPENED,
        Pass(1000),
        Call(Broke(WHY)),
        Listed,
        CLOSED,
        Call(Broke(WHY)),
        OPENED,
    ]);
    run(&probed);
    // A good one does not make failed calls undone.
    let broke = Call(Broke(WHY));
    run(&[broke, broke, broke, broke, Listed, Quiet, broke, OPENED]);
    // While it is open they do not prolong it.
    opened(&[Pass(600), Unlisted, Refused(400)]);
}

#[test]
fn operators_read_why_and_since_when() {
    let mut bench = Bench::new();
    let begun = bench.now;
    bench.run(&[Call(Broke("first")); FAILURES as usize]);
    let (since, reason) = (bench.now, "first");
    assert!(since > begun);
    let again = ms(1000);
    let open = CircuitState::Open {
        reason,
        since,
        again,
    };
    assert_eq!(bench.circuit.state(bench.now), open);
    bench.run(&[Pass(1000), Call(Stalled("then"))]);
    let (reason, again) = ("then", ms(2000));
    let open = CircuitState::Open {
        reason,
        since,
        again,
    };
    assert_eq!(bench.circuit.state(bench.now), open);
}
