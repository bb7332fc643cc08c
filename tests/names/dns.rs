//! A name server in this process, over UDP and TCP, with what a test tells it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinSet;

#[derive(Default)]
struct Zone {
    records: Mutex<HashMap<String, Vec<Record>>>,
    /// Names whose addresses stand beside SRV records.
    beside: Mutex<Vec<String>>,
    truncates: AtomicBool,
    over_tcp: AtomicUsize,
    asked: AtomicUsize,
    news: Notify,
}

pub struct Dns {
    pub at: SocketAddr,
    zone: Arc<Zone>,
    tasks: JoinSet<()>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

impl Dns {
    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let (at, zone, mut tasks) = (udp.local_addr().unwrap(), Arc::new(Zone::default()), JoinSet::new());
        let own = Arc::clone(&zone);
        tasks.spawn(async move {
            let mut query = [0; 4096];
            loop {
                let (length, peer) = udp.recv_from(&mut query).await.unwrap();
                let mut answer = own.answer(&query[..length]);
                if own.truncates.load(Ordering::Relaxed) {
                    answer.metadata.truncation = true;
                    answer.answers.truncate(1);
                }
                udp.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        let own = Arc::clone(&zone);
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                own.over_tcp.fetch_add(1, Ordering::Relaxed);
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    stream.read_exact(&mut query).await.unwrap();
                    let answer = own.answer(&query).to_vec().unwrap();
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self { at, zone, tasks }
    }

    /// A records, 127.0.0.LAST each.
    pub fn a(&self, host: &str, ttl: u32, lasts: &[u8]) {
        let record = |last: &u8| Record::from_rdata(name(host), ttl, RData::A(A(Ipv4Addr::new(127, 0, 0, *last))));
        self.zone.records.lock().unwrap().insert(name(host).to_string(), lasts.iter().map(record).collect());
    }

    /// SRV records, good for nothing longer: priority, weight, port, target; and the targets whose addresses stand
    /// beside.
    pub fn srv(&self, service: &str, list: &[(u16, u16, u16, &str)], beside: &[&str]) {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            Record::from_rdata(name(service), 0, RData::SRV(SRV::new(*priority, *weight, *port, name(target))))
        };
        self.zone.records.lock().unwrap().insert(name(service).to_string(), list.iter().map(record).collect());
        *self.zone.beside.lock().unwrap() = beside.iter().map(|host| name(host).to_string()).collect();
    }

    /// It does not exist any more.
    pub fn forget(&self, host: &str) {
        self.zone.records.lock().unwrap().remove(&name(host).to_string());
    }

    pub fn truncate(&self, truncates: bool) {
        self.zone.truncates.store(truncates, Ordering::Relaxed);
    }

    pub fn over_tcp(&self) -> usize {
        self.zone.over_tcp.load(Ordering::Relaxed)
    }

    /// Waits for so many more questions.
    pub async fn asked_again(&self, more: usize) {
        let wanted = self.zone.asked.load(Ordering::Relaxed) + more;
        let there = async {
            while self.zone.asked.load(Ordering::Relaxed) < wanted {
                self.zone.news.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there).await.expect("nobody asks");
    }

    pub fn stop(&mut self) {
        self.tasks.abort_all();
    }
}

impl Zone {
    fn answer(&self, query: &[u8]) -> Message {
        let query = Message::from_vec(query).unwrap();
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        let question = query.queries[0].clone();
        let records = self.records.lock().unwrap();
        match records.get(&question.name().to_lowercase().to_string()) {
            Some(found) => {
                let fits = |record: &&Record| record.record_type() == question.query_type();
                answer.answers = found.iter().filter(fits).cloned().collect();
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        if question.query_type() == RecordType::SRV {
            let beside = self.beside.lock().unwrap();
            answer.additionals =
                beside.iter().flat_map(|host| records.get(host).cloned().unwrap_or_default()).collect();
        }
        answer.queries.push(question);
        drop(records);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
        answer
    }
}
