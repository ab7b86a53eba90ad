//! A mixed load on a daemon: clients that import advisories, change a recipe, approve and reject, pull by digest, pin and
//! unpin, and collect, all at once, each writing down what it was told. They may lose the daemon at any moment.
//!
//! The catalogue is one of [`Notes`](crate::Notes) with a step `echo N > …/number.txt`, whose number is the change, and a
//! second package and image `card`, which advisories of nobody-knows-what are about.

use crate::{Acknowledged, Answer, OSV_TIME, Pinned, Place, Random, UNSURE, ask_http, ask_socket, sha256};
use anneal_ledger::{CandidateId, Decision};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Different recipes that the load goes to and fro between.
const NUMBERS: u64 = 7;

/// What all clients share.
#[derive(Debug)]
struct World {
    place: Place,
    key: PathBuf,
    over: AtomicBool,
    told: Mutex<Acknowledged>,
    /// Answers that say that the daemon itself went wrong.
    troubles: Mutex<Vec<String>>,
    done: Mutex<std::collections::BTreeMap<&'static str, usize>>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    world: Arc<World>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of a time of load.
#[derive(Debug)]
pub struct Worked {
    /// Everything that was acknowledged until now.
    pub told: Acknowledged,
    /// Answers that say that the daemon itself went wrong.
    pub troubles: Vec<String>,
    /// How often each kind of work was acknowledged.
    pub done: std::collections::BTreeMap<&'static str, usize>,
}

/// One turn of a client: an error where the daemon is gone.
type Turn = fn(&World, &mut Random) -> io::Result<()>;

/// The clients, and how long each rests between two turns at most.
const CLIENTS: &[(Turn, u64)] =
    &[(import, 120), (change, 900), (decide, 60), (pull, 40), (pin, 60), (collect, 500), (reimport, 400)];

/// The first steps of a recipe that the load changes.
pub const NUMBERED: &str = "mkdir -p \"$OUT/usr/share/note\"; echo number 0 > \"$OUT/usr/share/note/number.txt\"";

impl Clients {
    /// Sets the clients to work on a place whose approver has this key, going on from what was told before.
    pub fn start(place: &Place, key: &Path, told: Acknowledged, random: &mut Random) -> Self {
        let world = Arc::new(World {
            place: place.clone(),
            key: key.to_owned(),
            over: AtomicBool::new(false),
            told: Mutex::new(told),
            troubles: Mutex::default(),
            done: Mutex::default(),
        });
        let threads = CLIENTS.iter().map(|(turn, rest)| {
            let (world, mut random) = (world.clone(), random.branch());
            std::thread::spawn(move || {
                while !world.over.load(Ordering::Relaxed) && turn(&world, &mut random).is_ok() {
                    std::thread::sleep(random.moment(Duration::from_millis(*rest)));
                }
            })
        });
        let threads = threads.collect();
        Self { world, threads }
    }

    /// Ends the work; what was acknowledged until now.
    pub fn stop(self) -> Worked {
        self.world.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        let take = |told: &Mutex<Acknowledged>| std::mem::take(&mut *lock(told));
        let (told, troubles) = (take(&self.world.told), std::mem::take(&mut *lock(&self.world.troubles)));
        Worked { told, troubles, done: std::mem::take(&mut *lock(&self.world.done)) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A question over the socket; what the daemon got wrong by itself is written down.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let answer = ask_socket(&self.place, method, path, kind, body)?;
        if answer.status >= 500 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            lock(&self.troubles).push(format!("{method} {path}: {} {text}", answer.status));
        }
        Ok(answer)
    }

    fn did(&self, what: &'static str) {
        *lock(&self.done).entry(what).or_default() += 1;
    }

    /// The ledger's state.
    fn state(&self) -> io::Result<Value> {
        let answer = self.ask("GET", "/v1/state", "application/json", b"")?;
        serde_json::from_slice(&answer.body).map_err(io::Error::other)
    }
}

/// A record about a package, fixed in a version.
fn advisory(id: &str, package: &str, fixed: &str) -> Vec<u8> {
    let record = json!({
        "schema_version": "1.6.0", "id": id, "modified": OSV_TIME, "published": OSV_TIME, "summary": "It says too much",
        "affected": [{
            "package": { "ecosystem": "generic", "name": package, "purl": format!("pkg:generic/{package}") },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }]
        }]
    });
    serde_json::to_vec(&record).unwrap()
}

fn send(world: &World, id: &str, record: &[u8]) -> io::Result<()> {
    let answer = world.ask("POST", "/v1/advisories", "application/octet-stream", record)?;
    if answer.status == 200 {
        lock(&world.told).advisories.insert(id.to_owned(), sha256(record));
        world.did("import");
    }
    Ok(())
}

/// Most are about nothing of ours, some about the note, and some about a card of a version that nobody can order.
fn import(world: &World, random: &mut Random) -> io::Result<()> {
    let number = random.below(u64::MAX);
    let (id, package, fixed) = match random.below(12) {
        0 => (format!("TEST-NOTE-{number}"), "note", "1.1"),
        1 => (format!("{UNSURE}{number}"), "card", "the day after tomorrow"),
        _ => (format!("TEST-ELSE-{number}"), "elsewhere", "2.0"),
    };
    send(world, &id, &advisory(&id, package, fixed))
}

