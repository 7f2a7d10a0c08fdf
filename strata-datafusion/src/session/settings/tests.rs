use super::*;

#[test]
fn values_are_shown_in_canonical_form() {
    let mut settings = Settings::new("ann");
    for (name, value, shown) in [
        ("statement_timeout", "1500", "1500ms"),
        ("statement_timeout", "2min", "2min"),
        ("statement_timeout", "120000", "2min"),
        ("work_mem", "4096", "4MB"),
        ("timezone", "europe/berlin", "Europe/Berlin"),
        ("TimeZone", "+5:30", "+05:30"),
        ("client_encoding", "utf-8", "UTF8"),
        ("datestyle", "iso", "ISO, MDY"),
        ("synchronous_commit", "true", "on"),
        ("default_transaction_read_only", "1", "on"),
        ("my.own", "x", "x"),
    ] {
        settings.set(name, Some(value), false).unwrap();
        assert_eq!(&*settings.show(name).unwrap(), shown, "{name}");
    }
    assert_eq!(settings.milliseconds("statement_timeout"), 120_000);
    assert_eq!(&*settings.show("session_authorization").unwrap(), "ann");
}

#[test]
fn what_is_unknown_or_fixed_is_refused() {
    let mut settings = Settings::new("ann");
    assert_eq!(settings.set("frob", Some("1"), false).unwrap_err().sqlstate, "42704");
    assert_eq!(settings.set("server_version", Some("1"), false).unwrap_err().sqlstate, "55P02");
    assert_eq!(settings.set("TimeZone", Some("Mars"), false).unwrap_err().sqlstate, "22023");
    assert_eq!(
        settings.set("default_transaction_isolation", Some("chaos"), false).unwrap_err().sqlstate,
        "22023"
    );
}

#[test]
fn a_rollback_undoes_changes_and_a_commit_only_local_ones() {
    let mut settings = Settings::new("ann");
    settings.save();
    settings.set("application_name", Some("a"), false).unwrap();
    settings.set("TimeZone", Some("Asia/Tokyo"), true).unwrap();
    settings.release(true);
    assert_eq!(settings.get("application_name"), "a");
    assert_eq!(settings.get("TimeZone"), "UTC");
    settings.save();
    settings.set("application_name", Some("b"), false).unwrap();
    settings.release(false);
    assert_eq!(settings.get("application_name"), "a");
    let changes = settings.take_changes();
    assert_eq!(changes.last().unwrap(), &("application_name".to_owned(), "a".to_owned()));
}

#[test]
fn a_rolled_back_custom_setting_is_another_generation() {
    let mut settings = Settings::new("ann");
    for (local, committed) in [(false, false), (true, true), (true, false)] {
        settings.save();
        settings.set("my.own", Some("1"), local).unwrap();
        let inside = settings.generation();
        settings.release(committed);
        assert!(settings.show("my.own").is_err());
        assert_ne!(settings.generation(), inside, "what is cached of the settings is out of date");
    }
}

#[test]
fn a_local_change_goes_back_to_the_change_before_it() {
    let mut settings = Settings::new("ann");
    settings.save();
    settings.set("my.own", Some("1"), false).unwrap();
    settings.set("my.own", Some("2"), true).unwrap();
    settings.set("application_name", Some("a"), false).unwrap();
    settings.set("application_name", Some("b"), true).unwrap();
    settings.set("application_name", Some("c"), true).unwrap();
    settings.release(true);
    assert_eq!(&*settings.show("my.own").unwrap(), "1");
    assert_eq!(settings.get("application_name"), "a");
}

#[test]
fn a_transaction_that_changes_nothing_keeps_nothing() {
    let mut settings = Settings::new("ann");
    settings.save();
    settings.set("transaction_isolation", Some("read committed"), true).unwrap();
    assert!(settings.saved.is_none());
    settings.release(false);
    assert_eq!(settings.generation(), 0);
}
