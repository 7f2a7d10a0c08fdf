//! Whether a database has stopped writing.

use strata_core::table::Transaction;
use strata_core::txn::TableLockMode;
use strata_core::{Database, Error, Result};

use crate::rig::{Outcome, Stopped, begin, change, commit, def, index, insert, load, now, writer};

/// Whether writes are refused, and only so that it can be known.
pub fn is_poisoned(db: &Database, what: &str) -> bool {
    let work = || -> Outcome {
        let txn = writer(db, "hot")?;
        insert(db, &txn, "hot", -2..-1)?;
        let view = txn.view().table(crate::rig::def(db, "hot").id)?;
        let own = crate::rig::find(&view, -2)?.expect("was inserted");
        txn.delete(&view, own)?;
        commit(db, txn)
    };
    match work() {
        Ok(()) => false,
        Err(Stopped::Refused(Error::Poisoned { .. })) => true,
        Err(other) => panic!("{what}: a later write gives {other:?}"),
    }
}

/// Fails unless whatever writes is refused for good.
pub fn assert_refuses(db: &Database, what: &str) {
    let tries: [(&str, &dyn Fn() -> Outcome); 10] = [
        ("INSERT", &|| written(db, |txn| insert(db, txn, "hot", -2..-1))),
        ("DELETE", &|| written(db, |txn| change(db, txn, "hot", 0..5, true))),
        ("a bulk load", &|| written(db, |txn| load(txn, def(db, "hot").id, -300..-50))),
        ("CREATE TABLE", &|| altered(db, |txn| crate::rig::create(txn, "refused").map(|_| ()))),
        ("CREATE INDEX", &|| {
            altered(db, |txn| {
                now(txn.create_index(def(db, "hot").id, index("refused", 1, false))).map(|_| ())
            })
        }),
        ("DROP TABLE", &|| altered(db, |txn| now(txn.drop_relation(def(db, "hot").id)))),
        ("TRUNCATE", &|| altered(db, |txn| now(txn.truncate(def(db, "hot").id)))),
        ("a checkpoint", &|| Ok(db.checkpoint()?)),
        ("VACUUM", &|| Ok(db.vacuum()?)),
        ("a step of maintenance", &|| Ok(db.maintain().map(|_| ())?)),
    ];
    for (name, try_it) in tries {
        let outcome = try_it();
        assert!(
            matches!(outcome, Err(Stopped::Refused(Error::Poisoned { .. }))),
            "{what}: then {name} gives {outcome:?}"
        );
    }
}

fn written(db: &Database, work: impl FnOnce(&Transaction) -> Result<()>) -> Outcome {
    crate::rig::write(db, "hot", work)
}

fn altered(db: &Database, work: impl FnOnce(&mut Transaction) -> Result<()>) -> Outcome {
    let mut txn = begin(db)?;
    now(txn.lock_table(def(db, "hot").id, TableLockMode::AccessExclusive))?;
    work(&mut txn)?;
    commit(db, txn)
}
