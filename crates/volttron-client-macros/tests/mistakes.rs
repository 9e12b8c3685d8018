//! What authors get wrong most likely, and what they are told.
#![allow(missing_docs)]

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
