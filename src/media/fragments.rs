//! Fragments of MP4 files: samples whose tables stand beside them (`moof`), and not in the header of their track, which says
//! nothing of where they lie.

use std::collections::BTreeSet;

use super::{
    bmff::{Part, is_shown, only, parts},
    read::{File, Needed as _, Result, malformed},
};

/// An error where a fragment has samples of a track that people neither see nor hear, or of one that is not there: they would
/// stay.
pub(super) fn are_shown(file: &mut File<'_>, top: &[Part]) -> Result<()> {
    let of = |kind: &'static [u8; 4]| top.iter().filter(move |part| &part.kind == kind);
    if of(b"moof").next().is_none() {
        return Ok(());
    }
    let (mut shown, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for movie in of(b"moov") {
        for track in parts(file, movie.data.clone())? {
            if &track.kind != b"trak" {
                continue;
            }
            let number = number_of(file, &track)?;
            let inner = parts(file, track.data.clone())?;
            if is_shown(file, &inner)? {
                shown.insert(number);
            } else {
                gone.insert(number);
            }
        }
    }
    for fragment in of(b"moof") {
        for run in parts(file, fragment.data.clone())? {
            if &run.kind != b"traf" {
                continue;
            }
            let head = only(file, &run, *b"tfhd")?.needed()?;
            let number = file.be32(head.data.start + 4)?;
            if !shown.contains(&number) || gone.contains(&number) {
                return malformed();
            }
        }
    }
    Ok(())
}

/// The number of a track, behind the times of its making.
fn number_of(file: &mut File<'_>, track: &Part) -> Result<u32> {
    let head = only(file, track, *b"tkhd")?.needed()?;
    let times = if file.byte(head.data.start)? == 1 {
        16
    } else {
        8
    };
    file.be32(head.data.start + 4 + times)
}
