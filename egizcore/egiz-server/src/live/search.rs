//! Searches whose pages come by demand: the client says for how many it has room, and gets no more.
//!
//! ```text
//!  search ──► ok ──► request(n) ──► Next, at most n ──► Complete | Failed
//!                         ▲           │
//!                         └───────────┘            cancel at any time: nothing more comes
//! ```
//!
//! Nothing is looked for before it is asked for, so a search that waits holds its question and a place, and no page. Pages
//! are those of REST: they neither skip nor repeat a Thing, and a cursor goes on elsewhere.
//! Source: the search protocol of Eclipse Ditto; Reactive Streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_api::Code;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::request;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::min_offset;
use crate::ports::Ports;
use crate::query::{self, PageRequest, Pages, Written};

/// The searches of one client.
pub(crate) struct Searches {
    ports: Ports,
    /// The client's correlation id.
    correlation: Arc<str>,
    known: BTreeMap<u32, Search>,
    next_number: u32,
    /// At most one a search.
    under_way: FuturesUnordered<BoxFuture<'static, (u32, Result<Page, ApiError>)>>,
}

/// One search.
struct Search {
    /// Away while a page is looked for.
    pages: Option<Pages>,
    /// Pages asked for and not sent.
    demand: u32,
    seq: u64,
}

/// A page that was looked for.
struct Page {
    pages: Pages,
    rest: Vec<u8>,
    written: Written,
}

/// A frame: its search, its place in the sequence, its name, and the members behind up to the closing brace.
pub(crate) struct Frame {
    pub(crate) search: u32,
    pub(crate) seq: u64,
    pub(crate) event: &'static str,
    pub(crate) rest: Vec<u8>,
}

impl Searches {
    pub(crate) fn new(ports: Ports, correlation: Arc<str>) -> Self {
        Self {
            ports,
            correlation,
            known: BTreeMap::new(),
            next_number: 1,
            under_way: FuturesUnordered::new(),
        }
    }

    /// Begins a search, and gives its number; nothing is looked for yet.
    ///
    /// # Errors
    /// `limit-reached`, `invalid-cursor`.
    pub(crate) fn begin(&mut self, caller: &Caller, request: PageRequest) -> Result<u32, ApiError> {
        let limit = self.ports.hub.settings().searches_per_client_max;
        // What was cancelled while a page was looked for counts until that is found.
        if self.known.len().max(self.under_way.len()) >= limit {
            return Err(ApiError::new(Code::LimitReached, format!("a client may have {limit} searches")));
        }
        let pages = Some(Pages::new(&self.ports, caller, request)?);
        let number = self.next_number;
        self.next_number += 1;
        self.known.insert(number, Search { pages, demand: 0, seq: 0 });
        Ok(number)
    }

    /// Asks for so many pages more.
    ///
    /// # Errors
    /// `malformed-request` where there is no such search.
    pub(crate) fn request(&mut self, number: u32, pages: u32) -> Result<(), ApiError> {
        let search = self.known.get_mut(&number).ok_or_else(|| unknown(number))?;
        search.demand = search.demand.saturating_add(pages);
        self.look(number);
        Ok(())
    }

    /// Ends a search: nothing more comes of it.
    ///
    /// # Errors
    /// `malformed-request` where there is no such search.
    pub(crate) fn cancel(&mut self, number: u32) -> Result<(), ApiError> {
        self.known.remove(&number).map(|_| ()).ok_or_else(|| unknown(number))
    }

    /// The frames of the next page that is found; `None` where none is looked for.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Option<Vec<Frame>> {
        let (number, found) = self.under_way.next().await?;
        // Cancelled meanwhile, maybe.
        let Some(search) = self.known.get_mut(&number) else { return Some(Vec::new()) };
        let mut frames = Vec::new();
        let mut push = |event, rest| {
            search.seq += 1;
            frames.push(Frame { search: number, seq: search.seq, event, rest });
        };
        let goes_on = match found {
            Ok(Page { pages, rest, written: Written { is_empty, goes_on } }) => {
                if !is_empty {
                    push("Next", rest);
                }
                search.demand = search.demand.saturating_sub(1);
                search.pages = Some(pages);
                if !goes_on {
                    push("Complete", b"}".to_vec());
                }
                goes_on
            }
            Err(ApiError(mut problem)) => {
                problem.trace_id = Some(self.correlation.to_string());
                let problem = serde_json::to_string(&problem).unwrap_or_default();
                push("Failed", format!(",\"problem\":{problem}}}").into_bytes());
                false
            }
        };
        if goes_on {
            self.look(number);
        } else {
            self.known.remove(&number);
        }
        Some(frames)
    }

    /// Looks for the next page of a search where one is asked for and none is looked for.
    fn look(&mut self, number: u32) {
        let Some(search) = self.known.get_mut(&number).filter(|search| search.demand > 0) else { return };
        let Some(mut pages) = search.pages.take() else { return };
        let ports = self.ports.clone();
        self.under_way.push(Box::pin(async move {
            let looking = async {
                min_offset::wait_for_acknowledged(&ports).await?;
                query::on_engine_of(&ports, move |engine| -> Result<Page, ApiError> {
                    let mut rest = format!(",\"offset\":{},", engine.next_offset()).into_bytes();
                    let written = pages.write_next(engine, &mut rest)?;
                    rest.push(b'}');
                    Ok(Page { pages, rest, written })
                })
                .await?
            };
            (number, looking.await)
        }));
    }
}

fn unknown(number: u32) -> ApiError {
    request::refused("search", &format!("there is no search {number}"))
}
