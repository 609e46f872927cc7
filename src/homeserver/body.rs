//! Bodies that are not held in memory: what is uploaded is read piece by piece while it is sent, and what is downloaded is
//! written away while it comes.
//!
//! A server may not send more than it was asked for, whatever it announces, nor nothing for long.

use std::{io, io::Write as _, time::Duration};

use bytes::Bytes;
use futures_util::stream;

use super::{
    Error,
    request::{Failure, network},
};
use crate::spool::{Spool, Spooled, Writing};

/// A server that has begun to answer sends something at least this often.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// What is in memory.
    Bytes(Bytes),
    /// A file.
    File(Spooled),
}

impl Payload {
    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.length(),
        }
    }
}

impl From<Payload> for reqwest::Body {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => bytes.into(),
            Payload::File(file) => {
                Self::wrap_stream(stream::try_unfold(file.reader(), |mut reader| async {
                    let (piece, reader) = apart(move || (reader.piece(), reader)).await?;
                    let piece = piece?;
                    io::Result::Ok((!piece.is_empty()).then_some((piece, reader)))
                }))
            }
        }
    }
}

/// Writes the body of an answer away, as far as `max` bytes, and gives up after a `silence`.
pub(super) async fn spooled(
    mut response: reqwest::Response,
    max: u64,
    spool: &Spool,
    silence: Duration,
) -> Result<Spooled, Failure> {
    let too_large = || Failure {
        outcome: "too_large",
        error: Error::TooLarge { max },
    };
    if response.content_length().is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut file = spool.create();
    loop {
        let silent = |_| Failure {
            outcome: "timeout",
            error: Error::Retry {
                reason: "no more came".to_owned(),
                after: None,
            },
        };
        let chunk = tokio::time::timeout(silence, response.chunk());
        let Some(chunk) = chunk.await.map_err(silent)?.map_err(network)? else {
            break;
        };
        if file.length() + chunk.len() as u64 > max {
            return Err(too_large());
        }
        file = written(file, chunk).await.map_err(|error| disk(&error))?;
    }
    finished(file).await.map_err(|error| disk(&error))
}

async fn written(mut file: Writing, chunk: Bytes) -> io::Result<Writing> {
    if file.blocks(chunk.len()) {
        return apart(move || file.write_all(&chunk).map(|()| file)).await?;
    }
    file.write_all(&chunk)?;
    Ok(file)
}

async fn finished(file: Writing) -> io::Result<Spooled> {
    apart(move || file.finish()).await?
}

fn disk(error: &io::Error) -> Failure {
    Failure {
        outcome: "disk",
        error: Error::Disk(error.kind()),
    }
}

/// Does what touches the disk where it holds nobody up.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| io::Error::other("the work was cancelled"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use assert_matches::assert_matches;
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::{homeserver::Class, rng::Rng};

    fn answer(
        pieces: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> reqwest::Response {
        let body = reqwest::Body::wrap_stream(pieces);
        http::Response::new(body).into()
    }

    fn pieces(count: usize) -> impl stream::Stream<Item = io::Result<Bytes>> {
        stream::iter((0..count).map(|_| Ok(Bytes::from(vec![7; 1000]))))
    }

    async fn end(response: reqwest::Response, max: u64, spool: &Spool) -> Result<Spooled, Error> {
        let silence = Duration::from_millis(50);
        let end = spooled(response, max, spool, silence).await;
        end.map_err(|failure| failure.error)
    }

    #[tokio::test]
    async fn answers_have_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned(), Rng::seeded(1));
        let file = end(answer(pieces(1000)), 1_000_000, &spool).await.unwrap();
        let mut all = Vec::new();
        file.reader().read_to_end(&mut all).unwrap();
        assert!(all == vec![7; 1_000_000]);
        let large = end(answer(pieces(1001)), 1_000_000, &spool).await;
        assert_matches!(large, Err(Error::TooLarge { max: 1_000_000 }));
        let endless = stream::repeat_with(|| Ok(Bytes::from(vec![7; 1000])));
        let large = end(answer(endless), 1_000_000, &spool).await;
        assert_matches!(large, Err(Error::TooLarge { .. }));
        let silent = pieces(500).chain(stream::pending());
        let slow = end(answer(silent), 1_000_000, &spool).await;
        assert_matches!(slow, Err(error) if error.class() == Class::Retry);
        let torn = pieces(500).chain(stream::iter([Err(io::Error::other("torn"))]));
        let torn = end(answer(torn), 1_000_000, &spool).await;
        assert_matches!(torn, Err(error) if error.class() == Class::Retry);
        let nowhere = Spool::new("/nowhere".into(), Rng::seeded(1));
        let full = end(answer(pieces(1000)), 1_000_000, &nowhere).await;
        assert_matches!(full, Err(Error::Disk(io::ErrorKind::NotFound)));
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0);
    }
}
