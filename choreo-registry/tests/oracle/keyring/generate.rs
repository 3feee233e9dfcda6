//! Keys and images that almost match.

use choreo_registry::ImageReference;

use super::image;

/// Unique keys, and an image.
pub(crate) struct Case {
    pub(crate) keys: Vec<String>,
    pub(crate) image: ImageReference,
}

/// The common spellings of Docker Hub and of another registry, each alone.
pub(crate) fn matrix() -> Vec<Case> {
    let hub = HUB_KEYS.iter().map(|key| (*key, "docker.io/acme/app"));
    let alias = HUB_KEYS
        .iter()
        .map(|key| (*key, "registry-1.docker.io/acme/app"));
    let other = OTHER_KEYS.iter().map(|key| (*key, "ghcr.io/acme/app"));
    let local = OTHER_KEYS.iter().map(|key| (*key, "[::1]:5000/app"));
    let bare = HUB_KEYS.iter().map(|key| (*key, "localhost/app"));
    hub.chain(alias)
        .chain(other)
        .chain(local)
        .chain(bare)
        .map(|(key, name)| Case {
            keys: vec![key.to_owned()],
            image: image(name),
        })
        .collect()
}

/// A generator of pseudo-random cases (SplitMix64), which are the same in each run.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn case(&mut self) -> Case {
        let image = self.image();
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..=self.below(7) {
            let key = self.key(&image);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Case { keys, image }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
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

    fn image(&mut self) -> ImageReference {
        loop {
            let mut name = self.pick(&HOSTS).to_owned();
            if self.one_in(4) {
                name.push_str(self.pick(&PORTS));
            }
            for _ in 0..=self.below(4) {
                name.push('/');
                name.push_str(self.pick(&COMPONENTS));
            }
            // A few combinations are not an image, such as a port after an empty host.
            if let Ok(image) = name.parse() {
                return image;
            }
        }
    }

    fn key(&mut self, image: &ImageReference) -> String {
        match self.below(12) {
            0 => return self.pick(&HUB_KEYS).to_owned(),
            1 => return self.pick(&OTHER_KEYS).to_owned(),
            2 => return self.image().name().to_owned(),
            _ => {}
        }
        let (host, path) = image.name().split_once('/').unwrap();
        let mut key = self.pick(&SCHEMES).to_owned();
        if self.one_in(12) {
            key.push_str(self.pick(&["user@", "user:p%40ss@", "us er@", "@", "a@b@", "%zz@"]));
        }
        let host = self.host(host);
        key.push_str(&host);
        if self.one_in(10) {
            key.push_str(self.pick(&PORTS));
        }
        if self.one_in(4) {
            key.push_str(self.pick(&["/v1/", "/v2/", "/v1", "/v2", "/v3/", "/v2//", "/v1/v2/"]));
        }
        if self.one_in(2) {
            let cut = self.below(path.len() + 1);
            key.push('/');
            key.push_str(&path[..cut]);
        } else if self.one_in(3) {
            key.push_str(self.pick(&[
                "/", "//", "/x", "?x", "#x", "?", "#", "/?a#b%zz", "/.", "/..",
            ]));
        }
        for _ in 0..2 {
            if self.one_in(6) {
                key = self.damaged(&key);
            }
        }
        key
    }

    /// Returns a host that equals, resembles or is a pattern for another.
    fn host(&mut self, host: &str) -> String {
        let mut labels: Vec<String> = host.split('.').map(str::to_owned).collect();
        let at = self.below(labels.len());
        match self.below(12) {
            0 => "*".clone_into(&mut labels[at]),
            1 => labels.iter_mut().for_each(|label| "*".clone_into(label)),
            2 => {
                let cut = self.below(labels[at].len() + 1);
                if labels[at].is_char_boundary(cut) {
                    labels[at].replace_range(cut.., "*");
                }
            }
            3 => labels[at].insert(0, '*'),
            4 => labels[at] = labels[at].to_uppercase(),
            5 => {
                let label = self.pick(&GLOBS).to_owned();
                labels[at] = label;
            }
            6 if self.one_in(3) => labels.push(String::new()),
            7 if self.one_in(3) => drop(labels.remove(at)),
            8 if self.one_in(3) => labels.insert(at, "*".to_owned()),
            _ => {}
        }
        labels.join(".")
    }

    fn damaged(&mut self, key: &str) -> String {
        let mut characters: Vec<char> = key.chars().collect();
        let at = self.below(characters.len() + 1);
        if self.one_in(3) && at < characters.len() {
            if self.one_in(2) && characters[at].is_ascii() {
                let escaped = format!("%{:02x}", u32::from(characters[at]));
                characters.splice(at..=at, escaped.chars());
            } else {
                characters.remove(at);
            }
        } else {
            let nasty = self.pick(&NASTY);
            characters.splice(at..at, nasty.chars());
        }
        characters.into_iter().collect()
    }
}

