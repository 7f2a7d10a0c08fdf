//! Which pages of the store are free.
//!
//! Free runs are coalesced at once and handed out best fit, lowest address first among equals, so the file's tail
//! empties and can be cut. All numbers are pages of 4 KiB. Nothing here does I/O.
//!
//! **Recovery (rule 4).** A new allocator is *recovering*: what is allocated comes from past everything adopted and
//! past the end the file had; what is freed is only forgotten. [`ExtentAllocator::finish_recovery`] makes all gaps
//! between the used extents free.
//!
//! **Invariant.** Used extents and free runs are disjoint, lie below `end`, and (after recovery) together with the
//! runs that are taken out for punching cover it; no two free runs touch.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::ids::BlockId;

/// A run of free pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first page.
    pub first: u64,
    /// Its length in pages.
    pub pages: u64,
    /// How many of its pages still take space on the device, at most.
    pub unpunched: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.pages
    }
}

/// Hands out extents and takes them back.
#[derive(Debug)]
pub struct ExtentAllocator {
    recovering: bool,
    /// What is freed is not handed out again.
    keeps_freed: bool,
    /// First page of each extent in use, with its length.
    used: BTreeMap<u64, u64>,
    used_pages: u64,
    /// Free runs by first page.
    free: BTreeMap<u64, Run>,
    /// (pages, first) of each free run.
    free_by_size: BTreeSet<(u64, u64)>,
    /// The page after the last one that is used, free or taken out.
    end: u64,
}

impl ExtentAllocator {
    /// A recovering allocator over a file of `end` pages, none of them known to be in use.
    pub fn recovering(end: u64) -> Self {
        Self {
            recovering: true,
            keeps_freed: false,
            used: BTreeMap::new(),
            used_pages: 0,
            free: BTreeMap::new(),
            free_by_size: BTreeSet::new(),
            end,
        }
    }

    /// Notes that `id` is in use. Adopting the same extent twice is one adoption.
    ///
    /// # Errors
    /// `CorruptBlock` where it overlaps another extent in use; `Invalid` after recovery.
    pub fn adopt(&mut self, id: BlockId) -> Result<()> {
        if !self.recovering {
            return Err(Error::Invalid(format!("block {id} adopted after recovery has ended")));
        }
        let (first, pages) = (id.first_page(), id.pages());
        let before = self.used.range(..first + pages).next_back().map(|(first, pages)| (*first, *pages));
        match before {
            Some(found) if found == (first, pages) => return Ok(()),
            Some((other, other_pages)) if other + other_pages > first => {
                let detail = format!("it overlaps the extent {other}+{other_pages}, which is in use too");
                return Err(Error::CorruptBlock { block: id, offset: 0, detail });
            }
            _ => {}
        }
        self.use_extent(first, pages);
        self.end = self.end.max(first + pages);
        Ok(())
    }

    /// Ends recovery: every gap becomes free.
    pub fn finish_recovery(&mut self) {
        if !std::mem::replace(&mut self.recovering, false) {
            return;
        }
        let mut position = 0;
        let used: Vec<(u64, u64)> = self.used.iter().map(|(first, pages)| (*first, *pages)).collect();
        for (first, pages) in used.into_iter().chain([(self.end, 0)]) {
            if first > position {
                let pages = first - position;
                self.insert_run(Run { first: position, pages, unpunched: pages });
            }
            position = first + pages;
        }
    }

    /// Takes `pages` pages into use; `None` where no [`BlockId`] can name the extent.
    pub fn allocate(&mut self, pages: u64) -> Option<BlockId> {
        let fit = self.free_by_size.range((pages, 0)..).next().copied();
        let tail = self.free.last_key_value().map(|(_, run)| *run).filter(|run| run.end() == self.end);
        let first = match (fit, tail) {
            (Some((_, first)), _) => first,
            (None, Some(tail)) => tail.first,
            (None, None) => self.end,
        };
        let id = BlockId::from_extent(first, pages)?;
        if let Some(run) = self.remove_run(first)
            && run.pages > pages
        {
            let rest = run.pages - pages;
            let unpunched = run.unpunched.min(rest);
            self.insert_run(Run { first: first + pages, pages: rest, unpunched });
        }
        self.use_extent(first, pages);
        self.end = self.end.max(first + pages);
        Some(id)
    }

    /// Takes an extent out of use, and returns the free run it is now part of; `None` where it is not to be reused, or
    /// where no such extent is in use.
    pub fn free(&mut self, id: BlockId) -> Option<Run> {
        if self.used.get(&id.first_page()) != Some(&id.pages()) {
            debug_assert!(false, "block {id} freed while not in use");
            return None;
        }
        self.used.remove(&id.first_page());
        self.used_pages -= id.pages();
        if self.recovering || self.keeps_freed {
            return None;
        }
        Some(self.put_back(Run { first: id.first_page(), pages: id.pages(), unpunched: id.pages() }))
    }

    /// What is freed from now on is out of use and never handed out.
    pub fn keep_freed(&mut self) {
        self.keeps_freed = true;
    }

    /// Takes a free run out, so that its space can be given back to the system while nobody can allocate it.
    pub fn take_run(&mut self, first: u64) -> Option<Run> {
        self.remove_run(first)
    }

    /// Puts a run back, coalesced with its neighbours; returns the run it is part of.
    pub fn put_back(&mut self, mut run: Run) -> Run {
        if let Some((_, before)) = self.free.range(..run.first).next_back()
            && before.end() == run.first
        {
            let before = *before;
            self.remove_run(before.first);
            run.first = before.first;
            run.pages += before.pages;
            run.unpunched += before.unpunched;
        }
        if let Some(after) = self.remove_run(run.end()) {
            run.pages += after.pages;
            run.unpunched += after.unpunched;
        }
        self.insert_run(run);
        run
    }

    /// Gives up the free tail but for `slack` pages, where it is at least twice as long as that; returns the new end.
    pub fn cut_tail(&mut self, slack: u64) -> Option<u64> {
        let tail = self.free.last_key_value().map(|(_, run)| *run).filter(|run| run.end() == self.end)?;
        if tail.pages < slack.saturating_mul(2).max(1) {
            return None;
        }
        self.remove_run(tail.first);
        if slack > 0 {
            self.insert_run(Run { pages: slack, unpunched: tail.unpunched.min(slack), ..tail });
        }
        self.end = tail.first + slack;
        Some(self.end)
    }

    /// Whether recovery goes on.
    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// Pages of all extents in use.
    pub fn used_pages(&self) -> u64 {
        self.used_pages
    }

    /// The page after the last one.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn use_extent(&mut self, first: u64, pages: u64) {
        self.used.insert(first, pages);
        self.used_pages += pages;
    }

    fn insert_run(&mut self, run: Run) {
        self.free.insert(run.first, run);
        self.free_by_size.insert((run.pages, run.first));
    }

    fn remove_run(&mut self, first: u64) -> Option<Run> {
        let run = self.free.remove(&first)?;
        self.free_by_size.remove(&(run.pages, first));
        Some(run)
    }
}
