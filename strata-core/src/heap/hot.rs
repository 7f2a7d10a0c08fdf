//! The hot image of a segment: its row pages, in memory or in blocks.
//!
//! A page is *resident* (an [`AppendPage`], or a jumbo page), *stored* (a block, read through the page cache), or both. The
//! tail page, to which rows are still appended, is always resident. Once sealed, a page is registered with the page
//! cache as a dirty page: memory pressure then writes it to a fresh extent that only memory knows (rule 4) and drops the
//! frame. A checkpoint writes pages too and has the manifest name the blocks; what the manifest named before becomes
//! obsolete when that edit is durable.
//!
//! **Locks.** Readers load a page's state with one atomic load. `PageSlot::transition` is held over the write of
//! the page, by eviction and maintenance; no memory is reserved under it, and the commit section never takes it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::HeapEnv;
use super::append_list::AppendList;
use super::append_page::AppendPage;
use super::row_page::{PAGE_BYTES, PageAddress, ROW_PAGE_FORMAT, RowPage};
use crate::block::BlockHandle;
use crate::block::BlockKind;
use crate::cache::{Access, DirtyId, DirtyPage, PageCache, PageKey};
use crate::error::{Error, Result};
use crate::ids::BlockId;
use crate::memory::Reservation;

/// A page in memory, with its share of the pool.
pub(super) struct Resident {
    form: Form,
    _memory: Option<Reservation>,
}

enum Form {
    Append(AppendPage),
    Fixed(RowPage),
}

/// A page that a reader holds.
#[derive(Clone)]
pub(super) enum PinnedPage {
    Resident(Arc<Resident>),
    Cached(Arc<RowPage>),
}

/// Where a page is.
struct PageState {
    resident: Option<Arc<Resident>>,
    stored: Option<StoredPage>,
}

/// A block that holds a page, and how many of its rows.
#[derive(Clone)]
struct StoredPage {
    handle: Arc<BlockHandle>,
    rows: u32,
}

/// What changes only with the page's state.
#[derive(Default)]
struct Transition {
    /// The block that the durable manifest names.
    named: Option<Arc<BlockHandle>>,
    /// The block that an edit names which is not known to be durable yet.
    pending: Option<Arc<BlockHandle>>,
    /// Whether the segment has another image, or none, by now.
    retired: bool,
}

impl Transition {
    /// Whether the manifest names the block, or may soon.
    fn keeps(&self, handle: &BlockHandle) -> bool {
        [&self.named, &self.pending].into_iter().flatten().any(|kept| kept.id() == handle.id())
    }
}

/// One page of a hot image.
pub(super) struct PageSlot {
    address: PageAddress,
    state: ArcSwap<PageState>,
    transition: Mutex<Transition>,
    /// Its registration with the page cache, from the day it was sealed.
    registered: OnceLock<DirtyId>,
}

/// The pages of a segment, in slot order.
pub struct HotImage {
    pub(super) pages: AppendList<Arc<PageSlot>>,
    /// Bytes of the pages, for the seal.
    bytes: AtomicU64,
    env: HeapEnv,
}

impl Resident {
    pub fn append_page(address: PageAddress, memory: Option<Reservation>) -> Self {
        Self { form: Form::Append(AppendPage::new(address)), _memory: memory }
    }

    pub fn jumbo(address: PageAddress, row: &[u8], memory: Option<Reservation>) -> Self {
        Self { form: Form::Fixed(RowPage::jumbo(address, row)), _memory: memory }
    }

    /// The page to append to; `None` for a jumbo page.
    pub fn appendable(&self) -> Option<&AppendPage> {
        match &self.form {
            Form::Append(page) => Some(page),
            Form::Fixed(_) => None,
        }
    }

    fn count(&self) -> u32 {
        match &self.form {
            Form::Append(page) => page.count(),
            Form::Fixed(page) => page.count(),
        }
    }

    fn size_bytes(&self) -> usize {
        match &self.form {
            Form::Append(_) => PAGE_BYTES,
            Form::Fixed(page) => page.size_bytes(),
        }
    }
}

impl PinnedPage {
    /// The bytes of the page's `index`-th row.
    pub fn row(&self, index: u32) -> Option<&[u8]> {
        match self {
            Self::Resident(resident) => match &resident.form {
                Form::Append(page) => page.row(index),
                Form::Fixed(page) => page.row(index),
            },
            Self::Cached(page) => page.row(index),
        }
    }
}

