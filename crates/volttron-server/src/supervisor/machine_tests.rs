//! Tables and properties of the process state machine.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Drives one machine along a virtual clock.
struct Drive {
    machine: Machine,
    now: Instant,
    next_pid: u32,
}

impl Drive {
    fn new(rules: Rules) -> Self {
        Self { machine: Machine::new(rules), now: Instant::now(), next_pid: 100 }
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.machine.step(self.now, input)
    }

    /// Start and creation of the process in one go; gives the pid.
    fn up(&mut self) -> u32 {
        assert_eq!(self.give(Input::Start), [Effect::Launch]);
        self.launched()
    }

    fn launched(&mut self) -> u32 {
        self.next_pid += 1;
        assert_eq!(self.give(Input::Launched(self.next_pid)), []);
        self.next_pid
    }

    /// Lets the clock run to the machine's own deadline.
    fn run_to_deadline(&mut self) -> Vec<Effect> {
        self.now = self.machine.deadline().expect("something is scheduled");
        self.give(Input::Tick)
    }
}

#[test]
fn status_pair_of_every_stage() {
    let mut d = Drive::new(Rules::default());
    assert_eq!((d.machine.status(), d.machine.state().word()), ((None, None), "installed"));
    let pid = d.up();
    assert_eq!((d.machine.status(), d.machine.state().word()), ((Some(pid), None), "starting"));
    d.give(Input::BusSeen);
    assert_eq!(d.machine.state().word(), "running");
    assert_eq!(d.give(Input::Stop), [Effect::Signal(pid, Signal::Interrupt)]);
    assert_eq!((d.machine.status(), d.machine.state().word()), ((Some(pid), None), "stopping"));
    assert_eq!(d.give(Input::Exited(0)), [Effect::Ended { code: 0, by_operator: true }]);
    assert_eq!((d.machine.status(), d.machine.state().word()), ((Some(pid), Some(0)), "stopped"));
    d.give(Input::Clear);
    assert_eq!((d.machine.status(), d.machine.state().word()), ((None, None), "installed"));
    assert_eq!(d.machine.last_exit(), Some(0));
}

#[test]
fn start_is_refused_while_a_process_is_there() {
    let mut d = Drive::new(Rules::default());
    let pid = d.up();
    assert_eq!(d.give(Input::Start), [Effect::AlreadyRunning]);
    d.give(Input::Stop);
    assert_eq!(d.give(Input::Start), [Effect::AlreadyRunning]);
    assert_eq!(d.machine.status(), (Some(pid), None));
}

#[test]
fn a_stop_escalates_after_its_graces_and_reports_what_does_not_end() {
    let mut d = Drive::new(Rules::default());
    let begin = d.now;
    let pid = d.up();
    assert_eq!(d.give(Input::Stop), [Effect::Signal(pid, Signal::Interrupt)]);
    assert_eq!(d.give(Input::Stop), [], "a second stop changes nothing");
    d.now += 59 * SECOND;
    assert_eq!(d.give(Input::Tick), []);
    assert_eq!(d.run_to_deadline(), [Effect::Signal(pid, Signal::Terminate)]);
    assert_eq!(d.now - begin, 60 * SECOND);
    assert_eq!(d.run_to_deadline(), [Effect::Signal(pid, Signal::Kill)]);
    assert_eq!(d.now - begin, 90 * SECOND);
    assert_eq!(d.run_to_deadline(), [Effect::Unresponsive]);
    assert_eq!(d.now - begin, 120 * SECOND);
    assert_eq!(d.machine.deadline(), None);
    assert_eq!(d.give(Input::Exited(-9)), [Effect::Ended { code: -9, by_operator: true }]);
    assert_eq!(d.machine.state(), &State::Stopped, "an operator's stop is final, whatever the code");
}

#[test]
fn stop_while_the_process_is_being_created_takes_effect_once_it_exists() {
    let mut d = Drive::new(Rules::default());
    d.give(Input::Start);
    assert_eq!(d.give(Input::Stop), []);
    assert_eq!(d.give(Input::Launched(7)), [Effect::Signal(7, Signal::Interrupt)]);
}

