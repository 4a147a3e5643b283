//! Pages of lists that an upstream gives whole: `?cursor=&limit=` to `{items, nextCursor}`
//! (gateway-api section 4, Lists).

use axum::extract::FromRequestParts;
use contracts::problem::Problem;
use http::request::Parts;
use serde::Deserialize;
use service_kit::extract::Query;
use service_kit::problem::{ApiError, ApiResult};

/// Items of a page when nothing else is asked for, and at most.
pub const USUAL: u16 = 50;
pub const MOST: u16 = 200;

/// Between the ids of which a cursor is made; no id has one.
const JOINT: char = '.';

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

impl PageQuery {
    pub fn limit(&self) -> ApiResult<u16> {
        limit(self.limit.as_deref(), (USUAL, MOST))
    }
}

fn limit(given: Option<&str>, (usual, most): (u16, u16)) -> ApiResult<u16> {
    let Some(given) = given else { return Ok(usual) };
    let limit = given.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("Ask for 1 to {most} items at once.");
        Problem::field("query.limit", "INVALID", detail).into()
    })
}

/// The cursor names no place of the list.
pub fn no_such_place() -> ApiError {
    let detail = "Send the nextCursor of the page before; when it is that, the list has changed \
                  since: begin again without a cursor.";
    ApiError::field("query.cursor", "INVALID", detail)
}

/// Which part of a list is wanted.
#[derive(Debug)]
pub struct Paging<const USUAL_ITEMS: u16 = USUAL, const MOST_ITEMS: u16 = MOST> {
    after: Option<Place>,
    limit: usize,
}

/// Where a page ended: the list is asked for anew each time, and either of the two may be gone from
/// it by then.
#[derive(Debug)]
struct Place {
    last: String,
    next: String,
}

impl Place {
    fn parse(cursor: &str) -> Option<Self> {
        let (last, next) = cursor.split_once(JOINT)?;
        Some(Self { last: last.to_owned(), next: next.to_owned() })
    }
}

impl<S, const USUAL_ITEMS: u16, const MOST_ITEMS: u16> FromRequestParts<S>
    for Paging<USUAL_ITEMS, MOST_ITEMS>
where
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        let after = query.cursor.as_deref();
        let after = after.map(|it| Place::parse(it).ok_or_else(no_such_place)).transpose()?;
        let limit = limit(query.limit.as_deref(), (USUAL_ITEMS, MOST_ITEMS))?;
        Ok(Self { after, limit: limit.into() })
    }
}

impl<const USUAL_ITEMS: u16, const MOST_ITEMS: u16> Paging<USUAL_ITEMS, MOST_ITEMS> {
    /// The page, and the cursor of the one after it if there is one.
    pub fn page<T>(
        &self,
        mut items: Vec<T>,
        id: impl Fn(&T) -> &str,
    ) -> ApiResult<(Vec<T>, Option<String>)> {
        let begin = self.begin(&items, &id).ok_or_else(no_such_place)?;
        let end = items.len().min(begin + self.limit);
        let next = (end > begin && end < items.len())
            .then(|| format!("{}{JOINT}{}", id(&items[end - 1]), id(&items[end])));
        items.truncate(end);
        items.drain(..begin);
        Ok((items, next))
    }

    fn begin<T>(&self, items: &[T], id: impl Fn(&T) -> &str) -> Option<usize> {
        let Some(Place { last, next }) = &self.after else { return Some(0) };
        let place = |of: &str| items.iter().position(|item| id(item) == of);
        place(last).map(|at| at + 1).or_else(|| place(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(cursor: Option<&str>, limit: usize) -> Paging {
        Paging { after: cursor.map(|it| Place::parse(it).unwrap()), limit }
    }

    fn page(items: &[&'static str], cursor: Option<&str>) -> Option<(String, Option<String>)> {
        let page = paging(cursor, 2).page(items.to_vec(), |it| it).ok()?;
        Some((page.0.concat(), page.1))
    }

    #[test]
    fn pages_follow_each_other_and_the_last_names_no_next() {
        let all = ["a", "b", "c", "d", "e"];
        assert_eq!(page(&all, None), Some(("ab".to_owned(), Some("b.c".to_owned()))));
        assert_eq!(page(&all, Some("b.c")), Some(("cd".to_owned(), Some("d.e".to_owned()))));
        assert_eq!(page(&all, Some("d.e")), Some(("e".to_owned(), None)));
        assert_eq!(page(&all[..2], None), Some(("ab".to_owned(), None)));
        assert_eq!(page(&[], None), Some((String::new(), None)));
    }

    #[test]
    fn what_leaves_the_list_between_two_pages_hides_nothing_else() {
        assert_eq!(page(&["c", "d"], Some("b.c")), Some(("cd".to_owned(), None)));
        assert_eq!(page(&["b", "d"], Some("b.c")), Some(("d".to_owned(), None)));
        assert_eq!(page(&["x", "b", "c"], Some("b.c")), Some(("c".to_owned(), None)));
        assert_eq!(page(&["b"], Some("b.c")), Some((String::new(), None)));
        assert_eq!(page(&["a", "d"], Some("b.c")), None, "a place that cannot be told is said");
    }
}
