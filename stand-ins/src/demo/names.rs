//! Names of guests and staff, combined at random from names common in the region.

use super::seed::{chance, pick};

const GIVEN_AF: &str = "\
    Amina Farid Laila Najib Zarmina Hamid Parwana Wais Shabnam Mirwais Freshta Jawad Soraya \
    Haroon Palwasha Idris Roya Tamim Nargis Yama";
const FAMILY_AF: &str = "\
    Rahimi Noorzai Stanekzai Ahmadi Popal Sultani Wardak Barakzai Sharifi Hotak Azizi Mangal \
    Qaderi Yusufi";
const GIVEN_TJ: &str = "\
    Zarina Firuz Manizha Rustam Nigora Bahrom Shahlo Daler Mehrona Jamshed Gulnora Sino \
    Tahmina Komron Dilafruz Parviz Sitora Umed";
const FAMILY_TJ: &str = "\
    Rahmonov Sharipova Nazarov Karimova Davlatov Saidova Yusupov Hakimova Boboev Mirzoeva \
    Ismoilov Qodirova";
const GIVEN_IR: &str = "\
    Maryam Reza Shirin Kaveh Nasrin Omid Leyla Babak Azar Siavash Mina Dariush Parisa Farhad \
    Golnaz Kourosh Taraneh Arash";
const FAMILY_IR: &str = "\
    Moradi Tehrani Shirazi Kazemi Rostami Farahani Jafari Golestani Mohebbi Sadeghi Karimi \
    Bahrami Nikpour";
const VISITORS: &str = "\
    Ingrid Solberg, Kenji Matsuda, Claire Fontaine, Bilal Chaudhry, Aigerim Sadykova, \
    Tomasz Wrona, Priya Raman, Emre Aksoy, Nodira Tursunova, Lukas Brandt, Fatima Al Mansoori, \
    Oleksandr Kovalenko, Grace Mwangi, Zhang Lin, Sofia Marchetti";

/// A name usual in `country` (ISO 3166 alpha-2).
pub(super) fn local(country: &str, label: &str) -> (&'static str, &'static str) {
    let (given, family) = match country {
        "AF" => (GIVEN_AF, FAMILY_AF),
        "TJ" => (GIVEN_TJ, FAMILY_TJ),
        _ => (GIVEN_IR, FAMILY_IR),
    };
    (one(&format!("given/{label}"), given, " "), one(&format!("family/{label}"), family, " "))
}

/// One of the `names` in a text.
fn one(label: &str, names: &'static str, separator: &str) -> &'static str {
    pick(label, &names.split(separator).collect::<Vec<_>>())
}

/// The name of a guest: most are from the country, some from a neighbouring one, a few from elsewhere.
pub(super) fn guest(country: &str, label: &str) -> String {
    if chance(&format!("visitor/{label}"), 12) {
        return one(&format!("visitor-name/{label}"), VISITORS, ", ").to_owned();
    }
    let from = if chance(&format!("neighbour/{label}"), 20) {
        pick(&format!("country/{label}"), &["AF", "TJ", "IR"])
    } else {
        country
    };
    let (given, family) = local(from, label);
    format!("{given} {family}")
}
