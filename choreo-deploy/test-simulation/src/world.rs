//! The state that outlives the processes of the control plane.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use choreo_deploy::id::DataPlaneId;

use tokio::sync::Notify;

use crate::dice::Dice;
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::plane::Plane;
use crate::registries::Tags;
use crate::wall_clock::WallClock;
use crate::weather::Weather;

/// The data planes and their platforms.
pub(crate) const PLANES: [(&str, &str); 3] = [
    ("eu-1", "linux/amd64"),
    ("us-1", "linux/arm64"),
    (NOT_CONNECTED, "linux/amd64"),
];
/// A data plane to which no process is connected.
pub(crate) const NOT_CONNECTED: &str = "far-1";
pub(crate) const STEPS_PER_DATA_PLANE: usize = 2;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) journal: Journal,
    pub(crate) weather: Weather,
    pub(crate) ledger: Ledger,
    pub(crate) clock: WallClock,
    pub(crate) planes: BTreeMap<DataPlaneId, Arc<Plane>>,
    pub(crate) tags: Tags,
    pub(crate) inventory: Inventory,
    /// Notifies workers of each change of the store.
    pub(crate) new_work: Notify,
}

impl World {
    pub(crate) fn new(dice: Dice) -> Self {
        let planes = PLANES.map(|(name, platform)| {
            let plane = Plane::new(platform, dice.clone());
            (id(name), Arc::new(plane))
        });
        Self {
            journal: Journal::new(),
            weather: Weather::new(&dice),
            ledger: Ledger::default(),
            clock: WallClock::new(),
            planes: planes.into_iter().collect(),
            tags: Tags::default(),
            inventory: Inventory::new(),
            new_work: Notify::new(),
            dice,
        }
    }
}

pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("an id")
}
