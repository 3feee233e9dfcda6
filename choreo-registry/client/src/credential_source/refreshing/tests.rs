use std::{
    collections::VecDeque,
    sync::atomic::{AtomicI64, AtomicUsize, Ordering},
};

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;

/// A clock in seconds that the test turns.
#[derive(Clone, Debug, Default)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn at(&self, second: i64) {
        self.0.store(second, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::new(move || second(hands.load(Ordering::SeqCst)))
    }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[derive(Clone, Debug)]
enum Answer {
    Until(i64),
    Endless,
    Fails(SourceErrorKind),
    AsksToWait(u64),
    Panics,
    Hangs,
}

/// Gives what it was told, when it is let; counts the calls, and how many ran at once.
#[derive(Debug)]
struct Fake {
    registry: RegistryHost,
    answers: Mutex<VecDeque<Answer>>,
    gate: Semaphore,
    calls: AtomicUsize,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl Fake {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self {
            registry: "registry.example.com".parse().unwrap(),
            answers: Mutex::new(answers.into_iter().collect()),
            gate: Semaphore::new(1000),
            calls: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
        })
    }

    fn shut(self: Arc<Self>) -> Arc<Self> {
        self.gate.forget_permits(1000);
        self
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CredentialSource for Fake {
    fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_inside.fetch_max(inside, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.inside.fetch_sub(1, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().pop_front();
        let credential = Credential::new(format!("user{number}"), "canary-password").unwrap();
        match answer.unwrap_or(Answer::Endless) {
            Answer::Until(end) => Ok(Arc::new(credential.with_expiry(second(end)))),
            Answer::Endless => Ok(Arc::new(credential)),
            Answer::Fails(kind) => Err(SourceError::new(kind, "the fake")),
            Answer::AsksToWait(wait) => {
                let error = SourceError::new(SourceErrorKind::RateLimited, "the fake");
                Err(error.with_retry_after(Duration::from_secs(wait)))
            }
            Answer::Panics => panic!("the fake panics, as told"),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

fn kept(fake: &Arc<Fake>, hands: &Hands) -> Arc<Refreshing<Arc<Fake>>> {
    Arc::new(Refreshing::new(Arc::clone(fake)).with_clock(hands.clock()))
}

/// The number of the credential that a call gets, or the kind of its error.
async fn ask(source: &Refreshing<Arc<Fake>>) -> Result<String, SourceErrorKind> {
    let credential = source.credential().await.map_err(|error| error.kind())?;
    Ok(credential.username().to_owned())
}

/// Lets tasks that were started run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn user(number: usize) -> Result<String, SourceErrorKind> {
    Ok(format!("user{number}"))
}

#[tokio::test]
async fn a_good_credential_is_kept_and_renewed_beside_the_calls() {
    let (hands, fake) = (
        Hands::default(),
        Fake::new([Answer::Until(3600), Answer::Until(7200)]),
    );
    let source = kept(&fake, &hands);
    assert_eq!(source.registry().as_str(), "registry.example.com");
    for at in [0, 1000, 3600 - 330 - 1] {
        hands.at(at);
        assert_eq!(ask(&source).await, user(1), "{at}");
        settle().await;
        assert_eq!(fake.calls(), 1, "{at}");
    }
    // 5 minutes before the end a renewal is due, whatever the jitter.
    hands.at(3600 - 300);
    assert_eq!(ask(&source).await, user(1), "the old one, at once");
    settle().await;
    assert_eq!(ask(&source).await, user(2));
    assert_eq!(fake.calls(), 2);
}

#[tokio::test]
async fn the_margin_is_the_callers_and_at_most_half_of_the_life() {
    let (hands, fake) = (
        Hands::default(),
        Fake::new([Answer::Until(3600), Answer::Until(3640)]),
    );
    let source = Refreshing::new(Arc::clone(&fake))
        .with_clock(hands.clock())
        .with_margin(Duration::from_secs(60));
    assert_eq!(ask(&source).await, user(1));
    hands.at(3600 - 67);
    assert_eq!(ask(&source).await, user(1));
    settle().await;
    assert_eq!(fake.calls(), 1);
    hands.at(3600 - 60);
    assert_eq!(ask(&source).await, user(1));
    settle().await;
    // The second credential is valid for 100 seconds from now: it is renewed after 50, not at
    // once.
    hands.at(3540 + 33);
    assert_eq!(ask(&source).await, user(2));
    settle().await;
    assert_eq!(fake.calls(), 2);
    hands.at(3540 + 50);
    assert_eq!(ask(&source).await, user(2));
    settle().await;
    assert_eq!(fake.calls(), 3);
}

#[tokio::test]
async fn many_callers_wait_for_one_renewal_and_may_leave() {
    let (hands, fake) = (Hands::default(), Fake::new([Answer::Until(3600)]).shut());
    let source = kept(&fake, &hands);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { ask(&source).await })
        })
        .collect();
    settle().await;
    // The first caller is the one that started it.
    for caller in callers.iter().step_by(2) {
        caller.abort();
    }
    settle().await;
    fake.gate.add_permits(1);
    for caller in callers.into_iter().skip(1).step_by(2) {
        assert_eq!(caller.await.unwrap(), user(1));
    }
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn a_failure_leaves_the_old_one_and_is_tried_again_later_and_later() {
    let failing = Answer::Fails(SourceErrorKind::Unavailable);
    let answers = [
        Answer::Until(3600),
        failing.clone(),
        failing.clone(),
        failing,
    ];
    let (hands, fake) = (Hands::default(), Fake::new(answers));
    let source = kept(&fake, &hands);
    assert_eq!(ask(&source).await, user(1));
    let mut now = 3300;
    // Each attempt, and the longest rest after it in seconds; the shortest is half of it.
    for (attempt, longest) in [(2, 1), (3, 2), (4, 4)] {
        for at in [now, now + (longest / 2 - 1).max(0)] {
            hands.at(at);
            assert_eq!(ask(&source).await, user(1));
            settle().await;
            assert_eq!(fake.calls(), attempt, "at {at}");
        }
        now += longest;
    }
    hands.at(now);
    assert_eq!(ask(&source).await, user(1));
    settle().await;
    assert_eq!(ask(&source).await, user(5));
}

#[test]
fn rests_grow_to_a_minute_and_begin_anew_after_a_success() {
    let plan = Refreshing::new(Fake::new([])).plan;
    let mut state = State::default();
    let error = SourceError::new(SourceErrorKind::Unavailable, "the fake");
    let mut rest = |fails: bool| {
        if !fails {
            let credential = Arc::new(Credential::new("a", "b").unwrap());
            state.keep(&credential, &plan, second(0));
            assert!(state.resting(second(0)).is_none());
        }
        state.fail(&error, second(0));
        let until = state.failed.as_ref().unwrap().1;
        until.duration_since(second(0)).as_secs_f64()
    };
    for longest in [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60] {
        let found = rest(true);
        let longest = f64::from(longest);
        assert!(
            (longest / 2.0..=longest).contains(&found),
            "{found}, at most {longest}"
        );
    }
    assert!(rest(false) <= 1.0);
}

#[tokio::test]
async fn without_a_good_credential_the_error_is_given_until_the_rest_is_over() {
    let answers = [
        Answer::Fails(SourceErrorKind::Refused),
        Answer::AsksToWait(100),
        Answer::AsksToWait(1_000_000),
        Answer::Until(9000),
    ];
    let (hands, fake) = (Hands::default(), Fake::new(answers));
    let source = kept(&fake, &hands);
    for _ in 0..3 {
        assert_eq!(ask(&source).await, Err(SourceErrorKind::Refused));
        assert_eq!(fake.calls(), 1);
    }
    hands.at(1);
    for at in [1, 50, 100] {
        hands.at(at);
        assert_eq!(ask(&source).await, Err(SourceErrorKind::RateLimited));
        assert_eq!(fake.calls(), 2, "{at}");
    }
    hands.at(101);
    assert_eq!(ask(&source).await, Err(SourceErrorKind::RateLimited));
    assert_eq!(fake.calls(), 3);
    // Nobody is kept away for longer than ten minutes.
    hands.at(700);
    assert_eq!(ask(&source).await, Err(SourceErrorKind::RateLimited));
    assert_eq!(fake.calls(), 3);
    hands.at(701);
    assert_eq!(ask(&source).await, user(4));
}

#[tokio::test]
async fn a_clock_set_back_does_not_keep_callers_away() {
    let (hands, fake) = (
        Hands::default(),
        Fake::new([Answer::Fails(SourceErrorKind::Timeout)]),
    );
    hands.at(1_000_000);
    let source = kept(&fake, &hands);
    assert_eq!(ask(&source).await, Err(SourceErrorKind::Timeout));
    hands.at(0);
    assert_eq!(ask(&source).await, user(2));
}

#[tokio::test]
async fn what_ends_within_ten_seconds_is_not_handed_out() {
    let answers = [Answer::Until(10), Answer::Until(1011), Answer::Until(2000)];
    let (hands, fake) = (Hands::default(), Fake::new(answers));
    let source = kept(&fake, &hands);
    let error = source.credential().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the credential of this source has ended; enter a new one, and check the machine's clock"
    );
    hands.at(1000);
    assert_eq!(ask(&source).await, user(2), "11 seconds are enough");
    hands.at(1001);
    assert_eq!(ask(&source).await, user(3), "and 10 are not");
}

#[tokio::test(start_paused = true)]
async fn a_panic_or_a_hang_of_the_source_does_not_stay() {
    let (hands, fake) = (Hands::default(), Fake::new([Answer::Panics, Answer::Hangs]));
    let source = kept(&fake, &hands);
    let error = source.credential().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the renewal of a credential has a failure of its own: it ended without an outcome; try \
         again later"
    );
    let started = tokio::time::Instant::now();
    assert_eq!(ask(&source).await, Err(SourceErrorKind::Timeout));
    assert_eq!(started.elapsed().as_secs(), 60);
    hands.at(60);
    assert_eq!(ask(&source).await, user(3));
}

