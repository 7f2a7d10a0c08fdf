//! What COPY's text and CSV look like.

/// Text or CSV, with its special characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextFormat {
    /// CSV, not tab-separated text.
    pub(crate) csv: bool,
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Around CSV fields.
    pub(crate) quote: u8,
    /// Before a quote, or another of its own, inside a quoted field.
    pub(crate) escape: u8,
    /// What stands for NULL.
    pub(crate) null: Vec<u8>,
    /// What the first line is.
    pub(crate) header: Header,
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A row as any other.
    No,
    /// Names: written, or passed over.
    Yes,
    /// Names that must be those of the columns.
    Match,
}

impl TextFormat {
    /// Postgres' text as it is without options.
    pub(crate) fn text() -> Self {
        Self {
            csv: false,
            delimiter: b'\t',
            quote: b'"',
            escape: b'"',
            null: b"\\N".to_vec(),
            header: Header::No,
        }
    }

    /// CSV as it is without options.
    pub(crate) fn csv() -> Self {
        Self { csv: true, delimiter: b',', null: Vec::new(), ..Self::text() }
    }
}
