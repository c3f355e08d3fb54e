//! Corrections of the past: what is so instead of what a machine said, who found out, when and why.
//!
//! They are kept here and not in the history's files, which never change; who reads history lays them over it. One that is
//! taken back stays in the table, with who did so. What a value means is not looked into: it is JSON.

use egiz_model::{Quality, ThingId, Timestamp};
use serde_json::{Value, json};
use sqlx::Row;

use crate::audit::{self, Author};
use crate::database::{DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, from_u64, moment, thing_id, to_u64};

const KIND: &str = "correction";
/// The corrections in force at once, of all Things; they are in memory besides.
const IN_FORCE_MAX: usize = 100_000;
/// The longest reason, in characters.
pub const REASON_CHARACTERS_MAX: usize = 1_000;

const COLUMNS: &str = "id, thing_id, feature, property, item, from_micros, to_micros, value, quality, reason, who, \
                       at_micros, undone_who, undone_micros";

/// A correction that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCorrection {
    /// The Thing.
    pub thing_id: ThingId,
    /// The feature.
    pub feature: String,
    /// The property.
    pub property: String,
    /// Which item of its lists; all of it where it is missing.
    pub item: Option<u8>,
    /// The first moment that it is about.
    pub from: Timestamp,
    /// The first moment after; later than `from`.
    pub to: Timestamp,
    /// The right value; the one that was said where it is missing.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why, 1 to [`REASON_CHARACTERS_MAX`] characters.
    pub reason: String,
}

/// A correction that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCorrection {
    /// Its number, from 1.
    pub id: u64,
    /// What it says.
    pub correction: NewCorrection,
    /// Who made it, and when.
    pub author: Author,
    /// Who took it back, and when.
    pub undone: Option<Author>,
}

impl Store {
    /// Makes a correction.
    ///
    /// # Errors
    /// When the reason is empty or too long, there are 100,000 in force, or the database refuses.
    pub async fn add_correction(
        &self,
        new: &NewCorrection,
        author: &Author,
    ) -> Result<StoredCorrection, StoreError> {
        if !(1..=REASON_CHARACTERS_MAX).contains(&new.reason.chars().count()) {
            return Err(StoreError::invalid(
                "reason",
                format!("must be 1 to {REASON_CHARACTERS_MAX} characters"),
            ));
        }
        if new.from >= new.to {
            return Err(StoreError::invalid("to", "must lie after `from`"));
        }
        let mut write = self.database.write().await?;
        let failed = StoreError::during("make a correction");
        let in_force: i64 =
            sqlx::query("SELECT COUNT(*) AS count FROM corrections WHERE undone_micros IS NULL")
                .fetch_one(&mut *write)
                .await
                .map_err(&failed)?
                .get("count");
        if usize::try_from(in_force).is_ok_and(|in_force| in_force >= IN_FORCE_MAX) {
            return Err(StoreError::LimitReached { kind: KIND, limit: IN_FORCE_MAX });
        }
        // No row is ever deleted and there is a single writer, so MAX + 1 was never used.
        let row = sqlx::query(
            "INSERT INTO corrections (id, thing_id, feature, property, item, from_micros, to_micros, value, quality,
                 reason, who, at_micros)
             SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM corrections
             RETURNING id",
        )
        .bind(new.thing_id.as_str())
        .bind(&new.feature)
        .bind(&new.property)
        .bind(new.item.map(i64::from))
        .bind(new.from.as_micros())
        .bind(new.to.as_micros())
        .bind(new.value.as_ref().map(Value::to_string))
        .bind(i64::from(new.quality as u8))
        .bind(&new.reason)
        .bind(&author.who)
        .bind(author.at.as_micros())
        .fetch_one(&mut *write)
        .await
        .map_err(&failed)?;
        let stored = StoredCorrection {
            id: to_u64(row.get("id")),
            correction: new.clone(),
            author: author.clone(),
            undone: None,
        };
        let subject = stored.subject();
        audit::record(&mut write, author, "correction.create", &subject, stored.details()).await?;
        commit(write).await?;
        Ok(stored)
    }

    /// Takes a correction back; returns what it said.
    ///
    /// # Errors
    /// When the Thing has none of this number in force, or the database refuses.
    pub async fn undo_correction(
        &self,
        thing: &ThingId,
        id: u64,
        author: &Author,
    ) -> Result<StoredCorrection, StoreError> {
        let mut write = self.database.write().await?;
        let stored = in_force(&mut write, thing, id).await?;
        sqlx::query("UPDATE corrections SET undone_who = $1, undone_micros = $2 WHERE id = $3")
            .bind(&author.who)
            .bind(author.at.as_micros())
            .bind(from_u64(id))
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("take a correction back"))?;
        audit::record(&mut write, author, "correction.undo", &stored.subject(), stored.details()).await?;
        commit(write).await?;
        Ok(StoredCorrection { undone: Some(author.clone()), ..stored })
    }

    /// One correction of a Thing, also one that was taken back.
    ///
    /// # Errors
    /// When there is none of this number, or the database refuses.
    pub async fn correction(&self, thing: &ThingId, id: u64) -> Result<StoredCorrection, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM corrections WHERE thing_id = $1 AND id = $2"
        )))
        .bind(thing.as_str())
        .bind(from_u64(id))
        .fetch_optional(self.database.reader())
        .await
        .map_err(StoreError::during("read a correction"))?;
        row.as_ref().map_or_else(|| Err(StoreError::not_found(KIND, id.to_string())), stored)
    }

    /// The corrections of a Thing that are about any of `[from, to)`, by number; those that were taken back too if asked.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_corrections(
        &self,
        thing: &ThingId,
        (from, to): (Timestamp, Timestamp),
        with_undone: bool,
        page: PageRequest<u64>,
    ) -> Result<Page<StoredCorrection, u64>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM corrections
             WHERE thing_id = $1 AND id > $2 AND from_micros < $3 AND to_micros > $4
                 AND ($5 OR undone_micros IS NULL)
             ORDER BY id LIMIT $6"
        )))
        .bind(thing.as_str())
        .bind(page.after.map_or(0, from_u64))
        .bind(to.as_micros())
        .bind(from.as_micros())
        .bind(with_undone)
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list corrections"))?;
        let items = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |item| item.id))
    }

    /// All corrections in force; for who lays them over history.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn corrections_in_force(&self) -> Result<Vec<StoredCorrection>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM corrections WHERE undone_micros IS NULL ORDER BY id"
        )))
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("read the corrections"))?;
        rows.iter().map(stored).collect()
    }
}

