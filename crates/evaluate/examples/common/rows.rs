//! Files of pairs: a line is `user<TAB>item`, or `user<TAB>item<TAB>seconds`.

use evaluate::Row;

pub(crate) fn rows(path: &str) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let row = |(at, line): (usize, &str)| {
        let mut fields = line.split('\t');
        let (Some(user), Some(item)) = (fields.next(), fields.next()) else {
            return Err(format!("{path}, line {}: expected user and item", at + 1));
        };
        let seconds: i64 = fields.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Row {
            user: domain::UserId::new(user).map_err(|e| format!("{path}, line {}: {e}", at + 1))?,
            item: domain::ItemId::new(item).map_err(|e| format!("{path}, line {}: {e}", at + 1))?,
            value: None,
            timestamp: domain::Timestamp(seconds * 1_000),
        })
    };
    Ok(text.lines().enumerate().map(row).collect::<Result<_, _>>()?)
}
