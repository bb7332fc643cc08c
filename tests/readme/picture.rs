//! The README's picture of a 502: the text that the code makes, as a terminal, light and dark. `UPDATE=1` draws it
//! anew.

use std::fmt::Write;

use causeway::cause::Cause;

use crate::respond::golden_text;
use crate::support::source;

/// Of one character, in a picture of 80 columns.
const WIDTH: f32 = 8.4;
const HEIGHT: usize = 20;
const LEFT: usize = 24;
const TOP: usize = 72;

const ASKED: &str = "$ curl -H 'Accept: text/plain' 'localhost:8080/orders?page=2'";

/// One scheme: paper, edge, bar, ink, what is said beside it, what failed, what to type.
struct Scheme {
    name: &'static str,
    colours: [&'static str; 7],
}

const SCHEMES: [Scheme; 2] = [
    Scheme { name: "light", colours: ["#ffffff", "#d0d5db", "#f1f3f5", "#1c1e21", "#5a616b", "#b3261e", "#0b57a4"] },
    Scheme { name: "dark", colours: ["#15171a", "#363b42", "#1d2024", "#e7e9ec", "#a3abb5", "#ff8a80", "#8ab8ff"] },
];

fn drawn(text: &str, Scheme { colours: [paper, edge, bar, ink, soft, failed, typed], .. }: &Scheme) -> String {
    let lines: Vec<_> = [ASKED, ""].into_iter().chain(text.lines()).collect();
    let (width, height) = (LEFT * 2 + (80.0 * WIDTH) as usize, TOP + lines.len() * HEIGHT + 4);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>A 502 that says why</title>\n\
         <rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"{paper}\" stroke=\"{edge}\"/>\n\
         <path d=\"M.5 36V10.5a10 10 0 0 1 10-10H{}a10 10 0 0 1 10 10V36z\" fill=\"{bar}\" stroke=\"{edge}\"/>\n\
         <g fill=\"{edge}\"><circle cx=\"22\" cy=\"18\" r=\"6\"/><circle cx=\"42\" cy=\"18\" r=\"6\"/><circle cx=\"62\" cy=\"18\" r=\"6\"/></g>\n\
         <g fill=\"{ink}\" font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\">\n",
        width - 1,
        height - 1,
        width as f32 - 10.5,
    );
    let mut y = TOP;
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        let mut column = indent;
        for (word, colour, bold) in pieces(&line[indent..], soft, failed, typed) {
            let (x, length) = (LEFT as f32 + column as f32 * WIDTH, word.len() as f32 * WIDTH);
            column += word.len();
            if word.trim().is_empty() {
                continue;
            }
            let fill = colour.map(|colour| format!(" fill=\"{colour}\"")).unwrap_or_default();
            let weight = if bold { " font-weight=\"700\"" } else { "" };
            let word = word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y}\" textLength=\"{length:.1}\" xml:space=\"preserve\"{fill}{weight}>{word}</text>"
            );
        }
        y += HEIGHT;
    }
    out + "</g>\n</svg>\n"
}

/// A line in pieces: each with its colour, and whether it is bold.
fn pieces<'a>(line: &'a str, soft: &'a str, failed: &'a str, typed: &'a str) -> Vec<(&'a str, Option<&'a str>, bool)> {
    if line == ASKED || line.starts_with("502 ") {
        return vec![(line, None, true)];
    }
    if let Some(command) = line.strip_prefix("Next: ") {
        return vec![("Next: ", Some(soft), false), (command, Some(typed), false)];
    }
    if line.starts_with("This answer") || line.starts_with("Request ") {
        return vec![(line, Some(soft), false)];
    }
    let word = Cause::ALL.iter().map(|cause| cause.token()).chain(["not tried"]).find_map(|word| {
        let at = line.find(&format!("   {word}")).filter(|_| line.starts_with(|c: char| c.is_ascii_digit()))? + 3;
        Some((at, at + word.len()))
    });
    match word {
        Some((from, to)) => {
            let colour = if &line[from..to] == "not tried" { soft } else { failed };
            vec![(&line[..from], None, true), (&line[from..to], Some(colour), true), (&line[to..], Some(soft), false)]
        }
        None => vec![(line, None, false)],
    }
}

#[test]
fn its_picture_is_what_the_code_says() {
    let text = golden_text();
    for scheme in &SCHEMES {
        let file = format!("tests/readme/502-{}.svg", scheme.name);
        source::kept(&file, |_| drawn(&text, scheme));
        assert!(source::read("README.md").contains(&file), "the README does not show {file}");
    }
    source::kept("README.md", |readme| {
        let (before, rest) = readme.split_once("```text\n").expect("the same as text");
        let (_, after) = rest.split_once("\n```").expect("its end");
        format!("{before}```text\n{}\n```{after}", text.trim_end())
    });
}
