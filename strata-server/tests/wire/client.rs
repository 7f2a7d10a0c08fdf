//! A server in process, and a client that speaks in frames.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions};
use tokio::runtime::Runtime;

/// A server on a port of its own, with a runtime of its own.
pub struct TestServer {
    pub runtime: Runtime,
    server: Option<Server>,
    pub address: SocketAddr,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(ServerOptions::default())
    }

    pub fn with(options: ServerOptions) -> Self {
        Self::of(engine(), options)
    }

    /// A server of an engine that the test has made.
    pub fn of(engine: Arc<Engine>, options: ServerOptions) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let server = runtime.block_on(Server::start(engine, options)).expect("starts");
        Self { runtime, address: server.local_addr(), server: Some(server) }
    }

    /// A raw connection, before its startup packet.
    pub fn connect(&self) -> Raw {
        let socket = TcpStream::connect(self.address).expect("connects");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Raw { socket, buffer: Vec::new() }
    }

    /// A raw connection whose session has begun.
    pub fn session(&self) -> Raw {
        let mut raw = self.connect();
        raw.start(&[("user", "ann"), ("database", "strata")]);
        let begun = raw.read_to(b'Z');
        assert_eq!(begun.first().map(|message| message.tag), Some(b'R'));
        raw
    }

    /// A tokio-postgres client; its connection ends with it.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = self.config().connect(tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        client
    }

    /// What tokio-postgres connects with.
    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port()).user("ann").dbname("strata");
        config
    }

    pub fn stop(mut self) {
        let server = self.server.take().expect("runs");
        self.runtime.block_on(server.shutdown());
    }

    /// Stops it in the background.
    pub fn begin_stop(&mut self) -> tokio::task::JoinHandle<()> {
        let server = self.server.take().expect("runs");
        self.runtime.spawn(server.shutdown())
    }
}

/// An engine without tables.
pub fn engine() -> Arc<Engine> {
    Engine::new(database(), EngineOptions::default()).expect("an engine")
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse.
    pub fn field(&self, code: u8) -> Option<String> {
        assert_eq!(self.tag, b'E', "{self:?}");
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&code))?;
        Some(String::from_utf8_lossy(&found[1..]).into_owned())
    }

    /// The only column of a DataRow, as text.
    pub fn text(&self) -> String {
        assert_eq!(self.tag, b'D', "{self:?}");
        String::from_utf8_lossy(&self.body[6..]).into_owned()
    }
}

/// The tags of some messages, as a string.
pub fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// A tagged frame.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("small");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// A query message.
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

/// A Parse of the unnamed statement.
pub fn parse(sql: &str) -> Vec<u8> {
    frame(b'P', format!("\0{sql}\0\0\0").as_bytes())
}

/// A Bind of the unnamed portal to the unnamed statement, without parameters.
pub fn bind() -> Vec<u8> {
    frame(b'B', &[0; 8])
}

/// An Execute of the unnamed portal.
pub fn execute(max_rows: u8) -> Vec<u8> {
    frame(b'E', &[0, 0, 0, 0, max_rows])
}

/// A Sync.
pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

/// A client that sends and reads bytes.
pub struct Raw {
    pub socket: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("sends");
    }

    pub fn start(&mut self, parameters: &[(&str, &str)]) {
        self.start_version(0, parameters);
    }

    pub fn start_version(&mut self, minor: u8, parameters: &[(&str, &str)]) {
        let mut body = vec![0, 3, 0, minor];
        for (name, value) in parameters {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).expect("small");
        self.send(&[&length.to_be_bytes()[..], &body].concat());
    }

    pub fn close_writing(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("half closes");
    }

    /// The messages up to and with the first of a tag; fewer if the server hangs up.
    pub fn read_to(&mut self, tag: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            let last = message.tag == tag;
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    /// The last messages up to and with the first of a tag, in a stream whose beginning was read as plain bytes: resumes at the
    /// first byte that could be a message's.
    pub fn read_to_tail(&mut self, tag: u8) -> Vec<Message> {
        let row = |bytes: &[u8]| {
            bytes.len() >= 7 && bytes[0] == b'D' && bytes[1..3] == [0, 0] && bytes[5..7] == [0, 1]
        };
        while !row(&self.buffer) {
            if self.buffer.len() < 7 {
                assert!(self.more(), "hung up");
            } else {
                self.buffer.remove(0);
            }
        }
        self.read_to(tag)
    }

    /// All that comes until the server hangs up.
    pub fn read_to_end(&mut self) -> Vec<Message> {
        self.read_to(0)
    }

    /// So many plain bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more(), "hung up");
        }
        self.buffer.drain(..count).collect()
    }

    fn message(&mut self) -> Option<Message> {
        loop {
            if self.buffer.len() >= 5 {
                let length = u32::from_be_bytes(self.buffer[1..5].try_into().expect("four bytes"));
                let size = 1 + usize::try_from(length).expect("fits");
                if self.buffer.len() >= size {
                    let message: Vec<u8> = self.buffer.drain(..size).collect();
                    return Some(Message { tag: message[0], body: message[5..].to_vec() });
                }
            }
            if !self.more() {
                assert!(self.buffer.is_empty(), "hung up in the middle of a message: {:?}", self.buffer);
                return None;
            }
        }
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 65_536];
        let count = match self.socket.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

/// A database in memory.
pub fn database() -> strata_core::Database {
    strata_core::Database::in_memory(strata_core::Options::default()).expect("a database")
}
