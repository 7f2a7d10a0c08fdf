//! Cutting columns into pages.

use super::super::bits::GROUP;
use super::super::integers;
use super::super::strings;

/// Where pages start and end, in groups, so that each has about `page_bytes`.
pub(super) fn cut(sizes: &[usize], page_bytes: usize) -> Vec<(usize, usize)> {
    let mut cuts = Vec::new();
    let mut first = 0;
    let mut bytes = 0;
    for (group, size) in sizes.iter().enumerate() {
        if bytes > 0 && bytes + size > page_bytes {
            cuts.push((first, group));
            (first, bytes) = (group, 0);
        }
        bytes += size;
    }
    cuts.push((first, sizes.len()));
    cuts
}

/// Packs integers whose groups have these sizes.
pub(super) fn of_integers(values: &[i64], sizes: &[usize], page_bytes: usize) -> Vec<(usize, Vec<u8>)> {
    let encoded = cut(sizes, page_bytes).into_iter().map(|(first, end)| {
        let (start, end) = (first * GROUP, (end * GROUP).min(values.len()));
        let mut content = Vec::new();
        integers::encode(values.get(start..end).unwrap_or_default(), &mut content);
        (start, content)
    });
    encoded.collect()
}

/// Values of one width, one after another.
pub(super) fn of_fixed(rows: &[&[u8]], page_bytes: usize) -> Vec<(usize, Vec<u8>)> {
    let width = rows.first().map_or(1, |row| row.len());
    let page_rows = (page_bytes / (width * GROUP)).max(1) * GROUP;
    let firsts = (0..rows.len()).step_by(page_rows);
    firsts.zip(rows.chunks(page_rows)).map(|(first, rows)| (first, rows.concat())).collect()
}

/// Cuts strings into pages of about `page_bytes`: whole groups, or single strings where a group is larger than
/// two pages.
pub(super) fn of_strings(rows: &[&[u8]], page_bytes: usize) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut starts = vec![0];
    let mut bytes = 0;
    for (group, members) in rows.chunks(GROUP).enumerate() {
        let first = group * GROUP;
        let size: usize = members.iter().map(|row| row.len() + 1).sum();
        if bytes > 0 && bytes + size > page_bytes {
            starts.push(first);
            bytes = 0;
        }
        if size <= 2 * page_bytes {
            bytes += size;
            continue;
        }
        for (at, row) in (first..).zip(members) {
            if bytes > 0 && bytes + row.len() > page_bytes {
                starts.push(at);
                bytes = 0;
            }
            bytes += row.len() + 1;
        }
        // What follows starts a page of its own.
        bytes = bytes.max(page_bytes);
    }
    let ends = starts.iter().skip(1).copied().chain([rows.len()]);
    let mut pages = Vec::with_capacity(starts.len());
    for (start, end) in starts.iter().zip(ends) {
        let mut content = Vec::new();
        strings::encode(rows.get(*start..end)?.iter().copied(), &mut content)?;
        pages.push((*start, content));
    }
    Some(pages)
}
