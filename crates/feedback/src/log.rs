//! The queue in front of the files, and the thread that empties it.

use crate::block::{self, Open};
use crate::files::{self, Files, Index, Location, Moments, enter};
use crate::tail::{self, Tail};
use crate::waiting::{LANES, Waiting};
use crate::{FeedbackError, StoredDecision, columns};
use domain::{DecisionId, ItemId, Timestamp, UserId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A waiting batch is written at once when it has this many decisions.
const BATCH_DECISIONS: usize = 512;

/// Sizes and times of a decision log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionLogOptions {
    /// Bytes of files kept; the oldest files beyond go.
    pub retention_bytes: u64,
    /// A file that has grown to this is followed by the next.
    pub file_bytes: u64,
    /// Most decisions that wait to be written.
    pub queue: usize,
    /// About how many bytes may wait to be written.
    pub queue_bytes: usize,
    /// How long a decision may wait before it is in a block on the disk.
    pub sync_interval: Duration,
    /// How long [`DecisionLog::record`] waits for room in a full queue before it gives up.
    pub wait_max: Duration,
}

impl Default for DecisionLogOptions {
    fn default() -> Self {
        DecisionLogOptions {
            retention_bytes: 256 << 20,
            file_bytes: 32 << 20,
            queue: 10_000,
            queue_bytes: 128 << 20,
            sync_interval: Duration::from_secs(1),
            wait_max: Duration::from_millis(100),
        }
    }
}

/// Where a log stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecisionLogStats {
    /// Decisions that can be looked up, the waiting ones among them.
    pub decisions: u64,
    /// Decisions waiting to be written.
    pub queued: u64,
    /// Decisions recorded since the log was opened.
    pub recorded: u64,
    /// Decisions lost since the log was opened: the queue stayed full, or the disk refused.
    pub dropped: u64,
    /// Files.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Bytes found damaged or torn when the log was opened.
    pub unreadable_bytes: u64,
    /// Decisions that a killed process had left, found when the log was opened.
    pub recovered: u64,
    /// The last failure to write, if any.
    pub last_error: Option<String>,
}

/// Which decisions are asked for; what is not given does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecisionFilter {
    /// Earliest moment, itself included.
    pub from: Option<Timestamp>,
    /// Latest moment, itself not included.
    pub to: Option<Timestamp>,
    /// For whom.
    pub user_id: Option<UserId>,
    /// That showed this item.
    pub item_id: Option<ItemId>,
    /// Of this placement.
    pub placement: Option<String>,
    /// Chosen by the policy of this name.
    pub policy: Option<String>,
    /// Before this one, in the order of the answer: the last of the page before.
    pub before: Option<(Timestamp, DecisionId)>,
}

impl DecisionFilter {
    fn admits(&self, stored: &StoredDecision) -> bool {
        let decision = &stored.decision;
        let policy = || decision.policy.as_ref().map(|policy| policy.name.as_str());
        let place = || (decision.now, &decision.decision_id);
        self.from.is_none_or(|from| decision.now >= from)
            && self.to.is_none_or(|to| decision.now < to)
            && self
                .user_id
                .as_ref()
                .is_none_or(|user| decision.user_id.as_ref() == Some(user))
            && self
                .placement
                .as_ref()
                .is_none_or(|placement| decision.placement == *placement)
            && self.policy.as_ref().is_none_or(|name| policy() == Some(name))
            && self.before.as_ref().is_none_or(|(now, id)| place() < (*now, id))
            && self
                .item_id
                .as_ref()
                .is_none_or(|item| decision.shown.iter().any(|shown| shown.item_id == *item))
    }

    /// Whether a block of these moments may hold some.
    fn may_be_in(&self, (earliest, latest): (Timestamp, Timestamp)) -> bool {
        self.from.is_none_or(|from| latest >= from)
            && self.to.is_none_or(|to| earliest < to)
            && self.before.as_ref().is_none_or(|(now, _)| earliest <= *now)
    }
}

/// Later decisions first.
fn later_first(a: &StoredDecision, b: &StoredDecision) -> std::cmp::Ordering {
    let place = |stored: &StoredDecision| (stored.decision.now, stored.decision.decision_id.clone());
    place(b).cmp(&place(a))
}

/// The block that a decision goes to follows from the processor that records it.
fn lane() -> usize {
    #[cfg(target_os = "linux")]
    let processor = rustix::thread::sched_getcpu();
    #[cfg(not(target_os = "linux"))]
    let processor = 0;
    processor % LANES
}

