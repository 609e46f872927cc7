//! What the demo came to: its exit status. The test kit's own tests show it a planted leak.

use anyhow::Result;

use crate::testkit::audit::Report;

/// 0 if everything worked and none of the searches found anything, else 1.
pub fn status(played: &Result<Vec<Report>>) -> u8 {
    let clean = played
        .as_ref()
        .is_ok_and(|reports| !reports.is_empty() && reports.iter().all(Report::is_clean));
    u8::from(!clean)
}
