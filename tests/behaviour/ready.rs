//! `/health/ready` is for supervisors: not before the bot exists and the lanes run.

use crate::world::World;

#[test]
fn what_has_not_begun_is_not_ready() {
    // What sets the library up here never says that it began.
    let world = World::new();
    let ask = |path: &str| world.request(|client, url| client.get(format!("{url}{path}")));
    let (status, said) = ask("/health/ready");
    assert_eq!(
        (status, said["status"].as_str()),
        (503, Some("starting or stopping"))
    );
    assert_eq!(ask("/health/live").0, 200);
}
