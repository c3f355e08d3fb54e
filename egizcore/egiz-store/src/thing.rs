//! Things as the registry shows them: a projection of the journal, written by one consumer in offset order.
//!
//! The rows and the consumer's cursor change in one transaction, so after a crash the consumer goes on at
//! [`Store::projection_offset`] and no record is applied twice or left out.

use egiz_model::{Offset, ThingId, Timestamp};
use sqlx::{QueryBuilder, Row};

use crate::database::{Db, DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, from_u64, moment, thing_id, to_u64};

const PROJECTION: &str = "things";
/// Rows in one statement: 8 columns each, far below both backends' limit on bound values.
const ROWS_PER_STATEMENT: usize = 500;

/// The registry's view of a Thing; live state is the twin engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThingRow {
    /// Its id.
    pub thing_id: ThingId,
    /// `namespace:name:version`, if it has one.
    pub definition: Option<String>,
    /// The attributes, a JSON object as text.
    pub attributes_json: String,
    /// The template that it was accepted from.
    pub template: Option<String>,
    /// The Thing's revision.
    pub revision: u64,
    /// The journal offset of that revision.
    pub journal_offset: Offset,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
}

/// One change for the projection, in journal order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThingChange {
    /// The Thing is now this.
    Upsert(ThingRow),
    /// The Thing is gone.
    Delete {
        /// Its id.
        thing_id: ThingId,
    },
}

impl ThingChange {
    fn thing_id(&self) -> &ThingId {
        match self {
            ThingChange::Upsert(row) => &row.thing_id,
            ThingChange::Delete { thing_id } => thing_id,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// It is in the table and the cursor moved.
    Applied,
    /// The cursor was at or beyond it already; nothing changed.
    AlreadyApplied,
}

impl Store {
    /// Returns the journal offset that the projection needs next: everything below it is in the table.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn projection_offset(&self) -> Result<Offset, StoreError> {
        let row = sqlx::query("SELECT next_offset FROM projections WHERE name = $1")
            .bind(PROJECTION)
            .fetch_optional(self.database.reader())
            .await
            .map_err(StoreError::during("read the projection's offset"))?;
        Ok(row.map_or(0, |row| to_u64(row.get("next_offset"))))
    }

    /// Applies the changes of all records below `next_offset` and moves the cursor there, in one transaction.
    /// Only the last change of each Thing is written. A batch that the cursor has passed is ignored.
    ///
    /// # Errors
    /// When the database refuses; nothing changed then.
    pub async fn project_things(
        &self,
        batch: &[ThingChange],
        next_offset: Offset,
    ) -> Result<Projected, StoreError> {
        let mut write = self.database.write().await?;
        let moved = sqlx::query(
            "INSERT INTO projections (name, next_offset) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET next_offset = excluded.next_offset
             WHERE projections.next_offset < excluded.next_offset",
        )
        .bind(PROJECTION)
        .bind(from_u64(next_offset))
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("move the projection's offset"))?;
        if moved.rows_affected() == 0 {
            return Ok(Projected::AlreadyApplied);
        }
        let (upserts, deletes) = newest_of_each(batch);
        for rows in upserts.chunks(ROWS_PER_STATEMENT) {
            upsert(&mut write, rows).await?;
        }
        for ids in deletes.chunks(ROWS_PER_STATEMENT) {
            delete(&mut write, ids).await?;
        }
        commit(write).await?;
        Ok(Projected::Applied)
    }

    /// Empties the projection, so that the consumer starts again at offset 0: after a restore, or when a newer
    /// version reads more out of the records.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn reset_projection(&self) -> Result<(), StoreError> {
        let failed = StoreError::during("empty the projection");
        let mut write = self.database.write().await?;
        sqlx::query("DELETE FROM things").execute(&mut *write).await.map_err(&failed)?;
        sqlx::query("DELETE FROM projections WHERE name = $1")
            .bind(PROJECTION)
            .execute(&mut *write)
            .await
            .map_err(&failed)?;
        commit(write).await
    }

    /// Reads one Thing.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn thing(&self, thing_id: &ThingId) -> Result<Option<ThingRow>, StoreError> {
        let row = sqlx::query(
            "SELECT thing_id, definition, attributes, template, revision, journal_offset, created_micros,
                    modified_micros
             FROM things WHERE thing_id = $1",
        )
        .bind(thing_id.as_str())
        .fetch_optional(self.database.reader())
        .await
        .map_err(StoreError::during("read a Thing"))?;
        row.as_ref().map(thing_row).transpose()
    }

    /// Lists Things by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_things(&self, page: PageRequest) -> Result<Page<ThingRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT thing_id, definition, attributes, template, revision, journal_offset, created_micros,
                    modified_micros
             FROM things WHERE thing_id > $1 ORDER BY thing_id LIMIT $2",
        )
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list Things"))?;
        let items = rows.iter().map(thing_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |row: &ThingRow| row.thing_id.as_str().to_owned()))
    }
}

/// Keeps the last change of each Thing; one statement must not name a row twice.
fn newest_of_each(batch: &[ThingChange]) -> (Vec<&ThingRow>, Vec<&str>) {
    let mut seen = std::collections::HashSet::with_capacity(batch.len());
    let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
    for change in batch.iter().rev().filter(|change| seen.insert(change.thing_id())) {
        match change {
            ThingChange::Upsert(row) => upserts.push(row),
            ThingChange::Delete { thing_id } => deletes.push(thing_id.as_str()),
        }
    }
    (upserts, deletes)
}

async fn upsert(write: &mut Write, rows: &[&ThingRow]) -> Result<(), StoreError> {
    let mut sql = QueryBuilder::<Db>::new(
        "INSERT INTO things (thing_id, definition, attributes, template, revision, journal_offset, created_micros,
                             modified_micros) ",
    );
    sql.push_values(rows, |mut values, row| {
        values
            .push_bind(row.thing_id.as_str())
            .push_bind(row.definition.as_deref())
            .push_bind(row.attributes_json.as_str())
            .push_bind(row.template.as_deref())
            .push_bind(from_u64(row.revision))
            .push_bind(from_u64(row.journal_offset))
            .push_bind(row.created.as_micros())
            .push_bind(row.modified.as_micros());
    });
    sql.push(
        " ON CONFLICT (thing_id) DO UPDATE SET definition = excluded.definition, attributes = excluded.attributes,
            template = excluded.template, revision = excluded.revision, journal_offset = excluded.journal_offset,
            created_micros = excluded.created_micros, modified_micros = excluded.modified_micros",
    );
    sql.build().execute(&mut **write).await.map_err(StoreError::during("write Things"))?;
    Ok(())
}

async fn delete(write: &mut Write, ids: &[&str]) -> Result<(), StoreError> {
    let mut sql = QueryBuilder::<Db>::new("DELETE FROM things WHERE thing_id IN (");
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    sql.push(")");
    sql.build().execute(&mut **write).await.map_err(StoreError::during("delete Things"))?;
    Ok(())
}

fn thing_row(row: &DbRow) -> Result<ThingRow, StoreError> {
    Ok(ThingRow {
        thing_id: thing_id(row)?,
        definition: row.get("definition"),
        attributes_json: row.get("attributes"),
        template: row.get("template"),
        revision: to_u64(row.get("revision")),
        journal_offset: to_u64(row.get("journal_offset")),
        created: moment(row, "created_micros"),
        modified: moment(row, "modified_micros"),
    })
}
