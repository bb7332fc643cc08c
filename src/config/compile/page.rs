//! `errors.page`: reads the file and cuts it at its placeholders. What could not be filled in safely is a problem here,
//! so that nothing but escaping is left to do with a request. What is safe where is [`markup`]'s.

mod markup;

use std::ops::Range;
use std::sync::Arc;

use super::super::context::nearest;
use super::super::file;
use super::super::model::{Page, Part, Placeholder};
use super::super::problem::{Origin, Place, Problem, Wrong};
use super::super::read::Section;

use markup::Markup;

/// It goes out with every error.
const LARGEST: u64 = 1 << 20;

/// The page, if there is one and nothing is wrong with it.
pub(super) fn page(section: &Section<'_>) -> Option<Arc<Page>> {
    let (name, place) = section.text("page", "502.html", "").filter(|(name, _)| !name.is_empty())?;
    let problem = |place: &Place, wrong: Wrong| section.cx.problems.borrow_mut().push(Problem::error(place, wrong));
    let text = read(section, name).map_err(|wrong| problem(place, wrong)).ok()?;
    let shown = section.cx.base.join(name).display().to_string();
    let origin = Arc::new(Origin::new(shown, Some(text.clone()), None));
    let (page, wrong) = cut(&text);
    let sound = wrong.is_empty();
    for (span, wrong) in wrong {
        problem(&Place { origin: Arc::clone(&origin), span: Some(span) }, wrong);
    }
    sound.then(|| Arc::new(page))
}

fn read(section: &Section<'_>, name: &str) -> Result<String, Wrong> {
    let path = section.cx.base.join(name);
    let shown = path.display();
    let bytes = file::read(&path, LARGEST)
        .map_err(|e| Wrong::new(format!("cannot read {shown}: {e}"), "paths start at the folder of this file"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Wrong::new(format!("{shown} is too large"), "a page may have 1MiB"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|b| **b == b'\n').count() + 1;
        Wrong::new(format!("{shown} is not UTF-8, in line {line}"), "save it as UTF-8")
    })
}

/// The page, and everything wrong with it, each with its bytes.
fn cut(text: &str) -> (Page, Vec<(Range<usize>, Wrong)>) {
    let (mut parts, mut wrong) = (Vec::new(), Vec::new());
    let mut markup = Markup::default();
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").map(|at| from + at) {
        markup.read(&text[from..open]);
        if open > from {
            parts.push(Part::Text(text[from..open].to_owned()));
        }
        let line = text[open..].find('\n').map_or(text.len(), |end| open + end);
        let Some(close) = text[open..line].find("}}").map(|at| open + at) else {
            let hint = "write &#123;&#123; for the signs themselves";
            wrong.push((open..open + 2, Wrong::new("`{{` without `}}`", hint)));
            from = open + 2;
            continue;
        };
        let span = open..close + 2;
        let word = text[open + 2..close].trim();
        match Placeholder::ALL.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => parts.push(Part::Value(*value)),
            None => wrong.push((span.clone(), unknown(word))),
        }
        if let Some(unsafe_here) = markup.danger() {
            wrong.push((span, unsafe_here));
        }
        from = close + 2;
    }
    parts.push(Part::Text(text[from..].to_owned()));
    (Page(parts), wrong)
}

fn unknown(word: &str) -> Wrong {
    let names = || Placeholder::ALL.iter().map(|(name, _)| *name);
    let hint = match nearest(word, names()) {
        Some(name) => format!("did you mean {{{{{name}}}}}?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Wrong::new(format!("there is no placeholder {{{{{word}}}}}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        cut(text)
            .1
            .into_iter()
            .map(|(span, wrong)| format!("{} {}: {}", &text[span], wrong.message, wrong.hint))
            .collect()
    }

    #[test]
    fn a_page_is_cut_at_its_placeholders() {
        let (Page(parts), wrong) = cut("<p title=\"{{ status }}\">{{cause}}, really</p>");
        assert!(wrong.is_empty(), "{wrong:?}");
        let text = |text: &str| Part::Text(text.into());
        let (status, cause) = (Part::Value(Placeholder::Status), Part::Value(Placeholder::Cause));
        assert_eq!(parts, [text("<p title=\""), status, text("\">"), cause, text(", really</p>")]);
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        for (page, wanted) in [
            ("{{stauts}}", "{{stauts}} there is no placeholder {{stauts}}: did you mean {{status}}?"),
            ("a {{ b", "{{ `{{` without `}}`: write &#123;&#123; for the signs themselves"),
            ("<a href={{path}}>", "{{path}} a placeholder in a tag, without quotes around it: put quotes around it"),
        ] {
            assert_eq!(said(page), [wanted], "{page}");
        }
        assert!(said("{{x-y}}")[0].contains("there are status, cause, hint, request_id, upstream, pool, "));
        assert!(said("<SCRIPT>let id = '{{request_id}}'</SCRIPT>")[0].contains("inside <script>"));
        assert!(said("<style>a{}</style><script>1</script>{{path}}").is_empty());
    }

    #[test]
    fn each_page_is_read_once_however_many_places_it_has() {
        let page = "<b title='{{path}}'>{{hint}}</b>".repeat(LARGEST as usize / 64);
        let (Page(parts), wrong) = cut(&page);
        assert!(wrong.is_empty() && parts.len() > 60_000, "{}", parts.len());
    }
}