impl PageSlot {
    /// A new page in memory.
    pub fn resident(address: PageAddress, resident: Resident) -> Arc<Self> {
        let state = PageState { resident: Some(Arc::new(resident)), stored: None };
        Self::with(address, state, Transition::default())
    }

    /// A page that the manifest names.
    pub fn stored(address: PageAddress, handle: Arc<BlockHandle>, rows: u32) -> Arc<Self> {
        let transition = Transition { named: Some(Arc::clone(&handle)), ..Transition::default() };
        let state = PageState { resident: None, stored: Some(StoredPage { handle, rows }) };
        Self::with(address, state, transition)
    }

    fn with(address: PageAddress, state: PageState, transition: Transition) -> Arc<Self> {
        let (state, transition) = (ArcSwap::from_pointee(state), Mutex::new(transition));
        Arc::new(Self { address, state, transition, registered: OnceLock::new() })
    }

    pub fn first_slot(&self) -> u32 {
        u32::from(self.address.first_slot)
    }

    /// Rows that the page has by now.
    pub fn count(&self) -> u32 {
        let state = self.state.load();
        match (&state.resident, &state.stored) {
            (Some(resident), _) => resident.count(),
            (None, Some(stored)) => stored.rows,
            (None, None) => 0,
        }
    }

    /// The resident page, if it is one.
    pub fn resident_page(&self) -> Option<Arc<Resident>> {
        self.state.load().resident.clone()
    }

    /// The page, read if need be.
    ///
    /// # Errors
    /// Those of the block store; `CorruptBlock` where the block is not this page.
    pub fn pin(&self, env: &HeapEnv, access: Access) -> Result<PinnedPage> {
        let state = self.state.load();
        if let Some(resident) = &state.resident {
            if access == Access::Point
                && let Some(id) = self.registered.get()
            {
                env.cache.touch_dirty(*id);
            }
            return Ok(PinnedPage::Resident(Arc::clone(resident)));
        }
        let stored = state.stored.as_ref().expect("a page is resident or stored");
        let id = stored.handle.id();
        let key = PageKey { block: id, offset: 0 };
        let page = env.cache.get_or_load(key, access, || self.read(env, id, stored.rows))?;
        Ok(PinnedPage::Cached(page))
    }

    fn read(&self, env: &HeapEnv, id: BlockId, rows: u32) -> Result<(RowPage, usize)> {
        let (info, payload) = env.cache.store().read_all(id, BlockKind::RowPage)?;
        if info.format != ROW_PAGE_FORMAT {
            let (found, supported) = (info.format.into(), ROW_PAGE_FORMAT.into());
            return Err(Error::UnsupportedFormat { what: "a row page".to_owned(), found, supported });
        }
        let page = RowPage::parse(id, payload)?;
        if page.address() != self.address || page.count() < rows {
            let detail = format!(
                "expected {rows} rows of {:?}, got {} of {:?}",
                self.address,
                page.count(),
                page.address()
            );
            return Err(Error::CorruptBlock { block: id, offset: 0, detail });
        }
        let bytes = page.size_bytes();
        Ok((page, bytes))
    }

    /// A block that holds at least the first `rows` rows, written now if there is none (checkpoint); and whether
    /// the manifest does not name it yet.
    ///
    /// # Errors
    /// Those of the block store.
    pub fn persist(&self, env: &HeapEnv, rows: u32) -> Result<(Arc<BlockHandle>, bool)> {
        let mut transition = self.transition.lock();
        let stored = self.write(&mut transition, &env.cache, rows)?;
        let fresh = transition.named.as_ref().is_none_or(|named| named.id() != stored.handle.id());
        if let Some(given_up) = transition.pending.replace(Arc::clone(&stored.handle))
            && given_up.id() != stored.handle.id()
            && !transition.keeps(&given_up)
        {
            given_up.mark_obsolete();
        }
        Ok((stored.handle, fresh))
    }

    /// Writes the page to a fresh block unless one holds `rows` rows of it.
    fn write(&self, transition: &mut Transition, cache: &Arc<PageCache>, rows: u32) -> Result<StoredPage> {
        let state = self.state.load_full();
        if let Some(stored) = state.stored.as_ref().filter(|stored| stored.rows >= rows) {
            return Ok(stored.clone());
        }
        let resident = state.resident.as_ref().expect("a page that is not resident is stored in full");
        let written = resident.count();
        debug_assert!(written >= rows);
        let store = cache.store();
        let id = match &resident.form {
            Form::Append(page) => store.write(BlockKind::RowPage, ROW_PAGE_FORMAT, &page.payload(written))?,
            Form::Fixed(page) => store.write(BlockKind::RowPage, ROW_PAGE_FORMAT, page.payload())?,
        };
        let handle = cache.handle(id);
        let stored = StoredPage { handle, rows: written };
        if let Some(old) = &state.stored
            && !transition.keeps(&old.handle)
        {
            old.handle.mark_obsolete();
        }
        let resident = state.resident.clone();
        self.state.store(Arc::new(PageState { resident, stored: Some(stored.clone()) }));
        Ok(stored)
    }

