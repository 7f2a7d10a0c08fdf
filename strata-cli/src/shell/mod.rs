//! The shell: reads lines, runs statements and backslash commands, prints answers.
//!
//! Answers go to standard output; errors, notices and prompts do not. Interactively, Ctrl-C cancels the running statement on its
//! server or in its engine, and the shell waits for what that comes to.

mod command;
mod describe;
mod failure;
mod format;
mod history;
mod input;
mod splitter;

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::backend::{Answer, Backend, CopyKind, Failure, Reply, copy_kind, statements};
use command::{Command, HELP};
use format::Style;
use input::{Input, Line};
pub use splitter::Splitter;

/// How deep `\i` files may include others.
const INCLUDE_DEPTH_MAX: u32 = 16;
/// How much of a file COPY … FROM STDIN sends at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A shell over one session.
pub struct Shell {
    runtime: Runtime,
    backend: Box<dyn Backend>,
    style: Style,
    timing: bool,
    interactive: bool,
    block: Block,
    failed: bool,
    depth: u32,
}

/// Where the transaction stands, by the commands that went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Open,
    Failed,
}

/// Whether the shell goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    Quit,
}

impl Shell {
    /// A shell over this session, whose tasks live on `runtime`.
    pub fn new(runtime: Runtime, backend: Box<dyn Backend>) -> Self {
        Self {
            runtime,
            backend,
            style: Style::default(),
            timing: false,
            interactive: false,
            block: Block::None,
            failed: false,
            depth: 0,
        }
    }

    /// Talks to a person at a terminal until they quit.
    pub fn interact(&mut self) -> io::Result<()> {
        self.interactive = true;
        put(&format!("strata {}. \\? for help, \\q to quit.\n", env!("CARGO_PKG_VERSION")))?;
        let mut terminal = history::Terminal::open()?;
        self.run_lines(&mut terminal)?;
        terminal.save();
        Ok(())
    }

    /// Runs what a pipe or a file holds; gives whether all of it succeeded.
    pub fn run_script(&mut self, script: &mut dyn io::BufRead) -> io::Result<bool> {
        self.run_lines(&mut input::Script::new(script))?;
        Ok(!self.failed)
    }

    /// Runs the text of a `-c`; gives whether all of it succeeded.
    pub fn run_text(&mut self, text: &str) -> io::Result<bool> {
        if text.trim_start().starts_with('\\') {
            self.run_command(text)?;
        } else {
            let mut stdin = io::stdin().lock();
            let mut input = input::Script::new(&mut stdin);
            let statements = statements(text);
            // A COPY through the shell goes by itself; other strings are one transaction.
            if statements.iter().any(|statement| copy_kind(statement).is_some()) {
                for statement in &statements {
                    self.run_sql(statement, &mut input)?;
                    if self.failed {
                        break;
                    }
                }
            } else {
                self.run_sql(text, &mut input)?;
            }
        }
        Ok(!self.failed)
    }

    fn run_lines(&mut self, input: &mut dyn Input) -> io::Result<Next> {
        let mut splitter = Splitter::default();
        loop {
            let line = match input.line(&self.prompt(&splitter))? {
                Line::Text(line) => line,
                Line::Interrupted => {
                    splitter = Splitter::default();
                    continue;
                }
                Line::End => break,
            };
            let trimmed = line.trim();
            if !splitter.is_quoted() && trimmed.starts_with('\\') {
                if trimmed == "\\r" {
                    splitter = Splitter::default();
                } else if self.run_command(trimmed)? == Next::Quit {
                    return Ok(Next::Quit);
                }
                continue;
            }
            if self.interactive && !splitter.is_pending() {
                match trimmed.trim_end_matches(';') {
                    "quit" | "exit" => return Ok(Next::Quit),
                    "help" => {
                        put(HELP)?;
                        continue;
                    }
                    _ => {}
                }
            }
            for statement in splitter.push(&format!("{line}\n")) {
                self.run_sql(&statement, input)?;
                if !self.backend.is_open() {
                    return Ok(Next::Quit);
                }
            }
        }
        if let Some(rest) = splitter.finish()
            && !self.interactive
        {
            self.run_sql(&rest, input)?;
        }
        Ok(Next::Line)
    }

