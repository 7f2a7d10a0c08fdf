//! Imports point down: a module of strata-core uses only those that stand before it in ARCHITECTURE.md, section 3.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. `check`, `database` and `fuzzing` are facades over all of them.
const LAYERS: [&str; 22] = [
    "ids",
    "error",
    "codec",
    "prefetch",
    "sync",
    "vfs",
    "memory",
    "block",
    "cache",
    "journal",
    "manifest",
    "row",
    "lsm",
    "heap",
    "txn",
    "catalog",
    "table",
    "maintenance",
    "sizes",
    "database",
    "check",
    "fuzzing",
];

/// `ids` and `error` name each other's types.
const PEERS: [(&str, &str); 1] = [("ids", "error")];

fn rust_files(path: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).expect("the sources are there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that a line's `crate::` paths start with.
fn used_modules(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let layer = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let mut wrong = Vec::new();
    let mut edges = 0;
    for file in files {
        let relative = file.strip_prefix(&source).expect("below the sources");
        let first = relative.iter().next().and_then(|part| part.to_str()).expect("a name");
        let module = first.trim_end_matches(".rs");
        let is_test = relative.iter().any(|part| part == "tests" || part == "tests.rs");
        let Some(own) = layer(module) else {
            assert_eq!(module, "lib", "{module} has no place in the list of layers");
            continue;
        };
        if is_test {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        // What follows belongs to the file's tests, which may use anything.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for used in used_modules(line) {
                let Some(other) = layer(used) else { continue };
                edges += 1;
                let is_peer = PEERS.iter().any(|(a, b)| (module, used) == (a, b) || (module, used) == (b, a));
                if other > own && !is_peer {
                    wrong.push(format!("{}: {module} uses {used}", relative.display()));
                }
            }
        }
    }
    assert!(edges > 300, "the scan found only {edges} imports");
    assert!(wrong.is_empty(), "imports that point up:\n{}", wrong.join("\n"));
}
