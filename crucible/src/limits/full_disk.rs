//! A disk that becomes full at any moment.
//!
//! The same work is done on disks with room for more and more bytes, until all of it fits. Whatever does not fit fails with
//! `DiskFull` and has no effect, reads go on, and once there is room again writing and maintenance go on without a restart.
//! What was written in vain is given back: reopening finds nothing to collect.

use std::sync::Arc;

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions, Step};
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, SmallDisk, Vfs};
use strata_core::{Database, Error, Options, Sizes};

use super::table::Rows;
use super::{Outcome, ensure, mib, words};

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct FullDisk {
    /// Rows that each piece of work writes.
    pub rows: i64,
    /// Bytes of each row's payload.
    pub width: usize,
    /// By how much the room grows from one disk to the next.
    pub step_bytes: u64,
}

/// A piece of work.
#[derive(Clone, Copy, Debug)]
enum Work {
    Insert,
    Update,
    Load,
    Index,
    Maintain,
    Checkpoint,
    Vacuum,
}

impl Work {
    fn is_maintenance(self) -> bool {
        matches!(self, Self::Maintain | Self::Checkpoint | Self::Vacuum)
    }
}

const WORK: [Work; 14] = [
    Work::Insert,
    Work::Update,
    Work::Maintain,
    Work::Load,
    Work::Insert,
    Work::Checkpoint,
    Work::Index,
    Work::Update,
    Work::Maintain,
    Work::Load,
    Work::Vacuum,
    Work::Update,
    Work::Maintain,
    Work::Vacuum,
];

/// What must be read: the versions of all rows by id.
struct Model {
    versions: Vec<i64>,
    indexed: bool,
}

fn options() -> Options {
    let thresholds = MaintenanceOptions {
        memtable_bytes: 32 << 10,
        journal_bytes: 512 << 10,
        tail_slots: 64,
        ..MaintenanceOptions::for_memory(32 << 20)
    };
    let sizes = Sizes {
        segment_bytes: 128 << 10,
        bulk_rows: 64,
        journal_file_bytes: 256 << 10,
        manifest_growth_bytes: 16 << 10,
        ..Sizes::default()
    };
    Options {
        memory_bytes: 32 << 20,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(thresholds),
        sizes,
        ..Options::default()
    }
}

fn open(vfs: Arc<dyn Vfs>) -> Result<Database, String> {
    Database::open_with_vfs(vfs, "/db", options()).map_err(words)
}