    /// Notes that the durable manifest names `handle` for this page.
    pub fn set_named(&self, handle: Arc<BlockHandle>) {
        let mut transition = self.transition.lock();
        if transition.retired {
            return;
        }
        transition.pending = None;
        let old = transition.named.replace(handle);
        let current = self.state.load().stored.as_ref().map(|stored| stored.handle.id());
        if let Some(old) = old.filter(|old| Some(old.id()) != current && !transition.keeps(old)) {
            old.mark_obsolete();
        }
    }

    /// Tells the page cache that the page, now sealed, may be evicted.
    pub fn register(self: &Arc<Self>, env: &HeapEnv) {
        let transition = self.transition.lock();
        if transition.retired || self.registered.get().is_some() {
            return;
        }
        let Some(resident) = self.resident_page() else { return };
        let page = Evictable {
            slot: Arc::clone(self),
            cache: Arc::downgrade(&env.cache),
            size_bytes: resident.size_bytes(),
        };
        self.registered.get_or_init(|| env.cache.insert_dirty(Arc::new(page)));
    }

    /// Lets go of the page's blocks: the durable manifest names none of them any more.
    pub fn retire(&self, env: &HeapEnv) {
        let mut transition = self.transition.lock();
        self.unregister(&mut transition, env);
        let kept = [transition.named.take(), transition.pending.take()];
        let stored = self.state.load().stored.as_ref().map(|stored| Arc::clone(&stored.handle));
        for handle in kept.into_iter().flatten().chain(stored) {
            handle.mark_obsolete();
        }
    }

    fn unregister(&self, transition: &mut Transition, env: &HeapEnv) {
        transition.retired = true;
        if let Some(id) = self.registered.get() {
            env.cache.remove_dirty(*id);
        }
    }
}

impl HotImage {
    pub fn new(env: HeapEnv) -> Self {
        Self { pages: AppendList::new(), bytes: AtomicU64::new(0), env }
    }

    /// Slots that have a row by now: they stand without holes from slot 0.
    pub fn slots(&self) -> u32 {
        self.pages.last().map_or(0, |page| page.first_slot() + page.count())
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Appends a page of `bytes` bytes (the commit section, or opening).
    pub(super) fn push(&self, page: Arc<PageSlot>, bytes: u64) {
        debug_assert_eq!(page.first_slot(), self.slots(), "rule 1: pages follow one another");
        self.pages.push(page);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The page that holds `slot`, if one does.
    pub(super) fn page_of(&self, slot: u32) -> Option<&Arc<PageSlot>> {
        let after = self.pages.partition_point(|page| page.first_slot() <= slot);
        let page = self.pages.get(after.checked_sub(1)?)?;
        (slot - page.first_slot() < page.count()).then_some(page)
    }

    /// Lets go of all blocks: the durable manifest names none of them any more.
    pub(super) fn retire(&self) {
        for page in self.pages.iter() {
            page.retire(&self.env);
        }
    }
}

impl Drop for HotImage {
    fn drop(&mut self) {
        for page in self.pages.iter() {
            page.unregister(&mut page.transition.lock(), &self.env);
        }
    }
}

/// A sealed page as the page cache sees it.
struct Evictable {
    slot: Arc<PageSlot>,
    cache: Weak<PageCache>,
    size_bytes: usize,
}

impl DirtyPage for Evictable {
    fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn is_pinned(&self) -> bool {
        // One count is the state's own.
        self.slot.state.load().resident.as_ref().is_some_and(|resident| Arc::strong_count(resident) > 1)
    }

    fn write_back(&self) -> Result<()> {
        let Some(cache) = self.cache.upgrade() else { return Ok(()) };
        let mut transition = self.slot.transition.lock();
        if transition.retired {
            return Ok(());
        }
        let rows = self.slot.count();
        let stored = self.slot.write(&mut transition, &cache, rows)?;
        debug_assert!(stored.rows == rows, "rule 4: a sealed page is evicted whole");
        self.slot.state.store(Arc::new(PageState { resident: None, stored: Some(stored) }));
        Ok(())
    }
}
