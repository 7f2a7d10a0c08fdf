//! Rows in strips are the rows that the columns have.

use super::super::strips::LOOKUPS;
use super::generate::{PROFILES, Profile, types, values};
use super::*;
use crate::cache::{PageKey, PageMemo};
use crate::ids::SchemaVersion;
use crate::row::Schema;

/// A sparse block of a few columns of all kinds, the slots that it has, and their types.
fn sparse(seed: u64) -> (ColumnBlock, Vec<u32>, Vec<ColumnType>) {
    let mut random = Random::new(seed);
    let slots = 1 + random.below(500) as u32;
    let present: Vec<u32> = (0..slots).filter(|slot| *slot == 0 || random.below(4) > 0).collect();
    let mut words = vec![0_u64; 1024];
    present.iter().for_each(|slot| words[*slot as usize / 64] |= 1 << (slot % 64));
    let all = types();
    let kinds: Vec<ColumnType> =
        (0..4).map(|_| all[random.below(all.len() as u64) as usize].clone()).collect();
    let columns: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(id, kind)| {
            let profile = PROFILES[random.below(PROFILES.len() as u64) as usize];
            let values = values(kind, profile, present.len(), random.below(3) * 10, seed ^ id as u64);
            (ColumnId::new(id as u32), kind.clone(), array(kind, &values))
        })
        .collect();
    let payload = encode_block(&columns, Some(&words), slots, &EncodeOptions::default()).expect("encodes");
    (open(&payload).expect("opens"), present, kinds)
}

#[test]
fn rows_in_strips_are_those_of_the_columns() {
    let mut seen = 0;
    for seed in 1..200 {
        let (block, present, kinds) = sparse(seed);
        let mut columns: Vec<Column> = (0..).zip(&kinds).map(|(id, kind)| column(id, kind)).collect();
        columns[1].dropped = true;
        columns.push(Column { missing: Datum::Int64(7), ..column(4, &ColumnType::Int64) });
        let schema = Schema::new(SchemaVersion::new(3), columns);
        let last = *present.last().expect("slot 0") as u16;
        assert!(block.strip_row(last).is_none(), "seen for the first time");
        for _ in 0..1 + LOOKUPS {
            for slot in present.iter().map(|slot| *slot as u16) {
                let Some(row) = block.strip_row(slot) else { continue };
                let row = row.datums(&block, &schema).expect("reads");
                for (column, found) in schema.columns.iter().zip(&row) {
                    let expected = match column.dropped {
                        true => Datum::Null,
                        false => block.get(column, slot).expect("reads"),
                    };
                    assert!(same(found, &expected), "seed {seed} slot {slot}: {found:?}, not {expected:?}");
                    seen += 1;
                }
            }
        }
        let absent = (0..500).find(|slot| !block.contains(*slot)).expect("few slots");
        assert!(block.strip_row(absent as u16).is_none());
    }
    assert!(seen > 100_000, "{seen} values in strips");
}

/// Blocks share what they know of their columns, and only where these are the same.
#[test]
fn blocks_of_other_columns_are_read_by_their_own() {
    let text = |id: u32| (ColumnId::new(id), ColumnType::Text);
    let number = |id: u32| (ColumnId::new(id), ColumnType::Int64);
    let tables =
        [vec![number(0), text(1)], vec![text(0), number(1)], vec![number(0), text(2)], vec![number(0)]];
    // All are open at once, and each of them twice.
    let blocks: Vec<_> = (0..2 * tables.len())
        .map(|turn| {
            let columns = &tables[turn % tables.len()];
            let of = |(id, kind): &(ColumnId, ColumnType)| {
                let seed = turn as u64 * 10 + u64::from(id.get());
                (*id, kind.clone(), values(kind, Profile::Random, 40, 0, seed))
            };
            let data: Vec<_> = columns.iter().map(of).collect();
            let arrays: Vec<_> =
                data.iter().map(|(id, kind, values)| (*id, kind.clone(), array(kind, values))).collect();
            let payload = encode_block(&arrays, None, 40, &EncodeOptions::default()).expect("encodes");
            (open(&payload).expect("opens"), data)
        })
        .collect();
    for (block, data) in &blocks {
        let row = (0..=LOOKUPS).find_map(|_| block.strip_row(7)).expect("is made");
        for (id, kind, values) in data {
            let found = row.datum(block, &column(id.get(), kind)).expect("reads");
            assert!(same(&found, &values[7]), "{found:?}, not {:?}", values[7]);
        }
        let other = Column { missing: Datum::Int64(3), ..column(9, &ColumnType::Int64) };
        assert_eq!(row.datum(block, &other).expect("is missing"), Datum::Int64(3));
        assert!(row.datum(block, &column(0, &ColumnType::Bool)).is_err(), "of another type");
    }
}

