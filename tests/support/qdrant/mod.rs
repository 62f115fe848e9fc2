//! A stand-in for a Qdrant server: its gRPC on a loopback port, over a naive engine in memory.
//!
//! It shows that our client asks for what it means to ask for: names, aliases, filters, scores,
//! paging, keys, deadlines, and that it lives with a server that is gone, slow, empty or
//! refusing. It cannot show what only a real server can: that a real one understands every
//! request as this one does, its approximate graphs and quantization, its shards (each takes an
//! IDF of its own), replicas and consensus, that what it has confirmed survives its crash, its
//! limits and its speed. For that the equivalence test runs against a real one where
//! `QUERENT_TEST_QDRANT_URL` names it.

mod filter;
mod services;
pub mod world;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use services::StandIn;
pub use world::World;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A running stand-in; dropping it ends it and its connections.
pub struct Running {
    pub world: Arc<Mutex<World>>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Running {
    /// Starts one that asks for a key; an empty key asks for none.
    pub fn start(key: &str) -> Self {
        let world = Arc::new(Mutex::new(World { key: key.to_owned(), ..World::default() }));
        // Bound and let go again: the port is free to come back to.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut running = Self { world, address, runtime: None };
        running.go_on();
        running
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server, with all connections, as if its machine had lost power.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Starts it again on the same port, with what it had.
    pub fn go_on(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        };
        listener.set_nonblocking(true).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = StandIn { world: Arc::clone(&self.world) };
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let served = Server::builder()
                .add_service(PointsServer::new(service.clone()))
                .add_service(CollectionsServer::new(service))
                .serve_with_incoming(TcpIncoming::from(listener));
            served.await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Everything it held is gone.
    pub fn forget(&self) {
        let mut world = self.world.lock().unwrap();
        world.collections.clear();
        world.aliases.clear();
    }

    /// Answers after this time from now on.
    pub fn delay(&self, delay: Duration) {
        self.world.lock().unwrap().delay = delay;
    }

    /// The calls since the last time, as `method collection`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().calls)
    }

    /// The names of its collections.
    pub fn collections(&self) -> Vec<String> {
        self.world.lock().unwrap().collections.keys().cloned().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
