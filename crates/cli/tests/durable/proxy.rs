//! A line that can be disturbed: a TCP proxy between a process and what it talks to.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It carries.
    Pass,
    /// It carries, each piece this much later.
    Delay(Duration),
    /// It takes connections and bytes, and carries nothing.
    Silent,
    /// It carries half of the next piece of each connection and ends it; new connections end at once.
    Cut,
}

/// The proxy; it ends with this process.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    /// Listens on a port of its own and carries to `target`.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let modes = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connection(near, target.clone(), modes.subscribe()));
            }
        });
        Self { port, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn connection(near: TcpStream, target: String, mut mode: watch::Receiver<Mode>) {
    // Who connects to a silent line hears nothing until it carries again.
    if mode.wait_for(|mode| *mode != Mode::Silent).await.is_err() || *mode.borrow() == Mode::Cut {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a test's own line on this machine")]
    let connected = TcpStream::connect(target).await;
    let Ok(far) = connected else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // The end of one direction is the end of both.
    tokio::select! {
        () = carry(near_in, far_out, mode.clone()) => {}
        () = carry(far_in, near_out, mode) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let now = *mode.borrow();
        match now {
            Mode::Pass => {}
            Mode::Delay(time) => tokio::time::sleep(time).await,
            // What was taken during the silence is lost with its connection, as behind a machine that died.
            Mode::Silent => {
                let _ = mode.wait_for(|mode| *mode != Mode::Silent).await;
                return;
            }
            Mode::Cut => {
                let _ = to.write_all(&piece[..read / 2]).await;
                return;
            }
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}
