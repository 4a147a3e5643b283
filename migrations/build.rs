//! Rebuilds the crate when a migration is added: a macro reads the folders, which cargo does not track.

fn main() {
    for folder in ["bff", "inventory", "housekeeping", "staff"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
