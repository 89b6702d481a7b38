//! A proxy that delays: what goes in comes out a fixed time later, in both directions, however much it is.
//!
//! It is a delay line and no limit of bandwidth: what has been read waits in memory with the time at which it is due, and
//! reading goes on meanwhile, up to a bound that is larger than what any window could hold.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// How much may be on its way in one direction: far more than a client asks for in a round trip.
const LINE_BYTES: usize = 256 * 1024 * 1024;

/// Takes connections at `listener` to `target`, each direction of which is delayed by `one_way`. Runs until it is dropped.
pub(crate) async fn run(listener: TcpListener, target: String, one_way: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased; // what has ended is cleared away first, which takes no time
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let target = target.clone();
                connections.spawn(async move {
                    // A connection that breaks, on whichever side, is the clients' business.
                    let _ = connect(client, &target, one_way).await;
                });
            }
        }
    }
}

async fn connect(client: TcpStream, target: &str, one_way: Duration) -> io::Result<()> {
    tokio::time::sleep(2 * one_way).await; // the handshake
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(carry(from_client, to_server, one_way), carry(from_server, to_client, one_way))?;
    Ok(())
}

/// Carries bytes from `from` to `to`, each `delay` after it was read, and the end behind them.
async fn carry(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, delay: Duration) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(LINE_BYTES));
    // Bounded by the room that its bytes take.
    let (line, end) = mpsc::unbounded_channel();
    tokio::try_join!(put_in(from, line, Arc::clone(&room), delay), take_out(end, to, room))?;
    Ok(())
}

async fn put_in(
    mut from: impl AsyncRead + Unpin,
    line: mpsc::UnboundedSender<(Instant, Bytes)>,
    room: Arc<Semaphore>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        let read = (&mut from).take(CHUNK_BYTES as u64).read_buf(&mut buffer).await?;
        let chunk = buffer.split().freeze();
        if line.send((Instant::now() + delay, chunk)).is_err() || read == 0 {
            return Ok(()); // an empty chunk is the end
        }
        room.acquire_many(read as u32).await.map_err(io::Error::other)?.forget();
    }
}

async fn take_out(
    mut line: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    room: Arc<Semaphore>,
) -> io::Result<()> {
    let mut waiting = VecDeque::new();
    loop {
        let next = match waiting.pop_front() {
            Some(next) => Some(next),
            None => line.recv().await,
        };
        let Some((due, chunk)) = next else { return to.shutdown().await };
        tokio::time::sleep_until(due).await;
        if chunk.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&chunk).await?;
        room.add_permits(chunk.len());
        while let Ok(more) = line.try_recv() {
            waiting.push_back(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_come_out_in_order_and_a_delay_later_however_many_are_on_their_way() {
        let delay = Duration::from_millis(10);
        let (mut near, proxied) = tokio::io::duplex(1 << 20);
        let (far, mut other) = tokio::io::duplex(1 << 20);
        let carried = tokio::spawn(carry(proxied, far, delay));
        let start = Instant::now();
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
        });
        let mut first = [0];
        other.read_exact(&mut first).await.unwrap();
        assert_eq!(start.elapsed(), delay);
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), expected);
        assert_eq!(start.elapsed(), delay, "the line has no bandwidth");
        writing.await.unwrap();
        carried.await.unwrap().unwrap();
    }
}
