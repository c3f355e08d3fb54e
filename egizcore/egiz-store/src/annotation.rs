//! Annotations: what people note about the past of the site, of a Thing or of a property, at a moment or over a span.

use egiz_model::{ThingId, Timestamp};
use serde_json::{Value, json};
use sqlx::Row;

use crate::audit::{self, Author};
use crate::database::{DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, from_u64, moment, thing_id, to_u64};

const KIND: &str = "annotation";
/// As many may be.
const ANNOTATIONS_MAX: usize = 100_000;
/// The longest text, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 4_000;
/// The longest name of a category, in characters.
const CATEGORY_CHARACTERS_MAX: usize = 32;
/// The setting that holds the number of the newest one.
const NEWEST: &str = "newest_annotation";

const COLUMNS: &str = "id, thing_id, feature, property, from_micros, to_micros, category, text, who, created_micros, \
                       modified_who, modified_micros, version";

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The Thing; the whole site where it is missing.
    pub thing_id: Option<ThingId>,
    /// Feature and property; the whole Thing where they are missing.
    pub property: Option<(String, String)>,
    /// The moment, or the first one of the span.
    pub from: Timestamp,
    /// The first moment after the span; the same as `from` for a moment.
    pub to: Timestamp,
    /// What kind it is: 1 to 32 of a-z, 0-9 and `-`.
    pub category: String,
    /// 1 to [`TEXT_CHARACTERS_MAX`] characters.
    pub text: String,
}

/// An annotation that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnnotation {
    /// Its number, from 1; never used again.
    pub id: u64,
    /// What it says.
    pub annotation: Annotation,
    /// Who made it, and when.
    pub created: Author,
    /// Who changed it last, and when.
    pub modified: Author,
    /// 1 when it is made, +1 for each change.
    pub version: u64,
}

/// Which annotations are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotationQuery {
    /// About this Thing only.
    pub thing_id: Option<ThingId>,
    /// About this property only.
    pub property: Option<(String, String)>,
    /// Of this kind only.
    pub category: Option<String>,
}

impl Store {
    /// Keeps an annotation.
    ///
    /// # Errors
    /// When something of it is out of its range, there are 100,000, or the database refuses.
    pub async fn add_annotation(
        &self,
        annotation: &Annotation,
        author: &Author,
    ) -> Result<StoredAnnotation, StoreError> {
        annotation.check()?;
        let mut write = self.database.write().await?;
        let failed = StoreError::during("keep an annotation");
        let count: i64 = sqlx::query("SELECT COUNT(*) AS count FROM annotations")
            .fetch_one(&mut *write)
            .await
            .map_err(&failed)?
            .get("count");
        if usize::try_from(count).is_ok_and(|count| count >= ANNOTATIONS_MAX) {
            return Err(StoreError::LimitReached { kind: KIND, limit: ANNOTATIONS_MAX });
        }
        let id = next_id(&mut write).await?;
        let (feature, property) = annotation.property.as_ref().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
        sqlx::query(
            "INSERT INTO annotations (id, thing_id, feature, property, from_micros, to_micros, category, text, who,
                 created_micros, modified_who, modified_micros, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $10, 1)",
        )
        .bind(from_u64(id))
        .bind(annotation.thing_id.as_ref().map(ThingId::as_str))
        .bind(feature)
        .bind(property)
        .bind(annotation.from.as_micros())
        .bind(annotation.to.as_micros())
        .bind(&annotation.category)
        .bind(&annotation.text)
        .bind(&author.who)
        .bind(author.at.as_micros())
        .execute(&mut *write)
        .await
        .map_err(&failed)?;
        audit::record(&mut write, author, "annotation.create", &id.to_string(), annotation.details()).await?;
        commit(write).await?;
        let (created, modified) = (author.clone(), author.clone());
        Ok(StoredAnnotation { id, annotation: annotation.clone(), created, modified, version: 1 })
    }

    /// Replaces what an annotation says, where its version is still `expected`.
    ///
    /// # Errors
    /// When something of it is out of its range, there is none of this number, its version is another one, or the database
    /// refuses.
    pub async fn change_annotation(
        &self,
        id: u64,
        expected: u64,
        annotation: &Annotation,
        author: &Author,
    ) -> Result<StoredAnnotation, StoreError> {
        annotation.check()?;
        let mut write = self.database.write().await?;
        let before = kept(&mut write, id).await?;
        before.expect(expected)?;
        let (feature, property) = annotation.property.as_ref().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
        let version = before.version + 1;
        sqlx::query(
            "UPDATE annotations SET thing_id = $1, feature = $2, property = $3, from_micros = $4, to_micros = $5,
                 category = $6, text = $7, modified_who = $8, modified_micros = $9, version = $10
             WHERE id = $11",
        )
        .bind(annotation.thing_id.as_ref().map(ThingId::as_str))
        .bind(feature)
        .bind(property)
        .bind(annotation.from.as_micros())
        .bind(annotation.to.as_micros())
        .bind(&annotation.category)
        .bind(&annotation.text)
        .bind(&author.who)
        .bind(author.at.as_micros())
        .bind(from_u64(version))
        .bind(from_u64(id))
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("change an annotation"))?;
        let details = json!({"before": before.annotation.details(), "after": annotation.details()});
        audit::record(&mut write, author, "annotation.change", &id.to_string(), details).await?;
        commit(write).await?;
        Ok(StoredAnnotation { annotation: annotation.clone(), modified: author.clone(), version, ..before })
    }

    /// Deletes an annotation, where its version is still `expected` if that is given; what it said stays in the audit trail.
    ///
    /// # Errors
    /// When there is none of this number, its version is another one, or the database refuses.
    pub async fn delete_annotation(
        &self,
        id: u64,
        expected: Option<u64>,
        author: &Author,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let before = kept(&mut write, id).await?;
        expected.map_or(Ok(()), |expected| before.expect(expected))?;
        sqlx::query("DELETE FROM annotations WHERE id = $1")
            .bind(from_u64(id))
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("delete an annotation"))?;
        let details = before.annotation.details();
        audit::record(&mut write, author, "annotation.delete", &id.to_string(), details).await?;
        commit(write).await
    }

    /// One annotation.
    ///
    /// # Errors
    /// When there is none of this number, or the database refuses.
    pub async fn annotation(&self, id: u64) -> Result<StoredAnnotation, StoreError> {
        let row =
            sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM annotations WHERE id = $1")))
                .bind(from_u64(id))
                .fetch_optional(self.database.reader())
                .await
                .map_err(StoreError::during("read an annotation"))?;
        row.as_ref().map_or_else(|| Err(StoreError::not_found(KIND, id.to_string())), stored)
    }

    /// The annotations about any of `[from, to)`, by when they begin, then by number. `after` in the page is the beginning and
    /// the number of the last one before it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_annotations(
        &self,
        query: &AnnotationQuery,
        (from, to): (Timestamp, Timestamp),
        page: PageRequest<(Timestamp, u64)>,
    ) -> Result<Page<StoredAnnotation, (Timestamp, u64)>, StoreError> {
        let (after, number) = page
            .after
            .as_ref()
            .map_or((i64::MIN, 0), |(after, number)| (after.as_micros(), from_u64(*number)));
        let (feature, property) = query.property.as_ref().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM annotations
             WHERE (from_micros, id) > ($1, $2) AND from_micros < $3
                 AND (to_micros > $4 OR (to_micros = from_micros AND from_micros = $4))
                 AND ($5 IS NULL OR thing_id = $5)
                 AND ($6 IS NULL OR (feature = $6 AND property = $7))
                 AND ($8 IS NULL OR category = $8)
             ORDER BY from_micros, id LIMIT $9"
        )))
        .bind(after)
        .bind(number)
        .bind(to.as_micros())
        .bind(from.as_micros())
        .bind(query.thing_id.as_ref().map(ThingId::as_str))
        .bind(feature)
        .bind(property)
        .bind(query.category.as_deref())
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list annotations"))?;
        let items = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |item| (item.annotation.from, item.id)))
    }
}

