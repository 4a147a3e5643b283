//! In-memory pagination of lists that an upstream returns whole: `?cursor=&limit=` to `{items,
//! nextCursor}` (gateway-api section 4, Lists).

use axum::extract::FromRequestParts;
use contracts::problem::Problem;
use http::request::Parts;
use serde::Deserialize;
use service_kit::extract::Query;
use service_kit::problem::{ApiError, ApiResult};

/// Default and maximum number of items of a page.
pub(crate) const DEFAULT_LIMIT: u16 = 50;
pub(crate) const MAX_LIMIT: u16 = 200;

/// Separates the two ids of a cursor; no id contains it.
const CURSOR_SEPARATOR: char = '.';

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

impl PageQuery {
    pub(crate) fn limit(&self) -> ApiResult<u16> {
        limit(self.limit.as_deref(), DEFAULT_LIMIT, MAX_LIMIT)
    }
}

fn limit(given: Option<&str>, default: u16, max: u16) -> ApiResult<u16> {
    let Some(given) = given else { return Ok(default) };
    let limit = given.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("Send a limit from 1 to {max}.");
        Problem::field("query.limit", "INVALID", detail).into()
    })
}

/// Problem for a cursor that is malformed or no longer in the list.
pub(crate) fn invalid_cursor() -> ApiError {
    let detail = "Send the nextCursor of the previous page. If it is, the list has changed; \
                  start again without a cursor.";
    ApiError::field("query.cursor", "INVALID", detail)
}

/// Requested page of a list.
#[derive(Debug)]
pub(crate) struct Pagination<const DEFAULT: u16 = DEFAULT_LIMIT, const MAX: u16 = MAX_LIMIT> {
    after: Option<PagePosition>,
    limit: usize,
}

/// End of the previous page: its last id and the next one, because either may have left the list
/// since.
#[derive(Debug)]
struct PagePosition {
    last: String,
    next: String,
}

impl PagePosition {
    fn parse(cursor: &str) -> Option<Self> {
        let (last, next) = cursor.split_once(CURSOR_SEPARATOR)?;
        Some(Self { last: last.to_owned(), next: next.to_owned() })
    }
}

impl<S, const DEFAULT: u16, const MAX: u16> FromRequestParts<S> for Pagination<DEFAULT, MAX>
where
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        let after = query.cursor.as_deref();
        let after =
            after.map(|text| PagePosition::parse(text).ok_or_else(invalid_cursor)).transpose()?;
        let limit = limit(query.limit.as_deref(), DEFAULT, MAX)?;
        Ok(Self { after, limit: limit.into() })
    }
}

impl<const DEFAULT: u16, const MAX: u16> Pagination<DEFAULT, MAX> {
    /// Returns the page, and the cursor of the next one if there is one.
    pub(crate) fn page<T>(
        &self,
        mut items: Vec<T>,
        id: impl Fn(&T) -> &str,
    ) -> ApiResult<(Vec<T>, Option<String>)> {
        let begin = self.begin(&items, &id).ok_or_else(invalid_cursor)?;
        let end = items.len().min(begin + self.limit);
        let next = (end > begin && end < items.len())
            .then(|| format!("{}{CURSOR_SEPARATOR}{}", id(&items[end - 1]), id(&items[end])));
        items.truncate(end);
        items.drain(..begin);
        Ok((items, next))
    }

    fn begin<T>(&self, items: &[T], id: impl Fn(&T) -> &str) -> Option<usize> {
        let Some(PagePosition { last, next }) = &self.after else { return Some(0) };
        let position = |of: &str| items.iter().position(|item| id(item) == of);
        position(last).map(|at| at + 1).or_else(|| position(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pagination(cursor: Option<&str>, limit: usize) -> Pagination {
        Pagination { after: cursor.map(|text| PagePosition::parse(text).unwrap()), limit }
    }

    fn page(items: &[&'static str], cursor: Option<&str>) -> Option<(String, Option<String>)> {
        let page = pagination(cursor, 2).page(items.to_vec(), |item| item).ok()?;
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
        assert_eq!(page(&["a", "d"], Some("b.c")), None, "an unknown position is refused");
    }
}
