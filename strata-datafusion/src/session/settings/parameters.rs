//! The parameters that there are.

use super::values::Kind;

/// What clients are told they talk to: the catalogs and formats here are those of this version.
pub const SERVER_VERSION: &str = "15.8";

/// A parameter.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) kind: Kind,
    /// Whether clients hear of its changes.
    pub(super) reported: bool,
    pub(super) description: &'static str,
}

macro_rules! parameters {
    ($(($name:literal, $default:expr, $kind:expr, $reported:literal, $description:literal)),* $(,)?) => {
        pub(super) static PARAMETERS: &[Definition] = &[$(Definition {
            name: $name, default: $default, kind: $kind, reported: $reported, description: $description,
        }),*];
    };
}

const LOG_LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "info", "warning", "error"];

parameters![
    ("application_name", "", Kind::Text, true, "The name of the client program."),
    (
        "backslash_quote",
        "safe_encoding",
        Kind::OneOf(&["safe_encoding", "on", "off"]),
        false,
        "Whether \\' is allowed in literals."
    ),
    ("bytea_output", "hex", Kind::OneOf(&["hex"]), false, "The text format of bytea."),
    ("check_function_bodies", "on", Kind::Bool, false, "No effect."),
    ("client_encoding", "UTF8", Kind::Encoding, true, "The client's character set: always UTF8."),
    (
        "client_min_messages",
        "notice",
        Kind::OneOf(LOG_LEVELS),
        false,
        "The least severe message sent to the client."
    ),
    ("DateStyle", "ISO, MDY", Kind::DateStyle, true, "The format of dates: always ISO, MDY."),
    ("default_tablespace", "", Kind::Text, false, "No effect."),
    ("default_table_access_method", "heap", Kind::Text, false, "No effect."),
    (
        "default_transaction_isolation",
        "read committed",
        Kind::OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        false,
        "The isolation level of new transactions."
    ),
    ("default_transaction_read_only", "off", Kind::Bool, true, "Whether new transactions only read."),
    ("default_transaction_deferrable", "off", Kind::Bool, false, "No effect."),
    (
        "extra_float_digits",
        "1",
        Kind::Integer(-15, 3),
        false,
        "Floats are always printed in their shortest exact form."
    ),
    (
        "idle_in_transaction_session_timeout",
        "0",
        Kind::Duration,
        false,
        "How long a transaction may be idle."
    ),
    ("in_hot_standby", "off", Kind::Fixed, true, "Whether this is a standby."),
    ("integer_datetimes", "on", Kind::Fixed, true, "Timestamps are integers."),
    ("IntervalStyle", "postgres", Kind::OneOf(&["postgres"]), true, "The format of intervals."),
    ("is_superuser", "on", Kind::Fixed, true, "Whether the user is a superuser."),
    ("jit", "on", Kind::Bool, false, "No effect."),
    ("lc_collate", "C", Kind::Fixed, false, "The order of text."),
    ("lc_ctype", "C", Kind::Fixed, false, "The classes of characters."),
    ("lc_messages", "C", Kind::Text, false, "No effect."),
    ("lc_monetary", "C", Kind::Text, false, "No effect."),
    ("lc_numeric", "C", Kind::Text, false, "No effect."),
    ("lc_time", "C", Kind::Text, false, "No effect."),
    ("lock_timeout", "0", Kind::Duration, false, "How long to wait for a lock."),
    ("max_connections", "100", Kind::Fixed, false, "The most connections."),
    ("max_identifier_length", "63", Kind::Fixed, false, "Bytes of an identifier."),
    ("max_index_keys", "32", Kind::Fixed, false, "Columns of an index."),
    ("row_security", "on", Kind::Bool, false, "No effect."),
    (
        "search_path",
        "\"$user\", public",
        Kind::Text,
        false,
        "The schemas that names without one are looked up in."
    ),
    ("server_encoding", "UTF8", Kind::Fixed, true, "The database's character set."),
    ("server_version", SERVER_VERSION, Kind::Fixed, true, "The PostgreSQL version this is compatible with."),
    ("server_version_num", "150008", Kind::Fixed, false, "The same as a number."),
    ("session_authorization", "", Kind::Fixed, true, "The session's user."),
    ("standard_conforming_strings", "on", Kind::OneOf(&["on"]), true, "Backslashes are plain characters."),
    ("statement_timeout", "0", Kind::Duration, false, "How long a statement may run."),
    ("synchronize_seqscans", "on", Kind::Bool, false, "No effect."),
    (
        "synchronous_commit",
        "on",
        Kind::OneOf(&["on", "off", "local", "remote_write", "remote_apply"]),
        false,
        "Commits are always synchronous."
    ),
    ("tcp_keepalives_idle", "0", Kind::Integer(0, i32::MAX as i64), false, "No effect."),
    ("TimeZone", "UTC", Kind::TimeZone, true, "The session's time zone."),
    (
        "transaction_isolation",
        "read committed",
        Kind::OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        false,
        "The isolation level of the transaction."
    ),
    ("transaction_read_only", "off", Kind::Bool, false, "Whether the transaction only reads."),
    ("work_mem", "4MB", Kind::Memory, false, "No effect: memory has one cap for the process."),
    ("maintenance_work_mem", "64MB", Kind::Memory, false, "No effect: memory has one cap for the process."),
    ("xmloption", "content", Kind::OneOf(&["content", "document"]), false, "No effect."),
];

/// What pg_settings tells of a parameter.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) description: &'static str,
    /// Whether it cannot be set.
    pub(crate) fixed: bool,
}

/// All parameters.
pub(crate) fn descriptions() -> impl Iterator<Item = Description> {
    PARAMETERS.iter().map(|parameter| Description {
        name: parameter.name,
        default: parameter.default,
        description: parameter.description,
        fixed: matches!(parameter.kind, Kind::Fixed),
    })
}

/// The place of a parameter, whatever the case of its name.
pub(super) fn find(name: &str) -> Option<usize> {
    PARAMETERS.iter().position(|parameter| parameter.name.eq_ignore_ascii_case(name))
}
