//! The files of the repository.

use std::path::{Path, PathBuf};

use syn::Attribute;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("contracts is in the root folder")
        .to_owned()
}

/// Folders of generated files.
const GENERATED: [&str; 4] = ["target", ".git", ".local", "node_modules"];

/// Every file that is not generated.
pub(crate) fn written_files() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let is_generated =
                path.file_name().is_some_and(|name| GENERATED.iter().any(|folder| name == *folder));
            if path.is_dir() && !path.is_symlink() && !is_generated {
                folders.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files
}

pub(crate) fn sources() -> Vec<PathBuf> {
    let files = written_files().into_iter();
    let files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect();
    assert!(files.len() > 50, "the sources were not found");
    files
}

/// Whether an item with these attributes is compiled for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let meta = &attribute.meta;
        meta.path().is_ident("cfg")
            && meta.require_list().is_ok_and(|list| list.tokens.to_string().contains("test"))
    })
}

/// Whether the file is compiled for tests or benches only.
pub(crate) fn is_left_out(file: &Path) -> bool {
    let left_out = ["tests", "tests.rs", "benches"];
    file.components().any(|part| left_out.iter().any(|name| part.as_os_str() == *name))
}
