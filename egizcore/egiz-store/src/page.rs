//! Paging by key: stable while rows come and go, and as fast on the last page as on the first.

/// The most items in one page; a larger request is cut to it.
pub const MAX_PAGE_ITEMS: u32 = 1_000;

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K = String> {
    /// The key after which the page starts; `None` for the first page.
    pub after: Option<K>,
    /// How many items at most, 1 to [`MAX_PAGE_ITEMS`].
    pub limit: u32,
}

impl<K> PageRequest<K> {
    /// Asks for the first page.
    pub fn first(limit: u32) -> PageRequest<K> {
        PageRequest { after: None, limit }
    }

    /// Asks for the page after `key`.
    pub fn after(key: K, limit: u32) -> PageRequest<K> {
        PageRequest { after: Some(key), limit }
    }

    /// The number of rows to read: one more than the page shows, to know whether another follows.
    pub(crate) fn fetch_rows(&self) -> i64 {
        i64::from(self.shown()) + 1
    }

    fn shown(&self) -> u32 {
        self.limit.clamp(1, MAX_PAGE_ITEMS)
    }
}

/// One page of items in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K = String> {
    /// The items.
    pub items: Vec<T>,
    /// The key to ask for the next page with; `None` when this is the last.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Cuts the rows that [`PageRequest::fetch_rows`] asked for to the page.
    pub(crate) fn cut(mut items: Vec<T>, request: &PageRequest<K>, key: impl Fn(&T) -> K) -> Page<T, K> {
        let shown = request.shown() as usize;
        let more = items.len() > shown;
        items.truncate(shown);
        let next = if more { items.last().map(key) } else { None };
        Page { items, next }
    }
}
