use super::*;

/// Rows of a text, cut into chunks of this length; NULL is `None`.
fn cut(
    format: &TextFormat,
    columns: usize,
    data: &[u8],
    chunk: usize,
) -> SqlResult<Vec<Vec<Option<Vec<u8>>>>> {
    let column =
        |place: usize| FieldColumn { name: format!("c{place}"), force_null: false, force_not_null: false };
    let mut cutter = Cutter::new(format.clone(), "t".to_owned(), (0..columns).map(column).collect());
    let mut rows = Rows::default();
    let mut found = Vec::new();
    let mut take = |cutter: &mut Cutter, last: bool| {
        let result = cutter.cut(&mut rows, last);
        for row in 0..rows.len() {
            let field = |column| rows.field(cutter.bytes(), row, column).map(<[u8]>::to_vec);
            found.push((0..columns).map(field).collect());
        }
        cutter.release();
        result
    };
    for part in data.chunks(chunk) {
        cutter.push(part)?;
        take(&mut cutter, false)?;
    }
    take(&mut cutter, true)?;
    Ok(found)
}

/// The same rows come out however the data is cut.
fn rows(format: &TextFormat, columns: usize, data: &[u8]) -> Vec<Vec<Option<String>>> {
    let whole = cut(format, columns, data, data.len().max(1)).unwrap();
    for chunk in 1..data.len().max(2) {
        assert_eq!(cut(format, columns, data, chunk).unwrap(), whole, "in chunks of {chunk}");
    }
    let text = |field: Option<Vec<u8>>| field.map(|bytes| String::from_utf8(bytes).unwrap());
    whole.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

/// The error, which is the same however the data is cut, and its context.
fn error(format: &TextFormat, columns: usize, data: &[u8]) -> (String, String) {
    let whole = cut(format, columns, data, data.len()).unwrap_err();
    for chunk in 1..data.len() {
        assert_eq!(cut(format, columns, data, chunk).unwrap_err(), whole, "in chunks of {chunk}");
    }
    assert_eq!(whole.sqlstate, "22P04");
    (whole.message, whole.context.unwrap_or_default())
}

fn some<const N: usize>(fields: [&str; N]) -> Vec<Option<String>> {
    fields.iter().map(|field| Some((*field).to_owned())).collect()
}

#[test]
fn text_resolves_its_escapes() {
    let format = TextFormat::text();
    assert_eq!(rows(&format, 2, b"a\tb\nc\t\n"), [some(["a", "b"]), some(["c", ""])]);
    assert_eq!(rows(&format, 2, b"\\N\tx"), [vec![None, Some("x".to_owned())]]);
    assert_eq!(
        rows(&format, 3, b"a\\tb\tc\\nd\\\\\t\\101\\x42\\b\n\\\tx\t\\\\N\t\\q\n"),
        [some(["a\tb", "c\nd\\", "AB\u{8}"]), some(["\tx", "\\N", "q"])]
    );
}

#[test]
fn a_backslash_keeps_the_line_going() {
    let format = TextFormat::text();
    assert_eq!(rows(&format, 2, b"a\\\nb\tc\nd\te\n"), [some(["a\nb", "c"]), some(["d", "e"])]);
    assert_eq!(rows(&format, 2, b"a\\\\\tb\n"), [some(["a\\", "b"])]);
}

#[test]
fn a_line_of_backslash_and_dot_ends_the_data() {
    assert_eq!(rows(&TextFormat::text(), 1, b"a\n\\.\nb\tc\td\n"), [some(["a"])]);
    assert_eq!(rows(&TextFormat::csv(), 1, b"a\n\\.\n\"b\n"), [some(["a"])]);
}

#[test]
fn all_kinds_of_line_ends_are_known() {
    for format in [TextFormat::text(), TextFormat { delimiter: b'\t', ..TextFormat::csv() }] {
        for data in ["a\tb\nc\td\n", "a\tb\r\nc\td\r\n", "a\tb\rc\td\r", "a\tb\r\nc\td"] {
            assert_eq!(rows(&format, 2, data.as_bytes()), [some(["a", "b"]), some(["c", "d"])], "{data:?}");
        }
    }
}

#[test]
fn a_stray_line_end_is_refused() {
    let (message, context) = error(&TextFormat::text(), 1, b"a\nb\rc\n");
    assert_eq!(message, "literal carriage return found in data");
    assert_eq!(context, "COPY t, line 2: \"b\rc\"");
    assert_eq!(error(&TextFormat::text(), 1, b"a\r\nb\nc\r\n").0, "literal newline found in data");
    assert_eq!(error(&TextFormat::csv(), 1, b"a\nb\rc\n").0, "unquoted carriage return found in data");
    assert_eq!(
        error(&TextFormat::csv(), 2, b"a,b\n\"x\",b\rc\n").0,
        "unquoted carriage return found in data"
    );
    assert_eq!(rows(&TextFormat::text(), 1, b"a\nb\\\rc\n"), [some(["a"]), some(["b\rc"])]);
}

#[test]
fn csv_resolves_its_quotes() {
    let format = TextFormat::csv();
    assert_eq!(rows(&format, 2, b"a,b\n\"c,d\",\"e\nf\"\n"), [some(["a", "b"]), some(["c,d", "e\nf"])]);
    assert_eq!(rows(&format, 2, b"\"a\"\"b\",c\"d,\"e\n"), [some(["a\"b", "cd,e"])]);
    assert_eq!(rows(&format, 2, b",\"\"\n"), [vec![None, Some(String::new())]]);
    assert_eq!(rows(&format, 1, b"\"\r\n\"\r\nx\r\n"), [some(["\r\n"]), some(["x"])]);
    let other = TextFormat { quote: b'\'', escape: b'\\', null: b"-".to_vec(), ..TextFormat::csv() };
    assert_eq!(
        rows(&other, 2, b"'a\\'b\\\\','c\nd'\n-,'-'\n"),
        [some(["a'b\\", "c\nd"]), vec![None, Some("-".to_owned())]]
    );
}

#[test]
fn null_can_be_forced_and_forbidden() {
    let column =
        |force_null, force_not_null| FieldColumn { name: "c".to_owned(), force_null, force_not_null };
    let mut cutter =
        Cutter::new(TextFormat::csv(), "t".to_owned(), vec![column(true, false), column(false, true)]);
    let mut found = Rows::default();
    cutter.push(b"\"\",\n\"\",\"\"\n").unwrap();
    cutter.cut(&mut found, true).unwrap();
    for row in 0..2 {
        assert_eq!(found.field(cutter.bytes(), row, 0), None);
        assert_eq!(found.field(cutter.bytes(), row, 1), Some(b"".as_slice()));
    }
}

#[test]
fn too_few_and_too_many_fields_are_refused() {
    let (message, context) = error(&TextFormat::csv(), 2, b"a,b\nc\n");
    assert_eq!(message, "missing data for column \"c1\"");
    assert_eq!(context, "COPY t, line 2: \"c\"");
    assert_eq!(error(&TextFormat::text(), 2, b"a\tb\n\n").0, "missing data for column \"c1\"");
    assert_eq!(error(&TextFormat::csv(), 1, b"a,b\n").0, "extra data after last expected column");
    let (message, context) = error(&TextFormat::csv(), 1, b"a\n\"b\nc\n");
    assert_eq!((message.as_str(), context.as_str()), ("unterminated CSV quoted field", "COPY t, line 4"));
}

#[test]
fn lines_are_counted_inside_quotes() {
    let (_, context) = error(&TextFormat::csv(), 2, b"h,h\n\"a\nb\",c\nd\n");
    assert_eq!(context, "COPY t, line 4: \"d\"");
}

#[test]
fn a_header_is_passed_over_or_must_match() {
    let yes = TextFormat { header: Header::Yes, ..TextFormat::csv() };
    assert_eq!(rows(&yes, 2, b"x\n1,2\n"), [some(["1", "2"])]);
    let matching = TextFormat { header: Header::Match, ..TextFormat::csv() };
    assert_eq!(rows(&matching, 2, b"c0,\"c1\"\n1,2\n"), [some(["1", "2"])]);
    assert_eq!(
        error(&matching, 2, b"c0,x\n1,2\n").0,
        "column name mismatch in header line field 2: got \"x\", expected \"c1\""
    );
    assert_eq!(
        error(&matching, 2, b"c0\n1,2\n").0,
        "wrong number of fields in header line: got 1, expected 2"
    );
}

#[test]
fn fields_stay_slices_of_the_input() {
    let mut cutter = Cutter::new(
        TextFormat::csv(),
        "t".to_owned(),
        vec![FieldColumn { name: "c".to_owned(), force_null: false, force_not_null: false }],
    );
    let mut found = Rows::default();
    cutter.push(b"plain\n\"quoted, plainly\"\n\"not \"\"so\"\"\"\n").unwrap();
    cutter.cut(&mut found, true).unwrap();
    assert_eq!(found.scratch, b"not \"so\"");
}
