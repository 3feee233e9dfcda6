//! Compares schedules and time zones with the API server of Kubernetes.

use std::path::PathBuf;
use std::process::Command;

use choreo_deploy::workload::{Cron, ParseScheduleError, TimeZone};
use serde::Deserialize;
use serde_json::json;

use crate::go::{Oracle, cases};

const BATCH: usize = 50_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    refused: Option<String>,
    schedule: String,
    empty: bool,
    short: bool,
    zones: Vec<String>,
}

#[test]
fn a_schedule_is_taken_where_the_api_server_takes_it() {
    let Some(oracle) = Oracle::or_skip("schedule") else {
        return;
    };
    let mut generator = Generator(13);
    let (mut left, mut taken) = (cases(), 0);
    let total = left;
    let mut texts: Vec<String> = CHOSEN.map(str::to_owned).into();
    loop {
        taken += compare_schedules(&oracle, &texts);
        if left == 0 {
            break;
        }
        texts = (0..left.min(BATCH)).map(|_| generator.schedule()).collect();
        left -= texts.len();
    }
    // If all or none were rejected, the test would prove little.
    let share = total / 10..total * 9 / 10;
    assert!(share.contains(&taken), "{taken} of {total} taken");
}

/// The control: the comparison above finds a difference.
#[test]
#[should_panic(expected = "\"* * * * 7\"")]
fn another_verdict_is_found() {
    compare("* * * * 7", &Answer::default());
}

/// Returns the number of valid ones.
fn compare_schedules(oracle: &Oracle, texts: &[String]) -> usize {
    let mut taken = Vec::new();
    for (text, answer) in texts.iter().zip(ask_about_schedules(oracle, texts)) {
        if let Some(canonical) = compare(text, &answer) {
            taken.push((canonical, answer.schedule));
        }
    }
    // The canonical text has the same meaning as the original.
    let (canonical, meant): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
    let answers = ask_about_schedules(oracle, &canonical);
    for ((text, meant), answer) in canonical.iter().zip(meant).zip(answers) {
        assert_eq!(answer.refused, None, "{text:?}");
        assert_eq!(answer.schedule, meant, "{text:?}");
    }
    canonical.len()
}

/// Compares the verdicts, and returns the canonical schedule.
fn compare(text: &str, answer: &Answer) -> Option<String> {
    let ours = text.parse::<Cron>();
    // A schedule that never runs, and one whose real interval is shorter than stated, are rejected.
    let takes = answer.refused.is_none() && !answer.empty && !answer.short;
    assert_eq!(ours.is_ok(), takes, "{text:?}: {ours:?} beside {answer:?}");
    if let Err(error) = &ours {
        assert!(error.to_string().starts_with("schedule"), "{error}");
    }
    ours.map(String::from).ok()
}

fn ask_about_schedules(oracle: &Oracle, texts: &[String]) -> Vec<Answer> {
    let questions = texts.iter().map(|text| json!({ "cron": text }).to_string());
    let answers = oracle.ask(questions.collect());
    let read = |answer: &String| serde_json::from_str(answer).unwrap();
    answers.iter().map(read).collect()
}

#[test]
fn the_time_zones_are_those_of_the_api_server() {
    let Some(oracle) = Oracle::or_skip("schedule") else {
        return;
    };
    let database = database();
    let all = oracle.ask(vec![json!({ "database": database }).to_string()]);
    let mut names = serde_json::from_str::<Answer>(&all[0]).unwrap().zones;
    assert!(names.len() > 500, "{}", names.len());
    let mut generator = Generator(17);
    let near: Vec<String> = (0..cases() / 10)
        .map(|_| {
            let name = generator.pick(&names);
            generator.mutate(&name)
        })
        .collect();
    names.extend(near);
    names.extend(["Local", "local", "", "/", "UTC/", "Mars/Base"].map(str::to_owned));
    let ask = |name| json!({ "zone": name, "database": database }).to_string();
    let answers = oracle.ask(names.iter().map(ask).collect());
    for (name, answer) in names.iter().zip(answers) {
        let answer: Answer = serde_json::from_str(&answer).unwrap();
        let ours = name.parse::<TimeZone>();
        assert_eq!(ours.is_ok(), answer.refused.is_none(), "{name:?}: {ours:?}");
        if let Err(ParseScheduleError::TimeZone {
            suggestion: Some(suggestion),
            ..
        }) = ours
        {
            assert!(suggestion.parse::<TimeZone>().is_ok(), "{suggestion}");
        }
    }
}

/// The time zones of Go, which the API server has built in.
fn database() -> PathBuf {
    let root = Command::new("go").args(["env", "GOROOT"]).output().unwrap();
    let root = String::from_utf8(root.stdout).unwrap();
    PathBuf::from(root.trim()).join("lib/time/zoneinfo.zip")
}

