//! A person's terminal: line editing, and a history that outlives the shell.

use std::io;
use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::input::{Input, Line};

/// A line editor.
pub struct Terminal {
    editor: DefaultEditor,
    path: Option<PathBuf>,
}

impl Terminal {
    /// An editor with the history of earlier shells, where there is one.
    pub fn open() -> io::Result<Self> {
        let mut editor = DefaultEditor::new().map_err(io::Error::other)?;
        let path = history_path();
        if let Some(path) = &path {
            // None yet is the first time; one that cannot be read costs the history, not the shell.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, path })
    }

    /// Keeps the history. Failing to is no reason to complain at the end of a session.
    pub fn save(&mut self) {
        if let Some(path) = &self.path {
            if let Some(folder) = path.parent() {
                let _ = std::fs::create_dir_all(folder);
            }
            let _ = self.editor.save_history(path);
        }
    }

    fn read(&mut self, prompt: &str) -> io::Result<Line> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Input for Terminal {
    fn line(&mut self, prompt: &str) -> io::Result<Line> {
        let line = self.read(prompt)?;
        if let Line::Text(text) = &line
            && !text.trim().is_empty()
        {
            let _ = self.editor.add_history_entry(text.as_str());
        }
        Ok(line)
    }

    fn data_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.read(">> ")? {
            Line::Text(text) => Ok(Some(format!("{text}\n").into_bytes())),
            Line::Interrupted => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            Line::End => Ok(None),
        }
    }
}

/// `strata/history` in the folder for state that the XDG base directories name.
fn history_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("strata").join("history"))
}
