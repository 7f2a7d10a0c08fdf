//! The shell's own commands: lines that begin with a backslash.

use std::path::PathBuf;

/// A backslash command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\timing [on|off]`
    Timing(Option<bool>),
    /// `\x [on|off]`
    Expanded(Option<bool>),
    /// `\i FILE`
    Include(PathBuf),
    /// `\d [NAME]`: one relation, or all.
    Describe(Option<Pattern>),
    /// `\dt`, `\di`, `\dv`, `\dn`, `\l`
    List(Kind, Option<Pattern>),
    /// `\null TEXT`: what NULL is shown as.
    Null(String),
    /// `\r`: forgets the statement that was begun.
    Reset,
    /// `\conninfo`
    Connection,
    /// `\echo TEXT`
    Echo(String),
}

/// What `\d…` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tables,
    Indexes,
    Views,
    Schemas,
    Databases,
}

/// A name as `\d` takes it: `name`, `schema.name` or `database.schema.name`, `*` and `?` for any characters and one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The schema, where one is named.
    pub schema: Option<String>,
    /// The relation.
    pub name: String,
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        for character in text.chars() {
            match character {
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(String::new()),
                _ => {
                    if let Some(part) = parts.last_mut() {
                        if quoted {
                            part.push(character);
                        } else {
                            part.extend(character.to_lowercase());
                        }
                    }
                }
            }
        }
        let name = parts.pop().unwrap_or_default();
        Self { schema: parts.pop(), name }
    }
}

/// Parses a line that begins with a backslash.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let argument = || (!rest.is_empty()).then(|| unquote(rest));
    let pattern = || (!rest.is_empty()).then(|| Pattern::parse(rest));
    // S (system objects too) and + (more detail) change nothing here, as habits go.
    let plain = if name.starts_with("\\d") || name.starts_with("\\l") {
        name.trim_end_matches(['S', '+'])
    } else {
        name
    };
    Ok(match plain {
        "\\q" | "\\quit" => Command::Quit,
        "\\?" | "\\h" | "\\help" => Command::Help,
        "\\timing" => Command::Timing(switch(name, rest)?),
        "\\x" => Command::Expanded(switch(name, rest)?),
        "\\i" | "\\include" => Command::Include(argument().ok_or("\\i: missing required argument")?.into()),
        "\\d" => Command::Describe(pattern()),
        "\\dt" => Command::List(Kind::Tables, pattern()),
        "\\di" => Command::List(Kind::Indexes, pattern()),
        "\\dv" => Command::List(Kind::Views, pattern()),
        "\\dn" => Command::List(Kind::Schemas, pattern()),
        "\\l" | "\\list" => Command::List(Kind::Databases, pattern()),
        "\\null" => Command::Null(argument().unwrap_or_default()),
        "\\r" | "\\reset" => Command::Reset,
        "\\conninfo" => Command::Connection,
        "\\echo" => Command::Echo(argument().unwrap_or_default()),
        _ => return Err(format!("invalid command {name}\nTry \\? for help.")),
    })
}

fn switch(name: &str, text: &str) -> Result<Option<bool>, String> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "on" | "true" | "1" => Ok(Some(true)),
        "off" | "false" | "0" => Ok(Some(false)),
        _ => Err(format!("unrecognized value \"{text}\" for \"{name}\": on or off expected")),
    }
}

fn unquote(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => text.to_owned(),
    }
}

/// What `\?` prints.
pub const HELP: &str = "\
SQL ends with a semicolon and may span lines. Ctrl-C cancels what runs, or forgets what was typed.

  \\d [NAME]        describe a table, view or index; without a name, list them all
  \\dt [PATTERN]    list tables         \\di  indexes    \\dv  views    \\dn  schemas
  \\l               list databases
  \\i FILE          run the commands in a file
  \\timing [on|off] show how long statements take
  \\x [on|off]      show rows as records, a column a line
  \\null TEXT       show NULL as this text
  \\echo TEXT       print this text
  \\r               forget the statement that was begun
  \\conninfo        tell what the shell is connected to
  \\q               quit (Ctrl-D does too)
";

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(schema: Option<&str>, name: &str) -> Option<Pattern> {
        Some(Pattern { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        for (line, expected) in [
            ("\\q", Command::Quit),
            ("\\q;", Command::Quit),
            ("  \\?  ", Command::Help),
            ("\\timing", Command::Timing(None)),
            ("\\timing on", Command::Timing(Some(true))),
            ("\\x OFF", Command::Expanded(Some(false))),
            ("\\i 'a file.sql'", Command::Include("a file.sql".into())),
            ("\\d", Command::Describe(None)),
            ("\\d Orders", Command::Describe(pattern(None, "orders"))),
            ("\\d+ public.orders;", Command::Describe(pattern(Some("public"), "orders"))),
            ("\\d strata.demo.\"My Events\"", Command::Describe(pattern(Some("demo"), "My Events"))),
            ("\\dt", Command::List(Kind::Tables, None)),
            ("\\dt+ o*", Command::List(Kind::Tables, pattern(None, "o*"))),
            ("\\dn", Command::List(Kind::Schemas, None)),
            ("\\di", Command::List(Kind::Indexes, None)),
            ("\\dv", Command::List(Kind::Views, None)),
            ("\\l", Command::List(Kind::Databases, None)),
            ("\\null '-'", Command::Null("-".to_owned())),
            ("\\r", Command::Reset),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse("\\foo").unwrap_err(), "invalid command \\foo\nTry \\? for help.");
        assert_eq!(parse("\\i").unwrap_err(), "\\i: missing required argument");
        assert!(parse("\\x maybe").unwrap_err().contains("\"maybe\""));
    }
}
