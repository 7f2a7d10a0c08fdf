//! Files that something else wrote to: damage is an error that names what is damaged, never an answer.

use std::fs;
use std::io;
use std::path::Path;

use crucible::process::{ServerCommand, ServerProcess};
use crucible::random::Random;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Questions about all rows, all columns, and single rows of the tables.
const QUERIES: [&str; 5] = [
    "SELECT count(*), sum(id), sum(amount), min(label), max(label) FROM big",
    "SELECT label, amount FROM big WHERE id = 77777",
    "SELECT kind, count(*), sum(id) FROM big GROUP BY kind ORDER BY kind",
    "SELECT * FROM small ORDER BY id",
    "SELECT count(*) FROM big WHERE label LIKE '%7 of a row%'",
];

fn server() -> ServerCommand {
    ServerCommand::new(env!("CARGO_BIN_EXE_crash")).leading("serve")
}

async fn connect(server: &ServerProcess) -> Client {
    let (client, connection) = server.config().connect(NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

/// The rows as text, or what the server said.
async fn ask(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| match error.as_db_error() {
        Some(answer) => format!("{} {}", answer.code().code(), answer.message()),
        None => panic!("{sql}: the connection broke: {error}"),
    })?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|index| row.get(index).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// A stopped database with more rows than a segment holds, and its answers.
async fn prepare(folder: &Path) -> Vec<Vec<String>> {
    let server = ServerProcess::start(&server(), folder).expect("starts");
    let client = connect(&server).await;
    for sql in [
        "CREATE TABLE big (id bigint PRIMARY KEY, kind int, label text, amount numeric(12,2))",
        "CREATE TABLE small (id int PRIMARY KEY, word text)",
        "INSERT INTO big SELECT n, n % 5, 'the label number ' || (n * 7919 % 100003) || ' of a row', n / 8.0 FROM generate_series(1, 100000) AS g(n)",
        "INSERT INTO small VALUES (1, 'one'), (2, 'two')",
        "DELETE FROM big WHERE id % 1000 = 3",
        "VACUUM",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let mut answers = Vec::new();
    for sql in QUERIES {
        answers.push(ask(&client, sql).await.expect("answers"));
    }
    drop(client);
    server.stop().expect("stops");
    answers
}

/// Asks all, and counts the refusals. Any answer must be the right one.
async fn interrogate(server: &ServerProcess, answers: &[Vec<String>], what: &str) -> usize {
    let client = connect(server).await;
    let mut refusals = 0;
    for (sql, expected) in QUERIES.iter().zip(answers) {
        match ask(&client, sql).await {
            Ok(found) => assert_eq!(found, *expected, "{what}: {sql}"),
            Err(error) => {
                println!("{what}: {sql}: {error}");
                assert!(error.starts_with("XX001"), "{what}: {sql}: {error}");
                assert!(error.contains("block"), "{what}: {sql}: does not name the block: {error}");
                refusals += 1;
            }
        }
    }
    // The others go on.
    assert_eq!(ask(&client, "SELECT 1").await.as_deref(), Ok(&["1".to_owned()][..]), "{what}");
    refusals
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn a_flipped_byte_is_an_error_or_without_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let original = folder.path().join("original");
    let answers = runtime.block_on(prepare(&original));
    let seed = Random::any_seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut refused = 0;
    for turn in 0..10 {
        let damaged = folder.path().join(format!("damaged-{turn}"));
        copy(&original, &damaged).expect("copies");
        let file = damaged.join("blocks.strata");
        let mut bytes = fs::read(&file).expect("reads");
        // Not in a hole or padding, where nothing would come of it.
        let position = loop {
            let position = usize::try_from(random.within(0..bytes.len() as u64)).expect("fits");
            if bytes[position] != 0 {
                break position;
            }
        };
        bytes[position] ^= 1 << random.within(0..8);
        fs::write(&file, bytes).expect("writes");
        let what = format!("seed {seed}, byte {position} of {}", file.display());
        match ServerProcess::start(&server(), &damaged) {
            Ok(server) => {
                refused += runtime.block_on(interrogate(&server, &answers, &what));
                server.kill().expect("killed");
            }
            Err(error) => {
                assert!(error.to_string().contains("block"), "{what}: {error}");
                refused += 1;
            }
        }
        fs::remove_dir_all(damaged).expect("removed");
    }
    assert!(refused > 0, "seed {seed}: no flipped byte was noticed");
}

#[test]
fn a_cut_block_file_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let answers = runtime.block_on(prepare(folder.path()));
    let path = folder.path().join("blocks.strata");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
    let length = file.metadata().expect("metadata").len();
    file.set_len(length / 2).expect("cuts");
    match ServerProcess::start(&server(), folder.path()) {
        Ok(server) => {
            let refusals = runtime.block_on(interrogate(&server, &answers, "cut in half"));
            assert!(refusals > 0, "half of the file is gone, and nothing noticed");
        }
        Err(error) => assert!(error.to_string().contains("block"), "{error}"),
    }
}

#[test]
fn a_second_server_on_a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = ServerProcess::start(&server(), folder.path()).expect("starts");
    let error = ServerProcess::start(&server(), folder.path()).err().expect("is refused").to_string();
    assert!(error.contains("in use"), "{error}");
    let runtime = Runtime::new().expect("a runtime");
    let answer = runtime.block_on(async { ask(&connect(&first).await, "SELECT 2").await });
    assert_eq!(answer.as_deref(), Ok(&["2".to_owned()][..]));
}