impl Annotation {
    fn check(&self) -> Result<(), StoreError> {
        if !(1..=TEXT_CHARACTERS_MAX).contains(&self.text.chars().count()) {
            return Err(StoreError::invalid(
                "text",
                format!("must be 1 to {TEXT_CHARACTERS_MAX} characters"),
            ));
        }
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=CATEGORY_CHARACTERS_MAX).contains(&self.category.len())
            || !self.category.bytes().all(is_known)
        {
            return Err(StoreError::invalid(
                "category",
                format!("must be 1 to {CATEGORY_CHARACTERS_MAX} of a-z, 0-9 and '-', such as maintenance"),
            ));
        }
        if self.to < self.from {
            return Err(StoreError::invalid("to", "must not lie before `from`"));
        }
        if self.property.is_some() && self.thing_id.is_none() {
            return Err(StoreError::invalid("property", "belongs to a Thing: say which in `thingId`"));
        }
        Ok(())
    }

    fn details(&self) -> Value {
        json!({
            "thingId": self.thing_id.as_ref().map(ThingId::as_str), "property": self.property,
            "from": self.from.to_string(), "to": self.to.to_string(), "category": self.category, "text": self.text,
        })
    }
}

impl StoredAnnotation {
    fn expect(&self, expected: u64) -> Result<(), StoreError> {
        if self.version == expected {
            return Ok(());
        }
        Err(StoreError::VersionConflict {
            kind: KIND,
            key: self.id.to_string(),
            expected,
            actual: self.version,
        })
    }
}

/// A number that no annotation ever had.
async fn next_id(write: &mut Write) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, '1')
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(settings.value AS BIGINT) + 1 AS TEXT)
         RETURNING value",
    )
    .bind(NEWEST)
    .fetch_one(&mut **write)
    .await
    .map_err(StoreError::during("number an annotation"))?;
    let text: String = row.get("value");
    text.parse().map_err(|_| StoreError::Damaged {
        kind: "setting",
        key: NEWEST.to_owned(),
        reason: format!("`{text}` is no number"),
    })
}

async fn kept(write: &mut Write, id: u64) -> Result<StoredAnnotation, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM annotations WHERE id = $1")))
        .bind(from_u64(id))
        .fetch_optional(&mut **write)
        .await
        .map_err(StoreError::during("read an annotation"))?;
    row.as_ref().map_or_else(|| Err(StoreError::not_found(KIND, id.to_string())), stored)
}

fn stored(row: &DbRow) -> Result<StoredAnnotation, StoreError> {
    let thing: Option<String> = row.get("thing_id");
    let feature: Option<String> = row.get("feature");
    let property: Option<String> = row.get("property");
    Ok(StoredAnnotation {
        id: to_u64(row.get("id")),
        annotation: Annotation {
            thing_id: thing.is_some().then(|| thing_id(row)).transpose()?,
            property: feature.zip(property),
            from: moment(row, "from_micros"),
            to: moment(row, "to_micros"),
            category: row.get("category"),
            text: row.get("text"),
        },
        created: Author { who: row.get("who"), at: moment(row, "created_micros") },
        modified: Author { who: row.get("modified_who"), at: moment(row, "modified_micros") },
        version: to_u64(row.get("version")),
    })
}
