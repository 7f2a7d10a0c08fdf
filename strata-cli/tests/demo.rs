//! `strata demo` from outside.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.arg("demo").args(["--scale", "0.001", "--seconds", "1"]).args(arguments);
    command
}

#[test]
fn the_demo_shows_what_it_claims_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("demo");
    let output = demo(&["--once", "--dir", own.to_str().expect("UTF-8")]).output().expect("runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{complaints}");
    for claim in [
        "rows of TPC-H at scale 0.001",
        "8 primary keys",
        "each a durable commit",
        "0 commits behind at worst",
        "never wavered from 10,000,000",
        "the same answer every time",
        "counts and sums are equal",
        "psql -h 127.0.0.1 -p ",
    ] {
        assert!(shown.contains(claim), "{claim}: {shown}");
    }
    // What it loaded is a database like any other, and whole.
    let data = own.join("data");
    let check = Command::new(env!("CARGO_BIN_EXE_strata")).arg("check").arg(&data).output().expect("runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    // A folder that holds something is somebody's: it is refused, and left as it is.
    let again = demo(&["--once", "--dir", own.to_str().expect("UTF-8")]).output().expect("runs");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_once_it_serves_until_it_is_told_to_stop() {
    let mut child = Process(demo(&[]).stdout(Stdio::piped()).spawn().expect("starts"));
    let shown = BufReader::new(child.0.stdout.take().expect("a pipe"));
    let mut lines = shown.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("psql -h 127.0.0.1 -p ")).expect("serves");
    let port = line.split(" -p ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
    let asked = Command::new(env!("CARGO_BIN_EXE_strata"))
        .args(["--port", port, "-c", "select count(*) as n from nation"])
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "  n\n----\n 25\n(1 row)\n");
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("runs").success());
    assert!(child.0.wait().expect("ends").success());
}