#[test]
fn a_renewal_that_ended_with_its_runtime_is_started_again() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (hands, fake) = (Hands::default(), Fake::new([]).shut());
    let source = kept(&fake, &hands);
    let first = runtime();
    first.block_on(async {
        let waiting = Arc::clone(&source);
        tokio::spawn(async move { ask(&waiting).await });
        settle().await;
    });
    drop(first);
    fake.gate.add_permits(1);
    assert_eq!(runtime().block_on(ask(&source)), user(2));
}

#[tokio::test]
async fn only_the_refused_credential_is_forgotten() {
    let (hands, fake) = (Hands::default(), Fake::new([]));
    let source = kept(&fake, &hands);
    let first = source.credential().await.unwrap();
    source.forget(&first);
    let second = source.credential().await.unwrap();
    assert_eq!(second.username(), "user2");
    source.forget(&first);
    assert!(Arc::ptr_eq(&second, &source.credential().await.unwrap()));
}

#[tokio::test]
async fn debug_shows_no_password() {
    let (hands, fake) = (Hands::default(), Fake::new([Answer::Until(3600)]));
    let source = kept(&fake, &hands);
    ask(&source).await.unwrap();
    let shown = format!("{source:?}");
    assert!(shown.contains("1970-01-01T01:00:00Z"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => (0..200_i64).prop_map(Answer::Until),
        1 => Just(Answer::Endless),
        2 => Just(Answer::Fails(SourceErrorKind::Unreachable)),
        1 => (0..200_u64).prop_map(Answer::AsksToWait),
    ]
}

/// The next event: time passes, callers arrive, the source answers, or a caller leaves.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    Calls(usize),
    Answers,
    Leaves(usize),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..60_i64).prop_map(Event::Passes),
        (1..6_usize).prop_map(Event::Calls),
        Just(Event::Answers),
        any::<usize>().prop_map(Event::Leaves),
    ]
}