#[test]
fn wide_rows_make_no_strips() {
    let columns = [column(0, &ColumnType::Text)];
    let all_alike = vec![Datum::Text("x".repeat(5_000)); 100];
    let random = values(&ColumnType::Text, Profile::Random, 100, 0, 1);
    for (values, expected) in [(all_alike, false), (random, true)] {
        let block = block_of(&ColumnType::Text, &values, 32 << 10);
        let found = (0..=LOOKUPS).any(|_| block.strip_row(40).is_some());
        assert_eq!(found, expected, "{:?}", values[40]);
        assert!(same(&block.get(&columns[0], 40).expect("reads"), &values[40]));
    }
}

#[test]
fn damage_in_one_column_leaves_the_others_to_read() {
    let types = [ColumnType::Int64, ColumnType::Text];
    let columns: Vec<_> = (0..)
        .zip(&types)
        .map(|(id, kind)| {
            (ColumnId::new(id), kind.clone(), array(kind, &values(kind, Profile::Random, 100, 0, 9)))
        })
        .collect();
    let mut payload = encode_block(&columns, None, 100, &EncodeOptions::default()).expect("encodes");
    let whole = open(&payload).expect("opens");
    let end = payload.len();
    // The pages of the last column and its statistics are the last of the block.
    payload[end / 2] ^= 1;
    let Ok(block) = open(&payload) else { panic!("the directory is damaged") };
    let schema =
        Schema::new(SchemaVersion::new(1), (0..).zip(&types).map(|(id, kind)| column(id, kind)).collect());
    assert!((0..2 * LOOKUPS).all(|_| block.strip_row(5).is_none()));
    let [numbers, texts] = &*schema.columns else { panic!("two columns") };
    assert_eq!(block.get(numbers, 5).expect("is whole"), whole.get(numbers, 5).expect("is whole"));
    assert!(block.get(texts, 5).is_err());
}

/// A block of a hundred numbers and its cache.
fn cached() -> (Arc<PageCache>, ColumnBlock) {
    let values = values(&ColumnType::Int64, Profile::Random, 100, 0, 1);
    let array = [(ColumnId::new(0), ColumnType::Int64, array(&ColumnType::Int64, &values))];
    let payload = encode_block(&array, None, 100, &EncodeOptions::default()).expect("encodes");
    let store = Arc::new(MemBlockStore::new());
    let id = store.write(BlockKind::ColumnBlock, FORMAT, &payload).expect("is written");
    let cache = PageCache::new(store, MemoryPool::new(256 << 20), CacheOptions::default());
    let handle = cache.handle(id);
    let block = ColumnBlock::open(cache.clone(), handle).expect("opens");
    (cache, block)
}

/// Lets the cache's clock go on.
fn tick(cache: &PageCache, block: &ColumnBlock) {
    let key = PageKey { block: block.handle().id(), offset: (1 << 63) + cache.stats().misses };
    cache.get_or_load(key, Access::Point, || Ok(((), 0))).expect("is made");
}

#[test]
fn a_strip_is_made_after_so_many_lookups_and_anew_after_as_many() {
    let (cache, block) = cached();
    let found = |slot: u16| block.strip_row(slot).is_some();
    for turn in 0..3 {
        for lookup in 0..LOOKUPS {
            assert!(!found(40), "lookup {lookup} of turn {turn}");
        }
        assert!((0..200).all(|_| found(40) && found(41)), "turn {turn}");
        assert!(turn > 0 || !found(70), "another strip");
        cache.forget(block.handle().id());
    }
}

