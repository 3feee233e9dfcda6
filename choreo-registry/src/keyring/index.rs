//! The kubelet's order and matching, with a look-up whose cost does not depend on the number of
//! keys.
//!
//! Keys are numbered by *rank*, their position in the kubelet's order. A look-up finds the ranks of
//! an image's keys in three steps:
//!
//! 1. A hash table maps the image's host to the paths of that host. A few hashes of the parts that
//!    the host shares with a glob map to the paths of that glob.
//! 2. Among the paths of a host, a binary search over the *lengths* of paths finds the longest
//!    prefix of the image's path (M. Waldvogel et al., "Scalable High Speed IP Routing Lookups",
//!    1997): it takes at most nine hash look-ups, for any number of paths.
//! 3. From there, links lead to all shorter prefixes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::ops::Range;

use super::glob;
use super::kubelet::{FALLBACK_KEY, Rule, Target};

/// The longest path of an image: 255 bytes and the first slash.
const LONGEST_PATH: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Hosts without globs, by host and port as images write them.
    hosts: HashMap<Box<[u8]>, Paths>,
    globs: Globs,
    ranks: Vec<Rank>,
    /// The ranks of the keys that match if no others do.
    fallback: Range<usize>,
}

#[derive(Debug)]
struct Rank {
    /// The position of the key in the original list.
    given: usize,
    /// The rank of the next key that also matches: of the same path, or of a shorter prefix.
    next: Option<usize>,
}

impl Index {
    /// Builds the index of normalised keys in the kubelet's order, each with its original position.
    pub(super) fn of(sorted: &[(Vec<u8>, usize)]) -> Self {
        let mut literal: BTreeMap<Vec<u8>, RanksOfPaths> = BTreeMap::new();
        let mut globs: BTreeMap<(Vec<u8>, Vec<u8>), RanksOfPaths> = BTreeMap::new();
        for (rank, (normal, _)) in sorted.iter().enumerate() {
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
                paths.entry(rule.path).or_default().push(rank);
            }
        }

        let is_fallback = |(normal, _): &&(Vec<u8>, usize)| normal == FALLBACK_KEY;
        let first = sorted.iter().take_while(|key| !is_fallback(key)).count();
        let rank = |(_, given): &(Vec<u8>, usize)| Rank {
            given: *given,
            next: None,
        };
        let mut index = Self {
            ranks: sorted.iter().map(rank).collect(),
            fallback: first..first + sorted[first..].iter().take_while(is_fallback).count(),
            ..Self::default()
        };
        for (domain, paths) in literal {
            let paths = Paths::of(&paths, &mut index.ranks);
            index.hosts.insert(domain.into_boxed_slice(), paths);
        }
        for ((host, port), paths) in globs {
            let paths = Paths::of(&paths, &mut index.ranks);
            let path = Vec::new();
            index.globs.insert(Rule { host, port, path }, paths);
        }
        index
    }

    /// Returns the ranks of the keys that a kubelet tries for an image, in its order.
    pub(super) fn find(&self, target: &Target<'_>) -> Ranks {
        let mut found = Ranks::default();
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
        if found.is_empty() && target.is_default_registry() {
            self.fallback.clone().for_each(|rank| found.insert(rank));
        }
        found
    }

    /// Returns the original position of the key of a rank.
    pub(super) fn given(&self, rank: usize) -> usize {
        self.ranks[rank].given
    }

    fn follow(&self, first: Option<usize>, found: &mut Ranks) {
        let mut rank = first;
        while let Some(matched) = rank {
            found.insert(matched);
            rank = self.ranks[matched].next;
        }
    }
}

type RanksOfPaths = BTreeMap<Vec<u8>, Vec<usize>>;

/// The paths of one host.
#[derive(Debug)]
enum Paths {
    /// The usual case: one key, which applies to the whole host.
    Whole(usize),
    Several {
        /// The distinct lengths, ascending.
        lengths: Box<[usize]>,
        /// Each path, and the prefixes of each path at which the search must continue with longer
        /// ones; with the rank of the longest path that is a prefix.
        longest: HashMap<Box<[u8]>, Option<usize>>,
    },
}

impl Paths {
    fn of(paths: &RanksOfPaths, all: &mut [Rank]) -> Self {
        if let Some([rank]) = paths.get(&b""[..]).map(Vec::as_slice)
            && paths.len() == 1
        {
            return Self::Whole(*rank);
        }
        let mut lengths: Vec<_> = paths.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();

        let mut longest = HashMap::with_capacity(paths.len());
        // The prefixes of the current path, shortest first: paths come in order.
        let mut prefixes: Vec<(&[u8], usize)> = Vec::new();
        for (path, ranks) in paths {
            while prefixes
                .last()
                .is_some_and(|(last, _)| !path.starts_with(last))
            {
                prefixes.pop();
            }
            let shorter = prefixes.last().map(|(_, rank)| *rank);
            for (at, rank) in ranks.iter().enumerate() {
                all[*rank].next = ranks.get(at + 1).copied().or(shorter);
            }
            let first = ranks[0];
            for length in turns(&lengths, path.len()) {
                let best = prefixes.iter().rfind(|(prefix, _)| prefix.len() <= length);
                longest
                    .entry(Box::from(&path[..length]))
                    .or_insert(best.map(|(_, rank)| *rank));
            }
            longest.insert(Box::from(&path[..]), Some(first));
            prefixes.push((path, first));
        }
        Self::Several {
            lengths: lengths.into_boxed_slice(),
            longest,
        }
    }

    /// Returns the rank of the longest path that is a prefix of this one.
    fn longest(&self, path: &[u8]) -> Option<usize> {
        let (lengths, longest) = match self {
            Self::Whole(rank) => return Some(*rank),
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

/// Returns the lengths at which a search for a path of this length continues with longer ones.
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

/// Hosts with globs, indexed by their literal labels.
#[derive(Debug, Default)]
struct Globs {
    /// Which labels are literal, as bits, by port and number of labels.
    shapes: HashMap<u64, Vec<u64>, AsTheyAre>,
    /// The globs, by port, number of labels, shape and the literal labels. All keys are hashes:
    /// matching resolves collisions.
    buckets: HashMap<u64, Vec<(Rule, Paths)>, AsTheyAre>,
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
            let bucket = self.bucket(kind, *shape, target.labels());
            for (rule, paths) in self.buckets.get(&bucket).into_iter().flatten() {
                if rule.matches_host(target) {
                    found(paths);
                }
            }
        }
    }

    /// Hashes the labels as one text: matching resolves the collisions that this causes.
    fn bucket<'a>(&self, kind: u64, shape: u64, labels: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (kind, shape).hash(&mut hasher);
        for (at, label) in labels.take(64).enumerate() {
            if shape >> at & 1 == 1 {
                hasher.write(label);
            }
        }
        hasher.finish()
    }
}

type AsTheyAre = BuildHasherDefault<AlreadyHashed>;

/// Does not hash keys again that are already hashes.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Sorted ranks; the usual few of them are stored without allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    inline: [usize; INLINE],
    len: usize,
    more: Vec<usize>,
}

const INLINE: usize = 8;

impl Ranks {
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

    /// Inserts a rank that it does not contain.
    fn insert(&mut self, rank: usize) {
        let at = self.as_slice().partition_point(|&other| other < rank);
        if self.more.is_empty() && self.len < INLINE {
            self.inline.copy_within(at..self.len, at + 1);
            self.inline[at] = rank;
            self.len += 1;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.inline);
        }
        self.more.insert(at, rank);
    }
}
