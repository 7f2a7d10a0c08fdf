//! The `strata` binary from outside: `-c`, piped input, a server, and `check`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use strata_core::{Database, Options};
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions};

/// Runs the binary to its end.
fn strata(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_strata"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that ends before it has read everything is no failure of the test.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The output of a run that succeeds.
fn succeed(arguments: &[&str], input: &str) -> String {
    let output = strata(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The output and the complaints of a run that fails.
fn fail(arguments: &[&str], input: &str) -> (String, String) {
    let output = strata(arguments, input);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    (text(&output.stdout), text(&output.stderr))
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().expect("UTF-8")
}

const PEOPLE: &str = "create table people (id bigint primary key, name text);
insert into people values (1, 'Ann'), (2, null), -- two
                          (30, 'semi;colon');
select id, name
from people order by id;
";

#[test]
fn piped_statements_run_on_an_embedded_database_that_keeps_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = succeed(&["open", path(&folder)], PEOPLE);
    let expected = [
        "CREATE TABLE",
        "INSERT 0 3",
        " id |    name",
        "----+------------",
        "  1 | Ann",
        "  2 | NULL",
        " 30 | semi;colon",
        "(3 rows)",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    // Another process, after the first has ended; text without a semicolon is a statement at the end of the input.
    let shown = succeed(&["open", path(&folder)], "\\x\nselect count(*) as n from people");
    assert_eq!(shown.lines().collect::<Vec<_>>(), ["Expanded display is on.", "-[ RECORD 1 ]", "n | 3"]);
}

#[test]
fn an_error_is_shown_with_its_place_and_the_script_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (shown, complaints) =
        fail(&["open", path(&folder)], "select 1 as a;\ndrop\n  tabel t;\nselect 2 as b;\n");
    assert!(shown.contains(" a\n---\n 1\n(1 row)\n") && shown.contains(" b\n---\n 2\n(1 row)\n"), "{shown}");
    assert!(complaints.starts_with("ERROR:  "), "{complaints}");
    let lines: Vec<&str> = complaints.lines().collect();
    assert_eq!(lines.get(1..3), Some(&["LINE 2:   tabel t;", "          ^"][..]), "{complaints}");
}

#[test]
fn commands_end_at_the_first_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let (shown, complaints) =
        fail(&["open", path(&folder), "-c", "select 1 as a; selec 2", "-c", "select 3 as c"], "");
    // One syntax error keeps the whole string from running.
    assert_eq!(shown, "");
    assert!(complaints.starts_with("ERROR:  "), "{complaints}");
    let shown =
        succeed(&["open", path(&folder), "-c", "select 1 as a; select 2 as b", "-c", "\\echo done"], "");
    assert_eq!(shown, " a\n---\n 1\n(1 row)\n b\n---\n 2\n(1 row)\ndone\n");
}

#[test]
fn included_files_run_and_missing_ones_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("people.sql");
    std::fs::write(&script, PEOPLE).expect("writes");
    let database = folder.path().join("db");
    let database = database.to_str().expect("UTF-8");
    let shown = succeed(&["open", database], &format!("\\i '{}'\n", script.display()));
    assert!(shown.ends_with("(3 rows)\n"), "{shown}");
    let (_, complaints) = fail(&["open", database], "\\i missing.sql\n\\nonsense\n");
    assert!(complaints.starts_with("missing.sql: ") && complaints.contains("invalid command \\nonsense"));
}

#[test]
fn a_server_answers_as_the_embedded_engine_does() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = Database::in_memory(Options::default()).expect("a database");
    let engine = Engine::new(database, EngineOptions::default()).expect("an engine");
    let server =
        runtime.block_on(Server::start(Arc::clone(&engine), ServerOptions::default())).expect("starts");
    let port = server.local_addr().port().to_string();
    let connect = ["--host", "127.0.0.1", "--port", &port];
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(succeed(&connect, PEOPLE), succeed(&["open", path(&folder)], PEOPLE));
    let counted = succeed(&[&connect[..], &["-c", "select count(*) as n from people"]].concat(), "");
    assert_eq!(counted, " n\n---\n 3\n(1 row)\n");
    let (_, complaints) = fail(&connect, "drop\n  tabel t;");
    assert!(complaints.contains("LINE 2:   tabel t;\n          ^"), "{complaints}");
    runtime.block_on(server.shutdown());
    let (_, complaints) = fail(&connect, "select 1;");
    assert!(complaints.contains(&format!("connection to 127.0.0.1:{port} failed")), "{complaints}");
}