/// Common schedules, and the edge cases of the grammar.
const CHOSEN: [&str; 40] = [
    "",
    " ",
    "* * * * *",
    "@every 1h",
    "@every 1h30m10s",
    "@every 1.5h",
    "@every 0",
    "@every -1h",
    "@every +1h",
    "@every .5h",
    "@every 1us",
    "@every 1d",
    "@every 2562047h47m16.854775807s",
    "@every 2562047h47m16.854775808s",
    "@every  1h",
    "@Every 1h",
    "@hourly",
    " @hourly",
    "@hourly ",
    "@Hourly",
    "@reboot",
    "TZ=UTC * * * * *",
    "TZ=UTC",
    "CRON_TZ=Europe/Berlin 0 3 * * *",
    "*-TZ * * * *",
    "0 3 * * MON-FRI",
    "0 3 ? jan-DEC/2 sun,mon",
    "*-5 * * * *",
    "?-x-y/3 * * * *",
    "+1 * * * *",
    "1, ,1 * * *",
    ",, * * * *",
    "*/9223372036854775807 * * * *",
    "*/9223372036854775808 * * * *",
    "00059 023 031 012 06",
    "5/15 5-/2 * * *",
    "0 0 0 1 0",
    "0 0 31 2 7",
    "\u{a0}0\u{3000}0\u{2003}1\u{85}*\t*\n",
    "0 0 1 1 * *",
];

/// A generator of pseudo-random cases (SplitMix64), which are the same in each run.
struct Generator(u64);

impl Generator {
    fn number(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let index = self.number(of.len() as u64);
        of[usize::try_from(index).unwrap()].clone()
    }

    fn schedule(&mut self) -> String {
        let text = match self.number(8) {
            0 => self.interval(),
            1 => self.pick(&CHOSEN).to_owned(),
            _ => self.fields(),
        };
        match self.number(4) {
            0 => self.mutate(&text),
            _ => text,
        }
    }

    fn fields(&mut self) -> String {
        let count = match self.number(30) {
            0 => 4,
            1 => 6,
            _ => 5,
        };
        let fields: Vec<String> = (0..count).map(|index| self.list(index)).collect();
        let blank = self.pick(&[" ", " ", " ", " ", "  ", "\t", "\u{a0}"]);
        fields.join(blank)
    }

    fn list(&mut self, field: usize) -> String {
        let parts = [1, 1, 1, 1, 2, 3][usize::try_from(self.number(6)).unwrap()];
        let parts: Vec<String> = (0..parts).map(|_| self.part(field)).collect();
        parts.join(self.pick(&[",", ",", ",", ",", ",,"]))
    }

    fn part(&mut self, field: usize) -> String {
        let span = match self.number(6) {
            0 | 1 => self.pick(&["*", "*", "*", "?"]).to_owned(),
            2 | 3 => self.value(field),
            4 => {
                let (low, high) = (self.value(field), self.value(field));
                format!("{low}-{high}")
            }
            _ => format!("*-{}", self.value(field)),
        };
        match self.number(8) {
            0 | 1 => format!("{span}/{}", self.number(70)),
            2 => format!("{span}/{}", self.value(field)),
            _ => span,
        }
    }

    fn value(&mut self, field: usize) -> String {
        const LARGEST: [u64; 6] = [59, 23, 31, 12, 6, 59];
        let names: &[&str] = match field {
            3 => &["jan", "DEC", "Jul", "sept"],
            4 => &["sun", "SAT", "Mon", "monday"],
            _ => &["jan", "sun"],
        };
        match self.number(20) {
            0 => format!("+{}", self.number(13)),
            1 => format!("0{}", self.number(32)),
            2 => self.number(100).to_string(),
            3..=5 => self.pick(names).to_owned(),
            _ => self.number(LARGEST[field] + 1).to_string(),
        }
    }

    fn interval(&mut self) -> String {
        let mut text = "@every ".to_owned();
        text += self.pick(&["", "", "", "", "+", "-"]);
        for _ in 0..=self.number(3) {
            text += &self.number(400).to_string();
            if self.number(4) == 0 {
                text += &format!(".{}", self.number(1 << 40));
            }
            text += self.pick(&["h", "m", "s", "s", "ms", "us", "\u{b5}s", "ns", "d", ""]);
        }
        text
    }

    /// Inserts, removes or replaces one or two characters.
    fn mutate(&mut self, text: &str) -> String {
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..=self.number(2) {
            let index = self.number(text.len() as u64 + 1);
            let index = usize::try_from(index).unwrap();
            let other = self.pick(&[
                '0',
                '1',
                '9',
                '*',
                '?',
                '/',
                '-',
                ',',
                ' ',
                '+',
                '.',
                '@',
                'a',
                'Z',
                '_',
                'h',
                '\u{0}',
                '\u{2028}',
                'é',
                '\u{1f600}',
            ]);
            match self.number(3) {
                0 => text.insert(index, other),
                1 if index < text.len() => text[index] = other,
                _ if index < text.len() => drop(text.remove(index)),
                _ => {}
            }
        }
        text.into_iter().collect()
    }
}
