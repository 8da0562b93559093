//! When certificates are ordered, and what a handshake shows meanwhile.

use std::time::UNIX_EPOCH;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate of 90 days is renewed when 30 of them are left, and up to three days earlier; a short one in proportion.
#[test]
fn a_third_of_the_life_is_left_when_it_is_renewed() {
    let not_before = UNIX_EPOCH + 20_000 * DAY;
    for (lifetime, luck, renewed_after) in [(90, 0.0, 60), (90, 1.0, 57), (6, 0.0, 4)] {
        let kept = Validity {
            not_before,
            not_after: not_before + lifetime * DAY,
        };
        assert_eq!(renew_at(&kept, luck), not_before + renewed_after * DAY);
    }
}

/// Each failure doubles the pause up to its longest; a server that asks for more patience gets it, within reason; and no
/// hour sees more than the five failures that a well-known server allows.
#[test]
fn failures_make_it_patient() {
    assert_eq!(pause(0, 0.0, None), ACME_PAUSE_FIRST);
    assert_eq!(pause(1, 0.0, None), 2 * ACME_PAUSE_FIRST);
    assert_eq!(pause(u32::MAX, 0.0, None), ACME_PAUSE_LONGEST);
    assert!(pause(0, 1.0, None) <= ACME_PAUSE_FIRST * 5 / 4);
    let asked = Duration::from_secs(3_600);
    assert_eq!(pause(0, 0.0, Some(asked)), asked);
    assert_eq!(pause(0, 0.0, Some(Duration::from_secs(1))), ACME_PAUSE_FIRST);
    assert_eq!(pause(0, 0.0, Some(Duration::MAX)), ACME_PATIENCE_LONGEST);
    let first_four: Duration = (0..4).map(|failures| pause(failures, 0.0, None)).sum();
    assert!(first_four > Duration::from_secs(3_600));
}