/// Runs events on one thread and says how often the source ran at once, and each answer with the
/// time at which it was given.
async fn play(script: Vec<Answer>, events: Vec<Event>) -> (usize, Vec<(i64, Outcome)>) {
    // Life spans are counted from the start of the script, so that most answers matter.
    let (hands, fake) = (Hands::default(), Fake::new(script).shut());
    let source = kept(&fake, &hands);
    let given = Arc::new(Mutex::new(Vec::new()));
    let (mut now, mut callers) = (0, Vec::new());
    for event in events {
        match event {
            Event::Passes(seconds) => {
                now += seconds;
                hands.at(now);
            }
            Event::Calls(count) => callers.extend((0..count).map(|_| {
                let (source, given, hands) =
                    (Arc::clone(&source), Arc::clone(&given), hands.clone());
                tokio::spawn(async move {
                    let outcome = source.credential().await;
                    let at = hands.0.load(Ordering::SeqCst);
                    given.lock().unwrap().push((at, outcome));
                })
            })),
            Event::Answers => fake.gate.add_permits(1),
            Event::Leaves(index) if !callers.is_empty() => {
                let index = index % callers.len();
                callers.swap_remove(index).abort();
            }
            Event::Leaves(_) => {}
        }
        settle().await;
    }
    // Nobody waits for ever: once the source answers, every caller has an outcome.
    fake.gate.add_permits(1000);
    for caller in callers {
        caller.await.unwrap();
    }
    let given = given.lock().unwrap().clone();
    (fake.most_inside.load(Ordering::SeqCst), given)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn one_renewal_at_a_time_and_never_a_credential_that_ended(
        script in prop::collection::vec(answers(), 0..12),
        events in prop::collection::vec(events(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (most, given) = runtime.block_on(play(script, events));
        prop_assert!(most <= 1, "{most} at once");
        for (at, outcome) in given {
            if let Ok(credential) = outcome {
                let end = credential.expires_at();
                prop_assert!(end.is_none_or(|end| second(at + 10) < end), "{end:?} at {at}");
            }
        }
    }
}

/// A fortieth of the usual number: each case is a conversation of up to 60 events.
fn cases() -> u32 {
    let cases = std::env::var("CHOREO_TEST_CASES")
        .ok()
        .and_then(|cases| cases.parse::<u32>().ok());
    cases.unwrap_or(20_000) / 40
}
