//! Paths that the documents name.

use std::path::Path;

use crate::sources::{root, written_files};

/// Whether the text in backticks is a path of this repository. Patterns, and files that exist only at
/// run time, are not.
fn is_path(text: &str) -> bool {
    let is_plain =
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter));
    let has_extension = Path::new(text).extension().is_some() || text.ends_with('/');
    is_plain && text.contains('/') && has_extension && !text.starts_with(['/', '.'])
}

#[test]
fn every_path_in_a_document_exists() {
    let (root, mut checked) = (root(), 0);
    let is_document = |path: &Path| path.extension().is_some_and(|ending| ending == "md");
    for file in written_files().into_iter().filter(|path| is_document(path)) {
        let text = std::fs::read_to_string(&file).expect("a document can be read");
        let folder = file.parent().expect("a file is in a folder");
        for path in text.split('`').skip(1).step_by(2).filter(|text| is_path(text)) {
            checked += 1;
            let exists = root.join(path).exists() || folder.join(path).exists();
            assert!(exists, "{} names {path}, which does not exist", file.display());
        }
    }
    assert!(checked > 100, "only {checked} paths were found");
}
