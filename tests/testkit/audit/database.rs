//! Every cell of every table of an SQLite file, read-only, whether or not its server is running.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Row as _, SqliteConnection, ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

/// One value.
pub(super) struct Cell<'a> {
    pub(super) table: &'a str,
    pub(super) column: &'a str,
    /// Which row of the table, counted from 1 as they come.
    pub(super) row: u64,
    pub(super) bytes: &'a [u8],
}

/// Shows every cell that is not null; returns how many tables there were.
pub(super) async fn cells(path: &Path, mut see: impl FnMut(&Cell<'_>)) -> Result<usize> {
    rows(path, |table, row, values| {
        for (column, bytes) in values {
            see(&Cell {
                table,
                column,
                row,
                bytes,
            });
        }
    })
    .await
}

/// Shows every row as `(column, bytes)` pairs, nulls left out; returns how many tables there were.
pub(super) async fn rows(
    path: &Path,
    mut see: impl FnMut(&str, u64, &[(String, Vec<u8>)]),
) -> Result<usize> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, coalesce(sql, '') FROM sqlite_master WHERE type = 'table' ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await?;
    for (table, definition) in &tables {
        // A virtual table shows what its shadow tables, which are in this list too, hold.
        if definition.to_uppercase().starts_with("CREATE VIRTUAL") {
            continue;
        }
        let query = format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""));
        let mut stream = sqlx::query(AssertSqlSafe(query)).fetch(&mut connection);
        let mut count = 0;
        while let Some(row) = stream
            .try_next()
            .await
            .with_context(|| format!("table {table}"))?
        {
            count += 1;
            see(table, count, &values(&row)?);
        }
    }
    // What the schema itself says belongs to the evidence too.
    let schema: Vec<(String, Vec<u8>)> = tables
        .iter()
        .map(|(name, definition)| (name.clone(), definition.clone().into_bytes()))
        .collect();
    see("sqlite_master", 1, &schema);
    connection.close().await?;
    Ok(tables.len())
}

fn values(row: &SqliteRow) -> Result<Vec<(String, Vec<u8>)>> {
    let mut values = Vec::with_capacity(row.len());
    for column in row.columns() {
        if !row.try_get_raw(column.ordinal())?.is_null() {
            // Unchecked: SQLite gives the bytes of a text, and the digits of a number, as a blob.
            let bytes = row.try_get_unchecked::<Vec<u8>, _>(column.ordinal())?;
            values.push((column.name().to_owned(), bytes));
        }
    }
    Ok(values)
}
