//! Going back to a savepoint, and going on after a statement that failed.

use strata_core::ids::TableId;
use strata_core::table::{Isolation, Savepoint, Transaction};
use strata_core::txn::TableLockMode;
use strata_core::vfs::{Fault, FaultEffect};
use strata_core::{Database, Result};

use crate::rest::{Rest, close, rest, squeeze};
use crate::rig::{Contents, Outcome, change, commit, contents, def, index, insert, load, now, writer};
use crate::spilled::few_own_rows;
use crate::sweep::{Operation, Rig, start, sweep};

/// SERIALIZABLE: what is undone is noted as read, and is checked at the commit.
#[test]
fn written_and_loaded_rows() {
    let run = |db: &Database| -> Outcome {
        let mut txn = db.begin(Isolation::Serializable)?;
        let cold = def(db, "cold").id;
        now(txn.lock_table(cold, TableLockMode::RowExclusive))?;
        insert(db, &txn, "cold", 900..903)?;
        let savepoint = txn.savepoint();
        change(db, &txn, "cold", 150..155, true)?;
        load(&txn, cold, 1_000..1_250)?;
        txn.savepoint();
        insert(db, &txn, "cold", 910..913)?;
        txn.rollback_to(&savepoint)?;
        squeeze(db);
        load(&txn, cold, 1_000..1_120)?;
        insert(db, &txn, "cold", 910..912)?;
        commit(db, txn)
    };
    sweep(&Operation::change("rows undone", run).at_least(20));
}

/// A statement of a transaction.
type Statement = fn(&Database, &mut Transaction) -> Result<()>;

const STATEMENTS: [(&str, u64, Statement); 4] = [
    ("rows", 12, |db, txn| insert(db, txn, "cold", 1_000..1_020)),
    ("changes", 10, |db, txn| {
        change(db, txn, "cold", 150..170, false)?;
        change(db, txn, "cold", 210..230, true)
    }),
    ("a load", 5, |db, txn| load(txn, cold(db), 1_000..1_250)),
    ("an index", 5, |db, txn| now(txn.create_index(cold(db), index("again", 1, false))).map(|_| ())),
];

fn cold(db: &Database) -> TableId {
    def(db, "cold").id
}

fn begun(rig: &Rig) -> Transaction {
    let txn = writer(&rig.db, "cold").expect("begins");
    now(txn.lock_table(cold(&rig.db), TableLockMode::AccessExclusive)).expect("locks");
    insert(&rig.db, &txn, "cold", 900..905).expect("inserts");
    squeeze(&rig.db);
    txn
}

/// Goes back to the savepoint, and commits something else.
fn finish(rig: &Rig, mut txn: Transaction, savepoint: &Savepoint, what: &str) -> (Contents, Rest) {
    txn.rollback_to(savepoint).expect("goes back");
    insert(&rig.db, &txn, "cold", 905..910).expect("goes on");
    commit(&rig.db, txn).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    (contents(&rig.db).expect("reads"), rest(rig, what))
}

/// As SQL does: a statement that fails is undone, and the transaction goes on.
#[test]
fn a_statement_that_failed_is_undone() {
    let operation = Operation { options: few_own_rows, ..Operation::change("undone", |_| Ok(())) };
    for (name, calls, statement) in STATEMENTS {
        // Where rows were written out, the block that the commit adopts has those that are undone, and marks for them.
        let undisturbed = [false, true].map(|works| {
            let rig = start(&operation);
            let mut txn = begun(&rig);
            let savepoint = txn.savepoint();
            if works {
                statement(&rig.db, &mut txn).expect("nothing fails");
            }
            finish(&rig, txn, &savepoint, name)
        });
        assert!(undisturbed[0].0 == undisturbed[1].0, "{name} leaves something");
        for at in 0.. {
            let rig = start(&operation);
            let mut txn = begun(&rig);
            let savepoint = txn.savepoint();
            rig.faults.arm(Fault::nth(at, FaultEffect::InputOutput));
            let outcome = statement(&rig.db, &mut txn);
            rig.faults.disarm();
            let what = format!("{name}: call {at}, which gave {outcome:?}");
            let (found, left) = finish(&rig, txn, &savepoint, &what);
            assert!(found == undisturbed[0].0, "{what}");
            assert!(undisturbed.iter().any(|(_, rest)| *rest == left), "{what}: {left:?}");
            let fired = rig.faults.fired();
            close(rig.db, &what);
            if fired == 0 {
                assert!(at >= calls, "{name} makes {at} calls, and not {calls}");
                break;
            }
        }
    }
}

/// What failed has done nothing: the same again does it, once.
#[test]
fn a_row_that_failed_can_be_written_again() {
    let operation = Operation { options: few_own_rows, ..Operation::change("again", |_| Ok(())) };
    let one_by_one: Statement = |db, txn| {
        let twice = |work: &dyn Fn() -> Result<()>| work().or_else(|_| work());
        (1_000..1_020).try_for_each(|id| twice(&|| insert(db, txn, "cold", id..id + 1)))?;
        (150..160).try_for_each(|id| twice(&|| change(db, txn, "cold", id..id + 1, false)))?;
        squeeze(db);
        (1_005..1_010).try_for_each(|id| twice(&|| change(db, txn, "cold", id..id + 1, id % 2 == 0)))
    };
    let run = |at: u64| {
        let rig = start(&operation);
        let mut txn = begun(&rig);
        rig.faults.arm(Fault::nth(at, FaultEffect::InputOutput));
        let outcome = one_by_one(&rig.db, &mut txn);
        rig.faults.disarm();
        let what = format!("call {at}");
        outcome.unwrap_or_else(|error| panic!("{what}: the second try: {error}"));
        commit(&rig.db, txn).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let left = (contents(&rig.db).expect("reads"), rest(&rig, &what));
        let fired = rig.faults.fired();
        close(rig.db, &what);
        (left, fired)
    };
    let (wanted, _) = run(u64::MAX);
    for at in 0.. {
        let (left, fired) = run(at);
        assert_eq!(left, wanted, "call {at}");
        if fired == 0 {
            assert!(at >= 30, "{at} calls");
            break;
        }
    }
}