const HOSTS: [&str; 26] = [
    "docker.io",
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
    "DOCKER.IO",
    "ghcr.io",
    "ghcr.io",
    "GHCR.io",
    "quay.io",
    "registry.example.com",
    "registry.example.com",
    "eu.registry.example.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "exa_mple.com",
    "localhost",
    "LOCALHOST",
    "F",
    "A",
    "127.0.0.1",
    "[::1]",
    "[2001:db8::1]",
    "[FE80::1]",
    "[:::]",
    "xn--n3h.com",
    "a.b.c.d.e",
];

const PORTS: [&str; 8] = [
    ":443",
    ":5000",
    ":80",
    ":0",
    ":00443",
    ":",
    ":x",
    ":5000:5000",
];

const COMPONENTS: [&str; 12] = [
    "acme", "app", "a", "ab", "abc", "library", "v1", "v2", "a-b", "a__b", "x.y", "0",
];

const SCHEMES: [&str; 14] = [
    "",
    "",
    "",
    "",
    "",
    "https://",
    "https://",
    "https://",
    "http://",
    "http://",
    "HTTPS://",
    "oci://",
    "http://https://",
    "//",
];

const GLOBS: [&str; 12] = [
    "?", "g?cr", "[a-z]*", "[^a]*", "[", "]", "\\*", "**", "*i*", "*r", "[g]hcr", "a*b*c",
];

const NASTY: [&str; 30] = [
    " ", "\t", "\n", "%", "%2f", "%20", "%00", "%ff", "%25", "%2541", "%253f", "é", "\u{7f}", "@",
    ":", "[", "]", "\\", "?", "#", "*", "/", "//", "..", "\"", "<", "|", "://", "%25zz", "^",
];

const HUB_KEYS: [&str; 20] = [
    "https://index.docker.io/v1/",
    "http://index.docker.io/v1/",
    "https://index.docker.io/v1",
    "https://index.docker.io/v2/",
    "https://index.docker.io/v1/x",
    "https://index.docker.io",
    "index.docker.io/v1/",
    "index.docker.io/v1",
    "index.docker.io",
    "index.docker.io/",
    "docker.io",
    "https://docker.io/v1/",
    "docker.io/acme",
    "docker.io/library",
    "registry-1.docker.io",
    "registry.hub.docker.com",
    "registry.docker.com",
    "*.docker.io",
    "docker.*",
    "index.docker.io:443",
];

const OTHER_KEYS: [&str; 34] = [
    "ghcr.io",
    "ghcr.io/",
    "ghcr.io:443",
    "ghcr.io:",
    "GHCR.io",
    " ghcr.io",
    "ghcr.io ",
    "user@ghcr.io",
    "https://user:pass@ghcr.io/v2/",
    "ghcr.io?x",
    "ghcr.io#x",
    "https://ghcr.io/v2",
    "https://ghcr.io/v2/",
    "ghcr.io/or",
    "ghcr.io/acme/app",
    "ghcr.io/acme/app:1",
    "HTTPS://ghcr.io",
    "docker://ghcr.io",
    "*.io",
    "*",
    "*.*",
    "gh[c]r.io",
    "[::1]",
    "[::1]:5000",
    "https://[::1]:5000/v2/",
    "https://::1:5000",
    "::1:5000",
    "[::1]:",
    "[fe80::1%25eth0]:5000",
    "[fe80::1%2525eth0]:5000",
    "[::ffff:1.2.3.4]",
    "[1.2.3.4]",
    "",
    "https://",
];
