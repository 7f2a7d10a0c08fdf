//! What is not damaged stays readable: each table stands for itself.

use std::path::Path;

use crate::judge::names_a_file;
use crate::sample::{BLOCKS, Owner, every_form, read_tables};

#[test]
fn a_damaged_block_costs_its_own_table_only() {
    let sample = every_form();
    let intact = read_tables(&sample.kept.files).expect("opens");
    let mut damaged = 0;
    for block in &sample.blocks {
        let mut files = sample.kept.files.clone();
        let bytes = files.get_mut(Path::new(BLOCKS)).expect("is there");
        let middle = block.range.start + 100;
        bytes[middle] ^= 0x55;
        let what = format!("{block:?}, damaged");
        let tables = match read_tables(&files) {
            Ok(tables) => tables,
            Err(error) => {
                assert_eq!(block.owner, Owner::System, "{what}: opening: {error}");
                continue;
            }
        };
        for (name, wanted) in &intact {
            let found = &tables[name];
            let owned = match &block.owner {
                Owner::System | Owner::Index => true,
                Owner::Table(owner) => owner == name,
            };
            match (&found.scan, owned) {
                (Ok(rows), _) => assert_eq!(Ok(rows), wanted.scan.as_ref(), "{what}: scan of {name}"),
                (Err(error), true) => assert!(names_a_file(error), "{what}: scan of {name}: {error}"),
                (Err(error), false) => panic!("{what}: scan of {name}: {error}"),
            }
            match &found.lookups {
                Ok(rows) => assert_eq!(Ok(rows), wanted.lookups.as_ref(), "{what}: lookups in {name}"),
                Err(error) => assert!(owned && names_a_file(error), "{what}: lookups in {name}: {error}"),
            }
            if block.owner == Owner::Index {
                assert!(found.scan.is_ok(), "{what}: a scan needs no index");
            }
        }
        damaged += usize::from(tables.values().any(|table| table.scan.is_err() || table.lookups.is_err()));
    }
    assert!(damaged > 5, "only {damaged} blocks were missed");
}