#[test]
fn restarts_follow_the_delays_then_the_agent_is_given_up() {
    let mut d = Drive::new(Rules::default());
    d.up();
    for (attempt, seconds) in [(1, 3), (2, 300), (3, 600), (4, 900), (5, 1200)] {
        let delay = seconds * SECOND;
        assert_eq!(
            d.give(Input::Exited(1)),
            [Effect::Ended { code: 1, by_operator: false }, Effect::RestartScheduled { attempt, delay }]
        );
        assert_eq!(d.machine.state().word(), "backoff");
        assert_eq!(d.machine.status().1, Some(1), "the exit code shows until the restart");
        assert_eq!(d.run_to_deadline(), [Effect::Launch]);
        d.launched();
        assert_eq!(d.machine.restarts(), attempt);
    }
    assert_eq!(d.give(Input::Exited(1)), [Effect::Ended { code: 1, by_operator: false }, Effect::GivenUp]);
    assert_eq!((d.machine.state(), d.machine.deadline()), (&State::Failed, None));
    assert_eq!(d.give(Input::Start), [Effect::Launch], "start gives a fresh set of attempts");
    d.launched();
    assert!(matches!(d.give(Input::Exited(1))[1], Effect::RestartScheduled { attempt: 1, .. }));
}

#[test]
fn a_given_up_agent_that_is_up_again_has_recovered_once() {
    let mut d = Drive::new(Rules::default());
    d.up();
    assert_eq!(
        d.give(Input::Exited(105)),
        [Effect::Ended { code: 105, by_operator: false }, Effect::GivenUp]
    );
    assert_eq!(d.machine.state(), &State::Failed);
    d.up();
    assert_eq!(d.give(Input::BusSeen), [Effect::Recovered]);
    d.give(Input::BusGone);
    assert_eq!(d.give(Input::BusSeen), []);
}

#[test]
fn an_adopted_process_is_like_any_other_except_that_nobody_knows_its_exit_code() {
    let mut d = Drive::new(Rules::default());
    assert_eq!(d.give(Input::Adopted(7)), []);
    assert_eq!((d.machine.status(), d.machine.adopted()), ((Some(7), None), true));
    assert_eq!(d.give(Input::Adopted(8)), [Effect::AlreadyRunning]);
    assert_eq!(d.give(Input::Start), [Effect::AlreadyRunning]);
    d.give(Input::BusSeen);
    assert_eq!(d.give(Input::Stop), [Effect::Signal(7, Signal::Interrupt)]);
    assert_eq!(d.give(Input::Gone), [Effect::Ended { code: 0, by_operator: true }]);
    assert_eq!((d.machine.status(), d.machine.last_exit()), ((Some(7), Some(0)), None));
    assert!(d.machine.exit_unknown());

    d.give(Input::Adopted(9));
    let effects = d.give(Input::Gone);
    assert!(matches!(effects[1], Effect::RestartScheduled { .. }), "a failure is assumed");
    assert_eq!(d.run_to_deadline(), [Effect::Launch]);
    d.launched();
    assert!(!d.machine.adopted());
    d.give(Input::Exited(3));
    assert_eq!((d.machine.exit_unknown(), d.machine.last_exit()), (false, Some(3)));
}

#[test]
fn which_exits_lead_to_a_restart() {
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, code, again) in [
        (OnFailure, 0, false),
        (OnFailure, 1, true),
        (OnFailure, -9, true),
        (OnFailure, 105, false),
        (Always, 105, false),
        (Always, 0, true),
        (Always, -15, true),
        (Never, 1, false),
        (Never, 0, false),
    ] {
        let mut d = Drive::new(Rules { policy, ..Rules::default() });
        d.up();
        d.give(Input::Exited(code));
        assert_eq!(matches!(d.machine.state(), State::Backoff { .. }), again, "{policy:?} {code}");
    }
}