impl FullDisk {
    /// Tries all sizes of disks.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self, report: &mut dyn FnMut(String)) -> Outcome {
        for disk in 0.. {
            let left = disk * self.step_bytes;
            let failed =
                self.on_disk(left).map_err(|wrong| format!("with room for {left} bytes: {wrong}"))?;
            if failed == 0 {
                report(format!("{disk} disks, up to room for {}: all of the work fits", mib(left)));
                return ensure(disk > 3, || "too few disks were too small".into());
            }
        }
        Ok(())
    }

    fn on_disk(&self, left: u64) -> Result<u32, String> {
        let disk = SmallDisk::new(Arc::new(MemVfs::new()));
        let db = open(Arc::new(disk.clone()))?;
        let rows = Rows::create(&db, self.width).map_err(words)?;
        let mut model = Model { versions: Vec::new(), indexed: false };
        self.work(&rows, Work::Insert, &mut model).map_err(words)?;
        disk.leave(left);
        let (mut failed, mut overcome) = (0, 0);
        for work in WORK {
            let refused = disk.refused();
            match self.work(&rows, work, &mut model) {
                // It gave something back and tried again, or left the journal as long as it was.
                Ok(()) if work.is_maintenance() => overcome += disk.refused() - refused,
                Ok(()) => {}
                Err(Error::DiskFull { .. }) => failed += 1,
                Err(other) => return Err(format!("{work:?} fails otherwise: {other}")),
            }
            expect(&rows, &model).map_err(|wrong| format!("after {work:?}: {wrong}"))?;
        }
        ensure((failed > 0) == (disk.refused() > overcome), || "a full disk went unnoticed".into())?;
        disk.grow();
        for work in WORK {
            self.work(&rows, work, &mut model)
                .map_err(|error| format!("with room again, {work:?}: {error}"))?;
        }
        expect(&rows, &model)?;
        clean(&db)?;
        let used = db.stats().blocks_used_bytes;
        drop(rows);
        drop(db);
        let db = open(Arc::new(disk))?;
        let kept = db.stats().blocks_used_bytes;
        ensure(kept == used, || format!("{used} bytes of blocks were in use, {kept} after reopening"))?;
        let rows = Rows::open(&db, self.width).map_err(words)?;
        expect(&rows, &model)?;
        clean(&db)?;
        Ok(failed)
    }

    fn work(&self, rows: &Rows, work: Work, model: &mut Model) -> Result<(), Error> {
        let first = model.versions.len() as i64;
        let new = first..first + self.rows;
        match work {
            Work::Insert => {
                rows.insert(new)?;
                model.versions.resize((first + self.rows) as usize, 0);
            }
            Work::Load => {
                rows.load(new)?;
                model.versions.resize((first + self.rows) as usize, 0);
            }
            Work::Update => {
                rows.update((0..first).step_by(2))?;
                model.versions.iter_mut().step_by(2).for_each(|version| *version += 1);
            }
            Work::Index => {
                if !model.indexed {
                    rows.create_class_index()?;
                    model.indexed = true;
                }
            }
            Work::Maintain => while rows.db.maintain()? != Step::Idle {},
            Work::Checkpoint => rows.db.checkpoint()?,
            Work::Vacuum => rows.db.vacuum()?,
        }
        Ok(())
    }

    /// The journal's sync fails, for want of space as file systems with delayed allocation may have it: what became of
    /// the commit is unknown, so writing ends until the database is reopened. Reads go on.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn failed_sync(&self) -> Outcome {
        let vfs = FaultVfs::new(Arc::new(MemVfs::new()));
        let db = open(Arc::new(vfs.clone()))?;
        let rows = Rows::create(&db, self.width).map_err(words)?;
        rows.insert(0..self.rows).map_err(words)?;
        vfs.arm(Fault::nth(0, FaultEffect::DiskFull).of(&[IoKind::Sync]).in_path("journal"));
        let outcome = rows.update(0..1);
        ensure(matches!(outcome, Err(Error::Poisoned { .. })), || format!("the commit ends as {outcome:?}"))?;
        vfs.disarm();
        let again = rows.update(0..1);
        ensure(matches!(again, Err(Error::Poisoned { .. })), || format!("then one ends as {again:?}"))?;
        let view = rows.view().map_err(words)?;
        let seen = rows.scan(&view)?;
        ensure(seen.0 == self.rows as u64, || format!("reads see {seen:?}"))?;
        drop((view, rows, db));
        let db = open(Arc::new(vfs))?;
        let rows = Rows::open(&db, self.width).map_err(words)?;
        rows.update(0..1).map_err(words)?;
        clean(&db)
    }
}

fn clean(db: &Database) -> Outcome {
    let check = db.check();
    ensure(check.is_clean(), || format!("{:#?}", check.problems))
}

fn expect(rows: &Rows, model: &Model) -> Outcome {
    let view = rows.view().map_err(words)?;
    let expected = (model.versions.len() as u64, model.versions.iter().sum());
    let seen = rows.scan(&view)?;
    ensure(seen == expected, || format!("a scan sees {seen:?} rows and versions, not {expected:?}"))?;
    for (id, version) in model.versions.iter().enumerate().step_by(37) {
        let found = rows.version(&view, id as i64)?;
        ensure(found == Some(*version), || format!("row {id} has version {found:?}, not {version}"))?;
    }
    Ok(())
}
