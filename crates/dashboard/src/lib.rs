//! Pages from plain values: the first page and the browser of the API.
//!
//! Everything is rendered on the server and works without scripts; what is shown is escaped. The pages ask for nothing
//! from elsewhere: one style sheet, inline, allowed by a nonce that the caller gives.
//!
//! What this crate does not know: HTTP, where its values come from.

mod api;
mod home;
mod layout;

pub use api::{ApiOperation, ApiPage, api_page};
pub use home::{Act, Card, Found, HomePage, PageRow, Person, Recent, Source, home_page};
pub use layout::message_page;
