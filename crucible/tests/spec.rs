//! All spec files, with the server that the crash program has in it.

use std::path::Path;

use crucible::process::ServerCommand;
use crucible::spec::{self, Against, Pass};

#[test]
fn spec_files_hold_through_both_protocols_and_restarts() {
    let server = ServerCommand::new(env!("CARGO_BIN_EXE_crash")).leading("serve");
    let against = Against::Strata(server);
    let files = spec::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("spec")).expect("the files");
    assert!(!files.is_empty());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut failures = Vec::new();
    for file in &files {
        for pass in Pass::ALL {
            let report = runtime.block_on(spec::run_file(file, &against, pass)).expect("runs");
            println!("{} ({}): {report}", file.display(), pass.name());
            assert!(report.records > 0, "{} has no records", file.display());
            failures.extend(report.failures);
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n\n"));
}
