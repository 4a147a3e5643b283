//! The local certificate authority and the gateway's certificate for this machine.
//!
//! Not here: browser trust stores. Nothing is installed; clients read the CA file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use contracts::clock::Clock;
use jiff::civil::Date;
use jiff::{Span, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, read_json, write_json, write_private};

const CA_DAYS: i64 = 3650;
/// Clients refuse server certificates that are valid for very long.
const SERVER_DAYS: i64 = 180;
const RENEW_DAYS: i64 = 30;
const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Last day of validity of both certificates, stored beside them.
#[derive(Debug, Serialize, Deserialize)]
struct Validity {
    ca: Date,
    server: Date,
}

impl Tls {
    /// Reuses existing certificates and renews those that are missing or about to expire.
    pub fn load_or_make(folder: &DataDir, clock: &Clock) -> anyhow::Result<Self> {
        let dir = folder.dir("tls")?;
        let tls = Self::in_dir(&dir);
        let today = clock.now().to_zoned(TimeZone::UTC).date();
        let renew_before = today.checked_add(Span::new().days(RENEW_DAYS))?;
        let validity = read_validity(&dir);
        let files_there = [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().all(|f| f.is_file());
        match validity {
            Some(validity) if files_there && validity.server > renew_before => Ok(tls),
            Some(validity) if files_there && validity.ca > renew_before => {
                tls.make_server(&dir, today, server_end(today)?, validity.ca).map(|()| tls)
            }
            _ => tls.make_all(&dir, today).map(|()| tls),
        }
    }

    /// Issues a new server certificate that expires at midnight in `days` days (in the past if less than
    /// one). For drills: the gateway must reload it without a restart.
    pub fn renew(folder: &DataDir, clock: &Clock, days: i64) -> anyhow::Result<()> {
        let dir = folder.dir("tls")?;
        let tls = Self::in_dir(&dir);
        let today = clock.now().to_zoned(TimeZone::UTC).date();
        let end = today.checked_add(Span::new().days(days))?;
        let validity = read_validity(&dir).context("there is no certificate to renew")?;
        tls.make_server(&dir, today.min(end.yesterday()?), end, validity.ca)
    }

    fn in_dir(dir: &Path) -> Self {
        Self {
            ca_file: dir.join("ca.pem"),
            cert_file: dir.join("server.pem"),
            key_file: dir.join("server.key.pem"),
        }
    }

    fn make_all(&self, dir: &Path, today: Date) -> anyhow::Result<()> {
        let end = today.checked_add(Span::new().days(CA_DAYS))?;
        let mut params = params("Melmastoon local authority", today, end)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write_private(&dir.join("ca.key.pem"), key.serialize_pem().as_bytes())?;
        write_private(&self.ca_file, certificate.pem().as_bytes())?;
        self.make_server(dir, today, server_end(today)?, end)
    }

    fn make_server(&self, dir: &Path, today: Date, end: Date, ca_end: Date) -> anyhow::Result<()> {
        let ca_key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key.pem"))?)?;
        let mut ca = params("Melmastoon local authority", today, ca_end)?;
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = Issuer::new(ca, ca_key);
        let mut params = params("Melmastoon gateway on this machine", today, end)?;
        params.subject_alt_names =
            CertificateParams::new(SERVER_NAMES.map(str::to_owned))?.subject_alt_names;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        write_private(&self.key_file, key.serialize_pem().as_bytes())?;
        write_private(&self.cert_file, certificate.pem().as_bytes())?;
        write_json(&dir.join("validity.json"), &Validity { ca: ca_end, server: end })
    }
}

fn server_end(today: Date) -> anyhow::Result<Date> {
    Ok(today.checked_add(Span::new().days(SERVER_DAYS))?)
}

fn read_validity(dir: &Path) -> Option<Validity> {
    read_json(&dir.join("validity.json"))
}

fn params(name: &str, today: Date, end: Date) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    // Starts a day earlier, because clocks of virtual machines jump.
    let start = today.yesterday()?;
    let (month, day) = month_and_day(start)?;
    params.not_before = date_time_ymd(start.year().into(), month, day);
    let (month, day) = month_and_day(end)?;
    params.not_after = date_time_ymd(end.year().into(), month, day);
    Ok(params)
}

fn month_and_day(date: Date) -> anyhow::Result<(u8, u8)> {
    Ok((date.month().try_into()?, date.day().try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_kept_until_near_their_end() {
        let path = std::env::temp_dir().join(format!("tls-{}", crate::secrets::random_hex(8)));
        let folder = DataDir::open(&path).unwrap();
        let day = |text: &str| Clock::fixed(text.parse().unwrap());
        let made = Tls::load_or_make(&folder, &day("2026-01-01T00:00:00Z")).unwrap();
        let read = || (fs::read(&made.ca_file).unwrap(), fs::read(&made.cert_file).unwrap());
        let first = read();
        Tls::load_or_make(&folder, &day("2026-05-01T00:00:00Z")).unwrap();
        assert_eq!(read(), first);
        Tls::load_or_make(&folder, &day("2026-06-15T00:00:00Z")).unwrap();
        assert_eq!(read().0, first.0);
        assert_ne!(read().1, first.1);
        fs::remove_dir_all(path).unwrap();
    }
}
