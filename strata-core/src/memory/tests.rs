use super::*;

/// Holds reservations and gives them back one at a time.
struct Hoard {
    held: Mutex<Vec<Reservation>>,
    asked: AtomicUsize,
    pool: MemoryPool,
}

impl Hoard {
    fn new(pool: &MemoryPool, pieces: usize, bytes: usize) -> Arc<Self> {
        let held = (0..pieces).map(|_| pool.reserve("hoard", bytes).expect("room")).collect();
        let hoard = Arc::new(Self { held: Mutex::new(held), asked: AtomicUsize::new(0), pool: pool.clone() });
        let weak: Weak<dyn Reclaimer> = Arc::downgrade(&hoard) as Weak<dyn Reclaimer>;
        pool.register(weak);
        hoard
    }
}

impl Reclaimer for Hoard {
    fn reclaim(&self, _bytes: usize) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(self.pool.reserve("nested", self.pool.cap()).is_err(), "reclaiming does not nest");
        self.held.lock().pop().map_or(0, |reservation| reservation.bytes())
    }
}

#[test]
fn the_cap_holds_and_drops_give_back() {
    let pool = MemoryPool::new(100);
    let first = pool.reserve("a", 60).expect("room");
    let error = pool.reserve("b", 41).expect_err("full");
    assert!(matches!(error, Error::OutOfMemory { consumer: "b", requested: 41, available: 40, cap: 100 }));
    assert!(pool.try_reserve("b", 41).is_none());
    drop(first);
    assert_eq!(pool.used(), 0);
    assert!(pool.reserve("b", usize::MAX).is_err(), "no overflow");
}

#[test]
fn split_merge_grow_and_shrink_keep_the_sum() {
    let pool = MemoryPool::new(100);
    let mut first = pool.reserve("a", 50).expect("room");
    let mut second = first.split(20);
    assert_eq!((first.bytes(), second.bytes(), pool.used()), (30, 20, 50));
    assert!(second.try_grow(50));
    assert!(!second.try_grow(1));
    assert!(second.grow(1).is_err());
    second.shrink(69);
    first.merge(second);
    assert_eq!((first.bytes(), pool.used()), (31, 31));
    first.shrink(1_000);
    assert_eq!((first.bytes(), pool.used()), (0, 0));
}

#[test]
fn reserve_asks_reclaimers_until_it_fits_and_try_reserve_does_not() {
    let pool = MemoryPool::new(100);
    let hoard = Hoard::new(&pool, 10, 10);
    assert!(pool.try_reserve("x", 25).is_none());
    assert_eq!(hoard.asked.load(Ordering::Relaxed), 0);
    let wanted = pool.reserve("x", 25).expect("the hoard gives way");
    assert_eq!(hoard.held.lock().len(), 7);
    assert!(pool.reserve("x", 76).is_err());
    assert_eq!((hoard.held.lock().len(), pool.used()), (0, 25));
    drop(wanted);
    drop(hoard);
    assert!(pool.reserve("x", 100).is_ok(), "a dead reclaimer is not asked");
}

#[test]
fn a_quarter_is_to_spare() {
    let pool = MemoryPool::new(1_000);
    let mut held = pool.try_reserve("x", 750).expect("is free");
    assert!(pool.is_to_spare());
    assert!(held.try_grow(1));
    assert!(!pool.is_to_spare());
}

#[test]
fn threads_never_exceed_the_cap() {
    let pool = MemoryPool::new(1_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2_000 {
                    let held = pool.try_reserve("t", 100 + round % 300);
                    assert!(pool.used() <= 1_000);
                    drop(held);
                }
            });
        }
    });
    assert_eq!(pool.used(), 0);
}
