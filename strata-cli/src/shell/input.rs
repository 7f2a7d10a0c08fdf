//! Where lines come from.

use std::io::{self, BufRead};

/// What reading a line came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C was pressed.
    Interrupted,
    /// There are no more.
    End,
}

/// A source of lines.
pub trait Input {
    /// The next line; the prompt is shown where there is someone to see it.
    fn line(&mut self, prompt: &str) -> io::Result<Line>;

    /// The next line of COPY data, with its end.
    fn data_line(&mut self) -> io::Result<Option<Vec<u8>>>;
}

/// A pipe or a file.
pub struct Script<'a> {
    reader: &'a mut dyn BufRead,
}

impl<'a> Script<'a> {
    /// Lines of this reader.
    pub fn new(reader: &'a mut dyn BufRead) -> Self {
        Self { reader }
    }
}

impl Input for Script<'_> {
    fn line(&mut self, _prompt: &str) -> io::Result<Line> {
        let Some(mut bytes) = self.data_line()? else { return Ok(Line::End) };
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the input is not UTF-8"))?;
        Ok(Line::Text(text))
    }

    fn data_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes)?;
        Ok((read > 0).then_some(bytes))
    }
}
