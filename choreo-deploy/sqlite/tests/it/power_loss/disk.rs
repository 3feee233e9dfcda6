//! Simulates a disk after a loss of power: all synced data, and a random part of the rest.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// The smallest unit that a disk writes atomically.
const SECTOR: usize = 512;

/// A call of the process.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) file: String,
    pub(super) call: Call,
}

#[derive(Debug)]
pub(super) enum Call {
    Write { offset: usize, data: Vec<u8> },
    Truncate { length: usize },
    Sync,
}

/// Parses the log of the recorder.
pub(super) fn records(mut log: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((what, rest)) = log.split_first() {
        log = rest;
        let name = bytes(&mut log);
        let file = String::from_utf8(name).unwrap();
        let offset = number(&mut log);
        let data = bytes(&mut log);
        let call = match what {
            b'W' => Call::Write { offset, data },
            b'T' => Call::Truncate { length: offset },
            b'S' => Call::Sync,
            other => panic!("record of kind {other}"),
        };
        records.push(Record { file, call });
    }
    records
}

fn number(log: &mut &[u8]) -> usize {
    let (number, rest) = log.split_first_chunk().unwrap();
    *log = rest;
    usize::try_from(u64::from_le_bytes(*number)).unwrap()
}

fn bytes(log: &mut &[u8]) -> Vec<u8> {
    let length = number(log);
    let (bytes, rest) = log.split_at(length);
    *log = rest;
    bytes.to_vec()
}

/// The syncs that the disk performs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Honesty {
    Honest,
    /// The log is not synced between checkpoints, as with `synchronous=NORMAL`.
    LogNotSynced,
    NothingSynced,
}

/// A disk at a position in a record.
#[derive(Debug)]
pub(super) struct Disk<'r> {
    honesty: Honesty,
    files: BTreeMap<&'r str, File<'r>>,
    /// A buffer for one file, which is reused for each image.
    left: Vec<u8>,
}

#[derive(Debug, Default)]
struct File<'r> {
    synced: Vec<u8>,
    unsynced: Vec<&'r Call>,
}

impl<'r> Disk<'r> {
    pub(super) fn new(honesty: Honesty) -> Self {
        Self {
            honesty,
            files: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    pub(super) fn happen(&mut self, record: &'r Record) {
        let file = self.files.entry(&record.file).or_default();
        match &record.call {
            Call::Sync => {
                let ignored = match self.honesty {
                    Honesty::Honest => false,
                    Honesty::LogNotSynced => record.file.ends_with("-wal"),
                    Honesty::NothingSynced => true,
                };
                if !ignored {
                    for call in std::mem::take(&mut file.unsynced) {
                        call.apply(&mut file.synced);
                    }
                }
            }
            call => file.unsynced.push(call),
        }
    }

    /// Writes the content after a loss of power at this moment over that of an earlier moment.
    pub(super) fn lose_power(&mut self, dice: &mut Dice, files: [&str; 2], into: &Path) {
        let mood = dice.below(100);
        for name in files {
            let Some(file) = self.files.get(name) else {
                let _ = std::fs::remove_file(into.join(name));
                continue;
            };
            let left = &mut self.left;
            left.clone_from(&file.synced);
            for call in &file.unsynced {
                match mood {
                    0..15 => {}
                    15..30 => call.apply(left),
                    _ => call.apply_by_dice(left, dice),
                }
            }
            write_over(&into.join(name), left).unwrap();
        }
    }
}

impl Call {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => put(file, *offset, data),
            Self::Truncate { length } => file.resize(*length, 0),
            Self::Sync => {}
        }
    }

    /// Applies nothing, everything, or some of the sectors.
    fn apply_by_dice(&self, file: &mut Vec<u8>, dice: &mut Dice) {
        match (dice.below(10), self) {
            (0..4, _) => {}
            (7.., Self::Write { offset, data }) => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.below(2) == 0 {
                        put(file, offset + number * SECTOR, sector);
                    }
                }
            }
            _ => self.apply(file),
        }
    }
}

/// Overwrites a file in place, because freeing and allocating its pages costs more than the writes.
fn write_over(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

fn put(file: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(data);
}

/// Pseudo-random numbers from a seed (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}
