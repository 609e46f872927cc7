//! Who may use Vizard (`access.users`, `access.denied_users`, `access.admins`).

use ruma::UserId;

use crate::{
    config::{Access, matches_glob},
    pseudonym::Namespace,
};

/// Whether a user may use Vizard: admins always, members of the namespace never, else whom the list names;
/// an empty list means everybody on the homeserver.
pub fn may_use(access: &Access, namespace: &Namespace, user: &UserId) -> bool {
    if namespace.role(user).is_some() {
        return false;
    }
    if is_admin(access, user) {
        return true;
    }
    if access.users.is_empty() {
        return user.server_name() == namespace.server();
    }
    access
        .users
        .iter()
        .any(|entry| entry == "*" || entry == user.as_str() || entry == user.server_name().as_str())
}

/// Whether an admin does not let a user use Vizard (`access.denied_users`), whoever else may. Admins always may.
pub fn is_banned(access: &Access, user: &UserId) -> bool {
    let mut patterns = access.denied_users.iter();
    !is_admin(access, user) && patterns.any(|pattern| matches_glob(pattern, user.as_str()))
}

/// Whether somebody, who may use Vizard, has the commands of an admin too.
pub fn is_admin(access: &Access, user: &UserId) -> bool {
    access.admins.iter().any(|admin| admin == user)
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;

    #[test]
    fn who_may() {
        let namespace =
            Namespace::new(server_name!("a.example"), "_vizard_", "vizard").expect("valid");
        let alice = user_id!("@alice:a.example");
        let bob = user_id!("@bob:b.example");
        let bot = user_id!("@vizard:a.example");
        let other = user_id!("@_vizard_x:a.example");
        for (users, expected) in [
            (&[][..], [true, false]),
            (&["*"], [true, true]),
            (&["a.example"], [true, false]),
            (&["b.example"], [false, true]),
            (&["@bob:b.example"], [false, true]),
            (&["@alice:a.example", "b.example"], [true, true]),
            (&["alice", "example"], [false, false]),
        ] {
            let mut access = Access {
                users: users.iter().map(ToString::to_string).collect(),
                ..Access::default()
            };
            let found = [alice, bob].map(|user| may_use(&access, &namespace, user));
            assert_eq!(found, expected, "{users:?}");
            access.admins = vec![bob.to_owned(), bot.to_owned()];
            assert!(may_use(&access, &namespace, bob));
            assert!(!may_use(&access, &namespace, bot));
            assert!(!may_use(&access, &namespace, other));
        }
    }

    #[test]
    fn who_is_banned() {
        let mut access = Access {
            denied_users: vec!["@b*:b.example".to_owned(), "@eve:*".to_owned()],
            ..Access::default()
        };
        for (user, expected) in [
            ("@alice:a.example", false),
            ("@bob:b.example", true),
            ("@Bob:b.example", true),
            ("@bob:a.example", false),
            ("@eve:a.example", true),
        ] {
            let user = UserId::parse(user).expect("a user");
            assert_eq!(is_banned(&access, &user), expected, "{user}");
        }
        access.admins = vec![user_id!("@eve:a.example").to_owned()];
        assert!(!is_banned(&access, user_id!("@eve:a.example")));
    }
}
