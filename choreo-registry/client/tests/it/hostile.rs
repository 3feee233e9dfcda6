//! Registries that want the credential sent elsewhere: made-up conversations in which every answer
//! may be a challenge, a redirect, a token, a document or none, and everything points anywhere.
//!
//! Each seed gives one script. These properties are checked for each script: no byte of the
//! credential and no token reaches an origin that may not have it, raw or encoded; each call ends
//! at its deadline, by a clock that only delays advance; and the bytes that a call sends and keeps
//! are bounded.

mod naive;
mod script;
mod stage;

use std::{sync::Arc, time::Duration};

use choreo_registry::{Digest, ImageReference};
use choreo_registry_client::{RegistryClient, transport::HttpTransport};
use tokio::runtime::Runtime;

use self::{
    script::Choices,
    stage::{Stage, credential, exposes},
};
use crate::cases;

/// The results of the calls of one script.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    completed: usize,
    logins: usize,
    requests: usize,
    most: usize,
}

/// A paused clock, which advances without real waiting.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Plays scripts one after the other, without the log that another test of this process keeps.
fn each<F: Future>(seeds: u32, play: impl Fn(u64) -> F, mut done: impl FnMut(F::Output)) {
    let quiet = tracing::subscriber::NoSubscriber::default();
    tracing::subscriber::with_default(quiet, || {
        let mut clock = runtime();
        for seed in 0..seeds {
            // The clock of a runtime has an end.
            if seed % 10_000 == 0 {
                clock = runtime();
            }
            done(clock.block_on(play(seed.into())));
        }
    });
}

async fn play(seed: u64) -> Tally {
    play_by(Choices::seeded(seed), seed).await
}

/// Up to three calls of one client.
async fn play_by(choices: Choices, seed: u64) -> Tally {
    let stage = Arc::new(Stage::new(choices));
    let transport: Arc<dyn HttpTransport> = Arc::<Stage>::clone(&stage);
    let home = stage.home;
    let timeout = Duration::from_secs([30, 30, 2][stage.choose(3)]);
    let client = RegistryClient::new(
        home.registry.parse().unwrap(),
        Some(credential()),
        transport,
    )
    .with_timeout(timeout);
    let mut tally = Tally::default();
    for _ in 0..=stage.choose(3) {
        let (before, started) = (stage.requests(), tokio::time::Instant::now());
        let (shown, gets) = call(&client, &stage).await;
        let took = started.elapsed();
        let sent = stage.requests() - before;
        assert!(
            took <= timeout + TICK,
            "seed {seed}: {took:?} of {timeout:?}"
        );
        assert!(sent <= most_requests(gets), "seed {seed}: {sent} requests");
        assert!(!exposes(&shown), "seed {seed}: {shown}");
        assert!(shown.len() < SHOWN, "seed {seed}: {} bytes", shown.len());
        tally.calls += 1;
        tally.completed += usize::from(shown.starts_with("Ok"));
        tally.most = tally.most.max(sent);
    }
    let faults = stage.faults();
    assert!(faults.is_empty(), "seed {seed}: {faults:?}");
    if seed.is_multiple_of(64) {
        let kept = format!("{client:?}");
        assert!(!exposes(&kept), "seed {seed}: {kept}");
        assert!(kept.len() < KEPT, "seed {seed}: {} bytes", kept.len());
    }
    tally.logins = stage.logins();
    tally.requests = stage.requests();
    tally
}

/// Makes one call and returns its text and the most things that it may get.
async fn call(client: &RegistryClient, stage: &Stage) -> (String, usize) {
    let form = [":1", ":1", "", PINNED][stage.choose(4)];
    let image = format!("{}/team/app{form}", stage.home.domain);
    let image: ImageReference = image.parse().unwrap();
    match stage.choose(7) {
        0 => (format!("{:?}", client.verify(None).await), 1),
        1 => (format!("{:?}", client.verify(Some(&image)).await), 1),
        2 | 3 => (format!("{:?}", client.resolve(&image).await), 2),
        4 => (format!("{:?}", client.inspect(&image).await), 3),
        5 => {
            let list = client.tags(&image).await;
            let tags = list.as_ref().map_or(0, |list| list.tags().len());
            assert!(tags <= 100_000, "{tags} tags");
            let shown = list.map(|list| list.is_complete());
            (format!("{shown:?}"), 100)
        }
        _ => {
            let digest = Digest::sha256_of(b"deployed");
            (format!("{:?}", client.compare(&image, &digest).await), 2)
        }
    }
}

/// The most requests for one thing: the request for the login, a token request of each kind and
/// the request itself, and once more the latter two. Each of these six is redirected five times.
/// The budget for retries is ten, plus one for every ten answers.
fn most_requests(gets: usize) -> usize {
    let once = 6 * (1 + 3 + 3) * gets;
    once + once / 10 + 10
}

const PINNED: &str = "@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
/// The timer counts in milliseconds.
const TICK: Duration = Duration::from_millis(2);
/// The most bytes that the outcome of a call has, shown.
const SHOWN: usize = 4 * 1024;
/// The most bytes that a client has, shown: a few challenges and tokens' keys of them.
const KEPT: usize = 256 * 1024;

#[test]
fn no_script_gets_a_secret_sent_elsewhere_or_a_call_to_hang() {
    let cases = cases(4_000);
    let mut all = Tally::default();
    each(cases, play, |one| {
        all.calls += one.calls;
        all.completed += one.completed;
        all.logins += one.logins;
        all.requests += one.requests;
        all.most = all.most.max(one.most);
    });
    let cases = usize::try_from(cases).unwrap();
    assert!(
        all.logins > cases / 2 && all.completed > cases / 20 && all.most > 100,
        "the scripts do reach logins, ends and long lists: {all:?}"
    );
}

/// Scripts that always choose the same: each answer repeated without end.
#[test]
fn a_registry_that_repeats_itself_comes_to_an_end() {
    let repeated = |byte: u64| {
        let byte = u8::try_from(byte).unwrap();
        play_by(Choices::of(&[byte; 40_000]), byte.into())
    };
    let mut calls = 0;
    each(256, repeated, |one| calls += one.calls);
    assert!(calls >= 256, "{calls}");
}

/// The control: over the same scripts a client that believes what it is told gives its credential
/// away, and goes inside.
#[test]
fn the_same_scripts_rob_a_naive_client() {
    let cases = cases(4_000).min(100_000);
    let (mut robbed, mut tokens, mut inside) = (0, 0, 0);
    let naive = |seed| async move {
        let stage = Stage::new(Choices::seeded(seed));
        naive::pull(&stage).await;
        stage.faults()
    };
    each(cases, naive, |faults| {
        let has = |what: &str| u32::from(faults.iter().any(|fault| fault.starts_with(what)));
        robbed += has("the credential: ");
        tokens += has("a token: ");
        inside += has("an address inside: ");
    });
    assert!(
        robbed > cases / 10 && tokens > cases / 200 && inside > cases / 50,
        "{robbed} lost the credential, {tokens} a token, {inside} went inside, of {cases}"
    );
}
