//! [`read_table`]: a table that is somebody else's, as text.

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::database::{Failed, MySql, OpenError};
use crate::migrate;

/// A row: the names of its columns, and what stands there; `None` is NULL.
pub type ForeignRow = Vec<(String, Option<String>)>;

/// All rows of a table, such as that of another server from which apps move here. Nothing is changed, made or migrated.
///
/// The address is one as for [`MySql::open`].
///
/// # Errors
/// The database cannot be reached, or has no such table.
pub async fn read_table(url: &str, table: &str) -> Result<Vec<ForeignRow>, OpenError> {
    let database = MySql::connect(url)?;
    let table = table.replace('`', "``");
    let read = tokio::time::timeout(migrate::PATIENCE, async {
        let mut conn = database.conn().await?;
        // Read as text, whatever type the columns have.
        let rows: Vec<Row> = conn.query(format!("SELECT * FROM `{table}`")).await?;
        Ok::<_, Failed>(rows)
    });
    let rows = read.await.map_err(|_| OpenError::TooSlow)?;
    database.close().await;
    Ok(rows?.into_iter().map(texts).collect())
}

fn texts(row: Row) -> ForeignRow {
    let columns = row.columns();
    let names = columns.iter().map(|column| column.name_str().into_owned());
    names.zip(row.unwrap().into_iter().map(text)).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    }
}
