//! Connections that take what they asked for: a client that stops reading is let go.
//!
//! A download holds one of a limited number of places until its last byte is taken, so a few hundred clients that never
//! read would keep everybody else out. Only writing is timed: a client may think as long as it likes before it asks.

use axum::serve::Listener;
use std::{net::SocketAddr, pin::Pin, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// How long a client may take nothing of what it is sent.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// A listener whose connections end when nothing of what is written to them is taken for so long.
pub(crate) struct Patient {
    listener: TcpListener,
    patience: Duration,
}

impl Patient {
    pub(crate) fn new(listener: TcpListener, patience: Duration) -> Self {
        Self { listener, patience }
    }
}

impl Listener for Patient {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience));
        (Box::pin(stream), peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, routing::get};
    use std::sync::Arc;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::Semaphore,
    };

    const CHUNKS: usize = 64;

    /// One place for a download of 64 MiB.
    fn downloads(places: Arc<Semaphore>) -> Router {
        let send = move || {
            let place = places.clone().try_acquire_owned();
            async move {
                let Ok(place) = place else { return Body::from("busy") };
                let chunks = futures_util::stream::unfold((place, 0), |(place, sent)| async move {
                    (sent < CHUNKS).then(|| (Ok::<_, std::io::Error>(vec![0_u8; 1 << 20]), (place, sent + 1)))
                });
                Body::from_stream(chunks)
            }
        };
        Router::new().route("/", get(send))
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_gives_its_place_back_and_one_that_reads_slowly_gets_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(1));
        let patient = Patient::new(listener, Duration::from_millis(300));
        tokio::spawn(axum::serve(patient, downloads(places.clone())).into_future());
        let _stopped = ask(address).await;
        while places.available_permits() == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let freed = tokio::time::timeout(Duration::from_secs(20), places.acquire()).await;
        drop(freed.expect("the place is given back").unwrap());
        let mut slow = ask(address).await;
        let (mut taken, mut buffer) = (0, vec![0; 4 << 20]);
        loop {
            match slow.read(&mut buffer).await.unwrap() {
                0 => break,
                length => taken += length,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(taken > CHUNKS << 20, "{taken}");
    }
}
