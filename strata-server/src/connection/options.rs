//! The `options` of a startup packet (PGOPTIONS): `-c name=value` and `--name=value`, backslashes escaping blanks.

use strata_datafusion::error::SqlError;

/// The settings in such a string.
pub fn settings(options: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words = words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(assignment) => assignment.to_owned(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().unwrap_or_default(),
                Some(assignment) => assignment.to_owned(),
                None => return Err(refused(&word)),
            },
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| refused(&word))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn refused(word: &str) -> SqlError {
    SqlError::syntax(format!("invalid command-line argument for server process: {word}"))
}

fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::settings;

    fn pairs(options: &str) -> Vec<(String, String)> {
        settings(options).expect("well-formed")
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn all_spellings() {
        let expected = [pair("statement_timeout", "5s"), pair("search_path", "a, b"), pair("work_mem", "1")];
        assert_eq!(pairs(r"-c statement_timeout=5s --search-path=a,\ b  -cwork_mem=1 "), expected);
        assert!(pairs("").is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for options in ["-c", "-x y", "word", "-c name", "--"] {
            assert_eq!(settings(options).expect_err(options).sqlstate, "42601");
        }
    }
}
