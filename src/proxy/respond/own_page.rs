//! The operator's own page (`errors.page`), filled in. Values are escaped; with public detail they tell what the page
//! of causeway would tell, and no more.

use std::borrow::Cow;

use crate::cause::escape;
use crate::config::model::{Page, Part, Placeholder};

use super::html;
use super::words::{Story, path, public_name};

/// `upstream`: the id of the one that the cause is about, and its place in the pool.
pub(super) fn render(page: &Page, story: &Story<'_>, upstream: Option<(&str, usize)>, secure: bool) -> String {
    let mut out = String::new();
    for part in &page.0 {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Value(value) => out.push_str(&html::escape(&filled(*value, story, upstream, secure))),
        }
    }
    out
}

fn filled<'a>(
    value: Placeholder,
    story: &'a Story<'_>,
    upstream: Option<(&'a str, usize)>,
    secure: bool,
) -> Cow<'a, str> {
    let exchange = story.exchange;
    let pool = exchange.pool.as_deref().unwrap_or_default();
    match value {
        Placeholder::Status => story.status.as_u16().to_string().into(),
        Placeholder::Cause => story.cause.token().into(),
        // The detail of an error of causeway's own is what there is to say of it.
        Placeholder::Hint if story.hint.is_empty() => story.detail.as_str().into(),
        Placeholder::Hint => story.hint.as_str().into(),
        Placeholder::RequestId => Cow::Borrowed(&exchange.request_id),
        Placeholder::Upstream => match upstream {
            Some((id, _)) if story.full => id.into(),
            Some((_, ordinal)) => public_name(pool, ordinal).into(),
            None => "".into(),
        },
        Placeholder::Pool => escape(pool.as_bytes()).into(),
        Placeholder::Host => exchange.host.as_ref().map(|host| escape(host.as_bytes())).unwrap_or_default().into(),
        Placeholder::Scheme => if secure { "https" } else { "http" }.into(),
        Placeholder::ClientIp if story.full => exchange.client.ip().to_string().into(),
        Placeholder::Path if story.full => path(exchange).into(),
        Placeholder::ClientIp | Placeholder::Path => "".into(),
    }
}
