//! Strings that are references or almost valid.

use std::fmt::Write as _;

const VECTORS: &str = include_str!("../../vectors/references.jsonl");

/// A generator of pseudo-random strings (SplitMix64), which are the same in each run.
pub(crate) struct Generator {
    state: u64,
    vectors: Vec<String>,
}

impl Generator {
    pub(crate) fn new(state: u64) -> Self {
        let vectors = VECTORS.lines().map(|line| {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            vector["input"].as_str().unwrap().to_owned()
        });
        Self {
            state,
            vectors: vectors.collect(),
        }
    }

    pub(crate) fn case(&mut self) -> String {
        match self.below(8) {
            0 | 1 => self.changed_vector(),
            2..=4 => self.reference(),
            5 => {
                let reference = self.reference();
                self.changed(&reference)
            }
            6 => self.near_a_limit(),
            _ => self.noise(),
        }
    }

    fn changed_vector(&mut self) -> String {
        let vector = self.below(self.vectors.len());
        let vector = self.vectors[vector].clone();
        self.changed(&vector)
    }

    /// Replaces, inserts, removes or repeats some characters.
    fn changed(&mut self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let at = self.below(characters.len() + 1);
            let new = self.character();
            match self.below(4) {
                0 => characters.insert(at, new),
                1 if at < characters.len() => characters[at] = new,
                2 if at < characters.len() => drop(characters.remove(at)),
                _ => {
                    let piece: Vec<char> = characters.iter().skip(at).take(4).copied().collect();
                    characters.splice(at..at, piece);
                }
            }
        }
        characters.into_iter().collect()
    }

    /// Returns a string of the grammar with an occasional mistake.
    fn reference(&mut self) -> String {
        let mut text = String::new();
        if self.one_in(2) {
            text.push_str(self.pick(&HOSTS));
            if self.one_in(3) {
                text.push_str(self.pick(&PORTS));
            }
            text.push('/');
        }
        for component in 0..=self.below(3) {
            if component > 0 {
                text.push('/');
            }
            let word = self.pick(&WORDS);
            text.push_str(word);
            if self.one_in(3) {
                text.push_str(self.pick(&SEPARATORS));
                text.push_str(self.pick(&WORDS));
            }
        }
        if self.one_in(2) {
            text.push_str(self.pick(&TAGS));
        }
        if self.one_in(3) {
            text.push('@');
            let digest = self.digest();
            text.push_str(&digest);
        }
        text
    }

    fn digest(&mut self) -> String {
        let (algorithm, len) = match self.below(6) {
            0..=2 => ("sha256", 64),
            3 => ("sha384", 96),
            4 => ("sha512", 128),
            _ => (self.pick(&ALGORITHMS), 64),
        };
        let len = match self.below(12) {
            0 => len - 1,
            1 => len + 1,
            2 => 31 + self.below(3),
            _ => len,
        };
        let mut text = format!("{algorithm}:");
        for _ in 0..len {
            write!(text, "{:x}", self.below(16)).unwrap();
        }
        if self.one_in(12) {
            text = text.to_uppercase();
        }
        text
    }

    /// Returns lengths one below, at and above each limit of the grammar.
    fn near_a_limit(&mut self) -> String {
        let around = |limit: usize, slip: usize| limit - 1 + slip;
        let slip = self.below(3);
        let host = self.pick(&HOSTS).to_owned();
        match self.below(6) {
            0 => "a".repeat(around(247, slip)),
            1 => format!("{host}/{}", "a".repeat(around(255, slip))),
            2 => format!("{host}/{}", "a".repeat(around(247, slip))),
            3 => format!("{host}/a/{}:1", "b".repeat(around(253, slip))),
            4 => format!("{host}/a:{}", "T".repeat(around(128, slip))),
            _ => "af09".repeat(17)[..around(64, slip)].to_owned(),
        }
    }

    fn noise(&mut self) -> String {
        (0..self.below(24)).map(|_| self.character()).collect()
    }

    /// Returns a character, usually one that the grammar distinguishes.
    fn character(&mut self) -> char {
        const TOLD_APART: &[u8] = b"aaazfg0099AZ...__---///::@@[]%+~ \n\t$";
        match self.below(40) {
            0 => char::from_u32(u32::try_from(self.below(0xd800)).unwrap()).unwrap(),
            1 => char::from(u8::try_from(self.below(128)).unwrap()),
            // Upper case, digits and letters in Unicode but not in ASCII.
            2 => ['É', '１', 'ß', 'K'][self.below(4)],
            _ => char::from(TOLD_APART[self.below(TOLD_APART.len())]),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const HOSTS: [&str; 22] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "DOCKER.IO",
    "localhost",
    "LOCALHOST",
    "ghcr.io",
    "registry.example.com",
    "Foo",
    "myhost",
    "exa_mple.com",
    "a_b",
    "a.b_c",
    "a.b__c",
    "xn--n3h.com",
    "192.168.1.1",
    "999.1.1.1",
    "[::1]",
    "[2001:db8::1]",
    "[ab]",
    "[AB]",
    "-a.com",
];
const PORTS: [&str; 8] = [
    ":5000", ":443", ":0", ":00080", ":65536", ":", ":http", ":80:80",
];
const WORDS: [&str; 10] = [
    "a",
    "app",
    "library",
    "0",
    "acme",
    "docker.io",
    "x1",
    "sha256",
    "r",
    "Up",
];
const SEPARATORS: [&str; 9] = [".", "_", "__", "-", "--", "---", "___", "..", "_-"];
const TAGS: [&str; 10] = [
    ":1",
    ":latest",
    ":_a",
    ":V1.0-b_c",
    ":.a",
    ":-a",
    ":",
    ":5000",
    ":1+2",
    ":a:b",
];
const ALGORITHMS: [&str; 6] = ["md5", "sha1", "blake3", "sha256+b64", "SHA256", "sha512"];
