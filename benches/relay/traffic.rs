//! What people say in a run: events for the stub to push, each announced to the ledger.

use rand::{Rng as _, rngs::StdRng};

use crate::{
    event::{self, Mark},
    ledger::STREAMS_PER_RUN,
    stub::world::{member_id, room_id},
    subject::Kind,
    town::Town,
};

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Room → portal.
    Inbound,
    /// Portal → room.
    Outbound,
    /// Both, half and half.
    Mixed,
}

/// Makes messages for one run in the first `rooms` rooms of a town.
#[derive(Debug)]
pub struct Traffic<'a> {
    town: &'a Town,
    flow: Flow,
    /// The numbers of the next messages, by stream: rooms first, then portals.
    next: Vec<u32>,
    rooms: usize,
    portals: Vec<usize>,
    of_room: Vec<Vec<usize>>,
    base: u32,
    echo_back: bool,
}

impl<'a> Traffic<'a> {
    pub fn new(town: &'a Town, flow: Flow, rooms: usize, echo_back: bool) -> Self {
        let mut of_room = vec![Vec::new(); rooms];
        for (index, portal) in town.portals.iter().enumerate() {
            if let Some(portals) = of_room.get_mut(portal.room) {
                portals.push(index);
            }
        }
        Self {
            town,
            flow,
            next: vec![0; rooms + town.portals.len()],
            rooms,
            portals: of_room.concat(),
            of_room,
            base: town.runs * STREAMS_PER_RUN,
            echo_back,
        }
    }

    /// A message of everybody who may speak.
    pub fn roll_call(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        if self.flow != Flow::Outbound {
            for room in 0..self.rooms {
                for member in 0..self.town.size.members {
                    events.push(self.inbound(room, member));
                }
            }
        }
        if self.flow != Flow::Inbound {
            for portal in self.portals.clone() {
                events.push(self.outbound(portal));
            }
        }
        events
    }

    /// A message of somebody at random.
    pub fn message(&mut self, rng: &mut StdRng) -> String {
        let inbound = match self.flow {
            Flow::Inbound => true,
            Flow::Outbound => false,
            Flow::Mixed => rng.random(),
        };
        if inbound {
            let room = rng.random_range(0..self.rooms);
            let member = rng.random_range(0..self.town.size.members);
            self.inbound(room, member)
        } else {
            let portal = self.portals[rng.random_range(0..self.portals.len())];
            self.outbound(portal)
        }
    }

    /// The number of messages in the longest stream.
    pub fn longest(&self) -> u64 {
        self.next.iter().copied().max().unwrap_or(0).into()
    }

    fn inbound(&mut self, room: usize, member: u32) -> String {
        let source = room_id(room);
        let targets: Vec<&str> = if self.town.subject.kind == Kind::Echo {
            vec![&source]
        } else {
            self.of_room[room]
                .iter()
                .map(|portal| self.town.portals[*portal].id.as_str())
                .collect()
        };
        let sender = member_id(member);
        Self::event(
            self.town,
            &mut self.next,
            (room, self.base),
            member,
            &source,
            &sender,
            &targets,
        )
    }

    fn outbound(&mut self, index: usize) -> String {
        let portal = &self.town.portals[index];
        let room = room_id(portal.room);
        let mut targets = vec![room.as_str()];
        if self.town.subject.kind == Kind::Echo {
            targets = vec![&portal.id];
        } else if self.echo_back {
            // The ghost's message comes back, and the other portals into the room show it.
            let others = self.of_room[portal.room]
                .iter()
                .filter(|other| **other != index);
            targets.extend(others.map(|other| self.town.portals[*other].id.as_str()));
        }
        let stream = (self.rooms + index, self.base);
        Self::event(
            self.town,
            &mut self.next,
            stream,
            0,
            &portal.id,
            &portal.user,
            &targets,
        )
    }

    fn event(
        town: &Town,
        next: &mut [u32],
        (stream, base): (usize, u32),
        sender: u32,
        room: &str,
        user: &str,
        targets: &[&str],
    ) -> String {
        let number = next[stream];
        next[stream] += 1;
        let mark = Mark {
            stream: base + u32::try_from(stream).unwrap_or(u32::MAX),
            sender,
            number,
        };
        let mut state = town.stub.state();
        let rooms: Vec<u32> = targets
            .iter()
            .map(|target| state.world.rooms[*target].index)
            .collect();
        state.ledger.expect(mark, &rooms);
        let (id, now) = (state.world.event_id(), state.world.now());
        let portal = state.world.rooms[room]
            .portal
            .as_ref()
            .map(|_| state.world.rooms[room].index);
        if let (Some(portal), Some(room)) = (portal, rooms.first()) {
            state.ledger.owe_receipt(portal, *room, mark, &id);
        }
        event::message(room, user, &id, now, &event::text(&mark.body()))
    }
}
