//! The kubelet's order and matching, with a look-up whose cost does not grow with the keys.
//!
//! Keys that the kubelet files under one name share a *slot*; slots are numbered in the order in
//! which it tries them. A look-up finds the slots of an image in three steps:
//!
//! 1. The image's host leads by a hash table to the paths of that host, and by few hashes of what
//!    an image's host has in common with a glob to the paths of that glob.
//! 2. Among the paths of a host the longest prefix of the image's path is found by binary search
//!    over the *lengths* of paths (M. Waldvogel et al., "Scalable High Speed IP Routing Lookups",
//!    1997): at most nine hash look-ups, however many paths there are.
//! 3. From there links lead to all shorter prefixes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::glob;
use super::kubelet::{FALLBACK_KEY, Rule, Target};

/// No image has a longer path: 255 bytes and the first slash.
const LONGEST_PATH: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Hosts without globs, by host and port as images write them.
    hosts: HashMap<Box<[u8]>, Paths>,
    globs: Globs,
    /// For each slot the next one that matches as well: of the same path, or of a shorter prefix.
    next: Vec<Option<usize>>,
    fallback: Option<usize>,
}

impl Index {
    /// Builds the index of normalised keys in the kubelet's order, without duplicates.
    pub(super) fn of(slots: &[Vec<u8>]) -> Self {
        let mut literal: BTreeMap<Vec<u8>, SlotsOfPaths> = BTreeMap::new();
        let mut globs: BTreeMap<(Vec<u8>, Vec<u8>), SlotsOfPaths> = BTreeMap::new();
        for (slot, normal) in slots.iter().enumerate() {
            let Ok(rule) = Rule::of(normal) else {
                continue;
            };
            let paths = if let Some(domain) = rule.literal_domain() {
                literal.entry(domain).or_default()
            } else if rule.is_glob() {
                globs.entry((rule.host, rule.port)).or_default()
            } else {
                continue;
            };
            if rule.path.len() <= LONGEST_PATH {
                paths.entry(rule.path).or_default().push(slot);
            }
        }

        let mut index = Self {
            next: vec![None; slots.len()],
            fallback: slots.iter().position(|normal| normal == FALLBACK_KEY),
            ..Self::default()
        };
        for (domain, paths) in literal {
            let paths = Paths::of(&paths, &mut index.next);
            index.hosts.insert(domain.into_boxed_slice(), paths);
        }
        for ((host, port), paths) in globs {
            let paths = Paths::of(&paths, &mut index.next);
            let path = Vec::new();
            index.globs.insert(Rule { host, port, path }, paths);
        }
        index
    }

    /// The slots that an image's credentials are in, in the kubelet's order.
    pub(super) fn find(&self, target: &Target<'_>) -> Slots {
        let mut found = Slots::default();
        if !target.is_url {
            return found;
        }
        let path = target.path.as_bytes();
        if let Some(paths) = self.hosts.get(target.domain.as_bytes()) {
            self.follow(paths.longest(path), &mut found);
        }
        self.globs.each(target, |paths| {
            self.follow(paths.longest(path), &mut found);
        });
        if found.is_empty()
            && target.is_default_registry()
            && let Some(slot) = self.fallback
        {
            found.insert(slot);
        }
        found
    }

    fn follow(&self, first: Option<usize>, found: &mut Slots) {
        let mut slot = first;
        while let Some(matched) = slot {
            found.insert(matched);
            slot = self.next[matched];
        }
    }
}

type SlotsOfPaths = BTreeMap<Vec<u8>, Vec<usize>>;

/// The paths of one host.
#[derive(Debug)]
enum Paths {
    /// Most hosts have one key, for the host as a whole.
    Whole(usize),
    Several {
        /// The different lengths, ascending.
        lengths: Box<[usize]>,
        /// Each path, and of each path the beginnings at which the search has to turn to longer
        /// ones; with the slot of the longest path that is a prefix.
        longest: HashMap<Box<[u8]>, Option<usize>>,
    },
}