/// An erasure asked for.
struct Erasing {
    ticket: u64,
    user: UserId,
}

#[derive(Default)]
struct State {
    /// Waiting or just being written.
    waiting: Waiting,
    index: Index,
    moments: Moments,
    tail: Option<Tail>,
    /// Files that end before this moment are to go.
    retire_before: Option<Timestamp>,
    recovered: u64,
    /// Decisions taken into the queue, and of those, done with (written or lost).
    recorded: u64,
    done: u64,
    dropped: u64,
    flush_to: u64,
    erasing: VecDeque<Erasing>,
    next_ticket: u64,
    erased: HashMap<u64, Result<u64, FeedbackError>>,
    closing: bool,
    /// The writer's thread has come to its end.
    ended: bool,
    /// Files are being rewritten, places in the index may be out of date.
    rewriting: bool,
    /// Failure that no flush has reported yet.
    unreported: Option<FeedbackError>,
    last_error: Option<String>,
    files: u64,
    bytes: u64,
    unreadable_bytes: u64,
}

impl State {
    fn full(&self, options: &DecisionLogOptions) -> bool {
        // A lone decision is taken however large.
        self.waiting.len() > 0
            && (self.waiting.len() >= options.queue || self.waiting.bytes() >= options.queue_bytes)
    }

    /// Adds a decision to the open block and hands it to the operating system. The error is of a decision that has no form.
    fn keep(&mut self, head: columns::Head<'_>) -> Result<(), String> {
        let (tail, mut refused, lane) = (&mut self.tail, None, lane());
        self.waiting.push(lane, head, |added| {
            let frame = tail::frame(added, lane, tail.as_ref().map_or(0, Tail::turn))?;
            refused = tail.as_mut().and_then(|tail| tail.append(&frame).err());
            Ok(())
        })?;
        if let Some(error) = refused {
            // It still waits in memory. What comes after it must not build on it.
            self.last_error = Some(error.to_string());
            self.waiting.close(lane);
        }
        Ok(())
    }

    /// True if the writer should not wait for more.
    fn urgent(&self, options: &DecisionLogOptions) -> bool {
        self.closing
            || self.retire_before.is_some()
            || self.flush_to > self.done
            || !self.erasing.is_empty()
            || self.waiting.len() >= BATCH_DECISIONS.min(options.queue.div_ceil(2))
            || self.waiting.bytes() >= options.queue_bytes / 2
    }
}

struct Shared {
    dir: PathBuf,
    options: DecisionLogOptions,
    state: Mutex<State>,
    /// Something for the writer to do.
    work: Condvar,
    /// The writer has done something.
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of decisions. See the head of the crate for what survives a crash.
///
/// Cost: [`record`](DecisionLog::record) encodes the decision and appends it to a file, some 35 µs for 100 candidates (example `size`); compression and writing for good happen on the log's
/// thread. [`get`](DecisionLog::get) reads and unpacks one block (up to 64 decisions). In memory: the queue, about 100
/// bytes per decision kept, and a megabyte for each processor that records, of up to eight. Opening reads all files once.
pub struct DecisionLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecisionLog")
            .field("dir", &self.shared.dir)
            .finish_non_exhaustive()
    }
}

impl DecisionLog {
    /// Opens the log in a folder, made if it is not there. A torn tail is cut off; damaged blocks are passed over and counted.
    ///
    /// # Errors
    /// [`FeedbackError::Io`] if the folder cannot be used, [`FeedbackError::Damaged`] if a file is
    /// not a decision log.
    pub fn open(dir: &Path, options: DecisionLogOptions) -> Result<DecisionLog, FeedbackError> {
        let (mut files, mut index, unreadable_bytes) = Files::open(dir, &options)?;
        let (mut tail, mut left) = Tail::open(dir)?;
        left.retain(|stored| !index.contains_key(&stored.decision.decision_id));
        let (blocks, unfit) = block::blocks(&left);
        let (written, failures) = files.append(&blocks);
        if let Some(error) = unfit.into_iter().chain(failures).next() {
            return Err(error);
        }
        enter(&mut index, written);
        tail.reset()?;
        let state = State {
            index,
            moments: files.moments.clone(),
            tail: Some(tail),
            recovered: left.len() as u64,
            unreadable_bytes,
            files: files.count() as u64,
            bytes: files.bytes(),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || write_until_closed(&for_writer, files))
            .map_err(|e| FeedbackError::Thread(e.to_string()))?;
        Ok(DecisionLog {
            shared,
            writer: Some(writer),
        })
    }

