use std::collections::HashSet;

use super::*;

#[test]
fn every_function_has_one_definition() {
    let mut names = HashSet::new();
    for function in all() {
        assert!(names.insert(function.name().to_owned()), "{} is defined twice", function.name());
    }
    assert!(names.contains("now") && names.contains("extract") && names.contains("to_char"));
}
