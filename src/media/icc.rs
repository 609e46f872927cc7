//! Colour profiles. Those in common use stay, because pictures look wrong without; a profile that somebody measured for
//! their own screen is as good as a name, and goes.

use super::read::contains;

/// Larger ones are not the plain, common profiles.
pub(super) const MAX: usize = 8 * 1024;

/// Profiles that millions have.
const COMMON: &[&str] = &[
    "sRGB",
    "Display P3",
    "Adobe RGB (1998)",
    "ProPhoto RGB",
    "Generic RGB Profile",
    "Generic Gray Gamma 2.2 Profile",
    "c2ci",
    "uP3",
];

/// Tags of measured screens.
const OWN: &[&[u8]] = &[b"vcgt", b"mmod", b"vcgp", b"ndin"];

/// Whether many people have this profile.
pub(super) fn is_common(profile: &[u8]) -> bool {
    if profile.len() > MAX || OWN.iter().any(|tag| contains(profile, tag)) {
        return false;
    }
    COMMON.iter().any(|name| {
        let wide: Vec<u8> = name.bytes().flat_map(|byte| [0, byte]).collect();
        contains(profile, name.as_bytes()) || contains(profile, &wide)
    })
}
