use super::*;

const HEAP: HeapId = HeapId::new(7);

fn key(bytes: &[u8]) -> RowKey {
    (IndexId::new(1), bytes.into())
}

fn set() -> WriteSet {
    WriteSet::new(&MemoryPool::new(1 << 20)).expect("an empty set costs nothing")
}

#[test]
fn a_reader_sees_the_prefix_before_it() {
    let mut writes = set();
    let first = writes.insert(HEAP, b"a".as_slice().into(), vec![key(b"a")]).expect("memory");
    let before = writes.position();
    let second = writes.insert(HEAP, b"b".as_slice().into(), vec![key(b"b")]).expect("memory");
    writes.mark(HEAP, first, Some(second)).expect("memory");
    writes.mark(HEAP, RowId::new(3), None).expect("memory");
    let heap = writes.heap(HEAP).expect("written to");
    let seen = |position| heap.visible_rows(position).map(|(row, _)| row).collect::<Vec<_>>();
    assert_eq!(seen(before), vec![first]);
    assert_eq!(seen(writes.position()), vec![second]);
    assert!(!heap.is_marked(RowId::new(3), before));
    assert!(heap.is_marked(RowId::new(3), writes.position()));
}

#[test]
fn rolling_back_restores_what_the_position_showed() {
    let mut writes = set();
    let first = writes.insert(HEAP, b"a".as_slice().into(), vec![key(b"a")]).expect("memory");
    let savepoint = writes.position();
    let second = writes.insert(HEAP, b"b".as_slice().into(), vec![key(b"a")]).expect("memory");
    writes.mark(HEAP, first, Some(second)).expect("memory");
    writes.mark(HEAP, RowId::new(9), None).expect("memory");
    writes.rollback_to(savepoint);
    let heap = writes.heap(HEAP).expect("the first row is left");
    assert_eq!(heap.rows_of_key(&key(b"a")).collect::<Vec<_>>(), vec![first]);
    assert_eq!(heap.final_rows().count(), 1);
    assert_eq!(heap.final_marks().count(), 0);
    writes.rollback_to(0);
    assert!(writes.is_empty());
}

#[test]
fn a_committed_row_is_replaced_by_the_last_of_its_own_versions() {
    let mut writes = set();
    let first = writes.insert(HEAP, b"1".as_slice().into(), vec![]).expect("memory");
    writes.mark(HEAP, RowId::new(5), Some(first)).expect("memory");
    let second = writes.insert(HEAP, b"2".as_slice().into(), vec![]).expect("memory");
    writes.mark(HEAP, first, Some(second)).expect("memory");
    let heap = writes.heap(HEAP).expect("written to");
    assert_eq!(
        heap.final_marks().collect::<Vec<_>>(),
        vec![FinalMarks::Few(vec![(RowId::new(5), Some(1), false)])]
    );
    assert_eq!(heap.final_rows().map(|(ordinal, _)| ordinal).collect::<Vec<_>>(), vec![1]);
    writes.mark(HEAP, second, None).expect("memory");
    let heap = writes.heap(HEAP).expect("written to");
    assert_eq!(
        heap.final_marks().collect::<Vec<_>>(),
        vec![FinalMarks::Few(vec![(RowId::new(5), None, false)])]
    );
}

/// Bug: in a release build a row that was ended twice counted twice.
#[test]
fn a_row_is_ended_once() {
    let mut writes = set();
    let own = writes.insert(HEAP, b"1".as_slice().into(), vec![]).expect("memory");
    let committed = RowId::new(5);
    for row in [own, committed] {
        writes.mark(HEAP, row, None).expect("memory");
        let before = (writes.position(), writes.size_bytes());
        assert!(matches!(writes.mark(HEAP, row, None), Err(Error::Invalid(_))));
        assert_eq!((writes.position(), writes.size_bytes()), before);
    }
    let heap = writes.heap(HEAP).expect("written to");
    assert_eq!((heap.visible_count(u64::MAX), heap.marked_count(u64::MAX)), (0, 1));
}

/// Through however many versions, and whatever of them is undone.
#[test]
fn an_own_row_leads_to_the_committed_one_that_it_has_replaced() {
    let mut writes = set();
    let insert = |writes: &mut WriteSet| writes.insert(HEAP, b"1".as_slice().into(), vec![]).expect("memory");
    let replace = |writes: &mut WriteSet, row| {
        let own = insert(writes);
        writes.mark(HEAP, row, Some(own)).expect("memory");
        own
    };
    let original = |writes: &WriteSet, row| writes.heap(HEAP).expect("written to").original(row);
    let new = insert(&mut writes);
    let new = [new, replace(&mut writes, new)];
    let committed = [RowId::new(7 << 40), RowId::new(5)];
    let (start, start_bytes) = (writes.position(), writes.size_bytes());
    let mut own = committed.map(|row| replace(&mut writes, row));
    own = own.map(|row| replace(&mut writes, row));
    let (before, bytes) = (writes.position(), writes.size_bytes());
    let later = own.map(|row| replace(&mut writes, row));
    for own in [own, later] {
        assert_eq!(own.map(|row| original(&writes, row)), committed.map(Some));
    }
    writes.rollback_to(before);
    assert_eq!(writes.size_bytes(), bytes);
    assert_eq!(own.map(|row| original(&writes, row)), committed.map(Some));
    // The same ordinals again, the other way round.
    own.reverse();
    own = own.map(|row| replace(&mut writes, row));
    assert_eq!(own, later);
    assert_eq!(own.map(|row| original(&writes, row)), [committed[1], committed[0]].map(Some));
    assert_eq!(new.map(|row| original(&writes, row)), [None, None]);
    writes.rollback_to(start);
    assert_eq!(writes.size_bytes(), start_bytes);
}
