//! The composition root: puts the parts together, starts them, and stops them in order.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use ruma::UserId;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod settle;

use crate::{
    clock::Clock,
    config::{Config, Hidden, ShareKeys},
    e2ee::{self, E2ee},
    homeserver::{Actor, Homeserver, Settings},
    http, invite,
    keys::{self, OwnKeys, Peers},
    peer::Fetcher,
    portal::{Answers, Beyond, Deps, Limits, Portals, Transfers, bot_device},
    pseudonym::Namespace,
    rng::Rng,
    spool::Spool,
    store::Store,
    worker::{self, Dispatcher, Intake, Lanes},
};

/// Vizard, assembled and running; stops when told.
#[derive(Debug)]
pub struct App {
    /// What every part works with.
    pub deps: Deps,
    /// The lanes.
    pub lanes: Arc<Lanes>,
    intake: Intake,
    heard: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: TaskTracker,
    dispatcher: Mutex<Option<Dispatcher>>,
}

/// Runs Vizard until `shutdown` is cancelled.
pub async fn run(config: Config, shutdown: &CancellationToken) -> anyhow::Result<Ended> {
    let listen = config.appservice.listen;
    let max_body = config.appservice.max_body;
    let metrics_listen = config.metrics.listen;
    let hs_token = Arc::new(Hidden::new(config.hs_token()));
    let metrics = metrics_listen.map(|_| crate::telemetry::metrics());
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen} (is another Vizard running? appservice.listen changes the address)")
    })?;
    let store = Store::open(
        config.database_url(),
        &config.master_key()?,
        Clock::system(),
        Rng::os(),
    )
    .await
    .context("cannot open the database")?;
    let health = http::Health::new(store.clone());
    let bot = bot_of(&config)?;
    let epoch = crate::portal::epoch(&store, &bot).await?;
    let keys = own_keys(&config, &store, Clock::system(), Rng::os()).await?;
    let app = App::start(
        config,
        store,
        Clock::system(),
        Rng::os(),
        shutdown.child_token(),
        epoch,
        keys,
    )?;
    let state = http::State {
        intake: app.intake(),
        hs_token,
        heard: app.heard.clone(),
        clock: Clock::system(),
        health: health.clone(),
        keys: app.deps.keys.clone(),
        peers: app.deps.peers.clone(),
        invites: app.deps.config.invites.enabled,
    };
    let stop_listening = CancellationToken::new();
    let server = serve(
        listener,
        http::router(state, max_body),
        stop_listening.clone(),
    );
    let metrics_server = async {
        if let (Some(address), Some(metrics)) = (metrics_listen, metrics) {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} (metrics.listen)"))?;
            let (rendered, counted) = (metrics.clone(), app.deps.store.clone());
            let upkeep = async {
                loop {
                    metrics.run_upkeep();
                    if let Ok(pending) = counted.inbox_len().await {
                        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                        metrics::gauge!("vizard_inbox_pending").set(pending as f64);
                    }
                    app.deps.clock.sleep(Duration::from_secs(10)).await;
                }
            };
            tokio::select! {
                ended = serve(
                    listener,
                    http::metrics_router(move || rendered.render()),
                    stop_listening.clone(),
                ) => ended?,
                () = upkeep => {}
            }
        }
        anyhow::Ok(())
    };
    let main = async {
        let ended = app.settle_bot(shutdown).await;
        if ended == Ended::Renewed {
            app.stop().await;
            stop_listening.cancel();
            return anyhow::Ok(ended);
        }
        if !shutdown.is_cancelled() {
            app.begin();
            health.started();
            tracing::info!(%listen, "ready");
        }
        let ended = tokio::select! {
            () = shutdown.cancelled() => ended,
            () = app.deps.renewed.cancelled() => Ended::Renewed,
        };
        tracing::info!("stopping");
        health.stopping();
        app.stop().await;
        stop_listening.cancel();
        anyhow::Ok(ended)
    };
    let ((), (), ended) = tokio::try_join!(server, metrics_server, main)?;
    Ok(ended)
}

/// Why [`run`] ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// Devices were left behind, the bot's among them, because the database is an old copy or the homeserver lost the bot's
    /// device; or a part of it broke off. It is to be run again.
    Renewed,
}

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("the listener failed")
}