    fn prompt(&self, splitter: &Splitter) -> String {
        let block = match self.block {
            Block::None => "",
            Block::Open => "*",
            Block::Failed => "!",
        };
        format!("{}{}{block}> ", self.backend.database(), splitter.mark())
    }

    /// Runs a string of statements and prints what it comes to.
    fn run_sql(&mut self, sql: &str, input: &mut dyn Input) -> io::Result<()> {
        let began = Instant::now();
        let reply = match copy_kind(sql) {
            Some(kind) => self.copy(sql, kind, input),
            None => self.execute(sql),
        };
        let took = began.elapsed();
        self.print(sql, &reply)?;
        if self.timing {
            put(&format!("Time: {:.3} ms\n", took.as_secs_f64() * 1e3))?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str) -> Reply {
        let canceller = self.interactive.then(|| self.backend.canceller());
        let backend = &mut self.backend;
        self.runtime.block_on(async {
            let mut run = std::pin::pin!(backend.run(sql));
            let Some(cancel) = canceller else { return run.await };
            loop {
                tokio::select! {
                    reply = &mut run => return reply,
                    Ok(()) = tokio::signal::ctrl_c() => cancel().await,
                }
            }
        })
    }

    fn copy(&mut self, sql: &str, kind: CopyKind, input: &mut dyn Input) -> Reply {
        let backend = &mut self.backend;
        let result = match kind {
            CopyKind::In => {
                let mut ended = false;
                let mut source = || next_chunk(input, &mut ended);
                let result = self.runtime.block_on(backend.copy_in(sql, &mut source));
                // What a refused COPY left unread is data still, not statements.
                while !ended && matches!(next_chunk(input, &mut ended), Ok(Some(_))) {}
                result
            }
            // The rows are the output: no tag among them.
            CopyKind::Out => {
                self.runtime.block_on(backend.copy_out(sql, &mut io::stdout().lock())).map(|_| String::new())
            }
        };
        match result {
            Ok(tag) if tag.is_empty() => Reply::default(),
            Ok(tag) => Reply { answers: vec![Answer::Done(tag)], failure: None },
            Err(failure) => Reply { answers: Vec::new(), failure: Some(failure) },
        }
    }

    fn print(&mut self, sql: &str, reply: &Reply) -> io::Result<()> {
        for answer in &reply.answers {
            if let Answer::Done(tag) = answer {
                self.block = match tag.as_str() {
                    "BEGIN" | "START TRANSACTION" => Block::Open,
                    "COMMIT" | "ROLLBACK" => Block::None,
                    _ => self.block,
                };
            }
            put(&format::answer(answer, &self.style))?;
        }
        for notice in self.backend.take_notices() {
            eprint!("{}", failure::failure(&notice, ""));
        }
        if let Some(failure) = &reply.failure {
            self.failed = true;
            if self.block == Block::Open {
                self.block = Block::Failed;
            }
            eprint!("{}", failure::failure(failure, sql));
            if !self.backend.is_open() {
                eprintln!("The connection is closed.");
            }
        }
        Ok(())
    }

    fn run_command(&mut self, line: &str) -> io::Result<Next> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(problem) => {
                self.complain(&problem);
                return Ok(Next::Line);
            }
        };
        match command {
            Command::Quit => return Ok(Next::Quit),
            Command::Help => put(HELP)?,
            Command::Timing(value) => {
                self.timing = value.unwrap_or(!self.timing);
                put(&format!("Timing is {}.\n", on_off(self.timing)))?;
            }
            Command::Expanded(value) => {
                self.style.expanded = value.unwrap_or(!self.style.expanded);
                put(&format!("Expanded display is {}.\n", on_off(self.style.expanded)))?;
            }
            Command::Null(text) => self.style.null = text,
            Command::Echo(text) => put(&format!("{text}\n"))?,
            Command::Connection => put(&format!("{}\n", self.backend.describe()))?,
            Command::Reset => {}
            Command::Include(path) => return self.include(&path),
            Command::Describe(pattern) => self.describe(pattern.as_ref())?,
            Command::List(kind, pattern) => {
                let sql = describe::list(kind, pattern.as_ref());
                self.show(&sql, |answer, style| describe::titled(kind.title(), answer, style))?;
            }
        }
        Ok(Next::Line)
    }

    fn include(&mut self, path: &Path) -> io::Result<Next> {
        if self.depth >= INCLUDE_DEPTH_MAX {
            self.complain(&format!("{}: files include each other too deeply", path.display()));
            return Ok(Next::Line);
        }
        match std::fs::File::open(path) {
            Ok(file) => {
                let interactive = std::mem::take(&mut self.interactive);
                self.depth += 1;
                let result = self.run_lines(&mut input::Script::new(&mut io::BufReader::new(file)));
                self.depth -= 1;
                self.interactive = interactive;
                // As in psql, \q ends the file, not the shell that includes it.
                result.map(|_| Next::Line)
            }
            Err(error) => {
                self.complain(&format!("{}: {error}", path.display()));
                Ok(Next::Line)
            }
        }
    }

    /// `\d`: every relation, or each one that the pattern matches.
    fn describe(&mut self, pattern: Option<&command::Pattern>) -> io::Result<()> {
        let Some(pattern) = pattern else {
            let sql = describe::relations();
            return self.show(&sql, |answer, style| describe::titled("List of relations", answer, style));
        };
        let found = self.query(&describe::find(pattern));
        let Some(found) = found else { return Ok(()) };
        if found.is_empty() {
            self.complain(&format!("Did not find any relation named \"{}\".", pattern.name));
        }
        for row in found {
            let [Some(oid), Some(schema), Some(name), Some(kind)] = row.as_slice() else { continue };
            let Ok(oid) = oid.parse::<u32>() else { continue };
            let title = format!("{} \"{schema}.{name}\"", describe::kind_name(kind));
            if kind == "i" {
                let sql = describe::index(oid);
                self.show(&sql, |answer, style| describe::titled(&title, answer, style))?;
                continue;
            }
            self.show(&describe::columns(oid), |answer, style| describe::titled(&title, answer, style))?;
            if let Some(indexes) = self.query(&describe::indexes(oid)) {
                put(&describe::index_lines(&indexes))?;
            }
            put("\n")?;
        }
        Ok(())
    }

    /// Runs a query of the shell's own and prints its one answer.
    fn show(&mut self, sql: &str, text: impl Fn(&Answer, &Style) -> String) -> io::Result<()> {
        let reply = self.execute(sql);
        match reply.failure {
            Some(failure) => self.report(&failure),
            None => {
                for answer in &reply.answers {
                    put(&text(answer, &self.style))?;
                }
            }
        }
        Ok(())
    }

    /// The rows of a query of the shell's own; nothing if it failed, which is reported.
    fn query(&mut self, sql: &str) -> Option<Vec<Vec<Option<String>>>> {
        let reply = self.execute(sql);
        if let Some(failure) = reply.failure {
            self.report(&failure);
            return None;
        }
        reply.answers.into_iter().find_map(|answer| match answer {
            Answer::Rows { rows, .. } => Some(rows),
            _ => None,
        })
    }

    /// The failure of a query that nobody typed: without its position.
    fn report(&mut self, failure: &Failure) {
        self.failed = true;
        eprint!("{}", failure::failure(&Failure { position: None, ..failure.clone() }, ""));
    }

    fn complain(&mut self, problem: &str) {
        self.failed = true;
        eprintln!("{problem}");
    }
}

/// Writes to standard output; a reader that has gone away is an error, not a panic.
fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// Lines of COPY data until `\.` or the end of the input, some at a time.
fn next_chunk(input: &mut dyn Input, ended: &mut bool) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = Vec::new();
    while !*ended && chunk.len() < CHUNK_BYTES {
        match input.data_line()? {
            Some(line) if line.trim_ascii_end() == b"\\." => *ended = true,
            Some(line) => chunk.extend_from_slice(&line),
            None => *ended = true,
        }
    }
    Ok((!chunk.is_empty()).then_some(chunk))
}