#[test]
fn a_strip_that_is_gone_leaves_nothing_with_the_block() {
    let (cache, block) = cached();
    let handle = block.handle().clone();
    let opened_later = ColumnBlock::open(cache.clone(), handle).expect("opens");
    let find = |block: &ColumnBlock, times: u8| (0..times).any(|_| block.strip_row(40).is_some());
    for turn in 0..3 {
        assert!(find(&block, LOOKUPS + 1));
        assert_eq!(block.strips().remembered(), 0, "it has just entered");
        tick(&cache, &block);
        assert!(find(&block, 1));
        assert_eq!(block.strips().remembered(), 1, "turn {turn}");
        // Another strip, so that the later one has places for its own.
        let others = (0..=LOOKUPS).filter(|_| opened_later.strip_row(70).is_some()).count();
        assert!(others > 0 && find(&opened_later, LOOKUPS + 1), "it finds the strip of the earlier");
        tick(&cache, &block);
        assert!(find(&opened_later, 1));
        cache.forget(block.handle().id());
        assert_eq!((block.strips().remembered(), opened_later.strips().remembered()), (0, 0), "turn {turn}");
    }
}

#[test]
fn a_block_remembers_strips_while_memory_is_to_spare() {
    for (free, expected) in [(32 << 20, 0), (128 << 20, 1)] {
        let (cache, block) = cached();
        let taken = cache.pool().reserve("others", (256 << 20) - free).expect("is free");
        assert!((0..=LOOKUPS).any(|_| block.strip_row(40).is_some()), "it is made in any case");
        tick(&cache, &block);
        assert!(block.strip_row(40).is_some());
        assert_eq!(block.strips().remembered(), expected, "with {free} bytes");
        let used = cache.pool().used();
        drop(block);
        let places = 4 * size_of::<PageMemo<[u8]>>();
        assert_eq!(used - cache.pool().used(), if expected > 0 { places } else { 0 });
        drop(taken);
    }
}

/// With a cache of a tenth of them: threads make, find and evict each other's.
#[test]
fn strips_are_right_while_they_come_and_go() {
    const ROWS: usize = 10_000;
    let values = values(&ColumnType::Int64, Profile::Random, ROWS, 0, 3);
    let columns = [(ColumnId::new(0), ColumnType::Int64, array(&ColumnType::Int64, &values))];
    let payload = encode_block(&columns, None, ROWS as u32, &EncodeOptions::default()).expect("encodes");
    let store = Arc::new(MemBlockStore::new());
    let id = store.write(BlockKind::ColumnBlock, FORMAT, &payload).expect("is written");
    let options = CacheOptions { max_bytes: Some(140 << 10), ..CacheOptions::default() };
    let cache = PageCache::new(store, MemoryPool::new(4 << 20), options);
    let block = ColumnBlock::open(cache.clone(), cache.handle(id)).expect("opens");
    let schema = Schema::new(SchemaVersion::new(1), vec![column(0, &ColumnType::Int64)]);
    let found: usize = std::thread::scope(|scope| {
        let threads = (0..4).map(|thread| {
            let (block, schema, values) = (&block, &schema, &values);
            scope.spawn(move || {
                let mut random = Random::new(thread + 1);
                let lookups = (0..8_000).map(|lookup| {
                    // Most of them in a part that moves on.
                    let window = lookup / 1_000 * 400;
                    let slot = if random.below(8) > 0 {
                        window + random.below(400)
                    } else {
                        random.below(ROWS as u64)
                    };
                    let Some(row) = block.strip_row(slot as u16) else { return 0 };
                    assert_eq!(row.datums(block, schema).expect("reads"), [values[slot as usize].clone()]);
                    1
                });
                lookups.sum::<usize>()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let stats = cache.stats();
    assert!(found > 8_000 && stats.evictions > 50, "{found} of 32,000 in strips, {stats:?}");
    let remembered = block.strips().remembered();
    assert!(0 < remembered && remembered <= stats.pages, "{remembered} are remembered of {stats:?}");
    cache.forget(id);
    assert_eq!((block.strips().remembered(), cache.stats().pages), (0, 0));
}
