//! HTTP/1.1 by hand, where a client that knows HTTP would put things right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::bounded;
use super::weir::Weir;

/// One connection.
pub struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer with a `Content-Length`, or without a body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the header lines.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Socket {
    pub async fn connect(port: u16) -> Self {
        Self::connect_with(TcpSocket::new_v4().unwrap(), port).await
    }

    /// Connects, and gives the system at most so many bytes at a time.
    pub async fn connect_with_buffer(bytes: u32, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(bytes).unwrap();
        Self::connect_with(socket, port).await
    }

    /// Connects from this address. All of 127.0.0.0/8 is this machine.
    pub async fn connect_from(own: IpAddr, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((own, 0))).unwrap();
        Self::connect_with(socket, port).await
    }

    async fn connect_with(socket: TcpSocket, port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = bounded("a connection", socket.connect(address)).await;
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends bytes; whether the other side still takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        bounded("bytes to leave", self.stream.write_all(bytes.as_ref()))
            .await
            .is_ok()
    }

    /// The head of the next answer; `None` if the connection ends first.
    pub async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer {
            status,
            head,
            body: String::new(),
        })
    }

    /// The next answer; `None` if the connection ends first.
    pub async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let length = answer.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Some(answer)
    }

    /// Exactly this many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            self.more().await.expect("more bytes");
        }
        self.read.drain(..count).collect()
    }

    /// Waits for bytes; `None` at the end of the connection, however it comes.
    pub async fn more(&mut self) -> Option<()> {
        let read = bounded("bytes", self.stream.read_buf(&mut self.read)).await;
        matches!(read, Ok(1..)).then_some(())
    }

    /// Waits until the other side has closed the connection.
    pub async fn closed(&mut self) {
        while self.more().await.is_some() {}
    }
}

/// A `POST` to the MCP endpoint with these header lines, besides `Host` and `Content-Length`.
pub fn posting(head: &[String], body: &str) -> String {
    let (lines, length) = (head.join("\r\n"), body.len());
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n\r\n{body}"
    )
}

/// Sends a `POST` on a connection of its own.
pub async fn post(weir: &Weir, head: &[String], body: &str) -> Answer {
    let mut socket = Socket::connect(weir.port()).await;
    assert!(socket.send(posting(head, body)).await);
    socket.answer().await.expect("an answer")
}