#[test]
fn relations_are_listed_and_described_alike_by_both() {
    let script = "create table people (id bigint primary key, name varchar(20) not null default 'x', paid numeric(10,2));
create index people_name on people (name);
create view rich as select id from people where paid > 10;
create schema demo;
create table demo.events (a int);
\\d
\\dt p*
\\dt demo.*
\\di
\\dv
\\dn
\\l
\\d people
";
    let folder = tempfile::tempdir().expect("a folder");
    let shown = succeed(&["open", path(&folder)], script);
    let described = "\
                   Table \"public.people\"
 Column |          Type         | Nullable | Default
--------+-----------------------+----------+---------
 id     | bigint                | not null |
 name   | character varying(20) | not null | 'x'
 paid   | numeric(10,2)         |          |
Indexes:
    \"people_pkey\" PRIMARY KEY, btree (id)
    \"people_name\" btree (name)
";
    let listed = "\
    List of relations
 Schema |  Name  |  Type
--------+--------+-------
 demo   | events | table
 public | people | table
 public | rich   | view
";
    for expected in [described, listed, " strata\n", " demo\n public\n", " public | people_name | people\n"] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = Database::in_memory(Options::default()).expect("a database");
    let engine = Engine::new(database, EngineOptions::default()).expect("an engine");
    let server = runtime.block_on(Server::start(engine, ServerOptions::default())).expect("starts");
    let port = server.local_addr().port().to_string();
    assert_eq!(succeed(&["--port", &port], script), shown);
    let (_, complaints) = fail(&["--port", &port, "-c", "\\d nothing"], "");
    assert_eq!(complaints, "Did not find any relation named \"nothing\".\n");
    runtime.block_on(server.shutdown());
}

#[test]
fn copied_data_stands_in_the_script_and_comes_out_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "create table t (id bigint primary key, v text);
copy t from stdin csv;
1,one
2,\"semi;colon\"
\\.
copy t from stdin csv;
3,three
x,four
\\.
select count(*) as n from t;
";
    let (shown, complaints) = fail(&["open", path(&folder)], script);
    assert_eq!(shown, "CREATE TABLE\nCOPY 2\n n\n---\n 2\n(1 row)\n");
    assert!(
        complaints.starts_with("ERROR:  ") && complaints.contains("CONTEXT:  COPY t, line 2"),
        "{complaints}"
    );
    let copied =
        succeed(&["open", path(&folder), "-c", "copy t from stdin csv; copy t to stdout csv"], "3,three\n");
    assert_eq!(copied, "COPY 1\n1,one\n2,semi;colon\n3,three\n");
}

/// A closed database whose rows are in blocks.
fn checkpointed(folder: &Path) {
    let rows: Vec<String> = (0..2000).map(|row| format!("({row}, 'marker-{row}')")).collect();
    let sql = format!(
        "create table t (id bigint primary key, v text);\ninsert into t values {};\n",
        rows.join(",")
    );
    succeed(&["open", folder.to_str().expect("UTF-8")], &sql);
    let database = Database::open(folder, Options::default()).expect("opens");
    database.checkpoint().expect("a checkpoint");
}

#[test]
fn a_good_database_checks_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    checkpointed(folder.path());
    let shown = succeed(&["check", path(&folder)], "");
    assert!(shown.contains("Every checksum holds"), "{shown}");
    assert!(shown.contains("2000 index entries"), "{shown}");
}

#[test]
fn a_flipped_byte_is_found_and_its_block_named() {
    let folder = tempfile::tempdir().expect("a folder");
    checkpointed(folder.path());
    let file = folder.path().join("blocks.strata");
    let mut bytes = std::fs::read(&file).expect("reads");
    let marker = b"marker-1000";
    let at = bytes.windows(marker.len()).position(|window| window == marker).expect("the row is in a block");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    let (shown, complaints) = fail(&["check", path(&folder)], "");
    let all = format!("{shown}{complaints}");
    assert!(all.contains("PROBLEM") && all.contains("block ") && all.contains("is damaged"), "{all}");
}

#[test]
fn a_damaged_manifest_is_named_and_no_database_is_made_by_checking() {
    let folder = tempfile::tempdir().expect("a folder");
    checkpointed(folder.path());
    let manifest = folder.path().join("manifest");
    for entry in std::fs::read_dir(&manifest).expect("lists") {
        let file = entry.expect("an entry").path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-")) {
            let mut bytes = std::fs::read(&file).expect("reads");
            bytes[0] ^= 1;
            std::fs::write(&file, bytes).expect("writes");
        }
    }
    let (_, complaints) = fail(&["check", path(&folder)], "");
    assert!(complaints.contains("does not open") && complaints.contains("MANIFEST"), "{complaints}");
    let missing = folder.path().join("missing");
    let (_, complaints) = fail(&["check", missing.to_str().expect("UTF-8")], "");
    assert!(complaints.contains("no database"), "{complaints}");
    assert!(!missing.exists());
}

#[test]
fn a_database_in_use_is_not_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    checkpointed(folder.path());
    let open = Database::open(folder.path(), Options::default()).expect("opens");
    let (_, complaints) = fail(&["check", path(&folder)], "");
    assert!(complaints.contains("in use by another process"), "{complaints}");
    let (_, complaints) = fail(&["open", path(&folder)], "select 1;");
    assert!(complaints.contains("in use by another process"), "{complaints}");
    drop(open);
}
