//! Just enough HTTP/1.1 for both ends of the stub, by hand: the stub shares two cores with what it measures, so
//! it may cost almost nothing.

use std::{borrow::Cow, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A request that has arrived whole.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
    pub query: &'a str,
    /// The `Authorization` header.
    pub authorization: &'a str,
    pub body: &'a [u8],
}

impl Request<'_> {
    /// A query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| decode(value))
        })
    }
}

/// What the bytes so far are.
pub enum Parsed<'a> {
    /// More must come.
    Partial,
    /// A request and its length.
    Whole(Request<'a>, usize),
    /// Nothing this server reads.
    Bad,
}

/// Reads one request from the front of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(head) = head_length(bytes) else {
        return Parsed::Partial;
    };
    let Ok(text) = std::str::from_utf8(&bytes[..head]) else {
        return Parsed::Bad;
    };
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Parsed::Bad;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut length, mut authorization) = (0, "");
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            let Ok(parsed) = value.trim().parse() else {
                return Parsed::Bad;
            };
            length = parsed;
        } else if name.eq_ignore_ascii_case("authorization") {
            authorization = value.trim();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad;
        }
    }
    let end = head + length;
    if bytes.len() < end {
        return Parsed::Partial;
    }
    let request = Request {
        method,
        path,
        query,
        authorization,
        body: &bytes[head..end],
    };
    Parsed::Whole(request, end)
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Writes an answer.
pub fn answer(out: &mut Vec<u8>, status: u16, body: &str) {
    let reason = if status < 300 { "OK" } else { "Refused" };
    out.extend_from_slice(
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A client of the application service, with one connection that is kept.
#[derive(Debug)]
pub struct Client {
    address: std::net::SocketAddr,
    token: String,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(address: std::net::SocketAddr, token: &str) -> Self {
        Self {
            address,
            token: token.to_owned(),
            stream: None,
        }
    }

    /// Makes a request and returns the status. An error closes the connection.
    pub async fn request(&mut self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            stream
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        );
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            read_status(&mut stream).await
        };
        let status = tokio::time::timeout(Duration::from_mins(1), exchange)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.stream = Some(stream);
        Ok(status)
    }
}

async fn read_status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        if let Some(head) = head_length(&bytes) {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length: usize = text
                .split("content-length:")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next())
                .and_then(|digits| digits.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= head + length {
                return text
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok())
                    .ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