impl Paths {
    fn of(paths: &SlotsOfPaths, next: &mut [Option<usize>]) -> Self {
        if let Some([slot]) = paths.get(&b""[..]).map(Vec::as_slice)
            && paths.len() == 1
        {
            return Self::Whole(*slot);
        }
        let mut lengths: Vec<_> = paths.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();

        let mut longest = HashMap::with_capacity(paths.len());
        // The prefixes of the path at hand, the shortest first: paths come in order.
        let mut prefixes: Vec<(&[u8], usize)> = Vec::new();
        for (path, slots) in paths {
            while prefixes
                .last()
                .is_some_and(|(last, _)| !path.starts_with(last))
            {
                prefixes.pop();
            }
            let shorter = prefixes.last().map(|(_, slot)| *slot);
            for (at, slot) in slots.iter().enumerate() {
                next[*slot] = slots.get(at + 1).copied().or(shorter);
            }
            let first = slots[0];
            for length in turns(&lengths, path.len()) {
                let best = prefixes.iter().rfind(|(prefix, _)| prefix.len() <= length);
                longest
                    .entry(Box::from(&path[..length]))
                    .or_insert(best.map(|(_, slot)| *slot));
            }
            longest.insert(Box::from(&path[..]), Some(first));
            prefixes.push((path, first));
        }
        Self::Several {
            lengths: lengths.into_boxed_slice(),
            longest,
        }
    }

    /// The slot of the longest path that is a prefix of this one.
    fn longest(&self, path: &[u8]) -> Option<usize> {
        let (lengths, longest) = match self {
            Self::Whole(slot) => return Some(*slot),
            Self::Several { lengths, longest } => (lengths, longest),
        };
        let mut found = None;
        let mut range = 0..lengths.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            let prefix = path.get(..lengths[middle]);
            if let Some(best) = prefix.and_then(|prefix| longest.get(prefix)) {
                found = *best;
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        found
    }
}

/// The lengths at which a search for a path of this length turns to longer ones.
fn turns(lengths: &[usize], wanted: usize) -> impl Iterator<Item = usize> {
    let mut range = 0..lengths.len();
    std::iter::from_fn(move || {
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            match lengths[middle].cmp(&wanted) {
                Ordering::Less => {
                    range.start = middle + 1;
                    return Some(lengths[middle]);
                }
                Ordering::Equal => return None,
                Ordering::Greater => range.end = middle,
            }
        }
        None
    })
}

/// Hosts with globs, by what of them is no glob.
#[derive(Debug, Default)]
struct Globs {
    /// Which labels are literal, as bits, by port and number of labels.
    shapes: HashMap<u64, Vec<u64>>,
    /// The globs, by port, number of labels, shape and the literal labels. All keys are hashes:
    /// what shares one by chance is told apart by matching.
    buckets: HashMap<u64, Vec<(Rule, Paths)>>,
    hasher: RandomState,
}

impl Globs {
    fn insert(&mut self, rule: Rule, paths: Paths) {
        let labels: Vec<_> = rule.labels().collect();
        let shape = labels
            .iter()
            .take(64)
            .enumerate()
            .filter(|(_, label)| !glob::is_glob(label))
            .fold(0, |shape, (at, _)| shape | 1 << at);
        let kind = self.hasher.hash_one((&rule.port[..], labels.len()));
        let bucket = self.bucket(kind, shape, labels.into_iter());

        let shapes = self.shapes.entry(kind).or_default();
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
        self.buckets.entry(bucket).or_default().push((rule, paths));
    }

    fn each<'a>(&'a self, target: &Target<'_>, mut found: impl FnMut(&'a Paths)) {
        if self.shapes.is_empty() {
            return;
        }
        let kind = (target.port.as_bytes(), target.labels().count());
        let kind = self.hasher.hash_one(kind);
        for shape in self.shapes.get(&kind).into_iter().flatten() {
            let bucket = self.bucket(kind, *shape, target.labels().map(str::as_bytes));
            for (rule, paths) in self.buckets.get(&bucket).into_iter().flatten() {
                if rule.matches_host(target) {
                    found(paths);
                }
            }
        }
    }

    fn bucket<'a>(&self, kind: u64, shape: u64, labels: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (kind, shape).hash(&mut hasher);
        for (at, label) in labels.take(64).enumerate() {
            if shape >> at & 1 == 1 {
                label.hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// Slots in order; the usual few of them without allocation.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    inline: [usize; INLINE],
    len: usize,
    more: Vec<usize>,
}

const INLINE: usize = 8;

impl Slots {
    pub(super) fn get(&self, at: usize) -> Option<usize> {
        self.as_slice().get(at).copied()
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn as_slice(&self) -> &[usize] {
        if self.more.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.more
        }
    }

    /// Adds a slot that is not in it.
    fn insert(&mut self, slot: usize) {
        let at = self.as_slice().partition_point(|&other| other < slot);
        if self.more.is_empty() && self.len < INLINE {
            self.inline.copy_within(at..self.len, at + 1);
            self.inline[at] = slot;
            self.len += 1;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.inline);
        }
        self.more.insert(at, slot);
    }
}
