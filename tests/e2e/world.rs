//! Two homeservers, a Vizard on A (and, where there is encryption, on B), and the steps that every story begins with.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::testkit::{
    client::{Client, Received, Source},
    proxy::Proxy,
    site::Site,
    synapse::{Options, Synapse, SynapsePair},
    vizard::{Setup, Vizard},
};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Chooses the moments of a test: from `VIZARD_CRASH_SEED`, or this one.
pub fn moments(seed: u64) -> StdRng {
    let chosen = std::env::var("VIZARD_CRASH_SEED").ok();
    let seed = chosen.and_then(|seed| seed.parse().ok()).unwrap_or(seed);
    eprintln!("VIZARD_CRASH_SEED={seed} chooses the moments");
    StdRng::seed_from_u64(seed)
}

/// Two homeservers and a Vizard on A. Dropping it stops them.
pub struct World {
    pub vizard: Vizard,
    /// That of B, where there is one.
    pub other: Option<Other>,
    pub servers: SynapsePair,
}

/// The Vizard of B.
pub struct Other {
    pub vizard: Vizard,
    /// What stands before it, where its homeserver gives hints.
    proxy: Option<Proxy>,
}

/// A Vizard whose homeserver gives hints, and what stands between them.
pub struct Hinted<'a> {
    pub vizard: &'a Vizard,
    pub proxy: &'a Proxy,
}

/// What B is besides a stock homeserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    Vizard,
    VizardWithHints,
}

/// One of the homeservers and its Vizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Without any experimental setting.
    A,
    /// With those that bring hints.
    B,
}

/// A user of A with a mask in a room.
pub struct Masked {
    pub user: Client,
    pub chat: String,
    pub portal: String,
    pub room: String,
    pub nick: String,
    pub ghost: String,
}

impl World {
    /// Starts everything, B as a stock homeserver without a Vizard; `configure` changes Vizard's settings first.
    pub async fn start(label: &str, configure: impl Fn(&mut Vizard)) -> Result<Self> {
        Self::begin(label, configure, Beside::Nothing).await
    }

    /// The same, and B gives hints to a Vizard of its own.
    pub async fn with_hints(label: &str, configure: impl Fn(&mut Vizard)) -> Result<Self> {
        Self::begin(label, configure, Beside::VizardWithHints).await
    }

    /// Both with a Vizard, and neither homeserver with any experimental setting.
    pub async fn peers(label: &str, configure: impl Fn(&mut Vizard)) -> Result<Self> {
        Self::begin(label, configure, Beside::Vizard).await
    }

    async fn begin(label: &str, configure: impl Fn(&mut Vizard), beside: Beside) -> Result<Self> {
        let (a, b) = (
            Site::reserve(&format!("{label}-A"))?,
            Site::reserve(&format!("{label}-B"))?,
        );
        let program = env!("CARGO_BIN_EXE_vizard");
        let mut vizard = Vizard::init(program, &a)?;
        configure(&mut vizard);
        let on_a = Options {
            registrations: vec![vizard.registration()],
            ..Options::default()
        };
        let mut on_b = Options::default();
        let mut other = None;
        if beside != Beside::Nothing {
            let hints = beside == Beside::VizardWithHints;
            let proxy = if hints {
                Some(Proxy::start(b.vizard.ip(), b.vizard).await?)
            } else {
                None
            };
            let setup = Setup {
                url: proxy.as_ref().map(|proxy| proxy.url().to_owned()),
                hints,
            };
            let mut vizard = Vizard::init_with(program, &b, &setup)?;
            configure(&mut vizard);
            on_b.registrations = vec![vizard.registration()];
            on_b.experimental = hints;
            other = Some(Other { vizard, proxy });
        }
        let servers = SynapsePair::start((a, on_a), (b, on_b)).await?;
        vizard.start().await?;
        if let Some(other) = &mut other {
            other.vizard.start().await?;
        }
        Ok(Self {
            vizard,
            other,
            servers,
        })
    }

    /// A side's homeserver.
    pub fn server(&self, side: Side) -> &Synapse {
        match side {
            Side::A => &self.servers.a,
            Side::B => &self.servers.b,
        }
    }

    /// A side's Vizard.
    pub fn vizard(&mut self, side: Side) -> Result<&mut Vizard> {
        match side {
            Side::A => Ok(&mut self.vizard),
            Side::B => Ok(&mut self.other.as_mut().context("no Vizard on B")?.vizard),
        }
    }

