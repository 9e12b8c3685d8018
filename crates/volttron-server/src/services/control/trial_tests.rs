//! What lets a version stay and what does not, in a clock that stands still unless everybody waits.

use super::*;

const PID: State = State::Starting { pid: 7 };
const ON_BUS: State = State::Running { pid: 7, healthy_since: None };

fn view(state: State, heard: Option<Heard>, ends: u32) -> View {
    View { state, heard, ends }
}

/// Shows the views one after another, so many seconds apart, and gives the verdict.
async fn verdict(good: bool, views: &[(u64, View)]) -> Option<Verdict> {
    let (tx, rx) = watch::channel(view(State::Stopped, None, 2));
    let judged = tokio::spawn(observe(rx, 2, Terms { period_s: 20.0, good }));
    for (after_s, view) in views {
        tokio::time::sleep(Duration::from_secs(*after_s)).await;
        tx.send_replace(*view);
    }
    // Nothing more happens.
    tokio::time::timeout(Duration::from_mins(1), judged).await.ok().map(Result::unwrap)
}

fn passed(verdict: Option<&Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Passed(_)))
}

fn failed(verdict: Option<Verdict>, why: &str) -> bool {
    matches!(verdict, Some(Verdict::Failed(text)) if text.contains(why))
}

#[tokio::test(start_paused = true)]
async fn coming_up_is_enough_where_health_is_not_asked_for() {
    let bad = Some(Heard::Bad);
    assert!(passed(verdict(false, &[(0, view(PID, None, 2)), (1, view(ON_BUS, bad, 2))]).await.as_ref()));
    assert!(
        passed(verdict(false, &[(0, view(ON_BUS, None, 2))]).await.as_ref()),
        "without heartbeats, at the end"
    );
    let starting = Some(Heard::Starting);
    assert!(failed(verdict(false, &[(0, view(ON_BUS, starting, 2))]).await, "still STARTING"));
    assert!(failed(verdict(false, &[(0, view(PID, None, 2))]).await, "not seen on the bus"));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_the_end_of_the_trial_unless_there_is_time_to_try_again() {
    let later = |s| State::Backoff { until: Instant::now() + Duration::from_secs(s) };
    let up = [(0, view(PID, None, 2)), (1, view(later(3), None, 3))];
    assert!(failed(verdict(false, &up).await, "it ended"));
    assert!(failed(
        verdict(true, &[(0, view(PID, None, 2)), (1, view(later(300), None, 3))]).await,
        "it ended"
    ));
    let again = [up[0], up[1], (3, view(ON_BUS, Some(Heard::Good), 3))];
    assert!(passed(verdict(true, &again).await.as_ref()));
    assert!(failed(verdict(true, &[(0, view(State::Stopped, None, 3))]).await, "it ended"), "at once");
}

#[tokio::test(start_paused = true)]
async fn only_lasting_good_health_counts_where_it_is_asked_for() {
    let (good, bad) = (Some(Heard::Good), Some(Heard::Bad));
    assert!(failed(verdict(true, &[(0, view(ON_BUS, None, 2))]).await, "did not report"));
    let turns_bad = [(0, view(ON_BUS, good, 2)), (1, view(ON_BUS, bad, 2))];
    assert!(failed(verdict(true, &turns_bad).await, "not GOOD"));
    assert!(passed(verdict(true, &[turns_bad[0], turns_bad[1], (9, view(ON_BUS, good, 2))]).await.as_ref()));
}

#[tokio::test(start_paused = true)]
async fn an_operators_stop_interrupts_and_the_next_start_goes_on() {
    let stopping = State::Stopping {
        pid: 7,
        stage: crate::supervisor::machine::StopStage::Interrupt,
        deadline: Instant::now(),
    };
    let stopped = [(0, view(PID, None, 2)), (1, view(stopping, None, 2)), (1, view(State::Stopped, None, 3))];
    assert_eq!(verdict(false, &stopped).await, None, "no verdict while it is down");
    let again = [stopped[0], stopped[1], stopped[2], (99, view(ON_BUS, Some(Heard::Good), 3))];
    assert!(passed(verdict(false, &again).await.as_ref()));
}