    /// Queues a decision, and hands it to the operating system, so that it outlives this process; it can be looked up at once. If the queue is full, waits up to `wait_max` for room;
    /// false means that it was lost (the queue stayed full, or it is too large to be kept), which the statistics count. Of two decisions with one id the later counts.
    pub fn record(&self, decision: StoredDecision) -> bool {
        let options = &self.shared.options;
        let head = columns::head(&decision);
        let state = self.shared.lock();
        let (mut state, _) = self
            .shared
            .progress
            .wait_timeout_while(state, options.wait_max, |state| state.full(options))
            .unwrap_or_else(PoisonError::into_inner);
        if state.full(options) || state.ended {
            state.dropped += 1;
            return false;
        }
        if let Err(reason) = head.and_then(|head| state.keep(head)) {
            state.dropped += 1;
            let id = decision.decision.decision_id.to_string();
            let error = FeedbackError::Encode { id, reason };
            state.last_error = Some(error.to_string());
            state.unreported = Some(error);
            return false;
        }
        state.recorded += 1;
        if state.waiting.len() == 1 || state.urgent(options) {
            self.shared.work.notify_one();
        }
        true
    }

    /// Looks a decision up; `None` if there is none of that id, or it is older than the retention.
    ///
    /// # Errors
    /// [`FeedbackError`] if its block cannot be read.
    pub fn get(&self, id: &DecisionId) -> Result<Option<StoredDecision>, FeedbackError> {
        let mut tried = None;
        loop {
            let location = {
                let state = self.shared.lock();
                if let Some((block, line)) = state.waiting.get(id) {
                    drop(state);
                    return Ok(block.decisions()?.into_iter().nth(line));
                }
                match state.index.get(id) {
                    Some(location) => *location,
                    None => return Ok(None),
                }
            };
            match files::read(&self.shared.dir, id, location) {
                Ok(stored) => return Ok(Some(stored)),
                // The file may have been retired or rewritten since; then the place has changed.
                Err(error) if tried == Some(location) => return Err(error),
                Err(_) => {
                    let state = self.shared.lock();
                    tried = (!state.rewriting).then_some(location);
                    let rewriting = |state: &mut State| state.rewriting && !state.ended;
                    drop(
                        self.shared
                            .progress
                            .wait_while(state, rewriting)
                            .unwrap_or_else(PoisonError::into_inner),
                    );
                }
            }
        }
    }

    /// Ids of all decisions kept, in no particular order.
    pub fn ids(&self) -> Vec<DecisionId> {
        let state = self.shared.lock();
        let waiting = state.waiting.ids().filter(|id| !state.index.contains_key(*id));
        state.index.keys().chain(waiting).cloned().collect()
    }

    /// Hands over every decision that is kept when this is called, in the order in which they were written, then those not written yet. A block is read once. What is erased or
    /// retired meanwhile may be left out.
    ///
    /// # Errors
    /// [`FeedbackError`] if a block cannot be read.
    pub fn each(&self, mut visit: impl FnMut(StoredDecision)) -> Result<(), FeedbackError> {
        let mut blocks: BTreeMap<(u64, u64), Vec<(u32, DecisionId)>> = BTreeMap::new();
        let waiting = {
            let state = self.shared.lock();
            let done = state.index.iter().filter(|(id, _)| !state.waiting.contains(id));
            for (id, at) in done {
                let of = blocks.entry((at.file, at.offset)).or_default();
                of.push((at.line, id.clone()));
            }
            state.waiting.all()
        };
        for ((file, offset), mut ids) in blocks {
            ids.sort_unstable();
            match files::read_block(&self.shared.dir, file, offset) {
                Ok(decisions) => {
                    let with_line = (0..).zip(decisions);
                    let counts = with_line.filter(|(line, stored): &(u32, StoredDecision)| {
                        let id = &stored.decision.decision_id;
                        ids.binary_search_by(|(at, of)| (at, of).cmp(&(line, id))).is_ok()
                    });
                    counts.for_each(|(_, stored)| visit(stored));
                }
                // The file may have been rewritten or retired since: then each is looked up where it is now.
                Err(_) => {
                    for (_, id) in &ids {
                        self.get(id)?.into_iter().for_each(&mut visit);
                    }
                }
            }
        }
        let mut unwritten = Vec::new();
        for (block, lines) in waiting {
            let decisions = block.decisions()?.into_iter().enumerate();
            let counts = decisions.filter(|(line, _)| lines.binary_search(line).is_ok());
            unwritten.extend(counts.map(|(_, stored)| stored));
        }
        unwritten.sort_by(|a, b| later_first(b, a));
        unwritten.into_iter().for_each(visit);
        Ok(())
    }