    /// The Vizard of B and what is before it.
    pub fn hinted(&self) -> Result<Hinted<'_>> {
        let other = self.other.as_ref().context("no Vizard on B")?;
        Ok(Hinted {
            vizard: &other.vizard,
            proxy: other.proxy.as_ref().context("B gives no hints")?,
        })
    }

    pub fn bot(&self) -> String {
        format!("@vizard:{}", self.servers.a.server_name())
    }

    /// A new user of A in a direct chat with the bot.
    pub async fn user_with_chat(&self, localpart: &str) -> Result<(Client, String)> {
        let user = Client::register(&self.servers.a, localpart).await?;
        let chat = self.open_chat(&user).await?;
        Ok((user, chat))
    }

    pub async fn open_chat(&self, user: &Client) -> Result<String> {
        let bot = self.bot();
        let chat = user.direct_chat(&bot).await?;
        let greeted = |one: &Received| one.room == chat && one.sender() == bot && one.is_message();
        user.wait_for("the bot's greeting", greeted, PATIENCE)
            .await?;
        Ok(chat)
    }

    /// Gives a command in a room and waits for an answer that fits.
    pub async fn command(
        &self,
        user: &Client,
        room: &str,
        text: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Received> {
        let mark = user.mark().await;
        user.say(room, text).await?;
        let answer = |one: &Received| {
            one.room == room && one.is_message() && one.sender() != user.id() && fits(one.body())
        };
        user.wait_after(mark, &format!("the answer to `{text}`"), answer, PATIENCE)
            .await
    }

    /// Lets a new user of A join a room (by alias or id) behind a mask.
    pub async fn mask(&self, localpart: &str, room: &str, target: &str) -> Result<Masked> {
        let (user, chat) = self.user_with_chat(localpart).await?;
        self.join(user, chat, room, target).await
    }

    pub async fn join(
        &self,
        user: Client,
        chat: String,
        room: &str,
        target: &str,
    ) -> Result<Masked> {
        let mark = user.mark().await;
        let joined = self
            .command(&user, &chat, &format!("join {target}"), |text| {
                text.contains("joined as ")
            })
            .await?;
        let nick = joined
            .body()
            .split_once("joined as ")
            .and_then(|(_, rest)| rest.lines().next());
        let nick = nick.context("the answer names no mask")?.trim().to_owned();
        // The newest one: an earlier portal of the same user may never have been entered.
        let invited = |one: &Received| {
            one.source == Source::Invite
                && one.sender().starts_with("@_vizard_p_")
                && one.event["state_key"] == user.id()
        };
        let invite = user
            .wait_after(mark, "the invite to the portal", invited, PATIENCE)
            .await?;
        let portal = user.join(&invite.room, &[]).await?;
        let whoami = self
            .command(&user, &portal, "!vizard whoami", |text| {
                text.contains("@_vizard_")
            })
            .await?;
        let at = whoami.body().find("@_vizard_").context("a ghost")?;
        let ghost: String = whoami.body()[at..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "@_.:-".contains(*c))
            .collect();
        let ghost = ghost.trim_end_matches(['.', ':']).to_owned();
        Ok(Masked {
            user,
            chat,
            portal,
            room: room.to_owned(),
            nick,
            ghost,
        })
    }
}

impl Masked {
    /// Waits for something in this user's portal.
    pub async fn sees(&self, what: &str, fits: impl Fn(&Received) -> bool) -> Result<Received> {
        self.user
            .wait_for(
                what,
                |one| one.room == self.portal && one.source == Source::Timeline && fits(one),
                PATIENCE,
            )
            .await
    }

    /// Waits for a message of somebody else in this user's portal.
    pub async fn hears(&self, text: &str) -> Result<Received> {
        self.sees(&format!("\"{text}\""), |one| {
            one.is_message() && one.body() == text && one.sender() != self.user.id()
        })
        .await
    }

    pub async fn says(&self, text: &str) -> Result<String> {
        self.user.say(&self.portal, text).await
    }
}

/// Gives a command and wants all of `parts` in one answer.
pub async fn answers(
    world: &World,
    user: &Client,
    place: &str,
    text: &str,
    parts: &[&str],
) -> Result<Received> {
    world
        .command(user, place, text, |answer| {
            parts.iter().all(|part| answer.contains(part))
        })
        .await
        .with_context(|| format!("`{text}` should say {parts:?}"))
}

/// Waits for something in a room of an ordinary user.
pub async fn sees(
    user: &Client,
    room: &str,
    what: &str,
    fits: impl Fn(&Received) -> bool,
) -> Result<Received> {
    user.wait_for(
        what,
        |one| one.room == room && one.source == Source::Timeline && fits(one),
        PATIENCE,
    )
    .await
}

/// Waits for a message in a room of an ordinary user.
pub async fn hears(user: &Client, room: &str, text: &str) -> Result<Received> {
    sees(user, room, &format!("\"{text}\""), |one| {
        one.is_message() && one.body() == text && one.sender() != user.id()
    })
    .await
}

/// Whether a redaction is of this event. Its place differs between versions of rooms.
pub fn redacts(redaction: &Received, event: &str) -> bool {
    redaction.kind() == "m.room.redaction"
        && (redaction.event["content"]["redacts"] == event || redaction.event["redacts"] == event)
}
