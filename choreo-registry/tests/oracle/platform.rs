//! Compares platforms with containerd/platforms.

use choreo_registry::image::Platform;
use serde_json::{Value, json};

use crate::go::{Oracle, cases};

const BATCH: usize = 50_000;

#[test]
fn every_node_runs_what_containerd_lets_it_run() {
    let Some(oracle) = Oracle::or_skip("platform") else {
        return;
    };
    let mut generator = Generator(7);
    let (mut left, mut served) = (cases(), 0);
    let total = left;
    while left > 0 {
        let batch: Vec<_> = (0..left.min(BATCH)).map(|_| generator.pair()).collect();
        let questions = batch.iter().map(|[image, node]| question(image, node));
        for ([image, node], answer) in batch.iter().zip(oracle.ask(questions.collect())) {
            compare(image, node, &serde_json::from_str(&answer).unwrap());
            served += usize::from(image.serves(node));
        }
        left -= batch.len();
    }
    // If all or none were refused, the test would prove little.
    let share = total / 20..total / 2;
    assert!(share.contains(&served), "{served} of {total} served");
}

/// The control: the comparison above finds a difference.
#[test]
#[should_panic(expected = "linux/amd64/v2 on linux/amd64")]
fn another_answer_is_found() {
    let platform = |text: &str| text.parse::<Platform>().unwrap();
    let normalized = json!({"os": "linux", "architecture": "amd64", "variant": "v2"});
    let answer = json!({"normalized": normalized, "serves": true});
    compare(
        &platform("linux/amd64/v2"),
        &platform("linux/amd64"),
        &answer,
    );
}

fn question(image: &Platform, node: &Platform) -> String {
    let document = |platform: &Platform| {
        json!({
            "os": platform.os(),
            "architecture": platform.architecture(),
            "variant": platform.variant().unwrap_or_default(),
        })
    };
    json!([document(image), document(node)]).to_string()
}

fn compare(image: &Platform, node: &Platform, answer: &Value) {
    let field = |name: &str| answer["normalized"][name].as_str().unwrap_or_default();
    let normalized = image.normalized();
    assert_eq!(normalized.os(), field("os"), "{image}");
    assert_eq!(normalized.architecture(), field("architecture"), "{image}");
    let variant = normalized.variant().unwrap_or_default();
    assert_eq!(variant, field("variant"), "{image}");
    assert_eq!(
        image.serves(node),
        answer["serves"] == true,
        "{image} on {node}"
    );
}

/// A generator of pseudo-random platforms (SplitMix64), which are the same in each run.
struct Generator(u64);

impl Generator {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = self.number() % words.len() as u64;
        words[usize::try_from(index).unwrap()]
    }

    /// Returns two platforms, half of the time with the same architecture.
    fn pair(&mut self) -> [Platform; 2] {
        let (image, other) = (self.platform(), self.platform());
        let node = if self.number().is_multiple_of(2) {
            let text = format!("{}/{}", image.os(), image.architecture());
            match self.number() % 3 {
                0 => text,
                _ => format!("{text}/{}", self.variant()),
            }
            .parse()
            .unwrap()
        } else {
            other
        };
        [image, node]
    }

    /// Returns a platform that usually exists.
    fn platform(&mut self) -> Platform {
        let os = self.pick(&[
            "linux", "linux", "linux", "linux", "linux", "Linux", "macos", "darwin", "windows",
        ]);
        let architecture = self.pick(&[
            "amd64", "amd64", "x86_64", "x86-64", "AMD64", "386", "i386", "arm64", "arm64",
            "aarch64", "arm", "arm", "armhf", "armel", "ARM", "riscv64", "s390x", "arm64be",
            "ppc64le", "unknown",
        ]);
        let text = match self.number() % 6 {
            0 | 1 => format!("{os}/{architecture}"),
            _ => format!("{os}/{architecture}/{}", self.variant()),
        };
        text.parse().unwrap()
    }

    fn variant(&mut self) -> String {
        let prefix = self.pick(&["v", "v", "v", "V", "", "vv", "-"]);
        match self.number() % 8 {
            0..=4 => format!("{prefix}{}", self.number() % 11),
            5 | 6 => format!("v{}.{}", 7 + self.number() % 4, self.number() % 11),
            _ => self
                .pick(&["v03", "v1.0", "8.0", "9.0", "v8.00", "power9", "v", "-1"])
                .to_owned(),
        }
    }
}