    /// Up to `limit` decisions that a filter admits, the latest first. Blocks that cannot hold any by their moments are not read.
    ///
    /// # Errors
    /// [`FeedbackError`] if a block cannot be read.
    pub fn find(&self, filter: &DecisionFilter, limit: usize) -> Result<Vec<StoredDecision>, FeedbackError> {
        let mut found: Vec<StoredDecision> = Vec::new();
        let waiting;
        let mut blocks: Vec<((u64, u64), (Timestamp, Timestamp))> = {
            let state = self.shared.lock();
            waiting = state.waiting.all();
            let moments = state
                .moments
                .iter()
                .filter(|(_, moments)| filter.may_be_in(**moments));
            moments.map(|(at, moments)| (*at, *moments)).collect()
        };
        for (block, lines) in waiting {
            let decisions = block.decisions()?.into_iter().enumerate();
            let counts = decisions.filter(|(line, stored)| lines.contains(line) && filter.admits(stored));
            found.extend(counts.map(|(_, stored)| stored));
        }
        blocks.sort_by_key(|(at, (_, latest))| std::cmp::Reverse((*latest, *at)));
        for ((file, offset), (_, latest)) in blocks {
            found.sort_by(later_first);
            found.dedup_by(|a, b| a.decision.decision_id == b.decision.decision_id);
            found.truncate(limit);
            if found.len() == limit && found.last().is_none_or(|last| last.decision.now > latest) {
                break;
            }
            // A block that was retired or rewritten meanwhile holds nothing that is asked for now.
            let Ok(decisions) = files::read_block(&self.shared.dir, file, offset) else {
                let is_there = self.shared.lock().moments.contains_key(&(file, offset));
                if is_there {
                    files::read_block(&self.shared.dir, file, offset)?;
                }
                continue;
            };
            let state = self.shared.lock();
            found.extend(decisions.into_iter().zip(0..).filter_map(|(stored, line)| {
                let here = Location { file, offset, line };
                let counts = state.index.get(&stored.decision.decision_id) == Some(&here);
                (counts && filter.admits(&stored)).then_some(stored)
            }));
        }
        found.sort_by(later_first);
        found.dedup_by(|a, b| a.decision.decision_id == b.decision.decision_id);
        found.truncate(limit);
        Ok(found)
    }

    /// True if there is a decision of this id.
    pub fn contains(&self, id: &DecisionId) -> bool {
        let state = self.shared.lock();
        state.waiting.contains(id) || state.index.contains_key(id)
    }

    /// Removes the files, but not the last, of which all decisions are before a moment; soon.
    pub fn retire_before(&self, moment: Timestamp) {
        self.shared.lock().retire_before = Some(moment);
        self.shared.work.notify_one();
    }

