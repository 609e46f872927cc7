//! The keys of everybody in a town.

use std::collections::HashMap;

use anyhow::Context as _;
use async_trait::async_trait;

use crate::{
    ledger::Sealed,
    person::Person,
    seal::Seal,
    stub::{
        Stub,
        world::{member_id, user_id},
    },
    town::Size,
};

/// A device for each person.
#[derive(Debug)]
pub struct People {
    persons: HashMap<String, Person>,
    members: u32,
    /// Whose turn it is to read what is said in rooms.
    turn: u32,
}

impl People {
    /// Makes the devices of a town's people.
    pub async fn new(stub: &Stub, size: Size) -> anyhow::Result<Self> {
        let users = (0..size.users).map(user_id);
        let mut persons = HashMap::new();
        for name in users.chain((0..size.members).map(member_id)) {
            let person = Person::new(stub, &name).await?;
            persons.insert(name, person);
        }
        Ok(Self {
            persons,
            members: size.members,
            turn: 0,
        })
    }

    fn person(&mut self, name: &str) -> anyhow::Result<&mut Person> {
        self.persons.get_mut(name).context("nobody of that name")
    }
}

#[async_trait(?Send)]
impl Seal for People {
    async fn seal(
        &mut self,
        stub: &Stub,
        room: &str,
        sender: &str,
        content: &str,
    ) -> anyhow::Result<String> {
        let ours = stub.state().world.ours_in(room);
        let users = ours
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?;
        self.person(sender)?.seal(stub, room, users, content).await
    }

    async fn open(&mut self, stub: &Stub, sealed: &Sealed) -> anyhow::Result<String> {
        let portal = {
            let state = stub.state();
            let room = state.world.rooms.get(&sealed.room_id);
            room.and_then(|room| Some(room.portal.as_ref()?.0.clone()))
        };
        let reader = portal.unwrap_or_else(|| {
            self.turn = (self.turn + 1) % self.members;
            member_id(self.turn)
        });
        self.person(&reader)?.open(stub, sealed).await
    }
}
