//! A client of HTTP/1.1 that costs next to nothing, since it shares the processors with what it measures: one connection kept alive, one
//! request at a time, written as prepared bytes; of the answer it looks for the length and leaves the rest to who asks.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Outcome;

/// No answer that we ask for is longer.
const LONGEST: usize = 1 << 20;

/// One connection, kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What the address is called in `Host`.
    host: String,
    /// A header line of every request.
    always: String,
    request: String,
    answer: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status.
    pub(crate) status: u16,
    head: &'a str,
    /// The body; empty when it came in chunks, which nobody here reads.
    pub(crate) body: &'a str,
}

impl<'a> Answer<'a> {
    /// The values of a header, in their order.
    pub(crate) fn headers(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body of an answer with this status.
    pub(crate) fn expect(&self, status: u16) -> Outcome<&'a str> {
        if self.status == status { Ok(self.body) } else { Err(format!("{status} expected: {self:?}").into()) }
    }
}

impl Connection {
    /// Connects; `host` is what requests say in `Host`.
    #[expect(clippy::disallowed_methods, reason = "the load generator's own connection, to loopback")]
    pub(crate) async fn open(address: SocketAddr, host: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host: host.to_owned(),
            always: String::new(),
            request: String::new(),
            answer: Vec::with_capacity(16 << 10),
        })
    }

    /// With a header line that every request has, ended with `\r\n`.
    pub(crate) fn with_header(self, line: String) -> Self {
        Self { always: line, ..self }
    }

    /// `GET` with these header lines, each ended with `\r\n`.
    pub(crate) async fn get(&mut self, target: &str, headers: &str) -> Outcome<Answer<'_>> {
        self.request.clear();
        write!(self.request, "GET {target} HTTP/1.1\r\nhost: {}\r\n{}{headers}\r\n", self.host, self.always)?;
        self.ask().await
    }

    /// `POST` with these header lines, each ended with `\r\n`.
    pub(crate) async fn post(&mut self, target: &str, headers: &str, body: &str) -> Outcome<Answer<'_>> {
        self.request.clear();
        let (host, always, length) = (&self.host, &self.always, body.len());
        write!(
            self.request,
            "POST {target} HTTP/1.1\r\nhost: {host}\r\n{always}content-length: {length}\r\n{headers}\r\n{body}"
        )?;
        self.ask().await
    }

    /// `POST` of a form.
    pub(crate) async fn form(&mut self, target: &str, body: &str) -> Outcome<Answer<'_>> {
        self.post(target, "content-type: application/x-www-form-urlencoded\r\n", body).await
    }

    /// Sends the request and reads to the answer's end.
    async fn ask(&mut self) -> Outcome<Answer<'_>> {
        self.stream.write_all(self.request.as_bytes()).await?;
        self.answer.clear();
        let (head, end) = loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the connection ended in an answer".into());
            }
            if let Some(known) = extent(&self.answer)? {
                break known;
            }
        };
        let text = std::str::from_utf8(&self.answer)?;
        let (head, body) = text.split_at_checked(head).ok_or("a head that splits a letter")?;
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let body = if end.is_some() { body } else { "" };
        Ok(Answer { status, head, body })
    }
}

/// Where the head ends and where the body does (`None`: with the last chunk), once all has come.
fn extent(answer: &[u8]) -> Outcome<Option<(usize, Option<usize>)>> {
    if answer.len() > LONGEST {
        return Err("an answer without an end".into());
    }
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let lines = std::str::from_utf8(answer.get(..head).unwrap_or_default())?.lines();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            let end = head + value.trim().parse::<usize>()?;
            return Ok((answer.len() >= end).then_some((head, Some(end))));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(answer.ends_with(b"0\r\n\r\n").then_some((head, None)));
        }
    }
    // 204 and its like.
    Ok(Some((head, Some(head))))
}

#[cfg(test)]
mod tests {
    use super::extent;

    #[test]
    fn an_answer_ends_where_it_says() {
        assert_eq!(extent(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        assert_eq!(extent(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").unwrap(), None);
        assert_eq!(extent(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap(), Some((38, Some(41))));
        assert_eq!(extent(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some((27, Some(27))));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(extent(chunked).unwrap(), Some((47, None)));
        assert_eq!(extent(chunked.split_last().unwrap().1).unwrap(), None);
    }
}
