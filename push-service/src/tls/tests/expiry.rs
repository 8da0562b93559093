//! Until when the certificates are valid that peers are shown, wherever they come from.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{Acceptor, CertificateSource, Directory, acceptor};
use crate::defaults::SELF_SIGNED_VALIDITY;
use crate::tls::{Options, ValidUntil};

/// The first days of these years, in days since 1970.
const YEARS: [(i32, u64); 3] = [(2030, 21_915), (2040, 25_567), (2060, 32_872)];

/// A pair for `host` that is valid until the year of this place in [`YEARS`]: its certificate and its key.
fn issue(host: &str, year: usize) -> [String; 2] {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_after = date_time_ymd(YEARS[year].0, 1, 1);
    let key = KeyPair::generate().unwrap();
    [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
}

fn write(directory: &Path, stem: &str, [certificate, key]: [String; 2]) {
    fs::write(directory.join(format!("{stem}.pem")), certificate).unwrap();
    fs::write(directory.join(format!("{stem}.key")), key).unwrap();
}

fn start_of(year: usize) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs(YEARS[year].1 * 24 * 60 * 60))
}

fn files(directory: &Directory) -> CertificateSource {
    CertificateSource::Files {
        certificate: directory.0.join("own.pem"),
        key: directory.0.join("own.key"),
    }
}

/// Of files it is told what is presented: another time when they have changed and were read, the old one while they are
/// broken.
#[test]
fn of_files_it_moves_with_a_reload() {
    let own = Directory::new();
    write(&own.0, "own", issue("push.example", 0));
    let acceptor = Acceptor::new(files(&own)).unwrap();
    let until = |service| ValidUntil {
        service,
        directory: None,
    };
    assert_eq!(acceptor.valid_until(), until(start_of(0)));
    write(&own.0, "own", issue("push.example", 2));
    assert_eq!(
        acceptor.valid_until(),
        until(start_of(0)),
        "it is not presented yet"
    );
    assert!(acceptor.reload().unwrap());
    assert_eq!(acceptor.valid_until(), until(start_of(2)));
    fs::write(own.0.join("own.pem"), "half").unwrap();
    acceptor.reload().unwrap_err();
    assert_eq!(acceptor.valid_until(), until(start_of(2)));
}

/// Of a directory the one that ends first is told, of all that anybody is shown; and nothing when none is left.
#[test]
fn of_a_directory_it_is_the_first_to_end() {
    let (own, named) = (Directory::new(), Directory::new());
    write(&own.0, "own", issue("push.example", 0));
    write(&named.0, "one", issue("one.example", 2));
    write(&named.0, "two", issue("two.example", 1));
    // It has another one's name, so it is not presented.
    write(&named.0, "unseen", issue("one.example", 0));
    let options = Options {
        directory: Some(named.0.clone()),
        ..Options::default()
    };
    let acceptor = Acceptor::with(files(&own), options).unwrap();
    for (gone, left) in [
        (None, start_of(1)),
        (Some("two"), start_of(2)),
        (Some("one"), start_of(0)),
        (Some("unseen"), None),
    ] {
        if let Some(stem) = gone {
            fs::remove_file(named.0.join(format!("{stem}.pem"))).unwrap();
            assert!(acceptor.reload().unwrap());
        }
        let expected = ValidUntil {
            service: start_of(0),
            directory: left,
        };
        assert_eq!(acceptor.valid_until(), expected, "without {gone:?}");
    }
}

/// What is made here says so too; one that an ACME server issues takes its place.
#[test]
fn of_what_comes_by_itself_it_is_what_is_shown() {
    let is_self_signed = |acceptor: &Acceptor| {
        let until = acceptor.valid_until().service.unwrap();
        let left = until.duration_since(SystemTime::now()).unwrap();
        left <= SELF_SIGNED_VALIDITY && left + Duration::from_secs(60 * 60) > SELF_SIGNED_VALIDITY
    };
    let directory = Directory::new();
    assert!(is_self_signed(&acceptor(&directory)));

    let source = directory.orderer().source();
    let CertificateSource::Issued { file, .. } = &source else {
        panic!("it is issued");
    };
    let acceptor = Acceptor::new(source.clone()).unwrap();
    assert!(is_self_signed(&acceptor));
    fs::write(file, issue("push.example", 1).concat()).unwrap();
    assert!(acceptor.reload().unwrap());
    assert_eq!(acceptor.valid_until().service, start_of(1));
}