#[test]
fn long_health_gives_the_attempts_back_but_short_or_broken_health_does_not() {
    let attempt_after = |steps: &dyn Fn(&mut Drive)| {
        let mut d = Drive::new(Rules::default());
        d.up();
        d.give(Input::Exited(1));
        d.run_to_deadline();
        d.launched();
        steps(&mut d);
        match d.give(Input::Exited(1))[1] {
            Effect::RestartScheduled { attempt, .. } => attempt,
            other => panic!("{other:?}"),
        }
    };
    let healthy = |d: &mut Drive, seconds: u32| {
        d.give(Input::BusSeen);
        d.now += seconds * SECOND;
    };
    assert_eq!(attempt_after(&|d| healthy(d, 600)), 1);
    assert_eq!(attempt_after(&|d| healthy(d, 599)), 2);
    assert_eq!(attempt_after(&|d| d.now += 6000 * SECOND), 2, "never seen on the bus");
    let bad = |d: &mut Drive| {
        healthy(d, 500);
        d.give(Input::Health(Heard::Bad));
        d.give(Input::Health(Heard::Good));
        d.now += 500 * SECOND;
    };
    assert_eq!(attempt_after(&bad), 2);
    let lost = |d: &mut Drive| {
        healthy(d, 500);
        d.give(Input::BusGone);
        d.now += 500 * SECOND;
    };
    assert_eq!(attempt_after(&lost), 2);
}

#[test]
fn stop_cancels_a_pending_restart() {
    let mut d = Drive::new(Rules::default());
    d.up();
    d.give(Input::Exited(1));
    assert_eq!(d.give(Input::Stop), []);
    assert_eq!((d.machine.state(), d.machine.deadline()), (&State::Stopped, None));
}

#[test]
fn a_failed_launch_is_the_operators_answer_but_counts_in_a_series_of_restarts() {
    let mut d = Drive::new(Rules::default());
    d.give(Input::Start);
    assert_eq!(d.give(Input::LaunchFailed), []);
    assert_eq!(d.machine.state(), &State::Stopped);
    d.up();
    d.give(Input::Exited(1));
    d.run_to_deadline();
    assert!(matches!(d.give(Input::LaunchFailed)[..], [Effect::RestartScheduled { attempt: 2, .. }]));
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => Just(Input::Start),
        2 => Just(Input::Stop),
        1 => Just(Input::Kill),
        1 => Just(Input::Clear),
        3 => (1u32..50).prop_map(Input::Launched),
        1 => Just(Input::LaunchFailed),
        4 => prop_oneof![Just(0), Just(1), Just(-9), Just(105)].prop_map(Input::Exited),
        3 => Just(Input::BusSeen),
        1 => Just(Input::BusGone),
        1 => prop_oneof![Just(Heard::Starting), Just(Heard::Good), Just(Heard::Bad)].prop_map(Input::Health),
        6 => Just(Input::Tick),
    ]
}

proptest! {
    /// Whatever comes in whatever order: a process is only asked for when there is none, signals go only to the
    /// living one, an operator's stop is never followed by a launch without a start, and restarts in a row are bounded.
    #[test]
    fn invariants_hold_for_any_sequence(steps in proptest::collection::vec((any_input(), 0u64..700), 1..200)) {
        let mut d = Drive::new(Rules::default());
        let mut wanted = false;
        for (input, seconds) in steps {
            d.now += Duration::from_secs(seconds);
            let before = *d.machine.state();
            let effects = d.give(input);
            match input {
                Input::Start if !effects.contains(&Effect::AlreadyRunning) => {
                    wanted = true;
                }
                Input::Stop | Input::Kill => wanted = false,
                _ => {}
            }
            for effect in &effects {
                match *effect {
                    Effect::Launch => {
                        prop_assert!(!before.is_alive());
                        prop_assert!(wanted, "launch after an operator's stop");
                    }
                    Effect::Signal(pid, _) => prop_assert_eq!(d.machine.status(), (Some(pid), None)),
                    Effect::Ended { by_operator, .. } => {
                        prop_assert_eq!(by_operator, matches!(before, State::Stopping { .. }));
                    }
                    Effect::RestartScheduled { attempt, delay } => {
                        prop_assert!(wanted && attempt <= 5 && delay >= Duration::from_secs(3));
                    }
                    _ => {}
                }
            }
            prop_assert!(d.machine.attempts <= 5);
            prop_assert_eq!(d.machine.status().1.is_some() || d.machine.status().0.is_none(),
                !d.machine.state().is_alive() || matches!(d.machine.state(), State::Launching { .. }));
        }
    }
}
