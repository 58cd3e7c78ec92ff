//! Event log as checksummed segments, sealed into Parquet.
//!
//! [`FileEventLog`] keeps one folder:
//!
//! | file | holds |
//! |---|---|
//! | `LOCK` | the lock that keeps a second process out |
//! | `<first sequence>.log` | a segment being written, or closed and waiting to be sealed: checksummed frames |
//! | `<first sequence>.<generation>.parquet` | a sealed segment, readable with any Parquet tool |
//! | `<first sequence>.seal` | what its Parquet file must be: name, range, rows, bytes, CRC-32 |
//!
//! An append waits for one `fdatasync` that it shares with every other caller waiting at that moment. A full
//! segment is closed and rewritten as Parquet by a thread of the log. Every replacement of a file is: write
//! under another name, flush, rename, flush the folder; so that a crash leaves the old or the new.
//!
//! Cost: 18 to 23 bytes of memory per stored event (the set of known keys), one frame header of 36 bytes
//! per group of batches. Opening reads everything once.
//!
//! What this crate does not know: HTTP, the catalogue, models, the clock.

mod codec;
mod commit;
mod erase;
mod errors;
mod frames;
mod keys;
mod layout;
mod log;
mod maintain;
mod note;
mod recover;
mod scan;
mod seal;
mod sealed;

pub use log::{FileEventLog, LogOptions, VerifyReport};
pub use recover::{RecoveryReport, TruncatedTail};