/// The same advisory changes: the newest record counts.
fn reimport(world: &World, random: &mut Random) -> io::Result<()> {
    let id = format!("TEST-AGAIN-{}", random.below(3));
    // until it is answered, either record may be the newest
    lock(&world.told).advisories.remove(&id);
    send(world, &id, &advisory(&id, "elsewhere", &format!("{}.0", random.below(1000))))
}

/// Another number in the recipe.
fn change(world: &World, random: &mut Random) -> io::Result<()> {
    let recipe = world.place.catalog.join("packages/note.toml");
    let text = fs::read_to_string(&recipe)?;
    let (before, rest) = text.split_once("echo number ").unwrap();
    let (_, after) = rest.split_once(' ').unwrap();
    let partial = world.place.catalog.join("partial");
    fs::write(&partial, format!("{before}echo number {} {after}", random.below(NUMBERS)))?;
    fs::rename(&partial, &recipe)?;
    if world.ask("POST", "/v1/catalog/reload", "application/json", b"")?.status == 200 {
        world.did("change");
    }
    Ok(())
}

/// Approves what is open, and rejects some of it.
fn decide(world: &World, random: &mut Random) -> io::Result<()> {
    let state = world.state()?;
    let mut candidates = state["candidates"].as_object().into_iter().flatten();
    let Some((id, candidate)) = candidates.rfind(|(_, c)| c["status"] == "open") else { return Ok(()) };
    let (word, decision) =
        if random.below(6) == 0 { ("reject", Decision::Reject) } else { ("approve", Decision::Approve) };
    let key = world.key.to_str().unwrap();
    let name = format!("c{id}");
    let manifest = candidate["manifest"].as_str().unwrap();
    let said = world.place.anneal(&["candidate", word, &name, "--digest", manifest, "--key", key]);
    match said.code {
        0 => {
            let id = CandidateId(id.parse().unwrap());
            lock(&world.told).decisions.insert(id, (manifest.to_owned(), decision));
            world.did(word);
        }
        3 => return Err(io::Error::other(said.err)),
        _ => {}
    }
    Ok(())
}

/// Pulls what a tag names, all the way down, and keeps what came.
fn pull(world: &World, random: &mut Random) -> io::Result<()> {
    let image = if random.below(5) == 0 { "card" } else { "note" };
    let answer = ask_http(&world.place, "GET", &format!("/v2/{image}/manifests/latest"))?;
    if answer.status != 200 {
        return Ok(());
    }
    let index = format!("sha256:{}", sha256(&answer.body));
    lock(&world.told).published.insert(index.clone());
    let mut todo = vec![format!("/v2/{image}/manifests/{index}")];
    while let Some(path) = todo.pop() {
        if lock(&world.told).pulled.contains_key(&path) && random.below(4) > 0 {
            continue;
        }
        let answer = ask_http(&world.place, "GET", &path)?;
        let found = sha256(&answer.body);
        if answer.status != 200 || !path.ends_with(&found) {
            let wrong = format!("{path}: {} with sha256:{found}\n{}", answer.status, answer.head);
            lock(&world.troubles).push(wrong);
            return Ok(());
        }
        let parts: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let digests = |field: &str| {
            let listed = parts[field].as_array().cloned().unwrap_or_default();
            listed.into_iter().filter_map(|part| Some(part["digest"].as_str()?.to_owned())).collect::<Vec<_>>()
        };
        if path.contains("/manifests/") {
            todo.extend(digests("manifests").iter().map(|digest| format!("/v2/{image}/manifests/{digest}")));
            let config = parts["config"]["digest"].as_str().map(str::to_owned);
            let blobs = digests("layers").into_iter().chain(config);
            todo.extend(blobs.map(|digest| format!("/v2/{image}/blobs/{digest}")));
        }
        lock(&world.told).pulled.insert(path, found);
    }
    world.did("pull");
    Ok(())
}

/// Pins an image or removes a pin.
fn pin(world: &World, random: &mut Random) -> io::Result<()> {
    let state = world.state()?;
    let images: Vec<&String> = state["images"].as_object().into_iter().flatten().map(|(digest, _)| digest).collect();
    let Some(digest) = random.one_of(&images).copied() else { return Ok(()) };
    let was = lock(&world.told).pins.insert(digest.clone(), Pinned::Asked);
    let (path, body, word) = if was == Some(Pinned::Yes) {
        (format!("/v1/store/pins/{digest}/remove"), json!(null), Pinned::No)
    } else {
        ("/v1/store/pins".to_owned(), json!({ "digest": digest, "reason": "to look at it" }), Pinned::Yes)
    };
    let answer = world.ask("POST", &path, "application/json", &serde_json::to_vec(&body)?)?;
    match answer.status {
        200 => {
            lock(&world.told).pins.insert(digest.clone(), word);
            world.did(if word == Pinned::Yes { "pin" } else { "unpin" });
        }
        // it was collected: nothing is promised about it
        _ => drop(lock(&world.told).pins.remove(digest)),
    }
    Ok(())
}

/// Collects what nothing needs, through the command line.
fn collect(world: &World, _: &mut Random) -> io::Result<()> {
    let said = world.place.anneal(&["store", "gc", "--json"]);
    match said.code {
        0 => world.did("collect"),
        3 => return Err(io::Error::other(said.err)),
        // The last is said of a daemon that was killed just now: its socket is closed before its lock is.
        _ if ["is under way", "no daemon answers", "is in use by process"].iter().any(|it| said.err.contains(it)) => {}
        _ => lock(&world.troubles).push(format!("store gc: {} {}", said.out, said.err)),
    }
    Ok(())
}