/// The keys of this Vizard: read, or made.
pub async fn own_keys(
    config: &Config,
    store: &Store,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<OwnKeys> {
    let settings = keys::Settings {
        server: config.homeserver.server_name.clone(),
        bot: bot_of(config)?,
        prefix: config.appservice.prefix.clone(),
        rotate_days: config.keys.rotate_days,
        overlap_days: config.keys.overlap_days,
    };
    OwnKeys::open(store.clone(), clock, rng, settings)
        .await
        .context("cannot read this Vizard's own keys")
}

fn bot_of(config: &Config) -> anyhow::Result<ruma::OwnedUserId> {
    UserId::parse_with_server_name(
        config.appservice.bot.as_str(),
        &config.homeserver.server_name,
    )
    .context("appservice.bot does not make a valid Matrix ID")
}

fn broke_off(part: &'static str) {
    metrics::counter!("vizard_failures_total", "class" => "bug").increment(1);
    tracing::error!(
        part,
        "a part of Vizard broke off: this is a bug, please report it; everything is started again"
    );
}

impl App {
    /// Assembles the parts (`epoch`: of [`crate::portal::epoch`]). Nothing runs before [`App::begin`]; transactions are taken and stored from now on.
    pub fn start(
        config: Config,
        store: Store,
        clock: Clock,
        rng: Rng,
        stop: CancellationToken,
        epoch: u64,
        keys: OwnKeys,
    ) -> anyhow::Result<Self> {
        let namespace = Namespace::new(
            &config.homeserver.server_name,
            &config.appservice.prefix,
            &config.appservice.bot,
        )
        .context("appservice.prefix and appservice.bot do not make valid Matrix IDs")?;
        let settings = Settings {
            url: config.homeserver.url.clone(),
            as_token: crate::crypto::Secret::new(config.as_token().to_owned()),
            timeout: Duration::from_secs(config.homeserver.timeout),
            join_timeout: Duration::from_secs(config.homeserver.join_timeout),
            tries: 3,
        };
        let homeserver = Homeserver::new(settings, clock.clone(), rng.clone())?;
        let bot = Actor {
            user: namespace.bot().to_owned(),
            device: Some(bot_device(&store, epoch)),
        };
        let namespace = Arc::new(namespace);
        let e2ee = E2ee::new(
            store.clone(),
            homeserver.clone(),
            clock.clone(),
            namespace.clone(),
            e2ee::Settings {
                enabled: config.encryption.enabled,
                only_signed: config.encryption.share == ShareKeys::Signed,
                machines: config.encryption.machines,
            },
        );
        let spool = Spool::new(config.media_directory(), rng.clone());
        if let Err(error) = spool.check() {
            tracing::error!(%error, "no files can be made in media.directory: larger files will not be relayed");
        }
        let fetcher = Fetcher::new(
            config.keys.ca_file.as_deref(),
            config.keys.private_addresses,
        )?;
        let config = Arc::new(config);
        let peers = Peers::new(
            store.clone(),
            homeserver.clone(),
            config.clone(),
            clock.clone(),
            bot.clone(),
            fetcher,
        );
        let deps = Deps {
            e2ee,
            limits: Arc::new(Limits::new(config.access.messages_per_minute)),
            transfers: Arc::new(Transfers::new(&config)),
            config,
            spool,
            portals: Portals::new(store.clone()),
            store,
            homeserver,
            clock,
            rng,
            namespace,
            keys,
            peers,
            rekeyed: Arc::default(),
            answers: Answers::default(),
            beyond: Beyond::default(),
            bot,
            heard: Arc::default(),
            no_avatar_until: Arc::default(),
            jobs: Arc::default(),
            renewing: Arc::default(),
            renewed: CancellationToken::new(),
        };
        let lanes = Lanes::new(deps.clone(), stop.clone());
        let (dispatcher, intake) = Dispatcher::new(deps.clone(), lanes.clone());
        let heard = Arc::new(AtomicU64::new(deps.clock.now()));
        let dispatcher = Mutex::new(Some(dispatcher));
        let app = Self {
            deps,
            lanes,
            intake,
            heard,
            stop,
            tasks: TaskTracker::new(),
            dispatcher,
        };
        app.watch_store();
        Ok(app)
    }

    /// Starts dispatcher, jobs and upkeep. Once.
    pub fn begin(&self) {
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(dispatcher) = dispatcher else { return };
        let (deps, lanes, stop) = (&self.deps, &self.lanes, &self.stop);
        self.vital("dispatcher", dispatcher.run(stop.clone()));
        self.vital(
            "jobs",
            worker::run_jobs(deps.clone(), lanes.clone(), stop.clone()),
        );
        self.vital("keys", invite::publish::run(deps.clone(), stop.clone()));
        self.vital("post", invite::post::run(deps.clone(), stop.clone()));
        self.vital("hints", self.intake.hints().run(stop.clone()));
        let heard = self.heard.clone();
        self.vital(
            "upkeep",
            worker::run_upkeep(deps.clone(), lanes.clone(), heard, stop.clone()),
        );
    }

    /// Starts everything again if what writes breaks off: it is a part of the store, and nobody hears of it otherwise.
    fn watch_store(&self) {
        let (store, renewed) = (self.deps.store.clone(), self.deps.renewed.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if stop.run_until_cancelled(store.broke_off()).await.is_some() {
                broke_off("store");
                renewed.cancel();
            }
        });
    }

    /// Runs a part without which nothing goes on. If it panics, which is a bug, everything is started again, as after a crash.
    fn vital(&self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let renewed = self.deps.renewed.clone();
        self.tasks.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                broke_off(part);
                renewed.cancel();
            }
        });
    }

    /// Where transactions go in.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Stops: no new work begins, what is under way ends or is left to the next start, everything is written.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.lanes.settled().await;
        self.deps.store.close().await;
    }
}
