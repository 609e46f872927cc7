//! The whole library in this process: started, stopped, and killed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::OwnedServerName;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use vizard::{
    app::App,
    clock::Clock,
    config::{
        Abuse, Access, AppService, Config, Database, EncryptPortals, Encryption, Hidden,
        Homeserver, Log, Metrics, Peer, Portal, Privacy, Relay, Secrets,
    },
    crypto::MasterKey,
    http,
    rng::Rng,
    store::Store,
};

use crate::fake::{Fake, Keys, PATIENCE};

/// The largest transaction, in bytes.
pub const MAX_BODY: usize = 4 << 20;

/// What outlives a crash.
pub struct Ground {
    pub url: String,
    pub master: MasterKey,
    pub clock: Clock,
    pub seed: u64,
    pub lives: u64,
}

/// A running Vizard, on a runtime of its own.
pub struct Service {
    runtime: Option<Runtime>,
    pub app: Arc<App>,
    /// Where it listens.
    #[allow(dead_code, reason = "the simulation knows only the homeserver's side")]
    pub url: String,
    stop: CancellationToken,
}

impl Service {
    /// Starts on what an earlier life left behind, with some other settings.
    pub fn start(ground: &mut Ground, fake: &Fake, change: impl FnOnce(&mut Config)) -> Self {
        ground.lives += 1;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let rng = Rng::seeded(ground.seed ^ (ground.lives << 48));
        let (app, url) = runtime.block_on(async {
            let clock = ground.clock.clone();
            let store = Store::open(&ground.url, &ground.master, clock.clone(), rng.clone())
                .await
                .expect("the database opens after whatever happened");
            let mut config = config(ground, fake);
            change(&mut config);
            let hs_token = Arc::new(Hidden::new(config.hs_token()));
            let health = http::Health::new(store.clone());
            let keys = vizard::app::own_keys(&config, &store, clock.clone(), rng.clone())
                .await
                .expect("it has keys");
            let bot = format!(
                "@{}:{}",
                config.appservice.bot, config.homeserver.server_name
            );
            let bot = ruma::UserId::parse(bot).unwrap();
            let epoch = vizard::portal::epoch(&store, &bot).await.unwrap();
            let app = App::start(
                config,
                store,
                clock.clone(),
                rng,
                stop.child_token(),
                epoch,
                keys,
            )
            .expect("it starts");
            let app = Arc::new(app);
            let state = http::State {
                intake: app.intake(),
                hs_token,
                heard: Arc::default(),
                clock,
                health,
                keys: app.deps.keys.clone(),
                peers: app.deps.peers.clone(),
                invites: app.deps.config.invites.enabled,
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = http::router(state, MAX_BODY);
            tokio::spawn(async move { axum::serve(listener, router).await });
            fake.set_appservice(Some(&url));
            let (begun, stopping) = (app.clone(), stop.clone());
            tokio::spawn(async move {
                begun.settle_bot(&stopping).await;
                begun.begin();
            });
            (app, url)
        });
        Self {
            runtime: Some(runtime),
            app,
            url,
            stop,
        }
    }

    /// Asks it something; panics if it does not answer in [`PATIENCE`].
    pub fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        let answer = async { tokio::time::timeout(PATIENCE, question).await };
        let answer = self.runtime.as_ref().unwrap().block_on(answer);
        answer.expect("it answers")
    }

    /// Kills it: every task ends where it stands.
    pub fn kill(mut self, fake: &Fake) {
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(10));
        fake.forget_senders();
    }

    /// Stops it as SIGTERM does.
    pub fn stop(mut self) {
        self.stop.cancel();
        let runtime = self.runtime.take().unwrap();
        let stopped =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, self.app.stop()).await });
        assert!(stopped.is_ok(), "it does not stop");
        runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// Other servers, of which nothing can be fetched: their names would have to be looked up outside.
fn nowhere() -> BTreeMap<OwnedServerName, Peer> {
    let peer = Peer {
        server_key: None,
        url: Some("http://127.0.0.1:1".parse().unwrap()),
    };
    ["b.example", "c.example", "d.example", "e.example"]
        .map(|name| (name.try_into().unwrap(), peer.clone()))
        .into()
}

pub fn config(ground: &Ground, fake: &Fake) -> Config {
    let theirs = fake.config();
    Config {
        homeserver: Homeserver {
            server_name: theirs.server.as_str().try_into().unwrap(),
            url: fake.url().parse().unwrap(),
            timeout: 30,
            join_timeout: 30,
        },
        appservice: AppService {
            as_token: Some(Hidden::new(&theirs.as_token)),
            hs_token: Some(Hidden::new(&theirs.hs_token)),
            ..AppService::default()
        },
        database: Database {
            url: Hidden::new(&ground.url),
            url_file: None,
        },
        secrets: Secrets {
            master_key_file: "/nowhere".into(),
        },
        access: Access {
            joins_per_hour: 1000,
            messages_per_minute: 10_000,
            ..Access::default()
        },
        portal: Portal::default(),
        relay: Relay::default(),
        // The fake homeserver keeps no keys.
        encryption: Encryption {
            enabled: theirs.keys != Keys::Unused,
            portal: EncryptPortals::Never,
            ..Encryption::default()
        },
        media: vizard::config::Media::default(),
        privacy: Privacy::default(),
        keys: vizard::config::Keys::default(),
        invites: vizard::config::Invites::default(),
        peers: nowhere(),
        abuse: Abuse::default(),
        log: Log::default(),
        metrics: Metrics::default(),
    }
}