async fn in_force(write: &mut Write, thing: &ThingId, id: u64) -> Result<StoredCorrection, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM corrections WHERE thing_id = $1 AND id = $2 AND undone_micros IS NULL"
    )))
    .bind(thing.as_str())
    .bind(from_u64(id))
    .fetch_optional(&mut **write)
    .await
    .map_err(StoreError::during("read a correction"))?;
    row.as_ref().map_or_else(|| Err(StoreError::not_found(KIND, id.to_string())), stored)
}

impl StoredCorrection {
    fn subject(&self) -> String {
        self.id.to_string()
    }

    /// For the trail: what it says.
    fn details(&self) -> Value {
        let NewCorrection { thing_id, feature, property, item, from, to, value, quality, reason } =
            &self.correction;
        json!({
            "thingId": thing_id.as_str(), "feature": feature, "property": property, "item": item,
            "from": from.to_string(), "to": to.to_string(), "value": value, "quality": quality.as_str(),
            "reason": reason,
        })
    }
}

fn stored(row: &DbRow) -> Result<StoredCorrection, StoreError> {
    let id = to_u64(row.get("id"));
    let damaged =
        |reason: &str| StoreError::Damaged { kind: KIND, key: id.to_string(), reason: reason.to_owned() };
    let value: Option<String> = row.get("value");
    let value = value
        .map(|text| serde_json::from_str(&text).map_err(|_| damaged("its value is not JSON")))
        .transpose()?;
    let item: Option<i64> = row.get("item");
    let item = item.map(|item| u8::try_from(item).map_err(|_| damaged("its item is no small number")));
    let quality = u8::try_from(row.get::<i64, _>("quality")).ok().and_then(Quality::from_u8);
    let undone_who: Option<String> = row.get("undone_who");
    let undone = undone_who.map(|who| Author { who, at: moment(row, "undone_micros") });
    Ok(StoredCorrection {
        id,
        correction: NewCorrection {
            thing_id: thing_id(row)?,
            feature: row.get("feature"),
            property: row.get("property"),
            item: item.transpose()?,
            from: moment(row, "from_micros"),
            to: moment(row, "to_micros"),
            value,
            quality: quality.ok_or_else(|| damaged("its quality is unknown"))?,
            reason: row.get("reason"),
        },
        author: Author { who: row.get("who"), at: moment(row, "at_micros") },
        undone,
    })
}