    /// Returns once everything recorded before is on stable storage.
    ///
    /// # Errors
    /// The last failure to write since the previous flush; what it concerned is lost.
    pub fn flush(&self) -> Result<(), FeedbackError> {
        let mut state = self.shared.lock();
        let target = state.recorded;
        state.flush_to = state.flush_to.max(target);
        self.shared.work.notify_one();
        let mut state = self
            .shared
            .progress
            .wait_while(state, |state| state.done < target && !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if state.done < target {
            return Err(ended());
        }
        state.unreported.take().map_or(Ok(()), Err)
    }

    /// Removes every decision made for a user, by rewriting the files that hold some; durable on return. Returns how many there were.
    ///
    /// # Errors
    /// [`FeedbackError`] if a file cannot be read or rewritten; then some may be left.
    pub fn erase_user(&self, user: &UserId) -> Result<u64, FeedbackError> {
        let mut state = self.shared.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.erasing.push_back(Erasing {
            ticket,
            user: user.clone(),
        });
        self.shared.work.notify_one();
        loop {
            if let Some(result) = state.erased.remove(&ticket) {
                return result;
            }
            if state.ended {
                return Err(ended());
            }
            state = self
                .shared
                .progress
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A moment that no decision kept in the files is before; `None` while there are none.
    pub fn oldest(&self) -> Option<Timestamp> {
        let state = self.shared.lock();
        state.moments.values().map(|(earliest, _)| *earliest).min()
    }

    /// Where the log stands.
    pub fn stats(&self) -> DecisionLogStats {
        let state = self.shared.lock();
        let waiting = state
            .waiting
            .ids()
            .filter(|id| !state.index.contains_key(*id))
            .count();
        DecisionLogStats {
            decisions: (state.index.len() + waiting) as u64,
            queued: state.waiting.len() as u64,
            recorded: state.recorded,
            dropped: state.dropped,
            files: state.files,
            bytes: state.bytes,
            unreadable_bytes: state.unreadable_bytes,
            recovered: state.recovered,
            last_error: state.last_error.clone(),
        }
    }

    /// Writes what is waiting and ends the log's thread; dropping the log does the same but cannot
    /// say what went wrong.
    ///
    /// # Errors
    /// As [`flush`](DecisionLog::flush).
    pub fn close(self) -> Result<(), FeedbackError> {
        self.flush()
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been printed; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

fn ended() -> FeedbackError {
    FeedbackError::Thread("it has ended before its time".to_owned())
}

/// Says that the writer has ended, however it has.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.progress.notify_all();
    }
}

fn write_until_closed(shared: &Shared, mut files: Files) {
    let _ending = Ending(shared);
    loop {
        let state = shared.lock();
        let idle = |state: &mut State| {
            let nothing = state.waiting.len() == 0 && state.erasing.is_empty();
            nothing && state.retire_before.is_none() && !state.closing
        };
        let state = shared
            .work
            .wait_while(state, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = shared
            .work
            .wait_timeout_while(state, shared.options.sync_interval, |state| {
                !state.urgent(&shared.options)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let batch = state.waiting.take();
        // What is in the tail is in the batch, and what comes goes to the other file.
        state.tail.iter_mut().for_each(Tail::take_turns);
        let retire_before = state.retire_before.take().unwrap_or(Timestamp(i64::MIN));
        let erasing: Vec<Erasing> = state.erasing.drain(..).collect();
        let ends = state.closing && batch.is_empty() && erasing.is_empty();
        drop(state);
        shared.progress.notify_all();
        if ends {
            return;
        }
        write(shared, &mut files, batch, retire_before);
        for Erasing { ticket, user } in erasing {
            let result = erase(shared, &mut files, &user);
            shared.lock().erased.insert(ticket, result);
        }
        shared.progress.notify_all();
    }
}

/// Writes a batch and books it.
fn write(shared: &Shared, files: &mut Files, batch: Vec<Arc<Open>>, retire_before: Timestamp) {
    let (written, mut errors) = files.append(&batch);
    let n: usize = batch.iter().map(|block| block.ids.len()).sum();
    drop(batch);
    let mut state = shared.lock();
    state.dropped += (n - written.len()) as u64;
    enter(&mut state.index, written);
    if files.over() || files.is_before(retire_before) {
        errors.extend(files.retire(&mut state.index, retire_before).err());
    }
    state.moments.clone_from(&files.moments);
    if let Some(tail) = &mut state.tail {
        errors.extend(tail.clear().err());
    }
    state.waiting.written();
    state.done += n as u64;
    state.files = files.count() as u64;
    state.bytes = files.bytes();
    if let Some(error) = errors.pop() {
        state.last_error = Some(error.to_string());
        state.unreported = Some(error);
    }
}

/// Removes a user's decisions from the files and the index.
fn erase(shared: &Shared, files: &mut Files, user: &UserId) -> Result<u64, FeedbackError> {
    let goes = |stored: &StoredDecision| stored.decision.user_id.as_ref() == Some(user);
    shared.lock().rewriting = true;
    let outcome = files.erase(&goes);
    let mut state = shared.lock();
    state.rewriting = false;
    // Nothing of what was written before stays behind in the tail either.
    let wiped = state.tail.as_mut().map_or(Ok(()), Tail::wipe);
    let (rewritten, gone) = outcome?;
    state
        .index
        .retain(|_, location| !rewritten.contains_key(&location.file));
    for places in rewritten.into_values() {
        enter(&mut state.index, places);
    }
    state.moments.clone_from(&files.moments);
    state.bytes = files.bytes();
    wiped.map(|()| gone)
}
